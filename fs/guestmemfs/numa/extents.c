// SPDX-License-Identifier: GPL-2.0
/* The files in a pool's directory in sysfs that show its extents, and change its size. */

#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "cmdline.h"
#include "pool.h"
#include "resize.h"
#include "sysfs.h"

static ssize_t extents_show(struct gmpool *pool, char *buf)
{
	const struct gmpool_extent *extent;
	ssize_t len = 0;
	u64 from = 0;

	if (!capable(CAP_SYS_ADMIN))
		return 0;
	guard(spinlock)(&pool->space.lock);
	while ((extent = gmpool_numbers_above(&pool->numbers, from))) {
		from = extent->base + extent->size;
		len += sysfs_emit_at(buf, len, "%#llx %#llx\n", extent->base, extent->size);
	}
	return len;
}

struct gmpool_attribute gmpool_extents_attr = __ATTR_RO_MODE(extents, 0400);

static ssize_t extent_blocks_show(struct gmpool *pool, char *buf)
{
	const struct gmpool_extent *extent;
	ssize_t len = 0;
	u64 from = 0;

	guard(spinlock)(&pool->space.lock);
	while ((extent = gmpool_numbers_above(&pool->numbers, from))) {
		from = extent->base + extent->size;
		len += sysfs_emit_at(buf, len, "%llu %llu\n", extent->first,
				     extent->size >> GMPOOL_BLOCK_SHIFT);
	}
	return len;
}

struct gmpool_attribute gmpool_extent_blocks_attr = __ATTR_RO(extent_blocks);

static ssize_t target_show(struct gmpool *pool, char *buf)
{
	u64 target;

	scoped_guard(spinlock, &pool->space.lock)
		target = pool->resize.target ?: pool->total_blocks << GMPOOL_BLOCK_SHIFT;
	return sysfs_emit(buf, "%llu\n", target);
}

/* "[in-use ][+|-]SIZE", see Documentation/ABI/testing/sysfs-fs-guestmemfs */
static ssize_t target_store(struct gmpool *pool, const char *buf, size_t count)
{
	const char *end = buf + count;
	struct gmpool_size size;
	bool in_use;
	size_t len;
	int sign;

	len = str_has_prefix(buf, "in-use ");
	in_use = len;
	buf += len;
	sign = *buf == '+' ? 1 : *buf == '-' ? -1 : 0;
	if (count && end[-1] == '\n')
		end--;
	if (sign)
		buf++;
	if (gmpool_cmdline_parse_size(buf, end, &size) || size.kind != GMPOOL_SIZE_BYTES)
		return -EINVAL;
	return gmpool_resize(pool, size.value, sign, in_use) ?: count;
}

struct gmpool_attribute gmpool_target_attr = __ATTR_RW_MODE(target, 0600);

static ssize_t resize_error_show(struct gmpool *pool, char *buf)
{
	guard(spinlock)(&pool->space.lock);
	return sysfs_emit(buf, "%s\n", pool->resize.error);
}

struct gmpool_attribute gmpool_resize_error_attr = __ATTR_RO_MODE(resize_error, 0400);
