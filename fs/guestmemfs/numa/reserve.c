// SPDX-License-Identifier: GPL-2.0
/*
 * Early boot: the memory of pools leaves memblock.
 *
 * This happens in two steps, both in mm_core_init_early(). First, while KHO
 * allows allocations only in its scratch areas, retrieve.c takes the memory of
 * handed-over pools. Then new pools are made for the rest of the command line,
 * as far as they fit (fit.c). Memory that has left memblock gets no struct
 * pages. It stays in the direct map and in the resource tree until hide.c can
 * change these.
 *
 * The memory is removed, not reserved: KHO makes its scratch areas twice as
 * large as what is reserved for the kernel.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/crash_dump.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <asm/setup.h>

#include "cmdline.h"
#include "fit.h"
#include "growth.h"
#include "layout.h"
#include "pool.h"

#define MIB(bytes)	((bytes) >> 20)

static char guestmemfs_param[COMMAND_LINE_SIZE] __initdata;
static struct gmpool_cmdline cmdline __initdata;
static struct gmpool_machine machine __initdata;
static nodemask_t lost __initdata;	/* nodes of lost pools */
static bool fresh __ro_after_init;

/*
 * Only record the text: the nodes are not known yet. Several guestmemfs=
 * parameters add up.
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

static void __init gmpool_report_arg(void *ctx, const char *token, int len,
				     enum gmpool_arg_error error)
{
	pr_warn("guestmemfs=: \"%.*s\" %s: this part is ignored\n", len, token,
		gmpool_arg_strerror(error));
}

/**
 * gmpool_start_afresh - are handed-over pools to be discarded
 *
 * Return: true if the command line has "guestmemfs=fresh".
 */
bool gmpool_start_afresh(void)
{
	return fresh;
}

/**
 * guestmem_pool_retrieve_early - retrieve the memory of handed-over pools
 *
 * Context: early boot; memblock allocates only from KHO's scratch areas.
 */
void __init guestmem_pool_retrieve_early(void)
{
	if (guestmemfs_param[0])
		gmpool_parse_cmdline(guestmemfs_param, &cmdline,
				     gmpool_report_arg, NULL);
	fresh = cmdline.fresh;
	if (fresh)
		pr_notice("guestmemfs=fresh: handed-over pools are discarded\n");

	if (!is_kdump_kernel() && is_kho_boot())
		gmpool_retrieve_memory(&lost, fresh);
}

static bool __init gmpool_is_asked(int nid)
{
	return cmdline.all.kind != GMPOOL_SIZE_NONE ||
	       cmdline.node[nid].kind != GMPOOL_SIZE_NONE;
}

/*
 * Bytes requested for a node, by a size for all nodes or one for the node; a
 * small percentage can result in 0.
 */
static u64 __init gmpool_bytes_on(int nid, const struct gmpool_size *all,
				  const struct gmpool_size *size)
{
	u64 total;

	if (all->kind == GMPOOL_SIZE_BYTES)
		return all->value / nodes_weight(machine.with_memory);
	if (all->kind == GMPOOL_SIZE_PERCENT)
		size = all;
	if (size->kind != GMPOOL_SIZE_PERCENT)
		return size->value;

	/* The percentage is of all memory, including a handed-over pool. */
	total = machine.node[nid].size;
	if (gmpool_find(nid))
		total += gmpool_find(nid)->total_blocks << GMPOOL_BLOCK_SHIFT;
	/*
	 * Round to the nearest section: firmware takes some pages away from a
	 * round size.
	 */
	return round_down(div_u64(total, 100) * size->value +
			  GMPOOL_GRANULARITY / 2, GMPOOL_GRANULARITY);
}

static u64 __init gmpool_asked_on(int nid)
{
	return gmpool_bytes_on(nid, &cmdline.all, &cmdline.node[nid]);
}

/*
 * Bytes of the growth reserve that a node is to have. Pool and reserve together
 * have the requested size, also after a pool was resized and handed over.
 */
static u64 __init gmpool_growth_on(int nid)
{
	u64 growth = gmpool_bytes_on(nid, &cmdline.growth_all, &cmdline.growth[nid]);
	struct gmpool *pool = gmpool_find(nid);
	u64 have;

	if (!growth || !pool)
		return growth;
	if (check_add_overflow(growth, round_down(machine.node[nid].asked,
						  GMPOOL_GRANULARITY), &growth))
		growth = U64_MAX;
	have = pool->total_blocks << GMPOOL_BLOCK_SHIFT;
	return growth > have ? growth - have : 0;
}

static u64 __init gmpool_largest_pool(int nid, u64 asked)
{
	gmpool_machine_find(&machine, nid, true);
	return gmpool_fit_largest(&machine, nid, asked);
}

/*
 * Remove pools that do not fit from @machine.wanted, before any memory is
 * taken. The kernel keeps the memory of a refused pool and needs a memory map
 * for it, which makes KHO's scratch areas larger. Another pool may no longer
 * fit then, so repeat until no pool is refused.
 */
static void __init gmpool_refuse_pools(void)
{
	bool again;
	u64 size;
	int nid;

	do {
		again = false;
		for_each_node_mask(nid, machine.wanted) {
			size = round_down(machine.node[nid].asked,
					  GMPOOL_GRANULARITY);
			if (size && gmpool_largest_pool(nid, size) == size)
				continue;
			node_clear(nid, machine.wanted);
			again = true;
		}
	} while (again);
}

static void __init gmpool_explain_refusal(int nid)
{
	u64 asked = machine.node[nid].asked;
	u64 size = round_down(asked, GMPOOL_GRANULARITY);
	u64 allowed = gmpool_largest_pool(nid, size);
	u64 keep = gmpool_fit_keep(&machine, nid, GMPOOL_GRANULARITY);
	u64 huge = gmpool_fit_huge(&machine, nid, size);

	/*
	 * The size fits only now that others are refused. A smaller one fits in
	 * both cases.
	 */
	if (size && allowed == size) {
		allowed = size - GMPOOL_GRANULARITY;
		if (allowed)
			allowed = gmpool_largest_pool(nid, allowed);
	}

	if (!allowed) {
		bool enough = keep + GMPOOL_GRANULARITY <=
			      machine.node[nid].size;

		pr_warn("node %d: has %llu MiB and the kernel needs %llu MiB there%s, nothing can be set aside: no pool is made\n",
			nid, MIB(machine.node[nid].size), MIB(keep),
			enough ? " in large pieces" : "");
		if (machine.kho_boot)
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

/*
 * Set the size of a node's growth reserve: what is requested, or none. A pool
 * is never refused for its reserve.
 */
static void __init gmpool_plan_growth(int nid)
{
	struct gmpool *pool = gmpool_find(nid);
	u64 asked = gmpool_growth_on(nid);
	u64 size = round_down(asked, GMPOOL_1G_SIZE);
	u64 allowed, new;

	if (!asked || !gmpool_growth_is_possible())
		return;
	if (size != asked)
		pr_notice("node %d: a growth reserve of %llu MiB is rounded down to %llu MiB, a multiple of 1024 MiB\n",
			  nid, MIB(asked), MIB(size));
	if (!size)
		return;

	new = pool ? 0 : round_down(machine.node[nid].asked, GMPOOL_GRANULARITY);
	if (pool && pool->numbers.nr)
		machine.node[nid].pool_end = gmpool_numbers_top(&pool->numbers);
	gmpool_machine_find(&machine, nid, true);
	allowed = gmpool_fit_growth(&machine, nid, new, size);
	if (allowed == size)
		return;
	machine.node[nid].growth = 0;
	pr_warn("node %d: a growth reserve of %llu MiB is too large, at most %llu MiB are allowed next to the pool: no reserve is made\n",
		nid, MIB(size), MIB(allowed));
	if (machine.kho_boot)
		pr_warn("node %d: after a kexec, a growth reserve has only whole gigabytes with nothing that was handed over; a cold boot has more\n",
			nid);
}

/* Choose the extents of a new pool. */
static int __init gmpool_choose_extents(int nid, u64 size, u32 *nr)
{
	gmpool_machine_find(&machine, nid, true);
	if (!gmpool_fit_place_growth(&machine, nid))
		return -ENOSPC;
	gmpool_machine_find(&machine, nid, false);
	return gmpool_fit_pick(&machine, size, nr);
}

static void __init gmpool_make_pool(int nid)
{
	const struct gmpool_extent_ser *picked = machine.picked;
	u64 asked = machine.node[nid].asked;
	u64 size = round_down(asked, GMPOOL_GRANULARITY);
	struct gmpool *pool;
	u32 nr, i;
	int err;

	if (size != asked)
		pr_notice("node %d: %llu bytes asked for are rounded down to %llu MiB, a multiple of %llu MiB\n",
			  nid, asked, MIB(size), MIB(GMPOOL_GRANULARITY));

	err = gmpool_choose_extents(nid, size, &nr);
	if (err && machine.node[nid].growth) {
		pr_warn("node %d: free memory is in too many pieces for a growth reserve: no reserve is made\n",
			nid);
		machine.node[nid].growth = 0;
		err = gmpool_choose_extents(nid, size, &nr);
	}
	if (err) {
		pr_warn("node %d: free memory is in too many pieces for a pool of %llu MiB: no pool is made\n",
			nid, MIB(size));
		return;
	}

	/* Keep the allocation of struct gmpool out of the pool's memory. */
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
	gmpool_growth_keep(pool, &machine);
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

/* Does the request of the command line for a node need a new pool? */
static bool __init gmpool_want_pool(int nid)
{
	struct gmpool *pool = gmpool_find(nid);
	u64 size = machine.node[nid].asked;
	u64 have;

	if (!pool && node_isset(nid, lost)) {
		pr_warn("node %d: no new pool is made in place of the lost one before guestmemfs=fresh or a cold boot\n",
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

/*
 * Fill in the size that is asked for on each node, and the nodes that need a
 * new pool.
 */
static void __init gmpool_ask(void)
{
	int nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		if (node_isset(nid, machine.with_memory)) {
			machine.node[nid].asked = gmpool_asked_on(nid);
			if (gmpool_is_asked(nid) && gmpool_want_pool(nid))
				node_set(nid, machine.wanted);
		} else if (cmdline.node[nid].kind != GMPOOL_SIZE_NONE) {
			pr_warn("guestmemfs=: node %d %s, allowed are %*pbl: this part is ignored\n",
				nid, node_online(nid) ? "has no memory" :
							"does not exist",
				nodemask_pr_args(&machine.with_memory));
		}
	}
}

/* Keep the growth reserves of handed-over pools. */
static void __init gmpool_keep_growth(void)
{
	struct gmpool *pool;

	list_for_each_entry(pool, &gmpool_list, list) {
		if (pool != gmpool_find(pool->nid) || !pool->numbers.nr ||
		    !node_isset(pool->nid, machine.with_memory))
			continue;
		gmpool_plan_growth(pool->nid);
		if (!machine.node[pool->nid].growth)
			continue;
		gmpool_machine_find(&machine, pool->nid, true);
		gmpool_fit_place_growth(&machine, pool->nid);
		gmpool_growth_keep(pool, &machine);
	}
}

static void __init gmpool_report_pools(void)
{
	struct gmpool *pool;

	list_for_each_entry(pool, &gmpool_list, list) {
		u64 size = pool->total_blocks << GMPOOL_BLOCK_SHIFT;

		/* retrieve.c has logged the reason. */
		if (!pool->numbers.nr)
			continue;
		pr_info("node %d: pool of %llu MiB in %u extent%s, from %#llx%s\n",
			pool->nid, MIB(size), pool->numbers.nr,
			pool->numbers.nr == 1 ? "" : "s", pool->numbers.extent[0].base,
			pool->handover.key == GMPOOL_NO_KEY ? "" : ", handed over");
	}
}

/**
 * guestmem_pool_reserve - make the pools that the command line asks for
 *
 * Each node gets its whole pool or none. No error here fails the boot.
 *
 * Context: early boot, before the kernel counts the memory in memblock.
 */
void __init guestmem_pool_reserve(void)
{
	nodemask_t asked;
	int nid;

	if (is_kdump_kernel()) {
		if (guestmemfs_param[0])
			pr_info("guestmemfs= is ignored in a kdump kernel\n");
		return;
	}
	/* False in a Xen PV domain: mappings and zero.c need 2 MiB mappings. */
	if (!has_transparent_hugepage()) {
		if (guestmemfs_param[0])
			pr_warn("guestmemfs= is ignored: this machine has no page table entries of 2 MiB (is it a Xen PV domain?)\n");
		return;
	}

	gmpool_machine_survey(&machine);
	gmpool_ask();
	asked = machine.wanted;
	gmpool_refuse_pools();
	for_each_node_mask(nid, asked)
		if (!node_isset(nid, machine.wanted))
			gmpool_explain_refusal(nid);
	gmpool_keep_growth();
	for_each_node_mask(nid, machine.wanted) {
		gmpool_plan_growth(nid);
		gmpool_make_pool(nid);
	}
	/* Pools grow and shrink by whole blocks of memory hotplug, see gmpool_unit(). */
	if (!list_empty(&gmpool_list))
		memory_block_advise_max_size(SZ_1G);
	gmpool_report_pools();
}
