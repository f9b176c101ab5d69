// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <sys/ioctl.h>

#include <linux/kvm.h>
#include <linux/memfd.h>

#include "bench.h"
#include "peers.h"

static const struct peer peers[] = {
	{ "guestmemfs", GUESTMEMFS, 0, GIB, 0, 0, 0 },
	{ "guestmemfs-2m", GUESTMEMFS, 0, BLOCK, BLOCK, 0, 0 },
	{ "guestmemfs-dirty", GUESTMEMFS, 0, GIB, 0, 0, 1 },
	{ "hugetlbfs-1g", MEMFD, MFD_HUGETLB | MFD_HUGE_1GB, GIB, 0, 0, 0 },
	{ "hugetlbfs-2m", MEMFD, MFD_HUGETLB | MFD_HUGE_2MB, BLOCK, 0, 0, 0 },
	{ "memfd-huge", MEMFD, 0, BLOCK, 0, MADV_HUGEPAGE, 0 },
	{ "memfd-4k", MEMFD, 0, PAGE, 0, 0, 0 },
	{ "tmpfs-huge", TMPFS, 0, BLOCK, 0, 0, 0 },
	{ "guest_memfd", GUEST_MEMFD, 0, PAGE, 0, 0, 0 },
	{ "guestmemfs-guest_memfd", GUEST_MEMFD_FILE, 0, GIB, 0, 0, 0 },
};

const struct peer *peer_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(peers); i++)
		if (!strcmp(peers[i].name, name))
			return &peers[i];
	errx(2, "no peer '%s'", name);
}

int peer_is_guest_memfd(const struct peer *peer)
{
	return peer->source == GUEST_MEMFD || peer->source == GUEST_MEMFD_FILE;
}

/* With all that the kind of @vm allows, and with @file as its memory unless that is -1. */
static int make_guest_memfd(size_t size, int vm, int file)
{
	struct kvm_create_guest_memfd arg = { .size = size };

	arg.flags = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS);
	if (file >= 0) {
		arg.flags |= GUEST_MEMFD_FLAG_BACKING;
		arg.backing_fd = file;
	}
	return ioctl(vm, KVM_CREATE_GUEST_MEMFD, &arg);
}

static int guest_memfd(size_t size, int vm, int file)
{
	int kvm, fd;

	if (vm >= 0)
		return make_guest_memfd(size, vm, file);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		err(2, "/dev/kvm");
	fd = make_guest_memfd(size, vm, file);
	/* This descriptor holds the machine. */
	close(vm);
	close(kvm);
	return fd;
}

int peer_create(const struct peer *peer, size_t size, int vm)
{
	int fd, file;

	switch (peer->source) {
	case GUEST_MEMFD:
		fd = guest_memfd(size, vm, -1);
		break;
	case GUEST_MEMFD_FILE:
		file = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
		if (file < 0 || ftruncate(file, size))
			err(2, "%s: file", peer->name);
		fd = guest_memfd(size, vm, file);
		close(file);
		break;
	case MEMFD:
		fd = memfd_create("bench", peer->flags);
		break;
	default:
		fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	}
	if (fd < 0)
		err(2, "%s", peer->name);
	if (!peer_is_guest_memfd(peer) && ftruncate(fd, size))
		err(2, "%s: ftruncate", peer->name);
	return fd;
}

void peer_drop(const struct peer *peer, int fd)
{
	close(fd);
	if (peer->source == GUESTMEMFS || peer->source == TMPFS || peer->source == GUEST_MEMFD_FILE)
		unlink("file");
}

char *peer_map(const struct peer *peer, int fd, size_t size, int flags)
{
	char *p = mmap(reserve(size, peer->skew), size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED | flags, fd, 0);

	if (p == MAP_FAILED)
		err(2, "%s: mmap", peer->name);
	if (peer->advise && madvise(p, size, peer->advise))
		err(2, "%s: madvise", peer->name);
	return p;
}
