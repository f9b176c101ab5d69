/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_STRING_H
#define _TEST_LINUX_STRING_H

#include_next <linux/string.h>

size_t strlcat(char *dest, const char *src, size_t size);

#endif /* _TEST_LINUX_STRING_H */
