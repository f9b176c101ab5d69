// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy of the memory of a virtual machine, as a VMM does it with tools/postcopy.
 *
 *	migrate fill FILE			a byte for each page
 *	migrate source FILE SOCKET RATE		sends FILE, RATE bytes/s of what is not asked for
 *	migrate guest FILE ARRIVED SOCKET SEED TOUCHES [SEED TOUCHES...]
 *		A virtual machine whose memory is FILE. Its processor reads random pages, and
 *		writes them, as others did that were started with SEED TOUCHES... before.
 *	migrate check FILE SEED TOUCHES...	what guests with these arguments have left
 *
 * ARRIVED is the bitmap of pages that have come, a file of guestmemfs if a kexec is to come.
 * It has no bits at first. A page with a hardware error counts as lost, not as wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "flat.h"
#include "tables.h"

#include "../../tools/postcopy/postcopy.h"

#define PAGE	POSTCOPY_PAGE

static int fail(const char *what, int err)
{
	fprintf(stderr, "migrate: %s: %s\n", what, strerror(err));
	exit(2);
}

static int need(int result, const char *what)
{
	return result < 0 ? fail(what, errno) : result;
}

static void *map(const char *path, size_t *size)
{
	int fd = need(open(path, O_RDWR | O_CLOEXEC), path);
	struct stat st;
	void *p;

	need(fstat(fd, &st), path);
	*size = st.st_size;
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		fail(path, errno);
	close(fd);
	return p;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		fail(path, ENAMETOOLONG);
	strcpy(addr.sun_path, path);
	return addr;
}

/* Where a read of this thread goes on if its page has a hardware error. */
static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t is_reading;
/* KVM_RUN was ended by one. */
static __thread volatile sig_atomic_t was_refused;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code != BUS_MCEERR_AR)
		signal(sig, SIG_DFL);
	else if (is_reading)
		siglongjmp(back, 1);
	else
		was_refused = 1;
}

static void expect_sigbus(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	need(sigaction(SIGBUS, &action, NULL), "SIGBUS");
}

static bool is_lost(volatile const void *page)
{
	volatile bool lost = true;

	if (!sigsetjmp(back, 1)) {
		is_reading = 1;
		(void)*(volatile const char *)page;
		lost = false;
	}
	is_reading = 0;
	return lost;
}

/* The byte at the start of a page, and those behind it. */
static uint8_t first_byte(size_t page)
{
	return page * 2654435761U >> 24;
}

static uint8_t other_byte(size_t page)
{
	return first_byte(page) ^ 0x5a;
}

/* The page of touch @i of a guest. */
static size_t touched(uint64_t seed, uint64_t i, size_t pages)
{
	uint64_t x = (seed << 32) + i + 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return (x ^ x >> 31) % pages;
}

static int fill(const char *path)
{
	size_t size, at;
	uint8_t *p = map(path, &size);

	for (at = 0; at < size; at += PAGE) {
		memset(p + at, other_byte(at / PAGE), PAGE);
		p[at] = first_byte(at / PAGE);
	}
	return 0;
}

static int source(const char *path, const char *socket_path, uint64_t rate)
{
	struct sockaddr_un addr = address(socket_path);
	int fd = need(open(path, O_RDONLY | O_CLOEXEC), path);
	int sock = need(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"), err;

	unlink(socket_path);
	need(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), socket_path);
	need(listen(sock, 1), "listen");
	/* Who receives can end, and another one can go on. */
	do {
		int conn = need(accept4(sock, NULL, NULL, SOCK_CLOEXEC), "accept");

		err = postcopy_send(fd, conn, rate);
		close(conn);
	} while (err == -EPIPE || err == -ECONNRESET);
	return err ? fail("postcopy_send", -err) : 0;
}

struct guest {
	struct postcopy *pc;
	uint64_t seed, touches;
	uint8_t *extra;		/* how often each page was touched */
	uint64_t wrong, refused;	/* accesses */
};

/* The processor adds 1 to the first byte of a page, which has to be as it was. */
static void *run_guest(void *arg)
{
	struct guest *g = arg;
	struct machine m = {};
	uint64_t i;
	int err;

	if (machine_start(&m, g->pc->guest, g->pc->size))
		fail("machine", errno);
	for (i = 0; i < g->touches; i++) {
		size_t page = touched(g->seed, i, g->pc->size / PAGE);
		volatile char *p = g->pc->guest + page * PAGE;

		was_refused = 0;
		err = machine_run(&m, READ, p);
		if (err == -EHWPOISON || (err == -EINTR && was_refused)) {
			g->refused++;
			continue;
		}
		if (err)
			fail("KVM_RUN", -err);
		g->wrong += m.byte != (uint8_t)(first_byte(page) + g->extra[page]);
		g->extra[page]++;
		m.byte++;
		if (machine_run(&m, WRITE, p))
			fail("KVM_RUN", errno);
		if (machine_run(&m, READ, p + PAGE - 1))
			fail("KVM_RUN", errno);
		g->wrong += m.byte != other_byte(page);
	}
	puts("guest: touched");
	fflush(stdout);
	return NULL;
}

/* How often guests have touched each page: SEED TOUCHES... */
static uint8_t *count_touches(char **args, int n, size_t pages)
{
	uint8_t *extra = calloc(1, pages);
	uint64_t i;

	for (; n >= 2; args += 2, n -= 2)
		for (i = 0; i < strtoull(args[1], NULL, 0); i++)
			extra[touched(strtoull(args[0], NULL, 0), i, pages)]++;
	return extra;
}

static int guest(char **args, int n)
{
	struct sockaddr_un addr = address(args[2]);
	int fd = need(open(args[0], O_RDWR | O_CLOEXEC), args[0]), sock, err;
	struct postcopy pc;
	struct guest g = { .pc = &pc };
	struct by_size sizes;
	pthread_t thread;
	size_t size, lost = 0;
	uint8_t *arrived = map(args[1], &size);

	err = postcopy_open(&pc, fd, arrived);
	if (err)
		fail("postcopy_open", -err);
	printf("guest: missing=%llu\n", (unsigned long long)pc.missing);
	g.seed = strtoull(args[3], NULL, 0);
	g.touches = strtoull(args[4], NULL, 0);
	g.extra = count_touches(args + 5, n - 5, pc.size / PAGE);
	if (pthread_create(&thread, NULL, run_guest, &g))
		fail("thread", errno);
	/* The guest waits until there is a source, and if one is lost: each has to end knowing. */
	do {
		sock = need(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
		err = -EPIPE;
		if (!connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
			err = postcopy_receive(&pc, sock);
		close(sock);
		usleep(10000);
	} while (err == -EPIPE || err == -ECONNRESET);
	if (err)
		fail("postcopy_receive", -err);
	pthread_join(thread, NULL);
	err = postcopy_finish(&pc);
	if (err)
		fail("postcopy_finish", -err);
	for (size = 0; size < pc.size; size += PAGE)
		lost += is_lost(pc.guest + size);
	sizes = tables(pc.guest, pc.size);
	printf("guest: demanded=%llu received=%llu wrong=%llu lost=%zu refused=%llu ",
	       (unsigned long long)pc.demanded, (unsigned long long)pc.received,
	       (unsigned long long)g.wrong, lost, (unsigned long long)g.refused);
	printf("pages=%lu gigabytes=%lu\n", sizes.pte / PAGE, sizes.pud >> 30);
	postcopy_close(&pc);
	return g.wrong != 0;
}

static int check(const char *path, char **args, int n)
{
	size_t size, page, wrong = 0, lost = 0;
	uint8_t *p = map(path, &size), want[PAGE];
	uint8_t *extra = count_touches(args, n, size / PAGE);

	for (page = 0; page < size / PAGE; page++, p += PAGE) {
		memset(want, other_byte(page), PAGE);
		want[0] = first_byte(page) + extra[page];
		if (is_lost(p))
			lost++;
		else
			wrong += memcmp(p, want, PAGE) != 0;
	}
	printf("check: wrong=%zu lost=%zu\n", wrong, lost);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	expect_sigbus();
	if (argc == 3 && !strcmp(argv[1], "fill"))
		return fill(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "source"))
		return source(argv[2], argv[3], strtoull(argv[4], NULL, 0));
	if (argc >= 7 && argc % 2 && !strcmp(argv[1], "guest"))
		return guest(argv + 2, argc - 2);
	if (argc >= 3 && argc % 2 && !strcmp(argv[1], "check"))
		return check(argv[2], argv + 3, argc - 3);
	fputs("migrate: see the comment in migrate.c\n", stderr);
	return 2;
}
