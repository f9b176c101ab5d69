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
#include "resize.h"

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

	list_for_each_entry(pool, &gmpool_list, list) {
		guard(spinlock)(&pool->space.lock);
		for (i = 0; i < pool->numbers.nr; i++)
			if (pool->numbers.extent[i].base < base + size &&
			    base < pool->numbers.extent[i].base + pool->numbers.extent[i].size)
				return pool;
	}
	return NULL;
}

/**
 * struct held - memory of a pool that is looked for in a memory device
 * @pool: the pool; filled if @size is 0
 * @base: physical address
 * @size: bytes, or 0 for the memory of all pools
 * @found: the device has some of it
 */
struct held {
	struct gmpool *pool;
	u64 base;
	u64 size;
	bool found;
};

/* The same resources as in drivers/acpi/acpi_memhotplug.c. */
static acpi_status gmpool_find_in_crs(struct acpi_resource *resource, void *context)
{
	struct acpi_resource_address64 address;
	struct held *held = context;
	u64 base, size;

	if (ACPI_FAILURE(acpi_resource_to_address64(resource, &address)) ||
	    address.resource_type != ACPI_MEMORY_RANGE ||
	    !address.address.address_length)
		return AE_OK;
	base = address.address.minimum;
	size = address.address.address_length;
	if (held->size) {
		held->found = held->base < base + size && base < held->base + held->size;
	} else {
		held->pool = gmpool_in_range(base, size);
		held->found = held->pool;
	}
	return held->found ? AE_CTRL_TERMINATE : AE_OK;
}

static void gmpool_release_holder(struct device *dev)
{
	kfree(dev);
}

static bool gmpool_is_held(const char *name)
{
	struct device *dev = bus_find_device_by_name(&gmpool_subsys, NULL, name);

	put_device(dev);
	return dev;
}

/* Returns -EEXIST if the pool holds the device already. */
static int gmpool_hold_device(struct acpi_device *adev, struct gmpool *pool)
{
	struct device *dev;
	char name[64];
	int err;

	snprintf(name, sizeof(name), "node%d:%s", pool->nid, dev_name(&adev->dev));
	if (gmpool_is_held(name))
		return -EEXIST;
	dev = kzalloc_obj(*dev);
	if (!dev)
		return -ENOMEM;
	device_initialize(dev);
	dev->bus = &gmpool_subsys;
	dev->release = gmpool_release_holder;
	/* device_add() binds it. */
	ACPI_COMPANION_SET(dev, adev);
	err = dev_set_name(dev, "%s", name);
	if (!err)
		err = device_add(dev);
	if (err)
		put_device(dev);
	return err;
}

static int gmpool_check_device(struct device *dev, void *data)
{
	struct acpi_device *adev = to_acpi_device(dev);
	struct held held = {};
	int err;

	if (data)
		held = *(struct held *)data;

	if (acpi_match_device_ids(adev, gmpool_memory_device_ids))
		return 0;
	acpi_walk_resources(adev->handle, METHOD_NAME__CRS, gmpool_find_in_crs, &held);
	if (!held.found)
		return 0;
	err = gmpool_hold_device(adev, held.pool);
	if (err == -EEXIST)
		return 0;
	if (err)
		pr_warn("node %d: memory device %s holds memory of the pool, and its removal cannot be refused (%pe)\n",
			held.pool->nid, dev_name(dev), ERR_PTR(err));
	else
		pr_info("node %d: memory device %s holds memory of the pool, its removal is refused\n",
			held.pool->nid, dev_name(dev));
	return data ? err : 0;
}

/**
 * gmpool_hold_devices - protect the memory devices that have memory of a pool
 * @pool: the pool
 * @base: physical address of memory that the pool is about to get
 * @size: bytes
 *
 * A device stays protected if the memory leaves the pool.
 *
 * Context: process context, may sleep; device hotplug is locked, as when ACPI ejects a
 * device; takes the lock of ACPI scans.
 *
 * Return: 0 or a negative errno: the memory must not become guest memory then.
 */
int gmpool_hold_devices(struct gmpool *pool, u64 base, u64 size)
{
	struct held held = { .pool = pool, .base = base, .size = size };
	int err;

	if (acpi_disabled)
		return 0;
	acpi_scan_lock_acquire();
	err = bus_for_each_dev(&acpi_bus_type, NULL, &held, gmpool_check_device);
	acpi_scan_lock_release();
	return err;
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
