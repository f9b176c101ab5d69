// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Open files of guestmemfs and LUO
 *
 * A file of guestmemfs is there after a kexec, and can be opened by its name. Who
 * keeps descriptors instead, in a session of the Live Update Orchestrator (LUO),
 * gets them back, whether or not the file still has a name: one that was deleted,
 * or never had one (O_TMPFILE), is kept until the session is finished.
 *
 * Preserving costs the same for any size: contents are handed over anyway. The
 * inode's record counts how many open files LUO has of it. The next kernel takes
 * note of that, and keeps the inode until all of them have been retrieved, or their
 * session is finished without. A retrieval that fails changes nothing and can be
 * repeated. To the kernel after that, the record says nothing.
 *
 * What is preserved of an open file is whether it can be read and written, and the
 * position in it. It can be changed meanwhile, truncated too: what it has at the
 * kexec is what the next kernel finds.
 *
 * If blocks of the file are pinned for devices (pin.c) at the kexec, the record says so,
 * and feature bits say that there is such a record: a kernel that does not know of pins
 * mounts read-only and frees nothing, and the next kernel does not discard the pool. In
 * the next kernel, all blocks of the file count as pinned until its sessions are
 * finished. A user of a device retrieves the file, pins it again, and finishes the
 * session then. Pins of files that are not preserved end with the kernel.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/exportfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "guestmemfs.h"

static bool gmfs_luo_can_preserve(struct liveupdate_file_handler *handler,
				  struct file *file)
{
	return file->f_op == &gmfs_file_fops;
}

/* For a kernel that does not know what the field in the inode's record means. */
static void gmfs_luo_set_feature(struct gmfs_image *img)
{
	guard(mutex)(&img->lock);
	if (img->super->feature_compat & GMFS_FEATURE_COMPAT_PRESERVED)
		return;
	img->super->feature_compat |= GMFS_FEATURE_COMPAT_PRESERVED;
	gmfs_dirty(img, img->super);
}

/*
 * Write into the record whether the next kernel has to take the file for pinned. LUO
 * freezes before the last task is stopped: a pin that is made later is not recorded.
 */
static void gmfs_luo_set_pinned(struct gmfs_fs *fs, struct gmfs_inode_ser *rec,
				bool pinned)
{
	struct gmfs_image *img = &fs->image;

	guard(mutex)(&img->lock);

	if (rec->pinned == pinned)
		return;
	rec->pinned = pinned;
	gmfs_dirty(img, rec);
	fs->preserved_pinned += pinned ? 1 : -1;
	if (fs->preserved_pinned)
		img->super->feature_ro_compat |= GMFS_FEATURE_RO_COMPAT_PINNED;
	else
		img->super->feature_ro_compat &= ~GMFS_FEATURE_RO_COMPAT_PINNED;
	gmfs_dirty(img, img->super);
	gmpool_set_pinned(fs->pool, fs->preserved_pinned);
}

/* The inode's record says how often it is preserved. */
static void gmfs_luo_count(struct inode *inode, int more)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmfs_inode_ser *rec = GMFS_I(inode)->ci->rec;
	unsigned int flags;

	inode_lock(inode);
	flags = gmpool_op_begin(fs->pool);
	gmfs_luo_set_feature(&fs->image);
	if (!rec->preserved)
		atomic_inc(&fs->preserved);
	rec->preserved += more;
	if (!rec->preserved) {
		atomic_dec(&fs->preserved);
		gmfs_luo_set_pinned(fs, rec, false);
	}
	gmfs_dirty(&fs->image, rec);
	gmpool_op_end(fs->pool, flags);
	inode_unlock(inode);
}

/*
 * LUO holds the lock of the session, which the kexec needs too, so no callback may
 * wait until an administrator thaws the node.
 */
static int gmfs_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct file *file = args->file;
	struct inode *inode = file_inode(file);
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmfs_file_ser *ser;

	if (fs->read_only)
		return -EROFS;
	if (!sb_start_write_trylock(inode->i_sb))
		return -EBUSY;
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser)) {
		sb_end_write(inode->i_sb);
		return PTR_ERR(ser);
	}
	memcpy(ser->uuid, gmpool_uuid(fs->pool), sizeof(ser->uuid));
	ser->ino = inode->i_ino;
	ser->generation = inode->i_generation;
	ser->access = file->f_flags & O_ACCMODE;
	ser->pos = file->f_pos;

	gmfs_luo_count(inode, 1);
	sb_end_write(inode->i_sb);
	args->serialized_data = virt_to_phys(ser);
	return 0;
}

static void gmfs_luo_record_pins(struct inode *inode, bool pinned)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	unsigned int flags;

	inode_lock(inode);
	flags = gmpool_op_begin(fs->pool);
	gmfs_luo_set_pinned(fs, GMFS_I(inode)->ci->rec, pinned);
	gmpool_op_end(fs->pool, flags);
	inode_unlock(inode);
}

/* The position may have changed since. The record of a frozen node changes as well. */
static int gmfs_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser *ser = phys_to_virt(args->serialized_data);
	struct inode *inode = file_inode(args->file);

	ser->pos = args->file->f_pos;
	if (gmfs_pins_forbid(inode, 0))
		gmfs_luo_record_pins(inode, true);
	return 0;
}

/* The kexec has failed: LUO takes the freeze of all files back. */
static void gmfs_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	gmfs_luo_record_pins(file_inode(args->file), false);
}

/*
 * This cannot fail, so it changes the record of a frozen node as well. The count is
 * for the next kernel alone: nothing that user space can see changes.
 */
static void gmfs_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	gmfs_luo_count(file_inode(args->file), -1);
	kho_unpreserve_free(phys_to_virt(args->serialized_data));
}

static struct gmpool *gmfs_luo_pool(const struct gmfs_file_ser *ser)
{
	struct gmpool *pool = NULL;

	while ((pool = gmpool_next(pool)))
		if (gmpool_usable(pool) &&
		    !memcmp(gmpool_uuid(pool), ser->uuid, GMPOOL_UUID_SIZE))
			break;
	return pool;
}

/*
 * The inode that was preserved, with a mount of its node in @mnt. -ENODEV and
 * -ESTALE are final: the file cannot be found any more.
 */
static struct inode *gmfs_luo_find(const struct gmfs_file_ser *ser,
				   struct vfsmount **mnt)
{
	struct gmpool *pool;
	struct inode *inode;

	pool = gmfs_luo_pool(ser);
	if (!pool)
		return ERR_PTR(-ENODEV);
	*mnt = gmfs_mount_internal(pool);
	if (IS_ERR(*mnt))
		return ERR_CAST(*mnt);
	inode = gmfs_iget((*mnt)->mnt_sb, ser->ino);
	if (!IS_ERR(inode) && (inode->i_generation != ser->generation ||
			       !S_ISREG(inode->i_mode))) {
		gmfs_delayed_iput(inode);
		inode = ERR_PTR(-ESTALE);
	}
	if (IS_ERR(inode))
		mntput(*mnt);
	return inode;
}

/* One open file less is expected; with the last one it is as all others. */
static void gmfs_luo_settle(struct inode *inode)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;

	inode_lock(inode);
	if (ci->awaited)
		ci->awaited--;
	inode_unlock(inode);
}

static struct file *gmfs_luo_open(struct vfsmount *mnt, struct inode *inode,
				  const struct gmfs_file_ser *ser)
{
	struct path path = { .mnt = mnt };
	struct file *file;

	/* The dentry has a reference of its own. */
	ihold(inode);
	path.dentry = d_obtain_alias(inode);
	if (IS_ERR(path.dentry))
		return ERR_CAST(path.dentry);
	file = dentry_open(&path, (ser->access & O_ACCMODE) | O_LARGEFILE,
			   current_cred());
	dput(path.dentry);
	if (!IS_ERR(file))
		vfs_setpos(file, ser->pos, inode->i_sb->s_maxbytes);
	return file;
}

/*
 * If this fails, the inode stays awaited and the record stays as it is: LUO asks
 * again, or finishes.
 */
static int gmfs_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser ser = {};
	struct vfsmount *mnt;
	struct inode *inode;
	struct file *file;

	if (gmpool_read_handed_over(&ser, args->serialized_data, sizeof(ser)))
		inode = gmfs_luo_find(&ser, &mnt);
	else
		inode = ERR_PTR(-EUCLEAN);
	if (IS_ERR(inode)) {
		pr_err("an open file of inode %llu cannot be retrieved (%pe)\n",
		       ser.ino, inode);
		return PTR_ERR(inode);
	}
	file = gmfs_luo_open(mnt, inode, &ser);
	if (!IS_ERR(file)) {
		gmfs_luo_settle(inode);
		kho_restore_free(phys_to_virt(args->serialized_data));
		args->file = file;
	}
	gmfs_delayed_iput(inode);
	mntput(mnt);
	return PTR_ERR_OR_ZERO(file);
}

/* A file that was not asked for until the end of its session. */
struct gmfs_luo_unclaimed {
	struct llist_node node;
	struct gmfs_file_ser ser;
};

static LLIST_HEAD(gmfs_luo_unclaimed);

static void gmfs_luo_drop(const struct gmfs_file_ser *ser)
{
	struct vfsmount *mnt;
	struct inode *inode;

	/* To give up would keep the file's memory until the next kexec. */
	while (PTR_ERR_OR_ZERO(inode = gmfs_luo_find(ser, &mnt)) == -ENOMEM)
		memalloc_retry_wait(GFP_KERNEL);
	if (IS_ERR(inode))
		return;
	gmfs_luo_settle(inode);
	gmfs_pins_disinherit(GMFS_FS(inode->i_sb), GMFS_I(inode)->ci);
	gmfs_delayed_iput(inode);
	mntput(mnt);
}

static void gmfs_luo_drop_unclaimed(struct work_struct *work)
{
	struct llist_node *list = llist_del_all(&gmfs_luo_unclaimed);
	struct gmfs_luo_unclaimed *file, *next;

	llist_for_each_entry_safe(file, next, llist_reverse_order(list), node) {
		gmfs_luo_drop(&file->ser);
		kfree(file);
		cond_resched();
	}
}

static DECLARE_WORK(gmfs_luo_unclaimed_work, gmfs_luo_drop_unclaimed);

/*
 * Neither can this fail, nor is it called again. A worker does the rest: the task can
 * be one that ends, in a memory cgroup that has no memory left.
 */
static void gmfs_luo_finish(struct liveupdate_file_op_args *args)
{
	struct gmfs_luo_unclaimed *file;
	struct inode *inode;

	/* The file was retrieved, and its user has pinned it again. */
	if (args->retrieve_status > 0) {
		inode = file_inode(args->file);
		gmfs_pins_disinherit(GMFS_FS(inode->i_sb), GMFS_I(inode)->ci);
		return;
	}
	file = kmalloc_obj(*file, GFP_KERNEL | __GFP_NOFAIL);
	/* There is no record at that address that KHO could free. */
	if (!gmpool_read_handed_over(&file->ser, args->serialized_data,
				     sizeof(file->ser))) {
		kfree(file);
		return;
	}
	kho_restore_free(phys_to_virt(args->serialized_data));
	llist_add(&file->node, &gmfs_luo_unclaimed);
	queue_work(system_dfl_wq, &gmfs_luo_unclaimed_work);
}

static const struct liveupdate_file_ops gmfs_luo_ops = {
	.can_preserve	= gmfs_luo_can_preserve,
	.preserve	= gmfs_luo_preserve,
	.freeze		= gmfs_luo_freeze,
	.unfreeze	= gmfs_luo_unfreeze,
	.unpreserve	= gmfs_luo_unpreserve,
	.retrieve	= gmfs_luo_retrieve,
	.finish		= gmfs_luo_finish,
	.retrieve_again	= true,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler gmfs_luo_handler = {
	.ops		= &gmfs_luo_ops,
	.compatible	= GMFS_FILE_COMPATIBLE,
};

static int __init gmfs_luo_init(void)
{
	int err = liveupdate_register_file_handler(&gmfs_luo_handler);

	/* LUO is off. */
	if (err == -EOPNOTSUPP)
		return 0;
	if (err)
		pr_err("LUO cannot preserve files of guestmemfs (%pe)\n",
		       ERR_PTR(err));
	return err;
}
late_initcall(gmfs_luo_init);
