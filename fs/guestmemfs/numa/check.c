// SPDX-License-Identifier: GPL-2.0
/*
 * Checking a pool that is in use, by what checks it after a kexec. An
 * administrator learns before the jump what the next kernel would say.
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
 * Changes to the pool wait meanwhile. Memory that is needed for it must not be
 * sought where that would lead to such a change.
 *
 * Context: process context, may sleep; gmpool.manage is held.
 *
 * Return: NULL if all is right, else what was found first, to be freed by
 * kfree(); an ERR_PTR: -ENOMEM.
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

	percpu_down_write(&pool->freeze);
	flags = memalloc_nofs_save();
	error = gmpool_check_metadata(pool);
	if (error)
		why = kasprintf(GFP_KERNEL, "pool: %s", error) ?: ERR_PTR(-ENOMEM);
	else if (pool->client)
		why = pool->client->check(pool->client);
	memalloc_nofs_restore(flags);
	percpu_up_write(&pool->freeze);
	return why;
}
