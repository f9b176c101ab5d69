// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Clients of guestmemfs
 *
 * Concepts
 * --------
 *
 * A client uses the memory of a file by pfn and holds no reference to it: KVM, for a
 * guest_memfd whose memory is the file. A file has at most one client. The client
 * attaches a number of bytes from the start of the file. A truncation of attached bytes
 * fails. Attached blocks can be punched: the client removes its translations of them
 * before they are freed, like the page tables of processes.
 *
 * A client attaches a file as shared or as private. No process can map a private file,
 * and no device can access it. The flag GMFS_INODE_PRIVATE is in the record of the
 * inode, so the file stays private after the client has detached it, and after a kexec.
 * A change of size or a punched hole clears the flag, if the file then has neither
 * blocks nor a client: a process can map the file again only after its private contents
 * are lost.
 *
 * A kernel that does not know the flag must not map private files. So while there is one,
 * GMFS_FEATURE_INCOMPAT_PRIVATE is set in the super block of the file system, and
 * GMPOOL_FEATURE_INCOMPAT_PRIVATE in that of the pool. Such a kernel keeps the pool,
 * unused.
 *
 * Locking
 * -------
 *
 * The invalidate_lock guards gmfs_inode.file.client and GMFS_INODE_PRIVATE. Faults
 * (mmap.c) and pins (pin.c) hold it shared, so each of them is complete before a change,
 * or sees it. A change of the flag also holds i_rwsem, because chattr(1) changes other
 * flags of the same field. The order is::
 *
 *   i_rwsem > fill_lock > invalidate_lock > operation of the pool > gmfs_image.lock
 *   KVM's slots_lock > invalidate_lock > KVM's mmu_lock
 *
 * Nothing here takes slots_lock. An operation that frees blocks holds the
 * invalidate_lock for write over these steps: unmap_mapping_range(), invalidate_start()
 * of the client, extents and blocks, invalidate_end() of the client.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/export.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/guestmem_client.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "guestmemfs.h"

#define GMFS_ATTACH_MARK	1
#define GMFS_ATTACH_FILL	2

/**
 * gmfs_client_forbids - check whether a client forbids to truncate a file
 * @inode: a regular file
 * @size: new size in bytes
 *
 * Context: the invalidate_lock is held.
 *
 * Return: true if a client has attached a byte behind @size.
 */
bool gmfs_client_forbids(struct inode *inode, loff_t size)
{
	const struct guestmem_client *client = GMFS_I(inode)->ci->file.client;

	rwsem_assert_held(&inode->i_mapping->invalidate_lock);

	return client && size < client->len;
}

/**
 * gmfs_has_client - check whether a client has attached a file
 * @inode: a regular file
 *
 * Context: the invalidate_lock is held.
 *
 * Return: true if the file has a client.
 */
bool gmfs_has_client(struct inode *inode)
{
	rwsem_assert_held(&inode->i_mapping->invalidate_lock);

	return GMFS_I(inode)->ci->file.client;
}

/**
 * gmfs_size_forbidden - check early whether pins or a client forbid to truncate a file
 * @inode: a regular file
 * @size: new size in bytes
 *
 * For checks before gmfs_resize(), which checks again: a pin or a client can come or go
 * after the answer.
 *
 * Context: process context, may sleep; takes the invalidate_lock shared.
 *
 * Return: true if a block behind @size is pinned, or if a client has attached a byte
 * there.
 */
bool gmfs_size_forbidden(struct inode *inode, loff_t size)
{
	bool forbidden;

	filemap_invalidate_lock_shared(inode->i_mapping);
	forbidden = gmfs_client_forbids(inode, size) ||
		    gmfs_is_pinned(inode, gmfs_blocks_up(size),
				   GMFS_MAX_BLOCKS);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	return forbidden;
}

/**
 * gmfs_count_clients - count the files that have a client
 * @fs: file system
 *
 * Context: any that may take spinlocks.
 *
 * Return: number of files.
 */
u64 gmfs_count_clients(struct gmfs_fs *fs)
{
	guard(spinlock)(&fs->pin_lock);
	return fs->nr_clients;
}

/* Call the client if it has attached a page of the range, which is in blocks. */
static void gmfs_invalidate(struct inode *inode, u64 first, u64 end, bool start)
{
	struct guestmem_client *client = GMFS_I(inode)->ci->file.client;

	rwsem_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (!client)
		return;
	end = min(end, gmfs_blocks_up(client->len));
	if (first >= end)
		return;
	if (start)
		client->ops->invalidate_start(client, first * GMFS_BLOCK_PAGES,
					      end * GMFS_BLOCK_PAGES);
	else
		client->ops->invalidate_end(client, first * GMFS_BLOCK_PAGES,
					    end * GMFS_BLOCK_PAGES);
}

/**
 * gmfs_unmap_start - drop the translations of a range, of processes and of the client
 * @inode: a regular file
 * @first: first block of the range, in blocks of the file
 * @end: first block after the range
 *
 * The caller calls gmfs_unmap_end() with the same range before it drops the lock.
 *
 * Context: process context, may sleep, not within an operation; the invalidate_lock
 * is held for write.
 */
void gmfs_unmap_start(struct inode *inode, u64 first, u64 end)
{
	unmap_mapping_range(inode->i_mapping, first << GMPOOL_BLOCK_SHIFT,
			    (end - first) << GMPOOL_BLOCK_SHIFT, 1);
	gmfs_invalidate(inode, first, end, true);
}

/**
 * gmfs_unmap_end - let the client make translations of a range again
 * @inode: the file
 * @first: as for gmfs_unmap_start()
 * @end: as for gmfs_unmap_start()
 *
 * Context: process context, may sleep, not within an operation; the invalidate_lock
 * is held for write.
 */
void gmfs_unmap_end(struct inode *inode, u64 first, u64 end)
{
	gmfs_invalidate(inode, first, end, false);
}

/**
 * gmfs_sync_private - record in the pool whether there are private files
 * @fs: file system, after a change of the number of private files
 *
 * Context: process context, may sleep, within an operation; takes gmfs_image.lock.
 */
void gmfs_sync_private(struct gmfs_fs *fs)
{
	/* Held over both, so that the pool gets the newest of two concurrent changes. */
	guard(mutex)(&fs->image.lock);
	gmpool_set_private(fs->pool, fs->image.nr_private);
}

/**
 * gmfs_end_private - make a private file ordinary if its contents are lost
 * @inode: a regular file, after blocks of it were freed
 *
 * Does nothing if the file has blocks or a client.
 *
 * Context: within an operation; i_rwsem is held, and the invalidate_lock for write.
 */
void gmfs_end_private(struct inode *inode)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;

	rwsem_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (gmfs_is_private(inode) && !ci->file.blocks && !ci->file.client) {
		gmfs_ino_set_private(&GMFS_FS(inode->i_sb)->image, ci, false);
		gmfs_sync_private(GMFS_FS(inode->i_sb));
	}
}

/* After this, no process can access the memory. */
static void gmfs_make_private(struct inode *inode)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	unsigned int flags;

	flags = gmpool_op_begin(fs->pool);
	gmfs_ino_set_private(&fs->image, GMFS_I(inode)->ci, true);
	gmfs_sync_private(fs);
	gmpool_op_end(fs->pool, flags);
	/* A fault waits for the invalidate_lock, and then sees the flag. */
	unmap_mapping_range(inode->i_mapping, 0, 0, 1);
}

static bool gmfs_any_hole(struct gmfs_inode *ci, u64 end)
{
	struct gmpool_range range;
	u64 first;

	for (first = 0; first < end; first += range.count)
		if (!gmfs_extent_find(ci, first, &range))
			return true;
	return false;
}

/*
 * Returns 0, an error, GMFS_ATTACH_MARK if the flag must be set and @may_mark is false,
 * or GMFS_ATTACH_FILL if there is a hole.
 */
static int gmfs_attach_client(struct guestmem_client *client, bool may_mark)
{
	struct inode *inode = file_inode(client->file);
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	bool mark = client->private && !gmfs_is_private(inode);

	rwsem_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (client->len > i_size_read(inode))
		return -EINVAL;
	if (ci->file.client)
		return -EBUSY;
	if (!client->private && gmfs_is_private(inode))
		return -EACCES;
	if (client->private && gmfs_is_pinned(inode, 0, GMFS_MAX_BLOCKS))
		return -EBUSY;
	if (mark && (IS_IMMUTABLE(inode) || IS_APPEND(inode)))
		return -EPERM;
	if (gmfs_any_hole(ci, gmfs_blocks_up(client->len)))
		return GMFS_ATTACH_FILL;
	if (mark && !may_mark)
		return GMFS_ATTACH_MARK;
	if (mark)
		gmfs_make_private(inode);
	ci->file.client = client;

	guard(spinlock)(&fs->pin_lock);

	list_add_tail(&client->list, &fs->clients);
	fs->nr_clients++;
	return 0;
}

static int gmfs_attach_filled(struct guestmem_client *client, bool may_mark)
{
	struct inode *inode = file_inode(client->file);
	int err;

	while (true) {
		inode_lock(inode);
		filemap_invalidate_lock(inode->i_mapping);
		err = gmfs_attach_client(client, may_mark);
		filemap_invalidate_unlock(inode->i_mapping);
		inode_unlock(inode);
		if (err != GMFS_ATTACH_FILL)
			return err;
		/*
		 * Without i_rwsem: LUO takes that, and must not wait for a thaw. A hole
		 * that another task punches after this is found, and filled too.
		 */
		err = gmfs_fill_mapped(inode, 0, gmfs_blocks_up(client->len));
		if (err)
			return err;
	}
}

/**
 * guestmem_attach - attach a client to a file
 * @client: the client; it has set @client->ops
 * @file: an open file
 * @len: bytes from the start of the file, a multiple of PAGE_SIZE and not 0
 * @private: make the file private, unless it is
 *
 * Fills all holes in the range. The callbacks can be called before this function
 * returns.
 *
 * Context: process context, may sleep; takes i_rwsem, gmfs_inode_info.fill_lock and
 * the invalidate_lock. If the node is frozen, waits for the thaw before it fills a hole
 * or makes the file private.
 *
 * Return: 0; -EINVAL if @file is no file of guestmemfs, for @len, or if the file is
 * smaller than @len; -EBUSY if the file has a client, or if @private and the file is
 * pinned for a device; -EACCES if the file is not open for reading and writing, or if it
 * is private and @private is false; -EPERM if @private and the file is not private, but
 * immutable or append-only; -ENOSPC, -EDQUOT, -EROFS, -EINTR or -ENOMEM if a hole cannot
 * be filled; -EINTR if the task is being killed. On error, only holes may have been
 * filled.
 */
int guestmem_attach(struct guestmem_client *client, struct file *file, u64 len,
		    bool private)
{
	int err;

	if (file->f_op != &gmfs_file_fops || !PAGE_ALIGNED(len) || !len ||
	    len > GMFS_MAX_SIZE)
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ) || !(file->f_mode & FMODE_WRITE))
		return -EACCES;

	client->file = get_file(file);
	client->len = len;
	client->private = private;
	client->pid = task_tgid_nr(current);
	scoped_guard(rcu)
		get_task_comm(client->comm, current->group_leader);

	err = gmfs_attach_filled(client, false);
	if (err == GMFS_ATTACH_MARK) {
		/* The file is open for writing, so the mount is writable. */
		err = gmfs_start_change(file_inode(file)->i_sb, SB_FREEZE_WRITE);
		if (!err) {
			err = gmfs_attach_filled(client, true);
			sb_end_write(file_inode(file)->i_sb);
		}
	}
	if (err)
		fput(client->file);
	return err;
}
EXPORT_SYMBOL_FOR_MODULES(guestmem_attach, "kvm");

/**
 * guestmem_detach - detach a client from its file
 * @client: from guestmem_attach(); it has no translation of the memory any more
 *
 * A private file stays private. No callback is running or follows when this function
 * returns.
 *
 * Context: process context, may sleep; takes the invalidate_lock.
 */
void guestmem_detach(struct guestmem_client *client)
{
	struct inode *inode = file_inode(client->file);
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);

	filemap_invalidate_lock(inode->i_mapping);
	GMFS_I(inode)->ci->file.client = NULL;
	spin_lock(&fs->pin_lock);
	list_del(&client->list);
	fs->nr_clients--;
	spin_unlock(&fs->pin_lock);
	filemap_invalidate_unlock(inode->i_mapping);
	fput(client->file);
}
EXPORT_SYMBOL_FOR_MODULES(guestmem_detach, "kvm");

/**
 * guestmem_client_pfn - get the page frame number of a page of an attached file
 * @client: from guestmem_attach()
 * @pgoff: index of the page in the file, within the attached bytes
 * @pfn: set to the page frame number, which has no struct page
 * @order: set to the order of the largest naturally aligned range around the page that
 *	is contiguous and equally aligned in memory, and has no failed page: the order of
 *	a PUD, of a PMD, or 0. The range may extend behind the attached bytes.
 *
 * The result is valid until invalidate_start() is called for a range that overlaps the
 * range of @order. That is not called for blocks behind the attached bytes, so the client
 * maps none of these.
 *
 * Context: the invalidate_lock is held.
 *
 * Return: 0; -ENODATA for a hole, see guestmem_client_fill(); -EHWPOISON if the page has
 * failed; -EFAULT behind the end of the file.
 */
int guestmem_client_pfn(const struct guestmem_client *client, pgoff_t pgoff,
			unsigned long *pfn, int *order)
{
	static const int orders[] = { PUD_ORDER, PMD_ORDER, 0 };
	struct inode *inode = file_inode(client->file);
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		err = gmfs_leaf_pfn(inode, pgoff, orders[i], pfn);
		if (err == -E2BIG)
			continue;
		if (err)
			return err;
		*pfn += pgoff % max(GMFS_BLOCK_PAGES, BIT_ULL(orders[i]));
		*order = orders[i];
		return 0;
	}
	return -EFAULT;
}
EXPORT_SYMBOL_FOR_MODULES(guestmem_client_pfn, "kvm");

/**
 * guestmem_client_fill - fill a hole of an attached file
 * @client: from guestmem_attach()
 * @pgoff: index of a page in the hole; its block is filled
 *
 * Context: process context, may sleep; takes gmfs_inode_info.fill_lock and the
 * invalidate_lock. Waits for the thaw if the node is frozen, until a fatal signal.
 *
 * Return: 0; -ENOSPC; -EDQUOT if the block exceeds the limit of the task's cgroup;
 * -EROFS; -EINTR if the task is being killed; -ENOMEM.
 */
int guestmem_client_fill(const struct guestmem_client *client, pgoff_t pgoff)
{
	u64 block = pgoff / GMFS_BLOCK_PAGES;

	return gmfs_fill_mapped(file_inode(client->file), block, block + 1);
}
EXPORT_SYMBOL_FOR_MODULES(guestmem_client_fill, "kvm");
