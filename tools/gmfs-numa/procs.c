// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that have files of guestmemfs mapped or open, from /proc.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gmfs-numa.h"

static bool maps_file(pid_t pid, const struct stat *st)
{
	char *text = read_text("/proc/%d/maps", pid);
	char *line, *rest = text;
	unsigned int major_nr, minor_nr;
	bool found = false;
	uint64_t ino;

	while (!found && (line = strsep(&rest, "\n")))
		found = sscanf(line, "%*s %*s %*s %x:%x %ju", &major_nr, &minor_nr, &ino) == 3 &&
			ino == st->st_ino && makedev(major_nr, minor_nr) == st->st_dev;
	free(text);
	return found;
}

static bool has_open(pid_t pid, const struct stat *st)
{
	char *path = xasprintf("%s/proc/%d/fd", sysroot, pid);
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool found = false;
	struct stat other;

	free(path);
	while (dir && !found && (entry = readdir(dir)))
		found = isdigit(*entry->d_name) &&
			!fstatat(dirfd(dir), entry->d_name, &other, 0) &&
			other.st_ino == st->st_ino && other.st_dev == st->st_dev;
	if (dir)
		closedir(dir);
	return found;
}

size_t users_of(const struct stat *st, bool open_too, struct user **users)
{
	char *path = xasprintf("%s/proc", sysroot);
	DIR *dir = opendir(path);
	struct dirent *entry;
	uint64_t pid;
	size_t nr = 0;

	*users = NULL;
	free(path);
	while (dir && (entry = readdir(dir))) {
		if (!parse_number(entry->d_name, &pid) || (pid_t)pid == getpid())
			continue;
		if (!maps_file(pid, st) && !(open_too && has_open(pid, st)))
			continue;
		*users = xrealloc(*users, (nr + 1) * sizeof(**users));
		(*users)[nr].pid = pid;
		(*users)[nr].command = read_text("/proc/%d/comm", (int)pid);
		if (!(*users)[nr].command)
			(*users)[nr].command = xstrdup("?");
		nr++;
	}
	if (dir)
		closedir(dir);
	return nr;
}

void users_free(struct user *users, size_t nr)
{
	while (nr--)
		free(users[nr].command);
	free(users);
}

bool sees_all_processes(void)
{
	return !geteuid();
}
