// SPDX-License-Identifier: GPL-2.0
/*
 * For gmfs-numa carve: a process that has the parent open maps the memory and stores to it,
 * as late as possible, right before the memory moves to the child.
 *
 * LD_PRELOAD=late_store.so gmfs-numa carve ...
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/guestmemfs.h>

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int fd, unsigned long request, ...) = dlsym(RTLD_NEXT, "ioctl");
	const struct guestmemfs_exchange_range *range;
	va_list list;
	void *arg, *mem;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	range = arg;
	if (request == GUESTMEMFS_IOC_EXCHANGE_RANGE &&
	    !(range->flags & GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN)) {
		mem = mmap(NULL, range->length, PROT_READ | PROT_WRITE, MAP_SHARED,
			   range->file1_fd, range->file1_offset);
		if (mem == MAP_FAILED)
			abort();
		memset(mem, 'L', range->length);
		munmap(mem, range->length);
	}
	return next(fd, request, arg);
}
