/* SPDX-License-Identifier: GPL-2.0 */
/* The index of a pool's bitmap: bitmap.c maintains it, choose.c searches it. */
#ifndef _GMPOOL_GROUPS_H
#define _GMPOOL_GROUPS_H

#include <linux/math.h>
#include <linux/minmax.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "bitmap.h"

/**
 * struct gmpool_bitmap_group - blocks of an extent in an aligned 1 GiB
 * @head: number of free blocks at the start
 * @tail: number of free blocks at the end
 * @longest: blocks of the longest free range
 */
struct gmpool_bitmap_group {
	u16 head;
	u16 tail;
	u16 longest;
};

/**
 * struct gmpool_bitmap_index - knowledge of the free ranges of a bitmap
 * @longest: no free range has more blocks; U64_MAX if unknown
 * @from: no free range before this block has @longest blocks, if that is known
 * @groups: by ascending block
 */
struct gmpool_bitmap_index {
	u64 longest;
	u64 from;
	struct gmpool_bitmap_group groups[];
};

static inline u64 gmpool_extent_end(const struct gmpool_extent *extent)
{
	return extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
}

/* First block at or after @block with an alignment of 1 GiB. */
static inline u64 gmpool_1g_up(const struct gmpool_extent *extent, u64 block)
{
	u64 phys = (extent->base >> GMPOOL_BLOCK_SHIFT) + block - extent->first;

	return block + round_up(phys, GMPOOL_1G_BLOCKS) - phys;
}

/* The end of the group of @block, in @extent. */
static inline u64 gmpool_group_end(const struct gmpool_extent *extent, u64 block)
{
	return min(gmpool_1g_up(extent, block + 1),
		   gmpool_extent_end(extent));
}

/* Number of the group of @block in @extent. */
static inline u64 gmpool_group_nr(const struct gmpool_extent *extent, u64 block)
{
	u64 phys = extent->base >> GMPOOL_BLOCK_SHIFT;

	return (phys + block - extent->first) / GMPOOL_1G_BLOCKS -
	       phys / GMPOOL_1G_BLOCKS;
}

/* The first block of group @nr of @extent. */
static inline u64 gmpool_group_start(const struct gmpool_extent *extent, u64 nr)
{
	return nr ? gmpool_1g_up(extent, extent->first + 1) +
		    (nr - 1) * GMPOOL_1G_BLOCKS : extent->first;
}

static inline u64 gmpool_nr_groups(const struct gmpool_extent *extent)
{
	return extent->size >> GMPOOL_BLOCK_SHIFT ?
	       gmpool_group_nr(extent, gmpool_extent_end(extent) - 1) + 1 : 0;
}

#endif /* _GMPOOL_GROUPS_H */
