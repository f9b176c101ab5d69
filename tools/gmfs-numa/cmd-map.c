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

/* By weight: what a cell shows that has blocks of several. STATES is a number of no block. */
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

/* Contiguous blocks of a pool. */
struct part {
	uint64_t first;
	uint64_t count;
	uint64_t base;		/* physical address */
};

struct map {
	const struct node *node;
	unsigned char *state;		/* of each block number */
	uint64_t end;			/* of the block numbers */
	uint64_t count[STATES];
	struct part *parts;		/* by ascending address */
	size_t nr_parts;
	bool has_base;			/* we may know the addresses */
};

#define GIB	(1ULL << 30)

static bool bit(const unsigned char *map, size_t size, uint64_t block)
{
	return block / 8 < size && map[block / 8] >> block % 8 & 1;
}

/* Numbers of a pool whose extents the kernel does not count through are in a file. */
static void read_parts(struct map *map)
{
	char *text = read_text(SYSFS "/node%d/extent_blocks", map->node->nid);
	char *line, *rest = text;
	struct range *extents;
	ssize_t nr, i;

	while ((line = strsep(&rest, "\n"))) {
		struct part part = { };

		if (sscanf(line, "%ju %ju", &part.first, &part.count) != 2)
			continue;
		map->parts = xrealloc(map->parts, (map->nr_parts + 1) * sizeof(part));
		map->parts[map->nr_parts++] = part;
	}
	free(text);
	nr = node_extents(map->node->nid, &extents);
	map->has_base = nr > 0 && (!map->nr_parts || (size_t)nr == map->nr_parts);
	if (!map->nr_parts) {
		map->nr_parts = map->has_base ? nr : 1;
		map->parts = xcalloc(map->nr_parts, sizeof(*map->parts));
		map->parts[0].count = map->node->total_blocks;
		for (i = 0; map->has_base && i < nr; i++) {
			map->parts[i].first = map->end;
			map->parts[i].count = extents[i].size / map->node->block_size;
			map->end += map->parts[i].count;
		}
	}
	for (i = 0; map->has_base && i < nr; i++)
		map->parts[i].base = extents[i].base;
	free(extents);
	map->end = 0;
	for (i = 0; i < (ssize_t)map->nr_parts; i++)
		if (map->parts[i].first + map->parts[i].count > map->end)
			map->end = map->parts[i].first + map->parts[i].count;
}

/* The part that has a block, or NULL. */
static const struct part *part_of(const struct map *map, uint64_t block)
{
	size_t i;

	for (i = 0; i < map->nr_parts; i++)
		if (block >= map->parts[i].first &&
		    block - map->parts[i].first < map->parts[i].count)
			return &map->parts[i];
	return NULL;
}

/* False if there is none, of which a message says why. */
static bool read_map(struct map *map, const struct node *node)
{
	size_t used_size, dirty_size = 0, poison_size = 0, i;
	unsigned char *used, *dirty, *poison;
	int nid = node->nid;
	uint64_t block;

	if (!is_known(node->total_blocks) || !is_known(node->block_size))
		fatal(EX_FAILED, "node %d: total_blocks or block_size cannot be read", nid);
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
	read_parts(map);
	if (used_size * 8 < map->end)
		fatal(EX_FAILED, "node %d: its size changes at this moment: try again", nid);
	map->state = xmalloc(map->end);
	memset(map->state, STATES, map->end);
	for (i = 0; i < map->nr_parts; i++) {
		const struct part *part = &map->parts[i];

		for (block = part->first; block < part->first + part->count; block++) {
			if (poison && bit(poison, poison_size, block))
				map->state[block] = POISONED;
			else if (bit(used, used_size, block))
				map->state[block] = USED;
			else if (dirty && bit(dirty, dirty_size, block))
				map->state[block] = DIRTY;
			else
				map->state[block] = FREE;
			map->count[map->state[block]]++;
		}
	}
	free(used);
	free(dirty);
	free(poison);
	return true;
}

/* The first block from @block on; map->end if there is none. */
static uint64_t first_block(const struct map *map, uint64_t block)
{
	while (block < map->end && map->state[block] == STATES)
		block++;
	return block;
}

/*
 * Does a line end before this number? Lines are gibibytes of physical memory, as far as
 * we know.
 */
static bool ends_line(const struct map *map, uint64_t block)
{
	const struct part *part = part_of(map, block);

	return !part || block == part->first ||
	       (part->base + (block - part->first) * map->node->block_size) % GIB == 0;
}

static enum state cell_state(const struct map *map, uint64_t block, uint64_t count)
{
	enum state state = FREE;
	uint64_t i;

	for (i = block; i < block + count && i < map->end; i++)
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
	if (!map->has_base)
		puts("A line starts at each gibibyte of the pool; only root is shown those of physical memory");
	else
		puts("A line starts at each gibibyte of physical memory");
	free(size);
	free(cell);
}

static void print_map(const struct map *map)
{
	uint64_t block, next, end, per_gib, per_cell = 1;
	bool utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	bool color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	unsigned int width = terminal_width() - 10;

	/* A gibibyte is one line: the cells have as many blocks as that takes. */
	per_gib = GIB / map->node->block_size;
	while (per_gib / per_cell > width)
		per_cell *= 2;
	print_legend(map, per_cell, utf8, color);
	for (block = first_block(map, 0); block < map->end; block = first_block(map, end)) {
		for (end = block + 1; end < map->end && !ends_line(map, end); end++)
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
	const char *separator = "";
	uint64_t block, end;

	printf("      {\n         \"node\": %d,\n         \"block_size\": %ju,\n         \"runs\": [",
	       map->node->nid, (uintmax_t)map->node->block_size);
	for (block = first_block(map, 0); block < map->end; block = first_block(map, end)) {
		for (end = block; end < map->end && map->state[end] == map->state[block]; end++)
			;
		printf("%s\n            {\"start\": %ju, \"count\": %ju, \"state\": \"%s\"}",
		       separator, (uintmax_t)block, (uintmax_t)(end - block),
		       looks[map->state[block]].name);
		separator = ",";
	}
	printf("\n         ]\n      }%s\n", last ? "" : ",");
}

#define CELL	8
#define ROW	14
#define CELLS	128

static void print_svg(FILE *out, const struct map *map, unsigned int *y)
{
	uint64_t block, next, end;
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
	for (block = first_block(map, 0); block < map->end; block = first_block(map, end)) {
		for (end = block + 1; end < map->end && !ends_line(map, end); end++)
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
		free(maps[i].parts);
	}
	free(maps);
	nodes_free(nodes);
	return status;
}
