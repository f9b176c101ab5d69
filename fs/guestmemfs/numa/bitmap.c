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
 *
 * An index says of each gigabyte how its free runs begin, end and how long they
 * are. A search goes through the index, and looks at the bits of a gigabyte only
 * if a run in it can be better than what was found.
 */

#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>

#include <linux/kho/abi/guestmemfs.h>

#include "bitmap.h"

/**
 * struct gmpool_bitmap_group - the blocks of an extent in one gigabyte of
 *	physical memory, naturally aligned
 * @head: free blocks that it starts with
 * @tail: free blocks that it ends with
 * @longest: blocks of its longest free run
 */
struct gmpool_bitmap_group {
	u16 head;
	u16 tail;
	u16 longest;
};

/**
 * struct gmpool_bitmap_index - what is known of the free runs of a bitmap
 * @longest: no free run has more blocks; U64_MAX if that is not known
 * @from: if it is known: no free run that starts before this block has as many
 * @groups: by rising block
 */
struct gmpool_bitmap_index {
	u64 longest;
	u64 from;
	struct gmpool_bitmap_group groups[];
};

static u64 gmpool_extent_end(const struct gmpool_extent *extent)
{
	return extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
}

/* First block at or after @block where a giant page could start. */
static u64 gmpool_giant_up(const struct gmpool_extent *extent, u64 block)
{
	u64 phys = (extent->base >> GMPOOL_BLOCK_SHIFT) + block - extent->first;

	return block + round_up(phys, GMPOOL_GIANT_BLOCKS) - phys;
}

/* The end of the group of @block, which is in @extent. */
static u64 gmpool_group_end(const struct gmpool_extent *extent, u64 block)
{
	return min(gmpool_giant_up(extent, block + 1),
		   gmpool_extent_end(extent));
}

/* Which group of @extent has @block. */
static u64 gmpool_group_nr(const struct gmpool_extent *extent, u64 block)
{
	u64 phys = extent->base >> GMPOOL_BLOCK_SHIFT;

	return (phys + block - extent->first) / GMPOOL_GIANT_BLOCKS -
	       phys / GMPOOL_GIANT_BLOCKS;
}

/* The first block of group @nr of @extent. */
static u64 gmpool_group_start(const struct gmpool_extent *extent, u64 nr)
{
	return nr ? gmpool_giant_up(extent, extent->first + 1) +
		    (nr - 1) * GMPOOL_GIANT_BLOCKS : extent->first;
}

static u64 gmpool_nr_groups(const struct gmpool_extent *extent)
{
	return extent->size >> GMPOOL_BLOCK_SHIFT ?
	       gmpool_group_nr(extent, gmpool_extent_end(extent) - 1) + 1 : 0;
}

/* Free blocks are set bits in what this returns: @nr from @block on. */
static unsigned long gmpool_free_bits(const struct gmpool_bitmap *map,
				      u64 block, unsigned int nr)
{
	unsigned int shift = block % BITS_PER_LONG;
	unsigned long bits = map->taken[BIT_WORD(block)] >> shift;

	if (shift && nr > BITS_PER_LONG - shift)
		bits |= map->taken[BIT_WORD(block) + 1] << (BITS_PER_LONG - shift);
	return ~bits & BITMAP_LAST_WORD_MASK(nr);
}

static unsigned int gmpool_longest_in_word(unsigned long bits)
{
	unsigned int longest = 0;

	for (; bits; bits &= bits << 1)
		longest++;
	return longest;
}

/* Look at the bits from @start to @end, which are a group. */
static void gmpool_update_group(const struct gmpool_bitmap *map,
				struct gmpool_bitmap_group *group, u64 start,
				u64 end)
{
	unsigned int open = 0, longest = 0, nr;
	unsigned long bits;
	u64 block;

	for (block = start; block < end; block += nr) {
		nr = min_t(u64, end - block, BITS_PER_LONG);
		bits = gmpool_free_bits(map, block, nr);
		if (bits == BITMAP_LAST_WORD_MASK(nr)) {
			open += nr;
			continue;
		}
		open += __ffs(~bits);
		longest = max(longest, max(open, gmpool_longest_in_word(bits)));
		/* Nothing is free in the bits that are not of the group. */
		open = 0;
		if (test_bit(nr - 1, &bits))
			open = nr - 1 - __fls(~bits & BITMAP_LAST_WORD_MASK(nr));
	}
	group->head = find_next_bit(map->taken, end, start) - start;
	group->tail = open;
	group->longest = max(longest, open);
}

/* Bring the index up to date with the bits of @run. */
static void gmpool_update_index(struct gmpool_bitmap *map,
				const struct gmpool_run *run)
{
	struct gmpool_bitmap_group *groups = map->index->groups;
	u64 run_end = run->start + run->count;
	const struct gmpool_extent *extent;
	u64 block, start, end, nr;
	u32 i;

	for (i = 0; i < map->nr_extents;
	     i++, groups += gmpool_nr_groups(extent)) {
		extent = &map->extents[i];
		if (run_end <= extent->first)
			break;
		block = max(run->start, extent->first);
		for (; block < min(run_end, gmpool_extent_end(extent));
		     block = end) {
			end = gmpool_group_end(extent, block);
			nr = gmpool_group_nr(extent, block);
			start = gmpool_group_start(extent, nr);
			gmpool_update_group(map, &groups[nr], start, end);
		}
	}
}

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
	struct gmpool_run all = {};
	u64 groups = 0;
	u32 i;

	for (i = 0; i < nr_extents; i++) {
		all.count += extents[i].size >> GMPOOL_BLOCK_SHIFT;
		groups += gmpool_nr_groups(&extents[i]);
	}

	map->taken = kvcalloc(BITS_TO_LONGS(all.count), sizeof(long),
			      GFP_KERNEL);
	if (!map->taken)
		return -ENOMEM;
	map->index = kvzalloc(struct_size(map->index, groups, groups),
			      GFP_KERNEL);
	if (!map->index) {
		kvfree(map->taken);
		map->taken = NULL;
		return -ENOMEM;
	}
	map->nr_blocks = all.count;
	map->nr_free = all.count;
	map->extents = extents;
	map->nr_extents = nr_extents;
	map->first_fit = false;
	map->index->longest = U64_MAX;
	gmpool_update_index(map, &all);
	return 0;
}

/**
 * gmpool_bitmap_destroy - undo gmpool_bitmap_init()
 * @map: may also be all zero
 */
void gmpool_bitmap_destroy(struct gmpool_bitmap *map)
{
	kvfree(map->taken);
	kvfree(map->index);
	map->taken = NULL;
	map->index = NULL;
}

/*
 * What a search has found so far. Less cost is better; what has room for all
 * that is wanted is better than what has not.
 */
struct candidate {
	struct gmpool_run run;
	u64 cost;
};

static void gmpool_consider(struct candidate *best, u64 start, u64 count,
			    u64 want, u64 cost)
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
static void gmpool_consider_giant(const struct gmpool_bitmap *map,
				  struct candidate *best,
				  const struct gmpool_extent *extent, u64 start,
				  u64 end, u64 want)
{
	u64 aligned = gmpool_giant_up(extent, start);
	u64 count;

	if (aligned >= end)
		return;
	count = end - aligned;
	if (count < want)
		count = round_down(count, GMPOOL_GIANT_BLOCKS);
	if (count)
		gmpool_consider(best, aligned, count, want,
				map->first_fit ? aligned : end - start);
}

/* A place in the smallest free run, if possible one with no giant in it. */
static void gmpool_consider_small(const struct gmpool_bitmap *map,
				  struct candidate *best,
				  const struct gmpool_extent *extent, u64 start,
				  u64 end, u64 want)
{
	u64 aligned = gmpool_giant_up(extent, start);
	u64 tail;

	if (map->first_fit) {
		gmpool_consider(best, start, end - start, want, start);
		return;
	}
	if (aligned >= end || end - aligned < GMPOOL_GIANT_BLOCKS) {
		gmpool_consider(best, start, end - start, want, end - start);
		return;
	}

	/* The pieces beside the giants break nothing either. */
	if (aligned > start && aligned - start >= want)
		gmpool_consider(best, start, aligned - start, want,
				aligned - start);
	tail = aligned + round_down(end - aligned, GMPOOL_GIANT_BLOCKS);
	if (tail < end && end - tail >= want)
		gmpool_consider(best, tail, end - tail, want, end - tail);

	/*
	 * Else break the last one, and together with the tail. Dearer than
	 * anything that breaks none: no run is that long.
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
 * @enough: the first run with that many is the best; U64_MAX if none has to be
 * @giant: the best place at a giant boundary
 * @small: the best place, if there is no such
 */
struct search {
	const struct gmpool_bitmap *map;
	u64 want;
	u64 enough;
	struct candidate giant;
	struct candidate small;
};

static void gmpool_consider_run(struct search *search,
				const struct gmpool_extent *extent, u64 start,
				u64 end)
{
	if (search->want >= GMPOOL_GIANT_BLOCKS)
		gmpool_consider_giant(search->map, &search->giant, extent,
				      start, end, search->want);
	gmpool_consider_small(search->map, &search->small, extent, start, end,
			      search->want);
}

/* Can a run of at most @longest blocks, in which no giant starts, be better? */
static bool gmpool_can_improve(const struct search *search, u64 longest)
{
	const struct candidate *best = &search->small;

	if (best->run.count < search->want)
		return longest > best->run.count;
	return longest >= search->want && !search->map->first_fit &&
	       best->cost > search->want;
}

/* Was something found that nothing behind it can be better than? */
static bool gmpool_found_best(const struct search *search)
{
	const struct candidate *best = &search->small;

	if (best->run.count >= search->enough)
		return true;
	return search->want < GMPOOL_GIANT_BLOCKS &&
	       best->run.count >= search->want &&
	       (search->map->first_fit || best->cost <= search->want);
}

/* Look at those free runs that are within a group. */
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
		gmpool_consider_run(search, extent, start, next);
	}
}

/*
 * Look at the free runs of an extent from the group of block @from on. Of a run
 * that begins before that group, what is in it counts.
 */
static void gmpool_search_extent(struct search *search,
				 const struct gmpool_extent *extent,
				 const struct gmpool_bitmap_group *group,
				 u64 from)
{
	u64 start, end, open, last = gmpool_extent_end(extent);

	/* Where the free run starts that reaches to the end of the group before. */
	open = from;
	for (start = from; start < last && !gmpool_found_best(search);
	     start = end, group++) {
		end = gmpool_group_end(extent, start);
		if (group->head == end - start)
			continue;
		if (start + group->head > open)
			gmpool_consider_run(search, extent, open,
					    start + group->head);
		if (gmpool_can_improve(search, group->longest))
			gmpool_search_group(search, extent, start + group->head,
					    end - group->tail);
		open = end - group->tail;
	}
	if (start >= last && open < last)
		gmpool_consider_run(search, extent, open, last);
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
		.giant.cost = U64_MAX,
		.small.cost = U64_MAX,
	};
}

/*
 * Who wants more than any run has gets the longest ones, one after the other. It
 * is known where the search for the one before has found the first of its length:
 * if there is another, it is behind that.
 */
static void gmpool_search_map(struct search *search,
			      const struct gmpool_bitmap *map, u64 want)
{
	struct gmpool_bitmap_index *index = map->index;

	gmpool_search_start(search, map, want);
	if (want > index->longest && index->longest < GMPOOL_GIANT_BLOCKS) {
		search->enough = index->longest;
		gmpool_search_from(search, index->from);
		if (search->small.run.count >= search->enough) {
			index->from = search->small.run.start;
			return;
		}
		gmpool_search_start(search, map, want);
	}
	gmpool_search_from(search, 0);
	if (search->small.run.count < want) {
		index->longest = search->small.run.count;
		index->from = search->small.run.start;
	}
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
			run->start = goal;
			run->count = end - goal;
			return 0;
		}
	}

	gmpool_search_map(&search, map, want);
	*run = search.giant.run.count ? search.giant.run : search.small.run;
	return run->count ? 0 : -ENOSPC;
}

/* What makes a block's number in the pool one in units of physical memory. */
static u64 gmpool_phys_shift(const struct gmpool_extent *extent)
{
	return (extent->base >> GMPOOL_BLOCK_SHIFT) - extent->first;
}

static bool gmpool_starts_giant(const struct gmpool_bitmap *map, u64 block)
{
	u64 shift = gmpool_phys_shift(gmpool_extent_of(map, block));

	return IS_ALIGNED(block + shift, GMPOOL_GIANT_BLOCKS);
}

/* Is the giant around @block free, so that a part of @run would break it? */
static bool gmpool_in_free_giant(const struct gmpool_bitmap *map, u64 block,
				 const struct gmpool_run *run)
{
	const struct gmpool_extent *extent = gmpool_extent_of(map, block);
	u64 shift = gmpool_phys_shift(extent);
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

static bool gmpool_breaks_giant(const struct gmpool_bitmap *map,
				const struct gmpool_run *run)
{
	return gmpool_in_free_giant(map, run->start, run) ||
	       gmpool_in_free_giant(map, run->start + run->count - 1, run);
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
	    gmpool_starts_giant(map, run->start) &&
	    !gmpool_starts_giant(map, found.start))
		return 0;
	if (gmpool_breaks_giant(map, &found) && !gmpool_breaks_giant(map, run))
		return 0;
	*run = found;
	return 0;
}

static bool gmpool_run_valid(const struct gmpool_bitmap *map,
			     const struct gmpool_run *run)
{
	return run->count && run->start < map->nr_blocks &&
	       run->count <= map->nr_blocks - run->start;
}

/* bitmap_set() and bitmap_clear() count in 32 bits. */
#define GMPOOL_BITMAP_STEP	BIT_ULL(30)

/* The caller brings the index up to date. */
static void gmpool_bitmap_mark(struct gmpool_bitmap *map, u64 start, u64 count,
			       bool taken)
{
	u64 done, step;

	for (done = 0; done < count; done += step) {
		step = min(count - done, GMPOOL_BITMAP_STEP);
		if (taken)
			bitmap_set(map->taken, start + done, step);
		else
			bitmap_clear(map->taken, start + done, step);
	}
	if (taken)
		map->nr_free -= count;
	else
		map->nr_free += count;
}

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
	if (!gmpool_run_valid(map, run))
		return -EINVAL;
	if (find_next_bit(map->taken, run->start + run->count, run->start) <
	    run->start + run->count)
		return -EBUSY;

	gmpool_bitmap_mark(map, run->start, run->count, true);
	gmpool_update_index(map, run);
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
	u64 start, next, end = run->start + run->count;
	u64 nr_free = map->nr_free;

	for (start = run->start; ; start = next) {
		start = find_next_zero_bit(map->taken, end, start);
		if (start >= end)
			break;
		next = find_next_bit(map->taken, end, start);
		gmpool_bitmap_mark(map, start, next - start, true);
	}
	if (map->nr_free != nr_free)
		gmpool_update_index(map, run);
}

static bool gmpool_bitmap_all_taken(const struct gmpool_bitmap *map,
				    const struct gmpool_run *run)
{
	u64 end = run->start + run->count;

	return find_next_zero_bit(map->taken, end, run->start) >= end;
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
	if (!gmpool_run_valid(map, run) || !gmpool_bitmap_all_taken(map, run))
		return -EINVAL;

	gmpool_bitmap_mark(map, run->start, run->count, false);
	gmpool_update_index(map, run);
	map->index->longest = U64_MAX;
	return 0;
}

/* The next clear bits of @mask, from @from up to @to; false if none are before @end. */
static bool gmpool_next_clear(const unsigned long *mask, u32 *from, u32 *to,
			      u32 end)
{
	*from = find_next_zero_bit(mask, end, *from);
	if (*from >= end)
		return false;
	*to = find_next_bit(mask, end, *from);
	return true;
}

/**
 * gmpool_bitmap_put_clear - give those blocks back that have no bit in a mask
 * @map: where
 * @first: the block of bit 0 in @mask
 * @mask: bits set are for blocks that stay as they are
 * @start: first bit to look at
 * @end: bit to stop at, above @start
 *
 * Context: the caller holds what guards @map.
 *
 * Return: 0; -EINVAL if it is not within the pool, or if one of the blocks is free
 * already, and then nothing was changed.
 */
int gmpool_bitmap_put_clear(struct gmpool_bitmap *map, u64 first,
			    const unsigned long *mask, u32 start, u32 end)
{
	struct gmpool_run all = { .start = first + start, .count = end - start };
	u32 from, to;
	u64 nr_free;

	if (!gmpool_run_valid(map, &all))
		return -EINVAL;
	for (from = start; gmpool_next_clear(mask, &from, &to, end); from = to) {
		struct gmpool_run run = { .start = first + from, .count = to - from };

		if (!gmpool_bitmap_all_taken(map, &run))
			return -EINVAL;
	}
	nr_free = map->nr_free;
	for (from = start; gmpool_next_clear(mask, &from, &to, end); from = to)
		gmpool_bitmap_mark(map, first + from, to - from, false);
	if (map->nr_free == nr_free)
		return 0;
	gmpool_update_index(map, &all);
	map->index->longest = U64_MAX;
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
	const struct gmpool_bitmap_group *group = map->index->groups;
	const struct gmpool_extent *extent;
	u64 largest = 0;
	u64 start, end, open;
	u32 i;

	for (i = 0; i < map->nr_extents; i++) {
		extent = &map->extents[i];
		open = 0;
		for (start = extent->first; start < gmpool_extent_end(extent);
		     start = end, group++) {
			end = gmpool_group_end(extent, start);
			open += group->head;
			largest = max(largest, max(open, (u64)group->longest));
			if (group->head != end - start)
				open = group->tail;
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
	const struct gmpool_bitmap_group *group = map->index->groups;
	u64 nr = 0;
	u32 i;
	u64 g;

	for (i = 0; i < map->nr_extents; i++)
		for (g = gmpool_nr_groups(&map->extents[i]); g; g--, group++)
			nr += group->head == GMPOOL_GIANT_BLOCKS;
	return nr;
}
