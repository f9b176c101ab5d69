// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to unplug memory of a guest and to plug it again, as virtio-mem of QEMU does
 * with prealloc=on: block by block, by calls on the file and on its mapping.
 *
 * usage: plug DIR SIZE RUNS PEER...
 *
 * DIR is a mount of guestmemfs or tmpfs, or "-". With guestmemfs, HOLD_SCRUB in the
 * environment is the file that stops its pool from zeroing in the background.
 */
#define _GNU_SOURCE
#include <linux/memfd.h>

#include "bench.h"
#include "peers.h"

/* Not in all headers of libc. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

/* Of virtio-mem; no less than a page of hugetlbfs, for which QEMU has no madvise(). */
static size_t block_of(const struct peer *peer)
{
	return peer->flags & MFD_HUGETLB ? peer->leaf : BLOCK;
}

static uint64_t unplug(const struct peer *peer, int fd, char *p, size_t size)
{
	size_t block = block_of(peer), at;
	uint64_t start = now();

	for (at = 0; at < size; at += block) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, block))
			err(2, "%s: punch", peer->name);
		if (!(peer->flags & MFD_HUGETLB) && madvise(p + at, block, MADV_DONTNEED))
			err(2, "%s: MADV_DONTNEED", peer->name);
	}
	return now() - start;
}

static uint64_t plug(const struct peer *peer, char *p, size_t size)
{
	size_t block = block_of(peer), at;
	uint64_t start = now();

	for (at = 0; at < size; at += block)
		if (madvise(p + at, block, MADV_POPULATE_WRITE))
			err(2, "%s: MADV_POPULATE_WRITE", peer->name);
	return now() - start;
}

static void hold_scrub(const struct peer *peer, const char *text)
{
	const char *file = getenv("HOLD_SCRUB");

	if (!peer->dirty)
		return;
	if (!file)
		errx(2, "HOLD_SCRUB is not in the environment");
	write_file(file, text);
}

static void measure(const struct peer *peer, size_t size, int runs)
{
	struct series down = { "unplug", "time" }, up = { "plug", "time" };
	struct series both = { "unplug and plug", "time" };
	uint64_t unplugged, plugged;
	char *p;
	int fd;

	fd = peer_create(peer, size, -1);
	p = peer_map(peer, fd, size, MAP_NORESERVE);
	plug(peer, p, size);
	while (runs--) {
		hold_scrub(peer, "Y");
		unplugged = unplug(peer, fd, p, size);
		/* What has been zeroed by the time that it is plugged again. */
		if (peer->source == GUESTMEMFS && !peer->dirty)
			wait_clean();
		plugged = plug(peer, p, size);
		hold_scrub(peer, "N");
		add(&down, unplugged);
		add(&up, plugged);
		add(&both, unplugged + plugged);
	}
	munmap(p, size);
	peer_drop(peer, fd);
	print_series(peer->name, size, &down);
	print_series(peer->name, size, &up);
	print_series(peer->name, size, &both);
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 5)
		errx(2, "usage: plug DIR SIZE RUNS PEER...");
	if (strcmp(argv[1], "-") && chdir(argv[1]))
		err(2, "%s", argv[1]);
	for (i = 4; i < argc; i++)
		measure(peer_find(argv[i]), parse_size(argv[2]), atoi(argv[3]));
	return 0;
}
