/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_SYSFS_H
#define _GMPOOL_SYSFS_H

#include <linux/kobject.h>

struct gmpool;

/*
 * The directory of a pool in sysfs: freed by its own reference count, unlike
 * the pool.
 */
struct gmpool_dir {
	struct kobject kobj;
	struct gmpool *pool;
};

static inline struct gmpool *gmpool_of_kobj(struct kobject *kobj)
{
	return container_of(kobj, struct gmpool_dir, kobj)->pool;
}

/* In attributes.c */
extern const struct kobj_type gmpool_dir_type;

/* In extents.c */
extern struct gmpool_attribute gmpool_extents_attr;
extern struct gmpool_attribute gmpool_extent_blocks_attr;
extern struct gmpool_attribute gmpool_target_attr;
extern struct gmpool_attribute gmpool_resize_error_attr;

#endif /* _GMPOOL_SYSFS_H */
