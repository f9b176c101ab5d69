// SPDX-License-Identifier: GPL-2.0
/*
 * Leaves of page tables that map files: which memory they map, and which orders fit.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>

#include "guestmemfs.h"

/**
 * gmfs_leaf_pfn - find the memory of a leaf
 * @inode: the file
 * @pgoff: a page that the leaf maps
 * @order: order of the leaf
 * @pfn: set to the first pfn of the leaf if @order is that of a PMD or more, else to
 *	that of the page's block
 *
 * Context: the invalidate_lock is held.
 *
 * Return: 0 if the memory of the leaf is contiguous and aligned; -E2BIG if only a smaller
 * leaf fits; -EFAULT behind the end of the file; -EHWPOISON for a failed page; -ENODATA
 * for a hole.
 */
int gmfs_leaf_pfn(struct inode *inode, pgoff_t pgoff, unsigned int order,
		  unsigned long *pfn)
{
	u64 first = round_down(pgoff, BIT_ULL(order)) / GMFS_BLOCK_PAGES;
	u64 count = DIV_ROUND_UP_ULL(BIT_ULL(order), GMFS_BLOCK_PAGES);
	u64 end = gmfs_blocks_up(i_size_read(inode));
	struct gmpool *pool = GMFS_FS(inode->i_sb)->pool;
	struct gmpool_range range;
	u64 page;

	rwsem_assert_held(&inode->i_mapping->invalidate_lock);

	if (pgoff / GMFS_BLOCK_PAGES >= end)
		return -EFAULT;
	if (!gmfs_extent_find(GMFS_I(inode)->ci, first, &range))
		return count > 1 ? -E2BIG : -ENODATA;
	*pfn = gmpool_pfn(pool, range.start);
	if (range.count < count || first + count > end ||
	    (count > 1 && !IS_ALIGNED(*pfn, BIT(order))))
		return -E2BIG;
	page = range.start * GMFS_BLOCK_PAGES;
	if (order)
		return gmpool_has_poison(pool, page, BIT(order)) ? -E2BIG : 0;
	return gmpool_has_poison(pool, page + pgoff % GMFS_BLOCK_PAGES, 1) ?
		       -EHWPOISON : 0;
}

/**
 * gmfs_pfn_of - find the memory of a leaf that maps a file for a process
 * @inode: the file
 * @pgoff: a page that the leaf maps
 * @order: order of the leaf
 * @pfn: set as by gmfs_leaf_pfn()
 *
 * Context: process context; the invalidate_lock is held.
 *
 * Return: 0; VM_FAULT_FALLBACK if only a smaller leaf fits; VM_FAULT_SIGBUS behind the
 * end of the file and for a private file; VM_FAULT_HWPOISON for a failed page;
 * VM_FAULT_RETRY for a hole.
 */
vm_fault_t gmfs_pfn_of(struct inode *inode, pgoff_t pgoff, unsigned int order,
		       unsigned long *pfn)
{
	if (gmfs_is_private(inode))
		return VM_FAULT_SIGBUS;
	switch (gmfs_leaf_pfn(inode, pgoff, order, pfn)) {
	case 0:
		return 0;
	case -E2BIG:
		return VM_FAULT_FALLBACK;
	case -EHWPOISON:
		return VM_FAULT_HWPOISON;
	case -ENODATA:
		return VM_FAULT_RETRY;
	default:
		return VM_FAULT_SIGBUS;
	}
}

/*
 * Make a leaf writable that maps @pfn already. vmf_insert_pfn_pmd() does that as well, but
 * warns if it finds a table, and only with the lock held it is known that there is none.
 * Returns false if there is no leaf.
 */
static bool gmfs_write_pmd(struct vm_fault *vmf, unsigned long pfn)
{
	unsigned long addr = vmf->address & PMD_MASK;
	struct vm_area_struct *vma = vmf->vma;
	spinlock_t *ptl = pmd_lock(vma->vm_mm, vmf->pmd);
	pmd_t entry = *vmf->pmd;
	bool found;

	found = pmd_present(entry) && pmd_leaf(entry) && pmd_pfn(entry) == pfn;
	if (found) {
		entry = pmd_mkyoung(pmd_mkdirty(entry));
		if (vma->vm_flags & VM_WRITE)
			entry = pmd_mkwrite(entry, vma);
		if (pmdp_set_access_flags(vma, addr, vmf->pmd, entry, 1))
			update_mmu_cache_pmd(vma, addr, vmf->pmd);
	}
	spin_unlock(ptl);
	return found;
}

/* As gmfs_write_pmd(). */
static bool gmfs_write_pud(struct vm_fault *vmf, unsigned long pfn)
{
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	unsigned long addr = vmf->address & PUD_MASK;
	struct vm_area_struct *vma = vmf->vma;
	spinlock_t *ptl = pud_lock(vma->vm_mm, vmf->pud);
	pud_t entry = *vmf->pud;
	bool found;

	found = pud_present(entry) && pud_leaf(entry) && pud_pfn(entry) == pfn;
	if (found) {
		entry = pud_mkyoung(pud_mkdirty(entry));
		if (vma->vm_flags & VM_WRITE)
			entry = pud_mkwrite(entry);
		if (pudp_set_access_flags(vma, addr, vmf->pud, entry, 1))
			update_mmu_cache_pud(vma, addr, vmf->pud);
	}
	spin_unlock(ptl);
	return found;
#else
	return false;
#endif
}

/**
 * gmfs_insert_pfn - map the memory of a leaf
 * @vmf: the fault
 * @order: order of the leaf
 * @pfn: from gmfs_pfn_of()
 *
 * Context: process context, may sleep; the VMA is locked, and the invalidate_lock is held
 * since gmfs_pfn_of().
 *
 * Return: VM_FAULT_NOPAGE, also if there is an entry already; VM_FAULT_OOM;
 * VM_FAULT_SIGBUS.
 */
vm_fault_t gmfs_insert_pfn(struct vm_fault *vmf, unsigned int order,
			   unsigned long pfn)
{
	/* A new leaf needs no write flag: it is writable if the VMA is. */
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	struct vm_area_struct *vma = vmf->vma;
	vm_fault_t ret;

	switch (order) {
	case PUD_ORDER:
		if (write && gmfs_write_pud(vmf, pfn))
			return VM_FAULT_NOPAGE;
		return vmf_insert_pfn_pud(vmf, pfn, false);
	case PMD_ORDER:
		if (write && gmfs_write_pmd(vmf, pfn))
			return VM_FAULT_NOPAGE;
		return vmf_insert_pfn_pmd(vmf, pfn, false);
	default:
		/*
		 * A leaf did not fit when this fault asked for one, because a page of
		 * the block has failed. Another block may be there since, and another
		 * fault may have mapped it by a leaf: vmf_insert_pfn() takes that for
		 * a lack of memory. It can also be mapped at any time until then, as
		 * madvise(MADV_DONTNEED) removes leaves and tables. There is a lack of
		 * memory only if there can be no table either.
		 */
		if (pte_alloc(vma->vm_mm, vmf->pmd))
			return VM_FAULT_OOM;
		if (pmd_leaf(pmdp_get_lockless(vmf->pmd)))
			return VM_FAULT_NOPAGE;
		ret = vmf_insert_pfn(vma, vmf->address,
				     pfn + vmf->pgoff % GMFS_BLOCK_PAGES);
		if (ret == VM_FAULT_OOM && !pte_alloc(vma->vm_mm, vmf->pmd))
			return VM_FAULT_NOPAGE;
		return ret;
	}
}

/**
 * gmfs_maps_pud - does the processor have leaves of 1 GiB?
 *
 * has_transparent_pud_hugepage() is true also on x86-64 processors without.
 *
 * Context: any.
 *
 * Return: true if it does.
 */
bool gmfs_maps_pud(void)
{
	return has_transparent_pud_hugepage() && gmpool_maps_1g();
}

/**
 * gmfs_order_fits - can a leaf of an order lie within a VMA?
 * @vma: the VMA, locked
 * @addr: an address that the leaf would map
 * @order: order of the leaf
 *
 * Context: any.
 *
 * Return: true if it can, and the processor has such leaves.
 */
bool gmfs_order_fits(struct vm_area_struct *vma, unsigned long addr,
		     unsigned int order)
{
	switch (order) {
	case 0:
		return true;
	case PUD_ORDER:
		if (!gmfs_maps_pud())
			return false;
		fallthrough;
	case PMD_ORDER:
		return thp_vma_suitable_order(vma, addr, order);
	default:
		return false;
	}
}
