// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that have files of guestmemfs mapped or open, from /proc.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h */
#define INITIAL_PID_NAMESPACE	0xeffffffcU

/* What is behind the path of a file that has no name any more. */
#define DELETED	" (deleted)"

struct search {
	struct node_mount *mounts;
	size_t nr_mounts;
	struct use *uses;
	size_t nr;
	const struct stat *of;	/* of this file also the ranges that are mapped, or NULL */
	struct mapped *mapped;
	size_t nr_mapped;
	bool complete;		/* all processes that are there could be looked at */
};

/* Devices that are known otherwise than by a mount that is seen. */
static struct search known;

static void add_mount(struct search *search, int id, dev_t dev, int nid)
{
	size_t i;

	for (i = 0; i < search->nr_mounts; i++)
		if (search->mounts[i].id == id)
			return;
	search->mounts = xrealloc(search->mounts,
				  (search->nr_mounts + 1) * sizeof(*search->mounts));
	search->mounts[search->nr_mounts++] = (struct node_mount){ id, dev, nid };
}

void pool_device_add(dev_t dev, int nid)
{
	/* No mount has such a number. */
	add_mount(&known, -1 - nid, dev, nid);
}

static void take_mount(const struct node_mount *mount, void *data)
{
	add_mount(data, mount->id, mount->dev, mount->nid);
}

/* A process can be in a mount namespace that has a node which is not mounted here. */
static void find_mounts(struct search *search)
{
	DIR *dir = root_opendir("/proc");
	struct dirent *entry;

	mounts_each("self", take_mount, search);
	while (dir && (entry = readdir(dir)))
		if (isdigit(*entry->d_name))
			mounts_each(entry->d_name, take_mount, search);
	if (dir)
		closedir(dir);
}

static bool is_ours(const struct search *search, dev_t dev)
{
	size_t i;

	for (i = 0; i < search->nr_mounts; i++)
		if (search->mounts[i].dev == dev)
			return true;
	return false;
}

/* Once for all: reading them is work on a host with many processes. */
static const struct search *pool_mounts(void)
{
	static struct search search;
	static bool done;

	if (!done)
		find_mounts(&search);
	done = true;
	return &search;
}

int pool_device_node(dev_t dev)
{
	const struct search *search = pool_mounts();
	size_t i;

	for (i = 0; i < search->nr_mounts; i++)
		if (search->mounts[i].dev == dev)
			return search->mounts[i].nid;
	return -1;
}

static bool is_seen(int nid)
{
	const struct search *search = pool_mounts();
	size_t i;

	for (i = 0; i < search->nr_mounts; i++)
		if (search->mounts[i].nid == nid)
			return true;
	return false;
}

/* All mounts of a node have the same device: one that is seen is enough. */
bool pool_mounts_hidden(void)
{
	struct nodes *nodes = nodes_read_any();
	bool hidden = false;
	size_t i;

	for (i = 0; i < nodes->nr; i++)
		hidden |= nodes->node[i].mounts && !is_seen(nodes->node[i].nid);
	nodes_free(nodes);
	return hidden;
}

/*
 * Has the file of a mapping, a line of a task's maps, no name any more? The line's end says
 * so, but a file can be called like that, and one whose name is gone can have another.
 */
static bool is_deleted(const char *line, const char *task, uint64_t from, uint64_t to)
{
	size_t len = strlen(line), end = strlen(DELETED);
	struct stat st;
	bool deleted;
	char *path;
	int fd;

	if (len < end || strcmp(line + len - end, DELETED))
		return false;
	/* A thread has this directory below its own number alone. */
	path = xasprintf("/proc%s/map_files/%jx-%jx", strrchr(task, '/'), (uintmax_t)from,
			 (uintmax_t)to);
	fd = root_open(path, O_PATH);
	free(path);
	deleted = fd < 0 || fstat(fd, &st) || !st.st_nlink;
	if (fd >= 0)
		close(fd);
	return deleted;
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

static void add_mapped(struct search *search, pid_t pid, uint64_t offset, uint64_t size)
{
	search->mapped = xrealloc(search->mapped,
				  (search->nr_mapped + 1) * sizeof(*search->mapped));
	search->mapped[search->nr_mapped++] = (struct mapped){
		.pid = pid, .command = xstrdup(search->uses[search->nr - 1].command),
		.start = offset, .end = offset + size,
	};
}

/* A process that has ended has no files. The files of one that cannot be read are unknown. */
static void not_seen(struct search *search)
{
	if (errno != ENOENT && errno != ESRCH)
		search->complete = false;
}

/* A line at a time: a process can have very many. False if there is none. */
static bool search_maps(struct search *search, pid_t pid, const char *task)
{
	FILE *maps = root_fopen("%s/maps", task);
	char *line = NULL;
	unsigned int major_nr, minor_nr;
	size_t room = 0;
	bool any = false;
	uint64_t from, to, offset, ino;
	ssize_t len;
	dev_t dev;

	if (!maps) {
		not_seen(search);
		return false;
	}
	while (errno = 0, (len = getline(&line, &room, maps)) > 0) {
		any = true;
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (sscanf(line, "%jx-%jx %*s %jx %x:%x %ju", &from, &to, &offset, &major_nr,
			   &minor_nr, &ino) != 6)
			continue;
		dev = makedev(major_nr, minor_nr);
		if (!ino || !is_ours(search, dev))
			continue;
		add_use(search, pid, dev, ino, is_deleted(line, task, from, to));
		if (search->of && search->of->st_dev == dev && search->of->st_ino == ino)
			add_mapped(search, pid, offset, to - from);
	}
	if (ferror(maps))
		not_seen(search);
	free(line);
	fclose(maps);
	return any;
}

/*
 * The file of a descriptor. Links of procfs lead to the file itself; those of a tree that
 * was copied are paths of the other machine.
 */
static bool stat_descriptor(const char *task, int dir, const char *number, struct stat *st)
{
	struct statfs on;
	char *path;
	bool done;
	int fd;

	if (!*sysroot || (!fstatfs(dir, &on) && on.f_type == PROC_SUPER_MAGIC))
		return !fstatat(dir, number, st, 0);
	path = xasprintf("%s/fd/%s", task, number);
	fd = root_open(path, O_PATH);
	free(path);
	done = fd >= 0 && !fstat(fd, st);
	if (fd >= 0)
		close(fd);
	return done;
}

static void search_open(struct search *search, pid_t pid, const char *task)
{
	DIR *dir = root_opendir("%s/fd", task);
	struct dirent *entry;
	struct stat st;

	if (!dir) {
		not_seen(search);
		return;
	}
	while ((entry = readdir(dir)))
		if (isdigit(*entry->d_name) &&
		    stat_descriptor(task, dirfd(dir), entry->d_name, &st) &&
		    is_ours(search, st.st_dev) && S_ISREG(st.st_mode))
			add_use(search, pid, st.st_dev, st.st_ino, !st.st_nlink);
	closedir(dir);
}

/* Has a thread the same table of descriptors as the first one? */
static bool has_same_table(pid_t pid, pid_t tid)
{
	return tid == pid || (!*sysroot && !syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0));
}

/*
 * All threads have the same memory, but the first one shows none if it has ended. A
 * table of descriptors a thread can have for itself: unshare(2).
 */
static void search_process(struct search *search, pid_t pid, bool open_too)
{
	char *process = xasprintf("/proc/%d", pid), *task;
	bool any = search_maps(search, pid, process);
	struct dirent *entry;
	DIR *dir = NULL;
	uint64_t tid;

	if (open_too)
		search_open(search, pid, process);
	if (!any || open_too)
		dir = root_opendir("%s/task", process);
	while (dir && (entry = readdir(dir))) {
		if (!parse_number(entry->d_name, &tid))
			continue;
		task = xasprintf("%s/task/%s", process, entry->d_name);
		if (!any)
			any = search_maps(search, pid, task);
		if (open_too && !has_same_table(pid, tid))
			search_open(search, pid, task);
		free(task);
	}
	if (dir)
		closedir(dir);
	free(process);
}

/* Of other pid namespaces /proc has those alone that are below its own. */
static bool sees_all_processes(void)
{
	struct stat st;

	return !stat("/proc/self/ns/pid", &st) && st.st_ino == INITIAL_PID_NAMESPACE;
}

static void search_all(struct search *search, bool open_too)
{
	struct dirent *entry;
	DIR *dir = NULL;
	uint64_t pid;
	size_t i;

	/* /proc can be mounted so that it has no processes of others. */
	search->complete = !geteuid() && sees_all_processes();
	find_mounts(search);
	for (i = 0; i < known.nr_mounts; i++)
		add_mount(search, known.mounts[i].id, known.mounts[i].dev, known.mounts[i].nid);
	if (search->nr_mounts)
		dir = root_opendir("/proc");
	if (search->nr_mounts && !dir)
		search->complete = false;
	while (dir && (entry = readdir(dir)))
		if (parse_number(entry->d_name, &pid) && (*sysroot || (pid_t)pid != getpid()))
			search_process(search, pid, open_too);
	if (dir)
		closedir(dir);
	free(search->mounts);
}

size_t uses_read(bool open_too, struct use **uses, bool *complete)
{
	struct search search = { };

	search_all(&search, open_too);
	*uses = search.uses;
	*complete = search.complete;
	return search.nr;
}

size_t uses_mapped(const struct stat *st, struct mapped **mapped, size_t *nr_users, bool *complete)
{
	struct search search = { .of = st };
	size_t i;

	search_all(&search, true);
	*nr_users = 0;
	for (i = 0; i < search.nr; i++)
		*nr_users += use_is_of(&search.uses[i], st);
	uses_free(search.uses, search.nr);
	*mapped = search.mapped;
	*complete = search.complete;
	return search.nr_mapped;
}

void mapped_free(struct mapped *mapped, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		free(mapped[i].command);
	free(mapped);
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

bool process_gone(pid_t pid, const char *boot)
{
	char *now = read_text("/proc/sys/kernel/random/boot_id");
	bool other = boot && now && strcmp(boot, now);

	free(now);
	if (*sysroot)
		return other || !root_exists("/proc/%d", pid);
	return other || (kill(pid, 0) && errno == ESRCH);
}
