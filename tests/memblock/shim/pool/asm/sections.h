/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_ASM_SECTIONS_H
#define _TEST_ASM_SECTIONS_H

/* Where the image of the kernel is that is tested, not of this program. */
extern unsigned long boot_image_start;
extern unsigned long boot_image_end;

#define _text	boot_image_start
#define _end	boot_image_end

#endif /* _TEST_ASM_SECTIONS_H */
