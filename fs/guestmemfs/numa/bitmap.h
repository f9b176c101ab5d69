/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_BITMAP_H
#define _GMPOOL_BITMAP_H

#include <linux/guestmem_pool.h>
#include <linux/types.h>

/* Blocks of a 1 GiB mapping. */
#define GMPOOL_1G_BLOCKS	512

/**
 * struct gmpool_extent - a physically contiguous range of a pool
 * @base: physical address, bytes
 * @size: bytes
 * @first: number of its first block in the pool
 */
struct gmpool_extent {
	u64 base;
	u64 size;
	u64 first;
};

struct gmpool_bitmap_index;

/**
 * struct gmpool_bitmap - which blocks of a pool are taken
 * @taken: bit set = taken
 * @index: free ranges of @taken, for each 1 GiB of physical memory
 * @nr_blocks: bits in @taken: end of the block numbers
 * @nr_free: bits clear in @taken
 * @extents: the pool's extents, in the order of their blocks
 * @nr_extents: number of extents
 * @first_fit: allocate the lowest range that fits, rather than the smallest one
 */
struct gmpool_bitmap {
	unsigned long *taken;
	struct gmpool_bitmap_index *index;
	u64 nr_blocks;
	u64 nr_free;
	const struct gmpool_extent *extents;
	u32 nr_extents;
	bool first_fit;
};

int gmpool_bitmap_init(struct gmpool_bitmap *map,
		       const struct gmpool_extent *extents, u32 nr_extents);
void gmpool_bitmap_replace(struct gmpool_bitmap *map, struct gmpool_bitmap *spare);
void gmpool_bitmap_destroy(struct gmpool_bitmap *map);
int gmpool_bitmap_find(const struct gmpool_bitmap *map, u64 want, u64 goal,
		       struct gmpool_range *range);
int gmpool_bitmap_choose(const struct gmpool_bitmap *map,
			 const struct gmpool_bitmap *clean, u64 want, u64 goal,
			 struct gmpool_range *range);
int gmpool_bitmap_take(struct gmpool_bitmap *map, const struct gmpool_range *range);
void gmpool_bitmap_take_free(struct gmpool_bitmap *map,
			     const struct gmpool_range *range);
int gmpool_bitmap_put(struct gmpool_bitmap *map, const struct gmpool_range *range);
int gmpool_bitmap_put_clear(struct gmpool_bitmap *map, u64 first,
			    const unsigned long *mask, u32 start, u32 end);
u64 gmpool_bitmap_largest(const struct gmpool_bitmap *map);
u64 gmpool_bitmap_free_1g(const struct gmpool_bitmap *map);

#endif /* _GMPOOL_BITMAP_H */
