/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_DUMP_H
#define _GMPOOL_DUMP_H

#include <linux/types.h>

struct file;
struct gmpool;

ssize_t gmpool_dump_read(struct gmpool *pool, const struct file *file, char *buf,
			 loff_t off, size_t count);

#endif /* _GMPOOL_DUMP_H */
