// SPDX-License-Identifier: GPL-2.0
/*
 * The cost to create, look up, rename, list and unlink a file, among many others, by one or
 * several CPUs at once. Each CPU has a directory of its own.
 *
 * usage: metadata PEER DIR FILES CPUS RUNS
 *
 * Prints the time for one file: all time, divided by the number of files. If the clock
 * counts instructions, those of all CPUs count, also of one that waits for a lock.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>

#include "bench.h"

#define MAX_CPUS	64

enum step { CREATE, LOOKUP, LOOKUP_COLD, RENAME, READDIR, UNLINK, NR_STEPS };

static const char *const names[NR_STEPS] = {
	"create", "lookup", "lookup, not cached", "rename", "readdir", "unlink",
};

struct worker {
	pthread_t thread;
	int cpu;
	int dir;
	long files;
};

static struct worker workers[MAX_CPUS];
static pthread_barrier_t barrier;
static const char *peer;
static int nr_workers;

static void fail(const char *what)
{
	err(2, "%s: %s", peer, what);
}

static void name(char *out, long i, int renamed)
{
	sprintf(out, renamed ? "renamed-%ld" : "file-%ld", i);
}

static void do_file(const struct worker *w, enum step what, long i)
{
	char path[32], to[32];
	struct stat st;
	int fd;

	name(path, i, what == UNLINK);
	switch (what) {
	case CREATE:
		fd = openat(w->dir, path, O_RDWR | O_CREAT | O_EXCL, 0600);
		if (fd < 0)
			fail(path);
		close(fd);
		break;
	case LOOKUP:
	case LOOKUP_COLD:
		if (fstatat(w->dir, path, &st, 0))
			fail(path);
		break;
	case RENAME:
		name(to, i, 1);
		if (renameat(w->dir, path, w->dir, to))
			fail(path);
		break;
	default:
		if (unlinkat(w->dir, path, 0))
			fail(path);
	}
}

static void list(const struct worker *w)
{
	DIR *dir = fdopendir(openat(w->dir, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *entry;
	long nr = 0;

	if (!dir)
		fail("opendir");
	while ((entry = readdir(dir)))
		nr += entry->d_name[0] != '.';
	closedir(dir);
	if (nr != w->files)
		errx(2, "%s: %ld entries of %ld", peer, nr, w->files);
}

static void do_all(const struct worker *w, enum step what)
{
	long i;

	if (what == READDIR) {
		list(w);
		return;
	}
	for (i = 0; i < w->files; i++)
		do_file(w, what, i);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	cpu_set_t set;
	int step;

	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
	for (step = 0; step < NR_STEPS; step++) {
		pthread_barrier_wait(&barrier);
		do_all(w, step);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void run(struct series *series, long files)
{
	uint64_t start;
	int i, step;
	char dir[16];

	for (i = 0; i < nr_workers; i++) {
		struct worker *w = &workers[i];

		sprintf(dir, "dir-%d", i);
		if (mkdir(dir, 0700))
			fail(dir);
		w->cpu = i;
		w->files = files / nr_workers;
		w->dir = open(dir, O_RDONLY | O_DIRECTORY);
		/* One worker does without a barrier, which costs more than a file. */
		if (nr_workers > 1 && pthread_create(&w->thread, NULL, work, w))
			fail("pthread_create");
	}
	for (step = 0; step < NR_STEPS; step++) {
		if (step == LOOKUP_COLD)
			write_file("/proc/sys/vm/drop_caches", "2");
		start = now();
		if (nr_workers > 1) {
			pthread_barrier_wait(&barrier);
			start = now();
			pthread_barrier_wait(&barrier);
		} else {
			do_all(&workers[0], step);
		}
		start = now() - start;
		add(&series[step], (double)start / (workers[0].files * nr_workers));
	}
	for (i = 0; i < nr_workers; i++) {
		if (nr_workers > 1)
			pthread_join(workers[i].thread, NULL);
		close(workers[i].dir);
		sprintf(dir, "dir-%d", i);
		if (rmdir(dir))
			fail(dir);
	}
}

int main(int argc, char **argv)
{
	struct series series[NR_STEPS] = { 0 };
	char what[NR_STEPS][64];
	long files;
	int i, runs;

	if (argc != 6)
		errx(2, "usage: metadata PEER DIR FILES CPUS RUNS");
	peer = argv[1];
	files = atol(argv[3]);
	nr_workers = atoi(argv[4]);
	if (nr_workers < 1 || nr_workers > MAX_CPUS || files < nr_workers)
		errx(2, "CPUS are 1 to %d, and FILES at least as many", MAX_CPUS);
	if (chdir(argv[2]))
		err(2, "%s", argv[2]);
	for (i = 0; i < NR_STEPS; i++) {
		snprintf(what[i], sizeof(what[i]), nr_workers > 1 ? "%s by %d CPUs" : "%s",
			 names[i], nr_workers);
		series[i].what = what[i];
		series[i].unit = "time";
	}
	pthread_barrier_init(&barrier, NULL, nr_workers + 1);
	for (runs = atoi(argv[5]); runs; runs--)
		run(series, files);
	for (i = 0; i < NR_STEPS; i++)
		print_series(peer, files, &series[i]);
	return 0;
}
