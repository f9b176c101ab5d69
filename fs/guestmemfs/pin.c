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

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/export.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/guestmem_dma.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include <trace/events/guestmemfs.h>

#include "guestmemfs.h"

static bool gmfs_is_file(const struct file *file)
{
	return file && file->f_op == &gmfs_file_fops;
}

static struct gmfs_fs *gmfs_fs_of_file(const struct file *file)
{
	return GMFS_FS(file_inode(file)->i_sb);
}

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

/* Does a file have blocks in a range? */
static bool gmfs_has_blocks(const struct gmfs_inode *ci, u64 first, u64 end)
{
	struct gmpool_range range;

	return gmfs_extent_find(ci, first, &range) || range.count < end - first;
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
	       (ci->file.inherited && gmfs_has_blocks(ci, first, end));
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
 * gmfs_pins_forbid - check early whether pins forbid to truncate a file
 * @inode: a regular file
 * @size: new size in bytes
 *
 * For checks before gmfs_resize(), which checks again: a pin can be made or end after
 * the answer.
 *
 * Context: process context, may sleep; takes the invalidate_lock shared.
 *
 * Return: true if a block behind @size is pinned.
 */
bool gmfs_pins_forbid(struct inode *inode, loff_t size)
{
	bool pinned;

	filemap_invalidate_lock_shared(inode->i_mapping);
	pinned = gmfs_is_pinned(inode, gmfs_blocks_up(size), GMFS_MAX_BLOCKS);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	return pinned;
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

/* Pages from @pgoff to the end of the range, at most to @end. */
static u64 gmfs_pages_of_range(const struct gmpool_range *range, u64 pgoff, u64 end)
{
	return min(range->count * GMFS_BLOCK_PAGES - pgoff % GMFS_BLOCK_PAGES,
		   end - pgoff);
}

/*
 * Check that the file has all blocks of the range. -EINVAL if the range exceeds the last
 * block of the file; -EHWPOISON for a failed page; -EAGAIN for a hole.
 */
static int gmfs_pin_check(const struct guestmem_pin *pin)
{
	struct inode *inode = file_inode(pin->file);
	u64 size = gmfs_blocks_up(i_size_read(inode)) << GMPOOL_BLOCK_SHIFT;
	u64 pgoff = pin->start >> PAGE_SHIFT;
	u64 end = pgoff + (pin->len >> PAGE_SHIFT);
	struct gmpool *pool = GMFS_FS(inode->i_sb)->pool;
	struct gmpool_range range;
	u64 nr;

	rwsem_assert_held(&inode->i_mapping->invalidate_lock);

	if (pin->len > size || pin->start > size - pin->len)
		return -EINVAL;
	for (; pgoff < end; pgoff += nr) {
		if (!gmfs_extent_find(GMFS_I(inode)->ci,
				      pgoff / GMFS_BLOCK_PAGES, &range))
			return -EAGAIN;
		nr = gmfs_pages_of_range(&range, pgoff, end);
		if (gmpool_has_poison(pool, range.start * GMFS_BLOCK_PAGES +
				      pgoff % GMFS_BLOCK_PAGES, nr))
			return -EHWPOISON;
	}
	return 0;
}

/* As gmfs_pin_check(); -EBUSY if LUO has frozen the file. */
static int gmfs_pin_try(struct guestmem_pin *pin)
{
	struct address_space *mapping = file_inode(pin->file)->i_mapping;
	int err;

	filemap_invalidate_lock_shared(mapping);
	err = gmfs_pin_check(pin);
	if (!err && !gmfs_pin_insert(gmfs_fs_of_file(pin->file), pin))
		err = -EBUSY;
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

/* Until all of a range is in the file, and LUO has not frozen it. 0 or an error. */
static int gmfs_pin_prepare(struct guestmem_pin *pin, int why)
{
	if (why == -EAGAIN)
		return gmfs_fill_mapped(file_inode(pin->file), pin->blocks.start,
					pin->blocks.last + 1);
	if (wait_event_killable(gmfs_fs_of_file(pin->file)->pins_thawed,
				!READ_ONCE(pin->ci->file.pins_frozen)))
		return -EINTR;
	return 0;
}

static void gmfs_pin_note_task(struct guestmem_pin *pin)
{
	pin->pid = task_tgid_nr(current);
	guard(rcu)();
	get_task_comm(pin->comm, current->group_leader);
}

/**
 * guestmem_pin_file - pin a range of a file for a device
 * @file: an open file
 * @start: first byte, a multiple of PAGE_SIZE
 * @len: bytes, a multiple of PAGE_SIZE and not 0
 * @write: the device may write
 *
 * Holes in the range are filled. The range may reach to the end of the block that
 * the file ends in, as a mapping does.
 *
 * Context: process context, may sleep, also with an mmap_lock held; takes
 * gmfs_inode_info.fill_lock and the invalidate_lock. The file may be frozen: a pin
 * that has to fill a hole waits for the thaw. If LUO hands the file over in a kexec that
 * has begun, each pin waits; it goes on if the kexec fails. A fatal signal ends both.
 *
 * Return: the pin, for guestmem_unpin(); NULL if it is no file of guestmemfs; or an
 * ERR_PTR: -EINVAL for @start or @len, also behind the end of the file; -EACCES if
 * the file is not open for reading, or not for writing if @write; -EHWPOISON if a
 * page in the range has failed; -ENOSPC, -EDQUOT or -EROFS if a hole cannot be filled;
 * -EINTR if a fatal signal has ended the wait; -ENOMEM.
 */
struct guestmem_pin *guestmem_pin_file(struct file *file, u64 start, u64 len,
				       bool write)
{
	struct guestmem_pin *pin;
	int err;

	if (!gmfs_is_file(file))
		return NULL;
	if (!PAGE_ALIGNED(start | len) || !len || start > GMFS_MAX_SIZE ||
	    len > GMFS_MAX_SIZE - start)
		return ERR_PTR(-EINVAL);
	if (!(file->f_mode & FMODE_READ) ||
	    (write && !(file->f_mode & FMODE_WRITE)))
		return ERR_PTR(-EACCES);

	pin = kzalloc_obj(*pin, GFP_KERNEL_ACCOUNT);
	if (!pin)
		return ERR_PTR(-ENOMEM);
	pin->blocks.start = gmfs_blocks_down(start);
	pin->blocks.last = gmfs_blocks_up(start + len) - 1;
	pin->ci = GMFS_I(file_inode(file))->ci;
	pin->file = get_file(file);
	pin->start = start;
	pin->len = len;
	pin->write = write;
	gmfs_pin_note_task(pin);

	/* Another task can punch a hole after the fill: try again. */
	while ((err = gmfs_pin_try(pin)) == -EAGAIN || err == -EBUSY) {
		err = gmfs_pin_prepare(pin, err);
		if (err)
			break;
	}
	if (err) {
		fput(pin->file);
		kfree(pin);
		return ERR_PTR(err);
	}
	trace_guestmemfs_pin(gmpool_nid(gmfs_fs_of_file(file)->pool),
			     file_inode(file)->i_ino, start, len, write);
	return pin;
}
EXPORT_SYMBOL_GPL(guestmem_pin_file);

/* Is the range within the mapping, and readable or writable? The checks of GUP. */
static bool gmfs_vma_covers(const struct vm_area_struct *vma, unsigned long addr,
			    u64 len, bool write)
{
	return addr >= vma->vm_start && addr < vma->vm_end &&
	       len <= vma->vm_end - addr && vma->vm_flags & VM_READ &&
	       (!write || vma->vm_flags & VM_WRITE);
}

/*
 * Get the file of a range of a mapping, with a reference. Parameters and errors are those
 * of guestmem_pin_vma(). @start is set to the offset of the range in the file.
 */
static struct file *gmfs_get_mapped_file(const struct vm_area_struct *vma,
					 unsigned long addr, u64 len, bool write,
					 u64 *start)
{
	if (!gmfs_is_file(vma->vm_file))
		return NULL;
	if (!PAGE_ALIGNED(addr | len) || !len)
		return ERR_PTR(-EINVAL);
	if (!gmfs_vma_covers(vma, addr, len, write))
		return ERR_PTR(-EFAULT);
	*start = ((u64)vma->vm_pgoff << PAGE_SHIFT) + addr - vma->vm_start;
	return get_file(vma->vm_file);
}

/**
 * guestmem_pin_vma - pin the range of a file that a range of a mapping maps
 * @vma: a mapping
 * @addr: first address, a multiple of PAGE_SIZE
 * @len: bytes, a multiple of PAGE_SIZE and not 0
 * @write: the device may write
 *
 * A mapping of guestmemfs is recognized by its file, since a file system that maps a
 * file of another one can replace vm_ops. The pin does not depend on the mapping and
 * outlives it.
 *
 * Context: as guestmem_pin_file(); mmap_lock is held.
 *
 * Return: as guestmem_pin_file(); NULL if @vma does not map a file of guestmemfs; also
 * -EFAULT if the mapping does not cover the range, is not readable, or not writable
 * if @write.
 */
struct guestmem_pin *guestmem_pin_vma(struct vm_area_struct *vma,
				      unsigned long addr, u64 len, bool write)
{
	struct guestmem_pin *pin;
	struct file *file;
	u64 start;

	mmap_assert_locked(vma->vm_mm);

	file = gmfs_get_mapped_file(vma, addr, len, write, &start);
	if (IS_ERR_OR_NULL(file))
		return ERR_CAST(file);
	pin = guestmem_pin_file(file, start, len, write);
	fput(file);
	return pin;
}
EXPORT_SYMBOL_GPL(guestmem_pin_vma);

/**
 * guestmem_pin_user - pin the range of a file at an address of a process
 * @mm: the address space
 * @addr: first address, a multiple of PAGE_SIZE; it may have a tag, as for GUP
 * @len: bytes, a multiple of PAGE_SIZE and not 0
 * @write: the device may write
 *
 * Context: as guestmem_pin_file(); takes mmap_lock of @mm to look up the mapping.
 *
 * Return: as guestmem_pin_vma(); NULL if there is no mapping of guestmemfs at @addr.
 */
struct guestmem_pin *guestmem_pin_user(struct mm_struct *mm, unsigned long addr,
				       u64 len, bool write)
{
	struct vm_area_struct *vma;
	struct guestmem_pin *pin;
	struct file *file;
	u64 start;

	if (mmap_read_lock_killable(mm))
		return ERR_PTR(-EINTR);
	addr = untagged_addr_remote(mm, addr);
	vma = vma_lookup(mm, addr);
	file = vma ? gmfs_get_mapped_file(vma, addr, len, write, &start) : NULL;
	mmap_read_unlock(mm);
	if (IS_ERR_OR_NULL(file))
		return ERR_CAST(file);
	pin = guestmem_pin_file(file, start, len, write);
	fput(file);
	return pin;
}
EXPORT_SYMBOL_GPL(guestmem_pin_user);

/**
 * guestmem_pin_pfn - get the page frame number of a page of a pinned range
 * @pin: the pin
 * @page: index of the page in the range
 * @nr: set to the number of contiguous pages from @page on, up to the end of the extent
 *	of the file or of the range
 *
 * The result is constant as long as @pin exists.
 *
 * Context: process context, may sleep, also with an mmap_lock held; takes the
 * invalidate_lock shared.
 *
 * Return: the page frame number, which has no struct page.
 */
unsigned long guestmem_pin_pfn(const struct guestmem_pin *pin,
			       unsigned long page, unsigned long *nr)
{
	struct inode *inode = file_inode(pin->file);
	u64 pgoff = (pin->start >> PAGE_SHIFT) + page;
	u64 end = (pin->start + pin->len) >> PAGE_SHIFT;
	struct gmpool_range range;
	bool mapped;

	*nr = 0;
	if (WARN_ON_ONCE(page >= pin->len >> PAGE_SHIFT))
		return 0;
	filemap_invalidate_lock_shared(inode->i_mapping);
	mapped = gmfs_extent_find(GMFS_I(inode)->ci, pgoff / GMFS_BLOCK_PAGES,
				  &range);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	if (WARN_ON_ONCE(!mapped))
		return 0;
	*nr = gmfs_pages_of_range(&range, pgoff, end);
	return gmpool_pfn(GMFS_FS(inode->i_sb)->pool, range.start) +
	       pgoff % GMFS_BLOCK_PAGES;
}
EXPORT_SYMBOL_GPL(guestmem_pin_pfn);

/**
 * guestmem_unpin - end a pin
 * @pin: from guestmem_pin_file(), guestmem_pin_vma() or guestmem_pin_user(); invalid
 *	afterwards
 *
 * The device must not be able to access the memory any more: the caller has removed the
 * range from the tables and caches of the IOMMU before. The last reference of the file
 * is dropped asynchronously.
 *
 * Context: any that may take spinlocks, but not within an RCU callback.
 */
void guestmem_unpin(struct guestmem_pin *pin)
{
	struct inode *inode = file_inode(pin->file);

	gmfs_pin_remove(GMFS_FS(inode->i_sb), pin);
	trace_guestmemfs_unpin(gmpool_nid(GMFS_FS(inode->i_sb)->pool),
			       inode->i_ino, pin->start, pin->len, pin->write);
	fput(pin->file);
	kfree(pin);
}
EXPORT_SYMBOL_GPL(guestmem_unpin);

/**
 * guestmem_refuse_pfns - refuse a mapping to a driver that takes pfns without a pin
 * @vma: the mapping in which the driver looks up pfns
 * @user: name of the driver, for the log
 *
 * For a driver that keeps pfns with neither a pin nor an MMU notifier. Its device would
 * access the memory after the file has freed it.
 *
 * Context: any that may print; mmap_lock is held.
 *
 * Return: true if @vma maps a file of guestmemfs. The driver must fail then; the log
 * gives the reason.
 */
bool guestmem_refuse_pfns(const struct vm_area_struct *vma, const char *user)
{
	if (!gmfs_is_file(vma->vm_file))
		return false;
	pr_notice_ratelimited("node %d: %s[%d]: %s cannot map this memory for a device: without a pin, the device would reach it after the file has freed it; emulated devices, vhost and KVM can use it\n",
			      gmpool_nid(gmfs_fs_of_file(vma->vm_file)->pool),
			      current->comm, task_pid_nr(current), user);
	return true;
}
EXPORT_SYMBOL_GPL(guestmem_refuse_pfns);
