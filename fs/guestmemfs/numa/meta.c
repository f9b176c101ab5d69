// SPDX-License-Identifier: GPL-2.0
/*
 * Metadata blocks of a pool: numbering, allocation, checksums.
 *
 * Pure code: uses neither KHO nor pools. The owner of the struct provides
 * memory, as chunks.
 *
 * A new checksum for every change of a record would cost more than the change.
 * So a changed block is only marked, and its checksum is computed when the pool
 * is sealed for kexec. The cost depends on the number of changed blocks, not on
 * the size of the pool.
 */

#include <linux/crc32.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "meta.h"

#define META_STALE	XA_MARK_0
#define META_FREE	XA_MARK_1

/**
 * gmpool_meta_init - set up without metadata blocks
 * @meta: struct to set up
 * @uuid: GMPOOL_UUID_SIZE bytes, copied
 * @grow: called with @meta->lock held when blocks run out
 */
void gmpool_meta_init(struct gmpool_meta *meta, const u8 *uuid,
		      gmpool_meta_grow_t grow)
{
	xa_init(&meta->blocks);
	meta->nr = 0;
	meta->nr_free = 0;
	memcpy(meta->uuid, uuid, sizeof(meta->uuid));
	meta->grow = grow;
	mutex_init(&meta->lock);
}

/**
 * gmpool_meta_destroy - remove all metadata blocks
 * @meta: set up by gmpool_meta_init()
 *
 * The caller frees the memory of the chunks.
 */
void gmpool_meta_destroy(struct gmpool_meta *meta)
{
	xa_destroy(&meta->blocks);
	mutex_destroy(&meta->lock);
}

static void gmpool_meta_format(struct gmpool_meta *meta,
			       struct gmpool_meta_ser *hdr, u32 mbn, u16 type)
{
	memset(hdr, 0, GMPOOL_META_SIZE);
	hdr->magic = GMPOOL_META_MAGIC;
	memcpy(hdr->uuid, meta->uuid, sizeof(hdr->uuid));
	hdr->mbn = mbn;
	hdr->type = type;
}

/**
 * gmpool_meta_add_chunk - add contiguous metadata blocks
 * @meta: metadata to extend
 * @mem: @nr * GMPOOL_META_SIZE bytes
 * @first: number of the first block, which must be @meta->nr
 * @nr: blocks in the chunk
 * @fresh: initialise them as free blocks; else their contents are used, which
 *	have passed gmpool_meta_check()
 *
 * Context: process context, may sleep. The caller holds @meta->lock, or has the
 * only reference to @meta.
 *
 * Return: 0; -EINVAL if @first leaves a gap or an overlap; -ENOMEM, nothing is
 * added then.
 */
int gmpool_meta_add_chunk(struct gmpool_meta *meta, void *mem, u32 first,
			  u32 nr, bool fresh)
{
	u32 i;
	int err;

	if (first != meta->nr || !nr || nr > U32_MAX - first)
		return -EINVAL;

	for (i = 0; i < nr; i++) {
		struct gmpool_meta_ser *hdr = mem + (size_t)i * GMPOOL_META_SIZE;

		if (fresh)
			gmpool_meta_format(meta, hdr, first + i,
					   GMPOOL_META_FREE);
		err = xa_err(xa_store(&meta->blocks, first + i, hdr, GFP_KERNEL));
		if (err)
			goto err_erase;
	}

	for (i = 0; i < nr; i++) {
		struct gmpool_meta_ser *hdr = mem + (size_t)i * GMPOOL_META_SIZE;

		if (fresh)
			xa_set_mark(&meta->blocks, first + i, META_STALE);
		if (hdr->type == GMPOOL_META_FREE) {
			xa_set_mark(&meta->blocks, first + i, META_FREE);
			meta->nr_free++;
		}
	}
	/* Also read without the lock, for sysfs. */
	WRITE_ONCE(meta->nr, meta->nr + nr);
	return 0;

err_erase:
	while (i--)
		xa_erase(&meta->blocks, first + i);
	return err;
}

/**
 * gmpool_meta_alloc - allocate a metadata block
 * @meta: metadata to allocate from
 * @type: enum gmpool_meta_type_ser, not GMPOOL_META_FREE
 *
 * Takes the free block with the lowest number, and zeroes it except the header.
 * Adds a chunk if there is no free block.
 *
 * Context: process context, may sleep, takes @meta->lock. A client of a pool
 * calls this between gmpool_op_begin() and gmpool_op_end().
 *
 * Return: the block, or an ERR_PTR with the error of the owner's grow function,
 * usually -ENOMEM.
 */
struct gmpool_meta_ser *gmpool_meta_alloc(struct gmpool_meta *meta, u16 type)
{
	struct gmpool_meta_ser *hdr;
	unsigned long mbn = 0;
	int err;

	guard(mutex)(&meta->lock);

	if (!meta->nr_free) {
		err = meta->grow(meta);
		if (err)
			return ERR_PTR(err);
	}

	hdr = xa_find(&meta->blocks, &mbn, U32_MAX, META_FREE);
	if (!hdr)
		return ERR_PTR(-ENOMEM);

	gmpool_meta_format(meta, hdr, mbn, type);
	xa_clear_mark(&meta->blocks, mbn, META_FREE);
	xa_set_mark(&meta->blocks, mbn, META_STALE);
	meta->nr_free--;
	return hdr;
}

/* Give a block a type, without contents. It is free for the next kernel only if @type says so. */
static void gmpool_meta_retype(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr, u16 type)
{
	u32 mbn = hdr->mbn;

	lockdep_assert_held(&meta->lock);

	gmpool_meta_format(meta, hdr, mbn, type);
	xa_set_mark(&meta->blocks, mbn, META_STALE);
}

/**
 * gmpool_meta_free - free a metadata block
 * @meta: metadata that has the block
 * @hdr: from gmpool_meta_alloc() or gmpool_meta_next()
 *
 * Context: process context, may sleep, takes @meta->lock.
 */
void gmpool_meta_free(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr)
{
	gmpool_meta_set_aside(meta, hdr);
	gmpool_meta_release(meta, hdr);
}

/**
 * gmpool_meta_set_aside - free a metadata block, but only for the next kernel
 * @meta: metadata that has the block
 * @hdr: as for gmpool_meta_free()
 *
 * In this kernel, nothing else gets the block: the caller can have it again without an
 * allocation, by gmpool_meta_reuse(), or frees it by gmpool_meta_release().
 *
 * Context: process context, may sleep, takes @meta->lock.
 */
void gmpool_meta_set_aside(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr)
{
	guard(mutex)(&meta->lock);
	gmpool_meta_retype(meta, hdr, GMPOOL_META_FREE);
}

/**
 * gmpool_meta_reuse - use a metadata block again that was set aside
 * @meta: metadata that has the block
 * @hdr: the block; zeroed except the header
 * @type: enum gmpool_meta_type_ser, not GMPOOL_META_FREE
 *
 * Context: process context, may sleep, takes @meta->lock.
 */
void gmpool_meta_reuse(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr, u16 type)
{
	guard(mutex)(&meta->lock);
	gmpool_meta_retype(meta, hdr, type);
}

/**
 * gmpool_meta_release - let others have a metadata block that was set aside
 * @meta: metadata that has the block
 * @hdr: the block
 *
 * What is handed over does not change.
 *
 * Context: process context, may sleep, takes @meta->lock.
 */
void gmpool_meta_release(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr)
{
	guard(mutex)(&meta->lock);
	xa_set_mark(&meta->blocks, hdr->mbn, META_FREE);
	meta->nr_free++;
}

/**
 * gmpool_meta_dirty - mark a block as changed
 * @meta: metadata that has the block
 * @hdr: the block
 *
 * Call this within the same operation as the change, before or after it.
 *
 * Context: any but hard interrupts; takes the xarray's spinlock.
 */
void gmpool_meta_dirty(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr)
{
	/* Test without the lock: only the first change takes it. */
	if (!xa_get_mark(&meta->blocks, hdr->mbn, META_STALE))
		xa_set_mark(&meta->blocks, hdr->mbn, META_STALE);
}

/**
 * gmpool_meta_block - find a metadata block by number
 * @meta: metadata to search
 * @mbn: its number
 *
 * Context: any; takes the RCU read lock.
 *
 * Return: the block, or NULL if the number is too large.
 */
struct gmpool_meta_ser *gmpool_meta_block(struct gmpool_meta *meta, u32 mbn)
{
	return xa_load(&meta->blocks, mbn);
}

/**
 * gmpool_meta_next - walk the blocks of a type by ascending number
 * @meta: metadata to search
 * @type: enum gmpool_meta_type_ser
 * @prev: the previous block, or NULL to start
 *
 * Return: the next block, or NULL at the end.
 */
struct gmpool_meta_ser *gmpool_meta_next(struct gmpool_meta *meta, u16 type,
					 struct gmpool_meta_ser *prev)
{
	unsigned long mbn = prev ? (unsigned long)prev->mbn + 1 : 0;
	struct gmpool_meta_ser *hdr;

	xa_for_each_start(&meta->blocks, mbn, hdr, mbn)
		if (hdr->type == type)
			return hdr;
	return NULL;
}

/**
 * gmpool_meta_csum - checksum of a metadata block
 * @block: GMPOOL_META_SIZE bytes that start with struct gmpool_meta_ser
 *
 * Return: crc32c, seed ~0, of the block with its csum field taken as zero.
 */
u32 gmpool_meta_csum(const void *block)
{
	const size_t at = offsetof(struct gmpool_meta_ser, csum);
	const size_t after = at + sizeof(__u32);
	static const __u32 zero;
	u32 crc;

	crc = crc32c(~0, block, at);
	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, block + after, GMPOOL_META_SIZE - after);
}

/**
 * gmpool_meta_check - validate the header and checksum of a metadata block
 * @block: GMPOOL_META_SIZE bytes, not trusted
 * @uuid: uuid of the pool
 * @mbn: block number that follows from the location
 * @newer: the pool has features that this kernel does not know
 *
 * Return: NULL if valid, else the error as text for the log.
 */
const char *gmpool_meta_check(const void *block, const u8 *uuid, u32 mbn,
			      bool newer)
{
	const struct gmpool_meta_ser *hdr = block;
	bool bitmap;

	if (hdr->magic != GMPOOL_META_MAGIC)
		return "magic number";
	if (hdr->csum != gmpool_meta_csum(block))
		return "checksum";
	if (memcmp(hdr->uuid, uuid, sizeof(hdr->uuid)))
		return "UUID";
	if (hdr->mbn != mbn)
		return "number";
	/* Never allocate block 0: a root of 0 means that there is none. */
	if (!mbn && hdr->type == GMPOOL_META_FREE)
		return "free";
	switch (hdr->type) {
	case GMPOOL_META_USED:
	case GMPOOL_META_DIRTY:
		bitmap = true;
		break;
	case GMPOOL_META_FREE:
	case GMPOOL_META_POISON:
	case GMPOOL_META_TUNABLES:
	case GMPOOL_META_GMFS_FIRST ... GMPOOL_META_GMFS_LAST:
		bitmap = false;
		break;
	default:
		/* A newer kernel knows the type. */
		return newer ? NULL : "type";
	}
	if (!bitmap && hdr->index)
		return "index";
	if (hdr->reserved0 || memchr_inv(hdr->reserved1, 0, sizeof(hdr->reserved1)))
		return "reserved field";
	return NULL;
}

/**
 * gmpool_meta_seal - compute the checksums of all changed blocks
 * @meta: metadata to seal
 *
 * Context: process context; no task may change a block during the call.
 */
void gmpool_meta_seal(struct gmpool_meta *meta)
{
	struct gmpool_meta_ser *hdr;
	unsigned long mbn;

	xa_for_each_marked(&meta->blocks, mbn, hdr, META_STALE) {
		hdr->csum = gmpool_meta_csum(hdr);
		xa_clear_mark(&meta->blocks, mbn, META_STALE);
	}
}
