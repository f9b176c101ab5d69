// SPDX-License-Identifier: GPL-2.0
/*
 * Mounts with the system calls that give the kernel's own words, which mount(8)
 * of Debian 12 does not use yet.
 *
 * usage: fsmount TYPE DIR [ro] [KEY=VALUE]...
 *
 * Prints what the kernel says, and the name of the errno if it fails.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int fs;

static void say(void)
{
	int saved = errno;
	char buf[1024];
	ssize_t n;

	while ((n = read(fs, buf, sizeof(buf) - 1)) > 0) {
		buf[n] = '\0';
		printf("%s%s", buf, buf[n - 1] == '\n' ? "" : "\n");
	}
	errno = saved;
}

static int fail(const char *what)
{
	int saved = errno;

	say();
	printf("%s: %s\n", what, strerrorname_np(saved));
	return 1;
}

int main(int argc, char **argv)
{
	char *value;
	int i, mnt;

	if (argc < 3)
		errx(2, "usage: fsmount TYPE DIR [ro] [KEY=VALUE]...");
	fs = fsopen(argv[1], FSOPEN_CLOEXEC);
	if (fs < 0)
		err(2, "fsopen");
	for (i = 3; i < argc; i++) {
		value = strchr(argv[i], '=');
		if (value)
			*value++ = '\0';
		if (fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
			     argv[i], value, 0))
			return fail("option");
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return fail("create");
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mnt < 0)
		return fail("fsmount");
	if (move_mount(mnt, "", AT_FDCWD, argv[2], MOVE_MOUNT_F_EMPTY_PATH))
		return fail("move_mount");
	say();
	return 0;
}
