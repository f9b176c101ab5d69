/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_OVERFLOW_H
#define _TEST_LINUX_OVERFLOW_H

#include_next <linux/overflow.h>

#define check_shl_overflow(a, s, d)	__builtin_mul_overflow(a, 1ULL << (s), d)

#endif /* _TEST_LINUX_OVERFLOW_H */
