/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_KERNEL_H
#define _TEST_LINUX_KERNEL_H

#include_next <linux/kernel.h>

/* The kernel's own compare what differs in type alone; those of tools/ do not. */
#include <linux/minmax.h>

#endif /* _TEST_LINUX_KERNEL_H */
