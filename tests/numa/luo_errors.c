// SPDX-License-Identifier: GPL-2.0
/*
 * Files that LUO cannot give back at first: what was preserved has to stay, and a
 * later attempt, or the end of the session, has to find it.
 *
 * usage: luo_errors 1|2|3|4|5 DIR
 *
 * Stage 1 preserves files of the node that is mounted at DIR, and leaves a process
 * behind that has the sessions open. Stage 2, in the next kernel, finds DIR not
 * mounted, and the allocator's fault injection set up for fail-nth. Stages 3 and 4 are
 * the same for a policy of SELinux that lets new files of DIR not be opened once it is
 * enforced. Stage 5 follows stage 2, in a process of its own, since the pool is reset. It
 * needs two CPUs.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libliveupdate.h>

#define BLOCK		(2UL << 20)
/*
 * Sessions with one file each, which is not asked for. Half of them are finished, the
 * others end with the task that has them open.
 */
#define UNASKED		20
/* More allocations than a retrieval makes. */
#define MOST_POINTS	200
/* Allocations that fail while workers drop what was not asked for, and how likely each. */
#define WORKER_FAILS	"40"
#define WORKER_PERCENT	"10"

enum { WRITABLE = 1, READABLE, SHORT_OF_MEMORY, RESET };

static const char *dir;

static int make(int flags, int seed)
{
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600), again;
	char path[64], *p;

	if (fd < 0 || ftruncate(fd, BLOCK))
		fail_exit("file in %s", dir);
	p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		fail_exit("mmap");
	memset(p, seed, BLOCK);
	munmap(p, BLOCK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags);
	if (again < 0)
		fail_exit("%s", path);
	close(fd);
	return again;
}

static void check(int fd, int seed)
{
	char *p = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, 0);
	size_t i;

	if (p == MAP_FAILED)
		fail_exit("mmap");
	for (i = 0; i < BLOCK; i++)
		if (p[i] != seed)
			ksft_exit_fail_msg("file %d differs at byte %zu\n", seed, i);
	munmap(p, BLOCK);
}

static void preserve(int session, int flags, int token)
{
	int err = luo_session_preserve_fd(session, make(flags, token), token);

	if (err)
		ksft_exit_fail_msg("file %d cannot be preserved: %d\n", token, err);
}

static void mount_node(unsigned long flags, const char *options)
{
	if (mount("none", dir, "guestmemfs", flags, options))
		fail_exit("mount of %s with %s", dir, options);
}

static void umount_node(void)
{
	if (umount(dir))
		fail_exit("umount of %s", dir);
}

static void expect_used(unsigned long blocks, const char *what)
{
	struct statfs st;
	int tries;

	mount_node(0, "node=0");
	/* Deleted files are freed by the last put, which may be on its way. */
	for (tries = 0; tries < 100; tries++) {
		if (statfs(dir, &st))
			fail_exit("statfs");
		if (st.f_blocks - st.f_bfree == blocks)
			break;
		usleep(50000);
	}
	if (st.f_blocks - st.f_bfree != blocks)
		ksft_exit_fail_msg("%s: %lu blocks are used, should be %lu\n", what,
				   (unsigned long)(st.f_blocks - st.f_bfree), blocks);
	umount_node();
}

static void let_fail(int fail_nth, int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", nth);
	if (pwrite(fail_nth, text, strlen(text), 0) < 0)
		fail_exit("fail-nth");
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fail_exit("%s to %s", text, path);
	close(fd);
}

/* Allocations of all workers fail, those of workers that are not there yet too. */
static void let_workers_fail(void)
{
	char path[300], comm[32];
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	FILE *f;

	while ((entry = readdir(proc))) {
		if (!isdigit(entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f) &&
		    (!strncmp(comm, "kworker/", 8) || !strcmp(comm, "kthreadd\n"))) {
			snprintf(path, sizeof(path), "/proc/%s/make-it-fail", entry->d_name);
			write_text(path, "1");
		}
		fclose(f);
	}
	closedir(proc);
	write_text("/sys/kernel/debug/failslab/task-filter", "Y");
	write_text("/sys/kernel/debug/failslab/times", WORKER_FAILS);
	/* With the stack of each. */
	write_text("/sys/kernel/debug/failslab/verbose", "2");
	write_text("/sys/kernel/debug/failslab/probability", WORKER_PERCENT);
}

static int create(int luo, const char *name)
{
	int session = luo_create_session(luo, name);

	if (session < 0)
		fail_exit("session %s", name);
	return session;
}

static int reopen(int luo, const char *name)
{
	int session = luo_retrieve_session(luo, name);

	if (session < 0)
		fail_exit("session %s", name);
	return session;
}

static void set_frozen(bool frozen)
{
	write_text("/sys/fs/guestmemfs/node0/frozen", frozen ? "1" : "0");
}

static void set_enforced(bool enforced)
{
	write_text("/sys/fs/selinux/enforce", enforced ? "1" : "0");
}

static void expect_no_reset(void)
{
	int fd = open("/sys/fs/guestmemfs/node0/discard", O_WRONLY);

	if (fd < 0 || write(fd, "node0", 5) >= 0 || errno != EBUSY)
		fail_exit("discard of a node with a retrieved file");
	close(fd);
}

/*
 * A frozen node keeps no session waiting, for a kexec would wait for the session. The
 * node stays frozen over the kexec.
 */
static void preserve_frozen(int luo)
{
	int session = create(luo, "frozen"), given_up = create(luo, "given-up");
	int file = make(O_RDWR, 100), err;

	preserve(session, O_RDWR, 100);
	preserve(given_up, O_RDWR, 100);
	set_frozen(true);
	err = luo_session_preserve_fd(session, file, 101);
	if (err != -EBUSY)
		ksft_exit_fail_msg("preserve on a frozen node: %d\n", err);
	/* The files stay open: the last close of a deleted one does wait for the thaw. */
	alarm(60);
	close(given_up);
	alarm(0);
}

static void finish_frozen(int luo)
{
	int session = reopen(luo, "frozen");

	alarm(60);
	if (luo_session_finish(session))
		fail_exit("finish on a frozen node");
	close(session);
	alarm(0);
	expect_used(5 + UNASKED, "a frozen node frees nothing");
	set_frozen(false);
	expect_used(4 + UNASKED, "the node is thawed");
}

static void run_stage_1(int luo)
{
	int session = create(luo, "errors"), i;
	char name[16];

	/* The first file of the pool, see stage 5. */
	preserve(create(luo, "reset"), O_RDWR, RESET);
	preserve(session, O_RDWR, WRITABLE);
	preserve(session, O_RDONLY, READABLE);
	preserve(session, O_RDWR, SHORT_OF_MEMORY);
	for (i = 0; i < UNASKED; i++) {
		snprintf(name, sizeof(name), "unasked-%d", i);
		preserve(create(luo, name), O_RDWR, 100);
	}
	preserve_frozen(luo);
	daemonize_and_wait();
}

static void end_session(int luo, int nth)
{
	char name[16];
	int session, status;
	pid_t pid;

	snprintf(name, sizeof(name), "unasked-%d", nth);
	if (nth < UNASKED / 2) {
		session = reopen(luo, name);
		if (luo_session_finish(session))
			fail_exit("finish %d", nth);
		close(session);
		return;
	}
	pid = fork();
	if (!pid) {
		reopen(luo, name);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		fail_exit("session %d ends with status %#x", nth, status);
}

static void run_stage_2(int luo)
{
	int fail_nth = open("/proc/self/fail-nth", O_RDWR);
	unsigned long used = 4 + UNASKED;
	int session, fd, nth, failed = 0;

	if (fail_nth < 0)
		fail_exit("fail-nth");
	finish_frozen(luo);
	session = reopen(luo, "errors");

	/* A node that is mounted for reading only, and then is not. */
	mount_node(MS_RDONLY, "node=0");
	fd = luo_session_retrieve_fd(session, WRITABLE);
	if (fd != -EROFS)
		ksft_exit_fail_msg("a file for writing, of a read-only mount: %d\n", fd);
	umount_node();
	expect_used(used, "after a retrieval that failed");

	/* Each allocation of a retrieval fails once. */
	for (nth = 1; nth < MOST_POINTS; nth++) {
		let_fail(fail_nth, nth);
		fd = luo_session_retrieve_fd(session, SHORT_OF_MEMORY);
		let_fail(fail_nth, 0);
		if (fd >= 0)
			break;
		if (fd != -ENOMEM && fd != -ENFILE)
			ksft_exit_fail_msg("point %d: error %d\n", nth, fd);
		failed++;
	}
	if (nth == MOST_POINTS || failed < 1)
		ksft_exit_fail_msg("%d of %d attempts failed\n", failed, nth);
	check(fd, SHORT_OF_MEMORY);
	expect_no_reset();

	/* The mount of LUO has decided nothing: these are an administrator's options. */
	mount_node(0, "node=0,prefault,nr_inodes=1000,mode=750");
	if (system("grep -q 'guestmemfs .*prefault,nr_inodes=1000,mode=750' /proc/mounts"))
		ksft_exit_fail_msg("options of the first mount are not taken\n");
	/* And for the next one they count. */
	if (!mount("none", "/tmp", "guestmemfs", 0, "node=0,noprefault") || errno != EBUSY)
		ksft_exit_fail_msg("options of the second mount are taken\n");
	check(luo_session_retrieve_fd(session, WRITABLE), WRITABLE);
	check(luo_session_retrieve_fd(session, READABLE), READABLE);
	umount_node();

	let_workers_fail();
	for (nth = 0; nth < UNASKED; nth++)
		end_session(luo, nth);
	expect_used(4, "sessions are finished");
	if (luo_session_finish(session))
		fail_exit("finish");
	close(session);
}

static void run_stage_3(int luo)
{
	int session = create(luo, "refused");

	preserve(session, O_RDWR, WRITABLE);
	preserve(session, O_RDWR, READABLE);
	daemonize_and_wait();
}

static void expect_refused(int session, int token)
{
	int fd;

	set_enforced(true);
	fd = luo_session_retrieve_fd(session, token);
	set_enforced(false);
	if (fd != -EACCES)
		ksft_exit_fail_msg("retrieval that SELinux refuses: %d\n", fd);
}

static void run_stage_4(int luo)
{
	int session = reopen(luo, "refused");

	expect_refused(session, WRITABLE);
	check(luo_session_retrieve_fd(session, WRITABLE), WRITABLE);
	/* This one is not asked for again. */
	expect_refused(session, READABLE);
	if (luo_session_finish(session))
		fail_exit("finish");
	close(session);
}

/* Threads of stage 5 that share a CPU, the retriever with the higher priority. */
#define RESET_CPU	1
#define HOG_PRIORITY	1
#define RETRIEVER_PRIORITY	2

static atomic_bool hog_runs, hog_ends;
static atomic_int retriever;
static int reset_session, retrieved;

static void go_to(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		fail_exit("CPU %d", cpu);
}

static void become_realtime(int priority)
{
	const struct sched_param param = { .sched_priority = priority };

	/* In this order: else the hog would keep the retriever from what follows. */
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		fail_exit("priority %d", priority);
	go_to(RESET_CPU);
}

/* Keeps the workers of its CPU from running. */
static void *run_hog(void *unused)
{
	(void)unused;
	become_realtime(HOG_PRIORITY);
	hog_runs = true;
	while (!hog_ends)
		;
	return NULL;
}

static void *run_retriever(void *unused)
{
	(void)unused;
	become_realtime(RETRIEVER_PRIORITY);
	retriever = syscall(SYS_gettid);
	retrieved = luo_session_retrieve_fd(reset_session, RESET);
	return NULL;
}

/* Until a retrieval that has found the pool waits for the worker that mounts it. */
static void await_retriever(void)
{
	char path[64], where[64] = "nothing";
	int tries, fd;
	ssize_t len;

	for (tries = 0; tries < 1000; tries++) {
		usleep(10000);
		if (!retriever)
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", retriever);
		fd = open(path, O_RDONLY);
		len = read(fd, where, sizeof(where) - 1);
		close(fd);
		if (len < 0)
			fail_exit("%s", path);
		where[len] = '\0';
		if (strstr(where, "flush_work"))
			return;
	}
	ksft_exit_fail_msg("the retrieval waits in %s, should be for a worker\n", where);
}

/*
 * A reset of the pool comes between the look at the pool's identity and the mount. The
 * first file of the new pool has inode number and generation of the one that was
 * preserved, and must not be given to the owner of that one.
 */
static void run_stage_5(int luo)
{
	pthread_t hog, thread;
	struct stat st;
	int fd;

	reset_session = reopen(luo, "reset");
	/* New threads start where this one is. */
	go_to(0);
	write_text("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	write_text("/sys/kernel/debug/sched/fair_server/cpu1/runtime", "0");
	if (pthread_create(&hog, NULL, run_hog, NULL))
		fail_exit("hog");
	while (!hog_runs)
		usleep(1000);
	if (pthread_create(&thread, NULL, run_retriever, NULL))
		fail_exit("retriever");
	await_retriever();

	write_text("/sys/fs/guestmemfs/node0/discard", "node0");
	mount_node(0, "node=0");
	fd = open(dir, O_TMPFILE | O_RDWR, 0600);
	if (fd < 0 || fstat(fd, &st))
		fail_exit("file of another owner");
	hog_ends = true;
	pthread_join(thread, NULL);
	pthread_join(hog, NULL);
	if (retrieved != -ENODEV)
		ksft_exit_fail_msg("retrieval from a pool that was reset: %d, inode %ju\n",
				   retrieved, (uintmax_t)st.st_ino);

	/* Neither does the end of the session touch the file. */
	if (luo_session_finish(reset_session))
		fail_exit("finish");
	close(reset_session);
	if (ftruncate(fd, BLOCK))
		fail_exit("ftruncate");
	close(fd);
	umount_node();
}

int main(int argc, char **argv)
{
	int luo = luo_open_device();

	if (argc != 3)
		ksft_exit_fail_msg("usage: luo_errors 1|2|3|4|5 DIR\n");
	if (luo < 0)
		fail_exit("%s", LUO_DEVICE);
	dir = argv[2];
	switch (*argv[1]) {
	case '1':
		run_stage_1(luo);
		break;
	case '2':
		run_stage_2(luo);
		break;
	case '3':
		run_stage_3(luo);
		break;
	case '4':
		run_stage_4(luo);
		break;
	default:
		run_stage_5(luo);
	}
	printf("stage %s passed\n", argv[1]);
	return 0;
}
