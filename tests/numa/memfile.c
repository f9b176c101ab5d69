// SPDX-License-Identifier: GPL-2.0
/*
 * Works on a file that can only be mapped: fills it, checks it, and says where
 * in physical memory it is. Used by the tests in this directory and by the
 * demonstration, scripts/demo.
 *
 * Exit status: 0 as expected, 1 not so (with a line that says what is wrong), 2
 * usage or a system call that failed.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>

/* All of it in the header: there is no library to be linked with. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#define BLOCK	(2UL << 20)
#define PAGE	4096UL

struct map {
	const char *path;
	int fd;
	uint64_t *mem;
	size_t size;	/* of the file */
	size_t len;	/* of the mapping: to the end of the last block */
};

static size_t parse_size(const char *s)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;
	size_t n = strtoull(s, &end, 0);

	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		n <<= 10 * (unit - units + 1);
		end++;
	}
	if (end == s || *end)
		errx(2, "'%s' is not a size", s);
	return n;
}

static struct map map_file(const char *path, int prot)
{
	struct map m = { .path = path };
	struct stat st;

	m.fd = open(path, prot & PROT_WRITE ? O_RDWR : O_RDONLY);
	if (m.fd < 0)
		err(2, "open %s", path);
	if (fstat(m.fd, &st))
		err(2, "stat %s", path);
	m.size = st.st_size;
	m.len = (m.size + BLOCK - 1) & ~(BLOCK - 1);
	if (!m.size)
		return m;
	m.mem = mmap(NULL, m.len, prot, MAP_SHARED, m.fd, 0);
	if (m.mem == MAP_FAILED)
		err(2, "mmap %s", path);
	return m;
}

static struct map create(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	if (fd < 0)
		err(2, "create %s", path);
	if (ftruncate(fd, size))
		err(2, "truncate %s to %zu bytes", path, size);
	close(fd);
	return map_file(path, PROT_READ | PROT_WRITE);
}

/* Each word of each file has another value, so that no mix-up goes unseen. */
static inline uint64_t word(uint64_t seed, uint64_t i)
{
	return (i + (seed << 40) + 1) * 0x9e3779b97f4a7c15ULL;
}

static void fill(struct map *m, uint64_t seed)
{
	size_t i;

	for (i = 0; i < m->size / 8; i++)
		m->mem[i] = word(seed, i);
}

static int check(struct map *m, uint64_t seed)
{
	size_t i;

	for (i = 0; i < m->size / 8; i++) {
		if (m->mem[i] != word(seed, i)) {
			printf("%s: wrong at byte %zu: %#" PRIx64 ", not %#" PRIx64 "\n",
			       m->path, i * 8, m->mem[i], word(seed, i));
			return 1;
		}
	}
	return 0;
}

/* To the end of the last block, whatever the size. */
static int check_zero(struct map *m)
{
	size_t i;

	for (i = 0; i < m->len / 8; i++) {
		if (m->mem[i]) {
			printf("%s: not zero at byte %zu: %#" PRIx64 "\n",
			       m->path, i * 8, m->mem[i]);
			return 1;
		}
	}
	return 0;
}

static uint64_t sum(struct map *m)
{
	return XXH64(m->mem, m->size, 0);
}

struct range {
	uint64_t start;
	uint64_t end;	/* first byte behind */
};

/* The pool of a node as /proc/iomem has it. */
static int pool_ranges(int node, struct range *ranges, int max)
{
	char line[256], want[64];
	uint64_t start, end;
	char name[128];
	int nr = 0;
	FILE *f;

	f = fopen("/proc/iomem", "re");
	if (!f)
		err(2, "/proc/iomem");
	snprintf(want, sizeof(want), "guestmemfs node%d", node);
	while (fgets(line, sizeof(line), f) && nr < max) {
		if (sscanf(line, " %" SCNx64 "-%" SCNx64 " : %127[^\n]",
			   &start, &end, name) != 3 || strcmp(name, want))
			continue;
		ranges[nr++] = (struct range){ start, end + 1 };
	}
	fclose(f);
	if (!nr)
		errx(1, "/proc/iomem has no '%s'", want);
	return nr;
}

static bool in_ranges(uint64_t start, uint64_t end, const struct range *ranges, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		if (start >= ranges[i].start && end <= ranges[i].end)
			return true;
	return false;
}

/*
 * Each block of the file: in the pool of @node (if that is not negative)? All
 * of the file has to be there.
 */
static int where(const char *path, int node)
{
	struct range ranges[64];
	size_t next = 0, covered = 0;
	int nr_ranges = 0;
	struct fiemap *fm;
	struct stat st;
	bool last = false;
	unsigned int i;
	int fd;

	if (node >= 0)
		nr_ranges = pool_ranges(node, ranges, 64);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		err(2, "%s", path);
	fm = calloc(1, sizeof(*fm) + 64 * sizeof(fm->fm_extents[0]));
	if (!fm)
		err(2, "calloc");

	while (!last) {
		fm->fm_start = next;
		fm->fm_length = FIEMAP_MAX_OFFSET - next;
		fm->fm_extent_count = 64;
		if (ioctl(fd, FS_IOC_FIEMAP, fm))
			err(2, "FS_IOC_FIEMAP %s", path);
		if (!fm->fm_mapped_extents)
			break;
		for (i = 0; i < fm->fm_mapped_extents; i++) {
			struct fiemap_extent *e = &fm->fm_extents[i];

			printf("%s: offset %#llx: %llu blocks at %#llx-%#llx\n",
			       path, e->fe_logical, e->fe_length / BLOCK,
			       e->fe_physical, e->fe_physical + e->fe_length - 1);
			if (node >= 0 && !in_ranges(e->fe_physical,
						    e->fe_physical + e->fe_length,
						    ranges, nr_ranges)) {
				printf("%s: that is not in the pool of node %d\n",
				       path, node);
				return 1;
			}
			next = e->fe_logical + e->fe_length;
			covered += e->fe_length;
			last = e->fe_flags & FIEMAP_EXTENT_LAST;
		}
	}
	if (node >= 0 && covered < (size_t)st.st_size) {
		printf("%s: only %zu of %zu bytes have blocks\n", path, covered,
		       (size_t)st.st_size);
		return 1;
	}
	close(fd);
	return 0;
}

static long minor_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

/* Faults that it takes to store to each page of a file. */
static int faults(const char *path)
{
	struct map m = map_file(path, PROT_READ | PROT_WRITE);
	volatile char *p = (char *)m.mem;
	long before, after;
	size_t i;

	before = minor_faults();
	for (i = 0; i < m.len; i += PAGE)
		p[i] = 1;
	after = minor_faults();
	printf("%ld\n", after - before);
	return 0;
}

/* Holds data in a file for as long as the machine runs. */
static int keep(const char *path, size_t size, uint64_t seed)
{
	struct map m = create(path, size);
	unsigned int cpu, node;

	fill(&m, seed);
	if (getcpu(&cpu, &node))
		err(2, "getcpu");
	printf("process %d on CPU %u of node %u: %zu MiB written, checksum %016" PRIx64 "\n",
	       getpid(), cpu, node, m.size >> 20, sum(&m));
	fflush(stdout);
	for (;;)
		pause();
	return 0;
}

/*
 * Stores to a file without end. In each block the first word is written before
 * the second one, so the second is never ahead.
 */
static int store(const char *path)
{
	struct map m = map_file(path, PROT_READ | PROT_WRITE);
	volatile uint64_t *p;
	uint64_t n;
	size_t i;

	for (n = 1;; n++) {
		if (n == 2) {
			printf("storing\n");
			fflush(stdout);
		}
		for (i = 0; i < m.size / 8; i += BLOCK / 8) {
			p = m.mem + i;
			p[0] = n;
			p[1] = n;
		}
	}
	return 0;
}

static int stored(const char *path)
{
	struct map m = map_file(path, PROT_READ);
	uint64_t most = 0;
	size_t i;

	for (i = 0; i < m.size / 8; i += BLOCK / 8) {
		uint64_t a = m.mem[i], b = m.mem[i + 1];

		if (!i)
			most = a;
		if (!a || b > a || a - b > 1 || a > most || most - a > 1) {
			printf("%s: block at %zu has %" PRIu64 ", %" PRIu64
			       "; the first has %" PRIu64 "\n",
			       path, i * 8, a, b, most);
			return 1;
		}
	}
	printf("%" PRIu64 " rounds were stored\n", most);
	return 0;
}

static void try(int ret, const char *what, int tolerated)
{
	if (ret < 0 && errno != tolerated)
		err(2, "churn: %s", what);
}

static void churn_round(unsigned int *rnd, const char *dir, bool stamp)
{
	char a[512], b[512], sub[256];
	uint64_t *mem;
	size_t size;
	int fd;

	snprintf(sub, sizeof(sub), "%s/d%d", dir, rand_r(rnd) % 4);
	try(mkdir(sub, 0755), sub, EEXIST);
	snprintf(a, sizeof(a), "%s/f%d", sub, rand_r(rnd) % 4);
	snprintf(b, sizeof(b), "%s/d%d/f%d", dir, rand_r(rnd) % 4, rand_r(rnd) % 4);

	fd = open(a, O_RDWR | O_CREAT, 0600);
	try(fd, a, 0);
	size = (rand_r(rnd) % 6) * (BLOCK / 2);
	try(ftruncate(fd, size), "truncate", ENOSPC);
	if (stamp && size >= BLOCK) {
		mem = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (mem != MAP_FAILED) {
			mem[0] = 0x5a5a;
			munmap(mem, BLOCK);
		}
	}
	switch (rand_r(rnd) % 6) {
	case 0:
		try(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK),
		    "punch", 0);
		break;
	case 1:
		try(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * BLOCK, BLOCK), "fallocate",
		    ENOSPC);
		break;
	case 2:
		try(unlink(a), "unlink", 0);
		break;
	case 3:
		try(rename(a, b), "rename", ENOENT);
		break;
	case 4:
		try(rmdir(sub), "rmdir", ENOTEMPTY);
		break;
	}
	close(fd);
}

/* Makes and removes files without end. */
static int churn(const char *dir, unsigned int seed)
{
	unsigned long n;

	printf("churning\n");
	fflush(stdout);
	for (n = 0;; n++)
		churn_round(&seed, dir, n % 3 == 0);
	return 0;
}

/*
 * A process punches holes into what is mapped, this one has faults fill them: a
 * kexec comes while faults are under way.
 */
static int refault(const char *path)
{
	struct map m = map_file(path, PROT_READ | PROT_WRITE);
	pid_t parent = getpid();
	unsigned long n;
	size_t i;

	if (!fork()) {
		for (i = 0; getppid() == parent; i = (i + BLOCK) % m.size)
			try(fallocate(m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i, BLOCK),
			    "punch", 0);
		exit(0);
	}
	for (n = 0;; n++) {
		if (n == 1) {
			printf("faulting\n");
			fflush(stdout);
		}
		for (i = 0; i < m.size / 8; i += BLOCK / 8) {
			uint64_t v = m.mem[i];

			if (v && v != i + 1) {
				printf("block at %zu has %" PRIu64 "\n", i * 8, v);
				return 1;
			}
			m.mem[i] = i + 1;
		}
	}
	return 0;
}

/* All that is there is what was stored, or nothing. */
static int refaulted(const char *path)
{
	struct map m = map_file(path, PROT_READ);
	size_t i;

	for (i = 0; i < m.size / 8; i++) {
		if (m.mem[i] && (i % (BLOCK / 8) || m.mem[i] != i + 1)) {
			printf("%s: %" PRIu64 " at %zu\n", path, m.mem[i], i * 8);
			return 1;
		}
	}
	return 0;
}

static void __attribute__((noreturn)) usage(void)
{
	fputs("usage: memfile COMMAND ARG...\n"
	      "  fill FILE SIZE SEED   make FILE so large and fill it with a pattern\n"
	      "  check FILE SEED       is the pattern there?\n"
	      "  zero FILE             is it all zeroes, up to the end of the last block?\n"
	      "  sum FILE...           checksums (XXH64) of the contents\n"
	      "  keep FILE SIZE SEED   fill it, say where from, and keep it mapped\n"
	      "  where FILE [NODE]     physical addresses; are all in NODE's pool?\n"
	      "  faults FILE           how many page faults does it take to touch all?\n"
	      "  store FILE            store to it for ever, in an order\n"
	      "  stored FILE           does it look like that?\n"
	      "  churn DIR SEED        make, change and remove files for ever\n"
	      "  refault FILE          punch holes and fill them by faults for ever\n"
	      "  refaulted FILE        does it look like that?\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 2 ? argv[1] : "";
	struct map m;
	int i;

	if (!strcmp(cmd, "fill") && argc == 5) {
		m = create(argv[2], parse_size(argv[3]));
		fill(&m, strtoull(argv[4], NULL, 0));
		return 0;
	}
	if (!strcmp(cmd, "check") && argc == 4) {
		m = map_file(argv[2], PROT_READ);
		return check(&m, strtoull(argv[3], NULL, 0));
	}
	if (!strcmp(cmd, "zero") && argc == 3) {
		m = map_file(argv[2], PROT_READ);
		return check_zero(&m);
	}
	if (!strcmp(cmd, "sum")) {
		for (i = 2; i < argc; i++) {
			m = map_file(argv[i], PROT_READ);
			printf("%016" PRIx64 "  %s\n", sum(&m), argv[i]);
			if (m.mem)
				munmap(m.mem, m.len);
			close(m.fd);
		}
		return 0;
	}
	if (!strcmp(cmd, "keep") && argc == 5)
		return keep(argv[2], parse_size(argv[3]), strtoull(argv[4], NULL, 0));
	if (!strcmp(cmd, "where") && (argc == 3 || argc == 4))
		return where(argv[2], argc == 4 ? atoi(argv[3]) : -1);
	if (!strcmp(cmd, "faults") && argc == 3)
		return faults(argv[2]);
	if (!strcmp(cmd, "store") && argc == 3)
		return store(argv[2]);
	if (!strcmp(cmd, "stored") && argc == 3)
		return stored(argv[2]);
	if (!strcmp(cmd, "churn") && argc == 4)
		return churn(argv[2], atoi(argv[3]));
	if (!strcmp(cmd, "refault") && argc == 3)
		return refault(argv[2]);
	if (!strcmp(cmd, "refaulted") && argc == 3)
		return refaulted(argv[2]);
	usage();
}
