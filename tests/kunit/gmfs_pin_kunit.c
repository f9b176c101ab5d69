// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the pins of files, and of what the last kernel left of them.
 */

#include <linux/moduleparam.h>

#include "../guestmemfs.h"
#include "gmfs_image_fixture.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define POOL_BLOCKS	512
#define MODE_FILE	(S_IFREG | 0640)

static struct gmfs_fs *fs;

static int pin_init(struct kunit *test)
{
	gmfs_fixture_new(test, POOL_BLOCKS);
	fs = kunit_kzalloc(test, sizeof(*fs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fs);
	spin_lock_init(&fs->pin_lock);
	INIT_LIST_HEAD(&fs->pins);
	init_waitqueue_head(&fs->pins_thawed);
	xa_init(&fs->image.inodes);
	return 0;
}

static void pin_exit(struct kunit *test)
{
	xa_destroy(&fs->image.inodes);
	gmfs_fixture_exit(test);
}

static struct gmfs_inode *new_file(struct kunit *test, const char *name)
{
	struct gmfs_fixture *fx = test->priv;

	return gmfs_fixture_make(fx, gmfs_fixture_root(fx), name, MODE_FILE);
}

/* Pins of a file have an open file: gmfs_pinned_blocks() only asks whether there is one. */
static struct guestmem_pin *new_pin(struct kunit *test, struct gmfs_inode *ci, u64 first,
				    u64 end)
{
	struct guestmem_pin *pin = kunit_kzalloc(test, sizeof(*pin), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pin);
	pin->ci = ci;
	pin->file = kunit_kzalloc(test, sizeof(*pin->file), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pin->file);
	pin->blocks.start = first;
	pin->blocks.last = end - 1;
	return pin;
}

static struct guestmem_pin *insert(struct kunit *test, struct gmfs_inode *ci, u64 first,
				   u64 end)
{
	struct guestmem_pin *pin = new_pin(test, ci, first, end);

	KUNIT_ASSERT_TRUE(test, gmfs_pin_insert(fs, pin));
	return pin;
}

static void expect_pinned(struct kunit *test, const struct gmfs_inode *ci, u64 nr)
{
	KUNIT_EXPECT_EQ(test, ci->file.pinned, nr);
	KUNIT_EXPECT_EQ(test, gmfs_pinned_blocks(fs), nr);
	KUNIT_EXPECT_EQ(test, gmfs_has_pins(fs), nr != 0);
}

/* A block counts as long as one pin has it, and once. */
static void pin_overlap(struct kunit *test)
{
	struct gmfs_inode *ci = new_file(test, "file");
	struct guestmem_pin *low, *high, *within, *again, *around;

	expect_pinned(test, ci, 0);
	low = insert(test, ci, 10, 20);
	expect_pinned(test, ci, 10);
	high = insert(test, ci, 15, 30);
	expect_pinned(test, ci, 20);
	within = insert(test, ci, 16, 18);
	again = insert(test, ci, 10, 20);
	expect_pinned(test, ci, 20);
	around = insert(test, ci, 0, 40);
	expect_pinned(test, ci, 40);

	gmfs_pin_remove(fs, low);
	expect_pinned(test, ci, 40);
	gmfs_pin_remove(fs, around);
	expect_pinned(test, ci, 20);
	gmfs_pin_remove(fs, again);
	expect_pinned(test, ci, 15);
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, ci, 10, 15));
	KUNIT_EXPECT_TRUE(test, gmfs_pins_cover(fs, ci, 10, 16));
	gmfs_pin_remove(fs, high);
	expect_pinned(test, ci, 2);
	gmfs_pin_remove(fs, within);
	expect_pinned(test, ci, 0);
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, ci, 0, GMFS_MAX_BLOCKS));
}

/* Ranges that touch a pin do not overlap it. */
static void pin_edges(struct kunit *test)
{
	static const struct {
		u64 first, end;
		bool pinned;
	} cases[] = {
		{ 0, 10 }, { 0, 11, true }, { 9, 10 }, { 10, 11, true }, { 14, 15, true },
		{ 14, 99, true }, { 15, 16 }, { 15, GMFS_MAX_BLOCKS }, { 12, 12 },
		{ 14, 12 }, { 0, 0 }, { 0, GMFS_MAX_BLOCKS, true },
	};
	struct gmfs_inode *ci = new_file(test, "file"), *other = new_file(test, "other");
	struct guestmem_pin *pin = insert(test, ci, 10, 15);
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, cases[i].pinned,
				    gmfs_pins_cover(fs, ci, cases[i].first, cases[i].end),
				    "case %d", i);
		KUNIT_EXPECT_FALSE_MSG(test, gmfs_pins_cover(fs, other, cases[i].first,
							     cases[i].end), "case %d", i);
	}
	gmfs_pin_remove(fs, pin);

	/* The largest file. */
	pin = insert(test, ci, GMFS_MAX_BLOCKS - 1, GMFS_MAX_BLOCKS);
	KUNIT_EXPECT_TRUE(test, gmfs_pins_cover(fs, ci, 0, GMFS_MAX_BLOCKS));
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, ci, 0, GMFS_MAX_BLOCKS - 1));
	gmfs_pin_remove(fs, pin);
	pin = insert(test, ci, 0, GMFS_MAX_BLOCKS);
	expect_pinned(test, ci, GMFS_MAX_BLOCKS);
	gmfs_pin_remove(fs, pin);
	expect_pinned(test, ci, 0);
}

/* LUO asks once, and no pin begins afterwards until it has taken that back. */
static void pin_freeze(struct kunit *test)
{
	struct gmfs_inode *ci = new_file(test, "file"), *other = new_file(test, "other");
	struct guestmem_pin *pin, *late = new_pin(test, ci, 3, 4), *others;

	KUNIT_EXPECT_FALSE(test, gmfs_pins_freeze(fs, ci));
	KUNIT_EXPECT_FALSE(test, gmfs_pin_insert(fs, late));
	expect_pinned(test, ci, 0);
	gmfs_pins_thaw(fs, ci);

	pin = insert(test, ci, 1, 2);
	/* LUO has two open files of it. */
	KUNIT_EXPECT_TRUE(test, gmfs_pins_freeze(fs, ci));
	KUNIT_EXPECT_TRUE(test, gmfs_pins_freeze(fs, ci));
	KUNIT_EXPECT_FALSE(test, gmfs_pins_freeze(fs, other));
	gmfs_pins_thaw(fs, other);
	others = insert(test, other, 3, 4);
	KUNIT_EXPECT_FALSE(test, gmfs_pin_insert(fs, late));
	gmfs_pins_thaw(fs, ci);
	KUNIT_EXPECT_FALSE(test, gmfs_pin_insert(fs, late));
	/* Those that were there can end. */
	gmfs_pin_remove(fs, pin);
	gmfs_pin_remove(fs, others);
	expect_pinned(test, ci, 0);
	gmfs_pins_thaw(fs, ci);
	KUNIT_EXPECT_TRUE(test, gmfs_pin_insert(fs, late));
	expect_pinned(test, ci, 1);
	gmfs_pin_remove(fs, late);
}

/* All blocks of a file count, and no holes, until the last session is finished. */
static void __init pin_inherited(struct kunit *test)
{
	struct gmfs_inode *ci = new_file(test, "file"), *other = new_file(test, "other");
	struct gmfs_fixture *fx = test->priv;
	struct guestmem_pin *pin, *others;

	gmfs_fixture_map(fx, ci, 10, 100, 5);
	gmfs_fixture_map(fx, ci, 20, 110, 5);
	gmfs_fixture_map(fx, other, 0, 50, 5);
	ci->file.inherited = 2;
	KUNIT_ASSERT_NULL(test, xa_store(&fs->image.inodes, ci->ino, ci, GFP_KERNEL));
	KUNIT_ASSERT_NULL(test, xa_store(&fs->image.inodes, other->ino, other, GFP_KERNEL));
	gmfs_pins_inherit(fs);

	KUNIT_EXPECT_EQ(test, gmfs_pinned_blocks(fs), 10);
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, ci, 0, 10));
	KUNIT_EXPECT_TRUE(test, gmfs_pins_cover(fs, ci, 0, 11));
	KUNIT_EXPECT_TRUE(test, gmfs_pins_cover(fs, ci, 14, 20));
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, ci, 15, 20));
	KUNIT_EXPECT_TRUE(test, gmfs_pins_cover(fs, ci, 15, 21));
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, ci, 25, GMFS_MAX_BLOCKS));
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, other, 0, GMFS_MAX_BLOCKS));
	/* What is handed over again before it is finished is still pinned. */
	KUNIT_EXPECT_TRUE(test, gmfs_pins_freeze(fs, ci));
	gmfs_pins_thaw(fs, ci);

	/* New pins count once with the old ones. */
	pin = insert(test, ci, 12, 15);
	others = insert(test, other, 0, 2);
	KUNIT_EXPECT_EQ(test, gmfs_pinned_blocks(fs), 12);
	gmfs_pins_disinherit(fs, ci);
	KUNIT_EXPECT_EQ(test, gmfs_pinned_blocks(fs), 12);
	gmfs_pins_disinherit(fs, ci);
	KUNIT_EXPECT_EQ(test, gmfs_pinned_blocks(fs), 5);
	KUNIT_EXPECT_FALSE(test, gmfs_pins_cover(fs, ci, 20, 25));
	KUNIT_EXPECT_TRUE(test, gmfs_pins_cover(fs, ci, 10, 15));
	/* There is nothing left of the last kernel. */
	gmfs_pins_disinherit(fs, ci);
	KUNIT_EXPECT_EQ(test, gmfs_pinned_blocks(fs), 5);
	gmfs_pin_remove(fs, pin);
	gmfs_pin_remove(fs, others);
	expect_pinned(test, ci, 0);
}

#define FILE_BLOCKS	128
#define PINS		24

struct pin_model {
	struct gmfs_inode *ci;
	u8 pins[FILE_BLOCKS];
};

static u64 model_pinned(const struct pin_model *m, u64 first, u64 end)
{
	u64 nr = 0;

	for (; first < end; first++)
		nr += m->pins[first] != 0;
	return nr;
}

/* Random pins of two files against arrays of how many pins each block has. */
static void pin_random(struct kunit *test)
{
	struct guestmem_pin *pins[PINS] = {};
	struct pin_model *files;
	struct rnd_state rnd;
	u64 first, end, at;
	int n, i, nr = 0;

	gmpool_test_seed(test, &rnd, seed);
	files = kunit_kcalloc(test, 2, sizeof(*files), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, files);
	files[0].ci = new_file(test, "one");
	files[1].ci = new_file(test, "two");
	for (i = 0; i < PINS; i++)
		pins[i] = new_pin(test, NULL, 0, 1);

	for (n = 0; n < 20000; n++) {
		struct guestmem_pin *pin = pins[gmpool_test_random(&rnd, 0, PINS - 1)];
		struct pin_model *m;

		if (pin->ci) {
			m = &files[pin->ci == files[1].ci];
			gmfs_pin_remove(fs, pin);
			pin->ci = NULL;
			nr--;
			for (at = pin->blocks.start; at <= pin->blocks.last; at++)
				m->pins[at]--;
		} else {
			m = &files[gmpool_test_random(&rnd, 0, 1)];
			first = gmpool_test_random(&rnd, 0, FILE_BLOCKS - 1);
			end = first + gmpool_test_random(&rnd, 1, n % 4 ? 8 : FILE_BLOCKS);
			end = min(end, FILE_BLOCKS);
			pin->ci = m->ci;
			pin->blocks.start = first;
			pin->blocks.last = end - 1;
			KUNIT_ASSERT_TRUE(test, gmfs_pin_insert(fs, pin));
			nr++;
			for (at = first; at < end; at++)
				m->pins[at]++;
		}
		KUNIT_ASSERT_EQ(test, m->ci->file.pinned, model_pinned(m, 0, FILE_BLOCKS));
		KUNIT_ASSERT_EQ(test, gmfs_pinned_blocks(fs),
				files[0].ci->file.pinned + files[1].ci->file.pinned);
		KUNIT_ASSERT_EQ(test, list_count_nodes(&fs->pins), nr);
		first = gmpool_test_random(&rnd, 0, FILE_BLOCKS - 1);
		end = gmpool_test_random(&rnd, first, FILE_BLOCKS);
		KUNIT_ASSERT_EQ(test, gmfs_pins_cover(fs, m->ci, first, end),
				model_pinned(m, first, end) != 0);
	}
	for (i = 0; i < PINS; i++)
		if (pins[i]->ci)
			gmfs_pin_remove(fs, pins[i]);
	expect_pinned(test, files[0].ci, 0);
	expect_pinned(test, files[1].ci, 0);
}

/* The cases are run while the kernel boots, and their results stay in debugfs. */
static struct kunit_case __refdata pin_cases[] = {
	KUNIT_CASE(pin_overlap),
	KUNIT_CASE(pin_edges),
	KUNIT_CASE(pin_freeze),
	KUNIT_CASE(pin_inherited),
	KUNIT_CASE(pin_random),
	{}
};

static struct kunit_suite pin_suite = {
	.name = "gmfs-pin",
	.init = pin_init,
	.exit = pin_exit,
	.test_cases = pin_cases,
};

kunit_test_init_section_suite(pin_suite);

MODULE_DESCRIPTION("KUnit tests of the pins of guestmemfs");
MODULE_LICENSE("GPL");
