// SPDX-License-Identifier: GPL-2.0
/*
 * Units of memory that a pool can get from the kernel: what sysfs and /proc/iomem tell of
 * them. Nothing is written.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
