// SPDX-License-Identifier: GPL-2.0
/*
 * Every operation on files and directories of guestmemfs, with what it has to
 * return. Runs in an empty directory of the file system, which GMFS_DIR names;
 * afterwards it is empty again, and no block is missing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include <linux/fiemap.h>
#include <linux/fs.h>

#include "expect.h"
#include "kselftest_harness.h"

#define BLOCK		(2L << 20)
#define PAGE		4096L
#define STAT_BLOCKS	(BLOCK / 512)

static sigjmp_buf sigbus_jmp;

static void sigbus(int sig)
{
	siglongjmp(sigbus_jmp, sig);
}

/* Stores there, or if @value is negative loads. Is it allowed? */
static bool touch(volatile void *mem, int value)
{
	volatile char *p = mem;

	if (sigsetjmp(sigbus_jmp, 1))
		return false;
	if (value < 0)
		(void)*p;
	else
		*p = value;
	return true;
}

static bool all_are(const void *mem, size_t len, unsigned char value)
{
	const unsigned char *p = mem;

	return !len || (p[0] == value && !memcmp(p, p + 1, len - 1));
}

static long count_free(const char *path)
{
	struct statfs st;

	return statfs(path, &st) ? -1 : (long)st.f_bfree;
}

static long minor_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

FIXTURE(gmfs)
{
	const char *dir;
	long free;	/* blocks when the test starts */
	int top;	/* the directory */
};

FIXTURE_SETUP(gmfs)
{
	self->dir = getenv("GMFS_DIR");
	ASSERT_NE(NULL, self->dir) TH_LOG("GMFS_DIR is not set");
	ASSERT_EQ(0, chdir(self->dir));
	self->free = count_free(".");
	ASSERT_LT(0, self->free);
	self->top = open(".", O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, self->top);
	signal(SIGBUS, sigbus);
	umask(022);
}

static int remove_one(int at, const struct dirent *de, int flags)
{
	int err = unlinkat(at, de->d_name, flags);

	if (err)
		printf("# %s (type %d) cannot be removed: %s\n", de->d_name, de->d_type,
		       strerror(errno));
	return err;
}

static int remove_all(int at)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY);
	DIR *dir = fdopendir(fd);
	struct dirent *de;
	int err = 0;

	if (!dir)
		return -1;
	while ((de = readdir(dir))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (de->d_type == DT_DIR) {
			int sub = openat(fd, de->d_name, O_RDONLY | O_DIRECTORY);

			err |= remove_all(sub);
			close(sub);
			err |= remove_one(fd, de, AT_REMOVEDIR);
		} else {
			err |= remove_one(fd, de, 0);
		}
	}
	closedir(dir);
	return err;
}

/* Runs in the parent: descriptors and mappings of the test are gone. */
FIXTURE_TEARDOWN_PARENT(gmfs)
{
	int top = open(getenv("GMFS_DIR"), O_RDONLY | O_DIRECTORY);

	EXPECT_EQ(0, remove_all(top));
	EXPECT_EQ(self->free, count_free(getenv("GMFS_DIR")))
		TH_LOG("blocks were lost or found");
	close(top);
}

static int make(const char *name)
{
	return open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
}

static int make_sized(const char *name, off_t size)
{
	int fd = make(name);

	if (fd >= 0 && ftruncate(fd, size))
		return -1;
	return fd;
}

static char *map(int fd, off_t offset, size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

static struct stat stat_of(const char *name)
{
	struct stat st = {};

	if (lstat(name, &st))
		st.st_nlink = 12345;
	return st;
}

/* --- names ---------------------------------------------------------------- */

TEST_F(gmfs, create)
{
	struct stat st, by_name;
	int fd = make("a");

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(S_IFREG | 0644, st.st_mode);
	EXPECT_EQ(1, st.st_nlink);
	EXPECT_EQ(0, st.st_size);
	EXPECT_EQ(0, st.st_blocks);
	EXPECT_EQ(BLOCK, st.st_blksize);
	EXPECT_EQ(geteuid(), st.st_uid);
	by_name = stat_of("a");
	EXPECT_EQ(st.st_ino, by_name.st_ino);
	EXPECT_ERR(EEXIST, make("a"));
	EXPECT_LE(0, open("a", O_RDWR | O_CREAT, 0600));
	EXPECT_ERR(ENOENT, open("b", O_RDWR));
	EXPECT_ERR(ENOTDIR, open("a/b", O_RDWR | O_CREAT, 0600));
	EXPECT_ERR(ENOTDIR, open("a", O_RDONLY | O_DIRECTORY));
	EXPECT_EQ(self->free, count_free("."));
}

TEST_F(gmfs, inode_numbers_differ)
{
	struct stat a, b;

	ASSERT_LE(0, make("a"));
	ASSERT_LE(0, make("b"));
	a = stat_of("a");
	b = stat_of("b");
	EXPECT_NE(a.st_ino, b.st_ino);
	EXPECT_EQ(a.st_dev, b.st_dev);
}

TEST_F(gmfs, name_length)
{
	char name[300];
	int len;

	memset(name, 'x', sizeof(name));
	for (len = 255; len > 0; len -= 7) {
		name[len] = '\0';
		ASSERT_LE(0, make(name)) TH_LOG("%d bytes", len);
		ASSERT_EQ(0, close(open(name, O_RDONLY)));
		name[len] = 'x';
	}
	name[256] = '\0';
	EXPECT_ERR(ENAMETOOLONG, make(name));
	EXPECT_ERR(ENAMETOOLONG, mkdir(name, 0755));
	EXPECT_ERR(ENAMETOOLONG, open(name, O_RDONLY));
	ASSERT_EQ(0, close(make("y")));
	EXPECT_ERR(ENAMETOOLONG, rename("y", name));
}

TEST_F(gmfs, name_bytes)
{
	static const char * const names[] = {
		" ", "\n", "...", "\xc3\xa4", "\xff\xfe", "a b", "-rf", "*",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_LE(0, make(names[i]));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_ERR(EEXIST, make(names[i]));
		EXPECT_EQ(0, unlink(names[i]));
		EXPECT_ERR(ENOENT, unlink(names[i]));
	}
}

TEST_F(gmfs, unlink)
{
	struct stat st;
	int fd = make_sized("a", 3 * BLOCK);

	ASSERT_LE(0, fd);
	close(fd);
	EXPECT_EQ(self->free - 3, count_free("."));
	EXPECT_EQ(0, unlink("a"));
	EXPECT_EQ(self->free, count_free("."));
	EXPECT_ERR(ENOENT, unlink("a"));
	EXPECT_ERR(ENOENT, stat("a", &st));
	ASSERT_EQ(0, mkdir("d", 0755));
	EXPECT_ERR(EISDIR, unlink("d"));
}

TEST_F(gmfs, unlink_open_file)
{
	struct stat st;
	int fd = make_sized("a", 2 * BLOCK);
	char *mem;

	ASSERT_LE(0, fd);
	mem = map(fd, 0, 2 * BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0x11, 2 * BLOCK);
	ASSERT_EQ(0, unlink("a"));
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(0, st.st_nlink);
	EXPECT_EQ(self->free - 2, count_free("."));
	/* It still can be used in every way. */
	EXPECT_EQ(0, ftruncate(fd, 4 * BLOCK));
	EXPECT_EQ(self->free - 4, count_free("."));
	EXPECT_TRUE(all_are(mem, 2 * BLOCK, 0x11));
	/* And by a mapping alone. */
	close(fd);
	EXPECT_EQ(self->free - 4, count_free("."));
	EXPECT_TRUE(all_are(mem, 2 * BLOCK, 0x11));
	ASSERT_EQ(0, munmap(mem, 2 * BLOCK));
	EXPECT_EQ(self->free, count_free("."));
}

TEST_F(gmfs, name_is_free_after_unlink_of_open_file)
{
	int old = make_sized("a", BLOCK), new;

	ASSERT_LE(0, old);
	ASSERT_EQ(0, unlink("a"));
	new = make_sized("a", BLOCK);
	ASSERT_LE(0, new);
	memset(map(old, 0, BLOCK), 1, BLOCK);
	EXPECT_TRUE(all_are(map(new, 0, BLOCK), BLOCK, 0));
}

TEST_F(gmfs, mkdir)
{
	struct stat top = stat_of("."), st;

	ASSERT_EQ(0, mkdir("d", 0750));
	st = stat_of("d");
	EXPECT_EQ(S_IFDIR | 0750, st.st_mode);
	EXPECT_EQ(2, st.st_nlink);
	st = stat_of(".");
	EXPECT_EQ(top.st_nlink + 1, st.st_nlink);
	EXPECT_ERR(EEXIST, mkdir("d", 0755));
	EXPECT_ERR(ENOENT, mkdir("no/d", 0755));
	ASSERT_LE(0, make("d/f"));
	EXPECT_ERR(ENOTEMPTY, rmdir("d"));
	EXPECT_ERR(ENOTDIR, rmdir("d/f"));
	EXPECT_ERR(ENOTDIR, mkdir("d/f/g", 0755));
	EXPECT_ERR(EEXIST, mkdir("d/f", 0755));
	ASSERT_EQ(0, unlink("d/f"));
	EXPECT_EQ(0, rmdir("d"));
	EXPECT_ERR(ENOENT, rmdir("d"));
	st = stat_of(".");
	EXPECT_EQ(top.st_nlink, st.st_nlink);
	EXPECT_EQ(self->free, count_free("."));
}

TEST_F(gmfs, deep_directories)
{
	int i;

	for (i = 0; i < 60; i++) {
		ASSERT_EQ(0, mkdir("deeper", 0755));
		ASSERT_EQ(0, chdir("deeper"));
	}
	ASSERT_LE(0, make("f"));
	for (i = 0; i < 60; i++)
		ASSERT_EQ(0, chdir(".."));
	EXPECT_EQ(stat_of(".").st_ino, stat_of(self->dir).st_ino);
}

TEST_F(gmfs, removed_working_directory)
{
	ASSERT_EQ(0, mkdir("d", 0755));
	ASSERT_EQ(0, chdir("d"));
	ASSERT_EQ(0, rmdir("../d"));
	EXPECT_ERR(ENOENT, make("f"));
	EXPECT_ERR(ENOENT, mkdir("e", 0755));
}

TEST_F(gmfs, setgid_directory)
{
	ASSERT_EQ(0, mkdir("d", 0755));
	ASSERT_EQ(0, chown("d", 0, 77));
	ASSERT_EQ(0, chmod("d", 02755));
	ASSERT_LE(0, make("d/f"));
	EXPECT_EQ(77, stat_of("d/f").st_gid);
	ASSERT_EQ(0, mkdir("d/e", 0755));
	EXPECT_EQ(77, stat_of("d/e").st_gid);
	EXPECT_EQ(S_IFDIR | 02755, stat_of("d/e").st_mode);
}

/* --- rename ---------------------------------------------------------------- */

TEST_F(gmfs, rename)
{
	struct stat before, after;

	ASSERT_LE(0, make_sized("a", BLOCK));
	before = stat_of("a");
	EXPECT_EQ(0, rename("a", "b"));
	after = stat_of("b");
	EXPECT_EQ(before.st_ino, after.st_ino);
	EXPECT_EQ(1, after.st_nlink);
	EXPECT_EQ(BLOCK, after.st_size);
	EXPECT_ERR(ENOENT, open("a", O_RDONLY));
	EXPECT_ERR(ENOENT, rename("a", "c"));
	EXPECT_EQ(0, rename("b", "b"));
	EXPECT_EQ(self->free - 1, count_free("."));
}

TEST_F(gmfs, rename_replaces_file)
{
	struct stat a;
	int open_fd;

	ASSERT_EQ(0, close(make_sized("a", BLOCK)));
	ASSERT_EQ(0, close(make_sized("b", 2 * BLOCK)));
	a = stat_of("a");
	EXPECT_EQ(self->free - 3, count_free("."));
	EXPECT_EQ(0, rename("a", "b"));
	EXPECT_EQ(a.st_ino, stat_of("b").st_ino);
	EXPECT_EQ(self->free - 1, count_free("."));

	/* What is replaced while open stays for who has it open. */
	ASSERT_EQ(0, close(make_sized("c", 2 * BLOCK)));
	open_fd = open("c", O_RDWR);
	ASSERT_LE(0, open_fd);
	EXPECT_EQ(0, rename("b", "c"));
	EXPECT_EQ(self->free - 3, count_free("."));
	EXPECT_TRUE(touch(map(open_fd, BLOCK, BLOCK), 1));
}

TEST_F(gmfs, rename_noreplace)
{
	ASSERT_LE(0, make("a"));
	ASSERT_LE(0, make("b"));
	EXPECT_ERR(EEXIST, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
	EXPECT_EQ(0, renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
	EXPECT_EQ(1, stat_of("b").st_nlink);
	EXPECT_EQ(1, stat_of("c").st_nlink);
}

TEST_F(gmfs, rename_directory)
{
	struct stat d, st;

	ASSERT_EQ(0, mkdir("p", 0755));
	ASSERT_EQ(0, mkdir("q", 0755));
	ASSERT_EQ(0, mkdir("p/d", 0755));
	ASSERT_LE(0, make("p/d/f"));
	d = stat_of("p/d");
	EXPECT_EQ(0, rename("p/d", "q/e"));
	EXPECT_EQ(d.st_ino, stat_of("q/e").st_ino);
	EXPECT_EQ(2, stat_of("p").st_nlink);
	EXPECT_EQ(3, stat_of("q").st_nlink);
	st = stat_of("q/e/..");
	EXPECT_EQ(stat_of("q").st_ino, st.st_ino);
	EXPECT_EQ(1, stat_of("q/e/f").st_nlink);

	EXPECT_ERR(EINVAL, rename("q", "q/e/inside"));
	EXPECT_ERR(ENOTEMPTY, rename("p", "q"));
	ASSERT_LE(0, make("f"));
	EXPECT_ERR(EISDIR, rename("f", "p"));
	EXPECT_ERR(ENOTDIR, rename("p", "f"));
	EXPECT_EQ(0, rename("q", "p"));
	EXPECT_EQ(1, stat_of("p/e/f").st_nlink);
	EXPECT_EQ(3, stat_of("p").st_nlink);
}

TEST_F(gmfs, rename_to_longer_and_shorter_names)
{
	char a[256] = "a", b[256];
	int len;

	ASSERT_LE(0, make("a"));
	for (len = 2; len < 256; len += 11) {
		memset(b, 'n', len);
		b[len] = '\0';
		ASSERT_EQ(0, rename(a, b));
		strcpy(a, b);
	}
	EXPECT_EQ(0, rename(a, "b"));
	EXPECT_EQ(1, stat_of("b").st_nlink);
}

/* --- readdir ---------------------------------------------------------------- */

#define MANY	500

static void make_many(struct __test_metadata *_metadata)
{
	char name[32];
	int i;

	ASSERT_EQ(0, mkdir("many", 0755));
	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many/file%d", i);
		ASSERT_EQ(0, i % 10 ? close(make(name)) : mkdir(name, 0755));
	}
}

/* Number of the entry, -1 for dots. */
static int entry(const struct dirent *de)
{
	int i;

	return sscanf(de->d_name, "file%d", &i) == 1 ? i : -1;
}

TEST_F(gmfs, readdir)
{
	int seen[MANY] = {}, dots = 0, i;
	struct dirent *de;
	DIR *dir;

	make_many(_metadata);
	dir = opendir("many");
	ASSERT_NE(NULL, dir);
	while ((de = readdir(dir))) {
		i = entry(de);
		if (i < 0) {
			dots++;
			continue;
		}
		ASSERT_GT(MANY, i);
		seen[i]++;
		EXPECT_EQ(i % 10 ? DT_REG : DT_DIR, de->d_type);
	}
	EXPECT_EQ(2, dots);
	for (i = 0; i < MANY; i++)
		EXPECT_EQ(1, seen[i]);
	rewinddir(dir);
	for (i = 0; readdir(dir); i++)
		;
	EXPECT_EQ(MANY + 2, i);
}

TEST_F(gmfs, readdir_inode_numbers)
{
	struct dirent *de;
	char name[300];
	DIR *dir;

	make_many(_metadata);
	dir = opendir("many");
	ASSERT_NE(NULL, dir);
	while ((de = readdir(dir))) {
		snprintf(name, sizeof(name), "many/%s", de->d_name);
		EXPECT_EQ(stat_of(name).st_ino, de->d_ino);
	}
}

TEST_F(gmfs, seekdir)
{
	long where = 0;
	char name[256];
	DIR *dir;
	int i;

	make_many(_metadata);
	dir = opendir("many");
	ASSERT_NE(NULL, dir);
	for (i = 0; i < 100; i++)
		ASSERT_NE(NULL, readdir(dir));
	where = telldir(dir);
	strcpy(name, readdir(dir)->d_name);
	while (readdir(dir))
		;
	seekdir(dir, where);
	EXPECT_STREQ(name, readdir(dir)->d_name);
}

TEST_F(gmfs, readdir_while_files_go)
{
	int seen[MANY] = {}, i;
	struct dirent *de;
	char name[300];
	DIR *dir;

	make_many(_metadata);
	dir = opendir("many");
	ASSERT_NE(NULL, dir);
	while ((de = readdir(dir))) {
		i = entry(de);
		if (i < 0)
			continue;
		seen[i]++;
		snprintf(name, sizeof(name), "many/%s", de->d_name);
		ASSERT_EQ(0, i % 10 ? unlink(name) : rmdir(name));
	}
	for (i = 0; i < MANY; i++)
		EXPECT_EQ(1, seen[i]);
	EXPECT_EQ(0, rmdir("many"));
}

TEST_F(gmfs, readdir_while_files_are_renamed)
{
	int rounds = 0;
	struct dirent *de;
	char from[300], to[300];
	DIR *dir;

	make_many(_metadata);
	dir = opendir("many");
	ASSERT_NE(NULL, dir);
	while ((de = readdir(dir))) {
		if (entry(de) < 0)
			continue;
		ASSERT_GT(2 * MANY, ++rounds) TH_LOG("it never ends");
		snprintf(from, sizeof(from), "many/%s", de->d_name);
		snprintf(to, sizeof(to), "many/%s.", de->d_name);
		ASSERT_EQ(0, rename(from, to));
	}
	EXPECT_LE(MANY, rounds);
}

/* --- attributes --------------------------------------------------------------- */

TEST_F(gmfs, chmod)
{
	static const mode_t modes[] = { 0, 0777, 0400, 04755, 02750, 01777 };
	size_t i;

	ASSERT_LE(0, make("a"));
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		EXPECT_EQ(0, chmod("a", modes[i]));
		EXPECT_EQ(S_IFREG | modes[i], stat_of("a").st_mode);
	}
	EXPECT_ERR(ENOENT, chmod("b", 0644));
}

TEST_F(gmfs, chown)
{
	ASSERT_LE(0, make("a"));
	EXPECT_EQ(0, chown("a", 1000, 2000));
	EXPECT_EQ(1000, stat_of("a").st_uid);
	EXPECT_EQ(2000, stat_of("a").st_gid);
	EXPECT_EQ(0, chown("a", -1, 3000));
	EXPECT_EQ(1000, stat_of("a").st_uid);
	EXPECT_EQ(3000, stat_of("a").st_gid);
	/* A new owner does not get a set-uid program. */
	ASSERT_EQ(0, chmod("a", 04755));
	EXPECT_EQ(0, chown("a", 1001, -1));
	EXPECT_EQ(S_IFREG | 0755, stat_of("a").st_mode);
}

TEST_F(gmfs, permissions)
{
	static const struct timespec epoch[2];

	ASSERT_EQ(0, close(make_sized("a", BLOCK)));
	ASSERT_EQ(0, chmod("a", 0600));
	ASSERT_EQ(0, mkdir("d", 0700));
	ASSERT_EQ(0, setresgid(1000, 1000, 1000));
	ASSERT_EQ(0, setresuid(1000, 1000, 1000));
	EXPECT_ERR(EACCES, open("a", O_RDONLY));
	EXPECT_ERR(EACCES, open("a", O_RDWR));
	EXPECT_ERR(EACCES, truncate("a", 0));
	EXPECT_ERR(EACCES, make("new"));
	EXPECT_ERR(EACCES, mkdir("new", 0755));
	EXPECT_ERR(EACCES, unlink("a"));
	EXPECT_ERR(EACCES, rmdir("d"));
	EXPECT_ERR(EACCES, rename("a", "b"));
	EXPECT_ERR(EACCES, make("d/f"));
	EXPECT_ERR(EPERM, chmod("a", 0777));
	EXPECT_ERR(EPERM, chown("a", 1000, 1000));
	EXPECT_ERR(EPERM, utimensat(AT_FDCWD, "a", epoch, 0));
}

TEST_F(gmfs, utimens)
{
	struct timespec ts[2] = { { 1234567890, 123456789 }, { -5, 999999999 } };
	struct timespec omit[2] = { { 0, UTIME_OMIT }, { 7, 1 } };
	struct stat st;

	ASSERT_LE(0, make("a"));
	EXPECT_EQ(0, utimensat(AT_FDCWD, "a", ts, 0));
	st = stat_of("a");
	EXPECT_EQ(1234567890, st.st_atim.tv_sec);
	EXPECT_EQ(123456789, st.st_atim.tv_nsec);
	EXPECT_EQ(-5, st.st_mtim.tv_sec);
	EXPECT_EQ(999999999, st.st_mtim.tv_nsec);
	EXPECT_EQ(0, utimensat(AT_FDCWD, "a", omit, 0));
	st = stat_of("a");
	EXPECT_EQ(1234567890, st.st_atim.tv_sec);
	EXPECT_EQ(7, st.st_mtim.tv_sec);
}

static void age(const char *name)
{
	struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };

	utimensat(AT_FDCWD, name, old, 0);
}

TEST_F(gmfs, times_that_change_with_it)
{
	int fd = make("a");

	ASSERT_LE(0, fd);
	age("a");
	ASSERT_EQ(0, ftruncate(fd, BLOCK));
	EXPECT_LT(1000, stat_of("a").st_mtim.tv_sec);
	age("a");
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK));
	EXPECT_LT(1000, stat_of("a").st_mtim.tv_sec);
	age(".");
	ASSERT_EQ(0, rename("a", "b"));
	EXPECT_LT(1000, stat_of(".").st_mtim.tv_sec);
	age(".");
	ASSERT_EQ(0, unlink("b"));
	EXPECT_LT(1000, stat_of(".").st_mtim.tv_sec);
	age(".");
	ASSERT_EQ(0, mkdir("d", 0755));
	EXPECT_LT(1000, stat_of(".").st_mtim.tv_sec);
}

TEST_F(gmfs, birth_time)
{
	struct statx before, after;

	ASSERT_LE(0, make("a"));
	ASSERT_EQ(0, statx(AT_FDCWD, "a", 0, STATX_BTIME, &before));
	EXPECT_TRUE(before.stx_mask & STATX_BTIME);
	EXPECT_LT(0, before.stx_btime.tv_sec);
	ASSERT_EQ(0, truncate("a", BLOCK));
	ASSERT_EQ(0, rename("a", "b"));
	ASSERT_EQ(0, statx(AT_FDCWD, "b", 0, STATX_BTIME, &after));
	EXPECT_EQ(before.stx_btime.tv_sec, after.stx_btime.tv_sec);
	EXPECT_EQ(before.stx_btime.tv_nsec, after.stx_btime.tv_nsec);
}

TEST_F(gmfs, statfs)
{
	struct statfs st;

	ASSERT_LE(0, make_sized("a", 5 * BLOCK + 1));
	ASSERT_EQ(0, statfs("a", &st));
	EXPECT_EQ(BLOCK, st.f_bsize);
	EXPECT_EQ(255, st.f_namelen);
	EXPECT_EQ(self->free - 6, st.f_bfree);
	EXPECT_EQ(st.f_bfree, st.f_bavail);
	EXPECT_GE(st.f_blocks, st.f_bfree + 6);
}

/* --- size and blocks ------------------------------------------------------------ */

TEST_F(gmfs, truncate)
{
	static const struct {
		off_t size;
		long blocks;
	} steps[] = {
		{ 1, 1 }, { BLOCK, 1 }, { BLOCK + 1, 2 }, { 10 * BLOCK, 10 },
		{ 10 * BLOCK - 1, 10 }, { 3 * BLOCK + 12345, 4 }, { 0, 0 },
		{ 7 * BLOCK, 7 }, { 7 * BLOCK, 7 }, { 4096, 1 },
	};
	int fd = make("a");
	struct stat st;
	size_t i;

	ASSERT_LE(0, fd);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		ASSERT_EQ(0, ftruncate(fd, steps[i].size));
		st = stat_of("a");
		EXPECT_EQ(steps[i].size, st.st_size);
		EXPECT_EQ(steps[i].blocks * STAT_BLOCKS, st.st_blocks);
		EXPECT_EQ(self->free - steps[i].blocks, count_free("."));
	}
	EXPECT_ERR(EINVAL, ftruncate(fd, -1));
	EXPECT_ERR(EINVAL, ftruncate(open("a", O_RDONLY), 0));
	EXPECT_ERR(EISDIR, truncate(".", 0));
	EXPECT_EQ(4096, stat_of("a").st_size);
}

TEST_F(gmfs, open_with_o_trunc)
{
	ASSERT_EQ(0, close(make_sized("a", 2 * BLOCK)));
	ASSERT_LE(0, open("a", O_RDWR | O_TRUNC));
	EXPECT_EQ(0, stat_of("a").st_size);
	EXPECT_EQ(self->free, count_free("."));
}

TEST_F(gmfs, size_beyond_all_limits)
{
	int fd = make_sized("a", BLOCK);

	ASSERT_LE(0, fd);
	EXPECT_ERR(ENOSPC, ftruncate(fd, 1L << 40));
	EXPECT_ERR(EFBIG, ftruncate(fd, 0x7fffffffffffffff));
	EXPECT_ERR(ENOSPC, fallocate(fd, 0, 0, 1L << 40));
	EXPECT_ERR(EFBIG, fallocate(fd, 0, 0x7fffffffffffffff, 4096));
	EXPECT_EQ(BLOCK, stat_of("a").st_size);
	EXPECT_EQ(self->free - 1, count_free("."));
}

TEST_F(gmfs, file_size_limit_of_process)
{
	struct rlimit limit = { 4 * BLOCK, 4 * BLOCK };
	int fd = make("a");

	ASSERT_LE(0, fd);
	signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	EXPECT_EQ(0, ftruncate(fd, 4 * BLOCK));
	EXPECT_ERR(EFBIG, ftruncate(fd, 4 * BLOCK + 1));
	EXPECT_ERR(EFBIG, fallocate(fd, 0, 4 * BLOCK, 1));
	EXPECT_EQ(4 * BLOCK, stat_of("a").st_size);
}

TEST_F(gmfs, new_blocks_are_zero)
{
	char *mem;
	int fd, i;

	/* Whatever these blocks hold, they are the ones used next. */
	for (i = 0; i < 3; i++) {
		fd = make_sized("a", self->free * BLOCK);
		ASSERT_LE(0, fd);
		mem = map(fd, 0, self->free * BLOCK);
		ASSERT_NE(MAP_FAILED, mem);
		ASSERT_TRUE(all_are(mem, self->free * BLOCK, 0));
		memset(mem, 0xa5, self->free * BLOCK);
		munmap(mem, self->free * BLOCK);
		close(fd);
		if (i == 0)
			ASSERT_EQ(0, unlink("a"));
		if (i == 1)
			ASSERT_EQ(0, truncate("a", 0));
		if (i == 1)
			ASSERT_EQ(0, unlink("a"));
	}
}

TEST_F(gmfs, truncate_down_and_up_gives_zeroes)
{
	static const off_t cuts[] = { BLOCK + 1, BLOCK + PAGE, 2 * BLOCK - 1, 3, 0 };
	int fd = make_sized("a", 3 * BLOCK);
	char *mem;
	size_t i;

	ASSERT_LE(0, fd);
	mem = map(fd, 0, 3 * BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		memset(mem, 0x77, 3 * BLOCK);
		ASSERT_EQ(0, ftruncate(fd, cuts[i]));
		ASSERT_EQ(0, ftruncate(fd, 3 * BLOCK));
		EXPECT_TRUE(all_are(mem, cuts[i], 0x77));
		EXPECT_TRUE(all_are(mem + cuts[i], 3 * BLOCK - cuts[i], 0));
	}
}

TEST_F(gmfs, stores_behind_the_size_are_not_seen_later)
{
	int fd = make_sized("a", 100);
	char *mem;

	ASSERT_LE(0, fd);
	mem = map(fd, 0, BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0x33, BLOCK);
	ASSERT_EQ(0, ftruncate(fd, 2 * BLOCK));
	EXPECT_TRUE(all_are(mem, 100, 0x33));
	EXPECT_TRUE(all_are(mem + 100, BLOCK - 100, 0));
}

TEST_F(gmfs, fallocate)
{
	int fd = make("a");

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, fallocate(fd, 0, 0, 2 * BLOCK));
	EXPECT_EQ(2 * BLOCK, stat_of("a").st_size);
	EXPECT_EQ(self->free - 2, count_free("."));
	/* The size is exact, and never made smaller. */
	EXPECT_EQ(0, fallocate(fd, 0, 2 * BLOCK, 10));
	EXPECT_EQ(2 * BLOCK + 10, stat_of("a").st_size);
	EXPECT_EQ(0, fallocate(fd, 0, 0, 10));
	EXPECT_EQ(2 * BLOCK + 10, stat_of("a").st_size);
	EXPECT_EQ(self->free - 3, count_free("."));
}

TEST_F(gmfs, fallocate_keep_size)
{
	char *mem;
	int fd = make_sized("a", BLOCK);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, fallocate(fd, FALLOC_FL_KEEP_SIZE, 2 * BLOCK, 2 * BLOCK));
	EXPECT_EQ(BLOCK, stat_of("a").st_size);
	EXPECT_EQ(3 * STAT_BLOCKS, stat_of("a").st_blocks);
	EXPECT_EQ(self->free - 3, count_free("."));
	mem = map(fd, 0, 4 * BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_FALSE(touch(mem + 2 * BLOCK, -1));
	/* They are the file's when it grows, and go when it shrinks. */
	ASSERT_EQ(0, ftruncate(fd, 4 * BLOCK));
	EXPECT_EQ(self->free - 4, count_free("."));
	EXPECT_TRUE(all_are(mem, 4 * BLOCK, 0));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_KEEP_SIZE, 6 * BLOCK, BLOCK));
	ASSERT_EQ(0, ftruncate(fd, 4 * BLOCK));
	EXPECT_EQ(self->free - 4, count_free("."));
}

TEST_F(gmfs, fallocate_errors)
{
	int fd = make_sized("a", BLOCK);

	ASSERT_LE(0, fd);
	EXPECT_ERR(EINVAL, fallocate(fd, 0, 0, 0));
	EXPECT_ERR(EINVAL, fallocate(fd, 0, -1, 10));
	EXPECT_ERR(EINVAL, fallocate(fd, 0, 0, -10));
	EXPECT_ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, BLOCK));
	EXPECT_ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, BLOCK));
	EXPECT_ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, BLOCK));
	EXPECT_ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, BLOCK));
	EXPECT_ERR(EBADF, fallocate(open("a", O_RDONLY), 0, 0, BLOCK));
	EXPECT_EQ(BLOCK, stat_of("a").st_size);
}

#define PUNCH	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

TEST_F(gmfs, punch_hole)
{
	int fd = make_sized("a", 5 * BLOCK);
	char *mem;

	ASSERT_LE(0, fd);
	mem = map(fd, 0, 5 * BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0x44, 5 * BLOCK);
	ASSERT_EQ(0, fallocate(fd, PUNCH, 2 * BLOCK, BLOCK));
	EXPECT_EQ(5 * BLOCK, stat_of("a").st_size);
	EXPECT_EQ(4 * STAT_BLOCKS, stat_of("a").st_blocks);
	EXPECT_EQ(self->free - 4, count_free("."));
	/* What touches the hole gets a new block. */
	EXPECT_TRUE(all_are(mem + 2 * BLOCK, BLOCK, 0));
	EXPECT_EQ(self->free - 5, count_free("."));
	EXPECT_TRUE(all_are(mem, 2 * BLOCK, 0x44));
	EXPECT_TRUE(all_are(mem + 3 * BLOCK, 2 * BLOCK, 0x44));
}

TEST_F(gmfs, punch_edges)
{
	static const struct {
		off_t start, end;
		long freed;
	} holes[] = {
		{ 1, 2, 0 },
		{ BLOCK + 5, 2 * BLOCK - 5, 0 },
		{ BLOCK - 1, 2 * BLOCK + 1, 1 },
		{ BLOCK / 2, 3 * BLOCK + BLOCK / 2, 2 },
		{ 0, 4 * BLOCK, 4 },
		{ 3 * BLOCK, 100 * BLOCK, 1 },
		{ 5 * BLOCK, 6 * BLOCK, 0 },
	};
	const off_t size = 4 * BLOCK;
	off_t end;
	char *mem;
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		fd = make_sized("a", size);
		ASSERT_LE(0, fd);
		mem = map(fd, 0, size);
		ASSERT_NE(MAP_FAILED, mem);
		memset(mem, 0x66, size);
		ASSERT_EQ(0, fallocate(fd, PUNCH, holes[i].start,
				       holes[i].end - holes[i].start));
		EXPECT_EQ(self->free - 4 + holes[i].freed, count_free("."));
		end = holes[i].end < size ? holes[i].end : size;
		if (holes[i].start < size) {
			EXPECT_TRUE(all_are(mem, holes[i].start, 0x66));
			EXPECT_TRUE(all_are(mem + holes[i].start,
					    end - holes[i].start, 0));
			EXPECT_TRUE(all_are(mem + end, size - end, 0x66));
		} else {
			EXPECT_TRUE(all_are(mem, size, 0x66));
		}
		munmap(mem, size);
		close(fd);
		ASSERT_EQ(0, unlink("a"));
	}
}

TEST_F(gmfs, zero_range)
{
	static const struct {
		off_t start, end;
	} ranges[] = {
		{ 0, 1 },
		{ BLOCK - 1, BLOCK + 1 },
		{ 5, 4 * BLOCK - 5 },
		{ BLOCK, 2 * BLOCK },
		{ 0, 4 * BLOCK },
	};
	const off_t size = 4 * BLOCK;
	char *mem;
	size_t i;
	int fd;

	fd = make_sized("a", size);
	ASSERT_LE(0, fd);
	mem = map(fd, 0, size);
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		off_t start = ranges[i].start, end = ranges[i].end;

		memset(mem, 0x66, size);
		ASSERT_EQ(0, fallocate(fd, FALLOC_FL_ZERO_RANGE, start, end - start));
		EXPECT_TRUE(all_are(mem, start, 0x66));
		EXPECT_TRUE(all_are(mem + start, end - start, 0));
		EXPECT_TRUE(all_are(mem + end, size - end, 0x66));
		EXPECT_EQ(4 * STAT_BLOCKS, stat_of("a").st_blocks);
		EXPECT_EQ(size, stat_of("a").st_size);
	}

	/* Holes are filled, and the file is extended, unless its size is to be kept. */
	memset(mem, 0x66, size);
	ASSERT_EQ(0, fallocate(fd, PUNCH, BLOCK, BLOCK));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 5 * BLOCK));
	EXPECT_EQ(5 * STAT_BLOCKS, stat_of("a").st_blocks);
	EXPECT_EQ(size, stat_of("a").st_size);
	EXPECT_TRUE(all_are(mem, size, 0));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_ZERO_RANGE, 5 * BLOCK, 1));
	EXPECT_EQ(5 * BLOCK + 1, stat_of("a").st_size);
	EXPECT_EQ(6 * STAT_BLOCKS, stat_of("a").st_blocks);

	/* For want of memory nothing is done. */
	memset(mem, 0x66, size);
	EXPECT_ERR(ENOSPC, fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, (self->free + 1) * BLOCK));
	EXPECT_TRUE(all_are(mem, size, 0x66));
	EXPECT_EQ(5 * BLOCK + 1, stat_of("a").st_size);
	EXPECT_EQ(self->free - 6, count_free("."));
}

TEST_F(gmfs, hole_is_filled_by_mmap)
{
	int fd = make_sized("a", 3 * BLOCK);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fallocate(fd, PUNCH, 0, 3 * BLOCK));
	EXPECT_EQ(self->free, count_free("."));
	ASSERT_NE(MAP_FAILED, map(fd, BLOCK, BLOCK));
	EXPECT_EQ(self->free - 1, count_free("."));
}

/* As much as is touched, by whoever that is. */
TEST_F(gmfs, hole_stays_with_noreserve)
{
	int fd = make_sized("a", 3 * BLOCK), b = make("b"), zero = open("/dev/zero", O_RDONLY);
	char *mem;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fallocate(fd, PUNCH, 0, 3 * BLOCK));
	mem = mmap(NULL, 3 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(self->free, count_free("."));
	EXPECT_TRUE(touch(mem + BLOCK, 1));
	EXPECT_EQ(self->free - 1, count_free("."));
	EXPECT_EQ(PAGE, read(zero, mem, PAGE));
	EXPECT_EQ(self->free - 2, count_free("."));

	/* When there is none left, it is as for a hole that was punched later. */
	ASSERT_EQ(0, ftruncate(b, count_free(".") * BLOCK));
	EXPECT_FALSE(touch(mem + 2 * BLOCK, 1));
	EXPECT_ERR(ENOSPC, (long)map(fd, 0, 3 * BLOCK));
	ASSERT_EQ(0, ftruncate(b, 0));
	EXPECT_TRUE(touch(mem + 2 * BLOCK, 1));
	EXPECT_EQ(1, mem[BLOCK]);
}

TEST_F(gmfs, fallocate_fills_holes)
{
	int fd = make_sized("a", 6 * BLOCK);
	char *mem;

	ASSERT_LE(0, fd);
	mem = map(fd, 0, 6 * BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0x22, 6 * BLOCK);
	ASSERT_EQ(0, fallocate(fd, PUNCH, BLOCK, BLOCK));
	ASSERT_EQ(0, fallocate(fd, PUNCH, 4 * BLOCK, BLOCK));
	EXPECT_EQ(self->free - 4, count_free("."));
	ASSERT_EQ(0, fallocate(fd, 0, 0, 6 * BLOCK));
	EXPECT_EQ(self->free - 6, count_free("."));
	EXPECT_TRUE(all_are(mem, BLOCK, 0x22));
	EXPECT_TRUE(all_are(mem + BLOCK, BLOCK, 0));
	EXPECT_TRUE(all_are(mem + 2 * BLOCK, 2 * BLOCK, 0x22));
	EXPECT_TRUE(all_are(mem + 4 * BLOCK, BLOCK, 0));
	EXPECT_TRUE(all_are(mem + 5 * BLOCK, BLOCK, 0x22));
}

/* --- running out of it ------------------------------------------------------------ */

TEST_F(gmfs, enospc_by_truncate)
{
	int a = make("a"), b = make("b");

	EXPECT_ERR(ENOSPC, ftruncate(a, (self->free + 1) * BLOCK));
	EXPECT_EQ(0, stat_of("a").st_size);
	EXPECT_EQ(self->free, count_free("."));
	ASSERT_EQ(0, ftruncate(a, self->free * BLOCK));
	EXPECT_EQ(0, count_free("."));
	EXPECT_ERR(ENOSPC, ftruncate(b, 1));
	EXPECT_EQ(0, stat_of("b").st_size);
	EXPECT_ERR(ENOSPC, ftruncate(a, self->free * BLOCK + 1));
	EXPECT_EQ(self->free * BLOCK, stat_of("a").st_size);
	/* Names need no blocks. */
	EXPECT_LE(0, make("c"));
	EXPECT_EQ(0, mkdir("d", 0755));
	ASSERT_EQ(0, ftruncate(a, (self->free - 1) * BLOCK));
	EXPECT_EQ(0, ftruncate(b, 1));
}

TEST_F(gmfs, enospc_by_fallocate)
{
	int a = make("a"), b = make("b");

	EXPECT_ERR(ENOSPC, fallocate(a, 0, 0, (self->free + 1) * BLOCK));
	EXPECT_ERR(ENOSPC, fallocate(a, FALLOC_FL_KEEP_SIZE, 0, (self->free + 1) * BLOCK));
	EXPECT_EQ(self->free, count_free("."));
	ASSERT_EQ(0, fallocate(a, 0, 0, self->free * BLOCK));
	EXPECT_ERR(ENOSPC, fallocate(b, FALLOC_FL_KEEP_SIZE, 0, 1));
	EXPECT_EQ(0, stat_of("b").st_size);
	EXPECT_EQ(0, stat_of("b").st_blocks);
}

TEST_F(gmfs, enospc_by_mmap)
{
	int a = make_sized("a", 2 * BLOCK), b = make("b");

	ASSERT_LE(0, a);
	ASSERT_EQ(0, fallocate(a, PUNCH, 0, BLOCK));
	ASSERT_EQ(0, ftruncate(b, (self->free - 1) * BLOCK));
	EXPECT_ERR(ENOSPC, (long)map(a, 0, 2 * BLOCK));
	EXPECT_ERR(ENOSPC, (long)map(a, 0, BLOCK));
	/* The rest is there. */
	EXPECT_TRUE(touch(map(a, BLOCK, BLOCK), 1));
	ASSERT_EQ(0, ftruncate(b, 0));
	EXPECT_TRUE(touch(map(a, 0, 2 * BLOCK), 1));
}

TEST_F(gmfs, no_sigbus_within_the_size)
{
	int fd = make_sized("a", self->free * BLOCK);
	char *mem;
	long i;

	ASSERT_LE(0, fd);
	mem = map(fd, 0, self->free * BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < self->free; i++)
		ASSERT_TRUE(touch(mem + i * BLOCK + (i * PAGE) % BLOCK, 1));
}

/* Files of other sizes come and go until no two free blocks are neighbours. */
TEST_F(gmfs, fragmented_pool)
{
	char name[32], *mem;
	int fd;
	long i;

	for (i = 0; i < self->free; i++) {
		snprintf(name, sizeof(name), "f%ld", i);
		ASSERT_EQ(0, close(make_sized(name, BLOCK)));
	}
	EXPECT_EQ(0, count_free("."));
	for (i = 0; i < self->free; i += 2) {
		snprintf(name, sizeof(name), "f%ld", i);
		ASSERT_EQ(0, unlink(name));
	}
	fd = make_sized("large", (self->free + 1) / 2 * BLOCK);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, count_free("."));
	mem = map(fd, 0, (self->free + 1) / 2 * BLOCK);
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < (self->free + 1) / 2; i++)
		memset(mem + i * BLOCK, i + 1, BLOCK);
	for (i = 0; i < (self->free + 1) / 2; i++)
		EXPECT_TRUE(all_are(mem + i * BLOCK, BLOCK, i + 1));
	/* None of them is another file's. */
	for (i = 1; i < self->free; i += 2) {
		snprintf(name, sizeof(name), "f%ld", i);
		fd = open(name, O_RDWR);
		mem = map(fd, 0, BLOCK);
		ASSERT_NE(MAP_FAILED, mem);
		EXPECT_TRUE(all_are(mem, BLOCK, 0));
		munmap(mem, BLOCK);
		close(fd);
	}
}

/* --- reading and writing ----------------------------------------------------------- */

TEST_F(gmfs, no_read_and_no_write)
{
	char buf[64] = "";
	struct iovec iov = { buf, sizeof(buf) };
	int fd = make_sized("a", BLOCK), p[2];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pipe(p));
	EXPECT_ERR(EINVAL, read(fd, buf, sizeof(buf)));
	EXPECT_ERR(EINVAL, write(fd, buf, sizeof(buf)));
	EXPECT_ERR(EINVAL, pread(fd, buf, sizeof(buf), 0));
	EXPECT_ERR(EINVAL, pwrite(fd, buf, sizeof(buf), 0));
	EXPECT_ERR(EINVAL, readv(fd, &iov, 1));
	EXPECT_ERR(EINVAL, writev(fd, &iov, 1));
	EXPECT_ERR(EINVAL, sendfile(p[1], fd, NULL, 10));
	EXPECT_ERR(EINVAL, splice(fd, NULL, p[1], NULL, 10, 0));
	EXPECT_EQ(3, write(p[1], "abc", 3));
	EXPECT_ERR(EINVAL, splice(p[0], NULL, fd, NULL, 3, 0));
	EXPECT_ERR(EINVAL, open("a", O_RDWR | O_DIRECT));
	EXPECT_ERR(EISDIR, read(self->top, buf, sizeof(buf)));
	EXPECT_EQ(BLOCK, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(0, fdatasync(fd));
	EXPECT_EQ(0, syncfs(fd));
	EXPECT_ERR(ENOTTY, ioctl(fd, 0x5401, buf));
}

/* The kernel may copy from and to a mapping, as VMMs have it do all the time. */
TEST_F(gmfs, kernel_copies_to_a_mapping)
{
	int fd = make_sized("a", BLOCK), zero = open("/dev/zero", O_RDONLY), p[2];
	char *mem = map(fd, 0, BLOCK), buf[3];

	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 1, BLOCK);
	EXPECT_EQ(BLOCK, read(zero, mem, BLOCK));
	EXPECT_TRUE(all_are(mem, BLOCK, 0));
	ASSERT_EQ(0, pipe(p));
	memcpy(mem + PAGE, "xyz", 3);
	EXPECT_EQ(3, write(p[1], mem + PAGE, 3));
	EXPECT_EQ(3, read(p[0], buf, 3));
	EXPECT_EQ(0, memcmp(buf, "xyz", 3));
}

/* --- mmap ---------------------------------------------------------------------------- */

TEST_F(gmfs, mmap_shared)
{
	int fd = make_sized("a", 2 * BLOCK);
	char *one = map(fd, 0, 2 * BLOCK), *two;

	ASSERT_NE(MAP_FAILED, one);
	two = map(open("a", O_RDWR), BLOCK, BLOCK);
	ASSERT_NE(MAP_FAILED, two);
	one[BLOCK + 17] = 'q';
	EXPECT_EQ('q', two[17]);
	two[BLOCK - 1] = 'r';
	EXPECT_EQ('r', one[2 * BLOCK - 1]);
	EXPECT_EQ(0, msync(one, 2 * BLOCK, MS_SYNC));
	/* What is unmapped stays in the file. */
	ASSERT_EQ(0, munmap(one, 2 * BLOCK));
	ASSERT_EQ(0, munmap(two, BLOCK));
	one = map(fd, 0, 2 * BLOCK);
	EXPECT_EQ('q', one[BLOCK + 17]);
}

TEST_F(gmfs, mmap_errors)
{
	int fd = make_sized("a", 2 * BLOCK), ro, wo;

	ro = open("a", O_RDONLY);
	wo = open("a", O_WRONLY);
	EXPECT_ERR(EINVAL, (long)mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, fd, 0));
	EXPECT_ERR(EINVAL, (long)mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, ro, 0));
	EXPECT_ERR(EACCES, (long)map(ro, 0, BLOCK));
	EXPECT_ERR(EACCES, (long)mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, wo, 0));
	EXPECT_ERR(EINVAL, (long)map(fd, 100, BLOCK));
	EXPECT_ERR(EINVAL, (long)map(fd, 0, 0));
	EXPECT_ERR(EOPNOTSUPP, (long)mmap(NULL, BLOCK, PROT_READ,
					  MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0));
	EXPECT_ERR(ENODEV, (long)mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, self->top, 0));
}

TEST_F(gmfs, mmap_read_only)
{
	int fd = make_sized("a", BLOCK);
	char *rw = map(fd, 0, BLOCK), *ro;

	ro = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, open("a", O_RDONLY), 0);
	ASSERT_NE(MAP_FAILED, ro);
	rw[5] = 'x';
	EXPECT_EQ('x', ro[5]);
	EXPECT_ERR(EACCES, mprotect(ro, BLOCK, PROT_READ | PROT_WRITE));
	signal(SIGSEGV, sigbus);
	EXPECT_FALSE(touch(ro + 5, 'y'));
	EXPECT_EQ('x', rw[5]);
}

TEST_F(gmfs, sigbus_beyond_the_last_block)
{
	int fd = make_sized("a", BLOCK + 10);
	char *mem = map(fd, 0, 4 * BLOCK);

	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_TRUE(touch(mem + BLOCK + 9, 1));
	EXPECT_TRUE(touch(mem + 2 * BLOCK - 1, 1));
	EXPECT_FALSE(touch(mem + 2 * BLOCK, 1));
	EXPECT_FALSE(touch(mem + 4 * BLOCK - 1, -1));
	ASSERT_EQ(0, ftruncate(fd, 4 * BLOCK));
	EXPECT_TRUE(touch(mem + 2 * BLOCK, 1));
	EXPECT_TRUE(touch(mem + 4 * BLOCK - 1, 1));
	ASSERT_EQ(0, ftruncate(fd, BLOCK));
	EXPECT_FALSE(touch(mem + BLOCK, -1));
	EXPECT_FALSE(touch(mem + 2 * BLOCK, 1));
	EXPECT_TRUE(touch(mem, 1));
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_FALSE(touch(mem, 1));
}

TEST_F(gmfs, mmap_of_empty_file)
{
	int fd = make("a");
	char *mem = map(fd, 0, BLOCK);

	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_FALSE(touch(mem, -1));
	ASSERT_EQ(0, ftruncate(fd, 1));
	EXPECT_TRUE(touch(mem, 1));
}

TEST_F(gmfs, mappings_go_with_the_blocks)
{
	int a = make_sized("a", self->free * BLOCK), b = make("b");
	size_t half = self->free / 2 * BLOCK;
	char *mem = map(a, 0, self->free * BLOCK), *other;

	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0x12, self->free * BLOCK);
	ASSERT_EQ(0, ftruncate(a, half));
	ASSERT_EQ(0, ftruncate(b, self->free * BLOCK - half));
	other = map(b, 0, self->free * BLOCK - half);
	ASSERT_NE(MAP_FAILED, other);
	memset(other, 0x34, self->free * BLOCK - half);
	/* The old mapping does not lead to the other file's blocks. */
	EXPECT_FALSE(touch(mem + half, 0x56));
	EXPECT_FALSE(touch(mem + self->free * BLOCK - 1, 0x56));
	EXPECT_TRUE(all_are(other, self->free * BLOCK - half, 0x34));
	EXPECT_TRUE(all_are(mem, half, 0x12));
}

TEST_F(gmfs, one_fault_for_a_block)
{
	int fd = make_sized("a", 64 * BLOCK);
	char *mem = map(fd, 0, 64 * BLOCK);
	long before, after;
	size_t i;

	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(0, (uintptr_t)mem % BLOCK);
	before = minor_faults();
	for (i = 0; i < 64 * BLOCK; i += PAGE)
		mem[i] = 1;
	after = minor_faults();
	EXPECT_LE(64, after - before);
	EXPECT_GE(64 + 2, after - before);
}

TEST_F(gmfs, unaligned_mappings)
{
	int fd = make_sized("a", 4 * BLOCK);
	char *whole = map(fd, 0, 4 * BLOCK), *at, *mem;
	size_t i;

	ASSERT_NE(MAP_FAILED, whole);
	for (i = 0; i < 4 * BLOCK; i += PAGE)
		whole[i] = i / PAGE;
	at = mmap(NULL, 8 * BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem = mmap(at + PAGE, 2 * BLOCK, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, fd, BLOCK / 2);
	ASSERT_EQ(at + PAGE, mem);
	for (i = 0; i < 2 * BLOCK; i += PAGE)
		ASSERT_EQ(whole[BLOCK / 2 + i], mem[i]);
	mem[BLOCK] = 99;
	EXPECT_EQ(99, whole[BLOCK + BLOCK / 2]);
}

TEST_F(gmfs, mprotect_mremap_and_parts)
{
	int fd = make_sized("a", 4 * BLOCK);
	char *mem = map(fd, 0, 4 * BLOCK), *new;
	size_t i;

	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 1, 4 * BLOCK);
	signal(SIGSEGV, sigbus);
	/* A page in the middle of a block. */
	ASSERT_EQ(0, mprotect(mem + 10 * PAGE, PAGE, PROT_READ));
	EXPECT_FALSE(touch(mem + 10 * PAGE, 2));
	EXPECT_TRUE(touch(mem + 11 * PAGE, 2));
	ASSERT_EQ(0, mprotect(mem + 10 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(touch(mem + 10 * PAGE, 2));
	ASSERT_EQ(0, munmap(mem + BLOCK + PAGE, PAGE));
	EXPECT_TRUE(touch(mem + BLOCK, 2));
	EXPECT_FALSE(touch(mem + BLOCK + PAGE, 2));
	EXPECT_EQ(1, mem[BLOCK + 2 * PAGE]);
	new = mremap(mem + 2 * BLOCK, 2 * BLOCK, 2 * BLOCK, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, new);
	for (i = 0; i < 2 * BLOCK; i += PAGE)
		ASSERT_EQ(1, new[i]);
	/* VM_DONTEXPAND */
	EXPECT_ERR(EFAULT, (long)mremap(new, 2 * BLOCK, 3 * BLOCK, MREMAP_MAYMOVE));
}

TEST_F(gmfs, madvise)
{
	int fd = make_sized("a", 2 * BLOCK);
	char *mem = map(fd, 0, 2 * BLOCK);
	size_t i;

	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 3, 2 * BLOCK);
	EXPECT_EQ(0, madvise(mem, BLOCK, MADV_DONTNEED));
	EXPECT_EQ(0, madvise(mem, 2 * BLOCK, MADV_NOHUGEPAGE));
	for (i = 0; i < 2 * BLOCK; i += PAGE)
		ASSERT_EQ(3, mem[i]);
	EXPECT_EQ(0, mlock(mem, 2 * BLOCK));
	EXPECT_EQ(0, munlock(mem, 2 * BLOCK));
}

/* It punches a hole in a file system that has holes. */
TEST_F(gmfs, madvise_remove)
{
	int fd = make_sized("a", 2 * BLOCK);
	char *mem = map(fd, 0, 2 * BLOCK);

	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 3, 2 * BLOCK);
	ASSERT_EQ(0, madvise(mem, BLOCK, MADV_REMOVE));
	EXPECT_EQ(self->free - 1, count_free("."));
	EXPECT_TRUE(all_are(mem, BLOCK, 0));
	EXPECT_TRUE(all_are(mem + BLOCK, BLOCK, 3));
}

TEST_F(gmfs, fork_shares)
{
	int fd = make_sized("a", BLOCK), status;
	char *mem = map(fd, 0, BLOCK);
	pid_t pid;

	ASSERT_NE(MAP_FAILED, mem);
	mem[0] = 1;
	pid = fork();
	if (!pid) {
		mem[1] = mem[0] + 1;
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(2, mem[1]);
}

/* Nobody gets at it by way of the process that has it mapped. */
TEST_F(gmfs, other_ways_to_mapped_memory)
{
	int fd = make_sized("a", BLOCK), p[2], proc;
	char *mem = map(fd, 0, BLOCK), buf[16];
	struct iovec local = { buf, sizeof(buf) }, remote = { mem, sizeof(buf) };

	ASSERT_NE(MAP_FAILED, mem);
	mem[0] = 1;
	proc = open("/proc/self/mem", O_RDWR);
	ASSERT_LE(0, proc);
	EXPECT_ERR(EIO, pread(proc, buf, sizeof(buf), (off_t)mem));
	EXPECT_ERR(EIO, pwrite(proc, buf, sizeof(buf), (off_t)mem));
	EXPECT_ERR(EFAULT, process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	ASSERT_EQ(0, pipe(p));
	EXPECT_ERR(EFAULT, vmsplice(p[1], &remote, 1, 0));
}

/* --- where the blocks are --------------------------------------------------------------- */

static int fiemap(int fd, struct fiemap_extent *extents, int nr)
{
	struct fiemap *fm = calloc(1, sizeof(*fm) + nr * sizeof(*extents));

	fm->fm_length = FIEMAP_MAX_OFFSET;
	fm->fm_extent_count = nr;
	if (ioctl(fd, FS_IOC_FIEMAP, fm))
		return -1;
	memcpy(extents, fm->fm_extents, nr * sizeof(*extents));
	return fm->fm_mapped_extents;
}

TEST_F(gmfs, fiemap)
{
	int fd = make_sized("a", 4 * BLOCK - 100);
	struct fiemap_extent e[8];

	ASSERT_LE(0, fd);
	ASSERT_EQ(1, fiemap(fd, e, 8));
	EXPECT_EQ(0, e[0].fe_logical);
	EXPECT_EQ(4 * BLOCK, e[0].fe_length);
	EXPECT_EQ(0, e[0].fe_physical % BLOCK);
	EXPECT_EQ(FIEMAP_EXTENT_LAST, e[0].fe_flags);

	ASSERT_EQ(0, fallocate(fd, PUNCH, BLOCK, BLOCK));
	ASSERT_EQ(2, fiemap(fd, e, 8));
	EXPECT_EQ(BLOCK, e[0].fe_length);
	EXPECT_EQ(0, e[0].fe_flags);
	EXPECT_EQ(2 * BLOCK, e[1].fe_logical);
	EXPECT_EQ(2 * BLOCK, e[1].fe_length);
	EXPECT_EQ(FIEMAP_EXTENT_LAST, e[1].fe_flags);

	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(0, fiemap(fd, e, 8));
}

TEST_F(gmfs, file_grows_where_it_is)
{
	int fd = make_sized("a", BLOCK), i;
	struct fiemap_extent e[8];

	ASSERT_LE(0, fd);
	for (i = 2; i < 20; i++)
		ASSERT_EQ(0, ftruncate(fd, i * BLOCK));
	EXPECT_EQ(1, fiemap(fd, e, 8));
}

/* --- many at once -------------------------------------------------------------------------- */

TEST_F(gmfs, many_files)
{
	char name[32];
	int i;

	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		ASSERT_EQ(0, close(make(name)));
	}
	for (i = 0; i < 3000; i += 2) {
		snprintf(name, sizeof(name), "file-%d", i);
		ASSERT_EQ(0, unlink(name));
	}
	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		ASSERT_EQ(i % 2 ? 0 : -1, access(name, F_OK));
	}
}

static pid_t start(void (*fn)(void))
{
	pid_t pid = fork();

	if (!pid) {
		/* Ends with the test, whatever becomes of that. */
		alarm(60);
		for (;;)
			fn();
	}
	return pid;
}

static void resize_a(void)
{
	static int i;

	if (truncate("a", (i++ % 5) * BLOCK / 2) && errno != ENOSPC)
		_exit(1);
}

static void punch_a(void)
{
	int fd = open("a", O_RDWR);

	if (fallocate(fd, PUNCH, 0, BLOCK + BLOCK / 2))
		_exit(1);
	close(fd);
}

static void store_a(void)
{
	int fd = open("a", O_RDWR);
	char *mem = map(fd, 0, 3 * BLOCK);
	int i;

	if (mem == MAP_FAILED)
		_exit(errno == ENOSPC ? 0 : 1);
	for (i = 0; i < 3 * BLOCK; i += BLOCK / 4)
		touch(mem + i, 1);
	munmap(mem, 3 * BLOCK);
	close(fd);
}

static void take_b(void)
{
	static int i;
	char name[16], *mem;
	int fd;

	snprintf(name, sizeof(name), "b%d", i++ % 8);
	fd = open(name, O_RDWR | O_CREAT, 0644);
	if (ftruncate(fd, 2 * BLOCK))
		_exit(1);
	mem = map(fd, 0, 2 * BLOCK);
	/* Nobody else may have a way to these blocks. */
	if (mem == MAP_FAILED || !all_are(mem, 2 * BLOCK, 0))
		_exit(2);
	memset(mem, 0xbb, 2 * BLOCK);
	if (!all_are(mem, 2 * BLOCK, 0xbb))
		_exit(3);
	munmap(mem, 2 * BLOCK);
	close(fd);
	if (unlink(name))
		_exit(4);
}

TEST_F(gmfs, faults_against_truncate_and_punch)
{
	void (*const work[])(void) = { resize_a, punch_a, store_a, store_a, take_b };
	pid_t pids[ARRAY_SIZE(work)];
	int status;
	size_t i;

	ASSERT_EQ(0, close(make("a")));
	for (i = 0; i < ARRAY_SIZE(work); i++)
		pids[i] = start(work[i]);
	sleep(4);
	for (i = 0; i < ARRAY_SIZE(work); i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < ARRAY_SIZE(work); i++) {
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(SIGKILL, status) TH_LOG("worker %zu", i);
	}
}

/* Never deeper than two: nothing with entries is moved down. */
static void names_work(void)
{
	char a[32], a2[32], b[32], b2[32];

	snprintf(a, sizeof(a), "n%d", rand() % 6);
	snprintf(a2, sizeof(a2), "n%d", rand() % 6);
	snprintf(b, sizeof(b), "n%d/m%d", rand() % 6, rand() % 6);
	snprintf(b2, sizeof(b2), "n%d/m%d", rand() % 6, rand() % 6);
	switch (rand() % 8) {
	case 0:
		mkdir(a, 0755);
		break;
	case 1:
		close(open(b, O_RDWR | O_CREAT, 0644));
		break;
	case 2:
		mkdir(b, 0755);
		break;
	case 3:
		rename(a, a2);
		break;
	case 4:
		rename(b, b2);
		break;
	case 5:
		unlink(b);
		break;
	case 6:
		rmdir(b);
		break;
	case 7:
		rmdir(a);
		break;
	}
}

/* Who changes something waits until it is thawed; stores and lookups go on. */
TEST_F(gmfs, freeze)
{
	int fd = make_sized("a", 2 * BLOCK);
	volatile char *mem = map(fd, 0, 2 * BLOCK);
	int status, top = self->top;
	pid_t pid;

	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, fallocate(fd, PUNCH, BLOCK, BLOCK));
	ASSERT_EQ(0, ioctl(top, FIFREEZE, 0));
	pid = fork();
	if (!pid) {
		/* Fills the hole, and makes a file. */
		mem[BLOCK] = 1;
		_exit(make("b") < 0);
	}
	EXPECT_ERR(EBUSY, ioctl(top, FIFREEZE, 0));
	mem[0] = 1;
	usleep(200000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_EQ(STAT_BLOCKS, stat_of("a").st_blocks);
	EXPECT_ERR(ENOENT, access("b", F_OK));
	ASSERT_EQ(0, ioctl(top, FITHAW, 0));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(2 * STAT_BLOCKS, stat_of("a").st_blocks);
	EXPECT_EQ(0, access("b", F_OK));
	EXPECT_ERR(EINVAL, ioctl(top, FITHAW, 0));
}

TEST_F(gmfs, names_against_each_other)
{
	pid_t pids[4];
	int status;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(pids); i++) {
		srand(i);
		pids[i] = start(names_work);
	}
	sleep(3);
	for (i = 0; i < ARRAY_SIZE(pids); i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < ARRAY_SIZE(pids); i++) {
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(SIGKILL, status);
	}
}

TEST_HARNESS_MAIN
