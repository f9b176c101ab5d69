/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Metadata blocks, for the pool itself. What clients use of them is in
 * linux/guestmem_pool.h.
 */
#ifndef _GMPOOL_META_H
#define _GMPOOL_META_H

#include <linux/guestmem_pool.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include <linux/kho/abi/guestmem_pool.h>

/**
 * typedef gmpool_meta_grow_t - callback that adds memory for metadata
 * @meta: metadata that needs it
 *
 * Adds at least one chunk by gmpool_meta_add_chunk() with @fresh set.
 *
 * Return: 0, or a negative errno.
 */
typedef int (*gmpool_meta_grow_t)(struct gmpool_meta *meta);

/**
 * struct gmpool_meta - the metadata blocks of one pool
 * @blocks: maps a metadata block number to struct gmpool_meta_ser. Marks tell
 *	blocks that are free, and blocks with an outdated checksum.
 * @nr: number of blocks
 * @nr_free: number of blocks of type GMPOOL_META_FREE that are not set aside
 * @uuid: uuid of the pool, repeated in every header
 * @grow: adds chunks
 * @lock: guards @nr, @nr_free, and allocation and freeing of blocks; held over
 *	@grow. The owner of a block guards its contents.
 */
struct gmpool_meta {
	struct xarray blocks;
	u32 nr;
	u32 nr_free;
	u8 uuid[GMPOOL_UUID_SIZE];
	gmpool_meta_grow_t grow;
	struct mutex lock;	/* guards nr, nr_free */
};

void gmpool_meta_init(struct gmpool_meta *meta, const u8 *uuid,
		      gmpool_meta_grow_t grow);
void gmpool_meta_destroy(struct gmpool_meta *meta);
int gmpool_meta_add_chunk(struct gmpool_meta *meta, void *mem, u32 first,
			  u32 nr, bool fresh);
void gmpool_meta_set_aside(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr);
void gmpool_meta_reuse(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr, u16 type);
void gmpool_meta_release(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr);
u32 gmpool_meta_csum(const void *block);
const char *gmpool_meta_check(const void *block, const u8 *uuid, u32 mbn,
			      bool newer);
void gmpool_meta_seal(struct gmpool_meta *meta);

#endif /* _GMPOOL_META_H */
