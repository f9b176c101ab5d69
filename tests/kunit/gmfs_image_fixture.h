/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An image in ordinary memory, for the suites gmfs-*.
 */
#ifndef _GMFS_IMAGE_FIXTURE_H
#define _GMFS_IMAGE_FIXTURE_H

#include <linux/bitmap.h>
#include <linux/crc32.h>
#include <linux/err.h>
#include <linux/slab.h>

#include <kunit/test.h>

#include "../image.h"
#include "../numa/meta.h"

/**
 * struct gmfs_fixture - an image and its metadata
 * @meta: its metadata blocks, each a chunk of its own
 * @img: the image
 * @test: owns the memory
 * @left: number of metadata blocks that can still be allocated
 * @root: number of the metadata block with the super block
 * @total: blocks of the pool
 * @seam: pool block that is not physically contiguous with the one before it
 */
struct gmfs_fixture {
	struct gmpool_meta meta;
	struct gmfs_image img;
	struct kunit *test;
	u32 left;
	u32 root;
	u64 total;
	u64 seam;
};

static inline int gmfs_fixture_grow(struct gmpool_meta *meta)
{
	struct gmfs_fixture *fx = container_of(meta, struct gmfs_fixture, meta);
	void *mem;

	if (!fx->left)
		return -ENOMEM;
	mem = kunit_kzalloc(fx->test, GMPOOL_META_SIZE, GFP_KERNEL);
	if (!mem)
		return -ENOMEM;
	fx->left--;
	return gmpool_meta_add_chunk(meta, mem, meta->nr, 1, true);
}

static inline bool gmfs_fixture_contiguous(const struct gmfs_image *img,
					   u64 start, u64 count)
{
	const struct gmfs_fixture *fx = img->priv;

	return start >= fx->seam || start + count <= fx->seam;
}

/* An empty image on a pool of @total blocks, whose upper half is a separate range. */
static inline struct gmfs_fixture *gmfs_fixture_new(struct kunit *test,
						    u64 total)
{
	static const u8 uuid[GMPOOL_UUID_SIZE] = "guestmemfs test";
	const struct timespec64 now = { .tv_sec = 1234567890, .tv_nsec = 42 };
	struct gmfs_fixture *fx = kunit_kzalloc(test, sizeof(*fx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, fx);
	fx->test = test;
	fx->left = U32_MAX;
	fx->total = total;
	fx->seam = total / 2;
	gmpool_meta_init(&fx->meta, uuid, gmfs_fixture_grow);
	gmfs_image_init(&fx->img, &fx->meta, total, gmfs_fixture_contiguous,
			fx);
	test->priv = fx;
	KUNIT_ASSERT_EQ(test, gmfs_image_format(&fx->img, &now), 0);
	fx->root = fx->img.super->hdr.mbn;
	return fx;
}

/* Called as kunit_suite.exit. */
static inline void gmfs_fixture_exit(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;

	if (!fx)
		return;
	gmfs_image_destroy(&fx->img);
	gmpool_meta_destroy(&fx->meta);
}

static inline struct gmfs_inode *gmfs_fixture_root(struct gmfs_fixture *fx)
{
	return gmfs_inode_find(&fx->img, fx->img.super->root_ino);
}

/* An inode without a name. */
static inline struct gmfs_inode *gmfs_fixture_ino(struct gmfs_fixture *fx,
						  umode_t mode)
{
	struct gmfs_inode *ci = gmfs_inode_reserve(&fx->img);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(fx->test, ci);
	gmfs_inode_publish(&fx->img, ci, mode);
	return ci;
}

static inline struct gmfs_inode *gmfs_fixture_make(struct gmfs_fixture *fx,
						   struct gmfs_inode *dir,
						   const char *name, umode_t mode)
{
	struct gmfs_inode *ci = gmfs_fixture_ino(fx, mode);

	KUNIT_ASSERT_EQ(fx->test, 0,
			gmfs_dirent_insert(&fx->img, dir, ci, name,
					   strlen(name)));
	return ci;
}

static inline void gmfs_fixture_map(struct gmfs_fixture *fx,
				    struct gmfs_inode *ci, u64 file_block,
				    u64 pool_block, u64 count)
{
	const struct gmpool_range range = { .start = pool_block, .count = count };
	LIST_HEAD(rsv);

	KUNIT_ASSERT_EQ(fx->test, 0, gmfs_extent_reserve(&fx->img, &rsv, 1));
	KUNIT_ASSERT_EQ(fx->test, 0,
			gmfs_extent_insert(&fx->img, ci, &rsv, file_block,
					   &range));
	gmfs_extent_unreserve(&fx->img, &rsv);
}

static inline void gmfs_fixture_xattr(struct gmfs_fixture *fx,
				      struct gmfs_inode *ci, const char *name,
				      const void *value, size_t size)
{
	KUNIT_ASSERT_EQ(fx->test, 0,
			gmfs_attr_set(&fx->img, ci, GMFS_ATTR_XATTR, name,
				      strlen(name), value, size));
}

/* A symbolic link. */
static inline struct gmfs_inode *gmfs_fixture_link(struct gmfs_fixture *fx,
						   struct gmfs_inode *dir,
						   const char *name,
						   const char *target)
{
	struct gmfs_inode *ci = gmfs_fixture_make(fx, dir, name, S_IFLNK | 0777);

	ci->rec->size = strlen(target);
	KUNIT_ASSERT_EQ(fx->test, 0,
			gmfs_attr_set(&fx->img, ci, GMFS_ATTR_TARGET, "", 0,
				      target, strlen(target)));
	return ci;
}

/*
 * Seal as before a kexec, and verify the checksums: they are wrong in a block that
 * was changed without gmfs_dirty().
 */
static inline void gmfs_fixture_seal(struct gmfs_fixture *fx)
{
	const char *wrong;
	u32 mbn;

	gmpool_meta_seal(&fx->meta);
	for (mbn = 0; mbn < fx->meta.nr; mbn++) {
		wrong = gmpool_meta_check(gmpool_meta_block(&fx->meta, mbn),
					  fx->meta.uuid, mbn, false);
		KUNIT_ASSERT_NULL_MSG(fx->test, wrong, "metadata block %u: %s",
				      mbn, wrong ?: "");
	}
}

/* Checksum of the contents of all metadata blocks. */
static inline u32 gmfs_fixture_crc(struct gmfs_fixture *fx)
{
	u32 crc = ~0;
	u32 mbn;

	for (mbn = 0; mbn < fx->meta.nr; mbn++)
		crc = crc32c(crc, gmpool_meta_block(&fx->meta, mbn),
			     GMPOOL_META_SIZE);
	return crc;
}

/* Checksum of an image by its indexes, independent of the place of records. */
static inline u32 gmfs_fixture_digest(struct gmfs_image *img)
{
	struct gmfs_dirent *de;
	struct gmfs_extent *ext;
	struct gmfs_attr *attr;
	struct rb_node *node;
	struct gmfs_inode *ci;
	unsigned long ino;
	unsigned int i;
	u32 crc = ~0;

	crc = crc32c(crc, &img->nr_inodes, sizeof(u64));
	xa_for_each(&img->inodes, ino, ci) {
		crc = crc32c(crc, ci->rec, sizeof(*ci->rec));
		for (attr = gmfs_attr_first(ci); attr;
		     attr = gmfs_attr_next(attr))
			for (i = 0; i < attr->nr; i++)
				crc = crc32c(crc, attr->fragments[i],
					     attr->fragments[i]->nr_slots *
					     GMFS_ATTR_SLOT);
		if (S_ISDIR(ci->rec->mode)) {
			if (ci->dir.parent)
				crc = crc32c(crc, &ci->dir.parent->ino,
					     sizeof(u64));
			crc = crc32c(crc, &ci->dir.nr, sizeof(u64));
			for (de = gmfs_dirent_next(ci, 0); de;
			     de = gmfs_dirent_next(ci, de->rec->cookie + 1))
				crc = crc32c(crc, de->rec, de->rec->nr_slots *
					     GMFS_DIRENT_SLOT);
		} else {
			crc = crc32c(crc, &ci->file.blocks, sizeof(u64));
			for (node = rb_first(&ci->file.extents); node;
			     node = rb_next(node)) {
				ext = rb_entry(node, struct gmfs_extent, node);
				crc = crc32c(crc, ext->rec, sizeof(*ext->rec));
			}
		}
	}
	return crc;
}

/* Load the records into @img, as the next kernel would. */
static inline int gmfs_fixture_load(struct gmfs_fixture *fx,
				    struct gmfs_image *img,
				    unsigned long *used)
{
	unsigned long *map = used;
	int err;

	if (!map)
		map = bitmap_zalloc(fx->total, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fx->test, map);
	gmfs_image_init(img, &fx->meta, fx->total, gmfs_fixture_contiguous, fx);
	err = gmfs_image_load(img, fx->root, map);
	if (!used)
		bitmap_free(map);
	return err;
}

/*
 * Check that the next kernel loads the same image. Pointers to inodes, entries and
 * extents are invalid afterwards.
 */
static inline void gmfs_fixture_reload(struct gmfs_fixture *fx)
{
	struct gmfs_image *img = kunit_kzalloc(fx->test, sizeof(*img),
					       GFP_KERNEL);
	u32 crc, digest = gmfs_fixture_digest(&fx->img);
	int err;

	KUNIT_ASSERT_NOT_NULL(fx->test, img);
	gmfs_fixture_seal(fx);
	crc = gmfs_fixture_crc(fx);
	err = gmfs_fixture_load(fx, img, NULL);
	KUNIT_EXPECT_EQ_MSG(fx->test, err, 0, "%s", img->why);
	KUNIT_EXPECT_EQ(fx->test, crc, gmfs_fixture_crc(fx));
	if (!err)
		KUNIT_EXPECT_EQ(fx->test, digest, gmfs_fixture_digest(img));
	gmfs_image_destroy(img);
	KUNIT_ASSERT_EQ(fx->test, err, 0);

	gmfs_image_destroy(&fx->img);
	KUNIT_ASSERT_EQ(fx->test, 0, gmfs_fixture_load(fx, &fx->img, NULL));
	kunit_kfree(fx->test, img);
}

#endif /* _GMFS_IMAGE_FIXTURE_H */
