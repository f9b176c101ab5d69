// SPDX-License-Identifier: GPL-2.0
/*
 * Zeroing memory that no part of the kernel can reach.
 *
 * The direct map has no pool memory, and a mapping in vmalloc space would show
 * it to all CPUs, with stale translations until the next flush of everything.
 * So each CPU has an mm of its own, with room for one block, as text_poke() has
 * for patching: no other CPU ever loads it, and to take the mapping away again
 * costs no IPI.
 */

#include <linux/cpuhotplug.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <asm/smap.h>
#include <asm/tlbflush.h>

#include "pool.h"

/* Where a block is mapped: any place in the user half. */
#define WINDOW_ADDR	SZ_1G

/*
 * Nothing else can run on the CPU meanwhile, so it must not take long: some 50
 * us at 10 GB/s.
 */
#define WINDOW_STEP	SZ_512K

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

static int gmpool_open_window(unsigned int cpu)
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

/**
 * gmpool_zero_init - make it possible for all CPUs to zero pool memory
 *
 * Context: boot, once there is a pool.
 *
 * Return: 0, or -ENOMEM.
 */
int __init gmpool_zero_init(void)
{
	int err;

	err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "mm/guestmem_pool:online",
				gmpool_open_window, NULL);
	return min(err, 0);
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

static void gmpool_hide_block(phys_addr_t block)
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

static void gmpool_zero_step(phys_addr_t phys, size_t len, bool idle)
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

/**
 * gmpool_zero_phys - zero a part of a pool's memory
 * @phys: physical address
 * @len: bytes, not beyond the end of the block that @phys is in
 * @idle: nobody waits for the memory: keep it out of the caches
 *
 * Context: process context, may sleep.
 */
void gmpool_zero_phys(phys_addr_t phys, u64 len, bool idle)
{
	phys_addr_t block = phys & PMD_MASK;
	u64 step;

	/* One CPU, so that its window can be emptied in the end. */
	guard(migrate)();
	for (; len; phys += step, len -= step) {
		step = min(len, WINDOW_STEP - phys % WINDOW_STEP);
		gmpool_zero_step(phys, step, idle);
		cond_resched();
	}
	gmpool_hide_block(block);
}
