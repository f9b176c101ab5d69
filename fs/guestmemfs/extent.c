// SPDX-License-Identifier: GPL-2.0
/*
 * Extents of an image: the pool blocks of each file.
 */

#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "image.h"

static u64 gmfs_file_end(const struct gmfs_extent *ext)
{
	return ext->rec->file_block + ext->rec->count;
}

static u64 gmfs_pool_end(const struct gmfs_extent *ext)
{
	return ext->rec->pool_block + ext->rec->count;
}

/* The last extent that starts at or before @file_block. */
static struct gmfs_extent *gmfs_extent_floor(const struct gmfs_inode *ci,
					     u64 file_block)
{
	struct rb_node *node = ci->file.extents.rb_node;
	struct gmfs_extent *found = NULL;

	while (node) {
		struct gmfs_extent *ext = rb_entry(node, struct gmfs_extent,
						   node);

		if (ext->rec->file_block > file_block) {
			node = node->rb_left;
		} else {
			found = ext;
			node = node->rb_right;
		}
	}
	return found;
}

/* The extent after @ext, or the first one if @ext is NULL. */
static struct gmfs_extent *gmfs_extent_after(const struct gmfs_inode *ci,
					     const struct gmfs_extent *ext)
{
	return rb_entry_safe(ext ? rb_next(&ext->node) :
				   rb_first(&ci->file.extents),
			     struct gmfs_extent, node);
}

/* Insert @ext into the tree of @ci. Returns false if it overlaps with another. */
static bool gmfs_extent_link(struct gmfs_inode *ci, struct gmfs_extent *ext)
{
	struct rb_node **at = &ci->file.extents.rb_node;
	struct rb_node *up = NULL;

	while (*at) {
		struct gmfs_extent *other;

		up = *at;
		other = rb_entry(up, struct gmfs_extent, node);
		if (gmfs_file_end(ext) <= other->rec->file_block)
			at = &up->rb_left;
		else if (gmfs_file_end(other) <= ext->rec->file_block)
			at = &up->rb_right;
		else
			return false;
	}
	rb_link_node(&ext->node, up, at);
	rb_insert_color(&ext->node, &ci->file.extents);
	return true;
}

static void gmfs_extent_free(struct gmfs_image *img, struct gmfs_inode *ci,
			     struct gmfs_extent *ext)
{
	rb_erase(&ext->node, &ci->file.extents);
	gmfs_slot_free(img, &img->extents, ext->rec, 1);
	kfree(ext);
}

static struct gmfs_extent *gmfs_rsv_take(struct list_head *rsv)
{
	struct gmfs_extent *ext;

	ext = list_first_entry_or_null(rsv, struct gmfs_extent, list);
	if (ext)
		list_del(&ext->list);
	return ext;
}

/**
 * gmfs_extent_reserve - reserve extents
 * @img: the image
 * @rsv: the struct gmfs_extent are added to this list
 * @nr: number of extents
 *
 * After pool blocks have been committed, the allocation of a record must not fail.
 * Each gmfs_extent_insert() needs at most one extent. All calls of gmfs_extent_cut()
 * for one range together need at most one.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 *
 * Return: 0; -ENOSPC if the metadata cannot grow; -ENOMEM. On an error, @rsv is
 * empty.
 */
int gmfs_extent_reserve(struct gmfs_image *img, struct list_head *rsv, u64 nr)
{
	struct gmfs_extent *ext;
	int err;

	for (; nr; nr--) {
		ext = kmalloc_obj(*ext, GFP_KERNEL_ACCOUNT);
		if (!ext) {
			err = -ENOMEM;
			goto err_unreserve;
		}
		ext->rec = gmfs_slot_alloc(img, &img->extents, 1);
		if (IS_ERR(ext->rec)) {
			err = PTR_ERR(ext->rec);
			kfree(ext);
			goto err_unreserve;
		}
		list_add(&ext->list, rsv);
	}
	return 0;

err_unreserve:
	gmfs_extent_unreserve(img, rsv);
	return err;
}

/**
 * gmfs_extent_unreserve - free reserved extents
 * @img: the image
 * @rsv: list of them; empty after this function
 *
 * Context: process context, may sleep, within the operation of
 * gmfs_extent_reserve(); takes @img->lock.
 */
void gmfs_extent_unreserve(struct gmfs_image *img, struct list_head *rsv)
{
	struct gmfs_extent *ext;

	while ((ext = gmfs_rsv_take(rsv))) {
		gmfs_slot_free(img, &img->extents, ext->rec, 1);
		kfree(ext);
	}
}

/**
 * gmfs_extent_find - find the pool blocks at an offset in a file
 * @ci: file
 * @file_block: offset in the file, in blocks
 * @range: set to the pool blocks from there to the end of the extent; in a hole,
 *	@range->count is set to the number of blocks to the next extent
 *
 * Context: any; the caller keeps the extents of @ci from changing.
 *
 * Return: false if it is a hole.
 */
bool gmfs_extent_find(const struct gmfs_inode *ci, u64 file_block,
		      struct gmpool_range *range)
{
	struct gmfs_extent *ext = gmfs_extent_floor(ci, file_block);

	if (ext && file_block < gmfs_file_end(ext)) {
		u64 skip = file_block - ext->rec->file_block;

		range->start = ext->rec->pool_block + skip;
		range->count = ext->rec->count - skip;
		return true;
	}

	ext = gmfs_extent_after(ci, ext);
	range->start = 0;
	range->count = (ext ? ext->rec->file_block : GMFS_MAX_BLOCKS) - file_block;
	return false;
}

/**
 * gmfs_extent_of - find a pool block in a file
 * @ci: file
 * @pool_block: pool block
 * @file_block: set to its offset in the file, in blocks
 *
 * Walks all extents of the file, so it is for rare events.
 *
 * Context: any; the caller keeps the extents of @ci from changing.
 *
 * Return: true if the file has the block.
 */
bool gmfs_extent_of(const struct gmfs_inode *ci, u64 pool_block, u64 *file_block)
{
	const struct gmfs_extent *ext = NULL;

	while ((ext = gmfs_extent_after(ci, ext))) {
		if (pool_block < ext->rec->pool_block ||
		    pool_block >= gmfs_pool_end(ext))
			continue;
		*file_block = ext->rec->file_block + pool_block -
			      ext->rec->pool_block;
		return true;
	}
	return false;
}

/**
 * gmfs_extent_goal - choose the preferred pool block for a hole
 * @ci: file
 * @file_block: offset in the file, in blocks, in a hole
 *
 * Context: any; the caller keeps the extents of @ci from changing.
 *
 * Return: the pool block that would continue the extent before the hole or precede
 * the extent after it, or U64_MAX if there is neither. The block may be in use, or
 * beyond the end of the pool.
 */
u64 gmfs_extent_goal(const struct gmfs_inode *ci, u64 file_block)
{
	struct gmfs_extent *ext = gmfs_extent_floor(ci, file_block);

	if (ext)
		return ext->rec->pool_block +
		       (file_block - ext->rec->file_block);

	ext = gmfs_extent_after(ci, NULL);
	if (ext && ext->rec->pool_block >= ext->rec->file_block - file_block)
		return ext->rec->pool_block -
		       (ext->rec->file_block - file_block);
	return U64_MAX;
}

static bool gmfs_can_merge(struct gmfs_image *img, u64 start, u64 count)
{
	return count <= U32_MAX && img->contiguous(img, start, count);
}

/**
 * gmfs_extent_insert - add pool blocks to a file
 * @img: the image
 * @ci: file
 * @rsv: from gmfs_extent_reserve(); an extent is taken from it unless the blocks
 *	can be merged into one of the file
 * @file_block: offset in the file, in blocks; a hole of at least @range->count blocks
 * @range: pool blocks, physically contiguous
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the extents of @ci.
 *
 * Return: 0; -EEXIST if it is not such a hole; -EINVAL if @range is empty or larger
 * than an extent can be; -ENOSPC if an extent is needed and @rsv is empty.
 */
int gmfs_extent_insert(struct gmfs_image *img, struct gmfs_inode *ci,
		       struct list_head *rsv, u64 file_block,
		       const struct gmpool_range *range)
{
	struct gmfs_extent *prev = gmfs_extent_floor(ci, file_block);
	struct gmfs_extent *next = gmfs_extent_after(ci, prev);
	u64 end = file_block + range->count;
	struct gmfs_extent *ext;

	if (!range->count || range->count > U32_MAX)
		return -EINVAL;
	if ((prev && gmfs_file_end(prev) > file_block) ||
	    (next && next->rec->file_block < end))
		return -EEXIST;

	if (prev && (gmfs_file_end(prev) != file_block ||
		     gmfs_pool_end(prev) != range->start ||
		     !gmfs_can_merge(img, prev->rec->pool_block,
				     prev->rec->count + range->count)))
		prev = NULL;
	if (next && (next->rec->file_block != end ||
		     next->rec->pool_block != range->start + range->count ||
		     !gmfs_can_merge(img, range->start,
				     range->count + next->rec->count)))
		next = NULL;

	if (prev) {
		prev->rec->count += range->count;
		if (next && gmfs_can_merge(img, prev->rec->pool_block,
					   (u64)prev->rec->count +
					   next->rec->count)) {
			prev->rec->count += next->rec->count;
			gmfs_extent_free(img, ci, next);
		}
		gmfs_dirty(img, prev->rec);
	} else if (next) {
		next->rec->file_block = file_block;
		next->rec->pool_block = range->start;
		next->rec->count += range->count;
		gmfs_dirty(img, next->rec);
	} else {
		ext = gmfs_rsv_take(rsv);
		if (!ext)
			return -ENOSPC;
		ext->rec->ino = ci->ino;
		ext->rec->file_block = file_block;
		ext->rec->pool_block = range->start;
		ext->rec->count = range->count;
		gmfs_extent_link(ci, ext);
		gmfs_dirty(img, ext->rec);
	}
	ci->file.blocks += range->count;
	return 0;
}

/**
 * gmfs_extent_cut - remove the pool blocks of the first extent in a range of a file
 * @img: the image
 * @ci: file
 * @rsv: from gmfs_extent_reserve(); an extent is taken from it if one is split,
 *	which happens at most once in the calls for one range
 * @first: first file block of the range
 * @end: file block after its last
 * @range: set to the pool blocks that were removed from the file
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the extents of @ci.
 *
 * Return: 1 if @range is set, 0 if all is a hole; -ENOSPC if an extent is needed
 * and @rsv is empty.
 */
int gmfs_extent_cut(struct gmfs_image *img, struct gmfs_inode *ci,
		    struct list_head *rsv, u64 first, u64 end,
		    struct gmpool_range *range)
{
	struct gmfs_extent *ext = gmfs_extent_floor(ci, first);
	struct gmfs_extent *tail;
	u64 head;

	if (!ext || gmfs_file_end(ext) <= first)
		ext = gmfs_extent_after(ci, ext);
	if (!ext || ext->rec->file_block >= end || first >= end)
		return 0;

	first = max(first, ext->rec->file_block);
	end = min(end, gmfs_file_end(ext));
	head = first - ext->rec->file_block;
	range->start = ext->rec->pool_block + head;
	range->count = end - first;

	if (range->count == ext->rec->count) {
		gmfs_extent_free(img, ci, ext);
	} else if (!head) {
		ext->rec->file_block = end;
		ext->rec->pool_block += range->count;
		ext->rec->count -= range->count;
		gmfs_dirty(img, ext->rec);
	} else if (end == gmfs_file_end(ext)) {
		ext->rec->count = head;
		gmfs_dirty(img, ext->rec);
	} else {
		tail = gmfs_rsv_take(rsv);
		if (!tail)
			return -ENOSPC;
		tail->rec->ino = ci->ino;
		tail->rec->file_block = end;
		tail->rec->pool_block = range->start + range->count;
		tail->rec->count = gmfs_file_end(ext) - end;
		ext->rec->count = head;
		gmfs_extent_link(ci, tail);
		gmfs_dirty(img, ext->rec);
		gmfs_dirty(img, tail->rec);
	}
	ci->file.blocks -= range->count;
	return 1;
}

/* Does an extent begin before @file_block and end behind it? */
static bool gmfs_extent_spans(const struct gmfs_inode *ci, u64 file_block)
{
	const struct gmfs_extent *ext = gmfs_extent_floor(ci, file_block);

	return ext && ext->rec->file_block < file_block &&
	       file_block < gmfs_file_end(ext);
}

static void gmfs_extent_split(struct gmfs_image *img, struct gmfs_inode *ci,
			      struct list_head *rsv, u64 file_block)
{
	struct gmfs_extent *ext, *tail;
	u64 head;

	if (!gmfs_extent_spans(ci, file_block))
		return;
	ext = gmfs_extent_floor(ci, file_block);
	tail = gmfs_rsv_take(rsv);
	head = file_block - ext->rec->file_block;
	tail->rec->ino = ci->ino;
	tail->rec->file_block = file_block;
	tail->rec->pool_block = ext->rec->pool_block + head;
	tail->rec->count = ext->rec->count - head;
	ext->rec->count = head;
	gmfs_extent_link(ci, tail);
	gmfs_dirty(img, ext->rec);
	gmfs_dirty(img, tail->rec);
}

/* Merge the extent that begins at @file_block, if any, into the one before it. */
static void gmfs_extent_merge(struct gmfs_image *img, struct gmfs_inode *ci,
			      u64 file_block)
{
	struct gmfs_extent *ext = gmfs_extent_floor(ci, file_block), *prev;

	if (!file_block || !ext || ext->rec->file_block != file_block)
		return;
	prev = gmfs_extent_floor(ci, file_block - 1);
	if (!prev || gmfs_file_end(prev) != file_block ||
	    gmfs_pool_end(prev) != ext->rec->pool_block ||
	    !gmfs_can_merge(img, prev->rec->pool_block,
			    (u64)prev->rec->count + ext->rec->count))
		return;
	prev->rec->count += ext->rec->count;
	gmfs_dirty(img, prev->rec);
	gmfs_extent_free(img, ci, ext);
}

/* Move all extents from @first to @end, which split none, to @list. Returns their blocks. */
static u64 gmfs_extents_unlink(struct gmfs_inode *ci, u64 first, u64 end,
			       struct list_head *list)
{
	struct gmfs_extent *ext = gmfs_extent_floor(ci, first), *next;
	u64 blocks = 0;

	if (!ext || ext->rec->file_block < first)
		ext = gmfs_extent_after(ci, ext);
	for (; ext && ext->rec->file_block < end; ext = next) {
		next = gmfs_extent_after(ci, ext);
		blocks += ext->rec->count;
		rb_erase(&ext->node, &ci->file.extents);
		list_add_tail(&ext->list, list);
	}
	ci->file.blocks -= blocks;
	return blocks;
}

/* Move the extents of @list, which were from @from on, to @first in @ci. */
static void gmfs_extents_link(struct gmfs_image *img, struct gmfs_inode *ci,
			      u64 first, struct list_head *list, u64 from)
{
	struct gmfs_extent *ext;

	while ((ext = gmfs_rsv_take(list))) {
		ext->rec->ino = ci->ino;
		ext->rec->file_block += first - from;
		ci->file.blocks += ext->rec->count;
		gmfs_extent_link(ci, ext);
		gmfs_dirty(img, ext->rec);
	}
}

/**
 * gmfs_extent_exchange - exchange ranges of two files
 * @img: the image
 * @ci1: the one file
 * @first1: first block of its range, in blocks of the file
 * @ci2: the other file, or the same with a range that does not overlap
 * @first2: first block of its range
 * @count: number of blocks of both ranges
 * @moved: set to the number of pool blocks that moved from @ci1 and from @ci2
 *
 * Takes time in proportion to the number of extents in both ranges. Extents move with
 * their records. New records, four at most, are for extents that the ends of the ranges
 * split.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the extents of both files.
 *
 * Return: 0; -ENOSPC if the metadata cannot grow; -ENOMEM. On an error, nothing has
 * changed.
 */
int gmfs_extent_exchange(struct gmfs_image *img, struct gmfs_inode *ci1,
			 u64 first1, struct gmfs_inode *ci2, u64 first2,
			 u64 count, u64 moved[2])
{
	LIST_HEAD(list1);
	LIST_HEAD(list2);
	LIST_HEAD(rsv);
	int err;

	err = gmfs_extent_reserve(img, &rsv,
				  gmfs_extent_spans(ci1, first1) +
				  gmfs_extent_spans(ci1, first1 + count) +
				  gmfs_extent_spans(ci2, first2) +
				  gmfs_extent_spans(ci2, first2 + count));
	if (err)
		return err;
	gmfs_extent_split(img, ci1, &rsv, first1);
	gmfs_extent_split(img, ci1, &rsv, first1 + count);
	gmfs_extent_split(img, ci2, &rsv, first2);
	gmfs_extent_split(img, ci2, &rsv, first2 + count);
	/* Two ranges of a file that adjoin have one place for two splits. */
	gmfs_extent_unreserve(img, &rsv);

	moved[0] = gmfs_extents_unlink(ci1, first1, first1 + count, &list1);
	moved[1] = gmfs_extents_unlink(ci2, first2, first2 + count, &list2);
	gmfs_extents_link(img, ci2, first2, &list1, first1);
	gmfs_extents_link(img, ci1, first1, &list2, first2);

	gmfs_extent_merge(img, ci1, first1);
	gmfs_extent_merge(img, ci1, first1 + count);
	gmfs_extent_merge(img, ci2, first2);
	gmfs_extent_merge(img, ci2, first2 + count);
	return 0;
}

static int gmfs_extent_bad(struct gmfs_image *img,
			   const struct gmfs_extent_ser *rec, const char *what)
{
	return gmfs_image_bad(img, "extent %llu+%u of inode %llu, at %llu: %s",
			      rec->file_block, rec->count, rec->ino,
			      rec->pool_block, what);
}

static int gmfs_extent_check(struct gmfs_image *img,
			     const struct gmfs_extent_ser *rec,
			     const unsigned long *used)
{
	u64 end;

	if (!rec->count || rec->file_block > GMFS_MAX_BLOCKS ||
	    rec->count > GMFS_MAX_BLOCKS - rec->file_block)
		return gmfs_extent_bad(img, rec, "not within a file");
	if (rec->pool_block > img->total_blocks ||
	    rec->count > img->total_blocks - rec->pool_block)
		return gmfs_extent_bad(img, rec, "not within the pool");
	if (!img->contiguous(img, rec->pool_block, rec->count))
		return gmfs_extent_bad(img, rec, "not one piece of memory");
	end = rec->pool_block + rec->count;
	if (find_next_bit(used, end, rec->pool_block) < end)
		return gmfs_extent_bad(img, rec, "memory of another extent");
	if (rec->flags && !img->lenient)
		return gmfs_extent_bad(img, rec, "reserved flag");
	return 0;
}

/**
 * gmfs_extent_load - load a handed-over extent
 * @img: image that is being loaded, with all its inodes
 * @slot: the extent's record or a free one, not trusted
 * @room: number of slots to the end of the metadata block
 * @used: bitmap of pool blocks; the blocks of the extent are set in it
 *
 * Context: process context, may sleep; the caller has exclusive access to @img.
 *
 * Return: number of slots of the record, 0 if it is free; -EUCLEAN if it is
 * damaged, with the reason in @img->why; -ENOMEM.
 */
int gmfs_extent_load(struct gmfs_image *img, void *slot, unsigned int room,
		     unsigned long *used)
{
	struct gmfs_extent_ser *rec = slot;
	struct gmfs_extent *ext;
	struct gmfs_inode *ci;
	u64 block;
	int err;

	if (!rec->ino)
		return 0;
	ci = gmfs_inode_find(img, rec->ino);
	if (!ci || !S_ISREG(ci->rec->mode))
		return gmfs_extent_bad(img, rec, "no such file");
	err = gmfs_extent_check(img, rec, used);
	if (err)
		return err;

	ext = kmalloc_obj(*ext);
	if (!ext)
		return -ENOMEM;
	ext->rec = rec;
	if (!gmfs_extent_link(ci, ext)) {
		kfree(ext);
		return gmfs_extent_bad(img, rec, "overlaps in the file");
	}

	for (block = 0; block < rec->count; block++)
		__set_bit(rec->pool_block + block, used);
	ci->file.blocks += rec->count;
	return 1;
}

/**
 * gmfs_extent_forget - free the index of a file's extents
 * @ci: file
 *
 * Does not change the records.
 */
void gmfs_extent_forget(struct gmfs_inode *ci)
{
	struct gmfs_extent *ext, *next;

	rbtree_postorder_for_each_entry_safe(ext, next, &ci->file.extents, node)
		kfree(ext);
	ci->file.extents = RB_ROOT;
	ci->file.blocks = 0;
}
