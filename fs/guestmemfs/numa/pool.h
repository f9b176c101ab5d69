/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_POOL_H
#define _GMPOOL_POOL_H

#include <linux/guestmem_pool.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/seqlock.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "bitmap.h"
#include "meta.h"
#include "numbers.h"

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
 * struct gmpool_clamp - adaption of the settings to a size
 * @from: the settings before
 * @to: the settings afterwards
 */
struct gmpool_clamp {
	struct gmpool_tunables from;
	struct gmpool_tunables to;
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
 * @state: state; changed during boot, afterwards with @manage and @reset held
 * @error: reason of a failure, else empty; changed as @state
 * @nr_hidden: extents that are hidden: out of the direct map and the resource
 *	tree
 * @numbers: the memory. Changed during boot, afterwards with @resize.lock, @manage and
 *	@space.lock held within an operation: one of these is enough to read it
 * @total_blocks: blocks in @numbers; changed as @numbers, also read without a lock
 * @end_block: end of the block numbers; likewise
 * @changes: of @numbers, for readers without a lock
 * @manage: guards changes of @tune, and a reset: one at a time
 * @reset: guards @state, @error, @handover.super, @handover.from, and changes of @bad
 *	and of the list of poisoned pages in metadata, against a reset and each other
 * @tune: settings; changed with @manage and @space.lock held
 * @client: is notified of pages that fail, or NULL
 *
 * @handover: what comes from the previous kernel, and goes to the next. Set during
 *	boot and by a reset; the metadata itself changes within operations.
 * @handover.key: number in the name of the KHO subtree it came from, or
 *	GMPOOL_NO_KEY
 * @handover.used_otherwise: bit per extent of the handed-over super block, set if
 *	this kernel uses memory of that extent itself
 * @handover.pinned: memory of preserved files is or was pinned for devices, so the
 *	pool is not to be discarded: GMPOOL_FEATURE_RO_COMPAT_PINNED of its super
 *	block, which a pool that has failed has out of reach
 * @handover.taken_over: KHO was asked to give the metadata back, and may have done so
 * @handover.from: release of the kernel that handed the pool over, else empty
 * @handover.blob: physical address of the super blocks; 0 if none were handed over,
 *	or if KHO has not preserved them
 * @handover.super: the super block, set once this kernel may change it
 * @handover.tables: chunk tables, set as @handover.super
 * @handover.meta: metadata blocks
 *
 * @seal: the end of all changes at kexec
 * @seal.sem: held for reading over each change of handed-over state; held for
 *	writing from the moment the pool is frozen for kexec
 * @seal.work: takes @seal.sem for writing at kexec
 *
 * @space: which blocks are used, free, and zero
 * @space.lock: guards all of @space, also the contents of the bitmaps in metadata,
 *	@scrub.now, @scrub.nice, @scrub.boost, @scrub.boosted, and @tune
 * @space.blocks: allocator of all blocks: a taken block is used or claimed
 * @space.clean: allocator of zeroed blocks: a block is free here if it is free in
 *	@space.blocks and known to be zero
 * @space.used: bitmap of blocks that are used, in handed-over metadata
 * @space.dirty: bitmap of free blocks that are not known to be zero, in handed-over
 *	metadata
 * @space.low: fewer blocks are free than @tune.low_watermark
 * @space.nr_failures: number of failed allocations
 * @space.nr_moved: number of used blocks that have moved
 *
 * @scrub: zeroing in the background
 * @scrub.now: free block that the scrub thread is zeroing; guarded by @space.lock
 * @scrub.thread: the scrub thread, NULL without one
 * @scrub.nice: nice value of the thread before it was boosted
 * @scrub.boost: nice value that the thread got by the boost
 * @scrub.boosted: the thread has the nice value of a task that waits for it
 * @scrub.paused: pauses the scrub thread; for tests
 * @scrub.work: the scrub thread waits here for work
 * @scrub.done: other tasks wait here for the end of @scrub.now
 *
 * @bad: poisoned pages; changed during boot, afterwards with @reset held
 * @bad.pages: set of their numbers
 * @bad.nr_pages: number of them
 * @bad.nr_blocks: number of blocks with at least one of them
 *
 * @resize: a change of the pool's size
 * @resize.lock: serializes changes of the size, and excludes a reset
 * @resize.target: size that is asked for, in bytes, or 0; guarded by @space.lock
 * @resize.error: what the last change lacks, else empty; likewise
 * @resize.stop: step at which a change waits; for tests
 * @resize.parts: pfns that memory-failure.c asks this pool about; guarded by
 *	@resize.lock
 *
 * @dump: copy of the metadata for a reader; guarded by @manage
 * @dump.copy: the copy, or NULL
 * @dump.size: its bytes
 * @dump.file: open file that is read
 *
 * @growth: memory that the pool can grow into; set during boot
 * @growth.nr: entries of @growth.at
 * @growth.at: whole gibibytes of the pool and of its reserve, by ascending address;
 *	none without a reserve
 * @growth.movable: bit per section of @growth.at, set while the kernel uses it
 *	for movable pages only; changed with the kernel's lock of memory hotplug held
 *
 * @events: files in sysfs, set when the pool is added there
 * @events.dir: directory, or NULL
 * @events.state: file of the state, to notify pollers
 * @events.free: file of the free blocks, likewise
 * @events.poison: file of the poisoned pages, likewise
 * @events.size: file of the size, likewise
 *
 * Fields without a lock are set before other CPUs can reach the pool.
 */
struct gmpool {
	struct list_head list;
	int nid;
	enum gmpool_state state;
	char error[120];
	u32 nr_hidden;
	struct gmpool_numbers numbers;
	u64 total_blocks;
	u64 end_block;
	seqcount_spinlock_t changes;

	struct mutex manage;	/* guards dump, changes of tune, resets */
	struct mutex reset;	/* guards state, error; changes of bad */
	struct gmpool_tunables tune;
	struct gmpool_client *client;

	/* handover.c, metadata.c */
	struct {
		u32 key;
		unsigned long used_otherwise[GMPOOL_MAX_EXTENTS / BITS_PER_LONG];
		bool pinned;
		bool taken_over;
		char from[GMPOOL_RELEASE_SIZE];
		phys_addr_t blob;
		struct gmpool_super_ser *super;
		struct gmpool_table_ser *tables[GMPOOL_MAX_TABLES];
		struct gmpool_meta meta;
	} handover;

	/* pool.c, lifecycle.c */
	struct {
		struct percpu_rw_semaphore sem;
		struct work_struct work;
	} seal;

	/* blocks.c */
	struct {
		spinlock_t lock;	/* guards space, scrub.{now,nice,boost*}, tune */
		struct gmpool_bitmap blocks;
		struct gmpool_bitmap clean;
		struct gmpool_bitmap_ser **used;
		struct gmpool_bitmap_ser **dirty;
		bool low;
		u64 nr_failures;
		u64 nr_moved;
	} space;

	/* scrub.c */
	struct {
		struct gmpool_range now;
		struct task_struct *thread;
		int nice;
		int boost;
		bool boosted;
		bool paused;
		wait_queue_head_t work;
		wait_queue_head_t done;
	} scrub;

	/* badpages.c */
	struct {
		struct xarray pages;
		u64 nr_pages;
		u64 nr_blocks;
	} bad;

	/* resize.c, poison.c */
	struct {
		struct mutex lock;	/* guards parts, changes of numbers */
		u64 target;
		char error[200];
		u32 stop;
		struct list_head parts;
	} resize;

	/* dump.c */
	struct {
		void *copy;
		size_t size;
		const struct file *file;
	} dump;

	/* growth.c */
	struct {
		u32 nr;
		struct gmpool_extent_ser at[GMPOOL_MAX_EXTENTS];
		unsigned long *movable;
	} growth;

	/* event.c, sysfs.c */
	struct {
		struct kobject *dir;
		struct kernfs_node *state;
		struct kernfs_node *free;
		struct kernfs_node *poison;
		struct kernfs_node *size;
	} events;
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
void gmpool_wait_scrub(struct gmpool *pool, const struct gmpool_range *ranges, size_t nr);

/* In zero.c */
int gmpool_zero_init(void);
void gmpool_zero_phys(phys_addr_t phys, u64 len, bool idle);
int gmpool_copy_phys(phys_addr_t to, phys_addr_t from);

/* In tunables.c */
void gmpool_tunables_default(struct gmpool_tunables *tune);
void gmpool_tunables_retrieve(struct gmpool *pool);
int gmpool_tunables_store(struct gmpool *pool, const struct gmpool_tunables *new);
int gmpool_tune(struct gmpool *pool, const struct gmpool_tunables *new);
int gmpool_tunables_clamp(struct gmpool *pool, u64 nr_blocks, struct gmpool_clamp *clamp);
int gmpool_tunables_unclamp(struct gmpool *pool, const struct gmpool_clamp *clamp);
int gmpool_freeze(struct gmpool *pool, bool frozen);

/* In event.c */
const char *gmpool_state_name(struct gmpool *pool);
void gmpool_notify_state(struct gmpool *pool);
void gmpool_notify_free(struct gmpool *pool);
void gmpool_notify_poison(struct gmpool *pool);
void gmpool_notify_size(struct gmpool *pool);

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
void gmpool_soil(struct gmpool *pool, u64 block);
int gmpool_take(struct gmpool *pool, const struct gmpool_range *range);
int gmpool_claim_range(struct gmpool *pool, const struct gmpool_range *range);
void gmpool_change_bits(struct gmpool *pool, struct gmpool_bitmap_ser **maps,
			const struct gmpool_range *range, bool set);

/* In lifecycle.c */
int gmpool_discard(struct gmpool *pool);

/* In metadata.c */
int gmpool_create_metadata(struct gmpool *pool);
int gmpool_grow_metadata(struct gmpool_meta *meta);
void gmpool_sign_super(struct gmpool *pool);
int gmpool_alloc_bitmap_pointers(struct gmpool *pool, u64 *nr);
struct gmpool_bitmap_ser *gmpool_new_bitmap(struct gmpool *pool, u16 type, u64 index);
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
