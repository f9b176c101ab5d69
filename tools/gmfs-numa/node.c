// SPDX-License-Identifier: GPL-2.0
/*
 * Nodes with a pool, as sysfs shows them. Everything is found below --sysroot, so
 * that a tree that was copied from another machine can be looked at.
 */

#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"

static uint64_t node_number(int nid, const char *name)
{
	char *text = read_text(SYSFS "/node%d/%s", nid, name);
	uint64_t number;

	if (!text || !parse_number(text, &number))
		number = NUMBER_UNKNOWN;
	free(text);
	return number;
}

uint64_t known_difference(uint64_t total, uint64_t part)
{
	if (!is_known(total) || !is_known(part))
		return NUMBER_UNKNOWN;
	return total > part ? total - part : 0;
}

uint64_t node_bytes(const struct node *node, uint64_t blocks)
{
	if (!is_known(blocks) || !is_known(node->block_size))
		return NUMBER_UNKNOWN;
	return blocks * node->block_size;
}

uint64_t node_used_inodes(int nid)
{
	uint64_t total, available;

	/* The table grows: both have to be of one size of it. */
	do {
		total = node_number(nid, "total_inodes");
		available = node_number(nid, "free_inodes");
	} while (total != node_number(nid, "total_inodes"));
	return known_difference(total, available);
}

uint64_t node_preserved_files(int nid)
{
	return node_number(nid, "preserved_files");
}

static char *node_text(int nid, const char *name)
{
	char *text = read_text(SYSFS "/node%d/%s", nid, name);

	return text ? text : xstrdup("");
}

int node_write(int nid, const char *name, const char *value)
{
	char *path = xasprintf(SYSFS "/node%d/%s", nid, name);
	int fd = root_open_regular(path, O_WRONLY);
	int err = 0;

	free(path);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

uint64_t node_meminfo(int nid, const char *field)
{
	char *text = read_text("/sys/devices/system/node/node%d/meminfo", nid);
	char *at = text ? strstr(text, field) : NULL;
	bool known;
	uint64_t kib;

	known = at && sscanf(at + strlen(field), "%ju", &kib) == 1;
	free(text);
	return known ? kib << 10 : NUMBER_UNKNOWN;
}

static void read_node(struct node *node, int nid)
{
	node->nid = nid;
	node->cpus = read_text("/sys/devices/system/node/node%d/cpulist", nid);
	if (!node->cpus)
		node->cpus = xstrdup("");
	node->distances = read_text("/sys/devices/system/node/node%d/distance", nid);
	if (!node->distances)
		node->distances = xstrdup("");
	node->kernel_total = node_meminfo(nid, "MemTotal:");
	node->kernel_free = node_meminfo(nid, "MemFree:");
	node->size = node_number(nid, "size");
	node->block_size = node_number(nid, "block_size");
	node->total_blocks = node_number(nid, "total_blocks");
	node->free_blocks = node_number(nid, "free_blocks");
	node->scrubbed_blocks = node_number(nid, "scrubbed_blocks");
	node->dirty_blocks = node_number(nid, "dirty_blocks");
	node->poisoned_blocks = node_number(nid, "poisoned_blocks");
	node->reserved_blocks = node_number(nid, "reserved_blocks");
	node->pinned_blocks = node_number(nid, "pinned_blocks");
	node->attached_files = node_number(nid, "attached_files");
	node->private_files = node_number(nid, "private_files");
	node->largest_free_run = node_number(nid, "largest_free_run");
	node->free_1g = node_number(nid, "free_1g");
	node->growth_reserve = node_number(nid, "growth_reserve");
	node->total_inodes = node_number(nid, "total_inodes");
	node->free_inodes = node_number(nid, "free_inodes");
	node->max_inodes = node_number(nid, "max_inodes");
	node->metadata_bytes = node_number(nid, "metadata_bytes");
	node->generation = node_number(nid, "generation");
	node->mounts = node_number(nid, "mounts");
	node->alloc_failures = node_number(nid, "alloc_failures");
	node->moved_blocks = node_number(nid, "moved_blocks");
	node->faults_pte = node_number(nid, "faults_pte");
	node->faults_pmd = node_number(nid, "faults_pmd");
	node->faults_pud = node_number(nid, "faults_pud");
	node->state = node_text(nid, "state");
	node->error = node_text(nid, "error");
	node->format = node_text(nid, "format");
	node->handed_over_from = node_text(nid, "handed_over_from");
	node->uuid = node_text(nid, "uuid");
}

static int compare_nodes(const void *a, const void *b)
{
	return ((const struct node *)a)->nid - ((const struct node *)b)->nid;
}

struct nodes *nodes_read_any(void)
{
	struct nodes *nodes = xcalloc(1, sizeof(*nodes));
	DIR *dir = root_opendir(SYSFS);
	struct dirent *entry;
	uint64_t nid;

	/* Not to be seen is not the same as not to be there. */
	if (!dir && errno != ENOENT)
		fatal(EX_FAILED, SYSFS ": %s", strerror(errno));
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "node", 4) || !parse_number(entry->d_name + 4, &nid) ||
		    nid >= MAX_NODES)
			continue;
		nodes->node = xrealloc(nodes->node, (nodes->nr + 1) * sizeof(*nodes->node));
		read_node(&nodes->node[nodes->nr++], nid);
	}
	if (dir)
		closedir(dir);
	if (nodes->nr)
		qsort(nodes->node, nodes->nr, sizeof(*nodes->node), compare_nodes);
	return nodes;
}

void no_pool(void)
{
	char *line = read_text("/proc/cmdline");
	char *asked = kcmdline_pools(line ? line : "");

	if (access(SYSFS, F_OK) && !*sysroot)
		warning("this kernel has no guestmemfs: there is no " SYSFS);
	else if (asked)
		warning("no node has a pool, although the kernel's command line has guestmemfs=%s: the kernel's log has the reason, and 'gmfs-numa plan' shows possible sizes",
			asked);
	else
		warning("no node has a pool: boot with the guestmemfs= that 'gmfs-numa plan' prints");
	free(asked);
	free(line);
}

struct nodes *nodes_read(void)
{
	struct nodes *nodes = nodes_read_any();

	if (!nodes->nr) {
		nodes_free(nodes);
		no_pool();
		exit(EX_NO_POOL);
	}
	return nodes;
}

static void node_free(struct node *node)
{
	free(node->cpus);
	free(node->distances);
	free(node->state);
	free(node->error);
	free(node->format);
	free(node->handed_over_from);
	free(node->uuid);
}

void nodes_free(struct nodes *nodes)
{
	size_t i;

	for (i = 0; i < nodes->nr; i++)
		node_free(&nodes->node[i]);
	free(nodes->node);
	free(nodes);
}

const struct node *nodes_find(const struct nodes *nodes, int nid)
{
	size_t i;

	for (i = 0; i < nodes->nr; i++)
		if (nodes->node[i].nid == nid)
			return &nodes->node[i];
	return NULL;
}

const struct node *nodes_need(const struct nodes *nodes, int nid)
{
	const struct node *node = nodes_find(nodes, nid);
	char *known = NULL, *name;
	size_t i;

	if (node)
		return node;
	for (i = 0; i < nodes->nr; i++) {
		name = xasprintf("%d", nodes->node[i].nid);
		known = join(known, ", ", name);
		free(name);
	}
	fatal(EX_NO_POOL, "node %d has no pool; nodes with a pool: %s", nid, known);
}

/* One of "3", "node3", "1-3"; how long it is, or 0. */
static size_t parse_range(const char *text, unsigned int *first, unsigned int *last)
{
	const bool named = !strncmp(text, "node", 4);
	const char *at = named ? text + 4 : text;

	if (!next_number(&at, first))
		return 0;
	*last = *first;
	if (!named && *at == '-') {
		at++;
		if (!next_number(&at, last) || *last < *first)
			return 0;
	}
	return at - text;
}

size_t parse_nodes(const char *text, int **nids)
{
	unsigned int first, last;
	const char *at = text;
	size_t nr = 0, len;

	*nids = NULL;
	do {
		len = parse_range(at, &first, &last);
		if (!len || (at[len] && at[len] != ',') || last > 1023)
			fatal(EX_USAGE, "'%s' is no list of nodes, such as 0, node1, 0-3 or 0,2",
			      text);
		*nids = xrealloc(*nids, (nr + last - first + 1) * sizeof(**nids));
		for (; first <= last; first++)
			(*nids)[nr++] = first;
		at += len;
	} while (*at++);
	return nr;
}

struct nodes *nodes_select(int argc, char **argv)
{
	struct nodes *nodes = nodes_read();
	bool *keep;
	size_t i, j, nr, kept = 0;
	int *nids, arg;

	if (!argc)
		return nodes;
	keep = xcalloc(nodes->nr, sizeof(*keep));
	for (arg = 0; arg < argc; arg++) {
		nr = parse_nodes(argv[arg], &nids);
		for (j = 0; j < nr; j++)
			keep[nodes_need(nodes, nids[j]) - nodes->node] = true;
		free(nids);
	}
	for (i = 0; i < nodes->nr; i++) {
		if (keep[i])
			nodes->node[kept++] = nodes->node[i];
		else
			node_free(&nodes->node[i]);
	}
	nodes->nr = kept;
	free(keep);
	return nodes;
}

bool ranges_cover(const struct range *ranges, size_t nr, uint64_t base, uint64_t size)
{
	size_t i = 0;
	uint64_t part;

	while (size && i < nr) {
		if (base < ranges[i].base || base - ranges[i].base >= ranges[i].size) {
			i++;
			continue;
		}
		part = ranges[i].size - (base - ranges[i].base);
		if (part > size)
			part = size;
		base += part;
		size -= part;
		/* What touches it can be anywhere in the list. */
		i = 0;
	}
	return !size;
}

ssize_t node_extents(int nid, struct range **ranges)
{
	char *text = read_text(SYSFS "/node%d/extents", nid);
	char *line, *rest = text;
	ssize_t nr = 0;

	*ranges = NULL;
	if (!text)
		return -errno;
	while ((line = strsep(&rest, "\n"))) {
		*ranges = xrealloc(*ranges, (nr + 1) * sizeof(**ranges));
		if (sscanf(line, "%jx %jx", &(*ranges)[nr].base, &(*ranges)[nr].size) == 2)
			nr++;
	}
	free(text);
	/* The file is empty for callers without CAP_SYS_ADMIN. */
	return nr ? nr : -EPERM;
}

int fs_node(struct libmnt_fs *fs)
{
	char *value;
	size_t len;

	if (mnt_fs_get_option(fs, "node", &value, &len) &&
	    mnt_optstr_get_option(mnt_fs_get_fs_options(fs), "node", &value, &len))
		return -1;
	return atoi(value);
}

struct libmnt_table *mounts_read(void)
{
	static const char path[] = "/proc/self/mountinfo";
	FILE *file = root_fopen("%s", path);
	struct libmnt_table *table = file ? mnt_new_table() : NULL;

	if (!table || mnt_table_parse_stream(table, file, path))
		fatal(EX_FAILED, "%s%s cannot be read: %s", sysroot, path, strerror(errno));
	fclose(file);
	return table;
}

struct libmnt_fs *mounts_next(struct libmnt_table *table, struct libmnt_iter *iter)
{
	struct libmnt_fs *fs;

	while (!mnt_table_next_fs(table, iter, &fs))
		if (mnt_fs_match_fstype(fs, "guestmemfs"))
			return fs;
	return NULL;
}
