/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory for devices: pins of ranges of guestmemfs files.
 *
 * Pool memory has no struct pages, so a driver cannot take references on it. It
 * pins a range of a file instead. A pin keeps the blocks of the range in the file:
 * truncation and hole punching of them fail with EBUSY. The pin holds the file
 * open, so the memory of a deleted file comes back with the last pin.
 *
 * A driver that follows pfns without a pin needs an MMU notifier, as KVM has one,
 * or must leave these mappings alone: guestmem_refuse_pfns().
 */
#ifndef _LINUX_GUESTMEM_DMA_H
#define _LINUX_GUESTMEM_DMA_H

#include <linux/types.h>

struct file;
struct guestmem_pin;
struct mm_struct;
struct vm_area_struct;

#ifdef CONFIG_GUESTMEMFS_FS
struct guestmem_pin *guestmem_pin_file(struct file *file, u64 start, u64 len,
				       bool write);
struct guestmem_pin *guestmem_pin_vma(struct vm_area_struct *vma,
				      unsigned long addr, u64 len, bool write);
struct guestmem_pin *guestmem_pin_user(struct mm_struct *mm, unsigned long addr,
				       u64 len, bool write);
unsigned long guestmem_pin_pfn(const struct guestmem_pin *pin,
			       unsigned long page, unsigned long *nr);
void guestmem_unpin(struct guestmem_pin *pin);
bool guestmem_refuse_pfns(const struct vm_area_struct *vma, const char *user);
#else
static inline struct guestmem_pin *guestmem_pin_file(struct file *file, u64 start,
						     u64 len, bool write)
{
	return NULL;
}

static inline struct guestmem_pin *guestmem_pin_vma(struct vm_area_struct *vma,
						    unsigned long addr, u64 len,
						    bool write)
{
	return NULL;
}

static inline struct guestmem_pin *guestmem_pin_user(struct mm_struct *mm,
						     unsigned long addr, u64 len,
						     bool write)
{
	return NULL;
}

static inline unsigned long guestmem_pin_pfn(const struct guestmem_pin *pin,
					     unsigned long page, unsigned long *nr)
{
	return 0;
}

static inline void guestmem_unpin(struct guestmem_pin *pin)
{
}

static inline bool guestmem_refuse_pfns(const struct vm_area_struct *vma,
					const char *user)
{
	return false;
}
#endif

#endif /* _LINUX_GUESTMEM_DMA_H */
