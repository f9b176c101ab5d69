// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover: the command line of the next kernel.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"
#include "handover.h"

/*
 * The line that the next kernel parses, see setup_arch() of x86: one that is built into
 * it stands in front of what it is given, or in its place.
 */
static char *whole_command_line(const char *line, const char *config)
{
	char *builtin = config ? config_string(config, "CMDLINE") : NULL, *whole;

	if (!builtin)
		return xstrdup(line);
	if (config_has(config, "CMDLINE_OVERRIDE"))
		return builtin;
	whole = xasprintf("%s %s", builtin, line);
	free(builtin);
	return whole;
}

/* Of several mem=, the smallest ends the memory: parse_memopt() of arch/x86/kernel/e820.c. */
static void take_mem(const char *value, void *data)
{
	uint64_t *end = data, bytes;
	const char *rest;

	bytes = value ? kcmdline_size(value, &rest) : 0;
	if (bytes && bytes < *end)
		*end = bytes;
}

/* The last memtest= counts, and without a number all patterns: mm/memtest.c. */
static void take_memtest(const char *value, void *data)
{
	unsigned int *patterns = data;
	char *end;
	unsigned long number;

	if (!value) {
		*patterns = UINT_MAX;
		return;
	}
	number = strtoul(value, &end, 0);
	if (end != value && !*end)
		*patterns = number;
}

/* Any value makes a kdump kernel: setup_elfcorehdr() of kernel/elfcorehdr.c. */
static void take_elfcorehdr(const char *value, void *data)
{
	if (value)
		*(bool *)data = true;
}

/* The items of all memmap=, as parse_memmap_opt() separates them. */
struct memmap {
	char **item;		/* of text */
	size_t nr;
	char *text;
};

static void take_memmap(const char *value, void *data)
{
	char **text = data;

	*text = join(*text, ",", value ? value : "");
}

/* "exactmap" drops all memory that was known before. */
static bool is_exactmap(const char *item)
{
	return !strncmp(item, "exactmap", strlen("exactmap"));
}

static void read_memmap(struct memmap *map, const char *line)
{
	char *rest, *item;

	*map = (struct memmap){ };
	kcmdline_each(line, "memmap", take_memmap, &map->text);
	if (!map->text)
		return;
	map->item = xcalloc(strlen(map->text) + 1, sizeof(*map->item));
	rest = map->text;
	while ((item = strsep(&rest, ","))) {
		if (is_exactmap(item))
			map->nr = 0;
		map->item[map->nr++] = item;
	}
}

static void free_memmap(struct memmap *map)
{
	free(map->item);
	free(map->text);
}

static bool memmap_has(const struct memmap *map, const char *item)
{
	size_t i;

	for (i = 0; i < map->nr; i++)
		if (!strcmp(map->item[i], item))
			return true;
	return false;
}

/*
 * Has the next kernel the memory of this one? Each of its items is one of this kernel, and
 * items of this kernel that can add memory are there. A line that is used again has those
 * of CONFIG_CMDLINE twice: /proc/cmdline has them too.
 */
static bool memmap_keeps_memory(const struct memmap *next, const struct memmap *running)
{
	bool exact = next->nr && is_exactmap(next->item[0]);
	size_t i;

	for (i = 0; i < next->nr; i++)
		if (!memmap_has(running, next->item[i]))
			return false;
	for (i = 0; i < running->nr; i++)
		if ((exact || strpbrk(running->item[i], "@%")) &&
		    !(!exact && is_exactmap(running->item[0])) &&
		    !memmap_has(next, running->item[i]))
			return false;
	return true;
}

/*
 * setup_arch() parses mem= and memmap= before a boot configuration in the initrd is read.
 * /proc/cmdline has the words of that as well, and they had no effect.
 */
static bool bootconfig_has_memory_words(void)
{
	char *text = read_text("/proc/bootconfig");
	bool has = text && strstr(text, "kernel.mem");

	free(text);
	return has;
}

/*
 * Words that take memory from the next kernel, or write to it. KHO's pages and pools can
 * be anywhere in the memory of this kernel, so the next one needs all of it.
 */
static bool check_memory_words(const char *line, const char *running)
{
	uint64_t next_end = UINT64_MAX, end = UINT64_MAX;
	struct memmap next_map, map;
	unsigned int patterns = 0;
	bool good = false;

	kcmdline_each(line, "memtest", take_memtest, &patterns);
	kcmdline_each(line, "mem", take_mem, &next_end);
	kcmdline_each(running, "mem", take_mem, &end);
	read_memmap(&next_map, line);
	read_memmap(&map, running);
	if (patterns)
		handover_result("command-line", FAIL,
				"memtest= has the next kernel write to all handed-over memory: leave it out");
	else if (next_end < end)
		handover_result("command-line", FAIL,
				"mem= ends below memory of this kernel: the next one panics if KHO's pages lie above, and loses pools that do: leave it out");
	else if (!memmap_keeps_memory(&next_map, &map))
		handover_result("command-line", UNKNOWN,
				"memmap= is not that of this kernel: the next one can lack memory of a pool or of KHO");
	else if ((next_end != UINT64_MAX || next_map.nr) && bootconfig_has_memory_words())
		handover_result("command-line", UNKNOWN,
				"the boot configuration of this kernel has mem= or memmap=, which had no effect if it is in the initrd: the next kernel can lack memory of a pool or of KHO");
	else
		good = true;
	free_memmap(&next_map);
	free_memmap(&map);
	return good;
}

bool handover_has_luo(const char *given, const char *config)
{
	char *line = whole_command_line(given, config);
	bool has = config_has(config, "LIVEUPDATE") && kcmdline_says_luo(line);

	free(line);
	return has;
}

/* What the next kernel is told: to hand over in its turn, and to keep what it gets. */
void handover_check_command_line(const char *given, const char *config, const char *running)
{
	char *line = whole_command_line(given, config);
	int on = kcmdline_says_kho(line);
	bool kdump = false;

	kcmdline_each(line, "elfcorehdr", take_elfcorehdr, &kdump);
	if (on < 0 && config)
		on = config_has(config, "KEXEC_HANDOVER_ENABLE_DEFAULT");
	if (kcmdline_says_fresh(line))
		handover_result("command-line", FAIL, kcmdline_says_fresh(given) ?
				"guestmemfs=fresh discards all files: leave it out" :
				"guestmemfs=fresh is built into it (CONFIG_CMDLINE) and discards all files");
	else if (config && config_has(config, "CMDLINE_FROM_BOOTCONFIG"))
		handover_result("command-line", UNKNOWN,
				"a boot configuration that is built into it can add to it");
	else if (!on)
		handover_result("command-line", FAIL,
				"kho=on is missing: the next kernel would take no pools over");
	else if (kdump)
		handover_result("command-line", FAIL,
				"elfcorehdr= makes it a kdump kernel, which takes no pools over: leave it out");
	else if (on < 0)
		handover_result("command-line", UNKNOWN,
				"it does not say kho=on, and whether that is the default is not known");
	else if (check_memory_words(line, running))
		handover_result("command-line", OK, "the next kernel takes the pools over");
	free(line);
}
