// SPDX-License-Identifier: GPL-2.0
/*
 * Files of guestmemfs: finding them, where their memory is, and whose they are.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* What one call of the ioctl asks for. */
#define EXTENTS	512

ssize_t file_pieces(int fd, struct piece **pieces)
{
	struct fiemap *map = xcalloc(1, sizeof(*map) + EXTENTS * sizeof(map->fm_extents[0]));
	uint64_t start = 0;
	ssize_t nr = 0;
	bool last = false;
	unsigned int i;

	*pieces = NULL;
	while (!last) {
		map->fm_start = start;
		map->fm_length = FIEMAP_MAX_OFFSET - start;
		map->fm_extent_count = EXTENTS;
		if (ioctl(fd, FS_IOC_FIEMAP, map)) {
			nr = -errno;
			break;
		}
		last = !map->fm_mapped_extents;
		*pieces = xrealloc(*pieces, (nr + map->fm_mapped_extents) * sizeof(**pieces));
		for (i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *extent = &map->fm_extents[i];

			(*pieces)[nr++] = (struct piece){
				.offset = extent->fe_logical,
				.phys = extent->fe_physical,
				.size = extent->fe_length,
				.known = !(extent->fe_flags & FIEMAP_EXTENT_UNKNOWN),
			};
			start = extent->fe_logical + extent->fe_length;
			last = extent->fe_flags & FIEMAP_EXTENT_LAST;
		}
	}
	free(map);
	if (nr < 0) {
		free(*pieces);
		*pieces = NULL;
	}
	return nr;
}

uint64_t piece_giant_bytes(const struct piece *piece)
{
	const uint64_t giant = 1ULL << 30;
	uint64_t skip = -piece->phys % giant;

	/* A leaf needs the file's offset to match as well. */
	if (!piece->known || (piece->phys - piece->offset) % giant || piece->size < skip)
		return 0;
	return (piece->size - skip) / giant * giant;
}

/* Only ENODATA says that there is none: whatever else happens is kept in tags->err. */
static char *get_tag(struct tags *tags, const char *path, const char *name)
{
	char *value = xmalloc(XATTR_SIZE_MAX + 1);
	ssize_t len = getxattr(path, name, value, XATTR_SIZE_MAX);

	if (len < 0 && errno != ENODATA)
		tags->err = -errno;
	if (len < 0) {
		free(value);
		return NULL;
	}
	value[len] = '\0';
	return xrealloc(value, len + 1);
}

/* Who has a lease on a file keeps it from being opened: O_PATH does not open it. */
void tags_read(struct tags *tags, int fd)
{
	char *path = xasprintf("/proc/self/fd/%d", fd);

	tags->err = 0;
	tags->owner = get_tag(tags, path, TAG_OWNER);
	tags->vmm = get_tag(tags, path, TAG_VMM);
	tags->since = get_tag(tags, path, TAG_SINCE);
	tags->boot = get_tag(tags, path, TAG_BOOT);
	free(path);
}

void tags_free(struct tags *tags)
{
	free(tags->owner);
	free(tags->vmm);
	free(tags->since);
	free(tags->boot);
}

void tag_check(const char *what, const char *value)
{
	if (value && strlen(value) > TAG_MAX)
		fatal(EX_USAGE, "%s: a tag has at most %d bytes, and this has %zu", what, TAG_MAX,
		      strlen(value));
}

static int set_tag(const char *path, const char *name, const char *value)
{
	if (value && *value)
		return setxattr(path, name, value, strlen(value), 0);
	return removexattr(path, name) && errno != ENODATA ? -1 : 0;
}

int tags_write(int fd, const char *owner, const char *vmm)
{
	char *boot = read_text("/proc/sys/kernel/random/boot_id");
	char *path = xasprintf("/proc/self/fd/%d", fd);
	time_t now = time(NULL);
	char since[32];
	int err = 0;

	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	if ((owner && set_tag(path, TAG_OWNER, owner)) || (vmm && set_tag(path, TAG_VMM, vmm)) ||
	    set_tag(path, TAG_BOOT, boot) || set_tag(path, TAG_SINCE, since))
		err = -errno;
	free(path);
	free(boot);
	return err;
}

/* --- one file --- */

/* What O_PATH has found, once it is known to be a file or a directory. -errno. */
static int open_again(int place, int flags)
{
	char *path = xasprintf("/proc/self/fd/%d", place);
	/* Not to wait for who has a lease. */
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	free(path);
	return fd < 0 ? -errno : fd;
}

static int open_for_reading(int place)
{
	int fd = open_again(place, O_RDONLY | O_NOATIME);

	return fd == -EPERM ? open_again(place, O_RDONLY) : fd;
}

/*
 * A tenant can put a link to another file in the place of his own. The links of proc are
 * the kernel's: run hands a file over as /proc/self/fd/N.
 */
static int open_place(const char *path)
{
	int place = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statfs on;
	struct stat st;

	if (place < 0 || fstat(place, &st) || !S_ISLNK(st.st_mode))
		return place;
	if (fstatfs(place, &on) || on.f_type != PROC_SUPER_MAGIC) {
		close(place);
		errno = ELOOP;
		return -1;
	}
	close(place);
	return open(path, O_PATH | O_CLOEXEC);
}

int file_find(const char *path, int *nid)
{
	int place = open_place(path), err = 0;
	struct stat st;

	if (place < 0)
		return -1;
	*nid = fd_node(place);
	if (*nid >= 0 && !fstat(place, &st) && S_ISREG(st.st_mode))
		return place;
	if (*nid < 0)
		err = errno;
	close(place);
	errno = err;
	return -1;
}

int file_open(const char *path, int *nid)
{
	int place = file_find(path, nid), fd;

	if (place < 0)
		return -1;
	fd = open_for_reading(place);
	close(place);
	if (fd < 0)
		errno = -fd;
	return fd < 0 ? -1 : fd;
}

const char *file_open_error(void)
{
	if (errno == EAGAIN)
		return "it is in use: a process has a lease on it";
	if (errno == ELOOP)
		return "this is a symbolic link: name the file itself";
	return errno ? fd_node_error() : "this is no file";
}

int file_lease(int fd)
{
	/* Who opens it meanwhile is no reason to end. */
	signal(SIGIO, SIG_IGN);
	return fcntl(fd, F_SETLEASE, F_WRLCK) ? -errno : 0;
}

const char *file_lease_error(int err)
{
	char *enabled = err == -EINVAL ? read_text("/proc/sys/fs/leases-enable") : NULL;
	bool off = enabled && !strcmp(enabled, "0");

	free(enabled);
	return off ? "the kernel gives no leases: sysctl fs.leases-enable=1" : strerror(-err);
}

int file_remove(int dir, const char *name, int fd)
{
	struct stat st, named;

	if (fstat(fd, &st) || fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (st.st_dev != named.st_dev || st.st_ino != named.st_ino)
		return -ESTALE;
	/* Somebody who is about to open it has to wait, and has it. */
	if (fcntl(fd, F_GETLEASE) != F_WRLCK)
		return -EAGAIN;
	return unlinkat(dir, name, 0) ? -errno : 0;
}

/* --- many files --- */

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

/* Whatever it is that has a name, and once if it has several. */
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
		file.fd = open_for_reading(place);
		walk->fn(&file, walk->arg);
		if (file.fd >= 0)
			close(file.fd);
	}
}

/* What has gone meanwhile is not missing, and what is mounted there is not the node's. */
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

/* All mounts of a node have the same files, but for those of one of its directories. */
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

/* A link is not followed: it is what somebody else has made, if a pattern names it. */
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

void path_split(const char *path, char **dir, char **name)
{
	const char *slash = strrchr(path, '/');

	*name = xstrdup(slash ? slash + 1 : path);
	if (!slash)
		*dir = xstrdup(".");
	else
		*dir = slash == path ? xstrdup("/") : xasprintf("%.*s", (int)(slash - path), path);
	/* "dir/" is what is in dir. */
	if (!**name) {
		free(*name);
		*name = xstrdup(".");
	}
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
