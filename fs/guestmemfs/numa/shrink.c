// SPDX-License-Identifier: GPL-2.0
/*
 * Shrinking: a unit leaves the pool.
 *
 * None of its blocks is used any more (vacate.c). It is zeroed before it leaves.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/cleanup.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include <trace/events/guestmemfs.h>

#include "pool.h"
#include "resize.h"

/* Take a claimed unit out of the pool. */
static int gmpool_withdraw_unit(struct gmpool *pool, struct gmpool_change *change,
				struct gmpool_change *undo, const struct gmpool_range *range)
{
	u64 block;
	int err;

	lockdep_assert_held(&pool->manage);
	guard(mutex)(&pool->reset);

	if (pool->state != GMPOOL_ACTIVE)
		return -EROFS;
	if (pool->tune.frozen)
		return -EAGAIN;
	/* Pages that have failed stay in the pool, which keeps them from all users. */
	if (gmpool_find_poison(pool, range, &block)) {
		gmpool_resize_err(pool, "block %llu has a failed page", block);
		return -EHWPOISON;
	}
	err = gmpool_change_commit(pool, change, NULL, undo);
	if (err)
		gmpool_resize_err(pool, "the change cannot be recorded (%pe)", ERR_PTR(err));
	return err;
}

/*
 * Give a unit that has left the pool to the kernel; on error, the pool gets it back. That
 * takes no memory, since a lack of memory is the most likely error.
 */
static int gmpool_return_unit(struct gmpool *pool, struct gmpool_change *undo,
			      const struct gmpool_extent *unit)
{
	int err = gmpool_unhide_unit(pool, unit->base, unit->size);

	if (!err)
		return 0;
	if (gmpool_enter_unit(pool, undo, unit, true))
		gmpool_unit_lost(pool, unit->base);
	gmpool_resize_err(pool, "the kernel cannot take the memory at %#llx (%pe)", unit->base,
			  ERR_PTR(err));
	return err;
}

/* Not inline: the frame is large. */
static noinline_for_stack struct gmpool_change *
gmpool_prepare_shrinking(struct gmpool *pool, const struct gmpool_extent *unit, int *err)
{
	struct gmpool_numbers to = pool->numbers;
	struct gmpool_change *change;

	*err = gmpool_numbers_remove(&to, unit->base, unit->size);
	if (*err)
		return NULL;
	change = gmpool_change_prepare(pool, &to);
	if (!change)
		*err = -ENOMEM;
	return change;
}

/*
 * Let the kernel have a claimed unit that is zeroed. No signal ends the wait for memory
 * hotplug any more.
 */
static int gmpool_hand_unit(struct gmpool *pool, struct gmpool_change *change,
			    struct gmpool_change *undo, const struct gmpool_extent *unit,
			    const struct gmpool_range *range)
{
	/* Freezing holds it while it waits for tasks, and other pools wait for this one. */
	int err = mutex_lock_interruptible(&pool->manage);

	if (!err) {
		err = gmpool_withdraw_unit(pool, change, undo, range);
		mutex_unlock(&pool->manage);
	}
	if (err) {
		gmpool_unclaim(pool, range);
		return err;
	}
	gmpool_debugfs_stop(pool, GMPOOL_STEP_WITHDRAWN);
	return gmpool_return_unit(pool, undo, unit);
}

/* The kernel has the unit: -EIO if it cannot use all of it. */
static int gmpool_use_unit(struct gmpool *pool, const struct gmpool_extent *unit)
{
	int err;

	gmpool_notify_size(pool);
	err = gmpool_online_unit(pool, unit->base);
	if (!err)
		return 0;
	gmpool_resize_err(pool, "the kernel cannot use all of the memory at %#llx (%pe): set it online in /sys/devices/system/memory",
			  unit->base, ERR_PTR(err));
	return -EIO;
}

/**
 * gmpool_shrink_unit - give up a unit
 * @pool: an active pool
 * @unit: the unit, all blocks of which are claimed
 *
 * On an error other than -EIO, the blocks are free again.
 *
 * Context: process context, sleeps; gmpool.resize.lock is held.
 *
 * Return: 0; -EIO if the pool has given the unit up, but a part of it stays offline;
 * -EAGAIN if the pool has been frozen since; or another negative errno of
 * gmpool_resize().
 */
int gmpool_shrink_unit(struct gmpool *pool, const struct gmpool_extent *unit)
{
	struct gmpool_range range = {
		.start = unit->first,
		.count = unit->size >> GMPOOL_BLOCK_SHIFT,
	};
	struct gmpool_change *change = NULL, *undo = NULL;
	bool locked;
	int err;

	gmpool_debugfs_stop(pool, GMPOOL_STEP_CLAIMED);

	change = gmpool_prepare_shrinking(pool, unit, &err);
	undo = gmpool_change_prepare(pool, &pool->numbers);
	if (!err && !undo)
		err = -ENOMEM;
	/* What guests have stored does not leave the pool. */
	if (!err)
		err = gmpool_scrub(pool, &range, 1);
	if (!err)
		err = mutex_lock_interruptible(&gmpool_hotplug);
	locked = !err;
	if (locked)
		err = gmpool_hand_unit(pool, change, undo, unit, &range);
	else
		gmpool_unclaim(pool, &range);
	gmpool_change_free(pool, change);
	gmpool_change_free(pool, undo);
	trace_guestmemfs_shrink(pool->nid, unit->base, unit->size, err);
	if (!err)
		err = gmpool_use_unit(pool, unit);
	if (locked)
		mutex_unlock(&gmpool_hotplug);
	return err;
}
