// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes between the VFS and the image. What the VFS changes in an inode is
 * written into its record before the system call returns, so an inode never
 * is dirty, and can be dropped at any time.
 */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "guestmemfs.h"

static struct kmem_cache *gmfs_inode_cache;

static struct inode *gmfs_alloc_inode(struct super_block *sb)
{
	struct gmfs_inode *i = alloc_inode_sb(sb, gmfs_inode_cache, GFP_KERNEL);

	if (!i)
		return NULL;
	i->gi = NULL;
	return &i->vfs_inode;
}

static void gmfs_free_inode(struct inode *inode)
{
	kmem_cache_free(gmfs_inode_cache, GMFS_I(inode));
}

static void gmfs_inode_ctor(void *p)
{
	struct gmfs_inode *i = p;

	mutex_init(&i->fill_lock);
	inode_init_once(&i->vfs_inode);
}

/**
 * gmfs_inode_cache_init - get ready to have inodes
 *
 * Context: boot.
 *
 * Return: 0, or -ENOMEM.
 */
int __init gmfs_inode_cache_init(void)
{
	gmfs_inode_cache = kmem_cache_create("gmfs_inode",
					     sizeof(struct gmfs_inode), 0,
					     SLAB_RECLAIM_ACCOUNT |
					     SLAB_ACCOUNT, gmfs_inode_ctor);
	return gmfs_inode_cache ? 0 : -ENOMEM;
}

static void set_ops(struct inode *inode)
{
	if (S_ISDIR(inode->i_mode)) {
		inode->i_op = &gmfs_dir_iops;
		inode->i_fop = &gmfs_dir_fops;
	} else {
		inode->i_op = &gmfs_file_iops;
		inode->i_fop = &gmfs_file_fops;
	}
}

/**
 * gmfs_inode_write - write an inode's attributes into its record
 * @inode: the inode
 *
 * All but the link count, which the image itself keeps.
 *
 * Context: process context, within an operation; takes @inode->i_lock. Others
 * may write the same inode: the last of them finds what all have set.
 */
void gmfs_inode_write(struct inode *inode)
{
	struct gmfs_inode_ser *rec = GMFS_I(inode)->gi->rec;
	struct timespec64 ts;

	spin_lock(&inode->i_lock);
	rec->mode = inode->i_mode;
	rec->uid = i_uid_read(inode);
	rec->gid = i_gid_read(inode);
	if (S_ISREG(inode->i_mode))
		rec->size = i_size_read(inode);
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

	gmfs_dirty(&GMFS_SB(inode->i_sb)->image, rec);
}

static void inode_read(struct inode *inode, struct gmfs_ino *gi)
{
	const struct gmfs_inode_ser *rec = gi->rec;

	GMFS_I(inode)->gi = gi;
	inode->i_mode = rec->mode;
	i_uid_write(inode, rec->uid);
	i_gid_write(inode, rec->gid);
	set_nlink(inode, rec->nlink);
	inode->i_generation = rec->generation;
	inode_set_atime(inode, rec->atime_sec, rec->atime_nsec);
	inode_set_mtime(inode, rec->mtime_sec, rec->mtime_nsec);
	inode_set_ctime(inode, rec->ctime_sec, rec->ctime_nsec);
	if (S_ISDIR(inode->i_mode)) {
		inode->i_size = gi->dir.nr * GMFS_DIRENT_SLOT;
	} else {
		inode->i_size = rec->size;
		gmfs_update_blocks(inode);
	}
	set_ops(inode);
}

/**
 * gmfs_iget - the VFS inode of a number
 * @sb: super block
 * @ino: inode number; the caller holds a name of it, or the root's
 *
 * Context: process context, may sleep.
 *
 * Return: the inode, or an ERR_PTR: -ENOMEM; -ESTALE if there is none.
 */
struct inode *gmfs_iget(struct super_block *sb, u64 ino)
{
	struct gmfs_ino *gi;
	struct inode *inode;

	inode = iget_locked(sb, ino);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode_state_read_once(inode) & I_NEW))
		return inode;

	gi = gmfs_ino_find(&GMFS_SB(sb)->image, ino);
	if (!gi) {
		iget_failed(inode);
		return ERR_PTR(-ESTALE);
	}
	inode_read(inode, gi);
	unlock_new_inode(inode);
	return inode;
}

/**
 * gmfs_new_inode - a new inode that nobody can find yet
 * @idmap: of the mount it is created through
 * @dir: directory where it will have a name
 * @mode: file type and permissions
 *
 * To be followed by gmfs_ino_publish(), or discard_new_inode().
 *
 * Context: process context, may sleep, not within an operation.
 *
 * Return: the inode, locked as new, or an ERR_PTR.
 */
struct inode *gmfs_new_inode(struct mnt_idmap *idmap, struct inode *dir,
			     umode_t mode)
{
	struct gmfs_fs *fs = GMFS_SB(dir->i_sb);
	struct gmfs_ino *gi;
	struct inode *inode;
	unsigned int flags;
	int err;

	inode = new_inode(dir->i_sb);
	if (!inode)
		return ERR_PTR(-ENOMEM);

	flags = gmpool_op_begin(fs->pool);
	gi = gmfs_ino_reserve(&fs->image);
	gmpool_op_end(fs->pool, flags);
	if (IS_ERR(gi)) {
		iput(inode);
		return ERR_CAST(gi);
	}
	GMFS_I(inode)->gi = gi;
	inode->i_ino = gi->ino;
	inode_init_owner(idmap, inode, dir, mode);
	simple_inode_init_ts(inode);
	set_ops(inode);

	/* Whoever asks for the number before it is published must wait. */
	err = insert_inode_locked(inode);
	if (err) {
		iput(inode);
		return ERR_PTR(err);
	}
	return inode;
}

/**
 * gmfs_release - free an inode with all it has
 * @fs: file system
 * @gi: inode without a name, that nobody uses; gone afterwards
 *
 * Context: process context, may sleep, not within an operation.
 */
void gmfs_release(struct gmfs_fs *fs, struct gmfs_ino *gi)
{
	struct gmpool_run run;
	unsigned int flags;
	LIST_HEAD(none);

	flags = gmpool_op_begin(fs->pool);
	if (S_ISREG(gi->rec->mode)) {
		gmfs_uncharge(&gi->file.charges, U64_MAX);
		while (gmfs_extent_cut(&fs->image, gi, &none, 0,
				       GMFS_MAX_BLOCKS, &run) > 0)
			gmpool_free(fs->pool, &run);
	}
	gmfs_ino_free(&fs->image, gi);
	gmpool_op_end(fs->pool, flags);
}

static void gmfs_evict_inode(struct inode *inode)
{
	struct gmfs_ino *gi = GMFS_I(inode)->gi;
	struct gmfs_fs *fs = GMFS_SB(inode->i_sb);

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	/* Without a number in its record it was reserved, but never published. */
	if (gi && (!inode->i_nlink || !gi->rec->ino) && !fs->read_only)
		gmfs_release(fs, gi);
}

/**
 * gmfs_setattr - change attributes of an inode
 * @idmap: of the mount
 * @dentry: a dentry of the inode
 * @attr: what to change
 *
 * Context: process context, may sleep; the inode's i_rwsem is held.
 *
 * Return: 0 or a negative errno.
 */
int gmfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	struct gmfs_fs *fs = GMFS_SB(inode->i_sb);
	unsigned int flags;
	int err;

	err = setattr_prepare(idmap, dentry, attr);
	if (err)
		return err;
	if (attr->ia_valid & ATTR_SIZE)
		return gmfs_resize(idmap, inode, attr);

	flags = gmpool_op_begin(fs->pool);
	setattr_copy(idmap, inode, attr);
	gmfs_inode_write(inode);
	gmpool_op_end(fs->pool, flags);
	return 0;
}

/**
 * gmfs_getattr - attributes of an inode
 * @idmap: of the mount
 * @path: names the inode
 * @stat: filled
 * @request_mask: STATX_* that are wanted
 * @flags: AT_STATX_*
 *
 * Return: 0.
 */
int gmfs_getattr(struct mnt_idmap *idmap, const struct path *path,
		 struct kstat *stat, u32 request_mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	const struct gmfs_inode_ser *rec = GMFS_I(inode)->gi->rec;

	generic_fillattr(idmap, request_mask, inode, stat);
	/* A hint for buffers, and those for directories need not be so large. */
	if (S_ISDIR(inode->i_mode))
		stat->blksize = PAGE_SIZE;
	if (request_mask & STATX_BTIME) {
		stat->result_mask |= STATX_BTIME;
		stat->btime.tv_sec = rec->btime_sec;
		stat->btime.tv_nsec = rec->btime_nsec;
	}
	return 0;
}

/**
 * gmfs_update_time - take note of an access or a change
 * @inode: the inode
 * @type: which times
 * @flags: IOCB_*
 *
 * Context: process context, may sleep, not within an operation.
 *
 * Return: 0; -EAGAIN if it must not sleep.
 */
int gmfs_update_time(struct inode *inode, enum fs_update_time type,
		     unsigned int flags)
{
	struct gmfs_fs *fs = GMFS_SB(inode->i_sb);
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

const struct super_operations gmfs_super_ops = {
	.alloc_inode	= gmfs_alloc_inode,
	.free_inode	= gmfs_free_inode,
	.evict_inode	= gmfs_evict_inode,
	.statfs		= gmfs_statfs,
	.show_options	= gmfs_show_options,
	.show_stats	= gmfs_show_stats,
};
