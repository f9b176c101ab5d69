// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa run: a command on the CPUs and the memory of a node, with a file of
 * that node for its guest.
 */

#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
	bool keep;
	bool qemu;
	uint64_t bytes;
};

static pid_t child;

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
		args->owner = arg;
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

/* The node of a PCI device, a network or block device, or of a list of CPUs. */
static int node_near(const char *what)
{
	static const char * const places[] = {
		"/sys/bus/pci/devices/%s/numa_node", "/sys/class/net/%s/device/numa_node",
		"/sys/class/block/%s/device/numa_node",
	};
	struct bitmask *cpus;
	unsigned int cpu;
	char *text;
	size_t i;
	int nid;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		text = strchr(what, '/') ? NULL : read_text(places[i], what);
		if (!text)
			continue;
		nid = atoi(text);
		free(text);
		if (nid < 0)
			fatal(EX_FAILED, "%s is near no node in particular", what);
		return nid;
	}
	cpus = strspn(what, "0123456789-,") == strlen(what) ? numa_parse_cpustring_all(what) : NULL;
	if (!cpus)
		fatal(EX_USAGE, "--near %s: it is neither a device nor a list of CPUs", what);
	for (cpu = 0; cpu < cpus->size; cpu++)
		if (numa_bitmask_isbitset(cpus, cpu))
			break;
	nid = numa_node_of_cpu(cpu);
	numa_bitmask_free(cpus);
	if (nid < 0)
		fatal(EX_USAGE, "--near %s: there is no such CPU", what);
	return nid;
}

static uint64_t free_bytes(const struct node *node)
{
	uint64_t blocks = node->free_blocks;

	if (geteuid())
		blocks -= node->reserved_blocks;
	return blocks * node->block_size;
}

/* The one with room that is nearest, or has most whole gibibytes. */
static const struct node *choose(const struct nodes *nodes, const struct arguments *args)
{
	int near = args->near ? node_near(args->near) : -1;
	const struct node *best = NULL;
	size_t i;

	for (i = 0; i < nodes->nr; i++) {
		const struct node *node = &nodes->node[i];

		if (strcmp(node->state, "active") || free_bytes(node) < args->bytes)
			continue;
		if (!best || (near >= 0 ? numa_distance(near, node->nid) <
					  numa_distance(near, best->nid) :
					  node->free_1g > best->free_1g))
			best = node;
	}
	if (!best)
		fatal(EX_FAILED, "no node has %s free; gmfs-numa status shows what there is",
		      args->size);
	return best;
}

/* Nearest node that has CPUs: itself, if it has some. */
static int node_with_cpus(int nid)
{
	struct bitmask *cpus = numa_allocate_cpumask();
	int best = -1, n;

	for (n = 0; n <= numa_max_node(); n++) {
		if (numa_node_to_cpus(n, cpus) || !numa_bitmask_weight(cpus))
			continue;
		if (best < 0 || numa_distance(nid, n) < numa_distance(nid, best))
			best = n;
	}
	numa_free_cpumask(cpus);
	return best;
}

/* What the command allocates beside the guest's memory comes from there, too. */
static void bind_to(const struct node *node)
{
	int cpus = node_with_cpus(node->nid);
	struct bitmask *mask;

	if (cpus != node->nid)
		warning("node %d has no CPUs: those of node %d are the nearest", node->nid, cpus);
	if (numa_run_on_node(cpus))
		fatal(EX_FAILED, "cannot run on the CPUs of node %d: %s", cpus, strerror(errno));
	if (!node->kernel_total) {
		warning("node %d has no memory but its pool: other memory comes from node %d",
			node->nid, cpus);
		numa_set_preferred(cpus);
		return;
	}
	mask = numa_allocate_nodemask();
	numa_bitmask_setbit(mask, node->nid);
	numa_set_bind_policy(1);
	numa_set_membind(mask);
	numa_free_nodemask(mask);
}

static char *make_file(const struct arguments *args, const struct node *node)
{
	char *name = args->name ? xstrdup(args->name) : xasprintf("run-%d", getpid());
	char *dir = xasprintf("%s/node%d", args->base, node->nid);
	char *path = xasprintf("%s/%s", dir, name), *largest, *owner;
	uint64_t size = args->bytes;
	int fd, err;

	if (path_node(dir) != node->nid)
		fatal(EX_FAILED, "node %d is not mounted at %s: gmfs-numa mount %d", node->nid, dir,
		      node->nid);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", path, strerror(errno));
	/* Now, and not when the guest wants it. */
	err = posix_fallocate(fd, 0, size);
	close(fd);
	if (err) {
		largest = format_size(node->largest_free_run * node->block_size);
		unlink(path);
		fatal(EX_FAILED, "%s: %s: %s (longest free run of node %d: %s)", path, args->size,
		      strerror(err), node->nid, largest);
	}
	owner = args->owner ? xstrdup(args->owner) : xasprintf("pid:%d", getpid());
	err = tags_write(path, owner, NULL);
	if (err)
		warning("%s: it has no tags: %s", path, strerror(-err));
	free(owner);
	free(dir);
	free(name);
	return path;
}

static char *replace(const char *arg, const char *mark, const char *by)
{
	const char *at = strstr(arg, mark);
	char *rest, *all;

	if (!at)
		return xstrdup(arg);
	rest = replace(at + strlen(mark), mark, by);
	all = xasprintf("%.*s%s%s", (int)(at - arg), arg, by, rest);
	free(rest);
	return all;
}

static bool has_argument(char **argv, const char *name)
{
	for (; *argv; argv++)
		if (!strcmp(*argv, name))
			return true;
	return false;
}

/* The command with the file in it, and what QEMU wants to be told. */
static char **make_command(const struct arguments *args, char **argv, const char *path)
{
	const bool giant = args->bytes % (1ULL << 30) == 0;
	char **command, *size = xasprintf("%ju", (uintmax_t)args->bytes);
	size_t nr = 0, i;
	char *one;

	while (argv[nr])
		nr++;
	command = xcalloc(nr + 7, sizeof(*command));
	for (i = 0; i < nr; i++) {
		one = replace(argv[i], "{}", path);
		command[i] = replace(one, "{size}", size);
		free(one);
	}
	if (args->qemu) {
		/* A comma in a value of QEMU is doubled. */
		one = replace(path, ",", ",,");
		command[i++] = xstrdup("-object");
		command[i++] = xasprintf("memory-backend-file,id=guestmemfs,mem-path=%s,size=%s,share=on,align=%s",
					 one, size, giant ? "1G" : "2M");
		command[i++] = xstrdup("-machine");
		command[i++] = xstrdup("memory-backend=guestmemfs");
		if (!has_argument(argv, "-m")) {
			command[i++] = xstrdup("-m");
			command[i++] = xasprintf("size=%juM", (uintmax_t)(args->bytes >> 20));
		}
		free(one);
	}
	free(size);
	return command;
}

static void forward(int sig)
{
	if (child > 0)
		kill(child, sig);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fatal(EX_FAILED, "cannot wait for the command: %s", strerror(errno));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(const struct arguments *args, const struct node *node, char **argv)
{
	static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
	struct sigaction action = { .sa_handler = forward };
	sigset_t block, before;
	char **command, *path;
	int status;
	size_t i;

	/* Nothing may come between the file and who removes it. */
	sigemptyset(&block);
	for (i = 0; i < ARRAY_SIZE(forwarded); i++) {
		sigaddset(&block, forwarded[i]);
		sigaction(forwarded[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &block, &before);

	path = make_file(args, node);
	command = make_command(args, argv, path);
	warning("node %d: %s, %s", node->nid, path, args->size);
	child = fork();
	if (!child) {
		for (i = 0; i < ARRAY_SIZE(forwarded); i++)
			signal(forwarded[i], SIG_DFL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		bind_to(node);
		execvp(command[0], command);
		status = errno == ENOENT ? 127 : 126;
		warning("%s: %s", command[0], strerror(errno));
		_exit(status);
	}
	if (child > 0)
		tags_write(path, NULL, basename(argv[0]));
	sigprocmask(SIG_SETMASK, &before, NULL);
	status = child < 0 ? EX_FAILED : wait_for(child);
	if (!args->keep && unlink(path))
		warning("%s: %s", path, strerror(errno));
	for (i = 0; command[i]; i++)
		free(command[i]);
	free(command);
	free(path);
	return status;
}

int cmd_run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "node", 'N', "NODE", 0, "number of the node, or auto (default)", 0 },
		{ "near", 'D', "WHAT", 0,
		  "auto: nearest to a device (PCI address, name) or to CPUs", 0 },
		{ "size", 's', "SIZE", 0, "size of the guest's memory", 0 },
		{ "name", 'n', "NAME", 0, "name of the file", 0 },
		{ "base", 'B', "DIR", 0, "nodes are mounted at DIR/nodeN (" MOUNT_BASE ")", 0 },
		{ "owner", 'O', "ID", 0, "owner of the file, such as the machine's UUID", 0 },
		{ "keep", 'k', NULL, 0, "leave the file when the command ends", 0 },
		{ "qemu", 'q', NULL, 0, "add the options by which QEMU takes the memory", 0 },
		{ }
	};
	static const struct argp argp = { options, parse, "-- COMMAND [ARGUMENT...]",
		"Run COMMAND bound to the CPUs and the memory of a node, with a file of that node:"
		" {} in its arguments is replaced by the path, {size} by the size in bytes. The file"
		" goes when the command ends. Exit status: the command's; 128 and the signal's number"
		" if that ended it.", NULL, NULL, NULL };
	struct arguments args = { .base = MOUNT_BASE, .node = "auto" };
	const struct node *node;
	struct nodes *nodes;
	int first, status;
	int *nids;

	parse_args(&argp, argc, argv, &first, &args);
	if (first == argc)
		fatal(EX_USAGE, "run needs a command, behind --");
	if (numa_available() < 0)
		fatal(EX_FAILED, "this kernel has no NUMA");
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
	if (!node->block_size || args.bytes % node->block_size)
		fatal(EX_USAGE, "--size %s: it has to be a multiple of 2M", args.size);
	status = run(&args, node, argv + first);
	nodes_free(nodes);
	return status;
}
