// SPDX-License-Identifier: GPL-2.0
/*
 * Pools grow and shrink while the machine runs.
 *
 * They do by whole units of gmpool_unit() bytes, one after the other. A unit that the
 * kernel gives up is offlined and removed, as when a memory module is unplugged: its
 * struct pages and its part of the direct map go. A unit that it gets back is added as
 * movable memory.
 *
 * At each moment, a kexec finds the unit either in the pool or in the memory of the next
 * kernel, never in both. A unit enters the pool in one operation, after it was hidden:
 * before that, the next kernel has it as ordinary memory. A unit leaves the pool in one
 * operation, after all of its blocks were claimed and zeroed, and only then the kernel
 * gets it. Blocks that have to move for this do so one by one, each in an operation.
 * Nothing else is handed over: the map of memory that firmware has made, and so the next
 * kernel, knows all of this memory.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/kexec.h>
#include <linux/mutex.h>
#include <linux/overflow.h>

#include "pool.h"
#include "resize.h"

#define MIB(bytes)	((bytes) >> 20)

static int gmpool_check_target(struct gmpool *pool, u64 have, u64 size, int sign, u64 *target)
{
	u64 unit = gmpool_unit();
	bool overflow = false;

	*target = size;
	if (sign > 0)
		overflow = check_add_overflow(have, size, target);
	else if (sign < 0)
		overflow = check_sub_overflow(have, size, target);
	if (overflow || !*target) {
		gmpool_resize_err(pool, "the pool cannot have that size");
		return -ERANGE;
	}
	if ((max(have, *target) - min(have, *target)) & (unit - 1)) {
		gmpool_resize_err(pool, "the size changes by multiples of %llu MiB, from %llu MiB on",
				  MIB(unit), MIB(have));
		return -EINVAL;
	}
	return 0;
}

/*
 * Does the kernel update the list of memory of a loaded kdump kernel? It does when memory
 * goes offline, and that is before the memory leaves the resources of which it makes the
 * list: a unit that the pool has got stays in the list.
 */
static bool gmpool_kdump_follows(bool grown)
{
#ifdef CONFIG_CRASH_HOTPLUG
	return !grown && crash_check_hotplug_support();
#else
	return false;
#endif
}

/**
 * gmpool_resize - change the size of a pool
 * @pool: the pool
 * @size: bytes
 * @sign: 0 if the pool is to have @size, 1 to add @size, -1 to take @size away
 * @in_use: to shrink, also move blocks that processes or guests use
 *
 * What has been reached stays if a further unit fails or the task gets a signal;
 * gmpool.resize.error then says in words what is in the way.
 *
 * Context: process context, sleeps for a long time; takes gmpool.resize.lock.
 *
 * Return: 0; -EINVAL if the size would not change by a multiple of gmpool_unit(),
 * -ERANGE; -EROFS if the pool is not active; -EBUSY if it is frozen, or if no unit can
 * be moved or emptied; -ENOSPC if the kernel needs its memory, or if the pool has no
 * room for blocks that have to move; -EIO if memory that has left the pool stays offline;
 * -EHWPOISON, -E2BIG, -ENOMEM, -EINTR.
 */
int gmpool_resize(struct gmpool *pool, u64 size, int sign, bool in_use)
{
	u64 have, now, target;
	int err;

	err = mutex_lock_interruptible(&pool->resize.lock);
	if (err)
		return -EINTR;
	have = pool->total_blocks << GMPOOL_BLOCK_SHIFT;
	gmpool_resize_forget(pool);
	err = gmpool_check_target(pool, have, size, sign, &target);
	if (!err && READ_ONCE(pool->state) != GMPOOL_ACTIVE) {
		gmpool_resize_err(pool, "the pool is not active");
		err = -EROFS;
	}
	if (err)
		goto out;

	scoped_guard(spinlock, &pool->space.lock)
		pool->resize.target = target;
	if (READ_ONCE(pool->tune.frozen))
		err = -EAGAIN;
	else if (target > have)
		err = gmpool_grow(pool, div64_u64(target - have, gmpool_unit()));
	else
		err = gmpool_shrink(pool, div64_u64(have - target, gmpool_unit()), in_use);
	if (err == -EAGAIN) {
		gmpool_resize_err(pool, "the pool is frozen");
		err = -EBUSY;
	}
	now = pool->total_blocks << GMPOOL_BLOCK_SHIFT;
	scoped_guard(spinlock, &pool->space.lock)
		pool->resize.target = 0;
	if (now == have)
		goto out;
	pr_info("node %d: pool of %llu MiB has %llu MiB now\n", pool->nid, MIB(have), MIB(now));
	if (kexec_crash_loaded() && !gmpool_kdump_follows(now > have))
		pr_warn("node %d: the kdump kernel's list of memory is out of date%s: load it again\n",
			pool->nid, now > have ? ", and has memory of the pool" : "");
out:
	mutex_unlock(&pool->resize.lock);
	return err;
}
