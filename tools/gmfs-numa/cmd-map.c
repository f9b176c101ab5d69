// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa map: which blocks are in use, as a picture.
 */

#include <errno.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* By weight: what a cell shows that has blocks of several. */
enum state { FREE, DIRTY, USED, POISONED, STATES };

static const struct look {
	const char *name;
	const char *utf8;
	char ascii;
	const char *color;	/* of a terminal */
	const char *class;	/* in SVG */
} looks[STATES] = {
	[FREE] = { "free", "\u00b7", '.', "", "f" },
	[DIRTY] = { "dirty", "\u2592", ':', "\033[33m", "d" },
	[USED] = { "used", "\u2588", '#', "\033[34m", "u" },
	[POISONED] = { "poisoned", "\u2573", 'X', "\033[31m", "p" },
};

struct map {
	const struct node *node;
	unsigned char *state;		/* of each block */
	uint64_t count[STATES];
	struct range *extents;
	ssize_t nr_extents;		/* below 0: we may not know them */
};

#define GIB	(1ULL << 30)

static bool bit(const unsigned char *map, size_t size, uint64_t block)
{
	return block / 8 < size && map[block / 8] >> block % 8 & 1;
}

/* False if there is none, of which a message says why. */
static bool read_map(struct map *map, const struct node *node)
{
	size_t used_size, dirty_size = 0, poison_size = 0;
	unsigned char *used, *dirty, *poison;
	int nid = node->nid;
	uint64_t i;

	used = read_binary(&used_size, "/sys/fs/guestmemfs/node%d/bitmap", nid);
	if (!used && errno == EACCES)
		fatal(EX_FAILED, "node %d: bitmap: %s: only root may see the map",
		      nid, strerror(errno));
	if (!used)
		fatal(EX_FAILED, "node %d: bitmap: %s", nid, strerror(errno));
	dirty = read_binary(&dirty_size, "/sys/fs/guestmemfs/node%d/bitmap_dirty", nid);
	poison = read_binary(&poison_size, "/sys/fs/guestmemfs/node%d/bitmap_poison", nid);
	if (!used_size && node->total_blocks && (!node->error || !*node->error))
		fatal(EX_FAILED, "node %d: bitmap is empty: only root (CAP_SYS_ADMIN) may see the map, and not while the node is discarded",
		      nid);
	if (used_size * 8 < node->total_blocks || !node->block_size) {
		warning("node %d has failed, so there is no map: %s", nid, node->error);
		free(used);
		free(dirty);
		free(poison);
		return false;
	}
	map->node = node;
	map->state = xmalloc(node->total_blocks);
	for (i = 0; i < node->total_blocks; i++) {
		if (poison && bit(poison, poison_size, i))
			map->state[i] = POISONED;
		else if (bit(used, used_size, i))
			map->state[i] = USED;
		else if (dirty && bit(dirty, dirty_size, i))
			map->state[i] = DIRTY;
		else
			map->state[i] = FREE;
		map->count[map->state[i]]++;
	}
	free(used);
	free(dirty);
	free(poison);
	map->nr_extents = node_extents(nid, &map->extents);
	return true;
}

/* Does a gibibyte of physical memory start with this block, as far as we know? */
static bool starts_gib(const struct map *map, uint64_t block)
{
	uint64_t at = block * map->node->block_size;
	ssize_t i;

	if (map->nr_extents < 0)
		return at % GIB == 0;
	for (i = 0; i < map->nr_extents; i++) {
		if (at < map->extents[i].size)
			return !at || (map->extents[i].base + at) % GIB == 0;
		at -= map->extents[i].size;
	}
	return false;
}

static enum state cell_state(const struct map *map, uint64_t block, uint64_t count)
{
	enum state state = FREE;
	uint64_t i;

	for (i = block; i < block + count && i < map->node->total_blocks; i++)
		if (map->state[i] > state)
			state = map->state[i];
	return state;
}

static unsigned int terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	uint64_t width;

	if (columns && parse_number(columns, &width) && width >= 40 && width <= 1000)
		return width;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col >= 40)
		return size.ws_col;
	return 80;
}

static void put_cell(enum state state, bool utf8, bool color)
{
	const struct look *look = &looks[state];

	if (color && *look->color)
		fputs(look->color, stdout);
	if (utf8)
		fputs(look->utf8, stdout);
	else
		putchar(look->ascii);
	if (color && *look->color)
		fputs("\033[0m", stdout);
}

static void print_legend(const struct map *map, uint64_t per_cell, bool utf8, bool color)
{
	char *size = format_size(map->node->size);
	char *cell = format_size(per_cell * map->node->block_size);
	int i;

	printf("node %d: %s, %s a cell;", map->node->nid, size, cell);
	for (i = 0; i < STATES; i++) {
		char *bytes = format_size(map->count[i] * map->node->block_size);

		putchar(' ');
		put_cell(i, utf8, color);
		printf(" %s %s%s", looks[i].name, bytes, i + 1 < STATES ? "," : "\n");
		free(bytes);
	}
	if (map->nr_extents < 0)
		puts("A line starts at each gibibyte of the pool; only root is shown those of physical memory");
	else
		puts("A line starts at each gibibyte of physical memory");
	free(size);
	free(cell);
}

static void print_map(const struct map *map)
{
	uint64_t total = map->node->total_blocks, block, next, end, per_gib, per_cell = 1;
	bool utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	bool color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	unsigned int width = terminal_width() - 10;

	/* A gibibyte is one line: the cells have as many blocks as that takes. */
	per_gib = GIB / map->node->block_size;
	while (per_gib / per_cell > width)
		per_cell *= 2;
	print_legend(map, per_cell, utf8, color);
	for (block = 0; block < total; block = end) {
		for (end = block + 1; end < total && !starts_gib(map, end); end++)
			;
		printf("%8ju  ", (uintmax_t)block);
		for (; block < end; block = next) {
			next = block + per_cell < end ? block + per_cell : end;
			put_cell(cell_state(map, block, next - block), utf8, color);
		}
		putchar('\n');
	}
}

static void print_json(const struct map *map, bool last)
{
	uint64_t total = map->node->total_blocks, block, end;

	printf("      {\n         \"node\": %d,\n         \"block_size\": %ju,\n         \"runs\": [",
	       map->node->nid, (uintmax_t)map->node->block_size);
	for (block = 0; block < total; block = end) {
		for (end = block; end < total && map->state[end] == map->state[block]; end++)
			;
		printf("%s\n            {\"start\": %ju, \"count\": %ju, \"state\": \"%s\"}",
		       block ? "," : "", (uintmax_t)block, (uintmax_t)(end - block),
		       looks[map->state[block]].name);
	}
	printf("\n         ]\n      }%s\n", last ? "" : ",");
}

#define CELL	8
#define ROW	14
#define CELLS	128

static void print_svg(FILE *out, const struct map *map, unsigned int *y)
{
	uint64_t total = map->node->total_blocks, block, next, end;
	uint64_t per_cell = GIB / map->node->block_size / CELLS;
	char *size = format_size(map->node->size);
	unsigned int x;
	int i;

	if (!per_cell)
		per_cell = 1;
	fprintf(out, "<text x=\"8\" y=\"%u\">node %d: %s</text>\n", *y + 14, map->node->nid, size);
	free(size);
	x = 200;
	for (i = 0; i < STATES; i++, x += 150) {
		char *bytes = format_size(map->count[i] * map->node->block_size);

		fprintf(out, "<rect class=\"%s\" x=\"%u\" y=\"%u\" width=\"10\" height=\"10\"/>"
			"<text x=\"%u\" y=\"%u\">%s %s</text>\n", looks[i].class, x, *y + 5,
			x + 14, *y + 14, looks[i].name, bytes);
		free(bytes);
	}
	*y += 24;
	for (block = 0; block < total; block = end) {
		for (end = block + 1; end < total && !starts_gib(map, end); end++)
			;
		fprintf(out, "<text class=\"n\" x=\"68\" y=\"%u\">%ju</text>\n", *y + 9,
			(uintmax_t)block);
		for (x = 76; block < end; block = next, x += CELL) {
			next = block + per_cell < end ? block + per_cell : end;
			fprintf(out, "<rect class=\"%s\" x=\"%u\" y=\"%u\" width=\"%d\" height=\"%d\"/>\n",
				looks[cell_state(map, block, next - block)].class, x, *y,
				CELL - 1, ROW - 4);
		}
		*y += ROW;
	}
	*y += 12;
}

static void write_svg(const char *name, const struct map *maps, size_t nr)
{
	struct replacement r;
	char *body;
	size_t size, i;
	unsigned int y = 8;
	FILE *mem;

	replace_begin(&r, name, name);
	mem = open_memstream(&body, &size);
	if (!mem)
		fatal(EX_FAILED, "out of memory");
	for (i = 0; i < nr; i++)
		print_svg(mem, &maps[i], &y);
	fclose(mem);
	fprintf(r.out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%u\">\n"
		"<title>Pools of guestmemfs</title>\n<style>\n"
		"svg { background: #fff; } text { font: 13px sans-serif; fill: #222; }\n"
		".n { text-anchor: end; font-size: 10px; fill: #666; }\n"
		".f { fill: #e4e8ec; } .d { fill: #e0a030; } .u { fill: #2f6fb5; } .p { fill: #c8281e; }\n"
		"@media (prefers-color-scheme: dark) {\n"
		"svg { background: #16181c; } text { fill: #e6e6e6; } .n { fill: #9aa0a6; }\n"
		".f { fill: #353a42; } .u { fill: #5b9be0; } .p { fill: #ff5b4d; } }\n</style>\n%s</svg>\n",
		76 + CELLS * CELL + 8, y, body);
	free(body);
	replace_end(&r);
}

struct arguments {
	const char *svg;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case 's':
		args->svg = arg;
		return 0;
	case 'J':
		args->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_map(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "svg", 's', "FILE", 0, "draw it into FILE", 0 },
		{ "json", 'J', NULL, 0, "print runs of blocks as JSON", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "[NODE...]",
		"Show which blocks of nodes are in use, a gibibyte a line. Needs CAP_SYS_ADMIN.",
		NULL, NULL, NULL };
	struct arguments args = { };
	struct nodes *nodes;
	struct map *maps;
	size_t i, nr = 0;
	int first, status;

	parse_args(&argp, argc, argv, &first, &args);
	nodes = nodes_select(argc - first, argv + first);
	maps = xcalloc(nodes->nr, sizeof(*maps));
	/* One that has failed is no reason to show none. */
	for (i = 0; i < nodes->nr; i++)
		nr += read_map(&maps[nr], &nodes->node[i]);
	status = nr < nodes->nr ? EX_FAILED : EX_OK;
	if (args.json)
		puts("{\n   \"maps\": [");
	for (i = 0; i < nr; i++) {
		if (args.json)
			print_json(&maps[i], i + 1 == nr);
		else if (!args.svg)
			print_map(&maps[i]);
	}
	if (args.json)
		puts("   ]\n}");
	if (args.svg)
		write_svg(args.svg, maps, nr);
	for (i = 0; i < nr; i++) {
		free(maps[i].state);
		free(maps[i].extents);
	}
	free(maps);
	nodes_free(nodes);
	return status;
}
