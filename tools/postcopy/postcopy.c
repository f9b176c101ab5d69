// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy of a file of guestmemfs over a stream socket.
 *
 * Numbers on the wire have 64 bits and are little-endian. Both sides send struct
 * postcopy_hello first, the receiver followed by its bitmap of pages that have come. Then
 * the receiver sends the numbers of pages that are waited for. The source sends these
 * first, and all others in turn: a struct postcopy_run each, followed by the contents. No
 * page is sent twice, as the guest may have written to it. The receiver ends the
 * connection when it has all.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "linux/userfaultfd.h"

#include "postcopy.h"

#define MAGIC		0x317970632d746d67ULL	/* "gmt-cpy1" */
#define BLOCK_PAGES	512UL
/* Of a run that no one waits for: a demand waits for the rest of it at most. */
#define RUN_PAGES	16UL
#define NSEC		1000000000ULL

struct postcopy_hello {
	uint64_t magic;
	uint64_t size;
};

struct postcopy_run {
	uint64_t first;
	uint64_t count;
};

static bool postcopy_test(const uint8_t *map, uint64_t page)
{
	return map[page / 8] & 1 << page % 8;
}

static void postcopy_set(uint8_t *map, uint64_t page)
{
	map[page / 8] |= 1 << page % 8;
}

/* All of @len bytes: 0, or -errno; -EPIPE at the end of the connection. */
static int postcopy_read(int sock, void *to, size_t len)
{
	while (len) {
		ssize_t n = recv(sock, to, len, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		to = (char *)to + n;
		len -= n;
	}
	return 0;
}

static int postcopy_write(int sock, const void *from, size_t len)
{
	while (len) {
		ssize_t n = send(sock, from, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from = (const char *)from + n;
		len -= n;
	}
	return 0;
}

/* Both sides have to know the same size. */
static int postcopy_greet(int sock, size_t size)
{
	struct postcopy_hello mine = { htole64(MAGIC), htole64(size) }, other;
	int err;

	err = postcopy_write(sock, &mine, sizeof(mine));
	if (!err)
		err = postcopy_read(sock, &other, sizeof(other));
	if (!err && (other.magic != mine.magic || other.size != mine.size))
		err = -EPROTO;
	return err;
}

/* Bytes of a file of whole pages, or -errno. */
static ssize_t postcopy_file_size(int file)
{
	struct stat st;

	if (fstat(file, &st))
		return -errno;
	if (!st.st_size || st.st_size % POSTCOPY_PAGE)
		return -EINVAL;
	return st.st_size;
}

/* --- receiver --------------------------------------------------------------- */

/**
 * postcopy_bitmap_size - size of the bitmap for postcopy_open()
 * @size: bytes of memory
 *
 * Return: bytes.
 */
size_t postcopy_bitmap_size(size_t size)
{
	return (size / POSTCOPY_PAGE + 7) / 8;
}

/* A system call for root, or the device for who may open it. Or -errno. */
static int postcopy_new_uffd(void)
{
	int flags = O_CLOEXEC | O_NONBLOCK, fd, dev;

	fd = syscall(SYS_userfaultfd, flags);
	if (fd >= 0 || errno != EPERM)
		return fd < 0 ? -errno : fd;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -errno;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, flags);
	if (fd < 0)
		fd = -errno;
	close(dev);
	return fd;
}

static int postcopy_register(struct postcopy *pc)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)pc->guest, pc->size },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};

	pc->uffd = postcopy_new_uffd();
	if (pc->uffd < 0)
		return pc->uffd;
	if (ioctl(pc->uffd, UFFDIO_API, &api) || ioctl(pc->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	/* The mount option "prefault" has mapped it before. */
	return madvise(pc->guest, pc->size, MADV_DONTNEED) && errno != EINVAL ? -errno : 0;
}

static int postcopy_wake(struct postcopy *pc, uint64_t page)
{
	struct uffdio_range range = {
		(uintptr_t)pc->guest + page * POSTCOPY_PAGE, POSTCOPY_PAGE,
	};

	return ioctl(pc->uffd, UFFDIO_WAKE, &range) ? -errno : 0;
}

/* Map pages that have come, unless they are mapped, and wake who waits for them. */
static int postcopy_map(struct postcopy *pc, uint64_t page, uint64_t count)
{
	uint64_t end = page + count;
	int err = 0;

	while (page < end && !err) {
		struct uffdio_continue arg = {
			.range = {
				(uintptr_t)pc->guest + page * POSTCOPY_PAGE,
				(end - page) * POSTCOPY_PAGE,
			},
		};

		if (!ioctl(pc->uffd, UFFDIO_CONTINUE, &arg))
			break;
		if (errno == EAGAIN && arg.mapped > 0) {
			page += arg.mapped / POSTCOPY_PAGE;
		} else if (errno == EEXIST || errno == EIO) {
			/* With a hardware error, the access gets SIGBUS. */
			err = postcopy_wake(pc, page++);
		} else if (errno != EAGAIN) {
			err = -errno;
		}
	}
	return err;
}

/* Map what had come before this program, and count the rest. */
static int postcopy_map_arrived(struct postcopy *pc)
{
	uint64_t pages = pc->size / POSTCOPY_PAGE, page, first = 0;
	int err = 0;

	for (page = 0; page < pages && !err; page++) {
		if (!postcopy_test(pc->arrived, page)) {
			if (first < page)
				err = postcopy_map(pc, first, page - first);
			first = page + 1;
			pc->missing++;
		}
	}
	return err || first == pages ? err : postcopy_map(pc, first, pages - first);
}

/**
 * postcopy_open - map a file whose contents are to come
 * @pc: filled; its @guest is for the guest from now on
 * @file: open for reading and writing, with the size of the source's
 * @arrived: postcopy_bitmap_size() bytes, of zeroes for a new post-copy; it is used until
 *	postcopy_close()
 *
 * Holes of the file are filled as contents come.
 *
 * Return: 0, or -errno; -EINVAL if the kernel cannot do that for the file.
 */
int postcopy_open(struct postcopy *pc, int file, void *arrived)
{
	int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_NORESERVE, err;
	ssize_t size = postcopy_file_size(file);

	if (size < 0)
		return size;
	*pc = (struct postcopy) { .size = size, .file = file, .uffd = -1, .arrived = arrived };
	pc->asked = calloc(1, postcopy_bitmap_size(size));
	if (!pc->asked)
		return -ENOMEM;
	pc->guest = mmap(NULL, size, prot, flags, file, 0);
	pc->alias = mmap(NULL, size, prot, flags, file, 0);
	if (pc->guest == MAP_FAILED || pc->alias == MAP_FAILED)
		err = -errno;
	else
		err = postcopy_register(pc);
	if (!err)
		err = postcopy_map_arrived(pc);
	if (err)
		postcopy_close(pc);
	return err;
}

/* Answer accesses that wait: map what has come, ask for the rest. */
static int postcopy_demand(struct postcopy *pc, int sock)
{
	struct uffd_msg msgs[16];
	uint64_t page, wire;
	ssize_t n, i;
	int err = 0;

	n = read(pc->uffd, msgs, sizeof(msgs));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (i = 0; i < n / (ssize_t)sizeof(msgs[0]) && !err; i++) {
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
			return -EPROTO;
		page = (msgs[i].arg.pagefault.address - (uintptr_t)pc->guest) / POSTCOPY_PAGE;
		if (postcopy_test(pc->arrived, page)) {
			err = postcopy_map(pc, page, 1);
		} else if (!postcopy_test(pc->asked, page)) {
			postcopy_set(pc->asked, page);
			pc->demanded++;
			wire = htole64(page);
			err = postcopy_write(sock, &wire, sizeof(wire));
		}
	}
	return err;
}

static bool postcopy_has_block(const struct postcopy *pc, uint64_t first, uint64_t count)
{
	uint64_t i;

	for (i = first; i < first + count; i++)
		if (!postcopy_test(pc->arrived, i))
			return false;
	return true;
}

/*
 * A run of pages has come: map those that are waited for, and a block as a whole, which
 * takes one entry if none of its pages is mapped.
 */
static int postcopy_arrive(struct postcopy *pc, uint64_t first, uint64_t count)
{
	uint64_t block = first / BLOCK_PAGES * BLOCK_PAGES, i;
	uint64_t pages = pc->size / POSTCOPY_PAGE - block;
	int err = 0;

	if (pages > BLOCK_PAGES)
		pages = BLOCK_PAGES;
	/* The guest can write to a page only after that. */
	for (i = first; i < first + count; i++)
		postcopy_set(pc->arrived, i);
	pc->received += count;
	pc->missing -= count;
	if (postcopy_has_block(pc, block, pages))
		return postcopy_map(pc, block, pages);
	for (i = first; i < first + count && !err; i++)
		if (postcopy_test(pc->asked, i))
			err = postcopy_map(pc, i, 1);
	return err;
}

static int postcopy_read_run(struct postcopy *pc, int sock)
{
	uint64_t pages = pc->size / POSTCOPY_PAGE, i;
	struct postcopy_run run;
	int err;

	err = postcopy_read(sock, &run, sizeof(run));
	if (err)
		return err;
	run.first = le64toh(run.first);
	run.count = le64toh(run.count);
	if (run.first >= pages || !run.count || run.count > pages - run.first ||
	    run.first / BLOCK_PAGES != (run.first + run.count - 1) / BLOCK_PAGES)
		return -EPROTO;
	for (i = run.first; i < run.first + run.count; i++)
		if (postcopy_test(pc->arrived, i))
			return -EPROTO;
	err = postcopy_read(sock, pc->alias + run.first * POSTCOPY_PAGE,
			    run.count * POSTCOPY_PAGE);
	return err ? err : postcopy_arrive(pc, run.first, run.count);
}

/**
 * postcopy_receive - receive all that has not come
 * @pc: from postcopy_open(); its guest runs in other threads
 * @sock: connected to a process in postcopy_send()
 *
 * After an error of the connection, accesses go on waiting, and a call with another socket
 * goes on where this one has ended.
 *
 * Return: 0 if all has come, or -errno; -EPIPE if the source has ended the connection;
 * -EPROTO if it sends what makes no sense, or if its file has another size.
 */
int postcopy_receive(struct postcopy *pc, int sock)
{
	struct pollfd fds[] = {
		{ .fd = pc->uffd, .events = POLLIN }, { .fd = sock, .events = POLLIN },
	};
	uint64_t pages = pc->size / POSTCOPY_PAGE, page, wire;
	int err;

	err = postcopy_greet(sock, pc->size);
	if (!err)
		err = postcopy_write(sock, pc->arrived, postcopy_bitmap_size(pc->size));
	/* What the last source was asked for and has not sent. */
	for (page = 0; page < pages && !err; page++) {
		if (postcopy_test(pc->asked, page) && !postcopy_test(pc->arrived, page)) {
			wire = htole64(page);
			err = postcopy_write(sock, &wire, sizeof(wire));
		}
	}
	while (!err && pc->missing) {
		if (poll(fds, 2, -1) < 0) {
			err = errno == EINTR ? 0 : -errno;
			continue;
		}
		if (fds[0].revents)
			err = postcopy_demand(pc, sock);
		if (!err && fds[1].revents)
			err = postcopy_read_run(pc, sock);
	}
	return err;
}

/**
 * postcopy_finish - let the guest use the memory without userfaultfd
 * @pc: a memory of which nothing is missing
 *
 * The mapping is made again at its address, which gives it mappings of 1 GiB.
 *
 * Return: 0; -EBUSY if a page is missing; another -errno.
 */
int postcopy_finish(struct postcopy *pc)
{
	struct uffdio_range range = { (uintptr_t)pc->guest, pc->size };

	if (pc->missing)
		return -EBUSY;
	if (ioctl(pc->uffd, UFFDIO_UNREGISTER, &range))
		return -errno;
	if (mmap(pc->guest, pc->size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, pc->file, 0) == MAP_FAILED)
		return -errno;
	return 0;
}

/**
 * postcopy_close - unmap a memory
 * @pc: from postcopy_open(); its guest has ended
 */
void postcopy_close(struct postcopy *pc)
{
	if (pc->guest && pc->guest != MAP_FAILED)
		munmap(pc->guest, pc->size);
	if (pc->alias && pc->alias != MAP_FAILED)
		munmap(pc->alias, pc->size);
	if (pc->uffd >= 0)
		close(pc->uffd);
	free(pc->asked);
	*pc = (struct postcopy) { .uffd = -1 };
}

/* --- source ----------------------------------------------------------------- */

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

/* Until the receiver ends the connection. */
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
			if (!err)
				err = page < s->pages ? postcopy_push(s, page, 1) : -EPROTO;
		} else if (s->missing && !postcopy_wait(s)) {
			err = postcopy_push_next(s);
		}
	}
	return (err == -EPIPE || err == -ECONNRESET) && !s->missing ? 0 : err;
}

/**
 * postcopy_send - send a file to a process in postcopy_receive()
 * @file: open for reading; its contents do not change any more
 * @sock: connected to that process
 * @rate: bytes per second of what is not asked for, or 0 for all that the wire can take
 *
 * Return: 0 if the receiver has got all; or -errno, -EPIPE if it has ended the connection
 * before.
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
