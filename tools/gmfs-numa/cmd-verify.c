// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa verify: proof that files and processes are on one node.
 *
 * Where a node's memory is, the firmware says in its SRAT: that does not depend on
 * what guestmemfs believes. What cannot be looked at is unknown, and never proven.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* --- files --- */

struct file_proof {
	const char *name;	/* as it can be shown */
	const struct srat *srat;
	int nid;
	struct range *extents;	/* of the node's pool */
	ssize_t nr_extents;
	uint64_t bytes;
	uint64_t silent;	/* bytes of which the firmware says nothing */
};

static int verify_extent(struct file_proof *proof, const struct extent *p)
{
	bool in_pool = ranges_cover(proof->extents, proof->nr_extents, p->phys, p->size);
	enum srat_answer answer = SRAT_SILENT;

	if (proof->srat)
		answer = srat_where(proof->srat, proof->nid, p->phys, p->size);
	proof->bytes += p->size;
	if (answer == SRAT_SILENT)
		proof->silent += p->size;
	if (in_pool && answer != SRAT_ELSEWHERE)
		return EX_OK;
	printf("%s: offset %#jx: %#jx bytes at %#jx are not on node %d%s\n", proof->name,
	       (uintmax_t)p->offset, (uintmax_t)p->size, (uintmax_t)p->phys, proof->nid,
	       in_pool ? " as the firmware has it" : ", nor in its pool");
	return EX_DIFFERS;
}

/* Says how far the proof goes for a file of which no extent is elsewhere. */
static void show_proof(const struct file_proof *proof, ssize_t nr)
{
	char *size = format_size(proof->bytes), *silent = format_size(proof->silent);

	printf("%s: %s in %zd piece%s, all ", proof->name, size, nr, nr == 1 ? "" : "s");
	if (!proof->silent)
		printf("on node %d as the firmware has it\n", proof->nid);
	else if (!proof->srat)
		printf("in the pool of node %d; unknown: where the firmware has it\n", proof->nid);
	else if (srat_knows_node(proof->srat, proof->nid))
		printf("in the pool of node %d; the firmware says nothing of %s of it\n",
		       proof->nid, silent);
	else
		printf("in the pool of node %d; the firmware says nothing of node %d\n",
		       proof->nid, proof->nid);
	free(silent);
	free(size);
}

static int verify_extents(struct file_proof *proof, int fd)
{
	int status = EX_OK, one;
	struct extent *extents;
	ssize_t nr, i;

	nr = file_extents(fd, &extents);
	proof->nr_extents = node_extents(proof->nid, &proof->extents);
	if (nr < 0)
		status = EX_FAILED;
	for (i = 0; i < nr; i++)
		if (!extents[i].known)
			status = EX_FAILED;
	if (status || (nr && proof->nr_extents < 0)) {
		warning("%s: unknown: only root may know where its memory is", proof->name);
		free(extents);
		return EX_FAILED;
	}
	for (i = 0; i < nr; i++) {
		one = verify_extent(proof, &extents[i]);
		if (one > status)
			status = one;
	}
	free(extents);
	if (!nr)
		printf("%s: it has no memory yet\n", proof->name);
	else if (!status)
		show_proof(proof, nr);
	return nr && !proof->srat ? EX_FAILED : status;
}

static int verify_file(const struct srat *srat, const char *path)
{
	struct file_proof proof = { .srat = srat };
	int fd = file_open(path, &proof.nid), status = EX_FAILED;
	char *name = printable(path);

	proof.name = name;
	if (fd >= 0)
		status = verify_extents(&proof, fd);
	else
		warning("%s: %s", name, file_open_error());
	if (fd >= 0)
		close(fd);
	free(proof.extents);
	free(name);
	return status;
}

/* --- processes --- */

struct mapping {
	uint64_t start;
	uint64_t end;
	bool shared;		/* what the process writes is seen by others */
	dev_t dev;
	uint64_t ino;
	const char *path;
};

struct process {
	pid_t pid;
	int nid;		/* of its CPUs; -1 if they are not of one node */
	char *cpus;		/* of the first thread */
	size_t nr_threads;
	pid_t tid;		/* of the thread that has shown its memory */
	char *maps;
	struct mapping *mappings;	/* by rising address */
	size_t nr_mappings;
	char *numa_maps;
	const char *unknown;	/* why it cannot be judged, if errno does not say */
};

/* How often maps and numa_maps are read until they are of the same mappings. */
#define MAX_READS	10

/* Node of each CPU that is online, -1 of others. */
struct cpu_nodes {
	int *nid;
	size_t nr;
};

#define NO_CPU		-1	/* none of them is online */
#define NO_ONE_NODE	-2

static void add_node_cpus(struct cpu_nodes *cpus, int nid)
{
	char *text = read_text("/sys/devices/system/node/node%d/cpulist", nid);
	const char *list = text ? text : "";
	unsigned int first, last;

	while (next_range(&list, &first, &last)) {
		if (last >= cpus->nr) {
			cpus->nid = xrealloc(cpus->nid, (last + 1) * sizeof(*cpus->nid));
			while (cpus->nr <= last)
				cpus->nid[cpus->nr++] = -1;
		}
		for (; first <= last; first++)
			cpus->nid[first] = nid;
	}
	free(text);
}

static const struct cpu_nodes *cpu_nodes(void)
{
	static struct cpu_nodes cpus;
	DIR *dir = cpus.nr ? NULL : root_opendir("/sys/devices/system/node");
	struct dirent *entry;
	uint64_t nid;

	while (dir && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, "node", 4) && parse_number(entry->d_name + 4, &nid))
			add_node_cpus(&cpus, nid);
	if (dir)
		closedir(dir);
	return &cpus;
}

/* A mask can have CPUs that are not there: on these nothing runs. */
static int node_of_cpus(const char *list)
{
	const struct cpu_nodes *cpus = cpu_nodes();
	unsigned int first, last;
	int nid = NO_CPU;

	while (next_range(&list, &first, &last)) {
		for (; first <= last && first < cpus->nr; first++) {
			if (cpus->nid[first] < 0 || cpus->nid[first] == nid)
				continue;
			if (nid >= 0)
				return NO_ONE_NODE;
			nid = cpus->nid[first];
		}
	}
	return nid;
}

/* Calls @fn for each thread, until it does not return EX_OK; the worst that came. */
static int each_thread(struct process *p, int (*fn)(struct process *p, pid_t tid))
{
	DIR *dir = root_opendir("/proc/%d/task", p->pid);
	struct dirent *entry;
	int status = EX_OK, one, err;
	uint64_t tid;

	if (!dir)
		return EX_FAILED;
	while (status < EX_FAILED && (entry = readdir(dir))) {
		if (!parse_number(entry->d_name, &tid))
			continue;
		one = fn(p, tid);
		if (one > status)
			status = one;
	}
	err = errno;
	closedir(dir);
	errno = err;
	return status;
}

static char *field(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	at = at ? at + strlen(name) : "";
	return xasprintf("%.*s", (int)strcspn(at, "\n"), at);
}

static int judge_thread(struct process *p, pid_t tid, const char *cpus)
{
	int nid = node_of_cpus(cpus);

	if (nid == NO_CPU) {
		p->unknown = "a thread has no CPU that is online";
		return EX_FAILED;
	}
	if (nid == NO_ONE_NODE) {
		if (tid == p->pid)
			printf("process %d: its CPUs %s are not of one node\n", p->pid, cpus);
		else
			printf("process %d: the CPUs %s of its thread %d are not of one node\n",
			       p->pid, cpus, tid);
		return EX_DIFFERS;
	}
	if (p->nid >= 0 && nid != p->nid) {
		printf("process %d: the CPUs %s of its thread %d are of node %d, not of node %d\n",
		       p->pid, cpus, tid, nid, p->nid);
		return EX_DIFFERS;
	}
	p->nid = nid;
	return EX_OK;
}

/* Threads of one process are bound one by one, as libvirt does it with virtual CPUs. */
static int verify_thread(struct process *p, pid_t tid)
{
	char *text = read_text("/proc/%d/task/%d/status", p->pid, tid), *state, *cpus;
	int status = EX_OK;

	if (!text)
		/* Threads end. */
		return errno == ENOENT || errno == ESRCH ? EX_OK : EX_FAILED;
	state = field(text, "\nState:\t");
	cpus = field(text, "\nCpus_allowed_list:\t");
	free(text);
	/* A zombie does not run. */
	if (*state != 'Z' && *state != 'X') {
		p->nr_threads++;
		status = judge_thread(p, tid, cpus);
		if (!p->cpus)
			p->cpus = xstrdup(cpus);
	}
	free(state);
	free(cpus);
	return status;
}

/* All threads have the same memory, but one that has ended shows none. */
static int read_maps(struct process *p, pid_t tid)
{
	if (p->maps && *p->maps)
		return EX_OK;
	free(p->maps);
	free(p->numa_maps);
	p->tid = tid;
	p->maps = read_text("/proc/%d/task/%d/maps", p->pid, tid);
	p->numa_maps = p->maps ? read_text("/proc/%d/task/%d/numa_maps", p->pid, tid) : NULL;
	if (p->numa_maps)
		return EX_OK;
	return errno == ENOENT || errno == ESRCH ? EX_OK : EX_FAILED;
}

static void parse_maps(struct process *p)
{
	char *line, *rest = p->maps;
	unsigned int major_nr, minor_nr;
	struct mapping m = { };
	char perms[5];
	int path;

	while ((line = strsep(&rest, "\n"))) {
		path = 0;
		if (sscanf(line, "%jx-%jx %4s %*x %x:%x %ju %n", &m.start, &m.end, perms,
			   &major_nr, &minor_nr, &m.ino, &path) != 6 || !path)
			continue;
		m.shared = perms[1] == 'w' && perms[3] == 's';
		m.dev = makedev(major_nr, minor_nr);
		m.path = line + path;
		p->mappings = xrealloc(p->mappings, (p->nr_mappings + 1) * sizeof(m));
		p->mappings[p->nr_mappings++] = m;
	}
}

static int compare_start(const void *key, const void *element)
{
	uint64_t start = *(const uint64_t *)key;
	uint64_t other = ((const struct mapping *)element)->start;

	return start < other ? -1 : start > other;
}

/* The mapping of a line of numa_maps, or NULL. */
static const struct mapping *mapping_of(const struct process *p, const char *line)
{
	uint64_t start = strtoull(line, NULL, 16);

	return p->nr_mappings ? bsearch(&start, p->mappings, p->nr_mappings, sizeof(*p->mappings),
					compare_start) : NULL;
}

/* The page of old system calls is the kernel's, and in maps alone. */
static bool is_of_kernel(const struct mapping *m)
{
	return !strcmp(m->path, "[vsyscall]");
}

/*
 * Are maps and numa_maps of the same mappings? They are read one after the other, and a
 * running process maps and unmaps.
 */
static bool is_consistent(const struct process *p)
{
	const char *line = p->numa_maps;
	size_t nr = 0, i;

	while (*line) {
		if (!mapping_of(p, line))
			return false;
		nr++;
		line = strchrnul(line, '\n');
		line += !!*line;
	}
	for (i = 0; i < p->nr_mappings; i++)
		nr += is_of_kernel(&p->mappings[i]);
	return nr == p->nr_mappings;
}

/* The number behind a name in a line of numa_maps, or 0. */
static uint64_t maps_field(const char *line, const char *name)
{
	const char *at = strstr(line, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Pages that are looked at together, and bits of a page in /proc/PID/pagemap. */
#define BATCH		512
#define PAGE_PRESENT	(1ULL << 63)
#define PAGE_IS_FILE	(1ULL << 61)

/* Adds pages of the process' own that are on other nodes. Returns 0 or -errno. */
static int look_at_pages(const struct process *p, const uint64_t *entries, size_t nr,
			 uint64_t start, uint64_t *elsewhere)
{
	uint64_t size = sysconf(_SC_PAGESIZE);
	int nodes[BATCH];
	void *own[BATCH];
	size_t nr_own = 0, i;

	for (i = 0; i < nr; i++)
		if ((entries[i] & (PAGE_PRESENT | PAGE_IS_FILE)) == PAGE_PRESENT)
			own[nr_own++] = (void *)(uintptr_t)(start + i * size);
	if (nr_own && move_pages(p->tid, nr_own, own, NULL, nodes, 0))
		return -errno;
	/* An error is a page that is not in memory any more, or the one of zeroes. */
	for (i = 0; i < nr_own; i++)
		*elsewhere += nodes[i] >= 0 && nodes[i] != p->nid;
	return 0;
}

/*
 * Which pages of a mapping are the process' own, and where each is, if the sums of
 * numa_maps leave it open. Returns 0 or -errno.
 */
static int own_pages_elsewhere(const struct process *p, const struct mapping *m,
			       uint64_t *elsewhere)
{
	uint64_t size = sysconf(_SC_PAGESIZE), entries[BATCH], at, nr;
	char *path = xasprintf("/proc/%d/task/%d/pagemap", p->pid, p->tid);
	int fd = *sysroot ? -1 : open(path, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t got;

	free(path);
	if (fd < 0)
		return *sysroot ? -EREMOTE : -errno;
	for (at = m->start; at < m->end && !err; at += nr * size) {
		nr = (m->end - at) / size;
		nr = nr < BATCH ? nr : BATCH;
		got = pread(fd, entries, nr * sizeof(*entries), at / size * sizeof(*entries));
		if (got != (ssize_t)(nr * sizeof(*entries)))
			err = got < 0 ? -errno : -EIO;
		else
			err = look_at_pages(p, entries, nr, at, elsewhere);
	}
	close(fd);
	return err;
}

/*
 * Pages that are not the process' own are files, programs and libraries: they are there
 * once for all, and wherever they were first wanted. What it has written, or shares with
 * others and can write, is its own. Sets the number of these on other nodes, of a line
 * of numa_maps. Returns 0, or -errno if it is not known.
 */
static int pages_elsewhere(const struct process *p, const char *line, uint64_t *pages)
{
	uint64_t total = 0, elsewhere = 0, nr, own = maps_field(line, " anon=");
	const struct mapping *m = mapping_of(p, line);
	const char *at = line;
	int n;

	while ((at = strstr(at, " N"))) {
		if (sscanf(at, " N%d=%ju", &n, &nr) == 2) {
			total += nr;
			elsewhere += n == p->nid ? 0 : nr;
		}
		at += 2;
	}
	if (m->shared)
		own = total;
	*pages = elsewhere + own > total ? elsewhere + own - total : 0;
	if (*pages || !own || !elsewhere)
		return 0;
	return own_pages_elsewhere(p, m, pages);
}

static int verify_pages(struct process *p)
{
	char *line, *rest = p->numa_maps, *shown;
	int status = EX_OK;
	uint64_t pages;

	while ((line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		if (pages_elsewhere(p, line, &pages)) {
			p->unknown = "the node of file pages that it has changed cannot be read";
			continue;
		}
		if (!pages)
			continue;
		shown = printable(line);
		printf("process %d: %ju pages are not on node %d: %s\n", p->pid, (uintmax_t)pages,
		       p->nid, shown);
		free(shown);
		status = EX_DIFFERS;
	}
	return p->unknown ? EX_FAILED : status;
}

/* Is a file mapped once more before that mapping? */
static bool seen_before(const struct process *p, size_t i)
{
	size_t j;

	for (j = 0; j < i; j++)
		if (p->mappings[j].dev == p->mappings[i].dev &&
		    p->mappings[j].ino == p->mappings[i].ino)
			return true;
	return false;
}

/* Memory of pools has no pages in numa_maps: it is where the node of its mount is. */
static int verify_pool_files(const struct process *p)
{
	const struct mapping *m = p->mappings;
	int nid, status = EX_OK;
	char *shown;
	size_t i;

	for (i = 0; i < p->nr_mappings; i++, m++) {
		nid = m->ino ? pool_device_node(m->dev) : -1;
		if (nid < 0 || nid == p->nid || seen_before(p, i))
			continue;
		shown = printable(m->path);
		printf("process %d: it has memory of node %d, not of node %d: %s\n", p->pid, nid,
		       p->nid, shown);
		free(shown);
		status = EX_DIFFERS;
	}
	return status;
}

static int verify_memory(struct process *p)
{
	int pages, files;

	pages = verify_pages(p);
	files = verify_pool_files(p);
	return pages > files ? pages : files;
}

/* What there is to be said if nothing is wrong. */
static void show_process(const struct process *p)
{
	if (p->nr_threads == 1)
		printf("process %d: CPUs %s and memory, all on node %d\n", p->pid, p->cpus, p->nid);
	else
		printf("process %d: CPUs of %zu threads and memory, all on node %d\n", p->pid,
		       p->nr_threads, p->nid);
}

/* EX_FAILED if it cannot be read, or changes all the time. */
static int read_memory(struct process *p)
{
	unsigned int tries;

	for (tries = 0; tries < MAX_READS; tries++) {
		free(p->maps);
		p->maps = NULL;
		p->nr_mappings = 0;
		if (each_thread(p, read_maps) >= EX_FAILED)
			return EX_FAILED;
		if (!p->maps || !*p->maps || !p->numa_maps)
			return EX_OK;
		parse_maps(p);
		if (is_consistent(p))
			return EX_OK;
	}
	p->unknown = "its mappings change while they are read";
	return EX_FAILED;
}

static int judge_process(struct process *p)
{
	int status = each_thread(p, verify_thread), memory = EX_OK;

	if (status < EX_FAILED && read_memory(p) >= EX_FAILED)
		status = EX_FAILED;
	if (status < EX_FAILED && !p->nr_threads)
		p->unknown = "it has ended";
	else if (status < EX_FAILED && (!p->maps || !*p->maps || !p->numa_maps))
		p->unknown = "it shows no memory";
	if (status >= EX_FAILED || p->unknown)
		return EX_FAILED;
	if (p->nid >= 0)
		memory = verify_memory(p);
	if (memory > status)
		status = memory;
	/* A mapping of a device that is mounted nowhere to be seen is taken for something else. */
	if (!status && pool_mounts_hidden()) {
		p->unknown = "nodes have mounts that are not seen, and it could have files there";
		return EX_FAILED;
	}
	if (!status)
		show_process(p);
	return status;
}

static int verify_process(pid_t pid)
{
	struct process p = { .pid = pid, .nid = -1 };
	int status = judge_process(&p);

	if (status == EX_FAILED && !p.unknown)
		p.unknown = errno == ENOENT ? "there is none" : strerror(errno);
	if (status == EX_FAILED)
		warning("process %d: unknown: %s", pid, p.unknown);
	free(p.cpus);
	free(p.maps);
	free(p.mappings);
	free(p.numa_maps);
	return status;
}

int cmd_verify(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "PATH|PID...",
		"Prove for files that each block is on the node of the mount, and for processes that"
		" the CPUs of all threads, the files of nodes that they have mapped and their other"
		" memory, except shared programs and libraries, are on one node. Exit status 1, and"
		" a list, if they are not; 2 if something is unknown.", NULL, NULL, NULL };
	int first, arg, one, status = EX_OK;
	struct srat *srat;
	uint64_t pid;

	parse_args(&argp, argc, argv, &first, NULL);
	if (first == argc)
		fatal(EX_USAGE, "verify needs files or processes");
	srat = srat_read();
	for (arg = first; arg < argc; arg++) {
		if (parse_number(argv[arg], &pid) && pid <= INT32_MAX)
			one = verify_process(pid);
		else
			one = verify_file(srat, argv[arg]);
		if (one > status)
			status = one;
	}
	srat_free(srat);
	return status;
}
