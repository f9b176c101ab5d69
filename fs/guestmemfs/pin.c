// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Pins of guestmemfs
 *
 * Concepts
 * --------
 *
 * A pin keeps the blocks of a range of a file in the file and at their address in
 * memory. A driver that lets a device access the memory holds a pin, since pool memory
 * has no struct pages to take references on. A pin covers a range of a file, not of a
 * mapping: it outlives the mapping.
 *
 * An operation on a pinned block fails with EBUSY before it has changed anything. This
 * holds for every operation that removes blocks from a file, moves them to another file
 * or takes them out of the pool. The operation cannot invalidate the block instead,
 * since no driver that pins can stop a device from accessing memory. A driver that can,
 * by an MMU notifier or an invalidation callback, does not need a pin. If such a driver
 * has to be in the tree of pins, it needs its own type of node, which the operation
 * invalidates instead of failing.
 *
 * Life cycle
 * ----------
 *
 * A pin holds the file open. If the file is deleted, the eviction of its inode frees the
 * blocks after the last pin has ended; until then, the mount is busy.
 *
 * A pin ends with this kernel: devices stop at a kexec. If LUO hands over a pinned file,
 * the next kernel treats all blocks of the file as pinned until the session is finished
 * (luo.c). New pins of the file wait from the moment that LUO freezes it, since its record
 * would miss them. If the kexec fails, they go on.
 *
 * Locking
 * -------
 *
 * An operation calls gmfs_is_pinned() with the invalidate_lock held for write. A pin is
 * inserted with the invalidate_lock held for read, after all blocks of its range have
 * been found in the file. So no operation misses a pin, and no pin covers a hole.
 */

#include <linux/fs.h>
#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "guestmemfs.h"

/*
 * Count the blocks of a range that no pin of the file covers. Each step skips to the end
 * of the pin that was found, so of several pins of the same blocks only one is visited.
 */
static u64 gmfs_count_unpinned(struct gmfs_inode *ci, u64 first, u64 last)
{
	struct interval_tree_node *node;
	u64 nr = 0;

	while (first <= last) {
		node = interval_tree_iter_first(&ci->file.pins, first, last);
		if (!node)
			return nr + last - first + 1;
		if (node->start > first)
			nr += node->start - first;
		first = node->last + 1;
	}
	return nr;
}

/**
 * gmfs_pin_insert - let a pin count
 * @fs: file system
 * @pin: with its inode and its blocks, which are in the file
 *
 * Context: any that may take spinlocks; the invalidate_lock of the inode is held.
 *
 * Return: false if LUO has frozen the file, so that the pin does not count.
 */
bool gmfs_pin_insert(struct gmfs_fs *fs, struct guestmem_pin *pin)
{
	struct gmfs_inode *ci = pin->ci;
	u64 more;

	guard(spinlock)(&fs->pin_lock);

	if (ci->file.pins_frozen)
		return false;
	more = gmfs_count_unpinned(ci, pin->blocks.start, pin->blocks.last);
	ci->file.pinned += more;
	fs->pinned_blocks += more;
	interval_tree_insert(&pin->blocks, &ci->file.pins);
	list_add_tail(&pin->list, &fs->pins);
	return true;
}

/**
 * gmfs_pin_remove - let a pin count no more
 * @fs: file system
 * @pin: from gmfs_pin_insert()
 *
 * Context: any that may take spinlocks.
 */
void gmfs_pin_remove(struct gmfs_fs *fs, struct guestmem_pin *pin)
{
	struct gmfs_inode *ci = pin->ci;
	u64 less;

	guard(spinlock)(&fs->pin_lock);

	list_del(&pin->list);
	interval_tree_remove(&pin->blocks, &ci->file.pins);
	less = gmfs_count_unpinned(ci, pin->blocks.start, pin->blocks.last);
	ci->file.pinned -= less;
	fs->pinned_blocks -= less;
}

/**
 * gmfs_pins_cover - check whether a block of a range of a file is pinned
 * @fs: file system
 * @ci: a regular file
 * @first: first block of the range, in blocks of the file
 * @end: first block after the range
 *
 * Context: any that may take spinlocks; extents of the file do not change.
 *
 * Return: true if one is.
 */
bool gmfs_pins_cover(struct gmfs_fs *fs, struct gmfs_inode *ci, u64 first, u64 end)
{
	if (first >= end)
		return false;
	guard(spinlock)(&fs->pin_lock);
	return interval_tree_iter_first(&ci->file.pins, first, end - 1) ||
	       (ci->file.inherited && gmfs_extent_any(ci, first, end));
}

/**
 * gmfs_is_pinned - check whether a range of a file has pinned blocks
 * @inode: a regular file
 * @first: first block of the range, in blocks of the file
 * @end: first block after the range
 *
 * The answer holds as long as the caller holds the invalidate_lock for write.
 *
 * Context: any that may take spinlocks; the invalidate_lock is held.
 *
 * Return: true if a block of the range is pinned.
 */
bool gmfs_is_pinned(struct inode *inode, u64 first, u64 end)
{
	rwsem_assert_held(&inode->i_mapping->invalidate_lock);

	return gmfs_pins_cover(GMFS_FS(inode->i_sb), GMFS_I(inode)->ci, first, end);
}

/**
 * gmfs_pins_freeze - make new pins of a file wait, and check whether it has pins
 * @fs: file system
 * @ci: a regular file
 *
 * Each call needs a gmfs_pins_thaw(). Pins can still end.
 *
 * Context: any that may take spinlocks; the invalidate_lock of the inode is held.
 *
 * Return: true if a block of the file is pinned.
 */
bool gmfs_pins_freeze(struct gmfs_fs *fs, struct gmfs_inode *ci)
{
	scoped_guard(spinlock, &fs->pin_lock)
		ci->file.pins_frozen++;
	return gmfs_pins_cover(fs, ci, 0, GMFS_MAX_BLOCKS);
}

/**
 * gmfs_pins_thaw - let waiting pins of a file go on
 * @fs: file system
 * @ci: file of gmfs_pins_freeze()
 *
 * Context: any that may take spinlocks.
 */
void gmfs_pins_thaw(struct gmfs_fs *fs, struct gmfs_inode *ci)
{
	scoped_guard(spinlock, &fs->pin_lock)
		ci->file.pins_frozen--;
	wake_up_all(&fs->pins_thawed);
}

/**
 * gmfs_pinned_blocks - count the pinned blocks of a node
 * @fs: file system
 *
 * Context: any that may take spinlocks.
 *
 * Return: number of blocks; a block with several pins counts once.
 */
u64 gmfs_pinned_blocks(struct gmfs_fs *fs)
{
	const struct guestmem_pin *pin;
	u64 nr;

	guard(spinlock)(&fs->pin_lock);

	nr = fs->pinned_blocks;
	/* The pins of the previous kernel come first. */
	list_for_each_entry(pin, &fs->pins, list) {
		if (pin->file)
			break;
		nr += READ_ONCE(pin->ci->file.blocks) - pin->ci->file.pinned;
	}
	return nr;
}

/**
 * gmfs_has_pins - check whether any file of a node is pinned
 * @fs: file system
 *
 * Context: any that may take spinlocks.
 *
 * Return: true if there is a pin, of this kernel or of the previous one.
 */
bool gmfs_has_pins(struct gmfs_fs *fs)
{
	guard(spinlock)(&fs->pin_lock);
	return !list_empty(&fs->pins);
}

/**
 * gmfs_pins_inherit - list the pins of the previous kernel on preserved files
 * @fs: file system, not yet published
 *
 * Context: boot.
 */
void __init gmfs_pins_inherit(struct gmfs_fs *fs)
{
	struct guestmem_pin *pin;
	struct gmfs_inode *ci;
	unsigned long ino;

	xa_for_each(&fs->image.inodes, ino, ci) {
		if (!S_ISREG(ci->rec->mode) || !ci->file.inherited)
			continue;
		pin = kzalloc_obj(*pin, GFP_KERNEL | __GFP_NOFAIL);
		pin->ci = ci;
		pin->len = gmfs_blocks_up(ci->rec->size) << GMPOOL_BLOCK_SHIFT;
		pin->write = true;
		list_add_tail(&pin->list, &fs->pins);
	}
}

/**
 * gmfs_pins_disinherit - end the pins of the previous kernel on a preserved file
 * @fs: file system
 * @ci: inode of the file
 *
 * Called once for each open file that LUO has finished. The last call ends the pins.
 *
 * Context: process context.
 */
void gmfs_pins_disinherit(struct gmfs_fs *fs, struct gmfs_inode *ci)
{
	struct guestmem_pin *pin;

	guard(spinlock)(&fs->pin_lock);

	if (!ci->file.inherited || --ci->file.inherited)
		return;
	list_for_each_entry(pin, &fs->pins, list) {
		if (pin->file || pin->ci != ci)
			continue;
		list_del(&pin->list);
		kfree(pin);
		break;
	}
}
