// SPDX-License-Identifier: GPL-2.0
/*
 * The cost to get memory for a guest, all of it guaranteed or touched, from guestmemfs and
 * from other kinds of memory for VMMs.
 *
 * usage: launch DIR SIZE RUNS PREALLOC_RUNS PEER...
 *
 * DIR is a mount of guestmemfs or tmpfs, or "-".
 * guestmemfs needs SIZE of free memory, and in its environment PAUSE_SCRUB, the file that
 * stops its pool from zeroing in the background.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/resource.h>

#include "bench.h"
#include "peers.h"

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static long page_tables(void)
{
	return number_in("/proc/self/status", "VmPTE:") << 10;
}

/* Prepare the memory of @peer, before the measurement. */
static void prepare(const struct peer *peer, size_t size)
{
	const char *pause = getenv("PAUSE_SCRUB");

	if (peer->source != GUESTMEMFS)
		return;
	wait_clean();
	if (!peer->dirty)
		return;
	if (!pause)
		errx(2, "PAUSE_SCRUB is not in the environment");
	write_file(pause, "Y");
	peer_drop(peer, peer_create(peer, size, -1));
}

static void finish(const struct peer *peer)
{
	if (!peer->dirty)
		return;
	write_file(getenv("PAUSE_SCRUB"), "N");
	/* The scrub thread checks this when a block becomes free. */
	peer_drop(peer, peer_create(peer, 2 << 20, -1));
}

static void touch(const struct peer *peer, size_t size, int runs)
{
	struct series allocate = { "create", "time" }, touch = { "touch", "time" };
	struct series all = { "launch", "time" }, release = { "release", "time" };
	struct series leaf = { "leaf", "bytes" }, tables = { "page tables", "bytes" };
	struct series count = { "faults", "count" };
	uint64_t start, allocated, touched, released;
	long before, bytes;
	size_t i;
	char *p;
	int fd;

	while (runs--) {
		prepare(peer, size);
		bytes = page_tables();
		before = faults();
		start = now();
		fd = peer_create(peer, size, -1);
		allocated = now();
		p = peer_map(peer, fd, size, 0);
		for (i = 0; i < size; i += peer->leaf)
			p[i] = 1;
		touched = now();
		before = faults() - before;
		add(&tables, page_tables() - bytes);
		add(&allocate, allocated - start);
		add(&touch, touched - allocated);
		add(&all, touched - start);
		add(&count, before);
		add(&leaf, size / (before ? before : 1));

		start = now();
		munmap(p, size);
		peer_drop(peer, fd);
		released = now();
		add(&release, released - start);
		finish(peer);
	}
	print_series(peer->name, size, &allocate);
	print_series(peer->name, size, &touch);
	print_series(peer->name, size, &all);
	print_series(peer->name, size, &count);
	print_series(peer->name, size, &leaf);
	print_series(peer->name, size, &tables);
	print_series(peer->name, size, &release);
}

/*
 * Fill the page table, so that no access faults: by MAP_POPULATE, or by the mount option
 * prefault of guestmemfs, whose memory has no pages to populate with.
 */
static void preallocate(const struct peer *peer, size_t size, int runs)
{
	struct series all = { "prealloc", "time" };
	uint64_t start;
	char *p;
	int fd;

	/* madvise() follows the mapping, which would be populated with small pages before. */
	if (peer->advise)
		return;
	if (peer->source == GUESTMEMFS && mount(NULL, ".", NULL, MS_REMOUNT, "prefault"))
		err(2, "remount, prefault");
	while (runs--) {
		prepare(peer, size);
		start = now();
		fd = peer_create(peer, size, -1);
		p = peer_map(peer, fd, size, MAP_POPULATE);
		add(&all, now() - start);
		munmap(p, size);
		peer_drop(peer, fd);
		finish(peer);
	}
	if (peer->source == GUESTMEMFS && mount(NULL, ".", NULL, MS_REMOUNT, "noprefault"))
		err(2, "remount, noprefault");
	print_series(peer->name, size, &all);
}

int main(int argc, char **argv)
{
	size_t size;
	int i;

	if (argc < 6)
		errx(2, "usage: launch DIR SIZE RUNS PREALLOC_RUNS PEER...");
	if (strcmp(argv[1], "-") && chdir(argv[1]))
		err(2, "%s", argv[1]);
	size = parse_size(argv[2]);
	for (i = 5; i < argc; i++) {
		touch(peer_find(argv[i]), size, atoi(argv[3]));
		preallocate(peer_find(argv[i]), size, atoi(argv[4]));
	}
	return 0;
}
