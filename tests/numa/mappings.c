// SPDX-License-Identifier: GPL-2.0
/*
 * By which sizes a file is mapped, and what operations on the mapping do to 1 GiB
 * mappings. Runs in a directory of guestmemfs, which GMFS_DIR names, on a pool
 * whose memory has a gigabyte that is aligned and free. GMFS_NODE is its node.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/mempolicy.h>

#include "kselftest_harness.h"
#include "tables.h"

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define GIB	(512 * BLOCK)

/* Faults that were served so far, by the size of the mapping that they made. */
static struct by_size faults(void)
{
	struct by_size f = { -1, -1, -1 };
	char line[512], *at;
	FILE *stats = fopen("/proc/self/mountstats", "r");

	while (stats && fgets(line, sizeof(line), stats)) {
		at = strstr(line, "fstype guestmemfs");
		if (at && strstr(line, getenv("GMFS_DIR")))
			sscanf(at, "fstype guestmemfs faults_pte=%ld faults_pmd=%ld faults_pud=%ld",
			       &f.pte, &f.pmd, &f.pud);
	}
	if (stats)
		fclose(stats);
	return f;
}

/* What @do_this adds to them. */
#define EXPECT_FAULTS(ptes, pmds, puds, do_this)		\
	do {							\
		struct by_size before = faults(), after;		\
		do_this;					\
		after = faults();				\
		ASSERT_NE(-1, before.pud);			\
		EXPECT_EQ(ptes, after.pte - before.pte);	\
		EXPECT_EQ(pmds, after.pmd - before.pmd);	\
		EXPECT_EQ(puds, after.pud - before.pud);	\
	} while (0)

#define EXPECT_TABLES(p, pte_bytes, pmd_bytes, pud_bytes)	\
	do {							\
		struct by_size t = tables(p, GIB);		\
		EXPECT_EQ(pte_bytes, t.pte);			\
		EXPECT_EQ(pmd_bytes, t.pmd);			\
		EXPECT_EQ(pud_bytes, t.pud);			\
	} while (0)

FIXTURE(mappings) {
	int fd;
	volatile char *p;
};

FIXTURE_SETUP(mappings)
{
	ASSERT_EQ(0, chdir(getenv("GMFS_DIR")));
	self->fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, GIB));
	self->p = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->p);
}

FIXTURE_TEARDOWN(mappings)
{
	close(self->fd);
	unlink("file");
}

/* An address at which @len bytes can be mapped, @skew past a gigabyte. */
static char *place(unsigned long len, unsigned long skew)
{
	char *p = mmap(NULL, len + 2 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long up = ((unsigned long)p + GIB - 1) & ~(GIB - 1);

	return p == MAP_FAILED ? NULL : (char *)(up + skew);
}

/* Another mapping of the file, at an address that is @skew past a gigabyte. */
static void *map_off(int fd, unsigned long skew)
{
	return mmap(place(GIB, skew), GIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    fd, 0);
}

static void *move(volatile char *from, unsigned long skew)
{
	return mremap((void *)from, GIB, GIB, MREMAP_MAYMOVE | MREMAP_FIXED,
		      place(GIB, skew));
}

TEST_F(mappings, gigabyte)
{
	EXPECT_EQ(0, (unsigned long)self->p % GIB);
	EXPECT_FAULTS(0, 0, 1, { self->p[0] = 1; self->p[GIB - 1] = 2; });
	EXPECT_EQ(1, self->p[0]);
	EXPECT_TABLES(self->p, 0, 0, GIB);
}

/* The last 2 MiB are none: one mapping each. */
TEST_F(mappings, gigabyte_and_blocks)
{
	volatile char *p;

	ASSERT_EQ(0, ftruncate(self->fd, GIB - BLOCK));
	p = mmap(NULL, GIB - BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_FAULTS(0, 2, 0, { p[0] = 1; p[BLOCK] = 1; });
	EXPECT_TABLES(p, 0, 2 * BLOCK, 0);
	/* The file ends before the gigabyte does. */
	EXPECT_FAULTS(0, 1, 0, self->p[0] = 1);
}

TEST_F(mappings, address_off_by_a_block)
{
	volatile char *p = map_off(self->fd, BLOCK);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_FAULTS(0, 2, 0, { p[0] = 1; p[BLOCK] = 1; });
}

TEST_F(mappings, address_off_by_a_page)
{
	volatile char *p = map_off(self->fd, PAGE);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_FAULTS(2, 0, 0, { p[0] = 1; p[PAGE] = 1; });
	EXPECT_TABLES(p, 2 * PAGE, 0, 0);
}

TEST_F(mappings, mprotect_of_a_block)
{
	EXPECT_FAULTS(0, 0, 1, self->p[0] = 1);
	ASSERT_EQ(0, mprotect((void *)&self->p[BLOCK], BLOCK, PROT_READ));
	EXPECT_FAULTS(0, 3, 0, {
		self->p[0]++;
		EXPECT_EQ(0, self->p[BLOCK]);
		self->p[2 * BLOCK] = 3;
	});
	EXPECT_EQ(2, self->p[0]);
	EXPECT_TABLES(self->p, 0, 3 * BLOCK, 0);
}

TEST_F(mappings, munmap_of_a_page)
{
	EXPECT_FAULTS(0, 0, 1, self->p[PAGE] = 1);
	ASSERT_EQ(0, munmap((void *)self->p, PAGE));
	/* Pages where the VMA cuts a block, and blocks elsewhere. */
	EXPECT_FAULTS(1, 1, 0, { EXPECT_EQ(1, self->p[PAGE]); self->p[BLOCK] = 1; });
}

TEST_F(mappings, mprotect_of_all)
{
	EXPECT_FAULTS(0, 0, 1, self->p[0] = 1);
	ASSERT_EQ(0, mprotect((void *)self->p, GIB, PROT_READ));
	ASSERT_EQ(0, mprotect((void *)self->p, GIB, PROT_READ | PROT_WRITE));
	self->p[0]++;
	EXPECT_EQ(2, self->p[0]);
	/* It is one mapping still. */
	EXPECT_FAULTS(0, 0, 0, EXPECT_EQ(0, self->p[GIB - 1]));
}

/* An advice for a part drops the entry that it is in; the rest comes back by faults. */
TEST_F(mappings, dontneed)
{
	EXPECT_FAULTS(0, 0, 1, { self->p[0] = 1; self->p[BLOCK] = 2; });
	ASSERT_EQ(0, madvise((void *)self->p, GIB, MADV_DONTNEED));
	EXPECT_TABLES(self->p, 0, 0, 0);
	EXPECT_FAULTS(0, 0, 1, EXPECT_EQ(1, self->p[0]));
	ASSERT_EQ(0, madvise((void *)&self->p[BLOCK], PAGE, MADV_DONTNEED));
	EXPECT_TABLES(self->p, 0, 0, 0);
	EXPECT_FAULTS(0, 0, 1, EXPECT_EQ(2, self->p[BLOCK]));
}

/* A table of pages that becomes empty goes, so that 2 MiB are one entry again. */
TEST_F(mappings, dontneed_of_pages)
{
	volatile char *p = map_off(self->fd, BLOCK);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, madvise((void *)p, GIB, MADV_NOHUGEPAGE));
	EXPECT_FAULTS(1, 0, 0, p[PAGE] = 1);
	ASSERT_EQ(0, madvise((void *)p, GIB, MADV_HUGEPAGE));
	EXPECT_FAULTS(1, 0, 0, p[2 * PAGE] = 2);
	ASSERT_EQ(0, madvise((void *)p, BLOCK, MADV_DONTNEED));
	EXPECT_FAULTS(0, 1, 0, { EXPECT_EQ(1, p[PAGE]); EXPECT_EQ(2, p[2 * PAGE]); });
}

TEST_F(mappings, populate)
{
	volatile char *off = map_off(self->fd, BLOCK);

	ASSERT_NE(MAP_FAILED, off);
	EXPECT_FAULTS(0, 0, 1, ASSERT_EQ(0, madvise((void *)self->p, GIB, MADV_POPULATE_WRITE)));
	EXPECT_FAULTS(0, 0, 0, { self->p[0] = 1; self->p[GIB - 1] = 2; });
	EXPECT_FAULTS(0, 0, 0, ASSERT_EQ(0, madvise((void *)self->p, GIB, MADV_POPULATE_READ)));
	EXPECT_FAULTS(0, 512, 0, ASSERT_EQ(0, madvise((void *)off, GIB, MADV_POPULATE_READ)));
	EXPECT_FAULTS(0, 0, 0, off[BLOCK] = 1);
}

TEST_F(mappings, mremap)
{
	EXPECT_FAULTS(0, 0, 1, self->p[5] = 1);
	self->p = move(self->p, BLOCK);
	ASSERT_NE(MAP_FAILED, self->p);
	EXPECT_FAULTS(0, 1, 0, EXPECT_EQ(1, self->p[5]));
	self->p = move(self->p, PAGE);
	ASSERT_NE(MAP_FAILED, self->p);
	EXPECT_FAULTS(1, 0, 0, EXPECT_EQ(1, self->p[5]));
}

TEST_F(mappings, mremap_by_gigabytes)
{
	EXPECT_FAULTS(0, 0, 1, self->p[5] = 1);
	self->p = move(self->p, 0);
	ASSERT_NE(MAP_FAILED, self->p);
	/* It was unmapped, and comes back as it was. */
	EXPECT_FAULTS(0, 0, 1, EXPECT_EQ(1, self->p[5]));
}

TEST_F(mappings, mremap_of_a_part)
{
	char *to = place(GIB, 3 * BLOCK), *r;

	EXPECT_FAULTS(0, 0, 1, { self->p[0] = 1; self->p[4 * BLOCK] = 2; });
	r = mremap((void *)&self->p[4 * BLOCK], BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_EQ(to, r);
	EXPECT_EQ(2, r[0]);
	EXPECT_EQ(1, self->p[0]);
}

/* Reads a file of a process to its end. */
static bool read_all(const char *name)
{
	char buffer[4096];
	ssize_t n;
	int fd = open(name, O_RDONLY);

	do
		n = read(fd, buffer, sizeof(buffer));
	while (n > 0);
	close(fd);
	return !n;
}

/* Monitoring looks at memory by its struct pages, and finds none. */
TEST_F(mappings, monitored)
{
	unsigned long nodes = 1UL << atoi(getenv("GMFS_NODE"));

	EXPECT_FAULTS(0, 0, 1, self->p[0] = 1);
	EXPECT_FAULTS(0, 0, 0, {
		EXPECT_TRUE(read_all("/proc/self/smaps"));
		EXPECT_TRUE(read_all("/proc/self/smaps_rollup"));
		EXPECT_TRUE(read_all("/proc/self/numa_maps"));
		EXPECT_EQ(0, syscall(SYS_mbind, self->p, GIB, MPOL_BIND, &nodes, 64,
				     MPOL_MF_STRICT));
		EXPECT_EQ(1, self->p[0]);
	});
}

/* What a split or a move does not concern keeps its mappings. */
TEST_F(mappings, split_off_gigabyte)
{
	volatile char *p = map_off(self->fd, 3 * BLOCK);
	char *to = place(GIB, 5 * BLOCK);
	unsigned long i;

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_FAULTS(0, 0, 1, self->p[0] = 1);
	EXPECT_FAULTS(0, 512, 0, {
		for (i = 0; i < GIB; i += BLOCK)
			p[i]++;
	});
	EXPECT_FAULTS(0, 0, 0, {
		ASSERT_EQ(0, mprotect((void *)p, BLOCK, PROT_READ));
		ASSERT_EQ(0, mprotect((void *)&p[GIB - BLOCK], BLOCK, PROT_READ));
		for (i = 0; i < GIB; i += BLOCK)
			(void)p[i];
		ASSERT_EQ(to, mremap((void *)&p[BLOCK], GIB - 2 * BLOCK, GIB - 2 * BLOCK,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
		(void)*(volatile char *)to;
		(void)self->p[0];
	});
}

/* Is a fault of the kernel, for memory that it cannot have yet, over before it can have it? */
static bool kill_in_kernel_fault(int fd, void *hole, volatile char *done, int *status)
{
	pid_t zero, victim;
	bool early;

	*done = 0;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, GIB - BLOCK, BLOCK))
		return false;
	zero = fork();
	if (!zero) {
		/* No other task fills a hole of the file before that ends. */
		fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, GIB - BLOCK);
		*done = 1;
		_exit(0);
	}
	usleep(20000);
	victim = fork();
	if (!victim)
		_exit(getrandom(hole, 256, 0) != 256);
	usleep(20000);
	kill(victim, SIGKILL);
	waitpid(victim, status, 0);
	early = !*done;
	kill(zero, SIGKILL);
	waitpid(zero, NULL, 0);
	return early;
}

/* It ends with its task. */
TEST_F(mappings, kill_in_kernel_fault)
{
	volatile char *done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0, tries = 10;
	bool early;

	ASSERT_NE(MAP_FAILED, done);
	/* On a busy host, all can be zero before the signal is sent. */
	do {
		early = kill_in_kernel_fault(self->fd, (void *)&self->p[GIB - BLOCK], done,
					     &status);
	} while (!(early && WIFSIGNALED(status)) && --tries);
	EXPECT_TRUE(early);
	EXPECT_EQ(SIGKILL, status);
}

TEST_F(mappings, fork)
{
	int status;
	pid_t pid;

	EXPECT_FAULTS(0, 0, 1, self->p[0] = 1);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		munmap((void *)&self->p[BLOCK], PAGE);
		self->p[1] = 2;
		_exit(self->p[0] != 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(2, self->p[1]);
}

TEST_F(mappings, punch_and_truncate)
{
	EXPECT_FAULTS(0, 0, 1, { self->p[0] = 1; self->p[BLOCK] = 2; });
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK));
	EXPECT_EQ(0, self->p[0]);
	EXPECT_EQ(2, self->p[BLOCK]);
	ASSERT_EQ(0, ftruncate(self->fd, GIB / 2));
	EXPECT_EQ(2, self->p[BLOCK]);
}

TEST_F(mappings, numa_policy)
{
	unsigned long node = atoi(getenv("GMFS_NODE"));
	unsigned long here = 1UL << node, elsewhere = 1UL << !node, both = 3, mask = 0;
	int mode = -1;

	ASSERT_EQ(0, syscall(SYS_get_mempolicy, &mode, &mask, 64, self->p, MPOL_F_ADDR));
	EXPECT_EQ(MPOL_BIND, mode);
	EXPECT_EQ(here, mask);

	EXPECT_EQ(0, syscall(SYS_mbind, self->p, GIB, MPOL_BIND, &here, 64, 0));
	EXPECT_EQ(0, syscall(SYS_mbind, self->p, GIB, MPOL_BIND, &both, 64, MPOL_MF_STRICT));
	EXPECT_EQ(0, syscall(SYS_mbind, self->p, GIB, MPOL_PREFERRED, &here, 64, 0));
	EXPECT_EQ(0, syscall(SYS_mbind, self->p, GIB, MPOL_DEFAULT, NULL, 0, 0));
	EXPECT_EQ(-1, syscall(SYS_mbind, self->p, GIB, MPOL_BIND, &elsewhere, 64, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, syscall(SYS_mbind, self->p, GIB, MPOL_PREFERRED, &elsewhere, 64, 0));
	EXPECT_EQ(-1, syscall(SYS_mbind, self->p, GIB, MPOL_INTERLEAVE, &both, 64, 0));
	EXPECT_EQ(EINVAL, errno);
	/* Of a part too, which splits the mapping. */
	EXPECT_FAULTS(0, 0, 1, self->p[0] = 1);
	EXPECT_EQ(0, syscall(SYS_mbind, self->p + BLOCK, BLOCK, MPOL_BIND, &here, 64, 0));
	EXPECT_FAULTS(0, 1, 0, EXPECT_EQ(1, self->p[0]));
}

TEST_HARNESS_MAIN
