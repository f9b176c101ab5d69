// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa carve and uncarve: memory of one file becomes the memory of another file of the
 * node, without a copy and without free blocks, by GUESTMEMFS_IOC_EXCHANGE_RANGE.
 *
 * carve takes only blocks that no device has pinned and no process maps: a virtual machine
 * that still uses a range maps it. QEMU can be asked as well, see qmp.c. Blocks of a running
 * machine that were punched, as virtio-mem does, are free memory of the node already.
 *
 * The blocks are in exactly one of the files at any instant. They are zeroed in the file
 * that they leave. If that file is in use, they are zeroed once more in the other one, which
 * has no permission bits until then.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/guestmemfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "carve.h"
#include "gmfs-numa.h"

/* Of a child: number of the parent's inode, and the offset in it in bytes. */
#define TAG_CARVED	"user.guestmemfs.carved"

enum { C_PARENT, C_CHILD, C_NODE, C_OFFSET, C_SIZE, C_ZEROED, NR_COLUMNS };

static const struct column columns[NR_COLUMNS] = {
	[C_PARENT] = { "PARENT", "file that the memory is carved out of", COL_TEXT, true },
	[C_CHILD] = { "CHILD", "file that has the memory in between", COL_TEXT, true },
	[C_NODE] = { "NODE", "number of the node", COL_NUMBER, true },
	[C_OFFSET] = { "OFFSET", "start of the memory in the parent", COL_SIZE, true },
	[C_SIZE] = { "SIZE", "size of the memory", COL_SIZE, true },
	[C_ZEROED] = { "ZEROED", "its old contents are gone", COL_BOOL, true },
};

enum { OPT_DRY_RUN = 256, OPT_QMP };

struct arguments {
	struct table_options table;
	const char *size_text;
	uint64_t size;		/* bytes */
	uint64_t offset;	/* bytes, or NUMBER_UNKNOWN */
	const char *qmp;	/* socket, or NULL */
	bool keep;
	bool dry_run;
};

/* --- files --- */

static uint64_t block_size(int nid)
{
	struct nodes *nodes = nodes_read();
	uint64_t size = nodes_need(nodes, nid)->block_size;

	nodes_free(nodes);
	if (!size || !is_known(size))
		fatal(EX_FAILED, "node %d: its block_size cannot be read", nid);
	return size;
}

/* A dry run reads only: no process needs the right to write then, and no time changes. */
static void open_side(struct side *side, const char *path, bool dry_run)
{
	int place = file_find(path, &side->nid);

	if (place < 0)
		fatal(EX_FAILED, "%s: %s", path, file_open_error());
	if (node_is_frozen(side->nid))
		fatal(EX_FAILED, "node %d is frozen: gmfs-numa thaw %d", side->nid, side->nid);
	side->path = path;
	side->block = block_size(side->nid);
	side->fd = dry_run ? file_read(place) : file_write(place);
	close(place);
	if (side->fd < 0) {
		errno = -side->fd;
		fatal(EX_FAILED, "%s: %s", path, file_open_error());
	}
	side->nr_extents = file_extents(side->fd, &side->extents);
	if (side->nr_extents < 0 || fstat(side->fd, &side->st))
		fatal(EX_FAILED, "%s: where its memory is cannot be read: %s", path,
		      strerror(side->nr_extents < 0 ? -side->nr_extents : errno));
}

static void close_side(struct side *side)
{
	free(side->extents);
	close(side->fd);
}

static void check_multiple(const struct side *side, const char *what, uint64_t bytes)
{
	char *block = format_size(side->block);

	if (bytes % side->block)
		fatal(EX_USAGE, "%s: it has to be a multiple of %s", what, block);
	free(block);
}

/*
 * Zero what the file has in the range: FALLOC_FL_ZERO_RANGE fills a hole with memory of the
 * node. A signal that ends the program ends this, and leaves a part of the range zeroed.
 * 0 or -errno.
 */
static int zero(const struct side *side, uint64_t offset, uint64_t size)
{
	off_t at = offset, end = offset + size, hole;

	while (at < end) {
		at = lseek(side->fd, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		if (at >= end)
			return 0;
		hole = lseek(side->fd, at, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if (hole > end)
			hole = end;
		if (!fallocate(side->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, hole - at))
			at = hole;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Memory of @from for a hole of @to, or only a check that it can move. 0 or -errno. */
static int move(const struct side *from, uint64_t from_offset, const struct side *to,
		uint64_t to_offset, uint64_t size, bool check)
{
	struct guestmemfs_exchange_range range = {
		.file1_fd = from->fd,
		.file1_offset = from_offset,
		.file2_offset = to_offset,
		.length = size,
		.flags = GUESTMEMFS_EXCHANGE_RANGE_GROW |
			 GUESTMEMFS_EXCHANGE_RANGE_INTO_HOLE |
			 (check ? GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN : 0),
	};

	return ioctl(to->fd, GUESTMEMFS_IOC_EXCHANGE_RANGE, &range) ? -errno : 0;
}

/*
 * The memory moves with its contents zeroed, unless they are to be kept. If there is a
 * lease on @from, it has to be whole still: a process that opens the file waits for the
 * end of the lease, and the kernel ends it after a time. 0 or -errno.
 */
static int zero_and_move(const struct arguments *args, const struct side *from,
			 uint64_t from_offset, const struct side *to, uint64_t to_offset,
			 uint64_t size, bool leased)
{
	int err = args->keep ? 0 : zero(from, from_offset, size);

	if (!err && leased && !file_lease_is_held(from->fd))
		err = -ETXTBSY;
	return err ?: move(from, from_offset, to, to_offset, size, false);
}

static const char *move_error(int err)
{
	if (err == -ETXTBSY)
		return "a process has opened it";
	if (err == -EEXIST)
		return "a process has allocated memory in the place where it was to go";
	if (err == -EBUSY)
		return "it is pinned for a device, or one of the files is that of a guest_memfd";
	if (err == -ENOTTY)
		return "this kernel cannot exchange ranges of files";
	return strerror(-err);
}

static void show(const struct arguments *args, const struct side *parent, const char *child,
		 uint64_t offset, uint64_t size)
{
	struct table *table = table_new("moved", columns, NR_COLUMNS, &args->table);

	table_row(table);
	table_text(table, C_PARENT, parent->path);
	table_text(table, C_CHILD, child);
	table_number(table, C_NODE, parent->nid);
	table_size(table, C_OFFSET, offset);
	table_size(table, C_SIZE, size);
	table_bool(table, C_ZEROED, !args->keep);
	table_print(table);
}

/* --- carve --- */

/* Where the child will be. */
struct place {
	const char *path;
	char *dir_path;
	char *name;
	int dir;
};

static void find_place(struct place *place, const char *path, const struct side *parent)
{
	struct stat st;

	place->path = path;
	path_split(path, &place->dir_path, &place->name);
	place->dir = open(place->dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (place->dir < 0 || fstat(place->dir, &st))
		fatal(EX_FAILED, "%s: %s", place->dir_path, strerror(errno));
	if (st.st_dev != parent->st.st_dev)
		fatal(EX_FAILED, "%s: it has to be on node %d, as %s is", path, parent->nid,
		      parent->path);
	if (!faccessat(place->dir, place->name, F_OK, AT_SYMLINK_NOFOLLOW))
		fatal(EX_FAILED, "%s: %s", path, strerror(EEXIST));
}

static void free_place(struct place *place)
{
	close(place->dir);
	free(place->dir_path);
	free(place->name);
}

/* A child that got no memory goes, if it has its name still. */
static void remove_child(const struct place *place, const struct side *child)
{
	struct stat st;

	if (!fstatat(place->dir, place->name, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_dev == child->st.st_dev && st.st_ino == child->st.st_ino)
		unlinkat(place->dir, place->name, 0);
}

/*
 * With the owner of the parent, as it has memory of the same owner. Its mode follows when
 * its memory is zeroed. 0 or -errno.
 */
static int prepare_child(struct side *child, const struct side *parent, uint64_t offset)
{
	char *tag = xasprintf("%ju %ju", (uintmax_t)parent->st.st_ino, (uintmax_t)offset);
	int err = 0;

	if (fchown(child->fd, parent->st.st_uid, parent->st.st_gid) ||
	    fsetxattr(child->fd, TAG_CARVED, tag, strlen(tag), 0))
		err = -errno;
	free(tag);
	return err;
}

/*
 * A process that has the parent open can have stored to the memory after it was zeroed, and
 * before it moved. Without a lease, it is zeroed once more. 0 or -errno.
 */
static int finish_child(const struct arguments *args, const struct side *child,
			const struct side *parent, bool leased)
{
	int err = leased || args->keep ? 0 : zero(child, 0, args->size);

	if (!err && fchmod(child->fd, parent->st.st_mode & 0777))
		err = -errno;
	return err;
}

/*
 * It gets its name before contents are zeroed, so that nothing is lost if the name is taken,
 * and before it gets memory: that of a file without a name would be freed.
 */
static void make_child(const struct arguments *args, const struct place *place,
		       const struct side *parent, uint64_t offset, bool leased)
{
	struct side child = { .path = place->path };
	char *handle;
	int err;

	child.fd = openat(place->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0);
	if (child.fd < 0 || fstat(child.fd, &child.st))
		fatal(EX_FAILED, "%s: %s", place->path, strerror(errno));
	err = prepare_child(&child, parent, offset);
	if (!err)
		err = move(parent, offset, &child, 0, args->size, true);
	if (err)
		fatal(EX_FAILED, "%s: it keeps its memory: %s", parent->path, move_error(err));
	handle = xasprintf("/proc/self/fd/%d", child.fd);
	if (linkat(AT_FDCWD, handle, place->dir, place->name, AT_SYMLINK_FOLLOW))
		fatal(EX_FAILED, "%s: %s", place->path, strerror(errno));
	free(handle);
	err = zero_and_move(args, parent, offset, &child, 0, args->size, leased);
	if (err) {
		remove_child(place, &child);
		fatal(EX_FAILED, "%s: it keeps its memory: %s", parent->path, move_error(err));
	}
	err = finish_child(args, &child, parent, leased);
	if (err)
		fatal(EX_FAILED, "%s: it has the memory, but not zeroed or without the mode of %s: %s",
		      place->path, parent->path, strerror(-err));
	close(child.fd);
}

static void carve(const struct arguments *args, const char *parent_path, const char *child_path)
{
	struct side parent = { };
	struct place place = { };
	uint64_t offset;
	int lease;

	open_side(&parent, parent_path, args->dry_run);
	check_multiple(&parent, args->size_text, args->size);
	if (is_known(args->offset))
		check_multiple(&parent, "--offset", args->offset);
	find_place(&place, child_path, &parent);
	/* An open() by another process waits until this is done. */
	lease = file_lease(parent.fd);
	if (lease && lease != -EAGAIN)
		fatal(EX_FAILED, "%s: whether it is in use is unknown: %s", parent_path,
		      file_lease_error(lease));
	offset = carve_find(&parent, args->size_text, args->size, args->offset, lease,
			    args->qmp);
	if (!args->dry_run)
		make_child(args, &place, &parent, offset, !lease);
	show(args, &parent, child_path, offset, args->size);
	free_place(&place);
	close_side(&parent);
}

/* --- uncarve --- */

/* Where the memory of the child was, as carve has noted it. */
static uint64_t noted_offset(const struct side *child, const struct side *parent)
{
	uint64_t ino, offset;
	char tag[64];
	ssize_t len;

	len = fgetxattr(child->fd, TAG_CARVED, tag, sizeof(tag) - 1);
	tag[len > 0 ? len : 0] = '\0';
	if (sscanf(tag, "%ju %ju", &ino, &offset) != 2)
		fatal(EX_FAILED, "%s: it was not carved out of another file: --offset says where the memory goes",
		      child->path);
	if (ino != parent->st.st_ino)
		fatal(EX_FAILED, "%s: it was carved out of another file than %s, of inode %ju: name that, or say by --offset where the memory goes",
		      child->path, parent->path, (uintmax_t)ino);
	return offset;
}

/* Exits if the parent has memory there, or ends before. */
static void check_hole(const struct side *parent, const struct side *child, uint64_t offset)
{
	uint64_t size = child->st.st_size;
	char *text;
	ssize_t i;

	if ((uint64_t)parent->st.st_size < size || offset > parent->st.st_size - size)
		fatal(EX_FAILED, "%s: it ends before the place of the memory", parent->path);
	for (i = 0; i < parent->nr_extents; i++) {
		const struct extent *extent = &parent->extents[i];

		if (extent->offset >= offset + size || extent->offset + extent->size <= offset)
			continue;
		text = format_size(extent->offset > offset ? extent->offset : offset);
		fatal(EX_FAILED, "%s: it has other memory at %s by now: remove %s, and its memory is free memory of the node",
		      parent->path, text, child->path);
	}
}

static void check_unused(const struct side *child, int lease)
{
	if (lease == -EAGAIN)
		fatal(EX_FAILED, "%s: it is in use: stop the virtual machine that has it first; gmfs-numa ls shows its users",
		      child->path);
	if (lease)
		fatal(EX_FAILED, "%s: whether it is in use is unknown: %s", child->path,
		      file_lease_error(lease));
}

static void give_back(const struct arguments *args, const struct side *child,
		      const struct side *parent, uint64_t offset)
{
	uint64_t size = child->st.st_size;
	char *dir, *name;
	int err, fd;

	err = move(child, 0, parent, offset, size, true);
	if (!err)
		err = zero_and_move(args, child, 0, parent, offset, size, true);
	if (err)
		fatal(EX_FAILED, "%s: it keeps its memory: %s", child->path, move_error(err));
	path_split(child->path, &dir, &name);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 ? -errno : file_remove(fd, name, child->fd);
	if (err)
		warning("%s: it has no memory any more, but cannot be removed: %s", child->path,
			strerror(-err));
	if (fd >= 0)
		close(fd);
	free(dir);
	free(name);
}

static void uncarve(const struct arguments *args, const char *child_path, const char *parent_path)
{
	struct side child = { }, parent = { };
	uint64_t offset;

	open_side(&child, child_path, args->dry_run);
	open_side(&parent, parent_path, args->dry_run);
	if (child.nid != parent.nid)
		fatal(EX_FAILED, "%s is on node %d, and %s on node %d", child_path, child.nid,
		      parent_path, parent.nid);
	if (child.st.st_ino == parent.st.st_ino)
		fatal(EX_FAILED, "%s and %s are the same file", child_path, parent_path);
	check_unused(&child, file_lease(child.fd));
	check_multiple(&child, child_path, child.st.st_size);
	offset = is_known(args->offset) ? args->offset : noted_offset(&child, &parent);
	check_multiple(&parent, "--offset", offset);
	check_hole(&parent, &child, offset);
	if (!args->dry_run)
		give_back(args, &child, &parent, offset);
	show(args, &parent, child_path, offset, child.st.st_size);
	close_side(&parent);
	close_side(&child);
}

/* --- command lines --- */

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->table;
		return 0;
	case 's':
		args->size_text = arg;
		if (!parse_size(arg, &args->size) || !args->size)
			argp_error(state, "'%s' is no size such as 512M or 4G", arg);
		return 0;
	case 'O':
		if (!parse_size(arg, &args->offset) || args->offset > INT64_MAX)
			argp_error(state, "'%s' is no offset such as 0, 512M or 4G", arg);
		return 0;
	case 'k':
		args->keep = true;
		return 0;
	case OPT_QMP:
		args->qmp = arg;
		return 0;
	case OPT_DRY_RUN:
		args->dry_run = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* uncarve has those after the first two. */
static const struct argp_option options[] = {
	{ "qmp", OPT_QMP, "SOCKET", 0,
	  "ask the QEMU at this monitor socket, and take no memory that its guest still has", 0 },
	{ "size", 's', "SIZE", 0, "of the memory that moves, such as 512M", 0 },
	{ "offset", 'O', "OFFSET", 0,
	  "of the memory in PARENT; without it, carve takes the last range that will do, and uncarve moves it back there",
	  0 },
	{ "keep", 'k', NULL, 0, "do not zero the memory", 0 },
	{ "dry-run", OPT_DRY_RUN, NULL, 0, "only show what would move", 0 },
	{ }
};

static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };

int cmd_carve(int argc, char **argv)
{
	static const struct argp argp = { options, parse, "PARENT CHILD",
		"Move memory of the file PARENT to a new file CHILD of the node, and zero it. PARENT"
		" has a hole then. Memory that a process maps, or that is pinned, is not taken.",
		children, columns_help, NULL };
	struct arguments args = { .offset = NUMBER_UNKNOWN };
	int first;

	columns_of_help(columns, NR_COLUMNS);
	parse_args(&argp, argc, argv, &first, &args);
	if (argc - first != 2)
		fatal(EX_USAGE, "carve needs two files, PARENT and CHILD");
	if (!args.size_text)
		fatal(EX_USAGE, "carve needs --size, such as --size 512M");
	refuse_sysroot("carve");
	carve(&args, argv[first], argv[first + 1]);
	return EX_OK;
}

int cmd_uncarve(int argc, char **argv)
{
	static const struct argp argp = { options + 2, parse, "CHILD PARENT",
		"Zero the memory of the file CHILD, move it into the hole of the file PARENT that"
		" carve has left, and remove CHILD.", children, columns_help, NULL };
	struct arguments args = { .offset = NUMBER_UNKNOWN };
	int first;

	columns_of_help(columns, NR_COLUMNS);
	parse_args(&argp, argc, argv, &first, &args);
	if (argc - first != 2)
		fatal(EX_USAGE, "uncarve needs two files, CHILD and PARENT");
	refuse_sysroot("uncarve");
	uncarve(&args, argv[first], argv[first + 1]);
	return EX_OK;
}
