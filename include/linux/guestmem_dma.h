/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory for devices: the interface of guestmemfs for drivers that look
 * for the pfns of a mapping.
 *
 * Pool memory has no struct pages, and a file gives blocks back when it is
 * truncated, punched or deleted, once no page table leads to them. Who follows
 * pfns either learns of that by an MMU notifier, as KVM does, or must not follow
 * them.
 */
#ifndef _LINUX_GUESTMEM_DMA_H
#define _LINUX_GUESTMEM_DMA_H

#include <linux/types.h>

struct vm_area_struct;

#ifdef CONFIG_GUESTMEMFS_FS
bool guestmem_refuse_pfns(const struct vm_area_struct *vma, const char *user);
#else
static inline bool guestmem_refuse_pfns(const struct vm_area_struct *vma,
					const char *user)
{
	return false;
}
#endif

#endif /* _LINUX_GUESTMEM_DMA_H */
