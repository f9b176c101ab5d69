/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_GUESTMEMFS_H
#define _UAPI_LINUX_GUESTMEMFS_H

/**
 * DOC: guestmemfs for programs
 *
 * statfs(2) returns GUESTMEMFS_MAGIC, "GMFS" in ASCII, as f_type, and the size of a
 * block as f_bsize. The block is what fallocate(FALLOC_FL_PUNCH_HOLE) frees, and the
 * alignment that an address needs so that large mappings serve it.
 */

#define GUESTMEMFS_MAGIC	0x474d4653

#endif /* _UAPI_LINUX_GUESTMEMFS_H */
