// SPDX-License-Identifier: GPL-2.0
/*
 * Survey of a node before blocks move: which blocks can, and which files have blocks
 * where.
 *
 * Blocks move out of one range of the pool after the other. With the survey, each of
 * these steps visits the files that have blocks there, rather than all of them. Files
 * change at the same time: the survey is a start, and the move itself looks again.
 */

#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "guestmemfs.h"
#include "survey.h"

static int gmfs_survey_add(struct gmfs_survey *survey, u64 part, u64 ino)
{
	struct gmfs_place *places;
	size_t room;

	/* Most blocks are in the same place as the one before. */
	if (survey->nr && survey->places[survey->nr - 1].part == part &&
	    survey->places[survey->nr - 1].ino == ino)
		return 0;
	if (survey->nr == survey->room) {
		room = max(survey->room * 2, PAGE_SIZE / sizeof(*places));
		places = kvmalloc_array(room, sizeof(*places), GFP_KERNEL);
		if (!places)
			return -ENOMEM;
		if (survey->nr)
			memcpy(places, survey->places, survey->nr * sizeof(*places));
		kvfree(survey->places);
		survey->places = places;
		survey->room = room;
	}
	survey->places[survey->nr++] = (struct gmfs_place) { .part = part, .ino = ino };
	return 0;
}

/* Look at a block of the file, with the invalidate_lock held. */
static int gmfs_survey_block(struct gmfs_mover *m, struct inode *inode, u64 file_block,
			     u64 block, struct gmfs_survey *survey)
{
	enum gmfs_obstacle what = gmfs_move_obstacle(m, inode, file_block);

	if (what == GMFS_OBSTACLES)
		__set_bit(block, survey->movable);
	else if (what != GMFS_OBSTACLE_WHOLE)
		gmfs_move_note(m, what, inode->i_ino, 1);
	return gmfs_survey_add(survey, block / GMFS_PART_BLOCKS, inode->i_ino);
}

/* gmfs_each_t: add a file to a survey. */
static int gmfs_survey_file(struct gmfs_mover *m, struct inode *inode, void *arg)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	struct gmpool_range range;
	u64 block;
	int err;

	for (block = 0; block < GMFS_MAX_BLOCKS; block += range.count) {
		err = 0;
		filemap_invalidate_lock_shared(inode->i_mapping);
		if (gmfs_extent_find(ci, block, &range)) {
			/* One by one, as a pin or a failed page is in one block. */
			range.count = 1;
			err = gmfs_survey_block(m, inode, block, range.start, arg);
		}
		filemap_invalidate_unlock_shared(inode->i_mapping);
		if (err)
			return err;
		if (signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int gmfs_places_compare(const void *a, const void *b)
{
	const struct gmfs_place *x = a, *y = b;

	if (x->part != y->part)
		return x->part < y->part ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void gmfs_survey_sort(struct gmfs_survey *survey)
{
	size_t i, nr = 0;

	sort_nonatomic(survey->places, survey->nr, sizeof(*survey->places),
		       gmfs_places_compare, NULL);
	for (i = 0; i < survey->nr; i++)
		if (!nr || gmfs_places_compare(&survey->places[nr - 1], &survey->places[i]))
			survey->places[nr++] = survey->places[i];
	survey->nr = nr;
}

/**
 * gmfs_survey - look at all files of a node
 * @m: mover; obstacles are noted, other than whole 1 GiB of files
 * @survey: the caller sets @survey->movable, a clear bitmap up to gmpool_end_block(), and
 *	the rest to 0
 *
 * Context: process context, may sleep; takes the invalidate_lock of each file.
 *
 * Return: 0; -EINTR on a signal; -EBUSY if the node is frozen; -ENOMEM. Also after an
 * error, the caller frees the survey by gmfs_survey_free().
 */
int gmfs_survey(struct gmfs_mover *m, struct gmfs_survey *survey)
{
	int err = gmfs_move_each(m, gmfs_survey_file, survey);

	if (!err)
		gmfs_survey_sort(survey);
	return err;
}

/**
 * gmfs_survey_free - free what a survey has allocated
 * @survey: from gmfs_survey(), or all 0
 *
 * Context: process context.
 */
void gmfs_survey_free(struct gmfs_survey *survey)
{
	kvfree(survey->places);
	survey->places = NULL;
}

/* gmfs_each_t: note why the blocks of a file in a struct gmpool_range do not move. */
static int gmfs_obstacles_file(struct gmfs_mover *m, struct inode *inode, void *arg)
{
	struct gmfs_inode *ci = GMFS_I(inode)->ci;
	const struct gmpool_range *of = arg;
	enum gmfs_obstacle what;
	struct gmpool_range range;
	u64 block;

	for (block = 0; block < GMFS_MAX_BLOCKS; block += range.count) {
		filemap_invalidate_lock_shared(inode->i_mapping);
		if (gmfs_extent_find(ci, block, &range)) {
			range.count = 1;
			what = gmfs_move_obstacle(m, inode, block);
			if (what != GMFS_OBSTACLES && range.start >= of->start &&
			    range.start - of->start < of->count)
				gmfs_move_note(m, what, inode->i_ino, 1);
		}
		filemap_invalidate_unlock_shared(inode->i_mapping);
		cond_resched();
	}
	return 0;
}

/**
 * gmfs_survey_obstacles - note why blocks of a range do not move
 * @m: mover; gmfs_mover.obstacles is set for this range
 * @range: blocks of the pool
 *
 * Context: process context, may sleep; takes the invalidate_lock of each file.
 *
 * Return: as gmfs_move_each().
 */
int gmfs_survey_obstacles(struct gmfs_mover *m, const struct gmpool_range *range)
{
	struct gmpool_range of = *range;

	m->obstacles = (struct gmfs_obstacles) {};
	return gmfs_move_each(m, gmfs_obstacles_file, &of);
}
