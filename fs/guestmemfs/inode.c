// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes between the VFS and the image. A change of an inode is written into its record
 * before the system call returns. So an inode of the VFS is never dirty, and can be
 * evicted at any time.
 */

#include <linux/fs.h>
#include <linux/fileattr.h>
#include <linux/kdev_t.h>
#include <linux/llist.h>
#include <linux/posix_acl.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "guestmemfs.h"

static struct kmem_cache *gmfs_inode_cache;

static struct inode *gmfs_alloc_inode(struct super_block *sb)
{
	struct gmfs_inode_info *i = alloc_inode_sb(sb, gmfs_inode_cache, GFP_KERNEL);

	if (!i)
		return NULL;
	i->ci = NULL;
	return &i->vfs_inode;
}

/* Called after an RCU grace period: no path walk uses the target of the link. */
static void gmfs_free_inode(struct inode *inode)
{
	if (S_ISLNK(inode->i_mode))
		kfree(inode->i_link);
	kmem_cache_free(gmfs_inode_cache, GMFS_I(inode));
}

static void gmfs_inode_ctor(void *p)
{
	struct gmfs_inode_info *i = p;

	mutex_init(&i->fill_lock);
	init_rwsem(&i->attr_lock);
	inode_init_once(&i->vfs_inode);
}

/**
 * gmfs_inode_cache_init - create the slab cache of inodes
 *
 * Context: boot.
 *
 * Return: 0, or -ENOMEM.
 */
int __init gmfs_inode_cache_init(void)
{
	gmfs_inode_cache = kmem_cache_create("gmfs_inode_info",
					     sizeof(struct gmfs_inode_info), 0,
					     SLAB_RECLAIM_ACCOUNT |
					     SLAB_ACCOUNT, gmfs_inode_ctor);
	return gmfs_inode_cache ? 0 : -ENOMEM;
}

static const struct inode_operations gmfs_file_iops = {
	.fiemap		= gmfs_fiemap,
	.setattr	= gmfs_setattr,
	.getattr	= gmfs_getattr,
	.update_time	= gmfs_update_time,
	.listxattr	= gmfs_listxattr,
	.get_inode_acl	= gmfs_get_inode_acl,
	.set_acl	= gmfs_set_acl,
	.fileattr_get	= gmfs_fileattr_get,
	.fileattr_set	= gmfs_fileattr_set,
};

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

static dev_t gmfs_record_rdev(const struct gmfs_inode_ser *rec)
{
	return MKDEV(GMFS_RDEV_MAJOR(rec->rdev), GMFS_RDEV_MINOR(rec->rdev));
}

/* Copy the target of a symbolic link, for inode.i_link. */
static char *gmfs_read_target(const struct gmfs_inode *ci)
{
	const struct gmfs_attr *attr = gmfs_attr_find(ci, GMFS_ATTR_TARGET, "", 0);
	char *target = kzalloc(gmfs_attr_value_size(attr) + 1,
			       GFP_KERNEL_ACCOUNT);

	if (target)
		gmfs_attr_read(attr, target);
	return target;
}

static int gmfs_inode_read(struct inode *inode, struct gmfs_inode *ci)
{
	const struct gmfs_inode_ser *rec = ci->rec;
	char *target = NULL;

	if (S_ISLNK(rec->mode)) {
		target = gmfs_read_target(ci);
		if (!target)
			return -ENOMEM;
	}

	GMFS_I(inode)->ci = ci;
	inode->i_mode = rec->mode;
	i_uid_write(inode, rec->uid);
	i_gid_write(inode, rec->gid);
	set_nlink(inode, rec->nlink);
	inode->i_generation = rec->generation;
	inode_set_atime(inode, rec->atime_sec, rec->atime_nsec);
	inode_set_mtime(inode, rec->mtime_sec, rec->mtime_nsec);
	inode_set_ctime(inode, rec->ctime_sec, rec->ctime_nsec);
	inode->i_size = S_ISDIR(rec->mode) ? ci->dir.nr * GMFS_DIRENT_SLOT :
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
 * gmfs_iget - get the VFS inode of an inode number
 * @sb: super block
 * @ino: inode number
 *
 * Context: process context, may sleep.
 *
 * Return: the inode, or an ERR_PTR: -ENOMEM; -ESTALE if the number is free, or if the
 * inode has no name and is neither open nor preserved by the previous kernel.
 */
struct inode *gmfs_iget(struct super_block *sb, u64 ino)
{
	struct gmfs_inode *ci;
	struct inode *inode;
	int err = -ESTALE;

	inode = iget_locked(sb, ino);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode_state_read_once(inode) & I_NEW))
		return inode;

	/*
	 * Only the VFS inode with this number frees or publishes @ci. That is this
	 * inode, which is locked as new, so @ci cannot go.
	 */
	ci = gmfs_inode_find(&GMFS_FS(sb)->image, ino);
	if (ci && (ci->rec->nlink || ci->awaited))
		err = gmfs_inode_read(inode, ci);
	if (err) {
		iget_failed(inode);
		return ERR_PTR(err);
	}
	unlock_new_inode(inode);
	return inode;
}

/**
 * gmfs_new_inode - make an inode that no lookup can find yet
 * @idmap: idmap of the mount
 * @dir: directory that will contain its name
 * @mode: file type and permissions
 * @rdev: device number of a device file, else 0
 * @target: target of a symbolic link, else NULL
 *
 * The caller calls gmfs_inode_publish() or discard_new_inode() next.
 *
 * Context: process context, may sleep, not within an operation.
 *
 * Return: the inode, locked as new, or an ERR_PTR.
 */
struct inode *gmfs_new_inode(struct mnt_idmap *idmap, struct inode *dir,
			     umode_t mode, dev_t rdev, const char *target)
{
	struct gmfs_fs *fs = GMFS_FS(dir->i_sb);
	struct gmfs_inode *ci;
	struct inode *inode;
	unsigned int flags;
	int err;

	inode = new_inode(dir->i_sb);
	if (!inode)
		return ERR_PTR(-ENOMEM);

	flags = gmpool_op_begin(fs->pool);
	ci = gmfs_inode_reserve(&fs->image);
	gmpool_op_end(fs->pool, flags);
	if (IS_ERR(ci)) {
		iput(inode);
		return ERR_CAST(ci);
	}
	GMFS_I(inode)->ci = ci;
	inode->i_ino = ci->ino;
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

	/* iget_locked() of this number returns NULL until d_instantiate_new(). */
	err = insert_inode_locked(inode);
	if (err) {
		iput(inode);
		return ERR_PTR(err);
	}
	return inode;
}

/**
 * gmfs_release - free an inode with its blocks, extents and attributes
 * @fs: file system
 * @ci: an inode without a name and without users; invalid afterwards
 *
 * Context: process context, may sleep, not within an operation.
 */
void gmfs_release(struct gmfs_fs *fs, struct gmfs_inode *ci)
{
	struct gmpool_range range;
	unsigned int flags;
	LIST_HEAD(none);

	flags = gmpool_op_begin(fs->pool);
	if (S_ISREG(ci->rec->mode)) {
		gmfs_uncharge(&ci->file.charges, U64_MAX);
		while (gmfs_extent_cut(&fs->image, ci, &none, 0,
				       GMFS_MAX_BLOCKS, &range) > 0)
			gmpool_free(fs->pool, &range);
	}
	gmfs_inode_free(&fs->image, ci);
	gmfs_sync_private(fs);
	gmpool_op_end(fs->pool, flags);
}

static void gmfs_evict_inode(struct inode *inode)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	/* Also free an inode that was reserved but never published: its record has no number. */
	if (!ci || (inode->i_nlink && ci->rec->ino) || ci->awaited || fs->read_only)
		return;
	sb_start_intwrite(inode->i_sb);
	gmfs_release(fs, ci);
	sb_end_intwrite(inode->i_sb);
}

/* The last reference of an inode, and an active reference of its super block. */
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
		/* A worker that waited for the thaw would trigger the hung task detector. */
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
 * gmfs_delayed_iput - drop a reference of an inode without waiting for a thaw
 * @inode: inode, or NULL; the caller holds an active reference of its super block
 *
 * The last iput() of a deleted file frees its blocks, and waits while the node is
 * frozen. Memory failure and LUO call this with locks held that the whole machine
 * needs. So a worker per node drops the last reference, as in btrfs. While the node is
 * frozen, the worker retries once a second.
 *
 * Context: process context, may sleep for memory.
 */
void gmfs_delayed_iput(struct inode *inode)
{
	struct gmfs_delayed_iput *delayed;
	struct gmfs_fs *fs;

	if (!inode || atomic_add_unless(&inode->i_count, -1, 1))
		return;
	fs = GMFS_FS(inode->i_sb);
	delayed = kmalloc_obj(*delayed, GFP_KERNEL | __GFP_NOFAIL);
	delayed->inode = inode;
	atomic_inc(&inode->i_sb->s_active);
	llist_add(&delayed->node, &fs->delayed_iputs);
	mod_delayed_work(system_dfl_wq, &fs->delayed_iput_work, 0);
}

/**
 * gmfs_change - change attributes of an inode, except its size
 * @idmap: idmap of the mount
 * @inode: inode
 * @attr: attributes to change
 *
 * A change of the mode updates the access ACL in the same operation.
 *
 * Context: process context, may sleep; the inode's i_rwsem is held.
 *
 * Return: 0; -ENOSPC or -ENOMEM if the ACL cannot be changed. On error, nothing has
 * changed.
 */
int gmfs_change(struct mnt_idmap *idmap, struct inode *inode,
		const struct iattr *attr)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
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
 * @idmap: idmap of the mount
 * @dentry: a dentry of the inode
 * @attr: attributes to change
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

	/*
	 * setattr_prepare() removes file capabilities. Refuse before it, so that a
	 * truncation that fails does not remove them.
	 */
	if (attr->ia_valid & ATTR_SIZE &&
	    gmfs_size_forbidden(inode, attr->ia_size))
		return -EBUSY;
	err = setattr_prepare(idmap, dentry, attr);
	if (err)
		return err;
	if (attr->ia_valid & ATTR_SIZE)
		return gmfs_resize(idmap, inode, attr);
	return gmfs_change(idmap, inode, attr);
}

/*
 * Nothing to do: freeze_super() has waited for all operations, and there is no
 * writeback. Guests continue to store to their mappings.
 */
static int gmfs_freeze_fs(struct super_block *sb)
{
	return 0;
}

const struct super_operations gmfs_super_ops = {
	.alloc_inode	= gmfs_alloc_inode,
	.free_inode	= gmfs_free_inode,
	.evict_inode	= gmfs_evict_inode,
	.freeze_fs	= gmfs_freeze_fs,
	.statfs		= gmfs_statfs,
	.show_options	= gmfs_show_options,
	.show_stats	= gmfs_show_stats,
};
