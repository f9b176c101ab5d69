// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the extents of an image.
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

/* Extents that fit in a metadata block. */
#define PER_BLOCK	GMFS_EXTENTS_PER_BLOCK

struct expected {
	u64 file_block;
	u64 pool_block;
	u64 count;
};

static int extent_init(struct kunit *test)
{
	gmfs_fixture_new(test, POOL_BLOCKS);
	return 0;
}

/* A file with a name, so that it exists after a reload. */
static struct gmfs_inode *new_file(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;

	return gmfs_fixture_make(fx, gmfs_fixture_root(fx), "file", MODE_FILE);
}

static struct gmfs_inode *the_file(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_dirent *de = gmfs_dirent_find(gmfs_fixture_root(fx), "file",
						  4);

	KUNIT_ASSERT_NOT_NULL(test, de);
	return gmfs_inode_find(&fx->img, de->rec->ino);
}

static void expect(struct kunit *test, const struct gmfs_inode *ci,
		   const struct expected *want, int nr)
{
	struct rb_node *node = rb_first(&ci->file.extents);
	struct gmfs_extent *ext;
	u64 blocks = 0;
	int i;

	for (i = 0; i < nr; i++, node = rb_next(node)) {
		KUNIT_ASSERT_NOT_NULL(test, node);
		ext = rb_entry(node, struct gmfs_extent, node);
		KUNIT_EXPECT_EQ(test, ext->rec->ino, ci->ino);
		KUNIT_EXPECT_EQ(test, ext->rec->file_block, want[i].file_block);
		KUNIT_EXPECT_EQ(test, ext->rec->pool_block, want[i].pool_block);
		KUNIT_EXPECT_EQ(test, ext->rec->count, want[i].count);
		blocks += want[i].count;
	}
	KUNIT_EXPECT_NULL(test, node);
	KUNIT_EXPECT_EQ(test, ci->file.blocks, blocks);
}

#define EXPECT(test, ci, ...)						\
	expect(test, ci, (const struct expected[]) { __VA_ARGS__ },	\
	       sizeof((const struct expected[]) { __VA_ARGS__ }) /	\
	       sizeof(struct expected))

static void extent_merge(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);

	gmfs_fixture_map(fx, ci, 10, 100, 5);
	EXPECT(test, ci, { 10, 100, 5 });
	/* After, before, and in between. */
	gmfs_fixture_map(fx, ci, 15, 105, 5);
	EXPECT(test, ci, { 10, 100, 10 });
	gmfs_fixture_seal(fx);
	gmfs_fixture_map(fx, ci, 5, 95, 5);
	EXPECT(test, ci, { 5, 95, 15 });
	gmfs_fixture_seal(fx);
	gmfs_fixture_map(fx, ci, 25, 115, 5);
	EXPECT(test, ci, { 5, 95, 15 }, { 25, 115, 5 });
	gmfs_fixture_seal(fx);
	gmfs_fixture_map(fx, ci, 20, 110, 5);
	EXPECT(test, ci, { 5, 95, 25 });
	gmfs_fixture_reload(fx);
	EXPECT(test, the_file(test), { 5, 95, 25 });
}

/* Find the file block of a pool block. */
static void extent_of(struct kunit *test)
{
	static const struct {
		u64 at;
		bool mapped;
		u64 file_block;
	} cases[] = {
		{ 0 }, { 49 }, { 50, true, 20 }, { 54, true, 24 }, { 55 }, { 99 },
		{ 100, true, 10 }, { 101, true, 11 }, { 104, true, 14 }, { 105 },
	};
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);
	u64 file_block, i;

	KUNIT_EXPECT_FALSE(test, gmfs_extent_of(ci, 0, &file_block));
	gmfs_fixture_map(fx, ci, 10, 100, 5);
	gmfs_fixture_map(fx, ci, 20, 50, 5);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, gmfs_extent_of(ci, cases[i].at, &file_block),
				    cases[i].mapped, "block %llu", cases[i].at);
		if (cases[i].mapped)
			KUNIT_EXPECT_EQ(test, file_block, cases[i].file_block);
	}
}

/* Extents that are adjacent only in the file, or only in the pool, stay separate. */
static void extent_no_merge(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);

	gmfs_fixture_map(fx, ci, 10, 100, 5);
	gmfs_fixture_map(fx, ci, 15, 106, 5);	/* a gap in the pool */
	gmfs_fixture_map(fx, ci, 21, 111, 4);	/* a gap in the file */
	gmfs_fixture_map(fx, ci, 5, 94, 5);
	gmfs_fixture_map(fx, ci, 0, 99, 1);
	EXPECT(test, ci, { 0, 99, 1 }, { 5, 94, 5 }, { 10, 100, 5 },
	       { 15, 106, 5 }, { 21, 111, 4 });
	gmfs_fixture_reload(fx);
}

/* Pool blocks with consecutive numbers that are not physically contiguous. */
static void extent_seam(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);

	gmfs_fixture_map(fx, ci, 10, SEAM - 5, 5);
	gmfs_fixture_map(fx, ci, 15, SEAM, 5);
	EXPECT(test, ci, { 10, SEAM - 5, 5 }, { 15, SEAM, 5 });
	/* The block in between merges with the extent it is contiguous with. */
	gmfs_fixture_map(fx, ci, 30, SEAM - 20, 4);
	gmfs_fixture_map(fx, ci, 38, SEAM - 12, 4);
	gmfs_fixture_map(fx, ci, 34, SEAM - 16, 4);
	EXPECT(test, ci, { 10, SEAM - 5, 5 }, { 15, SEAM, 5 },
	       { 30, SEAM - 20, 12 });
	gmfs_fixture_reload(fx);
}

/* An extent does not grow beyond the maximum of its count. */
static void extent_overflow(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);
	const u64 max = U32_MAX;
	struct gmpool_range range;
	LIST_HEAD(rsv);

	fx->seam = 0;
	gmfs_fixture_map(fx, ci, 0, 0, max - 1);
	gmfs_fixture_map(fx, ci, max - 1, max - 1, 2);
	gmfs_fixture_map(fx, ci, max + 1, max + 1, max - 2);
	EXPECT(test, ci, { 0, 0, max - 1 }, { max - 1, max - 1, max });

	KUNIT_ASSERT_EQ(test, gmfs_extent_reserve(&fx->img, &rsv, 1), 0);
	range = (struct gmpool_range) { .start = 4 * max, .count = max + 1 };
	KUNIT_EXPECT_EQ(test, -EINVAL,
			gmfs_extent_insert(&fx->img, ci, &rsv, 4 * max, &range));
	range.count = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			gmfs_extent_insert(&fx->img, ci, &rsv, 4 * max, &range));
	gmfs_extent_unreserve(&fx->img, &rsv);
}

static void extent_overlap(struct kunit *test)
{
	static const struct expected cases[] = {
		{ 10, 300, 5 }, { 9, 300, 2 }, { 14, 300, 2 }, { 11, 300, 1 },
		{ 0, 300, 100 }, { 9, 300, 10 }, { 19, 300, 2 },
	};
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);
	struct gmpool_range range;
	LIST_HEAD(rsv);
	int i;

	gmfs_fixture_map(fx, ci, 10, 100, 5);
	gmfs_fixture_map(fx, ci, 20, 200, 5);
	KUNIT_ASSERT_EQ(test, gmfs_extent_reserve(&fx->img, &rsv, 1), 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		range.start = cases[i].pool_block;
		range.count = cases[i].count;
		KUNIT_EXPECT_EQ_MSG(test, -EEXIST,
				    gmfs_extent_insert(&fx->img, ci, &rsv,
						       cases[i].file_block,
						       &range), "case %d", i);
	}
	gmfs_extent_unreserve(&fx->img, &rsv);
	EXPECT(test, ci, { 10, 100, 5 }, { 20, 200, 5 });
	gmfs_fixture_reload(fx);
}

static void extent_find(struct kunit *test)
{
	static const struct {
		u64 at;
		bool mapped;
		u64 start;
		u64 count;
		u64 goal;
	} cases[] = {
		{ 0, false, 0, 10, 90 },
		{ 9, false, 0, 1, 99 },
		{ 10, true, 100, 5, 0 },
		{ 14, true, 104, 1, 0 },
		{ 15, false, 0, 5, 105 },
		{ 19, false, 0, 1, 109 },
		{ 20, true, 7, 5, 0 },
		{ 24, true, 11, 1, 0 },
		{ 25, false, 0, GMFS_MAX_BLOCKS - 25, 12 },
		{ GMFS_MAX_BLOCKS - 1, false, 0, 1, GMFS_MAX_BLOCKS - 14 },
	};
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);
	struct gmpool_range range;
	int i;

	KUNIT_EXPECT_FALSE(test, gmfs_extent_find(ci, 3, &range));
	KUNIT_EXPECT_EQ(test, range.count, GMFS_MAX_BLOCKS - 3);
	KUNIT_EXPECT_EQ(test, gmfs_extent_goal(ci, 3), GMPOOL_NO_GOAL);

	gmfs_fixture_map(fx, ci, 10, 100, 5);
	gmfs_fixture_map(fx, ci, 20, 7, 5);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, cases[i].mapped,
				    gmfs_extent_find(ci, cases[i].at, &range),
				    "case %d", i);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].start, range.start, "case %d",
				    i);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].count, range.count, "case %d",
				    i);
		if (!cases[i].mapped)
			KUNIT_EXPECT_EQ_MSG(test, cases[i].goal,
					    gmfs_extent_goal(ci, cases[i].at),
					    "case %d", i);
	}

	/* The pool has no block before its first. */
	gmfs_fixture_map(fx, ci, 5, 3, 1);
	KUNIT_EXPECT_EQ(test, gmfs_extent_goal(ci, 2), 0);
	KUNIT_EXPECT_EQ(test, gmfs_extent_goal(ci, 1), GMPOOL_NO_GOAL);
}

/* Cut a range, and check the pool blocks that are returned. */
static void cut(struct kunit *test, u64 first, u64 end,
		const struct gmpool_range *want, int nr)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = the_file(test);
	struct gmpool_range range;
	LIST_HEAD(rsv);
	int i;

	KUNIT_ASSERT_EQ(test, gmfs_extent_reserve(&fx->img, &rsv, 1), 0);
	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_EQ(test, gmfs_extent_cut(&fx->img, ci, &rsv, first,
						      end, &range), 1);
		KUNIT_EXPECT_EQ(test, range.start, want[i].start);
		KUNIT_EXPECT_EQ(test, range.count, want[i].count);
	}
	KUNIT_EXPECT_EQ(test, gmfs_extent_cut(&fx->img, ci, &rsv, first, end,
					      &range), 0);
	gmfs_extent_unreserve(&fx->img, &rsv);
	gmfs_fixture_seal(fx);
}

#define CUT(test, first, end, ...)					\
	cut(test, first, end,						\
	    (const struct gmpool_range[]) { __VA_ARGS__ },		\
	    sizeof((const struct gmpool_range[]) { __VA_ARGS__ }) /	\
	    sizeof(struct gmpool_range))

static void extent_cut(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);

	gmfs_fixture_map(fx, ci, 10, 100, 20);
	cut(test, 0, 10, NULL, 0);
	cut(test, 30, 40, NULL, 0);
	cut(test, 15, 15, NULL, 0);
	EXPECT(test, ci, { 10, 100, 20 });

	CUT(test, 0, 12, { 100, 2 });				/* head */
	EXPECT(test, ci, { 12, 102, 18 });
	CUT(test, 28, 99, { 118, 2 });				/* tail */
	EXPECT(test, ci, { 12, 102, 16 });
	CUT(test, 15, 20, { 105, 5 });				/* middle */
	EXPECT(test, ci, { 12, 102, 3 }, { 20, 110, 8 });
	CUT(test, 14, 22, { 104, 1 }, { 110, 2 });		/* both */
	EXPECT(test, ci, { 12, 102, 2 }, { 22, 112, 6 });
	gmfs_fixture_reload(fx);
	EXPECT(test, the_file(test), { 12, 102, 2 }, { 22, 112, 6 });
	CUT(test, 0, GMFS_MAX_BLOCKS, { 102, 2 }, { 112, 6 });	/* all */
	expect(test, the_file(test), NULL, 0);
	gmfs_fixture_reload(fx);
}

/* Blocks cut from the middle merge back into one extent. */
static void extent_cut_refill(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);

	gmfs_fixture_map(fx, ci, 0, 0, 100);
	CUT(test, 40, 50, { 40, 10 });
	KUNIT_EXPECT_EQ(test, gmfs_extent_goal(ci, 40), 40);
	gmfs_fixture_map(fx, ci, 40, 40, 10);
	EXPECT(test, ci, { 0, 0, 100 });
	gmfs_fixture_reload(fx);
}

/* Only a split needs a reserved extent. */
static void extent_cut_unreserved(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);
	struct gmpool_range range;
	LIST_HEAD(none);

	gmfs_fixture_map(fx, ci, 0, 0, 100);
	KUNIT_EXPECT_EQ(test, gmfs_extent_cut(&fx->img, ci, &none, 40, 50,
					      &range), -ENOSPC);
	EXPECT(test, ci, { 0, 0, 100 });
	KUNIT_EXPECT_EQ(test, gmfs_extent_cut(&fx->img, ci, &none, 40, 100,
					      &range), 1);
	EXPECT(test, ci, { 0, 0, 40 });
	range = (struct gmpool_range) { .start = 200, .count = 1 };
	KUNIT_EXPECT_EQ(test, gmfs_extent_insert(&fx->img, ci, &none, 60, &range),
			-ENOSPC);
	EXPECT(test, ci, { 0, 0, 40 });
	gmfs_fixture_reload(fx);
}

/*
 * Each change marks its metadata block dirty. Freeing reserved extents would mark it
 * too, so none are reserved.
 */
static void extent_dirty(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);
	struct gmpool_range range;
	LIST_HEAD(none);

	gmfs_fixture_map(fx, ci, 10, 100, 20);
	gmfs_fixture_seal(fx);
	KUNIT_EXPECT_EQ(test, gmfs_extent_cut(&fx->img, ci, &none, 0, 12, &range),
			1);
	gmfs_fixture_seal(fx);
	KUNIT_EXPECT_EQ(test, gmfs_extent_cut(&fx->img, ci, &none, 28, 40,
					      &range), 1);
	gmfs_fixture_seal(fx);
	EXPECT(test, ci, { 12, 102, 16 });
	range = (struct gmpool_range) { .start = 118, .count = 4 };
	KUNIT_EXPECT_EQ(test, gmfs_extent_insert(&fx->img, ci, &none, 28, &range),
			0);
	gmfs_fixture_seal(fx);
	range = (struct gmpool_range) { .start = 98, .count = 4 };
	KUNIT_EXPECT_EQ(test, gmfs_extent_insert(&fx->img, ci, &none, 8, &range),
			0);
	gmfs_fixture_seal(fx);
	EXPECT(test, ci, { 8, 98, 24 });
}

/* A reservation takes all extents or none. */
static void extent_exhaustion(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	u32 digest = gmfs_fixture_digest(&fx->img);
	LIST_HEAD(rsv);

	fx->left = 3;
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			gmfs_extent_reserve(&fx->img, &rsv, 3 * PER_BLOCK + 1));
	KUNIT_EXPECT_TRUE(test, list_empty(&rsv));
	KUNIT_EXPECT_EQ(test, fx->meta.nr_free, 3);
	KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(&fx->img));
	gmfs_fixture_reload(fx);

	KUNIT_EXPECT_EQ(test, gmfs_extent_reserve(&fx->img, &rsv,
						  3 * PER_BLOCK), 0);
	KUNIT_EXPECT_EQ(test, fx->meta.nr_free, 0);
	gmfs_extent_unreserve(&fx->img, &rsv);
	KUNIT_EXPECT_EQ(test, fx->meta.nr_free, 3);
	gmfs_fixture_reload(fx);
}

#define FILE_BLOCKS	256
#define HOLE		U64_MAX

static void check_walk(struct kunit *test, const u64 *map)
{
	struct gmfs_inode *ci = the_file(test);
	struct gmfs_extent *ext, *last = NULL;
	struct gmfs_fixture *fx = test->priv;
	struct gmpool_range range;
	struct rb_node *node;
	u64 blocks = 0;
	int i, end;

	for (i = 0; i < FILE_BLOCKS; i++) {
		KUNIT_ASSERT_EQ(test, gmfs_extent_find(ci, i, &range),
				map[i] != HOLE);
		for (end = i; end < FILE_BLOCKS && map[end] == HOLE; end++)
			;
		if (map[i] != HOLE) {
			KUNIT_ASSERT_EQ(test, range.start, map[i]);
			blocks++;
		} else if (end < FILE_BLOCKS) {
			KUNIT_ASSERT_EQ(test, range.count, end - i);
		}
	}
	KUNIT_ASSERT_EQ(test, ci->file.blocks, blocks);

	/* No two adjacent extents could be merged. */
	for (node = rb_first(&ci->file.extents); node; node = rb_next(node)) {
		ext = rb_entry(node, struct gmfs_extent, node);
		if (last && last->rec->file_block + last->rec->count ==
			    ext->rec->file_block &&
		    last->rec->pool_block + last->rec->count ==
			    ext->rec->pool_block)
			KUNIT_ASSERT_EQ(test, ext->rec->pool_block, fx->seam);
		last = ext;
	}
}

/* Random operations against an array of the pool block of each file block. */
static void extent_random(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci = new_file(test);
	unsigned long *used;
	struct rnd_state rnd;
	u64 *map;
	int n, i;

	gmpool_test_seed(test, &rnd, seed);
	map = kunit_kcalloc(test, FILE_BLOCKS, sizeof(*map), GFP_KERNEL);
	used = kunit_kcalloc(test, BITS_TO_LONGS(POOL_BLOCKS), sizeof(long),
			     GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	KUNIT_ASSERT_NOT_NULL(test, used);
	for (i = 0; i < FILE_BLOCKS; i++)
		map[i] = HOLE;

	for (n = 0; n < 5000; n++) {
		u64 first = gmpool_test_random(&rnd, 0, FILE_BLOCKS - 1);
		u64 count = gmpool_test_random(&rnd, 1, 24);
		u64 pool = gmpool_test_random(&rnd, 0, POOL_BLOCKS - 1);
		struct gmpool_range range;
		LIST_HEAD(rsv);

		count = min(count, FILE_BLOCKS - first);
		if (prandom_u32_state(&rnd) % 2) {
			/* In half of the cases, blocks that can be merged. */
			if (first && map[first - 1] != HOLE && n % 2)
				pool = map[first - 1] + 1;
			for (i = 0; i < count; i++)
				if (map[first + i] != HOLE ||
				    pool + i >= POOL_BLOCKS ||
				    (i && pool + i == SEAM) ||
				    test_bit(pool + i, used))
					break;
			if (!i)
				continue;
			count = i;
			gmfs_fixture_map(fx, ci, first, pool, count);
			bitmap_set(used, pool, count);
			for (i = 0; i < count; i++)
				map[first + i] = pool + i;
		} else {
			u64 at = first;

			KUNIT_ASSERT_EQ(test, 0,
					gmfs_extent_reserve(&fx->img, &rsv, 1));
			while (gmfs_extent_cut(&fx->img, ci, &rsv, first,
					       first + count, &range) > 0) {
				while (at < first + count && map[at] == HOLE)
					at++;
				for (i = 0; i < range.count; i++) {
					KUNIT_ASSERT_LT(test, at, first + count);
					KUNIT_ASSERT_EQ(test, map[at],
							range.start + i);
					map[at++] = HOLE;
				}
				bitmap_clear(used, range.start, range.count);
			}
			gmfs_extent_unreserve(&fx->img, &rsv);
			for (i = 0; i < count; i++)
				KUNIT_ASSERT_EQ(test, map[first + i], HOLE);
		}
		gmfs_fixture_seal(fx);
		check_walk(test, map);
		if (n % 500 == 0) {
			gmfs_fixture_reload(fx);
			ci = the_file(test);
			check_walk(test, map);
		}
	}
}

static struct kunit_case extent_cases[] = {
	KUNIT_CASE(extent_merge),
	KUNIT_CASE(extent_of),
	KUNIT_CASE(extent_no_merge),
	KUNIT_CASE(extent_seam),
	KUNIT_CASE(extent_overflow),
	KUNIT_CASE(extent_overlap),
	KUNIT_CASE(extent_find),
	KUNIT_CASE(extent_cut),
	KUNIT_CASE(extent_cut_refill),
	KUNIT_CASE(extent_cut_unreserved),
	KUNIT_CASE(extent_dirty),
	KUNIT_CASE(extent_exhaustion),
	KUNIT_CASE(extent_random),
	{}
};

static struct kunit_suite extent_suite = {
	.name = "gmfs-extent",
	.init = extent_init,
	.exit = gmfs_fixture_exit,
	.test_cases = extent_cases,
};

kunit_test_suite(extent_suite);

MODULE_DESCRIPTION("KUnit tests of the extents of guestmemfs");
MODULE_LICENSE("GPL");
