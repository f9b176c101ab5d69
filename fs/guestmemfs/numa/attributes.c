// SPDX-License-Identifier: GPL-2.0
/*
 * The files in a pool's directory in sysfs: values and settings of the pool.
 * They are described in Documentation/ABI/testing/sysfs-fs-guestmemfs.
 */

#include <linux/capability.h>
#include <linux/err.h>
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "dump.h"
#include "growth.h"
#include "pool.h"
#include "sysfs.h"

static const struct gmpool_attribute *
gmpool_to_attribute(struct attribute *attr)
{
	return container_of(attr, struct gmpool_attribute, attr);
}

static ssize_t attribute_show(struct kobject *kobj, struct attribute *attr,
			      char *buf)
{
	const struct gmpool_attribute *a = gmpool_to_attribute(attr);

	return a->show ? a->show(gmpool_of_kobj(kobj), buf) : -EIO;
}

static ssize_t attribute_store(struct kobject *kobj, struct attribute *attr,
			       const char *buf, size_t count)
{
	const struct gmpool_attribute *a = gmpool_to_attribute(attr);

	return a->store ? a->store(gmpool_of_kobj(kobj), buf, count) : -EIO;
}

static const struct sysfs_ops attribute_ops = {
	.show	= attribute_show,
	.store	= attribute_store,
};

static ssize_t gmpool_show_number(char *buf, u64 number)
{
	return sysfs_emit(buf, "%llu\n", number);
}

/* A file that shows one number. */
#define GMPOOL_NUMBER(_name, _value)					\
static ssize_t _name##_show(struct gmpool *pool, char *buf)		\
{									\
	return gmpool_show_number(buf, _value);				\
}									\
static struct gmpool_attribute _name##_attr = __ATTR_RO(_name)

/* Are the pool's counts valid? Not those of a failed pool. */
static bool gmpool_is_known(const struct gmpool *pool)
{
	return READ_ONCE(pool->state) != GMPOOL_FAILED;
}

/* A file that shows a changing number; 0 if the pool has failed. */
#define GMPOOL_COUNT(_name, _value)					\
static ssize_t _name##_show(struct gmpool *pool, char *buf)		\
{									\
	u64 value;							\
									\
	scoped_guard(spinlock, &pool->space.lock)				\
		value = gmpool_is_known(pool) ? (_value) : 0;		\
	return gmpool_show_number(buf, value);				\
}									\
static struct gmpool_attribute _name##_attr = __ATTR_RO(_name)

GMPOOL_NUMBER(size, gmpool_total_blocks(pool) << GMPOOL_BLOCK_SHIFT);
GMPOOL_NUMBER(block_size, GMPOOL_BLOCK_SIZE);
GMPOOL_NUMBER(total_blocks, gmpool_total_blocks(pool));

GMPOOL_COUNT(free_blocks, pool->space.blocks.nr_free);
GMPOOL_COUNT(scrubbed_blocks, pool->space.clean.nr_free);
GMPOOL_COUNT(dirty_blocks, pool->space.blocks.nr_free - pool->space.clean.nr_free);
GMPOOL_COUNT(largest_free_run, gmpool_bitmap_largest(&pool->space.blocks));
GMPOOL_COUNT(free_1g, gmpool_bitmap_free_1g(&pool->space.blocks));
GMPOOL_COUNT(alloc_failures, pool->space.nr_failures);
GMPOOL_COUNT(moved_blocks, pool->space.nr_moved);
GMPOOL_COUNT(poisoned_blocks, READ_ONCE(pool->bad.nr_blocks));
GMPOOL_NUMBER(reserved_blocks, gmpool_is_known(pool) ? gmpool_reserved_blocks(pool) : 0);
GMPOOL_NUMBER(growth_reserve, gmpool_movable_reserve(pool));
GMPOOL_NUMBER(metadata_bytes, gmpool_is_known(pool) ? gmpool_metadata_bytes(pool) : 0);

/* The super block, or NULL if the pool has failed. */
static const struct gmpool_super_ser *
gmpool_known_super(const struct gmpool *pool)
{
	lockdep_assert_held(&pool->reset);
	return gmpool_is_known(pool) ? pool->handover.super : NULL;
}

static ssize_t generation_show(struct gmpool *pool, char *buf)
{
	const struct gmpool_super_ser *super;

	guard(mutex)(&pool->reset);
	super = gmpool_known_super(pool);
	return gmpool_show_number(buf, super ? super->generation : 0);
}

static struct gmpool_attribute generation_attr = __ATTR_RO(generation);

static ssize_t handed_over_from_show(struct gmpool *pool, char *buf)
{
	guard(mutex)(&pool->reset);
	return sysfs_emit(buf, "%s\n",
			  gmpool_is_known(pool) ? pool->handover.from : "");
}

static struct gmpool_attribute handed_over_from_attr =
	__ATTR_RO(handed_over_from);

static ssize_t uuid_show(struct gmpool *pool, char *buf)
{
	const struct gmpool_super_ser *super;

	guard(mutex)(&pool->reset);
	super = gmpool_known_super(pool);
	return super ? sysfs_emit(buf, "%pU\n", super->uuid) :
		       sysfs_emit(buf, "\n");
}

static struct gmpool_attribute uuid_attr = __ATTR_RO(uuid);

static ssize_t format_show(struct gmpool *pool, char *buf)
{
	const struct gmpool_super_ser *super;

	guard(mutex)(&pool->reset);
	super = gmpool_known_super(pool);
	if (!super)
		return sysfs_emit(buf, "\n");
	return sysfs_emit(buf, "%u compat=%#llx ro_compat=%#llx incompat=%#llx\n",
			  super->version, super->feature_compat,
			  super->feature_ro_compat, super->feature_incompat);
}

static struct gmpool_attribute format_attr = __ATTR_RO(format);

static ssize_t state_show(struct gmpool *pool, char *buf)
{
	const char *name;

	guard(mutex)(&pool->reset);
	scoped_guard(spinlock, &pool->space.lock)
		name = gmpool_state_name(pool);
	return sysfs_emit(buf, "%s\n", name);
}

static struct gmpool_attribute state_attr = __ATTR_RO(state);

static ssize_t error_show(struct gmpool *pool, char *buf)
{
	guard(mutex)(&pool->reset);
	return sysfs_emit(buf, "%s\n", pool->error);
}

static struct gmpool_attribute error_attr = __ATTR_RO(error);

static ssize_t check_show(struct gmpool *pool, char *buf)
{
	ssize_t len;
	char *why;

	/*
	 * The check blocks all operations, so it needs the capability. It
	 * returns an error without, since empty text would read as a result.
	 */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	guard(mutex)(&pool->manage);
	why = gmpool_check(pool);
	if (IS_ERR(why))
		return PTR_ERR(why);
	len = sysfs_emit(buf, "%s\n", why ?: "ok");
	kfree(why);
	return len;
}

static struct gmpool_attribute check_attr = __ATTR_RO_MODE(check, 0400);

/* Parse a number of at most @max. */
static int gmpool_sysfs_parse_number(const char *buf, u64 max, u64 *number)
{
	int err = kstrtou64(buf, 0, number);

	if (err)
		return err;
	return *number > max ? -ERANGE : 0;
}

/* Not with gmpool.manage, which a task holds while it waits for a freeze. */
static struct gmpool_tunables gmpool_settings(struct gmpool *pool)
{
	guard(spinlock)(&pool->space.lock);
	return pool->tune;
}

/*
 * Show and store functions of a setting that is a number of at most @_max. That can be the
 * size of the pool, which changes with gmpool.manage held.
 */
#define GMPOOL_TUNABLE_SHOW(_name)					\
static ssize_t _name##_show(struct gmpool *pool, char *buf)		\
{									\
	return gmpool_show_number(buf, gmpool_settings(pool)._name);	\
}

#define GMPOOL_TUNABLE_STORE(_name, _max)				\
static ssize_t _name##_store(struct gmpool *pool, const char *buf,	\
			     size_t count)				\
{									\
	struct gmpool_tunables new;					\
	u64 number;							\
	int err;							\
									\
	guard(mutex)(&pool->manage);					\
	err = gmpool_sysfs_parse_number(buf, _max, &number);		\
	if (err)							\
		return err;						\
	new = pool->tune;						\
	new._name = number;						\
	return gmpool_tune(pool, &new) ?: count;			\
}

GMPOOL_TUNABLE_SHOW(scrub_rate)
GMPOOL_TUNABLE_STORE(scrub_rate, U64_MAX)

static struct gmpool_attribute scrub_rate_attr = __ATTR_RW(scrub_rate);

GMPOOL_TUNABLE_SHOW(reserve)
GMPOOL_TUNABLE_STORE(reserve, pool->total_blocks)

static struct gmpool_attribute reserve_attr = __ATTR_RW(reserve);

GMPOOL_TUNABLE_SHOW(low_watermark)
GMPOOL_TUNABLE_STORE(low_watermark, pool->total_blocks)

static struct gmpool_attribute low_watermark_attr = __ATTR_RW(low_watermark);

static const char * const zeroings[] = {
	[GMPOOL_ZEROING_BACKGROUND]	= "background",
	[GMPOOL_ZEROING_ON_ALLOC]	= "on-alloc",
};

static ssize_t zeroing_show(struct gmpool *pool, char *buf)
{
	return sysfs_emit(buf, "%s\n", zeroings[gmpool_settings(pool).zeroing]);
}

static ssize_t zeroing_store(struct gmpool *pool, const char *buf, size_t count)
{
	int zeroing = sysfs_match_string(zeroings, buf);
	struct gmpool_tunables new;

	if (zeroing < 0)
		return zeroing;
	guard(mutex)(&pool->manage);
	new = pool->tune;
	new.zeroing = zeroing;
	return gmpool_tune(pool, &new) ?: count;
}

static struct gmpool_attribute zeroing_attr = __ATTR_RW(zeroing);

static const char * const policies[] = {
	[GMPOOL_POLICY_BEST_FIT]	= "best-fit",
	[GMPOOL_POLICY_FIRST_FIT]	= "first-fit",
};

static ssize_t policy_show(struct gmpool *pool, char *buf)
{
	return sysfs_emit(buf, "%s\n", policies[gmpool_settings(pool).policy]);
}

static ssize_t policy_store(struct gmpool *pool, const char *buf, size_t count)
{
	int policy = sysfs_match_string(policies, buf);
	struct gmpool_tunables new;

	if (policy < 0)
		return policy;
	guard(mutex)(&pool->manage);
	new = pool->tune;
	new.policy = policy;
	return gmpool_tune(pool, &new) ?: count;
}

static struct gmpool_attribute policy_attr = __ATTR_RW(policy);

static ssize_t scrub_target_show(struct gmpool *pool, char *buf)
{
	u64 target = gmpool_settings(pool).scrub_target;

	return target == GMPOOL_SCRUB_ALL ? sysfs_emit(buf, "all\n") :
	       gmpool_show_number(buf, target);
}

static ssize_t scrub_target_store(struct gmpool *pool, const char *buf,
				  size_t count)
{
	u64 number = GMPOOL_SCRUB_ALL;
	struct gmpool_tunables new;
	int err = 0;

	guard(mutex)(&pool->manage);
	if (!sysfs_streq(buf, "all"))
		err = gmpool_sysfs_parse_number(buf, pool->total_blocks,
						&number);
	if (err)
		return err;
	new = pool->tune;
	new.scrub_target = number;
	return gmpool_tune(pool, &new) ?: count;
}

static struct gmpool_attribute scrub_target_attr = __ATTR_RW(scrub_target);

static ssize_t frozen_show(struct gmpool *pool, char *buf)
{
	return gmpool_show_number(buf, gmpool_settings(pool).frozen);
}

static ssize_t frozen_store(struct gmpool *pool, const char *buf, size_t count)
{
	u64 number;
	int err;

	err = gmpool_sysfs_parse_number(buf, 1, &number);
	if (err)
		return err;
	guard(mutex)(&pool->manage);
	return gmpool_freeze(pool, number) ?: count;
}

static struct gmpool_attribute frozen_attr = __ATTR_RW(frozen);

static ssize_t discard_store(struct gmpool *pool, const char *buf, size_t count)
{
	char name[16];

	snprintf(name, sizeof(name), "node%d", pool->nid);
	if (!sysfs_streq(buf, name))
		return -EINVAL;
	guard(mutex)(&pool->manage);
	return gmpool_discard(pool) ?: count;
}

static struct gmpool_attribute discard_attr = __ATTR_WO(discard);

static struct attribute *pool_attrs[] = {
	&size_attr.attr,
	&block_size_attr.attr,
	&total_blocks_attr.attr,
	&free_blocks_attr.attr,
	&scrubbed_blocks_attr.attr,
	&dirty_blocks_attr.attr,
	&poisoned_blocks_attr.attr,
	&reserved_blocks_attr.attr,
	&largest_free_run_attr.attr,
	&free_1g_attr.attr,
	&growth_reserve_attr.attr,
	&gmpool_extents_attr.attr,
	&gmpool_extent_blocks_attr.attr,
	&gmpool_target_attr.attr,
	&gmpool_resize_error_attr.attr,
	&metadata_bytes_attr.attr,
	&generation_attr.attr,
	&handed_over_from_attr.attr,
	&uuid_attr.attr,
	&format_attr.attr,
	&state_attr.attr,
	&error_attr.attr,
	&alloc_failures_attr.attr,
	&moved_blocks_attr.attr,
	&check_attr.attr,
	&frozen_attr.attr,
	&scrub_rate_attr.attr,
	&scrub_target_attr.attr,
	&zeroing_attr.attr,
	&reserve_attr.attr,
	&policy_attr.attr,
	&low_watermark_attr.attr,
	&discard_attr.attr,
	NULL
};

/*
 * Number of bytes, at most @count, of a bitmap from @off on that the reader gets: none
 * without privilege, as the bitmaps reveal where memory is.
 */
static size_t gmpool_bitmap_readable(const struct gmpool *pool, loff_t off,
				     size_t count)
{
	u64 size = DIV_ROUND_UP_ULL(gmpool_end_block(pool), BITS_PER_BYTE);

	if (!capable(CAP_SYS_ADMIN) || off >= size)
		return 0;
	return min_t(u64, count, size - off);
}

/* Clear the bits of numbers that are no blocks: @bits begin with number @first. */
static void gmpool_clear_gaps(const struct gmpool *pool, u8 *bits, u64 first, u64 nr)
{
	u64 from = 0, at;
	u32 i;

	for (i = 0; i < pool->numbers.nr; i++) {
		const struct gmpool_extent *extent = &pool->numbers.extent[i];

		for (at = max(from, first); at < min(extent->first, first + nr); at++)
			bits[(at - first) / BITS_PER_BYTE] &= ~BIT((at - first) % BITS_PER_BYTE);
		from = extent->first + (extent->size >> GMPOOL_BLOCK_SHIFT);
	}
}

static ssize_t bitmap_used_read(struct file *file, struct kobject *kobj,
				const struct bin_attribute *attr, char *buf,
				loff_t off, size_t count)
{
	struct gmpool *pool = gmpool_of_kobj(kobj);

	guard(spinlock)(&pool->space.lock);
	if (!gmpool_is_known(pool) || !pool->space.blocks.taken)
		return 0;
	count = gmpool_bitmap_readable(pool, off, count);
	memcpy(buf, (u8 *)pool->space.blocks.taken + off, count);
	gmpool_clear_gaps(pool, (u8 *)buf, off * BITS_PER_BYTE, count * BITS_PER_BYTE);
	return count;
}

static ssize_t bitmap_dirty_read(struct file *file, struct kobject *kobj,
				 const struct bin_attribute *attr, char *buf,
				 loff_t off, size_t count)
{
	struct gmpool *pool = gmpool_of_kobj(kobj);
	const u8 *taken, *unclean;
	size_t i;

	guard(spinlock)(&pool->space.lock);
	if (!gmpool_is_known(pool) || !pool->space.blocks.taken)
		return 0;
	count = gmpool_bitmap_readable(pool, off, count);
	taken = (u8 *)pool->space.blocks.taken + off;
	unclean = (u8 *)pool->space.clean.taken + off;
	for (i = 0; i < count; i++)
		buf[i] = unclean[i] & ~taken[i];
	return count;
}

static ssize_t bitmap_poison_read(struct file *file, struct kobject *kobj,
				  const struct bin_attribute *attr, char *buf,
				  loff_t off, size_t count)
{
	struct gmpool *pool = gmpool_of_kobj(kobj);
	unsigned long page, first, end;
	void *entry;
	u64 bit;

	count = gmpool_bitmap_readable(pool, off, count);
	if (!gmpool_is_known(pool) || !count)
		return 0;
	memset(buf, 0, count);
	first = off * BITS_PER_BYTE * GMPOOL_BLOCK_PAGES;
	end = first + count * BITS_PER_BYTE * GMPOOL_BLOCK_PAGES;
	xa_for_each_range(&pool->bad.pages, page, entry, first, end - 1) {
		bit = (page - first) / GMPOOL_BLOCK_PAGES;
		buf[bit / BITS_PER_BYTE] |= BIT(bit % BITS_PER_BYTE);
	}
	return count;
}

static const struct bin_attribute bitmap_attr =
	__BIN_ATTR(bitmap, 0400, bitmap_used_read, NULL, 0);
static const struct bin_attribute bitmap_dirty_attr =
	__BIN_ATTR(bitmap_dirty, 0400, bitmap_dirty_read, NULL, 0);
static const struct bin_attribute bitmap_poison_attr =
	__BIN_ATTR(bitmap_poison, 0400, bitmap_poison_read, NULL, 0);

static ssize_t gmpool_metadata_read(struct file *file, struct kobject *kobj,
				    const struct bin_attribute *attr, char *buf,
				    loff_t off, size_t count)
{
	/* Metadata reveals where memory is, and names of files. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return gmpool_dump_read(gmpool_of_kobj(kobj), file, buf, off, count);
}

static const struct bin_attribute metadata_attr =
	__BIN_ATTR(metadata, 0400, gmpool_metadata_read, NULL, 0);

static const struct bin_attribute *const pool_bin_attrs[] = {
	&bitmap_attr,
	&bitmap_dirty_attr,
	&bitmap_poison_attr,
	&metadata_attr,
	NULL
};

static const struct attribute_group pool_group = {
	.attrs		= pool_attrs,
	.bin_attrs	= pool_bin_attrs,
};

static const struct attribute_group *pool_groups[] = {
	&pool_group,
	NULL
};

static void gmpool_dir_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct gmpool_dir, kobj));
}

const struct kobj_type gmpool_dir_type = {
	.release	= gmpool_dir_release,
	.sysfs_ops	= &attribute_ops,
	.default_groups	= pool_groups,
};
