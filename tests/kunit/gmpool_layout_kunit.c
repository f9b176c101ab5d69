// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the choice of a pool's memory.
 */

#include <linux/errno.h>
#include <linux/mm_types.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <kunit/test.h>

#include "../numa/layout.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

/* All sizes are in sections, as those of the callers. 1 GiB has 8 sections. */
#define SECTION		((u64)SZ_128M)
#define GIB		8

#define MAX_SPANS	6

/* First section, and the section after the last. */
struct span {
	u32 start, end;
};

/**
 * struct layout_case - free memory of a node, and the chosen extents
 * @name: name in the log
 * @ranges: free memory
 * @size: wanted sections
 * @err: expected result of gmpool_layout_pick()
 * @expected: expected extents, if @err is 0
 */
struct layout_case {
	const char *name;
	struct span ranges[MAX_SPANS];
	u32 size;
	int err;
	struct span expected[MAX_SPANS];
};

/*
 * In the pictures, a character is a section and a bar is at each 1 GiB
 * boundary: '-' is free, '#' is chosen, '.' is absent or not free.
 */
static const struct layout_case layout_cases[] = {
	/*  |........|########|........|  */
	{ "all of a gigabyte", {{ 8, 16 }}, 8, 0, {{ 8, 16 }} },

	/*  |--------|--------|--------|########|  */
	{ "from the top", {{ 0, 32 }}, 8, 0, {{ 24, 32 }} },

	/*  |--------|########|########|########|  */
	{ "several from the top", {{ 0, 32 }}, 24, 0, {{ 8, 32 }} },

	/*  |........|--------|########|........|########|  */
	{ "the higher range first", {{ 8, 24 }, { 32, 40 }}, 16, 0,
	  {{ 16, 24 }, { 32, 40 }} },

	/*  |....----|--------|########|----....|  */
	{ "a whole gigabyte, not the top of the range", {{ 4, 28 }}, 8, 0,
	  {{ 16, 24 }} },

	/*  |....----|--------|########|####....|  */
	{ "the edge next to it is merged with it", {{ 4, 28 }}, 12, 0,
	  {{ 16, 28 }} },

	/*  |....----|--------|--------|####....|  */
	{ "the upper edge before a gigabyte", {{ 4, 28 }}, 4, 0, {{ 24, 28 }} },

	/*  |....--##|--------|--------|####....|  */
	{ "both edges before a gigabyte", {{ 4, 28 }}, 6, 0,
	  {{ 6, 8 }, { 24, 28 }} },

	/*  |....-###|--------|########|####....|  */
	{ "a gigabyte and both edges", {{ 4, 28 }}, 15, 0,
	  {{ 5, 8 }, { 16, 28 }} },

	/*  |....####|########|########|####....|  */
	{ "exact fit of gigabytes and edges", {{ 4, 28 }}, 24, 0, {{ 4, 28 }} },

	/*  |--------|----####|  */
	{ "a gigabyte is broken if there is no edge", {{ 0, 16 }}, 4, 0,
	  {{ 12, 16 }} },

	/*  |----####|########|  */
	{ "the next below is broken", {{ 0, 16 }}, 12, 0, {{ 4, 16 }} },

	/*  |......##|--------|-----###|##......|  */
	{ "broken where the edges are not enough", {{ 6, 26 }}, 7, 0,
	  {{ 6, 8 }, { 21, 26 }} },

	/*  |...-----|---##...|........|########|  */
	{ "an edge in another range", {{ 3, 13 }, { 24, 32 }}, 10, 0,
	  {{ 11, 13 }, { 24, 32 }} },

	/*  |.-###...|--------|  */
	{ "a range below a gigabyte is an edge", {{ 1, 5 }, { 8, 16 }}, 3, 0,
	  {{ 2, 5 }} },

	/*  |....####|####....|  */
	{ "a gigabyte long, but not on its boundary", {{ 4, 12 }}, 8, 0,
	  {{ 4, 12 }} },

	/*  |........|------##|######..|  */
	{ "the top of what is no whole gigabyte", {{ 14, 22 }}, 8, 0,
	  {{ 14, 22 }} },

	/*  |.-------|--------|########|........|########|########|  */
	{ "a hole below 4 GiB", {{ 1, 24 }, { 32, 48 }}, 24, 0,
	  {{ 16, 24 }, { 32, 48 }} },

	/*  |........|########|########|  */
	{ "ranges side by side become one extent", {{ 8, 16 }, { 16, 24 }}, 16, 0,
	  {{ 8, 24 }} },

	/*  |....####|####----|  */
	{ "no gigabyte across two ranges", {{ 4, 12 }, { 12, 16 }}, 4, 0,
	  {{ 12, 16 }} },

	/*  |.######.|########|....####|######..|  */
	{ "exact fit of all", {{ 1, 7 }, { 8, 16 }, { 20, 30 }}, 24, 0,
	  {{ 1, 7 }, { 8, 16 }, { 20, 30 }} },

	/*  |.-#####.|########|....####|######..|  */
	{ "all but one section", {{ 1, 7 }, { 8, 16 }, { 20, 30 }}, 23, 0,
	  {{ 2, 7 }, { 8, 16 }, { 20, 30 }} },

	/*  |.------.|--------|....----|------..|  */
	{ "one section more than there is", {{ 1, 7 }, { 8, 16 }, { 20, 30 }}, 25,
	  -ENOSPC },

	/*  |........|  */
	{ "nothing free", { }, 1, -ENOSPC },

	/*  |--------|  */
	{ "nothing wanted", {{ 0, 8 }}, 0, 0, { } },

	/*  |#.......|  */
	{ "one section", {{ 0, 1 }}, 1, 0, {{ 0, 1 }} },
};

KUNIT_ARRAY_PARAM_DESC(layout, layout_cases, name);

static struct gmpool_extent_ser *alloc_ranges(struct kunit *test, u32 nr)
{
	struct gmpool_extent_ser *ranges;

	ranges = kunit_kmalloc_array(test, nr, sizeof(*ranges), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ranges);
	memset(ranges, 0xff, nr * sizeof(*ranges));
	return ranges;
}

static void set_range(struct gmpool_extent_ser *to, u32 start, u32 end)
{
	to->base = start * SECTION;
	to->size = (end - start) * SECTION;
}

static void pick(struct kunit *test)
{
	const struct layout_case *c = test->param_value;
	struct gmpool_extent_ser *extents, *ranges;
	u32 nr_expected, nr_ranges, nr = 99, i;

	ranges = alloc_ranges(test, MAX_SPANS);
	extents = alloc_ranges(test, GMPOOL_MAX_EXTENTS);
	for (nr_ranges = 0; c->ranges[nr_ranges].end; nr_ranges++)
		set_range(&ranges[nr_ranges], c->ranges[nr_ranges].start,
			  c->ranges[nr_ranges].end);

	KUNIT_ASSERT_EQ(test,
			gmpool_layout_pick(ranges, nr_ranges, c->size * SECTION, extents, &nr),
			c->err);
	if (c->err)
		return;
	for (nr_expected = 0; c->expected[nr_expected].end; nr_expected++)
		;
	KUNIT_ASSERT_EQ(test, nr, nr_expected);
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_EQ(test, extents[i].base, c->expected[i].start * SECTION);
		KUNIT_EXPECT_EQ(test, extents[i].base + extents[i].size,
				c->expected[i].end * SECTION);
	}
}

/*
 *  |#.#.#.#.|#.#.#.#.|#.#.   ...   (65 of them)
 */
static void too_many_ranges(struct kunit *test)
{
	const u32 max = GMPOOL_MAX_EXTENTS;
	struct gmpool_extent_ser *ranges = alloc_ranges(test, max + 1);
	struct gmpool_extent_ser *extents = alloc_ranges(test, max);
	u32 i, nr;

	for (i = 0; i <= max; i++)
		set_range(&ranges[i], 2 * i, 2 * i + 1);

	KUNIT_EXPECT_EQ(test,
			gmpool_layout_pick(ranges, max + 1, (max + 1) * SECTION, extents, &nr),
			-E2BIG);
	KUNIT_ASSERT_EQ(test,
			gmpool_layout_pick(ranges, max + 1, max * SECTION, extents, &nr), 0);
	KUNIT_ASSERT_EQ(test, nr, max);
	/* All but the lowest. */
	for (i = 0; i < max; i++) {
		KUNIT_EXPECT_EQ(test, extents[i].base, ranges[i + 1].base);
		KUNIT_EXPECT_EQ(test, extents[i].size, SECTION);
	}
}

/*
 * The final number of extents counts: each 1 GiB, taken first, and the adjacent
 * edges, taken later, become one extent.
 *
 *  |.......#|########|#.......|.......#|########|#.......|   ...   (64 times)
 */
static void ranges_with_edges(struct kunit *test)
{
	const u32 max = GMPOOL_MAX_EXTENTS;
	struct gmpool_extent_ser *ranges = alloc_ranges(test, max);
	struct gmpool_extent_ser *extents = alloc_ranges(test, max);
	u32 i, nr;

	for (i = 0; i < max; i++)
		set_range(&ranges[i], 3 * GIB * i + 7, 3 * GIB * i + 17);
	KUNIT_ASSERT_EQ(test, gmpool_layout_pick(ranges, max, 10 * max * SECTION, extents, &nr),
			0);
	KUNIT_ASSERT_EQ(test, nr, max);
	KUNIT_EXPECT_MEMEQ(test, extents, ranges, max * sizeof(*ranges));
}

/*
 * Adjacent ranges, in pairs that meet within 1 GiB. The edges join the whole 1
 * GiB parts, and leave entries for separate edges.
 *
 *  |.#......|########|####:####|########|........|########|####:####|   ...
 */
static void ranges_beside_each_other(struct kunit *test)
{
	const u32 max = GMPOOL_MAX_EXTENTS;
	struct gmpool_extent_ser *ranges = alloc_ranges(test, max + 1);
	struct gmpool_extent_ser *extents = alloc_ranges(test, max);
	u32 i, nr;

	set_range(&ranges[0], 1, 2);
	for (i = 0; i < max / 2; i++) {
		const u32 start = (4 * i + 1) * GIB;

		set_range(&ranges[2 * i + 1], start, start + 12);
		set_range(&ranges[2 * i + 2], start + 12, start + 24);
	}
	KUNIT_ASSERT_EQ(test,
			gmpool_layout_pick(ranges, max + 1, (12 * max + 1) * SECTION,
					   extents, &nr),
			0);
	KUNIT_EXPECT_EQ(test, nr, max / 2 + 1);
}

/*
 * Each 1 GiB is an extent, and a separate edge is one extent too many.
 *
 *  |..#.....|########|........|########|........|########|   ...   (64 of them)
 */
static void ranges_apart(struct kunit *test)
{
	const u32 max = GMPOOL_MAX_EXTENTS;
	struct gmpool_extent_ser *ranges = alloc_ranges(test, max + 1);
	struct gmpool_extent_ser *extents = alloc_ranges(test, max);
	u32 i, nr;

	set_range(&ranges[0], 2, 3);
	for (i = 1; i <= max; i++)
		set_range(&ranges[i], (2 * i - 1) * GIB, 2 * i * GIB);
	KUNIT_EXPECT_EQ(test,
			gmpool_layout_pick(ranges, max + 1, (max * GIB + 1) * SECTION,
					   extents, &nr),
			-E2BIG);
	KUNIT_EXPECT_EQ(test,
			gmpool_layout_pick(ranges, max + 1, max * GIB * SECTION, extents, &nr),
			0);
	KUNIT_EXPECT_EQ(test, nr, max);
}

static void size_is_sum(struct kunit *test)
{
	struct gmpool_extent_ser *ranges = alloc_ranges(test, 3);

	KUNIT_EXPECT_EQ(test, gmpool_layout_size(ranges, 0), 0);
	set_range(&ranges[0], 0, 3);
	set_range(&ranges[1], 5, 1000005);
	set_range(&ranges[2], 2000000, 2000001);
	KUNIT_EXPECT_EQ(test, gmpool_layout_size(ranges, 1), 3 * SECTION);
	KUNIT_EXPECT_EQ(test, gmpool_layout_size(ranges, 3), 1000004 * SECTION);
}

#define WALK_SECTIONS	4096	/* 512 GiB */

/* The oracle has a byte for each section. */
enum { NOT_FREE, IS_FREE, IS_CHOSEN };

struct walk {
	u8 section[WALK_SECTIONS];
	/* Adjacent ranges are not merged, and 1 GiB does not cross them. */
	u8 range[WALK_SECTIONS];
	struct gmpool_extent_ser ranges[GMPOOL_MAX_RANGES];
	struct gmpool_extent_ser extents[GMPOOL_MAX_EXTENTS];
	u32 nr_ranges;
	u32 nr_extents;
};

static void random_ranges(struct rnd_state *rnd, struct walk *walk, u32 nr)
{
	const u32 longest = max(WALK_SECTIONS / (nr + 1), 2);
	u32 start = 0, end, i;

	memset(walk, 0, sizeof(*walk));
	for (i = 0; i < nr; i++) {
		start += gmpool_test_random(rnd, 0, longest / 2);
		if (gmpool_test_random(rnd, 0, 3) == 0)
			start = round_up(start, GIB);
		end = start + gmpool_test_random(rnd, 1, longest / 2);
		if (end > WALK_SECTIONS)
			break;
		set_range(&walk->ranges[i], start, end);
		memset(&walk->section[start], IS_FREE, end - start);
		memset(&walk->range[start], i, end - start);
		start = end;
	}
	walk->nr_ranges = i;
}

/* Count the whole, aligned 1 GiB parts of one range that are all @state. */
static u32 count_gibs(const struct walk *walk, u8 state)
{
	u32 i, nr = 0;

	for (i = 0; i < WALK_SECTIONS; i += GIB) {
		nr += !memchr_inv(&walk->section[i], state, GIB) &&
		      !memchr_inv(&walk->range[i], walk->range[i], GIB);
	}
	return nr;
}

static u32 count_free(const struct walk *walk)
{
	u32 i, nr = 0;

	for (i = 0; i < WALK_SECTIONS; i++)
		nr += walk->section[i] == IS_FREE;
	return nr;
}

/* Check the extents, and mark the chosen sections. */
static void assert_extents(struct kunit *test, struct walk *walk, u32 size)
{
	u64 end = 0, sum = 0, s;
	u32 i;

	KUNIT_ASSERT_LE(test, walk->nr_extents, GMPOOL_MAX_EXTENTS);
	for (i = 0; i < walk->nr_extents; i++) {
		const struct gmpool_extent_ser *e = &walk->extents[i];

		KUNIT_ASSERT_GT(test, e->size, 0);
		KUNIT_ASSERT_EQ(test, e->base % SECTION, 0);
		KUNIT_ASSERT_EQ(test, e->size % SECTION, 0);
		/* In order, with a gap: adjacent ones are merged. */
		if (i)
			KUNIT_ASSERT_GT(test, e->base, end);
		end = e->base + e->size;
		KUNIT_ASSERT_LE(test, end, WALK_SECTIONS * SECTION);
		for (s = e->base / SECTION; s < end / SECTION; s++) {
			KUNIT_ASSERT_EQ(test, walk->section[s], IS_FREE);
			walk->section[s] = IS_CHOSEN;
		}
		sum += e->size;
	}
	KUNIT_ASSERT_EQ(test, sum, size * SECTION);
}

static void random_layouts(struct kunit *test)
{
	u32 n, nr, size, sum, gibs, edges, whole, rest, broken;
	unsigned int picked = 0, too_many = 0;
	struct rnd_state rnd;
	struct walk *walk;
	int err;

	walk = kunit_kzalloc(test, sizeof(*walk), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, walk);
	gmpool_test_seed(test, &rnd, seed);

	for (n = 0; n < 2000; n++) {
		nr = gmpool_test_random(&rnd, 1, n % 4 ? 20 : GMPOOL_MAX_RANGES);
		random_ranges(&rnd, walk, nr);
		sum = count_free(walk);
		KUNIT_ASSERT_EQ(test, gmpool_layout_size(walk->ranges, walk->nr_ranges),
				sum * SECTION);
		size = gmpool_test_random(&rnd, 0, sum + 2);
		if (gmpool_test_random(&rnd, 0, 9) == 0)
			size = sum;

		err = gmpool_layout_pick(walk->ranges, walk->nr_ranges, size * SECTION,
					 walk->extents, &walk->nr_extents);
		/* Each range becomes at most three extents. */
		if (err == -E2BIG) {
			KUNIT_ASSERT_GT(test, walk->nr_ranges, GMPOOL_MAX_EXTENTS / 3);
			too_many++;
			continue;
		}
		KUNIT_ASSERT_EQ(test, err, size > sum ? -ENOSPC : 0);
		if (err)
			continue;
		picked++;

		gibs = count_gibs(walk, IS_FREE);
		assert_extents(test, walk, size);

		/*
		 * As many whole 1 GiB parts as possible. A further one is
		 * broken only for sections that the edges lack.
		 */
		whole = min(size / GIB, gibs);
		edges = sum - gibs * GIB;
		rest = size - whole * GIB;
		broken = rest > edges;
		KUNIT_ASSERT_GE(test, count_gibs(walk, IS_CHOSEN), whole);
		KUNIT_ASSERT_EQ(test, count_gibs(walk, IS_FREE), gibs - whole - broken);
	}
	kunit_info(test, "%u picked, %u in too many pieces", picked, too_many);
	KUNIT_EXPECT_GT(test, picked, 1000);
}

/* Add the maximum number of ranges, and then more: the smallest is dropped. */
static void ranges_added(struct kunit *test)
{
	const u32 max = GMPOOL_MAX_RANGES;
	struct gmpool_extent_ser *ranges = alloc_ranges(test, max);
	u32 nr = 0, i;

	KUNIT_EXPECT_EQ(test, gmpool_layout_add(ranges, 0, SECTION, SECTION), 0);
	for (i = 0; i < max; i++) {
		u64 base = 10 * i * SECTION;

		/* Add each in two parts that touch or overlap. */
		nr = gmpool_layout_add(ranges, nr, base, base + SECTION);
		nr = gmpool_layout_add(ranges, nr, base + (i % 2) * SECTION,
				       base + (i == 7 ? 2 : 3) * SECTION);
		KUNIT_ASSERT_EQ(test, nr, i + 1);
	}

	/* A range as small as the smallest is not added. */
	i = 10 * max;
	KUNIT_EXPECT_EQ(test, gmpool_layout_add(ranges, nr, i * SECTION, (i + 2) * SECTION),
			max);
	KUNIT_EXPECT_EQ(test, ranges[7].size, 2 * SECTION);
	KUNIT_EXPECT_EQ(test, ranges[max - 1].base, 10 * (max - 1) * SECTION);

	/* A larger range replaces the smallest. */
	KUNIT_EXPECT_EQ(test, gmpool_layout_add(ranges, nr, i * SECTION, (i + 4) * SECTION),
			max);
	KUNIT_EXPECT_EQ(test, ranges[6].base, 60 * SECTION);
	KUNIT_EXPECT_EQ(test, ranges[7].base, 80 * SECTION);
	KUNIT_EXPECT_EQ(test, ranges[max - 1].base, i * SECTION);
	KUNIT_EXPECT_EQ(test, ranges[max - 1].size, 4 * SECTION);
	KUNIT_EXPECT_EQ(test, gmpool_layout_size(ranges, max), (3 * max + 1) * SECTION);
}

#define MAX_AREAS	3

/**
 * struct room_case - areas in the memory that a pool leaves
 * @name: name in the log
 * @left: memory that the pool leaves, in sections
 * @areas: sizes in sections
 * @optional: the first area is optional
 * @image: size in sections
 * @room: expected result of gmpool_layout_room()
 */
struct room_case {
	const char *name;
	struct span left[MAX_SPANS];
	u32 areas[MAX_AREAS];
	u32 image;
	bool room;
	bool optional;
};

/* Letters are areas; IIII is the image, where it is most in the way. */
static const struct room_case room_cases[] = {
	/*  |....AAAA|BB|  */
	{ "exact fit", {{ 4, 10 }}, { 2, 4 }, 0, true },

	/*  |....-AAA|BB|  no room is left for C  */
	{ "one too many", {{ 4, 10 }}, { 2, 3, 2 }, 0, false },

	/*  |--..--..--|  */
	{ "enough, but in pieces", {{ 0, 2 }, { 4, 6 }, { 8, 10 }}, { 3 }, 0, false },

	/*  |.BBBB...--|AA......|  */
	{ "further down where it fits", {{ 1, 5 }, { 8, 12 }}, { 2, 4 }, 0, true },

	/*  |..BB....|.AAA|  */
	{ "the highest that has room for the first", {{ 2, 4 }, { 9, 12 }}, { 3, 2 },
	  0, true },

	/*  |..------|..BA|  B takes the only place for C  */
	{ "in the order of allocation", {{ 2, 5 }, { 8, 12 }}, { 2, 1, 4 }, 0, false },

	/*  |---III--|  */
	{ "an image in the middle", {{ 0, 8 }}, { 4 }, 3, false },

	/*  |----III-|----....|  */
	{ "next to an image", {{ 0, 11 }}, { 4 }, 3, true },

	/*  |---III--|...AAAA.|  */
	{ "an image, and another piece", {{ 0, 8 }, { 11, 15 }}, { 4 }, 3, true },

	/*  |---III--|...IIII.|  the image is in one of them  */
	{ "an image, and one piece for each", {{ 0, 8 }, { 11, 15 }}, { 4, 4 }, 3,
	  false },

	/*  |--......|  */
	{ "an image larger than all pieces", {{ 0, 2 }}, { 2 }, 3, true },

	/*  |II......|  */
	{ "an image that fills the piece", {{ 0, 2 }}, { 1 }, 2, false },

	/*  |AAI-....|  the image obstructs one area at most  */
	{ "an image at the start of memory", {{ 0, 4 }}, { 2 }, 1, true },

	/*  |----BBBB|  A, with 5, is elsewhere  */
	{ "an optional area that does not fit", {{ 4, 8 }}, { 5, 4 }, 0, true, true },

	/*  |....-AAA|  it fits, and obstructs B  */
	{ "an optional area that fits", {{ 4, 8 }}, { 3, 2 }, 0, false, true },

	/*  |---I-BBB|----....|  */
	{ "an optional area that fits next to an image", {{ 0, 12 }}, { 6, 3 }, 1, true,
	  true },

	{ "nothing left", { }, { 1 }, 0, false },
	{ "nothing wanted", { }, { }, 4, true },
};

KUNIT_ARRAY_PARAM_DESC(room, room_cases, name);

static void room(struct kunit *test)
{
	const struct room_case *c = test->param_value;
	struct gmpool_extent_ser *left = alloc_ranges(test, MAX_SPANS);
	struct gmpool_extent_ser *work = alloc_ranges(test, MAX_SPANS + 1);
	struct gmpool_area areas[MAX_AREAS] = {};
	u32 nr_left, nr_areas;

	for (nr_left = 0; c->left[nr_left].end; nr_left++)
		set_range(&left[nr_left], c->left[nr_left].start, c->left[nr_left].end);
	for (nr_areas = 0; nr_areas < MAX_AREAS && c->areas[nr_areas]; nr_areas++)
		areas[nr_areas].size = c->areas[nr_areas] * SECTION;
	areas[0].optional = c->optional;
	KUNIT_EXPECT_EQ(test,
			gmpool_layout_room(left, nr_left, areas, nr_areas,
					   c->image * SECTION, SECTION, work),
			c->room);
}

/* Ranges of free memory have any alignment; areas are aligned. */
static void room_is_aligned(struct kunit *test)
{
	struct gmpool_extent_ser *left = alloc_ranges(test, 1);
	struct gmpool_extent_ser *work = alloc_ranges(test, 2);
	struct gmpool_area area = { .size = 3 * SECTION };

	left->base = SECTION - SZ_4K;
	left->size = 4 * SECTION;
	KUNIT_EXPECT_TRUE(test, gmpool_layout_room(left, 1, &area, 1, 0, SECTION, work));
	left->base = SECTION + SZ_4K;
	left->size = 4 * SECTION - 2 * SZ_4K;
	KUNIT_EXPECT_FALSE(test, gmpool_layout_room(left, 1, &area, 1, 0, SECTION, work));
}

/* Ranges below and above 4 GiB; two areas must be below. */
static void room_below_4g(struct kunit *test)
{
	const u32 end = SZ_4G / SECTION;
	struct gmpool_extent_ser *left = alloc_ranges(test, 2);
	struct gmpool_extent_ser *work = alloc_ranges(test, 3);
	struct gmpool_area areas[2] = {
		{ .size = 2 * SECTION, .low = true },
		{ .size = SECTION, .low = true },
	};

	/*  |AABB..|........|  */
	set_range(&left[0], 0, 4);
	set_range(&left[1], end, end + 8);
	areas[1].scale = 50;
	KUNIT_EXPECT_TRUE(test, gmpool_layout_room(left, 2, areas, 2, 0, SECTION, work));
	areas[1].scale = 100;
	KUNIT_EXPECT_FALSE(test, gmpool_layout_room(left, 2, areas, 2, 0, SECTION, work));

	/*  |..BB|......AA|  memory above does not count  */
	set_range(&left[0], 0, 2);
	areas[0].low = false;
	KUNIT_EXPECT_TRUE(test, gmpool_layout_room(left, 2, areas, 2, 0, SECTION, work));
	areas[0].low = true;
	KUNIT_EXPECT_FALSE(test, gmpool_layout_room(left, 2, areas, 2, 0, SECTION, work));

	/* An area without a place does not count either. */
	areas[0].size = 3 * SECTION;
	areas[0].optional = true;
	KUNIT_EXPECT_TRUE(test, gmpool_layout_room(left, 2, areas, 2, 0, SECTION, work));

	/* The lower part of a range across 4 GiB counts. */
	set_range(&left[0], end - 2, end + 8);
	areas[0].optional = false;
	KUNIT_EXPECT_FALSE(test, gmpool_layout_room(left, 1, areas, 1, 0, SECTION, work));
	areas[0].size = 2 * SECTION;
	KUNIT_EXPECT_TRUE(test, gmpool_layout_room(left, 1, areas, 1, 0, SECTION, work));
}

/*
 *  ranges   |.-------|--------|....----|--------|
 *  extents  |.......#|##......|....##..|.......#|
 *  left     |.------.|..------|......--|-------.|
 */
static void without(struct kunit *test)
{
	static const struct span expected[] = { { 1, 7 }, { 10, 16 }, { 22, 31 } };
	struct gmpool_extent_ser *ranges = alloc_ranges(test, 2);
	struct gmpool_extent_ser *extents = alloc_ranges(test, 3);
	struct gmpool_extent_ser *left = alloc_ranges(test, 5);
	u32 nr, i;

	set_range(&ranges[0], 1, 16);
	set_range(&ranges[1], 20, 32);
	set_range(&extents[0], 7, 10);
	set_range(&extents[1], 20, 22);
	set_range(&extents[2], 31, 32);
	nr = gmpool_layout_without(ranges, 2, extents, 3, left);
	KUNIT_ASSERT_EQ(test, nr, ARRAY_SIZE(expected));
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_EQ(test, left[i].base, expected[i].start * SECTION);
		KUNIT_EXPECT_EQ(test, left[i].base + left[i].size,
				expected[i].end * SECTION);
	}

	nr = gmpool_layout_without(ranges, 2, extents, 0, left);
	KUNIT_ASSERT_EQ(test, nr, 2);
	KUNIT_EXPECT_MEMEQ(test, left, ranges, 2 * sizeof(*ranges));
	KUNIT_EXPECT_EQ(test, gmpool_layout_without(ranges, 2, ranges, 2, left), 0);
}

/*
 * k >= base + (1 + scale / 100) * (kernel + k * sizeof(struct page) / PAGE_SIZE)
 */
static bool enough(u64 k, u64 kernel, u64 base, u32 scale)
{
	u64 pages = k / PAGE_SIZE;

	/* Exact: the kept bytes are whole pages. */
	return 100 * k >= 100 * base +
			  (100 + scale) * (kernel + pages * sizeof(struct page));
}

static void expect_keep(struct kunit *test, u64 kernel, u64 base, u32 scale,
			u64 granularity)
{
	u64 k = gmpool_layout_keep(kernel, base, scale, granularity);

	KUNIT_ASSERT_EQ(test, k % granularity, 0);
	KUNIT_ASSERT_TRUE_MSG(test, enough(k, kernel, base, scale),
			      "keep %llu of kernel %llu base %llu scale %u",
			      k, kernel, base, scale);
	if (k)
		KUNIT_ASSERT_FALSE_MSG(test,
				       enough(k - granularity, kernel, base, scale),
				       "keep %llu of kernel %llu base %llu scale %u",
				       k, kernel, base, scale);
}

static void keep(struct kunit *test)
{
	static const u64 values[] = {
		0, 1, SZ_4K - 1, SZ_4K, SZ_1M, SZ_64M, SZ_128M - 1, SZ_128M,
		SZ_128M + 1, SZ_256M, SZ_1G, 100ULL * SZ_1G,
	};
	static const u64 granularities[] = { SZ_4K, SZ_2M, SZ_128M, SZ_1G };
	static const u32 scales[] = { 0, 1, 50, 100, 200, GMPOOL_MAX_SCALE };
	struct rnd_state rnd;
	unsigned int i, j, k, s;

	KUNIT_EXPECT_EQ(test, gmpool_layout_keep(0, 0, 200, SECTION), 0);
	KUNIT_EXPECT_EQ(test, gmpool_layout_keep(0, 1, 200, SECTION), SECTION);
	/* For 1 GiB kept, the base is smaller by three times its memory map. */
	KUNIT_EXPECT_EQ(test,
			gmpool_layout_keep(0, SZ_1G - 3 * sizeof(struct page) * (SZ_1G / PAGE_SIZE),
					   200, SECTION),
			SZ_1G);
	KUNIT_EXPECT_EQ(test, gmpool_layout_keep(0, SZ_1G, 200, SECTION),
			SZ_1G + SECTION);

	/* Less than one byte more than whole pages, for the map of the kept memory. */
	expect_keep(test, 3275746876, 13394020808, 1, SZ_4K);

	for (i = 0; i < ARRAY_SIZE(values); i++)
		for (j = 0; j < ARRAY_SIZE(values); j++)
			for (k = 0; k < ARRAY_SIZE(granularities); k++)
				for (s = 0; s < ARRAY_SIZE(scales); s++)
					expect_keep(test, values[i], values[j],
						    scales[s], granularities[k]);

	gmpool_test_seed(test, &rnd, seed);
	for (i = 0; i < 10000; i++) {
		u64 kernel = prandom_u32_state(&rnd);
		u64 base = prandom_u32_state(&rnd);

		kernel <<= gmpool_test_random(&rnd, 0, 8);
		base <<= gmpool_test_random(&rnd, 0, 8);
		expect_keep(test, kernel, base,
			    scales[gmpool_test_random(&rnd, 0, ARRAY_SIZE(scales) - 1)],
			    granularities[gmpool_test_random(&rnd, 0, 3)]);
	}
}

static struct kunit_case layout_test_cases[] = {
	KUNIT_CASE_PARAM(pick, layout_gen_params),
	KUNIT_CASE(too_many_ranges),
	KUNIT_CASE(ranges_with_edges),
	KUNIT_CASE(ranges_beside_each_other),
	KUNIT_CASE(ranges_apart),
	KUNIT_CASE(size_is_sum),
	KUNIT_CASE(random_layouts),
	KUNIT_CASE(ranges_added),
	KUNIT_CASE_PARAM(room, room_gen_params),
	KUNIT_CASE(room_is_aligned),
	KUNIT_CASE(room_below_4g),
	KUNIT_CASE(without),
	KUNIT_CASE(keep),
	{}
};

static struct kunit_suite layout_test_suite = {
	.name = "gmpool-layout",
	.test_cases = layout_test_cases,
};

kunit_test_suite(layout_test_suite);

MODULE_DESCRIPTION("KUnit tests of the choice of the memory of guest memory pools");
MODULE_LICENSE("GPL");
