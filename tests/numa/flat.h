/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual machine of KVM with one processor and flat memory, which reads or writes one
 * byte at a time.
 */
#ifndef FLAT_H
#define FLAT_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>

/* Guest physical addresses; a leaf of 1 GiB can map what is at the second. */
#define CODE	0x1000UL
#define MEMORY	0x40000000UL

/* A virtual machine with one processor, which reads or writes a byte when it is told to. */
struct machine {
	int cpu;
	struct kvm_run *run;
	char *memory;
	uint8_t byte;
};

static const uint8_t code[] = {
	0x8a, 0x06, 0xf4,	/* mov (%esi), %al; hlt */
	0x88, 0x06, 0xf4,	/* mov %al, (%esi); hlt */
	0x0f, 0x01, 0xd8, 0xf4,	/* vmrun; hlt */
};

#define READ	CODE
#define WRITE	(CODE + 3)
#define VMRUN	(CODE + 6)

static inline int machine_add(int vm, int slot, unsigned long at, void *memory, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = at,
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

/* All of memory, 32 bits, no paging. */
static inline int machine_make_flat(int cpu)
{
	struct kvm_segment data = {
		.limit = ~0U, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1, .selector = 16,
	};
	struct kvm_sregs sregs;

	if (ioctl(cpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	data.type = 11;
	data.selector = 8;
	sregs.cs = data;
	sregs.cr0 |= 1;
	return ioctl(cpu, KVM_SET_SREGS, &sregs);
}

/* A machine with @memory, until the process ends. 0, or -1. */
static inline int machine_start(struct machine *m, volatile char *memory, size_t size)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -1;
	memcpy(page, code, sizeof(code));
	m->memory = (char *)memory;
	m->cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	m->run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		      MAP_SHARED, m->cpu, 0);
	if (m->run == MAP_FAILED || machine_add(vm, 0, CODE, page, 4096) ||
	    machine_add(vm, 1, MEMORY, m->memory, size))
		return -1;
	return machine_make_flat(m->cpu);
}

/*
 * An access of the guest to @p: 0, or -errno of KVM_RUN. m->byte is what is read or
 * written.
 */
static inline int machine_run(struct machine *m, unsigned long entry, volatile char *p)
{
	struct kvm_regs regs = {
		.rip = entry,
		.rflags = 2,
		.rsi = MEMORY + (p - m->memory),
		.rax = m->byte,
	};

	if (ioctl(m->cpu, KVM_SET_REGS, &regs) || ioctl(m->cpu, KVM_RUN, 0) ||
	    ioctl(m->cpu, KVM_GET_REGS, &regs))
		return -errno;
	m->byte = regs.rax;
	return m->run->exit_reason == KVM_EXIT_HLT ? 0 : -EPROTO;
}

/* Paging by 4 MiB with the directory at @at, and SVM. 0, or -1. */
static inline int machine_virtualize(struct machine *m, volatile uint32_t *directory,
				     unsigned long at, unsigned long save)
{
	union {
		struct kvm_msrs head;
		char room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msrs = { .head.nmsrs = 1 };
	union {
		struct kvm_cpuid2 head;
		char room[sizeof(struct kvm_cpuid2) + 256 * sizeof(struct kvm_cpuid_entry2)];
	} cpuid = { .head.nent = 256 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct kvm_sregs sregs;
	uint32_t i;

	for (i = 0; i < 1024; i++)
		directory[i] = i << 22 | 0x83;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) || ioctl(m->cpu, KVM_SET_CPUID2, &cpuid) ||
	    ioctl(m->cpu, KVM_GET_SREGS, &sregs))
		return -1;
	close(kvm);
	sregs.cr3 = at;
	sregs.cr4 |= 0x10;
	sregs.cr0 |= 0x80000000;
	sregs.efer |= 0x1000;
	/* MSR_VM_HSAVE_PA */
	msrs.head.entries[0] = (struct kvm_msr_entry) { .index = 0xc0010117, .data = save };
	if (ioctl(m->cpu, KVM_SET_SREGS, &sregs))
		return -1;
	return ioctl(m->cpu, KVM_SET_MSRS, &msrs) == 1 ? 0 : -1;
}

#endif /* FLAT_H */
