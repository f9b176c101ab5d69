// SPDX-License-Identifier: GPL-2.0
/*
 * Files of guestmemfs: finding them.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <linux/guestmemfs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "gmfs-numa.h"

/*
 * A walk goes by descriptors: whoever may write to a directory can put something else
 * in its place at any moment. All that it opens is of one node.
 */
struct walk {
	void (*fn)(const struct file *file, void *arg);
	void *arg;
	int nid;
	dev_t dev;
	struct level *level;
	char *path;		/* of what is looked at, only to be shown */
	size_t length;
	uint64_t nr_inodes;	/* that were seen, without those in linked */
	ino_t *linked;		/* of files with several names, once for each that was seen */
	size_t nr_linked;
	int status;
};

struct level {
	struct level *up;
	int fd;
	size_t length;		/* of the directory's path */
	char **names;
	size_t nr;
	size_t next;
};

static void complain(struct walk *walk, int err)
{
	warning("%s: %s", walk->path, strerror(err));
	walk->status = EX_FAILED;
}

static void set_path(struct walk *walk, size_t length, const char *name)
{
	bool slash = length && walk->path[length - 1] != '/';

	walk->path = xrealloc(walk->path, length + strlen(name) + 2);
	sprintf(walk->path + length, "%s%s", slash ? "/" : "", name);
	walk->length = length + slash + strlen(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns 0 or errno. */
static int read_names(struct level *level)
{
	int fd = openat(level->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return errno;
	while (errno = 0, (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		/* Room for twice as many at each power of two. */
		if (!(level->nr & (level->nr - 1)))
			level->names = xrealloc(level->names,
						2 * (level->nr + 1) * sizeof(*level->names));
		level->names[level->nr++] = xstrdup(entry->d_name);
	}
	err = errno;
	closedir(dir);
	if (level->nr)
		qsort(level->names, level->nr, sizeof(*level->names), by_name);
	return err;
}

static bool is_of_node(const struct walk *walk, int fd)
{
	struct statfs fs;
	struct stat st;

	return !fstatfs(fd, &fs) && fs.f_type == GUESTMEMFS_MAGIC && !fstat(fd, &st) &&
	       st.st_dev == walk->dev;
}

static void enter(struct walk *walk, int place)
{
	struct level *level;
	int fd, err;

	fd = openat(place, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		complain(walk, errno);
		return;
	}
	if (!is_of_node(walk, fd)) {
		close(fd);
		return;
	}
	level = xcalloc(1, sizeof(*level));
	*level = (struct level){ .up = walk->level, .fd = fd, .length = walk->length };
	walk->level = level;
	err = read_names(level);
	if (err)
		complain(walk, err);
}

static void leave(struct walk *walk)
{
	struct level *level = walk->level;
	size_t i;

	walk->level = level->up;
	for (i = 0; i < level->nr; i++)
		free(level->names[i]);
	free(level->names);
	close(level->fd);
	free(level);
}

static void count_inode(struct walk *walk, const struct stat *st)
{
	if (S_ISDIR(st->st_mode) || st->st_nlink < 2) {
		walk->nr_inodes++;
		return;
	}
	/* Room for twice as many at each power of two. */
	if (!(walk->nr_linked & (walk->nr_linked - 1)))
		walk->linked = xrealloc(walk->linked,
					2 * (walk->nr_linked + 1) * sizeof(*walk->linked));
	walk->linked[walk->nr_linked++] = st->st_ino;
}

static int by_number(const void *a, const void *b)
{
	ino_t one = *(const ino_t *)a, other = *(const ino_t *)b;

	return one < other ? -1 : one > other;
}

/* Inodes of all types with a name, each counted once. */
static uint64_t inodes_seen(struct walk *walk)
{
	uint64_t nr = walk->nr_inodes;
	size_t i;

	if (walk->nr_linked)
		qsort(walk->linked, walk->nr_linked, sizeof(*walk->linked), by_number);
	for (i = 0; i < walk->nr_linked; i++)
		nr += !i || walk->linked[i] != walk->linked[i - 1];
	return nr;
}

/* @place is what O_PATH has found as @name in @dir. */
static void look(struct walk *walk, int dir, const char *name, int place)
{
	struct file file = { .path = walk->path, .name = name, .dir = dir, .nid = walk->nid };
	struct stat st;

	if (fstat(place, &st)) {
		complain(walk, errno);
		return;
	}
	if (is_of_node(walk, place))
		count_inode(walk, &st);
	if (S_ISDIR(st.st_mode)) {
		enter(walk, place);
	} else if (S_ISREG(st.st_mode) && is_of_node(walk, place)) {
		file.st = &st;
		file.place = place;
		walk->fn(&file, walk->arg);
	}
}

/* A file that was removed since is not missing. A mount there is not the node's. */
static void look_below(struct walk *walk, const struct level *level, const char *name)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	int place = syscall(SYS_openat2, level->fd, name, &how, sizeof(how));

	set_path(walk, level->length, name);
	if (place >= 0) {
		look(walk, level->fd, name, place);
		close(place);
	} else if (errno != ENOENT && errno != EXDEV) {
		complain(walk, errno);
	}
}

/* Each level has a descriptor. */
static void walk_all(struct walk *walk, int dir, const char *name, int place)
{
	struct rlimit limit = { }, more;
	struct level *level;

	getrlimit(RLIMIT_NOFILE, &limit);
	more = (struct rlimit){ limit.rlim_max, limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &more);
	look(walk, dir, name, place);
	while ((level = walk->level)) {
		if (level->next < level->nr)
			look_below(walk, level, level->names[level->next++]);
		else
			leave(walk);
	}
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int walk_from(const char *path, int dir, const char *name, int place, int nid,
		     void (*fn)(const struct file *file, void *arg), void *arg,
		     uint64_t *nr_inodes)
{
	struct walk walk = { .fn = fn, .arg = arg, .nid = nid };
	struct stat st;

	set_path(&walk, 0, path);
	if (fstat(place, &st)) {
		complain(&walk, errno);
	} else {
		walk.dev = st.st_dev;
		walk_all(&walk, dir, name, place);
	}
	if (nr_inodes)
		*nr_inodes = inodes_seen(&walk);
	free(walk.linked);
	free(walk.path);
	return walk.status;
}

int files_walk_mount(int fd, const char *path, int nid,
		     void (*fn)(const struct file *file, void *arg), void *arg,
		     uint64_t *nr_inodes)
{
	return walk_from(path, AT_FDCWD, path, fd, nid, fn, arg, nr_inodes);
}

/* Something else can be mounted over it. */
static int open_mount(struct libmnt_fs *fs)
{
	int fd = open(mnt_fs_get_target(fs), O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs statfs_buf;
	struct stat st;

	if (fd >= 0 && !fstatfs(fd, &statfs_buf) && statfs_buf.f_type == GUESTMEMFS_MAGIC &&
	    !fstat(fd, &st) && st.st_dev == mnt_fs_get_devno(fs))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int mount_with(int nid, bool read_only)
{
	char *number = xasprintf("%d", nid);
	int context = fsopen("guestmemfs", FSOPEN_CLOEXEC), fd = -1, err;

	if (context >= 0 && !fsconfig(context, FSCONFIG_SET_STRING, "node", number, 0) &&
	    (!read_only || !fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0)) &&
	    !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			     MOUNT_ATTR_NOEXEC);
	err = -errno;
	if (context >= 0)
		close(context);
	free(number);
	return fd < 0 ? err : fd;
}

int node_mount_privately(int nid)
{
	int fd = mount_with(nid, false);

	/* It is mounted read-only elsewhere. */
	return fd == -EBUSY || fd == -EROFS ? mount_with(nid, true) : fd;
}

/* All mounts of a node have the same files, except mounts of one of its directories. */
static int walk_node(int nid, void (*fn)(const struct file *file, void *arg), void *arg)
{
	struct libmnt_table *table = mounts_read();
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	bool mounted = false;
	struct libmnt_fs *fs;
	int fd = -1, status = EX_OK;

	while (fd < 0 && (fs = mounts_next(table, iter))) {
		if (fs_node(fs) != nid)
			continue;
		mounted = true;
		if (!strcmp(mnt_fs_get_root(fs), "/"))
			fd = open_mount(fs);
	}
	if (fd >= 0) {
		status = files_walk_mount(fd, mnt_fs_get_target(fs), nid, fn, arg, NULL);
		close(fd);
	} else if (mounted) {
		warning("node %d: its files are not seen: something is mounted over it, or only a directory of it is mounted",
			nid);
		status = EX_FAILED;
	}
	mnt_free_iter(iter);
	mnt_unref_table(table);
	return status;
}

/* A link is not followed: a pattern can name a link that another user made. */
static int walk_path(const char *path, void (*fn)(const struct file *file, void *arg), void *arg)
{
	char *parent, *name;
	int dir, place, nid, status;
	struct stat st;

	path_split(path, &parent, &name);
	dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	place = dir < 0 ? -1 : openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (place < 0)
		fatal(EX_FAILED, "%s: %s", path, strerror(errno));
	if (!fstat(place, &st) && S_ISLNK(st.st_mode))
		fatal(EX_FAILED, "%s is a symbolic link, which is not followed", path);
	nid = fd_node(place);
	if (nid < 0)
		fatal(EX_FAILED, "%s: %s", path, fd_node_error());
	status = walk_from(path, dir, name, place, nid, fn, arg, NULL);
	close(place);
	close(dir);
	free(parent);
	free(name);
	return status;
}

int files_walk(int argc, char **argv, void (*fn)(const struct file *file, void *arg), void *arg)
{
	struct nodes *nodes;
	int a, status = EX_OK;
	size_t i;

	if (argc && strchr(argv[0], '/')) {
		for (a = 0; a < argc; a++)
			if (walk_path(argv[a], fn, arg))
				status = EX_FAILED;
		return status;
	}
	nodes = nodes_select(argc, argv);
	for (i = 0; i < nodes->nr; i++)
		if (walk_node(nodes->node[i].nid, fn, arg))
			status = EX_FAILED;
	nodes_free(nodes);
	return status;
}
