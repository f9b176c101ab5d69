// SPDX-License-Identifier: GPL-2.0
/*
 * What pools need of x86-64.
 *
 * The window through which pool memory is zeroed: each CPU has an mm of its own, with
 * room for one block, as text_poke() has for patching. No other CPU ever loads it,
 * and to take the mapping away again costs no IPI.
 */

#include <linux/cpufeature.h>
#include <linux/guestmem_pool.h>
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <asm/e820/api.h>
#include <asm/memtype.h>
#include <asm/smap.h>
#include <asm/tlbflush.h>

#include "arch.h"

/**
 * gmpool_maps_1g - can the processor map 1 GiB by one page table entry
 *
 * Without X86_FEATURE_GBPAGES, the bit that makes a PUD a leaf is reserved.
 *
 * Context: any.
 *
 * Return: true if it can.
 */
bool gmpool_maps_1g(void)
{
	return cpu_feature_enabled(X86_FEATURE_GBPAGES);
}

/**
 * gmpool_arch_swiotlb_size - what swiotlb will allocate
 *
 * The buffer is for devices that reach no further than 4 GiB, if there is something
 * beyond, see pci_swiotlb_detect(): IO_TLB_DEFAULT_SIZE.
 *
 * Context: early boot.
 *
 * Return: bytes.
 */
u64 __init gmpool_arch_swiotlb_size(void)
{
	return max_possible_pfn > PHYS_PFN(SZ_4G) ? SZ_64M : 0;
}

/**
 * gmpool_arch_image_align - how the kernel image is aligned
 *
 * Context: early boot.
 *
 * Return: bytes: its physical address is a multiple of that, with KASLR too.
 */
u64 __init gmpool_arch_image_align(void)
{
	return CONFIG_PHYSICAL_ALIGN;
}

/**
 * gmpool_arch_at_boot - does firmware tell every kernel of a range of memory
 * @start: physical address
 * @end: physical address of its end
 *
 * Context: process context.
 *
 * Return: false if all of it has been added since boot.
 */
bool gmpool_arch_at_boot(u64 start, u64 end)
{
	return e820__mapped_any(start, end, E820_TYPE_RAM);
}

/**
 * gmpool_arch_cached - fix the caching of pool memory as write-back
 * @base: physical address
 * @size: bytes
 *
 * User mappings by pfn ask PAT, which answers uncached for memory that it does not
 * know.
 *
 * Context: boot, process context.
 *
 * Return: false if it cannot be cached.
 */
bool __init gmpool_arch_cached(u64 base, u64 size)
{
	pgprot_t prot = PAGE_KERNEL;

	return !pfnmap_track(PHYS_PFN(base), size, &prot) &&
	       pgprot2cachemode(prot) == _PAGE_CACHE_MODE_WB;
}

/**
 * gmpool_arch_unmap - take memory out of the direct map
 * @base: physical address
 * @size: bytes
 *
 * Context: boot, process context.
 *
 * Return: 0 or a negative errno.
 */
int __init gmpool_arch_unmap(u64 base, u64 size)
{
	u64 pages = size >> PAGE_SHIFT;
	u64 done, step;
	int err;

	/* It counts pages in an int. */
	for (done = 0; done < pages; done += step) {
		step = min(pages - done, (u64)SZ_1G);
		err = set_memory_np((unsigned long)__va(base) +
				    (done << PAGE_SHIFT), step);
		if (err)
			return err;
	}
	return 0;
}

/* Where a block is mapped: any place in the user half. */
#define WINDOW_ADDR	SZ_1G

/**
 * struct gmpool_window - what a CPU sees of a block
 * @mm: has the window, and nothing else
 * @pmd: the entry for the window
 * @block: physical address of the block that is in it, or 0
 */
struct gmpool_window {
	struct mm_struct *mm;
	pmd_t *pmd;
	phys_addr_t block;
};

/* Made once, when the CPU comes up first; used with preemption off. */
static DEFINE_PER_CPU(struct gmpool_window, gmpool_windows);

static pmd_t *gmpool_alloc_window_pmd(struct mm_struct *mm)
{
	p4d_t *p4d;
	pud_t *pud;

	p4d = p4d_alloc(mm, pgd_offset(mm, WINDOW_ADDR), WINDOW_ADDR);
	if (!p4d)
		return NULL;
	pud = pud_alloc(mm, p4d, WINDOW_ADDR);
	return pud ? pmd_alloc(mm, pud, WINDOW_ADDR) : NULL;
}

/**
 * gmpool_arch_open_window - let a CPU zero pool memory
 * @cpu: the CPU, which comes up
 *
 * Context: process context, may sleep.
 *
 * Return: 0 or -ENOMEM.
 */
int gmpool_arch_open_window(unsigned int cpu)
{
	struct gmpool_window *window = per_cpu_ptr(&gmpool_windows, cpu);

	/* They stay, half made or whole: it may come up again. */
	if (!window->mm) {
		window->mm = mm_alloc();
		if (!window->mm)
			return -ENOMEM;
		set_notrack_mm(window->mm);
	}
	if (!window->pmd)
		window->pmd = gmpool_alloc_window_pmd(window->mm);
	return window->pmd ? 0 : -ENOMEM;
}

/* Past the caches, which have better things to hold than zeroes. */
static __always_inline void gmpool_zero_around_caches(void *p, size_t len)
{
	void *end = p + len;

	for (; p < end; p += 64)
		asm volatile("movnti %1, 0(%0)\n\t"
			     "movnti %1, 8(%0)\n\t"
			     "movnti %1, 16(%0)\n\t"
			     "movnti %1, 24(%0)\n\t"
			     "movnti %1, 32(%0)\n\t"
			     "movnti %1, 40(%0)\n\t"
			     "movnti %1, 48(%0)\n\t"
			     "movnti %1, 56(%0)"
			     : : "r" (p), "r" (0UL) : "memory");
	/* Such stores are ordered with no others. */
	asm volatile("sfence" : : : "memory");
}

static __always_inline void gmpool_zero_words(void *p, size_t len)
{
	size_t words = len / sizeof(long);

	asm volatile("rep stosq"
		     : "+D" (p), "+c" (words) : "a" (0UL) : "memory");
}

/*
 * The window is in the user half, where LASS refuses accesses of the kernel unless
 * AC is set. objtool allows no call with AC set, so the stores are inline. KASAN,
 * which knows of no memory there, does not instrument them either.
 */
static void gmpool_zero_mapped(void *p, size_t len, bool idle)
{
	lass_stac();
	if (!PAGE_ALIGNED(p) || !PAGE_ALIGNED(len))
		__inline_memset(p, 0, len);
	else if (idle)
		gmpool_zero_around_caches(p, len);
	else
		gmpool_zero_words(p, len);
	lass_clac();
}

static void gmpool_show_block(struct gmpool_window *window, phys_addr_t block)
{
	/* Not global: it would outlive the mm in the TLB. */
	pgprot_t prot = __pgprot(pgprot_val(PAGE_KERNEL_LARGE) & ~_PAGE_GLOBAL);

	if (window->block == block)
		return;
	set_pmd(window->pmd, pfn_pmd(PHYS_PFN(block), prot));
	/* The CPU forgets the block before, once it loads the mm again. */
	flush_tlb_mm_range(window->mm, WINDOW_ADDR, WINDOW_ADDR + PMD_SIZE,
			   PMD_SHIFT, false);
	window->block = block;
}

/**
 * gmpool_arch_close_window - let no mapping of a block stay
 * @block: physical address of a block that gmpool_arch_zero() was at
 *
 * Context: process context; migration is off since gmpool_arch_zero().
 */
void gmpool_arch_close_window(phys_addr_t block)
{
	struct gmpool_window *window;

	guard(preempt)();
	window = this_cpu_ptr(&gmpool_windows);
	/* Another task may have come in between. */
	if (window->block != block)
		return;
	pmd_clear(window->pmd);
	window->block = 0;
}

/**
 * gmpool_arch_zero - zero a part of a block
 * @phys: physical address
 * @len: bytes, within a block; nothing else runs on the CPU meanwhile
 * @idle: nobody waits for the memory: keep it out of the caches
 *
 * Context: process context; migration is off until gmpool_arch_close_window().
 */
void gmpool_arch_zero(phys_addr_t phys, size_t len, bool idle)
{
	struct gmpool_window *window;
	struct mm_struct *prev;

	guard(preempt)();
	window = this_cpu_ptr(&gmpool_windows);
	gmpool_show_block(window, phys & PMD_MASK);
	prev = use_temporary_mm(window->mm);
	gmpool_zero_mapped((void *)(WINDOW_ADDR + (phys & ~PMD_MASK)), len,
			   idle);
	unuse_temporary_mm(prev);
}
