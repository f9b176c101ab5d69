// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Pools of guest memory
 *
 * A pool is the memory of one NUMA node that was set aside at boot for virtual
 * machines. It is given out in blocks of 2 MiB to users in the kernel, of which
 * guestmemfs is the first (include/linux/guestmem_pool.h).
 *
 * Life of a block::
 *
 *   free, dirty --claim--> claimed, dirty
 *    |  ^   ^                 |  |
 *    |  |   +-----unclaim-----+  |
 *  scrub|                      scrub
 *    |  |                        |
 *    v  |                        v
 *   free, zero <--unclaim-- claimed, zero --commit--> used
 *       |  |                     ^                     |
 *       |  +--------claim--------+                     |
 *       +- - - - (dirty again) <--------free-----------+
 *
 * Blocks are scrubbed while they are free, by the pool's thread, or else by who
 * claims them (scrub.c). Only "used" and "dirty" are handed over. A claim is
 * known to this kernel alone: scrubbing takes long, and a kexec does not wait
 * for it.
 *
 * Freezing: every change of handed-over state, the pool's own or a user's, is
 * made between gmpool_op_begin() and gmpool_op_end(). At kexec the pool waits
 * for operations under way and lets no other begin, so the next kernel finds
 * each one whole or not at all. Stores to mapped memory go on until the CPUs
 * are stopped; nothing depends on their being quiet.
 *
 * Locking, outermost first:
 *
 * - gmpool.freeze (percpu rwsem): an operation; held over memory allocation,
 *   never over scrubbing or anything that waits for user space
 * - a user's own locks
 * - gmpool_meta.lock (mutex): giving out of metadata blocks
 * - gmpool.lock (spinlock): which blocks are claimed, used, dirty, and being
 *   scrubbed while free; what the administrator has set
 *
 * gmpool.manage (mutex) is outside of all of them, and of a user's freezing: one
 * administrator at a time changes what is set, freezes, or makes a pool anew, and
 * meanwhile no page is noted as failed.
 *
 * Memory allocated within an operation must not lead back here through
 * reclaim: gmpool_op_begin() starts a scope in which it cannot.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/init.h>
#include <linux/kexec.h>
#include <linux/mm.h>
#include <linux/reboot.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

#include "format.h"
#include "pool.h"

#define CREATE_TRACE_POINTS
#include <trace/events/guestmemfs.h>

/* What pools need of the machine is there: they can be made. */
static bool usable __ro_after_init;

/**
 * gmpool_next - walk all pools by rising node number
 * @pool: the one before, or NULL to start
 *
 * Context: any, once the fs_initcalls of pools have run.
 *
 * Return: the next pool, or NULL at the end.
 */
struct gmpool *gmpool_next(struct gmpool *pool)
{
	struct list_head *next = pool ? pool->list.next : gmpool_list.next;

	return next == &gmpool_list ? NULL :
				      list_entry(next, struct gmpool, list);
}

/**
 * gmpool_nid - node that a pool's memory is on
 * @pool: the pool
 *
 * Return: node number.
 */
int gmpool_nid(const struct gmpool *pool)
{
	return pool->nid;
}

/**
 * gmpool_uuid - what identifies a pool over kexecs
 * @pool: a pool that has not failed
 *
 * Return: GMPOOL_UUID_SIZE bytes.
 */
const u8 *gmpool_uuid(const struct gmpool *pool)
{
	return pool->meta.uuid;
}

/**
 * gmpool_total_blocks - size of a pool
 * @pool: the pool
 *
 * Return: blocks of GMPOOL_BLOCK_SIZE.
 */
u64 gmpool_total_blocks(const struct gmpool *pool)
{
	return pool->total_blocks;
}

/**
 * gmpool_free_blocks - what is left of a pool
 * @pool: a pool that has not failed
 *
 * Return: blocks that are neither used nor claimed.
 */
u64 gmpool_free_blocks(struct gmpool *pool)
{
	guard(spinlock)(&pool->lock);
	return pool->blocks.nr_free;
}

/**
 * gmpool_dirty_blocks - what of a pool is not ready to be given out
 * @pool: a pool that has not failed
 *
 * Return: blocks that are free, but have to be zeroed first.
 */
u64 gmpool_dirty_blocks(struct gmpool *pool)
{
	guard(spinlock)(&pool->lock);
	return pool->blocks.nr_free - pool->clean.nr_free;
}

/* Of the free blocks those that are kept for privileged tasks. */
static u64 gmpool_reserved_locked(struct gmpool *pool)
{
	lockdep_assert_held(&pool->lock);
	return min(pool->tune.reserve, pool->blocks.nr_free);
}

/**
 * gmpool_reserved_blocks - what of a pool only privileged tasks can have
 * @pool: the pool
 *
 * Return: free blocks that gmpool_claim() gives to none but them.
 */
u64 gmpool_reserved_blocks(struct gmpool *pool)
{
	guard(spinlock)(&pool->lock);
	return gmpool_reserved_locked(pool);
}

/**
 * gmpool_metadata_bytes - memory that holds a pool's metadata
 * @pool: the pool
 *
 * Return: bytes of ordinary memory.
 */
u64 gmpool_metadata_bytes(const struct gmpool *pool)
{
	return (u64)READ_ONCE(pool->meta.nr) << GMPOOL_META_SHIFT;
}

/**
 * gmpool_read_only - may a pool not be changed
 * @pool: the pool
 *
 * Return: true if it has features that this kernel can only read.
 */
bool gmpool_read_only(const struct gmpool *pool)
{
	return pool->state == GMPOOL_READ_ONLY;
}

/**
 * gmpool_set_read_only - let a pool not be changed
 * @pool: a pool that has not failed, in which a user has what it can only read
 *
 * Context: boot, before the pool has users.
 */
void gmpool_set_read_only(struct gmpool *pool)
{
	pool->state = GMPOOL_READ_ONLY;
}

/**
 * gmpool_usable - can a pool be used
 * @pool: the pool
 *
 * Return: false if it has failed.
 */
bool gmpool_usable(const struct gmpool *pool)
{
	return pool->state == GMPOOL_ACTIVE || pool->state == GMPOOL_READ_ONLY;
}

/**
 * gmpool_error - why a pool cannot be used
 * @pool: the pool
 *
 * Return: text for the log; empty if it can be used.
 */
const char *gmpool_error(const struct gmpool *pool)
{
	return pool->error;
}

/**
 * gmpool_fail - give up using a pool
 * @pool: the pool
 * @fmt: why, as for printk(), without a newline
 *
 * Its memory stays as it is and is handed on. The first reason is kept. Other
 * pools are not affected.
 *
 * Context: boot, or gmpool.manage is held; the pool has no users.
 */
void gmpool_fail(struct gmpool *pool, const char *fmt, ...)
{
	va_list args;

	if (pool->state == GMPOOL_FAILED)
		return;
	pool->state = GMPOOL_FAILED;
	va_start(args, fmt);
	vsnprintf(pool->error, sizeof(pool->error), fmt, args);
	va_end(args);
	pr_err("node %d: %s: this pool is not used, its memory is kept and handed on\n",
	       pool->nid, pool->error);
	gmpool_notify_state(pool);
}

/**
 * gmpool_state_name - the state of a pool as an administrator knows it
 * @pool: the pool
 *
 * Context: gmpool.manage is held.
 *
 * Return: a word.
 */
const char *gmpool_state_name(struct gmpool *pool)
{
	switch (pool->state) {
	case GMPOOL_ACTIVE:
		return pool->tune.frozen ? "frozen" : "active";
	case GMPOOL_READ_ONLY:
		return "read-only";
	default:
		return "failed";
	}
}

/**
 * gmpool_op_begin - start to change handed-over state
 * @pool: the pool
 *
 * Context: process context, may sleep. Waits for ever if the machine is about
 * to kexec. Does not nest.
 *
 * Return: for gmpool_op_end().
 */
unsigned int gmpool_op_begin(struct gmpool *pool)
{
	percpu_down_read(&pool->freeze);
	return memalloc_nofs_save();
}

/**
 * gmpool_op_end - the state is consistent again
 * @pool: the pool
 * @flags: from gmpool_op_begin()
 */
void gmpool_op_end(struct gmpool *pool, unsigned int flags)
{
	memalloc_nofs_restore(flags);
	percpu_up_read(&pool->freeze);
}

/* Change bits of a handed-over bitmap. */
static void gmpool_change_bits(struct gmpool *pool,
			       struct gmpool_bitmap_ser **maps,
			       const struct gmpool_run *run, bool set)
{
	u64 block = run->start;
	u64 left = run->count;

	lockdep_assert_held(&pool->lock);

	while (left) {
		struct gmpool_bitmap_ser *map = maps[block / GMPOOL_BITMAP_BITS];
		u32 bit = block % GMPOOL_BITMAP_BITS;
		u32 nr = min_t(u64, left, GMPOOL_BITMAP_BITS - bit);

		if (set)
			bitmap_set((unsigned long *)map->bits, bit, nr);
		else
			bitmap_clear((unsigned long *)map->bits, bit, nr);
		gmpool_meta_dirty(&pool->meta, &map->hdr);
		block += nr;
		left -= nr;
	}
}

/* A part of a run that one block of a handed-over bitmap has. */
struct part {
	const unsigned long *bits;
	u64 first;
	u32 start;
	u32 end;
};

static bool gmpool_next_part(struct gmpool *pool,
			     struct gmpool_bitmap_ser **maps,
			     const struct gmpool_run *run, u64 *done,
			     struct part *part)
{
	u64 block = run->start + *done;
	u32 nr;

	if (*done == run->count)
		return false;
	part->bits = (unsigned long *)maps[block / GMPOOL_BITMAP_BITS]->bits;
	part->start = block % GMPOOL_BITMAP_BITS;
	part->first = block - part->start;
	nr = min_t(u64, run->count - *done, GMPOOL_BITMAP_BITS - part->start);
	part->end = part->start + nr;
	*done += nr;
	return true;
}

/* Blocks of @run, all free, count as clean if they are. */
static void gmpool_put_clean(struct gmpool *pool, const struct gmpool_run *run)
{
	struct part part;
	u64 done = 0;

	lockdep_assert_held(&pool->lock);

	while (gmpool_next_part(pool, pool->dirty, run, &done, &part))
		WARN_ON_ONCE(gmpool_bitmap_put_clear(&pool->clean, part.first,
						     part.bits, part.start,
						     part.end));
}

/**
 * gmpool_count_dirty - how many blocks have to be scrubbed
 * @pool: the pool
 * @run: blocks that are not used
 *
 * Context: any; takes gmpool.lock.
 *
 * Return: blocks of @run that are not known to be zero.
 */
u64 gmpool_count_dirty(struct gmpool *pool, const struct gmpool_run *run)
{
	struct part part;
	u64 done = 0;
	u64 nr = 0;
	u32 start;

	guard(spinlock)(&pool->lock);

	while (gmpool_next_part(pool, pool->dirty, run, &done, &part)) {
		for (start = part.start; ; start++, nr++) {
			start = find_next_bit(part.bits, part.end, start);
			if (start >= part.end)
				break;
		}
	}
	return nr;
}

/**
 * gmpool_is_dirty - does a block have to be scrubbed
 * @pool: the pool
 * @block: a block that is not used
 *
 * Context: any; takes gmpool.lock.
 *
 * Return: true if it is not known to be zero.
 */
bool gmpool_is_dirty(struct gmpool *pool, u64 block)
{
	struct gmpool_bitmap_ser *map = pool->dirty[block / GMPOOL_BITMAP_BITS];

	guard(spinlock)(&pool->lock);
	return test_bit(block % GMPOOL_BITMAP_BITS, (unsigned long *)map->bits);
}

/**
 * gmpool_scrubbed - a block has been zeroed
 * @pool: the pool
 * @block: a block that was dirty, free or claimed by the caller
 *
 * Context: process context, not within an operation; takes gmpool.lock.
 */
void gmpool_scrubbed(struct gmpool *pool, u64 block)
{
	struct gmpool_run run = { .start = block, .count = 1 };
	unsigned int flags;

	flags = gmpool_op_begin(pool);
	scoped_guard(spinlock, &pool->lock) {
		gmpool_change_bits(pool, pool->dirty, &run, false);
		if (!test_bit(block, pool->blocks.taken))
			gmpool_put_clean(pool, &run);
	}
	gmpool_op_end(pool, flags);
}

static void gmpool_update_low_locked(struct gmpool *pool)
{
	bool low = pool->blocks.nr_free < pool->tune.low_watermark;

	lockdep_assert_held(&pool->lock);

	if (low == pool->low)
		return;
	pool->low = low;
	gmpool_notify_free(pool);
}

/**
 * gmpool_update_low - see whether there are few free blocks
 * @pool: the pool, of which the watermark or the free blocks have changed
 *
 * Context: any; takes gmpool.lock.
 */
void gmpool_update_low(struct gmpool *pool)
{
	guard(spinlock)(&pool->lock);
	gmpool_update_low_locked(pool);
}

/* Not a matter for the audit log: most who want blocks are not asked. */
static bool gmpool_privileged(void)
{
	return ns_capable_noaudit(&init_user_ns, CAP_SYS_RESOURCE);
}

/* How many blocks a task can have. */
static u64 gmpool_available(struct gmpool *pool, bool all)
{
	lockdep_assert_held(&pool->lock);
	return pool->blocks.nr_free - (all ? 0 : gmpool_reserved_locked(pool));
}

/**
 * gmpool_check_room - see whether several claims can succeed
 * @pool: a pool that is active
 * @want: blocks that they take together
 *
 * Who cannot have all should not take what there is from others, only to give it
 * back. Others may have it by the time it is claimed, though.
 *
 * Context: process context; takes gmpool.lock.
 *
 * Return: 0; -ENOSPC as gmpool_claim().
 */
int gmpool_check_room(struct gmpool *pool, u64 want)
{
	bool all = gmpool_privileged();

	scoped_guard(spinlock, &pool->lock) {
		if (want <= gmpool_available(pool, all))
			return 0;
		pool->nr_failures++;
	}
	trace_guestmemfs_allocate(pool->nid, want, GMPOOL_NO_GOAL, NULL, -ENOSPC);
	return -ENOSPC;
}

static int gmpool_do_claim(struct gmpool *pool, u64 want, u64 goal, bool all,
			   struct gmpool_run *run)
{
	u64 avail = gmpool_available(pool, all);
	int err;

	lockdep_assert_held(&pool->lock);

	if (!avail)
		return -ENOSPC;
	err = gmpool_bitmap_choose(&pool->blocks, &pool->clean, want, goal, run);
	if (err)
		return err;
	run->count = min(run->count, avail);
	err = gmpool_bitmap_take(&pool->blocks, run);
	if (err)
		return err;
	gmpool_bitmap_take_free(&pool->clean, run);
	gmpool_update_low_locked(pool);
	return 0;
}

/**
 * gmpool_claim - set free blocks aside for a user
 * @pool: a pool that is active
 * @want: blocks, not zero; if that is more than one run can have, say all the
 *	same how many will be needed, so that they are placed well
 * @goal: block that would be best, GMPOOL_NO_GOAL if any
 * @run: filled: contiguous blocks, at most @want
 *
 * Blocks that are zero already are preferred where they do as well. A claim is
 * not handed over. It ends with gmpool_commit() or gmpool_unclaim().
 *
 * Context: process context; takes gmpool.lock.
 *
 * Return: 0; -ENOSPC if no block is free, or none but for tasks with
 * CAP_SYS_RESOURCE, which the current one has not; -EROFS.
 */
int gmpool_claim(struct gmpool *pool, u64 want, u64 goal,
		 struct gmpool_run *run)
{
	bool all = gmpool_privileged();
	int err;

	if (pool->state != GMPOOL_ACTIVE)
		return -EROFS;

	scoped_guard(spinlock, &pool->lock) {
		err = gmpool_do_claim(pool, want, goal, all, run);
		if (err)
			pool->nr_failures++;
	}
	trace_guestmemfs_allocate(pool->nid, want, goal, run, err);
	return err;
}

/**
 * gmpool_unclaim - give claimed blocks back
 * @pool: the pool
 * @run: from gmpool_claim(), or a part of that
 *
 * Context: process context; takes gmpool.lock.
 */
void gmpool_unclaim(struct gmpool *pool, const struct gmpool_run *run)
{
	scoped_guard(spinlock, &pool->lock) {
		if (WARN_ON_ONCE(gmpool_bitmap_put(&pool->blocks, run)))
			return;
		gmpool_put_clean(pool, run);
		gmpool_withhold(pool, run);
		gmpool_update_low_locked(pool);
	}
	trace_guestmemfs_free(pool->nid, run, false);
	wake_up(&pool->scrub_work);
}

/**
 * gmpool_commit - give claimed blocks to a user for good
 * @pool: the pool
 * @run: claimed and scrubbed
 *
 * The user records in the same operation that they are its own.
 *
 * Context: within an operation; takes gmpool.lock.
 */
void gmpool_commit(struct gmpool *pool, const struct gmpool_run *run)
{
	percpu_rwsem_assert_held(&pool->freeze);
	guard(spinlock)(&pool->lock);
	gmpool_change_bits(pool, pool->used, run, true);
}

/**
 * gmpool_free - take blocks back from a user
 * @pool: the pool
 * @run: committed blocks, that nobody can reach any more
 *
 * Context: within an operation; takes gmpool.lock.
 */
void gmpool_free(struct gmpool *pool, const struct gmpool_run *run)
{
	percpu_rwsem_assert_held(&pool->freeze);
	scoped_guard(spinlock, &pool->lock) {
		if (WARN_ON_ONCE(gmpool_bitmap_put(&pool->blocks, run)))
			return;
		gmpool_change_bits(pool, pool->used, run, false);
		gmpool_change_bits(pool, pool->dirty, run, true);
		gmpool_withhold(pool, run);
		gmpool_update_low_locked(pool);
	}
	trace_guestmemfs_free(pool->nid, run, true);
	wake_up(&pool->scrub_work);
}

/**
 * gmpool_zero - zero a part of a block
 * @pool: the pool
 * @block: the block
 * @offset: bytes into the block
 * @len: bytes, not beyond the block's end
 *
 * Context: process context, sleeps. Within an operation too, where what is
 * zeroed belongs to the change: it is less than a block then, which is short.
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
	/* Nobody reads a page that has failed, and to write it could fail too. */
	for (; offset < end; offset += step) {
		step = min(end - offset, PAGE_SIZE - offset % PAGE_SIZE);
		if (!gmpool_has_poison(pool, page + (offset >> PAGE_SHIFT), 1))
			gmpool_zero_phys(phys + offset, step, false);
	}
}

/**
 * gmpool_pfn - where a block is
 * @pool: the pool
 * @block: a block of it
 *
 * The blocks of a run are contiguous, those of different runs need not be.
 *
 * Context: any.
 *
 * Return: the pfn of its first page.
 */
unsigned long gmpool_pfn(const struct gmpool *pool, u64 block)
{
	u32 i = 0;

	while (i + 1 < pool->nr_extents && block >= pool->extents[i + 1].first)
		i++;
	return PHYS_PFN(pool->extents[i].base) +
	       ((block - pool->extents[i].first) <<
		(GMPOOL_BLOCK_SHIFT - PAGE_SHIFT));
}

/**
 * gmpool_metadata - where users keep their own records
 * @pool: a pool that has not failed
 *
 * Return: its metadata blocks.
 */
struct gmpool_meta *gmpool_metadata(struct gmpool *pool)
{
	return &pool->meta;
}

/**
 * gmpool_root - a user's first metadata block
 * @pool: a pool that has not failed
 * @owner: enum gmpool_owner_ser
 *
 * Return: metadata block number; 0 if the user has none. Block 0 is a bitmap.
 */
u32 gmpool_root(const struct gmpool *pool, u32 owner)
{
	u32 i;

	for (i = 0; i < GMPOOL_MAX_ROOTS; i++)
		if (pool->super->roots[i].owner == owner)
			return pool->super->roots[i].mbn;
	return 0;
}

/**
 * gmpool_set_root - say where a user's first metadata block is
 * @pool: a pool that is active
 * @owner: enum gmpool_owner_ser
 * @mbn: metadata block number, not 0
 *
 * Context: within an operation.
 *
 * Return: 0, or -ENOSPC if there are too many users.
 */
int gmpool_set_root(struct gmpool *pool, u32 owner, u32 mbn)
{
	struct gmpool_root_ser *root, *slot = NULL;
	u32 i;

	guard(mutex)(&pool->meta.lock);

	for (i = 0; i < GMPOOL_MAX_ROOTS; i++) {
		root = &pool->super->roots[i];
		if (root->owner == owner ||
		    (!slot && root->owner == GMPOOL_OWNER_NONE))
			slot = root;
		if (root->owner == owner)
			break;
	}
	if (!slot)
		return -ENOSPC;
	slot->owner = owner;
	slot->mbn = mbn;
	gmpool_sync_super(pool);
	return 0;
}

/**
 * gmpool_check_used - compare what users own with what the pool says
 * @pool: a pool that has not failed
 * @used: bitmap of all blocks that have an owner, NULL if none has
 *
 * Context: boot, before the pool has users.
 *
 * Return: the first block where they differ; the number of blocks if none.
 */
u64 gmpool_check_used(struct gmpool *pool, const unsigned long *used)
{
	const struct gmpool_bitmap_ser *map;
	unsigned long bits, differ;
	u64 block;

	BUILD_BUG_ON(GMPOOL_BITMAP_BITS % BITS_PER_LONG);

	for (block = 0; block < pool->total_blocks; block += BITS_PER_LONG) {
		map = pool->used[block / GMPOOL_BITMAP_BITS];
		bits = min(pool->total_blocks - block, (u64)BITS_PER_LONG);
		differ = (used ? used[BIT_WORD(block)] : 0) ^
			 map->bits[BIT_WORD(block % GMPOOL_BITMAP_BITS)];
		differ &= BITMAP_LAST_WORD_MASK(bits);
		if (differ)
			return block + __ffs(differ);
	}
	return pool->total_blocks;
}

/**
 * gmpool_sync_super - bring checksum and second copy of a super block up to date
 * @pool: the pool
 *
 * Context: gmpool_meta.lock is held, or nobody else can change the super block.
 */
void gmpool_sync_super(struct gmpool *pool)
{
	gmpool_super_update(pool->super);
}

/**
 * gmpool_init_blocks - build the allocator of a pool from its bitmaps
 * @pool: the pool, with metadata
 *
 * Context: process context, may sleep; the pool has no users. Takes gmpool.lock.
 *
 * Return: 0; -ENOMEM, and then the pool has none.
 */
int gmpool_init_blocks(struct gmpool *pool)
{
	struct gmpool_run run = { .count = pool->total_blocks };
	struct gmpool_bitmap blocks = {}, clean = {};
	u32 start, end;
	u64 first;
	int err;

	err = gmpool_bitmap_init(&blocks, pool->extents, pool->nr_extents);
	if (!err)
		err = gmpool_bitmap_init(&clean, pool->extents,
					 pool->nr_extents);
	if (err) {
		gmpool_bitmap_destroy(&blocks);
		return err;
	}
	gmpool_bitmap_take(&clean, &run);

	for (first = 0; first < pool->total_blocks; first += GMPOOL_BITMAP_BITS) {
		struct gmpool_bitmap_ser *map;

		map = pool->used[first / GMPOOL_BITMAP_BITS];
		for_each_set_bitrange(start, end, (unsigned long *)map->bits,
				      GMPOOL_BITMAP_BITS) {
			run.start = first + start;
			run.count = end - start;
			gmpool_bitmap_take(&blocks, &run);
		}
	}

	/* sysfs and memory failure find both bitmaps, or none. */
	guard(spinlock)(&pool->lock);
	pool->blocks = blocks;
	pool->clean = clean;
	for (run.start = 0; ; run.start += run.count) {
		run.start = find_next_zero_bit(pool->blocks.taken,
					       pool->total_blocks, run.start);
		if (run.start >= pool->total_blocks)
			break;
		run.count = find_next_bit(pool->blocks.taken,
					  pool->total_blocks, run.start) -
			    run.start;
		gmpool_put_clean(pool, &run);
	}
	run.start = 0;
	run.count = pool->total_blocks;
	gmpool_withhold(pool, &run);
	pool->blocks.first_fit = pool->tune.policy == GMPOOL_POLICY_FIRST_FIT;
	return 0;
}

/* Has a rescuer: a kexec must not wait for memory for a worker. */
static struct workqueue_struct *freeze_wq;

static void gmpool_freeze_work(struct work_struct *work)
{
	struct gmpool *pool = container_of(work, struct gmpool, freeze_work);

	percpu_down_write(&pool->freeze);
	if (pool->super) {
		gmpool_meta_seal(&pool->meta);
		pool->super->state = GMPOOL_STATE_SEALED;
		gmpool_sync_super(pool);
		gmpool_debugfs_damage(pool);
		trace_guestmemfs_freeze(pool->nid, pool->meta.nr,
					pool->super->generation);
	}
	/* It stays locked, but not on behalf of this task, which goes on. */
	percpu_rwsem_release(&pool->freeze, _THIS_IP_);
}

/*
 * There is no way back from here to user space, so what is frozen stays so. A
 * pool that could not be taken over has no super block of ours and was never
 * changed: it is not looked at.
 */
static int gmpool_reboot(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	struct gmpool *pool;

	if (!kexec_in_progress)
		return NOTIFY_DONE;
	/* Each waits for an RCU grace period: all of them for the same one. */
	list_for_each_entry(pool, &gmpool_list, list) {
		INIT_WORK(&pool->freeze_work, gmpool_freeze_work);
		if (pool->super || pool->state != GMPOOL_FAILED)
			queue_work(freeze_wq, &pool->freeze_work);
	}
	list_for_each_entry(pool, &gmpool_list, list)
		flush_work(&pool->freeze_work);
	return NOTIFY_OK;
}

static struct notifier_block gmpool_reboot_nb = {
	.notifier_call = gmpool_reboot,
	/* After all who might still want to create or remove a file. */
	.priority = INT_MIN,
};

static void gmpool_destroy_blocks(struct gmpool *pool)
{
	struct gmpool_bitmap blocks = {}, clean = {};

	/* The thread begins no other block then, and ends the one it is at. */
	scoped_guard(spinlock, &pool->lock)
		pool->state = GMPOOL_SETUP;
	wait_event(pool->scrub_done, !READ_ONCE(pool->scrubbing.count));
	/* Some may be counting. */
	scoped_guard(spinlock, &pool->lock) {
		swap(pool->blocks, blocks);
		swap(pool->clean, clean);
	}
	gmpool_bitmap_destroy(&blocks);
	gmpool_bitmap_destroy(&clean);
}

static int gmpool_make_anew(struct gmpool *pool)
{
	int err;

	err = gmpool_create_metadata(pool);
	if (!err)
		err = gmpool_remember_poison(pool);
	if (!err)
		err = gmpool_init_blocks(pool);
	if (!err)
		err = gmpool_tunables_store(pool, &pool->tune);
	return err;
}

/**
 * gmpool_discard - throw the contents of a pool away and make it anew
 * @pool: the pool, which may have failed
 *
 * What is known of failed pages and what the administrator has set stay.
 *
 * Context: process context, may sleep; gmpool.manage is held.
 *
 * Return: 0; -EBUSY if it is in use, or frozen and can be thawed, -ENODEV if its
 * memory is not there or not its own, and nothing has changed; -ENOMEM and
 * others if it cannot be made, and then it has failed; -EIO if it can be used,
 * but KHO does not take it.
 */
int gmpool_discard(struct gmpool *pool)
{
	bool failed = pool->state == GMPOOL_FAILED;
	int err = 0;

	lockdep_assert_held(&pool->manage);

	if (!usable)
		return -ENOMEM;
	if (!pool->nr_extents || pool->secluded != pool->nr_extents)
		return -ENODEV;
	/* One that can only be read cannot be thawed. */
	if (pool->state == GMPOOL_ACTIVE && pool->tune.frozen)
		return -EBUSY;
	if (!failed && pool->user)
		err = pool->user->detach(pool->user);
	if (err)
		return err;

	pr_notice("node %d: pool of %llu blocks thrown away\n", pool->nid,
		  pool->total_blocks);
	gmpool_destroy_blocks(pool);
	percpu_down_write(&pool->freeze);
	gmpool_drop_metadata(pool);
	pool->error[0] = '\0';
	pool->handed_over_from[0] = '\0';
	err = gmpool_make_anew(pool);
	if (err)
		gmpool_drop_metadata(pool);
	percpu_up_write(&pool->freeze);

	if (err) {
		gmpool_fail(pool, "cannot be made anew (%pe)", ERR_PTR(err));
		return err;
	}
	gmpool_update_low(pool);
	err = pool->user ? pool->user->attach(pool->user) : 0;
	if (err)
		return err;
	scoped_guard(spinlock, &pool->lock)
		pool->state = GMPOOL_ACTIVE;
	wake_up(&pool->scrub_work);
	gmpool_notify_state(pool);
	return gmpool_publish(pool) ? -EIO : 0;
}

static void __init gmpool_init_pool(struct gmpool *pool, int err)
{
	spin_lock_init(&pool->lock);
	mutex_init(&pool->manage);
	gmpool_tunables_default(&pool->tune);
	xa_init(&pool->poison);
	init_waitqueue_head(&pool->scrub_work);
	init_waitqueue_head(&pool->scrub_done);
	if (!err && pool->state != GMPOOL_FAILED) {
		if (pool->key == GMPOOL_NO_KEY)
			err = gmpool_create_metadata(pool);
		else
			err = gmpool_retrieve_metadata(pool);
	}
	if (!err && pool->state != GMPOOL_FAILED)
		err = gmpool_init_blocks(pool);
	if (!err && pool->state != GMPOOL_FAILED)
		gmpool_tunables_retrieve(pool);
	if (err) {
		gmpool_fail(pool, "cannot be set up (%pe)", ERR_PTR(err));
		/* What was never whole is not handed on either. */
		if (pool->key == GMPOOL_NO_KEY)
			pool->super = NULL;
	} else if (pool->state == GMPOOL_SETUP) {
		pool->state = GMPOOL_ACTIVE;
	}
}

static int __init gmpool_init(void)
{
	struct gmpool *pool;
	int err;
	u32 key;

	if (gmpool_start_afresh())
		for (key = 0; key < MAX_NUMNODES; key++)
			gmpool_discard_metadata(key);

	if (list_empty(&gmpool_list))
		return 0;

	freeze_wq = alloc_workqueue("gmpool_freeze",
				    WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	err = freeze_wq ? gmpool_zero_init() : -ENOMEM;
	if (!err)
		err = gmpool_scrub_init();
	/* Those in use have their node's number for a name, others what is left. */
	list_for_each_entry(pool, &gmpool_list, list) {
		if (!err)
			err = percpu_init_rwsem(&pool->freeze);
		gmpool_init_pool(pool, err);
		if (pool->super)
			gmpool_publish(pool);
	}
	list_for_each_entry(pool, &gmpool_list, list)
		if (!pool->super && pool->key != GMPOOL_NO_KEY)
			gmpool_hold(pool);
	usable = !err;

	return register_reboot_notifier(&gmpool_reboot_nb);
}
fs_initcall(gmpool_init);
