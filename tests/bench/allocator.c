// SPDX-License-Identifier: GPL-2.0
/*
 * The allocator of pools, on a pool larger than a test machine: its cost at several fill
 * levels, and how contiguous memory is after a day in which virtual machines start and
 * end. fs/guestmemfs/numa/bitmap.c is compiled in unchanged.
 *
 * usage: allocator cost FILLED RUNS	percent of the pool
 *	  allocator day PEER RUNS	guestmemfs, guestmemfs-first-fit, or hugetlbfs-2m:
 *					a simulation of the free pages of hugetlbfs
 *
 * The seed of random numbers is the number of the range.
 */
#include <errno.h>
#include <linux/bitmap.h>

#include "../../fs/guestmemfs/numa/bitmap.h"
#include "bench.h"

#define POOL_BASE	(4ULL << 30)
#define POOL_SIZE	(4ULL << 40)
#define POOL_BLOCKS	(POOL_SIZE / BLOCK)

#define MAX_RANGES	64
#define MAX_VMS		16384
#define PROBES		64

static const struct gmpool_extent extent = { .base = POOL_BASE, .size = POOL_SIZE };
static struct gmpool_bitmap taken, clean;
static uint64_t seed;

/* splitmix64 */
static uint64_t rnd(uint64_t below)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) % below;
}

/* A virtual machine and its memory. */
struct vm {
	struct gmpool_range ranges[MAX_RANGES];
	int nr;
	uint64_t end;		/* of its life, in seconds */
};

static struct vm vms[MAX_VMS];
static int nr_vms;

static void make_pool(bool first_fit)
{
	gmpool_bitmap_destroy(&taken);
	gmpool_bitmap_destroy(&clean);
	if (gmpool_bitmap_init(&taken, &extent, 1) || gmpool_bitmap_init(&clean, &extent, 1))
		errx(2, "no memory for a bitmap");
	taken.first_fit = first_fit;
	nr_vms = 0;
}

static void put(const struct gmpool_range *range)
{
	if (gmpool_bitmap_put(&taken, range) || gmpool_bitmap_put(&clean, range))
		errx(2, "blocks that were given cannot be given back");
}

static void give_back(struct vm *vm)
{
	while (vm->nr)
		put(&vm->ranges[--vm->nr]);
}

/* Allocate all memory as gmpool_claim() does. */
static bool get(struct vm *vm, uint64_t blocks)
{
	uint64_t goal = GMPOOL_NO_GOAL;
	struct gmpool_range *range;

	vm->nr = 0;
	if (taken.nr_free < blocks)
		return false;
	for (; blocks; blocks -= range->count) {
		if (vm->nr == MAX_RANGES) {
			give_back(vm);
			return false;
		}
		range = &vm->ranges[vm->nr++];
		if (gmpool_bitmap_choose(&taken, &clean, blocks, goal, range) ||
		    gmpool_bitmap_take(&taken, range))
			errx(2, "blocks that are free cannot be taken");
		gmpool_bitmap_take_free(&clean, range);
		goal = range->start + range->count;
	}
	return true;
}

/*
 * Sizes of virtual machines in MiB, with their percentages: mostly powers of two, some
 * with the overhead of a VMM, and some arbitrary ones.
 */
static const struct { uint64_t mib; int share; } sizes[] = {
	{ 512, 6 }, { 1024, 12 }, { 1536, 4 }, { 2048, 18 }, { 3072, 4 }, { 4096, 18 }, { 4114, 4 },
	{ 6144, 4 }, { 8192, 12 }, { 12288, 3 }, { 16384, 8 }, { 32768, 4 }, { 65536, 2 },
	{ 131072, 1 },
};

static uint64_t random_blocks(void)
{
	int pick = rnd(100);
	size_t i = 0;

	while (pick >= sizes[i].share)
		pick -= sizes[i++].share;
	return sizes[i].mib * (1 << 20) / BLOCK;
}

/* Fill the pool, then free random virtual machines down to @filled percent. */
static void fill(uint64_t filled)
{
	uint64_t keep = POOL_BLOCKS * (100 - filled) / 100;
	int at;

	while (nr_vms < MAX_VMS && get(&vms[nr_vms], random_blocks()))
		nr_vms++;
	while (taken.nr_free < keep && nr_vms) {
		at = rnd(nr_vms);
		give_back(&vms[at]);
		vms[at] = vms[--nr_vms];
	}
}

static void measure_cost(uint64_t filled, int runs)
{
	static const struct { const char *name; uint64_t blocks; } probes[] = {
		{ "2 MiB", 1 }, { "1 GiB", 512 }, { "16 GiB", 8192 }, { "random", 0 },
	};
	uint64_t start, got, freed, blocks;
	int run, probe, done;
	struct vm vm;
	char what[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		struct series allocate = { what, "time" }, release = { "free", "time" };

		for (run = 1; run <= runs; run++) {
			seed = run;
			make_pool(false);
			fill(filled);
			got = 0;
			freed = 0;
			done = 0;
			for (probe = 0; probe < PROBES; probe++) {
				blocks = probes[i].blocks ? probes[i].blocks : random_blocks();
				start = now();
				if (!get(&vm, blocks))
					continue;
				got += now() - start;
				start = now();
				give_back(&vm);
				freed += now() - start;
				done++;
			}
			if (!done)
				continue;
			add(&allocate, (double)got / done);
			add(&release, (double)freed / done);
		}
		snprintf(what, sizeof(what), "allocate %s", probes[i].name);
		print_series("guestmemfs", filled, &allocate);
		snprintf(what, sizeof(what), "free %s", probes[i].name);
		release.what = what;
		print_series("guestmemfs", filled, &release);
	}
}

/* Number of 1 GiB mappings of this virtual machine, times the blocks of one. */
static uint64_t in_gibs(const struct vm *vm)
{
	uint64_t shift = POOL_BASE / BLOCK, offset = 0, skip, nr = 0;
	int i;

	for (i = 0; i < vm->nr; offset += vm->ranges[i++].count) {
		const struct gmpool_range *range = &vm->ranges[i];

		/* A mapping needs the same alignment in memory and in the file. */
		if ((range->start + shift - offset) % GMPOOL_1G_BLOCKS)
			continue;
		skip = -offset % GMPOOL_1G_BLOCKS;
		if (range->count > skip)
			nr += (range->count - skip) / GMPOOL_1G_BLOCKS;
	}
	return nr * GMPOOL_1G_BLOCKS;
}

/*
 * The free pages of hugetlbfs: one list; the first page is allocated, and a freed page
 * becomes the first.
 */
static uint32_t list[POOL_BLOCKS];
static uint64_t nr_list;
/* The pages of each virtual machine. */
static uint32_t *pages[MAX_VMS];
static uint64_t nr_pages[MAX_VMS];

static void make_list(void)
{
	uint64_t i;

	nr_list = POOL_BLOCKS;
	for (i = 0; i < POOL_BLOCKS; i++)
		list[i] = POOL_BLOCKS - 1 - i;
}

static void list_get(int vm, uint64_t blocks)
{
	uint64_t i;

	pages[vm] = malloc(blocks * sizeof(*pages[vm]));
	if (!pages[vm])
		err(2, "malloc");
	nr_pages[vm] = blocks;
	for (i = 0; i < blocks; i++)
		pages[vm][i] = list[--nr_list];
}

static void list_put(int vm)
{
	uint64_t i;

	for (i = 0; i < nr_pages[vm]; i++)
		list[nr_list++] = pages[vm][i];
	free(pages[vm]);
}

/* Show the list as a pool, to count ranges of 1 GiB. */
static void list_as_pool(void)
{
	struct gmpool_range range = { .count = 1 };
	uint64_t i;

	range.count = POOL_BLOCKS;
	range.start = 0;
	if (gmpool_bitmap_take(&taken, &range))
		errx(2, "the pool is not empty");
	range.count = 1;
	for (i = 0; i < nr_list; i++) {
		range.start = list[i];
		if (gmpool_bitmap_put(&taken, &range))
			errx(2, "page %llu is free twice", range.start);
	}
}

#define HOUR	3600
#define DAY	(24 * HOUR)

/* Many run for minutes, some for a day. */
static uint64_t random_life(void)
{
	switch (rnd(4)) {
	case 0:
		return 60 + rnd(15 * 60);
	case 1:
		return 15 * 60 + rnd(2 * HOUR);
	case 2:
		return HOUR + rnd(10 * HOUR);
	default:
		return 6 * HOUR + rnd(48 * HOUR);
	}
}

static uint64_t free_blocks(bool as_list)
{
	return as_list ? nr_list : taken.nr_free;
}

static void end_vm(int i, bool as_list)
{
	if (as_list) {
		list_put(i);
		pages[i] = pages[nr_vms - 1];
		nr_pages[i] = nr_pages[nr_vms - 1];
	} else {
		give_back(&vms[i]);
	}
	vms[i] = vms[--nr_vms];
}

/*
 * A virtual machine starts about every ten seconds, if there is memory for it: after some
 * hours the pool is full, and stays so. In the night none starts, until half is free.
 */
static void live_a_day(bool as_list)
{
	uint64_t time, blocks;
	int i, next;

	for (time = 0; time < DAY; time += 1 + rnd(20)) {
		for (i = 0; i < nr_vms; i++)
			if (vms[i].end <= time)
				end_vm(i--, as_list);
		blocks = random_blocks();
		if (free_blocks(as_list) < blocks || nr_vms == MAX_VMS)
			continue;
		if (as_list)
			list_get(nr_vms, blocks);
		else if (!get(&vms[nr_vms], blocks))
			continue;
		vms[nr_vms++].end = time + random_life();
	}
	while (nr_vms && free_blocks(as_list) < POOL_BLOCKS / 2) {
		for (i = next = 0; i < nr_vms; i++)
			if (vms[i].end < vms[next].end)
				next = i;
		end_vm(next, as_list);
	}
}

static void measure_day(const char *peer, int runs)
{
	struct series possible = { "free in whole gibibytes", "percent" };
	struct series mapped = { "used in leaves of 1 GiB", "percent" };
	bool as_list = !strcmp(peer, "hugetlbfs-2m");
	uint64_t used, gibs;
	int run, i;

	if (!as_list && strcmp(peer, "guestmemfs") && strcmp(peer, "guestmemfs-first-fit"))
		errx(2, "no peer '%s'; peers are guestmemfs, guestmemfs-first-fit and hugetlbfs-2m",
		     peer);
	for (run = 1; run <= runs; run++) {
		seed = run;
		make_pool(!strcmp(peer, "guestmemfs-first-fit"));
		make_list();
		live_a_day(as_list);
		used = 0;
		gibs = 0;
		for (i = 0; i < nr_vms; i++) {
			if (as_list) {
				list_put(i);
				used += nr_pages[i];
				nr_list -= nr_pages[i];
			} else {
				gibs += in_gibs(&vms[i]);
			}
		}
		if (as_list)
			list_as_pool();
		else
			used = taken.nr_blocks - taken.nr_free;
		add(&possible, 100.0 * gmpool_bitmap_free_1g(&taken) * GMPOOL_1G_BLOCKS /
			       taken.nr_free);
		add(&mapped, 100.0 * gibs / used);
	}
	print_series(peer, 1, &possible);
	print_series(peer, 1, &mapped);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "cost"))
		measure_cost(atoi(argv[2]), atoi(argv[3]));
	else if (argc == 4 && !strcmp(argv[1], "day"))
		measure_day(argv[2], atoi(argv[3]));
	else
		errx(2, "usage: allocator cost FILLED RUNS | allocator day PEER RUNS");
	return 0;
}
