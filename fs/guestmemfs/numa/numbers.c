// SPDX-License-Identifier: GPL-2.0
/*
 * The numbers of a pool's blocks.
 *
 * Records, bitmaps and the list of failed pages name a block by its number, so a block
 * keeps its number as long as it belongs to the pool. At boot, the numbers of a new pool
 * count through its extents by rising address. Memory that is added later gets numbers
 * that are free, and memory that leaves the pool leaves numbers without a block.
 *
 * An extent is contiguous in memory and in numbers, and a pool has at most
 * GMPOOL_MAX_EXTENTS of them. So memory gets numbers by which it becomes a part of an
 * extent next to it, now or when the memory in between is added too: the difference of
 * number and address is the same as in another extent.
 *
 * Pure code.
 */

#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/sort.h>
#include <linux/string.h>

#include "format.h"
#include "numbers.h"

static u64 gmpool_extent_blocks(const struct gmpool_extent *extent)
{
	return extent->size >> GMPOOL_BLOCK_SHIFT;
}

/**
 * gmpool_numbers_end - end of the block numbers
 * @numbers: the extents
 *
 * Return: the highest number of a block plus one, or 0.
 */
u64 gmpool_numbers_end(const struct gmpool_numbers *numbers)
{
	const struct gmpool_extent *last = &numbers->extent[numbers->nr - 1];

	return numbers->nr ? last->first + gmpool_extent_blocks(last) : 0;
}

/**
 * gmpool_numbers_blocks - number of blocks
 * @numbers: the extents
 *
 * Return: blocks of all extents.
 */
u64 gmpool_numbers_blocks(const struct gmpool_numbers *numbers)
{
	u64 blocks = 0;
	u32 i;

	for (i = 0; i < numbers->nr; i++)
		blocks += gmpool_extent_blocks(&numbers->extent[i]);
	return blocks;
}

/* Are @blocks numbers from @first on free? */
static bool gmpool_numbers_free(const struct gmpool_numbers *numbers, u64 first,
				u64 blocks)
{
	const struct gmpool_extent *extent;
	u32 i;

	for (i = 0; i < numbers->nr; i++) {
		extent = &numbers->extent[i];
		if (first < extent->first + gmpool_extent_blocks(extent) &&
		    extent->first < first + blocks)
			return false;
	}
	return true;
}

/* The number of the block at @base if it continued the numbers of @extent, or ~0. */
static u64 gmpool_numbers_continue(const struct gmpool_numbers *numbers,
				   const struct gmpool_extent *extent, u64 base,
				   u64 blocks)
{
	u64 first = extent->first + (base >> GMPOOL_BLOCK_SHIFT);
	u64 shift = extent->base >> GMPOOL_BLOCK_SHIFT;

	if (first < shift || first - shift > GMPOOL_MAX_BLOCKS - blocks ||
	    !gmpool_numbers_free(numbers, first - shift, blocks))
		return ~0ULL;
	return first - shift;
}

/**
 * gmpool_numbers_above - the next extent by ascending address
 * @numbers: the extents
 * @from: physical address
 *
 * Context: any; the caller guards @numbers.
 *
 * Return: the extent with the lowest address that is not below @from, or NULL.
 */
const struct gmpool_extent *gmpool_numbers_above(const struct gmpool_numbers *numbers,
						 u64 from)
{
	const struct gmpool_extent *extent, *found = NULL;
	u32 i;

	for (i = 0; i < numbers->nr; i++) {
		extent = &numbers->extent[i];
		if (extent->base >= from && (!found || extent->base < found->base))
			found = extent;
	}
	return found;
}

/**
 * gmpool_numbers_top - end of the highest extent
 * @numbers: the extents
 *
 * Context: any; the caller guards @numbers.
 *
 * Return: physical address, 0 without extents.
 */
u64 gmpool_numbers_top(const struct gmpool_numbers *numbers)
{
	u64 top = 0;
	u32 i;

	for (i = 0; i < numbers->nr; i++)
		top = max(top, numbers->extent[i].base + numbers->extent[i].size);
	return top;
}

/**
 * gmpool_numbers_choose - choose the numbers of further blocks
 * @numbers: the extents, at least one
 * @base: physical address of the blocks, outside of all extents
 * @size: bytes
 * @lowest: lowest physical address that the pool could have, at most @base
 *
 * Memory below all extents gets numbers above all others, with room for the memory
 * further below.
 *
 * Return: number of the first block; ~0 if there is none.
 */
u64 gmpool_numbers_choose(const struct gmpool_numbers *numbers, u64 base, u64 size,
			  u64 lowest)
{
	u64 end = gmpool_numbers_end(numbers);
	u64 blocks = size >> GMPOOL_BLOCK_SHIFT;
	const struct gmpool_extent *extent;
	bool highest = true;
	u64 first;
	u32 i;

	/* The end of one extent, or the start of one: it becomes a part of it. */
	for (i = 0; i < numbers->nr; i++) {
		extent = &numbers->extent[i];
		if (extent->base > base)
			highest = false;
		if (extent->base != base + size && extent->base + extent->size != base)
			continue;
		first = gmpool_numbers_continue(numbers, extent, base, blocks);
		if (first != ~0ULL)
			return first;
	}
	/* Here numbers go on rising with the address, if they have done so far. */
	if (highest)
		return end <= GMPOOL_MAX_BLOCKS - blocks ? end : ~0ULL;
	for (i = 0; i < numbers->nr; i++) {
		first = gmpool_numbers_continue(numbers, &numbers->extent[i], base, blocks);
		if (first != ~0ULL)
			return first;
	}
	first = end + ((base - lowest) >> GMPOOL_BLOCK_SHIFT);
	return first <= GMPOOL_MAX_BLOCKS - blocks ? first : ~0ULL;
}

static int gmpool_numbers_by_first(const void *a, const void *b)
{
	const struct gmpool_extent *one = a, *other = b;

	return one->first < other->first ? -1 : one->first > other->first;
}

/* Merge extents that are contiguous in numbers and in memory. */
static void gmpool_numbers_merge(struct gmpool_numbers *numbers)
{
	struct gmpool_extent *last = &numbers->extent[0], *extent;
	u32 i;

	for (i = 1; i < numbers->nr; i++) {
		extent = &numbers->extent[i];
		if (last->base + last->size == extent->base &&
		    last->first + gmpool_extent_blocks(last) == extent->first)
			last->size += extent->size;
		else
			*++last = *extent;
	}
	numbers->nr = last + 1 - numbers->extent;
}

/**
 * gmpool_numbers_add - add blocks
 * @numbers: the extents
 * @base: physical address of the blocks, outside of all extents
 * @size: bytes
 * @first: number of the first block; the numbers are free
 *
 * Return: 0; -E2BIG if there would be too many extents, nothing is changed then.
 */
int gmpool_numbers_add(struct gmpool_numbers *numbers, u64 base, u64 size, u64 first)
{
	struct gmpool_extent added = { .base = base, .size = size, .first = first };
	struct gmpool_extent *extent;
	u32 i;

	for (i = 0; i < numbers->nr; i++) {
		extent = &numbers->extent[i];
		if (extent->base + extent->size == base &&
		    extent->first + gmpool_extent_blocks(extent) == first) {
			extent->size += size;
			gmpool_numbers_merge(numbers);
			return 0;
		}
		if (base + size == extent->base &&
		    first + gmpool_extent_blocks(&added) == extent->first) {
			extent->base = base;
			extent->first = first;
			extent->size += size;
			gmpool_numbers_merge(numbers);
			return 0;
		}
	}
	if (numbers->nr == GMPOOL_MAX_EXTENTS)
		return -E2BIG;
	numbers->extent[numbers->nr++] = added;
	sort(numbers->extent, numbers->nr, sizeof(added), gmpool_numbers_by_first, NULL);
	return 0;
}

/* Index of the extent that has all of a range, or @numbers->nr. */
static u32 gmpool_numbers_find(const struct gmpool_numbers *numbers, u64 base, u64 size)
{
	const struct gmpool_extent *extent;
	u32 i;

	for (i = 0; i < numbers->nr; i++) {
		extent = &numbers->extent[i];
		if (base >= extent->base && base - extent->base < extent->size &&
		    size <= extent->size - (base - extent->base))
			break;
	}
	return i;
}

/**
 * gmpool_numbers_check_remove - can blocks be removed
 * @numbers: the extents
 * @base: physical address of the blocks
 * @size: bytes
 *
 * Return: as gmpool_numbers_remove().
 */
int gmpool_numbers_check_remove(const struct gmpool_numbers *numbers, u64 base, u64 size)
{
	u32 i = gmpool_numbers_find(numbers, base, size);
	const struct gmpool_extent *extent = &numbers->extent[i];
	bool start, end;

	if (i == numbers->nr)
		return -EINVAL;
	start = base == extent->base;
	end = base + size == extent->base + extent->size;
	if (!start && !end && numbers->nr == GMPOOL_MAX_EXTENTS)
		return -E2BIG;
	return start && end && numbers->nr == 1 ? -EINVAL : 0;
}

/**
 * gmpool_numbers_remove - remove blocks
 * @numbers: the extents
 * @base: physical address of the blocks, all in one extent
 * @size: bytes
 *
 * Return: 0; -E2BIG if there would be too many extents, -EINVAL if the blocks are not
 * in one extent or are all that there are; nothing is changed then.
 */
int gmpool_numbers_remove(struct gmpool_numbers *numbers, u64 base, u64 size)
{
	int err = gmpool_numbers_check_remove(numbers, base, size);
	struct gmpool_extent *extent, below, above;
	u32 i;

	if (err)
		return err;
	i = gmpool_numbers_find(numbers, base, size);
	extent = &numbers->extent[i];
	below = *extent;
	below.size = base - extent->base;
	above.base = base + size;
	above.size = extent->size - below.size - size;
	above.first = extent->first + ((below.size + size) >> GMPOOL_BLOCK_SHIFT);

	if (below.size && above.size) {
		memmove(extent + 2, extent + 1,
			(numbers->nr - i - 1) * sizeof(*extent));
		numbers->nr++;
		extent[0] = below;
		extent[1] = above;
	} else if (below.size || above.size) {
		*extent = below.size ? below : above;
	} else {
		memmove(extent, extent + 1, (numbers->nr - i - 1) * sizeof(*extent));
		numbers->nr--;
	}
	return 0;
}

static int gmpool_numbers_by_base(const void *a, const void *b)
{
	const struct gmpool_extent *one = *(const struct gmpool_extent **)a;
	const struct gmpool_extent *other = *(const struct gmpool_extent **)b;

	return one->base < other->base ? -1 : one->base > other->base;
}

/**
 * gmpool_numbers_to_super - enter the extents into a super block
 * @numbers: the extents
 * @super: their entries are changed, and GMPOOL_FEATURE_INCOMPAT_NUMBERS
 *
 * Context: the caller updates the checksum.
 */
void gmpool_numbers_to_super(const struct gmpool_numbers *numbers,
			     struct gmpool_super_ser *super)
{
	const struct gmpool_extent *sorted[GMPOOL_MAX_EXTENTS];
	bool canonical = true;
	u64 blocks = 0;
	u32 i;

	for (i = 0; i < numbers->nr; i++)
		sorted[i] = &numbers->extent[i];
	sort(sorted, numbers->nr, sizeof(sorted[0]), gmpool_numbers_by_base, NULL);

	memset(super->extents, 0, sizeof(super->extents));
	memset(super->first, 0, sizeof(super->first));
	for (i = 0; i < numbers->nr; i++) {
		super->extents[i].base = sorted[i]->base;
		super->extents[i].size = sorted[i]->size;
		super->first[i] = sorted[i]->first;
		canonical &= sorted[i]->first == blocks;
		blocks += gmpool_extent_blocks(sorted[i]);
	}
	super->nr_extents = numbers->nr;
	super->total_blocks = blocks;
	super->feature_incompat &= ~GMPOOL_FEATURE_INCOMPAT_NUMBERS;
	if (canonical)
		memset(super->first, 0, sizeof(super->first));
	else
		super->feature_incompat |= GMPOOL_FEATURE_INCOMPAT_NUMBERS;
}

/**
 * gmpool_numbers_of_super - read the extents of a super block
 * @numbers: filled
 * @super: has passed gmpool_super_usable()
 */
void gmpool_numbers_of_super(struct gmpool_numbers *numbers,
			     const struct gmpool_super_ser *super)
{
	u32 i;

	numbers->nr = super->nr_extents;
	for (i = 0; i < super->nr_extents; i++) {
		numbers->extent[i].base = super->extents[i].base;
		numbers->extent[i].size = super->extents[i].size;
		numbers->extent[i].first = gmpool_super_first(super, i);
	}
	sort(numbers->extent, numbers->nr, sizeof(numbers->extent[0]),
	     gmpool_numbers_by_first, NULL);
}
