// SPDX-License-Identifier: GPL-2.0
/*
 * Mutations that know the format: fields of records by their meaning, whole records,
 * and the state of KHO. Then, in most cases, checksums are corrected, and often also
 * data that depends on the change: an image with only one fault gets far.
 */

#include "image.h"
#include "machine.h"
#include "../../fs/guestmemfs/numa/format.h"
#include "../../fs/guestmemfs/numa/meta.h"

size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t max_size);

/* Images of more pages are corrected only in part. */
#define MEND_PAGES	100
#define NR_INO		(MEND_PAGES * GMFS_INODES_PER_BLOCK)

enum kind {
	COUNT,		/* a number of items or a length */
	BLOCK,		/* of the pool or of a file */
	INO,
	MBN,
	ADDRESS,
	FLAGS,
	ENUM,
	RESERVED,	/* .size bytes, one of which is set */
	BYTES,		/* .size bytes, one of which is changed */
};

struct field {
	u16 offset;
	u16 size;
	enum kind kind;
};

/* Of a struct at address zero. */
#define FIELD(m, kind)	{ (size_t)&(m), sizeof(m), kind }

#define SUPER		((struct gmpool_super_ser *)NULL)
#define TABLE		((struct gmpool_table_ser *)NULL)
#define HEADER		((struct gmpool_meta_ser *)NULL)
#define BITMAP		((struct gmpool_bitmap_ser *)NULL)
#define POISON		((struct gmpool_poison_ser *)NULL)
#define TUNABLES	((struct gmpool_tunables_ser *)NULL)
#define ROOT		((struct gmfs_super_ser *)NULL)
#define INODE		((struct gmfs_inode_ser *)NULL)
#define DIRENT		((struct gmfs_dirent_ser *)NULL)
#define EXTENT		((struct gmfs_extent_ser *)NULL)
#define ATTR		((struct gmfs_attr_ser *)NULL)

static const struct field super_fields[] = {
	FIELD(SUPER->magic, BYTES),
	FIELD(SUPER->csum, BYTES),
	FIELD(SUPER->version, COUNT),
	FIELD(SUPER->super_size, COUNT),
	FIELD(SUPER->state, ENUM),
	FIELD(SUPER->feature_compat, FLAGS),
	FIELD(SUPER->feature_ro_compat, FLAGS),
	FIELD(SUPER->feature_incompat, FLAGS),
	FIELD(SUPER->uuid, BYTES),
	FIELD(SUPER->total_blocks, COUNT),
	FIELD(SUPER->generation, COUNT),
	FIELD(SUPER->nid, COUNT),
	FIELD(SUPER->block_shift, COUNT),
	FIELD(SUPER->nr_extents, COUNT),
	FIELD(SUPER->nr_tables, COUNT),
	FIELD(SUPER->nr_meta, COUNT),
	FIELD(SUPER->reserved0, RESERVED),
	FIELD(SUPER->release, BYTES),
	FIELD(SUPER->roots[0].owner, ENUM),
	FIELD(SUPER->roots[0].mbn, MBN),
	FIELD(SUPER->roots[1].owner, ENUM),
	FIELD(SUPER->roots[1].mbn, MBN),
	FIELD(SUPER->roots[7].owner, ENUM),
	FIELD(SUPER->reserved1, RESERVED),
	FIELD(SUPER->extents[0].base, ADDRESS),
	FIELD(SUPER->extents[0].size, ADDRESS),
	FIELD(SUPER->extents[1].base, ADDRESS),
	FIELD(SUPER->extents[1].size, ADDRESS),
	FIELD(SUPER->extents[63].base, ADDRESS),
	FIELD(SUPER->tables[0], ADDRESS),
	FIELD(SUPER->tables[1], ADDRESS),
	FIELD(SUPER->tables[127], ADDRESS),
	FIELD(SUPER->first[0], COUNT),
	FIELD(SUPER->first[1], COUNT),
	FIELD(SUPER->first[2], COUNT),
	FIELD(SUPER->first[63], COUNT),
	FIELD(SUPER->reserved2, RESERVED),
};

static const struct field table_fields[] = {
	FIELD(TABLE->magic, BYTES),
	FIELD(TABLE->csum, BYTES),
	FIELD(TABLE->uuid, BYTES),
	FIELD(TABLE->index, COUNT),
	FIELD(TABLE->nr, COUNT),
	FIELD(TABLE->reserved, RESERVED),
	FIELD(TABLE->chunks[0].phys, ADDRESS),
	FIELD(TABLE->chunks[0].first, MBN),
	FIELD(TABLE->chunks[0].nr, COUNT),
	FIELD(TABLE->chunks[1].phys, ADDRESS),
	FIELD(TABLE->chunks[1].first, MBN),
	FIELD(TABLE->chunks[1].nr, COUNT),
	FIELD(TABLE->chunks[251].phys, ADDRESS),
};

static const struct field header_fields[] = {
	FIELD(HEADER->magic, BYTES),
	FIELD(HEADER->csum, BYTES),
	FIELD(HEADER->uuid, BYTES),
	FIELD(HEADER->mbn, MBN),
	FIELD(HEADER->type, ENUM),
	FIELD(HEADER->reserved0, RESERVED),
	FIELD(HEADER->index, COUNT),
	FIELD(HEADER->reserved1, RESERVED),
};

static const struct field bitmap_fields[] = {
	{ offsetof(struct gmpool_bitmap_ser, bits), 8, FLAGS },
	{ offsetof(struct gmpool_bitmap_ser, bits), 8, BYTES },
	{ offsetof(struct gmpool_bitmap_ser, bits) + 8, 8, FLAGS },
	{ offsetof(struct gmpool_bitmap_ser, bits), 128, BYTES },
	FIELD(BITMAP->bits, BYTES),
};

static const struct field poison_fields[] = {
	FIELD(POISON->nr, COUNT),
	FIELD(POISON->pages[0], BLOCK),
	FIELD(POISON->pages[1], BLOCK),
	FIELD(POISON->pages[2], BLOCK),
	FIELD(POISON->pages[3], BLOCK),
	FIELD(POISON->pages, RESERVED),
};

static const struct field tunables_fields[] = {
	FIELD(TUNABLES->scrub_rate, COUNT),
	FIELD(TUNABLES->scrub_target, COUNT),
	FIELD(TUNABLES->reserve, COUNT),
	FIELD(TUNABLES->low_watermark, COUNT),
	FIELD(TUNABLES->zeroing, ENUM),
	FIELD(TUNABLES->policy, ENUM),
	FIELD(TUNABLES->frozen, ENUM),
	FIELD(TUNABLES->reserved, RESERVED),
};

static const struct field root_fields[] = {
	FIELD(ROOT->version, COUNT),
	FIELD(ROOT->reserved0, RESERVED),
	FIELD(ROOT->feature_compat, FLAGS),
	FIELD(ROOT->feature_ro_compat, FLAGS),
	FIELD(ROOT->feature_incompat, FLAGS),
	FIELD(ROOT->root_ino, INO),
	FIELD(ROOT->next_cookie, COUNT),
	FIELD(ROOT->reserved1, RESERVED),
};

static const struct field inode_fields[] = {
	FIELD(INODE->ino, INO),
	FIELD(INODE->generation, COUNT),
	FIELD(INODE->mode, FLAGS),
	FIELD(INODE->uid, COUNT),
	FIELD(INODE->gid, COUNT),
	FIELD(INODE->nlink, COUNT),
	FIELD(INODE->flags, FLAGS),
	FIELD(INODE->preserved, COUNT),
	FIELD(INODE->pinned, FLAGS),
	FIELD(INODE->size, COUNT),
	FIELD(INODE->rdev, COUNT),
	FIELD(INODE->atime_sec, COUNT),
	FIELD(INODE->atime_nsec, COUNT),
	FIELD(INODE->btime_nsec, COUNT),
	FIELD(INODE->reserved1, RESERVED),
};

static const struct field dirent_fields[] = {
	FIELD(DIRENT->parent, INO),
	FIELD(DIRENT->ino, INO),
	FIELD(DIRENT->cookie, COUNT),
	FIELD(DIRENT->name_len, COUNT),
	FIELD(DIRENT->type, ENUM),
	FIELD(DIRENT->nr_slots, COUNT),
	FIELD(DIRENT->reserved, RESERVED),
	{ offsetof(struct gmfs_dirent_ser, name), 4, BYTES },
	{ offsetof(struct gmfs_dirent_ser, name), 32, BYTES },
};

static const struct field extent_fields[] = {
	FIELD(EXTENT->ino, INO),
	FIELD(EXTENT->file_block, BLOCK),
	FIELD(EXTENT->pool_block, BLOCK),
	FIELD(EXTENT->count, COUNT),
	FIELD(EXTENT->flags, FLAGS),
};

static const struct field attr_fields[] = {
	FIELD(ATTR->ino, INO),
	FIELD(ATTR->id, COUNT),
	FIELD(ATTR->size, COUNT),
	FIELD(ATTR->offset, COUNT),
	FIELD(ATTR->len, COUNT),
	FIELD(ATTR->kind, ENUM),
	FIELD(ATTR->nr_slots, COUNT),
	FIELD(ATTR->name_len, COUNT),
	FIELD(ATTR->reserved, RESERVED),
	{ offsetof(struct gmfs_attr_ser, data), 32, BYTES },
};

/* Layout of blocks of a type: records of @slot bytes, from @first on. */
static const struct layout {
	u16 type;
	u16 first;
	u16 slot;
	const struct field *fields;
	u16 nr_fields;
} layouts[] = {
	{ GMPOOL_META_USED, 0, 4096, bitmap_fields, ARRAY_SIZE(bitmap_fields) },
	{ GMPOOL_META_DIRTY, 0, 4096, bitmap_fields, ARRAY_SIZE(bitmap_fields) },
	{ GMPOOL_META_POISON, 0, 4096, poison_fields, ARRAY_SIZE(poison_fields) },
	{ GMPOOL_META_TUNABLES, 0, 4096, tunables_fields,
	  ARRAY_SIZE(tunables_fields) },
	{ GMFS_META_SUPER, 0, 4096, root_fields, ARRAY_SIZE(root_fields) },
	{ GMFS_META_INODES, 256, 256, inode_fields, ARRAY_SIZE(inode_fields) },
	{ GMFS_META_DIRENTS, 64, 64, dirent_fields, ARRAY_SIZE(dirent_fields) },
	{ GMFS_META_EXTENTS, 64, 32, extent_fields, ARRAY_SIZE(extent_fields) },
	{ GMFS_META_ATTRS, 64, 64, attr_fields, ARRAY_SIZE(attr_fields) },
};

/* An input during a mutation. */
static struct {
	struct input *input;
	u8 *memory;
	unsigned int nr;
} at;

static u64 state;

static u64 rnd(u64 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? state % below : state;
}

static bool one_in(unsigned int n)
{
	return !rnd(n);
}

static u8 *page(unsigned int i)
{
	return at.memory + i * GMPOOL_META_SIZE;
}

static bool is_super(const u8 *p)
{
	return ((const struct gmpool_super_ser *)p)->magic == GMPOOL_SUPER_MAGIC;
}

static bool is_table(const u8 *p)
{
	return ((const struct gmpool_table_ser *)p)->magic == GMPOOL_TABLE_MAGIC;
}

static bool is_meta(const u8 *p)
{
	return ((const struct gmpool_meta_ser *)p)->magic == GMPOOL_META_MAGIC;
}

static const struct layout *layout_of(const u8 *p)
{
	unsigned int i;

	if (!is_meta(p))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(layouts); i++)
		if (layouts[i].type == ((const struct gmpool_meta_ser *)p)->type)
			return &layouts[i];
	return NULL;
}

static void mend_csum(u8 *p)
{
	if (is_super(p))
		((struct gmpool_super_ser *)p)->csum = gmpool_super_csum((void *)p);
	else if (is_table(p))
		((struct gmpool_table_ser *)p)->csum = gmpool_table_csum((void *)p);
	else if (is_meta(p))
		((struct gmpool_meta_ser *)p)->csum = gmpool_meta_csum(p);
}

/* Slots of a record by its own field, limited to the end of the block. */
static unsigned int record_size(const struct layout *layout, const u8 *p,
				unsigned int offset)
{
	const struct gmfs_dirent_ser *de = (const void *)(p + offset);
	const struct gmfs_attr_ser *attr = (const void *)(p + offset);
	unsigned int size = layout->slot;

	if (layout->type == GMFS_META_DIRENTS && de->parent)
		size *= de->nr_slots;
	else if (layout->type == GMFS_META_ATTRS && attr->ino)
		size *= attr->nr_slots;
	return clamp(size, layout->slot, GMPOOL_META_SIZE - offset);
}

/* A random record in a block, in most cases one in use. */
static unsigned int pick_record(const struct layout *layout, const u8 *p)
{
	unsigned int offset, nr = 0, chosen = layout->first;
	bool any = one_in(16);

	for (offset = layout->first; offset < GMPOOL_META_SIZE;
	     offset += record_size(layout, p, offset))
		if ((any || *(const u64 *)(p + offset)) && one_in(++nr))
			chosen = offset;
	return chosen;
}

/* A random page for which a predicate is true. */
static u8 *pick_page(bool (*wanted)(const u8 *p))
{
	unsigned int i, start = rnd(at.nr);

	for (i = 0; i < at.nr; i++) {
		u8 *p = page((start + i) % at.nr);

		if (wanted(p))
			return p;
	}
	return page(start);
}

static bool has_layout(const u8 *p)
{
	return layout_of(p);
}

/* The number of an existing inode, in most cases. */
static u64 some_ino(void)
{
	unsigned int i, start = rnd(at.nr);

	for (i = 0; i < at.nr; i++) {
		const u8 *p = page((start + i) % at.nr);
		const struct layout *layout = layout_of(p);

		if (layout && layout->type == GMFS_META_INODES)
			return *(const u64 *)(p + pick_record(layout, p));
	}
	return rnd(200);
}

static u64 some_count(u64 old)
{
	static const u64 edges[] = {
		0, 1, 2, 15, 16, 63, 64, 65, 126, 127, 128, 252, 253, 255, 256,
		503, 504, 511, 512, 3999, 4000, 4001, 4095, 4096, 4097, 8000,
		32256, 65535, 65536, 65791, 999999999, 1000000000, INT32_MAX,
		U32_MAX - 1, U32_MAX, U32_MAX + 1ULL, 1ULL << 42, 1ULL << 43,
		S64_MAX - 2, S64_MAX, 1ULL << 63, U64_MAX - 1, U64_MAX,
	};

	switch (rnd(6)) {
	case 0:
		return old + 1;
	case 1:
		return old - 1;
	case 2:
		return edges[rnd(ARRAY_SIZE(edges))];
	case 3:
		return rnd(70);
	case 4:
		return old * 2 - rnd(2);
	default:
		return old + rnd(16) - 8;
	}
}

static u64 some_address(u64 old)
{
	switch (rnd(6)) {
	case 0:
		return MACHINE_PHYS + rnd(at.nr) * PAGE_SIZE;
	case 1:
		return old + (rnd(9) - 4) * PAGE_SIZE;
	case 2:
		return old + (rnd(5) - 2) * (1ULL << SECTION_SIZE_BITS);
	case 3:
		return MACHINE_POOLS +
		       rnd(2 * MACHINE_NODE >> SECTION_SIZE_BITS) *
		       (1ULL << SECTION_SIZE_BITS);
	case 4:
		return -rnd(4) * PAGE_SIZE;
	default:
		return rnd(3) ? 1ULL << rnd(64) : some_count(old);
	}
}

static u64 some_value(enum kind kind, u64 old)
{
	switch (kind) {
	case COUNT:
		return some_count(old);
	case BLOCK:
		return one_in(2) ? some_count(old) : rnd(140);
	case INO:
		return one_in(4) ? some_count(old) : some_ino();
	case MBN:
		return one_in(2) ? some_count(old) : rnd(at.nr);
	case ADDRESS:
		return some_address(old);
	case FLAGS:
		return old ^ 1ULL << (one_in(2) ? rnd(64) : rnd(16));
	default:
		return rnd(24);
	}
}

static void change_field(u8 *record, const struct field *field)
{
	u8 *p = record + field->offset;
	u64 value = 0;

	if (field->kind == BYTES && one_in(2)) {
		LLVMFuzzerMutate(p, field->size, field->size);
		return;
	}
	if (field->kind == BYTES || field->kind == RESERVED || field->size > 8) {
		p[rnd(field->size)] = rnd(256);
		return;
	}
	memcpy(&value, p, field->size);
	value = some_value(field->kind, value);
	memcpy(p, &value, field->size);
}

/* Correct fields that every valid record has, regardless of the change. */
static void mend_record(const struct layout *layout, u8 *p, unsigned int offset)
{
	struct gmpool_meta_ser *hdr = (void *)p;
	struct gmfs_inode_ser *rec = (void *)(p + offset);
	struct gmfs_dirent_ser *de = (void *)(p + offset);
	struct gmfs_attr_ser *attr = (void *)(p + offset);
	unsigned int end, room = GMPOOL_META_SIZE - offset;

	switch (layout->type) {
	case GMFS_META_INODES:
		if (rec->ino)
			rec->ino = GMFS_INO(hdr->mbn, offset / sizeof(*rec));
		break;
	case GMFS_META_DIRENTS:
		de->nr_slots = DIV_ROUND_UP(sizeof(*de) + de->name_len,
					    GMFS_DIRENT_SLOT);
		end = sizeof(*de) + de->name_len;
		if (end <= de->nr_slots * GMFS_DIRENT_SLOT &&
		    de->nr_slots * GMFS_DIRENT_SLOT <= room)
			memset((u8 *)de + end, 0,
			       de->nr_slots * GMFS_DIRENT_SLOT - end);
		break;
	case GMFS_META_ATTRS:
		if (attr->size > attr->offset)
			attr->len = min(attr->size - attr->offset,
					(u32)GMFS_ATTR_FRAGMENT);
		attr->nr_slots = DIV_ROUND_UP(sizeof(*attr) + attr->len,
					      GMFS_ATTR_SLOT);
		end = sizeof(*attr) + attr->len;
		if (end <= attr->nr_slots * GMFS_ATTR_SLOT &&
		    attr->nr_slots * GMFS_ATTR_SLOT <= room)
			memset((u8 *)attr + end, 0,
			       attr->nr_slots * GMFS_ATTR_SLOT - end);
		break;
	}
}

static void visit_records(u16 type, void (*fn)(u8 *p, void *record))
{
	unsigned int i, offset;

	for (i = 0; i < at.nr; i++) {
		const struct layout *layout = layout_of(page(i));

		if (!layout || layout->type != type)
			continue;
		for (offset = layout->first; offset < GMPOOL_META_SIZE;
		     offset += record_size(layout, page(i), offset))
			if (*(u64 *)(page(i) + offset))
				fn(page(i), page(i) + offset);
	}
}

/* Set the bitmaps to match the extents. */

static struct gmpool_bitmap_ser *used_map, *dirty_map;

static void mark_used(u8 *p, void *record)
{
	const struct gmfs_extent_ser *rec = record;
	u64 block;

	if (rec->pool_block >= GMPOOL_BITMAP_BITS ||
	    rec->count > GMPOOL_BITMAP_BITS - rec->pool_block)
		return;
	for (block = rec->pool_block; block < rec->pool_block + rec->count; block++) {
		used_map->bits[block / 64] |= BIT_ULL(block % 64);
		dirty_map->bits[block / 64] &= ~BIT_ULL(block % 64);
	}
}

static void mend_bitmaps(void)
{
	unsigned int i;

	used_map = NULL;
	dirty_map = NULL;
	for (i = 0; i < at.nr; i++) {
		const struct layout *layout = layout_of(page(i));

		if (layout && layout->type == GMPOOL_META_USED)
			used_map = (void *)page(i);
		if (layout && layout->type == GMPOOL_META_DIRTY)
			dirty_map = (void *)page(i);
	}
	if (!used_map || !dirty_map)
		return;
	memset(used_map->bits, 0, sizeof(used_map->bits));
	visit_records(GMFS_META_EXTENTS, mark_used);
	mend_csum((void *)used_map);
	mend_csum((void *)dirty_map);
}

/* Set the link counts to match the directories. */

static u32 links[NR_INO];

static void count_link(u8 *p, void *record)
{
	const struct gmfs_dirent_ser *rec = record;
	bool dir = rec->type == S_IFDIR >> 12;

	if (rec->ino >= NR_INO || rec->parent >= NR_INO)
		return;
	links[rec->ino] += dir ? 2 : 1;
	links[rec->parent] += dir;
}

static void set_links(u8 *p, void *record)
{
	struct gmfs_inode_ser *rec = record;

	if (rec->ino >= NR_INO)
		return;
	rec->nlink = links[rec->ino];
	mend_csum(p);
}

static void count_root(u8 *p, void *record)
{
	const struct gmfs_super_ser *super = (void *)p;

	if (super->root_ino < NR_INO)
		links[super->root_ino] += 2;
}

static void mend_links(void)
{
	memset(links, 0, sizeof(links));
	visit_records(GMFS_META_SUPER, count_root);
	visit_records(GMFS_META_DIRENTS, count_link);
	visit_records(GMFS_META_INODES, set_links);
}

static void mend(u8 *p, const struct layout *layout)
{
	unsigned int i = (p - at.memory) / GMPOOL_META_SIZE;

	if (!one_in(20))
		mend_csum(p);
	/* Both copies of a super block, in most cases. */
	if (is_super(p) && i + 1 < at.nr && is_super(p + GMPOOL_META_SIZE) &&
	    !one_in(8))
		memcpy(p + GMPOOL_META_SIZE, p, GMPOOL_META_SIZE);
	if (!layout || at.nr > MEND_PAGES)
		return;
	if (layout->type == GMFS_META_EXTENTS && one_in(2))
		mend_bitmaps();
	else if ((layout->type == GMFS_META_DIRENTS ||
		  layout->type == GMFS_META_INODES) && one_in(2))
		mend_links();
}

/* Kinds of mutations. */

static void change_record(void)
{
	u8 *p = pick_page(has_layout);
	const struct layout *layout = layout_of(p);
	unsigned int offset, n = 1 + rnd(2);
	const struct field *field;

	if (!layout)
		return;
	offset = pick_record(layout, p);
	while (n--) {
		field = &layout->fields[rnd(layout->nr_fields)];
		if (offset + field->offset + field->size <= GMPOOL_META_SIZE)
			change_field(p + offset, field);
	}
	if (one_in(2))
		mend_record(layout, p, offset);
	mend(p, layout);
}

static void change_header(void)
{
	u8 *p = pick_page(is_meta);
	const struct layout *layout = layout_of(p);

	change_field(p, &header_fields[rnd(ARRAY_SIZE(header_fields))]);
	mend(p, layout);
}

static void change_super(void)
{
	u8 *p = pick_page(is_super);

	change_field(p, &super_fields[rnd(ARRAY_SIZE(super_fields))]);
	mend(p, NULL);
}

static void change_table(void)
{
	u8 *p = pick_page(is_table);

	change_field(p, &table_fields[rnd(ARRAY_SIZE(table_fields))]);
	mend(p, NULL);
}

/* Copy a record over another, or free it. */
static void copy_record(void)
{
	u8 *from = pick_page(has_layout), *to;
	const struct layout *layout = layout_of(from);
	unsigned int source, target, size, tries = 4;

	if (!layout || layout->slot == GMPOOL_META_SIZE)
		return;
	to = from;
	while (tries--) {
		u8 *other = pick_page(has_layout);

		if (layout_of(other) == layout)
			to = other;
	}
	source = pick_record(layout, from);
	size = record_size(layout, from, source);
	if (one_in(3)) {
		memset(from + source, 0, size);
		mend(from, layout);
		return;
	}
	target = layout->first +
		 rnd((GMPOOL_META_SIZE - layout->first) / layout->slot) *
		 layout->slot;
	size = min(size, GMPOOL_META_SIZE - target);
	memmove(to + target, from + source, size);
	if (one_in(2))
		change_field(to + target, &layout->fields[rnd(min_t(u16, 4,
								    layout->nr_fields))]);
	mend_record(layout, to, target);
	mend(to, layout);
}

/* Copy a block over another. */
static void copy_block(void)
{
	u8 *from = pick_page(is_meta), *to = pick_page(is_meta);
	struct gmpool_meta_ser *hdr = (void *)to;
	u32 mbn = hdr->mbn;

	if (from == to)
		return;
	memcpy(to, from, GMPOOL_META_SIZE);
	if (!one_in(4))
		hdr->mbn = mbn;
	mend(to, layout_of(to));
}

static bool has_long_records(const u8 *p)
{
	const struct layout *layout = layout_of(p);

	return layout && (layout->type == GMFS_META_DIRENTS ||
			  layout->type == GMFS_META_ATTRS);
}

/* The next page is not metadata, so that a read beyond the block is detected. */
static bool is_last(const u8 *p)
{
	unsigned int i = (p - at.memory) / GMPOOL_META_SIZE;

	return is_meta(p) && (i + 1 == at.nr || !is_meta(page(i + 1)));
}

static void swap_blocks(u8 *p, u8 *q)
{
	struct gmpool_meta_ser *hdr1 = (void *)p, *hdr2 = (void *)q;
	static u8 block[GMPOOL_META_SIZE];

	memcpy(block, p, sizeof(block));
	memcpy(p, q, sizeof(block));
	memcpy(q, block, sizeof(block));
	swap(hdr1->mbn, hdr2->mbn);
	mend_csum(p);
	mend_csum(q);
}

/* Make a record longer than the rest of its block, in all copies of the block. */
static void overrun(void)
{
	u8 *from = pick_page(has_long_records), *to = pick_page(is_last);
	const struct layout *layout = layout_of(from);
	unsigned int source, target, i;

	if (!has_long_records(from) || !is_last(to))
		return;
	if (from != to)
		swap_blocks(from, to);
	source = pick_record(layout, to);
	target = GMPOOL_META_SIZE - (1 + rnd(2)) * layout->slot;
	memmove(to + target, to + source, layout->slot);
	/* Data of variable length follows 32 bytes, in both kinds. */
	for (i = target + layout->slot / 2; i < GMPOOL_META_SIZE; i++)
		to[i] = 'a' + rnd(26);
	if (layout->type == GMFS_META_DIRENTS) {
		((struct gmfs_dirent_ser *)(to + target))->name_len =
			GMPOOL_META_SIZE - target - sizeof(struct gmfs_dirent_ser) + rnd(70);
		memset(to + source, 0, layout->slot);
	} else {
		((struct gmfs_attr_ser *)(to + target))->size += rnd(70);
	}
	mend_record(layout, to, target);
	mend(to, layout);
}

static void change_bytes(void)
{
	u8 *p = page(rnd(at.nr));
	unsigned int start = rnd(GMPOOL_META_SIZE);
	unsigned int size = min_t(u64, 1 + rnd(64), GMPOOL_META_SIZE - start);

	LLVMFuzzerMutate(p + start, size, size);
	mend(p, layout_of(p));
}

static void change_ops(void)
{
	struct input *input = at.input;
	const unsigned int room = sizeof(input->ops);
	unsigned int nr = min(input->nr_ops, room);

	if (one_in(2)) {
		input->nr_ops = LLVMFuzzerMutate(input->ops, nr, min(nr + 64, room));
		return;
	}
	input->nr_ops = min_t(unsigned int, nr + rnd(24), room);
	for (; nr < input->nr_ops; nr++)
		input->ops[nr] = rnd(256);
}

static void change_machine(void)
{
	struct input *input = at.input;

	switch (rnd(7)) {
	case 0:
		input->fail_after = one_in(2) ? 0 : rnd(one_in(2) ? 30 : 500);
		break;
	case 1:
		input->orders[rnd(at.nr)] = one_in(2) ? MACHINE_LOST : rnd(4);
		break;
	case 2:
		input->blobs[rnd(INPUT_BLOBS)] = one_in(2) ? 0 : 1 + rnd(at.nr);
		break;
	case 3:
		/* Pools of the corpus are in the first sections. */
		input->ranges[rnd(MACHINE_RANGES)] = one_in(2) ? 0 : 1 + rnd(32);
		break;
	default:
		input->flags ^= BIT(rnd(4));
		break;
	}
}

size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size,
			       unsigned int seed)
{
	static void (*const changes[])(void) = {
		change_record, change_record, change_record, change_record,
		change_record, change_record, copy_record, copy_record,
		change_header, change_super, change_super, change_table,
		copy_block, overrun, change_bytes, change_ops, change_ops, change_machine,
	};
	unsigned int n;

	if (size < 3 * GMPOOL_META_SIZE || size % GMPOOL_META_SIZE)
		return LLVMFuzzerMutate(data, size, max_size);
	state = seed * 0x9e3779b97f4a7c15ULL + 1;
	at.input = (void *)data;
	at.memory = data + sizeof(struct input);
	at.nr = size / GMPOOL_META_SIZE - 1;
	for (n = 1 + rnd(one_in(4) ? 6 : 2); n; n--)
		changes[rnd(ARRAY_SIZE(changes))]();
	return size;
}

/* Copy a block of one image over a block of the same type in another. */
size_t LLVMFuzzerCustomCrossOver(const u8 *data1, size_t size1, const u8 *data2,
				 size_t size2, u8 *out, size_t max_size,
				 unsigned int seed)
{
	const u8 *from;
	unsigned int i;
	u8 *to;

	if (size1 > max_size || size1 < 3 * GMPOOL_META_SIZE ||
	    size2 < 3 * GMPOOL_META_SIZE || size1 % GMPOOL_META_SIZE)
		return 0;
	state = seed * 0x9e3779b97f4a7c15ULL + 1;
	memcpy(out, data1, size1);
	at.input = (void *)out;
	at.memory = out + sizeof(struct input);
	at.nr = size1 / GMPOOL_META_SIZE - 1;
	if (one_in(4)) {
		memcpy(at.input->ops, ((const struct input *)data2)->ops,
		       sizeof(at.input->ops));
		at.input->nr_ops = ((const struct input *)data2)->nr_ops;
	}
	from = data2 + GMPOOL_META_SIZE * (1 + rnd(size2 / GMPOOL_META_SIZE - 1));
	for (i = 0; i < 8; i++) {
		struct gmpool_meta_ser hdr;

		to = pick_page(has_layout);
		if (layout_of(to) != layout_of(from) || !layout_of(from))
			continue;
		memcpy(&hdr, to, sizeof(hdr));
		memcpy(to, from, GMPOOL_META_SIZE);
		memcpy(to, &hdr, sizeof(hdr));
		mend(to, layout_of(to));
		break;
	}
	return size1;
}
