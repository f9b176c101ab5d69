/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: guest memory pool handover ABI
 *
 * The format in which one kernel hands over the pools of guest memory to the next,
 * one pool per NUMA node. It is a contract between different builds of the kernel: a
 * field never moves or changes its meaning, and a number is never used again. All
 * fields are little-endian and naturally aligned. Sizes are in bytes unless the name
 * contains "blocks". There are no pointers.
 *
 * Each pool has one KHO subtree, GMPOOL_SUBTREE_FMT. Its blob contains two copies of
 * struct gmpool_super_ser. The super block contains the extents and the chunk tables
 * of the pool. An extent is a range of physical memory without struct pages. It is
 * not preserved through KHO: the next kernel removes it from its memory before it
 * allocates any. The chunk tables contain the addresses of the metadata, which is in
 * ordinary pages that are preserved through KHO::
 *
 *   KHO subtree "gmp<N>"
 *   +----------------+      +---------------+      +------------------+
 *   | super block    |--+-->| chunk table 0 |--+-->| metadata chunk 0 |
 *   | super block(2) |  |   +---------------+  |   |  block 0, 1, ... |
 *   +-------|--------+  +-->| chunk table 1 |  |   +------------------+
 *           |               +---------------+  +-->| metadata chunk 1 |
 *           v                                      +------------------+
 *   extents of pool memory, cut into 2 MiB blocks
 *
 * Metadata consists of blocks of GMPOOL_META_SIZE, numbered in the order of the
 * chunks. Each block has a header with a type and a checksum, followed by an array of
 * records of that type. Records refer to each other by number only. There are no
 * lists, trees or indexes: a kernel builds its own from the records at boot. So
 * records may be in any order, each can be checked by itself, and a new kernel may
 * use other structures in memory without a change of the format.
 *
 * Compatibility:
 *
 * - Every kernel can read all of struct gmpool_super_ser and struct
 *   gmpool_table_ser, regardless of the features. So a kernel that cannot use a pool
 *   can keep it: it removes the extents from its memory, does not use them, and
 *   hands them over unchanged. If it cannot remove an extent, it uses that memory
 *   itself, removes the extent from the super block, and sets GMPOOL_STATE_LIVE.
 * - An unknown bit in feature_compat is ignored.
 * - An unknown bit in feature_ro_compat leaves the pool readable: memory of its
 *   clients can be mapped, its metadata is not changed.
 * - With an unknown bit in feature_compat or feature_ro_compat, a metadata block of
 *   an unknown type is ignored; else the pool is damaged. So each new type of block,
 *   also of a client, needs a bit in the super block of the pool.
 * - An unknown bit in feature_incompat, or another version, means that the
 *   pool is kept as above, unused.
 */

#ifndef _LINUX_KHO_ABI_GUESTMEM_POOL_H
#define _LINUX_KHO_ABI_GUESTMEM_POOL_H

#include <linux/build_bug.h>
#include <linux/const.h>
#include <linux/stddef.h>
#include <linux/types.h>

/*
 * Name of the KHO subtree of a pool, with the number of the node in the kernel that
 * wrote it. It is short because KHO's tree is one page: 64 nodes fit.
 */
#define GMPOOL_SUBTREE_FMT		"gmp%u"

#define GMPOOL_SUPER_MAGIC		0x4c4f4f504d454d47ULL	/* "GMEMPOOL" */
#define GMPOOL_TABLE_MAGIC		0x42544d47U		/* "GMTB" */
#define GMPOOL_META_MAGIC		0x424d4d47U		/* "GMMB" */
#define GMPOOL_VERSION			1

/* Size of a block of pool memory: one PMD mapping on x86-64. */
#define GMPOOL_BLOCK_SHIFT		21
#define GMPOOL_BLOCK_SIZE		_BITULL(GMPOOL_BLOCK_SHIFT)

/* Size of the super block, a chunk table and a metadata block, in bytes. */
#define GMPOOL_META_SHIFT		12
#define GMPOOL_META_SIZE		4096U

/* Bytes of the subtree's blob: the super block and its second copy. */
#define GMPOOL_BLOB_SIZE		(2 * GMPOOL_META_SIZE)

#define GMPOOL_MAX_EXTENTS		64
#define GMPOOL_MAX_TABLES		128
#define GMPOOL_MAX_ROOTS		8
#define GMPOOL_UUID_SIZE		16
#define GMPOOL_RELEASE_SIZE		72

/**
 * enum gmpool_state_ser - state of the pool in the kernel that wrote it
 * @GMPOOL_STATE_LIVE: in use; checksums of metadata blocks may be out of date
 * @GMPOOL_STATE_SEALED: frozen for kexec; every checksum is right
 *
 * Only a sealed pool may be used by the next kernel.
 */
enum gmpool_state_ser {
	GMPOOL_STATE_LIVE	= 1,
	GMPOOL_STATE_SEALED	= 2,
};

/*
 * There are blocks of GMPOOL_META_POISON: pages with hardware errors, which must not
 * be allocated. Set with the first of them.
 */
#define GMPOOL_FEATURE_RO_COMPAT_POISON	_BITULL(0)

/*
 * A file's memory was pinned for devices when the pool was frozen, and LUO hands the
 * file over. Set and cleared with the first and the last of these files. The next
 * kernel does not discard the pool, by "guestmemfs=fresh" or otherwise, and clears the
 * bit as soon as it keeps the memory from being freed.
 */
#define GMPOOL_FEATURE_RO_COMPAT_PINNED	_BITULL(1)

/*
 * There is a block of GMPOOL_META_TUNABLES. Set with it. A kernel that does not know
 * the bit uses its defaults.
 */
#define GMPOOL_FEATURE_COMPAT_TUNABLES	_BITULL(0)

/*
 * A client of the pool has contents that no process may map. A kernel that does not know
 * the bit keeps the pool, unused. Set and cleared with the first and the last of these
 * contents.
 */
#define GMPOOL_FEATURE_INCOMPAT_PRIVATE	_BITULL(0)

/*
 * The block numbers of the extents are in @first of the super block. Set if they do not
 * count through the extents by rising address, which is so after memory was added below
 * or between extents, or taken out of the middle; cleared as soon as they do.
 */
#define GMPOOL_FEATURE_INCOMPAT_NUMBERS	_BITULL(1)

/* Feature bits that this header describes. */
#define GMPOOL_FEATURE_COMPAT_ALL	GMPOOL_FEATURE_COMPAT_TUNABLES
#define GMPOOL_FEATURE_RO_COMPAT_ALL	(GMPOOL_FEATURE_RO_COMPAT_POISON | \
					 GMPOOL_FEATURE_RO_COMPAT_PINNED)
#define GMPOOL_FEATURE_INCOMPAT_ALL	(GMPOOL_FEATURE_INCOMPAT_PRIVATE | \
					 GMPOOL_FEATURE_INCOMPAT_NUMBERS)

/**
 * struct gmpool_extent_ser - one physically contiguous range of a pool
 * @base: physical address, a multiple of GMPOOL_BLOCK_SIZE
 * @size: bytes, a multiple of GMPOOL_BLOCK_SIZE, not zero
 *
 * The kernel that made the pool aligned both to its sparsemem section, so that the
 * range has no struct pages.
 */
struct gmpool_extent_ser {
	__u64 base;
	__u64 size;
};

/**
 * struct gmpool_root_ser - the metadata of one client of the pool
 * @owner: enum gmpool_owner_ser; 0 is an empty slot
 * @mbn: metadata block number of the client's first block, not 0
 */
struct gmpool_root_ser {
	__u32 owner;
	__u32 mbn;
};

/**
 * enum gmpool_owner_ser - clients of pools
 * @GMPOOL_OWNER_NONE: empty slot
 * @GMPOOL_OWNER_GUESTMEMFS: guestmemfs, struct gmfs_super_ser
 */
enum gmpool_owner_ser {
	GMPOOL_OWNER_NONE	= 0,
	GMPOOL_OWNER_GUESTMEMFS	= 1,
};

/**
 * struct gmpool_super_ser - super block of a pool
 * @magic: GMPOOL_SUPER_MAGIC
 * @csum: crc32c, seed ~0, of this struct with @csum zero
 * @version: GMPOOL_VERSION
 * @super_size: sizeof(struct gmpool_super_ser)
 * @state: enum gmpool_state_ser
 * @feature_compat: bits a reader may ignore
 * @feature_ro_compat: bits a writer must know
 * @feature_incompat: bits every user must know
 * @uuid: random, made with the pool; every metadata block repeats it
 * @total_blocks: sum of the extents, in blocks
 * @generation: kexecs that the pool has survived
 * @nid: node number in the kernel that wrote this, only a hint
 * @block_shift: GMPOOL_BLOCK_SHIFT
 * @nr_extents: used entries of @extents
 * @nr_tables: used entries of @tables
 * @nr_meta: metadata blocks in all chunks
 * @reserved0: zero
 * @release: kernel release that wrote this, NUL terminated
 * @roots: users' metadata
 * @reserved1: zero
 * @extents: the pool's memory, by rising address, without overlap. Block
 *	numbers count through the extents in this order, unless the feature
 *	GMPOOL_FEATURE_INCOMPAT_NUMBERS is set.
 * @tables: physical addresses of struct gmpool_table_ser
 * @first: with GMPOOL_FEATURE_INCOMPAT_NUMBERS, the number of the first block of
 *	each extent; the following blocks of the extent have the following numbers. No
 *	two extents have the same number. A number of no extent is no block: its bit is
 *	zero in all bitmaps. Unused entries are zero, without the feature all are.
 * @reserved2: zero
 *
 * Bitmaps and records end with the block of the highest number. A block keeps its
 * number as long as it belongs to the pool.
 */
struct gmpool_super_ser {
	__u64 magic;
	__u32 csum;
	__u32 version;
	__u32 super_size;
	__u32 state;
	__u64 feature_compat;
	__u64 feature_ro_compat;
	__u64 feature_incompat;
	__u8 uuid[GMPOOL_UUID_SIZE];
	__u64 total_blocks;
	__u64 generation;
	__u32 nid;
	__u32 block_shift;
	__u32 nr_extents;
	__u32 nr_tables;
	__u32 nr_meta;
	__u32 reserved0;
	char release[GMPOOL_RELEASE_SIZE];
	struct gmpool_root_ser roots[GMPOOL_MAX_ROOTS];
	__u8 reserved1[784];
	struct gmpool_extent_ser extents[GMPOOL_MAX_EXTENTS];
	__u64 tables[GMPOOL_MAX_TABLES];
	__u64 first[GMPOOL_MAX_EXTENTS];
	__u8 reserved2[512];
};

/**
 * struct gmpool_chunk_ser - physically contiguous metadata memory
 * @phys: physical address, a multiple of GMPOOL_META_SIZE
 * @first: number of its first metadata block
 * @nr: metadata blocks in it, a power of two
 *
 * Chunks follow each other without a gap: @first is the sum of @nr of all
 * chunks before it. A chunk is preserved as a folio of its size.
 */
struct gmpool_chunk_ser {
	__u64 phys;
	__u32 first;
	__u32 nr;
};

#define GMPOOL_TABLE_CHUNKS	252

/**
 * struct gmpool_table_ser - a table of metadata chunks
 * @magic: GMPOOL_TABLE_MAGIC
 * @csum: crc32c, seed ~0, of this struct with @csum zero
 * @uuid: uuid of the pool
 * @index: index of this table in gmpool_super_ser.tables
 * @nr: used entries of @chunks; all tables but the last are full
 * @reserved: zero
 * @chunks: the chunks
 */
struct gmpool_table_ser {
	__u32 magic;
	__u32 csum;
	__u8 uuid[GMPOOL_UUID_SIZE];
	__u32 index;
	__u32 nr;
	__u8 reserved[32];
	struct gmpool_chunk_ser chunks[GMPOOL_TABLE_CHUNKS];
};

/**
 * enum gmpool_meta_type_ser - what a metadata block holds
 * @GMPOOL_META_FREE: nothing
 * @GMPOOL_META_USED: bitmap, bit set = pool block is allocated
 * @GMPOOL_META_DIRTY: bitmap, bit set = pool block is free and not known to be
 *	zero; it is zeroed before it is allocated
 * @GMPOOL_META_POISON: one struct gmpool_poison_ser
 * @GMPOOL_META_TUNABLES: the only struct gmpool_tunables_ser
 * @GMPOOL_META_GMFS_FIRST: first type of guestmemfs, enum gmfs_meta_type_ser
 * @GMPOOL_META_GMFS_LAST: last one that is in use
 *
 * Types below 16 belong to the pool, 16 to 31 to guestmemfs.
 */
enum gmpool_meta_type_ser {
	GMPOOL_META_FREE	= 0,
	GMPOOL_META_USED	= 1,
	GMPOOL_META_DIRTY	= 2,
	GMPOOL_META_POISON	= 3,
	GMPOOL_META_TUNABLES	= 4,
	GMPOOL_META_GMFS_FIRST	= 16,
	GMPOOL_META_GMFS_LAST	= 20,
};

/**
 * struct gmpool_meta_ser - header of a metadata block
 * @magic: GMPOOL_META_MAGIC
 * @csum: crc32c, seed ~0, of the whole block with @csum zero
 * @uuid: uuid of the pool
 * @mbn: number of this block
 * @type: enum gmpool_meta_type_ser; block 0 is never free, so that it cannot be the
 *	first block of an owner
 * @reserved0: zero
 * @index: index of a bitmap block among those of its type, else zero
 * @reserved1: zero
 */
struct gmpool_meta_ser {
	__u32 magic;
	__u32 csum;
	__u8 uuid[GMPOOL_UUID_SIZE];
	__u32 mbn;
	__u16 type;
	__u16 reserved0;
	__u64 index;
	__u8 reserved1[24];
};

#define GMPOOL_BITMAP_WORDS	504
#define GMPOOL_BITMAP_BITS	(GMPOOL_BITMAP_WORDS * 64)

/**
 * struct gmpool_bitmap_ser - bitmap of pool blocks
 * @hdr: header
 * @bits: bit i of word w is pool block
 *	hdr.index * GMPOOL_BITMAP_BITS + w * 64 + i; bits past the last block
 *	of the pool are zero
 */
struct gmpool_bitmap_ser {
	struct gmpool_meta_ser hdr;
	__u64 bits[GMPOOL_BITMAP_WORDS];
};

#define GMPOOL_POISON_PAGES	503
#define GMPOOL_POISON_SHIFT	12

/**
 * struct gmpool_poison_ser - pages of a pool that have failed
 * @hdr: header
 * @nr: used entries of @pages
 * @pages: numbers of pages of 4 KiB, counted from the start of the pool's first
 *	block; no page is in it twice, nor in two of these blocks. The rest is
 *	zero.
 *
 * A page is never removed from it. A block with such a page is not allocated again:
 * an owner keeps its block, and a block without an owner does not count as free.
 */
struct gmpool_poison_ser {
	struct gmpool_meta_ser hdr;
	__u64 nr;
	__u64 pages[GMPOOL_POISON_PAGES];
};

/* All free blocks. */
#define GMPOOL_SCRUB_ALL	(~0ULL)

/**
 * enum gmpool_zeroing_ser - when free blocks are zeroed
 * @GMPOOL_ZEROING_BACKGROUND: in the background
 * @GMPOOL_ZEROING_ON_ALLOC: when they are allocated
 */
enum gmpool_zeroing_ser {
	GMPOOL_ZEROING_BACKGROUND	= 0,
	GMPOOL_ZEROING_ON_ALLOC		= 1,
};

/**
 * enum gmpool_policy_ser - which free blocks are allocated
 * @GMPOOL_POLICY_BEST_FIT: the smallest contiguous range that is large enough; free
 *	ranges of 1 GiB are kept whole if possible
 * @GMPOOL_POLICY_FIRST_FIT: the lowest contiguous range that is large enough
 */
enum gmpool_policy_ser {
	GMPOOL_POLICY_BEST_FIT	= 0,
	GMPOOL_POLICY_FIRST_FIT	= 1,
};

/**
 * struct gmpool_tunables_ser - settings of a pool by the administrator
 * @hdr: header
 * @scrub_rate: limit of zeroing in the background, in bytes per second; 0 is no
 *	limit
 * @scrub_target: number of free blocks that are kept zeroed, or GMPOOL_SCRUB_ALL
 * @reserve: number of free blocks that only privileged tasks may allocate
 * @low_watermark: number of free blocks below which the kernel notifies user space;
 *	0 is never
 * @zeroing: enum gmpool_zeroing_ser
 * @policy: enum gmpool_policy_ser
 * @frozen: 1 if the pool is frozen, else 0
 * @reserved: zero
 *
 * The defaults, without this block, are GMPOOL_SCRUB_ALL for @scrub_target and 0 for
 * all other fields. A reader that finds a value out of range uses the defaults.
 */
struct gmpool_tunables_ser {
	struct gmpool_meta_ser hdr;
	__u64 scrub_rate;
	__u64 scrub_target;
	__u64 reserve;
	__u64 low_watermark;
	__u32 zeroing;
	__u32 policy;
	__u32 frozen;
	__u8 reserved[3988];
};

static_assert(sizeof(struct gmpool_super_ser) == GMPOOL_META_SIZE);
static_assert(offsetof(struct gmpool_super_ser, csum) == 8);
static_assert(offsetof(struct gmpool_super_ser, feature_compat) == 24);
static_assert(offsetof(struct gmpool_super_ser, uuid) == 48);
static_assert(offsetof(struct gmpool_super_ser, nid) == 80);
static_assert(offsetof(struct gmpool_super_ser, release) == 104);
static_assert(offsetof(struct gmpool_super_ser, roots) == 176);
static_assert(offsetof(struct gmpool_super_ser, extents) == 1024);
static_assert(offsetof(struct gmpool_super_ser, tables) == 2048);
static_assert(offsetof(struct gmpool_super_ser, first) == 3072);
static_assert(sizeof(struct gmpool_chunk_ser) == 16);
static_assert(sizeof(struct gmpool_table_ser) == GMPOOL_META_SIZE);
static_assert(offsetof(struct gmpool_table_ser, chunks) == 64);
static_assert(sizeof(struct gmpool_meta_ser) == 64);
static_assert(offsetof(struct gmpool_meta_ser, mbn) == 24);
static_assert(offsetof(struct gmpool_meta_ser, index) == 32);
static_assert(sizeof(struct gmpool_bitmap_ser) == GMPOOL_META_SIZE);
static_assert(sizeof(struct gmpool_poison_ser) == GMPOOL_META_SIZE);
static_assert(offsetof(struct gmpool_poison_ser, pages) == 72);
static_assert(sizeof(struct gmpool_tunables_ser) == GMPOOL_META_SIZE);
static_assert(offsetof(struct gmpool_tunables_ser, zeroing) == 96);

#endif /* _LINUX_KHO_ABI_GUESTMEM_POOL_H */
