// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover --exec: loads a kernel and starts it.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "handover.h"

/* Whoever interrupts the tool does not want the kexec, nor a kernel that stays loaded. */
static volatile sig_atomic_t interrupted;

static void note_signal(int sig)
{
	interrupted = sig;
}

static void set_signals(void (*handler)(int sig))
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM };
	struct sigaction action = { .sa_handler = handler };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
}

/* What a shell takes as it is. */
#define PLAIN	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"

/* A word as a shell takes it, as the command will be copied. */
static char *quoted(const char *word)
{
	char *text = xmalloc(4 * strlen(word) + 3), *to = text;

	if (*word && !word[strspn(word, PLAIN)])
		return strcpy(text, word);
	*to++ = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			to = stpcpy(to, "'\\'");
		*to++ = *word;
	}
	strcpy(to, "'");
	return text;
}

/*
 * False, after a message, if it fails. A terminal sends its signals to the command as
 * well: what has to be done @to_the_end ignores them.
 */
static bool step(const struct handover_arguments *args, char *const command[], bool to_the_end)
{
	char *line = NULL, *word;
	bool done = true;
	int i, status;
	pid_t pid;

	for (i = 0; command[i]; i++) {
		word = quoted(command[i]);
		line = join(line, " ", word);
		free(word);
	}
	fprintf(args->json ? stderr : stdout, "%s%s\n", args->dry_run ? "would run: " : "", line);
	fflush(stdout);
	if (!args->dry_run) {
		pid = fork();
		if (!pid) {
			if (to_the_end)
				set_signals(SIG_IGN);
			execvp(command[0], command);
			_exit(127);
		}
		while (pid > 0 && waitpid(pid, &status, 0) < 0)
			if (errno != EINTR)
				pid = -1;
		done = pid > 0 && !status && !interrupted;
		if (!done)
			warning("%s failed: nothing was executed", line);
	}
	free(line);
	return done;
}

/* The kernel freezes the nodes by itself when it goes. Comes back if it does not go. */
int handover_exec(const struct handover_arguments *args)
{
	char *line = args->append ? xasprintf("--command-line=%s", args->append) :
				    xstrdup("--reuse-cmdline");
	char *initrd = args->initrd ? xasprintf("--initrd=%s", args->initrd) : NULL;
	char *load[] = { "kexec", "-s", "-l", (char *)args->exec, line, initrd, NULL };
	char *unload[] = { "kexec", "-s", "-u", NULL };
	char *sync_command[] = { "sync", NULL };
	char *systemd[] = { "systemctl", "kexec", NULL };
	char *plain[] = { "kexec", "-e", NULL };
	bool done;

	set_signals(note_signal);
	done = step(args, load, false);
	if (done || interrupted) {
		done = done && step(args, sync_command, false) &&
		       (args->force || args->dry_run || handover_is_still_unused()) &&
		       !interrupted &&
		       step(args, access("/run/systemd/system", F_OK) ? plain : systemd, false);
		/* Or a later reboot would start it, unchecked. */
		interrupted = 0;
		if (!done)
			step(args, unload, true);
	}
	free(initrd);
	free(line);
	return done ? EX_OK : EX_FAILED;
}
