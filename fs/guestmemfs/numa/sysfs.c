// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/fs/guestmemfs: the directories of pools, with the files of attributes.c,
 * and the files that concern all pools.
 */

#define pr_fmt(fmt) "guestmem_pool: " fmt

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/kobject.h>
#include <linux/memory.h>
#include <linux/node.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "pool.h"
#include "sysfs.h"

static struct kset *gmpool_kset;

/**
 * gmpool_add_attributes - add files to a pool's directory
 * @pool: the pool
 * @group: files, each in a struct gmpool_attribute
 *
 * Context: boot.
 *
 * Return: 0 or a negative errno; also 0 if the pool has no directory.
 */
int gmpool_add_attributes(struct gmpool *pool,
			  const struct attribute_group *group)
{
	return pool->events.dir ? sysfs_create_group(pool->events.dir, group) : 0;
}

static ssize_t version_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%u\n", GMPOOL_VERSION);
}

static struct kobj_attribute version_attr = __ATTR_RO(version);

static ssize_t kho_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", kho_is_enabled() ? "on" : "off");
}

static struct kobj_attribute kho_attr = __ATTR_RO(kho);

static const struct attribute * const common_attrs[] = {
	&kho_attr.attr,
	&version_attr.attr,
	NULL
};

/**
 * gmpool_feature_show - contents of a feature file, see GMPOOL_FEATURE()
 * @kobj: unused
 * @attr: unused
 * @buf: a page
 *
 * Return: bytes in @buf.
 */
ssize_t gmpool_feature_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "supported\n");
}

GMPOOL_FEATURE(check);
GMPOOL_FEATURE(discard);
GMPOOL_FEATURE(freeze);
GMPOOL_FEATURE(growth_reserve);
GMPOOL_FEATURE(memory_failure);
GMPOOL_FEATURE(reserve);
GMPOOL_FEATURE(resize);
GMPOOL_FEATURE(resize_in_use);
GMPOOL_FEATURE(scrub);

static struct attribute *feature_attrs[] = {
	&feature_check.attr,
	&feature_discard.attr,
	&feature_freeze.attr,
	&feature_growth_reserve.attr,
	&feature_memory_failure.attr,
	&feature_reserve.attr,
	&feature_resize.attr,
	&feature_resize_in_use.attr,
	&feature_scrub.attr,
	NULL
};

static umode_t gmpool_feature_visible(struct kobject *kobj,
				      struct attribute *attr, int n)
{
	if (attr == &feature_memory_failure.attr &&
	    !IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return 0;
	return attr->mode;
}

static const struct attribute_group feature_group = {
	.name		= "features",
	.attrs		= feature_attrs,
	.is_visible	= gmpool_feature_visible,
};

/**
 * gmpool_add_features - add the features of a client of pools
 * @group: files by GMPOOL_FEATURE(); its name is "features"
 *
 * Context: boot.
 *
 * Return: 0 or a negative errno; -ENODEV if there is no directory.
 */
int __init gmpool_add_features(const struct attribute_group *group)
{
	return gmpool_kset ? sysfs_merge_group(&gmpool_kset->kobj, group) :
			     -ENODEV;
}

/* Link from the node's device. A node without memory may have none. */
static void gmpool_link_node(struct gmpool *pool)
{
	struct node *node = node_devices[pool->nid];

	int err;

	if (!node)
		return;
	err = sysfs_create_link_nowarn(&node->dev.kobj, pool->events.dir, "guestmemfs");
	if (err && err != -EEXIST)
		pr_warn("node %d: no link /sys/devices/system/node/node%d/guestmemfs (%pe)\n",
			pool->nid, pool->nid, ERR_PTR(err));
}

/* The device of a node may be created with its first memory. */
static int gmpool_node_added(struct notifier_block *nb, unsigned long action,
			     void *data)
{
	struct node_notify *arg = data;
	struct gmpool *pool;

	if (action != NODE_ADDED_FIRST_MEMORY)
		return NOTIFY_OK;
	pool = gmpool_find(arg->nid);
	if (pool && pool->events.dir)
		gmpool_link_node(pool);
	return NOTIFY_OK;
}

static int __init gmpool_add_dir(struct gmpool *pool)
{
	struct gmpool_dir *dir = kzalloc_obj(*dir);
	int err;

	if (!dir)
		return -ENOMEM;
	dir->pool = pool;
	dir->kobj.kset = gmpool_kset;
	err = kobject_init_and_add(&dir->kobj, &gmpool_dir_type, NULL, "node%d",
				   pool->nid);
	if (err) {
		kobject_put(&dir->kobj);
		return err;
	}
	pool->events.dir = &dir->kobj;
	pool->events.state = sysfs_get_dirent(dir->kobj.sd, "state");
	pool->events.free = sysfs_get_dirent(dir->kobj.sd, "free_blocks");
	pool->events.size = sysfs_get_dirent(dir->kobj.sd, "size");
	pool->events.poison = sysfs_get_dirent(dir->kobj.sd, "poisoned_blocks");
	kobject_uevent(&dir->kobj, KOBJ_ADD);
	gmpool_link_node(pool);
	return 0;
}

static int __init gmpool_sysfs_init(void)
{
	struct gmpool *pool;
	int err;

	gmpool_kset = kset_create_and_add("guestmemfs", NULL, fs_kobj);
	if (!gmpool_kset)
		return -ENOMEM;
	err = sysfs_create_files(&gmpool_kset->kobj, common_attrs);
	if (!err)
		err = sysfs_create_group(&gmpool_kset->kobj, &feature_group);
	if (err)
		pr_warn("files in /sys/fs/guestmemfs are missing (%pe)\n",
			ERR_PTR(err));

	list_for_each_entry(pool, &gmpool_list, list) {
		/* A node can have two pools, but one of them is unused. */
		if (gmpool_find(pool->nid) != pool)
			continue;
		err = gmpool_add_dir(pool);
		if (err)
			pr_warn("node %d: no directory in /sys/fs/guestmemfs (%pe): gmfs-numa does not find the pool\n",
				pool->nid, ERR_PTR(err));
	}
	hotplug_node_notifier(gmpool_node_added, DEFAULT_CALLBACK_PRI);
	return 0;
}

/* After the pools are set up (lifecycle.c), before they have clients. */
fs_initcall(gmpool_sysfs_init);
