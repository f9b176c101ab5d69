/* SPDX-License-Identifier: GPL-2.0 */
/*
 * guestmemfs as a file system: structures and functions that its VFS parts share.
 */
#ifndef _GUESTMEMFS_H
#define _GUESTMEMFS_H

#include <linux/fs.h>
#include <linux/guestmem_pool.h>
#include <linux/interval_tree.h>
#include <linux/llist.h>
#include <linux/mempolicy.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <uapi/linux/guestmemfs.h>

#include "image.h"
#include "move.h"

#define GMFS_BLOCK_PAGES	(GMPOOL_BLOCK_SIZE >> PAGE_SHIFT)
#define GMFS_1G_BLOCKS	(PUD_SIZE >> GMPOOL_BLOCK_SHIFT)

/**
 * enum gmfs_map - size of a mapping
 * @GMFS_MAP_PTE: a page of 4 KiB
 * @GMFS_MAP_PMD: a block of 2 MiB
 * @GMFS_MAP_PUD: 1 GiB
 * @GMFS_MAPS: number of sizes
 */
enum gmfs_map {
	GMFS_MAP_PTE,
	GMFS_MAP_PMD,
	GMFS_MAP_PUD,
	GMFS_MAPS,
};

/**
 * struct gmfs_fs - the file system of a pool, mounted or not
 * @list: entry in the list of all file systems
 * @pool: the pool that contains its blocks
 * @image: its records
 * @read_only: this kernel must not change it
 * @prefault: mmap() populates a new mapping; a mount option
 * @policy: memory policy that mappings report: bound to the node of the pool
 * @client: its callbacks for the pool
 * @region: region of the pool in the dmem controller, or NULL
 * @faults: faults served since boot, by size of the mapping
 * @preserved: inodes with open files that LUO hands over to the next kernel, as of now
 * @lock: guards @attached, @sb and @mounting, and @image while it is not
 *	attached; nests inside s_umount of @sb
 * @attached: @image is that of the pool
 * @sb: the mounted super block, or NULL
 * @mounting: number of mounts in progress
 * @configured: an administrator has mounted it since @sb was made, and so decided
 *	about its options; guarded by s_umount of @sb
 * @freeze_lock: guards @frozen and @sb_frozen, held over freezing of @sb
 * @frozen: the administrator has requested a freeze
 * @sb_frozen: @sb is frozen by that request
 * @freeze_work: freezes a super block that is mounted while @frozen is set
 * @delayed_iputs: inodes whose last reference was passed to gmfs_delayed_iput()
 * @delayed_iput_work: drops those references while @sb is not frozen
 * @pin_lock: guards @pins, @pinned_blocks, the pins in struct gmfs_inode, @clients and
 *	@nr_clients
 * @pins: list of struct guestmem_pin: first those of the previous kernel, then those of
 *	this one, in the order of their creation
 * @pinned_blocks: sum of gmfs_inode.file.pinned
 * @pins_thawed: for pins that wait for gmfs_pins_thaw()
 * @preserved_pinned: inodes of @preserved whose records say that they are pinned;
 *	guarded by gmfs_image.lock
 * @exchange_lock: held shared while blocks move, in a file or from one to another, and
 *	exclusive to look for a block in one file after the other; within the fill_lock
 *	of files, around their invalidate_lock
 * @clients: list of struct guestmem_client, in the order in which they attached files
 * @nr_clients: number of entries of @clients
 * @compact: compaction, see compact.c
 * @compact.run: one at a time
 * @compact.lock: guards the result of the last one, as far as it has come
 * @compact.gained: number of 1 GiB ranges that became free
 * @compact.moved: number of blocks that moved
 * @compact.obstacles: blocks that could not move
 *
 * Made at boot, and never freed, not even if the pool has failed.
 */
struct gmfs_fs {
	struct list_head list;
	struct gmpool *pool;
	struct gmfs_image image;
	bool read_only;
	bool prefault;
	struct mempolicy policy;
	struct gmpool_client client;
	struct dmem_cgroup_region *region;
	atomic64_t faults[GMFS_MAPS];
	atomic_t preserved;
	struct mutex lock;	/* guards attached, sb, mounting */
	bool attached;
	struct super_block *sb;
	unsigned int mounting;
	bool configured;
	struct mutex freeze_lock;	/* guards frozen, sb_frozen */
	bool frozen;
	bool sb_frozen;
	struct work_struct freeze_work;
	struct llist_head delayed_iputs;
	struct delayed_work delayed_iput_work;
	spinlock_t pin_lock;	/* guards pins and clients */
	struct list_head pins;
	u64 pinned_blocks;
	wait_queue_head_t pins_thawed;
	u64 preserved_pinned;
	struct rw_semaphore exchange_lock;	/* keeps blocks in their files */
	struct list_head clients;
	u64 nr_clients;
	struct {
		struct mutex run;	/* one compaction at a time */
		spinlock_t lock;	/* guards the result */
		u64 gained;
		u64 moved;
		struct gmfs_obstacles obstacles;
	} compact;
};

/**
 * struct gmfs_inode_info - an inode of the VFS
 * @ci: the inode in the image; NULL if its creation failed
 * @fill_lock: held from the search for holes until they are filled. Blocks are zeroed
 *	under it, since the invalidate_lock would block faults for too long.
 * @attr_lock: guards gmfs_inode.attrs
 * @vfs_inode: the inode as the VFS knows it
 */
struct gmfs_inode_info {
	struct gmfs_inode *ci;
	struct mutex fill_lock;	/* one filler of holes at a time */
	struct rw_semaphore attr_lock;	/* guards ci->attrs */
	struct inode vfs_inode;
};

/**
 * struct gmfs_fill - blocks that will fill holes of a file
 * @ranges: claimed blocks; gmfs_fill_end() gives back those that were not committed
 * @file_blocks: file block of each of @ranges, ascending
 * @nr: number of @ranges and @file_blocks in use
 * @room: number allocated
 * @charges: cgroup charges for the blocks
 */
struct gmfs_fill {
	struct gmpool_range *ranges;
	u64 *file_blocks;
	size_t nr;
	size_t room;
	struct gmfs_charge *charges;
};

/**
 * struct guestmem_pin - a range of a file whose blocks must not move
 * @blocks: the range in blocks of the file, in gmfs_inode.file.pins
 * @list: entry in gmfs_fs.pins
 * @ci: inode of the file
 * @file: the file, with a reference; NULL for a pin of the previous kernel, which
 *	represents gmfs_inode.file.inherited
 * @start: first byte of the range, a multiple of PAGE_SIZE
 * @len: bytes, a multiple of PAGE_SIZE
 * @write: the device may write
 * @pid: the process that asked for the pin, in the initial PID namespace
 * @comm: name of that process at that time
 */
struct guestmem_pin {
	struct interval_tree_node blocks;
	struct list_head list;
	struct gmfs_inode *ci;
	struct file *file;
	u64 start;
	u64 len;
	bool write;
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

static inline struct gmfs_fs *GMFS_FS(const struct super_block *sb)
{
	return sb->s_fs_info;
}

static inline struct gmfs_inode_info *GMFS_I(struct inode *inode)
{
	return container_of(inode, struct gmfs_inode_info, vfs_inode);
}

/* Bytes in blocks, rounded up. */
static inline u64 gmfs_blocks_up(u64 bytes)
{
	return DIV_ROUND_UP_ULL(bytes, GMPOOL_BLOCK_SIZE);
}

/* Bytes in whole blocks, rounded down. */
static inline u64 gmfs_blocks_down(u64 bytes)
{
	return bytes >> GMPOOL_BLOCK_SHIFT;
}

/* The VFS counts blocks of 512 bytes. */
static inline void gmfs_update_blocks(struct inode *inode)
{
	inode->i_blocks = GMFS_I(inode)->ci->file.blocks <<
			  (GMPOOL_BLOCK_SHIFT - 9);
}

/* May no process map the file, and no device access it? Constant with the invalidate_lock. */
static inline bool gmfs_is_private(struct inode *inode)
{
	return READ_ONCE(GMFS_I(inode)->ci->rec->flags) & GMFS_INODE_PRIVATE;
}

/* In iattr.c */
void gmfs_set_vfs_flags(struct inode *inode, u32 flags);
void gmfs_inherit_flags(struct inode *inode, struct inode *dir);
void gmfs_inode_write(struct inode *inode);
int gmfs_getattr(struct mnt_idmap *idmap, const struct path *path,
		 struct kstat *stat, u32 request_mask, unsigned int flags);
int gmfs_update_time(struct inode *inode, enum fs_update_time type,
		     unsigned int flags);
int gmfs_fileattr_get(struct dentry *dentry, struct file_kattr *fa);
int gmfs_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		      struct file_kattr *fa);

/* In inode.c */
extern const struct super_operations gmfs_super_ops;

int gmfs_inode_cache_init(void);
struct inode *gmfs_iget(struct super_block *sb, u64 ino);
struct inode *gmfs_new_inode(struct mnt_idmap *idmap, struct inode *dir,
			     umode_t mode, dev_t rdev, const char *target);
void gmfs_release(struct gmfs_fs *fs, struct gmfs_inode *ci);
void gmfs_delayed_iput_init(struct gmfs_fs *fs);
void gmfs_delayed_iput(struct inode *inode);
int gmfs_change(struct mnt_idmap *idmap, struct inode *inode,
		const struct iattr *attr);
int gmfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct iattr *attr);

/* In namei.c */
extern const struct inode_operations gmfs_dir_iops;
extern const struct file_operations gmfs_dir_fops;

/* In fill.c */
int gmfs_fill_claim(struct inode *inode, struct gmfs_fill *fill, u64 first,
		    u64 end);
int gmfs_fill_scrub(struct gmpool *pool, struct gmfs_fill *fill);
int gmfs_fill_commit(struct inode *inode, struct gmfs_fill *fill, u64 end);
void gmfs_fill_end(struct gmpool *pool, struct gmfs_fill *fill);
int gmfs_start_change(struct super_block *sb, int level);
int gmfs_fill_mapped(struct inode *inode, u64 first, u64 end);
bool gmfs_has_hole(struct inode *inode, u64 first, u64 end);

/* In file.c */
extern const struct file_operations gmfs_file_fops;

void gmfs_zero_range(struct inode *inode, u64 start, u64 end);
int gmfs_resize(struct mnt_idmap *idmap, struct inode *inode,
		const struct iattr *attr);
int gmfs_fiemap(struct inode *inode, struct fiemap_extent_info *info,
		u64 start, u64 len);

/* In ioctl.c */
long gmfs_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* In leaf.c */
int gmfs_leaf_pfn(struct inode *inode, pgoff_t pgoff, unsigned int order,
		  unsigned long *pfn);
vm_fault_t gmfs_pfn_of(struct inode *inode, pgoff_t pgoff, unsigned int order,
		       unsigned long *pfn);
vm_fault_t gmfs_insert_pfn(struct vm_fault *vmf, unsigned int order,
			   unsigned long pfn);
bool gmfs_maps_pud(void);
bool gmfs_order_fits(struct vm_area_struct *vma, unsigned long addr,
		     unsigned int order);

/* In userfault.c */
extern const struct vm_uffd_ops gmfs_uffd_ops;

vm_fault_t gmfs_minor_fault(struct vm_fault *vmf, unsigned int order);

/* In mmap.c */
int gmfs_mmap_prepare(struct vm_area_desc *desc);
unsigned long gmfs_get_unmapped_area(struct file *file, unsigned long addr,
				     unsigned long len, unsigned long pgoff,
				     unsigned long flags);

/* In pin.c */
bool gmfs_pin_insert(struct gmfs_fs *fs, struct guestmem_pin *pin);
void gmfs_pin_remove(struct gmfs_fs *fs, struct guestmem_pin *pin);
bool gmfs_pins_cover(struct gmfs_fs *fs, struct gmfs_inode *ci, u64 first, u64 end);
bool gmfs_is_pinned(struct inode *inode, u64 first, u64 end);
u64 gmfs_pinned_blocks(struct gmfs_fs *fs);
bool gmfs_has_pins(struct gmfs_fs *fs);
bool gmfs_pins_freeze(struct gmfs_fs *fs, struct gmfs_inode *ci);
void gmfs_pins_thaw(struct gmfs_fs *fs, struct gmfs_inode *ci);
void gmfs_pins_inherit(struct gmfs_fs *fs);
void gmfs_pins_disinherit(struct gmfs_fs *fs, struct gmfs_inode *ci);

/* In client.c */
bool gmfs_client_forbids(struct inode *inode, loff_t size);
bool gmfs_has_client(struct inode *inode);
bool gmfs_size_forbidden(struct inode *inode, loff_t size);
void gmfs_unmap_start(struct inode *inode, u64 first, u64 end);
void gmfs_unmap_end(struct inode *inode, u64 first, u64 end);
void gmfs_sync_private(struct gmfs_fs *fs);
void gmfs_end_private(struct inode *inode);
u64 gmfs_count_clients(struct gmfs_fs *fs);

/* In xattr.c */
extern const struct xattr_handler * const gmfs_xattr_handlers[];

ssize_t gmfs_listxattr(struct dentry *dentry, char *buffer, size_t size);
void gmfs_acl_init(struct inode *inode);
struct posix_acl *gmfs_get_inode_acl(struct inode *inode, int type, bool rcu);
int gmfs_set_acl(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct posix_acl *acl, int type);
struct posix_acl *gmfs_acl_of_mode(struct inode *inode, umode_t mode);
int gmfs_store_access_acl(struct inode *inode, struct posix_acl *acl);
int gmfs_init_xattrs(struct inode *inode, struct inode *dir,
		     const struct qstr *name);

/* In export.c */
extern const struct export_operations gmfs_export_ops;

/* In failure.c */
struct address_space *gmfs_get_failed(struct gmpool_client *client, u64 block,
				      pgoff_t *pgoff);
void gmfs_put_failed(struct address_space *mapping);

/* In charge.c */
int gmfs_charge(struct gmfs_fs *fs, struct gmfs_charge **charges, u64 blocks);
void gmfs_uncharge(struct gmfs_charge **charges, u64 blocks);
void gmfs_charge_move(struct gmfs_charge **from, struct gmfs_charge **to);
int gmfs_charge_reserve(struct gmfs_charge **spare);
void gmfs_charge_unreserve(struct gmfs_charge **spare);
void gmfs_charge_exchange(struct gmfs_charge **charges1, u64 blocks1,
			  struct gmfs_charge **charges2, u64 blocks2,
			  struct gmfs_charge **spare);
void gmfs_charge_open(struct inode *inode);
void gmfs_charge_register(struct gmfs_fs *fs);
void gmfs_resized(struct gmpool_client *client);

/* In sysfs.c */
int gmfs_show_stats(struct seq_file *seq, struct dentry *root);
void gmfs_sysfs_add(struct gmfs_fs *fs);
void gmfs_sysfs_init(void);

/* In instance.c */
struct gmfs_fs *gmfs_find(const struct gmpool *pool);
struct super_block *gmfs_get_sb(struct gmfs_fs *fs);
struct gmfs_fs *gmfs_start(struct gmpool *pool);

/* In super.c */
struct vfsmount *gmfs_mount_internal(const struct gmpool *pool);
int gmfs_statfs(struct dentry *dentry, struct kstatfs *buf);
int gmfs_show_options(struct seq_file *seq, struct dentry *root);

#endif /* _GUESTMEMFS_H */
