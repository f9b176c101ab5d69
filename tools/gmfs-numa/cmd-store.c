// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa store and load: what is no guest's memory and has to survive a kexec as
 * well, such as the state of a virtual machine's devices. Files of guestmemfs can
 * only be mapped; these are the ends of a pipe.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* How much of the file is mapped, and given memory, at a time. */
#define WINDOW	(16ULL << 20)

struct arguments {
	bool force;
	bool remove;
	const char *owner;
};

/* The directory of a path, without looking at what is there. */
static char *directory(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xasprintf("%.*s", (int)(slash - path), path);
}

/* Up to a window full: less only at the end. -errno if it cannot be read. */
static ssize_t fill(char *window)
{
	size_t have = 0;
	ssize_t got;

	while (have < WINDOW) {
		got = read(STDIN_FILENO, window + have, WINDOW - have);
		if (!got)
			break;
		if (got > 0)
			have += got;
		else if (errno != EINTR)
			return -errno;
	}
	return have;
}

/* Returns 0 or -errno; @size is what was stored. */
static int store(int fd, uint64_t *size)
{
	ssize_t got = WINDOW;
	void *window;
	int err;

	for (*size = 0; got == WINDOW; *size += got) {
		err = posix_fallocate(fd, *size, WINDOW);
		if (err)
			return -err;
		window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED, fd, *size);
		if (window == MAP_FAILED)
			return -errno;
		got = fill(window);
		munmap(window, WINDOW);
		if (got < 0)
			return got;
	}
	return ftruncate(fd, *size) ? -errno : 0;
}

/* Give the file a name, now that it is complete. 0 or -errno. */
static int name_file(int fd, const char *path, bool force)
{
	char *from = xasprintf("/proc/self/fd/%d", fd), *temp = NULL;
	int err;

	err = linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW) ? -errno : 0;
	if (err == -EEXIST && force) {
		temp = xasprintf("%s.%d", path, getpid());
		err = linkat(AT_FDCWD, from, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) ? -errno : 0;
		if (!err && rename(temp, path)) {
			err = -errno;
			unlink(temp);
		}
		free(temp);
	}
	free(from);
	return err;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case 'f':
		args->force = true;
		return 0;
	case 'r':
		args->remove = true;
		return 0;
	case 'O':
		args->owner = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Until it is complete the file has no name: whatever happens, nothing is left. */
int cmd_store(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "force", 'f', NULL, 0, "replace FILE if it is there", 0 },
		{ "owner", 'O', "ID", 0, "tag it with that owner", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "FILE",
		"Read standard input to its end, and keep it in FILE on a node, over kexec: for QEMU,"
		" migrate \"exec:gmfs-numa store FILE\". FILE is there when all of it is.",
		NULL, NULL, NULL };
	struct arguments args = { };
	int first, fd, err;
	uint64_t size = 0;
	char *dir, *human;
	const char *path;

	parse_args(&argp, argc, argv, &first, &args);
	if (argc - first != 1)
		fatal(EX_USAGE, "store needs one file");
	if (isatty(STDIN_FILENO))
		fatal(EX_USAGE, "store takes what it stores from standard input, which is a terminal");
	path = argv[first];
	dir = directory(path);
	path_need_node(dir);
	/* Before all is read for nothing. */
	if (!args.force && !access(path, F_OK))
		fatal(EX_FAILED, "%s is there already; --force replaces it", path);
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", dir, strerror(errno));
	free(dir);
	err = store(fd, &size);
	if (!err)
		err = name_file(fd, path, args.force);
	close(fd);
	if (err)
		fatal(EX_FAILED, "%s: %s: nothing is stored", path, strerror(-err));
	if (args.owner && tags_write(path, args.owner, "gmfs-numa"))
		warning("%s: it has no owner", path);
	human = format_size(size);
	warning("%s: %s", path, human);
	free(human);
	return EX_OK;
}

static int load(int fd, uint64_t size)
{
	uint64_t at, done, part;
	ssize_t put = 0;
	char *window;

	for (at = 0; at < size && put >= 0; at += part) {
		part = size - at < WINDOW ? size - at : WINDOW;
		window = mmap(NULL, part, PROT_READ, MAP_SHARED, fd, at);
		if (window == MAP_FAILED)
			return -errno;
		for (done = 0; done < part && put >= 0; done += put) {
			put = write(STDOUT_FILENO, window + done, part - done);
			if (put < 0 && errno == EINTR)
				put = 0;
		}
		munmap(window, part);
	}
	return put < 0 ? -errno : 0;
}

int cmd_load(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "remove", 'r', NULL, 0, "remove FILE when all of it is written", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "FILE",
		"Write what store has kept to standard output: for QEMU, -incoming"
		" \"exec:gmfs-numa load FILE\".", NULL, NULL, NULL };
	struct arguments args = { };
	int first, fd, err;
	struct stat st;

	parse_args(&argp, argc, argv, &first, &args);
	if (argc - first != 1)
		fatal(EX_USAGE, "load needs one file");
	path_need_node(argv[first]);
	fd = open(argv[first], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		fatal(EX_FAILED, "%s: %s", argv[first], strerror(errno));
	if (!S_ISREG(st.st_mode))
		fatal(EX_FAILED, "%s is no file", argv[first]);
	err = load(fd, st.st_size);
	close(fd);
	if (err)
		fatal(EX_FAILED, "%s could not be written to standard output: %s", argv[first],
		      strerror(-err));
	if (args.remove && unlink(argv[first]))
		fatal(EX_FAILED, "%s: %s", argv[first], strerror(errno));
	return EX_OK;
}
