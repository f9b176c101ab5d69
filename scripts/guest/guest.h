/* SPDX-License-Identifier: GPL-2.0 */
/* The first process of the test machine: init.c prepares it, runner.c runs the command. */
#ifndef GUEST_H
#define GUEST_H

#define VM_DIR	"/run/vm/"

/* Set by init.c. */
extern char ctldir[4096];	/* the control directory of scripts/vm, as the machine sees it */
extern int ctl_fd;		/* the control port, or -1 before it is open */

__attribute__((format(printf, 1, 2))) void tell(const char *fmt, ...);
__attribute__((noreturn)) void finish(void);
__attribute__((noreturn)) void die(const char *what);
int open_port(const char *want);
__attribute__((noreturn)) void run_command(void);

#endif
