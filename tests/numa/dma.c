// SPDX-License-Identifier: GPL-2.0
/*
 * What a device reaches of guestmemfs after the file, its mapping or its process
 * has gone, for each way to give it memory and each way to take that back.
 *
 *	dma NODE OTHER OVERLAY DEVICE GROUP CDEV [WAY]...
 *
 * NODE and OTHER are the mounts of nodes 0 and 1, OVERLAY is an overlay whose upper
 * layer is NODE/upper, DEVICE is the PCI address of an edu, GROUP and CDEV its files
 * below /dev/vfio, which user 1000 may open. All of a way is done with one opening of
 * the device, as each of its copies takes a tenth of a second.
 *
 * Roles, each a process: the holder (user 1000) has the device and makes it copy;
 * the VMM (user 1000), its child, has the files, gives them to the device, takes them
 * back, and is killed; the tenant (user 2000) then gets all memory that is free. Root
 * compares the tables of the IOMMU with the files.
 *
 * Prints "WAY OPERATION: ERRNO REACH", where ERRNO is how the operation ended and REACH
 * is "own" if the device reaches the memory that the file had and no other process
 * has, or "LEAK", or "none". Ends with status 1 if there was a leak.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "device.h"

#define SECRET		"secret of another tenant"
#define WRITTEN		"written by the device"
/* A file has so many blocks; the device gets the second. */
#define BLOCKS		3UL
#define IOVA_SINK	0x10000000UL
#define IOVA_FILES	0x40000000UL
/* What keeps an exiting process busy between the end of a file and of a device. */
#define SLOW_SIZE	(128UL << 20)
#define ENTRIES		16384
/* For memory to come back, in tenths of a second. */
#define PATIENCE	100

enum operation {
	TRUNCATE, O_TRUNCATE, PUNCH, REMOVE, UNLINK, RENAME_OVER, MREMAP, FORK, OVERLAY, DISCARD,
	KILL, EXIT, OPERATIONS
};

static const char *const operation_name[OPERATIONS] = {
	"truncate", "O_TRUNC", "punch", "MADV_REMOVE", "unlink", "rename-over", "mremap", "fork",
	"overlay", "umount-discard", "kill", "exit",
};

/* What the roles tell each other. */
struct cell {
	int mapped;		/* errno of giving it to the device */
	int result;		/* errno of the operation */
	uint64_t phys;		/* of the block that the device has */
	bool leak;
};

static struct shared {
	char sink[PAGE];	/* what the device copies from and to, besides files */
	struct cell cells[OPERATIONS];
	bool overwritten;	/* memory of the tenant, by the device */
} *shared;

static const char *node_dir, *other_dir, *overlay_dir;

/* The VMM's. */
static int fds[OPERATIONS];
static char *maps[OPERATIONS];

static const char *path_of(enum operation op)
{
	static char path[256];
	const char *dir = op == DISCARD ? other_dir : op == OVERLAY ? overlay_dir : node_dir;

	snprintf(path, sizeof(path), "%s/%s", dir, operation_name[op]);
	return path;
}

/* The same file, but for one with another path below the overlay. */
static const char *real_path_of(enum operation op)
{
	static char path[256];

	if (op != OVERLAY)
		return path_of(op);
	snprintf(path, sizeof(path), "%s/upper/%s", node_dir, operation_name[op]);
	return path;
}

static uint64_t iova_of(enum operation op)
{
	return IOVA_FILES + op * BLOCK;
}

static void become(uid_t id)
{
	if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
		die("setresuid");
}

static void text_of(char *text, const char *what, enum operation op)
{
	memset(text, 0, COPIED);
	snprintf(text, COPIED, "%s %s", what, operation_name[op]);
}

static bool has_text(const char *p, const char *what, enum operation op)
{
	char text[COPIED];

	text_of(text, what, op);
	return !memcmp(p, text, COPIED);
}

/* Asks a role to do what the letter says, and waits until it has. */
static void ask(int role, char letter)
{
	char c;

	if (write(role, &letter, 1) != 1 || read(role, &c, 1) != 1) {
		errno = 0;
		die("a role has ended at '%c'", letter);
	}
}

static char next_letter(int talk)
{
	char letter;

	if (read(talk, &letter, 1) != 1)
		_exit(0);
	return letter;
}

static void answer(int talk)
{
	if (write(talk, "", 1) != 1)
		_exit(0);
}

/* Forks a role that has one end of a socket; the other is returned. */
static int start(pid_t *pid, int *talk)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		die("socketpair");
	*pid = fork();
	if (*pid < 0)
		die("fork");
	if (*pid) {
		close(ends[1]);
		return ends[0];
	}
	close(ends[0]);
	*talk = ends[1];
	return -1;
}

/*
 * The VMM.
 */

static void give_file(struct device *d, enum operation op)
{
	char *p;
	int fd;

	fd = open(path_of(op), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	/* A bit that is lost if the owner changes the size. */
	if (fd < 0 || ftruncate(fd, BLOCKS * BLOCK) || fchmod(fd, 04711))
		die("%s", path_of(op));
	p = mmap(NULL, BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap of %s", path_of(op));
	text_of(p, "first", op);
	text_of(p + BLOCK, "empty", op);
	shared->cells[op].mapped = device_map(d, fd, BLOCK, p + BLOCK, iova_of(op), BLOCK);
	fds[op] = fd;
	maps[op] = p;
}

static void drop(enum operation op)
{
	munmap(maps[op], BLOCKS * BLOCK);
	close(fds[op]);
}

static int result_of(int ret)
{
	return ret ? errno : 0;
}

static int punch(int fd, uint64_t start, uint64_t size)
{
	return result_of(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, size));
}

/* A file that is not given to the device takes the place of another one. */
static const char *decoy_path(void)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/decoy", node_dir);
	return path;
}

static int decoy(void)
{
	const char *path = decoy_path();
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, BLOCK))
		die("%s", path);
	return fd;
}

static int open_truncated(enum operation op)
{
	int fd = open(path_of(op), O_RDWR | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int in_child(enum operation op)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int err = result_of(ftruncate(fds[op], 0));

		drop(op);
		_exit(err);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("fork");
	return WEXITSTATUS(status);
}

static int moved(enum operation op)
{
	char *p = maps[op] + BLOCK, *to;
	int fd = decoy();

	to = mmap(NULL, BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED || mremap(p, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		die("mremap");
	if (mmap(p, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != p)
		die("mmap of the decoy");
	strcpy(p, SECRET);
	close(fd);
	return result_of(ftruncate(fds[op], 0));
}

static int renamed_over(enum operation op)
{
	int err;

	close(decoy());
	err = result_of(rename(decoy_path(), path_of(op)));
	if (!err)
		drop(op);
	return err;
}

/* What an operation that fails must not change. The device looks at the contents. */
static void look(enum operation op, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	if (fstat(fds[op], st))
		die("fstat");
}

/* Takes the memory back. The blocks next to the device's are free to go. */
static int take_back(enum operation op)
{
	int fd = fds[op], err = 0;
	char *p = maps[op];
	struct stat before, after;

	if (op == TRUNCATE)
		err = result_of(ftruncate(fd, 2 * BLOCK));
	else if (op == PUNCH)
		err = punch(fd, 0, BLOCK);
	else if (op == REMOVE)
		err = result_of(madvise(p + 2 * BLOCK, BLOCK, MADV_REMOVE));
	if (err) {
		errno = err;
		die("%s of the rest of the file", operation_name[op]);
	}
	look(op, &before);
	switch (op) {
	case TRUNCATE:
		err = result_of(ftruncate(fd, BLOCK));
		if (err)
			err = result_of(ftruncate(fd, 0));
		break;
	case O_TRUNCATE:
		err = open_truncated(op);
		break;
	case PUNCH:
		err = punch(fd, BLOCK, BLOCK);
		if (err)
			err = punch(fd, 0, BLOCKS * BLOCK);
		break;
	case REMOVE:
		err = result_of(madvise(p + BLOCK, BLOCK, MADV_REMOVE));
		break;
	case UNLINK:
		err = result_of(unlink(path_of(op)));
		drop(op);
		return err;
	case RENAME_OVER:
		return renamed_over(op);
	case MREMAP:
		err = moved(op);
		break;
	case FORK:
		err = in_child(op);
		break;
	case OVERLAY:
		err = result_of(ftruncate(fd, 0));
		if (err)
			err = result_of(truncate(real_path_of(op), 0));
		break;
	case DISCARD:
		/* Root does the rest. */
		drop(op);
		return 0;
	default:
		/* Without a name, the VMM was the last to have the file. */
		return result_of(unlink(path_of(op)));
	}
	look(op, &after);
	if (err && memcmp(&before, &after, sizeof(before))) {
		errno = err;
		die("%s has failed, and changed the file", operation_name[op]);
	}
	return err;
}

static void vmm(struct device *d, int talk)
{
	enum operation op;

	for (;;) {
		switch (next_letter(talk)) {
		case 'm':
			for (op = 0; op < EXIT; op++)
				give_file(d, op);
			break;
		case 'p':
			for (op = 0; op < EXIT; op++)
				if (!shared->cells[op].mapped &&
				    strcmp(maps[op] + BLOCK, WRITTEN)) {
					errno = 0;
					die("%s: the device does not reach the file",
					    operation_name[op]);
				}
			for (op = 0; op < EXIT; op++)
				text_of(maps[op] + BLOCK, "mine", op);
			break;
		case 't':
			for (op = 0; op < EXIT; op++)
				shared->cells[op].result = take_back(op);
			break;
		}
		answer(talk);
	}
}

/*
 * The holder.
 */

static void store_everywhere(struct device *d)
{
	enum operation op;

	memset(shared->sink, 0, COPIED);
	strcpy(shared->sink, WRITTEN);
	device_load(d, IOVA_SINK);
	for (op = 0; op < EXIT; op++)
		if (!shared->cells[op].mapped)
			device_store(d, iova_of(op));
}

static void load_everywhere(struct device *d)
{
	enum operation op;

	for (op = 0; op < EXIT; op++) {
		if (shared->cells[op].mapped)
			continue;
		device_load(d, iova_of(op));
		device_store(d, IOVA_SINK);
		if (!has_text(shared->sink, "mine", op)) {
			printf("%s %s: the device reads: %.*s\n", way_name[d->way],
			       operation_name[op], COPIED, shared->sink);
			shared->cells[op].leak = true;
		}
	}
}

static void hold(enum way way, int talk)
{
	struct device d;
	int its_talk, role;
	pid_t pid;

	become(1000);
	device_open(&d, way);
	if (device_map_memory(&d, shared->sink, IOVA_SINK, PAGE))
		die("a page of memory");
	role = start(&pid, &its_talk);
	if (role < 0) {
		close(talk);
		vmm(&d, its_talk);
	}
	for (;;) {
		char letter = next_letter(talk);

		switch (letter) {
		case 'd':
			store_everywhere(&d);
			break;
		case 'k':
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			break;
		case 'r':
			load_everywhere(&d);
			store_everywhere(&d);
			break;
		case 'u':
			if (!shared->cells[TRUNCATE].mapped &&
			    device_unmap(&d, iova_of(TRUNCATE), BLOCK))
				die("unmap");
			break;
		default:
			ask(role, letter);
		}
		answer(talk);
	}
}

/* It is the last to open the file, so that the end of that comes first. */
static void exit_with_device(enum way way, int talk)
{
	struct device d;
	int slow;

	become(1000);
	device_open(&d, way);
	slow = memfd_create("slow", MFD_CLOEXEC);
	if (slow < 0 || fallocate(slow, 0, 0, SLOW_SIZE))
		die("memfd");
	give_file(&d, EXIT);
	next_letter(talk);
	answer(talk);
	next_letter(talk);
	shared->cells[EXIT].result = result_of(unlink(path_of(EXIT)));
	_exit(0);
}

/*
 * The tenant.
 */

struct loot {
	size_t size;
	char *p;
	int fd;
	char path[256];
};

static void take_all(const char *dir, struct loot *loot)
{
	struct statvfs st;
	size_t i;

	snprintf(loot->path, sizeof(loot->path), "%s/tenant", dir);
	loot->fd = open(loot->path, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (loot->fd < 0 || statvfs(dir, &st))
		die("%s", loot->path);
	loot->size = st.f_bavail * st.f_frsize;
	if (ftruncate(loot->fd, loot->size))
		die("ftruncate of %s", loot->path);
	loot->p = mmap(NULL, loot->size, PROT_READ | PROT_WRITE, MAP_SHARED, loot->fd, 0);
	if (loot->p == MAP_FAILED)
		die("mmap of %s", loot->path);
	for (i = 0; i < loot->size; i += BLOCK)
		strcpy(loot->p + i, SECRET);
}

static void look_at_all(struct loot *loot)
{
	size_t i;

	for (i = 0; i < loot->size; i += BLOCK)
		if (strcmp(loot->p + i, SECRET)) {
			printf("a tenant of %s has: %.*s\n", loot->path, COPIED, loot->p + i);
			shared->overwritten = true;
		}
}

static void give_all(struct loot *loot)
{
	munmap(loot->p, loot->size);
	close(loot->fd);
	if (unlink(loot->path))
		die("unlink of %s", loot->path);
}

static void tenant(int talk)
{
	struct loot node, other;

	become(2000);
	for (;;) {
		switch (next_letter(talk)) {
		case 't':
			take_all(node_dir, &node);
			take_all(other_dir, &other);
			break;
		case 'c':
			look_at_all(&node);
			look_at_all(&other);
			break;
		case 'f':
			give_all(&node);
			give_all(&other);
			break;
		}
		answer(talk);
	}
}

/*
 * Root.
 */

static long number_of(int node, const char *name)
{
	char path[128];
	long number;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%d/%s", node, name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%ld", &number) != 1)
		die("%s", path);
	fclose(f);
	return number;
}

/* A kernel without pins, in which there is a leak, does not count them. */
static void check_pins(enum way way, long should)
{
	long pinned;

	if (access("/sys/fs/guestmemfs/node0/pinned_blocks", F_OK))
		return;
	pinned = number_of(0, "pinned_blocks") + number_of(1, "pinned_blocks");
	errno = 0;
	if (pinned != should)
		die("%s: %ld blocks are pinned, should be %ld", way_name[way], pinned, should);
}

static long free_of(const char *dir)
{
	struct statvfs st;

	if (statvfs(dir, &st))
		die("%s", dir);
	return st.f_bfree;
}

static void write_to(const char *path, const char *text, int *err)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		die("%s", path);
	*err = write(fd, text, strlen(text)) < 0 ? errno : 0;
	close(fd);
}

static uint64_t phys_in(const char *path, uint64_t offset)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t phys;

	if (fd < 0)
		die("%s", path);
	phys = phys_of(fd, offset);
	close(fd);
	return phys;
}

static bool has_block(const char *dir, uint64_t phys)
{
	uint64_t offset, p;
	bool has = false;
	char path[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/tenant", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die("%s", path);
	for (offset = 0; !has && offset < (uint64_t)st.st_size; offset += BLOCK) {
		p = phys_of(fd, offset);
		has = p <= phys && phys < p + BLOCK;
	}
	close(fd);
	return has;
}

/* All that the device reaches is what was given to it, and nothing of that is missing. */
static void check_leaves(enum way way)
{
	static struct iommu_entry entries[ENTRIES];
	size_t i, count = device_entries(entries, ENTRIES);
	uint64_t reached[OPERATIONS] = {};
	enum operation op;

	errno = 0;
	for (i = 0; i < count; i++) {
		uint64_t iova = entries[i].iova;

		if (iova < iova_of(0) || iova >= iova_of(OPERATIONS))
			continue;
		op = (iova - IOVA_FILES) / BLOCK;
		if (shared->cells[op].mapped ||
		    entries[i].phys != shared->cells[op].phys + iova % BLOCK ||
		    entries[i].size > BLOCK)
			die("%s %s: IOVA %#lx leads to %#lx, should be in %#lx", way_name[way],
			    operation_name[op], iova, entries[i].phys, shared->cells[op].phys);
		reached[op] += entries[i].size;
	}
	for (op = 0; op < EXIT; op++)
		if (!shared->cells[op].mapped && reached[op] != BLOCK)
			die("%s %s: the device reaches %#lx bytes", way_name[way],
			    operation_name[op], reached[op]);
}

/* The memory that a device has of a file is still that file's, or at least no other's. */
static void check_owners(void)
{
	enum operation op;
	struct cell *cell;

	for (op = 0; op < EXIT; op++) {
		cell = &shared->cells[op];
		if (cell->mapped)
			continue;
		if (has_block(op == DISCARD ? other_dir : node_dir, cell->phys))
			cell->leak = true;
		else if (cell->result && phys_in(real_path_of(op), BLOCK) != cell->phys)
			die("%s: the file has other memory", operation_name[op]);
	}
}

/* Returns what umount said. If it is busy, the node cannot be discarded by a trick either. */
static int unmount_and_discard(void)
{
	static const char discard[] = "/sys/fs/guestmemfs/node1/discard";
	int err = result_of(umount(other_dir)), discarded;

	if (err && umount2(other_dir, MNT_DETACH))
		die("umount of %s", other_dir);
	write_to(discard, "node1", &discarded);
	if (err && discarded != EBUSY) {
		errno = discarded;
		die("a busy node could be discarded");
	}
	if (mount("none", other_dir, "guestmemfs", 0, "node=1") || chmod(other_dir, 01777))
		die("mount of %s", other_dir);
	return err;
}

static void wait_for_memory(enum way way, long node_free, long other_free)
{
	int i;

	check_pins(way, 0);
	errno = 0;
	for (i = 0; free_of(node_dir) != node_free || free_of(other_dir) != other_free; i++) {
		if (i == PATIENCE)
			die("%s: %ld and %ld blocks are free, should be %ld and %ld",
			    way_name[way], free_of(node_dir), free_of(other_dir), node_free,
			    other_free);
		usleep(100000);
	}
}

static bool report(enum way way, enum operation op)
{
	struct cell *cell = &shared->cells[op];

	if (cell->mapped)
		printf("%s %s: %s none\n", way_name[way], operation_name[op],
		       strerrorname_np(cell->mapped));
	else
		printf("%s %s: %s %s\n", way_name[way], operation_name[op],
		       cell->result ? strerrorname_np(cell->result) : "done",
		       cell->leak ? "LEAK" : "own");
	return cell->leak;
}

/* All operations but the last, with one opening of the device. */
static bool try_way(enum way way, int tenant)
{
	long node_free = free_of(node_dir), other_free = free_of(other_dir);
	long pins = 0;
	enum operation op;
	bool leak = false;
	int holder, talk;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	holder = start(&pid, &talk);
	if (holder < 0)
		hold(way, talk);
	ask(holder, 'm');
	for (op = 0; op < EXIT; op++) {
		shared->cells[op].phys = phys_in(real_path_of(op), BLOCK);
		pins += !shared->cells[op].mapped;
	}
	check_pins(way, pins);
	check_leaves(way);
	/* The device reaches the files, or what follows would show nothing. */
	ask(holder, 'd');
	ask(holder, 'p');

	ask(holder, 't');
	shared->cells[DISCARD].result = unmount_and_discard();
	check_leaves(way);
	ask(holder, 'k');
	ask(tenant, 't');
	check_leaves(way);
	check_owners();
	ask(holder, 'r');
	ask(tenant, 'c');
	ask(tenant, 'f');
	for (op = 0; op < EXIT; op++)
		leak |= report(way, op);

	ask(holder, 'u');
	pins -= !shared->cells[TRUNCATE].mapped;
	check_pins(way, pins);
	if (!leak && truncate(path_of(TRUNCATE), 0))
		die("%s: truncate after the unmap", way_name[way]);
	close(holder);
	waitpid(pid, NULL, 0);
	for (op = 0; op < EXIT; op++)
		if (unlink(path_of(op)) && errno != ENOENT)
			die("unlink of %s", path_of(op));
	if (unlink(decoy_path()))
		die("unlink of %s", decoy_path());
	wait_for_memory(way, node_free, other_free);
	return leak || shared->overwritten;
}

/* While the process exits its memory must not be free as long as the device reaches it. */
static bool try_exit(enum way way)
{
	struct cell *cell = &shared->cells[EXIT];
	long node_free = free_of(node_dir), other_free = free_of(other_dir);
	static struct iommu_entry entries[ENTRIES];
	bool freed = false, ended = false;
	size_t i, count;
	int role, talk;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	role = start(&pid, &talk);
	if (role < 0)
		exit_with_device(way, talk);
	ask(role, 'g');
	cell->phys = phys_in(path_of(EXIT), BLOCK);
	if (write(role, "x", 1) != 1)
		die("write");
	while (!freed || !ended) {
		freed = free_of(node_dir) == node_free;
		if (freed) {
			count = device_entries(entries, ENTRIES);
			for (i = 0; i < count; i++)
				cell->leak |= entries[i].phys / BLOCK == cell->phys / BLOCK;
		}
		if (!ended)
			ended = waitpid(pid, NULL, WNOHANG) == pid;
	}
	close(role);
	wait_for_memory(way, node_free, other_free);
	return report(way, EXIT);
}

int main(int argc, char **argv)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	bool leak = false, wanted;
	int role, talk, arg;
	enum way way;
	pid_t pid;

	if (argc < 7) {
		fprintf(stderr, "usage: dma NODE OTHER OVERLAY DEVICE GROUP CDEV [WAY]...\n");
		return 2;
	}
	node_dir = argv[1];
	other_dir = argv[2];
	overlay_dir = argv[3];
	device_choose(argv[4], argv[5], argv[6]);
	setbuf(stdout, NULL);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	/* For the page of memory, which is pinned. */
	if (shared == MAP_FAILED || setrlimit(RLIMIT_MEMLOCK, &all))
		die("memory");
	role = start(&pid, &talk);
	if (role < 0)
		tenant(talk);
	for (way = 0; way < WAYS; way++) {
		wanted = argc == 7;
		for (arg = 7; arg < argc; arg++)
			wanted |= !strcmp(argv[arg], way_name[way]);
		if (wanted) {
			leak |= try_way(way, role);
			leak |= try_exit(way);
		}
	}
	return leak;
}
