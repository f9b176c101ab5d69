// SPDX-License-Identifier: GPL-2.0
/*
 * One file of guestmemfs: opening it and nothing else, where its memory is, its owner.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* What one call of the ioctl asks for. */
#define EXTENTS	512

ssize_t file_extents(int fd, struct extent **extents)
{
	struct fiemap *map = xcalloc(1, sizeof(*map) + EXTENTS * sizeof(map->fm_extents[0]));
	uint64_t start = 0;
	ssize_t nr = 0;
	bool last = false;
	unsigned int i;

	*extents = NULL;
	while (!last) {
		map->fm_start = start;
		map->fm_length = FIEMAP_MAX_OFFSET - start;
		map->fm_extent_count = EXTENTS;
		if (ioctl(fd, FS_IOC_FIEMAP, map)) {
			nr = -errno;
			break;
		}
		last = !map->fm_mapped_extents;
		*extents = xrealloc(*extents, (nr + map->fm_mapped_extents) * sizeof(**extents));
		for (i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *extent = &map->fm_extents[i];

			(*extents)[nr++] = (struct extent){
				.offset = extent->fe_logical,
				.phys = extent->fe_physical,
				.size = extent->fe_length,
				.known = !(extent->fe_flags & FIEMAP_EXTENT_UNKNOWN),
				.private = extent->fe_flags & FIEMAP_EXTENT_DATA_ENCRYPTED,
			};
			start = extent->fe_logical + extent->fe_length;
			last = extent->fe_flags & FIEMAP_EXTENT_LAST;
		}
	}
	free(map);
	if (nr < 0) {
		free(*extents);
		*extents = NULL;
	}
	return nr;
}

uint64_t extent_1g_bytes(const struct extent *extent)
{
	const uint64_t gib = 1ULL << 30;
	uint64_t skip = -extent->phys % gib;

	/* A leaf needs the file's offset to match as well. */
	if (!extent->known || (extent->phys - extent->offset) % gib || extent->size < skip)
		return 0;
	return (extent->size - skip) / gib * gib;
}

/* Only ENODATA means that there is none. Other errors are kept in tags->err. */
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

/* A lease on a file blocks open(): O_PATH does not open it. */
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

/* What O_PATH has found, once it is known to be a file or a directory. -errno. */
static int open_again(int place, int flags)
{
	char *path = xasprintf("/proc/self/fd/%d", place);
	/* Do not wait for the holder of a lease. */
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	free(path);
	return fd < 0 ? -errno : fd;
}

int file_read(int place)
{
	int fd = open_again(place, O_RDONLY | O_NOATIME);

	return fd == -EPERM ? open_again(place, O_RDONLY) : fd;
}

int file_write(int place)
{
	return open_again(place, O_RDWR);
}

/*
 * A tenant can put a link to another file in place of his own. The links of proc are
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
	fd = file_read(place);
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
	/* An open() of the file sends SIGIO, which ends a program by default. */
	signal(SIGIO, SIG_IGN);
	return fcntl(fd, F_SETLEASE, F_WRLCK) ? -errno : 0;
}

bool file_lease_is_held(int fd)
{
	return fcntl(fd, F_GETLEASE) == F_WRLCK;
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
	/* A process that opens the file waits for the lease, and will use it. */
	if (!file_lease_is_held(fd))
		return -EAGAIN;
	return unlinkat(dir, name, 0) ? -errno : 0;
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
