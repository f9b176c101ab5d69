// SPDX-License-Identifier: GPL-2.0
/*
 * Where in a pool the next blocks come from.
 *
 * Pure: a bitmap in memory and the extents that say what is physically
 * contiguous. Runs of blocks never cross from one extent to the next.
 *
 * Placement keeps the gigabytes that one PUD leaf could map, naturally aligned
 * in physical memory, whole for those who can use them: what is smaller goes
 * where they are broken already, and by best fit, so that large runs last. Who
 * would rather have the end of the pool free chooses first fit.
 */

#include <linux/bitmap.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>

#include <linux/kho/abi/guestmemfs.h>

#include "bitmap.h"

/**
 * gmpool_bitmap_init - start with all blocks free
 * @map: what to set up
 * @extents: must outlive @map; gmpool_extent.first is in order from 0
 * @nr_extents: how many
 *
 * Context: process context, may sleep.
 *
 * Return: 0, or -ENOMEM.
 */
int gmpool_bitmap_init(struct gmpool_bitmap *map,
		       const struct gmpool_extent *extents, u32 nr_extents)
{
	u64 nr_blocks = 0;
	u32 i;

	for (i = 0; i < nr_extents; i++)
		nr_blocks += extents[i].size >> GMPOOL_BLOCK_SHIFT;

	map->taken = kvcalloc(BITS_TO_LONGS(nr_blocks), sizeof(long),
			      GFP_KERNEL);
	if (!map->taken)
		return -ENOMEM;
	map->nr_blocks = nr_blocks;
	map->nr_free = nr_blocks;
	map->extents = extents;
	map->nr_extents = nr_extents;
	map->first_fit = false;
	return 0;
}

/**
 * gmpool_bitmap_destroy - undo gmpool_bitmap_init()
 * @map: may also be all zero
 */
void gmpool_bitmap_destroy(struct gmpool_bitmap *map)
{
	kvfree(map->taken);
	map->taken = NULL;
}

/* First block at or after @block where a giant page could start. */
static u64 giant_up(const struct gmpool_extent *extent, u64 block)
{
	u64 phys = (extent->base >> GMPOOL_BLOCK_SHIFT) + block - extent->first;

	return block + round_up(phys, GMPOOL_GIANT_BLOCKS) - phys;
}

/*
 * What a search has found so far. Less cost is better; what has room for all
 * that is wanted is better than what has not.
 */
struct candidate {
	struct gmpool_run run;
	u64 cost;
};

static void consider(struct candidate *best, u64 start, u64 count, u64 want,
		     u64 cost)
{
	bool fits = count >= want;
	bool best_fits = best->run.count >= want;

	if (fits != best_fits ? best_fits :
	    fits ? cost >= best->cost : count <= best->run.count)
		return;
	best->run.start = start;
	best->run.count = min(count, want);
	best->cost = cost;
}

/* A place at a giant boundary, in the smallest free run that has one. */
static void consider_giant(const struct gmpool_bitmap *map,
			   struct candidate *best,
			   const struct gmpool_extent *extent, u64 start,
			   u64 end, u64 want)
{
	u64 aligned = giant_up(extent, start);
	u64 count;

	if (aligned >= end)
		return;
	count = end - aligned;
	if (count < want)
		count = round_down(count, GMPOOL_GIANT_BLOCKS);
	if (count)
		consider(best, aligned, count, want,
			 map->first_fit ? aligned : end - start);
}

/* A place in the smallest free run, if possible one with no giant in it. */
static void consider_small(const struct gmpool_bitmap *map,
			   struct candidate *best,
			   const struct gmpool_extent *extent, u64 start,
			   u64 end, u64 want)
{
	u64 aligned = giant_up(extent, start);
	u64 tail;

	if (map->first_fit) {
		consider(best, start, end - start, want, start);
		return;
	}
	if (aligned >= end || end - aligned < GMPOOL_GIANT_BLOCKS) {
		consider(best, start, end - start, want, end - start);
		return;
	}

	/* The pieces beside the giants break nothing either. */
	if (aligned > start && aligned - start >= want)
		consider(best, start, aligned - start, want, aligned - start);
	tail = aligned + round_down(end - aligned, GMPOOL_GIANT_BLOCKS);
	if (tail < end && end - tail >= want)
		consider(best, tail, end - tail, want, end - tail);

	/*
	 * Else break the last one, and together with the tail. Dearer than
	 * anything that breaks none: no run is that long.
	 */
	if (end - start >= want)
		consider(best, end - want, want, want,
			 BIT_ULL(63) + (end - start));
	else
		consider(best, start, end - start, want, 0);
}

static const struct gmpool_extent *extent_of(const struct gmpool_bitmap *map,
					     u64 block)
{
	u32 i;

	for (i = 0; i < map->nr_extents; i++) {
		const struct gmpool_extent *extent = &map->extents[i];

		if (block >= extent->first &&
		    block - extent->first < extent->size >> GMPOOL_BLOCK_SHIFT)
			return extent;
	}
	return NULL;
}

/**
 * gmpool_bitmap_find - find free blocks that lie together
 * @map: where to look
 * @want: how many blocks, not zero
 * @goal: block to start at if it is free, so that a file goes on where it
 *	ends; or GMPOOL_NO_GOAL
 * @run: what was found, at most @want blocks. It is less where no free run is
 *	long enough: then the longest.
 *
 * From GMPOOL_GIANT_BLOCKS on, @run starts where a giant page can, if there is
 * such a place, and if it is short, its length is a multiple of that.
 *
 * Context: the caller holds what guards @map.
 *
 * Return: 0, or -ENOSPC if no block is free.
 */
int gmpool_bitmap_find(const struct gmpool_bitmap *map, u64 want, u64 goal,
		       struct gmpool_run *run)
{
	struct candidate giant = { .cost = U64_MAX };
	struct candidate small = { .cost = U64_MAX };
	const struct gmpool_extent *extent;
	u64 start, end, last;
	u32 i;

	if (!map->nr_free || !want)
		return -ENOSPC;

	extent = goal == GMPOOL_NO_GOAL ? NULL : extent_of(map, goal);
	if (extent) {
		last = extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
		last = min(last, goal + min(want, last - goal));
		end = find_next_bit(map->taken, last, goal);
		if (end > goal) {
			run->start = goal;
			run->count = end - goal;
			return 0;
		}
	}

	for (i = 0; i < map->nr_extents; i++) {
		extent = &map->extents[i];
		last = extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
		for (end = extent->first; ; ) {
			start = find_next_zero_bit(map->taken, last, end);
			if (start >= last)
				break;
			end = find_next_bit(map->taken, last, start);
			if (want >= GMPOOL_GIANT_BLOCKS)
				consider_giant(map, &giant, extent, start,
					       end, want);
			consider_small(map, &small, extent, start, end, want);
		}
	}

	*run = giant.run.count ? giant.run : small.run;
	return run->count ? 0 : -ENOSPC;
}

/* What makes a block's number in the pool one in units of physical memory. */
static u64 phys_shift(const struct gmpool_extent *extent)
{
	return (extent->base >> GMPOOL_BLOCK_SHIFT) - extent->first;
}

static bool starts_giant(const struct gmpool_bitmap *map, u64 block)
{
	return IS_ALIGNED(block + phys_shift(extent_of(map, block)),
			  GMPOOL_GIANT_BLOCKS);
}

/* Is the giant around @block free, so that a part of @run would break it? */
static bool in_free_giant(const struct gmpool_bitmap *map, u64 block,
			  const struct gmpool_run *run)
{
	const struct gmpool_extent *extent = extent_of(map, block);
	u64 shift = phys_shift(extent);
	u64 giant = round_down(block + shift, GMPOOL_GIANT_BLOCKS);
	u64 end = giant + GMPOOL_GIANT_BLOCKS;

	if (giant < extent->first + shift ||
	    end > extent->first + shift + (extent->size >> GMPOOL_BLOCK_SHIFT))
		return false;
	giant -= shift;
	end -= shift;
	if (run->start <= giant && run->start + run->count >= end)
		return false;
	return find_next_bit(map->taken, end, giant) >= end;
}

static bool breaks_giant(const struct gmpool_bitmap *map,
			 const struct gmpool_run *run)
{
	return in_free_giant(map, run->start, run) ||
	       in_free_giant(map, run->start + run->count - 1, run);
}

/**
 * gmpool_bitmap_choose - find free blocks that lie together, clean ones if they
 *	are as good
 * @map: which blocks are taken
 * @clean: of the same pool; free are those that are free in @map and known to
 *	be zero
 * @want: as for gmpool_bitmap_find()
 * @goal: as for gmpool_bitmap_find(); a file that goes on where it ends matters
 *	more than what is clean
 * @run: what was found, as by gmpool_bitmap_find()
 *
 * Clean blocks are as good if they do as many gigabyte leaves, or hold all in
 * one piece that is smaller than that, and break none that @map keeps whole.
 * With first fit, there is one place that is best.
 *
 * Context: the caller holds what guards the maps.
 *
 * Return: 0, or -ENOSPC if no block is free.
 */
int gmpool_bitmap_choose(const struct gmpool_bitmap *map,
			 const struct gmpool_bitmap *clean, u64 want, u64 goal,
			 struct gmpool_run *run)
{
	struct gmpool_run found;
	int err;

	err = gmpool_bitmap_find(map, want, goal, run);
	if (err || run->start == goal || map->first_fit ||
	    gmpool_bitmap_find(clean, want, GMPOOL_NO_GOAL, &found))
		return err;

	if (found.count < run->count && found.count < GMPOOL_GIANT_BLOCKS)
		return 0;
	if (run->count >= GMPOOL_GIANT_BLOCKS &&
	    starts_giant(map, run->start) && !starts_giant(map, found.start))
		return 0;
	if (breaks_giant(map, &found) && !breaks_giant(map, run))
		return 0;
	*run = found;
	return 0;
}

static bool run_valid(const struct gmpool_bitmap *map,
		      const struct gmpool_run *run)
{
	return run->count && run->start < map->nr_blocks &&
	       run->count <= map->nr_blocks - run->start;
}

/* bitmap_set() and bitmap_clear() count in 32 bits. */
#define BITMAP_STEP	BIT_ULL(30)

/**
 * gmpool_bitmap_take - take blocks
 * @map: where
 * @run: which
 *
 * Context: the caller holds what guards @map.
 *
 * Return: 0; -EINVAL if @run is empty or not within the pool; -EBUSY if one of
 * the blocks is taken, and then none was.
 */
int gmpool_bitmap_take(struct gmpool_bitmap *map, const struct gmpool_run *run)
{
	u64 done, step;

	if (!run_valid(map, run))
		return -EINVAL;
	if (find_next_bit(map->taken, run->start + run->count, run->start) <
	    run->start + run->count)
		return -EBUSY;

	for (done = 0; done < run->count; done += step) {
		step = min(run->count - done, BITMAP_STEP);
		bitmap_set(map->taken, run->start + done, step);
	}
	map->nr_free -= run->count;
	return 0;
}

/**
 * gmpool_bitmap_take_free - take those blocks of a run that are free
 * @map: where
 * @run: which, within the pool
 *
 * Context: the caller holds what guards @map.
 */
void gmpool_bitmap_take_free(struct gmpool_bitmap *map,
			     const struct gmpool_run *run)
{
	u64 end = run->start + run->count;
	struct gmpool_run part;

	for (part.start = run->start; ; part.start += part.count) {
		part.start = find_next_zero_bit(map->taken, end, part.start);
		if (part.start >= end)
			return;
		part.count = find_next_bit(map->taken, end, part.start) -
			     part.start;
		gmpool_bitmap_take(map, &part);
	}
}

/**
 * gmpool_bitmap_put - give blocks back
 * @map: where
 * @run: which
 *
 * Context: the caller holds what guards @map.
 *
 * Return: 0; -EINVAL if @run is empty, not within the pool, or if one of the
 * blocks is free already, and then nothing was changed.
 */
int gmpool_bitmap_put(struct gmpool_bitmap *map, const struct gmpool_run *run)
{
	u64 done, step;

	if (!run_valid(map, run))
		return -EINVAL;
	if (find_next_zero_bit(map->taken, run->start + run->count, run->start) <
	    run->start + run->count)
		return -EINVAL;

	for (done = 0; done < run->count; done += step) {
		step = min(run->count - done, BITMAP_STEP);
		bitmap_clear(map->taken, run->start + done, step);
	}
	map->nr_free += run->count;
	return 0;
}

/**
 * gmpool_bitmap_largest - how much there is in one piece
 * @map: where to look
 *
 * Context: the caller holds what guards @map.
 *
 * Return: blocks of the longest free run.
 */
u64 gmpool_bitmap_largest(const struct gmpool_bitmap *map)
{
	u64 largest = 0;
	u64 start, end, last;
	u32 i;

	for (i = 0; i < map->nr_extents; i++) {
		end = map->extents[i].first;
		last = end + (map->extents[i].size >> GMPOOL_BLOCK_SHIFT);
		while (end < last) {
			start = find_next_zero_bit(map->taken, last, end);
			end = find_next_bit(map->taken, last, start);
			largest = max(largest, end - start);
		}
	}
	return largest;
}

/**
 * gmpool_bitmap_giants - how many free gigabytes one leaf each could map
 * @map: where to look
 *
 * Context: the caller holds what guards @map.
 *
 * Return: free runs of GMPOOL_GIANT_BLOCKS that start where a giant page can.
 */
u64 gmpool_bitmap_giants(const struct gmpool_bitmap *map)
{
	const struct gmpool_extent *extent;
	u64 nr = 0;
	u64 start, end;
	u32 i;

	for (i = 0; i < map->nr_extents; i++) {
		extent = &map->extents[i];
		end = extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
		for (start = giant_up(extent, extent->first);
		     start + GMPOOL_GIANT_BLOCKS <= end;
		     start += GMPOOL_GIANT_BLOCKS) {
			if (find_next_bit(map->taken, start + GMPOOL_GIANT_BLOCKS,
					  start) >= start + GMPOOL_GIANT_BLOCKS)
				nr++;
		}
	}
	return nr;
}
