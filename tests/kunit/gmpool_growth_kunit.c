// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of where growth reserves are, and how large they can be.
 */

#include <linux/init.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include <kunit/test.h>

#include "../numa/fit.h"
#include "../numa/layout.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

/* Sizes and addresses are in sections. 1 GiB has 8 sections. */
#define SECTION		((u64)SZ_128M)
#define GIB		(8 * SECTION)

#define MAX_SPANS	6

/* First section, and the section after the last. */
struct span {
	u32 start, end;
};

/**
 * struct growth_case - free memory and the place of a reserve
 * @name: name in the log
 * @ranges: free memory; an empty range ends it
 * @size: GiB of the reserve
 * @after: section after the end of a pool that exists, 0 for none
 * @start: expected first section of the reserve, 0 if there is no room
 */
struct growth_case {
	const char *name;
	struct span ranges[MAX_SPANS];
	u32 size;
	u32 after;
	u32 start;
};

/* A line of the picture is 1 GiB, # is the reserve, o the pool, - free memory. */
static const struct growth_case growth_cases[] = {
	/* |--------|--------|########| */
	{ "top of free memory", { { 32, 56 } }, 1, 0, 48 },
	{ "all of it", { { 32, 56 } }, 3, 0, 32 },
	{ "more than all of it", { { 32, 56 } }, 4, 0, 0 },
	{ "no memory", { {} }, 1, 0, 0 },
	/* |--------|########|------- | */
	{ "below a part of 1 GiB", { { 32, 55 } }, 1, 0, 40 },
	{ "above a part of 1 GiB", { { 33, 48 } }, 1, 0, 40 },
	{ "only parts", { { 33, 47 } }, 1, 0, 0 },
	/* |########|   ---- |########| */
	{ "several ranges", { { 32, 40 }, { 43, 47 }, { 48, 56 } }, 2, 0, 32 },
	{ "some of a range", { { 16, 40 }, { 48, 56 } }, 2, 0, 32 },

	/* |oooooooo|########|--------|: the top was in use at the cold boot. */
	{ "after the pool", { { 40, 56 } }, 1, 40, 40 },
	{ "right after the pool", { { 40, 56 } }, 2, 40, 40 },
	{ "far after the pool", { { 40, 64 } }, 1, 40, 56 },
	{ "pool that ends within 1 GiB", { { 43, 64 } }, 1, 43, 48 },
	{ "below the pool", { { 24, 40 } }, 1, 56, 32 },
	{ "above and below the pool", { { 24, 40 }, { 56, 64 } }, 2, 56, 32 },
	{ "in use in between", { { 40, 44 }, { 45, 56 } }, 1, 40, 48 },
};

KUNIT_ARRAY_PARAM_DESC(growth, growth_cases, name);

static u32 growth_ranges(struct gmpool_extent_ser *ranges, const struct span *spans)
{
	u32 nr;

	for (nr = 0; nr < MAX_SPANS && spans[nr].end; nr++) {
		ranges[nr].base = spans[nr].start * SECTION;
		ranges[nr].size = (spans[nr].end - spans[nr].start) * SECTION;
	}
	return nr;
}

static void __init growth_place(struct kunit *test)
{
	const struct growth_case *c = test->param_value;
	struct gmpool_extent_ser ranges[MAX_SPANS];
	u32 nr = growth_ranges(ranges, c->ranges);

	KUNIT_EXPECT_EQ(test, gmpool_layout_growth(ranges, nr, c->size * GIB,
						   c->after * SECTION),
			c->start * SECTION);
}

static void __init growth_below(struct kunit *test)
{
	static const struct span spans[MAX_SPANS] = { { 0, 8 }, { 12, 24 }, { 32, 40 } };
	struct gmpool_extent_ser ranges[MAX_SPANS], below[MAX_SPANS];
	u32 nr = growth_ranges(ranges, spans);

	KUNIT_EXPECT_EQ(test, gmpool_layout_below(ranges, nr, U64_MAX, below), 3);
	KUNIT_EXPECT_MEMEQ(test, below, ranges, 3 * sizeof(*ranges));
	KUNIT_EXPECT_EQ(test, gmpool_layout_below(ranges, nr, 0, below), 0);
	KUNIT_EXPECT_EQ(test, gmpool_layout_below(ranges, nr, 12 * SECTION, below), 1);
	KUNIT_EXPECT_EQ(test, gmpool_layout_below(ranges, nr, 13 * SECTION, below), 2);
	KUNIT_EXPECT_EQ(test, below[1].size, SECTION);
	/* In place. */
	KUNIT_EXPECT_EQ(test, gmpool_layout_below(ranges, nr, 20 * SECTION, ranges), 2);
	KUNIT_EXPECT_EQ(test, ranges[0].size, 8 * SECTION);
	KUNIT_EXPECT_EQ(test, ranges[1].base, 12 * SECTION);
	KUNIT_EXPECT_EQ(test, ranges[1].size, 8 * SECTION);
}

static void __init growth_gibs(struct kunit *test)
{
	static const struct span spans[MAX_SPANS] = { { 1, 16 }, { 17, 23 }, { 24, 48 } };
	struct gmpool_extent_ser ranges[MAX_SPANS];
	u32 nr = growth_ranges(ranges, spans);

	KUNIT_EXPECT_EQ(test, gmpool_layout_gibs(ranges, nr, 0, U64_MAX), 4 * GIB);
	KUNIT_EXPECT_EQ(test, gmpool_layout_gibs(ranges, nr, 9 * SECTION, U64_MAX), 3 * GIB);
	KUNIT_EXPECT_EQ(test, gmpool_layout_gibs(ranges, nr, 0, 47 * SECTION), 3 * GIB);
	KUNIT_EXPECT_EQ(test, gmpool_layout_gibs(ranges, nr, 25 * SECTION, 39 * SECTION), 0);
	KUNIT_EXPECT_EQ(test, gmpool_layout_gibs(ranges, 0, 0, U64_MAX), 0);
}

/* One node of 8 GiB above 4 GiB, all of it free; without KHO. */
static struct gmpool_machine *__init growth_machine(struct kunit *test)
{
	struct gmpool_machine *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->low_end = SZ_4G;
	m->image = SECTION;
	m->image_align = SZ_2M;
	m->unit = SZ_256K;
	m->cpus = 1;
	m->reserved = m->image;
	m->node[0].start = 32 * SECTION;
	m->node[0].end = 96 * SECTION;
	m->node[0].size = 64 * SECTION;
	m->node[0].cpus = 1;
	node_set(0, m->with_memory);
	gmpool_fit_nodes(m);
	m->free[0].base = 32 * SECTION;
	m->free[0].size = 64 * SECTION;
	m->nr_free = 1;
	m->ranges[0] = m->free[0];
	m->nr_ranges = 1;
	return m;
}

/* |----|oooooooo|########|: the pool is right below, and both leave what the kernel needs. */
static void __init growth_with_pool(struct kunit *test)
{
	struct gmpool_machine *m = growth_machine(test);
	u32 nr;

	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 2 * GIB, 3 * GIB), 3 * GIB);
	KUNIT_EXPECT_EQ(test, m->node[0].growth, 3 * GIB);
	KUNIT_EXPECT_EQ(test, m->growth_start, 72 * SECTION);
	KUNIT_ASSERT_EQ(test, gmpool_fit_pick(m, 2 * GIB, &nr), 0);
	KUNIT_EXPECT_EQ(test, nr, 1);
	KUNIT_EXPECT_EQ(test, m->picked[0].base, 56 * SECTION);
	KUNIT_EXPECT_EQ(test, m->picked[0].size, 2 * GIB);

	/* Whole gibibytes, as many as fit. The kernel keeps half a gibibyte. */
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 2 * GIB, 3 * GIB + SECTION), 3 * GIB);
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 2 * GIB, U64_MAX), 5 * GIB);
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 2 * GIB, SECTION), 0);
	KUNIT_EXPECT_EQ(test, m->growth_start, U64_MAX);

	/* Its memory map is the kernel's. */
	m->node[0].growth = 0;
	KUNIT_EXPECT_EQ(test, gmpool_fit_keep(m, 0, 2 * GIB), 4 * SECTION);
	m->node[0].growth = 20 * GIB;
	KUNIT_EXPECT_EQ(test, gmpool_fit_keep(m, 0, 2 * GIB), 6 * SECTION);
}

/* A pool that was handed over has its memory already. */
static void __init growth_handed_over(struct kunit *test)
{
	struct gmpool_machine *m = growth_machine(test);

	m->kho_boot = true;
	m->node[0].pool_end = 72 * SECTION;
	m->node[0].size = 48 * SECTION;
	m->ranges[0].size = 24 * SECTION;
	m->ranges[1].base = 72 * SECTION;
	m->ranges[1].size = 24 * SECTION;
	m->nr_ranges = 2;
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 0, 3 * GIB), 3 * GIB);
	KUNIT_EXPECT_EQ(test, m->growth_start, 72 * SECTION);
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 0, 2 * GIB), 2 * GIB);
	KUNIT_EXPECT_EQ(test, m->growth_start, 72 * SECTION);
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 0, GIB), GIB);
	KUNIT_EXPECT_EQ(test, m->growth_start, 88 * SECTION);
	/* It goes on below the pool. */
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 0, 4 * GIB), 4 * GIB);
	KUNIT_EXPECT_EQ(test, m->growth_start, 48 * SECTION);
	KUNIT_EXPECT_EQ(test, gmpool_fit_growth(m, 0, 0, 6 * GIB), 5 * GIB);
}

/* Random memory: the reserve has its size, none of it is needed, and the pool is below. */
static void __init growth_random(struct kunit *test)
{
	struct gmpool_machine *m = growth_machine(test);
	struct rnd_state rnd;
	unsigned int i, j;
	u64 size, asked, most;
	u32 at, nr;

	gmpool_test_seed(test, &rnd, seed);
	for (i = 0; i < 2000; i++) {
		at = 32;
		m->nr_free = gmpool_test_random(&rnd, 1, MAX_SPANS);
		for (j = 0; j < m->nr_free; j++) {
			at += gmpool_test_random(&rnd, 1, 4);
			m->free[j].base = at * SECTION;
			m->free[j].size = gmpool_test_random(&rnd, 1, 40) * SECTION;
			at += m->free[j].size / SECTION;
		}
		m->node[0].end = at * SECTION;
		m->node[0].size = (at - 32) * SECTION;
		m->scratch.scale = 50 * gmpool_test_random(&rnd, 0, 4);
		memcpy(m->ranges, m->free, sizeof(m->ranges));
		m->nr_ranges = m->nr_free;
		gmpool_fit_nodes(m);

		m->node[0].growth = 0;
		size = gmpool_fit_largest(m, 0, gmpool_test_random(&rnd, 1, at) * SECTION);
		if (!size)
			continue;
		asked = gmpool_test_random(&rnd, 1, 12) * GIB;
		most = gmpool_fit_growth(m, 0, size, asked);
		KUNIT_ASSERT_LE(test, most, asked);
		KUNIT_ASSERT_EQ(test, most % GIB, 0);
		if (!most)
			continue;
		KUNIT_ASSERT_EQ(test, gmpool_layout_gibs(m->ranges, m->nr_ranges,
							 m->growth_start, U64_MAX), most);
		KUNIT_ASSERT_EQ(test, gmpool_fit_pick(m, size, &nr), 0);
		for (j = 0; j < nr; j++)
			KUNIT_ASSERT_LE(test, m->picked[j].base + m->picked[j].size,
					m->growth_start);
		KUNIT_ASSERT_EQ(test, gmpool_layout_size(m->picked, nr), size);
		KUNIT_ASSERT_LE(test, gmpool_fit_keep(m, 0, size) + size + most,
				m->node[0].size);
	}
}

/* The cases are run while the kernel boots, and their results stay in debugfs. */
static struct kunit_case __refdata growth_test_cases[] = {
	KUNIT_CASE_PARAM(growth_place, growth_gen_params),
	KUNIT_CASE(growth_below),
	KUNIT_CASE(growth_gibs),
	KUNIT_CASE(growth_with_pool),
	KUNIT_CASE(growth_handed_over),
	KUNIT_CASE(growth_random),
	{}
};

static struct kunit_suite growth_test_suite = {
	.name = "gmpool-growth",
	.test_cases = growth_test_cases,
};

kunit_test_init_section_suite(growth_test_suite);

MODULE_DESCRIPTION("KUnit tests of growth reserves of guest memory pools");
MODULE_LICENSE("GPL");
