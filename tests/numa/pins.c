// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of files that a device has: how it is mapped, what happens if the kernel
 * has no memory for that, and in a storm of operations.
 *
 *	pins sizes DEVICE GROUP CDEV FILE...
 *		Each way gives the device each file, at an IOVA that is aligned to
 *		1 GiB. Prints "WAY FILE: 1G=N 2M=N 4K=N", the entries of the IOMMU, which
 *		are compared with FIEMAP.
 *	pins fail DEVICE GROUP CDEV DIR NODE
 *		Each allocation of each way to give the device memory fails once. Prints
 *		"OPERATION: points=N without=N", as the program failures.
 *	pins storm DEVICE GROUP CDEV DIR NODE SECONDS
 *		Pins come and go, while their files are truncated, punched, touched and
 *		deleted, the node is frozen and all these processes are killed, for
 *		SECONDS at least, until there is enough of each. Prints
 *		"storm: pinned=N refused=N killed=N".
 *
 * DIR is a directory of guestmemfs on NODE. All as root.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "blocks.h"
#include "device.h"

#define ARRAY_SIZE(x)	(sizeof(x) / sizeof((x)[0]))
#define GIB		(512 * BLOCK)
#define IOVA		(4 * GIB)
#define ENTRIES		8192

static const char *dir, *node;

static void attribute_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "/sys/fs/guestmemfs/node%s/%s", node, name);
}

static long number_of(const char *name)
{
	char path[128];
	long number;
	FILE *f;

	attribute_path(path, sizeof(path), name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%ld", &number) != 1)
		die("%s", path);
	fclose(f);
	return number;
}

static int set_attribute(const char *name, const char *text)
{
	char path[128];
	int fd, err;

	attribute_path(path, sizeof(path), name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s", path);
	err = write(fd, text, strlen(text)) < 0 ? errno : 0;
	close(fd);
	return err;
}

/* The records of the node are whole, and so many blocks are pinned. */
static void check_node(const char *when, long pinned)
{
	char path[128], said[256];
	ssize_t len;
	long now;
	int fd;

	attribute_path(path, sizeof(path), "check");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, said, sizeof(said) - 1);
	if (len < 0)
		die("%s", path);
	close(fd);
	said[len] = '\0';
	now = number_of("pinned_blocks");
	errno = 0;
	if (strcmp(said, "ok\n"))
		die("%s: node %s is damaged: %s", when, node, said);
	if (now != pinned)
		die("%s: %ld blocks are pinned, should be %ld", when, now, pinned);
}

/*
 * sizes
 */

static void show_sizes(enum way way, const char *path)
{
	static struct iommu_entry entries[ENTRIES];
	size_t i, count, number[3] = {};
	struct device d = {};
	uint64_t phys, end = IOVA, offset;
	struct stat st;
	char *p;
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die("%s", path);
	p = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap of %s", path);
	device_open(&d, way);
	errno = device_map(&d, fd, 0, p, IOVA, st.st_size);
	if (errno)
		die("%s %s", way_name[way], path);
	count = device_entries(entries, ENTRIES);
	for (i = 0; i < count; i++) {
		if (entries[i].iova < IOVA)
			continue;
		errno = 0;
		if (entries[i].iova != end)
			die("%s %s: IOVA %#lx is not mapped", way_name[way], path, end);
		end += entries[i].size;
		number[entries[i].size == GIB ? 0 : entries[i].size == BLOCK ? 1 : 2]++;
		for (offset = 0; offset < entries[i].size; offset += BLOCK) {
			phys = phys_of(fd, entries[i].iova - IOVA + offset);
			if (!phys || phys != entries[i].phys + offset)
				die("%s %s: IOVA %#lx leads to %#lx, should be %#lx",
				    way_name[way], path, entries[i].iova + offset,
				    entries[i].phys + offset, phys);
		}
	}
	errno = 0;
	if (end != IOVA + st.st_size)
		die("%s %s: the device reaches %#lx bytes", way_name[way], path, end - IOVA);
	printf("%s %s: 1G=%zu 2M=%zu 4K=%zu\n", way_name[way], path, number[0], number[1],
	       number[2]);
	device_close(&d);
	munmap(p, st.st_size);
	close(fd);
}

/*
 * fail
 */

/* More than any operation has. */
#define MOST_POINTS	2000
#define SIZE		(4 * BLOCK)

static struct device device;
static uint32_t other_ioas;
static int file, fail_nth;
static char *map;

static void let_fail(int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", nth);
	if (pwrite(fail_nth, text, strlen(text), 0) < 0)
		die("fail-nth");
}

/* How many were still to come; from now on none fails. */
static int let_none_fail(void)
{
	char text[16] = "";

	if (pread(fail_nth, text, sizeof(text) - 1, 0) < 0)
		die("fail-nth");
	let_fail(0);
	return atoi(text);
}

static void no_preparation(void)
{
}

/* Every second block is to be filled. */
static void holes(void)
{
	uint64_t offset;

	for (offset = 0; offset < SIZE; offset += 2 * BLOCK)
		if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, BLOCK))
			die("punch");
}

static int give(void)
{
	return device_map(&device, file, 0, map, IOVA, SIZE);
}

static void take(void)
{
	if (device_unmap(&device, IOVA, SIZE))
		die("unmap");
}

static void must_give(void)
{
	errno = give();
	if (errno)
		die("map");
}

static int do_copy(void)
{
	return ioas_copy(device.container, other_ioas, device.ioas, IOVA, SIZE);
}

static void undo_copy(void)
{
	if (ioas_unmap(device.container, other_ioas, IOVA, SIZE))
		die("unmap of the copy");
}

static void give_detached(void)
{
	device_detach(&device);
	must_give();
}

static int attach(void)
{
	return device_attach(&device);
}

static void attach_and_take(void)
{
	device_attach(&device);
	take();
}

static const struct operation {
	const char *name;
	enum way way;
	void (*prepare)(void);
	int (*run)(void);
	void (*undo)(void);	/* of run, if it succeeded */
	void (*end)(void);	/* of prepare */
	bool pinned;		/* by prepare */
} operations[] = {
	{ "type1", TYPE1, no_preparation, give, take, no_preparation, false },
	{ "type1v2", TYPE1V2, no_preparation, give, take, no_preparation, false },
	{ "type1v2-holes", TYPE1V2, holes, give, take, no_preparation, false },
	{ "compat", COMPAT, no_preparation, give, take, no_preparation, false },
	{ "ioas-map", IOAS_MAP, no_preparation, give, take, no_preparation, false },
	{ "ioas-map-file", IOAS_MAP_FILE, no_preparation, give, take, no_preparation, false },
	{ "ioas-map-file-holes", IOAS_MAP_FILE, holes, give, take, no_preparation, false },
	{ "ioas-copy", IOAS_MAP_FILE, must_give, do_copy, undo_copy, take, true },
	{ "attach", IOAS_MAP_FILE, give_detached, attach, no_preparation, attach_and_take, true },
};

static void fail_each(const struct operation *op)
{
	int nth, left = 0, err, without = 0;

	device_open(&device, op->way);
	if (op->way >= IOAS_MAP && ioas_alloc(device.container, &other_ioas))
		die("IOMMU_IOAS_ALLOC");
	for (nth = 1; !left; nth++) {
		errno = 0;
		if (nth == MOST_POINTS)
			die("%s has no end", op->name);
		op->prepare();
		let_fail(nth);
		err = op->run();
		left = let_none_fail();
		if (err && (err != ENOMEM || left)) {
			errno = err;
			die("%s, allocation %d", op->name, nth);
		}
		check_node(op->name, err && !op->pinned ? 0 : SIZE / BLOCK);
		if (!err) {
			without += !left;
			op->undo();
		}
		op->end();
		check_node(op->name, 0);
	}
	device_close(&device);
	printf("%s: points=%d without=%d\n", op->name, nth - 2, without);
}

static void fail(void)
{
	size_t i;

	file = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, SIZE))
		die("%s", dir);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (map == MAP_FAILED)
		die("mmap");
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_nth < 0)
		die("fail-nth");
	for (i = 0; i < ARRAY_SIZE(operations); i++)
		fail_each(&operations[i]);
}

/*
 * storm
 */

#define FILES		3
#define FILE_BLOCKS	12UL
#define SOME_BLOCKS	4UL
/* Seconds for a killed process to end. */
#define PATIENCE	10

/* Of each counter and of killed processes, however slow the machine is. */
#define ENOUGH		20

enum { MAPPED, REFUSED, COUNTERS };

static volatile uint64_t *counters;
static sigjmp_buf bus;

static unsigned int below(unsigned int end)
{
	return random() % end;
}

static void name_of(char *path, size_t size)
{
	snprintf(path, size, "%s/storm%u", dir, below(FILES));
}

static int some_file(void)
{
	char path[128];

	name_of(path, sizeof(path));
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

/* To look a name up for writing waits while the node is frozen, and not killably. */
static int some_file_that_is(void)
{
	char path[128];
	int place, fd;

	name_of(path, sizeof(path));
	place = open(path, O_PATH | O_CLOEXEC);
	if (place < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
	fd = open(path, O_RDWR | O_CLOEXEC);
	close(place);
	return fd;
}

static void count(int counter)
{
	__atomic_fetch_add(&counters[counter], 1, __ATOMIC_RELAXED);
}

/* Of an operation that a pin may refuse. */
static void may_be_busy(const char *what, int ret)
{
	if (!ret)
		return;
	if (errno == EBUSY)
		count(REFUSED);
	else if (errno != ENOSPC && errno != EINTR)
		die("%s", what);
}

static void on_bus(int sig)
{
	siglongjmp(bus, sig);
}

/* What is pinned stays where it is, and can be touched. */
static void check_pinned(int fd, volatile char *p, uint64_t start, uint64_t size)
{
	uint64_t at, phys[SOME_BLOCKS];
	int round;

	for (round = 0; round < 2; round++) {
		for (at = 0; at < size; at += BLOCK) {
			uint64_t now = phys_of(fd, start + at);

			errno = 0;
			if (!now || (round && now != phys[at / BLOCK]))
				die("block %lu of a pin has moved", at / BLOCK);
			phys[at / BLOCK] = now;
		}
		if (!round)
			usleep(below(3000));
	}
	if (sigsetjmp(bus, 1)) {
		errno = 0;
		die("a pinned block cannot be touched");
	}
	for (at = 0; at < size; at += BLOCK)
		p[at] = 1;
}

static void pin(struct device *d)
{
	uint64_t start = below(FILE_BLOCKS) * BLOCK;
	uint64_t size = (1 + below(SOME_BLOCKS)) * BLOCK;
	int fd = some_file_that_is(), err;
	char *p;

	if (fd < 0) {
		if (errno != ENOENT)
			die("open");
		return;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, start);
	if (p == MAP_FAILED)
		die("mmap");
	err = device_map(d, fd, start, p, IOVA, size);
	if (!err) {
		count(MAPPED);
		check_pinned(fd, p, start, size);
		err = device_unmap(d, IOVA, size);
		if (err) {
			errno = err;
			die("unmap");
		}
	} else if (err != EINVAL && err != EFAULT && err != ENOSPC && err != EINTR) {
		/* Behind the end of the file, or there is no memory for a hole. */
		errno = err;
		die("map");
	}
	munmap(p, size);
	close(fd);
}

static void pin_for_device(void)
{
	struct device d = {};

	device_open(&d, below(WAYS));
	for (;;)
		pin(&d);
}

static void pin_without_device(void)
{
	struct device d = { .way = below(2) ? IOAS_MAP : IOAS_MAP_FILE };

	d.container = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (d.container < 0 || ioas_alloc(d.container, &d.ioas))
		die("/dev/iommu");
	for (;;)
		pin(&d);
}

static void cut(void)
{
	for (;;) {
		int fd = some_file();
		uint64_t start = below(FILE_BLOCKS) * BLOCK;

		if (fd < 0) {
			may_be_busy("open", -1);
			continue;
		}
		if (below(2))
			may_be_busy("truncate", ftruncate(fd, start + 1 + below(BLOCK)));
		else
			may_be_busy("punch",
				    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					      start, (1 + below(SOME_BLOCKS)) * BLOCK));
		close(fd);
		usleep(below(500));
	}
}

static void touch_one(volatile char *p)
{
	if (!sigsetjmp(bus, 1))
		*p = 1;
	if (!below(4))
		may_be_busy("MADV_REMOVE", madvise((void *)p, BLOCK, MADV_REMOVE));
}

static void touch(void)
{
	for (;;) {
		int fd = some_file();
		uint64_t at;
		char *p;

		if (fd < 0) {
			may_be_busy("open", -1);
			continue;
		}
		p = mmap(NULL, FILE_BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			die("mmap");
		for (at = 0; at < FILE_BLOCKS; at++)
			touch_one(p + at * BLOCK);
		munmap(p, FILE_BLOCKS * BLOCK);
		close(fd);
		usleep(below(500));
	}
}

static void forget(void)
{
	char path[128], other[128];

	for (;;) {
		name_of(path, sizeof(path));
		name_of(other, sizeof(other));
		if (below(2) ? unlink(path) : rename(path, other)) {
			if (errno != ENOENT && errno != EINTR)
				die("%s", path);
		}
		usleep(below(50000));
	}
}

/* Those that pin are the first: they can be killed in a frozen node too. */
#define PINNING	3

static void (*const storm_roles[])(void) = {
	pin_for_device, pin_without_device, pin_without_device, cut, touch, forget
};

static void start_role(size_t i, pid_t *pid)
{
	static unsigned int seed;

	seed++;
	*pid = fork();
	if (*pid < 0)
		die("fork");
	if (*pid)
		return;
	srandom(seed);
	signal(SIGBUS, on_bus);
	storm_roles[i]();
}

static void freeze(bool frozen)
{
	int err = set_attribute("frozen", frozen ? "1" : "0");

	if (err) {
		errno = err;
		die("frozen");
	}
}

/* Where a process waits in the kernel. */
static void stack_of(pid_t pid, char *text, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, size - 1);
	if (len < 0)
		die("%s", path);
	text[len] = '\0';
	close(fd);
}

/*
 * A node may be frozen while those that pin are killed: what they wait for then is
 * killable, but for the end of a deleted file. Returns whether the node is frozen.
 */
static bool end_role(size_t i, pid_t pid, bool frozen)
{
	char stack[2048];
	int status, tries;

	kill(pid, SIGKILL);
	for (tries = 0; waitpid(pid, &status, WNOHANG) != pid; tries++) {
		usleep(10000);
		if (tries != PATIENCE * 100)
			continue;
		stack_of(pid, stack, sizeof(stack));
		errno = 0;
		if (!frozen || !strstr(stack, "evict"))
			die("role %zu does not end: it waits in\n%s", i, stack);
		freeze(false);
		frozen = false;
		tries = 0;
	}
	errno = 0;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		die("role %zu has ended by itself", i);
	return frozen;
}

static bool is_enough(unsigned long killed)
{
	return counters[MAPPED] > ENOUGH && counters[REFUSED] > ENOUGH && killed > ENOUGH;
}

static void storm(int seconds)
{
	pid_t pids[ARRAY_SIZE(storm_roles)];
	time_t end = time(NULL) + seconds;
	unsigned long killed = 0;
	struct statfs before, after;
	char path[128];
	size_t i;

	counters = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counters == MAP_FAILED || statfs(dir, &before))
		die("memory");
	for (i = 0; i < ARRAY_SIZE(pids); i++)
		start_role(i, &pids[i]);
	while (time(NULL) < end || !is_enough(killed)) {
		bool frozen = !below(3);

		usleep(20000 + below(200000));
		if (frozen) {
			freeze(true);
			usleep(below(50000));
		}
		i = below(frozen ? PINNING : ARRAY_SIZE(pids));
		frozen = end_role(i, pids[i], frozen);
		killed++;
		start_role(i, &pids[i]);
		if (frozen)
			freeze(false);
	}
	for (i = 0; i < ARRAY_SIZE(pids); i++)
		end_role(i, pids[i], false);
	for (i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/storm%zu", dir, i);
		if (truncate(path, 0) && errno != ENOENT)
			die("truncate of %s", path);
		if (unlink(path) && errno != ENOENT)
			die("unlink of %s", path);
	}
	check_node("after the storm", 0);
	if (statfs(dir, &after))
		die("%s", dir);
	errno = 0;
	if (before.f_bfree != after.f_bfree)
		die("%ld blocks are free, were %ld", (long)after.f_bfree, (long)before.f_bfree);
	printf("storm: pinned=%lu refused=%lu killed=%lu\n", counters[MAPPED], counters[REFUSED],
	       killed);
}

int main(int argc, char **argv)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	enum way way;
	int arg;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (setrlimit(RLIMIT_MEMLOCK, &all))
		die("setrlimit");
	if (argc < 6)
		goto usage;
	device_choose(argv[2], argv[3], argv[4]);
	dir = argv[5];
	node = argc > 6 ? argv[6] : NULL;
	if (!strcmp(argv[1], "sizes")) {
		for (way = 0; way < WAYS; way++)
			for (arg = 5; arg < argc; arg++)
				show_sizes(way, argv[arg]);
	} else if (!strcmp(argv[1], "fail") && argc == 7) {
		fail();
	} else if (!strcmp(argv[1], "storm") && argc == 8) {
		storm(atoi(argv[7]));
	} else {
		goto usage;
	}
	return 0;
usage:
	fprintf(stderr, "usage: pins sizes|fail|storm DEVICE GROUP CDEV ...\n");
	return 2;
}
