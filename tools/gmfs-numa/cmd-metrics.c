// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa metrics: OpenMetrics text, which is also good for the textfile
 * collector of Prometheus' node_exporter.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"

enum unit { PLAIN, BLOCKS, GIBIBYTES };

static const struct metric {
	const char *name;	/* without guestmemfs_ and, of a counter, _total */
	const char *type;
	size_t offset;
	enum unit unit;
	const char *help;
} metrics[] = {
#define METRIC(name, type, field, unit, help) \
	{ name, type, offsetof(struct node, field), unit, help }
	METRIC("pool_size_bytes", "gauge", size, PLAIN, "Size of the pool."),
	METRIC("pool_free_bytes", "gauge", free_blocks, BLOCKS, "Free memory of the pool."),
	METRIC("pool_dirty_bytes", "gauge", dirty_blocks, BLOCKS,
	       "Free memory that is zeroed before its next use."),
	METRIC("pool_poisoned_bytes", "gauge", poisoned_blocks, BLOCKS,
	       "Blocks with hardware errors."),
	METRIC("pool_pinned_bytes", "gauge", pinned_blocks, BLOCKS,
	       "Used memory that is pinned for devices."),
	METRIC("pool_reserved_bytes", "gauge", reserved_blocks, BLOCKS,
	       "Free memory for privileged tasks alone."),
	METRIC("pool_largest_free_bytes", "gauge", largest_free_run, BLOCKS,
	       "Longest free run."),
	METRIC("pool_free_1g_bytes", "gauge", free_1g, GIBIBYTES,
	       "Free memory that 1 GiB mappings can cover."),
	METRIC("pool_growth_reserve_bytes", "gauge", growth_reserve, PLAIN,
	       "Memory of the kernel that the pool can grow into."),
	METRIC("metadata_bytes", "gauge", metadata_bytes, PLAIN,
	       "Ordinary memory for metadata."),
	METRIC("mounts", "gauge", mounts, PLAIN, "Mounts of the node."),
	METRIC("kexecs", "gauge", generation, PLAIN, "Kexecs that the pool has survived."),
	METRIC("alloc_failures", "counter", alloc_failures, PLAIN,
	       "Times that no block could be given."),
	METRIC("moved_bytes", "counter", moved_blocks, BLOCKS,
	       "Used memory that has moved, to compact or to shrink the pool."),
#undef METRIC
};

#define NR_METRICS ARRAY_SIZE(metrics)

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	/* Prometheus' text format wants the name of a counter as its samples have it. */
	fprintf(out, "# HELP guestmemfs_%s %s\n# TYPE guestmemfs_%s %s\n", name, help, name, type);
}

/* The value of a sample, or NUMBER_UNKNOWN: a kernel without pins has none of them. */
static uint64_t metric_value(const struct node *node, const struct metric *m)
{
	uint64_t value = *(const uint64_t *)((const char *)node + m->offset);

	if (m->unit == BLOCKS)
		return node_bytes(node, value);
	return is_known(value) && m->unit == GIBIBYTES ? value << 30 : value;
}

static bool any_has_metric(const struct nodes *nodes, const struct metric *m)
{
	size_t i;

	for (i = 0; i < nodes->nr; i++)
		if (is_known(metric_value(&nodes->node[i], m)))
			return true;
	return !nodes->nr;
}

static void print_metric(FILE *out, const struct nodes *nodes, const struct metric *m,
			 bool counter_suffix)
{
	const char *suffix = !strcmp(m->type, "counter") ? "_total" : "";
	char *family = xasprintf("%s%s", m->name, counter_suffix ? suffix : "");
	size_t i;

	if (any_has_metric(nodes, m))
		head(out, family, m->type, m->help);
	for (i = 0; i < nodes->nr; i++) {
		const struct node *node = &nodes->node[i];
		uint64_t value = metric_value(node, m);

		if (is_known(value))
			fprintf(out, "guestmemfs_%s%s{node=\"%d\"} %ju\n", m->name, suffix,
				node->nid, (uintmax_t)value);
	}
	free(family);
}

/* One of them is 1, even if a newer kernel has other names for states. */
static void print_states(FILE *out, const struct nodes *nodes)
{
	static const char * const states[] = { "active", "frozen", "read-only", "failed" };
	size_t i, j;

	/* A type of OpenMetrics alone, for which a gauge does in both. */
	head(out, "state", "gauge", "1 for the state that the node is in.");
	for (i = 0; i < nodes->nr; i++) {
		const struct node *node = &nodes->node[i];
		bool known = false, is;

		for (j = 0; j < ARRAY_SIZE(states); j++) {
			is = !strcmp(node->state, states[j]);
			known |= is;
			fprintf(out, "guestmemfs_state{node=\"%d\",state=\"%s\"} %d\n", node->nid,
				states[j], is);
		}
		fprintf(out, "guestmemfs_state{node=\"%d\",state=\"unknown\"} %d\n", node->nid,
			!known);
	}
}

static void print_all(FILE *out, const struct nodes *nodes, bool prometheus)
{
	static const char * const sizes[] = { "4k", "2m", "1g" };
	size_t i, j;

	for (i = 0; i < NR_METRICS; i++)
		print_metric(out, nodes, &metrics[i], prometheus);

	head(out, prometheus ? "faults_total" : "faults", "counter",
	     "Page faults by size of the mapping that answered them.");
	for (i = 0; i < nodes->nr; i++) {
		const struct node *node = &nodes->node[i];
		const uint64_t faults[] = { node->faults_pte, node->faults_pmd, node->faults_pud };

		for (j = 0; j < 3; j++) {
			if (!is_known(faults[j]))
				continue;
			fprintf(out, "guestmemfs_faults_total{node=\"%d\",leaf=\"%s\"} %ju\n",
				node->nid, sizes[j], (uintmax_t)faults[j]);
		}
	}

	print_states(out, nodes);
	if (!prometheus)
		fputs("# EOF\n", out);
}

/* A collector must never see half of it. */
static void write_file(const char *name, const struct nodes *nodes)
{
	struct replacement r;

	replace_begin(&r, name, name);
	print_all(r.out, nodes, true);
	replace_end(&r);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'f':
		*(const char **)state->input = arg;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is not expected: metrics has options only", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_metrics(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "file", 'f', "FILE", 0,
		  "write it to FILE in Prometheus' text format, for the textfile collector", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, NULL,
		"Print OpenMetrics text for monitoring.", NULL, NULL, NULL };
	const char *file = NULL;
	struct nodes *nodes;
	int first;

	parse_args(&argp, argc, argv, &first, &file);
	/* A machine without a pool has no samples, which is no error for a collector. */
	nodes = nodes_read_any();
	if (file)
		write_file(file, nodes);
	else
		print_all(stdout, nodes, false);
	nodes_free(nodes);
	return EX_OK;
}
