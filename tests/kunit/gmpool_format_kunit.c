// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the format of handed-over pools: its layout, and the checks of
 * data from another kernel.
 */

#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <kunit/test.h>

#include <linux/kho/abi/guestmemfs.h>

#include "../numa/format.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define GRANULARITY	((u64)SZ_128M)

struct field {
	size_t offset;
	size_t size;
};

/* Offset and size of a member of a struct at address 0. */
#define FIELD(m)	{ (size_t)&(m), sizeof(m) }

#define SUPER		((struct gmpool_super_ser *)NULL)
#define EXTENT		((struct gmpool_extent_ser *)NULL)
#define ROOT		((struct gmpool_root_ser *)NULL)
#define CHUNK		((struct gmpool_chunk_ser *)NULL)
#define TABLE		((struct gmpool_table_ser *)NULL)
#define META		((struct gmpool_meta_ser *)NULL)
#define BITMAP		((struct gmpool_bitmap_ser *)NULL)
#define POISON		((struct gmpool_poison_ser *)NULL)
#define FS_SUPER	((struct gmfs_super_ser *)NULL)
#define FS_INODE	((struct gmfs_inode_ser *)NULL)
#define FS_DIRENT	((struct gmfs_dirent_ser *)NULL)
#define FS_EXTENT	((struct gmfs_extent_ser *)NULL)
#define FS_ATTR		((struct gmfs_attr_ser *)NULL)
#define FS_FILE		((struct gmfs_file_ser *)NULL)
#define TUNABLES	((struct gmpool_tunables_ser *)NULL)

/**
 * struct golden_member - location of a member of a struct
 * @name: name in the log
 * @is: location by the compiler
 * @golden: location by the format, never to change
 */
struct golden_member {
	const char *name;
	struct field is;
	struct field golden;
};

#define MEMBER(m, at, bytes)	{ #m, FIELD(m), { at, bytes } }

static const struct golden_member super_members[] = {
	MEMBER(SUPER->magic, 0, 8),
	MEMBER(SUPER->csum, 8, 4),
	MEMBER(SUPER->version, 12, 4),
	MEMBER(SUPER->super_size, 16, 4),
	MEMBER(SUPER->state, 20, 4),
	MEMBER(SUPER->feature_compat, 24, 8),
	MEMBER(SUPER->feature_ro_compat, 32, 8),
	MEMBER(SUPER->feature_incompat, 40, 8),
	MEMBER(SUPER->uuid, 48, 16),
	MEMBER(SUPER->total_blocks, 64, 8),
	MEMBER(SUPER->generation, 72, 8),
	MEMBER(SUPER->nid, 80, 4),
	MEMBER(SUPER->block_shift, 84, 4),
	MEMBER(SUPER->nr_extents, 88, 4),
	MEMBER(SUPER->nr_tables, 92, 4),
	MEMBER(SUPER->nr_meta, 96, 4),
	MEMBER(SUPER->reserved0, 100, 4),
	MEMBER(SUPER->release, 104, 72),
	MEMBER(SUPER->roots, 176, 64),
	MEMBER(SUPER->reserved1, 240, 784),
	MEMBER(SUPER->extents, 1024, 1024),
	MEMBER(SUPER->tables, 2048, 1024),
	MEMBER(SUPER->first, 3072, 512),
	MEMBER(SUPER->reserved2, 3584, 512),
	{}
};

static const struct golden_member extent_members[] = {
	MEMBER(EXTENT->base, 0, 8),
	MEMBER(EXTENT->size, 8, 8),
	{}
};

static const struct golden_member root_members[] = {
	MEMBER(ROOT->owner, 0, 4),
	MEMBER(ROOT->mbn, 4, 4),
	{}
};

static const struct golden_member chunk_members[] = {
	MEMBER(CHUNK->phys, 0, 8),
	MEMBER(CHUNK->first, 8, 4),
	MEMBER(CHUNK->nr, 12, 4),
	{}
};

static const struct golden_member table_members[] = {
	MEMBER(TABLE->magic, 0, 4),
	MEMBER(TABLE->csum, 4, 4),
	MEMBER(TABLE->uuid, 8, 16),
	MEMBER(TABLE->index, 24, 4),
	MEMBER(TABLE->nr, 28, 4),
	MEMBER(TABLE->reserved, 32, 32),
	MEMBER(TABLE->chunks, 64, 4032),
	{}
};

static const struct golden_member meta_members[] = {
	MEMBER(META->magic, 0, 4),
	MEMBER(META->csum, 4, 4),
	MEMBER(META->uuid, 8, 16),
	MEMBER(META->mbn, 24, 4),
	MEMBER(META->type, 28, 2),
	MEMBER(META->reserved0, 30, 2),
	MEMBER(META->index, 32, 8),
	MEMBER(META->reserved1, 40, 24),
	{}
};

static const struct golden_member bitmap_members[] = {
	MEMBER(BITMAP->hdr, 0, 64),
	MEMBER(BITMAP->bits, 64, 4032),
	{}
};

static const struct golden_member poison_members[] = {
	MEMBER(POISON->hdr, 0, 64),
	MEMBER(POISON->nr, 64, 8),
	MEMBER(POISON->pages, 72, 4024),
	{}
};

static const struct golden_member fs_super_members[] = {
	MEMBER(FS_SUPER->hdr, 0, 64),
	MEMBER(FS_SUPER->version, 64, 4),
	MEMBER(FS_SUPER->reserved0, 68, 4),
	MEMBER(FS_SUPER->feature_compat, 72, 8),
	MEMBER(FS_SUPER->feature_ro_compat, 80, 8),
	MEMBER(FS_SUPER->feature_incompat, 88, 8),
	MEMBER(FS_SUPER->root_ino, 96, 8),
	MEMBER(FS_SUPER->next_cookie, 104, 8),
	MEMBER(FS_SUPER->reserved1, 112, 3984),
	{}
};

static const struct golden_member fs_inode_members[] = {
	MEMBER(FS_INODE->ino, 0, 8),
	MEMBER(FS_INODE->generation, 8, 4),
	MEMBER(FS_INODE->mode, 12, 4),
	MEMBER(FS_INODE->uid, 16, 4),
	MEMBER(FS_INODE->gid, 20, 4),
	MEMBER(FS_INODE->nlink, 24, 4),
	MEMBER(FS_INODE->flags, 28, 4),
	MEMBER(FS_INODE->preserved, 32, 4),
	MEMBER(FS_INODE->pinned, 36, 4),
	MEMBER(FS_INODE->size, 40, 8),
	MEMBER(FS_INODE->rdev, 48, 8),
	MEMBER(FS_INODE->atime_sec, 56, 8),
	MEMBER(FS_INODE->mtime_sec, 64, 8),
	MEMBER(FS_INODE->ctime_sec, 72, 8),
	MEMBER(FS_INODE->btime_sec, 80, 8),
	MEMBER(FS_INODE->atime_nsec, 88, 4),
	MEMBER(FS_INODE->mtime_nsec, 92, 4),
	MEMBER(FS_INODE->ctime_nsec, 96, 4),
	MEMBER(FS_INODE->btime_nsec, 100, 4),
	MEMBER(FS_INODE->reserved1, 104, 152),
	{}
};

static const struct golden_member fs_dirent_members[] = {
	MEMBER(FS_DIRENT->parent, 0, 8),
	MEMBER(FS_DIRENT->ino, 8, 8),
	MEMBER(FS_DIRENT->cookie, 16, 8),
	MEMBER(FS_DIRENT->name_len, 24, 2),
	MEMBER(FS_DIRENT->type, 26, 1),
	MEMBER(FS_DIRENT->nr_slots, 27, 1),
	MEMBER(FS_DIRENT->reserved, 28, 4),
	/* Start of the name. */
	{ "name", { offsetof(struct gmfs_dirent_ser, name), 0 }, { 32, 0 } },
	{}
};

static const struct golden_member fs_extent_members[] = {
	MEMBER(FS_EXTENT->ino, 0, 8),
	MEMBER(FS_EXTENT->file_block, 8, 8),
	MEMBER(FS_EXTENT->pool_block, 16, 8),
	MEMBER(FS_EXTENT->count, 24, 4),
	MEMBER(FS_EXTENT->flags, 28, 4),
	{}
};

static const struct golden_member fs_attr_members[] = {
	MEMBER(FS_ATTR->ino, 0, 8),
	MEMBER(FS_ATTR->id, 8, 8),
	MEMBER(FS_ATTR->size, 16, 4),
	MEMBER(FS_ATTR->offset, 20, 4),
	MEMBER(FS_ATTR->len, 24, 2),
	MEMBER(FS_ATTR->kind, 26, 1),
	MEMBER(FS_ATTR->nr_slots, 27, 1),
	MEMBER(FS_ATTR->name_len, 28, 2),
	MEMBER(FS_ATTR->reserved, 30, 2),
	/* Start of the data. */
	{ "data", { offsetof(struct gmfs_attr_ser, data), 0 }, { 32, 0 } },
	{}
};

static const struct golden_member fs_file_members[] = {
	MEMBER(FS_FILE->uuid, 0, 16),
	MEMBER(FS_FILE->ino, 16, 8),
	MEMBER(FS_FILE->generation, 24, 4),
	MEMBER(FS_FILE->access, 28, 4),
	MEMBER(FS_FILE->pos, 32, 8),
	{}
};

static const struct golden_member tunables_members[] = {
	MEMBER(TUNABLES->hdr, 0, 64),
	MEMBER(TUNABLES->scrub_rate, 64, 8),
	MEMBER(TUNABLES->scrub_target, 72, 8),
	MEMBER(TUNABLES->reserve, 80, 8),
	MEMBER(TUNABLES->low_watermark, 88, 8),
	MEMBER(TUNABLES->zeroing, 96, 4),
	MEMBER(TUNABLES->policy, 100, 4),
	MEMBER(TUNABLES->frozen, 104, 4),
	MEMBER(TUNABLES->reserved, 108, 3988),
	{}
};

struct golden_struct {
	const char *name;
	size_t size;
	size_t golden_size;
	const struct golden_member *members;
};

#define STRUCT(s, bytes, members)	{ #s, sizeof(struct s), bytes, members }

static const struct golden_struct golden_structs[] = {
	STRUCT(gmpool_super_ser, 4096, super_members),
	STRUCT(gmpool_extent_ser, 16, extent_members),
	STRUCT(gmpool_root_ser, 8, root_members),
	STRUCT(gmpool_chunk_ser, 16, chunk_members),
	STRUCT(gmpool_table_ser, 4096, table_members),
	STRUCT(gmpool_meta_ser, 64, meta_members),
	STRUCT(gmpool_bitmap_ser, 4096, bitmap_members),
	STRUCT(gmpool_poison_ser, 4096, poison_members),
	STRUCT(gmfs_super_ser, 4096, fs_super_members),
	STRUCT(gmfs_inode_ser, 256, fs_inode_members),
	STRUCT(gmfs_dirent_ser, 32, fs_dirent_members),
	STRUCT(gmfs_extent_ser, 32, fs_extent_members),
	STRUCT(gmfs_attr_ser, 32, fs_attr_members),
	STRUCT(gmfs_file_ser, 40, fs_file_members),
	STRUCT(gmpool_tunables_ser, 4096, tunables_members),
};

KUNIT_ARRAY_PARAM_DESC(golden, golden_structs, name);

/*
 * If this fails, the next kernel would misread the data. Give the format a new
 * version or a feature bit instead of changing these numbers.
 */
static void golden_layout(struct kunit *test)
{
	const struct golden_struct *s = test->param_value;
	const struct golden_member *m;
	size_t end = 0;

	KUNIT_EXPECT_EQ(test, s->size, s->golden_size);
	for (m = s->members; m->name; m++) {
		KUNIT_EXPECT_EQ_MSG(test, m->is.offset, m->golden.offset, "%s", m->name);
		KUNIT_EXPECT_EQ_MSG(test, m->is.size, m->golden.size, "%s", m->name);
		KUNIT_EXPECT_EQ_MSG(test, m->is.offset, end, "padding before %s", m->name);
		end = m->is.offset + m->is.size;
	}
	KUNIT_EXPECT_EQ(test, end, s->size);
}

static void golden_values(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, GMPOOL_SUBTREE_FMT, "gmp%u");
	KUNIT_EXPECT_EQ(test, GMPOOL_SUPER_MAGIC, 0x4c4f4f504d454d47ULL);
	KUNIT_EXPECT_EQ(test, GMPOOL_TABLE_MAGIC, 0x42544d47U);
	KUNIT_EXPECT_EQ(test, GMPOOL_META_MAGIC, 0x424d4d47U);
	KUNIT_EXPECT_EQ(test, GMPOOL_VERSION, 1);
	KUNIT_EXPECT_EQ(test, GMFS_VERSION, 1);
	KUNIT_EXPECT_EQ(test, GMPOOL_BLOCK_SHIFT, 21);
	KUNIT_EXPECT_EQ(test, GMPOOL_BLOCK_SIZE, 2097152ULL);
	KUNIT_EXPECT_EQ(test, GMPOOL_META_SHIFT, 12);
	KUNIT_EXPECT_EQ(test, GMPOOL_META_SIZE, 4096U);
	KUNIT_EXPECT_EQ(test, GMPOOL_BLOB_SIZE, 8192U);
	KUNIT_EXPECT_EQ(test, GMPOOL_MAX_EXTENTS, 64);
	KUNIT_EXPECT_EQ(test, GMPOOL_MAX_TABLES, 128);
	KUNIT_EXPECT_EQ(test, GMPOOL_MAX_ROOTS, 8);
	KUNIT_EXPECT_EQ(test, GMPOOL_TABLE_CHUNKS, 252);
	KUNIT_EXPECT_EQ(test, GMPOOL_BITMAP_WORDS, 504);
	KUNIT_EXPECT_EQ(test, GMPOOL_BITMAP_BITS, 32256);

	KUNIT_EXPECT_EQ(test, GMPOOL_STATE_LIVE, 1);
	KUNIT_EXPECT_EQ(test, GMPOOL_STATE_SEALED, 2);
	KUNIT_EXPECT_EQ(test, GMPOOL_OWNER_NONE, 0);
	KUNIT_EXPECT_EQ(test, GMPOOL_OWNER_GUESTMEMFS, 1);
	KUNIT_EXPECT_EQ(test, GMPOOL_META_FREE, 0);
	KUNIT_EXPECT_EQ(test, GMPOOL_META_USED, 1);
	KUNIT_EXPECT_EQ(test, GMPOOL_META_DIRTY, 2);
	KUNIT_EXPECT_EQ(test, GMFS_META_SUPER, 16);
	KUNIT_EXPECT_EQ(test, GMFS_META_INODES, 17);
	KUNIT_EXPECT_EQ(test, GMFS_META_DIRENTS, 18);
	KUNIT_EXPECT_EQ(test, GMFS_META_EXTENTS, 19);

	KUNIT_EXPECT_EQ(test, GMFS_INODES_PER_BLOCK, 16);
	KUNIT_EXPECT_EQ(test, GMFS_INO(1, 0), 16ULL);
	KUNIT_EXPECT_EQ(test, GMFS_INO(U32_MAX, 15), 0xfffffffffULL);
	KUNIT_EXPECT_EQ(test, GMFS_INO_MBN(0xfffffffffULL), 0xffffffffULL);
	KUNIT_EXPECT_EQ(test, GMFS_INO_SLOT(0xfffffffffULL), 15ULL);
	KUNIT_EXPECT_EQ(test, GMFS_DIRENT_SLOT, 64);
	KUNIT_EXPECT_EQ(test, GMFS_DIRENT_SLOTS, 64);
	KUNIT_EXPECT_EQ(test, GMFS_NAME_MAX, 255);
	KUNIT_EXPECT_EQ(test, GMFS_EXTENTS_PER_BLOCK, 126);
}

/* crc32c, seed ~0, not inverted at the end, computed by another program. */
static void golden_checksums(struct kunit *test)
{
	u8 *page = kunit_kzalloc(test, GMPOOL_META_SIZE, GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, gmpool_super_csum((void *)page), 0x6706be76);
	KUNIT_EXPECT_EQ(test, gmpool_table_csum((void *)page), 0x6706be76);

	/* All bytes count, except the checksum itself. */
	for (i = 0; i < GMPOOL_META_SIZE; i++)
		page[i] = i * 7;
	KUNIT_EXPECT_EQ(test, gmpool_super_csum((void *)page), 0x83b11512);
	KUNIT_EXPECT_EQ(test, gmpool_table_csum((void *)page), 0x8d09f786);
	for (i = 8; i < 12; i++)
		page[i]++;
	KUNIT_EXPECT_EQ(test, gmpool_super_csum((void *)page), 0x83b11512);
	for (i = 4; i < 12; i++)
		page[i] = i < 8 ? 0xaa : i * 7;
	KUNIT_EXPECT_EQ(test, gmpool_table_csum((void *)page), 0x8d09f786);
}

/* 252 metadata blocks in the chunks of a full table, 21 in another one. */
#define NR_META		(252 + 1 + 4 + 16)

/*
 * A valid super block, in the first half of a blob. In its memory, the second
 * and third extent are adjacent:
 *
 *   1 GiB       2 GiB        4 GiB      6 GiB  6.125 GiB
 *     | extent 0  |     ...    | extent 1 | ext. 2 |
 */
static struct gmpool_super_ser *make_super(struct kunit *test)
{
	struct gmpool_super_ser *super;

	super = kunit_kzalloc(test, GMPOOL_BLOB_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, super);

	super->magic = GMPOOL_SUPER_MAGIC;
	super->version = GMPOOL_VERSION;
	super->super_size = sizeof(*super);
	super->state = GMPOOL_STATE_SEALED;
	memset(super->uuid, 0x5a, sizeof(super->uuid));
	super->extents[0].base = SZ_1G;
	super->extents[0].size = SZ_1G;
	super->extents[1].base = 4ULL * SZ_1G;
	super->extents[1].size = 2ULL * SZ_1G;
	super->extents[2].base = 6ULL * SZ_1G;
	super->extents[2].size = SZ_128M;
	super->nr_extents = 3;
	super->total_blocks = 512 + 1024 + 64;
	super->generation = 7;
	super->nid = 1;
	super->block_shift = GMPOOL_BLOCK_SHIFT;
	super->tables[0] = 0x100000;
	super->tables[1] = 0x9000;
	super->nr_tables = 2;
	super->nr_meta = NR_META;
	strscpy(super->release, "7.3.4-test");
	super->roots[0].owner = GMPOOL_OWNER_GUESTMEMFS;
	super->roots[0].mbn = 3;
	gmpool_super_update(super);
	return super;
}

static void super_valid(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);
	const char *error = "untouched";
	bool read_only = true;

	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));
	KUNIT_EXPECT_NULL(test, gmpool_super_usable(super, &read_only));
	KUNIT_EXPECT_FALSE(test, read_only);
	KUNIT_EXPECT_PTR_EQ(test, gmpool_super_pick(super, GRANULARITY, &error), super);
	KUNIT_EXPECT_NULL(test, error);
	/* The second copy is identical. */
	KUNIT_EXPECT_MEMEQ(test, super, (void *)super + GMPOOL_META_SIZE,
			   GMPOOL_META_SIZE);
}

#define E_VERSION	"format version is not known to this kernel"
#define E_FEATURE	"has features that are not known to this kernel"
#define E_STATE		"was not frozen by the kernel before"
#define E_NO_META	"has no metadata"
#define E_RESERVED	"has a reserved field in use"

/**
 * struct damage - one field with another value
 * @name: name in the log
 * @field: the field; of more than 8 bytes, the first 8 are written
 * @value: value to write
 * @check: expected error of the check; NULL if it must pass
 * @usable: expected result of gmpool_super_usable() afterwards
 * @read_only: expected read-only flag
 */
struct damage {
	const char *name;
	struct field field;
	u64 value;
	const char *check;
	const char *usable;
	bool read_only;
};

static const struct damage super_damages[] = {
	{ "magic zero", FIELD(SUPER->magic), 0, "magic number" },
	{ "magic, one bit", FIELD(SUPER->magic), GMPOOL_SUPER_MAGIC ^ 1, "magic number" },
	{ "magic, high bit", FIELD(SUPER->magic), GMPOOL_SUPER_MAGIC ^ BIT_ULL(63),
	  "magic number" },

	{ "version 0", FIELD(SUPER->version), 0, NULL, E_VERSION },
	{ "version 2", FIELD(SUPER->version), 2, NULL, E_VERSION },
	{ "version -1", FIELD(SUPER->version), U32_MAX, NULL, E_VERSION },

	{ "super_size 0", FIELD(SUPER->super_size), 0, "size" },
	{ "super_size less", FIELD(SUPER->super_size), 4095, "size" },
	{ "super_size more", FIELD(SUPER->super_size), 8192, "size" },

	{ "state 0", FIELD(SUPER->state), 0, NULL, E_STATE },
	{ "state live", FIELD(SUPER->state), GMPOOL_STATE_LIVE, NULL, E_STATE },
	{ "state 3", FIELD(SUPER->state), 3, NULL, E_STATE },
	{ "state with a bit more", FIELD(SUPER->state), BIT(31) | GMPOOL_STATE_SEALED,
	  NULL, E_STATE },

	{ "compat bit 0", FIELD(SUPER->feature_compat), 1 },
	{ "compat bit 63", FIELD(SUPER->feature_compat), BIT_ULL(63) },
	{ "compat all", FIELD(SUPER->feature_compat), U64_MAX },
	{ "ro_compat bit 0", FIELD(SUPER->feature_ro_compat), 1 },
	{ "ro_compat bit 1", FIELD(SUPER->feature_ro_compat), 2 },
	{ "ro_compat bit 2", FIELD(SUPER->feature_ro_compat), 4, .read_only = true },
	{ "ro_compat bit 32", FIELD(SUPER->feature_ro_compat), BIT_ULL(32), .read_only = true },
	{ "ro_compat bit 63", FIELD(SUPER->feature_ro_compat), BIT_ULL(63), .read_only = true },
	{ "incompat bit 0", FIELD(SUPER->feature_incompat), 1 },
	/* All extents have number 0 then. */
	{ "incompat bit 1", FIELD(SUPER->feature_incompat), 2, NULL,
	  "has two blocks of one number" },
	{ "incompat bit 2", FIELD(SUPER->feature_incompat), 4, NULL, E_FEATURE },
	{ "incompat bit 32", FIELD(SUPER->feature_incompat), BIT_ULL(32), NULL, E_FEATURE },
	{ "incompat bit 63", FIELD(SUPER->feature_incompat), BIT_ULL(63), NULL, E_FEATURE },

	/* Any uuid is valid here: it only has to match that of the metadata. */
	{ "uuid", FIELD(SUPER->uuid), 0 },

	{ "total_blocks 0", FIELD(SUPER->total_blocks), 0, "number of blocks" },
	{ "total_blocks less", FIELD(SUPER->total_blocks), 1599, "number of blocks" },
	{ "total_blocks more", FIELD(SUPER->total_blocks), 1601, "number of blocks" },
	{ "total_blocks beyond 32 bits", FIELD(SUPER->total_blocks), BIT_ULL(32) + 1600,
	  "number of blocks" },

	/* A count and a hint. */
	{ "generation", FIELD(SUPER->generation), U64_MAX },
	{ "nid", FIELD(SUPER->nid), U32_MAX },

	{ "block_shift 0", FIELD(SUPER->block_shift), 0, "block size" },
	{ "block_shift less", FIELD(SUPER->block_shift), 20, "block size" },
	{ "block_shift more", FIELD(SUPER->block_shift), 22, "block size" },
	{ "block_shift beyond 64 bits", FIELD(SUPER->block_shift), 64 + 21, "block size" },

	{ "nr_extents 0", FIELD(SUPER->nr_extents), 0, "number of extents" },
	{ "nr_extents less", FIELD(SUPER->nr_extents), 2, "unused extent" },
	{ "nr_extents more", FIELD(SUPER->nr_extents), 4, "alignment of an extent" },
	{ "nr_extents at most", FIELD(SUPER->nr_extents), 64, "alignment of an extent" },
	{ "nr_extents too many", FIELD(SUPER->nr_extents), 65, "number of extents" },
	{ "nr_extents -1", FIELD(SUPER->nr_extents), U32_MAX, "number of extents" },

	{ "nr_tables 0", FIELD(SUPER->nr_tables), 0, "address of a chunk table" },
	{ "nr_tables less", FIELD(SUPER->nr_tables), 1, "address of a chunk table" },
	{ "nr_tables more", FIELD(SUPER->nr_tables), 3, "address of a chunk table" },
	{ "nr_tables at most", FIELD(SUPER->nr_tables), 128, "address of a chunk table" },
	{ "nr_tables too many", FIELD(SUPER->nr_tables), 129, "number of chunk tables" },
	{ "nr_tables -1", FIELD(SUPER->nr_tables), U32_MAX, "number of chunk tables" },

	{ "nr_meta 0", FIELD(SUPER->nr_meta), 0, NULL, E_NO_META },

	{ "reserved0", FIELD(SUPER->reserved0), 1, NULL, E_RESERVED },
	{ "reserved0, high bit", FIELD(SUPER->reserved0), BIT(31), NULL, E_RESERVED },
	{ "reserved1 first", FIELD(SUPER->reserved1[0]), 1, NULL, E_RESERVED },
	{ "reserved1 last", FIELD(SUPER->reserved1[783]), 0x80, NULL, E_RESERVED },
	{ "first without the feature", FIELD(SUPER->first[0]), 1, NULL, E_RESERVED },
	{ "first[63] without the feature", FIELD(SUPER->first[63]), BIT_ULL(63), NULL,
	  E_RESERVED },
	{ "reserved2 first", FIELD(SUPER->reserved2[0]), 1, NULL, E_RESERVED },
	{ "reserved2 last", FIELD(SUPER->reserved2[511]), 0x80, NULL, E_RESERVED },

	/* Empty, or any text that ends before the last byte. */
	{ "release empty", FIELD(SUPER->release[0]), 0 },
	{ "release with a NUL more", FIELD(SUPER->release[3]), 0 },

	/* Not checked here: the client checks its own root. */
	{ "roots[0].owner", FIELD(SUPER->roots[0].owner), 99 },
	{ "roots[0].mbn", FIELD(SUPER->roots[0].mbn), U32_MAX },
	{ "roots[7].owner", FIELD(SUPER->roots[7].owner), 1 },

	{ "extents[0].base by a byte", FIELD(SUPER->extents[0].base), SZ_1G + 1,
	  "alignment of an extent" },
	{ "extents[0].base by a block", FIELD(SUPER->extents[0].base), SZ_1G + SZ_2M,
	  "alignment of an extent" },
	{ "extents[0].base into the next", FIELD(SUPER->extents[0].base),
	  4ULL * SZ_1G, "order of the extents" },
	{ "extents[0].base above the next", FIELD(SUPER->extents[0].base),
	  64ULL * SZ_1G, "order of the extents" },
	{ "extents[0].size 0", FIELD(SUPER->extents[0].size), 0,
	  "alignment of an extent" },
	{ "extents[0].size by a block", FIELD(SUPER->extents[0].size), SZ_1G - SZ_2M,
	  "alignment of an extent" },
	{ "extents[0].size less", FIELD(SUPER->extents[0].size), SZ_1G - SZ_128M,
	  "number of blocks" },
	{ "extents[0].size into the next", FIELD(SUPER->extents[0].size),
	  3ULL * SZ_1G + SZ_128M, "order of the extents" },
	{ "extents[0].size wraps", FIELD(SUPER->extents[0].size),
	  U64_MAX - SZ_128M + 1, "size of an extent" },
	{ "extents[1].base into the one before", FIELD(SUPER->extents[1].base),
	  2ULL * SZ_1G - SZ_128M, "order of the extents" },
	{ "extents[1].base same as the one before", FIELD(SUPER->extents[1].base),
	  SZ_1G, "order of the extents" },
	{ "extents[1].base 0", FIELD(SUPER->extents[1].base), 0, "order of the extents" },
	{ "extents[2].base by less than a section", FIELD(SUPER->extents[2].base),
	  6ULL * SZ_1G + SZ_64M, "alignment of an extent" },
	{ "extents[2].base at the end of all", FIELD(SUPER->extents[2].base),
	  U64_MAX - SZ_128M + 1, "size of an extent" },
	{ "extents[2].size up to the end of all", FIELD(SUPER->extents[2].size),
	  U64_MAX - 6ULL * SZ_1G + 1, "size of an extent" },
	{ "extents[3].base unused", FIELD(SUPER->extents[3].base), 8ULL * SZ_1G,
	  "unused extent" },
	{ "extents[3].size unused", FIELD(SUPER->extents[3].size), SZ_1G,
	  "unused extent" },
	{ "extents[63].size unused", FIELD(SUPER->extents[63].size), BIT_ULL(63),
	  "unused extent" },

	{ "tables[0] 0", FIELD(SUPER->tables[0]), 0, "address of a chunk table" },
	{ "tables[0] by a byte", FIELD(SUPER->tables[0]), 0x100001,
	  "address of a chunk table" },
	{ "tables[1] by half a page", FIELD(SUPER->tables[1]), 0x9800,
	  "address of a chunk table" },
	{ "tables[2] unused", FIELD(SUPER->tables[2]), 0xa000,
	  "address of a chunk table" },
	{ "tables[127] unused", FIELD(SUPER->tables[127]), 0xa000,
	  "address of a chunk table" },
};

KUNIT_ARRAY_PARAM_DESC(super_damage, super_damages, name);

/* As KUNIT_EXPECT_STREQ(), but NULL, for no error, equals NULL. */
static void expect_verdict(struct kunit *test, const char *verdict,
			   const char *expected)
{
	KUNIT_EXPECT_STREQ(test, verdict ?: "valid", expected ?: "valid");
}

static void do_damage(void *to, const struct damage *d)
{
	memcpy(to + d->field.offset, &d->value, min(d->field.size, sizeof(d->value)));
}

static void super_damaged(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);
	const struct damage *d = test->param_value;
	bool read_only = !d->read_only;

	do_damage(super, d);
	gmpool_super_update(super);

	expect_verdict(test, gmpool_super_check(super, GRANULARITY), d->check);
	if (d->check)
		return;
	expect_verdict(test, gmpool_super_usable(super, &read_only), d->usable);
	KUNIT_EXPECT_EQ(test, read_only, d->read_only);
}

/* Damage that takes more than one value. */
static void super_damaged_in_places(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);
	bool read_only;

	/* A release without a NUL, and with one in the last byte. */
	memset(super->release, 'r', sizeof(super->release));
	gmpool_super_update(super);
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));
	KUNIT_EXPECT_STREQ(test, gmpool_super_usable(super, &read_only),
			   "has no end of the kernel release");
	super->release[sizeof(super->release) - 1] = '\0';
	KUNIT_EXPECT_NULL(test, gmpool_super_usable(super, &read_only));

	/* Without tables, the super block is valid, but not usable. */
	super = make_super(test);
	super->tables[0] = 0;
	super->tables[1] = 0;
	super->nr_tables = 0;
	gmpool_super_update(super);
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));
	KUNIT_EXPECT_STREQ(test, gmpool_super_usable(super, &read_only), E_NO_META);

	/*
	 * The version is checked first: other fields may differ between
	 * versions.
	 */
	super = make_super(test);
	super->version = 2;
	super->feature_incompat = 4;
	super->state = 0;
	super->reserved0 = 1;
	gmpool_super_update(super);
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));
	KUNIT_EXPECT_STREQ(test, gmpool_super_usable(super, &read_only), E_VERSION);

	/* Read-only and incompatible features together: not usable. */
	super = make_super(test);
	super->feature_ro_compat = 4;
	super->feature_incompat = 4;
	gmpool_super_update(super);
	KUNIT_EXPECT_STREQ(test, gmpool_super_usable(super, &read_only), E_FEATURE);
	KUNIT_EXPECT_TRUE(test, read_only);
}

/* Limits of the format. */
static void super_extents(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);
	const size_t size = sizeof(super->extents);
	unsigned int i;

	/* The maximum number, from address 0, all adjacent. */
	for (i = 0; i < GMPOOL_MAX_EXTENTS; i++) {
		super->extents[i].base = i * GRANULARITY;
		super->extents[i].size = GRANULARITY;
	}
	super->nr_extents = GMPOOL_MAX_EXTENTS;
	super->total_blocks = GMPOOL_MAX_EXTENTS * 64;
	gmpool_super_update(super);
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));
	/* A kernel with larger sections cannot remove them from memblock. */
	KUNIT_EXPECT_STREQ(test, gmpool_super_check(super, 2 * GRANULARITY),
			   "alignment of an extent");
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, SZ_2M));
	super->extents[GMPOOL_MAX_EXTENTS - 1].base -= GRANULARITY;
	gmpool_super_update(super);
	KUNIT_EXPECT_STREQ(test, gmpool_super_check(super, GRANULARITY),
			   "order of the extents");

	/* Two that share one block, two adjacent ones, and in reverse order. */
	memset(super->extents, 0, size);
	super->extents[0].base = SZ_1G;
	super->extents[0].size = 2 * SZ_2M;
	super->extents[1].base = SZ_1G + SZ_2M;
	super->extents[1].size = 2 * SZ_2M;
	super->nr_extents = 2;
	super->total_blocks = 4;
	gmpool_super_update(super);
	KUNIT_EXPECT_STREQ(test, gmpool_super_check(super, SZ_2M), "order of the extents");
	super->extents[1].base = SZ_1G + 2 * SZ_2M;
	gmpool_super_update(super);
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, SZ_2M));
	swap(super->extents[0], super->extents[1]);
	gmpool_super_update(super);
	KUNIT_EXPECT_STREQ(test, gmpool_super_check(super, SZ_2M), "order of the extents");

	/* One, up to the last section but one. */
	memset(super->extents, 0, size);
	super->extents[0].size = U64_MAX - 2 * GRANULARITY + 1;
	super->nr_extents = 1;
	super->total_blocks = super->extents[0].size >> GMPOOL_BLOCK_SHIFT;
	gmpool_super_update(super);
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));

	/* The sum of sizes would be right after a wrap. */
	memset(super->extents, 0, size);
	super->extents[0].size = BIT_ULL(63);
	super->extents[1].base = BIT_ULL(63);
	super->extents[1].size = BIT_ULL(63) + SZ_1G;
	super->nr_extents = 2;
	super->total_blocks = 512;
	gmpool_super_update(super);
	KUNIT_EXPECT_STREQ(test, gmpool_super_check(super, GRANULARITY),
			   "size of an extent");
}

/* Only the checksum finds a flipped bit here. */
static void super_flipped(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);
	u8 *bytes = (u8 *)super;
	unsigned int i, pass;

	for (i = 0; i < sizeof(*super); i++) {
		for (pass = 0; pass < 2; pass++) {
			u8 flip = pass ? 0xff : BIT(i % 8);
			const char *error;

			bytes[i] ^= flip;
			error = gmpool_super_check(super, GRANULARITY);
			bytes[i] ^= flip;
			KUNIT_ASSERT_NOT_NULL_MSG(test, error, "byte %u", i);
			KUNIT_ASSERT_STREQ_MSG(test, error,
					       i < 8 ? "magic number" : "checksum",
					       "byte %u", i);
		}
	}
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));
}

static void super_pick(struct kunit *test)
{
	struct gmpool_super_ser *first = make_super(test);
	struct gmpool_super_ser *second = (void *)first + GMPOOL_META_SIZE;
	const char *error;

	first->magic ^= 1;
	KUNIT_EXPECT_PTR_EQ(test, gmpool_super_pick(first, GRANULARITY, &error), second);
	KUNIT_EXPECT_STREQ(test, error, "magic number");
	first->magic ^= 1;

	first->generation++;
	KUNIT_EXPECT_PTR_EQ(test, gmpool_super_pick(first, GRANULARITY, &error), second);
	KUNIT_EXPECT_STREQ(test, error, "checksum");

	/* Returns the error of the first copy, also if both are damaged. */
	second->magic ^= 1;
	KUNIT_EXPECT_NULL(test, gmpool_super_pick(first, GRANULARITY, &error));
	KUNIT_EXPECT_STREQ(test, error, "checksum");
	first->generation--;

	/* A damaged second copy is not an error. */
	KUNIT_EXPECT_PTR_EQ(test, gmpool_super_pick(first, GRANULARITY, &error), first);
	KUNIT_EXPECT_NULL(test, error);

	gmpool_super_update(first);
	KUNIT_EXPECT_NULL(test, gmpool_super_check(second, GRANULARITY));

	memset(first, 0, GMPOOL_BLOB_SIZE);
	KUNIT_EXPECT_NULL(test, gmpool_super_pick(first, GRANULARITY, &error));
	KUNIT_EXPECT_STREQ(test, error, "magic number");
	memset(first, 0xff, GMPOOL_BLOB_SIZE);
	KUNIT_EXPECT_NULL(test, gmpool_super_pick(first, GRANULARITY, &error));
}

/* Properties of each valid super block, checked independently. */
static void assert_super_valid(struct kunit *test,
			       const struct gmpool_super_ser *super)
{
	u64 blocks = 0;
	unsigned int i, j;

	KUNIT_ASSERT_GE(test, super->nr_extents, 1);
	KUNIT_ASSERT_LE(test, super->nr_extents, 64);
	KUNIT_ASSERT_LE(test, super->nr_tables, 128);
	for (i = 0; i < super->nr_extents; i++) {
		const struct gmpool_extent_ser *a = &super->extents[i];

		KUNIT_ASSERT_GT(test, a->base + a->size, a->base);
		KUNIT_ASSERT_EQ(test, a->base % GRANULARITY, 0);
		KUNIT_ASSERT_EQ(test, a->size % GRANULARITY, 0);
		for (j = 0; j < i; j++)
			KUNIT_ASSERT_LE(test, super->extents[j].base + super->extents[j].size,
					a->base);
		blocks += a->size / GMPOOL_BLOCK_SIZE;
	}
	KUNIT_ASSERT_EQ(test, super->total_blocks, blocks);
	for (i = 0; i < super->nr_tables; i++) {
		KUNIT_ASSERT_NE(test, super->tables[i], 0);
		KUNIT_ASSERT_EQ(test, super->tables[i] % 4096, 0);
	}
}

/* Random values in random fields, with a correct checksum. */
static void super_random(struct kunit *test)
{
	struct gmpool_super_ser *good = make_super(test);
	struct gmpool_super_ser *super = make_super(test);
	unsigned int n, i, nr, passed = 0;
	struct rnd_state rnd;

	gmpool_test_seed(test, &rnd, seed);
	for (n = 0; n < 5000; n++) {
		*super = *good;
		nr = gmpool_test_random(&rnd, 1, 3);
		for (i = 0; i < nr; i++) {
			const struct damage *d;

			d = &super_damages[gmpool_test_random(&rnd, 0,
							      ARRAY_SIZE(super_damages) - 1)];
			do_damage(super, d);
			/* Often a random value rather than a listed one. */
			if (gmpool_test_random(&rnd, 0, 1)) {
				u64 value = prandom_u32_state(&rnd);

				value <<= gmpool_test_random(&rnd, 0, 32);
				memcpy((void *)super + d->field.offset, &value,
				       min(d->field.size, sizeof(value)));
			}
		}
		gmpool_super_update(super);
		if (gmpool_super_check(super, GRANULARITY))
			continue;
		assert_super_valid(test, super);
		passed++;
	}
	KUNIT_EXPECT_GT(test, passed, 0);
}

/* Make a chunk table that fits make_super(). */
static struct gmpool_table_ser *make_table(struct kunit *test, u32 index)
{
	struct gmpool_table_ser *table;
	unsigned int i;

	table = kunit_kzalloc(test, sizeof(*table), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, table);
	table->magic = GMPOOL_TABLE_MAGIC;
	memset(table->uuid, 0x5a, sizeof(table->uuid));
	table->index = index;
	if (!index) {
		for (i = 0; i < GMPOOL_TABLE_CHUNKS; i++) {
			/*
			 * Not in order of addresses: only block numbers must
			 * ascend.
			 */
			table->chunks[i].phys = SZ_16M - i * SZ_4K;
			table->chunks[i].first = i;
			table->chunks[i].nr = 1;
		}
		table->nr = GMPOOL_TABLE_CHUNKS;
	} else {
		table->chunks[0] = (struct gmpool_chunk_ser){ SZ_32M, 252, 1 };
		table->chunks[1] = (struct gmpool_chunk_ser){ SZ_32M + SZ_16K, 253, 4 };
		table->chunks[2] = (struct gmpool_chunk_ser){ SZ_32M + SZ_64K, 257, 16 };
		table->nr = 3;
	}
	table->csum = gmpool_table_csum(table);
	return table;
}

static void table_valid(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);
	struct gmpool_table_ser *table;
	u32 nr_meta = 0;

	KUNIT_EXPECT_NULL(test, gmpool_table_check(make_table(test, 0), super, 0, &nr_meta));
	KUNIT_EXPECT_EQ(test, nr_meta, 252);
	KUNIT_EXPECT_NULL(test, gmpool_table_check(make_table(test, 1), super, 1, &nr_meta));
	KUNIT_EXPECT_EQ(test, nr_meta, NR_META);

	/* The last one may be full as well. */
	super->nr_tables = 1;
	super->nr_meta = 252;
	table = make_table(test, 0);
	nr_meta = 0;
	KUNIT_EXPECT_NULL(test, gmpool_table_check(table, super, 0, &nr_meta));
	KUNIT_EXPECT_EQ(test, nr_meta, 252);
}

/* Damage to the first table, which must be full. */
static const struct damage table0_damages[] = {
	{ "0: magic zero", FIELD(TABLE->magic), 0, "magic number" },
	{ "0: magic, one bit", FIELD(TABLE->magic), GMPOOL_TABLE_MAGIC ^ 1, "magic number" },
	{ "0: uuid first", FIELD(TABLE->uuid[0]), 0, "UUID" },
	{ "0: uuid last", FIELD(TABLE->uuid[15]), 0x5b, "UUID" },
	{ "0: index", FIELD(TABLE->index), 1, "index" },
	{ "0: index -1", FIELD(TABLE->index), U32_MAX, "index" },
	{ "0: nr 0", FIELD(TABLE->nr), 0, "number of chunks" },
	{ "0: nr less", FIELD(TABLE->nr), 251, "number of chunks" },
	{ "0: nr more", FIELD(TABLE->nr), 253, "number of chunks" },
	{ "0: nr -1", FIELD(TABLE->nr), U32_MAX, "number of chunks" },
	{ "0: reserved first", FIELD(TABLE->reserved[0]), 1, "reserved field" },
	{ "0: reserved last", FIELD(TABLE->reserved[31]), 0x80, "reserved field" },
	{ "0: chunks[0].phys 0", FIELD(TABLE->chunks[0].phys), 0, "address of a chunk" },
	{ "0: chunks[0].phys by a byte", FIELD(TABLE->chunks[0].phys), SZ_16M + 1,
	  "address of a chunk" },
	{ "0: chunks[0].phys at the end of all", FIELD(TABLE->chunks[0].phys),
	  U64_MAX - 4095, "address of a chunk" },
	{ "0: chunks[0].first", FIELD(TABLE->chunks[0].first), 1, "order of the chunks" },
	{ "0: chunks[0].nr 0", FIELD(TABLE->chunks[0].nr), 0, "size of a chunk" },
	{ "0: chunks[0].nr 2", FIELD(TABLE->chunks[0].nr), 2, "order of the chunks" },
	{ "0: chunks[0].nr 3", FIELD(TABLE->chunks[0].nr), 3, "size of a chunk" },
	{ "0: chunks[0].nr 512", FIELD(TABLE->chunks[0].nr), 512, "size of a chunk" },
	{ "0: chunks[0].nr 2^31", FIELD(TABLE->chunks[0].nr), BIT(31), "size of a chunk" },
	{ "0: chunks[9].first same", FIELD(TABLE->chunks[9].first), 8, "order of the chunks" },
	{ "0: chunks[9].first gap", FIELD(TABLE->chunks[9].first), 10, "order of the chunks" },
	{ "0: chunks[251].phys", FIELD(TABLE->chunks[251].phys), SZ_2K, "address of a chunk" },
};

/* Damage to the second table, which is the last. */
static const struct damage table1_damages[] = {
	{ "1: index", FIELD(TABLE->index), 0, "index" },
	{ "1: nr 0", FIELD(TABLE->nr), 0, "number of chunks" },
	{ "1: nr less", FIELD(TABLE->nr), 2, "unused chunk" },
	{ "1: nr more", FIELD(TABLE->nr), 4, "order of the chunks" },
	{ "1: nr at most", FIELD(TABLE->nr), 252, "order of the chunks" },
	{ "1: nr too many", FIELD(TABLE->nr), 253, "number of chunks" },
	{ "1: nr -1", FIELD(TABLE->nr), U32_MAX, "number of chunks" },
	{ "1: chunks[0].first", FIELD(TABLE->chunks[0].first), 0, "order of the chunks" },
	{ "1: chunks[1].phys by a page", FIELD(TABLE->chunks[1].phys), SZ_32M + SZ_4K,
	  "address of a chunk" },
	{ "1: chunks[2].phys by half its size", FIELD(TABLE->chunks[2].phys),
	  SZ_32M + SZ_32K, "address of a chunk" },
	{ "1: chunks[2].phys at the end of all", FIELD(TABLE->chunks[2].phys),
	  U64_MAX - SZ_64K + 1, "address of a chunk" },
	{ "1: chunks[2].nr less", FIELD(TABLE->chunks[2].nr), 8,
	  "number of metadata blocks" },
	{ "1: chunks[2].nr more", FIELD(TABLE->chunks[2].nr), 32, "size of a chunk" },
	{ "1: chunks[3].phys unused", FIELD(TABLE->chunks[3].phys), SZ_32M, "unused chunk" },
	{ "1: chunks[3].nr unused", FIELD(TABLE->chunks[3].nr), 1, "unused chunk" },
	{ "1: chunks[251].nr unused", FIELD(TABLE->chunks[251].nr), BIT(31), "unused chunk" },
};

KUNIT_ARRAY_PARAM_DESC(table0_damage, table0_damages, name);
KUNIT_ARRAY_PARAM_DESC(table1_damage, table1_damages, name);

static void expect_table_error(struct kunit *test, u32 index,
			       const struct damage *d)
{
	struct gmpool_table_ser *table = make_table(test, index);
	struct gmpool_super_ser *super = make_super(test);
	u32 nr_meta = index ? 252 : 0;

	do_damage(table, d);
	table->csum = gmpool_table_csum(table);
	expect_verdict(test, gmpool_table_check(table, super, index, &nr_meta), d->check);
	KUNIT_EXPECT_LE(test, nr_meta, super->nr_meta);
}

static void table0_damaged(struct kunit *test)
{
	expect_table_error(test, 0, test->param_value);
}

static void table1_damaged(struct kunit *test)
{
	expect_table_error(test, 1, test->param_value);
}

/* Valid tables with a super block that has another count. */
static void table_and_super_differ(struct kunit *test)
{
	struct gmpool_table_ser *table0 = make_table(test, 0);
	struct gmpool_table_ser *table1 = make_table(test, 1);
	struct gmpool_super_ser *super = make_super(test);
	u32 nr_meta = 252;

	super->nr_meta = NR_META + 1;
	KUNIT_EXPECT_STREQ(test, gmpool_table_check(table1, super, 1, &nr_meta),
			   "number of metadata blocks");
	super->nr_meta = NR_META - 1;
	nr_meta = 252;
	KUNIT_EXPECT_STREQ(test, gmpool_table_check(table1, super, 1, &nr_meta),
			   "size of a chunk");
	super->nr_meta = 100;
	nr_meta = 0;
	KUNIT_EXPECT_STREQ(test, gmpool_table_check(table0, super, 0, &nr_meta),
			   "size of a chunk");
	super->nr_meta = NR_META;

	/* With a further table, this one must be full. */
	super->nr_tables = 3;
	nr_meta = 252;
	KUNIT_EXPECT_STREQ(test, gmpool_table_check(table1, super, 1, &nr_meta),
			   "number of chunks");
	super->nr_tables = 2;

	/* One table twice, or instead of the other. */
	nr_meta = 252;
	KUNIT_EXPECT_STREQ(test, gmpool_table_check(table0, super, 1, &nr_meta), "index");
	nr_meta = 0;
	KUNIT_EXPECT_STREQ(test, gmpool_table_check(table1, super, 0, &nr_meta), "index");

	super->uuid[7] ^= 1;
	KUNIT_EXPECT_STREQ(test, gmpool_table_check(table0, super, 0, &nr_meta), "UUID");
}

static void table_flipped(struct kunit *test)
{
	struct gmpool_table_ser *table = make_table(test, 1);
	struct gmpool_super_ser *super = make_super(test);
	u8 *bytes = (u8 *)table;
	unsigned int i, pass;
	u32 nr_meta;

	for (i = 0; i < sizeof(*table); i++) {
		for (pass = 0; pass < 2; pass++) {
			u8 flip = pass ? 0xff : BIT(i % 8);
			const char *error;

			nr_meta = 252;
			bytes[i] ^= flip;
			error = gmpool_table_check(table, super, 1, &nr_meta);
			bytes[i] ^= flip;
			KUNIT_ASSERT_NOT_NULL_MSG(test, error, "byte %u", i);
			KUNIT_ASSERT_STREQ_MSG(test, error,
					       i < 4 ? "magic number" : "checksum",
					       "byte %u", i);
		}
	}
	nr_meta = 252;
	KUNIT_EXPECT_NULL(test, gmpool_table_check(table, super, 1, &nr_meta));
}

#define E_BOTH	"a block is used and dirty"
#define E_PAST	"a bit is set past the last block"

struct bitmaps_case {
	const char *name;
	u64 nr_blocks;
};

static const struct bitmaps_case bitmaps_cases[] = {
	{ "1 block", 1 },
	{ "63 blocks", 63 },
	{ "64 blocks", 64 },
	{ "65 blocks", 65 },
	{ "a bitmap less 64", GMPOOL_BITMAP_BITS - 64 },
	{ "a bitmap less 1", GMPOOL_BITMAP_BITS - 1 },
	{ "a bitmap", GMPOOL_BITMAP_BITS },
	{ "a bitmap and 1", GMPOOL_BITMAP_BITS + 1 },
	{ "two bitmaps less 1", 2 * GMPOOL_BITMAP_BITS - 1 },
	{ "two bitmaps", 2 * GMPOOL_BITMAP_BITS },
	{ "two bitmaps and 100", 2 * GMPOOL_BITMAP_BITS + 100 },
};

KUNIT_ARRAY_PARAM_DESC(bitmaps, bitmaps_cases, name);

#define MAX_BITMAPS	3

struct bitmaps {
	struct gmpool_bitmap_ser *used[MAX_BITMAPS];
	struct gmpool_bitmap_ser *dirty[MAX_BITMAPS];
};

static void flip_bit(struct gmpool_bitmap_ser **maps, u64 bit)
{
	u64 *bits = maps[bit / GMPOOL_BITMAP_BITS]->bits;

	bit %= GMPOOL_BITMAP_BITS;
	bits[bit / 64] ^= BIT_ULL(bit % 64);
}

static void bitmaps_check(struct kunit *test)
{
	const struct bitmaps_case *c = test->param_value;
	const u64 nr = DIV_ROUND_UP(c->nr_blocks, GMPOOL_BITMAP_BITS);
	const u64 nr_bits = nr * GMPOOL_BITMAP_BITS;
	const u64 near[] = { 0, 1, 63, 64, 65, c->nr_blocks / 2, GMPOOL_BITMAP_BITS - 1,
			     GMPOOL_BITMAP_BITS, c->nr_blocks - 1, c->nr_blocks,
			     c->nr_blocks + 1, nr_bits - 1 };
	struct bitmaps maps = { };
	u64 i, bit;

	/* Only as many as needed: a further access finds NULL. */
	for (i = 0; i < nr; i++) {
		maps.used[i] = kunit_kzalloc(test, sizeof(*maps.used[i]), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, maps.used[i]);
		maps.dirty[i] = kunit_kzalloc(test, sizeof(*maps.dirty[i]), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, maps.dirty[i]);
		/* The header is checked elsewhere. */
		memset(&maps.used[i]->hdr, 0xff, sizeof(maps.used[i]->hdr));
		memset(&maps.dirty[i]->hdr, 0xff, sizeof(maps.dirty[i]->hdr));
	}
	KUNIT_EXPECT_NULL(test, gmpool_bitmaps_check(maps.used, maps.dirty, c->nr_blocks));

	for (i = 0; i < ARRAY_SIZE(near); i++) {
		bit = near[i];
		if (bit >= nr_bits)
			continue;

		flip_bit(maps.used, bit);
		expect_verdict(test, gmpool_bitmaps_check(maps.used, maps.dirty, c->nr_blocks),
			       bit < c->nr_blocks ? NULL : E_PAST);
		flip_bit(maps.dirty, bit);
		KUNIT_EXPECT_STREQ_MSG(test,
				       gmpool_bitmaps_check(maps.used, maps.dirty, c->nr_blocks),
				       E_BOTH, "both bits %llu", bit);
		flip_bit(maps.used, bit);
		expect_verdict(test, gmpool_bitmaps_check(maps.used, maps.dirty, c->nr_blocks),
			       bit < c->nr_blocks ? NULL : E_PAST);
		flip_bit(maps.dirty, bit);
	}

	/* Each block is used or dirty, and one of them both. */
	for (bit = 0; bit < c->nr_blocks; bit++)
		flip_bit(bit % 3 ? maps.used : maps.dirty, bit);
	KUNIT_EXPECT_NULL(test, gmpool_bitmaps_check(maps.used, maps.dirty, c->nr_blocks));
	bit = c->nr_blocks - 1;
	flip_bit(bit % 3 ? maps.dirty : maps.used, bit);
	KUNIT_EXPECT_STREQ(test, gmpool_bitmaps_check(maps.used, maps.dirty, c->nr_blocks),
			   E_BOTH);
}

/* A pool with unknown features can have unknown metadata blocks. */
static void super_newer(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);

	KUNIT_EXPECT_FALSE(test, gmpool_super_newer(super));
	super->feature_ro_compat = GMPOOL_FEATURE_RO_COMPAT_POISON;
	KUNIT_EXPECT_FALSE(test, gmpool_super_newer(super));
	super->feature_ro_compat |= GMPOOL_FEATURE_RO_COMPAT_PINNED | 4;
	KUNIT_EXPECT_TRUE(test, gmpool_super_newer(super));
	super->feature_ro_compat = 0;
	super->feature_compat = GMPOOL_FEATURE_COMPAT_TUNABLES;
	KUNIT_EXPECT_FALSE(test, gmpool_super_newer(super));
	super->feature_compat |= 2;
	KUNIT_EXPECT_TRUE(test, gmpool_super_newer(super));
	/* Then the pool is not usable. */
	super->feature_compat = 0;
	super->feature_incompat = 4;
	KUNIT_EXPECT_FALSE(test, gmpool_super_newer(super));
}

struct tunables_case {
	const char *name;
	struct gmpool_tunables_ser ser;
	const char *error;
};

#define TUNABLES_BLOCKS	64

/* Differences from the defaults, except scrub_target. */
static const struct tunables_case tunables_cases[] = {
	{ "zero", { } },
	{ "all scrubbed", { .scrub_target = GMPOOL_SCRUB_ALL } },
	{ "target of all blocks", { .scrub_target = TUNABLES_BLOCKS } },
	{ "target of more", { .scrub_target = TUNABLES_BLOCKS + 1 }, "scrub_target" },
	{ "target nearly all", { .scrub_target = GMPOOL_SCRUB_ALL - 1 }, "scrub_target" },
	{ "any rate", { .scrub_rate = U64_MAX } },
	{ "reserve of all blocks", { .reserve = TUNABLES_BLOCKS } },
	{ "reserve of more", { .reserve = TUNABLES_BLOCKS + 1 }, "reserve" },
	{ "watermark of all blocks", { .low_watermark = TUNABLES_BLOCKS } },
	{ "watermark of more", { .low_watermark = U64_MAX }, "low_watermark" },
	{ "on-alloc", { .zeroing = GMPOOL_ZEROING_ON_ALLOC } },
	{ "zeroing 2", { .zeroing = 2 }, "zeroing" },
	{ "first-fit", { .policy = GMPOOL_POLICY_FIRST_FIT } },
	{ "policy 2", { .policy = 2 }, "policy" },
	{ "frozen", { .frozen = 1 } },
	{ "frozen 2", { .frozen = 2 }, "frozen" },
	{ "reserved first", { .reserved = { 1 } }, "a reserved field" },
	{ "reserved last", { .reserved = { [3987] = 1 } }, "a reserved field" },
};

KUNIT_ARRAY_PARAM_DESC(tunables, tunables_cases, name);

static void tunables_check(struct kunit *test)
{
	const struct tunables_case *c = test->param_value;
	const char *error;

	error = gmpool_tunables_check(&c->ser, TUNABLES_BLOCKS, false);
	KUNIT_EXPECT_STREQ(test, error ?: "valid", c->error ?: "valid");

	/*
	 * A newer kernel may have further settings, but no others in their
	 * place.
	 */
	error = gmpool_tunables_check(&c->ser, TUNABLES_BLOCKS, true);
	KUNIT_EXPECT_STREQ(test, error ?: "valid",
			   !c->error || !strcmp(c->error, "a reserved field") ?
			   "valid" : c->error);
}

static void poison_check(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);
	const u64 nr_pages = super->total_blocks * 512;
	struct gmpool_poison_ser *list;
	const char *error;
	u64 i;

	list = kunit_kzalloc(test, sizeof(*list), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, list);
	/* The header is checked elsewhere. */
	memset(&list->hdr, 0xff, sizeof(list->hdr));
	KUNIT_EXPECT_STREQ(test, gmpool_poison_check(list, super),
			   "pages have failed, but the pool lacks the feature");
	super->feature_ro_compat = GMPOOL_FEATURE_RO_COMPAT_POISON;
	KUNIT_EXPECT_NULL(test, gmpool_poison_check(list, super));

	for (i = 0; i < GMPOOL_POISON_PAGES; i++) {
		list->pages[i] = nr_pages - 1 - i;
		KUNIT_EXPECT_STREQ(test, gmpool_poison_check(list, super),
				   "a list of pages that have failed goes on past its end");
		list->nr++;
		KUNIT_EXPECT_NULL(test, gmpool_poison_check(list, super));
		list->pages[i] = nr_pages;
		error = gmpool_poison_check(list, super);
		KUNIT_EXPECT_STREQ(test, error,
				   "a page has failed that is not within the pool");
		list->pages[i] = nr_pages - 1 - i;
	}
	list->nr++;
	KUNIT_EXPECT_STREQ(test, gmpool_poison_check(list, super),
			   "too many pages in a list of those that have failed");
	list->nr = U64_MAX;
	KUNIT_EXPECT_STREQ(test, gmpool_poison_check(list, super),
			   "too many pages in a list of those that have failed");
}

/* make_super() with other numbers: 1600 to 2111, 64 to 1087, and 0 to 63. */
static struct gmpool_super_ser *make_numbered_super(struct kunit *test)
{
	struct gmpool_super_ser *super = make_super(test);

	super->feature_incompat = GMPOOL_FEATURE_INCOMPAT_NUMBERS;
	super->first[0] = 1600;
	super->first[1] = 64;
	super->first[2] = 0;
	gmpool_super_update(super);
	return super;
}

struct numbers_damage {
	const char *name;
	u32 index;
	u64 first;
	const char *error;
};

static const struct numbers_damage numbers_damages[] = {
	{ "none", 0, 1600 },
	{ "without a gap", 0, 1088 },
	{ "with a gap at the start", 2, 10000 },
	{ "last block of another", 0, 1087, "has two blocks of one number" },
	{ "first block of another", 0, 64, "has two blocks of one number" },
	{ "ends in another", 0, 0, "has two blocks of one number" },
	{ "within another", 2, 500, "has two blocks of one number" },
	{ "within another, near its end", 2, 1087, "has two blocks of one number" },
	{ "at most", 0, GMPOOL_MAX_BLOCKS - 512 },
	{ "too large", 0, GMPOOL_MAX_BLOCKS - 511, "has a block number that is too large" },
	{ "-1", 0, U64_MAX, "has a block number that is too large" },
	{ "unused", 3, 1, "has block numbers without an extent" },
	{ "last unused", 63, BIT_ULL(63), "has block numbers without an extent" },
};

KUNIT_ARRAY_PARAM_DESC(numbers_damage, numbers_damages, name);

static void super_numbers(struct kunit *test)
{
	struct gmpool_super_ser *super = make_numbered_super(test);
	const struct numbers_damage *d = test->param_value;
	bool read_only;

	super->first[d->index] = d->first;
	gmpool_super_update(super);
	/* Every kernel can take the memory out. */
	KUNIT_EXPECT_NULL(test, gmpool_super_check(super, GRANULARITY));
	expect_verdict(test, gmpool_super_usable(super, &read_only), d->error);
}

/* Bits of numbers that are no blocks, on both sides of each gap. */
static void bitmaps_check_numbers(struct kunit *test)
{
	struct gmpool_super_ser *super = make_numbered_super(test);
	static const u64 gap[] = { 1088, 1089, 1300, 1599, 40000, 49999 };
	static const u64 blocks[] = { 0, 63, 64, 1087, 1600, 2111, 50000, 50063 };
	struct gmpool_bitmap_ser *maps[2][2];
	u32 i, m;

	for (i = 0; i < 4; i++) {
		maps[i / 2][i % 2] = kunit_kzalloc(test, sizeof(*maps[0][0]), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, maps[i / 2][i % 2]);
	}
	super->first[2] = 50000;
	super->first[1] = 0;
	super->first[0] = 1600;
	for (m = 0; m < 2; m++) {
		for (i = 0; i < ARRAY_SIZE(gap) + ARRAY_SIZE(blocks); i++) {
			bool valid = i >= ARRAY_SIZE(gap);
			u64 block = valid ? blocks[i - ARRAY_SIZE(gap)] : gap[i];
			unsigned long *bits;

			/* From 1024 to 1087 too is a gap. */
			valid &= block != 1087;
			bits = (unsigned long *)maps[m][block / GMPOOL_BITMAP_BITS]->bits;
			__set_bit(block % GMPOOL_BITMAP_BITS, bits);
			expect_verdict(test, gmpool_bitmaps_check_numbers(maps[0], maps[1],
									  super),
				       valid ? NULL :
				       "a bit is set for a number that is no block");
			__clear_bit(block % GMPOOL_BITMAP_BITS, bits);
		}
	}
}

static struct kunit_case format_test_cases[] = {
	KUNIT_CASE_PARAM(golden_layout, golden_gen_params),
	KUNIT_CASE(golden_values),
	KUNIT_CASE(golden_checksums),
	KUNIT_CASE(super_valid),
	KUNIT_CASE_PARAM(super_damaged, super_damage_gen_params),
	KUNIT_CASE(super_damaged_in_places),
	KUNIT_CASE(super_extents),
	KUNIT_CASE_PARAM(super_numbers, numbers_damage_gen_params),
	KUNIT_CASE(bitmaps_check_numbers),
	KUNIT_CASE(super_flipped),
	KUNIT_CASE(super_pick),
	KUNIT_CASE(super_random),
	KUNIT_CASE(table_valid),
	KUNIT_CASE_PARAM(table0_damaged, table0_damage_gen_params),
	KUNIT_CASE_PARAM(table1_damaged, table1_damage_gen_params),
	KUNIT_CASE(table_and_super_differ),
	KUNIT_CASE(table_flipped),
	KUNIT_CASE_PARAM(bitmaps_check, bitmaps_gen_params),
	KUNIT_CASE(super_newer),
	KUNIT_CASE_PARAM(tunables_check, tunables_gen_params),
	KUNIT_CASE(poison_check),
	{}
};

static struct kunit_suite format_test_suite = {
	.name = "gmpool-format",
	.test_cases = format_test_cases,
};

kunit_test_suite(format_test_suite);

MODULE_DESCRIPTION("KUnit tests of the format of guest memory pools");
MODULE_LICENSE("GPL");
