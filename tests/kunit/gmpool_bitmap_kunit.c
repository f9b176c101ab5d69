// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the block bitmap of a pool.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <kunit/resource.h>
#include <kunit/test.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "../numa/bitmap.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define GIB	GMPOOL_1G_BLOCKS

KUNIT_DEFINE_ACTION_WRAPPER(bitmap_destroy, gmpool_bitmap_destroy,
			    struct gmpool_bitmap *);

/*
 * @blocks has base and size in blocks; the number of the first block is
 * computed.
 */
static void set_extents(struct gmpool_extent *extents, const u64 (*blocks)[2],
			unsigned int nr)
{
	u64 first = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		extents[i].base = blocks[i][0] << GMPOOL_BLOCK_SHIFT;
		extents[i].size = blocks[i][1] << GMPOOL_BLOCK_SHIFT;
		extents[i].first = first;
		first += blocks[i][1];
	}
}

/* A pool of @nr extents that lives as long as the test. */
static struct gmpool_bitmap *make_pool(struct kunit *test,
				       const u64 (*blocks)[2], unsigned int nr)
{
	struct gmpool_extent *extents;
	struct gmpool_bitmap *map;

	extents = kunit_kcalloc(test, nr, sizeof(*extents), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, extents);
	map = kunit_kzalloc(test, sizeof(*map), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	set_extents(extents, blocks, nr);
	KUNIT_ASSERT_EQ(test, gmpool_bitmap_init(map, extents, nr), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, bitmap_destroy, map), 0);
	return map;
}

/* Check the invariants, after every step. */
static void assert_counters(struct kunit *test, const struct gmpool_bitmap *map,
			    u64 nr_free)
{
	KUNIT_ASSERT_EQ(test, map->nr_free, nr_free);
	KUNIT_ASSERT_EQ(test, bitmap_weight(map->taken, map->nr_blocks),
			map->nr_blocks - nr_free);
}

static void take(struct kunit *test, struct gmpool_bitmap *map, u64 start,
		 u64 count)
{
	struct gmpool_range range = { start, count };
	u64 nr_free = map->nr_free;

	KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(map, &range), 0);
	KUNIT_ASSERT_EQ(test, range.start, start);
	KUNIT_ASSERT_EQ(test, range.count, count);
	assert_counters(test, map, nr_free - count);
}

static void put(struct kunit *test, struct gmpool_bitmap *map, u64 start,
		u64 count)
{
	struct gmpool_range range = { start, count };
	u64 nr_free = map->nr_free;

	KUNIT_ASSERT_EQ(test, gmpool_bitmap_put(map, &range), 0);
	assert_counters(test, map, nr_free + count);
}

static void expect_found(struct kunit *test, const struct gmpool_bitmap *map,
			 u64 want, u64 goal, u64 start, u64 count)
{
	struct gmpool_range range = { ~0ULL, ~0ULL };

	KUNIT_ASSERT_EQ(test, gmpool_bitmap_find(map, want, goal, &range), 0);
	KUNIT_EXPECT_EQ_MSG(test, range.start, start, "%llu wanted", want);
	KUNIT_EXPECT_EQ_MSG(test, range.count, count, "%llu wanted", want);
}

static void init_and_destroy(struct kunit *test)
{
	static const u64 blocks[][2] = { { 64, 65 }, { 512, 1 }, { 9999, 130 } };
	struct gmpool_extent extents[3];
	struct gmpool_bitmap map;

	set_extents(extents, blocks, 3);
	memset(&map, 0xff, sizeof(map));
	KUNIT_ASSERT_EQ(test, gmpool_bitmap_init(&map, extents, 3), 0);
	KUNIT_ASSERT_NOT_NULL(test, map.taken);
	KUNIT_EXPECT_EQ(test, map.nr_blocks, 196);
	KUNIT_EXPECT_PTR_EQ(test, map.extents, &extents[0]);
	KUNIT_EXPECT_EQ(test, map.nr_extents, 3);
	assert_counters(test, &map, 196);

	gmpool_bitmap_destroy(&map);
	KUNIT_EXPECT_NULL(test, map.taken);
	gmpool_bitmap_destroy(&map);

	memset(&map, 0, sizeof(map));
	gmpool_bitmap_destroy(&map);
}

static void contiguity(struct kunit *test)
{
	static const u64 blocks[][2] = { { 4 * GIB, 300 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);

	/* Each follows the previous one, without a goal. */
	expect_found(test, map, 100, GMPOOL_NO_GOAL, 0, 100);
	take(test, map, 0, 100);
	expect_found(test, map, 100, GMPOOL_NO_GOAL, 100, 100);
	take(test, map, 100, 100);

	/* A search takes nothing. */
	expect_found(test, map, 100, GMPOOL_NO_GOAL, 200, 100);
	expect_found(test, map, 100, GMPOOL_NO_GOAL, 200, 100);
	assert_counters(test, map, 100);

	/* Split only if no range is long enough. */
	put(test, map, 50, 99);
	expect_found(test, map, 100, GMPOOL_NO_GOAL, 200, 100);
	expect_found(test, map, 101, GMPOOL_NO_GOAL, 200, 100);
	take(test, map, 200, 100);
	expect_found(test, map, 100, GMPOOL_NO_GOAL, 50, 99);

	/* Neighbours become one range again. */
	put(test, map, 149, 51);
	expect_found(test, map, 150, GMPOOL_NO_GOAL, 50, 150);
}

struct gibibyte_case {
	const char *name;
	u64 base;
	u64 first_gib;
};

static const struct gibibyte_case gibibyte_cases[] = {
	{ "base at 0", 0, 0 },
	{ "base at a boundary of 1 GiB", 7 * GIB, 0 },
	{ "base one section past it", 7 * GIB + 64, GIB - 64 },
	{ "base one block past it", 7 * GIB + 1, GIB - 1 },
	{ "base one block before it", 8 * GIB - 1, 1 },
	{ "base half way", 7 * GIB + 256, 256 },
	{ "base above 1 TiB", (1ULL << 19) + 448, 64 },
};

KUNIT_ARRAY_PARAM_DESC(gibibyte, gibibyte_cases, name);

/* The boundary is one of physical memory, not of block numbers. */
static void gibibyte_alignment(struct kunit *test)
{
	const struct gibibyte_case *c = test->param_value;
	/* A single block first: block number and address always differ. */
	const u64 blocks[][2] = { { 0, 1 }, { c->base, c->first_gib + 3 * GIB + 100 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 2);
	const u64 gib = 1 + c->first_gib;

	take(test, map, 0, 1);

	expect_found(test, map, GIB, GMPOOL_NO_GOAL, gib, GIB);
	expect_found(test, map, GIB + 1, GMPOOL_NO_GOAL, gib, GIB + 1);
	expect_found(test, map, 3 * GIB, GMPOOL_NO_GOAL, gib, 3 * GIB);
	expect_found(test, map, 3 * GIB + 100, GMPOOL_NO_GOAL, gib,
		     3 * GIB + 100);
	/*
	 * More than there is: whole 1 GiB ranges now, the rest by the next
	 * search.
	 */
	expect_found(test, map, 3 * GIB + 101, GMPOOL_NO_GOAL, gib, 3 * GIB);
	expect_found(test, map, ~0ULL, GMPOOL_NO_GOAL, gib, 3 * GIB);

	/* Break the first 1 GiB: two are left. */
	take(test, map, gib, 1);
	expect_found(test, map, GIB, GMPOOL_NO_GOAL, gib + GIB, GIB);
	expect_found(test, map, 3 * GIB, GMPOOL_NO_GOAL, gib + GIB,
		     2 * GIB);

	/* Break the last 1 GiB at its end: one is left. */
	take(test, map, gib + 3 * GIB - 1, 1);
	expect_found(test, map, 2 * GIB, GMPOOL_NO_GOAL, gib + GIB, GIB);

	/* Break the last one: the longest range is found, at any alignment. */
	take(test, map, gib + 2 * GIB - 1, 1);
	expect_found(test, map, GIB, GMPOOL_NO_GOAL, gib + 1, GIB);
	expect_found(test, map, 3 * GIB, GMPOOL_NO_GOAL, gib + 1,
		     2 * GIB - 2);
}

/* The smallest free range with a 1 GiB boundary is broken. */
static void gibibyte_best_fit(struct kunit *test)
{
	static const u64 blocks[][2] = {
		{ 0, 4 * GIB }, { 10 * GIB, 2 * GIB }, { 20 * GIB, 3 * GIB },
		{ 30 * GIB + 1, 2 * GIB - 2 },
	};
	struct gmpool_bitmap *map = make_pool(test, blocks, 4);

	expect_found(test, map, GIB, GMPOOL_NO_GOAL, 4 * GIB, GIB);
	expect_found(test, map, 2 * GIB, GMPOOL_NO_GOAL, 4 * GIB, 2 * GIB);
	expect_found(test, map, 3 * GIB, GMPOOL_NO_GOAL, 6 * GIB, 3 * GIB);
	expect_found(test, map, 4 * GIB, GMPOOL_NO_GOAL, 0, 4 * GIB);
	expect_found(test, map, 5 * GIB, GMPOOL_NO_GOAL, 0, 4 * GIB);
}

static void goal(struct kunit *test)
{
	static const u64 blocks[][2] = { { 0, 200 }, { 1000, 200 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 2);

	/* Before best fit, which would be at 390. */
	take(test, map, 100, 10);
	take(test, map, 380, 10);
	expect_found(test, map, 10, GMPOOL_NO_GOAL, 390, 10);
	expect_found(test, map, 10, 110, 110, 10);
	expect_found(test, map, 10, 0, 0, 10);
	expect_found(test, map, 10, 50, 50, 10);

	/*
	 * The goal has priority over length: up to a taken block or the
	 * extent's end.
	 */
	expect_found(test, map, 10, 95, 95, 5);
	expect_found(test, map, 10, 99, 99, 1);
	expect_found(test, map, 10, 195, 195, 5);
	expect_found(test, map, 10, 199, 199, 1);
	expect_found(test, map, 20, 399, 399, 1);
	expect_found(test, map, ~0ULL, 110, 110, 90);
	expect_found(test, map, 1, 110, 110, 1);

	/* The first block of the next extent is a valid goal. */
	expect_found(test, map, 10, 200, 200, 10);

	/* A goal that is taken or not in the pool is ignored. */
	expect_found(test, map, 10, 100, 390, 10);
	expect_found(test, map, 10, 109, 390, 10);
	expect_found(test, map, 10, 400, 390, 10);
	expect_found(test, map, 10, ~0ULL - 1, 390, 10);

	/* The goal also has priority for requests of 1 GiB. */
	expect_found(test, map, GIB, 110, 110, 90);
}

static void best_fit(struct kunit *test)
{
	static const u64 blocks[][2] = { { 0, 100 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);

	/* Free: 10 at 5, 5 at 20, 20 at 40, 5 at 95. */
	take(test, map, 0, 100);
	put(test, map, 5, 10);
	put(test, map, 20, 5);
	put(test, map, 40, 20);
	put(test, map, 95, 5);

	expect_found(test, map, 1, GMPOOL_NO_GOAL, 20, 1);
	expect_found(test, map, 5, GMPOOL_NO_GOAL, 20, 5);
	expect_found(test, map, 6, GMPOOL_NO_GOAL, 5, 6);
	expect_found(test, map, 10, GMPOOL_NO_GOAL, 5, 10);
	expect_found(test, map, 11, GMPOOL_NO_GOAL, 40, 11);
	expect_found(test, map, 20, GMPOOL_NO_GOAL, 40, 20);
	/* No range is long enough: the longest is found. */
	expect_found(test, map, 21, GMPOOL_NO_GOAL, 40, 20);
	expect_found(test, map, ~0ULL, GMPOOL_NO_GOAL, 40, 20);
}

/*
 * Free blocks outside whole 1 GiB ranges are used first:
 *
 *   block   0        64       576      1088     1188
 *           | head 64 | 1 GiB  | 1 GiB  | tail 100 |
 */
static void gibibytes_kept_whole(struct kunit *test)
{
	static const u64 blocks[][2] = { { 3 * GIB - 64, 64 + 2 * GIB + 100 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);
	struct gmpool_range range;
	u64 i;

	expect_found(test, map, 64, GMPOOL_NO_GOAL, 0, 64);
	expect_found(test, map, 65, GMPOOL_NO_GOAL, 1088, 65);
	expect_found(test, map, 100, GMPOOL_NO_GOAL, 1088, 100);
	/* Too large for both: the tail, and few blocks of the last 1 GiB. */
	expect_found(test, map, 101, GMPOOL_NO_GOAL, 1087, 101);
	expect_found(test, map, GIB - 1, GMPOOL_NO_GOAL, 1188 - (GIB - 1),
		     GIB - 1);

	/* Single blocks come from outside the 1 GiB ranges first. */
	for (i = 0; i < 164; i++) {
		KUNIT_ASSERT_EQ(test, gmpool_bitmap_find(map, 1, GMPOOL_NO_GOAL, &range), 0);
		KUNIT_ASSERT_TRUE_MSG(test, range.start < 64 || range.start >= 1088,
				      "block %llu", range.start);
		take(test, map, range.start, range.count);
	}
	expect_found(test, map, 2 * GIB, GMPOOL_NO_GOAL, 64, 2 * GIB);

	/* Then the last 1 GiB is broken, and no other until it is full. */
	for (i = 0; i < GIB; i++) {
		expect_found(test, map, GIB, GMPOOL_NO_GOAL, 64, GIB);
		KUNIT_ASSERT_EQ(test, gmpool_bitmap_find(map, 1, GMPOOL_NO_GOAL, &range), 0);
		KUNIT_ASSERT_GE(test, range.start, 64 + GIB);
		take(test, map, range.start, range.count);
	}
	assert_counters(test, map, GIB);
	expect_found(test, map, GIB, GMPOOL_NO_GOAL, 64, GIB);
}

/* A range ends at the extent's end, even if the next extent is adjacent. */
static void extents_not_crossed(struct kunit *test)
{
	static const u64 blocks[][2] = { { 0, 100 }, { 100, 50 }, { GIB, 100 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 3);

	expect_found(test, map, 250, GMPOOL_NO_GOAL, 0, 100);
	expect_found(test, map, 101, GMPOOL_NO_GOAL, 0, 100);
	expect_found(test, map, 51, GMPOOL_NO_GOAL, 0, 51);
	expect_found(test, map, 50, GMPOOL_NO_GOAL, 100, 50);
	expect_found(test, map, 250, 40, 40, 60);
	expect_found(test, map, 250, 100, 100, 50);

	/* Take and put may cross extents: they only change bits. */
	take(test, map, 90, 70);
	expect_found(test, map, 250, GMPOOL_NO_GOAL, 0, 90);
	put(test, map, 95, 60);
	expect_found(test, map, 55, 95, 95, 5);
	expect_found(test, map, 50, 100, 100, 50);
}

static void exhaustion(struct kunit *test)
{
	static const u64 blocks[][2] = { { 7, 65 }, { 2000, 1 }, { 3000, 700 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 3);
	struct gmpool_range range;
	u64 i;

	/* A request of 0 blocks fails. */
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, 0, GMPOOL_NO_GOAL, &range), -ENOSPC);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, 0, 5, &range), -ENOSPC);

	for (i = 0; i < 766; i++) {
		assert_counters(test, map, 766 - i);
		KUNIT_ASSERT_EQ(test,
				gmpool_bitmap_find(map, 1, i % 2 ? i : GMPOOL_NO_GOAL, &range),
				0);
		KUNIT_ASSERT_EQ(test, range.count, 1);
		take(test, map, range.start, 1);
	}
	assert_counters(test, map, 0);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, 1, GMPOOL_NO_GOAL, &range), -ENOSPC);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, 1, 0, &range), -ENOSPC);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, GIB, GMPOOL_NO_GOAL, &range), -ENOSPC);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, ~0ULL, GMPOOL_NO_GOAL, &range), -ENOSPC);

	/* The only free block is found by requests of any size. */
	put(test, map, 65, 1);
	expect_found(test, map, 1, GMPOOL_NO_GOAL, 65, 1);
	expect_found(test, map, GIB, GMPOOL_NO_GOAL, 65, 1);
	expect_found(test, map, ~0ULL, 3, 65, 1);
	take(test, map, 65, 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, 1, GMPOOL_NO_GOAL, &range), -ENOSPC);

	/* Free all at once, and start again. */
	put(test, map, 0, 766);
	assert_counters(test, map, 766);
	take(test, map, 0, 766);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, 1, GMPOOL_NO_GOAL, &range), -ENOSPC);
}

/* Expect an error, and no changed bit or counter. */
static void expect_refused(struct kunit *test, struct gmpool_bitmap *map,
			   bool is_take, u64 start, u64 count, int err)
{
	const size_t size = BITS_TO_LONGS(map->nr_blocks) * sizeof(long);
	const struct gmpool_range range = { start, count };
	const struct gmpool_bitmap before = *map;
	unsigned long *bits;

	bits = kunit_kmalloc(test, size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, bits);
	memcpy(bits, map->taken, size);

	KUNIT_EXPECT_EQ_MSG(test,
			    is_take ? gmpool_bitmap_take(map, &range) :
			    gmpool_bitmap_put(map, &range),
			    err, "%s %llu+%llu", is_take ? "take" : "put", start, count);
	KUNIT_EXPECT_MEMEQ(test, map->taken, bits, size);
	KUNIT_EXPECT_EQ(test, map->nr_free, before.nr_free);
	KUNIT_EXPECT_EQ(test, map->nr_blocks, before.nr_blocks);
	kunit_kfree(test, bits);
}

static void double_take(struct kunit *test)
{
	static const u64 blocks[][2] = { { 0, 200 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);

	take(test, map, 50, 100);
	expect_refused(test, map, true, 50, 100, -EBUSY);
	expect_refused(test, map, true, 50, 1, -EBUSY);
	expect_refused(test, map, true, 149, 1, -EBUSY);
	expect_refused(test, map, true, 100, 10, -EBUSY);
	/* One block too many at either end, or in the middle. */
	expect_refused(test, map, true, 0, 51, -EBUSY);
	expect_refused(test, map, true, 149, 51, -EBUSY);
	expect_refused(test, map, true, 0, 200, -EBUSY);
	/* The neighbour is free. */
	take(test, map, 0, 50);
	take(test, map, 150, 50);
	expect_refused(test, map, true, 0, 200, -EBUSY);
}

static void double_put(struct kunit *test)
{
	static const u64 blocks[][2] = { { 0, 200 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);

	expect_refused(test, map, false, 0, 200, -EINVAL);
	expect_refused(test, map, false, 0, 1, -EINVAL);

	take(test, map, 50, 100);
	expect_refused(test, map, false, 49, 1, -EINVAL);
	expect_refused(test, map, false, 150, 1, -EINVAL);
	expect_refused(test, map, false, 49, 101, -EINVAL);
	expect_refused(test, map, false, 50, 101, -EINVAL);
	expect_refused(test, map, false, 0, 200, -EINVAL);

	put(test, map, 100, 1);
	expect_refused(test, map, false, 50, 100, -EINVAL);
	expect_refused(test, map, false, 100, 1, -EINVAL);
	put(test, map, 50, 50);
	put(test, map, 101, 49);
	expect_refused(test, map, false, 50, 100, -EINVAL);
	assert_counters(test, map, 200);
}

static void out_of_range(struct kunit *test)
{
	static const u64 blocks[][2] = { { 0, 100 }, { 200, 30 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 2);
	unsigned int i;

	/* Take and put, in an empty pool and in a full one. */
	for (i = 0; i < 4; i++) {
		bool is_take = i % 2;

		if (i == 2)
			take(test, map, 0, 130);
		expect_refused(test, map, is_take, 0, 0, -EINVAL);
		expect_refused(test, map, is_take, 129, 0, -EINVAL);
		expect_refused(test, map, is_take, 0, 131, -EINVAL);
		expect_refused(test, map, is_take, 129, 2, -EINVAL);
		expect_refused(test, map, is_take, 130, 1, -EINVAL);
		expect_refused(test, map, is_take, 130, 0, -EINVAL);
		expect_refused(test, map, is_take, ~0ULL, 1, -EINVAL);
		/* The sum of start and count wraps around into the pool. */
		expect_refused(test, map, is_take, ~0ULL, 2, -EINVAL);
		expect_refused(test, map, is_take, 1, ~0ULL, -EINVAL);
		expect_refused(test, map, is_take, 64, ~0ULL - 62, -EINVAL);
		expect_refused(test, map, is_take, 1ULL << 32, 1, -EINVAL);
		expect_refused(test, map, is_take, 0, 1ULL << 32, -EINVAL);
	}
}

/*
 * The oracle: a byte for each block. Free ranges are computed again for each
 * check, by a simple loop.
 */
#define WALK_EXTENTS	5
#define WALK_BLOCKS	1800	/* of one extent, at most */
#define WALK_RANGES	512

struct walk {
	struct kunit *test;
	struct rnd_state rnd;
	struct gmpool_bitmap *map;
	u8 *taken;
	struct gmpool_range ranges[WALK_RANGES];
	unsigned int nr_ranges;
};

/* A maximal free range, and the whole 1 GiB ranges in it. */
struct free_range {
	u64 start, end;
	u64 gibs_start, gibs_end;
};

static u64 phys_block(const struct gmpool_extent *extent, u64 block)
{
	return (extent->base >> GMPOOL_BLOCK_SHIFT) + block - extent->first;
}

/* The first free range from block @from on, or false. */
static bool next_free_range(const struct walk *walk, u64 from,
			    struct free_range *free)
{
	const struct gmpool_bitmap *map = walk->map;
	const struct gmpool_extent *extent = NULL;
	u64 block, extent_end = 0;
	u32 i;

	for (block = from; block < map->nr_blocks && walk->taken[block]; block++)
		;
	if (block == map->nr_blocks)
		return false;

	for (i = 0; i < map->nr_extents && block >= extent_end; i++) {
		extent = &map->extents[i];
		extent_end = extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
	}

	free->start = block;
	while (block < extent_end && !walk->taken[block])
		block++;
	free->end = block;

	free->gibs_start = free->start;
	while (phys_block(extent, free->gibs_start) % GIB)
		free->gibs_start++;
	free->gibs_end = free->gibs_start;
	while (free->gibs_end + GIB <= free->end)
		free->gibs_end += GIB;
	return true;
}

static void assert_like_oracle(const struct walk *walk)
{
	const struct gmpool_bitmap *map = walk->map;
	struct kunit *test = walk->test;
	u64 block, nr_free = 0;

	for (block = 0; block < map->nr_blocks; block++) {
		if (test_bit(block, map->taken) != walk->taken[block])
			KUNIT_FAIL_AND_ABORT(test, "block %llu", block);
		nr_free += !walk->taken[block];
	}
	KUNIT_ASSERT_EQ(test, map->nr_free, nr_free);
}

/* Check that a range is contiguous, free, and not longer than wanted. */
static void assert_range_good(const struct walk *walk, u64 want,
			      const struct gmpool_range *range)
{
	struct kunit *test = walk->test;
	struct free_range free;

	KUNIT_ASSERT_GT(test, range->count, 0);
	KUNIT_ASSERT_LE(test, range->count, want);
	KUNIT_ASSERT_LT(test, range->start, walk->map->nr_blocks);
	KUNIT_ASSERT_FALSE(test, walk->taken[range->start]);
	KUNIT_ASSERT_TRUE(test, next_free_range(walk, range->start, &free));
	KUNIT_ASSERT_EQ(test, free.start, range->start);
	KUNIT_ASSERT_LE(test, range->start + range->count, free.end);
}

static void assert_goal_kept(const struct walk *walk, u64 want, u64 goal,
			     const struct gmpool_range *range)
{
	struct free_range free;

	KUNIT_ASSERT_TRUE(walk->test, next_free_range(walk, goal, &free));
	KUNIT_ASSERT_EQ(walk->test, range->start, goal);
	KUNIT_ASSERT_EQ(walk->test, range->count, min(want, free.end - goal));
}

/* For 1 GiB and more: at a boundary if any 1 GiB is free, else the longest. */
static void assert_gib_placed(const struct walk *walk, u64 want,
			      const struct gmpool_range *range)
{
	u64 longest = 0, most = 0, at, best = U64_MAX;
	bool whole = false, starts = false;
	struct kunit *test = walk->test;
	struct free_range free;

	for (at = 0; next_free_range(walk, at, &free); at = free.end) {
		u64 len = free.end - free.start;

		longest = max(longest, len);
		if (free.gibs_start == free.gibs_end) {
			/* Valid only if no 1 GiB is free. */
			if (range->start == free.start)
				starts = true;
			continue;
		}
		whole = true;
		if (free.end - free.gibs_start >= want)
			best = min(best, len);
		most = max(most, free.gibs_end - free.gibs_start);
	}

	if (!whole) {
		KUNIT_ASSERT_TRUE(test, starts);
		KUNIT_ASSERT_EQ(test, range->count, min(want, longest));
		return;
	}

	if (best == U64_MAX)
		KUNIT_ASSERT_EQ(test, range->count, most);
	else
		KUNIT_ASSERT_EQ(test, range->count, want);
	for (at = 0; next_free_range(walk, at, &free); at = free.end) {
		if (range->start < free.start || range->start >= free.end)
			continue;
		KUNIT_ASSERT_EQ(test, range->start, free.gibs_start);
		if (best != U64_MAX)
			KUNIT_ASSERT_EQ(test, free.end - free.start, best);
	}
}

/*
 * For less than 1 GiB: the smallest part outside the 1 GiB ranges that
 * suffices.
 */
static void assert_small_placed(const struct walk *walk, u64 want,
				const struct gmpool_range *range)
{
	u64 longest = 0, part = U64_MAX, breaks = U64_MAX, len, at;
	struct kunit *test = walk->test;
	struct free_range free;

	for (at = 0; next_free_range(walk, at, &free); at = free.end) {
		bool none = free.gibs_start == free.gibs_end;
		u64 head = (none ? free.end : free.gibs_start) - free.start;
		u64 tail = none ? 0 : free.end - free.gibs_end;

		len = free.end - free.start;
		longest = max(longest, len);
		if (head >= want)
			part = min(part, head);
		if (tail >= want)
			part = min(part, tail);
		if (!none)
			breaks = min(breaks, len);
	}
	KUNIT_ASSERT_EQ(test, range->count, min(want, longest));

	for (at = 0; next_free_range(walk, at, &free); at = free.end) {
		bool none = free.gibs_start == free.gibs_end;

		if (range->start < free.start || range->start >= free.end)
			continue;
		len = free.end - free.start;
		if (part == U64_MAX && breaks != U64_MAX) {
			KUNIT_ASSERT_EQ(test, range->start + want, free.end);
			KUNIT_ASSERT_EQ(test, len, breaks);
		} else if (part == U64_MAX) {
			KUNIT_ASSERT_EQ(test, range->start, free.start);
			KUNIT_ASSERT_EQ(test, len, longest);
		} else if (none) {
			KUNIT_ASSERT_EQ(test, range->start, free.start);
			KUNIT_ASSERT_EQ(test, len, part);
		} else if (range->start == free.start) {
			KUNIT_ASSERT_EQ(test, free.gibs_start - free.start, part);
		} else {
			KUNIT_ASSERT_EQ(test, range->start, free.gibs_end);
			KUNIT_ASSERT_EQ(test, free.end - free.gibs_end, part);
		}
	}
}

static void walk_take(struct walk *walk)
{
	const u64 total = walk->map->nr_blocks;
	u64 want, goal = GMPOOL_NO_GOAL;
	struct kunit *test = walk->test;
	struct gmpool_range range;
	int err;

	switch (gmpool_test_random(&walk->rnd, 0, 4)) {
	case 0:
		want = gmpool_test_random(&walk->rnd, GIB - 2, GIB + 2);
		break;
	case 1:
		want = gmpool_test_random(&walk->rnd, GIB, 3 * GIB);
		break;
	case 2:
		want = gmpool_test_random(&walk->rnd, 1, GIB);
		break;
	default:
		want = gmpool_test_random(&walk->rnd, 1, 16);
	}
	if (gmpool_test_random(&walk->rnd, 0, 2) == 0)
		goal = gmpool_test_random(&walk->rnd, 0, total + 1);

	err = gmpool_bitmap_find(walk->map, want, goal, &range);
	if (!memchr(walk->taken, 0, total)) {
		KUNIT_ASSERT_EQ(test, err, -ENOSPC);
		return;
	}
	KUNIT_ASSERT_EQ(test, err, 0);
	assert_range_good(walk, want, &range);
	if (goal < total && !walk->taken[goal])
		assert_goal_kept(walk, want, goal, &range);
	else if (want >= GIB)
		assert_gib_placed(walk, want, &range);
	else
		assert_small_placed(walk, want, &range);

	KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(walk->map, &range), 0);
	memset(walk->taken + range.start, 1, range.count);
	walk->ranges[walk->nr_ranges++] = range;
}

static void walk_put(struct walk *walk)
{
	unsigned int i = gmpool_test_random(&walk->rnd, 0, walk->nr_ranges - 1);
	struct gmpool_range range = walk->ranges[i];
	u64 part = gmpool_test_random(&walk->rnd, 1, range.count);

	/* Put the whole range, or its end. */
	if (gmpool_test_random(&walk->rnd, 0, 1)) {
		walk->ranges[i].count -= part;
		range.start += walk->ranges[i].count;
		range.count = part;
	} else {
		walk->ranges[i].count = 0;
	}
	if (!walk->ranges[i].count)
		walk->ranges[i] = walk->ranges[--walk->nr_ranges];

	KUNIT_ASSERT_EQ(walk->test, gmpool_bitmap_put(walk->map, &range), 0);
	memset(walk->taken + range.start, 0, range.count);
}

/* Try a random range: most are refused. */
static void walk_try(struct walk *walk)
{
	const u64 total = walk->map->nr_blocks;
	bool is_take = gmpool_test_random(&walk->rnd, 0, 1);
	struct gmpool_range range;
	bool fits, all_good;

	range.start = gmpool_test_random(&walk->rnd, 0, total + 2);
	range.count = gmpool_test_random(&walk->rnd, 0, 40);
	fits = range.count && range.start + range.count <= total;
	all_good = fits && !memchr_inv(walk->taken + range.start, !is_take, range.count);
	if (all_good)
		return;

	KUNIT_ASSERT_EQ(walk->test,
			is_take ? gmpool_bitmap_take(walk->map, &range) :
			gmpool_bitmap_put(walk->map, &range),
			is_take && fits ? -EBUSY : -EINVAL);
}

static void random_walk(struct kunit *test)
{
	unsigned int round, step, nr, i;
	u64 blocks[WALK_EXTENTS][2];
	struct walk *walk;

	walk = kunit_kzalloc(test, sizeof(*walk), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, walk);
	walk->test = test;
	gmpool_test_seed(test, &walk->rnd, seed);

	for (round = 0; round < 8; round++) {
		u64 base = 0;

		nr = gmpool_test_random(&walk->rnd, 1, WALK_EXTENTS);
		for (i = 0; i < nr; i++) {
			base += gmpool_test_random(&walk->rnd, 0, 2 * GIB);
			blocks[i][0] = base;
			blocks[i][1] = gmpool_test_random(&walk->rnd, 1, WALK_BLOCKS);
			base += blocks[i][1];
		}
		walk->map = make_pool(test, blocks, nr);
		walk->nr_ranges = 0;
		walk->taken = kunit_kzalloc(test, walk->map->nr_blocks, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, walk->taken);

		for (step = 0; step < 600; step++) {
			/* Alternate between filling and emptying the pool. */
			bool filling = step / 100 % 2 == 0;
			u32 dice = gmpool_test_random(&walk->rnd, 0, 9);

			if (dice == 0)
				walk_try(walk);
			else if (walk->nr_ranges < WALK_RANGES && (dice < 7) == filling)
				walk_take(walk);
			else if (walk->nr_ranges)
				walk_put(walk);
			assert_like_oracle(walk);
		}

		while (walk->nr_ranges)
			walk_put(walk);
		assert_like_oracle(walk);
		KUNIT_ASSERT_EQ(test, walk->map->nr_free, walk->map->nr_blocks);
		kunit_kfree(test, walk->taken);
	}
}

/* 4 TiB from 1 TiB on, less one block so that the last word is not full. */
static void large_pool(struct kunit *test)
{
	static const u64 blocks[][2] = { { SZ_512K, SZ_2M - 1 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);
	const u64 last = SZ_2M - 2;
	struct gmpool_range range;
	u64 i;

	KUNIT_EXPECT_EQ(test, map->nr_blocks, SZ_2M - 1);
	assert_counters(test, map, SZ_2M - 1);
	expect_found(test, map, SZ_2M - 1, GMPOOL_NO_GOAL, 0, SZ_2M - 1);
	expect_found(test, map, SZ_2M, GMPOOL_NO_GOAL, 0, SZ_2M - GIB);
	/* The tail is not a whole 1 GiB: its last block is missing. */
	expect_found(test, map, 1, GMPOOL_NO_GOAL, SZ_2M - GIB, 1);
	expect_found(test, map, 10, last, last, 1);

	take(test, map, 0, SZ_2M - 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_find(map, 1, GMPOOL_NO_GOAL, &range), -ENOSPC);
	put(test, map, last, 1);
	expect_found(test, map, GIB, GMPOOL_NO_GOAL, last, 1);
	put(test, map, 0, last);
	assert_counters(test, map, SZ_2M - 1);

	/* Each 1 GiB, one by one, in order. */
	for (i = 0; i < SZ_2M / GIB - 1; i++) {
		KUNIT_ASSERT_EQ(test,
				gmpool_bitmap_find(map, GIB, i ? i * GIB : GMPOOL_NO_GOAL,
						   &range), 0);
		KUNIT_ASSERT_EQ(test, range.start, i * GIB);
		KUNIT_ASSERT_EQ(test, range.count, GIB);
		KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(map, &range), 0);
	}
	assert_counters(test, map, GIB - 1);
	expect_found(test, map, GIB, GMPOOL_NO_GOAL, SZ_2M - GIB, GIB - 1);
}

static void take_free(struct kunit *test)
{
	static const u64 blocks[][2] = { { 0, 300 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);
	struct gmpool_range all = { 0, 300 };
	struct gmpool_range range = { 100, 100 };

	take(test, map, 90, 20);
	take(test, map, 150, 1);
	gmpool_bitmap_take_free(map, &range);
	assert_counters(test, map, 190);
	expect_found(test, map, 300, GMPOOL_NO_GOAL, 200, 100);
	gmpool_bitmap_take_free(map, &range);
	assert_counters(test, map, 190);
	gmpool_bitmap_take_free(map, &all);
	assert_counters(test, map, 0);
}

static void expect_chosen(struct kunit *test, const struct gmpool_bitmap *map,
			  const struct gmpool_bitmap *clean, u64 want, u64 goal,
			  u64 start, u64 count)
{
	struct gmpool_range range = { ~0ULL, ~0ULL };

	KUNIT_ASSERT_EQ(test, gmpool_bitmap_choose(map, clean, want, goal, &range), 0);
	KUNIT_EXPECT_EQ_MSG(test, range.start, start, "%llu wanted", want);
	KUNIT_EXPECT_EQ_MSG(test, range.count, count, "%llu wanted", want);
}

static void clean_preferred(struct kunit *test)
{
	static const u64 blocks[][2] = { { GIB, 4 * GIB } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);
	struct gmpool_bitmap *clean = make_pool(test, blocks, 1);

	/* Without clean blocks, the choice is that of a plain search. */
	take(test, clean, 0, 4 * GIB);
	expect_chosen(test, map, clean, GIB, GMPOOL_NO_GOAL, 0, GIB);
	expect_chosen(test, map, clean, 10, GMPOOL_NO_GOAL, 4 * GIB - 10, 10);

	/* One clean 1 GiB is as good as a longer range: the rest comes later. */
	put(test, clean, 2 * GIB, GIB);
	expect_chosen(test, map, clean, GIB, GMPOOL_NO_GOAL, 2 * GIB, GIB);
	expect_chosen(test, map, clean, GIB + 88, GMPOOL_NO_GOAL, 2 * GIB, GIB);
	expect_chosen(test, map, clean, 10, GMPOOL_NO_GOAL, 3 * GIB - 10, 10);
	/* The goal has priority. */
	expect_chosen(test, map, clean, GIB, GIB, GIB, GIB);
	expect_chosen(test, map, clean, 10, 7, 7, 10);

	/* A small request does not break it while another 1 GiB is broken. */
	take(test, map, 4 * GIB - 1, 1);
	expect_chosen(test, map, clean, 10, GMPOOL_NO_GOAL, 3 * GIB, 10);
	expect_chosen(test, map, clean, GIB - 1, GMPOOL_NO_GOAL, 3 * GIB, GIB - 1);
	/* Nor if one of its blocks is dirty: all of it is free. */
	take(test, clean, 2 * GIB + 5, 1);
	expect_chosen(test, map, clean, 10, GMPOOL_NO_GOAL, 3 * GIB, 10);
	/* It is no 1 GiB of clean blocks any more. */
	expect_chosen(test, map, clean, GIB, GMPOOL_NO_GOAL, 0, GIB);

	/* Clean blocks of the broken 1 GiB are chosen, if there are enough. */
	put(test, clean, 3 * GIB + 50, 20);
	expect_chosen(test, map, clean, 20, GMPOOL_NO_GOAL, 3 * GIB + 50, 20);
	expect_chosen(test, map, clean, 21, GMPOOL_NO_GOAL, 3 * GIB, 21);
}

/* 1 GiB is aligned in memory, not to the start of a clean range. */
static void clean_gibibytes_aligned(struct kunit *test)
{
	static const u64 blocks[][2] = { { 3, 1 }, { GIB - 10, 3 * GIB } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 2);
	struct gmpool_bitmap *clean = make_pool(test, blocks, 2);

	take(test, clean, 0, 3 * GIB + 1);
	put(test, clean, GIB, GIB + 10);
	expect_chosen(test, map, clean, GIB, GMPOOL_NO_GOAL, 11, GIB);
	put(test, clean, GIB + GIB + 10, 1);
	expect_chosen(test, map, clean, GIB, GMPOOL_NO_GOAL, 11 + GIB, GIB);
	/* Blocks before the first 1 GiB break none. */
	put(test, clean, 4, 7);
	expect_chosen(test, map, clean, 7, GMPOOL_NO_GOAL, 4, 7);
}

/* First fit takes the lowest range, best fit would take the smallest. */
static void first_fit(struct kunit *test)
{
	static const u64 blocks[][2] = { { 4 * GIB + 100, 3 * GIB } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 1);
	struct gmpool_bitmap *clean = make_pool(test, blocks, 1);
	struct gmpool_range range;

	/* Free: 0 to 49, 60 to 64, 70 and on. */
	take(test, map, 50, 10);
	take(test, map, 65, 5);
	expect_found(test, map, 5, GMPOOL_NO_GOAL, 60, 5);
	map->first_fit = true;
	expect_found(test, map, 5, GMPOOL_NO_GOAL, 0, 5);
	expect_found(test, map, 50, GMPOOL_NO_GOAL, 0, 50);
	expect_found(test, map, 51, GMPOOL_NO_GOAL, 70, 51);
	/* The goal has priority here too. */
	expect_found(test, map, 3, 61, 61, 3);
	/* The lowest place at a 1 GiB boundary. */
	expect_found(test, map, GIB, GMPOOL_NO_GOAL, GIB - 100, GIB);
	/* Too large for any range: the longest one from a 1 GiB boundary. */
	expect_found(test, map, 3 * GIB, GMPOOL_NO_GOAL, GIB - 100, 2 * GIB);

	/* Clean blocks are not preferred. */
	take(test, clean, 0, 100);
	KUNIT_ASSERT_EQ(test, gmpool_bitmap_choose(map, clean, 5, GMPOOL_NO_GOAL, &range), 0);
	KUNIT_EXPECT_EQ(test, range.start, 0);
	map->first_fit = false;
	KUNIT_ASSERT_EQ(test, gmpool_bitmap_choose(map, clean, 5, GMPOOL_NO_GOAL, &range), 0);
	KUNIT_EXPECT_GE(test, range.start, 100);
}

static void largest(struct kunit *test)
{
	static const u64 blocks[][2] = { { 64, 65 }, { 512, 1 }, { 9999, 130 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, 3);

	KUNIT_EXPECT_EQ(test, gmpool_bitmap_largest(map), 130);
	take(test, map, 66 + 40, 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_largest(map), 89);
	take(test, map, 66 + 41, 89);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_largest(map), 65);
	take(test, map, 0, 65);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_largest(map), 40);
	take(test, map, 66, 40);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_largest(map), 1);
	take(test, map, 65, 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_largest(map), 0);
}

static void gibibytes(struct kunit *test)
{
	/*
	 * Whole 1 GiB ranges: one at the end of the first, none, two in the
	 * third.
	 */
	static const u64 blocks[][2] = {
		{ 3 * GIB - 1, GIB + 1 }, { 5 * GIB + 1, 2 * GIB - 2 },
		{ 8 * GIB, 2 * GIB + 5 },
	};
	struct gmpool_bitmap *map = make_pool(test, blocks, 3);
	const u64 third = 3 * GIB - 1;

	KUNIT_EXPECT_EQ(test, gmpool_bitmap_free_1g(map), 3);
	/* Outside these ranges. */
	take(test, map, 0, 1);
	take(test, map, third + 2 * GIB, 5);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_free_1g(map), 3);
	take(test, map, GIB, 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_free_1g(map), 2);
	take(test, map, third + GIB, 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_free_1g(map), 1);
	take(test, map, third + GIB - 1, 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_free_1g(map), 0);
	put(test, map, GIB, 1);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_free_1g(map), 1);
}

/* The first of the longest free ranges; empty if no block is free. */
static struct gmpool_range first_longest(const struct gmpool_bitmap *map)
{
	struct gmpool_range longest = {};
	u64 start, end = 0;
	u32 i;

	for (i = 0; i < map->nr_extents; i++) {
		u64 last = map->extents[i].first +
			   (map->extents[i].size >> GMPOOL_BLOCK_SHIFT);

		for (end = map->extents[i].first; end < last; ) {
			start = find_next_zero_bit(map->taken, last, end);
			end = find_next_bit(map->taken, last, start);
			if (end - start > longest.count) {
				longest.start = start;
				longest.count = end - start;
			}
		}
	}
	return longest;
}

/* Requests larger than any range get the longest ones, also after frees. */
static void longest_first(struct kunit *test)
{
	static const u64 blocks[][2] = { { 448, 1600 }, { 4096, 64 }, { 5000, 700 } };
	struct gmpool_bitmap *map = make_pool(test, blocks, ARRAY_SIZE(blocks));
	struct gmpool_range range, expected, back = {};
	struct rnd_state rnd;
	u64 block;
	int round;

	gmpool_test_seed(test, &rnd, seed);
	for (round = 0; round < 20; round++) {
		for (block = 0; block < map->nr_blocks; block++) {
			range.start = block;
			range.count = 1;
			if (gmpool_test_random(&rnd, 0, round / 4 + 1) == 0)
				gmpool_bitmap_take_free(map, &range);
		}
		while (map->nr_free) {
			expected = first_longest(map);
			KUNIT_ASSERT_EQ(test, gmpool_bitmap_largest(map), expected.count);
			if (expected.count >= GIB)
				break;
			expect_found(test, map, map->nr_blocks, GMPOOL_NO_GOAL,
				     expected.start, expected.count);
			KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(map, &expected), 0);
			if (gmpool_test_random(&rnd, 0, 20) == 0 && back.count)
				gmpool_bitmap_put(map, &back);
			back = expected;
		}
		range.start = 0;
		range.count = map->nr_blocks;
		gmpool_bitmap_take_free(map, &range);
		put(test, map, 0, map->nr_blocks);
		back.count = 0;
	}
}

/* Take every second block of both bitmaps. */
static void take_every_second(struct gmpool_bitmap *map, struct gmpool_bitmap *clean)
{
	struct gmpool_range range = { .count = 1 };

	for (range.start = 0; range.start < map->nr_blocks; range.start += 2) {
		gmpool_bitmap_take_free(map, &range);
		gmpool_bitmap_take_free(clean, &range);
	}
}

/* Single claims get all free blocks, one after the other. */
static void claim_all(struct kunit *test, struct gmpool_bitmap *map, struct gmpool_bitmap *clean)
{
	struct gmpool_range range = { .count = 1 };
	u64 want, goal = GMPOOL_NO_GOAL;

	for (want = map->nr_free; want; want--) {
		KUNIT_ASSERT_EQ(test, gmpool_bitmap_choose(map, clean, want, goal, &range), 0);
		KUNIT_ASSERT_EQ(test, range.count, 1);
		KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(map, &range), 0);
		gmpool_bitmap_take_free(clean, &range);
		goal = range.start + 1;
	}
	KUNIT_EXPECT_EQ(test, map->nr_free, 0);
}

/*
 * Measure the ns of a choice behind the middle of the pool. Takes the minimum
 * of many rounds: other work of the CPU only makes a round longer.
 */
static u64 choice_time(const struct gmpool_bitmap *map, const struct gmpool_bitmap *clean)
{
	u64 start, least = U64_MAX;
	struct gmpool_range range;
	int round, i;

	for (round = 0; round < 100; round++) {
		start = ktime_get_ns();
		for (i = 0; i < 64; i++)
			gmpool_bitmap_choose(map, clean, map->nr_free, map->nr_blocks / 2, &range);
		least = min(least, ktime_get_ns() - start);
	}
	return least / 64;
}

/*
 * A claim of n ranges makes n choices. A choice among 64 times as many ranges takes
 * a few times as long, not 64 times.
 */
static void many_ranges(struct kunit *test)
{
	static const u64 few[][2] = { { 2048, 512 } }, many[][2] = { { 2048, 32768 } };
	struct gmpool_bitmap *small = make_pool(test, few, 1);
	struct gmpool_bitmap *small_clean = make_pool(test, few, 1);
	struct gmpool_bitmap *map = make_pool(test, many, 1);
	struct gmpool_bitmap *clean = make_pool(test, many, 1);
	u64 one, other;

	take_every_second(small, small_clean);
	take_every_second(map, clean);
	one = choice_time(small, small_clean);
	other = choice_time(map, clean);
	kunit_info(test, "a choice of 256 ranges: %llu ns, of 16384: %llu ns\n", one, other);
	KUNIT_EXPECT_LT(test, other, 8 * max(one, 1ULL));
	claim_all(test, map, clean);
}

static struct kunit_case bitmap_test_cases[] = {
	KUNIT_CASE(init_and_destroy),
	KUNIT_CASE(contiguity),
	KUNIT_CASE_PARAM(gibibyte_alignment, gibibyte_gen_params),
	KUNIT_CASE(gibibyte_best_fit),
	KUNIT_CASE(goal),
	KUNIT_CASE(best_fit),
	KUNIT_CASE(gibibytes_kept_whole),
	KUNIT_CASE(extents_not_crossed),
	KUNIT_CASE(exhaustion),
	KUNIT_CASE(double_take),
	KUNIT_CASE(double_put),
	KUNIT_CASE(out_of_range),
	KUNIT_CASE(random_walk),
	KUNIT_CASE(large_pool),
	KUNIT_CASE(take_free),
	KUNIT_CASE(clean_preferred),
	KUNIT_CASE(clean_gibibytes_aligned),
	KUNIT_CASE(first_fit),
	KUNIT_CASE(largest),
	KUNIT_CASE(gibibytes),
	KUNIT_CASE(longest_first),
	KUNIT_CASE(many_ranges),
	{}
};

static struct kunit_suite bitmap_test_suite = {
	.name = "gmpool-bitmap",
	.test_cases = bitmap_test_cases,
};

kunit_test_suite(bitmap_test_suite);

MODULE_DESCRIPTION("KUnit tests of the block bitmap of guest memory pools");
MODULE_LICENSE("GPL");
