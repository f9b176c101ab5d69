// SPDX-License-Identifier: GPL-2.0
/*
 * Growing: the kernel gives up memory.
 *
 * Each unit is offlined and removed, one after the other, in the task that asks for it.
 * What is in it moves elsewhere. That takes long if much is, and offlining drains the
 * lists of pages of all CPUs.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/memory-failure.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <trace/events/guestmemfs.h>

#include "arch.h"
#include "pool.h"
#include "resize.h"

/* Free memory of the machine, and memory of a node, that the kernel keeps. */
#define KEEP_FREE	SZ_256M
#define KEEP_NODE	SZ_256M

#define MIB(bytes)	((bytes) >> 20)

/**
 * struct unit - memory that the kernel is to give up
 * @pool: pool that is to get it
 * @base: physical address
 * @size: bytes
 * @zone: zone of all of its pages
 * @nr: number of its memory blocks
 * @types: for each of these, how to bring it online again; MMOP_OFFLINE if it was not
 *	taken offline
 */
struct unit {
	struct gmpool *pool;
	u64 base;
	u64 size;
	struct zone *zone;
	u32 nr;
	enum mmop types[SZ_1G / GMPOOL_GRANULARITY];
};

static int gmpool_check_memory_block(struct memory_block *mem, void *arg)
{
	struct unit *unit = arg;

	if (mem->state != MEM_ONLINE || mem->nid != unit->pool->nid || !mem->zone ||
	    mem->altmap || (unit->zone && unit->zone != mem->zone))
		return -EBUSY;
	unit->zone = mem->zone;
	unit->nr++;
	return 0;
}

static int gmpool_offline_memory_block(struct memory_block *mem, void *arg)
{
	struct unit *unit = arg;
	int err;

	err = device_offline(&mem->dev);
	if (!err)
		unit->types[unit->nr] = zone_idx(unit->zone) == ZONE_MOVABLE ?
					MMOP_ONLINE_MOVABLE : MMOP_ONLINE_KERNEL;
	unit->nr++;
	/* Others cannot have taken it offline: device hotplug is locked. */
	return err > 0 ? -EBUSY : err;
}

static int gmpool_online_memory_block(struct memory_block *mem, void *arg)
{
	struct unit *unit = arg;
	enum mmop type = unit->types[unit->nr++];
	int err;

	if (type == MMOP_OFFLINE)
		return 0;
	mem->online_type = type;
	err = device_online(&mem->dev);
	if (err < 0)
		pr_warn("node %d: %s stays offline after a failed resize (%pe): see its state in /sys/devices/system/memory\n",
			unit->pool->nid, dev_name(&mem->dev), ERR_PTR(err));
	return 0;
}

/* A callback of walk_memory_blocks(). */
static int gmpool_failed_memory_block(struct memory_block *mem, void *arg)
{
#ifdef CONFIG_MEMORY_FAILURE
	return atomic_long_read(&mem->nr_hwpoison) ? -EHWPOISON : 0;
#else
	return 0;
#endif
}

/*
 * Is there a page with a hardware error? Also if all of it is offline: the memory block has
 * the number of its failed pages. memory_failure() marks a page before it counts it, so
 * memory_failure_wait() comes first if failures of that moment matter.
 */
static bool gmpool_unit_failed(const struct unit *unit)
{
	return walk_memory_blocks(unit->base, unit->size, NULL, gmpool_failed_memory_block);
}

/*
 * Is all of it free? The answer can be out of date, as no lock is held. A free page of the
 * page allocator has its order in page_private(), see buddy_order_unsafe() of mm/internal.h.
 */
static bool gmpool_unit_free(const struct unit *unit)
{
	unsigned long pfn, end = PHYS_PFN(unit->base + unit->size);
	struct page *page;

	for (pfn = PHYS_PFN(unit->base); pfn < end; pfn += MAX_ORDER_NR_PAGES) {
		page = pfn_to_page(pfn);
		if (!PageBuddy(page) || READ_ONCE(page_private(page)) != MAX_PAGE_ORDER)
			return false;
	}
	return true;
}

/*
 * Is there a gigantic page of hugetlb? It can be in ZONE_MOVABLE (see
 * vm.movable_gigantic_pages), and offlining it waits until another one is free.
 */
static bool gmpool_unit_gigantic(const struct unit *unit)
{
	unsigned long pfn, end = PHYS_PFN(unit->base + unit->size);
	struct page *page;

	/* As in scan_movable_pages(), no reference is held: the answer can be out of date. */
	for (pfn = PHYS_PFN(unit->base); pfn < end; pfn += MAX_ORDER_NR_PAGES) {
		page = pfn_to_page(pfn);
		if (PageHuge(page) && folio_order(page_folio(page)) > MAX_PAGE_ORDER)
			return true;
	}
	return false;
}

/*
 * Test whether the kernel can move all that is in the unit. The test ends, while the
 * attempt to offline a page that cannot be moved does not. Nothing else in ZONE_MOVABLE
 * stays unmovable for long.
 */
static int gmpool_test_unit(const struct unit *unit)
{
	unsigned long start = PHYS_PFN(unit->base);
	unsigned long nr = PHYS_PFN(unit->size);
	int err;

	if (zone_idx(unit->zone) == ZONE_MOVABLE)
		return gmpool_unit_gigantic(unit) ? -EBUSY : 0;
	/* The test costs 24 million instructions per GiB, twice as much as all the rest. */
	if (gmpool_unit_free(unit))
		return 0;
	err = alloc_contig_range(start, start + nr, ACR_FLAGS_NONE, GFP_KERNEL);
	if (!err)
		free_contig_range(start, nr);
	return err;
}

/*
 * The error of a unit that cannot be taken: -EHWPOISON, -EINTR, or -EBUSY for all else, which
 * is about this unit only. alloc_contig_range() returns -ENOMEM for a gigantic page of
 * hugetlb, and offlining -EINVAL for a hole.
 */
static int gmpool_unit_error(const struct unit *unit, int err)
{
	if (gmpool_unit_failed(unit))
		return -EHWPOISON;
	return err == -EINTR ? err : -EBUSY;
}

static int gmpool_offline_unit(struct unit *unit)
{
	int err;

	err = walk_memory_blocks(unit->base, unit->size, unit, gmpool_check_memory_block);
	/* Without all of its memory blocks, the unit has not all of its struct pages. */
	if (err || unit->nr != unit->size / memory_block_size_bytes())
		return -EBUSY;
	/* A memory block with a failed page goes offline, but does not come online again. */
	if (gmpool_unit_failed(unit))
		return -EHWPOISON;
	err = gmpool_test_unit(unit);
	if (err)
		return gmpool_unit_error(unit, err);

	unit->nr = 0;
	err = walk_memory_blocks(unit->base, unit->size, unit, gmpool_offline_memory_block);
	/*
	 * The kernel leaves pages that fail now behind. No guest is to get them. A failure
	 * that has found its page online marks it, before the struct page goes.
	 */
	err = err ?: memory_failure_wait();
	if (!err && !gmpool_unit_failed(unit))
		return 0;
	err = gmpool_unit_error(unit, err);
	unit->nr = 0;
	walk_memory_blocks(unit->base, unit->size, unit, gmpool_online_memory_block);
	return err;
}

/* Give a unit back that is hidden and that the pool does not get. */
static void gmpool_abandon_unit(struct gmpool *pool, u64 base)
{
	if (gmpool_unhide_unit(pool, base, gmpool_unit()))
		gmpool_unit_lost(pool, base);
	else
		gmpool_online_unit(pool, base);
}

/*
 * Pages of KHO's scratch areas on a node that the kernel manages, as far as zone_cma_pages()
 * does not have them: it has them only in a kernel that was not started with KHO.
 */
static unsigned long gmpool_count_scratch(int nid)
{
	unsigned long step = MAX_ORDER_NR_PAGES, end = node_end_pfn(nid), nr = 0;
	unsigned long pfn, at;

	if (!is_kho_boot())
		return 0;
	for (pfn = round_down(node_start_pfn(nid), step); pfn < end; pfn += step) {
		if (!kho_scratch_overlap(PFN_PHYS(pfn), step << PAGE_SHIFT) ||
		    pfn_to_nid(pfn) != nid)
			continue;
		/* Early allocations of this kernel are there too. */
		for (at = pfn; at < pfn + step; at++)
			nr += !PageReserved(pfn_to_page(at));
		cond_resched();
	}
	return nr;
}

/* Has the node, and the machine, enough memory to give up a unit? */
static bool gmpool_may_grow(const struct gmpool *pool, unsigned long scratch)
{
	unsigned long unit = PHYS_PFN(gmpool_unit());
	unsigned long keep = PHYS_PFN(KEEP_NODE) + scratch, managed = 0;
	struct pglist_data *pgdat = NODE_DATA(pool->nid);
	int i;

	for (i = 0; i < MAX_NR_ZONES; i++) {
		struct zone *zone = &pgdat->node_zones[i];

		if (!populated_zone(zone))
			continue;
		/* KHO's scratch areas are CMA: only movable pages use them. */
		managed += zone_managed_pages(zone) - zone_cma_pages(zone);
		keep += high_wmark_pages(zone);
	}
	return managed >= unit + keep &&
	       si_mem_available() >= (long)(unit + PHYS_PFN(KEEP_FREE));
}

/* Does the kernel keep enough memory without another unit? */
static int gmpool_check_kept(struct gmpool *pool, unsigned long scratch)
{
	if (gmpool_may_grow(pool, scratch))
		return 0;
	gmpool_resize_err(pool, "the kernel needs the rest of its memory");
	return -ENOSPC;
}

/*
 * Take a unit away from the kernel, and hide it. On an error, the kernel has the unit and
 * handles memory failures there; or gmpool_unit_lost() has logged it.
 */
static int gmpool_take_unit(struct gmpool *pool, u64 base)
{
	struct unit unit = { .pool = pool, .base = base, .size = gmpool_unit() };
	const char *error;
	int err;

	/* Keeps others from bringing the memory online, and from adding it. */
	lock_device_hotplug();
	err = gmpool_offline_unit(&unit);
	if (err) {
		gmpool_unwatch(pool, base);
		unlock_device_hotplug();
		return err;
	}
	__remove_memory(base, unit.size);
	error = gmpool_hide_unit(pool, base, unit.size);
	/* Nothing refuses an eject now. ACPI ejects with the lock held. */
	if (!error)
		err = gmpool_hold_devices(pool, base, unit.size);
	unlock_device_hotplug();
	if (err)
		gmpool_abandon_unit(pool, base);
	if (!error)
		return err;
	gmpool_resize_err(pool, "memory at %#llx %s", base, error);
	if (gmpool_add_memory(pool, base, unit.size))
		gmpool_unit_lost(pool, base);
	else
		gmpool_online_unit(pool, base);
	return -ENOMEM;
}

/*
 * Choose the numbers of a unit. Not inline: the frame is large, and offlining takes much
 * of the stack.
 */
static noinline_for_stack struct gmpool_change *
gmpool_prepare_growth(struct gmpool *pool, struct gmpool_extent *unit)
{
	u64 lowest = min(unit->base, PFN_PHYS(node_start_pfn(pool->nid)));
	struct gmpool_numbers to = pool->numbers;
	int err;

	unit->first = gmpool_numbers_choose(&to, unit->base, unit->size,
					    round_down(lowest, unit->size));
	if (unit->first == ~0ULL)
		return ERR_PTR(-E2BIG);
	err = gmpool_numbers_add(&to, unit->base, unit->size, unit->first);
	if (err)
		return ERR_PTR(err);
	return gmpool_change_prepare(pool, &to) ?: ERR_PTR(-ENOMEM);
}

static int gmpool_grow_unit(struct gmpool *pool, u64 base)
{
	struct gmpool_extent unit = { .base = base, .size = gmpool_unit() };
	struct gmpool_change *change = gmpool_prepare_growth(pool, &unit);
	int err;

	if (IS_ERR(change))
		return PTR_ERR(change);
	/*
	 * While the struct pages are online, the kernel does not ask the pool. As soon as
	 * they are not, no failure is missed.
	 */
	err = gmpool_watch(pool, &unit);
	if (err)
		gmpool_resize_err(pool, "hardware errors at %#llx could not be handled", base);
	else
		err = gmpool_take_unit(pool, base);
	if (!err) {
		err = gmpool_enter_unit(pool, change, &unit, false);
		if (err)
			gmpool_abandon_unit(pool, base);
	}
	gmpool_change_free(pool, change);
	return err;
}

enum rank {
	RANK_MOVABLE_ADJACENT,	/* it becomes a part of an extent */
	RANK_MOVABLE,
	RANK_ADJACENT,
	RANK_NORMAL,
	RANK_NONE,
};

/* Memory hotplug is locked, or struct pages could go. */
static enum rank gmpool_rank_online_unit(const struct gmpool *pool, u64 base)
{
	u64 at, end = base + gmpool_unit();
	struct page *page = NULL;
	bool movable;
	u32 i;

	for (at = base; at < end; at += GMPOOL_GRANULARITY) {
		page = pfn_to_online_page(PHYS_PFN(at));
		/*
		 * Memory that was added since boot is unknown to the next kernel before
		 * it is added there again.
		 */
		if (!page || page_to_nid(page) != pool->nid ||
		    !gmpool_arch_at_boot(at, at + GMPOOL_GRANULARITY))
			return RANK_NONE;
	}
	movable = page_zonenum(page) == ZONE_MOVABLE;
	for (i = 0; i < pool->numbers.nr; i++)
		if (pool->numbers.extent[i].base == end ||
		    pool->numbers.extent[i].base + pool->numbers.extent[i].size == base)
			return movable ? RANK_MOVABLE_ADJACENT : RANK_ADJACENT;
	return movable ? RANK_MOVABLE : RANK_NORMAL;
}

/* How well is a unit suited? That can change as soon as the function returns. */
static enum rank gmpool_rank_unit(const struct gmpool *pool, u64 base)
{
	enum rank rank;

	get_online_mems();
	rank = gmpool_rank_online_unit(pool, base);
	put_online_mems();
	return rank;
}

/**
 * struct search - search for memory that the kernel gives up
 * @lowest: address of the first unit of the node
 * @nr: number of units from there to the end of the node
 * @scratch: pages of KHO's scratch areas on the node, see gmpool_count_scratch()
 * @tried: bit set = the unit cannot be taken, or is not to be tried again
 * @busy: address of a unit that cannot be taken
 * @err: error of that, or 0
 */
struct search {
	u64 lowest;
	u64 nr;
	unsigned long scratch;
	unsigned long *tried;
	u64 busy;
	int err;
};

/* Record a unit that cannot be taken. An error says most about what would help. */
static void gmpool_skip_unit(struct gmpool *pool, struct search *search, u64 i, u64 base,
			     int err)
{
	/* Another unit may do, or fail for another reason. */
	gmpool_resize_forget(pool);
	__set_bit(i, search->tried);
	if (search->err == -E2BIG || (search->err == -EBUSY && err != -E2BIG))
		return;
	search->busy = base;
	search->err = err;
}

/* Take a unit, with gmpool_hotplug held. */
static int gmpool_try_unit(struct gmpool *pool, const struct search *search, u64 base)
{
	int err;

	if (READ_ONCE(pool->tune.frozen))
		return -EAGAIN;
	/* Once more: an attempt can take minutes, and the next one is another. */
	err = gmpool_check_kept(pool, search->scratch) ?: gmpool_grow_unit(pool, base);
	trace_guestmemfs_grow(pool->nid, base, gmpool_unit(), err);
	return err;
}

/* Grow by the best unit that can be taken. */
static int gmpool_grow_best(struct gmpool *pool, struct search *search)
{
	enum rank rank;
	u64 i, base;
	bool fits;
	int err;

	for (rank = 0; rank < RANK_NONE; rank++) {
		for (i = search->nr; i--;) {
			base = search->lowest + i * gmpool_unit();
			if (test_bit(i, search->tried))
				continue;
			/* No signal ends the wait of a look for memory hotplug. */
			if (signal_pending(current) ||
			    mutex_lock_interruptible(&gmpool_hotplug))
				return -EINTR;
			fits = gmpool_rank_unit(pool, base) == rank;
			err = fits ? gmpool_try_unit(pool, search, base) : 0;
			mutex_unlock(&gmpool_hotplug);
			if (!fits)
				continue;
			/* Of too many pieces, another unit can become a part. */
			if (err != -EBUSY && err != -EHWPOISON && err != -E2BIG)
				return err;
			gmpool_skip_unit(pool, search, i, base, err);
			cond_resched();
		}
	}
	return search->err ?: -ENOSPC;
}

/* The words for an error of growing. */
static void gmpool_explain_growth(struct gmpool *pool, const struct search *search, int err)
{
	u64 unit = MIB(gmpool_unit());

	/* Said where it has happened. */
	if (*pool->resize.error)
		return;
	switch (err) {
	case -EBUSY:
		gmpool_resize_err(pool, "no %llu MiB of the node can be taken: there are pages that cannot be moved, or are pinned, e.g. at %#llx",
				  unit, search->busy);
		break;
	case -EHWPOISON:
		gmpool_resize_err(pool, "no %llu MiB of the node can be taken: a page at %#llx has failed",
				  unit, search->busy);
		break;
	case -ENOSPC:
		gmpool_resize_err(pool, "the kernel has no further %llu MiB of the node that were there at boot and can be offline",
				  unit);
		break;
	case -E2BIG:
		gmpool_resize_err(pool, "the pool is in %u pieces, which are as many as there can be",
				  pool->numbers.nr);
		break;
	case -EAGAIN:
		break;
	case -EINTR:
		gmpool_resize_err(pool, "interrupted by a signal");
		break;
	default:
		gmpool_resize_err(pool, "error %pe", ERR_PTR(err));
	}
}

/**
 * gmpool_grow - let a pool grow
 * @pool: an active pool
 * @units: number of units
 *
 * Context: process context, sleeps; gmpool.resize.lock is held.
 *
 * Return: 0, -EAGAIN if the pool has been frozen since, or a negative errno of
 * gmpool_resize(); the units before stay.
 */
int gmpool_grow(struct gmpool *pool, u64 units)
{
	u64 unit = gmpool_unit();
	struct search search = {
		.scratch = gmpool_count_scratch(pool->nid),
		.lowest = round_down(PFN_PHYS(node_start_pfn(pool->nid)), unit),
	};
	int err = 0;

	search.nr = DIV_ROUND_UP_ULL(PFN_PHYS(node_end_pfn(pool->nid)) - search.lowest, unit);
	search.tried = bitmap_zalloc(search.nr, GFP_KERNEL);
	if (!search.tried)
		return -ENOMEM;
	for (; units && !err; units--) {
		err = gmpool_check_kept(pool, search.scratch) ?:
		      gmpool_grow_best(pool, &search);
		if (err)
			gmpool_explain_growth(pool, &search, err);
		else
			gmpool_notify_size(pool);
	}
	bitmap_free(search.tried);
	return err;
}
