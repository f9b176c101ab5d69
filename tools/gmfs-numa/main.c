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
	{ "ls", cmd_ls, "files, where they lie and who has them mapped" },
	{ "files", cmd_ls, NULL },
	{ "plan", cmd_plan, "boot parameters for a wish" },
	{ "mount", cmd_mount, "mount nodes" },
	{ "umount", cmd_umount, "unmount nodes" },
	{ "run", cmd_run, "run a command on a node, with memory of that node" },
	{ "verify", cmd_verify, "prove that files and processes are on one node" },
	{ "tag", cmd_tag, "say whose a file is" },
	{ "reap", cmd_reap, "find and remove files that nobody owns" },
	{ "store", cmd_store, "keep what comes from standard input over kexec" },
	{ "load", cmd_load, "give it back" },
	{ "get", cmd_get, "show what sysfs says of nodes" },
	{ "set", cmd_set, "change settings of a node" },
	{ "freeze", cmd_freeze, "let nothing change on nodes" },
	{ "thaw", cmd_thaw, "let it change again" },
	{ "discard", cmd_discard, "throw the contents of a node away" },
	{ "check", cmd_check, "check all metadata of nodes" },
	{ "handover", cmd_handover, "is the machine ready to kexec; do it" },
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
	printf("\nOptions:\n"
	       "  --sysroot DIR  read /sys, /proc and /etc below DIR\n"
	       "  --help         this text; gmfs-numa COMMAND --help for a command\n"
	       "  --version      version\n\n"
	       "gmfs-numa(8) describes all of it.\n");
}

/* What could not be written is an error, also on a disk that is full. */
static void close_stdout(void)
{
	/* Of what was flushed before nothing but this is known. */
	bool failed = ferror(stdout);

	errno = 0;
	if ((fclose(stdout) || failed) && errno != EPIPE) {
		fprintf(stderr, "gmfs-numa: cannot write: %s\n",
			errno ? strerror(errno) : "an earlier write failed");
		_exit(EX_FAILED);
	}
}

static int run(const struct command *command, int argc, char **argv)
{
	/* What messages of argp start with. */
	argv[0] = xasprintf("gmfs-numa %s", command->name);
	return command->run(argc, argv);
}

int main(int argc, char **argv)
{
	static char *status[] = { NULL, NULL };
	size_t i;

	setlocale(LC_CTYPE, "");
	atexit(close_stdout);
	while (argc > 1 && argv[1][0] == '-') {
		if (!strcmp(argv[1], "--help")) {
			help();
			return EX_OK;
		}
		if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
			puts("gmfs-numa " GMFS_NUMA_VERSION);
			return EX_OK;
		}
		if (!strcmp(argv[1], "--sysroot")) {
			if (argc < 3)
				fatal(EX_USAGE, "--sysroot needs a directory");
			sysroot = argv[2];
			argc -= 2;
			argv += 2;
			continue;
		}
		/* Options of status, which goes without saying. */
		return run(&commands[0], argc, argv);
	}
	if (argc < 2)
		return run(&commands[0], 1, status);
	for (i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return run(&commands[i], argc - 1, argv + 1);
	fatal(EX_USAGE, "there is no command '%s'; gmfs-numa --help lists them", argv[1]);
}
