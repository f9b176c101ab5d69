/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_COMPACT_H
#define _GMPOOL_COMPACT_H

#include <linux/guestmem_pool.h>
#include <linux/types.h>

#include "bitmap.h"

/**
 * struct gmpool_compact_group - blocks of an extent in an aligned 1 GiB
 * @size: number of blocks; less than GMPOOL_1G_BLOCKS at the ends of an extent
 * @used: number of taken blocks
 * @fixed: one of them cannot move
 * @source: the group is to be emptied
 */
struct gmpool_compact_group {
	u16 size;
	u16 used;
	bool fixed;
	bool source;
};

/**
 * struct gmpool_compact - which groups to empty, to get whole 1 GiB ranges
 * @extents: the pool's extents
 * @nr_extents: number of extents
 * @nr_sources: number of groups to empty
 * @nr_moves: number of taken blocks in them
 * @emptying: the group that is being emptied, or NULL
 * @nr_groups: number of groups
 * @groups: all groups of the pool, by ascending block
 */
struct gmpool_compact {
	const struct gmpool_extent *extents;
	u32 nr_extents;
	u64 nr_sources;
	u64 nr_moves;
	const struct gmpool_compact_group *emptying;
	u64 nr_groups;
	struct gmpool_compact_group groups[] __counted_by(nr_groups);
};

u64 gmpool_compact_count(const struct gmpool_extent *extents, u32 nr_extents);
void gmpool_compact_choose(struct gmpool_compact *plan, const unsigned long *taken,
			   const unsigned long *movable, u64 want);
bool gmpool_compact_next(struct gmpool_compact *plan, struct gmpool_range *range);
int gmpool_compact_target(const struct gmpool_compact *plan,
			  const struct gmpool_bitmap *map, u64 want,
			  struct gmpool_range *range);

/* In move.c */
struct gmpool_compact *gmpool_plan(struct gmpool *pool, const unsigned long *movable,
				   u64 want);

#endif /* _GMPOOL_COMPACT_H */
