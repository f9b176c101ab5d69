// SPDX-License-Identifier: GPL-2.0
/*
 * System calls at random on the files of a mount, its directory in sysfs and its
 * mount options: those that make sense, and those that do not.
 *
 *	monkey DIR NODE SEED SECONDS PROCESSES
 *
 * Nothing that comes of a call is an error of this program: that nobody crashes is for
 * the kernel's log to say, and that the node is whole for who looks at it afterwards.
 * Every second process has no privileges. At the end it prints how many calls of each
 * kind were made, and how many of them succeeded.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/guestmemfs.h>

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define ANY_OF(x) ((x)[below(sizeof(x) / sizeof((x)[0]))])
#define PAGE 4096UL
#define MIB 1048576UL
#define GIB (1024 * MIB)

static const char *dir, *node;
static uint64_t random_state;
static bool privileged;
static sigjmp_buf fault;
static volatile sig_atomic_t may_fault;

static int fds[12];
static struct map {
	char *at;
	size_t len;
} maps[8];

static char buf[70000];

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state >> 11;
}

static int below(int end)
{
	return next_random() % end;
}

static bool rarely(void)
{
	return !below(16);
}

/* A number of bytes such as programs have, or one that nobody should have. */
static int64_t bytes(void)
{
	static const int64_t odd[] = {
		-1, INT64_MAX, INT64_MIN, INT64_MAX & ~4095L, 1L << 40, 0
	};
	int64_t n;

	if (rarely())
		return ANY_OF(odd);
	n = below(24) * 2 * MIB;
	switch (below(4)) {
	case 0:
		return n + below(512) * PAGE;
	case 1:
		return n + below(2 * MIB);
	default:
		return n;
	}
}

static int flags(void)
{
	return rarely() ? (int)next_random() : 1 << below(20) & -below(2);
}

static const char *name(void)
{
	static const char *const names[] = {
		"a",
		"b",
		"c",
		"d",
		"a/x",
		"a/y",
		"b/x",
		"a/x/1",
		".",
		"..",
		"",
		"a/",
		"none/x",
		"a name that is long enough to take some slots of a directory, so that there are holes",
	};
	static char longest[300];

	if (!rarely())
		return ANY_OF(names);
	memset(longest, 'n', below(sizeof(longest)));
	longest[sizeof(longest) - 1] = '\0';
	return longest;
}

static const char *attr(void)
{
	static const char *const names[] = {
		"user.a",
		"user.b",
		"trusted.c",
		"security.selinux",
		"system.posix_acl_access",
		"system.posix_acl_default",
		"user.",
		"nothing.x",
		"",
		"security.capability",
	};

	return ANY_OF(names);
}

static int *slot(void)
{
	return &ANY_OF(fds);
}

static int fd(void)
{
	return *slot();
}

static struct map *any_map(void)
{
	return maps + below(ARRAY_SIZE(maps));
}

static void *somewhere(size_t *len)
{
	struct map *map = any_map();
	size_t offset;

	if (!map->at) {
		*len = below(3) * PAGE;
		return rarely() ? (void *)next_random() : buf;
	}
	offset = below(map->len / PAGE) * PAGE;
	*len = below(2) ? map->len - offset : PAGE * (1 + below((map->len - offset) / PAGE));
	return map->at + offset + (rarely() ? below(PAGE) : 0);
}

static long call_open(void)
{
	int *where = slot();
	int odd = below(4) | (below(2) ? O_CREAT : 0) | flags();
	/* Who opens a pipe would wait for another who does. */
	int made = open(name(), O_NONBLOCK | (below(3) ? O_RDWR | O_CREAT : odd),
			0600 | below(01000));

	if (made < 0)
		return made;
	if (*where >= 0)
		close(*where);
	*where = made;
	return 0;
}

static long call_close(void)
{
	int *where = slot();
	int ret = close(*where);

	*where = -1;
	return ret;
}

static long call_read(void)
{
	struct iovec iov = { buf, below(sizeof(buf)) };

	switch (below(4)) {
	case 0:
		return read(fd(), buf, below(sizeof(buf)));
	case 1:
		return pread(fd(), buf, below(sizeof(buf)), bytes());
	case 2:
		return preadv2(fd(), &iov, 1, bytes(), flags());
	default:
		return readahead(fd(), bytes(), bytes());
	}
}

static long call_write(void)
{
	struct iovec iov = { buf, below(sizeof(buf)) };

	switch (below(3)) {
	case 0:
		return write(fd(), buf, below(sizeof(buf)));
	case 1:
		return pwrite(fd(), buf, below(sizeof(buf)), bytes());
	default:
		return pwritev2(fd(), &iov, 1, bytes(), flags());
	}
}

static long call_between(void)
{
	off64_t from = bytes(), to = bytes();
	int pipes[2];
	long ret;

	switch (below(3)) {
	case 0:
		return sendfile(fd(), fd(), &from, below(100000));
	case 1:
		return copy_file_range(fd(), &from, fd(), &to, below(100000), 0);
	default:
		if (pipe2(pipes, O_NONBLOCK))
			return -1;
		ret = splice(fd(), &from, pipes[1], NULL, below(100000), SPLICE_F_NONBLOCK);
		splice(pipes[0], NULL, fd(), &to, 4096, SPLICE_F_NONBLOCK);
		close(pipes[0]);
		close(pipes[1]);
		return ret;
	}
}

static long call_truncate(void)
{
	return below(2) ? ftruncate(fd(), bytes()) : truncate(name(), bytes());
}

static long call_fallocate(void)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

	return fallocate(fd(), rarely() ? below(256) : ANY_OF(modes), bytes(), bytes());
}

static long call_seek(void)
{
	return lseek(fd(), bytes(), below(7));
}

static long call_stat(void)
{
	struct statfs sfs;
	struct statx stx;
	struct stat st;

	switch (below(4)) {
	case 0:
		return fstat(fd(), &st);
	case 1:
		return statx(AT_FDCWD, name(), flags(), next_random(), &stx);
	case 2:
		return fstatfs(fd(), &sfs);
	default:
		return faccessat(AT_FDCWD, name(), below(8), flags());
	}
}

static long call_sync(void)
{
	switch (below(4)) {
	case 0:
		return fsync(fd());
	case 1:
		return fdatasync(fd());
	case 2:
		return sync_file_range(fd(), bytes(), bytes(), below(8));
	default:
		return syncfs(fd());
	}
}

static long call_ioctl(void)
{
	static const unsigned long numbers[] = {
		FS_IOC_FIEMAP,	   FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR,
		FS_IOC_FSSETXATTR, FITRIM,	    FICLONE,	     FIBMAP,
		FIGETBSZ,	   FIONREAD,	    FIOQSIZE,	     FS_IOC_GETVERSION,
		FS_IOC_GETFSLABEL, FIDEDUPERANGE,
	};
	union {
		struct fiemap map;
		uint64_t words[64];
	} data;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(data.words); i++)
		data.words[i] = below(3) ? 0 : next_random() >> below(60);
	/* Extents that are written fit behind the head. */
	data.map.fm_extent_count = below(8);
	return ioctl(fd(), rarely() ? next_random() : ANY_OF(numbers),
		     rarely() ? (void *)next_random() : &data);
}

static long call_exchange(void)
{
	struct guestmemfs_exchange_range arg = {
		.file1_fd = fd(),
		.pad = rarely(),
		.length = bytes(),
	};

	switch (below(4)) {
	case 0:
		arg.flags = GUESTMEMFS_EXCHANGE_RANGE_TO_EOF;
		break;
	case 1:
		arg.flags = GUESTMEMFS_EXCHANGE_RANGE_GROW;
		arg.file2_offset = bytes();
		break;
	case 2:
		arg.flags = rarely() ? next_random() : (uint64_t)below(2) << below(5);
		arg.file1_offset = bytes();
		arg.file2_offset = bytes();
		break;
	default:
		arg.file1_offset = below(4) * 2 * MIB;
		arg.file2_offset = below(4) * 2 * MIB;
		arg.length = below(4) * 2 * MIB;
	}
	return ioctl(fd(), GUESTMEMFS_IOC_EXCHANGE_RANGE, &arg);
}

static long call_fcntl(void)
{
	struct flock lock = { .l_type = below(4), .l_start = bytes(), .l_len = bytes() };
	static const int commands[] = {
		F_SETLK,  F_GETLK,	 F_OFD_SETLK, F_GETFL,	   F_GETFD,
		F_SETFL,  F_SETLEASE,	 F_GETLEASE,  F_ADD_SEALS, F_GET_SEALS,
		F_NOTIFY, F_SET_RW_HINT, F_SETOWN,
	};
	int command = ANY_OF(commands);

	switch (command) {
	case F_SETLK:
	case F_GETLK:
	case F_OFD_SETLK:
		return fcntl(fd(), command, &lock);
	case F_SETOWN:
		return fcntl(fd(), command, 0);
	case F_NOTIFY:
		return fcntl(fd(), command, 0);
	default:
		return below(2) ? fcntl(fd(), command, flags()) :
				  flock(fd(), below(8) | LOCK_NB);
	}
}

static long call_getdents(void)
{
	return getdents64(fd(), buf, below(2) ? (int)sizeof(buf) : below(100));
}

static long call_mmap(void)
{
	struct map *map = any_map();
	size_t len = PAGE * (1 + below(2048));
	off_t offset = below(3) ? 0 : below(1000) * PAGE;
	void *hint = NULL;
	char *at;

	if (map->at) {
		munmap(map->at, map->len);
		map->at = NULL;
	}
	if (below(2))
		hint = (void *)(0x100000000000 + below(64) * GIB + below(3) * 2 * MIB);
	at = mmap(hint, len, below(8),
		  (below(4) ? MAP_SHARED : MAP_PRIVATE) |
			  (rarely() ? 1 << (14 + below(8)) & ~MAP_GROWSDOWN : 0),
		  fd(), offset);
	if (at == MAP_FAILED)
		return -1;
	map->at = at;
	map->len = len;
	return 0;
}

static long call_munmap(void)
{
	struct map *map = any_map();
	size_t len;
	void *at = somewhere(&len);

	/* Parts leave holes, and touching these is for a handler. */
	if (below(2) || !map->at)
		return at == buf ? -1 : munmap(at, len);
	munmap(map->at, map->len);
	map->at = NULL;
	return 0;
}

static long call_mremap(void)
{
	struct map *map = any_map();
	size_t len = PAGE * (1 + below(3000));
	char *at;

	if (!map->at)
		return -1;
	at = mremap(map->at, rarely() ? 0 : map->len, len, MREMAP_MAYMOVE | (rarely() ? 4 : 0));
	if (at == MAP_FAILED)
		return -1;
	map->at = at;
	map->len = len;
	return 0;
}

static long call_protect(void)
{
	size_t len;
	void *at = somewhere(&len);

	return at == buf ? -1 : mprotect(at, len, below(8));
}

static long call_madvise(void)
{
	size_t len;
	void *at = somewhere(&len);

	/* Those from 100 on poison pages: other tests do. */
	return at == buf ? -1 : madvise(at, len, below(26));
}

static long call_pages(void)
{
	unsigned long mask = 1 << below(3);
	unsigned char residents[4096];
	int status[4], nodes[4] = { below(3), below(3), below(3), below(3) };
	void *pages[4];
	size_t len;
	void *at = somewhere(&len);

	switch (below(7)) {
	case 0:
		return msync(at, len, below(8));
	case 1:
		return mlock2(at, len, below(2));
	case 2:
		return munlock(at, len);
	case 3:
		return mincore(at, len < sizeof(residents) * PAGE ? len : PAGE, residents);
	case 4:
		return at == buf ? -1 :
				   syscall(SYS_mbind, at, len, below(6), &mask, 8, below(8));
	case 5:
		pages[0] = at;
		pages[1] = somewhere(&len);
		pages[2] = somewhere(&len);
		pages[3] = buf;
		return syscall(SYS_move_pages, 0, 4, pages, below(2) ? nodes : NULL, status,
			       below(8));
	default:
		return remap_file_pages(at, len, 0, below(100), 0);
	}
}

static void on_fault(int sig)
{
	if (!may_fault)
		_exit(128 + sig);
	siglongjmp(fault, sig);
}

/* From the program, and from the kernel on its behalf. */
static long call_touch(void)
{
	size_t len;
	char *at = somewhere(&len);
	struct iovec local = { buf, PAGE }, remote = { at, PAGE };
	int pipes[2];
	long ret = 0;

	may_fault = 1;
	if (sigsetjmp(fault, 1)) {
		may_fault = 0;
		return -1;
	}
	switch (below(5)) {
	case 0:
		ret = *(volatile char *)at == 1;
		break;
	case 1:
		*(volatile char *)at = 1;
		break;
	case 2:
		ret = below(2) ? process_vm_readv(getpid(), &local, 1, &remote, 1, 0) :
				 process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
		break;
	case 3:
		if (pipe2(pipes, O_NONBLOCK))
			break;
		ret = write(pipes[1], at, PAGE);
		if (ret > 0)
			ret = read(pipes[0], at, PAGE);
		vmsplice(pipes[1], &remote, 1, SPLICE_F_NONBLOCK);
		close(pipes[0]);
		close(pipes[1]);
		break;
	default:
		ret = syscall(SYS_futex, at, 1 /* wake */, 1, NULL, NULL, 0);
	}
	may_fault = 0;
	return ret;
}

static long call_names(void)
{
	switch (below(9)) {
	case 0:
		return mkdir(name(), below(01000));
	case 1:
		return rmdir(name());
	case 2:
		return unlink(name());
	case 3:
		return link(name(), name());
	case 4:
		return symlink(name(), name());
	case 5:
		return renameat2(AT_FDCWD, name(), AT_FDCWD, name(), below(8));
	case 6:
		return mknod(name(), next_random() & 0177777, makedev(below(300), below(300)));
	case 7:
		return linkat(fd(), "", AT_FDCWD, name(), AT_EMPTY_PATH);
	default:
		return readlink(name(), buf, below(sizeof(buf)));
	}
}

static long call_attr(void)
{
	switch (below(4)) {
	case 0:
		return setxattr(name(), attr(), buf, below(3) ? below(200) : below(sizeof(buf)),
				below(4));
	case 1:
		return getxattr(name(), attr(), buf, below(sizeof(buf)));
	case 2:
		return listxattr(name(), buf, below(sizeof(buf)));
	default:
		return removexattr(name(), attr());
	}
}

static long call_owner(void)
{
	struct timespec times[2] = { { next_random() >> below(60), below(2000000000) },
				     { 0, UTIME_OMIT } };

	switch (below(3)) {
	case 0:
		return chmod(name(), below(010000));
	case 1:
		return lchown(name(), below(4) - 1, below(4) - 1);
	default:
		return utimensat(AT_FDCWD, name(), below(4) ? times : NULL, 0);
	}
}

static long call_handle(void)
{
	struct {
		struct file_handle fh;
		unsigned char room[128];
	} handle = { .fh.handle_bytes = below(2) ? 128 : below(129) };
	int id, opened, root;
	size_t i;

	if (below(2)) {
		if (name_to_handle_at(AT_FDCWD, name(), &handle.fh, &id,
				      flags() & AT_EMPTY_PATH))
			return -1;
	} else {
		handle.fh.handle_type = below(256);
		for (i = 0; i < sizeof(handle.room); i++)
			handle.room[i] = below(3) ? 0 : below(256);
	}
	if (rarely())
		handle.room[below(32)] ^= 1 << below(8);
	root = open(dir, O_RDONLY | O_DIRECTORY);
	opened = open_by_handle_at(root, &handle.fh, O_NONBLOCK | below(4));
	close(root);
	if (opened >= 0)
		close(opened);
	return opened;
}

static long call_watch(void)
{
	int watch = below(2) ? inotify_init1(IN_NONBLOCK) :
			       fanotify_init(FAN_NONBLOCK, O_RDONLY);
	long ret;

	if (watch < 0)
		return -1;
	ret = inotify_add_watch(watch, name(), next_random());
	if (ret < 0)
		ret = fanotify_mark(watch, FAN_MARK_ADD, FAN_OPEN | FAN_MODIFY, AT_FDCWD,
				    name());
	close(watch);
	return ret;
}

/* Not for long read-only: that is of all mounts, and nothing else would change any more. */
static long mount_at(const char *where)
{
	unsigned long flags = below(64);
	long ret = mount(name(), where, "guestmemfs", flags, "node=1");

	if (!ret && flags & MS_RDONLY)
		mount(NULL, where, NULL, MS_REMOUNT, NULL);
	return ret;
}

static long call_odd(void)
{
	pid_t child;
	int status;

	switch (below(5)) {
	case 0:
		return swapon(name(), 0);
	case 1:
		return mount_at(name());
	case 2:
		return chroot("/none");
	case 3:
		return posix_fadvise(fd(), bytes(), bytes(), below(8));
	default:
		child = fork();
		if (!child) {
			execl(name(), "x", NULL);
			_exit(1);
		}
		return child < 0 || waitpid(child, &status, 0) < 0 || status ? -1 : 0;
	}
}

static const char *text(void)
{
	static const char *const words[] = {
		"0",	   "1",	       "2",	"-1",	     "all",
		"10%",	   "101%",     "1G",	"1K",	     "18446744073709551616",
		"0x10",	   "",	       "\n",	"first-fit", "largest-fit",
		"on-free", "on-alloc", "node0", "node1",     "uid",
		"nobody",  "777",      "0700",	"%s%n",	     "1e9",
		" 5",	   "5 ",
	};
	static char noise[64];
	size_t i;

	if (!rarely())
		return ANY_OF(words);
	for (i = 0; i < sizeof(noise) - 1; i++)
		noise[i] = 1 + below(255);
	noise[below(sizeof(noise))] = '\0';
	return noise;
}

static long call_sysfs(void)
{
	static const char *const files[] = {
		"scrub_rate",	 "scrub_target", "zeroing", "reserve", "policy",
		"low_watermark", "frozen",	 "discard", "size",    "bitmap",
		"bitmap_dirty",	 "extents",	 "state",   "check",   "free_1g",
	};
	static const char *const nodes[] = { "0", "1" };
	char path[128];
	long ret = -1;
	size_t i;
	int file;

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/%s", ANY_OF(nodes),
		 ANY_OF(files));
	file = open(path, below(2) ? O_RDONLY : O_WRONLY);
	if (file < 0)
		return -1;
	if (below(2)) {
		const char *what = text();

		ret = pwrite(file, what, strlen(what), rarely() ? below(10) : 0);
	} else {
		ret = pread(file, buf, below(sizeof(buf)), rarely() ? below(10000) : 0);
	}
	close(file);
	/* Others wait for a node that is frozen. */
	for (i = 0; i < ARRAY_SIZE(nodes); i++) {
		snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/frozen", nodes[i]);
		file = open(path, O_WRONLY);
		if (file >= 0) {
			if (write(file, "0", 1) < 0)
				ret = -1;
			close(file);
		}
	}
	return ret;
}

static long call_mount(void)
{
	static const char *const keys[] = {
		"node",	  "mode", "uid", "gid",	 "nr_inodes", "prefault", "noprefault",
		"source", "size", "ro",	 "mpol", "context",   "",	  "nodev",
	};
	int fs = fsopen("guestmemfs", 0), i, made;
	long ret = -1;

	if (fs < 0)
		return -1;
	if (below(2))
		fsconfig(fs, FSCONFIG_SET_STRING, "node", below(2) ? node : text(), 0);
	for (i = below(4); i > 0; i--)
		fsconfig(fs, below(2) ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, ANY_OF(keys),
			 below(2) ? text() : NULL, 0);
	if (!fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) {
		made = fsmount(fs, 0, below(16));
		if (made >= 0) {
			ret = 0;
			close(made);
		}
	}
	while (read(fs, buf, sizeof(buf)) > 0)
		;
	close(fs);
	return ret;
}

#define CALL(name)                 \
	{                          \
#name, call_##name \
	}
static const struct {
	const char *name;
	long (*make)(void);
} calls[] = {
	CALL(open),	 CALL(close), CALL(read),   CALL(write),  CALL(between), CALL(truncate),
	CALL(fallocate), CALL(seek),  CALL(stat),   CALL(sync),	  CALL(ioctl),	 CALL(fcntl),
	CALL(getdents),	 CALL(mmap),  CALL(munmap), CALL(mremap), CALL(protect), CALL(madvise),
	CALL(pages),	 CALL(touch), CALL(names),  CALL(attr),	  CALL(owner),	 CALL(handle),
	CALL(watch),	 CALL(odd),   CALL(sysfs),  CALL(mount),  CALL(exchange),
};

struct count {
	uint64_t made;
	uint64_t good;
};

static _Noreturn void work(unsigned int id, uint64_t seed, int seconds, struct count *counts)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	time_t end = time(NULL) + seconds;
	int sig;
	size_t i;

	random_state = (seed + 1) * 0x9e3779b97f4a7c15 + id * 0xbf58476d1ce4e5b9;
	privileged = !(id & 1);
	if (!privileged && (setgroups(0, NULL) || setgid(65534) || setuid(65534)))
		err(1, "setuid");
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (sig = SIGHUP; sig < SIGRTMAX; sig++)
		if (sig == SIGIO || sig == SIGPIPE || sig == SIGXFSZ || sig == SIGURG ||
		    sig >= SIGRTMIN)
			signal(sig, SIG_IGN);
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = -1;
	/* Who is stuck all the same is not waited for. */
	alarm(seconds + 60);
	while (time(NULL) < end) {
		i = below(ARRAY_SIZE(calls));
		__atomic_fetch_add(&counts[i].made, 1, __ATOMIC_RELAXED);
		if (calls[i].make() >= 0)
			__atomic_fetch_add(&counts[i].good, 1, __ATOMIC_RELAXED);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct count *counts;
	int i, status, processes;
	size_t c;

	if (argc != 6)
		errx(2, "usage: monkey DIR NODE SEED SECONDS PROCESSES");
	dir = argv[1];
	node = argv[2];
	processes = atoi(argv[5]);
	counts = mmap(NULL, sizeof(*counts) * ARRAY_SIZE(calls), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		err(1, "mmap");
	if (chdir(dir))
		err(1, "%s", dir);
	for (i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid)
			work(i, strtoull(argv[3], NULL, 0), atoi(argv[4]), counts);
	}
	for (i = 0; i < processes; i++)
		/* One may have destroyed its own stack or program by what it mapped there. */
		if (wait(&status) < 0)
			err(1, "wait");
	for (c = 0; c < ARRAY_SIZE(calls); c++)
		printf("%s: made=%ju good=%ju\n", calls[c].name, (uintmax_t)counts[c].made,
		       (uintmax_t)counts[c].good);
	return 0;
}
