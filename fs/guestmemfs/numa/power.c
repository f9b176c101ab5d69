// SPDX-License-Identifier: GPL-2.0
/*
 * Hibernation saves memory that has struct pages, switches the machine off, and
 * lets another kernel restore the image. The image would lack the pools, and
 * restoring an image would lose their contents. So a kernel with pools does
 * neither. Suspend keeps memory unchanged, and is allowed.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/init.h>
#include <linux/list.h>
#include <linux/notifier.h>
#include <linux/suspend.h>

#include "pool.h"

static int gmpool_notify_power(struct notifier_block *nb, unsigned long action,
			       void *data)
{
	switch (action) {
	case PM_HIBERNATION_PREPARE:
		pr_err("hibernation is refused: an image does not hold the memory of pools; suspend, or boot without guestmemfs=\n");
		return notifier_from_errno(-EPERM);
	case PM_RESTORE_PREPARE:
		pr_err("resuming from hibernation is refused: it would overwrite the memory of pools\n");
		return notifier_from_errno(-EPERM);
	default:
		return NOTIFY_DONE;
	}
}

static struct notifier_block power_nb = {
	.notifier_call = gmpool_notify_power,
};

/* Before resume from hibernation, at late_initcall. */
static int __init gmpool_power_init(void)
{
	return list_empty(&gmpool_list) ? 0 : register_pm_notifier(&power_nb);
}
device_initcall(gmpool_power_init);
