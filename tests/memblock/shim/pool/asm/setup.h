/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_ASM_SETUP_H
#define _TEST_ASM_SETUP_H

/* As on x86-64. */
#define COMMAND_LINE_SIZE	2048

#endif /* _TEST_ASM_SETUP_H */
