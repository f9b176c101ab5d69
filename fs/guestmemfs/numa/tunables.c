// SPDX-License-Identifier: GPL-2.0
/*
 * Settings of the administrator for a pool. They are stored in metadata once
 * there is a setting, and so survive kexec.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>

#include "format.h"
#include "pool.h"

/**
 * gmpool_tunables_default - default settings
 * @tune: filled
 */
void gmpool_tunables_default(struct gmpool_tunables *tune)
{
	*tune = (struct gmpool_tunables){ .scrub_target = GMPOOL_SCRUB_ALL };
}

static struct gmpool_tunables_ser *gmpool_find_block(struct gmpool *pool)
{
	struct gmpool_meta_ser *hdr;

	hdr = gmpool_meta_next(&pool->handover.meta, GMPOOL_META_TUNABLES, NULL);
	return hdr ? container_of(hdr, struct gmpool_tunables_ser, hdr) : NULL;
}

static void gmpool_set_effective(struct gmpool *pool,
				 const struct gmpool_tunables *tune)
{
	guard(spinlock)(&pool->space.lock);
	pool->tune = *tune;
	pool->space.blocks.first_fit = tune->policy == GMPOOL_POLICY_FIRST_FIT;
}

/**
 * gmpool_tunables_retrieve - apply the settings of the previous kernel
 * @pool: the pool, with metadata and an allocator
 *
 * Invalid settings are replaced by the defaults; the pool does not fail.
 *
 * Context: process context during boot.
 */
void gmpool_tunables_retrieve(struct gmpool *pool)
{
	const struct gmpool_tunables_ser *ser = gmpool_find_block(pool);
	struct gmpool_tunables tune;
	const char *error;

	if (!ser)
		return;
	error = gmpool_tunables_check(ser, pool->total_blocks,
				      gmpool_super_newer(pool->handover.super));
	if (error) {
		pr_warn("node %d: saved settings are not valid (%s): defaults are used\n",
			pool->nid, error);
		return;
	}
	tune.scrub_rate = ser->scrub_rate;
	tune.scrub_target = ser->scrub_target;
	tune.reserve = ser->reserve;
	tune.low_watermark = ser->low_watermark;
	tune.zeroing = ser->zeroing;
	tune.policy = ser->policy;
	tune.frozen = ser->frozen;
	gmpool_set_effective(pool, &tune);
	/* Compare with the watermark: poll() sees changes from now on. */
	gmpool_update_low(pool);
}

static struct gmpool_tunables_ser *gmpool_make_block(struct gmpool *pool)
{
	struct gmpool_meta_ser *hdr;

	hdr = gmpool_meta_alloc(&pool->handover.meta, GMPOOL_META_TUNABLES);
	if (IS_ERR(hdr))
		return ERR_CAST(hdr);
	guard(mutex)(&pool->handover.meta.lock);
	pool->handover.super->feature_compat |= GMPOOL_FEATURE_COMPAT_TUNABLES;
	gmpool_sync_super(pool);
	return container_of(hdr, struct gmpool_tunables_ser, hdr);
}

/**
 * gmpool_tunables_store - store settings for the next kernel
 * @pool: the pool, with metadata
 * @new: the settings
 *
 * Context: process context, within an operation or while no other task can
 * begin one; gmpool.manage is held.
 *
 * Return: 0; -ENOMEM, -ENOSPC if there is no room for the settings.
 */
int gmpool_tunables_store(struct gmpool *pool, const struct gmpool_tunables *new)
{
	struct gmpool_tunables_ser *ser = gmpool_find_block(pool);

	lockdep_assert_held(&pool->manage);

	if (!ser)
		ser = gmpool_make_block(pool);
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	ser->scrub_rate = new->scrub_rate;
	ser->scrub_target = new->scrub_target;
	ser->reserve = new->reserve;
	ser->low_watermark = new->low_watermark;
	ser->zeroing = new->zeroing;
	ser->policy = new->policy;
	ser->frozen = new->frozen;
	gmpool_meta_dirty(&pool->handover.meta, &ser->hdr);
	return 0;
}

/**
 * gmpool_tune - change the settings of a pool
 * @pool: the pool
 * @new: all new settings; each one except frozen is checked by the caller
 *
 * Context: process context, may sleep; gmpool.manage is held.
 *
 * Return: 0; -EROFS if the pool has failed or is read-only; -ENOMEM, -ENOSPC if
 * there is no room to store them. Nothing is changed on error.
 */
int gmpool_tune(struct gmpool *pool, const struct gmpool_tunables *new)
{
	unsigned int flags;
	int err;

	lockdep_assert_held(&pool->manage);

	if (pool->state != GMPOOL_ACTIVE)
		return -EROFS;

	flags = gmpool_op_begin(pool);
	err = gmpool_tunables_store(pool, new);
	gmpool_op_end(pool, flags);
	if (err)
		return err;

	gmpool_set_effective(pool, new);
	gmpool_update_low(pool);
	wake_up(&pool->scrub.work);
	return 0;
}

/* Set the settings that depend on the size. */
static int gmpool_set_sizes(struct gmpool *pool, const struct gmpool_tunables *new)
{
	int err;

	lockdep_assert_held(&pool->manage);

	if (new->reserve == pool->tune.reserve &&
	    new->low_watermark == pool->tune.low_watermark &&
	    new->scrub_target == pool->tune.scrub_target)
		return 0;
	err = gmpool_tunables_store(pool, new);
	if (!err)
		gmpool_set_effective(pool, new);
	return err;
}

/**
 * gmpool_tunables_clamp - adapt the settings of a pool to its size
 * @pool: an active pool
 * @nr_blocks: its size
 * @clamp: filled, for gmpool_tunables_unclamp()
 *
 * The next kernel would use the defaults in place of settings that exceed the size.
 *
 * Context: process context, within an operation; gmpool.manage is held.
 *
 * Return: 0; -ENOMEM, -ENOSPC, nothing is changed then.
 */
int gmpool_tunables_clamp(struct gmpool *pool, u64 nr_blocks, struct gmpool_clamp *clamp)
{
	struct gmpool_tunables *new = &clamp->to;

	clamp->from = pool->tune;
	*new = pool->tune;
	new->reserve = min(new->reserve, nr_blocks);
	new->low_watermark = min(new->low_watermark, nr_blocks);
	if (new->scrub_target != GMPOOL_SCRUB_ALL)
		new->scrub_target = min(new->scrub_target, nr_blocks);
	return gmpool_set_sizes(pool, new);
}

static u64 gmpool_unclamped(u64 now, u64 from, u64 to)
{
	return now == to ? from : now;
}

/**
 * gmpool_tunables_unclamp - set what gmpool_tunables_clamp() has reduced as before
 * @pool: an active pool, of the size of before
 * @clamp: from gmpool_tunables_clamp(), or zero
 *
 * What the administrator has set since then stays, unless it is the adapted value.
 *
 * Context: process context, within an operation; gmpool.manage is held.
 *
 * Return: 0. It does not fail: if a setting was reduced, the settings are in metadata
 * already, and none is allocated.
 */
int gmpool_tunables_unclamp(struct gmpool *pool, const struct gmpool_clamp *clamp)
{
	const struct gmpool_tunables *from = &clamp->from, *to = &clamp->to;
	struct gmpool_tunables new = pool->tune;

	new.reserve = gmpool_unclamped(new.reserve, from->reserve, to->reserve);
	new.low_watermark = gmpool_unclamped(new.low_watermark, from->low_watermark,
					     to->low_watermark);
	new.scrub_target = gmpool_unclamped(new.scrub_target, from->scrub_target,
					    to->scrub_target);
	return gmpool_set_sizes(pool, &new);
}

/**
 * gmpool_freeze - freeze or thaw a pool
 * @pool: the pool
 * @frozen: true to freeze
 *
 * Context: process context, may sleep; gmpool.manage is held.
 *
 * Return: 0, or a negative errno of gmpool_tune() or of the client.
 */
int gmpool_freeze(struct gmpool *pool, bool frozen)
{
	struct gmpool_tunables new = pool->tune;
	int err;

	lockdep_assert_held(&pool->manage);

	if (pool->state != GMPOOL_ACTIVE)
		return -EROFS;
	if (frozen == pool->tune.frozen)
		return 0;

	err = pool->client ? pool->client->freeze(pool->client, frozen) : 0;
	if (err)
		return err;
	new.frozen = frozen;
	err = gmpool_tune(pool, &new);
	if (!err)
		gmpool_notify_state(pool);
	else if (pool->client)
		pool->client->freeze(pool->client, !frozen);
	return err;
}
