/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: guestmemfs handover ABI
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
 * - An unknown bit in feature_ro_compat leaves the pool readable: its files
 *   can be mounted read-only and mapped, its metadata is not changed.
 * - With an unknown bit in feature_compat or feature_ro_compat, a metadata block of
 *   an unknown type is ignored; else the pool is damaged. So each new type of block,
 *   also of guestmemfs, needs a bit in the super block of the pool.
 * - An unknown bit in feature_incompat, or another version, means that the
 *   pool is kept as above, unused.
 */

#ifndef _LINUX_KHO_ABI_GUESTMEMFS_H
#define _LINUX_KHO_ABI_GUESTMEMFS_H

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
 * file over: gmfs_inode_ser.pinned. Set and cleared with the first and the last of
 * these files. The next kernel does not discard the pool, by "guestmemfs=fresh" or
 * otherwise, and clears the bit as soon as it keeps the memory from being freed.
 */
#define GMPOOL_FEATURE_RO_COMPAT_PINNED	_BITULL(1)

/*
 * There is a block of GMPOOL_META_TUNABLES. Set with it. A kernel that does not know
 * the bit uses its defaults.
 */
#define GMPOOL_FEATURE_COMPAT_TUNABLES	_BITULL(0)

/* Feature bits that this header describes. */
#define GMPOOL_FEATURE_COMPAT_ALL	GMPOOL_FEATURE_COMPAT_TUNABLES
#define GMPOOL_FEATURE_RO_COMPAT_ALL	(GMPOOL_FEATURE_RO_COMPAT_POISON | \
					 GMPOOL_FEATURE_RO_COMPAT_PINNED)
#define GMPOOL_FEATURE_INCOMPAT_ALL	0ULL

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
 * struct gmpool_root_ser - the metadata of one user of the pool
 * @owner: enum gmpool_owner_ser; 0 is an empty slot
 * @mbn: metadata block number of the user's first block, not 0
 */
struct gmpool_root_ser {
	__u32 owner;
	__u32 mbn;
};

/**
 * enum gmpool_owner_ser - users of pools
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
 *	numbers count through the extents in this order.
 * @tables: physical addresses of struct gmpool_table_ser
 * @reserved2: zero
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
	__u8 reserved2[1024];
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
 * @GMFS_META_SUPER: one struct gmfs_super_ser
 * @GMFS_META_INODES: struct gmfs_inode_ser at each multiple of its size except the
 *	first, where the header is
 * @GMFS_META_DIRENTS: struct gmfs_dirent_ser in slots of GMFS_DIRENT_SLOT
 * @GMFS_META_EXTENTS: struct gmfs_extent_ser from the end of the header on
 * @GMFS_META_ATTRS: struct gmfs_attr_ser in slots of GMFS_ATTR_SLOT
 *
 * Types below 16 belong to the pool, 16 to 31 to guestmemfs.
 */
enum gmpool_meta_type_ser {
	GMPOOL_META_FREE	= 0,
	GMPOOL_META_USED	= 1,
	GMPOOL_META_DIRTY	= 2,
	GMPOOL_META_POISON	= 3,
	GMPOOL_META_TUNABLES	= 4,
	GMFS_META_SUPER		= 16,
	GMFS_META_INODES	= 17,
	GMFS_META_DIRENTS	= 18,
	GMFS_META_EXTENTS	= 19,
	GMFS_META_ATTRS		= 20,
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

#define GMFS_VERSION			1

/*
 * An inode can have open files that LUO preserves. Set with the first of them. A
 * kernel that does not know the bit frees such an inode if it has no name.
 */
#define GMFS_FEATURE_COMPAT_PRESERVED	_BITULL(0)

/*
 * An inode has the field pinned set. Set and cleared as GMPOOL_FEATURE_RO_COMPAT_PINNED,
 * which it comes with: a kernel that does not know of it changes and frees nothing.
 */
#define GMFS_FEATURE_RO_COMPAT_PINNED	_BITULL(0)

/* Feature bits of guestmemfs that this header describes. */
#define GMFS_FEATURE_COMPAT_ALL		GMFS_FEATURE_COMPAT_PRESERVED
#define GMFS_FEATURE_RO_COMPAT_ALL	GMFS_FEATURE_RO_COMPAT_PINNED
#define GMFS_FEATURE_INCOMPAT_ALL	0ULL

/**
 * struct gmfs_super_ser - root of a pool's file system
 * @hdr: header
 * @version: GMFS_VERSION
 * @reserved0: zero
 * @feature_compat: as in struct gmpool_super_ser
 * @feature_ro_compat: as in struct gmpool_super_ser
 * @feature_incompat: as in struct gmpool_super_ser
 * @root_ino: inode number of the root directory
 * @next_cookie: greater than the cookies of all directory entries and the ids of all
 *	attributes
 * @reserved1: zero
 */
struct gmfs_super_ser {
	struct gmpool_meta_ser hdr;
	__u32 version;
	__u32 reserved0;
	__u64 feature_compat;
	__u64 feature_ro_compat;
	__u64 feature_incompat;
	__u64 root_ino;
	__u64 next_cookie;
	__u8 reserved1[3984];
};

/**
 * struct gmfs_inode_ser - an inode
 * @ino: inode number, 0 in a free record; see GMFS_INO()
 * @generation: differs from that of the last inode with this number
 * @mode: file type and permissions, as st_mode
 * @uid: owner, in the initial user namespace
 * @gid: group, in the initial user namespace
 * @nlink: as st_nlink; 0 in a file or an empty directory that was deleted while in
 *	use: the next kernel frees it, unless @preserved is set
 * @flags: GMFS_INODE_*
 * @preserved: number of open files of it that LUO hands over, struct gmfs_file_ser;
 *	the next kernel does not free the inode before LUO has finished with them
 * @pinned: 1 if it is preserved, and blocks of it were pinned for devices when the
 *	writing kernel was frozen, else 0; the next kernel frees no block of it
 *	before LUO has finished with the preserved files
 * @size: bytes of a file, or of a symbolic link's target; else 0
 * @rdev: GMFS_RDEV() of a device file, else 0
 * @atime_sec: access time, seconds since the epoch
 * @mtime_sec: modification time
 * @ctime_sec: change time
 * @btime_sec: birth time
 * @atime_nsec: nanoseconds of @atime_sec
 * @mtime_nsec: nanoseconds of @mtime_sec
 * @ctime_nsec: nanoseconds of @ctime_sec
 * @btime_nsec: nanoseconds of @btime_sec
 * @reserved1: zero
 */
struct gmfs_inode_ser {
	__u64 ino;
	__u32 generation;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	__u32 nlink;
	__u32 flags;
	__u32 preserved;
	__u32 pinned;
	__u64 size;
	__u64 rdev;
	__s64 atime_sec;
	__s64 mtime_sec;
	__s64 ctime_sec;
	__s64 btime_sec;
	__u32 atime_nsec;
	__u32 mtime_nsec;
	__u32 ctime_nsec;
	__u32 btime_nsec;
	__u8 reserved1[152];
};

/* Flags of an inode, as chattr(1) sets them: +i, +a, +d, +A. */
#define GMFS_INODE_IMMUTABLE	_BITUL(0)
#define GMFS_INODE_APPEND	_BITUL(1)
#define GMFS_INODE_NODUMP	_BITUL(2)
#define GMFS_INODE_NOATIME	_BITUL(3)
#define GMFS_INODE_FLAGS_ALL	(_BITUL(4) - 1)

/* A device number: Linux has 12 bits of major number and 20 of minor number. */
#define GMFS_RDEV(major, minor)	((__u64)(major) << 32 | (minor))
#define GMFS_RDEV_MAJOR(rdev)	((__u32)((rdev) >> 32))
#define GMFS_RDEV_MINOR(rdev)	((__u32)(rdev))
#define GMFS_RDEV_MAJOR_BITS	12
#define GMFS_RDEV_MINOR_BITS	20

/* Name by which LUO finds the handler of struct gmfs_file_ser. */
#define GMFS_FILE_COMPATIBLE	"guestmemfs-v1"

/**
 * struct gmfs_file_ser - an open file that LUO preserves
 * @uuid: of the pool, struct gmpool_super_ser
 * @ino: inode number
 * @generation: of the inode
 * @access: O_RDONLY (0), O_WRONLY (1) or O_RDWR (2)
 * @pos: position in the file
 *
 * It is in a page that KHO preserves, and LUO hands over its address. The file may
 * have no name.
 */
struct gmfs_file_ser {
	__u8 uuid[GMPOOL_UUID_SIZE];
	__u64 ino;
	__u32 generation;
	__u32 access;
	__s64 pos;
};

#define GMFS_INODES_PER_BLOCK	16	/* slot 0 is the header */

/* An inode number is the place of the record: metadata block and slot. */
#define GMFS_INO(mbn, slot)	((__u64)(mbn) * GMFS_INODES_PER_BLOCK + (slot))
#define GMFS_INO_MBN(ino)	((ino) / GMFS_INODES_PER_BLOCK)
#define GMFS_INO_SLOT(ino)	((ino) % GMFS_INODES_PER_BLOCK)

#define GMFS_DIRENT_SLOT	64	/* bytes */
#define GMFS_DIRENT_SLOTS	64	/* per block; slot 0 is the header */
#define GMFS_NAME_MAX		255

/**
 * struct gmfs_dirent_ser - a name in a directory
 * @parent: inode number of the directory, 0 in a free slot
 * @ino: inode number of the named inode
 * @cookie: order in the directory and position for readdir; never used again
 *	in this pool
 * @name_len: bytes of @name, 1 to GMFS_NAME_MAX
 * @type: file type as in @ino's mode, shifted right by 12 (DT_*)
 * @nr_slots: number of slots of this entry, as @name_len requires
 * @reserved: zero
 * @name: the name, no NUL and no slash; zeroes fill the last slot
 */
struct gmfs_dirent_ser {
	__u64 parent;
	__u64 ino;
	__u64 cookie;
	__u16 name_len;
	__u8 type;
	__u8 nr_slots;
	__u32 reserved;
	char name[];
};

/**
 * struct gmfs_extent_ser - an extent of a file
 * @ino: inode number of the file, 0 in a free record
 * @file_block: first block in the file, in units of GMPOOL_BLOCK_SIZE
 * @pool_block: first block in the pool
 * @count: number of blocks, all within one extent of the pool
 * @flags: zero
 *
 * File blocks without an extent are holes.
 */
struct gmfs_extent_ser {
	__u64 ino;
	__u64 file_block;
	__u64 pool_block;
	__u32 count;
	__u32 flags;
};

#define GMFS_EXTENTS_PER_BLOCK	126

#define GMFS_ATTR_SLOT		64	/* bytes */
#define GMFS_ATTR_SLOTS		64	/* per block; slot 0 is the header */
#define GMFS_ATTR_NAME_MAX	255
#define GMFS_ATTR_VALUE_MAX	65536
#define GMFS_TARGET_MAX		4095

/**
 * enum gmfs_attr_kind_ser - kinds of attributes
 * @GMFS_ATTR_XATTR: an extended attribute: its full name, such as "user.mime_type",
 *	and its value as getxattr(2) returns it in the initial user namespace. ACLs
 *	are "system.posix_acl_access" and "system.posix_acl_default".
 * @GMFS_ATTR_TARGET: the target of a symbolic link, exactly one per link
 */
enum gmfs_attr_kind_ser {
	GMFS_ATTR_XATTR		= 1,
	GMFS_ATTR_TARGET	= 2,
};

/**
 * struct gmfs_attr_ser - a fragment of an attribute of an inode
 * @ino: inode number, 0 in a free slot
 * @id: the same in all fragments of the attribute; never used again in this pool
 * @size: bytes of the attribute, that is, of its name and its value
 * @offset: of @data in these bytes, a multiple of GMFS_ATTR_FRAGMENT
 * @len: bytes of @data: up to the end of the attribute, or GMFS_ATTR_FRAGMENT
 * @kind: enum gmfs_attr_kind_ser
 * @nr_slots: number of slots of this fragment, as @len requires
 * @name_len: bytes of the name: 1 to GMFS_ATTR_NAME_MAX, without a NUL; a
 *	target has none
 * @reserved: zero
 * @data: the bytes; zeroes fill the last slot
 *
 * Fragments may be in any order, as all records.
 */
struct gmfs_attr_ser {
	__u64 ino;
	__u64 id;
	__u32 size;
	__u32 offset;
	__u16 len;
	__u8 kind;
	__u8 nr_slots;
	__u16 name_len;
	__u16 reserved;
	__u8 data[];
};

#define GMFS_ATTR_FRAGMENT	4000	/* bytes of data in a whole block */

static_assert(sizeof(struct gmpool_super_ser) == GMPOOL_META_SIZE);
static_assert(offsetof(struct gmpool_super_ser, csum) == 8);
static_assert(offsetof(struct gmpool_super_ser, feature_compat) == 24);
static_assert(offsetof(struct gmpool_super_ser, uuid) == 48);
static_assert(offsetof(struct gmpool_super_ser, nid) == 80);
static_assert(offsetof(struct gmpool_super_ser, release) == 104);
static_assert(offsetof(struct gmpool_super_ser, roots) == 176);
static_assert(offsetof(struct gmpool_super_ser, extents) == 1024);
static_assert(offsetof(struct gmpool_super_ser, tables) == 2048);
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
static_assert(sizeof(struct gmfs_super_ser) == GMPOOL_META_SIZE);
static_assert(offsetof(struct gmfs_super_ser, root_ino) == 96);
static_assert(sizeof(struct gmfs_inode_ser) == 256);
static_assert(offsetof(struct gmfs_inode_ser, preserved) == 32);
static_assert(offsetof(struct gmfs_inode_ser, pinned) == 36);
static_assert(offsetof(struct gmfs_inode_ser, size) == 40);
static_assert(offsetof(struct gmfs_inode_ser, atime_sec) == 56);
static_assert(offsetof(struct gmfs_inode_ser, atime_nsec) == 88);
static_assert(sizeof(struct gmfs_inode_ser) * GMFS_INODES_PER_BLOCK == GMPOOL_META_SIZE);
static_assert(sizeof(struct gmfs_file_ser) == 40);
static_assert(offsetof(struct gmfs_dirent_ser, name) == 32);
static_assert(GMFS_DIRENT_SLOT * GMFS_DIRENT_SLOTS == GMPOOL_META_SIZE);
static_assert(sizeof(struct gmfs_extent_ser) == 32);
static_assert(offsetof(struct gmfs_attr_ser, data) == 32);
static_assert(GMFS_ATTR_SLOT * GMFS_ATTR_SLOTS == GMPOOL_META_SIZE);
static_assert(GMFS_ATTR_SLOT * (GMFS_ATTR_SLOTS - 1) ==
	      offsetof(struct gmfs_attr_ser, data) + GMFS_ATTR_FRAGMENT);
static_assert(sizeof(struct gmpool_meta_ser) +
	      sizeof(struct gmfs_extent_ser) * GMFS_EXTENTS_PER_BLOCK == GMPOOL_META_SIZE);

#endif /* _LINUX_KHO_ABI_GUESTMEMFS_H */
