// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest virtual machine: it adds two numbers and halts. For guests whose
 * memory is a file of guestmemfs, and who have guests of their own.
 *
 * Prints "kvm: works", or what does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define SIZE	4096
#define ADDRESS	0x1000

static int failed(const char *what)
{
	printf("kvm: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(void)
{
	/* add %bx, %ax; hlt */
	static const uint8_t code[] = { 0x01, 0xd8, 0xf4 };
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = ADDRESS,
		.memory_size = SIZE,
	};
	struct kvm_regs regs = { .rip = ADDRESS, .rax = 2, .rbx = 40, .rflags = 2 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct kvm_sregs sregs;
	struct kvm_run *run;
	int vm, cpu, size;
	void *mem;

	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return failed("/dev/kvm");
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return failed("memory");
	memcpy(mem, code, sizeof(code));
	region.userspace_addr = (uintptr_t)mem;
	cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (cpu < 0 || size < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		return failed("machine");
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (run == MAP_FAILED || ioctl(cpu, KVM_GET_SREGS, &sregs))
		return failed("processor");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(cpu, KVM_SET_SREGS, &sregs) || ioctl(cpu, KVM_SET_REGS, &regs))
		return failed("registers");
	if (ioctl(cpu, KVM_RUN, 0) || ioctl(cpu, KVM_GET_REGS, &regs))
		return failed("run");
	if (run->exit_reason != KVM_EXIT_HLT || regs.rax != 42) {
		printf("kvm: exit reason %u, result %llu\n", run->exit_reason, regs.rax);
		return 1;
	}
	puts("kvm: works");
	return 0;
}
