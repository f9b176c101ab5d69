// SPDX-License-Identifier: GPL-2.0
/*
 * File handles, for name_to_handle_at() and fanotify. A handle contains the number
 * and the generation of an inode, which are the same in the next kernel.
 */

#include <linux/exportfs.h>
#include <linux/fs.h>

#include "guestmemfs.h"

/* FILEID_INO64_GEN; with the fields of the parent, FILEID_INO64_GEN_PARENT. */
struct gmfs_fid {
	u64 ino;
	u32 generation;
	u64 parent_ino;
	u32 parent_generation;
} __packed;

#define FID_WORDS		(offsetof(struct gmfs_fid, parent_ino) / sizeof(u32))
#define FID_PARENT_WORDS	(sizeof(struct gmfs_fid) / sizeof(u32))

static int gmfs_encode_fh(struct inode *inode, u32 *fh, int *max_len,
			  struct inode *parent)
{
	struct gmfs_fid *fid = (struct gmfs_fid *)fh;
	int room = *max_len;

	*max_len = parent ? FID_PARENT_WORDS : FID_WORDS;
	if (room < *max_len)
		return FILEID_INVALID;

	fid->ino = inode->i_ino;
	fid->generation = inode->i_generation;
	if (!parent)
		return FILEID_INO64_GEN;
	fid->parent_ino = parent->i_ino;
	fid->parent_generation = parent->i_generation;
	return FILEID_INO64_GEN_PARENT;
}

static struct dentry *gmfs_find_dentry(struct super_block *sb, u64 ino,
				       u32 generation)
{
	struct inode *inode = gmfs_iget(sb, ino);

	if (!IS_ERR(inode) && inode->i_generation != generation) {
		iput(inode);
		inode = ERR_PTR(-ESTALE);
	}
	return d_obtain_alias(inode);
}

static struct dentry *gmfs_fh_to_dentry(struct super_block *sb, struct fid *fh,
					int len, int type)
{
	struct gmfs_fid *fid = (struct gmfs_fid *)fh;

	if ((type != FILEID_INO64_GEN && type != FILEID_INO64_GEN_PARENT) ||
	    len < FID_WORDS)
		return NULL;
	return gmfs_find_dentry(sb, fid->ino, fid->generation);
}

static struct dentry *gmfs_fh_to_parent(struct super_block *sb, struct fid *fh,
					int len, int type)
{
	struct gmfs_fid *fid = (struct gmfs_fid *)fh;

	if (type != FILEID_INO64_GEN_PARENT || len < FID_PARENT_WORDS)
		return NULL;
	return gmfs_find_dentry(sb, fid->parent_ino, fid->parent_generation);
}

static struct dentry *gmfs_get_parent(struct dentry *child)
{
	struct inode *inode = d_inode(child);
	struct inode *parent = ERR_PTR(-ESTALE);
	struct gmfs_inode *ci;

	/*
	 * A directory is locked while it is moved or removed, and its parent
	 * cannot be freed as long as it has an entry.
	 */
	inode_lock_shared(inode);
	ci = GMFS_I(inode)->ci->dir.parent;
	if (ci)
		parent = gmfs_iget(inode->i_sb, ci->ino);
	inode_unlock_shared(inode);
	return d_obtain_alias(parent);
}

const struct export_operations gmfs_export_ops = {
	.encode_fh	= gmfs_encode_fh,
	.fh_to_dentry	= gmfs_fh_to_dentry,
	.fh_to_parent	= gmfs_fh_to_parent,
	.get_parent	= gmfs_get_parent,
};
