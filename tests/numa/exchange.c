// SPDX-License-Identifier: GPL-2.0
/*
 * Exchange of ranges of two files of guestmemfs.
 *
 *	exchange			all tests, in the directory that GMFS_DIR names
 *	exchange FILE1 OFFSET1 FILE2 OFFSET2 LENGTH [FLAGS]
 *					a single one
 *	exchange loop FILE1 FILE2	exchange ranges until the kernel ends
 *	exchange whole FILE1 FILE2	after that: each page is where it was in one
 *					of the two files, and none is there twice
 *
 * GMFS_NODE is the node; GMFS_DEVICE, "PCI GROUP CDEV", is a device for the tests of
 * pins. All as root.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/guestmemfs.h>

#include "blocks.h"
#include "device.h"
#include "expect.h"
#include "flat.h"
#include "kselftest_harness.h"

#define PAGES		(BLOCK / PAGE)
#define LOOP_BLOCKS	16UL
#define STAT_BLOCKS	((long)(BLOCK / 512))

#define TO_EOF	GUESTMEMFS_EXCHANGE_RANGE_TO_EOF
#define DRY_RUN	GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN
#define GROW	GUESTMEMFS_EXCHANGE_RANGE_GROW
#define INTO_HOLE	GUESTMEMFS_EXCHANGE_RANGE_INTO_HOLE

/* What a page of a new file has as its first word. */
#define MARK(file, page)	((uint64_t)(file) << 32 | ((page) + 1))

static int exchange(int fd1, uint64_t from, int fd2, uint64_t to, uint64_t length,
		    uint64_t flags)
{
	struct guestmemfs_exchange_range arg = {
		.file1_fd = fd1,
		.file1_offset = from,
		.file2_offset = to,
		.length = length,
		.flags = flags,
	};

	return ioctl(fd2, GUESTMEMFS_IOC_EXCHANGE_RANGE, &arg);
}

static sigjmp_buf back;

static void on_bus(int sig)
{
	siglongjmp(back, sig);
}

static bool can_read(volatile void *p)
{
	signal(SIGBUS, on_bus);
	if (sigsetjmp(back, 1))
		return false;
	(void)*(volatile char *)p;
	return true;
}

static uint64_t *map_fd(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* A new file of @blocks, the last one shorter by @less bytes. */
static int new_file(const char *name, int number, size_t blocks, size_t less)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	uint64_t *mem;
	size_t page;

	if (fd < 0 || ftruncate(fd, blocks * BLOCK - less))
		return -1;
	mem = map_fd(fd, blocks * BLOCK);
	if (!mem)
		return -1;
	for (page = 0; page < blocks * PAGES; page++)
		mem[page * PAGE / 8] = MARK(number, page);
	munmap(mem, blocks * BLOCK);
	return fd;
}

/* Do all pages of the block at @at have the marks of that block? Block -1 is zeroes. */
static bool has(const uint64_t *mem, size_t at, int number, long block)
{
	size_t page;

	for (page = 0; page < PAGES; page++)
		if (mem[(at * PAGES + page) * PAGE / 8] !=
		    (block < 0 ? 0 : MARK(number, block * PAGES + page)))
			return false;
	return true;
}

static int punch(int fd, size_t block, size_t count)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, block * BLOCK,
			 count * BLOCK);
}

FIXTURE(exchange)
{
	int one, two;
	uint64_t *mem1, *mem2;
	long free;
};

#define BLOCKS	8UL

FIXTURE_SETUP(exchange)
{
	const char *dir = getenv("GMFS_DIR");

	ASSERT_NE(NULL, dir);
	ASSERT_EQ(0, chdir(dir));
	self->one = new_file("one", 1, BLOCKS, 0);
	self->two = new_file("two", 2, BLOCKS, 0);
	ASSERT_LE(0, self->one);
	ASSERT_LE(0, self->two);
	self->mem1 = map_fd(self->one, BLOCKS * BLOCK);
	self->mem2 = map_fd(self->two, BLOCKS * BLOCK);
	ASSERT_NE(NULL, self->mem1);
	ASSERT_NE(NULL, self->mem2);
	self->free = free_blocks();
}

FIXTURE_TEARDOWN(exchange)
{
	EXPECT_EQ(0, unlink("one"));
	EXPECT_EQ(0, unlink("two"));
}

/* Contents and memory move, in mappings that were there, and nothing is allocated. */
TEST_F(exchange, blocks)
{
	uint64_t phys1 = phys_of(self->one, 2 * BLOCK), phys2 = phys_of(self->two, 5 * BLOCK);
	struct stat st1, st2;

	ASSERT_EQ(0, exchange(self->one, 2 * BLOCK, self->two, 5 * BLOCK, 2 * BLOCK, 0));
	EXPECT_TRUE(has(self->mem1, 1, 1, 1));
	EXPECT_TRUE(has(self->mem1, 2, 2, 5));
	EXPECT_TRUE(has(self->mem1, 3, 2, 6));
	EXPECT_TRUE(has(self->mem1, 4, 1, 4));
	EXPECT_TRUE(has(self->mem2, 4, 2, 4));
	EXPECT_TRUE(has(self->mem2, 5, 1, 2));
	EXPECT_TRUE(has(self->mem2, 6, 1, 3));
	EXPECT_TRUE(has(self->mem2, 7, 2, 7));
	EXPECT_EQ(phys2, phys_of(self->one, 2 * BLOCK));
	EXPECT_EQ(phys1, phys_of(self->two, 5 * BLOCK));
	EXPECT_EQ(self->free, free_blocks());
	ASSERT_EQ(0, fstat(self->one, &st1));
	ASSERT_EQ(0, fstat(self->two, &st2));
	EXPECT_EQ(BLOCKS * STAT_BLOCKS, st1.st_blocks);
	EXPECT_EQ(BLOCKS * STAT_BLOCKS, st2.st_blocks);
}

/* An exchange with a hole moves memory: the one has it, the other a hole. */
TEST_F(exchange, holes)
{
	struct stat st1, st2;

	ASSERT_EQ(0, punch(self->two, 1, 3));
	ASSERT_EQ(0, exchange(self->one, 0, self->two, 2 * BLOCK, BLOCK, 0));
	ASSERT_EQ(0, fstat(self->one, &st1));
	ASSERT_EQ(0, fstat(self->two, &st2));
	EXPECT_EQ((BLOCKS - 1) * STAT_BLOCKS, st1.st_blocks);
	EXPECT_EQ((BLOCKS - 2) * STAT_BLOCKS, st2.st_blocks);
	EXPECT_EQ(BLOCK, lseek(self->one, 0, SEEK_DATA));
	EXPECT_EQ(0, phys_of(self->two, 1 * BLOCK));
	EXPECT_TRUE(has(self->mem2, 2, 1, 0));
	EXPECT_EQ(self->free + 3, free_blocks());
	/* A touch fills the hole again, as one that was punched. */
	EXPECT_TRUE(has(self->mem1, 0, 0, -1));
	EXPECT_EQ(self->free + 2, free_blocks());
}

/* What file2 has in the range is not lost. */
TEST_F(exchange, into_a_hole)
{
	ASSERT_EQ(0, punch(self->two, 2, 3));
	/* The range begins or ends with a block, or has one in between. */
	EXPECT_ERR(EEXIST, exchange(self->one, 0, self->two, BLOCK, 2 * BLOCK, INTO_HOLE));
	EXPECT_ERR(EEXIST, exchange(self->one, 0, self->two, 4 * BLOCK, 2 * BLOCK, INTO_HOLE));
	self->mem2[3 * BLOCK / 8] = 77;
	EXPECT_ERR(EEXIST, exchange(self->one, 0, self->two, 2 * BLOCK, 3 * BLOCK,
				    INTO_HOLE | DRY_RUN));
	EXPECT_ERR(EEXIST, exchange(self->one, 0, self->two, 2 * BLOCK, 3 * BLOCK, INTO_HOLE));
	EXPECT_EQ(77, self->mem2[3 * BLOCK / 8]);
	EXPECT_TRUE(has(self->mem1, 0, 1, 0));
	/* file1 may have memory or not. */
	ASSERT_EQ(0, punch(self->one, 0, 1));
	EXPECT_EQ(0, exchange(self->one, 0, self->two, 2 * BLOCK, BLOCK, INTO_HOLE | DRY_RUN));
	EXPECT_EQ(0, exchange(self->one, BLOCK, self->two, 2 * BLOCK, BLOCK, INTO_HOLE));
	EXPECT_TRUE(has(self->mem2, 2, 1, 1));
	EXPECT_EQ(0, exchange(self->one, 0, self->two, 4 * BLOCK, BLOCK, INTO_HOLE));
	/* Behind the end of file2 there is no memory. */
	EXPECT_EQ(0, exchange(self->one, 2 * BLOCK, self->two, 8 * BLOCK, BLOCK,
			      INTO_HOLE | GROW));
}

/* A file grows by blocks that the other loses; the gap reads as zeroes. */
TEST_F(exchange, grow)
{
	int child = new_file("child", 3, 1, PAGE);
	uint64_t *mem = map_fd(child, 6 * BLOCK);
	struct stat st;

	ASSERT_LE(0, child);
	ASSERT_NE(NULL, mem);
	EXPECT_ERR(EINVAL, exchange(self->one, 0, child, 3 * BLOCK, 2 * BLOCK, 0));
	ASSERT_EQ(0, exchange(self->one, 0, child, 3 * BLOCK, 2 * BLOCK, GROW));
	ASSERT_EQ(0, fstat(child, &st));
	EXPECT_EQ(5 * BLOCK, st.st_size);
	EXPECT_EQ(3 * STAT_BLOCKS, st.st_blocks);
	EXPECT_EQ(MARK(3, PAGES - 2), mem[(PAGES - 2) * PAGE / 8]);
	EXPECT_EQ(0, mem[(PAGES - 1) * PAGE / 8]);
	EXPECT_TRUE(has(mem, 3, 1, 0));
	EXPECT_TRUE(has(mem, 4, 1, 1));
	EXPECT_FALSE(can_read(mem + 5 * BLOCK / 8));
	ASSERT_EQ(0, fstat(self->one, &st));
	EXPECT_EQ(BLOCKS * BLOCK, st.st_size);
	EXPECT_EQ((BLOCKS - 2) * STAT_BLOCKS, st.st_blocks);
	EXPECT_EQ(0, unlink("child"));
}

/* A last block that is not whole does not come to lie within the other file. */
TEST_F(exchange, grow_over_an_end)
{
	int child = new_file("child", 3, 2, PAGE);
	struct stat st;

	ASSERT_LE(0, child);
	EXPECT_ERR(EINVAL, exchange(self->one, 0, child, BLOCK, 2 * BLOCK, GROW));
	ASSERT_EQ(0, ftruncate(child, 2 * BLOCK));
	ASSERT_EQ(0, exchange(self->one, 0, child, BLOCK, 2 * BLOCK, GROW));
	ASSERT_EQ(0, fstat(child, &st));
	EXPECT_EQ(3 * BLOCK, st.st_size);
	EXPECT_EQ(3 * STAT_BLOCKS, st.st_blocks);
	/* Within the file the flag changes nothing. */
	ASSERT_EQ(0, exchange(self->one, 0, child, 0, BLOCK, GROW));
	ASSERT_EQ(0, fstat(child, &st));
	EXPECT_EQ(3 * BLOCK, st.st_size);
	EXPECT_EQ(0, unlink("child"));
}

/* Up to the ends, which change places, as do the last blocks that are not whole. */
TEST_F(exchange, to_the_ends)
{
	int small = new_file("small", 3, 2, PAGE), even = new_file("even", 4, 2, PAGE);
	uint64_t *mem = map_fd(small, BLOCKS * BLOCK);
	struct stat st;

	ASSERT_LE(0, small);
	ASSERT_LE(0, even);
	/* A range that is not whole blocks reaches the ends of both files. */
	EXPECT_ERR(EINVAL, exchange(small, BLOCK, self->one, 0, BLOCK - PAGE, 0));
	EXPECT_ERR(EINVAL, exchange(self->one, 0, small, BLOCK, BLOCK - PAGE, 0));
	EXPECT_ERR(EINVAL, exchange(small, 0, even, 0, BLOCK - PAGE, 0));
	ASSERT_EQ(0, exchange(small, BLOCK, even, BLOCK, BLOCK - PAGE, 0));
	EXPECT_TRUE(has(mem, 1, 4, 1));

	ASSERT_EQ(0, exchange(self->one, 2 * BLOCK, small, BLOCK, 1, TO_EOF));
	ASSERT_EQ(0, fstat(small, &st));
	EXPECT_EQ(7 * BLOCK, st.st_size);
	EXPECT_EQ(7 * STAT_BLOCKS, st.st_blocks);
	ASSERT_EQ(0, fstat(self->one, &st));
	EXPECT_EQ(3 * BLOCK - PAGE, st.st_size);
	EXPECT_EQ(3 * STAT_BLOCKS, st.st_blocks);
	EXPECT_TRUE(has(mem, 0, 3, 0));
	EXPECT_TRUE(has(mem, 1, 1, 2));
	EXPECT_TRUE(has(mem, 6, 1, 7));
	EXPECT_TRUE(has(self->mem1, 2, 4, 1));
	EXPECT_FALSE(can_read(self->mem1 + 3 * BLOCK / 8));
	/* What is behind the end reads as zeroes once the file grows. */
	ASSERT_EQ(0, ftruncate(self->one, 3 * BLOCK));
	EXPECT_EQ(0, self->mem1[(3 * PAGES - 1) * PAGE / 8]);
	EXPECT_EQ(0, unlink("small"));
	EXPECT_EQ(0, unlink("even"));
}

TEST_F(exchange, one_file)
{
	ASSERT_EQ(0, exchange(self->one, 0, self->one, 2 * BLOCK, 2 * BLOCK, 0));
	EXPECT_TRUE(has(self->mem1, 0, 1, 2));
	EXPECT_TRUE(has(self->mem1, 1, 1, 3));
	EXPECT_TRUE(has(self->mem1, 2, 1, 0));
	EXPECT_TRUE(has(self->mem1, 3, 1, 1));
	EXPECT_ERR(EINVAL, exchange(self->one, 0, self->one, BLOCK, 2 * BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(self->one, BLOCK, self->one, 0, 2 * BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(self->one, 0, self->one, 0, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(self->one, 0, self->one, BLOCK, 0, TO_EOF));
	/* It grows behind its own end. */
	ASSERT_EQ(0, exchange(self->one, 6 * BLOCK, self->one, 8 * BLOCK, 2 * BLOCK, GROW));
	EXPECT_EQ(10 * BLOCK, lseek(self->one, 0, SEEK_END));
	EXPECT_EQ(6 * BLOCK, lseek(self->one, 0, SEEK_HOLE));
}

/* Nothing changes without an exchange: neither contents, nor times, nor modes. */
TEST_F(exchange, errors)
{
	struct guestmemfs_exchange_range padded = { .file1_fd = self->one, .pad = 1,
						    .length = BLOCK };
	int reader = open("one", O_RDONLY), writer = open("one", O_WRONLY);
	int append = open("one", O_RDWR | O_APPEND), path = open("one", O_PATH);
	int dir = open(".", O_RDONLY), null = open("/dev/null", O_RDWR);
	int other = open(getenv("GMFS_OTHER") ?: ".", O_TMPFILE | O_RDWR, 0600);
	int a = self->one, b = self->two, flags;
	struct stat before, after;
	char command[64];

	ASSERT_EQ(0, mkfifo("fifo", 0600));
	int fifo = open("fifo", O_RDWR);

	ASSERT_EQ(0, fstat(a, &before));
	EXPECT_ERR(EFAULT, ioctl(b, GUESTMEMFS_IOC_EXCHANGE_RANGE, 1));
	EXPECT_ERR(EINVAL, ioctl(b, GUESTMEMFS_IOC_EXCHANGE_RANGE, &padded));
	EXPECT_ERR(ENOTTY, ioctl(b, _IO('X', 129), 0));
	EXPECT_ERR(ENOTTY, exchange(a, 0, dir, 0, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, 0, BLOCK, 1ULL << 4));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, 0, BLOCK, GROW | TO_EOF));
	EXPECT_ERR(EOPNOTSUPP, exchange(a, 0, b, 0, BLOCK,
					GUESTMEMFS_EXCHANGE_RANGE_FILE1_WRITTEN));
	EXPECT_ERR(EBADF, exchange(-1, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EBADF, exchange(path, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EXDEV, exchange(null, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EXDEV, exchange(other, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EISDIR, exchange(dir, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(fifo, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EBADF, exchange(reader, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EBADF, exchange(writer, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EBADF, exchange(append, 0, b, 0, BLOCK, 0));
	EXPECT_ERR(EBADF, exchange(b, 0, reader, 0, BLOCK, 0));
	EXPECT_ERR(EBADF, exchange(b, 0, writer, 0, BLOCK, 0));
	EXPECT_ERR(EBADF, exchange(b, 0, append, 0, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, PAGE, b, 0, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, PAGE, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, 0, PAGE, 0));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, 0, 9 * BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, 8 * BLOCK, b, 0, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, 9 * BLOCK, b, 0, BLOCK, GROW));
	EXPECT_ERR(EINVAL, exchange(a, 9 * BLOCK, b, 0, 0, TO_EOF));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, 9 * BLOCK, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, 1ULL << 63, b, 0, BLOCK, 0));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, 0, 1ULL << 63, 0));
	EXPECT_ERR(EINVAL, exchange(a, 0, b, -BLOCK, 2 * BLOCK, GROW));
	EXPECT_ERR(EFBIG, exchange(a, 0, b, INT64_MAX / BLOCK * BLOCK, BLOCK - 1, GROW));
	for (flags = FS_APPEND_FL; flags; flags = flags == FS_APPEND_FL ? FS_IMMUTABLE_FL : 0) {
		ASSERT_EQ(0, ioctl(a, FS_IOC_SETFLAGS, &flags));
		EXPECT_ERR(EPERM, exchange(a, 0, b, 0, BLOCK, 0));
		EXPECT_ERR(EPERM, exchange(b, 0, a, 0, BLOCK, 0));
		EXPECT_ERR(EPERM, exchange(b, 0, a, 0, BLOCK, DRY_RUN));
	}
	ASSERT_EQ(0, ioctl(a, FS_IOC_SETFLAGS, &flags));
	EXPECT_EQ(0, exchange(a, 0, b, 0, BLOCK, DRY_RUN));
	EXPECT_EQ(0, exchange(a, 0, b, 9 * BLOCK, BLOCK, DRY_RUN | GROW));
	EXPECT_EQ(0, exchange(a, 0, b, 0, 0, 0));
	EXPECT_EQ(0, exchange(a, 8 * BLOCK, b, 8 * BLOCK, 0, TO_EOF));
	ASSERT_EQ(0, fstat(a, &after));
	EXPECT_EQ(0, memcmp(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim)));
	EXPECT_TRUE(has(self->mem1, 0, 1, 0));
	EXPECT_TRUE(has(self->mem2, 0, 2, 0));
	snprintf(command, sizeof(command), "test $(stat -c %%s two) = %lu", BLOCKS * BLOCK);
	EXPECT_EQ(0, system(command));
	EXPECT_EQ(0, unlink("fifo"));
}

static volatile sig_atomic_t got_xfsz;

static void on_xfsz(int sig)
{
	got_xfsz = sig;
}

TEST_F(exchange, size_limit)
{
	struct rlimit limit = { 9 * BLOCK, RLIM_INFINITY };

	signal(SIGXFSZ, on_xfsz);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	EXPECT_ERR(EINVAL, exchange(self->one, 0, self->two, 8 * BLOCK, 2 * BLOCK, GROW));
	EXPECT_ERR(EFBIG, exchange(self->one, 0, self->two, 9 * BLOCK, BLOCK, GROW));
	EXPECT_EQ(SIGXFSZ, got_xfsz);
	EXPECT_EQ(0, exchange(self->one, 0, self->two, 8 * BLOCK, BLOCK, GROW));
}

/* As every change of contents: times, set-user-ID bits, a watch. */
TEST_F(exchange, change_of_contents)
{
	struct stat before[2], after[2];
	char events[256];
	int watch = inotify_init1(IN_NONBLOCK);

	ASSERT_EQ(0, fchown(self->one, 1000, 1000));
	ASSERT_EQ(0, fchmod(self->one, 04755));
	ASSERT_LE(0, inotify_add_watch(watch, "one", IN_MODIFY));
	ASSERT_EQ(0, fstat(self->one, &before[0]));
	ASSERT_EQ(0, fstat(self->two, &before[1]));
	usleep(20000);
	if (!fork()) {
		if (setgid(1000) || setuid(1000))
			_exit(2);
		_exit(exchange(self->one, 0, self->two, 0, BLOCK, 0) ? 1 : 0);
	}
	int status;

	ASSERT_LT(0, wait(&status));
	ASSERT_EQ(0, status);
	ASSERT_EQ(0, fstat(self->one, &after[0]));
	ASSERT_EQ(0, fstat(self->two, &after[1]));
	EXPECT_EQ(S_IFREG | 0755, after[0].st_mode);
	EXPECT_LT(before[0].st_mtim.tv_nsec + before[0].st_mtim.tv_sec * 1000000000,
		  after[0].st_mtim.tv_nsec + after[0].st_mtim.tv_sec * 1000000000);
	EXPECT_LT(before[1].st_mtim.tv_nsec + before[1].st_mtim.tv_sec * 1000000000,
		  after[1].st_mtim.tv_nsec + after[1].st_mtim.tv_sec * 1000000000);
	EXPECT_LT(0, read(watch, events, sizeof(events)));
}

/* Without a free block, the memory that the one gives up is what the other gets. */
TEST_F(exchange, full_node)
{
	int filler = open("filler", O_RDWR | O_CREAT, 0600);
	int child = open("child", O_RDWR | O_CREAT, 0600);
	uint64_t *mem;

	ASSERT_EQ(0, ftruncate(filler, free_blocks() * BLOCK));
	ASSERT_EQ(0, free_blocks());
	ASSERT_EQ(0, exchange(self->one, 3 * BLOCK, child, 0, 3 * BLOCK, GROW));
	mem = map_fd(child, 3 * BLOCK);
	ASSERT_NE(NULL, mem);
	EXPECT_TRUE(has(mem, 0, 1, 3));
	EXPECT_TRUE(has(mem, 2, 1, 5));
	/* There is no memory for the hole that it has left. */
	EXPECT_FALSE(can_read(self->mem1 + 4 * BLOCK / 8));
	ASSERT_EQ(0, exchange(child, 0, self->one, 3 * BLOCK, 3 * BLOCK, 0));
	EXPECT_TRUE(has(self->mem1, 4, 1, 4));
	EXPECT_EQ(0, unlink("child"));
	EXPECT_EQ(0, unlink("filler"));
}

static int set_frozen(const char *text)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/frozen", getenv("GMFS_NODE"));
	fd = open(path, O_WRONLY);
	ret = write(fd, text, 1) == 1 ? 0 : -1;
	close(fd);
	return ret;
}

/* Waits for the thaw; who is killed does not. */
TEST_F(exchange, frozen)
{
	int status, i;
	pid_t pid[2];

	ASSERT_EQ(0, set_frozen("1"));
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(exchange(self->one, 0, self->two, 0, BLOCK, 0) ? 1 : 0);
	}
	usleep(200000);
	EXPECT_EQ(0, waitpid(pid[0], &status, WNOHANG));
	EXPECT_EQ(0, waitpid(pid[1], &status, WNOHANG));
	EXPECT_EQ(0, kill(pid[0], SIGKILL));
	EXPECT_EQ(pid[0], waitpid(pid[0], &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(has(self->mem1, 0, 1, 0));
	ASSERT_EQ(0, set_frozen("0"));
	EXPECT_EQ(pid[1], waitpid(pid[1], &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(has(self->mem1, 0, 2, 0));
}

/* A pinned block of either file forbids it; its neighbours do not. */
TEST_F(exchange, pinned)
{
	const char *text = getenv("GMFS_DEVICE");
	char pci[32], group[64], cdev[64];
	struct device d = {};

	if (!text || sscanf(text, "%31s %63s %63s", pci, group, cdev) != 3)
		SKIP(return, "no device");
	device_choose(pci, group, cdev);
	device_open(&d, IOAS_MAP_FILE);
	ASSERT_EQ(0, device_map(&d, self->one, 2 * BLOCK, NULL, 1UL << 32, BLOCK));
	EXPECT_ERR(EBUSY, exchange(self->one, BLOCK, self->two, BLOCK, 2 * BLOCK, 0));
	EXPECT_ERR(EBUSY, exchange(self->two, BLOCK, self->one, BLOCK, 2 * BLOCK, 0));
	EXPECT_ERR(EBUSY, exchange(self->two, 0, self->one, 2 * BLOCK, BLOCK, DRY_RUN));
	EXPECT_ERR(EBUSY, exchange(self->one, 0, self->one, 2 * BLOCK, BLOCK, 0));
	EXPECT_TRUE(has(self->mem1, 1, 1, 1));
	EXPECT_TRUE(has(self->mem2, 2, 2, 2));
	EXPECT_EQ(0, exchange(self->one, 3 * BLOCK, self->two, 2 * BLOCK, BLOCK, 0));
	ASSERT_EQ(0, device_unmap(&d, 1UL << 32, BLOCK));
	EXPECT_EQ(0, exchange(self->one, BLOCK, self->two, BLOCK, 2 * BLOCK, 0));
	device_close(&d);
}

/* The second stage of a guest is a mapping like others. */
TEST_F(exchange, guest)
{
	volatile char *p = (char *)self->mem1;
	struct machine m = {};

	p[BLOCK + 8] = 'a';
	((volatile char *)self->mem2)[3 * BLOCK + 8] = 'b';
	if (access("/dev/kvm", R_OK))
		SKIP(return, "no KVM");
	ASSERT_EQ(0, machine_start(&m, p, BLOCKS * BLOCK));
	EXPECT_EQ(0, machine_run(&m, READ, p + BLOCK + 8));
	EXPECT_EQ('a', m.byte);
	ASSERT_EQ(0, exchange(self->one, BLOCK, self->two, 3 * BLOCK, BLOCK, 0));
	EXPECT_EQ(0, machine_run(&m, READ, p + BLOCK + 8));
	EXPECT_EQ('b', m.byte);
	/* What the guest writes goes to the block that it has now. */
	m.byte = 'c';
	EXPECT_EQ(0, machine_run(&m, WRITE, p + BLOCK + 8));
	EXPECT_EQ('a', ((volatile char *)self->mem2)[3 * BLOCK + 8]);
	ASSERT_EQ(0, exchange(self->one, BLOCK, self->two, 3 * BLOCK, BLOCK, 0));
	EXPECT_EQ('c', ((volatile char *)self->mem2)[3 * BLOCK + 8]);
	EXPECT_EQ('a', p[BLOCK + 8]);
}

/* A page that has failed goes with its block; the block that comes instead works. */
TEST_F(exchange, poison)
{
	uint64_t phys = phys_of(self->one, BLOCK) + PAGE;
	int fd = open("/sys/devices/system/memory/hard_offline_page", O_WRONLY);
	char text[32];
	int len = snprintf(text, sizeof(text), "%#llx", (unsigned long long)phys);

	/* A task that maps the page and reports it gets SIGBUS at once. */
	signal(SIGBUS, on_bus);
	if (!sigsetjmp(back, 1))
		ASSERT_EQ(len, write(fd, text, len));
	EXPECT_FALSE(can_read((char *)self->mem1 + BLOCK + PAGE));
	ASSERT_EQ(0, exchange(self->one, BLOCK, self->two, 3 * BLOCK, BLOCK, 0));
	EXPECT_TRUE(has(self->mem1, 1, 2, 3));
	EXPECT_FALSE(can_read((char *)self->mem2 + 3 * BLOCK + PAGE));
	EXPECT_TRUE(can_read((char *)self->mem2 + 3 * BLOCK));
}

static volatile bool stop;
static volatile int wrong;

/* Each page has the mark of one of the two files, and always the one it was read with. */
static void *reader(void *arg)
{
	const uint64_t *mem = arg;
	uint64_t value;
	size_t page = 0;

	while (!stop) {
		page = (page + 37) % (BLOCKS * PAGES);
		value = __atomic_load_n(&mem[page * PAGE / 8], __ATOMIC_RELAXED);
		if (value != MARK(1, page) && value != MARK(2, page))
			wrong = 1;
	}
	return NULL;
}

/* Whoever touches while ranges change places sees what one of the files has there. */
TEST_F_TIMEOUT(exchange, readers, 240)
{
	pthread_t threads[2];
	int i, at, count;

	ASSERT_EQ(0, pthread_create(&threads[0], NULL, reader, self->mem1));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, reader, self->mem2));
	for (i = 0; i < 150; i++) {
		at = i / 2 % BLOCKS;
		count = 1 + i / 2 % 7 % (BLOCKS - at);
		ASSERT_EQ(0, exchange(i % 3 ? self->one : self->two, at * BLOCK,
				      i % 3 ? self->two : self->one, at * BLOCK,
				      count * BLOCK, 0));
	}
	stop = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	EXPECT_EQ(0, wrong);
	for (i = 0; i < (int)BLOCKS; i++) {
		EXPECT_TRUE(has(self->mem1, i, 1, i));
		EXPECT_TRUE(has(self->mem2, i, 2, i));
	}
}

static void *exchanger(void *arg)
{
	int *fds = arg, i;

	for (i = 0; i < 400; i++)
		if (exchange(fds[0], i % 4 * 2 * BLOCK, fds[1], i % 4 * 2 * BLOCK, 2 * BLOCK, 0))
			wrong = errno;
	return NULL;
}

/* Two at once take the locks of both files, each in its order, among those who fill and cut. */
TEST_F_TIMEOUT(exchange, both_ways, 240)
{
	int forth[] = { self->one, self->two }, back_[] = { self->two, self->one };
	pthread_t threads[2];
	int i;

	ASSERT_EQ(0, pthread_create(&threads[0], NULL, exchanger, forth));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, exchanger, back_));
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, punch(self->one, i % BLOCKS, 1));
		ASSERT_EQ(0, fallocate(self->one, 0, 0, BLOCKS * BLOCK));
		ASSERT_EQ(0, punch(self->two, i % BLOCKS, 2));
		*(volatile uint64_t *)&self->mem2[i % BLOCKS * BLOCK / 8] = 1;
	}
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	EXPECT_EQ(0, wrong);
}

static void loop(const char *path1, const char *path2)
{
	int fd1 = new_file(path1, 1, LOOP_BLOCKS, 0), fd2 = new_file(path2, 2, LOOP_BLOCKS, 0);
	unsigned long i, first, count;

	/* Every other block is a hole in one of them. */
	for (i = 0; i < LOOP_BLOCKS; i += 4)
		if (punch(fd1, i, 1) || punch(fd2, i + 2, 1))
			die("punch");
	printf("looping\n");
	fflush(stdout);
	for (i = 0;; i++) {
		first = i * 7 % LOOP_BLOCKS;
		count = 1 + i % (LOOP_BLOCKS - first);
		if (exchange(fd1, first * BLOCK, fd2, first * BLOCK, count * BLOCK, 0))
			die("exchange %lu", i);
	}
}

static void whole(const char *path1, const char *path2)
{
	int fd1 = open(path1, O_RDWR), fd2 = open(path2, O_RDWR);
	uint64_t *mem1, *mem2;
	size_t i, moved = 0;
	bool hole1, hole2;

	if (fd1 < 0 || fd2 < 0)
		die("%s, %s", path1, path2);
	mem1 = map_fd(fd1, LOOP_BLOCKS * BLOCK);
	mem2 = map_fd(fd2, LOOP_BLOCKS * BLOCK);
	for (i = 0; i < LOOP_BLOCKS; i++) {
		hole1 = !phys_of(fd1, i * BLOCK);
		hole2 = !phys_of(fd2, i * BLOCK);
		if (hole1 + hole2 != (i % 2 == 0))
			die("block %zu: holes %d and %d", i, hole1, hole2);
		if (hole1 || hole2) {
			/* What is there is of the file that had no hole. */
			if (!has(hole1 ? mem2 : mem1, i, i % 4 ? 1 : 2, i))
				die("block %zu is not what it was", i);
			moved += hole1 != (i % 4 == 0);
		} else if (has(mem1, i, 2, i) && has(mem2, i, 1, i)) {
			moved++;
		} else if (!has(mem1, i, 1, i) || !has(mem2, i, 2, i)) {
			die("block %zu is not what it was", i);
		}
	}
	printf("whole=%zu of %zu blocks in the other file\n", moved, LOOP_BLOCKS);
}

int main(int argc, char **argv)
{
	int fd1, fd2;

	if (argc == 4 && !strcmp(argv[1], "loop")) {
		loop(argv[2], argv[3]);
	} else if (argc == 4 && !strcmp(argv[1], "whole")) {
		whole(argv[2], argv[3]);
	} else if (argc == 6 || argc == 7) {
		fd1 = open(argv[1], O_RDWR | O_CREAT, 0600);
		fd2 = open(argv[3], O_RDWR | O_CREAT, 0600);
		if (exchange(fd1, strtoull(argv[2], NULL, 0), fd2, strtoull(argv[4], NULL, 0),
			     strtoull(argv[5], NULL, 0),
			     argc == 7 ? strtoull(argv[6], NULL, 0) : 0))
			die("%s, %s", argv[1], argv[3]);
	} else {
		return test_harness_run(argc, argv);
	}
	return 0;
}
