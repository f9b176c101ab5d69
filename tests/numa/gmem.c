// SPDX-License-Identifier: GPL-2.0
/*
 * Files of guestmemfs as the memory of guest_memfd, in virtual machines of one
 * processor that store and compare numbers.
 *
 * Without arguments: the cases below, in GMFS_DIR on node GMFS_NODE, as root. GMFS_DEVICE,
 * "PCI GROUP CDEV", is a device. GMFS_SHADOW is set if KVM does not use nested paging.
 *
 *	gmem write FILE SEED	a guest fills its private memory, which is FILE
 *	gmem check FILE SEED	another finds it there
 *	gmem storm FILE OTHER REST SECONDS
 *		Four processors touch FILE, of a gibibyte, except for one block, which is
 *		punched and taken by OTHER again and again, TRIES times at least. REST takes
 *		all other memory.
 *		Prints "storm: tried=N whole=N leaves=N foreign=N": how often, how often FILE
 *		was in one piece before, how often a leaf of 1 GiB was there after the punch,
 *		and how often the guest reached the block of OTHER.
 *	gmem hold FILE		has FILE attached until it is killed
 *	gmem preserve FILE	LUO preserves FILE, until it is killed
 *	gmem retrieve FILE	a link to the file that LUO retrieves, until it is killed
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <asm/kvm.h>
#include <linux/kvm.h>
#include <linux/guestmemfs.h>
#include <linux/liveupdate.h>

#include "blocks.h"
#include "device.h"
#include "expect.h"
#include "flat.h"

#include "kselftest_harness.h"

#define GIB	(1024UL << 20)
#define IOVA	(1024UL << 30)
/* For a case, in a machine whose emulation has few cycles. */
#define SECONDS	300
/* Of the storm, at least, also in such a machine. */
#define TRIES	150

/* for (; esi != edi; esi += ecx) *esi = (esi & ebp) ^ ebx */
static const uint8_t store[] = {
	0x89, 0xf0, 0x21, 0xe8, 0x31, 0xd8, 0x89, 0x06, 0x01, 0xce, 0x39, 0xfe, 0x75, 0xf2,
	0xf4,
};

/* for (; esi != edi; esi += ecx) edx += *esi != ((esi & ebp) ^ ebx) */
static const uint8_t compare[] = {
	0x89, 0xf0, 0x21, 0xe8, 0x31, 0xd8, 0x39, 0x06, 0x74, 0x01, 0x42, 0x01, 0xce, 0x39,
	0xfe, 0x75, 0xef, 0xf4,
};

#define AT_STORE	0
#define AT_COMPARE	0x100
#define AT_VMRUN	0x200

struct vm {
	int vm;
	char *code;
	bool protected;
};

struct cpu {
	int fd;
	int bytes;
	struct kvm_run *run;
};

static int fail(const char *what)
{
	fprintf(stderr, "gmem: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int need(int result, const char *what)
{
	return result < 0 ? fail(what) : result;
}

static int kvm_fd(void)
{
	static int kvm = -1;

	if (kvm < 0)
		kvm = need(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	return kvm;
}

static int add_memory(struct vm *vm, int slot, uint64_t at, void *memory, size_t size, int gmem,
		      uint64_t offset)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.guest_phys_addr = at,
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	if (gmem >= 0) {
		region.flags = KVM_MEM_GUEST_MEMFD;
		region.guest_memfd = gmem;
		region.guest_memfd_offset = offset;
	}
	return ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

static struct vm make_vm(bool protected)
{
	struct vm vm = { .protected = protected };

	vm.vm = need(ioctl(kvm_fd(), KVM_CREATE_VM,
			   protected ? KVM_X86_SW_PROTECTED_VM : KVM_X86_DEFAULT_VM),
		     "KVM_CREATE_VM");
	vm.code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm.code == MAP_FAILED)
		fail("mmap");
	memcpy(vm.code + AT_STORE, store, sizeof(store));
	memcpy(vm.code + AT_COMPARE, compare, sizeof(compare));
	memcpy(vm.code + AT_VMRUN, code + (VMRUN - CODE), sizeof(code) - (VMRUN - CODE));
	need(add_memory(&vm, 0, CODE, vm.code, PAGE, -1, 0), "memory for the code");
	return vm;
}

static void end_vm(struct vm *vm)
{
	close(vm->vm);
	munmap(vm->code, PAGE);
}

static int make_gmem(struct vm *vm, int file, size_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd args = {
		.size = size,
		.flags = flags | GUEST_MEMFD_FLAG_BACKING,
		.backing_fd = file,
	};

	return ioctl(vm->vm, KVM_CREATE_GUEST_MEMFD, &args);
}

#define SHARED	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static int set_private(struct vm *vm, uint64_t at, size_t size, bool private)
{
	struct kvm_memory_attributes attr = {
		.address = at,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	return ioctl(vm->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr);
}

static struct cpu make_cpu(struct vm *vm, int id)
{
	struct cpu cpu;

	cpu.fd = need(ioctl(vm->vm, KVM_CREATE_VCPU, id), "KVM_CREATE_VCPU");
	cpu.bytes = need(ioctl(kvm_fd(), KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	cpu.run = mmap(NULL, cpu.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu.fd, 0);
	if (cpu.run == MAP_FAILED)
		fail("mmap of a CPU");
	need(machine_make_flat(cpu.fd), "segments");
	return cpu;
}

static void end_cpu(struct cpu *cpu)
{
	munmap(cpu->run, cpu->bytes);
	close(cpu->fd);
}

/* Returns 0 and how many differ; or the errno of KVM_RUN, or -1 for another exit. */
static int run(struct cpu *cpu, int what, uint64_t at, size_t size, size_t step, uint32_t mask,
	       uint32_t seed, uint64_t *differ)
{
	struct kvm_regs regs = {
		.rip = CODE + what, .rflags = 2, .rsi = at, .rdi = at + size, .rcx = step,
		.rbp = mask, .rbx = seed,
	};

	need(ioctl(cpu->fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	if (ioctl(cpu->fd, KVM_RUN, 0))
		return errno;
	need(ioctl(cpu->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	if (differ)
		*differ = regs.rdx;
	return cpu->run->exit_reason == KVM_EXIT_HLT ? 0 : -1;
}

static int exchange(int one, int two, uint64_t at, uint64_t flags)
{
	struct guestmemfs_exchange_range range = {
		.file1_fd = one, .file1_offset = at, .file2_offset = at, .length = BLOCK,
		.flags = flags,
	};

	return ioctl(two, GUESTMEMFS_IOC_EXCHANGE_RANGE, &range);
}

static int punch(int fd, uint64_t at, size_t size)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size);
}

static long statistic(const char *name)
{
	char path[64];
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%s", name);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%ld", &nr) != 1)
			nr = -1;
		fclose(f);
	}
	return nr;
}

static long node_number(const char *name)
{
	char path[96];
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/fs/guestmemfs/node%s/%s", getenv("GMFS_NODE"), name);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%ld", &nr) != 1)
			nr = -1;
		fclose(f);
	}
	return nr;
}

static sigjmp_buf sigbus_env;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(sigbus_env, 1);
}

/* Does an access end by SIGBUS? */
static bool is_sigbus(const volatile char *at)
{
	struct sigaction sa = { .sa_handler = on_sigbus };
	bool refused = true;

	sigaction(SIGBUS, &sa, NULL);
	if (!sigsetjmp(sigbus_env, 1)) {
		(void)*at;
		refused = false;
	}
	signal(SIGBUS, SIG_DFL);
	return refused;
}

FIXTURE(gmem) {
	int file;
	struct vm vm;
	char *hva;
};

FIXTURE_SETUP(gmem)
{
	ASSERT_EQ(chdir(getenv("GMFS_DIR")), 0);
	unlink("file");
	self->file = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_GE(self->file, 0);
	ASSERT_EQ(ftruncate(self->file, GIB), 0);
	self->vm = make_vm(false);
	/* Where nothing is: no slot with all memory in guest_memfd uses it. */
	self->hva = mmap(NULL, 2 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->hva, MAP_FAILED);
}

FIXTURE_TEARDOWN(gmem)
{
	munmap(self->hva, 2 * GIB);
	close(self->vm.vm);
	close(self->file);
	unlink("file");
}

#define ALIGNED(p)	((char *)(((uintptr_t)(p) + GIB - 1) & ~(GIB - 1)))

TEST_F_TIMEOUT(gmem, arguments, SECONDS)
{
	struct kvm_create_guest_memfd args = {
		.size = BLOCK,
		.flags = SHARED | GUEST_MEMFD_FLAG_BACKING,
		.backing_fd = self->file,
	};
	int fd;

	EXPECT_EQ(ioctl(kvm_fd(), KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_BACKING), 1);
	EXPECT_EQ(ioctl(self->vm.vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_BACKING), 1);
	/* Programs that try each bit of it would fail. */
	EXPECT_EQ(ioctl(self->vm.vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS), (int)SHARED);

	args.backing_reserved[4] = 1;
	EXPECT_ERR(EINVAL, ioctl(self->vm.vm, KVM_CREATE_GUEST_MEMFD, &args));
	args.backing_reserved[4] = 0;
	args.backing_pad = 1;
	EXPECT_ERR(EINVAL, ioctl(self->vm.vm, KVM_CREATE_GUEST_MEMFD, &args));

	EXPECT_ERR(EBADF, make_gmem(&self->vm, -1, BLOCK, SHARED));
	EXPECT_ERR(EINVAL, make_gmem(&self->vm, self->file, BLOCK + 1, SHARED));
	EXPECT_ERR(EINVAL, make_gmem(&self->vm, self->file, GIB + PAGE, SHARED));
	EXPECT_ERR(EINVAL, make_gmem(&self->vm, kvm_fd(), BLOCK, SHARED));
	fd = open("file", O_RDONLY);
	EXPECT_ERR(EACCES, make_gmem(&self->vm, fd, BLOCK, SHARED));
	close(fd);
	fd = open("file", O_WRONLY);
	EXPECT_ERR(EACCES, make_gmem(&self->vm, fd, BLOCK, SHARED));
	close(fd);
	/* None of that has left anything. */
	EXPECT_EQ(node_number("attached_files"), 0);
	EXPECT_EQ(node_number("private_files"), 0);
	fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	EXPECT_GE(fd, 0);
	EXPECT_EQ(node_number("attached_files"), 1);
	EXPECT_ERR(EINVAL, make_gmem(&self->vm, fd, GIB, SHARED));
	close(fd);
	EXPECT_EQ(node_number("attached_files"), 0);
}

/* A gigabyte is one leaf, wherever the address for which there is no memory is. */
TEST_F_TIMEOUT(gmem, leaves_1g, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	struct cpu cpu = make_cpu(&self->vm, 0);
	/* KVM's own tables for a guest without paging have leaves of 2 MiB at most. */
	bool nested = !getenv("GMFS_SHADOW");
	uint64_t differ;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, ALIGNED(self->hva) + PAGE, GIB, fd, 0), 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, GIB, PAGE, 0, 0, &differ), 0);
	EXPECT_EQ(differ, 0);
	EXPECT_EQ(statistic("pages_1g"), nested ? 1 : 0);
	EXPECT_EQ(statistic("pages_2m"), nested ? 0 : GIB / BLOCK);
	end_cpu(&cpu);
	close(fd);
}

/* The offset in guest_memfd decides on the size. */
TEST_F_TIMEOUT(gmem, leaves_by_offset, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	struct cpu cpu = make_cpu(&self->vm, 0);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, ALIGNED(self->hva), 8 * BLOCK, fd, 2 * BLOCK), 0);
	ASSERT_EQ(add_memory(&self->vm, 2, 2 * GIB, ALIGNED(self->hva), 2 * BLOCK, fd,
			     16 * BLOCK + PAGE), 0);
	ASSERT_EQ(run(&cpu, AT_STORE, GIB, 8 * BLOCK, PAGE, ~0U, 1, NULL), 0);
	EXPECT_EQ(statistic("pages_1g"), 0);
	EXPECT_EQ(statistic("pages_2m"), 8);
	ASSERT_EQ(run(&cpu, AT_STORE, 2 * GIB, 2 * BLOCK, PAGE, ~0U, 1, NULL), 0);
	EXPECT_EQ(statistic("pages_2m"), 8);
	EXPECT_GE(statistic("pages_4k"), 1024);
	end_cpu(&cpu);
	close(fd);
}

/* Guest, guest_memfd and file are one memory. */
TEST_F_TIMEOUT(gmem, shared, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, 4 * BLOCK, SHARED);
	struct cpu cpu = make_cpu(&self->vm, 0);
	uint32_t *a, *b;

	ASSERT_GE(fd, 0);
	a = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	b = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	ASSERT_NE(a, MAP_FAILED);
	ASSERT_NE(b, MAP_FAILED);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, a, 4 * BLOCK, fd, 0), 0);
	ASSERT_EQ(run(&cpu, AT_STORE, GIB, 4 * BLOCK, PAGE, ~0U, 0x55, NULL), 0);
	EXPECT_EQ(a[1024], (GIB + PAGE) ^ 0x55);
	EXPECT_EQ(b[1024], (GIB + PAGE) ^ 0x55);
	munmap(a, 4 * BLOCK);
	munmap(b, 4 * BLOCK);
	end_cpu(&cpu);
	/* The contents are there when guest_memfd is not. */
	close(fd);
	a = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, self->file, 0);
	EXPECT_EQ(a[1024], (GIB + PAGE) ^ 0x55);
	munmap(a, BLOCK);
}

/* No process has a private file's memory, until the contents are lost. */
TEST_F_TIMEOUT(gmem, private, SECONDS)
{
	struct vm vm = make_vm(true);
	int fd, other, flags, i;
	char *before;

	ASSERT_EQ(ftruncate(self->file, 4 * BLOCK), 0);
	before = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	before[0] = 1;
	fd = make_gmem(&vm, self->file, 4 * BLOCK, GUEST_MEMFD_FLAG_MMAP);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(node_number("private_files"), 1);
	EXPECT_TRUE(is_sigbus(before));
	EXPECT_TRUE(mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, self->file, 0) == MAP_FAILED &&
		    errno == ENODEV);
	close(fd);
	/* Not with the end of guest_memfd, and not for chattr. */
	EXPECT_TRUE(is_sigbus(before));
	for (i = 0; i < 2; i++) {
		flags = i ? 0 : FS_NODUMP_FL;
		EXPECT_EQ(ioctl(self->file, FS_IOC_SETFLAGS, &flags), 0);
	}
	EXPECT_TRUE(mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, self->file, 0) == MAP_FAILED &&
		    errno == ENODEV);
	/* Nor by another machine that shares it. */
	EXPECT_ERR(EACCES, make_gmem(&self->vm, self->file, BLOCK, SHARED));
	other = make_gmem(&vm, self->file, BLOCK, 0);
	EXPECT_GE(other, 0);
	/* What is left of it is private. */
	EXPECT_EQ(punch(self->file, 0, BLOCK), 0);
	EXPECT_EQ(ftruncate(self->file, BLOCK), 0);
	EXPECT_EQ(node_number("private_files"), 1);
	close(other);
	EXPECT_EQ(ftruncate(self->file, 0), 0);
	EXPECT_EQ(node_number("private_files"), 0);
	EXPECT_EQ(ftruncate(self->file, BLOCK), 0);
	EXPECT_FALSE(is_sigbus(before));
	EXPECT_EQ(before[0], 0);
	munmap(before, BLOCK);
	end_vm(&vm);
}

/* A device has no private memory: neither a file's before it is private, nor after. */
TEST_F_TIMEOUT(gmem, device, SECONDS)
{
	const char *text = getenv("GMFS_DEVICE");
	char pci[32], group[64], cdev[64];
	struct vm vm = make_vm(true);
	struct device d = {};
	int fd;

	if (!text || sscanf(text, "%31s %63s %63s", pci, group, cdev) != 3)
		SKIP(return, "no device");
	device_choose(pci, group, cdev);
	device_open(&d, IOAS_MAP_FILE);
	ASSERT_EQ(device_map(&d, self->file, 2 * BLOCK, NULL, IOVA, BLOCK), 0);
	EXPECT_ERR(EBUSY, make_gmem(&vm, self->file, BLOCK, 0));
	EXPECT_EQ(node_number("private_files"), 0);
	/* A guest and a device share memory. */
	fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	EXPECT_GE(fd, 0);
	EXPECT_ERR(EBUSY, punch(fd, 2 * BLOCK, BLOCK));
	close(fd);
	ASSERT_EQ(device_unmap(&d, IOVA, BLOCK), 0);
	fd = make_gmem(&vm, self->file, BLOCK, 0);
	EXPECT_GE(fd, 0);
	EXPECT_EQ(device_map(&d, self->file, 2 * BLOCK, NULL, IOVA, BLOCK), EACCES);
	close(fd);
	EXPECT_EQ(device_map(&d, self->file, 2 * BLOCK, NULL, IOVA, BLOCK), EACCES);
	EXPECT_EQ(node_number("pinned_blocks"), 0);
	device_close(&d);
	end_vm(&vm);
}

/* Deleting loses the contents too. */
TEST_F_TIMEOUT(gmem, private_deleted, SECONDS)
{
	struct vm vm = make_vm(true);
	int fd = make_gmem(&vm, self->file, BLOCK, 0);

	ASSERT_GE(fd, 0);
	EXPECT_EQ(node_number("private_files"), 1);
	unlink("file");
	close(fd);
	EXPECT_EQ(node_number("private_files"), 1);
	close(self->file);
	EXPECT_EQ(node_number("private_files"), 0);
	end_vm(&vm);
}

/* Both kinds of pages of one guest; conversion and holes of any size read as zeroes. */
TEST_F_TIMEOUT(gmem, conversion, SECONDS)
{
	struct vm vm = make_vm(true);
	struct cpu cpu = make_cpu(&vm, 0);
	char *shared = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			    0);
	uint64_t differ;
	int fd;

	ASSERT_NE(shared, MAP_FAILED);
	fd = make_gmem(&vm, self->file, 4 * BLOCK, 0);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&vm, 1, GIB, shared, 4 * BLOCK, fd, 0), 0);
	ASSERT_EQ(run(&cpu, AT_STORE, GIB, 4 * BLOCK, PAGE, ~0U, 1, NULL), 0);
	ASSERT_EQ(set_private(&vm, GIB, 4 * BLOCK, true), 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, 4 * BLOCK, PAGE, 0, 0, &differ), 0);
	EXPECT_EQ(differ, 0);
	ASSERT_EQ(run(&cpu, AT_STORE, GIB, 4 * BLOCK, PAGE, ~0U, 2, NULL), 0);
	EXPECT_EQ(*(uint32_t *)(shared + PAGE), (GIB + PAGE) ^ 1);

	/* A page, a block, and pages of three blocks. */
	ASSERT_EQ(punch(fd, PAGE, PAGE), 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, 4 * BLOCK, PAGE, ~0U, 2, &differ), 0);
	EXPECT_EQ(differ, 1);
	ASSERT_EQ(punch(fd, BLOCK - PAGE, BLOCK + 2 * PAGE), 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, 4 * BLOCK, PAGE, ~0U, 2, &differ), 0);
	EXPECT_EQ(differ, 1 + 1 + 512 + 1);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB + BLOCK, BLOCK, PAGE, 0, 0, &differ), 0);
	EXPECT_EQ(differ, 0);

	ASSERT_EQ(set_private(&vm, GIB, PAGE, false), 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, PAGE, PAGE, ~0U, 1, &differ), 0);
	EXPECT_EQ(differ, 0);
	munmap(shared, 4 * BLOCK);
	end_cpu(&cpu);
	close(fd);
	end_vm(&vm);
}

/* A block that goes, also by the file itself, is not the guest's any more. */
TEST_F_TIMEOUT(gmem, punch, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	struct cpu cpu = make_cpu(&self->vm, 0);
	uint64_t differ;
	long free;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, ALIGNED(self->hva), GIB, fd, 0), 0);
	ASSERT_EQ(run(&cpu, AT_STORE, GIB, 4 * BLOCK, PAGE, ~0U, 7, NULL), 0);
	EXPECT_EQ(statistic("pages_1g"), 1);
	free = free_blocks();
	ASSERT_EQ(punch(self->file, BLOCK, BLOCK), 0);
	EXPECT_EQ(free_blocks(), free + 1);
	EXPECT_EQ(statistic("pages_1g"), 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, 4 * BLOCK, PAGE, ~0U, 7, &differ), 0);
	EXPECT_EQ(differ, 512);
	/* The guest has filled the hole. */
	EXPECT_EQ(free_blocks(), free);
	/* Behind what guest_memfd has there is nothing to be punched. */
	EXPECT_EQ(punch(fd, GIB, BLOCK), 0);
	EXPECT_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, GIB, BLOCK), -1);
	end_cpu(&cpu);
	close(fd);
}

TEST_F_TIMEOUT(gmem, truncate, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, 2 * BLOCK + PAGE, SHARED);
	int again;

	ASSERT_GE(fd, 0);
	EXPECT_ERR(EBUSY, ftruncate(self->file, 2 * BLOCK));
	EXPECT_ERR(EBUSY, ftruncate(self->file, 2 * BLOCK + PAGE - 1));
	again = open("file", O_RDWR | O_TRUNC);
	EXPECT_TRUE(again == -1 && errno == EBUSY);
	EXPECT_EQ(ftruncate(fd, BLOCK), -1);
	EXPECT_EQ(ftruncate(self->file, 2 * BLOCK + PAGE), 0);
	EXPECT_EQ(ftruncate(self->file, 4 * BLOCK), 0);
	close(fd);
	EXPECT_EQ(ftruncate(self->file, 0), 0);
}

/* No block of an attached or private file moves to another file, or the other way. */
TEST_F_TIMEOUT(gmem, exchange, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, 2 * BLOCK, SHARED);
	int other = open(".", O_TMPFILE | O_RDWR, 0600);
	struct vm vm = make_vm(true);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(other, 4 * BLOCK), 0);
	EXPECT_ERR(EBUSY, exchange(self->file, other, BLOCK, 0));
	EXPECT_ERR(EBUSY, exchange(other, self->file, BLOCK, 0));
	EXPECT_ERR(EBUSY, exchange(other, self->file, BLOCK, GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN));
	/* Also blocks that guest_memfd does not have. */
	EXPECT_ERR(EBUSY, exchange(other, self->file, 2 * BLOCK, 0));
	close(fd);
	EXPECT_EQ(exchange(other, self->file, BLOCK, 0), 0);

	fd = make_gmem(&vm, self->file, 2 * BLOCK, 0);
	ASSERT_GE(fd, 0);
	EXPECT_ERR(EBUSY, exchange(other, self->file, BLOCK, 0));
	close(fd);
	EXPECT_ERR(EBUSY, exchange(other, self->file, BLOCK, 0));
	EXPECT_ERR(EBUSY, exchange(self->file, other, BLOCK, GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN));
	ASSERT_EQ(ftruncate(self->file, 0), 0);
	ASSERT_EQ(ftruncate(self->file, 4 * BLOCK), 0);
	EXPECT_EQ(exchange(other, self->file, BLOCK, 0), 0);
	close(other);
	end_vm(&vm);
}

/* One machine at a time; the next finds what the last one left. */
TEST_F_TIMEOUT(gmem, two_machines, SECONDS)
{
	struct vm one = make_vm(true), two = make_vm(true);
	struct cpu a = make_cpu(&one, 0), b = make_cpu(&two, 0);
	uint64_t differ;
	int fd, other;

	fd = make_gmem(&one, self->file, GIB, 0);
	ASSERT_GE(fd, 0);
	EXPECT_ERR(EBUSY, make_gmem(&two, self->file, GIB, 0));
	EXPECT_ERR(EBUSY, make_gmem(&one, self->file, BLOCK, 0));
	/* The machine of the descriptor only. */
	EXPECT_EQ(add_memory(&two, 1, GIB, ALIGNED(self->hva), GIB, fd, 0), -1);
	ASSERT_EQ(add_memory(&one, 1, GIB, ALIGNED(self->hva), GIB, fd, 0), 0);
	ASSERT_EQ(set_private(&one, GIB, GIB, true), 0);
	ASSERT_EQ(run(&a, AT_STORE, GIB, GIB, PAGE, ~0U, 3, NULL), 0);
	EXPECT_EQ(statistic("pages_1g"), 1);

	/* The machine goes first, and guest_memfd has it until it is closed. */
	end_cpu(&a);
	end_vm(&one);
	EXPECT_ERR(EBUSY, make_gmem(&two, self->file, GIB, 0));
	close(fd);
	other = make_gmem(&two, self->file, GIB, 0);
	ASSERT_GE(other, 0);
	ASSERT_EQ(add_memory(&two, 1, GIB, ALIGNED(self->hva), GIB, other, 0), 0);
	ASSERT_EQ(set_private(&two, GIB, GIB, true), 0);
	ASSERT_EQ(run(&b, AT_COMPARE, GIB, GIB, PAGE, ~0U, 3, &differ), 0);
	EXPECT_EQ(differ, 0);
	/* Closed while the machine runs on: what it had is gone. */
	close(other);
	EXPECT_EQ(statistic("pages_1g"), 0);
	EXPECT_NE(run(&b, AT_COMPARE, GIB, PAGE, PAGE, ~0U, 3, NULL), 0);
	end_cpu(&b);
	end_vm(&two);
}

/* The machine goes with guest_memfd open and bound. */
TEST_F_TIMEOUT(gmem, machine_first, SECONDS)
{
	struct vm vm = make_vm(true);
	int fd = make_gmem(&vm, self->file, GIB, 0);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&vm, 1, GIB, ALIGNED(self->hva), GIB, fd, 0), 0);
	end_vm(&vm);
	EXPECT_EQ(punch(fd, 0, BLOCK), 0);
	EXPECT_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, BLOCK), 0);
	close(fd);
}

/* A file without a name lives as long as guest_memfd. */
TEST_F_TIMEOUT(gmem, unlinked, SECONDS)
{
	struct cpu cpu = make_cpu(&self->vm, 0);
	long free = free_blocks();
	int fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	uint64_t differ;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, ALIGNED(self->hva), GIB, fd, 0), 0);
	close(self->file);
	unlink("file");
	EXPECT_EQ(free_blocks(), free);
	ASSERT_EQ(run(&cpu, AT_STORE, GIB, GIB, BLOCK, ~0U, 3, NULL), 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, GIB, BLOCK, ~0U, 3, &differ), 0);
	EXPECT_EQ(differ, 0);
	end_cpu(&cpu);
	close(fd);
	EXPECT_EQ(free_blocks(), free + 512);
}

/* One step for a gigabyte. */
TEST_F_TIMEOUT(gmem, pre_fault, SECONDS)
{
	struct kvm_pre_fault_memory range = { .gpa = GIB, .size = GIB };
	int fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	struct cpu cpu = make_cpu(&self->vm, 0);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, ALIGNED(self->hva), GIB, fd, 0), 0);
	ASSERT_EQ(ioctl(cpu.fd, KVM_PRE_FAULT_MEMORY, &range), 0);
	EXPECT_EQ(range.size, 0);
	EXPECT_EQ(statistic("pages_1g"), 1);
	end_cpu(&cpu);
	close(fd);
}

/* A page has failed: the guest has all others. */
TEST_F_TIMEOUT(gmem, poison, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, GIB, SHARED);
	struct cpu cpu = make_cpu(&self->vm, 0);
	uint64_t phys = phys_of(self->file, 5 * BLOCK + PAGE), bad = GIB + 5 * BLOCK + PAGE;
	uint64_t differ;
	FILE *f;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, ALIGNED(self->hva), GIB, fd, 0), 0);
	ASSERT_EQ(run(&cpu, AT_STORE, GIB, GIB, PAGE, ~0U, 9, NULL), 0);
	f = fopen("/sys/devices/system/memory/hard_offline_page", "w");
	ASSERT_NE(f, NULL);
	fprintf(f, "%#lx", (unsigned long)phys);
	EXPECT_EQ(fclose(f), 0);
	EXPECT_EQ(statistic("pages_1g"), 0);
	EXPECT_EQ(run(&cpu, AT_COMPARE, bad, PAGE, PAGE, ~0U, 9, &differ), EHWPOISON);
	EXPECT_EQ(cpu.run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	EXPECT_EQ(cpu.run->memory_fault.gpa, bad);
	ASSERT_EQ(run(&cpu, AT_COMPARE, GIB, bad - GIB, PAGE, ~0U, 9, &differ), 0);
	EXPECT_EQ(differ, 0);
	ASSERT_EQ(run(&cpu, AT_COMPARE, bad + PAGE, 2 * GIB - bad - PAGE, PAGE, ~0U, 9, &differ),
		  0);
	EXPECT_EQ(differ, 0);
	EXPECT_EQ(statistic("pages_2m"), 511);
	end_cpu(&cpu);
	close(fd);
}

static volatile sig_atomic_t nr_sigbus;

static void count_sigbus(int sig)
{
	(void)sig;
	nr_sigbus++;
}

/* No process hears of a failed page of a private file, even if it had mapped it before. */
TEST_F_TIMEOUT(gmem, poison_private, SECONDS)
{
	struct sigaction sa = { .sa_handler = count_sigbus };
	struct vm vm = make_vm(true);
	struct cpu cpu = make_cpu(&vm, 0);
	uint64_t bad = GIB + 3 * PAGE;
	volatile char *before;
	int fd, i;
	FILE *f;

	ASSERT_EQ(ftruncate(self->file, 4 * BLOCK), 0);
	before = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	ASSERT_NE(before, MAP_FAILED);
	before[3 * PAGE] = 1;
	before[BLOCK] = 1;
	sigaction(SIGBUS, &sa, NULL);
	for (i = 0; i < 2; i++) {
		/* Of a file that is not private, it does hear. */
		fd = i ? -1 : make_gmem(&vm, self->file, 4 * BLOCK, 0);
		ASSERT_TRUE(i || fd >= 0);
		f = fopen("/sys/devices/system/memory/hard_offline_page", "w");
		ASSERT_NE(f, NULL);
		fprintf(f, "%#lx", (unsigned long)phys_of(self->file, i ? BLOCK : 3 * PAGE));
		EXPECT_EQ(fclose(f), 0);
		EXPECT_EQ(nr_sigbus, i);
		if (i)
			break;
		ASSERT_EQ(add_memory(&vm, 1, GIB, self->hva, 4 * BLOCK, fd, 0), 0);
		ASSERT_EQ(set_private(&vm, GIB, 4 * BLOCK, true), 0);
		EXPECT_EQ(run(&cpu, AT_COMPARE, bad, PAGE, PAGE, 0, 0, NULL), EHWPOISON);
		end_cpu(&cpu);
		close(fd);
		end_vm(&vm);
		ASSERT_EQ(ftruncate(self->file, 0), 0);
		ASSERT_EQ(ftruncate(self->file, 4 * BLOCK), 0);
		before[BLOCK] = 1;
	}
	signal(SIGBUS, SIG_DFL);
	munmap((void *)before, 4 * BLOCK);
}

#define VMEXIT_HLT	0x78

/* The guest of @vmcb: flat memory, no paging, from @entry on to a hlt. */
static void make_vmcb(char *vmcb, uint32_t entry)
{
	static const struct {
		uint16_t selector, attributes;
		uint32_t limit;
		uint64_t base;
	} code_segment = { 8, 0xc9b, ~0U, 0 }, data_segment = { 16, 0xc93, ~0U, 0 };

	*(uint32_t *)(vmcb + 0x0c) = 1 << 24;		/* intercept hlt */
	*(uint32_t *)(vmcb + 0x10) = 1;			/* and vmrun */
	*(uint32_t *)(vmcb + 0x58) = 1;			/* ASID */
	memcpy(vmcb + 0x400, &data_segment, 16);	/* es */
	memcpy(vmcb + 0x410, &code_segment, 16);	/* cs */
	memcpy(vmcb + 0x420, &data_segment, 16);	/* ss */
	memcpy(vmcb + 0x430, &data_segment, 16);	/* ds */
	*(uint64_t *)(vmcb + 0x4d0) = 1 << 12;		/* EFER: SVME */
	*(uint64_t *)(vmcb + 0x558) = 0x11;		/* CR0: PE, ET */
	*(uint64_t *)(vmcb + 0x560) = 0x400;		/* DR7 */
	*(uint64_t *)(vmcb + 0x568) = 0xffff0ff0;	/* DR6 */
	*(uint64_t *)(vmcb + 0x570) = 2;		/* RFLAGS */
	*(uint64_t *)(vmcb + 0x578) = entry;		/* RIP */
}

/* A guest of a guest, whose code, control block and memory are in the file. */
TEST_F_TIMEOUT(gmem, nested, SECONDS)
{
	int fd = make_gmem(&self->vm, self->file, 8 * BLOCK, SHARED);
	struct cpu cpu = make_cpu(&self->vm, 0);
	struct machine m = { .cpu = cpu.fd };
	struct kvm_regs regs = {
		.rip = CODE + AT_VMRUN, .rflags = 2, .rax = GIB + BLOCK,
		/* What the guest's guest has too. */
		.rsi = GIB + 3 * BLOCK, .rdi = GIB + 4 * BLOCK, .rcx = PAGE, .rbp = ~0U, .rbx = 5,
	};
	char *p;
	size_t at;

	ASSERT_GE(fd, 0);
	p = mmap(NULL, 8 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(p, MAP_FAILED);
	ASSERT_EQ(add_memory(&self->vm, 1, GIB, p, 8 * BLOCK, fd, 0), 0);
	memcpy(p + 2 * BLOCK, store, sizeof(store));
	make_vmcb(p + BLOCK, GIB + 2 * BLOCK);
	ASSERT_EQ(machine_virtualize(&m, (volatile uint32_t *)(p + 7 * BLOCK), GIB + 7 * BLOCK,
				     GIB + 6 * BLOCK), 0);
	ASSERT_EQ(ioctl(cpu.fd, KVM_SET_REGS, &regs), 0);
	ASSERT_EQ(ioctl(cpu.fd, KVM_RUN, 0), 0);
	EXPECT_EQ(cpu.run->exit_reason, KVM_EXIT_HLT);
	EXPECT_EQ(*(uint64_t *)(p + BLOCK + 0x70), VMEXIT_HLT);
	for (at = 3 * BLOCK; at < 4 * BLOCK; at += PAGE)
		ASSERT_EQ(*(uint32_t *)(p + at), (GIB + at) ^ 5);
	/* KVM has no pin of it left. */
	end_cpu(&cpu);
	munmap(p, 8 * BLOCK);
	close(fd);
	end_vm(&self->vm);
	self->vm = make_vm(false);
	EXPECT_EQ(node_number("pinned_blocks"), 0);
}

/* The private memory of a machine, all of a file. */
static struct cpu attach(struct vm *vm, const char *path, size_t *size)
{
	struct stat st;
	int fd = need(open(path, O_RDWR | O_CLOEXEC), path);
	int gmem;

	*vm = make_vm(true);
	need(fstat(fd, &st), path);
	*size = st.st_size;
	gmem = need(make_gmem(vm, fd, *size, 0), "KVM_CREATE_GUEST_MEMFD");
	need(add_memory(vm, 1, GIB, (void *)GIB, *size, gmem, 0), "memory");
	need(set_private(vm, GIB, *size, true), "KVM_SET_MEMORY_ATTRIBUTES");
	return make_cpu(vm, 0);
}

static int write_or_check(int what, const char *path, uint32_t seed)
{
	struct vm vm;
	size_t size;
	struct cpu cpu = attach(&vm, path, &size);
	uint64_t differ = 0;
	int err = run(&cpu, what, GIB, size, 4, ~0U, seed, &differ);

	if (err || differ) {
		printf("gmem: %s: KVM_RUN says %d, %lu words differ\n", path, err,
		       (unsigned long)differ);
		return 1;
	}
	return 0;
}

struct toucher {
	struct cpu cpu;
	pthread_t thread;
	uint64_t at;
	size_t size;
	int err;
};

static volatile bool stop;

static void *touch(void *arg)
{
	struct toucher *t = arg;

	while (!stop && !t->err)
		t->err = run(&t->cpu, AT_STORE, t->at, t->size, PAGE * 16, ~0U, 0, NULL);
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000UL + now.tv_nsec;
}

/* Drops all of the second stage, because the addresses get another mapping. */
static void *drop(void *hva, size_t size)
{
	void *p = mmap(hva, size, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (hva ? MAP_FIXED : 0), -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* A block of a file of a gigabyte, which is all memory that can become free. */
struct victim {
	int file, other;
	uint64_t at;
	uint64_t *taken;
};

/* Is a block of another file within the guest's reach? */
static bool reaches(const struct victim *v, struct cpu *probe)
{
	int err;

	need(ftruncate(v->other, BLOCK), "take the block");
	/* There is no memory for the hole, so a processor that gets there has a leaf over it. */
	err = run(probe, AT_STORE, GIB + v->at, BLOCK, PAGE, ~0U, 0, NULL);
	err = !err || v->taken[PAGE / 8];
	need(ftruncate(v->other, 0), "give the block back");
	return err;
}

static void wait_ns(uint64_t ns)
{
	uint64_t until = now_ns() + ns;

	while (now_ns() < until)
		;
}

/* Processors that touch all blocks but one must not map that one, once it is punched. */
static int storm(const char *path, const char *other, const char *filler, int seconds)
{
	struct victim v = { .file = need(open(path, O_RDWR | O_CLOEXEC), path),
			    .other = need(open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0600), other),
			    .at = GIB / 2 };
	int rest = need(open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0600), filler), gmem, i;
	uint64_t end = now_ns() + seconds * 1000000000UL, phys = phys_of(v.file, 0);
	long tried = 0, whole = 0, leaves = 0, foreign = 0;
	struct toucher touchers[4] = {};
	struct vm vm = make_vm(false);
	struct cpu probe = make_cpu(&vm, 4);
	void *hva = drop(NULL, GIB);

	need(ftruncate(rest, free_blocks() * BLOCK), filler);
	gmem = need(make_gmem(&vm, v.file, GIB, SHARED), "KVM_CREATE_GUEST_MEMFD");
	need(add_memory(&vm, 1, GIB, hva, GIB, gmem, 0), "memory");
	v.taken = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, v.other, 0);
	if (v.taken == MAP_FAILED)
		fail("mmap");
	for (i = 0; i < 4; i++) {
		touchers[i].cpu = make_cpu(&vm, i);
		touchers[i].size = GIB / 2 - BLOCK;
		touchers[i].at = GIB + (i % 2 ? 0 : v.at + BLOCK);
		if (pthread_create(&touchers[i].thread, NULL, touch, &touchers[i]))
			fail("thread");
	}
	while (now_ns() < end || tried < TRIES) {
		whole += phys_of(v.file, v.at) == phys + v.at;
		if (!drop(hva, GIB))
			fail("mmap");
		wait_ns(tried % 64 * 2000);
		/* The zeroing of parts of the blocks around it makes that take longer. */
		need(punch(v.file, v.at - BLOCK + PAGE, 3 * BLOCK - 2 * PAGE), "punch");
		/* No leaf of this size fits now. The other check is slow. */
		if (statistic("pages_1g"))
			leaves++;
		if (tried++ % 32 == 0 || leaves)
			foreign += reaches(&v, &probe);
		need(fallocate(v.file, FALLOC_FL_KEEP_SIZE, v.at, BLOCK), "fill the hole");
	}
	stop = true;
	for (i = 0; i < 4; i++) {
		pthread_join(touchers[i].thread, NULL);
		if (touchers[i].err) {
			printf("gmem: a processor ends by %d\n", touchers[i].err);
			/* Not the answer to what is asked: it may be the emulation. */
			return 2;
		}
	}
	printf("storm: tried=%ld whole=%ld leaves=%ld foreign=%ld\n", tried, whole, leaves,
	       foreign);
	return leaves || foreign;
}

static int hold(const char *path)
{
	struct vm vm;
	size_t size;

	attach(&vm, path, &size);
	puts("attached");
	fflush(stdout);
	pause();
	return 0;
}

/* In a session, as its only file. */
static int preserve(const char *path)
{
	struct liveupdate_ioctl_create_session create = { .size = sizeof(create), .name = "gmem" };
	struct liveupdate_session_preserve_fd file = { .size = sizeof(file) };
	int luo = need(open("/dev/liveupdate", O_RDWR | O_CLOEXEC), "/dev/liveupdate");

	need(ioctl(luo, LIVEUPDATE_IOCTL_CREATE_SESSION, &create), "session");
	file.fd = need(open(path, O_RDWR | O_CLOEXEC), path);
	need(ioctl(create.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &file), "preserve");
	puts("preserved");
	fflush(stdout);
	pause();
	return 0;
}

static int retrieve(const char *path)
{
	struct liveupdate_ioctl_retrieve_session session = {
		.size = sizeof(session), .name = "gmem",
	};
	struct liveupdate_session_retrieve_fd file = { .size = sizeof(file) };
	int luo = need(open("/dev/liveupdate", O_RDWR | O_CLOEXEC), "/dev/liveupdate");
	char target[64];

	need(ioctl(luo, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &session), "session");
	need(ioctl(session.fd, LIVEUPDATE_SESSION_RETRIEVE_FD, &file), "retrieve");
	snprintf(target, sizeof(target), "/proc/%d/fd/%d", getpid(), file.fd);
	unlink(path);
	need(symlink(target, path), path);
	puts("retrieved");
	fflush(stdout);
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "preserve"))
		return preserve(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "retrieve"))
		return retrieve(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "write"))
		return write_or_check(AT_STORE, argv[2], atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "check"))
		return write_or_check(AT_COMPARE, argv[2], atoi(argv[3]));
	if (argc == 6 && !strcmp(argv[1], "storm"))
		return storm(argv[2], argv[3], argv[4], atoi(argv[5]));
	if (argc == 3 && !strcmp(argv[1], "hold"))
		return hold(argv[2]);
	return test_harness_run(argc, argv);
}
