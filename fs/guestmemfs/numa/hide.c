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
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "arch.h"
#include "pool.h"

static bool __init gmpool_is_system_ram(const struct gmpool_extent *extent)
{
	return region_intersects(extent->base, extent->size,
				 IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

static struct resource *__init
gmpool_add_resource(struct resource *parent, const struct gmpool_extent *extent,
		    const char *name, unsigned long flags)
{
	struct resource *res = kzalloc_obj(*res);

	if (!res)
		return NULL;
	res->name = name;
	res->start = extent->base;
	res->end = extent->base + extent->size - 1;
	res->flags = flags;
	res->desc = IORES_DESC_NONE;
	if (request_resource(parent, res)) {
		kfree(res);
		return NULL;
	}
	return res;
}

static const char *__init
gmpool_take_resource(struct gmpool *pool, const struct gmpool_extent *extent)
{
	struct resource *res;
	char *name;
	u64 done;

	release_mem_region_adjustable(extent->base, extent->size);
	/* No effect where firmware describes the extent in parts. */
	if (gmpool_is_system_ram(extent))
		for (done = 0; done < extent->size; done += GMPOOL_GRANULARITY)
			release_mem_region_adjustable(extent->base + done,
						      GMPOOL_GRANULARITY);
	if (gmpool_is_system_ram(extent))
		return "cannot be taken out of System RAM";

	name = kasprintf(GFP_KERNEL, "guestmemfs node%d", pool->nid);
	if (!name)
		return "cannot have a name in the resource tree";
	res = gmpool_add_resource(&iomem_resource, extent, name,
				  IORESOURCE_SYSTEM_RAM | IORESOURCE_EXCLUSIVE);
	if (!res) {
		kfree(name);
		return "cannot be made a resource of its own";
	}
	if (!gmpool_add_resource(res, extent, "guest memory",
				 IORESOURCE_MEM | IORESOURCE_BUSY))
		return "cannot be kept from other users of its resource";
	return NULL;
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
	const char *error;

	error = gmpool_take_resource(pool, extent);
	if (error)
		return error;
	gmpool_accept_extent(extent);
	if (!gmpool_arch_cached(extent->base, extent->size))
		return "cannot be cached";
	if (gmpool_arch_unmap(extent->base, extent->size))
		return "cannot be taken out of the direct map";
	return NULL;
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
		for (i = 0; i < pool->nr_extents; i++) {
			error = gmpool_hide_extent(pool, &pool->extents[i]);
			if (error)
				gmpool_fail(pool, "extent at %#llx %s",
					    pool->extents[i].base, error);
			else
				pool->nr_hidden++;
		}
	}
	return 0;
}
core_initcall(gmpool_hide);
