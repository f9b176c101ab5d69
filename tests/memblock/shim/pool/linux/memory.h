/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_MEMORY_H
#define _TEST_LINUX_MEMORY_H

static inline int memory_block_advise_max_size(unsigned long size)
{
	return 0;
}

#endif /* _TEST_LINUX_MEMORY_H */
