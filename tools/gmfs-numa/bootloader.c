// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's command line, where boot loaders have it.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmfs-numa.h"

#define GRUB_FILE	"/etc/default/grub.d/guestmemfs.cfg"
#define CMDLINE_FILE	"/etc/kernel/cmdline"

static void save(const char *path, const char *text)
{
	struct replacement r;

	replace_begin(&r, path);
	fputs(text, r.out);
	replace_end(&r);
}

/* A line without what the boot loader adds, and what we do, perhaps from before. */
static char *without_ours(const char *line)
{
	char *copy = xstrdup(line), *rest = copy, *word, *kept = NULL;

	while ((word = strsep(&rest, " \t\n")))
		if (*word && strncmp(word, "guestmemfs=", 11) && strncmp(word, "kho=", 4) &&
		    strncmp(word, "BOOT_IMAGE=", 11) && strncmp(word, "initrd=", 7))
			kept = join(kept, " ", word);
	free(copy);
	return kept ? kept : xstrdup("");
}

static void print_diff(const char *path, const char *text)
{
	char name[] = "/tmp/gmfs-numa.XXXXXX";
	int fd = mkstemp(name), status;
	pid_t pid;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fatal(EX_FAILED, "%s: %s", name, strerror(errno));
	close(fd);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		execlp("diff", "diff", "-uN", "--label", path, "--label", path, path, name, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || WEXITSTATUS(status) > 1) {
		warning("diff cannot be run; %s would be:", path);
		fputs(text, stderr);
	}
	unlink(name);
}

static bool exists(const char *name)
{
	char *path = xasprintf("%s%s", sysroot, name);
	bool there = !access(path, F_OK);

	free(path);
	return there;
}

static bool boots_by_grub(enum boot_loader loader, const char *parameter)
{
	if (loader != LOADER_ANY)
		return loader == LOADER_GRUB;
	if (exists("/etc/default/grub") || exists("/etc/default/grub.d"))
		return true;
	if (!exists(CMDLINE_FILE) && !exists("/boot/loader/loader.conf") &&
	    !exists("/efi/loader/loader.conf") && !exists("/boot/efi/loader/loader.conf"))
		fatal(EX_FAILED, "neither GRUB nor systemd-boot is found here: add to the kernel's command line: kho=on %s",
		      parameter);
	return false;
}

static char *grub_text(const char *parameter)
{
	char *grub = read_text("/etc/default/grub");

	if (grub && strstr(grub, "guestmemfs="))
		warning("/etc/default/grub has guestmemfs= as well: take it out there");
	free(grub);
	return xasprintf("# Written by gmfs-numa plan --apply.\n"
			 "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT kho=on %s\"\n",
			 parameter);
}

/* The line as kernel-install(8) finds it, with what is ours put anew. */
static char *cmdline_text(const char *parameter)
{
	static const char * const places[] = {
		CMDLINE_FILE, "/usr/lib/kernel/cmdline", "/proc/cmdline",
	};
	char *old = NULL, *line, *text;
	size_t i;

	for (i = 0; !old && i < ARRAY_SIZE(places); i++)
		old = read_text("%s", places[i]);
	line = without_ours(old ? old : "");
	text = xasprintf("%s%skho=on %s\n", line, *line ? " " : "", parameter);
	free(line);
	free(old);
	return text;
}

void boot_loader_apply(enum boot_loader loader, bool dry_run, const char *parameter)
{
	bool grub = boots_by_grub(loader, parameter);
	const char *name = grub ? GRUB_FILE : CMDLINE_FILE;
	char *path = xasprintf("%s%s", sysroot, name);
	char *text = grub ? grub_text(parameter) : cmdline_text(parameter);
	char *old = read_text("%s", name), *dir, *backup;
	bool same = old && !strncmp(old, text, strlen(old)) && !strcmp(text + strlen(old), "\n");

	if (same)
		printf("%s is right as it is\n", path);
	else
		print_diff(path, text);
	if (!same && !dry_run) {
		dir = xasprintf("%.*s", (int)(strrchr(path, '/') - path), path);
		if (mkdir(dir, 0755) && errno != EEXIST)
			fatal(EX_FAILED, "%s: %s", dir, strerror(errno));
		free(dir);
		if (old) {
			char *whole = xasprintf("%s\n", old);

			backup = xasprintf("%s.gmfs-numa-backup", path);
			/* GRUB reads *.cfg alone, so this is not in its way. */
			save(backup, whole);
			printf("%s is kept as %s\n", path, backup);
			free(backup);
			free(whole);
		}
		save(path, text);
		printf("written: %s; now run %s, and boot\n", path,
		       grub ? "update-grub" :
			      "kernel-install add $(uname -r) /boot/vmlinuz-$(uname -r)");
	}
	free(text);
	free(old);
	free(path);
}
