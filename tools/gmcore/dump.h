/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMCORE_DUMP_H
#define _GMCORE_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A pool's metadata: as the attribute "metadata" of a node has it. */
struct gmcore_dump {
	int nid;
	uint64_t total_blocks;
	uint64_t generation;
	char release[73];
	uint8_t uuid[16];
	bool live;		/* read from a kernel that still used it: no checksums */
	uint64_t inodes;
	char *notes;		/* what is not a fault; NULL if nothing */
};

char *gmcore_check_dump(void *dump, size_t size, struct gmcore_dump *about);
uint64_t gmcore_dump_size(const void *super);

#endif /* _GMCORE_DUMP_H */
