// SPDX-License-Identifier: GPL-2.0
/*
 * Units of memory that can change between a pool and the kernel: what sysfs, /proc/iomem
 * and the files of a node tell of them. Nothing is written.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "resize.h"

#define MEMORY	"/sys/devices/system/memory"

static uint64_t read_hex(const char *path)
{
	char *text = read_text("%s", path), *end;
	uint64_t value = 0;

	if (text) {
		value = strtoull(text, &end, 16);
		if (*end)
			value = 0;
	}
	free(text);
	return value;
}

uint64_t resize_unit(void)
{
	uint64_t block = read_hex(MEMORY "/block_size_bytes");

	return block > GIB ? block : block ? GIB : 0;
}

/* Ranges of /proc/iomem or /sys/firmware/memmap. */
struct ranges {
	struct range *at;
	size_t nr;
};

static void ranges_add(struct ranges *ranges, uint64_t base, uint64_t size)
{
	ranges->at = xrealloc(ranges->at, (ranges->nr + 1) * sizeof(*ranges->at));
	ranges->at[ranges->nr++] = (struct range){ .base = base, .size = size };
}

static bool ranges_touch(const struct ranges *ranges, uint64_t base, uint64_t size)
{
	size_t i;

	for (i = 0; i < ranges->nr; i++)
		if (ranges->at[i].base < base + size &&
		    base < ranges->at[i].base + ranges->at[i].size)
			return true;
	return false;
}

/* What never moves: the kernel's image, and memory for a kdump kernel. */
static struct ranges read_fixed(void)
{
	static const char * const names[] = {
		"Kernel code", "Kernel data", "Kernel rodata", "Kernel bss", "Crash kernel",
	};
	FILE *file = root_fopen("/proc/iomem");
	struct ranges ranges = { };
	char line[256], name[64];
	uint64_t start, end;
	size_t i;

	while (file && fgets(line, sizeof(line), file)) {
		/* All addresses are 0 for callers without CAP_SYS_ADMIN. */
		if (sscanf(line, " %jx-%jx : %63[^\n]", &start, &end, name) != 3 || !end)
			continue;
		for (i = 0; i < ARRAY_SIZE(names); i++)
			if (!strcmp(name, names[i]))
				ranges_add(&ranges, start, end - start + 1);
	}
	if (file)
		fclose(file);
	return ranges;
}

/* Memory that firmware had at boot: the next kernel knows no other. */
static struct ranges read_firmware(void)
{
	DIR *dir = root_opendir("/sys/firmware/memmap");
	struct ranges ranges = { };
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char *type = read_text("/sys/firmware/memmap/%s/type", entry->d_name);
		char *start = read_text("/sys/firmware/memmap/%s/start", entry->d_name);
		char *end = read_text("/sys/firmware/memmap/%s/end", entry->d_name);
		uint64_t base, last;

		if (type && start && end && !strcmp(type, "System RAM")) {
			base = strtoull(start, NULL, 0);
			last = strtoull(end, NULL, 0);
			if (last > base)
				ranges_add(&ranges, base, last - base + 1);
		}
		free(type);
		free(start);
		free(end);
	}
	if (dir)
		closedir(dir);
	return ranges;
}

/* Zone of a node's online memory block: "Movable", another name, or "" if it cannot go. */
static char *block_zone(int nid, uint64_t block)
{
	char *state, *zone;

	if (!root_exists("/sys/devices/system/node/node%d/memory%ju", nid, (uintmax_t)block))
		return xstrdup("");
	state = read_text(MEMORY "/memory%ju/state", (uintmax_t)block);
	zone = read_text(MEMORY "/memory%ju/valid_zones", (uintmax_t)block);
	if (!state || strcmp(state, "online") || !zone || !strcmp(zone, "none") ||
	    strchr(zone, ' ')) {
		free(zone);
		zone = xstrdup("");
	}
	free(state);
	return zone;
}

/* Zone of all blocks of a unit, or "". */
static char *unit_zone(int nid, uint64_t base, uint64_t unit, uint64_t block)
{
	char *zone = block_zone(nid, base / block), *other;
	uint64_t at;

	for (at = base + block; *zone && at < base + unit; at += block) {
		other = block_zone(nid, at / block);
		if (strcmp(zone, other))
			*zone = '\0';
		free(other);
	}
	return zone;
}

bool resize_estimate_growth(int nid, struct estimate *e)
{
	DIR *dir = root_opendir("/sys/devices/system/node/node%d", nid);
	struct ranges fixed, firmware;
	uint64_t block = read_hex(MEMORY "/block_size_bytes"), number, base;
	struct dirent *entry;
	char *zone;

	*e = (struct estimate){ .unit = resize_unit() };
	if (!dir || !e->unit) {
		warning("node %d: the memory blocks of the kernel are not known: %s", nid,
			dir ? MEMORY "/block_size_bytes cannot be read" : strerror(errno));
		if (dir)
			closedir(dir);
		return false;
	}
	fixed = read_fixed();
	firmware = read_firmware();
	while ((entry = readdir(dir))) {
		/* Each unit once: by its first block. */
		if (strncmp(entry->d_name, "memory", strlen("memory")) ||
		    !parse_number(entry->d_name + strlen("memory"), &number) ||
		    number * block % e->unit)
			continue;
		base = number * block;
		zone = unit_zone(nid, base, e->unit, block);
		if (*zone && !ranges_touch(&fixed, base, e->unit) &&
		    (!firmware.nr || ranges_cover(firmware.at, firmware.nr, base, e->unit))) {
			e->sure += !strcmp(zone, "Movable");
			e->perhaps += !!strcmp(zone, "Movable");
		}
		free(zone);
	}
	closedir(dir);
	free(fixed.at);
	free(firmware.at);
	return true;
}

/* A unit of a pool. */
struct part {
	uint64_t base;		/* physical */
	uint64_t used;		/* blocks that are used or have failed */
};

static bool bit(const unsigned char *bits, size_t size, uint64_t nr)
{
	return nr / 8 < size && bits[nr / 8] >> nr % 8 & 1;
}

/* First block of each extent: a pool that was resized need not count by address. */
static uint64_t *first_blocks(const struct node *node, const struct range *extents, size_t nr)
{
	char *text = read_text(SYSFS "/node%d/extent_blocks", node->nid), *line, *rest = text;
	uint64_t *first = xcalloc(nr, sizeof(*first)), sum = 0, blocks;
	size_t i;

	for (i = 0; i < nr; i++) {
		line = strsep(&rest, "\n");
		if (!line || sscanf(line, "%ju %ju", &first[i], &blocks) != 2)
			first[i] = sum;
		sum += extents[i].size / node->block_size;
	}
	free(text);
	return first;
}

/* The units that lie in the pool as a whole, or -1 if that is not known. */
static ssize_t pool_parts(const struct node *node, uint64_t unit, struct part **parts)
{
	size_t used_size = 0, bad_size = 0, nr = 0, i;
	unsigned char *used, *bad;
	struct range *extents;
	ssize_t nr_extents = node_extents(node->nid, &extents);
	uint64_t *first, base, block, b;

	*parts = NULL;
	used = read_binary(&used_size, SYSFS "/node%d/bitmap", node->nid);
	bad = read_binary(&bad_size, SYSFS "/node%d/bitmap_poison", node->nid);
	if (nr_extents < 0 || !used_size || !is_known(node->block_size) || !node->block_size) {
		free(used);
		free(bad);
		free(extents);
		return -1;
	}
	first = first_blocks(node, extents, nr_extents);
	for (i = 0; i < (size_t)nr_extents; i++) {
		const struct range *e = &extents[i];

		base = (e->base + unit - 1) / unit * unit;
		for (; base + unit <= e->base + e->size; base += unit) {
			struct part part = { .base = base };

			block = first[i] + (base - e->base) / node->block_size;
			for (b = block; b < block + unit / node->block_size; b++)
				part.used += bit(used, used_size, b) || bit(bad, bad_size, b);
			*parts = xrealloc(*parts, (nr + 1) * sizeof(**parts));
			(*parts)[nr++] = part;
		}
	}
	free(first);
	free(used);
	free(bad);
	free(extents);
	return nr;
}

bool resize_estimate_shrinking(const struct node *node, struct estimate *e)
{
	struct part *parts;
	ssize_t nr, i;

	*e = (struct estimate){ .unit = resize_unit() };
	nr = e->unit ? pool_parts(node, e->unit, &parts) : -1;
	if (nr < 0) {
		warning("node %d: the free units of the pool are not known: only root may see where its memory is",
			node->nid);
		return false;
	}
	for (i = 0; i < nr; i++) {
		e->sure += !parts[i].used;
		e->in_use += !!parts[i].used;
	}
	free(parts);
	return true;
}

static int compare_parts(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	return x->used < y->used ? -1 : x->used > y->used;
}

struct search {
	const struct part *parts;
	size_t nr;
	uint64_t unit;
	int nid;
	char *list;
};

static void look_at(const struct file *file, void *arg)
{
	struct search *search = arg;
	struct extent *extents;
	uint64_t bytes = 0, start, end;
	char *size, *name, *one;
	ssize_t nr, i;
	size_t p;
	int fd;

	if (file->nid != search->nid)
		return;
	fd = file_read(file->place);
	if (fd < 0)
		return;
	nr = file_extents(fd, &extents);
	for (i = 0; i < nr; i++) {
		for (p = 0; extents[i].known && p < search->nr; p++) {
			start = extents[i].phys;
			end = start + extents[i].size;
			if (start < search->parts[p].base)
				start = search->parts[p].base;
			if (end > search->parts[p].base + search->unit)
				end = search->parts[p].base + search->unit;
			bytes += start < end ? end - start : 0;
		}
	}
	if (nr >= 0)
		free(extents);
	close(fd);
	if (!bytes)
		return;
	size = format_size(bytes);
	name = printable(file->path);
	one = xasprintf("%s(%s)", name, size);
	search->list = join(search->list, ",", one);
	free(one);
	free(name);
	free(size);
}

char *resize_files(const struct node *node, uint64_t nr)
{
	struct search search = { .nid = node->nid, .unit = resize_unit() };
	struct part *parts;
	ssize_t nr_parts;

	/* Files of another machine cannot be read. */
	if (*sysroot || !search.unit)
		return NULL;
	nr_parts = pool_parts(node, search.unit, &parts);
	if (nr_parts < 0)
		return NULL;
	qsort(parts, nr_parts, sizeof(*parts), compare_parts);
	search.parts = parts;
	search.nr = nr < (uint64_t)nr_parts ? nr : (uint64_t)nr_parts;
	files_walk(0, NULL, look_at, &search);
	free(parts);
	return search.list;
}
