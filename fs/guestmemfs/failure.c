// SPDX-License-Identifier: GPL-2.0
/*
 * When memory of a file fails. The pool remembers the page (numa/poison.c), and
 * faults refuse it (mmap.c). What is left to do is to find the file and to take
 * the block out of its mappings.
 */

#include <linux/fs.h>
#include <linux/mm.h>

#include "guestmemfs.h"

/* What is looked for, and what was found. */
struct search {
	struct gmfs_fs *fs;
	u64 block;
	u64 file_block;
	struct inode *found;
};

static bool unmap_failed(struct inode *inode, struct search *search)
{
	bool found;

	/* Faults that have not seen the failure are over when this is held. */
	filemap_invalidate_lock(inode->i_mapping);
	found = gmfs_extent_of(GMFS_I(inode)->gi, search->block,
			       &search->file_block);
	if (found)
		unmap_mapping_range(inode->i_mapping,
				    search->file_block << GMPOOL_BLOCK_SHIFT,
				    GMPOOL_BLOCK_SIZE, 1);
	filemap_invalidate_unlock(inode->i_mapping);
	return found;
}

/* A file without an inode in memory has no mappings. */
static void search_inodes(struct super_block *sb, void *data)
{
	struct search *search = data;
	struct inode *inode, *last = NULL;

	if (GMFS_SB(sb) != search->fs || search->found)
		return;

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		spin_lock(&inode->i_lock);
		if (inode_state_read(inode) & (I_FREEING | I_WILL_FREE | I_NEW) ||
		    !S_ISREG(inode->i_mode)) {
			spin_unlock(&inode->i_lock);
			continue;
		}
		__iget(inode);
		spin_unlock(&inode->i_lock);
		spin_unlock(&sb->s_inode_list_lock);

		/* The reference keeps this place in the list. */
		iput(last);
		last = inode;
		if (unmap_failed(inode, search)) {
			search->found = inode;
			return;
		}
		cond_resched();
		spin_lock(&sb->s_inode_list_lock);
	}
	spin_unlock(&sb->s_inode_list_lock);
	iput(last);
}

/**
 * gmfs_get_failed - find the file that has a failed block, and unmap it
 * @user: of the file system
 * @block: of its pool
 * @pgoff: filled: where in the file the block starts, in pages
 *
 * Context: process context, may sleep; takes the invalidate_lock of files.
 *
 * Return: the file's mapping, for gmfs_put_failed(); NULL if no file has the
 * block that could be mapped.
 */
struct address_space *gmfs_get_failed(struct gmpool_user *user, u64 block,
				      pgoff_t *pgoff)
{
	struct search search = {
		.fs = container_of(user, struct gmfs_fs, user),
		.block = block,
	};

	iterate_supers_type(&gmfs_type, search_inodes, &search);
	if (!search.found)
		return NULL;
	*pgoff = search.file_block * GMFS_BLOCK_PAGES;
	return search.found->i_mapping;
}

/**
 * gmfs_put_failed - the mapping is not used any more
 * @mapping: from gmfs_get_failed()
 *
 * Context: process context, may sleep.
 */
void gmfs_put_failed(struct address_space *mapping)
{
	iput(mapping->host);
}
