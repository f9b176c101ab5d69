// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa reap: removes files whose owner is gone, as a start that failed leaves them.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* Files that wait for one search of /proc, and how long the first one waits at most. */
#define BATCH		64
#define BATCH_MS	100

/* A file that can go. */
struct candidate {
	struct file file;
	struct stat st;
	int fd;			/* with a lease, unless @err says why not; or -errno */
	char *owner;
	const char *reason;
	bool earlier;		/* of an earlier boot */
	int err;
};

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
	struct candidate batch[BATCH];
	size_t nr_batch;
	int64_t began;		/* milliseconds; when the first file of the batch was added */
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
 * Has a kexec preserved it? Its owner may not be started again yet. A file that is newer
 * than the clock is from a kernel whose clock was set to another time.
 */
static bool is_of_earlier_boot(const struct reap *reap, const struct tags *tags,
			       const struct stat *st)
{
	if (tags->boot && reap->boot)
		return strcmp(tags->boot, reap->boot);
	return st->st_ctime < reap->booted || st->st_ctime > time(NULL);
}

/* Only the time since this kernel started is age: no process could use the file before. */
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

/* False if the file stays after all. */
static bool reap_remove(struct reap *reap, const struct candidate *c)
{
	const struct file *file = &c->file;
	int err = 0;

	if (node_is_frozen(file->nid)) {
		warning("%s: it stays: node %d is frozen; gmfs-numa thaw %d", file->path, file->nid,
			file->nid);
		reap->status = EX_FAILED;
		return false;
	}
	err = file_remove(file->dir, file->name, c->fd);
	if (err && err != -EAGAIN && err != -ENOENT) {
		warning("%s: %s", file->path,
			err == -ESTALE ? "another file has its name now" : strerror(-err));
		reap->status = EX_FAILED;
	}
	return !err;
}

static void reap_show(const struct reap *reap, const struct candidate *c, const char *reason,
		      bool removed)
{
	table_row(reap->table);
	table_number(reap->table, 0, c->file.nid);
	table_text(reap->table, 1, c->file.path);
	table_size(reap->table, 2, (uint64_t)c->st.st_blocks * 512);
	table_text(reap->table, 3, c->owner);
	table_text(reap->table, 4, reason);
	table_bool(reap->table, 5, removed);
}

static bool is_same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool reap_unchanged(const struct candidate *c)
{
	const struct timespec *then = &c->st.st_ctim;
	struct stat st;

	return !fstat(c->fd, &st) && st.st_ctim.tv_sec == then->tv_sec &&
	       st.st_ctim.tv_nsec == then->tv_nsec;
}

/* Other names of the file that are in the batch: this change of it is known. */
static void reap_note_removal(struct reap *reap, const struct candidate *c)
{
	struct stat st;
	size_t i;

	if (fstat(c->fd, &st))
		return;
	for (i = 0; i < reap->nr_batch; i++)
		if (is_same_inode(&reap->batch[i].st, &st))
			reap->batch[i].st = st;
}

/* Lists a file that no process uses, and removes it if that is asked for. */
static void reap_unused(struct reap *reap, const struct candidate *c)
{
	bool wanted = reap->yes && (!c->earlier || reap->earlier_boots), removed = false;
	char *text = xasprintf("%s%s%s%s", c->reason, c->earlier ? ", of an earlier boot" : "",
			       c->st.st_nlink > 1 ? ", another name keeps its memory" : "",
			       c->err ? "; who uses it is unknown" : "");

	if (wanted && c->err) {
		warning("%s: it stays: who uses it is not known: %s", c->file.path,
			file_lease_error(c->err));
		reap->status = EX_FAILED;
	} else if (wanted) {
		removed = reap_remove(reap, c);
	}
	reap->nr_earlier += reap->yes && !wanted;
	reap_show(reap, c, text, removed);
	free(text);
	if (removed)
		reap_note_removal(reap, c);
}

static bool has_use(const struct use *uses, size_t nr, const struct stat *st)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (use_is_of(&uses[i], st))
			return true;
	return false;
}

/*
 * A process with an O_PATH descriptor does not stop a lease, and can open the file by
 * it. So /proc is searched after the leases are taken, and once for the whole batch:
 * a search takes as long as there are processes.
 */
static void reap_batch(struct reap *reap)
{
	struct use *uses = NULL;
	size_t nr = 0, i;
	bool complete;

	if (reap->nr_batch)
		nr = uses_read(true, &uses, &complete);
	for (i = 0; i < reap->nr_batch; i++) {
		struct candidate *c = &reap->batch[i];

		if ((c->err || reap_unchanged(c)) && !has_use(uses, nr, &c->st))
			reap_unused(reap, c);
	}
	for (i = 0; i < reap->nr_batch; i++) {
		struct candidate *c = &reap->batch[i];

		if (c->fd >= 0)
			close(c->fd);
		close(c->file.dir);
		free((char *)c->file.path);
		free((char *)c->file.name);
		free(c->owner);
	}
	uses_free(uses, nr);
	reap->nr_batch = 0;
}

static int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/*
 * A descriptor of the file with a lease, or without one and *@err. -EAGAIN: it is in use.
 * To open a second name of a file in the batch would break its lease.
 */
static int reap_open(struct reap *reap, const struct file *file, int *err)
{
	size_t i;
	int fd;

	for (i = 0; i < reap->nr_batch; i++) {
		if (!is_same_inode(&reap->batch[i].st, file->st))
			continue;
		*err = reap->batch[i].err;
		return fcntl(reap->batch[i].fd, F_DUPFD_CLOEXEC, 0);
	}
	fd = file_read(file->place);
	*err = fd < 0 ? fd : file_lease(fd);
	return fd;
}

/* It is in use, and /proc does not show by what. */
static void reap_report_pins(const struct file *file)
{
	const struct pin *pin;
	char *tasks, *bytes;
	size_t nr;

	pin = pins_of_file(pins_of_node(file->nid), file->st->st_ino, &nr);
	if (!pin)
		return;
	bytes = format_size(pins_bytes(pin, nr));
	tasks = pins_tasks(pin, nr);
	warning("%s: it stays: %s pinned by %s", file->path, bytes, tasks);
	free(tasks);
	free(bytes);
}

/* Keeps a file that belongs to the walk, which goes on. */
static void reap_add(struct reap *reap, const struct file *file, const struct tags *tags,
		     const char *reason)
{
	struct candidate *c = &reap->batch[reap->nr_batch];
	int err, fd = reap_open(reap, file, &err);

	if (err == -EAGAIN) {
		reap_report_pins(file);
		if (fd >= 0)
			close(fd);
		return;
	}
	*c = (struct candidate){
		.file = *file,
		.st = *file->st,
		.fd = fd,
		.owner = tags->owner ? xstrdup(tags->owner) : NULL,
		.reason = reason,
		.earlier = is_of_earlier_boot(reap, tags, file->st),
		.err = err,
	};
	c->file.path = xstrdup(file->path);
	c->file.name = xstrdup(file->name);
	c->file.st = &c->st;
	c->file.place = -1;
	c->file.dir = fcntl(file->dir, F_DUPFD_CLOEXEC, 0);
	if (c->file.dir < 0)
		fatal(EX_FAILED, "%s: %s", file->path, strerror(errno));
	if (!reap->nr_batch++)
		reap->began = milliseconds();
}

static void reap_file(const struct file *file, void *arg)
{
	struct reap *reap = arg;
	const char *reason;
	struct tags tags;

	tags_read(&tags, file->place);
	reason = reap_reason(reap, file, &tags);
	if (reason && is_old_enough(reap, file->st))
		reap_add(reap, file, &tags, reason);
	tags_free(&tags);
	/* A process that opens a file of the batch waits for the lease to end. */
	if (reap->nr_batch == BATCH ||
	    (reap->nr_batch && milliseconds() - reap->began >= BATCH_MS))
		reap_batch(reap);
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
		{ "ALLOCATED", "memory of the file", COL_SIZE, true },
		{ "OWNER", "owner tag", COL_TEXT, true },
		{ "REASON", "why it can be removed", COL_TEXT, true },
		{ "REMOVED", "the file is removed", COL_BOOL, true },
	};
	static const struct argp_option options[] = {
		{ "older-than", 't', "AGE", 0,
		  "only files whose last change is that long ago, in this boot: 30s, 10m, 1h, 2d",
		  0 },
		{ "no-owner", 'N', NULL, 0, "files without an owner as well", 0 },
		{ "earlier-boots", 'E', NULL, 0,
		  "--yes: also files of an earlier boot", 0 },
		{ "yes", 'y', NULL, 0, "remove them, do not only list them", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, "[NODE...|PATH...]",
		"List files that no process has mapped or open and whose owner, a process, has ended;"
		" with --yes remove them.", children, columns_help, NULL };
	struct reap reap = { .status = EX_OK };
	int first;

	columns_of_help(columns, 6);
	parse_args(&argp, argc, argv, &first, &reap);
	if (reap.earlier_boots && !reap.yes)
		fatal(EX_USAGE, "--earlier-boots is for --yes: a list has files of all boots");
	if (reap.yes)
		refuse_sysroot("reap --yes");
	reap.boot = read_text("/proc/sys/kernel/random/boot_id");
	reap.booted = boot_time();
	reap.table = table_new("files", columns, 6, &reap.options);
	if (files_walk(argc - first, argv + first, reap_file, &reap))
		reap.status = EX_FAILED;
	reap_batch(&reap);
	table_print(reap.table);
	if (reap.nr_earlier)
		warning("%ju files of an earlier boot stay: --earlier-boots removes them",
			(uintmax_t)reap.nr_earlier);
	free(reap.boot);
	return reap.status;
}
