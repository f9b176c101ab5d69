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

/* What cma= says, as in kernel/dma/contiguous.c; bytes. */
struct cma {
	uint64_t size;
	uint64_t base;
	uint64_t limit;
};

/* early_cma(): a later cma= without an address leaves that of the one before. */
static void take_cma(const char *value, void *data)
{
	struct cma *cma = data;
	const char *rest;

	if (!value)
		return;
	cma->size = kcmdline_size(value, &rest);
	if (*rest != '@')
		return;
	cma->base = kcmdline_size(rest + 1, &rest);
	cma->limit = *rest == '-' ? kcmdline_size(rest + 1, &rest) : cma->base + cma->size;
}

/* Is it exactly there? If not, an area is looked for: dma_contiguous_reserve(). */
static bool cma_is_fixed(const struct cma *cma)
{
	return cma->size && cma->limit && cma->base + cma->size == cma->limit;
}

/* Does the next kernel reserve memory for it that this one does not? */
static bool cma_takes_more(const struct cma *next, const struct cma *running)
{
	return cma_is_fixed(next) && (!cma_is_fixed(running) || next->base < running->base ||
				      next->limit > running->limit);
}

/* Any value makes a kdump kernel: setup_elfcorehdr() of kernel/elfcorehdr.c. */
static void take_elfcorehdr(const char *value, void *data)
{
	if (value)
		*(bool *)data = true;
}

/* What all occurrences of a word say, separated at commas. */
struct items {
	char **item;		/* of text */
	size_t nr;
	char *text;
};

static void take_items(const char *value, void *data)
{
	char **text = data;

	*text = join(*text, ",", value ? value : "");
}

/* "exactmap" drops all memory that was known before. */
static bool is_exactmap(const char *item)
{
	return !strncmp(item, "exactmap", strlen("exactmap"));
}

static void read_items(struct items *items, const char *line, const char *word)
{
	char *rest, *item;

	*items = (struct items){ };
	kcmdline_each(line, word, take_items, &items->text);
	if (!items->text)
		return;
	items->item = xcalloc(strlen(items->text) + 1, sizeof(*items->item));
	rest = items->text;
	while ((item = strsep(&rest, ",")))
		items->item[items->nr++] = item;
}

static void free_items(struct items *items)
{
	free(items->item);
	free(items->text);
}

static bool has_item(const struct items *items, const char *item)
{
	size_t i;

	for (i = 0; i < items->nr; i++)
		if (!strcmp(items->item[i], item))
			return true;
	return false;
}

/* parse_memmap_opt() of x86 separates at commas. What is before exactmap has no effect. */
static void read_memmap(struct items *map, const char *line)
{
	size_t i;

	read_items(map, line, "memmap");
	for (i = map->nr; i-- > 1;) {
		if (!is_exactmap(map->item[i]))
			continue;
		map->nr -= i;
		memmove(map->item, map->item + i, map->nr * sizeof(*map->item));
		return;
	}
}

static bool has_all_items(const struct items *items, const struct items *of)
{
	size_t i;

	for (i = 0; i < of->nr; i++)
		if (!has_item(items, of->item[i]))
			return false;
	return true;
}

/* Do both lines say the same of a word? Words of CONFIG_CMDLINE can be there twice. */
static bool says_the_same(const char *word, const char *line, const char *running)
{
	struct items next, now;
	bool same;

	read_items(&next, line, word);
	read_items(&now, running, word);
	same = has_all_items(&next, &now) && has_all_items(&now, &next);
	free_items(&next);
	free_items(&now);
	return same;
}

/*
 * Has the next kernel the memory of this one? Each of its items is one of this kernel, and
 * items of this kernel that can add memory are there. A line that is used again has those
 * of CONFIG_CMDLINE twice: /proc/cmdline has them too.
 */
static bool memmap_keeps_memory(const struct items *next, const struct items *running)
{
	bool exact = next->nr && is_exactmap(next->item[0]);
	size_t i;

	if (!has_all_items(running, next))
		return false;
	for (i = 0; i < running->nr; i++)
		if ((exact || strpbrk(running->item[i], "@%")) &&
		    !(!exact && is_exactmap(running->item[0])) &&
		    !has_item(next, running->item[i]))
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
	struct cma next_cma = { }, cma = { };
	struct items next_map, map;
	unsigned int patterns = 0;
	bool good = false;

	kcmdline_each(line, "memtest", take_memtest, &patterns);
	kcmdline_each(line, "mem", take_mem, &next_end);
	kcmdline_each(running, "mem", take_mem, &end);
	kcmdline_each(line, "cma", take_cma, &next_cma);
	kcmdline_each(running, "cma", take_cma, &cma);
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
	else if (cma_takes_more(&next_cma, &cma))
		handover_result("command-line", UNKNOWN,
				"cma= reserves memory at an address where this kernel does not: the next one loses a pool or pages of KHO that lie there: leave out the address");
	else if (!says_the_same("numa", line, running) || !says_the_same("acpi", line, running))
		handover_result("command-line", UNKNOWN,
				"numa= or acpi= is not that of this kernel: the next one can find other nodes, and keeps a second pool on a node unused");
	else if ((next_end != UINT64_MAX || next_map.nr) && bootconfig_has_memory_words())
		handover_result("command-line", UNKNOWN,
				"the boot configuration of this kernel has mem= or memmap=, which had no effect if it is in the initrd: the next kernel can lack memory of a pool or of KHO");
	else
		good = true;
	free_items(&next_map);
	free_items(&map);
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

/* Without it, the kernel's memory next to a pool does not stay movable. */
void handover_check_growth(const struct nodes *nodes, const char *given, const char *config)
{
	char *line = whole_command_line(given, config), *list = NULL, *detail;
	bool any = false;
	size_t i;

	for (i = 0; i < nodes->nr; i++) {
		const struct node *node = &nodes->node[i];

		if (!is_known(node->growth_reserve) || !node->growth_reserve)
			continue;
		any = true;
		if (!kcmdline_has_growth(line, node->nid))
			list = join_node(list, node->nid);
	}
	if (list) {
		detail = xasprintf("guestmemfs= has no growth reserve (+SIZE) for node %s: its pool may not be able to grow in the next kernel",
				   list);
		handover_result("growth-reserve", WARN, detail);
		free(detail);
	} else if (any) {
		handover_result("growth-reserve", OK, "the next kernel has one as well");
	}
	free(list);
	free(line);
}
