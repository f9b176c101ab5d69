// SPDX-License-Identifier: GPL-2.0
/* Events of a pool for user space: uevents, and poll() on files in sysfs. */

#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "pool.h"

/**
 * gmpool_state_name - name of a pool's state, as shown in sysfs
 * @pool: the pool
 *
 * Context: gmpool.manage is held, or gmpool.reset and gmpool.space.lock.
 *
 * Return: a word.
 */
const char *gmpool_state_name(struct gmpool *pool)
{
	switch (pool->state) {
	case GMPOOL_ACTIVE:
		return pool->tune.frozen ? "frozen" : "active";
	case GMPOOL_READ_ONLY:
		return "read-only";
	default:
		return "failed";
	}
}

static void gmpool_send_event(struct gmpool *pool, char *event, char *detail)
{
	char nid[sizeof("GUESTMEMFS_NODE=") + 10];
	char *env[4] = { event, nid, detail };

	snprintf(nid, sizeof(nid), "GUESTMEMFS_NODE=%d", pool->nid);
	kobject_uevent_env(pool->events.dir, KOBJ_CHANGE, env);
}

/**
 * gmpool_notify_state - notify user space of a changed state
 * @pool: the pool
 *
 * Context: process context, may sleep; boot, or gmpool.manage is held.
 */
void gmpool_notify_state(struct gmpool *pool)
{
	char state[32];

	if (!pool->events.dir)
		return;
	sysfs_notify_dirent(pool->events.state);
	snprintf(state, sizeof(state), "GUESTMEMFS_STATE=%s",
		 gmpool_state_name(pool));
	gmpool_send_event(pool, "GUESTMEMFS_EVENT=state", state);
}

/**
 * gmpool_notify_free - notify user space that free blocks crossed the watermark
 * @pool: the pool
 *
 * Context: any but hard interrupts.
 */
void gmpool_notify_free(struct gmpool *pool)
{
	if (pool->events.dir)
		sysfs_notify_dirent(pool->events.free);
}

/**
 * gmpool_notify_size - notify the client and user space of a changed size
 * @pool: the pool
 *
 * Context: process context, may sleep; gmpool.resize.lock is held.
 */
void gmpool_notify_size(struct gmpool *pool)
{
	char size[64];

	if (pool->client)
		pool->client->resized(pool->client);
	if (!pool->events.dir)
		return;
	sysfs_notify_dirent(pool->events.size);
	snprintf(size, sizeof(size), "GUESTMEMFS_SIZE=%llu",
		 READ_ONCE(pool->total_blocks) << GMPOOL_BLOCK_SHIFT);
	gmpool_send_event(pool, "GUESTMEMFS_EVENT=size", size);
}

/**
 * gmpool_notify_poison - notify user space of a poisoned page
 * @pool: the pool
 *
 * Context: process context, may sleep.
 */
void gmpool_notify_poison(struct gmpool *pool)
{
	char blocks[64];

	if (!pool->events.dir)
		return;
	sysfs_notify_dirent(pool->events.poison);
	snprintf(blocks, sizeof(blocks), "GUESTMEMFS_POISONED_BLOCKS=%llu",
		 READ_ONCE(pool->bad.nr_blocks));
	gmpool_send_event(pool, "GUESTMEMFS_EVENT=poison", blocks);
}
