// SPDX-License-Identifier: GPL-2.0
/*
 * The growth reserve of a pool: memory that stays with the kernel, for movable
 * pages only, until the pool grows.
 *
 * Memory can leave the kernel only while nothing unmovable is in it. After a
 * while of use, that is true for hardly any gibibyte of ordinary memory. In
 * ZONE_MOVABLE it is: the kernel has its own data elsewhere, and moves pages
 * out before it pins them for long.
 *
 * The kernel has one way to give an address range to ZONE_MOVABLE, which is
 * meant for memory that firmware calls removable: MEMBLOCK_HOTPLUG, with
 * movable_node. All memory of a node from the lowest such address up is in
 * ZONE_MOVABLE then, and early allocations, with KHO's scratch areas, avoid
 * it. So a reserve consists of all memory that a pool leaves from an address
 * up, and a new pool lies below it.
 *
 * Each kernel finds the reserve again by its command line. Nothing that KHO
 * preserves can be in it: that is either unmovable or pinned.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>

#include "fit.h"
#include "growth.h"
#include "layout.h"
#include "pool.h"

#define MIB(bytes)	((bytes) >> 20)

/*
 * Kernel zones need to be a quarter of the memory at least: see "Considerations"
 * in Documentation/admin-guide/mm/memory-hotplug.rst.
 */
#define MOST_MOVABLE	3

static bool zones_given __initdata;	/* by kernelcore= or movablecore= */

static int __init gmpool_growth_kernelcore_setup(char *s)
{
	zones_given = true;
	return 0;
}
early_param("kernelcore", gmpool_growth_kernelcore_setup);

static int __init gmpool_growth_movablecore_setup(char *s)
{
	zones_given = true;
	return 0;
}
early_param("movablecore", gmpool_growth_movablecore_setup);

/**
 * gmpool_growth_is_possible - can pools have growth reserves
 *
 * With movable_node, the kernel ignores kernelcore= and movablecore= on all
 * nodes. What the administrator has given must not lose its effect.
 *
 * Context: early boot.
 *
 * Return: false with a line in the log if not.
 */
bool __init gmpool_growth_is_possible(void)
{
	if (!zones_given)
		return true;
	pr_warn_once("guestmemfs=: no growth reserve is made, since kernelcore= or movablecore= sets the movable memory of all nodes\n");
	return false;
}

/* Remember the whole gibibytes of the pool, and of the free memory from @start up. */
static void __init gmpool_growth_remember(struct gmpool *pool,
					  const struct gmpool_machine *m)
{
	const struct gmpool_extent *extent = gmpool_numbers_above(&pool->numbers, 0);
	struct gmpool_extent_ser *at = pool->growth.at;
	u64 base, end, next = 0;
	u32 r = 0, nr = 0;

	while (r < m->nr_ranges || extent) {
		/* The lower one of the next range and the next extent. */
		if (!extent ||
		    (r < m->nr_ranges && m->ranges[r].base < extent->base)) {
			base = max(m->ranges[r].base, m->growth_start);
			end = m->ranges[r].base + m->ranges[r].size;
			r++;
		} else {
			base = extent->base;
			end = base + extent->size;
			extent = gmpool_numbers_above(&pool->numbers, end);
		}
		base = max(round_up(base, GMPOOL_1G_SIZE), next);
		end = round_down(end, GMPOOL_1G_SIZE);
		if (base >= end)
			continue;
		next = end;
		if (nr && at[nr - 1].base + at[nr - 1].size == base) {
			at[nr - 1].size += end - base;
		} else if (nr < GMPOOL_MAX_EXTENTS) {
			at[nr].base = base;
			at[nr++].size = end - base;
		}
	}
	pool->growth.nr = nr;
}

/* Mark the node's memory from @start up. A mark splits a region. */
static int __init gmpool_growth_mark(int nid, u64 start)
{
	struct memblock_region *region;
	u64 base;
	int err;

again:
	for_each_mem_region(region) {
		base = max_t(u64, region->base, start);
		if (memblock_get_region_node(region) != nid ||
		    memblock_is_hotpluggable(region) ||
		    base >= region->base + region->size)
			continue;
		err = memblock_mark_hotplug(base, region->base + region->size - base);
		if (err)
			return err;
		goto again;
	}
	return 0;
}

/* Warn if little memory of the node is left for what is not movable. */
static void __init gmpool_growth_compare(int nid, u64 start)
{
	unsigned long first, last;
	u64 sum[2] = { };
	int i;

	for_each_mem_pfn_range(i, nid, &first, &last, NULL) {
		u64 base = PFN_PHYS(first), end = PFN_PHYS(last);

		sum[0] += min(end, start) - min(base, start);
		sum[1] += max(end, start) - max(base, start);
	}
	if (sum[1] > MOST_MOVABLE * sum[0])
		pr_warn("node %d: %llu MiB are for movable pages only, and %llu MiB for all: that is more than %d to 1, and the kernel may run out of memory there\n",
			nid, MIB(sum[1]), MIB(sum[0]), MOST_MOVABLE);
}

/**
 * gmpool_growth_keep - keep memory of a node for movable pages
 * @pool: its pool
 * @m: the machine, with the size of the node's reserve and its place
 *
 * Context: early boot, after the memory of the pool has left memblock, before
 * zones are made.
 */
void __init gmpool_growth_keep(struct gmpool *pool, struct gmpool_machine *m)
{
	u64 start = m->growth_start, growth = m->node[pool->nid].growth, free;
	int err = 0;

	if (!growth)
		return;
	/* By now the ranges have neither the pool nor the image. */
	gmpool_machine_find(m, pool->nid, false);
	gmpool_growth_remember(pool, m);
	free = gmpool_layout_gibs(m->ranges, m->nr_ranges, start, U64_MAX);

	if (!movable_node_enabled) {
		/* Memory that firmware calls removable is not asked for. */
		err = memblock_clear_hotplug(0, PHYS_ADDR_MAX);
		/* Stays: a part that is set offline comes back as movable memory. */
		movable_node_enabled = true;
	}
	if (!err)
		err = gmpool_growth_mark(pool->nid, start);
	if (err) {
		pr_err("node %d: out of memory for memory maps: the growth reserve is incomplete\n",
		       pool->nid);
		return;
	}
	pr_info("node %d: growth reserve of %llu MiB from %#llx, for movable pages only until the pool grows\n",
		pool->nid, MIB(growth), start);
	if (free < growth)
		pr_notice("node %d: %llu MiB of the growth reserve are in use by the kernel until the next boot\n",
			  pool->nid, MIB(growth - free));
	gmpool_growth_compare(pool->nid, start);
}
