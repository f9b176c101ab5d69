// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: userfaultfd on guestmemfs
 *
 * Concepts
 * --------
 *
 * A guest runs before its memory has come: the VMM registers its mapping for minor
 * faults. Contents come by another mapping of the file, in this process or another, or
 * from a device. UFFDIO_CONTINUE maps what has come. An access to any other page waits.
 *
 * The state is in the page tables of the registered mapping alone. What drops entries
 * there (MADV_DONTNEED, truncation, holes, failed pages, an exchange of ranges, mremap())
 * makes accesses wait again.
 *
 * A hole of the file makes an access wait as well: the mapping that receives the contents
 * fills it.
 *
 * Locking
 * -------
 *
 * In a VMA that is registered, faults map nothing. UFFDIO_CONTINUE maps, and holds the
 * invalidate_lock exclusive for each entry: the lock serializes calls that would put a
 * large entry and a table at the same place. Zaps run at any time.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include "guestmemfs.h"

/**
 * gmfs_minor_fault - handle a fault in a VMA that is registered for minor faults
 * @vmf: the fault
 * @order: order of the entry that is asked for
 *
 * Only a fault for a page waits, as the registered range can end anywhere. A fault for a
 * larger entry is also one for a write to an entry that is read-only after soft-dirty
 * bits were cleared. That entry is dropped, and the access waits for another
 * UFFDIO_CONTINUE, which maps pages then: to make the entry writable could undo a zap in
 * between.
 *
 * Context: as a fault handler; takes the invalidate_lock shared, and releases the lock of
 * the VMA if the task waits.
 *
 * Return: VM_FAULT_FALLBACK if @order is not 0; VM_FAULT_SIGBUS behind the end of the
 * file, VM_FAULT_HWPOISON for a failed page; otherwise as handle_userfault().
 */
vm_fault_t gmfs_minor_fault(struct vm_fault *vmf, unsigned int order)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	unsigned long pfn;
	vm_fault_t ret;

	if (order)
		return VM_FAULT_FALLBACK;
	filemap_invalidate_lock_shared(inode->i_mapping);
	ret = gmfs_pfn_of(inode, vmf->pgoff, 0, &pfn);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	if (ret && ret != VM_FAULT_RETRY)
		return ret;
	return handle_userfault(vmf, VM_UFFD_MINOR);
}

#ifdef UFFD_HAS_CONTINUE_RANGE	/* patches/0021 */
/* Core refuses all other modes for memory without struct pages. */
static bool gmfs_can_userfault(struct vm_area_struct *vma, vm_flags_t vm_flags)
{
	return true;
}

/* Can an entry of @order begin at the address of @vmf, and end at @end or before it? */
static bool gmfs_may_continue(struct vm_fault *vmf, unsigned long end,
			      unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;

	/* Until it is soft-dirty, large entries are read-only: a store would drop them. */
	if (pgtable_supports_soft_dirty() && !(vma->vm_flags & VM_SOFTDIRTY))
		return false;
	return IS_ALIGNED(vmf->address, PAGE_SIZE << order) &&
	       end - vmf->address >= PAGE_SIZE << order &&
	       gmfs_order_fits(vma, vmf->address, order) &&
	       thp_vma_allowable_order(vma, vma->vm_flags, TVA_PAGEFAULT, order);
}

/* Map an entry of @order where there is none. Result as gmfs_continue_entry(). */
static ssize_t gmfs_continue_order(struct vm_fault *vmf, unsigned int order)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	unsigned long pfn;
	vm_fault_t ret;

	ret = gmfs_pfn_of(inode, vmf->pgoff, order, &pfn);
	if (!ret)
		ret = gmfs_insert_pfn(vmf, order, pfn);
	switch (ret) {
	case VM_FAULT_NOPAGE:
		/* Before a fault waits, it puts a table there. */
		if (order == PUD_ORDER && !pud_leaf(pudp_get(vmf->pud)))
			return 0;
		return PAGE_SIZE << order;
	case VM_FAULT_FALLBACK:
		return 0;
	case VM_FAULT_HWPOISON:
		return -EIO;
	case VM_FAULT_OOM:
		return -ENOMEM;
	default:
		return -EFAULT;
	}
}

/*
 * Map the page at the address of @vmf, and with it as much up to @end as an entry can map.
 * Returns the bytes that were mapped; 0 to be called again; -EEXIST if the page is mapped
 * already; -EFAULT for a hole and behind the end of the file; -EIO for a failed page;
 * -ENOMEM.
 */
static ssize_t gmfs_continue_entry(struct vm_fault *vmf, unsigned long end)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	unsigned long addr = vmf->address;
	ssize_t ret = 0;
	p4d_t *p4d;
	pud_t pud;
	pmd_t pmd;
	pte_t *pte;
	bool none;

	p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	vmf->pud = p4d ? pud_alloc(mm, p4d, addr) : NULL;
	if (!vmf->pud)
		return -ENOMEM;
	pud = pudp_get(vmf->pud);
	if (pud_leaf(pud))
		return -EEXIST;
	if (pud_none(pud) && gmfs_may_continue(vmf, end, PUD_ORDER))
		ret = gmfs_continue_order(vmf, PUD_ORDER);
	if (ret)
		return ret;

	vmf->pmd = pmd_alloc(mm, vmf->pud, addr);
	if (!vmf->pmd)
		return -ENOMEM;
	pmd = pmdp_get_lockless(vmf->pmd);
	if (pmd_leaf(pmd))
		return -EEXIST;
	if (pmd_none(pmd) && gmfs_may_continue(vmf, end, PMD_ORDER))
		ret = gmfs_continue_order(vmf, PMD_ORDER);
	if (ret)
		return ret;

	if (pte_alloc(mm, vmf->pmd))
		return -ENOMEM;
	pte = pte_offset_map(vmf->pmd, addr);
	if (!pte)
		return 0;
	none = pte_none(ptep_get(pte));
	pte_unmap(pte);
	if (!none)
		return -EEXIST;
	ret = gmfs_continue_order(vmf, 0);
	/* There is a table, or MADV_DONTNEED has freed it since, as it is empty. */
	return ret == -ENOMEM ? 0 : ret;
}

/* vm_uffd_ops.continue_range() */
static ssize_t gmfs_continue_range(struct vm_area_struct *vma,
				   unsigned long start, unsigned long len)
{
	struct address_space *mapping = file_inode(vma->vm_file)->i_mapping;
	unsigned long addr = start, end = start + len;
	ssize_t ret = 0;

	while (addr < end) {
		struct vm_fault vmf = {
			.vma = vma,
			.address = addr,
			.pgoff = linear_page_index(vma, addr),
		};

		filemap_invalidate_lock(mapping);
		ret = gmfs_continue_entry(&vmf, end);
		filemap_invalidate_unlock(mapping);
		if (ret < 0)
			break;
		addr += ret;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	return addr > start ? addr - start : ret;
}

const struct vm_uffd_ops gmfs_uffd_ops = {
	.can_userfault	= gmfs_can_userfault,
	.continue_range	= gmfs_continue_range,
};
#endif
