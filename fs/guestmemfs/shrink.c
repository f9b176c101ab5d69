// SPDX-License-Identifier: GPL-2.0
/*
 * The file system's part in a change of the size of its pool: blocks of files move out
 * of the memory that the pool gives up. numa/vacate.c chooses that memory.
 *
 * In contrast to a compaction, whole gibibytes of files move too. They get another whole
 * gibibyte if one is free, else they are in pieces afterwards.
 */

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "guestmemfs.h"
#include "move.h"
#include "survey.h"

/**
 * struct gmfs_shrink - handle of the callbacks
 * @m: mover
 * @survey: its survey
 */
struct gmfs_shrink {
	struct gmfs_mover m;
	struct gmfs_survey survey;
};

/**
 * gmfs_shrink_begin - prepare to move blocks, see gmpool_client.move_begin
 * @client: client of the pool
 * @in_use: also move blocks of files that processes map or a client has
 * @movable: bitmap of the pool's blocks, in which those that can move are set
 *
 * Context: process context, may sleep; gmpool.resize.lock is held.
 *
 * Return: the handle, or an ERR_PTR.
 */
void *gmfs_shrink_begin(struct gmpool_client *client, bool in_use, unsigned long *movable)
{
	struct gmfs_shrink *shrink = kzalloc_obj(*shrink);
	int err;

	if (!shrink)
		return ERR_PTR(-ENOMEM);
	shrink->m.in_use = in_use;
	shrink->m.whole = true;
	shrink->survey.movable = movable;
	err = gmfs_move_start(&shrink->m, container_of(client, struct gmfs_fs, client));
	if (err) {
		kfree(shrink);
		return ERR_PTR(err);
	}
	err = gmfs_survey(&shrink->m, &shrink->survey);
	if (err) {
		gmfs_shrink_end(shrink);
		return ERR_PTR(err);
	}
	shrink->m.survey = &shrink->survey;
	return shrink;
}

/**
 * gmfs_shrink_move_out - empty a range, see gmpool_client.move_out
 * @mover: the handle
 * @range: blocks of the pool
 * @mine: bitmap of those of them that are claimed
 *
 * Context: process context, may sleep; gmpool.resize.lock is held.
 *
 * Return: as gmfs_move_out().
 */
int gmfs_shrink_move_out(void *mover, const struct gmpool_range *range,
			 unsigned long *mine)
{
	struct gmfs_shrink *shrink = mover;

	return gmfs_move_out(&shrink->m, range, mine);
}

/**
 * gmfs_shrink_explain - describe what is in the way, see gmpool_client.move_explain
 * @mover: the handle
 * @range: blocks of the pool
 * @buf: filled with words such as "mapped 3 by inode 5, pinned 1 by inode 7"
 * @size: bytes of @buf
 *
 * Context: process context, may sleep; gmpool.resize.lock is held.
 */
void gmfs_shrink_explain(void *mover, const struct gmpool_range *range, char *buf,
			 size_t size)
{
	struct gmfs_shrink *shrink = mover;
	const struct gmfs_obstacles *in_the_way = &shrink->m.obstacles;
	unsigned int i;
	u64 failed;
	int len = 0;

	if (gmfs_move_is_frozen(&shrink->m) ||
	    gmfs_survey_obstacles(&shrink->m, range) == -EBUSY) {
		scnprintf(buf, size, "blocks do not move while the node is frozen");
		return;
	}
	for (i = 0; i < GMFS_OBSTACLES; i++)
		if (in_the_way->blocks[i])
			len += scnprintf(buf + len, size - len, "%s%s %llu by inode %llu",
					 len ? ", " : "", gmfs_obstacle_names[i],
					 in_the_way->blocks[i], in_the_way->inos[i]);
	if (len)
		return;
	if (gmpool_find_poison(shrink->m.fs->pool, range, &failed))
		scnprintf(buf, size, "block %llu has a failed page", failed);
	else
		scnprintf(buf, size, "blocks are used by tasks that allocate or free them");
}

/**
 * gmfs_shrink_end - free a handle, see gmpool_client.move_end
 * @mover: the handle
 *
 * Context: process context, may sleep; gmpool.resize.lock is held.
 */
void gmfs_shrink_end(void *mover)
{
	struct gmfs_shrink *shrink = mover;

	gmfs_move_end(&shrink->m);
	gmfs_survey_free(&shrink->survey);
	kfree(shrink);
}
