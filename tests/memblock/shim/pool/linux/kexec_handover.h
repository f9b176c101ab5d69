/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_KEXEC_HANDOVER_H
#define _TEST_LINUX_KEXEC_HANDOVER_H

#include <linux/types.h>

bool kho_is_enabled(void);
bool is_kho_boot(void);
int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size);
bool kho_scratch_overlap(phys_addr_t phys, size_t size);
int kho_walk_preserved(int (*fn)(phys_addr_t phys, u64 size, void *data),
		       void *data);

#endif /* _TEST_LINUX_KEXEC_HANDOVER_H */
