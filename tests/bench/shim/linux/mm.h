/* SPDX-License-Identifier: GPL-2.0 */
/* What fs/guestmemfs/numa/bitmap.c takes from linux/mm.h, in user space. */
#ifndef _BENCH_MM_H
#define _BENCH_MM_H

#include <errno.h>
#include <stdlib.h>

#define GFP_KERNEL	0
#define U64_MAX		((u64)~0ULL)

static inline void *kvcalloc(size_t n, size_t size, int gfp)
{
	return gfp == GFP_KERNEL ? calloc(n, size) : NULL;
}

static inline void *kvzalloc(size_t size, int gfp)
{
	return kvcalloc(1, size, gfp);
}

static inline void kvfree(void *p)
{
	free(p);
}

#endif
