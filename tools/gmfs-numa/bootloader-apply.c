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
	char **names = boot_files(boot), *all = xstrdup("");
	size_t i;

	for (i = 0; names[i]; i++) {
		bool is_ours = !strcmp(names[i], boot->file);
		char *text = is_ours ? NULL : boot_read(names[i]);
		char *line = boot_as_line(is_ours ? ours : text ? text : "", false, comments);

		all = join(all, " ", line);
		free(line);
		free(text);
	}
	free_strings(names);
	return all;
}

/* What the first @nr of the files make of it; NULL if that is not known. */
static char *line_of_shell(const struct boot *boot, const char *text, size_t nr, char **why)
{
	struct shellvars *vars = boot_source(boot, text, nr);
	const char *value = shellvars_get(vars, boot->variable);
	const char *before = boot->before ? shellvars_get(vars, boot->before) : "";
	char *line = NULL;

	if (value && before && !shellvars_unknown(vars))
		line = xasprintf("%s%s%s", before, *before ? " " : "", value);
	else if (why)
		*why = xstrdup(shellvars_unknown(vars) ? shellvars_unknown(vars) : boot->variable);
	shellvars_free(vars);
	return line;
}

/*
 * The line that comes of the files if ours has this text, or NULL. Some programs leave
 * comments out, others do not.
 */
static char *line_of(const struct boot *boot, const char *text, bool comments, char **why)
{
	if (boot->form == FORM_LINE)
		return boot_as_line(text, boot->one_line, comments);
	if (boot->form == FORM_LINES)
		return lines_of_files(boot, text, comments);
	return line_of_shell(boot, text, SIZE_MAX, why);
}

char *boot_line(const struct boot *boot)
{
	char *text, *line, *of_grub, culprit;

	if (boot->form == FORM_UNKNOWN)
		return NULL;
	text = new_text(boot, "");
	line = line_of(boot, text, false, NULL);
	free(text);
	of_grub = line && boot->by_grub ? boot_grub_line(line, &culprit) : NULL;
	if (!of_grub)
		return line;
	free(line);
	return of_grub;
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

/* How long the parameter of ours is that starts here as it stands in a file, or 0. */
static size_t length_by_hand(const char *line, const char *at)
{
	static const char * const names[] = { "guestmemfs", "kho" };
	size_t i, len;

	/* "kho_scratch=" and "xkho=" are others. */
	if (at > line && (isalnum((unsigned char)at[-1]) || strchr("_-", at[-1])))
		return 0;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		len = strlen(names[i]);
		if (strncmp(at, names[i], len))
			continue;
		if (at[len] == '=')
			return strcspn(at, " \t\r\"'\\;");
		/* Without a value, guestmemfs makes no pool and kho is nothing. */
		if (!i && strchr(" \t\r\"'", at[len]) &&
		    (at == line || strchr(" \t\"'", at[-1])))
			return len;
	}
	return 0;
}

/* All such parameters of a line, or NULL. */
static char *words_by_hand(const char *line)
{
	const char *at = line;
	char *words = NULL, *word;
	size_t len;

	while (*at) {
		len = length_by_hand(line, at);
		if (len) {
			word = xasprintf("%.*s", (int)len, at);
			words = words ? join(words, " ", word) : xstrdup(word);
			free(word);
		}
		at += len ? len : 1;
	}
	return words;
}

/*
 * Says of each line of a file what is to be taken out of it. False if there is nothing.
 * Of files of words, @replaced says that ours are.
 */
static bool name_words(const char *name, const char *text, bool comments, bool replaced)
{
	char *copy = xstrdup(text), *rest = copy, *line, *kept, *words;
	unsigned int number = 0;
	bool any = false;

	while ((line = strsep(&rest, "\n"))) {
		number++;
		if (boot_is_comment(line) && !comments)
			continue;
		kept = replaced ? boot_edit(line, "", false, false) : xstrdup(line);
		words = words_by_hand(kept);
		if (words)
			warning("%s%s:%u: remove %s from this line", sysroot, name, number, words);
		any |= !!words;
		free(words);
		free(kept);
	}
	free(copy);
	return any;
}

/* Names the words that are in the way, in our file and in the other files there. */
static void name_others(const struct boot *boot, bool comments)
{
	bool shell = boot->form == FORM_SHELL, ours;
	char **names = boot_files(boot);
	size_t i;

	for (i = 0; names[i]; i++) {
		char *text = boot_read(names[i]), *others;

		if (!text)
			continue;
		ours = !strcmp(names[i], boot->file);
		others = shell && ours ? boot_edit_shell(text, boot->variable, NULL)
				       : xstrdup(text);
		if (!name_words(names[i], others, comments && !shell, ours && !shell) && !ours &&
		    boot->interest && strstr(others, boot->interest))
			warning("look at %s%s", sysroot, names[i]);
		free(others);
		free(text);
	}
	free_strings(names);
}

/* Names the first of the files by which the line gets what GRUB does not take as it is. */
static void name_culprit(const struct boot *boot, const char *text)
{
	char **names = boot_files(boot), culprit;
	bool found = false;
	size_t i;

	for (i = 0; names[i] && !found; i++) {
		char *line = line_of_shell(boot, text, i + 1, NULL);
		char *of_grub = line ? boot_grub_line(line, &culprit) : NULL;

		found = line && !of_grub;
		if (found)
			warning("look at %s%s: quote this %c or remove it", sysroot, names[i],
				culprit);
		free(of_grub);
		free(line);
	}
	free_strings(names);
}

/* Whether the kernel would make the pools of this line, or says why not. */
static bool check_pools(const struct boot *boot, const char *line, bool comments,
			const char *parameter)
{
	char *fault = line_fault(line, parameter);

	if (!fault)
		return true;
	warning("the command line of the next boot%s would be: %s", comments ?
		", as programs have it that know no comments," : "", line);
	warning("no file is written: %s", fault);
	name_others(boot, comments);
	free(fault);
	return false;
}

/* The same of GRUB's line. One with a line break is none there. */
static bool check_grub(const struct boot *boot, const char *text, const char *line,
		       const char *parameter)
{
	char culprit, *of_grub;
	bool right;

	if (strchr(line, '\n'))
		return check_pools(boot, line, false, parameter);
	of_grub = boot_grub_line(line, &culprit);
	if (!of_grub) {
		warning("the command line of the next boot would be: %s", line);
		warning("no file is written: in grub.cfg, %c %s; add to it: kho=on %s", culprit,
			culprit == '#' ? "begins a comment" :
			strchr("'\"", culprit) ? "begins a quote that does not end in the line" :
			culprit == '$' ? "begins the name of a variable" :
			culprit == '\\' ? "joins the next line to this one" :
			"belongs to the syntax of commands", parameter);
		name_culprit(boot, text);
		return false;
	}
	right = check_pools(boot, of_grub, false, parameter);
	free(of_grub);
	return right;
}

/* Whether the line that comes of the text has the pools: EX_OK, or says why not. */
static int check_line(const struct boot *boot, const char *text, const char *parameter)
{
	bool right = true;
	char *why = NULL, *line;
	int comments;

	for (comments = 0; comments < 2 && right; comments++) {
		line = line_of(boot, text, comments, &why);
		if (!line) {
			warning("no file is written: only a shell can tell the command line of the next boot (%s); add to it: kho=on %s",
				why, parameter);
			free(why);
			return EX_DIFFERS;
		}
		right = boot->by_grub ? check_grub(boot, text, line, parameter) :
					check_pools(boot, line, comments, parameter);
		free(line);
	}
	return right ? EX_OK : EX_DIFFERS;
}

/* A quote over two lines: our words would come into it. Says so. */
static bool has_open_quote(const struct boot *boot, const char *old, const char *path,
			   const char *words)
{
	unsigned int number = boot->form == FORM_SHELL ? 0 : boot_open_quote(old, boot->one_line);

	if (number)
		warning("no file is written: %s:%u: a quote begins in this line and does not end in it: end it there; then add: %s",
			path, number, words);
	return number;
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
	if (has_open_quote(boot, old, path, words)) {
		free(old);
		free(path);
		free(words);
		return EX_DIFFERS;
	}
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
