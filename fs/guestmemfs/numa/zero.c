// SPDX-License-Identifier: GPL-2.0
/*
 * Zeroing and copying of pool memory, which is not in the direct map.
 *
 * A mapping in vmalloc space would be visible to all CPUs, with stale
 * translations until the next full TLB flush. So each CPU has windows of its
 * own, with room for two blocks (arch.h).
 */

#include <linux/cpuhotplug.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sizes.h>

#include "arch.h"
#include "pool.h"

/* Bytes to zero or copy with preemption off: takes about 50 us at 10 GB/s. */
#define WINDOW_STEP	SZ_512K

/**
 * gmpool_zero_init - set up the windows of all CPUs
 *
 * Context: boot, once there is a pool.
 *
 * Return: 0, or -ENOMEM.
 */
int __init gmpool_zero_init(void)
{
	int err;

	err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "mm/guestmem_pool:online",
				gmpool_arch_open_window, NULL);
	return min(err, 0);
}

/**
 * gmpool_zero_phys - zero a part of a pool's memory
 * @phys: physical address
 * @len: bytes, not beyond the end of the block that @phys is in
 * @idle: no task waits for the memory: keep it out of the caches
 *
 * Context: process context, may sleep.
 */
void gmpool_zero_phys(phys_addr_t phys, u64 len, bool idle)
{
	phys_addr_t block = phys & PMD_MASK;
	u64 step;

	/* Stay on one CPU, to unmap the block from its window at the end. */
	guard(migrate)();
	for (; len; phys += step, len -= step) {
		step = min(len, WINDOW_STEP - phys % WINDOW_STEP);
		gmpool_arch_zero(phys, step, idle);
		cond_resched();
	}
	gmpool_arch_close_window(block);
}

/**
 * gmpool_copy_phys - copy a block of a pool's memory
 * @to: physical address of the block to write
 * @from: physical address of the block to read
 *
 * A page that cannot be read goes to memory_failure(), as the copies of the kernel's
 * copy-on-write do it.
 *
 * Context: process context, may sleep.
 *
 * Return: 0; -EHWPOISON if a page of @from cannot be read.
 */
int gmpool_copy_phys(phys_addr_t to, phys_addr_t from)
{
	size_t done, copied = WINDOW_STEP;

	/* Stay on one CPU, to unmap the blocks from its windows at the end. */
	guard(migrate)();
	for (done = 0; done < PMD_SIZE && copied == WINDOW_STEP; done += copied) {
		copied = gmpool_arch_copy(to + done, from + done, WINDOW_STEP);
		cond_resched();
	}
	gmpool_arch_close_window(to);
	gmpool_arch_close_window(from);
	if (done == PMD_SIZE)
		return 0;
	memory_failure_queue(PHYS_PFN(from + done), 0);
	return -EHWPOISON;
}
