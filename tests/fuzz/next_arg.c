// SPDX-License-Identifier: GPL-2.0
/*
 * next_arg() of the kernel, with its own isspace(): linux/ctype.h is the kernel's, the
 * other headers that these files include are empty.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define check_sub_overflow(a, b, to)	__builtin_sub_overflow(a, b, to)
#define fallthrough			__attribute__((fallthrough))
#define likely(x)			(x)
#define unlikely(x)			(x)
#define simple_strtol			strtol
#define simple_strtoull			strtoull

/* For memparse(), which is not called. */
static bool check_shl_overflow(unsigned long long n, int shift, unsigned long long *to)
{
	*to = n << shift;
	return *to >> shift != n;
}

extern const unsigned char _ctype[];
char *skip_spaces(const char *s);
char *next_arg(char *args, char **param, char **val);

#include <lib/ctype.c>
#include <lib/cmdline.c>

char *skip_spaces(const char *s)
{
	while (isspace(*s))
		s++;
	return (char *)s;
}
