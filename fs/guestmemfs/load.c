// SPDX-License-Identifier: GPL-2.0
/*
 * An image as a whole: make an empty one, load and check one that was handed over,
 * and free the indexes of either.
 */

#include <linux/err.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "image.h"

/* Marks the inodes without a name in gmfs_image.inodes. */
#define GMFS_ORPHAN	XA_MARK_0

/**
 * gmfs_image_destroy - free all indexes of an image
 * @img: initialized by gmfs_image_init(); loading it may have failed
 *
 * Does not change the records.
 *
 * Context: process context, may sleep; the caller has exclusive access to @img.
 */
void gmfs_image_destroy(struct gmfs_image *img)
{
	struct gmfs_inode *ci;
	unsigned long index;

	xa_for_each(&img->inodes, index, ci) {
		gmfs_attr_forget(ci);
		if (S_ISDIR(ci->rec->mode))
			gmfs_dirent_forget(ci);
		else
			gmfs_extent_forget(ci);
		kfree(ci);
	}
	xa_destroy(&img->inodes);
	gmfs_spaces_forget(img);
	mutex_destroy(&img->lock);
}

/* Fail if there are records of a file system, although the pool has no root. */
static int gmfs_check_unused(struct gmfs_image *img)
{
	static const u16 types[] = {
		GMFS_META_SUPER, GMFS_META_INODES, GMFS_META_DIRENTS,
		GMFS_META_EXTENTS, GMFS_META_ATTRS,
	};
	struct gmpool_meta_ser *hdr;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		hdr = gmpool_meta_next(img->meta, types[i], NULL);
		if (hdr)
			return gmfs_image_bad(img, "metadata block %u has no file system",
					      hdr->mbn);
	}
	return 0;
}

/**
 * gmfs_image_format - make an empty file system
 * @img: initialized by gmfs_image_init()
 * @now: times of its root directory
 *
 * Sets @img->super to its super block. The caller makes it the root of the pool by
 * gmpool_set_root().
 *
 * Context: process context, may sleep, within an operation; the caller has
 * exclusive access to @img.
 *
 * Return: 0; -EUCLEAN if there are records already, with the reason in @img->why;
 * -ENOSPC if the metadata cannot grow; -ENOMEM. On an error, nothing has changed.
 */
int gmfs_image_format(struct gmfs_image *img, const struct timespec64 *now)
{
	struct gmpool_meta_ser *hdr;
	struct gmfs_inode_ser *rec;
	struct gmfs_inode *root;
	int err;

	err = gmfs_check_unused(img);
	if (err)
		return err;
	hdr = gmpool_meta_alloc(img->meta, GMFS_META_SUPER);
	if (IS_ERR(hdr))
		return PTR_ERR(hdr) == -ENOMEM ? -ENOSPC : PTR_ERR(hdr);
	img->super = container_of(hdr, struct gmfs_super_ser, hdr);
	img->super->version = GMFS_VERSION;
	img->super->next_cookie = 1;

	root = gmfs_inode_reserve(img);
	if (IS_ERR(root)) {
		err = PTR_ERR(root);
		goto err_super;
	}
	gmfs_inode_publish(img, root, S_IFDIR | GMFS_ROOT_MODE);
	root->dir.parent = root;
	rec = root->rec;
	rec->nlink = 2;
	rec->atime_sec = now->tv_sec;
	rec->mtime_sec = now->tv_sec;
	rec->ctime_sec = now->tv_sec;
	rec->btime_sec = now->tv_sec;
	rec->atime_nsec = now->tv_nsec;
	rec->mtime_nsec = now->tv_nsec;
	rec->ctime_nsec = now->tv_nsec;
	rec->btime_nsec = now->tv_nsec;
	gmfs_dirty(img, rec);

	img->super->root_ino = root->ino;
	gmfs_dirty(img, img->super);
	return 0;

err_super:
	gmpool_meta_free(img->meta, hdr);
	img->super = NULL;
	return err;
}

static int gmfs_unsupported(struct gmfs_image *img, const char *what, u64 value)
{
	gmfs_image_bad(img, "super block: %s %#llx is not supported", what,
		       value);
	return -EOPNOTSUPP;
}

static int gmfs_super_load(struct gmfs_image *img, u32 root)
{
	struct gmpool_meta_ser *hdr = gmpool_meta_block(img->meta, root);
	struct gmpool_meta_ser *at = NULL;
	struct gmfs_super_ser *super;

	if (!hdr || hdr->type != GMFS_META_SUPER)
		return gmfs_image_bad(img, "super block: not in metadata block %u",
				      root);
	while ((at = gmpool_meta_next(img->meta, GMFS_META_SUPER, at)))
		if (at != hdr)
			return gmfs_image_bad(img, "super block: metadata block %u is a second one",
					      at->mbn);

	super = container_of(hdr, struct gmfs_super_ser, hdr);
	if (super->version != GMFS_VERSION)
		return gmfs_unsupported(img, "version", super->version);
	if (super->feature_incompat & ~GMFS_FEATURE_INCOMPAT_ALL)
		return gmfs_unsupported(img, "feature",
					super->feature_incompat);
	if (super->feature_ro_compat & ~GMFS_FEATURE_RO_COMPAT_ALL)
		img->read_only = true;
	if (img->read_only ||
	    super->feature_compat & ~GMFS_FEATURE_COMPAT_ALL)
		img->lenient = true;

	if (super->next_cookie > GMFS_COOKIE_MAX)
		return gmfs_image_bad(img, "super block: next cookie is %llu",
				      super->next_cookie);
	if (!img->lenient &&
	    (super->reserved0 ||
	     memchr_inv(super->reserved1, 0, sizeof(super->reserved1))))
		return gmfs_image_bad(img, "super block: reserved field");
	img->super = super;
	return 0;
}

static int gmfs_root_load(struct gmfs_image *img)
{
	u64 ino = img->super->root_ino;
	struct gmfs_inode *root = gmfs_inode_find(img, ino);

	if (!root || !S_ISDIR(root->rec->mode))
		return gmfs_image_bad(img, "super block: root inode %llu is no directory",
				      ino);
	root->dir.parent = root;
	return 0;
}

static int gmfs_attrs_check(struct gmfs_image *img)
{
	struct gmfs_inode *ci;
	unsigned long ino;
	int err;

	xa_for_each(&img->inodes, ino, ci) {
		err = gmfs_attr_check(img, ci);
		if (err)
			return err;
	}
	return 0;
}

static int gmfs_links_check(struct gmfs_image *img)
{
	struct gmfs_inode *ci;
	unsigned long ino;
	u64 links;

	xa_for_each(&img->inodes, ino, ci) {
		if (!S_ISDIR(ci->rec->mode))
			links = ci->links;
		else if (ci->dir.parent)
			links = ci->links + 2;
		else if (!ci->dir.nr)
			links = 0;
		else
			return gmfs_image_bad(img, "inode %llu: directory has entries and no name",
					      ci->ino);
		if (ci->rec->nlink != links)
			return gmfs_image_bad(img, "inode %llu: %u links, should be %llu",
					      ci->ino, ci->rec->nlink, links);
		if (!links)
			xa_set_mark(&img->inodes, ino, GMFS_ORPHAN);
	}
	return 0;
}

enum {
	VISIT_NONE,
	VISIT_NOW,
	VISIT_DONE,
};

/*
 * Find directories that are below themselves: their chain of parents does not end
 * at the root. The walk up stops at a directory that is known to lead to the root,
 * so each directory is visited once.
 */
static int gmfs_tree_check(struct gmfs_image *img)
{
	struct gmfs_inode *ci, *up;
	unsigned long ino;

	up = gmfs_inode_find(img, img->super->root_ino);
	up->visit = VISIT_DONE;

	xa_for_each(&img->inodes, ino, ci) {
		if (!S_ISDIR(ci->rec->mode) || !ci->dir.parent)
			continue;
		for (up = ci; up->visit == VISIT_NONE; up = up->dir.parent)
			up->visit = VISIT_NOW;
		if (up->visit == VISIT_NOW)
			return gmfs_image_bad(img, "inode %llu: directory is below itself",
					      up->ino);
		for (up = ci; up->visit == VISIT_NOW; up = up->dir.parent)
			up->visit = VISIT_DONE;
		cond_resched();
	}
	return 0;
}

/**
 * gmfs_image_load - load a handed-over file system
 * @img: initialized by gmfs_image_init()
 * @root: number of the metadata block of its super block
 * @used: bitmap of pool blocks, zeroed; the blocks of files are set in it, so that
 *	the caller can compare it with the bitmap of the pool
 *
 * Checks every record and changes none. The caller has checked the headers of the
 * metadata blocks by gmpool_meta_check(). After an error, only
 * gmfs_image_destroy() may be called for @img.
 *
 * Context: process context, may sleep; the caller has exclusive access to @img.
 *
 * Return: 0; -EUCLEAN if the file system is damaged; -EOPNOTSUPP if this kernel
 * does not support its version or a feature; -ENOMEM. The reason is in @img->why.
 */
int gmfs_image_load(struct gmfs_image *img, u32 root, unsigned long *used)
{
	int err;

	err = gmfs_super_load(img, root);
	if (!err)
		err = gmfs_space_load(img, &img->itable, gmfs_inode_load, used);
	if (!err)
		err = gmfs_root_load(img);
	if (!err)
		err = gmfs_space_load(img, &img->dirents, gmfs_dirent_load,
				      used);
	if (!err)
		err = gmfs_space_load(img, &img->extents, gmfs_extent_load,
				      used);
	if (!err)
		err = gmfs_space_load(img, &img->attrs, gmfs_attr_load, used);
	if (!err)
		err = gmfs_attrs_check(img);
	if (!err)
		err = gmfs_links_check(img);
	if (!err)
		err = gmfs_tree_check(img);
	if (err == -ENOMEM)
		strscpy(img->why, "not enough memory to load it");
	return err;
}

/**
 * gmfs_image_orphan - find an inode that has no name
 * @img: the image
 *
 * Such a file or directory was deleted while it was in use, and the previous kernel
 * ended before it could free it.
 *
 * Context: process context; the caller has exclusive access to @img.
 *
 * Return: an inode without links that gmfs_image_load() found and that has not
 * been freed since, or NULL.
 */
struct gmfs_inode *gmfs_image_orphan(struct gmfs_image *img)
{
	unsigned long ino = 0;

	return xa_find(&img->inodes, &ino, ULONG_MAX, GMFS_ORPHAN);
}

/**
 * gmfs_image_await - keep inodes of open files that the previous kernel preserved
 * @img: the image
 * @await: keep them until LUO has retrieved or finished the files; if false, they
 *	are treated as all other inodes
 *
 * gmfs_image_orphan() does not return an awaited inode. Clears gmfs_inode_ser.preserved
 * and gmfs_inode_ser.pinned: the files were preserved and pinned for this kernel
 * only.
 *
 * Context: process context, within an operation; the caller has exclusive access to
 * @img.
 */
void gmfs_image_await(struct gmfs_image *img, bool await)
{
	struct gmfs_inode *ci;
	unsigned long ino;

	xa_for_each(&img->inodes, ino, ci) {
		if (!ci->awaited)
			continue;
		ci->rec->preserved = 0;
		ci->rec->pinned = 0;
		gmfs_dirty(img, ci->rec);
		if (await) {
			xa_clear_mark(&img->inodes, ino, GMFS_ORPHAN);
			continue;
		}
		ci->awaited = 0;
		if (S_ISREG(ci->rec->mode))
			ci->file.inherited = 0;
	}
	if (img->super->feature_ro_compat & GMFS_FEATURE_RO_COMPAT_PINNED) {
		img->super->feature_ro_compat &= ~GMFS_FEATURE_RO_COMPAT_PINNED;
		gmfs_dirty(img, img->super);
	}
}
