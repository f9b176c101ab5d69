// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to keep memory for a guest over a kexec: to preserve it, the kexec until
 * the next kernel starts its first program, to retrieve it, and to touch it first.
 *
 * usage: liveupdate keep PEER DIR SIZE	in the one kernel; kexecs
 *	  liveupdate find		in the next; prints what it cost
 *
 * PEER is "nothing", "guestmemfs" (a file, found again by its name), "guestmemfs-luo" (a
 * descriptor of one), "memfd-4k" or "memfd-huge". The machine has to have a pool that is
 * clean, first.c as its first program, and no other processes that matter.
 */
#define _GNU_SOURCE
#include <linux/reboot.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <x86intrin.h>

#include <libliveupdate.h>

#include "bench.h"
#include "peers.h"

#define TOKEN	1
#define SESSION	"bench"

/* Ticks of the TSC, of which there are as many as nanoseconds. */
#define AHEAD	20000000000ULL
#define NEAR	20000000ULL

/* What the first kernel leaves for the next one in the scratch folder. */
struct note {
	char peer[32];
	char dir[64];
	uint64_t size;
	uint64_t preserve;
	uint64_t kexec;		/* when, by the TSC, which goes on over a kexec */
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

static int by_name(const char *peer)
{
	return !strcmp(peer, "guestmemfs");
}

/* The shape of the memory that a peer of this program has. */
static const struct peer *shape(const char *name)
{
	return peer_find(strcmp(name, "guestmemfs-luo") ? name : "guestmemfs");
}

/* One word in each leaf says where it is. */
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

static void run(const char *command)
{
	int status = system(command);

	if (status)
		errx(2, "status %d of: %s", status, command);
}

static void keep(const char *name, const char *dir, size_t size)
{
	struct note note = { .size = size };
	const struct peer *peer;
	int luo, session, error, fd;
	uint64_t start, ahead = AHEAD;
	FILE *f;

	snprintf(note.peer, sizeof(note.peer), "%s", name);
	snprintf(note.dir, sizeof(note.dir), "%s", dir);
	if (size) {
		peer = shape(name);
		if (peer->source == GUESTMEMFS && chdir(dir))
			err(2, "%s", dir);
		fd = peer_create(peer, size, -1);
		fill(peer, peer_map(peer, fd, size, 0), size);
	}
	luo = luo_open_device();
	if (luo < 0)
		err(2, LUO_DEVICE);
	/* What the boot has left to do is over by then. */
	sleep(5);

	start = now();
	if (size && !by_name(name)) {
		session = luo_create_session(luo, SESSION);
		if (session < 0)
			errx(2, "no session: %d", session);
		error = luo_session_preserve_fd(session, fd, TOKEN);
		if (error)
			errx(2, "%s of %zu bytes is not preserved: %s", name, size, strerror(-error));
	}
	note.preserve = now() - start;

	run("vm-kexec --load-only");
	/*
	 * Writing the note is no part of it, and takes as long as the host likes; but the
	 * note says when the kexec begins. So that is decided on before.
	 */
	do {
		note.kexec = __rdtsc() + ahead;
		f = fopen(note_path(), "w");
		if (!f || fwrite(&note, sizeof(note), 1, f) != 1 || fclose(f))
			err(2, "%s", note_path());
		ahead *= 2;
		start = __rdtsc();
	} while (start + NEAR > note.kexec);
	usleep((note.kexec - start - NEAR) / 1000);
	while (__rdtsc() < note.kexec)
		;
	reboot(LINUX_REBOOT_CMD_KEXEC);
	err(2, "kexec");
}

static void find(void)
{
	const struct peer *peer;
	struct note note;
	uint64_t kexec, start, retrieved = 0, touched = 0;
	int luo, session, fd;
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
	if (note.size) {
		peer = shape(note.peer);
		if (peer->source == GUESTMEMFS && chdir(note.dir))
			err(2, "%s", note.dir);
		start = now();
		if (by_name(note.peer)) {
			fd = open("file", O_RDWR);
			if (fd < 0)
				err(2, "file");
		} else {
			session = luo_retrieve_session(luo, SESSION);
			if (session < 0)
				errx(2, "the session is gone: %d", session);
			fd = luo_session_retrieve_fd(session, TOKEN);
			if (fd < 0)
				errx(2, "%s does not come back: %d", note.peer, fd);
			if (luo_session_finish(session))
				errx(2, "the session cannot be finished");
		}
		retrieved = now() - start;
		start = now();
		p = peer_map(peer, fd, note.size, 0);
		compare(peer, p, note.size);
		touched = now() - start;
		munmap(p, note.size);
		peer_drop(peer, fd);
	}
	print_one(note.peer, note.size, "preserve", "time", note.preserve);
	print_one(note.peer, note.size, "kexec", "time", kexec);
	print_one(note.peer, note.size, "retrieve", "time", retrieved);
	print_one(note.peer, note.size, "first touch", "time", touched);
	print_one(note.peer, note.size, "live update", "time",
		  note.preserve + kexec + retrieved + touched);
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "keep"))
		keep(argv[2], argv[3], strcmp(argv[4], "0") ? parse_size(argv[4]) : 0);
	else if (argc == 2 && !strcmp(argv[1], "find"))
		find();
	else
		errx(2, "usage: liveupdate keep PEER DIR SIZE | liveupdate find");
	return 0;
}
