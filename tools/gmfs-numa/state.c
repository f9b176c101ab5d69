// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-state store and load: what is no guest's memory and has to survive a kexec as
 * well, such as the state of a virtual machine's devices. Files of guestmemfs can
 * only be mapped; these are the ends of a pipe.
 *
 * It is a program of its own, as VMMs run it by their own users: it needs no privilege
 * but to write to the directory, and no library but libc.
 */

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* How much of the file is given memory, and mapped, at a time: a block. */
#define WINDOW	(2ULL << 20)
/* As much as a pipe holds by default. */
#define PIECE	(64ULL << 10)

/* What is behind the name of a file that store --force has replaced. */
#define REPLACED	".replaced"

/* Room for a name that no process can have made before. */
#define TEMP_MAX	64

/* How often a name is tried to be given that comes and goes. */
#define MAX_TRIES	10

struct arguments {
	bool force;
	bool remove;
	const char *owner;
};

/* Where the file is going to be. The directory is opened once, whoever may move it. */
struct place {
	const char *path;
	char *name;
	int dir;
};

static void find_place(struct place *place, const char *path)
{
	char *dir;
	int nid;

	path_split(path, &dir, &place->name);
	place->path = path;
	place->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (place->dir < 0)
		fatal(EX_FAILED, "%s: %s", dir, strerror(errno));
	nid = fd_node(place->dir);
	if (nid < 0)
		fatal(EX_FAILED, "%s: %s", dir, fd_node_error());
	if (node_is_frozen(nid))
		fatal(EX_FAILED, "%s: node %d is frozen: gmfs-numa thaw %d", path, nid, nid);
	free(dir);
}

static char *replaced_name(const char *name)
{
	return xasprintf("%s" REPLACED, name);
}

/* Is there a file of that name? Anything else is in the way. */
static bool is_file_there(const struct place *place, const char *name, const char *suffix)
{
	struct stat st;

	if (fstatat(place->dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (errno != ENOENT)
			fatal(EX_FAILED, "%s%s: %s", place->path, suffix, strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode))
		fatal(EX_FAILED, "%s%s is there already, and is no file", place->path, suffix);
	return true;
}

/* Before all is read for nothing. Only a file is replaced. */
static void check_place(const struct place *place, bool force)
{
	char *old = replaced_name(place->name);

	if (!strcmp(place->name, ".") || !strcmp(place->name, ".."))
		fatal(EX_USAGE, "%s is a directory, and no file", place->path);
	if (is_file_there(place, place->name, "")) {
		if (!force)
			fatal(EX_FAILED, "%s is there already; --force replaces it", place->path);
		is_file_there(place, old, REPLACED);
	}
	free(old);
}

/* Up to @size bytes of standard input; 0 at its end, or -errno. */
static ssize_t read_some(void *data, size_t size)
{
	ssize_t got;

	do {
		got = read(STDIN_FILENO, data, size);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Gives the file @room bytes a window more, and maps it in place of *@window. 0 or -errno. */
static int add_window(int fd, uint64_t *room, char **window)
{
	int err = posix_fallocate(fd, *room, WINDOW);
	char *map;

	if (err)
		return -err;
	map = mmap(*window, WINDOW, PROT_READ | PROT_WRITE,
		   MAP_SHARED | (*window ? MAP_FIXED : 0), fd, *room);
	if (map == MAP_FAILED)
		return -errno;
	*window = map;
	*room += WINDOW;
	return 0;
}

/*
 * Returns 0 or -errno; @size is what was read. QEMU does not look at the status of the
 * command, but at whether it can write: so there is room for the first window before
 * anything is read, and for each other one before more than a piece of it is.
 */
static int store(int fd, uint64_t *size)
{
	char *data = xmalloc(PIECE), *window = NULL;
	uint64_t room = 0, left;
	ssize_t got = 0;
	int err;

	*size = 0;
	err = add_window(fd, &room, &window);
	while (!err) {
		left = room - *size;
		got = read_some(data, left && left < PIECE ? left : PIECE);
		if (got <= 0)
			break;
		if (!left)
			err = add_window(fd, &room, &window);
		if (!err)
			memcpy(window + (*size + WINDOW - room), data, got);
		*size += got;
	}
	if (window)
		munmap(window, WINDOW);
	free(data);
	if (!err && got < 0)
		err = got;
	if (!err && ftruncate(fd, *size))
		err = -errno;
	return err;
}

/* A name that no process can have made before, for the file @from. 0 or -errno. */
static int link_hidden(const char *from, const struct place *place, char temp[static TEMP_MAX])
{
	uint64_t number;
	int err;

	do {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return -errno;
		snprintf(temp, TEMP_MAX, ".gmfs-numa-%016jx", (uintmax_t)number);
		err = linkat(AT_FDCWD, from, place->dir, temp, AT_SYMLINK_FOLLOW) ? -errno : 0;
	} while (err == -EEXIST);
	return err;
}

/* Keeps what was there: its sender could have been killed, and has had no more to say. */
static int keep_old(const struct place *place, const char *temp)
{
	char *old = replaced_name(place->name);
	struct stat st;
	int err = 0;

	if (fstatat(place->dir, temp, &st, AT_SYMLINK_NOFOLLOW))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EEXIST;
	else if (renameat(place->dir, temp, place->dir, old))
		err = -errno;
	free(old);
	return err;
}

/*
 * Puts the file in place of another. Who owns the directory can change it at any
 * moment: the two names are exchanged, so that what turns out to be no file goes back.
 */
static int replace_file(const char *from, const struct place *place)
{
	char temp[TEMP_MAX];
	int err = link_hidden(from, place, temp);

	if (err)
		return err;
	if (renameat2(place->dir, temp, place->dir, place->name, RENAME_EXCHANGE)) {
		err = -errno;
	} else {
		err = keep_old(place, temp);
		if (err)
			renameat2(place->dir, temp, place->dir, place->name, RENAME_EXCHANGE);
	}
	if (err)
		unlinkat(place->dir, temp, 0);
	return err;
}

static bool has_name(int fd, const struct place *place)
{
	struct stat st, named;

	return !fstat(fd, &st) && !fstatat(place->dir, place->name, &named, AT_SYMLINK_NOFOLLOW) &&
	       st.st_dev == named.st_dev && st.st_ino == named.st_ino;
}

/* Give the file a name, now that it is complete. 0 or -errno. */
static int name_file(int fd, const struct place *place, bool force)
{
	char *from = xasprintf("/proc/self/fd/%d", fd);
	unsigned int tries = 0;
	int err;

	do {
		err = linkat(AT_FDCWD, from, place->dir, place->name, AT_SYMLINK_FOLLOW) ?
		      -errno : 0;
		if (err == -EEXIST && force)
			err = replace_file(from, place);
		/* What was to be replaced can go, and come back. */
	} while (err == -ENOENT && force && ++tries < MAX_TRIES);
	free(from);
	if (!err && !has_name(fd, place))
		err = -ESTALE;
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

/* The file has no name until it is complete, so an error leaves no file. */
static int state_store(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "force", 'f', NULL, 0,
		  "replace FILE if it is there; it stays as FILE" REPLACED, 0 },
		{ "owner", 'O', "ID", 0, "tag it with that owner", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "FILE",
		"Read standard input to its end, and keep it in FILE on a node, over kexec: for QEMU,"
		" migrate \"exec:gmfs-numa store FILE\". FILE is there when all of it is.",
		NULL, NULL, NULL };
	struct arguments args = { };
	struct place place;
	uint64_t size = 0;
	int first, fd, err;
	char *human;

	parse_args(&argp, argc, argv, &first, &args);
	if (argc - first != 1)
		fatal(EX_USAGE, "store needs one file");
	if (isatty(STDIN_FILENO))
		fatal(EX_USAGE, "store reads standard input, which is a terminal");
	tag_check("--owner", args.owner);
	find_place(&place, argv[first]);
	check_place(&place, args.force);
	fd = openat(place.dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", place.path, strerror(errno));
	err = store(fd, &size);
	if (!err && args.owner)
		err = tags_write(fd, args.owner, "gmfs-numa");
	if (!err)
		err = name_file(fd, &place, args.force);
	close(fd);
	if (err)
		fatal(EX_FAILED, "%s: %s: no state is stored", place.path, err == -ESTALE ?
		      "another file has this name now" : strerror(-err));
	human = format_size(size);
	warning("%s: %s", place.path, human);
	free(human);
	close(place.dir);
	free(place.name);
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

/* Only if its name is still that of what was written: it can be another's by now. */
static void remove_loaded(const char *path, const struct stat *st)
{
	struct stat named;
	char *dir, *name, *replaced;
	int fd;

	path_split(path, &dir, &name);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstatat(fd, name, &named, AT_SYMLINK_NOFOLLOW))
		fatal(EX_FAILED, "%s: it is written, and not removed: %s", path, strerror(errno));
	if (named.st_dev != st->st_dev || named.st_ino != st->st_ino)
		fatal(EX_FAILED, "%s: it is written, and not removed: another file has its name now",
		      path);
	replaced = replaced_name(name);
	if (unlinkat(fd, name, 0) || (unlinkat(fd, replaced, 0) && errno != ENOENT &&
				      errno != ENAMETOOLONG))
		fatal(EX_FAILED, "%s: it is written, and not removed: %s", path, strerror(errno));
	close(fd);
	free(replaced);
	free(dir);
	free(name);
}

static int state_load(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "remove", 'r', NULL, 0,
		  "remove FILE, and FILE" REPLACED ", when all of it is written", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "FILE",
		"Write a stored state to standard output: for QEMU with -incoming defer,"
		" migrate_incoming \"exec:gmfs-numa load FILE\".", NULL, NULL, NULL };
	struct arguments args = { };
	int first, fd, nid, err;
	struct stat st;

	parse_args(&argp, argc, argv, &first, &args);
	if (argc - first != 1)
		fatal(EX_USAGE, "load needs one file");
	if (isatty(STDOUT_FILENO))
		fatal(EX_USAGE, "load writes to standard output, which is a terminal");
	fd = file_open(argv[first], &nid);
	if (fd < 0 || fstat(fd, &st))
		fatal(EX_FAILED, "%s: %s", argv[first], file_open_error());
	err = load(fd, st.st_size);
	close(fd);
	/* Only close() says whether a file system that is elsewhere has it. */
	if (!err && close(STDOUT_FILENO))
		err = -errno;
	if (err)
		fatal(EX_FAILED, "%s could not be written to standard output: %s", argv[first],
		      strerror(-err));
	/* For what is printed, or was not, when the program ends. */
	if (open("/dev/null", O_WRONLY) != STDOUT_FILENO)
		fatal(EX_FAILED, "/dev/null: %s", strerror(errno));
	if (args.remove)
		remove_loaded(argv[first], &st);
	return EX_OK;
}

static const char usage[] =
	"Usage: gmfs-state store [OPTION...] FILE < STATE\n"
	"       gmfs-state load [OPTION...] FILE > STATE\n"
	"Store the state of a virtual machine in a file of a node, over kexec, and load it.\n"
	"gmfs-state COMMAND --help has the options, gmfs-numa(8) describes them.\n";

/* As argv[0] is, whose messages these are: gmfs-numa executes it. */
int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	bool stores = !strcmp(command, "store");

	occupy_standard_streams();
	program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	setlocale(LC_CTYPE, "");
	atexit(close_stdout);
	if (!strcmp(command, "--version") || !strcmp(command, "-V")) {
		puts("gmfs-state " GMFS_NUMA_VERSION);
		return EX_OK;
	}
	if (!strcmp(command, "--help") || !strcmp(command, "-h")) {
		fputs(usage, stdout);
		return EX_OK;
	}
	if (!stores && strcmp(command, "load"))
		fatal(EX_USAGE, "say store or load: %s --help", program);
	/* What messages of argp start with. */
	argv[1] = xasprintf("%s %s", program, command);
	return stores ? state_store(argc - 1, argv + 1) : state_load(argc - 1, argv + 1);
}
