// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa verify: proof that files and processes are on one node.
 *
 * Where a node's memory is, the firmware says in its SRAT: that does not depend on
 * what guestmemfs believes.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"

struct affinity {
	uint32_t domain;
	struct range range;
};

/* What the firmware's table has. No affinities: it is missing, or not for us. */
struct srat {
	struct affinity *memory;
	size_t nr;
	uint32_t domains[1024];	/* by the number that Linux gives them */
	size_t nr_domains;
};

#define SRAT_CPU	0
#define SRAT_MEMORY	1
#define SRAT_X2APIC	2
#define SRAT_GENERIC	5

static uint32_t get32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const unsigned char *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void add_domain(struct srat *srat, uint32_t domain)
{
	size_t i;

	for (i = 0; i < srat->nr_domains; i++)
		if (srat->domains[i] == domain)
			return;
	if (srat->nr_domains < 1024)
		srat->domains[srat->nr_domains++] = domain;
}

/* A device that can start accesses: its domain is one even if it has no memory. */
static void read_initiator(struct srat *srat, const unsigned char *e)
{
	if (e[0] == SRAT_X2APIC && e[1] >= 24 && get32(e + 12) & 1)
		add_domain(srat, get32(e + 4));
	if (e[0] == SRAT_CPU && e[1] >= 16 && get32(e + 4) & 1)
		add_domain(srat, e[2] | e[9] << 8 | e[10] << 16 | (uint32_t)e[11] << 24);
	if (e[0] == SRAT_GENERIC && e[1] >= 32 && get32(e + 24) & 1)
		add_domain(srat, get32(e + 4));
}

static void read_memory(struct srat *srat, const unsigned char *e)
{
	struct affinity *more;

	if (e[0] != SRAT_MEMORY || e[1] < 40 || !(get32(e + 28) & 1))
		return;
	add_domain(srat, get32(e + 2));
	more = xrealloc(srat->memory, (srat->nr + 1) * sizeof(*more));
	more[srat->nr++] = (struct affinity){ get32(e + 2), { get64(e + 8), get64(e + 16) } };
	srat->memory = more;
}

/* Call @fn for each entry that is whole: behind a header, each with type and length. */
static void each_entry(struct srat *srat, const unsigned char *table, size_t size,
		       void (*fn)(struct srat *srat, const unsigned char *e))
{
	size_t at;

	for (at = 48; at + 2 <= size && table[at + 1] >= 2 && at + table[at + 1] <= size;
	     at += table[at + 1])
		fn(srat, table + at);
}

/*
 * Linux numbers domains in the order in which it sees them: those of CPUs and other
 * initiators first, then those of memory (acpi_numa_init()).
 */
static void read_srat(struct srat *srat)
{
	unsigned char *table;
	size_t size;

	memset(srat, 0, sizeof(*srat));
	table = read_binary(&size, "/sys/firmware/acpi/tables/SRAT");
	if (!table)
		return;
	each_entry(srat, table, size, read_initiator);
	each_entry(srat, table, size, read_memory);
	free(table);
}

static bool within(const struct range *outer, uint64_t base, uint64_t size)
{
	return base >= outer->base && size <= outer->size &&
	       base - outer->base <= outer->size - size;
}

static bool srat_has(const struct srat *srat, int nid, uint64_t base, uint64_t size)
{
	size_t i;

	if ((size_t)nid >= srat->nr_domains)
		return false;
	for (i = 0; i < srat->nr; i++)
		if (srat->memory[i].domain == srat->domains[nid] &&
		    within(&srat->memory[i].range, base, size))
			return true;
	return false;
}

static int verify_file(const struct srat *srat, const char *path)
{
	struct range *extents;
	struct piece *pieces;
	ssize_t nr, nr_extents, i, j;
	int nid, fd, status = EX_OK;
	uint64_t bytes = 0;
	bool in_pool;
	char *size;

	nid = path_node(path);
	fd = nid < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		warning("%s: %s", path, path_node_error());
		return EX_FAILED;
	}
	nr = file_pieces(fd, &pieces);
	close(fd);
	nr_extents = node_extents(nid, &extents);
	if (nr < 0 || nr_extents < 0 || (nr && !pieces[0].known)) {
		warning("%s: only root may know where its memory is", path);
		return EX_FAILED;
	}
	for (i = 0; i < nr; i++) {
		const struct piece *p = &pieces[i];

		bytes += p->size;
		for (j = 0, in_pool = false; j < nr_extents; j++)
			in_pool |= within(&extents[j], p->phys, p->size);
		if (in_pool && (!srat->nr || srat_has(srat, nid, p->phys, p->size)))
			continue;
		printf("%s: offset %#jx: %#jx bytes at %#jx are not on node %d%s\n", path,
		       (uintmax_t)p->offset, (uintmax_t)p->size, (uintmax_t)p->phys, nid,
		       in_pool ? " as the firmware has it" : ", nor in its pool");
		status = EX_DIFFERS;
	}
	size = format_size(bytes);
	if (!status)
		printf("%s: %s in %zd piece%s, all on node %d%s\n", path, size, nr,
		       nr == 1 ? "" : "s", nid,
		       srat->nr ? " as the firmware has it" : " (the firmware's table cannot be read)");
	free(size);
	free(pieces);
	free(extents);
	return status;
}

static char *status_field(pid_t pid, const char *name)
{
	char *text = read_text("/proc/%d/status", pid);
	char *at = text ? strstr(text, name) : NULL, *value = NULL;

	if (at)
		value = xasprintf("%.*s", (int)strcspn(at + strlen(name), "\n"), at + strlen(name));
	free(text);
	return value;
}

static bool list_has(const char *list, unsigned int number)
{
	unsigned int first, last;

	while (next_range(&list, &first, &last))
		if (number >= first && number <= last)
			return true;
	return false;
}

static bool list_within(const char *list, const char *outer)
{
	unsigned int first, last;

	while (next_range(&list, &first, &last))
		for (; first <= last; first++)
			if (!list_has(outer, first))
				return false;
	return true;
}

static int node_of_cpus(const char *cpus)
{
	char *of_node;
	bool within_node;
	int nid;

	for (nid = 0; nid < 1024; nid++) {
		of_node = read_text("/sys/devices/system/node/node%d/cpulist", nid);
		within_node = of_node && *of_node && list_within(cpus, of_node);
		free(of_node);
		if (within_node)
			return nid;
	}
	return -1;
}

/* The number behind a name in a line of numa_maps, or 0. */
static uint64_t maps_field(const char *line, const char *name)
{
	const char *at = strstr(line, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Is the mapping of a line of numa_maps one that the process can write for others? */
static bool is_shared(const char *line, const char *maps)
{
	size_t len = strcspn(line, " ");
	const char *at = maps;

	/* Both start with the address. */
	while (at && (strncmp(at, line, len) || at[len] != '-')) {
		at = strchr(at, '\n');
		at += !!at;
	}
	at = at ? strchr(at, ' ') : NULL;
	return at && at[2] == 'w' && at[4] == 's';
}

/*
 * Pages of its own that a process has on other nodes for sure, of a line of numa_maps:
 * what it has written, or shares with others to be written. Files, programs and
 * libraries are there once for all, and wherever they were first wanted.
 */
static uint64_t pages_elsewhere(const char *line, const char *maps, int nid)
{
	uint64_t total = 0, elsewhere = 0, nr, own = maps_field(line, " anon=");
	const char *at = line;
	int n;

	if (own < maps_field(line, " dirty=") && is_shared(line, maps))
		own = maps_field(line, " dirty=");
	while ((at = strstr(at, " N"))) {
		if (sscanf(at, " N%d=%ju", &n, &nr) == 2) {
			total += nr;
			elsewhere += n == nid ? 0 : nr;
		}
		at += 2;
	}
	return elsewhere + own > total ? elsewhere + own - total : 0;
}

static int verify_process(pid_t pid)
{
	char *cpus = status_field(pid, "Cpus_allowed_list:\t");
	char *numa_maps = read_text("/proc/%d/numa_maps", pid);
	char *maps = read_text("/proc/%d/maps", pid);
	char *line, *rest = numa_maps;
	int nid, status = EX_OK;
	uint64_t pages;

	if (!cpus || !numa_maps || !maps) {
		warning("process %d: %s", pid, errno == ENOENT ? "there is none" : strerror(errno));
		free(cpus);
		free(maps);
		free(numa_maps);
		return EX_FAILED;
	}
	nid = node_of_cpus(cpus);
	if (nid < 0) {
		printf("process %d: its CPUs %s are not of one node\n", pid, cpus);
		status = EX_DIFFERS;
	}
	while (nid >= 0 && (line = strsep(&rest, "\n"))) {
		pages = pages_elsewhere(line, maps, nid);
		if (!pages)
			continue;
		printf("process %d: %ju pages are not on node %d: %s\n", pid, (uintmax_t)pages, nid,
		       line);
		status = EX_DIFFERS;
	}
	if (!status)
		printf("process %d: CPUs %s and memory, all on node %d\n", pid, cpus, nid);
	free(cpus);
	free(maps);
	free(numa_maps);
	return status;
}

int cmd_verify(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "PATH|PID...",
		"Prove for files that each block is on the node of the mount, and for processes that"
		" their CPUs and their memory, but for shared programs and libraries, are on one"
		" node. Exit status 1, and a list, if they are not.", NULL, NULL, NULL };
	int first, arg, one, status = EX_OK;
	struct srat srat;
	uint64_t pid;

	parse_args(&argp, argc, argv, &first, NULL);
	if (first == argc)
		fatal(EX_USAGE, "verify needs files or processes");
	read_srat(&srat);
	for (arg = first; arg < argc; arg++) {
		if (parse_number(argv[arg], &pid) && pid <= INT32_MAX)
			one = verify_process(pid);
		else
			one = verify_file(&srat, argv[arg]);
		if (one > status)
			status = one;
	}
	free(srat.memory);
	return status;
}
