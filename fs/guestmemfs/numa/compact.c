// SPDX-License-Identifier: GPL-2.0
/*
 * Compaction: which 1 GiB ranges to empty, and where their blocks go.
 *
 * Pure code, as bitmap.c. A group is what an extent has of an aligned 1 GiB. It is
 * whole if it has all blocks of the 1 GiB and none is taken, and broken if it has free
 * blocks but is not whole.
 *
 * Blocks of the sources move to the free blocks of other broken groups. If n sources
 * have u taken blocks, and all broken groups together have f free ones, then
 * f - (n * GMPOOL_1G_BLOCKS - u) are in groups that are no sources, and u must fit: n
 * is at most f / GMPOOL_1G_BLOCKS, whichever groups are the sources. So the groups with
 * the fewest taken blocks give the most whole ranges for the fewest moves.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/minmax.h>

#include "compact.h"
#include "groups.h"

/* A position in the groups of all extents. */
struct cursor {
	const struct gmpool_extent *extent;
	u64 nr;
	u64 start;
	u64 end;
};

/* Go to the next group; to the first one if @at is all zero. False behind the last. */
static bool gmpool_next_group(const struct gmpool_extent *extents, u32 nr_extents,
			      struct cursor *at)
{
	if (!at->extent)
		at->extent = extents;
	else if (at->end == gmpool_extent_end(at->extent))
		at->extent++;
	else
		goto same_extent;
	if (at->extent == extents + nr_extents)
		return false;
	at->end = at->extent->first;
same_extent:
	at->start = at->end;
	at->end = gmpool_group_end(at->extent, at->start);
	at->nr++;
	return true;
}

/**
 * gmpool_compact_count - number of groups
 * @extents: extents of a pool
 * @nr_extents: number of extents, not 0
 *
 * Context: any.
 *
 * Return: number of groups for gmpool_compact.nr_groups.
 */
u64 gmpool_compact_count(const struct gmpool_extent *extents, u32 nr_extents)
{
	u64 nr = 0;
	u32 i;

	for (i = 0; i < nr_extents; i++)
		nr += gmpool_nr_groups(&extents[i]);
	return nr;
}

static bool gmpool_is_whole(const struct gmpool_compact_group *group)
{
	return group->size == GMPOOL_1G_BLOCKS && !group->used;
}

static bool gmpool_can_empty(const struct gmpool_compact_group *group)
{
	return group->size == GMPOOL_1G_BLOCKS && group->used && !group->fixed;
}

/* Count the blocks of all groups. Returns the free blocks of the broken ones. */
static u64 gmpool_survey(struct gmpool_compact *plan, const unsigned long *taken,
			 const unsigned long *movable)
{
	struct gmpool_compact_group *group;
	struct cursor at = {};
	u64 room = 0;

	while (gmpool_next_group(plan->extents, plan->nr_extents, &at)) {
		group = &plan->groups[at.nr - 1];
		group->size = at.end - at.start;
		group->used = bitmap_weight_from(taken, at.start, at.end);
		group->fixed = find_next_andnot_bit(taken, movable, at.end,
						    at.start) < at.end;
		group->source = false;
		if (!gmpool_is_whole(group))
			room += group->size - group->used;
	}
	return room;
}

/**
 * gmpool_compact_choose - choose the groups to empty
 * @plan: with extents and number of groups; filled by this function
 * @taken: bitmap of the taken blocks of the pool
 * @movable: bitmap of those that can move
 * @want: number of 1 GiB ranges to gain at most
 *
 * Context: any; takes time in proportion to the size of the pool.
 */
void gmpool_compact_choose(struct gmpool_compact *plan, const unsigned long *taken,
			   const unsigned long *movable, u64 want)
{
	u64 i, left;
	u16 used;

	plan->nr_sources = 0;
	plan->nr_moves = 0;
	left = min(want, gmpool_survey(plan, taken, movable) / GMPOOL_1G_BLOCKS);
	for (used = 1; used <= GMPOOL_1G_BLOCKS && left; used++) {
		for (i = 0; i < plan->nr_groups && left; i++) {
			struct gmpool_compact_group *group = &plan->groups[i];

			if (group->used != used || !gmpool_can_empty(group))
				continue;
			group->source = true;
			plan->nr_sources++;
			plan->nr_moves += used;
			left--;
		}
	}
}

/**
 * gmpool_compact_next - take the next group to empty
 * @plan: the plan; the group is no source any more, but no target either
 * @range: set to the blocks of the group
 *
 * Context: any.
 *
 * Return: false if none is left.
 */
bool gmpool_compact_next(struct gmpool_compact *plan, struct gmpool_range *range)
{
	struct gmpool_compact_group *group, *best = NULL;
	struct cursor at = {};

	while (gmpool_next_group(plan->extents, plan->nr_extents, &at)) {
		group = &plan->groups[at.nr - 1];
		if (!group->source || (best && group->used >= best->used))
			continue;
		best = group;
		range->start = at.start;
		range->count = at.end - at.start;
	}
	if (!best)
		return false;
	best->source = false;
	best->fixed = true;
	plan->emptying = best;
	return true;
}

/* Is a free range of @count blocks better than one of @best, for @want blocks? */
static bool gmpool_is_better(u64 count, u64 best, u64 want)
{
	return best >= want ? count >= want && count < best : count > best;
}

/* Find the shortest free range of at least @want blocks, else the longest one. */
static void gmpool_search_run(const unsigned long *taken, u64 start, u64 end, u64 want,
			      struct gmpool_range *range)
{
	u64 next;

	range->count = 0;
	for (; ; start = next) {
		start = find_next_zero_bit(taken, end, start);
		if (start >= end)
			break;
		next = find_next_bit(taken, end, start);
		if (gmpool_is_better(next - start, range->count, want)) {
			range->start = start;
			range->count = next - start;
		}
	}
	range->count = min(range->count, want);
}

/**
 * gmpool_compact_target - find free blocks for blocks that move
 * @plan: the plan
 * @map: the pool's bitmap as of now
 * @want: number of blocks, not 0
 * @range: filled with at most @want contiguous blocks, which are neither in a source nor
 *	in a whole group; if no such range is long enough, with a long one
 *
 * Prefers the group whose longest free range fits best.
 *
 * Context: the caller holds the lock that guards @map.
 *
 * Return: 0, or -ENOSPC if there is none.
 */
int gmpool_compact_target(const struct gmpool_compact *plan,
			  const struct gmpool_bitmap *map, u64 want,
			  struct gmpool_range *range)
{
	const struct gmpool_bitmap_group *now = map->index->groups;
	const struct gmpool_compact_group *group = plan->groups;
	u64 longest = 0, start = 0, end = 0;
	struct cursor at = {};

	for (; gmpool_next_group(plan->extents, plan->nr_extents, &at); now++, group++) {
		if (group->source || group == plan->emptying || now->head == GMPOOL_1G_BLOCKS ||
		    !gmpool_is_better(now->longest, longest, want))
			continue;
		longest = now->longest;
		start = at.start;
		end = at.end;
	}
	if (!longest)
		return -ENOSPC;
	gmpool_search_run(map->taken, start, end, want, range);
	return 0;
}
