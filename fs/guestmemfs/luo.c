// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Open files of guestmemfs and LUO
 *
 * Concepts
 * --------
 *
 * guestmemfs hands over all files at a kexec, and the next kernel opens them by name.
 * A session of the Live Update Orchestrator (LUO) preserves an open file in addition.
 * The next kernel retrieves it from the session, even if the file has no name: a file
 * that was deleted, or made with O_TMPFILE, is kept until the session is finished.
 *
 * The cost does not depend on the size of the file, since its contents are handed over
 * in any case.
 *
 * Life cycle
 * ----------
 *
 * The record of the inode counts the open files that LUO has preserved. The next kernel
 * holds the inode until each of them is retrieved, or its session is finished without
 * a retrieval. A retrieval that fails changes nothing and can be repeated. The count is
 * reset at boot: a file is preserved for one kexec only.
 *
 * Between preservation and kexec the file can be changed, also truncated. The next
 * kernel finds the contents as of the kexec.
 *
 * What is preserved
 * -----------------
 *
 * - the inode, with contents, attributes and extents
 * - the access mode: read, write or both
 * - the file position
 * - that blocks of the file are pinned for devices (pin.c), see below
 *
 * What is not preserved
 * ---------------------
 *
 * - status flags like O_APPEND and O_NONBLOCK
 * - FD_CLOEXEC, file locks and leases
 * - mappings
 * - the pins of a file that is not preserved
 *
 * Pins
 * ----
 *
 * If blocks of the file are pinned at the kexec, its record says so, and so do feature
 * bits of the node. A kernel without support for pins then mounts the node read-only
 * and frees nothing, and the next kernel does not discard the pool. In the next kernel,
 * all blocks of the file count as pinned until its sessions are finished. A device user
 * retrieves the file, pins it again, and then finishes the session.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
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
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "guestmemfs.h"

static bool gmfs_luo_can_preserve(struct liveupdate_file_handler *handler,
				  struct file *file)
{
	return file->f_op == &gmfs_file_fops;
}

/* Tells a kernel without support for LUO that records have the field "preserved". */
static void gmfs_luo_set_feature(struct gmfs_image *img)
{
	guard(mutex)(&img->lock);
	if (img->super->feature_compat & GMFS_FEATURE_COMPAT_PRESERVED)
		return;
	img->super->feature_compat |= GMFS_FEATURE_COMPAT_PRESERVED;
	gmfs_dirty(img, img->super);
}

/* Record whether the next kernel must treat the file as pinned. */
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

/* Add to the count of preserved open files in the record of the inode. */
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
 * LUO calls this with the lock of the session held. The kexec needs that lock, so no
 * callback waits until an administrator thaws the node.
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

#ifdef CONFIG_GUESTMEM_POOL_DEBUG
/*
 * For tests: the freeze of the file with this inode number waits until the task that has
 * begun the kexec is killed, and fails then.
 */
static u64 gmfs_luo_held_freeze;

static int gmfs_luo_hold_freeze(const struct inode *inode)
{
	while (READ_ONCE(gmfs_luo_held_freeze) == inode->i_ino) {
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_killable(HZ / 100 + 1);
	}
	return 0;
}

static void __init gmfs_luo_debugfs_init(void)
{
	debugfs_create_u64("hold_luo_freeze", 0600,
			   debugfs_create_dir("guestmemfs", NULL),
			   &gmfs_luo_held_freeze);
}
#else
static int gmfs_luo_hold_freeze(const struct inode *inode)
{
	return 0;
}

static void __init gmfs_luo_debugfs_init(void)
{
}
#endif

/*
 * The position may have changed since the preservation. This changes the record even if
 * the node is frozen. LUO freezes its files before the last task is stopped: from then
 * on, new pins wait, since the record would miss them.
 */
static int gmfs_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser *ser = phys_to_virt(args->serialized_data);
	struct inode *inode = file_inode(args->file);
	bool pinned;
	int err;

	err = gmfs_luo_hold_freeze(inode);
	if (err)
		return err;
	ser->pos = args->file->f_pos;
	filemap_invalidate_lock_shared(inode->i_mapping);
	pinned = gmfs_pins_freeze(GMFS_FS(inode->i_sb), GMFS_I(inode)->ci);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	if (pinned)
		gmfs_luo_record_pins(inode, true);
	return 0;
}

/* The kexec has failed: LUO unfreezes all files. */
static void gmfs_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct inode *inode = file_inode(args->file);

	gmfs_luo_record_pins(inode, false);
	gmfs_pins_thaw(GMFS_FS(inode->i_sb), GMFS_I(inode)->ci);
}

/*
 * LUO does not let this fail, so it changes the record even if the node is frozen. Only
 * the next kernel reads the count: user space sees no change on the frozen node.
 */
static void gmfs_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	gmfs_luo_count(file_inode(args->file), -1);
	kho_unpreserve_free(phys_to_virt(args->serialized_data));
}

static bool gmfs_luo_is_in(const struct gmfs_file_ser *ser,
			   const struct gmpool *pool)
{
	return !memcmp(gmpool_uuid(pool), ser->uuid, GMPOOL_UUID_SIZE);
}

static struct gmpool *gmfs_luo_pool(const struct gmfs_file_ser *ser)
{
	struct gmpool *pool = NULL;

	while ((pool = gmpool_next(pool)))
		if (gmpool_usable(pool) && gmfs_luo_is_in(ser, pool))
			break;
	return pool;
}

/*
 * Find the inode that was preserved, and mount its node in @mnt. -ENODEV (no such pool)
 * and -ESTALE (no such file in it) are final. Other errors can be retried.
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
	/*
	 * Before the mount, nothing kept the pool from being reset. It gives the same
	 * numbers and generations to other files then.
	 */
	if (!gmfs_luo_is_in(ser, pool)) {
		mntput(*mnt);
		return ERR_PTR(-ENODEV);
	}
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

/* One of the preserved open files is retrieved or dropped: the last one ends the wait. */
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

	/* d_obtain_alias() consumes a reference. */
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
 * If this fails, the inode stays awaited and the record stays as it is: LUO retrieves
 * again, or finishes the session.
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
		pr_err("LUO cannot retrieve an open file of inode %llu (%pe)\n",
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

/* A file that was not retrieved before its session was finished. */
struct gmfs_luo_unclaimed {
	struct llist_node node;
	struct gmfs_file_ser ser;
};

static LLIST_HEAD(gmfs_luo_unclaimed);

static void gmfs_luo_drop(const struct gmfs_file_ser *ser)
{
	struct vfsmount *mnt;
	struct inode *inode;

	/* Without the drop, the file would keep its memory until the next kexec. */
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
 * LUO calls this once and ignores failures. A worker drops the file, since the current
 * task can be exiting in a memory cgroup that has no memory left.
 */
static void gmfs_luo_finish(struct liveupdate_file_op_args *args)
{
	struct gmfs_luo_unclaimed *file;
	struct inode *inode;

	/* The file was retrieved, and the device user has pinned it again. */
	if (args->retrieve_status > 0) {
		inode = file_inode(args->file);
		gmfs_pins_disinherit(GMFS_FS(inode->i_sb), GMFS_I(inode)->ci);
		return;
	}
	file = kmalloc_obj(*file, GFP_KERNEL | __GFP_NOFAIL);
	/* This kernel has no memory at that address: there is no record to free. */
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

	/* LUO is disabled (no liveupdate=on). */
	if (err == -EOPNOTSUPP)
		return 0;
	if (err)
		pr_err("LUO cannot preserve files of guestmemfs (%pe)\n",
		       ERR_PTR(err));
	else
		gmfs_luo_debugfs_init();
	return err;
}
late_initcall(gmfs_luo_init);
