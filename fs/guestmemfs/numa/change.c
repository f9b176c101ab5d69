// SPDX-License-Identifier: GPL-2.0
/*
 * Change of the extents of a pool in use.
 *
 * All memory that a change needs is allocated before it, so that the change itself can
 * fail only for want of a metadata block. The undo of a change does not even need that: it
 * has those that the change gave up. It also sets the settings again that the change has
 * reduced. The next kernel finds the pool with or without the change.
 */

#include <linux/cleanup.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "pool.h"
#include "resize.h"

/**
 * struct gmpool_change - a change of a pool's extents
 * @to: extents afterwards
 * @blocks: memory for gmpool.space.blocks, afterwards what it had before
 * @clean: likewise for gmpool.space.clean
 * @used: likewise for gmpool.space.used
 * @dirty: likewise for gmpool.space.dirty
 * @aside: index of the first metadata blocks in @used and @dirty that are set aside for
 *	this change, until it is made
 * @end: end of these indices
 * @clamp: settings that the change has reduced; for an undo, those that it sets again
 */
struct gmpool_change {
	struct gmpool_numbers to;
	struct gmpool_bitmap blocks;
	struct gmpool_bitmap clean;
	struct gmpool_bitmap_ser **used;
	struct gmpool_bitmap_ser **dirty;
	u64 aside;
	u64 end;
	struct gmpool_clamp clamp;
};

/* Metadata blocks of each bitmap. */
static u64 gmpool_change_bitmaps(u64 end_block)
{
	return DIV_ROUND_UP_ULL(end_block, GMPOOL_BITMAP_BITS);
}

/**
 * gmpool_change_free - free a change, before or after it was made
 * @pool: the pool
 * @change: from gmpool_change_prepare(), or NULL
 *
 * Context: process context, may sleep; takes gmpool_meta.lock.
 */
void gmpool_change_free(struct gmpool *pool, struct gmpool_change *change)
{
	u64 i;

	if (!change)
		return;
	for (i = change->aside; i < change->end; i++) {
		gmpool_meta_release(&pool->handover.meta, &change->used[i]->hdr);
		gmpool_meta_release(&pool->handover.meta, &change->dirty[i]->hdr);
	}
	gmpool_bitmap_destroy(&change->blocks);
	gmpool_bitmap_destroy(&change->clean);
	kfree(change->used);
	kfree(change->dirty);
	kfree(change);
}

/**
 * gmpool_change_prepare - allocate the memory for a change
 * @pool: the pool
 * @to: extents afterwards, not none
 *
 * Context: process context, may sleep.
 *
 * Return: for gmpool_change_commit() and gmpool_change_free(); NULL if out of memory.
 */
struct gmpool_change *gmpool_change_prepare(struct gmpool *pool,
					    const struct gmpool_numbers *to)
{
	struct gmpool_change *change = kzalloc_obj(*change);
	u64 nr = gmpool_change_bitmaps(gmpool_numbers_end(to));

	if (!change)
		return NULL;
	change->to = *to;
	change->used = kzalloc_objs(*change->used, nr);
	change->dirty = kzalloc_objs(*change->dirty, nr);
	if (!change->used || !change->dirty ||
	    gmpool_bitmap_init(&change->blocks, change->to.extent, to->nr) ||
	    gmpool_bitmap_init(&change->clean, change->to.extent, to->nr)) {
		gmpool_change_free(pool, change);
		return NULL;
	}
	return change;
}

static void gmpool_change_free_bitmaps(struct gmpool *pool, struct gmpool_change *change,
				       u64 from, u64 to)
{
	struct gmpool_meta *meta = &pool->handover.meta;
	u64 i;

	for (i = from; i < to; i++) {
		if (change->used[i])
			gmpool_meta_free(meta, &change->used[i]->hdr);
		if (change->dirty[i])
			gmpool_meta_free(meta, &change->dirty[i]->hdr);
	}
}

/* Keep the metadata blocks that the pool has lost by a change for the undo of it. */
static void gmpool_change_set_aside(struct gmpool *pool, const struct gmpool_change *change,
				    struct gmpool_change *undo, u64 from, u64 to)
{
	struct gmpool_meta *meta = &pool->handover.meta;
	u64 i;

	for (i = from; i < to; i++) {
		undo->used[i] = change->used[i];
		undo->dirty[i] = change->dirty[i];
		gmpool_meta_set_aside(meta, &undo->used[i]->hdr);
		gmpool_meta_set_aside(meta, &undo->dirty[i]->hdr);
	}
	undo->aside = from;
	undo->end = to;
}

/* A metadata block for a bitmap: @aside if that is not NULL, else a new one. */
static struct gmpool_bitmap_ser *
gmpool_change_get_bitmap(struct gmpool *pool, struct gmpool_bitmap_ser *aside, u16 type,
			 u64 index)
{
	if (!aside)
		return gmpool_new_bitmap(pool, type, index);
	gmpool_meta_reuse(&pool->handover.meta, &aside->hdr, type);
	aside->hdr.index = index;
	return aside;
}

/*
 * Fill in the metadata blocks of the bitmaps, those for further numbers are new or were set
 * aside. On error, all of the latter are free.
 */
static int gmpool_change_get_bitmaps(struct gmpool *pool, struct gmpool_change *change,
				     u64 nr_old, u64 nr)
{
	struct gmpool_bitmap_ser *map;
	u64 i;

	for (i = 0; i < min(nr_old, nr); i++) {
		change->used[i] = pool->space.used[i];
		change->dirty[i] = pool->space.dirty[i];
	}
	for (i = nr_old; i < nr; i++) {
		map = gmpool_change_get_bitmap(pool, change->used[i], GMPOOL_META_USED, i);
		if (!IS_ERR(map)) {
			change->used[i] = map;
			map = gmpool_change_get_bitmap(pool, change->dirty[i],
						       GMPOOL_META_DIRTY, i);
		}
		if (IS_ERR(map)) {
			gmpool_change_free_bitmaps(pool, change, nr_old, nr);
			return PTR_ERR(map);
		}
		change->dirty[i] = map;
	}
	return 0;
}

static void gmpool_change_swap(struct gmpool *pool, struct gmpool_change *change,
			       const struct gmpool_range *added)
{
	guard(spinlock)(&pool->space.lock);

	write_seqcount_begin(&pool->changes);
	pool->numbers = change->to;
	write_seqcount_end(&pool->changes);
	WRITE_ONCE(pool->total_blocks, gmpool_numbers_blocks(&pool->numbers));
	WRITE_ONCE(pool->end_block, gmpool_numbers_end(&pool->numbers));
	pool->nr_hidden = pool->numbers.nr;

	gmpool_bitmap_replace(&pool->space.blocks, &change->blocks);
	gmpool_bitmap_replace(&pool->space.clean, &change->clean);
	swap(pool->space.used, change->used);
	swap(pool->space.dirty, change->dirty);
	if (added)
		gmpool_change_bits(pool, pool->space.dirty, added, true);
}

/**
 * gmpool_change_commit - change the extents of a pool
 * @pool: an active pool
 * @change: from gmpool_change_prepare(); also to be freed afterwards
 * @added: blocks that the pool gets: they are claimed and dirty afterwards; or NULL
 * @undo: from gmpool_change_prepare(), for the extents of before: gets all that it needs
 *	to be made without an allocation; or NULL
 *
 * Blocks that the pool loses are claimed by the caller, and zero.
 *
 * Context: process context, may sleep; gmpool.resize.lock, gmpool.manage and
 * gmpool.reset are held.
 *
 * Return: 0, always for an undo; -ENOMEM, -ENOSPC if there is no metadata block, nothing is
 * changed then.
 */
int gmpool_change_commit(struct gmpool *pool, struct gmpool_change *change,
			 const struct gmpool_range *added, struct gmpool_change *undo)
{
	u64 nr = gmpool_change_bitmaps(gmpool_numbers_end(&change->to));
	u64 nr_old = gmpool_change_bitmaps(pool->end_block);
	unsigned int flags;
	int err;

	lockdep_assert_held(&pool->resize.lock);
	lockdep_assert_held(&pool->manage);
	lockdep_assert_held(&pool->reset);

	flags = gmpool_op_begin(pool);
	err = gmpool_change_get_bitmaps(pool, change, nr_old, nr);
	change->aside = 0;
	change->end = 0;
	if (err)
		goto out;
	/* An undo has settings to set again, any other change may have some to reduce. */
	err = gmpool_tunables_unclamp(pool, &change->clamp) ?:
	      gmpool_tunables_clamp(pool, gmpool_numbers_blocks(&change->to),
				    undo ? &undo->clamp : &change->clamp);
	if (err) {
		gmpool_change_free_bitmaps(pool, change, nr_old, nr);
		goto out;
	}
	scoped_guard(mutex, &pool->handover.meta.lock) {
		gmpool_change_swap(pool, change, added);
		gmpool_numbers_to_super(&pool->numbers, pool->handover.super);
		gmpool_sync_super(pool);
	}
	/* The watermark may have changed with the size. */
	gmpool_update_low(pool);
	if (undo)
		gmpool_change_set_aside(pool, change, undo, nr, nr_old);
	else
		gmpool_change_free_bitmaps(pool, change, nr, nr_old);
out:
	gmpool_op_end(pool, flags);
	return err;
}
