// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy: how long a guest waits for memory that it needs, by the unit that the kind of
 * memory can map at least.
 *
 * usage: demand DIR SIZE RUNS PEER...	as for launch
 *
 * A thread takes the memory of a unit from an emulated wire, and answers UFFDIO_CONTINUE.
 */
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <linux/userfaultfd.h>

#include "bench.h"
#include "peers.h"

/* What comes at once. */
#define CHUNK	(64UL << 10)

static const unsigned int wires[] = { 10, 25 };		/* Gbit/s */

struct receiver {
	int uffd;
	char *guest, *alias;
	size_t unit;
	unsigned int wire;
	char chunk[CHUNK];
};

static void wait_until(uint64_t then)
{
	while (now() < then)
		;
}

static void receive(struct receiver *r, size_t at)
{
	uint64_t start = now();
	size_t done, n;

	for (done = 0; done < r->unit; done += n) {
		n = r->unit - done < CHUNK ? r->unit - done : CHUNK;
		memcpy(r->alias + at + done, r->chunk, n);
		wait_until(start + (done + n) * 8 / r->wire);
	}
}

static void *receive_thread(void *arg)
{
	struct receiver *r = arg;
	struct uffd_msg msg;

	while (read(r->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		uint64_t at = (msg.arg.pagefault.address - (uintptr_t)r->guest) & ~(r->unit - 1);
		struct uffdio_continue arg = { .range = { (uintptr_t)r->guest + at, r->unit } };

		receive(r, at);
		if (ioctl(r->uffd, UFFDIO_CONTINUE, &arg))
			err(2, "UFFDIO_CONTINUE");
	}
	err(2, "userfaultfd");
}

static void start(struct receiver *r, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)r->guest, size }, .mode = UFFDIO_REGISTER_MODE_MINOR,
	};
	pthread_t thread;

	r->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (r->uffd < 0 || ioctl(r->uffd, UFFDIO_API, &api) ||
	    ioctl(r->uffd, UFFDIO_REGISTER, &reg))
		err(2, "userfaultfd");
	if (pthread_create(&thread, NULL, receive_thread, r))
		errx(2, "no thread");
}

static void measure(struct receiver *r, const char *name, size_t size, size_t unit, int runs)
{
	struct series latency[ARRAY_SIZE(wires)];
	char what[ARRAY_SIZE(wires)][32];
	uint64_t begin;
	size_t i;

	r->unit = unit;
	for (i = 0; i < ARRAY_SIZE(wires); i++) {
		int run;

		snprintf(what[i], sizeof(what[i]), "demand at %u Gbit/s", wires[i]);
		latency[i] = (struct series) { what[i], "time" };
		r->wire = wires[i];
		for (run = 0; run < runs; run++) {
			/* Not the first access to this table. */
			char *p = r->guest + (unit < BLOCK ? BLOCK : 0);

			begin = now();
			*(volatile char *)p = 1;
			add(&latency[i], now() - begin);
			if (madvise(p, unit, MADV_DONTNEED))
				err(2, "%s: madvise", name);
		}
		print_series(name, size, &latency[i]);
	}
}

/* The receiver of one is left behind, and its thread: nothing comes for it any more. */
static void measure_peer(const struct peer *peer, size_t size, int runs)
{
	struct receiver *r = calloc(1, sizeof(*r));
	char name[64];
	int fd;

	if (!r)
		err(2, "calloc");
	if (peer->source == GUESTMEMFS)
		wait_clean();
	fd = peer_create(peer, size, -1);
	r->guest = peer_map(peer, fd, size, 0);
	r->alias = peer_map(peer, fd, size, 0);
	/* The memory is there, as it is in files of guestmemfs. */
	for (size_t i = 0; i < size; i += BLOCK)
		r->alias[i] = 1;
	start(r, size);
	if (peer->source != GUESTMEMFS) {
		measure(r, peer->name, size, peer->leaf, runs);
	} else {
		measure(r, peer->name, size, PAGE, runs);
		snprintf(name, sizeof(name), "%s-by-2m", peer->name);
		measure(r, name, size, BLOCK, runs);
		snprintf(name, sizeof(name), "%s-by-1g", peer->name);
		measure(r, name, size, GIB, runs);
	}
	munmap(r->guest, size);
	munmap(r->alias, size);
	peer_drop(peer, fd);
}

int main(int argc, char **argv)
{
	size_t size;
	int i;

	if (argc < 5)
		errx(2, "usage: demand DIR SIZE RUNS PEER...");
	if (strcmp(argv[1], "-") && chdir(argv[1]))
		err(2, "%s", argv[1]);
	size = parse_size(argv[2]);
	for (i = 4; i < argc; i++)
		measure_peer(peer_find(argv[i]), size, atoi(argv[3]));
	return 0;
}
