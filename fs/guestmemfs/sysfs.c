// SPDX-License-Identifier: GPL-2.0
/*
 * What the file system shows of a node in /sys/fs/guestmemfs, beside the pool's
 * own (numa/sysfs.c).
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "guestmemfs.h"

/* A file that shows one number. */
#define GMFS_NUMBER(_name, _value)					\
static ssize_t _name##_show(struct gmpool *pool, char *buf)		\
{									\
	struct gmfs_fs *fs = gmfs_find(pool);				\
									\
	/* It may be made anew. */					\
	guard(mutex)(&fs->lock);					\
	return sysfs_emit(buf, "%llu\n", (u64)(_value));		\
}									\
static struct gmpool_attribute _name##_attr = __ATTR_RO(_name)

static u64 gmfs_get_max_inodes(struct gmfs_fs *fs)
{
	u64 max;

	gmfs_count_inodes(&fs->image, &max);
	return max;
}

/* One that is being made counts before it has its record. */
static u64 gmfs_get_free_inodes(struct gmfs_fs *fs)
{
	u64 used = gmfs_count_inodes(&fs->image, NULL);

	return max(gmfs_count_inode_slots(&fs->image), used) - used;
}

/* Each mount has a reference, and so has who has frozen the super block. */
static unsigned int gmfs_get_mounts(struct gmfs_fs *fs)
{
	if (!fs->sb)
		return 0;
	return atomic_read(&fs->sb->s_active) -
	       (READ_ONCE(fs->sb->s_writers.frozen) == SB_FREEZE_COMPLETE);
}

GMFS_NUMBER(total_inodes, gmfs_count_inode_slots(&fs->image));
GMFS_NUMBER(free_inodes, gmfs_get_free_inodes(fs));
GMFS_NUMBER(max_inodes, gmfs_get_max_inodes(fs));
GMFS_NUMBER(mounts, gmfs_get_mounts(fs));
GMFS_NUMBER(preserved_files, atomic_read(&fs->preserved));
GMFS_NUMBER(faults_pte, atomic64_read(&fs->faults[GMFS_MAP_PTE]));
GMFS_NUMBER(faults_pmd, atomic64_read(&fs->faults[GMFS_MAP_PMD]));
GMFS_NUMBER(faults_pud, atomic64_read(&fs->faults[GMFS_MAP_PUD]));

static struct attribute *gmfs_attrs[] = {
	&total_inodes_attr.attr,
	&free_inodes_attr.attr,
	&max_inodes_attr.attr,
	&mounts_attr.attr,
	&preserved_files_attr.attr,
	&faults_pte_attr.attr,
	&faults_pmd_attr.attr,
	&faults_pud_attr.attr,
	NULL
};

static const struct attribute_group gmfs_group = {
	.attrs = gmfs_attrs,
};

/**
 * gmfs_sysfs_add - show what there is of a file system
 * @fs: the file system
 *
 * Context: boot.
 */
void __init gmfs_sysfs_add(struct gmfs_fs *fs)
{
	int err = gmpool_add_attributes(fs->pool, &gmfs_group);

	if (err)
		pr_warn("node %d: files in its directory in sysfs are missing (%pe)\n",
			gmpool_nid(fs->pool), ERR_PTR(err));
}

GMPOOL_FEATURE(acl);
#ifdef CONFIG_CGROUP_DMEM
GMPOOL_FEATURE(dmem);
#endif
GMPOOL_FEATURE(leaf_pmd);
GMPOOL_FEATURE(leaf_pud);
GMPOOL_FEATURE(xattr);

static struct attribute *gmfs_features[] = {
	&feature_acl.attr,
#ifdef CONFIG_CGROUP_DMEM
	&feature_dmem.attr,
#endif
	&feature_leaf_pmd.attr,
	&feature_leaf_pud.attr,
	&feature_xattr.attr,
	NULL
};

static const struct attribute_group gmfs_feature_group = {
	.name	= "features",
	.attrs	= gmfs_features,
};

/**
 * gmfs_sysfs_init - show what this file system can do
 *
 * Context: boot.
 */
void __init gmfs_sysfs_init(void)
{
	int err = gmpool_add_features(&gmfs_feature_group);

	if (err)
		pr_warn("files in /sys/fs/guestmemfs/features are missing (%pe)\n",
			ERR_PTR(err));
}
