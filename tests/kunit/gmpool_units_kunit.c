// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the choice of the units that are emptied, so that a pool can shrink.
 */

#include <linux/bitmap.h>
#include <linux/module.h>
#include <linux/string.h>

#include <kunit/test.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "../numa/bitmap.h"
#include "../numa/units.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define GIB	GMPOOL_1G_BLOCKS
#define BYTES(blocks)	((u64)(blocks) << GMPOOL_BLOCK_SHIFT)

/* Gibibytes of the largest pool here. */
#define MOST	12

struct pool {
	struct gmpool_numbers numbers;
	u64 unit;
	u64 nr_units;
	struct gmpool_unit_use units[MOST];
	unsigned long taken[BITS_TO_LONGS(MOST * GIB)];
	unsigned long movable[BITS_TO_LONGS(MOST * GIB)];
};

/* Two extents, with base and size in blocks; all blocks can move. Units have @unit GiB. */
static struct pool *make_pool(struct kunit *test, u64 unit, u64 base1, u64 size1, u64 base2,
			      u64 size2)
{
	struct pool *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_LE(test, size1 + size2, MOST * GIB);
	p->numbers.extent[0].base = BYTES(base1);
	p->numbers.extent[0].size = BYTES(size1);
	p->numbers.extent[1].base = BYTES(base2);
	p->numbers.extent[1].size = BYTES(size2);
	p->numbers.extent[1].first = size1;
	p->numbers.nr = 2;
	p->unit = BYTES(unit * GIB);
	p->nr_units = gmpool_units_count(&p->numbers, p->unit);
	KUNIT_ASSERT_LE(test, p->nr_units, MOST);
	bitmap_fill(p->movable, MOST * GIB);
	return p;
}

static u64 choose(struct pool *p, u64 want)
{
	return gmpool_units_choose(&p->numbers, p->taken, p->movable, p->unit, p->units,
				   p->nr_units, want);
}

static void expect_unit(struct kunit *test, const struct pool *p, u64 nr, u64 base, u64 first,
			u64 used, u64 fixed)
{
	const struct gmpool_unit_use *unit = &p->units[nr];

	KUNIT_EXPECT_EQ(test, unit->at.base, BYTES(base));
	KUNIT_EXPECT_EQ(test, unit->at.size, p->unit);
	KUNIT_EXPECT_EQ(test, unit->at.first, first);
	KUNIT_EXPECT_EQ(test, unit->used, used);
	KUNIT_EXPECT_EQ(test, unit->fixed, fixed);
}

/* Only what is aligned is a unit; the rest is room for blocks. */
static void aligned_units(struct kunit *test)
{
	struct pool *p = make_pool(test, 1, GIB / 2, 2 * GIB, 8 * GIB, GIB + 5);

	KUNIT_EXPECT_EQ(test, p->nr_units, 2);
	bitmap_set(p->taken, GIB / 2, 10);
	bitmap_set(p->taken, 2 * GIB, 11);
	KUNIT_EXPECT_EQ(test, choose(p, 5), 2);
	expect_unit(test, p, 0, GIB, GIB / 2, 10, 0);
	expect_unit(test, p, 1, 8 * GIB, 2 * GIB, 11, 0);

	/* Of 2 GiB, there is none. */
	p = make_pool(test, 2, GIB / 2, 2 * GIB, 8 * GIB, GIB + 5);
	KUNIT_EXPECT_EQ(test, p->nr_units, 0);
	KUNIT_EXPECT_EQ(test, choose(p, 1), 0);
	/* An extent that ends before the next unit begins. */
	p = make_pool(test, 1, 3 * GIB - 7, 5, 5 * GIB, GIB);
	KUNIT_EXPECT_EQ(test, p->nr_units, 1);
	/* One of 2 GiB, from 4 GiB on. */
	p = make_pool(test, 2, GIB, GIB, 3 * GIB, 4 * GIB);
	KUNIT_EXPECT_EQ(test, p->nr_units, 1);
	bitmap_set(p->taken, 2 * GIB, 1);
	KUNIT_EXPECT_EQ(test, choose(p, 1), 1);
	expect_unit(test, p, 0, 4 * GIB, 2 * GIB, 1, 0);
}

static void fewest_moves(struct kunit *test)
{
	struct pool *p = make_pool(test, 1, 0, 3 * GIB, 8 * GIB, 2 * GIB);

	bitmap_set(p->taken, 0, 7);
	bitmap_set(p->taken, GIB, 300);
	bitmap_set(p->taken, 2 * GIB + 100, 3);
	bitmap_set(p->taken, 3 * GIB + 1, 7);
	bitmap_set(p->taken, 4 * GIB, GIB);
	KUNIT_EXPECT_EQ(test, choose(p, 2), 2);
	expect_unit(test, p, 0, 2 * GIB, 2 * GIB, 3, 0);
	/* Of those with 7, the one of the higher numbers. */
	expect_unit(test, p, 1, 8 * GIB, 3 * GIB, 7, 0);
	expect_unit(test, p, 2, 0, 0, 7, 0);
	expect_unit(test, p, 4, 9 * GIB, 4 * GIB, GIB, 0);
	/* 512 - 7 + 212 + 512 - 3 + 512 - 7 blocks are free: room for all of three units. */
	KUNIT_EXPECT_EQ(test, choose(p, 5), 3);
	KUNIT_EXPECT_EQ(test, choose(p, 0), 0);
}

static void no_room(struct kunit *test)
{
	struct pool *p = make_pool(test, 1, 0, GIB, 8 * GIB, GIB);

	/* The used blocks of the one are as many as the free ones of the other. */
	bitmap_set(p->taken, 0, 200);
	bitmap_set(p->taken, GIB, GIB - 200);
	KUNIT_EXPECT_EQ(test, choose(p, 2), 1);
	expect_unit(test, p, 0, 0, 0, 200, 0);
	/* One more. */
	bitmap_set(p->taken, 300, 1);
	KUNIT_EXPECT_EQ(test, choose(p, 1), 0);
	expect_unit(test, p, 0, 0, 0, 201, 0);
	bitmap_fill(p->taken, 2 * GIB);
	KUNIT_EXPECT_EQ(test, choose(p, 1), 0);
}

static void fixed_blocks(struct kunit *test)
{
	struct pool *p = make_pool(test, 1, 0, 2 * GIB, 8 * GIB, 2 * GIB);

	bitmap_set(p->taken, 5, 2);
	bitmap_set(p->taken, GIB, 100);
	bitmap_set(p->taken, 2 * GIB, 1);
	bitmap_set(p->taken, 3 * GIB, 3);
	/* A free block that cannot move is not in the way. */
	bitmap_clear(p->movable, 0, 6);
	bitmap_clear(p->movable, 2 * GIB, 1);
	bitmap_clear(p->movable, 3 * GIB, 3);
	KUNIT_EXPECT_EQ(test, choose(p, 4), 1);
	expect_unit(test, p, 0, GIB, GIB, 100, 0);
	/* Those that fail come by what is in the way. */
	expect_unit(test, p, 1, 8 * GIB, 2 * GIB, 1, 1);
	expect_unit(test, p, 2, 0, 0, 2, 1);
	expect_unit(test, p, 3, 9 * GIB, 3 * GIB, 3, 3);
}

/* With as many extents as there can be, no unit leaves the middle of one. */
static void too_many_extents(struct kunit *test)
{
	struct pool *p = make_pool(test, 1, 0, 3 * GIB, 8 * GIB, GIB);
	u32 i;

	for (i = 2; i < GMPOOL_MAX_EXTENTS; i++) {
		p->numbers.extent[i].base = BYTES(20 * GIB + 2 * i);
		p->numbers.extent[i].size = BYTES(1);
		p->numbers.extent[i].first = 4 * GIB + i - 2;
	}
	p->numbers.nr = GMPOOL_MAX_EXTENTS;
	KUNIT_EXPECT_EQ(test, gmpool_units_count(&p->numbers, p->unit), 4);
	bitmap_set(p->taken, 0, 6);
	bitmap_set(p->taken, 2 * GIB, 5);
	bitmap_set(p->taken, 3 * GIB, 10);
	KUNIT_EXPECT_EQ(test, choose(p, 4), 3);
	expect_unit(test, p, 0, 2 * GIB, 2 * GIB, 5, 0);
	expect_unit(test, p, 1, 0, 0, 6, 0);
	expect_unit(test, p, 2, 8 * GIB, 3 * GIB, 10, 0);
	expect_unit(test, p, 3, GIB, GIB, 0, 0);
	KUNIT_EXPECT_TRUE(test, p->units[3].divides);
	/* Not even if nothing else can leave. */
	bitmap_clear(p->movable, 0, 6);
	bitmap_clear(p->movable, 2 * GIB, GIB + 10);
	KUNIT_EXPECT_EQ(test, choose(p, 1), 0);
	expect_unit(test, p, 0, 2 * GIB, 2 * GIB, 5, 5);
	/* With room for one more extent, it is the best one. */
	p->numbers.nr--;
	KUNIT_EXPECT_EQ(test, choose(p, 1), 1);
	expect_unit(test, p, 0, GIB, GIB, 0, 0);
}

/* The most units that any set of them can give, and the fewest moves for them. */
static void try_all(const struct pool *p, u64 room, u64 *most, u64 *fewest)
{
	u64 set, moves, elsewhere, nr, i, size = p->unit >> GMPOOL_BLOCK_SHIFT;

	*most = 0;
	*fewest = 0;
	for (set = 0; set < BIT_ULL(p->nr_units); set++) {
		moves = 0;
		elsewhere = room;
		for (i = 0, nr = 0; i < p->nr_units; i++) {
			if (!(set & BIT_ULL(i)))
				continue;
			if (p->units[i].fixed)
				break;
			moves += p->units[i].used;
			elsewhere -= size - p->units[i].used;
			nr++;
		}
		if (i < p->nr_units || moves > elsewhere)
			continue;
		if (nr > *most || (nr == *most && moves < *fewest)) {
			*most = nr;
			*fewest = moves;
		}
	}
}

static void as_good_as_all(struct kunit *test)
{
	u64 at, nr, sum, i, most, fewest, size1, size2, full;
	struct rnd_state rnd;
	unsigned int round;
	struct pool *p;

	gmpool_test_seed(test, &rnd, seed);
	for (round = 0; round < 200; round++) {
		size1 = gmpool_test_random(&rnd, 1, 4 * GIB);
		size2 = gmpool_test_random(&rnd, 1, 4 * GIB);
		p = make_pool(test, gmpool_test_random(&rnd, 1, 2),
			      gmpool_test_random(&rnd, 0, 2 * GIB), size1,
			      8 * GIB + gmpool_test_random(&rnd, 0, GIB), size2);
		full = gmpool_test_random(&rnd, 0, 3);
		for (at = 0; at < size1 + size2; at++)
			if (gmpool_test_random(&rnd, 0, 3) < full)
				__set_bit(at, p->taken);
		for (i = gmpool_test_random(&rnd, 0, 3); i; i--)
			__clear_bit(gmpool_test_random(&rnd, 0, size1 + size2 - 1),
				    p->movable);
		nr = choose(p, U64_MAX);
		for (i = 0, sum = 0; i < nr; i++)
			sum += p->units[i].used;
		try_all(p, size1 + size2 - bitmap_weight(p->taken, size1 + size2), &most,
			&fewest);
		KUNIT_ASSERT_EQ(test, nr, most);
		KUNIT_ASSERT_EQ(test, sum, fewest);
		kunit_kfree(test, p);
	}
}

static struct kunit_case units_test_cases[] = {
	KUNIT_CASE(aligned_units),
	KUNIT_CASE(fewest_moves),
	KUNIT_CASE(no_room),
	KUNIT_CASE(fixed_blocks),
	KUNIT_CASE(too_many_extents),
	KUNIT_CASE(as_good_as_all),
	{}
};

static struct kunit_suite units_test_suite = {
	.name = "gmpool-units",
	.test_cases = units_test_cases,
};

kunit_test_suite(units_test_suite);

MODULE_DESCRIPTION("KUnit tests of the units that guest memory pools give up");
MODULE_LICENSE("GPL");
