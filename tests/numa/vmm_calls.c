// SPDX-License-Identifier: GPL-2.0
/*
 * The system calls on guest memory of VMMs that the tests do not have, in their order:
 *
 *	vmm_calls cloud-hypervisor FILE NODE
 *		a zone with shared=on, prefault=on and host_numa_node=NODE in FILE,
 *		virtio-mem, balloon, free page reporting, snapshot, restore; by
 *		vmm/src/{memory_manager,prefault}.rs and virtio-devices/src/{mem,balloon}.rs
 *	vmm_calls cloud-hypervisor-postcopy FILE
 *		a zone with shared=on in FILE, whose contents come from another process after
 *		the guest runs: receive-migration with memory_mode=postcopy; by
 *		vmm/src/{uffd,userfaultfd}.rs, with the one change that it needs
 *	vmm_calls vhost-user FILE
 *		the memory table of a VMM, and a back-end in another process that maps FILE
 *		as DPDK and as libvhost-user do
 *	vmm_calls firecracker FILE
 *		what it does with the memory file of a snapshot, which fails here
 *
 * FILE is there, has SIZE bytes, and is all zeroes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/guestmemfs.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flat.h"

#define BLOCK		(2UL << 20)
#define SIZE		(65UL << 20)	/* the last block is half of one */
#define PAGE		4096UL
#define THREADS		3

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif
#define MPOL_BIND		2
#define MPOL_MF_STRICT		1
#define MPOL_MF_MOVE		2

#define CHECK(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "vmm_calls: line %d: %s: %s\n",		\
				__LINE__, #condition, strerror(errno));		\
			exit(1);						\
		}								\
	} while (0)

#define FAILS(error, call)							\
	do {									\
		errno = 0;							\
		CHECK((long)(call) == -1 && errno == (error));			\
	} while (0)

static unsigned long free_blocks(int fd)
{
	struct statfs fs;

	CHECK(!fstatfs(fd, &fs));
	CHECK(fs.f_type == GUESTMEMFS_MAGIC && fs.f_bsize == BLOCK);
	return fs.f_bfree;
}

/* A region of guest memory: the VMM looks at the size of the file before it maps it. */
static char *map_region(int fd)
{
	char *mem;

	CHECK(lseek(fd, 0, SEEK_END) >= (off_t)SIZE);
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	CHECK(mem != MAP_FAILED);
	return mem;
}

struct part {
	pthread_barrier_t *start;
	char *at;
	size_t len;
	int error;
};

static void *prefault_part(void *arg)
{
	struct part *part = arg;

	pthread_barrier_wait(part->start);
	part->error = madvise(part->at, part->len, MADV_POPULATE_WRITE) ? errno : 0;
	return NULL;
}

/* Pages are divided, so that the threads meet within a block. */
static void prefault(char *mem)
{
	size_t pages = SIZE / PAGE / THREADS, rest = SIZE / PAGE % THREADS, i;
	struct part part[THREADS];
	pthread_t thread[THREADS];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, THREADS);
	for (i = 0; i < THREADS; i++) {
		part[i] = (struct part) {
			.start = &start,
			.at = mem + PAGE * (i * pages + (i < rest ? i : rest)),
			.len = PAGE * (pages + (i < rest)),
		};
		CHECK(!pthread_create(&thread[i], NULL, prefault_part, &part[i]));
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		errno = part[i].error;
		CHECK(!part[i].error);
	}
	pthread_barrier_destroy(&start);
}

/* As guest memory of KVM, with a log of what is written and without. */
static void set_memory(int vm, char *mem, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.flags = flags,
		.memory_size = SIZE,
		.userspace_addr = (uintptr_t)mem,
	};
	static unsigned long log[SIZE / PAGE / 64 + 1];
	struct kvm_dirty_log dirty = { .dirty_bitmap = log };

	CHECK(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
	if (flags & KVM_MEM_LOG_DIRTY_PAGES)
		CHECK(!ioctl(vm, KVM_GET_DIRTY_LOG, &dirty));
}

/* virtio-mem, the balloon and free page reporting: the file first, the mapping then. */
static void discard(int fd, char *mem, size_t offset, size_t len)
{
	CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len));
	CHECK(!madvise(mem + offset, len, MADV_DONTNEED));
}

static bool is_all(const char *mem, size_t len, char value)
{
	return mem[0] == value && !memcmp(mem, mem + 1, len - 1);
}

static void cloud_hypervisor(const char *path, int node)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), kvm, vm, status;
	unsigned long mask[2] = { 1UL << node }, before;
	char *mem;
	pid_t pid;

	CHECK(fd >= 0);
	mem = map_region(fd);
	CHECK(!syscall(SYS_mbind, mem, SIZE, MPOL_BIND, mask, 8 * sizeof(mask),
		       MPOL_MF_STRICT | MPOL_MF_MOVE));
	prefault(mem);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	CHECK(kvm >= 0);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	CHECK(vm >= 0);
	set_memory(vm, mem, 0);
	CHECK(!madvise(mem, SIZE, MADV_MERGEABLE) || errno == EINVAL);
	CHECK(!madvise(mem, SIZE, MADV_DONTDUMP));
	memset(mem, 'G', SIZE);

	/* Unplug of 16 MiB: free at once, no part of the rest is lost, and zeroes come back. */
	before = free_blocks(fd);
	discard(fd, mem, 16 * BLOCK, 8 * BLOCK);
	CHECK(free_blocks(fd) == before + 8);
	CHECK(is_all(mem, 16 * BLOCK, 'G') && is_all(mem + 24 * BLOCK, SIZE - 24 * BLOCK, 'G'));
	CHECK(free_blocks(fd) == before + 8);
	/* Plug of half of it, with prefault and then by touch. */
	CHECK(!madvise(mem + 16 * BLOCK, 2 * BLOCK, MADV_POPULATE_WRITE));
	CHECK(free_blocks(fd) == before + 6);
	CHECK(is_all(mem + 18 * BLOCK, 2 * BLOCK, 0));
	CHECK(free_blocks(fd) == before + 4);
	memset(mem + 16 * BLOCK, 'P', 4 * BLOCK);

	/* A balloon that has all pages of a block but one, and free page reporting. */
	for (size_t at = 0; at < BLOCK - PAGE; at += PAGE)
		discard(fd, mem, at, PAGE);
	CHECK(free_blocks(fd) == before + 4);
	CHECK(is_all(mem, BLOCK - PAGE, 0) && is_all(mem + BLOCK - PAGE, PAGE, 'G'));
	CHECK(!madvise(mem, PAGE, MADV_WILLNEED));
	discard(fd, mem, 2 * BLOCK, BLOCK);
	CHECK(free_blocks(fd) == before + 5);

	/* Migration and snapshot; memory of a zone in a file with shared=on is not copied. */
	set_memory(vm, mem, KVM_MEM_LOG_DIRTY_PAGES);
	set_memory(vm, mem, 0);
	close(vm);
	munmap(mem, SIZE);
	close(fd);

	/* Restore, by another process. It fills no hole. */
	pid = fork();
	if (!pid) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		CHECK(fd >= 0);
		mem = map_region(fd);
		CHECK(!syscall(SYS_mbind, mem, SIZE, MPOL_BIND, mask, 8 * sizeof(mask),
			       MPOL_MF_STRICT | MPOL_MF_MOVE));
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
		CHECK(vm >= 0);
		set_memory(vm, mem, 0);
		CHECK(free_blocks(fd) == before + 5);
		CHECK(is_all(mem + BLOCK - PAGE, PAGE + BLOCK, 'G'));
		CHECK(is_all(mem + 3 * BLOCK, 13 * BLOCK, 'G'));
		CHECK(is_all(mem + 16 * BLOCK, 4 * BLOCK, 'P'));
		CHECK(is_all(mem + 24 * BLOCK, SIZE - 24 * BLOCK, 'G'));
		CHECK(free_blocks(fd) == before + 5);
		exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
}

/* VHOST_USER_SET_MEM_TABLE: a descriptor for each region. */
static void send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = "", byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	CHECK(sendmsg(sock, &msg, 0) == 1);
}

static int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	CHECK(recvmsg(sock, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* What the source has in each byte of a page. */
static char content(size_t at)
{
	return 1 + at / PAGE % 101;
}

/* The source writes pages that it is asked for into the file, and says so. */
static void serve_pages(int sock)
{
	int fd = receive_fd(sock);
	char *mem = map_region(fd);
	uint64_t at, done = 0;

	while (recv(sock, &at, sizeof(at), 0) == sizeof(at)) {
		memset(mem + at, content(at), PAGE);
		done = PAGE;
		CHECK(send(sock, &done, sizeof(done), 0) == sizeof(done));
	}
	exit(!done);
}

static int open_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	CHECK(dev >= 0);
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	CHECK(fd >= 0);
	CHECK(!ioctl(fd, UFFDIO_API, &api));
	close(dev);
	return fd;
}

/* Asks the source for a page, and maps what it has written. */
static void resolve_page(int uffd, int sock, char *mem, uint64_t at)
{
	struct uffdio_continue cont = { .range = { (uintptr_t)mem + at, PAGE } };
	uint64_t done;

	CHECK(send(sock, &at, sizeof(at), 0) == sizeof(at));
	CHECK(recv(sock, &done, sizeof(done), 0) == sizeof(done) && done == PAGE);
	if (!ioctl(uffd, UFFDIO_CONTINUE, &cont))
		return;
	CHECK(errno == EEXIST);
	CHECK(!ioctl(uffd, UFFDIO_WAKE, &cont.range));
}

struct fault_handler {
	int uffd, sock;
	char *mem;
	size_t faults;
};

/* What the guest waits for comes first, and all other pages in their order. */
static void *handle_faults(void *arg)
{
	static bool served[SIZE / PAGE];
	struct fault_handler *h = arg;
	struct pollfd wait = { .fd = h->uffd, .events = POLLIN };
	size_t next = 0, page;
	struct uffd_msg msg;

	while (next < SIZE / PAGE) {
		CHECK(poll(&wait, 1, 0) >= 0);
		page = next;
		if (wait.revents & POLLIN && read(h->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
			CHECK(msg.event == UFFD_EVENT_PAGEFAULT);
			page = (msg.arg.pagefault.address - (uintptr_t)h->mem) / PAGE;
			h->faults++;
		}
		if (!served[page])
			resolve_page(h->uffd, h->sock, h->mem, page * PAGE);
		served[page] = true;
		while (next < SIZE / PAGE && served[next])
			next++;
	}
	return NULL;
}

static void cloud_hypervisor_postcopy(const char *path)
{
	struct fault_handler h;
	struct uffdio_register reg;
	struct machine guest = {};
	int fd = open(path, O_RDWR | O_CLOEXEC), sock[2], status;
	unsigned long before = free_blocks(fd);
	pthread_t handler;
	size_t i, at;
	pid_t pid;

	CHECK(fd >= 0 && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock));
	pid = fork();
	if (!pid) {
		close(sock[0]);
		serve_pages(sock[1]);
	}
	close(sock[1]);
	send_fd(sock[0], fd);
	h = (struct fault_handler) { .sock = sock[0], .mem = map_region(fd) };
	CHECK(!machine_start(&guest, h.mem, SIZE));

	/* As released, it registers for both. It ends there, before the guest has run. */
	h.uffd = open_uffd(UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM);
	reg = (struct uffdio_register) {
		.range = { (uintptr_t)h.mem, SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
	};
	FAILS(EINVAL, ioctl(h.uffd, UFFDIO_REGISTER, &reg));
	/* The change: MINOR alone, and no UFFDIO_COPY in what it wants of the range. */
	reg.mode = UFFDIO_REGISTER_MODE_MINOR;
	CHECK(!ioctl(h.uffd, UFFDIO_REGISTER, &reg));
	CHECK(reg.ioctls & 1 << _UFFDIO_WAKE && reg.ioctls & 1 << _UFFDIO_CONTINUE);
	CHECK(!(reg.ioctls & 1 << _UFFDIO_COPY));

	CHECK(!pthread_create(&handler, NULL, handle_faults, &h));
	/* From the end, as the others come from the start. */
	for (i = 1; i <= 500; i++) {
		at = SIZE - i * 4 * PAGE + i;
		CHECK(!machine_run(&guest, READ, h.mem + at));
		CHECK(guest.byte == content(at));
	}
	CHECK(!pthread_join(handler, NULL));
	CHECK(h.faults >= 100);
	for (at = 0; at < SIZE; at += PAGE)
		CHECK(is_all(h.mem + at, PAGE, content(at)));
	close(h.uffd);
	CHECK(!madvise(h.mem, SIZE, MADV_DONTNEED));
	CHECK(!machine_run(&guest, READ, h.mem + BLOCK) && guest.byte == content(BLOCK));
	CHECK(free_blocks(fd) == before);
	close(sock[0]);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
}

/*
 * Two regions of one file, as with the hole of a PC below 4 GiB. DPDK maps from the start
 * of the file, with the length rounded up to st_blksize; libvhost-user just the region.
 */
static void vhost_user(const char *path)
{
	static const struct {
		size_t offset, size;
	} regions[] = { { 0, 3UL << 20 }, { 3UL << 20, SIZE - (3UL << 20) } };
	int fd = open(path, O_RDWR | O_CLOEXEC), sock[2], status;
	unsigned long before;
	char *mem, *at;
	struct stat st;
	size_t i, len;
	pid_t pid;

	CHECK(fd >= 0);
	mem = map_region(fd);
	memset(mem, 'G', SIZE);
	discard(fd, mem, 8 * BLOCK, BLOCK);
	before = free_blocks(fd);
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock));
	pid = fork();
	if (!pid) {
		munmap(mem, SIZE);
		close(fd);
		fd = receive_fd(sock[1]);
		CHECK(!fstat(fd, &st));
		CHECK(st.st_blksize == BLOCK);
		for (i = 0; i < 2; i++) {
			at = mmap(NULL, regions[i].size, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_NORESERVE, fd, regions[i].offset);
			CHECK(at != MAP_FAILED);
			CHECK(at[0] == 'G' && at[regions[i].size - 1] == 'G');
			CHECK(!munmap(at, regions[i].size));
		}
		CHECK(free_blocks(fd) == before);
		for (i = 0; i < 2; i++) {
			len = regions[i].offset + regions[i].size;
			len = (len + st.st_blksize - 1) / st.st_blksize * st.st_blksize;
			at = mmap(NULL, len, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_POPULATE, fd, 0);
			CHECK(at != MAP_FAILED);
			CHECK(!madvise(at, len, MADV_DONTDUMP));
			at[regions[i].offset] = 'D';
			at[regions[i].offset + regions[i].size - 1] = 'E';
			CHECK(!munmap(at, len));
		}
		exit(0);
	}
	send_fd(sock[0], fd);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	for (i = 0; i < 2; i++)
		CHECK(mem[regions[i].offset] == 'D' &&
		      mem[regions[i].offset + regions[i].size - 1] == 'E');
	/* Without MAP_NORESERVE, it has filled the hole. */
	CHECK(free_blocks(fd) == before - 1);
}

static void firecracker(const char *path)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg;
	int fd = open(path, O_RDWR | O_CLOEXEC), uffd;
	char *mem, byte = 'G';

	CHECK(fd >= 0);
	/* A snapshot is written. */
	FAILS(EINVAL, write(fd, &byte, 1));
	/* It is loaded as a private mapping, or page by page into anonymous memory. */
	FAILS(EINVAL, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0));
	mem = map_region(fd);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	CHECK(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api));
	reg = (struct uffdio_register) {
		.range = { (uintptr_t)mem, SIZE & ~(BLOCK - 1) },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	FAILS(EINVAL, ioctl(uffd, UFFDIO_REGISTER, &reg));
	/* Its balloon, for memory that is shared. */
	mem[0] = 'G';
	CHECK(!madvise(mem, BLOCK, MADV_REMOVE));
	CHECK(!mem[0]);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "cloud-hypervisor"))
		cloud_hypervisor(argv[2], atoi(argv[3]));
	else if (argc == 3 && !strcmp(argv[1], "cloud-hypervisor-postcopy"))
		cloud_hypervisor_postcopy(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "vhost-user"))
		vhost_user(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "firecracker"))
		firecracker(argv[2]);
	else
		return 2;
	printf("calls of %s: work\n", argv[1]);
	return 0;
}
