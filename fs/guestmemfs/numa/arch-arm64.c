// SPDX-License-Identifier: GPL-2.0
/*
 * What pools need of arm64 with pages of 4 KiB. It is compiled, and has not run yet.
 *
 * A page can be mapped by an entry of a PTE or a PMD table: the kernel cannot insert
 * a pfn of 1 GiB, and KVM maps at most 2 MiB of what has no struct pages.
 *
 * The window through which pool memory is zeroed is in vmalloc space, one for each
 * CPU. There is no mm for one CPU, but the CPUs invalidate a translation together and
 * without interrupts: the window is empty, for all of them, before it shows another
 * block.
 */

#include <linux/guestmem_pool.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/panic.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include <asm/boot.h>

#include "arch.h"

/**
 * struct gmpool_window - where a CPU maps a block
 * @area: where, in vmalloc space
 * @lock: held by the task of the CPU that uses it
 * @block: physical address of the block that is in it, or 0
 */
struct gmpool_window {
	struct vm_struct *area;
	struct mutex lock;	/* guards block */
	phys_addr_t block;
};

/* Made once, when the CPU comes up first. */
static DEFINE_PER_CPU(struct gmpool_window, gmpool_windows);

/**
 * gmpool_maps_1g - can the processor map 1 GiB by one page table entry
 *
 * Context: any.
 *
 * Return: false: there are no special PUD entries.
 */
bool gmpool_maps_1g(void)
{
	return false;
}

/**
 * gmpool_arch_swiotlb_size - what swiotlb will allocate
 *
 * If no device needs its buffer, it is for unaligned ones, and smaller, see
 * arch_mm_preinit().
 *
 * Context: early boot.
 *
 * Return: bytes.
 */
u64 __init gmpool_arch_swiotlb_size(void)
{
	u64 size = memblock_phys_mem_size() / SZ_1K;

	return max_pfn > PFN_DOWN(arm64_dma_phys_limit) ? SZ_64M :
							  min_t(u64, size, SZ_64M);
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
	return MIN_KIMG_ALIGN;
}

/**
 * gmpool_arch_at_boot - does firmware tell every kernel of a range of memory
 * @start: physical address
 * @end: physical address of its end, in the same memory block
 *
 * What was there at boot cannot be set offline, so its sections are as they were.
 *
 * Context: process context.
 *
 * Return: false if all of it has been added since boot.
 */
bool gmpool_arch_at_boot(u64 start, u64 end)
{
	return early_section(__pfn_to_section(PHYS_PFN(start)));
}

/**
 * gmpool_arch_cached - fix the caching of pool memory as write-back
 * @base: physical address
 * @size: bytes
 *
 * Context: boot, process context.
 *
 * Return: true: user mappings by pfn are what their VMA says.
 */
bool __init gmpool_arch_cached(u64 base, u64 size)
{
	return true;
}

/**
 * gmpool_arch_unmap - take memory out of the linear map
 * @base: physical address
 * @size: bytes
 *
 * Context: boot, process context.
 *
 * Return: 0; -EOPNOTSUPP if the linear map has larger entries that cannot be split
 * (rodata=off).
 */
int __init gmpool_arch_unmap(u64 base, u64 size)
{
	u64 done, step;
	int err;

	if (!can_set_direct_map())
		return -EOPNOTSUPP;
	/* It counts pages in an int, and bytes in one of them. */
	for (done = 0; done < size; done += step) {
		step = min_t(u64, size - done, SZ_1G);
		err = set_memory_valid((unsigned long)__va(base + done),
				       step >> PAGE_SHIFT, 0);
		if (err)
			return err;
	}
	return 0;
}

static void gmpool_empty_window(struct gmpool_window *window)
{
	unsigned long addr = (unsigned long)window->area->addr;

	vunmap_range(addr, addr + PMD_SIZE);
	window->block = 0;
}

static int gmpool_show_block(struct gmpool_window *window, phys_addr_t block)
{
	unsigned long addr = (unsigned long)window->area->addr;
	int err;

	if (window->block == block)
		return 0;
	gmpool_empty_window(window);
	err = vmap_page_range(addr, addr + PMD_SIZE, block, PAGE_KERNEL);
	if (!err)
		window->block = block;
	return err;
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
	int err;

	/* It stays: the CPU may come up again. */
	if (window->area)
		return 0;
	mutex_init(&window->lock);
	window->area = get_vm_area(PMD_SIZE, VM_IOREMAP);
	if (!window->area)
		return -ENOMEM;
	/* Any memory: the page tables for the window stay, and later nothing can fail. */
	err = gmpool_show_block(window, virt_to_phys(window->area) & PMD_MASK);
	gmpool_empty_window(window);
	if (err) {
		free_vm_area(window->area);
		window->area = NULL;
	}
	return err;
}

/**
 * gmpool_arch_zero - zero a part of a block
 * @phys: physical address
 * @len: bytes, within a block
 * @idle: nobody waits for the memory
 *
 * Context: process context, may sleep; migration is off until
 * gmpool_arch_close_window().
 */
void gmpool_arch_zero(phys_addr_t phys, size_t len, bool idle)
{
	struct gmpool_window *window = this_cpu_ptr(&gmpool_windows);

	guard(mutex)(&window->lock);
	/* What is not zeroed would be another tenant's data. */
	if (gmpool_show_block(window, phys & PMD_MASK))
		panic("guestmem_pool: a block cannot be mapped to zero it");
	memset(window->area->addr + (phys & ~PMD_MASK), 0, len);
}

/**
 * gmpool_arch_close_window - let no mapping of a block stay
 * @block: physical address of a block that gmpool_arch_zero() was at
 *
 * Context: process context, may sleep; migration is off since gmpool_arch_zero().
 */
void gmpool_arch_close_window(phys_addr_t block)
{
	struct gmpool_window *window = this_cpu_ptr(&gmpool_windows);

	guard(mutex)(&window->lock);
	/* Another task may have come in between. */
	if (window->block == block)
		gmpool_empty_window(window);
}
