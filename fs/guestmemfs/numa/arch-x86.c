// SPDX-License-Identifier: GPL-2.0
/*
 * Architecture code of pools for x86-64.
 *
 * Each CPU zeroes and copies pool memory through its own windows: an mm with
 * room for two blocks, as text_poke() has one for patching. No other CPU ever
 * loads this mm, so unmapping a block needs no IPI.
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
 * gmpool_maps_1g - does the processor have 1 GiB mappings
 *
 * Without X86_FEATURE_GBPAGES, the page size bit of a PUD entry is reserved.
 *
 * Context: any.
 *
 * Return: true if it has.
 */
bool gmpool_maps_1g(void)
{
	return cpu_feature_enabled(X86_FEATURE_GBPAGES);
}

/**
 * gmpool_arch_swiotlb_size - size of swiotlb's buffer
 *
 * The buffer is for devices that address only 4 GiB. It has IO_TLB_DEFAULT_SIZE
 * bytes if the machine has memory above 4 GiB: see pci_swiotlb_detect().
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
 * gmpool_arch_image_align - alignment of the kernel image
 *
 * Context: early boot.
 *
 * Return: alignment of the physical address in bytes, also with KASLR.
 */
u64 __init gmpool_arch_image_align(void)
{
	return CONFIG_PHYSICAL_ALIGN;
}

/**
 * gmpool_arch_at_boot - is a range in the memory map of firmware
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
 * gmpool_arch_cached - set the caching of pool memory to write-back
 * @base: physical address
 * @size: bytes
 *
 * User mappings by pfn get their caching from PAT, which treats unknown memory
 * as uncached.
 *
 * Context: process context.
 *
 * Return: false if PAT does not allow write-back; nothing is changed then.
 */
bool gmpool_arch_cached(u64 base, u64 size)
{
	pgprot_t prot = PAGE_KERNEL;

	if (pfnmap_track(PHYS_PFN(base), size, &prot))
		return false;
	if (pgprot2cachemode(prot) == _PAGE_CACHE_MODE_WB)
		return true;
	/* PAT has an entry now, with another type than was asked for. */
	gmpool_arch_uncached(base, size);
	return false;
}

/**
 * gmpool_arch_uncached - undo gmpool_arch_cached()
 * @base: as there
 * @size: as there
 *
 * Context: process context.
 */
void gmpool_arch_uncached(u64 base, u64 size)
{
	pfnmap_untrack(PHYS_PFN(base), size);
}

/**
 * gmpool_arch_unmap - remove memory from the direct map
 * @base: physical address
 * @size: bytes
 *
 * Context: process context.
 *
 * Return: 0 or a negative errno.
 */
int gmpool_arch_unmap(u64 base, u64 size)
{
	u64 pages = size >> PAGE_SHIFT;
	u64 done, step;
	int err;

	/* In steps: set_memory_np() counts pages in an int. */
	for (done = 0; done < pages; done += step) {
		step = min(pages - done, (u64)SZ_1G);
		err = set_memory_np((unsigned long)__va(base) +
				    (done << PAGE_SHIFT), step);
		if (err)
			return err;
	}
	return 0;
}

/**
 * gmpool_arch_map - restore the entries of memory in the direct map
 * @base: physical address, a multiple of 1 GiB
 * @size: bytes, likewise
 *
 * Memory hotplug maps memory that it adds, and takes an entry that is neither empty nor
 * present for the address of a page table. gmpool_arch_unmap() leaves such entries;
 * memory hotplug, when it removes memory, leaves empty ones.
 *
 * Context: process context.
 *
 * Return: 0 or a negative errno.
 */
int gmpool_arch_map(u64 base, u64 size)
{
	unsigned long addr = (unsigned long)__va(base);
	unsigned long end = addr + size;
	unsigned int level;
	int err = 0;

	for (; addr < end && !err; addr += SZ_1G)
		if (lookup_address(addr, &level))
			err = set_memory_p(addr, SZ_1G >> PAGE_SHIFT);
	return err;
}

/* Address of the windows: any in the user half would do. */
#define WINDOW_ADDR	SZ_1G

/* The windows of a CPU: one to store to a block, and one to read the block to copy. */
enum {
	WINDOW_STORE,
	WINDOW_READ,
	WINDOWS,
};

/**
 * struct gmpool_window - windows in which a CPU maps blocks
 * @mm: contains the windows, and no other mapping
 * @pmd: page table entries of the windows
 * @blocks: physical addresses of the mapped blocks, or 0
 */
struct gmpool_window {
	struct mm_struct *mm;
	pmd_t *pmd;
	phys_addr_t blocks[WINDOWS];
};

/* Allocated when the CPU first comes up; used with preemption off. */
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
 * gmpool_arch_open_window - create the windows of a CPU
 * @cpu: the CPU that comes up
 *
 * Context: process context, may sleep.
 *
 * Return: 0 or -ENOMEM.
 */
int gmpool_arch_open_window(unsigned int cpu)
{
	struct gmpool_window *window = per_cpu_ptr(&gmpool_windows, cpu);

	/* Never freed, even if incomplete: the CPU may come up again. */
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

/* Non-temporal stores: zeroes would displace useful data from the caches. */
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
	/* Non-temporal stores are weakly ordered. */
	asm volatile("sfence" : : : "memory");
}

static __always_inline void gmpool_zero_words(void *p, size_t len)
{
	size_t words = len / sizeof(long);

	asm volatile("rep stosq"
		     : "+D" (p), "+c" (words) : "a" (0UL) : "memory");
}

/*
 * The windows are in the user half, where LASS refuses kernel accesses unless AC
 * is set. objtool allows no call with AC set, so the stores are inline. KASAN
 * does not instrument them, and has no shadow memory for the windows.
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

/*
 * Map the block of @phys in window @nr. Returns the address of @phys there, for the time
 * that the CPU has the mm loaded.
 */
static void *gmpool_show_block(struct gmpool_window *window, int nr, phys_addr_t phys)
{
	/*
	 * Not global: a global entry would stay in the TLB when the CPU leaves
	 * the mm.
	 */
	pgprot_t prot = __pgprot(pgprot_val(PAGE_KERNEL_LARGE) & ~_PAGE_GLOBAL);
	unsigned long addr = WINDOW_ADDR + nr * PMD_SIZE;
	phys_addr_t block = phys & PMD_MASK;

	if (window->blocks[nr] != block) {
		set_pmd(window->pmd + nr, pfn_pmd(PHYS_PFN(block), prot));
		/* The CPU flushes the previous block when it loads the mm again. */
		flush_tlb_mm_range(window->mm, addr, addr + PMD_SIZE, PMD_SHIFT, false);
		window->blocks[nr] = block;
	}
	return (void *)addr + (phys & ~PMD_MASK);
}

/**
 * gmpool_arch_close_window - unmap a block from the windows
 * @block: physical address of a block that gmpool_arch_zero() has zeroed or
 *	gmpool_arch_copy() has copied
 *
 * Context: process context; migration is off since then.
 */
void gmpool_arch_close_window(phys_addr_t block)
{
	struct gmpool_window *window;
	int i;

	guard(preempt)();
	window = this_cpu_ptr(&gmpool_windows);
	for (i = 0; i < WINDOWS; i++) {
		/* Another task may have mapped another block since. */
		if (window->blocks[i] != block)
			continue;
		pmd_clear(window->pmd + i);
		window->blocks[i] = 0;
	}
}

/**
 * gmpool_arch_zero - zero a part of a block
 * @phys: physical address
 * @len: bytes, within a block; preemption is off during the stores
 * @idle: no task waits for the memory: keep it out of the caches
 *
 * Context: process context; migration is off until gmpool_arch_close_window().
 */
void gmpool_arch_zero(phys_addr_t phys, size_t len, bool idle)
{
	struct gmpool_window *window;
	struct mm_struct *prev;
	void *p;

	guard(preempt)();
	window = this_cpu_ptr(&gmpool_windows);
	p = gmpool_show_block(window, WINDOW_STORE, phys);
	prev = use_temporary_mm(window->mm);
	gmpool_zero_mapped(p, len, idle);
	unuse_temporary_mm(prev);
}

/*
 * Not by mov: is_copy_from_user() of the machine check handler takes a mov from the user
 * half for a copy from user space, whose second failure before the return to user space
 * is a panic.
 */
#define LOAD(nr, offset, reg)						\
	"xorl %%" #reg "d, %%" #reg "d\n"				\
	#nr ":	orq " #offset "(%2), %%" #reg "\n\t"			\
	_ASM_EXTABLE_TYPE(nr ## b, 9f, EX_TYPE_DEFAULT_MCE_SAFE)
#define STORE(offset, reg)						\
	"movq %%" #reg ", " #offset "(%1)\n\t"

/*
 * Copy 64 bytes. False if one of them cannot be read: the machine check handler
 * continues at label 9 then. As copy_mc_fragile(), no load crosses a cache line, since
 * not all processors can recover from a failure within a string instruction.
 */
static __always_inline bool gmpool_copy_line(void *to, const void *from)
{
	int failed;

	asm volatile("movl $1, %0\n\t"
		     LOAD(1, 0, r8) LOAD(2, 8, r9) LOAD(3, 16, r10) LOAD(4, 24, r11)
		     STORE(0, r8) STORE(8, r9) STORE(16, r10) STORE(24, r11)
		     LOAD(5, 32, r8) LOAD(6, 40, r9) LOAD(7, 48, r10) LOAD(8, 56, r11)
		     STORE(32, r8) STORE(40, r9) STORE(48, r10) STORE(56, r11)
		     "xorl %0, %0\n"
		     "9:"
		     : "=&r" (failed) : "r" (to), "r" (from)
		     : "r8", "r9", "r10", "r11", "memory");
	return !failed;
}

/* Inline, for the same reasons as the stores of gmpool_zero_mapped(). */
static size_t gmpool_copy_mapped(void *to, const void *from, size_t len)
{
	size_t done;

	lass_stac();
	for (done = 0; done < len; done += 64)
		if (!gmpool_copy_line(to + done, from + done))
			break;
	lass_clac();
	return done;
}

/**
 * gmpool_arch_copy - copy a part of a block to another block
 * @to: physical address to write
 * @from: physical address to read
 * @len: bytes, a multiple of 64, within a block; preemption is off during the copy
 *
 * Context: process context; migration is off until gmpool_arch_close_window() of both
 * blocks.
 *
 * Return: bytes that were copied; less than @len if the next ones cannot be read.
 */
size_t gmpool_arch_copy(phys_addr_t to, phys_addr_t from, size_t len)
{
	struct gmpool_window *window;
	struct mm_struct *prev;
	void *dst, *src;
	size_t done;

	guard(preempt)();
	window = this_cpu_ptr(&gmpool_windows);
	dst = gmpool_show_block(window, WINDOW_STORE, to);
	src = gmpool_show_block(window, WINDOW_READ, from);
	prev = use_temporary_mm(window->mm);
	done = gmpool_copy_mapped(dst, src, len);
	unuse_temporary_mm(prev);
	return done;
}
