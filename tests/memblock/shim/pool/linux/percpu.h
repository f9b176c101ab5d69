/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_PERCPU_H
#define _TEST_LINUX_PERCPU_H

/* As with modules, and without CONFIG_RANDOM_KMALLOC_CACHES. */
#define PERCPU_MODULE_RESERVE	(8 << 10)
#define PERCPU_DYNAMIC_RESERVE	(28 << 10)

#endif /* _TEST_LINUX_PERCPU_H */
