// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa tag and reap: whose files are, and the removal of those that are
 * nobody's. After a start that failed, nothing holds a node's memory in silence.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gmfs-numa.h"

int cmd_tag(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "FILE [owner=ID] [vmm=NAME]",
		"Show whose a file is, or say it: ID is the UUID of a virtual machine, or"
		" pid:NUMBER for a process. An empty value takes the tag away.", NULL, NULL, NULL };
	const char *path, *owner = NULL, *vmm = NULL;
	struct tags tags;
	int first, arg, err;

	parse_args(&argp, argc, argv, &first, NULL);
	if (first == argc)
		fatal(EX_USAGE, "tag needs a file");
	path = argv[first];
	path_need_node(path);
	for (arg = first + 1; arg < argc; arg++) {
		if (!strncmp(argv[arg], "owner=", 6))
			owner = argv[arg] + 6;
		else if (!strncmp(argv[arg], "vmm=", 4))
			vmm = argv[arg] + 4;
		else
			fatal(EX_USAGE, "'%s' is not owner=ID or vmm=NAME", argv[arg]);
		if (strlen(argv[arg]) > 200)
			fatal(EX_USAGE, "'%s' is longer than 200 bytes", argv[arg]);
	}
	if (owner || vmm) {
		err = tags_write(path, owner, vmm);
		if (err)
			fatal(EX_FAILED, "%s: %s", path, strerror(-err));
		return EX_OK;
	}
	tags_read(&tags, path);
	printf("owner=%s\nvmm=%s\nsince=%s\n", tags.owner ? tags.owner : "",
	       tags.vmm ? tags.vmm : "", tags.since ? tags.since : "");
	tags_free(&tags);
	return EX_OK;
}

struct reap {
	struct table_options options;
	bool no_owner;
	bool yes;
	uint64_t older;		/* seconds */
	struct table *table;
	int status;
};

/* A process can be looked for; of a virtual machine's UUID we know nothing. */
static bool owner_is_gone(const struct tags *tags)
{
	uint64_t pid;

	return !strncmp(tags->owner, "pid:", 4) && parse_number(tags->owner + 4, &pid) &&
	       pid && pid <= INT32_MAX && process_gone(pid, tags->boot);
}

static bool is_used(const struct stat *st)
{
	struct use *uses;
	size_t nr = uses_read(true, &uses, NULL), i;
	bool used = false;

	for (i = 0; i < nr; i++)
		used |= use_is_of(&uses[i], st);
	uses_free(uses, nr);
	return used;
}

static void reap_file(const struct file *file, void *arg)
{
	struct reap *reap = arg;
	const char *reason = NULL;
	struct tags tags;
	bool removed = false;

	tags_read(&tags, file->path);
	if (!tags.owner)
		reason = reap->no_owner ? "no owner" : NULL;
	else if (owner_is_gone(&tags))
		reason = "its owner is gone";
	if (!reason || time(NULL) - file->st->st_ctime < (time_t)reap->older) {
		tags_free(&tags);
		return;
	}
	/* Looked at last: it can be mapped at any moment. */
	if (is_used(file->st)) {
		tags_free(&tags);
		return;
	}
	if (reap->yes) {
		removed = !unlink(file->path);
		if (!removed) {
			warning("%s: %s", file->path, strerror(errno));
			reap->status = EX_FAILED;
		}
	}
	table_row(reap->table);
	table_number(reap->table, 0, file->nid);
	table_text(reap->table, 1, file->path);
	table_size(reap->table, 2, (uint64_t)file->st->st_blocks * 512);
	table_text(reap->table, 3, tags.owner);
	table_text(reap->table, 4, reason);
	table_bool(reap->table, 5, removed);
	tags_free(&tags);
}

static bool parse_age(const char *text, uint64_t *seconds)
{
	static const struct {
		char unit;
		unsigned int seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	size_t len = strlen(text), i;
	char *number = xstrdup(text);
	bool good = false;

	for (i = 0; i < 4 && len; i++) {
		if (text[len - 1] != units[i].unit)
			continue;
		number[len - 1] = '\0';
		good = parse_number(number, seconds) && *seconds < 1000000000;
		*seconds *= units[i].seconds;
	}
	free(number);
	return good;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct reap *reap = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &reap->options;
		return 0;
	case 't':
		if (!parse_age(arg, &reap->older))
			argp_error(state, "'%s' is no age such as 30s, 10m, 1h or 2d", arg);
		return 0;
	case 'N':
		reap->no_owner = true;
		return 0;
	case 'y':
		reap->yes = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_reap(int argc, char **argv)
{
	static const struct column columns[] = {
		{ "NODE", "number of the node", COL_NUMBER, true },
		{ "FILE", "path", COL_TEXT, true },
		{ "ALLOCATED", "memory that it has", COL_SIZE, true },
		{ "OWNER", "whose it was", COL_TEXT, true },
		{ "REASON", "why it can go", COL_TEXT, true },
		{ "REMOVED", "it is gone", COL_BOOL, true },
	};
	static const struct argp_option options[] = {
		{ "older-than", 't', "AGE", 0,
		  "only what was last changed so long ago: 30s, 10m, 1h, 2d", 0 },
		{ "no-owner", 'N', NULL, 0, "files without an owner as well", 0 },
		{ "yes", 'y', NULL, 0, "remove them, do not only list them", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, "[NODE...|PATH...]",
		"List files that no process has mapped or open and whose owner, a process, is gone;"
		" with --yes remove them.", children, columns_help, NULL };
	struct reap reap = { .status = EX_OK };
	int first;

	columns_of_help(columns, 6);
	parse_args(&argp, argc, argv, &first, &reap);
	if (reap.yes && !sees_all_processes())
		fatal(EX_FAILED, "only root sees the mappings of all processes: nothing is removed");
	reap.table = table_new("files", columns, 6, &reap.options);
	files_walk(argc - first, argv + first, reap_file, &reap);
	table_print(reap.table);
	return reap.status;
}
