/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_POOL_H
#define _GMPOOL_POOL_H

#include <linux/guestmem_pool.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "bitmap.h"
#include "meta.h"

/*
 * Size of a sparsemem section. Within a section, either all pages have struct
 * pages or none has, so extents consist of whole sections.
 */
#define GMPOOL_GRANULARITY	BIT_ULL(SECTION_SIZE_BITS)

#define GMPOOL_BLOCK_PAGES	(GMPOOL_BLOCK_SIZE >> PAGE_SHIFT)

#define GMPOOL_NO_KEY		U32_MAX

/* Order of the folio that holds both copies of the super block. */
#define GMPOOL_BLOB_ORDER	1

/**
 * struct gmpool_tunables - settings of the administrator
 * @scrub_rate: bytes per second that the scrub thread zeroes at most, 0 is no
 *	limit
 * @scrub_target: free blocks that the scrub thread keeps zeroed, or
 *	GMPOOL_SCRUB_ALL
 * @reserve: free blocks that only privileged tasks may take
 * @low_watermark: user space is notified when fewer blocks are free, 0 is never
 * @zeroing: enum gmpool_zeroing_ser
 * @policy: enum gmpool_policy_ser
 * @frozen: modifying calls block
 */
struct gmpool_tunables {
	u64 scrub_rate;
	u64 scrub_target;
	u64 reserve;
	u64 low_watermark;
	u32 zeroing;
	u32 policy;
	bool frozen;
};

/**
 * enum gmpool_state - state of a pool
 * @GMPOOL_SETUP: not ready yet: during boot, or during a reset
 * @GMPOOL_ACTIVE: usable without limits
 * @GMPOOL_READ_ONLY: it has features that this kernel can read but not write
 * @GMPOOL_FAILED: not usable; kept and handed over
 */
enum gmpool_state {
	GMPOOL_SETUP,
	GMPOOL_ACTIVE,
	GMPOOL_READ_ONLY,
	GMPOOL_FAILED,
};

/**
 * struct gmpool - the pool of a node
 * @list: in gmpool_list
 * @nid: NUMA node of the memory
 * @key: number in the name of the KHO subtree it came from, or GMPOOL_NO_KEY
 * @state: state; changed during boot, afterwards with @manage held
 * @error: reason of a failure, else empty; changed as @state
 * @nr_hidden: extents that are hidden: out of the direct map and the resource
 *	tree
 * @nr_extents: entries of @extents
 * @extents: the memory, by ascending address
 * @total_blocks: blocks in @extents
 * @used_otherwise: bit per extent of the handed-over super block, set if this
 *	kernel uses memory of that extent itself
 * @pinned: memory of preserved files is or was pinned for devices, so the pool is not
 *	to be discarded: GMPOOL_FEATURE_RO_COMPAT_PINNED of its super block, which a pool
 *	that has failed has out of reach
 * @taken_over: KHO was asked to give the metadata back, and may have done so
 * @handed_over_from: release of the kernel that handed the pool over, else
 *	empty
 * @blob: physical address of the super blocks; 0 if none were handed over, or
 *	if KHO has not preserved them
 * @super: the super block, set once this kernel may change it
 * @tables: chunk tables, set as @super
 * @meta: metadata blocks
 * @freeze: held for reading over each change of handed-over state; held for
 *	writing from the moment the pool is frozen for kexec
 * @freeze_work: takes @freeze for writing at kexec
 * @manage: guards changes of @tune and @state, a reset, and the recording of a
 *	failed page: one at a time
 * @lock: guards @blocks, @clean, @scrubbing, the contents of @used and @dirty,
 *	@tune, @low and @nr_failures
 * @blocks: allocator of all blocks: a taken block is used or claimed
 * @clean: allocator of zeroed blocks: a block is free here if it is free in
 *	@blocks and known to be zero
 * @scrubbing: free block that the scrub thread is zeroing
 * @tune: settings, changed with @manage held as well
 * @low: fewer blocks are free than @tune.low_watermark
 * @nr_failures: number of failed allocations
 * @scrub_paused: pauses the scrub thread; for tests
 * @scrub_work: the scrub thread waits here for work
 * @scrub_done: other tasks wait here for the end of @scrubbing
 * @used: bitmap of blocks that are used, in handed-over metadata
 * @dirty: bitmap of free blocks that are not known to be zero, in handed-over
 *	metadata
 * @poison: poisoned pages of the pool
 * @nr_poisoned: number of poisoned pages
 * @nr_poisoned_blocks: number of blocks with at least one poisoned page
 * @client: is notified of pages that fail, or NULL
 * @kobj: directory in sysfs, or NULL
 * @state_file: sysfs file of the state, to notify pollers
 * @free_file: sysfs file of the free blocks, likewise
 * @poison_file: sysfs file of the poisoned pages, likewise
 *
 * Fields without a lock are set before other CPUs can reach the pool.
 */
struct gmpool {
	struct list_head list;
	int nid;
	u32 key;
	enum gmpool_state state;
	char error[120];
	u32 nr_hidden;
	u32 nr_extents;
	struct gmpool_extent extents[GMPOOL_MAX_EXTENTS];
	u64 total_blocks;

	DECLARE_BITMAP(used_otherwise, GMPOOL_MAX_EXTENTS);
	bool pinned;
	bool taken_over;
	char handed_over_from[GMPOOL_RELEASE_SIZE];
	phys_addr_t blob;
	struct gmpool_super_ser *super;
	struct gmpool_table_ser *tables[GMPOOL_MAX_TABLES];
	struct gmpool_meta meta;

	struct percpu_rw_semaphore freeze;
	struct work_struct freeze_work;
	struct mutex manage;	/* guards changes of tune, state */
	spinlock_t lock;	/* guards blocks, clean, scrubbing, used, dirty, tune */
	struct gmpool_bitmap blocks;
	struct gmpool_bitmap clean;
	struct gmpool_range scrubbing;
	struct gmpool_tunables tune;
	bool low;
	u64 nr_failures;
	bool scrub_paused;
	wait_queue_head_t scrub_work;
	wait_queue_head_t scrub_done;

	struct xarray poison;
	u64 nr_poisoned;
	u64 nr_poisoned_blocks;
	struct gmpool_client *client;
	struct gmpool_bitmap_ser **used;
	struct gmpool_bitmap_ser **dirty;

	struct kobject *kobj;
	struct kernfs_node *state_file;
	struct kernfs_node *free_file;
	struct kernfs_node *poison_file;
};

/* All pools, by ascending node number. Complete before the first initcall. */
extern struct list_head gmpool_list;

/* In list.c */
struct gmpool *gmpool_add_pool(int nid, u32 key);
void gmpool_set_extents(struct gmpool *pool,
			const struct gmpool_extent_ser *extents, u32 nr);

/* In reserve.c */
bool gmpool_start_afresh(void);

/* In retrieve.c */
void gmpool_retrieve_memory(nodemask_t *lost, bool fresh);

/* In badpages.c */
int gmpool_add_poison(struct gmpool *pool, u64 page);
int gmpool_list_page(struct gmpool *pool, u64 page);
int gmpool_remember_poison(struct gmpool *pool);
void gmpool_retire(struct gmpool *pool, const struct gmpool_range *range);

/* In scrub.c */
int gmpool_scrub_init(void);

/* In zero.c */
int gmpool_zero_init(void);
void gmpool_zero_phys(phys_addr_t phys, u64 len, bool idle);

/* In tunables.c */
void gmpool_tunables_default(struct gmpool_tunables *tune);
void gmpool_tunables_retrieve(struct gmpool *pool);
int gmpool_tunables_store(struct gmpool *pool, const struct gmpool_tunables *new);
int gmpool_tune(struct gmpool *pool, const struct gmpool_tunables *new);
int gmpool_freeze(struct gmpool *pool, bool frozen);

/* In event.c */
const char *gmpool_state_name(struct gmpool *pool);
void gmpool_notify_state(struct gmpool *pool);
void gmpool_notify_free(struct gmpool *pool);
void gmpool_notify_poison(struct gmpool *pool);

/* In check.c */
char *gmpool_check(struct gmpool *pool);

/* In pool.c */
void gmpool_sync_super(struct gmpool *pool);

/* In blocks.c */
int gmpool_init_blocks(struct gmpool *pool);
u64 gmpool_count_dirty(struct gmpool *pool, const struct gmpool_range *range);
bool gmpool_is_dirty(struct gmpool *pool, u64 block);
void gmpool_scrubbed(struct gmpool *pool, u64 block);
void gmpool_update_low(struct gmpool *pool);

/* In lifecycle.c */
int gmpool_discard(struct gmpool *pool);

/* In metadata.c */
int gmpool_create_metadata(struct gmpool *pool);
int gmpool_grow_metadata(struct gmpool_meta *meta);
void gmpool_sign_super(struct gmpool *pool);
int gmpool_alloc_bitmap_pointers(struct gmpool *pool, u64 *nr);
const char *gmpool_check_roots(struct gmpool *pool);
const char *gmpool_check_metadata(struct gmpool *pool);
void gmpool_drop_own(struct gmpool *pool);

/* In handover.c */
int gmpool_retrieve_metadata(struct gmpool *pool);
void gmpool_discard_metadata(u32 key);
void gmpool_drop_metadata(struct gmpool *pool);
int gmpool_publish(struct gmpool *pool);
void gmpool_keep_unused(struct gmpool *pool);

/* In debugfs.c */
#ifdef CONFIG_GUESTMEM_POOL_DEBUG
void gmpool_debugfs_damage(struct gmpool *pool);
#else
static inline void gmpool_debugfs_damage(struct gmpool *pool) { }
#endif

#endif /* _GMPOOL_POOL_H */
