// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa mount and umount: each node at a directory of its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"

struct arguments {
	const char *base;
	const char *options;
	const char *mode;
	const char *uid;
	const char *gid;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case 'B':
		args->base = arg;
		return 0;
	case 'o':
		args->options = arg;
		return 0;
	case 'm':
		args->mode = arg;
		return 0;
	case 'u':
		args->uid = arg;
		return 0;
	case 'g':
		args->gid = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What a guest's memory has no use for, and who writes to a node could use against others. */
#define SAFE_OPTIONS	"nosuid,nodev,noexec,nosymfollow"

static int make_directories(const char *path)
{
	char *copy = xstrdup(path), *slash = copy;
	int err = 0;

	while (!err && (slash = strchr(slash + 1, '/'))) {
		*slash = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST)
			err = -errno;
		*slash = '/';
	}
	if (!err && mkdir(copy, 0755) && errno != EEXIST)
		err = -errno;
	free(copy);
	return err;
}

/* What is mounted at a path: the node of guestmemfs, -1 if another, -2 if nothing. */
static int mounted_at(const char *path)
{
	struct libmnt_table *table = mounts_read();
	struct libmnt_cache *cache = mnt_new_cache();
	struct libmnt_fs *fs;
	int nid = -2;

	/* By which it finds what has another name here, through a link or "..". */
	mnt_table_set_cache(table, cache);
	fs = mnt_table_find_target(table, path, MNT_ITER_BACKWARD);
	if (fs)
		nid = mnt_fs_match_fstype(fs, "guestmemfs") ? fs_node(fs) : -1;
	mnt_unref_table(table);
	mnt_unref_cache(cache);
	return nid;
}

static char *mount_options(const struct arguments *args, int nid)
{
	char *options = xstrdup(SAFE_OPTIONS), *one;
	const struct {
		const char *name;
		const char *value;
	} more[] = { { "mode", args->mode }, { "uid", args->uid }, { "gid", args->gid } };
	size_t i;

	for (i = 0; i < 3; i++) {
		if (!more[i].value)
			continue;
		one = xasprintf("%s=%s", more[i].name, more[i].value);
		options = join(options, ",", one);
		free(one);
	}
	if (args->options)
		options = join(options, ",", args->options);
	/* Of several the kernel takes the last. */
	one = xasprintf("node=%d", nid);
	options = join(options, ",", one);
	free(one);
	return options;
}

static int mount_node(const struct arguments *args, int nid, const char *target)
{
	struct libmnt_context *context;
	char *options, message[512];
	bool made;
	int at, err;

	at = mounted_at(target);
	if (at == nid) {
		printf("node %d is mounted at %s already\n", nid, target);
		return EX_OK;
	}
	if (at != -2) {
		warning("node %d: something else is mounted at %s: unmount it, or choose another --base",
			nid, target);
		return EX_FAILED;
	}
	made = access(target, F_OK);
	err = make_directories(target);
	if (err) {
		warning("node %d: %s: %s", nid, target, strerror(-err));
		return EX_FAILED;
	}

	context = mnt_new_context();
	options = mount_options(args, nid);
	if (!context || mnt_context_set_fstype(context, "guestmemfs") ||
	    mnt_context_set_source(context, "guestmemfs") ||
	    mnt_context_set_target(context, target) || mnt_context_set_options(context, options))
		fatal(EX_FAILED, "out of memory");
	err = mnt_context_mount(context);
	err = mnt_context_get_excode(context, err, message, sizeof(message));
	if (err)
		warning("node %d: %s: %s; the kernel's log (dmesg) may say more", nid, target,
			*message ? message : "cannot be mounted");
	else
		printf("node %d is mounted at %s\n", nid, target);
	if (err && made)
		rmdir(target);
	mnt_free_context(context);
	free(options);
	return err ? EX_FAILED : EX_OK;
}

/*
 * A directory that is left is one of another file system, where QEMU would make a file
 * of a guest's memory without a word. That of fstab is not ours.
 */
static void remove_directory(struct libmnt_context *context, const char *target)
{
	struct libmnt_table *fstab;

	if (!mnt_context_get_fstab(context, &fstab) &&
	    mnt_table_find_target(fstab, target, MNT_ITER_FORWARD))
		return;
	rmdir(target);
}

/* /proc does not show what a pin holds. */
static void report_pins(int nid, const char *target)
{
	int fd = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);

	pins_warn(nid, fd, target);
	if (fd >= 0)
		close(fd);
}

static int umount_node(const struct arguments *args, int nid, const char *target)
{
	struct libmnt_context *context;
	char message[512];
	int err;

	(void)args;
	if (mounted_at(target) != nid) {
		printf("node %d is not mounted at %s\n", nid, target);
		return EX_OK;
	}
	context = mnt_new_context();
	if (!context || mnt_context_set_target(context, target))
		fatal(EX_FAILED, "out of memory");
	err = mnt_context_umount(context);
	err = mnt_context_get_excode(context, err, message, sizeof(message));
	if (err)
		warning("node %d: %s: %s", nid, target, *message ? message : "cannot be unmounted");
	else
		printf("node %d is unmounted from %s\n", nid, target);
	if (err)
		report_pins(nid, target);
	else
		remove_directory(context, target);
	mnt_free_context(context);
	return err ? EX_FAILED : EX_OK;
}

static int for_nodes(const struct arguments *args, int argc, char **argv,
		     int (*fn)(const struct arguments *args, int nid, const char *target))
{
	struct nodes *nodes = nodes_select(argc, argv);
	int status = EX_OK;
	size_t i;

	if (*args->base != '/')
		fatal(EX_USAGE, "--base %s: it has to start with /", args->base);
	refuse_sysroot("mount or umount");
	for (i = 0; i < nodes->nr; i++) {
		char *target = xasprintf("%s/node%d", args->base, nodes->node[i].nid);

		if (fn(args, nodes->node[i].nid, target))
			status = EX_FAILED;
		free(target);
	}
	nodes_free(nodes);
	return status;
}

int cmd_mount(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "base", 'B', "DIR", 0, "node N goes to DIR/nodeN (" MOUNT_BASE ")", 0 },
		{ "options", 'o', "LIST", 0, "more options of the mount", 0 },
		{ "mode", 'm', "MODE", 0, "permissions of the top directory, in octal", 0 },
		{ "uid", 'u', "UID", 0, "owner of the top directory", 0 },
		{ "gid", 'g', "GID", 0, "group of the top directory", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "[NODE...]",
		"Mount nodes, or all. A node that is mounted already stays mounted.",
		NULL, NULL, NULL };
	struct arguments args = { .base = MOUNT_BASE };
	char *value;
	size_t len;
	int first;

	parse_args(&argp, argc, argv, &first, &args);
	if (args.options && !mnt_optstr_get_option(args.options, "node", &value, &len))
		fatal(EX_USAGE, "--options %s: the directory of a node is for that node: name nodes as arguments",
		      args.options);
	/* VMMs of other users need access, with any umask of the caller. */
	umask(022);
	return for_nodes(&args, argc - first, argv + first, mount_node);
}

int cmd_umount(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "base", 'B', "DIR", 0, "node N is at DIR/nodeN (" MOUNT_BASE ")", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "[NODE...]",
		"Unmount nodes, or all. Their files stay.", NULL, NULL, NULL };
	struct arguments args = { .base = MOUNT_BASE };
	int first;

	parse_args(&argp, argc, argv, &first, &args);
	return for_nodes(&args, argc - first, argv + first, umount_node);
}
