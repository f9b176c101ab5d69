// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes of an image.
 *
 * An inode's number is the place of its record, so that finding the record of
 * a number needs no search and the number stays the same for the next kernel.
 */

#include <linux/err.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "image.h"

static u64 record_ino(struct gmfs_inode_ser *rec)
{
	struct gmpool_meta_ser *hdr = PTR_ALIGN_DOWN((void *)rec,
						     GMPOOL_META_SIZE);

	return GMFS_INO(hdr->mbn, ((void *)rec - (void *)hdr) / sizeof(*rec));
}

static void ino_init(struct gmfs_ino *gi)
{
	if (S_ISDIR(gi->rec->mode)) {
		gi->dir.names = RB_ROOT;
		gi->dir.cookies = RB_ROOT;
		gi->dir.parent = NULL;
		gi->dir.nr = 0;
	} else {
		gi->file.extents = RB_ROOT;
		gi->file.blocks = 0;
		gi->file.charges = NULL;
	}
}

/**
 * gmfs_ino_reserve - get a number and the room for a new inode
 * @img: where
 *
 * Nobody can find the inode before gmfs_ino_publish(), and the next kernel
 * does not see it.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 *
 * Return: the inode, of which only @ino may be used, or an ERR_PTR: -ENOSPC if
 * there is no more room for metadata, -ENOMEM.
 */
struct gmfs_ino *gmfs_ino_reserve(struct gmfs_image *img)
{
	struct gmfs_inode_ser *rec;
	struct gmfs_ino *gi;
	int err;

	if (gmfs_cookie_next(img) >= GMFS_COOKIE_FULL)
		return ERR_PTR(-ENOSPC);

	gi = kzalloc_obj(*gi);
	if (!gi)
		return ERR_PTR(-ENOMEM);

	rec = gmfs_slot_alloc(img, &img->itable, 1);
	if (IS_ERR(rec)) {
		err = PTR_ERR(rec);
		goto err_free;
	}
	gi->rec = rec;
	gi->ino = record_ino(rec);

	err = xa_reserve(&img->inodes, gi->ino, GFP_KERNEL);
	if (err)
		goto err_slot;
	return gi;

err_slot:
	gmfs_slot_free(img, &img->itable, rec, 1);
err_free:
	kfree(gi);
	return ERR_PTR(err);
}

/**
 * gmfs_ino_publish - make a reserved inode exist
 * @img: where
 * @gi: from gmfs_ino_reserve()
 * @mode: file type, which is for ever, and permissions
 *
 * The inode has no name yet: if it stays like that, the next kernel frees it.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 */
void gmfs_ino_publish(struct gmfs_image *img, struct gmfs_ino *gi,
		      umode_t mode)
{
	struct gmfs_inode_ser *rec = gi->rec;

	rec->ino = gi->ino;
	rec->mode = mode;
	/*
	 * A record keeps nothing of the inode that had its place before, and
	 * the whole block may have been something else meanwhile. The one
	 * counter of the image that only ever grows is good for generations.
	 */
	rec->generation = lower_32_bits(gmfs_cookie_take(img));
	ino_init(gi);
	gmfs_dirty(img, rec);
	/* Reserved, so that this needs no memory. */
	xa_store(&img->inodes, gi->ino, gi, GFP_KERNEL);
}

/**
 * gmfs_ino_free - give an inode's number and record back
 * @img: where
 * @gi: inode without a name, without entries and extents, published or not;
 *	gone afterwards
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 */
void gmfs_ino_free(struct gmfs_image *img, struct gmfs_ino *gi)
{
	xa_erase(&img->inodes, gi->ino);
	gmfs_slot_free(img, &img->itable, gi->rec, 1);
	kfree(gi);
}

/**
 * gmfs_ino_find - find an inode by number
 * @img: where
 * @ino: number
 *
 * Context: any; takes the RCU read lock. The inode stays only as long as the
 * caller knows that nobody frees it.
 *
 * Return: the inode, or NULL.
 */
struct gmfs_ino *gmfs_ino_find(struct gmfs_image *img, u64 ino)
{
	return xa_load(&img->inodes, ino);
}

static int ino_check(struct gmfs_image *img, const struct gmfs_inode_ser *rec,
		     u64 ino)
{
	const u32 nsec_end = NSEC_PER_SEC;

	if (rec->ino != ino)
		return gmfs_image_bad(img, "inode %llu: has the number %llu",
				      ino, rec->ino);
	if (rec->mode & ~(u32)(S_IFMT | S_IALLUGO) ||
	    (!S_ISREG(rec->mode) && !S_ISDIR(rec->mode)))
		return gmfs_image_bad(img, "inode %llu: mode 0%o is no file type",
				      ino, rec->mode);
	if (rec->uid == U32_MAX || rec->gid == U32_MAX)
		return gmfs_image_bad(img, "inode %llu: owner %u:%u", ino,
				      rec->uid, rec->gid);
	if (rec->size > (S_ISREG(rec->mode) ? GMFS_MAX_SIZE : 0))
		return gmfs_image_bad(img, "inode %llu: size %llu", ino,
				      rec->size);
	if (rec->rdev)
		return gmfs_image_bad(img, "inode %llu: device number %#llx",
				      ino, rec->rdev);
	if (rec->atime_nsec >= nsec_end || rec->mtime_nsec >= nsec_end ||
	    rec->ctime_nsec >= nsec_end || rec->btime_nsec >= nsec_end)
		return gmfs_image_bad(img, "inode %llu: nanoseconds of a time",
				      ino);
	if (img->lenient)
		return 0;
	if (rec->flags || rec->reserved0 ||
	    memchr_inv(rec->reserved1, 0, sizeof(rec->reserved1)))
		return gmfs_image_bad(img, "inode %llu: reserved field", ino);
	return 0;
}

/**
 * gmfs_ino_load - take over a handed-over inode
 * @img: image that is being loaded
 * @slot: its record or a free one, trusted in nothing
 * @room: slots to the end of the metadata block
 * @used: of no use here
 *
 * Context: process context, may sleep; nobody else knows @img.
 *
 * Return: slots that the record takes, 0 if it is free; -EUCLEAN if it is bad,
 * and why is in @img->why; -ENOMEM.
 */
int gmfs_ino_load(struct gmfs_image *img, void *slot, unsigned int room,
		  unsigned long *used)
{
	struct gmfs_inode_ser *rec = slot;
	u64 ino = record_ino(rec);
	struct gmfs_ino *gi;
	int err;

	if (!rec->ino)
		return 0;
	err = ino_check(img, rec, ino);
	if (err)
		return err;

	gi = kzalloc_obj(*gi);
	if (!gi)
		return -ENOMEM;
	gi->ino = ino;
	gi->rec = rec;
	ino_init(gi);

	err = xa_insert(&img->inodes, ino, gi, GFP_KERNEL);
	if (err) {
		kfree(gi);
		return err;
	}
	return 1;
}
