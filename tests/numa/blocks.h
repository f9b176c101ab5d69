/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BLOCKS_H
#define BLOCKS_H

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

#include <linux/fiemap.h>
#include <linux/fs.h>

/* The physical address of a byte of a file, or 0. */
static inline uint64_t phys_of(int fd, uint64_t offset)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = {};
	struct fiemap_extent *ext = u.map.fm_extents;

	u.map.fm_start = offset;
	u.map.fm_length = 1;
	u.map.fm_extent_count = 1;
	if (ioctl(fd, FS_IOC_FIEMAP, &u) || u.map.fm_mapped_extents != 1)
		return 0;
	return ext->fe_physical + offset - ext->fe_logical;
}

/* How many blocks the file system of the current directory has free, or -1. */
static inline long free_blocks(void)
{
	struct statfs st;

	return statfs(".", &st) ? -1 : (long)st.f_bfree;
}

#endif /* BLOCKS_H */
