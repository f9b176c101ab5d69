// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover: is the machine ready to kexec, and the kexec itself.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
	bool dry_run;
};

static const struct column columns[] = {
	{ "CHECK", "what was looked at", COL_TEXT, true },
	{ "RESULT", "ok, warn, fail or unknown", COL_TEXT, true },
	{ "DETAIL", "why", COL_TEXT, true },
};

static struct table *table;
static bool ready;

static void result(const char *check, enum result r, const char *detail)
{
	table_row(table);
	table_text(table, 0, check);
	table_text(table, 1, results[r]);
	table_text(table, 2, detail);
	if (r == FAIL)
		ready = false;
}

static bool has_word(const char *line, const char *word)
{
	size_t len = strlen(word);
	const char *at = line;

	while ((at = strstr(at, word))) {
		if ((at == line || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
		at += len;
	}
	return false;
}

static void check_kho(const char *cmdline)
{
	char *fdt = xasprintf("%s/sys/kernel/debug/kho/out", sysroot);

	if (!access(fdt, F_OK))
		result("kho", OK, "the kernel hands over what is preserved");
	else if (has_word(cmdline, "kho=off") || has_word(cmdline, "kho=0"))
		result("kho", FAIL, "it is switched off on the command line: boot with kho=on");
	else if (has_word(cmdline, "kho=on") || has_word(cmdline, "kho=1"))
		result("kho", OK, "it is switched on on the command line");
	else
		result("kho", UNKNOWN, "debugfs is not there to tell: mount it, or boot with kho=on");
	free(fdt);
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

static void check_kernel(const char *path)
{
	char *loaded = read_text("/sys/kernel/kexec_loaded");
	char *release, *config, *detail;

	if (!path) {
		if (loaded && !strcmp(loaded, "1"))
			result("kernel", OK, "a kernel is loaded; which, the running one does not say");
		else
			result("kernel", FAIL, "none is loaded: kexec -s -l KERNEL, or handover --exec KERNEL");
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
	config = read_text("/boot/config-%s", release);
	if (!config)
		result("format", UNKNOWN, "there is no /boot/config of it to tell whether it has guestmemfs");
	else if (strstr(config, "CONFIG_GUESTMEMFS_FS=y"))
		result("format", OK, "it has guestmemfs; of another format it keeps the memory, unused");
	else
		result("format", FAIL, "it has no guestmemfs: all files would be lost");
	free(config);
	free(release);
}

static void check_node(const struct node *node)
{
	char *name = xasprintf("node%d", node->nid), *detail, *used;

	used = format_size((node->total_blocks - node->free_blocks) * node->block_size);
	if (!strcmp(node->state, "failed")) {
		detail = xasprintf("it is handed on as it is, unused: %s", node->error);
		result(name, WARN, detail);
	} else if (node->poisoned_blocks) {
		detail = xasprintf("%s in use, %ju blocks with hardware errors stay out of use", used,
				   (uintmax_t)node->poisoned_blocks);
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
	check_kernel(args->exec ? args->exec : args->kernel);
	for (i = 0; i < nodes->nr; i++) {
		check_node(&nodes->node[i]);
		check_metadata(&nodes->node[i]);
	}
	table_print(table);
	fflush(stdout);
	nodes_free(nodes);
	free(cmdline);
}

static void step(const struct arguments *args, char *const command[])
{
	char *line = NULL;
	int i, status;
	pid_t pid;

	for (i = 0; command[i]; i++)
		line = join(line, " ", command[i]);
	printf("%s%s\n", args->dry_run ? "would run: " : "", line);
	fflush(stdout);
	if (!args->dry_run) {
		pid = fork();
		if (!pid) {
			execvp(command[0], command);
			_exit(127);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
			fatal(EX_FAILED, "'%s' failed: nothing was executed", line);
	}
	free(line);
}

/* The kernel freezes the nodes by itself when it goes. */
static void do_exec(const struct arguments *args)
{
	char *load[6] = { "kexec", "-s", "-l", (char *)args->exec };
	char *sync_command[] = { "sync", NULL };
	char *systemd[] = { "systemctl", "kexec", NULL };
	char *plain[] = { "kexec", "-e", NULL };
	char **full = xcalloc(8, sizeof(*full));
	size_t nr;

	for (nr = 0; load[nr]; nr++)
		full[nr] = load[nr];
	if (args->initrd)
		full[nr++] = xasprintf("--initrd=%s", args->initrd);
	full[nr++] = args->append ? xasprintf("--command-line=%s", args->append) :
				    xstrdup("--reuse-cmdline");
	step(args, full);
	step(args, sync_command);
	step(args, access("/run/systemd/system", F_OK) ? plain : systemd);
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
	case 'd':
		args->dry_run = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is too much", arg);
		return 0;
	case ARGP_KEY_END:
		if (!args->exec && (args->initrd || args->append || args->dry_run))
			argp_error(state, "--initrd, --command-line and --dry-run are for --exec");
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
		{ "command-line", 'a', "TEXT", 0, "--exec: its command line, instead of this kernel's", 0 },
		{ "dry-run", 'd', NULL, 0, "--exec: only show what would be run", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, NULL,
		"Say whether the machine is ready to kexec with the memory of its guests. Files that"
		" are open and have no name any more are lost in any case. Exit status 1 if it is not"
		" ready.", children, columns_help, NULL };
	struct arguments args = { };
	int first;

	columns_of_help(columns, 3);
	parse_args(&argp, argc, argv, &first, &args);
	check_all(&args);
	if (!ready)
		return EX_DIFFERS;
	if (args.exec)
		do_exec(&args);
	return EX_OK;
}
