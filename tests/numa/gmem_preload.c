// SPDX-License-Identifier: GPL-2.0
/*
 * For programs that use guest_memfd: each guest_memfd that they create gets its memory
 * from a file of its own, without a name, in the directory GMFS_DIR. Arguments that the
 * kernel refuses for every guest_memfd are passed on as they are.
 *
 * GMFS_COUNT, a file, gets a byte for each that has been created.
 *
 * LD_PRELOAD=gmem_preload.so PROGRAM
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <asm/kvm.h>
#include <linux/kvm.h>

#define PAGE	4096UL
#define KNOWN	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static int (*next)(int fd, unsigned long request, void *arg);

static int count_one(void)
{
	const char *path = getenv("GMFS_COUNT");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	int err = fd < 0 || write(fd, "1", 1) != 1 ? -1 : 0;

	close(fd);
	return err;
}

static int create(int vm, const struct kvm_create_guest_memfd *args)
{
	struct kvm_create_guest_memfd backed = *args;
	int file = open(getenv("GMFS_DIR"), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int fd = -1, err;

	if (file < 0)
		return -1;
	backed.flags |= GUEST_MEMFD_FLAG_BACKING;
	backed.backing_fd = file;
	if (!ftruncate(file, args->size))
		fd = next(vm, KVM_CREATE_GUEST_MEMFD, &backed);
	if (fd >= 0 && count_one())
		abort();
	err = errno;
	close(file);
	errno = err;
	return fd;
}

int ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_create_guest_memfd *args;
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	args = arg;
	if (request == KVM_CREATE_GUEST_MEMFD && (long)args->size > 0 && !(args->size % PAGE) &&
	    !(args->flags & ~KNOWN))
		return create(fd, args);
	return next(fd, request, arg);
}
