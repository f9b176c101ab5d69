// SPDX-License-Identifier: GPL-2.0
/*
 * Open files of guestmemfs that LUO preserves, on the library of the kernel's own
 * tests of LUO.
 *
 * usage: luo STAGE DIR DIR2		(mounts of two nodes; stage 1 before the kexec, 2
 *					and 3 in the kernels after it)
 *
 * Stage 1 leaves a process behind that has the sessions open. In stage 2 the second
 * node need not be mounted.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libliveupdate.h>

#define MIB	1048576UL
#define POS	12345

/* What is preserved, as a token and as what its memory is filled with. */
enum {
	NAMED = 1, NAMED_AGAIN, READ_ONLY, DELETED, DELETED_AGAIN, NAMELESS, ABANDONED, OTHER_NODE,
	LEFT, CLOSED,
};

static uint64_t value(uint64_t seed, size_t i)
{
	return seed << 48 ^ i * 0x9e3779b97f4a7c15ULL;
}

static uint64_t *map(int fd, int prot, size_t size)
{
	uint64_t *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		fail_exit("mmap");
	return p;
}

static void fill(int fd, uint64_t seed, size_t size)
{
	uint64_t *p = map(fd, PROT_READ | PROT_WRITE, size);
	size_t i;

	for (i = 0; i < size / sizeof(*p); i++)
		p[i] = value(seed, i);
	munmap(p, size);
}

static void check(int fd, uint64_t seed, size_t size)
{
	struct stat st;
	uint64_t *p;
	size_t i;

	if (fstat(fd, &st))
		fail_exit("fstat");
	if ((size_t)st.st_size != size)
		ksft_exit_fail_msg("file %ju has %jd bytes, should have %zu\n", (uintmax_t)seed,
				   (intmax_t)st.st_size, size);
	p = map(fd, PROT_READ, size);
	for (i = 0; i < size / sizeof(*p); i++)
		if (p[i] != value(seed, i))
			ksft_exit_fail_msg("file %ju differs at byte %zu\n", (uintmax_t)seed,
					   i * sizeof(*p));
	munmap(p, size);
}

static int make(const char *dir, const char *name, int flags, uint64_t seed, size_t size)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | flags, 0600);
	if (fd < 0 || ftruncate(fd, size))
		fail_exit("%s", path);
	fill(fd, seed, size);
	return fd;
}

static void forget(const char *dir, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (unlink(path))
		fail_exit("unlink %s", path);
}

static int reopen(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags);
	if (again < 0)
		fail_exit("%s", path);
	return again;
}

static void preserve(int session, int fd, int token)
{
	int err = luo_session_preserve_fd(session, fd, token);

	if (err)
		ksft_exit_fail_msg("file %d cannot be preserved: %d\n", token, err);
}

static int create_session(int luo, const char *name)
{
	int session = luo_create_session(luo, name);

	if (session < 0)
		fail_exit("session %s", name);
	return session;
}

static int retrieve_session(int luo, const char *name)
{
	int session = luo_retrieve_session(luo, name);

	if (session < 0)
		fail_exit("session %s", name);
	return session;
}

static int retrieve(int session, int token)
{
	int fd = luo_session_retrieve_fd(session, token);

	if (fd < 0)
		ksft_exit_fail_msg("file %d cannot be retrieved: %d\n", token, fd);
	return fd;
}

static void run_stage_1(int luo, const char *dir, const char *dir2)
{
	int session = create_session(luo, "vm"), other = create_session(luo, "other");
	int left = create_session(luo, "left"), closed = create_session(luo, "closed");
	int fd, err;

	fd = make(dir, "named", O_CREAT, NAMED, 5 * MIB);
	if (lseek(fd, POS, SEEK_SET) != POS)
		fail_exit("lseek");
	preserve(session, fd, NAMED);
	/* Another open file of it can be had as well, the same one cannot. */
	preserve(session, reopen(fd, O_RDWR), NAMED_AGAIN);
	preserve(other, reopen(fd, O_RDONLY), READ_ONLY);
	err = luo_session_preserve_fd(other, fd, NAMED_AGAIN);
	if (err != -EBUSY)
		ksft_exit_fail_msg("preserving it twice: %d, should be EBUSY\n", err);
	/* It is as it is at the kexec. */
	if (ftruncate(fd, 7 * MIB))
		fail_exit("ftruncate");
	fill(fd, NAMED, 7 * MIB);

	fd = make(dir, "deleted", O_CREAT, DELETED, 6 * MIB);
	preserve(session, fd, DELETED);
	preserve(other, reopen(fd, O_RDWR), DELETED_AGAIN);
	forget(dir, "deleted");

	preserve(session, make(dir, ".", O_TMPFILE, NAMELESS, 4 * MIB), NAMELESS);
	preserve(session, make(dir2, ".", O_TMPFILE, OTHER_NODE, 2 * MIB), OTHER_NODE);
	preserve(session, make(dir, ".", O_TMPFILE, ABANDONED, 10 * MIB), ABANDONED);
	preserve(left, make(dir, ".", O_TMPFILE, LEFT, 20 * MIB), LEFT);
	preserve(closed, make(dir, ".", O_TMPFILE, CLOSED, 40 * MIB), CLOSED);
	close(closed);

	fd = open(dir, O_RDONLY);
	err = luo_session_preserve_fd(session, fd, 100);
	if (err != -ENOENT)
		ksft_exit_fail_msg("preserving a directory: %d, should be ENOENT\n", err);
	close(fd);
	daemonize_and_wait();
}

static void expect_access(int fd, int access)
{
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) != access)
		ksft_exit_fail_msg("access %d, should be %d\n", fcntl(fd, F_GETFL) & O_ACCMODE,
				   access);
}

static void run_stage_2(int luo, const char *dir)
{
	int session = retrieve_session(luo, "vm"), other = retrieve_session(luo, "other");
	int fd, again, nameless;
	struct stat a, b;

	fd = retrieve(session, NAMED);
	check(fd, NAMED, 7 * MIB);
	expect_access(fd, O_RDWR);
	if (lseek(fd, 0, SEEK_CUR) != POS)
		ksft_exit_fail_msg("its position is another one\n");
	/* The same inode as by the name, and one can be preserved while the other is not back. */
	again = make(dir, "named", 0, NAMED, 7 * MIB);
	if (fstat(fd, &a) || fstat(again, &b) || a.st_ino != b.st_ino || a.st_dev != b.st_dev)
		ksft_exit_fail_msg("it is not the file of that name\n");
	preserve(create_session(luo, "next"), again, NAMED);
	check(retrieve(session, NAMED_AGAIN), NAMED, 7 * MIB);
	fd = retrieve(other, READ_ONLY);
	expect_access(fd, O_RDONLY);
	check(fd, NAMED, 7 * MIB);

	fd = retrieve(session, DELETED);
	check(fd, DELETED, 6 * MIB);
	if (fstat(fd, &a) || a.st_nlink)
		ksft_exit_fail_msg("the deleted file has %ju links\n", (uintmax_t)a.st_nlink);
	nameless = retrieve(session, NAMELESS);
	check(nameless, NAMELESS, 4 * MIB);
	/* It can grow and shrink as any. */
	if (ftruncate(nameless, 8 * MIB) || ftruncate(nameless, 4 * MIB))
		fail_exit("ftruncate");
	check(retrieve(session, OTHER_NODE), OTHER_NODE, 2 * MIB);
	if (luo_session_retrieve_fd(session, 1000) != -ENOENT)
		ksft_exit_fail_msg("a token that was not given is known\n");
	if (luo_session_finish(session))
		fail_exit("finish");
	/* LUO has let go of the one, the other is still expected. */
	close(fd);
	check(retrieve(other, DELETED_AGAIN), DELETED, 6 * MIB);
	if (luo_session_finish(other))
		fail_exit("finish");
	check(nameless, NAMELESS, 4 * MIB);
}

int main(int argc, char **argv)
{
	int luo = luo_open_device(), stage;

	if (argc != 4)
		ksft_exit_fail_msg("usage: luo STAGE DIR DIR2\n");
	if (luo < 0)
		fail_exit("%s", LUO_DEVICE);
	stage = atoi(argv[1]);
	if (stage == 1)
		run_stage_1(luo, argv[2], argv[3]);
	else if (stage == 2)
		run_stage_2(luo, argv[2]);
	else if (luo_retrieve_session(luo, "left") >= 0)
		ksft_exit_fail_msg("a session outlives the kernel that did not finish it\n");
	printf("stage %d passed\n", stage);
	return 0;
}
