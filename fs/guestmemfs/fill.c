// SPDX-License-Identifier: GPL-2.0
/*
 * Filling holes of a file: claim blocks from the pool and charge them, zero them while
 * the invalidate_lock is not held, and add them to the file in one operation.
 */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/wait_bit.h>

#include "guestmemfs.h"

/* Make room for @more ranges. */
static int gmfs_fill_grow(struct gmfs_fill *fill, size_t more)
{
	size_t room;
	void *p;

	if (fill->nr + more <= fill->room)
		return 0;
	room = max_t(size_t, 2 * fill->room, 16);
	p = kvrealloc(fill->ranges, size_mul(room, sizeof(*fill->ranges)),
		      GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	fill->ranges = p;
	p = kvrealloc(fill->file_blocks,
		      size_mul(room, sizeof(*fill->file_blocks)), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	fill->file_blocks = p;
	fill->room = room;
	return 0;
}

/* Insert a range at index @at. The caller has made room by gmfs_fill_grow(). */
static void gmfs_fill_insert(struct gmfs_fill *fill, size_t at, u64 file_block,
			     u64 start, u64 count)
{
	size_t behind = fill->nr - at;

	memmove(&fill->ranges[at + 1], &fill->ranges[at],
		behind * sizeof(*fill->ranges));
	memmove(&fill->file_blocks[at + 1], &fill->file_blocks[at],
		behind * sizeof(*fill->file_blocks));
	fill->ranges[at].start = start;
	fill->ranges[at].count = count;
	fill->file_blocks[at] = file_block;
	fill->nr++;
}

/*
 * Claim the next blocks for a hole. 1 GiB mappings need gigabytes that are aligned both
 * in the file and in memory. So if the hole contains an aligned gigabyte of the file,
 * the blocks before that are claimed separately, and the gigabyte is claimed without
 * the goal if the goal is not aligned in memory.
 */
static int gmfs_claim_next(struct gmpool *pool, u64 file_block, u64 count,
			   u64 goal, struct gmpool_range *range)
{
	u64 head = round_up(file_block, GMFS_1G_BLOCKS) - file_block;

	if (head && count >= head + GMFS_1G_BLOCKS)
		count = head;
	else if (!head && count >= GMFS_1G_BLOCKS && goal != GMPOOL_NO_GOAL &&
		 !IS_ALIGNED(gmpool_pfn(pool, goal), PUD_SIZE >> PAGE_SHIFT))
		goal = GMPOOL_NO_GOAL;
	return gmpool_claim(pool, count, goal, range);
}

static int gmfs_fill_claim_hole(struct gmfs_fs *fs, struct gmfs_fill *fill,
				u64 file_block, u64 count, u64 goal)
{
	struct gmpool *pool = fs->pool;
	struct gmpool_range range;
	int err;

	err = gmpool_check_room(pool, count);
	if (!err)
		err = gmfs_charge(fs, &fill->charges, count);
	if (err)
		return err;

	while (count) {
		err = fatal_signal_pending(current) ? -EINTR :
						      gmfs_fill_grow(fill, 1);
		if (err)
			return err;
		err = gmfs_claim_next(pool, file_block, count, goal, &range);
		if (err)
			return err;
		gmfs_fill_insert(fill, fill->nr, file_block, range.start,
				 range.count);
		cond_resched();
		file_block += range.count;
		count -= range.count;
		goal = range.start + range.count;
	}
	return 0;
}

/**
 * gmfs_fill_claim - claim blocks for all holes in a range of a file
 * @inode: the file
 * @fill: receives the blocks; zeroed by the caller
 * @first: first block of the range, in blocks of the file
 * @end: first block after the range
 *
 * The blocks are charged to the cgroup of the current task.
 *
 * Context: process context, may sleep; gmfs_inode_info.fill_lock is held. Takes the
 * invalidate_lock shared.
 *
 * Return: 0; errors as gmfs_fill_mapped(). On error, @fill contains the blocks claimed
 * so far.
 */
int gmfs_fill_claim(struct inode *inode, struct gmfs_fill *fill, u64 first,
		    u64 end)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmpool_range range;
	bool mapped;
	u64 goal;
	int err;

	lockdep_assert_held(&GMFS_I(inode)->fill_lock);

	while (first < end) {
		filemap_invalidate_lock_shared(inode->i_mapping);
		mapped = gmfs_extent_find(ci, first, &range);
		goal = mapped ? 0 : gmfs_extent_goal(ci, first);
		filemap_invalidate_unlock_shared(inode->i_mapping);

		range.count = min(range.count, end - first);
		if (!mapped) {
			err = gmfs_fill_claim_hole(GMFS_FS(inode->i_sb), fill,
						   first, range.count, goal);
			if (err)
				return err;
		}
		first += range.count;
	}
	return 0;
}

/*
 * Replace block @bad, which contains a failed page and is in the range at index @at, by
 * another block. gmpool_unclaim() withdraws the failed block.
 */
static int gmfs_fill_replace(struct gmpool *pool, struct gmfs_fill *fill,
			     size_t at, u64 bad)
{
	struct gmpool_range failed = { .start = bad, .count = 1 };
	u64 file_block = fill->file_blocks[at];
	struct gmpool_range whole, other;
	u64 before, behind;
	int err;

	err = gmfs_fill_grow(fill, 2);
	if (!err)
		err = gmpool_claim(pool, 1, GMPOOL_NO_GOAL, &other);
	if (err)
		return err;

	whole = fill->ranges[at];
	before = bad - whole.start;
	behind = whole.count - before - 1;
	fill->ranges[at] = other;
	fill->file_blocks[at] = file_block + before;
	if (behind)
		gmfs_fill_insert(fill, at + 1, file_block + before + 1, bad + 1,
				 behind);
	if (before)
		gmfs_fill_insert(fill, at, file_block, whole.start, before);
	gmpool_unclaim(pool, &failed);
	return 0;
}

/**
 * gmfs_fill_scrub - zero all claimed blocks
 * @pool: the pool
 * @fill: the blocks
 *
 * A page may fail after the claim. Its block is replaced, and the replacement is zeroed
 * too.
 *
 * Context: process context, may sleep, not within an operation;
 * gmfs_inode_info.fill_lock is held.
 *
 * Return: 0; -ENOSPC; -EINTR if the task is being killed; -ENOMEM.
 */
int gmfs_fill_scrub(struct gmpool *pool, struct gmfs_fill *fill)
{
	bool replaced;
	u64 bad;
	size_t i;
	int err;

	do {
		err = gmpool_scrub(pool, fill->ranges, fill->nr);
		if (err)
			return err;
		replaced = false;
		for (i = 0; i < fill->nr; i++) {
			if (!gmpool_find_poison(pool, &fill->ranges[i], &bad))
				continue;
			err = gmfs_fill_replace(pool, fill, i, bad);
			if (err)
				return err;
			replaced = true;
		}
	} while (replaced);
	return 0;
}

/**
 * gmfs_fill_commit - add claimed blocks to the file
 * @inode: the file
 * @fill: zeroed blocks; those at or after @end stay in it
 * @end: first block after the end of the file
 *
 * Context: within an operation; gmfs_inode_info.fill_lock is held, and the
 * invalidate_lock for write.
 *
 * Return: 0; -ENOSPC or -ENOMEM: nothing has changed.
 */
int gmfs_fill_commit(struct inode *inode, struct gmfs_fill *fill, u64 end)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	LIST_HEAD(rsv);
	u64 extra = 0;
	size_t i;
	int err;

	rwsem_assert_held_write(&inode->i_mapping->invalidate_lock);

	err = gmfs_extent_reserve(&fs->image, &rsv, fill->nr);
	if (err)
		return err;
	for (i = 0; i < fill->nr; i++) {
		u64 file_block = fill->file_blocks[i];
		struct gmpool_range range = fill->ranges[i];

		if (file_block >= end)
			break;
		range.count = min(range.count, end - file_block);
		err = gmfs_extent_insert(&fs->image, ci, &rsv, file_block, &range);
		if (WARN_ON_ONCE(err))
			break;
		gmpool_commit(fs->pool, &range);
		fill->ranges[i].start += range.count;
		fill->ranges[i].count -= range.count;
	}
	gmfs_extent_unreserve(&fs->image, &rsv);

	for (i = 0; i < fill->nr; i++)
		extra += fill->ranges[i].count;
	gmfs_uncharge(&fill->charges, extra);
	gmfs_charge_move(&fill->charges, &ci->file.charges);
	gmfs_update_blocks(inode);
	return err;
}

/**
 * gmfs_fill_end - release a struct gmfs_fill
 * @pool: the pool
 * @fill: blocks that were not committed go back to the pool, with their charges
 *
 * Context: process context, may sleep.
 */
void gmfs_fill_end(struct gmpool *pool, struct gmfs_fill *fill)
{
	size_t i;

	for (i = 0; i < fill->nr; i++)
		if (fill->ranges[i].count)
			gmpool_unclaim(pool, &fill->ranges[i]);
	gmfs_uncharge(&fill->charges, U64_MAX);
	kvfree(fill->ranges);
	kvfree(fill->file_blocks);
}

/**
 * gmfs_start_change - begin a change, once the node is not frozen
 * @sb: the super block
 * @level: SB_FREEZE_WRITE or SB_FREEZE_PAGEFAULT, which the caller ends with
 *	sb_end_write() or sb_end_pagefault()
 *
 * Unlike with sb_start_write() and sb_start_pagefault(), a fatal signal ends the wait.
 * Otherwise a killed task would hold its mmap_lock until the node is thawed.
 *
 * Context: process context, may sleep.
 *
 * Return: 0; -EINTR if the task is being killed.
 */
int gmfs_start_change(struct super_block *sb, int level)
{
	unsigned short *frozen = &sb->s_writers.frozen;

	while (!__sb_start_write_trylock(sb, level)) {
		if (fatal_signal_pending(current) ||
		    wait_var_event_killable(frozen, READ_ONCE(*frozen) < level))
			return -EINTR;
		/* thaw_super() wakes before it gives the semaphores back. */
		schedule_timeout_killable(1);
	}
	return 0;
}

/**
 * gmfs_fill_mapped - fill holes within the size of a file, for a mapping
 * @inode: the file
 * @first: first block of the range, in blocks of the file
 * @end: first block after the range
 *
 * The i_rwsem is not held, so a truncation can run concurrently. Blocks behind the new
 * end of the file are not added to it.
 *
 * Context: process context, may sleep; takes gmfs_inode_info.fill_lock and the
 * invalidate_lock. Waits for the thaw if the node is frozen.
 *
 * Return: 0; -ENOSPC; -EDQUOT if the blocks exceed the limit of the task's cgroup;
 * -EROFS; -EINTR if the task is being killed; -ENOMEM.
 */
int gmfs_fill_mapped(struct inode *inode, u64 first, u64 end)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmfs_fill fill = {};
	unsigned int flags;
	int err;

	if (fs->read_only || sb_rdonly(inode->i_sb))
		return -EROFS;

	err = gmfs_start_change(inode->i_sb, SB_FREEZE_PAGEFAULT);
	if (err)
		return err;
	err = mutex_lock_killable(&GMFS_I(inode)->fill_lock);
	if (err)
		goto out_sb;
	err = gmfs_fill_claim(inode, &fill, first, end);
	if (!err)
		err = gmfs_fill_scrub(fs->pool, &fill);
	if (!err && fill.nr) {
		filemap_invalidate_lock(inode->i_mapping);
		flags = gmpool_op_begin(fs->pool);
		err = gmfs_fill_commit(inode, &fill,
				       min(end,
					   gmfs_blocks_up(i_size_read(inode))));
		gmpool_op_end(fs->pool, flags);
		filemap_invalidate_unlock(inode->i_mapping);
	}
	gmfs_fill_end(fs->pool, &fill);
	mutex_unlock(&GMFS_I(inode)->fill_lock);
out_sb:
	sb_end_pagefault(inode->i_sb);
	return err;
}

/**
 * gmfs_has_hole - check whether a range of a file has a hole
 * @inode: the file
 * @first: first block of the range, in blocks of the file
 * @end: first block after the range
 *
 * Context: process context, may sleep; takes the invalidate_lock.
 *
 * Return: true if there is a hole in the range.
 */
bool gmfs_has_hole(struct inode *inode, u64 first, u64 end)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmpool_range range;
	bool hole = false;

	filemap_invalidate_lock_shared(inode->i_mapping);
	while (first < end && !hole) {
		hole = !gmfs_extent_find(ci, first, &range);
		first += range.count;
	}
	filemap_invalidate_unlock_shared(inode->i_mapping);
	return hole;
}
