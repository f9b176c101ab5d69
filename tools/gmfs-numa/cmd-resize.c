// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa resize: grow or shrink the pool of a node.
 *
 * The write to "target" ends when all is done, so another process makes it: this one
 * shows the progress, and ends the write by a signal after a time.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "resize.h"

enum { C_NODE, C_FROM, C_TARGET, C_SIZE, C_UNIT, C_RESULT, C_MOVES, C_FILES, C_WHY };

static const struct column columns[] = {
	[C_NODE] = { "NODE", "number of the node", COL_NUMBER, true },
	[C_FROM] = { "FROM", "size of the pool before", COL_SIZE, true },
	[C_TARGET] = { "TARGET", "size that is asked for", COL_SIZE, true },
	[C_SIZE] = { "SIZE", "size now, or with --dry-run the size that is sure to be reached",
		     COL_SIZE, true },
	[C_UNIT] = { "UNIT", "the size changes by multiples of it", COL_SIZE, false },
	[C_RESULT] = { "RESULT", "all, part, nothing, or perhaps of a dry run", COL_TEXT, true },
	[C_MOVES] = { "MOVES", "files of which memory moves, and how much, of a dry run", COL_TEXT,
		      false },
	[C_FILES] = { "FILES", "files in the way, and their memory there", COL_TEXT, false },
	[C_WHY] = { "WHY", "what is in the way", COL_PROSE, true },
};

#define NR_COLUMNS ARRAY_SIZE(columns)

struct arguments {
	struct table_options table;
	bool dry_run;
	bool in_use;
	uint64_t timeout;
};

struct resize {
	const struct node *node;
	uint64_t target;
	uint64_t unit;
	uint64_t size;		/* reached */
	bool in_use;
	const char *result;
	char *moves;
	char *files;
	char *why;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->table;
		return 0;
	case 'd':
		args->dry_run = true;
		return 0;
	case 'i':
		args->in_use = true;
		return 0;
	case 't':
		if (!parse_number(arg, &args->timeout) || !args->timeout || args->timeout > 86400)
			argp_error(state, "'%s' is no number of seconds from 1 to 86400", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static uint64_t parse_target(const struct node *node, const char *text)
{
	uint64_t bytes;

	if (!parse_size(text + (*text == '+' || *text == '-'), &bytes) || !bytes)
		fatal(EX_USAGE, "'%s' is no size such as 96G, +8G or -8G", text);
	if (*text == '+')
		return bytes > UINT64_MAX - node->size ? UINT64_MAX : node->size + bytes;
	if (*text != '-')
		return bytes;
	if (bytes >= node->size)
		fatal(EX_USAGE, "node %d: a pool has one unit of memory at least", node->nid);
	return node->size - bytes;
}

/* The kernel refuses other sizes too, but does not name those that it takes. */
static void check_unit(const struct resize *r)
{
	uint64_t have = r->node->size, diff, less, more;
	char *unit, *now, *sizes[2];

	diff = r->target > have ? r->target - have : have - r->target;
	if (!r->unit || diff % r->unit == 0)
		return;
	less = r->target > have ? have + diff / r->unit * r->unit :
				  have - (diff / r->unit + 1) * r->unit;
	more = less + r->unit;
	unit = format_size(r->unit);
	now = format_size(have);
	sizes[0] = format_size(less);
	sizes[1] = format_size(more);
	if (r->target < have && (diff / r->unit + 1) * r->unit >= have)
		fatal(EX_USAGE, "node %d: the size changes by multiples of %s, from %s on: give %s",
		      r->node->nid, unit, now, sizes[1]);
	fatal(EX_USAGE, "node %d: the size changes by multiples of %s, from %s on: give %s or %s",
	      r->node->nid, unit, now, sizes[0], sizes[1]);
}

static const char *dry_result(const struct estimate *e, uint64_t want, uint64_t sure)
{
	return sure == want ? "all" : e->sure + e->perhaps >= want ? "perhaps" :
	       sure ? "part" : e->perhaps ? "perhaps" : "nothing";
}

static void dry_run_growth(struct resize *r)
{
	uint64_t have = r->node->size, want, sure;
	struct estimate e;
	char *unit;

	if (!resize_estimate_growth(r->node->nid, &e))
		exit(EX_FAILED);
	want = (r->target - have) / e.unit;
	sure = e.sure < want ? e.sure : want;
	r->size = have + sure * e.unit;
	r->result = dry_result(&e, want, sure);
	if (sure == want)
		return;
	unit = format_size(e.unit);
	r->why = xasprintf("%ju units of %s can move, %ju more may hold memory of the kernel that cannot",
			   (uintmax_t)e.sure, unit, (uintmax_t)e.perhaps);
	free(unit);
}

static void dry_run_shrinking(struct resize *r)
{
	uint64_t have = r->node->size, want, sure;
	struct shrinking s;
	char *unit;

	want = r->unit ? (have - r->target) / r->unit : 0;
	if (!resize_look(r->node, want, r->in_use, &s))
		exit(EX_FAILED);
	sure = s.estimate.sure < want ? s.estimate.sure : want;
	/* A pool without memory cannot be. */
	if (sure * s.estimate.unit == have)
		sure--;
	r->size = have - sure * s.estimate.unit;
	r->result = dry_result(&s.estimate, want, sure);
	r->moves = s.moves;
	r->files = s.stay;
	if (sure == want)
		return;
	unit = format_size(s.estimate.unit);
	r->why = xasprintf("%ju units of %s are free, %ju more can be if files move, %ju cannot%s",
			   (uintmax_t)s.estimate.sure, unit, (uintmax_t)s.estimate.perhaps,
			   (uintmax_t)s.estimate.in_use,
			   s.no_room ? ": the pool has no more room" : "");
	free(unit);
}

static volatile sig_atomic_t interrupted;

static void note_signal(int signal)
{
	interrupted = signal;
}

/* write(2) has to end with EINTR, also if the signal comes to both processes. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = note_signal };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGCHLD, &action, NULL);
}

static uint64_t number_now(int nid, const char *name)
{
	char *text = read_text(SYSFS "/node%d/%s", nid, name);
	uint64_t number;

	if (!text || !parse_number(text, &number))
		number = NUMBER_UNKNOWN;
	free(text);
	return number;
}

/* @moved: blocks that had moved before */
static void show_progress(const struct resize *r, uint64_t moved)
{
	uint64_t size = number_now(r->node->nid, "size");
	char *now, *target, *by_now;

	if (!isatty(STDERR_FILENO) || !is_known(size))
		return;
	now = format_size(size);
	target = format_size(r->target);
	moved = known_difference(number_now(r->node->nid, "moved_blocks"), moved);
	by_now = format_size(node_bytes(r->node, moved));
	fprintf(stderr, "\rnode %d: %s of %s", r->node->nid, now, target);
	if (is_known(moved) && moved)
		fprintf(stderr, ", %s moved", by_now);
	fputs("\033[K", stderr);
	free(by_now);
	free(now);
	free(target);
}

/* Until the child has ended. Its errno, or a negative one. */
static int wait_for(const struct resize *r, pid_t child, uint64_t timeout)
{
	struct timespec start, now, second = { .tv_nsec = 200000000 };
	uint64_t moved = number_now(r->node->nid, "moved_blocks");
	bool stopped = false;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		pid_t done = waitpid(child, &status, WNOHANG);

		if (done == child)
			break;
		if (done < 0 && errno != EINTR)
			return -errno;
		show_progress(r, moved);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (!stopped && (interrupted == SIGINT || interrupted == SIGTERM ||
				 (timeout && (uint64_t)(now.tv_sec - start.tv_sec) >= timeout))) {
			/* The kernel ends the unit that it is at, and keeps what was reached. */
			kill(child, SIGTERM);
			stopped = true;
		}
		nanosleep(&second, NULL);
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static const char *words_of(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
		return "only root may resize a pool";
	case EROFS:
		return "the node has failed, or has features that this kernel can only read";
	case EBUSY:
		return "memory is in use, or the node is frozen";
	case ENOSPC:
		return "the kernel needs the rest of the memory itself";
	case EINTR:
		return "interrupted";
	case E2BIG:
		return "the pool would have too many pieces";
	case EHWPOISON:
		return "the memory has hardware errors";
	default:
		return strerror(err);
	}
}

static void resize(struct resize *r, uint64_t timeout)
{
	int nid = r->node->nid, err;
	uint64_t have = r->node->size, want;
	char *value = xasprintf("%s%ju", r->in_use ? "in-use " : "", (uintmax_t)r->target);
	struct shrinking s;
	char *words;
	pid_t child;

	fflush(NULL);
	catch_signals();
	child = fork();
	if (child < 0)
		fatal(EX_FAILED, "fork: %s", strerror(errno));
	if (!child)
		_exit(-node_write(nid, "target", value));
	err = wait_for(r, child, timeout);
	free(value);

	r->size = number_now(nid, "size");
	if (!is_known(r->size))
		fatal(EX_FAILED, "node %d: the size of the pool cannot be read any more", nid);
	r->result = r->size == r->target ? "all" : r->size == have ? "nothing" : "part";
	if (r->size == r->target)
		return;
	words = read_text(SYSFS "/node%d/resize_error", nid);
	if (words && *words) {
		r->why = words;
	} else {
		r->why = xstrdup(err ? words_of(err) : "another process has resized it");
		free(words);
	}
	if (err == EBUSY && r->target < r->size && r->unit) {
		want = (r->size - r->target) / r->unit;
		if (resize_look(r->node, want, r->in_use, &s)) {
			/* Files of which it is not known why they stay, if there are no others. */
			r->files = s.stay ? s.stay : s.moves;
			if (s.stay)
				free(s.moves);
		}
	}
}

static void show(const struct resize *r, const struct table_options *options)
{
	struct table *table = table_new("resize", columns, NR_COLUMNS, options);

	table_row(table);
	table_number(table, C_NODE, r->node->nid);
	table_size(table, C_FROM, r->node->size);
	table_size(table, C_TARGET, r->target);
	table_size(table, C_SIZE, r->size);
	table_size(table, C_UNIT, r->unit ? r->unit : NUMBER_UNKNOWN);
	table_text(table, C_RESULT, r->result);
	table_text(table, C_MOVES, r->moves);
	table_text(table, C_FILES, r->files);
	table_text(table, C_WHY, r->why);
	table_print(table);
}

/*
 * argp takes "-8G" for options. No option is a digit, so such an argument is moved to
 * the end, behind "--".
 */
static char **move_size(int *argc, char **argv)
{
	static char end[] = "--";
	char **moved = xcalloc(*argc + 2, sizeof(*moved)), *size = NULL;
	int i, nr = 0;

	for (i = 0; i < *argc && strcmp(argv[i], "--"); i++) {
		if (!size && argv[i][0] == '-' && isdigit((unsigned char)argv[i][1]))
			size = argv[i];
		else
			moved[nr++] = argv[i];
	}
	if (size)
		moved[nr++] = end;
	for (i += !!size; i < *argc; i++)
		moved[nr++] = argv[i];
	if (size)
		moved[nr++] = size;
	*argc = nr;
	return moved;
}

int cmd_resize(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "dry-run", 'd', NULL, 0,
		  "estimate what would be reached, and change nothing", 0 },
		{ "in-use", 'i', NULL, 0,
		  "to shrink, move files that processes or guests use, too; each block is not accessible for the time of its copy",
		  0 },
		{ "timeout", 't', "SECONDS", 0,
		  "stop after SECONDS, and keep what was reached", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, "NODE SIZE",
		"Grow or shrink the pool of a node to SIZE, by +SIZE or by -SIZE. Exit status 1 if a"
		" part was done, and 2 if nothing was.", children, columns_help, NULL };
	struct arguments args = { };
	struct resize r = { };
	struct nodes *nodes;
	size_t nr;
	int first, *nids;

	columns_of_help(columns, NR_COLUMNS);
	argv = move_size(&argc, argv);
	parse_args(&argp, argc, argv, &first, &args);
	if (argc - first != 2)
		fatal(EX_USAGE, "give a node, and a size such as 96G, +8G or -8G");
	nr = parse_nodes(argv[first], &nids);
	if (nr != 1)
		fatal(EX_USAGE, "'%s' is more than one node", argv[first]);
	nodes = nodes_read();
	r.node = nodes_need(nodes, nids[0]);
	if (!is_known(r.node->size))
		fatal(EX_FAILED, "node %d: the size of its pool cannot be read", nids[0]);
	if (!root_exists(SYSFS "/node%d/target", nids[0]))
		fatal(EX_FAILED, "node %d: this kernel cannot resize a pool: it has no %s/node%d/target. Boot with guestmemfs=fresh and another size",
		      nids[0], SYSFS, nids[0]);
	r.in_use = args.in_use;
	if (r.in_use && !root_exists(SYSFS "/features/resize_in_use"))
		fatal(EX_FAILED, "this kernel moves no files that are in use: it has no %s/features/resize_in_use",
		      SYSFS);
	r.unit = resize_unit();
	r.target = parse_target(r.node, argv[first + 1]);
	r.size = r.node->size;
	r.result = "all";
	check_unit(&r);
	if (r.target != r.node->size) {
		if (!args.dry_run)
			resize(&r, args.timeout);
		else if (r.target > r.node->size)
			dry_run_growth(&r);
		else
			dry_run_shrinking(&r);
	}
	show(&r, &args.table);
	first = !strcmp(r.result, "all") ? EX_OK : !strcmp(r.result, "nothing") ? EX_FAILED :
		EX_DIFFERS;
	free(r.moves);
	free(r.files);
	free(r.why);
	free(nids);
	nodes_free(nodes);
	free(argv);
	return first;
}
