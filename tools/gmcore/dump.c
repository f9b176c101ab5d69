// SPDX-License-Identifier: GPL-2.0
/*
 * Check of a dump of a node's metadata, as the next kernel would check it: by the same
 * functions, in the same order (numa/handover.c, instance.c).
 *
 * A dump is the super block, its chunk tables and its metadata blocks, in the order of
 * their numbers, 4096 bytes each. Addresses in it are not followed.
 */

#include <linux/guestmem_pool.h>

#include <linux/kho/abi/guestmemfs.h>

#include "../../fs/guestmemfs/image.h"
#include "../../fs/guestmemfs/numa/format.h"
#include "../../fs/guestmemfs/numa/meta.h"
#include "dump.h"

/* The size of a section of memory on x86-64, and on arm64 with pages of 4 KiB. */
#define GRANULARITY	SZ_128M

struct check {
	const struct gmpool_super_ser *super;
	struct gmpool_meta meta;
	struct gmfs_image image;
	struct gmpool_bitmap_ser **used, **dirty;
	unsigned long *of_files;
	struct xarray poisoned;
	bool newer;
};

__printf(1, 2) static char *because(const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	return text ?: ERR_PTR(-ENOMEM);
}

static char *no_memory(void)
{
	return ERR_PTR(-ENOMEM);
}

/**
 * gmcore_dump_size - size of the dump that a super block describes
 * @super: GMPOOL_META_SIZE bytes, not trusted
 *
 * Return: bytes, or 0 if it is no super block or its numbers are out of range.
 */
uint64_t gmcore_dump_size(const void *super)
{
	const struct gmpool_super_ser *s = super;

	if (s->magic != GMPOOL_SUPER_MAGIC || s->nr_tables > GMPOOL_MAX_TABLES)
		return 0;
	return (1 + (u64)s->nr_tables + s->nr_meta) * GMPOOL_META_SIZE;
}

static int no_growth(struct gmpool_meta *meta)
{
	(void)meta;
	return -ENOSPC;
}

static char *check_super(struct gmpool_super_ser *super, size_t size, struct gmcore_dump *about)
{
	const char *error;
	bool read_only;
	u32 i, j;

	error = gmpool_super_check(super, GRANULARITY);
	if (error)
		return because("the super block is damaged (%s)", error);
	about->live = super->state == GMPOOL_STATE_LIVE;
	about->nid = super->nid;
	about->total_blocks = super->total_blocks;
	about->generation = super->generation;
	memcpy(about->release, super->release, sizeof(super->release));
	memcpy(about->uuid, super->uuid, sizeof(super->uuid));
	if (about->live) {
		super->state = GMPOOL_STATE_SEALED;
		super->csum = gmpool_super_csum(super);
	}
	error = gmpool_super_usable(super, &read_only);
	if (error)
		return because("the pool %s", error);
	if (gmcore_dump_size(super) != size)
		return because("the dump has %zu bytes, but its super block says %llu", size,
			       (u64)gmcore_dump_size(super));
	for (i = 0; i < GMPOOL_MAX_ROOTS; i++) {
		if (super->roots[i].owner == GMPOOL_OWNER_NONE) {
			if (super->roots[i].mbn)
				return because("the pool has a root without an owner");
			continue;
		}
		if (!super->roots[i].mbn || super->roots[i].mbn >= super->nr_meta)
			return because("the pool has a root outside its metadata");
		for (j = 0; j < i; j++)
			if (super->roots[j].owner == super->roots[i].owner)
				return because("the pool has two roots of one owner");
	}
	return NULL;
}

static char *check_blocks(struct check *c, u8 *tables, bool live)
{
	u8 *blocks = tables + (size_t)c->super->nr_tables * GMPOOL_META_SIZE;
	u32 nr_meta = 0, t, i, mbn = 0;
	const char *error;
	int err;

	for (t = 0; t < c->super->nr_tables; t++) {
		const struct gmpool_table_ser *table = (void *)(tables + t * GMPOOL_META_SIZE);

		error = gmpool_table_check(table, c->super, t, &nr_meta);
		if (error)
			return because("chunk table %u is damaged (%s)", t, error);
		for (i = 0; i < table->nr; i++) {
			err = gmpool_meta_add_chunk(&c->meta,
						    blocks + (size_t)mbn * GMPOOL_META_SIZE,
						    table->chunks[i].first, table->chunks[i].nr,
						    false);
			if (err)
				return no_memory();
			mbn += table->chunks[i].nr;
		}
	}
	for (i = 0; i < c->super->nr_meta; i++) {
		struct gmpool_meta_ser *hdr = (void *)(blocks + (size_t)i * GMPOOL_META_SIZE);

		if (live)
			hdr->csum = gmpool_meta_csum(hdr);
		error = gmpool_meta_check(hdr, c->super->uuid, i, c->newer);
		if (error)
			return because("metadata block %u is damaged (%s)", i, error);
	}
	return NULL;
}

static char *find_bitmaps(struct check *c, u16 type, struct gmpool_bitmap_ser **maps, u64 nr)
{
	struct gmpool_meta_ser *hdr = NULL;
	u64 found = 0;

	while ((hdr = gmpool_meta_next(&c->meta, type, hdr))) {
		if (hdr->index >= nr || maps[hdr->index])
			return because("a bitmap has a wrong place");
		maps[hdr->index] = container_of(hdr, struct gmpool_bitmap_ser, hdr);
		found++;
	}
	return found == nr ? NULL : because("a bitmap is missing");
}

static char *check_pool(struct check *c, struct gmcore_dump *about)
{
	/* Any number of blocks passes the checks so far: that of bitmaps bounds it. */
	u64 nr = DIV_ROUND_UP_ULL(gmpool_super_end(c->super), GMPOOL_BITMAP_BITS), i;
	struct gmpool_meta_ser *hdr = NULL;
	const char *error;
	char *why;
	int err;

	if (nr > c->super->nr_meta)
		return because("a bitmap is missing");
	c->used = calloc(nr, sizeof(*c->used));
	c->dirty = calloc(nr, sizeof(*c->dirty));
	if (!c->used || !c->dirty)
		return no_memory();
	why = find_bitmaps(c, GMPOOL_META_USED, c->used, nr);
	if (!why)
		why = find_bitmaps(c, GMPOOL_META_DIRTY, c->dirty, nr);
	if (why)
		return why;
	error = gmpool_bitmaps_check(c->used, c->dirty, gmpool_super_end(c->super));
	if (!error)
		error = gmpool_bitmaps_check_numbers(c->used, c->dirty, c->super);
	if (error)
		return because("%s", error);
	while ((hdr = gmpool_meta_next(&c->meta, GMPOOL_META_POISON, hdr))) {
		struct gmpool_poison_ser *list = container_of(hdr, struct gmpool_poison_ser, hdr);

		error = gmpool_poison_check(list, c->super);
		if (error)
			return because("%s", error);
		for (i = 0; i < list->nr; i++) {
			err = xa_insert(&c->poisoned, list->pages[i], xa_mk_value(0), GFP_KERNEL);
			if (err)
				return err == -EBUSY ? because("a page has failed twice") :
						       no_memory();
		}
	}
	hdr = gmpool_meta_next(&c->meta, GMPOOL_META_TUNABLES, NULL);
	if (hdr) {
		error = gmpool_tunables_check(container_of(hdr, struct gmpool_tunables_ser, hdr),
					      c->super->total_blocks, c->newer);
		if (error)
			about->notes = because("saved settings are not valid (%s): defaults are used",
					       error);
	}
	return IS_ERR(about->notes) ? no_memory() : NULL;
}

/* All within one extent of the pool: only these are contiguous for sure. */
static bool contiguous(const struct gmfs_image *img, u64 start, u64 count)
{
	const struct gmpool_super_ser *super = img->priv;
	u64 first, blocks;
	u32 i;

	for (i = 0; i < super->nr_extents; i++) {
		first = gmpool_super_first(super, i);
		blocks = super->extents[i].size >> GMPOOL_BLOCK_SHIFT;
		if (start >= first && start - first < blocks) {
			if (count <= blocks - (start - first))
				return true;
			/* Two extents may lie next to each other. */
			if (i + 1 == super->nr_extents ||
			    super->extents[i].base + super->extents[i].size !=
			    super->extents[i + 1].base ||
			    gmpool_super_first(super, i + 1) != first + blocks)
				return false;
			count -= blocks - (start - first);
			start = first + blocks;
		}
	}
	return false;
}

static char *check_files(struct check *c, u32 root)
{
	u64 total = gmpool_super_end(c->super), block;
	const struct gmpool_bitmap_ser *map;
	unsigned long differ, bits;

	c->of_files = calloc(BITS_TO_LONGS(total), sizeof(*c->of_files));
	if (!c->of_files)
		return no_memory();
	if (root) {
		switch (gmfs_image_load(&c->image, root, c->of_files)) {
		case 0:
			break;
		case -ENOMEM:
			return no_memory();
		default:
			return because("file system: %s", c->image.why);
		}
	}
	for (block = 0; block < total; block += BITS_PER_LONG) {
		bits = min(total - block, (u64)BITS_PER_LONG);
		map = c->used[block / GMPOOL_BITMAP_BITS];
		differ = c->of_files[BIT_WORD(block)] ^
			 map->bits[BIT_WORD(block % GMPOOL_BITMAP_BITS)];
		differ &= BITMAP_LAST_WORD_MASK(bits);
		if (!differ)
			continue;
		block += __ffs(differ);
		if (!root)
			return because("block %llu is used, but there is no file system", block);
		return because("file system: block %llu is %s, but not for the pool", block,
			       test_bit(block, c->of_files) ? "used" : "free");
	}
	return NULL;
}

static u32 root_of_files(const struct gmpool_super_ser *super)
{
	u32 i;

	for (i = 0; i < GMPOOL_MAX_ROOTS; i++)
		if (super->roots[i].owner == GMPOOL_OWNER_GUESTMEMFS)
			return super->roots[i].mbn;
	return 0;
}

/**
 * gmcore_check_dump - check a dump of a node's metadata
 * @dump: the dump; the checksums of one from a live pool may be changed
 * @size: its bytes
 * @about: filled with what the dump says of itself, as far as it was read
 *
 * Return: NULL if the next kernel could use the pool; else the first fault as text, to
 * be freed by free(); NULL with @about->notes set if there is more to say. Without
 * memory, the program ends.
 */
char *gmcore_check_dump(void *dump, size_t size, struct gmcore_dump *about)
{
	struct check *c = calloc(1, sizeof(*c));
	void *aligned = NULL;
	char *why;

	memset(about, 0, sizeof(*about));
	about->nid = -1;
	if (!c)
		abort();
	if (size < GMPOOL_META_SIZE) {
		free(c);
		return because("it is shorter than a super block");
	}
	/* A record finds the header of its block by the address. */
	if (!IS_ALIGNED((unsigned long)dump, GMPOOL_META_SIZE)) {
		if (posix_memalign(&aligned, GMPOOL_META_SIZE, size)) {
			why = no_memory();
			free(c);
			goto done;
		}
		dump = memcpy(aligned, dump, size);
	}
	why = check_super(dump, size, about);
	if (why) {
		free(c);
		goto done;
	}
	c->super = dump;
	c->newer = gmpool_super_newer(c->super);
	gmpool_meta_init(&c->meta, c->super->uuid, no_growth);
	xa_init(&c->poisoned);
	gmfs_image_init(&c->image, &c->meta, gmpool_super_end(c->super), contiguous,
			(void *)c->super);
	why = check_blocks(c, (u8 *)dump + GMPOOL_META_SIZE, about->live);
	if (!why)
		why = check_pool(c, about);
	if (!why)
		why = check_files(c, root_of_files(c->super));
	about->inodes = c->image.nr_inodes;
	gmfs_image_destroy(&c->image);
	gmpool_meta_destroy(&c->meta);
	xa_destroy(&c->poisoned);
	free(c->used);
	free(c->dirty);
	free(c->of_files);
	free(c);
done:
	free(aligned);
	if (IS_ERR(why)) {
		fprintf(stderr, "not enough memory for the check\n");
		exit(2);
	}
	return why;
}
