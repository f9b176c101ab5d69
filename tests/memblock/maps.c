// SPDX-License-Identifier: GPL-2.0
/*
 * Machines and command lines, made up from a number.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"

#define LOW_END		(4 * GIB)
#define IMAGE_ALIGN	(2 * MIB)
#define IMAGE_LOWEST	(16 * MIB)
#define LARGE_NODE	(4 * GIB)

static uint64_t random_next(struct random *random)
{
	/* splitmix64 */
	uint64_t z = random->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t limit)
{
	return random_next(random) % limit;
}

bool random_one_in(struct random *random, unsigned int n)
{
	return !random_below(random, n);
}

uint64_t random_size(struct random *random, uint64_t min, uint64_t max)
{
	uint64_t top = min;

	while (top < max && !random_one_in(random, 4))
		top *= 2;
	if (top > max)
		top = max;
	return min + random_below(random, top - min + 1);
}

static uint64_t down(uint64_t value, uint64_t unit)
{
	return value - value % unit;
}

static uint64_t up(uint64_t value, uint64_t unit)
{
	return down(value + unit - 1, unit);
}

/* --- memory ---------------------------------------------------------------------- */

static void add(struct pieces *pieces, uint64_t base, uint64_t size, int nid, unsigned int flags)
{
	struct piece *piece = &pieces->at[pieces->nr];

	if (!size)
		return;
	if (pieces->nr == MAX_PIECES)
		abort();
	pieces->nr++;
	*piece = (struct piece){ .base = base, .size = size, .nid = nid, .flags = flags };
}

/* What of a PC is not memory: below 1 MiB, and what devices have below 4 GiB. */
static void add_memory(struct machine *machine, uint64_t *at, uint64_t size, int nid,
		       unsigned int flags, uint64_t low_end)
{
	uint64_t end;

	while (size) {
		if (*at < PAGE)
			*at = PAGE;
		else if (*at >= 636 * KIB && *at < MIB)
			*at = MIB;
		else if (*at >= low_end && *at < LOW_END)
			*at = LOW_END;
		end = *at + size;
		if (*at < 636 * KIB && end > 636 * KIB)
			end = 636 * KIB;
		if (*at < low_end && end > low_end)
			end = low_end;
		add(&machine->memory, *at, end - *at, nid, flags);
		size -= end - *at;
		*at = end;
	}
}

static int choose_nodes(struct random *random, int nids[NODES])
{
	static const int usual[] = { 1, 2, 2, 4, 8 };
	int nr, nid, i;

	if (random_one_in(random, 3))
		nr = 1 + random_below(random, NODES);
	else
		nr = usual[random_below(random, 5)];

	/* Numbers are not always those from 0 on. */
	for (nid = 0, i = 0; i < nr; nid++)
		if (nr - i == NODES - nid || !random_one_in(random, 12))
			nids[i++] = nid;
	return nr;
}

static uint64_t unit_of(struct random *random)
{
	static const uint64_t units[] = { PAGE, 2 * MIB, SECTION, SECTION, GIB };

	return units[random_below(random, 5)];
}

static void make_memory(struct machine *machine, struct random *random)
{
	static const uint64_t largest[] = { 4 * GIB, 64 * GIB, 512 * GIB, 4 * TIB };
	static const uint64_t low_ends[] = {
		2 * GIB, 3 * GIB, 3 * GIB + 320 * MIB + 52 * PAGE, LOW_END
	};
	uint64_t most = largest[random_below(random, 4)];
	uint64_t low_end = low_ends[random_below(random, 4)];
	uint64_t unit = unit_of(random);
	bool alike = random_one_in(random, 2), mirrored = random_one_in(random, 6);
	bool hotplug = random_one_in(random, 4);
	struct { uint64_t size; int nid; } parts[NODES * 6];
	uint64_t at = 0, size = 0;
	int nids[NODES], nr, nr_parts = 0, i, j;
	int interleaved = random_one_in(random, 3) ? 2 + random_below(random, 5) : 1;
	bool swapped = random_one_in(random, 6), large = random_one_in(random, 2);

	nr = choose_nodes(random, nids);
	if (nr > 8 && most > 64 * GIB)
		most = 64 * GIB;
	/* A server as it usually is. */
	if (large) {
		alike = true;
		swapped = false;
		interleaved = 1;
		most = most < 64 * GIB ? 64 * GIB : most;
	}
	for (i = 0; i < nr; i++) {
		uint64_t left, own;
		int pieces = interleaved > 1 ? 1 + random_below(random, interleaved) : 1;
		uint64_t least = i ? 32 * MIB : GIB;

		machine->online |= 1ULL << nids[i];
		if (large)
			least = 4 * LARGE_NODE;
		if (i && random_one_in(random, 10))
			continue;		/* without memory */
		if (!size || !alike)
			size = up(random_size(random, least, most), unit);
		own = size;
		if (i && !large && random_one_in(random, 12))
			own = up(random_size(random, MIB, 512 * MIB), PAGE);
		for (left = own; pieces && left; pieces--) {
			uint64_t part = pieces == 1 ? left :
					up(random_below(random, left) + 1, unit);

			if (part > left)
				part = left;
			left -= part;
			parts[nr_parts].nid = nids[i];
			parts[nr_parts++].size = part;
		}
	}

	/* Between those of others, or in another order than that of the nodes. */
	for (i = nr_parts - 1; i > 0 && (interleaved > 1 || swapped); i--) {
		j = random_below(random, i + 1);
		if (i != j) {
			uint64_t part = parts[i].size;
			int nid = parts[i].nid;

			parts[i] = parts[j];
			parts[j].size = part;
			parts[j].nid = nid;
		}
	}

	for (i = 0; i < nr_parts; i++) {
		unsigned int flags = 0;

		if (hotplug && i && random_one_in(random, 2))
			flags |= PIECE_HOTPLUG;
		if (mirrored && random_one_in(random, 3))
			flags |= PIECE_MIRROR;
		if (i && random_one_in(random, 4))
			at = up(at + random_size(random, PAGE, 2 * GIB), unit_of(random));
		add_memory(machine, &at, parts[i].size, parts[i].nid, flags, low_end);
	}
	machine->movable_node = hotplug && random_one_in(random, 2);
	machine->kernelcore = random_one_in(random, 12);
	machine->mirrored = mirrored;
}

/* --- what has it already ----------------------------------------------------------- */

static bool overlaps(const struct pieces *pieces, uint64_t base, uint64_t size)
{
	unsigned int i;

	for (i = 0; i < pieces->nr; i++)
		if (pieces->at[i].base < base + size &&
		    pieces->at[i].base + pieces->at[i].size > base)
			return true;
	return false;
}

/* A free place for @size bytes, anywhere in memory; 0 if it is not found soon. */
static uint64_t find_place(const struct machine *machine, struct random *random, uint64_t size,
			   uint64_t align, uint64_t lowest, uint64_t highest)
{
	int tries;

	for (tries = 0; tries < 200; tries++) {
		const struct piece *piece =
			&machine->memory.at[random_below(random, machine->memory.nr)];
		uint64_t start = up(piece->base < lowest ? lowest : piece->base, align);
		uint64_t end = piece->base + piece->size;
		uint64_t base;

		if (end > highest)
			end = highest;
		if (start + size > end)
			continue;
		/* Often close to an end, as who allocates does it. */
		if (random_one_in(random, 3))
			base = down(end - size, align);
		else
			base = start + down(random_below(random, end - start - size + 1), align);
		if (!overlaps(&machine->reserved, base, size))
			return base;
	}
	return 0;
}

static int by_base(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->base < y->base ? -1 : x->base > y->base;
}

static void reserve(struct machine *machine, struct random *random, uint64_t size, uint64_t align,
		    uint64_t highest, unsigned int flags)
{
	uint64_t base = find_place(machine, random, size, align, MIB, highest);

	if (base)
		add(&machine->reserved, base, size, -1, flags);
}

/*
 * Not at the end of a piece of memory: the kernel's data of the node, which would be
 * there, is elsewhere then, and what is allowed can differ by a section.
 */
bool place_image(struct machine *machine, struct random *random)
{
	machine->image = find_place(machine, random, machine->image_size + SECTION, IMAGE_ALIGN,
				    IMAGE_LOWEST, MEMORY_END);
	return machine->image;
}

static void make_reservations(struct machine *machine, struct random *random)
{
	unsigned int nr, i;

	add(&machine->reserved, 0, 64 * KIB, -1, 0);
	if (!random_one_in(random, 4))			/* initrd */
		reserve(machine, random, up(random_size(random, MIB, 256 * MIB), PAGE), PAGE,
			random_one_in(random, 2) ? LOW_END : MEMORY_END, PIECE_KERNEL);
	if (random_one_in(random, 3)) {			/* crash kernel */
		reserve(machine, random, 256 * MIB, 16 * MIB, LOW_END, 0);
		if (random_one_in(random, 2))
			reserve(machine, random, up(random_size(random, 256 * MIB, GIB), MIB),
				MIB, MEMORY_END, 0);
	}
	/* No more pieces than the code of pools looks at, GMPOOL_MAX_RANGES. */
	nr = random_one_in(random, 8) ? 200 : random_below(random, 12);
	for (i = 0; i < nr; i++)			/* firmware */
		reserve(machine, random, up(random_size(random, PAGE, 4 * MIB), PAGE), PAGE,
			MEMORY_END, 0);
	qsort(machine->reserved.at, machine->reserved.nr, sizeof(machine->reserved.at[0]), by_base);
}

static void make_kho(struct machine *machine, struct random *random)
{
	machine->kho = !random_one_in(random, 5);
	machine->no_pmd_mappings = random_one_in(random, 10);
	if (random_one_in(random, 4))
		snprintf(machine->kho_scratch, sizeof(machine->kho_scratch), "%lu%%",
			 1 + random_below(random, 500));
	else if (random_one_in(random, 6))
		snprintf(machine->kho_scratch, sizeof(machine->kho_scratch),
			 "%luM,%luM,%luM", 8 + random_below(random, 120),
			 8 + random_below(random, 500), 8 + random_below(random, 200));
}

/* Mostly alike on all nodes; without any on some, as on those of CXL. */
static void make_cpus(struct machine *machine, struct random *random)
{
	unsigned int nr, left = MAX_CPUS;
	int nid;

	machine->per_cpu_size = random_size(random, 160 * KIB, 400 * KIB);
	nr = random_one_in(random, 2) ? 128 + random_below(random, 385) :
					random_size(random, 1, 128);
	for (nid = 0; nid < NODES; nid++) {
		if (!(machine->online >> nid & 1) ||
		    (nid && random_one_in(random, 8)))
			continue;
		machine->cpus[nid] = nr < left ? nr : left;
		left -= machine->cpus[nid];
	}
}

void make_machine(struct machine *machine, uint64_t seed)
{
	struct random random = { .state = seed };

	do {
		memset(machine, 0, sizeof(*machine));
		machine->seed = seed;
		make_memory(machine, &random);
		make_reservations(machine, &random);
		machine->image_size = up(random_size(&random, 24 * MIB, 160 * MIB), PAGE);
		machine->brk_size = random_below(&random, 64) * PAGE;
		make_kho(machine, &random);
		make_cpus(machine, &random);
	} while (!place_image(machine, &random));
}

uint64_t node_bytes(const struct machine *machine, int nid)
{
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < machine->memory.nr; i++)
		if (machine->memory.at[i].nid == nid)
			bytes += machine->memory.at[i].size;
	return bytes;
}

/* First and last address of a node's memory. */
static uint64_t node_edge(const struct machine *machine, int nid, bool last)
{
	const struct pieces *memory = &machine->memory;
	uint64_t edge = 0;
	unsigned int i;

	for (i = 0; i < memory->nr; i++) {
		if (memory->at[i].nid != nid)
			continue;
		if (!last)
			return memory->at[i].base;
		edge = memory->at[i].base + memory->at[i].size;
	}
	return edge;
}

int largest_node(const struct machine *machine)
{
	uint64_t bytes, most = 0;
	int nid, largest = -1;

	for (nid = 0; nid < NODES; nid++) {
		bytes = node_bytes(machine, nid);
		if (bytes < most || !bytes)
			continue;
		if (bytes > most ||
		    node_edge(machine, nid, true) > node_edge(machine, largest, true))
			largest = nid;
		most = bytes;
	}
	return largest;
}

bool is_predictable(const struct machine *machine)
{
	int nid, largest = largest_node(machine);

	if (machine->movable_node || machine->mirrored || machine->no_pmd_mappings)
		return false;

	for (nid = 0; nid < NODES; nid++) {
		uint64_t bytes = node_bytes(machine, nid);

		if (!bytes)
			continue;
		/* Below 4 GiB, KHO has another area beside that of the node. */
		if (bytes < (node_edge(machine, nid, false) < LOW_END ? 4 : 1) * LARGE_NODE)
			return false;
		if (nid != largest &&
		    node_edge(machine, nid, true) > node_edge(machine, largest, false))
			return false;
	}
	return true;
}

void print_machine(const struct machine *machine)
{
	unsigned int i;

	printf("# online %#lx%s%s%s%s, kho_scratch \"%s\", image at %#lx of %lu KiB\n",
	       machine->online, machine->kho ? ", KHO" : "", machine->kdump ? ", kdump" : "",
	       machine->no_pmd_mappings ? ", no PMD mappings" : "",
	       machine->movable_node ? ", movable_node" : machine->kernelcore ? ", kernelcore" : "",
	       machine->kho_scratch,
	       machine->image, machine->image_size / KIB);
	for (i = 0; i < NODES; i++)
		if (machine->cpus[i])
			printf("# node %u: %u CPUs of %lu KiB\n", i, machine->cpus[i],
			       machine->per_cpu_size / KIB);
	for (i = 0; i < machine->memory.nr; i++)
		printf("# memory %#14lx - %#14lx node %d%s%s\n",
		       machine->memory.at[i].base,
		       machine->memory.at[i].base + machine->memory.at[i].size,
		       machine->memory.at[i].nid,
		       machine->memory.at[i].flags & PIECE_HOTPLUG ? " hotplug" : "",
		       machine->memory.at[i].flags & PIECE_MIRROR ? " mirror" : "");
	for (i = 0; i < machine->reserved.nr && i < 40; i++)
		printf("# reserved %#12lx - %#14lx%s\n", machine->reserved.at[i].base,
		       machine->reserved.at[i].base + machine->reserved.at[i].size,
		       machine->reserved.at[i].flags & PIECE_KERNEL ? " kernel" : "");
}

/* --- command lines ------------------------------------------------------------------ */

struct writer {
	struct request *request;
	struct random *random;
	unsigned int value;
};

static void write_part(struct writer *writer, const char *fmt, ...)
{
	struct request *request = writer->request;
	char part[96], *text;
	va_list args;

	va_start(args, fmt);
	vsnprintf(part, sizeof(part), fmt, args);
	va_end(args);

	/* Sometimes the parameter is there once more, and goes on. */
	if (request->text[writer->value][0] && writer->value + 1 < MAX_VALUES &&
	    random_one_in(writer->random, 20))
		writer->value++;
	text = request->text[writer->value];
	if (strlen(text) + strlen(part) + 2 > sizeof(request->text[0]))
		abort();
	if (text[0])
		strcat(text, ",");
	strcat(text, part);
}

static void write_size(struct writer *writer, char *buf, size_t size, uint64_t bytes)
{
	static const struct { uint64_t unit; const char *letters; } units[] = {
		{ TIB, "Tt" }, { GIB, "Gg" }, { MIB, "Mm" }, { KIB, "Kk" },
	};
	const char *fmt = random_one_in(writer->random, 6) ? "%#lx" : "%lu";
	unsigned int i;

	for (i = 0; i < 4; i++) {
		if (bytes % units[i].unit || random_one_in(writer->random, 3))
			continue;
		snprintf(buf, size - 1, fmt, bytes / units[i].unit);
		strncat(buf, &units[i].letters[random_below(writer->random, 2)], 1);
		return;
	}
	snprintf(buf, size, fmt, bytes);
}

static uint64_t some_bytes(struct random *random, uint64_t total)
{
	static const uint64_t units[] = { 1, KIB, MIB, SECTION, SECTION, GIB };
	uint64_t bytes = random_below(random, total + total / 8 + 1);

	if (random_one_in(random, 2))
		bytes = total - random_below(random, total / 4 + 1);
	else if (random_one_in(random, 6))
		bytes = random_size(random, 1, 2 * SECTION);
	else if (random_one_in(random, 10))
		bytes = random_size(random, TIB, 1ULL << 62);
	bytes = down(bytes, units[random_below(random, 6)]);
	return bytes ?: SECTION;
}

static void ignore(struct request *request, const char *fmt, const char *text)
{
	snprintf(request->ignored[request->nr_ignored++], sizeof(request->ignored[0]), fmt, text);
}

static void write_nonsense(struct writer *writer)
{
	static const char *const nonsense[] = {
		"0:", ":1G", "x:1G", "1:1Q", "0:0", "0:100%", "0:0%", "64:1G", "1000:1G", "0:1GG",
		"0:99999999999999999999G", "0:16777216T", "all:50%", "0:-1G", "0x:1G", "0 :1G", "0:%",
		"0:1G+", "0:1G+0", "0:+1G", "0:1G+1G+1G", "1:1G+100%", "1:1G+1Q",
	};
	const char *part = nonsense[random_below(writer->random, ARRAY_SIZE(nonsense))];

	write_part(writer, "%s", part);
	ignore(writer->request, "%s", part);
}

/* At times, a size is followed by that of a growth reserve. */
static void write_growth(struct writer *writer, char *buf, size_t size, uint64_t total,
			 bool *given, bool *percent, uint64_t *value)
{
	static const uint64_t units[] = { MIB, SECTION, GIB, GIB, GIB };

	if (!random_one_in(writer->random, 3))
		return;
	*given = true;
	*percent = random_one_in(writer->random, 3);
	strcat(buf, "+");
	if (*percent) {
		*value = random_one_in(writer->random, 4) ? 99 : 20;
		*value = 1 + random_below(writer->random, *value);
		snprintf(buf + strlen(buf), size - strlen(buf), "%lu%%", *value);
		return;
	}
	*value = down(random_below(writer->random, total / 3 + 2 * GIB),
		      units[random_below(writer->random, 5)]) ?: GIB;
	write_size(writer, buf + strlen(buf), size - strlen(buf), *value);
}

static void write_all(struct writer *writer, const struct machine *machine)
{
	struct request *request = writer->request;
	uint64_t total = 0;
	char size[64];
	int nid;

	for (nid = 0; nid < NODES; nid++)
		total += node_bytes(machine, nid);
	request->all.given = true;
	request->all.percent = random_one_in(writer->random, 2);
	if (request->all.percent) {
		request->all.value = 1 + random_below(writer->random, 99);
		snprintf(size, sizeof(size), "%lu%%", request->all.value);
	} else {
		request->all.value = some_bytes(writer->random, total);
		write_size(writer, size, sizeof(size), request->all.value);
	}
	write_growth(writer, size, sizeof(size), total, &request->growth_all.given,
		     &request->growth_all.percent, &request->growth_all.value);
	write_part(writer, "%s", size);
	/* Then sizes for single nodes do not count. */
	if (random_one_in(writer->random, 4)) {
		write_part(writer, "1:1G");
		ignore(request, "%s", "1:1G");
	}
}

static void write_node(struct writer *writer, const struct machine *machine, int nid)
{
	const char *fmt = random_one_in(writer->random, 8) ? "%#x" : "%d";
	struct request *request = writer->request;
	uint64_t bytes = node_bytes(machine, nid);
	char node[16], size[64];

	snprintf(node, sizeof(node), fmt, nid);
	request->node[nid].given = true;
	request->node[nid].percent = random_one_in(writer->random, 4);
	if (request->node[nid].percent) {
		request->node[nid].value = 1 + random_below(writer->random, 99);
		snprintf(size, sizeof(size), "%lu%%", request->node[nid].value);
	} else {
		request->node[nid].value = some_bytes(writer->random, bytes ?: GIB);
		write_size(writer, size, sizeof(size), request->node[nid].value);
	}
	write_growth(writer, size, sizeof(size), bytes, &request->growth[nid].given,
		     &request->growth[nid].percent, &request->growth[nid].value);
	write_part(writer, "%s:%s", node, size);
	if (random_one_in(writer->random, 30)) {
		write_part(writer, "%s:1T", node);
		ignore(request, "%s:1T", node);
	}
}

static void finish(struct request *request, unsigned int last)
{
	unsigned int i;

	for (i = 0; i <= last; i++)
		request->values[i] = request->text[i];
	request->values[i] = NULL;
}

void make_request(struct request *request, const struct machine *machine, struct random *random)
{
	struct writer writer = { .request = request, .random = random };
	int nid;

	memset(request, 0, sizeof(*request));
	if (random_one_in(random, 8))
		write_nonsense(&writer);
	if (random_one_in(random, 10))
		write_part(&writer, "fresh");
	if (random_one_in(random, 3)) {
		write_all(&writer, machine);
	} else {
		bool most = random_one_in(random, 2);

		for (nid = 0; nid < NODES; nid++) {
			if (machine->online >> nid & 1 ? most || random_one_in(random, 2) :
							 random_one_in(random, 80))
				write_node(&writer, machine, nid);
			if (random_one_in(random, 60) && request->nr_ignored < 16)
				write_nonsense(&writer);
		}
	}
	finish(request, writer.value);
}

void request_most(struct request *request)
{
	memset(request, 0, sizeof(*request));
	request->all.given = true;
	request->all.percent = true;
	request->all.value = 99;
	strcpy(request->text[0], "99%");
	finish(request, 0);
}

void request_bytes(struct request *request, const uint64_t bytes[NODES],
		   const uint64_t growth[NODES])
{
	struct random random = { };
	struct writer writer = { .request = request, .random = &random };
	int nid;

	memset(request, 0, sizeof(*request));
	for (nid = 0; nid < NODES; nid++) {
		if (!bytes[nid])
			continue;
		request->node[nid].given = true;
		request->node[nid].value = bytes[nid];
		if (!growth || !growth[nid]) {
			write_part(&writer, "%d:%lu", nid, bytes[nid]);
			continue;
		}
		request->growth[nid].given = true;
		request->growth[nid].value = growth[nid];
		write_part(&writer, "%d:%lu+%lu", nid, bytes[nid], growth[nid]);
	}
	finish(request, writer.value);
}
