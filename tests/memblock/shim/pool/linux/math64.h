/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_MATH64_H
#define _TEST_LINUX_MATH64_H

#include_next <linux/math64.h>

#include <linux/math.h>

static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	return (unsigned __int128)a * b / c;
}

static inline u64 mul_u64_u64_div_u64_roundup(u64 a, u64 b, u64 c)
{
	return ((unsigned __int128)a * b + c - 1) / c;
}

#define DIV64_U64_ROUND_UP(a, b)	DIV_ROUND_UP(a, b)
#define DIV_ROUND_UP_ULL(a, b)		DIV_ROUND_UP((unsigned long long)(a), b)

#endif /* _TEST_LINUX_MATH64_H */
