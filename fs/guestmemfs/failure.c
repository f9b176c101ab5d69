// SPDX-License-Identifier: GPL-2.0
/*
 * When memory of a file fails. The pool remembers the page (numa/poison.c), and
 * faults refuse it (mmap.c). What is left to do is to find the file and to take
 * the block out of its mappings.
 */

#include <linux/fs.h>
#include <linux/mm.h>

#include "guestmemfs.h"

/* Is @block in the file? Then unmap it there. @file_block: its place in the file. */
static bool gmfs_unmap_failed(struct inode *inode, u64 block, u64 *file_block)
{
	bool found;

	/* Faults that have not seen the failure are over when this is held. */
	filemap_invalidate_lock(inode->i_mapping);
	found = gmfs_extent_of(GMFS_I(inode)->ci, block, file_block);
	if (found)
		unmap_mapping_range(inode->i_mapping,
				    *file_block << GMPOOL_BLOCK_SHIFT,
				    GMPOOL_BLOCK_SIZE, 1);
	filemap_invalidate_unlock(inode->i_mapping);
	return found;
}

/*
 * Can the inode have mappings? A mapping holds an open file. One that iget_failed()
 * is about to drop is S_IFREG and has no record.
 */
static bool gmfs_may_be_mapped(struct inode *inode)
{
	lockdep_assert_held(&inode->i_lock);

	return S_ISREG(inode->i_mode) && icount_read(inode) &&
	       GMFS_I(inode)->ci &&
	       !(inode_state_read(inode) & (I_FREEING | I_WILL_FREE | I_NEW));
}

/* The inode that has @block, with a reference, or NULL. */
static struct inode *gmfs_find_failed(struct super_block *sb, u64 block,
				      u64 *file_block)
{
	struct inode *inode, *last = NULL;

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

		/* The reference keeps this place in the list. */
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
 * @client: of the file system
 * @block: of its pool
 * @pgoff: filled: where in the file the block starts, in pages
 *
 * The super block is held as long as the mapping is used: the last umount() would
 * else find an inode that is in use.
 *
 * Context: process context, may sleep; takes the invalidate_lock of files.
 *
 * Return: the file's mapping, for gmfs_put_failed(); NULL if no file has the
 * block that could be mapped.
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
	inode = gmfs_find_failed(sb, block, &file_block);
	if (!inode) {
		deactivate_super(sb);
		return NULL;
	}
	*pgoff = file_block * GMFS_BLOCK_PAGES;
	return inode->i_mapping;
}

/**
 * gmfs_put_failed - the mapping is not used any more
 * @mapping: from gmfs_get_failed()
 *
 * Context: process context, may sleep.
 */
void gmfs_put_failed(struct address_space *mapping)
{
	struct super_block *sb = mapping->host->i_sb;

	gmfs_delayed_iput(mapping->host);
	deactivate_super(sb);
}
