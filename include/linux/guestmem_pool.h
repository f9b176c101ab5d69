/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pools of guest memory, one per NUMA node, that survive kexec: the interface for
 * their clients in the kernel, of which guestmemfs is the first.
 *
 * Pool memory has no struct pages and is not in the direct map. A client allocates
 * blocks, maps them by pfn, and stores its own records in metadata blocks (struct
 * gmpool_meta), which are handed over to the next kernel.
 */
#ifndef _LINUX_GUESTMEM_POOL_H
#define _LINUX_GUESTMEM_POOL_H

#include <linux/compiler.h>
#include <linux/sysfs.h>
#include <linux/types.h>

struct address_space;
struct gmpool;
struct gmpool_compact;
struct gmpool_meta;
struct gmpool_meta_ser;
struct kobj_attribute;
struct kobject;

/**
 * struct gmpool_range - physically contiguous blocks of a pool
 * @start: first block
 * @count: number of blocks
 */
struct gmpool_range {
	u64 start;
	u64 count;
};

/**
 * struct gmpool_client - callbacks of a pool into its client
 * @get_mapping: called after a page of @block has failed, when gmpool_has_poison()
 *	is true for the page. Unmaps the block. Returns the mapping of the file
 *	that has it, with a reference, and sets @pgoff to the offset of the block
 *	in the file, in pages. Returns NULL if no file that could be mapped has
 *	the block.
 * @put_mapping: drops the reference
 * @freeze: if @frozen, waits for changes under way and blocks further ones; else
 *	unblocks them. Returns 0, or a negative errno after having changed nothing.
 * @detach: called before the pool is reset: drops all references to its contents.
 *	Returns 0, or -EBUSY if the contents are in use.
 * @attach: called after the pool was reset: starts with an empty pool. Returns 0,
 *	or a negative errno after gmpool_fail().
 * @check: compares all records with each other and with the pool, while no record
 *	changes. Returns NULL; or a description of the damage, to be freed by
 *	kfree(); or an ERR_PTR.
 * @resized: called after the number of blocks of the pool has changed
 * @move_begin: prepares to move used blocks. Sets the bits of those that can move in
 *	@movable, a clear bitmap up to gmpool_end_block(); with @in_use, also of those that
 *	processes or guests use. Returns a handle for @move_out, @move_explain and
 *	@move_end; or an ERR_PTR: -EBUSY if the client is frozen, -EROFS, -EINTR on a
 *	signal, -ENOMEM.
 * @move_out: moves all used blocks out of @range. Sets the bits of those in @mine, which
 *	has a bit for each block of @range: set if the block is claimed, see
 *	gmpool_isolate(). Returns 0 if all of them are; -EBUSY if blocks are left, or if
 *	the client is frozen; -ENOSPC if there is no room elsewhere; -EINTR; -ENOMEM.
 * @move_explain: writes to @buf, of @size bytes, why used blocks of @range do not move
 * @move_end: ends the use of the handle
 *
 * All callbacks may sleep. @freeze, @detach, @attach and @check are serialized by the
 * pool, and so are @resized and the moves.
 */
struct gmpool_client {
	struct address_space *(*get_mapping)(struct gmpool_client *client, u64 block,
					     pgoff_t *pgoff);
	void (*put_mapping)(struct address_space *mapping);
	int (*freeze)(struct gmpool_client *client, bool frozen);
	int (*detach)(struct gmpool_client *client);
	int (*attach)(struct gmpool_client *client);
	char *(*check)(struct gmpool_client *client);
	void (*resized)(struct gmpool_client *client);
	void *(*move_begin)(struct gmpool_client *client, bool in_use,
			    unsigned long *movable);
	int (*move_out)(void *mover, const struct gmpool_range *range,
			unsigned long *mine);
	void (*move_explain)(void *mover, const struct gmpool_range *range, char *buf,
			     size_t size);
	void (*move_end)(void *mover);
};

/**
 * struct gmpool_attribute - an attribute in the sysfs directory of a pool
 * @attr: name and mode
 * @show: as in struct device_attribute
 * @store: likewise
 */
struct gmpool_attribute {
	struct attribute attr;
	ssize_t (*show)(struct gmpool *pool, char *buf);
	ssize_t (*store)(struct gmpool *pool, const char *buf, size_t count);
};

/* Goal of an allocation without a preferred block. */
#define GMPOOL_NO_GOAL		(~0ULL)

/* Called by mm_core_init_early() only. */
#ifdef CONFIG_GUESTMEM_POOL
void guestmem_pool_retrieve_early(void);
void guestmem_pool_reserve(void);
#else
static inline void guestmem_pool_retrieve_early(void) { }
static inline void guestmem_pool_reserve(void) { }
#endif

/* Pools are never freed. */
struct gmpool *gmpool_find(int nid);
struct gmpool *gmpool_next(struct gmpool *pool);
int gmpool_nid(const struct gmpool *pool);
u64 gmpool_total_blocks(const struct gmpool *pool);
u64 gmpool_end_block(const struct gmpool *pool);
u64 gmpool_free_blocks(struct gmpool *pool);
u64 gmpool_dirty_blocks(struct gmpool *pool);
u64 gmpool_reserved_blocks(struct gmpool *pool);
u64 gmpool_metadata_bytes(const struct gmpool *pool);
const u8 *gmpool_uuid(const struct gmpool *pool);
bool gmpool_read_only(const struct gmpool *pool);
void gmpool_set_read_only(struct gmpool *pool);
void gmpool_set_pinned(struct gmpool *pool, bool pinned);
void gmpool_set_private(struct gmpool *pool, bool private);
bool gmpool_usable(const struct gmpool *pool);
const char *gmpool_error(const struct gmpool *pool);
__printf(2, 3) void gmpool_fail(struct gmpool *pool, const char *fmt, ...);

/* Attributes and features of a client, in the sysfs directories of the pool. */
int gmpool_add_attributes(struct gmpool *pool,
			  const struct attribute_group *group);
int gmpool_add_features(const struct attribute_group *group);
ssize_t gmpool_feature_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf);

/* Defines an attribute in features/. */
#define GMPOOL_FEATURE(_name)						\
static struct kobj_attribute feature_##_name =				\
	__ATTR(_name, 0444, gmpool_feature_show, NULL)

/* An operation: the next kernel sees its changes of handed-over state all or none. */
unsigned int __must_check gmpool_op_begin(struct gmpool *pool);
void gmpool_op_end(struct gmpool *pool, unsigned int flags);

/* Allocation of blocks: claim, scrub, then commit within an operation. */
int gmpool_check_room(struct gmpool *pool, u64 want);
int gmpool_claim(struct gmpool *pool, u64 want, u64 goal,
		 struct gmpool_range *range);
int gmpool_scrub(struct gmpool *pool, const struct gmpool_range *ranges, size_t nr);
void gmpool_commit(struct gmpool *pool, const struct gmpool_range *range);
void gmpool_unclaim(struct gmpool *pool, const struct gmpool_range *range);
void gmpool_free(struct gmpool *pool, const struct gmpool_range *range);
void gmpool_zero(struct gmpool *pool, u64 block, u64 offset, u64 len);
unsigned long gmpool_pfn(const struct gmpool *pool, u64 block);
bool gmpool_contiguous(const struct gmpool *pool, u64 block, u64 count);
bool gmpool_maps_1g(void);
bool gmpool_read_handed_over(void *to, u64 phys, size_t len);

/* Moving used blocks: isolate a range, then claim, copy, and commit within an operation. */
int gmpool_hold_size(struct gmpool *pool);
void gmpool_release_size(struct gmpool *pool);
u64 gmpool_isolate(struct gmpool *pool, const struct gmpool_range *range,
		   unsigned long *mine);
void gmpool_unisolate(struct gmpool *pool, const struct gmpool_range *range,
		      unsigned long *mine);
int gmpool_claim_target(struct gmpool *pool, const struct gmpool_compact *plan,
			u64 want, struct gmpool_range *range);
int gmpool_copy(struct gmpool *pool, u64 to, u64 from);
void gmpool_commit_move(struct gmpool *pool, u64 to, u64 from);

/* Callbacks, and failed memory. */
void gmpool_set_client(struct gmpool *pool, struct gmpool_client *client);
bool gmpool_has_poison(struct gmpool *pool, u64 page, u64 nr);
bool gmpool_find_poison(struct gmpool *pool, const struct gmpool_range *range,
			u64 *block);
u64 gmpool_poisoned_pages(const struct gmpool *pool);

/*
 * Records of a client, in metadata blocks that are handed over to the next kernel:
 * linux/kho/abi/guestmem_pool.h has their header, and the client defines the rest.
 */
struct gmpool_meta *gmpool_metadata(struct gmpool *pool);
struct gmpool_meta_ser *gmpool_meta_alloc(struct gmpool_meta *meta, u16 type);
void gmpool_meta_free(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr);
void gmpool_meta_dirty(struct gmpool_meta *meta, struct gmpool_meta_ser *hdr);
struct gmpool_meta_ser *gmpool_meta_block(struct gmpool_meta *meta, u32 mbn);
struct gmpool_meta_ser *gmpool_meta_next(struct gmpool_meta *meta, u16 type,
					 struct gmpool_meta_ser *prev);
u32 gmpool_root(const struct gmpool *pool, u32 owner);
int gmpool_set_root(struct gmpool *pool, u32 owner, u32 mbn);
u64 gmpool_check_used(struct gmpool *pool, const unsigned long *used);

#endif /* _LINUX_GUESTMEM_POOL_H */
