// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover: is the machine ready to kexec.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "handover.h"

static const char * const results[] = { "ok", "warn", "fail", "unknown" };

struct arguments {
	struct table_options table;
	struct handover_arguments handover;
};

static const struct column columns[] = {
	{ "CHECK", "name of the check", COL_TEXT, true },
	{ "RESULT", "ok, warn, fail or unknown", COL_TEXT, true },
	{ "DETAIL", "reason", COL_PROSE, true },
};

static struct table *table;
static bool ready;

void handover_result(const char *check, enum handover_result r, const char *detail)
{
	table_row(table);
	table_text(table, 0, check);
	table_text(table, 1, results[r]);
	table_text(table, 2, detail);
	/* What is not known cannot be relied upon either. */
	if (r == FAIL || r == UNKNOWN)
		ready = false;
}

/* The command line does not tell: a kernel without memory for scratch areas has no KHO. */
static void check_kho(const char *cmdline)
{
	char *kho = read_text("/sys/fs/guestmemfs/kho");

	if (kho ? !strcmp(kho, "on") : root_exists("/sys/kernel/debug/kho/out"))
		handover_result("kho", OK, "KHO is on in this kernel");
	else if (kcmdline_says_kho(cmdline) == 0)
		handover_result("kho", FAIL, "the command line switches it off: boot with kho=on");
	else if (kho && kcmdline_says_kho(cmdline) == 1)
		handover_result("kho", FAIL,
				"off in spite of kho=on: 'dmesg | grep KHO' has the reason");
	else if (kho)
		handover_result("kho", FAIL, "it is off: boot with kho=on");
	else if (kcmdline_says_kho(cmdline) == 1)
		handover_result("kho", OK, "the command line has kho=on");
	else
		handover_result("kho", UNKNOWN,
				"debugfs cannot be read: run as root, or boot with kho=on");
	free(kho);
}

static void check_luo(void)
{
	if (!root_exists("/dev/liveupdate"))
		handover_result("luo", WARN, "there is no /dev/liveupdate: only files are kept, no descriptors");
	else
		handover_result("luo", OK, "/dev/liveupdate is there");
}

static void check_node(const struct node *node)
{
	char *name = xasprintf("node%d", node->nid), *detail, *used;

	used = format_size(node_bytes(node, known_difference(node->total_blocks,
							     node->free_blocks)));
	if (!strcmp(node->state, "failed")) {
		detail = xasprintf("it is handed over as it is, unused: %s", node->error);
		handover_result(name, WARN, detail);
	} else if (!is_known(node->poisoned_blocks) || !*node->state) {
		detail = xstrdup("its state or poisoned_blocks cannot be read");
		handover_result(name, UNKNOWN, detail);
	} else if (node->poisoned_blocks) {
		detail = xasprintf("%s in use, %ju blocks with hardware errors stay out of use",
				   used, (uintmax_t)node->poisoned_blocks);
		handover_result(name, WARN, detail);
	} else if (!strcmp(node->state, "frozen")) {
		detail = xasprintf("%s in use; frozen, also after the kexec", used);
		handover_result(name, WARN, detail);
	} else {
		detail = xasprintf("%s in use, %s", used, node->state);
		handover_result(name, OK, detail);
	}
	free(detail);
	free(used);
	free(name);
}

static void check_metadata(const struct node *node)
{
	char *name = xasprintf("metadata%d", node->nid);
	char *found = strcmp(node->state, "failed") ?
		      read_text("/sys/fs/guestmemfs/node%d/check", node->nid) : xstrdup("");

	if (!found)
		handover_result(name, UNKNOWN, "only root may check it");
	else if (!strcmp(found, "ok"))
		handover_result(name, OK, "the next kernel accepts it");
	else if (*found)
		handover_result(name, FAIL, found);
	free(found);
	free(name);
}

static void check_all(const struct arguments *args)
{
	char *cmdline = read_text("/proc/cmdline");
	struct nodes *nodes = nodes_read();
	char *config;
	size_t i;

	ready = true;
	table = table_new("handover", columns, 3, &args->table);
	check_kho(cmdline ? cmdline : "");
	check_luo();
	config = handover_check_kernel(&args->handover, nodes, cmdline ? cmdline : "");
	handover_check_users(nodes, config,
			     args->handover.append ? args->handover.append : cmdline ? cmdline : "");
	free(config);
	for (i = 0; i < nodes->nr; i++) {
		check_node(&nodes->node[i]);
		check_metadata(&nodes->node[i]);
	}
	table_print(table);
	fflush(stdout);
	nodes_free(nodes);
	free(cmdline);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *all = state->input;
	struct handover_arguments *args = &all->handover;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &all->table;
		return 0;
	case 'K':
		args->kernel = arg;
		return 0;
	case 'e':
		args->exec = arg;
		return 0;
	case 'i':
		args->initrd = arg;
		return 0;
	case 'a':
		args->append = arg;
		return 0;
	case 'c':
		args->config = arg;
		return 0;
	case 'd':
		args->dry_run = true;
		return 0;
	case 'f':
		args->force = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is not expected: handover has options only", arg);
		return 0;
	case ARGP_KEY_END:
		if (!args->exec && (args->initrd || args->dry_run || args->force))
			argp_error(state, "--initrd, --dry-run and --force are for --exec");
		if (args->exec && args->kernel)
			argp_error(state, "--kernel and --exec exclude each other");
		if (!args->exec && !args->kernel && (args->append || args->config))
			argp_error(state, "--command-line and --config are for --kernel or --exec");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_handover(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "kernel", 'K', "FILE", 0, "the kernel that is going to be started", 0 },
		{ "exec", 'e', "FILE", 0, "if all is ready, load this kernel and start it", 0 },
		{ "initrd", 'i', "FILE", 0, "--exec: its initrd", 0 },
		{ "command-line", 'a', "TEXT", 0, "its command line, if not this kernel's", 0 },
		{ "config", 'c', "FILE", 0, "its configuration, if not in /boot", 0 },
		{ "dry-run", 'd', NULL, 0, "--exec: only show what would be run", 0 },
		{ "force", 'f', NULL, 0, "--exec: also if something will be lost", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, NULL,
		"Say whether the machine is ready to kexec with the memory of its guests. Exit status"
		" 1 if it is not ready: something would be lost, or is not known.",
		children, columns_help, NULL };
	struct arguments all = { };
	const struct handover_arguments *args = &all.handover;
	int first;

	columns_of_help(columns, 3);
	parse_args(&argp, argc, argv, &first, &all);
	all.handover.json = all.table.json;
	if (args->exec && !args->dry_run)
		refuse_sysroot("handover --exec");
	check_all(&all);
	if (args->exec && !ready && args->force)
		warning("not ready, but --force is given");
	if (args->exec && (ready || args->force))
		return handover_exec(args);
	return ready || args->force ? EX_OK : EX_DIFFERS;
}
