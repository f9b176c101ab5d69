// SPDX-License-Identifier: GPL-2.0
/*
 * Architecture code of pools for arm64 with pages of 4 KiB. It compiles, but
 * has not been run yet.
 *
 * Pool memory has mappings of 4 KiB and 2 MiB. The kernel cannot insert a pfn
 * with a 1 GiB mapping, and KVM maps memory without struct pages with 2 MiB at
 * most.
 *
 * Each CPU zeroes and copies pool memory through its own windows in vmalloc
 * space. There is no mm for each CPU as on x86. But TLB invalidation reaches
 * all CPUs without interrupts, so a window is unmapped on all CPUs before it
 * maps another block.
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
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/boot.h>

#include "arch.h"

/**
 * struct gmpool_window - window in which a CPU maps a block
 * @area: address range in vmalloc space
 * @block: physical address of the mapped block, or 0
 */
struct gmpool_window {
	struct vm_struct *area;
	phys_addr_t block;
};

/**
 * struct gmpool_windows - windows of a CPU
 * @store: to store to a block
 * @read: to read the block to copy
 * @lock: guards the block of both windows; held while a task uses them
 */
struct gmpool_windows {
	struct gmpool_window store;
	struct gmpool_window read;
	struct mutex lock;	/* guards the windows' blocks */
};

/* Allocated when the CPU comes up for the first time. */
static DEFINE_PER_CPU(struct gmpool_windows, gmpool_windows);

/**
 * gmpool_maps_1g - are there 1 GiB mappings of pool memory
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
 * gmpool_arch_swiotlb_size - size of swiotlb's buffer
 *
 * If no device needs the buffer, it is smaller, and only for unaligned buffers:
 * see arch_mm_preinit().
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
 * gmpool_arch_image_align - alignment of the kernel image
 *
 * Context: early boot.
 *
 * Return: alignment of the physical address in bytes, also with KASLR.
 */
u64 __init gmpool_arch_image_align(void)
{
	return MIN_KIMG_ALIGN;
}

/**
 * gmpool_arch_at_boot - is a range in the memory map of firmware
 * @start: physical address
 * @end: physical address of its end, in the same memory block
 *
 * Boot memory cannot be set offline, so its sections are still early ones.
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
 * gmpool_arch_cached - set the caching of pool memory to write-back
 * @base: physical address
 * @size: bytes
 *
 * Context: boot, process context.
 *
 * Return: true: user mappings by pfn use the attributes of their VMA.
 */
bool gmpool_arch_cached(u64 base, u64 size)
{
	return true;
}

/**
 * gmpool_arch_uncached - undo gmpool_arch_cached()
 * @base: as there
 * @size: as there
 */
void gmpool_arch_uncached(u64 base, u64 size)
{
}

/**
 * gmpool_arch_map - restore the entries of memory in the linear map
 * @base: physical address
 * @size: bytes
 *
 * Memory hotplug does not remove memory of the boot, and has not been tried with entries
 * that are not valid.
 *
 * Return: -EOPNOTSUPP.
 */
int gmpool_arch_map(u64 base, u64 size)
{
	return -EOPNOTSUPP;
}

/**
 * gmpool_arch_unmap - remove memory from the linear map
 * @base: physical address
 * @size: bytes
 *
 * Context: boot, process context.
 *
 * Return: 0; -EOPNOTSUPP if the linear map has larger entries that cannot be
 * split (rodata=off).
 */
int gmpool_arch_unmap(u64 base, u64 size)
{
	u64 done, step;
	int err;

	if (!can_set_direct_map())
		return -EOPNOTSUPP;
	/* In steps: set_memory_valid() counts pages and bytes in an int. */
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

static int gmpool_open_window(struct gmpool_window *window)
{
	int err;

	/* The window is never freed: the CPU may come up again. */
	if (window->area)
		return 0;
	window->area = get_vm_area(PMD_SIZE, VM_IOREMAP);
	if (!window->area)
		return -ENOMEM;
	/*
	 * Map and unmap some memory now: the page tables stay, so that no later
	 * mapping can fail.
	 */
	err = gmpool_show_block(window, virt_to_phys(window->area) & PMD_MASK);
	gmpool_empty_window(window);
	if (err) {
		free_vm_area(window->area);
		window->area = NULL;
	}
	return err;
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
	struct gmpool_windows *windows = per_cpu_ptr(&gmpool_windows, cpu);
	int err;

	if (!windows->store.area)
		mutex_init(&windows->lock);
	err = gmpool_open_window(&windows->store);
	return err ?: gmpool_open_window(&windows->read);
}

/* Map the block of @phys in a window. Returns the address of @phys there. */
static void *gmpool_must_show(struct gmpool_window *window, phys_addr_t phys)
{
	/* Without zeroing, or with a wrong copy, a guest would see other data. */
	if (gmpool_show_block(window, phys & PMD_MASK))
		panic("guestmem_pool: a block cannot be mapped to zero or copy it");
	return window->area->addr + (phys & ~PMD_MASK);
}

/**
 * gmpool_arch_zero - zero a part of a block
 * @phys: physical address
 * @len: bytes, within a block
 * @idle: no task waits for the memory
 *
 * Context: process context, may sleep; migration is off until
 * gmpool_arch_close_window().
 */
void gmpool_arch_zero(phys_addr_t phys, size_t len, bool idle)
{
	struct gmpool_windows *windows = this_cpu_ptr(&gmpool_windows);

	guard(mutex)(&windows->lock);
	memset(gmpool_must_show(&windows->store, phys), 0, len);
}

/**
 * gmpool_arch_copy - copy a part of a block to another block
 * @to: physical address to write
 * @from: physical address to read
 * @len: bytes, within a block
 *
 * Context: process context, may sleep; migration is off until
 * gmpool_arch_close_window() of both blocks.
 *
 * Return: bytes that were copied; less than @len if the next ones cannot be read.
 */
size_t gmpool_arch_copy(phys_addr_t to, phys_addr_t from, size_t len)
{
	struct gmpool_windows *windows = this_cpu_ptr(&gmpool_windows);

	guard(mutex)(&windows->lock);
	return len - copy_mc_to_kernel(gmpool_must_show(&windows->store, to),
				       gmpool_must_show(&windows->read, from), len);
}

static void gmpool_close_window(struct gmpool_window *window, phys_addr_t block)
{
	/* Another task may have mapped another block since. */
	if (window->block == block)
		gmpool_empty_window(window);
}

/**
 * gmpool_arch_close_window - unmap a block from the windows
 * @block: physical address of a block that gmpool_arch_zero() has zeroed or
 *	gmpool_arch_copy() has copied
 *
 * Context: process context, may sleep; migration is off since then.
 */
void gmpool_arch_close_window(phys_addr_t block)
{
	struct gmpool_windows *windows = this_cpu_ptr(&gmpool_windows);

	guard(mutex)(&windows->lock);
	gmpool_close_window(&windows->store, block);
	gmpool_close_window(&windows->read, block);
}
