// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover: processes and other users of files. A kexec ends them all.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "handover.h"

struct users {
	char *names;		/* of processes, as far as /proc has them */
	char *discarding;	/* those that free memory of their files when they end */
	size_t nr_deleted;
	bool all_seen;		/* /proc has all processes */
	uint64_t nr_used;	/* files, as the kernel has it */
	char *used;		/* one of them */
	uint64_t nr_nameless;	/* inodes that the kernel counts and that have no name */
	uint64_t nr_preserved;	/* files that sessions of LUO hold */
	bool luo_has_all;	/* and on no node there are more in use than these */
	uint64_t nr_empty;	/* files that have a size and no memory */
	char *empty;		/* one of them */
	char *unknown;		/* why not all users are known */
};

/* How often a node is looked at whose files change while they are counted. */
#define MAX_WALKS	5

static void not_known(struct users *users, int nid, const char *why)
{
	char *text;

	if (users->unknown)
		return;
	text = xasprintf("node %d: the users of its files are not known: %s", nid, why);
	users->unknown = printable(text);
	free(text);
}

/* What one walk through a node has found. */
struct node_users {
	uint64_t nr_used;
	char *used;
	uint64_t nr_empty;
	char *empty;
	int err;		/* why it is not known of a file */
};

static void ask_for_users(const struct file *file, void *arg)
{
	struct node_users *found = arg;
	int fd = file_read(file->place);
	int err = fd < 0 ? fd : file_lease(fd);

	if (fd >= 0)
		close(fd);
	if (file->st->st_size && !file->st->st_blocks) {
		found->nr_empty++;
		if (!found->empty)
			found->empty = printable(file->path);
	}
	if (err == -EAGAIN) {
		found->nr_used++;
		if (!found->used)
			found->used = printable(file->path);
	} else if (err) {
		found->err = err;
	}
}

/* False if files have come or gone, so that the numbers do not belong together. */
static bool walk_for_users(struct users *users, int nid, int fd, struct node_users *found,
			   uint64_t *nr_nameless)
{
	char *name = xasprintf("node%d", nid);
	uint64_t named, before = node_used_inodes(nid), after;

	if (files_walk_mount(fd, name, nid, ask_for_users, found, &named))
		not_known(users, nid, "not all of its files could be looked at");
	free(name);
	after = node_used_inodes(nid);
	if (!is_known(before) || !is_known(after)) {
		not_known(users, nid, "total_inodes or free_inodes cannot be read");
		*nr_nameless = 0;
		return true;
	}
	*nr_nameless = after > named ? after - named : 0;
	return before == after && after >= named;
}

/* Files without a name have users too, except those that only the next kernel frees. */
static void find_users_of_node(struct users *users, const struct node *node, int fd)
{
	struct node_users found = { };
	uint64_t nr_nameless, preserved;
	unsigned int tries = 0;
	bool settled;

	do {
		free(found.used);
		free(found.empty);
		found = (struct node_users){ };
		settled = walk_for_users(users, node->nid, fd, &found, &nr_nameless);
	} while (!settled && ++tries < MAX_WALKS);
	if (!settled)
		not_known(users, node->nid, "its files come and go");
	if (found.err)
		not_known(users, node->nid, file_lease_error(found.err));
	preserved = node_preserved_files(node->nid);
	if (!is_known(preserved)) {
		not_known(users, node->nid, "preserved_files cannot be read");
		preserved = 0;
	}
	users->luo_has_all &= found.nr_used + nr_nameless <= preserved;
	users->nr_preserved += preserved;
	users->nr_used += found.nr_used;
	users->nr_nameless += nr_nameless;
	if (!users->used)
		users->used = found.used;
	else
		free(found.used);
	users->nr_empty += found.nr_empty;
	if (!users->empty)
		users->empty = found.empty;
	else
		free(found.empty);
}

/* That its device is known has all processes searched, wherever they have it mounted. */
static int *open_nodes(struct users *users, const struct nodes *nodes)
{
	int *fds = xcalloc(nodes->nr, sizeof(*fds));
	struct stat st;
	size_t i;

	for (i = 0; i < nodes->nr; i++) {
		fds[i] = -ENOENT;
		/* What is mounted nowhere has no users. */
		if (!nodes->node[i].mounts)
			continue;
		/* A copy of another machine's tree has no files. */
		fds[i] = *sysroot ? -EREMOTE : node_mount_privately(nodes->node[i].nid);
		if (fds[i] == -EREMOTE)
			not_known(users, nodes->node[i].nid, "it is mounted, and on another machine");
		else if (fds[i] < 0)
			not_known(users, nodes->node[i].nid, strerror(-fds[i]));
		else if (!fstat(fds[i], &st))
			pool_device_add(st.st_dev, nodes->node[i].nid);
	}
	return fds;
}

/* A backend of QEMU with this option punches all of its file when QEMU quits. */
static bool discards_at_end(pid_t pid)
{
	static const char *const options[] = {
		"discard-data=on", "discard-data=yes", "discard-data=true", "discard-data=y",
		"\"discard-data\":true", "\"discard-data\": true",
	};
	bool found = false;
	size_t size, i;
	char *args = read_binary(&size, "/proc/%d/cmdline", pid), *arg;

	if (!args)
		return false;
	for (arg = args; arg < args + size && !found; arg += strnlen(arg, args + size - arg) + 1)
		for (i = 0; i < ARRAY_SIZE(options); i++)
			found |= memmem(arg, strnlen(arg, args + size - arg), options[i],
					strlen(options[i])) != NULL;
	free(args);
	return found;
}

static void find_processes(struct users *users)
{
	struct use *uses;
	size_t nr = uses_read(true, &uses, &users->all_seen), i;
	pid_t last = 0;
	char *one;

	for (i = 0; i < nr; i++) {
		users->nr_deleted += uses[i].deleted;
		if (uses[i].pid == last)
			continue;
		last = uses[i].pid;
		one = xasprintf("%s[%d]", uses[i].command, uses[i].pid);
		users->names = join(users->names, ", ", one);
		if (discards_at_end(uses[i].pid))
			users->discarding = join(users->discarding, ", ", one);
		free(one);
	}
	uses_free(uses, nr);
}

static void find_users(struct users *users, const struct nodes *nodes)
{
	int *fds;
	size_t i;

	memset(users, 0, sizeof(*users));
	users->luo_has_all = true;
	fds = open_nodes(users, nodes);
	find_processes(users);
	for (i = 0; i < nodes->nr; i++) {
		if (fds[i] < 0)
			continue;
		find_users_of_node(users, &nodes->node[i], fds[i]);
		close(fds[i]);
	}
	free(fds);
}

static void free_users(struct users *users)
{
	free(users->names);
	free(users->discarding);
	free(users->used);
	free(users->empty);
	free(users->unknown);
}

/* Files that are in use, and not by a process that /proc has. Sets *detail. */
static enum handover_result judge_hidden_users(const struct users *users, char **detail)
{
	char *files = NULL, *one;

	/* Processes that are not seen could have what a session has as well. */
	if (users->luo_has_all && users->all_seen && !users->unknown) {
		*detail = xasprintf("only LUO has files open, and preserves all %ju: keep its sessions open until the kexec",
				    (uintmax_t)users->nr_preserved);
		return OK;
	}
	if (users->nr_used)
		files = xasprintf("%ju files are in use, such as %s", (uintmax_t)users->nr_used,
				  users->used);
	if (users->nr_nameless) {
		one = xasprintf("%ju in use have no name any more", (uintmax_t)users->nr_nameless);
		files = join(files, ", and ", one);
		free(one);
	}
	*detail = xasprintf("%s, by no process that /proc shows. Sessions of LUO preserve their files: finish these sessions and check again, or keep them and use --force. A file in a socket or an io_uring is lost",
			    files);
	free(files);
	return UNKNOWN;
}

/* Sets *detail, which the caller frees. */
static enum handover_result judge_users(const struct users *users, char **detail)
{
	if (users->names) {
		*detail = xasprintf("they end with this kernel: save and stop them first: %s",
				    users->names);
		return FAIL;
	}
	if (users->nr_used || users->nr_nameless)
		return judge_hidden_users(users, detail);
	*detail = xstrdup(users->unknown ? users->unknown : "no process has files mapped or open");
	return users->unknown ? UNKNOWN : OK;
}

static void add_pin(const char *text, void *data)
{
	char **list = data;

	*list = join(*list, "; ", text);
}

/*
 * GMPOOL_FEATURE_RO_COMPAT_PINNED. The kernel sets it when the kexec begins, so that it is
 * not in the format of a node before.
 */
#define RO_COMPAT_PINNED	2

/*
 * A pin of a preserved file is recorded, and the next kernel takes the file for pinned until
 * its session is finished. Sets *detail.
 */
static enum handover_result judge_preserved_pins(const char *config, const char *line,
						 const char *list, char **detail)
{
	const char *known = config ? config_value(config, "GUESTMEM_POOL_RO_COMPAT") : NULL;

	if (!known) {
		*detail = xasprintf("LUO preserves these files, and whether the next kernel keeps them as pinned is not known: %s",
				    list);
		return WARN;
	}
	if (!(strtoull(known, NULL, 0) & RO_COMPAT_PINNED)) {
		*detail = xasprintf("LUO preserves these files, and the next kernel does not know of pins, so it could only read their nodes: stop these processes or detach the devices first: %s",
				    list);
		return FAIL;
	}
	if (!handover_has_luo(line, config)) {
		*detail = xasprintf("LUO preserves these files, and the next kernel has no LUO (CONFIG_LIVEUPDATE, liveupdate=on), so these pins end: %s",
				    list);
		return FAIL;
	}
	*detail = xasprintf("LUO preserves these files: devices stop, and the next kernel keeps the files as pinned until their sessions are finished: %s",
			    list);
	return OK;
}

/* @result is that of @users. If only LUO has files open, each pinned file is preserved. */
static void check_pins(const struct nodes *nodes, const struct users *users,
		       enum handover_result result, const char *config, const char *line)
{
	char *list = NULL, *detail;
	size_t i;

	for (i = 0; i < nodes->nr; i++)
		pins_report(nodes->node[i].nid, -1, NULL, add_pin, &list);
	if (!list)
		return;
	if (result == OK && users->nr_preserved) {
		result = judge_preserved_pins(config, line, list, &detail);
	} else {
		detail = xasprintf("pins of files that LUO does not preserve end with this kernel: stop these processes or detach the devices first: %s",
				   list);
		result = result == OK ? WARN : FAIL;
	}
	handover_result("pins", result, detail);
	free(detail);
	free(list);
}

/* Memory that is there now and will not be at the kexec, or that is gone already. */
static void check_discard(const struct users *users)
{
	char *detail = NULL, *one;

	if (users->discarding)
		detail = xasprintf("discard-data=on frees the memory of a virtual machine when its QEMU quits: after saving, end these by SIGKILL instead: %s",
				   users->discarding);
	if (users->nr_empty) {
		one = xasprintf("%ju files have a size and no memory, such as %s: right for memory that is not plugged, else a QEMU with discard-data=on has freed it",
				(uintmax_t)users->nr_empty, users->empty);
		detail = join(detail, "; ", one);
		free(one);
	}
	if (!detail)
		return;
	handover_result("discard", WARN, detail);
	free(detail);
}

void handover_check_users(const struct nodes *nodes, const char *config, const char *line)
{
	struct users users;
	enum handover_result found;
	char *detail;

	find_users(&users, nodes);
	found = judge_users(&users, &detail);
	handover_result("users", found, detail);
	free(detail);
	if (users.nr_deleted) {
		detail = xasprintf("%zu that are in use have no name any more: they are lost",
				   users.nr_deleted);
		handover_result("files", FAIL, detail);
		free(detail);
	}
	check_discard(&users);
	check_pins(nodes, &users, found, config, line);
	free_users(&users);
}

/* Loading takes its time, in which a virtual machine can have been started. */
bool handover_is_still_unused(void)
{
	struct nodes *nodes = nodes_read_any();
	struct users users;
	enum handover_result found;
	char *detail;

	find_users(&users, nodes);
	found = judge_users(&users, &detail);
	if (found != OK)
		warning("not ready any more: users: %s", detail);
	free(detail);
	free_users(&users);
	nodes_free(nodes);
	return found == OK;
}
