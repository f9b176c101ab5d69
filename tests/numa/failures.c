// SPDX-License-Identifier: GPL-2.0
/*
 * Operations of which one allocation of memory fails: the first, then the second, and
 * so on until all have been tried. Whatever fails, the node is whole afterwards and
 * has what it had before.
 *
 *	failures DIR NODE OTHER [OPERATION]...
 *
 * DIR is where the node is mounted; the other one is not mounted. Prints for each
 * operation how many of its allocations were made to fail, and how many of these it
 * did without.
 * /sys/kernel/debug/failslab and fail_page_alloc have to be set up before.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
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
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/guestmemfs.h>

#define MIB 1048576UL

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
/* More than any operation has, by far. */
#define MOST_POINTS 5000

static const char *dir; /* the mount */
static const char *node, *other;
static int fail_nth; /* /proc/self/fail-nth */
static int fd = -1, other_fd = -1; /* of the operation */
static char value[20000];
static char long_target[3000];
static sigjmp_buf bus;

/* Lets an allocation of this task fail, by its number from now; 0 is none. */
static void let_fail(int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", nth);
	if (pwrite(fail_nth, text, strlen(text), 0) < 0)
		err(1, "write to fail-nth");
}

/* How many were still to come; from now on none fails. */
static int let_none_fail(void)
{
	char text[16] = "";

	if (pread(fail_nth, text, sizeof(text) - 1, 0) < 0)
		err(1, "read of fail-nth");
	let_fail(0);
	return atoi(text);
}

/* What can be seen of the file system that a failed operation must not change. */
struct seen {
	uint64_t free_blocks;
	uint64_t free_inodes;
	uint64_t names; /* of the working directory, and what stat() says of them */
};

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len--)
		hash = (hash ^ *p++) * 0x100000001b3;
	return hash;
}

static struct seen look(void)
{
	struct seen seen = { 0 };
	char list[1024], attr[sizeof(value)];
	struct dirent *entry;
	struct statfs sfs;
	struct stat st;
	ssize_t len;
	DIR *d;

	if (statfs(".", &sfs))
		err(1, "statfs");
	seen.free_blocks = sfs.f_bfree;
	seen.free_inodes = sfs.f_ffree;
	d = opendir(".");
	if (!d)
		err(1, "opendir");
	while ((entry = readdir(d))) {
		uint64_t hash = mix(0xcbf29ce484222325, entry->d_name, strlen(entry->d_name));

		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			err(1, "stat of %s", entry->d_name);
		if (strcmp(entry->d_name, "..")) {
			uint64_t said[] = { st.st_ino, st.st_mode, st.st_nlink,	 st.st_uid,
					    st.st_gid, st.st_size, st.st_blocks, st.st_rdev };

			hash = mix(hash, said, sizeof(said));
		}
		len = llistxattr(entry->d_name, list, sizeof(list));
		if (len > 0) {
			const char *name;

			hash = mix(hash, list, len);
			for (name = list; name < list + len; name += strlen(name) + 1) {
				ssize_t size =
					lgetxattr(entry->d_name, name, attr, sizeof(attr));

				if (size < 0)
					err(1, "%s of %s", name, entry->d_name);
				hash = mix(hash, attr, size);
			}
		}
		/* In any order. */
		seen.names += hash;
	}
	closedir(d);
	return seen;
}

static const char *attribute(const char *nid, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/%s", nid, name);
	return path;
}

static void check(const char *name, int nth, const char *nid)
{
	const char *path = attribute(nid, "check");
	char said[256];
	int check_fd;
	ssize_t len;

	check_fd = open(path, O_RDONLY);
	len = check_fd < 0 ? -1 : read(check_fd, said, sizeof(said) - 1);
	if (len < 0)
		err(1, "%s", path);
	close(check_fd);
	said[len] = '\0';
	if (strcmp(said, "ok\n"))
		errx(1, "%s, allocation %d: node %s is damaged: %s", name, nth, nid, said);
}

static void make(const char *name, off_t size)
{
	int made = open(name, O_RDWR | O_CREAT, 0644);

	if (made < 0 || ftruncate(made, size))
		err(1, "%s", name);
	close(made);
}

static int set(const char *nid, const char *name, const char *text)
{
	int set_fd = open(attribute(nid, name), O_WRONLY), ret;

	if (set_fd < 0)
		return -1;
	ret = write(set_fd, text, strlen(text)) < 0 ? -1 : 0;
	close(set_fd);
	return ret;
}

/*
 * The operations. Each has a directory of its own as its working directory, where
 * the first function makes what it needs; it is emptied in between.
 */

static void no_files(void)
{
}

static void one_file(void)
{
	make("file", 4 * MIB);
}

static void two_files(void)
{
	make("file", 4 * MIB);
	make("other", 2 * MIB);
}

static void two_open_files(void)
{
	make("file", 8 * MIB);
	make("other", 8 * MIB);
	fd = open("file", O_RDWR);
	other_fd = open("other", O_RDWR);
	if (fd < 0 || other_fd < 0)
		err(1, "open");
}

static void empty_file(void)
{
	make("file", 0);
}

static void one_attr(void)
{
	make("file", 0);
	if (setxattr("file", "user.name", "short", 5, 0))
		err(1, "setxattr");
}

static void large_attr(void)
{
	make("file", 0);
	if (setxattr("file", "user.name", value, sizeof(value), 0))
		err(1, "setxattr");
}

/* A name and so much of a value take a block of metadata. */
#define BLOCK_NAME "user.%06d"
#define BLOCK_VALUE (4000 - 11)

static void add_filler(void)
{
	static int nr;
	char path[64], name[32];
	int filler;

	/* One file does not list more names than 64 KiB. */
	snprintf(path, sizeof(path), "../filler%d", nr / 1000);
	snprintf(name, sizeof(name), BLOCK_NAME, nr++);
	filler = open(path, O_CREAT | O_RDWR, 0644);
	if (filler < 0 || fsetxattr(filler, name, value, BLOCK_VALUE, 0))
		err(1, "%s", path);
	close(filler);
}

static void remove_fillers(void)
{
	char path[64];
	int i;

	for (i = 0; ; i++) {
		snprintf(path, sizeof(path), "../filler%d", i);
		if (unlink(path))
			return;
	}
}

static long metadata_blocks(void)
{
	char said[32] = "";
	int of = open(attribute(node, "metadata_bytes"), O_RDONLY);

	if (of < 0 || read(of, said, sizeof(said) - 1) < 0)
		err(1, "metadata_bytes");
	close(of);
	return atol(said) / 4096;
}

static long metadata_was;

/* No block of metadata is free: what needs one needs memory for more of them. */
static void full_metadata(void)
{
	long free;

	make("file", 0);
	if (!metadata_was) {
		metadata_was = metadata_blocks();
		while (metadata_blocks() == metadata_was)
			add_filler();
		free = metadata_blocks() - metadata_was - 1;
	} else {
		/* What the operation before has added, and given back. */
		free = metadata_blocks() - metadata_was;
	}
	metadata_was = metadata_blocks();
	for (; free; free--)
		add_filler();
	if (metadata_blocks() != metadata_was)
		errx(1, "there is more metadata than was needed");
}

static void one_dir(void)
{
	if (mkdir("dir", 0755))
		err(1, "mkdir");
}

static void many_names(void)
{
	char name[32];
	int i;

	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		make(name, 0);
	}
}

/* Blocks in pieces: every second block of a file is given back. */
static void pieces(void)
{
	int made, i;

	make("file", 64 * MIB);
	made = open("file", O_RDWR);
	for (i = 0; i < 32; i += 2)
		if (fallocate(made, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * 2 * MIB,
			      2 * MIB))
			err(1, "punch");
	close(made);
}

static void open_file(void)
{
	make("file", 4 * MIB);
	fd = open("file", O_RDWR);
	if (fd < 0)
		err(1, "open");
}

static void open_hole(void)
{
	open_file();
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * MIB))
		err(1, "punch");
}

static void open_tmpfile(void)
{
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	if (fd < 0)
		err(1, "O_TMPFILE");
}

static void two_dirs(void)
{
	if (mkdir("dir", 0755) || mkdir("target", 0755))
		err(1, "mkdir");
}

static int do_create(void)
{
	fd = open("new", O_RDWR | O_CREAT | O_EXCL, 0600);
	return fd;
}

static int do_tmpfile(void)
{
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	return fd;
}

static int do_open(void)
{
	fd = open("file", O_RDWR);
	return fd;
}

static int do_readdir(void)
{
	char buf[4096];
	ssize_t n;

	fd = open(".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return -1;
	while ((n = getdents64(fd, buf, sizeof(buf))) > 0)
		;
	return n;
}

static int do_mkdir(void)
{
	return mkdir("new", 0755);
}

static int do_mknod(void)
{
	return mknod("new", S_IFCHR | 0600, makedev(1, 3));
}

static int do_fifo(void)
{
	return mkfifo("new", 0600);
}

static int do_symlink(void)
{
	return symlink("file", "new");
}

static int do_long_symlink(void)
{
	return symlink(long_target, "new");
}

static int do_link(void)
{
	return link("file", "new");
}

static int do_unlink(void)
{
	return unlink("file");
}

static int do_rmdir(void)
{
	return rmdir("dir");
}

static int do_rename(void)
{
	return rename("file", "new");
}

static int do_rename_over(void)
{
	return rename("file", "other");
}

static int do_rename_dir(void)
{
	return rename("dir", "target/dir");
}

static int do_exchange(void)
{
	return renameat2(AT_FDCWD, "file", AT_FDCWD, "other", RENAME_EXCHANGE);
}

static int do_whiteout(void)
{
	return renameat2(AT_FDCWD, "file", AT_FDCWD, "new", RENAME_WHITEOUT);
}

static int do_link_tmpfile(void)
{
	return linkat(fd, "", AT_FDCWD, "new", AT_EMPTY_PATH);
}

static int do_attr(void)
{
	return setxattr("file", "user.name", "value", 5, 0);
}

static int do_large_attr(void)
{
	return setxattr("file", "user.name", value, sizeof(value), 0);
}

static int do_get_attr(void)
{
	return getxattr("file", "user.name", value, sizeof(value)) < 0 ? -1 : 0;
}

static int do_attr_of_a_block(void)
{
	return setxattr("file", "user.000000", value, BLOCK_VALUE, 0);
}

static void expect_more_metadata(void)
{
	if (metadata_blocks() == metadata_was)
		errx(1, "there was metadata for it");
}

static int do_remove_attr(void)
{
	return removexattr("file", "user.name");
}

static int do_chmod(void)
{
	return chmod("file", 0400);
}

static int do_chown(void)
{
	return chown("file", 1, 1);
}

static int do_touch(void)
{
	return utimensat(AT_FDCWD, "file", NULL, 0);
}

static int do_grow(void)
{
	return truncate("file", 300 * MIB);
}

static int do_shrink(void)
{
	return truncate("file", 2 * MIB);
}

static int do_fill_holes(void)
{
	fd = open("file", O_RDWR);
	return fd < 0 ? fd : fallocate(fd, 0, 0, 64 * MIB);
}

static int do_punch(void)
{
	fd = open("file", O_RDWR);
	return fd < 0 ? fd :
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * MIB,
				  2 * MIB);
}

static int do_punch_middle(void)
{
	fd = open("file", O_RDWR);
	return fd < 0 ? fd :
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * MIB,
				  20 * MIB);
}

/* The ends of both ranges split an extent. */
static int do_exchange_range(void)
{
	struct guestmemfs_exchange_range arg = {
		.file1_fd = other_fd,
		.file1_offset = 2 * MIB,
		.file2_offset = 4 * MIB,
		.length = 2 * MIB,
	};

	return ioctl(fd, GUESTMEMFS_IOC_EXCHANGE_RANGE, &arg);
}

/* A program that touches memory which cannot be had gets SIGBUS. */
static void on_bus(int sig)
{
	siglongjmp(bus, sig);
}

static int do_map(void)
{
	char *p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int ret = 0;

	if (p == MAP_FAILED)
		return -1;
	if (sigsetjmp(bus, 1)) {
		errno = ENOMEM;
		ret = -1;
	} else {
		*(volatile char *)p = 1;
	}
	munmap(p, 4 * MIB);
	return ret;
}

static int do_handle(void)
{
	struct {
		struct file_handle fh;
		char room[128];
	} handle = { .fh.handle_bytes = 128 };
	int id, mount = open(dir, O_RDONLY | O_DIRECTORY);

	if (mount < 0)
		return -1;
	if (name_to_handle_at(AT_FDCWD, "file", &handle.fh, &id, 0)) {
		close(mount);
		return -1;
	}
	fd = open_by_handle_at(mount, &handle.fh, O_RDWR);
	close(mount);
	return fd;
}

static int mount_at(const char *where, const char *nid)
{
	char data[32];

	snprintf(data, sizeof(data), "node=%s", nid);
	return mount("none", where, "guestmemfs", 0, data);
}

static int do_mount(void)
{
	return mount_at("/tmp/mount", other);
}

static int do_mount_again(void)
{
	return mount_at("/tmp/mount", node);
}

static void unmount(void)
{
	if (umount("/tmp/mount"))
		err(1, "umount");
}

static int do_remount(void)
{
	return mount(NULL, dir, NULL, MS_REMOUNT, "nr_inodes=100000");
}

static int do_read_only(void)
{
	return mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL);
}

static void writable(void)
{
	if (mount(NULL, dir, NULL, MS_REMOUNT, NULL))
		err(1, "remount");
}

static int do_freeze(void)
{
	return set(node, "frozen", "1");
}

static void thaw(void)
{
	if (set(node, "frozen", "0"))
		err(1, "thaw");
}

static int discard(void)
{
	char name[16];

	snprintf(name, sizeof(name), "node%s", other);
	return set(other, "discard", name);
}

/* Without memory the node has failed, and only the discarded files are lost. */
static int do_discard(void)
{
	int ret = discard(), error = errno;

	if (ret) {
		let_fail(0);
		if (discard())
			err(1, "a node that could not be discarded");
	}
	errno = error;
	return ret;
}

static int do_setting(void)
{
	return set(node, "scrub_rate", "1000000000");
}

static int read_all(const char *name)
{
	char buf[4096];
	ssize_t n;

	fd = open(attribute(node, name), O_RDONLY);
	if (fd < 0)
		return -1;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		;
	return n;
}

static int do_check(void)
{
	return read_all("check");
}

static int do_bitmap(void)
{
	return read_all("bitmap");
}

static int do_extents(void)
{
	return read_all("extents");
}

#define OPERATION(name_, prepare_, run_, ...)                                  \
	{                                                                      \
		.name = name_, .prepare = prepare_, .run = run_, ##__VA_ARGS__ \
	}

static const struct operation {
	const char *name;
	void (*prepare)(void);
	int (*run)(void);
	void (*undo)(void); /* after one that succeeded */
	bool fills; /* holes, which stay filled if what comes then fails */
} operations[] = {
	OPERATION("create", no_files, do_create),
	OPERATION("create-among-many", many_names, do_create),
	OPERATION("tmpfile", no_files, do_tmpfile),
	OPERATION("open", one_file, do_open),
	OPERATION("readdir", many_names, do_readdir),
	OPERATION("mkdir", no_files, do_mkdir),
	OPERATION("mknod", no_files, do_mknod),
	OPERATION("fifo", no_files, do_fifo),
	OPERATION("symlink", no_files, do_symlink),
	OPERATION("long-symlink", no_files, do_long_symlink),
	OPERATION("link", one_file, do_link),
	OPERATION("link-tmpfile", open_tmpfile, do_link_tmpfile),
	OPERATION("unlink", one_file, do_unlink),
	OPERATION("unlink-pieces", pieces, do_unlink),
	OPERATION("rmdir", one_dir, do_rmdir),
	OPERATION("rename", one_file, do_rename),
	OPERATION("rename-over", two_files, do_rename_over),
	OPERATION("rename-dir", two_dirs, do_rename_dir),
	OPERATION("exchange", two_files, do_exchange),
	OPERATION("whiteout", one_file, do_whiteout),
	OPERATION("attr", empty_file, do_attr),
	OPERATION("attr-large", empty_file, do_large_attr),
	OPERATION("attr-larger", one_attr, do_large_attr),
	OPERATION("attr-smaller", large_attr, do_attr),
	OPERATION("attr-get", large_attr, do_get_attr),
	OPERATION("attr-remove", large_attr, do_remove_attr),
	OPERATION("chmod", one_file, do_chmod),
	OPERATION("chown", one_file, do_chown),
	OPERATION("touch", one_file, do_touch),
	OPERATION("grow", empty_file, do_grow),
	OPERATION("grow-more", one_file, do_grow),
	OPERATION("shrink", one_file, do_shrink),
	OPERATION("shrink-pieces", pieces, do_shrink),
	OPERATION("fill-holes", pieces, do_fill_holes),
	OPERATION("punch", one_file, do_punch),
	OPERATION("punch-pieces", pieces, do_punch_middle),
	OPERATION("exchange-range", two_open_files, do_exchange_range),
	OPERATION("map", open_file, do_map),
	OPERATION("map-hole", open_hole, do_map, .fills = true),
	OPERATION("handle", one_file, do_handle),
	OPERATION("mount", no_files, do_mount, .undo = unmount),
	OPERATION("mount-again", no_files, do_mount_again, .undo = unmount),
	OPERATION("remount", no_files, do_remount),
	OPERATION("read-only", one_file, do_read_only, .undo = writable),
	OPERATION("freeze", one_file, do_freeze, .undo = thaw),
	OPERATION("discard", no_files, do_discard),
	OPERATION("setting", no_files, do_setting),
	OPERATION("check", many_names, do_check),
	OPERATION("bitmap", one_file, do_bitmap),
	OPERATION("extents", one_file, do_extents),
	/* The last, as each check of all metadata takes longer with more of it. */
	OPERATION("more-metadata", full_metadata, do_attr_of_a_block,
		  .undo = expect_more_metadata),
};

/* Removes all that is in the working directory. */
static void empty(void)
{
	struct dirent *entry;
	DIR *d;

	if (fd >= 0)
		close(fd);
	if (other_fd >= 0)
		close(other_fd);
	fd = -1;
	other_fd = -1;
	d = opendir(".");
	if (!d)
		err(1, "opendir");
	while ((entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (entry->d_type == DT_DIR) {
			if (chdir(entry->d_name))
				err(1, "chdir");
			empty();
			if (chdir(".."))
				err(1, "chdir");
		}
		if (unlinkat(dirfd(d), entry->d_name,
			     entry->d_type == DT_DIR ? AT_REMOVEDIR : 0))
			err(1, "%s", entry->d_name);
	}
	closedir(d);
}

static void run(const struct operation *op)
{
	int nth, done_without = 0;

	for (nth = 1; nth < MOST_POINTS; nth++) {
		struct seen before, after;
		int ret, error, left;

		op->prepare();
		before = look();
		let_fail(nth);
		ret = op->run();
		error = errno;
		left = let_none_fail();
		if (ret >= 0 && op->undo)
			op->undo();
		check(op->name, nth, node);
		check(op->name, nth, other);
		if (ret < 0) {
			if (error != ENOMEM)
				errx(1, "%s, allocation %d: %s", op->name, nth,
				     strerror(error));
			after = look();
			if (!op->fills && memcmp(&before, &after, sizeof(before)))
				errx(1,
				     "%s, allocation %d: it has failed, and changed something",
				     op->name, nth);
			if (left)
				errx(1, "%s, allocation %d: it has failed before", op->name,
				     nth);
		} else if (!left) {
			done_without++;
		}
		empty();
		if (left) {
			printf("%s: points=%d without=%d\n", op->name, nth - 1, done_without);
			return;
		}
	}
	errx(1, "%s has no end", op->name);
}

int main(int argc, char **argv)
{
	struct sigaction bus_action = { .sa_handler = on_bus };
	char path[4096];
	size_t i;
	int arg, ran = 0;

	if (argc < 4)
		errx(2, "usage: failures DIR NODE OTHER [OPERATION]...");
	dir = argv[1];
	node = argv[2];
	other = argv[3];
	snprintf(path, sizeof(path), "%s/failures", dir);
	if (mkdir(path, 0755) || chdir(path))
		err(1, "%s", path);
	if (mkdir("/tmp/mount", 0755))
		err(1, "/tmp/mount");
	memset(value, 'x', sizeof(value));
	memset(long_target, 'y', sizeof(long_target) - 1);
	sigaction(SIGBUS, &bus_action, NULL);
	fail_nth = open("/proc/self/fail-nth", O_RDWR);
	if (fail_nth < 0)
		err(1, "/proc/self/fail-nth");
	setvbuf(stdout, NULL, _IOLBF, 0);

	for (i = 0; i < ARRAY_SIZE(operations); i++) {
		bool wanted = argc == 4;

		for (arg = 4; arg < argc; arg++)
			wanted |= !strcmp(operations[i].name, argv[arg]);
		if (wanted) {
			run(&operations[i]);
			ran++;
		}
	}
	if (!ran)
		errx(2, "no such operation");
	remove_fillers();
	return 0;
}
