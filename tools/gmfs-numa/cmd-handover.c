// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover: is the machine ready to kexec, and the kexec itself.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmfs-numa.h"

enum result { OK, WARN, FAIL, UNKNOWN };

static const char * const results[] = { "ok", "warn", "fail", "unknown" };

struct arguments {
	struct table_options table;
	const char *kernel;
	const char *exec;
	const char *initrd;
	const char *append;
	const char *config;
	bool dry_run;
	bool force;
};

static const struct column columns[] = {
	{ "CHECK", "what was looked at", COL_TEXT, true },
	{ "RESULT", "ok, warn, fail or unknown", COL_TEXT, true },
	{ "DETAIL", "why", COL_PROSE, true },
};

static struct table *table;
static bool ready;

static void result(const char *check, enum result r, const char *detail)
{
	table_row(table);
	table_text(table, 0, check);
	table_text(table, 1, results[r]);
	table_text(table, 2, detail);
	/* What is not known cannot be relied upon either. */
	if (r == FAIL || r == UNKNOWN)
		ready = false;
}

static void check_kho(const char *cmdline)
{
	char *out = xasprintf("%s/sys/kernel/debug/kho/out", sysroot);

	if (!access(out, F_OK))
		result("kho", OK, "the kernel hands over what is preserved");
	else if (kcmdline_says_kho(cmdline) == 0)
		result("kho", FAIL, "the command line switches it off: boot with kho=on");
	else if (kcmdline_says_kho(cmdline) == 1)
		result("kho", OK, "the command line has kho=on");
	else
		result("kho", UNKNOWN,
		       "who may read debugfs is told: run as root, or boot with kho=on");
	free(out);
}

static void check_luo(void)
{
	char *path = xasprintf("%s/dev/liveupdate", sysroot);

	if (access(path, F_OK))
		result("luo", WARN, "there is no /dev/liveupdate: only files are kept, no descriptors");
	else
		result("luo", OK, "/dev/liveupdate is there");
	free(path);
}

/* The release that a bzImage says it is, see Documentation/arch/x86/boot.rst. */
static char *kernel_release(const char *path)
{
	unsigned char head[0x210];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	unsigned int at;
	ssize_t len;

	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", path, strerror(errno));
	if (read(fd, head, sizeof(head)) == sizeof(head) && !memcmp(head + 0x202, "HdrS", 4)) {
		at = (head[0x20e] | head[0x20f] << 8) + 0x200;
		text = xcalloc(1, 129);
		len = pread(fd, text, 128, at);
		text[len > 0 ? strcspn(text, " ") : 0] = '\0';
	}
	close(fd);
	return text;
}

/* A kernel's configuration, where distributions put it, or NULL. */
static char *read_config(const struct arguments *args, const char *release)
{
	static const char * const places[] = {
		"/boot/config-%s", "/lib/modules/%s/config", "/usr/lib/modules/%s/config",
	};
	const char *root = sysroot;
	char *config = NULL;
	size_t i;

	if (args->config) {
		/* It is named as it is here. */
		sysroot = "";
		config = read_text("%s", args->config);
		sysroot = root;
		if (!config)
			fatal(EX_FAILED, "%s: %s", args->config, strerror(errno));
	}
	for (i = 0; !config && i < ARRAY_SIZE(places); i++)
		config = read_text(places[i], release);
	return config;
}

/* What comes behind "CONFIG_name=", or NULL. */
static const char *option(const char *config, const char *name)
{
	char *start = xasprintf("CONFIG_%s=", name);
	const char *at = config;
	size_t len = strlen(start);

	while (at && strncmp(at, start, len)) {
		at = strchr(at, '\n');
		at += !!at;
	}
	free(start);
	return at ? at + len : NULL;
}

static bool has_option(const char *config, const char *name)
{
	const char *value = option(config, name);

	return value && *value == 'y';
}

/* Bits of a node's features that the next kernel does not know. */
static uint64_t unknown_features(const struct node *node, const char *config, const char *kind,
				 const char *in_format)
{
	const char *at = strstr(node->format, in_format), *known;
	char *name = xasprintf("GUESTMEM_POOL_%s", kind);

	known = option(config, name);
	free(name);
	if (!known || !at)
		return 0;
	return strtoull(at + strlen(in_format), NULL, 0) & ~strtoull(known, NULL, 0);
}

/* The next kernel's Kconfig says what it reads: GUESTMEM_POOL_FORMAT and others. */
static void check_format(const char *config, const struct nodes *nodes)
{
	const char *next = option(config, "GUESTMEM_POOL_FORMAT");
	char *ours = read_text("/sys/fs/guestmemfs/version"), *detail, *list = NULL;
	size_t i;

	if (!has_option(config, "GUESTMEM_POOL")) {
		result("format", FAIL, "it has no guestmemfs: all files would be lost");
	} else if (!has_option(config, "GUESTMEMFS_FS")) {
		result("format", FAIL,
		       "it has pools, but not the file system: it would keep the memory, unused");
	} else if (!next || !ours) {
		result("format", UNKNOWN, "its configuration does not say which format it reads");
	} else if (strtoul(next, NULL, 10) != strtoul(ours, NULL, 10)) {
		detail = xasprintf("it reads format %lu, and this kernel writes %s: it would keep the memory, unused",
				   strtoul(next, NULL, 10), ours);
		result("format", FAIL, detail);
		free(detail);
	} else {
		for (i = 0; i < nodes->nr; i++) {
			const struct node *node = &nodes->node[i];

			if (!unknown_features(node, config, "INCOMPAT", " incompat=") &&
			    !unknown_features(node, config, "RO_COMPAT", " ro_compat="))
				continue;
			detail = xasprintf("%d", node->nid);
			list = join(list, ", ", detail);
			free(detail);
		}
		if (list) {
			detail = xasprintf("it does not know features of node %s, which it could only read, or keep unused",
					   list);
			result("format", FAIL, detail);
			free(detail);
		} else {
			result("format", OK, "it reads what this kernel writes");
		}
	}
	free(list);
	free(ours);
}

/* The string value of an option, as Kconfig quotes it; NULL if it is not there, or empty. */
static char *option_string(const char *config, const char *name)
{
	const char *at = option(config, name);
	char *value, *to;

	if (!at || *at++ != '"')
		return NULL;
	value = xstrdup(at);
	to = value;
	for (; *at && *at != '"' && *at != '\n'; at++)
		*to++ = *at == '\\' && at[1] ? *++at : *at;
	*to = '\0';
	if (*value)
		return value;
	free(value);
	return NULL;
}

/*
 * The line that the next kernel parses, see setup_arch() of x86: one that is built into
 * it stands in front of what it is given, or in its place.
 */
static char *whole_command_line(const char *line, const char *config)
{
	char *builtin = config ? option_string(config, "CMDLINE") : NULL, *whole;

	if (!builtin)
		return xstrdup(line);
	if (has_option(config, "CMDLINE_OVERRIDE"))
		return builtin;
	whole = xasprintf("%s %s", builtin, line);
	free(builtin);
	return whole;
}

/* Of several mem=, the smallest ends the memory: parse_memopt() of arch/x86/kernel/e820.c. */
static void take_mem(const char *value, void *data)
{
	uint64_t *end = data, bytes;
	const char *rest;

	bytes = value ? kcmdline_size(value, &rest) : 0;
	if (bytes && bytes < *end)
		*end = bytes;
}

/* The last memtest= counts, and without a number all patterns: mm/memtest.c. */
static void take_memtest(const char *value, void *data)
{
	unsigned int *patterns = data;
	char *end;
	unsigned long number;

	if (!value) {
		*patterns = UINT_MAX;
		return;
	}
	number = strtoul(value, &end, 0);
	if (end != value && !*end)
		*patterns = number;
}

static void take_memmap(const char *value, void *data)
{
	char **all = data;

	*all = join(*all, " ", value ? value : "");
}

/*
 * Words that take memory from the next kernel, or write to it. KHO's pages and pools can
 * be anywhere in the memory of this kernel, so the next one needs all of it.
 */
static bool check_memory_words(const char *line, const char *running)
{
	uint64_t next_end = UINT64_MAX, end = UINT64_MAX;
	char *next_map = NULL, *map = NULL;
	unsigned int patterns = 0;
	bool good = false;

	kcmdline_each(line, "memtest", take_memtest, &patterns);
	kcmdline_each(line, "mem", take_mem, &next_end);
	kcmdline_each(running, "mem", take_mem, &end);
	kcmdline_each(line, "memmap", take_memmap, &next_map);
	kcmdline_each(running, "memmap", take_memmap, &map);
	if (patterns)
		result("command-line", FAIL,
		       "memtest= has the next kernel write to all handed-over memory: leave it out");
	else if (next_end < end)
		result("command-line", FAIL,
		       "mem= ends below memory of this kernel: the next one panics if KHO's pages lie above, and loses pools that do: leave it out");
	else if (next_map && (!map || strcmp(next_map, map)))
		result("command-line", UNKNOWN,
		       "memmap= is not that of this kernel: it can take memory of a pool or of KHO");
	else
		good = true;
	free(next_map);
	free(map);
	return good;
}

/* What the next kernel is told: to hand over in its turn, and to keep what it gets. */
static void check_command_line(const char *given, const char *config, const char *running)
{
	char *line = whole_command_line(given, config);
	int on = kcmdline_says_kho(line);

	if (on < 0 && config)
		on = has_option(config, "KEXEC_HANDOVER_ENABLE_DEFAULT");
	if (kcmdline_says_fresh(line))
		result("command-line", FAIL, kcmdline_says_fresh(given) ?
		       "guestmemfs=fresh throws away all files: leave it out" :
		       "guestmemfs=fresh is built into it (CONFIG_CMDLINE) and throws away all files");
	else if (config && has_option(config, "CMDLINE_FROM_BOOTCONFIG"))
		result("command-line", UNKNOWN,
		       "a boot configuration that is built into it can add to it");
	else if (!on)
		result("command-line", FAIL,
		       "kho=on is missing: the next kernel would take no pools over");
	else if (on < 0)
		result("command-line", UNKNOWN,
		       "it does not say kho=on, and whether that is the default is not known");
	else if (check_memory_words(line, running))
		result("command-line", OK, "the next kernel takes the pools over");
	free(line);
}

static void check_kernel(const struct arguments *args, const struct nodes *nodes,
			 const char *cmdline)
{
	const char *path = args->exec ? args->exec : args->kernel;
	char *loaded = read_text("/sys/kernel/kexec_loaded");
	char *release, *config, *detail;

	if (!path) {
		if (loaded && !strcmp(loaded, "1"))
			result("kernel", UNKNOWN,
			       "one is loaded; which, and whether by kexec -s, is not known: name it with --kernel");
		else
			result("kernel", FAIL,
			       "none is loaded: kexec -s -l KERNEL, or handover --exec KERNEL");
		free(loaded);
		return;
	}
	free(loaded);
	release = kernel_release(path);
	if (!release) {
		detail = xasprintf("%s is no kernel for x86", path);
		result("kernel", FAIL, detail);
		free(detail);
		return;
	}
	result("kernel", OK, release);
	config = read_config(args, release);
	if (config)
		check_format(config, nodes);
	else
		result("format", UNKNOWN,
		       "its configuration is not in /boot nor with its modules: name it with --config");
	check_command_line(args->append ? args->append : cmdline, config, cmdline);
	free(config);
	free(release);
}

/* --- who has files: whose memory is kept, but not what their processors are doing --- */

struct users {
	char *names;		/* of processes, as far as /proc has them */
	size_t nr_deleted;
	bool all_seen;		/* /proc has all processes */
	uint64_t nr_used;	/* files, as the kernel has it */
	char *used;		/* one of them */
	uint64_t nr_nameless;	/* inodes that the kernel counts and that have no name */
	uint64_t nr_preserved;	/* files that sessions of LUO hold */
	bool luo_has_all;	/* and on no node there are more in use than these */
	char *unknown;		/* why not all users are known */
};

/* How often a node is looked at whose files change while they are counted. */
#define MAX_WALKS	5

static void not_known(struct users *users, int nid, const char *why)
{
	char *text;

	if (users->unknown)
		return;
	text = xasprintf("node %d: who has its files is not known: %s", nid, why);
	users->unknown = printable(text);
	free(text);
}

/* A mount of our own, that nothing covers and no namespace has. -errno if there is none. */
static int mount_privately(int nid, bool read_only)
{
	char *number = xasprintf("%d", nid);
	int context = fsopen("guestmemfs", FSOPEN_CLOEXEC), fd = -1, err;

	if (context >= 0 && !fsconfig(context, FSCONFIG_SET_STRING, "node", number, 0) &&
	    (!read_only || !fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0)) &&
	    !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			     MOUNT_ATTR_NOEXEC);
	err = -errno;
	if (context >= 0)
		close(context);
	free(number);
	return fd < 0 ? err : fd;
}

static int open_node(const struct node *node)
{
	int fd;

	/* What was copied from another machine has no files to be asked. */
	if (*sysroot)
		return -EREMOTE;
	fd = mount_privately(node->nid, false);
	/* It is mounted read-only elsewhere. */
	if (fd == -EBUSY || fd == -EROFS)
		fd = mount_privately(node->nid, true);
	return fd;
}

/* What one walk through a node has found. */
struct node_users {
	uint64_t nr_used;
	char *used;
	int err;		/* why it is not known of a file */
};

static void ask_for_users(const struct file *file, void *arg)
{
	struct node_users *found = arg;
	int err = file->fd < 0 ? file->fd : file_lease(file->fd);

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
	*nr_nameless = after > named ? after - named : 0;
	return before == after && after >= named;
}

/* Files without a name have users too, but for those that only the next kernel frees. */
static void find_users_of_node(struct users *users, const struct node *node, int fd)
{
	struct node_users found = { };
	uint64_t nr_nameless, preserved;
	unsigned int tries = 0;
	bool settled;

	do {
		free(found.used);
		found = (struct node_users){ };
		settled = walk_for_users(users, node->nid, fd, &found, &nr_nameless);
	} while (!settled && ++tries < MAX_WALKS);
	if (!settled)
		not_known(users, node->nid, "its files come and go");
	if (found.err)
		not_known(users, node->nid, file_lease_error(found.err));
	preserved = node_preserved_files(node->nid);
	users->luo_has_all &= found.nr_used + nr_nameless <= preserved;
	users->nr_preserved += preserved;
	users->nr_used += found.nr_used;
	users->nr_nameless += nr_nameless;
	if (!users->used)
		users->used = found.used;
	else
		free(found.used);
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
		fds[i] = open_node(&nodes->node[i]);
		if (fds[i] == -EREMOTE)
			not_known(users, nodes->node[i].nid, "it is mounted, and on another machine");
		else if (fds[i] < 0)
			not_known(users, nodes->node[i].nid, strerror(-fds[i]));
		else if (!fstat(fds[i], &st))
			pool_device_add(st.st_dev, nodes->node[i].nid);
	}
	return fds;
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
	free(users->used);
	free(users->unknown);
}

/* Files that are in use, and not by a process that /proc has. Sets *detail. */
static enum result judge_hidden_users(const struct users *users, char **detail)
{
	char *files = NULL, *one;

	/* Processes that are not seen could have what a session has as well. */
	if (users->luo_has_all && users->all_seen && !users->unknown) {
		*detail = xasprintf("nobody has files mapped or open but LUO, which preserves %ju: keep its sessions open until the kexec",
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
	*detail = xasprintf("%s, by no process that /proc shows. What sessions of LUO have, they preserve: finish these sessions and check again, or keep them and use --force. What is in a socket or a ring is lost",
			    files);
	free(files);
	return UNKNOWN;
}

/* Sets *detail, which the caller frees. */
static enum result judge_users(const struct users *users, char **detail)
{
	if (users->names) {
		*detail = xasprintf("they end with this kernel: save and stop them first: %s",
				    users->names);
		return FAIL;
	}
	if (users->nr_used || users->nr_nameless)
		return judge_hidden_users(users, detail);
	*detail = xstrdup(users->unknown ? users->unknown : "nobody has files mapped or open");
	return users->unknown ? UNKNOWN : OK;
}

static void check_users(const struct nodes *nodes)
{
	struct users users;
	enum result found;
	char *detail;

	find_users(&users, nodes);
	found = judge_users(&users, &detail);
	result("users", found, detail);
	free(detail);
	if (users.nr_deleted) {
		detail = xasprintf("%zu that are in use have no name any more: they are lost",
				   users.nr_deleted);
		result("files", FAIL, detail);
		free(detail);
	}
	free_users(&users);
}

static void check_node(const struct node *node)
{
	char *name = xasprintf("node%d", node->nid), *detail, *used;

	used = format_size((node->total_blocks - node->free_blocks) * node->block_size);
	if (!strcmp(node->state, "failed")) {
		detail = xasprintf("it is handed on as it is, unused: %s", node->error);
		result(name, WARN, detail);
	} else if (node->poisoned_blocks) {
		detail = xasprintf("%s in use, %ju blocks with hardware errors stay out of use",
				   used, (uintmax_t)node->poisoned_blocks);
		result(name, WARN, detail);
	} else if (!strcmp(node->state, "frozen")) {
		detail = xasprintf("%s in use; frozen, also after the kexec", used);
		result(name, WARN, detail);
	} else {
		detail = xasprintf("%s in use, %s", used, node->state);
		result(name, OK, detail);
	}
	free(detail);
	free(used);
	free(name);
}

static void check_metadata(const struct node *node)
{
	char *name = xasprintf("metadata%d", node->nid);
	char *found = strcmp(node->state, "failed") ?
		      read_text("/sys/fs/guestmemfs/node%d/check", node->nid) : xstrdup("");

	if (!found)
		result(name, UNKNOWN, "only root may check it");
	else if (!strcmp(found, "ok"))
		result(name, OK, "the next kernel will find nothing wrong");
	else if (*found)
		result(name, FAIL, found);
	free(found);
	free(name);
}

static void check_all(const struct arguments *args)
{
	char *cmdline = read_text("/proc/cmdline");
	struct nodes *nodes = nodes_read();
	size_t i;

	ready = true;
	table = table_new("handover", columns, 3, &args->table);
	check_kho(cmdline ? cmdline : "");
	check_luo();
	check_kernel(args, nodes, cmdline ? cmdline : "");
	check_users(nodes);
	for (i = 0; i < nodes->nr; i++) {
		check_node(&nodes->node[i]);
		check_metadata(&nodes->node[i]);
	}
	table_print(table);
	fflush(stdout);
	nodes_free(nodes);
	free(cmdline);
}

/* Whoever interrupts the tool does not want the kexec, nor a kernel that stays loaded. */
static volatile sig_atomic_t interrupted;

static void note_signal(int sig)
{
	interrupted = sig;
}

static void set_signals(void (*handler)(int sig))
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM };
	struct sigaction action = { .sa_handler = handler };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
}

/*
 * False, after a message, if it fails. A terminal sends its signals to the command as
 * well: what has to be done @to_the_end ignores them.
 */
static bool step(const struct arguments *args, char *const command[], bool to_the_end)
{
	char *line = NULL;
	bool done = true;
	int i, status;
	pid_t pid;

	for (i = 0; command[i]; i++)
		line = join(line, " ", command[i]);
	printf("%s%s\n", args->dry_run ? "would run: " : "", line);
	fflush(stdout);
	if (!args->dry_run) {
		pid = fork();
		if (!pid) {
			if (to_the_end)
				set_signals(SIG_IGN);
			execvp(command[0], command);
			_exit(127);
		}
		while (pid > 0 && waitpid(pid, &status, 0) < 0)
			if (errno != EINTR)
				pid = -1;
		done = pid > 0 && !status && !interrupted;
		if (!done)
			warning("'%s' failed: nothing was executed", line);
	}
	free(line);
	return done;
}

/* Loading takes its time, in which a virtual machine can have been started. */
static bool is_still_unused(void)
{
	struct nodes *nodes = nodes_read_any();
	struct users users;
	enum result found;
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

/* The kernel freezes the nodes by itself when it goes. Comes back if it does not go. */
static int do_exec(const struct arguments *args)
{
	char *line = args->append ? xasprintf("--command-line=%s", args->append) :
				    xstrdup("--reuse-cmdline");
	char *initrd = args->initrd ? xasprintf("--initrd=%s", args->initrd) : NULL;
	char *load[] = { "kexec", "-s", "-l", (char *)args->exec, line, initrd, NULL };
	char *unload[] = { "kexec", "-s", "-u", NULL };
	char *sync_command[] = { "sync", NULL };
	char *systemd[] = { "systemctl", "kexec", NULL };
	char *plain[] = { "kexec", "-e", NULL };
	bool done;

	set_signals(note_signal);
	done = step(args, load, false);
	if (done || interrupted) {
		done = done && step(args, sync_command, false) &&
		       (args->force || args->dry_run || is_still_unused()) &&
		       !interrupted &&
		       step(args, access("/run/systemd/system", F_OK) ? plain : systemd, false);
		/* Or a later reboot would start it, unchecked. */
		interrupted = 0;
		if (!done)
			step(args, unload, true);
	}
	free(initrd);
	free(line);
	return done ? EX_OK : EX_FAILED;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->table;
		return 0;
	case 'K':
		args->kernel = arg;
		return 0;
	case 'e':
		args->exec = arg;
		return 0;
	case 'i':
		args->initrd = arg;
		return 0;
	case 'a':
		args->append = arg;
		return 0;
	case 'c':
		args->config = arg;
		return 0;
	case 'd':
		args->dry_run = true;
		return 0;
	case 'f':
		args->force = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is too much", arg);
		return 0;
	case ARGP_KEY_END:
		if (!args->exec && (args->initrd || args->dry_run || args->force))
			argp_error(state, "--initrd, --dry-run and --force are for --exec");
		if (args->exec && args->kernel)
			argp_error(state, "--kernel and --exec exclude each other");
		if (!args->exec && !args->kernel && (args->append || args->config))
			argp_error(state, "--command-line and --config are for --kernel or --exec");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_handover(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "kernel", 'K', "FILE", 0, "the kernel that is going to be started", 0 },
		{ "exec", 'e', "FILE", 0, "if all is ready, load this kernel and start it", 0 },
		{ "initrd", 'i', "FILE", 0, "--exec: its initrd", 0 },
		{ "command-line", 'a', "TEXT", 0, "its command line, if not this kernel's", 0 },
		{ "config", 'c', "FILE", 0, "its configuration, if not in /boot", 0 },
		{ "dry-run", 'd', NULL, 0, "--exec: only show what would be run", 0 },
		{ "force", 'f', NULL, 0, "--exec: also if something will be lost", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, NULL,
		"Say whether the machine is ready to kexec with the memory of its guests. Exit status"
		" 1 if it is not ready: something would be lost, or is not known.",
		children, columns_help, NULL };
	struct arguments args = { };
	int first;

	columns_of_help(columns, 3);
	parse_args(&argp, argc, argv, &first, &args);
	if (args.exec && !args.dry_run)
		refuse_sysroot("handover --exec");
	check_all(&args);
	if (args.exec && !ready && args.force)
		warning("not ready, and done all the same");
	if (args.exec && (ready || args.force))
		return do_exec(&args);
	return ready || args.force ? EX_OK : EX_DIFFERS;
}
