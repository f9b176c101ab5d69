// SPDX-License-Identifier: GPL-2.0
/*
 * Protection of memory devices with pool memory against removal.
 *
 * ACPI describes memory that can be removed at run time by memory devices
 * (PNP0C80). Before the ACPI core ejects one, it sets all devices offline that
 * are bound to it, and stops if one refuses. For System RAM these are memory
 * blocks. Pool memory has no memory blocks, so no device would refuse, and the
 * eject would remove the memory of running guests.
 *
 * So each memory device with pool memory has a further device bound to it,
 * which refuses to go offline.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/acpi.h>
#include <linux/device.h>
#include <linux/init.h>
#include <linux/slab.h>

#include "pool.h"

static const struct acpi_device_id gmpool_memory_device_ids[] = {
	{ "PNP0C80", 0 },
	{ }
};

/* Also called for writes of 0 to "online". */
static int gmpool_refuse_offline(struct device *dev)
{
	return -EBUSY;
}

/* The driver core supports offline only for devices with both callbacks. */
static int gmpool_stay_online(struct device *dev)
{
	return 0;
}

static const struct bus_type gmpool_subsys = {
	.name		= "guestmem_pool",
	.offline	= gmpool_refuse_offline,
	.online		= gmpool_stay_online,
};

/* The pool that has memory in the range, or NULL. */
static struct gmpool *gmpool_in_range(u64 base, u64 size)
{
	struct gmpool *pool;
	u32 i;

	list_for_each_entry(pool, &gmpool_list, list)
		for (i = 0; i < pool->nr_extents; i++)
			if (pool->extents[i].base < base + size &&
			    base < pool->extents[i].base + pool->extents[i].size)
				return pool;
	return NULL;
}

/* The same resources as in drivers/acpi/acpi_memhotplug.c. */
static acpi_status gmpool_find_in_crs(struct acpi_resource *resource, void *context)
{
	struct acpi_resource_address64 address;
	struct gmpool **pool = context;

	if (ACPI_FAILURE(acpi_resource_to_address64(resource, &address)) ||
	    address.resource_type != ACPI_MEMORY_RANGE ||
	    !address.address.address_length)
		return AE_OK;
	*pool = gmpool_in_range(address.address.minimum,
				address.address.address_length);
	return *pool ? AE_CTRL_TERMINATE : AE_OK;
}

static void gmpool_release_holder(struct device *dev)
{
	kfree(dev);
}

static int gmpool_hold_device(struct acpi_device *adev, struct gmpool *pool)
{
	struct device *dev = kzalloc_obj(*dev);
	int err;

	if (!dev)
		return -ENOMEM;
	device_initialize(dev);
	dev->bus = &gmpool_subsys;
	dev->release = gmpool_release_holder;
	/* device_add() binds it. */
	ACPI_COMPANION_SET(dev, adev);
	err = dev_set_name(dev, "node%d:%s", pool->nid, dev_name(&adev->dev));
	if (!err)
		err = device_add(dev);
	if (err)
		put_device(dev);
	return err;
}

static int gmpool_check_device(struct device *dev, void *unused)
{
	struct acpi_device *adev = to_acpi_device(dev);
	struct gmpool *pool = NULL;
	int err;

	if (acpi_match_device_ids(adev, gmpool_memory_device_ids))
		return 0;
	acpi_walk_resources(adev->handle, METHOD_NAME__CRS, gmpool_find_in_crs, &pool);
	if (!pool)
		return 0;
	err = gmpool_hold_device(adev, pool);
	if (err)
		pr_warn("node %d: memory device %s holds memory of the pool, and its removal cannot be refused (%pe)\n",
			pool->nid, dev_name(dev), ERR_PTR(err));
	else
		pr_info("node %d: memory device %s holds memory of the pool, its removal is refused\n",
			pool->nid, dev_name(dev));
	return 0;
}

/* Firmware can add tables at run time. */
static int gmpool_acpi_notify(struct notifier_block *nb, unsigned long action,
			      void *data)
{
	if (action == BUS_NOTIFY_ADD_DEVICE)
		gmpool_check_device(data, NULL);
	return NOTIFY_OK;
}

static struct notifier_block gmpool_acpi_nb = {
	.notifier_call = gmpool_acpi_notify,
};

static int __init gmpool_eject_init(void)
{
	int err;

	if (acpi_disabled || list_empty(&gmpool_list))
		return 0;
	err = subsys_virtual_register(&gmpool_subsys, NULL);
	if (err) {
		pr_warn("removal of memory devices that hold memory of pools cannot be refused (%pe)\n",
			ERR_PTR(err));
		return err;
	}
	/* Neither add nor eject devices between the two steps. */
	acpi_scan_lock_acquire();
	bus_register_notifier(&acpi_bus_type, &gmpool_acpi_nb);
	bus_for_each_dev(&acpi_bus_type, NULL, NULL, gmpool_check_device);
	acpi_scan_lock_release();
	return 0;
}

/* Right after the ACPI core has enumerated its devices. */
subsys_initcall_sync(gmpool_eject_init);
