// SPDX-License-Identifier: GPL-2.0
/*
 * Taking the memory of pools out of memblock, early in boot.
 *
 * Two moments, both in mm_core_init_early(): first, before KHO allows anything
 * to be allocated beyond its scratch areas, what an earlier kernel handed over
 * (retrieve.c); then what the command line asks for in addition. Memory that has left
 * memblock gets no struct pages. It stays in the direct map and in the resource
 * tree until seclude.c can change these.
 *
 * The memory is removed, not reserved: KHO makes its scratch areas twice as
 * large as what is reserved for the kernel.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/cpumask.h>
#include <linux/crash_dump.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/string.h>
#include <linux/topology.h>

#include <asm/sections.h>
#include <asm/setup.h>

#include "cmdline.h"
#include "hugetlb.h"
#include "layout.h"
#include "pool.h"

#define MIB(bytes)	((bytes) >> 20)

/*
 * What a node needs beside struct pages, per-CPU data and what is allocated
 * already: slabs, page tables, and on some node the hash tables.
 */
#define KEEP_NODE	SZ_256M

/* What the kernel allocates early once for all nodes, beside swiotlb's buffer. */
#define KEEP_MACHINE	SZ_16M

/* Of KHO's scratch areas: SCRATCH_ALIGNMENT_BYTES in kexec_handover.c. */
#define SCRATCH_ALIGN	((u64)PAGE_SIZE * MAX_ORDER_NR_PAGES)

/* Free memory below 4 GiB that stays: DMA zones, swiotlb, KHO's low scratch. */
#define KEEP_LOW	SZ_256M

static char guestmemfs_param[COMMAND_LINE_SIZE] __initdata;
static struct gmpool_cmdline cmdline __initdata;
static struct gmpool_extent_ser pieces[GMPOOL_MAX_RANGES] __initdata;
static struct gmpool_extent_ser ranges[GMPOOL_MAX_RANGES] __initdata;
static struct gmpool_extent_ser picked[GMPOOL_MAX_EXTENTS] __initdata;
static struct gmpool_extent_ser left_over[GMPOOL_MAX_RANGES + GMPOOL_MAX_EXTENTS] __initdata;
static struct gmpool_extent_ser work[ARRAY_SIZE(left_over) + 1] __initdata;
static u32 nr_pieces __initdata;
static u32 nr_ranges __initdata;
static nodemask_t with_memory __initdata;
static u64 left[MAX_NUMNODES] __initdata;	/* see gmpool_count_left() */
static nodemask_t lost __initdata;	/* a pool of which nothing could be retrieved */
static nodemask_t wanted __initdata;	/* a new pool is to be made there */
static unsigned int nr_cpus[MAX_NUMNODES] __initdata;	/* of nodes with memory */
static unsigned int nr_cpus_elsewhere __initdata;	/* of others */
static u64 low_limit __initdata;	/* see gmpool_find_low_limit() */
static int node_for_all __initdata;	/* see gmpool_find_node_for_all() */
static int node_for_low __initdata;	/* see gmpool_find_node_for_low() */
static bool fresh __ro_after_init;

/*
 * How KHO sizes its scratch areas: in percent of what is allocated early, or if
 * that is 0, in bytes.
 */
static u32 scratch_scale __initdata = 200;
static u64 scratch_low __initdata;
static u64 scratch_global __initdata;
static u64 scratch_node __initdata;

/*
 * Only recorded here: the nodes are not known yet. If it is given more than
 * once, all of it counts.
 */
static int __init guestmemfs_setup(char *s)
{
	if (guestmemfs_param[0])
		strlcat(guestmemfs_param, ",", sizeof(guestmemfs_param));
	if (!s || !*s)
		pr_warn("guestmemfs= has no value, allowed is <node>:<size>[,...] or <size>: no pool is made by it\n");
	else
		strlcat(guestmemfs_param, s, sizeof(guestmemfs_param));
	return 0;
}
early_param("guestmemfs", guestmemfs_setup);

/*
 * KHO parses this too, and says what is wrong with it. See
 * kho_parse_scratch_size().
 */
static int __init gmpool_kho_scratch_setup(char *s)
{
	u64 low, global, node;
	u32 scale;
	char *p;

	if (!s)
		return 0;
	if (sscanf(s, "%u%%", &scale) == 1 && strchr(s, '%')) {
		scratch_scale = min(scale, GMPOOL_MAX_SCALE);
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
	scratch_scale = 0;
	scratch_low = low;
	scratch_global = global;
	scratch_node = node;
	return 0;
}
early_param("kho_scratch", gmpool_kho_scratch_setup);

static void __init gmpool_report_arg(void *ctx, const char *token, int len,
				     enum gmpool_arg_error error)
{
	pr_warn("guestmemfs=: \"%.*s\" %s: this part is ignored\n", len, token,
		gmpool_arg_strerror(error));
}

/**
 * gmpool_start_afresh - is what was handed over to be thrown away
 *
 * Return: true if the command line has "guestmemfs=fresh".
 */
bool gmpool_start_afresh(void)
{
	return fresh;
}

/* Bytes of memory on a node, below an address. */
static u64 __init gmpool_size_below(int nid, u64 limit)
{
	unsigned long start, end;
	u64 pages = 0;
	int i;

	for_each_mem_pfn_range(i, nid, &start, &end, NULL)
		if (start < PHYS_PFN(limit))
			pages += min_t(u64, end, PHYS_PFN(limit)) - start;
	return PFN_PHYS(pages);
}

static u64 __init gmpool_node_size(int nid)
{
	return gmpool_size_below(nid, U64_MAX);
}

/**
 * guestmem_pool_retrieve_early - take over the memory of handed-over pools
 *
 * Context: early boot; memblock allocates from KHO's scratch areas alone.
 */
void __init guestmem_pool_retrieve_early(void)
{
	if (guestmemfs_param[0])
		gmpool_parse_cmdline(guestmemfs_param, &cmdline,
				     gmpool_report_arg, NULL);
	fresh = cmdline.fresh;
	if (fresh)
		pr_notice("guestmemfs=fresh: pools that were handed over are thrown away\n");

	if (!is_kdump_kernel() && is_kho_boot() && !fresh)
		gmpool_retrieve_memory(&lost);
}

/*
 * With KASLR the kernel image is elsewhere at each boot. What is allowed must
 * not depend on that: the pools of a machine would be there after one boot and
 * not after the next. So it counts on each node, and with the place in which it
 * is most in the way.
 */
static u64 __init gmpool_image_size(void)
{
	return _end - _text;
}

static int __init gmpool_image_node(void)
{
	return early_pfn_to_nid(PHYS_PFN(__pa_symbol(_text)));
}

/* What memblock has of it: not the end of its brk area, which nobody has used. */
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

/* Sections that the image can be in. */
static u64 __init gmpool_image_sections(void)
{
	return DIV_ROUND_UP_ULL(gmpool_image_size(), GMPOOL_GRANULARITY) + 1;
}

/* What is allocated for a CPU, as pcpu_build_alloc_info() has it. */
static u64 __init gmpool_unit_size(void)
{
	return PAGE_ALIGN(__per_cpu_end - __per_cpu_start +
			  PERCPU_MODULE_RESERVE + PERCPU_DYNAMIC_RESERVE);
}

/*
 * What is allocated for the CPUs of a node at first, in one piece. Then what is
 * behind each CPU's unit is given back.
 */
static u64 __init gmpool_percpu_piece(unsigned int cpus)
{
	return cpus * roundup_pow_of_two(gmpool_unit_size());
}

/*
 * KHO's scratch area for allocations on no particular node is in one piece, on
 * the highest node that has room for it. The largest shall have it: of several,
 * the highest of them.
 */
static int __init gmpool_find_node_for_all(void)
{
	int largest = NUMA_NO_NODE;
	unsigned long start, end;
	int i, nid;

	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &end, &nid)
		if (largest == NUMA_NO_NODE ||
		    gmpool_node_size(nid) >= gmpool_node_size(largest))
			largest = nid;
	return largest;
}

/*
 * Bytes of a node that are allocated for good, or will be as soon as there is
 * per-CPU data; the image among them.
 */
static u64 __init gmpool_kernel_bytes(int nid)
{
	u64 bytes = memblock_reserved_kern_size(MEMBLOCK_ALLOC_ANYWHERE, nid) +
		    nr_cpus[nid] * gmpool_unit_size();

	if (nid == node_for_all)
		bytes += nr_cpus_elsewhere * gmpool_unit_size();
	if (nid == gmpool_image_node())
		bytes -= gmpool_image_reserved();
	return bytes + gmpool_image_size();
}

/* Bytes below 4 GiB that are allocated for good by now, but for the image. */
static u64 __init gmpool_low_kernel_bytes(void)
{
	u64 bytes = memblock_reserved_kern_size(SZ_4G, NUMA_NO_NODE);

	return __pa_symbol(_text) < SZ_4G ? bytes - gmpool_image_reserved() :
					    bytes;
}

/*
 * The buffer for devices that reach no further than 4 GiB, if there is something
 * beyond, see pci_swiotlb_detect(): IO_TLB_DEFAULT_SIZE.
 */
static u64 __init gmpool_swiotlb_size(void)
{
	return max_possible_pfn > PHYS_PFN(SZ_4G) ? SZ_64M : 0;
}

/* What KHO sets aside when the kernel has allocated so much. */
static u64 __init gmpool_scratch_for(u64 bytes)
{
	return div_u64(bytes * scratch_scale, 100);
}

static u64 __init gmpool_memmap_size(u64 bytes)
{
	return bytes / PAGE_SIZE * sizeof(struct page);
}

/* On a KHO boot, what KHO has found to hold nothing that is preserved. */
static enum memblock_flags __init gmpool_free_flags(void)
{
	return is_kho_boot() ? MEMBLOCK_KHO_SCRATCH : MEMBLOCK_NONE;
}

/*
 * The free memory of a node, or of all; with @image, also what only the image keeps
 * from being free. Sets nr_pieces.
 */
static void __init gmpool_find_pieces(int nid, bool image)
{
	u64 image_start = round_down(__pa_symbol(_text), PMD_SIZE);
	u64 image_end = round_up(__pa_symbol(_end), PMD_SIZE);
	phys_addr_t start, end;
	u64 i;

	if (nid != NUMA_NO_NODE && nid != gmpool_image_node())
		image = false;
	nr_pieces = 0;
	for_each_free_mem_range(i, nid, gmpool_free_flags(), &start, &end,
				NULL) {
		if (image && start > image_start) {
			nr_pieces = gmpool_layout_add(pieces, nr_pieces,
						      image_start, image_end);
			image = false;
		}
		nr_pieces = gmpool_layout_add(pieces, nr_pieces, start, end);
	}
	if (image)
		nr_pieces = gmpool_layout_add(pieces, nr_pieces, image_start,
					      image_end);
}

/* All memory, whether it is free or not. Sets nr_pieces. */
static void __init gmpool_find_memory(void)
{
	unsigned long start, end;
	int i;

	nr_pieces = 0;
	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &end, NULL)
		nr_pieces = gmpool_layout_add(pieces, nr_pieces, PFN_PHYS(start),
					      PFN_PHYS(end));
}

/*
 * Where the memory below 4 GiB starts that a pool may take. Behind what is kept
 * there are the image, and KHO's scratch area. On a KHO boot there is more that is
 * free than is known to be.
 */
static u64 __init gmpool_find_low_limit(void)
{
	u64 keep = KEEP_LOW + gmpool_image_size() + scratch_low +
		   gmpool_scratch_for(gmpool_low_kernel_bytes() +
				      gmpool_image_size());
	u64 start, end;
	u32 i;

	if (is_kho_boot()) {
		gmpool_find_memory();
		keep += gmpool_low_kernel_bytes();
	} else {
		gmpool_find_pieces(NUMA_NO_NODE, true);
	}
	for (i = 0; i < nr_pieces && pieces[i].base < SZ_4G; i++) {
		start = pieces[i].base;
		end = min(start + pieces[i].size, (u64)SZ_4G);
		if (end - start >= keep)
			return start + keep;
		keep -= end - start;
	}
	return SZ_4G;
}

/*
 * What of the pieces a pool can have: whole sections, less KHO's scratch areas.
 * Sets nr_ranges.
 */
static void __init gmpool_find_ranges(void)
{
	u64 start, base, end;
	u32 i;

	nr_ranges = 0;
	for (i = 0; i < nr_pieces; i++) {
		end = pieces[i].base + pieces[i].size;
		start = round_up(max(pieces[i].base, low_limit), GMPOOL_GRANULARITY);
		for (base = start; base + GMPOOL_GRANULARITY <= end;
		     base += GMPOOL_GRANULARITY) {
			if (!kho_scratch_overlap(base, GMPOOL_GRANULARITY))
				continue;
			nr_ranges = gmpool_layout_add(ranges, nr_ranges, start, base);
			start = base + GMPOOL_GRANULARITY;
		}
		nr_ranges = gmpool_layout_add(ranges, nr_ranges, start, base);
	}
}

static bool __init gmpool_is_asked(int nid)
{
	return cmdline.all.kind != GMPOOL_SIZE_NONE ||
	       cmdline.node[nid].kind != GMPOOL_SIZE_NONE;
}

/* Bytes that the command line asks for on a node; a small share can be none. */
static u64 __init gmpool_asked_on(int nid)
{
	const struct gmpool_size *size = &cmdline.node[nid];
	u64 total;

	if (cmdline.all.kind == GMPOOL_SIZE_BYTES)
		return cmdline.all.value / nodes_weight(with_memory);
	if (cmdline.all.kind == GMPOOL_SIZE_PERCENT)
		size = &cmdline.all;
	if (size->kind != GMPOOL_SIZE_PERCENT)
		return size->value;

	/* The share is of all memory, that of a handed-over pool too. */
	total = gmpool_node_size(nid);
	if (gmpool_find(nid))
		total += gmpool_find(nid)->total_blocks << GMPOOL_BLOCK_SHIFT;
	/* To the nearest section: firmware keeps some pages of a round size. */
	return round_down(div_u64(total, 100) * size->value +
			  GMPOOL_GRANULARITY / 2, GMPOOL_GRANULARITY);
}

static void __init gmpool_count_cpus(void)
{
	unsigned int cpu;
	int nid;

	for_each_possible_cpu(cpu) {
		nid = early_cpu_to_node(cpu);
		if (nid != NUMA_NO_NODE && gmpool_node_size(nid))
			nr_cpus[nid]++;
		else
			nr_cpus_elsewhere++;
	}
}

/* The node that has to have what must be below 4 GiB. */
static int __init gmpool_find_node_for_low(void)
{
	int nid, most = first_node(with_memory);

	for_each_node_mask(nid, with_memory)
		if (gmpool_size_below(nid, SZ_4G) >
		    gmpool_size_below(most, SZ_4G))
			most = nid;
	return most;
}

/* Is some memory of a node above the start of that of another, or its own? */
static bool __init gmpool_reaches_above(int nid, int other)
{
	unsigned long start, end, first = ULONG_MAX, last = 0;
	int i;

	for_each_mem_pfn_range(i, other, &start, &end, NULL)
		first = min(first, start);
	for_each_mem_pfn_range(i, nid, &start, &end, NULL)
		last = max(last, end);
	return last > first;
}

/* Sets left, if the pool of @nid has @size bytes, and the others what they are to have. */
static void __init gmpool_count_left(int nid, u64 size)
{
	u64 total, taken;
	int other;

	for_each_node_mask(other, with_memory) {
		total = gmpool_node_size(other);
		if (other == nid)
			taken = size;
		else
			taken = node_isset(other, wanted) ?
				gmpool_asked_on(other) : 0;
		left[other] = total - min(taken, total);
	}
}

/*
 * What hugetlb will have of all nodes and of one, if the pool of @nid has @size
 * bytes, and the others what they are to have.
 */
static u64 __init gmpool_cma_of_all(int nid, u64 size)
{
	gmpool_count_left(nid, size);
	return gmpool_hugetlb_cma(&with_memory, left);
}

static u64 __init gmpool_cma_on(int nid, u64 size)
{
	gmpool_count_left(nid, size);
	return gmpool_hugetlb_cma_on(nid, &with_memory, left);
}

static u64 __init gmpool_huge_pages_on(int nid, u64 size)
{
	gmpool_count_left(nid, size);
	return gmpool_hugetlb_pages_on(nid, &with_memory, left);
}

/*
 * The size of this area. It is sized by all that the kernel has allocated
 * early, the memory maps of what the pools leave of all nodes, the data of all
 * CPUs and hugetlb_cma= among that, less the area below 4 GiB. The pool of @nid has
 * @size bytes, the others what they are to have.
 */
static u64 __init gmpool_scratch_for_all(int nid, u64 size)
{
	u64 bytes = memblock_reserved_kern_size(MEMBLOCK_ALLOC_ANYWHERE,
						NUMA_NO_NODE) -
		    gmpool_low_kernel_bytes() + KEEP_MACHINE;
	int other;

	bytes += num_possible_cpus() * gmpool_unit_size() +
		 gmpool_cma_of_all(nid, size);
	gmpool_count_left(nid, size);
	for_each_node_mask(other, with_memory)
		bytes += gmpool_memmap_size(left[other]);
	return scratch_global + gmpool_scratch_for(bytes);
}

/* Bytes that are allocated for good on a node beside a pool, less its memory maps. */
static u64 __init gmpool_kernel_bytes_beside(int nid, u64 size)
{
	return gmpool_kernel_bytes(nid) + gmpool_cma_on(nid, size);
}

/* Bytes that must stay of a node beside a pool of @size bytes. */
static u64 __init gmpool_keep_on(int nid, u64 size)
{
	u64 for_all = nid == node_for_all ? gmpool_scratch_for_all(nid, size) :
					    0;

	return gmpool_layout_keep(gmpool_kernel_bytes_beside(nid, size),
				  KEEP_NODE + scratch_node + for_all +
				  gmpool_huge_pages_on(nid, size),
				  scratch_scale, GMPOOL_GRANULARITY);
}

/*
 * Choose a pool's extents, wherever the image is. Where it is in the way, the pool
 * has others instead, and an extent can be in two pieces.
 */
static bool __init gmpool_pick(u64 size, u32 *nr)
{
	return !gmpool_layout_pick(ranges, nr_ranges, size, picked, nr) &&
	       *nr + 1 + gmpool_image_sections() <= GMPOOL_MAX_EXTENTS;
}

/* As many as gmpool_list_areas() can find. */
#define MAX_AREAS	8

/*
 * What will be allocated on a node beside a pool of @size bytes, each in one piece,
 * in this order: memory maps, hugetlb_cma=, per-CPU data, the buffer of swiotlb, and
 * KHO's areas.
 */
static u32 __init gmpool_list_areas(int nid, u64 size,
				    struct gmpool_area *areas)
{
	u64 maps = gmpool_memmap_size(gmpool_node_size(nid) - size);
	u64 kernel = gmpool_kernel_bytes_beside(nid, size) + maps;
	u64 cma = gmpool_cma_on(nid, size);
	bool lowest = nid == node_for_low;
	u32 nr = 0;

	areas[nr++] = (struct gmpool_area){ .size = maps };
	/* It starts at a gigabyte, for which there has to be room. */
	if (cma)
		areas[nr++] = (struct gmpool_area){
			.size = cma + GMPOOL_GIANT_SIZE,
		};
	areas[nr++] = (struct gmpool_area){
		.size = gmpool_percpu_piece(nr_cpus[nid]),
	};
	/* It is as KHO's area for all nodes: where there is room. */
	if (nid == node_for_all)
		areas[nr++] = (struct gmpool_area){
			.size = gmpool_percpu_piece(nr_cpus_elsewhere),
		};
	if (gmpool_size_below(nid, SZ_4G)) {
		areas[nr++] = (struct gmpool_area){
			.size = gmpool_swiotlb_size(),
			.low = true,
			.optional = !lowest,
		};
		areas[nr++] = (struct gmpool_area){
			.size = scratch_low +
				gmpool_scratch_for(gmpool_low_kernel_bytes() +
						   gmpool_image_size()),
			.scale = scratch_scale,
			.low = true,
			.optional = !lowest,
		};
	}
	if (lowest)
		kernel += gmpool_swiotlb_size();
	/* It gets no further down than to the largest node. */
	if (gmpool_reaches_above(nid, node_for_all))
		areas[nr++] = (struct gmpool_area){
			.size = gmpool_scratch_for_all(nid, size),
			.optional = nid != node_for_all,
		};
	areas[nr++] = (struct gmpool_area){
		.size = scratch_node + gmpool_scratch_for(kernel),
	};
	return nr;
}

/*
 * Is there room for all of that? pieces and ranges are those without the image: it
 * can be anywhere in what is left, or have been in the way of the pool, which then
 * took others.
 */
static bool __init gmpool_leaves_room(int nid, u64 size)
{
	u64 in_the_way = gmpool_image_sections() * GMPOOL_GRANULARITY;
	/* It is aligned to less than the areas are, and so in the way of more. */
	u64 image = gmpool_image_size() + SCRATCH_ALIGN -
		    min(SCRATCH_ALIGN, (u64)CONFIG_PHYSICAL_ALIGN);
	struct gmpool_area areas[MAX_AREAS];
	u32 nr_areas = gmpool_list_areas(nid, size, areas);
	u32 nr, nr_left;

	if (!gmpool_pick(size, &nr))
		return false;
	nr_left = gmpool_layout_without(pieces, nr_pieces, picked, nr, left_over);
	if (!gmpool_layout_room(left_over, nr_left, areas, nr_areas,
				image, SCRATCH_ALIGN, work))
		return false;

	if (!gmpool_pick(size + in_the_way, &nr))
		return false;
	nr_left = gmpool_layout_without(pieces, nr_pieces, picked, nr, left_over);
	return gmpool_layout_room(left_over, nr_left, areas, nr_areas, 0,
				  SCRATCH_ALIGN, work);
}

static bool __init gmpool_size_fits(int nid, u64 size)
{
	u64 total = gmpool_node_size(nid);
	u32 nr;

	if (size > total || gmpool_keep_on(nid, size) > total - size)
		return false;
	/* What is allocated on a KHO boot is in areas that are there already. */
	return is_kho_boot() ? gmpool_pick(size, &nr) :
			       gmpool_leaves_room(nid, size);
}

/*
 * The largest pool that a node can have, but none larger than @asked, if that
 * is not 0. It need not be that all smaller ones fit: what leaves more can have
 * room for what would have gone elsewhere. So this is one that fits, and one
 * section more does not. It is looked for in few steps, as there are nodes with
 * a hundred thousand sections.
 */
static u64 __init gmpool_largest_pool(int nid, u64 asked)
{
	u64 image = gmpool_image_sections() * GMPOOL_GRANULARITY;
	u64 free, step, middle, high, low = 0;

	gmpool_find_pieces(nid, true);
	gmpool_find_ranges();
	free = gmpool_layout_size(ranges, nr_ranges);
	high = free > image ? free - image : 0;
	if (asked)
		high = min(high, asked);
	if (!high || gmpool_size_fits(nid, high))
		return high;

	for (step = GMPOOL_GRANULARITY; step < high && !low; step *= 2) {
		if (gmpool_size_fits(nid, high - step))
			low = high - step;
		else
			high -= step;
	}
	while (high - low > GMPOOL_GRANULARITY) {
		middle = round_down(low + (high - low) / 2, GMPOOL_GRANULARITY);
		if (gmpool_size_fits(nid, middle))
			low = middle;
		else
			high = middle;
	}
	return low;
}

/*
 * Which of the wanted pools can be made, while all memory is still there. What
 * is refused stays with the kernel, and needs a memory map, for which KHO sets
 * more aside; that can be too much for another.
 */
static void __init gmpool_refuse_pools(void)
{
	bool again;
	u64 size;
	int nid;

	do {
		again = false;
		for_each_node_mask(nid, wanted) {
			size = round_down(gmpool_asked_on(nid),
					  GMPOOL_GRANULARITY);
			if (size && gmpool_largest_pool(nid, size) == size)
				continue;
			node_clear(nid, wanted);
			again = true;
		}
	} while (again);
}

static void __init gmpool_explain_refusal(int nid)
{
	u64 asked = gmpool_asked_on(nid);
	u64 size = round_down(asked, GMPOOL_GRANULARITY);
	u64 allowed = gmpool_largest_pool(nid, size);
	u64 keep = gmpool_keep_on(nid, GMPOOL_GRANULARITY);
	u64 huge = gmpool_cma_on(nid, size) + gmpool_huge_pages_on(nid, size);

	/* It was too large before others were refused. Smaller fits either way. */
	if (size && allowed == size) {
		allowed = size - GMPOOL_GRANULARITY;
		if (allowed)
			allowed = gmpool_largest_pool(nid, allowed);
	}

	if (!allowed) {
		bool enough = keep + GMPOOL_GRANULARITY <=
			      gmpool_node_size(nid);

		pr_warn("node %d: has %llu MiB and the kernel needs %llu MiB there%s, nothing can be set aside: no pool is made\n",
			nid, MIB(gmpool_node_size(nid)), MIB(keep),
			enough ? " in large pieces" : "");
		if (is_kho_boot())
			pr_warn("node %d: after a kexec, only whole gigabytes with nothing that was handed over can be used; a cold boot has more\n",
				nid);
	} else if (!size) {
		pr_warn("node %d: a pool of %llu MiB is less than the smallest of %llu MiB: no pool is made\n",
			nid, MIB(asked), MIB(GMPOOL_GRANULARITY));
	} else {
		pr_warn("node %d: a pool of %llu MiB is too large, at most %llu MiB are allowed: no pool is made\n",
			nid, MIB(size), MIB(allowed));
	}
	if (huge)
		pr_warn("node %d: hugepages= and hugetlb_cma= ask for %llu MiB there\n",
			nid, MIB(huge));
}

static void __init gmpool_make_pool(int nid)
{
	u64 asked = gmpool_asked_on(nid);
	u64 size = round_down(asked, GMPOOL_GRANULARITY);
	struct gmpool *pool;
	u32 nr, i;
	int err;

	if (size != asked)
		pr_notice("node %d: %llu bytes asked for are rounded down to %llu MiB, a multiple of %llu MiB\n",
			  nid, asked, MIB(size), MIB(GMPOOL_GRANULARITY));

	gmpool_find_pieces(nid, false);
	gmpool_find_ranges();
	err = gmpool_layout_pick(ranges, nr_ranges, size, picked, &nr);
	if (err) {
		pr_warn("node %d: free memory is in too many pieces for a pool of %llu MiB: no pool is made\n",
			nid, MIB(size));
		return;
	}

	/* What describes the pool must not lie in it. */
	for (i = 0; i < nr; i++)
		err = memblock_reserve(picked[i].base, picked[i].size) ?: err;
	pool = err ? NULL : gmpool_add_pool(nid, GMPOOL_NO_KEY);
	for (i = 0; i < nr; i++)
		memblock_phys_free(picked[i].base, picked[i].size);
	if (!pool)
		goto err_memory;

	for (i = 0; i < nr; i++) {
		err = memblock_remove(picked[i].base, picked[i].size);
		if (err)
			goto err_put_back;
	}
	gmpool_set_extents(pool, picked, nr);
	return;

err_put_back:
	list_del(&pool->list);
	while (i--)
		memblock_add_node(picked[i].base, picked[i].size, nid,
				  MEMBLOCK_NONE);
err_memory:
	pr_err("node %d: out of memory for memory maps: no pool is made\n",
	       nid);
}

/* Is a new pool to be made for what the command line asks for on a node? */
static bool __init gmpool_want_pool(int nid)
{
	struct gmpool *pool = gmpool_find(nid);
	u64 size = gmpool_asked_on(nid);
	u64 have;

	if (!pool && node_isset(nid, lost)) {
		pr_warn("node %d: no new pool is made in the place of the lost one before guestmemfs=fresh or a cold boot\n",
			nid);
		return false;
	}
	if (!pool)
		return true;

	have = pool->total_blocks << GMPOOL_BLOCK_SHIFT;
	if (round_down(size, GMPOOL_GRANULARITY) != have)
		pr_notice("node %d: keeps its handed-over pool of %llu MiB, guestmemfs= asks for %llu MiB\n",
			  nid, MIB(have), MIB(size));
	return false;
}

/**
 * guestmem_pool_reserve - set aside the pools that the command line asks for
 *
 * Each node gets all of its pool or none. Nothing here fails the boot.
 *
 * Context: early boot, before memblock's memory is counted by anybody.
 */
void __init guestmem_pool_reserve(void)
{
	struct gmpool *pool;
	nodemask_t asked;
	int nid;

	if (is_kdump_kernel()) {
		if (guestmemfs_param[0])
			pr_info("guestmemfs= is ignored in a kdump kernel\n");
		return;
	}
	/* False in a Xen PV domain: mappings and zero.c need PMD leaves. */
	if (!has_transparent_hugepage()) {
		if (guestmemfs_param[0])
			pr_warn("guestmemfs= is ignored: this machine has no page table entries of 2 MiB (is it a Xen PV domain?)\n");
		return;
	}

	/* A kernel that was started with KHO has its scratch areas already. */
	if (!kho_is_enabled() || is_kho_boot()) {
		scratch_scale = 0;
		scratch_low = 0;
		scratch_global = 0;
		scratch_node = 0;
	}

	gmpool_count_cpus();
	low_limit = gmpool_find_low_limit();
	for_each_online_node(nid)
		if (gmpool_node_size(nid) || gmpool_find(nid))
			node_set(nid, with_memory);
	node_for_all = gmpool_find_node_for_all();
	node_for_low = gmpool_find_node_for_low();

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		if (node_isset(nid, with_memory)) {
			if (gmpool_is_asked(nid) && gmpool_want_pool(nid))
				node_set(nid, wanted);
		} else if (cmdline.node[nid].kind != GMPOOL_SIZE_NONE) {
			pr_warn("guestmemfs=: node %d %s, allowed are %*pbl: this part is ignored\n",
				nid, node_online(nid) ? "has no memory" :
							"does not exist",
				nodemask_pr_args(&with_memory));
		}
	}
	asked = wanted;
	gmpool_refuse_pools();
	for_each_node_mask(nid, asked)
		if (!node_isset(nid, wanted))
			gmpool_explain_refusal(nid);
	for_each_node_mask(nid, wanted)
		gmpool_make_pool(nid);

	list_for_each_entry(pool, &gmpool_list, list) {
		u64 size = pool->total_blocks << GMPOOL_BLOCK_SHIFT;

		/* retrieve.c has said why. */
		if (!pool->nr_extents)
			continue;
		pr_info("node %d: pool of %llu MiB in %u extent%s, from %#llx%s\n",
			pool->nid, MIB(size), pool->nr_extents,
			pool->nr_extents == 1 ? "" : "s", pool->extents[0].base,
			pool->key == GMPOOL_NO_KEY ? "" : ", handed over");
	}
}
