// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to give the memory of a guest, all of which is there, to a device, and
 * to take it back, by guestmemfs and by what else a VMM can take.
 *
 * usage: devices DIR DEVICE GROUP CDEV SIZE RUNS PEER...
 *
 * DIR is a mount of guestmemfs or tmpfs, or "-". DEVICE is a PCI address, GROUP and
 * CDEV are its files below /dev/vfio.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>

#include "../numa/device.h"

#include "bench.h"
#include "peers.h"

/* A multiple of the largest entry of an IOMMU. */
#define IOVA	(4 * GIB)

static uint64_t map(struct device *d, int fd, char *p, size_t size)
{
	uint64_t start = now();

	errno = device_map(d, fd, 0, p, IOVA, size);
	if (errno)
		err(2, "%s", way_name[d->way]);
	return now() - start;
}

static uint64_t unmap(struct device *d, size_t size)
{
	uint64_t start = now();

	errno = device_unmap(d, IOVA, size);
	if (errno)
		err(2, "unmap");
	return now() - start;
}

static void give(const struct peer *peer, size_t size, int runs)
{
	struct series by_file = { "map by file", "time" };
	struct series by_address = { "map by address", "time" };
	struct series back = { "unmap", "time" }, both = { "map and unmap", "time" };
	struct device d = {};
	uint64_t mapped, unmapped;
	size_t i;
	char *p;
	int fd;

	fd = peer_create(peer, size, -1);
	p = peer_map(peer, fd, size, 0);
	for (i = 0; i < size; i += peer->leaf)
		p[i] = 1;
	while (runs--) {
		device_open(&d, IOAS_MAP);
		add(&by_address, map(&d, fd, p, size));
		unmap(&d, size);
		device_close(&d);

		device_open(&d, IOAS_MAP_FILE);
		mapped = map(&d, fd, p, size);
		unmapped = unmap(&d, size);
		device_close(&d);
		add(&by_file, mapped);
		add(&back, unmapped);
		add(&both, mapped + unmapped);
	}
	munmap(p, size);
	peer_drop(peer, fd);
	print_series(peer->name, size, &by_file);
	print_series(peer->name, size, &by_address);
	print_series(peer->name, size, &back);
	print_series(peer->name, size, &both);
}

int main(int argc, char **argv)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int i;

	if (argc < 8)
		errx(2, "usage: devices DIR DEVICE GROUP CDEV SIZE RUNS PEER...");
	if (strcmp(argv[1], "-") && chdir(argv[1]))
		err(2, "%s", argv[1]);
	if (setrlimit(RLIMIT_MEMLOCK, &all))
		err(2, "setrlimit");
	device_choose(argv[2], argv[3], argv[4]);
	for (i = 7; i < argc; i++)
		give(peer_find(argv[i]), parse_size(argv[5]), atoi(argv[6]));
	return 0;
}
