// SPDX-License-Identifier: GPL-2.0
/*
 * Many machines, each booted several times with command lines that follow from each
 * other, and what has to hold for all of it. Output is TAP: one test for each machine.
 *
 * usage: carve [--first SEED] [--machines NUMBER]
 *
 * Machine N is made from the seed N, so what fails is seen again by --first N.
 */

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "maps.h"

static unsigned int failures;
static bool predictable;
static const char *step;
static unsigned int nr_boots, nr_pools, nr_refused, nr_limits;
static unsigned int nr_growth, nr_growth_refused, nr_growth_limits;

/*
 * With the largest pools, the image may be in the way of one of them, break a gigabyte
 * that it would have had, and so break up what is left. That is not foreseen to the
 * byte: in how many such boots KHO may have no room, in a hundred.
 */
#define MOST_UNFORESEEN	1
static bool image_moved;
static unsigned int nr_moved, nr_unforeseen;

void fail(const char *fmt, ...)
{
	va_list args;

	printf("# %s: ", step);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	failures++;
}

static const char *const nothing[] = { NULL };

static void print_request(const struct request *request)
{
	const char *const *value;

	for (value = request->values; *value; value++)
		printf("# guestmemfs=%s\n", *value);
}

/* Boots, checks, and says whether there is something to see. */
static void try(const struct machine *machine, const struct request *request,
		struct verdict verdicts[NODES])
{
	const struct outcome *outcome = boot(machine, request->values, BOOT_WELL);
	unsigned int before = failures, nid, i;

	nr_boots++;
	nr_moved += image_moved;
	check_boot(machine, request, outcome, verdicts);
	/* It is known where KHO's area for all nodes goes, but if it is not small enough. */
	if (outcome->starved[0] && predictable) {
		const struct outcome *without = boot(machine, nothing, BOOT_WELL);
		bool room = !without->starved[0] &&
			(!machine->kho || without->scratch[1].nid == largest_node(machine));

		nr_boots++;
		nr_unforeseen += room && image_moved;
		if (room && !image_moved)
			fail("no room for the %s, but there is without pools", outcome->starved);
		boot_forget(without);
	}
	for (nid = 0; nid < NODES; nid++) {
		nr_pools += verdicts[nid].kind == VERDICT_POOL;
		nr_refused += verdicts[nid].kind == VERDICT_TOO_LARGE;
		nr_growth += verdicts[nid].growth.start != 0;
		nr_growth_refused += verdicts[nid].growth.refused;
	}
	if (failures > before) {
		print_request(request);
		for (i = 0; i < outcome->nr_scratch; i++)
			printf("# scratch at %#lx of %lu MiB on node %d\n",
			       outcome->scratch[i].base, outcome->scratch[i].size / MIB,
			       outcome->scratch[i].nid);
		printf("# image at %#lx\n# log:\n%s\n", machine->image, outcome->log);
	}
	boot_forget(outcome);
}

/* The largest that is allowed is allowed, one section more is not. */
static void try_limits(struct machine *machine, const struct request *request,
		       const struct verdict verdicts[NODES],
		       struct random *random)
{
	uint64_t bytes[NODES] = { };
	struct verdict again[NODES];
	struct request limits;
	unsigned int nid, i;
	bool any = false;
	uint64_t image = machine->image;

	for (nid = 0; nid < NODES; nid++) {
		if (verdicts[nid].kind == VERDICT_POOL || verdicts[nid].kind == VERDICT_NO_ROOM)
			bytes[nid] = asked_for(request, machine, nid);
		if (verdicts[nid].kind != VERDICT_TOO_LARGE)
			continue;
		bytes[nid] = verdicts[nid].allowed * MIB;
		any = true;
	}
	if (!any || !predictable)
		return;
	nr_limits++;

	request_bytes(&limits, bytes, NULL);
	/* Wherever the image is. */
	for (i = 0; i < 3; i++) {
		step = i ? "what is allowed, with the image elsewhere" : "what is allowed";
		image_moved = i;
		try(machine, &limits, again);
		for (nid = 0; nid < NODES; nid++)
			if (bytes[nid] && verdicts[nid].kind != VERDICT_NO_ROOM &&
			    again[nid].kind != VERDICT_POOL)
				fail("node %u: %lu MiB are refused now, verdict %d, allowed are %lu MiB, image at %#lx",
				     nid, bytes[nid] / MIB, again[nid].kind, again[nid].allowed,
				     machine->image);
		if (!place_image(machine, random))
			break;
	}
	machine->image = image;
	image_moved = false;

	for (nid = 0; nid < NODES; nid++)
		if (verdicts[nid].kind == VERDICT_TOO_LARGE)
			bytes[nid] += SECTION;
	request_bytes(&limits, bytes, NULL);
	step = "a section more";
	try(machine, &limits, again);
	for (nid = 0; nid < NODES; nid++)
		if (verdicts[nid].kind == VERDICT_TOO_LARGE &&
		    (again[nid].kind != VERDICT_TOO_LARGE ||
		     again[nid].allowed != verdicts[nid].allowed))
			fail("node %u: verdict %d, allowed are %lu MiB, were %lu MiB", nid,
			     again[nid].kind, again[nid].allowed, verdicts[nid].allowed);
}

/* The largest growth reserve that is allowed is allowed, a gigabyte more is not. */
static void try_growth(const struct machine *machine, const struct request *request,
		       const struct verdict verdicts[NODES])
{
	uint64_t bytes[NODES] = { }, growth[NODES] = { };
	struct verdict again[NODES];
	struct request limits;
	bool any = false;
	unsigned int nid;

	for (nid = 0; nid < NODES; nid++) {
		if (verdicts[nid].kind != VERDICT_POOL)
			continue;
		bytes[nid] = asked_for(request, machine, nid);
		growth[nid] = verdicts[nid].growth.allowed * MIB;
		any |= verdicts[nid].growth.refused;
	}
	if (!any || !predictable)
		return;
	nr_growth_limits++;

	request_bytes(&limits, bytes, growth);
	step = "the growth reserve that is allowed";
	try(machine, &limits, again);
	for (nid = 0; nid < NODES; nid++)
		if (growth[nid] && !again[nid].growth.start)
			fail("node %u: a growth reserve of %lu MiB is refused now", nid,
			     growth[nid] / MIB);

	for (nid = 0; nid < NODES; nid++)
		if (verdicts[nid].growth.refused)
			growth[nid] += GIB;
	request_bytes(&limits, bytes, growth);
	step = "a gigabyte more";
	try(machine, &limits, again);
	for (nid = 0; nid < NODES; nid++)
		if (verdicts[nid].growth.refused && !again[nid].growth.refused)
			fail("node %u: a growth reserve of %lu MiB is allowed now", nid,
			     growth[nid] / MIB);
}

static void try_machine(uint64_t seed)
{
	static struct machine machine;
	struct random random = { .state = ~seed };
	const struct outcome *outcome;
	struct verdict verdicts[NODES];
	struct request request, most;

	make_machine(&machine, seed);
	make_request(&request, &machine, &random);
	predictable = is_predictable(&machine);

	step = "without pools";
	outcome = boot(&machine, nothing, BOOT_WELL);
	nr_boots++;
	check_unchanged(outcome);
	if (outcome->log[0])
		fail("the log has: %s", outcome->log);
	boot_forget(outcome);

	step = "as asked for";
	try(&machine, &request, verdicts);
	try_limits(&machine, &request, verdicts, &random);
	try_growth(&machine, &request, verdicts);
	if (predictable) {
		request_most(&most);
		step = "most";
		try(&machine, &most, verdicts);
		try_limits(&machine, &most, verdicts, &random);
	}

	step = "no memory to describe a pool";
	outcome = boot(&machine, request.values, BOOT_NO_POOL_STRUCT);
	nr_boots++;
	check_unchanged(outcome);
	boot_forget(outcome);

	if (failures) {
		print_machine(&machine);
		print_request(&request);
	}
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (!*text || *end) {
		fprintf(stderr, "carve: \"%s\" is no number\n", text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "first", required_argument, NULL, 'f' },
		{ "machines", required_argument, NULL, 'm' },
		{ }
	};
	uint64_t first = 1, machines = 1, i;
	unsigned int bad = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'f') {
			first = number(optarg);
		} else if (option == 'm') {
			machines = number(optarg);
		} else {
			fprintf(stderr, "usage: carve [--first SEED] [--machines NUMBER]\n");
			return 2;
		}
	}

	printf("TAP version 13\n1..%lu\n", machines);
	for (i = 0; i < machines; i++) {
		failures = 0;
		try_machine(first + i);
		printf("%s %lu - %smachine %lu\n", failures ? "not ok" : "ok",
		       i + 1, predictable ? "predictable " : "", first + i);
		bad += failures > 0;
	}
	printf("# %u boots, %u pools, %u refused, %u times the limit\n", nr_boots, nr_pools,
	       nr_refused, nr_limits);
	printf("# %u growth reserves, %u refused, %u times the limit\n", nr_growth,
	       nr_growth_refused, nr_growth_limits);
	printf("# %u of %u boots with the image elsewhere left too little to KHO\n",
	       nr_unforeseen, nr_moved);
	return bad || nr_unforeseen * 100 > nr_moved * MOST_UNFORESEEN;
}
