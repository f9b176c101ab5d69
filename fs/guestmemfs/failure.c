// SPDX-License-Identifier: GPL-2.0
/*
 * Memory failures in files. The pool records the page (numa/poison.c), and faults
 * on it fail (mmap.c). This file finds the file of the block, and unmaps the block.
 */

#include <linux/fs.h>
#include <linux/mm.h>

#include "guestmemfs.h"

/* Unmap @block if it is in the file, and set @file_block to its offset there. */
static bool gmfs_unmap_failed(struct inode *inode, u64 block, u64 *file_block)
{
	bool found;

	/* This waits for faults that have not seen the failure. */
	filemap_invalidate_lock(inode->i_mapping);
	found = gmfs_extent_of(GMFS_I(inode)->ci, block, file_block);
	if (found) {
		gmfs_unmap_start(inode, *file_block, *file_block + 1);
		gmfs_unmap_end(inode, *file_block, *file_block + 1);
	}
	filemap_invalidate_unlock(inode->i_mapping);
	return found;
}

/*
 * Returns true if the inode can have mappings. A mapping holds an open file. An inode
 * that iget_failed() is about to drop is S_IFREG and has no record.
 */
static bool gmfs_may_be_mapped(struct inode *inode)
{
	lockdep_assert_held(&inode->i_lock);

	return S_ISREG(inode->i_mode) && icount_read(inode) &&
	       GMFS_I(inode)->ci &&
	       !(inode_state_read(inode) & (I_FREEING | I_WILL_FREE | I_NEW));
}

/* Returns the inode that has @block, with a reference, or NULL. */
static struct inode *gmfs_find_failed(struct super_block *sb, u64 block,
				      u64 *file_block)
{
	struct inode *inode, *last = NULL;

	/* A block must not move to a file that was looked at before. */
	lockdep_assert_held_write(&GMFS_FS(sb)->exchange_lock);

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		spin_lock(&inode->i_lock);
		if (!gmfs_may_be_mapped(inode)) {
			spin_unlock(&inode->i_lock);
			continue;
		}
		__iget(inode);
		spin_unlock(&inode->i_lock);
		spin_unlock(&sb->s_inode_list_lock);

		/* The reference keeps the inode in the list. */
		gmfs_delayed_iput(last);
		last = inode;
		if (gmfs_unmap_failed(inode, block, file_block))
			return inode;
		cond_resched();
		spin_lock(&sb->s_inode_list_lock);
	}
	spin_unlock(&sb->s_inode_list_lock);
	gmfs_delayed_iput(last);
	return NULL;
}

/**
 * gmfs_get_failed - find the file that has a failed block, and unmap it
 * @client: client of the pool
 * @block: block of the pool
 * @pgoff: set to the offset of the block in the file, in pages
 *
 * Takes a reference to the super block too. Otherwise the last umount() would find
 * an inode in use. If there is a file, gmfs_fs.exchange_lock is held on return, so that
 * memory_failure() does not send a signal for another block that an exchange has moved
 * to @pgoff.
 *
 * Context: process context, may sleep; takes gmfs_fs.exchange_lock, and the
 * invalidate_lock of files.
 *
 * Return: the mapping of the file, for gmfs_put_failed(); NULL if no file that could
 * be mapped has the block, or the file is private.
 */
struct address_space *gmfs_get_failed(struct gmpool_client *client, u64 block,
				      pgoff_t *pgoff)
{
	struct gmfs_fs *fs = container_of(client, struct gmfs_fs, client);
	struct super_block *sb = gmfs_get_sb(fs);
	struct inode *inode;
	u64 file_block;

	if (!sb)
		return NULL;
	down_write(&fs->exchange_lock);
	inode = gmfs_find_failed(sb, block, &file_block);
	/* A process that has mapped a private file cannot access it. */
	if (!inode || gmfs_is_private(inode)) {
		up_write(&fs->exchange_lock);
		gmfs_delayed_iput(inode);
		deactivate_super(sb);
		return NULL;
	}
	*pgoff = file_block * GMFS_BLOCK_PAGES;
	return inode->i_mapping;
}

/**
 * gmfs_put_failed - drop the references that gmfs_get_failed() has taken
 * @mapping: from gmfs_get_failed()
 *
 * Context: the task that called gmfs_get_failed(), may sleep; releases
 * gmfs_fs.exchange_lock.
 */
void gmfs_put_failed(struct address_space *mapping)
{
	struct super_block *sb = mapping->host->i_sb;

	up_write(&GMFS_FS(sb)->exchange_lock);
	gmfs_delayed_iput(mapping->host);
	deactivate_super(sb);
}
