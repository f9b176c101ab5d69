// SPDX-License-Identifier: GPL-2.0
/*
 * Reading and checking the super block and chunk tables of a handed-over pool.
 *
 * Pure code: takes bytes, returns an error text. The bytes come from another
 * kernel and are not trusted. The caller checks whether an address may be read.
 */

#include <linux/bitmap.h>
#include <linux/crc32.h>
#include <linux/log2.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "format.h"

/* Kconfig tells readers of an image's configuration the same values. */
static_assert(CONFIG_GUESTMEM_POOL_FORMAT == GMPOOL_VERSION);
static_assert(CONFIG_GUESTMEM_POOL_RO_COMPAT == GMPOOL_FEATURE_RO_COMPAT_ALL);
static_assert(CONFIG_GUESTMEM_POOL_INCOMPAT == GMPOOL_FEATURE_INCOMPAT_ALL);

/* crc32c of a struct, with its checksum field taken as zero. */
static u32 gmpool_csum_around(const void *p, size_t size, size_t field)
{
	static const __u32 zero;
	u32 crc;

	crc = crc32c(~0, p, field);
	crc = crc32c(crc, &zero, sizeof(zero));
	field += sizeof(zero);
	return crc32c(crc, p + field, size - field);
}

/**
 * gmpool_super_csum - checksum of a super block
 * @super: the super block
 *
 * Return: the value of its csum field.
 */
u32 gmpool_super_csum(const struct gmpool_super_ser *super)
{
	return gmpool_csum_around(super, sizeof(*super),
				  offsetof(struct gmpool_super_ser, csum));
}

/**
 * gmpool_super_update - update checksum and copy of a changed super block
 * @super: first copy in a blob of GMPOOL_BLOB_SIZE
 *
 * Computes the checksum, and then overwrites the second copy.
 */
void gmpool_super_update(struct gmpool_super_ser *super)
{
	super->csum = gmpool_super_csum(super);
	memcpy((void *)super + GMPOOL_META_SIZE, super, sizeof(*super));
}

static const char *
gmpool_format_extents_check(const struct gmpool_super_ser *super,
			    u64 granularity)
{
	u64 blocks = 0;
	u64 end = 0;
	u32 i;

	if (!super->nr_extents || super->nr_extents > GMPOOL_MAX_EXTENTS)
		return "number of extents";
	for (i = 0; i < super->nr_extents; i++) {
		const struct gmpool_extent_ser *extent = &super->extents[i];

		if (!extent->size || extent->size % granularity ||
		    extent->base % granularity)
			return "alignment of an extent";
		if (extent->base < end)
			return "order of the extents";
		if (extent->size > U64_MAX - extent->base)
			return "size of an extent";
		end = extent->base + extent->size;
		blocks += extent->size >> GMPOOL_BLOCK_SHIFT;
	}
	if (memchr_inv(&super->extents[i], 0,
		       sizeof(super->extents) - i * sizeof(super->extents[0])))
		return "unused extent";
	if (super->total_blocks != blocks)
		return "number of blocks";
	return NULL;
}

/**
 * gmpool_super_end - end of the block numbers of a pool
 * @super: has passed gmpool_super_check()
 *
 * Return: the highest block number plus one; more than the number of blocks if there
 * are numbers without a block.
 */
u64 gmpool_super_end(const struct gmpool_super_ser *super)
{
	u64 end = 0;
	u32 i;

	if (!(super->feature_incompat & GMPOOL_FEATURE_INCOMPAT_NUMBERS))
		return super->total_blocks;
	for (i = 0; i < super->nr_extents; i++)
		end = max(end, super->first[i] +
			       (super->extents[i].size >> GMPOOL_BLOCK_SHIFT));
	return end;
}

/*
 * Find the extent with the lowest numbers that ends behind @number. Returns its index,
 * or GMPOOL_MAX_EXTENTS if there is none.
 */
static u32 gmpool_format_extent_after(const struct gmpool_super_ser *super, u64 number)
{
	u32 i, found = GMPOOL_MAX_EXTENTS;
	u64 first, lowest = 0;

	for (i = 0; i < super->nr_extents; i++) {
		first = gmpool_super_first(super, i);
		if (first + (super->extents[i].size >> GMPOOL_BLOCK_SHIFT) <= number ||
		    (found < GMPOOL_MAX_EXTENTS && first >= lowest))
			continue;
		found = i;
		lowest = first;
	}
	return found;
}

/**
 * gmpool_super_has - does a pool have a block of a number
 * @super: has passed gmpool_super_usable()
 * @block: the number
 *
 * Return: true if it has.
 */
bool gmpool_super_has(const struct gmpool_super_ser *super, u64 block)
{
	u32 i = gmpool_format_extent_after(super, block);

	return i < GMPOOL_MAX_EXTENTS && gmpool_super_first(super, i) <= block;
}

static const char *
gmpool_format_numbers_check(const struct gmpool_super_ser *super)
{
	u64 end = 0, first;
	u32 i, left;

	if (!(super->feature_incompat & GMPOOL_FEATURE_INCOMPAT_NUMBERS))
		return memchr_inv(super->first, 0, sizeof(super->first)) ?
		       "has a reserved field in use" : NULL;
	for (i = 0; i < super->nr_extents; i++)
		if (super->first[i] > GMPOOL_MAX_BLOCKS -
				      (super->extents[i].size >> GMPOOL_BLOCK_SHIFT))
			return "has a block number that is too large";
	if (memchr_inv(&super->first[i], 0,
		       sizeof(super->first) - i * sizeof(super->first[0])))
		return "has block numbers without an extent";
	/* By ascending numbers, none may begin before the one before ends. */
	for (left = super->nr_extents; left; left--) {
		i = gmpool_format_extent_after(super, end);
		if (i == GMPOOL_MAX_EXTENTS)
			return "has two blocks of one number";
		first = super->first[i];
		if (first < end)
			return "has two blocks of one number";
		end = first + (super->extents[i].size >> GMPOOL_BLOCK_SHIFT);
	}
	return NULL;
}

/**
 * gmpool_super_check - validate a super block
 * @super: the super block
 * @granularity: required alignment of extents, in bytes
 *
 * A valid super block describes the pool's memory. gmpool_super_usable() tells
 * whether the pool is usable too.
 *
 * Return: NULL, or the error as text for the log.
 */
const char *gmpool_super_check(const struct gmpool_super_ser *super,
			       u64 granularity)
{
	u32 i;

	if (super->magic != GMPOOL_SUPER_MAGIC)
		return "magic number";
	if (super->csum != gmpool_super_csum(super))
		return "checksum";
	if (super->super_size != sizeof(*super))
		return "size";
	if (super->block_shift != GMPOOL_BLOCK_SHIFT)
		return "block size";
	if (super->nr_tables > GMPOOL_MAX_TABLES)
		return "number of chunk tables";
	for (i = 0; i < GMPOOL_MAX_TABLES; i++) {
		if (i >= super->nr_tables ? super->tables[i] != 0 :
		    !super->tables[i] || super->tables[i] % GMPOOL_META_SIZE)
			return "address of a chunk table";
	}
	return gmpool_format_extents_check(super, granularity);
}

/**
 * gmpool_super_pick - find a valid super block in a pool's blob
 * @blob: GMPOOL_BLOB_SIZE bytes
 * @granularity: as for gmpool_super_check()
 * @first_error: set to the error of the first copy, or to NULL
 *
 * If the first copy is damaged, the second one still describes the memory. The
 * pool is not usable then: other pages may be damaged as well.
 *
 * Return: the valid copy, or NULL if there is none.
 */
const struct gmpool_super_ser *gmpool_super_pick(const void *blob,
						 u64 granularity,
						 const char **first_error)
{
	const struct gmpool_super_ser *super = blob;

	*first_error = gmpool_super_check(super, granularity);
	if (!*first_error)
		return super;
	super = blob + GMPOOL_META_SIZE;
	return gmpool_super_check(super, granularity) ? NULL : super;
}

/**
 * gmpool_super_usable - can this kernel use the pool
 * @super: has passed gmpool_super_check()
 * @read_only: set if it can be read but not changed
 *
 * Return: NULL, or the reason as text for the log.
 */
const char *gmpool_super_usable(const struct gmpool_super_ser *super,
				bool *read_only)
{
	const char *error;

	*read_only = super->feature_ro_compat & ~GMPOOL_FEATURE_RO_COMPAT_ALL;

	/* Check the version first: other fields may differ between versions. */
	if (super->version != GMPOOL_VERSION)
		return "format version is not known to this kernel";
	if (super->feature_incompat & ~GMPOOL_FEATURE_INCOMPAT_ALL)
		return "has features that are not known to this kernel";
	if (super->state != GMPOOL_STATE_SEALED)
		return "was not frozen by the kernel before";
	if (!super->nr_tables || !super->nr_meta)
		return "has no metadata";
	if (super->reserved0 ||
	    memchr_inv(super->reserved1, 0, sizeof(super->reserved1)) ||
	    memchr_inv(super->reserved2, 0, sizeof(super->reserved2)))
		return "has a reserved field in use";
	error = gmpool_format_numbers_check(super);
	if (error)
		return error;
	if (strnlen(super->release, sizeof(super->release)) ==
	    sizeof(super->release))
		return "has no end of the kernel release";
	return NULL;
}

/**
 * gmpool_super_newer - does a pool have unknown features
 * @super: has passed gmpool_super_check()
 *
 * Return: true if it can have metadata blocks of unknown types.
 */
bool gmpool_super_newer(const struct gmpool_super_ser *super)
{
	return super->feature_compat & ~GMPOOL_FEATURE_COMPAT_ALL ||
	       super->feature_ro_compat & ~GMPOOL_FEATURE_RO_COMPAT_ALL;
}

/**
 * gmpool_table_csum - checksum of a chunk table
 * @table: the table
 *
 * Return: the value of its csum field.
 */
u32 gmpool_table_csum(const struct gmpool_table_ser *table)
{
	return gmpool_csum_around(table, sizeof(*table),
				  offsetof(struct gmpool_table_ser, csum));
}

/**
 * gmpool_table_check - validate a chunk table
 * @table: the table
 * @super: valid super block that names it
 * @index: its place in @super->tables
 * @nr_meta: number of metadata blocks in the previous tables; increased by
 *	those of this table
 *
 * Return: NULL, or the error as text for the log.
 */
const char *gmpool_table_check(const struct gmpool_table_ser *table,
			       const struct gmpool_super_ser *super, u32 index,
			       u32 *nr_meta)
{
	u32 i;

	if (table->magic != GMPOOL_TABLE_MAGIC)
		return "magic number";
	if (table->csum != gmpool_table_csum(table))
		return "checksum";
	if (memcmp(table->uuid, super->uuid, sizeof(table->uuid)))
		return "UUID";
	if (table->index != index)
		return "index";
	if (memchr_inv(table->reserved, 0, sizeof(table->reserved)))
		return "reserved field";
	if (index + 1 < super->nr_tables ? table->nr != GMPOOL_TABLE_CHUNKS :
	    !table->nr || table->nr > GMPOOL_TABLE_CHUNKS)
		return "number of chunks";

	for (i = 0; i < table->nr; i++) {
		const struct gmpool_chunk_ser *chunk = &table->chunks[i];
		u64 size;

		if (chunk->first != *nr_meta)
			return "order of the chunks";
		if (!is_power_of_2(chunk->nr) ||
		    chunk->nr > super->nr_meta - *nr_meta)
			return "size of a chunk";
		size = (u64)chunk->nr << GMPOOL_META_SHIFT;
		if (!chunk->phys || !IS_ALIGNED(chunk->phys, size) ||
		    size > U64_MAX - chunk->phys)
			return "address of a chunk";
		*nr_meta += chunk->nr;
	}
	if (memchr_inv(&table->chunks[i], 0,
		       sizeof(table->chunks) - i * sizeof(table->chunks[0])))
		return "unused chunk";
	if (index + 1 == super->nr_tables && *nr_meta != super->nr_meta)
		return "number of metadata blocks";
	return NULL;
}

/* Is a bit set in a bitmap for one of the numbers from @from to @to? */
static bool gmpool_format_any_set(struct gmpool_bitmap_ser **maps, u64 from, u64 to)
{
	u64 start, end;

	for (; from < to; from += end - start) {
		start = from % GMPOOL_BITMAP_BITS;
		end = min(start + to - from, (u64)GMPOOL_BITMAP_BITS);
		if (find_next_bit((unsigned long *)maps[from / GMPOOL_BITMAP_BITS]->bits,
				  end, start) < end)
			return true;
	}
	return false;
}

/**
 * gmpool_bitmaps_check_numbers - validate bits of numbers that are no blocks
 * @used: as for gmpool_bitmaps_check(), which they have passed
 * @dirty: likewise
 * @super: has passed gmpool_super_usable()
 *
 * Return: NULL, or the error as text for the log.
 */
const char *gmpool_bitmaps_check_numbers(struct gmpool_bitmap_ser **used,
					 struct gmpool_bitmap_ser **dirty,
					 const struct gmpool_super_ser *super)
{
	u64 end = 0, first;
	u32 i;

	if (!(super->feature_incompat & GMPOOL_FEATURE_INCOMPAT_NUMBERS))
		return NULL;
	while ((i = gmpool_format_extent_after(super, end)) < GMPOOL_MAX_EXTENTS) {
		first = super->first[i];
		if (gmpool_format_any_set(used, end, first) ||
		    gmpool_format_any_set(dirty, end, first))
			return "a bit is set for a number that is no block";
		end = first + (super->extents[i].size >> GMPOOL_BLOCK_SHIFT);
	}
	return NULL;
}

/**
 * gmpool_bitmaps_check - validate the bitmaps of a pool
 * @used: blocks of type GMPOOL_META_USED in the order of their index
 * @dirty: the same of type GMPOOL_META_DIRTY
 * @nr_blocks: end of the pool's block numbers
 *
 * Return: NULL, or the error as text for the log.
 */
const char *gmpool_bitmaps_check(struct gmpool_bitmap_ser **used,
				 struct gmpool_bitmap_ser **dirty,
				 u64 nr_blocks)
{
	u64 nr = DIV_ROUND_UP_ULL(nr_blocks, GMPOOL_BITMAP_BITS);
	u64 i, w;

	for (i = 0; i < nr; i++) {
		u64 bits = min(nr_blocks - i * GMPOOL_BITMAP_BITS,
			       (u64)GMPOOL_BITMAP_BITS);

		for (w = 0; w < GMPOOL_BITMAP_WORDS; w++) {
			if (used[i]->bits[w] & dirty[i]->bits[w])
				return "a block is used and dirty";
		}
		if (find_next_bit((unsigned long *)used[i]->bits,
				  GMPOOL_BITMAP_BITS, bits) < GMPOOL_BITMAP_BITS ||
		    find_next_bit((unsigned long *)dirty[i]->bits,
				  GMPOOL_BITMAP_BITS, bits) < GMPOOL_BITMAP_BITS)
			return "a bit is set past the last block";
	}
	return NULL;
}

/**
 * gmpool_poison_check - validate a list of poisoned pages
 * @list: has passed gmpool_meta_check()
 * @super: the pool's super block, which has passed gmpool_super_usable()
 *
 * Does not find a page that is listed twice: gmpool_add_poison() does.
 *
 * Return: NULL, or the error as text for the log.
 */
const char *gmpool_poison_check(const struct gmpool_poison_ser *list,
				const struct gmpool_super_ser *super)
{
	u64 i;

	if (!(super->feature_ro_compat & GMPOOL_FEATURE_RO_COMPAT_POISON))
		return "pages have failed, but the pool lacks the feature";
	if (list->nr > GMPOOL_POISON_PAGES)
		return "too many pages in a list of those that have failed";
	for (i = 0; i < list->nr; i++) {
		if (!gmpool_super_has(super, list->pages[i] >>
				      (GMPOOL_BLOCK_SHIFT - GMPOOL_POISON_SHIFT)))
			return "a page has failed that is not within the pool";
	}
	if (memchr_inv(&list->pages[i], 0,
		       sizeof(list->pages) - i * sizeof(list->pages[0])))
		return "a list of pages that have failed goes on past its end";
	return NULL;
}

/**
 * gmpool_tunables_check - validate the settings of a pool
 * @tunables: has passed gmpool_meta_check()
 * @nr_blocks: blocks of the pool
 * @newer: the pool has features that this kernel does not know
 *
 * Return: NULL, or the setting that is out of its range, for the log.
 */
const char *gmpool_tunables_check(const struct gmpool_tunables_ser *tunables,
				  u64 nr_blocks, bool newer)
{
	if (tunables->scrub_target != GMPOOL_SCRUB_ALL &&
	    tunables->scrub_target > nr_blocks)
		return "scrub_target";
	if (tunables->reserve > nr_blocks)
		return "reserve";
	if (tunables->low_watermark > nr_blocks)
		return "low_watermark";
	if (tunables->zeroing > GMPOOL_ZEROING_ON_ALLOC)
		return "zeroing";
	if (tunables->policy > GMPOOL_POLICY_FIRST_FIT)
		return "policy";
	if (tunables->frozen > 1)
		return "frozen";
	if (!newer && memchr_inv(tunables->reserved, 0, sizeof(tunables->reserved)))
		return "a reserved field";
	return NULL;
}
