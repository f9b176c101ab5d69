// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa status: a line for each node with a pool.
 */

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gmfs-numa.h"

enum {
	C_NODE, C_CPUS, C_NEAR, C_DISTANCES, C_KERNEL, C_KERNEL_FREE, C_SIZE, C_USED, C_FREE,
	C_LARGEST, C_FREE_1G, C_GROWTH,
	C_SCRUBBED, C_DIRTY, C_POISONED, C_PINNED, C_ATTACHED, C_PRIVATE, C_RESERVED,
	C_STATE, C_MOUNTS,
	C_INODES, C_METADATA, C_GENERATION, C_FAILURES, C_FROM, C_UUID, C_ERROR,
};

static const struct column columns[] = {
	[C_NODE] = { "NODE", "number of the node", COL_NUMBER, true },
	[C_CPUS] = { "CPUS", "CPUs of the node", COL_TEXT, true },
	[C_NEAR] = { "NEAR", "the nearest other nodes, and how far they are", COL_TEXT, true },
	[C_DISTANCES] = { "DISTANCES", "to all nodes that are online", COL_TEXT, false },
	[C_KERNEL] = { "KERNEL", "memory that the kernel manages", COL_SIZE, true },
	[C_KERNEL_FREE] = { "KERNEL-FREE", "free memory of the kernel", COL_SIZE, false },
	[C_SIZE] = { "SIZE", "size of the pool", COL_SIZE, true },
	[C_USED] = { "USED", "used, or out of use", COL_SIZE, true },
	[C_FREE] = { "FREE", "free", COL_SIZE, true },
	[C_LARGEST] = { "LARGEST", "longest free run", COL_SIZE, true },
	[C_FREE_1G] = { "FREE-1G", "free, aligned gibibytes", COL_NUMBER, false },
	[C_GROWTH] = { "GROWTH", "kernel memory that the pool can grow into", COL_SIZE, false },
	[C_SCRUBBED] = { "SCRUBBED", "free and zero", COL_SIZE, true },
	[C_DIRTY] = { "DIRTY", "free, to be zeroed first", COL_SIZE, false },
	[C_POISONED] = { "POISONED", "with hardware errors", COL_SIZE, true },
	[C_PINNED] = { "PINNED", "used, and pinned for devices", COL_SIZE, true },
	[C_ATTACHED] = { "ATTACHED", "files that are memory of guest_memfd", COL_NUMBER, false },
	[C_PRIVATE] = { "PRIVATE", "files that no process can map", COL_NUMBER, false },
	[C_RESERVED] = { "RESERVED", "free for CAP_SYS_RESOURCE alone", COL_SIZE, false },
	[C_STATE] = { "STATE", "active, frozen, read-only or failed", COL_TEXT, true },
	[C_MOUNTS] = { "MOUNTS", "mounts of the node", COL_NUMBER, true },
	[C_INODES] = { "INODES", "inodes in use", COL_NUMBER, false },
	[C_METADATA] = { "METADATA", "memory for metadata", COL_SIZE, false },
	[C_GENERATION] = { "GENERATION", "kexecs survived", COL_NUMBER, true },
	[C_FAILURES] = { "FAILURES", "allocations that failed", COL_NUMBER, false },
	[C_FROM] = { "FROM", "kernel that handed it over", COL_TEXT, false },
	[C_UUID] = { "UUID", "of the pool", COL_TEXT, false },
	[C_ERROR] = { "ERROR", "why it failed", COL_PROSE, false },
};

#define NR_COLUMNS ARRAY_SIZE(columns)

struct arguments {
	struct table_options table;
	bool watch;
	uint64_t seconds;
};

/* "1,2(20)": the nearest nodes but itself; empty if there are no others. */
static char *nearest(const struct node *node, const char *online)
{
	unsigned int first, last, nid, distance, least = 0;
	const char *list = online, *row = node->distances;
	char *text = NULL, *one;
	char *end;

	while (next_range(&list, &first, &last)) {
		for (nid = first; nid <= last; nid++, row = end) {
			distance = strtoul(row, &end, 10);
			if ((int)nid == node->nid || end == row || (least && distance > least))
				continue;
			if (distance != least) {
				free(text);
				text = NULL;
			}
			least = distance;
			one = xasprintf("%u", nid);
			text = join(text, ",", one);
			free(one);
		}
	}
	if (!text)
		return NULL;
	one = xasprintf("%s(%u)", text, least);
	free(text);
	return one;
}

static void show_node(struct table *table, const struct node *node, const char *online)
{
	char *near = nearest(node, online);

	table_row(table);
	table_number(table, C_NODE, node->nid);
	table_text(table, C_CPUS, node->cpus);
	table_text(table, C_NEAR, near);
	table_text(table, C_DISTANCES, node->distances);
	table_size(table, C_KERNEL, node->kernel_total);
	table_size(table, C_KERNEL_FREE, node->kernel_free);
	table_size(table, C_SIZE, node->size);
	table_size(table, C_USED,
		   node_bytes(node, known_difference(node->total_blocks, node->free_blocks)));
	table_size(table, C_FREE, node_bytes(node, node->free_blocks));
	table_size(table, C_LARGEST, node_bytes(node, node->largest_free_run));
	table_number(table, C_FREE_1G, node->free_1g);
	table_size(table, C_GROWTH, node->growth_reserve);
	table_size(table, C_SCRUBBED, node_bytes(node, node->scrubbed_blocks));
	table_size(table, C_DIRTY, node_bytes(node, node->dirty_blocks));
	table_size(table, C_POISONED, node_bytes(node, node->poisoned_blocks));
	table_size(table, C_PINNED, node_bytes(node, node->pinned_blocks));
	table_number(table, C_ATTACHED, node->attached_files);
	table_number(table, C_PRIVATE, node->private_files);
	table_size(table, C_RESERVED, node_bytes(node, node->reserved_blocks));
	table_text(table, C_STATE, node->state);
	table_number(table, C_MOUNTS, node->mounts);
	table_number(table, C_INODES, known_difference(node->total_inodes, node->free_inodes));
	table_size(table, C_METADATA, node->metadata_bytes);
	table_number(table, C_GENERATION, node->generation);
	table_number(table, C_FAILURES, node->alloc_failures);
	table_text(table, C_FROM, node->handed_over_from);
	table_text(table, C_UUID, node->uuid);
	table_text(table, C_ERROR, node->error);
	free(near);
}

static void show(const struct arguments *args, int argc, char **argv)
{
	struct nodes *nodes = argc ? nodes_select(argc, argv) : nodes_read_any();
	struct table *table = table_new("nodes", columns, NR_COLUMNS, &args->table);
	char *online = read_text("/sys/devices/system/node/online");
	size_t i, nr = nodes->nr;

	for (i = 0; i < nr; i++)
		show_node(table, &nodes->node[i], online ? online : "");
	free(online);
	table_print(table);
	for (i = 0; i < nr; i++)
		if (*nodes->node[i].error && !args->table.json)
			warning("node %d: %s", nodes->node[i].nid, nodes->node[i].error);
	nodes_free(nodes);
	if (!nr) {
		no_pool();
		exit(EX_NO_POOL);
	}
}

/* Until something changes that can be polled, or the time is over. */
static void wait_for_change(uint64_t seconds)
{
	struct nodes *nodes = nodes_read();
	struct pollfd *fds = xcalloc(nodes->nr, sizeof(*fds));
	char buf[64];
	size_t i;

	for (i = 0; i < nodes->nr; i++) {
		char *path = xasprintf(SYSFS "/node%d/state", nodes->node[i].nid);

		fds[i].fd = root_open_regular(path, O_RDONLY);
		fds[i].events = POLLPRI;
		free(path);
		/* What has been read is what the next event is compared with. */
		if (fds[i].fd >= 0 && read(fds[i].fd, buf, sizeof(buf)) < 0)
			fds[i].events = 0;
	}
	poll(fds, nodes->nr, seconds * 1000);
	for (i = 0; i < nodes->nr; i++)
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	free(fds);
	nodes_free(nodes);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->table;
		return 0;
	case 'w':
		args->watch = true;
		args->seconds = 2;
		if (arg && (!parse_number(arg, &args->seconds) || !args->seconds ||
			    args->seconds > 86400))
			argp_error(state, "'%s' is no number of seconds from 1 to 86400", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_status(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "watch", 'w', "SECONDS", OPTION_ARG_OPTIONAL,
		  "show it again at each change, and all SECONDS (2)", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, "[NODE...]",
		"Show how full the pools of nodes are. Needs no privileges.",
		children, columns_help, NULL };
	struct arguments args = { };
	int first;

	columns_of_help(columns, NR_COLUMNS);
	parse_args(&argp, argc, argv, &first, &args);
	do {
		if (args.watch && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		show(&args, argc - first, argv + first);
		/* The reader of the pipe has ended. No signal tells that if SIGPIPE is ignored. */
		if (fflush(stdout) || ferror(stdout))
			return EX_FAILED;
		if (args.watch)
			wait_for_change(args.seconds);
	} while (args.watch);
	return EX_OK;
}
