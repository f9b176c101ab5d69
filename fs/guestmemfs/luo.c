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
 * note of that, and holds the inode until all of them have been retrieved, or their
 * session is finished without. A retrieval that fails changes nothing and can be
 * repeated. To the kernel after that, the record says nothing.
 *
 * What is preserved of an open file is whether it can be read and written, and the
 * position in it. It can be changed meanwhile, truncated too: what it has at the
 * kexec is what the next kernel finds.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/exportfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/sched/mm.h>

#include "guestmemfs.h"

static bool gmfs_luo_can_preserve(struct liveupdate_file_handler *handler,
				  struct file *file)
{
	return file->f_op == &gmfs_file_fops;
}

/* For a kernel that does not know what the field in the inode's record means. */
static void set_feature(struct gmfs_image *img)
{
	guard(mutex)(&img->lock);
	if (img->super->feature_compat & GMFS_FEATURE_COMPAT_PRESERVED)
		return;
	img->super->feature_compat |= GMFS_FEATURE_COMPAT_PRESERVED;
	gmfs_dirty(img, img->super);
}

/* The inode's record says how often it is preserved; frozen, it waits. */
static void count_preserved(struct inode *inode, int more)
{
	struct gmfs_fs *fs = GMFS_SB(inode->i_sb);
	struct gmfs_inode_ser *rec = GMFS_I(inode)->gi->rec;
	unsigned int flags;

	sb_start_write(inode->i_sb);
	inode_lock(inode);
	flags = gmpool_op_begin(fs->pool);
	set_feature(&fs->image);
	rec->preserved += more;
	gmfs_dirty(&fs->image, rec);
	gmpool_op_end(fs->pool, flags);
	inode_unlock(inode);
	sb_end_write(inode->i_sb);
}

static int gmfs_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct file *file = args->file;
	struct inode *inode = file_inode(file);
	struct gmfs_fs *fs = GMFS_SB(inode->i_sb);
	struct gmfs_file_ser *ser;

	if (fs->read_only)
		return -EROFS;
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	memcpy(ser->uuid, gmpool_uuid(fs->pool), sizeof(ser->uuid));
	ser->ino = inode->i_ino;
	ser->generation = inode->i_generation;
	ser->access = file->f_flags & O_ACCMODE;
	ser->pos = file->f_pos;

	count_preserved(inode, 1);
	args->serialized_data = virt_to_phys(ser);
	return 0;
}

/* The position may have changed since. */
static int gmfs_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser *ser = phys_to_virt(args->serialized_data);

	ser->pos = args->file->f_pos;
	return 0;
}

static void gmfs_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	count_preserved(file_inode(args->file), -1);
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
 * The inode that was preserved, with a mount of its node in @mnt. -EUCLEAN,
 * -ENODEV and -ESTALE are final: the file cannot be found any more.
 */
static struct inode *gmfs_luo_find(u64 phys, struct gmfs_file_ser *ser,
				   struct vfsmount **mnt)
{
	struct gmpool *pool;
	struct inode *inode;

	if (!gmpool_read_handed_over(ser, phys, sizeof(*ser)))
		return ERR_PTR(-EUCLEAN);
	pool = gmfs_luo_pool(ser);
	if (!pool)
		return ERR_PTR(-ENODEV);
	*mnt = gmfs_mount_internal(pool);
	if (IS_ERR(*mnt))
		return ERR_CAST(*mnt);
	inode = gmfs_iget((*mnt)->mnt_sb, ser->ino);
	if (!IS_ERR(inode) && (inode->i_generation != ser->generation ||
			       !S_ISREG(inode->i_mode))) {
		iput(inode);
		inode = ERR_PTR(-ESTALE);
	}
	if (IS_ERR(inode))
		mntput(*mnt);
	return inode;
}

/* One open file less is expected; with the last one it is as all others. */
static void gmfs_luo_unhold(struct inode *inode)
{
	struct gmfs_ino *gi = GMFS_I(inode)->gi;

	inode_lock(inode);
	if (gi->held)
		gi->held--;
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
 * If this fails, the inode stays held and the record stays as it is: LUO asks
 * again, or finishes.
 */
static int gmfs_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser ser = {};
	struct vfsmount *mnt;
	struct inode *inode;
	struct file *file;

	inode = gmfs_luo_find(args->serialized_data, &ser, &mnt);
	if (IS_ERR(inode)) {
		pr_err("an open file of inode %llu cannot be retrieved (%pe)\n",
		       ser.ino, inode);
		return PTR_ERR(inode);
	}
	file = gmfs_luo_open(mnt, inode, &ser);
	if (!IS_ERR(file)) {
		gmfs_luo_unhold(inode);
		kho_restore_free(phys_to_virt(args->serialized_data));
		args->file = file;
	}
	iput(inode);
	mntput(mnt);
	return PTR_ERR_OR_ZERO(file);
}

static void gmfs_luo_finish(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser ser;
	struct vfsmount *mnt;
	struct inode *inode;

	/* It was retrieved: nothing is left to be done. */
	if (args->retrieve_status > 0)
		return;
	/* Neither can this fail, nor is it called again. */
	for (;;) {
		inode = gmfs_luo_find(args->serialized_data, &ser, &mnt);
		if (PTR_ERR_OR_ZERO(inode) != -ENOMEM)
			break;
		memalloc_retry_wait(GFP_KERNEL);
	}
	/* There is no record at that address that KHO could free. */
	if (PTR_ERR_OR_ZERO(inode) == -EUCLEAN)
		return;
	if (!IS_ERR(inode)) {
		gmfs_luo_unhold(inode);
		iput(inode);
		mntput(mnt);
	}
	kho_restore_free(phys_to_virt(args->serialized_data));
}

static const struct liveupdate_file_ops gmfs_luo_ops = {
	.can_preserve	= gmfs_luo_can_preserve,
	.preserve	= gmfs_luo_preserve,
	.freeze		= gmfs_luo_freeze,
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
