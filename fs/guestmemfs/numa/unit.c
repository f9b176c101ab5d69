// SPDX-License-Identifier: GPL-2.0
/*
 * What growing and shrinking have in common: a unit enters the pool, or goes to the
 * kernel.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/lockdep.h>
#include <linux/memory-failure.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include "pool.h"
#include "resize.h"

/*
 * Lets one pool at a time use memory hotplug, which holds the lock of device hotplug for as
 * long as pages move. A signal does not end the wait for that lock, but it ends this one.
 */
DEFINE_MUTEX(gmpool_hotplug);

/**
 * gmpool_resize_err - record what a change of the size lacks
 * @pool: the pool
 * @fmt: text for resize_error in sysfs, as for printk(), without a newline
 *
 * Context: takes gmpool.space.lock.
 */
void gmpool_resize_err(struct gmpool *pool, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	scoped_guard(spinlock, &pool->space.lock)
		vsnprintf(pool->resize.error, sizeof(pool->resize.error), fmt, args);
	va_end(args);
}

/**
 * gmpool_resize_forget - record that a change of the size lacks nothing so far
 * @pool: the pool
 *
 * Context: takes gmpool.space.lock.
 */
void gmpool_resize_forget(struct gmpool *pool)
{
	gmpool_resize_err(pool, "%s", "");
}

/**
 * gmpool_unit_lost - log that neither the pool nor the kernel could take a unit
 * @pool: the pool
 * @base: physical address of the unit
 *
 * The pool no longer handles memory failures there: another unit can get its block numbers.
 *
 * Context: process context, may sleep; gmpool.resize.lock is held.
 */
void gmpool_unit_lost(struct gmpool *pool, u64 base)
{
	gmpool_unwatch(pool, base);
	pr_err("node %d: %llu MiB of memory at %#llx are in neither the pool nor the kernel: they are unused until the next boot or kexec\n",
	       pool->nid, gmpool_unit() >> 20, base);
}

/**
 * struct offline - memory that was added, but is not in use
 * @nr: number of its memory blocks
 * @err: error of the last one of them
 */
struct offline {
	u64 nr;
	int err;
};

/* A callback of walk_memory_blocks(). */
static int gmpool_online_block(struct memory_block *mem, void *arg)
{
	struct offline *left = arg;
	int err;

	if (mem->state == MEM_ONLINE)
		return 0;
	mem->online_type = MMOP_ONLINE_MOVABLE;
	err = device_online(&mem->dev);
	if (err < 0) {
		left->nr++;
		left->err = err;
	}
	return 0;
}

/**
 * gmpool_online_unit - let the kernel use a unit that was added
 * @pool: pool that it was or would have been in
 * @base: physical address
 *
 * __add_memory_driver_managed() does not tell whether memory blocks came online: a driver
 * can refuse, or there is no memory for what it needs. So this tries it again for those
 * that are offline. The log has those that stay so: root can set them online later.
 *
 * From then on the kernel handles memory failures there, also those that the pool has seen
 * since it gave up the unit. memory_failure() handles pages of online memory only.
 *
 * Context: process context, may sleep; takes the locks of memory hotplug;
 * gmpool.resize.lock and gmpool_hotplug are held.
 *
 * Return: 0, or the error of one of the memory blocks that stay offline.
 */
int gmpool_online_unit(struct gmpool *pool, u64 base)
{
	struct offline left = {};

	lockdep_assert_held(&gmpool_hotplug);

	/*
	 * A failure that has found no struct page asks the pool. A signal ends the wait: such
	 * a failure can be lost then.
	 */
	memory_failure_wait();
	lock_device_hotplug();
	walk_memory_blocks(base, gmpool_unit(), &left, gmpool_online_block);
	/* Other tasks set no memory block online between its failed page and its count. */
	gmpool_unwatch(pool, base);
	unlock_device_hotplug();
	if (left.nr)
		pr_warn("node %d: %llu MiB of the memory at %#llx stay offline (%pe): set them online in /sys/devices/system/memory\n",
			pool->nid, left.nr * memory_block_size_bytes() >> 20, base,
			ERR_PTR(left.err));
	return left.err;
}

/**
 * gmpool_enter_unit - put a hidden unit into a pool
 * @pool: the pool, which handles memory failures in the unit
 * @change: from gmpool_change_prepare(), adds the unit
 * @unit: the unit
 * @back: it has just left the pool, and @change is the undo of that: it enters also if the
 *	pool has been frozen since
 *
 * Context: process context, may sleep; gmpool.resize.lock is held. Allocates no memory.
 *
 * Return: 0, the blocks are free and dirty then; or a negative errno, the unit is to be
 * given to the kernel then: -EAGAIN if the pool is frozen, -EINTR on a signal.
 */
int gmpool_enter_unit(struct gmpool *pool, struct gmpool_change *change,
		      const struct gmpool_extent *unit, bool back)
{
	struct gmpool_range range = {
		.start = unit->first,
		.count = unit->size >> GMPOOL_BLOCK_SHIFT,
	};
	int err;

	gmpool_debugfs_stop(pool, GMPOOL_STEP_HIDDEN);
	/* Freezing holds it while it waits for tasks. */
	if (back)
		mutex_lock(&pool->manage);
	else if (mutex_lock_interruptible(&pool->manage))
		return -EINTR;
	mutex_lock(&pool->reset);
	err = pool->state == GMPOOL_ACTIVE ? 0 : -EROFS;
	if (!err && pool->tune.frozen && !back)
		err = -EAGAIN;
	if (!err)
		err = gmpool_change_commit(pool, change, &range, NULL);
	mutex_unlock(&pool->reset);
	mutex_unlock(&pool->manage);
	if (err == -EAGAIN)
		return err;
	if (err) {
		gmpool_resize_err(pool, "memory at %#llx cannot be recorded (%pe)", unit->base,
				  ERR_PTR(err));
		return err;
	}
	gmpool_debugfs_stop(pool, GMPOOL_STEP_ENTERED);
	gmpool_watched(pool, unit->base);
	gmpool_unclaim(pool, &range);
	return 0;
}
