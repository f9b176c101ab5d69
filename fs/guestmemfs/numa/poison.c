// SPDX-License-Identifier: GPL-2.0
/*
 * Memory failure in a pool.
 *
 * Pool memory has no struct pages with a poison flag, so the pool keeps a set
 * of its pages with hardware errors (badpages.c).
 *
 * A block with a poisoned page is not allocated any more: it is taken
 * permanently once it is free. A file that has the block keeps it, with all its
 * other pages.
 *
 * The client is notified before processes are. It unmaps the block, and later
 * faults on the poisoned page fail.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/init.h>
#include <linux/memory-failure.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include <trace/events/guestmemfs.h>

#include "pool.h"
#include "resize.h"

/**
 * struct gmpool_part - a part of a pool as memory-failure.c knows it
 * @space: pfns of the part, and callbacks for a failure
 * @list: in gmpool.resize.parts
 * @pool: the pool
 * @page: number of the first page, counted from the start of block 0
 * @failed: set of the pfns that have failed while the pool did not have the part
 */
struct gmpool_part {
	struct pfn_address_space space;
	struct list_head list;
	struct gmpool *pool;
	u64 page;
	struct xarray failed;
};

/*
 * Offset of the failing page in its file. memory-failure.c handles one page at
 * a time.
 */
static pgoff_t failing_pgoff;

/**
 * gmpool_set_client - set the client that is notified of failed memory
 * @pool: the pool
 * @client: owner of the pool's blocks
 *
 * Context: boot, before user space; the file system can be mounted from now on.
 */
void gmpool_set_client(struct gmpool *pool, struct gmpool_client *client)
{
	pool->client = client;
	if (pool->tune.frozen)
		client->freeze(client, true);
}

/* Record a poisoned page for the next kernel. */
static int gmpool_remember_page(struct gmpool *pool, u64 page)
{
	unsigned int flags;
	int err;

	if (pool->state != GMPOOL_ACTIVE)
		return -EROFS;

	flags = gmpool_op_begin(pool);
	err = gmpool_list_page(pool, page);
	gmpool_op_end(pool, flags);
	return err;
}

/*
 * A page has failed on its way into the pool or out of it: unit.c lets memory-failure.c
 * handle it again at the end of the way.
 */
static void gmpool_defer_page(struct gmpool_part *part, unsigned long pfn)
{
	int err = xa_err(xa_store(&part->failed, pfn, xa_mk_value(0), GFP_KERNEL));

	if (err)
		pr_err("node %d: hardware error at %#llx: out of memory, the page is not recorded, and stays in use\n",
		       part->pool->nid, PFN_PHYS(pfn));
}

/* False if the pool does not have the page: no file has it either. */
static bool gmpool_poison_page(struct gmpool_part *part, u64 page, unsigned long pfn)
{
	struct gmpool *pool = part->pool;
	struct gmpool_range block = {
		.start = page / GMPOOL_BLOCK_PAGES,
		.count = 1,
	};
	int err;

	guard(mutex)(&pool->reset);

	if (!gmpool_contiguous(pool, block.start, 1)) {
		gmpool_defer_page(part, pfn);
		return false;
	}
	err = gmpool_add_poison(pool, page);
	if (err == -EBUSY)
		return true;
	if (err) {
		pr_err("node %d: hardware error at %#llx: out of memory, the page is not recorded, and block %llu can be allocated again\n",
		       pool->nid, PFN_PHYS(pfn), block.start);
		return true;
	}
	pr_err("node %d: hardware error at %#llx: the page is not used any more, and block %llu is not allocated again\n",
	       pool->nid, PFN_PHYS(pfn), block.start);
	scoped_guard(spinlock, &pool->space.lock)
		gmpool_retire(pool, &block);
	gmpool_update_low(pool);
	trace_guestmemfs_poison(pool->nid, block.start, pfn);
	gmpool_notify_poison(pool);
	err = gmpool_remember_page(pool, page);
	if (err)
		pr_err("node %d: the failed page at %#llx is not handed over (%pe): the next kernel uses it\n",
		       pool->nid, PFN_PHYS(pfn), ERR_PTR(err));
	return true;
}

static void gmpool_get_mapping(struct pfn_address_space *pfn_space,
			       unsigned long pfn)
{
	struct gmpool_part *part = container_of(pfn_space, struct gmpool_part, space);
	struct gmpool *pool = part->pool;
	u64 page = part->page + pfn - pfn_space->node.start;

	pfn_space->mapping = NULL;
	if (!gmpool_poison_page(part, page, pfn) || !pool->client)
		return;
	pfn_space->mapping = pool->client->get_mapping(pool->client,
						       page / GMPOOL_BLOCK_PAGES,
						       &failing_pgoff);
	failing_pgoff += page % GMPOOL_BLOCK_PAGES;
}

static void gmpool_put_mapping(struct pfn_address_space *pfn_space)
{
	struct gmpool_part *part = container_of(pfn_space, struct gmpool_part, space);

	if (pfn_space->mapping)
		part->pool->client->put_mapping(pfn_space->mapping);
	pfn_space->mapping = NULL;
}

/*
 * Return an error for a mapping without the page: its process would be killed
 * otherwise.
 */
static int gmpool_pfn_to_vma_pgoff(struct vm_area_struct *vma,
				   unsigned long pfn, pgoff_t *pgoff)
{
	if (failing_pgoff < vma->vm_pgoff ||
	    failing_pgoff - vma->vm_pgoff >= vma_pages(vma))
		return -EFAULT;
	*pgoff = failing_pgoff;
	return 0;
}

/**
 * gmpool_watch - handle memory failures in a part of a pool
 * @pool: the pool
 * @extent: the part: all or a part of one of the pool's extents
 *
 * Context: process context, may sleep; boot, or gmpool.resize.lock is held, and none of
 * the locks that a memory failure takes.
 *
 * Return: 0; -ENOMEM; -EBUSY if others handle memory failures there.
 */
int gmpool_watch(struct gmpool *pool, const struct gmpool_extent *extent)
{
	struct gmpool_part *part;
	int err;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return 0;
	part = kzalloc_obj(*part);
	if (!part)
		return -ENOMEM;
	xa_init(&part->failed);
	part->pool = pool;
	part->page = extent->first * GMPOOL_BLOCK_PAGES;
	part->space.node.start = PHYS_PFN(extent->base);
	part->space.node.last = PHYS_PFN(extent->base + extent->size) - 1;
	part->space.pfn_to_vma_pgoff = gmpool_pfn_to_vma_pgoff;
	part->space.get_mapping = gmpool_get_mapping;
	part->space.put_mapping = gmpool_put_mapping;
	err = register_pfn_address_space(&part->space);
	if (err)
		kfree(part);
	else
		list_add(&part->list, &pool->resize.parts);
	return err;
}

static struct gmpool_part *gmpool_find_part(const struct gmpool *pool, u64 base)
{
	struct gmpool_part *part;

	list_for_each_entry(part, &pool->resize.parts, list)
		if (part->space.node.start == PHYS_PFN(base))
			return part;
	return NULL;
}

/* Let memory-failure.c handle all that has failed, now that the pages have an owner. */
static void gmpool_fail_again(struct gmpool_part *part)
{
	unsigned long pfn;
	void *entry;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return;
	xa_for_each(&part->failed, pfn, entry) {
		xa_erase(&part->failed, pfn);
		if (memory_failure(pfn, 0) != -ENXIO)
			continue;
		/* The struct page is offline. Its memory block cannot come online then. */
		pr_err("node %d: hardware error at %#llx: its block of memory hotplug stays offline\n",
		       part->pool->nid, PFN_PHYS(pfn));
		num_poisoned_pages_inc(pfn);
	}
}

/**
 * gmpool_fail_online - let the kernel handle failures in memory that has come online
 * @pool: the pool, which does not have the memory
 * @base: physical address of a watched part
 *
 * gmpool_unwatch() handles them as well, but can have to wait for device hotplug. Until
 * then, the kernel could use the pages.
 *
 * Context: as gmpool_watch().
 */
void gmpool_fail_online(struct gmpool *pool, u64 base)
{
	struct gmpool_part *part = gmpool_find_part(pool, base);
	unsigned long pfn;
	void *entry;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE) || !part)
		return;
	xa_for_each(&part->failed, pfn, entry) {
		if (!pfn_to_online_page(pfn))
			continue;
		xa_erase(&part->failed, pfn);
		/* If it is offline again, that defers it once more. */
		memory_failure(pfn, 0);
	}
}

/**
 * gmpool_watched - handle memory failures from before the pool had a part
 * @pool: the pool, which has the part now
 * @base: physical address of the part
 *
 * Context: as gmpool_watch(); all blocks of the part are claimed.
 */
void gmpool_watched(struct gmpool *pool, u64 base)
{
	struct gmpool_part *part = gmpool_find_part(pool, base);

	if (part)
		gmpool_fail_again(part);
}

/**
 * gmpool_unwatch - undo gmpool_watch() for a part that the kernel has
 * @pool: the pool, which does not have the part
 * @base: physical address of the part
 *
 * Waits for the end of a failure that is being handled. The kernel is told of all that has
 * failed since the pool did not have the part.
 *
 * Context: as gmpool_watch(). If the kernel has struct pages of the part, device hotplug is
 * locked, or a memory block could come online before its failed page is counted.
 */
void gmpool_unwatch(struct gmpool *pool, u64 base)
{
	struct gmpool_part *part = gmpool_find_part(pool, base);

	if (!part)
		return;
	unregister_pfn_address_space(&part->space);
	list_del(&part->list);
	gmpool_fail_again(part);
	kfree(part);
}

/* In parts of a unit, as these can leave the pool. */
static int __init gmpool_watch_extent(struct gmpool *pool,
				      const struct gmpool_extent *extent)
{
	u64 at, next, end = extent->base + extent->size;
	struct gmpool_extent part;
	int err = 0;

	for (at = extent->base; at < end && !err; at = next) {
		next = min(round_down(at, gmpool_unit()) + gmpool_unit(), end);
		part.base = at;
		part.size = next - at;
		part.first = extent->first + ((at - extent->base) >> GMPOOL_BLOCK_SHIFT);
		err = gmpool_watch(pool, &part);
	}
	return err;
}

static int __init gmpool_poison_init(void)
{
	struct gmpool *pool;
	int err;
	u32 i;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return 0;
	list_for_each_entry(pool, &gmpool_list, list) {
		err = 0;
		for (i = 0; i < pool->numbers.nr && !err; i++)
			err = gmpool_watch_extent(pool, &pool->numbers.extent[i]);
		if (err)
			pr_err("node %d: hardware errors are not handled (%pe): failed pages stay in use\n",
			       pool->nid, ERR_PTR(err));
	}
	return 0;
}
late_initcall(gmpool_poison_init);
