// SPDX-License-Identifier: GPL-2.0
/*
 * Debug files for tests of pools.
 *
 * /sys/kernel/debug/guestmem_pool/node<N>/reach says for each extent whether
 * the kernel has a mapping or struct pages of it.
 *
 * While /sys/kernel/debug/guestmem_pool/node<N>/pause_scrub is Y, the scrub
 * thread pauses, so that a test can have dirty blocks.
 *
 * A change of the pool's size waits after the step (enum gmpool_step) whose number is in
 * /sys/kernel/debug/guestmem_pool/node<N>/stop_resize, until it is another one.
 *
 * /sys/kernel/debug/guestmem_pool/node<N>/damage damages the state of a pool.
 * Each line written to the file is stored, and applied when the pool has been
 * sealed for kexec:
 *
 *   <where> <offset> <mask> [fix]
 *
 * <where> is "super", "copy", "both" (super blocks), "table<i>" or
 * "meta<number>"; the byte at <offset> is xored with <mask>. With "fix" the
 * checksum is corrected afterwards, to test the checks behind that of the
 * checksum.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "format.h"
#include "pool.h"
#include "resize.h"

struct damage {
	struct list_head list;
	struct gmpool *pool;
	char where[16];
	u32 offset;
	u32 mask;
	bool fix;
};

static LIST_HEAD(damages);
static DEFINE_MUTEX(damages_lock);	/* guards damages */

static void gmpool_damage_super(struct gmpool *pool, struct damage *d, int copy)
{
	struct gmpool_super_ser *super = (void *)pool->handover.super +
					 copy * GMPOOL_META_SIZE;

	((u8 *)super)[d->offset] ^= d->mask;
	if (d->fix)
		super->csum = gmpool_super_csum(super);
}

static void gmpool_damage_table(struct gmpool *pool, struct damage *d, u32 i)
{
	struct gmpool_table_ser *table;

	if (i >= pool->handover.super->nr_tables)
		return;
	table = pool->handover.tables[i];
	((u8 *)table)[d->offset] ^= d->mask;
	if (d->fix)
		table->csum = gmpool_table_csum(table);
}

static void gmpool_damage_meta(struct gmpool *pool, struct damage *d, u32 mbn)
{
	struct gmpool_meta_ser *hdr = gmpool_meta_block(&pool->handover.meta, mbn);

	if (!hdr)
		return;
	((u8 *)hdr)[d->offset] ^= d->mask;
	if (d->fix)
		hdr->csum = gmpool_meta_csum(hdr);
}

/**
 * gmpool_debugfs_damage - apply the stored damage to a pool
 * @pool: the pool, sealed
 *
 * Context: process context, right before kexec.
 */
void gmpool_debugfs_damage(struct gmpool *pool)
{
	struct damage *d;
	u32 i;

	guard(mutex)(&damages_lock);

	list_for_each_entry(d, &damages, list) {
		if (d->pool != pool)
			continue;
		pr_notice("node %d: damaging %s\n", pool->nid, d->where);
		if (!strcmp(d->where, "super") || !strcmp(d->where, "both"))
			gmpool_damage_super(pool, d, 0);
		if (!strcmp(d->where, "copy") || !strcmp(d->where, "both"))
			gmpool_damage_super(pool, d, 1);
		if (sscanf(d->where, "table%u", &i) == 1)
			gmpool_damage_table(pool, d, i);
		if (sscanf(d->where, "meta%u", &i) == 1)
			gmpool_damage_meta(pool, d, i);
	}
}

/**
 * gmpool_debugfs_stop - wait if a change of the size is to stop here
 * @pool: the pool
 * @step: step that is complete
 *
 * Context: process context, sleeps; a fatal signal ends the wait.
 */
void gmpool_debugfs_stop(struct gmpool *pool, enum gmpool_step step)
{
	if (READ_ONCE(pool->resize.stop) != step)
		return;
	pr_notice("node %d: stopped after step %u\n", pool->nid, step);
	while (READ_ONCE(pool->resize.stop) == step && !fatal_signal_pending(current))
		msleep(20);
}

static bool gmpool_where_valid(const char *where)
{
	u32 i;

	return !strcmp(where, "super") || !strcmp(where, "copy") ||
	       !strcmp(where, "both") || sscanf(where, "table%u", &i) == 1 ||
	       sscanf(where, "meta%u", &i) == 1;
}

static ssize_t gmpool_damage_write(struct file *file, const char __user *ubuf,
				   size_t count, loff_t *ppos)
{
	struct damage *d;
	char buf[64], fix[8] = "";
	int n;

	if (count >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, count))
		return -EFAULT;
	buf[count] = '\0';

	d = kzalloc_obj(*d);
	if (!d)
		return -ENOMEM;
	n = sscanf(buf, "%15s %i %i %7s", d->where, &d->offset, &d->mask, fix);
	if (n < 3 || (n == 4 && strcmp(fix, "fix")) ||
	    !gmpool_where_valid(d->where) || d->offset >= GMPOOL_META_SIZE ||
	    d->mask > U8_MAX) {
		kfree(d);
		return -EINVAL;
	}
	d->pool = file_inode(file)->i_private;
	d->fix = n == 4;

	guard(mutex)(&damages_lock);
	list_add_tail(&d->list, &damages);
	return count;
}

static const struct file_operations damage_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= gmpool_damage_write,
};

static bool gmpool_in_direct_map(u64 phys)
{
	u64 word;

	return !copy_from_kernel_nofault(&word, __va(phys), sizeof(word));
}

/* Examine the first, middle and last page of each extent. */
static int reach_show(struct seq_file *seq, void *v)
{
	struct gmpool *pool = seq->private;
	u32 i, j;

	guard(spinlock)(&pool->space.lock);
	for (i = 0; i < pool->numbers.nr; i++) {
		const struct gmpool_extent *extent = &pool->numbers.extent[i];
		const u64 at[] = { 0, extent->size / 2, extent->size - PAGE_SIZE };
		bool mapped = false, pages = false;

		for (j = 0; j < ARRAY_SIZE(at); j++) {
			mapped |= gmpool_in_direct_map(extent->base + at[j]);
			pages |= pfn_valid(PHYS_PFN(extent->base + at[j]));
		}
		seq_printf(seq, "%#llx %#llx direct-map=%s struct-pages=%s\n",
			   extent->base, extent->size,
			   mapped ? "present" : "absent",
			   pages ? "present" : "absent");
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(reach);

static int __init gmpool_debugfs_init(void)
{
	struct dentry *top, *dir;
	struct gmpool *pool;
	char name[16];

	top = debugfs_create_dir("guestmem_pool", NULL);
	list_for_each_entry(pool, &gmpool_list, list) {
		/* A node can have two pools, but one of them is unused. */
		if (!pool->handover.super)
			continue;
		snprintf(name, sizeof(name), "node%d", pool->nid);
		dir = debugfs_create_dir(name, top);
		debugfs_create_file("damage", 0200, dir, pool, &damage_fops);
		debugfs_create_bool("pause_scrub", 0600, dir, &pool->scrub.paused);
		debugfs_create_u32("stop_resize", 0600, dir, &pool->resize.stop);
		debugfs_create_file("reach", 0400, dir, pool, &reach_fops);
	}
	return 0;
}
late_initcall(gmpool_debugfs_init);
