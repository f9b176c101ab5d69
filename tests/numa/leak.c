// SPDX-License-Identifier: GPL-2.0
/*
 * Looks for what one owner of memory leaves to the next: fills blocks, gives
 * them back in one of all possible ways, gets blocks again, and reads them. All
 * of it has to be zero, each time.
 *
 * usage: leak DIR ROUNDS FIRST
 *
 * FIRST is the number of the first round: it says which ways are taken. What is
 * in DIR is what an earlier call has left there. Exit status: 0, or 1 with a
 * line that says what was found where, 2 if a system call failed.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK	(2UL << 20)

static unsigned long nr_blocks;

/* Every page has something in it, and in each round another word of it. */
static void dirty(int fd, off_t start, size_t len, unsigned int round)
{
	uint64_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, start);
	size_t i;

	if (p == MAP_FAILED)
		err(2, "mmap to write, round %u", round);
	for (i = round % 512; i < len / 8; i += 512)
		p[i] = ~(uint64_t)round;
	munmap(p, len);
}

static void expect_zero(int fd, off_t start, size_t len, unsigned int round)
{
	uint64_t *p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, start);
	size_t i;

	if (p == MAP_FAILED)
		err(2, "mmap to read, round %u", round);
	for (i = 0; i < len / 8; i++) {
		if (p[i])
			errx(1, "round %u: %#" PRIx64 " at byte %#zx of a new block",
			     round, p[i], start + i * 8);
	}
	munmap(p, len);
	nr_blocks += len / BLOCK;
}

static int create(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT, 0600);

	if (fd < 0)
		err(2, "create %s", name);
	return fd;
}

static void check(int failed, const char *what, unsigned int round)
{
	if (failed)
		err(2, "%s, round %u", what, round);
}

/* An owner that is killed in the middle of writing. */
static void crash(const char *name, size_t size, unsigned int round)
{
	int status, fd, ready[2];
	pid_t pid;
	char c;

	check(pipe(ready), "pipe", round);
	pid = fork();
	check(pid < 0, "fork", round);
	if (!pid) {
		fd = create(name);
		check(ftruncate(fd, size), "truncate", round);
		unlink(name);
		dirty(fd, 0, size, round);
		check(write(ready[1], "", 1) != 1, "write", round);
		for (;;)
			dirty(fd, 0, size, round);
	}
	check(read(ready[0], &c, 1) != 1, "read", round);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(ready[1]);
}

/* Two ways to lose blocks for each of two ways to get them. */
static void one_round(unsigned int round)
{
	size_t size = BLOCK * (1 + round % 3);
	int fd = create("file");

	switch (round / 3 % 2) {
	case 0:
		check(ftruncate(fd, size), "truncate", round);
		break;
	case 1:
		check(fallocate(fd, 0, 0, size), "fallocate", round);
		break;
	}
	expect_zero(fd, 0, size, round);
	dirty(fd, 0, size, round);

	switch (round / 6 % 6) {
	case 0:
		check(unlink("file"), "unlink", round);
		break;
	case 1:	/* and filled again by the mapping */
		check(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size),
		      "punch hole", round);
		expect_zero(fd, 0, size, round);
		dirty(fd, 0, size, round);
		check(unlink("file"), "unlink", round);
		break;
	case 2:	/* to within a block, and back */
		check(ftruncate(fd, BLOCK / 2 + round), "truncate down", round);
		check(ftruncate(fd, size), "truncate up", round);
		if (size > BLOCK)
			expect_zero(fd, BLOCK, size - BLOCK, round);
		check(ftruncate(fd, 0), "truncate to 0", round);
		break;
	case 3:	/* over another file */
		close(create("other"));
		check(rename("other", "file"), "rename", round);
		break;
	case 4:
		check(unlink("file"), "unlink", round);
		crash("file", size, round);
		break;
	case 5:	/* the name goes first, and the next round may come before the blocks */
		check(unlink("file"), "unlink", round);
		check(ftruncate(fd, BLOCK), "truncate without a name", round);
		break;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned int rounds, first, i;

	if (argc != 4)
		errx(2, "usage: leak DIR ROUNDS FIRST");
	if (chdir(argv[1]))
		err(2, "%s", argv[1]);
	rounds = strtoul(argv[2], NULL, 0);
	first = strtoul(argv[3], NULL, 0);
	for (i = first; i < first + rounds; i++)
		one_round(i);
	printf("rounds=%u blocks=%lu\n", rounds, nr_blocks);
	return 0;
}
