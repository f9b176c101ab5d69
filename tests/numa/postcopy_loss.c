// SPDX-License-Identifier: GPL-2.0
/*
 * Connections of tools/postcopy that are lost, between memory files in place of files of
 * guestmemfs. Needs no kernel of guestmemfs, but userfaultfd.
 *
 *	postcopy_loss unread unix|tcp	the receiver is killed before it has read all
 *	postcopy_loss early		a receiver says that it has all, and has not
 *	postcopy_loss asked		the source is lost while threads wait for pages
 *	postcopy_loss truncated		the receiver's file is too short for what comes
 */
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "../../tools/postcopy/postcopy.h"
#include "../../tools/postcopy/wire.h"

#define PAGE	POSTCOPY_PAGE
#define PAGES	40
/* They fit in the buffers of a socket. */
#define UNREAD	8
#define THREADS	16
/* The page of a thread. */
#define AT(i)	(2 * (i) + 1)
/* No thread waits for it. */
#define OTHER	0
#define STALE	0xee
#define RATE	1
#define SECONDS	10

static void equal(long got, long want, const char *what)
{
	if (got == want)
		return;
	printf("postcopy_loss: %s: %ld, should be %ld\n", what, got, want);
	fflush(stdout);
	_exit(1);
}

static void is_true(bool is, const char *what)
{
	equal(is, true, what);
}

static bool is_lost(int err)
{
	return err == -EPIPE || err == -ECONNRESET;
}

/* The byte of which a page consists at the source. */
static int byte_of(int page)
{
	return page + 1;
}

/* A file whose pages the page cache has: userfaultfd sends no events for others. */
static int new_file(bool stale)
{
	int fd = memfd_create("postcopy", MFD_CLOEXEC), i;
	char page[PAGE];

	is_true(fd >= 0, "memfd");
	for (i = 0; i < PAGES; i++) {
		memset(page, stale ? STALE : byte_of(i), PAGE);
		equal(write(fd, page, PAGE), PAGE, "write");
	}
	return fd;
}

static void check_file(int fd)
{
	char got[PAGE], want[PAGE];
	int i;

	for (i = 0; i < PAGES; i++) {
		memset(want, byte_of(i), PAGE);
		equal(pread(fd, got, PAGE, i * PAGE), PAGE, "read");
		is_true(!memcmp(got, want, PAGE), "contents of a page");
	}
}

static void connect_both(int pair[2], bool tcp)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int door;

	if (!tcp) {
		equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0, "socketpair");
		return;
	}
	door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	is_true(!bind(door, (struct sockaddr *)&addr, len) && !listen(door, 1) &&
		!getsockname(door, (struct sockaddr *)&addr, &len) &&
		!connect(pair[1], (struct sockaddr *)&addr, len), "TCP");
	pair[0] = accept4(door, NULL, NULL, SOCK_CLOEXEC);
	close(door);
}

/* Until @call of a socket tells of @bytes. */
static void wait_for_bytes(int sock, unsigned long call, int bytes)
{
	int n = -1, i;

	for (i = 0; i < SECONDS * 1000 && n != bytes; i++) {
		usleep(1000);
		equal(ioctl(sock, call, &n), 0, "ioctl of the socket");
	}
	equal(n, bytes, "bytes in the socket");
}

static bool has_arrived(const uint8_t *arrived, int page)
{
	return postcopy_test(arrived, page);
}

/* --- the library is the source ------------------------------------------------ */

struct receiver {
	struct postcopy *pc;
	int sock, err;
	pthread_t thread;
};

static void *receive_thread(void *arg)
{
	struct receiver *r = arg;

	r->err = postcopy_receive(r->pc, r->sock);
	close(r->sock);
	return NULL;
}

static void start_receiver(struct receiver *r)
{
	equal(pthread_create(&r->thread, NULL, receive_thread, r), 0, "thread");
}

/* A receiver with all that is missing in @arrived, and a source of the library. */
static void pass(int from, int to, uint8_t *arrived, bool tcp, long missing)
{
	struct postcopy pc;
	struct receiver r = { .pc = &pc };
	int pair[2];

	equal(postcopy_open(&pc, to, arrived), 0, "postcopy_open");
	equal(pc.missing, missing, "pages that are missing");
	connect_both(pair, tcp);
	r.sock = pair[1];
	start_receiver(&r);
	equal(postcopy_send(from, pair[0], 0), 0, "postcopy_send to one that receives");
	pthread_join(r.thread, NULL);
	close(pair[0]);
	equal(r.err, 0, "postcopy_receive");
	equal(pc.received, missing, "pages that were received");
	equal(postcopy_finish(&pc), 0, "postcopy_finish");
	postcopy_close(&pc);
	check_file(to);
}

static void unread(bool tcp)
{
	int from = new_file(false), to = new_file(true), pair[2], status, err, i;
	uint8_t arrived[PAGES / 8] = {};
	char page[PAGE];
	pid_t pid;

	for (i = 0; i < PAGES - UNREAD; i++) {
		postcopy_set(arrived, i);
		memset(page, byte_of(i), PAGE);
		equal(pwrite(to, page, PAGE, i * PAGE), PAGE, "write");
	}
	connect_both(pair, tcp);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		equal(postcopy_greet(pair[1], PAGES * PAGE), 0, "greeting");
		equal(postcopy_write(pair[1], arrived, sizeof(arrived)), 0, "bitmap");
		wait_for_bytes(pair[1], SIOCINQ, sizeof(struct postcopy_run) + UNREAD * PAGE);
		raise(SIGKILL);
	}
	close(pair[1]);
	err = postcopy_send(from, pair[0], 0);
	close(pair[0]);
	equal(waitpid(pid, &status, 0), pid, "waitpid");
	is_true(WIFSIGNALED(status), "the receiver was killed");
	is_true(is_lost(err), "an error of postcopy_send to a receiver that was killed");
	/* The next one gets the rest, and one that has all already gets nothing. */
	pass(from, to, arrived, tcp, UNREAD);
	pass(from, to, arrived, tcp, 0);
}

static void early(void)
{
	uint64_t last = htole64(ALL_ARRIVED);
	uint8_t arrived[PAGES / 8] = {};
	int from = new_file(false), pair[2];
	pid_t pid;

	connect_both(pair, false);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		postcopy_greet(pair[1], PAGES * PAGE);
		postcopy_write(pair[1], arrived, sizeof(arrived));
		postcopy_write(pair[1], &last, sizeof(last));
		pause();
	}
	close(pair[1]);
	equal(postcopy_send(from, pair[0], RATE), -EPROTO, "postcopy_send");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- the library is the receiver ---------------------------------------------- */

/* A source of which the receiver has the greeting; what it has already is in @arrived. */
static void start_source(int sock, uint8_t *arrived)
{
	struct timeval limit = { .tv_sec = SECONDS };

	equal(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0, "time limit");
	equal(postcopy_greet(sock, PAGES * PAGE), 0, "greeting");
	equal(postcopy_read(sock, arrived, PAGES / 8), 0, "bitmap");
}

static void send_run(int sock, int page)
{
	struct postcopy_run run = { htole64(page), htole64(1) };

	equal(postcopy_write(sock, &run, sizeof(run)), 0, "run");
}

static void send_contents(int sock, int page)
{
	char contents[PAGE];

	memset(contents, byte_of(page), PAGE);
	equal(postcopy_write(sock, contents, PAGE), 0, "contents");
}

struct reader {
	pthread_t thread;
	volatile char *p;
	int byte;
};

static void *read_thread(void *arg)
{
	struct reader *r = arg;

	r->byte = *r->p;
	return NULL;
}

/* Until so many threads wait whose events were not read. */
static void wait_for_events(int uffd, int events)
{
	char path[64], line[128];
	int i, pending = 0;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", uffd);
	for (i = 0; i < SECONDS * 1000 && pending != events; i++) {
		usleep(1000);
		info = fopen(path, "r");
		is_true(info, path);
		while (fgets(line, sizeof(line), info))
			sscanf(line, "pending: %d", &pending);
		fclose(info);
	}
	equal(pending, events, "threads that wait");
}

static void asked(void)
{
	int to = new_file(true), first[2], second[2], i, page;
	uint8_t arrived[PAGES / 8] = {}, theirs[PAGES / 8];
	struct reader readers[THREADS];
	struct receiver r;
	struct postcopy pc;
	uint64_t word;

	equal(postcopy_open(&pc, to, arrived), 0, "postcopy_open");
	connect_both(first, false);
	r = (struct receiver) { .pc = &pc, .sock = first[1] };
	start_receiver(&r);
	start_source(first[0], theirs);
	/* It waits for the contents, and reads no event before it has them. */
	send_run(first[0], OTHER);
	wait_for_bytes(first[0], SIOCOUTQ, 0);
	for (i = 0; i < THREADS; i++) {
		readers[i].p = pc.guest + AT(i) * PAGE;
		equal(pthread_create(&readers[i].thread, NULL, read_thread, &readers[i]), 0,
		      "thread");
	}
	wait_for_events(pc.uffd, THREADS);
	/* What it asks for does not get anywhere. */
	equal(shutdown(first[0], SHUT_RD), 0, "shutdown");
	send_contents(first[0], OTHER);
	pthread_join(r.thread, NULL);
	is_true(is_lost(r.err), "an error of postcopy_receive from a source that is lost");
	is_true(has_arrived(arrived, OTHER), "the page has arrived");
	close(first[0]);

	/* Nothing comes before all of them are asked for. */
	connect_both(second, false);
	r = (struct receiver) { .pc = &pc, .sock = second[1] };
	start_receiver(&r);
	start_source(second[0], theirs);
	equal(memcmp(theirs, arrived, sizeof(theirs)), 0, "what the next source knows");
	for (i = 0; i < THREADS; i++) {
		if (postcopy_read(second[0], &word, sizeof(word)))
			break;
		page = le64toh(word);
		is_true(page < PAGES && page % 2 && !has_arrived(theirs, page),
			"a page that is waited for");
		postcopy_set(theirs, page);
	}
	equal(i, THREADS, "pages that the next source is asked for");
	for (i = 0; i < THREADS; i++) {
		send_run(second[0], AT(i));
		send_contents(second[0], AT(i));
		pthread_join(readers[i].thread, NULL);
		equal(readers[i].byte, byte_of(AT(i)), "what a thread has read");
	}
	for (page = 0; page < PAGES; page++) {
		if (!has_arrived(theirs, page)) {
			send_run(second[0], page);
			send_contents(second[0], page);
		}
	}
	equal(postcopy_read(second[0], &word, sizeof(word)), 0, "last word");
	is_true(le64toh(word) == ALL_ARRIVED, "the receiver has all");
	pthread_join(r.thread, NULL);
	equal(r.err, 0, "postcopy_receive");
	equal(pc.demanded, THREADS, "pages that were asked for");
	equal(postcopy_finish(&pc), 0, "postcopy_finish");
	postcopy_close(&pc);
	check_file(to);
}

/* Without memory, a page has not arrived; that is no hardware error. */
static void truncated(void)
{
	uint8_t arrived[PAGES / 8] = {}, theirs[PAGES / 8];
	int to = new_file(true), pair[2];
	struct postcopy pc;
	struct receiver r;

	equal(postcopy_open(&pc, to, arrived), 0, "postcopy_open");
	equal(ftruncate(to, (PAGES - 1) * PAGE), 0, "truncate");
	connect_both(pair, false);
	r = (struct receiver) { .pc = &pc, .sock = pair[1] };
	start_receiver(&r);
	start_source(pair[0], theirs);
	send_run(pair[0], PAGES - 1);
	send_contents(pair[0], PAGES - 1);
	equal(shutdown(pair[0], SHUT_WR), 0, "shutdown");
	pthread_join(r.thread, NULL);
	equal(r.err, -EFAULT, "postcopy_receive");
	equal(pc.missing, PAGES, "pages that are missing");
	is_true(!has_arrived(arrived, PAGES - 1), "the page has not arrived");
	postcopy_close(&pc);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (argc == 3 && !strcmp(name, "unread"))
		unread(!strcmp(argv[2], "tcp"));
	else if (!strcmp(name, "early"))
		early();
	else if (!strcmp(name, "asked"))
		asked();
	else if (!strcmp(name, "truncated"))
		truncated();
	else
		return 2;
	return 0;
}
