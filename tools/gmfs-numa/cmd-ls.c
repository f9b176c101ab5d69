// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa ls: files, where their memory is, and their users.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"

enum {
	C_NODE, C_FILE, C_SIZE, C_ALLOCATED, C_EXTENTS, C_1G, C_OWNER, C_VMM, C_SINCE, C_USERS,
	C_PINNED, C_PINNED_BY, C_PRIVATE, C_ATTACHED_BY,
	C_MODE, C_UID,
};

static const struct column columns[] = {
	[C_NODE] = { "NODE", "number of the node", COL_NUMBER, true },
	[C_FILE] = { "FILE", "path", COL_TEXT, true },
	[C_SIZE] = { "SIZE", "size of the file", COL_SIZE, true },
	[C_ALLOCATED] = { "ALLOCATED", "memory of the file", COL_SIZE, true },
	[C_EXTENTS] = { "PIECES", "physically contiguous pieces of it", COL_NUMBER, true },
	[C_1G] = { "1G", "memory that 1 GiB mappings can cover; root only", COL_SIZE, true },
	[C_OWNER] = { "OWNER", "owner tag, see gmfs-numa tag", COL_TEXT, true },
	[C_VMM] = { "VMM", "name of the VMM, see gmfs-numa tag", COL_TEXT, false },
	[C_SINCE] = { "SINCE", "when it was tagged", COL_TEXT, false },
	[C_USERS] = { "USERS", "processes that have it mapped", COL_TEXT, true },
	[C_PINNED] = { "PINNED", "memory that is pinned for devices; root only", COL_SIZE, true },
	[C_PINNED_BY] = { "PINNED-BY", "processes that pinned it; root only", COL_TEXT, false },
	[C_PRIVATE] = { "PRIVATE", "whether no process can map it", COL_TEXT, false },
	[C_ATTACHED_BY] = { "ATTACHED-BY", "process with a guest_memfd of it; root only", COL_TEXT,
			    false },
	[C_MODE] = { "MODE", "permissions", COL_TEXT, false },
	[C_UID] = { "UID", "owner of the file", COL_NUMBER, false },
};

#define NR_COLUMNS ARRAY_SIZE(columns)

struct listing {
	struct table *table;
	struct use *uses;
	size_t nr_uses;
	bool complete;
};

static void show_extents(struct table *table, const struct file *file)
{
	int fd = file_read(file->place);
	struct extent *extents = NULL;
	uint64_t gib = 0;
	bool known = true, private = false;
	ssize_t nr, i;

	nr = fd < 0 ? fd : file_extents(fd, &extents);
	if (fd >= 0)
		close(fd);
	/* A caller that may not read the file still gets the other columns. */
	if (nr < 0)
		return;
	for (i = 0; i < nr; i++) {
		gib += extent_1g_bytes(&extents[i]);
		known &= extents[i].known;
		private |= extents[i].private;
	}
	free(extents);
	table_number(table, C_EXTENTS, nr);
	table_bool(table, C_PRIVATE, private);
	if (known)
		table_size(table, C_1G, gib);
}

static void show_users(const struct listing *listing, const struct stat *st)
{
	char *list = NULL, *objects = NULL, *one, *command;
	size_t i;

	for (i = 0; i < listing->nr_uses; i++) {
		const struct use *use = &listing->uses[i];

		if (!use_is_of(use, st))
			continue;
		command = plain_command(use->command);
		one = xasprintf("%d(%s)", use->pid, command);
		list = join(list, ",", one);
		free(one);
		free(command);
		command = json_string(use->command);
		one = xasprintf("{\"pid\": %d, \"command\": %s}", use->pid, command);
		objects = join(objects, ", ", one);
		free(one);
		free(command);
	}
	table_text(listing->table, C_USERS, list);
	one = xasprintf("[%s]", objects ? objects : "");
	/* That there are none is known to who sees all of them alone. */
	table_json(listing->table, C_USERS, objects || listing->complete ? one : "null");
	free(one);
	free(objects);
	free(list);
}

static void show_pins(struct table *table, const struct file *file)
{
	const struct pins *pins = pins_of_node(file->nid);
	char *objects = NULL, *one, *command, *tasks;
	const struct pin *pin;
	size_t nr, i;

	if (!pins->known)
		return;
	pin = pins_of_file(pins, file->st->st_ino, &nr);
	table_size(table, C_PINNED, pins_bytes(pin, nr));
	tasks = pins_tasks(pin, nr);
	table_text(table, C_PINNED_BY, tasks);
	free(tasks);
	for (i = 0; i < nr; i++) {
		command = json_string(pin[i].command);
		one = xasprintf("{\"pid\": %d, \"command\": %s, \"start\": %ju, \"size\": %ju, \"write\": %s}",
				pin[i].pid, command, (uintmax_t)pin[i].start,
				(uintmax_t)pin[i].size, pin[i].writes ? "true" : "false");
		objects = join(objects, ", ", one);
		free(one);
		free(command);
	}
	one = xasprintf("[%s]", objects ? objects : "");
	table_json(table, C_PINNED_BY, one);
	free(one);
	free(objects);
}

/* The process that made guest_memfd; another can have the descriptor since. */
static void show_attached(struct table *table, const struct file *file)
{
	const struct pins *attached = attached_of_node(file->nid);
	const struct pin *pin;
	char *one, *command;
	size_t nr;

	if (!attached->known)
		return;
	pin = pins_of_file(attached, file->st->st_ino, &nr);
	if (!pin)
		return;
	one = pins_tasks(pin, 1);
	table_text(table, C_ATTACHED_BY, one);
	free(one);
	command = json_string(pin->command);
	one = xasprintf("{\"pid\": %d, \"command\": %s, \"size\": %ju, \"private\": %s}", pin->pid,
			command, (uintmax_t)pin->size, pin->private ? "true" : "false");
	table_json(table, C_ATTACHED_BY, one);
	free(one);
	free(command);
}

static void show_file(const struct file *file, void *arg)
{
	const struct stat *st = file->st;
	const struct listing *listing = arg;
	struct table *table = listing->table;
	struct tags tags;
	char *mode = xasprintf("%04o", st->st_mode & 07777);

	tags_read(&tags, file->place);
	table_row(table);
	table_number(table, C_NODE, file->nid);
	table_text(table, C_FILE, file->path);
	table_size(table, C_SIZE, st->st_size);
	table_size(table, C_ALLOCATED, (uint64_t)st->st_blocks * 512);
	show_extents(table, file);
	table_text(table, C_OWNER, tags.owner);
	table_text(table, C_VMM, tags.vmm);
	table_text(table, C_SINCE, tags.since);
	show_users(listing, st);
	show_pins(table, file);
	show_attached(table, file);
	table_text(table, C_MODE, mode);
	table_number(table, C_UID, st->st_uid);
	tags_free(&tags);
	free(mode);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

int cmd_ls(int argc, char **argv)
{
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { NULL, parse, "[NODE...|PATH...]",
		"List the files of nodes that are mounted, or below paths with a slash in them.",
		children, columns_help, NULL };
	struct table_options options = { };
	struct listing listing;
	int first, status;

	columns_of_help(columns, NR_COLUMNS);
	parse_args(&argp, argc, argv, &first, &options);
	listing.table = table_new("files", columns, NR_COLUMNS, &options);
	listing.nr_uses = uses_read(false, &listing.uses, &listing.complete);
	status = files_walk(argc - first, argv + first, show_file, &listing);
	table_print(listing.table);
	uses_free(listing.uses, listing.nr_uses);
	return status;
}
