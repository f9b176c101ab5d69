/* SPDX-License-Identifier: GPL-2.0 */
/* For declarations in linux/guestmem_pool.h that user space does not use. */
#ifndef _BENCH_SYSFS_H
#define _BENCH_SYSFS_H

#define pgoff_t	unsigned long

struct attribute {
	const char *name;
};

#endif
