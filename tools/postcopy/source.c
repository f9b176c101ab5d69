// SPDX-License-Identifier: GPL-2.0
/* Post-copy of a file of guestmemfs over a stream socket: the source. */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "postcopy.h"
#include "wire.h"

/* Of a run that no one waits for: a demand waits for the rest of it at most. */
#define RUN_PAGES	16UL
#define NSEC		1000000000ULL

struct postcopy_source {
	int sock;
	const char *memory;
	uint64_t pages;
	uint8_t *sent;		/* a bit for each page */
	uint64_t missing;	/* pages that were not sent */
	uint64_t next;		/* the first to try, when none is asked for */
	uint64_t rate;
	uint64_t due;		/* when that may be sent */
};

static uint64_t postcopy_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC + now.tv_nsec;
}

/* Send pages from @first on: at most @max of a block that were not sent. */
static int postcopy_push(struct postcopy_source *s, uint64_t first, uint64_t max)
{
	struct postcopy_run run;
	uint64_t count = 0;
	int err;

	while (count < max && first + count < s->pages && !postcopy_test(s->sent, first + count) &&
	       (first + count) / BLOCK_PAGES == first / BLOCK_PAGES)
		postcopy_set(s->sent, first + count++);
	if (!count)
		return 0;
	s->missing -= count;
	/* What is near is likely to be asked for next. */
	s->next = first + count;
	run = (struct postcopy_run) { htole64(first), htole64(count) };
	err = postcopy_write(s->sock, &run, sizeof(run));
	if (!err)
		err = postcopy_write(s->sock, s->memory + first * POSTCOPY_PAGE,
				     count * POSTCOPY_PAGE);
	return err;
}

static int postcopy_push_next(struct postcopy_source *s)
{
	uint64_t missing = s->missing, now = postcopy_now();
	int err;

	while (s->next >= s->pages || postcopy_test(s->sent, s->next))
		s->next = s->next >= s->pages ? 0 : s->next + 1;
	err = postcopy_push(s, s->next, RUN_PAGES);
	if (s->rate) {
		/* Time without anything to send is not credited. */
		if (s->due < now)
			s->due = now;
		s->due += (missing - s->missing) * POSTCOPY_PAGE * NSEC / s->rate;
	}
	return err;
}

/* Milliseconds until postcopy_push_next(), at least; -1 if there is nothing left. */
static int postcopy_wait(const struct postcopy_source *s)
{
	uint64_t now = postcopy_now(), ms;

	if (!s->missing)
		return -1;
	if (s->due <= now)
		return 0;
	ms = (s->due - now + 999999) / 1000000;
	return ms < INT_MAX ? ms : INT_MAX;
}

/* Until the receiver says that it has all. */
static int postcopy_serve(struct postcopy_source *s)
{
	struct pollfd wait = { .fd = s->sock, .events = POLLIN };
	uint64_t page;
	int err = 0, n;

	while (!err) {
		n = poll(&wait, 1, postcopy_wait(s));
		if (n < 0) {
			err = errno == EINTR ? 0 : -errno;
		} else if (n) {
			err = postcopy_read(s->sock, &page, sizeof(page));
			page = le64toh(page);
			if (!err && page == ALL_ARRIVED)
				return s->missing ? -EPROTO : 0;
			if (!err)
				err = page < s->pages ? postcopy_push(s, page, 1) : -EPROTO;
		} else if (s->missing && !postcopy_wait(s)) {
			err = postcopy_push_next(s);
		}
	}
	return err;
}

/**
 * postcopy_send - send a file to a process in postcopy_receive()
 * @file: open for reading; its contents do not change any more
 * @sock: connected to that process
 * @rate: bytes per second of what is not asked for, or 0 for all that the wire can take
 *
 * Return: 0 if the receiver has said that all is in its file, so that this one can be
 * removed; or -errno. After any error, keep the file: the receiver may need it. -EPIPE or
 * -ECONNRESET if it has ended the connection before, -EPROTO if it sends what makes no sense,
 * -EFAULT if a page of the file has a hardware error.
 */
int postcopy_send(int file, int sock, uint64_t rate)
{
	struct postcopy_source s = { .sock = sock, .rate = rate };
	ssize_t size = postcopy_file_size(file);
	char *memory;
	uint64_t i;
	int err;

	if (size < 0)
		return size;
	memory = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED)
		return -errno;
	s.memory = memory;
	s.pages = size / POSTCOPY_PAGE;
	s.sent = malloc(postcopy_bitmap_size(size));
	err = s.sent ? postcopy_greet(sock, size) : -ENOMEM;
	if (!err)
		err = postcopy_read(sock, s.sent, postcopy_bitmap_size(size));
	for (i = 0; i < s.pages && !err; i++)
		s.missing += !postcopy_test(s.sent, i);
	if (!err)
		err = postcopy_serve(&s);
	free(s.sent);
	munmap(memory, size);
	return err;
}
