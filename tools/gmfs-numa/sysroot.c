// SPDX-License-Identifier: GPL-2.0
/*
 * What is found below --sysroot, and which node a file is of: all that programs need that
 * use files of nodes.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/guestmemfs.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "gmfs-numa.h"

const char *sysroot = "";

void refuse_sysroot(const char *what)
{
	if (*sysroot)
		fatal(EX_USAGE, "--sysroot is to look at another machine, and %s would change this one",
		      what);
}

void set_sysroot(const char *path)
{
	int fd;

	/* As of "$UNSET": it would be this machine. */
	if (!*path)
		fatal(EX_USAGE, "--sysroot needs a directory");
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fatal(EX_FAILED, "--sysroot %s: %s", path, strerror(errno));
	close(fd);
	sysroot = path;
}

int root_open(const char *path, int flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	int root, fd, err;

	if (!*sysroot)
		return open(path, how.flags);
	root = open(sysroot, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	/* EAGAIN: a directory was moved during the lookup of "..". */
	do {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN);
	err = errno;
	close(root);
	errno = err;
	return fd;
}

/* The descriptor if it is one of a regular file; errno says what is wrong, see read_error(). */
static int only_regular(int fd)
{
	struct stat st;
	int err = 0;

	if (fd < 0)
		/* A socket, or a device that no driver has. */
		errno = errno == ENXIO || errno == ENODEV ? ENOTSUP : errno;
	else if (fstat(fd, &st))
		err = errno;
	else if (S_ISDIR(st.st_mode))
		err = EISDIR;
	else if (!S_ISREG(st.st_mode))
		err = ENOTSUP;
	if (!err)
		return fd;
	close(fd);
	errno = err;
	return -1;
}

int root_open_regular(const char *path, int flags)
{
	return only_regular(root_open(path, flags | O_NONBLOCK | O_NOCTTY));
}

int open_regular(const char *path)
{
	return only_regular(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

static char *below(const char *fmt, va_list args)
{
	char *path;

	if (vasprintf(&path, fmt, args) < 0)
		fatal(EX_FAILED, "out of memory");
	return path;
}

static int open_below(int flags, const char *fmt, va_list args)
{
	char *path = below(fmt, args);
	int fd = root_open(path, flags);

	free(path);
	return fd;
}

static int open_regular_below(const char *fmt, va_list args)
{
	char *path = below(fmt, args);
	int fd = root_open_regular(path, O_RDONLY);

	free(path);
	return fd;
}

DIR *root_opendir(const char *fmt, ...)
{
	va_list args;
	DIR *dir;
	int fd;

	va_start(args, fmt);
	fd = open_below(O_RDONLY | O_DIRECTORY, fmt, args);
	va_end(args);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !dir)
		close(fd);
	return dir;
}

FILE *root_fopen(const char *fmt, ...)
{
	va_list args;
	FILE *file;
	int fd;

	va_start(args, fmt);
	fd = open_regular_below(fmt, args);
	va_end(args);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

bool root_exists(const char *fmt, ...)
{
	va_list args;
	int fd;

	va_start(args, fmt);
	fd = open_below(O_PATH, fmt, args);
	va_end(args);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

char *root_realpath(const char *path)
{
	char *root = realpath(*sysroot ? sysroot : "/", NULL), *link, *real = NULL;
	int fd = root ? root_open(path, O_PATH) : -1;
	size_t len = root && strcmp(root, "/") ? strlen(root) : 0;
	char text[PATH_MAX];
	ssize_t got = -1;

	if (fd >= 0) {
		link = xasprintf("/proc/self/fd/%d", fd);
		got = readlink(link, text, sizeof(text) - 1);
		free(link);
		close(fd);
	}
	if (got > 0) {
		text[got] = '\0';
		/* It can have been moved out of the root since it was opened. */
		if (!strncmp(text, root, len) && (!text[len] || text[len] == '/'))
			real = xstrdup(text + len);
	}
	free(root);
	return real;
}

static char *read_all(int fd, size_t *size)
{
	size_t room = 4096, len = 0;
	char *text = xmalloc(room);
	ssize_t got;
	int err;

	while ((got = read(fd, text + len, room - len - 1)) > 0) {
		len += got;
		if (room - len < 2) {
			room *= 2;
			text = xrealloc(text, room);
		}
	}
	err = errno;
	close(fd);
	if (got < 0) {
		free(text);
		errno = err;
		return NULL;
	}
	text[len] = '\0';
	*size = len;
	return text;
}

char *read_text(const char *fmt, ...)
{
	va_list args;
	size_t size;
	char *text;
	int fd;

	va_start(args, fmt);
	fd = open_regular_below(fmt, args);
	va_end(args);
	text = fd < 0 ? NULL : read_all(fd, &size);
	if (text && size && text[size - 1] == '\n')
		text[size - 1] = '\0';
	return text;
}

char *read_named(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	size_t size;

	return fd < 0 ? NULL : read_all(fd, &size);
}

const char *read_error(void)
{
	return errno == ENOTSUP ? "this is no regular file" : strerror(errno);
}

void *read_binary(size_t *size, const char *fmt, ...)
{
	va_list args;
	int fd;

	va_start(args, fmt);
	fd = open_regular_below(fmt, args);
	va_end(args);
	return fd < 0 ? NULL : read_all(fd, size);
}

bool node_is_frozen(int nid)
{
	char *state = read_text(SYSFS "/node%d/state", nid);
	bool frozen = state && !strcmp(state, "frozen");

	free(state);
	return frozen;
}

/* A line at a time: a namespace of another user can have very many. */
void mounts_each(const char *process,
		 void (*fn)(const struct node_mount *mount, void *data), void *data)
{
	FILE *mounts = root_fopen("/proc/%s/mountinfo", process);
	unsigned int major_nr, minor_nr;
	const char *options, *nid;
	struct node_mount mount;
	char *line = NULL;
	size_t room = 0;

	while (mounts && getline(&line, &room, mounts) > 0) {
		options = strstr(line, " - guestmemfs ");
		if (!options ||
		    sscanf(line, "%d %*d %u:%u ", &mount.id, &major_nr, &minor_nr) != 3)
			continue;
		nid = strstr(options, ",node=");
		mount.dev = makedev(major_nr, minor_nr);
		mount.nid = nid ? atoi(nid + strlen(",node=")) : -1;
		fn(&mount, data);
	}
	free(line);
	if (mounts)
		fclose(mounts);
}

struct device {
	dev_t dev;
	int nid;		/* or -1 */
};

static void look_for_device(const struct node_mount *mount, void *data)
{
	struct device *device = data;

	if (mount->dev == device->dev)
		device->nid = mount->nid;
}

static int device_node(dev_t dev)
{
	struct device device = { dev, -1 };

	mounts_each("self", look_for_device, &device);
	if (device.nid < 0)
		errno = ENOENT;
	return device.nid;
}

int fd_node(int fd)
{
	struct statfs statfs_buf;
	struct stat st;

	if (fstatfs(fd, &statfs_buf) || fstat(fd, &st))
		return -1;
	if (statfs_buf.f_type != GUESTMEMFS_MAGIC) {
		errno = ENOTSUP;
		return -1;
	}
	return device_node(st.st_dev);
}

const char *fd_node_error(void)
{
	return errno == ENOTSUP ? "this is not on guestmemfs" : strerror(errno);
}
