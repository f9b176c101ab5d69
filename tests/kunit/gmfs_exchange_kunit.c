// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the exchange of ranges of two files.
 */

#include <linux/moduleparam.h>

#include "gmfs_image_fixture.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random test, 0 for a new one each time");

#define POOL_BLOCKS	512
#define FILE_BLOCKS	128
#define MODE_FILE	(S_IFREG | 0640)
#define HOLE		U64_MAX

static const char * const names[] = { "one", "two" };

/* Pool block of each block of the two files. */
struct model {
	u64 map[2][FILE_BLOCKS];
};

static struct model *exchange_model(struct kunit *test)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (i = 0; i < FILE_BLOCKS; i++) {
		m->map[0][i] = HOLE;
		m->map[1][i] = HOLE;
	}
	return m;
}

static int exchange_init(struct kunit *test)
{
	struct gmfs_fixture *fx = gmfs_fixture_new(test, POOL_BLOCKS);
	int i;

	for (i = 0; i < 2; i++)
		gmfs_fixture_make(fx, gmfs_fixture_root(fx), names[i], MODE_FILE);
	return 0;
}

static struct gmfs_inode *the_file(struct kunit *test, int nr)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_dirent *de = gmfs_dirent_find(gmfs_fixture_root(fx),
						  names[nr], 3);

	KUNIT_ASSERT_NOT_NULL(test, de);
	return gmfs_inode_find(&fx->img, de->rec->ino);
}

static void exchange_fill(struct kunit *test, struct model *m, int nr, u64 first,
			  u64 pool, u64 count)
{
	u64 i;

	gmfs_fixture_map(test->priv, the_file(test, nr), first, pool, count);
	for (i = 0; i < count; i++)
		m->map[nr][first + i] = pool + i;
}

/* The extents of a file are those of the model, in the smallest number. */
static void exchange_verify_file(struct kunit *test, const struct model *m, int nr)
{
	struct gmfs_inode *ci = the_file(test, nr);
	struct gmfs_fixture *fx = test->priv;
	u64 blocks = 0, extents = 0, i;
	struct gmpool_range range;
	struct rb_node *node;

	for (i = 0; i < FILE_BLOCKS; i++) {
		u64 want = m->map[nr][i];

		KUNIT_ASSERT_EQ_MSG(test, want != HOLE,
				    gmfs_extent_find(ci, i, &range),
				    "file %d, block %llu", nr, i);
		if (want == HOLE)
			continue;
		KUNIT_ASSERT_EQ_MSG(test, want, range.start, "file %d, block %llu",
				    nr, i);
		blocks++;
		if (!i || m->map[nr][i - 1] == HOLE ||
		    m->map[nr][i - 1] + 1 != want || want == fx->seam)
			extents++;
	}
	KUNIT_ASSERT_EQ(test, ci->file.blocks, blocks);
	for (node = rb_first(&ci->file.extents); node; node = rb_next(node)) {
		KUNIT_ASSERT_EQ(test, ci->ino,
				rb_entry(node, struct gmfs_extent, node)->rec->ino);
		extents--;
	}
	KUNIT_ASSERT_EQ(test, extents, 0);
}

static void exchange_verify(struct kunit *test, const struct model *m)
{
	exchange_verify_file(test, m, 0);
	exchange_verify_file(test, m, 1);
}

static void exchange(struct kunit *test, struct model *m, int nr1, u64 first1,
		     int nr2, u64 first2, u64 count)
{
	struct gmfs_fixture *fx = test->priv;
	u64 moved[2], want[2] = {}, i;

	KUNIT_ASSERT_EQ(test, 0,
			gmfs_extent_exchange(&fx->img, the_file(test, nr1), first1,
					     the_file(test, nr2), first2, count,
					     moved));
	for (i = 0; i < count; i++) {
		want[0] += m->map[nr1][first1 + i] != HOLE;
		want[1] += m->map[nr2][first2 + i] != HOLE;
		swap(m->map[nr1][first1 + i], m->map[nr2][first2 + i]);
	}
	KUNIT_ASSERT_EQ(test, moved[0], want[0]);
	KUNIT_ASSERT_EQ(test, moved[1], want[1]);
	gmfs_fixture_seal(fx);
	exchange_verify(test, m);
}

/* Splits, merges, holes, one block, all, and there and back again. */
static void exchange_cases(struct kunit *test)
{
	struct model *m = exchange_model(test);

	exchange_fill(test, m, 0, 0, 100, 40);
	exchange_fill(test, m, 1, 10, 300, 20);
	exchange(test, m, 0, 50, 1, 50, 8);		/* holes */
	exchange(test, m, 0, 10, 1, 40, 4);		/* with a hole, in the middle */
	exchange(test, m, 0, 10, 1, 40, 4);		/* back: one extent again */
	exchange(test, m, 0, 12, 1, 14, 5);		/* in the middle of both */
	exchange(test, m, 0, 0, 1, 0, 1);		/* one block with a hole */
	exchange(test, m, 0, 30, 1, 5, 20);		/* across ends */
	exchange(test, m, 0, 20, 0, 24, 4);		/* a file, adjoining ranges */
	exchange(test, m, 0, 0, 0, 100, 10);		/* a file, with a hole */
	exchange(test, m, 0, 0, 1, 0, FILE_BLOCKS);	/* all */
	exchange(test, m, 1, 0, 0, 0, FILE_BLOCKS);
	gmfs_fixture_reload(test->priv);
	exchange_verify(test, m);
}

/* An extent that ends at the seam does not merge with one that begins there. */
static void exchange_seam(struct kunit *test)
{
	struct model *m = exchange_model(test);

	exchange_fill(test, m, 0, 0, POOL_BLOCKS / 2 - 4, 4);
	exchange_fill(test, m, 1, 4, POOL_BLOCKS / 2, 4);
	exchange(test, m, 0, 4, 1, 4, 4);
	gmfs_fixture_reload(test->priv);
	exchange_verify(test, m);
}

/* Each record that a range splits is reserved before the first change. */
static void exchange_exhaustion(struct kunit *test)
{
	struct model *m = exchange_model(test);
	struct gmfs_fixture *fx = test->priv;
	u64 moved[2], nr;
	LIST_HEAD(rsv);

	exchange_fill(test, m, 0, 0, 100, 40);
	exchange_fill(test, m, 1, 0, 300, 40);
	fx->left = 0;
	/* Two records are in use; all but three of the others are taken. */
	nr = GMFS_EXTENTS_PER_BLOCK - 2 - 3;
	KUNIT_ASSERT_EQ(test, 0, gmfs_extent_reserve(&fx->img, &rsv, nr));
	gmfs_fixture_seal(fx);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			gmfs_extent_exchange(&fx->img, the_file(test, 0), 10,
					     the_file(test, 1), 10, 5, moved));
	exchange_verify(test, m);
	/* One side alone needs two, whole extents none. */
	exchange(test, m, 0, 10, 1, 50, 5);
	exchange(test, m, 0, 0, 1, 0, FILE_BLOCKS);
	gmfs_extent_unreserve(&fx->img, &rsv);
	gmfs_fixture_reload(fx);
	exchange_verify(test, m);
}

/* Random exchanges of files of random extents. */
static void exchange_random(struct kunit *test)
{
	struct model *m = exchange_model(test);
	struct rnd_state rnd;
	u64 pool = 0, first;
	int n, nr;

	gmpool_test_seed(test, &rnd, seed);
	for (nr = 0; nr < 2; nr++) {
		for (first = 0; first < FILE_BLOCKS;) {
			u64 count = gmpool_test_random(&rnd, 1, 9);

			count = min(count, FILE_BLOCKS - first);
			if (pool < POOL_BLOCKS / 2 && pool + count > POOL_BLOCKS / 2)
				pool = POOL_BLOCKS / 2;
			if (gmpool_test_random(&rnd, 0, 2) && pool + count <= POOL_BLOCKS) {
				exchange_fill(test, m, nr, first, pool, count);
				pool += count + gmpool_test_random(&rnd, 0, 1);
			}
			first += count;
		}
	}
	exchange_verify(test, m);

	for (n = 0; n < 2000; n++) {
		int nr1 = gmpool_test_random(&rnd, 0, 1);
		int nr2 = gmpool_test_random(&rnd, 0, 1);
		u64 count = gmpool_test_random(&rnd, 1, n % 4 ? 12 : FILE_BLOCKS);
		u64 first1 = gmpool_test_random(&rnd, 0, FILE_BLOCKS - count);
		u64 first2 = gmpool_test_random(&rnd, 0, FILE_BLOCKS - count);

		if (nr1 == nr2 && first1 < first2 + count && first2 < first1 + count)
			continue;
		exchange(test, m, nr1, first1, nr2, first2, count);
		if (n % 250 == 0) {
			gmfs_fixture_reload(test->priv);
			exchange_verify(test, m);
		}
	}
}

static struct kunit_case exchange_kunit_cases[] = {
	KUNIT_CASE(exchange_cases),
	KUNIT_CASE(exchange_seam),
	KUNIT_CASE(exchange_exhaustion),
	KUNIT_CASE(exchange_random),
	{}
};

static struct kunit_suite exchange_suite = {
	.name = "gmfs-exchange",
	.init = exchange_init,
	.exit = gmfs_fixture_exit,
	.test_cases = exchange_kunit_cases,
};

kunit_test_suite(exchange_suite);

MODULE_DESCRIPTION("KUnit tests of the exchange of ranges of guestmemfs files");
MODULE_LICENSE("GPL");
