// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to get a gigabyte of memory and to touch it once per leaf, by
 * guestmemfs and by what else a VMM can use. Meant for a machine whose clock
 * counts instructions: scripts/bench-fault.
 *
 * usage: fault DIR	a directory of guestmemfs with a gigabyte that is aligned,
 *			free, and clean
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <linux/memfd.h>

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define GIANT	(512 * BLOCK)

struct kind {
	const char *name;
	unsigned int flags;	/* of memfd_create(); guestmemfs if there is no name */
	size_t leaf;
	size_t skew;		/* of the address, past a gigabyte */
	int dirty;		/* the memory is as its last owner left it */
};

static const struct kind kinds[] = {
	{ "hugetlbfs, 2 MiB", MFD_HUGETLB | MFD_HUGE_2MB, BLOCK, 0, 0 },
	{ "hugetlbfs, 1 GiB", MFD_HUGETLB | MFD_HUGE_1GB, GIANT, 0, 0 },
	{ "memfd, 4 KiB", 0, PAGE, 0, 0 },
	{ "guestmemfs, 1 GiB", ~0U, GIANT, 0, 0 },
	{ "guestmemfs, 2 MiB", ~0U, BLOCK, BLOCK, 0 },
	{ "guestmemfs, 1 GiB, not scrubbed", ~0U, GIANT, 0, 1 },
	{ "guestmemfs, 2 MiB, not scrubbed", ~0U, BLOCK, BLOCK, 1 },
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static void hold_scrub(const char *yes)
{
	const char *path = getenv("HOLD_SCRUB");
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, yes, 1) != 1)
		err(2, "%s", path);
	close(fd);
}

static void wait_clean(void)
{
	char line[512], *at;
	long dirty;
	FILE *f;

	do {
		usleep(100000);
		dirty = -1;
		f = fopen("/proc/self/mountstats", "r");
		while (f && fgets(line, sizeof(line), f)) {
			at = strstr(line, "dirty_blocks=");
			if (at)
				dirty = atol(at + 13);
		}
		if (f)
			fclose(f);
	} while (dirty > 0);
	if (dirty < 0)
		errx(2, "no dirty_blocks in /proc/self/mountstats");
}

static int create(const struct kind *kind)
{
	int fd;

	if (kind->flags == ~0U)
		fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	else
		fd = memfd_create("fault", kind->flags);
	if (fd < 0)
		err(2, "%s", kind->name);
	return fd;
}

static char *reserve(size_t skew)
{
	char *p = mmap(NULL, 3 * GIANT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	if (p == MAP_FAILED)
		err(2, "mmap");
	return (char *)(((uintptr_t)p + GIANT - 1) & ~(GIANT - 1)) + skew;
}

static void measure(const struct kind *kind, double *base)
{
	uint64_t start, allocated, touched;
	char *at = reserve(kind->skew);
	long before;
	size_t i;
	char *p;
	int fd;

	if (kind->flags == ~0U)
		wait_clean();
	if (kind->dirty) {
		hold_scrub("Y");
		fd = create(kind);
		if (ftruncate(fd, GIANT))
			err(2, "ftruncate");
		unlink("file");
		close(fd);
	}

	start = now();
	fd = create(kind);
	if (ftruncate(fd, GIANT))
		err(2, "ftruncate");
	allocated = now();
	before = faults();
	p = mmap(at, GIANT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED)
		err(2, "mmap %s", kind->name);
	for (i = 0; i < GIANT; i += kind->leaf)
		p[i] = 1;
	touched = now();
	if (!*base)
		*base = touched - start;
	printf("%-32s %12.3f %12.3f %8ld %12.3f %10.5f\n", kind->name,
	       (allocated - start) / 1e6, (touched - allocated) / 1e6, faults() - before,
	       (touched - start) / 1e6, (touched - start) / *base);
	fflush(stdout);

	if (kind->dirty)
		hold_scrub("N");
	munmap(p, GIANT);
	close(fd);
	unlink("file");
}

int main(int argc, char **argv)
{
	double base = 0;
	size_t i;

	if (argc != 2 || chdir(argv[1]))
		errx(2, "usage: fault DIR");
	printf("%-32s %12s %12s %8s %12s %10s\n", "million instructions per GiB", "allocate",
	       "map, touch", "faults", "together", "ratio");
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure(&kinds[i], &base);
	return 0;
}
