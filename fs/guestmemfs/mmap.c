// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Mappings of guestmemfs
 *
 * Concepts
 * --------
 *
 * A fault maps pool memory by pfn, with the largest leaf that fits: 1 GiB where file,
 * memory and mapping are aligned to 1 GiB, otherwise 2 MiB. It maps a page of 4 KiB only
 * where the address of the mapping does not match its offset modulo 2 MiB, where a VMA
 * ends within a block, or where a page of the block has failed.
 *
 * Few parts of the kernel handle 1 GiB leaves. A split of a VMA within such a leaf would
 * treat it as a table of PMDs, and guest memory as page table entries. A move of a VMA
 * would clear it as a bad entry, without a flush of the TLB. So may_split() and open()
 * zap the leaf before that, and later faults map the largest leaf that then fits.
 *
 * Locking
 * -------
 *
 * A fault holds the invalidate_lock for read. An operation that removes blocks from a
 * file holds it for write, and unmaps the range first. So a page table entry is never
 * replaced by one for other memory.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/userfaultfd_k.h>

#include <trace/events/guestmemfs.h>

#include "guestmemfs.h"

/* Logged once: one line is enough to make the administrator look for such programs. */
static void gmfs_note_unaligned(const struct gmfs_fs *fs,
				const struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start < PMD_SIZE ||
	    IS_ALIGNED((vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff,
		       GMFS_BLOCK_PAGES))
		return;
	pr_notice_once("node %d: %s[%d] maps a file at an address that does not match its offset by 2 MiB: it gets pages of 4 KiB, which is slow; QEMU's memory-backend-file needs align=2M or align=1G\n",
		       gmpool_nid(fs->pool), current->comm,
		       task_pid_nr(current));
}

static vm_fault_t gmfs_map_pfn(struct vm_fault *vmf, struct inode *inode,
			       unsigned int order)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	unsigned long pfn;
	vm_fault_t ret;

	filemap_invalidate_lock_shared(inode->i_mapping);
	ret = gmfs_pfn_of(inode, vmf->pgoff, order, &pfn);
	if (!ret) {
		ret = gmfs_insert_pfn(vmf, order, pfn);
		atomic64_inc(&fs->faults[order == PUD_ORDER ? GMFS_MAP_PUD :
					 order ? GMFS_MAP_PMD : GMFS_MAP_PTE]);
	}
	filemap_invalidate_unlock_shared(inode->i_mapping);
	trace_guestmemfs_fault(gmpool_nid(fs->pool), inode->i_ino, vmf->address,
			       order, ret);
	return ret;
}

static vm_fault_t gmfs_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	u64 block = vmf->pgoff / GMFS_BLOCK_PAGES;
	vm_fault_t ret;
	int err;

	BUILD_BUG_ON(PMD_SHIFT != GMPOOL_BLOCK_SHIFT);

	if (!gmfs_order_fits(vmf->vma, vmf->address, order))
		return VM_FAULT_FALLBACK;
	if (userfaultfd_minor(vmf->vma))
		return gmfs_minor_fault(vmf, order);
	if (!order)
		gmfs_note_unaligned(GMFS_FS(inode->i_sb), vmf->vma);

	while ((ret = gmfs_map_pfn(vmf, inode, order)) == VM_FAULT_RETRY) {
		/* The hole was punched after mmap(), or the VMA is MAP_NORESERVE. */
		err = gmfs_fill_mapped(inode, block, block + 1);
		/*
		 * vmf_error() makes -EINTR, of a task that is being killed,
		 * VM_FAULT_SIGBUS too: the kernel repeats its own faults until
		 * they succeed or fail, even if a fatal signal is pending.
		 */
		if (err)
			return vmf_error(err);
	}
	return ret;
}

static vm_fault_t gmfs_fault(struct vm_fault *vmf)
{
	return gmfs_huge_fault(vmf, 0);
}

/*
 * Zap the 1 GiB leaf that a split of the VMA at @addr goes through. The VMA is locked
 * for write, so no fault maps the leaf again before the split.
 */
static int gmfs_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	if (IS_ALIGNED(addr, PUD_SIZE) ||
	    !gmfs_order_fits(vma, addr, PUD_ORDER))
		return 0;
	vma_start_write(vma);
	zap_special_vma_range(vma, round_down(addr, PUD_SIZE), PUD_SIZE);
	return 0;
}

/*
 * open() is called for a split and for mremap(). A split needs nothing: may_split() has
 * zapped the leaf at the cut. vma_lookup() tells the two apart: a VMA that is being
 * split is still in the tree with the range of both parts, while the target range of
 * mremap() has no VMA yet.
 *
 * mremap() then moves page tables to the copy of the VMA, and cannot move a 1 GiB leaf:
 * get_old_pud() calls pud_none_or_clear_bad(), to which each leaf is bad. may_split() has
 * zapped the leaves at both ends, so the remaining ones map whole gigabytes of the file.
 * The source VMA is not known here, so the range is unmapped from all VMAs of the file.
 */
static void gmfs_vm_open(struct vm_area_struct *vma)
{
	loff_t start = (loff_t)vma->vm_pgoff << PAGE_SHIFT;
	loff_t first = round_up(start, PUD_SIZE);
	loff_t end = round_down(start + vma->vm_end - vma->vm_start, PUD_SIZE);

	if (vma->vm_mm != current->mm || !gmfs_maps_pud() ||
	    first >= end || vma_lookup(vma->vm_mm, vma->vm_start))
		return;
	unmap_mapping_range(vma->vm_file->f_mapping, first, end - first, 1);
}

static bool gmfs_policy_agrees(const struct mempolicy *policy, int nid)
{
	if (!policy)
		return true;
	switch (policy->mode) {
	case MPOL_BIND:
	case MPOL_PREFERRED:
	case MPOL_PREFERRED_MANY:
		return node_isset(nid, policy->nodes);
	case MPOL_INTERLEAVE:
	case MPOL_WEIGHTED_INTERLEAVE:
		return node_isset(nid, policy->nodes) &&
		       nodes_weight(policy->nodes) == 1;
	default:
		return true;
	}
}

/* The memory cannot move to another node: refuse a policy that excludes this node. */
static int gmfs_set_policy(struct vm_area_struct *vma, struct mempolicy *new)
{
	struct gmfs_fs *fs = GMFS_FS(file_inode(vma->vm_file)->i_sb);

	return gmfs_policy_agrees(new, gmpool_nid(fs->pool)) ? 0 : -EINVAL;
}

static struct mempolicy *gmfs_get_policy(struct vm_area_struct *vma,
					 unsigned long addr, pgoff_t *ilx)
{
	*ilx = 0;
	return &GMFS_FS(file_inode(vma->vm_file)->i_sb)->policy;
}

/* Populate a new VMA with all blocks of the file, so that no access faults later. */
static int gmfs_prefault(struct vm_area_struct *vma, struct inode *inode)
{
	static const unsigned int orders[] = { PUD_ORDER, PMD_ORDER, 0 };
	unsigned int flags = vma->vm_flags & VM_WRITE ? FAULT_FLAG_WRITE : 0;
	unsigned long addr, pfn, size;
	unsigned int i;
	vm_fault_t ret;
	pgoff_t pgoff;

	if (!(vma->vm_flags & (VM_READ | VM_WRITE)))
		return 0;
	for (addr = vma->vm_start; addr < vma->vm_end; addr += size) {
		pgoff = linear_page_index(vma, addr);
		filemap_invalidate_lock_shared(inode->i_mapping);
		ret = VM_FAULT_FALLBACK;
		for (i = 0; ret == VM_FAULT_FALLBACK && i < ARRAY_SIZE(orders); i++) {
			size = PAGE_SIZE << orders[i];
			if (gmfs_order_fits(vma, addr, orders[i]))
				ret = gmfs_pfn_of(inode, pgoff, orders[i],
						  &pfn);
		}
		filemap_invalidate_unlock_shared(inode->i_mapping);
		if (ret == VM_FAULT_SIGBUS)
			return 0;
		/* An access to a failed page gets SIGBUS. */
		if (ret == VM_FAULT_HWPOISON)
			continue;
		/* MAP_NORESERVE: the first access fills the hole. */
		if (ret == VM_FAULT_RETRY && vma->vm_flags & VM_NORESERVE)
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = handle_mm_fault(vma, addr, flags, NULL);
		if (ret & VM_FAULT_ERROR)
			return vm_fault_to_errno(ret, 0);
		cond_resched();
	}
	return 0;
}

/*
 * Value of vm_private_data from gmfs_mmap_prepare() to gmfs_mapped(), if the mount has
 * the option prefault. No other VMA has this value.
 */
static char gmfs_prefault_mark;

/*
 * mmap() calls this after it has inserted the new VMA into the tree. A file system that
 * maps a file of another one (overlayfs, FUSE passthrough, Coda) calls it earlier: the
 * tree then has no VMA at @start, or the one that is being replaced. The rmap would not
 * find page table entries that are made at that time. So only a VMA with the mark is
 * populated, and the mappings of such file systems fault at the first touch.
 */
static int gmfs_mapped(unsigned long start, unsigned long end, pgoff_t pgoff,
		       const struct file *file, void **vm_private_data)
{
	bool marked = *vm_private_data == &gmfs_prefault_mark;
	struct vm_area_struct *vma;

	*vm_private_data = NULL;
	if (!marked)
		return 0;
	vma = vma_lookup(current->mm, start);
	if (!vma || vma->vm_private_data != &gmfs_prefault_mark)
		return 0;
	return gmfs_prefault(vma, file_inode(file));
}

static const struct vm_operations_struct gmfs_vm_ops = {
	.open		= gmfs_vm_open,
	.mapped		= gmfs_mapped,
	.may_split	= gmfs_may_split,
	.fault		= gmfs_fault,
	.huge_fault	= gmfs_huge_fault,
	.set_policy	= gmfs_set_policy,
	.get_policy	= gmfs_get_policy,
#ifdef UFFD_HAS_CONTINUE_RANGE	/* patches/0021 */
	.uffd_ops	= &gmfs_uffd_ops,
#endif
};

/**
 * gmfs_mmap_prepare - prepare a mapping of a file
 * @desc: the requested mapping
 *
 * Context: process context, may sleep; mmap_lock is held for write.
 *
 * Return: 0; -EINVAL for a private mapping; -ENODEV for a private file; -ENOSPC, -EDQUOT,
 * -EROFS, -ENOMEM or -EINTR if a hole in the range cannot be filled.
 */
int gmfs_mmap_prepare(struct vm_area_desc *desc)
{
	struct inode *inode = file_inode(desc->file);
	u64 start = (u64)desc->pgoff << PAGE_SHIFT;
	u64 first = gmfs_blocks_down(start);
	u64 end = min(gmfs_blocks_up(start + vma_desc_size(desc)),
		      gmfs_blocks_up(i_size_read(inode)));
	int err;

	/* A shared mapping of a file that is open for reading lacks VMA_SHARED. */
	if (!vma_desc_test(desc, VMA_MAYSHARE_BIT))
		return -EINVAL;
	/* As guest_memfd does. A fault checks again, with the invalidate_lock held. */
	if (gmfs_is_private(inode))
		return -ENODEV;

	/*
	 * Fill holes now: mmap() can return an error, while a fault can only raise
	 * SIGBUS. The holes stay filled if mmap() fails later. With MAP_NORESERVE,
	 * the first access fills a hole: memory that virtio-mem has not plugged is a
	 * hole in the file of its backend.
	 */
	if (!vma_desc_test(desc, VMA_NORESERVE_BIT) &&
	    gmfs_has_hole(inode, first, end)) {
		err = gmfs_fill_mapped(inode, first, end);
		if (err)
			return err;
	}

	file_accessed(desc->file);
	vma_desc_set_flags(desc, VMA_PFNMAP_BIT, VMA_DONTEXPAND_BIT,
			   VMA_DONTDUMP_BIT);
	desc->vm_ops = &gmfs_vm_ops;
	if (READ_ONCE(GMFS_FS(inode->i_sb)->prefault))
		desc->private_data = &gmfs_prefault_mark;
	return 0;
}

/**
 * gmfs_get_unmapped_area - find an address for a mapping
 * @file: file to map
 * @addr: address that the caller prefers, or 0
 * @len: length of the mapping in bytes
 * @pgoff: offset in the file, in pages
 * @flags: as for mmap()
 *
 * The address is equal to the offset modulo 1 GiB, if the range contains an aligned
 * gigabyte of the file and the processor has 1 GiB pages, otherwise modulo 2 MiB. So
 * leaves of that size fit. A preferred address that is free is used as it is.
 *
 * Context: process context, mmap_lock is held for write.
 *
 * Return: the address, or an error.
 */
unsigned long gmfs_get_unmapped_area(struct file *file, unsigned long addr,
				     unsigned long len, unsigned long pgoff,
				     unsigned long flags)
{
	u64 start = (u64)pgoff << PAGE_SHIFT;
	unsigned long found;

	if (!addr && !(flags & MAP_FIXED) && !in_compat_syscall() &&
	    gmfs_maps_pud() &&
	    round_up(start, PUD_SIZE) + PUD_SIZE <= start + len) {
		found = mm_get_unmapped_area(file, 0, len + PUD_SIZE - PAGE_SIZE,
					     pgoff, flags);
		if (!IS_ERR_VALUE(found))
			return found + ((start - found) & ~PUD_MASK);
	}
	return thp_get_unmapped_area(file, addr, len, pgoff, flags);
}
