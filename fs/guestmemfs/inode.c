// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes between the VFS and the image. What the VFS changes in an inode is
 * written into its record before the system call returns, so an inode never
 * is dirty, and can be dropped at any time.
 */

#include <linux/fs.h>
#include <linux/fileattr.h>
#include <linux/kdev_t.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/posix_acl.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

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

/* After the last path walk that may use a link's target. */
static void gmfs_free_inode(struct inode *inode)
{
	if (S_ISLNK(inode->i_mode))
		kfree(inode->i_link);
	kmem_cache_free(gmfs_inode_cache, GMFS_I(inode));
}

static void gmfs_inode_ctor(void *p)
{
	struct gmfs_inode *i = p;

	mutex_init(&i->fill_lock);
	init_rwsem(&i->attr_lock);
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

static const struct inode_operations gmfs_link_iops = {
	.get_link	= simple_get_link,
	.setattr	= gmfs_setattr,
	.getattr	= gmfs_getattr,
	.update_time	= gmfs_update_time,
	.listxattr	= gmfs_listxattr,
};

static const struct inode_operations gmfs_special_iops = {
	.setattr	= gmfs_setattr,
	.getattr	= gmfs_getattr,
	.update_time	= gmfs_update_time,
	.listxattr	= gmfs_listxattr,
	.get_inode_acl	= gmfs_get_inode_acl,
	.set_acl	= gmfs_set_acl,
};

static void gmfs_set_ops(struct inode *inode, dev_t rdev)
{
	switch (inode->i_mode & S_IFMT) {
	case S_IFDIR:
		inode->i_op = &gmfs_dir_iops;
		inode->i_fop = &gmfs_dir_fops;
		break;
	case S_IFREG:
		inode->i_op = &gmfs_file_iops;
		inode->i_fop = &gmfs_file_fops;
		break;
	case S_IFLNK:
		inode->i_op = &gmfs_link_iops;
		break;
	default:
		inode->i_op = &gmfs_special_iops;
		init_special_inode(inode, inode->i_mode, rdev);
	}
}

/* The flags that chattr() sets, as the image, the VFS and user space know them. */
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

static void gmfs_set_vfs_flags(struct inode *inode, u32 flags)
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
 * gmfs_inherit_flags - give a new inode the flags that its directory passes on
 * @inode: new inode, published
 * @dir: directory
 *
 * Context: within an operation.
 */
void gmfs_inherit_flags(struct inode *inode, struct inode *dir)
{
	u32 flags = GMFS_I(dir)->gi->rec->flags &
		    (GMFS_INODE_NODUMP | GMFS_INODE_NOATIME);

	GMFS_I(inode)->gi->rec->flags = flags;
	gmfs_set_vfs_flags(inode, flags);
}

static dev_t gmfs_record_rdev(const struct gmfs_inode_ser *rec)
{
	return MKDEV(GMFS_RDEV_MAJOR(rec->rdev), GMFS_RDEV_MINOR(rec->rdev));
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

	gmfs_dirty(&GMFS_SB(inode->i_sb)->image, rec);
}

/* The target of a link, for the VFS to follow it without asking. */
static char *gmfs_read_target(const struct gmfs_ino *gi)
{
	const struct gmfs_attr *attr = gmfs_attr_find(gi, GMFS_ATTR_TARGET, "", 0);
	char *target = kzalloc(gmfs_attr_value_size(attr) + 1,
			       GFP_KERNEL_ACCOUNT);

	if (target)
		gmfs_attr_read(attr, target);
	return target;
}

static int gmfs_inode_read(struct inode *inode, struct gmfs_ino *gi)
{
	const struct gmfs_inode_ser *rec = gi->rec;
	char *target = NULL;

	if (S_ISLNK(rec->mode)) {
		target = gmfs_read_target(gi);
		if (!target)
			return -ENOMEM;
	}

	GMFS_I(inode)->gi = gi;
	inode->i_mode = rec->mode;
	i_uid_write(inode, rec->uid);
	i_gid_write(inode, rec->gid);
	set_nlink(inode, rec->nlink);
	inode->i_generation = rec->generation;
	inode_set_atime(inode, rec->atime_sec, rec->atime_nsec);
	inode_set_mtime(inode, rec->mtime_sec, rec->mtime_nsec);
	inode_set_ctime(inode, rec->ctime_sec, rec->ctime_nsec);
	inode->i_size = S_ISDIR(rec->mode) ? gi->dir.nr * GMFS_DIRENT_SLOT :
					     rec->size;
	if (S_ISREG(rec->mode))
		gmfs_update_blocks(inode);
	if (S_ISLNK(rec->mode))
		inode->i_link = target;
	gmfs_set_vfs_flags(inode, rec->flags);
	gmfs_set_ops(inode, gmfs_record_rdev(rec));
	gmfs_acl_init(inode);
	return 0;
}

/**
 * gmfs_iget - the VFS inode of a number
 * @sb: super block
 * @ino: inode number
 *
 * Context: process context, may sleep.
 *
 * Return: the inode, or an ERR_PTR: -ENOMEM; -ESTALE if there is none, or if it
 * has no name and nobody has it open, nor had when it was preserved.
 */
struct inode *gmfs_iget(struct super_block *sb, u64 ino)
{
	struct gmfs_ino *gi;
	struct inode *inode;
	int err = -ESTALE;

	inode = iget_locked(sb, ino);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode_state_read_once(inode) & I_NEW))
		return inode;

	/*
	 * Only an inode of the VFS with this number could free or publish it,
	 * and there is no other than this one.
	 */
	gi = gmfs_ino_find(&GMFS_SB(sb)->image, ino);
	if (gi && (gi->rec->nlink || gi->held))
		err = gmfs_inode_read(inode, gi);
	if (err) {
		iget_failed(inode);
		return ERR_PTR(err);
	}
	unlock_new_inode(inode);
	return inode;
}

/**
 * gmfs_new_inode - a new inode that nobody can find yet
 * @idmap: of the mount it is created through
 * @dir: directory where it will have a name
 * @mode: file type and permissions
 * @rdev: device number of a device file, else 0
 * @target: of a symbolic link, else NULL
 *
 * To be followed by gmfs_ino_publish(), or discard_new_inode().
 *
 * Context: process context, may sleep, not within an operation.
 *
 * Return: the inode, locked as new, or an ERR_PTR.
 */
struct inode *gmfs_new_inode(struct mnt_idmap *idmap, struct inode *dir,
			     umode_t mode, dev_t rdev, const char *target)
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
	gmfs_set_ops(inode, rdev);
	if (target) {
		inode->i_size = strlen(target);
		inode->i_link = kstrdup(target, GFP_KERNEL_ACCOUNT);
		if (!inode->i_link) {
			iput(inode);
			return ERR_PTR(-ENOMEM);
		}
	}

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
	if (!gi || (inode->i_nlink && gi->rec->ino) || gi->held || fs->read_only)
		return;
	sb_start_intwrite(inode->i_sb);
	gmfs_release(fs, gi);
	sb_end_intwrite(inode->i_sb);
}

/* The last reference of an inode, and an active one of its super block. */
struct gmfs_delayed_iput {
	struct llist_node node;
	struct inode *inode;
};

static void gmfs_delayed_iput_run(struct work_struct *work)
{
	struct gmfs_fs *fs = container_of(work, struct gmfs_fs,
					  delayed_iput_work.work);
	struct llist_node *list = llist_del_all(&fs->delayed_iputs);
	struct gmfs_delayed_iput *delayed, *next;
	struct super_block *sb;

	llist_for_each_entry_safe(delayed, next, list, node) {
		sb = delayed->inode->i_sb;
		/* To wait for the thaw would look like a task that hangs. */
		if (READ_ONCE(sb->s_writers.frozen) != SB_UNFROZEN) {
			llist_add(&delayed->node, &fs->delayed_iputs);
			queue_delayed_work(system_dfl_wq,
					   &fs->delayed_iput_work, HZ);
			continue;
		}
		iput(delayed->inode);
		deactivate_super(sb);
		kfree(delayed);
	}
}

/**
 * gmfs_delayed_iput_init - prepare a file system for gmfs_delayed_iput()
 * @fs: the file system
 *
 * Context: boot.
 */
void __init gmfs_delayed_iput_init(struct gmfs_fs *fs)
{
	init_llist_head(&fs->delayed_iputs);
	INIT_DELAYED_WORK(&fs->delayed_iput_work, gmfs_delayed_iput_run);
}

/**
 * gmfs_delayed_iput - drop a reference of an inode, and do not wait for the thaw
 * @inode: inode, or NULL; the caller holds an active reference of its super block
 *
 * The last iput() of a deleted file frees its blocks, which waits while the node is
 * frozen. Memory failure and LUO hold locks meanwhile that all of the machine needs.
 * For them a worker, one for each node, drops the last reference, as in btrfs. It
 * looks once a second whether a frozen node has been thawed.
 *
 * Context: process context, may sleep for memory.
 */
void gmfs_delayed_iput(struct inode *inode)
{
	struct gmfs_delayed_iput *delayed;
	struct gmfs_fs *fs;

	if (!inode || atomic_add_unless(&inode->i_count, -1, 1))
		return;
	fs = GMFS_SB(inode->i_sb);
	delayed = kmalloc_obj(*delayed, GFP_KERNEL | __GFP_NOFAIL);
	delayed->inode = inode;
	atomic_inc(&inode->i_sb->s_active);
	llist_add(&delayed->node, &fs->delayed_iputs);
	mod_delayed_work(system_dfl_wq, &fs->delayed_iput_work, 0);
}

/**
 * gmfs_change - change attributes of an inode, but not its size
 * @idmap: of the mount
 * @inode: inode
 * @attr: what to change
 *
 * The access ACL follows the mode, in the same operation.
 *
 * Context: process context, may sleep; the inode's i_rwsem is held.
 *
 * Return: 0; -ENOSPC or -ENOMEM if the ACL could not be changed, and then
 * nothing has.
 */
int gmfs_change(struct mnt_idmap *idmap, struct inode *inode,
		const struct iattr *attr)
{
	struct gmfs_fs *fs = GMFS_SB(inode->i_sb);
	struct posix_acl *acl = NULL;
	unsigned int flags;
	int err = 0;

	if (attr->ia_valid & ATTR_MODE)
		acl = gmfs_acl_of_mode(inode, attr->ia_mode);
	if (IS_ERR(acl))
		return PTR_ERR(acl);

	flags = gmpool_op_begin(fs->pool);
	if (acl)
		err = gmfs_store_access_acl(inode, acl);
	if (!err) {
		setattr_copy(idmap, inode, attr);
		gmfs_inode_write(inode);
	}
	gmpool_op_end(fs->pool, flags);
	posix_acl_release(acl);
	return err;
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
	int err;

	err = setattr_prepare(idmap, dentry, attr);
	if (err)
		return err;
	if (attr->ia_valid & ATTR_SIZE)
		return gmfs_resize(idmap, inode, attr);
	return gmfs_change(idmap, inode, attr);
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
	generic_fill_statx_attr(inode, stat);
	stat->attributes_mask |= STATX_ATTR_NODUMP;
	if (READ_ONCE(rec->flags) & GMFS_INODE_NODUMP)
		stat->attributes |= STATX_ATTR_NODUMP;
	/* A hint for buffers, and those for others than files need not be so large. */
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

/**
 * gmfs_fileattr_get - flags of an inode, for lsattr
 * @dentry: a dentry of the inode
 * @fa: filled
 *
 * Return: 0.
 */
int gmfs_fileattr_get(struct dentry *dentry, struct file_kattr *fa)
{
	u32 flags = READ_ONCE(GMFS_I(d_inode(dentry))->gi->rec->flags);
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
	struct gmfs_fs *fs = GMFS_SB(inode->i_sb);
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
	/* Who only asks for them holds no lock. */
	WRITE_ONCE(GMFS_I(inode)->gi->rec->flags, flags);
	gmfs_set_vfs_flags(inode, flags);
	inode_set_ctime_current(inode);
	gmfs_inode_write(inode);
	gmpool_op_end(fs->pool, op);
	return 0;
}

/*
 * A frozen file system has no operation under way, and nothing is ever to be
 * written back. Stores to mappings go on: they are the guests'.
 */
static int gmfs_freeze(struct super_block *sb)
{
	return 0;
}

const struct super_operations gmfs_super_ops = {
	.alloc_inode	= gmfs_alloc_inode,
	.free_inode	= gmfs_free_inode,
	.evict_inode	= gmfs_evict_inode,
	.freeze_fs	= gmfs_freeze,
	.statfs		= gmfs_statfs,
	.show_options	= gmfs_show_options,
	.show_stats	= gmfs_show_stats,
};
