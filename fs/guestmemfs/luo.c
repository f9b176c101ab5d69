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
 * session is finished without. To the kernel after that, the record says nothing.
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
#include <linux/fs_context.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/mount.h>

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

/* A mount of its own, for a node that may not be mounted. */
static struct vfsmount *mount_pool(const u8 *uuid)
{
	struct gmpool *pool = NULL;
	struct fs_context *fc;
	struct vfsmount *mnt;
	char node[12];
	int err;

	while ((pool = gmpool_next(pool)))
		if (gmpool_usable(pool) &&
		    !memcmp(gmpool_uuid(pool), uuid, GMPOOL_UUID_SIZE))
			break;
	if (!pool)
		return ERR_PTR(-ENODEV);

	fc = fs_context_for_mount(&gmfs_type, 0);
	if (IS_ERR(fc))
		return ERR_CAST(fc);
	snprintf(node, sizeof(node), "%d", gmpool_nid(pool));
	err = vfs_parse_fs_string(fc, "node", node);
	mnt = err ? ERR_PTR(err) : fc_mount(fc);
	put_fs_context(fc);
	return mnt;
}

/* The inode that was preserved, with a mount of its node in @mnt. */
static struct inode *find_inode(const struct gmfs_file_ser *ser,
				struct vfsmount **mnt)
{
	struct inode *inode;

	*mnt = mount_pool(ser->uuid);
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
static void unhold(struct inode *inode)
{
	struct gmfs_ino *gi = GMFS_I(inode)->gi;

	inode_lock(inode);
	if (gi->held)
		gi->held--;
	inode_unlock(inode);
}

static int gmfs_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser *ser = phys_to_virt(args->serialized_data);
	struct file *file;
	struct inode *inode;
	struct path path;
	int err = 0;

	inode = find_inode(ser, &path.mnt);
	if (IS_ERR(inode)) {
		err = PTR_ERR(inode);
		pr_err("an open file of inode %llu cannot be retrieved (%pe)\n",
		       ser->ino, inode);
		goto out_free;
	}
	/* The dentry has a reference of its own. */
	ihold(inode);
	path.dentry = d_obtain_alias(inode);
	if (IS_ERR(path.dentry)) {
		err = PTR_ERR(path.dentry);
		goto out_put;
	}
	file = dentry_open(&path, (ser->access & O_ACCMODE) | O_LARGEFILE,
			   current_cred());
	dput(path.dentry);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		goto out_put;
	}
	vfs_setpos(file, ser->pos, inode->i_sb->s_maxbytes);
	args->file = file;

out_put:
	/* It will not be asked for again, even if this has failed. */
	unhold(inode);
	iput(inode);
	mntput(path.mnt);
out_free:
	kho_restore_free(ser);
	return err;
}

static void gmfs_luo_finish(struct liveupdate_file_op_args *args)
{
	struct gmfs_file_ser *ser;
	struct vfsmount *mnt;
	struct inode *inode;

	/* If it was asked for, nothing is left to be done. */
	if (args->retrieve_status)
		return;
	ser = phys_to_virt(args->serialized_data);
	inode = find_inode(ser, &mnt);
	if (!IS_ERR(inode)) {
		unhold(inode);
		iput(inode);
		mntput(mnt);
	}
	kho_restore_free(ser);
}

static const struct liveupdate_file_ops gmfs_luo_ops = {
	.can_preserve	= gmfs_luo_can_preserve,
	.preserve	= gmfs_luo_preserve,
	.freeze		= gmfs_luo_freeze,
	.unpreserve	= gmfs_luo_unpreserve,
	.retrieve	= gmfs_luo_retrieve,
	.finish		= gmfs_luo_finish,
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
