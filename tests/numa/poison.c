// SPDX-License-Identifier: GPL-2.0
/*
 * Memory errors in a file that is mapped, by processes and into virtual machines
 * of KVM. Runs in a directory of guestmemfs, which GMFS_DIR names; a page fails
 * when its address is written to hard_offline_page in sysfs, which is what a
 * machine check does.
 *
 * Blocks that have failed are lost for good: each test costs some.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/futex.h>
#include <linux/kvm.h>

#include "blocks.h"
#include "flat.h"
#include "kselftest_harness.h"

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define BLOCKS	8
#define SIZE	(BLOCKS * BLOCK)

static sigjmp_buf back;
static siginfo_t bus;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	bus = *info;
	siglongjmp(back, 1);
}

/* What a read of @p brings: 0, or the si_code of the SIGBUS. */
static int touch(volatile char *p)
{
	bus.si_code = 0;
	if (!sigsetjmp(back, 1))
		(void)*p;
	return bus.si_code;
}

static int fail_phys(uint64_t phys)
{
	int fd = open("/sys/devices/system/memory/hard_offline_page", O_WRONLY);
	char text[32];
	int len = snprintf(text, sizeof(text), "%#llx", (unsigned long long)phys);
	int err = write(fd, text, len) == len ? 0 : errno;

	close(fd);
	return err;
}

/*
 * What an access of the guest to @p brings: 0, the si_code of the SIGBUS, or
 * -errno of KVM_RUN. m->byte is what is read or written.
 */
static int machine_touch(struct machine *m, unsigned long entry, volatile char *p)
{
	memset(&bus, 0, sizeof(bus));
	if (sigsetjmp(back, 1))
		return bus.si_code;
	return machine_run(m, entry, p);
}

/* The page at @bad is refused to the guest, and the VMM hears of that very page. */
static void machine_expect_refused(struct __test_metadata *_metadata, struct machine *m,
				   volatile char *bad)
{
	unsigned long entries[] = { READ, WRITE };
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(BUS_MCEERR_AR, machine_touch(m, entries[i], bad + 100));
		EXPECT_EQ((void *)bad, bus.si_addr);
		EXPECT_EQ(12, bus.si_addr_lsb);
	}
}

/* The guest reads @byte at @p, and can write there. */
static void machine_expect_served(struct __test_metadata *_metadata, struct machine *m,
				  volatile char *p, uint8_t byte)
{
	m->byte = 0;
	EXPECT_EQ(0, machine_touch(m, READ, p));
	EXPECT_EQ(byte, m->byte);
	m->byte = ~byte;
	EXPECT_EQ(0, machine_touch(m, WRITE, p));
	EXPECT_EQ((char)~byte, *p);
}

FIXTURE(poison) {
	int fd;
	volatile char *p;
};

FIXTURE_SETUP(poison)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	int i;

	sigaction(SIGBUS, &action, NULL);
	ASSERT_EQ(0, chdir(getenv("GMFS_DIR")));
	self->fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	self->p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->p);
	for (i = 0; i < BLOCKS; i++)
		self->p[i * BLOCK] = i + 1;
}

FIXTURE_TEARDOWN(poison)
{
	close(self->fd);
	unlink("file");
}

/* Who causes the error hears of it at once, and of the very page. */
TEST_F(poison, signal_and_address)
{
	volatile char *bad = self->p + 3 * BLOCK + 5 * PAGE;
	int i;

	bus.si_code = 0;
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 3 * BLOCK + 5 * PAGE));
	EXPECT_EQ(BUS_MCEERR_AR, bus.si_code);
	EXPECT_EQ((void *)bad, bus.si_addr);
	EXPECT_EQ(12, bus.si_addr_lsb);

	/* And again each time that it is touched. */
	EXPECT_EQ(BUS_MCEERR_AR, touch(bad + 100));
	EXPECT_EQ((unsigned long)bad, (unsigned long)bus.si_addr & -PAGE);
	EXPECT_EQ(12, bus.si_addr_lsb);

	/* All other pages are as they were. */
	for (i = 0; i < BLOCKS; i++)
		EXPECT_EQ(i + 1, self->p[i * BLOCK]);
	EXPECT_EQ(0, touch(bad - PAGE));
	EXPECT_EQ(0, touch(bad + PAGE));
	bad[PAGE] = 77;
	EXPECT_EQ(77, bad[PAGE]);
}

/* To populate it is an error, as to touch it is; to drop it is none. */
TEST_F(poison, advice)
{
	char *block = (char *)self->p + 3 * BLOCK;

	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 3 * BLOCK + 5 * PAGE));
	EXPECT_EQ(-1, madvise(block, BLOCK, MADV_POPULATE_READ));
	EXPECT_EQ(EHWPOISON, errno);
	EXPECT_EQ(-1, madvise((char *)self->p, BLOCKS * BLOCK, MADV_POPULATE_WRITE));
	EXPECT_EQ(EHWPOISON, errno);
	EXPECT_EQ(0, madvise(block, 5 * PAGE, MADV_POPULATE_WRITE));
	EXPECT_EQ(0, madvise(block + 6 * PAGE, BLOCK - 6 * PAGE, MADV_POPULATE_WRITE));
	EXPECT_EQ(0, madvise(block, BLOCK, MADV_DONTNEED));
	EXPECT_EQ(BUS_MCEERR_AR, touch(block + 5 * PAGE));
	EXPECT_EQ(4, block[0]);
}

/* Another process hears of it when it touches the page, or early if it asks. */
TEST_F(poison, other_process)
{
	int status, ready[2], done[2];
	volatile int early;
	pid_t pid;
	char c;

	for (early = 0; early < 2; early++) {
		uint64_t at = (4 + early) * BLOCK;

		ASSERT_EQ(0, pipe(ready));
		ASSERT_EQ(0, pipe(done));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			volatile int code = 0;

			if (early)
				prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
			touch(self->p + at);
			bus.si_code = 0;
			if (!sigsetjmp(back, 1)) {
				if (write(ready[1], "", 1) != 1 || read(done[0], &c, 1) != 1)
					_exit(100);
			}
			code = bus.si_code;
			if (early && code != BUS_MCEERR_AO)
				_exit(10 + code);
			if (early && bus.si_addr != (void *)(self->p + at))
				_exit(101);
			_exit(touch(self->p + at));
		}
		ASSERT_EQ(1, read(ready[0], &c, 1));
		/* This one maps it too, and causes it. */
		munmap((void *)(self->p + at), BLOCK);
		EXPECT_EQ(0, fail_phys(phys_of(self->fd, at)));
		ASSERT_EQ(1, write(done[1], "", 1));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		EXPECT_EQ(BUS_MCEERR_AR, WEXITSTATUS(status));
		close(ready[0]);
		close(ready[1]);
		close(done[0]);
		close(done[1]);
	}
}

/* A block that has failed does not become free with the others. */
TEST_F(poison, not_given_out_again)
{
	long free = free_blocks();

	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 2 * BLOCK));
	EXPECT_EQ(free, free_blocks());
	/* Twice is once. */
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 2 * BLOCK));
	EXPECT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK,
			       2 * BLOCK));
	EXPECT_EQ(free + 1, free_blocks());
	/* The hole gets other blocks, and the same page is good again. */
	EXPECT_EQ(0, touch(self->p + 2 * BLOCK));
	EXPECT_EQ(0, self->p[2 * BLOCK]);
	EXPECT_EQ(0, ftruncate(self->fd, 0));
	EXPECT_EQ(free + 7, free_blocks());
}

/* A free block is taken away, and nobody is signalled. */
TEST_F(poison, free_block)
{
	uint64_t phys = phys_of(self->fd, 7 * BLOCK);
	long free;

	ASSERT_EQ(0, ftruncate(self->fd, 7 * BLOCK));
	free = free_blocks();
	EXPECT_EQ(0, fail_phys(phys + 9 * PAGE));
	EXPECT_EQ(free - 1, free_blocks());
	EXPECT_EQ(0, fail_phys(phys + 10 * PAGE));
	EXPECT_EQ(free - 1, free_blocks());
	EXPECT_EQ(0, ftruncate(self->fd, (7 + free - 1) * BLOCK));
	EXPECT_EQ(0, free_blocks());
	EXPECT_EQ(-1, ftruncate(self->fd, (7 + free) * BLOCK));
	EXPECT_EQ(ENOSPC, errno);
}

/* What the kernel itself writes into a file leaves the page out. */
TEST_F(poison, truncate_within)
{
	volatile char *block = self->p + BLOCK;

	block[4 * PAGE] = 1;
	block[6 * PAGE] = 1;
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, BLOCK + 5 * PAGE));
	EXPECT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       BLOCK + 4 * PAGE, 3 * PAGE));
	EXPECT_EQ(0, block[4 * PAGE]);
	EXPECT_EQ(0, block[6 * PAGE]);
	EXPECT_EQ(BUS_MCEERR_AR, touch(block + 5 * PAGE));
}

static void fail_own(uint64_t phys)
{
	if (!sigsetjmp(back, 1))
		fail_phys(phys);
}

struct populate {
	char *page;
	volatile bool *stop;
	int error;
};

/* Populates a page as long as that works, and drops all around it. */
static void *populate_thread(void *arg)
{
	struct populate *p = arg;
	char *block = (char *)((unsigned long)p->page & -BLOCK);

	while (!*p->stop && !p->error) {
		madvise(block, BLOCK, MADV_DONTNEED);
		if (madvise(p->page, PAGE, MADV_POPULATE_WRITE))
			p->error = errno;
	}
	return NULL;
}

/*
 * A block that has failed is mapped by pages, and the next block in its place as a whole. A
 * fault that wants a page finds the whole that another one has mapped. That is no error.
 */
TEST_F(poison, replaced)
{
	struct populate threads[4];
	pthread_t ids[ARRAY_SIZE(threads)];
	volatile bool stop;
	char *block = (char *)self->p + BLOCK;
	int i, try;

	ASSERT_EQ(0, (unsigned long)block % BLOCK);
	for (try = 0; try < 12; try++) {
		fail_own(phys_of(self->fd, BLOCK));
		stop = false;
		for (i = 0; i < (int)ARRAY_SIZE(threads); i++) {
			threads[i] = (struct populate){ block + (i + 1) * PAGE, &stop, 0 };
			ASSERT_EQ(0, pthread_create(&ids[i], NULL, populate_thread, &threads[i]));
		}
		usleep(50000);
		EXPECT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       BLOCK, BLOCK));
		usleep(50000);
		stop = true;
		for (i = 0; i < (int)ARRAY_SIZE(threads); i++) {
			pthread_join(ids[i], NULL);
			EXPECT_EQ(0, threads[i].error);
		}
	}
}

/* A guest is refused that page alone, and its VMM can tell it why. */
TEST_F(poison, guest)
{
	volatile char *bad = self->p + 3 * BLOCK + 5 * PAGE;
	struct machine m;
	int i;

	ASSERT_EQ(0, machine_start(&m, self->p, SIZE));
	bad[-PAGE] = 33;
	bad[PAGE] = 44;
	EXPECT_EQ(0, machine_touch(&m, READ, bad));
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 3 * BLOCK + 5 * PAGE));
	machine_expect_refused(_metadata, &m, bad);
	machine_expect_served(_metadata, &m, bad - PAGE, 33);
	machine_expect_served(_metadata, &m, bad + PAGE, 44);
	for (i = 0; i < BLOCKS; i++)
		machine_expect_served(_metadata, &m, self->p + i * BLOCK, i + 1);
}

/* That is as it is for memory with struct pages. */
TEST(memfd_of_a_guest)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	int fd = memfd_create("memory", 0);
	struct machine m;
	volatile char *p;

	sigaction(SIGBUS, &action, NULL);
	ASSERT_EQ(0, ftruncate(fd, 3 * PAGE));
	p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, machine_start(&m, p, 3 * PAGE));
	p[0] = 33;
	p[PAGE] = 44;
	p[2 * PAGE] = 55;
	EXPECT_EQ(0, machine_touch(&m, READ, p + PAGE));
	if (!sigsetjmp(back, 1))
		ASSERT_EQ(0, madvise((void *)(p + PAGE), PAGE, MADV_HWPOISON));
	machine_expect_refused(_metadata, &m, p + PAGE);
	machine_expect_served(_metadata, &m, p, 33);
	machine_expect_served(_metadata, &m, p + 2 * PAGE, 55);
}

/* A futex in the page is EFAULT, as one in memory that is not there. */
TEST_F(poison, futex)
{
	volatile char *bad = self->p + 3 * BLOCK;

	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(self->fd, 3 * BLOCK));
	EXPECT_EQ(-1, syscall(SYS_futex, bad, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	EXPECT_EQ(EFAULT, errno);
}

static long number_in(const char *path)
{
	FILE *f = fopen(path, "r");
	long n = -1;

	if (f) {
		if (fscanf(f, "%ld", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

/* A gigabyte leaf: all but the page goes on, by smaller leaves, in a guest too. */
TEST(gigabyte)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	unsigned long gib = 512 * BLOCK;
	struct machine m;
	volatile char *p;
	int fd;

	sigaction(SIGBUS, &action, NULL);
	ASSERT_EQ(0, chdir(getenv("GMFS_DIR")));
	fd = open("gib", O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, gib));
	p = mmap(NULL, gib, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	p[gib - 1] = 55;
	p[100 * BLOCK] = 66;
	ASSERT_EQ(0, machine_start(&m, p, gib));
	EXPECT_EQ(0, machine_touch(&m, READ, p));
	EXPECT_EQ(1, number_in("/sys/kernel/debug/kvm/pages_1g"));
	if (!sigsetjmp(back, 1))
		fail_phys(phys_of(fd, 100 * BLOCK + PAGE));
	EXPECT_EQ((void *)(p + 100 * BLOCK + PAGE), bus.si_addr);
	EXPECT_EQ(BUS_MCEERR_AR, touch(p + 100 * BLOCK + PAGE));
	EXPECT_EQ(55, p[gib - 1]);
	EXPECT_EQ(66, p[100 * BLOCK]);
	machine_expect_refused(_metadata, &m, p + 100 * BLOCK + PAGE);
	machine_expect_served(_metadata, &m, p + 100 * BLOCK, 66);
	machine_expect_served(_metadata, &m, p + 100 * BLOCK + 2 * PAGE, 0);
	machine_expect_served(_metadata, &m, p + gib - 1, 55);
	EXPECT_EQ(0, number_in("/sys/kernel/debug/kvm/pages_1g"));
	close(fd);
	unlink("gib");
}

TEST_HARNESS_MAIN
