// SPDX-License-Identifier: GPL-2.0
/*
 * Moving used blocks to other places of the pool, on behalf of a client that empties a
 * range of blocks.
 *
 * The free blocks of the range are claimed first, so that no other task allocates them.
 * A block that has moved away stays claimed too. When the client has claimed all
 * blocks of the range, the range is empty, and the client gives it back as a whole.
 *
 * A claim is not handed over: a kexec in between finds each block free or used.
 */

#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "compact.h"
#include "pool.h"

/**
 * gmpool_hold_size - keep a pool from growing, shrinking and being reset
 * @pool: the pool
 *
 * Waits while the pool grows or shrinks, until a signal.
 *
 * Context: process context, sleeps; takes gmpool.resize.lock until
 * gmpool_release_size().
 *
 * Return: 0 or -EINTR.
 */
int gmpool_hold_size(struct gmpool *pool)
{
	return mutex_lock_interruptible(&pool->resize.lock) ? -EINTR : 0;
}

/**
 * gmpool_release_size - let a pool grow, shrink and be reset again
 * @pool: a pool after gmpool_hold_size()
 *
 * Context: process context.
 */
void gmpool_release_size(struct gmpool *pool)
{
	mutex_unlock(&pool->resize.lock);
}

/**
 * gmpool_isolate - claim all free blocks of a range
 * @pool: an active pool
 * @range: the blocks
 * @mine: a bit for each block of @range; those of the claimed ones are set
 *
 * Ignores the reserve, since the blocks are not allocated. Does not claim a free block
 * with a failed page, which is withheld: see gmpool_find_poison().
 *
 * Context: process context, may sleep; takes gmpool.space.lock.
 *
 * Return: number of blocks that were claimed.
 */
u64 gmpool_isolate(struct gmpool *pool, const struct gmpool_range *range,
		   unsigned long *mine)
{
	u64 end = range->start + range->count, nr = 0;
	struct gmpool_range part;

	scoped_guard(spinlock, &pool->space.lock) {
		const unsigned long *taken = pool->space.blocks.taken;

		for (part.start = range->start; ; part.start += part.count) {
			part.start = find_next_zero_bit(taken, end, part.start);
			if (part.start >= end)
				break;
			part.count = find_next_bit(taken, end, part.start) -
				     part.start;
			bitmap_set(mine, part.start - range->start, part.count);
			nr += part.count;
			gmpool_bitmap_take_free(&pool->space.blocks, &part);
			gmpool_bitmap_take_free(&pool->space.clean, &part);
		}
	}
	if (!nr)
		return 0;
	gmpool_update_low(pool);
	gmpool_wait_scrub(pool, range, 1);
	return nr;
}

/**
 * gmpool_unisolate - give back the claimed blocks of a range
 * @pool: the pool
 * @range: the blocks
 * @mine: from gmpool_isolate(), and those that have moved away; cleared
 *
 * Context: process context; takes gmpool.space.lock.
 */
void gmpool_unisolate(struct gmpool *pool, const struct gmpool_range *range,
		      unsigned long *mine)
{
	unsigned long start, end;

	for_each_set_bitrange(start, end, mine, range->count) {
		struct gmpool_range part = {
			.start = range->start + start,
			.count = end - start,
		};

		gmpool_unclaim(pool, &part);
	}
	bitmap_zero(mine, range->count);
}

/**
 * gmpool_plan - plan a compaction
 * @pool: an active pool
 * @movable: bitmap of the used blocks that can move, up to gmpool_end_block()
 * @want: number of 1 GiB ranges to gain at most
 *
 * Context: process context, may sleep; within gmpool_hold_size(), until the plan is
 * freed; takes gmpool.space.lock.
 *
 * Return: the plan, for kvfree(); NULL if there is no memory for it.
 */
struct gmpool_compact *gmpool_plan(struct gmpool *pool, const unsigned long *movable,
				   u64 want)
{
	u64 nr = gmpool_compact_count(pool->numbers.extent, pool->numbers.nr);
	size_t longs = BITS_TO_LONGS(pool->end_block);
	struct gmpool_compact *plan;
	unsigned long *taken;

	lockdep_assert_held(&pool->resize.lock);

	plan = kvzalloc(struct_size(plan, groups, nr), GFP_KERNEL);
	taken = kvcalloc(longs, sizeof(*taken), GFP_KERNEL);
	if (!plan || !taken) {
		kvfree(plan);
		kvfree(taken);
		return NULL;
	}
	plan->extents = pool->numbers.extent;
	plan->nr_extents = pool->numbers.nr;
	plan->nr_groups = nr;
	scoped_guard(spinlock, &pool->space.lock)
		memcpy(taken, pool->space.blocks.taken, longs * sizeof(*taken));
	gmpool_compact_choose(plan, taken, movable, want);
	kvfree(taken);
	return plan;
}

/**
 * gmpool_claim_target - claim free blocks for blocks that move
 * @pool: an active pool
 * @plan: the compaction; NULL to take blocks anywhere, also from a free 1 GiB
 * @want: blocks, not 0
 * @range: filled with contiguous blocks, at most @want
 *
 * The claim ends with gmpool_commit_move() or gmpool_unclaim(). Neither the reserve nor
 * a cgroup limits it: each block replaces another one.
 *
 * Context: process context, may sleep; takes gmpool.space.lock.
 *
 * Return: 0; -ENOSPC if no such block is free; -EROFS if the pool is not active.
 */
int gmpool_claim_target(struct gmpool *pool, const struct gmpool_compact *plan,
			u64 want, struct gmpool_range *range)
{
	int err;

	if (pool->state != GMPOOL_ACTIVE)
		return -EROFS;
	scoped_guard(spinlock, &pool->space.lock) {
		if (plan)
			err = gmpool_compact_target(plan, &pool->space.blocks, want,
						    range);
		else
			err = gmpool_bitmap_find(&pool->space.blocks, want,
						 GMPOOL_NO_GOAL, range);
		if (!err)
			err = gmpool_take(pool, range);
	}
	if (err)
		return err;
	gmpool_wait_scrub(pool, range, 1);
	return 0;
}

/**
 * gmpool_copy - copy a block
 * @pool: the pool
 * @to: a block from gmpool_claim_target()
 * @from: a used block, which nothing can store to
 *
 * If this fails, @to has a part of the contents, and is dirty. Reports a page of @from
 * that cannot be read, as a process that reads it would.
 *
 * Context: process context, may sleep, not within an operation; takes
 * gmpool.space.lock.
 *
 * Return: 0; -EHWPOISON if @from has a failed page; -EAGAIN if @to has one: use another
 * block.
 */
int gmpool_copy(struct gmpool *pool, u64 to, u64 from)
{
	int err;

	if (gmpool_has_poison(pool, to * GMPOOL_BLOCK_PAGES, GMPOOL_BLOCK_PAGES))
		return -EAGAIN;
	if (gmpool_has_poison(pool, from * GMPOOL_BLOCK_PAGES, GMPOOL_BLOCK_PAGES))
		return -EHWPOISON;
	gmpool_soil(pool, to);
	err = gmpool_copy_phys(PFN_PHYS(gmpool_pfn(pool, to)),
			       PFN_PHYS(gmpool_pfn(pool, from)));
	if (err)
		return err;
	/* A failure that is not recorded yet comes after all of the copy. */
	if (gmpool_has_poison(pool, from * GMPOOL_BLOCK_PAGES, GMPOOL_BLOCK_PAGES))
		return -EHWPOISON;
	if (gmpool_has_poison(pool, to * GMPOOL_BLOCK_PAGES, GMPOOL_BLOCK_PAGES))
		return -EAGAIN;
	return 0;
}
