// SPDX-License-Identifier: GPL-2.0
/*
 * What a directory costs that has many entries.
 *
 *	names DIR COUNT...	for each count, in a new directory of DIR
 *
 * Prints for each the time of one operation in nanoseconds: of making a file, of
 * looking one up that the kernel has not in its caches, of reading one entry, and
 * of removing a file. All of them, so the caches cost the same for each count.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOKUPS	2000UL

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fd < 0 || write(fd, "2", 1) != 1)
		err(1, "drop_caches");
	close(fd);
}

static const char *name(unsigned long i)
{
	static char text[40];

	snprintf(text, sizeof(text), "file-%lu", i);
	return text;
}

static void measure(unsigned long count)
{
	uint64_t t, made, found, entries, removed;
	unsigned long i, nr = 0;
	struct dirent *de;
	struct stat st;
	DIR *dir;

	t = now();
	for (i = 0; i < count; i++)
		if (mknod(name(i), S_IFREG | 0600, 0))
			err(1, "%s", name(i));
	made = (now() - t) / count;

	drop_caches();
	found = 0;
	for (i = 0; i < LOOKUPS; i++) {
		/* Each of them once, if there are so many. */
		const char *which = name(i * 7919 % count);

		t = now();
		if (stat(which, &st))
			err(1, "%s", which);
		found += now() - t;
		if (i % count == count - 1)
			drop_caches();
	}
	found /= LOOKUPS;

	t = now();
	dir = opendir(".");
	while ((de = readdir(dir)))
		nr++;
	entries = (now() - t) / count;
	closedir(dir);
	if (nr != count + 2)
		errx(1, "%lu entries of %lu", nr - 2, count);

	t = now();
	for (i = 0; i < count; i++)
		if (unlink(name(i)))
			err(1, "%s", name(i));
	removed = (now() - t) / count;

	printf("count=%lu make=%ju lookup=%ju readdir=%ju remove=%ju\n", count,
	       (uintmax_t)made, (uintmax_t)found, (uintmax_t)entries,
	       (uintmax_t)removed);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 3 || chdir(argv[1]))
		err(1, "%s", argc < 3 ? "usage: names DIR COUNT..." : argv[1]);
	for (i = 2; i < argc; i++) {
		if (mkdir("names", 0700) || chdir("names"))
			err(1, "names");
		measure(strtoul(argv[i], NULL, 0));
		if (chdir("..") || rmdir("names"))
			err(1, "names");
	}
	return 0;
}
