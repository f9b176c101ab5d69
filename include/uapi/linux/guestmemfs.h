/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_GUESTMEMFS_H
#define _UAPI_LINUX_GUESTMEMFS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: guestmemfs for programs
 *
 * statfs(2) returns GUESTMEMFS_MAGIC, "GMFS" in ASCII, as f_type, and the size of a
 * block as f_bsize. The block is what fallocate(FALLOC_FL_PUNCH_HOLE) frees, and the
 * alignment that an address needs so that large mappings serve it.
 */

#define GUESTMEMFS_MAGIC	0x474d4653

/**
 * struct guestmemfs_exchange_range - argument of GUESTMEMFS_IOC_EXCHANGE_RANGE
 * @file1_fd: file1; file2 is the file of the ioctl
 * @pad: 0
 * @file1_offset: start of the range in file1, in bytes; a multiple of 2 MiB
 * @file2_offset: start of the range in file2, in bytes; a multiple of 2 MiB
 * @length: length of both ranges, in bytes; a multiple of 2 MiB, or up to the end of
 *	both files
 * @flags: GUESTMEMFS_EXCHANGE_RANGE_*
 *
 * The layout is that of struct xfs_exchange_range.
 */
struct guestmemfs_exchange_range {
	__s32 file1_fd;
	__u32 pad;
	__u64 file1_offset;
	__u64 file2_offset;
	__u64 length;
	__u64 flags;
};

/* Exchange up to the ends of both files, and the sizes; @length is ignored. */
#define GUESTMEMFS_EXCHANGE_RANGE_TO_EOF	(1ULL << 0)

/* Accepted for programs that know XFS; there is nothing to flush. */
#define GUESTMEMFS_EXCHANGE_RANGE_DSYNC		(1ULL << 1)

/* Check everything, and change nothing. */
#define GUESTMEMFS_EXCHANGE_RANGE_DRY_RUN	(1ULL << 2)

/* Not supported: EOPNOTSUPP. */
#define GUESTMEMFS_EXCHANGE_RANGE_FILE1_WRITTEN	(1ULL << 3)

/*
 * The range of file2 may reach or begin behind the end of file2, which grows to the
 * end of the range. XFS does not have this flag.
 */
#define GUESTMEMFS_EXCHANGE_RANGE_GROW		(1ULL << 63)

/*
 * The range of file2 has to be a hole, also at the instant of the exchange: EEXIST. So
 * memory that another process allocates there is not lost. XFS does not have this flag.
 */
#define GUESTMEMFS_EXCHANGE_RANGE_INTO_HOLE	(1ULL << 62)

/* The number of XFS_IOC_EXCHANGE_RANGE. */
#define GUESTMEMFS_IOC_EXCHANGE_RANGE \
	_IOW('X', 129, struct guestmemfs_exchange_range)

#endif /* _UAPI_LINUX_GUESTMEMFS_H */
