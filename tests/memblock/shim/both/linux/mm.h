/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_MM_H
#define _TEST_LINUX_MM_H

#include_next <linux/mm.h>

/* All physical memory is one mapping, of which hardly a page is ever touched. */
extern char *boot_memory;

/* Of internal.h of memblock's tests. */
extern bool mirrored_kernelcore;

#undef __va
#undef __pa
#define __va(phys)	((void *)(boot_memory + (phys)))
#define __pa(virt)	((unsigned long)((char *)(virt) - boot_memory))
#undef phys_to_virt
#undef virt_to_phys
#define phys_to_virt(phys)	__va(phys)
#define virt_to_phys(virt)	((phys_addr_t)__pa(virt))

#endif /* _TEST_LINUX_MM_H */
