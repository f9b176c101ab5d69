// SPDX-License-Identifier: GPL-2.0
/*
 * How much of a pool's growth reserve the kernel uses for movable pages only, as
 * memory is set offline and online.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/bitmap.h>
#include <linux/init.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/slab.h>

#include "growth.h"
#include "layout.h"
#include "pool.h"

/* Record whether the kernel uses sections of a reserve, for movable pages only. */
static void gmpool_movable_update(struct gmpool *pool, u64 base, u64 size, bool movable)
{
	u64 start, end;
	u32 i, bit = 0;

	for (i = 0; i < pool->growth.nr; i++) {
		const struct gmpool_extent_ser *at = &pool->growth.at[i];

		start = max(base, at->base);
		end = min(base + size, at->base + at->size);
		for (; start < end; start += GMPOOL_GRANULARITY)
			assign_bit(bit + (start - at->base) / GMPOOL_GRANULARITY,
				   pool->growth.movable, movable);
		bit += at->size / GMPOOL_GRANULARITY;
	}
}

static int gmpool_movable_notify(struct notifier_block *nb, unsigned long action,
				 void *data)
{
	const struct memory_notify *arg = data;
	struct gmpool *pool;
	bool movable;

	if (action != MEM_ONLINE && action != MEM_OFFLINE)
		return NOTIFY_OK;
	movable = action == MEM_ONLINE && is_zone_movable_page(pfn_to_page(arg->start_pfn));
	list_for_each_entry(pool, &gmpool_list, list)
		if (pool->growth.movable)
			gmpool_movable_update(pool, PFN_PHYS(arg->start_pfn),
					      PFN_PHYS(arg->nr_pages), movable);
	return NOTIFY_OK;
}

static struct notifier_block gmpool_movable_nb = {
	.notifier_call = gmpool_movable_notify,
};

static int __init gmpool_movable_init_pool(struct gmpool *pool)
{
	u64 size = gmpool_layout_size(pool->growth.at, pool->growth.nr);
	u32 i;

	pool->growth.movable = bitmap_zalloc(size / GMPOOL_GRANULARITY, GFP_KERNEL);
	if (!pool->growth.movable)
		return -ENOMEM;
	for (i = 0; i < pool->growth.nr; i++)
		gmpool_movable_update(pool, pool->growth.at[i].base,
				      pool->growth.at[i].size, true);
	for (i = 0; i < pool->numbers.nr; i++)
		gmpool_movable_update(pool, pool->numbers.extent[i].base,
				      pool->numbers.extent[i].size, false);
	return 0;
}

static int __init gmpool_movable_init(void)
{
	struct gmpool *pool;
	bool any = false;
	int err = 0;

	list_for_each_entry(pool, &gmpool_list, list) {
		if (!pool->growth.nr)
			continue;
		any = true;
		err = gmpool_movable_init_pool(pool) ?: err;
	}
	if (any && !err)
		err = register_memory_notifier(&gmpool_movable_nb);
	if (err)
		pr_warn("sizes of growth reserves are not counted (%pe): growth_reserve in sysfs can be wrong\n",
			ERR_PTR(err));
	return err;
}

/* Before ACPI adds memory, at subsys_initcall. */
core_initcall(gmpool_movable_init);

/**
 * gmpool_movable_reserve - size of a pool's growth reserve
 * @pool: the pool
 *
 * The whole gibibytes that the kernel uses for movable pages only: less after
 * the pool has grown, more after it has shrunk.
 *
 * Context: any, once the initcalls of pools have run.
 *
 * Return: bytes; 0 without a reserve.
 */
u64 gmpool_movable_reserve(const struct gmpool *pool)
{
	u32 per_gib = GMPOOL_1G_SIZE / GMPOOL_GRANULARITY;
	u64 bit, end, sum = 0;

	if (!pool->growth.movable)
		return 0;
	end = gmpool_layout_size(pool->growth.at, pool->growth.nr) / GMPOOL_GRANULARITY;
	for (bit = 0; bit < end; bit += per_gib)
		if (find_next_zero_bit(pool->growth.movable, bit + per_gib, bit) ==
		    bit + per_gib)
			sum += GMPOOL_1G_SIZE;
	return sum;
}
