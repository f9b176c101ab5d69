/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmfs-numa: what a QEMU says of its guest's memory, by its machine protocol (QMP).
 */
#ifndef GMFS_QMP_H
#define GMFS_QMP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* A range of a file that a guest has, or can get without another command to QEMU. */
struct plugged {
	uint64_t start;		/* bytes */
	uint64_t end;
	char *why;		/* by which device or memory backend */
};

/*
 * The ranges of a file that memory backends of the QEMU at a socket have plugged into its
 * guest; their number is returned. Exits, and says why, if they cannot be known.
 */
size_t qmp_plugged(const char *path, const struct stat *st, struct plugged **plugged);
void plugged_free(struct plugged *plugged, size_t nr);

#endif /* GMFS_QMP_H */
