// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy: userfaultfd on mappings of guestmemfs. Runs in a directory of guestmemfs,
 * which GMFS_DIR names, on a pool whose memory has a gigabyte that is aligned and free.
 * GMFS_NODE is its node.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/guestmemfs.h>

#include "blocks.h"
#include "expect.h"
#include "flat.h"
#include "kselftest_harness.h"
#include "linux/userfaultfd.h"
#include "tables.h"

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define GIB	(512 * BLOCK)
#define BLOCKS	8UL
#define SIZE	(BLOCKS * BLOCK)
/* Of the races. */
#define SECONDS	2
#define STALE	0xee

static long uffd_open(uint64_t features, int flags)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	return ioctl(fd, UFFDIO_API, &api) ? -1 : fd;
}

static int uffd_register(int fd, volatile void *p, size_t len, uint64_t mode)
{
	struct uffdio_register reg = { .range = { (uintptr_t)p, len }, .mode = mode };

	return ioctl(fd, UFFDIO_REGISTER, &reg);
}

static int uffd_unregister(int fd, volatile void *p, size_t len)
{
	struct uffdio_range range = { (uintptr_t)p, len };

	return ioctl(fd, UFFDIO_UNREGISTER, &range);
}

static int uffd_wake(int fd, volatile void *p, size_t len)
{
	struct uffdio_range range = { (uintptr_t)p, len };

	return ioctl(fd, UFFDIO_WAKE, &range);
}

/* Bytes that were mapped, or -errno. */
static long uffd_continue(int fd, volatile void *p, size_t len)
{
	struct uffdio_continue arg = { .range = { (uintptr_t)p, len } };

	if (!ioctl(fd, UFFDIO_CONTINUE, &arg))
		return len;
	return errno == EAGAIN && arg.mapped > 0 ? arg.mapped : -errno;
}

/* The next event, within 10 seconds. */
static struct uffd_msg next_event(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg = {};

	if (poll(&wait, 1, 10000) == 1 && read(fd, &msg, sizeof(msg)) != sizeof(msg))
		msg.event = 0;
	return msg;
}

static bool has_event(int fd, int timeout)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	return poll(&wait, 1, timeout) == 1;
}

/* There is an access to the page of @p, of which nothing is known here. */
#define EXPECT_WAITS_FLAGS(fd, p, mode)							\
	do {										\
		struct uffd_msg msg = next_event(fd);					\
		EXPECT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);				\
		EXPECT_EQ((uintptr_t)(p) & ~(PAGE - 1), msg.arg.pagefault.address);	\
		EXPECT_EQ(UFFD_PAGEFAULT_FLAG_MINOR | (mode), msg.arg.pagefault.flags);	\
	} while (0)
#define EXPECT_WAITS(fd, p)	EXPECT_WAITS_FLAGS(fd, p, 0)

/* An access by a thread of its own. */
struct access {
	pthread_t thread;
	volatile char *p;
	bool write;
	char byte;
	volatile bool done;
	int signal;
};

static __thread sigjmp_buf back;

static void on_signal(int sig)
{
	siglongjmp(back, sig);
}

/* 0, or the signal. */
static int touch(volatile char *p, bool write, char *byte)
{
	int sig = sigsetjmp(back, 1);

	if (sig)
		return sig;
	if (write)
		*p = *byte;
	else
		*byte = *p;
	return 0;
}

static void *access_thread(void *arg)
{
	struct access *a = arg;

	a->signal = touch(a->p, a->write, &a->byte);
	a->done = true;
	return NULL;
}

static void start(struct access *a, volatile char *p)
{
	*a = (struct access) { .p = p };
	if (pthread_create(&a->thread, NULL, access_thread, a))
		abort();
}

static void start_write(struct access *a, volatile char *p, char byte)
{
	*a = (struct access) { .p = p, .write = true, .byte = byte };
	if (pthread_create(&a->thread, NULL, access_thread, a))
		abort();
}

/* The access ends, with a signal or none. */
static int end(struct access *a)
{
	pthread_join(a->thread, NULL);
	return a->signal;
}

static void fail_phys(uint64_t phys)
{
	int fd = open("/sys/devices/system/memory/hard_offline_page", O_WRONLY);

	dprintf(fd, "%#llx", (unsigned long long)phys);
	close(fd);
}

static int punch(int fd, off_t at)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, BLOCK);
}

/* A block of @fd for one of @other, at the same offset. */
static int exchange(int fd, int other, off_t at)
{
	struct guestmemfs_exchange_range range = {
		.file1_fd = other,
		.file1_offset = at,
		.file2_offset = at,
		.length = BLOCK,
	};

	return ioctl(fd, GUESTMEMFS_IOC_EXCHANGE_RANGE, &range);
}

static void *map_fd(int fd, size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
}

/* An address at which @len bytes can be mapped, @skew past a gigabyte. */
static char *place(unsigned long len, unsigned long skew)
{
	char *p = mmap(NULL, len + 2 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long up = ((unsigned long)p + GIB - 1) & ~(GIB - 1);

	return p == MAP_FAILED ? NULL : (char *)(up + skew);
}

#define EXPECT_TABLES(p, len, pte_bytes, pmd_bytes, pud_bytes)	\
	do {							\
		struct by_size t = tables(p, len);		\
		EXPECT_EQ(pte_bytes, t.pte);			\
		EXPECT_EQ(pmd_bytes, t.pmd);			\
		EXPECT_EQ(pud_bytes, t.pud);			\
	} while (0)

/* A mapping that is registered, and another one that has the contents. */
FIXTURE(postcopy) {
	int fd, uffd;
	volatile char *p, *alias;
};

FIXTURE_SETUP(postcopy)
{
	struct sigaction action = { .sa_handler = on_signal };
	size_t i;

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	ASSERT_EQ(0, chdir(getenv("GMFS_DIR")));
	/* One is left if a test has timed out. */
	unlink("file");
	self->fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	self->p = map_fd(self->fd, SIZE);
	self->alias = map_fd(self->fd, SIZE);
	ASSERT_NE(MAP_FAILED, self->p);
	ASSERT_NE(MAP_FAILED, self->alias);
	for (i = 0; i < BLOCKS; i++)
		self->alias[i * BLOCK] = i + 1;
	self->uffd = uffd_open(0, 0);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, uffd_register(self->uffd, self->p, SIZE, UFFDIO_REGISTER_MODE_MINOR));
}

FIXTURE_TEARDOWN(postcopy)
{
	close(self->fd);
	close(self->uffd);
	unlink("file");
}

/* A descriptor in place of @old, which has @features and @flags, and the mapping. Or -1. */
static int again(int old, volatile char *p, uint64_t features, int flags)
{
	int fd;

	close(old);
	fd = uffd_open(features, flags);
	return uffd_register(fd, p, SIZE, UFFDIO_REGISTER_MODE_MINOR) ? -1 : fd;
}

/* The file in one piece, of which another mapping is made. */
static char *map_gigabyte(int fd, volatile char *alias)
{
	size_t i;

	if (ftruncate(fd, 0) || ftruncate(fd, GIB))
		return MAP_FAILED;
	for (i = 0; i < BLOCKS; i++)
		alias[i * BLOCK] = i + 1;
	return map_fd(fd, GIB);
}

/* --- sizes ------------------------------------------------------------------ */

TEST_F(postcopy, page)
{
	volatile char *at = self->p + BLOCK + 3 * PAGE;
	struct access a;

	start(&a, at + 7);
	EXPECT_WAITS(self->uffd, at);
	EXPECT_FALSE(a.done);
	self->alias[BLOCK + 3 * PAGE + 7] = 'A';
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, at, PAGE));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ('A', a.byte);
	EXPECT_TABLES(self->p, SIZE, PAGE, 0, 0);
	EXPECT_EQ(-EEXIST, uffd_continue(self->uffd, at, PAGE));
	/* What is mapped is the file, for stores too. */
	at[7] = 'B';
	EXPECT_EQ('B', self->alias[BLOCK + 3 * PAGE + 7]);
	/* Next to it, nothing has come. */
	start_write(&a, at + PAGE, 'C');
	EXPECT_WAITS_FLAGS(self->uffd, at + PAGE, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_FALSE(a.done);
	EXPECT_EQ(0, self->alias[BLOCK + 4 * PAGE]);
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, at + PAGE, PAGE));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ('C', self->alias[BLOCK + 4 * PAGE]);
}

TEST_F(postcopy, block)
{
	struct access a;

	start(&a, self->p + 2 * BLOCK);
	EXPECT_WAITS(self->uffd, self->p + 2 * BLOCK);
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + 2 * BLOCK, BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(3, a.byte);
	EXPECT_TABLES(self->p, SIZE, 0, BLOCK, 0);
	EXPECT_EQ(-EEXIST, uffd_continue(self->uffd, self->p + 2 * BLOCK, BLOCK));
	EXPECT_EQ(-EEXIST, uffd_continue(self->uffd, self->p + 2 * BLOCK + PAGE, PAGE));
	self->p[3 * BLOCK - 1] = 'C';
	EXPECT_EQ('C', self->alias[3 * BLOCK - 1]);
}

/* A range of pages that ends at one that is mapped, and the rest of a block. */
TEST_F(postcopy, pages_and_the_rest)
{
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, self->p + 5 * PAGE, PAGE));
	EXPECT_EQ(5 * PAGE, uffd_continue(self->uffd, self->p, BLOCK));
	EXPECT_EQ(-EEXIST, uffd_continue(self->uffd, self->p, BLOCK));
	EXPECT_EQ(2 * BLOCK - 6 * PAGE,
		  uffd_continue(self->uffd, self->p + 6 * PAGE, 2 * BLOCK - 6 * PAGE));
	EXPECT_TABLES(self->p, SIZE, BLOCK, BLOCK, 0);
	/* With the advice, there is no table of pages any more. */
	ASSERT_EQ(0, madvise((void *)self->p, BLOCK, MADV_DONTNEED));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	EXPECT_TABLES(self->p, SIZE, 0, 2 * BLOCK, 0);
}

TEST_F(postcopy, whole)
{
	struct access a[BLOCKS];
	size_t i;

	for (i = 0; i < BLOCKS; i++)
		start(&a[i], self->p + i * BLOCK);
	for (i = 0; i < BLOCKS; i++)
		EXPECT_EQ(UFFD_EVENT_PAGEFAULT, next_event(self->uffd).event);
	EXPECT_EQ(SIZE, uffd_continue(self->uffd, self->p, SIZE));
	for (i = 0; i < BLOCKS; i++) {
		EXPECT_EQ(0, end(&a[i]));
		EXPECT_EQ(i + 1, a[i].byte);
	}
	EXPECT_TABLES(self->p, SIZE, 0, SIZE, 0);
	EXPECT_FALSE(has_event(self->uffd, 0));
}

TEST_F(postcopy, nohugepage)
{
	ASSERT_EQ(0, madvise((void *)self->p, BLOCK, MADV_NOHUGEPAGE));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	EXPECT_TABLES(self->p, BLOCK, BLOCK, 0, 0);
}

/* The address does not match the offset: pages. */
TEST_F(postcopy, unaligned)
{
	volatile char *p = mmap(place(BLOCK, PAGE), BLOCK, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, uffd_register(self->uffd, p, BLOCK, UFFDIO_REGISTER_MODE_MINOR));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, p, BLOCK));
	EXPECT_TABLES(p, BLOCK, BLOCK, 0, 0);
	EXPECT_EQ(1, p[0]);
}

/* A gigabyte at once, by pages while that is needed, and by a gigabyte in the end. */
TEST_F(postcopy, gigabyte)
{
	unsigned long at;
	struct access a;
	volatile char *p;

	p = map_gigabyte(self->fd, self->alias);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, uffd_register(self->uffd, p, GIB, UFFDIO_REGISTER_MODE_MINOR));
	EXPECT_EQ(GIB, uffd_continue(self->uffd, p, GIB));
	EXPECT_TABLES(p, GIB, 0, 0, GIB);
	EXPECT_EQ(2, p[BLOCK]);
	EXPECT_EQ(-EEXIST, uffd_continue(self->uffd, p + BLOCK, PAGE));

	/* The advice drops all of it: nothing has come. */
	ASSERT_EQ(0, madvise((void *)(p + BLOCK), PAGE, MADV_DONTNEED));
	start(&a, p + 2 * BLOCK);
	EXPECT_WAITS(self->uffd, p + 2 * BLOCK);
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, p + 2 * BLOCK, PAGE));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(3, a.byte);
	EXPECT_TABLES(p, GIB, PAGE, 0, 0);
	EXPECT_EQ(2 * BLOCK, uffd_continue(self->uffd, p, GIB));
	at = 2 * BLOCK + PAGE;
	EXPECT_EQ(GIB - at, uffd_continue(self->uffd, p + at, GIB - at));
	EXPECT_TABLES(p, GIB, BLOCK, GIB - BLOCK, 0);

	ASSERT_EQ(0, uffd_unregister(self->uffd, p, GIB));
	EXPECT_EQ(3, p[2 * BLOCK]);
	ASSERT_EQ(p, mmap((void *)p, GIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			  self->fd, 0));
	EXPECT_EQ(3, p[2 * BLOCK]);
	EXPECT_TABLES(p, GIB, 0, 0, GIB);

	/* It stays with a registration, which the next advice makes effective. */
	ASSERT_EQ(0, uffd_register(self->uffd, p, GIB, UFFDIO_REGISTER_MODE_MINOR));
	EXPECT_EQ(3, p[2 * BLOCK]);
	ASSERT_EQ(0, madvise((void *)p, GIB, MADV_DONTNEED));
	start(&a, p);
	EXPECT_WAITS(self->uffd, p);
	close(self->uffd);
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(1, a.byte);
}

#define ROUNDS	2000

static volatile int first_round, first_done;

/* In each round, one access to a gigabyte at @arg. */
static void *first_thread(void *arg)
{
	volatile char *p = arg;
	int round;

	for (round = 1; round <= ROUNDS; round++) {
		while (first_round != round)
			;
		(void)p[round * PAGE];
		first_done = round;
	}
	return NULL;
}

/* The first access to a gigabyte comes while all of it is continued: it waits once at most. */
TEST_F_TIMEOUT(postcopy, first_access, 300)
{
	volatile char *p = map_gigabyte(self->fd, self->alias);
	pthread_t thread;
	int i, wait;
	volatile int spin;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, pthread_create(&thread, NULL, first_thread, (void *)p));
	for (i = 1; i <= ROUNDS; i++) {
		ASSERT_EQ(p, mmap((void *)p, GIB, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_NORESERVE | MAP_FIXED, self->fd, 0));
		ASSERT_EQ(0, uffd_register(self->uffd, p, GIB, UFFDIO_REGISTER_MODE_MINOR));
		first_round = i;
		for (spin = 0; spin < i % 64 * 32; spin++)
			;
		EXPECT_EQ(GIB, uffd_continue(self->uffd, p, GIB));
		for (wait = 0; wait < 500 && first_done != i; wait++)
			usleep(wait ? 10000 : 100);
		ASSERT_EQ(i, first_done);
	}
	pthread_join(thread, NULL);
	munmap((void *)p, GIB);
}

struct move {
	volatile char *from;
	char *to;
	size_t len;
	void *result;
};

static void *move_thread(void *arg)
{
	struct move *m = arg;

	m->result = mremap((void *)m->from, m->len, m->len, MREMAP_MAYMOVE | MREMAP_FIXED, m->to);
	return NULL;
}

/* A new mapping in its place, without tables and in one piece, comes as the first one. 0 or -1. */
static int renew(int fd, int uffd, volatile char *p)
{
	if (mmap((void *)p, GIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
		 fd, 0) != p)
		return -1;
	if (uffd_register(uffd, p, GIB, UFFDIO_REGISTER_MODE_MINOR) ||
	    uffd_continue(uffd, p, GIB) != (long)GIB || tables(p, GIB).pud != GIB)
		return -1;
	return 0;
}

/* A registered gigabyte, which has come by one mapping. Or MAP_FAILED. */
static volatile char *come(int fd, int uffd, volatile char *alias)
{
	volatile char *p = map_gigabyte(fd, alias);

	return p == MAP_FAILED || renew(fd, uffd, p) ? MAP_FAILED : p;
}

/* All of it waits again, and comes again. An access that waits has made a table of blocks. */
static void comes_again(struct __test_metadata *_metadata, int uffd, volatile char *p)
{
	struct access a;

	EXPECT_TABLES(p, GIB, 0, 0, 0);
	start(&a, p + 5 * BLOCK);
	EXPECT_WAITS(uffd, p + 5 * BLOCK);
	EXPECT_EQ(GIB, uffd_continue(uffd, p, GIB));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(6, a.byte);
	EXPECT_TABLES(p, GIB, 0, GIB, 0);
}

/* What happens to the file under a gigabyte drops all of its mapping. */
TEST_F_TIMEOUT(postcopy, gigabyte_file, 300)
{
	volatile char *p = come(self->fd, self->uffd, self->alias);
	int other = open(".", O_TMPFILE | O_RDWR, 0600);
	struct access a;

	ASSERT_NE(MAP_FAILED, p);
	/* Another hole comes and goes: two exchanges with one of the other file. */
	ASSERT_LE(0, other);
	ASSERT_EQ(0, ftruncate(other, SIZE));
	ASSERT_EQ(0, punch(other, 2 * BLOCK));
	ASSERT_EQ(0, exchange(self->fd, other, 2 * BLOCK));
	EXPECT_TABLES(p, GIB, 0, 0, 0);
	EXPECT_EQ(2 * BLOCK, uffd_continue(self->uffd, p, GIB));
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, p + 2 * BLOCK, PAGE));
	ASSERT_EQ(0, exchange(self->fd, other, 2 * BLOCK));

	ASSERT_EQ(0, renew(self->fd, self->uffd, p));
	ASSERT_EQ(0, punch(self->fd, 3 * BLOCK));
	EXPECT_TABLES(p, GIB, 0, 0, 0);
	EXPECT_EQ(3 * BLOCK, uffd_continue(self->uffd, p, GIB));
	EXPECT_EQ(3, p[2 * BLOCK]);
	start(&a, p + 3 * BLOCK);
	EXPECT_WAITS(self->uffd, p + 3 * BLOCK);
	self->alias[3 * BLOCK] = 'P';
	EXPECT_EQ(GIB - 3 * BLOCK, uffd_continue(self->uffd, p + 3 * BLOCK, GIB - 3 * BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ('P', a.byte);

	ASSERT_EQ(0, ftruncate(self->fd, 6 * BLOCK));
	start(&a, p + 7 * BLOCK);
	EXPECT_EQ(SIGBUS, end(&a));
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, p + 7 * BLOCK, PAGE));
	EXPECT_EQ('P', p[3 * BLOCK]);
	EXPECT_FALSE(has_event(self->uffd, 0));
	close(other);
}

/* What happens to the mapping of a gigabyte. */
TEST_F_TIMEOUT(postcopy, gigabyte_mapping, 300)
{
	volatile char *p = come(self->fd, self->uffd, self->alias);
	struct move m = { .from = p, .len = GIB };
	int status, uffd;
	struct access a;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, p);
	/* A child has no part in it, and takes nothing away. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(p[0] != 1 || p[7 * BLOCK] != 8);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TABLES(p, GIB, 0, 0, GIB);

	/* A part that is not registered any more is the file. All else waits again. */
	ASSERT_EQ(0, uffd_unregister(self->uffd, p + BLOCK, BLOCK));
	EXPECT_EQ(2, p[BLOCK]);
	start(&a, p + 2 * BLOCK);
	EXPECT_WAITS(self->uffd, p + 2 * BLOCK);
	EXPECT_EQ(GIB - 2 * BLOCK, uffd_continue(self->uffd, p + 2 * BLOCK, GIB - 2 * BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(3, a.byte);
	EXPECT_EQ(-ENOENT, uffd_continue(self->uffd, p + BLOCK, PAGE));

	/* mremap() drops such a mapping. With events, the registration goes along. */
	uffd = uffd_open(UFFD_FEATURE_EVENT_REMAP, 0);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, renew(self->fd, uffd, p));
	m.to = place(GIB, 0);
	ASSERT_EQ(0, pthread_create(&a.thread, NULL, move_thread, &m));
	EXPECT_EQ(UFFD_EVENT_REMAP, next_event(uffd).event);
	ASSERT_EQ(0, pthread_join(a.thread, NULL));
	ASSERT_EQ(m.to, m.result);
	comes_again(_metadata, uffd, m.to);
	close(uffd);
}

/* A task that waits for a page of a gigabyte, of which nothing is mapped any more. */
TEST_F_TIMEOUT(postcopy, gigabyte_waiters, 300)
{
	volatile char *p = come(self->fd, self->uffd, self->alias);
	int ready[2], status;
	struct access a;
	char byte;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int uffd = uffd_open(0, 0);

		if (uffd_register(uffd, p, GIB, UFFDIO_REGISTER_MODE_MINOR) ||
		    madvise((void *)p, PAGE, MADV_DONTNEED))
			_exit(1);
		start(&a, p + BLOCK);
		if (next_event(uffd).event != UFFD_EVENT_PAGEFAULT || write(ready[1], "", 1) != 1)
			_exit(2);
		end(&a);
		_exit(3);
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	EXPECT_TABLES(p, GIB, 0, 0, GIB);

	ASSERT_EQ(0, madvise((void *)p, PAGE, MADV_DONTNEED));
	start(&a, p + BLOCK);
	EXPECT_WAITS(self->uffd, p + BLOCK);
	close(self->uffd);
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(2, a.byte);
	self->uffd = uffd_open(0, 0);
	ASSERT_EQ(0, renew(self->fd, self->uffd, p));
	ASSERT_EQ(0, madvise((void *)p, PAGE, MADV_DONTNEED));
	start(&a, p + BLOCK);
	EXPECT_WAITS(self->uffd, p + BLOCK);
	ASSERT_EQ(0, munmap((void *)p, GIB));
	EXPECT_EQ(0, uffd_wake(self->uffd, p, GIB));
	EXPECT_EQ(SIGSEGV, end(&a));
}

/* --- what is refused -------------------------------------------------------- */

TEST_F(postcopy, modes)
{
	static const uint64_t modes[] = {
		UFFDIO_REGISTER_MODE_MISSING,
		UFFDIO_REGISTER_MODE_WP,
		UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_MISSING,
		UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
		UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	/* With WP_ASYNC, which needs CONFIG_PTE_MARKER_UFFD_WP, WP alone is for all memory. */
	static const uint64_t features[] = { 0, UFFD_FEATURE_WP_ASYNC };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MINOR };
	void *p = map_fd(self->fd, SIZE);
	int uffd, fd;
	size_t i, j;

	ASSERT_NE(MAP_FAILED, p);
	for (j = 0; j < 2; j++) {
		uffd = uffd_open(features[j], 0);
		if (uffd < 0 && j)
			continue;
		ASSERT_LE(0, uffd);
		for (i = 0; i < ARRAY_SIZE(modes); i++)
			EXPECT_ERR(EINVAL, uffd_register(uffd, p, SIZE, modes[i]));
		close(uffd);
	}
	uffd = uffd_open(UFFD_FEATURE_RWP, 0);
	ASSERT_LE(0, uffd);
	EXPECT_ERR(EINVAL, uffd_register(uffd, p, SIZE, UFFDIO_REGISTER_MODE_RWP));
	EXPECT_ERR(EINVAL, uffd_register(uffd, p, SIZE, UFFDIO_REGISTER_MODE_RWP |
					 UFFDIO_REGISTER_MODE_MINOR));
	close(uffd);
	/* Of what can be registered: these two alone are announced. */
	reg.range = (struct uffdio_range) { (uintptr_t)p, SIZE };
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_REGISTER, &reg));
	EXPECT_EQ(1ULL << _UFFDIO_WAKE | 1ULL << _UFFDIO_CONTINUE, reg.ioctls);
	/* It belongs to one. */
	uffd = uffd_open(0, 0);
	EXPECT_ERR(EBUSY, uffd_register(uffd, p, SIZE, UFFDIO_REGISTER_MODE_MINOR));
	close(uffd);
	/* A file that is open for reading alone. */
	fd = open("file", O_RDONLY);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_ERR(EPERM, uffd_register(self->uffd, p, SIZE, UFFDIO_REGISTER_MODE_MINOR));
	close(fd);
	/* Unregistering what was not is fine, as elsewhere. */
	EXPECT_EQ(0, uffd_unregister(self->uffd, p, SIZE));
}

/* Over nothing, over pages, 2 MiB, and 1 GiB. */
TEST_F(postcopy, other_calls)
{
	static char source[2 * PAGE] __attribute__((aligned(4096)));
	unsigned long where[4], i;
	void *anon;
	char *p;

	p = map_gigabyte(self->fd, self->alias);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, uffd_register(self->uffd, p, GIB, UFFDIO_REGISTER_MODE_MINOR));
	EXPECT_EQ(GIB, uffd_continue(self->uffd, p, GIB));
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, self->p + BLOCK, PAGE));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + 2 * BLOCK, BLOCK));
	where[0] = (uintptr_t)self->p;
	where[1] = (uintptr_t)self->p + BLOCK;
	where[2] = (uintptr_t)self->p + 2 * BLOCK;
	where[3] = (uintptr_t)p + BLOCK;
	anon = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, anon);
	memset(anon, 1, PAGE);

	for (i = 0; i < 4; i++) {
		struct uffdio_range range = { where[i], PAGE };
		struct uffdio_copy copy = {
			.dst = where[i],
			.src = (uintptr_t)source,
			.len = PAGE,
		};
		struct uffdio_zeropage zero = { .range = range };
		struct uffdio_poison poison = { .range = range };
		struct uffdio_writeprotect wp = { .range = range };
		struct uffdio_move move = { .dst = where[i], .src = (uintptr_t)anon, .len = PAGE };
		struct uffdio_continue cont = { .range = range, .mode = UFFDIO_CONTINUE_MODE_WP };

		EXPECT_ERR(EINVAL, ioctl(self->uffd, UFFDIO_COPY, &copy));
		copy.mode = UFFDIO_COPY_MODE_WP;
		EXPECT_ERR(EINVAL, ioctl(self->uffd, UFFDIO_COPY, &copy));
		EXPECT_ERR(EINVAL, ioctl(self->uffd, UFFDIO_ZEROPAGE, &zero));
		EXPECT_ERR(EINVAL, ioctl(self->uffd, UFFDIO_POISON, &poison));
		EXPECT_ERR(ENOENT, ioctl(self->uffd, UFFDIO_WRITEPROTECT, &wp));
		wp.mode = UFFDIO_WRITEPROTECT_MODE_WP;
		EXPECT_ERR(ENOENT, ioctl(self->uffd, UFFDIO_WRITEPROTECT, &wp));
		EXPECT_ERR(EINVAL, ioctl(self->uffd, UFFDIO_MOVE, &move));
		move.dst = (uintptr_t)anon;
		move.src = where[i];
		EXPECT_ERR(EINVAL, ioctl(self->uffd, UFFDIO_MOVE, &move));
		EXPECT_ERR(EINVAL, ioctl(self->uffd, UFFDIO_CONTINUE, &cont));
	}
	EXPECT_TABLES(self->p, SIZE, PAGE, BLOCK, 0);
	EXPECT_TABLES(p, GIB, 0, 0, GIB);
	/* Of what is not registered, or not one mapping. */
	EXPECT_EQ(-ENOENT, uffd_continue(self->uffd, self->alias, PAGE));
	EXPECT_EQ(-EINVAL, uffd_continue(self->uffd, self->p + 1, PAGE));
	EXPECT_EQ(-EINVAL, uffd_continue(self->uffd, self->p, 0));
	EXPECT_EQ(-ENOENT, uffd_continue(self->uffd, self->p + SIZE - PAGE, 2 * PAGE));
	EXPECT_EQ(0, self->p[BLOCK + 1]);
}

/* --- the file ---------------------------------------------------------------- */

/* The alias fills a hole; there is nothing to continue before. */
TEST_F(postcopy, hole)
{
	struct access a;

	ASSERT_EQ(0, punch(self->fd, BLOCK));
	start(&a, self->p + BLOCK + PAGE);
	EXPECT_WAITS(self->uffd, self->p + BLOCK + PAGE);
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, self->p + BLOCK + PAGE, PAGE));
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, 2 * BLOCK));
	EXPECT_EQ(0, phys_of(self->fd, BLOCK));
	EXPECT_FALSE(a.done);
	self->alias[BLOCK + PAGE] = 'H';
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ('H', a.byte);
}

/* What is punched waits again. */
TEST_F(postcopy, punch)
{
	struct access a;

	EXPECT_EQ(SIZE, uffd_continue(self->uffd, self->p, SIZE));
	ASSERT_EQ(0, punch(self->fd, BLOCK));
	EXPECT_TABLES(self->p, SIZE, 0, SIZE - BLOCK, 0);
	start(&a, self->p + BLOCK);
	EXPECT_WAITS(self->uffd, self->p + BLOCK);
	self->alias[BLOCK] = 'P';
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ('P', a.byte);
	ASSERT_EQ(0, madvise((void *)self->p, BLOCK, MADV_REMOVE));
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, self->p, BLOCK));
}

/* What an exchange has replaced waits again, and has the contents of the other file. */
TEST_F(postcopy, exchange)
{
	int other = open(".", O_TMPFILE | O_RDWR, 0600);
	volatile char *theirs;
	struct access a;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ftruncate(other, SIZE));
	theirs = map_fd(other, SIZE);
	ASSERT_NE(MAP_FAILED, theirs);
	theirs[BLOCK] = 'E';
	EXPECT_EQ(SIZE, uffd_continue(self->uffd, self->p, SIZE));
	ASSERT_EQ(0, exchange(self->fd, other, BLOCK));
	EXPECT_TABLES(self->p, SIZE, 0, SIZE - BLOCK, 0);
	start(&a, self->p + BLOCK);
	EXPECT_WAITS(self->uffd, self->p + BLOCK);
	/* An access that waits gets what is there when it goes on. */
	ASSERT_EQ(0, exchange(self->fd, other, BLOCK));
	ASSERT_EQ(0, exchange(self->fd, other, BLOCK));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ('E', a.byte);
	EXPECT_EQ(2, theirs[BLOCK]);
	/* A hole of the other file. */
	ASSERT_EQ(0, punch(other, 2 * BLOCK));
	ASSERT_EQ(0, exchange(self->fd, other, 2 * BLOCK));
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, self->p + 2 * BLOCK, BLOCK));
	EXPECT_EQ(3, theirs[2 * BLOCK]);
	close(other);
}

TEST_F(postcopy, end_of_file)
{
	struct access a;

	/* Memory is whole blocks: what is behind the size in the last one can be mapped. */
	ASSERT_EQ(0, ftruncate(self->fd, 6 * BLOCK + 100));
	EXPECT_EQ(7 * BLOCK, uffd_continue(self->uffd, self->p, SIZE));
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, self->p + 7 * BLOCK, PAGE));
	start(&a, self->p + 7 * BLOCK);
	EXPECT_EQ(SIGBUS, end(&a));
	EXPECT_FALSE(has_event(self->uffd, 0));
	/* Who waits when the file is cut hears of that when it is woken. */
	ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	start(&a, self->p + 7 * BLOCK);
	EXPECT_WAITS(self->uffd, self->p + 7 * BLOCK);
	ASSERT_EQ(0, ftruncate(self->fd, 0));
	EXPECT_EQ(-EFAULT, uffd_continue(self->uffd, self->p + 7 * BLOCK, PAGE));
	EXPECT_FALSE(a.done);
	EXPECT_EQ(0, uffd_wake(self->uffd, self->p, SIZE));
	EXPECT_EQ(SIGBUS, end(&a));
	EXPECT_TABLES(self->p, SIZE, 0, 0, 0);
}

/* A frozen node hands out no memory, and none is needed. */
TEST_F(postcopy, frozen)
{
	struct access a;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/frozen", getenv("GMFS_NODE"));
	fd = open(path, O_WRONLY);
	ASSERT_EQ(1, write(fd, "1", 1));
	start(&a, self->p);
	EXPECT_WAITS(self->uffd, self->p);
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(1, a.byte);
	ASSERT_EQ(1, write(fd, "0", 1));
	close(fd);
}

/* A page that has failed is not waited for, nor mapped. */
TEST_F(postcopy, poison)
{
	struct access a;

	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	/* The mappings are this task's: it gets SIGBUS, as if it had used the page. */
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 5 * PAGE));
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, BLOCK + 5 * PAGE));
	start(&a, self->p + BLOCK + 5 * PAGE);
	EXPECT_EQ(SIGBUS, end(&a));
	EXPECT_FALSE(has_event(self->uffd, 0));
	EXPECT_EQ(-EIO, uffd_continue(self->uffd, self->p + BLOCK + 5 * PAGE, PAGE));
	EXPECT_EQ(5 * PAGE, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	EXPECT_EQ(BLOCK - 6 * PAGE, uffd_continue(self->uffd, self->p + BLOCK + 6 * PAGE,
						  BLOCK - 6 * PAGE));
	EXPECT_EQ(2, self->p[BLOCK]);
	/* What was mapped with it waits again. */
	start(&a, self->p);
	EXPECT_WAITS(self->uffd, self->p);
	EXPECT_EQ(5 * PAGE, uffd_continue(self->uffd, self->p, BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(1, a.byte);
}

/* The same in a gigabyte, of which all waits again. Only large files have the page then. */
TEST_F_TIMEOUT(postcopy, poison_of_a_gigabyte, 300)
{
	volatile char *p = come(self->fd, self->uffd, self->alias);
	struct access a;

	ASSERT_NE(MAP_FAILED, p);
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 300 * BLOCK + 5 * PAGE));
	EXPECT_TABLES(p, GIB, 0, 0, 0);
	start(&a, p + 300 * BLOCK + 5 * PAGE);
	EXPECT_EQ(SIGBUS, end(&a));
	start(&a, p + BLOCK);
	EXPECT_WAITS(self->uffd, p + BLOCK);
	EXPECT_EQ(300 * BLOCK + 5 * PAGE, uffd_continue(self->uffd, p, GIB));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(2, a.byte);
	EXPECT_EQ(-EIO, uffd_continue(self->uffd, p + 300 * BLOCK + 5 * PAGE, PAGE));
}

/* --- the mapping ------------------------------------------------------------- */

TEST_F(postcopy, unregister_part)
{
	struct access a;

	EXPECT_EQ(PAGE, uffd_continue(self->uffd, self->p, PAGE));
	ASSERT_EQ(0, uffd_unregister(self->uffd, self->p, 4 * BLOCK));
	EXPECT_EQ(2, self->p[BLOCK]);
	EXPECT_EQ(0, self->p[PAGE]);
	EXPECT_EQ(-ENOENT, uffd_continue(self->uffd, self->p + 3 * BLOCK, PAGE));
	start(&a, self->p + 4 * BLOCK);
	EXPECT_WAITS(self->uffd, self->p + 4 * BLOCK);
	EXPECT_EQ(4 * BLOCK, uffd_continue(self->uffd, self->p + 4 * BLOCK, 4 * BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(5, a.byte);
}

TEST_F(postcopy, mprotect)
{
	struct access a;

	ASSERT_EQ(0, mprotect((void *)self->p, SIZE, PROT_READ));
	EXPECT_EQ(2 * BLOCK, uffd_continue(self->uffd, self->p, 2 * BLOCK));
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, self->p + 2 * BLOCK, PAGE));
	EXPECT_EQ(1, self->p[0]);
	ASSERT_EQ(0, mprotect((void *)self->p, SIZE, PROT_NONE));
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, self->p + 3 * BLOCK, PAGE));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + 4 * BLOCK, BLOCK));
	start(&a, self->p + 5 * BLOCK);
	EXPECT_EQ(SIGSEGV, end(&a));
	ASSERT_EQ(0, mprotect((void *)self->p, SIZE, PROT_READ | PROT_WRITE));
	self->p[0]++;
	self->p[2 * BLOCK]++;
	self->p[3 * BLOCK]++;
	self->p[4 * BLOCK]++;
	EXPECT_EQ(2, self->alias[0]);
	EXPECT_EQ(4, self->alias[2 * BLOCK]);
	EXPECT_EQ(5, self->alias[3 * BLOCK]);
	EXPECT_EQ(6, self->alias[4 * BLOCK]);
	EXPECT_FALSE(has_event(self->uffd, 0));
}

TEST_F(postcopy, munmap)
{
	struct access a;

	start(&a, self->p + BLOCK);
	EXPECT_WAITS(self->uffd, self->p + BLOCK);
	ASSERT_EQ(0, munmap((void *)self->p, SIZE));
	EXPECT_EQ(-ENOENT, uffd_continue(self->uffd, self->p + BLOCK, PAGE));
	EXPECT_EQ(0, uffd_wake(self->uffd, self->p, SIZE));
	EXPECT_EQ(SIGSEGV, end(&a));
}

/* What has come is mapped, and what has not is the file, as it is. */
TEST_F(postcopy, close)
{
	struct access a[2];

	start(&a[0], self->p + BLOCK);
	EXPECT_WAITS(self->uffd, self->p + BLOCK);
	start_write(&a[1], self->p + 2 * BLOCK, 'W');
	EXPECT_TRUE(has_event(self->uffd, 10000));
	close(self->uffd);
	EXPECT_EQ(0, end(&a[0]));
	EXPECT_EQ(0, end(&a[1]));
	EXPECT_EQ(2, a[0].byte);
	EXPECT_EQ('W', self->alias[2 * BLOCK]);
	EXPECT_TABLES(self->p, SIZE, 0, 2 * BLOCK, 0);
	self->uffd = -1;
}

/* Threads that wait end with their process, also in the kernel. */
TEST_F(postcopy, kill)
{
	int ready[2], pipes[2], status;
	struct access a;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int uffd = uffd_open(0, 0);

		if (uffd_register(uffd, self->p, SIZE, UFFDIO_REGISTER_MODE_MINOR))
			_exit(1);
		start(&a, self->p + BLOCK);
		if (next_event(uffd).event != UFFD_EVENT_PAGEFAULT || write(ready[1], "", 1) != 1)
			_exit(2);
		_exit(write(pipes[1], (char *)self->p + 2 * BLOCK, 1) != 1);
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	usleep(100000);
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	/* That one had nothing to do with this mapping. */
	start(&a, self->p);
	EXPECT_WAITS(self->uffd, self->p);
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	EXPECT_EQ(0, end(&a));
}

/* A child has no part in it. */
TEST_F(postcopy, fork)
{
	int status;
	pid_t pid;

	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(self->p[0] != 1 || self->p[BLOCK] != 2);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(has_event(self->uffd, 0));
	EXPECT_TABLES(self->p, SIZE, 0, BLOCK, 0);
}

static void *fork_thread(void *arg)
{
	volatile char **p = arg;
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		_exit(p[0][0] != 1 || p[0][BLOCK] != 2);
	waitpid(pid, &status, 0);
	return (void *)(long)status;
}

/* With events, it has a descriptor of its own. */
TEST_F(postcopy, fork_event)
{
	int uffd = again(self->uffd, self->p, UFFD_FEATURE_EVENT_FORK, 0), child;
	struct uffd_msg msg;
	pthread_t thread;
	void *status;

	self->uffd = uffd;
	ASSERT_LE(0, uffd);
	EXPECT_EQ(BLOCK, uffd_continue(uffd, self->p, BLOCK));
	ASSERT_EQ(0, pthread_create(&thread, NULL, fork_thread, &self->p));
	msg = next_event(uffd);
	ASSERT_EQ(UFFD_EVENT_FORK, msg.event);
	child = msg.arg.fork.ufd;
	EXPECT_WAITS(child, self->p + BLOCK);
	EXPECT_EQ(-EEXIST, uffd_continue(child, self->p, BLOCK));
	EXPECT_EQ(BLOCK, uffd_continue(child, self->p + BLOCK, BLOCK));
	ASSERT_EQ(0, pthread_join(thread, &status));
	EXPECT_EQ(NULL, status);
	EXPECT_TABLES(self->p, SIZE, 0, BLOCK, 0);
	close(child);
}

/* With events, what has come and what has not goes with the mapping. */
TEST_F(postcopy, mremap_event)
{
	struct move m = { .from = self->p, .to = place(SIZE, 3 * BLOCK), .len = SIZE };
	int uffd = again(self->uffd, self->p, UFFD_FEATURE_EVENT_REMAP, 0);
	struct uffd_msg msg;
	pthread_t thread;
	struct access a;

	self->uffd = uffd;
	ASSERT_LE(0, uffd);
	EXPECT_EQ(PAGE, uffd_continue(uffd, self->p, PAGE));
	EXPECT_EQ(BLOCK, uffd_continue(uffd, self->p + BLOCK, BLOCK));
	ASSERT_EQ(0, pthread_create(&thread, NULL, move_thread, &m));
	msg = next_event(uffd);
	ASSERT_EQ(UFFD_EVENT_REMAP, msg.event);
	EXPECT_EQ((uintptr_t)self->p, msg.arg.remap.from);
	EXPECT_EQ((uintptr_t)m.to, msg.arg.remap.to);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(m.to, m.result);
	EXPECT_EQ(1, m.to[0]);
	EXPECT_EQ(2, m.to[BLOCK]);
	start(&a, m.to + 2 * BLOCK);
	EXPECT_WAITS(uffd, m.to + 2 * BLOCK);
	EXPECT_EQ(BLOCK, uffd_continue(uffd, m.to + 2 * BLOCK, BLOCK));
	EXPECT_EQ(0, end(&a));
	EXPECT_EQ(3, a.byte);
	EXPECT_EQ(-ENOENT, uffd_continue(uffd, self->p, PAGE));
}

/* Without, it is a mapping as any other. */
TEST_F(postcopy, mremap)
{
	struct move m = { .from = self->p, .to = place(SIZE, 3 * BLOCK), .len = SIZE };

	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	move_thread(&m);
	ASSERT_EQ(m.to, m.result);
	EXPECT_EQ(1, m.to[0]);
	EXPECT_EQ(2, m.to[BLOCK]);
	EXPECT_EQ(-ENOENT, uffd_continue(self->uffd, m.to, PAGE));
}

static void *remove_thread(void *arg)
{
	char *p = arg;

	if (madvise(p + BLOCK, BLOCK, MADV_DONTNEED) ||
	    madvise(p + 2 * BLOCK, BLOCK, MADV_REMOVE) ||
	    munmap(p + 3 * BLOCK, BLOCK))
		return (void *)-1L;
	return NULL;
}

/* A program that asks for it hears of what goes from the mapping, and of nothing else. */
TEST_F(postcopy, remove_events)
{
	static const struct {
		int event;
		unsigned long at;
	} want[] = {
		{ UFFD_EVENT_REMOVE, BLOCK },
		{ UFFD_EVENT_REMOVE, 2 * BLOCK },
		{ UFFD_EVENT_UNMAP, 3 * BLOCK },
	};
	int uffd = again(self->uffd, self->p, UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP,
			 0);
	struct uffd_msg msg;
	pthread_t thread;
	void *result;
	size_t i;

	self->uffd = uffd;
	ASSERT_LE(0, uffd);
	EXPECT_EQ(SIZE, uffd_continue(uffd, self->p, SIZE));
	ASSERT_EQ(0, pthread_create(&thread, NULL, remove_thread, (void *)self->p));
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		msg = next_event(uffd);
		EXPECT_EQ(want[i].event, msg.event);
		EXPECT_EQ((uintptr_t)self->p + want[i].at, msg.arg.remove.start);
		EXPECT_EQ((uintptr_t)self->p + want[i].at + BLOCK, msg.arg.remove.end);
	}
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(NULL, result);
	EXPECT_EQ(0, phys_of(self->fd, 2 * BLOCK));
	EXPECT_EQ(BLOCK, uffd_continue(uffd, self->p + BLOCK, BLOCK));
	EXPECT_EQ(-EFAULT, uffd_continue(uffd, self->p + 2 * BLOCK, BLOCK));
	EXPECT_EQ(-ENOENT, uffd_continue(uffd, self->p + 3 * BLOCK, BLOCK));
	/* As file systems do: a hole that is made by a descriptor is not of the mapping. */
	ASSERT_EQ(0, punch(self->fd, 5 * BLOCK));
	EXPECT_FALSE(has_event(uffd, 0));
}

/* --- who waits ---------------------------------------------------------------- */

static int written[2];

static void *write_thread(void *arg)
{
	errno = 0;
	return (void *)(write(written[1], arg, 1) == 1 ? 0L : (long)errno);
}

/* System calls that copy wait too, unless the descriptor is for user mode alone. */
TEST_F(postcopy, system_call)
{
	pthread_t thread;
	void *err;
	char byte;

	ASSERT_EQ(0, pipe(written));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_thread, (void *)self->p));
	EXPECT_WAITS(self->uffd, self->p);
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, self->p, PAGE));
	ASSERT_EQ(0, pthread_join(thread, &err));
	EXPECT_EQ(NULL, err);
	EXPECT_EQ(1, read(written[0], &byte, 1));
	EXPECT_EQ(1, byte);
	self->uffd = again(self->uffd, self->p, 0, UFFD_USER_MODE_ONLY);
	ASSERT_LE(0, self->uffd);
	EXPECT_EQ(EFAULT, (long)write_thread((void *)self->p + BLOCK));
	EXPECT_FALSE(has_event(self->uffd, 0));
}

TEST_F(postcopy, sigbus)
{
	struct access a;

	self->uffd = again(self->uffd, self->p, UFFD_FEATURE_SIGBUS, 0);
	ASSERT_LE(0, self->uffd);
	start(&a, self->p);
	EXPECT_EQ(SIGBUS, end(&a));
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	start(&a, self->p);
	EXPECT_EQ(0, end(&a));
}

static void *populate_thread(void *p)
{
	return (void *)(madvise(p, SIZE, MADV_POPULATE_WRITE) ? (long)errno : 0L);
}

TEST_F(postcopy, populate)
{
	pthread_t thread;
	void *err;

	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p, BLOCK));
	ASSERT_EQ(0, pthread_create(&thread, NULL, populate_thread, (void *)self->p));
	EXPECT_WAITS_FLAGS(self->uffd, self->p + BLOCK, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	EXPECT_WAITS_FLAGS(self->uffd, self->p + 2 * BLOCK, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(SIZE - 2 * BLOCK,
		  uffd_continue(self->uffd, self->p + 2 * BLOCK, SIZE - 2 * BLOCK));
	ASSERT_EQ(0, pthread_join(thread, &err));
	EXPECT_EQ(NULL, err);
}

struct guest_access {
	struct machine *m;
	volatile char *p;
	unsigned long entry;
};

static void *guest_thread(void *arg)
{
	struct guest_access *g = arg;

	return (void *)(long)machine_run(g->m, g->entry, g->p);
}

/* A virtual processor: its memory comes by 4 KiB, then by 2 MiB, and goes again. */
TEST_F(postcopy, guest)
{
	struct machine m = {};
	struct guest_access g = { &m, self->p + 5 * PAGE, READ };
	pthread_t thread;
	void *err;
	int i;

	ASSERT_EQ(0, machine_start(&m, self->p, SIZE));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&thread, NULL, guest_thread, &g));
		EXPECT_WAITS(self->uffd, g.p);
		self->alias[5 * PAGE] = 'G' + i;
		EXPECT_EQ(PAGE, uffd_continue(self->uffd, g.p, PAGE));
		ASSERT_EQ(0, pthread_join(thread, &err));
		EXPECT_EQ(NULL, err);
		EXPECT_EQ('G' + i, m.byte);
		ASSERT_EQ(0, madvise((void *)g.p, PAGE, MADV_DONTNEED));
	}
	g = (struct guest_access) { &m, self->p + BLOCK + 100, WRITE };
	m.byte = 'W';
	ASSERT_EQ(0, pthread_create(&thread, NULL, guest_thread, &g));
	EXPECT_WAITS_FLAGS(self->uffd, g.p, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(BLOCK, uffd_continue(self->uffd, self->p + BLOCK, BLOCK));
	ASSERT_EQ(0, pthread_join(thread, &err));
	EXPECT_EQ(NULL, err);
	EXPECT_EQ('W', self->alias[BLOCK + 100]);
	EXPECT_EQ(0, machine_run(&m, READ, self->p + 2 * BLOCK - 1));
	EXPECT_FALSE(has_event(self->uffd, 0));
}

static void no_op(int sig)
{
	(void)sig;
}

/* A signal gets a virtual processor out of KVM_RUN. It comes back, and waits again. */
TEST_F(postcopy, guest_signal)
{
	struct sigaction action = { .sa_handler = no_op };
	struct machine m = {};
	struct guest_access g = { &m, self->p + BLOCK, READ };
	pthread_t thread;
	void *err;
	int i;

	sigaction(SIGUSR1, &action, NULL);
	ASSERT_EQ(0, machine_start(&m, self->p, SIZE));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&thread, NULL, guest_thread, &g));
		EXPECT_WAITS(self->uffd, g.p);
		ASSERT_EQ(0, pthread_kill(thread, SIGUSR1));
		ASSERT_EQ(0, pthread_join(thread, &err));
		EXPECT_EQ(-EINTR, (long)err);
		EXPECT_EQ(KVM_EXIT_INTR, m.run->exit_reason);
	}
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, g.p, PAGE));
	EXPECT_EQ(0, machine_run(&m, READ, g.p));
	EXPECT_EQ(2, m.byte);
}

static void *vmrun_thread(void *arg)
{
	struct guest_access *g = arg;
	struct kvm_regs regs = {
		.rip = g->entry,
		.rflags = 2,
		.rax = MEMORY + (g->p - g->m->memory),
	};

	if (ioctl(g->m->cpu, KVM_SET_REGS, &regs) || ioctl(g->m->cpu, KVM_RUN, 0))
		return (void *)(long)-errno;
	return (void *)(long)(g->m->run->exit_reason == KVM_EXIT_HLT ? 0 : -EPROTO);
}

/* KVM pins what the guest has for a guest of its own. It waits before it does. */
TEST_F(postcopy, guest_pin)
{
	volatile uint64_t *code = (volatile uint64_t *)(self->alias + BLOCK + 0x70);
	struct machine m = {};
	struct guest_access g = { &m, self->p + BLOCK, VMRUN };
	pthread_t thread;
	void *err;

	ASSERT_EQ(0, machine_start(&m, self->p, SIZE));
	ASSERT_EQ(0, machine_virtualize(&m, (volatile uint32_t *)(self->alias + 7 * BLOCK),
					MEMORY + 7 * BLOCK, MEMORY + 6 * BLOCK));
	EXPECT_EQ(2 * BLOCK, uffd_continue(self->uffd, self->p + 6 * BLOCK, 2 * BLOCK));
	ASSERT_EQ(0, pthread_create(&thread, NULL, vmrun_thread, &g));
	EXPECT_WAITS_FLAGS(self->uffd, g.p, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, *code);
	EXPECT_EQ(PAGE, uffd_continue(self->uffd, g.p, PAGE));
	ASSERT_EQ(0, pthread_join(thread, &err));
	EXPECT_EQ(0, (long)err);
	/* What is there is no guest: VMEXIT_INVALID. */
	EXPECT_EQ(-1, (int64_t)*code);
}

/* --- races ------------------------------------------------------------------- */

static volatile bool stop;
static long stale;

/*
 * Another process has the contents and answers, by 4 KiB and by 2 MiB: all pages are as it
 * has written them, and never as they were before.
 */
static void serve(int uffd, volatile char *p, volatile char *alias)
{
	unsigned char done[SIZE / PAGE] = {};
	unsigned int rnd = 1;

	for (;;) {
		struct uffd_msg msg = next_event(uffd);
		size_t at, len, i;

		if (msg.event != UFFD_EVENT_PAGEFAULT)
			_exit(1);
		at = msg.arg.pagefault.address - (uintptr_t)p;
		len = PAGE;
		if (rand_r(&rnd) % 8 == 0) {
			at &= ~(BLOCK - 1);
			len = BLOCK;
		}
		for (i = at; i < at + len; i += PAGE)
			if (!done[i / PAGE]++)
				alias[i] = 1 + i / PAGE % 100;
		for (i = at; i < at + len;) {
			long n = uffd_continue(uffd, p + i, at + len - i);

			if (n < 0 && n != -EEXIST)
				_exit(2);
			i += n > 0 ? n : PAGE;
		}
		/* EEXIST does not wake who waits for that page. */
		uffd_wake(uffd, p + at, len);
	}
}

static void *read_thread(void *arg)
{
	volatile char *p = arg;
	unsigned int rnd = (uintptr_t)&rnd;

	while (!stop) {
		size_t page = rand_r(&rnd) % (SIZE / PAGE);
		unsigned char c = p[page * PAGE];

		if (c != 1 + page % 100)
			__atomic_add_fetch(&stale, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

TEST_F(postcopy, other_process)
{
	pthread_t threads[4];
	unsigned int rnd = 1;
	int i, status;
	size_t at;
	pid_t pid;

	for (at = 0; at < SIZE; at += PAGE)
		self->alias[at] = STALE;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		serve(self->uffd, self->p, self->alias);
	stop = false;
	stale = 0;
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, read_thread, (void *)self->p));
	for (i = 0; i < 100 * SECONDS; i++) {
		/* What was dropped comes again, from there. */
		at = rand_r(&rnd) % BLOCKS * BLOCK;
		EXPECT_EQ(0, madvise((void *)(self->p + at), i % 2 ? BLOCK : PAGE, MADV_DONTNEED));
		usleep(10000);
	}
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, stale);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
}

struct storm {
	int fd, uffd;
	volatile char *p;
	int other;
};

static void *storm_touch(void *arg)
{
	struct storm *s = arg;
	unsigned int rnd = (uintptr_t)&rnd;
	char byte = 1;

	while (!stop)
		touch(s->p + rand_r(&rnd) % SIZE, rand_r(&rnd) % 2, &byte);
	return NULL;
}

/* Answers what is asked, and what is not, of all sizes; some of it is not there any more. */
static void *storm_answer(void *arg)
{
	struct storm *s = arg;
	unsigned int rnd = (uintptr_t)&rnd;

	while (!stop) {
		static const size_t sizes[] = { PAGE, 3 * PAGE, BLOCK, SIZE };
		size_t len = sizes[rand_r(&rnd) % 4], at = rand_r(&rnd) % SIZE & ~(PAGE - 1);
		struct uffd_msg msg;

		if (read(s->uffd, &msg, sizeof(msg)) == sizeof(msg))
			at = msg.arg.pagefault.address - (uintptr_t)s->p;
		at &= len < BLOCK ? ~0UL : len == SIZE ? 0UL : ~(BLOCK - 1);
		if (at + len > SIZE)
			len = PAGE;
		uffd_continue(s->uffd, s->p + at, len);
		uffd_wake(s->uffd, s->p, SIZE);
	}
	return NULL;
}

static void *storm_file(void *arg)
{
	struct storm *s = arg;
	unsigned int rnd = (uintptr_t)&rnd;

	while (!stop) {
		size_t at = rand_r(&rnd) % BLOCKS * BLOCK;

		switch (rand_r(&rnd) % 4) {
		case 0:
			if (ftruncate(s->fd, at) || ftruncate(s->fd, SIZE))
				abort();
			break;
		case 2:
			/* Nothing else changes the size. */
			if (exchange(s->fd, s->other, at))
				abort();
			break;
		case 1:
			punch(s->fd, at);
			break;
		default:
			fallocate(s->fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
		}
	}
	return NULL;
}

static void *storm_mapping(void *arg)
{
	struct storm *s = arg;
	unsigned int rnd = (uintptr_t)&rnd;
	pid_t pid;

	while (!stop) {
		size_t at = rand_r(&rnd) % BLOCKS * BLOCK;
		void *p = (void *)(s->p + at);

		switch (rand_r(&rnd) % 6) {
		case 0:
			madvise(p, rand_r(&rnd) % 2 ? PAGE : BLOCK, MADV_DONTNEED);
			break;
		case 1:
			mprotect(p, BLOCK, PROT_READ);
			mprotect((void *)s->p, SIZE, PROT_READ | PROT_WRITE);
			break;
		case 2:
			uffd_unregister(s->uffd, p, BLOCK);
			break;
		case 3:
			mmap(p, BLOCK, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED | MAP_NORESERVE, s->fd, at);
			break;
		case 4:
			pid = fork();
			if (!pid)
				_exit(0);
			waitpid(pid, NULL, 0);
			break;
		default:
			madvise(p, BLOCK, rand_r(&rnd) % 2 ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
		}
		uffd_register(s->uffd, s->p, SIZE, UFFDIO_REGISTER_MODE_MINOR);
	}
	return NULL;
}

/* All that can be done to the file and to the mapping, while accesses wait and are answered. */
TEST_F(postcopy, storm)
{
	void *(*const jobs[])(void *) = {
		storm_touch, storm_touch, storm_touch, storm_answer, storm_answer, storm_file,
		storm_mapping,
	};
	struct storm s = { self->fd, self->uffd, self->p, open(".", O_TMPFILE | O_RDWR, 0600) };
	pthread_t threads[ARRAY_SIZE(jobs)];
	size_t i, n = ARRAY_SIZE(jobs);

	ASSERT_LE(0, s.other);
	ASSERT_EQ(0, ftruncate(s.other, SIZE));
	stop = false;
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, jobs[i], &s));
	sleep(SECONDS);
	stop = true;
	for (i = 3; i < n; i++)
		pthread_join(threads[i], NULL);
	/* Who waits goes on, as there is no registration any more. */
	close(self->uffd);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	self->uffd = -1;
}

TEST_HARNESS_MAIN
