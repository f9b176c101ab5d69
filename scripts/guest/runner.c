// SPDX-License-Identifier: GPL-2.0
/*
 * Once the root of the test machine is mounted: runs the command of scripts/vm and
 * carries its output and exit status to the host.
 *
 * The command gets pipes, not the virtio ports: a port can be opened by one process
 * only, so "echo x > /dev/stderr" would fail. A write to a port is in the host's
 * file when it returns, because scripts/vm disables ioeventfd. So when the pipes
 * are empty, all output is on the host. On SIGUSR1, the runner empties them and
 * tells the kexec wrapper, which then executes the kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"

/* A kernel thread writes the log to the console: this line shows that it has caught up. */
static void end_log(void)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	dprintf(fd, "vm: the command has ended\n");
	close(fd);
}

/* Read a small file of the control directory, NUL-terminated; NULL if absent. */
static char *slurp(const char *name, size_t *len)
{
	char path[sizeof(ctldir) + 64];
	struct stat st;
	char *buf;
	ssize_t got;
	size_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", ctldir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st))
		die(path);
	buf = malloc(st.st_size + 1);
	if (!buf)
		die(path);
	while (n < (size_t)st.st_size) {
		got = read(fd, buf + n, st.st_size - n);
		if (got < 0)
			die(path);
		if (!got)
			break;
		n += got;
	}
	buf[n] = '\0';
	close(fd);
	if (len)
		*len = n;
	return buf;
}

/* Convert "a\0b\0" to a NULL-terminated vector. */
static char **split(char *buf, size_t len)
{
	size_t i, n = 0;
	char **v;

	for (i = 0; i < len; i++)
		n += !buf[i];
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		die("calloc");
	for (i = 0, n = 0; i < len; i += strlen(buf + i) + 1)
		v[n++] = buf + i;
	return v;
}

int open_port(const char *want)
{
	char path[128], name[64];
	int i, fd;
	FILE *f;

	for (i = 0; i < 64; i++) {
		int dev;

		for (dev = 0; dev < 4; dev++) {
			snprintf(path, sizeof(path),
				 "/sys/class/virtio-ports/vport%dp%d/name", dev, i);
			f = fopen(path, "re");
			if (!f)
				continue;
			if (!fgets(name, sizeof(name), f))
				name[0] = '\0';
			fclose(f);
			name[strcspn(name, "\n")] = '\0';
			if (strcmp(name, want))
				continue;
			snprintf(path, sizeof(path), "/dev/vport%dp%d", dev, i);
			fd = open(path, O_WRONLY | O_CLOEXEC);
			if (fd < 0)
				die(path);
			return fd;
		}
	}
	return -1;
}

struct relay {
	int pipe;
	int port;
};

/* Copy the contents of the pipe to the port. Returns false if the pipe has no writer. */
static bool drain(struct relay *r)
{
	static char buf[32768];
	ssize_t n, m, off;

	for (;;) {
		n = read(r->pipe, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		for (off = 0; off < n; off += m) {
			m = write(r->port, buf + off, n - off);
			if (m < 0) {
				if (errno != EINTR && errno != EAGAIN)
					return false;
				m = 0;
			}
		}
	}
}

/*
 * Two scans: the first may report memory that was allocated just before, if its only
 * pointer is being moved.
 */
static void scan_for_leaks(void)
{
	int i, fd = open(KMEMLEAK, O_RDWR | O_CLOEXEC);
	char line[512];
	FILE *f;

	if (fd < 0)
		die(KMEMLEAK " (for --kmemleak; is this a DEBUG=1 kernel?)");
	for (i = 0; i < 2; i++) {
		/* kmemleak reports only memory that is older than 5 seconds. */
		sleep(6);
		if (write(fd, "scan", 4) != 4)
			die("kmemleak scan");
	}
	f = fdopen(fd, "r");
	while (f && fgets(line, sizeof(line), f))
		tell("kmemleak %s%s", line, strchr(line, '\n') ? "" : "\n");
}

/* For a kernel with CONFIG_GCOV_KERNEL. */
static void save_coverage(void)
{
	pid_t pid;

	if (access("/sys/kernel/debug/gcov/reset", F_OK))
		return;
	pid = fork();
	if (!pid) {
		execl(VM_DIR "bin/coverage", "coverage", NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static pid_t start(char **argv, const char *cwd, int out, int err, int tty)
{
	pid_t pid = fork();
	sigset_t none;

	if (pid)
		return pid;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (tty >= 0) {
		ioctl(tty, TIOCSCTTY, 0);
		dup2(tty, 0);
		dup2(tty, 1);
		dup2(tty, 2);
	} else {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, 0);
		close(null);
		dup2(out, 1);
		dup2(err, 2);
	}
	if (chdir(cwd)) {
		dprintf(2, "vm: the working directory %s: %s\n", cwd, strerror(errno));
		_exit(125);
	}
	execvp(argv[0], argv);
	dprintf(2, "vm: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int open_tty(void)
{
	struct winsize ws = { 0 };
	const char *size = getenv("VM_WINSIZE");
	int fd = open("/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		die("/dev/hvc0");
	if (size && sscanf(size, "%hux%hu", &ws.ws_row, &ws.ws_col) == 2)
		ioctl(fd, TIOCSWINSZ, &ws);
	unsetenv("VM_WINSIZE");
	return fd;
}

void run_command(void)
{
	struct sched_param prio = { .sched_priority = 1 };
	struct relay relay[2] = { { -1, -1 }, { -1, -1 } };
	int outp[2] = { -1, -1 }, errp[2] = { -1, -1 };
	int tty = -1, sigfd, status = 0;
	char **argv, **env, *buf, *cwd;
	bool merge, done = false;
	sigset_t set;
	size_t len;
	pid_t pid;

	buf = slurp("env", &len);
	if (!buf)
		die("env");
	for (env = split(buf, len); *env; env++)
		putenv(*env);
	buf = slurp("argv", &len);
	if (!buf)
		die("argv");
	argv = split(buf, len);
	cwd = slurp("cwd", NULL);
	if (!cwd)
		die("cwd");
	merge = slurp("merge", NULL);

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigfd < 0)
		die("signalfd");

	if (slurp("interactive", NULL)) {
		tty = open_tty();
	} else {
		if (pipe2(outp, O_CLOEXEC | O_NONBLOCK))
			die("pipe");
		fcntl(outp[1], F_SETFL, 0);
		relay[0] = (struct relay){ outp[0], open_port("stdout") };
		if (relay[0].port < 0)
			die("the port 'stdout'");
		if (!merge) {
			if (pipe2(errp, O_CLOEXEC | O_NONBLOCK))
				die("pipe");
			fcntl(errp[1], F_SETFL, 0);
			relay[1] = (struct relay){ errp[0], open_port("stderr") };
			if (relay[1].port < 0)
				die("the port 'stderr'");
		}
	}

	pid = start(argv, cwd, outp[1], merge ? outp[1] : errp[1], tty);
	if (pid < 0)
		die("fork");
	close(outp[1]);
	close(errp[1]);

	/* Run before the command, so that little output is lost if the kernel dies. */
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &prio);

	while (!done) {
		struct pollfd fds[3] = {
			{ .fd = relay[0].pipe, .events = POLLIN },
			{ .fd = relay[1].pipe, .events = POLLIN },
			{ .fd = sigfd, .events = POLLIN },
		};
		struct signalfd_siginfo si;
		bool flush = false;
		int i, st;
		pid_t p;

		poll(fds, 3, -1);
		while (read(sigfd, &si, sizeof(si)) == sizeof(si))
			flush |= si.ssi_signo == SIGUSR1;
		while ((p = waitpid(-1, &st, WNOHANG)) > 0) {
			if (p == pid) {
				done = true;
				status = WIFSIGNALED(st) ? 128 + WTERMSIG(st) :
							   WEXITSTATUS(st);
			}
		}
		/* After waitpid(): the last output of the command is in the pipes now. */
		for (i = 0; i < 2; i++) {
			if (relay[i].pipe >= 0 && !drain(&relay[i])) {
				close(relay[i].pipe);
				relay[i].pipe = -1;
			}
		}
		if (flush)
			close(open(VM_DIR "flushed", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
		/* The kexec wrapper runs in the background: the run continues. */
		while (done && !access(VM_DIR "kexec-under-way", F_OK)) {
			usleep(20000);
			if (read(sigfd, &si, sizeof(si)) == sizeof(si) &&
			    si.ssi_signo == SIGUSR1)
				close(open(VM_DIR "flushed",
					   O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
		}
	}
	if (slurp("kmemleak", NULL))
		scan_for_leaks();
	save_coverage();
	end_log();
	tell("exit %d\n", status);
	finish();
}
