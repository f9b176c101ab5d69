/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_PRINTK_H
#define _TEST_LINUX_PRINTK_H

#include <stdbool.h>
#include <stdio.h>
#include <asm/bug.h>

/* Understands what the kernel's own does and libc's does not: %pa, %pap and %*pbl. */
void boot_printk(const char *fmt, ...);

#ifndef pr_fmt
#define pr_fmt(fmt) fmt
#endif

#define printk		boot_printk
#define pr_cont		boot_printk
#define pr_debug(fmt, ...)	boot_printk("debug: " pr_fmt(fmt), ##__VA_ARGS__)
#define pr_info(fmt, ...)	boot_printk("info: " pr_fmt(fmt), ##__VA_ARGS__)
#define pr_notice(fmt, ...)	boot_printk("notice: " pr_fmt(fmt), ##__VA_ARGS__)
#define pr_warn(fmt, ...)	boot_printk("warn: " pr_fmt(fmt), ##__VA_ARGS__)
#define pr_warn_once(fmt, ...)						\
	do {								\
		static bool said;					\
									\
		if (!said)						\
			pr_warn(fmt, ##__VA_ARGS__);			\
		said = true;						\
	} while (0)
#define pr_err(fmt, ...)	boot_printk("err: " pr_fmt(fmt), ##__VA_ARGS__)

#endif /* _TEST_LINUX_PRINTK_H */
