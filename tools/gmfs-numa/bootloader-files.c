// SPDX-License-Identifier: GPL-2.0
/*
 * Files of boot loaders, below --sysroot: they are read, listed, and replaced.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bootloader.h"

#define EFI_LOADER	"4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
#define BACKUP		".gmfs-numa-backup"

/* --- reading --- */

char *boot_read(const char *name)
{
	size_t size;
	char *data = read_binary(&size, "%s", name), *text;

	if (!data && errno != ENOENT && errno != ENOTDIR)
		fatal(EX_FAILED, "%s%s: %s: its contents are not known, so no file is changed",
		      sysroot, name, read_error());
	if (!data)
		return NULL;
	text = xasprintf("%.*s", (int)size, data);
	if (strlen(text) != size)
		fatal(EX_FAILED, "%s%s: this is no text", sysroot, name);
	free(data);
	return text;
}

bool boot_exists(const char *name)
{
	int fd = root_open(name, O_PATH);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool boot_ends_with(const char *name, const char *suffix)
{
	size_t len = strlen(name), of_suffix = strlen(suffix);

	return len > of_suffix && !strcmp(name + len - of_suffix, suffix);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char * const *)a, *(char * const *)b);
}

char **boot_list(const char *dir, const char *suffix)
{
	char **names = xcalloc(1, sizeof(*names));
	int fd = root_open(dir, O_RDONLY | O_DIRECTORY);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t nr = 0;

	if (!stream && errno != ENOENT && errno != ENOTDIR)
		fatal(EX_FAILED, "%s%s: %s", sysroot, dir, strerror(errno));
	while (stream && (entry = readdir(stream))) {
		if (*entry->d_name == '.' || !boot_ends_with(entry->d_name, suffix))
			continue;
		names = xrealloc(names, (nr + 2) * sizeof(*names));
		names[nr++] = xasprintf("%s/%s", dir, entry->d_name);
		names[nr] = NULL;
	}
	if (stream)
		closedir(stream);
	qsort(names, nr, sizeof(*names), compare_names);
	return names;
}

bool boot_any_file_has(const char *dir, const char *suffix, const char *text)
{
	char **names = boot_list(dir, suffix);
	bool found = false;
	size_t i;

	for (i = 0; names[i] && !found; i++) {
		char *contents = boot_read(names[i]);

		found = contents && strstr(contents, text);
		free(contents);
	}
	free_strings(names);
	return found;
}

bool boot_any_file(const char *dir, const char *suffix)
{
	return boot_any_file_has(dir, suffix, "");
}

/* It is UTF-16 behind four bytes. */
char *boot_efi_text(const char *name)
{
	size_t size, i, nr = 0;
	unsigned char *data = read_binary(&size, "/sys/firmware/efi/efivars/%s-" EFI_LOADER, name);
	char *text;

	if (!data)
		return NULL;
	text = xcalloc(1, size + 1);
	for (i = 4; i + 1 < size && (data[i] || data[i + 1]); i += 2)
		text[nr++] = data[i + 1] || data[i] < ' ' || data[i] > '~' ? '?' : data[i];
	free(data);
	return text;
}

static const char *base_of(const char *name)
{
	return strrchr(name, '/') + 1;
}

static int compare_bases(const void *a, const void *b)
{
	return strcmp(base_of(*(char * const *)a), base_of(*(char * const *)b));
}

/* Adds a name unless there is one of the same base. */
static char **add_name(char **names, size_t *nr, const char *name)
{
	size_t i;

	for (i = 0; i < *nr; i++)
		if (!strcmp(base_of(names[i]), base_of(name)))
			return names;
	names = xrealloc(names, (*nr + 2) * sizeof(*names));
	names[(*nr)++] = xstrdup(name);
	names[*nr] = NULL;
	return names;
}

char **boot_files(const struct boot *boot)
{
	const char * const dirs[] = { boot->dir, boot->vendor_dir };
	char **names = xcalloc(1, sizeof(*names)), **list, **all;
	size_t nr = 0, i, n;

	/* Also if it is not there yet, ours counts where it will be. */
	names = add_name(names, &nr, boot->file);
	for (i = 0; i < ARRAY_SIZE(dirs) && dirs[i]; i++) {
		list = boot_list(dirs[i], boot->suffix);
		for (n = 0; list[n]; n++)
			names = add_name(names, &nr, list[n]);
		free_strings(list);
	}
	qsort(names, nr, sizeof(*names), compare_bases);
	if (!boot->main || !strcmp(boot->main, boot->file))
		return names;
	all = xcalloc(nr + 2, sizeof(*all));
	all[0] = xstrdup(boot->main);
	memcpy(all + 1, names, nr * sizeof(*all));
	free(names);
	return all;
}

struct shellvars *boot_source(const struct boot *boot, const char *ours, size_t nr)
{
	struct shellvars *vars = shellvars_new(boot->interest);
	char **names = boot_files(boot);
	size_t i;

	for (i = 0; names[i] && i < nr; i++) {
		bool is_ours = !strcmp(names[i], boot->file);
		char *text = is_ours ? NULL : boot_read(names[i]);

		shellvars_source(vars, names[i], is_ours && ours ? ours : text ? text : "");
		free(text);
	}
	free_strings(names);
	return vars;
}

/* --- writing --- */

/* A name in a directory that was looked up below --sysroot. */
struct spot {
	int dir;
	char *name;
	char *shown;		/* its path, for messages */
};

static void spot_free(struct spot *spot)
{
	close(spot->dir);
	free(spot->name);
	free(spot->shown);
}

/* The last name of a path is not followed. */
static void spot_find(struct spot *spot, const char *path)
{
	char *dir;

	path_split(path, &dir, &spot->name);
	spot->shown = xasprintf("%s%s", sysroot, path);
	spot->dir = root_open(dir, O_PATH | O_DIRECTORY);
	if (spot->dir < 0)
		fatal(EX_FAILED, "%s%s: %s", sysroot, dir, strerror(errno));
	free(dir);
}

/* As many symbolic links as the kernel follows. */
#define MAX_LINKS	40

/* What a path leads to, so that a symbolic link stays one. */
static void spot_follow(struct spot *spot, const char *path)
{
	char *at = xstrdup(path), *dir, *name, link[PATH_MAX];
	unsigned int links;
	ssize_t len;

	for (links = 0; links <= MAX_LINKS; links++) {
		spot_find(spot, at);
		len = readlinkat(spot->dir, spot->name, link, sizeof(link) - 1);
		if (len < 0)
			break;
		link[len] = '\0';
		spot_free(spot);
		path_split(at, &dir, &name);
		free(at);
		at = *link == '/' ? xstrdup(link) : xasprintf("%s/%s", dir, link);
		free(dir);
		free(name);
	}
	if (links > MAX_LINKS)
		fatal(EX_FAILED, "%s%s: %s", sysroot, path, strerror(ELOOP));
	free(at);
}

/* Is there a file? Anything else is neither replaced nor kept. */
static bool spot_stat(const struct spot *spot, struct stat *st)
{
	if (fstatat(spot->dir, spot->name, st, AT_SYMLINK_NOFOLLOW)) {
		if (errno != ENOENT)
			fatal(EX_FAILED, "%s: %s", spot->shown, strerror(errno));
		return false;
	}
	if (!S_ISREG(st->st_mode))
		fatal(EX_FAILED, "%s is no regular file: no file is changed", spot->shown);
	return true;
}

static void write_file(const struct spot *spot, const char *text, const struct stat *like)
{
	char *path = xasprintf("/proc/self/fd/%d/%s", spot->dir, spot->name);
	struct replacement r;

	replace_begin(&r, path, spot->shown);
	r.like = like;
	fputs(text, r.out);
	replace_end(&r);
	free(path);
}

static void make_directory_of(const char *path)
{
	struct spot spot;
	char *dir, *name;

	path_split(path, &dir, &name);
	spot_find(&spot, dir);
	if (mkdirat(spot.dir, spot.name, 0755) && errno != EEXIST)
		fatal(EX_FAILED, "%s: %s", spot.shown, strerror(errno));
	spot_free(&spot);
	free(dir);
	free(name);
}

/* The first backup is the administrator's file, and the only one of worth. */
static void keep_backup(const struct boot *boot, const char *old, const struct stat *like)
{
	char *path = xasprintf("%s" BACKUP, boot->file);
	struct spot spot;
	struct stat st;

	spot_find(&spot, path);
	if (spot_stat(&spot, &st)) {
		printf("%s stays as it is, from an earlier change\n", spot.shown);
	} else {
		write_file(&spot, old, like);
		printf("%s%s is kept as %s\n", sysroot, boot->file, spot.shown);
	}
	spot_free(&spot);
	free(path);
}

void boot_change_file(const struct boot *boot, const char *old, const char *text, bool backup)
{
	struct spot target;
	struct stat st;
	bool there;

	make_directory_of(boot->file);
	spot_follow(&target, boot->file);
	there = spot_stat(&target, &st);
	if (there != !!old)
		fatal(EX_FAILED, "%s has changed since it was read: no file is changed",
		      target.shown);
	if (old && backup)
		keep_backup(boot, old, &st);
	write_file(&target, text, there ? &st : NULL);
	printf("written: %s%s; now run %s, and boot\n", sysroot, boot->file,
	       boot->then ? boot->then : "what makes it count");
	spot_free(&target);
}
