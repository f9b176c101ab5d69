/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_LAYOUT_H
#define _GMPOOL_LAYOUT_H

#include <linux/bits.h>
#include <linux/types.h>

#include <linux/kho/abi/guestmem_pool.h>

/* Size of a 1 GiB mapping. Extents start at a multiple of it where possible. */
#define GMPOOL_1G_SIZE	BIT_ULL(30)

/* Largest scale that gmpool_layout_keep() supports, in percent. */
#define GMPOOL_MAX_SCALE	5000

/* Number of free ranges of a node that are considered: the largest ones. */
#define GMPOOL_MAX_RANGES	256

/**
 * struct gmpool_area - a contiguous area that will be allocated on a node
 * @size: bytes
 * @scale: percent of earlier allocations below 4 GiB, in addition to @size
 * @low: the area must be below 4 GiB
 * @optional: without room here, the area is allocated elsewhere
 */
struct gmpool_area {
	u64 size;
	u32 scale;
	bool low;
	bool optional;
};

u32 gmpool_layout_add(struct gmpool_extent_ser *ranges, u32 nr_ranges, u64 start,
		      u64 end);
u64 gmpool_layout_size(const struct gmpool_extent_ser *ranges, u32 nr_ranges);
int gmpool_layout_pick(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
		       u64 size, struct gmpool_extent_ser *extents,
		       u32 *nr_extents);
bool gmpool_layout_room(const struct gmpool_extent_ser *left, u32 nr_left,
			const struct gmpool_area *areas, u32 nr_areas,
			u64 image, u64 align, struct gmpool_extent_ser *work);
u32 gmpool_layout_without(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
			  const struct gmpool_extent_ser *extents,
			  u32 nr_extents, struct gmpool_extent_ser *left);
u32 gmpool_layout_below(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
			u64 limit, struct gmpool_extent_ser *below);
u64 gmpool_layout_gibs(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
		       u64 start, u64 end);
u64 gmpool_layout_growth(const struct gmpool_extent_ser *ranges, u32 nr_ranges,
			 u64 size, u64 after);
u64 gmpool_layout_keep(u64 kernel_bytes, u64 base, u32 scale, u64 granularity);

#endif /* _GMPOOL_LAYOUT_H */
