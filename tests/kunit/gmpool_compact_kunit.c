// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the choice of the 1 GiB ranges that a compaction empties.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/string.h>

#include <kunit/resource.h>
#include <kunit/test.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "../numa/bitmap.h"
#include "../numa/compact.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define GIB	GMPOOL_1G_BLOCKS

/* Gibibytes of the largest pool here, and ranges that are allocated in it. */
#define MOST	40
#define RANGES	256

struct pool {
	struct gmpool_extent extents[2];
	struct gmpool_bitmap map;
	struct gmpool_compact *plan;
	unsigned long movable[BITS_TO_LONGS(MOST * GIB)];
};

KUNIT_DEFINE_ACTION_WRAPPER(bitmap_destroy, gmpool_bitmap_destroy,
			    struct gmpool_bitmap *);

/* Two extents, with base and size in blocks; all blocks can move. */
static struct pool *make_pool(struct kunit *test, u64 base1, u64 size1, u64 base2, u64 size2)
{
	struct pool *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	u64 nr;

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_LE(test, size1 + size2, MOST * GIB);
	p->extents[0].base = base1 << GMPOOL_BLOCK_SHIFT;
	p->extents[0].size = size1 << GMPOOL_BLOCK_SHIFT;
	p->extents[1].base = base2 << GMPOOL_BLOCK_SHIFT;
	p->extents[1].size = size2 << GMPOOL_BLOCK_SHIFT;
	p->extents[1].first = size1;
	KUNIT_ASSERT_EQ(test, gmpool_bitmap_init(&p->map, p->extents, 2), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, bitmap_destroy, &p->map), 0);
	nr = gmpool_compact_count(p->extents, 2);
	p->plan = kunit_kzalloc(test, struct_size(p->plan, groups, nr), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p->plan);
	p->plan->extents = p->extents;
	p->plan->nr_extents = 2;
	p->plan->nr_groups = nr;
	bitmap_fill(p->movable, MOST * GIB);
	return p;
}

static void take(struct kunit *test, struct pool *p, u64 start, u64 count)
{
	struct gmpool_range range = { .start = start, .count = count };

	KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(&p->map, &range), 0);
}

static void put(struct kunit *test, struct pool *p, u64 start, u64 count)
{
	struct gmpool_range range = { .start = start, .count = count };

	KUNIT_ASSERT_EQ(test, gmpool_bitmap_put(&p->map, &range), 0);
}

static void choose(struct pool *p, u64 want)
{
	gmpool_compact_choose(p->plan, p->map.taken, p->movable, want);
}

/* Take and free blocks of the bitmap as the move of all sources would. */
static void run_plan(struct kunit *test, struct pool *p)
{
	struct gmpool_range from, to, part;
	u64 end, next, moves = 0;

	while (gmpool_compact_next(p->plan, &from)) {
		end = from.start + from.count;
		KUNIT_ASSERT_EQ(test, from.count, GIB);
		for (part.start = from.start; part.start < end; part.start = next) {
			part.start = find_next_bit(p->map.taken, end, part.start);
			if (part.start >= end)
				break;
			next = find_next_zero_bit(p->map.taken, end, part.start);
			moves += next - part.start;
		}
		/* As many blocks find a place, while the free ones here are taken. */
		part.count = bitmap_weight_from(p->map.taken, from.start, end);
		gmpool_bitmap_take_free(&p->map, &from);
		for (; part.count; part.count -= to.count) {
			KUNIT_ASSERT_EQ(test, gmpool_compact_target(p->plan, &p->map,
								    part.count, &to), 0);
			KUNIT_ASSERT_LE(test, to.count, part.count);
			/* Neither here, as it is taken, nor in a whole 1 GiB. */
			next = gmpool_bitmap_free_1g(&p->map);
			KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(&p->map, &to), 0);
			KUNIT_ASSERT_EQ(test, gmpool_bitmap_free_1g(&p->map), next);
		}
		put(test, p, from.start, GIB);
	}
	KUNIT_EXPECT_EQ(test, moves, p->plan->nr_moves);
}

/* Run the plan; it has to keep its promise. Returns what is gained. */
static u64 gain(struct kunit *test, struct pool *p)
{
	u64 whole = gmpool_bitmap_free_1g(&p->map), nr_free = p->map.nr_free;
	u64 promised = p->plan->nr_sources;

	run_plan(test, p);
	KUNIT_EXPECT_EQ(test, gmpool_bitmap_free_1g(&p->map), whole + promised);
	KUNIT_EXPECT_EQ(test, p->map.nr_free, nr_free);
	return promised;
}

static void groups(struct kunit *test)
{
	/* 3 blocks, two whole 1 GiB, 7 blocks; then the middle of a 1 GiB. */
	struct pool *p = make_pool(test, 2 * GIB - 3, 3 + 2 * GIB + 7, 9 * GIB + 10, 20);
	static const u16 sizes[] = { 3, GIB, GIB, 7, 20 };
	unsigned int i;

	KUNIT_ASSERT_EQ(test, p->plan->nr_groups, ARRAY_SIZE(sizes));
	take(test, p, 2, 2);
	choose(p, U64_MAX);
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		KUNIT_EXPECT_EQ(test, p->plan->groups[i].size, sizes[i]);
	KUNIT_EXPECT_EQ(test, p->plan->groups[0].used, 1);
	KUNIT_EXPECT_EQ(test, p->plan->groups[1].used, 1);
	/* The block goes to an end of an extent, which can never be whole. */
	KUNIT_EXPECT_EQ(test, p->plan->nr_sources, 1);
	KUNIT_EXPECT_TRUE(test, p->plan->groups[1].source);
	KUNIT_EXPECT_EQ(test, gain(test, p), 1);
}

static void no_gain(struct kunit *test)
{
	struct pool *p = make_pool(test, 0, 3 * GIB, 8 * GIB, GIB);

	/* All whole, then all taken. */
	choose(p, U64_MAX);
	KUNIT_EXPECT_EQ(test, p->plan->nr_sources, 0);
	take(test, p, 0, 4 * GIB);
	choose(p, U64_MAX);
	KUNIT_EXPECT_EQ(test, p->plan->nr_sources, 0);
	/* A block less than 1 GiB in broken groups; a whole one does not count. */
	put(test, p, 0, 256);
	put(test, p, GIB, 255);
	put(test, p, 2 * GIB, GIB);
	choose(p, U64_MAX);
	KUNIT_EXPECT_EQ(test, p->plan->nr_sources, 0);
	put(test, p, 3 * GIB, 1);
	choose(p, U64_MAX);
	KUNIT_EXPECT_EQ(test, p->plan->nr_sources, 1);
	KUNIT_EXPECT_EQ(test, p->plan->nr_moves, 256);
	choose(p, 0);
	KUNIT_EXPECT_EQ(test, p->plan->nr_sources, 0);
	choose(p, 1);
	KUNIT_EXPECT_EQ(test, gain(test, p), 1);
}

static void fixed_blocks(struct kunit *test)
{
	struct pool *p = make_pool(test, 0, 2 * GIB, 8 * GIB, GIB);

	take(test, p, 0, 1);
	take(test, p, GIB, 2);
	take(test, p, 2 * GIB, 300);
	bitmap_clear(p->movable, 0, 1);
	choose(p, U64_MAX);
	KUNIT_EXPECT_FALSE(test, p->plan->groups[0].source);
	KUNIT_EXPECT_TRUE(test, p->plan->groups[1].source);
	KUNIT_EXPECT_TRUE(test, p->plan->groups[2].source);
	KUNIT_EXPECT_EQ(test, gain(test, p), 2);
	KUNIT_EXPECT_TRUE(test, test_bit(0, p->map.taken));
}

static void best_place(struct kunit *test)
{
	struct pool *p = make_pool(test, 0, 3 * GIB, 8 * GIB, GIB);
	struct gmpool_range range;

	/* Free: 10 and 4 blocks in the first group, 6 in the second, all of the fourth. */
	take(test, p, 0, 3 * GIB);
	put(test, p, 100, 10);
	put(test, p, 200, 4);
	put(test, p, GIB + 50, 6);
	choose(p, U64_MAX);
	KUNIT_EXPECT_EQ(test, gmpool_compact_target(p->plan, &p->map, 5, &range), 0);
	KUNIT_EXPECT_EQ(test, range.start, GIB + 50);
	KUNIT_EXPECT_EQ(test, range.count, 5);
	KUNIT_EXPECT_EQ(test, gmpool_compact_target(p->plan, &p->map, 300, &range), 0);
	KUNIT_EXPECT_EQ(test, range.start, 100);
	KUNIT_EXPECT_EQ(test, range.count, 10);
	take(test, p, 100, 10);
	take(test, p, GIB + 50, 6);
	KUNIT_EXPECT_EQ(test, gmpool_compact_target(p->plan, &p->map, 3, &range), 0);
	KUNIT_EXPECT_EQ(test, range.start, 200);
	take(test, p, 200, 4);
	KUNIT_EXPECT_EQ(test, gmpool_compact_target(p->plan, &p->map, 1, &range), -ENOSPC);
}

/* The most groups that any set of groups can give, and the fewest moves for them. */
static void try_all(const struct gmpool_compact *plan, u64 *most, u64 *fewest)
{
	u64 set, moves, room, nr, i;

	*most = 0;
	*fewest = 0;
	for (set = 0; set < BIT_ULL(plan->nr_groups); set++) {
		moves = 0;
		room = 0;
		for (i = 0, nr = 0; i < plan->nr_groups; i++) {
			const struct gmpool_compact_group *g = &plan->groups[i];
			bool whole = g->size == GIB && !g->used;

			if (!(set & BIT_ULL(i))) {
				room += whole ? 0 : g->size - g->used;
				continue;
			}
			if (whole || g->size != GIB || g->fixed)
				break;
			moves += g->used;
			nr++;
		}
		if (i < plan->nr_groups || moves > room)
			continue;
		if (nr > *most || (nr == *most && moves < *fewest)) {
			*most = nr;
			*fewest = moves;
		}
	}
}

static void as_good_as_all(struct kunit *test)
{
	struct rnd_state rnd;
	unsigned int round, g, i;
	u64 most, fewest, at;
	struct pool *p;
	u64 size;

	gmpool_test_seed(test, &rnd, seed);
	for (round = 0; round < 200; round++) {
		/* Up to 9 groups, those at the ends cut. */
		size = gmpool_test_random(&rnd, 2 * GIB, 6 * GIB);
		p = make_pool(test, gmpool_test_random(&rnd, 0, 2 * GIB), size, 16 * GIB,
			      gmpool_test_random(&rnd, 1, GIB));
		/* Groups of all kinds: empty, few, many, all. */
		for (at = 0; at < p->map.nr_blocks; at += GIB / 4) {
			g = gmpool_test_random(&rnd, 0, 4) * 25;
			for (i = 0; i < GIB / 4 && at + i < p->map.nr_blocks; i++)
				if (gmpool_test_random(&rnd, 1, 100) <= g)
					take(test, p, at + i, 1);
		}
		for (i = gmpool_test_random(&rnd, 0, 3); i; i--)
			clear_bit(gmpool_test_random(&rnd, 0, p->map.nr_blocks - 1),
				  p->movable);
		choose(p, U64_MAX);
		try_all(p->plan, &most, &fewest);
		KUNIT_ASSERT_EQ(test, p->plan->nr_sources, most);
		KUNIT_ASSERT_EQ(test, p->plan->nr_moves, fewest);
		gain(test, p);
		kunit_release_action(test, bitmap_destroy, &p->map);
		kunit_kfree(test, p->plan);
		kunit_kfree(test, p);
	}
}

/* Machines come and go, of one block to 8 GiB each. Returns with 30 to 60 % free. */
static void random_day(struct kunit *test, struct pool *p, struct rnd_state *rnd)
{
	struct gmpool_range *ranges;
	u64 steps, want;
	u32 i;

	ranges = kunit_kcalloc(test, RANGES, sizeof(*ranges), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ranges);
	for (steps = 0; steps < 6000; steps++) {
		i = gmpool_test_random(rnd, 0, RANGES - 1);
		if (ranges[i].count) {
			put(test, p, ranges[i].start, ranges[i].count);
			ranges[i].count = 0;
			continue;
		}
		if (p->map.nr_free < p->map.nr_blocks * 3 / 10)
			continue;
		want = 1ULL << gmpool_test_random(rnd, 0, 9);
		if (want == GIB)
			want *= gmpool_test_random(rnd, 1, 8);
		if (gmpool_bitmap_find(&p->map, want, GMPOOL_NO_GOAL, &ranges[i]))
			continue;
		KUNIT_ASSERT_EQ(test, gmpool_bitmap_take(&p->map, &ranges[i]), 0);
	}
	kunit_kfree(test, ranges);
}

static void after_a_day(struct kunit *test)
{
	struct rnd_state rnd;
	u64 best, before, round;
	struct pool *p;

	gmpool_test_seed(test, &rnd, seed);
	for (round = 0; round < 5; round++) {
		p = make_pool(test, 4 * GIB, 32 * GIB, 64 * GIB + 100, 7 * GIB);
		random_day(test, p, &rnd);
		before = gmpool_bitmap_free_1g(&p->map);
		/* All can move: no packing leaves more than this. */
		best = p->map.nr_free / GIB;
		choose(p, U64_MAX);
		gain(test, p);
		kunit_info(test, "whole: %llu, then %llu of %llu; %llu moves\n", before,
			   gmpool_bitmap_free_1g(&p->map), best, p->plan->nr_moves);
		KUNIT_EXPECT_GE(test, 100 * gmpool_bitmap_free_1g(&p->map), 95 * best);
		/* Another run finds nothing more. */
		choose(p, U64_MAX);
		KUNIT_EXPECT_EQ(test, p->plan->nr_sources, 0);
	}
}

static struct kunit_case compact_test_cases[] = {
	KUNIT_CASE(groups),
	KUNIT_CASE(no_gain),
	KUNIT_CASE(fixed_blocks),
	KUNIT_CASE(best_place),
	KUNIT_CASE(as_good_as_all),
	KUNIT_CASE(after_a_day),
	{}
};

static struct kunit_suite compact_test_suite = {
	.name = "gmpool-compact",
	.test_cases = compact_test_cases,
};

kunit_test_suite(compact_test_suite);

MODULE_DESCRIPTION("KUnit tests of the compaction of guest memory pools");
MODULE_LICENSE("GPL");
