// SPDX-License-Identifier: GPL-2.0
/*
 * What KVM's second stage of page tables is made of, once a guest has touched all of its
 * memory, which its VMM had touched before.
 *
 * usage: secondstage DIR SIZE PEER...	as for launch; SIZE is up to 2 GiB
 *
 * The guest's memory is at 1 GiB, where leaves of all sizes can be.
 */
#include <sys/ioctl.h>

#include "bench.h"
#include "peers.h"
#include "vcpu.h"

#define STATISTICS	"/sys/kernel/debug/kvm/"

static void measure(const struct peer *peer, size_t size)
{
	static const char *const leaves[] = { "pages_4k", "pages_2m", "pages_1g" };
	int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	char path[64], *p, *page;
	int fd, level, levels = 0;
	uint64_t time;
	size_t i;
	long nr;

	fd = peer_create(peer, size, vm);
	p = peer_map(peer, fd, size, 0);
	for (i = 0; i < size; i += peer->leaf)
		p[i] = 1;
	page = add_code(vm);
	add_memory(vm, 1, GIB, p, size, peer_is_guest_memfd(peer) ? fd : -1);
	time = run(kvm, make_cpu(vm), GIB, size);

	for (level = 0; level < 3; level++) {
		snprintf(path, sizeof(path), STATISTICS "%s", leaves[level]);
		nr = number_in(path, "");
		if (nr < 0)
			errx(2, "%s cannot be read", path);
		/* The page with the code is one of 4 KiB. */
		if (!level)
			nr--;
		print_one(peer->name, size, leaves[level], "count", nr);
		if (nr && !levels)
			levels = 4 - level;
	}
	/* Each of the guest's own four levels, and what they lead to, is walked to. */
	print_one(peer->name, size, "levels", "count", levels);
	print_one(peer->name, size, "memory reads of a walk", "count", 5 * (levels + 1) - 1);
	print_one(peer->name, size, "second stage", "time", time);

	close(vm);
	close(kvm);
	munmap(p, size);
	munmap(page, PAGE);
	peer_drop(peer, fd);
}

int main(int argc, char **argv)
{
	size_t size;
	int i;

	if (argc < 4)
		errx(2, "usage: secondstage DIR SIZE PEER...");
	if (strcmp(argv[1], "-") && chdir(argv[1]))
		err(2, "%s", argv[1]);
	size = parse_size(argv[2]);
	if (size > 2 * GIB)
		errx(2, "%s is more than the 2G that the guest can address", argv[2]);
	for (i = 3; i < argc; i++)
		measure(peer_find(argv[i]), size);
	return 0;
}
