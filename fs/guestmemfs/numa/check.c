// SPDX-License-Identifier: GPL-2.0
/*
 * Check of a pool in use, by the functions that check it after a kexec. The
 * administrator learns before the kexec whether the next kernel would refuse
 * the pool.
 */

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "pool.h"

/**
 * gmpool_check - check all metadata of a pool
 * @pool: the pool
 *
 * Blocks operations on the pool during the check. Memory for the check is
 * allocated with GFP_NOFS semantics, since reclaim could begin an operation.
 *
 * Context: process context, may sleep; gmpool.manage is held.
 *
 * Return: NULL if the pool is valid; else the first error as text, to be freed
 * by kfree(), or ERR_PTR(-ENOMEM).
 */
char *gmpool_check(struct gmpool *pool)
{
	unsigned int flags;
	const char *error;
	char *why = NULL;

	lockdep_assert_held(&pool->manage);

	if (!gmpool_usable(pool)) {
		why = kstrdup(pool->error, GFP_KERNEL);
		return why ?: ERR_PTR(-ENOMEM);
	}

	percpu_down_write(&pool->seal.sem);
	flags = memalloc_nofs_save();
	error = gmpool_check_metadata(pool);
	if (error)
		why = kasprintf(GFP_KERNEL, "pool: %s", error) ?: ERR_PTR(-ENOMEM);
	else if (pool->client)
		why = pool->client->check(pool->client);
	memalloc_nofs_restore(flags);
	percpu_up_write(&pool->seal.sem);
	return why;
}
