// SPDX-License-Identifier: GPL-2.0
/*
 * Scrubbing: zeroing of blocks before a client gets them.
 *
 * Each pool has a scrub thread on the CPUs of its node, or of the nearest node
 * with CPUs. The thread zeroes free blocks that are dirty: after boot, and
 * after files were deleted. It does not claim blocks, so the number of free
 * blocks does not drop during scrubbing. A task that claims the block under
 * scrub waits for the thread, which has the task's nice value until it is done.
 *
 * A task that claims dirty blocks zeroes them itself. Other CPUs of the node
 * help: one CPU for each 64 MiB of dirty blocks in all claims takes part, the
 * task's own included.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/nodemask.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/workqueue.h>

#include <trace/events/guestmemfs.h>

#include "pool.h"

/* Dirty blocks per CPU that takes part: 64 MiB. */
#define BLOCKS_PER_HELPER	32

static struct workqueue_struct *scrub_wq;

/**
 * struct scrub_job - scrubbing of a task's claims by several CPUs
 * @pool: the pool
 * @ranges: the claims
 * @nr: number of ranges
 * @lock: guards @at, @done and @stop
 * @at: index of the range with the next block to scrub
 * @done: blocks of that range that a CPU has taken
 * @stop: take no more blocks
 */
struct scrub_job {
	struct gmpool *pool;
	const struct gmpool_range *ranges;
	size_t nr;
	spinlock_t lock;	/* guards at, done, stop */
	size_t at;
	u64 done;
	bool stop;
};

struct scrub_helper {
	struct work_struct work;
	struct scrub_job *job;
};

/* The node that scrubs: the pool's own, or the nearest one with CPUs. */
static int gmpool_scrub_nid(const struct gmpool *pool)
{
	return numa_nearest_node(pool->nid, N_CPU);
}

static void gmpool_scrub_block(struct gmpool *pool, u64 block, bool idle)
{
	gmpool_zero_phys(PFN_PHYS(gmpool_pfn(pool, block)), GMPOOL_BLOCK_SIZE,
			 idle);
	gmpool_scrubbed(pool, block);
	trace_guestmemfs_scrub(pool->nid, block, idle);
}

/* Take the next block; false if all are taken, or the job was stopped. */
static bool gmpool_next_block(struct scrub_job *job, u64 *block)
{
	guard(spinlock)(&job->lock);
	if (job->stop || job->at == job->nr)
		return false;
	*block = job->ranges[job->at].start + job->done;
	if (++job->done == job->ranges[job->at].count) {
		job->at++;
		job->done = 0;
	}
	return true;
}

static bool gmpool_scrub_next(struct scrub_job *job)
{
	u64 block;

	if (!gmpool_next_block(job, &block))
		return false;
	/*
	 * Skip a block that was poisoned since the claim: a store may fail, and
	 * gmpool_find_poison() has the caller replace it.
	 */
	if (gmpool_is_dirty(job->pool, block) &&
	    !gmpool_has_poison(job->pool, block * GMPOOL_BLOCK_PAGES,
			       GMPOOL_BLOCK_PAGES))
		gmpool_scrub_block(job->pool, block, false);
	cond_resched();
	return true;
}

static void gmpool_scrub_help(struct work_struct *work)
{
	struct scrub_helper *helper = container_of(work, struct scrub_helper,
						   work);

	while (gmpool_scrub_next(helper->job))
		;
}

/* Without memory for helpers, the task scrubs alone. */
static struct scrub_helper *gmpool_call_helpers(struct scrub_job *job,
						u64 dirty, unsigned int *nr)
{
	int nid = gmpool_scrub_nid(job->pool);
	struct scrub_helper *helpers;
	unsigned int i;

	*nr = min_t(u64, dirty / BLOCKS_PER_HELPER, nr_cpus_node(nid));
	*nr = max(*nr, 1U) - 1;
	helpers = *nr ? kzalloc_objs(*helpers, *nr) : NULL;
	if (!helpers)
		*nr = 0;
	for (i = 0; i < *nr; i++) {
		helpers[i].job = job;
		INIT_WORK(&helpers[i].work, gmpool_scrub_help);
		queue_work_node(nid, scrub_wq, &helpers[i].work);
	}
	return helpers;
}

/*
 * If it returns true, the thread has inherited the nice value of the caller, until it
 * ends the block: with its own, it needs seconds for the rest of a block on CPUs that
 * are busy with virtual CPUs.
 */
static bool gmpool_is_scrubbing(struct gmpool *pool,
				const struct gmpool_range *range)
{
	const struct gmpool_range *now = &pool->scrub.now;
	struct task_struct *thread = pool->scrub.thread;

	guard(spinlock)(&pool->space.lock);
	if (!now->count || now->start >= range->start + range->count ||
	    range->start >= now->start + now->count)
		return false;
	if (task_nice(current) < task_nice(thread)) {
		if (!pool->scrub.boosted)
			pool->scrub.nice = task_nice(thread);
		pool->scrub.boosted = true;
		pool->scrub.boost = task_nice(current);
		set_user_nice(thread, pool->scrub.boost);
	}
	return true;
}

/**
 * gmpool_wait_scrub - wait until the scrub thread stores to none of some blocks
 * @pool: the pool
 * @ranges: claimed blocks, or all blocks of a pool that is not GMPOOL_ACTIVE
 * @nr: number of ranges
 *
 * Once is enough: the thread does not choose such blocks.
 *
 * Context: process context, sleeps; not within an operation.
 */
void gmpool_wait_scrub(struct gmpool *pool, const struct gmpool_range *ranges, size_t nr)
{
	struct gmpool_range now;
	size_t i;

	scoped_guard(spinlock, &pool->space.lock)
		now = pool->scrub.now;
	for (i = 0; i < nr && now.count; i++)
		if (now.start >= ranges[i].start &&
		    now.start < ranges[i].start + ranges[i].count) {
			wait_event(pool->scrub.done,
				   !gmpool_is_scrubbing(pool, &now));
			return;
		}
}

/**
 * gmpool_scrub - make claimed blocks read as zeroes
 * @pool: the pool
 * @ranges: from gmpool_claim(), none of them empty
 * @nr: number of ranges
 *
 * Skips blocks that are known to be zero. Blocks zeroed before an error stay
 * zeroed. A page may have failed since the claim: see gmpool_find_poison().
 *
 * Context: process context, sleeps; not within an operation.
 *
 * Return: 0; -EINTR if the task is being killed.
 */
int gmpool_scrub(struct gmpool *pool, const struct gmpool_range *ranges, size_t nr)
{
	struct scrub_job job = { .pool = pool, .ranges = ranges, .nr = nr };
	struct scrub_helper *helpers;
	unsigned int nr_helpers, i;
	u64 dirty = 0;
	int err = 0;
	size_t at;

	spin_lock_init(&job.lock);
	gmpool_wait_scrub(pool, ranges, nr);
	for (at = 0; at < nr; at++) {
		dirty += gmpool_count_dirty(pool, &ranges[at]);
		cond_resched();
	}
	if (!dirty)
		return 0;

	helpers = gmpool_call_helpers(&job, dirty, &nr_helpers);
	while (!err && gmpool_scrub_next(&job))
		if (fatal_signal_pending(current))
			err = -EINTR;
	if (err) {
		scoped_guard(spinlock, &job.lock)
			job.stop = true;
	}
	for (i = 0; i < nr_helpers; i++)
		cancel_work_sync(&helpers[i].work);
	kfree(helpers);
	return err;
}

/* Is the scrub thread to zero a block now? */
static bool gmpool_wants_scrub(struct gmpool *pool)
{
	lockdep_assert_held(&pool->space.lock);

	return pool->state == GMPOOL_ACTIVE &&
	       pool->tune.zeroing == GMPOOL_ZEROING_BACKGROUND &&
	       pool->space.clean.nr_free < min(pool->space.blocks.nr_free,
					       pool->tune.scrub_target) &&
	       !READ_ONCE(pool->scrub.paused);
}

/* Choose the next free dirty block, from @from on, then from the start. */
static bool gmpool_choose_block(struct gmpool *pool, u64 from, u64 *block)
{
	const unsigned long *unclean, *taken;
	u64 end;

	guard(spinlock)(&pool->space.lock);

	if (!gmpool_wants_scrub(pool))
		return false;
	unclean = pool->space.clean.taken;
	taken = pool->space.blocks.taken;
	end = pool->end_block;
	*block = find_next_andnot_bit(unclean, taken, end, from);
	if (*block >= end)
		*block = find_next_andnot_bit(unclean, taken, end, 0);
	pool->scrub.now.start = *block;
	pool->scrub.now.count = 1;
	return true;
}

static u64 gmpool_scrub_rate(struct gmpool *pool)
{
	guard(spinlock)(&pool->space.lock);
	return pool->tune.scrub_rate;
}

/*
 * Wait until the rate allows the next block. A wait of less than a tick is
 * added to that of a later block, since a timeout cannot be that short. Returns
 * the time in ns at which the next block is due; 0 without a limit.
 */
static u64 gmpool_scrub_pace(struct gmpool *pool, u64 due)
{
	u64 rate, next, now;

	for (;;) {
		rate = gmpool_scrub_rate(pool);
		if (!rate)
			return 0;
		next = due + div64_u64(GMPOOL_BLOCK_SIZE * NSEC_PER_SEC, rate);
		now = ktime_get_ns();
		if (next < now + TICK_NSEC)
			return next;
		wait_event_idle_timeout(pool->scrub.work,
					gmpool_scrub_rate(pool) != rate,
					nsecs_to_jiffies(next - now));
	}
}

static void gmpool_end_scrub(struct gmpool *pool)
{
	scoped_guard(spinlock, &pool->space.lock) {
		pool->scrub.now.count = 0;
		/* It stays as it is if the administrator has changed it since. */
		if (pool->scrub.boosted && task_nice(current) == pool->scrub.boost)
			set_user_nice(current, pool->scrub.nice);
		pool->scrub.boosted = false;
	}
	wake_up_all(&pool->scrub.done);
}

static int gmpool_scrub_thread(void *data)
{
	struct gmpool *pool = data;
	u64 block = 0;
	u64 due = 0;

	set_user_nice(current, MAX_NICE);
	for (;;) {
		wait_event_idle(pool->scrub.work,
				gmpool_choose_block(pool, block, &block));
		/* Idle time is not credited to a later rate. */
		due = max(due, ktime_get_ns());
		gmpool_scrub_block(pool, block, true);
		gmpool_end_scrub(pool);
		due = gmpool_scrub_pace(pool, due);
	}
	return 0;
}

static void __init gmpool_create_thread(struct gmpool *pool)
{
	struct task_struct *task;

	task = kthread_create_on_node(gmpool_scrub_thread, pool,
				      gmpool_scrub_nid(pool), "gmpool_scrub/%d",
				      pool->nid);
	if (IS_ERR(task)) {
		pr_warn("node %d: no thread for zeroing (%pe): it is done when memory is allocated\n",
			pool->nid, task);
		return;
	}
	pool->scrub.thread = task;
	wake_up_process(task);
}

/*
 * Late, when the state of all pools is known. Failed ones have a thread too:
 * they can be reset.
 */
static int __init gmpool_scrub_start(void)
{
	struct gmpool *pool;

	list_for_each_entry(pool, &gmpool_list, list)
		gmpool_create_thread(pool);
	return 0;
}
late_initcall(gmpool_scrub_start);

/**
 * gmpool_scrub_init - create the work queue of the scrub helpers
 *
 * Context: boot, once there is a pool.
 *
 * Return: 0, or -ENOMEM.
 */
int __init gmpool_scrub_init(void)
{
	scrub_wq = alloc_workqueue("gmpool_scrub", WQ_UNBOUND, 0);
	return scrub_wq ? 0 : -ENOMEM;
}
