/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMFS_SURVEY_H
#define _GMFS_SURVEY_H

#include <linux/guestmem_pool.h>
#include <linux/types.h>

#include "move.h"

/* Blocks of a part of the pool: what moves at once is about as large. */
#define GMFS_PART_BLOCKS	512

/**
 * struct gmfs_place - a file has blocks in a part of the pool
 * @part: number of the part
 * @ino: inode number of the file
 */
struct gmfs_place {
	u64 part;
	u64 ino;
};

/**
 * struct gmfs_survey - what the files of a node have of its blocks
 * @movable: bitmap of the blocks that can move
 * @places: by ascending part and inode number
 * @nr: number of places
 * @room: number of places that there is memory for
 */
struct gmfs_survey {
	unsigned long *movable;
	struct gmfs_place *places;
	size_t nr;
	size_t room;
};

int gmfs_survey(struct gmfs_mover *m, struct gmfs_survey *survey);
void gmfs_survey_free(struct gmfs_survey *survey);
int gmfs_survey_obstacles(struct gmfs_mover *m, const struct gmpool_range *range);

#endif /* _GMFS_SURVEY_H */
