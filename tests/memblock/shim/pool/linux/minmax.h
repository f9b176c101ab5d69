/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_MINMAX_H
#define _TEST_LINUX_MINMAX_H

/* What the kernel's own minmax.h needs of compiler.h; tools/ has no such file. */
#include <linux/compiler.h>

#define __UNIQUE_ID(prefix)	__PASTE(__UNIQUE_ID_##prefix, __COUNTER__)
#define auto			__auto_type
#define __signed_scalar_typeof(x)	typeof(x)
#define is_signed_type(type)	(((type)(-1)) < (type)1)
#define statically_true(x)	(__builtin_constant_p(x) && (x))

#undef min
#undef max
#undef min_t
#undef max_t
#undef clamp

#include_next <linux/minmax.h>

#endif /* _TEST_LINUX_MINMAX_H */
