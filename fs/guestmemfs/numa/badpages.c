// SPDX-License-Identifier: GPL-2.0
/*
 * The poisoned pages of a pool: a set in ordinary memory, and a list in the
 * pool's metadata for the next kernel. Pages are never removed from either.
 * poison.c handles the failure itself.
 */

#include <linux/mm.h>
#include <linux/xarray.h>

#include "pool.h"

/**
 * gmpool_has_poison - does a range of pages have a poisoned one
 * @pool: the pool
 * @page: first page, counted from the start of block 0
 * @nr: number of pages
 *
 * Context: any; takes the RCU read lock.
 *
 * Return: true if at least one of them is poisoned.
 */
bool gmpool_has_poison(struct gmpool *pool, u64 page, u64 nr)
{
	unsigned long index = page;

	/* Common case: no poisoned pages. */
	if (!READ_ONCE(pool->bad.nr_pages))
		return false;
	return xa_find(&pool->bad.pages, &index, page + nr - 1, XA_PRESENT);
}

/**
 * gmpool_find_poison - find a block with a poisoned page
 * @pool: the pool
 * @range: blocks to search
 * @block: filled with the first such block of @range, if there is one
 *
 * Context: any; takes the RCU read lock.
 *
 * Return: true if there is one.
 */
bool gmpool_find_poison(struct gmpool *pool, const struct gmpool_range *range,
			u64 *block)
{
	unsigned long page = range->start * GMPOOL_BLOCK_PAGES;
	unsigned long end = page + range->count * GMPOOL_BLOCK_PAGES;

	if (!READ_ONCE(pool->bad.nr_pages) ||
	    !xa_find(&pool->bad.pages, &page, end - 1, XA_PRESENT))
		return false;
	*block = page / GMPOOL_BLOCK_PAGES;
	return true;
}

/**
 * gmpool_poisoned_pages - number of poisoned pages of a pool
 * @pool: a pool that has not failed as a whole
 *
 * Return: pages.
 */
u64 gmpool_poisoned_pages(const struct gmpool *pool)
{
	return READ_ONCE(pool->bad.nr_pages);
}

/**
 * gmpool_retire - keep blocks with poisoned pages from being allocated
 * @pool: the pool
 * @range: blocks, of which some may be free
 *
 * Context: gmpool.space.lock is held.
 */
void gmpool_retire(struct gmpool *pool, const struct gmpool_range *range)
{
	unsigned long first = range->start * GMPOOL_BLOCK_PAGES;
	unsigned long last = first + range->count * GMPOOL_BLOCK_PAGES - 1;
	struct gmpool_range block = { .count = 1 };
	unsigned long page;
	void *entry;

	lockdep_assert_held(&pool->space.lock);

	/* A failed pool has no allocator. */
	if (!pool->bad.nr_pages || !pool->space.blocks.taken)
		return;
	xa_for_each_range(&pool->bad.pages, page, entry, first, last) {
		block.start = page / GMPOOL_BLOCK_PAGES;
		gmpool_bitmap_take_free(&pool->space.blocks, &block);
		gmpool_bitmap_take_free(&pool->space.clean, &block);
	}
}

/**
 * gmpool_add_poison - add a page to the set of poisoned pages
 * @pool: the pool
 * @page: page, counted from the start of block 0
 *
 * Context: process context, may sleep; boot, or gmpool.reset is held.
 *
 * Return: 0; -EBUSY if the page is in the set already; -ENOMEM.
 */
int gmpool_add_poison(struct gmpool *pool, u64 page)
{
	bool first = !gmpool_has_poison(pool, round_down(page, GMPOOL_BLOCK_PAGES),
					GMPOOL_BLOCK_PAGES);
	int err;

	err = xa_insert(&pool->bad.pages, page, xa_mk_value(0), GFP_KERNEL);
	if (err)
		return err;
	WRITE_ONCE(pool->bad.nr_pages, pool->bad.nr_pages + 1);
	if (first)
		WRITE_ONCE(pool->bad.nr_blocks, pool->bad.nr_blocks + 1);
	return 0;
}

/* Return a list with room for one more page; allocate one if needed. */
static struct gmpool_poison_ser *gmpool_last_list(struct gmpool *pool)
{
	struct gmpool_meta_ser *hdr = NULL;
	struct gmpool_poison_ser *list;

	while ((hdr = gmpool_meta_next(&pool->handover.meta, GMPOOL_META_POISON, hdr))) {
		list = container_of(hdr, struct gmpool_poison_ser, hdr);
		if (list->nr < GMPOOL_POISON_PAGES)
			return list;
	}

	hdr = gmpool_meta_alloc(&pool->handover.meta, GMPOOL_META_POISON);
	if (IS_ERR(hdr))
		return ERR_CAST(hdr);
	list = container_of(hdr, struct gmpool_poison_ser, hdr);
	guard(mutex)(&pool->handover.meta.lock);
	pool->handover.super->feature_ro_compat |= GMPOOL_FEATURE_RO_COMPAT_POISON;
	gmpool_sync_super(pool);
	return list;
}

/**
 * gmpool_list_page - record a poisoned page for the next kernel
 * @pool: the pool
 * @page: page, counted from the start of block 0
 *
 * Context: within an operation, or no other task can begin one; gmpool.reset
 * is held.
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
	gmpool_meta_dirty(&pool->handover.meta, &list->hdr);
	return 0;
}

/**
 * gmpool_remember_poison - list all poisoned pages in new metadata
 * @pool: the pool, with no pages listed in its metadata yet
 *
 * Context: process context, may sleep; gmpool.reset is held, and no operation
 * can begin.
 *
 * Return: 0; -ENOMEM, -ENOSPC.
 */
int gmpool_remember_poison(struct gmpool *pool)
{
	unsigned long page;
	void *entry;
	int err = 0;

	xa_for_each(&pool->bad.pages, page, entry) {
		err = gmpool_list_page(pool, page);
		if (err)
			break;
	}
	return err;
}
