// SPDX-License-Identifier: GPL-2.0
/*
 * Retrieval of the memory of handed-over pools, before anything is allocated
 * outside KHO's scratch areas. handover.c retrieves the metadata later, when
 * KHO can restore pages.
 *
 * A handed-over pool is used only if it agrees with the memory of this machine,
 * with the memory that KHO has preserved, and with the other pools. Otherwise
 * the pool is kept as it is and handed over again.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/nodemask.h>

#include "format.h"
#include "pool.h"

static struct gmpool_extent_ser picked[GMPOOL_MAX_EXTENTS] __initdata;

/*
 * Count the pages of a range that are memory of this kernel. @nid gets the node
 * of all of them, or NUMA_NO_NODE if there are none or several nodes.
 */
static u64 __init gmpool_count_memory(u64 base, u64 size, int *nid)
{
	u64 start_pfn = PHYS_PFN(base);
	u64 end_pfn = PHYS_PFN(base + size);
	unsigned long start, end;
	u64 covered = 0;
	int i, node;

	*nid = NUMA_NO_NODE;
	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &end, &node) {
		if (start >= end_pfn || end <= start_pfn)
			continue;
		*nid = !covered || *nid == node ? node : NUMA_NO_NODE;
		covered += min_t(u64, end, end_pfn) - max_t(u64, start, start_pfn);
	}
	return covered;
}

/* Is a range memory of this kernel? @nid as for gmpool_count_memory(). */
static bool __init gmpool_is_memory(u64 base, u64 size, int *nid)
{
	if (gmpool_count_memory(base, size, nid) == PHYS_PFN(size))
		return true;
	*nid = NUMA_NO_NODE;
	return false;
}

/*
 * A range around the preserved memory that was compared last. It overlaps no
 * super block, and no extent that is not marked yet. KHO's tree has the pages
 * of an order by ascending address, so nearly all of them need only this
 * comparison.
 */
static u64 gap_start __initdata;
static u64 gap_end __initdata;

/* Numbers of the pools whose super blocks KHO has preserved. */
static nodemask_t blob_preserved __initdata;

static void __init gmpool_narrow_gap(u64 phys, u64 base, u64 end)
{
	if (end <= phys)
		gap_start = max(gap_start, end);
	else
		gap_end = min(gap_end, base);
}

/*
 * Find the super blocks and extents that overlap preserved memory or KHO's
 * tree.
 */
static int __init gmpool_compare_preserved(phys_addr_t phys, u64 size,
					   void *data)
{
	u64 end = phys + size;
	struct gmpool *pool;
	u32 i;

	if (phys >= gap_start && end <= gap_end)
		return 0;

	gap_start = 0;
	gap_end = U64_MAX;
	list_for_each_entry(pool, &gmpool_list, list) {
		if (phys <= pool->handover.blob && end >= pool->handover.blob + GMPOOL_BLOB_SIZE)
			node_set(pool->handover.key, blob_preserved);
		gmpool_narrow_gap(phys, pool->handover.blob,
				  pool->handover.blob + GMPOOL_BLOB_SIZE);

		for (i = 0; i < pool->numbers.nr; i++) {
			const struct gmpool_extent *extent = &pool->numbers.extent[i];
			u64 extent_end = extent->base + extent->size;

			if (test_bit(i, pool->handover.used_otherwise))
				continue;
			if (phys < extent_end && end > extent->base)
				__set_bit(i, pool->handover.used_otherwise);
			else
				gmpool_narrow_gap(phys, extent->base,
						  extent_end);
		}
	}
	return 0;
}

/*
 * Preserved memory is not reserved in memblock yet, and KHO crashes on a
 * preserved page without struct page. So walk the preserved memory before any
 * extent is taken. Super blocks that are not preserved are dropped: the next
 * allocation may overwrite them.
 */
static void __init gmpool_find_preserved(void)
{
	struct gmpool *pool;

	gap_start = 0;
	gap_end = 0;
	nodes_clear(blob_preserved);
	/* An error means that nothing is preserved. */
	kho_walk_preserved(gmpool_compare_preserved, NULL);
	list_for_each_entry(pool, &gmpool_list, list) {
		if (node_isset(pool->handover.key, blob_preserved))
			continue;
		gmpool_fail(pool, "KHO has not preserved its super block");
		pr_err("node %u: its pool will not survive the next kexec: its super block can be overwritten\n",
		       pool->handover.key);
		pool->handover.blob = 0;
	}
}

/*
 * Take an extent if its memory is free. On a KHO boot, only KHO's scratch areas
 * and preserved memory can be in use now. The caller has compared the preserved
 * memory, which includes the super blocks of pools.
 */
static const char *__init
gmpool_take_extent(const struct gmpool_extent_ser *extent)
{
	struct memblock_region *region;
	u64 end = extent->base + extent->size;
	int nid;

	if (!gmpool_is_memory(extent->base, extent->size, &nid))
		return "is no memory of this kernel";
	if (memblock_is_region_reserved(extent->base, extent->size))
		return "is in use by this kernel";
	for_each_mem_region(region) {
		if (memblock_is_kho_scratch(region) && region->base < end &&
		    region->base + region->size > extent->base)
			return "overlaps scratch memory of KHO";
	}
	if (memblock_remove(extent->base, extent->size))
		return "cannot be taken out of memory";
	return NULL;
}

/* The node of a whole pool, or NUMA_NO_NODE. */
static int __init gmpool_pool_node(const struct gmpool_super_ser *super)
{
	int nid = NUMA_NO_NODE, other;
	u32 i;

	for (i = 0; i < super->nr_extents; i++) {
		if (!gmpool_is_memory(super->extents[i].base,
				      super->extents[i].size, &other) ||
		    (i && other != nid))
			return NUMA_NO_NODE;
		nid = other;
	}
	return nid;
}

static bool __init gmpool_is_blob(phys_addr_t blob, size_t size)
{
	return size == GMPOOL_BLOB_SIZE && IS_ALIGNED(blob, GMPOOL_BLOB_SIZE) &&
	       memblock_is_region_memory(blob, GMPOOL_BLOB_SIZE);
}

/*
 * "guestmemfs=fresh" discards all pools but those that a device of a preserved session
 * could access.
 */
static bool __init gmpool_survives_fresh(u32 key, phys_addr_t blob, size_t size)
{
	const struct gmpool_super_ser *super;
	const char *error;

	if (!gmpool_is_blob(blob, size))
		return false;
	super = gmpool_super_pick(phys_to_virt(blob), GMPOOL_GRANULARITY,
				  &error);
	if (!super ||
	    !(super->feature_ro_compat & GMPOOL_FEATURE_RO_COMPAT_PINNED))
		return false;
	pr_warn("node %u: guestmemfs=fresh does not discard its pool, since memory of preserved files is pinned for devices\n",
		key);
	return true;
}

static void __init gmpool_find_pool(u32 key, phys_addr_t blob, size_t size,
				    nodemask_t *lost)
{
	const struct gmpool_super_ser *super;
	struct gmpool *pool;
	const char *error;
	int nid;

	if (!gmpool_is_blob(blob, size)) {
		pr_err("node %u: handed-over super block at %pa of %zu bytes is not valid: its pool is lost\n",
		       key, &blob, size);
		node_set(key, *lost);
		return;
	}

	super = gmpool_super_pick(phys_to_virt(blob), GMPOOL_GRANULARITY,
				  &error);
	if (!super) {
		pr_err("node %u: handed-over super block and its copy are damaged (%s): its pool is lost\n",
		       key, error);
		node_set(key, *lost);
		return;
	}

	nid = gmpool_pool_node(super);
	pool = gmpool_add_pool(nid == NUMA_NO_NODE ? (int)key : nid, key);
	if (!pool) {
		pr_err("node %u: out of memory: its pool is lost\n",
		       key);
		node_set(key, *lost);
		return;
	}
	pool->handover.blob = blob;
	pool->handover.pinned = super->feature_ro_compat & GMPOOL_FEATURE_RO_COMPAT_PINNED;
	gmpool_set_extents(pool, super->extents, super->nr_extents);
	if (error)
		gmpool_fail(pool, "super block is damaged (%s)", error);
	else if (nid == NUMA_NO_NODE)
		gmpool_fail(pool, "its memory is not on one node");
}

static bool __init gmpool_overlap(const struct gmpool *a,
				  const struct gmpool *b)
{
	u32 i, j;

	for (i = 0; i < a->numbers.nr; i++)
		for (j = 0; j < b->numbers.nr; j++)
			if (a->numbers.extent[i].base <
			    b->numbers.extent[j].base + b->numbers.extent[j].size &&
			    b->numbers.extent[j].base <
			    a->numbers.extent[i].base + a->numbers.extent[i].size)
				return true;
	return false;
}

/*
 * If two pools claim the same memory, neither its owner nor the contents of the
 * other pool are known, so no new pool may replace either. Two nodes of the
 * previous kernel may be one now: then the first pool serves the node.
 */
static void __init gmpool_compare_pools(struct gmpool *a, struct gmpool *b,
					nodemask_t *lost)
{
	if (gmpool_overlap(a, b)) {
		gmpool_fail(a, "the pool of node %u claims the same memory",
			    b->handover.key);
		gmpool_fail(b, "the pool of node %u claims the same memory",
			    a->handover.key);
		node_set(a->handover.key, *lost);
		node_set(b->handover.key, *lost);
	}
	if (a->nid == b->nid && a->state != GMPOOL_FAILED)
		gmpool_fail(b, "node %d has another pool", a->nid);
}

static void __init gmpool_take_pool(struct gmpool *pool)
{
	const char *error;
	u32 i, taken = 0;
	int nid;

	for (i = 0; i < pool->numbers.nr; i++) {
		picked[taken].base = pool->numbers.extent[i].base;
		picked[taken].size = pool->numbers.extent[i].size;
		error = test_bit(i, pool->handover.used_otherwise) ?
			"has memory in it that KHO has preserved" :
			gmpool_take_extent(&picked[taken]);
		if (!error) {
			taken++;
			continue;
		}
		/* An extent outside this kernel's memory stays as it is. */
		if (gmpool_count_memory(picked[taken].base, picked[taken].size,
					&nid))
			__set_bit(i, pool->handover.used_otherwise);
		pr_err("node %u: extent at %#llx of %llu bytes %s\n", pool->handover.key,
		       pool->numbers.extent[i].base, pool->numbers.extent[i].size, error);
		gmpool_fail(pool, "its memory is not free");
	}
	/* Keep only these extents: hide.c must not hide memory in use. */
	gmpool_set_extents(pool, picked, taken);
	if (!taken)
		pr_err("node %u: all memory of its pool is used otherwise: its files are lost\n",
		       pool->handover.key);

	if (pool->nid != pool->handover.key)
		pr_notice("node %u of the kernel before is node %d now: its pool follows the memory\n",
			  pool->handover.key, pool->nid);
}

/**
 * gmpool_retrieve_memory - retrieve the memory of handed-over pools
 * @lost: gets the numbers of nodes whose pools are lost
 * @fresh: only of those that are not to be discarded
 *
 * Context: early boot; memblock allocates only from KHO's scratch areas.
 */
void __init gmpool_retrieve_memory(nodemask_t *lost, bool fresh)
{
	struct gmpool *pool, *other;
	char name[16];
	phys_addr_t phys;
	size_t size;
	u32 key;

	for (key = 0; key < MAX_NUMNODES; key++) {
		snprintf(name, sizeof(name), GMPOOL_SUBTREE_FMT, key);
		if (!kho_retrieve_subtree(name, &phys, &size) &&
		    (!fresh || gmpool_survives_fresh(key, phys, size)))
			gmpool_find_pool(key, phys, size, lost);
	}

	list_for_each_entry(pool, &gmpool_list, list) {
		other = pool;
		list_for_each_entry_continue(other, &gmpool_list, list)
			gmpool_compare_pools(pool, other, lost);
	}
	gmpool_find_preserved();
	list_for_each_entry(pool, &gmpool_list, list)
		gmpool_take_pool(pool);
}
