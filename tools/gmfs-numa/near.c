// SPDX-License-Identifier: GPL-2.0
/*
 * What is near what: devices and CPUs to nodes, and nodes to each other, by sysfs.
 */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gmfs-numa.h"

#define NODES		"/sys/devices/system/node"

/* No stack of devices is deeper. */
#define MAX_DEPTH	8

/* What is known of a device. Devices below it may be near several nodes. */
struct nearness {
	int nid;		/* -1: none yet */
	int other;		/* a second one, or -1 */
};

static void add_node(struct nearness *near, int nid)
{
	if (near->nid < 0)
		near->nid = nid;
	else if (near->nid != nid)
		near->other = nid;
}

/* The nearest device above @dir, or @dir itself, that has a node; -1 if none has. */
static int node_above(const char *dir)
{
	char *path = xstrdup(dir), *text;
	int nid = -1;

	while (nid < 0 && !strncmp(path, "/sys/", strlen("/sys/"))) {
		text = read_text("%s/numa_node", path);
		if (text)
			nid = atoi(text);
		free(text);
		*strrchr(path, '/') = '\0';
	}
	free(path);
	return nid;
}

static void add_device(struct nearness *near, const char *dir, int depth);

/* Those of which a device consists: of a bond, bridge, VLAN, RAID, device mapper. */
static void add_lower(struct nearness *near, const char *dir, const char *below,
		      const char *prefix, int depth)
{
	char *path = xasprintf("%s/%s", dir, below), *one;
	DIR *entries = root_opendir("%s", path);
	struct dirent *entry;

	while (entries && (entry = readdir(entries))) {
		if (*entry->d_name == '.' || strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		one = xasprintf("%s/%s", path, entry->d_name);
		add_device(near, one, depth + 1);
		free(one);
	}
	if (entries)
		closedir(entries);
	free(path);
}

/* @dir is a link to the device, or the device. */
static void add_device(struct nearness *near, const char *dir, int depth)
{
	char *real = root_realpath(dir), *device;
	int nid = real ? node_above(real) : -1;

	if (real && nid < 0) {
		device = xasprintf("%s/device", real);
		free(real);
		real = root_realpath(device);
		free(device);
		nid = real ? node_above(real) : -1;
	}
	free(real);
	if (nid >= 0)
		add_node(near, nid);
	if (nid >= 0 || depth == MAX_DEPTH)
		return;
	add_lower(near, dir, ".", "lower_", depth);
	add_lower(near, dir, "brif", "", depth);
	add_lower(near, dir, "slaves", "", depth);
	add_lower(near, dir, "multipath", "", depth);
}

/* The directory in sysfs of a device file; NULL if it is none. */
static char *directory_of_file(const char *path)
{
	int fd = root_open(path, O_PATH);
	char *dir = NULL;
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)))
		dir = xasprintf("/sys/dev/%s/%u:%u", S_ISBLK(st.st_mode) ? "block" : "char",
				major(st.st_rdev), minor(st.st_rdev));
	if (fd >= 0)
		close(fd);
	return dir;
}

/* The directory in sysfs of a device of the device mapper, by its own name; NULL if none has it. */
static char *directory_of_mapped(const char *what)
{
	DIR *entries = root_opendir("/sys/class/block");
	struct dirent *entry;
	char *dir = NULL, *name;

	while (!dir && entries && (entry = readdir(entries))) {
		if (strncmp(entry->d_name, "dm-", 3))
			continue;
		name = read_text("/sys/class/block/%s/dm/name", entry->d_name);
		if (name && !strcmp(name, what))
			dir = xasprintf("/sys/class/block/%s", entry->d_name);
		free(name);
	}
	if (entries)
		closedir(entries);
	return dir;
}

/*
 * The directory in sysfs of what lspci, ip and lsblk print, or of a file in /dev. With --sysroot
 * there may be no such file: its name is that of a device, or behind mapper/ that of a mapped one.
 */
static char *directory_of_name(const char *what)
{
	static const char * const places[] = {
		"/sys/bus/pci/devices/%s", "/sys/bus/pci/devices/0000:%s",
		"/sys/class/net/%s", "/sys/class/block/%s", "/sys/class/nvme/%s",
		"/sys/class/infiniband/%s", "/sys/class/drm/%s",
	};
	char *dir = *what == '/' ? directory_of_file(what) : NULL;
	size_t i;

	if (!dir && !strncmp(what, "/dev/mapper/", 12))
		what += 12;
	else if (!dir && !strncmp(what, "/dev/", 5))
		what += 5;
	for (i = 0; !dir && i < ARRAY_SIZE(places); i++) {
		if (!*what || *what == '.' || strchr(what, '/'))
			return NULL;
		dir = NULL;
		if (asprintf(&dir, places[i], what) < 0)
			fatal(EX_FAILED, "out of memory");
		if (!root_exists("%s", dir)) {
			free(dir);
			dir = NULL;
		}
	}
	return dir ? dir : directory_of_mapped(what);
}

/* ip prints NAME@LINK, lsblk the name of the device mapper, which can have an @ in it. */
static char *device_directory(const char *what)
{
	char *dir = directory_of_name(what), *name;

	if (dir || !strchr(what, '@'))
		return dir;
	name = xasprintf("%.*s", (int)strcspn(what, "@"), what);
	dir = directory_of_name(name);
	free(name);
	return dir;
}

/* A list of CPUs as the kernel and people write it: "2", "0-3,8". */
static bool is_cpu_list(const char *what)
{
	unsigned int first, last;
	const char *at = what;

	if (!*what || strspn(what, "0123456789-,") != strlen(what))
		return false;
	/* next_range() takes a comma at the end, and what sscanf() does. */
	if (strstr(what, ",,") || *what == ',' || strchr(",-", what[strlen(what) - 1]))
		return false;
	while (*at)
		if (!next_range(&at, &first, &last))
			return false;
	return true;
}

static int node_of_cpu(unsigned int cpu)
{
	char *online = read_text(NODES "/online"), *cpus;
	unsigned int first, last, of, to;
	const char *nodes = online ? online : "", *list;
	int nid = -1;

	while (nid < 0 && next_range(&nodes, &first, &last)) {
		for (; nid < 0 && first <= last; first++) {
			cpus = read_text(NODES "/node%u/cpulist", first);
			list = cpus ? cpus : "";
			while (next_range(&list, &of, &to))
				if (cpu >= of && cpu <= to)
					nid = first;
			free(cpus);
		}
	}
	free(online);
	return nid;
}

int node_near(const char *what)
{
	struct nearness near = { -1, -1 };
	unsigned int first, last;
	const char *list = what;
	char *dir;

	if (is_cpu_list(what)) {
		next_range(&list, &first, &last);
		near.nid = node_of_cpu(first);
		if (near.nid < 0)
			fatal(EX_USAGE, "--near %s: there is no such CPU", what);
		return near.nid;
	}
	dir = device_directory(what);
	if (!dir)
		fatal(EX_USAGE, "--near %s: it is neither a device nor a list of CPUs", what);
	add_device(&near, dir, 0);
	free(dir);
	if (near.nid < 0)
		fatal(EX_FAILED, "--near %s: its node is not known", what);
	if (near.other >= 0)
		fatal(EX_FAILED, "--near %s: it has devices near node %d and node %d: name one of them",
		      what, near.nid, near.other);
	return near.nid;
}

unsigned int node_distance(int from, int to)
{
	char *online = read_text(NODES "/online"), *end;
	char *distances = read_text(NODES "/node%d/distance", from);
	const char *nodes = online ? online : "", *row = distances ? distances : "";
	unsigned int first, last, distance, found = UINT_MAX;

	while (found == UINT_MAX && next_range(&nodes, &first, &last)) {
		for (; first <= last; first++, row = end) {
			distance = strtoul(row, &end, 10);
			if (end == row)
				break;
			if ((int)first == to)
				found = distance;
		}
	}
	free(distances);
	free(online);
	return found;
}

int node_with_cpus(int nid)
{
	char *online = read_text(NODES "/online"), *cpus;
	unsigned int first, last, distance, least = 0;
	const char *nodes = online ? online : "";
	int best = -1;

	while (next_range(&nodes, &first, &last)) {
		for (; first <= last; first++) {
			cpus = read_text(NODES "/node%u/cpulist", first);
			distance = (int)first == nid ? 0 : node_distance(nid, first);
			if (cpus && *cpus && (best < 0 || distance < least)) {
				best = first;
				least = distance;
			}
			free(cpus);
		}
	}
	free(online);
	return best;
}
