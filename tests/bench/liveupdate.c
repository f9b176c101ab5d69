// SPDX-License-Identifier: GPL-2.0
/*
 * The cost to keep memory for guests over a kexec: to preserve it, the kexec until the next
 * kernel starts its first program, to retrieve it, and to touch it first.
 *
 * usage: liveupdate keep PEER SIZE [DIR...]	in the one kernel; kexecs
 *	  liveupdate find			in the next; prints what it cost
 *	  liveupdate clean NODE...		see below; kexecs
 *
 * PEER is "guestmemfs" (files that are opened by name), "guestmemfs-luo" (descriptors
 * of such files), "memfd-4k" or "memfd-huge", or begins with "nothing". DIR are mounts of
 * guestmemfs, with a part of SIZE in a file on each; an existing file grows. The machine
 * needs first.c as its first program.
 *
 * Zeroing a terabyte needs a machine with a terabyte. "clean" tells the next kernel,
 * by the debugging interface of pools, that all memory is zero, as is the memory of a new
 * machine in QEMU.
 */
#define _GNU_SOURCE
#include <linux/reboot.h>
#include <stdbool.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <x86intrin.h>

#include <libliveupdate.h>
#include <linux/kho/abi/guestmemfs.h>

#include "bench.h"
#include "peers.h"

#define SESSION		"bench"
#define MAX_DIRS	8
#define BITMAP_BYTES	(GMPOOL_BITMAP_BITS / 8)

/* Ticks of the TSC, which equal nanoseconds. */
#define AHEAD	20000000000ULL
#define NEAR	20000000ULL

/* State that the first kernel leaves for the next one in the scratch folder. */
struct note {
	char peer[32];
	char dirs[MAX_DIRS][64];
	int nr;			/* of files */
	uint64_t size;		/* of all */
	uint64_t preserve;
	uint64_t kexec;		/* time by the TSC, which kexec does not reset */
};

static const char *note_path(void)
{
	static char path[4096];
	const char *scratch = getenv("VM_SCRATCH");

	if (!scratch)
		errx(2, "VM_SCRATCH is not in the environment");
	snprintf(path, sizeof(path), "%s/note", scratch);
	return path;
}

static void write_note(const struct note *note)
{
	FILE *f = fopen(note_path(), "w");

	if (!f || fwrite(note, sizeof(*note), 1, f) != 1 || fclose(f))
		err(2, "%s", note_path());
}

static bool by_name(const char *peer)
{
	return !strcmp(peer, "guestmemfs");
}

/* Kinds of memory of the peers. */
static const struct peer *shape(const char *name)
{
	return peer_find(strcmp(name, "guestmemfs-luo") ? name : "guestmemfs");
}

static const char *path_of(const struct note *note, int i)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", note->dirs[i], note->peer);
	return path;
}

static int make(const struct note *note, const struct peer *peer, int i, size_t size)
{
	int fd;

	if (peer->source != GUESTMEMFS)
		return peer_create(peer, size, -1);
	fd = open(path_of(note, i), O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, size))
		err(2, "%s of %zu bytes", path_of(note, i), size);
	return fd;
}

/* Write the address into one word of each mapping. */
static void fill(const struct peer *peer, char *p, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += peer->leaf)
		*(uint64_t *)(p + i) = ~i;
}

static void compare(const struct peer *peer, const char *p, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += peer->leaf)
		if (*(const uint64_t *)(p + i) != ~i)
			errx(2, "%s: memory at %zu is not what it was", peer->name, i);
}

static void load_kernel(void)
{
	int status = system("vm-kexec --load-only");

	if (status)
		errx(2, "status %d of vm-kexec", status);
}

static void keep(struct note *note)
{
	uint64_t start, ahead = AHEAD, each = note->nr ? note->size / note->nr : 0;
	const struct peer *peer = note->nr ? shape(note->peer) : NULL;
	int luo, session, error, i, fds[MAX_DIRS];
	char *p;

	for (i = 0; i < note->nr; i++) {
		fds[i] = make(note, peer, i, each);
		p = peer_map(peer, fds[i], each, 0);
		fill(peer, p, each);
		munmap(p, each);
	}
	luo = luo_open_device();
	if (luo < 0)
		err(2, LUO_DEVICE);
	/* By then, the deferred work of the boot is done. */
	sleep(5);

	start = now();
	if (note->nr && !by_name(note->peer)) {
		session = luo_create_session(luo, SESSION);
		if (session < 0)
			errx(2, "no session: %d", session);
		for (i = 0; i < note->nr; i++) {
			error = luo_session_preserve_fd(session, fds[i], i);
			if (error)
				errx(2, "%s of %" PRIu64 " bytes is not preserved: %s", note->peer,
				     each, strerror(-error));
		}
	}
	note->preserve = now() - start;

	load_kernel();
	/*
	 * Writing the note is no part of it, and takes as long as the host likes; but the
	 * note says when the kexec begins. So that is decided on before.
	 */
	do {
		note->kexec = __rdtsc() + ahead;
		write_note(note);
		ahead *= 2;
		start = __rdtsc();
	} while (start + NEAR > note->kexec);
	usleep((note->kexec - start - NEAR) / 1000);
	while (__rdtsc() < note->kexec)
		;
	reboot(LINUX_REBOOT_CMD_KEXEC);
	err(2, "kexec");
}

static void retrieve(const struct note *note, int luo, int *fds)
{
	int i, session = -1;

	if (!by_name(note->peer)) {
		session = luo_retrieve_session(luo, SESSION);
		if (session < 0)
			errx(2, "the session is gone: %d", session);
	}
	for (i = 0; i < note->nr; i++) {
		fds[i] = session < 0 ? open(path_of(note, i), O_RDWR) :
				       luo_session_retrieve_fd(session, i);
		if (fds[i] < 0)
			errx(2, "%s does not come back: %d", note->peer, fds[i]);
	}
	if (session >= 0 && luo_session_finish(session))
		errx(2, "the session cannot be finished");
}

static void find(void)
{
	uint64_t kexec, start, each, retrieved = 0, touched = 0;
	int luo, i, fds[MAX_DIRS];
	const struct peer *peer;
	struct note note;
	long first;
	FILE *f;
	char *p;

	f = fopen(note_path(), "r");
	if (!f || fread(&note, sizeof(note), 1, f) != 1)
		err(2, "%s", note_path());
	fclose(f);
	first = number_in("/run/vm/bin/first-instruction", "");
	if (first < 0)
		errx(2, "the first program did not say when it was started");
	kexec = first - note.kexec;

	luo = luo_open_device();
	if (luo < 0)
		err(2, LUO_DEVICE);
	if (note.nr) {
		peer = shape(note.peer);
		each = note.size / note.nr;
		start = now();
		retrieve(&note, luo, fds);
		retrieved = now() - start;
		for (i = 0; i < note.nr; i++) {
			start = now();
			p = peer_map(peer, fds[i], each, 0);
			compare(peer, p, each);
			touched += now() - start;
			munmap(p, each);
		}
	}
	print_one(note.peer, note.size, "preserve", "time", note.preserve);
	print_one(note.peer, note.size, "kexec", "time", kexec);
	print_one(note.peer, note.size, "retrieve", "time", retrieved);
	print_one(note.peer, note.size, "first touch", "time", touched);
	print_one(note.peer, note.size, "live update", "time",
		  note.preserve + kexec + retrieved + touched);
}

/* Flip all bits of the bitmaps of dirty blocks, all of which are set. */
static void clean(const char *node)
{
	char path[128], line[64];
	long byte, bytes;
	int fd, len;

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/total_blocks", node);
	bytes = number_in(path, "") / 8;
	if (bytes < 0)
		errx(2, "node %s has no pool", node);
	snprintf(path, sizeof(path), "/sys/kernel/debug/guestmem_pool/node%s/damage", node);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		err(2, "%s", path);
	for (byte = 0; byte < bytes; byte++) {
		/* Blocks of the two bitmaps of a new pool alternate. */
		len = sprintf(line, "meta%ld %zu 255 fix", byte / BITMAP_BYTES * 2 + 1,
			      offsetof(struct gmpool_bitmap_ser, bits) + byte % BITMAP_BYTES);
		if (write(fd, line, len) != len)
			err(2, "%s", path);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct note note = { 0 };
	int i;

	if (argc >= 4 && argc <= 4 + MAX_DIRS && !strcmp(argv[1], "keep")) {
		snprintf(note.peer, sizeof(note.peer), "%s", argv[2]);
		note.size = parse_size(argv[3]);
		for (i = 4; i < argc; i++)
			snprintf(note.dirs[i - 4], sizeof(note.dirs[0]), "%s", argv[i]);
		/* A memfd has no directory. */
		note.nr = argc > 4 ? argc - 4 : note.size > 0;
		keep(&note);
	} else if (argc == 2 && !strcmp(argv[1], "find")) {
		find();
	} else if (argc >= 3 && !strcmp(argv[1], "clean")) {
		/* It prints a line for each byte, and a serial line is slow. */
		write_file("/sys/module/printk/parameters/ignore_loglevel", "N");
		write_file("/proc/sys/kernel/printk", "1");
		for (i = 2; i < argc; i++)
			clean(argv[i]);
		load_kernel();
		reboot(LINUX_REBOOT_CMD_KEXEC);
		err(2, "kexec");
	} else {
		errx(2, "usage: liveupdate keep PEER SIZE [DIR...] | find | clean NODE...");
	}
	return 0;
}
