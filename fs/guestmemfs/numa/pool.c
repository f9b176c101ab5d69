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

#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "format.h"
#include "pool.h"

#define CREATE_TRACE_POINTS
#include <trace/events/guestmemfs.h>

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
 * gmpool_sync_super - bring checksum and second copy of a super block up to date
 * @pool: the pool
 *
 * Context: gmpool_meta.lock is held, or nobody else can change the super block.
 */
void gmpool_sync_super(struct gmpool *pool)
{
	gmpool_super_update(pool->super);
}
