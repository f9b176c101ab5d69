/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_SYSFS_H
#define _TEST_LINUX_SYSFS_H

typedef unsigned long pgoff_t;

struct attribute {
};

#endif /* _TEST_LINUX_SYSFS_H */
