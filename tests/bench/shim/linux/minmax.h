/* SPDX-License-Identifier: GPL-2.0 */
/* As the kernel has them: 64 bits are comparable with 64 bits, whatever they are called. */
#include <linux/kernel.h>

#undef min
#undef max
#define min(a, b) ({ __auto_type _a = (a); __auto_type _b = (b); _a < _b ? _a : _b; })
#define max(a, b) ({ __auto_type _a = (a); __auto_type _b = (b); _a > _b ? _a : _b; })
