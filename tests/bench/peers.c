// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <sys/ioctl.h>

#include <linux/const.h>
#include <linux/kvm.h>
#include <linux/memfd.h>

#include "bench.h"
#include "peers.h"

/* Of Linux 6.18; libc's headers are older. */
#ifndef GUEST_MEMFD_FLAG_MMAP
#define GUEST_MEMFD_FLAG_MMAP		_BITULL(0)
#endif
#ifndef GUEST_MEMFD_FLAG_INIT_SHARED
#define GUEST_MEMFD_FLAG_INIT_SHARED	_BITULL(1)
#endif
#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};

#define KVM_CREATE_GUEST_MEMFD	_IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif

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
};

const struct peer *peer_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(peers); i++)
		if (!strcmp(peers[i].name, name))
			return &peers[i];
	errx(2, "no peer '%s'", name);
}

static int guest_memfd(size_t size, int vm)
{
	struct kvm_create_guest_memfd arg = {
		.size = size,
		.flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	int kvm, fd;

	if (vm >= 0)
		return ioctl(vm, KVM_CREATE_GUEST_MEMFD, &arg);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		err(2, "/dev/kvm");
	fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &arg);
	/* This descriptor holds the machine. */
	close(vm);
	close(kvm);
	return fd;
}

int peer_create(const struct peer *peer, size_t size, int vm)
{
	int fd;

	switch (peer->source) {
	case GUEST_MEMFD:
		fd = guest_memfd(size, vm);
		break;
	case MEMFD:
		fd = memfd_create("bench", peer->flags);
		break;
	default:
		fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	}
	if (fd < 0)
		err(2, "%s", peer->name);
	if (peer->source != GUEST_MEMFD && ftruncate(fd, size))
		err(2, "%s: ftruncate", peer->name);
	return fd;
}

void peer_drop(const struct peer *peer, int fd)
{
	close(fd);
	if (peer->source == GUESTMEMFS || peer->source == TMPFS)
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
