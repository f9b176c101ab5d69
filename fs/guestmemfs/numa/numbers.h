/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_NUMBERS_H
#define _GMPOOL_NUMBERS_H

#include <linux/kho/abi/guestmem_pool.h>

#include "bitmap.h"

/**
 * struct gmpool_numbers - the extents of a pool and the numbers of their blocks
 * @nr: used entries of @extent
 * @extent: by ascending number; the numbers between two extents are no blocks
 */
struct gmpool_numbers {
	u32 nr;
	struct gmpool_extent extent[GMPOOL_MAX_EXTENTS];
};

u64 gmpool_numbers_end(const struct gmpool_numbers *numbers);
u64 gmpool_numbers_blocks(const struct gmpool_numbers *numbers);
u64 gmpool_numbers_choose(const struct gmpool_numbers *numbers, u64 base, u64 size,
			  u64 lowest);
const struct gmpool_extent *gmpool_numbers_above(const struct gmpool_numbers *numbers,
						 u64 from);
u64 gmpool_numbers_top(const struct gmpool_numbers *numbers);
int gmpool_numbers_add(struct gmpool_numbers *numbers, u64 base, u64 size, u64 first);
int gmpool_numbers_check_remove(const struct gmpool_numbers *numbers, u64 base, u64 size);
int gmpool_numbers_remove(struct gmpool_numbers *numbers, u64 base, u64 size);
void gmpool_numbers_to_super(const struct gmpool_numbers *numbers,
			     struct gmpool_super_ser *super);
void gmpool_numbers_of_super(struct gmpool_numbers *numbers,
			     const struct gmpool_super_ser *super);

#endif /* _GMPOOL_NUMBERS_H */
