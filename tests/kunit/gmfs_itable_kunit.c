// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the inodes of an image.
 */

#include <linux/moduleparam.h>

#include "gmfs_image_fixture.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

/* Inodes that fit in a metadata block. */
#define PER_BLOCK	(GMFS_INODES_PER_BLOCK - 1)

#define MODE_FILE	(S_IFREG | 0640)

static int itable_init(struct kunit *test)
{
	gmfs_fixture_new(test, 64);
	return 0;
}

/* An inode is found from publishing to freeing; its number is the place of its record. */
static void itable_life(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci;
	void *block;
	u64 ino;

	ci = gmfs_inode_reserve(&fx->img);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ci);
	ino = ci->ino;
	KUNIT_EXPECT_NULL(test, gmfs_inode_find(&fx->img, ino));
	KUNIT_EXPECT_EQ(test, ci->rec->ino, 0);

	gmfs_inode_publish(&fx->img, ci, MODE_FILE);
	KUNIT_EXPECT_PTR_EQ(test, gmfs_inode_find(&fx->img, ino), ci);
	KUNIT_EXPECT_EQ(test, ci->rec->ino, ino);
	KUNIT_EXPECT_EQ(test, ci->rec->mode, MODE_FILE);
	KUNIT_EXPECT_EQ(test, ci->rec->nlink, 0);
	KUNIT_EXPECT_NE(test, GMFS_INO_SLOT(ino), 0);
	block = gmpool_meta_block(&fx->meta, GMFS_INO_MBN(ino));
	KUNIT_EXPECT_PTR_EQ(test, (void *)ci->rec,
			    block + GMFS_INO_SLOT(ino) * sizeof(*ci->rec));
	gmfs_fixture_seal(fx);

	gmfs_inode_free(&fx->img, ci);
	KUNIT_EXPECT_NULL(test, gmfs_inode_find(&fx->img, ino));
	gmfs_fixture_reload(fx);
	KUNIT_EXPECT_NULL(test, gmfs_inode_find(&fx->img, ino));
}

/* A reserved inode that is freed leaves no record. */
static void itable_unpublished(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	u32 crc, nr_free;
	struct gmfs_inode *ci;

	gmfs_fixture_seal(fx);
	crc = gmfs_fixture_crc(fx);
	nr_free = fx->meta.nr_free;
	ci = gmfs_inode_reserve(&fx->img);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ci);
	gmfs_inode_free(&fx->img, ci);
	gmfs_fixture_seal(fx);
	KUNIT_EXPECT_EQ(test, crc, gmfs_fixture_crc(fx));
	KUNIT_EXPECT_EQ(test, nr_free, fx->meta.nr_free);
}

/* An unpublished inode leaves no record either, but keeps its number. */
static void itable_unpublish(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	u32 digest = gmfs_fixture_digest(&fx->img);
	struct gmfs_inode *ci, *other;
	u64 ino;

	ci = gmfs_fixture_ino(fx, S_IFLNK | 0777);
	ino = ci->ino;
	gmfs_fixture_xattr(fx, ci, "user.a", "1", 1);
	gmfs_inode_unpublish(&fx->img, ci);
	KUNIT_EXPECT_NULL(test, gmfs_inode_find(&fx->img, ino));
	KUNIT_EXPECT_NULL(test, gmfs_attr_first(ci));
	other = gmfs_fixture_ino(fx, MODE_FILE);
	KUNIT_EXPECT_NE(test, other->ino, ino);
	gmfs_inode_free(&fx->img, other);
	gmfs_fixture_seal(fx);

	gmfs_inode_free(&fx->img, ci);
	KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(&fx->img));
	KUNIT_EXPECT_EQ(test, gmfs_fixture_ino(fx, MODE_FILE)->ino, ino);
	gmfs_fixture_reload(fx);
}

/* After a kexec, an inode that was only reserved does not exist. */
static void itable_kexec_unpublished(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci[PER_BLOCK + 1];
	u32 digest = gmfs_fixture_digest(&fx->img);
	struct gmfs_image *img;
	int i;

	/* Enough to need another block, which then has no records. */
	for (i = 0; i < ARRAY_SIZE(ci); i++) {
		ci[i] = gmfs_inode_reserve(&fx->img);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ci[i]);
	}
	gmfs_fixture_seal(fx);
	img = kunit_kzalloc(test, sizeof(*img), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, img);
	KUNIT_EXPECT_EQ(test, gmfs_fixture_load(fx, img, NULL), 0);
	KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(img));
	gmfs_image_destroy(img);
	for (i = 0; i < ARRAY_SIZE(ci); i++)
		gmfs_inode_free(&fx->img, ci[i]);
}

/* Numbers are unique, and blocks are filled before another is allocated. */
static void itable_blocks(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	const int nr = 4 * PER_BLOCK - 1;	/* plus the root */
	struct gmfs_inode **ci;
	u32 nr_meta = fx->meta.nr;
	int i, j;

	ci = kunit_kcalloc(test, nr, sizeof(*ci), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ci);
	for (i = 0; i < nr; i++) {
		ci[i] = gmfs_fixture_ino(fx, MODE_FILE);
		for (j = 0; j < i; j++)
			KUNIT_ASSERT_NE(test, ci[i]->ino, ci[j]->ino);
	}
	KUNIT_EXPECT_EQ(test, fx->meta.nr, nr_meta + 3);
	KUNIT_EXPECT_EQ(test, fx->meta.nr_free, 0);
	for (i = 0; i < nr; i++)
		gmfs_inode_free(&fx->img, ci[i]);
	KUNIT_EXPECT_EQ(test, fx->meta.nr, nr_meta + 3);
	KUNIT_EXPECT_EQ(test, fx->meta.nr_free, 3);
	gmfs_fixture_reload(fx);
}

/* A number that is used again gets another generation. */
static void itable_generation(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci;
	u32 last = 0;
	u64 ino = 0;
	int i;

	for (i = 0; i < 100; i++) {
		ci = gmfs_fixture_ino(fx, MODE_FILE);
		if (i) {
			KUNIT_EXPECT_EQ(test, ci->ino, ino);
			KUNIT_EXPECT_NE(test, ci->rec->generation, last);
		}
		ino = ci->ino;
		last = ci->rec->generation;
		gmfs_inode_free(&fx->img, ci);
		if (i % 10 == 0)
			gmfs_fixture_reload(fx);
	}
}

/* Also if its metadata block had another type since. */
static void itable_generation_block(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci[PER_BLOCK];
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	u32 generation, mbn;
	u64 ino;
	int i;

	for (i = 0; i < PER_BLOCK; i++)
		ci[i] = gmfs_fixture_ino(fx, MODE_FILE);
	ino = ci[PER_BLOCK - 1]->ino;
	mbn = GMFS_INO_MBN(ino);
	generation = ci[PER_BLOCK - 1]->rec->generation;
	gmfs_inode_free(&fx->img, ci[PER_BLOCK - 1]);
	KUNIT_EXPECT_EQ(test, gmpool_meta_block(&fx->meta, mbn)->type,
			GMPOOL_META_FREE);

	KUNIT_ASSERT_EQ(test, 0, gmfs_dirent_insert(&fx->img, root, ci[0],
						    "name", 4));
	KUNIT_EXPECT_EQ(test, gmpool_meta_block(&fx->meta, mbn)->type,
			GMFS_META_DIRENTS);
	KUNIT_ASSERT_EQ(test, 0,
			gmfs_dirent_remove(&fx->img, root,
					   gmfs_dirent_find(root, "name", 4)));
	KUNIT_EXPECT_EQ(test, gmpool_meta_block(&fx->meta, mbn)->type,
			GMPOOL_META_FREE);

	ci[PER_BLOCK - 1] = gmfs_fixture_ino(fx, MODE_FILE);
	KUNIT_EXPECT_EQ(test, ci[PER_BLOCK - 1]->ino, ino);
	KUNIT_EXPECT_NE(test, ci[PER_BLOCK - 1]->rec->generation, generation);
}

/* If the metadata cannot grow, -ENOSPC is returned and nothing changes. */
static void itable_exhaustion(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci, *last = NULL;
	u32 digest;
	int nr;

	fx->left = 2;
	for (nr = 1;; nr++) {
		ci = gmfs_inode_reserve(&fx->img);
		if (IS_ERR(ci))
			break;
		gmfs_inode_publish(&fx->img, ci, MODE_FILE);
		last = ci;
	}
	KUNIT_EXPECT_EQ(test, PTR_ERR(ci), -ENOSPC);
	KUNIT_EXPECT_EQ(test, nr, 3 * PER_BLOCK);

	digest = gmfs_fixture_digest(&fx->img);
	ci = gmfs_inode_reserve(&fx->img);
	KUNIT_EXPECT_EQ(test, PTR_ERR(ci), -ENOSPC);
	KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(&fx->img));

	gmfs_inode_free(&fx->img, last);
	ci = gmfs_inode_reserve(&fx->img);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ci);
	gmfs_inode_free(&fx->img, ci);
	gmfs_fixture_reload(fx);
}

/* When numbers or generations run out, an error is returned before one repeats. */
static void itable_counter(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci;

	fx->img.super->next_cookie = GMFS_COOKIE_FULL;
	ci = gmfs_inode_reserve(&fx->img);
	KUNIT_EXPECT_EQ(test, PTR_ERR(ci), -ENOSPC);
	fx->img.super->next_cookie = GMFS_COOKIE_FULL - 1;
	ci = gmfs_fixture_ino(fx, MODE_FILE);
	gmpool_meta_dirty(&fx->meta, &fx->img.super->hdr);
	gmfs_fixture_reload(fx);
}

static void itable_random(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	const int nr = 200, steps = 5000;
	struct rnd_state rnd;
	u32 *generation;
	u64 *ino;
	int i, n;

	gmpool_test_seed(test, &rnd, seed);
	ino = kunit_kcalloc(test, nr, sizeof(*ino), GFP_KERNEL);
	generation = kunit_kcalloc(test, nr, sizeof(*generation), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ino);
	KUNIT_ASSERT_NOT_NULL(test, generation);

	for (n = 0; n < steps; n++) {
		struct gmfs_inode *ci;

		i = gmpool_test_random(&rnd, 0, nr - 1);
		if (ino[i]) {
			ci = gmfs_inode_find(&fx->img, ino[i]);
			KUNIT_ASSERT_NOT_NULL(test, ci);
			KUNIT_ASSERT_EQ(test, ci->ino, ino[i]);
			KUNIT_ASSERT_EQ(test, ci->rec->ino, ino[i]);
			KUNIT_ASSERT_EQ(test, ci->rec->generation,
					generation[i]);
			gmfs_inode_free(&fx->img, ci);
			KUNIT_ASSERT_NULL(test, gmfs_inode_find(&fx->img,
								ino[i]));
			ino[i] = 0;
		} else {
			ci = gmfs_fixture_ino(fx, MODE_FILE);
			ino[i] = ci->ino;
			generation[i] = ci->rec->generation;
		}
		gmfs_fixture_seal(fx);
		if (n % 500 == 0)
			gmfs_fixture_reload(fx);
	}
	gmfs_fixture_reload(fx);
	for (i = 0; i < nr; i++)
		if (ino[i])
			KUNIT_EXPECT_NOT_NULL(test, gmfs_inode_find(&fx->img,
								    ino[i]));
}

/* The number of inodes never exceeds the limit. */
static void itable_limit(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci[4];
	u64 max;

	KUNIT_EXPECT_EQ(test, gmfs_count_inodes(&fx->img, &max), 1);
	KUNIT_EXPECT_EQ(test, max, 0);
	KUNIT_ASSERT_EQ(test, 0, gmfs_limit_inodes(&fx->img, 4));
	ci[0] = gmfs_fixture_ino(fx, MODE_FILE);
	ci[1] = gmfs_fixture_ino(fx, MODE_FILE);
	ci[2] = gmfs_inode_reserve(&fx->img);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ci[2]);
	KUNIT_EXPECT_EQ(test, gmfs_count_inodes(&fx->img, &max), 4);
	KUNIT_EXPECT_EQ(test, max, 4);
	ci[3] = gmfs_inode_reserve(&fx->img);
	KUNIT_EXPECT_EQ(test, PTR_ERR(ci[3]), -ENOSPC);
	KUNIT_EXPECT_EQ(test, -EINVAL, gmfs_limit_inodes(&fx->img, 3));

	gmfs_inode_free(&fx->img, ci[2]);
	gmfs_inode_free(&fx->img, ci[0]);
	KUNIT_EXPECT_EQ(test, 0, gmfs_limit_inodes(&fx->img, 3));
	KUNIT_EXPECT_EQ(test, gmfs_count_inodes(&fx->img, &max), 2);
	gmfs_fixture_reload(fx);
	/* The limit is not handed over. */
	KUNIT_EXPECT_EQ(test, gmfs_count_inodes(&fx->img, &max), 2);
	KUNIT_EXPECT_EQ(test, max, 0);

	/* A reservation that fails with -ENOMEM is not counted. */
	fx->left = 0;
	while (!IS_ERR(gmfs_slot_alloc(&fx->img, &fx->img.itable, 1)))
		;
	KUNIT_EXPECT_EQ(test, PTR_ERR(gmfs_inode_reserve(&fx->img)), -ENOSPC);
	KUNIT_EXPECT_EQ(test, gmfs_count_inodes(&fx->img, &max), 2);
}

static struct kunit_case itable_cases[] = {
	KUNIT_CASE(itable_life),
	KUNIT_CASE(itable_limit),
	KUNIT_CASE(itable_unpublished),
	KUNIT_CASE(itable_unpublish),
	KUNIT_CASE(itable_kexec_unpublished),
	KUNIT_CASE(itable_blocks),
	KUNIT_CASE(itable_generation),
	KUNIT_CASE(itable_generation_block),
	KUNIT_CASE(itable_exhaustion),
	KUNIT_CASE(itable_counter),
	KUNIT_CASE(itable_random),
	{}
};

static struct kunit_suite itable_suite = {
	.name = "gmfs-itable",
	.init = itable_init,
	.exit = gmfs_fixture_exit,
	.test_cases = itable_cases,
};

kunit_test_suite(itable_suite);

MODULE_DESCRIPTION("KUnit tests of the inodes of guestmemfs");
MODULE_LICENSE("GPL");
