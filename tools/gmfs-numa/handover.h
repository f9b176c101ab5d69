/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmfs-numa handover: declarations that its files share.
 */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdbool.h>

struct nodes;

enum handover_result { OK, WARN, FAIL, UNKNOWN };

struct handover_arguments {
	const char *kernel;
	const char *exec;
	const char *initrd;
	const char *append;
	const char *config;
	bool dry_run;
	bool force;
	bool json;		/* standard output has nothing else */
};

/* --- cmd-handover.c --- */

/* Adds a row to the table. FAIL and UNKNOWN: the machine is not ready. */
void handover_result(const char *check, enum handover_result r, const char *detail);

/* --- handover-config.c: the configuration of a kernel, as Kconfig writes it --- */

/* The text after "CONFIG_name=", or NULL. */
const char *config_value(const char *config, const char *name);
bool config_has(const char *config, const char *name);
/* The value of a string; NULL if there is none, or an empty one. Freed by the caller. */
char *config_string(const char *config, const char *name);

/* --- handover-kernel.c: the kernel file and its configuration --- */

/*
 * Rows "kernel", "format" and "command-line". @cmdline: of the running kernel. Returns the
 * configuration of the next kernel, which the caller frees, or NULL if it is not known.
 */
char *handover_check_kernel(const struct handover_arguments *args, const struct nodes *nodes,
			    const char *cmdline);

/* --- handover-cmdline.c: the command line of the next kernel --- */

/* Row "command-line". @config: of the next kernel, or NULL. @running: this kernel's line. */
void handover_check_command_line(const char *given, const char *config, const char *running);

/* Row "growth-reserve", if a node has one. @config: of the next kernel, or NULL. */
void handover_check_growth(const struct nodes *nodes, const char *given, const char *config);

/* Does the next kernel take over what LUO preserves? @config: of it. */
bool handover_has_luo(const char *given, const char *config);

/* --- handover-users.c: processes and other users of files --- */

/* Rows "users", "files", "discard" and "pins". @config and @line: of the next kernel, or NULL. */
void handover_check_users(const struct nodes *nodes, const char *config, const char *line);
/* Repeats the check before the kexec. False, after a message, if files have users. */
bool handover_is_still_unused(void);

/* --- handover-exec.c: the kexec --- */

/*
 * Loads and executes the kernel. The kernel itself freezes the nodes. Returns an exit
 * code if the kexec failed, and after a dry run.
 */
int handover_exec(const struct handover_arguments *args);

#endif /* HANDOVER_H */
