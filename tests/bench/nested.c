// SPDX-License-Identifier: GPL-2.0
/*
 * The time from the start of a VMM to the first byte, and to the end of the first line, on
 * the console of its virtual machine, which is the VMM's standard output.
 *
 * usage: nested PEER SIZE RUNS FILE COMMAND...
 *
 * A first run, which does not count, reads the VMM into the page cache. After each run,
 * FILE is deleted unless it is "-", and the pool of guestmemfs zeroes the freed memory.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "bench.h"

static void run(const char *file, char **argv, struct series *byte, struct series *line)
{
	uint64_t start = now(), first = 0;
	int fds[2], status;
	pid_t child;
	char c;

	if (pipe(fds))
		err(2, "pipe");
	child = fork();
	if (child < 0)
		err(2, "fork");
	if (!child) {
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	close(fds[1]);
	do {
		if (read(fds[0], &c, 1) != 1)
			errx(2, "%s ends before its console has a line", argv[0]);
		if (!first)
			first = now();
	} while (c != '\n');
	if (byte) {
		add(byte, first - start);
		add(line, now() - start);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	close(fds[0]);
	if (strcmp(file, "-") && unlink(file))
		err(2, "%s", file);
	wait_clean();
}

int main(int argc, char **argv)
{
	struct series byte = { "first byte", "time" }, line = { "first line", "time" };
	int runs;

	if (argc < 6)
		errx(2, "usage: nested PEER SIZE RUNS FILE COMMAND...");
	wait_clean();
	run(argv[4], argv + 5, NULL, NULL);
	for (runs = atoi(argv[3]); runs; runs--)
		run(argv[4], argv + 5, &byte, &line);
	print_series(argv[1], parse_size(argv[2]), &byte);
	print_series(argv[1], parse_size(argv[2]), &line);
	return 0;
}
