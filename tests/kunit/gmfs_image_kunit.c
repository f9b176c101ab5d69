// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of making and loading an image: records are loaded unchanged, and
 * damaged records are refused.
 */

#include <linux/moduleparam.h>

#include "gmfs_image_fixture.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define POOL_BLOCKS	512
#define SEAM		(POOL_BLOCKS / 2)

#define MODE_FILE	(S_IFREG | 0640)
#define MODE_DIR	(S_IFDIR | 0750)

#define SMALL_NAME	"user.small"
#define TWIN_NAME	"user.twin!"	/* same length as SMALL_NAME */
#define BIG_NAME	"user.big"
#define BIG_SIZE	9000		/* three fragments */

#define LONG_NAME	"a name that is too long for a single slot of 64 bytes"

/**
 * struct tree - an image with a record of each kind
 * @root: the root directory
 * @dir: "dir"
 * @below: "dir/below"
 * @file: "file", also "dir/below/" LONG_NAME, with two extents and three
 *	attributes
 * @link: "link", symbolic
 * @dev: "dev", a device
 * @orphan: a file without a name, with an extent
 * @dead: a directory without a name
 */
struct tree {
	struct gmfs_inode *root;
	struct gmfs_inode *dir;
	struct gmfs_inode *below;
	struct gmfs_inode *file;
	struct gmfs_inode *link;
	struct gmfs_inode *dev;
	struct gmfs_inode *orphan;
	struct gmfs_inode *dead;
};

static int image_init(struct kunit *test)
{
	gmfs_fixture_new(test, POOL_BLOCKS);
	return 0;
}

static void plant(struct gmfs_fixture *fx, struct tree *tree)
{
	u8 *big = kunit_kzalloc(fx->test, BIG_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, big);
	memset(big, 'x', BIG_SIZE);
	tree->root = gmfs_fixture_root(fx);
	tree->dir = gmfs_fixture_make(fx, tree->root, "dir", MODE_DIR);
	tree->below = gmfs_fixture_make(fx, tree->dir, "below", MODE_DIR);
	tree->file = gmfs_fixture_make(fx, tree->root, "file", MODE_FILE);
	KUNIT_ASSERT_EQ(fx->test, 0,
			gmfs_dirent_insert(&fx->img, tree->below, tree->file,
					   LONG_NAME, strlen(LONG_NAME)));
	tree->file->rec->size = 12345678;
	tree->file->rec->uid = 1000;
	tree->file->rec->mtime_sec = -1;
	tree->file->rec->mtime_nsec = 999999999;
	gmfs_fixture_map(fx, tree->file, 0, 10, 5);
	gmfs_fixture_map(fx, tree->file, 8, SEAM, 3);
	gmfs_fixture_xattr(fx, tree->file, SMALL_NAME, "1", 1);
	gmfs_fixture_xattr(fx, tree->file, TWIN_NAME, "", 0);
	gmfs_fixture_xattr(fx, tree->file, BIG_NAME, big, BIG_SIZE);
	tree->link = gmfs_fixture_link(fx, tree->root, "link", "to/there");
	tree->dev = gmfs_fixture_make(fx, tree->root, "dev", S_IFCHR | 0600);
	tree->dev->rec->rdev = GMFS_RDEV(1, 3);
	tree->orphan = gmfs_fixture_ino(fx, MODE_FILE);
	gmfs_fixture_map(fx, tree->orphan, 7, 100, 1);
	tree->dead = gmfs_fixture_ino(fx, MODE_DIR);
	gmfs_fixture_seal(fx);
}

static struct gmfs_dirent_ser *dirent(struct gmfs_inode *dir, const char *name)
{
	return gmfs_dirent_find(dir, name, strlen(name))->rec;
}

static struct gmfs_extent_ser *extent(struct gmfs_inode *ci, bool last)
{
	struct rb_node *node = last ? rb_last(&ci->file.extents) :
				      rb_first(&ci->file.extents);

	return rb_entry(node, struct gmfs_extent, node)->rec;
}

static struct gmfs_attr_ser *fragment(struct gmfs_inode *ci, u8 kind,
				      const char *name, unsigned int nr)
{
	return gmfs_attr_find(ci, kind, name, strlen(name))->fragments[nr];
}

static void image_empty(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	int i;

	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_NOT_NULL(test, root);
		KUNIT_EXPECT_EQ(test, root->rec->mode, S_IFDIR | 0755);
		KUNIT_EXPECT_EQ(test, root->rec->nlink, 2);
		KUNIT_EXPECT_EQ(test, root->rec->uid, 0);
		KUNIT_EXPECT_EQ(test, root->rec->gid, 0);
		KUNIT_EXPECT_EQ(test, root->rec->mtime_sec, 1234567890);
		KUNIT_EXPECT_EQ(test, root->rec->btime_nsec, 42);
		KUNIT_EXPECT_EQ(test, root->dir.nr, 0);
		KUNIT_EXPECT_PTR_EQ(test, root->dir.parent, root);
		KUNIT_EXPECT_NULL(test, gmfs_image_orphan(&fx->img));
		KUNIT_EXPECT_FALSE(test, fx->img.read_only);
		gmfs_fixture_reload(fx);
		root = gmfs_fixture_root(fx);
	}
}

/* If the metadata cannot grow, no image is made and no record is left. */
static void image_format_exhaustion(struct kunit *test)
{
	const struct timespec64 now = {};
	struct gmfs_fixture *fx = kunit_kzalloc(test, sizeof(*fx), GFP_KERNEL);
	u32 left;

	KUNIT_ASSERT_NOT_NULL(test, fx);
	fx->test = test;
	gmpool_meta_init(&fx->meta, (const u8 *)"guestmemfs test",
			 gmfs_fixture_grow);
	for (left = 0; left < 2; left++) {
		fx->left = left;
		gmfs_image_init(&fx->img, &fx->meta, POOL_BLOCKS,
				gmfs_fixture_contiguous, fx);
		KUNIT_EXPECT_EQ(test, gmfs_image_format(&fx->img, &now), -ENOSPC);
		gmfs_image_destroy(&fx->img);
		KUNIT_EXPECT_EQ(test, fx->meta.nr_free, left);
	}
	gmpool_meta_destroy(&fx->meta);
}

/* Formatting fails and changes nothing if there are records already. */
static void image_format_twice(struct kunit *test)
{
	const struct timespec64 now = {};
	struct gmfs_fixture *fx = test->priv;
	struct gmpool_meta_ser *super = &fx->img.super->hdr;
	struct gmfs_image *img;
	u32 crc;
	int i;

	img = kunit_kzalloc(test, sizeof(*img), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, img);
	/* With all records, and with those left if the super block is lost. */
	for (i = 0; i < 2; i++) {
		crc = gmfs_fixture_crc(fx);
		gmfs_image_init(img, &fx->meta, POOL_BLOCKS,
				gmfs_fixture_contiguous, fx);
		KUNIT_EXPECT_EQ(test, gmfs_image_format(img, &now), -EUCLEAN);
		KUNIT_EXPECT_NOT_NULL(test, strstr(img->why, "has no file system"));
		gmfs_image_destroy(img);
		KUNIT_EXPECT_EQ(test, crc, gmfs_fixture_crc(fx));
		super->type = GMPOOL_META_FREE;
	}
	super->type = GMFS_META_SUPER;
	gmfs_fixture_reload(fx);
}

static void image_round_trip(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	unsigned long *used;
	struct tree tree;
	u64 file;

	used = kunit_kcalloc(test, BITS_TO_LONGS(POOL_BLOCKS), sizeof(long),
			     GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, used);
	plant(fx, &tree);
	file = tree.file->ino;
	gmfs_fixture_reload(fx);

	gmfs_image_destroy(&fx->img);
	KUNIT_ASSERT_EQ(test, gmfs_fixture_load(fx, &fx->img, used), 0);
	KUNIT_EXPECT_EQ(test, bitmap_weight(used, POOL_BLOCKS), 5 + 3 + 1);
	KUNIT_EXPECT_EQ(test, find_first_bit(used, POOL_BLOCKS), 10);
	KUNIT_EXPECT_TRUE(test, test_bit(SEAM + 2, used));
	KUNIT_EXPECT_TRUE(test, test_bit(100, used));

	tree.file = gmfs_inode_find(&fx->img, file);
	KUNIT_ASSERT_NOT_NULL(test, tree.file);
	KUNIT_EXPECT_EQ(test, tree.file->rec->size, 12345678);
	KUNIT_EXPECT_EQ(test, tree.file->rec->mtime_sec, -1);
	KUNIT_EXPECT_EQ(test, tree.file->rec->nlink, 2);
	KUNIT_EXPECT_EQ(test, tree.file->file.blocks, 8);
}

/* Only files that were deleted while open are orphans. */
static void image_orphans(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci, *found[3];
	struct tree tree;
	u64 orphan, dead;
	LIST_HEAD(none);
	int nr;

	plant(fx, &tree);
	orphan = tree.orphan->ino;
	dead = tree.dead->ino;
	gmfs_fixture_reload(fx);

	for (nr = 0; nr < 3; nr++) {
		struct gmpool_range range;

		ci = gmfs_image_orphan(&fx->img);
		if (!ci)
			break;
		found[nr] = ci;
		KUNIT_EXPECT_TRUE(test, ci->ino == orphan || ci->ino == dead);
		if (ci->ino == orphan) {
			KUNIT_EXPECT_EQ(test, 1,
					gmfs_extent_cut(&fx->img, ci, &none, 0,
							GMFS_MAX_BLOCKS, &range));
			KUNIT_EXPECT_EQ(test, range.start, 100);
			KUNIT_EXPECT_EQ(test, range.count, 1);
		}
		gmfs_inode_free(&fx->img, ci);
	}
	KUNIT_EXPECT_EQ(test, nr, 2);
	KUNIT_EXPECT_PTR_NE(test, found[0], found[1]);
	gmfs_fixture_reload(fx);
	KUNIT_EXPECT_NULL(test, gmfs_image_orphan(&fx->img));
	KUNIT_EXPECT_NULL(test, gmfs_inode_find(&fx->img, orphan));
}

/* A file that LUO preserved is no orphan while it is awaited. */
static void image_await(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci;
	struct tree tree;
	u64 orphan, file;
	int await;

	plant(fx, &tree);
	orphan = tree.orphan->ino;
	file = tree.file->ino;
	for (await = 1; await >= 0; await--) {
		ci = gmfs_inode_find(&fx->img, file);
		ci->rec->preserved = 1;
		gmfs_dirty(&fx->img, ci->rec);
		ci = gmfs_inode_find(&fx->img, orphan);
		ci->rec->preserved = 3;
		gmfs_dirty(&fx->img, ci->rec);
		gmfs_fixture_reload(fx);
		gmfs_image_await(&fx->img, await);

		ci = gmfs_inode_find(&fx->img, orphan);
		KUNIT_EXPECT_EQ(test, ci->awaited, await ? 3 : 0);
		KUNIT_EXPECT_EQ(test, ci->rec->preserved, 0);
		ci = gmfs_inode_find(&fx->img, file);
		KUNIT_EXPECT_EQ(test, ci->awaited, await ? 1 : 0);
		KUNIT_EXPECT_EQ(test, ci->rec->preserved, 0);

		/* Of the two inodes without a name, one is awaited. */
		ci = gmfs_image_orphan(&fx->img);
		KUNIT_ASSERT_NOT_NULL(test, ci);
		if (await)
			KUNIT_EXPECT_NE(test, ci->ino, orphan);
		/* The record of the inode no longer says that it is preserved. */
		gmfs_fixture_reload(fx);
		KUNIT_EXPECT_EQ(test, gmfs_inode_find(&fx->img, orphan)->awaited, 0);
	}
}

/* Load the damaged image, and check the errno and the reason. */
static void expect_load(struct kunit *test, const char *name, int want,
			const char *why)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_image *img;
	unsigned long mbn;
	void *hdr;
	u32 crc;
	int err;

	img = kunit_kzalloc(test, sizeof(*img), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, img);

	/* The pool checks checksums, the image does not: they are right here. */
	xa_for_each(&fx->meta.blocks, mbn, hdr)
		gmpool_meta_dirty(&fx->meta, hdr);
	gmfs_fixture_seal(fx);
	crc = gmfs_fixture_crc(fx);

	err = gmfs_fixture_load(fx, img, NULL);
	KUNIT_EXPECT_EQ_MSG(test, err, want, "%s: \"%s\"", name, img->why);
	if (why)
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(img->why, why),
					  "%s: \"%s\" lacks \"%s\"", name,
					  img->why, why);
	else
		KUNIT_EXPECT_STREQ_MSG(test, img->why, "", "%s", name);
	KUNIT_EXPECT_EQ_MSG(test, crc, gmfs_fixture_crc(fx),
			    "%s: loading has changed something", name);
	gmfs_image_destroy(img);
	kunit_kfree(test, img);
}

/* Records of struct tree in which a field is changed. */
enum record {
	SUPER,
	ROOT,		/* inodes */
	DIR,
	FILE,
	ORPHAN,
	DIR_NAME,	/* directory entries: "dir" */
	FILE_NAME,	/* "file" */
	LONG,		/* LONG_NAME */
	FIRST,		/* extents of the file */
	LAST,
	LINK,		/* inodes again */
	DEV,
	SMALL,		/* attributes of the file */
	TWIN,
	BIG,		/* its first fragment */
	BIG2,
	BIG3,
	TARGET,		/* of the link */
};

static void *record_of(const struct gmfs_fixture *fx, const struct tree *tree,
		       enum record which)
{
	switch (which) {
	case SUPER:
		return fx->img.super;
	case ROOT:
		return tree->root->rec;
	case DIR:
		return tree->dir->rec;
	case FILE:
		return tree->file->rec;
	case ORPHAN:
		return tree->orphan->rec;
	case DIR_NAME:
		return dirent(tree->root, "dir");
	case FILE_NAME:
		return dirent(tree->root, "file");
	case LONG:
		return dirent(tree->below, LONG_NAME);
	case FIRST:
		return extent(tree->file, false);
	case LAST:
		return extent(tree->file, true);
	case LINK:
		return tree->link->rec;
	case DEV:
		return tree->dev->rec;
	case SMALL:
		return fragment(tree->file, GMFS_ATTR_XATTR, SMALL_NAME, 0);
	case TWIN:
		return fragment(tree->file, GMFS_ATTR_XATTR, TWIN_NAME, 0);
	case BIG:
		return fragment(tree->file, GMFS_ATTR_XATTR, BIG_NAME, 0);
	case BIG2:
		return fragment(tree->file, GMFS_ATTR_XATTR, BIG_NAME, 1);
	case BIG3:
		return fragment(tree->file, GMFS_ATTR_XATTR, BIG_NAME, 2);
	case TARGET:
		return fragment(tree->link, GMFS_ATTR_TARGET, "", 0);
	}
	return NULL;
}

/**
 * struct field_case - a field with an invalid value
 * @name: for the log
 * @record: the record
 * @offset: of the field
 * @size: of the field
 * @value: the invalid value
 * @err: what gmfs_image_load() returns
 * @why: part of the expected reason
 */
struct field_case {
	const char *name;
	enum record record;
	size_t offset;
	size_t size;
	u64 value;
	int err;
	const char *why;
};

#define FIELD(rec, type, field, bytes, val, error, text)		\
	{								\
		.name = #rec "." #field " = " #val,			\
		.record = rec,						\
		.offset = offsetof(struct gmfs_##type##_ser, field),	\
		.size = (bytes),					\
		.value = (val),						\
		.err = (error),						\
		.why = (text),						\
	}

/* A byte in an array. */
#define BYTE(rec, type, field, nr, val, error, text)			\
	{								\
		.name = #rec "." #field "[" #nr "] = " #val,		\
		.record = rec,						\
		.offset = offsetof(struct gmfs_##type##_ser, field) + (nr), \
		.size = 1,						\
		.value = (val),						\
		.err = (error),						\
		.why = (text),						\
	}

/* No valid inode number or number of blocks. */
#define NOWHERE		BIT_ULL(60)

static const struct field_case fields[] = {
	FIELD(SUPER, super, version, 4, 0, -EOPNOTSUPP, "version"),
	FIELD(SUPER, super, version, 4, GMFS_VERSION + 1, -EOPNOTSUPP, "version"),
	FIELD(SUPER, super, reserved0, 4, 1, -EUCLEAN, "reserved"),
	FIELD(SUPER, super, feature_incompat, 8, 2, -EOPNOTSUPP, "feature 0x2"),
	FIELD(SUPER, super, feature_incompat, 8, BIT_ULL(63), -EOPNOTSUPP,
	      "feature"),
	FIELD(SUPER, super, root_ino, 8, 0, -EUCLEAN, "root inode 0"),
	FIELD(SUPER, super, root_ino, 8, NOWHERE, -EUCLEAN, "root inode"),
	FIELD(SUPER, super, next_cookie, 8, 0, -EUCLEAN, "cookie"),
	FIELD(SUPER, super, next_cookie, 8, 4, -EUCLEAN, "cookie"),
	FIELD(SUPER, super, next_cookie, 8, GMFS_COOKIE_MAX + 1, -EUCLEAN,
	      "cookie"),
	FIELD(SUPER, super, next_cookie, 8, U64_MAX, -EUCLEAN, "cookie"),
	BYTE(SUPER, super, reserved1, 0, 1, -EUCLEAN, "reserved"),
	BYTE(SUPER, super, reserved1, 3983, 128, -EUCLEAN, "reserved"),

	FIELD(FILE, inode, ino, 8, 0, -EUCLEAN, "no such inode"),
	FIELD(FILE, inode, ino, 8, 16, -EUCLEAN, "number"),
	FIELD(FILE, inode, ino, 8, NOWHERE, -EUCLEAN, "number"),
	FIELD(DIR, inode, ino, 8, 0, -EUCLEAN, "entry"),
	FIELD(ROOT, inode, ino, 8, 0, -EUCLEAN, "root inode"),
	FIELD(FILE, inode, mode, 4, 0, -EUCLEAN, "mode"),
	FIELD(FILE, inode, mode, 4, 0640, -EUCLEAN, "mode 0640"),
	FIELD(FILE, inode, mode, 4, S_IFMT, -EUCLEAN, "mode 0170000"),
	FIELD(FILE, inode, mode, 4, S_IFLNK | 0777, -EUCLEAN, "size"),
	FIELD(FILE, inode, mode, 4, S_IFCHR | 0600, -EUCLEAN, "size"),
	FIELD(FILE, inode, mode, 4, S_IFSOCK | 0600, -EUCLEAN, "size"),
	FIELD(ORPHAN, inode, mode, 4, S_IFLNK | 0777, -EUCLEAN, "no such file"),
	FIELD(ORPHAN, inode, mode, 4, S_IFIFO | 0600, -EUCLEAN, "no such file"),
	FIELD(LINK, inode, mode, 4, MODE_FILE, -EUCLEAN, "type"),
	FIELD(DEV, inode, mode, 4, S_IFIFO | 0600, -EUCLEAN, "device number"),
	FIELD(FILE, inode, mode, 4, MODE_FILE | 0x10000, -EUCLEAN, "mode"),
	FIELD(FILE, inode, mode, 4, MODE_FILE | BIT(31), -EUCLEAN, "mode"),
	FIELD(DIR, inode, mode, 4, MODE_FILE, -EUCLEAN, ""),
	FIELD(ROOT, inode, mode, 4, MODE_FILE, -EUCLEAN, "root inode"),
	FIELD(ORPHAN, inode, mode, 4, MODE_DIR, -EUCLEAN, "no such file"),
	FIELD(FILE, inode, uid, 4, U32_MAX, -EUCLEAN, "owner"),
	FIELD(FILE, inode, gid, 4, U32_MAX, -EUCLEAN, "owner"),
	FIELD(FILE, inode, nlink, 4, 0, -EUCLEAN, "0 links, should be 2"),
	FIELD(FILE, inode, nlink, 4, 1, -EUCLEAN, "1 links, should be 2"),
	FIELD(FILE, inode, nlink, 4, U32_MAX, -EUCLEAN, "should be 2"),
	FIELD(DIR, inode, nlink, 4, 0, -EUCLEAN, "0 links, should be 3"),
	FIELD(DIR, inode, nlink, 4, 2, -EUCLEAN, "2 links, should be 3"),
	FIELD(ROOT, inode, nlink, 4, 2, -EUCLEAN, "2 links, should be 3"),
	FIELD(ORPHAN, inode, nlink, 4, 1, -EUCLEAN, "1 links, should be 0"),
	FIELD(FILE, inode, flags, 4, GMFS_INODE_PRIVATE, -EUCLEAN, "without the feature"),
	FIELD(FILE, inode, flags, 4, 0x20, -EUCLEAN, "flags 0x20"),
	FIELD(FILE, inode, flags, 4, BIT(31), -EUCLEAN, "flags"),
	FIELD(DIR, inode, preserved, 4, 1, -EUCLEAN, "preserved"),
	FIELD(LINK, inode, preserved, 4, 1, -EUCLEAN, "preserved"),
	FIELD(DEV, inode, preserved, 4, U32_MAX, -EUCLEAN, "preserved"),
	FIELD(FILE, inode, pinned, 4, 1, -EUCLEAN, "pinned is 1, preserved 0"),
	FIELD(DIR, inode, pinned, 4, 1, -EUCLEAN, "pinned"),
	FIELD(FILE, inode, size, 8, GMFS_MAX_SIZE + 1, -EUCLEAN, "size"),
	FIELD(FILE, inode, size, 8, U64_MAX, -EUCLEAN, "size"),
	FIELD(DIR, inode, size, 8, 1, -EUCLEAN, "size 1"),
	FIELD(FILE, inode, rdev, 8, 1, -EUCLEAN, "device"),
	FIELD(DIR, inode, rdev, 8, 1, -EUCLEAN, "device"),
	FIELD(DEV, inode, rdev, 8, GMFS_RDEV(4096, 0), -EUCLEAN, "device"),
	FIELD(DEV, inode, rdev, 8, GMFS_RDEV(1, 1 << 20), -EUCLEAN, "device"),
	FIELD(DEV, inode, size, 8, 1, -EUCLEAN, "size 1"),
	FIELD(LINK, inode, size, 8, 0, -EUCLEAN, "not this link's"),
	FIELD(LINK, inode, size, 8, 9, -EUCLEAN, "not this link's"),
	FIELD(LINK, inode, size, 8, GMFS_TARGET_MAX + 1, -EUCLEAN, "size"),
	FIELD(FILE, inode, atime_nsec, 4, NSEC_PER_SEC, -EUCLEAN, "nanoseconds"),
	FIELD(FILE, inode, mtime_nsec, 4, NSEC_PER_SEC, -EUCLEAN, "nanoseconds"),
	FIELD(FILE, inode, ctime_nsec, 4, NSEC_PER_SEC, -EUCLEAN, "nanoseconds"),
	FIELD(FILE, inode, btime_nsec, 4, U32_MAX, -EUCLEAN, "nanoseconds"),
	BYTE(FILE, inode, reserved1, 0, 1, -EUCLEAN, "reserved"),
	BYTE(FILE, inode, reserved1, 151, 1, -EUCLEAN, "reserved"),

	FIELD(FILE_NAME, dirent, parent, 8, 0, -EUCLEAN, "links, should be 1"),
	FIELD(DIR_NAME, dirent, parent, 8, 0, -EUCLEAN, "links, should be 2"),
	FIELD(FILE_NAME, dirent, parent, 8, 7, -EUCLEAN, "no such directory"),
	FIELD(FILE_NAME, dirent, parent, 8, NOWHERE, -EUCLEAN,
	      "no such directory"),
	FIELD(FILE_NAME, dirent, ino, 8, 0, -EUCLEAN, "no such inode"),
	FIELD(FILE_NAME, dirent, ino, 8, NOWHERE, -EUCLEAN, "no such inode"),
	FIELD(FILE_NAME, dirent, cookie, 8, U64_MAX, -EUCLEAN, "cookie"),
	FIELD(FILE_NAME, dirent, name_len, 2, 0, -EUCLEAN, "length"),
	FIELD(FILE_NAME, dirent, name_len, 2, 3, -EUCLEAN, "more than the name"),
	FIELD(FILE_NAME, dirent, name_len, 2, 5, -EUCLEAN, "not a name"),
	FIELD(FILE_NAME, dirent, name_len, 2, 33, -EUCLEAN, "slots"),
	FIELD(FILE_NAME, dirent, name_len, 2, 256, -EUCLEAN, "length"),
	FIELD(FILE_NAME, dirent, name_len, 2, U16_MAX, -EUCLEAN, "length"),
	FIELD(FILE_NAME, dirent, type, 1, 0, -EUCLEAN, "type"),
	FIELD(FILE_NAME, dirent, type, 1, S_IFDIR >> 12, -EUCLEAN, "type"),
	FIELD(DIR_NAME, dirent, type, 1, S_IFREG >> 12, -EUCLEAN, "type"),
	FIELD(FILE_NAME, dirent, nr_slots, 1, 0, -EUCLEAN, "slots"),
	FIELD(FILE_NAME, dirent, nr_slots, 1, 2, -EUCLEAN, "slots"),
	FIELD(FILE_NAME, dirent, nr_slots, 1, 255, -EUCLEAN, "slots"),
	FIELD(LONG, dirent, nr_slots, 1, 1, -EUCLEAN, "slots"),
	FIELD(FILE_NAME, dirent, reserved, 4, 1, -EUCLEAN, "reserved"),
	BYTE(FILE_NAME, dirent, name, 0, '/', -EUCLEAN, "not a name"),
	BYTE(FILE_NAME, dirent, name, 3, '/', -EUCLEAN, "not a name"),
	BYTE(FILE_NAME, dirent, name, 0, 0, -EUCLEAN, "not a name"),
	BYTE(FILE_NAME, dirent, name, 3, 0, -EUCLEAN, "not a name"),
	BYTE(FILE_NAME, dirent, name, 4, 'x', -EUCLEAN, "more than"),
	BYTE(FILE_NAME, dirent, name, 31, 'x', -EUCLEAN, "more than"),
	BYTE(LONG, dirent, name, 95, 'x', -EUCLEAN, "more than"),

	FIELD(FIRST, extent, ino, 8, 7, -EUCLEAN, "no such file"),
	FIELD(FIRST, extent, ino, 8, NOWHERE, -EUCLEAN, "no such file"),
	FIELD(FIRST, extent, file_block, 8, 6, -EUCLEAN, "overlaps"),
	FIELD(FIRST, extent, file_block, 8, 10, -EUCLEAN, "overlaps"),
	FIELD(FIRST, extent, file_block, 8, GMFS_MAX_BLOCKS - 4, -EUCLEAN,
	      "within a file"),
	FIELD(FIRST, extent, file_block, 8, U64_MAX, -EUCLEAN, "within a file"),
	FIELD(FIRST, extent, pool_block, 8, POOL_BLOCKS - 4, -EUCLEAN,
	      "within the pool"),
	FIELD(FIRST, extent, pool_block, 8, POOL_BLOCKS, -EUCLEAN,
	      "within the pool"),
	FIELD(FIRST, extent, pool_block, 8, U64_MAX - 2, -EUCLEAN,
	      "within the pool"),
	FIELD(FIRST, extent, pool_block, 8, SEAM - 4, -EUCLEAN, "one piece"),
	FIELD(FIRST, extent, pool_block, 8, SEAM + 2, -EUCLEAN,
	      "another extent"),
	FIELD(FIRST, extent, pool_block, 8, 96, -EUCLEAN, "another extent"),
	FIELD(FIRST, extent, count, 4, 0, -EUCLEAN, "within a file"),
	FIELD(FIRST, extent, count, 4, 9, -EUCLEAN, "overlaps"),
	FIELD(FIRST, extent, count, 4, 91, -EUCLEAN, ""),
	FIELD(FIRST, extent, count, 4, U32_MAX, -EUCLEAN, "within the pool"),
	FIELD(LAST, extent, file_block, 8, 4, -EUCLEAN, "overlaps"),
	FIELD(LAST, extent, pool_block, 8, SEAM - 1, -EUCLEAN, "one piece"),
	FIELD(FIRST, extent, flags, 4, 1, -EUCLEAN, "flag"),

	FIELD(SMALL, attr, ino, 8, 7, -EUCLEAN, "no such inode"),
	FIELD(SMALL, attr, ino, 8, NOWHERE, -EUCLEAN, "no such inode"),
	FIELD(SMALL, attr, id, 8, U64_MAX, -EUCLEAN, "was not given"),
	FIELD(SMALL, attr, size, 4, 0, -EUCLEAN, "size"),
	FIELD(SMALL, attr, size, 4, 9, -EUCLEAN, "size"),
	FIELD(SMALL, attr, size, 4, 12, -EUCLEAN, "length of a fragment"),
	FIELD(SMALL, attr, size, 4, 10 + GMFS_ATTR_VALUE_MAX + 1, -EUCLEAN,
	      "size"),
	FIELD(SMALL, attr, size, 4, U32_MAX, -EUCLEAN, "size"),
	FIELD(SMALL, attr, offset, 4, 1, -EUCLEAN, "offset"),
	FIELD(SMALL, attr, offset, 4, GMFS_ATTR_FRAGMENT, -EUCLEAN, "offset"),
	FIELD(SMALL, attr, len, 2, 0, -EUCLEAN, "length of a fragment"),
	FIELD(SMALL, attr, len, 2, 12, -EUCLEAN, "length of a fragment"),
	FIELD(SMALL, attr, kind, 1, 0, -EUCLEAN, "kind"),
	FIELD(SMALL, attr, kind, 1, 3, -EUCLEAN, "kind"),
	FIELD(SMALL, attr, kind, 1, GMFS_ATTR_TARGET, -EUCLEAN,
	      "length of the name"),
	FIELD(SMALL, attr, nr_slots, 1, 0, -EUCLEAN, "slots"),
	FIELD(SMALL, attr, nr_slots, 1, 2, -EUCLEAN, "slots"),
	FIELD(SMALL, attr, name_len, 2, 0, -EUCLEAN, "length of the name"),
	FIELD(SMALL, attr, name_len, 2, 12, -EUCLEAN, "size"),
	FIELD(SMALL, attr, name_len, 2, 256, -EUCLEAN, "length of the name"),
	FIELD(SMALL, attr, reserved, 2, 1, -EUCLEAN, "reserved"),
	BYTE(SMALL, attr, data, 0, 0, -EUCLEAN, "not a name"),
	BYTE(SMALL, attr, data, 9, 0, -EUCLEAN, "not a name"),
	BYTE(SMALL, attr, data, 11, 1, -EUCLEAN, "more than"),
	BYTE(SMALL, attr, data, 31, 1, -EUCLEAN, "more than"),
	/* Its data is then read as fragments. */
	FIELD(BIG2, attr, ino, 8, 0, -EUCLEAN, "kind"),
	FIELD(BIG2, attr, id, 8, 0, -EUCLEAN, "is missing"),
	FIELD(BIG2, attr, offset, 4, 0, -EUCLEAN, "twice"),
	FIELD(BIG2, attr, offset, 4, 2 * GMFS_ATTR_FRAGMENT, -EUCLEAN,
	      "length of a fragment"),
	FIELD(BIG2, attr, name_len, 2, 1, -EUCLEAN, "do not match"),
	FIELD(BIG2, attr, size, 4, 2 * GMFS_ATTR_FRAGMENT, -EUCLEAN,
	      "do not match"),
	FIELD(BIG3, attr, offset, 4, 3 * GMFS_ATTR_FRAGMENT, -EUCLEAN, "offset"),
	FIELD(TARGET, attr, ino, 8, 0, -EUCLEAN, "no target"),
	FIELD(TARGET, attr, kind, 1, GMFS_ATTR_XATTR, -EUCLEAN,
	      "length of the name"),
	FIELD(TARGET, attr, name_len, 2, 1, -EUCLEAN, "length of the name"),
	FIELD(TARGET, attr, size, 4, GMFS_TARGET_MAX + 1, -EUCLEAN, "size"),
	BYTE(TARGET, attr, data, 0, 0, -EUCLEAN, "not a path"),
	BYTE(TARGET, attr, data, 7, 0, -EUCLEAN, "not a path"),
};

/*
 * Change each field in turn. The restored image loads again, so the refusal was due to
 * that field.
 */
static void image_fields(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	const struct field_case *c;
	struct tree tree;
	u64 old;
	void *at;

	plant(fx, &tree);
	for (c = fields; c < fields + ARRAY_SIZE(fields); c++) {
		at = record_of(fx, &tree, c->record) + c->offset;
		memcpy(&old, at, c->size);
		memcpy(at, &c->value, c->size);
		expect_load(test, c->name, c->err, c->why);
		memcpy(at, &old, c->size);
		expect_load(test, c->name, 0, NULL);
	}
}

/* Unusual values that are valid. */
static void image_fields_ok(struct kunit *test)
{
	static const struct field_case ok[] = {
		FIELD(SUPER, super, next_cookie, 8, GMFS_COOKIE_MAX, 0, NULL),
		FIELD(FILE, inode, mode, 4, S_IFREG, 0, NULL),
		FIELD(FILE, inode, mode, 4, S_IFREG | 07777, 0, NULL),
		FIELD(FILE, inode, generation, 4, U32_MAX, 0, NULL),
		FIELD(FILE, inode, flags, 4,
		      GMFS_INODE_FLAGS_ALL & ~GMFS_INODE_PRIVATE, 0, NULL),
		FIELD(SUPER, super, feature_incompat, 8,
		      GMFS_FEATURE_INCOMPAT_PRIVATE, 0, NULL),
		FIELD(FILE, inode, preserved, 4, U32_MAX, 0, NULL),
		FIELD(ORPHAN, inode, preserved, 4, 1, 0, NULL),
		FIELD(DEV, inode, rdev, 8, GMFS_RDEV(4095, 0xfffff), 0, NULL),
		/* One attribute less. */
		FIELD(SMALL, attr, ino, 8, 0, 0, NULL),
		FIELD(SMALL, attr, id, 8, 0, 0, NULL),
		BYTE(SMALL, attr, data, 10, 0, 0, NULL),
		BYTE(TARGET, attr, data, 0, 255, 0, NULL),
		FIELD(FILE, inode, uid, 4, U32_MAX - 1, 0, NULL),
		FIELD(FILE, inode, size, 8, 0, 0, NULL),
		FIELD(FILE, inode, size, 8, GMFS_MAX_SIZE, 0, NULL),
		FIELD(FILE, inode, atime_sec, 8, S64_MIN, 0, NULL),
		FIELD(FILE, inode, btime_sec, 8, S64_MAX, 0, NULL),
		FIELD(FILE, inode, ctime_nsec, 4, NSEC_PER_SEC - 1, 0, NULL),
		FIELD(FILE_NAME, dirent, cookie, 8, 0, 0, NULL),
		BYTE(FILE_NAME, dirent, name, 0, 255, 0, NULL),
		FIELD(FIRST, extent, file_block, 8, 3, 0, NULL),
		FIELD(FIRST, extent, file_block, 8, GMFS_MAX_BLOCKS - 5, 0, NULL),
		FIELD(FIRST, extent, pool_block, 8, SEAM - 5, 0, NULL),
		FIELD(FIRST, extent, pool_block, 8, SEAM + 3, 0, NULL),
		FIELD(FIRST, extent, pool_block, 8, POOL_BLOCKS - 5, 0, NULL),
		FIELD(FIRST, extent, count, 4, 8, 0, NULL),
		/* A free record; only the pool can notice that its block is in use. */
		FIELD(FIRST, extent, ino, 8, 0, 0, NULL),
	};
	struct gmfs_fixture *fx = test->priv;
	const struct field_case *c;
	struct tree tree;
	void *at;
	u64 old;

	plant(fx, &tree);
	for (c = ok; c < ok + ARRAY_SIZE(ok); c++) {
		at = record_of(fx, &tree, c->record) + c->offset;
		memcpy(&old, at, c->size);
		memcpy(at, &c->value, c->size);
		expect_load(test, c->name, 0, NULL);
		memcpy(at, &old, c->size);
	}
}

/* A file that was pinned stays pinned until LUO has finished, in this kernel only. */
static void image_pinned(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_super_ser *super;
	struct gmfs_inode *ci;
	struct tree tree;
	int await;
	u64 file;

	plant(fx, &tree);
	file = tree.file->ino;
	tree.file->rec->preserved = 2;
	tree.file->rec->pinned = 1;
	expect_load(test, "no feature", -EUCLEAN, "without the feature");
	for (await = 1; await >= 0; await--) {
		super = fx->img.super;
		super->feature_ro_compat = GMFS_FEATURE_RO_COMPAT_PINNED;
		ci = gmfs_inode_find(&fx->img, file);
		ci->rec->preserved = 2;
		ci->rec->pinned = 2;
		expect_load(test, "pinned twice", -EUCLEAN, "pinned is 2");
		ci->rec->pinned = 1;
		gmfs_dirty(&fx->img, ci->rec);
		gmfs_dirty(&fx->img, super);
		gmfs_fixture_reload(fx);
		KUNIT_EXPECT_FALSE(test, fx->img.read_only);
		gmfs_image_await(&fx->img, await);

		ci = gmfs_inode_find(&fx->img, file);
		KUNIT_EXPECT_EQ(test, ci->file.inherited, await ? 2 : 0);
		KUNIT_EXPECT_EQ(test, ci->rec->pinned, 0);
		KUNIT_EXPECT_EQ(test, fx->img.super->feature_ro_compat, 0);
		gmfs_fixture_reload(fx);
		ci = gmfs_inode_find(&fx->img, file);
		KUNIT_EXPECT_EQ(test, ci->file.inherited, 0);
	}
}

/* The feature is there as long as there is a private file, also one that is deleted. */
static void image_private(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci;
	struct tree tree;
	u64 file;

	plant(fx, &tree);
	file = tree.file->ino;
	gmfs_ino_set_private(&fx->img, tree.file, true);
	gmfs_ino_set_private(&fx->img, tree.file, true);
	KUNIT_EXPECT_EQ(test, gmfs_count_private(&fx->img), 1);
	KUNIT_EXPECT_EQ(test, fx->img.super->feature_incompat,
			GMFS_FEATURE_INCOMPAT_PRIVATE);
	gmfs_fixture_reload(fx);
	KUNIT_EXPECT_EQ(test, gmfs_count_private(&fx->img), 1);
	ci = gmfs_inode_find(&fx->img, file);
	gmfs_ino_set_private(&fx->img, ci, false);
	KUNIT_EXPECT_EQ(test, gmfs_count_private(&fx->img), 0);
	KUNIT_EXPECT_EQ(test, fx->img.super->feature_incompat, 0);
	KUNIT_EXPECT_EQ(test, ci->rec->flags, 0);
}

/* A later kernel may set unknown bits of feature_compat. */
static void image_features(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_super_ser *super = fx->img.super;
	struct gmfs_image *img;
	struct tree tree;

	img = kunit_kzalloc(test, sizeof(*img), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, img);
	plant(fx, &tree);

	/* Its data would be in fields that are reserved here. */
	tree.file->rec->flags = 1;
	tree.file->rec->reserved1[8] = 1;
	super->reserved1[5] = 1;
	dirent(tree.root, "file")->reserved = 1;
	extent(tree.file, false)->flags = 1;
	expect_load(test, "no feature", -EUCLEAN, "reserved");

	super->feature_compat = BIT_ULL(40);
	KUNIT_EXPECT_EQ(test, gmfs_fixture_load(fx, img, NULL), 0);
	KUNIT_EXPECT_FALSE(test, img->read_only);
	gmfs_image_destroy(img);

	super->feature_compat = 0;
	super->feature_ro_compat = BIT_ULL(3);
	KUNIT_EXPECT_EQ(test, gmfs_fixture_load(fx, img, NULL), 0);
	KUNIT_EXPECT_TRUE(test, img->read_only);
	gmfs_image_destroy(img);

	super->feature_incompat = BIT_ULL(1);
	expect_load(test, "incompat", -EOPNOTSUPP, "feature");
}

static void image_super(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmpool_meta_ser *hdr;
	u32 root = fx->root;
	struct tree tree;

	plant(fx, &tree);
	fx->root = fx->meta.nr;
	expect_load(test, "beyond the last block", -EUCLEAN, "super block");
	fx->root = U32_MAX;
	expect_load(test, "no number", -EUCLEAN, "super block");
	fx->root = GMFS_INO_MBN(tree.root->ino);
	expect_load(test, "a block of inodes", -EUCLEAN, "super block");
	fx->root = root;
	fx->img.super->root_ino = tree.file->ino;
	expect_load(test, "a file for a root", -EUCLEAN, "root inode");
	fx->img.super->root_ino = tree.dir->ino;
	expect_load(test, "another root", -EUCLEAN, "has a place");
	fx->img.super->root_ino = tree.dead->ino;
	expect_load(test, "a root elsewhere", -EUCLEAN, "no name");
	fx->img.super->root_ino = tree.root->ino;
	expect_load(test, "as it was", 0, NULL);

	hdr = gmpool_meta_alloc(&fx->meta, GMFS_META_SUPER);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, hdr);
	expect_load(test, "a second one", -EUCLEAN, "is a second one");
	gmpool_meta_free(&fx->meta, hdr);
	expect_load(test, "as it was", 0, NULL);
}

/* Records that are valid alone, but not together. */
static void image_tree(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_dirent_ser *de, *other;
	struct gmfs_inode *twin;
	struct tree tree;
	u64 cookie;

	plant(fx, &tree);
	de = dirent(tree.root, "dir");
	other = dirent(tree.dir, "below");

	/* Each of the two directories contains the other. */
	de->parent = tree.below->ino;
	tree.root->rec->nlink--;
	tree.below->rec->nlink++;
	expect_load(test, "a circle", -EUCLEAN, "below itself");
	tree.below->rec->nlink--;
	de->parent = tree.dir->ino;
	tree.dir->rec->nlink++;
	expect_load(test, "in itself", -EUCLEAN, "below itself");
	tree.dir->rec->nlink--;
	tree.root->rec->nlink++;
	de->parent = tree.root->ino;
	expect_load(test, "as it was", 0, NULL);

	de->ino = tree.below->ino;
	expect_load(test, "a directory with two names", -EUCLEAN,
		    "has a place");
	de->ino = tree.root->ino;
	expect_load(test, "a name of the root", -EUCLEAN, "has a place");
	de->ino = tree.dir->ino;
	other->parent = tree.dead->ino;
	tree.dir->rec->nlink--;
	expect_load(test, "in a deleted directory", -EUCLEAN,
		    "entries and no name");
	tree.dir->rec->nlink++;
	other->parent = tree.file->ino;
	expect_load(test, "in a file", -EUCLEAN, "no such directory");
	other->parent = tree.dir->ino;

	cookie = de->cookie;
	de->cookie = dirent(tree.root, "file")->cookie;
	expect_load(test, "two cookies", -EUCLEAN, "cookie is there twice");
	de->cookie = cookie;
	de->cookie = fx->img.super->next_cookie;
	expect_load(test, "the next cookie", -EUCLEAN, "not given");
	de->cookie = cookie;

	twin = gmfs_fixture_make(fx, tree.root, "fild", MODE_FILE);
	expect_load(test, "as it was, and one more", 0, NULL);
	dirent(tree.root, "fild")->name[3] = 'e';
	expect_load(test, "a name twice", -EUCLEAN, "name is there twice");
	KUNIT_EXPECT_EQ(test, twin->rec->nlink, 1);
}

static void image_names(struct kunit *test)
{
	static const struct {
		const char *name;
		unsigned int len;
		int err;
	} names[] = {
		{ ".", 1, -EUCLEAN }, { "..", 2, -EUCLEAN }, { "...", 3, 0 },
		{ ".x", 2, 0 }, { "x.", 2, 0 }, { "/", 1, -EUCLEAN },
		{ "x/", 2, -EUCLEAN }, { "\0", 1, -EUCLEAN },
		{ "x\0y", 3, -EUCLEAN }, { "x\n", 2, 0 }, { "\xff", 1, 0 },
	};
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_dirent_ser *de;
	struct tree tree;
	int i;

	plant(fx, &tree);
	de = dirent(tree.root, "file");
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		memset(de->name, 0, 32);
		memcpy(de->name, names[i].name, names[i].len);
		de->name_len = names[i].len;
		expect_load(test, names[i].name, names[i].err,
			    names[i].err ? "not a name" : NULL);
	}
}

/* Other fields of a free slot do not get into a new record. */
static void image_slot_rest(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx), *ci;
	struct gmfs_inode_ser *rec;

	ci = gmfs_fixture_make(fx, root, "gone", S_IFREG);
	rec = ci->rec;
	KUNIT_ASSERT_EQ(test, 0, gmfs_dirent_remove(&fx->img, root,
						    gmfs_dirent_find(root, "gone", 4)));
	gmfs_inode_free(&fx->img, ci);
	memset(rec, 0xff, sizeof(*rec));
	rec->ino = 0;
	gmfs_dirty(&fx->img, rec);
	gmfs_fixture_reload(fx);

	ci = gmfs_fixture_make(fx, gmfs_fixture_root(fx), "new", S_IFREG);
	KUNIT_EXPECT_PTR_EQ(test, ci->rec, rec);
	KUNIT_EXPECT_EQ(test, ci->rec->flags, 0);
	gmfs_fixture_reload(fx);
}

/* An entry in the last slot that is longer than the rest of the block. */
static void image_slots(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_dirent_ser *de, *last;
	struct tree tree;
	u64 parent;
	char *block;

	plant(fx, &tree);
	de = dirent(tree.below, LONG_NAME);
	block = PTR_ALIGN_DOWN((char *)de, GMPOOL_META_SIZE);
	last = (void *)block + GMPOOL_META_SIZE - GMFS_DIRENT_SLOT;
	parent = de->parent;
	memcpy(last, de, GMFS_DIRENT_SLOT);
	memset(de, 0, 2 * GMFS_DIRENT_SLOT);
	KUNIT_EXPECT_EQ(test, last->nr_slots, 2);
	expect_load(test, "beyond the block", -EUCLEAN, "slots");
	last->parent = 0;
	expect_load(test, "gone", -EUCLEAN, "links, should be 1");
	KUNIT_EXPECT_EQ(test, parent, tree.below->ino);
}

/*
 * Load random damage: loading ends with a result, and changes nothing. In the debug
 * kernel, KASAN and UBSAN check it.
 */
static void image_garbage(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	int n, i, err, refused = 0;
	struct gmpool_meta_ser *hdr;
	struct gmfs_image *img;
	struct rnd_state rnd;
	unsigned int at, len;
	struct tree tree;
	u8 *save;
	u32 crc;

	gmpool_test_seed(test, &rnd, seed);
	img = kunit_kzalloc(test, sizeof(*img), GFP_KERNEL);
	save = kunit_kzalloc(test, GMPOOL_META_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, img);
	KUNIT_ASSERT_NOT_NULL(test, save);
	plant(fx, &tree);

	for (n = 0; n < 5000; n++) {
		hdr = gmpool_meta_block(&fx->meta,
					gmpool_test_random(&rnd, 0,
							   fx->meta.nr - 1));
		memcpy(save, hdr, GMPOOL_META_SIZE);
		/* Mostly in records, sometimes anywhere in the block. */
		at = sizeof(*hdr) + gmpool_test_random(&rnd, 0, 1023);
		len = 1 << gmpool_test_random(&rnd, 0, 3);
		if (n % 16 == 0) {
			at = sizeof(*hdr);
			len = GMPOOL_META_SIZE - at;
		}
		for (i = 0; i < len; i++)
			((u8 *)hdr)[at + i] = n % 3 ? prandom_u32_state(&rnd) :
					      ((u8 *)hdr)[at + i] + 1;
		if (n % 32 == 1)
			hdr->type = gmpool_test_random(&rnd, GMFS_META_SUPER,
						       GMFS_META_EXTENTS);

		crc = gmfs_fixture_crc(fx);
		err = gmfs_fixture_load(fx, img, NULL);
		KUNIT_EXPECT_TRUE_MSG(test,
				      !err || err == -EUCLEAN ||
				      err == -EOPNOTSUPP, "error %d", err);
		KUNIT_EXPECT_EQ(test, !err, !img->why[0]);
		KUNIT_ASSERT_EQ(test, crc, gmfs_fixture_crc(fx));
		gmfs_image_destroy(img);
		refused += !!err;
		memcpy(hdr, save, GMPOOL_META_SIZE);
	}
	kunit_info(test, "%d of %d refused", refused, n);
	KUNIT_EXPECT_GT(test, refused, n / 10);
	gmfs_fixture_reload(fx);
}

/* Two attributes of the same name, which no change of a single field makes. */
static void image_attr_twice(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_attr_ser *rec;
	struct tree tree;

	plant(fx, &tree);
	rec = record_of(fx, &tree, TWIN);
	memcpy(rec->data, SMALL_NAME, rec->name_len);
	expect_load(test, "twin", -EUCLEAN, "name is there twice");

	/* On two inodes, they are valid. */
	rec->ino = tree.dir->ino;
	expect_load(test, "apart", 0, NULL);
}

static struct kunit_case image_cases[] = {
	KUNIT_CASE(image_empty),
	KUNIT_CASE(image_format_exhaustion),
	KUNIT_CASE(image_format_twice),
	KUNIT_CASE(image_round_trip),
	KUNIT_CASE(image_orphans),
	KUNIT_CASE(image_await),
	KUNIT_CASE(image_pinned),
	KUNIT_CASE(image_private),
	KUNIT_CASE(image_fields),
	KUNIT_CASE(image_fields_ok),
	KUNIT_CASE(image_attr_twice),
	KUNIT_CASE(image_features),
	KUNIT_CASE(image_super),
	KUNIT_CASE(image_tree),
	KUNIT_CASE(image_names),
	KUNIT_CASE(image_slots),
	KUNIT_CASE(image_slot_rest),
	KUNIT_CASE(image_garbage),
	{}
};

static struct kunit_suite image_suite = {
	.name = "gmfs-image",
	.init = image_init,
	.exit = gmfs_fixture_exit,
	.test_cases = image_cases,
};

kunit_test_suite(image_suite);

MODULE_DESCRIPTION("KUnit tests of the image of guestmemfs");
MODULE_LICENSE("GPL");
