// SPDX-License-Identifier: GPL-2.0
/*
 * The file system of a pool, mounted or not. It is loaded or made at boot, and reset
 * with the pool. Also the callbacks of the pool, struct gmpool_client.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/liveupdate.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "guestmemfs.h"
#include "move.h"

/* All struct gmfs_fs. The list is complete before the first mount. */
static LIST_HEAD(gmfs_list);

/**
 * gmfs_find - find the file system of a pool
 * @pool: the pool
 *
 * Context: any, once the fs_initcall of the file system has run.
 *
 * Return: the file system; NULL if there was no memory for it.
 */
struct gmfs_fs *gmfs_find(const struct gmpool *pool)
{
	struct gmfs_fs *fs;

	list_for_each_entry(fs, &gmfs_list, list)
		if (fs->pool == pool)
			return fs;
	return NULL;
}

static bool gmfs_contiguous(const struct gmfs_image *img, u64 start, u64 count)
{
	return gmpool_contiguous(img->priv, start, count);
}

static void gmfs_init_image(struct gmfs_fs *fs, struct gmfs_image *img)
{
	gmfs_image_init(img, gmpool_metadata(fs->pool),
			gmpool_end_block(fs->pool), gmfs_contiguous, fs->pool);
}

static int gmfs_format(struct gmfs_fs *fs)
{
	u64 block = gmpool_check_used(fs->pool, NULL);
	struct timespec64 now;
	unsigned int flags;
	int err;

	/* The pool may have been handed over: do not discard its contents. */
	if (block < gmpool_end_block(fs->pool)) {
		gmpool_fail(fs->pool, "block %llu is used, but there is no file system",
			    block);
		return -EUCLEAN;
	}

	ktime_get_coarse_real_ts64(&now);
	flags = gmpool_op_begin(fs->pool);
	err = gmfs_image_format(&fs->image, &now);
	if (!err)
		gmfs_sync_private(fs);
	if (!err)
		err = gmpool_set_root(fs->pool, GMPOOL_OWNER_GUESTMEMFS,
				      fs->image.super->hdr.mbn);
	gmpool_op_end(fs->pool, flags);
	if (err == -EUCLEAN)
		gmpool_fail(fs->pool, "file system: %s", fs->image.why);
	else if (err)
		gmpool_fail(fs->pool, "no file system can be made (%pe)",
			    ERR_PTR(err));
	return err;
}

/*
 * Load @img from the records below @root, and compare it with the pool. Returns
 * NULL; or a description of the damage, to be freed by kfree(); or an ERR_PTR.
 */
static char *gmfs_load_image(struct gmfs_fs *fs, struct gmfs_image *img,
			     u32 root)
{
	u64 total = gmpool_end_block(fs->pool);
	unsigned long *used;
	char *why = NULL;
	u64 block;
	int err;

	used = kvzalloc_objs(*used, BITS_TO_LONGS(total));
	if (!used)
		return ERR_PTR(-ENOMEM);

	err = gmfs_image_load(img, root, used);
	block = err ? total : gmpool_check_used(fs->pool, used);
	if (err == -ENOMEM)
		why = ERR_PTR(err);
	else if (err)
		why = kasprintf(GFP_KERNEL, "file system: %s", img->why) ?:
		      ERR_PTR(-ENOMEM);
	else if (block < total)
		why = kasprintf(GFP_KERNEL, "file system: block %llu is %s, but not for the pool",
				block, test_bit(block, used) ? "used" : "free") ?:
		      ERR_PTR(-ENOMEM);
	kvfree(used);
	return why;
}

static int __init gmfs_load(struct gmfs_fs *fs, u32 root)
{
	char *why = gmfs_load_image(fs, &fs->image, root);

	if (!why)
		return 0;
	if (IS_ERR(why)) {
		gmpool_fail(fs->pool, "not enough memory to load its file system");
		return PTR_ERR(why);
	}
	gmpool_fail(fs->pool, "%s", why);
	kfree(why);
	return -EUCLEAN;
}

static void __init gmfs_free_orphans(struct gmfs_fs *fs)
{
	struct gmfs_inode *ci;
	unsigned int flags;
	u64 nr;

	flags = gmpool_op_begin(fs->pool);
	gmfs_image_await(&fs->image, liveupdate_enabled());
	gmpool_set_pinned(fs->pool, false);
	gmfs_sync_private(fs);
	gmpool_op_end(fs->pool, flags);
	gmfs_pins_inherit(fs);
	for (nr = 0; (ci = gmfs_image_orphan(&fs->image)); nr++)
		gmfs_release(fs, ci);
	if (nr)
		pr_info("node %d: %llu files that were deleted while open are freed\n",
			gmpool_nid(fs->pool), nr);
}

static struct gmfs_fs *gmfs_of_client(struct gmpool_client *client)
{
	return container_of(client, struct gmfs_fs, client);
}

/**
 * gmfs_get_sb - get a reference to the super block of a file system
 * @fs: the file system
 *
 * Context: process context, may sleep; takes gmfs_fs.lock.
 *
 * Return: the super block, for deactivate_super(); NULL if it is not mounted.
 */
struct super_block *gmfs_get_sb(struct gmfs_fs *fs)
{
	guard(mutex)(&fs->lock);
	if (!fs->sb || !atomic_inc_not_zero(&fs->sb->s_active))
		return NULL;
	return fs->sb;
}

/* Freeze or thaw the super block as gmfs_fs.frozen says, if the node is mounted. */
static int gmfs_apply_frozen(struct gmfs_fs *fs)
{
	const enum freeze_holder who = FREEZE_HOLDER_KERNEL | FREEZE_MAY_NEST;
	struct super_block *sb;
	int err = 0;

	lockdep_assert_held(&fs->freeze_lock);

	if (fs->frozen == fs->sb_frozen)
		return 0;
	sb = gmfs_get_sb(fs);
	if (!sb)
		return 0;
	if (fs->frozen)
		err = freeze_super(sb, who, NULL);
	else
		err = thaw_super(sb, who, NULL);
	if (!err)
		fs->sb_frozen = fs->frozen;
	deactivate_super(sb);
	return err;
}

static int gmfs_pool_freeze(struct gmpool_client *client, bool frozen)
{
	struct gmfs_fs *fs = gmfs_of_client(client);
	int err;

	guard(mutex)(&fs->freeze_lock);

	WRITE_ONCE(fs->frozen, frozen);
	err = gmfs_apply_frozen(fs);
	if (err)
		WRITE_ONCE(fs->frozen, !frozen);
	return err;
}

static void gmfs_freeze_mounted(struct work_struct *work)
{
	struct gmfs_fs *fs = container_of(work, struct gmfs_fs, freeze_work);
	int err;

	guard(mutex)(&fs->freeze_lock);

	err = gmfs_apply_frozen(fs);
	if (err)
		pr_err("node %d: cannot freeze the mounted file system (%pe)\n",
		       gmpool_nid(fs->pool), ERR_PTR(err));
}

/* The pool discards all records: free the indexes and the charges. */
static int gmfs_detach(struct gmpool_client *client)
{
	struct gmfs_fs *fs = gmfs_of_client(client);
	struct gmfs_inode *ci;
	unsigned long ino;

	guard(mutex)(&fs->lock);

	if (fs->sb || fs->mounting)
		return -EBUSY;
	if (gmfs_has_pins(fs)) {
		pr_notice("node %d: the pool is not discarded, since a preserved file was handed over pinned for devices: finish its LUO session first\n",
			  gmpool_nid(fs->pool));
		return -EBUSY;
	}
	fs->attached = false;
	xa_for_each(&fs->image.inodes, ino, ci)
		if (S_ISREG(ci->rec->mode))
			gmfs_uncharge(&ci->file.charges, ci->file.blocks);
	gmfs_image_destroy(&fs->image);
	gmfs_init_image(fs, &fs->image);
	return 0;
}

static int gmfs_attach(struct gmpool_client *client)
{
	struct gmfs_fs *fs = gmfs_of_client(client);
	int err;

	err = gmfs_format(fs);
	if (err)
		return err;
	if (!fs->region)
		gmfs_charge_register(fs);
	guard(mutex)(&fs->lock);
	fs->read_only = false;
	fs->attached = true;
	return 0;
}

static char *gmfs_check(struct gmpool_client *client)
{
	struct gmfs_fs *fs = gmfs_of_client(client);
	struct gmfs_image *img = kzalloc_obj(*img);
	char *why;

	if (!img)
		return ERR_PTR(-ENOMEM);
	gmfs_init_image(fs, img);
	why = gmfs_load_image(fs, img, fs->image.super->hdr.mbn);
	gmfs_image_destroy(img);
	kfree(img);
	return why;
}

/**
 * gmfs_start - load the file system of a pool, or make one
 * @pool: the pool, which may have failed
 *
 * On an error, the pool fails, see gmpool_fail().
 *
 * Context: boot, before the file system can be mounted.
 *
 * Return: the file system; NULL if there was no memory for it.
 */
struct gmfs_fs *__init gmfs_start(struct gmpool *pool)
{
	struct gmfs_fs *fs;
	u32 root = 0;
	int err;

	fs = kzalloc_obj(*fs);
	if (!fs) {
		gmpool_fail(pool, "not enough memory for its file system");
		return NULL;
	}
	fs->pool = pool;
	/* Others only read it: this reference is never dropped. */
	atomic_set(&fs->policy.refcnt, 1);
	fs->policy.mode = MPOL_BIND;
	fs->policy.home_node = NUMA_NO_NODE;
	node_set(gmpool_nid(pool), fs->policy.nodes);
	mutex_init(&fs->lock);
	mutex_init(&fs->freeze_lock);
	init_rwsem(&fs->exchange_lock);
	spin_lock_init(&fs->pin_lock);
	INIT_LIST_HEAD(&fs->pins);
	init_waitqueue_head(&fs->pins_thawed);
	INIT_LIST_HEAD(&fs->clients);
	INIT_WORK(&fs->freeze_work, gmfs_freeze_mounted);
	gmfs_delayed_iput_init(fs);
	mutex_init(&fs->compact.run);
	spin_lock_init(&fs->compact.lock);
	fs->client.get_mapping = gmfs_get_failed;
	fs->client.put_mapping = gmfs_put_failed;
	fs->client.freeze = gmfs_pool_freeze;
	fs->client.detach = gmfs_detach;
	fs->client.attach = gmfs_attach;
	fs->client.check = gmfs_check;
	fs->client.resized = gmfs_resized;
	fs->client.move_begin = gmfs_shrink_begin;
	fs->client.move_out = gmfs_shrink_move_out;
	fs->client.move_explain = gmfs_shrink_explain;
	fs->client.move_end = gmfs_shrink_end;
	gmfs_init_image(fs, &fs->image);
	list_add_tail(&fs->list, &gmfs_list);
	gmpool_set_client(pool, &fs->client);
	/* A failed pool can be reset later. */
	if (!gmpool_usable(pool))
		return fs;

	root = gmpool_root(pool, GMPOOL_OWNER_GUESTMEMFS);
	if (root) {
		err = gmfs_load(fs, root);
	} else if (gmpool_read_only(pool)) {
		gmpool_fail(pool, "this kernel can only read it, and it has no file system");
		err = -EROFS;
	} else {
		err = gmfs_format(fs);
	}
	if (err) {
		gmfs_image_destroy(&fs->image);
		gmfs_init_image(fs, &fs->image);
		return fs;
	}

	if (fs->image.read_only)
		gmpool_set_read_only(pool);
	fs->read_only = gmpool_read_only(pool);
	if (!fs->read_only)
		gmfs_free_orphans(fs);
	gmfs_charge_register(fs);
	fs->attached = true;
	pr_info("node %d: %s file system, %llu of %llu blocks free, %llu of them dirty%s\n",
		gmpool_nid(pool), root ? "handed-over" : "new",
		gmpool_free_blocks(pool), gmpool_total_blocks(pool),
		gmpool_dirty_blocks(pool), fs->read_only ? ", read-only" : "");
	return fs;
}
