// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa run: a command on the CPUs and the memory of a node, with a file of
 * that node for its guest.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <numaif.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmfs-numa.h"

struct arguments {
	const char *node;
	const char *near;
	const char *size;
	const char *name;
	const char *base;
	const char *owner;
	const char *user;
	const char *group;
	bool keep;
	bool qemu;
	uint64_t bytes;
};

/* Who the command runs as, if not as who runs us. */
struct identity {
	bool changes;
	uid_t uid;
	gid_t gid;
	char *name;		/* NULL if it has no entry, and thus no other groups */
};

/* The file of a guest: by descriptors, for who may write to the node may move names. */
struct guest_file {
	int dir;
	int fd;
	char *name;
	char *path;		/* for people */
	char *handle;		/* for the command: a path that is this file and no other */
	struct stat st;
};

/* Out of the way of the descriptors that shell scripts use. */
#define FIRST_FD	100

static volatile pid_t child;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case 'N':
		args->node = arg;
		return 0;
	case 'D':
		args->near = arg;
		return 0;
	case 's':
		args->size = arg;
		if (!parse_size(arg, &args->bytes) || !args->bytes)
			argp_error(state, "'%s' is no size, such as 4G", arg);
		return 0;
	case 'n':
		if (!*arg || strchr(arg, '/') || *arg == '.')
			argp_error(state, "'%s' is no name for a file", arg);
		args->name = arg;
		return 0;
	case 'B':
		args->base = arg;
		return 0;
	case 'O':
		if (strlen(arg) > 200)
			argp_error(state, "'%s' is longer than 200 bytes", arg);
		args->owner = arg;
		return 0;
	case 'u':
		args->user = arg;
		return 0;
	case 'g':
		args->group = arg;
		return 0;
	case 'k':
		args->keep = true;
		return 0;
	case 'q':
		args->qemu = true;
		return 0;
	case ARGP_KEY_SUCCESS:	/* comes also if there are arguments */
		if (!args->size)
			argp_error(state, "--size is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Blocks that are reserved are for CAP_SYS_RESOURCE. */
static bool may_use_reserve(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { };

	return !syscall(SYS_capget, &header, data) &&
	       data[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE);
}

static uint64_t free_bytes(const struct node *node)
{
	uint64_t blocks = node->free_blocks;
	uint64_t bytes;

	if (!may_use_reserve())
		blocks = known_difference(blocks, node->reserved_blocks);
	bytes = node_bytes(node, blocks);
	return is_known(bytes) ? bytes : 0;
}

/* Nearest first; then what has CPUs, for the guest's run there; then what has most room. */
static bool is_better(const struct node *a, const struct node *b, int near)
{
	if (near >= 0 && node_distance(near, a->nid) != node_distance(near, b->nid))
		return node_distance(near, a->nid) < node_distance(near, b->nid);
	if (!*a->cpus != !*b->cpus)
		return *a->cpus;
	if (a->free_1g != b->free_1g)
		return a->free_1g > b->free_1g;
	return free_bytes(a) > free_bytes(b);
}

static const struct node *choose(const struct nodes *nodes, const struct arguments *args)
{
	int near = args->near ? node_near(args->near) : -1;
	const struct node *best = NULL;
	size_t i;

	for (i = 0; i < nodes->nr; i++) {
		const struct node *node = &nodes->node[i];

		if (strcmp(node->state, "active") || free_bytes(node) < args->bytes)
			continue;
		if (!best || is_better(node, best, near))
			best = node;
	}
	if (!best)
		fatal(EX_FAILED, "no node has %s free: see gmfs-numa status",
		      args->size);
	return best;
}

/* --- CPUs and memory --- */

static void run_on_cpus_of(int nid)
{
	char *text = read_text("/sys/devices/system/node/node%d/cpulist", nid);
	const char *list = text ? text : "";
	unsigned int first, last, nr = 0;
	cpu_set_t *cpus = NULL;

	while (next_range(&list, &first, &last))
		nr = last + 1 > nr ? last + 1 : nr;
	cpus = CPU_ALLOC(nr);
	if (!cpus)
		fatal(EX_FAILED, "out of memory");
	CPU_ZERO_S(CPU_ALLOC_SIZE(nr), cpus);
	for (list = text ? text : ""; next_range(&list, &first, &last);)
		for (; first <= last; first++)
			CPU_SET_S(first, CPU_ALLOC_SIZE(nr), cpus);
	if (sched_setaffinity(0, CPU_ALLOC_SIZE(nr), cpus))
		fatal(EX_FAILED, "cannot run on the CPUs of node %d: %s", nid, strerror(errno));
	CPU_FREE(cpus);
	free(text);
}

static void take_memory_of(int nid, int policy)
{
	/* As many as parse_nodes() takes. */
	unsigned long mask[1024 / (8 * sizeof(long))] = { };

	mask[nid / (8 * sizeof(long))] |= 1UL << nid % (8 * sizeof(long));
	/* The kernel takes one off. */
	if (set_mempolicy(policy, mask, 1024 + 1))
		fatal(EX_FAILED, "cannot take memory of node %d: %s", nid, strerror(errno));
}

/*
 * Other memory that the command allocates comes from the node, too. This
 * is done first: if it is not possible, nothing has happened.
 */
static void bind_to(const struct node *node)
{
	int cpus = node_with_cpus(node->nid);

	if (cpus < 0)
		fatal(EX_FAILED, "which CPUs are near node %d is not known", node->nid);
	if (cpus != node->nid)
		warning("node %d has no CPUs: those of node %d are the nearest", node->nid, cpus);
	run_on_cpus_of(cpus);
	if (!is_known(node->kernel_total))
		fatal(EX_FAILED, "node %d: its meminfo cannot be read, so memory outside its pool is unknown",
		      node->nid);
	if (node->kernel_total) {
		take_memory_of(node->nid, MPOL_BIND);
		return;
	}
	warning("node %d has no memory but its pool: other memory comes from node %d", node->nid,
		cpus);
	take_memory_of(cpus, MPOL_PREFERRED);
}

/* --- who runs it --- */

static struct identity find_identity(const struct arguments *args)
{
	struct identity who = { args->user || args->group, geteuid(), getegid(), NULL };
	struct passwd *user = args->user ? getpwnam(args->user) : NULL;
	struct group *group = args->group ? getgrnam(args->group) : NULL;
	uint64_t number;

	if (args->user && !user) {
		if (!parse_number(args->user, &number) || number >= UINT32_MAX)
			fatal(EX_USAGE, "--user %s: there is no such user", args->user);
		who.uid = number;
		user = getpwuid(who.uid);
		if (!user && !args->group)
			fatal(EX_USAGE, "--user %s: it has no entry: --group has to say the group",
			      args->user);
	}
	if (user) {
		who.uid = user->pw_uid;
		who.gid = user->pw_gid;
		who.name = xstrdup(user->pw_name);
	}
	if (group) {
		who.gid = group->gr_gid;
	} else if (args->group) {
		if (!parse_number(args->group, &number) || number >= UINT32_MAX)
			fatal(EX_USAGE, "--group %s: there is no such group", args->group);
		who.gid = number;
	}
	return who;
}

/* In the child. False with errno. */
static bool become(const struct identity *who)
{
	if (!who->changes)
		return true;
	if (who->name ? initgroups(who->name, who->gid) : setgroups(1, &who->gid))
		return false;
	return !setresgid(who->gid, who->gid, who->gid) && !setresuid(who->uid, who->uid, who->uid);
}

/* --- the file --- */

/* Now, and not when the guest wants it; a signal may end this, and leaves nothing. */
static void allocate(const struct guest_file *file, const struct arguments *args,
		     const struct node *node)
{
	char *largest;
	int err;

	do {
		err = fallocate(file->fd, 0, 0, args->bytes) ? errno : 0;
	} while (err == EINTR);
	if (!err)
		return;
	largest = format_size(node_bytes(node, node->largest_free_run));
	fatal(EX_FAILED, "%s: %s: %s (longest free run of node %d: %s)", file->path, args->size,
	      strerror(err), node->nid, largest);
}

static void open_directory(struct guest_file *file, const struct arguments *args,
			   const struct node *node)
{
	char *dir = xasprintf("%s/node%d", args->base, node->nid);

	file->name = args->name ? xstrdup(args->name) : xasprintf("run-%d", getpid());
	file->path = xasprintf("%s/%s", dir, file->name);
	file->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (file->dir < 0 || fd_node(file->dir) != node->nid)
		fatal(EX_FAILED, "node %d is not mounted at %s: gmfs-numa mount %d", node->nid, dir,
		      node->nid);
	/* Before all of its memory is zeroed for nothing. */
	if (!faccessat(file->dir, file->name, F_OK, AT_SYMLINK_NOFOLLOW))
		fatal(EX_FAILED, "%s: %s", file->path, strerror(EEXIST));
	free(dir);
}

/* Without a name: it gets one when it is complete and says whose it is. */
static void make_file(struct guest_file *file, const struct arguments *args,
		      const struct node *node, const struct identity *who, const char *vmm)
{
	char *owner = args->owner ? xstrdup(args->owner) : xasprintf("pid:%d", getpid());
	int fd, err;

	refuse_sysroot("run");
	fd = openat(file->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", file->path, strerror(errno));
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
	if (file->fd < 0)
		fatal(EX_FAILED, "%s: %s", file->path, strerror(errno));
	close(fd);
	file->handle = xasprintf("/proc/self/fd/%d", file->fd);
	allocate(file, args, node);
	err = tags_write(file->fd, owner, vmm);
	if (err)
		fatal(EX_FAILED, "%s: it cannot be tagged: %s", file->path, strerror(-err));
	if (who->changes && fchown(file->fd, who->uid, who->gid))
		fatal(EX_FAILED, "%s: it cannot be given to the user: %s", file->path,
		      strerror(errno));
	free(owner);
}

static bool is_same(const struct guest_file *file, const struct stat *st)
{
	return file->st.st_dev == st->st_dev && file->st.st_ino == st->st_ino;
}

/*
 * Gives it its name, by which it is opened once more: what a descriptor without one has
 * opened is "(deleted)" in /proc for good.
 */
static void name_file(struct guest_file *file)
{
	struct stat st;
	int fd;

	if (linkat(AT_FDCWD, file->handle, file->dir, file->name, AT_SYMLINK_FOLLOW) ||
	    fstat(file->fd, &file->st))
		fatal(EX_FAILED, "%s: %s", file->path, strerror(errno));
	fd = openat(file->dir, file->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || dup3(fd, file->fd, O_CLOEXEC) < 0)
		fatal(EX_FAILED, "%s: %s", file->path, strerror(errno));
	close(fd);
	if (!is_same(file, &st))
		fatal(EX_FAILED, "%s: another file has its name now", file->path);
}

/* A command that goes on in the background has it. @fd is a descriptor of its own. */
static int remove_unused(const struct guest_file *file, int fd)
{
	struct stat st;
	int err;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!is_same(file, &st))
		return -ESTALE;
	err = file_lease(fd);
	return err ? err : file_remove(file->dir, file->name, fd);
}

static void remove_file(const struct guest_file *file)
{
	int fd = openat(file->dir, file->name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int err = remove_unused(file, fd);

	if (err == -EAGAIN)
		warning("%s stays: it is still in use; gmfs-numa reap finds it later", file->path);
	else if (err == -ESTALE || err == -ENOENT || err == -ELOOP)
		warning("%s is not the command's file any more, and is left alone", file->path);
	else if (err)
		warning("%s stays: whether it is in use is unknown: %s", file->path,
			strerror(-err));
	if (fd >= 0)
		close(fd);
}

static void free_file(struct guest_file *file)
{
	close(file->dir);
	free(file->name);
	free(file->path);
	free(file->handle);
}

/* --- the command --- */

/* @arg with {} and {size} replaced, once: what they stand for is not looked into. */
static char *expand(const char *arg, const char *handle, const char *size)
{
	char *all = xstrdup("");
	const char *at;

	while ((at = strchr(arg, '{'))) {
		const char *by = !strncmp(at, "{}", 2) ? handle :
				 !strncmp(at, "{size}", 6) ? size : NULL;
		char *more = xasprintf("%s%.*s%s", all, (int)(at - arg), arg, by ? by : "{");

		free(all);
		all = more;
		arg = at + (!by ? 1 : by == handle ? 2 : 6);
	}
	return join(all, "", arg);
}

static bool has_argument(char **argv, const char *name)
{
	for (; *argv; argv++)
		if (!strcmp(*argv, name))
			return true;
	return false;
}

/* The command with the file in it, and what QEMU wants to be told. */
static char **make_command(const struct arguments *args, char **argv, const char *handle)
{
	const bool gib = args->bytes % (1ULL << 30) == 0;
	char **command, *size = xasprintf("%ju", (uintmax_t)args->bytes);
	size_t nr = 0, i;

	while (argv[nr])
		nr++;
	command = xcalloc(nr + 7, sizeof(*command));
	for (i = 0; i < nr; i++)
		command[i] = expand(argv[i], handle, size);
	if (args->qemu) {
		command[i++] = xstrdup("-object");
		command[i++] = xasprintf("memory-backend-file,id=guestmemfs,mem-path=%s,size=%s,share=on,align=%s",
					 handle, size, gib ? "1G" : "2M");
		command[i++] = xstrdup("-machine");
		command[i++] = xstrdup("memory-backend=guestmemfs");
		if (!has_argument(argv, "-m")) {
			command[i++] = xstrdup("-m");
			command[i++] = xasprintf("size=%juM", (uintmax_t)(args->bytes >> 20));
		}
	}
	free(size);
	return command;
}

/* What a terminal sends, it has sent to the command as well, if that is in our group. */
static void forward(int sig, siginfo_t *info, void *context)
{
	int err = errno;

	(void)context;
	if (child > 0 && (info->si_code <= 0 || getpgid(child) != getpgrp()))
		kill(child, sig);
	errno = err;
}

static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };

/* Blocks them, and has those forwarded that are not to be ignored, as by nohup(1). */
static void take_signals(sigset_t *block, sigset_t *before)
{
	struct sigaction action = { .sa_sigaction = forward, .sa_flags = SA_SIGINFO }, old;
	size_t i;

	sigemptyset(block);
	for (i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(block, forwarded[i]);
	sigprocmask(SIG_BLOCK, block, before);
	for (i = 0; i < ARRAY_SIZE(forwarded); i++)
		if (!sigaction(forwarded[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(forwarded[i], &action, NULL);
}

static void give_signals_back(const sigset_t *before)
{
	struct sigaction old;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(forwarded); i++)
		if (!sigaction(forwarded[i], NULL, &old) && old.sa_handler != SIG_IGN)
			signal(forwarded[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, before, NULL);
}

/* In the child. Only what cannot be run is written to @failed, which exec closes. */
static void execute(const struct guest_file *file, const struct identity *who, char **command,
		    const sigset_t *before, int failed)
{
	int status = EX_FAILED;

	give_signals_back(before);
	if (!become(who)) {
		warning("cannot become the user: %s", strerror(errno));
	} else if (fcntl(file->fd, F_SETFD, 0)) {
		warning("%s: %s", file->path, strerror(errno));
	} else {
		execvp(command[0], command);
		status = errno == ENOENT ? 127 : 126;
		warning("%s: %s", command[0], strerror(errno));
	}
	if (write(failed, "", 1) < 0)
		status = EX_FAILED;
	_exit(status);
}

/* Waits for the command, and sees that no signal goes to its number later. */
static int wait_for_child(const sigset_t *block)
{
	siginfo_t info;
	int status;

	while (waitid(P_PID, child, &info, WEXITED | WNOWAIT) < 0)
		if (errno != EINTR)
			fatal(EX_FAILED, "cannot wait for the command: %s", strerror(errno));
	sigprocmask(SIG_BLOCK, block, NULL);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			fatal(EX_FAILED, "cannot wait for the command: %s", strerror(errno));
	child = 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Has the command been executed at all? */
static bool has_started(int failed)
{
	ssize_t got;
	char c;

	while ((got = read(failed, &c, 1)) < 0 && errno == EINTR)
		;
	close(failed);
	return !got;
}

/* Exit status of the command; *started is false if there was none. */
static int run_command(const struct guest_file *file, const struct identity *who, char **command,
		       const sigset_t *block, const sigset_t *before, bool *started)
{
	int failed[2];

	*started = false;
	if (pipe2(failed, O_CLOEXEC)) {
		warning("cannot start the command: %s", strerror(errno));
		return EX_FAILED;
	}
	child = fork();
	if (!child)
		execute(file, who, command, before, failed[1]);
	close(failed[1]);
	/* Who has it open after the command is known by that. */
	close(file->fd);
	if (child < 0) {
		warning("cannot start the command: %s", strerror(errno));
		close(failed[0]);
		return EX_FAILED;
	}
	sigprocmask(SIG_SETMASK, before, NULL);
	*started = has_started(failed[0]);
	return wait_for_child(block);
}

static int run(const struct arguments *args, const struct node *node, char **argv)
{
	const struct identity who = find_identity(args);
	sigset_t block, before;
	struct guest_file file;
	char **command;
	bool started;
	int status;

	/* Such a node waits, and cannot be interrupted. */
	if (*node->state && strcmp(node->state, "active"))
		fatal(EX_FAILED, "node %d is %s: no command can be started on it", node->nid,
		      node->state);
	open_directory(&file, args, node);
	bind_to(node);
	make_file(&file, args, node, &who, basename(argv[0]));
	command = make_command(args, argv, file.handle);
	/* Without it no child can be waited for. */
	signal(SIGCHLD, SIG_DFL);
	/* Nothing may come between the name and who removes it. */
	take_signals(&block, &before);
	name_file(&file);
	warning("node %d: %s, %s", node->nid, file.path, args->size);
	status = run_command(&file, &who, command, &block, &before, &started);
	if (!args->keep || !started)
		remove_file(&file);
	free_strings(command);
	free_file(&file);
	free(who.name);
	return status;
}

int cmd_run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "node", 'N', "NODE", 0, "number of the node, or auto (default)", 0 },
		{ "near", 'D', "WHAT", 0,
		  "auto: nearest to a device (PCI address, name, /dev/...) or to CPUs", 0 },
		{ "size", 's', "SIZE", 0, "size of the guest's memory", 0 },
		{ "name", 'n', "NAME", 0, "name of the file", 0 },
		{ "base", 'B', "DIR", 0, "nodes are mounted at DIR/nodeN (" MOUNT_BASE ")", 0 },
		{ "owner", 'O', "ID", 0, "owner of the file, such as the machine's UUID", 0 },
		{ "user", 'u', "USER", 0, "run the command as USER, who owns the file", 0 },
		{ "group", 'g', "GROUP", 0, "and with GROUP", 0 },
		{ "keep", 'k', NULL, 0, "leave the file when the command ends", 0 },
		{ "qemu", 'q', NULL, 0, "add the options by which QEMU takes the memory", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "-- COMMAND [ARGUMENT...]",
		"Run COMMAND bound to the CPUs and the memory of a node, with a file of that node:"
		" {} in its arguments is replaced by a path that opens it (/proc/self/fd/N), {size} by"
		" the size in bytes. The file is removed when the command has ended and no process uses it any"
		" more. Exit status: the command's; 128 and the signal's number if that ended it.",
		NULL, NULL, NULL };
	struct arguments args = { .base = MOUNT_BASE, .node = "auto" };
	const struct node *node;
	struct nodes *nodes;
	int first, status;
	int *nids;

	parse_args(&argp, argc, argv, &first, &args);
	if (first == argc)
		fatal(EX_USAGE, "run needs a command, behind --");
	nodes = nodes_read();
	if (!strcmp(args.node, "auto")) {
		node = choose(nodes, &args);
	} else {
		if (parse_nodes(args.node, &nids) != 1)
			fatal(EX_USAGE, "--node %s: one node, or auto", args.node);
		node = nodes_need(nodes, nids[0]);
		free(nids);
		if (args.near)
			fatal(EX_USAGE, "--near is for --node auto");
	}
	if (!node->block_size || !is_known(node->block_size))
		fatal(EX_FAILED, "node %d: its block_size cannot be read", node->nid);
	if (args.bytes % node->block_size)
		fatal(EX_USAGE, "--size %s: it has to be a multiple of 2M", args.size);
	status = run(&args, node, argv + first);
	nodes_free(nodes);
	return status;
}
