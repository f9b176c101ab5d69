/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_MM_TYPES_H
#define _TEST_LINUX_MM_TYPES_H

#include <linux/mm.h>

/* Its size counts: the kernel needs one for each page that no pool has. */
struct page {
	char bytes[64];
};

#endif /* _TEST_LINUX_MM_TYPES_H */
