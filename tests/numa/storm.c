// SPDX-License-Identifier: GPL-2.0
/*
 * A storm of operations, and what a kexec in the middle of it has left.
 *
 *	storm run DIR SHARED LOG ID	operate until the kernel ends, or the log
 *	storm verify DIR SHARED LOG ID REFERENCE
 *					do the same again in REFERENCE, on another
 *					file system, and compare
 *
 * All operations follow from ID, so the log needs to have only how many were
 * started and finished, and how each of them ended. It is a mapping: it says
 * what happened up to the last instruction. SHARED is a directory that others
 * work in too, with names of their own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/guestmemfs.h>

#define PAGE		4096UL
#define MIB		1048576UL
#define BLOCK		(2 * MIB)
#define ROOM		(5 * MIB)	/* no file is larger */
#define LOG_SIZE	(4 * MIB)

#define ARRAY_SIZE(x)	(sizeof(x) / sizeof((x)[0]))

struct log {
	volatile uint64_t started;
	volatile uint64_t finished;
	volatile uint8_t result[];	/* errno of each that is finished */
};

#define LOG_ROOM	(LOG_SIZE - sizeof(struct log))

#define LONG_NAME	"a name that is long enough to take several slots in a directory, and " \
			"that comes and goes like the others, so that some are free in between"

/* Where a worker's names are; those in SHARED get its number before. */
static const char * const names[] = {
	"a", "b", "c", "d", "a/x", "a/y", "b/x", "b/y", "c/x", "d/x",
	"a/x/1", "a/x/2", "b/x/1", LONG_NAME,
};

#define NR_NAMES	ARRAY_SIZE(names)
#define NR_SHARED	6
#define NR_PATHS	(NR_NAMES + NR_SHARED)

static const char * const xattrs[] = { "user.one", "user.two", "trusted.three" };

#define NR_XATTRS	ARRAY_SIZE(xattrs)

static int top, shared;		/* directories */
static unsigned int id;
static uint64_t random_state;
static char value[20000];
static bool is_reference;	/* another file system */
static unsigned int exchanges;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state >> 11;
}

static unsigned int below(unsigned int end)
{
	return next_random() % end;
}

static _Noreturn void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "storm %u: ", id);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	exit(1);
}

struct place {
	int dir;
	char name[300];
};

static struct place place(unsigned int nr)
{
	struct place p;

	if (nr < NR_NAMES) {
		p.dir = top;
		snprintf(p.name, sizeof(p.name), "%s", names[nr]);
	} else {
		p.dir = shared;
		snprintf(p.name, sizeof(p.name), "of %u, %u", id, nr);
	}
	return p;
}

static int done(int result)
{
	return result < 0 ? errno : 0;
}

static int closed(int fd)
{
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* By descriptor: the calls for extended attributes know no directories. */
static int change_xattr(const struct place *p, const char *name, long size)
{
	int fd = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	int err;

	if (fd < 0)
		return errno;
	err = done(size < 0 ? fremovexattr(fd, name) : fsetxattr(fd, name, value, size, 0));
	close(fd);
	return err;
}

static int stamp(const struct place *p, uint64_t number, uint64_t where)
{
	int fd = openat(p->dir, p->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
	uint64_t *mem;
	struct stat st;
	int err = 0;

	if (fd < 0)
		return errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (off_t)PAGE) {
		close(fd);
		return 0;
	}
	mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   where % (st.st_size / PAGE) * PAGE);
	if (mem == MAP_FAILED)
		err = errno;
	else
		*mem = number;
	munmap(mem, PAGE);
	close(fd);
	return err;
}

/* A regular file, from the path of that number on. Or -1. */
static int open_regular(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < NR_PATHS; i++) {
		struct place p = place((nr + i) % NR_PATHS);
		int fd = openat(p.dir, p.name, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
		struct stat st;

		if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -1;
}

/* What the ioctl does, on a file system that does not have it. */
static void exchange_by_copy(int to, const struct guestmemfs_exchange_range *range,
			     off_t mine, off_t theirs)
{
	static char a[ROOM], b[ROOM];
	bool whole = range->flags & GUESTMEMFS_EXCHANGE_RANGE_TO_EOF;
	int from = range->file1_fd;

	if (pread(from, a, mine, range->file1_offset) != mine ||
	    pread(to, b, theirs, range->file2_offset) != theirs ||
	    pwrite(from, b, theirs, range->file1_offset) != theirs ||
	    pwrite(to, a, mine, range->file2_offset) != mine ||
	    (whole && (ftruncate(from, theirs) || ftruncate(to, mine))))
		die("reference: %m");
}

/* All of two files, or a block if both have it. */
static int exchange_open(int from, int to, uint64_t arg)
{
	struct guestmemfs_exchange_range range = { .file1_fd = from };
	struct stat one, two;

	if (fstat(from, &one) || fstat(to, &two))
		return errno;
	if (one.st_ino == two.st_ino || !one.st_size || !two.st_size)
		return 0;
	if (arg % 2 && one.st_size >= (off_t)(2 * BLOCK) && two.st_size >= (off_t)(2 * BLOCK)) {
		range.file1_offset = arg / 2 % 2 * BLOCK;
		range.file2_offset = arg / 4 % 2 * BLOCK;
		range.length = BLOCK;
		one.st_size = BLOCK;
		two.st_size = BLOCK;
	} else {
		range.flags = GUESTMEMFS_EXCHANGE_RANGE_TO_EOF;
	}
	exchanges++;
	if (!is_reference)
		return done(ioctl(to, GUESTMEMFS_IOC_EXCHANGE_RANGE, &range));
	exchange_by_copy(to, &range, one.st_size, two.st_size);
	return 0;
}

static int exchange(uint64_t arg)
{
	int from = open_regular(arg % NR_PATHS), to = open_regular(arg / NR_PATHS % NR_PATHS);
	int err = from < 0 || to < 0 ? 0 : exchange_open(from, to, arg / NR_PATHS / NR_PATHS);

	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return err;
}

static int tmpfile_link(const struct place *p)
{
	int fd = openat(p->dir, ".", O_TMPFILE | O_RDWR, 0640);
	char path[40];
	int err;

	if (fd < 0)
		return errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = done(ftruncate(fd, MIB));
	if (!err)
		err = done(linkat(AT_FDCWD, path, p->dir, p->name, AT_SYMLINK_FOLLOW));
	close(fd);
	return err;
}

static int operate(uint64_t number)
{
	struct place p, q;
	unsigned int what;
	uint64_t arg;
	int fd, err;

	/* Each by itself, so that one more or less changes no other. */
	random_state = (number + 1) * 0x9e3779b97f4a7c15ULL + id;
	next_random();
	what = below(23);
	p = place(below(NR_PATHS));
	q = place(below(NR_PATHS));
	arg = next_random();

	switch (what) {
	case 0:
	case 1:
		return closed(openat(p.dir, p.name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0640));
	case 2:
	case 3:
		return done(mkdirat(p.dir, p.name, 0750));
	case 4:
		return done(symlinkat(names[arg % NR_NAMES], p.dir, p.name));
	case 5:
		return done(mknodat(p.dir, p.name, S_IFIFO | 0600, 0));
	case 6:
		return done(mknodat(p.dir, p.name, S_IFBLK | 0600,
				    makedev(arg % 4096, arg % 77777)));
	case 7:
		return done(linkat(p.dir, p.name, q.dir, q.name, 0));
	case 8:
	case 9:
		return done(unlinkat(p.dir, p.name, 0));
	case 10:
		return done(unlinkat(p.dir, p.name, AT_REMOVEDIR));
	case 11:
	case 12:
		return done(renameat(p.dir, p.name, q.dir, q.name));
	case 13:
		return done(renameat2(p.dir, p.name, q.dir, q.name, RENAME_EXCHANGE));
	case 14:
		return done(renameat2(p.dir, p.name, q.dir, q.name,
				      arg % 2 ? RENAME_NOREPLACE : RENAME_WHITEOUT));
	case 15:
		return done(fchmodat(p.dir, p.name, arg % 010000, 0));
	case 16:
		return done(fchownat(p.dir, p.name, arg % 1000, arg % 77, AT_SYMLINK_NOFOLLOW));
	case 17:
		return change_xattr(&p, xattrs[arg % NR_XATTRS], arg / NR_XATTRS % sizeof(value));
	case 18:
		return change_xattr(&p, xattrs[arg % NR_XATTRS], -1);
	case 19:
		fd = openat(p.dir, p.name, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0)
			return errno;
		err = done(ftruncate(fd, arg % ROOM));
		close(fd);
		return err;
	case 20:
		return stamp(&p, number, arg);
	case 21:
		return exchange(arg);
	default:
		return tmpfile_link(&p);
	}
}

/* What is there, as text. Times are not the same on another file system. */
static char *look(void)
{
	static char target[PAGE];
	size_t room = 1 << 16, size, i, n;
	char *text = malloc(room);
	FILE *out = open_memstream(&text, &size);
	uint64_t *mem;
	off_t at;

	for (i = 0; i < NR_PATHS; i++) {
		struct place p = place(i);
		struct stat st;
		int fd;

		if (fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		fprintf(out, "%s: %o %u:%u %lu links, %jd bytes, device %x:%x", p.name, st.st_mode,
			st.st_uid, st.st_gid, (unsigned long)st.st_nlink,
			S_ISDIR(st.st_mode) ? 0 : (intmax_t)st.st_size,
			major(st.st_rdev), minor(st.st_rdev));
		if (S_ISLNK(st.st_mode)) {
			ssize_t len = readlinkat(p.dir, p.name, target, sizeof(target));

			fprintf(out, " -> %.*s", (int)len, target);
		}
		fd = -1;
		if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISFIFO(st.st_mode))
			fd = openat(p.dir, p.name, O_RDWR | O_NONBLOCK);
		if (fd < 0 && S_ISDIR(st.st_mode))
			fd = openat(p.dir, p.name, O_RDONLY);
		for (n = 0; fd >= 0 && n < NR_XATTRS; n++) {
			static char got[sizeof(value)];
			ssize_t len = fgetxattr(fd, xattrs[n], got, sizeof(got));

			if (len >= 0)
				fprintf(out, ", %s %zd%s", xattrs[n], len,
					memcmp(got, value, len) ? " wrong" : "");
		}
		if (S_ISREG(st.st_mode) && st.st_size >= (off_t)PAGE) {
			mem = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
			if (mem == MAP_FAILED)
				die("%s cannot be mapped: %m", p.name);
			for (at = 0; at < (off_t)(st.st_size / PAGE); at++)
				if (mem[at * PAGE / sizeof(*mem)])
					fprintf(out, ", %ju is %ju", (uintmax_t)at,
						(uintmax_t)mem[at * PAGE / sizeof(*mem)]);
			munmap(mem, st.st_size);
		}
		if (fd >= 0)
			close(fd);
		fprintf(out, "\n");
	}
	fclose(out);
	return text;
}

static void run(struct log *log)
{
	uint64_t i;

	printf("storming\n");
	fflush(stdout);
	for (i = 0; i < LOG_ROOM; i++) {
		log->started = i + 1;
		log->result[i] = operate(i);
		log->finished = i + 1;
	}
	pause();
}

static void verify(struct log *log, const char *reference)
{
	uint64_t i, finished = log->finished, errors = 0;
	char *found = look(), *wanted;
	int err;

	if (log->started != finished && log->started != finished + 1)
		die("%ju started, %ju finished", (uintmax_t)log->started, (uintmax_t)finished);
	top = openat(AT_FDCWD, reference, O_RDONLY | O_DIRECTORY);
	if (top < 0 || mkdirat(top, "own", 0755) || mkdirat(top, "shared", 0755))
		die("%s: %m", reference);
	shared = openat(top, "shared", O_RDONLY | O_DIRECTORY);
	top = openat(top, "own", O_RDONLY | O_DIRECTORY);
	is_reference = true;

	for (i = 0; i < finished; i++) {
		err = operate(i);
		errors += !!err;
		if (err != log->result[i])
			die("operation %ju: %s, should have been %s", (uintmax_t)i,
			    strerror(log->result[i]), strerror(err));
	}
	wanted = look();
	if (strcmp(found, wanted) && log->started > finished) {
		operate(finished);
		wanted = look();
	}
	if (strcmp(found, wanted))
		die("after %ju operations there is\n%s\nand there should be\n%s",
		    (uintmax_t)finished, found, wanted);
	printf("verified=%ju operations, %ju of them errors, %u exchanges, %s\n",
	       (uintmax_t)finished, (uintmax_t)errors, exchanges,
	       log->started > finished ? "one under way" : "none under way");
}

int main(int argc, char **argv)
{
	struct log *log;
	size_t i;
	int fd;

	if (argc < 6)
		die("wrong usage");
	top = open(argv[2], O_RDONLY | O_DIRECTORY);
	shared = open(argv[3], O_RDONLY | O_DIRECTORY);
	fd = open(argv[4], O_RDWR | O_CREAT, 0600);
	id = atoi(argv[5]);
	if (top < 0 || shared < 0 || fd < 0 || ftruncate(fd, LOG_SIZE))
		die("%m");
	log = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED)
		die("%s: %m", argv[4]);
	umask(022);
	for (i = 0; i < sizeof(value); i++)
		value[i] = i * 13 + (i >> 8);

	if (!strcmp(argv[1], "run"))
		run(log);
	else if (argc == 7)
		verify(log, argv[6]);
	return 0;
}
