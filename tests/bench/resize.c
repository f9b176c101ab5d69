// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to move memory between the kernel and a pool, or hugetlbfs, while the machine
 * runs.
 *
 * usage: resize PEER FILE SIZE RUNS GROW SHRINK [CLEAN]
 *
 * GROW and SHRINK are written to FILE in turn; SIZE is what they change. "-" is not written.
 * Between them, waits until the file CLEAN has "0": then nothing is left to be zeroed.
 */
#define _GNU_SOURCE
#include "bench.h"

static uint64_t change(const char *file, const char *text)
{
	uint64_t start = now();

	write_file(file, text);
	return now() - start;
}

static void wait_zero(const char *file)
{
	while (file && number_in(file, "") > 0)
		usleep(100000);
}

int main(int argc, char **argv)
{
	struct series grow = { .what = "grow", .unit = "time" };
	struct series shrink = { .what = "shrink", .unit = "time" };
	uint64_t size;
	int runs;

	if (argc < 7)
		errx(2, "usage: resize PEER FILE SIZE RUNS GROW SHRINK [CLEAN]");
	size = parse_size(argv[3]);
	for (runs = atoi(argv[4]); runs > 0; runs--) {
		if (strcmp(argv[5], "-"))
			add(&grow, change(argv[2], argv[5]));
		wait_zero(argc > 7 ? argv[7] : NULL);
		if (strcmp(argv[6], "-"))
			add(&shrink, change(argv[2], argv[6]));
	}
	print_series(argv[1], size, &grow);
	print_series(argv[1], size, &shrink);
	return 0;
}
