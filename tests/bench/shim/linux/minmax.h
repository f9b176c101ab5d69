/* SPDX-License-Identifier: GPL-2.0 */
/* As in the kernel: all types of 64 bits can be compared. */
#include <linux/kernel.h>

#undef min
#undef max
#define min(a, b) ({ __auto_type _a = (a); __auto_type _b = (b); _a < _b ? _a : _b; })
#define max(a, b) ({ __auto_type _a = (a); __auto_type _b = (b); _a > _b ? _a : _b; })
