// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the directories of an image.
 */

#include <linux/moduleparam.h>
#include <linux/sprintf.h>

#include "gmfs_image_fixture.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define MODE_FILE	(S_IFREG | 0640)
#define MODE_DIR	(S_IFDIR | 0750)

static int dirent_init(struct kunit *test)
{
	gmfs_fixture_new(test, 64);
	return 0;
}

static struct gmfs_dirent *find(struct gmfs_inode *dir, const char *name)
{
	return gmfs_dirent_find(dir, name, strlen(name));
}

/* Inode number of @name in @dir, 0 if there is no such name. */
static u64 lookup(struct gmfs_inode *dir, const char *name)
{
	struct gmfs_dirent *de = find(dir, name);

	return de ? de->rec->ino : 0;
}

static int insert(struct gmfs_fixture *fx, struct gmfs_inode *dir,
		  const char *name, struct gmfs_inode *child)
{
	return gmfs_dirent_insert(&fx->img, dir, child, name, strlen(name));
}

static int remove(struct gmfs_fixture *fx, struct gmfs_inode *dir,
		  const char *name)
{
	return gmfs_dirent_remove(&fx->img, dir, find(dir, name));
}

static int rename(struct gmfs_fixture *fx, struct gmfs_inode *old_dir,
		  const char *old, struct gmfs_inode *new_dir, const char *new,
		  bool replace)
{
	return gmfs_dirent_rename(&fx->img, old_dir, find(old_dir, old),
				  new_dir, new, strlen(new), replace,
				  NULL);
}

static void dirent_insert_remove(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *file, *dir;

	file = gmfs_fixture_make(fx, root, "file", MODE_FILE);
	dir = gmfs_fixture_make(fx, root, "dir", MODE_DIR);
	KUNIT_EXPECT_EQ(test, lookup(root, "file"), file->ino);
	KUNIT_EXPECT_EQ(test, lookup(root, "dir"), dir->ino);
	KUNIT_EXPECT_EQ(test, lookup(root, "fil"), 0);
	KUNIT_EXPECT_EQ(test, lookup(root, "file2"), 0);
	KUNIT_EXPECT_EQ(test, lookup(dir, "file"), 0);
	KUNIT_EXPECT_EQ(test, root->dir.nr, 2);
	KUNIT_EXPECT_EQ(test, root->rec->nlink, 3);
	KUNIT_EXPECT_EQ(test, dir->rec->nlink, 2);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, 1);
	KUNIT_EXPECT_PTR_EQ(test, dir->dir.parent, root);
	gmfs_fixture_seal(fx);

	KUNIT_EXPECT_EQ(test, insert(fx, root, "file", file), -EEXIST);
	KUNIT_EXPECT_EQ(test, insert(fx, root, "dir2", dir), -EMLINK);
	KUNIT_EXPECT_EQ(test, insert(fx, dir, "file", file), 0);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, 2);
	KUNIT_EXPECT_EQ(test, remove(fx, root, "dir"), -ENOTEMPTY);
	KUNIT_EXPECT_EQ(test, remove(fx, dir, "file"), 0);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, 1);
	KUNIT_EXPECT_EQ(test, remove(fx, root, "dir"), 0);
	KUNIT_EXPECT_EQ(test, dir->rec->nlink, 0);
	KUNIT_EXPECT_EQ(test, root->rec->nlink, 2);
	KUNIT_EXPECT_EQ(test, remove(fx, root, "file"), 0);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, 0);
	KUNIT_EXPECT_EQ(test, root->dir.nr, 0);
	gmfs_fixture_reload(fx);
}

/* Names with lengths on both sides of each number of slots. */
static void dirent_lengths(struct kunit *test)
{
	static const struct {
		unsigned int len;
		unsigned int slots;
	} cases[] = {
		{ 1, 1 }, { 31, 1 }, { 32, 1 }, { 33, 2 }, { 95, 2 },
		{ 96, 2 }, { 97, 3 }, { 160, 3 }, { 161, 4 }, { 224, 4 },
		{ 225, 5 }, { 254, 5 }, { 255, 5 },
	};
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *ci;
	struct gmfs_dirent *de;
	char name[256];
	int i, j;

	memset(name, 'x', sizeof(name));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ(test, gmfs_dirent_slots(cases[i].len),
				cases[i].slots);
		ci = gmfs_fixture_ino(fx, MODE_FILE);
		KUNIT_ASSERT_EQ(test, 0,
				gmfs_dirent_insert(&fx->img,
						   gmfs_fixture_root(fx), ci,
						   name, cases[i].len));
	}
	for (j = 0; j < 2; j++) {
		for (i = 0; i < ARRAY_SIZE(cases); i++) {
			de = gmfs_dirent_find(gmfs_fixture_root(fx), name,
					      cases[i].len);
			KUNIT_ASSERT_NOT_NULL(test, de);
			KUNIT_EXPECT_EQ(test, de->rec->name_len, cases[i].len);
			KUNIT_EXPECT_EQ(test, de->rec->nr_slots,
					cases[i].slots);
			KUNIT_EXPECT_MEMEQ(test, de->rec->name, name,
					   cases[i].len);
		}
		gmfs_fixture_reload(fx);
	}
}

/* A name may contain any byte that the VFS accepts, and begin with dots. */
static void dirent_bytes(struct kunit *test)
{
	static const char *const others[] = {
		"...", "..a", ".a", "a.", ". ", " ", "\xff\xfe", "\xc3\xa4",
		"a\nb", "\\",
	};
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	int i, nr = 0;
	char c;

	for (i = 1; i < 256; i++) {
		c = i;
		if (c == '/' || c == '.')
			continue;
		KUNIT_ASSERT_EQ(test, 0,
				gmfs_dirent_insert(&fx->img, root,
						   gmfs_fixture_ino(fx, MODE_FILE),
						   &c, 1));
		nr++;
	}
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		if (find(root, others[i]))
			continue;
		gmfs_fixture_make(fx, root, others[i], MODE_FILE);
		nr++;
	}
	KUNIT_EXPECT_EQ(test, root->dir.nr, nr);
	gmfs_fixture_reload(fx);
}

static void many_name(char *name, size_t size, int i)
{
	/* Some are long, so that entries of all numbers of slots are freed. */
	snprintf(name, size, "%.*s%d", i % 7 == 0 ? 60 : i % 11 == 0 ? 200 : 0,
		 "the quick brown fox jumps over the lazy dog and then runs away as fast as it can, over hills and through woods and meadows, until it comes to a river that is too wide to jump over; so it goes back to the dog and lies down",
		 i);
}

static void dirent_many(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx), *file;
	const int nr = 5000;
	struct gmfs_dirent *de;
	char name[256];
	u64 cookie;
	int i;

	file = gmfs_fixture_ino(fx, MODE_FILE);
	for (i = 0; i < nr; i++) {
		many_name(name, sizeof(name), i);
		KUNIT_ASSERT_EQ(test, insert(fx, root, name, file), 0);
	}
	KUNIT_EXPECT_EQ(test, root->dir.nr, nr);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, nr);
	for (i = 0; i < nr; i++) {
		many_name(name, sizeof(name), i);
		KUNIT_ASSERT_EQ(test, lookup(root, name), file->ino);
	}
	many_name(name, sizeof(name), nr);
	KUNIT_EXPECT_EQ(test, lookup(root, name), 0);

	/* A walk returns each entry once, in the order in which they were made. */
	cookie = 0;
	for (i = 0; (de = gmfs_dirent_next(root, cookie)); i++) {
		many_name(name, sizeof(name), i);
		KUNIT_ASSERT_EQ(test, de->rec->name_len, strlen(name));
		KUNIT_ASSERT_MEMEQ(test, de->rec->name, name, strlen(name));
		cookie = de->rec->cookie + 1;
	}
	KUNIT_EXPECT_EQ(test, i, nr);

	for (i = 0; i < nr; i += 2) {
		many_name(name, sizeof(name), i);
		KUNIT_ASSERT_EQ(test, remove(fx, root, name), 0);
	}
	gmfs_fixture_reload(fx);
	root = gmfs_fixture_root(fx);
	for (i = 0; i < nr; i++) {
		many_name(name, sizeof(name), i);
		KUNIT_ASSERT_EQ(test, !find(root, name), i % 2 == 0);
	}

	/* Freed slots are used before the metadata grows. */
	fx->left = 0;
	file = gmfs_inode_find(&fx->img, find(root, name)->rec->ino);
	for (i = 0; i < nr; i += 2) {
		many_name(name, sizeof(name), i);
		KUNIT_ASSERT_EQ(test, insert(fx, root, name, file), 0);
	}
	gmfs_fixture_reload(fx);
}

/* A paused walk returns each entry that stays exactly once. */
static void dirent_paused_walk(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx), *file;
	const int nr = 300;
	struct gmfs_dirent *de;
	struct rnd_state rnd;
	u8 *seen, *gone;
	char name[16];
	u64 cookie;
	int i, n;

	gmpool_test_seed(test, &rnd, seed);
	seen = kunit_kzalloc(test, nr, GFP_KERNEL);
	gone = kunit_kzalloc(test, nr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	KUNIT_ASSERT_NOT_NULL(test, gone);

	file = gmfs_fixture_ino(fx, MODE_FILE);
	for (i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "%d", i);
		KUNIT_ASSERT_EQ(test, insert(fx, root, name, file), 0);
	}

	cookie = 0;
	for (n = 0; (de = gmfs_dirent_next(root, cookie)) && n < 3 * nr; n++) {
		cookie = de->rec->cookie + 1;
		if (de->rec->name[0] != 'n') {
			memcpy(name, de->rec->name, de->rec->name_len);
			name[de->rec->name_len] = 0;
			KUNIT_ASSERT_EQ(test, kstrtoint(name, 10, &i), 0);
			KUNIT_ASSERT_EQ(test, gone[i], 0);
			seen[i]++;
		}

		/* Remove the entry just returned, the next one, or any other. */
		i = gmpool_test_random(&rnd, 0, nr - 1);
		if (n % 3 == 0)
			i = min(n, nr - 1);
		snprintf(name, sizeof(name), "%d", i);
		if (!gone[i]) {
			KUNIT_ASSERT_EQ(test, remove(fx, root, name), 0);
			gone[i] = 1;
		}
		if (n < nr) {
			snprintf(name, sizeof(name), "n%d", n);
			KUNIT_ASSERT_EQ(test, insert(fx, root, name, file), 0);
		}
		if (n % 50 == 0) {
			gmfs_fixture_reload(fx);
			root = gmfs_fixture_root(fx);
			file = gmfs_inode_find(&fx->img, root->ino + 1);
		}
	}
	KUNIT_EXPECT_NULL(test, gmfs_dirent_next(root, cookie));
	for (i = 0; i < nr; i++)
		if (!gone[i])
			KUNIT_EXPECT_EQ_MSG(test, seen[i], 1, "entry %d", i);
		else
			KUNIT_EXPECT_LE_MSG(test, seen[i], 1, "entry %d", i);
}

static void dirent_rename_same_dir(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *file = gmfs_fixture_make(fx, root, "old", MODE_FILE);
	u64 cookie = find(root, "old")->rec->cookie;

	KUNIT_EXPECT_EQ(test, rename(fx, root, "old", root, "new", false), 0);
	KUNIT_EXPECT_EQ(test, lookup(root, "old"), 0);
	KUNIT_EXPECT_EQ(test, lookup(root, "new"), file->ino);
	KUNIT_EXPECT_GT(test, find(root, "new")->rec->cookie, cookie);
	KUNIT_EXPECT_EQ(test, root->dir.nr, 1);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, 1);
	gmfs_fixture_seal(fx);

	/* Renaming an entry to its own name changes nothing. */
	KUNIT_EXPECT_EQ(test, rename(fx, root, "new", root, "new", true), 0);
	KUNIT_EXPECT_EQ(test, lookup(root, "new"), file->ino);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, 1);
	KUNIT_EXPECT_EQ(test, rename(fx, root, "new", root, "new", false),
			-EEXIST);

	/* Renaming a file to another of its names: both names stay. */
	KUNIT_ASSERT_EQ(test, insert(fx, root, "other", file), 0);
	KUNIT_EXPECT_EQ(test, rename(fx, root, "new", root, "other", true), 0);
	KUNIT_EXPECT_EQ(test, lookup(root, "new"), file->ino);
	KUNIT_EXPECT_EQ(test, lookup(root, "other"), file->ino);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, 2);
	gmfs_fixture_reload(fx);
}

static void dirent_rename_cross_dir(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *a = gmfs_fixture_make(fx, root, "a", MODE_DIR);
	struct gmfs_inode *b = gmfs_fixture_make(fx, root, "b", MODE_DIR);
	struct gmfs_inode *file = gmfs_fixture_make(fx, a, "file", MODE_FILE);
	struct gmfs_inode *dir = gmfs_fixture_make(fx, a, "dir", MODE_DIR);

	gmfs_fixture_make(fx, dir, "below", MODE_FILE);
	KUNIT_EXPECT_EQ(test, a->rec->nlink, 3);

	KUNIT_EXPECT_EQ(test, rename(fx, a, "file", b, "file", false), 0);
	KUNIT_EXPECT_EQ(test, lookup(a, "file"), 0);
	KUNIT_EXPECT_EQ(test, lookup(b, "file"), file->ino);
	KUNIT_EXPECT_EQ(test, a->rec->nlink, 3);
	KUNIT_EXPECT_EQ(test, b->rec->nlink, 2);
	gmfs_fixture_seal(fx);

	KUNIT_EXPECT_EQ(test, rename(fx, a, "dir", b, "moved", false), 0);
	KUNIT_EXPECT_EQ(test, lookup(b, "moved"), dir->ino);
	KUNIT_EXPECT_EQ(test, a->dir.nr, 0);
	KUNIT_EXPECT_EQ(test, b->dir.nr, 2);
	KUNIT_EXPECT_EQ(test, a->rec->nlink, 2);
	KUNIT_EXPECT_EQ(test, b->rec->nlink, 3);
	KUNIT_EXPECT_EQ(test, dir->rec->nlink, 2);
	KUNIT_EXPECT_PTR_EQ(test, dir->dir.parent, b);
	gmfs_fixture_reload(fx);
}

static void dirent_rename_replace(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *a = gmfs_fixture_make(fx, root, "a", MODE_DIR);
	struct gmfs_inode *b = gmfs_fixture_make(fx, root, "b", MODE_DIR);
	struct gmfs_inode *f1 = gmfs_fixture_make(fx, a, "f1", MODE_FILE);
	struct gmfs_inode *f2 = gmfs_fixture_make(fx, b, "f2", MODE_FILE);
	struct gmfs_inode *d1 = gmfs_fixture_make(fx, a, "d1", MODE_DIR);
	struct gmfs_inode *d2 = gmfs_fixture_make(fx, b, "d2", MODE_DIR);
	u32 digest;

	/* Refused operations change nothing. */
	gmfs_fixture_make(fx, d2, "below", MODE_FILE);
	digest = gmfs_fixture_digest(&fx->img);
	KUNIT_EXPECT_EQ(test, rename(fx, a, "f1", b, "f2", false), -EEXIST);
	KUNIT_EXPECT_EQ(test, rename(fx, a, "d1", b, "d2", true), -ENOTEMPTY);
	KUNIT_EXPECT_EQ(test, rename(fx, a, "f1", b, "d2", true), -EISDIR);
	KUNIT_EXPECT_EQ(test, rename(fx, a, "d1", b, "f2", true), -ENOTDIR);
	KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(&fx->img));

	KUNIT_EXPECT_EQ(test, rename(fx, a, "f1", b, "f2", true), 0);
	KUNIT_EXPECT_EQ(test, lookup(b, "f2"), f1->ino);
	KUNIT_EXPECT_EQ(test, lookup(a, "f1"), 0);
	KUNIT_EXPECT_EQ(test, f1->rec->nlink, 1);
	KUNIT_EXPECT_EQ(test, f2->rec->nlink, 0);
	gmfs_fixture_seal(fx);

	KUNIT_ASSERT_EQ(test, remove(fx, d2, "below"), 0);
	KUNIT_EXPECT_EQ(test, rename(fx, a, "d1", b, "d2", true), 0);
	KUNIT_EXPECT_EQ(test, lookup(b, "d2"), d1->ino);
	KUNIT_EXPECT_EQ(test, d1->rec->nlink, 2);
	KUNIT_EXPECT_EQ(test, d2->rec->nlink, 0);
	KUNIT_EXPECT_EQ(test, a->rec->nlink, 2);
	KUNIT_EXPECT_EQ(test, b->rec->nlink, 3);
	KUNIT_EXPECT_PTR_EQ(test, d1->dir.parent, b);
	KUNIT_EXPECT_NULL(test, d2->dir.parent);
	gmfs_fixture_reload(fx);
}

/* Rename a directory over an empty sibling: one subdirectory less. */
static void dirent_rename_replace_beside(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *a = gmfs_fixture_make(fx, root, "a", MODE_DIR);
	struct gmfs_inode *b = gmfs_fixture_make(fx, root, "b", MODE_DIR);

	KUNIT_EXPECT_EQ(test, root->rec->nlink, 4);
	KUNIT_EXPECT_EQ(test, rename(fx, root, "a", root, "b", true), 0);
	KUNIT_EXPECT_EQ(test, lookup(root, "b"), a->ino);
	KUNIT_EXPECT_EQ(test, root->rec->nlink, 3);
	KUNIT_EXPECT_EQ(test, b->rec->nlink, 0);
	gmfs_fixture_reload(fx);
}

static void dirent_exhaustion(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *file = gmfs_fixture_ino(fx, MODE_FILE);
	struct gmfs_inode *dir = gmfs_fixture_make(fx, root, "dir", MODE_DIR);
	char name[256];
	u32 digest;
	int nr, err;

	fx->left = 1;
	for (nr = 0;; nr++) {
		many_name(name, sizeof(name), nr);
		err = insert(fx, root, name, file);
		if (err)
			break;
	}
	KUNIT_EXPECT_EQ(test, err, -ENOSPC);
	KUNIT_EXPECT_GT(test, nr, 40);
	KUNIT_EXPECT_EQ(test, root->dir.nr, nr + 1);
	KUNIT_EXPECT_EQ(test, file->rec->nlink, nr);
	gmfs_fixture_reload(fx);
	root = gmfs_fixture_root(fx);
	dir = gmfs_inode_find(&fx->img, lookup(root, "dir"));

	/* A rename allocates the new entry before it frees the old one. */
	memset(name, 'n', 255);
	digest = gmfs_fixture_digest(&fx->img);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			gmfs_dirent_rename(&fx->img, root, find(root, "1"), dir,
					   name, 255, true, NULL));
	KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(&fx->img));
	gmfs_fixture_reload(fx);

	fx->img.super->next_cookie = GMFS_COOKIE_FULL;
	gmpool_meta_dirty(&fx->meta, &fx->img.super->hdr);
	root = gmfs_fixture_root(fx);
	KUNIT_ASSERT_EQ(test, remove(fx, root, "1"), 0);
	file = gmfs_inode_find(&fx->img, lookup(root, "2"));
	KUNIT_EXPECT_EQ(test, insert(fx, root, "1", file), -ENOSPC);
	KUNIT_EXPECT_EQ(test, rename(fx, root, "2", root, "1", true), -ENOSPC);
	gmfs_fixture_reload(fx);
}

#define WALK_DIRS	4
#define WALK_NAMES	64

/* Random operations against a table of the inode of each name. */
static void dirent_random(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *dir[WALK_DIRS];
	u64 dir_ino[WALK_DIRS];
	u64 (*want)[WALK_NAMES];
	struct rnd_state rnd;
	char from[256], to[256];
	int d, e, i, j, n, err;

	gmpool_test_seed(test, &rnd, seed);
	want = kunit_kcalloc(test, WALK_DIRS, sizeof(*want), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, want);
	for (d = 0; d < WALK_DIRS; d++) {
		snprintf(from, sizeof(from), "dir%d", d);
		dir[d] = gmfs_fixture_make(fx, gmfs_fixture_root(fx), from,
					   MODE_DIR);
		dir_ino[d] = dir[d]->ino;
	}

	for (n = 0; n < 4000; n++) {
		d = gmpool_test_random(&rnd, 0, WALK_DIRS - 1);
		e = gmpool_test_random(&rnd, 0, WALK_DIRS - 1);
		i = gmpool_test_random(&rnd, 0, WALK_NAMES - 1);
		j = gmpool_test_random(&rnd, 0, WALK_NAMES - 1);
		many_name(from, sizeof(from), i);
		many_name(to, sizeof(to), j);

		if (!want[d][i]) {
			want[d][i] = gmfs_fixture_make(fx, dir[d], from,
						       MODE_FILE)->ino;
		} else if (prandom_u32_state(&rnd) % 3) {
			struct gmfs_inode *victim;

			err = rename(fx, dir[d], from, dir[e], to, true);
			KUNIT_ASSERT_EQ(test, err, 0);
			if (d == e && i == j)
				continue;
			victim = gmfs_inode_find(&fx->img, want[e][j]);
			if (victim)
				gmfs_inode_free(&fx->img, victim);
			want[e][j] = want[d][i];
			want[d][i] = 0;
		} else {
			KUNIT_ASSERT_EQ(test, remove(fx, dir[d], from), 0);
			gmfs_inode_free(&fx->img,
					gmfs_inode_find(&fx->img, want[d][i]));
			want[d][i] = 0;
		}
		gmfs_fixture_seal(fx);

		if (n % 400)
			continue;
		gmfs_fixture_reload(fx);
		for (d = 0; d < WALK_DIRS; d++)
			dir[d] = gmfs_inode_find(&fx->img, dir_ino[d]);
		for (d = 0; d < WALK_DIRS; d++) {
			u64 nr = 0;

			for (i = 0; i < WALK_NAMES; i++) {
				many_name(from, sizeof(from), i);
				KUNIT_ASSERT_EQ(test, lookup(dir[d], from),
						want[d][i]);
				nr += !!want[d][i];
			}
			KUNIT_ASSERT_EQ(test, dir[d]->dir.nr, nr);
		}
	}
}

/* Both names stay in place, and the link counts are right. */
static void dirent_exchange(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *dir = gmfs_fixture_make(fx, root, "dir", MODE_DIR);
	struct gmfs_inode *sub = gmfs_fixture_make(fx, dir, "sub", MODE_DIR);
	struct gmfs_inode *file = gmfs_fixture_make(fx, root, "file", MODE_FILE);
	struct gmfs_inode *other = gmfs_fixture_make(fx, root, "other", MODE_FILE);
	u64 cookie = find(root, "file")->rec->cookie;

	KUNIT_ASSERT_EQ(test, 0,
			gmfs_dirent_exchange(&fx->img, root, find(root, "file"),
					     root, find(root, "other")));
	KUNIT_EXPECT_EQ(test, find(root, "file")->rec->ino, other->ino);
	KUNIT_EXPECT_EQ(test, find(root, "other")->rec->ino, file->ino);
	KUNIT_EXPECT_EQ(test, find(root, "file")->rec->cookie, cookie);

	/* A directory moves up, and a file down. */
	KUNIT_ASSERT_EQ(test, 0,
			gmfs_dirent_exchange(&fx->img, root, find(root, "file"),
					     dir, find(dir, "sub")));
	KUNIT_EXPECT_EQ(test, root->rec->nlink, 4);
	KUNIT_EXPECT_EQ(test, dir->rec->nlink, 2);
	KUNIT_EXPECT_PTR_EQ(test, sub->dir.parent, root);
	KUNIT_EXPECT_EQ(test, find(root, "file")->rec->type, S_IFDIR >> 12);
	KUNIT_EXPECT_EQ(test, find(dir, "sub")->rec->type, S_IFREG >> 12);

	/* And back, with the arguments exchanged. */
	KUNIT_ASSERT_EQ(test, 0,
			gmfs_dirent_exchange(&fx->img, dir, find(dir, "sub"),
					     root, find(root, "file")));
	KUNIT_EXPECT_EQ(test, root->rec->nlink, 3);
	KUNIT_EXPECT_EQ(test, dir->rec->nlink, 3);
	KUNIT_EXPECT_PTR_EQ(test, sub->dir.parent, dir);

	root->rec->nlink = U32_MAX;
	KUNIT_EXPECT_EQ(test, -EMLINK,
			gmfs_dirent_exchange(&fx->img, dir, find(dir, "sub"),
					     root, find(root, "file")));
	root->rec->nlink = 3;
	gmfs_fixture_reload(fx);
}

/* A rename with a whiteout leaves an entry with the old name. */
static void dirent_leave(struct kunit *test)
{
	struct gmfs_fixture *fx = test->priv;
	struct gmfs_inode *root = gmfs_fixture_root(fx);
	struct gmfs_inode *dir = gmfs_fixture_make(fx, root, "dir", MODE_DIR);
	struct gmfs_inode *sub = gmfs_fixture_make(fx, root, "sub", MODE_DIR);
	struct gmfs_inode *left = gmfs_fixture_ino(fx, S_IFCHR);
	u32 digest;

	fx->left = 0;
	while (!IS_ERR(gmfs_slot_alloc(&fx->img, &fx->img.dirents, 1)))
		;
	digest = gmfs_fixture_digest(&fx->img);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			gmfs_dirent_rename(&fx->img, root, find(root, "sub"),
					   dir, "new", 3, true, left));
	KUNIT_EXPECT_EQ(test, digest, gmfs_fixture_digest(&fx->img));
	fx->left = U32_MAX;

	KUNIT_ASSERT_EQ(test, 0,
			gmfs_dirent_rename(&fx->img, root, find(root, "sub"),
					   dir, "new", 3, true, left));
	KUNIT_EXPECT_EQ(test, find(root, "sub")->rec->ino, left->ino);
	KUNIT_EXPECT_EQ(test, find(root, "sub")->rec->type, S_IFCHR >> 12);
	KUNIT_EXPECT_EQ(test, find(dir, "new")->rec->ino, sub->ino);
	KUNIT_EXPECT_EQ(test, left->rec->nlink, 1);
	KUNIT_EXPECT_EQ(test, root->rec->nlink, 3);
	KUNIT_EXPECT_EQ(test, dir->rec->nlink, 3);
	KUNIT_EXPECT_EQ(test, root->dir.nr, 2);
	gmfs_fixture_reload(fx);
}

static struct kunit_case dirent_cases[] = {
	KUNIT_CASE(dirent_exchange),
	KUNIT_CASE(dirent_leave),
	KUNIT_CASE(dirent_insert_remove),
	KUNIT_CASE(dirent_lengths),
	KUNIT_CASE(dirent_bytes),
	KUNIT_CASE(dirent_many),
	KUNIT_CASE(dirent_paused_walk),
	KUNIT_CASE(dirent_rename_same_dir),
	KUNIT_CASE(dirent_rename_cross_dir),
	KUNIT_CASE(dirent_rename_replace),
	KUNIT_CASE(dirent_rename_replace_beside),
	KUNIT_CASE(dirent_exhaustion),
	KUNIT_CASE(dirent_random),
	{}
};

static struct kunit_suite dirent_suite = {
	.name = "gmfs-dirent",
	.init = dirent_init,
	.exit = gmfs_fixture_exit,
	.test_cases = dirent_cases,
};

kunit_test_suite(dirent_suite);

MODULE_DESCRIPTION("KUnit tests of the directories of guestmemfs");
MODULE_LICENSE("GPL");
