// SPDX-License-Identifier: GPL-2.0
/*
 * KHO and memory that is added after boot.
 *
 * The next kernel starts with the memory map of firmware. This map lacks memory
 * that virtio-mem, dax/kmem or ACPI has added. The memory comes back when the
 * driver finds its device. KHO does not consider that: its tables and the pages
 * that it preserves can be anywhere. If one of them is in added memory, the
 * next kernel reads an unmapped address early in boot, and crashes with all
 * guests.
 *
 * Tables of KHO and metadata of pools are unmovable allocations. LUO pins a
 * memfd that it preserves, which migrates its pages out of ZONE_MOVABLE. So
 * added memory can be set online only in ZONE_MOVABLE.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/pfn.h>

#include "arch.h"
#include "pool.h"

static int gmpool_notify_memory(struct notifier_block *nb, unsigned long action,
				void *data)
{
	const struct memory_notify *arg = data;
	u64 start = PFN_PHYS(arg->start_pfn);
	u64 end = start + PFN_PHYS(arg->nr_pages);

	if (action != MEM_GOING_ONLINE || !kho_is_enabled() ||
	    is_zone_movable_page(pfn_to_page(arg->start_pfn)) ||
	    gmpool_arch_at_boot(start, end))
		return NOTIFY_OK;
	pr_warn_ratelimited("memory %#llx-%#llx has been added since boot, and the next kernel starts without it: it can be set online as online_movable only\n",
			    start, end - 1);
	return notifier_from_errno(-EPERM);
}

static struct notifier_block gmpool_memory_nb = {
	.notifier_call = gmpool_notify_memory,
};

static int __init gmpool_online_init(void)
{
	int err;

	if (list_empty(&gmpool_list))
		return 0;
	err = register_memory_notifier(&gmpool_memory_nb);
	if (err)
		pr_warn("memory that is added is not checked (%pe): set it online as online_movable only, or the next kernel may not boot\n",
			ERR_PTR(err));
	return err;
}

/* Before ACPI adds memory, at subsys_initcall. */
core_initcall(gmpool_online_init);
