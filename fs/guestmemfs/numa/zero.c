// SPDX-License-Identifier: GPL-2.0
/*
 * Zeroing of pool memory, which is not in the direct map.
 *
 * A mapping in vmalloc space would be visible to all CPUs, with stale
 * translations until the next full TLB flush. So each CPU has a window of its
 * own, with room for one block (arch.h).
 */

#include <linux/cpuhotplug.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sizes.h>

#include "arch.h"
#include "pool.h"

/* Bytes to zero with preemption off: takes about 50 us at 10 GB/s. */
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
