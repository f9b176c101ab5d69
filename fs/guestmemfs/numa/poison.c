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

/**
 * struct gmpool_space - an extent as memory-failure.c knows it
 * @space: pfns of the extent, and callbacks for a failure
 * @pool: the pool
 * @extent: of the pool
 */
struct gmpool_space {
	struct pfn_address_space space;
	struct gmpool *pool;
	const struct gmpool_extent *extent;
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

static void gmpool_poison_page(struct gmpool *pool, u64 page, unsigned long pfn)
{
	struct gmpool_range block = {
		.start = page / GMPOOL_BLOCK_PAGES,
		.count = 1,
	};
	int err;

	guard(mutex)(&pool->manage);

	err = gmpool_add_poison(pool, page);
	if (err == -EBUSY)
		return;
	pr_err("node %d: hardware error at %#llx: the page is not used any more, and block %llu is not allocated again\n",
	       pool->nid, PFN_PHYS(pfn), block.start);
	if (err) {
		pr_err("node %d: out of memory: the failed page is not recorded\n", pool->nid);
		return;
	}
	scoped_guard(spinlock, &pool->space.lock)
		gmpool_retire(pool, &block);
	gmpool_update_low(pool);
	trace_guestmemfs_poison(pool->nid, block.start, pfn);
	gmpool_notify_poison(pool);
	err = gmpool_remember_page(pool, page);
	if (err)
		pr_err("node %d: the failed page is not handed over (%pe)\n",
		       pool->nid, ERR_PTR(err));
}

static void gmpool_get_mapping(struct pfn_address_space *pfn_space,
			       unsigned long pfn)
{
	struct gmpool_space *space = container_of(pfn_space, struct gmpool_space,
						  space);
	struct gmpool *pool = space->pool;
	u64 page = space->extent->first * GMPOOL_BLOCK_PAGES + pfn -
		   PHYS_PFN(space->extent->base);

	gmpool_poison_page(pool, page, pfn);
	pfn_space->mapping = NULL;
	if (!pool->client)
		return;
	pfn_space->mapping = pool->client->get_mapping(pool->client,
						       page / GMPOOL_BLOCK_PAGES,
						       &failing_pgoff);
	failing_pgoff += page % GMPOOL_BLOCK_PAGES;
}

static void gmpool_put_mapping(struct pfn_address_space *pfn_space)
{
	struct gmpool_space *space = container_of(pfn_space, struct gmpool_space,
						  space);

	if (pfn_space->mapping)
		space->pool->client->put_mapping(pfn_space->mapping);
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

static int __init gmpool_watch_extent(struct gmpool *pool,
				      const struct gmpool_extent *extent)
{
	struct gmpool_space *space = kzalloc_obj(*space);
	int err;

	if (!space)
		return -ENOMEM;
	space->pool = pool;
	space->extent = extent;
	space->space.node.start = PHYS_PFN(extent->base);
	space->space.node.last = PHYS_PFN(extent->base + extent->size) - 1;
	space->space.pfn_to_vma_pgoff = gmpool_pfn_to_vma_pgoff;
	space->space.get_mapping = gmpool_get_mapping;
	space->space.put_mapping = gmpool_put_mapping;
	err = register_pfn_address_space(&space->space);
	if (err)
		kfree(space);
	return err;
}

static int __init gmpool_poison_init(void)
{
	struct gmpool *pool;
	int err = 0;
	u32 i;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return 0;
	list_for_each_entry(pool, &gmpool_list, list) {
		for (i = 0; i < pool->nr_extents && !err; i++)
			err = gmpool_watch_extent(pool, &pool->extents[i]);
		if (err)
			pr_err("node %d: hardware errors are not handled (%pe)\n",
			       pool->nid, ERR_PTR(err));
	}
	return 0;
}
late_initcall(gmpool_poison_init);
