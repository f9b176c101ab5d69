// SPDX-License-Identifier: GPL-2.0
/*
 * How large the pool of a node can be.
 *
 * Pure code: its input is a struct gmpool_machine, its output a size. A pool
 * must leave room for memory maps, per-CPU data, the memory of hugetlb, and
 * KHO's scratch areas. Each scratch area is contiguous. If one of them finds no
 * room, KHO turns itself off for the whole machine.
 *
 * With KASLR, the kernel image has another address at each boot. The limit must
 * not depend on that address: otherwise a pool would be made at one boot and
 * refused at the next. So the model counts the image on each node, at the
 * address where it is most in the way.
 */

#include <linux/init.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sizes.h>

#include "fit.h"
#include "hugetlb.h"
#include "layout.h"
#include "pool.h"

/*
 * Bytes that a node needs in addition to struct pages, per-CPU data and
 * existing allocations: for slabs, page tables, and on one node the hash
 * tables.
 */
#define KEEP_NODE	SZ_256M

/*
 * Bytes that the kernel allocates early for all nodes together, without
 * swiotlb.
 */
#define KEEP_MACHINE	SZ_16M

/*
 * Alignment of KHO's scratch areas: SCRATCH_ALIGNMENT_BYTES in
 * kexec_handover.c.
 */
#define SCRATCH_ALIGN	((u64)PAGE_SIZE * MAX_ORDER_NR_PAGES)

/*
 * Free memory that pools leave below gmpool_machine.low_end: for DMA zones and
 * swiotlb.
 */
#define KEEP_LOW	SZ_256M

/* Number of sections that the image can touch. */
static u64 __init gmpool_image_sections(const struct gmpool_machine *m)
{
	return DIV_ROUND_UP_ULL(m->image, GMPOOL_GRANULARITY) + 1;
}

/*
 * Contiguous bytes that are allocated first for the CPUs of a node. The part
 * behind each CPU's unit is freed afterwards.
 */
static u64 __init gmpool_percpu_area(const struct gmpool_machine *m,
				     unsigned int cpus)
{
	return cpus * roundup_pow_of_two(m->unit);
}

/* Bytes of a scratch area when the kernel has allocated @bytes early. */
static u64 __init gmpool_scratch_for(const struct gmpool_machine *m, u64 bytes)
{
	return div_u64(bytes * m->scratch.scale, 100);
}

static u64 __init gmpool_memmap_size(u64 bytes)
{
	return bytes / PAGE_SIZE * sizeof(struct page);
}

/*
 * KHO's scratch area for allocations on any node is contiguous, on the highest
 * node with room for it. The model gives it to the largest node; of several, to
 * the highest of them.
 */
static int __init gmpool_find_node_for_all(const struct gmpool_machine *m)
{
	int nid, largest = NUMA_NO_NODE;

	for (nid = 0; nid < MAX_NUMNODES; nid++)
		if (m->node[nid].size &&
		    (largest == NUMA_NO_NODE ||
		     m->node[nid].size > m->node[largest].size ||
		     (m->node[nid].size == m->node[largest].size &&
		      m->node[nid].end > m->node[largest].end)))
			largest = nid;
	return largest;
}

/*
 * The node for memory that must be below gmpool_machine.low_end: with most of
 * it.
 */
static int __init gmpool_find_node_for_low(const struct gmpool_machine *m)
{
	int nid, most = first_node(m->with_memory);

	for_each_node_mask(nid, m->with_memory)
		if (m->node[nid].low > m->node[most].low)
			most = nid;
	return most;
}

/**
 * gmpool_fit_nodes - choose the nodes of areas that exist once per machine
 * @m: the machine, with its nodes
 *
 * Sets @m->node_for_all and @m->node_for_low.
 *
 * Context: early boot.
 */
void __init gmpool_fit_nodes(struct gmpool_machine *m)
{
	m->node_for_all = gmpool_find_node_for_all(m);
	m->node_for_low = gmpool_find_node_for_low(m);
}

/**
 * gmpool_fit_low_limit - address from which a pool may take low memory
 * @m: the machine; its free ranges are those of all nodes; on a KHO boot
 *	all memory of the nodes, as the free part is not known then
 *
 * The kept part has room for KEEP_LOW, the image, and KHO's low scratch area.
 *
 * Context: early boot.
 *
 * Return: physical address, at most @m->low_end.
 */
u64 __init gmpool_fit_low_limit(const struct gmpool_machine *m)
{
	u64 keep = KEEP_LOW + m->image + m->scratch.low +
		   gmpool_scratch_for(m, m->reserved_low + m->image);
	u64 start, end;
	u32 i;

	if (m->kho_boot)
		keep += m->reserved_low;
	for (i = 0; i < m->nr_free && m->free[i].base < m->low_end; i++) {
		start = m->free[i].base;
		end = min(start + m->free[i].size, m->low_end);
		if (end - start >= keep)
			return start + keep;
		keep -= end - start;
	}
	return m->low_end;
}

/*
 * Bytes of a node that are allocated permanently, including per-CPU data and
 * the image.
 */
static u64 __init gmpool_kernel_bytes(const struct gmpool_machine *m, int nid)
{
	u64 bytes = m->node[nid].reserved + m->node[nid].cpus * m->unit;

	if (nid == m->node_for_all)
		bytes += m->cpus_elsewhere * m->unit;
	return bytes + m->image;
}

/*
 * Does a node have memory above the start of @other? True for a node and
 * itself.
 */
static bool __init gmpool_reaches_above(const struct gmpool_machine *m, int nid,
					int other)
{
	return m->node[nid].end > m->node[other].start;
}

/*
 * Set @m->left for a pool of @size bytes on @nid and the wanted pools
 * elsewhere.
 */
static void __init gmpool_count_left(struct gmpool_machine *m, int nid, u64 size)
{
	u64 total, taken;
	int other;

	for_each_node_mask(other, m->with_memory) {
		total = m->node[other].size;
		if (other == nid)
			taken = size;
		else
			taken = node_isset(other, m->wanted) ?
				m->node[other].asked : 0;
		m->left[other] = total - min(taken, total);
	}
}

/*
 * Bytes of hugetlb_cma= on a node, for a pool of @size bytes there and the
 * wanted pools elsewhere.
 */
static u64 __init gmpool_cma_on(struct gmpool_machine *m, int nid, u64 size)
{
	gmpool_count_left(m, nid, size);
	return gmpool_hugetlb_cma_on(nid, &m->with_memory, m->left);
}

static u64 __init gmpool_huge_pages_on(struct gmpool_machine *m, int nid,
				       u64 size)
{
	gmpool_count_left(m, nid, size);
	return gmpool_hugetlb_pages_on(nid, &m->with_memory, m->left);
}

/**
 * gmpool_fit_huge - memory of hugetlb on a node
 * @m: the machine
 * @nid: a node with memory
 * @size: bytes of its pool
 *
 * Context: early boot.
 *
 * Return: bytes, for hugepages= and hugetlb_cma= together.
 */
u64 __init gmpool_fit_huge(struct gmpool_machine *m, int nid, u64 size)
{
	return gmpool_cma_on(m, nid, size) + gmpool_huge_pages_on(m, nid, size);
}

/*
 * Size of KHO's scratch area for allocations on any node. KHO sizes it by all
 * early allocations of the kernel, without those below gmpool_machine.low_end.
 * They include the memory maps of all memory outside pools, the data of all
 * CPUs, and hugetlb_cma=. The pool of @nid has @size bytes, the others have
 * their wanted sizes.
 */
static u64 __init gmpool_scratch_for_all(struct gmpool_machine *m, int nid,
					 u64 size)
{
	u64 bytes = m->reserved - m->reserved_low + KEEP_MACHINE;
	int other;

	gmpool_count_left(m, nid, size);
	bytes += m->cpus * m->unit +
		 gmpool_hugetlb_cma(&m->with_memory, m->left);
	for_each_node_mask(other, m->with_memory)
		bytes += gmpool_memmap_size(m->left[other]);
	return m->scratch.global + gmpool_scratch_for(m, bytes);
}

/*
 * Bytes that are allocated permanently on a node with a pool, without memory
 * maps.
 */
static u64 __init gmpool_kernel_bytes_beside(struct gmpool_machine *m, int nid,
					     u64 size)
{
	return gmpool_kernel_bytes(m, nid) + gmpool_cma_on(m, nid, size);
}

/**
 * gmpool_fit_keep - memory of a node that the kernel keeps
 * @m: the machine
 * @nid: a node with memory
 * @size: bytes of its pool
 *
 * The growth reserve is not part of it, but its memory map is.
 *
 * Context: early boot.
 *
 * Return: bytes, a multiple of GMPOOL_GRANULARITY.
 */
u64 __init gmpool_fit_keep(struct gmpool_machine *m, int nid, u64 size)
{
	u64 for_all = nid == m->node_for_all ?
		      gmpool_scratch_for_all(m, nid, size) : 0;

	return gmpool_layout_keep(gmpool_kernel_bytes_beside(m, nid, size) +
				  gmpool_memmap_size(m->node[nid].growth),
				  KEEP_NODE + m->scratch.node + for_all +
				  gmpool_huge_pages_on(m, nid, size),
				  m->scratch.scale, GMPOOL_GRANULARITY);
}

/**
 * gmpool_fit_place_growth - find the place of a node's growth reserve
 * @m: the machine, with the ranges of the node, the image not excluded: the
 *	place must not depend on where the image is
 * @nid: a node with memory
 *
 * Sets @m->growth_start for a reserve of @m->node.growth bytes.
 *
 * Context: early boot.
 *
 * Return: false if the node has no place for it.
 */
bool __init gmpool_fit_place_growth(struct gmpool_machine *m, int nid)
{
	m->growth_start = U64_MAX;
	if (!m->node[nid].growth)
		return true;
	m->growth_start = gmpool_layout_growth(m->ranges, m->nr_ranges,
					       m->node[nid].growth,
					       m->node[nid].pool_end);
	return m->growth_start != 0;
}

/**
 * gmpool_fit_pick - choose a pool's extents, below its growth reserve
 * @m: the machine, with the ranges of the node, and the place of its reserve
 * @size: bytes of the pool
 * @nr: set to the number of extents
 *
 * Sets @m->picked.
 *
 * Context: early boot.
 *
 * Return: as gmpool_layout_pick().
 */
int __init gmpool_fit_pick(struct gmpool_machine *m, u64 size, u32 *nr)
{
	u32 nr_below = gmpool_layout_below(m->ranges, m->nr_ranges,
					   m->growth_start, m->below);

	return gmpool_layout_pick(m->below, nr_below, size, m->picked, nr);
}

/*
 * Choose a pool's extents, regardless of where the image is. The image can
 * split an extent, and the pool takes other sections in its place.
 */
static bool __init gmpool_pick(struct gmpool_machine *m, u64 size, u32 *nr)
{
	return !gmpool_fit_pick(m, size, nr) &&
	       *nr + 1 + gmpool_image_sections(m) <= GMPOOL_MAX_EXTENTS;
}

/* Areas that gmpool_list_areas() returns at most. */
#define MAX_AREAS	8

/*
 * List the contiguous areas that will be allocated on a node with a pool of
 * @size bytes, in this order: memory maps, hugetlb_cma=, per-CPU data, the
 * buffer of swiotlb, and KHO's areas.
 */
static u32 __init gmpool_list_areas(struct gmpool_machine *m, int nid, u64 size,
				    struct gmpool_area *areas)
{
	u64 maps = gmpool_memmap_size(m->node[nid].size - size);
	u64 kernel = gmpool_kernel_bytes_beside(m, nid, size) + maps;
	u64 cma = gmpool_cma_on(m, nid, size);
	bool lowest = nid == m->node_for_low;
	u32 nr = 0;

	areas[nr++] = (struct gmpool_area){ .size = maps };
	/* The CMA area is aligned to 1 GiB, which needs room as well. */
	if (cma)
		areas[nr++] = (struct gmpool_area){
			.size = cma + GMPOOL_1G_SIZE,
		};
	areas[nr++] = (struct gmpool_area){
		.size = gmpool_percpu_area(m, m->node[nid].cpus),
	};
	/* Data of CPUs elsewhere goes where there is room, as KHO's area does. */
	if (nid == m->node_for_all)
		areas[nr++] = (struct gmpool_area){
			.size = gmpool_percpu_area(m, m->cpus_elsewhere),
		};
	if (m->node[nid].low) {
		areas[nr++] = (struct gmpool_area){
			.size = m->swiotlb,
			.low = true,
			.optional = !lowest,
		};
		areas[nr++] = (struct gmpool_area){
			.size = m->scratch.low +
				gmpool_scratch_for(m, m->reserved_low + m->image),
			.scale = m->scratch.scale,
			.low = true,
			.optional = !lowest,
		};
	}
	if (lowest)
		kernel += m->swiotlb;
	/* This area is never on a lower node than the largest one. */
	if (gmpool_reaches_above(m, nid, m->node_for_all))
		areas[nr++] = (struct gmpool_area){
			.size = gmpool_scratch_for_all(m, nid, size),
			.optional = nid != m->node_for_all,
		};
	areas[nr++] = (struct gmpool_area){
		.size = m->scratch.node + gmpool_scratch_for(m, kernel),
	};
	return nr;
}

/* The memory that is left for early allocations: no part of the growth reserve. */
static u32 __init gmpool_left_over(struct gmpool_machine *m, u32 nr)
{
	nr = gmpool_layout_without(m->free, m->nr_free, m->picked, nr,
				   m->left_over);
	return gmpool_layout_below(m->left_over, nr, m->growth_start,
				   m->left_over);
}

/*
 * Is there room for all these areas? The free memory and ranges do not exclude the
 * image. Check both cases: the image lies in the memory that is left, or it was
 * in the way of the pool, and the pool took other sections.
 */
static bool __init gmpool_leaves_room(struct gmpool_machine *m, int nid, u64 size)
{
	u64 in_the_way = gmpool_image_sections(m) * GMPOOL_GRANULARITY;
	/*
	 * The image has a smaller alignment than the areas, so it can obstruct
	 * more than its size.
	 */
	u64 image = m->image + SCRATCH_ALIGN -
		    min(SCRATCH_ALIGN, m->image_align);
	struct gmpool_area areas[MAX_AREAS];
	u32 nr_areas = gmpool_list_areas(m, nid, size, areas);
	u32 nr, nr_left;

	if (!gmpool_pick(m, size, &nr))
		return false;
	nr_left = gmpool_left_over(m, nr);
	if (!gmpool_layout_room(m->left_over, nr_left, areas, nr_areas, image,
				SCRATCH_ALIGN, m->work))
		return false;

	if (!gmpool_pick(m, size + in_the_way, &nr))
		return false;
	nr_left = gmpool_left_over(m, nr);
	return gmpool_layout_room(m->left_over, nr_left, areas, nr_areas, 0,
				  SCRATCH_ALIGN, m->work);
}

static bool __init gmpool_size_fits(struct gmpool_machine *m, int nid, u64 size)
{
	u64 growth = m->node[nid].growth;
	u64 total = m->node[nid].size;
	u32 nr;

	if (growth > total || size > total - growth ||
	    gmpool_fit_keep(m, nid, size) > total - growth - size)
		return false;
	if (!gmpool_fit_place_growth(m, nid))
		return false;
	/* On a KHO boot, allocations use existing scratch areas. */
	return m->kho_boot ? gmpool_pick(m, size, &nr) :
			     gmpool_leaves_room(m, nid, size);
}

/**
 * gmpool_fit_largest - the largest pool that a node can have
 * @m: the machine, with the free memory and ranges of the node, the image not
 *	excluded
 * @nid: a node with memory
 * @asked: upper limit in bytes; 0 is no limit
 *
 * Smaller pools need not all fit: with more room on this node, an area can move
 * here from another node. So the result is a size that fits while one section
 * more does not. A bisection finds it in few steps, as nodes can have a hundred
 * thousand sections.
 *
 * Context: early boot.
 *
 * Return: bytes, 0 if none fits.
 */
u64 __init gmpool_fit_largest(struct gmpool_machine *m, int nid, u64 asked)
{
	u64 image = gmpool_image_sections(m) * GMPOOL_GRANULARITY;
	u64 free, step, middle, high, low = 0;

	free = gmpool_layout_size(m->ranges, m->nr_ranges);
	high = free > image ? free - image : 0;
	if (asked)
		high = min(high, asked);
	if (!high || gmpool_size_fits(m, nid, high))
		return high;

	for (step = GMPOOL_GRANULARITY; step < high && !low; step *= 2) {
		if (gmpool_size_fits(m, nid, high - step))
			low = high - step;
		else
			high -= step;
	}
	while (high - low > GMPOOL_GRANULARITY) {
		middle = round_down(low + (high - low) / 2, GMPOOL_GRANULARITY);
		if (gmpool_size_fits(m, nid, middle))
			low = middle;
		else
			high = middle;
	}
	return low;
}

/**
 * gmpool_fit_growth - the largest growth reserve that a node can have
 * @m: the machine, with the free memory and ranges of the node, the image not
 *	excluded
 * @nid: a node with memory
 * @size: bytes of its pool, which fits without a reserve; 0 if it has its memory
 *	already
 * @asked: upper limit in bytes
 *
 * Sets @m->node.growth to the result, and @m->growth_start as
 * gmpool_fit_place_growth() does. A bisection, as in gmpool_fit_largest().
 *
 * Context: early boot.
 *
 * Return: bytes, a multiple of 1 GiB; 0 if none fits.
 */
u64 __init gmpool_fit_growth(struct gmpool_machine *m, int nid, u64 size, u64 asked)
{
	u64 high = gmpool_layout_gibs(m->ranges, m->nr_ranges, 0, U64_MAX);
	u64 *growth = &m->node[nid].growth;
	u64 low = 0;

	high = min(high, round_down(asked, GMPOOL_1G_SIZE));
	*growth = high;
	while (high > low) {
		if (gmpool_size_fits(m, nid, size))
			low = *growth;
		else
			high = *growth - GMPOOL_1G_SIZE;
		*growth = round_up(low + (high - low) / 2, GMPOOL_1G_SIZE);
	}
	*growth = low;
	gmpool_fit_place_growth(m, nid);
	return low;
}
