/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_ASM_SECTIONS_H
#define _TEST_ASM_SECTIONS_H

/* Where the image of the kernel is that is tested, not of this program. */
extern unsigned long boot_image_start;
extern unsigned long boot_image_end;
extern unsigned long boot_per_cpu_size;

#define _text	boot_image_start
#define _end	boot_image_end

#define __per_cpu_start	0UL
#define __per_cpu_end	boot_per_cpu_size

#endif /* _TEST_ASM_SECTIONS_H */
