// SPDX-License-Identifier: GPL-2.0
/*
 * The interface of <linux/guestmem_dma.h>: drivers pin memory of a file for devices, by
 * file, by mapping or by user address. pin.c has the pins of a file.
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

/* Pages from @pgoff to the end of the range, at most to @end. */
static u64 gmfs_pages_of_range(const struct gmpool_range *range, u64 pgoff, u64 end)
{
	return min(range->count * GMFS_BLOCK_PAGES - pgoff % GMFS_BLOCK_PAGES,
		   end - pgoff);
}

/*
 * Check that the file has all blocks of the range. -EACCES if the file is private;
 * -EINVAL if the range exceeds the last block of the file; -EHWPOISON for a failed page;
 * -EAGAIN for a hole.
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

	if (gmfs_is_private(inode))
		return -EACCES;
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
 * the file is private, not open for reading, or not for writing if @write; -EHWPOISON if a
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
