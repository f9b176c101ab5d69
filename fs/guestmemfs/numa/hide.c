// SPDX-License-Identifier: GPL-2.0
/*
 * Hiding pool memory from the rest of the kernel.
 *
 * The memory has left memblock early (reserve.c), so it has no struct pages.
 * The remaining steps follow as soon as the allocators are up, before user
 * space or /proc/kcore can access it:
 *
 * - In the resource tree, the memory must not be busy System RAM: a fault or
 *   memremap() would look for struct pages. But without any resource, /dev/mem
 *   would give access. IORESOURCE_SYSTEM_RAM without IORESOURCE_BUSY, and with
 *   IORESOURCE_EXCLUSIVE, satisfies both, as virtio-mem does for its device
 *   memory. iomem=relaxed does not override it.
 * - A region can be requested in a resource that is not busy: memory hotplug
 *   relies on this for drivers that reserve a range and add it later. So the
 *   resource has a busy child that covers all of it. The child is not System
 *   RAM: a search for the flags of System RAM finds the parent first.
 * - The caching is set to write-back, where user mappings by pfn look it up.
 * - The memory is removed from the direct map.
 *
 * A pool grows and shrinks by whole units (gmpool_unit()). So the caching is tracked
 * for each unit: it can be undone only for what was tracked in one call.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/device.h>
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "arch.h"
#include "pool.h"
#include "resize.h"

#define HIDDEN_FLAGS	(IORESOURCE_SYSTEM_RAM | IORESOURCE_EXCLUSIVE)
#define BUSY_FLAGS	(IORESOURCE_MEM | IORESOURCE_BUSY)

/**
 * struct hidden - hidden memory in the resource tree
 * @list: in hidden_list
 * @name: of @outer
 * @outer: keeps others away
 * @busy: all of @outer
 */
struct hidden {
	struct list_head list;
	char name[32];
	struct resource outer;
	struct resource busy;
};

/* Guarded by the lock of device hotplug, after boot. */
static LIST_HEAD(hidden_list);

static bool gmpool_is_system_ram(const struct gmpool_extent *extent)
{
	return region_intersects(extent->base, extent->size,
				 IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

static struct hidden *gmpool_make_hidden(const struct gmpool *pool, u64 base, u64 end)
{
	struct hidden *hidden = kzalloc_obj(*hidden);

	if (!hidden)
		return NULL;
	snprintf(hidden->name, sizeof(hidden->name), "guestmemfs node%d", pool->nid);
	hidden->outer = DEFINE_RES_NAMED(base, end - base, hidden->name, HIDDEN_FLAGS);
	hidden->busy = DEFINE_RES_NAMED(base, end - base, "guest memory", BUSY_FLAGS);
	return hidden;
}

/* A callback of walk_system_ram_res(), which copies the entry, clipped to the extent. */
static int gmpool_release_ram(struct resource *part, void *arg)
{
	release_mem_region_adjustable(part->start, resource_size(part));
	return 0;
}

static const char *gmpool_take_resource(struct gmpool *pool,
					const struct gmpool_extent *extent)
{
	struct hidden *hidden;

	/*
	 * Entry by entry: System RAM can be in several that meet anywhere, and a range
	 * that is in two of them is not released.
	 */
	walk_system_ram_res(extent->base, extent->base + extent->size - 1, NULL,
			    gmpool_release_ram);
	if (gmpool_is_system_ram(extent))
		return "cannot be taken out of System RAM";

	hidden = gmpool_make_hidden(pool, extent->base, extent->base + extent->size);
	if (!hidden)
		return "cannot have a name in the resource tree";
	if (request_resource(&iomem_resource, &hidden->outer)) {
		kfree(hidden);
		return "cannot be made a resource of its own";
	}
	list_add(&hidden->list, &hidden_list);
	if (request_resource(&hidden->outer, &hidden->busy))
		return "cannot be kept from other users of its resource";
	return NULL;
}

/* Undo gmpool_take_resource(). */
static void gmpool_drop_resource(u64 base)
{
	struct hidden *hidden;

	list_for_each_entry(hidden, &hidden_list, list) {
		if (hidden->outer.start != base)
			continue;
		release_resource(&hidden->outer);
		list_del(&hidden->list);
		kfree(hidden);
		return;
	}
}

/*
 * Split the resource around a unit into one below, one above, and one of the unit, which
 * has no busy child. Each is exclusive, and put into the old one before that goes: at
 * each moment, all of the memory is in an exclusive resource.
 *
 * Returns what is around the unit; NULL on error, nothing is changed then.
 */
static struct hidden *gmpool_split_resource(struct gmpool *pool, u64 base, u64 size)
{
	struct hidden *old, *unit, *below = NULL, *above = NULL;
	u64 end = base + size;

	list_for_each_entry(old, &hidden_list, list)
		if (old->outer.start <= base && old->outer.end >= end - 1)
			goto found;
	return NULL;
found:
	unit = gmpool_make_hidden(pool, base, end);
	if (old->outer.start < base)
		below = gmpool_make_hidden(pool, old->outer.start, base);
	if (old->outer.end >= end)
		above = gmpool_make_hidden(pool, end, old->outer.end + 1);
	if (!unit || (old->outer.start < base && !below) ||
	    (old->outer.end >= end && !above)) {
		kfree(unit);
		kfree(below);
		kfree(above);
		return NULL;
	}

	/* All new ones lie within the busy child, and cannot conflict. */
	insert_resource(&old->outer, &unit->outer);
	list_add(&unit->list, &hidden_list);
	if (below) {
		insert_resource(&old->outer, &below->outer);
		request_resource(&below->outer, &below->busy);
		list_add(&below->list, &hidden_list);
	}
	if (above) {
		insert_resource(&old->outer, &above->outer);
		request_resource(&above->outer, &above->busy);
		list_add(&above->list, &hidden_list);
	}
	/* What is in them moves up. */
	remove_resource(&old->busy);
	remove_resource(&old->outer);
	list_del(&old->list);
	kfree(old);
	return unit;
}

/*
 * A confidential guest (TDX, SEV-SNP) must accept memory before the first
 * access, which is fatal otherwise. Memblock and the buddy allocator accept the
 * memory that they manage, which excludes pool memory. Interrupts are off
 * during a call, hence the steps. SEV-SNP accepts memory through the direct
 * map, so this precedes the removal from it.
 */
static void __init gmpool_accept_extent(const struct gmpool_extent *extent)
{
	u64 done;

	for (done = 0; done < extent->size; done += GMPOOL_GRANULARITY) {
		accept_memory(extent->base + done, GMPOOL_GRANULARITY);
		cond_resched();
	}
}

static const char *__init
gmpool_hide_extent(struct gmpool *pool, const struct gmpool_extent *extent)
{
	u64 at, next, end = extent->base + extent->size;
	const char *error;

	error = gmpool_take_resource(pool, extent);
	if (error)
		return error;
	gmpool_accept_extent(extent);
	for (at = extent->base; at < end; at = next) {
		next = min(round_down(at, gmpool_unit()) + gmpool_unit(), end);
		if (!gmpool_arch_cached(at, next - at))
			return "cannot be cached";
	}
	if (gmpool_arch_unmap(extent->base, extent->size))
		return "cannot be taken out of the direct map";
	return NULL;
}

/**
 * gmpool_hide_unit - hide memory that the kernel has given up
 * @pool: pool that gets it
 * @base: physical address
 * @size: bytes
 *
 * The kernel has removed the memory from its direct map already.
 *
 * Context: process context, may sleep; device hotplug is locked.
 *
 * Return: NULL, or the error as text; nothing is changed then.
 */
const char *gmpool_hide_unit(struct gmpool *pool, u64 base, u64 size)
{
	struct gmpool_extent unit = { .base = base, .size = size };
	const char *error = gmpool_take_resource(pool, &unit);

	if (!error && !gmpool_arch_cached(base, size))
		error = "cannot be cached";
	if (error)
		gmpool_drop_resource(base);
	return error;
}

/*
 * Remove the struct pages that a failed attempt to add a unit leaves: __add_pages() keeps
 * those of the sections before the one that failed. With them, a later attempt would fail,
 * and memory_failure() would not tell the pool of a failed page.
 */
static void gmpool_remove_remains(u64 base, u64 size)
{
	u64 at;

	lock_device_hotplug();
	mem_hotplug_begin();
	for (at = base; at < base + size; at += GMPOOL_GRANULARITY)
		if (pfn_valid(PHYS_PFN(at)))
			__remove_pages(PHYS_PFN(at), PAGES_PER_SECTION, NULL, NULL);
	mem_hotplug_done();
	unlock_device_hotplug();
}

/**
 * gmpool_add_memory - let the kernel have memory that is in its direct map
 * @pool: pool that it was or would have been in
 * @base: physical address
 * @size: bytes
 *
 * Context: process context, may sleep; takes the locks of memory hotplug;
 * gmpool.resize.lock is held.
 *
 * Return: 0 or a negative errno; the memory has no struct pages then, or others have it.
 */
int gmpool_add_memory(struct gmpool *pool, u64 base, u64 size)
{
	int err = __add_memory_driver_managed(pool->nid, base, size,
					      "System RAM (guestmemfs)", MHP_NONE,
					      MMOP_ONLINE_MOVABLE);

	/* -EEXIST: others have added it, and the struct pages are theirs. */
	if (err && err != -EEXIST)
		gmpool_remove_remains(base, size);
	if (!err)
		gmpool_fail_online(pool, base);
	return err;
}

/*
 * Undo the steps of gmpool_unhide_unit(). Each is tried, regardless of the others. All that
 * is allocated is the entry of PAT, which cannot stay while the memory is System RAM: it
 * may come from the kernel's last reserve.
 */
static void gmpool_hide_again(struct gmpool *pool, struct hidden *unit)
{
	u64 base = unit->outer.start, size = resource_size(&unit->outer);
	unsigned int flags;
	int err;

	err = request_resource(&unit->outer, &unit->busy);
	err = gmpool_arch_unmap(base, size) ?: err;
	flags = memalloc_noreclaim_save();
	if (!gmpool_arch_cached(base, size))
		err = -ENOMEM;
	memalloc_noreclaim_restore(flags);
	if (err)
		pr_err("node %d: memory at %#llx has left the pool, and cannot be hidden again: the kernel reaches it until the next boot\n",
		       pool->nid, base);
}

/**
 * gmpool_unhide_unit - give memory of a pool to the kernel
 * @pool: the pool, which does not use the memory any more
 * @base: physical address
 * @size: bytes
 *
 * The kernel uses it for movable pages only, so that the pool can get it back. Its name
 * in the resource tree keeps other users of the tree, such as kexec_load(8), from
 * regarding it as memory that the next kernel has in any case.
 *
 * Context: process context, may sleep; takes the locks of memory hotplug.
 *
 * Return: 0 or a negative errno; nothing is changed then.
 */
int gmpool_unhide_unit(struct gmpool *pool, u64 base, u64 size)
{
	struct hidden *unit;
	int err = -ENOMEM;

	lock_device_hotplug();
	unit = gmpool_split_resource(pool, base, size);
	unlock_device_hotplug();
	if (!unit)
		return err;

	gmpool_arch_uncached(base, size);
	err = gmpool_arch_map(base, size);
	if (!err)
		err = gmpool_add_memory(pool, base, size);
	if (err) {
		gmpool_hide_again(pool, unit);
		return err;
	}

	/* What was added is within the resource, and takes its place. */
	lock_device_hotplug();
	remove_resource(&unit->outer);
	list_del(&unit->list);
	unlock_device_hotplug();
	kfree(unit);
	return 0;
}

static int __init gmpool_hide(void)
{
	struct gmpool *pool;
	const char *error;
	u32 i;

	if (IS_ENABLED(CONFIG_DEVMEM) && !IS_ENABLED(CONFIG_STRICT_DEVMEM) &&
	    !list_empty(&gmpool_list))
		pr_warn("root can read the memory of pools by /dev/mem: CONFIG_STRICT_DEVMEM is off\n");

	list_for_each_entry(pool, &gmpool_list, list) {
		for (i = 0; i < pool->numbers.nr; i++) {
			error = gmpool_hide_extent(pool, &pool->numbers.extent[i]);
			if (error)
				gmpool_fail(pool, "extent at %#llx %s",
					    pool->numbers.extent[i].base, error);
			else
				pool->nr_hidden++;
		}
	}
	return 0;
}
core_initcall(gmpool_hide);
