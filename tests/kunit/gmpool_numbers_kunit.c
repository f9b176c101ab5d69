// SPDX-License-Identifier: GPL-2.0
/* Tests of the numbers of blocks (numa/numbers.c). */

#include <linux/module.h>
#include <linux/sizes.h>

#include "../numa/format.h"
#include "../numa/numbers.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "seed of the random walk, 0 for a new one");

#define GIB		((u64)SZ_1G)
#define UNIT		512ULL		/* blocks */

static void expect_extent(struct kunit *test, const struct gmpool_numbers *numbers, u32 i,
			  u64 base, u64 size, u64 first)
{
	KUNIT_ASSERT_LT(test, i, numbers->nr);
	KUNIT_EXPECT_EQ(test, numbers->extent[i].base, base);
	KUNIT_EXPECT_EQ(test, numbers->extent[i].size, size);
	KUNIT_EXPECT_EQ(test, numbers->extent[i].first, first);
}

/* The pool of a node from 4 GiB on that has the memory from 8 GiB to 10 GiB. */
static void make_numbers(struct gmpool_numbers *numbers)
{
	memset(numbers, 0, sizeof(*numbers));
	numbers->nr = 1;
	numbers->extent[0].base = 8 * GIB;
	numbers->extent[0].size = 2 * GIB;
}

static u64 add_unit(struct kunit *test, struct gmpool_numbers *numbers, u64 base)
{
	u64 first = gmpool_numbers_choose(numbers, base, GIB, 4 * GIB);

	KUNIT_ASSERT_NE(test, first, ~0ULL);
	KUNIT_ASSERT_EQ(test, gmpool_numbers_add(numbers, base, GIB, first), 0);
	return first;
}

/* Upwards, numbers go on, and there is one extent. */
static void numbers_grow_up(struct kunit *test)
{
	struct gmpool_numbers numbers;

	make_numbers(&numbers);
	KUNIT_EXPECT_EQ(test, add_unit(test, &numbers, 10 * GIB), 2 * UNIT);
	KUNIT_EXPECT_EQ(test, add_unit(test, &numbers, 11 * GIB), 3 * UNIT);
	KUNIT_EXPECT_EQ(test, numbers.nr, 1);
	expect_extent(test, &numbers, 0, 8 * GIB, 4 * GIB, 0);
	/* With a gap in memory there is none in numbers. */
	KUNIT_EXPECT_EQ(test, add_unit(test, &numbers, 20 * GIB), 4 * UNIT);
	KUNIT_EXPECT_EQ(test, numbers.nr, 2);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_end(&numbers), 5 * UNIT);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_blocks(&numbers), 5 * UNIT);
}

/* Downwards, all that is added ends up in a second extent, in any order. */
static void numbers_grow_down(struct kunit *test)
{
	static const u64 orders[][4] = {
		{ 7, 6, 5, 4 }, { 4, 5, 6, 7 }, { 5, 7, 4, 6 }, { 6, 4, 7, 5 },
	};
	struct gmpool_numbers numbers;
	u32 o, i;

	for (o = 0; o < ARRAY_SIZE(orders); o++) {
		make_numbers(&numbers);
		for (i = 0; i < 4; i++)
			KUNIT_EXPECT_EQ(test, add_unit(test, &numbers, orders[o][i] * GIB),
					(2 + orders[o][i] - 4) * UNIT);
		KUNIT_EXPECT_EQ(test, numbers.nr, 2);
		expect_extent(test, &numbers, 0, 8 * GIB, 2 * GIB, 0);
		expect_extent(test, &numbers, 1, 4 * GIB, 4 * GIB, 2 * UNIT);
	}
}

/* What leaves the middle and comes back has the numbers that it had. */
static void numbers_middle(struct kunit *test)
{
	struct gmpool_numbers numbers;

	make_numbers(&numbers);
	numbers.extent[0].size = 4 * GIB;
	KUNIT_ASSERT_EQ(test, gmpool_numbers_remove(&numbers, 9 * GIB, GIB), 0);
	KUNIT_EXPECT_EQ(test, numbers.nr, 2);
	expect_extent(test, &numbers, 0, 8 * GIB, GIB, 0);
	expect_extent(test, &numbers, 1, 10 * GIB, 2 * GIB, 2 * UNIT);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_end(&numbers), 4 * UNIT);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_blocks(&numbers), 3 * UNIT);
	KUNIT_EXPECT_EQ(test, add_unit(test, &numbers, 9 * GIB), UNIT);
	KUNIT_EXPECT_EQ(test, numbers.nr, 1);
	expect_extent(test, &numbers, 0, 8 * GIB, 4 * GIB, 0);

	/* Its start. */
	KUNIT_ASSERT_EQ(test, gmpool_numbers_remove(&numbers, 8 * GIB, GIB), 0);
	expect_extent(test, &numbers, 0, 9 * GIB, 3 * GIB, UNIT);
	KUNIT_EXPECT_EQ(test, add_unit(test, &numbers, 8 * GIB), 0);
	/* And its end. */
	KUNIT_ASSERT_EQ(test, gmpool_numbers_remove(&numbers, 11 * GIB, GIB), 0);
	expect_extent(test, &numbers, 0, 8 * GIB, 3 * GIB, 0);
}

static void numbers_refused(struct kunit *test)
{
	static struct gmpool_numbers numbers, before;
	u32 i;

	make_numbers(&numbers);
	numbers.extent[0].size = GIB;
	before = numbers;
	/* All that there is; outside; across an end. */
	KUNIT_EXPECT_EQ(test, gmpool_numbers_remove(&numbers, 8 * GIB, GIB), -EINVAL);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_remove(&numbers, 7 * GIB, GIB), -EINVAL);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_remove(&numbers, 9 * GIB, GIB), -EINVAL);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_remove(&numbers, 8 * GIB, 2 * GIB), -EINVAL);
	KUNIT_EXPECT_MEMEQ(test, &numbers, &before, sizeof(numbers));

	/* As many pieces as there can be. */
	numbers.nr = GMPOOL_MAX_EXTENTS;
	for (i = 0; i < GMPOOL_MAX_EXTENTS; i++) {
		numbers.extent[i].base = (8 + 8 * i) * GIB;
		numbers.extent[i].size = 3 * GIB;
		numbers.extent[i].first = 3 * UNIT * i;
	}
	before = numbers;
	KUNIT_EXPECT_EQ(test, gmpool_numbers_remove(&numbers, 9 * GIB, GIB), -E2BIG);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_add(&numbers, GIB, GIB,
						 gmpool_numbers_end(&numbers)), -E2BIG);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_check_remove(&numbers, 9 * GIB, GIB), -E2BIG);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_check_remove(&numbers, 10 * GIB, GIB), 0);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_check_remove(&numbers, 8 * GIB, 3 * GIB), 0);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_check_remove(&numbers, 11 * GIB, GIB), -EINVAL);
	KUNIT_EXPECT_MEMEQ(test, &numbers, &before, sizeof(numbers));
	KUNIT_EXPECT_EQ(test, gmpool_numbers_remove(&numbers, 8 * GIB, GIB), 0);
	KUNIT_EXPECT_EQ(test, numbers.nr, GMPOOL_MAX_EXTENTS);

	/* No numbers are left. */
	make_numbers(&numbers);
	numbers.extent[0].first = GMPOOL_MAX_BLOCKS - 2 * UNIT;
	KUNIT_EXPECT_EQ(test, gmpool_numbers_choose(&numbers, 10 * GIB, GIB, 4 * GIB), ~0ULL);
	KUNIT_EXPECT_EQ(test, gmpool_numbers_choose(&numbers, 12 * GIB, GIB, 4 * GIB), ~0ULL);
	KUNIT_EXPECT_NE(test, gmpool_numbers_choose(&numbers, 7 * GIB, GIB, 4 * GIB), ~0ULL);
}

/* The super block has the extents by address, and the feature if it needs it. */
static void numbers_super(struct kunit *test)
{
	struct gmpool_super_ser *super;
	static struct gmpool_numbers numbers, read;

	super = kunit_kzalloc(test, sizeof(*super), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, super);
	super->feature_incompat = GMPOOL_FEATURE_INCOMPAT_PRIVATE;

	make_numbers(&numbers);
	add_unit(test, &numbers, 5 * GIB);
	gmpool_numbers_to_super(&numbers, super);
	KUNIT_EXPECT_EQ(test, super->feature_incompat, GMPOOL_FEATURE_INCOMPAT_ALL);
	KUNIT_EXPECT_EQ(test, super->nr_extents, 2);
	KUNIT_EXPECT_EQ(test, super->total_blocks, 3 * UNIT);
	KUNIT_EXPECT_EQ(test, super->extents[0].base, 5 * GIB);
	KUNIT_EXPECT_EQ(test, super->first[0], 3 * UNIT);
	KUNIT_EXPECT_EQ(test, super->extents[1].base, 8 * GIB);
	KUNIT_EXPECT_EQ(test, super->first[1], 0);
	KUNIT_EXPECT_EQ(test, gmpool_super_end(super), 4 * UNIT);
	memset(&read, 0, sizeof(read));
	gmpool_numbers_of_super(&read, super);
	KUNIT_EXPECT_EQ(test, read.nr, numbers.nr);
	KUNIT_EXPECT_MEMEQ(test, read.extent, numbers.extent, 2 * sizeof(read.extent[0]));
	KUNIT_EXPECT_TRUE(test, gmpool_super_has(super, 0));
	KUNIT_EXPECT_TRUE(test, gmpool_super_has(super, 2 * UNIT - 1));
	KUNIT_EXPECT_FALSE(test, gmpool_super_has(super, 2 * UNIT));
	KUNIT_EXPECT_FALSE(test, gmpool_super_has(super, 3 * UNIT - 1));
	KUNIT_EXPECT_TRUE(test, gmpool_super_has(super, 3 * UNIT));
	KUNIT_EXPECT_TRUE(test, gmpool_super_has(super, 4 * UNIT - 1));
	KUNIT_EXPECT_FALSE(test, gmpool_super_has(super, 4 * UNIT));

	/* As soon as numbers count through the extents, it goes, and only it. */
	KUNIT_ASSERT_EQ(test, gmpool_numbers_remove(&numbers, 5 * GIB, GIB), 0);
	gmpool_numbers_to_super(&numbers, super);
	KUNIT_EXPECT_EQ(test, super->feature_incompat, GMPOOL_FEATURE_INCOMPAT_PRIVATE);
	KUNIT_EXPECT_NULL(test, memchr_inv(super->first, 0, sizeof(super->first)));
	KUNIT_EXPECT_NULL(test, memchr_inv(&super->extents[1], 0,
					   sizeof(super->extents) - sizeof(super->extents[0])));
	KUNIT_EXPECT_EQ(test, gmpool_super_end(super), 2 * UNIT);
}

#define WALK_UNITS	64

/* Every block keeps its number, as an array of the numbers of all units says. */
static void numbers_walk(struct kunit *test)
{
	static struct gmpool_numbers numbers;
	struct gmpool_super_ser *super;
	u64 of_unit[WALK_UNITS], first, blocks;
	struct rnd_state rnd;
	u32 step, u, i, nr = 2;
	int err;

	gmpool_test_seed(test, &rnd, seed);
	super = kunit_kzalloc(test, sizeof(*super), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, super);
	memset(of_unit, 0xff, sizeof(of_unit));
	make_numbers(&numbers);
	of_unit[8] = 0;
	of_unit[9] = UNIT;

	for (step = 0; step < 4000; step++) {
		u = gmpool_test_random(&rnd, 4, WALK_UNITS - 1);
		if (of_unit[u] == ~0ULL) {
			first = gmpool_numbers_choose(&numbers, u * GIB, GIB, 4 * GIB);
			KUNIT_ASSERT_NE(test, first, ~0ULL);
			err = gmpool_numbers_add(&numbers, u * GIB, GIB, first);
			KUNIT_ASSERT_EQ(test, err, 0);
			for (i = 0; i < WALK_UNITS; i++)
				KUNIT_ASSERT_TRUE(test, of_unit[i] == ~0ULL ||
						  of_unit[i] + UNIT <= first ||
						  first + UNIT <= of_unit[i]);
			of_unit[u] = first;
			nr++;
		} else {
			err = gmpool_numbers_remove(&numbers, u * GIB, GIB);
			KUNIT_ASSERT_EQ(test, err, nr == 1 ? -EINVAL : 0);
			if (err)
				continue;
			of_unit[u] = ~0ULL;
			nr--;
		}

		blocks = 0;
		for (i = 0; i < numbers.nr; i++) {
			const struct gmpool_extent *e = &numbers.extent[i];

			if (i)
				KUNIT_ASSERT_GE(test, e->first, e[-1].first +
						(e[-1].size >> GMPOOL_BLOCK_SHIFT));
			for (u = e->base / GIB; u < (e->base + e->size) / GIB; u++)
				KUNIT_ASSERT_EQ(test, of_unit[u], e->first +
						((u * GIB - e->base) >> GMPOOL_BLOCK_SHIFT));
			blocks += e->size >> GMPOOL_BLOCK_SHIFT;
		}
		KUNIT_ASSERT_EQ(test, blocks, nr * UNIT);
		gmpool_numbers_to_super(&numbers, super);
		KUNIT_ASSERT_EQ(test, gmpool_super_end(super), gmpool_numbers_end(&numbers));
		for (i = 0; i < super->nr_extents; i++)
			KUNIT_ASSERT_EQ(test, gmpool_super_first(super, i),
					of_unit[super->extents[i].base / GIB]);
	}
}

static struct kunit_case numbers_test_cases[] = {
	KUNIT_CASE(numbers_grow_up),
	KUNIT_CASE(numbers_grow_down),
	KUNIT_CASE(numbers_middle),
	KUNIT_CASE(numbers_refused),
	KUNIT_CASE(numbers_super),
	KUNIT_CASE(numbers_walk),
	{}
};

static struct kunit_suite numbers_test_suite = {
	.name = "gmpool-numbers",
	.test_cases = numbers_test_cases,
};

kunit_test_suite(numbers_test_suite);

MODULE_DESCRIPTION("KUnit tests of the numbers of blocks of guest memory pools");
MODULE_LICENSE("GPL");
