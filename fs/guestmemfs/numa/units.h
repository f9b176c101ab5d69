/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_UNITS_H
#define _GMPOOL_UNITS_H

#include <linux/types.h>

#include "bitmap.h"
#include "numbers.h"

/**
 * struct gmpool_unit_use - use of a unit that a pool could give up
 * @at: the unit: aligned to its size
 * @used: number of its blocks that are taken
 * @fixed: number of those that cannot move
 * @divides: without it, the pool would have more than GMPOOL_MAX_EXTENTS extents
 */
struct gmpool_unit_use {
	struct gmpool_extent at;
	u64 used;
	u64 fixed;
	bool divides;
};

u64 gmpool_units_count(const struct gmpool_numbers *numbers, u64 size);
u64 gmpool_units_choose(const struct gmpool_numbers *numbers, const unsigned long *taken,
			const unsigned long *movable, u64 size,
			struct gmpool_unit_use *units, u64 nr_units, u64 want);

#endif /* _GMPOOL_UNITS_H */
