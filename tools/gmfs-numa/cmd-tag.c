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

/* Text that others have written must not break a line. */
static void show_tag(const char *name, const char *value)
{
	char *shown = printable(value ? value : "");

	printf("%s=%s\n", name, shown);
	free(shown);
}

static int show_tags(const char *path, int fd)
{
	struct tags tags;

	tags_read(&tags, fd);
	if (tags.err)
		fatal(EX_FAILED, "%s: %s", path, strerror(-tags.err));
	show_tag("owner", tags.owner);
	show_tag("vmm", tags.vmm);
	show_tag("since", tags.since);
	tags_free(&tags);
	return EX_OK;
}

int cmd_tag(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "FILE [owner=ID] [vmm=NAME]",
		"Show whose a file is, or say it: ID is the UUID of a virtual machine, or"
		" pid:NUMBER for a process. An empty value takes the tag away.", NULL, NULL, NULL };
	const char *path, *owner = NULL, *vmm = NULL;
	int first, arg, fd, nid, err = 0;

	parse_args(&argp, argc, argv, &first, NULL);
	if (first == argc)
		fatal(EX_USAGE, "tag needs a file");
	path = argv[first];
	for (arg = first + 1; arg < argc; arg++) {
		if (!strncmp(argv[arg], "owner=", 6))
			owner = argv[arg] + 6;
		else if (!strncmp(argv[arg], "vmm=", 4))
			vmm = argv[arg] + 4;
		else
			fatal(EX_USAGE, "'%s' is not owner=ID or vmm=NAME", argv[arg]);
	}
	tag_check("owner=", owner);
	tag_check("vmm=", vmm);
	if (owner || vmm)
		refuse_sysroot("writing tags");
	fd = file_find(path, &nid);
	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", path, file_open_error());
	if (!owner && !vmm)
		show_tags(path, fd);
	else
		err = tags_write(fd, owner, vmm);
	close(fd);
	if (err)
		fatal(EX_FAILED, "%s: %s", path, strerror(-err));
	return EX_OK;
}

struct reap {
	struct table_options options;
	bool no_owner;
	bool earlier_boots;
	bool yes;
	uint64_t older;		/* seconds */
	struct table *table;
	char *boot;		/* id of this boot */
	time_t booted;
	uint64_t nr_earlier;	/* files that only --earlier-boots would remove */
	struct use *uses;	/* of processes, once they are looked for */
	size_t nr_uses;
	bool uses_known;
	int status;
};

/* A process can be looked for; of a virtual machine's UUID we know nothing. */
static bool owner_is_gone(const struct tags *tags)
{
	uint64_t pid;

	return !strncmp(tags->owner, "pid:", 4) && parse_number(tags->owner + 4, &pid) &&
	       pid && pid <= INT32_MAX && process_gone(pid, tags->boot);
}

/* When this kernel started, by the clock as it is set now; the end of time if not known. */
static time_t boot_time(void)
{
	char *text = read_text("/proc/stat"), *at = text ? strstr(text, "\nbtime ") : NULL;
	uint64_t booted;

	if (!at || sscanf(at, " btime %ju", &booted) != 1)
		booted = INT64_MAX;
	free(text);
	return booted;
}

/*
 * Has a kexec saved it? Nobody may have it open again yet. What is newer than the clock
 * says is from a kernel whose clock was set to another time.
 */
static bool is_of_earlier_boot(const struct reap *reap, const struct tags *tags,
			       const struct stat *st)
{
	if (tags->boot && reap->boot)
		return strcmp(tags->boot, reap->boot);
	return st->st_ctime < reap->booted || st->st_ctime > time(NULL);
}

/* Time in which this kernel did not run is no age: nobody could have used the file. */
static bool is_old_enough(const struct reap *reap, const struct stat *st)
{
	time_t from = st->st_ctime > reap->booted ? st->st_ctime : reap->booted;

	return !reap->older || time(NULL) - from >= (time_t)reap->older;
}

/* Why the file can go, or NULL. */
static const char *reap_reason(struct reap *reap, const struct file *file, const struct tags *tags)
{
	if (tags->err) {
		warning("%s: it stays: its owner is not known: %s", file->path,
			strerror(-tags->err));
		reap->status = EX_FAILED;
		return NULL;
	}
	if (!tags->owner)
		return reap->no_owner ? "no owner" : NULL;
	return owner_is_gone(tags) ? "its owner is gone" : NULL;
}

/* With a lease. False if it stays after all. */
static bool reap_remove(struct reap *reap, const struct file *file)
{
	int err = 0;

	if (node_is_frozen(file->nid)) {
		warning("%s: it stays: node %d is frozen; gmfs-numa thaw %d", file->path, file->nid,
			file->nid);
		reap->status = EX_FAILED;
		return false;
	}
	err = file_remove(file->dir, file->name, file->fd);
	if (err && err != -EAGAIN && err != -ENOENT) {
		warning("%s: %s", file->path,
			err == -ESTALE ? "another file has its name now" : strerror(-err));
		reap->status = EX_FAILED;
	}
	return !err;
}

static void reap_show(const struct reap *reap, const struct file *file, const struct tags *tags,
		      const char *reason, bool removed)
{
	table_row(reap->table);
	table_number(reap->table, 0, file->nid);
	table_text(reap->table, 1, file->path);
	table_size(reap->table, 2, (uint64_t)file->st->st_blocks * 512);
	table_text(reap->table, 3, tags->owner);
	table_text(reap->table, 4, reason);
	table_bool(reap->table, 5, removed);
}

static bool reap_unchanged(const struct file *file)
{
	const struct timespec *then = &file->st->st_ctim;
	struct stat st;

	return !fstat(file->fd, &st) && st.st_ctim.tv_sec == then->tv_sec &&
	       st.st_ctim.tv_nsec == then->tv_nsec;
}

/*
 * A descriptor with O_PATH keeps nobody from having a lease, and its process can open the
 * file by it. Once for all files, when the first one could go: it is work.
 */
static bool has_descriptor(struct reap *reap, const struct stat *st)
{
	bool complete;
	size_t i;

	if (!reap->uses_known)
		reap->nr_uses = uses_read(true, &reap->uses, &complete);
	reap->uses_known = true;
	for (i = 0; i < reap->nr_uses; i++)
		if (use_is_of(&reap->uses[i], st))
			return true;
	return false;
}

/* A file that is nobody's: what is said of it, and done, depends on who has it open. */
static void reap_unowned(struct reap *reap, const struct file *file, const struct tags *tags,
			 const char *reason)
{
	bool earlier = is_of_earlier_boot(reap, tags, file->st), removed = false;
	bool wanted = reap->yes && (!earlier || reap->earlier_boots);
	int err = file->fd < 0 ? file->fd : file_lease(file->fd);
	char *text;

	/* It is in use, or has changed since it was looked at. */
	if (err == -EAGAIN || (!err && !reap_unchanged(file)) || has_descriptor(reap, file->st))
		return;
	text = xasprintf("%s%s%s%s", reason, earlier ? ", of an earlier boot" : "",
			 file->st->st_nlink > 1 ? ", another name keeps its memory" : "",
			 err ? "; who uses it is unknown" : "");
	if (wanted && err) {
		warning("%s: it stays: who uses it is not known: %s", file->path,
			file_lease_error(err));
		reap->status = EX_FAILED;
	} else if (wanted) {
		removed = reap_remove(reap, file);
	}
	reap->nr_earlier += reap->yes && !wanted;
	reap_show(reap, file, tags, text, removed);
	free(text);
}

static void reap_file(const struct file *file, void *arg)
{
	struct reap *reap = arg;
	const char *reason;
	struct tags tags;

	tags_read(&tags, file->place);
	reason = reap_reason(reap, file, &tags);
	if (reason && is_old_enough(reap, file->st))
		reap_unowned(reap, file, &tags, reason);
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
	case 'E':
		reap->earlier_boots = true;
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
		  "only what was last changed so long ago, in this boot: 30s, 10m, 1h, 2d", 0 },
		{ "no-owner", 'N', NULL, 0, "files without an owner as well", 0 },
		{ "earlier-boots", 'E', NULL, 0,
		  "--yes: also what was there before this kernel started", 0 },
		{ "yes", 'y', NULL, 0, "remove them, do not only list them", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, "[NODE...|PATH...]",
		"List files that nobody has mapped or open and whose owner, a process, is gone;"
		" with --yes remove them.", children, columns_help, NULL };
	struct reap reap = { .status = EX_OK };
	int first;

	columns_of_help(columns, 6);
	parse_args(&argp, argc, argv, &first, &reap);
	if (reap.earlier_boots && !reap.yes)
		fatal(EX_USAGE, "--earlier-boots is for --yes: what is listed has all of them");
	if (reap.yes)
		refuse_sysroot("reap --yes");
	reap.boot = read_text("/proc/sys/kernel/random/boot_id");
	reap.booted = boot_time();
	reap.table = table_new("files", columns, 6, &reap.options);
	if (files_walk(argc - first, argv + first, reap_file, &reap))
		reap.status = EX_FAILED;
	table_print(reap.table);
	if (reap.nr_earlier)
		warning("%ju files of an earlier boot stay: --earlier-boots removes them",
			(uintmax_t)reap.nr_earlier);
	uses_free(reap.uses, reap.nr_uses);
	free(reap.boot);
	return reap.status;
}
