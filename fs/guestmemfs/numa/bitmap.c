// SPDX-License-Identifier: GPL-2.0
/*
 * Bitmap of the taken blocks of a pool. choose.c finds the best free blocks.
 *
 * Pure code: a bitmap in memory, and the extents, which tell what is physically
 * contiguous. A range of blocks never crosses an extent boundary.
 *
 * For each 1 GiB, an index has the free blocks at its start and end, and the
 * length of its longest free range.
 */

#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/minmax.h>
#include <linux/mm.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "bitmap.h"
#include "groups.h"

/* Return the free blocks as set bits: @nr blocks from @block on. */
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

/* Compute the index of the group with the bits from @start to @end. */
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
		/* Bits outside the group do not continue a free range. */
		open = 0;
		if (test_bit(nr - 1, &bits))
			open = nr - 1 - __fls(~bits & BITMAP_LAST_WORD_MASK(nr));
	}
	group->head = find_next_bit(map->taken, end, start) - start;
	group->tail = open;
	group->longest = max(longest, open);
}

/* Update the index for the bits of @range. */
static void gmpool_update_index(struct gmpool_bitmap *map,
				const struct gmpool_range *range)
{
	struct gmpool_bitmap_group *groups = map->index->groups;
	u64 range_end = range->start + range->count;
	const struct gmpool_extent *extent;
	u64 block, start, end, nr;
	u32 i;

	for (i = 0; i < map->nr_extents;
	     i++, groups += gmpool_nr_groups(extent)) {
		extent = &map->extents[i];
		if (range_end <= extent->first)
			break;
		block = max(range->start, extent->first);
		for (; block < min(range_end, gmpool_extent_end(extent));
		     block = end) {
			end = gmpool_group_end(extent, block);
			nr = gmpool_group_nr(extent, block);
			start = gmpool_group_start(extent, nr);
			gmpool_update_group(map, &groups[nr], start, end);
		}
	}
}

/* In steps: bitmap_set() and bitmap_clear() count in 32 bits. */
#define GMPOOL_BITMAP_STEP	BIT_ULL(30)

/* The caller updates the index. */
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
 * gmpool_bitmap_init - set up a bitmap with all blocks free
 * @map: bitmap to set up
 * @extents: must outlive @map; gmpool_extent.first ascends
 * @nr_extents: number of extents
 *
 * Numbers between the extents, which are no blocks, are taken.
 *
 * Context: process context, may sleep.
 *
 * Return: 0, or -ENOMEM.
 */
int gmpool_bitmap_init(struct gmpool_bitmap *map,
		       const struct gmpool_extent *extents, u32 nr_extents)
{
	struct gmpool_range all = {};
	u64 groups = 0, at = 0;
	u32 i;

	for (i = 0; i < nr_extents; i++) {
		all.count = gmpool_extent_end(&extents[i]);
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
	for (i = 0; i < nr_extents; i++) {
		if (extents[i].first > at)
			gmpool_bitmap_mark(map, at, extents[i].first - at, true);
		at = gmpool_extent_end(&extents[i]);
	}
	gmpool_update_index(map, &all);
	return 0;
}

/**
 * gmpool_bitmap_replace - continue a bitmap with other extents
 * @map: the bitmap; gets the memory of @spare
 * @spare: set up for the new extents; gets the memory of @map
 *
 * Blocks of both keep their state. Blocks that only @spare has are taken, and those
 * that only @map has were taken.
 *
 * Context: the caller holds the lock that guards @map, and has changed the extents
 * that @map refers to into those of @spare.
 */
void gmpool_bitmap_replace(struct gmpool_bitmap *map, struct gmpool_bitmap *spare)
{
	struct gmpool_range all = { .count = spare->nr_blocks };
	u64 keep = min(map->nr_blocks, spare->nr_blocks);

	gmpool_bitmap_mark(spare, 0, spare->nr_blocks, true);
	memcpy(spare->taken, map->taken, round_down(keep, BITS_PER_LONG) / BITS_PER_BYTE);
	for (keep = round_down(keep, BITS_PER_LONG);
	     keep < min(map->nr_blocks, spare->nr_blocks); keep++)
		if (!test_bit(keep, map->taken))
			__clear_bit(keep, spare->taken);
	spare->nr_free = map->nr_free;
	spare->extents = map->extents;
	spare->first_fit = map->first_fit;
	spare->index->longest = U64_MAX;
	gmpool_update_index(spare, &all);
	swap(*map, *spare);
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

static bool gmpool_range_valid(const struct gmpool_bitmap *map,
			       const struct gmpool_range *range)
{
	return range->count && range->start < map->nr_blocks &&
	       range->count <= map->nr_blocks - range->start;
}

/**
 * gmpool_bitmap_take - mark free blocks as taken
 * @map: the bitmap
 * @range: the blocks
 *
 * Context: the caller holds the lock that guards @map.
 *
 * Return: 0; -EINVAL if @range is empty or not within the pool; -EBUSY if one of
 * the blocks is taken, nothing is changed then.
 */
int gmpool_bitmap_take(struct gmpool_bitmap *map, const struct gmpool_range *range)
{
	if (!gmpool_range_valid(map, range))
		return -EINVAL;
	if (find_next_bit(map->taken, range->start + range->count, range->start) <
	    range->start + range->count)
		return -EBUSY;

	gmpool_bitmap_mark(map, range->start, range->count, true);
	gmpool_update_index(map, range);
	return 0;
}

/**
 * gmpool_bitmap_take_free - take those blocks of a range that are free
 * @map: the bitmap
 * @range: the blocks, within the pool
 *
 * Context: the caller holds the lock that guards @map.
 */
void gmpool_bitmap_take_free(struct gmpool_bitmap *map,
			     const struct gmpool_range *range)
{
	u64 start, next, end = range->start + range->count;
	u64 nr_free = map->nr_free;

	for (start = range->start; ; start = next) {
		start = find_next_zero_bit(map->taken, end, start);
		if (start >= end)
			break;
		next = find_next_bit(map->taken, end, start);
		gmpool_bitmap_mark(map, start, next - start, true);
	}
	if (map->nr_free != nr_free)
		gmpool_update_index(map, range);
}

static bool gmpool_bitmap_all_taken(const struct gmpool_bitmap *map,
				    const struct gmpool_range *range)
{
	u64 end = range->start + range->count;

	return find_next_zero_bit(map->taken, end, range->start) >= end;
}

/**
 * gmpool_bitmap_put - mark taken blocks as free
 * @map: the bitmap
 * @range: the blocks
 *
 * Context: the caller holds the lock that guards @map.
 *
 * Return: 0; -EINVAL if @range is empty, not within the pool, or if one of the
 * blocks is free already; nothing is changed then.
 */
int gmpool_bitmap_put(struct gmpool_bitmap *map, const struct gmpool_range *range)
{
	if (!gmpool_range_valid(map, range) || !gmpool_bitmap_all_taken(map, range))
		return -EINVAL;

	gmpool_bitmap_mark(map, range->start, range->count, false);
	gmpool_update_index(map, range);
	map->index->longest = U64_MAX;
	return 0;
}

/*
 * Set @from and @to to the next clear bits of @mask, from @from on. Returns
 * false if there are none before @end.
 */
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
 * gmpool_bitmap_put_clear - free those blocks whose bit in a mask is clear
 * @map: the bitmap
 * @first: the block of bit 0 in @mask
 * @mask: a set bit leaves its block unchanged
 * @start: first bit to look at
 * @end: bit to stop at, above @start
 *
 * Context: the caller holds the lock that guards @map.
 *
 * Return: 0; -EINVAL if the range is not within the pool, or if one of the
 * blocks is free already; nothing is changed then.
 */
int gmpool_bitmap_put_clear(struct gmpool_bitmap *map, u64 first,
			    const unsigned long *mask, u32 start, u32 end)
{
	struct gmpool_range all = { .start = first + start, .count = end - start };
	u32 from, to;
	u64 nr_free;

	if (!gmpool_range_valid(map, &all))
		return -EINVAL;
	for (from = start; gmpool_next_clear(mask, &from, &to, end); from = to) {
		struct gmpool_range range = { .start = first + from, .count = to - from };

		if (!gmpool_bitmap_all_taken(map, &range))
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
 * gmpool_bitmap_largest - length of the longest free range
 * @map: the bitmap
 *
 * Context: the caller holds the lock that guards @map.
 *
 * Return: blocks.
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
 * gmpool_bitmap_free_1g - number of free 1 GiB ranges
 * @map: the bitmap
 *
 * Context: the caller holds the lock that guards @map.
 *
 * Return: free ranges of GMPOOL_1G_BLOCKS with an alignment of 1 GiB.
 */
u64 gmpool_bitmap_free_1g(const struct gmpool_bitmap *map)
{
	const struct gmpool_bitmap_group *group = map->index->groups;
	u64 nr = 0;
	u32 i;
	u64 g;

	for (i = 0; i < map->nr_extents; i++)
		for (g = gmpool_nr_groups(&map->extents[i]); g; g--, group++)
			nr += group->head == GMPOOL_1G_BLOCKS;
	return nr;
}
