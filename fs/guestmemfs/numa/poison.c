// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that has failed.
 *
 * There are no struct pages that could have a flag, so the pool itself keeps a
 * set of its pages with hardware errors, and a list of them in its metadata for
 * the next kernel. Nothing leaves it.
 *
 * A block with such a page is not given out any more: it is taken for good once
 * it is free. A file that has it now keeps it, with all of its other pages.
 *
 * Who the memory belongs to is told before processes are: it unmaps the block,
 * and what is touched after that is refused by the fault.
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
 * @space: its pfns, and what to do when one of them fails
 * @pool: the pool
 * @extent: of the pool
 */
struct gmpool_space {
	struct pfn_address_space space;
	struct gmpool *pool;
	const struct gmpool_extent *extent;
};

/* The page that fails, in its file. memory-failure.c does one at a time. */
static pgoff_t failing_pgoff;

/**
 * gmpool_set_user - who is to be told of failed memory
 * @pool: the pool
 * @user: whose files have its blocks
 *
 * Context: boot, before user space; the file system can be mounted from now on.
 */
void gmpool_set_user(struct gmpool *pool, struct gmpool_user *user)
{
	pool->user = user;
	if (pool->tune.frozen)
		user->freeze(user, true);
}

/**
 * gmpool_has_poison - has one of some pages failed
 * @pool: the pool
 * @page: the first, in pages from the start of block 0
 * @nr: how many pages
 *
 * Context: any; takes the RCU read lock.
 *
 * Return: true if one of them has.
 */
bool gmpool_has_poison(struct gmpool *pool, u64 page, u64 nr)
{
	unsigned long index = page;

	/* That is how it should be. */
	if (!READ_ONCE(pool->nr_poisoned))
		return false;
	return xa_find(&pool->poison, &index, page + nr - 1, XA_PRESENT);
}

/**
 * gmpool_find_poison - find a block with a page that has failed
 * @pool: the pool
 * @run: where to look
 * @block: filled: the first one in @run, if there is one
 *
 * Context: any; takes the RCU read lock.
 *
 * Return: true if there is one.
 */
bool gmpool_find_poison(struct gmpool *pool, const struct gmpool_run *run,
			u64 *block)
{
	unsigned long page = run->start * GMPOOL_BLOCK_PAGES;
	unsigned long end = page + run->count * GMPOOL_BLOCK_PAGES;

	if (!READ_ONCE(pool->nr_poisoned) ||
	    !xa_find(&pool->poison, &page, end - 1, XA_PRESENT))
		return false;
	*block = page / GMPOOL_BLOCK_PAGES;
	return true;
}

/**
 * gmpool_poisoned_pages - what of a pool has failed
 * @pool: a pool that has not failed as a whole
 *
 * Return: pages.
 */
u64 gmpool_poisoned_pages(const struct gmpool *pool)
{
	return READ_ONCE(pool->nr_poisoned);
}

/**
 * gmpool_withhold - do not give out blocks with failed pages
 * @pool: the pool
 * @run: blocks of which some are free
 *
 * Context: gmpool.lock is held.
 */
void gmpool_withhold(struct gmpool *pool, const struct gmpool_run *run)
{
	unsigned long first = run->start * GMPOOL_BLOCK_PAGES;
	unsigned long last = first + run->count * GMPOOL_BLOCK_PAGES - 1;
	struct gmpool_run block = { .count = 1 };
	unsigned long page;
	void *entry;

	lockdep_assert_held(&pool->lock);

	/* A pool that has failed has no blocks to give out. */
	if (!pool->nr_poisoned || !pool->blocks.taken)
		return;
	xa_for_each_range(&pool->poison, page, entry, first, last) {
		block.start = page / GMPOOL_BLOCK_PAGES;
		gmpool_bitmap_take_free(&pool->blocks, &block);
		gmpool_bitmap_take_free(&pool->clean, &block);
	}
}

/**
 * gmpool_add_poison - a page is known to have failed
 * @pool: the pool
 * @page: in pages from the start of block 0
 *
 * Context: process context, may sleep; one at a time.
 *
 * Return: 0; -EBUSY if it was known before; -ENOMEM.
 */
int gmpool_add_poison(struct gmpool *pool, u64 page)
{
	bool first = !gmpool_has_poison(pool, round_down(page, GMPOOL_BLOCK_PAGES),
					GMPOOL_BLOCK_PAGES);
	int err;

	err = xa_insert(&pool->poison, page, xa_mk_value(0), GFP_KERNEL);
	if (err)
		return err;
	WRITE_ONCE(pool->nr_poisoned, pool->nr_poisoned + 1);
	if (first)
		WRITE_ONCE(pool->nr_poisoned_blocks, pool->nr_poisoned_blocks + 1);
	return 0;
}

/* The list that has room for one more, made if needed. */
static struct gmpool_poison_ser *gmpool_last_list(struct gmpool *pool)
{
	struct gmpool_meta_ser *hdr = NULL;
	struct gmpool_poison_ser *list;

	while ((hdr = gmpool_meta_next(&pool->meta, GMPOOL_META_POISON, hdr))) {
		list = (void *)hdr;
		if (list->nr < GMPOOL_POISON_PAGES)
			return list;
	}

	list = (void *)gmpool_meta_alloc(&pool->meta, GMPOOL_META_POISON);
	if (IS_ERR(list))
		return list;
	guard(mutex)(&pool->meta.lock);
	pool->super->feature_ro_compat |= GMPOOL_FEATURE_RO_COMPAT_POISON;
	gmpool_sync_super(pool);
	return list;
}

static int gmpool_list_page(struct gmpool *pool, u64 page)
{
	struct gmpool_poison_ser *list = gmpool_last_list(pool);

	BUILD_BUG_ON(PAGE_SHIFT != GMPOOL_POISON_SHIFT);

	if (IS_ERR(list))
		return PTR_ERR(list);
	list->pages[list->nr++] = page;
	gmpool_meta_dirty(&pool->meta, &list->hdr);
	return 0;
}

/**
 * gmpool_remember_poison - list all failed pages in new metadata
 * @pool: the pool, whose metadata lists none yet
 *
 * Context: process context, may sleep; gmpool.manage is held, and nobody can
 * begin an operation.
 *
 * Return: 0; -ENOMEM, -ENOSPC.
 */
int gmpool_remember_poison(struct gmpool *pool)
{
	unsigned long page;
	void *entry;
	int err = 0;

	xa_for_each(&pool->poison, page, entry) {
		err = gmpool_list_page(pool, page);
		if (err)
			break;
	}
	return err;
}

/* For the next kernel. */
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
	struct gmpool_run block = {
		.start = page / GMPOOL_BLOCK_PAGES,
		.count = 1,
	};
	int err;

	guard(mutex)(&pool->manage);

	err = gmpool_add_poison(pool, page);
	if (err == -EBUSY)
		return;
	pr_err("node %d: hardware error at %#llx: the page is not used any more, and block %llu is not given out again\n",
	       pool->nid, PFN_PHYS(pfn), block.start);
	if (err) {
		pr_err("node %d: no memory to remember that\n", pool->nid);
		return;
	}
	scoped_guard(spinlock, &pool->lock)
		gmpool_withhold(pool, &block);
	gmpool_update_low(pool);
	trace_guestmemfs_poison(pool->nid, block.start, pfn);
	gmpool_notify_poison(pool);
	err = gmpool_remember_page(pool, page);
	if (err)
		pr_err("node %d: the next kernel will not know of it (%pe)\n",
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
	if (!pool->user)
		return;
	pfn_space->mapping = pool->user->get_mapping(pool->user,
						     page / GMPOOL_BLOCK_PAGES,
						     &failing_pgoff);
	failing_pgoff += page % GMPOOL_BLOCK_PAGES;
}

static void gmpool_put_mapping(struct pfn_address_space *pfn_space)
{
	struct gmpool_space *space = container_of(pfn_space, struct gmpool_space,
						  space);

	if (pfn_space->mapping)
		space->pool->user->put_mapping(pfn_space->mapping);
	pfn_space->mapping = NULL;
}

/* An error for a mapping without the page, or its process would be killed. */
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
