// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that have files of guestmemfs mapped or open, from /proc.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <libmount/libmount.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* What is behind the path of a file that has no name any more. */
#define DELETED	" (deleted)"

struct search {
	dev_t *devs;		/* of the nodes that are mounted */
	size_t nr_devs;
	struct use *uses;
	size_t nr;
};

static void find_devices(struct search *search)
{
	struct libmnt_table *table = mounts_read();
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;

	while ((fs = mounts_next(table, iter))) {
		search->devs = xrealloc(search->devs,
					(search->nr_devs + 1) * sizeof(*search->devs));
		search->devs[search->nr_devs++] = mnt_fs_get_devno(fs);
	}
	mnt_free_iter(iter);
	mnt_unref_table(table);
}

static bool is_ours(const struct search *search, dev_t dev)
{
	size_t i;

	for (i = 0; i < search->nr_devs; i++)
		if (search->devs[i] == dev)
			return true;
	return false;
}

static bool is_deleted(const char *path)
{
	size_t len = strlen(path), end = strlen(DELETED);

	return len >= end && !strcmp(path + len - end, DELETED);
}

/* A process that has a file in several ways, or mapped in parts, has it once. */
static void add_use(struct search *search, pid_t pid, dev_t dev, ino_t ino, bool deleted)
{
	struct use *use;
	size_t i;

	for (i = search->nr; i-- && search->uses[i].pid == pid;)
		if (search->uses[i].dev == dev && search->uses[i].ino == ino)
			return;
	search->uses = xrealloc(search->uses, (search->nr + 1) * sizeof(*search->uses));
	use = &search->uses[search->nr++];
	*use = (struct use){ .pid = pid, .dev = dev, .ino = ino, .deleted = deleted };
	use->command = read_text("/proc/%d/comm", pid);
	if (!use->command)
		use->command = xstrdup("?");
}

static void search_maps(struct search *search, pid_t pid)
{
	char *text = read_text("/proc/%d/maps", pid);
	char *line, *rest = text;
	unsigned int major_nr, minor_nr;
	uint64_t ino;

	while ((line = strsep(&rest, "\n")))
		if (sscanf(line, "%*s %*s %*s %x:%x %ju", &major_nr, &minor_nr, &ino) == 3 &&
		    ino && is_ours(search, makedev(major_nr, minor_nr)))
			add_use(search, pid, makedev(major_nr, minor_nr), ino, is_deleted(line));
	free(text);
}

static void search_open(struct search *search, pid_t pid)
{
	char *path = xasprintf("%s/proc/%d/fd", sysroot, pid);
	DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat st;

	free(path);
	while (dir && (entry = readdir(dir)))
		if (isdigit(*entry->d_name) && !fstatat(dirfd(dir), entry->d_name, &st, 0) &&
		    is_ours(search, st.st_dev) && S_ISREG(st.st_mode))
			add_use(search, pid, st.st_dev, st.st_ino, !st.st_nlink);
	if (dir)
		closedir(dir);
}

size_t uses_read(bool open_too, struct use **uses)
{
	char *path = xasprintf("%s/proc", sysroot);
	struct search search = { };
	struct dirent *entry;
	DIR *dir = NULL;
	uint64_t pid;

	find_devices(&search);
	if (search.nr_devs)
		dir = opendir(path);
	free(path);
	while (dir && (entry = readdir(dir))) {
		if (!parse_number(entry->d_name, &pid) || (pid_t)pid == getpid())
			continue;
		search_maps(&search, pid);
		if (open_too)
			search_open(&search, pid);
	}
	if (dir)
		closedir(dir);
	free(search.devs);
	*uses = search.uses;
	return search.nr;
}

void uses_free(struct use *uses, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		free(uses[i].command);
	free(uses);
}

bool use_is_of(const struct use *use, const struct stat *st)
{
	return use->dev == st->st_dev && use->ino == st->st_ino;
}

bool sees_all_processes(void)
{
	return !geteuid();
}

bool process_gone(pid_t pid, const char *boot)
{
	char *now = read_text("/proc/sys/kernel/random/boot_id");
	bool other = boot && now && strcmp(boot, now);

	free(now);
	return other || (kill(pid, 0) && errno == ESRCH);
}
