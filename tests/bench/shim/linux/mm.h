/* SPDX-License-Identifier: GPL-2.0 */
/* What fs/guestmemfs/numa/bitmap.c takes from linux/mm.h, in user space. */
#ifndef _BENCH_MM_H
#define _BENCH_MM_H

#include <errno.h>
#include <stdlib.h>

#define GFP_KERNEL		0
#define kvcalloc(n, size, gfp)	calloc(n, size)
#define kvfree(p)		free(p)
#define U64_MAX			((u64)~0ULL)

#endif
