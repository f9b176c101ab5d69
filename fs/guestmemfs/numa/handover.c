// SPDX-License-Identifier: GPL-2.0
/*
 * Pools and Kexec HandOver: retrieval of metadata from the previous kernel, and
 * preservation for the next one.
 *
 * This kernel checks all handed-over metadata and then uses it in place. It
 * keeps a pool that it cannot use: it changes nothing of it, and preserves all
 * memory that is known to be part of the pool, for a kernel that can use it.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/log2.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <trace/events/guestmemfs.h>

#include "format.h"
#include "pool.h"

/* Map a handed-over address; NULL if it is not memory of this kernel. */
static void *gmpool_handed_over(u64 phys, u64 size)
{
	u64 pfn = PHYS_PFN(phys);
	u64 end = pfn + PFN_UP(offset_in_page(phys) + size);

	/* Compare pfns: the end of a range near U64_MAX overflows to 0. */
	for (; pfn < end; pfn++)
		if (!pfn_to_online_page(pfn))
			return NULL;
	return phys_to_virt(phys);
}

/**
 * gmpool_read_handed_over - copy memory at a handed-over address
 * @to: buffer
 * @phys: physical address, which may be wrong
 * @len: bytes
 *
 * KHO tells whether it has preserved a page only when it restores the page.
 * Until then the contents are not trusted, and may change.
 *
 * Context: process context.
 *
 * Return: false if this kernel has no memory there, or cannot read it.
 */
bool gmpool_read_handed_over(void *to, u64 phys, size_t len)
{
	return gmpool_handed_over(phys, len) &&
	       !copy_from_kernel_nofault(to, phys_to_virt(phys), len);
}

/*
 * Copy one block of handed-over memory, or return NULL. The copy is valid until
 * the next call. A wrong address can point to free memory, and KASAN would
 * report a direct read of that.
 */
static const void *gmpool_peek(u64 phys)
{
	static u8 copy[GMPOOL_META_SIZE] __aligned(8);

	return gmpool_read_handed_over(copy, phys, sizeof(copy)) ? copy : NULL;
}

/*
 * @copy gets the table: until KHO has restored its page, the page may have
 * another use.
 */
static const char *gmpool_check_table(struct gmpool *pool,
				      const struct gmpool_super_ser *super,
				      u32 index, u32 *nr_meta,
				      struct gmpool_table_ser *copy)
{
	const struct gmpool_table_ser *table =
		gmpool_peek(super->tables[index]);

	if (!table)
		return "address";
	*copy = *table;
	pool->handover.tables[index] = phys_to_virt(super->tables[index]);
	return gmpool_table_check(copy, super, index, nr_meta);
}

/* Check before KHO restores the pages: it warns of pages not preserved. */
static int gmpool_check_chunk(struct gmpool *pool,
			      const struct gmpool_chunk_ser *chunk)
{
	bool newer = gmpool_super_newer(pool->handover.super);
	const char *error;
	const void *block;
	u32 i;

	for (i = 0; i < chunk->nr; i++) {
		block = gmpool_peek(chunk->phys +
				    ((u64)i << GMPOOL_META_SHIFT));
		if (!block) {
			gmpool_fail(pool, "metadata block %u has a bad address",
				    chunk->first + i);
			return -EUCLEAN;
		}
		error = gmpool_meta_check(block, pool->handover.super->uuid,
					  chunk->first + i, newer);
		if (error) {
			gmpool_fail(pool, "metadata block %u is damaged (%s)",
				    chunk->first + i, error);
			return -EUCLEAN;
		}
	}
	return 0;
}

static int gmpool_check_handed_over(struct gmpool *pool)
{
	static struct gmpool_table_ser table;
	const char *error;
	u32 nr_meta = 0;
	u32 t, c;
	int err;

	for (t = 0; t < pool->handover.super->nr_tables; t++) {
		error = gmpool_check_table(pool, pool->handover.super, t, &nr_meta,
					   &table);
		if (error) {
			gmpool_fail(pool, "chunk table %u is damaged (%s)", t,
				    error);
			return -EUCLEAN;
		}
		for (c = 0; c < table.nr; c++) {
			err = gmpool_check_chunk(pool, &table.chunks[c]);
			if (err)
				return err;
		}
	}
	return 0;
}

/* Restore pages from KHO, and preserve them for the next kernel. */
static int gmpool_restore_block(struct gmpool *pool, u64 phys,
				unsigned int order)
{
	struct folio *folio = kho_restore_folio(phys);

	if (!folio || folio_order(folio) != order) {
		gmpool_fail(pool, "KHO has not preserved its metadata at %#llx",
			    phys);
		return -EUCLEAN;
	}
	return kho_is_enabled() ? kho_preserve_folio(folio) : 0;
}

static int gmpool_restore_metadata(struct gmpool *pool)
{
	struct gmpool_super_ser *super = pool->handover.super;
	u32 t, c;
	int err;

	pool->handover.taken_over = true;
	err = gmpool_restore_block(pool, pool->handover.blob, GMPOOL_BLOB_ORDER);
	for (t = 0; t < super->nr_tables && !err; t++) {
		struct gmpool_table_ser *table = pool->handover.tables[t];

		err = gmpool_restore_block(pool, super->tables[t], 0);
		for (c = 0; !err && c < table->nr; c++) {
			struct gmpool_chunk_ser *chunk = &table->chunks[c];

			err = gmpool_restore_block(pool, chunk->phys,
						   ilog2(chunk->nr));
			if (!err)
				err = gmpool_meta_add_chunk(&pool->handover.meta,
							    phys_to_virt(chunk->phys),
							    chunk->first,
							    chunk->nr, false);
		}
	}
	return err;
}

static const char *gmpool_find_bitmaps(struct gmpool *pool, u16 type,
				       struct gmpool_bitmap_ser **maps, u64 nr)
{
	struct gmpool_meta_ser *hdr = NULL;
	u64 found = 0;

	while ((hdr = gmpool_meta_next(&pool->handover.meta, type, hdr))) {
		if (hdr->index >= nr || maps[hdr->index])
			return "a bitmap has a wrong place";
		maps[hdr->index] = container_of(hdr, struct gmpool_bitmap_ser,
						hdr);
		found++;
	}
	return found == nr ? NULL : "a bitmap is missing";
}

static int gmpool_retrieve_bitmaps(struct gmpool *pool)
{
	const struct gmpool_super_ser *super = pool->handover.super;
	const char *error;
	u64 nr;
	int err;

	/*
	 * Not memory bounds the numbers of blocks, but their bitmaps. Before all metadata
	 * is there, numbers count through the extents: they would be used after a reset.
	 */
	if (gmpool_super_end(super) / GMPOOL_BITMAP_BITS > super->nr_meta) {
		gmpool_fail(pool, "a bitmap is missing");
		return -EUCLEAN;
	}
	gmpool_numbers_of_super(&pool->numbers, super);
	pool->end_block = gmpool_numbers_end(&pool->numbers);
	err = gmpool_alloc_bitmap_pointers(pool, &nr);
	if (err)
		return err;
	error = gmpool_find_bitmaps(pool, GMPOOL_META_USED, pool->space.used, nr);
	if (!error)
		error = gmpool_find_bitmaps(pool, GMPOOL_META_DIRTY,
					    pool->space.dirty, nr);
	if (!error)
		error = gmpool_bitmaps_check(pool->space.used, pool->space.dirty,
					     pool->end_block);
	if (!error)
		error = gmpool_bitmaps_check_numbers(pool->space.used, pool->space.dirty,
						     pool->handover.super);
	if (!error)
		return 0;
	gmpool_fail(pool, "%s", error);
	return -EUCLEAN;
}

static int gmpool_retrieve_poison(struct gmpool *pool)
{
	struct gmpool_meta_ser *hdr = NULL;
	struct gmpool_poison_ser *list;
	const char *error;
	int err;
	u64 i;

	while ((hdr = gmpool_meta_next(&pool->handover.meta, GMPOOL_META_POISON, hdr))) {
		list = container_of(hdr, struct gmpool_poison_ser, hdr);
		error = gmpool_poison_check(list, pool->handover.super);
		if (error) {
			gmpool_fail(pool, "%s", error);
			return -EUCLEAN;
		}
		for (i = 0; i < list->nr; i++) {
			err = gmpool_add_poison(pool, list->pages[i]);
			if (err == -EBUSY) {
				gmpool_fail(pool, "a page has failed twice");
				return -EUCLEAN;
			}
			if (err)
				return err;
		}
	}
	if (pool->bad.nr_pages)
		pr_notice("node %d: %llu pages have hardware errors and are not used\n",
			  pool->nid, pool->bad.nr_pages);
	return 0;
}

/**
 * gmpool_retrieve_metadata - retrieve the metadata of a handed-over pool
 * @pool: the pool; its extents are retrieved already
 *
 * Context: process context during boot, once KHO is up.
 *
 * Return: 0 or a negative errno. After an error the pool has failed, and
 * gmpool_keep_unused() preserves the rest of it for the next kernel.
 */
int gmpool_retrieve_metadata(struct gmpool *pool)
{
	struct gmpool_super_ser *super = phys_to_virt(pool->handover.blob);
	bool read_only = false;
	const char *error;
	int err;

	if (!is_kho_boot()) {
		gmpool_fail(pool, "KHO is off, and has not kept the metadata");
		return -ENODATA;
	}

	error = gmpool_super_usable(super, &read_only);
	if (error) {
		gmpool_fail(pool, "%s", error);
		return -EOPNOTSUPP;
	}
	pool->handover.super = super;
	error = gmpool_check_roots(pool);
	if (error) {
		gmpool_fail(pool, "%s", error);
		err = -EUCLEAN;
		goto err_keep;
	}
	err = gmpool_check_handed_over(pool);
	if (err)
		goto err_keep;

	gmpool_meta_init(&pool->handover.meta, super->uuid, gmpool_grow_metadata);
	err = gmpool_restore_metadata(pool);
	if (!err)
		err = gmpool_retrieve_bitmaps(pool);
	if (!err)
		err = gmpool_retrieve_poison(pool);
	if (err)
		goto err_keep;

	pr_info("node %d: %llu blocks handed over by kernel %s after %llu earlier kexecs\n",
		pool->nid, pool->total_blocks, super->release,
		super->generation);
	strscpy(pool->handover.from, super->release);
	super->generation++;
	trace_guestmemfs_retrieve(pool->nid, super->generation, super->release);
	gmpool_sign_super(pool);
	pool->state = read_only ? GMPOOL_READ_ONLY : GMPOOL_ACTIVE;
	return 0;

err_keep:
	/* Without super block, the pool is neither changed nor sealed. */
	gmpool_fail(pool, "cannot be taken over (%pe)", ERR_PTR(err));
	pool->handover.super = NULL;
	return err;
}

static void gmpool_preserve_pages(u64 phys, u64 size)
{
	if (kho_preserve_pages(pfn_to_page(PHYS_PFN(phys)), PHYS_PFN(size)))
		pr_err("metadata at %#llx cannot be handed over: the next kernel will not use its pool\n",
		       phys);
}

/*
 * Call @fn for all metadata that the super block names in valid chunk tables,
 * and for these tables. With @damaged, call it for invalid tables as well.
 */
static void gmpool_walk_metadata(const struct gmpool_super_ser *from,
				 bool damaged, void (*fn)(u64 phys, u64 size))
{
	static struct gmpool_super_ser copy;
	const struct gmpool_super_ser *super = &copy;
	const struct gmpool_table_ser *table;
	u32 nr_meta = 0;
	u32 t, c;
	bool good;

	/* @from may lie in memory that it names, and @fn may free that. */
	copy = *from;
	for (t = 0; t < super->nr_tables; t++) {
		table = gmpool_peek(super->tables[t]);
		if (!table)
			continue;
		good = !gmpool_table_check(table, super, t, &nr_meta);
		for (c = 0; good && c < table->nr; c++) {
			struct gmpool_chunk_ser chunk = table->chunks[c];
			u64 size = (u64)chunk.nr << GMPOOL_META_SHIFT;

			if (gmpool_handed_over(chunk.phys, size))
				fn(chunk.phys, size);
		}
		if (good || damaged)
			fn(super->tables[t], GMPOOL_META_SIZE);
	}
}

static int gmpool_add_subtree(struct gmpool *pool, u32 key)
{
	char name[16];

	snprintf(name, sizeof(name), GMPOOL_SUBTREE_FMT, key);
	return kho_add_subtree(name, phys_to_virt(pool->handover.blob),
			       GMPOOL_BLOB_SIZE);
}

/*
 * The number in the name is a hint: take any free one rather than lose the
 * pool.
 */
static int gmpool_publish_blob(struct gmpool *pool, u32 key)
{
	int err = gmpool_add_subtree(pool, key);

	for (key = MAX_NUMNODES; err == -EEXIST && key-- > 0;)
		err = gmpool_add_subtree(pool, key);
	if (err)
		pr_err("node %d: KHO cannot take the pool (%pe): it will not survive kexec\n",
		       pool->nid, ERR_PTR(err));
	else
		trace_guestmemfs_preserve(pool->nid, pool->total_blocks);
	return err;
}

/* The super block of a held pool; NULL if neither copy is available. */
static const struct gmpool_super_ser *
gmpool_unused_super(const struct gmpool *pool)
{
	const char *error;

	if (!pool->handover.blob || !kho_is_enabled() || !is_kho_boot())
		return NULL;
	return gmpool_super_pick(phys_to_virt(pool->handover.blob), GMPOOL_GRANULARITY,
				 &error);
}

/*
 * If this kernel uses memory of some extents itself, remove these extents from
 * the handed-over super block. The next kernel must neither take that memory
 * nor regard the pool as complete.
 *
 * Return: false if no extent is left.
 */
static bool gmpool_leave_out_used(struct gmpool *pool,
				  const struct gmpool_super_ser *super)
{
	static struct gmpool_super_ser copy;
	struct gmpool_super_ser *blob = phys_to_virt(pool->handover.blob);
	u32 i, nr = 0;

	if (bitmap_empty(pool->handover.used_otherwise, GMPOOL_MAX_EXTENTS))
		return true;

	copy = *super;
	copy.state = GMPOOL_STATE_LIVE;
	copy.total_blocks = 0;
	memset(copy.extents, 0, sizeof(copy.extents));
	if (copy.feature_incompat & GMPOOL_FEATURE_INCOMPAT_NUMBERS)
		memset(copy.first, 0, sizeof(copy.first));
	for (i = 0; i < super->nr_extents; i++) {
		if (test_bit(i, pool->handover.used_otherwise))
			continue;
		if (copy.feature_incompat & GMPOOL_FEATURE_INCOMPAT_NUMBERS)
			copy.first[nr] = super->first[i];
		copy.extents[nr++] = super->extents[i];
		copy.total_blocks += super->extents[i].size >> GMPOOL_BLOCK_SHIFT;
	}
	copy.nr_extents = nr;
	pr_err("node %d: this kernel uses memory of %u of %u extents: %s\n",
	       pool->nid, super->nr_extents - nr, super->nr_extents,
	       nr ? "the others are handed over" : "nothing is handed over");
	if (!nr)
		return false;
	*blob = copy;
	gmpool_super_update(blob);
	return true;
}

/**
 * gmpool_keep_unused - preserve a pool that cannot be used
 * @pool: the pool, which failed before its metadata was retrieved
 *
 * Context: process context during boot, after all other pools are published.
 */
void gmpool_keep_unused(struct gmpool *pool)
{
	const struct gmpool_super_ser *super = gmpool_unused_super(pool);

	if (!super)
		return;
	if (!gmpool_leave_out_used(pool, super)) {
		pool->handover.blob = 0;
		return;
	}
	/* Read again: the first copy of the super block may be damaged. */
	super = gmpool_unused_super(pool);
	gmpool_preserve_pages(pool->handover.blob, GMPOOL_BLOB_SIZE);
	gmpool_walk_metadata(super, true, gmpool_preserve_pages);
	gmpool_publish_blob(pool, pool->handover.key);
}

/**
 * gmpool_publish - add a pool to KHO's subtrees
 * @pool: the pool, with metadata
 *
 * Context: process context, may sleep.
 *
 * Return: 0 or a negative errno; 0 with a warning if KHO is off.
 */
int gmpool_publish(struct gmpool *pool)
{
	if (kho_is_enabled())
		return gmpool_publish_blob(pool, pool->nid);
	pr_warn("node %d: KHO is off (see kho=): the pool will not survive kexec\n",
		pool->nid);
	return 0;
}

static void gmpool_put_pages_restored(u64 phys, u64 size)
{
	folio_put(virt_to_folio(phys_to_virt(phys)));
}

static void gmpool_unpreserve_pages(u64 phys, u64 size)
{
	kho_unpreserve_pages(pfn_to_page(PHYS_PFN(phys)), PHYS_PFN(size));
}

static void gmpool_free_pages_handed_over(u64 phys, u64 size)
{
	struct folio *folio = kho_restore_folio(phys);

	if (folio)
		folio_put(folio);
}

/**
 * gmpool_discard_metadata - free the handed-over metadata of a discarded pool
 * @key: number in the name of its KHO subtree
 *
 * Context: process context during boot, once KHO is up.
 */
void gmpool_discard_metadata(u32 key)
{
	const struct gmpool_super_ser *super;
	const char *error;
	phys_addr_t phys;
	char name[16];
	size_t size;

	snprintf(name, sizeof(name), GMPOOL_SUBTREE_FMT, key);
	if (kho_retrieve_subtree(name, &phys, &size) ||
	    size != GMPOOL_BLOB_SIZE || !IS_ALIGNED(phys, GMPOOL_BLOB_SIZE) ||
	    !gmpool_handed_over(phys, size))
		return;
	super = gmpool_super_pick(phys_to_virt(phys), GMPOOL_GRANULARITY,
				  &error);
	if (!super)
		return;
	pr_notice("node %u: pool of %llu blocks discarded\n", key,
		  super->total_blocks);
	/* Skip damaged tables: KHO warns of pages not preserved. */
	gmpool_walk_metadata(super, false, gmpool_free_pages_handed_over);
	gmpool_free_pages_handed_over(phys, size);
}

/* Free the metadata of an unused pool. */
static void gmpool_drop_unused(struct gmpool *pool)
{
	/* Guards the copies in gmpool_peek() and gmpool_walk_metadata(). */
	static DEFINE_MUTEX(lock);
	const struct gmpool_super_ser *super = gmpool_unused_super(pool);

	if (!super)
		return;

	guard(mutex)(&lock);
	gmpool_unpreserve_pages(pool->handover.blob, GMPOOL_BLOB_SIZE);
	gmpool_walk_metadata(super, true, gmpool_unpreserve_pages);
	/*
	 * If KHO has restored only some of the pages, restoring them again
	 * would warn, and it is not known which pages these are. Then all stay
	 * allocated until the next kernel.
	 */
	if (!pool->handover.taken_over) {
		gmpool_walk_metadata(super, false, gmpool_free_pages_handed_over);
		gmpool_free_pages_handed_over(pool->handover.blob, GMPOOL_BLOB_SIZE);
	} else if (pool->handover.meta.nr == super->nr_meta) {
		gmpool_walk_metadata(super, false, gmpool_put_pages_restored);
		gmpool_put_pages_restored(pool->handover.blob, GMPOOL_BLOB_SIZE);
	}
}

/**
 * gmpool_drop_metadata - free a pool's metadata
 * @pool: the pool, in any state; afterwards it has no metadata and is not
 *	handed over
 *
 * Context: process context, may sleep; no operation can begin, and the pool has
 * no clients.
 */
void gmpool_drop_metadata(struct gmpool *pool)
{
	if (!pool->handover.blob)
		return;
	if (kho_is_enabled())
		kho_remove_subtree(phys_to_virt(pool->handover.blob));
	if (pool->handover.super)
		gmpool_drop_own(pool);
	else
		gmpool_drop_unused(pool);
	/* The pool may have failed before gmpool_meta_init(). */
	if (pool->handover.meta.grow)
		gmpool_meta_destroy(&pool->handover.meta);
	memset(&pool->handover.meta, 0, sizeof(pool->handover.meta));
	kfree(pool->space.used);
	kfree(pool->space.dirty);
	pool->space.used = NULL;
	pool->space.dirty = NULL;
	memset(pool->handover.tables, 0, sizeof(pool->handover.tables));
	pool->handover.super = NULL;
	pool->handover.blob = 0;
	pool->handover.key = GMPOOL_NO_KEY;
	pool->handover.taken_over = false;
}
