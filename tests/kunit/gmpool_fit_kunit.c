// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of how large the pool of a node can be.
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

#define NODES		2
#define MAX_SPANS	6

/* First section, and the section after the last. */
struct span {
	u32 start, end;
};

/* Set the free memory of the node under examination; it ends with an empty range. */
static void __init fit_set_free(struct gmpool_machine *m,
				const struct span *ranges)
{
	for (m->nr_free = 0; ranges->end; ranges++) {
		m->free[m->nr_free].base = ranges->start * SECTION;
		m->free[m->nr_free++].size =
			(u64)(ranges->end - ranges->start) * SECTION;
	}
	memcpy(m->ranges, m->free, sizeof(m->ranges));
	m->nr_ranges = m->nr_free;
}

static void __init fit_set_node(struct gmpool_machine *m, int nid, u32 start,
				u32 end)
{
	m->node[nid].start = start * SECTION;
	m->node[nid].end = end * SECTION;
	m->node[nid].size = (u64)(end - start) * SECTION;
	m->node[nid].low = start * SECTION < m->low_end ?
		min(m->node[nid].end, m->low_end) - m->node[nid].start : 0;
	m->node[nid].cpus = 1;
	node_set(nid, m->with_memory);
}

/*
 * Two nodes of 8 GiB above 4 GiB, without KHO. The kernel image has one section
 * and can lie across a boundary.
 */
static struct gmpool_machine *__init fit_machine(struct kunit *test)
{
	struct gmpool_machine *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	int nid;

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->low_end = SZ_4G;
	m->image = SECTION;
	m->image_align = SZ_2M;
	m->unit = SZ_256K;
	m->cpus = NODES;
	m->reserved = m->image;
	for (nid = 0; nid < NODES; nid++)
		fit_set_node(m, nid, 32 + 64 * nid, 96 + 64 * nid);
	gmpool_fit_nodes(m);
	return m;
}

/* A size that is not 0 fits next to the memory that the kernel keeps; one section more does not. */
static void __init fit_expect_largest(struct kunit *test,
				      struct gmpool_machine *m, int nid)
{
	u64 size = gmpool_fit_largest(m, nid, 0);
	u64 total = m->node[nid].size;

	KUNIT_EXPECT_EQ(test, size % SECTION, 0);
	KUNIT_EXPECT_LE(test, size, gmpool_layout_size(m->ranges, m->nr_ranges));
	if (!size)
		return;
	KUNIT_EXPECT_LE(test, size + gmpool_fit_keep(m, nid, size), total);
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, nid, size + SECTION), size);
}

static void __init fit_whole_node(struct kunit *test)
{
	static const struct span all[] = { { 32, 96 }, {} };
	struct gmpool_machine *m = fit_machine(test);
	u64 size;

	fit_set_free(m, all);
	fit_expect_largest(test, m, 0);
	size = gmpool_fit_largest(m, 0, 0);

	/* 256 MiB, the image and two sections that it can touch, and memory maps. */
	KUNIT_EXPECT_EQ(test, size, 60 * SECTION);
	KUNIT_EXPECT_EQ(test, gmpool_fit_keep(m, 0, size), 4 * SECTION);

	/* A limit that fits is the result. */
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, 8 * SECTION), 8 * SECTION);
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, 64 * SECTION), size);
}

static void __init fit_no_room(struct kunit *test)
{
	static const struct span some[] = { { 32, 34 }, {} };
	static const struct span none[] = { {} };
	struct gmpool_machine *m = fit_machine(test);

	/* The image can be in the way of all of it. */
	fit_set_free(m, some);
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, 0), 0);
	fit_set_free(m, none);
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, 0), 0);

	/* The node is smaller than what the kernel keeps. */
	fit_set_node(m, 0, 32, 34);
	fit_set_free(m, some);
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, SECTION), 0);
}

/* What the kernel allocates for good is kept in addition. */
static void __init fit_reserved(struct kunit *test)
{
	static const struct span all[] = { { 32, 96 }, {} };
	struct gmpool_machine *m = fit_machine(test);
	u64 before;

	fit_set_free(m, all);
	before = gmpool_fit_largest(m, 0, 0);
	m->node[0].reserved = 5 * SECTION;
	fit_expect_largest(test, m, 0);
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, 0), before - 5 * SECTION);
}

/*
 * KHO's area of a node is contiguous. Of each three sections of the node, one is
 * in use:
 *
 *	|--.--.--|.--.--.-|
 */
static void __init fit_scratch_is_contiguous(struct kunit *test)
{
	struct gmpool_machine *m = fit_machine(test);
	u32 i;

	for (i = 0; i < 20; i++) {
		m->free[i].base = (32 + 3 * i) * SECTION;
		m->free[i].size = 2 * SECTION;
	}
	m->nr_free = 20;
	memcpy(m->ranges, m->free, sizeof(m->ranges));
	m->nr_ranges = 20;
	fit_expect_largest(test, m, 0);
	KUNIT_EXPECT_NE(test, gmpool_fit_largest(m, 0, 8 * SECTION), 0);

	m->scratch.node = 2 * SECTION;
	KUNIT_EXPECT_NE(test, gmpool_fit_largest(m, 0, 8 * SECTION), 0);
	/* No range has three sections, with or without a pool. */
	m->scratch.node = 3 * SECTION;
	KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, 8 * SECTION), 0);
	/* After a kexec with KHO the area is there already. */
	m->kho_boot = true;
	KUNIT_EXPECT_NE(test, gmpool_fit_largest(m, 0, 8 * SECTION), 0);
}

/* The area for allocations on any node is on the largest node, or above it. */
static void __init fit_node_for_all(struct kunit *test)
{
	struct gmpool_machine *m = fit_machine(test);

	/* Of equal nodes, the highest. */
	KUNIT_EXPECT_EQ(test, m->node_for_all, 1);
	fit_set_node(m, 0, 24, 96);
	gmpool_fit_nodes(m);
	KUNIT_EXPECT_EQ(test, m->node_for_all, 0);
	/* Node 0 has the only memory below 4 GiB. */
	KUNIT_EXPECT_EQ(test, m->node_for_low, 0);
	fit_set_node(m, 1, 8, 20);
	gmpool_fit_nodes(m);
	KUNIT_EXPECT_EQ(test, m->node_for_low, 1);

	m->scratch.global = 4 * SECTION;
	KUNIT_EXPECT_EQ(test,
			gmpool_fit_keep(m, 0, 8 * SECTION) -
			gmpool_fit_keep(m, 1, 8 * SECTION), 4 * SECTION);
}

/* Pools leave 256 MiB and room for the image below 4 GiB. */
static void __init fit_low_limit(struct kunit *test)
{
	static const struct span low[] = { { 0, 16 }, { 32, 96 }, {} };
	static const struct span split[] = { { 0, 2 }, { 5, 16 }, {} };
	static const struct span few[] = { { 30, 64 }, {} };
	static const struct span high[] = { { 32, 64 }, {} };
	struct gmpool_machine *m = fit_machine(test);

	/*  |###-----|--------|  */
	fit_set_free(m, low);
	KUNIT_EXPECT_EQ(test, gmpool_fit_low_limit(m), 3 * SECTION);
	/*  |##...#--|--------|  */
	fit_set_free(m, split);
	KUNIT_EXPECT_EQ(test, gmpool_fit_low_limit(m), 6 * SECTION);
	/* Two of three sections: pools get no low memory. */
	fit_set_free(m, few);
	KUNIT_EXPECT_EQ(test, gmpool_fit_low_limit(m), m->low_end);
	fit_set_free(m, high);
	KUNIT_EXPECT_EQ(test, gmpool_fit_low_limit(m), m->low_end);

	/* KHO's area is as large as what has been allocated there, and fixed. */
	fit_set_free(m, low);
	m->scratch.scale = 100;
	m->reserved_low = SECTION;
	KUNIT_EXPECT_EQ(test, gmpool_fit_low_limit(m), 5 * SECTION);
	m->scratch.low = SECTION;
	KUNIT_EXPECT_EQ(test, gmpool_fit_low_limit(m), 6 * SECTION);
	/* After a kexec with KHO, free memory contains what is reserved. */
	m->kho_boot = true;
	KUNIT_EXPECT_EQ(test, gmpool_fit_low_limit(m), 7 * SECTION);
}

/* Random machines: the result keeps its promises, and a limit only lowers it. */
static void __init fit_random(struct kunit *test)
{
	struct gmpool_machine *m = fit_machine(test);
	struct span ranges[MAX_SPANS + 1];
	struct rnd_state rnd;
	unsigned int i, j;
	u64 size, asked;
	u32 at;

	gmpool_test_seed(test, &rnd, seed);
	for (i = 0; i < 2000; i++) {
		at = gmpool_test_random(&rnd, 0, 64);
		memset(ranges, 0, sizeof(ranges));
		for (j = 0; j < gmpool_test_random(&rnd, 1, MAX_SPANS); j++) {
			ranges[j].start = at + gmpool_test_random(&rnd, 0, 4);
			ranges[j].end = ranges[j].start +
					gmpool_test_random(&rnd, 1, 40);
			at = ranges[j].end + 1;
		}
		fit_set_free(m, ranges);
		fit_set_node(m, 0, ranges[0].start, at);
		m->kho_boot = !gmpool_test_random(&rnd, 0, 3);
		m->scratch.scale = 50 * gmpool_test_random(&rnd, 0, 4);
		m->scratch.node = gmpool_test_random(&rnd, 0, SZ_512M);
		m->scratch.global = gmpool_test_random(&rnd, 0, SZ_512M);
		m->node[0].reserved = gmpool_test_random(&rnd, 0, SZ_256M);
		m->node[0].cpus = gmpool_test_random(&rnd, 0, 64);
		gmpool_fit_nodes(m);

		fit_expect_largest(test, m, 0);
		size = gmpool_fit_largest(m, 0, 0);
		asked = gmpool_test_random(&rnd, 1, 64) * SECTION;
		KUNIT_EXPECT_LE(test, gmpool_fit_largest(m, 0, asked), asked);
		if (asked == size)
			KUNIT_EXPECT_EQ(test, gmpool_fit_largest(m, 0, asked), size);
	}
}

/* The cases are run while the kernel boots, and their results stay in debugfs. */
static struct kunit_case __refdata fit_test_cases[] = {
	KUNIT_CASE(fit_whole_node),
	KUNIT_CASE(fit_no_room),
	KUNIT_CASE(fit_reserved),
	KUNIT_CASE(fit_scratch_is_contiguous),
	KUNIT_CASE(fit_node_for_all),
	KUNIT_CASE(fit_low_limit),
	KUNIT_CASE(fit_random),
	{}
};

static struct kunit_suite fit_test_suite = {
	.name = "gmpool-fit",
	.test_cases = fit_test_cases,
};

kunit_test_init_section_suite(fit_test_suite);

MODULE_DESCRIPTION("KUnit tests of the size of guest memory pools");
MODULE_LICENSE("GPL");
