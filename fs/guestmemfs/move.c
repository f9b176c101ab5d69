// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Moving blocks within a node
 *
 * Concepts
 * --------
 *
 * A used block of a file moves to a free block of the pool: the file keeps its contents,
 * its size and its charges, only FIEMAP shows another address. gmfs_move_out() empties
 * a range of the pool that way.
 *
 * The file is locked for the time of one block: unmap the block, copy its 2 MiB, change
 * the records. An access to the block waits for that long. Page tables of processes and,
 * by MMU notifiers, those of KVM follow, and a client (client.c) is told. So do all others
 * that may use the memory without a pin, see security.rst. By default, files that are
 * mapped or attached do not move nevertheless: the administrator decides when a guest
 * waits.
 *
 * These blocks never move:
 *
 * - pinned ones: a device accesses them (pin.c)
 * - those of a file that LUO has preserved, or that waits to be retrieved: the user of a
 *   device may rely on the address
 * - those that a mapping maps which is registered for minor faults: the mapping loses the
 *   entry, and the VMM does not expect to be asked again for a page that it has
 *   continued (userfault.c)
 * - those with a failed page: the contents of the page are lost, but no process has
 *   been told of it
 * - those of a whole, aligned 1 GiB of a file, which a 1 GiB leaf can map, unless the
 *   pool gives up that memory (shrink.c)
 *
 * A page that fails during the copy makes the copy fail, not the kernel: the file keeps
 * the block. Before an operation has changed the records, the file has the source, and
 * after it the target. A kexec waits for the end of an operation, so the next kernel finds
 * one or the other. Nothing can store to the block in between, as no page table has it.
 *
 * Locking
 * -------
 *
 * Order: sb_start_write(), i_rwsem shared, gmfs_fs.exchange_lock shared, invalidate_lock,
 * operation. i_rwsem excludes LUO, which records something about the file as a whole.
 * exchange_lock excludes memory_failure() between the time it has found the failed
 * block in a file and the time it knows the processes that map the block: otherwise it
 * would signal them for the healthy copy. The invalidate_lock makes faults, pins and other
 * changes of extents wait. It suffices for everything else: to other tasks, the file has
 * the same blocks before and after.
 */

#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include <trace/events/guestmemfs.h>

#include "guestmemfs.h"
#include "move.h"
#include "survey.h"

#ifndef mapping_rmap_tree_foreach	/* Linux 7.2 */
#define mapping_rmap_tree_foreach(vma, mapping, first, last)	\
	vma_interval_tree_foreach(vma, &(mapping)->i_mmap, first, last)
#endif

/**
 * struct gmfs_area - the blocks that move out
 * @blocks: the blocks
 * @mine: bitmap of those of them that are claimed
 */
struct gmfs_area {
	const struct gmpool_range *blocks;
	unsigned long *mine;
};

/**
 * enum gmfs_move_stage - where a move can be held, for tests
 * @GMFS_MOVE_UNMAPPED: the block is unmapped
 * @GMFS_MOVE_COPIED: it is copied, and not yet in the file
 */
enum gmfs_move_stage {
	GMFS_MOVE_UNMAPPED = 1,
	GMFS_MOVE_COPIED,
};

#ifdef CONFIG_GUESTMEM_POOL_DEBUG
static u32 gmfs_held_stage;

/* Until another stage is to be held, or the task is killed. */
static void gmfs_move_hold(enum gmfs_move_stage stage)
{
	while (READ_ONCE(gmfs_held_stage) == stage && !fatal_signal_pending(current))
		schedule_timeout_killable(HZ / 100 + 1);
}

/* After luo.c has made the directory. */
static int __init gmfs_move_debugfs_init(void)
{
	struct dentry *dir = debugfs_lookup("guestmemfs", NULL);

	if (!dir)
		dir = debugfs_create_dir("guestmemfs", NULL);
	debugfs_create_u32("hold_move", 0600, dir, &gmfs_held_stage);
	return 0;
}
late_initcall_sync(gmfs_move_debugfs_init);
#else
static void gmfs_move_hold(enum gmfs_move_stage stage)
{
}
#endif

/**
 * gmfs_move_is_frozen - is the node frozen?
 * @m: mover
 *
 * Context: any.
 *
 * Return: true if blocks cannot move until it is thawed.
 */
bool gmfs_move_is_frozen(const struct gmfs_mover *m)
{
	return READ_ONCE(m->sb->s_writers.frozen) != SB_UNFROZEN;
}

/**
 * gmfs_move_start - prepare to move blocks
 * @m: zeroed; the caller sets its options
 * @fs: file system of the node, mounted or not
 *
 * Until gmfs_move_end(), the node cannot be remounted read-only.
 *
 * Context: process context, may sleep.
 *
 * Return: 0; -EROFS if the node or its mount is read-only; -EBUSY if it is frozen; errors
 * of gmfs_mount_internal().
 */
int gmfs_move_start(struct gmfs_mover *m, struct gmfs_fs *fs)
{
	int err;

	m->fs = fs;
	m->mnt = gmfs_mount_internal(fs->pool);
	if (IS_ERR(m->mnt))
		return PTR_ERR(m->mnt);
	m->sb = m->mnt->mnt_sb;
	/* A node that is mounted read-only is frozen without sb_start_write(). */
	err = fs->read_only ? -EROFS : mnt_get_write_access(m->mnt);
	if (err) {
		mntput(m->mnt);
		return err;
	}
	if (!gmfs_move_is_frozen(m))
		return 0;
	gmfs_move_end(m);
	return -EBUSY;
}

/**
 * gmfs_move_end - undo gmfs_move_start()
 * @m: mover
 *
 * Context: process context, may sleep.
 */
void gmfs_move_end(struct gmfs_mover *m)
{
	mnt_put_write_access(m->mnt);
	mntput(m->mnt);
}

/*
 * Returns the inode, NULL if there is nothing to move, or an ERR_PTR: -EBUSY if the node
 * is frozen.
 */
static struct inode *gmfs_move_iget(struct gmfs_mover *m, unsigned long ino)
{
	struct inode *inode;

	/* An eviction waits for the thaw, and gmfs_iget() for the eviction. */
	if (!sb_start_write_trylock(m->sb))
		return ERR_PTR(-EBUSY);
	inode = gmfs_iget(m->sb, ino);
	sb_end_write(m->sb);
	/*
	 * gmfs_iget() has no inode of a file that is being made either, which has no
	 * blocks, and says -ENOMEM then. If there is no memory, the file counts as busy.
	 */
	if (PTR_ERR_OR_ZERO(inode) == -ESTALE || PTR_ERR_OR_ZERO(inode) == -ENOMEM)
		return NULL;
	return inode;
}

/* The last iput() of a deleted file waits while the node is frozen. */
static void gmfs_move_iput(struct gmfs_mover *m, struct inode *inode)
{
	if (!sb_start_write_trylock(m->sb)) {
		gmfs_delayed_iput(inode);
		return;
	}
	iput(inode);
	sb_end_write(m->sb);
}

/* Call a function for a file, unless it is gone. Returns as gmfs_move_each(). */
static int gmfs_move_visit(struct gmfs_mover *m, unsigned long ino, gmfs_each_t each,
			   void *arg)
{
	struct inode *inode;
	int err = 0;

	if (signal_pending(current))
		return -EINTR;
	inode = gmfs_move_iget(m, ino);
	if (IS_ERR_OR_NULL(inode))
		return PTR_ERR_OR_ZERO(inode);
	if (S_ISREG(inode->i_mode))
		err = each(m, inode, arg);
	gmfs_move_iput(m, inode);
	cond_resched();
	return err;
}

/**
 * gmfs_move_each - call a function for each regular file of the node
 * @m: mover
 * @each: the function; it returns 0, or an error that ends the walk
 * @arg: its argument
 *
 * A file that is made or deleted at the same time is visited or not.
 *
 * Context: process context, may sleep.
 *
 * Return: 0; the error of @each; -EINTR on a signal; -EBUSY if the node is frozen.
 */
int gmfs_move_each(struct gmfs_mover *m, gmfs_each_t each, void *arg)
{
	struct xarray *inodes = &m->fs->image.inodes;
	unsigned long ino;
	int err = 0;

	for (ino = 0; !err && xa_find(inodes, &ino, ULONG_MAX, XA_PRESENT); ino++)
		err = gmfs_move_visit(m, ino, each, arg);
	return err;
}

/*
 * Call a function for each file that has blocks in a range of the pool, by the survey, and
 * for some other files. Otherwise as gmfs_move_each().
 */
static int gmfs_move_each_in(struct gmfs_mover *m, const struct gmpool_range *range,
			     gmfs_each_t each, void *arg)
{
	u64 first = range->start / GMFS_PART_BLOCKS;
	u64 last = (range->start + range->count - 1) / GMFS_PART_BLOCKS;
	const struct gmfs_survey *survey = m->survey;
	size_t low = 0, high = survey->nr, i;
	int err = 0;

	/* The first place of part @first or a later one. */
	while (low < high) {
		i = low + (high - low) / 2;
		if (survey->places[i].part < first)
			low = i + 1;
		else
			high = i;
	}
	for (i = low; !err && i < survey->nr && survey->places[i].part <= last; i++)
		err = gmfs_move_visit(m, survey->places[i].ino, each, arg);
	return err;
}

/* Is a mapping of the block registered for minor faults? */
static bool gmfs_serves_faults(struct inode *inode, u64 file_block)
{
	struct address_space *mapping = inode->i_mapping;
	pgoff_t first = file_block * GMFS_BLOCK_PAGES;
	struct vm_area_struct *vma;
	bool found = false;

	i_mmap_lock_read(mapping);
	mapping_rmap_tree_foreach(vma, mapping, first, first + GMFS_BLOCK_PAGES - 1) {
		found = userfaultfd_minor(vma);
		if (found)
			break;
	}
	i_mmap_unlock_read(mapping);
	return found;
}

/* Can one leaf of 1 GiB map the block with the rest of the 1 GiB around it? */
static bool gmfs_is_whole(struct inode *inode, u64 file_block)
{
	struct gmpool *pool = GMFS_FS(inode->i_sb)->pool;
	struct gmpool_range range;

	return gmfs_extent_find(GMFS_I(inode)->ci,
				round_down(file_block, GMFS_1G_BLOCKS), &range) &&
	       range.count >= GMFS_1G_BLOCKS &&
	       IS_ALIGNED(gmpool_pfn(pool, range.start), PUD_SIZE >> PAGE_SHIFT);
}

/**
 * gmfs_move_obstacle - why does a block of a file not move?
 * @m: mover
 * @inode: the file
 * @file_block: the block, not in a hole
 *
 * With the invalidate_lock held for write, and i_rwsem, the answer stays true, except that
 * a process can map the file, or register a mapping of it with a userfaultfd: what was mapped
 * there before sends an event at its next access then. Nothing is continued in between, since
 * that takes the invalidate_lock.
 *
 * Context: process context, may sleep; the invalidate_lock is held.
 *
 * Return: the reason; GMFS_OBSTACLES if it can move.
 */
enum gmfs_obstacle gmfs_move_obstacle(const struct gmfs_mover *m, struct inode *inode,
				      u64 file_block)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmpool_range range;

	rwsem_assert_held(&inode->i_mapping->invalidate_lock);

	/* First, since such a block is not in the way. */
	if (!m->whole && gmfs_is_whole(inode, file_block))
		return GMFS_OBSTACLE_WHOLE;
	if (READ_ONCE(ci->rec->preserved) || READ_ONCE(ci->awaited) ||
	    READ_ONCE(ci->file.pins_frozen))
		return GMFS_OBSTACLE_PRESERVED;
	if (gmfs_is_pinned(inode, file_block, file_block + 1))
		return GMFS_OBSTACLE_PINNED;
	gmfs_extent_find(ci, file_block, &range);
	if (gmpool_has_poison(m->fs->pool, range.start * GMFS_BLOCK_PAGES,
			      GMFS_BLOCK_PAGES))
		return GMFS_OBSTACLE_FAILED;
	if (!m->in_use && gmfs_has_client(inode))
		return GMFS_OBSTACLE_ATTACHED;
	if (!m->in_use && mapping_mapped(inode->i_mapping))
		return GMFS_OBSTACLE_MAPPED;
	if (mapping_mapped(inode->i_mapping) && gmfs_serves_faults(inode, file_block))
		return GMFS_OBSTACLE_USERFAULT;
	return GMFS_OBSTACLES;
}

/**
 * gmfs_move_note - count blocks that are in the way
 * @m: mover
 * @what: the reason
 * @ino: inode number of the file, 0 if it is none
 * @blocks: number of blocks
 *
 * Context: any.
 */
void gmfs_move_note(struct gmfs_mover *m, enum gmfs_obstacle what, u64 ino, u64 blocks)
{
	if (!m->obstacles.blocks[what])
		m->obstacles.inos[what] = ino;
	m->obstacles.blocks[what] += blocks;
}

/* The operation. On an error, nothing has changed. */
static int gmfs_move_commit(struct gmfs_fs *fs, struct gmfs_inode *ci, u64 file_block,
			    u64 to)
{
	struct gmpool_range new = { .start = to, .count = 1 };
	struct gmpool_range old;
	unsigned int flags;
	LIST_HEAD(rsv);
	int err;

	flags = gmpool_op_begin(fs->pool);
	/* The extent is split in two, and the block in between is a third one. */
	err = gmfs_extent_reserve(&fs->image, &rsv, 2);
	if (!err) {
		gmfs_extent_cut(&fs->image, ci, &rsv, file_block, file_block + 1, &old);
		err = gmfs_extent_insert(&fs->image, ci, &rsv, file_block, &new);
		WARN_ON_ONCE(err);
		gmpool_commit_move(fs->pool, to, old.start);
		gmfs_extent_unreserve(&fs->image, &rsv);
	}
	gmpool_op_end(fs->pool, flags);
	return err;
}

/* As gmfs_move_block(), with all locks. */
static int gmfs_move_locked(struct gmfs_mover *m, const struct gmfs_area *area,
			    struct inode *inode, u64 file_block, u64 to)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmpool *pool = m->fs->pool;
	enum gmfs_obstacle what;
	struct gmpool_range from;
	int err;

	if (!gmfs_extent_find(ci, file_block, &from) ||
	    from.start < area->blocks->start ||
	    from.start - area->blocks->start >= area->blocks->count)
		return 0;
	what = gmfs_move_obstacle(m, inode, file_block);
	if (what != GMFS_OBSTACLES) {
		gmfs_move_note(m, what, inode->i_ino, 1);
		return 0;
	}

	gmfs_unmap_start(inode, file_block, file_block + 1);
	gmfs_move_hold(GMFS_MOVE_UNMAPPED);
	err = gmpool_copy(pool, to, from.start);
	if (!err) {
		gmfs_move_hold(GMFS_MOVE_COPIED);
		err = gmfs_move_commit(m->fs, ci, file_block, to);
	}
	gmfs_unmap_end(inode, file_block, file_block + 1);
	trace_guestmemfs_move(gmpool_nid(pool), inode->i_ino, file_block, from.start, to,
			      err);
	if (err == -EHWPOISON) {
		gmfs_move_note(m, GMFS_OBSTACLE_FAILED, inode->i_ino, 1);
		return 0;
	}
	if (err)
		return err;
	set_bit(from.start - area->blocks->start, area->mine);
	m->moved++;
	return 1;
}

/*
 * Move a block of a file to the claimed block @to. Returns 1 if it has moved; 0 if it is
 * not in @area any more or an obstacle was noted; -EAGAIN if @to has failed; -EBUSY if
 * the node is frozen; -EINTR, -ENOSPC, -ENOMEM.
 */
static int gmfs_move_block(struct gmfs_mover *m, const struct gmfs_area *area,
			   struct inode *inode, u64 file_block, u64 to)
{
	int ret;

	/* Do not wait for a thaw with blocks claimed. */
	if (!sb_start_write_trylock(m->sb))
		return -EBUSY;
	ret = inode_lock_shared_killable(inode);
	if (ret)
		goto out_sb;
	down_read(&m->fs->exchange_lock);
	filemap_invalidate_lock(inode->i_mapping);
	ret = gmfs_move_locked(m, area, inode, file_block, to);
	filemap_invalidate_unlock(inode->i_mapping);
	up_read(&m->fs->exchange_lock);
	inode_unlock_shared(inode);
out_sb:
	sb_end_write(m->sb);
	return ret;
}

/*
 * Number of blocks to claim at once. Without a plan, no range spans a 1 GiB boundary of
 * the file: so a whole 1 GiB of it gets a whole one, if there is one.
 */
static u64 gmfs_move_want(const struct gmfs_mover *m, u64 file_block, u64 end)
{
	if (!m->plan)
		end = min(end, round_up(file_block + 1, GMFS_1G_BLOCKS));
	return end - file_block;
}

/* Move the blocks of a file from @file_block to @end that are in @area. 0 or an error. */
static int gmfs_move_run(struct gmfs_mover *m, const struct gmfs_area *area,
			 struct inode *inode, u64 file_block, u64 end)
{
	struct gmpool_range target = {};
	struct gmpool_range bad = { .count = 1 };
	int ret = 0;

	while (file_block < end) {
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (!target.count) {
			ret = gmpool_claim_target(m->fs->pool, m->plan,
						  gmfs_move_want(m, file_block, end),
						  &target);
			if (ret)
				break;
		}
		ret = gmfs_move_block(m, area, inode, file_block, target.start);
		if (ret < 0 && ret != -EAGAIN)
			break;
		if (ret == -EAGAIN) {
			/* Withdrawn, as it has a failed page: try the next. */
			bad.start = target.start;
			gmpool_unclaim(m->fs->pool, &bad);
		} else {
			file_block++;
		}
		if (ret) {
			target.start++;
			target.count--;
		}
		cond_resched();
	}
	if (target.count)
		gmpool_unclaim(m->fs->pool, &target);
	return min(ret, 0);
}

/* gmfs_each_t: move the blocks of a file out of a struct gmfs_area. */
static int gmfs_move_file(struct gmfs_mover *m, struct inode *inode, void *arg)
{
	const struct gmfs_area *area = arg;
	u64 start = area->blocks->start, end = start + area->blocks->count;
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmpool_range range;
	u64 block, first, last;
	int err = 0;
	bool found;

	for (block = 0; block < GMFS_MAX_BLOCKS && !err; block += range.count) {
		filemap_invalidate_lock_shared(inode->i_mapping);
		found = gmfs_extent_find(ci, block, &range);
		filemap_invalidate_unlock_shared(inode->i_mapping);
		first = max(range.start, start);
		last = min(range.start + range.count, end);
		if (found && first < last)
			err = gmfs_move_run(m, area, inode,
					    block + first - range.start,
					    block + last - range.start);
	}
	return err;
}

/* Number of blocks that were noted since @before. */
static u64 gmfs_move_noted(const struct gmfs_mover *m, const struct gmfs_obstacles *before)
{
	unsigned int i;
	u64 nr = 0;

	for (i = 0; i < GMFS_OBSTACLES; i++)
		nr += m->obstacles.blocks[i] - before->blocks[i];
	return nr;
}

/**
 * gmfs_move_out - move all used blocks out of a range of the pool
 * @m: mover; gmfs_mover.obstacles is set if blocks are left
 * @area: the blocks
 * @mine: bitmap with a bit for each of them, set if the caller has claimed the block; on
 *	return, that of the blocks that are claimed, and dirty or zero. The caller ends
 *	the claims by gmpool_unisolate(), also after an error.
 *
 * When this succeeds, all blocks of the range are claimed: no other task can get one.
 *
 * Context: process context, may sleep; takes the locks of each file, see above.
 *
 * Return: 0; -EBUSY if blocks are left, or if the node is frozen; -ENOSPC if there is no
 * room elsewhere, or if the metadata cannot grow; -EINTR on a signal; -ENOMEM.
 */
int gmfs_move_out(struct gmfs_mover *m, const struct gmpool_range *area,
		  unsigned long *mine)
{
	struct gmfs_area arg = { .blocks = area, .mine = mine };
	struct gmfs_obstacles before = m->obstacles;
	bool all = !m->survey;
	u64 left, in_files, progress, failed;
	int err;

	/* A task may have allocated or freed a block since the walk passed its file. */
	for (;;) {
		m->obstacles = before;
		progress = m->moved;
		progress -= gmpool_isolate(m->fs->pool, area, mine);
		err = all ? gmfs_move_each(m, gmfs_move_file, &arg) :
			    gmfs_move_each_in(m, area, gmfs_move_file, &arg);
		if (err)
			return err;
		left = area->count - bitmap_weight(mine, area->count);
		if (!left)
			return 0;
		in_files = gmfs_move_noted(m, &before);
		if (progress == m->moved && (all || left <= in_files))
			break;
		all = true;
	}
	if (left > in_files)
		gmfs_move_note(m, gmpool_find_poison(m->fs->pool, area, &failed) ?
			       GMFS_OBSTACLE_FAILED : GMFS_OBSTACLE_BUSY, 0,
			       left - in_files);
	return -EBUSY;
}
