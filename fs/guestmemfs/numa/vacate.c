// SPDX-License-Identifier: GPL-2.0
/*
 * Shrinking: which units leave the pool.
 *
 * Units without a used block leave first. If there are none, units are emptied. The
 * client says which used blocks can move, units.c chooses the units that need the fewest
 * moves, and the client moves the blocks. The free blocks of all chosen units are claimed
 * first: nothing moves into a unit that is to leave, and no other task allocates a block
 * there. If a unit cannot be emptied after all, its claims end.
 *
 * A claim is not handed over, and each block moves in an operation of its own. So the
 * next kernel has the units in the pool until they leave it.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <trace/events/guestmemfs.h>

#include "pool.h"
#include "resize.h"
#include "units.h"

#define MIB(bytes)	((bytes) >> 20)

/**
 * struct vacancy - units that are emptied
 * @pool: their pool
 * @mover: handle of the client
 * @movable: bitmap of the used blocks that could move at the start
 * @nr_units: number of units of the pool
 * @units: the units of the pool at the start, those to empty first
 * @nr: number of units to empty
 * @mine: bitmap of the claimed blocks of each of these
 */
struct vacancy {
	struct gmpool *pool;
	void *mover;
	unsigned long *movable;
	u64 nr_units;
	struct gmpool_unit_use *units;
	u64 nr;
	unsigned long **mine;
};

static struct gmpool_range gmpool_unit_range(const struct gmpool_extent *unit)
{
	return (struct gmpool_range) {
		.start = unit->first,
		.count = unit->size >> GMPOOL_BLOCK_SHIFT,
	};
}

static void gmpool_vacate_end(struct vacancy *v)
{
	struct gmpool_range range;
	u64 i;

	for (i = 0; v->mine && i < v->nr; i++) {
		if (!v->mine[i])
			continue;
		range = gmpool_unit_range(&v->units[i].at);
		gmpool_unisolate(v->pool, &range, v->mine[i]);
		bitmap_free(v->mine[i]);
	}
	kvfree(v->mine);
	kvfree(v->units);
	kvfree(v->movable);
	if (!IS_ERR_OR_NULL(v->mover))
		v->pool->client->move_end(v->mover);
}

/* Ask the client what can move, and choose the units. */
static int gmpool_vacate_plan(struct vacancy *v, u64 want, bool in_use)
{
	struct gmpool *pool = v->pool;
	size_t longs = BITS_TO_LONGS(pool->end_block);

	unsigned long *taken __free(kvfree) =
		kvcalloc(longs, sizeof(*taken), GFP_KERNEL);

	v->nr_units = gmpool_units_count(&pool->numbers, gmpool_unit());
	v->movable = kvcalloc(longs, sizeof(*v->movable), GFP_KERNEL);
	v->units = kvcalloc(v->nr_units, sizeof(*v->units), GFP_KERNEL);
	if (!v->movable || !v->units || !taken)
		return -ENOMEM;

	v->mover = pool->client->move_begin(pool->client, in_use, v->movable);
	if (IS_ERR(v->mover))
		return PTR_ERR(v->mover);
	scoped_guard(spinlock, &pool->space.lock)
		memcpy(taken, pool->space.blocks.taken, longs * sizeof(*taken));
	v->nr = gmpool_units_choose(&pool->numbers, taken, v->movable, gmpool_unit(),
				    v->units, v->nr_units, want);
	return 0;
}

/* Claim the free blocks of all units to empty. */
static int gmpool_vacate_isolate(struct vacancy *v)
{
	struct gmpool_range range;
	u64 i;

	v->mine = kvcalloc(v->nr, sizeof(*v->mine), GFP_KERNEL);
	if (!v->mine)
		return -ENOMEM;
	for (i = 0; i < v->nr; i++) {
		range = gmpool_unit_range(&v->units[i].at);
		v->mine[i] = bitmap_zalloc(range.count, GFP_KERNEL);
		if (!v->mine[i])
			return -ENOMEM;
	}
	for (i = 0; i < v->nr; i++) {
		range = gmpool_unit_range(&v->units[i].at);
		gmpool_isolate(v->pool, &range, v->mine[i]);
	}
	return 0;
}

/* Say what keeps the used blocks of a unit where they are. */
static void gmpool_explain_unit(struct vacancy *v, const struct gmpool_unit_use *unit)
{
	struct gmpool_range range = gmpool_unit_range(&unit->at);
	char why[128] = "";

	v->pool->client->move_explain(v->mover, &range, why, sizeof(why));
	gmpool_resize_err(v->pool, "no %llu MiB can be emptied: at %#llx, %s",
			  MIB(unit->at.size), unit->at.base, why);
}

/* Say that a unit cannot leave. Returns an errno of gmpool_resize(). */
static int gmpool_explain_pieces(struct gmpool *pool)
{
	gmpool_resize_err(pool, "the pool would be in more than %u pieces", GMPOOL_MAX_EXTENTS);
	return -E2BIG;
}

/* Say why no unit can be emptied. Returns an errno of gmpool_resize(). */
static int gmpool_explain_plan(struct vacancy *v)
{
	if (!v->nr_units) {
		gmpool_resize_err(v->pool, "the pool has no %llu MiB that are contiguous and aligned",
				  MIB(gmpool_unit()));
		return -EBUSY;
	}
	if (v->units->divides)
		return gmpool_explain_pieces(v->pool);
	if (v->units->fixed) {
		gmpool_explain_unit(v, v->units);
		return -EBUSY;
	}
	gmpool_resize_err(v->pool, "no %llu MiB can be emptied: with less memory, the pool would have no room for the blocks in use",
			  MIB(gmpool_unit()));
	return -ENOSPC;
}

/* The words for an error. */
static void gmpool_explain_vacate(struct gmpool *pool, int err)
{
	switch (err) {
	case -EROFS:
		gmpool_resize_err(pool, "no %llu MiB are free, and blocks do not move while the node is read-only",
				  MIB(gmpool_unit()));
		break;
	case -EBUSY:
		gmpool_resize_err(pool, "no %llu MiB are free, and blocks do not move while the node is frozen",
				  MIB(gmpool_unit()));
		break;
	case -ENOSPC:
		gmpool_resize_err(pool, "the room for the blocks that have to move was used up by others");
		break;
	}
}

/* Empty a unit, and give it up. */
static int gmpool_vacate_unit(struct vacancy *v, u64 i)
{
	const struct gmpool_unit_use *unit = &v->units[i];
	struct gmpool_range range = gmpool_unit_range(&unit->at);
	int err;

	if (signal_pending(current))
		return -EINTR;
	/* The error of a unit before, in place of which this one may do. */
	gmpool_resize_forget(v->pool);
	/* Nothing moves for nothing: those before may have divided extents. */
	if (gmpool_numbers_check_remove(&v->pool->numbers, unit->at.base, unit->at.size))
		return gmpool_explain_pieces(v->pool);
	err = v->pool->client->move_out(v->mover, &range, v->mine[i]);
	if (err) {
		trace_guestmemfs_shrink(v->pool->nid, unit->at.base, unit->at.size, err);
		if (err == -EBUSY)
			gmpool_explain_unit(v, unit);
		else
			gmpool_explain_vacate(v->pool, err);
		return err;
	}
	/* All of its blocks are claimed, and these claims end with it. */
	bitmap_free(v->mine[i]);
	v->mine[i] = NULL;
	return gmpool_shrink_unit(v->pool, &unit->at);
}

/*
 * Empty at most @want units of a pool that has no free one, and give them up. Returns the
 * number of those that have left; or an errno of gmpool_resize(), then too some can have.
 */
static s64 gmpool_vacate(struct gmpool *pool, u64 want, bool in_use)
{
	struct vacancy v = { .pool = pool };
	s64 done = 0;
	int err;
	u64 i;

	if (!pool->client) {
		gmpool_resize_err(pool, "no %llu MiB are free", MIB(gmpool_unit()));
		return -EBUSY;
	}
	err = gmpool_vacate_plan(&v, want, in_use);
	if (err)
		gmpool_explain_vacate(pool, err);
	else if (!v.nr)
		err = gmpool_explain_plan(&v);
	else
		err = gmpool_vacate_isolate(&v);
	if (err)
		goto out;
	gmpool_debugfs_stop(pool, GMPOOL_STEP_ISOLATED);
	for (i = 0; i < v.nr; i++) {
		err = gmpool_vacate_unit(&v, i);
		if (!err)
			done++;
		/* Something has come in the way: another unit may do. */
		else if (err != -EBUSY && err != -E2BIG)
			break;
	}
	/* Those that are left get other units. */
	if (done && (!err || err == -EBUSY || err == -E2BIG)) {
		gmpool_resize_forget(pool);
		err = 0;
	}
out:
	gmpool_vacate_end(&v);
	return err ?: done;
}

/*
 * Claim a unit of the pool, all of which is free, and which would not leave too many
 * extents. Of several, that of the highest numbers, so that numbers go on counting through
 * the extents if possible. False if there is none.
 */
static bool gmpool_claim_unit(struct gmpool *pool, struct gmpool_extent *unit)
{
	const struct gmpool_extent *extent;
	struct gmpool_range range;
	u64 base;
	u32 i;

	unit->size = gmpool_unit();
	range.count = unit->size >> GMPOOL_BLOCK_SHIFT;
	for (i = pool->numbers.nr; i--;) {
		extent = &pool->numbers.extent[i];
		if (extent->size < unit->size)
			continue;
		base = round_down(extent->base + extent->size - unit->size, unit->size);
		for (; base >= extent->base; base -= unit->size) {
			range.start = extent->first +
				      ((base - extent->base) >> GMPOOL_BLOCK_SHIFT);
			if (!gmpool_numbers_check_remove(&pool->numbers, base,
							 unit->size) &&
			    !gmpool_claim_range(pool, &range)) {
				unit->base = base;
				unit->first = range.start;
				return true;
			}
			if (base < unit->size)
				break;
			cond_resched();
		}
	}
	return false;
}

/* Give up at most @units units, one at least. Returns their number, or an error. */
static s64 gmpool_shrink_some(struct gmpool *pool, u64 units, bool in_use)
{
	struct gmpool_extent unit;

	if (signal_pending(current))
		return -EINTR;
	if (gmpool_claim_unit(pool, &unit))
		return gmpool_shrink_unit(pool, &unit) ?: 1;
	return gmpool_vacate(pool, units, in_use);
}

/**
 * gmpool_shrink - let a pool shrink
 * @pool: an active pool
 * @units: number of units
 * @in_use: also move blocks that processes or guests use
 *
 * Context: process context, sleeps; gmpool.resize.lock is held.
 *
 * Return: 0, -EAGAIN if the pool has been frozen since, or a negative errno of
 * gmpool_resize(); the units before stay away.
 */
int gmpool_shrink(struct gmpool *pool, u64 units, bool in_use)
{
	s64 done;

	for (; units; units -= done) {
		done = gmpool_shrink_some(pool, units, in_use);
		if (done < 0)
			break;
	}
	if (!units)
		return 0;
	if (done == -EINTR)
		gmpool_resize_err(pool, "interrupted by a signal");
	else if (done != -EAGAIN && !*pool->resize.error)
		gmpool_resize_err(pool, "error %pe", ERR_PTR(done));
	return done;
}
