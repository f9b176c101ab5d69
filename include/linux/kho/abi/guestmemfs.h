/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: guestmemfs handover ABI
 *
 * The records of the file system of a pool, in metadata blocks of the pool. How these
 * are handed over, and what a kernel does with features that it does not know, is in
 * kho/abi/guestmem_pool.h. The rules for a change are the same.
 *
 * The root of the pool for GMPOOL_OWNER_GUESTMEMFS is the block of struct
 * gmfs_super_ser. Blocks of the other types are found by their type. Open files are
 * handed over by LUO, as struct gmfs_file_ser.
 */

#ifndef _LINUX_KHO_ABI_GUESTMEMFS_H
#define _LINUX_KHO_ABI_GUESTMEMFS_H

#include <linux/kho/abi/guestmem_pool.h>

/**
 * enum gmfs_meta_type_ser - what a metadata block of guestmemfs holds
 * @GMFS_META_SUPER: one struct gmfs_super_ser
 * @GMFS_META_INODES: struct gmfs_inode_ser at each multiple of its size except the
 *	first, where the header is
 * @GMFS_META_DIRENTS: struct gmfs_dirent_ser in slots of GMFS_DIRENT_SLOT
 * @GMFS_META_EXTENTS: struct gmfs_extent_ser from the end of the header on
 * @GMFS_META_ATTRS: struct gmfs_attr_ser in slots of GMFS_ATTR_SLOT
 */
enum gmfs_meta_type_ser {
	GMFS_META_SUPER		= GMPOOL_META_GMFS_FIRST,
	GMFS_META_INODES	= 17,
	GMFS_META_DIRENTS	= 18,
	GMFS_META_EXTENTS	= 19,
	GMFS_META_ATTRS		= GMPOOL_META_GMFS_LAST,
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

/*
 * An inode has the flag GMFS_INODE_PRIVATE. Set and cleared with the first and the last of
 * these inodes. A kernel that does not know the flag must not map the file, not even for
 * reading.
 */
#define GMFS_FEATURE_INCOMPAT_PRIVATE	_BITULL(0)

/* Feature bits of guestmemfs that this header describes. */
#define GMFS_FEATURE_COMPAT_ALL		GMFS_FEATURE_COMPAT_PRESERVED
#define GMFS_FEATURE_RO_COMPAT_ALL	GMFS_FEATURE_RO_COMPAT_PINNED
#define GMFS_FEATURE_INCOMPAT_ALL	GMFS_FEATURE_INCOMPAT_PRIVATE

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
/*
 * The contents are private memory of a guest: no process may map the file, and no device
 * may access it. Needs GMFS_FEATURE_INCOMPAT_PRIVATE. Cleared when a truncation or a
 * punched hole leaves the file without blocks while no client has attached it.
 */
#define GMFS_INODE_PRIVATE	_BITUL(4)
#define GMFS_INODE_FLAGS_ALL	(_BITUL(5) - 1)

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
