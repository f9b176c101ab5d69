// SPDX-License-Identifier: GPL-2.0
/*
 * Users of a file whose blocks move, see test_compact.py.
 *
 *	move process FILE	threads store to a mapping, and find what they have stored
 *	move guest FILE		a virtual machine does, with the file as its memory
 *	move pinned PCI GROUP CDEV FILE
 *				a device has the first block
 *	move userfault FILE	a mapping is registered for minor faults
 *	move preserved FILE	a session of LUO has it
 *
 * Each prints one line when it is ready, and goes on until SIGTERM. The first two print
 * "process: stores=N lost=N" then, or "guest: ...", and fail if something is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <libliveupdate.h>

#include "device.h"
#include "flat.h"
#include "linux/userfaultfd.h"

#define IOVA	0x10000000UL
#define THREADS	2

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static void ready(const char *what)
{
	puts(what);
	fflush(stdout);
}

static volatile char *map_again(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static volatile char *map(const char *path, int *fd, size_t *size)
{
	struct stat st;

	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st))
		die("%s", path);
	*size = st.st_size;
	return map_again(*fd, *size);
}

/* A random number, the next for each @state. */
static size_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005UL + 1442695040888963407UL;
	return *state >> 33;
}

/* Leave the emulated processors to others, after each @many stores. */
static void rest(unsigned long stores, unsigned long many)
{
	if (!(stores % many))
		usleep(2000);
}

/* Each has words of its own in each page. */
struct storer {
	pthread_t thread;
	int file;
	volatile uint64_t *mem;
	size_t pages;
	unsigned int nr;
	unsigned long stores, lost;
};

static volatile uint64_t *word_of(const struct storer *s, size_t page)
{
	return s->mem + page * PAGE / 8 + 8 + s->nr;
}

static void *run_storer(void *arg)
{
	struct storer *s = arg;
	uint64_t *mine = calloc(s->pages, sizeof(*mine)), random = s->nr;
	size_t page;

	if (!mine)
		die("memory");
	for (page = 0; page < s->pages; page++)
		*word_of(s, page) = 0;
	while (!stop) {
		page = next_random(&random) % s->pages;
		s->lost += *word_of(s, page) != mine[page];
		mine[page] = ++s->stores;
		*word_of(s, page) = mine[page];
		rest(s->stores, 256);
	}
	/* In the file, and not only in what this mapping has. */
	s->mem = (volatile uint64_t *)map_again(s->file, s->pages * PAGE);
	for (page = 0; page < s->pages; page++)
		s->lost += *word_of(s, page) != mine[page];
	return NULL;
}

static int result(const char *who, unsigned long stores, unsigned long lost)
{
	printf("%s: stores=%lu lost=%lu\n", who, stores, lost);
	return !stores || lost;
}

static int process(const char *path)
{
	struct storer s[THREADS] = {};
	unsigned long stores = 0, lost = 0;
	volatile char *mem;
	size_t size;
	int fd, i;

	mem = map(path, &fd, &size);
	for (i = 0; i < THREADS; i++) {
		s[i].file = fd;
		s[i].mem = (volatile uint64_t *)mem;
		s[i].pages = size / PAGE;
		s[i].nr = i;
		if (pthread_create(&s[i].thread, NULL, run_storer, &s[i]))
			die("thread");
	}
	ready("storing");
	for (i = 0; i < THREADS; i++) {
		pthread_join(s[i].thread, NULL);
		stores += s[i].stores;
		lost += s[i].lost;
	}
	return result("process", stores, lost);
}

static int guest(const char *path)
{
	unsigned long stores = 0, lost = 0;
	struct machine m = {};
	uint8_t *mine;
	uint64_t random = 1;
	volatile char *mem;
	size_t size, page;
	int fd, err = 0;

	mem = map(path, &fd, &size);
	mine = calloc(size / PAGE, 1);
	if (!mine || machine_start(&m, mem, size))
		die("machine");
	for (page = 0; page < size / PAGE; page++)
		mem[page * PAGE] = 0;
	ready("storing");
	while (!stop && !err) {
		page = next_random(&random) % (size / PAGE);
		err = machine_run(&m, READ, mem + page * PAGE);
		/* A signal can end it before it has read anything. */
		if (!err)
			lost += m.byte != mine[page];
		m.byte = ++stores;
		mine[page] = m.byte;
		if (!err)
			err = machine_run(&m, WRITE, mem + page * PAGE);
		if (err == -EINTR)
			err = 0;
		rest(stores, 16);
	}
	if (err)
		die("KVM_RUN: %d", err);
	/* The last one may have been interrupted. */
	m.byte = mine[page];
	if (machine_run(&m, WRITE, mem + page * PAGE))
		die("the last KVM_RUN");
	mem = map_again(fd, size);
	for (page = 0; page < size / PAGE; page++)
		lost += (uint8_t)mem[page * PAGE] != mine[page];
	return result("guest", stores, lost);
}

static int pinned(char **argv)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct device device;
	int fd = open(argv[3], O_RDWR);

	device_choose(argv[0], argv[1], argv[2]);
	if (fd < 0 || setrlimit(RLIMIT_MEMLOCK, &all))
		die("%s", argv[3]);
	device_open(&device, IOAS_MAP_FILE);
	if (device_map(&device, fd, 0, NULL, IOVA, BLOCK))
		die("the device cannot have the block");
	ready("pinned");
	pause();
	return 0;
}

static int userfault(const char *path)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MINOR };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), fd;
	size_t size;

	reg.range.start = (uintptr_t)map(path, &fd, &size);
	reg.range.len = size;
	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("userfaultfd");
	ready("registered");
	pause();
	return 0;
}

static int preserved(const char *path)
{
	int luo = luo_open_device(), fd = open(path, O_RDWR), session, err;

	session = luo < 0 ? luo : luo_create_session(luo, "move");
	err = session < 0 ? session : luo_session_preserve_fd(session, fd, 1);
	if (err)
		die("%s cannot be preserved: %d", path, err);
	ready("preserved");
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (!strcmp(what, "process") || !strcmp(what, "guest"))
		signal(SIGTERM, on_signal);
	if (!strcmp(what, "process"))
		return process(argv[2]);
	if (!strcmp(what, "guest"))
		return guest(argv[2]);
	if (!strcmp(what, "pinned") && argc == 6)
		return pinned(argv + 2);
	if (!strcmp(what, "userfault"))
		return userfault(argv[2]);
	if (!strcmp(what, "preserved"))
		return preserved(argv[2]);
	fputs("usage: move process|guest|pinned|userfault|preserved ...\n", stderr);
	return 2;
}
