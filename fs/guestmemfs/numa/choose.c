// SPDX-License-Identifier: GPL-2.0
/*
 * Choice of the blocks for an allocation.
 *
 * Pure code, as bitmap.c, which maintains the index that this file searches.
 *
 * Placement keeps free 1 GiB ranges whole, naturally aligned in physical
 * memory, for files that can have 1 GiB mappings. Smaller allocations go where
 * such a range is broken already. Best fit keeps large ranges. With the first-fit
 * policy, the end of the pool stays free instead.
 *
 * A search goes through the index. It reads the bits of a 1 GiB range only if a
 * range in that range can be better than the best one so far.
 */

#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "bitmap.h"
#include "groups.h"

/*
 * Best place of a search so far. A place with room for all wanted blocks is
 * better than one without; of two such places, the one with less cost is
 * better.
 */
struct candidate {
	struct gmpool_range range;
	u64 cost;
};

static void gmpool_consider(struct candidate *best, u64 start, u64 count,
			    u64 want, u64 cost)
{
	bool fits = count >= want;
	bool best_fits = best->range.count >= want;

	if (fits != best_fits ? best_fits :
	    fits ? cost >= best->cost : count <= best->range.count)
		return;
	best->range.start = start;
	best->range.count = min(count, want);
	best->cost = cost;
}

/* Consider a 1 GiB boundary: prefer that in the smallest free range. */
static void gmpool_consider_1g(const struct gmpool_bitmap *map,
			       struct candidate *best,
			       const struct gmpool_extent *extent, u64 start,
			       u64 end, u64 want)
{
	u64 aligned = gmpool_1g_up(extent, start);
	u64 count;

	if (aligned >= end)
		return;
	count = end - aligned;
	if (count < want)
		count = round_down(count, GMPOOL_1G_BLOCKS);
	if (count)
		gmpool_consider(best, aligned, count, want,
				map->first_fit ? aligned : end - start);
}

/* Consider a free range: prefer the smallest, and one without a whole 1 GiB. */
static void gmpool_consider_small(const struct gmpool_bitmap *map,
				  struct candidate *best,
				  const struct gmpool_extent *extent, u64 start,
				  u64 end, u64 want)
{
	u64 aligned = gmpool_1g_up(extent, start);
	u64 tail;

	if (map->first_fit) {
		gmpool_consider(best, start, end - start, want, start);
		return;
	}
	if (aligned >= end || end - aligned < GMPOOL_1G_BLOCKS) {
		gmpool_consider(best, start, end - start, want, end - start);
		return;
	}

	/* The parts before and after the 1 GiB ranges break none of them. */
	if (aligned > start && aligned - start >= want)
		gmpool_consider(best, start, aligned - start, want,
				aligned - start);
	tail = aligned + round_down(end - aligned, GMPOOL_1G_BLOCKS);
	if (tail < end && end - tail >= want)
		gmpool_consider(best, tail, end - tail, want, end - tail);

	/*
	 * Else break the last 1 GiB range, and use the part after it too. The
	 * cost exceeds that of any place that breaks none: no range is that long.
	 */
	if (end - start >= want)
		gmpool_consider(best, end - want, want, want,
				BIT_ULL(63) + (end - start));
	else
		gmpool_consider(best, start, end - start, want, 0);
}

static const struct gmpool_extent *
gmpool_extent_of(const struct gmpool_bitmap *map, u64 block)
{
	u32 i;

	for (i = 0; i < map->nr_extents; i++) {
		const struct gmpool_extent *extent = &map->extents[i];

		if (block >= extent->first && block < gmpool_extent_end(extent))
			return extent;
	}
	return NULL;
}

/**
 * struct search - a search through a bitmap
 * @map: the bitmap
 * @want: blocks
 * @enough: the first range with this many blocks ends the search; U64_MAX if
 *	unknown
 * @gib: best place at a 1 GiB boundary
 * @small: best place if there is no such boundary
 */
struct search {
	const struct gmpool_bitmap *map;
	u64 want;
	u64 enough;
	struct candidate gib;
	struct candidate small;
};

static void gmpool_consider_range(struct search *search,
				  const struct gmpool_extent *extent, u64 start,
				  u64 end)
{
	if (search->want >= GMPOOL_1G_BLOCKS)
		gmpool_consider_1g(search->map, &search->gib, extent,
				   start, end, search->want);
	gmpool_consider_small(search->map, &search->small, extent, start, end,
			      search->want);
}

/* Can a range of at most @longest blocks, without a 1 GiB boundary, be better? */
static bool gmpool_can_improve(const struct search *search, u64 longest)
{
	const struct candidate *best = &search->small;

	if (best->range.count < search->want)
		return longest > best->range.count;
	return longest >= search->want && !search->map->first_fit &&
	       best->cost > search->want;
}

/* Is the best place final, as no later one can be better? */
static bool gmpool_found_best(const struct search *search)
{
	const struct candidate *best = &search->small;

	if (best->range.count >= search->enough)
		return true;
	return search->want < GMPOOL_1G_BLOCKS &&
	       best->range.count >= search->want &&
	       (search->map->first_fit || best->cost <= search->want);
}

/* Consider the free ranges within a group. */
static void gmpool_search_group(struct search *search,
				const struct gmpool_extent *extent, u64 start,
				u64 end)
{
	const unsigned long *taken = search->map->taken;
	u64 next;

	for (; ; start = next) {
		start = find_next_zero_bit(taken, end, start);
		if (start >= end || gmpool_found_best(search))
			return;
		next = find_next_bit(taken, end, start);
		gmpool_consider_range(search, extent, start, next);
	}
}

/*
 * Consider the free ranges of an extent from the group of block @from on. Of a
 * range that begins before that group, only the part in the group counts.
 */
static void gmpool_search_extent(struct search *search,
				 const struct gmpool_extent *extent,
				 const struct gmpool_bitmap_group *group,
				 u64 from)
{
	u64 start, end, open, last = gmpool_extent_end(extent);

	/* Start of the free range that reaches the end of the previous group. */
	open = from;
	for (start = from; start < last && !gmpool_found_best(search);
	     start = end, group++) {
		end = gmpool_group_end(extent, start);
		if (group->head == end - start)
			continue;
		if (start + group->head > open)
			gmpool_consider_range(search, extent, open,
					      start + group->head);
		if (gmpool_can_improve(search, group->longest))
			gmpool_search_group(search, extent, start + group->head,
					    end - group->tail);
		open = end - group->tail;
	}
	if (start >= last && open < last)
		gmpool_consider_range(search, extent, open, last);
}

static void gmpool_search_from(struct search *search, u64 block)
{
	const struct gmpool_bitmap *map = search->map;
	const struct gmpool_bitmap_group *groups = map->index->groups;
	const struct gmpool_extent *extent;
	u64 nr;
	u32 i;

	for (i = 0; i < map->nr_extents;
	     i++, groups += gmpool_nr_groups(extent)) {
		extent = &map->extents[i];
		if (block >= gmpool_extent_end(extent))
			continue;
		nr = block > extent->first ? gmpool_group_nr(extent, block) : 0;
		gmpool_search_extent(search, extent, groups + nr,
				     gmpool_group_start(extent, nr));
		if (gmpool_found_best(search))
			return;
	}
}

static void gmpool_search_start(struct search *search,
				const struct gmpool_bitmap *map, u64 want)
{
	*search = (struct search) {
		.map = map,
		.want = want,
		.enough = U64_MAX,
		.gib.cost = U64_MAX,
		.small.cost = U64_MAX,
	};
}

/*
 * A request larger than any free range gets the longest ranges, one after the
 * other. The index knows the longest length, and where the previous search
 * found the first range of that length. Another range of that length can only be
 * behind it.
 */
static void gmpool_search_map(struct search *search,
			      const struct gmpool_bitmap *map, u64 want)
{
	struct gmpool_bitmap_index *index = map->index;

	gmpool_search_start(search, map, want);
	if (want > index->longest && index->longest < GMPOOL_1G_BLOCKS) {
		search->enough = index->longest;
		gmpool_search_from(search, index->from);
		if (search->small.range.count >= search->enough) {
			index->from = search->small.range.start;
			return;
		}
		gmpool_search_start(search, map, want);
	}
	gmpool_search_from(search, 0);
	if (search->small.range.count < want) {
		index->longest = search->small.range.count;
		index->from = search->small.range.start;
	}
}

/**
 * gmpool_bitmap_find - find contiguous free blocks
 * @map: bitmap to search
 * @want: number of blocks, not 0
 * @goal: first block of the range if it is free, to continue a file contiguously;
 *	or GMPOOL_NO_GOAL
 * @range: filled with at most @want blocks; if no free range is long enough, with
 *	the longest one
 *
 * If @want is at least GMPOOL_1G_BLOCKS, @range starts at a 1 GiB boundary if
 * there is a free one. If such a range is shorter than @want, its length is a
 * multiple of GMPOOL_1G_BLOCKS.
 *
 * Context: the caller holds the lock that guards @map.
 *
 * Return: 0, or -ENOSPC if no block is free.
 */
int gmpool_bitmap_find(const struct gmpool_bitmap *map, u64 want, u64 goal,
		       struct gmpool_range *range)
{
	const struct gmpool_extent *extent;
	struct search search;
	u64 end, last;

	if (!map->nr_free || !want)
		return -ENOSPC;

	extent = goal == GMPOOL_NO_GOAL ? NULL : gmpool_extent_of(map, goal);
	if (extent) {
		last = gmpool_extent_end(extent);
		last = min(last, goal + min(want, last - goal));
		end = find_next_bit(map->taken, last, goal);
		if (end > goal) {
			range->start = goal;
			range->count = end - goal;
			return 0;
		}
	}

	gmpool_search_map(&search, map, want);
	*range = search.gib.range.count ? search.gib.range : search.small.range;
	return range->count ? 0 : -ENOSPC;
}

/* Add this to a block number to get the physical address in blocks. */
static u64 gmpool_phys_shift(const struct gmpool_extent *extent)
{
	return (extent->base >> GMPOOL_BLOCK_SHIFT) - extent->first;
}

static bool gmpool_starts_1g(const struct gmpool_bitmap *map, u64 block)
{
	u64 shift = gmpool_phys_shift(gmpool_extent_of(map, block));

	return IS_ALIGNED(block + shift, GMPOOL_1G_BLOCKS);
}

/* Is the 1 GiB around @block free, so that a part of @range would break it? */
static bool gmpool_in_free_1g(const struct gmpool_bitmap *map, u64 block,
			      const struct gmpool_range *range)
{
	const struct gmpool_extent *extent = gmpool_extent_of(map, block);
	u64 shift = gmpool_phys_shift(extent);
	u64 gib = round_down(block + shift, GMPOOL_1G_BLOCKS);
	u64 end = gib + GMPOOL_1G_BLOCKS;

	if (gib < extent->first + shift ||
	    end > extent->first + shift + (extent->size >> GMPOOL_BLOCK_SHIFT))
		return false;
	gib -= shift;
	end -= shift;
	if (range->start <= gib && range->start + range->count >= end)
		return false;
	return find_next_bit(map->taken, end, gib) >= end;
}

static bool gmpool_breaks_1g(const struct gmpool_bitmap *map,
			     const struct gmpool_range *range)
{
	return gmpool_in_free_1g(map, range->start, range) ||
	       gmpool_in_free_1g(map, range->start + range->count - 1, range);
}

/**
 * gmpool_bitmap_choose - find contiguous free blocks, preferably clean ones
 * @map: bitmap of the taken blocks
 * @clean: bitmap of the same pool; a block is free here if it is free in @map
 *	and known to be zero
 * @want: as for gmpool_bitmap_find()
 * @goal: as for gmpool_bitmap_find(); it has priority over clean blocks
 * @range: filled as by gmpool_bitmap_find()
 *
 * Clean blocks are chosen if they allow as many 1 GiB mappings, or, for less
 * than 1 GiB, hold all wanted blocks in one range, and if they break no 1 GiB
 * range that @map would keep whole. With first fit, the first place is taken,
 * clean or not.
 *
 * Context: the caller holds the lock that guards both bitmaps.
 *
 * Return: 0, or -ENOSPC if no block is free.
 */
int gmpool_bitmap_choose(const struct gmpool_bitmap *map,
			 const struct gmpool_bitmap *clean, u64 want, u64 goal,
			 struct gmpool_range *range)
{
	struct gmpool_range found;
	int err;

	err = gmpool_bitmap_find(map, want, goal, range);
	if (err || range->start == goal || map->first_fit ||
	    gmpool_bitmap_find(clean, want, GMPOOL_NO_GOAL, &found))
		return err;

	if (found.count < range->count && found.count < GMPOOL_1G_BLOCKS)
		return 0;
	if (range->count >= GMPOOL_1G_BLOCKS &&
	    gmpool_starts_1g(map, range->start) &&
	    !gmpool_starts_1g(map, found.start))
		return 0;
	if (gmpool_breaks_1g(map, &found) && !gmpool_breaks_1g(map, range))
		return 0;
	*range = found;
	return 0;
}
