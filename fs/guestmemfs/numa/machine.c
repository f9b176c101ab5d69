// SPDX-License-Identifier: GPL-2.0
/*
 * Survey of the machine for fit.c: memblock, KHO's parameter, and the kernel
 * image.
 */

#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/string.h>
#include <linux/topology.h>

#include <asm/sections.h>

#include "arch.h"
#include "fit.h"
#include "layout.h"
#include "pool.h"

static struct gmpool_scratch kho_scratch __initdata = { .scale = 200 };

/* KHO parses this too, and reports errors. See kho_parse_scratch_size(). */
static int __init gmpool_kho_scratch_setup(char *s)
{
	u64 low, global, node;
	u32 scale;
	char *p;

	if (!s)
		return 0;
	if (sscanf(s, "%u%%", &scale) == 1 && strchr(s, '%')) {
		kho_scratch.scale = min(scale, GMPOOL_MAX_SCALE);
		return 0;
	}

	low = memparse(s, &p);
	if (*p != ',')
		return 0;
	global = memparse(p + 1, &p);
	if (*p != ',')
		return 0;
	node = memparse(p + 1, &p);
	if (*p || !(low + global + node))
		return 0;
	kho_scratch.scale = 0;
	kho_scratch.low = low;
	kho_scratch.global = global;
	kho_scratch.node = node;
	return 0;
}
early_param("kho_scratch", gmpool_kho_scratch_setup);

static int __init gmpool_image_node(void)
{
	return early_pfn_to_nid(PHYS_PFN(__pa_symbol(_text)));
}

/*
 * Bytes of the image that memblock reserves: without the unused end of its brk
 * area.
 */
static u64 __init gmpool_image_reserved(void)
{
	phys_addr_t start, end, image_end = __pa_symbol(_end);
	phys_addr_t image_start = __pa_symbol(_text);
	struct memblock_region *region;
	u64 bytes = 0;

	for_each_reserved_mem_region(region) {
		start = max(region->base, image_start);
		end = min(region->base + region->size, image_end);
		if (start < end)
			bytes += end - start;
	}
	return bytes;
}

/* On a KHO boot, use only memory that KHO has found free of preserved pages. */
static enum memblock_flags __init gmpool_free_flags(void)
{
	return is_kho_boot() ? MEMBLOCK_KHO_SCRATCH : MEMBLOCK_NONE;
}

/*
 * Find the free memory of a node, or of all; with @image, also memory that only
 * the image occupies.
 */
static void __init gmpool_find_free(struct gmpool_machine *m, int nid,
				    bool image)
{
	u64 image_start = round_down(__pa_symbol(_text), PMD_SIZE);
	u64 image_end = round_up(__pa_symbol(_end), PMD_SIZE);
	phys_addr_t start, end;
	u32 nr = 0;
	u64 i;

	if (nid != NUMA_NO_NODE && nid != gmpool_image_node())
		image = false;
	for_each_free_mem_range(i, nid, gmpool_free_flags(), &start, &end,
				NULL) {
		if (image && start > image_start) {
			nr = gmpool_layout_add(m->free, nr, image_start,
					       image_end);
			image = false;
		}
		nr = gmpool_layout_add(m->free, nr, start, end);
	}
	if (image)
		nr = gmpool_layout_add(m->free, nr, image_start, image_end);
	m->nr_free = nr;
}

/* Find all memory, free or not. */
static void __init gmpool_find_memory(struct gmpool_machine *m)
{
	unsigned long start, end;
	int i;

	m->nr_free = 0;
	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &end, NULL)
		m->nr_free = gmpool_layout_add(m->free, m->nr_free,
					       PFN_PHYS(start), PFN_PHYS(end));
}

/*
 * Find the parts of the free memory for pools: whole sections, without KHO's
 * scratch.
 */
static void __init gmpool_find_ranges(struct gmpool_machine *m)
{
	u64 start, base, end;
	u32 i, nr = 0;

	for (i = 0; i < m->nr_free; i++) {
		end = m->free[i].base + m->free[i].size;
		start = round_up(max(m->free[i].base, m->low_limit),
				 GMPOOL_GRANULARITY);
		for (base = start; base + GMPOOL_GRANULARITY <= end;
		     base += GMPOOL_GRANULARITY) {
			if (!kho_scratch_overlap(base, GMPOOL_GRANULARITY))
				continue;
			nr = gmpool_layout_add(m->ranges, nr, start, base);
			start = base + GMPOOL_GRANULARITY;
		}
		nr = gmpool_layout_add(m->ranges, nr, start, base);
	}
	m->nr_ranges = nr;
}

/**
 * gmpool_machine_find - find the free memory of a node
 * @m: the machine, gets the node's free memory and ranges
 * @nid: the node
 * @image: count the memory of the kernel image as free
 *
 * Context: early boot; memblock still has the memory.
 */
void __init gmpool_machine_find(struct gmpool_machine *m, int nid, bool image)
{
	gmpool_find_free(m, nid, image);
	gmpool_find_ranges(m);
}

/* Find location and size of each node's memory. */
static void __init gmpool_survey_memory(struct gmpool_machine *m)
{
	unsigned long start, end, low = PHYS_PFN(m->low_end);
	int i, nid;

	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &end, &nid) {
		if (nid < 0 || nid >= MAX_NUMNODES)
			continue;
		if (!m->node[nid].size)
			m->node[nid].start = PFN_PHYS(start);
		m->node[nid].end = PFN_PHYS(end);
		m->node[nid].size += PFN_PHYS(end - start);
		if (start < low)
			m->node[nid].low += PFN_PHYS(min(end, low) - start);
	}
}

/* Find the memory that the kernel has allocated already. */
static void __init gmpool_survey_allocated(struct gmpool_machine *m)
{
	u64 image = gmpool_image_reserved();
	int nid;

	m->image = _end - _text;
	m->image_align = gmpool_arch_image_align();
	m->reserved = memblock_reserved_kern_size(MEMBLOCK_ALLOC_ANYWHERE,
						  NUMA_NO_NODE);
	m->reserved_low = memblock_reserved_kern_size(m->low_end, NUMA_NO_NODE);
	if (__pa_symbol(_text) < m->low_end)
		m->reserved_low -= image;
	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		if (!m->node[nid].size)
			continue;
		m->node[nid].reserved =
			memblock_reserved_kern_size(MEMBLOCK_ALLOC_ANYWHERE, nid);
		if (nid == gmpool_image_node())
			m->node[nid].reserved -= image;
	}
}

static void __init gmpool_survey_cpus(struct gmpool_machine *m)
{
	unsigned int cpu;
	int nid;

	/* Bytes per CPU, computed as in pcpu_build_alloc_info(). */
	m->unit = PAGE_ALIGN(__per_cpu_end - __per_cpu_start +
			     PERCPU_MODULE_RESERVE + PERCPU_DYNAMIC_RESERVE);
	m->cpus = num_possible_cpus();
	for_each_possible_cpu(cpu) {
		nid = early_cpu_to_node(cpu);
		if (nid != NUMA_NO_NODE && m->node[nid].size)
			m->node[nid].cpus++;
		else
			m->cpus_elsewhere++;
	}
}

/**
 * gmpool_machine_survey - survey the machine, for the sizes of pools
 * @m: all zero; filled, except @m->node.asked and @m->wanted
 *
 * Context: early boot, after the memory of handed-over pools was retrieved.
 */
void __init gmpool_machine_survey(struct gmpool_machine *m)
{
	int nid;

	m->kho_boot = is_kho_boot();
	/* A kernel that was started with KHO has its scratch areas already. */
	if (kho_is_enabled() && !m->kho_boot)
		m->scratch = kho_scratch;
	m->low_end = (u64)ARCH_LOW_ADDRESS_LIMIT + 1;
	m->swiotlb = gmpool_arch_swiotlb_size();
	gmpool_survey_memory(m);
	gmpool_survey_allocated(m);
	gmpool_survey_cpus(m);
	for_each_online_node(nid)
		if (m->node[nid].size || gmpool_find(nid))
			node_set(nid, m->with_memory);
	gmpool_fit_nodes(m);

	if (m->kho_boot)
		gmpool_find_memory(m);
	else
		gmpool_find_free(m, NUMA_NO_NODE, true);
	m->low_limit = gmpool_fit_low_limit(m);
}
