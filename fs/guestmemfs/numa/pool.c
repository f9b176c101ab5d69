// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Pools of guest memory
 *
 * A pool is the memory of one NUMA node that is reserved at boot for virtual
 * machines. The pool hands out blocks of 2 MiB to clients in the kernel.
 * guestmemfs is the first client (include/linux/guestmem_pool.h).
 *
 * **Life of a block**
 *
 * ::
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
 * The scrub thread zeroes blocks while they are free. The claiming task zeroes
 * those that are still dirty (scrub.c). Only "used" and "dirty" are handed
 * over. A claim is known to this kernel alone: scrubbing takes long, and a
 * kexec does not wait for it.
 *
 * **Freezing**
 *
 * The pool and its clients change handed-over state only between
 * gmpool_op_begin() and gmpool_op_end(). At kexec the pool waits for running
 * operations and lets no other begin. The next kernel therefore finds each
 * operation complete or not begun. Stores to mapped memory go on until the CPUs
 * are stopped; the handover does not depend on them.
 *
 * **Locking**
 *
 * Outermost lock first:
 *
 * - gmpool.seal.sem (percpu rwsem): guards handed-over state against the freeze
 *   at kexec; held for reading during an operation, also over memory
 *   allocation, never over scrubbing or a wait for user space
 * - a client's own locks
 * - gmpool_meta.lock (mutex): guards the allocation of metadata blocks
 * - gmpool.space.lock (spinlock): guards which blocks are claimed, used, dirty and
 *   being scrubbed while free, and the settings
 *
 * gmpool.resize.lock (mutex) is outside of all of them, and of those of memory hotplug.
 * It is held while memory is taken from or given to the kernel, which can take minutes.
 * So no other lock of the pool is held over that. Within it is gmpool_hotplug (mutex):
 * one pool at a time uses memory hotplug. It is outside of gmpool.manage.
 *
 * gmpool.manage (mutex) is outside of all of them, and of a client's freezing.
 * It serialises changes of settings, freezing, and resetting a pool.
 *
 * gmpool.reset (mutex) is between gmpool.manage and gmpool.seal.sem. It serialises
 * resetting a pool, the recording of a failed page, and reads of what a reset replaces.
 * These do not wait for gmpool.manage, because freezing holds it while it waits for a
 * client's tasks: memory_failure() holds a mutex for all memory of the machine, and
 * tools read the state of a node to see what it does.
 *
 * Memory allocation within an operation must not enter an operation again
 * through reclaim: gmpool_op_begin() starts a NOFS scope for this.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "format.h"
#include "pool.h"

#define CREATE_TRACE_POINTS
#include <trace/events/guestmemfs.h>

/**
 * gmpool_nid - NUMA node of a pool
 * @pool: the pool
 *
 * Return: node number.
 */
int gmpool_nid(const struct gmpool *pool)
{
	return pool->nid;
}

/**
 * gmpool_uuid - identity of a pool, the same over kexecs
 * @pool: a pool that has not failed
 *
 * Return: GMPOOL_UUID_SIZE bytes.
 */
const u8 *gmpool_uuid(const struct gmpool *pool)
{
	return pool->handover.meta.uuid;
}

/**
 * gmpool_total_blocks - size of a pool
 * @pool: the pool
 *
 * Return: blocks of GMPOOL_BLOCK_SIZE.
 */
u64 gmpool_total_blocks(const struct gmpool *pool)
{
	return READ_ONCE(pool->total_blocks);
}

/**
 * gmpool_end_block - end of a pool's block numbers
 * @pool: the pool
 *
 * Return: the highest block number plus one. More than gmpool_total_blocks() if there
 * are numbers without a block.
 */
u64 gmpool_end_block(const struct gmpool *pool)
{
	return READ_ONCE(pool->end_block);
}

/**
 * gmpool_metadata_bytes - size of a pool's metadata
 * @pool: the pool
 *
 * Return: bytes of ordinary memory.
 */
u64 gmpool_metadata_bytes(const struct gmpool *pool)
{
	return (u64)READ_ONCE(pool->handover.meta.nr) << GMPOOL_META_SHIFT;
}

/**
 * gmpool_read_only - is a pool read-only
 * @pool: the pool
 *
 * Return: true if the pool, or its client's data, has features that this kernel
 * can read but not write.
 */
bool gmpool_read_only(const struct gmpool *pool)
{
	return pool->state == GMPOOL_READ_ONLY;
}

/**
 * gmpool_set_read_only - make a pool read-only
 * @pool: a pool that has not failed, with client data that this kernel can read
 *	but not write
 *
 * Context: boot, before the pool has clients.
 */
void gmpool_set_read_only(struct gmpool *pool)
{
	pool->state = GMPOOL_READ_ONLY;
}

/**
 * gmpool_set_pinned - record whether the next kernel may discard a pool
 * @pool: an active pool
 * @pinned: memory of a preserved file is pinned for devices
 *
 * What was handed over stays recorded until the client, which then knows the files,
 * says otherwise. A pool without client, as one that has failed, is not discarded.
 *
 * Context: process context, may sleep, within an operation; takes gmpool_meta.lock.
 */
void gmpool_set_pinned(struct gmpool *pool, bool pinned)
{
	guard(mutex)(&pool->handover.meta.lock);

	if (pinned == pool->handover.pinned)
		return;
	WRITE_ONCE(pool->handover.pinned, pinned);
	if (pinned)
		pool->handover.super->feature_ro_compat |= GMPOOL_FEATURE_RO_COMPAT_PINNED;
	else
		pool->handover.super->feature_ro_compat &= ~GMPOOL_FEATURE_RO_COMPAT_PINNED;
	gmpool_sync_super(pool);
}

/**
 * gmpool_set_private - record whether a pool has private contents
 * @pool: an active pool
 * @private: no process may map some of the contents
 *
 * Context: process context, may sleep, within an operation; takes gmpool_meta.lock.
 */
void gmpool_set_private(struct gmpool *pool, bool private)
{
	struct gmpool_super_ser *super = pool->handover.super;

	guard(mutex)(&pool->handover.meta.lock);

	if (private == !!(super->feature_incompat & GMPOOL_FEATURE_INCOMPAT_PRIVATE))
		return;
	if (private)
		super->feature_incompat |= GMPOOL_FEATURE_INCOMPAT_PRIVATE;
	else
		super->feature_incompat &= ~GMPOOL_FEATURE_INCOMPAT_PRIVATE;
	gmpool_sync_super(pool);
}

/**
 * gmpool_usable - can a pool be used
 * @pool: the pool
 *
 * Return: true if it is active or read-only.
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
 * gmpool_fail - mark a pool as failed
 * @pool: the pool
 * @fmt: reason, as for printk(), without a newline
 *
 * Its memory stays as it is and is handed over. The first reason is kept. Other
 * pools are not affected.
 *
 * Context: boot, or gmpool.manage is held; the pool has no clients.
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
	pr_err("node %d: %s: this pool is not used, its memory is kept and handed over\n",
	       pool->nid, pool->error);
	gmpool_notify_state(pool);
}

/**
 * gmpool_op_begin - begin a change of handed-over state
 * @pool: the pool
 *
 * Context: process context, may sleep. Waits for ever once the pool is frozen
 * for kexec. Does not nest.
 *
 * Return: for gmpool_op_end().
 */
unsigned int gmpool_op_begin(struct gmpool *pool)
{
	percpu_down_read(&pool->seal.sem);
	return memalloc_nofs_save();
}

/**
 * gmpool_op_end - end a change of handed-over state
 * @pool: the pool
 * @flags: from gmpool_op_begin()
 */
void gmpool_op_end(struct gmpool *pool, unsigned int flags)
{
	memalloc_nofs_restore(flags);
	percpu_up_read(&pool->seal.sem);
}

/**
 * gmpool_pfn - physical location of a block
 * @pool: the pool
 * @block: a block of it
 *
 * The blocks of a run are physically contiguous, those of different runs need
 * not be. A block that is used or claimed stays where it is.
 *
 * Context: any but hard interrupts, not with gmpool.space.lock held.
 *
 * Return: pfn of its first page.
 */
unsigned long gmpool_pfn(const struct gmpool *pool, u64 block)
{
	const struct gmpool_numbers *numbers = &pool->numbers;
	unsigned long pfn;
	unsigned int seq;
	u32 i;

	do {
		seq = read_seqcount_begin(&pool->changes);
		for (i = 0; i + 1 < numbers->nr && block >= numbers->extent[i + 1].first;)
			i++;
		pfn = PHYS_PFN(numbers->extent[i].base) +
		      ((block - numbers->extent[i].first) <<
		       (GMPOOL_BLOCK_SHIFT - PAGE_SHIFT));
	} while (read_seqcount_retry(&pool->changes, seq));
	return pfn;
}

static bool gmpool_find_contiguous(const struct gmpool_numbers *numbers, u64 block,
				   u64 count)
{
	const struct gmpool_extent *extent, *next;
	u64 blocks;
	u32 i;

	for (i = 0; i < numbers->nr; i++) {
		extent = &numbers->extent[i];
		blocks = extent->size >> GMPOOL_BLOCK_SHIFT;
		if (block < extent->first || block - extent->first >= blocks)
			continue;
		if (count <= blocks - (block - extent->first))
			return true;
		/* Two extents may lie next to each other. */
		next = extent + 1;
		if (i + 1 == numbers->nr || next->first != extent->first + blocks ||
		    next->base != extent->base + extent->size)
			return false;
		count -= next->first - block;
		block = next->first;
	}
	return false;
}

/**
 * gmpool_contiguous - are blocks of consecutive numbers contiguous in memory
 * @pool: the pool
 * @block: first number
 * @count: how many
 *
 * Context: as gmpool_pfn().
 *
 * Return: true if all of them are blocks of the pool, and contiguous.
 */
bool gmpool_contiguous(const struct gmpool *pool, u64 block, u64 count)
{
	unsigned int seq;
	bool contiguous;

	do {
		seq = read_seqcount_begin(&pool->changes);
		contiguous = gmpool_find_contiguous(&pool->numbers, block, count);
	} while (read_seqcount_retry(&pool->changes, seq));
	return contiguous;
}

/**
 * gmpool_metadata - metadata blocks of a pool, for clients' records
 * @pool: a pool that has not failed
 *
 * Return: its metadata blocks.
 */
struct gmpool_meta *gmpool_metadata(struct gmpool *pool)
{
	return &pool->handover.meta;
}

/**
 * gmpool_root - first metadata block of a client
 * @pool: a pool that has not failed
 * @owner: enum gmpool_owner_ser
 *
 * Return: metadata block number; 0 if the client has none. 0 is never a root:
 * block 0 is a bitmap.
 */
u32 gmpool_root(const struct gmpool *pool, u32 owner)
{
	u32 i;

	for (i = 0; i < GMPOOL_MAX_ROOTS; i++)
		if (pool->handover.super->roots[i].owner == owner)
			return pool->handover.super->roots[i].mbn;
	return 0;
}

/**
 * gmpool_set_root - record a client's first metadata block
 * @pool: an active pool
 * @owner: enum gmpool_owner_ser
 * @mbn: metadata block number, not 0
 *
 * Context: within an operation.
 *
 * Return: 0, or -ENOSPC if all GMPOOL_MAX_ROOTS entries are taken.
 */
int gmpool_set_root(struct gmpool *pool, u32 owner, u32 mbn)
{
	struct gmpool_root_ser *root, *slot = NULL;
	u32 i;

	guard(mutex)(&pool->handover.meta.lock);

	for (i = 0; i < GMPOOL_MAX_ROOTS; i++) {
		root = &pool->handover.super->roots[i];
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
 * gmpool_sync_super - update checksum and second copy of a super block
 * @pool: the pool
 *
 * Context: gmpool_meta.lock is held, or no other task can change the super
 * block.
 */
void gmpool_sync_super(struct gmpool *pool)
{
	gmpool_super_update(pool->handover.super);
}
