// SPDX-License-Identifier: GPL-2.0
/*
 * First program of the test machine (see scripts/vm). Mounts a root of the host's file
 * system, read-only over 9p, and of tmpfs where programs expect to write, and runs the
 * command there.
 *
 * Reports errors to scripts/vm through the control port, so that it ends at once with
 * the reason and not with a timeout.
 *
 * It is static and starts no program: each takes tens of milliseconds on an emulated
 * processor, and each boot of each test waits for them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

#define NEW		"/new"
#define P9_OPTIONS	"trans=virtio,version=9p2000.L,access=any,msize=512000"

char ctldir[4096];
int ctl_fd = -1;

void finish(void)
{
	sync();
	/* scripts/vm ends QEMU as soon as it has read the line on the port. */
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

void tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vdprintf(ctl_fd, fmt, ap);
	va_end(ap);
}

void die(const char *what)
{
	int error = errno, log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	tell("init-failed %s: %s\n", what, strerror(error));
	/*
	 * Not to the console, which is the kernel's: rarely, such a write waits for an
	 * interrupt of the emulated serial line that does not come.
	 */
	dprintf(log, "vm init: %s: %s\n", what, strerror(error));
	finish();
}

static void must_mount(const char *what, const char *where, const char *type,
		       unsigned long flags, const char *options)
{
	char *text;

	if (!mount(what, where, type, flags, options))
		return;
	die(asprintf(&text, "mounting %s on %s", what ?: "again", where) < 0 ? where : text);
}

static void make_dir(const char *path)
{
	if (mkdir(path, 0755) && errno != EEXIST)
		die(path);
}

/* Value of the last NAME=VALUE of the command line, in a static buffer; "" without. */
static const char *param(const char *name)
{
	static char value[sizeof(ctldir)];
	char line[8192], *word, *rest = line;
	size_t len = strlen(name);
	ssize_t n;
	int fd;

	value[0] = '\0';
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	n = read(fd, line, sizeof(line) - 1);
	if (n < 0)
		die("/proc/cmdline");
	close(fd);
	line[n] = '\0';
	while ((word = strsep(&rest, "\n "))) {
		if (strncmp(word, name, len) || (word[len] && word[len] != '='))
			continue;
		snprintf(value, sizeof(value), "%s", word[len] ? word + len + 1 : "1");
	}
	return value;
}

/* The host sends the names of its ports some time after the device has appeared. */
static void open_control_port(void)
{
	int tries;

	for (tries = 1000; tries; tries--) {
		ctl_fd = open_port("ctl");
		if (ctl_fd >= 0)
			return;
		usleep(10000);
	}
	errno = ENODEV;
	die("the control port");
}

/* Writable directories, and the host's root without them in /run/vm/host. */
static void mount_root(void)
{
	static const char * const writable[] = { "tmp", "run", "mnt", NULL };
	char path[64];
	unsigned int i;

	/* Cached: programs are paged in from here, and the contents do not change. */
	must_mount("hostroot", NEW, "9p", MS_RDONLY, "cache=loose," P9_OPTIONS);
	for (i = 0; writable[i]; i++) {
		snprintf(path, sizeof(path), NEW "/%s", writable[i]);
		if (access(path, F_OK))
			die("a directory of the host to mount a tmpfs on");
		must_mount("tmpfs", path, "tmpfs", 0, "mode=755");
	}
	chmod(NEW "/tmp", 01777);
	make_dir(NEW "/run/lock");
	make_dir(NEW VM_DIR);
	make_dir(NEW VM_DIR "bin");
	make_dir(NEW VM_DIR "scratch");
	make_dir(NEW VM_DIR "host");
	must_mount(NEW, NEW VM_DIR "host", NULL, MS_BIND, NULL);
	must_mount(NULL, NEW VM_DIR "host", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
	/* Not cached: both sides read and write, and a kexec must lose nothing. */
	must_mount("scratch", NEW VM_DIR "scratch", "9p", 0, "cache=mmap," P9_OPTIONS);
}

static void mount_kernel(void)
{
	must_mount("/dev", NEW "/dev", NULL, MS_MOVE, NULL);
	make_dir(NEW "/dev/pts");
	make_dir(NEW "/dev/shm");
	make_dir(NEW "/dev/mqueue");
	make_dir(NEW "/dev/hugepages");
	must_mount("devpts", NEW "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666");
	must_mount("tmpfs", NEW "/dev/shm", "tmpfs", 0, "mode=1777");
	mount("mqueue", NEW "/dev/mqueue", "mqueue", 0, NULL);
	if (symlink("/proc/self/fd", NEW "/dev/fd") || symlink("fd/0", NEW "/dev/stdin") ||
	    symlink("fd/1", NEW "/dev/stdout") || symlink("fd/2", NEW "/dev/stderr"))
		die("links in /dev");
	must_mount("/sys", NEW "/sys", NULL, MS_MOVE, NULL);
	/* Not each kernel has these. */
	mount("debugfs", NEW "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("tracefs", NEW "/sys/kernel/tracing", "tracefs", 0, NULL);
	mount("cgroup2", NEW "/sys/fs/cgroup", "cgroup2", 0, NULL);
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

/* Programs that come first in PATH. */
static void copy_program(const char *name)
{
	char from[64], to[64];
	struct stat st;
	int in, out;

	snprintf(from, sizeof(from), "/vm/%s", name);
	snprintf(to, sizeof(to), NEW VM_DIR "bin/%s", name);
	in = open(from, O_RDONLY | O_CLOEXEC);
	out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	if (in < 0 || out < 0 || fstat(in, &st) ||
	    sendfile(out, in, NULL, st.st_size) != st.st_size)
		die(to);
	close(in);
	close(out);
	unlink(from);
}

static void find_control_directory(void)
{
	char path[sizeof(ctldir) + 16];
	FILE *f;

	snprintf(ctldir, sizeof(ctldir), VM_DIR "host%s", param("vm.ctl"));
	snprintf(path, sizeof(path), NEW "%s/argv", ctldir);
	if (access(path, F_OK)) {
		snprintf(path, sizeof(path), "the command, %s/argv on the host", param("vm.ctl"));
		die(path);
	}
	f = fopen(NEW VM_DIR "ctldir", "we");
	if (!f || fprintf(f, "%s\n", ctldir) < 0 || fclose(f))
		die(VM_DIR "ctldir");
}

/*
 * If the machine's own /tmp, /run or /mnt hides a directory of the host, and the command
 * or the project is in it, mount that directory again.
 */
static void mount_hidden(void)
{
	char path[sizeof(ctldir) + 16], from[sizeof(path) + 16], to[sizeof(path) + 16], *slash;
	FILE *f;

	snprintf(path, sizeof(path), NEW "%s/dirs", ctldir);
	f = fopen(path, "re");
	if (!f)
		die(path);
	while (fgets(path, sizeof(path), f)) {
		path[strcspn(path, "\n")] = '\0';
		if (strncmp(path, "/tmp/", 5) && strncmp(path, "/run/", 5) &&
		    strncmp(path, "/mnt/", 5))
			continue;
		snprintf(from, sizeof(from), NEW VM_DIR "host%s", path);
		snprintf(to, sizeof(to), NEW "%s", path);
		for (slash = to + strlen(NEW) + 1; (slash = strchr(slash + 1, '/')); *slash = '/') {
			*slash = '\0';
			make_dir(to);
		}
		make_dir(to);
		must_mount(from, to, NULL, MS_BIND, NULL);
	}
	fclose(f);
}

/* As switch_root(8) does it. */
static void switch_root(void)
{
	unlink("/init");
	if (chdir(NEW) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("switching to the new root");
}

int main(void)
{
	int fd;

	must_mount("proc", "/proc", "proc", 0, NULL);
	must_mount("sysfs", "/sys", "sysfs", 0, NULL);
	must_mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);

	if (*param("vm.probe")) {
		/* Only a probe if this accelerator runs this kernel. */
		fd = open("/dev/ttyS0", O_WRONLY | O_CLOEXEC);
		dprintf(fd, "vm-probe-ok\n");
		finish();
	}

	/* The kernel found no console in the archive. */
	while ((fd = open("/dev/null", O_RDWR)) <= 2)
		if (fd < 0)
			die("/dev/null");
	close(fd);

	open_control_port();
	tell("boot %s\n", param("vm.boot"));
	mount_root();
	mount_kernel();
	if (sethostname("vm", 2))
		die("sethostname");
	loopback_up();
	copy_program("vm-kexec");
	copy_program("kexec");
	copy_program("coverage");
	find_control_directory();
	mount_hidden();
	must_mount("/proc", NEW "/proc", NULL, MS_MOVE, NULL);
	switch_root();

	setenv("VM_BOOT", param("vm.boot"), 1);
	setenv("VM_SCRATCH", VM_DIR "scratch", 1);
	run_command();
}
