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

#include <linux/const.h>
#include <linux/kvm.h>

#include "bench.h"
#include "peers.h"

#define STATISTICS	"/sys/kernel/debug/kvm/"
#define CODE		0x1000UL

/* Of Linux 6.8, and libc's headers are older. */
#ifndef KVM_SET_USER_MEMORY_REGION2
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};

#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#define KVM_MEM_GUEST_MEMFD	_BITUL(2)
#endif

/* Stores to each page from %esi to %edi. */
static const uint8_t code[] = {
	0xc6, 0x06, 0x01,			/* 1: movb $1, (%esi) */
	0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,	/* add $4096, %esi */
	0x39, 0xfe,				/* cmp %edi, %esi */
	0x75, 0xf3,				/* jne 1b */
	0xf4,					/* hlt */
};

static int check(int result, const char *what)
{
	if (result < 0)
		err(2, "%s", what);
	return result;
}

static void add_memory(int vm, int slot, uint64_t at, void *memory, size_t size, int guest_memfd)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.guest_phys_addr = at,
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	if (guest_memfd >= 0) {
		region.flags = KVM_MEM_GUEST_MEMFD;
		region.guest_memfd = guest_memfd;
	}
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region), "KVM_SET_USER_MEMORY_REGION2");
}

/* All of memory, 32 bits, no paging. */
static void make_flat(struct kvm_sregs *sregs)
{
	struct kvm_segment data = {
		.limit = ~0U, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1, .selector = 16,
	};

	sregs->ds = data;
	sregs->es = data;
	sregs->ss = data;
	data.type = 11;
	data.selector = 8;
	sregs->cs = data;
	sregs->cr0 |= 1;
}

/* The guest touches its memory; how long that takes. */
static uint64_t run(int kvm, int vm, size_t size)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsi = GIB, .rdi = GIB + size };
	int cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	int bytes = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_run *state = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	struct kvm_sregs sregs;
	uint64_t start;

	if (state == MAP_FAILED)
		err(2, "mmap of a CPU");
	check(ioctl(cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	make_flat(&sregs);
	check(ioctl(cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	start = now();
	check(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
	if (state->exit_reason != KVM_EXIT_HLT)
		errx(2, "the guest ends by %u, not by hlt", state->exit_reason);
	start = now() - start;
	munmap(state, bytes);
	close(cpu);
	return start;
}

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
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		err(2, "mmap");
	memcpy(page, code, sizeof(code));
	add_memory(vm, 0, CODE, page, PAGE, -1);
	add_memory(vm, 1, GIB, p, size, peer->source == GUEST_MEMFD ? fd : -1);
	time = run(kvm, vm, size);

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
