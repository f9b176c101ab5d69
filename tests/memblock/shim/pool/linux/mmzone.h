/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_MMZONE_H
#define _TEST_LINUX_MMZONE_H

#include_next <linux/mmzone.h>

#include <asm/sparsemem.h>

#endif /* _TEST_LINUX_MMZONE_H */
