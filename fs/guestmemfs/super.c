// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: guestmemfs
 *
 * There is one file system for each pool of guest memory, that is one per NUMA node
 * (include/linux/guestmem_pool.h). Files consist of whole blocks of 2 MiB of the
 * pool and are accessed by mmap() only. Names, inodes and extents are records in
 * the metadata blocks of the pool (image.h), which are always up to date: a kexec
 * only waits for the operations under way.
 *
 * Life times: the image of a pool is loaded at boot and is never freed. The first
 * mount of a node makes a super block, which all mounts of the node share, and the
 * last umount() frees it. The VFS may drop an inode at any time, because the image
 * has all its attributes.
 *
 * Locks, outermost first:
 *
 * - mm->mmap_lock or a VMA's: in mmap() and faults
 * - sb_start_write(), sb_start_pagefault(), sb_start_intwrite(): all changes,
 *   against fsfreeze
 * - inode->i_rwsem: attributes and size of the inode; a directory's entries
 * - gmfs_inode_info.fill_lock: lookup and filling of holes of the file
 * - mapping->invalidate_lock: extents and charges of the file, and its size
 *   against faults; a fault takes it shared
 * - gmpool_op_begin(): an operation, which the next kernel sees completely or not
 *   at all. Not held while new blocks are zeroed or user memory is accessed.
 * - gmfs_inode_info.attr_lock: extended attributes and ACLs of the inode
 * - gmfs_image.lock: which slots of metadata blocks are in use, number and limit of
 *   inodes
 * - gmpool_meta.lock, and the locks of the pool
 * - gmfs_fs.pin_lock: pins of the files of the node
 * - inode->i_lock: the attributes in the record of the inode
 *
 * A lookup takes only locks of its directory, and a fault only locks of its file.
 */

#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/init.h>
#include <linux/nodemask.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/workqueue.h>

#include "guestmemfs.h"

/**
 * struct gmfs_mount - options of a mount
 * @node: node=
 * @has_node: node= was given
 * @prefault: prefault: fill new mappings at once
 * @has_prefault: prefault or noprefault was given
 * @root: mode=, uid= and gid= for the root directory, as far as they were given
 * @max_inodes: nr_inodes=, 0 is no limit
 * @has_max_inodes: nr_inodes= was given
 * @internal: mount of gmfs_mount_internal(), which sets no options
 * @fs: the mounted file system, if it must be frozen after the mount
 */
struct gmfs_mount {
	u32 node;
	bool has_node;
	bool prefault;
	bool has_prefault;
	struct iattr root;
	u64 max_inodes;
	bool has_max_inodes;
	bool internal;
	struct gmfs_fs *fs;
};

enum {
	OPT_NODE,
	OPT_PREFAULT,
	OPT_MODE,
	OPT_UID,
	OPT_GID,
	OPT_NR_INODES,
};

static const struct fs_parameter_spec gmfs_parameters[] = {
	fsparam_u32("node", OPT_NODE),
	fsparam_flag_no("prefault", OPT_PREFAULT),
	fsparam_u32oct("mode", OPT_MODE),
	fsparam_uid("uid", OPT_UID),
	fsparam_gid("gid", OPT_GID),
	fsparam_string("nr_inodes", OPT_NR_INODES),
	{}
};

static void gmfs_nodes_with_pool(nodemask_t *nodes)
{
	struct gmpool *pool = NULL;

	nodes_clear(*nodes);
	while ((pool = gmpool_next(pool)))
		node_set(gmpool_nid(pool), *nodes);
}

/**
 * gmfs_statfs - get size and usage of the file system
 * @dentry: a dentry of the file system
 * @buf: set to the result
 *
 * Without nr_inodes=, the number of inodes has no limit, and f_files and f_ffree are
 * 0, as on tmpfs.
 *
 * Return: 0.
 */
int gmfs_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct super_block *sb = dentry->d_sb;
	struct gmfs_fs *fs = GMFS_FS(sb);
	struct gmpool *pool = fs->pool;
	u64 inodes, max;

	inodes = gmfs_count_inodes(&fs->image, &max);
	if (max) {
		buf->f_files = max;
		buf->f_ffree = max - inodes;
	}
	buf->f_type = GUESTMEMFS_MAGIC;
	buf->f_bsize = GMPOOL_BLOCK_SIZE;
	buf->f_blocks = gmpool_total_blocks(pool);
	buf->f_bfree = gmpool_free_blocks(pool);
	buf->f_bavail = buf->f_bfree -
			min(buf->f_bfree, gmpool_reserved_blocks(pool));
	buf->f_namelen = GMFS_NAME_MAX;
	buf->f_fsid = uuid_to_fsid(sb->s_uuid.b);
	return 0;
}

/**
 * gmfs_show_options - show the options of a mount
 * @seq: output
 * @root: dentry of the mount's root
 *
 * Return: 0.
 */
int gmfs_show_options(struct seq_file *seq, struct dentry *root)
{
	const struct inode *top = d_inode(root->d_sb->s_root);
	struct gmfs_fs *fs = GMFS_FS(root->d_sb);
	u64 max;

	seq_printf(seq, ",node=%d", gmpool_nid(fs->pool));
	if (READ_ONCE(fs->prefault))
		seq_puts(seq, ",prefault");
	gmfs_count_inodes(&fs->image, &max);
	if (max)
		seq_printf(seq, ",nr_inodes=%llu", max);
	/* The current mode and owner: they are stored in the inode, not per mount. */
	if ((top->i_mode & S_IALLUGO) != GMFS_ROOT_MODE)
		seq_printf(seq, ",mode=%03o", top->i_mode & S_IALLUGO);
	if (!uid_eq(top->i_uid, GLOBAL_ROOT_UID))
		seq_printf(seq, ",uid=%u",
			   from_kuid_munged(&init_user_ns, top->i_uid));
	if (!gid_eq(top->i_gid, GLOBAL_ROOT_GID))
		seq_printf(seq, ",gid=%u",
			   from_kgid_munged(&init_user_ns, top->i_gid));
	return 0;
}

static int gmfs_apply_nr_inodes(struct fs_context *fc, struct gmfs_fs *fs)
{
	struct gmfs_mount *mnt = fc->fs_private;
	int err;

	err = gmfs_limit_inodes(&fs->image, mnt->max_inodes);
	if (err)
		errorfc(fc, "nr_inodes=%llu is too low: node %d has %llu inodes",
			mnt->max_inodes, gmpool_nid(fs->pool),
			gmfs_count_inodes(&fs->image, NULL));
	return err;
}

/* Set mode and owner of the root directory to those of the mount options. */
static int gmfs_set_root(struct fs_context *fc, struct inode *root)
{
	struct gmfs_mount *mnt = fc->fs_private;
	int err;

	if (!mnt->root.ia_valid)
		return 0;
	if (sb_rdonly(root->i_sb)) {
		errorfc(fc, "mode=, uid= and gid= cannot be set in a read-only mount");
		return -EROFS;
	}
	mnt->root.ia_mode |= S_IFDIR;
	mnt->root.ia_valid |= ATTR_CTIME;
	mnt->root.ia_ctime = current_time(root);
	inode_lock(root);
	err = gmfs_change(&nop_mnt_idmap, root, &mnt->root);
	inode_unlock(root);
	return err;
}

static int gmfs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct gmfs_mount *mnt = fc->fs_private;
	struct gmfs_fs *fs = GMFS_FS(sb);
	struct inode *root;
	int err;

	err = gmfs_apply_nr_inodes(fc, fs);
	if (err)
		return err;
	WRITE_ONCE(fs->prefault, mnt->prefault);
	fs->configured = !mnt->internal;
	sb->s_magic = GUESTMEMFS_MAGIC;
	sb->s_blocksize = GMPOOL_BLOCK_SIZE;
	sb->s_blocksize_bits = GMPOOL_BLOCK_SHIFT;
	sb->s_maxbytes = GMFS_MAX_SIZE;
	sb->s_time_gran = 1;
	sb->s_op = &gmfs_super_ops;
	sb->s_xattr = gmfs_xattr_handlers;
	sb->s_export_op = &gmfs_export_ops;
	sb->s_flags |= SB_POSIXACL;
	super_set_uuid(sb, gmpool_uuid(fs->pool), GMPOOL_UUID_SIZE);

	root = gmfs_iget(sb, fs->image.super->root_ino);
	if (IS_ERR(root))
		return PTR_ERR(root);
	sb->s_root = d_make_root(root);
	if (!sb->s_root)
		return -ENOMEM;
	return gmfs_set_root(fc, root);
}

static int gmfs_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct gmfs_mount *mnt = fc->fs_private;
	struct fs_parse_result result;
	char *rest;
	int opt;

	opt = fs_parse(fc, gmfs_parameters, param, &result);
	switch (opt) {
	case OPT_NODE:
		mnt->node = result.uint_32;
		mnt->has_node = true;
		return 0;
	case OPT_PREFAULT:
		mnt->prefault = !result.negated;
		mnt->has_prefault = true;
		return 0;
	case OPT_MODE:
		if (result.uint_32 & ~S_IALLUGO)
			return invalfc(fc, "mode=%s is not one of 0 to 7777",
				       param->string);
		mnt->root.ia_mode = result.uint_32;
		mnt->root.ia_valid |= ATTR_MODE;
		return 0;
	case OPT_UID:
		mnt->root.ia_vfsuid = VFSUIDT_INIT(result.uid);
		mnt->root.ia_valid |= ATTR_UID;
		return 0;
	case OPT_GID:
		mnt->root.ia_vfsgid = VFSGIDT_INIT(result.gid);
		mnt->root.ia_valid |= ATTR_GID;
		return 0;
	case OPT_NR_INODES:
		mnt->max_inodes = memparse(param->string, &rest);
		if (*rest || rest == param->string)
			return invalfc(fc, "nr_inodes=%s is no number; it may end in k, m or g",
				       param->string);
		mnt->has_max_inodes = true;
		return 0;
	default:
		return opt;
	}
}

/* Returns the pool of node=, or an ERR_PTR after an error message. */
static struct gmpool *gmfs_choose_pool(struct fs_context *fc)
{
	struct gmfs_mount *mnt = fc->fs_private;
	struct gmpool *pool;
	nodemask_t nodes;

	gmfs_nodes_with_pool(&nodes);
	if (nodes_empty(nodes)) {
		errorfc(fc, "no node has a pool; the boot parameter guestmemfs= makes them");
		return ERR_PTR(-EINVAL);
	}
	if (!mnt->has_node && nodes_weight(nodes) > 1) {
		errorfc(fc, "node= is required; nodes with a pool: %*pbl",
			nodemask_pr_args(&nodes));
		return ERR_PTR(-EINVAL);
	}
	if (!mnt->has_node)
		mnt->node = first_node(nodes);
	if (mnt->node >= MAX_NUMNODES || !node_isset(mnt->node, nodes)) {
		errorfc(fc, "node %u has no pool; nodes with a pool: %*pbl",
			mnt->node, nodemask_pr_args(&nodes));
		return ERR_PTR(-EINVAL);
	}

	pool = gmpool_find(mnt->node);
	if (!gmpool_usable(pool)) {
		errorfc(fc, "the pool of node %u is not used: %s", mnt->node,
			gmpool_error(pool));
		return ERR_PTR(-EUCLEAN);
	}
	return pool;
}

static int gmfs_check_read_only(struct fs_context *fc, const struct gmfs_fs *fs)
{
	if (!fs->read_only || fc->sb_flags & SB_RDONLY)
		return 0;
	errorfc(fc, "node %d has features that this kernel can only read: mount it read-only",
		gmpool_nid(fs->pool));
	return -EROFS;
}

static bool gmfs_root_differs(const struct inode *root,
			      const struct iattr *attr)
{
	return (attr->ia_valid & ATTR_MODE &&
		(attr->ia_mode ^ root->i_mode) & S_IALLUGO) ||
	       (attr->ia_valid & ATTR_UID &&
		!vfsuid_eq_kuid(attr->ia_vfsuid, root->i_uid)) ||
	       (attr->ia_valid & ATTR_GID &&
		!vfsgid_eq_kgid(attr->ia_vfsgid, root->i_gid));
}

/* All mounts of a node share the super block and its options. */
static int gmfs_check_shared(struct fs_context *fc, struct gmfs_fs *fs)
{
	struct gmfs_mount *mnt = fc->fs_private;
	u64 max;

	if (!(fc->sb_flags & SB_RDONLY) && sb_rdonly(fc->root->d_sb)) {
		errorfc(fc, "node %d is mounted read-only elsewhere",
			gmpool_nid(fs->pool));
		return -EBUSY;
	}
	if (mnt->has_prefault && mnt->prefault != READ_ONCE(fs->prefault)) {
		errorfc(fc, "node %d is mounted %s prefault elsewhere: use mount -o remount",
			gmpool_nid(fs->pool),
			mnt->prefault ? "without" : "with");
		return -EBUSY;
	}
	gmfs_count_inodes(&fs->image, &max);
	if (mnt->has_max_inodes && mnt->max_inodes != max) {
		errorfc(fc, "node %d has nr_inodes=%llu elsewhere: use mount -o remount",
			gmpool_nid(fs->pool), max);
		return -EBUSY;
	}
	if (gmfs_root_differs(d_inode(fc->root), &mnt->root)) {
		errorfc(fc, "node %d has another mode or owner elsewhere: use chmod, chown",
			gmpool_nid(fs->pool));
		return -EBUSY;
	}
	return 0;
}

/* The first mount by an administrator sets the options of an internal mount. */
static int gmfs_configure(struct fs_context *fc, struct gmfs_fs *fs)
{
	struct inode *root = d_inode(fc->root);
	struct gmfs_mount *mnt = fc->fs_private;
	bool differs = gmfs_root_differs(root, &mnt->root);
	int err = 0;

	if (differs && root->i_sb->s_writers.frozen != SB_UNFROZEN) {
		errorfc(fc, "mode=, uid= and gid= cannot be set while node %d is frozen",
			gmpool_nid(fs->pool));
		return -EBUSY;
	}
	if (mnt->has_max_inodes)
		err = gmfs_apply_nr_inodes(fc, fs);
	if (!err && differs)
		err = gmfs_set_root(fc, root);
	if (err)
		return err;
	WRITE_ONCE(fs->prefault, mnt->prefault);
	fs->configured = true;
	return 0;
}

static int gmfs_do_get_tree(struct fs_context *fc, struct gmfs_fs *fs)
{
	struct gmfs_mount *mnt = fc->fs_private;
	int err;

	if (mnt->internal && fs->read_only)
		fc->sb_flags |= SB_RDONLY;
	err = gmfs_check_read_only(fc, fs);
	if (err)
		return err;
	err = get_tree_keyed(fc, gmfs_fill_super, fs);
	if (err)
		return err;
	if (!mnt->internal)
		err = fs->configured ? gmfs_check_shared(fc, fs) :
				       gmfs_configure(fc, fs);
	if (err)
		fc_drop_locked(fc);
	return err;
}

static int gmfs_get_tree(struct fs_context *fc)
{
	struct gmfs_mount *mnt = fc->fs_private;
	struct gmpool *pool;
	struct gmfs_fs *fs;
	int err;

	pool = gmfs_choose_pool(fc);
	if (IS_ERR(pool))
		return PTR_ERR(pool);
	fs = gmfs_find(pool);
	mutex_lock(&fs->lock);
	/* The pool may be being reset. */
	if (!fs->attached) {
		mutex_unlock(&fs->lock);
		errorfc(fc, "node %d is being reset", gmpool_nid(pool));
		return -EBUSY;
	}
	fs->mounting++;
	mutex_unlock(&fs->lock);

	err = gmfs_do_get_tree(fc, fs);

	mutex_lock(&fs->lock);
	fs->mounting--;
	if (!err)
		fs->sb = fc->root->d_sb;
	mutex_unlock(&fs->lock);
	/* The VFS can freeze it only once it is mounted. */
	if (!err && READ_ONCE(fs->frozen)) {
		mnt->fs = fs;
		schedule_work(&fs->freeze_work);
	}
	return err;
}

static void gmfs_kill_sb(struct super_block *sb)
{
	struct gmfs_fs *fs = GMFS_FS(sb);

	kill_anon_super(sb);
	guard(mutex)(&fs->lock);
	if (fs->sb == sb)
		fs->sb = NULL;
}

static int gmfs_reconfigure(struct fs_context *fc)
{
	struct gmfs_fs *fs = GMFS_FS(fc->root->d_sb);
	struct gmfs_mount *mnt = fc->fs_private;
	int err;

	if (mnt->has_node && mnt->node != gmpool_nid(fs->pool))
		return invalfc(fc, "node= cannot be changed from %d",
			       gmpool_nid(fs->pool));
	err = gmfs_check_read_only(fc, fs);
	if (!err && mnt->has_max_inodes)
		err = gmfs_apply_nr_inodes(fc, fs);
	if (!err && mnt->has_prefault)
		WRITE_ONCE(fs->prefault, mnt->prefault);
	return err;
}

static void gmfs_free_fc(struct fs_context *fc)
{
	struct gmfs_mount *mnt = fc->fs_private;

	/* When mount(2) returns, a node with frozen=1 is frozen. */
	if (mnt->fs)
		flush_work(&mnt->fs->freeze_work);
	kfree(mnt);
}

static const struct fs_context_operations gmfs_context_ops = {
	.free		= gmfs_free_fc,
	.parse_param	= gmfs_parse_param,
	.get_tree	= gmfs_get_tree,
	.reconfigure	= gmfs_reconfigure,
};

static int gmfs_init_fs_context(struct fs_context *fc)
{
	struct gmfs_mount *mnt = kzalloc_obj(*mnt);

	if (!mnt)
		return -ENOMEM;
	fc->fs_private = mnt;
	fc->ops = &gmfs_context_ops;
	return 0;
}

static struct file_system_type gmfs_type = {
	.name			= "guestmemfs",
	.init_fs_context	= gmfs_init_fs_context,
	.parameters		= gmfs_parameters,
	.kill_sb		= gmfs_kill_sb,
	.fs_flags		= FS_ALLOW_IDMAP | FS_MGTIME,
};

struct gmfs_internal_mount {
	struct work_struct work;
	const struct gmpool *pool;
	struct vfsmount *vfsmnt;
};

static void gmfs_do_mount_internal(struct work_struct *work)
{
	struct gmfs_internal_mount *im =
		container_of(work, struct gmfs_internal_mount, work);
	struct fs_context *fc = fs_context_for_mount(&gmfs_type, 0);
	struct gmfs_mount *mnt;

	if (IS_ERR(fc)) {
		im->vfsmnt = ERR_CAST(fc);
		return;
	}
	mnt = fc->fs_private;
	mnt->node = gmpool_nid(im->pool);
	mnt->has_node = true;
	mnt->internal = true;
	im->vfsmnt = fc_mount(fc);
	put_fs_context(fc);
}

/**
 * gmfs_mount_internal - mount the file system of a pool for the kernel
 * @pool: the pool
 *
 * The mount is read-only if the node is mounted read-only elsewhere, or if this
 * kernel can only read the pool. It shares the options of other mounts. If it is the
 * first mount, the first mount by an administrator sets the options later.
 *
 * A worker does the mount. The caller may be a task that exits with an open session
 * of LUO: it has no namespaces any more, which a struct fs_context needs.
 *
 * Context: process context, may sleep.
 *
 * Return: the mount, for mntput(); or an ERR_PTR: -ENOMEM; -EBUSY while the pool
 * is being reset; -EUCLEAN if it has failed.
 */
struct vfsmount *gmfs_mount_internal(const struct gmpool *pool)
{
	struct gmfs_internal_mount im = { .pool = pool };

	INIT_WORK_ONSTACK(&im.work, gmfs_do_mount_internal);
	schedule_work(&im.work);
	flush_work(&im.work);
	destroy_work_on_stack(&im.work);
	return im.vfsmnt;
}

static int __init gmfs_init(void)
{
	struct gmpool *pool = NULL;
	struct gmfs_fs *fs;
	int err;

	err = gmfs_inode_cache_init();
	if (err)
		return err;
	gmfs_sysfs_init();
	while ((pool = gmpool_next(pool))) {
		fs = gmfs_start(pool);
		if (fs)
			gmfs_sysfs_add(fs);
	}
	return register_filesystem(&gmfs_type);
}
fs_initcall(gmfs_init);
