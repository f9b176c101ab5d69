/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_MUTEX_H
#define _TEST_LINUX_MUTEX_H

#include_next <linux/mutex.h>

struct mutex {
};

#endif /* _TEST_LINUX_MUTEX_H */
