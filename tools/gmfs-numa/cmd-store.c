// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa store and load: gmfs-state does it, see state.c.
 */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* In the directory of this program, as built; or where "make install" puts it. */
static void execute_from(const char *dir, const char *place, char **argv)
{
	char *path = xasprintf("%s/%s", dir, place);

	execv(path, argv);
	if (errno != ENOENT)
		fatal(EX_FAILED, "%s: %s", path, strerror(errno));
	free(path);
}

int cmd_store(int argc, char **argv)
{
	static char name[] = "gmfs-numa";
	char **args = xcalloc(argc + 2, sizeof(*args)), *command = strrchr(argv[0], ' ') + 1;
	char dir[PATH_MAX];
	ssize_t len;
	int i;

	refuse_sysroot(command);
	args[0] = name;
	args[1] = command;
	for (i = 1; i < argc; i++)
		args[i + 1] = argv[i];
	len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	if (len < 0)
		fatal(EX_FAILED, "/proc/self/exe: %s", strerror(errno));
	dir[len] = '\0';
	*strrchr(dir, '/') = '\0';
	execute_from(dir, "gmfs-state", args);
	execute_from(dir, "../bin/gmfs-state", args);
	fatal(EX_FAILED, "gmfs-state is neither in %s nor in %s/../bin: it is a part of this program",
	      dir, dir);
}
