// SPDX-License-Identifier: GPL-2.0
/*
 * Machine checks of memory of a file, as a processor raises them. Runs in a
 * directory of guestmemfs, which GMFS_DIR names. GMFS_MONITOR is a port to who
 * has the monitor of the QEMU that this machine runs in (test_poison.py): its
 * command mce sets the registers of a processor and interrupts it. There are
 * two processors.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "blocks.h"
#include "kselftest_harness.h"

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define SIZE	(4 * BLOCK)
#define BAD	(BLOCK + 9 * PAGE)

/* Intel's manual, volume 3, "Architectural MCA error codes", and MCi_STATUS. */
#define STATUS_AO	0xbd000000000000c0ULL	/* found by the memory scrubber */
#define STATUS_AR	0xbd80000000000134ULL	/* data load */
#define MCG_RUNNING	0x5			/* MCIP, RIPV */
#define MCG_AT_IP	0x7			/* and EIPV */
#define MISC_PAGE	0x8c			/* a physical address, good to 4 KiB */

/*
 * The other processor takes part, as with those that have such checks. One that
 * consumes an error has to be in user mode then: an interrupt handler of the
 * kernel that did would be the end of the machine.
 */
static int machine_check(uint64_t status, uint64_t phys)
{
	int fd = open(getenv("GMFS_MONITOR"), O_WRONLY);
	bool consumed = status == STATUS_AR;
	char text[128];
	int len = snprintf(text, sizeof(text), "%s 1 mce -b 1 9 %#llx %#x %#llx %#x\n",
			   consumed ? "user" : "any", (unsigned long long)status,
			   consumed ? MCG_AT_IP : MCG_RUNNING,
			   (unsigned long long)phys, MISC_PAGE);
	int err = write(fd, text, len) == len ? 0 : -1;

	close(fd);
	return err;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* How a child ends that does nothing but read @p. */
static int reader_status(volatile char *p)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		(void)*p;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

FIXTURE(mce) {
	int fd;
	volatile char *p;
};

FIXTURE_SETUP(mce)
{
	sigset_t set;
	int i;

	ASSERT_EQ(0, chdir(getenv("GMFS_DIR")));
	self->fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	self->p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->p);
	for (i = 0; i < 4; i++)
		self->p[i * BLOCK] = i + 1;
	pin(0);
	/* For sigtimedwait(), until children are to be killed by it. */
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

FIXTURE_TEARDOWN(mce)
{
	unlink("file");
}

/* Nobody reads the page: who asked for it hears of it, as QEMU does. */
TEST_F(mce, action_optional)
{
	struct timespec patience = { .tv_sec = 60 };
	siginfo_t info;
	sigset_t set;
	int i;

	ASSERT_EQ(0, prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	ASSERT_EQ(0, machine_check(STATUS_AO, phys_of(self->fd, BAD)));
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	ASSERT_EQ(SIGBUS, sigtimedwait(&set, &info, &patience));
	EXPECT_EQ(BUS_MCEERR_AO, info.si_code);
	EXPECT_EQ((void *)(self->p + BAD), info.si_addr);
	EXPECT_EQ(12, info.si_addr_lsb);

	for (i = 0; i < 4; i++)
		EXPECT_EQ(i + 1, self->p[i * BLOCK]);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	EXPECT_EQ(SIGBUS, WTERMSIG(reader_status(self->p + BAD)));
	EXPECT_EQ(0, reader_status(self->p + BAD + PAGE));
}

static volatile char *reading;
static int report[2];

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (write(report[1], info, sizeof(*info)) != sizeof(*info))
		_exit(2);
	_exit(1);
}

/* A processor consumes the error: who ran there is told which address it was. */
TEST_F(mce, action_required)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	siginfo_t info;
	sigset_t set;
	int status;
	pid_t pid;

	ASSERT_EQ(0, pipe(report));
	reading = self->p + BAD;
	pid = fork();
	if (!pid) {
		sigaction(SIGBUS, &action, NULL);
		sigemptyset(&set);
		sigaddset(&set, SIGBUS);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		pin(1);
		info.si_signo = 0;
		if (write(report[1], &info, sizeof(info)) != sizeof(info))
			_exit(3);
		while (1)
			(void)*reading;
	}
	ASSERT_EQ(sizeof(info), read(report[0], &info, sizeof(info)));
	ASSERT_EQ(0, info.si_signo);
	ASSERT_EQ(0, machine_check(STATUS_AR, phys_of(self->fd, BAD)));
	ASSERT_EQ(sizeof(info), read(report[0], &info, sizeof(info)));
	EXPECT_EQ(SIGBUS, info.si_signo);
	EXPECT_EQ(BUS_MCEERR_AR, info.si_code);
	EXPECT_EQ((unsigned long)reading, (unsigned long)info.si_addr & -PAGE);
	EXPECT_EQ(12, info.si_addr_lsb);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(1, WEXITSTATUS(status));
}

/* A page that no file has: nobody is told, and nobody gets the block. */
TEST_F(mce, free_block)
{
	uint64_t phys = phys_of(self->fd, BAD);
	long before;
	int i;

	munmap((void *)self->p, SIZE);
	ASSERT_EQ(0, ftruncate(self->fd, 0));
	before = free_blocks();
	ASSERT_EQ(0, machine_check(STATUS_AO, phys));
	for (i = 0; i < 600 && free_blocks() == before; i++)
		usleep(100000);
	EXPECT_EQ(before - 1, free_blocks());
}

TEST_HARNESS_MAIN
