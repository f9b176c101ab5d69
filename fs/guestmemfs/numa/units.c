// SPDX-License-Identifier: GPL-2.0
/*
 * Which units of a pool to empty, so that the pool can give them up.
 *
 * Pure code, as bitmap.c. A unit is an aligned part of an extent, of the size by which
 * pools shrink.
 *
 * The used blocks of the chosen units move to free blocks elsewhere in the pool. If n
 * units of s blocks have u used ones, and f blocks of the pool are free, then
 * f - (n * s - u) free ones are elsewhere, and u must fit: n is at most f / s,
 * regardless of which units are chosen. So those with the fewest used blocks are the
 * best, unless an extent would be in two pieces without them, and there are
 * GMPOOL_MAX_EXTENTS already.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/math.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sort.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "units.h"

/* Number of units in an extent; *@first is set to the address of the first one. */
static u64 gmpool_units_of(const struct gmpool_extent *extent, u64 size, u64 *first)
{
	u64 end = extent->base + extent->size;

	*first = round_up(extent->base, size);
	return *first < end ? div64_u64(end - *first, size) : 0;
}

/**
 * gmpool_units_count - number of units in a pool
 * @numbers: extents of the pool
 * @size: bytes of a unit, a power of two
 *
 * Context: any.
 *
 * Return: number of units for gmpool_units_choose().
 */
u64 gmpool_units_count(const struct gmpool_numbers *numbers, u64 size)
{
	u64 nr = 0, first;
	u32 i;

	for (i = 0; i < numbers->nr; i++)
		nr += gmpool_units_of(&numbers->extent[i], size, &first);
	return nr;
}

/*
 * Those that can leave first, then by fixed blocks, then by used ones. Of units that are as
 * good, the one of the highest numbers comes first, so that numbers go on counting through
 * the extents if possible.
 */
static int gmpool_units_compare(const void *a, const void *b)
{
	const struct gmpool_unit_use *x = a, *y = b;

	if (x->divides != y->divides)
		return x->divides ? 1 : -1;
	if (x->fixed != y->fixed)
		return x->fixed < y->fixed ? -1 : 1;
	if (x->used != y->used)
		return x->used < y->used ? -1 : 1;
	return x->at.first > y->at.first ? -1 : x->at.first < y->at.first;
}

static void gmpool_units_survey(struct gmpool_unit_use *unit, const unsigned long *taken,
				const unsigned long *movable)
{
	u64 block = unit->at.first, end = block + (unit->at.size >> GMPOOL_BLOCK_SHIFT);

	unit->used = bitmap_weight_from(taken, block, end);
	unit->fixed = 0;
	for (; ; block++, unit->fixed++) {
		block = find_next_andnot_bit(taken, movable, end, block);
		if (block >= end)
			return;
	}
}

/**
 * gmpool_units_choose - choose the units to empty
 * @numbers: extents of a pool
 * @taken: bitmap of the taken blocks of the pool
 * @movable: bitmap of those that can move
 * @size: bytes of a unit, a power of two
 * @units: filled with all units of the pool, the best one first
 * @nr_units: number of them, from gmpool_units_count()
 * @want: number of units to empty
 *
 * Context: process context, may sleep; takes time in proportion to the size of the pool.
 *
 * Return: number of units that can be emptied together, at most @want: the first ones of
 * @units. Less than @want either if the next unit has blocks that cannot move or would
 * leave too many extents, or if the free blocks of the pool are too few for the blocks of
 * one more. Each of them could be the first one to leave; after others have left, it may
 * leave too many extents.
 */
u64 gmpool_units_choose(const struct gmpool_numbers *numbers, const unsigned long *taken,
			const unsigned long *movable, u64 size,
			struct gmpool_unit_use *units, u64 nr_units, u64 want)
{
	u64 room = 0, nr = 0, base, end;
	u32 i;

	for (i = 0; i < numbers->nr; i++) {
		const struct gmpool_extent *extent = &numbers->extent[i];
		u64 left = gmpool_units_of(extent, size, &base);

		end = extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
		room += end - extent->first - bitmap_weight_from(taken, extent->first, end);
		for (; left; left--, nr++) {
			struct gmpool_unit_use *unit = &units[nr];

			unit->at.base = base;
			unit->at.size = size;
			unit->at.first = extent->first +
					 ((base - extent->base) >> GMPOOL_BLOCK_SHIFT);
			unit->divides = gmpool_numbers_check_remove(numbers, base, size) ==
					-E2BIG;
			gmpool_units_survey(unit, taken, movable);
			base += size;
		}
	}
	sort_nonatomic(units, nr_units, sizeof(*units), gmpool_units_compare, NULL);
	want = min3(want, nr_units, div64_u64(room, size >> GMPOOL_BLOCK_SHIFT));
	for (nr = 0; nr < want && !units[nr].fixed && !units[nr].divides; nr++)
		;
	return nr;
}
