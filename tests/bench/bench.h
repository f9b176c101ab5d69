/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the programs of the benchmark. They run in the test machine, and print a
 * line of JSON for each figure, which tests/bench/machine.py reads.
 */
#ifndef BENCH_H
#define BENCH_H

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define GIB	(512 * BLOCK)

#define MAX_RUNS	16

/* Other headers of the kernel's tests and tools define it too. */
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

/* Nanoseconds. On a machine whose clock counts instructions, these are instructions. */
static inline uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Values of one quantity in several runs. */
struct series {
	const char *what;
	const char *unit;	/* "time", as by now(); or "bytes", "count" */
	double values[MAX_RUNS];
	int nr;
};

static inline void add(struct series *series, double value)
{
	if (series->nr == MAX_RUNS)
		errx(2, "%s: more than %d runs", series->what, MAX_RUNS);
	series->values[series->nr++] = value;
}

/* @x is the size in bytes, or the number of files, of the measurement. */
static inline void print_series(const char *peer, uint64_t x, const struct series *series)
{
	int i;

	if (!series->nr)
		return;
	printf("{\"peer\": \"%s\", \"what\": \"%s\", \"x\": %" PRIu64 ", ", peer, series->what, x);
	printf("\"unit\": \"%s\", \"values\": [", series->unit);
	for (i = 0; i < series->nr; i++)
		printf("%s%.10g", i ? ", " : "", series->values[i]);
	puts("]}");
	fflush(stdout);
}

static inline void print_one(const char *peer, uint64_t x, const char *what, const char *unit,
			     double value)
{
	struct series series = { .what = what, .unit = unit };

	add(&series, value);
	print_series(peer, x, &series);
}

/* A number with K, M, G or T. */
static inline uint64_t parse_size(const char *text)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t size;
	char *end;

	size = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (end == text || !unit || end[1])
		errx(2, "'%s' is not a size; a number with K, M, G or T is, such as 2G", text);
	return size << 10 * (unit - units + 1);
}

static inline void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err(2, "%s", path);
	close(fd);
}

/* The number after the first @key in a file, or -1. */
static inline long number_in(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	long number = -1;
	char line[512];
	char *at;

	while (f && number < 0 && fgets(line, sizeof(line), f)) {
		at = strstr(line, key);
		if (at)
			number = atol(at + strlen(key));
	}
	if (f)
		fclose(f);
	return number;
}

/* Wait until the pool of the mount has no dirty blocks. */
static inline void wait_clean(void)
{
	long dirty;

	do {
		usleep(100000);
		dirty = number_in("/proc/self/mountstats", "dirty_blocks=");
	} while (dirty > 0);
	if (dirty < 0)
		errx(2, "no dirty_blocks in /proc/self/mountstats: guestmemfs is not mounted");
}

/* Address space of @size at a multiple of 1 GiB, plus @skew. */
static inline char *reserve(size_t size, size_t skew)
{
	char *p = mmap(NULL, size + 2 * GIB, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(2, "mmap");
	return (char *)(((uintptr_t)p + GIB - 1) & ~(GIB - 1)) + skew;
}

#endif /* BENCH_H */
