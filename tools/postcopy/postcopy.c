// SPDX-License-Identifier: GPL-2.0
/* Post-copy of a file of guestmemfs over a stream socket: the receiver. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/userfaultfd.h"

#include "postcopy.h"
#include "wire.h"

/* Of userfaultfd, that are read at once. */
#define EVENTS	16

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

static int postcopy_wake(struct postcopy *pc, uint64_t page, uint64_t count)
{
	struct uffdio_range range = {
		(uintptr_t)pc->guest + page * POSTCOPY_PAGE, count * POSTCOPY_PAGE,
	};

	return ioctl(pc->uffd, UFFDIO_WAKE, &range) ? -errno : 0;
}

/*
 * Map pages that have come, unless they are mapped, and wake who waits for them; after an
 * error too, as an access that is repeated sends its event again.
 */
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
			err = postcopy_wake(pc, page++, 1);
		} else if (errno != EAGAIN) {
			err = -errno;
			postcopy_wake(pc, page, end - page);
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

/*
 * Answer accesses that wait: map what has come, ask for the rest. An event is sent once: all
 * that were read are noted before anything can fail, for the next source.
 */
static int postcopy_demand(struct postcopy *pc, int sock)
{
	uint64_t page, wire[EVENTS];
	struct uffd_msg msgs[EVENTS];
	size_t count = 0, i;
	int err = 0, ret;
	ssize_t n;

	n = read(pc->uffd, msgs, sizeof(msgs));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (i = 0; i < n / sizeof(msgs[0]); i++) {
		ret = 0;
		page = (msgs[i].arg.pagefault.address - (uintptr_t)pc->guest) / POSTCOPY_PAGE;
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT) {
			ret = -EPROTO;
		} else if (postcopy_test(pc->arrived, page)) {
			ret = postcopy_map(pc, page, 1);
		} else if (!postcopy_test(pc->asked, page)) {
			postcopy_set(pc->asked, page);
			pc->demanded++;
			wire[count++] = htole64(page);
		}
		if (!err)
			err = ret;
	}
	return err ? err : postcopy_write(sock, wire, count * sizeof(wire[0]));
}

/* What the last source was asked for and has not sent. */
static int postcopy_demand_again(struct postcopy *pc, int sock)
{
	uint64_t pages = pc->size / POSTCOPY_PAGE, page, wire;
	int err = 0;

	for (page = 0; page < pages && !err; page++) {
		if (postcopy_test(pc->asked, page) && !postcopy_test(pc->arrived, page)) {
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
	int err = 0, ret;

	if (pages > BLOCK_PAGES)
		pages = BLOCK_PAGES;
	/* The guest can write to a page only after that. */
	for (i = first; i < first + count; i++)
		postcopy_set(pc->arrived, i);
	pc->received += count;
	pc->missing -= count;
	if (postcopy_has_block(pc, block, pages))
		return postcopy_map(pc, block, pages);
	for (i = first; i < first + count; i++) {
		ret = postcopy_test(pc->asked, i) ? postcopy_map(pc, i, 1) : 0;
		if (!err)
			err = ret;
	}
	return err;
}

/* Why the contents of a page of @alias cannot be written. */
static bool postcopy_has_failed(struct postcopy *pc, uint64_t page)
{
	return madvise(pc->alias + page * POSTCOPY_PAGE, POSTCOPY_PAGE, MADV_POPULATE_WRITE) &&
	       errno == EHWPOISON;
}

/* Contents; those of a page with a hardware error are lost, as if it had failed later. */
static int postcopy_read_pages(struct postcopy *pc, int sock, uint64_t first, uint64_t count)
{
	size_t at = first * POSTCOPY_PAGE, end = at + count * POSTCOPY_PAGE, left;
	char lost[POSTCOPY_PAGE];
	bool single = false;
	ssize_t n;

	while (at < end) {
		left = POSTCOPY_PAGE - at % POSTCOPY_PAGE;
		n = postcopy_recv(sock, pc->alias + at, single ? left : end - at);
		if (n == -EFAULT && !single) {
			/* The socket still has it. Find the page. */
			single = true;
			continue;
		}
		if (n == -EFAULT && postcopy_has_failed(pc, at / POSTCOPY_PAGE))
			n = postcopy_recv(sock, lost, left);
		if (n < 0)
			return n;
		at += n;
	}
	return 0;
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
	err = postcopy_read_pages(pc, sock, run.first, run.count);
	return err ? err : postcopy_arrive(pc, run.first, run.count);
}

/**
 * postcopy_receive - receive all that has not come
 * @pc: from postcopy_open(); its guest runs in other threads
 * @sock: connected to a process in postcopy_send()
 *
 * After an error of the connection, accesses go on waiting, and a call with another socket
 * goes on where this one has ended. With an error and @missing 0, the guest can go on, but
 * the source may not know that all has come: another call tells it. The same goes for a
 * memory of which nothing is missing after postcopy_open().
 *
 * Return: 0 if all has come, which the source is told; or -errno; -EPIPE or -ECONNRESET if
 * the source has ended the connection; -EPROTO if it sends what makes no sense, or if its
 * file has another size; -EFAULT if the file has no memory for what has come.
 */
int postcopy_receive(struct postcopy *pc, int sock)
{
	struct pollfd fds[] = {
		{ .fd = pc->uffd, .events = POLLIN }, { .fd = sock, .events = POLLIN },
	};
	const uint64_t last = htole64(ALL_ARRIVED);
	int err;

	err = postcopy_greet(sock, pc->size);
	if (!err)
		err = postcopy_write(sock, pc->arrived, postcopy_bitmap_size(pc->size));
	if (!err)
		err = postcopy_demand_again(pc, sock);
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
	/* All is in the file and in the bitmap: the source's can be removed from here on. */
	return err ? err : postcopy_write(sock, &last, sizeof(last));
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
