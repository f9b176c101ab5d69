// SPDX-License-Identifier: GPL-2.0
/*
 * Which part of a node's free memory becomes its pool, and how much must stay.
 *
 * Pure: ranges in, extents out. Where the ranges come from is for reserve.c.
 */

#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm_types.h>
#include <linux/sort.h>
#include <linux/string.h>

#include "layout.h"

/**
 * gmpool_layout_size - bytes in some ranges
 * @ranges: the ranges
 * @nr_ranges: how many
 *
 * Return: the sum of their sizes, in bytes.
 */
u64 gmpool_layout_size(const struct gmpool_extent_ser *ranges, u32 nr_ranges)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < nr_ranges; i++)
		sum += ranges[i].size;
	return sum;
}

static int by_base(const void *a, const void *b)
{
	const struct gmpool_extent_ser *x = a, *y = b;

	return x->base < y->base ? -1 : x->base > y->base;
}

static void merge(struct gmpool_extent_ser *extents, u32 *nr_extents)
{
	u32 i, n = 0;

	sort(extents, *nr_extents, sizeof(*extents), by_base, NULL);
	for (i = 0; i < *nr_extents; i++) {
		if (n && extents[n - 1].base + extents[n - 1].size ==
		    extents[i].base)
			extents[n - 1].size += extents[i].size;
		else
			extents[n++] = extents[i];
	}
	memset(&extents[n], 0, (*nr_extents - n) * sizeof(*extents));
	*nr_extents = n;
}

/* Take up to *@want from the top of [@start, @end), next to what there is. */
static int take(u64 start, u64 end, u64 unit, u64 *want,
		struct gmpool_extent_ser *extents, u32 *nr_extents)
{
	u64 size;
	u32 i;

	size = start < end ? min(*want, end - start) : 0;
	size -= size % unit;
	if (!size)
		return 0;

	*want -= size;
	for (i = 0; i < *nr_extents; i++) {
		if (extents[i].base == end)
			extents[i].base -= size;
		else if (extents[i].base + extents[i].size != end - size)
			continue;
		extents[i].size += size;
		return 0;
	}
	if (*nr_extents == GMPOOL_MAX_EXTENTS)
		merge(extents, nr_extents);
	if (*nr_extents == GMPOOL_MAX_EXTENTS)
		return -E2BIG;
	extents[*nr_extents].base = end - size;
	extents[*nr_extents].size = size;
	(*nr_extents)++;
	return 0;
}

/**
 * gmpool_layout_pick - choose a pool's extents
 * @ranges: free memory by rising address, without overlap
 * @nr_ranges: how many
 * @size: bytes the pool shall have, a multiple of the ranges' granularity
 * @extents: GMPOOL_MAX_EXTENTS entries, filled by rising address
 * @nr_extents: set to the entries used
 *
 * Whole naturally aligned gigabytes first, from the top: memory below 4 GiB is
 * what devices and the next kernel's own early allocations ask for. What is
 * left comes from pieces that are no whole gigabyte, so as to break few.
 *
 * Return: 0; -ENOSPC if @ranges are too small; -E2BIG if they are in more
 * pieces than a pool can have. @extents is of no use then.
 */
int gmpool_layout_pick(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
		       u64 size, struct gmpool_extent_ser *extents,
		       u32 *nr_extents)
{
	const u64 giant = GMPOOL_GIANT_SIZE;
	u64 giants_left = size - size % giant;
	u64 want = size;
	u32 i, pass;
	int err = 0;

	*nr_extents = 0;
	for (pass = 0; pass < 3; pass++) {
		u64 giants = size - size % giant - giants_left;

		for (i = nr_ranges; i-- > 0 && !err;) {
			u64 start = ranges[i].base;
			u64 end = start + ranges[i].size;
			u64 first = start + (-start & (giant - 1));
			u64 last = end & ~(giant - 1);
			u64 taken;

			if (pass == 0) {
				taken = giants_left;
				err = take(first, last, giant, &giants_left,
					   extents, nr_extents);
				want -= taken - giants_left;
				continue;
			}

			/* How much of this range the first pass has taken. */
			taken = first < last ? min(giants, last - first) : 0;
			giants -= taken;
			if (first >= last) {
				/* No whole gigabyte: all of it counts as edge. */
				if (pass == 1)
					err = take(start, end, 1, &want,
						   extents, nr_extents);
			} else if (pass == 1) {
				err = take(last, end, 1, &want, extents,
					   nr_extents);
				if (!err)
					err = take(start, first, 1, &want,
						   extents, nr_extents);
			} else {
				err = take(first, last - taken, 1, &want,
					   extents, nr_extents);
			}
		}
		if (err)
			return err;
	}

	merge(extents, nr_extents);
	return want ? -ENOSPC : 0;
}

/**
 * gmpool_layout_keep - what must stay of a node outside its pool
 * @kernel_bytes: bytes the kernel has allocated there for good so far
 * @base: bytes for what it will need beside memory maps
 * @scale: what KHO sets aside for each byte that the kernel allocates early,
 *	in percent, at most GMPOOL_MAX_SCALE
 * @granularity: of the result, in bytes, a multiple of PAGE_SIZE
 *
 * KHO's scratch area on a node is sized by what is allocated there
 * (scratch_size_node() in kernel/liveupdate/kexec_handover.c), and if there is
 * no room for it, KHO turns itself off for the whole machine. What is kept
 * needs struct pages, which are such an allocation too. So with k kept bytes::
 *
 *   k >= base + (1 + scale / 100) *
 *	  (kernel_bytes + k * sizeof(struct page) / PAGE_SIZE)
 *
 * Return: the least such k, rounded up, in bytes.
 */
u64 gmpool_layout_keep(u64 kernel_bytes, u64 base, u32 scale, u64 granularity)
{
	u32 percent = 100 + scale;
	u64 fixed = base + DIV_ROUND_UP_ULL(kernel_bytes * percent, 100);
	u64 keep = mul_u64_u64_div_u64(fixed, 100 * PAGE_SIZE,
				       100 * PAGE_SIZE -
				       percent * sizeof(struct page));

	return DIV64_U64_ROUND_UP(keep, granularity) * granularity;
}
