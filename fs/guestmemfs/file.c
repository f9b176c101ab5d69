// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Files of guestmemfs
 *
 * Concepts
 * --------
 *
 * A file consists of blocks of 2 MiB. User space accesses them by mmap() only
 * (mmap.c). There is no page cache: a fault maps pool memory by pfn.
 *
 * A file gets its blocks when its size grows, not at the first touch: a file that
 * could be extended can be used to its end. Punching makes holes, and so does an exchange
 * with a hole (ioctl.c). mmap() fills the holes in its range; a hole that is made later is
 * filled by the next touch.
 *
 * The size of a file is exact to the byte, but a mapping extends to the end of the
 * last block. An extension zeroes the bytes between the old size and the end of that
 * block, since stores to a mapping reach them. Punching frees whole blocks, and zeroes
 * the parts of blocks at the ends of its range.
 *
 * As on tmpfs, a store to a mapping does not change mtime.
 *
 * Locking
 * -------
 *
 * A mapping by pfn holds no reference on memory, so a block is freed only after every
 * mapping of it is gone. The invalidate_lock is held for write over four steps: reduce
 * the size, unmap the range, remove the extents, free the blocks. If a block of the
 * range is pinned for a device (pin.c), the operation fails before the first step. So
 * does a truncation of bytes that a client has attached (client.c). If blocks are punched
 * that a client has attached, the client unmaps them in the second step.
 */

#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include <uapi/linux/falloc.h>

#include "guestmemfs.h"

/**
 * gmfs_zero_range - zero a range of a file, unless it is a hole
 * @inode: the file
 * @start: first byte of the range
 * @end: end of the range, in the same block
 *
 * Context: process context, may sleep; the invalidate_lock is held for write.
 */
void gmfs_zero_range(struct inode *inode, u64 start, u64 end)
{
	struct gmpool_range range;

	rwsem_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (start >= end ||
	    !gmfs_extent_find(GMFS_I(inode)->ci, gmfs_blocks_down(start), &range))
		return;
	gmpool_zero(GMFS_FS(inode->i_sb)->pool, range.start,
		    start % GMPOOL_BLOCK_SIZE, end - start);
}

/* Remove the blocks of a range from a file, and free them. The range is not mapped. */
static void gmfs_free_range(struct inode *inode, struct list_head *rsv,
			    u64 first, u64 end)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmpool_range range;

	while (gmfs_extent_cut(&fs->image, GMFS_I(inode)->ci, rsv, first, end,
			       &range) > 0) {
		gmfs_uncharge(&GMFS_I(inode)->ci->file.charges, range.count);
		gmpool_free(fs->pool, &range);
	}
	gmfs_update_blocks(inode);
}

static void gmfs_set_size(struct mnt_idmap *idmap, struct inode *inode,
			  loff_t size, const struct iattr *attr)
{
	i_size_write(inode, size);
	if (attr)
		setattr_copy(idmap, inode, attr);
	gmfs_inode_write(inode);
}

/*
 * Zero the blocks that a file has in a range. This is too long for an operation, and
 * need not be one: the contents are undefined until the system call returns.
 */
static int gmfs_zero_present(struct inode *inode, u64 start, u64 end)
{
	struct gmpool_range range;
	u64 block, next;
	bool mapped;

	for (; start < end; start = next) {
		block = gmfs_blocks_down(start);
		filemap_invalidate_lock(inode->i_mapping);
		mapped = gmfs_extent_find(GMFS_I(inode)->ci, block, &range);
		next = min(end, (block + (mapped ? 1 : range.count)) <<
				GMPOOL_BLOCK_SHIFT);
		if (mapped)
			gmfs_zero_range(inode, start, next);
		filemap_invalidate_unlock(inode->i_mapping);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/*
 * Fill all holes of a range, and set the size, which does not decrease. @attr, unless
 * NULL, is set in the same operation. Existing blocks are zeroed from byte @zero_from
 * to byte @zero_to. This comes after the claim, so -ENOSPC leaves their contents.
 */
static int gmfs_extend(struct mnt_idmap *idmap, struct inode *inode, u64 first,
		       u64 end, loff_t size, const struct iattr *attr,
		       u64 zero_from, u64 zero_to)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmfs_fill fill = {};
	unsigned int flags;
	u64 old_size;
	int err;

	mutex_lock(&GMFS_I(inode)->fill_lock);
	err = gmfs_fill_claim(inode, &fill, first, end);
	if (!err)
		err = gmfs_fill_scrub(fs->pool, &fill);
	if (!err)
		err = gmfs_zero_present(inode, zero_from, zero_to);
	if (err)
		goto out_end;

	filemap_invalidate_lock(inode->i_mapping);
	old_size = i_size_read(inode);
	flags = gmpool_op_begin(fs->pool);
	err = gmfs_fill_commit(inode, &fill, end);
	if (!err && size > old_size)
		gmfs_zero_range(inode, old_size,
				round_up(old_size, GMPOOL_BLOCK_SIZE));
	if (!err)
		gmfs_set_size(idmap, inode, size, attr);
	gmpool_op_end(fs->pool, flags);
	filemap_invalidate_unlock(inode->i_mapping);

out_end:
	gmfs_fill_end(fs->pool, &fill);
	mutex_unlock(&GMFS_I(inode)->fill_lock);
	return err;
}

static int gmfs_shrink(struct mnt_idmap *idmap, struct inode *inode,
		       loff_t size, const struct iattr *attr)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	u64 first = gmfs_blocks_up(size);
	u64 old_size = i_size_read(inode);
	unsigned int flags;
	LIST_HEAD(none);

	filemap_invalidate_lock(inode->i_mapping);
	if (gmfs_client_forbids(inode, size) ||
	    gmfs_is_pinned(inode, first, GMFS_MAX_BLOCKS)) {
		filemap_invalidate_unlock(inode->i_mapping);
		return -EBUSY;
	}
	i_size_write(inode, size);
	unmap_mapping_range(inode->i_mapping, first << GMPOOL_BLOCK_SHIFT, 0,
			    1);

	/* Zeroing less than a block is short enough for an operation. */
	flags = gmpool_op_begin(fs->pool);
	gmfs_zero_range(inode, size,
			min(old_size, first << GMPOOL_BLOCK_SHIFT));
	gmfs_free_range(inode, &none, first, GMFS_MAX_BLOCKS);
	gmfs_end_private(inode);
	gmfs_set_size(idmap, inode, size, attr);
	gmpool_op_end(fs->pool, flags);
	filemap_invalidate_unlock(inode->i_mapping);
	return 0;
}

/**
 * gmfs_resize - change the size of a file, and other attributes with it
 * @idmap: idmap of the mount
 * @inode: a regular file
 * @attr: attributes to change, with the size
 *
 * Size and attributes change in one operation. A file that grows gets all its new
 * blocks in that operation.
 *
 * Context: process context, may sleep; the inode's i_rwsem is held.
 *
 * Return: 0; -EBUSY if a block to be freed is pinned, or if a client has attached bytes
 * behind the new size; -ENOSPC; -EDQUOT if the size exceeds the limit of the task's
 * cgroup; -EINTR if the task is being killed; -ENOMEM. On error, nothing has changed.
 */
int gmfs_resize(struct mnt_idmap *idmap, struct inode *inode,
		const struct iattr *attr)
{
	loff_t old_size = i_size_read(inode);
	loff_t size = attr->ia_size;
	struct iattr all = *attr;

	if (size != old_size)
		all.ia_valid |= ATTR_MTIME | ATTR_CTIME;
	if (size > old_size)
		return gmfs_extend(idmap, inode, gmfs_blocks_down(old_size),
				   gmfs_blocks_up(size), size, &all, 0, 0);
	return gmfs_shrink(idmap, inode, size, &all);
}

static int gmfs_punch(struct inode *inode, u64 start, u64 end)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	u64 first = gmfs_blocks_up(start), last = gmfs_blocks_down(end);
	u64 head_end = min(end, first << GMPOOL_BLOCK_SHIFT);
	u64 tail_start = max(head_end, last << GMPOOL_BLOCK_SHIFT);
	unsigned int flags;
	LIST_HEAD(rsv);
	int err;

	filemap_invalidate_lock(inode->i_mapping);
	if (gmfs_is_pinned(inode, first, last)) {
		filemap_invalidate_unlock(inode->i_mapping);
		return -EBUSY;
	}
	if (first < last)
		gmfs_unmap_start(inode, first, last);

	flags = gmpool_op_begin(fs->pool);
	err = gmfs_extent_reserve(&fs->image, &rsv, 1);
	if (err)
		goto out_unlock;
	gmfs_zero_range(inode, start, head_end);
	gmfs_zero_range(inode, tail_start, end);
	if (first < last)
		gmfs_free_range(inode, &rsv, first, last);
	gmfs_extent_unreserve(&fs->image, &rsv);
	gmfs_end_private(inode);

out_unlock:
	gmpool_op_end(fs->pool, flags);
	if (first < last)
		gmfs_unmap_end(inode, first, last);
	filemap_invalidate_unlock(inode->i_mapping);
	return err;
}

static int gmfs_allocate(struct inode *inode, u64 start, u64 end,
			 bool keep_size, bool zero)
{
	loff_t size = i_size_read(inode);
	int err;

	if (!keep_size && end > size) {
		err = inode_newsize_ok(inode, end);
		if (err)
			return err;
		size = end;
	}
	return gmfs_extend(&nop_mnt_idmap, inode, gmfs_blocks_down(start),
			   gmfs_blocks_up(end), size, NULL, start,
			   zero ? end : start);
}

static long gmfs_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len)
{
	struct inode *inode = file_inode(file);
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
		     FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;

	inode_lock(inode);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		err = gmfs_punch(inode, offset, offset + len);
	else
		err = gmfs_allocate(inode, offset, offset + len,
				    mode & FALLOC_FL_KEEP_SIZE,
				    mode & FALLOC_FL_ZERO_RANGE);
	if (!err)
		err = file_modified(file);
	inode_unlock(inode);
	return err;
}

/**
 * gmfs_fiemap - report the extents of a file in ascending order
 * @inode: the file
 * @info: receives the extents
 * @start: first byte of the range
 * @len: length of the range in bytes
 *
 * The copy to user space may fault on a mapping of the same file, and the fault takes
 * the invalidate_lock. So the lock is dropped before each copy, and each extent is a
 * snapshot of its own.
 *
 * Context: process context, may sleep; takes the invalidate_lock shared.
 *
 * Return: 0 or a negative errno.
 */
int gmfs_fiemap(struct inode *inode, struct fiemap_extent_info *info,
		u64 start, u64 len)
{
	struct gmpool *pool = GMFS_FS(inode->i_sb)->pool;
	u32 flags = capable(CAP_SYS_ADMIN) ? 0 : FIEMAP_EXTENT_UNKNOWN;
	bool hide = flags;
	u64 logical = 0, phys = 0, size = 0;
	u64 block = gmfs_blocks_down(start);
	struct gmpool_range range;
	bool mapped;
	u64 end;
	int err;

	err = fiemap_prep(inode, info, start, &len, 0);
	if (err)
		return err;

	if (gmfs_is_private(inode))
		flags |= FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_ENCODED;

	/* Look one extent further than the range, to find the last one of the file. */
	end = gmfs_blocks_up(start + len);
	for (; block < GMFS_MAX_BLOCKS; block += range.count) {
		filemap_invalidate_lock_shared(inode->i_mapping);
		mapped = gmfs_extent_find(GMFS_I(inode)->ci, block, &range);
		filemap_invalidate_unlock_shared(inode->i_mapping);
		if (!mapped)
			continue;

		if (size) {
			err = fiemap_fill_next_extent(info, logical, phys, size,
						      flags);
			if (err)
				return min(err, 0);
			size = 0;
		}
		if (block >= end)
			break;
		logical = block << GMPOOL_BLOCK_SHIFT;
		size = range.count << GMPOOL_BLOCK_SHIFT;
		/* Without CAP_SYS_ADMIN, the physical address reads as 0. */
		phys = hide ? 0 : PFN_PHYS(gmpool_pfn(pool, range.start));
	}
	if (!size)
		return 0;
	err = fiemap_fill_next_extent(info, logical, phys, size,
				      FIEMAP_EXTENT_LAST | flags);
	return min(err, 0);
}

/* Find the first byte at or after @offset that is in a hole, or in data if not @hole. */
static loff_t gmfs_seek_extent(struct inode *inode, loff_t offset, bool hole)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmpool_range range;
	loff_t size;
	u64 block;

	filemap_invalidate_lock_shared(inode->i_mapping);
	size = i_size_read(inode);
	if (offset < 0 || offset >= size) {
		offset = -ENXIO;
		goto out_unlock;
	}
	block = gmfs_blocks_down(offset);
	while (gmfs_extent_find(ci, block, &range) == hole) {
		block += range.count;
		offset = block << GMPOOL_BLOCK_SHIFT;
		if (block >= gmfs_blocks_up(size)) {
			/* lseek(2) defines the end of a file as a hole. */
			offset = hole ? size : -ENXIO;
			break;
		}
	}
out_unlock:
	filemap_invalidate_unlock_shared(inode->i_mapping);
	return offset;
}

static loff_t gmfs_llseek(struct file *file, loff_t offset, int whence)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_file_llseek(file, offset, whence);

	offset = gmfs_seek_extent(file_inode(file), offset,
				  whence == SEEK_HOLE);
	if (offset < 0)
		return offset;
	return vfs_setpos(file, offset, GMFS_MAX_SIZE);
}

static int gmfs_open(struct inode *inode, struct file *file)
{
	/* The VFS truncates after open(): refuse here, before the file is charged. */
	if (file->f_flags & O_TRUNC && gmfs_size_forbidden(inode, 0))
		return -EBUSY;
	if (file->f_mode & FMODE_WRITE)
		gmfs_charge_open(inode);
	return generic_file_open(inode, file);
}

/* Without read and write methods, read() and write() fail with EINVAL. */
const struct file_operations gmfs_file_fops = {
	.open			= gmfs_open,
	.llseek			= gmfs_llseek,
	.mmap_prepare		= gmfs_mmap_prepare,
	.get_unmapped_area	= gmfs_get_unmapped_area,
	.fallocate		= gmfs_fallocate,
	.unlocked_ioctl		= gmfs_ioctl,
	.compat_ioctl		= compat_ptr_ioctl,
	.fsync			= noop_fsync,
	.setlease		= generic_setlease,
};
