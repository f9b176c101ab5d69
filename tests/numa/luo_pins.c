// SPDX-License-Identifier: GPL-2.0
/*
 * Files that a device has and LUO preserves, over a kexec.
 *
 * usage: luo_pins 1|2|3|4 DIR NODE DEVICE GROUP CDEV
 *
 * Stage 1 begins a kexec that fails, of a kernel that is loaded, and leaves a process
 * behind that has the session and the device open. Stage 2,
 * in the next kernel, ends with the device's memory given back and all files gone but
 * "again", which is preserved and pinned for the kernel after it. Stage 3 finds
 * that one. Stage 4 is in place of stage 2, where the node can only be read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <libliveupdate.h>

#include "blocks.h"
#include "device.h"

#define IOVA_SINK	0x10000000UL
#define IOVA_KEPT	0x40000000UL
#define IOVA_NAMELESS	0x50000000UL
#define IOVA_OTHERS	0x60000000UL
#define IOVA_LATE	0x70000000UL

#define HOLD		"/sys/kernel/debug/guestmemfs/hold_luo_freeze"

/* The device has the two blocks in the middle of the first. */
#define KEPT_BLOCKS	4UL
#define NAMELESS_BLOCKS	2UL

enum { KEPT = 1, NAMELESS, UNPINNED, AGAIN };

static const char *dir, *node;
static struct device device;
static char *sink;

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int make(const char *name, size_t blocks)
{
	int fd = open(path_of(name), O_RDWR | O_CREAT | O_EXCL, 0600);

	if (fd < 0 || ftruncate(fd, blocks * BLOCK))
		fail_exit("%s", path_of(name));
	return fd;
}

static void forget(const char *name)
{
	if (unlink(path_of(name)))
		fail_exit("unlink of %s", path_of(name));
}

static void preserve(int session, int fd, int token)
{
	int err = luo_session_preserve_fd(session, fd, token);

	if (err)
		ksft_exit_fail_msg("file %d cannot be preserved: %d\n", token, err);
}

static long pinned_blocks(void)
{
	char path[128];
	long now;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/pinned_blocks", node);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%ld", &now) != 1)
		fail_exit("%s", path);
	fclose(f);
	return now;
}

/* A worker drops files that were not retrieved, after their session is finished. */
static void expect_pinned(const char *when, long should)
{
	long now = pinned_blocks();
	int i;

	for (i = 0; now > should && i < 1000; i++) {
		usleep(10000);
		now = pinned_blocks();
	}
	if (now != should)
		ksft_exit_fail_msg("%s: %ld blocks are pinned, should be %ld\n", when, now, should);
}

static void get_device(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	sink = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sink == MAP_FAILED || setrlimit(RLIMIT_MEMLOCK, &all))
		fail_exit("memory");
	device_open(&device, IOAS_MAP_FILE);
	if (device_map_memory(&device, sink, IOVA_SINK, PAGE))
		fail_exit("a page of memory");
}

static void give(int fd, size_t start, size_t blocks, uint64_t iova)
{
	int err = device_map(&device, fd, start * BLOCK, NULL, iova, blocks * BLOCK);

	if (err)
		ksft_exit_fail_msg("the device cannot have IOVA %#lx: %d\n", iova, err);
}

static void device_writes(const char *text, uint64_t iova)
{
	memset(sink, 0, COPIED);
	strcpy(sink, text);
	device_load(&device, IOVA_SINK);
	device_store(&device, iova);
}

static void device_reads(const char *text, uint64_t iova)
{
	memset(sink, 0, COPIED);
	device_load(&device, iova);
	device_store(&device, IOVA_SINK);
	if (strcmp(sink, text))
		ksft_exit_fail_msg("the device reads '%.*s', should be '%s'\n", COPIED, sink, text);
}

static void expect(const char *what, int ret, int should)
{
	int err = ret ? errno : 0;

	if (err != should)
		ksft_exit_fail_msg("%s: %s, should be %s\n", what, strerror(err), strerror(should));
}

static int punch(int fd, size_t block)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, block * BLOCK, BLOCK);
}

/* Where the blocks of a file are, in an attribute of it, or are they still there? */
static void note_places(int fd, size_t blocks)
{
	uint64_t phys[KEPT_BLOCKS];
	size_t i;

	for (i = 0; i < blocks; i++)
		phys[i] = phys_of(fd, i * BLOCK);
	if (fsetxattr(fd, "user.places", phys, blocks * sizeof(*phys), 0))
		fail_exit("user.places");
}

static void check_places(int fd, size_t blocks)
{
	uint64_t phys[KEPT_BLOCKS];
	size_t i;

	if (fgetxattr(fd, "user.places", phys, sizeof(phys)) != (ssize_t)(blocks * sizeof(*phys)))
		fail_exit("user.places");
	for (i = 0; i < blocks; i++)
		if (phys_of(fd, i * BLOCK) != phys[i])
			ksft_exit_fail_msg("block %zu has moved\n", i);
}

static void hold_freeze(uint64_t ino)
{
	FILE *f = fopen(HOLD, "w");

	if (!f || fprintf(f, "%lu\n", ino) < 0 || fclose(f))
		fail_exit(HOLD);
}

static uint64_t ino_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		fail_exit("stat");
	return st.st_ino;
}

static pid_t fork_or_die(void)
{
	pid_t pid = fork();

	if (pid < 0)
		fail_exit("fork");
	return pid;
}

/* Until a process waits in a function of the kernel, for half a minute. */
static void wait_in(pid_t pid, const char *function)
{
	char path[64], stack[4096];
	int fd, i;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	for (i = 0; i < 3000; i++) {
		fd = open(path, O_RDONLY);
		len = fd < 0 ? -1 : read(fd, stack, sizeof(stack) - 1);
		if (len < 0)
			fail_exit("%s", path);
		close(fd);
		stack[len] = '\0';
		if (strstr(stack, function))
			return;
		usleep(10000);
	}
	ksft_exit_fail_msg("process %d does not get to %s: %s\n", pid, function, stack);
}

static void expect_end(const char *what, pid_t pid, int should)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != should)
		ksft_exit_fail_msg("%s: status %#x, should be %#x\n", what, status, should);
}

/* A process that gives the device a block of a file, and ends with 0 when it has it. */
static pid_t start_giving(int fd, uint64_t iova)
{
	pid_t pid = fork_or_die();

	if (!pid) {
		give(fd, 0, 1, iova);
		_exit(0);
	}
	return pid;
}

/*
 * A kexec begins, and fails when LUO comes to the file @last. A pin of @frozen, which LUO
 * has asked about before, waits for that, and so the next kernel misses none.
 */
static void fail_kexec(int frozen, int last)
{
	pid_t kexec, waits, killed;

	hold_freeze(ino_of(last));
	kexec = fork_or_die();
	if (!kexec) {
		syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			LINUX_REBOOT_CMD_KEXEC, NULL);
		_exit(1);
	}
	wait_in(kexec, "gmfs_luo_freeze");
	waits = start_giving(frozen, IOVA_LATE);
	killed = start_giving(frozen, IOVA_LATE + BLOCK);
	wait_in(waits, "guestmem_pin_file");
	wait_in(killed, "guestmem_pin_file");
	if (kill(killed, SIGKILL))
		fail_exit("kill");
	expect_end("who waits for a kexec and is killed", killed, SIGKILL);
	/* Others do not wait. */
	expect_end("pin of another file", start_giving(last, IOVA_LATE + BLOCK), 0);
	if (device_unmap(&device, IOVA_LATE + BLOCK, BLOCK))
		fail_exit("unmap");
	if (waitpid(waits, NULL, WNOHANG))
		ksft_exit_fail_msg("a frozen file was pinned\n");

	if (kill(kexec, SIGKILL))
		fail_exit("kill");
	expect_end("kexec", kexec, SIGKILL);
	expect_end("who waits for a kexec that fails", waits, 0);
	if (device_unmap(&device, IOVA_LATE, BLOCK))
		fail_exit("unmap");
	hold_freeze(0);
}

static void run_stage_1(int luo)
{
	int session = luo_create_session(luo, "pins");
	int kept, nameless, unpinned;

	if (session < 0)
		fail_exit("session");
	get_device();
	unpinned = make("unpinned", 1);
	preserve(session, unpinned, UNPINNED);
	kept = make("kept", KEPT_BLOCKS);
	give(kept, 1, 2, IOVA_KEPT);
	device_writes("of the file with a name", IOVA_KEPT + BLOCK);
	note_places(kept, KEPT_BLOCKS);
	preserve(session, kept, KEPT);

	nameless = make("nameless", NAMELESS_BLOCKS);
	give(nameless, 0, NAMELESS_BLOCKS, IOVA_NAMELESS);
	device_writes("of the file without a name", IOVA_NAMELESS);
	note_places(nameless, NAMELESS_BLOCKS);
	preserve(session, nameless, NAMELESS);
	forget("nameless");

	/* One of the two alone is not enough. */
	give(make("unpreserved", 1), 0, 1, IOVA_OTHERS);
	/* What was pinned in a kexec that has failed, and is no longer in the one that does not. */
	give(unpinned, 0, 1, IOVA_OTHERS + BLOCK);
	fail_kexec(unpinned, nameless);
	if (device_unmap(&device, IOVA_OTHERS + BLOCK, BLOCK))
		fail_exit("unmap");
	expect_pinned("before the kexec", 2 + NAMELESS_BLOCKS + 1);
	daemonize_and_wait();
}

static void run_stage_2(int luo)
{
	int session, kept, nameless;

	/* All of a file that was pinned stays as it is until it is retrieved and finished. */
	expect_pinned("after the kexec", KEPT_BLOCKS + NAMELESS_BLOCKS);
	kept = open(path_of("kept"), O_RDWR);
	if (kept < 0)
		fail_exit("kept");
	expect("truncate", ftruncate(kept, 0), EBUSY);
	expect("O_TRUNC", open(path_of("kept"), O_RDWR | O_TRUNC) < 0, EBUSY);
	expect("punch", punch(kept, 0), EBUSY);
	expect("truncate of what was not preserved", truncate(path_of("unpreserved"), 0), 0);
	expect("truncate of what was not pinned", truncate(path_of("unpinned"), 0), 0);
	close(kept);

	session = luo_retrieve_session(luo, "pins");
	if (session < 0)
		fail_exit("session");
	kept = luo_session_retrieve_fd(session, KEPT);
	nameless = luo_session_retrieve_fd(session, NAMELESS);
	if (kept < 0 || nameless < 0)
		ksft_exit_fail_msg("files cannot be retrieved: %d, %d\n", kept, nameless);
	expect("truncate after retrieval", ftruncate(kept, 0), EBUSY);
	expect("truncate after retrieval", ftruncate(nameless, 0), EBUSY);
	get_device();
	give(kept, 1, 2, IOVA_KEPT);
	give(nameless, 0, NAMELESS_BLOCKS, IOVA_NAMELESS);
	device_reads("of the file with a name", IOVA_KEPT + BLOCK);
	device_reads("of the file without a name", IOVA_NAMELESS);
	check_places(kept, KEPT_BLOCKS);
	check_places(nameless, NAMELESS_BLOCKS);
	if (luo_session_finish(session))
		fail_exit("finish");
	close(session);

	/* From now on the new pins count. */
	expect_pinned("after finish", 2 + NAMELESS_BLOCKS);
	expect("punch after finish", punch(kept, 0), 0);
	expect("punch of a new pin", punch(kept, 1), EBUSY);
	if (device_unmap(&device, IOVA_KEPT, 2 * BLOCK) ||
	    device_unmap(&device, IOVA_NAMELESS, NAMELESS_BLOCKS * BLOCK))
		fail_exit("unmap");
	expect_pinned("after unmap", 0);
	expect("truncate after unmap", ftruncate(kept, 0), 0);
	close(kept);
	close(nameless);
	forget("kept");
	forget("unpreserved");
	forget("unpinned");

	session = luo_create_session(luo, "again");
	if (session < 0)
		fail_exit("session");
	kept = make("again", 1);
	give(kept, 0, 1, IOVA_KEPT);
	device_writes("of the last", IOVA_KEPT);
	preserve(session, kept, AGAIN);
	daemonize_and_wait();
}

/* The session is dropped, and with it what it held. */
static void run_stage_3(int luo)
{
	int session = luo_retrieve_session(luo, "again");
	int fd = open(path_of("again"), O_RDWR);

	if (session < 0 || fd < 0)
		fail_exit("again");
	expect_pinned("after the second kexec", 1);
	expect("truncate", ftruncate(fd, 0), EBUSY);
	get_device();
	give(fd, 0, 1, IOVA_KEPT);
	device_reads("of the last", IOVA_KEPT);
	if (device_unmap(&device, IOVA_KEPT, BLOCK))
		fail_exit("unmap");
	expect("truncate before finish", ftruncate(fd, 0), EBUSY);
	if (luo_session_finish(session))
		fail_exit("finish");
	expect_pinned("at the end", 0);
	expect("truncate after finish", ftruncate(fd, 0), 0);
}

/* Nothing can be retrieved to write, and the end of the session ends no pin. */
static void run_stage_4(int luo)
{
	int session = luo_retrieve_session(luo, "pins");
	long pinned = pinned_blocks();

	if (session < 0)
		fail_exit("session");
	expect("retrieval", luo_session_retrieve_fd(session, KEPT) < 0, EROFS);
	if (luo_session_finish(session))
		fail_exit("finish");
	close(session);
	/* What a worker would free. */
	sleep(2);
	if (pinned_blocks() != pinned)
		ksft_exit_fail_msg("%ld blocks are pinned, were %ld\n", pinned_blocks(), pinned);
}

int main(int argc, char **argv)
{
	int luo = luo_open_device();

	if (argc != 7)
		ksft_exit_fail_msg("usage: luo_pins STAGE DIR NODE DEVICE GROUP CDEV\n");
	if (luo < 0)
		fail_exit("%s", LUO_DEVICE);
	dir = argv[2];
	node = argv[3];
	device_choose(argv[4], argv[5], argv[6]);
	switch (atoi(argv[1])) {
	case 1:
		run_stage_1(luo);
		break;
	case 2:
		run_stage_2(luo);
		break;
	case 3:
		run_stage_3(luo);
		break;
	case 4:
		run_stage_4(luo);
	}
	printf("stage %s passed\n", argv[1]);
	return 0;
}
