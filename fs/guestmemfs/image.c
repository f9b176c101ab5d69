// SPDX-License-Identifier: GPL-2.0
/*
 * Allocation of records in the metadata blocks of an image, and lookup of inodes by
 * number.
 */

#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "image.h"

/**
 * struct gmfs_rblock - a metadata block with records
 * @hdr: the block
 * @list: in gmfs_space.avail
 * @used: a bit per slot; the bits of the header are set too
 */
struct gmfs_rblock {
	struct gmpool_meta_ser *hdr;
	struct list_head list;
	DECLARE_BITMAP(used, GMFS_SLOTS_MAX);
};

static struct gmpool_meta_ser *gmfs_block_of(void *rec)
{
	return PTR_ALIGN_DOWN(rec, GMPOOL_META_SIZE);
}

static unsigned int gmfs_space_slots(const struct gmfs_space *space)
{
	return GMPOOL_META_SIZE / space->size;
}

static unsigned int gmfs_space_first(const struct gmfs_space *space)
{
	return DIV_ROUND_UP(sizeof(struct gmpool_meta_ser), space->size);
}

static void gmfs_space_init(struct gmfs_space *space, u16 type, u16 size)
{
	unsigned int i;

	space->type = type;
	space->size = size;
	for (i = 0; i < ARRAY_SIZE(space->avail); i++)
		INIT_LIST_HEAD(&space->avail[i]);
}

/* Length of the longest range of free slots, at most GMFS_RUN_MAX. */
static unsigned int gmfs_rblock_room(const struct gmfs_space *space,
				     const struct gmfs_rblock *rb)
{
	unsigned int nr = gmfs_space_slots(space);
	unsigned int room = 0, start, end;

	start = find_next_zero_bit(rb->used, nr, 0);
	while (start < nr && room < GMFS_RUN_MAX) {
		end = find_next_bit(rb->used, nr, start);
		room = max(room, end - start);
		start = find_next_zero_bit(rb->used, nr, end);
	}
	return min(room, GMFS_RUN_MAX);
}

static void gmfs_rblock_file(struct gmfs_space *space, struct gmfs_rblock *rb)
{
	unsigned int room = gmfs_rblock_room(space, rb);

	list_del_init(&rb->list);
	if (room)
		list_add(&rb->list, &space->avail[room]);
}

static struct gmfs_rblock *gmfs_rblock_new(struct gmfs_image *img,
					   struct gmfs_space *space,
					   struct gmpool_meta_ser *hdr)
{
	struct gmfs_rblock *rb = kzalloc_obj(*rb, GFP_KERNEL_ACCOUNT);
	int err;

	if (!rb)
		return ERR_PTR(-ENOMEM);
	rb->hdr = hdr;
	INIT_LIST_HEAD(&rb->list);
	bitmap_set(rb->used, 0, gmfs_space_first(space));

	err = xa_insert(&img->rblocks, hdr->mbn, rb, GFP_KERNEL);
	if (err) {
		kfree(rb);
		return ERR_PTR(err);
	}
	space->nr++;
	return rb;
}

static struct gmfs_rblock *gmfs_rblock_get(struct gmfs_image *img,
					   struct gmfs_space *space,
					   unsigned int nr)
{
	struct gmpool_meta_ser *hdr;
	struct gmfs_rblock *rb;
	unsigned int room;

	for (room = nr; room <= GMFS_RUN_MAX; room++) {
		rb = list_first_entry_or_null(&space->avail[room],
					      struct gmfs_rblock, list);
		if (rb)
			return rb;
	}

	hdr = gmpool_meta_alloc(img->meta, space->type);
	if (IS_ERR(hdr))
		return PTR_ERR(hdr) == -ENOMEM ? ERR_PTR(-ENOSPC) :
						 ERR_CAST(hdr);
	rb = gmfs_rblock_new(img, space, hdr);
	if (IS_ERR(rb))
		gmpool_meta_free(img->meta, hdr);
	return rb;
}

/**
 * gmfs_slot_alloc - allocate slots for a record
 * @img: the image
 * @space: kind of record
 * @nr: number of adjacent slots, 1 to GMFS_RUN_MAX
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 *
 * Return: zeroed slots, or an ERR_PTR: -ENOSPC if the metadata cannot grow,
 * -ENOMEM.
 */
void *gmfs_slot_alloc(struct gmfs_image *img, struct gmfs_space *space,
		      unsigned int nr)
{
	struct gmfs_rblock *rb;
	unsigned int slot;
	void *rec;

	guard(mutex)(&img->lock);

	rb = gmfs_rblock_get(img, space, nr);
	if (IS_ERR(rb))
		return rb;
	slot = bitmap_find_next_zero_area(rb->used, gmfs_space_slots(space), 0,
					  nr, 0);
	bitmap_set(rb->used, slot, nr);
	gmfs_rblock_file(space, rb);
	rec = (void *)rb->hdr + slot * space->size;
	/* Another kernel may have cleared only the first field when it freed it. */
	memset(rec, 0, nr * space->size);
	return rec;
}

/**
 * gmfs_slot_free - free the slots of a record
 * @img: the image
 * @space: kind of record
 * @rec: from gmfs_slot_alloc(), or handed over; zeroed by this function
 * @nr: number of its slots
 *
 * Frees the metadata block too when it has no other record.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 */
void gmfs_slot_free(struct gmfs_image *img, struct gmfs_space *space,
		    void *rec, unsigned int nr)
{
	struct gmpool_meta_ser *hdr = gmfs_block_of(rec);
	unsigned int slot = (rec - (void *)hdr) / space->size;
	struct gmfs_rblock *rb;

	guard(mutex)(&img->lock);

	rb = xa_load(&img->rblocks, hdr->mbn);
	memset(rec, 0, nr * space->size);
	bitmap_clear(rb->used, slot, nr);
	if (bitmap_weight(rb->used, gmfs_space_slots(space)) ==
	    gmfs_space_first(space)) {
		list_del(&rb->list);
		xa_erase(&img->rblocks, hdr->mbn);
		space->nr--;
		kfree(rb);
		gmpool_meta_free(img->meta, hdr);
		return;
	}
	gmfs_rblock_file(space, rb);
	gmpool_meta_dirty(img->meta, hdr);
}

/**
 * gmfs_dirty - mark the metadata block of a changed record
 * @img: the image
 * @rec: the record
 *
 * Context: any but hard interrupts, within the operation of the change.
 */
void gmfs_dirty(struct gmfs_image *img, void *rec)
{
	gmpool_meta_dirty(img->meta, gmfs_block_of(rec));
}

/**
 * gmfs_cookie_next - get the cookie that comes next
 * @img: the image
 *
 * Context: any.
 *
 * Return: a number greater than all cookies that gmfs_cookie_take() has returned.
 */
u64 gmfs_cookie_next(const struct gmfs_image *img)
{
	return READ_ONCE(img->super->next_cookie);
}

/**
 * gmfs_cookie_take - allocate a cookie
 * @img: the image
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 *
 * Return: a number that is used once in the life of the image.
 */
u64 gmfs_cookie_take(struct gmfs_image *img)
{
	u64 cookie;

	guard(mutex)(&img->lock);

	cookie = img->super->next_cookie;
	WRITE_ONCE(img->super->next_cookie, cookie + 1);
	gmfs_dirty(img, img->super);
	return cookie;
}

/**
 * gmfs_image_bad - record why an image cannot be loaded
 * @img: the image
 * @fmt: format of the text for @img->why: which record is damaged, and how
 *
 * Return: -EUCLEAN.
 */
int gmfs_image_bad(struct gmfs_image *img, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vscnprintf(img->why, sizeof(img->why), fmt, args);
	va_end(args);
	return -EUCLEAN;
}

/**
 * gmfs_image_init - initialize an image without records
 * @img: the image
 * @meta: metadata blocks; blocks of other types are not changed
 * @total_blocks: end of the block numbers of the pool
 * @contiguous: checks that pool blocks are physically contiguous
 * @priv: private data of @contiguous
 */
void gmfs_image_init(struct gmfs_image *img, struct gmpool_meta *meta,
		     u64 total_blocks, gmfs_contiguous_t contiguous, void *priv)
{
	memset(img, 0, sizeof(*img));
	img->meta = meta;
	img->total_blocks = total_blocks;
	img->contiguous = contiguous;
	img->priv = priv;
	mutex_init(&img->lock);
	xa_init(&img->inodes);
	xa_init(&img->rblocks);
	gmfs_space_init(&img->itable, GMFS_META_INODES,
			sizeof(struct gmfs_inode_ser));
	gmfs_space_init(&img->dirents, GMFS_META_DIRENTS, GMFS_DIRENT_SLOT);
	gmfs_space_init(&img->extents, GMFS_META_EXTENTS,
			sizeof(struct gmfs_extent_ser));
	gmfs_space_init(&img->attrs, GMFS_META_ATTRS, GMFS_ATTR_SLOT);
}

/**
 * gmfs_space_load - build the index of all records of a kind
 * @img: the image
 * @space: kind of record
 * @load: called for each slot at which a record may begin; returns the number of
 *	its slots
 * @used: passed to @load
 *
 * Context: process context, may sleep; the caller has exclusive access to @img.
 *
 * Return: 0, or the first error of @load; -ENOMEM.
 */
int gmfs_space_load(struct gmfs_image *img, struct gmfs_space *space,
		    gmfs_load_t load, unsigned long *used)
{
	unsigned int nr = gmfs_space_slots(space);
	struct gmpool_meta_ser *hdr = NULL;
	struct gmfs_rblock *rb;
	unsigned int slot;
	int taken;

	while ((hdr = gmpool_meta_next(img->meta, space->type, hdr))) {
		rb = gmfs_rblock_new(img, space, hdr);
		if (IS_ERR(rb))
			return PTR_ERR(rb);
		slot = gmfs_space_first(space);
		while (slot < nr) {
			taken = load(img, (void *)hdr + slot * space->size,
				     nr - slot, used);
			if (taken < 0)
				return taken;
			bitmap_set(rb->used, slot, taken);
			slot += taken ?: 1;
		}
		gmfs_rblock_file(space, rb);
		cond_resched();
	}
	return 0;
}

/**
 * gmfs_spaces_forget - free the indexes of all kinds of records
 * @img: the image
 *
 * Context: process context; the caller has exclusive access to @img.
 */
void gmfs_spaces_forget(struct gmfs_image *img)
{
	struct gmfs_rblock *rb;
	unsigned long index;

	xa_for_each(&img->rblocks, index, rb)
		kfree(rb);
	xa_destroy(&img->rblocks);
}

/**
 * gmfs_inode_find - find an inode by number
 * @img: the image
 * @ino: number
 *
 * Context: any; takes the RCU read lock. The caller prevents the inode from being
 * freed.
 *
 * Return: the inode, or NULL.
 */
struct gmfs_inode *gmfs_inode_find(struct gmfs_image *img, u64 ino)
{
	return xa_load(&img->inodes, ino);
}
