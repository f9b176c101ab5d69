// SPDX-License-Identifier: GPL-2.0
/*
 * Zeroing memory that no part of the kernel can reach.
 *
 * The direct map has no pool memory, and a mapping in vmalloc space would show
 * it to all CPUs, with stale translations until the next flush of everything.
 * So each CPU has a window of its own, with room for one block (arch.h).
 */

#include <linux/cpuhotplug.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sizes.h>

#include "arch.h"
#include "pool.h"

/*
 * Nothing else can run on the CPU meanwhile, so it must not take long: some 50
 * us at 10 GB/s.
 */
#define WINDOW_STEP	SZ_512K

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
				gmpool_arch_open_window, NULL);
	return min(err, 0);
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
		gmpool_arch_zero(phys, step, idle);
		cond_resched();
	}
	gmpool_arch_close_window(block);
}
