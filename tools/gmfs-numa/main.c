// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa: shows and manages guest memory of NUMA nodes (guestmemfs).
 */

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "status", cmd_status, "nodes, their pools and how full they are (default)" },
	{ "map", cmd_map, "which blocks of a node are in use, as a picture" },
	{ "ls", cmd_ls, "list files, their memory and the processes that map them" },
	{ "files", cmd_ls, NULL },
	{ "plan", cmd_plan, "compute boot parameters" },
	{ "mount", cmd_mount, "mount nodes" },
	{ "umount", cmd_umount, "unmount nodes" },
	{ "run", cmd_run, "run a command on a node, with memory of that node" },
	{ "verify", cmd_verify, "prove that files and processes are on one node" },
	{ "tag", cmd_tag, "show or set the owner of a file" },
	{ "reap", cmd_reap, "list or remove files whose owner is gone" },
	{ "carve", cmd_carve, "move memory of a file to a new file" },
	{ "uncarve", cmd_uncarve, "move it back" },
	{ "compact", cmd_compact, "make whole gibibytes of free memory" },
	{ "store", cmd_store, "store a state from stdin that survives kexec" },
	{ "load", cmd_store, "write a stored state to stdout" },
	{ "get", cmd_get, "show the sysfs files of nodes" },
	{ "set", cmd_set, "change settings of a node" },
	{ "freeze", cmd_freeze, "block changes on nodes" },
	{ "thaw", cmd_thaw, "end a freeze of nodes" },
	{ "discard", cmd_discard, "discard the contents of a node" },
	{ "check", cmd_check, "check all metadata of nodes" },
	{ "resize", cmd_resize, "grow or shrink the pool of a node" },
	{ "handover", cmd_handover, "check whether the machine is ready to kexec; start it" },
	{ "metrics", cmd_metrics, "OpenMetrics text for monitoring" },
};

#define NR_COMMANDS ARRAY_SIZE(commands)

static void help(void)
{
	size_t i;

	printf("Usage: gmfs-numa [--sysroot DIR] [COMMAND [OPTION...] [ARGUMENT...]]\n"
	       "Show and manage the guest memory of NUMA nodes (guestmemfs).\n\n"
	       "Commands:\n");
	for (i = 0; i < NR_COMMANDS; i++)
		if (commands[i].help)
			printf("  %-10s %s\n", commands[i].name, commands[i].help);
	printf("  %-10s %s\n", "help", "this text, or that of a command");
	printf("\nOptions:\n"
	       "  --sysroot DIR  read /sys, /proc and /etc below DIR\n"
	       "  -h, --help     this text; gmfs-numa COMMAND --help for a command\n"
	       "  -V, --version  version\n\n"
	       "gmfs-numa(8) describes all of it.\n");
}

static bool is_help(const char *arg)
{
	return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}

static bool is_version(const char *arg)
{
	return !strcmp(arg, "--version") || !strcmp(arg, "-V");
}

static int show_version(void)
{
	puts("gmfs-numa " GMFS_NUMA_VERSION);
	return EX_OK;
}

static int run(const struct command *command, int argc, char **argv)
{
	static char help_option[] = "--help";

	if (argc > 1 && is_version(argv[1]))
		return show_version();
	if (argc > 1 && is_help(argv[1]))
		argv[1] = help_option;
	/* Prefix of argp's messages. */
	argv[0] = xasprintf("gmfs-numa %s", command->name);
	return command->run(argc, argv);
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	fatal(EX_USAGE, "there is no command '%s'; gmfs-numa --help lists them", name);
}

static int run_help(int argc, char **argv)
{
	static char help_option[] = "--help";
	char *args[] = { NULL, help_option, NULL };

	if (argc > 1)
		return run(find_command(argv[1]), 2, args);
	help();
	return EX_OK;
}

int main(int argc, char **argv)
{
	static char *status[] = { NULL, NULL };

	occupy_standard_streams();
	setlocale(LC_CTYPE, "");
	atexit(close_stdout);
	while (argc > 1 && argv[1][0] == '-') {
		if (is_help(argv[1]))
			return run_help(1, argv);
		if (is_version(argv[1]))
			return show_version();
		if (!strcmp(argv[1], "--sysroot")) {
			if (argc < 3)
				fatal(EX_USAGE, "--sysroot needs a directory");
			set_sysroot(argv[2]);
			argc -= 2;
			argv += 2;
			continue;
		}
		if (!strncmp(argv[1], "--sysroot=", 10)) {
			set_sysroot(argv[1] + 10);
			argc--;
			argv++;
			continue;
		}
		/* Options of status, which goes without saying. */
		return run(&commands[0], argc, argv);
	}
	if (argc < 2)
		return run(&commands[0], 1, status);
	if (!strcmp(argv[1], "help"))
		return run_help(argc - 1, argv + 1);
	return run(find_command(argv[1]), argc - 1, argv + 1);
}
