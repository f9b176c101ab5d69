// SPDX-License-Identifier: GPL-2.0
/*
 * The pages of a pool that have failed: a set in ordinary memory, and a list in the
 * pool's metadata for the next kernel. Nothing leaves it. For what happens when one
 * fails see poison.c.
 */

#include <linux/mm.h>
#include <linux/xarray.h>

#include "pool.h"

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
		list = container_of(hdr, struct gmpool_poison_ser, hdr);
		if (list->nr < GMPOOL_POISON_PAGES)
			return list;
	}

	hdr = gmpool_meta_alloc(&pool->meta, GMPOOL_META_POISON);
	if (IS_ERR(hdr))
		return ERR_CAST(hdr);
	list = container_of(hdr, struct gmpool_poison_ser, hdr);
	guard(mutex)(&pool->meta.lock);
	pool->super->feature_ro_compat |= GMPOOL_FEATURE_RO_COMPAT_POISON;
	gmpool_sync_super(pool);
	return list;
}

/**
 * gmpool_list_page - note a failed page for the next kernel
 * @pool: the pool
 * @page: in pages from the start of block 0
 *
 * Context: within an operation, or nobody else can begin one; gmpool.manage is held.
 *
 * Return: 0; -ENOMEM, -ENOSPC.
 */
int gmpool_list_page(struct gmpool *pool, u64 page)
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
