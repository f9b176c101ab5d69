// SPDX-License-Identifier: GPL-2.0
/*
 * What has to hold after a boot, by an account of its own: it knows the machine,
 * what the command line means, and what the documentation promises.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Free memory below 4 GiB that stays, and what a kernel needs on each node. */
#define KEEP_LOW	(256 * MIB)
#define KEEP_NODE	(256 * MIB)

static uint64_t down(uint64_t value, uint64_t unit)
{
	return value - value % unit;
}

static unsigned int nodes_with_memory(const struct machine *machine)
{
	unsigned int nid, nr = 0;

	for (nid = 0; nid < NODES; nid++)
		nr += node_bytes(machine, nid) > 0;
	return nr;
}

static uint64_t meant(const struct machine *machine, int nid, bool all, bool percent,
		      uint64_t value)
{
	/* A percent is whole bytes, which counts where two sections are as near. */
	if (percent)
		return down(node_bytes(machine, nid) / 100 * value + SECTION / 2, SECTION);
	return all ? value / nodes_with_memory(machine) : value;
}

uint64_t asked_for(const struct request *request, const struct machine *machine, int nid)
{
	if (request->all.given)
		return meant(machine, nid, true, request->all.percent, request->all.value);
	return meant(machine, nid, false, request->node[nid].percent, request->node[nid].value);
}

/* The same for a growth reserve, in whole gibibytes. */
static uint64_t growth_for(const struct request *request, const struct machine *machine, int nid)
{
	if (machine->kernelcore)
		return 0;
	if (request->growth_all.given)
		return down(meant(machine, nid, true, request->growth_all.percent,
				  request->growth_all.value), GIB);
	if (request->growth[nid].given)
		return down(meant(machine, nid, false, request->growth[nid].percent,
				  request->growth[nid].value), GIB);
	return 0;
}

/* --- the log ------------------------------------------------------------------------ */

static void say_verdict(struct verdict verdicts[NODES], int nid, struct verdict verdict)
{
	if (nid < 0 || nid >= NODES) {
		fail("the log names node %d", nid);
		return;
	}
	if (verdicts[nid].kind != VERDICT_NOTHING)
		fail("the log has two verdicts on node %d", nid);
	verdict.rounded = verdicts[nid].rounded;
	verdict.growth = verdicts[nid].growth;
	verdicts[nid] = verdict;
}

static void list_of_nodes(const struct machine *machine, char *buf, size_t size)
{
	int nid, last;

	buf[0] = '\0';
	for (nid = 0; nid < NODES; nid = last + 1) {
		last = nid;
		if (!node_bytes(machine, nid))
			continue;
		while (last + 1 < NODES && node_bytes(machine, last + 1))
			last++;
		snprintf(buf + strlen(buf), size - strlen(buf), last > nid ? "%s%d-%d" : "%s%d",
			 buf[0] ? "," : "", nid, last);
	}
}

static bool is_ignored_part(const struct request *request, const char *line, bool seen[])
{
	char start[128];
	unsigned int i;

	for (i = 0; i < request->nr_ignored; i++) {
		snprintf(start, sizeof(start), "warn: guestmem_pool: guestmemfs=: \"%s\" ",
			 request->ignored[i]);
		if (!seen[i] && !strncmp(line, start, strlen(start)) &&
		    strstr(line, ": this part is ignored")) {
			seen[i] = true;
			return true;
		}
	}
	return false;
}

#define IS(...)	(end = 0, sscanf(line, __VA_ARGS__, &end) > 0 && end && !line[end])

/* Is a line about the growth reserve of a node? */
static bool read_growth(const char *line, struct verdict verdicts[NODES])
{
	unsigned long long a, b;
	struct growth *growth;
	int nid, end;

	if (sscanf(line, "%*[a-z]: guestmem_pool: node %d: %n", &nid, &end) != 1 || nid < 0 ||
	    nid >= NODES)
		return false;
	growth = &verdicts[nid].growth;
	if (IS("info: guestmem_pool: node %d: growth reserve of %llu MiB from %llx, for movable pages only until the pool grows%n",
	       &nid, &a, &b)) {
		growth->mib = a;
		growth->start = b;
	} else if (IS("warn: guestmem_pool: node %d: a growth reserve of %llu MiB is too large, at most %llu MiB are allowed next to the pool: no reserve is made%n",
		      &nid, &a, &b)) {
		growth->mib = a;
		growth->allowed = b;
		growth->refused = true;
	} else if (IS("notice: guestmem_pool: node %d: a growth reserve of %llu MiB is rounded down to %llu MiB, a multiple of 1024 MiB%n",
		      &nid, &a, &b)) {
		growth->rounded = true;
		if (a / 1024 * 1024 != b)
			fail("%llu MiB are rounded to %llu MiB", a, b);
	} else if (IS("notice: guestmem_pool: node %d: %llu MiB of the growth reserve are in use by the kernel until the next boot%n",
		      &nid, &a)) {
		growth->in_use = a;
	} else if (IS("warn: guestmem_pool: node %d: %llu MiB are for movable pages only, and %llu MiB for all: that is more than 3 to 1, and the kernel may run out of memory there%n",
		      &nid, &a, &b)) {
		growth->warned = true;
	} else {
		return false;
	}
	return true;
}

static void read_line(const struct machine *machine, const char *line,
		      struct verdict verdicts[NODES])
{
	unsigned long long a, b, base;
	unsigned int nr;
	char text[256], nodes[256];
	struct verdict verdict;
	int nid, end = 0;

	if (read_growth(line, verdicts))
		return;
	if (IS("info: guestmem_pool: node %d: pool of %llu MiB in %u extent%*[s,] from %llx%n",
	       &nid, &a, &nr, &base)) {
		say_verdict(verdicts, nid, (struct verdict){ .kind = VERDICT_POOL, .mib = a });
	} else if (IS("notice: guestmem_pool: node %d: %llu bytes asked for are rounded down to %llu MiB, a multiple of 128 MiB%n",
		      &nid, &a, &b)) {
		verdicts[nid].rounded = true;
		if (down(a, SECTION) != b * MIB)
			fail("%llu bytes are rounded to %llu MiB", a, b);
	} else if (IS("warn: guestmem_pool: node %d: a pool of %llu MiB is too large, at most %llu MiB are allowed: no pool is made%n",
		      &nid, &a, &b)) {
		verdict = (struct verdict){ .kind = VERDICT_TOO_LARGE, .mib = a, .allowed = b };
		say_verdict(verdicts, nid, verdict);
	} else if (IS("warn: guestmem_pool: node %d: a pool of %llu MiB is less than the smallest of 128 MiB: no pool is made%n",
		      &nid, &a)) {
		say_verdict(verdicts, nid, (struct verdict){ .kind = VERDICT_TOO_SMALL, .mib = a });
	} else if (IS("warn: guestmem_pool: node %d: has %llu MiB and the kernel needs %llu MiB there%*[a-z ], nothing can be set aside: no pool is made%n",
		      &nid, &a, &b) ||
		   IS("warn: guestmem_pool: node %d: has %llu MiB and the kernel needs %llu MiB there, nothing can be set aside: no pool is made%n",
		      &nid, &a, &b)) {
		say_verdict(verdicts, nid, (struct verdict){ .kind = VERDICT_NO_ROOM });
		if (a != node_bytes(machine, nid) / MIB)
			fail("node %d is said to have %llu MiB", nid, a);
	} else if (IS("warn: guestmem_pool: node %d: free memory is in too many pieces for a pool of %llu MiB: no pool is made%n",
		      &nid, &a)) {
		say_verdict(verdicts, nid, (struct verdict){ .kind = VERDICT_PIECES, .mib = a });
	} else if (IS("err: guestmem_pool: node %d: out of memory for memory maps: no pool is made%n",
		      &nid)) {
		say_verdict(verdicts, nid, (struct verdict){ .kind = VERDICT_NO_MEMORY_FOR_IT });
	} else if (IS("warn: guestmem_pool: guestmemfs=: node %d %255[a-z ], allowed are %255[0-9,-]: this part is ignored%n",
		      &nid, text, nodes)) {
		const char *why = machine->online >> nid & 1 ? "has no memory" : "does not exist";
		char list[256];

		say_verdict(verdicts, nid, (struct verdict){ .kind = VERDICT_ABSENT });
		list_of_nodes(machine, list, sizeof(list));
		if (strcmp(text, why) || strcmp(nodes, list))
			fail("node %d %s and allowed are %s, but the log says: %s",
			     nid, why, list, line);
	} else {
		fail("the log has an unexpected line: %s", line);
	}
#undef IS
}

#define OURS	"guestmem_pool: guestmemfs="
#define DISCARDED	"notice: " OURS "fresh: handed-over pools are discarded"
#define IN_KDUMP	"info: " OURS " is ignored in a kdump kernel"
#define NO_PMD_MAPPINGS	"warn: " OURS " is ignored: this machine has no page table entries of 2 MiB (is it a Xen PV domain?)"
#define NO_VALUE	"warn: " OURS " has no value, allowed is <node>:<size>[,...] or <size>: no pool is made by it"

#define NO_GROWTH	"warn: " OURS ": no growth reserve is made, since kernelcore= or movablecore= sets the movable memory of all nodes"

static void read_log(const struct machine *machine, const struct request *request,
		     const struct outcome *outcome, struct verdict verdicts[NODES])
{
	static char log[sizeof(outcome->log)];
	bool seen[ARRAY_SIZE(request->ignored)] = { };
	char *line, *rest = log;
	unsigned int i;

	memset(verdicts, 0, NODES * sizeof(verdicts[0]));
	strcpy(log, outcome->log);
	while ((line = strsep(&rest, "\n"))) {
		if (!*line || is_ignored_part(request, line, seen))
			continue;
		if (!strcmp(line, DISCARDED) || (machine->kdump && !strcmp(line, IN_KDUMP)) ||
		    (machine->no_pmd_mappings && !strcmp(line, NO_PMD_MAPPINGS)) ||
		    (!request->text[0][0] && !strcmp(line, NO_VALUE)) ||
		    (machine->kernelcore && !strcmp(line, NO_GROWTH)))
			continue;
		/* memblock's own. */
		if (strstr(line, "of mirrored memory"))
			continue;
		read_line(machine, line, verdicts);
	}
	for (i = 0; i < request->nr_ignored; i++)
		if (!seen[i])
			fail("\"%s\" is ignored, but the log does not say so", request->ignored[i]);
}

/* --- memory -------------------------------------------------------------------------- */

static bool covered(const struct pieces *pieces, uint64_t base, uint64_t end, int nid,
		    bool no_hotplug)
{
	unsigned int i;

	for (i = 0; i < pieces->nr && base < end; i++) {
		const struct piece *piece = &pieces->at[i];

		if (piece->base > base || piece->base + piece->size <= base)
			continue;
		if (piece->nid != nid || (no_hotplug && piece->flags & PIECE_HOTPLUG))
			return false;
		base = piece->base + piece->size;
	}
	return base >= end;
}

static bool touched(const struct pieces *pieces, uint64_t base, uint64_t end)
{
	unsigned int i;

	for (i = 0; i < pieces->nr; i++)
		if (pieces->at[i].base < end && pieces->at[i].base + pieces->at[i].size > base)
			return true;
	return false;
}

static bool in_pool(const struct outcome *outcome, uint64_t base, uint64_t *end)
{
	unsigned int p, i;

	for (p = 0; p < outcome->nr_pools; p++) {
		const struct pool *pool = &outcome->pools[p];

		for (i = 0; i < pool->nr; i++) {
			*end = pool->extents[i].base + pool->extents[i].size;
			if (base >= pool->extents[i].base && base < *end)
				return true;
		}
	}
	return false;
}

static const struct pool *pool_of(const struct outcome *outcome, int nid)
{
	unsigned int p;

	for (p = 0; p < outcome->nr_pools; p++)
		if (outcome->pools[p].nid == nid)
			return &outcome->pools[p];
	return NULL;
}

static uint64_t pool_bytes(const struct pool *pool)
{
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < pool->nr; i++)
		bytes += pool->extents[i].size;
	return bytes;
}

/*
 * Memory was @before, and is what pools have not taken of it, with all it had. For a
 * growth reserve, some of it is marked, and the marks of others are taken away.
 */
static void check_memory(const struct outcome *outcome, bool marked)
{
	const struct pieces *before = &outcome->memory[0], *after = &outcome->memory[1];
	uint64_t taken = 0, sum[2] = { }, base, end;
	unsigned int i, j, p;

	for (p = 0; p < outcome->nr_pools; p++)
		taken += pool_bytes(&outcome->pools[p]);
	for (i = 0; i < before->nr; i++)
		sum[0] += before->at[i].size;
	for (i = 0, j = 0; i < after->nr; i++) {
		const struct piece *piece = &after->at[i];

		sum[1] += piece->size;
		for (base = piece->base; base < piece->base + piece->size; base = end) {
			while (j < before->nr && before->at[j].base + before->at[j].size <= base)
				j++;
			if (j == before->nr || before->at[j].base > base ||
			    before->at[j].nid != piece->nid ||
			    (before->at[j].flags ^ piece->flags) & ~(marked ? PIECE_HOTPLUG : 0)) {
				fail("memory at %#lx of node %d, flags %#x, was not so before",
				     base, piece->nid, piece->flags);
				return;
			}
			if (in_pool(outcome, base, &end)) {
				fail("memory at %#lx is a pool's and is still there", base);
				return;
			}
			end = before->at[j].base + before->at[j].size;
		}
	}
	if (sum[0] - sum[1] != taken)
		fail("pools have %lu KiB, but %lu KiB are missing", taken / KIB,
		     (sum[0] - sum[1]) / KIB);
}

/* What was reserved still is; what came is little, and is of memory that is there. */
static void check_reserved(const struct outcome *outcome)
{
	const struct pieces *before = &outcome->reserved[0], *after = &outcome->reserved[1];
	uint64_t sum[2] = { }, base, end;
	unsigned int i, j;

	for (i = 0, j = 0; i < before->nr; i++) {
		sum[0] += before->at[i].size;
		/* A table that has become too small is given back. */
		if (after->nr_tables != before->nr_tables)
			continue;
		base = before->at[i].base;
		end = base + before->at[i].size;
		for (; base < end; base = after->at[j].base + after->at[j].size) {
			while (j < after->nr && after->at[j].base + after->at[j].size <= base)
				j++;
			if (j == after->nr || after->at[j].base > base) {
				fail("%#lx was reserved and is not any more", base);
				return;
			}
		}
	}
	for (i = 0; i < after->nr; i++)
		sum[1] += after->at[i].size;
	/* For each pool, and if memblock's own tables have grown. */
	if (sum[1] - sum[0] > outcome->nr_pools * 8 * KIB +
			      (after->nr_tables != before->nr_tables ? 256 * KIB : 0))
		fail("%lu KiB more are reserved", (sum[1] - sum[0]) / KIB);
}

void check_unchanged(const struct outcome *outcome)
{
	const struct pieces *memory = outcome->memory;

	if (outcome->nr_pools)
		fail("there are pools");
	if (memory[0].nr != memory[1].nr ||
	    memcmp(memory[0].at, memory[1].at, memory[0].nr * sizeof(memory[0].at[0])))
		fail("memory of memblock is not as it was before");
	check_reserved(outcome);
}

static bool is_usable(const struct machine *machine, const struct outcome *outcome, int nid,
		      uint64_t base)
{
	return covered(&outcome->memory[0], base, base + SECTION, nid, machine->movable_node) &&
	       !touched(&outcome->reserved[0], base, base + SECTION);
}

/* Naturally aligned gigabytes that a pool of this node could have above 4 GiB. */
static uint64_t free_gigabytes(const struct machine *machine, const struct outcome *outcome,
			       int nid)
{
	uint64_t nr = 0, base, sections;
	unsigned int i;

	for (i = 0; i < outcome->memory[0].nr; i++) {
		const struct piece *piece = &outcome->memory[0].at[i];

		if (piece->nid != nid)
			continue;
		for (base = down(piece->base, GIB); base < piece->base + piece->size; base += GIB) {
			/* Each once: where its first page is. */
			if (base < piece->base || base < 4 * GIB)
				continue;
			for (sections = 0; sections < GIB / SECTION; sections++)
				if (!is_usable(machine, outcome, nid, base + sections * SECTION))
					break;
			nr += sections == GIB / SECTION;
		}
	}
	return nr;
}

/* Free gigabytes of a node in [start, end), with the image counted as free, or not. */
static uint64_t growth_gigabytes(const struct machine *machine, const struct outcome *outcome,
				 int nid, uint64_t start, uint64_t end, bool image)
{
	uint64_t nr = 0, base, at, first, last = machine->image + machine->image_size;
	unsigned int i;

	first = machine->image / (2 * MIB) * (2 * MIB);
	last = (last + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
	for (base = start; base < end; base += GIB) {
		if (!covered(&outcome->memory[1], base, base + GIB, nid, false))
			continue;
		for (i = 0; i < outcome->reserved[1].nr; i++) {
			const struct piece *piece = &outcome->reserved[1].at[i];

			at = piece->base > base ? piece->base : base;
			if (at < base + GIB && at < piece->base + piece->size &&
			    !(image && piece->base >= first && piece->base + piece->size <= last))
				break;
		}
		nr += i == outcome->reserved[1].nr;
	}
	return nr;
}

static void check_growth(const struct machine *machine, const struct request *request,
			 const struct outcome *outcome, const struct growth *growth,
			 const struct pool *pool, int nid)
{
	uint64_t want = pool ? growth_for(request, machine, nid) : 0, gibs, end = 0;
	const struct pieces *memory = &outcome->memory[1];
	uint64_t sum[2] = { };
	unsigned int i;

	if (!want) {
		if (growth->start || growth->refused)
			fail("node %d: a growth reserve was not asked for", nid);
		return;
	}
	if (growth->mib != want / MIB || !growth->start == !growth->refused)
		fail("node %d: a growth reserve of %lu MiB was asked for, the log says %lu", nid,
		     want / MIB, growth->mib);
	if (growth->refused) {
		if (growth->allowed * MIB >= want || growth->allowed % (GIB / MIB))
			fail("node %d: a growth reserve of %lu MiB is refused, %lu MiB are allowed",
			     nid, want / MIB, growth->allowed);
		return;
	}
	if (growth->start % GIB)
		fail("node %d: the growth reserve begins at %#lx", nid, growth->start);
	for (i = 0; i < memory->nr; i++) {
		const struct piece *piece = &memory->at[i];
		uint64_t last = piece->base + piece->size;

		if (piece->nid != nid)
			continue;
		end = last;
		if (piece->base < growth->start && last > growth->start)
			fail("node %d: memory at %#lx is not divided", nid, piece->base);
		if (piece->base >= growth->start ? !(piece->flags & PIECE_HOTPLUG) :
		    !machine->movable_node && piece->flags & PIECE_HOTPLUG)
			fail("node %d: memory at %#lx is marked wrong", nid, piece->base);
		sum[piece->base >= growth->start] += piece->size;
	}
	for (i = 0; i < pool->nr; i++)
		if (pool->extents[i].base + pool->extents[i].size > growth->start)
			fail("node %d: extent at %#lx is not below the growth reserve", nid,
			     pool->extents[i].base);
	gibs = growth_gigabytes(machine, outcome, nid, growth->start, end, true);
	/* KASLR puts images where a random machine has other reservations. */
	if (gibs < want / GIB)
		fail("node %d: the growth reserve has %lu gigabytes of %lu", nid, gibs, want / GIB);
	if (growth_gigabytes(machine, outcome, nid, growth->start + GIB, end, true) >= want / GIB)
		fail("node %d: the growth reserve begins too low", nid);
	gibs = growth_gigabytes(machine, outcome, nid, growth->start, end, false);
	if (growth->in_use * MIB != (gibs < want / GIB ? want - gibs * GIB : 0))
		fail("node %d: %lu MiB of the growth reserve are said to be in use", nid,
		     growth->in_use);
	if (growth->warned != (sum[1] > 3 * sum[0]))
		fail("node %d: %lu MiB are movable of %lu, and the log has %s warning", nid,
		     sum[1] / MIB, (sum[0] + sum[1]) / MIB, growth->warned ? "a" : "no");
}

static void check_pool(const struct machine *machine, const struct outcome *outcome,
		       const struct pool *pool, uint64_t asked, uint64_t growth)
{
	uint64_t base, end, wanted = down(asked, SECTION) / GIB, whole = 0, last = 0;
	unsigned int i;

	if (pool_bytes(pool) != down(asked, SECTION))
		fail("node %d: %lu bytes were asked for, the pool has %lu", pool->nid,
		     asked, pool_bytes(pool));
	if (!pool->nr || pool->nr > MAX_EXTENTS)
		fail("node %d: %u extents", pool->nid, pool->nr);
	for (i = 0; i < pool->nr; i++) {
		base = pool->extents[i].base;
		end = base + pool->extents[i].size;
		if (!pool->extents[i].size || base % SECTION || end % SECTION)
			fail("node %d: extent at %#lx of %#lx bytes is not of sections",
			     pool->nid, base, pool->extents[i].size);
		if (i && base <= last)
			fail("node %d: extent at %#lx is not behind the one before",
			     pool->nid, base);
		if (!covered(&outcome->memory[0], base, end, pool->nid, machine->movable_node))
			fail("node %d: extent at %#lx is not this node's", pool->nid, base);
		if (touched(&outcome->reserved[0], base, end))
			fail("node %d: extent at %#lx has something that was reserved",
			     pool->nid, base);
		if (touched(&outcome->reserved[1], base, end))
			fail("node %d: extent at %#lx is reserved", pool->nid, base);
		if (base < machine->image + machine->image_size - machine->brk_size &&
		    end > machine->image)
			fail("node %d: extent at %#lx has the kernel's image", pool->nid, base);
		last = end;
		base = down(base + GIB - 1, GIB);
		if (base < end)
			whole += (end - base) / GIB;
	}
	base = free_gigabytes(machine, outcome, pool->nid);
	base -= base < growth / GIB ? base : growth / GIB;
	if (whole < (wanted < base ? wanted : base))
		fail("node %d: %lu whole gigabytes, could have %lu of the %lu that are free",
		     pool->nid, whole, wanted, base);
}

static bool overlap(const struct pool *a, const struct pool *b)
{
	unsigned int i, j;
	uint64_t end;

	for (i = 0; i < a->nr; i++) {
		end = a->extents[i].base + a->extents[i].size;
		for (j = 0; j < b->nr; j++)
			if (b->extents[j].base < end &&
			    b->extents[j].base + b->extents[j].size > a->extents[i].base)
				return true;
	}
	return false;
}

static void check_apart(const struct outcome *outcome)
{
	const struct pool *pools = outcome->pools;
	unsigned int p, q;

	for (p = 0; p < outcome->nr_pools; p++) {
		for (q = 0; q < p; q++) {
			if (pools[p].nid <= pools[q].nid)
				fail("pools of nodes %d and %d are not in order", pools[q].nid,
				     pools[p].nid);
			if (overlap(&pools[p], &pools[q]))
				fail("pools of nodes %d and %d overlap", pools[p].nid,
				     pools[q].nid);
		}
	}
}

/* Free memory below 4 GiB, pools taken or not. */
static uint64_t free_low(const struct outcome *outcome, unsigned int when)
{
	const struct pieces *memory = &outcome->memory[when], *reserved = &outcome->reserved[when];
	uint64_t bytes = 0, base, end;
	unsigned int i, j;

	for (i = 0; i < memory->nr && memory->at[i].base < 4 * GIB; i++) {
		end = memory->at[i].base + memory->at[i].size;
		end = end < 4 * GIB ? end : 4 * GIB;
		base = memory->at[i].base;
		bytes += end - base;
		for (j = 0; j < reserved->nr; j++) {
			uint64_t from = reserved->at[j].base, to = from + reserved->at[j].size;

			from = from > base ? from : base;
			to = to < end ? to : end;
			bytes -= from < to ? to - from : 0;
		}
	}
	return bytes;
}

static void check_node(const struct machine *machine, const struct request *request,
		       const struct outcome *outcome, const struct verdict *verdict, int nid)
{
	const struct pool *pool = pool_of(outcome, nid);
	bool given = request->all.given || request->node[nid].given;
	uint64_t asked = given ? asked_for(request, machine, nid) : 0;
	uint64_t size = down(asked, SECTION);

	if (pool ? verdict->kind != VERDICT_POOL : verdict->kind == VERDICT_POOL)
		fail("node %d: the log says %s pool", nid, pool ? "no" : "a");
	if (!node_bytes(machine, nid)) {
		if (pool)
			fail("node %d has a pool and no memory", nid);
		if (verdict->kind != (request->node[nid].given ? VERDICT_ABSENT : VERDICT_NOTHING))
			fail("node %d has no memory: verdict %d", nid, verdict->kind);
		return;
	}
	if (!given) {
		if (pool || verdict->kind != VERDICT_NOTHING)
			fail("node %d was not asked for: verdict %d", nid, verdict->kind);
		return;
	}
	if (pool) {
		check_pool(machine, outcome, pool, asked,
			   verdict->growth.start ? verdict->growth.mib * MIB : 0);
		if (verdict->mib != size / MIB)
			fail("node %d: the log says %lu MiB", nid, verdict->mib);
		if (verdict->rounded ? size == asked : size != asked)
			fail("node %d: %lu bytes were asked for, and the log %s rounded", nid,
			     asked, verdict->rounded ? "says" : "does not say");
		return;
	}
	switch (verdict->kind) {
	case VERDICT_TOO_LARGE:
		if (verdict->mib != size / MIB)
			fail("node %d: %lu MiB are said to be too large, asked for were %lu",
			     nid, verdict->mib, size / MIB);
		if (verdict->allowed * MIB >= size || verdict->allowed % (SECTION / MIB))
			fail("node %d: %lu MiB are refused, %lu MiB are allowed", nid,
			     verdict->mib, verdict->allowed);
		break;
	case VERDICT_TOO_SMALL:
		if (size || verdict->mib != asked / MIB)
			fail("node %d: %lu MiB are said to be too small, asked for were %lu bytes",
			     nid, verdict->mib, asked);
		break;
	case VERDICT_NO_ROOM:
		break;
	default:
		fail("node %d: %lu MiB were asked for, verdict %d", nid, asked / MIB,
		     verdict->kind);
	}
}

void check_boot(const struct machine *machine, const struct request *request,
		const struct outcome *outcome, struct verdict verdicts[NODES])
{
	uint64_t before, after;
	bool marked = false;
	int nid;

	memset(verdicts, 0, NODES * sizeof(verdicts[0]));
	if (!outcome->finished) {
		fail("the boot ended early, after: %s", outcome->log);
		return;
	}
	read_log(machine, request, outcome, verdicts);
	if (machine->kdump || machine->no_pmd_mappings) {
		check_unchanged(outcome);
		return;
	}
	for (nid = 0; nid < NODES; nid++) {
		check_node(machine, request, outcome, &verdicts[nid], nid);
		check_growth(machine, request, outcome, &verdicts[nid].growth,
			     pool_of(outcome, nid), nid);
		marked |= verdicts[nid].growth.start;
	}
	if (marked && outcome->used_movable[1] != outcome->used_movable[0])
		fail("%lu KiB of growth reserves are allocated early",
		     (outcome->used_movable[1] - outcome->used_movable[0]) / KIB);
	check_apart(outcome);
	check_memory(outcome, marked);
	check_reserved(outcome);

	before = free_low(outcome, 0);
	after = free_low(outcome, 1);
	if (after + MIB < before && after + MIB < KEEP_LOW)
		fail("%lu MiB stay free below 4 GiB, of %lu MiB", after / MIB, before / MIB);
	for (nid = 0; nid < NODES; nid++)
		if (pool_of(outcome, nid) && is_predictable(machine) &&
		    outcome->free[nid] < KEEP_NODE / 4)
			fail("node %d: %lu MiB are free beside the pool", nid,
			     outcome->free[nid] / MIB);
}
