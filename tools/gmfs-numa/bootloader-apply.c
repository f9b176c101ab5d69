// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's command line of the next boot: what a file is to be, and what line the
 * kernel would get then.
 */

#include <ctype.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bootloader.h"

/* What boot loaders add by themselves: BOOT_IMAGE=, root=, ro, or initrd=. */
#define LOADER_ADDS	128

/* --- what a file is to be, and what line comes of it --- */

/* Whether there is nothing in a file but what is ours. */
static bool is_ours(const struct boot *boot, const char *text)
{
	char *rest = boot->form == FORM_SHELL ? boot_edit_shell(text, boot->variable, "") :
						boot_edit(text, "", boot->one_line, false);
	bool ours = !rest[strspn(rest, " \t\r\n")];

	free(rest);
	return ours;
}

/* What is in the file, or would be if it were made now; *there: it is. */
static char *old_text(const struct boot *boot, bool *there, bool *loaders)
{
	char *old = boot_read(boot->file);
	size_t i;

	*there = old;
	*loaders = false;
	for (i = 0; !old && i < ARRAY_SIZE(boot->first_copy) && boot->first_copy[i]; i++) {
		old = boot_read(boot->first_copy[i]);
		*loaders = old && !strncmp(boot->first_copy[i], "/proc/", 6);
	}
	return old ? old : xstrdup("");
}

static char *new_text(const struct boot *boot, const char *words)
{
	bool there, loaders;
	char *old = old_text(boot, &there, &loaders), *text;

	text = boot->form == FORM_SHELL ? boot_edit_shell(old, boot->variable, words) :
					  boot_edit(old, words, boot->one_line, loaders);
	free(old);
	return text;
}

/* The words of all files of the directory, with @ours in place of ours. */
static char *lines_of_files(const struct boot *boot, const char *ours, bool comments)
{
	char **names = boot_list(boot->dir, boot->suffix);
	char *all = xstrdup(""), *text, *line;
	bool done = false;
	size_t i;

	for (i = 0; names[i] || !done; i++) {
		if (!names[i] || (!done && strcmp(names[i], boot->file) > 0)) {
			line = boot_as_line(ours, false, comments);
			done = true;
			all = join(all, " ", line);
			free(line);
			if (!names[i])
				break;
		}
		if (!strcmp(names[i], boot->file))
			continue;
		text = boot_read(names[i]);
		line = boot_as_line(text ? text : "", false, comments);
		all = join(all, " ", line);
		free(line);
		free(text);
	}
	free_strings(names);
	return all;
}

/*
 * The line that comes of the files if ours has this text, or NULL. Some programs leave
 * comments out, others do not.
 */
static char *line_of(const struct boot *boot, const char *text, bool comments, char **why)
{
	struct shellvars *vars;
	const char *value, *before;
	char *line = NULL;

	if (boot->form == FORM_LINE)
		return boot_as_line(text, boot->one_line, comments);
	if (boot->form == FORM_LINES)
		return lines_of_files(boot, text, comments);
	vars = boot_source(boot, text, SIZE_MAX);
	value = shellvars_get(vars, boot->variable);
	before = boot->before ? shellvars_get(vars, boot->before) : "";
	if (value && before && !shellvars_unknown(vars))
		line = xasprintf("%s%s%s", before, *before ? " " : "", value);
	else if (why)
		*why = xstrdup(shellvars_unknown(vars) ? shellvars_unknown(vars) : boot->variable);
	shellvars_free(vars);
	return line;
}

char *boot_line(const struct boot *boot)
{
	char *text, *line;

	if (boot->form == FORM_UNKNOWN)
		return NULL;
	text = new_text(boot, "");
	line = line_of(boot, text, false, NULL);
	free(text);
	return line;
}

/* --- changing it --- */

/* A file without a name that has the text and is read from its start; -1 if there is none. */
static int text_fd(const char *text)
{
	size_t len = strlen(text);
	int fd = memfd_create("gmfs-numa", MFD_CLOEXEC);

	if (fd >= 0 && (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Of what was read, not of the path: diff would follow links out of --sysroot. */
static void print_diff(const char *path, const char *old, const char *text)
{
	int from = text_fd(old), to = text_fd(text), status;
	char *from_path = xasprintf("/proc/self/fd/%d", from);
	pid_t pid = -1;

	fflush(stdout);
	if (from >= 0 && to >= 0)
		pid = fork();
	if (!pid) {
		if (!fcntl(from, F_SETFD, 0) && dup2(to, STDIN_FILENO) >= 0)
			execlp("diff", "diff", "-u", "--label", path, "--label", path, from_path,
			       "-", NULL);
		_exit(127);
	}
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	free(from_path);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) ||
	    WEXITSTATUS(status) > 1) {
		warning("diff cannot be run; %s would be:", path);
		fputs(text, stderr);
	}
}

/* Why the kernel would not make these pools of the line, or NULL if it would. */
static char *line_fault(const char *line, const char *parameter)
{
	char *pools = kcmdline_pools(line), *fault = NULL;
	size_t len = strlen(line) + LOADER_ADDS;

	if (len >= KCMDLINE_SIZE)
		fault = xasprintf("it has %zu bytes, with %d for what the boot loader adds, and the kernel reads %d: it would drop the end",
				  len, LOADER_ADDS, KCMDLINE_SIZE - 1);
	else if (strchr(line, '\n'))
		fault = xstrdup("it has a line break, at which the boot loader ends the command line: take it out");
	else if (!pools)
		fault = xstrdup("guestmemfs= is not in it");
	else if (strcmp(pools, strchr(parameter, '=') + 1))
		fault = xasprintf("the kernel adds all guestmemfs= of it together to guestmemfs=%s, of which the first counts for a node",
				  pools);
	else if (kcmdline_says_kho(line) != 1)
		fault = xstrdup("kho= does not switch KHO on");
	free(pools);
	return fault;
}

/* A parameter of ours in a line of a file that is no comment, as it stands there, or NULL. */
static char *word_by_hand(const char *line)
{
	static const char * const names[] = { "guestmemfs=", "kho=" };
	const char *found, *first = NULL;
	size_t i;

	if (line[strspn(line, " \t")] == '#')
		return NULL;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		found = strstr(line, names[i]);
		/* "kho_scratch=" and "xkho=" are others. */
		if (found && (found == line || !isalnum((unsigned char)found[-1])) &&
		    (!first || found < first))
			first = found;
	}
	return first ? xasprintf("%.*s", (int)strcspn(first, " \t\"'\\;"), first) : NULL;
}

/* Says of each line of a file what is to be taken out of it. False if there is nothing. */
static bool name_words(const char *name, const char *text)
{
	char *copy = xstrdup(text), *rest = copy, *line, *word;
	unsigned int number = 0;
	bool any = false;

	while ((line = strsep(&rest, "\n"))) {
		number++;
		word = word_by_hand(line);
		if (word)
			warning("%s%s:%u: remove %s from this line, which this tool has not written",
				sysroot, name, number, word);
		any |= !!word;
		free(word);
	}
	free(copy);
	return any;
}

/* Names the words that are in the way, in our file and in the other files there. */
static void name_others(const struct boot *boot)
{
	char **names = boot->dir ? boot_list(boot->dir, boot->suffix) : xcalloc(1, sizeof(*names));
	const char *name = boot->main ? boot->main : boot->file;
	size_t i;

	for (i = 0; name || names[i]; name = NULL) {
		const char *one = name ? name : names[i];
		char *text = boot_read(one), *others;

		/* Of a file of words ours are replaced. */
		others = !text || (!strcmp(one, boot->file) && boot->form != FORM_SHELL) ?
			 xstrdup("") : boot_edit_shell(text, boot->variable, "");
		if (!name_words(one, others) && strcmp(one, boot->file) && boot->interest &&
		    strstr(others, boot->interest))
			warning("look at %s%s", sysroot, one);
		free(others);
		free(text);
		i += !name;
	}
	free_strings(names);
}

/* Whether the line that comes of the text has the pools: EX_OK, or says why not. */
static int check_line(const struct boot *boot, const char *text, const char *parameter)
{
	char *fault = NULL, *why = NULL, *line;
	int comments;

	for (comments = 0; comments < 2 && !fault; comments++) {
		line = line_of(boot, text, comments, &why);
		if (!line) {
			warning("no file is written: only a shell can tell the command line of the next boot (%s); add to it: kho=on %s",
				why, parameter);
			free(why);
			return EX_DIFFERS;
		}
		fault = line_fault(line, parameter);
		if (fault) {
			warning("the command line of the next boot%s would be: %s", comments ?
				", as programs have it that know no comments," : "", line);
			warning("no file is written: %s", fault);
			name_others(boot);
		}
		free(line);
	}
	if (!fault)
		return EX_OK;
	free(fault);
	return EX_DIFFERS;
}

int boot_apply(const struct boot *boot, bool dry_run, const char *parameter)
{
	char *words = xasprintf("kho=on %s", parameter), *path, *old, *text;
	bool there, loaders, same;
	int status;

	printf("%s\n", boot->found);
	if (boot->form == FORM_UNKNOWN) {
		char *at = strstr(boot->advice, "%s");

		warning("no file is written:");
		/* As it is: commands to be copied, on lines of their own. */
		fprintf(stderr, "%.*s%s%s\n", (int)(at - boot->advice), boot->advice,
			boot->advice_has_kho ? parameter : words, at + 2);
		free(words);
		return EX_FAILED;
	}
	path = xasprintf("%s%s", sysroot, boot->file);
	old = old_text(boot, &there, &loaders);
	text = new_text(boot, words);
	same = there && !strcmp(old, text);
	if (!same)
		print_diff(path, there ? old : "", text);
	status = check_line(boot, text, parameter);
	if (status == EX_OK && same)
		printf("%s is right as it is\n", path);
	else if (status == EX_OK && !dry_run)
		boot_change_file(boot, there ? old : NULL, text, !is_ours(boot, old));
	free(text);
	free(old);
	free(path);
	free(words);
	return status;
}
