// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the metadata blocks of a pool.
 */

#include <linux/err.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <kunit/resource.h>
#include <kunit/test.h>

#include <linux/kho/abi/guestmemfs.h>

#include "../numa/meta.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

static const u8 uuid[GMPOOL_UUID_SIZE] = {
	0x67, 0x75, 0x65, 0x73, 0x74, 0x6d, 0x65, 0x6d,
	0x66, 0x73, 0x20, 0x74, 0x65, 0x73, 0x74, 0x00,
};

/**
 * struct owner - provider of memory for metadata in these tests
 * @meta: the metadata
 * @test: the test
 * @chunk: blocks that the next call of grow() adds; 0 for none
 * @err: if not 0, grow() returns this instead of adding blocks
 * @calls: number of calls of grow()
 */
struct owner {
	struct gmpool_meta meta;
	struct kunit *test;
	u32 chunk;
	int err;
	unsigned int calls;
};

/* Memory filled with 'X': old contents must have no effect. */
static void *dirty_memory(struct kunit *test, u32 nr)
{
	void *mem = kunit_kmalloc(test, nr * GMPOOL_META_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mem);
	memset(mem, 'X', nr * GMPOOL_META_SIZE);
	return mem;
}

static int grow(struct gmpool_meta *meta)
{
	struct owner *owner = container_of(meta, struct owner, meta);

	lockdep_assert_held(&meta->lock);
	owner->calls++;
	if (owner->err)
		return owner->err;
	if (!owner->chunk)
		return 0;
	return gmpool_meta_add_chunk(meta, dirty_memory(owner->test, owner->chunk),
				     meta->nr, owner->chunk, true);
}

KUNIT_DEFINE_ACTION_WRAPPER(meta_destroy, gmpool_meta_destroy,
			    struct gmpool_meta *);

static struct owner *make_owner(struct kunit *test)
{
	struct owner *owner = kunit_kmalloc(test, sizeof(*owner), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, owner);
	memset(owner, 0xff, sizeof(*owner));
	gmpool_meta_init(&owner->meta, uuid, grow);
	owner->test = test;
	owner->chunk = 4;
	owner->err = 0;
	owner->calls = 0;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, meta_destroy, &owner->meta), 0);
	return owner;
}

static struct gmpool_meta_ser *alloc(struct kunit *test, struct owner *owner,
				     u16 type)
{
	struct gmpool_meta_ser *hdr = gmpool_meta_alloc(&owner->meta, type);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, hdr);
	return hdr;
}

/* Check all but the checksum, which may be outdated until sealing. */
static void assert_block(struct kunit *test, struct owner *owner, u32 mbn,
			 u16 type)
{
	const struct gmpool_meta_ser *hdr = gmpool_meta_block(&owner->meta, mbn);

	KUNIT_ASSERT_NOT_NULL(test, hdr);
	KUNIT_ASSERT_EQ(test, hdr->magic, GMPOOL_META_MAGIC);
	KUNIT_ASSERT_MEMEQ(test, hdr->uuid, uuid, sizeof(uuid));
	KUNIT_ASSERT_EQ(test, hdr->mbn, mbn);
	KUNIT_ASSERT_EQ(test, hdr->type, type);
	KUNIT_ASSERT_EQ(test, hdr->reserved0, 0);
	KUNIT_ASSERT_EQ(test, hdr->index, 0);
	KUNIT_ASSERT_NULL(test, memchr_inv(hdr->reserved1, 0, sizeof(hdr->reserved1)));
}

static bool payload_zero(const struct gmpool_meta_ser *hdr)
{
	return !memchr_inv(hdr + 1, 0, GMPOOL_META_SIZE - sizeof(*hdr));
}

static void assert_sealed(struct kunit *test, struct owner *owner)
{
	u32 mbn;

	for (mbn = 0; mbn < owner->meta.nr; mbn++) {
		const struct gmpool_meta_ser *hdr = gmpool_meta_block(&owner->meta, mbn);
		const char *error;

		KUNIT_ASSERT_NOT_NULL(test, hdr);
		error = gmpool_meta_check(hdr, uuid, mbn, false);
		/* Block 0 is never free in a pool. */
		KUNIT_ASSERT_STREQ_MSG(test, error ?: "valid",
				       mbn || hdr->type != GMPOOL_META_FREE ? "valid" : "free",
				       "block %u", mbn);
	}
}

static void nothing_yet(struct kunit *test)
{
	struct owner *owner = make_owner(test);

	KUNIT_EXPECT_EQ(test, owner->meta.nr, 0);
	KUNIT_EXPECT_EQ(test, owner->meta.nr_free, 0);
	KUNIT_EXPECT_MEMEQ(test, owner->meta.uuid, uuid, sizeof(uuid));
	KUNIT_EXPECT_NULL(test, gmpool_meta_block(&owner->meta, 0));
	KUNIT_EXPECT_NULL(test, gmpool_meta_block(&owner->meta, U32_MAX));
	KUNIT_EXPECT_NULL(test, gmpool_meta_next(&owner->meta, GMPOOL_META_FREE, NULL));
	gmpool_meta_seal(&owner->meta);
	KUNIT_EXPECT_EQ(test, owner->calls, 0);
}

static void add_fresh_chunks(struct kunit *test)
{
	struct owner *owner = make_owner(test);
	struct gmpool_meta *meta = &owner->meta;
	void *mem[2] = { dirty_memory(test, 4), dirty_memory(test, 1) };
	u32 mbn;

	KUNIT_ASSERT_EQ(test, gmpool_meta_add_chunk(meta, mem[0], 0, 4, true), 0);
	KUNIT_EXPECT_EQ(test, meta->nr, 4);
	KUNIT_EXPECT_EQ(test, meta->nr_free, 4);
	KUNIT_ASSERT_EQ(test, gmpool_meta_add_chunk(meta, mem[1], 4, 1, true), 0);
	KUNIT_EXPECT_EQ(test, meta->nr, 5);
	KUNIT_EXPECT_EQ(test, meta->nr_free, 5);

	for (mbn = 0; mbn < 5; mbn++) {
		assert_block(test, owner, mbn, GMPOOL_META_FREE);
		KUNIT_EXPECT_PTR_EQ(test, (void *)gmpool_meta_block(meta, mbn),
				    mbn < 4 ? mem[0] + mbn * GMPOOL_META_SIZE : mem[1]);
		KUNIT_EXPECT_TRUE(test, payload_zero(gmpool_meta_block(meta, mbn)));
	}
	KUNIT_EXPECT_NULL(test, gmpool_meta_block(meta, 5));
	gmpool_meta_seal(meta);
	assert_sealed(test, owner);
}

static void add_chunk_refused(struct kunit *test)
{
	struct owner *owner = make_owner(test);
	struct gmpool_meta *meta = &owner->meta;
	void *mem = dirty_memory(test, 4);
	unsigned int pass;

	for (pass = 0; pass < 2; pass++) {
		bool fresh = pass;

		/* A gap, and a chunk without blocks. */
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 1, 4, fresh), -EINVAL);
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 0, 0, fresh), -EINVAL);
		KUNIT_EXPECT_EQ(test, meta->nr, 0);
	}
	KUNIT_ASSERT_EQ(test, gmpool_meta_add_chunk(meta, dirty_memory(test, 4), 0, 4, true), 0);
	for (pass = 0; pass < 2; pass++) {
		bool fresh = pass;

		/* An overlap, a gap, and more blocks than numbers. */
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 0, 4, fresh), -EINVAL);
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 3, 4, fresh), -EINVAL);
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 5, 4, fresh), -EINVAL);
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 4, 0, fresh), -EINVAL);
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 4, U32_MAX, fresh), -EINVAL);
		KUNIT_EXPECT_EQ(test, gmpool_meta_add_chunk(meta, mem, 4, U32_MAX - 3, fresh),
				-EINVAL);
	}
	KUNIT_EXPECT_EQ(test, meta->nr, 4);
	KUNIT_EXPECT_EQ(test, meta->nr_free, 4);
	KUNIT_EXPECT_NULL(test, gmpool_meta_block(meta, 4));
	/* Refused memory is not written to. */
	KUNIT_EXPECT_NULL(test, memchr_inv(mem, 'X', 4 * GMPOOL_META_SIZE));
}

static void alloc_lowest_first(struct kunit *test)
{
	static const u32 freed[] = { 5, 2, 7, 0 };
	static const u32 expected[] = { 0, 2, 5, 7 };
	struct gmpool_meta_ser *hdr;
	struct owner *owner = make_owner(test);
	u32 i;

	owner->chunk = 8;
	for (i = 0; i < 8; i++) {
		hdr = alloc(test, owner, GMFS_META_INODES);
		KUNIT_EXPECT_EQ(test, hdr->mbn, i);
		KUNIT_EXPECT_EQ(test, owner->meta.nr_free, 7 - i);
		assert_block(test, owner, i, GMFS_META_INODES);
		KUNIT_EXPECT_TRUE(test, payload_zero(hdr));
		memset(hdr + 1, 'X', GMPOOL_META_SIZE - sizeof(*hdr));
	}
	KUNIT_EXPECT_EQ(test, owner->calls, 1);

	for (i = 0; i < ARRAY_SIZE(freed); i++) {
		hdr = gmpool_meta_block(&owner->meta, freed[i]);
		hdr->index = 99;
		gmpool_meta_free(&owner->meta, hdr);
		assert_block(test, owner, freed[i], GMPOOL_META_FREE);
		KUNIT_EXPECT_EQ(test, owner->meta.nr_free, i + 1);
		/* The old contents are zeroed. */
		KUNIT_EXPECT_TRUE(test, payload_zero(hdr));
	}
	for (i = 0; i < ARRAY_SIZE(expected); i++) {
		hdr = alloc(test, owner, GMFS_META_DIRENTS);
		KUNIT_EXPECT_EQ(test, hdr->mbn, expected[i]);
		assert_block(test, owner, expected[i], GMFS_META_DIRENTS);
		KUNIT_EXPECT_TRUE(test, payload_zero(hdr));
	}
	KUNIT_EXPECT_EQ(test, owner->meta.nr_free, 0);
	KUNIT_EXPECT_EQ(test, owner->calls, 1);
}

/* Free for the next kernel, but no other user of this one gets it. */
static void set_aside(struct kunit *test)
{
	struct owner *owner = make_owner(test);
	struct gmpool_meta *meta = &owner->meta;
	struct gmpool_meta_ser *hdr;
	u32 i;

	for (i = 0; i < 4; i++) {
		hdr = alloc(test, owner, GMPOOL_META_USED);
		hdr->index = i;
		memset(hdr + 1, 'X', GMPOOL_META_SIZE - sizeof(*hdr));
	}
	gmpool_meta_seal(meta);
	for (i = 1; i < 3; i++) {
		gmpool_meta_set_aside(meta, gmpool_meta_block(meta, i));
		assert_block(test, owner, i, GMPOOL_META_FREE);
		KUNIT_EXPECT_TRUE(test, payload_zero(gmpool_meta_block(meta, i)));
	}
	KUNIT_EXPECT_EQ(test, meta->nr_free, 0);
	gmpool_meta_seal(meta);
	assert_sealed(test, owner);
	KUNIT_EXPECT_EQ(test, alloc(test, owner, GMFS_META_INODES)->mbn, 4);

	/* It comes back although nothing can be allocated. */
	for (i = 0; i < 3; i++)
		alloc(test, owner, GMFS_META_INODES);
	owner->err = -ENOMEM;
	KUNIT_EXPECT_EQ(test, PTR_ERR(gmpool_meta_alloc(meta, GMFS_META_INODES)), -ENOMEM);
	hdr = gmpool_meta_block(meta, 1);
	gmpool_meta_reuse(meta, hdr, GMPOOL_META_DIRTY);
	assert_block(test, owner, 1, GMPOOL_META_DIRTY);
	gmpool_meta_seal(meta);
	assert_sealed(test, owner);

	/* Once it is released, others get it. */
	gmpool_meta_release(meta, gmpool_meta_block(meta, 2));
	KUNIT_EXPECT_EQ(test, meta->nr_free, 1);
	KUNIT_EXPECT_EQ(test, alloc(test, owner, GMFS_META_INODES)->mbn, 2);
	KUNIT_EXPECT_EQ(test, meta->nr_free, 0);
	gmpool_meta_seal(meta);
	assert_sealed(test, owner);
}

static void grow_when_empty(struct kunit *test)
{
	struct owner *owner = make_owner(test);
	struct gmpool_meta_ser *hdr;
	u32 i;

	/* grow() is not called before the last free block is taken. */
	for (i = 0; i < 12; i++) {
		hdr = alloc(test, owner, GMFS_META_EXTENTS);
		KUNIT_EXPECT_EQ(test, hdr->mbn, i);
		KUNIT_EXPECT_EQ(test, owner->calls, 1 + i / 4);
		KUNIT_EXPECT_EQ(test, owner->meta.nr, 4 + i / 4 * 4);
	}

	/* The caller gets the error of grow(), and nothing is changed. */
	owner->err = -ENOMEM;
	KUNIT_EXPECT_EQ(test, PTR_ERR(gmpool_meta_alloc(&owner->meta, GMFS_META_EXTENTS)), -ENOMEM);
	owner->err = -ENOSPC;
	KUNIT_EXPECT_EQ(test, PTR_ERR(gmpool_meta_alloc(&owner->meta, GMFS_META_EXTENTS)), -ENOSPC);
	KUNIT_EXPECT_EQ(test, owner->calls, 5);
	KUNIT_EXPECT_EQ(test, owner->meta.nr, 12);
	KUNIT_EXPECT_EQ(test, owner->meta.nr_free, 0);

	/* grow() that succeeds without adding blocks. */
	owner->err = 0;
	owner->chunk = 0;
	KUNIT_EXPECT_EQ(test, PTR_ERR(gmpool_meta_alloc(&owner->meta, GMFS_META_EXTENTS)), -ENOMEM);
	KUNIT_EXPECT_EQ(test, owner->calls, 6);

	/* grow() is not called while a block is free. */
	gmpool_meta_free(&owner->meta, gmpool_meta_block(&owner->meta, 6));
	KUNIT_EXPECT_EQ(test, alloc(test, owner, GMFS_META_SUPER)->mbn, 6);
	KUNIT_EXPECT_EQ(test, owner->calls, 6);

	owner->chunk = 1;
	KUNIT_EXPECT_EQ(test, alloc(test, owner, GMFS_META_SUPER)->mbn, 12);
	KUNIT_EXPECT_EQ(test, owner->calls, 7);
}

static void next_by_type(struct kunit *test)
{
	static const u16 types[] = {
		GMFS_META_INODES, GMFS_META_DIRENTS, GMFS_META_INODES, GMPOOL_META_USED,
		GMFS_META_DIRENTS, GMFS_META_SUPER, GMFS_META_INODES, GMPOOL_META_DIRTY,
		GMFS_META_EXTENTS, GMFS_META_INODES,
	};
	static const u16 all[] = {
		GMPOOL_META_FREE, GMPOOL_META_USED, GMPOOL_META_DIRTY, GMFS_META_SUPER,
		GMFS_META_INODES, GMFS_META_DIRENTS, GMFS_META_EXTENTS, 15, U16_MAX,
	};
	struct owner *owner = make_owner(test);
	struct gmpool_meta_ser *hdr;
	u32 t, mbn;

	for (t = 0; t < ARRAY_SIZE(types); t++)
		alloc(test, owner, types[t]);

	/* Blocks 10 and 11 are free. */
	for (t = 0; t < ARRAY_SIZE(all); t++) {
		hdr = NULL;
		for (mbn = 0; mbn < 12; mbn++) {
			if ((mbn < 10 ? types[mbn] : GMPOOL_META_FREE) != all[t])
				continue;
			hdr = gmpool_meta_next(&owner->meta, all[t], hdr);
			KUNIT_ASSERT_NOT_NULL(test, hdr);
			KUNIT_EXPECT_EQ(test, hdr->mbn, mbn);
			KUNIT_EXPECT_EQ(test, hdr->type, all[t]);
		}
		/* Without a block of type 15, the walk ends at once. */
		hdr = gmpool_meta_next(&owner->meta, all[t], hdr);
		KUNIT_EXPECT_NULL(test, hdr);
	}

	/* A walk may free its current block, and continue from the number. */
	hdr = gmpool_meta_next(&owner->meta, GMFS_META_INODES, NULL);
	gmpool_meta_free(&owner->meta, hdr);
	hdr = gmpool_meta_next(&owner->meta, GMFS_META_INODES, hdr);
	KUNIT_ASSERT_NOT_NULL(test, hdr);
	KUNIT_EXPECT_EQ(test, hdr->mbn, 2);
}

/* Only stale checksums are computed: a wrong one elsewhere stays wrong. */
static void seal_rewrites_stale_only(struct kunit *test)
{
	const u32 planted = 0xdeadbeef;
	struct owner *owner = make_owner(test);
	struct gmpool_meta *meta = &owner->meta;
	struct gmpool_meta_ser *hdr[8];
	u32 i;

	owner->chunk = 8;
	for (i = 0; i < 6; i++)
		hdr[i] = alloc(test, owner, GMFS_META_EXTENTS);
	for (; i < 8; i++)
		hdr[i] = gmpool_meta_block(meta, i);
	/* New chunks and new blocks are stale, free ones as well. */
	gmpool_meta_seal(meta);
	assert_sealed(test, owner);

	/* After sealing, no block is stale. */
	for (i = 0; i < 8; i++)
		hdr[i]->csum = planted;
	gmpool_meta_seal(meta);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, hdr[i]->csum, planted);

	/* Changed, changed twice, freed, and allocated. */
	memset(hdr[1] + 1, 'Y', 100);
	gmpool_meta_dirty(meta, hdr[1]);
	gmpool_meta_dirty(meta, hdr[3]);
	gmpool_meta_dirty(meta, hdr[3]);
	hdr[3]->index = 0;
	gmpool_meta_free(meta, hdr[4]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(test, owner, GMFS_META_SUPER), hdr[4]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(test, owner, GMFS_META_SUPER), hdr[6]);
	gmpool_meta_free(meta, hdr[5]);
	gmpool_meta_seal(meta);

	for (i = 0; i < 8; i++) {
		bool stale = i == 1 || (i >= 3 && i <= 6);

		KUNIT_EXPECT_EQ_MSG(test, hdr[i]->csum,
				    stale ? gmpool_meta_csum(hdr[i]) : planted, "block %u", i);
	}

	/* After sealing again, no block is stale. */
	for (i = 0; i < 8; i++)
		hdr[i]->csum = planted;
	gmpool_meta_seal(meta);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, hdr[i]->csum, planted);
}

/* The next kernel retrieves sealed blocks unchanged. */
static void take_over_chunks(struct kunit *test)
{
	struct owner *before = make_owner(test);
	struct owner *after = make_owner(test);
	struct gmpool_meta_ser *hdr;
	void *mem = dirty_memory(test, 4);
	u32 i;

	KUNIT_ASSERT_EQ(test, gmpool_meta_add_chunk(&before->meta, mem, 0, 4, true), 0);
	alloc(test, before, GMPOOL_META_USED)->index = 5;
	alloc(test, before, GMFS_META_INODES);
	hdr = alloc(test, before, GMFS_META_DIRENTS);
	memset(hdr + 1, 'Z', GMPOOL_META_SIZE - sizeof(*hdr));
	gmpool_meta_free(&before->meta, gmpool_meta_block(&before->meta, 1));
	gmpool_meta_seal(&before->meta);

	for (i = 0; i < 4; i++)
		KUNIT_ASSERT_NULL(test, gmpool_meta_check(mem + i * GMPOOL_META_SIZE, uuid, i,
							  false));
	KUNIT_ASSERT_EQ(test, gmpool_meta_add_chunk(&after->meta, mem, 0, 4, false), 0);
	KUNIT_EXPECT_EQ(test, after->meta.nr, 4);
	KUNIT_EXPECT_EQ(test, after->meta.nr_free, 2);
	KUNIT_EXPECT_PTR_EQ(test, gmpool_meta_next(&after->meta, GMFS_META_DIRENTS, NULL), hdr);
	KUNIT_EXPECT_NULL(test, memchr_inv(hdr + 1, 'Z', GMPOOL_META_SIZE - sizeof(*hdr)));
	KUNIT_EXPECT_EQ(test, gmpool_meta_block(&after->meta, 0)->index, 5);

	/* None is stale. */
	hdr->csum++;
	gmpool_meta_seal(&after->meta);
	KUNIT_EXPECT_STREQ(test, gmpool_meta_check(hdr, uuid, 2, false), "checksum");

	/* Free blocks are allocated, lowest first, before grow() is called. */
	KUNIT_EXPECT_EQ(test, alloc(test, after, GMFS_META_EXTENTS)->mbn, 1);
	KUNIT_EXPECT_EQ(test, alloc(test, after, GMFS_META_EXTENTS)->mbn, 3);
	KUNIT_EXPECT_EQ(test, after->calls, 0);
	KUNIT_EXPECT_EQ(test, alloc(test, after, GMFS_META_EXTENTS)->mbn, 4);
	KUNIT_EXPECT_EQ(test, after->calls, 1);
}

/* Offset and size of a field of a header at address 0. */
#define META		((struct gmpool_meta_ser *)NULL)
#define FIELD(m)	{ (size_t)&(m), sizeof(m) }

/**
 * struct meta_case - a header with one field changed, and a correct checksum
 * @name: name in the log
 * @type: type of the original block
 * @field: the field
 * @value: value to write
 * @error: expected error of gmpool_meta_check(), NULL if it must pass
 */
struct meta_case {
	const char *name;
	u16 type;
	struct {
		size_t offset, size;
	} field;
	u64 value;
	const char *error;
};

static const struct meta_case meta_cases[] = {
	{ "free", GMPOOL_META_FREE },
	{ "used", GMPOOL_META_USED },
	{ "dirty", GMPOOL_META_DIRTY },
	{ "super", GMFS_META_SUPER },
	{ "inodes", GMFS_META_INODES },
	{ "dirents", GMFS_META_DIRENTS },
	{ "extents", GMFS_META_EXTENTS },
	{ "magic zero", GMFS_META_INODES, FIELD(META->magic), 0, "magic number" },
	{ "magic, one bit", GMFS_META_INODES, FIELD(META->magic), GMPOOL_META_MAGIC ^ BIT(31),
	  "magic number" },
	{ "uuid first", GMFS_META_INODES, FIELD(META->uuid[0]), 0, "UUID" },
	{ "uuid last", GMFS_META_INODES, FIELD(META->uuid[15]), 1, "UUID" },
	{ "mbn 0", GMFS_META_INODES, FIELD(META->mbn), 0, "number" },
	{ "mbn of the next", GMFS_META_INODES, FIELD(META->mbn), 12, "number" },
	{ "mbn -1", GMFS_META_INODES, FIELD(META->mbn), U32_MAX, "number" },
	{ "type 5", GMFS_META_INODES, FIELD(META->type), 5, "type" },
	{ "type 15", GMFS_META_INODES, FIELD(META->type), 15, "type" },
	{ "type 21", GMFS_META_INODES, FIELD(META->type), 21, "type" },
	{ "type in the high byte", GMFS_META_INODES, FIELD(META->type), 17 << 8, "type" },
	{ "type -1", GMFS_META_INODES, FIELD(META->type), U16_MAX, "type" },
	/* Another valid type: the reader of the records finds the error. */
	{ "type of another", GMFS_META_INODES, FIELD(META->type), GMFS_META_DIRENTS },
	{ "index of used", GMPOOL_META_USED, FIELD(META->index), 77 },
	{ "index of dirty", GMPOOL_META_DIRTY, FIELD(META->index), U64_MAX },
	{ "index of free", GMPOOL_META_FREE, FIELD(META->index), 1, "index" },
	{ "index of tunables", GMPOOL_META_TUNABLES, FIELD(META->index), 1, "index" },
	{ "index of super", GMFS_META_SUPER, FIELD(META->index), 1, "index" },
	{ "index of inodes", GMFS_META_INODES, FIELD(META->index), BIT_ULL(63), "index" },
	{ "index of dirents", GMFS_META_DIRENTS, FIELD(META->index), 1, "index" },
	{ "index of extents", GMFS_META_EXTENTS, FIELD(META->index), BIT_ULL(32), "index" },
	{ "reserved0", GMFS_META_INODES, FIELD(META->reserved0), 1, "reserved field" },
	{ "reserved0 of a bitmap", GMPOOL_META_USED, FIELD(META->reserved0), 0x8000,
	  "reserved field" },
	{ "reserved1 first", GMFS_META_INODES, FIELD(META->reserved1[0]), 1, "reserved field" },
	{ "reserved1 last", GMFS_META_INODES, FIELD(META->reserved1[23]), 0x80, "reserved field" },
	{ "reserved1 of a bitmap", GMPOOL_META_DIRTY, FIELD(META->reserved1[12]), 1,
	  "reserved field" },
};

KUNIT_ARRAY_PARAM_DESC(meta, meta_cases, name);

static struct gmpool_meta_ser *make_block(struct kunit *test, u16 type)
{
	struct gmpool_meta_ser *hdr;

	hdr = kunit_kzalloc(test, GMPOOL_META_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, hdr);
	memset(hdr + 1, 'X', GMPOOL_META_SIZE - sizeof(*hdr));
	hdr->magic = GMPOOL_META_MAGIC;
	memcpy(hdr->uuid, uuid, sizeof(uuid));
	hdr->mbn = 11;
	hdr->type = type;
	hdr->csum = gmpool_meta_csum(hdr);
	return hdr;
}

static void check_header(struct kunit *test)
{
	const struct meta_case *c = test->param_value;
	struct gmpool_meta_ser *hdr = make_block(test, c->type);
	const char *error;

	KUNIT_ASSERT_NULL(test, gmpool_meta_check(hdr, uuid, 11, false));
	memcpy((void *)hdr + c->field.offset, &c->value, c->field.size);
	hdr->csum = gmpool_meta_csum(hdr);
	error = gmpool_meta_check(hdr, uuid, 11, false);
	KUNIT_EXPECT_STREQ(test, error ?: "valid", c->error ?: "valid");

	/*
	 * A pool of a newer kernel may have unknown types, but no other
	 * difference.
	 */
	error = gmpool_meta_check(hdr, uuid, 11, true);
	KUNIT_EXPECT_STREQ(test, error ?: "valid",
			   !c->error || !strcmp(c->error, "type") ? "valid" : c->error);
}

/* A valid block in the wrong place, or of another pool. */
static void check_context(struct kunit *test)
{
	struct gmpool_meta_ser *hdr = make_block(test, GMFS_META_EXTENTS);
	u8 other[GMPOOL_UUID_SIZE];

	KUNIT_EXPECT_NULL(test, gmpool_meta_check(hdr, uuid, 11, false));
	KUNIT_EXPECT_STREQ(test, gmpool_meta_check(hdr, uuid, 10, false), "number");
	memcpy(other, uuid, sizeof(other));
	other[15] ^= 0x80;
	KUNIT_EXPECT_STREQ(test, gmpool_meta_check(hdr, other, 11, false), "UUID");

	hdr->mbn = 0;
	hdr->csum = gmpool_meta_csum(hdr);
	KUNIT_EXPECT_NULL(test, gmpool_meta_check(hdr, uuid, 0, false));
	hdr->type = GMPOOL_META_FREE;
	hdr->csum = gmpool_meta_csum(hdr);
	KUNIT_EXPECT_STREQ(test, gmpool_meta_check(hdr, uuid, 0, false), "free");
	KUNIT_EXPECT_STREQ(test, gmpool_meta_check(hdr, uuid, 0, true), "free");
}

/* crc32c, seed ~0, not inverted at the end, computed by another program. */
static void golden_checksums(struct kunit *test)
{
	u8 *page = kunit_kzalloc(test, GMPOOL_META_SIZE, GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, gmpool_meta_csum(page), 0x6706be76);
	for (i = 0; i < GMPOOL_META_SIZE; i++)
		page[i] = i * 7;
	KUNIT_EXPECT_EQ(test, gmpool_meta_csum(page), 0x8d09f786);
	memset(page + 4, 0, 4);
	KUNIT_EXPECT_EQ(test, gmpool_meta_csum(page), 0x8d09f786);
}

static void block_flipped(struct kunit *test)
{
	struct gmpool_meta_ser *hdr = make_block(test, GMFS_META_DIRENTS);
	u8 *bytes = (u8 *)hdr;
	unsigned int i, pass;

	for (i = 0; i < GMPOOL_META_SIZE; i++) {
		for (pass = 0; pass < 2; pass++) {
			u8 flip = pass ? 0xff : BIT(i % 8);
			const char *error;

			bytes[i] ^= flip;
			error = gmpool_meta_check(hdr, uuid, 11, false);
			bytes[i] ^= flip;
			KUNIT_ASSERT_NOT_NULL_MSG(test, error, "byte %u", i);
			KUNIT_ASSERT_STREQ_MSG(test, error,
					       i < 4 ? "magic number" : "checksum",
					       "byte %u", i);
		}
	}
	KUNIT_EXPECT_NULL(test, gmpool_meta_check(hdr, uuid, 11, false));
}

#define WALK_MAX	64

/* Compare with a plain array of types. */
static void random_walk(struct kunit *test)
{
	static const u16 some[] = { GMPOOL_META_USED, GMFS_META_INODES, GMFS_META_EXTENTS };
	struct owner *owner = make_owner(test);
	struct gmpool_meta *meta = &owner->meta;
	struct gmpool_meta_ser *hdr;
	u16 types[WALK_MAX] = { };
	struct rnd_state rnd;
	unsigned int step;
	u32 i, nr_free, mbn;

	gmpool_test_seed(test, &rnd, seed);
	for (step = 0; step < 4000; step++) {
		u16 type = some[gmpool_test_random(&rnd, 0, ARRAY_SIZE(some) - 1)];
		bool filling = step / 200 % 2 == 0;

		mbn = gmpool_test_random(&rnd, 0, WALK_MAX - 1);
		if ((gmpool_test_random(&rnd, 0, 9) < 7) == filling) {
			for (mbn = 0; mbn < WALK_MAX && types[mbn]; mbn++)
				;
			if (mbn == WALK_MAX)
				continue;
			owner->chunk = min(1U << gmpool_test_random(&rnd, 0, 3),
					   WALK_MAX - meta->nr);
			hdr = alloc(test, owner, type);
			KUNIT_ASSERT_EQ(test, hdr->mbn, mbn);
			KUNIT_ASSERT_TRUE(test, payload_zero(hdr));
			memset(hdr + 1, 'X', GMPOOL_META_SIZE - sizeof(*hdr));
			types[mbn] = type;
		} else if (mbn < meta->nr && types[mbn]) {
			hdr = gmpool_meta_block(meta, mbn);
			if (step % 3) {
				gmpool_meta_free(meta, hdr);
				types[mbn] = GMPOOL_META_FREE;
			} else {
				memset(hdr + 1, step, 10);
				gmpool_meta_dirty(meta, hdr);
			}
		}

		nr_free = 0;
		for (i = 0; i < meta->nr; i++) {
			assert_block(test, owner, i, types[i]);
			nr_free += !types[i];
		}
		KUNIT_ASSERT_EQ(test, meta->nr_free, nr_free);
		if (step % 20 == 0) {
			gmpool_meta_seal(meta);
			assert_sealed(test, owner);
		}
	}
}

static struct kunit_case meta_test_cases[] = {
	KUNIT_CASE(nothing_yet),
	KUNIT_CASE(add_fresh_chunks),
	KUNIT_CASE(add_chunk_refused),
	KUNIT_CASE(alloc_lowest_first),
	KUNIT_CASE(set_aside),
	KUNIT_CASE(grow_when_empty),
	KUNIT_CASE(next_by_type),
	KUNIT_CASE(seal_rewrites_stale_only),
	KUNIT_CASE(take_over_chunks),
	KUNIT_CASE_PARAM(check_header, meta_gen_params),
	KUNIT_CASE(check_context),
	KUNIT_CASE(golden_checksums),
	KUNIT_CASE(block_flipped),
	KUNIT_CASE(random_walk),
	{}
};

static struct kunit_suite meta_test_suite = {
	.name = "gmpool-meta",
	.test_cases = meta_test_cases,
};

kunit_test_suite(meta_test_suite);

MODULE_DESCRIPTION("KUnit tests of the metadata blocks of guest memory pools");
MODULE_LICENSE("GPL");
