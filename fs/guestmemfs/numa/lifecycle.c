// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a pool: set-up at boot, reset when its contents are discarded,
 * and freeze at kexec.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/init.h>
#include <linux/kexec.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/reboot.h>
#include <linux/workqueue.h>

#include <trace/events/guestmemfs.h>

#include "pool.h"

/* Work queues and the rest that pools need exist: pools can be reset. */
static bool usable __ro_after_init;

/* Has a rescuer: a kexec must not wait for memory to start a worker. */
static struct workqueue_struct *freeze_wq;

static void gmpool_freeze_work(struct work_struct *work)
{
	struct gmpool *pool = container_of(work, struct gmpool, seal.work);

	percpu_down_write(&pool->seal.sem);
	if (pool->handover.super) {
		gmpool_meta_seal(&pool->handover.meta);
		pool->handover.super->state = GMPOOL_STATE_SEALED;
		gmpool_sync_super(pool);
		gmpool_debugfs_damage(pool);
		trace_guestmemfs_freeze(pool->nid, pool->handover.meta.nr,
					pool->handover.super->generation);
	}
	/*
	 * Stays locked for ever. Tell lockdep that this task, which goes on,
	 * does not hold it.
	 */
	percpu_rwsem_release(&pool->seal.sem, _THIS_IP_);
}

/*
 * The kexec cannot return to user space from here, so pools stay frozen. A
 * failed pool without super block was never changed by this kernel and is
 * skipped.
 */
static int gmpool_reboot(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	struct gmpool *pool;

	if (!kexec_in_progress)
		return NOTIFY_DONE;
	/*
	 * Each waits for an RCU grace period. In parallel, all wait for the
	 * same one.
	 */
	list_for_each_entry(pool, &gmpool_list, list) {
		INIT_WORK(&pool->seal.work, gmpool_freeze_work);
		if (pool->handover.super || pool->state != GMPOOL_FAILED)
			queue_work(freeze_wq, &pool->seal.work);
	}
	list_for_each_entry(pool, &gmpool_list, list)
		flush_work(&pool->seal.work);
	return NOTIFY_OK;
}

static struct notifier_block gmpool_reboot_nb = {
	.notifier_call = gmpool_reboot,
	/* Last: other notifiers might still create or remove a file. */
	.priority = INT_MIN,
};

static void gmpool_destroy_blocks(struct gmpool *pool)
{
	const struct gmpool_range all = { .count = U64_MAX };
	struct gmpool_bitmap blocks = {}, clean = {};

	/*
	 * The scrub thread begins no further block and finishes the current
	 * one.
	 */
	scoped_guard(spinlock, &pool->space.lock)
		pool->state = GMPOOL_SETUP;
	gmpool_wait_scrub(pool, &all, 1);
	/* sysfs may be counting blocks under the lock. */
	scoped_guard(spinlock, &pool->space.lock) {
		swap(pool->space.blocks, blocks);
		swap(pool->space.clean, clean);
	}
	gmpool_bitmap_destroy(&blocks);
	gmpool_bitmap_destroy(&clean);
}

static int gmpool_make_anew(struct gmpool *pool)
{
	int err;

	err = gmpool_create_metadata(pool);
	if (!err)
		err = gmpool_remember_poison(pool);
	if (!err)
		err = gmpool_init_blocks(pool);
	if (!err)
		err = gmpool_tunables_store(pool, &pool->tune);
	return err;
}

/* With gmpool.manage held. */
static int gmpool_reset(struct gmpool *pool)
{
	int err;

	/* A page that fails at this time is recorded after the reset. */
	guard(mutex)(&pool->reset);

	gmpool_destroy_blocks(pool);
	percpu_down_write(&pool->seal.sem);
	gmpool_drop_metadata(pool);
	pool->error[0] = '\0';
	pool->handover.from[0] = '\0';
	err = gmpool_make_anew(pool);
	if (err)
		gmpool_drop_metadata(pool);
	percpu_up_write(&pool->seal.sem);

	if (err) {
		gmpool_fail(pool, "cannot be reset (%pe)", ERR_PTR(err));
		return err;
	}
	gmpool_update_low(pool);
	err = pool->client ? pool->client->attach(pool->client) : 0;
	if (err)
		return err;
	scoped_guard(spinlock, &pool->space.lock)
		pool->state = GMPOOL_ACTIVE;
	return 0;
}

/**
 * gmpool_discard - discard the contents of a pool and reset it
 * @pool: the pool, which may have failed
 *
 * The list of poisoned pages and the administrator's settings are kept.
 *
 * Context: process context, may sleep; gmpool.manage is held.
 *
 * Return: 0; -EBUSY if the pool is in use, changes its size, was handed over with
 * pinned memory that the client does not know of, or is frozen and can be thawed, and
 * -ENODEV if its memory is missing or not hidden, both without any change;
 * -ENOMEM and others if the reset fails, the pool has failed then; -EIO if the
 * pool is usable, but KHO does not accept it.
 */
int gmpool_discard(struct gmpool *pool)
{
	bool failed = pool->state == GMPOOL_FAILED;
	int err = 0;

	lockdep_assert_held(&pool->manage);

	if (!usable)
		return -ENOMEM;
	if (!pool->numbers.nr || pool->nr_hidden != pool->numbers.nr)
		return -ENODEV;
	/* A read-only pool cannot be thawed, so its freeze does not count. */
	if (pool->state == GMPOOL_ACTIVE && pool->tune.frozen)
		return -EBUSY;
	if (READ_ONCE(pool->handover.pinned)) {
		pr_notice("node %d: the pool is not discarded, since memory of preserved files was handed over pinned for devices: only a cold boot discards it\n",
			  pool->nid);
		return -EBUSY;
	}
	/* Not a change of its size, which has claimed blocks: only a moment in between. */
	if (!mutex_trylock(&pool->resize.lock))
		return -EBUSY;
	if (!failed && pool->client)
		err = pool->client->detach(pool->client);
	if (!err) {
		pr_notice("node %d: pool of %llu blocks discarded\n", pool->nid,
			  pool->total_blocks);
		err = gmpool_reset(pool);
	}
	mutex_unlock(&pool->resize.lock);
	if (err)
		return err;
	wake_up(&pool->scrub.work);
	gmpool_notify_state(pool);
	return gmpool_publish(pool) ? -EIO : 0;
}

static void __init gmpool_init_pool(struct gmpool *pool, int err)
{
	spin_lock_init(&pool->space.lock);
	mutex_init(&pool->manage);
	mutex_init(&pool->reset);
	mutex_init(&pool->resize.lock);
	INIT_LIST_HEAD(&pool->resize.parts);
	seqcount_spinlock_init(&pool->changes, &pool->space.lock);
	gmpool_tunables_default(&pool->tune);
	xa_init(&pool->bad.pages);
	init_waitqueue_head(&pool->scrub.work);
	init_waitqueue_head(&pool->scrub.done);
	if (!err && pool->state != GMPOOL_FAILED) {
		if (pool->handover.key == GMPOOL_NO_KEY)
			err = gmpool_create_metadata(pool);
		else
			err = gmpool_retrieve_metadata(pool);
	}
	if (!err && pool->state != GMPOOL_FAILED)
		err = gmpool_init_blocks(pool);
	if (!err && pool->state != GMPOOL_FAILED)
		gmpool_tunables_retrieve(pool);
	if (err) {
		gmpool_fail(pool, "cannot be set up (%pe)", ERR_PTR(err));
		/* A new pool whose set-up failed is not handed over. */
		if (pool->handover.key == GMPOOL_NO_KEY)
			pool->handover.super = NULL;
	} else if (pool->state == GMPOOL_SETUP) {
		pool->state = GMPOOL_ACTIVE;
	}
}

/* Has "guestmemfs=fresh" spared a handed-over pool? */
static bool __init gmpool_is_spared(u32 key)
{
	struct gmpool *pool;

	list_for_each_entry(pool, &gmpool_list, list)
		if (pool->handover.key == key)
			return true;
	return false;
}

static int __init gmpool_init(void)
{
	struct gmpool *pool;
	int err;
	u32 key;

	if (gmpool_start_afresh())
		for (key = 0; key < MAX_NUMNODES; key++)
			if (!gmpool_is_spared(key))
				gmpool_discard_metadata(key);

	if (list_empty(&gmpool_list))
		return 0;

	freeze_wq = alloc_workqueue("gmpool_freeze",
				    WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	err = freeze_wq ? gmpool_zero_init() : -ENOMEM;
	if (!err)
		err = gmpool_scrub_init();
	/* Usable pools are named by node; unused ones take a free number. */
	list_for_each_entry(pool, &gmpool_list, list) {
		if (!err)
			err = percpu_init_rwsem(&pool->seal.sem);
		gmpool_init_pool(pool, err);
		if (pool->handover.super)
			gmpool_publish(pool);
	}
	list_for_each_entry(pool, &gmpool_list, list)
		if (!pool->handover.super && pool->handover.key != GMPOOL_NO_KEY)
			gmpool_keep_unused(pool);
	usable = !err;

	return register_reboot_notifier(&gmpool_reboot_nb);
}
fs_initcall(gmpool_init);
