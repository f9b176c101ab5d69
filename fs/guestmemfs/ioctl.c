// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Exchange of ranges
 *
 * GUESTMEMFS_IOC_EXCHANGE_RANGE exchanges a range of one file with a range of another
 * file of the node. A range can have holes, which move like blocks: the exchange of
 * memory with a hole moves the memory. So a part of a running VM's memory becomes the
 * memory of another VM without a copy, and without free blocks. The semantics are
 * those of XFS_IOC_EXCHANGE_RANGE, with the block size of 2 MiB; GROW is an addition,
 * because a hole at the end of a file cannot be made without allocating it first, and
 * so is INTO_HOLE, because a process can fill a hole after the caller has seen it.
 *
 * The blocks stay in use throughout, so the pool does not take part. A failed page
 * is known by its place in the pool, and moves with its block. The charge of each
 * block moves with it: whoever has allocated the block goes on paying.
 *
 * Order: i_rwsem of both inodes, gmfs_inode_info.fill_lock of both,
 * gmfs_fs.exchange_lock shared, invalidate_lock of both, operation. The locks of a
 * kind are taken by rising address. i_rwsem excludes other changes of the sizes;
 * fill_lock excludes a task that has claimed blocks for a hole, and expects to find the
 * hole. exchange_lock excludes the search for the file of a failed block (failure.c),
 * which locks one file after the other and must not miss a block that moves from a
 * file it has not looked at to one that it has. The search holds it until
 * memory_failure() knows the processes that map the block.
 *
 * With both invalidate_locks held for write, no fault and no pin (pin.c) can begin.
 * Then a pinned block in one of the ranges makes the exchange fail, with nothing
 * changed. So does a file that has a client or is private (client.c), regardless of the
 * ranges: private contents must not move to a file that processes map. Else both ranges
 * are unmapped, from processes and, by MMU notifiers, from KVM, before the first extent
 * changes. A fault that waited sees both files after the exchange. A VM that reads both
 * ranges never sees a block in both files.
 *
 * All records change in one operation of the pool. A kexec waits for the end of an
 * operation, so the next kernel finds all of the exchange or nothing. The operation
 * moves extents from one tree to the other, about a microsecond each: a kexec may wait
 * half a second for the exchange of a terabyte in extents of 2 MiB. It needs at most
 * four new records, where the ends of the ranges split extents, and reserves them
 * before it changes the first record.
 */

#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/uaccess.h>

#include <uapi/linux/guestmemfs.h>

#include "guestmemfs.h"

#define GMFS_EXCHANGE_FLAGS	(GUESTMEMFS_EXCHANGE_RANGE_TO_EOF |	\
				 GUESTMEMFS_EXCHANGE_RANGE_DSYNC |	\
				 GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN |	\
				 GUESTMEMFS_EXCHANGE_RANGE_FILE1_WRITTEN |	\
				 GUESTMEMFS_EXCHANGE_RANGE_INTO_HOLE |	\
				 GUESTMEMFS_EXCHANGE_RANGE_GROW)

/**
 * struct gmfs_side - one of the two ranges of an exchange
 * @file: the open file
 * @inode: its inode
 * @start: first byte of the range
 * @first: the same, in blocks
 * @size: size of the file before the exchange, in bytes
 * @new_size: size after it
 */
struct gmfs_side {
	struct file *file;
	struct inode *inode;
	u64 start;
	u64 first;
	u64 size;
	u64 new_size;
};

/**
 * struct gmfs_exchange - an exchange
 * @s: file1 and file2
 * @length: length of the ranges in bytes
 * @blocks: the same, rounded up to blocks
 * @flags: GUESTMEMFS_EXCHANGE_RANGE_*
 */
struct gmfs_exchange {
	struct gmfs_side s[2];
	u64 length;
	u64 blocks;
	u64 flags;
};

/* What does not need a lock. The order of the errors is that of XFS. */
static int gmfs_exchange_check_files(const struct gmfs_exchange *x)
{
	u64 length = x->flags & GUESTMEMFS_EXCHANGE_RANGE_TO_EOF ? 0 : x->length;
	const struct gmfs_side *side;
	int err;

	if (x->s[0].inode->i_sb != x->s[1].inode->i_sb)
		return -EXDEV;
	if (S_ISDIR(x->s[0].inode->i_mode))
		return -EISDIR;
	if (!S_ISREG(x->s[0].inode->i_mode))
		return -EINVAL;
	for (side = x->s; side < x->s + 2; side++) {
		if (!(side->file->f_mode & FMODE_READ) ||
		    !(side->file->f_mode & FMODE_WRITE) ||
		    side->file->f_flags & O_APPEND)
			return -EBADF;
	}
	for (side = x->s; side < x->s + 2; side++) {
		err = remap_verify_area(side->file, side->start, length, true);
		if (err)
			return err;
	}
	return 0;
}

/* Set the length, and the sizes after the exchange. */
static int gmfs_exchange_set_sizes(struct gmfs_exchange *x)
{
	struct gmfs_side *s1 = &x->s[0], *s2 = &x->s[1];
	bool grow = x->flags & GUESTMEMFS_EXCHANGE_RANGE_GROW;
	bool same = s1->inode == s2->inode;

	s1->size = i_size_read(s1->inode);
	s2->size = i_size_read(s2->inode);
	s1->new_size = s1->size;
	s2->new_size = s2->size;
	if (s1->start > s1->size || (!grow && s2->start > s2->size))
		return -EINVAL;

	if (x->flags & GUESTMEMFS_EXCHANGE_RANGE_TO_EOF) {
		/* A file has one end. */
		if (same)
			return -EINVAL;
		x->length = max(s1->size - s1->start, s2->size - s2->start);
		s1->new_size = s1->start + s2->size - s2->start;
		s2->new_size = s2->start + s1->size - s1->start;
		return 0;
	}
	if (x->length > s1->size - s1->start ||
	    (!grow && x->length > s2->size - s2->start))
		return -EINVAL;
	s2->new_size = max(s2->size, s2->start + x->length);
	if (same)
		s1->new_size = s2->new_size;
	return 0;
}

/* RLIMIT_FSIZE and the largest size of a file. */
static int gmfs_exchange_check_limits(const struct gmfs_exchange *x)
{
	const struct gmfs_side *side;
	loff_t length;
	int err;

	for (side = x->s; side < x->s + 2; side++) {
		length = x->length;
		err = generic_write_check_limits(side->file, side->start, &length);
		if (err)
			return err;
		if (length != x->length)
			return -EINVAL;
	}
	return 0;
}

/*
 * Bytes behind the end of a file, in its last block, may be anything. They must not come
 * to lie within the other file: the last block changes places with a last block only.
 */
static int gmfs_exchange_check_ends(const struct gmfs_exchange *x)
{
	const struct gmfs_side *s1 = &x->s[0], *s2 = &x->s[1];

	if (!IS_ALIGNED(x->length, GMPOOL_BLOCK_SIZE) &&
	    (s1->start + x->length < s1->size || s2->start + x->length < s2->size))
		return -EINVAL;
	if (x->flags & GUESTMEMFS_EXCHANGE_RANGE_GROW && s2->size > s2->start &&
	    s2->size < s2->start + x->length &&
	    !IS_ALIGNED(s2->size, GMPOOL_BLOCK_SIZE))
		return -EINVAL;
	if (s1->inode == s2->inode && s1->first < s2->first + x->blocks &&
	    s2->first < s1->first + x->blocks)
		return -EINVAL;
	return 0;
}

/* What needs i_rwsem of both inodes. */
static int gmfs_exchange_check(struct gmfs_exchange *x)
{
	const struct gmfs_side *side;
	int err;

	for (side = x->s; side < x->s + 2; side++)
		if (IS_IMMUTABLE(side->inode) || IS_APPEND(side->inode))
			return -EPERM;
	if (!IS_ALIGNED(x->s[0].start | x->s[1].start, GMPOOL_BLOCK_SIZE))
		return -EINVAL;
	err = gmfs_exchange_set_sizes(x);
	if (err || !x->length)
		return err;
	err = gmfs_exchange_check_limits(x);
	if (err)
		return err;
	x->blocks = gmfs_blocks_up(x->length);
	x->s[0].first = gmfs_blocks_down(x->s[0].start);
	x->s[1].first = gmfs_blocks_down(x->s[1].start);
	return gmfs_exchange_check_ends(x);
}

/* A task that fills a hole holds the lock as long as it zeroes blocks. */
static int gmfs_exchange_lock_fills(const struct gmfs_exchange *x)
{
	struct mutex *first = &GMFS_I(x->s[0].inode)->fill_lock;
	struct mutex *second = &GMFS_I(x->s[1].inode)->fill_lock;
	int err;

	if (first > second)
		swap(first, second);
	err = mutex_lock_killable(first);
	if (err || first == second)
		return err;
	err = mutex_lock_killable_nested(second, SINGLE_DEPTH_NESTING);
	if (err)
		mutex_unlock(first);
	return err;
}

static void gmfs_exchange_unlock_fills(const struct gmfs_exchange *x)
{
	mutex_unlock(&GMFS_I(x->s[0].inode)->fill_lock);
	if (x->s[0].inode != x->s[1].inode)
		mutex_unlock(&GMFS_I(x->s[1].inode)->fill_lock);
}

static void gmfs_exchange_lock_faults(const struct gmfs_exchange *x)
{
	down_read(&GMFS_FS(x->s[0].inode->i_sb)->exchange_lock);
	filemap_invalidate_lock_two(x->s[0].inode->i_mapping,
				    x->s[1].inode->i_mapping);
}

static void gmfs_exchange_unlock_faults(const struct gmfs_exchange *x)
{
	filemap_invalidate_unlock_two(x->s[0].inode->i_mapping,
				      x->s[1].inode->i_mapping);
	up_read(&GMFS_FS(x->s[0].inode->i_sb)->exchange_lock);
}

/* What the blocks decide, with the locks of gmfs_exchange_lock_faults(). */
static int gmfs_exchange_check_blocks(const struct gmfs_exchange *x)
{
	const struct gmfs_side *s2 = &x->s[1];
	const struct gmfs_side *side;

	if (x->flags & GUESTMEMFS_EXCHANGE_RANGE_INTO_HOLE &&
	    gmfs_extent_any(GMFS_I(s2->inode)->ci, s2->first, s2->first + x->blocks))
		return -EEXIST;
	for (side = x->s; side < x->s + 2; side++)
		if (gmfs_is_pinned(side->inode, side->first, side->first + x->blocks) ||
		    gmfs_has_client(side->inode) || gmfs_is_private(side->inode))
			return -EBUSY;
	return 0;
}

/* Set-user-ID bits and file capabilities go, as with every change of contents. */
static int gmfs_exchange_remove_privs(const struct gmfs_exchange *x)
{
	int err = file_remove_privs(x->s[0].file);

	return err ?: file_remove_privs(x->s[1].file);
}

static void gmfs_exchange_unmap(const struct gmfs_exchange *x)
{
	const struct gmfs_side *side;

	for (side = x->s; side < x->s + 2; side++)
		unmap_mapping_range(side->inode->i_mapping,
				    side->first << GMPOOL_BLOCK_SHIFT,
				    x->blocks << GMPOOL_BLOCK_SHIFT, 1);
}

static void gmfs_exchange_write(const struct gmfs_side *side)
{
	struct inode *inode = side->inode;

	i_size_write(inode, side->new_size);
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
	gmfs_update_blocks(inode);
	gmfs_inode_write(inode);
}

/* The operation. On an error, nothing has changed. */
static int gmfs_exchange_commit(const struct gmfs_exchange *x,
				struct gmfs_charge **spare)
{
	const struct gmfs_side *s1 = &x->s[0], *s2 = &x->s[1];
	struct gmfs_inode *ci1 = GMFS_I(s1->inode)->ci;
	struct gmfs_inode *ci2 = GMFS_I(s2->inode)->ci;
	struct gmfs_fs *fs = GMFS_FS(s1->inode->i_sb);
	unsigned int flags;
	u64 moved[2];
	int err;

	flags = gmpool_op_begin(fs->pool);
	err = gmfs_extent_exchange(&fs->image, ci1, s1->first, ci2, s2->first,
				   x->blocks, moved);
	if (!err) {
		if (ci1 != ci2)
			gmfs_charge_exchange(&ci1->file.charges, moved[0],
					     &ci2->file.charges, moved[1], spare);
		/* What was behind the end is within the file, if it grew over that. */
		if (s2->start > s2->size)
			gmfs_zero_range(s2->inode, s2->size,
					round_up(s2->size, GMPOOL_BLOCK_SIZE));
		gmfs_exchange_write(s1);
		if (ci1 != ci2)
			gmfs_exchange_write(s2);
	}
	gmpool_op_end(fs->pool, flags);
	return err;
}

static int gmfs_exchange_ask_blocks(const struct gmfs_exchange *x)
{
	int err;

	gmfs_exchange_lock_faults(x);
	err = gmfs_exchange_check_blocks(x);
	gmfs_exchange_unlock_faults(x);
	return err;
}

static int gmfs_exchange_filled(const struct gmfs_exchange *x,
				struct gmfs_charge **spare)
{
	int err;

	gmfs_exchange_lock_faults(x);
	err = gmfs_exchange_check_blocks(x);
	if (!err) {
		gmfs_exchange_unmap(x);
		err = gmfs_exchange_commit(x, spare);
	}
	gmfs_exchange_unlock_faults(x);
	return err;
}

/* With i_rwsem of both inodes. */
static int gmfs_exchange_checked(const struct gmfs_exchange *x)
{
	struct gmfs_charge *spare = NULL;
	int err;

	/*
	 * The removal of privileges takes locks of its own. If a pin is made, a client
	 * attaches a file, or a hole is filled after this question, the files lose their
	 * privileges, and the exchange fails.
	 */
	err = gmfs_exchange_ask_blocks(x);
	if (err || x->flags & GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN)
		return err;
	err = gmfs_charge_reserve(&spare);
	if (!err)
		err = gmfs_exchange_remove_privs(x);
	if (!err)
		err = gmfs_exchange_lock_fills(x);
	if (!err) {
		err = gmfs_exchange_filled(x, &spare);
		gmfs_exchange_unlock_fills(x);
	}
	gmfs_charge_unreserve(&spare);
	return err;
}

static int gmfs_exchange_run(struct gmfs_exchange *x)
{
	int err;

	lock_two_nondirectories(x->s[0].inode, x->s[1].inode);
	err = gmfs_exchange_check(x);
	if (!err && x->length)
		err = gmfs_exchange_checked(x);
	unlock_two_nondirectories(x->s[0].inode, x->s[1].inode);
	return err;
}

static long gmfs_ioctl_exchange(struct file *file,
				const struct guestmemfs_exchange_range __user *argp)
{
	struct guestmemfs_exchange_range arg;
	struct gmfs_exchange x = {};
	int err;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.pad || arg.flags & ~GMFS_EXCHANGE_FLAGS)
		return -EINVAL;
	if (arg.flags & GUESTMEMFS_EXCHANGE_RANGE_FILE1_WRITTEN)
		return -EOPNOTSUPP;
	if (arg.flags & GUESTMEMFS_EXCHANGE_RANGE_GROW &&
	    arg.flags & GUESTMEMFS_EXCHANGE_RANGE_TO_EOF)
		return -EINVAL;

	CLASS(fd, file1)(arg.file1_fd);
	if (fd_empty(file1))
		return -EBADF;
	x.s[0].file = fd_file(file1);
	x.s[0].inode = file_inode(x.s[0].file);
	x.s[0].start = arg.file1_offset;
	x.s[1].file = file;
	x.s[1].inode = file_inode(file);
	x.s[1].start = arg.file2_offset;
	x.length = arg.length;
	x.flags = arg.flags;

	err = gmfs_exchange_check_files(&x);
	if (err)
		return err;
	err = gmfs_start_change(x.s[1].inode->i_sb, SB_FREEZE_WRITE);
	if (err)
		return err;
	err = gmfs_exchange_run(&x);
	sb_end_write(x.s[1].inode->i_sb);
	if (!err && !(x.flags & GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN)) {
		fsnotify_modify(x.s[0].file);
		if (x.s[0].file != x.s[1].file)
			fsnotify_modify(x.s[1].file);
	}
	return err;
}

/**
 * gmfs_ioctl - an ioctl on a regular file
 * @file: the open file
 * @cmd: GUESTMEMFS_IOC_*
 * @arg: its argument, a pointer to user memory
 *
 * Context: process context, may sleep. Waits for the thaw if the node is frozen, until
 * a fatal signal.
 *
 * Return: 0; -ENOTTY if @cmd is not known; errors as the documentation of the command
 * has them.
 */
long gmfs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case GUESTMEMFS_IOC_EXCHANGE_RANGE:
		return gmfs_ioctl_exchange(file, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}
