// SPDX-License-Identifier: GPL-2.0
/*
 * The metadata of a pool as a file: "metadata" in the pool's directory in sysfs.
 *
 * A reader gets a copy that is made when it reads from offset 0, while no operation can
 * run, and with all checksums computed: as the next kernel would get the metadata by a
 * kexec at that moment. There is one copy for each pool. It goes when it has been read
 * to its end, or when another file is read from offset 0: then a read of the first
 * file fails, instead of returning parts of two copies.
 */

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "dump.h"
#include "format.h"
#include "pool.h"

static size_t gmpool_dump_size(const struct gmpool *pool)
{
	const struct gmpool_super_ser *super = pool->handover.super;

	return size_mul(size_add(1 + super->nr_tables, super->nr_meta),
			GMPOOL_META_SIZE);
}

static void gmpool_dump_fill(struct gmpool *pool, u8 *to)
{
	struct gmpool_super_ser *super = (void *)to;
	struct gmpool_meta_ser *hdr;
	u32 i;

	*super = *pool->handover.super;
	super->state = GMPOOL_STATE_SEALED;
	super->csum = gmpool_super_csum(super);
	for (i = 0; i < super->nr_tables; i++) {
		to += GMPOOL_META_SIZE;
		memcpy(to, pool->handover.tables[i], GMPOOL_META_SIZE);
	}
	for (i = 0; i < super->nr_meta; i++) {
		to += GMPOOL_META_SIZE;
		hdr = gmpool_meta_block(&pool->handover.meta, i);
		memcpy(to, hdr, GMPOOL_META_SIZE);
		((struct gmpool_meta_ser *)to)->csum = gmpool_meta_csum(to);
		cond_resched();
	}
}

static void gmpool_dump_drop(struct gmpool *pool)
{
	vfree(pool->dump.copy);
	pool->dump.copy = NULL;
	pool->dump.file = NULL;
}

static int gmpool_dump_make(struct gmpool *pool, const struct file *file)
{
	size_t size = 0, now;
	void *copy = NULL;

	gmpool_dump_drop(pool);
	if (!pool->handover.super)
		return -ENODATA;
	for (;;) {
		percpu_down_write(&pool->seal.sem);
		now = gmpool_dump_size(pool);
		if (now <= size)
			break;
		/* It grows by operations, which must not wait for an allocation. */
		percpu_up_write(&pool->seal.sem);
		vfree(copy);
		/* kvmalloc() warns above INT_MAX, which the metadata of a large pool can be. */
		copy = vmalloc(now);
		if (!copy)
			return -ENOMEM;
		size = now;
	}
	gmpool_dump_fill(pool, copy);
	percpu_up_write(&pool->seal.sem);
	pool->dump.copy = copy;
	pool->dump.size = now;
	pool->dump.file = file;
	return 0;
}

/**
 * gmpool_dump_read - read the metadata of a pool
 * @pool: the pool
 * @file: the open file, only compared with others
 * @buf: filled with at most @count bytes
 * @off: offset in bytes; 0 makes a copy
 * @count: bytes
 *
 * Context: process context, may sleep; takes gmpool.manage, and blocks operations on
 * the pool while the copy is made.
 *
 * Return: number of bytes, 0 at the end; -ENODATA if the pool has failed before its
 * metadata blocks were verified, -ESTALE if the file was not read from offset 0 or the
 * copy is another file's, -ENOMEM.
 */
ssize_t gmpool_dump_read(struct gmpool *pool, const struct file *file, char *buf,
			 loff_t off, size_t count)
{
	int err;

	guard(mutex)(&pool->manage);

	if (!off) {
		err = gmpool_dump_make(pool, file);
		if (err)
			return err;
	}
	if (!pool->dump.copy || pool->dump.file != file)
		return -ESTALE;
	if (off >= pool->dump.size) {
		gmpool_dump_drop(pool);
		return 0;
	}
	count = min_t(size_t, count, pool->dump.size - off);
	memcpy(buf, pool->dump.copy + off, count);
	return count;
}
