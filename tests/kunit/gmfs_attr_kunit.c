// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the attributes of the inodes of an image.
 */

#include <linux/moduleparam.h>

#include "gmfs_image_fixture.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define MODE_FILE	(S_IFREG | 0640)
#define NAME		"user.name"

static u8 *pattern;	/* GMFS_ATTR_VALUE_MAX bytes; no two fragments are equal */

static int attr_init(struct kunit *test)
{
	size_t i;

	gmfs_fixture_new(test, 64);
	pattern = kunit_kzalloc(test, GMFS_ATTR_VALUE_MAX, GFP_KERNEL);
	if (!pattern)
		return -ENOMEM;
	for (i = 0; i < GMFS_ATTR_VALUE_MAX; i++)
		pattern[i] = i * 7 + (i >> 8);
	return 0;
}

static struct gmfs_inode *the_file(struct gmfs_fixture *fx)
{
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_dirent *de = gmfs_dirent_find(root, "file", 4);

	if (!de)
		return gmfs_fixture_make(fx, root, "file", MODE_FILE);
	return gmfs_inode_find(&fx->img, de->rec->ino);
}

static int set(struct gmfs_fixture *fx, const char *name, const void *value,
	       size_t size)
{
	return gmfs_attr_set(&fx->img, the_file(fx), GMFS_ATTR_XATTR, name,
			     strlen(name), value, size);
}

static struct gmfs_attr *find(struct gmfs_fixture *fx, const char *name)
{
	return gmfs_attr_find(the_file(fx), GMFS_ATTR_XATTR, name, strlen(name));
}

static void expect_value(struct gmfs_fixture *fx, const char *name,
			 const void *value, size_t size)
{
	struct gmfs_attr *attr = find(fx, name);
	u8 *buf;

	KUNIT_ASSERT_NOT_NULL_MSG(fx->test, attr, "%s", name);
	KUNIT_ASSERT_EQ(fx->test, gmfs_attr_value_size(attr), size);
	buf = kunit_kzalloc(fx->test, size + 1, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fx->test, buf);
	buf[size] = 0xa5;
	gmfs_attr_read(attr, buf);
	KUNIT_EXPECT_MEMEQ(fx->test, buf, value, size);
	KUNIT_EXPECT_EQ(fx->test, buf[size], 0xa5);
	kunit_kfree(fx->test, buf);
}

/* Set, replace and remove values of all sizes around those of fragments. */
static void attr_sizes(struct kunit *test)
{
	static const size_t sizes[] = {
		0, 1, 22, 23, 24, 3990, 3991, 3992, 4000, 7990, 7991, 7992,
		GMFS_ATTR_VALUE_MAX - 1, GMFS_ATTR_VALUE_MAX, 5,
	};
	struct gmfs_fixture *fx = test->priv;
	u32 nr_free, nr;
	size_t i;

	the_file(fx);
	nr_free = fx->meta.nr_free;
	nr = fx->meta.nr;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		KUNIT_ASSERT_EQ(test, 0, set(fx, NAME, pattern, sizes[i]));
		expect_value(fx, NAME, pattern, sizes[i]);
		gmfs_fixture_reload(fx);
		expect_value(fx, NAME, pattern, sizes[i]);
	}
	gmfs_attr_remove(&fx->img, the_file(fx), find(fx, NAME));
	KUNIT_EXPECT_NULL(test, find(fx, NAME));
	KUNIT_EXPECT_EQ(test, fx->meta.nr_free - nr_free, fx->meta.nr - nr);
	gmfs_fixture_reload(fx);
	KUNIT_EXPECT_NULL(test, find(fx, NAME));
}

/* An attribute is found by kind and name, and a walk returns each once. */
static void attr_names(struct kunit *test)
{
	static const char * const names[] = {
		"a", "b", "ab", "ba", "aa", "user.", "user.a", "user.b",
	};
	char longest[GMFS_ATTR_NAME_MAX + 1] = {};
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_attr *attr;
	size_t i;

	memset(longest, 'n', GMFS_ATTR_NAME_MAX);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		KUNIT_ASSERT_EQ(test, 0, set(fx, names[i], names[i],
					     strlen(names[i])));
	KUNIT_ASSERT_EQ(test, 0, set(fx, longest, longest, 255));
	gmfs_fixture_reload(fx);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		expect_value(fx, names[i], names[i], strlen(names[i]));
	expect_value(fx, longest, longest, 255);
	KUNIT_EXPECT_NULL(test, find(fx, "c"));
	KUNIT_EXPECT_NULL(test, find(fx, ""));
	KUNIT_EXPECT_NULL(test, gmfs_attr_find(the_file(fx), GMFS_ATTR_TARGET,
					       "a", 1));

	i = 0;
	for (attr = gmfs_attr_first(the_file(fx)); attr;
	     attr = gmfs_attr_next(attr))
		i++;
	KUNIT_EXPECT_EQ(test, i, ARRAY_SIZE(names) + 1);
}

static void attr_target(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	char *target = kunit_kzalloc(test, GMFS_TARGET_MAX + 1, GFP_KERNEL);
	char *buf = kunit_kzalloc(test, GMFS_TARGET_MAX + 1, GFP_KERNEL);
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_attr *attr;
	struct gmfs_dirent *de;

	KUNIT_ASSERT_NOT_NULL(test, target);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	memset(target, 't', GMFS_TARGET_MAX);
	target[4001] = '/';
	gmfs_fixture_link(fx, root, "link", target);
	gmfs_fixture_reload(fx);

	root = gmfs_fixture_root(fx);
	de = gmfs_dirent_find(root, "link", 4);
	KUNIT_ASSERT_NOT_NULL(test, de);
	attr = gmfs_attr_find(gmfs_inode_find(&fx->img, de->rec->ino),
			      GMFS_ATTR_TARGET, "", 0);
	KUNIT_ASSERT_NOT_NULL(test, attr);
	KUNIT_EXPECT_EQ(test, gmfs_attr_value_size(attr), GMFS_TARGET_MAX);
	gmfs_attr_read(attr, buf);
	KUNIT_EXPECT_STREQ(test, buf, target);
}

/* Freeing an inode frees its attributes. */
static void attr_go_with_inode(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	u32 used = fx->meta.nr - fx->meta.nr_free;
	struct gmfs_inode *ci = the_file(fx);

	KUNIT_ASSERT_EQ(test, 0, set(fx, "a", pattern, GMFS_ATTR_VALUE_MAX));
	KUNIT_ASSERT_EQ(test, 0, set(fx, "b", pattern, 10));
	KUNIT_EXPECT_GT(test, fx->meta.nr - fx->meta.nr_free, used);
	KUNIT_ASSERT_EQ(test, 0,
			gmfs_dirent_remove(&fx->img, root,
					   gmfs_dirent_find(root, "file", 4)));
	gmfs_inode_free(&fx->img, ci);
	KUNIT_EXPECT_EQ(test, fx->meta.nr - fx->meta.nr_free, used);
	gmfs_fixture_reload(fx);
}

/* Without room for a complete new value, the old one stays unchanged. */
static void attr_exhaustion(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	u32 digest, left;

	KUNIT_ASSERT_EQ(test, 0, set(fx, NAME, "old", 3));
	for (left = 0; left < 16; left++) {
		/* Slots of the failed attempt are used again. */
		fx->left = left ? 1 : 0;
		digest = gmfs_fixture_digest(&fx->img);
		KUNIT_ASSERT_EQ(test, -ENOSPC, set(fx, NAME, pattern,
						   GMFS_ATTR_VALUE_MAX));
		KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(&fx->img));
		gmfs_fixture_reload(fx);
		expect_value(fx, NAME, "old", 3);
	}
	fx->left = 2;
	KUNIT_ASSERT_EQ(test, 0, set(fx, NAME, pattern, GMFS_ATTR_VALUE_MAX));
	expect_value(fx, NAME, pattern, GMFS_ATTR_VALUE_MAX);

	fx->img.super->next_cookie = GMFS_COOKIE_FULL;
	gmpool_meta_dirty(&fx->meta, &fx->img.super->hdr);
	KUNIT_EXPECT_EQ(test, -ENOSPC, set(fx, NAME, "new", 3));
	expect_value(fx, NAME, pattern, GMFS_ATTR_VALUE_MAX);
}

#define NAMES	12

/* Random operations against a model of names and sizes of values. */
static void attr_random(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	size_t size[NAMES] = {};
	bool there[NAMES] = {};
	struct rnd_state rnd;
	char name[16];
	int i, n;

	gmpool_test_seed(test, &rnd, seed);
	for (n = 0; n < 2000; n++) {
		i = gmpool_test_random(&rnd, 0, NAMES - 1);
		snprintf(name, sizeof(name), "user.%d", i);
		if (gmpool_test_random(&rnd, 0, 3)) {
			size[i] = gmpool_test_random(&rnd, 0,
						     n % 10 ? 300 : 20000);
			there[i] = true;
			KUNIT_ASSERT_EQ(test, 0, set(fx, name, pattern + i,
						     size[i]));
		} else if (there[i]) {
			gmfs_attr_remove(&fx->img, the_file(fx), find(fx, name));
			there[i] = false;
		}
		if (n % 100)
			continue;
		gmfs_fixture_reload(fx);
		for (i = 0; i < NAMES; i++) {
			snprintf(name, sizeof(name), "user.%d", i);
			if (there[i])
				expect_value(fx, name, pattern + i, size[i]);
			else
				KUNIT_EXPECT_NULL(test, find(fx, name));
		}
	}
}

static struct kunit_case attr_cases[] = {
	KUNIT_CASE(attr_sizes),
	KUNIT_CASE(attr_names),
	KUNIT_CASE(attr_target),
	KUNIT_CASE(attr_go_with_inode),
	KUNIT_CASE(attr_exhaustion),
	KUNIT_CASE(attr_random),
	{}
};

static struct kunit_suite attr_suite = {
	.name = "gmfs-attr",
	.init = attr_init,
	.exit = gmfs_fixture_exit,
	.test_cases = attr_cases,
};

kunit_test_suite(attr_suite);

MODULE_DESCRIPTION("KUnit tests of the attributes of guestmemfs");
MODULE_LICENSE("GPL");
