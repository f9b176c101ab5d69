// SPDX-License-Identifier: GPL-2.0
/*
 * The metadata of a pool of this kernel: creation, growth, check, freeing.
 *
 * Metadata has the handed-over format all the time, in pages that KHO preserves
 * from their allocation on. At kexec it only has to be sealed (lifecycle.c).
 */

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/utsname.h>
#include <linux/uuid.h>

#include "format.h"
#include "pool.h"

/*
 * Allocate zeroed memory near the pool that KHO preserves; NULL if there is
 * none. It is charged to the cgroup of the allocating task.
 */
static void *gmpool_alloc_preserved(struct gmpool *pool, unsigned int order,
				    gfp_t gfp)
{
	/*
	 * A pool with memory on several nodes may have a number that is no
	 * node's.
	 */
	int nid = node_online(pool->nid) ? pool->nid : numa_mem_id();
	struct folio *folio;

	folio = __folio_alloc_node(GFP_KERNEL_ACCOUNT | __GFP_ZERO | gfp,
				   order, nid);
	if (!folio)
		return NULL;
	if (kho_is_enabled() && kho_preserve_folio(folio)) {
		folio_put(folio);
		return NULL;
	}
	return folio_address(folio);
}

static void gmpool_free_preserved(void *mem)
{
	struct folio *folio = virt_to_folio(mem);

	if (kho_is_enabled())
		kho_unpreserve_folio(folio);
	folio_put(folio);
}

/* Return the table with room for one more chunk; allocate one if needed. */
static struct gmpool_table_ser *gmpool_last_table(struct gmpool *pool)
{
	struct gmpool_super_ser *super = pool->handover.super;
	struct gmpool_table_ser *table;
	u32 nr = super->nr_tables;

	if (nr && pool->handover.tables[nr - 1]->nr < GMPOOL_TABLE_CHUNKS)
		return pool->handover.tables[nr - 1];
	if (nr == GMPOOL_MAX_TABLES)
		return ERR_PTR(-ENOSPC);

	table = gmpool_alloc_preserved(pool, 0, 0);
	if (!table)
		return ERR_PTR(-ENOMEM);
	table->magic = GMPOOL_TABLE_MAGIC;
	memcpy(table->uuid, super->uuid, sizeof(table->uuid));
	table->index = nr;
	return table;
}

/*
 * Chunks grow with the size of the metadata, so that few chunks hold much. If a
 * large one is not available, take a smaller one.
 */
static void *gmpool_alloc_chunk(struct gmpool *pool, unsigned int *order)
{
	unsigned int ord = clamp(ilog2(pool->handover.meta.nr | 1), 3, 9);
	void *mem;

	for (;; ord--) {
		mem = gmpool_alloc_preserved(pool, ord, ord ? __GFP_NORETRY |
						       __GFP_NOWARN : 0);
		if (mem || !ord) {
			*order = ord;
			return mem;
		}
	}
}

/**
 * gmpool_grow_metadata - add a chunk of metadata blocks to a pool
 * @meta: metadata of the pool
 *
 * Context: process context, may sleep; gmpool_meta.lock is held, or no other
 * task can use @meta.
 *
 * Return: 0; -ENOMEM, -ENOSPC or an error of KHO, nothing is changed then.
 */
int gmpool_grow_metadata(struct gmpool_meta *meta)
{
	struct gmpool *pool = container_of(meta, struct gmpool, handover.meta);
	struct gmpool_super_ser *super = pool->handover.super;
	struct gmpool_table_ser *table;
	struct gmpool_chunk_ser *chunk;
	unsigned int order;
	void *mem;
	int err;

	table = gmpool_last_table(pool);
	if (IS_ERR(table))
		return PTR_ERR(table);
	mem = gmpool_alloc_chunk(pool, &order);
	if (!mem) {
		err = -ENOMEM;
		goto err_free_table;
	}
	chunk = &table->chunks[table->nr];
	chunk->phys = virt_to_phys(mem);
	chunk->first = meta->nr;
	chunk->nr = 1U << order;
	err = gmpool_meta_add_chunk(meta, mem, chunk->first, chunk->nr, true);
	if (err)
		goto err_free_chunk;

	table->nr++;
	table->csum = gmpool_table_csum(table);
	if (table->index == super->nr_tables) {
		pool->handover.tables[table->index] = table;
		super->tables[table->index] = virt_to_phys(table);
		super->nr_tables++;
	}
	super->nr_meta = meta->nr;
	gmpool_sync_super(pool);
	return 0;

err_free_chunk:
	memset(chunk, 0, sizeof(*chunk));
	gmpool_free_preserved(mem);
err_free_table:
	if (table->index == super->nr_tables)
		gmpool_free_preserved(table);
	return err;
}

/**
 * gmpool_sign_super - enter this kernel into the super block
 * @pool: the pool, with a super block that this kernel may change
 *
 * Context: process context; the pool has no clients.
 */
void gmpool_sign_super(struct gmpool *pool)
{
	struct gmpool_super_ser *super = pool->handover.super;

	super->state = GMPOOL_STATE_LIVE;
	super->nid = pool->nid;
	strscpy_pad(super->release, init_utsname()->release);
	gmpool_sync_super(pool);
}

/**
 * gmpool_alloc_bitmap_pointers - allocate the arrays of bitmap pointers
 * @pool: the pool; sets gmpool.space.used and gmpool.space.dirty
 * @nr: filled with the number of metadata blocks of each bitmap
 *
 * Context: process context, may sleep; the pool has no clients.
 *
 * Return: 0 or -ENOMEM; gmpool_drop_metadata() frees the arrays.
 */
int gmpool_alloc_bitmap_pointers(struct gmpool *pool, u64 *nr)
{
	*nr = DIV_ROUND_UP_ULL(pool->end_block, GMPOOL_BITMAP_BITS);
	pool->space.used = kzalloc_objs(*pool->space.used, *nr);
	pool->space.dirty = kzalloc_objs(*pool->space.dirty, *nr);
	return pool->space.used && pool->space.dirty ? 0 : -ENOMEM;
}

/**
 * gmpool_new_bitmap - allocate a metadata block for a bitmap
 * @pool: the pool
 * @type: GMPOOL_META_USED or GMPOOL_META_DIRTY
 * @index: among those of its type
 *
 * Context: process context, may sleep, within an operation; takes gmpool_meta.lock.
 *
 * Return: the block, all bits zero; or an ERR_PTR of gmpool_meta_alloc().
 */
struct gmpool_bitmap_ser *gmpool_new_bitmap(struct gmpool *pool, u16 type, u64 index)
{
	struct gmpool_meta_ser *hdr = gmpool_meta_alloc(&pool->handover.meta, type);

	if (IS_ERR(hdr))
		return ERR_CAST(hdr);
	hdr->index = index;
	return container_of(hdr, struct gmpool_bitmap_ser, hdr);
}

/* All blocks are dirty: the contents from before the pool was made are unknown. */
static void gmpool_set_dirty(struct gmpool *pool)
{
	struct gmpool_range range;
	u32 i;

	guard(spinlock)(&pool->space.lock);
	for (i = 0; i < pool->numbers.nr; i++) {
		range.start = pool->numbers.extent[i].first;
		range.count = pool->numbers.extent[i].size >> GMPOOL_BLOCK_SHIFT;
		gmpool_change_bits(pool, pool->space.dirty, &range, true);
	}
}

static int gmpool_create_bitmaps(struct gmpool *pool)
{
	struct gmpool_bitmap_ser *map;
	u64 nr, i;
	int err;

	err = gmpool_alloc_bitmap_pointers(pool, &nr);
	if (err)
		return err;

	for (i = 0; i < nr; i++) {
		map = gmpool_new_bitmap(pool, GMPOOL_META_USED, i);
		if (IS_ERR(map))
			return PTR_ERR(map);
		pool->space.used[i] = map;

		map = gmpool_new_bitmap(pool, GMPOOL_META_DIRTY, i);
		if (IS_ERR(map))
			return PTR_ERR(map);
		pool->space.dirty[i] = map;
	}
	gmpool_set_dirty(pool);
	return 0;
}

/**
 * gmpool_create_metadata - create the metadata of a new pool
 * @pool: the pool
 *
 * Context: process context, may sleep; the pool has no clients.
 *
 * Return: 0 or a negative errno. After an error the pool must not be used, and
 * gmpool_drop_metadata() frees the part that was created.
 */
int gmpool_create_metadata(struct gmpool *pool)
{
	struct gmpool_super_ser *super;
	uuid_t uuid;

	super = gmpool_alloc_preserved(pool, GMPOOL_BLOB_ORDER, 0);
	if (!super)
		return -ENOMEM;

	uuid_gen(&uuid);
	super->magic = GMPOOL_SUPER_MAGIC;
	super->version = GMPOOL_VERSION;
	super->super_size = sizeof(*super);
	super->block_shift = GMPOOL_BLOCK_SHIFT;
	export_uuid(super->uuid, &uuid);
	gmpool_numbers_to_super(&pool->numbers, super);
	pool->handover.super = super;
	pool->handover.blob = virt_to_phys(super);
	gmpool_sign_super(pool);

	gmpool_meta_init(&pool->handover.meta, super->uuid, gmpool_grow_metadata);
	return gmpool_create_bitmaps(pool);
}

/**
 * gmpool_check_roots - validate the clients that a super block names
 * @pool: the pool
 *
 * Context: any; no task may change the super block during the call.
 *
 * Return: NULL, or the error as text.
 */
const char *gmpool_check_roots(struct gmpool *pool)
{
	struct gmpool_super_ser *super = pool->handover.super;
	u32 i, j;

	for (i = 0; i < GMPOOL_MAX_ROOTS; i++) {
		if (super->roots[i].owner == GMPOOL_OWNER_NONE) {
			if (super->roots[i].mbn)
				return "has a root without an owner";
			continue;
		}
		if (!super->roots[i].mbn || super->roots[i].mbn >= super->nr_meta)
			return "has a root outside its metadata";
		for (j = 0; j < i; j++)
			if (super->roots[j].owner == super->roots[i].owner)
				return "has two roots of one owner";
	}
	return NULL;
}

/**
 * gmpool_drop_own - free metadata that this kernel has created or retrieved
 * @pool: the pool
 *
 * Context: process context, may sleep; no operation can begin, and the pool has
 * no clients.
 */
void gmpool_drop_own(struct gmpool *pool)
{
	u32 t, c;

	for (t = 0; t < pool->handover.super->nr_tables; t++) {
		struct gmpool_table_ser *table = pool->handover.tables[t];

		for (c = 0; c < table->nr; c++)
			gmpool_free_preserved(phys_to_virt(table->chunks[c].phys));
		gmpool_free_preserved(table);
	}
	gmpool_free_preserved(pool->handover.super);
}

/**
 * gmpool_check_metadata - check whether the next kernel could retrieve a pool
 * @pool: the pool, which has not failed
 *
 * Context: process context, may sleep; no operation can begin.
 *
 * Return: NULL, or the first error as text.
 */
const char *gmpool_check_metadata(struct gmpool *pool)
{
	const struct gmpool_super_ser *super = pool->handover.super;
	bool newer = gmpool_super_newer(super);
	struct gmpool_poison_ser *list;
	struct gmpool_meta_ser *hdr;
	const char *error;
	u32 nr_meta = 0;
	u32 i;

	error = gmpool_super_check(super, GMPOOL_GRANULARITY);
	if (!error)
		error = gmpool_super_check((void *)super + GMPOOL_META_SIZE,
					   GMPOOL_GRANULARITY);
	if (!error)
		error = gmpool_check_roots(pool);
	for (i = 0; i < super->nr_tables && !error; i++)
		error = gmpool_table_check(pool->handover.tables[i], super, i, &nr_meta);

	/*
	 * Compute the checksums of changed blocks. Any wrong checksum is an
	 * error then.
	 */
	gmpool_meta_seal(&pool->handover.meta);
	for (i = 0; i < super->nr_meta && !error; i++) {
		hdr = gmpool_meta_block(&pool->handover.meta, i);
		error = gmpool_meta_check(hdr, super->uuid, i, newer);
		cond_resched();
	}
	if (!error)
		error = gmpool_bitmaps_check(pool->space.used, pool->space.dirty,
					     pool->end_block);
	if (!error)
		error = gmpool_bitmaps_check_numbers(pool->space.used, pool->space.dirty,
						     super);
	hdr = NULL;
	while (!error && (hdr = gmpool_meta_next(&pool->handover.meta,
						 GMPOOL_META_POISON, hdr))) {
		list = container_of(hdr, struct gmpool_poison_ser, hdr);
		error = gmpool_poison_check(list, super);
	}
	return error;
}
