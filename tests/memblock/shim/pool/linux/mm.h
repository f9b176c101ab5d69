/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_POOL_MM_H
#define _TEST_LINUX_POOL_MM_H

#include_next <linux/mm.h>

#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/mm_types.h>
#include <linux/seq_file.h>

#define PMD_SIZE	(1UL << 21)

#define has_transparent_hugepage boot_has_pmd_mappings
bool boot_has_pmd_mappings(void);

#define early_pfn_to_nid boot_pfn_to_nid
int boot_pfn_to_nid(unsigned long pfn);

#endif /* _TEST_LINUX_POOL_MM_H */
