/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions of pools that depend on the architecture: arch-x86.c and
 * arch-arm64.c implement them. All other files of this directory are common
 * code. See also gmpool_maps_1g().
 */
#ifndef _GMPOOL_ARCH_H
#define _GMPOOL_ARCH_H

#include <linux/types.h>

u64 gmpool_arch_swiotlb_size(void);
u64 gmpool_arch_image_align(void);
bool gmpool_arch_at_boot(u64 start, u64 end);
bool gmpool_arch_cached(u64 base, u64 size);
void gmpool_arch_uncached(u64 base, u64 size);
int gmpool_arch_unmap(u64 base, u64 size);
int gmpool_arch_map(u64 base, u64 size);

int gmpool_arch_open_window(unsigned int cpu);
void gmpool_arch_zero(phys_addr_t phys, size_t len, bool idle);
size_t gmpool_arch_copy(phys_addr_t to, phys_addr_t from, size_t len);
void gmpool_arch_close_window(phys_addr_t block);

#endif /* _GMPOOL_ARCH_H */
