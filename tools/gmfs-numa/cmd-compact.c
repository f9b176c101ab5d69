// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa compact: have the kernel move blocks, so that broken gibibytes become whole.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"

enum { C_NODE, C_GAINED, C_MOVED, C_WHOLE, C_IN_THE_WAY, NR_COLUMNS };

static const struct column columns[NR_COLUMNS] = {
	[C_NODE] = { "NODE", "number of the node", COL_NUMBER, true },
	[C_GAINED] = { "GAINED", "gibibytes that became whole", COL_NUMBER, true },
	[C_MOVED] = { "MOVED", "memory that was moved for that", COL_SIZE, true },
	[C_WHOLE] = { "WHOLE", "free gibibytes that are whole now", COL_NUMBER, true },
	[C_IN_THE_WAY] = { "IN-THE-WAY", "blocks that cannot move, by reason", COL_TEXT, true },
};

enum { OPT_DRY_RUN = 256 };

struct arguments {
	struct table_options table;
	const char *count;
	bool in_use;
	bool dry_run;
};

/* Why blocks do not move, as the kernel names it. */
static const struct reason {
	const char *name;
	const char *text;
} reasons[] = {
	{ "mapped", "processes map their files; --in-use moves them too" },
	{ "attached", "a guest_memfd has their files; --in-use moves them too" },
	{ "userfault", "a userfaultfd serves faults on them" },
	{ "pinned", "devices can access them" },
	{ "preserved", "a session of LUO has their files" },
	{ "failed", "they have pages with hardware errors" },
	{ "whole", "they became parts of whole gibibytes of their files" },
	{ "busy", "other tasks have allocated them since" },
};

/* What /sys/fs/guestmemfs/nodeN/compact says. */
struct result {
	uint64_t gained;
	uint64_t moved;		/* blocks */
	char *in_the_way;	/* "mapped=32,pinned=1", or NULL */
};

static void warn_of(const struct node *node, const char *name, uint64_t blocks, uint64_t inode)
{
	char *size = format_size(node_bytes(node, blocks));
	char *first = xstrdup("");
	size_t i;

	if (inode) {
		free(first);
		first = xasprintf(" (the first file has inode %ju)", (uintmax_t)inode);
	}
	for (i = 0; i < ARRAY_SIZE(reasons); i++)
		if (!strcmp(reasons[i].name, name))
			warning("node %d: %s cannot move, since %s%s", node->nid, size,
				reasons[i].text, first);
	free(first);
	free(size);
}

static void read_result(const struct node *node, struct result *result)
{
	char *text = read_text(SYSFS "/node%d/compact", node->nid);
	char *rest = text, *line, *item;
	unsigned long long number, inode;
	char name[32];

	if (!text)
		fatal(EX_FAILED, "node %d: compact: %s", node->nid, strerror(errno));
	while ((line = strsep(&rest, "\n"))) {
		inode = 0;
		if (sscanf(line, "%31s %llu %llu", name, &number, &inode) < 2)
			continue;
		if (!strcmp(name, "gained")) {
			result->gained = number;
		} else if (!strcmp(name, "moved")) {
			result->moved = number;
		} else {
			item = xasprintf("%s=%llu", name, number);
			result->in_the_way = join(result->in_the_way, ",", item);
			free(item);
			warn_of(node, name, number, inode);
		}
	}
	free(text);
}

static const char *remedy(int err)
{
	switch (-err) {
	case EACCES:
	case EPERM:
		return ": only root may do that";
	case ENOENT:
		return ": this kernel cannot compact";
	case EROFS:
		return ": it can only be read, see mounts and STATE";
	case EBUSY:
		return ": it is frozen (gmfs-numa thaw), or being discarded";
	case EUCLEAN:
		return ": the node has failed, see ERROR of gmfs-numa status";
	case ENOSPC:
		return ": others have used up the room for the blocks that move";
	default:
		return "";
	}
}

/* False if not as many gibibytes became whole as were asked for. */
static bool compact(const struct arguments *args, const struct node *node, struct table *table)
{
	char *request = xasprintf("%s%s%s", args->dry_run ? "dry-run " : "",
				  args->in_use ? "in-use " : "", args->count ?: "all");
	struct result result = { };
	uint64_t want = 0;
	char *whole;
	int err;

	err = node_write(node->nid, "compact", request);
	if (err)
		fatal(EX_FAILED, "node %d cannot be compacted: %s%s", node->nid, strerror(-err),
		      remedy(err));
	free(request);
	read_result(node, &result);
	whole = read_text(SYSFS "/node%d/free_1g", node->nid);
	table_row(table);
	table_number(table, C_NODE, node->nid);
	table_number(table, C_GAINED, result.gained);
	table_number(table, C_MOVED, node_bytes(node, result.moved));
	table_number(table, C_WHOLE, whole ? strtoull(whole, NULL, 10) : NUMBER_UNKNOWN);
	table_text(table, C_IN_THE_WAY, result.in_the_way);
	free(whole);
	free(result.in_the_way);
	return !args->count || (parse_number(args->count, &want) && result.gained >= want);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;
	uint64_t number;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->table;
		return 0;
	case 'c':
		if (!parse_number(arg, &number) || !number)
			argp_error(state, "'%s' is no number of gibibytes", arg);
		args->count = arg;
		return 0;
	case 'i':
		args->in_use = true;
		return 0;
	case OPT_DRY_RUN:
		args->dry_run = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_compact(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "count", 'c', "NUMBER", 0,
		  "gibibytes to make whole; without it, as many as possible", 0 },
		{ "in-use", 'i', NULL, 0,
		  "move files that processes or guests use, too; each block is not accessible for the time of its copy",
		  0 },
		{ "dry-run", OPT_DRY_RUN, NULL, 0, "only show what would be gained and moved", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, "NODE...",
		"Move blocks of files within nodes, so that free memory is in whole gibibytes. Exit"
		" status 1 if fewer than --count became whole.", children, columns_help, NULL };
	struct arguments args = { };
	int first, status = EX_OK;
	struct nodes *nodes;
	struct table *table;
	size_t i;

	columns_of_help(columns, NR_COLUMNS);
	parse_args(&argp, argc, argv, &first, &args);
	if (first == argc)
		fatal(EX_USAGE, "compact needs a node");
	refuse_sysroot("compact");
	nodes = nodes_select(argc - first, argv + first);
	table = table_new("compactions", columns, NR_COLUMNS, &args.table);
	for (i = 0; i < nodes->nr; i++)
		if (!compact(&args, &nodes->node[i], table))
			status = EX_DIFFERS;
	table_print(table);
	nodes_free(nodes);
	return status;
}
