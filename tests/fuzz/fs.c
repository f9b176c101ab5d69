// SPDX-License-Identifier: GPL-2.0
/*
 * What super.c, inode.c, namei.c and file.c do to pools and records, in the same
 * order and with the same functions, for one task and without a VFS.
 */

#include "fs.h"
#include "machine.h"

struct fs fs_all[FS_MAX];
unsigned int fs_nr;

/* Functions of the pool layer for pool memory and sysfs: they do nothing here. */

int gmpool_zero_init(void)
{
	return 0;
}

int gmpool_scrub_init(void)
{
	return 0;
}

/* There is no thread. */
void gmpool_wait_scrub(struct gmpool *pool, const struct gmpool_range *ranges, size_t nr)
{
}

void gmpool_zero_phys(phys_addr_t phys, u64 len, bool idle)
{
}

void gmpool_notify_state(struct gmpool *pool)
{
}

void gmpool_notify_free(struct gmpool *pool)
{
}

void gmpool_notify_poison(struct gmpool *pool)
{
}

/* The file system at boot, as in super.c. */

static bool contiguous(const struct gmfs_image *img, u64 start, u64 count)
{
	return gmpool_contiguous(img->priv, start, count);
}

static void init_image(struct fs *fs, struct gmfs_image *img)
{
	gmfs_image_init(img, gmpool_metadata(fs->pool),
			gmpool_end_block(fs->pool), contiguous, fs->pool);
}

static int format(struct fs *fs)
{
	const struct timespec64 now = { .tv_sec = 1234567890, .tv_nsec = 42 };
	unsigned int flags;
	int err;

	if (gmpool_check_used(fs->pool, NULL) < gmpool_end_block(fs->pool)) {
		gmpool_fail(fs->pool, "a block is used, but there is no file system");
		return -EUCLEAN;
	}
	flags = gmpool_op_begin(fs->pool);
	err = gmfs_image_format(&fs->img, &now);
	if (!err)
		err = gmpool_set_root(fs->pool, GMPOOL_OWNER_GUESTMEMFS,
				      fs->img.super->hdr.mbn);
	gmpool_op_end(fs->pool, flags);
	if (err)
		gmpool_fail(fs->pool, "no file system can be made");
	return err;
}

static char *load_image(struct fs *fs, struct gmfs_image *img, u32 root)
{
	u64 total = gmpool_end_block(fs->pool);
	unsigned long *used;
	char *why = NULL;
	u64 block;
	int err;

	used = kvzalloc_objs(*used, BITS_TO_LONGS(total));
	if (!used)
		return ERR_PTR(-ENOMEM);
	err = gmfs_image_load(img, root, used);
	block = err ? total : gmpool_check_used(fs->pool, used);
	if (err == -ENOMEM)
		why = ERR_PTR(err);
	else if (err)
		why = kasprintf(GFP_KERNEL, "file system: %s", img->why) ?:
		      ERR_PTR(-ENOMEM);
	else if (block < total)
		why = kasprintf(GFP_KERNEL, "file system: block %llu", block) ?:
		      ERR_PTR(-ENOMEM);
	kvfree(used);
	return why;
}

static int load(struct fs *fs, u32 root)
{
	char *why = load_image(fs, &fs->img, root);

	if (!why)
		return 0;
	gmpool_fail(fs->pool, "%s", IS_ERR(why) ? "no memory" : why);
	if (!IS_ERR(why))
		kfree(why);
	return -EUCLEAN;
}

static void release(struct fs *fs, struct gmfs_inode *ci)
{
	struct gmpool_range range;
	unsigned int flags;
	LIST_HEAD(none);

	flags = gmpool_op_begin(fs->pool);
	if (S_ISREG(ci->rec->mode))
		while (gmfs_extent_cut(&fs->img, ci, &none, 0, GMFS_MAX_BLOCKS,
				       &range) > 0)
			gmpool_free(fs->pool, &range);
	gmfs_inode_free(&fs->img, ci);
	gmpool_op_end(fs->pool, flags);
}

static void free_orphans(struct fs *fs, bool await)
{
	struct gmfs_inode *ci;
	unsigned int flags;

	flags = gmpool_op_begin(fs->pool);
	gmfs_image_await(&fs->img, await);
	gmpool_set_pinned(fs->pool, false);
	gmpool_op_end(fs->pool, flags);
	while ((ci = gmfs_image_orphan(&fs->img)))
		release(fs, ci);
}

static int client_freeze(struct gmpool_client *client, bool frozen)
{
	return 0;
}

static int client_detach(struct gmpool_client *client)
{
	struct fs *fs = container_of(client, struct fs, client);

	fs->attached = false;
	gmfs_image_destroy(&fs->img);
	init_image(fs, &fs->img);
	return 0;
}

static int client_attach(struct gmpool_client *client)
{
	struct fs *fs = container_of(client, struct fs, client);
	int err = format(fs);

	fs->attached = !err;
	return err;
}

static char *client_check(struct gmpool_client *client)
{
	struct fs *fs = container_of(client, struct fs, client);
	struct gmfs_image *img = kzalloc_obj(*img);
	char *why;

	if (!img)
		return ERR_PTR(-ENOMEM);
	init_image(fs, img);
	why = load_image(fs, img, fs->img.super->hdr.mbn);
	if (!why)
		CHECK(fs_digest(img) == fs_digest(&fs->img),
		      "the records say something else than the indexes");
	gmfs_image_destroy(img);
	kfree(img);
	return why;
}

static struct address_space *client_get_mapping(struct gmpool_client *client,
						u64 block, pgoff_t *pgoff)
{
	return NULL;
}

static void start(struct gmpool *pool, bool await)
{
	struct fs *fs = &fs_all[fs_nr++];
	u32 root;
	int err;

	CHECK(fs_nr <= FS_MAX, "more pools than were handed over");
	*fs = (struct fs){ .pool = pool };
	fs->client.freeze = client_freeze;
	fs->client.detach = client_detach;
	fs->client.attach = client_attach;
	fs->client.check = client_check;
	fs->client.get_mapping = client_get_mapping;
	init_image(fs, &fs->img);
	gmpool_set_client(pool, &fs->client);
	if (!gmpool_usable(pool))
		return;

	root = gmpool_root(pool, GMPOOL_OWNER_GUESTMEMFS);
	if (root) {
		err = load(fs, root);
	} else if (gmpool_read_only(pool)) {
		gmpool_fail(pool, "this kernel can only read it, and it has no file system");
		err = -EROFS;
	} else {
		err = format(fs);
	}
	if (err) {
		gmfs_image_destroy(&fs->img);
		init_image(fs, &fs->img);
		return;
	}
	fs->attached = true;
	fs->handed_over = root;
	fs->digest = fs_digest(&fs->img);
	if (fs->img.read_only)
		gmpool_set_read_only(pool);
	if (!gmpool_read_only(pool))
		free_orphans(fs, await);
}

/**
 * fs_boot - boot a kernel with the state that the previous one handed over
 * @await: LUO will retrieve open files
 */
void fs_boot(bool await)
{
	struct gmpool *pool = NULL;

	fs_nr = 0;
	machine_boot(true);
	INIT_LIST_HEAD(&gmpool_list);
	guestmem_pool_retrieve_early();
	machine_late();
	list_for_each_entry(pool, &gmpool_list, list)
		pool->nr_hidden = pool->numbers.nr;
	fuzz_init_gmpool_init();
	pool = NULL;
	while ((pool = gmpool_next(pool)))
		start(pool, await);
	fuzz_init_gmpool_poison_init();
}

/* Number the blocks by falling address, from 3 on, with 5 numbers between extents. */
static void number_downwards(struct gmpool *pool)
{
	struct gmpool_numbers *numbers = &pool->numbers;
	u64 first = 3;
	u32 i;

	for (i = 0; i < numbers->nr / 2; i++)
		swap(numbers->extent[i], numbers->extent[numbers->nr - 1 - i]);
	for (i = 0; i < numbers->nr; i++) {
		numbers->extent[i].first = first;
		first += (numbers->extent[i].size >> GMPOOL_BLOCK_SHIFT) + 5;
	}
}

/**
 * fs_cold_boot - boot a kernel without handed-over state
 * @nid: node of the pool that it makes
 * @base: address of the pool
 * @sections: sizes of its extents; one section between two of them does not belong
 *	to the pool
 * @nr_sections: number of extents
 * @resized: numbers of blocks fall with the address, with gaps, as in a pool that has
 *	grown and shrunk
 */
void fs_cold_boot(int nid, u64 base, const u32 *sections, u32 nr_sections, bool resized)
{
	struct gmpool *pool = memblock_alloc(sizeof(*pool), SMP_CACHE_BYTES);
	u32 i;

	fs_nr = 0;
	machine_boot(false);
	machine_late();
	INIT_LIST_HEAD(&gmpool_list);
	pool->nid = nid;
	pool->handover.key = GMPOOL_NO_KEY;
	for (i = 0; i < nr_sections; i++) {
		pool->numbers.extent[i].base = base;
		pool->numbers.extent[i].size = sections[i] * GMPOOL_GRANULARITY;
		pool->numbers.extent[i].first = pool->total_blocks;
		pool->total_blocks += pool->numbers.extent[i].size >> GMPOOL_BLOCK_SHIFT;
		base += pool->numbers.extent[i].size + GMPOOL_GRANULARITY;
	}
	pool->numbers.nr = nr_sections;
	if (resized)
		number_downwards(pool);
	pool->end_block = gmpool_numbers_end(&pool->numbers);
	pool->nr_hidden = nr_sections;
	list_add_tail(&pool->list, &gmpool_list);
	fuzz_init_gmpool_init();
	start(pool, false);
	fuzz_init_gmpool_poison_init();
}

/**
 * fs_shutdown - end the kernel; memory that is not handed over is lost
 */
void fs_shutdown(void)
{
	struct gmpool *pool, *next;
	unsigned int i, leaked;

	for (i = 0; i < fs_nr; i++)
		gmfs_image_destroy(&fs_all[i].img);
	list_for_each_entry_safe(pool, next, &gmpool_list, list) {
		gmpool_bitmap_destroy(&pool->space.blocks);
		gmpool_bitmap_destroy(&pool->space.clean);
		if (pool->handover.meta.grow)
			gmpool_meta_destroy(&pool->handover.meta);
		xa_destroy(&pool->bad.pages);
		kfree(pool->space.used);
		kfree(pool->space.dirty);
		kfree(pool);
	}
	leaked = machine_end();
	CHECK(!leaked, "%u pieces of memory are not freed", leaked);
}

/* Checks of a file system that do not use the tested functions. */

/**
 * fs_digest - checksum of the contents of an image, independent of places of records
 * @img: the image
 *
 * Return: checksum.
 */
u32 fs_digest(struct gmfs_image *img)
{
	struct gmfs_dirent *de;
	struct gmfs_attr *attr;
	struct rb_node *node;
	struct gmfs_inode *ci;
	unsigned long ino;
	unsigned int i;
	u32 crc = ~0;

	xa_for_each(&img->inodes, ino, ci) {
		crc = crc32c(crc, ci->rec, sizeof(*ci->rec));
		for (attr = gmfs_attr_first(ci); attr; attr = gmfs_attr_next(attr))
			for (i = 0; i < attr->nr; i++)
				crc = crc32c(crc, attr->fragments[i],
					     attr->fragments[i]->nr_slots *
					     GMFS_ATTR_SLOT);
		if (!S_ISDIR(ci->rec->mode)) {
			for (node = rb_first(&ci->file.extents); node;
			     node = rb_next(node))
				crc = crc32c(crc, rb_entry(node, struct gmfs_extent,
							   node)->rec,
					     sizeof(struct gmfs_extent_ser));
			crc = crc32c(crc, &ci->file.blocks, sizeof(u64));
			continue;
		}
		for (de = gmfs_dirent_next(ci, 0); de; de = gmfs_dirent_after(de))
			crc = crc32c(crc, de->rec,
				     de->rec->nr_slots * GMFS_DIRENT_SLOT);
		crc = crc32c(crc, &ci->dir.nr, sizeof(u64));
	}
	return crc;
}

static u64 verify_dir(struct fs *fs, struct gmfs_inode *dir)
{
	struct gmfs_dirent *de;
	struct gmfs_inode *child;
	u64 nr = 0, dirs = 0;

	for (de = gmfs_dirent_next(dir, 0); de; de = gmfs_dirent_after(de)) {
		CHECK(gmfs_dirent_next(dir, de->rec->cookie + 1) ==
		      gmfs_dirent_after(de), "two ways to the next entry");
		CHECK(gmfs_dirent_find(dir, de->rec->name, de->rec->name_len) == de,
		      "an entry is not found");
		child = gmfs_inode_find(&fs->img, de->rec->ino);
		CHECK(child, "an entry names no inode");
		CHECK(child->rec->nlink, "an inode has a name and no link");
		if (S_ISDIR(child->rec->mode)) {
			CHECK(child->dir.parent == dir, "parent");
			dirs++;
		}
		nr++;
	}
	CHECK(nr == dir->dir.nr, "number of entries");
	return dirs;
}

static void verify_attrs(struct gmfs_inode *ci)
{
	struct gmfs_attr *attr;
	char *value;

	for (attr = gmfs_attr_first(ci); attr; attr = gmfs_attr_next(attr)) {
		CHECK(gmfs_attr_find(ci, attr->kind, gmfs_attr_name(attr),
				     attr->name_len) == attr,
		      "an attribute is not found");
		value = malloc(gmfs_attr_value_size(attr) + 1);
		gmfs_attr_read(attr, value);
		free(value);
	}
	if (S_ISLNK(ci->rec->mode))
		CHECK(gmfs_attr_find(ci, GMFS_ATTR_TARGET, "", 0), "target");
}

static void verify_extents(struct fs *fs, struct gmfs_inode *ci,
			   unsigned long *used)
{
	u64 total = fs->pool->end_block;
	u64 end = 0, blocks = 0, block;
	struct rb_node *node;

	for (node = rb_first(&ci->file.extents); node; node = rb_next(node)) {
		const struct gmfs_extent_ser *rec =
			rb_entry(node, struct gmfs_extent, node)->rec;

		CHECK(rec->ino == ci->ino && rec->count, "extent");
		CHECK(rec->file_block >= end, "extents of a file overlap");
		end = rec->file_block + rec->count;
		CHECK(rec->pool_block < total &&
		      rec->count <= total - rec->pool_block,
		      "extent outside of the pool");
		for (block = rec->pool_block;
		     block < rec->pool_block + rec->count; block++) {
			CHECK(!test_bit(block, used), "block %llu has two owners",
			      block);
			__set_bit(block, used);
		}
		blocks += rec->count;
	}
	CHECK(blocks == ci->file.blocks, "number of blocks");
}

/* Check that used blocks are taken, and no others except those with a failed page. */
static void verify_blocks(struct gmpool *pool, const unsigned long *used)
{
	u64 block, nr_free = 0, nr_clean = 0;

	for (block = 0; block < pool->end_block; block++) {
		u64 map = block / GMPOOL_BITMAP_BITS, bit = block % GMPOOL_BITMAP_BITS;
		bool is_used = test_bit(bit, (unsigned long *)pool->space.used[map]->bits);
		bool is_dirty = test_bit(bit, (unsigned long *)pool->space.dirty[map]->bits);
		bool failed = gmpool_has_poison(pool, block * GMPOOL_BLOCK_PAGES,
						GMPOOL_BLOCK_PAGES);
		bool is_taken = test_bit(block, pool->space.blocks.taken);

		CHECK(is_used == test_bit(block, used), "bitmap, block %llu", block);
		CHECK(!is_used || !is_dirty, "block %llu used and dirty", block);
		CHECK(is_taken == (is_used || failed || !gmpool_contiguous(pool, block, 1)),
		      "block %llu taken", block);
		CHECK(test_bit(block, pool->space.clean.taken) == (is_taken || is_dirty),
		      "block %llu clean", block);
		nr_free += !is_taken;
		nr_clean += !is_taken && !is_dirty;
	}
	CHECK(nr_free == pool->space.blocks.nr_free, "number of free blocks");
	CHECK(nr_clean == pool->space.clean.nr_free, "number of clean blocks");
}

/**
 * fs_verify - check all state of a file system
 * @fs: file system in use, with no operation under way
 */
void fs_verify(struct fs *fs)
{
	u64 total = fs->pool->end_block, links;
	unsigned long *used = calloc(BITS_TO_LONGS(total), sizeof(long));
	unsigned int fails = machine_fail_after(0);
	struct gmfs_inode *ci;
	unsigned long ino;
	char *why;

	xa_for_each(&fs->img.inodes, ino, ci) {
		CHECK(ci->ino == ino && ci->rec->ino == ino, "inode number");
		verify_attrs(ci);
		if (!S_ISDIR(ci->rec->mode)) {
			verify_extents(fs, ci, used);
			continue;
		}
		links = verify_dir(fs, ci);
		links += ci->dir.parent ? 2 : 0;
		CHECK(ci->rec->nlink == links,
		      "directory %lu has %u links, should be %llu", ino,
		      ci->rec->nlink, links);
	}
	verify_blocks(fs->pool, used);
	free(used);

	mutex_lock(&fs->pool->manage);
	why = gmpool_check(fs->pool);
	mutex_unlock(&fs->pool->manage);
	CHECK(!why, "the next kernel would say: %s", why);
	machine_fail_after(fails);
}

/* System calls. */

struct gmfs_inode *fs_root(struct fs *fs)
{
	return gmfs_inode_find(&fs->img, fs->img.super->root_ino);
}

static int publish(struct fs *fs, struct gmfs_inode *ci, umode_t mode)
{
	static const char target[] = "../somewhere/else";

	gmfs_inode_publish(&fs->img, ci, mode);
	ci->rec->uid = 1000;
	if (S_ISBLK(mode))
		ci->rec->rdev = GMFS_RDEV(8, 1);
	if (!S_ISLNK(mode))
		return 0;
	ci->rec->size = strlen(target);
	return gmfs_attr_set(&fs->img, ci, GMFS_ATTR_TARGET, "", 0, target,
			     strlen(target));
}

/**
 * fs_make - create, mkdir, symlink, mknod; or O_TMPFILE if there is no name
 */
int fs_make(struct fs *fs, struct gmfs_inode *dir, const char *name,
	    unsigned int len, umode_t mode, struct gmfs_inode **made)
{
	struct gmfs_inode *ci;
	unsigned int flags;
	int err;

	flags = gmpool_op_begin(fs->pool);
	ci = gmfs_inode_reserve(&fs->img);
	gmpool_op_end(fs->pool, flags);
	if (IS_ERR(ci))
		return PTR_ERR(ci);

	flags = gmpool_op_begin(fs->pool);
	err = publish(fs, ci, mode);
	if (!err && len)
		err = gmfs_dirent_insert(&fs->img, dir, ci, name, len);
	if (err)
		gmfs_inode_unpublish(&fs->img, ci);
	gmpool_op_end(fs->pool, flags);

	if (err) {
		flags = gmpool_op_begin(fs->pool);
		gmfs_inode_free(&fs->img, ci);
		gmpool_op_end(fs->pool, flags);
	} else if (made) {
		*made = ci;
	}
	return err;
}

int fs_link(struct fs *fs, struct gmfs_inode *dir, struct gmfs_inode *ci,
	    const char *name, unsigned int len)
{
	unsigned int flags;
	int err;

	/* The VFS refuses directories, and inodes that were deleted. */
	if (S_ISDIR(ci->rec->mode) || !ci->rec->nlink)
		return -EPERM;
	flags = gmpool_op_begin(fs->pool);
	err = gmfs_dirent_insert(&fs->img, dir, ci, name, len);
	gmpool_op_end(fs->pool, flags);
	return err;
}

static void put_inode(struct fs *fs, struct gmfs_inode *ci, bool open)
{
	if (!ci->rec->nlink && !ci->awaited && !open)
		release(fs, ci);
}

/**
 * fs_remove - unlink, rmdir
 * @open: it is open, so its inode is not freed
 */
int fs_remove(struct fs *fs, struct gmfs_inode *dir, struct gmfs_dirent *de,
	      bool open)
{
	struct gmfs_inode *ci = gmfs_inode_find(&fs->img, de->rec->ino);
	unsigned int flags;
	int err;

	flags = gmpool_op_begin(fs->pool);
	err = gmfs_dirent_remove(&fs->img, dir, de);
	gmpool_op_end(fs->pool, flags);
	if (!err)
		put_inode(fs, ci, open);
	return err;
}

/* Returns true if @dir is @top or below it. */
static bool is_below(const struct gmfs_inode *dir, const struct gmfs_inode *top)
{
	for (; dir != top; dir = dir->dir.parent)
		if (!dir->dir.parent || dir->dir.parent == dir)
			return false;
	return true;
}

int fs_rename(struct fs *fs, struct gmfs_inode *old_dir, struct gmfs_dirent *old,
	      struct gmfs_inode *new_dir, const char *name, unsigned int len,
	      bool replace, bool whiteout)
{
	struct gmfs_inode *ci = gmfs_inode_find(&fs->img, old->rec->ino);
	struct gmfs_dirent *target = gmfs_dirent_find(new_dir, name, len);
	struct gmfs_inode *victim = NULL, *leave = NULL;
	unsigned int flags;
	int err;

	/* The VFS does not move a directory below itself or onto its ancestor. */
	if (is_below(new_dir, ci))
		return -EINVAL;
	if (target)
		victim = gmfs_inode_find(&fs->img, target->rec->ino);
	if (victim && (victim == ci || is_below(old_dir, victim)))
		return -ENOTEMPTY;
	if (whiteout)
		err = fs_make(fs, old_dir, NULL, 0, S_IFCHR, &leave);
	if (whiteout && err)
		return err;
	flags = gmpool_op_begin(fs->pool);
	err = gmfs_dirent_rename(&fs->img, old_dir, old, new_dir, name, len,
				 replace, leave);
	gmpool_op_end(fs->pool, flags);
	if (leave)
		put_inode(fs, leave, false);
	if (!err && victim)
		put_inode(fs, victim, false);
	return err;
}

int fs_exchange(struct fs *fs, struct gmfs_inode *dir1, struct gmfs_dirent *de1,
		struct gmfs_inode *dir2, struct gmfs_dirent *de2)
{
	struct gmfs_inode *gi1 = gmfs_inode_find(&fs->img, de1->rec->ino);
	struct gmfs_inode *gi2 = gmfs_inode_find(&fs->img, de2->rec->ino);
	unsigned int flags;
	int err;

	if (is_below(dir1, gi2) || is_below(dir2, gi1))
		return -EINVAL;
	flags = gmpool_op_begin(fs->pool);
	err = gmfs_dirent_exchange(&fs->img, dir1, de1, dir2, de2);
	gmpool_op_end(fs->pool, flags);
	return err;
}

static void scrub(struct gmpool *pool, const struct gmpool_range *range)
{
	u64 block;

	for (block = range->start; block < range->start + range->count; block++)
		if (gmpool_is_dirty(pool, block))
			gmpool_scrubbed(pool, block);
}

/* Fill a part of a hole, with as many extents as needed. */
static int fill_hole(struct fs *fs, struct gmfs_inode *ci, u64 first, u64 count)
{
	u64 goal = gmfs_extent_goal(ci, first);
	struct gmpool_range range;
	unsigned int flags;
	LIST_HEAD(rsv);
	int err;

	err = gmpool_check_room(fs->pool, count);
	while (!err && count) {
		err = gmpool_claim(fs->pool, count, goal, &range);
		if (err)
			break;
		scrub(fs->pool, &range);
		flags = gmpool_op_begin(fs->pool);
		err = gmfs_extent_reserve(&fs->img, &rsv, 1);
		if (!err) {
			err = gmfs_extent_insert(&fs->img, ci, &rsv, first, &range);
			CHECK(!err, "no hole where one was found: %d", err);
			gmpool_commit(fs->pool, &range);
			gmfs_extent_unreserve(&fs->img, &rsv);
		}
		gmpool_op_end(fs->pool, flags);
		if (err)
			gmpool_unclaim(fs->pool, &range);
		first += range.count;
		count -= range.count;
		goal = range.start + range.count;
	}
	return err;
}

/**
 * fs_fill - fallocate, truncate to more
 * @size: new size of the file in bytes; 0 to keep it
 */
int fs_fill(struct fs *fs, struct gmfs_inode *ci, u64 first, u64 end, u64 size)
{
	struct gmpool_range range;
	bool mapped;
	int err;

	for (; first < end; first += range.count) {
		mapped = gmfs_extent_find(ci, first, &range);
		range.count = min(range.count, end - first);
		err = mapped ? 0 : fill_hole(fs, ci, first, range.count);
		if (err)
			return err;
	}
	if (size > ci->rec->size) {
		unsigned int flags = gmpool_op_begin(fs->pool);

		ci->rec->size = size;
		gmfs_dirty(&fs->img, ci->rec);
		gmpool_op_end(fs->pool, flags);
	}
	return 0;
}

/**
 * fs_punch - punch a hole; or truncate to less, which splits no extent
 */
int fs_punch(struct fs *fs, struct gmfs_inode *ci, u64 first, u64 end)
{
	struct gmpool_range range;
	unsigned int flags;
	LIST_HEAD(rsv);
	int err = 0;

	flags = gmpool_op_begin(fs->pool);
	if (end < GMFS_MAX_BLOCKS)
		err = gmfs_extent_reserve(&fs->img, &rsv, 1);
	if (!err) {
		while ((err = gmfs_extent_cut(&fs->img, ci, &rsv, first, end,
					      &range)) > 0)
			gmpool_free(fs->pool, &range);
		CHECK(!err, "one extent is not enough for a hole: %d", err);
		gmfs_extent_unreserve(&fs->img, &rsv);
	}
	gmpool_op_end(fs->pool, flags);
	return err;
}

/**
 * fs_exchange_range - GUESTMEMFS_IOC_EXCHANGE_RANGE, in blocks; nothing if the ranges overlap
 */
int fs_exchange_range(struct fs *fs, struct gmfs_inode *ci1, u64 first1,
		      struct gmfs_inode *ci2, u64 first2, u64 count)
{
	u64 before = ci1->file.blocks + ci2->file.blocks, moved[2];
	unsigned int flags;
	int err;

	if (ci1 == ci2 && first1 < first2 + count && first2 < first1 + count)
		return -EINVAL;
	flags = gmpool_op_begin(fs->pool);
	err = gmfs_extent_exchange(&fs->img, ci1, first1, ci2, first2, count,
				   moved);
	gmpool_op_end(fs->pool, flags);
	CHECK(ci1->file.blocks + ci2->file.blocks == before,
	      "an exchange has lost or made blocks");
	return err;
}

int fs_setxattr(struct fs *fs, struct gmfs_inode *ci, const char *name,
		const void *value, size_t size)
{
	unsigned int flags = gmpool_op_begin(fs->pool);
	int err;

	err = gmfs_attr_set(&fs->img, ci, GMFS_ATTR_XATTR, name, strlen(name),
			    value, size);
	gmpool_op_end(fs->pool, flags);
	return err;
}

void fs_removexattr(struct fs *fs, struct gmfs_inode *ci, struct gmfs_attr *attr)
{
	unsigned int flags = gmpool_op_begin(fs->pool);

	gmfs_attr_remove(&fs->img, ci, attr);
	gmpool_op_end(fs->pool, flags);
}

/**
 * fs_preserve - LUO preserves an open file
 */
void fs_preserve(struct fs *fs, struct gmfs_inode *ci)
{
	unsigned int flags = gmpool_op_begin(fs->pool);

	fs->img.super->feature_compat |= GMFS_FEATURE_COMPAT_PRESERVED;
	gmfs_dirty(&fs->img, fs->img.super);
	ci->rec->preserved++;
	/* Devices have some of them. */
	if (ci->ino % 2) {
		ci->rec->pinned = 1;
		fs->img.super->feature_ro_compat |= GMFS_FEATURE_RO_COMPAT_PINNED;
		gmpool_set_pinned(fs->pool, true);
	}
	gmfs_dirty(&fs->img, ci->rec);
	gmpool_op_end(fs->pool, flags);
}

/**
 * fs_retrieve - LUO retrieves an open file, which is then closed
 */
void fs_retrieve(struct fs *fs, struct gmfs_inode *ci)
{
	if (!ci->awaited)
		return;
	ci->awaited--;
	put_inode(fs, ci, false);
}

int fs_tune(struct fs *fs, u64 scrub_target, u64 reserve, u32 policy)
{
	struct gmpool_tunables new = fs->pool->tune;
	int err;

	new.scrub_target = scrub_target;
	new.reserve = reserve;
	new.low_watermark = reserve;
	new.policy = policy;
	mutex_lock(&fs->pool->manage);
	err = gmpool_tune(fs->pool, &new);
	mutex_unlock(&fs->pool->manage);
	return err;
}

/**
 * fs_scrub - zero blocks as the scrub thread of the pool does
 */
void fs_scrub(struct fs *fs, u64 count)
{
	struct gmpool *pool = fs->pool;
	u64 block;

	for (block = 0; block < pool->end_block && count; block++) {
		if (test_bit(block, pool->space.blocks.taken) ||
		    !gmpool_is_dirty(pool, block))
			continue;
		gmpool_scrubbed(pool, block);
		count--;
	}
}

int fs_discard(struct fs *fs)
{
	int err;

	mutex_lock(&fs->pool->manage);
	err = gmpool_discard(fs->pool);
	mutex_unlock(&fs->pool->manage);
	fs->handed_over = false;
	return err;
}

/* Operations that are chosen by bytes of the input. */

struct reader {
	const u8 *at;
	const u8 *end;
};

static unsigned int next_byte(struct reader *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static unsigned int next_word(struct reader *in)
{
	unsigned int low = next_byte(in);

	return low | next_byte(in) << 8;
}

static struct gmfs_inode *pick(struct fs *fs, struct reader *in, umode_t type)
{
	unsigned long from = next_word(in) %
			     (fs->pool->handover.meta.nr * GMFS_INODES_PER_BLOCK);
	unsigned long ino = from;
	struct gmfs_inode *ci;

	xa_for_each_start(&fs->img.inodes, ino, ci, from)
		if (!type || (ci->rec->mode & S_IFMT) == type)
			return ci;
	return fs_root(fs);
}

static struct gmfs_inode *pick_dir(struct fs *fs, struct reader *in)
{
	struct gmfs_inode *dir = pick(fs, in, S_IFDIR);

	/* The VFS makes nothing in a deleted directory. */
	return dir->dir.parent ? dir : fs_root(fs);
}

static struct gmfs_dirent *pick_entry(struct gmfs_inode *dir, struct reader *in)
{
	struct gmfs_dirent *de = gmfs_dirent_next(dir, next_byte(in));

	return de ?: gmfs_dirent_next(dir, 0);
}

static unsigned int pick_name(struct reader *in, char *name)
{
	unsigned int byte = next_byte(in);
	unsigned int len = byte & 1 ? 3 : byte % GMFS_NAME_MAX + 1;

	memset(name, 'a' + byte % 26, len);
	return len;
}

static void operate(struct fs *fs, struct reader *in)
{
	static const umode_t modes[] = {
		S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777, S_IFBLK | 0600,
		S_IFIFO | 0600, S_IFSOCK | 0600,
	};
	static const char value[GMFS_ATTR_VALUE_MAX] = "value";
	unsigned int what = next_byte(in), number;
	struct gmfs_inode *dir, *other, *ci;
	struct gmfs_dirent *de, *de2;
	char name[GMFS_NAME_MAX];
	struct gmfs_attr *attr;
	unsigned int len;
	u64 first;

	switch (what % 16) {
	case 0:
	case 1:
		dir = pick_dir(fs, in);
		len = pick_name(in, name);
		fs_make(fs, dir, name, len, modes[what / 16 % ARRAY_SIZE(modes)],
			NULL);
		break;
	case 2:
		fs_make(fs, fs_root(fs), NULL, 0, S_IFREG | 0600, NULL);
		break;
	case 3:
		ci = pick(fs, in, S_IFREG);
		dir = pick_dir(fs, in);
		len = pick_name(in, name);
		fs_link(fs, dir, ci, name, len);
		break;
	case 4:
	case 5:
		dir = pick(fs, in, S_IFDIR);
		de = pick_entry(dir, in);
		if (de)
			fs_remove(fs, dir, de, what & 16);
		break;
	case 6:
		dir = pick(fs, in, S_IFDIR);
		de = pick_entry(dir, in);
		other = pick_dir(fs, in);
		len = pick_name(in, name);
		if (de)
			fs_rename(fs, dir, de, other, name, len, what & 16,
				  what & 32);
		break;
	case 7:
		dir = pick(fs, in, S_IFDIR);
		de = pick_entry(dir, in);
		other = pick(fs, in, S_IFDIR);
		de2 = pick_entry(other, in);
		if (de && de2)
			fs_exchange(fs, dir, de, other, de2);
		break;
	case 8:
	case 9:
		ci = pick(fs, in, S_IFREG);
		first = what & 16 ? next_word(in) : next_byte(in) % 8;
		number = what & 32 ? next_word(in) % 1100 : next_byte(in) % 16;
		if (S_ISREG(ci->rec->mode))
			fs_fill(fs, ci, first, first + number,
				(first + number) << GMPOOL_BLOCK_SHIFT);
		break;
	case 10:
		ci = pick(fs, in, S_IFREG);
		other = pick(fs, in, S_IFREG);
		first = next_byte(in) % 64;
		number = next_byte(in);
		if (S_ISREG(ci->rec->mode) && S_ISREG(other->rec->mode))
			fs_exchange_range(fs, ci, first, other, number % 64,
					  what & 16 ? 1100 : 1 + number / 16);
		break;
	case 11:
		ci = pick(fs, in, S_IFREG);
		first = next_byte(in);
		number = next_byte(in);
		if (S_ISREG(ci->rec->mode))
			fs_punch(fs, ci, first % 64, what & 16 ? GMFS_MAX_BLOCKS :
				 first % 64 + number % 16);
		break;
	case 12:
		ci = pick(fs, in, 0);
		number = what & 16 ? next_word(in) % 9000 : next_byte(in);
		snprintf(name, sizeof(name), "user.%u", what >> 5);
		fs_setxattr(fs, ci, name, value, number);
		break;
	case 13:
		ci = pick(fs, in, 0);
		attr = gmfs_attr_first(ci);
		if (attr && attr->kind == GMFS_ATTR_XATTR)
			fs_removexattr(fs, ci, attr);
		break;
	case 14:
		ci = pick(fs, in, S_IFREG);
		if (what & 16 && S_ISREG(ci->rec->mode))
			fs_preserve(fs, ci);
		else
			fs_retrieve(fs, ci);
		break;
	default:
		number = next_word(in);
		if (what & 16)
			fs_scrub(fs, number % 64);
		else if (what & 32)
			machine_poison(gmpool_pfn(fs->pool, number %
						  fs->pool->total_blocks) +
				       number % GMPOOL_BLOCK_PAGES);
		else
			fs_tune(fs, number % fs->pool->total_blocks,
				number / 16 % fs->pool->total_blocks, number & 1);
		break;
	}
}

/**
 * fs_operate - do the operations that bytes of the input choose
 * @fs: file system in use, not read-only
 * @ops: bytes
 * @size: number of bytes
 */
void fs_operate(struct fs *fs, const u8 *ops, size_t size)
{
	struct reader in = { .at = ops, .end = ops + size };

	while (in.at < in.end)
		operate(fs, &in);
}
