// SPDX-License-Identifier: GPL-2.0
/*
 * Putting pool memory out of everybody's reach.
 *
 * It has left memblock early (reserve.c), so there are no struct pages. What
 * remains is done here, as soon as the allocators are up and before user space
 * or /proc/kcore could look:
 *
 * - In the resource tree it must be no busy System RAM any more: a fault or
 *   memremap() would look for its struct pages. But with no resource at all,
 *   /dev/mem would open. IORESOURCE_SYSTEM_RAM without IORESOURCE_BUSY, and
 *   IORESOURCE_EXCLUSIVE, is what both respect (and iomem=relaxed does not
 *   override), as virtio-mem does for its device memory.
 * - But a region can be requested in a resource that is not busy: memory hotplug
 *   counts on that for drivers that reserve a range and add it later. So
 *   the resource has a child that is busy, and covers all of it. It is not
 *   System RAM: where the flags of System RAM matter, the parent comes first.
 * - Its caching is fixed as write-back, where user mappings by pfn ask for it.
 * - Its entries in the direct map go.
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
	/* It does nothing where firmware describes the memory in pieces. */
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
 * A confidential guest (TDX, SEV-SNP) must accept memory before the first access,
 * which is fatal otherwise. Memblock accepts what it allocates, the buddy allocator
 * what it is given: neither has seen pool memory. The interrupts are off for one
 * call, hence the steps. SEV-SNP accepts memory through the direct map, so this
 * comes before that is taken.
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
