// SPDX-License-Identifier: GPL-2.0
/*
 * Attributes of inodes: copied between the VFS and the record, and shown or set for
 * stat(), lsattr and chattr.
 */

#include <linux/fs.h>
#include <linux/fileattr.h>
#include <linux/kdev_t.h>

#include "guestmemfs.h"

/* The flags of chattr(1): in the image, in the VFS and in user space. */
static const struct {
	u32 image;
	unsigned int vfs;
	u32 user;
} inode_flags[] = {
	{ GMFS_INODE_IMMUTABLE, S_IMMUTABLE, FS_IMMUTABLE_FL },
	{ GMFS_INODE_APPEND, S_APPEND, FS_APPEND_FL },
	{ GMFS_INODE_NODUMP, 0, FS_NODUMP_FL },
	{ GMFS_INODE_NOATIME, S_NOATIME, FS_NOATIME_FL },
};

/**
 * gmfs_set_vfs_flags - set the flags of an inode in the VFS
 * @inode: the inode
 * @flags: GMFS_INODE_*
 *
 * Context: the caller has exclusive access to the flags of @inode.
 */
void gmfs_set_vfs_flags(struct inode *inode, u32 flags)
{
	unsigned int vfs = 0, mask = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(inode_flags); i++) {
		mask |= inode_flags[i].vfs;
		if (flags & inode_flags[i].image)
			vfs |= inode_flags[i].vfs;
	}
	inode_set_flags(inode, vfs, mask);
}

/**
 * gmfs_inherit_flags - copy inherited flags of a directory to a new inode
 * @inode: new inode, published
 * @dir: directory
 *
 * Context: within an operation.
 */
void gmfs_inherit_flags(struct inode *inode, struct inode *dir)
{
	u32 flags = GMFS_I(dir)->ci->rec->flags &
		    (GMFS_INODE_NODUMP | GMFS_INODE_NOATIME);

	GMFS_I(inode)->ci->rec->flags = flags;
	gmfs_set_vfs_flags(inode, flags);
}

/**
 * gmfs_inode_write - write the attributes of an inode to its record
 * @inode: the inode
 *
 * Writes all attributes except the link count, which the image layer updates.
 *
 * Context: process context, within an operation; takes @inode->i_lock. May run
 * concurrently for one inode: the last call writes the changes of all.
 */
void gmfs_inode_write(struct inode *inode)
{
	struct gmfs_inode_ser *rec = GMFS_I(inode)->ci->rec;
	struct timespec64 ts;

	spin_lock(&inode->i_lock);
	/* Names of the inode can change at the same time, see gmfs_is_dir(). */
	WRITE_ONCE(rec->mode, inode->i_mode);
	rec->uid = i_uid_read(inode);
	rec->gid = i_gid_read(inode);
	if (S_ISREG(inode->i_mode) || S_ISLNK(inode->i_mode))
		rec->size = i_size_read(inode);
	rec->rdev = GMFS_RDEV(MAJOR(inode->i_rdev), MINOR(inode->i_rdev));
	ts = inode_get_atime(inode);
	rec->atime_sec = ts.tv_sec;
	rec->atime_nsec = ts.tv_nsec;
	ts = inode_get_mtime(inode);
	rec->mtime_sec = ts.tv_sec;
	rec->mtime_nsec = ts.tv_nsec;
	ts = inode_get_ctime(inode);
	rec->ctime_sec = ts.tv_sec;
	rec->ctime_nsec = ts.tv_nsec;
	spin_unlock(&inode->i_lock);

	gmfs_dirty(&GMFS_FS(inode->i_sb)->image, rec);
}

/**
 * gmfs_getattr - get the attributes of an inode
 * @idmap: of the mount
 * @path: path of the inode
 * @stat: set to the attributes
 * @request_mask: requested STATX_*
 * @flags: AT_STATX_*
 *
 * Return: 0.
 */
int gmfs_getattr(struct mnt_idmap *idmap, const struct path *path,
		 struct kstat *stat, u32 request_mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	const struct gmfs_inode_ser *rec = GMFS_I(inode)->ci->rec;

	generic_fillattr(idmap, request_mask, inode, stat);
	generic_fill_statx_attr(inode, stat);
	stat->attributes_mask |= STATX_ATTR_NODUMP;
	if (READ_ONCE(rec->flags) & GMFS_INODE_NODUMP)
		stat->attributes |= STATX_ATTR_NODUMP;
	/* A hint for the size of buffers: only regular files consist of blocks. */
	if (!S_ISREG(inode->i_mode))
		stat->blksize = PAGE_SIZE;
	if (request_mask & STATX_BTIME) {
		stat->result_mask |= STATX_BTIME;
		stat->btime.tv_sec = rec->btime_sec;
		stat->btime.tv_nsec = rec->btime_nsec;
	}
	return 0;
}

/**
 * gmfs_update_time - update the times of an inode after an access or a change
 * @inode: the inode
 * @type: which times
 * @flags: IOCB_*
 *
 * Context: process context, may sleep, not within an operation.
 *
 * Return: 0; -EAGAIN if @flags contains IOCB_NOWAIT.
 */
int gmfs_update_time(struct inode *inode, enum fs_update_time type,
		     unsigned int flags)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	unsigned int op;
	int changed;

	if (flags & IOCB_NOWAIT)
		return -EAGAIN;
	changed = inode_update_time(inode, type, flags);
	if (changed <= 0)
		return changed;

	op = gmpool_op_begin(fs->pool);
	gmfs_inode_write(inode);
	gmpool_op_end(fs->pool, op);
	return 0;
}

/**
 * gmfs_fileattr_get - get the flags of an inode, for lsattr
 * @dentry: a dentry of the inode
 * @fa: set to the flags
 *
 * Return: 0.
 */
int gmfs_fileattr_get(struct dentry *dentry, struct file_kattr *fa)
{
	u32 flags = READ_ONCE(GMFS_I(d_inode(dentry))->ci->rec->flags);
	u32 user = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(inode_flags); i++)
		if (flags & inode_flags[i].image)
			user |= inode_flags[i].user;
	fileattr_fill_flags(fa, user);
	return 0;
}

/**
 * gmfs_fileattr_set - change flags of an inode, for chattr
 * @idmap: of the mount
 * @dentry: a dentry of the inode
 * @fa: the flags
 *
 * Context: process context, may sleep; the inode's i_rwsem is held.
 *
 * Return: 0; -EOPNOTSUPP for flags that are not supported.
 */
int gmfs_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		      struct file_kattr *fa)
{
	struct inode *inode = d_inode(dentry);
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	u32 user = 0, flags = 0;
	unsigned int op;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(inode_flags); i++) {
		user |= inode_flags[i].user;
		if (fa->flags & inode_flags[i].user)
			flags |= inode_flags[i].image;
	}
	if (fileattr_has_fsx(fa) || fa->flags & ~user)
		return -EOPNOTSUPP;

	op = gmpool_op_begin(fs->pool);
	/* Readers hold no lock. chattr does not change GMFS_INODE_PRIVATE. */
	flags |= GMFS_I(inode)->ci->rec->flags & GMFS_INODE_PRIVATE;
	WRITE_ONCE(GMFS_I(inode)->ci->rec->flags, flags);
	gmfs_set_vfs_flags(inode, flags);
	inode_set_ctime_current(inode);
	gmfs_inode_write(inode);
	gmpool_op_end(fs->pool, op);
	return 0;
}
