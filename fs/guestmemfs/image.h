/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The core of guestmemfs: inodes, directories, extents and attributes as records
 * in the metadata blocks of a pool, and indexes over them in ordinary memory.
 *
 * It depends on the handed-over format and on struct gmpool_meta, but not on the
 * VFS, on pool memory, or on KHO. Records are in metadata blocks in any order and
 * refer to each other by number only. The search trees are built when an image is
 * loaded. They are not handed over.
 *
 * Locking. The caller takes these locks, except gmfs_image.lock:
 *
 * - gmfs_image.lock guards which slots of which metadata blocks are in use,
 *   gmfs_super_ser.next_cookie, the number of inodes and its limit. The functions
 *   here take it.
 * - inode->i_rwsem guards the entries of a directory: exclusive to change them,
 *   shared to look them up.
 * - mapping->invalidate_lock guards the extents of a file in the same way, and
 *   gmfs_inode_info.attr_lock the attributes of an inode.
 * - The fields of an inode's record are guarded by the owner of the inode. The
 *   link count changes together with the directory entry that it counts.
 * - gmfs_image.inodes is looked up under RCU. The caller of a lookup prevents the
 *   inode from being freed: it holds a name of the inode, or it is the only task
 *   that could free it (gmfs_iget()).
 *
 * Every change of a record is made between gmpool_op_begin() and
 * gmpool_op_end(). A function that fails has changed no record; it may leave a
 * metadata block without records.
 */
#ifndef _GUESTMEMFS_IMAGE_H
#define _GUESTMEMFS_IMAGE_H

#include <linux/guestmem_pool.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/stat.h>
#include <linux/time64.h>
#include <linux/xarray.h>

#include <linux/kho/abi/guestmemfs.h>

/* Whole blocks in a file whose size is a loff_t, and the largest such size. */
#define GMFS_MAX_BLOCKS		((u64)S64_MAX >> GMPOOL_BLOCK_SHIFT)
#define GMFS_MAX_SIZE		(GMFS_MAX_BLOCKS << GMPOOL_BLOCK_SHIFT)

/* A position in a directory is a loff_t; 0 is "." and 1 is "..". */
#define GMFS_COOKIE_POS		2
#define GMFS_COOKIE_MAX		((u64)S64_MAX - GMFS_COOKIE_POS)
/* Compared without a lock, so it is far below the maximum. */
#define GMFS_COOKIE_FULL	(GMFS_COOKIE_MAX / 2)

/* Slots of the largest record: a full fragment of an attribute. */
#define GMFS_RUN_MAX		(GMFS_ATTR_SLOTS - 1)
/* Slots in a metadata block of the smallest record. */
#define GMFS_SLOTS_MAX		(GMPOOL_META_SIZE / sizeof(struct gmfs_extent_ser))

/* Permissions of a new root directory. */
#define GMFS_ROOT_MODE		0755

#define GMFS_WHY_SIZE		128

struct gmfs_image;
struct guestmem_client;

/**
 * typedef gmfs_contiguous_t - check that pool blocks are physically contiguous
 * @img: the image
 * @start: first pool block
 * @count: number of blocks, all of them within the pool
 *
 * Return: true if the blocks are physically contiguous.
 */
typedef bool (*gmfs_contiguous_t)(const struct gmfs_image *img, u64 start,
				  u64 count);

/**
 * typedef gmfs_load_t - load the record in a slot of a handed-over metadata block
 * @img: image that is being loaded
 * @slot: the slot
 * @room: number of slots from this one to the end of the block
 * @used: bitmap of pool blocks; the blocks of the record are set in it
 *
 * Return: number of slots of the record, 0 if the slot is free, or a negative
 * errno with the reason in gmfs_image.why.
 */
typedef int (*gmfs_load_t)(struct gmfs_image *img, void *slot,
			   unsigned int room, unsigned long *used);

/**
 * struct gmfs_space - metadata blocks of one type
 * @type: enum gmpool_meta_type_ser
 * @size: bytes of a slot; the header occupies the first slot or slots
 * @nr: number of blocks
 * @avail: lists of struct gmfs_rblock, by the longest range of free slots; blocks
 *	without a free slot are in no list
 */
struct gmfs_space {
	u16 type;
	u16 size;
	u32 nr;
	struct list_head avail[GMFS_RUN_MAX + 1];
};

/**
 * struct gmfs_image - the file system of one pool
 * @meta: metadata blocks, which contain the records
 * @super: root of the records
 * @total_blocks: end of the block numbers of the pool
 * @contiguous: checks that pool blocks are physically contiguous
 * @priv: private data of @contiguous
 * @lock: guards @rblocks, the spaces, @nr_inodes, @nr_private, @max_inodes, and
 *	@super->next_cookie
 * @inodes: maps an inode number to struct gmfs_inode
 * @nr_inodes: number of inodes
 * @nr_private: number of files that are GMFS_INODE_PRIVATE
 * @max_inodes: limit of @nr_inodes, 0 for none
 * @rblocks: maps a metadata block number to struct gmfs_rblock
 * @itable: blocks of inodes
 * @dirents: blocks of directory entries
 * @extents: blocks of extents
 * @attrs: blocks of attributes
 * @read_only: has an unknown feature that forbids changes
 * @lenient: has an unknown feature, which may use fields that are reserved here
 * @why: reason of the last failure of gmfs_image_load() or gmfs_image_format()
 */
struct gmfs_image {
	struct gmpool_meta *meta;
	struct gmfs_super_ser *super;
	u64 total_blocks;
	gmfs_contiguous_t contiguous;
	void *priv;
	struct mutex lock;	/* guards slots, cookies, number of inodes */
	struct xarray inodes;
	u64 nr_inodes;
	u64 nr_private;
	u64 max_inodes;
	struct xarray rblocks;
	struct gmfs_space itable;
	struct gmfs_space dirents;
	struct gmfs_space extents;
	struct gmfs_space attrs;
	bool read_only;
	bool lenient;
	char why[GMFS_WHY_SIZE];
};

/**
 * struct gmfs_inode - an inode of the image
 * @ino: its number
 * @rec: its record
 * @links: counted by gmfs_image_load(): names; for a directory, subdirectories
 * @visit: mark of gmfs_image_load()
 * @awaited: number of open files of it that the previous kernel has preserved and
 *	that LUO has neither retrieved nor finished
 * @attrs: struct gmfs_attr by kind and name
 * @dir: of a directory
 * @dir.names: struct gmfs_dirent by hash and name
 * @dir.cookies: struct gmfs_dirent by cookie
 * @dir.parent: parent directory; the root itself for the root, NULL for an
 *	orphan
 * @dir.nr: number of entries
 * @file: of a regular file
 * @file.extents: struct gmfs_extent by file block
 * @file.blocks: sum of the extents
 * @file.charges: cgroups that the blocks are charged to, see charge.c
 * @file.pins: ranges that are pinned for devices, by file block; see pin.c
 * @file.pinned: blocks that @file.pins cover
 * @file.inherited: number of open files that the previous kernel preserved of a
 *	pinned file, and whose LUO sessions are not finished; while it is not 0, all
 *	blocks of the file count as pinned
 * @file.pins_frozen: number of open files that LUO has frozen for a kexec; while it is
 *	not 0, new pins wait
 * @file.client: the user of its memory by pfn, or NULL; see client.c
 */
struct gmfs_inode {
	u64 ino;
	struct gmfs_inode_ser *rec;
	u64 links;
	u8 visit;
	u32 awaited;
	struct rb_root attrs;
	union {
		struct {
			struct rb_root names;
			struct rb_root cookies;
			struct gmfs_inode *parent;
			u64 nr;
		} dir;
		struct {
			struct rb_root extents;
			u64 blocks;
			struct gmfs_charge *charges;
			struct rb_root_cached pins;
			u64 pinned;
			u32 inherited;
			u32 pins_frozen;
			struct guestmem_client *client;
		} file;
	};
};

/**
 * struct gmfs_dirent - a directory entry of the image
 * @by_name: in gmfs_inode.dir.names
 * @by_cookie: in gmfs_inode.dir.cookies
 * @rec: its record
 * @hash: of the name
 */
struct gmfs_dirent {
	struct rb_node by_name;
	struct rb_node by_cookie;
	struct gmfs_dirent_ser *rec;
	u32 hash;
};

/**
 * struct gmfs_extent - an extent of the image
 * @node: in gmfs_inode.file.extents
 * @list: in a list of gmfs_extent_reserve(), while not in a file
 * @rec: its record
 */
struct gmfs_extent {
	union {
		struct rb_node node;
		struct list_head list;
	};
	struct gmfs_extent_ser *rec;
};

/**
 * struct gmfs_attr - an attribute of an inode of the image
 * @node: in gmfs_inode.attrs
 * @id: id of the attribute, the same in all its fragments
 * @size: bytes of name and value
 * @name_len: bytes of the name, which is in the first fragment
 * @kind: enum gmfs_attr_kind_ser
 * @nr: number of fragments
 * @fragments: the records, by offset
 */
struct gmfs_attr {
	struct rb_node node;
	u64 id;
	u32 size;
	u16 name_len;
	u8 kind;
	u8 nr;
	struct gmfs_attr_ser *fragments[] __counted_by(nr);
};

/* In load.c */
void gmfs_image_destroy(struct gmfs_image *img);
int gmfs_image_format(struct gmfs_image *img, const struct timespec64 *now);
int gmfs_image_load(struct gmfs_image *img, u32 root, unsigned long *used);
struct gmfs_inode *gmfs_image_orphan(struct gmfs_image *img);
void gmfs_image_await(struct gmfs_image *img, bool await);

/* In image.c */
void gmfs_image_init(struct gmfs_image *img, struct gmpool_meta *meta,
		     u64 total_blocks, gmfs_contiguous_t contiguous,
		     void *priv);
u64 gmfs_cookie_next(const struct gmfs_image *img);
u64 gmfs_cookie_take(struct gmfs_image *img);
__printf(2, 3) int gmfs_image_bad(struct gmfs_image *img, const char *fmt, ...);
void *gmfs_slot_alloc(struct gmfs_image *img, struct gmfs_space *space,
		      unsigned int nr);
void gmfs_slot_free(struct gmfs_image *img, struct gmfs_space *space,
		    void *rec, unsigned int nr);
void gmfs_dirty(struct gmfs_image *img, void *rec);
struct gmfs_inode *gmfs_inode_find(struct gmfs_image *img, u64 ino);
int gmfs_space_load(struct gmfs_image *img, struct gmfs_space *space,
		    gmfs_load_t load, unsigned long *used);
void gmfs_spaces_forget(struct gmfs_image *img);

/* In itable.c */
struct gmfs_inode *gmfs_inode_reserve(struct gmfs_image *img);
void gmfs_inode_publish(struct gmfs_image *img, struct gmfs_inode *ci,
			umode_t mode);
void gmfs_inode_unpublish(struct gmfs_image *img, struct gmfs_inode *ci);
void gmfs_inode_free(struct gmfs_image *img, struct gmfs_inode *ci);
void gmfs_ino_set_private(struct gmfs_image *img, struct gmfs_inode *ci,
			  bool private);
u64 gmfs_count_private(struct gmfs_image *img);
int gmfs_limit_inodes(struct gmfs_image *img, u64 max);
u64 gmfs_count_inodes(struct gmfs_image *img, u64 *max);
u64 gmfs_count_inode_slots(struct gmfs_image *img);
int gmfs_inode_load(struct gmfs_image *img, void *slot, unsigned int room,
		    unsigned long *used);

/* In dirent.c */
struct gmfs_dirent *gmfs_dirent_find(const struct gmfs_inode *dir,
				     const char *name, unsigned int len);
struct gmfs_dirent *gmfs_dirent_next(const struct gmfs_inode *dir, u64 cookie);
struct gmfs_dirent *gmfs_dirent_after(const struct gmfs_dirent *de);
int gmfs_dirent_insert(struct gmfs_image *img, struct gmfs_inode *dir,
		       struct gmfs_inode *child, const char *name,
		       unsigned int len);
int gmfs_dirent_remove(struct gmfs_image *img, struct gmfs_inode *dir,
		       struct gmfs_dirent *de);
int gmfs_dirent_rename(struct gmfs_image *img, struct gmfs_inode *old_dir,
		       struct gmfs_dirent *old, struct gmfs_inode *new_dir,
		       const char *name, unsigned int len, bool replace,
		       struct gmfs_inode *leave);
int gmfs_dirent_exchange(struct gmfs_image *img, struct gmfs_inode *dir1,
			 struct gmfs_dirent *de1, struct gmfs_inode *dir2,
			 struct gmfs_dirent *de2);
unsigned int gmfs_dirent_slots(unsigned int len);
int gmfs_dirent_load(struct gmfs_image *img, void *slot, unsigned int room,
		     unsigned long *used);
void gmfs_dirent_forget(struct gmfs_inode *dir);

/* In extent.c */
int gmfs_extent_reserve(struct gmfs_image *img, struct list_head *rsv, u64 nr);
void gmfs_extent_unreserve(struct gmfs_image *img, struct list_head *rsv);
bool gmfs_extent_find(const struct gmfs_inode *ci, u64 file_block,
		      struct gmpool_range *range);
bool gmfs_extent_of(const struct gmfs_inode *ci, u64 pool_block, u64 *file_block);
u64 gmfs_extent_goal(const struct gmfs_inode *ci, u64 file_block);
int gmfs_extent_insert(struct gmfs_image *img, struct gmfs_inode *ci,
		       struct list_head *rsv, u64 file_block,
		       const struct gmpool_range *range);
int gmfs_extent_cut(struct gmfs_image *img, struct gmfs_inode *ci,
		    struct list_head *rsv, u64 first, u64 end,
		    struct gmpool_range *range);
int gmfs_extent_exchange(struct gmfs_image *img, struct gmfs_inode *ci1,
			 u64 first1, struct gmfs_inode *ci2, u64 first2,
			 u64 count, u64 moved[2]);
int gmfs_extent_load(struct gmfs_image *img, void *slot, unsigned int room,
		     unsigned long *used);
void gmfs_extent_forget(struct gmfs_inode *ci);

/* In attr.c */
struct gmfs_attr *gmfs_attr_find(const struct gmfs_inode *ci, u8 kind,
				 const char *name, unsigned int len);
struct gmfs_attr *gmfs_attr_first(const struct gmfs_inode *ci);
struct gmfs_attr *gmfs_attr_next(const struct gmfs_attr *attr);
void gmfs_attr_read(const struct gmfs_attr *attr, void *value);
int gmfs_attr_set(struct gmfs_image *img, struct gmfs_inode *ci, u8 kind,
		  const char *name, unsigned int len, const void *value,
		  size_t size);
void gmfs_attr_remove(struct gmfs_image *img, struct gmfs_inode *ci,
		      struct gmfs_attr *attr);
int gmfs_attr_load(struct gmfs_image *img, void *slot, unsigned int room,
		   unsigned long *used);
int gmfs_attr_check(struct gmfs_image *img, struct gmfs_inode *ci);
void gmfs_attr_forget(struct gmfs_inode *ci);

/*
 * Is it a directory? The type of an inode is constant, but gmfs_inode_write() may store the
 * mode, with the same type, while a name of the inode changes.
 */
static inline bool gmfs_is_dir(const struct gmfs_inode *ci)
{
	return S_ISDIR(READ_ONCE(ci->rec->mode));
}

static inline const char *gmfs_attr_name(const struct gmfs_attr *attr)
{
	return (const char *)attr->fragments[0]->data;
}

/* Size of the value in bytes. */
static inline size_t gmfs_attr_value_size(const struct gmfs_attr *attr)
{
	return attr->size - attr->name_len;
}

/**
 * gmfs_extent_any - check whether a file has a pool block in a range
 * @ci: file
 * @first: first block of the range, in blocks of the file
 * @end: first block after the range; above @first
 *
 * Context: any; the caller keeps the extents of @ci from changing.
 *
 * Return: true if it has one, false if the range is a hole.
 */
static inline bool gmfs_extent_any(const struct gmfs_inode *ci, u64 first,
				   u64 end)
{
	struct gmpool_range range;

	return gmfs_extent_find(ci, first, &range) || range.count < end - first;
}

#endif /* _GUESTMEMFS_IMAGE_H */
