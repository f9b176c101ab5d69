// SPDX-License-Identifier: GPL-2.0
/*
 * Metadata blocks of a pool: numbering, giving out, checksums.
 *
 * Pure: knows neither KHO nor pools. Memory comes from the owner of the
 * struct, as chunks.
 *
 * A checksum for every change of a record would cost more than the change. So
 * a changed block is only marked, and checksums are made right when the pool
 * is sealed for kexec: the cost of that is bounded by what changed, not by the
 * size of the pool.
 */

#include <linux/crc32.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "meta.h"

#define META_STALE	XA_MARK_0
#define META_FREE	XA_MARK_1

/**
 * gmpool_meta_init - start with no metadata blocks
 * @meta: what to set up
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
 * gmpool_meta_destroy - forget all metadata blocks
 * @meta: set up by gmpool_meta_init()
 *
 * The chunks' memory is the caller's to free.
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
 * @meta: where to
 * @mem: @nr * GMPOOL_META_SIZE bytes
 * @first: number of the first block, which must be @meta->nr
 * @nr: blocks in the chunk
 * @fresh: make them free blocks; else they are what they say, and have passed
 *	gmpool_meta_check()
 *
 * Context: process context, may sleep. The caller holds @meta->lock, or is the
 * only one to know @meta.
 *
 * Return: 0; -EINVAL if @first leaves a gap or an overlap; -ENOMEM, and then
 * nothing was added.
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
	/* Also read without the lock, to be shown. */
	WRITE_ONCE(meta->nr, meta->nr + nr);
	return 0;

err_erase:
	while (i--)
		xa_erase(&meta->blocks, first + i);
	return err;
}

/**
 * gmpool_meta_alloc - get a metadata block
 * @meta: where from
 * @type: enum gmpool_meta_type_ser, not GMPOOL_META_FREE
 *
 * The block with the lowest number, zeroed but for its header. Memory for more
 * blocks is taken if there is none.
 *
 * Context: process context, may sleep, takes @meta->lock. A user of a pool
 * calls this within gmpool_op_begin() and gmpool_op_end().
 *
 * Return: the block, or an ERR_PTR: what the owner's grow function returned,
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

/**
 * gmpool_meta_free - give a metadata block back
 * @meta: where it came from
 * @hdr: from gmpool_meta_alloc() or gmpool_meta_next()
 *
 * Context: process context, may sleep, takes @meta->lock.
 */
void gmpool_meta_free(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr)
{
	u32 mbn = hdr->mbn;

	guard(mutex)(&meta->lock);

	gmpool_meta_format(meta, hdr, mbn, GMPOOL_META_FREE);
	xa_set_mark(&meta->blocks, mbn, META_FREE);
	xa_set_mark(&meta->blocks, mbn, META_STALE);
	meta->nr_free++;
}

/**
 * gmpool_meta_dirty - say that a block has changed
 * @meta: where it is
 * @hdr: the block
 *
 * To be called within the same operation as the change, before or after it.
 *
 * Context: any but hard interrupts; takes the xarray's spinlock.
 */
void gmpool_meta_dirty(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr)
{
	/* A lookup without a lock: only the first change since sealing pays. */
	if (!xa_get_mark(&meta->blocks, hdr->mbn, META_STALE))
		xa_set_mark(&meta->blocks, hdr->mbn, META_STALE);
}

/**
 * gmpool_meta_block - find a metadata block by number
 * @meta: where to look
 * @mbn: its number
 *
 * Context: any; takes the RCU read lock.
 *
 * Return: the block, or NULL if there are not so many.
 */
struct gmpool_meta_ser *gmpool_meta_block(struct gmpool_meta *meta, u32 mbn)
{
	return xa_load(&meta->blocks, mbn);
}

/**
 * gmpool_meta_next - walk the blocks of a type by rising number
 * @meta: where to look
 * @type: enum gmpool_meta_type_ser
 * @prev: the block before, or NULL to start
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
 * gmpool_meta_check - validate what every metadata block must have
 * @block: GMPOOL_META_SIZE bytes, trusted in nothing
 * @uuid: the pool's
 * @mbn: the number that the block has by its place
 * @newer: the pool has features that this kernel does not know
 *
 * Return: NULL if all is right, else what is wrong, for the log.
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
	/* Who got it would have no root: 0 says that there is none. */
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
	case GMFS_META_SUPER:
	case GMFS_META_INODES:
	case GMFS_META_DIRENTS:
	case GMFS_META_EXTENTS:
	case GMFS_META_ATTRS:
		bitmap = false;
		break;
	default:
		/* What is in it is for others to know. */
		return newer ? NULL : "type";
	}
	if (!bitmap && hdr->index)
		return "index";
	if (hdr->reserved0 || memchr_inv(hdr->reserved1, 0, sizeof(hdr->reserved1)))
		return "reserved field";
	return NULL;
}

/**
 * gmpool_meta_seal - bring all checksums up to date
 * @meta: whose
 *
 * Context: process context; nobody changes a block meanwhile.
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
