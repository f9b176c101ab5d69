/* SPDX-License-Identifier: GPL-2.0 */
/* A guest of KVM with one processor, which touches each page of its memory. */
#ifndef VCPU_H
#define VCPU_H

#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "bench.h"

#define CODE	0x1000UL

/* Stores to each page from %esi to %edi. */
static const uint8_t code[] = {
	0xc6, 0x06, 0x01,			/* 1: movb $1, (%esi) */
	0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,	/* add $4096, %esi */
	0x39, 0xfe,				/* cmp %edi, %esi */
	0x75, 0xf3,				/* jne 1b */
	0xf4,					/* hlt */
};

static inline int check(int result, const char *what)
{
	if (result < 0)
		err(2, "%s", what);
	return result;
}

static inline void add_memory(int vm, int slot, uint64_t at, void *memory, size_t size,
			      int guest_memfd)
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
static inline void make_flat(struct kvm_sregs *sregs)
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

/* A page with the code, which is mapped for as long as @vm runs. */
static inline void *add_code(int vm)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		err(2, "mmap");
	memcpy(page, code, sizeof(code));
	add_memory(vm, 0, CODE, page, PAGE, -1);
	return page;
}

static inline int make_cpu(int vm)
{
	int cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	struct kvm_sregs sregs;

	check(ioctl(cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	make_flat(&sregs);
	check(ioctl(cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	return cpu;
}

/* The guest touches @size bytes from @at on; how long that takes. */
static inline uint64_t run(int kvm, int cpu, uint64_t at, size_t size)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsi = at, .rdi = at + size };
	int bytes = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_run *state = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	uint64_t start;

	if (state == MAP_FAILED)
		err(2, "mmap of a CPU");
	check(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	start = now();
	check(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
	start = now() - start;
	if (state->exit_reason != KVM_EXIT_HLT)
		errx(2, "the guest ends by %u, not by hlt", state->exit_reason);
	munmap(state, bytes);
	return start;
}

#endif /* VCPU_H */
