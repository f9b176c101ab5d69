/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Within bootloader*.c: where boot loaders have the kernel's command line, and its text.
 */

#ifndef BOOTLOADER_H
#define BOOTLOADER_H

#include <stdbool.h>
#include <sys/stat.h>

#include "gmfs-numa.h"

#define CMDLINE_FILE	"/etc/kernel/cmdline"
#define GRUB_DEFAULT	"/etc/default/grub"

/* In which form the line is kept. */
enum boot_form {
	FORM_UNKNOWN,		/* only the administrator can change it */
	FORM_LINE,		/* the words themselves, in one file */
	FORM_LINES,		/* the same, in all files of a directory */
	FORM_SHELL,		/* a variable that shell files set one after the other */
};

struct boot {
	enum boot_form form;
	char *found;		/* what boots this machine, and how that is known */
	const char *file;	/* that is written */
	const char *dir;	/* of drop-ins that are read as well, or NULL */
	const char *vendor_dir;	/* of others, which files of the same names in @dir replace */
	const char *suffix;	/* of these */
	const char *main;	/* shell file that is read before them, or NULL */
	const char *variable;	/* that we add to */
	const char *before;	/* variable that comes before it in the line, or NULL */
	const char *interest;	/* what both begin with */
	const char *first_copy[3];	/* what the file starts with if it is not there yet */
	bool one_line;		/* of the file, the first line alone counts */
	bool by_grub;		/* GRUB's lexer reads the line */
	const char *then;	/* what makes it count */
	char *then_text;	/* the same, if it had to be made */
	char *advice;		/* for FORM_UNKNOWN, with %s for the parameters */
	bool advice_has_kho;	/* so that guestmemfs= alone comes there */
};

/* --- bootloader-files.c: all names are below --sysroot --- */

/* The text of a file or NULL if it does not exist. Any other error is fatal. */
char *boot_read(const char *name);
bool boot_exists(const char *name);
/* With something before the suffix. */
bool boot_ends_with(const char *name, const char *suffix);
/* Full names of a directory's files with that suffix, sorted as shells do it; NULL ends. */
char **boot_list(const char *dir, const char *suffix);
/* Does a file of this kind have the text? */
bool boot_any_file_has(const char *dir, const char *suffix, const char *text);
bool boot_any_file(const char *dir, const char *suffix);
/* All files that the line comes from, in the order in which they are read. */
char **boot_files(const struct boot *boot);
/* Variables of the first @nr files of boot_files(), with @ours in the file of ours. */
struct shellvars *boot_source(const struct boot *boot, const char *ours, size_t nr);
/* What a boot loader has told by an EFI variable, or NULL. */
char *boot_efi_text(const char *name);
/* Writes the text that was @old, NULL if there was no file; a backup is made if asked for. */
void boot_change_file(const struct boot *boot, const char *old, const char *text, bool backup);

/* --- bootloader-where.c --- */

/* The script that makes GRUB's configuration, or NULL. */
const char *boot_grub_mkconfig(void);
void boot_use_grub(struct boot *boot, bool suse);
void boot_use_systemd_boot(struct boot *boot);

/* --- bootloader-text.c --- */

bool boot_is_comment(const char *line);
/* The text of a file of words, with @words in place of ours, at the end of those that count. */
char *boot_edit(const char *old, const char *words, bool one_line, bool loaders);
/* The number of the first line of such a file in which a quote does not end, or 0. */
unsigned int boot_open_quote(const char *text, bool one_line);
/* Words of a file as one line, with comments or without them. */
char *boot_as_line(const char *text, bool one_line, bool comments);
/*
 * The shell file with these words in place of what earlier runs have added to it. NULL
 * leaves empty lines in its place, so that the others keep their numbers.
 */
char *boot_edit_shell(const char *old, const char *variable, const char *words);
/*
 * What GRUB makes of the line in its configuration, for the kernel. NULL if it would give
 * the kernel something else, and *@culprit is the character because of which it would.
 */
char *boot_grub_line(const char *line, char *culprit);

#endif
