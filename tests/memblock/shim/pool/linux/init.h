/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_INIT_H
#define _TEST_LINUX_INIT_H

#include_next <linux/init.h>

#define __ro_after_init
#define core_initcall(fn)

/* So that the test can give a parameter to who takes it, by name as at boot. */
void boot_register_param(const char *name, int (*setup)(char *value));

#undef early_param
#define early_param(name, fn)						\
	static void __attribute__((constructor)) register_##fn(void)	\
	{								\
		boot_register_param(name, fn);				\
	}								\
	struct boot_semicolon

#endif /* _TEST_LINUX_INIT_H */
