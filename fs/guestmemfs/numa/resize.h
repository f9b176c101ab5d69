/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_RESIZE_H
#define _GMPOOL_RESIZE_H

#include <linux/memory.h>
#include <linux/minmax.h>
#include <linux/sizes.h>

#include "pool.h"

/* Bytes by which a pool grows and shrinks: whole blocks of memory hotplug. */
static inline u64 gmpool_unit(void)
{
	return max_t(u64, SZ_1G, memory_block_size_bytes());
}

/**
 * enum gmpool_step - step after which a change of the size waits, for tests
 * @GMPOOL_STEP_HIDDEN: the kernel has given up a unit, which is hidden
 * @GMPOOL_STEP_ENTERED: the pool has got it, all of it is claimed
 * @GMPOOL_STEP_CLAIMED: a unit that is to leave the pool is claimed
 * @GMPOOL_STEP_WITHDRAWN: it has left the pool, and is hidden
 * @GMPOOL_STEP_ISOLATED: the free blocks of the units that are to be emptied are claimed
 */
enum gmpool_step {
	GMPOOL_STEP_HIDDEN	= 1,
	GMPOOL_STEP_ENTERED	= 2,
	GMPOOL_STEP_CLAIMED	= 3,
	GMPOOL_STEP_WITHDRAWN	= 4,
	GMPOOL_STEP_ISOLATED	= 5,
};

/* In change.c */
struct gmpool_change;
struct gmpool_change *gmpool_change_prepare(struct gmpool *pool,
					    const struct gmpool_numbers *to);
int gmpool_change_commit(struct gmpool *pool, struct gmpool_change *change,
			 const struct gmpool_range *added, struct gmpool_change *undo);
void gmpool_change_free(struct gmpool *pool, struct gmpool_change *change);

/* In hide.c */
const char *gmpool_hide_unit(struct gmpool *pool, u64 base, u64 size);
int gmpool_unhide_unit(struct gmpool *pool, u64 base, u64 size);
int gmpool_add_memory(struct gmpool *pool, u64 base, u64 size);

/* In eject.c */
#ifdef CONFIG_ACPI
int gmpool_hold_devices(struct gmpool *pool, u64 base, u64 size);
#else
static inline int gmpool_hold_devices(struct gmpool *pool, u64 base, u64 size)
{
	return 0;
}
#endif

/* In poison.c */
int gmpool_watch(struct gmpool *pool, const struct gmpool_extent *extent);
void gmpool_fail_online(struct gmpool *pool, u64 base);
void gmpool_watched(struct gmpool *pool, u64 base);
void gmpool_unwatch(struct gmpool *pool, u64 base);

/* In unit.c */
extern struct mutex gmpool_hotplug;
__printf(2, 3) void gmpool_resize_err(struct gmpool *pool, const char *fmt, ...);
void gmpool_resize_forget(struct gmpool *pool);
int gmpool_enter_unit(struct gmpool *pool, struct gmpool_change *change,
		      const struct gmpool_extent *unit, bool back);
void gmpool_unit_lost(struct gmpool *pool, u64 base);
int gmpool_online_unit(struct gmpool *pool, u64 base);

/* In grow.c */
int gmpool_grow(struct gmpool *pool, u64 units);

/* In shrink.c */
int gmpool_shrink_unit(struct gmpool *pool, const struct gmpool_extent *unit);

/* In vacate.c */
int gmpool_shrink(struct gmpool *pool, u64 units, bool in_use);

/* In resize.c */
int gmpool_resize(struct gmpool *pool, u64 size, int sign, bool in_use);

/* In debugfs.c */
#ifdef CONFIG_GUESTMEM_POOL_DEBUG
void gmpool_debugfs_stop(struct gmpool *pool, enum gmpool_step step);
#else
static inline void gmpool_debugfs_stop(struct gmpool *pool, enum gmpool_step step) { }
#endif

#endif /* _GMPOOL_RESIZE_H */
