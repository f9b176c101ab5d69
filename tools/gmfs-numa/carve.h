/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmfs-numa carve: declarations that its files share.
 */
#ifndef GMFS_CARVE_H
#define GMFS_CARVE_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* One of the two files. */
struct side {
	const char *path;
	int fd;			/* for reading, and for writing but in a dry run */
	int nid;
	struct stat st;
	uint64_t block;		/* bytes */
	struct extent *extents;
	ssize_t nr_extents;
};

/*
 * Offset of a range of the file whose blocks no process maps and no device has pinned: that
 * at @offset, or the best one if @offset is NUMBER_UNKNOWN. Exits and says why if there is
 * none. @size_text is @size as the user has written it. @lease is the result of
 * file_lease(): -EAGAIN if the file has other users. @qmp is the socket of a QEMU whose guest
 * must not have the range, or NULL.
 */
uint64_t carve_find(const struct side *parent, const char *size_text, uint64_t size,
		    uint64_t offset, int lease, const char *qmp);

#endif /* GMFS_CARVE_H */
