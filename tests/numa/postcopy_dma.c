// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy whose memory comes by DMA: a device writes pages into a file behind the IOMMU,
 * while accesses of virtual processors to another mapping of the file wait for them.
 *
 *	postcopy_dma FROM TO PAGES DEVICE GROUP CDEV [DEVICE GROUP CDEV]...
 *
 * FROM and TO are files of guestmemfs of the same size, whole blocks. There are as many virtual
 * processors as devices, QEMU's edu. They access PAGES random pages of TO, each once; each
 * fourth access is a store. Whichever device is idle copies the page from FROM to TO, and no
 * processor does. Prints
 *
 *	postcopy_dma: devices=N pages=N events=N wrong=N
 *
 * where wrong is the number of pages of TO that are not as they have to be: those that were
 * accessed as in FROM, but for the byte that was stored, and all others as before.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device.h"
#include "flat.h"
#include "linux/userfaultfd.h"
#include "tables.h"

#define IOVA_FROM	0x40000000UL
#define IOVA_TO		0x80000000UL
#define MAX_DEVICES	8
#define STALE		0xee
#define STORED		0x5a

struct worker {
	struct device device;
	struct machine machine;
	pthread_t server, cpu;
	size_t first, end;	/* of order[], which the processor accesses */
	unsigned long events;
};

static struct worker workers[MAX_DEVICES];
static size_t nr, size, pages;
static char *from, *guest, *alias;
static size_t *order;
static int uffd;
static volatile bool ended;

static uint8_t byte_of(size_t at)
{
	return (at / PAGE * 31 + at % PAGE * 7 + at % PAGE / 256) % 199;
}

/* The byte of a page that is accessed. */
static size_t place_of(size_t page)
{
	return page * PAGE + page * 97 % PAGE;
}

static bool is_store(size_t i)
{
	return i % 4 == 3;
}

static char *map_file(const char *path, int *fd)
{
	struct stat st;
	char *p;

	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st))
		die("%s", path);
	errno = 0;
	if (!st.st_size || st.st_size % BLOCK || (size && (size_t)st.st_size != size))
		die("%s: its size is %lld", path, (long long)st.st_size);
	size = st.st_size;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (p == MAP_FAILED)
		die("mmap of %s", path);
	return p;
}

/* Of all pages, in an order that is the same each time; the first of them are accessed. */
static void shuffle(void)
{
	size_t count = size / PAGE, i, j, page;

	order = calloc(count, sizeof(*order));
	srand(1);
	for (i = 0; i < count; i++)
		order[i] = i;
	for (i = count - 1; i; i--) {
		j = rand() % (i + 1);
		page = order[i];
		order[i] = order[j];
		order[j] = page;
	}
}

/* Both files are pinned whole: one by its mapping, and in turn by that or by its descriptor. */
static void give_memory(struct worker *w, int from_fd, int to_fd, bool by_file)
{
	device_open(&w->device, by_file ? IOAS_MAP_FILE : IOAS_MAP);
	errno = device_map(&w->device, from_fd, 0, from, IOVA_FROM, size);
	if (errno)
		die("map of the source");
	errno = device_map(&w->device, to_fd, 0, alias, IOVA_TO, size);
	if (errno)
		die("map of the destination");
}

static void start_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)guest, size }, .mode = UFFDIO_REGISTER_MODE_MINOR,
	};

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("userfaultfd");
}

static void answer(struct worker *w, uint64_t address)
{
	size_t at = address - (uintptr_t)guest;
	struct uffdio_continue arg = { .range = { address, PAGE } };

	device_copy_page(&w->device, IOVA_FROM + at, IOVA_TO + at);
	if (ioctl(uffd, UFFDIO_CONTINUE, &arg))
		die("UFFDIO_CONTINUE");
	w->events++;
}

static void *serve(void *arg)
{
	struct pollfd wait = { .fd = uffd, .events = POLLIN };
	struct worker *w = arg;
	struct uffd_msg msg;
	ssize_t len;

	while (!ended) {
		poll(&wait, 1, 100);
		len = read(uffd, &msg, sizeof(msg));
		if (len < 0 && errno == EAGAIN)
			continue;
		if (len != sizeof(msg) || msg.event != UFFD_EVENT_PAGEFAULT ||
		    !(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR))
			die("an event of userfaultfd");
		answer(w, msg.arg.pagefault.address & ~(PAGE - 1));
	}
	return NULL;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	size_t i, at;

	for (i = w->first; i < w->end; i++) {
		at = place_of(order[i]);
		w->machine.byte = STORED;
		errno = -machine_run(&w->machine, is_store(i) ? WRITE : READ, guest + at);
		if (errno)
			die("KVM_RUN");
		if (!is_store(i) && w->machine.byte != byte_of(at))
			die("page %zu: the guest has read %#x, not %#x", order[i], w->machine.byte,
			    byte_of(at));
	}
	return NULL;
}

/* The whole page @page, which was accessed as number @i of the order, or was not. */
static bool is_right(size_t page, size_t i)
{
	size_t start = page * PAGE, at;
	uint8_t byte;

	for (at = start; at < start + PAGE; at++) {
		byte = i >= pages ? STALE : byte_of(at);
		if (i < pages && is_store(i) && at == place_of(page))
			byte = STORED;
		if ((uint8_t)alias[at] != byte)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	unsigned long events = 0, wrong = 0;
	int from_fd, to_fd;
	size_t i;

	if (argc < 7 || argc % 3 != 1 || argc / 3 - 1 > MAX_DEVICES)
		return 2;
	nr = argc / 3 - 1;
	pages = atol(argv[3]);
	from = map_file(argv[1], &from_fd);
	alias = map_file(argv[2], &to_fd);
	if (!pages || pages > size / PAGE)
		return 2;
	for (i = 0; i < size; i++)
		from[i] = byte_of(i);
	memset(alias, STALE, size);
	shuffle();
	for (i = 0; i < nr; i++) {
		device_choose(argv[4 + 3 * i], argv[5 + 3 * i], argv[6 + 3 * i]);
		give_memory(&workers[i], from_fd, to_fd, i % 2);
	}
	guest = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, to_fd, 0);
	if (guest == MAP_FAILED)
		die("mmap");
	start_uffd();
	for (i = 0; i < nr; i++) {
		workers[i].first = pages * i / nr;
		workers[i].end = pages * (i + 1) / nr;
		if (machine_start(&workers[i].machine, guest, size))
			die("KVM");
		if (pthread_create(&workers[i].server, NULL, serve, &workers[i]) ||
		    pthread_create(&workers[i].cpu, NULL, run, &workers[i]))
			die("pthread_create");
	}
	for (i = 0; i < nr; i++)
		pthread_join(workers[i].cpu, NULL);
	ended = true;
	for (i = 0; i < nr; i++) {
		pthread_join(workers[i].server, NULL);
		events += workers[i].events;
		errno = 0;
		if (!workers[i].events)
			die("device %zu has copied nothing", i);
	}
	for (i = 0; i < size / PAGE; i++)
		wrong += !is_right(order[i], i);
	/* What did not come is not mapped. */
	errno = 0;
	if (tables(guest, size).pte != (long)(pages * PAGE))
		die("%ld bytes are mapped", tables(guest, size).pte);
	for (i = 0; i < nr; i++)
		device_close(&workers[i].device);
	printf("postcopy_dma: devices=%zu pages=%zu events=%lu wrong=%lu\n", nr, pages, events,
	       wrong);
	return wrong != 0;
}
