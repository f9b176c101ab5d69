// SPDX-License-Identifier: GPL-2.0
/*
 * How large the pool of a node can be.
 *
 * Pure: a struct gmpool_machine in, a size out. What it must not take is what the
 * kernel itself needs there: memory maps, per-CPU data, what hugetlb is to have, and
 * KHO's scratch areas, each of which is in one piece. If one of these finds no room,
 * KHO turns itself off for the whole machine.
 *
 * With KASLR the kernel image is elsewhere at each boot. What is allowed must not
 * depend on that: the pools of a machine would be there after one boot and not after
 * the next. So the image counts on each node, and with the place in which it is most
 * in the way.
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
 * What a node needs beside struct pages, per-CPU data and what is allocated
 * already: slabs, page tables, and on some node the hash tables.
 */
#define KEEP_NODE	SZ_256M

/* What the kernel allocates early once for all nodes, beside swiotlb's buffer. */
#define KEEP_MACHINE	SZ_16M

/* Of KHO's scratch areas: SCRATCH_ALIGNMENT_BYTES in kexec_handover.c. */
#define SCRATCH_ALIGN	((u64)PAGE_SIZE * MAX_ORDER_NR_PAGES)

/* Free memory below gmpool_machine.low_end that stays: DMA zones, swiotlb, KHO's low scratch. */
#define KEEP_LOW	SZ_256M

/* Sections that the image can be in. */
static u64 __init gmpool_image_sections(const struct gmpool_machine *m)
{
	return DIV_ROUND_UP_ULL(m->image, GMPOOL_GRANULARITY) + 1;
}

/*
 * What is allocated for the CPUs of a node at first, in one piece. Then what is
 * behind each CPU's unit is given back.
 */
static u64 __init gmpool_percpu_piece(const struct gmpool_machine *m,
				      unsigned int cpus)
{
	return cpus * roundup_pow_of_two(m->unit);
}

/* What KHO sets aside when the kernel has allocated so much. */
static u64 __init gmpool_scratch_for(const struct gmpool_machine *m, u64 bytes)
{
	return div_u64(bytes * m->scratch.scale, 100);
}

static u64 __init gmpool_memmap_size(u64 bytes)
{
	return bytes / PAGE_SIZE * sizeof(struct page);
}

/*
 * KHO's scratch area for allocations on no particular node is in one piece, on
 * the highest node that has room for it. The largest shall have it: of several,
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

/* The node that has to have what must be below gmpool_machine.low_end. */
static int __init gmpool_find_node_for_low(const struct gmpool_machine *m)
{
	int nid, most = first_node(m->with_memory);

	for_each_node_mask(nid, m->with_memory)
		if (m->node[nid].low > m->node[most].low)
			most = nid;
	return most;
}

/**
 * gmpool_fit_nodes - choose the nodes that have what is there only once
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
 * gmpool_fit_low_limit - where the low memory starts that a pool may take
 * @m: the machine; its pieces are the free memory of all nodes, on a KHO boot all
 *	of their memory: there more is free than is known to be
 *
 * Behind what is kept there are the image, and KHO's scratch area.
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
	for (i = 0; i < m->nr_pieces && m->pieces[i].base < m->low_end; i++) {
		start = m->pieces[i].base;
		end = min(start + m->pieces[i].size, m->low_end);
		if (end - start >= keep)
			return start + keep;
		keep -= end - start;
	}
	return m->low_end;
}

/*
 * Bytes of a node that are allocated for good, or will be as soon as there is
 * per-CPU data; the image among them.
 */
static u64 __init gmpool_kernel_bytes(const struct gmpool_machine *m, int nid)
{
	u64 bytes = m->node[nid].reserved + m->node[nid].cpus * m->unit;

	if (nid == m->node_for_all)
		bytes += m->cpus_elsewhere * m->unit;
	return bytes + m->image;
}

/* Is some memory of a node above the start of that of another, or its own? */
static bool __init gmpool_reaches_above(const struct gmpool_machine *m, int nid,
					int other)
{
	return m->node[nid].end > m->node[other].start;
}

/*
 * Sets @m->left, if the pool of @nid has @size bytes, and the others what they are
 * to have.
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
 * What hugetlb will have of a node, if its pool has @size bytes, and the others
 * what they are to have.
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
 * gmpool_fit_huge - what hugetlb will have of a node
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
 * The size of this area. It is sized by all that the kernel has allocated
 * early, the memory maps of what the pools leave of all nodes, the data of all
 * CPUs and hugetlb_cma= among that, less the area below gmpool_machine.low_end. The
 * pool of @nid has @size bytes, the others what they are to have.
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

/* Bytes that are allocated for good on a node beside a pool, less its memory maps. */
static u64 __init gmpool_kernel_bytes_beside(struct gmpool_machine *m, int nid,
					     u64 size)
{
	return gmpool_kernel_bytes(m, nid) + gmpool_cma_on(m, nid, size);
}

/**
 * gmpool_fit_keep - what must stay of a node beside its pool
 * @m: the machine
 * @nid: a node with memory
 * @size: bytes of its pool
 *
 * Context: early boot.
 *
 * Return: bytes, a multiple of GMPOOL_GRANULARITY.
 */
u64 __init gmpool_fit_keep(struct gmpool_machine *m, int nid, u64 size)
{
	u64 for_all = nid == m->node_for_all ?
		      gmpool_scratch_for_all(m, nid, size) : 0;

	return gmpool_layout_keep(gmpool_kernel_bytes_beside(m, nid, size),
				  KEEP_NODE + m->scratch.node + for_all +
				  gmpool_huge_pages_on(m, nid, size),
				  m->scratch.scale, GMPOOL_GRANULARITY);
}

/*
 * Choose a pool's extents, wherever the image is. Where it is in the way, the pool
 * has others instead, and an extent can be in two pieces.
 */
static bool __init gmpool_pick(struct gmpool_machine *m, u64 size, u32 *nr)
{
	return !gmpool_layout_pick(m->ranges, m->nr_ranges, size, m->picked, nr) &&
	       *nr + 1 + gmpool_image_sections(m) <= GMPOOL_MAX_EXTENTS;
}

/* As many as gmpool_list_areas() can find. */
#define MAX_AREAS	8

/*
 * What will be allocated on a node beside a pool of @size bytes, each in one piece,
 * in this order: memory maps, hugetlb_cma=, per-CPU data, the buffer of swiotlb, and
 * KHO's areas.
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
	/* It starts at a gigabyte, for which there has to be room. */
	if (cma)
		areas[nr++] = (struct gmpool_area){
			.size = cma + GMPOOL_1G_SIZE,
		};
	areas[nr++] = (struct gmpool_area){
		.size = gmpool_percpu_piece(m, m->node[nid].cpus),
	};
	/* It is as KHO's area for all nodes: where there is room. */
	if (nid == m->node_for_all)
		areas[nr++] = (struct gmpool_area){
			.size = gmpool_percpu_piece(m, m->cpus_elsewhere),
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
	/* It gets no further down than to the largest node. */
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

/*
 * Is there room for all of that? The pieces and ranges are those without the image:
 * it can be anywhere in what is left, or have been in the way of the pool, which then
 * took others.
 */
static bool __init gmpool_leaves_room(struct gmpool_machine *m, int nid, u64 size)
{
	u64 in_the_way = gmpool_image_sections(m) * GMPOOL_GRANULARITY;
	/* It is aligned to less than the areas are, and so in the way of more. */
	u64 image = m->image + SCRATCH_ALIGN -
		    min(SCRATCH_ALIGN, m->image_align);
	struct gmpool_area areas[MAX_AREAS];
	u32 nr_areas = gmpool_list_areas(m, nid, size, areas);
	u32 nr, nr_left;

	if (!gmpool_pick(m, size, &nr))
		return false;
	nr_left = gmpool_layout_without(m->pieces, m->nr_pieces, m->picked, nr,
					m->left_over);
	if (!gmpool_layout_room(m->left_over, nr_left, areas, nr_areas, image,
				SCRATCH_ALIGN, m->work))
		return false;

	if (!gmpool_pick(m, size + in_the_way, &nr))
		return false;
	nr_left = gmpool_layout_without(m->pieces, m->nr_pieces, m->picked, nr,
					m->left_over);
	return gmpool_layout_room(m->left_over, nr_left, areas, nr_areas, 0,
				  SCRATCH_ALIGN, m->work);
}

static bool __init gmpool_size_fits(struct gmpool_machine *m, int nid, u64 size)
{
	u64 total = m->node[nid].size;
	u32 nr;

	if (size > total || gmpool_fit_keep(m, nid, size) > total - size)
		return false;
	/* What is allocated on a KHO boot is in areas that are there already. */
	return m->kho_boot ? gmpool_pick(m, size, &nr) :
			     gmpool_leaves_room(m, nid, size);
}

/**
 * gmpool_fit_largest - the largest pool that a node can have
 * @m: the machine, with the pieces and ranges of the node as if the image were not
 *	in any
 * @nid: a node with memory
 * @asked: bytes, none larger is looked for; 0 is no limit
 *
 * It need not be that all smaller ones fit: what leaves more can have room for what
 * would have gone elsewhere. So this is one that fits, and one section more does not.
 * It is looked for in few steps, as there are nodes with a hundred thousand sections.
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
