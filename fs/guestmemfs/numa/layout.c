// SPDX-License-Identifier: GPL-2.0
/*
 * Layout: the part of a node's free memory that becomes its pool, and the part
 * that must stay.
 *
 * Pure code: takes ranges, returns extents. machine.c finds the ranges.
 */

#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm_types.h>
#include <linux/sizes.h>
#include <linux/sort.h>
#include <linux/string.h>

#include "layout.h"

/* Drop the smallest range, if it is smaller than @size bytes. */
static bool gmpool_layout_make_room(struct gmpool_extent_ser *ranges,
				    u32 nr_ranges, u64 size)
{
	u32 i, smallest = 0;

	for (i = 1; i < nr_ranges; i++)
		if (ranges[i].size < ranges[smallest].size)
			smallest = i;
	if (ranges[smallest].size >= size)
		return false;
	memmove(&ranges[smallest], &ranges[smallest + 1],
		(nr_ranges - smallest - 1) * sizeof(*ranges));
	return true;
}

/**
 * gmpool_layout_add - add a free range
 * @ranges: GMPOOL_MAX_RANGES entries, by ascending address
 * @nr_ranges: number of used entries
 * @start: physical address, not below that of the last range
 * @end: physical address of its end; nothing is added if it is not above @start
 *
 * A range that touches the last one is merged with it. If all entries are used,
 * the smallest range is dropped.
 *
 * Return: number of entries used now.
 */
u32 gmpool_layout_add(struct gmpool_extent_ser *ranges, u32 nr_ranges, u64 start,
		      u64 end)
{
	struct gmpool_extent_ser *last = nr_ranges ? &ranges[nr_ranges - 1] : NULL;

	if (start >= end)
		return nr_ranges;
	if (last && last->base + last->size >= start) {
		last->size = max(last->base + last->size, end) - last->base;
		return nr_ranges;
	}
	if (nr_ranges == GMPOOL_MAX_RANGES) {
		if (!gmpool_layout_make_room(ranges, nr_ranges, end - start))
			return nr_ranges;
		nr_ranges--;
	}
	ranges[nr_ranges].base = start;
	ranges[nr_ranges].size = end - start;
	return nr_ranges + 1;
}

/**
 * gmpool_layout_size - total size of ranges
 * @ranges: the ranges
 * @nr_ranges: number of ranges
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

static int gmpool_layout_by_base(const void *a, const void *b)
{
	const struct gmpool_extent_ser *x = a, *y = b;

	return x->base < y->base ? -1 : x->base > y->base;
}

static void gmpool_layout_merge(struct gmpool_extent_ser *extents,
				u32 *nr_extents)
{
	u32 i, n = 0;

	sort(extents, *nr_extents, sizeof(*extents), gmpool_layout_by_base,
	     NULL);
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

/* Take up to *@want from the top of [@start, @end), merged with neighbours. */
static int gmpool_layout_take(u64 start, u64 end, u64 unit, u64 *want,
			      struct gmpool_extent_ser *extents,
			      u32 *nr_extents)
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
		gmpool_layout_merge(extents, nr_extents);
	if (*nr_extents == GMPOOL_MAX_EXTENTS)
		return -E2BIG;
	extents[*nr_extents].base = end - size;
	extents[*nr_extents].size = size;
	(*nr_extents)++;
	return 0;
}

/**
 * gmpool_layout_pick - choose a pool's extents
 * @ranges: free memory by ascending address, without overlap
 * @nr_ranges: number of ranges
 * @size: bytes of the pool, a multiple of the ranges' granularity
 * @extents: GMPOOL_MAX_EXTENTS entries, filled by ascending address
 * @nr_extents: set to the number of entries used
 *
 * First takes whole, naturally aligned ranges of 1 GiB, from the top: devices
 * and early allocations of the next kernel need memory below 4 GiB. Then takes
 * the rest from parts smaller than 1 GiB, to break few whole ranges.
 *
 * Return: 0; -ENOSPC if @ranges are too small; -E2BIG if the pool would need
 * more than GMPOOL_MAX_EXTENTS extents. @extents is not valid then.
 */
int gmpool_layout_pick(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
		       u64 size, struct gmpool_extent_ser *extents,
		       u32 *nr_extents)
{
	const u64 gib = GMPOOL_1G_SIZE;
	u64 gibs_left = size - size % gib;
	u64 want = size;
	u32 i, pass;
	int err = 0;

	*nr_extents = 0;
	for (pass = 0; pass < 3; pass++) {
		u64 gibs = size - size % gib - gibs_left;

		for (i = nr_ranges; i-- > 0 && !err;) {
			u64 start = ranges[i].base;
			u64 end = start + ranges[i].size;
			u64 first = start + (-start & (gib - 1));
			u64 last = end & ~(gib - 1);
			u64 taken;

			if (pass == 0) {
				taken = gibs_left;
				err = gmpool_layout_take(first, last, gib,
							 &gibs_left, extents,
							 nr_extents);
				want -= taken - gibs_left;
				continue;
			}

			/* Whole GiB of this range taken by the first pass. */
			taken = first < last ? min(gibs, last - first) : 0;
			gibs -= taken;
			if (first >= last) {
				/* No whole 1 GiB: the range is an edge. */
				if (pass == 1)
					err = gmpool_layout_take(start, end, 1,
								 &want, extents,
								 nr_extents);
			} else if (pass == 1) {
				err = gmpool_layout_take(last, end, 1, &want,
							 extents, nr_extents);
				if (!err)
					err = gmpool_layout_take(start, first,
								 1, &want,
								 extents,
								 nr_extents);
			} else {
				err = gmpool_layout_take(first, last - taken, 1,
							 &want, extents,
							 nr_extents);
			}
		}
		if (err)
			return err;
	}

	gmpool_layout_merge(extents, nr_extents);
	return want ? -ENOSPC : 0;
}

/* Cut @size bytes out at @start. A cut at an edge adds no entry to @work. */
static u32 gmpool_layout_cut(struct gmpool_extent_ser *work, u32 nr, u32 at,
			     u64 start, u64 size)
{
	u64 end = work[at].base + work[at].size;

	memmove(&work[at + 1], &work[at], (nr - at) * sizeof(*work));
	work[at].size = start - work[at].base;
	work[at + 1].base = start + size;
	work[at + 1].size = end - start - size;
	return nr + 1;
}

/* As memblock: place each area at the first fit from the top. */
static bool gmpool_layout_place(struct gmpool_extent_ser *work, u32 nr,
				const struct gmpool_area *areas, u32 nr_areas,
				u64 align)
{
	u64 base, size, low = 0;
	u32 i, a;

	for (a = 0; a < nr_areas; a++) {
		size = areas[a].size + div_u64(low * areas[a].scale, 100);
		for (i = nr; i-- > 0;) {
			base = work[i].base + work[i].size;
			if (areas[a].low)
				base = min(base, (u64)SZ_4G);
			if (base < size)
				continue;
			base = round_down(base - size, align);
			if (base >= work[i].base)
				break;
		}
		if (i == U32_MAX) {
			if (!areas[a].optional)
				return false;
			continue;
		}
		work[i].size = base - work[i].base;
		if (base < SZ_4G)
			low += size;
	}
	return true;
}

/**
 * gmpool_layout_room - is there room for areas in the memory that a pool leaves
 * @left: free memory outside the pool, by ascending address, without overlap
 * @nr_left: number of ranges
 * @areas: areas, each contiguous, in the order of their allocation
 * @nr_areas: number of areas
 * @image: bytes of an image that is placed first, at an unknown address; 0 for
 *	none
 * @align: alignment of the areas and of the image in bytes, a power of two
 * @work: scratch space of @nr_left + 1 entries
 *
 * The sum of free memory does not suffice: each area is contiguous, and the
 * image can lie in the middle of free memory. Areas are placed as high as
 * possible, so the image is in the way only where there would be areas without
 * it. Other addresses of the image need no check.
 *
 * Return: true if all areas find a place for each address of the image.
 */
bool gmpool_layout_room(const struct gmpool_extent_ser *left, u32 nr_left,
			const struct gmpool_area *areas, u32 nr_areas,
			u64 image, u64 align, struct gmpool_extent_ser *work)
{
	u64 start, end, lowest;
	u32 i, nr;

	memcpy(work, left, nr_left * sizeof(*work));
	if (!gmpool_layout_place(work, nr_left, areas, nr_areas, align))
		return false;
	if (!image)
		return true;

	for (i = 0; i < nr_left; i++) {
		memcpy(work, left, nr_left * sizeof(*work));
		gmpool_layout_place(work, nr_left, areas, nr_areas, align);
		lowest = work[i].base + work[i].size;
		end = left[i].base + left[i].size;
		if (lowest == end || left[i].size < image)
			continue;
		start = round_down(end - image, align);
		for (; start >= left[i].base && start + image > lowest;
		     start -= align) {
			memcpy(work, left, nr_left * sizeof(*work));
			nr = gmpool_layout_cut(work, nr_left, i, start, image);
			if (!gmpool_layout_place(work, nr, areas, nr_areas,
						 align))
				return false;
			if (start < align)
				break;
		}
	}
	return true;
}

/**
 * gmpool_layout_without - subtract extents from free memory
 * @ranges: the free memory, by ascending address, without overlap
 * @nr_ranges: number of ranges
 * @extents: extents to subtract, by ascending address, each within one range
 * @nr_extents: number of extents
 * @left: @nr_ranges + @nr_extents entries, filled by ascending address
 *
 * Return: number of used entries of @left.
 */
u32 gmpool_layout_without(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
			  const struct gmpool_extent_ser *extents,
			  u32 nr_extents, struct gmpool_extent_ser *left)
{
	u32 i, e = 0, nr = 0;

	for (i = 0; i < nr_ranges; i++) {
		u64 start = ranges[i].base;
		u64 end = start + ranges[i].size;

		for (; e < nr_extents && extents[e].base < end; e++) {
			if (extents[e].base > start) {
				left[nr].base = start;
				left[nr++].size = extents[e].base - start;
			}
			start = extents[e].base + extents[e].size;
		}
		if (start < end) {
			left[nr].base = start;
			left[nr++].size = end - start;
		}
	}
	return nr;
}

/**
 * gmpool_layout_below - the part of ranges below an address
 * @ranges: ranges by ascending address, without overlap
 * @nr_ranges: number of ranges
 * @limit: physical address
 * @below: @nr_ranges entries, filled; may be @ranges
 *
 * Return: number of used entries of @below.
 */
u32 gmpool_layout_below(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
			u64 limit, struct gmpool_extent_ser *below)
{
	u32 i;

	for (i = 0; i < nr_ranges && ranges[i].base < limit; i++) {
		below[i].base = ranges[i].base;
		below[i].size = min(ranges[i].size, limit - ranges[i].base);
	}
	return i;
}

/**
 * gmpool_layout_gibs - whole gibibytes of ranges
 * @ranges: ranges by ascending address, without overlap
 * @nr_ranges: number of ranges
 * @start: physical address from which they count
 * @end: physical address up to which they count
 *
 * Return: bytes in naturally aligned ranges of 1 GiB.
 */
u64 gmpool_layout_gibs(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
		       u64 start, u64 end)
{
	const u64 gib = GMPOOL_1G_SIZE;
	u64 first, last, sum = 0;
	u32 i;

	for (i = 0; i < nr_ranges; i++) {
		first = max(ranges[i].base, start);
		first += -first & (gib - 1);
		last = min(ranges[i].base + ranges[i].size, end) & ~(gib - 1);
		if (first < last)
			sum += last - first;
	}
	return sum;
}

/**
 * gmpool_layout_growth - where the growth reserve of a pool begins
 * @ranges: free memory of the node by ascending address, without overlap
 * @nr_ranges: number of ranges
 * @size: bytes of the reserve, a multiple of 1 GiB
 * @after: physical address of the end of the pool, if it has its memory already, else 0
 *
 * The reserve is all free memory of the node from an address up: the kernel
 * can have no other memory above its movable memory. A new pool takes memory
 * below the reserve, so that it grows at its end. The highest start that has
 * enough whole gibibytes counts. After a kexec, the end of the pool does so
 * although there is one gibibyte more, which the previous kernel had used in
 * part: the reserve stays where it was.
 *
 * Return: physical address, a multiple of 1 GiB; 0 if @ranges are too small.
 */
u64 gmpool_layout_growth(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
			 u64 size, u64 after)
{
	const u64 gib = GMPOOL_1G_SIZE;
	u64 start, gibs, found = 0;
	u32 i;

	for (i = nr_ranges; i-- > 0;) {
		gibs = gmpool_layout_gibs(&ranges[i], 1, 0, U64_MAX);
		if (found + gibs >= size)
			break;
		found += gibs;
	}
	if (i == U32_MAX)
		return 0;
	start = ((ranges[i].base + ranges[i].size) & ~(gib - 1)) - (size - found);

	after += -after & (gib - 1);
	if (after && after + gib == start &&
	    gmpool_layout_gibs(ranges, nr_ranges, after, start) == gib)
		return after;
	return start;
}

/**
 * gmpool_layout_keep - bytes of a node that must stay outside its pool
 * @kernel_bytes: bytes that the kernel has allocated permanently there so far
 * @base: bytes that the kernel will need in addition to memory maps
 * @scale: size of KHO's scratch area in percent of early allocations, at most
 *	GMPOOL_MAX_SCALE
 * @granularity: granularity of the result in bytes, a multiple of PAGE_SIZE
 *
 * The size of KHO's scratch area on a node depends on the allocations there
 * (scratch_size_node() in kernel/liveupdate/kexec_handover.c). If there is no
 * room for it, KHO turns itself off for the whole machine. The struct pages of
 * the kept memory are such an allocation too. So with k kept bytes::
 *
 *   k >= base + (1 + scale / 100) *
 *	  (kernel_bytes + k * sizeof(struct page) / PAGE_SIZE)
 *
 * Return: the least such k, rounded up, in bytes.
 */
u64 gmpool_layout_keep(u64 kernel_bytes, u64 base, u32 scale, u64 granularity)
{
	u32 percent = 100 + scale;
	u64 keep;

	/* The formula times 100 * PAGE_SIZE, so that only the quotient is rounded. */
	keep = mul_u64_u64_div_u64_roundup(100 * base + percent * kernel_bytes, PAGE_SIZE,
					   100 * PAGE_SIZE - percent * sizeof(struct page));

	return DIV64_U64_ROUND_UP(keep, granularity) * granularity;
}
