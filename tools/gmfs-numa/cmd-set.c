// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa get, set, freeze, thaw, discard and check: the sysfs files of nodes.
 */

#include <errno.h>
#include <libmount/libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"

enum kind { BYTES, BLOCKS, BLOCKS_OR_ALL, WORDS, SWITCH };

/* Files that can be written, as Documentation/ABI/testing/sysfs-fs-guestmemfs has it. */
static const struct setting {
	const char *name;
	enum kind kind;
	const char *range;
	const char *words[3];
} settings[] = {
	{ "frozen", SWITCH, "0 or 1", { "0", "1" } },
	{ "low_watermark", BLOCKS, "blocks, a size such as 4G, or a percentage such as 10%", { } },
	{ "policy", WORDS, "best-fit or first-fit", { "best-fit", "first-fit" } },
	{ "reserve", BLOCKS, "blocks, a size such as 4G, or a percentage such as 10%", { } },
	{ "scrub_rate", BYTES, "bytes per second, such as 2G; 0 is no limit", { } },
	{ "scrub_target", BLOCKS_OR_ALL,
	  "blocks, a size such as 4G, a percentage such as 10%, or all", { } },
	{ "zeroing", WORDS, "background or on-alloc", { "background", "on-alloc" } },
};

#define NR_SETTINGS ARRAY_SIZE(settings)

/* Files that can only be read. */
static const char * const readable[] = {
	"alloc_failures", "attached_files", "block_size", "dirty_blocks", "error",
	"faults_pmd", "faults_pte", "faults_pud", "format", "free_1g", "free_blocks",
	"free_inodes", "generation", "growth_reserve", "handed_over_from",
	"largest_free_run", "max_inodes", "metadata_bytes", "mounts", "moved_blocks",
	"pinned_blocks", "poisoned_blocks", "preserved_files", "private_files",
	"reserved_blocks", "resize_error", "scrubbed_blocks", "size", "state", "target",
	"total_blocks", "total_inodes", "uuid",
};

#define NR_READABLE ARRAY_SIZE(readable)

static const struct setting *find_setting(const char *name)
{
	size_t i;

	for (i = 0; i < NR_SETTINGS; i++)
		if (!strcmp(settings[i].name, name))
			return &settings[i];
	return NULL;
}

static bool find_readable(const char *name)
{
	size_t i;

	for (i = 0; i < NR_READABLE; i++)
		if (!strcmp(readable[i], name))
			return true;
	return find_setting(name);
}

/* Blocks that @text says, rounded up, or false. */
static bool parse_blocks(const struct node *node, const char *text, uint64_t *blocks)
{
	if (parse_number(text, blocks))
		return *blocks <= node->total_blocks;
	if (parse_percent(text, blocks)) {
		if (!is_known(node->total_blocks))
			return false;
		*blocks = (node->total_blocks * *blocks + 99) / 100;
		return true;
	}
	if (!parse_size(text, blocks) || !node->block_size || !is_known(node->block_size))
		return false;
	*blocks = *blocks / node->block_size + !!(*blocks % node->block_size);
	return *blocks <= node->total_blocks;
}

/* What to write, or NULL. */
static char *make_value(const struct setting *setting, const struct node *node,
			const char *text)
{
	uint64_t number;
	size_t i;

	switch (setting->kind) {
	case WORDS:
	case SWITCH:
		for (i = 0; setting->words[i]; i++)
			if (!strcmp(setting->words[i], text))
				return xstrdup(text);
		return NULL;
	case BYTES:
		return parse_size(text, &number) ? xasprintf("%ju", (uintmax_t)number) : NULL;
	case BLOCKS_OR_ALL:
		if (!strcmp(text, "all"))
			return xstrdup(text);
		/* fall through */
	default:
		return *text && parse_blocks(node, text, &number) ?
		       xasprintf("%ju", (uintmax_t)number) : NULL;
	}
}

static const char *remedy(int err)
{
	switch (-err) {
	case EACCES:
	case EPERM:
		return ": only root may do that";
	case EROFS:
		return ": the node has failed, or has features that this kernel can only read";
	case EBUSY:
		return ": it is mounted, frozen or pinned; unmount it (gmfs-numa umount), thaw it";
	default:
		return "";
	}
}

struct change {
	const struct node *node;
	const struct setting *setting;
	char *value;
	char *before;
};

static void write_changes(struct change *changes, size_t nr)
{
	size_t i;
	int err;

	for (i = 0; i < nr; i++) {
		struct change *c = &changes[i];

		err = node_write(c->node->nid, c->setting->name, c->value);
		if (!err)
			continue;
		warning("node %d: %s=%s: %s%s", c->node->nid, c->setting->name, c->value,
			strerror(-err), remedy(err));
		while (i--)
			if (node_write(changes[i].node->nid, changes[i].setting->name,
				       changes[i].before))
				warning("node %d: %s stays %s", changes[i].node->nid,
					changes[i].setting->name, changes[i].value);
		fatal(EX_FAILED, "no setting was changed except those named above");
	}
}

int cmd_set(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "NODE[,NODE...] NAME=VALUE...",
		"Change settings of nodes: all of them, or none. Numbers may be sizes (2G) and"
		" percentages of the pool (10%) where that makes sense.\v"
		"Settings: frozen, low_watermark, policy, reserve, scrub_rate, scrub_target,"
		" zeroing. They survive kexec.", NULL, NULL, NULL };
	struct change *changes = NULL;
	struct nodes *nodes;
	size_t nr = 0, i;
	int first, arg;

	parse_args(&argp, argc, argv, &first, NULL);
	if (argc - first < 2)
		fatal(EX_USAGE, "set needs a node and NAME=VALUE; see gmfs-numa set --help");
	nodes = nodes_select(1, argv + first);
	for (arg = first + 1; arg < argc; arg++) {
		char *name = xstrdup(argv[arg]);
		char *text = strchr(name, '=');
		const struct setting *setting;

		if (!text)
			fatal(EX_USAGE, "'%s' is not NAME=VALUE", name);
		*text++ = '\0';
		setting = find_setting(name);
		if (!setting)
			fatal(EX_USAGE, "'%s' is not a setting; see gmfs-numa set --help",
			      name);
		for (i = 0; i < nodes->nr; i++) {
			const struct node *node = &nodes->node[i];
			struct change c = { .node = node, .setting = setting };

			c.value = make_value(setting, node, text);
			if (!c.value)
				fatal(EX_USAGE, "node %d: %s=%s: it has to be %s; the node has %ju blocks",
				      node->nid, name, text, setting->range,
				      (uintmax_t)node->total_blocks);
			c.before = read_text("/sys/fs/guestmemfs/node%d/%s", node->nid, name);
			if (!c.before)
				fatal(EX_FAILED, "node %d: %s: %s", node->nid, name,
				      strerror(errno));
			changes = xrealloc(changes, (nr + 1) * sizeof(*changes));
			changes[nr++] = c;
		}
		free(name);
	}
	write_changes(changes, nr);
	for (i = 0; i < nr; i++) {
		free(changes[i].value);
		free(changes[i].before);
	}
	free(changes);
	nodes_free(nodes);
	return EX_OK;
}

static error_t parse_get(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

static const struct argp_child table_child[] = { { &table_argp, 0, NULL, 0 }, { } };

/*
 * What is not asked for by name may be missing in another version of the kernel, or be for
 * root only.
 */
static void show_value(struct table *table, int nid, const char *name, bool asked)
{
	char *value = read_text("/sys/fs/guestmemfs/node%d/%s", nid, name);

	if (!value && !asked && (errno == ENOENT || errno == EACCES))
		return;
	if (!value)
		fatal(EX_FAILED, "node %d: %s: %s", nid, name, strerror(errno));
	table_row(table);
	table_number(table, 0, nid);
	table_text(table, 1, name);
	table_text(table, 2, value);
	free(value);
}

int cmd_get(int argc, char **argv)
{
	static const struct column columns[] = {
		{ "NODE", "number of the node", COL_NUMBER, true },
		{ "NAME", "file in its directory in sysfs", COL_TEXT, true },
		{ "VALUE", "as it is there", COL_TEXT, true },
	};
	static const struct argp argp = { NULL, parse_get, "[NODE[,NODE...]] [NAME...]",
		"Show values of nodes from sysfs: of all nodes, and all values, by default.",
		table_child, columns_help, NULL };
	struct table_options options = { };
	struct nodes *nodes;
	struct table *table;
	int first, arg;
	size_t i, j;

	columns_of_help(columns, 3);
	parse_args(&argp, argc, argv, &first, &options);
	/* Names have no digit in front, but "node1" could be one. */
	if (first < argc && !find_readable(argv[first]))
		nodes = nodes_select(1, argv + first++);
	else
		nodes = nodes_read();
	for (arg = first; arg < argc; arg++)
		if (!find_readable(argv[arg]))
			fatal(EX_USAGE, "there is no '%s'; 'gmfs-numa get' shows all names",
			      argv[arg]);
	table = table_new("values", columns, 3, &options);
	for (i = 0; i < nodes->nr; i++) {
		int nid = nodes->node[i].nid;

		for (arg = first; arg < argc; arg++)
			show_value(table, nid, argv[arg], true);
		if (first < argc)
			continue;
		for (j = 0; j < NR_READABLE; j++)
			show_value(table, nid, readable[j], false);
		for (j = 0; j < NR_SETTINGS; j++)
			show_value(table, nid, settings[j].name, false);
	}
	table_print(table);
	nodes_free(nodes);
	return EX_OK;
}

static int write_all(const struct nodes *nodes, const char *name, const char *value)
{
	int status = EX_OK;
	size_t i;
	int err;

	for (i = 0; i < nodes->nr; i++) {
		err = node_write(nodes->node[i].nid, name, value);
		if (!err)
			continue;
		warning("node %d: %s: %s%s", nodes->node[i].nid, name, strerror(-err),
			remedy(err));
		status = EX_FAILED;
	}
	return status;
}

static int freeze(int argc, char **argv, const struct argp *argp, const char *value)
{
	struct nodes *nodes;
	int first, status;

	parse_args(argp, argc, argv, &first, NULL);
	nodes = nodes_select(argc - first, argv + first);
	status = write_all(nodes, "frozen", value);
	nodes_free(nodes);
	return status;
}

int cmd_freeze(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "[NODE...]",
		"Freeze nodes, or all: calls that create, remove or resize files"
		" wait until the node is thawed. Mapped memory can be used.",
		NULL, NULL, NULL };

	return freeze(argc, argv, &argp, "1");
}

int cmd_thaw(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "[NODE...]",
		"Thaw nodes, or all: calls that wait go on.", NULL, NULL, NULL };

	return freeze(argc, argv, &argp, "0");
}

/* Where a node is mounted, or NULL. */
static char *mount_points(int nid)
{
	struct libmnt_table *table = mounts_read();
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	char *list = NULL;

	while ((fs = mounts_next(table, iter)))
		if (fs_node(fs) == nid)
			list = join(list, ", ", mnt_fs_get_target(fs));
	mnt_free_iter(iter);
	mnt_unref_table(table);
	return list;
}

static bool confirm(const struct nodes *nodes)
{
	char answer[16];
	size_t i;

	if (!isatty(STDIN_FILENO))
		fatal(EX_USAGE, "discard removes all files of a node: --yes confirms that");
	for (i = 0; i < nodes->nr; i++) {
		char *used = format_size((nodes->node[i].total_blocks -
					  nodes->node[i].free_blocks) * nodes->node[i].block_size);

		fprintf(stderr, "node %d: %s in use, state %s\n", nodes->node[i].nid, used,
			nodes->node[i].state);
		free(used);
	}
	fputs("All of it will be lost. Go on? [y/N] ", stderr);
	return fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y');
}

static error_t parse_yes(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != 'y')
		return ARGP_ERR_UNKNOWN;
	*(bool *)state->input = true;
	return 0;
}

int cmd_discard(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "yes", 'y', NULL, 0, "do not ask", 0 }, { }
	};
	static const struct argp argp = { options, parse_yes, "NODE...",
		"Remove all files of nodes and reset the nodes. A node has to have failed,"
		" or to be unmounted.", NULL, NULL, NULL };
	int first, status = EX_OK;
	struct nodes *nodes;
	bool yes = false;
	char *where;
	size_t i;

	parse_args(&argp, argc, argv, &first, &yes);
	if (first == argc)
		fatal(EX_USAGE, "discard needs a node");
	nodes = nodes_select(argc - first, argv + first);
	for (i = 0; i < nodes->nr; i++) {
		where = mount_points(nodes->node[i].nid);
		if (where)
			fatal(EX_FAILED, "node %d is mounted at %s: unmount it first",
			      nodes->node[i].nid, where);
	}
	if (!yes && !confirm(nodes))
		fatal(EX_FAILED, "no node was changed");
	for (i = 0; i < nodes->nr; i++) {
		struct nodes one = { .node = &nodes->node[i], .nr = 1 };
		char *name = xasprintf("node%d", nodes->node[i].nid);

		if (write_all(&one, "discard", name)) {
			status = EX_FAILED;
			pins_warn(one.node->nid, -1, NULL);
		}
		free(name);
	}
	nodes_free(nodes);
	return status;
}

struct check_arguments {
	struct table_options table;
	const char *dump;
};

static error_t parse_check(int key, char *arg, struct argp_state *state)
{
	struct check_arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->table;
		return 0;
	case 'd':
		args->dump = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_check(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "dump", 'd', "FILE", 0,
		  "check FILE, a copy of a node's metadata in sysfs, or a vmcore; - is standard input",
		  0 },
		{ }
	};
	static const struct column columns[] = {
		{ "NODE", "number of the node", COL_NUMBER, true },
		{ "GOOD", "no damage was found", COL_BOOL, true },
		{ "RESULT", "ok, or the first damage", COL_PROSE, true },
	};
	static const struct argp argp = { argp_options, parse_check, "[NODE...]",
		"Have the kernel check all metadata of nodes, as the next one will after kexec."
		" Or check a dump of it, without a kernel. Exit status 1 if something is wrong.",
		table_child, columns_help, NULL };
	struct check_arguments args = { };
	int first, status = EX_OK;
	struct nodes *nodes;
	struct table *table;
	char *result;
	bool good;
	size_t i;

	columns_of_help(columns, 3);
	parse_args(&argp, argc, argv, &first, &args);
	if (args.dump && argc > first)
		fatal(EX_USAGE, "check --dump takes no nodes: the file says which they are");
	table = table_new("checks", columns, 3, &args.table);
	if (args.dump) {
		status = check_dump(table, args.dump);
		table_print(table);
		return status;
	}
	nodes = nodes_select(argc - first, argv + first);
	for (i = 0; i < nodes->nr; i++) {
		result = read_text("/sys/fs/guestmemfs/node%d/check", nodes->node[i].nid);
		if (!result)
			fatal(EX_FAILED, "node %d cannot be checked: %s%s", nodes->node[i].nid,
			      strerror(errno), remedy(-errno));
		good = !strcmp(result, "ok");
		if (!good)
			status = EX_DIFFERS;
		table_row(table);
		table_number(table, 0, nodes->node[i].nid);
		table_bool(table, 1, good);
		table_text(table, 2, result);
		free(result);
	}
	table_print(table);
	nodes_free(nodes);
	return status;
}
