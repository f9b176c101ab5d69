// SPDX-License-Identifier: GPL-2.0
/*
 * Compaction of a node: make whole 1 GiB ranges from broken ones. numa/compact.c chooses
 * the ranges to empty, and move.c empties them.
 *
 * While a range is being emptied, its free blocks are claimed: up to 1 GiB less is
 * free. All other free memory can be allocated at the same time, and a task that frees or
 * allocates blocks changes only how much is gained.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "guestmemfs.h"
#include "move.h"
#include "survey.h"
#include "numa/compact.h"

/**
 * struct gmfs_compact_request - what is written to the file in sysfs
 * @want: number of 1 GiB ranges to gain at most
 * @in_use: move also files that are mapped or attached
 * @dry_run: plan only
 */
struct gmfs_compact_request {
	u64 want;
	bool in_use;
	bool dry_run;
};

/* Returns the plan, for kvfree(), or an ERR_PTR. */
static struct gmpool_compact *gmfs_compact_plan(struct gmfs_mover *m,
						struct gmfs_survey *survey, u64 want)
{
	struct gmpool *pool = m->fs->pool;
	struct gmpool_compact *plan;
	int err;

	survey->movable = kvcalloc(BITS_TO_LONGS(gmpool_end_block(pool)),
				   sizeof(*survey->movable), GFP_KERNEL);
	if (!survey->movable)
		return ERR_PTR(-ENOMEM);
	err = gmfs_survey(m, survey);
	plan = err ? ERR_PTR(err) : gmpool_plan(pool, survey->movable, want);
	kvfree(survey->movable);
	return plan ?: ERR_PTR(-ENOMEM);
}

static void gmfs_compact_publish(struct gmfs_fs *fs, const struct gmfs_mover *m, u64 gained)
{
	guard(spinlock)(&fs->compact.lock);
	fs->compact.gained = gained;
	fs->compact.moved = m->moved;
	fs->compact.obstacles = m->obstacles;
}

static int gmfs_compact_run(struct gmfs_mover *m, struct gmpool_compact *plan)
{
	DECLARE_BITMAP(mine, GMFS_1G_BLOCKS) = {};
	struct gmpool_range range;
	u64 gained = 0;
	int err = 0;

	m->plan = plan;
	while (!err && gmpool_compact_next(plan, &range)) {
		err = gmfs_move_out(m, &range, mine);
		gmpool_unisolate(m->fs->pool, &range, mine);
		if (!err)
			gained++;
		/* Something has come in the way: another range may do. */
		if (err == -EBUSY && !gmfs_move_is_frozen(m))
			err = 0;
		gmfs_compact_publish(m->fs, m, gained);
	}
	return err;
}

static int gmfs_compact_mounted(struct gmfs_mover *m,
				const struct gmfs_compact_request *req)
{
	struct gmfs_survey survey = {};
	struct gmpool_compact *plan;
	int err = 0;

	plan = gmfs_compact_plan(m, &survey, req->want);
	if (IS_ERR(plan)) {
		err = PTR_ERR(plan);
	} else if (req->dry_run) {
		m->moved = plan->nr_moves;
		gmfs_compact_publish(m->fs, m, plan->nr_sources);
	} else {
		gmfs_compact_publish(m->fs, m, 0);
		m->survey = &survey;
		err = gmfs_compact_run(m, plan);
	}
	if (!IS_ERR(plan))
		kvfree(plan);
	gmfs_survey_free(&survey);
	return err;
}

static int gmfs_compact(struct gmfs_fs *fs, const struct gmfs_compact_request *req)
{
	struct gmfs_mover m = { .in_use = req->in_use };
	int err;

	if (mutex_lock_interruptible(&fs->compact.run))
		return -EINTR;
	err = gmfs_move_start(&m, fs);
	if (!err) {
		/* The plan knows the numbers of all blocks. */
		err = gmpool_hold_size(fs->pool);
		if (!err) {
			err = gmfs_compact_mounted(&m, req);
			gmpool_release_size(fs->pool);
		}
		gmfs_move_end(&m);
	}
	mutex_unlock(&fs->compact.run);
	return err;
}

/* "[dry-run] [in-use] NUMBER|all", see Documentation/ABI/testing/sysfs-fs-guestmemfs */
static int gmfs_compact_parse(char *buf, struct gmfs_compact_request *req)
{
	char *word;
	int err;

	while ((word = strsep(&buf, " \t\n"))) {
		if (!*word)
			continue;
		if (!strcmp(word, "dry-run")) {
			req->dry_run = true;
		} else if (!strcmp(word, "in-use")) {
			req->in_use = true;
		} else if (req->want) {
			return -EINVAL;
		} else if (!strcmp(word, "all")) {
			req->want = U64_MAX;
		} else {
			err = kstrtou64(word, 10, &req->want);
			if (err)
				return err;
			if (!req->want)
				return -EINVAL;
		}
	}
	return req->want ? 0 : -EINVAL;
}

static ssize_t compact_store(struct gmpool *pool, const char *buf, size_t count)
{
	struct gmfs_compact_request req = {};
	char *copy = kstrdup(buf, GFP_KERNEL);
	int err;

	if (!copy)
		return -ENOMEM;
	err = gmfs_compact_parse(copy, &req);
	kfree(copy);
	if (!err)
		err = gmfs_compact(gmfs_find(pool), &req);
	return err ?: count;
}

/* As in sysfs. */
const char * const gmfs_obstacle_names[] = {
	[GMFS_OBSTACLE_MAPPED]		= "mapped",
	[GMFS_OBSTACLE_ATTACHED]	= "attached",
	[GMFS_OBSTACLE_USERFAULT]	= "userfault",
	[GMFS_OBSTACLE_PINNED]		= "pinned",
	[GMFS_OBSTACLE_PRESERVED]	= "preserved",
	[GMFS_OBSTACLE_FAILED]		= "failed",
	[GMFS_OBSTACLE_WHOLE]		= "whole",
	[GMFS_OBSTACLE_BUSY]		= "busy",
};

static_assert(ARRAY_SIZE(gmfs_obstacle_names) == GMFS_OBSTACLES);

static ssize_t compact_show(struct gmpool *pool, char *buf)
{
	struct gmfs_fs *fs = gmfs_find(pool);
	const struct gmfs_obstacles *in_the_way = &fs->compact.obstacles;
	unsigned int i;
	ssize_t len;

	/* It names inodes. */
	if (!capable(CAP_SYS_ADMIN) || !gmpool_usable(pool))
		return 0;
	guard(spinlock)(&fs->compact.lock);
	len = sysfs_emit(buf, "gained %llu\nmoved %llu\n", fs->compact.gained,
			 fs->compact.moved);
	for (i = 0; i < GMFS_OBSTACLES; i++)
		if (in_the_way->blocks[i])
			len += sysfs_emit_at(buf, len, "%s %llu %llu\n",
					     gmfs_obstacle_names[i],
					     in_the_way->blocks[i],
					     in_the_way->inos[i]);
	return len;
}

static struct gmpool_attribute compact_attr = __ATTR_RW_MODE(compact, 0600);

static struct attribute *gmfs_compact_attrs[] = {
	&compact_attr.attr,
	NULL
};

static const struct attribute_group gmfs_compact_group = {
	.attrs	= gmfs_compact_attrs,
};

/* After gmfs_sysfs_add(), and not by it: a compaction mounts the file system. */
static int __init gmfs_compact_init(void)
{
	struct gmpool *pool = NULL;
	int err;

	while ((pool = gmpool_next(pool))) {
		err = gmfs_find(pool) ? gmpool_add_attributes(pool, &gmfs_compact_group) : 0;
		if (err)
			pr_warn("node %d: it cannot be compacted, as its file in sysfs is missing (%pe)\n",
				gmpool_nid(pool), ERR_PTR(err));
	}
	return 0;
}
device_initcall(gmfs_compact_init);
