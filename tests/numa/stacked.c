// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of files of guestmemfs that another file system makes.
 *
 *	stacked check DIR VIEW	DIR is a directory of guestmemfs, VIEW shows its
 *				files through a bind mount, overlayfs or FUSE
 *	stacked upper VIEW	VIEW is an overlay whose upper layer is guestmemfs
 *	stacked fuse DIR VIEW	mount FUSE with passthrough at VIEW, and serve the
 *				files of DIR until it is unmounted
 *
 * All other memory of the node has to be in use for "check".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux/fuse.h"

#define BLOCK	(2UL << 20)
#define PAGE	4096UL

static void die(const char *what)
{
	fprintf(stderr, "stacked: %s: %s\n", what, strerror(errno));
	exit(1);
}

#define CHECK(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "stacked: line %d: %s\n", __LINE__,	\
				#condition);					\
			exit(1);						\
		}								\
	} while (0)

static const char *in(const char *dir, const char *name)
{
	static char path[4][256];
	static int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static volatile char *map(const char *path, int flags, int prot, void *at)
{
	int fd = open(path, flags, 0600);
	void *p;

	if (fd < 0)
		die(path);
	p = mmap(at, BLOCK, prot, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (p == MAP_FAILED)
		die(path);
	close(fd);
	return p;
}

static void make(const char *path, char value)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
	volatile char *p;

	if (fd < 0 || ftruncate(fd, BLOCK))
		die(path);
	close(fd);
	p = map(path, O_RDWR, PROT_READ | PROT_WRITE, NULL);
	memset((void *)p, value, BLOCK);
	munmap((void *)p, BLOCK);
}

static bool killed_by_touch(volatile char *p)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		(void)p[5];
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
}

static bool mapped(volatile char *p)
{
	unsigned char vec;

	if (mincore((void *)p, PAGE, &vec))
		die("mincore");
	return vec & 1;
}

/* What VMMs do with a mapping: the page tables go and come, the contents stay. */
static void drop_and_populate(volatile char *p, int populate, char value)
{
	CHECK(p[0] == value && mapped(p));
	CHECK(!madvise((void *)p, BLOCK, MADV_DONTNEED));
	CHECK(!mapped(p) && !mapped(p + BLOCK - PAGE));
	CHECK(!madvise((void *)p, BLOCK, populate));
	CHECK(mapped(p) && mapped(p + BLOCK - PAGE));
	CHECK(p[0] == value && p[BLOCK - 1] == value);
}

static void check(const char *dir, const char *view)
{
	volatile char *p, *q, *victim;

	make(in(dir, "one"), 'A');
	make(in(dir, "two"), 'B');

	/* At an address where nothing is. */
	p = map(in(view, "two"), O_RDONLY, PROT_READ, NULL);
	CHECK(p[0] == 'B' && p[BLOCK - 1] == 'B');
	drop_and_populate(p, MADV_POPULATE_READ, 'B');
	CHECK(madvise((void *)p, BLOCK, MADV_POPULATE_WRITE) && errno == EINVAL);
	/* Over itself. */
	q = map(in(view, "two"), O_RDONLY, PROT_READ, (void *)p);
	CHECK(q == p && q[0] == 'B');
	munmap((void *)q, BLOCK);

	/* Over a file of guestmemfs. Whoever gets that file's memory is not seen. */
	p = map(in(dir, "one"), O_RDWR, PROT_READ | PROT_WRITE, NULL);
	CHECK(p[0] == 'A');
	q = map(in(view, "two"), O_RDONLY, PROT_READ, (void *)p);
	CHECK(q == p && q[0] == 'B' && q[BLOCK - 1] == 'B');
	if (unlink(in(dir, "one")))
		die("unlink");
	make(in(dir, "victim"), 'V');
	CHECK(q[0] == 'B' && q[BLOCK - 1] == 'B');
	/* Over another file system's, and that over it. */
	munmap((void *)q, BLOCK);
	q = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(q != MAP_FAILED);
	memset((void *)q, 'S', BLOCK);
	q = map(in(view, "two"), O_RDONLY, PROT_READ, (void *)q);
	CHECK(q[0] == 'B' && q[PAGE] == 'B');
	/* Of a part, by a file of guestmemfs itself. */
	victim = map(in(dir, "victim"), O_RDONLY, PROT_READ, NULL);
	CHECK(victim[0] == 'V');
	q = map(in(view, "two"), O_RDONLY, PROT_READ, (void *)victim);
	CHECK(q[PAGE] == 'B');
	q = map(in(dir, "victim"), O_RDONLY, PROT_READ, (void *)q);
	CHECK(q[PAGE] == 'V');
	unlink(in(dir, "victim"));

	/* What truncates the file takes its memory from both. */
	p = map(in(dir, "two"), O_RDWR, PROT_READ | PROT_WRITE, NULL);
	q = map(in(view, "two"), O_RDONLY, PROT_READ, NULL);
	p[7] = 'x';
	CHECK(q[7] == 'x');
	if (truncate(in(dir, "two"), 0))
		die("truncate");
	CHECK(killed_by_touch(p) && killed_by_touch(q));
	if (truncate(in(view, "two"), BLOCK) && errno != EROFS)
		die("truncate of the view");
	if (truncate(in(dir, "two"), BLOCK))
		die("truncate");
	CHECK(!q[7] && !p[7]);
	p[7] = 'y';
	/* What is deleted stays for who has it mapped. */
	if (unlink(in(dir, "two")))
		die("unlink");
	CHECK(q[7] == 'y');
	CHECK(!mprotect((void *)&q[PAGE], PAGE, PROT_NONE));
	p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	q = mremap((void *)q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p);
	CHECK(q == p && q[7] == 'y');
}

static void upper(const char *view)
{
	volatile char *p, *q;
	struct stat st;
	int fd;

	make(in(view, "one"), 'A');
	make(in(view, "two"), 'B');
	p = map(in(view, "one"), O_RDWR, PROT_READ | PROT_WRITE, NULL);
	q = map(in(view, "two"), O_RDWR, PROT_READ | PROT_WRITE, (void *)p);
	CHECK(q[0] == 'B' && q[BLOCK - 1] == 'B');
	drop_and_populate(q, MADV_POPULATE_WRITE, 'B');

	/* A hole of the upper layer stays one until it is touched. */
	fd = open(in(view, "one"), O_RDWR);
	if (fd < 0 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK))
		die("punch");
	p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(!fstat(fd, &st) && !st.st_blocks);
	CHECK(!madvise((void *)p, BLOCK, MADV_DONTNEED));
	CHECK(!p[0]);
	CHECK(!fstat(fd, &st) && st.st_blocks == BLOCK / 512);
	close(fd);

	if (truncate(in(view, "two"), 0))
		die("truncate");
	CHECK(killed_by_touch(q));
	p = mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, open(in(view, "one"), O_RDONLY), 0);
	CHECK(p == MAP_FAILED && errno == EINVAL);
	if (unlink(in(view, "one")) || unlink(in(view, "two")))
		die("unlink");
}

/* A file system with one directory, by /dev/fuse. */

static char names[16][64];

static const char *serve_path(const char *dir, uint64_t node)
{
	return node == FUSE_ROOT_ID ? dir : in(dir, names[node - 2]);
}

static int serve_attr(const char *dir, uint64_t node, struct fuse_attr *attr)
{
	struct stat st;

	if (stat(serve_path(dir, node), &st))
		return -errno;
	attr->ino = st.st_ino;
	attr->size = st.st_size;
	attr->blocks = st.st_blocks;
	attr->mode = st.st_mode;
	attr->nlink = st.st_nlink;
	attr->blksize = PAGE;
	return 0;
}

static int serve_lookup(const char *dir, const char *name, struct fuse_entry_out *out)
{
	unsigned int i;

	for (i = 0; i < 15 && names[i][0]; i++)
		if (!strcmp(names[i], name))
			break;
	snprintf(names[i], sizeof(names[i]), "%.63s", name);
	out->nodeid = i + 2;
	return serve_attr(dir, i + 2, &out->attr);
}

static int serve_setattr(const char *dir, uint64_t node, const struct fuse_setattr_in *arg,
			 struct fuse_attr *attr)
{
	if (arg->valid & FATTR_SIZE && truncate(serve_path(dir, node), arg->size))
		return -errno;
	return serve_attr(dir, node, attr);
}

static int serve_open(int fuse, const char *dir, uint64_t node, uint32_t flags,
		      struct fuse_open_out *out)
{
	struct fuse_backing_map backing = {};
	int id;

	backing.fd = open(serve_path(dir, node), flags & O_ACCMODE);
	if (backing.fd < 0)
		return -errno;
	id = ioctl(fuse, FUSE_DEV_IOC_BACKING_OPEN, &backing);
	if (id < 0)
		die("FUSE_DEV_IOC_BACKING_OPEN");
	close(backing.fd);
	out->open_flags = FOPEN_PASSTHROUGH;
	out->backing_id = id;
	out->fh = id;
	return 0;
}

static void serve(const char *dir, const char *view)
{
	static char buf[1 << 17];
	struct fuse_in_header *h = (void *)buf;
	void *arg = h + 1;
	struct {
		struct fuse_out_header h;
		union {
			struct fuse_init_out init;
			struct fuse_entry_out entry;
			struct fuse_attr_out attr;
			struct fuse_open_out open;
			struct fuse_statfs_out statfs;
		};
	} out;
	char options[128];
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	size_t len;
	int err;

	if (fuse < 0)
		die("/dev/fuse");
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fuse);
	if (mount("stacked", view, "fuse", 0, options))
		die("mount of FUSE");

	while (read(fuse, buf, sizeof(buf)) > 0) {
		memset(&out, 0, sizeof(out));
		len = 0;
		err = 0;
		switch (h->opcode) {
		case FUSE_INIT:
			out.init.major = FUSE_KERNEL_VERSION;
			out.init.minor = FUSE_KERNEL_MINOR_VERSION;
			out.init.max_write = 1 << 16;
			out.init.flags = FUSE_INIT_EXT;
			out.init.flags2 = FUSE_PASSTHROUGH >> 32;
			out.init.max_stack_depth = 1;
			len = sizeof(out.init);
			break;
		case FUSE_LOOKUP:
			err = serve_lookup(dir, arg, &out.entry);
			len = sizeof(out.entry);
			break;
		case FUSE_GETATTR:
			err = serve_attr(dir, h->nodeid, &out.attr.attr);
			len = sizeof(out.attr);
			break;
		case FUSE_SETATTR:
			err = serve_setattr(dir, h->nodeid, arg, &out.attr.attr);
			len = sizeof(out.attr);
			break;
		case FUSE_OPEN:
			err = serve_open(fuse, dir, h->nodeid, ((struct fuse_open_in *)arg)->flags,
					 &out.open);
			len = sizeof(out.open);
			break;
		case FUSE_RELEASE: {
			uint32_t id = ((struct fuse_release_in *)arg)->fh;

			if (ioctl(fuse, FUSE_DEV_IOC_BACKING_CLOSE, &id))
				die("FUSE_DEV_IOC_BACKING_CLOSE");
			break;
		}
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
			continue;
		default:
			err = -EOPNOTSUPP;
		}
		out.h.unique = h->unique;
		out.h.error = err;
		out.h.len = sizeof(out.h) + (err ? 0 : len);
		if (write(fuse, &out, out.h.len) < 0 && errno != ENOENT)
			die("answer");
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "check"))
		check(argv[2], argv[3]);
	else if (argc == 3 && !strcmp(argv[1], "upper"))
		upper(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "fuse"))
		serve(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
