// SPDX-License-Identifier: GPL-2.0
/*
 * Names: directory operations of the VFS on the image.
 *
 * Dentries are a cache, as with a file system on disk. The image layer changes link
 * counts in the same operation as names; they are copied to the VFS inode.
 */

#include <linux/filelock.h>
#include <linux/fs.h>

#include "guestmemfs.h"

/* Copy link count and size from the image after a change of names; write the record. */
static void gmfs_sync_inode(struct inode *inode)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;

	set_nlink(inode, ci->rec->nlink);
	if (S_ISDIR(inode->i_mode))
		i_size_write(inode, ci->dir.nr * GMFS_DIRENT_SLOT);
	gmfs_inode_write(inode);
}

static struct gmfs_dirent *gmfs_find_dirent(struct inode *dir,
					    const struct dentry *dentry)
{
	return gmfs_dirent_find(GMFS_I(dir)->ci, dentry->d_name.name,
				dentry->d_name.len);
}

static struct dentry *gmfs_lookup(struct inode *dir, struct dentry *dentry,
				  unsigned int flags)
{
	struct inode *inode = NULL;
	struct gmfs_dirent *de;

	if (dentry->d_name.len > GMFS_NAME_MAX)
		return ERR_PTR(-ENAMETOOLONG);
	de = gmfs_find_dirent(dir, dentry);
	if (de)
		inode = gmfs_iget(dir->i_sb, de->rec->ino);
	return d_splice_alias(inode, dentry);
}

/* Publish a new inode with all but a name. Called within an operation. */
static int gmfs_publish_inode(struct inode *inode, struct inode *dir,
			      const struct qstr *name)
{
	struct timespec64 now = inode_get_ctime(inode);
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmfs_image *img = &GMFS_FS(dir->i_sb)->image;
	int err;

	gmfs_inode_publish(img, ci, inode->i_mode);
	ci->rec->btime_sec = now.tv_sec;
	ci->rec->btime_nsec = now.tv_nsec;
	inode->i_generation = ci->rec->generation;
	gmfs_inherit_flags(inode, dir);

	err = gmfs_init_xattrs(inode, dir, name);
	if (!err && S_ISLNK(inode->i_mode))
		err = gmfs_attr_set(img, ci, GMFS_ATTR_TARGET, "", 0,
				    inode->i_link, inode->i_size);
	if (!err)
		gmfs_inode_write(inode);
	return err;
}

/*
 * Undo gmfs_publish_inode(), within the same operation. The number stays reserved until
 * the VFS evicts the inode, so that no other inode gets it before.
 */
static void gmfs_abandon_inode(struct inode *inode)
{
	gmfs_inode_unpublish(&GMFS_FS(inode->i_sb)->image, GMFS_I(inode)->ci);
}

static void gmfs_dir_changed(struct inode *dir)
{
	inode_set_mtime_to_ts(dir, inode_set_ctime_current(dir));
	gmfs_sync_inode(dir);
}

static int gmfs_make_inode(struct mnt_idmap *idmap, struct inode *dir,
			   struct dentry *dentry, umode_t mode, dev_t rdev,
			   const char *target)
{
	struct gmfs_fs *fs = GMFS_FS(dir->i_sb);
	struct inode *inode;
	unsigned int flags;
	int err;

	inode = gmfs_new_inode(idmap, dir, mode, rdev, target);
	if (IS_ERR(inode))
		return PTR_ERR(inode);

	flags = gmpool_op_begin(fs->pool);
	err = gmfs_publish_inode(inode, dir, &dentry->d_name);
	if (!err)
		err = gmfs_dirent_insert(&fs->image, GMFS_I(dir)->ci,
					 GMFS_I(inode)->ci, dentry->d_name.name,
					 dentry->d_name.len);
	if (err) {
		gmfs_abandon_inode(inode);
	} else {
		gmfs_sync_inode(inode);
		gmfs_dir_changed(dir);
	}
	gmpool_op_end(fs->pool, flags);

	if (err) {
		discard_new_inode(inode);
		return err;
	}
	d_instantiate_new(dentry, inode);
	return 0;
}

static int gmfs_create(struct mnt_idmap *idmap, struct inode *dir,
		       struct dentry *dentry, umode_t mode)
{
	return gmfs_make_inode(idmap, dir, dentry, mode | S_IFREG, 0, NULL);
}

static int gmfs_mknod(struct mnt_idmap *idmap, struct inode *dir,
		      struct dentry *dentry, umode_t mode, dev_t rdev)
{
	return gmfs_make_inode(idmap, dir, dentry, mode, rdev, NULL);
}

static int gmfs_symlink(struct mnt_idmap *idmap, struct inode *dir,
			struct dentry *dentry, const char *target)
{
	if (strlen(target) > GMFS_TARGET_MAX)
		return -ENAMETOOLONG;
	return gmfs_make_inode(idmap, dir, dentry, S_IFLNK | 0777, 0, target);
}

static int gmfs_tmpfile(struct mnt_idmap *idmap, struct inode *dir,
			struct file *file, umode_t mode)
{
	struct gmfs_fs *fs = GMFS_FS(dir->i_sb);
	struct inode *inode;
	unsigned int flags;
	int err;

	inode = gmfs_new_inode(idmap, dir, mode, 0, NULL);
	if (IS_ERR(inode))
		return finish_open_simple(file, PTR_ERR(inode));

	flags = gmpool_op_begin(fs->pool);
	err = gmfs_publish_inode(inode, dir, NULL);
	if (err)
		gmfs_abandon_inode(inode);
	gmpool_op_end(fs->pool, flags);

	if (err) {
		discard_new_inode(inode);
	} else {
		/*
		 * Not d_tmpfile(), which marks the inode dirty. It would stay
		 * dirty, because records are written at once and there is no
		 * writeback, and dirty inodes are never evicted.
		 */
		clear_nlink(inode);
		d_mark_tmpfile(file, inode);
		d_instantiate(file->f_path.dentry, inode);
		unlock_new_inode(inode);
	}
	return finish_open_simple(file, err);
}

static int gmfs_link(struct dentry *old_dentry, struct inode *dir,
		     struct dentry *dentry)
{
	struct inode *inode = d_inode(old_dentry);
	struct gmfs_fs *fs = GMFS_FS(dir->i_sb);
	unsigned int flags;
	int err;

	flags = gmpool_op_begin(fs->pool);
	err = gmfs_dirent_insert(&fs->image, GMFS_I(dir)->ci, GMFS_I(inode)->ci,
				 dentry->d_name.name, dentry->d_name.len);
	if (!err) {
		inode_set_ctime_current(inode);
		gmfs_sync_inode(inode);
		gmfs_dir_changed(dir);
	}
	gmpool_op_end(fs->pool, flags);
	if (err)
		return err;

	ihold(inode);
	d_instantiate(dentry, inode);
	return 0;
}

static struct dentry *gmfs_mkdir(struct mnt_idmap *idmap, struct inode *dir,
				 struct dentry *dentry, umode_t mode)
{
	return ERR_PTR(gmfs_make_inode(idmap, dir, dentry, mode | S_IFDIR, 0,
				       NULL));
}

/* For unlink() and rmdir(): the image layer checks that a directory is empty. */
static int gmfs_remove(struct inode *dir, struct dentry *dentry)
{
	struct gmfs_dirent *de = gmfs_find_dirent(dir, dentry);
	struct gmfs_fs *fs = GMFS_FS(dir->i_sb);
	struct inode *inode = d_inode(dentry);
	unsigned int flags;
	int err;

	if (!de)
		return -ENOENT;

	flags = gmpool_op_begin(fs->pool);
	err = gmfs_dirent_remove(&fs->image, GMFS_I(dir)->ci, de);
	if (!err) {
		gmfs_dir_changed(dir);
		inode_set_ctime_to_ts(inode, inode_get_ctime(dir));
		gmfs_sync_inode(inode);
	}
	gmpool_op_end(fs->pool, flags);
	return err;
}

/* Rename or exchange entries that the VFS has checked and locked, within an operation. */
static int gmfs_change_names(struct inode *old_dir, struct dentry *old_dentry,
			     struct inode *new_dir, struct dentry *new_dentry,
			     unsigned int rename_flags, struct inode *whiteout)
{
	struct gmfs_image *img = &GMFS_FS(old_dir->i_sb)->image;
	struct gmfs_dirent *old = gmfs_find_dirent(old_dir, old_dentry);
	struct gmfs_dirent *new;

	if (!old)
		return -ENOENT;
	if (!(rename_flags & RENAME_EXCHANGE))
		return gmfs_dirent_rename(img, GMFS_I(old_dir)->ci, old,
					  GMFS_I(new_dir)->ci,
					  new_dentry->d_name.name,
					  new_dentry->d_name.len,
					  !(rename_flags & RENAME_NOREPLACE),
					  whiteout ? GMFS_I(whiteout)->ci : NULL);
	new = gmfs_find_dirent(new_dir, new_dentry);
	if (!new)
		return -ENOENT;
	return gmfs_dirent_exchange(img, GMFS_I(old_dir)->ci, old,
				    GMFS_I(new_dir)->ci, new);
}

static int gmfs_rename(struct mnt_idmap *idmap, struct inode *old_dir,
		       struct dentry *old_dentry, struct inode *new_dir,
		       struct dentry *new_dentry, unsigned int rename_flags)
{
	struct gmfs_fs *fs = GMFS_FS(old_dir->i_sb);
	struct inode *target = d_inode(new_dentry);
	struct inode *whiteout = NULL;
	unsigned int flags;
	int err = 0;

	if (rename_flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE |
			     RENAME_WHITEOUT))
		return -EINVAL;
	if (rename_flags & RENAME_WHITEOUT) {
		whiteout = gmfs_new_inode(idmap, old_dir,
					  S_IFCHR | WHITEOUT_MODE, WHITEOUT_DEV,
					  NULL);
		if (IS_ERR(whiteout))
			return PTR_ERR(whiteout);
	}

	flags = gmpool_op_begin(fs->pool);
	if (whiteout)
		err = gmfs_publish_inode(whiteout, old_dir,
					 &old_dentry->d_name);
	if (!err)
		err = gmfs_change_names(old_dir, old_dentry, new_dir,
					new_dentry, rename_flags, whiteout);
	if (!err) {
		simple_rename_timestamp(old_dir, old_dentry, new_dir,
					new_dentry);
		/*
		 * The link count and the size of a moved inode do not change. The
		 * VFS may not hold the lock of a directory that is moved within
		 * its parent, or exchanged, so mkdir() in it may change them now.
		 */
		gmfs_inode_write(d_inode(old_dentry));
		if (target && rename_flags & RENAME_EXCHANGE)
			gmfs_inode_write(target);
		else if (target)
			gmfs_sync_inode(target);
		if (whiteout)
			gmfs_sync_inode(whiteout);
		gmfs_sync_inode(old_dir);
		if (new_dir != old_dir)
			gmfs_sync_inode(new_dir);
	} else if (whiteout) {
		gmfs_abandon_inode(whiteout);
	}
	gmpool_op_end(fs->pool, flags);

	if (whiteout && err) {
		discard_new_inode(whiteout);
	} else if (whiteout) {
		unlock_new_inode(whiteout);
		iput(whiteout);
	}
	return err;
}

/*
 * A reader gets the entries that existed when it started, except those removed since.
 * It does not get entries made since. Otherwise a program that renames each file that
 * readdir() returns would never reach the end.
 */
static void gmfs_set_dir_end(struct file *file)
{
	struct gmfs_fs *fs = GMFS_FS(file_inode(file)->i_sb);

	file->private_data =
		(void *)(uintptr_t)gmfs_cookie_next(&fs->image);
}

static int gmfs_dir_open(struct inode *inode, struct file *file)
{
	gmfs_set_dir_end(file);
	return 0;
}

static int gmfs_readdir(struct file *file, struct dir_context *ctx)
{
	struct gmfs_inode *dir = GMFS_I(file_inode(file))->ci;
	struct gmfs_dirent *de;

	if (!ctx->pos)
		gmfs_set_dir_end(file);
	if (!dir_emit_dots(file, ctx))
		return 0;

	for (de = gmfs_dirent_next(dir, ctx->pos - GMFS_COOKIE_POS); de;
	     de = gmfs_dirent_after(de)) {
		const struct gmfs_dirent_ser *rec = de->rec;

		if (rec->cookie >= (uintptr_t)file->private_data)
			break;
		ctx->pos = rec->cookie + GMFS_COOKIE_POS;
		if (!dir_emit(ctx, rec->name, rec->name_len, rec->ino,
			      rec->type))
			break;
		ctx->pos++;
	}
	return 0;
}

static loff_t gmfs_dir_llseek(struct file *file, loff_t offset, int whence)
{
	switch (whence) {
	case SEEK_CUR:
		if (check_add_overflow(offset, file->f_pos, &offset))
			return -EOVERFLOW;
		fallthrough;
	case SEEK_SET:
		return vfs_setpos(file, offset, S64_MAX);
	default:
		/* SEEK_END has no meaning for a directory. */
		return -EINVAL;
	}
}

#ifdef INODE_CREATE_EXCL	/* Linux 7.2, see patches/7.2 */
static int gmfs_create_excl(struct mnt_idmap *idmap, struct inode *dir,
			    struct dentry *dentry, umode_t mode, bool excl)
{
	return gmfs_create(idmap, dir, dentry, mode);
}

#define gmfs_create gmfs_create_excl
#endif

const struct inode_operations gmfs_dir_iops = {
	.lookup		= gmfs_lookup,
	.create		= gmfs_create,
	.unlink		= gmfs_remove,
	.mkdir		= gmfs_mkdir,
	.rmdir		= gmfs_remove,
	.link		= gmfs_link,
	.symlink	= gmfs_symlink,
	.mknod		= gmfs_mknod,
	.tmpfile	= gmfs_tmpfile,
	.rename		= gmfs_rename,
	.setattr	= gmfs_setattr,
	.getattr	= gmfs_getattr,
	.update_time	= gmfs_update_time,
	.listxattr	= gmfs_listxattr,
	.get_inode_acl	= gmfs_get_inode_acl,
	.set_acl	= gmfs_set_acl,
	.fileattr_get	= gmfs_fileattr_get,
	.fileattr_set	= gmfs_fileattr_set,
};

const struct file_operations gmfs_dir_fops = {
	.open		= gmfs_dir_open,
	.llseek		= gmfs_dir_llseek,
	.read		= generic_read_dir,
	.iterate_shared	= gmfs_readdir,
	.fsync		= noop_fsync,
	.setlease	= generic_setlease,
};
