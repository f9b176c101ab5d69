/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_KSTRTOX_H
#define _TEST_LINUX_KSTRTOX_H

#include <linux/types.h>

int kstrtoull(const char *s, unsigned int base, u64 *res);

#endif /* _TEST_LINUX_KSTRTOX_H */
