// SPDX-License-Identifier: GPL-2.0
/*
 * The block allocator of a pool: claimed, used and dirty blocks. For the life
 * of a block see pool.c.
 *
 * Two bitmaps in metadata blocks, used and dirty, are handed over. Two more in
 * ordinary memory (bitmap.c) find blocks quickly. gmpool_init_blocks() builds
 * them at boot from the first two.
 */

#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/mm.h>

#include <trace/events/guestmemfs.h>

#include "pool.h"

/**
 * gmpool_free_blocks - number of free blocks
 * @pool: a pool that has not failed
 *
 * Return: blocks that are neither used nor claimed.
 */
u64 gmpool_free_blocks(struct gmpool *pool)
{
	guard(spinlock)(&pool->space.lock);
	return pool->space.blocks.nr_free;
}

/**
 * gmpool_dirty_blocks - number of dirty blocks
 * @pool: a pool that has not failed
 *
 * Return: free blocks that must be zeroed before use.
 */
u64 gmpool_dirty_blocks(struct gmpool *pool)
{
	guard(spinlock)(&pool->space.lock);
	return pool->space.blocks.nr_free - pool->space.clean.nr_free;
}

/* Number of free blocks that are reserved for privileged tasks. */
static u64 gmpool_reserved_locked(struct gmpool *pool)
{
	lockdep_assert_held(&pool->space.lock);
	return min(pool->tune.reserve, pool->space.blocks.nr_free);
}

/**
 * gmpool_reserved_blocks - number of free blocks reserved for privileged tasks
 * @pool: the pool
 *
 * Return: free blocks that gmpool_claim() gives only to tasks with
 * CAP_SYS_RESOURCE.
 */
u64 gmpool_reserved_blocks(struct gmpool *pool)
{
	guard(spinlock)(&pool->space.lock);
	return gmpool_reserved_locked(pool);
}

/**
 * gmpool_change_bits - set or clear bits in a handed-over bitmap
 * @pool: the pool
 * @maps: gmpool.space.used or gmpool.space.dirty
 * @range: the blocks
 * @set: set the bits, rather than clear them
 *
 * Context: within an operation, with gmpool.space.lock held.
 */
void gmpool_change_bits(struct gmpool *pool, struct gmpool_bitmap_ser **maps,
			const struct gmpool_range *range, bool set)
{
	u64 block = range->start;
	u64 left = range->count;

	lockdep_assert_held(&pool->space.lock);

	while (left) {
		struct gmpool_bitmap_ser *map = maps[block / GMPOOL_BITMAP_BITS];
		u32 bit = block % GMPOOL_BITMAP_BITS;
		u32 nr = min_t(u64, left, GMPOOL_BITMAP_BITS - bit);

		if (set)
			bitmap_set((unsigned long *)map->bits, bit, nr);
		else
			bitmap_clear((unsigned long *)map->bits, bit, nr);
		gmpool_meta_dirty(&pool->handover.meta, &map->hdr);
		block += nr;
		left -= nr;
	}
}

/* The part of a range that lies in one metadata block of a handed-over bitmap. */
struct part {
	const unsigned long *bits;
	u64 first;
	u32 start;
	u32 end;
};

static bool gmpool_next_part(struct gmpool *pool,
			     struct gmpool_bitmap_ser **maps,
			     const struct gmpool_range *range, u64 *done,
			     struct part *part)
{
	u64 block = range->start + *done;
	u32 nr;

	if (*done == range->count)
		return false;
	part->bits = (unsigned long *)maps[block / GMPOOL_BITMAP_BITS]->bits;
	part->start = block % GMPOOL_BITMAP_BITS;
	part->first = block - part->start;
	nr = min_t(u64, range->count - *done, GMPOOL_BITMAP_BITS - part->start);
	part->end = part->start + nr;
	*done += nr;
	return true;
}

/*
 * Put those blocks of @range into the clean bitmap that are not dirty. All are
 * free.
 */
static void gmpool_put_clean(struct gmpool *pool, const struct gmpool_range *range)
{
	struct part part;
	u64 done = 0;

	lockdep_assert_held(&pool->space.lock);

	while (gmpool_next_part(pool, pool->space.dirty, range, &done, &part))
		WARN_ON_ONCE(gmpool_bitmap_put_clear(&pool->space.clean, part.first,
						     part.bits, part.start,
						     part.end));
}

/**
 * gmpool_count_dirty - number of blocks that must be zeroed
 * @pool: the pool
 * @range: blocks that are not used
 *
 * Context: any; takes gmpool.space.lock.
 *
 * Return: blocks of @range that are not known to be zero.
 */
u64 gmpool_count_dirty(struct gmpool *pool, const struct gmpool_range *range)
{
	struct part part;
	u64 done = 0;
	u64 nr = 0;
	u32 start;

	guard(spinlock)(&pool->space.lock);

	while (gmpool_next_part(pool, pool->space.dirty, range, &done, &part)) {
		for (start = part.start; ; start++, nr++) {
			start = find_next_bit(part.bits, part.end, start);
			if (start >= part.end)
				break;
		}
	}
	return nr;
}

/**
 * gmpool_is_dirty - must a block be zeroed before use
 * @pool: the pool
 * @block: a block that is not used
 *
 * Context: any; takes gmpool.space.lock.
 *
 * Return: true if it is not known to be zero.
 */
bool gmpool_is_dirty(struct gmpool *pool, u64 block)
{
	struct gmpool_bitmap_ser *map;

	guard(spinlock)(&pool->space.lock);
	map = pool->space.dirty[block / GMPOOL_BITMAP_BITS];
	return test_bit(block % GMPOOL_BITMAP_BITS, (unsigned long *)map->bits);
}

/**
 * gmpool_scrubbed - record that a block has been zeroed
 * @pool: the pool
 * @block: a block that was dirty, free or claimed by the caller
 *
 * Context: process context, not within an operation; takes gmpool.space.lock.
 */
void gmpool_scrubbed(struct gmpool *pool, u64 block)
{
	struct gmpool_range range = { .start = block, .count = 1 };
	unsigned int flags;

	flags = gmpool_op_begin(pool);
	scoped_guard(spinlock, &pool->space.lock) {
		gmpool_change_bits(pool, pool->space.dirty, &range, false);
		if (!test_bit(block, pool->space.blocks.taken))
			gmpool_put_clean(pool, &range);
	}
	gmpool_op_end(pool, flags);
}

static void gmpool_update_low_locked(struct gmpool *pool)
{
	bool low = pool->space.blocks.nr_free < pool->tune.low_watermark;

	lockdep_assert_held(&pool->space.lock);

	if (low == pool->space.low)
		return;
	pool->space.low = low;
	gmpool_notify_free(pool);
}

/**
 * gmpool_update_low - compare the free blocks with the low watermark
 * @pool: the pool, after a change of the watermark or of the free blocks
 *
 * Notifies user space when the watermark was crossed in either direction.
 *
 * Context: any; takes gmpool.space.lock.
 */
void gmpool_update_low(struct gmpool *pool)
{
	guard(spinlock)(&pool->space.lock);
	gmpool_update_low_locked(pool);
}

/* Not audited: most allocations do not need the capability. */
static bool gmpool_privileged(void)
{
	return ns_capable_noaudit(&init_user_ns, CAP_SYS_RESOURCE);
}

/* Number of blocks that the task can allocate. @all: it may use the reserve. */
static u64 gmpool_available(struct gmpool *pool, bool all)
{
	lockdep_assert_held(&pool->space.lock);
	return pool->space.blocks.nr_free - (all ? 0 : gmpool_reserved_locked(pool));
}

/**
 * gmpool_check_room - check whether several claims can succeed
 * @pool: an active pool
 * @want: blocks of all claims together
 *
 * A task that cannot get all blocks should not claim a part, since others lack
 * that part until the task gives it back. The result is a hint: other tasks may
 * claim the blocks first.
 *
 * Context: process context; takes gmpool.space.lock.
 *
 * Return: 0, or -ENOSPC as gmpool_claim().
 */
int gmpool_check_room(struct gmpool *pool, u64 want)
{
	bool all = gmpool_privileged();

	scoped_guard(spinlock, &pool->space.lock) {
		if (want <= gmpool_available(pool, all))
			return 0;
		pool->space.nr_failures++;
	}
	trace_guestmemfs_allocate(pool->nid, want, GMPOOL_NO_GOAL, NULL, -ENOSPC);
	return -ENOSPC;
}

/**
 * gmpool_take - take free blocks
 * @pool: the pool
 * @range: the blocks
 *
 * Context: gmpool.space.lock is held.
 *
 * Return: 0; -EINVAL if @range is empty or not within the pool; -EBUSY if one of the
 * blocks is not free. Nothing is changed on an error.
 */
int gmpool_take(struct gmpool *pool, const struct gmpool_range *range)
{
	int err;

	lockdep_assert_held(&pool->space.lock);

	err = gmpool_bitmap_take(&pool->space.blocks, range);
	if (err)
		return err;
	gmpool_bitmap_take_free(&pool->space.clean, range);
	gmpool_update_low_locked(pool);
	return 0;
}

static int gmpool_do_claim(struct gmpool *pool, u64 want, u64 goal, bool all,
			   struct gmpool_range *range)
{
	u64 avail = gmpool_available(pool, all);
	int err;

	lockdep_assert_held(&pool->space.lock);

	if (!avail)
		return -ENOSPC;
	err = gmpool_bitmap_choose(&pool->space.blocks, &pool->space.clean, want, goal, range);
	if (err)
		return err;
	range->count = min(range->count, avail);
	return gmpool_take(pool, range);
}

/**
 * gmpool_claim - claim free blocks
 * @pool: an active pool
 * @want: blocks, not 0; give the full number even if it does not fit in one
 *	range: placement depends on it
 * @goal: preferred block, or GMPOOL_NO_GOAL
 * @range: filled with contiguous blocks, at most @want
 *
 * Prefers blocks that are zeroed already, where they fit equally well. A claim
 * is not handed over. It ends with gmpool_commit() or gmpool_unclaim().
 *
 * Context: process context; takes gmpool.space.lock.
 *
 * Return: 0; -ENOSPC if no block is free, or if all free blocks are reserved
 * for tasks with CAP_SYS_RESOURCE and the current one lacks it; -EROFS if the
 * pool is not active.
 */
int gmpool_claim(struct gmpool *pool, u64 want, u64 goal,
		 struct gmpool_range *range)
{
	bool all = gmpool_privileged();
	int err;

	if (pool->state != GMPOOL_ACTIVE)
		return -EROFS;

	scoped_guard(spinlock, &pool->space.lock) {
		err = gmpool_do_claim(pool, want, goal, all, range);
		if (err)
			pool->space.nr_failures++;
	}
	trace_guestmemfs_allocate(pool->nid, want, goal, range, err);
	return err;
}

/**
 * gmpool_claim_range - claim these blocks
 * @pool: an active pool
 * @range: the blocks
 *
 * Takes blocks that are reserved for privileged tasks too. Ends like gmpool_claim().
 *
 * Context: process context; takes gmpool.space.lock.
 *
 * Return: 0; -EBUSY if one of them is not free, nothing is claimed then.
 */
int gmpool_claim_range(struct gmpool *pool, const struct gmpool_range *range)
{
	guard(spinlock)(&pool->space.lock);
	return gmpool_take(pool, range);
}

/**
 * gmpool_unclaim - return claimed blocks
 * @pool: the pool
 * @range: range from gmpool_claim(), or a part of one
 *
 * Context: process context; takes gmpool.space.lock.
 */
void gmpool_unclaim(struct gmpool *pool, const struct gmpool_range *range)
{
	scoped_guard(spinlock, &pool->space.lock) {
		if (WARN_ON_ONCE(gmpool_bitmap_put(&pool->space.blocks, range)))
			return;
		gmpool_put_clean(pool, range);
		gmpool_retire(pool, range);
		gmpool_update_low_locked(pool);
	}
	trace_guestmemfs_free(pool->nid, range, false);
	wake_up(&pool->scrub.work);
}

/**
 * gmpool_commit - turn claimed blocks into used ones
 * @pool: the pool
 * @range: claimed and scrubbed
 *
 * The client records its ownership in the same operation.
 *
 * Context: within an operation; takes gmpool.space.lock.
 */
void gmpool_commit(struct gmpool *pool, const struct gmpool_range *range)
{
	percpu_rwsem_assert_held(&pool->seal.sem);
	guard(spinlock)(&pool->space.lock);
	gmpool_change_bits(pool, pool->space.used, range, true);
}

/**
 * gmpool_free - free used blocks
 * @pool: the pool
 * @range: committed blocks that are no longer mapped or referenced
 *
 * Context: within an operation; takes gmpool.space.lock.
 */
void gmpool_free(struct gmpool *pool, const struct gmpool_range *range)
{
	percpu_rwsem_assert_held(&pool->seal.sem);
	scoped_guard(spinlock, &pool->space.lock) {
		if (WARN_ON_ONCE(gmpool_bitmap_put(&pool->space.blocks, range)))
			return;
		gmpool_change_bits(pool, pool->space.used, range, false);
		gmpool_change_bits(pool, pool->space.dirty, range, true);
		gmpool_retire(pool, range);
		gmpool_update_low_locked(pool);
	}
	trace_guestmemfs_free(pool->nid, range, true);
	wake_up(&pool->scrub.work);
}

/**
 * gmpool_soil - record that a block is about to be written
 * @pool: the pool
 * @block: a claimed block
 *
 * Whoever gets the block next zeroes it first, also after a kexec.
 *
 * Context: process context, may sleep, not within an operation; takes
 * gmpool.space.lock.
 */
void gmpool_soil(struct gmpool *pool, u64 block)
{
	struct gmpool_range range = { .start = block, .count = 1 };
	unsigned int flags;

	if (gmpool_is_dirty(pool, block))
		return;
	flags = gmpool_op_begin(pool);
	scoped_guard(spinlock, &pool->space.lock)
		gmpool_change_bits(pool, pool->space.dirty, &range, true);
	gmpool_op_end(pool, flags);
}

/**
 * gmpool_commit_move - use a claimed block in place of a used one
 * @pool: the pool
 * @to: claimed block with the contents of @from
 * @from: used block that is no longer mapped or referenced; claimed and dirty then
 *
 * The client changes its records in the same operation.
 *
 * Context: within an operation; takes gmpool.space.lock.
 */
void gmpool_commit_move(struct gmpool *pool, u64 to, u64 from)
{
	struct gmpool_range new = { .start = to, .count = 1 };
	struct gmpool_range old = { .start = from, .count = 1 };

	percpu_rwsem_assert_held(&pool->seal.sem);
	guard(spinlock)(&pool->space.lock);
	gmpool_change_bits(pool, pool->space.dirty, &new, false);
	gmpool_change_bits(pool, pool->space.used, &new, true);
	gmpool_change_bits(pool, pool->space.used, &old, false);
	gmpool_change_bits(pool, pool->space.dirty, &old, true);
	pool->space.nr_moved++;
}

/**
 * gmpool_zero - zero a part of a block
 * @pool: the pool
 * @block: the block
 * @offset: bytes into the block
 * @len: bytes, not beyond the block's end
 *
 * Context: process context, sleeps. Allowed within an operation if the zeroing
 * belongs to the change; it covers less than a block then, and takes little
 * time.
 */
void gmpool_zero(struct gmpool *pool, u64 block, u64 offset, u64 len)
{
	phys_addr_t phys = PFN_PHYS(gmpool_pfn(pool, block));
	u64 page = block * GMPOOL_BLOCK_PAGES;
	u64 end = offset + len, step;

	if (!gmpool_has_poison(pool, page, GMPOOL_BLOCK_PAGES)) {
		gmpool_zero_phys(phys + offset, len, false);
		return;
	}
	/* Skip poisoned pages: a store to one could fail. */
	for (; offset < end; offset += step) {
		step = min(end - offset, PAGE_SIZE - offset % PAGE_SIZE);
		if (!gmpool_has_poison(pool, page + (offset >> PAGE_SHIFT), 1))
			gmpool_zero_phys(phys + offset, step, false);
	}
}

/**
 * gmpool_check_used - compare clients' blocks with the pool's bitmap
 * @pool: a pool that has not failed
 * @used: bitmap of all blocks that clients own, NULL if there are none
 *
 * Context: boot, before the pool has clients.
 *
 * Return: first block that differs; gmpool_end_block() if none does.
 */
u64 gmpool_check_used(struct gmpool *pool, const unsigned long *used)
{
	const struct gmpool_bitmap_ser *map;
	unsigned long bits, differ;
	u64 block;

	BUILD_BUG_ON(GMPOOL_BITMAP_BITS % BITS_PER_LONG);

	for (block = 0; block < pool->end_block; block += BITS_PER_LONG) {
		map = pool->space.used[block / GMPOOL_BITMAP_BITS];
		bits = min(pool->end_block - block, (u64)BITS_PER_LONG);
		differ = (used ? used[BIT_WORD(block)] : 0) ^
			 map->bits[BIT_WORD(block % GMPOOL_BITMAP_BITS)];
		differ &= BITMAP_LAST_WORD_MASK(bits);
		if (differ)
			return block + __ffs(differ);
	}
	return pool->end_block;
}

/**
 * gmpool_init_blocks - build a pool's allocator from the handed-over bitmaps
 * @pool: the pool, with metadata
 *
 * Context: process context, may sleep; the pool has no clients. Takes
 * gmpool.space.lock.
 *
 * Return: 0; -ENOMEM, the pool has no allocator then.
 */
int gmpool_init_blocks(struct gmpool *pool)
{
	struct gmpool_range range = { .count = pool->end_block };
	struct gmpool_bitmap blocks = {}, clean = {};
	u32 start, end;
	u64 first;
	int err;

	err = gmpool_bitmap_init(&blocks, pool->numbers.extent, pool->numbers.nr);
	if (!err)
		err = gmpool_bitmap_init(&clean, pool->numbers.extent,
					 pool->numbers.nr);
	if (err) {
		gmpool_bitmap_destroy(&blocks);
		return err;
	}
	gmpool_bitmap_take_free(&clean, &range);

	for (first = 0; first < pool->end_block; first += GMPOOL_BITMAP_BITS) {
		struct gmpool_bitmap_ser *map;

		map = pool->space.used[first / GMPOOL_BITMAP_BITS];
		for_each_set_bitrange(start, end, (unsigned long *)map->bits,
				      GMPOOL_BITMAP_BITS) {
			range.start = first + start;
			range.count = end - start;
			gmpool_bitmap_take(&blocks, &range);
		}
	}

	/* Locked, so that sysfs and memory failure see both or neither. */
	guard(spinlock)(&pool->space.lock);
	pool->space.blocks = blocks;
	pool->space.clean = clean;
	for (range.start = 0; ; range.start += range.count) {
		range.start = find_next_zero_bit(pool->space.blocks.taken,
						 pool->end_block, range.start);
		if (range.start >= pool->end_block)
			break;
		range.count = find_next_bit(pool->space.blocks.taken,
					    pool->end_block, range.start) -
			    range.start;
		gmpool_put_clean(pool, &range);
	}
	range.start = 0;
	range.count = pool->end_block;
	gmpool_retire(pool, &range);
	pool->space.blocks.first_fit = pool->tune.policy == GMPOOL_POLICY_FIRST_FIT;
	return 0;
}
