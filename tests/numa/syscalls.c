// SPDX-License-Identifier: GPL-2.0
/*
 * Every system call that could be applied to a mapping, on mappings that are
 * made by page table entries of each size. What is expected here is what the table in
 * Documentation/filesystems/guestmemfs/limits.rst says. Runs in a directory of
 * guestmemfs, which GMFS_DIR names, on a pool with a gigabyte that is aligned
 * and free; GMFS_NODE is its node. GMFS_BOUNCE names a file elsewhere.
 *
 * Whatever a call does, the data stays, and no block is lost.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "expect.h"
#include "kselftest_harness.h"

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define GIB	(512 * BLOCK)

#ifndef MADV_COLD
#define MADV_COLD		20
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#ifndef SYS_mseal
#define SYS_mseal		462
#endif

static sigjmp_buf bus_jmp;

static void on_bus(int sig)
{
	siglongjmp(bus_jmp, sig);
}

static long free_blocks(void)
{
	struct statfs st;

	return statfs(".", &st) ? -1 : (long)st.f_bfree;
}

/* Page table entries of @size bytes are possible from where the mapping starts. */
FIXTURE(map) {
	int fd;
	long free;
	size_t len;
	char *p;
};

FIXTURE_VARIANT(map) {
	size_t size;
	size_t skew;
};

FIXTURE_VARIANT_ADD(map, page) { .size = 4 * BLOCK, .skew = PAGE };
FIXTURE_VARIANT_ADD(map, block) { .size = 4 * BLOCK, .skew = BLOCK };
FIXTURE_VARIANT_ADD(map, gib) { .size = GIB, .skew = 0 };

/* An address at which @len bytes are free, @skew past a gigabyte. */
static char *place(size_t len, size_t skew)
{
	char *p = mmap(NULL, len + 2 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long up = ((unsigned long)p + GIB - 1) & ~(GIB - 1);

	if (p == MAP_FAILED)
		return NULL;
	munmap(p, len + 2 * GIB);
	return (char *)(up + skew);
}

/* Something at both ends and in the middle, on pages and blocks of their own. */
static void put_data(char *p, size_t len)
{
	p[0] = 1;
	p[BLOCK + 5] = 2;
	p[len - 1] = 3;
}

static int has_data(volatile char *p, size_t len)
{
	return p[0] == 1 && p[BLOCK + 5] == 2 && p[len - 1] == 3;
}

FIXTURE_SETUP(map)
{
	ASSERT_EQ(0, chdir(getenv("GMFS_DIR")));
	self->free = free_blocks();
	self->len = variant->size;
	self->fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->p = mmap(place(self->len, variant->skew), self->len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->p);
	put_data(self->p, self->len);
}

FIXTURE_TEARDOWN(map)
{
	char *p = mmap(NULL, self->len, PROT_READ, MAP_SHARED, self->fd, 0);

	/* Also if the test has punched or unmapped: it puts the data back. */
	EXPECT_NE(MAP_FAILED, p);
	EXPECT_TRUE(has_data(p, self->len));
	munmap(p, self->len);
	munmap(self->p, self->len);
	close(self->fd);
	unlink("file");
	EXPECT_EQ(self->free, free_blocks());
}

/* --- mappings -------------------------------------------------------------- */

TEST_F(map, map_private)
{
	EXPECT_ERR(EINVAL, mmap(NULL, self->len, PROT_READ, MAP_PRIVATE, self->fd, 0));
	EXPECT_ERR(EINVAL, mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_PRIVATE,
				self->fd, 0));
}

TEST_F(map, map_flags)
{
	char *p;

	/* Accepted, and populates nothing. */
	p = mmap(NULL, self->len, PROT_READ, MAP_SHARED | MAP_POPULATE | MAP_LOCKED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(has_data(p, self->len));
	munmap(p, self->len);
	EXPECT_ERR(EOPNOTSUPP, mmap(NULL, self->len, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC,
				    self->fd, 0));
}

TEST_F(map, fork)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		self->p[7] = 77;
		_exit(!has_data(self->p, self->len));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(77, self->p[7]);
}

TEST_F(map, mremap)
{
	char *p, *to = place(self->len, variant->skew + BLOCK);

	/* Smaller in place, and never larger. */
	p = mremap(self->p, self->len, self->len - BLOCK, 0);
	ASSERT_EQ(self->p, p);
	EXPECT_ERR(EFAULT, mremap(p, self->len - BLOCK, self->len, 0));
	EXPECT_ERR(EFAULT, mremap(p, self->len - BLOCK, self->len, MREMAP_MAYMOVE));
	/* Elsewhere, as a whole and in part. */
	p = mremap(p, self->len - BLOCK, self->len - BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_EQ(to, p);
	EXPECT_EQ(1, p[0]);
	p = mremap(to + BLOCK, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED,
		   place(BLOCK, variant->skew));
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(2, p[5]);
	munmap(p, BLOCK);
	munmap(to, self->len - BLOCK);
}

TEST_F(map, munmap_parts)
{
	static const size_t cuts[] = { PAGE, BLOCK, BLOCK + PAGE, 2 * BLOCK };
	size_t i;
	char *p;

	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		p = mmap(self->p, self->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 self->fd, 0);
		ASSERT_EQ(self->p, p);
		EXPECT_TRUE(has_data(p, self->len));
		EXPECT_EQ(0, munmap(p + cuts[i], PAGE));
		EXPECT_EQ(1, p[0]);
		EXPECT_EQ(3, p[self->len - 1]);
		EXPECT_EQ(0, munmap(p, cuts[i]));
		EXPECT_EQ(3, p[self->len - 1]);
	}
}

TEST_F(map, mprotect)
{
	int status;
	pid_t pid;

	EXPECT_EQ(0, mprotect(self->p + PAGE, PAGE, PROT_READ));
	EXPECT_EQ(0, mprotect(self->p + BLOCK, BLOCK, PROT_NONE));
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		self->p[PAGE] = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	EXPECT_EQ(0, mprotect(self->p, self->len, PROT_READ | PROT_WRITE));
	self->p[PAGE] = 1;
	EXPECT_TRUE(has_data(self->p, self->len));
	/* Code can be run from it, as from any shared mapping. */
	EXPECT_EQ(0, mprotect(self->p, BLOCK, PROT_READ | PROT_EXEC));
}

TEST_F(map, mlock)
{
	struct rlimit none = { 0, 0 };

	/* Never swapped, and not counted. */
	EXPECT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &none));
	EXPECT_EQ(0, mlock(self->p, self->len));
	EXPECT_EQ(0, mlock(self->p + BLOCK, PAGE));
	EXPECT_EQ(0, mlock2(self->p, self->len, MLOCK_ONFAULT));
	EXPECT_EQ(0, munlock(self->p + BLOCK, PAGE));
	EXPECT_EQ(0, munlock(self->p, self->len));
}

static const struct advice {
	const char *name;
	int advice;
	int error;
} advices[] = {
	{ "NORMAL", MADV_NORMAL, 0 },
	{ "RANDOM", MADV_RANDOM, 0 },
	{ "SEQUENTIAL", MADV_SEQUENTIAL, 0 },
	{ "WILLNEED", MADV_WILLNEED, 0 },
	{ "HUGEPAGE", MADV_HUGEPAGE, 0 },
	{ "DONTDUMP", MADV_DONTDUMP, 0 },
	{ "UNMERGEABLE", MADV_UNMERGEABLE, 0 },
	{ "KEEPONFORK", MADV_KEEPONFORK, 0 },
	{ "DONTNEED", MADV_DONTNEED, 0 },
	{ "DONTNEED_LOCKED", 24, 0 },
	{ "FREE", MADV_FREE, EINVAL },
	{ "COLD", MADV_COLD, EINVAL },
	{ "PAGEOUT", MADV_PAGEOUT, EINVAL },
	{ "MERGEABLE", MADV_MERGEABLE, 0 },	/* and does nothing */
	{ "COLLAPSE", MADV_COLLAPSE, EINVAL },
	{ "WIPEONFORK", MADV_WIPEONFORK, EINVAL },
	{ "DODUMP", MADV_DODUMP, EINVAL },
	{ "DOFORK", MADV_DOFORK, EINVAL },
	{ "POPULATE_READ", MADV_POPULATE_READ, 0 },
	{ "POPULATE_WRITE", MADV_POPULATE_WRITE, 0 },
	{ "GUARD_INSTALL", MADV_GUARD_INSTALL, EINVAL },
	{ "GUARD_REMOVE", MADV_GUARD_REMOVE, EINVAL },
	{ "HWPOISON", MADV_HWPOISON, EFAULT },
	{ "SOFT_OFFLINE", 101, EFAULT },
	{ "unknown", 99, EINVAL },
};

TEST_F(map, madvise)
{
	const struct advice *a;
	size_t i, part;

	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		a = &advices[i];
		for (part = 0; part < 3; part++) {
			char *p = self->p + part * BLOCK;
			size_t len = part == 0 ? self->len : part == 1 ? BLOCK : PAGE;

			errno = 0;
			EXPECT_EQ(a->error ? -1 : 0, madvise(p, len, a->advice)) {
				TH_LOG("%s of %zu bytes", a->name, len);
			}
			EXPECT_EQ(a->error, errno) {
				TH_LOG("%s of %zu bytes", a->name, len);
			}
		}
	}
	EXPECT_TRUE(has_data(self->p, self->len));
}

/* The entries go, of a part as well, and no block does. */
TEST_F(map, madvise_dontneed)
{
	unsigned char vec = 1;
	long free = free_blocks();

	ASSERT_EQ(0, madvise(self->p + BLOCK, BLOCK, MADV_DONTNEED));
	ASSERT_EQ(0, mincore(self->p + BLOCK, PAGE, &vec));
	EXPECT_EQ(0, vec & 1);
	EXPECT_EQ(2, self->p[BLOCK + 5]);
	ASSERT_EQ(0, mincore(self->p + BLOCK, PAGE, &vec));
	EXPECT_EQ(1, vec & 1);
	ASSERT_EQ(0, madvise(self->p, self->len, MADV_DONTNEED));
	EXPECT_EQ(free, free_blocks());
}

/* What is there afterwards needs no fault, and what cannot be is an error. */
TEST_F(map, madvise_populate)
{
	static const int advice[] = { MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	size_t len = self->len;
	unsigned char vec;
	size_t i, at;

	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		ASSERT_EQ(0, madvise(self->p, len, MADV_DONTNEED));
		ASSERT_EQ(0, madvise(self->p, len, advice[i]));
		for (at = 0; at < len; at += BLOCK / 2) {
			vec = 0;
			ASSERT_EQ(0, mincore(self->p + at, PAGE, &vec));
			ASSERT_EQ(1, vec & 1);
		}
	}

	/* Part of it may only be read. */
	ASSERT_EQ(0, mprotect(self->p + BLOCK, BLOCK, PROT_READ));
	EXPECT_EQ(0, madvise(self->p, len, MADV_POPULATE_READ));
	EXPECT_ERR(EINVAL, madvise(self->p, len, MADV_POPULATE_WRITE));
	ASSERT_EQ(0, mprotect(self->p + BLOCK, BLOCK, PROT_NONE));
	EXPECT_ERR(EINVAL, madvise(self->p, len, MADV_POPULATE_READ));
	ASSERT_EQ(0, mprotect(self->p + BLOCK, BLOCK, PROT_READ | PROT_WRITE));

	/* It ends within the file's last block, which is mapped as a whole. */
	ASSERT_EQ(0, ftruncate(self->fd, len - BLOCK));
	EXPECT_ERR(EFAULT, madvise(self->p, len, MADV_POPULATE_WRITE));
	EXPECT_EQ(0, madvise(self->p, len - BLOCK, MADV_POPULATE_WRITE));
	ASSERT_EQ(0, ftruncate(self->fd, len));
	self->p[len - 1] = 3;

	/* A hole is filled. */
	ASSERT_EQ(0, madvise(self->p + 2 * BLOCK, BLOCK, MADV_REMOVE));
	EXPECT_EQ(0, madvise(self->p, len, MADV_POPULATE_READ));

	/* And a hole in the address space is none of the file's. */
	ASSERT_EQ(0, munmap(self->p + 2 * BLOCK, BLOCK));
	EXPECT_ERR(ENOMEM, madvise(self->p, len, MADV_POPULATE_WRITE));
	ASSERT_EQ(self->p + 2 * BLOCK, mmap(self->p + 2 * BLOCK, BLOCK, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_FIXED, self->fd, 2 * BLOCK));
}

/* Pages, from then on, and never an error. */
TEST_F(map, madvise_nohugepage)
{
	EXPECT_EQ(0, madvise(self->p, self->len, MADV_NOHUGEPAGE));
	EXPECT_TRUE(has_data(self->p, self->len));
	EXPECT_EQ(0, madvise(self->p + BLOCK, BLOCK, MADV_HUGEPAGE));
	EXPECT_TRUE(has_data(self->p, self->len));
}

/* As fallocate() with a hole: whole blocks are given back. */
TEST_F(map, madvise_remove)
{
	long free = free_blocks();

	EXPECT_EQ(0, madvise(self->p + 2 * BLOCK, BLOCK, MADV_REMOVE));
	EXPECT_EQ(free + 1, free_blocks());
	EXPECT_EQ(0, madvise(self->p, PAGE, MADV_REMOVE));
	EXPECT_EQ(free + 1, free_blocks());
	EXPECT_EQ(0, self->p[0]);
	EXPECT_EQ(0, self->p[2 * BLOCK]);
	EXPECT_EQ(free, free_blocks());
	self->p[0] = 1;
}

TEST_F(map, madvise_dontfork)
{
	int status;
	pid_t pid;

	EXPECT_EQ(0, madvise(self->p, BLOCK, MADV_DONTFORK));
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(self->p[0]);
	}
	waitpid(pid, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(1, self->p[0]);
}

TEST_F(map, msync)
{
	EXPECT_EQ(0, msync(self->p, self->len, MS_SYNC));
	EXPECT_EQ(0, msync(self->p + BLOCK, PAGE, MS_ASYNC));
	EXPECT_EQ(0, msync(self->p, PAGE, MS_INVALIDATE));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, fdatasync(self->fd));
}

TEST_F(map, mincore)
{
	unsigned char *vec = malloc(self->len / PAGE);

	/* What a mapping of 1 GiB maps; the rest too is only a fault away. */
	EXPECT_EQ(0, mincore(self->p, self->len, vec));
	EXPECT_EQ(1, vec[0] & 1);
	EXPECT_EQ(1, vec[BLOCK / PAGE] & 1);
	EXPECT_EQ(1, vec[self->len / PAGE - 1] & 1);
	free(vec);
}

TEST_F(map, mseal)
{
	int status;
	pid_t pid = fork();

	/* For good, so in a process that ends. */
	ASSERT_LE(0, pid);
	if (!pid) {
		if (syscall(SYS_mseal, self->p, self->len, 0))
			_exit(1);
		if (!munmap(self->p, self->len) || errno != EPERM)
			_exit(2);
		if (!mprotect(self->p + PAGE, PAGE, PROT_READ) || errno != EPERM)
			_exit(3);
		_exit(has_data(self->p, self->len) ? 0 : 4);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
}

TEST_F(map, remap_file_pages)
{
	/* Makes a mapping of its own in place of the old one. */
	EXPECT_EQ(0, syscall(SYS_remap_file_pages, self->p, BLOCK, 0, BLOCK / PAGE, 0));
	EXPECT_EQ(2, self->p[5]);
}

/* --- NUMA ------------------------------------------------------------------ */

TEST_F(map, move_pages)
{
	void *pages[2] = { self->p, self->p + BLOCK };
	int nodes[2] = { 0, 0 }, status[2] = { 99, 99 };

	/* There are no pages to be moved. */
	errno = 0;
	EXPECT_LE(0, syscall(SYS_move_pages, 0, 2, pages, nodes, status, MPOL_MF_MOVE)) {
		TH_LOG("errno %d", errno);
	}
	EXPECT_EQ(-EFAULT, status[0]);
	EXPECT_EQ(-EFAULT, status[1]);
	status[0] = 99;
	EXPECT_EQ(0, syscall(SYS_move_pages, 0, 1, pages, NULL, status, 0));
	EXPECT_EQ(-ENOENT, status[0]);
}

TEST_F(map, policies)
{
	int node = atoi(getenv("GMFS_NODE"));
	unsigned long mine = 1UL << node, other = 1UL << !node;
	int i;
	static const int agree[] = { MPOL_BIND, MPOL_PREFERRED, MPOL_PREFERRED_MANY,
				     MPOL_INTERLEAVE };
	static const unsigned int flags[] = { 0, MPOL_MF_STRICT, MPOL_MF_MOVE,
					      MPOL_MF_STRICT | MPOL_MF_MOVE };
	size_t f;

	for (f = 0; f < ARRAY_SIZE(flags); f++) {
		for (i = 0; i < 4; i++) {
			EXPECT_EQ(0, syscall(SYS_mbind, self->p, self->len, agree[i], &mine, 64,
					     flags[f]));
			EXPECT_ERR(EINVAL, syscall(SYS_mbind, self->p, self->len, agree[i],
						   &other, 64, flags[f]));
		}
		EXPECT_EQ(0, syscall(SYS_mbind, self->p, self->len, MPOL_DEFAULT, NULL, 0,
				     flags[f]));
		EXPECT_EQ(0, syscall(SYS_mbind, self->p, self->len, MPOL_LOCAL, NULL, 0,
				     flags[f]));
	}
	/* A process's policy is for memory that it has yet to get. */
	EXPECT_EQ(0, syscall(SYS_set_mempolicy, MPOL_BIND, &other, 64));
	EXPECT_TRUE(has_data(self->p, self->len));
	EXPECT_EQ(0, syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	EXPECT_EQ(0, syscall(SYS_migrate_pages, 0, 64, &mine, &other));
	EXPECT_TRUE(has_data(self->p, self->len));
}

/* --- memory of another process --------------------------------------------- */

TEST_F(map, peek)
{
	char buf[16] = "";
	struct iovec local = { buf, sizeof(buf) };
	struct iovec remote = { self->p, sizeof(buf) };
	int status, fd;
	pid_t pid;

	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(self->p[0] != 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_ERR(EIO, ptrace(PTRACE_PEEKDATA, pid, self->p, 0));
	EXPECT_ERR(EIO, ptrace(PTRACE_POKEDATA, pid, self->p, 0x55));
	EXPECT_ERR(EFAULT, process_vm_readv(pid, &local, 1, &remote, 1, 0));
	EXPECT_ERR(EFAULT, process_vm_writev(pid, &local, 1, &remote, 1, 0));
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);

	fd = open("/proc/self/mem", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_ERR(EIO, pread(fd, buf, sizeof(buf), (off_t)(unsigned long)self->p));
	EXPECT_ERR(EIO, pwrite(fd, buf, sizeof(buf), (off_t)(unsigned long)self->p));
	close(fd);
}

/* The part of a file in /proc that is about the mapping. */
static int grep_map(const char *path, const char *p, const char *what, int lines)
{
	char line[512], start[32];
	FILE *f = fopen(path, "r");
	int here = 0;

	snprintf(start, sizeof(start), "%lx", (unsigned long)p);
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start)))
			here = lines;
		if (here-- > 0 && strstr(line, what)) {
			fclose(f);
			return 1;
		}
	}
	if (f)
		fclose(f);
	return 0;
}

TEST_F(map, proc)
{
	uint64_t *entries = malloc(self->len / PAGE * 8);
	char bind[16];
	size_t i;
	int fd;

	/* No struct pages, so nothing that is counted as resident. */
	EXPECT_TRUE(grep_map("/proc/self/smaps", self->p, "Rss:                   0 kB", 30));
	EXPECT_TRUE(grep_map("/proc/self/smaps", self->p, "VmFlags: rd wr sh mr mw me ms pf", 30));
	EXPECT_TRUE(grep_map("/proc/self/maps", self->p, "/file", 1));
	snprintf(bind, sizeof(bind), " bind:%s ", getenv("GMFS_NODE"));
	EXPECT_TRUE(grep_map("/proc/self/numa_maps", self->p, bind, 1));
	fd = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ((ssize_t)(self->len / PAGE * 8),
		  pread(fd, entries, self->len / PAGE * 8, (unsigned long)self->p / PAGE * 8));
	/* It does not tell where guest memory is. */
	for (i = 0; i < self->len / PAGE; i++)
		ASSERT_EQ(0, entries[i] & ((1ULL << 55) - 1));
	close(fd);
	free(entries);
}

TEST_F(map, core_dump)
{
	struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	char word[64], *core, path[300];
	int status, fd;
	off_t size;
	pid_t pid;

	/* Words that are in the mapping and nowhere else. */
	for (size_t i = 0; i < 8; i++)
		((volatile uint64_t *)self->p)[8 + i] = 0x736563726574ULL * (i + 1000003);
	snprintf(path, sizeof(path), "%s", getenv("GMFS_BOUNCE"));
	pid = fork();
	if (!pid) {
		if (chdir(path) || setrlimit(RLIMIT_CORE, &any))
			_exit(1);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	waitpid(pid, &status, 0);
	ASSERT_TRUE(WIFSIGNALED(status));
	ASSERT_TRUE(WCOREDUMP(status));
	snprintf(path, sizeof(path), "%s/core", getenv("GMFS_BOUNCE"));
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	size = lseek(fd, 0, SEEK_END);
	EXPECT_GT(64 << 20, size);
	core = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, core);
	for (size_t i = 0; i < 8; i++)
		((uint64_t *)word)[i] = 0x736563726574ULL * (i + 1000003);
	EXPECT_EQ(NULL, memmem(core, size, word, 64));
	munmap(core, size);
	close(fd);
	unlink(path);
}

TEST_F(map, userfaultfd)
{
	/* postcopy.c has the mode that works. */
	static const uint64_t modes[] = { UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP };
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	size_t i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	for (i = 0; i < 2; i++) {
		struct uffdio_register reg = {
			.range = { (unsigned long)self->p, self->len },
			.mode = modes[i],
		};

		EXPECT_ERR(EINVAL, ioctl(fd, UFFDIO_REGISTER, &reg));
	}
	close(fd);
}

/* --- as a buffer ------------------------------------------------------------ */

/* What copies works; what pins fails. */
TEST_F(map, io)
{
	char path[300], byte;
	int fd, pipes[2], sockets[2];
	struct iovec iov = { self->p, PAGE };

	snprintf(path, sizeof(path), "%s/io", getenv("GMFS_BOUNCE"));
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_LE(0, fd);
	EXPECT_EQ((ssize_t)PAGE, pwrite(fd, self->p, PAGE, 0));
	EXPECT_EQ((ssize_t)PAGE, pread(fd, self->p + 2 * BLOCK, PAGE, 0));
	EXPECT_EQ(1, self->p[2 * BLOCK]);
	close(fd);
	unlink(path);

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(1, write(pipes[1], self->p, 1));
	EXPECT_EQ(1, read(pipes[0], &byte, 1));
	EXPECT_EQ(1, byte);
	EXPECT_ERR(EFAULT, vmsplice(pipes[1], &iov, 1, 0));
	EXPECT_ERR(EFAULT, vmsplice(pipes[1], &iov, 1, SPLICE_F_GIFT));
	close(pipes[0]);
	close(pipes[1]);

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	EXPECT_EQ(1, send(sockets[0], self->p, 1, 0));
	EXPECT_EQ(1, recv(sockets[1], self->p + 3, 1, 0));
	EXPECT_EQ(1, self->p[3]);
	close(sockets[0]);
	close(sockets[1]);
}

TEST_F(map, o_direct)
{
	int fd = open(getenv("GMFS_DISK"), O_RDWR | O_DIRECT);

	ASSERT_LE(0, fd);
	EXPECT_ERR(EFAULT, pwrite(fd, self->p, PAGE, 0));
	EXPECT_ERR(EFAULT, pread(fd, self->p, PAGE, 0));
	close(fd);
}

TEST_F(map, io_uring)
{
	struct io_uring_params params = {};
	struct iovec iov = { self->p, PAGE };
	int fd = syscall(SYS_io_uring_setup, 4, &params);

	ASSERT_LE(0, fd);
	EXPECT_ERR(EFAULT, syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1));
	close(fd);
}

TEST_F(map, futex)
{
	int *word = (int *)(self->p + 2 * BLOCK);
	struct timespec soon = { 0, 1000 };

	/* A shared one needs a page to be known by. */
	EXPECT_ERR(EFAULT, syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0));
	EXPECT_EQ(0, syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	EXPECT_ERR(ETIMEDOUT, syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0));
}

/* --- memory that is taken away while others use it --------------------------- */

struct racer {
	volatile char *p;
	size_t len;
	volatile int *stop;
	int write;
	unsigned long faults;
};

static __thread sigjmp_buf racer_jmp;

static void racer_bus(int sig)
{
	siglongjmp(racer_jmp, sig);
}

/* Touches all blocks again and again; SIGBUS behind the end is what is allowed. */
static void *race(void *data)
{
	struct racer *r = data;
	volatile size_t at = 0;

	while (!*r->stop) {
		if (!sigsetjmp(racer_jmp, 1)) {
			if (r->write)
				r->p[at] = 9;
			else
				(void)r->p[at];
		} else {
			r->faults++;
		}
		at = (at + BLOCK / 2 + PAGE) % r->len;
	}
	return NULL;
}

/* Many gigabytes are zeroed. */
TEST_F_TIMEOUT(map, taken_away_while_others_fault, 300)
{
	volatile int stop = 0;
	struct racer racers[3];
	pthread_t threads[3];
	long free = free_blocks();
	int i;

	signal(SIGBUS, racer_bus);
	for (i = 0; i < 3; i++) {
		racers[i] = (struct racer){ self->p, self->len, &stop, i != 0, 0 };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race, &racers[i]));
	}
	for (i = 0; i < 30; i++) {
		EXPECT_EQ(0, ftruncate(self->fd, BLOCK));
		EXPECT_EQ(0, ftruncate(self->fd, self->len));
		EXPECT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       0, 3 * BLOCK));
		EXPECT_EQ(0, mprotect(self->p + BLOCK, BLOCK, PROT_READ | PROT_WRITE));
		EXPECT_EQ(0, madvise(self->p, self->len, MADV_NORMAL));
	}
	stop = 1;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, ftruncate(self->fd, 0));
	EXPECT_EQ(free + (long)(self->len / BLOCK), free_blocks());
	EXPECT_EQ(0, ftruncate(self->fd, self->len));
	put_data(self->p, self->len);
}

/* A mapping that is left does not see who has the block next. */
TEST_F(map, block_of_another)
{
	volatile char *q;
	int fd;

	EXPECT_EQ(0, ftruncate(self->fd, 0));
	fd = open("other", O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, self->len));
	q = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, q);
	EXPECT_EQ(0, q[0]);
	q[0] = 99;
	signal(SIGBUS, on_bus);
	if (!sigsetjmp(bus_jmp, 1)) {
		EXPECT_NE(99, self->p[0]);
		EXPECT_TRUE(false);
	}
	munmap((void *)q, self->len);
	close(fd);
	unlink("other");
	EXPECT_EQ(0, ftruncate(self->fd, self->len));
	put_data(self->p, self->len);
}

TEST_HARNESS_MAIN
