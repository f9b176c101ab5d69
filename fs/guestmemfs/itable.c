// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes of an image.
 *
 * The number of an inode is the place of its record. So no search is needed to
 * find the record, and the number is the same in the next kernel.
 */

#include <linux/err.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "image.h"

static u64 gmfs_record_ino(struct gmfs_inode_ser *rec)
{
	struct gmpool_meta_ser *hdr = PTR_ALIGN_DOWN((void *)rec,
						     GMPOOL_META_SIZE);

	return GMFS_INO(hdr->mbn, ((void *)rec - (void *)hdr) / sizeof(*rec));
}

static void gmfs_inode_init(struct gmfs_inode *ci)
{
	ci->attrs = RB_ROOT;
	if (S_ISDIR(ci->rec->mode)) {
		ci->dir.names = RB_ROOT;
		ci->dir.cookies = RB_ROOT;
		ci->dir.parent = NULL;
		ci->dir.nr = 0;
	} else {
		ci->file.extents = RB_ROOT;
		ci->file.blocks = 0;
		ci->file.charges = NULL;
		ci->file.pins = RB_ROOT_CACHED;
		ci->file.pinned = 0;
		ci->file.inherited = 0;
		ci->file.pins_frozen = 0;
		ci->file.client = NULL;
	}
}

/* Count one more inode. Returns 0, or -ENOSPC if the limit is reached. */
static int gmfs_count_inode(struct gmfs_image *img)
{
	guard(mutex)(&img->lock);

	if (img->max_inodes && img->nr_inodes >= img->max_inodes)
		return -ENOSPC;
	img->nr_inodes++;
	return 0;
}

static void gmfs_uncount_inode(struct gmfs_image *img)
{
	guard(mutex)(&img->lock);

	img->nr_inodes--;
}

/**
 * gmfs_inode_reserve - allocate a number and a record for a new inode
 * @img: the image
 *
 * Before gmfs_inode_publish(), a lookup does not find the inode, and its record is
 * free for the next kernel.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 *
 * Return: the inode, of which only @ino may be used, or an ERR_PTR: -ENOSPC if the
 * limit of inodes is reached or the metadata cannot grow; -ENOMEM.
 */
struct gmfs_inode *gmfs_inode_reserve(struct gmfs_image *img)
{
	struct gmfs_inode_ser *rec;
	struct gmfs_inode *ci;
	int err;

	if (gmfs_cookie_next(img) >= GMFS_COOKIE_FULL)
		return ERR_PTR(-ENOSPC);

	err = gmfs_count_inode(img);
	if (err)
		return ERR_PTR(err);
	ci = kzalloc_obj(*ci, GFP_KERNEL_ACCOUNT);
	if (!ci) {
		err = -ENOMEM;
		goto err_uncount;
	}

	rec = gmfs_slot_alloc(img, &img->itable, 1);
	if (IS_ERR(rec)) {
		err = PTR_ERR(rec);
		goto err_free;
	}
	ci->rec = rec;
	ci->ino = gmfs_record_ino(rec);

	err = xa_reserve(&img->inodes, ci->ino, GFP_KERNEL);
	if (err)
		goto err_slot;
	return ci;

err_slot:
	gmfs_slot_free(img, &img->itable, rec, 1);
err_free:
	kfree(ci);
err_uncount:
	gmfs_uncount_inode(img);
	return ERR_PTR(err);
}

/**
 * gmfs_inode_publish - write the record of a reserved inode and make it visible
 * @img: the image
 * @ci: from gmfs_inode_reserve()
 * @mode: file type, which never changes, and permissions
 *
 * The inode has no name yet. The next kernel frees an inode without a name.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 */
void gmfs_inode_publish(struct gmfs_image *img, struct gmfs_inode *ci,
			umode_t mode)
{
	struct gmfs_inode_ser *rec = ci->rec;

	rec->ino = ci->ino;
	rec->mode = mode;
	/*
	 * The generation of the last inode with this number is not known: its
	 * record was zeroed, and the block may have had another type since. A
	 * cookie differs from it, because the counter of cookies only grows.
	 */
	rec->generation = lower_32_bits(gmfs_cookie_take(img));
	gmfs_inode_init(ci);
	gmfs_dirty(img, rec);
	/* The entry is reserved, so this allocates no memory. */
	xa_store(&img->inodes, ci->ino, ci, GFP_KERNEL);
}

static void gmfs_free_attrs(struct gmfs_image *img, struct gmfs_inode *ci)
{
	struct gmfs_attr *attr;

	while ((attr = gmfs_attr_first(ci)))
		gmfs_attr_remove(img, ci, attr);
}

/**
 * gmfs_inode_unpublish - undo gmfs_inode_publish()
 * @img: the image
 * @ci: published inode without a name, which no lookup has found; its number stays
 *	reserved, its attributes are freed
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 */
void gmfs_inode_unpublish(struct gmfs_image *img, struct gmfs_inode *ci)
{
	gmfs_free_attrs(img, ci);
	/* Replaces an entry, so this allocates no memory. */
	xa_store(&img->inodes, ci->ino, XA_ZERO_ENTRY, GFP_KERNEL);
	memset(ci->rec, 0, sizeof(*ci->rec));
	gmfs_dirty(img, ci->rec);
}

/**
 * gmfs_ino_set_private - set or clear the flag of a private file
 * @img: the image
 * @ci: a regular file
 * @private: set the flag
 *
 * Sets the feature with the first private file, and clears it with the last.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 */
void gmfs_ino_set_private(struct gmfs_image *img, struct gmfs_inode *ci,
			  bool private)
{
	u32 flags = ci->rec->flags;

	guard(mutex)(&img->lock);

	if (!(flags & GMFS_INODE_PRIVATE) == !private)
		return;
	img->nr_private += private ? 1 : -1;
	/* Readers hold no lock. */
	WRITE_ONCE(ci->rec->flags, flags ^ GMFS_INODE_PRIVATE);
	gmfs_dirty(img, ci->rec);
	if (img->nr_private)
		img->super->feature_incompat |= GMFS_FEATURE_INCOMPAT_PRIVATE;
	else
		img->super->feature_incompat &= ~GMFS_FEATURE_INCOMPAT_PRIVATE;
	gmfs_dirty(img, img->super);
}

/**
 * gmfs_count_private - count the private files
 * @img: the image
 *
 * Context: process context, may sleep; takes @img->lock.
 *
 * Return: number of files.
 */
u64 gmfs_count_private(struct gmfs_image *img)
{
	guard(mutex)(&img->lock);

	return img->nr_private;
}

/**
 * gmfs_inode_free - free an inode, its number, record and attributes
 * @img: the image
 * @ci: inode without a name, entries and extents, published or not
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 */
void gmfs_inode_free(struct gmfs_image *img, struct gmfs_inode *ci)
{
	gmfs_free_attrs(img, ci);
	if (S_ISREG(ci->rec->mode))
		gmfs_ino_set_private(img, ci, false);
	xa_erase(&img->inodes, ci->ino);
	gmfs_slot_free(img, &img->itable, ci->rec, 1);
	kfree(ci);
	gmfs_uncount_inode(img);
}

/**
 * gmfs_limit_inodes - set the limit of inodes
 * @img: the image
 * @max: the limit, 0 for none
 *
 * Context: process context, may sleep; takes @img->lock.
 *
 * Return: 0; -EINVAL if there are more than @max inodes.
 */
int gmfs_limit_inodes(struct gmfs_image *img, u64 max)
{
	guard(mutex)(&img->lock);

	if (max && img->nr_inodes > max)
		return -EINVAL;
	img->max_inodes = max;
	return 0;
}

/**
 * gmfs_count_inodes - get the number of inodes and its limit
 * @img: the image
 * @max: set to the limit, or to 0 if there is none; may be NULL
 *
 * Context: process context, may sleep; takes @img->lock.
 *
 * Return: number of inodes.
 */
u64 gmfs_count_inodes(struct gmfs_image *img, u64 *max)
{
	guard(mutex)(&img->lock);

	if (max)
		*max = img->max_inodes;
	return img->nr_inodes;
}

/**
 * gmfs_count_inode_slots - get the size of the inode table
 * @img: the image
 *
 * Context: process context, may sleep; takes @img->lock.
 *
 * Return: number of records, used or not.
 */
u64 gmfs_count_inode_slots(struct gmfs_image *img)
{
	guard(mutex)(&img->lock);

	return (u64)img->itable.nr * (GMFS_INODES_PER_BLOCK - 1);
}

static bool gmfs_mode_ok(u32 mode)
{
	if (mode & ~(u32)(S_IFMT | S_IALLUGO))
		return false;
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

static bool gmfs_rdev_ok(const struct gmfs_inode_ser *rec)
{
	if (!S_ISCHR(rec->mode) && !S_ISBLK(rec->mode))
		return !rec->rdev;
	return !(GMFS_RDEV_MAJOR(rec->rdev) >> GMFS_RDEV_MAJOR_BITS) &&
	       !(GMFS_RDEV_MINOR(rec->rdev) >> GMFS_RDEV_MINOR_BITS);
}

static u64 gmfs_size_max(u32 mode)
{
	if (S_ISREG(mode))
		return GMFS_MAX_SIZE;
	return S_ISLNK(mode) ? GMFS_TARGET_MAX : 0;
}

static int gmfs_inode_check(struct gmfs_image *img,
			    const struct gmfs_inode_ser *rec, u64 ino)
{
	const u32 nsec_end = NSEC_PER_SEC;

	if (rec->ino != ino)
		return gmfs_image_bad(img, "inode %llu: has the number %llu",
				      ino, rec->ino);
	if (!gmfs_mode_ok(rec->mode))
		return gmfs_image_bad(img, "inode %llu: mode 0%o is no file type",
				      ino, rec->mode);
	if (rec->uid == U32_MAX || rec->gid == U32_MAX)
		return gmfs_image_bad(img, "inode %llu: owner %u:%u", ino,
				      rec->uid, rec->gid);
	if (rec->size > gmfs_size_max(rec->mode))
		return gmfs_image_bad(img, "inode %llu: size %llu", ino,
				      rec->size);
	if (rec->preserved && !S_ISREG(rec->mode))
		return gmfs_image_bad(img, "inode %llu: preserved, but no file",
				      ino);
	if (rec->pinned > 1 || (rec->pinned && !rec->preserved))
		return gmfs_image_bad(img, "inode %llu: pinned is %u, preserved %u",
				      ino, rec->pinned, rec->preserved);
	if (rec->pinned && !(img->super->feature_ro_compat &
			     GMFS_FEATURE_RO_COMPAT_PINNED))
		return gmfs_image_bad(img, "inode %llu: pinned, without the feature",
				      ino);
	if (rec->flags & GMFS_INODE_PRIVATE &&
	    (!S_ISREG(rec->mode) || !(img->super->feature_incompat &
				      GMFS_FEATURE_INCOMPAT_PRIVATE)))
		return gmfs_image_bad(img, "inode %llu: private, but %s", ino,
				      S_ISREG(rec->mode) ? "without the feature" :
							   "no file");
	if (!gmfs_rdev_ok(rec))
		return gmfs_image_bad(img, "inode %llu: device number %#llx",
				      ino, rec->rdev);
	if (rec->atime_nsec >= nsec_end || rec->mtime_nsec >= nsec_end ||
	    rec->ctime_nsec >= nsec_end || rec->btime_nsec >= nsec_end)
		return gmfs_image_bad(img, "inode %llu: nanoseconds of a time",
				      ino);
	if (img->lenient)
		return 0;
	if (rec->flags & ~(u32)GMFS_INODE_FLAGS_ALL)
		return gmfs_image_bad(img, "inode %llu: flags %#x", ino,
				      rec->flags);
	if (memchr_inv(rec->reserved1, 0, sizeof(rec->reserved1)))
		return gmfs_image_bad(img, "inode %llu: reserved field", ino);
	return 0;
}

/**
 * gmfs_inode_load - load a handed-over inode
 * @img: image that is being loaded
 * @slot: its record or a free one, not trusted
 * @room: number of slots to the end of the metadata block
 * @used: unused
 *
 * Context: process context, may sleep; the caller has exclusive access to @img.
 *
 * Return: number of slots of the record, 0 if it is free; -EUCLEAN if it is
 * damaged, with the reason in @img->why; -ENOMEM.
 */
int gmfs_inode_load(struct gmfs_image *img, void *slot, unsigned int room,
		    unsigned long *used)
{
	struct gmfs_inode_ser *rec = slot;
	u64 ino = gmfs_record_ino(rec);
	struct gmfs_inode *ci;
	int err;

	if (!rec->ino)
		return 0;
	err = gmfs_inode_check(img, rec, ino);
	if (err)
		return err;

	ci = kzalloc_obj(*ci);
	if (!ci)
		return -ENOMEM;
	ci->ino = ino;
	ci->rec = rec;
	ci->awaited = rec->preserved;
	gmfs_inode_init(ci);
	if (rec->pinned)
		ci->file.inherited = rec->preserved;

	err = xa_insert(&img->inodes, ino, ci, GFP_KERNEL);
	if (err) {
		kfree(ci);
		return err;
	}
	img->nr_inodes++;
	if (rec->flags & GMFS_INODE_PRIVATE)
		img->nr_private++;
	return 1;
}
