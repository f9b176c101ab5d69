// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of a file fails while the node is unmounted for the last time. In every second
 * round the file is deleted before, and so a worker may drop the last reference to it. In
 * two of four the pool is reset as soon as nobody uses it. Runs in a machine with one pool
 * that is not mounted.
 *
 * usage: busyfail ROUNDS
 *
 * Each round costs a page. Prints "resets=N".
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blocks.h"

#define DIR	"/tmp/busy"
#define BLOCK	(2UL << 20)
/* Memory failure looks at each task, which takes its time. */
#define TASKS	1500
/* It looks at each inode before that. */
#define INODES	200

/* For the reset of a pool that memory failure or a worker still uses. */
#define TRIES	10000

static atomic_int go;
static int discard, resets;

static void reset(void)
{
	int tries;

	for (tries = 0; tries < TRIES; tries++) {
		if (write(discard, "node0", 5) == 5) {
			resets++;
			return;
		}
		if (errno != EBUSY)
			err(1, "discard");
		umount2(DIR, 0);
		usleep(1000);
	}
	errx(1, "the pool stays in use");
}

static void *unmounter(void *arg)
{
	long round = (long)arg;

	while (!go)
		;
	usleep(round * 37 % 3000);
	if (round & 1)
		unlink(DIR "/found");
	umount2(DIR, 0);
	if (round & 2)
		reset();
	return NULL;
}

int main(int argc, char **argv)
{
	pid_t tasks[TASKS];
	struct stat st;
	uint64_t phys;
	char text[32];
	pthread_t t;
	int i, j, fd, hard;

	if (argc != 2)
		errx(2, "usage: busyfail ROUNDS");
	for (i = 0; i < TASKS; i++) {
		tasks[i] = fork();
		if (tasks[i] < 0)
			err(1, "fork");
		if (!tasks[i])
			for (;;)
				pause();
	}
	if (mkdir(DIR, 0700))
		err(1, DIR);
	hard = open("/sys/devices/system/memory/hard_offline_page", O_WRONLY);
	if (hard < 0)
		err(1, "hard_offline_page");
	discard = open("/sys/fs/guestmemfs/node0/discard", O_WRONLY);
	if (discard < 0)
		err(1, "discard");
	for (i = 0; i < atoi(argv[1]); i++) {
		if (mount("none", DIR, "guestmemfs", 0, NULL))
			err(1, "mount");
		/* Made first, it is the last in the list of inodes. */
		fd = open(DIR "/found", O_CREAT | O_RDWR, 0600);
		if (fd < 0 || fstat(fd, &st) || (!st.st_size && ftruncate(fd, BLOCK)))
			err(1, DIR "/found");
		phys = phys_of(fd, 0);
		close(fd);
		for (j = 0; j < INODES; j++) {
			snprintf(text, sizeof(text), DIR "/%d", j);
			close(open(text, O_CREAT | O_RDWR, 0600));
		}
		go = 0;
		if (pthread_create(&t, NULL, unmounter, (void *)(long)i))
			errx(1, "pthread_create");
		snprintf(text, sizeof(text), "%#lx", (unsigned long)phys + i * 4096UL);
		usleep(1000);
		go = 1;
		/* It fails if the page has none to tell of it. */
		if (write(hard, text, strlen(text)) < 0)
			printf("round %d: not recovered\n", i);
		pthread_join(t, NULL);
		umount2(DIR, 0);
	}
	for (i = 0; i < TASKS; i++)
		kill(tasks[i], SIGKILL);
	printf("resets=%d\n", resets);
	return 0;
}
