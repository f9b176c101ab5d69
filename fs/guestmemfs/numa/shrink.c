// SPDX-License-Identifier: GPL-2.0
/*
 * Shrinking: the pool gives up memory.
 *
 * Only units without a used block leave the pool. They are zeroed before.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "pool.h"
#include "resize.h"

#define MIB(bytes)	((bytes) >> 20)

static u64 gmpool_count_taken(struct gmpool *pool, const struct gmpool_range *range,
			      u64 *first)
{
	u64 block, end = range->start + range->count, nr = 0;

	guard(spinlock)(&pool->space.lock);
	for (block = range->start; ; block++, nr++) {
		block = find_next_bit(pool->space.blocks.taken, end, block);
		if (block >= end)
			return nr;
		if (!nr)
			*first = block;
	}
}

/* What keeps the pool from shrinking: the block @block in the unit at @base. */
static void gmpool_explain_used(struct gmpool *pool, u64 base, u64 nr, u64 block)
{
	u64 ino = 0;

	if (gmpool_has_poison(pool, block * GMPOOL_BLOCK_PAGES, GMPOOL_BLOCK_PAGES)) {
		gmpool_resize_err(pool, "no whole %llu MiB are free: at %#llx, block %llu has a failed page",
				  MIB(gmpool_unit()), base, block);
		return;
	}
	if (pool->client) {
		/* No operation, so no file changes. */
		percpu_down_write(&pool->seal.sem);
		ino = pool->client->owner(pool->client, block);
		percpu_up_write(&pool->seal.sem);
	}
	if (ino)
		gmpool_resize_err(pool, "no whole %llu MiB are free: at %#llx, %llu blocks are used, block %llu by inode %llu",
				  MIB(gmpool_unit()), base, nr, block, ino);
	else
		gmpool_resize_err(pool, "no whole %llu MiB are free: at %#llx, %llu blocks are used",
				  MIB(gmpool_unit()), base, nr);
}

/*
 * Claim a unit of the pool, all of which is free. Of several, that of the highest
 * numbers, so that numbers go on counting through the extents if possible.
 */
static int gmpool_claim_unit(struct gmpool *pool, struct gmpool_extent *unit)
{
	u64 base, nr, block = 0, least = U64_MAX, least_base = 0, least_block = 0;
	const struct gmpool_extent *extent;
	struct gmpool_range range;
	u32 i;

	unit->size = gmpool_unit();
	range.count = unit->size >> GMPOOL_BLOCK_SHIFT;
	for (i = pool->numbers.nr; i--;) {
		extent = &pool->numbers.extent[i];
		if (extent->size < unit->size)
			continue;
		base = round_down(extent->base + extent->size - unit->size, unit->size);
		for (; base >= extent->base; base -= unit->size) {
			range.start = extent->first +
				      ((base - extent->base) >> GMPOOL_BLOCK_SHIFT);
			if (!gmpool_claim_range(pool, &range)) {
				unit->base = base;
				unit->first = range.start;
				return 0;
			}
			nr = gmpool_count_taken(pool, &range, &block);
			if (nr < least) {
				least = nr;
				least_base = base;
				least_block = block;
			}
			if (base < unit->size)
				break;
			cond_resched();
		}
	}
	if (least == U64_MAX)
		gmpool_resize_err(pool, "the pool has no %llu MiB that are contiguous and aligned",
				  MIB(unit->size));
	else
		gmpool_explain_used(pool, least_base, least, least_block);
	return -EBUSY;
}

/* Take a claimed unit out of the pool. */
static int gmpool_withdraw_unit(struct gmpool *pool, struct gmpool_change *change,
				const struct gmpool_range *range)
{
	u64 block;
	int err;

	guard(mutex)(&pool->manage);
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
	err = gmpool_change_commit(pool, change, NULL);
	if (err)
		gmpool_resize_err(pool, "the change cannot be recorded (%pe)", ERR_PTR(err));
	return err;
}

/* Give a unit that has left the pool to the kernel; on error, the pool gets it back. */
static int gmpool_return_unit(struct gmpool *pool, struct gmpool_change *undo,
			      const struct gmpool_extent *unit)
{
	int err = gmpool_give_unit(pool, unit->base);

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
	if (*err) {
		gmpool_resize_err(pool, "the pool would be in more than %u pieces",
				  GMPOOL_MAX_EXTENTS);
		return NULL;
	}
	change = gmpool_change_prepare(&to);
	if (!change)
		*err = -ENOMEM;
	return change;
}

static int gmpool_shrink_unit(struct gmpool *pool)
{
	struct gmpool_change *change = NULL, *undo = NULL;
	struct gmpool_extent unit;
	struct gmpool_range range;
	int err;

	err = gmpool_claim_unit(pool, &unit);
	if (err)
		return err;
	range.start = unit.first;
	range.count = unit.size >> GMPOOL_BLOCK_SHIFT;
	gmpool_debugfs_stop(pool, GMPOOL_STEP_CLAIMED);

	change = gmpool_prepare_shrinking(pool, &unit, &err);
	undo = gmpool_change_prepare(&pool->numbers);
	if (!err && !undo)
		err = -ENOMEM;
	if (err)
		goto out;
	/* What guests have stored does not leave the pool. */
	err = gmpool_scrub(pool, &range, 1);
	if (!err)
		err = gmpool_withdraw_unit(pool, change, &range);
	if (err)
		goto out;
	gmpool_debugfs_stop(pool, GMPOOL_STEP_WITHDRAWN);
	err = gmpool_return_unit(pool, undo, &unit);
	gmpool_change_free(change);
	gmpool_change_free(undo);
	return err;

out:
	gmpool_unclaim(pool, &range);
	gmpool_change_free(change);
	gmpool_change_free(undo);
	return err;
}

/**
 * gmpool_shrink - let a pool shrink
 * @pool: an active pool
 * @units: number of units
 *
 * Context: process context, sleeps; gmpool.resize.lock is held.
 *
 * Return: 0, -EAGAIN if the pool has been frozen since, or a negative errno of
 * gmpool_resize(); the units before stay away.
 */
int gmpool_shrink(struct gmpool *pool, u64 units)
{
	int err = 0;

	for (; units && !err; units--) {
		err = signal_pending(current) ? -EINTR : gmpool_shrink_unit(pool);
		if (err == -EINTR)
			gmpool_resize_err(pool, "interrupted by a signal");
		else if (err && err != -EAGAIN && !*pool->resize.error)
			gmpool_resize_err(pool, "error %pe", ERR_PTR(err));
		else if (!err)
			gmpool_notify_size(pool);
	}
	return err;
}
