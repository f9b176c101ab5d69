// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded below gmfs-numa: has a directory of any file system pass for a node, so that
 * commands that need files of one can be tried without a kernel that has guestmemfs.
 *
 * SHIM_ROOT     a tree of sysfs and proc, whose files take the place of this machine's: what
 *               --sysroot does for commands that do not take that
 * SHIM_MOUNT    directory that is the mount of the program's own
 * SHIM_DEVICE   st_dev of the file systems that pass for nodes, with a comma between them
 * SHIM_PIECES   offset:physical:size of each piece of all files, with a comma between them
 * SHIM_POLICY   errno of set_mempolicy(), which does nothing
 * SHIM_AFFINITY errno of sched_setaffinity(), which does nothing
 * SHIM_LOG      if set, these two say what they were called with
 * SHIM_OPENS    if set, open() says which path it was given
 * SHIM_BEFORE   path=command of sh: it runs before open() has that path for the first time
 * SHIM_UNREAD   errno:path of openat2() without O_PATH, from the root of that call
 * SHIM_XATTR    errno of getxattr()
 * SHIM_FORK     errno of fork()
 * SHIM_TIME     what time() returns, in seconds since 1970
 * SHIM_LEASE    errno of fcntl(F_SETLEASE), which does nothing
 * SHIM_SLOW     if set, fallocate() says so and waits for a signal
 * SHIM_OPENAT2  if set, openat2() is openat() of the path without its first slash, for
 *               valgrind, which does not know it
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/guestmemfs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static int is_node(int fd)
{
	const char *at = getenv("SHIM_DEVICE");
	struct stat st;
	char *end;

	if (!at || fstat(fd, &st))
		return 0;
	for (; *at; at = *end ? end + 1 : end)
		if (strtoull(at, &end, 10) == st.st_dev)
			return 1;
	return 0;
}

/* Where a path is to be found: all of sysfs is in the tree, of others what it has. */
static const char *moved(const char *path, char buf[4096])
{
	const char *root = getenv("SHIM_ROOT");
	struct stat st;

	if (!root || *path != '/')
		return path;
	snprintf(buf, 4096, "%s%s", root, path);
	return !strncmp(path, "/sys/", 5) || !strcmp(path, "/proc") ||
	       (!strncmp(path, "/proc/", 6) && !lstat(buf, &st)) ? buf : path;
}

/* Has something happen at a certain point of the program. */
static void run_before(const char *path)
{
	const char *before = getenv("SHIM_BEFORE");
	size_t len = strlen(path);
	char command[4096];

	if (!before || strncmp(before, path, len) || before[len] != '=')
		return;
	snprintf(command, sizeof(command), "unset LD_PRELOAD; %s", before + len + 1);
	unsetenv("SHIM_BEFORE");
	if (system(command))
		abort();
}

/* Where off_t has 64 bits, each of these is one function with two names. */
int open(const char *path, int flags, ...)
{
	int (*real)(const char *path, int flags, ...) = dlsym(RTLD_NEXT, "open");
	char buf[4096];
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, int) : 0;
	va_end(args);
	if (getenv("SHIM_OPENS"))
		dprintf(2, "open %s\n", path);
	run_before(path);
	return real(moved(path, buf), flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

FILE *fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *path, const char *mode) = dlsym(RTLD_NEXT, "fopen");
	char buf[4096];

	return real(moved(path, buf), mode);
}

FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));

DIR *opendir(const char *path)
{
	DIR *(*real)(const char *path) = dlsym(RTLD_NEXT, "opendir");
	char buf[4096];

	return real(moved(path, buf));
}

int access(const char *path, int mode)
{
	int (*real)(const char *path, int mode) = dlsym(RTLD_NEXT, "access");
	char buf[4096];

	return real(moved(path, buf), mode);
}

/* Sets errno if that path cannot be opened. */
static int is_unreadable(const char *path)
{
	const char *unread = getenv("SHIM_UNREAD");
	char *of;

	if (!unread)
		return 0;
	errno = strtol(unread, &of, 10);
	return !strcmp(of + 1, path);
}

/* Of system calls without a function: all of these have numbers or pointers alone. */
long syscall(long number, ...)
{
	long (*real)(long number, ...) = dlsym(RTLD_NEXT, "syscall");
	const struct open_how *how;
	const char *path;
	long a[6];
	va_list args;
	int i;

	va_start(args, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	how = (const void *)a[2];
	if (number == SYS_openat2 && !(how->flags & O_PATH) && is_unreadable((const char *)a[1]))
		return -1;
	if (number != SYS_openat2 || !getenv("SHIM_OPENAT2"))
		return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	path = (const char *)a[1] + strspn((const char *)a[1], "/");
	return real(SYS_openat, a[0], *path ? path : ".", how->flags, how->mode);
}

int fstatfs(int fd, struct statfs *buf)
{
	int err = syscall(SYS_fstatfs, fd, buf);

	if (!err && is_node(fd))
		buf->f_type = GUESTMEMFS_MAGIC;
	return err;
}

static int fill(struct fiemap *map, const char *pieces)
{
	unsigned long long offset, phys, size;
	int len;

	map->fm_mapped_extents = 0;
	while (pieces && sscanf(pieces, "%llx:%llx:%llx%n", &offset, &phys, &size, &len) == 3) {
		pieces += len + (pieces[len] == ',');
		map->fm_extents[map->fm_mapped_extents++] = (struct fiemap_extent){
			.fe_logical = offset, .fe_physical = phys, .fe_length = size,
			.fe_flags = *pieces ? 0 : FIEMAP_EXTENT_LAST,
		};
	}
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == FS_IOC_FIEMAP && is_node(fd))
		return fill(arg, getenv("SHIM_PIECES"));
	return syscall(SYS_ioctl, fd, request, arg);
}

/* A mount of the program's own. libmount calls these too, and reads messages of errors. */
int fsopen(const char *name, unsigned int flags)
{
	if (!getenv("SHIM_MOUNT"))
		return syscall(SYS_fsopen, name, flags);
	return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC);
}

int fsconfig(int fd, unsigned int command, const char *key, const void *value, int aux)
{
	if (!getenv("SHIM_MOUNT"))
		return syscall(SYS_fsconfig, fd, command, key, value, aux);
	return 0;
}

int fsmount(int fd, unsigned int flags, unsigned int attributes)
{
	const char *path = getenv("SHIM_MOUNT");

	return path ? syscall(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC) :
		      syscall(SYS_fsmount, fd, flags, attributes);
}

/* The nodes and CPUs of a made-up tree are not those of this machine. */
static int pretend(const char *name)
{
	const char *value = getenv(name);

	if (!value)
		return 0;
	errno = atoi(value);
	return -1;
}

long set_mempolicy(int mode, const unsigned long *mask, unsigned long max)
{
	if (getenv("SHIM_LOG"))
		dprintf(2, "policy %d, nodes %#lx of %lu\n", mode, *mask, max);
	return pretend("SHIM_POLICY");
}

int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *cpus)
{
	(void)pid;
	if (getenv("SHIM_LOG"))
		dprintf(2, "%d CPUs, first %#lx\n", CPU_COUNT_S(size, cpus), *(const long *)cpus);
	return pretend("SHIM_AFFINITY");
}

ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
	if (getenv("SHIM_XATTR"))
		return pretend("SHIM_XATTR");
	return syscall(SYS_getxattr, path, name, value, size);
}

pid_t fork(void)
{
	typeof(fork) *real = dlsym(RTLD_NEXT, "fork");

	return getenv("SHIM_FORK") ? pretend("SHIM_FORK") : real();
}

time_t time(time_t *now)
{
	time_t (*real)(time_t *now) = dlsym(RTLD_NEXT, "time");
	const char *value = getenv("SHIM_TIME");
	time_t found = value ? atoll(value) : real(NULL);

	if (now)
		*now = found;
	return found;
}

/* Its argument has at most as many bits as a pointer. */
int fcntl(int fd, int command, ...)
{
	va_list args;
	long arg;

	va_start(args, command);
	arg = va_arg(args, long);
	va_end(args);
	if (command == F_SETLEASE && getenv("SHIM_LEASE"))
		return pretend("SHIM_LEASE");
	return syscall(SYS_fcntl, fd, command, arg);
}

int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	if (getenv("SHIM_SLOW")) {
		puts("allocates");
		fflush(stdout);
		pause();
	}
	return syscall(SYS_fallocate, fd, mode, offset, size);
}
