// SPDX-License-Identifier: GPL-2.0
/*
 * The list of all pools. It is complete before the first initcall, and pools
 * are never freed.
 */

#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/nodemask.h>

#include "pool.h"

LIST_HEAD(gmpool_list);

/**
 * gmpool_next - walk all pools by ascending node number
 * @pool: the previous pool, or NULL to start
 *
 * Context: any, once the fs_initcalls of pools have run.
 *
 * Return: the next pool, or NULL at the end.
 */
struct gmpool *gmpool_next(struct gmpool *pool)
{
	struct list_head *next = pool ? pool->list.next : gmpool_list.next;

	return next == &gmpool_list ? NULL :
				      list_entry(next, struct gmpool, list);
}

/**
 * gmpool_find - the pool of a node
 * @nid: node number
 *
 * Context: any, once the fs_initcalls of pools have run.
 *
 * Return: the pool, NULL if the node has none. A failed pool is returned only
 * if there is no other.
 */
struct gmpool *gmpool_find(int nid)
{
	struct gmpool *pool, *failed = NULL;

	list_for_each_entry(pool, &gmpool_list, list) {
		if (pool->nid != nid)
			continue;
		if (pool->state != GMPOOL_FAILED)
			return pool;
		failed = pool;
	}
	return failed;
}

/**
 * gmpool_add_pool - allocate a pool and add it to the list
 * @nid: node of the pool
 * @key: number in the name of the KHO subtree it came from, or GMPOOL_NO_KEY
 *
 * Context: early boot.
 *
 * Return: the pool, without extents; NULL if out of memory.
 */
struct gmpool *__init gmpool_add_pool(int nid, u32 key)
{
	struct gmpool *pool, *next;

	/*
	 * Allocate low memory, so as not to break 1 GiB that a pool could have.
	 * On a KHO boot, low memory is a single scratch area, which may be
	 * full.
	 */
	pool = memblock_alloc_low(sizeof(*pool), SMP_CACHE_BYTES);
	if (!pool)
		pool = memblock_alloc(sizeof(*pool), SMP_CACHE_BYTES);
	if (!pool)
		return NULL;
	pool->nid = nid;
	pool->handover.key = key;
	list_for_each_entry(next, &gmpool_list, list)
		if (next->nid > nid)
			break;
	list_add_tail(&pool->list, &next->list);
	return pool;
}

/**
 * gmpool_set_extents - set the extents of a pool
 * @pool: the pool
 * @extents: by ascending address, of whole blocks
 * @nr: number of extents
 *
 * Context: early boot.
 */
void __init gmpool_set_extents(struct gmpool *pool,
			       const struct gmpool_extent_ser *extents, u32 nr)
{
	u32 i;

	pool->total_blocks = 0;
	pool->numbers.nr = nr;
	for (i = 0; i < nr; i++) {
		pool->numbers.extent[i].base = extents[i].base;
		pool->numbers.extent[i].size = extents[i].size;
		pool->numbers.extent[i].first = pool->total_blocks;
		pool->total_blocks += extents[i].size >> GMPOOL_BLOCK_SHIFT;
	}
	pool->end_block = pool->total_blocks;
}
