// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the corpus of the format's fuzzer: handed-over pools that were used in
 * different ways. libFuzzer tries small images more often in the same time, so large
 * ones go to a folder of their own. The small ones include damaged images that
 * once caused a finding.
 *
 * usage: mkimage SMALL LARGE
 */

#include "fs.h"
#include "image.h"
#include "machine.h"
#include "../../fs/guestmemfs/numa/format.h"

#define NR_RANDOM	24

static const u32 small[] = { 1 };
static const u32 three[] = { 1, 2, 1 };
static const u32 large[] = { 8, 8, 8 };

static u64 seed;

static u32 rnd(u32 below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % below;
}

static struct gmfs_inode *make(struct fs *fs, struct gmfs_inode *dir, umode_t mode,
			       const char *name)
{
	struct gmfs_inode *ci;

	if (fs_make(fs, dir, name, strlen(name), mode, &ci)) {
		fprintf(stderr, "mkimage: %s cannot be made\n", name);
		exit(1);
	}
	return ci;
}

static void empty(struct fs *fs)
{
}

static void files(struct fs *fs)
{
	char name[32];
	unsigned int i;

	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		fs_fill(fs, make(fs, fs_root(fs), S_IFREG | 0600, name), 0, 1,
			GMPOOL_BLOCK_SIZE - i);
	}
}

static void deep(struct fs *fs)
{
	struct gmfs_inode *dir = fs_root(fs);
	unsigned int i;

	for (i = 0; i < 20; i++)
		dir = make(fs, dir, S_IFDIR | 0755, "below");
	make(fs, dir, S_IFREG | 0600, "file");
}

/* Two files that grow alternately, and one with holes. */
static void fragments(struct fs *fs)
{
	struct gmfs_inode *a = make(fs, fs_root(fs), S_IFREG | 0600, "a");
	struct gmfs_inode *b = make(fs, fs_root(fs), S_IFREG | 0600, "b");
	unsigned int i;

	for (i = 0; i < 20; i++) {
		fs_fill(fs, a, i, i + 1, (i + 1) * GMPOOL_BLOCK_SIZE);
		fs_fill(fs, b, 2 * i, 2 * i + 1, 0);
	}
	fs_punch(fs, a, 3, 4);
	fs_punch(fs, a, 7, 12);
}

static void full(struct fs *fs)
{
	u64 blocks = gmpool_total_blocks(fs->pool);
	struct gmfs_inode *ci = make(fs, fs_root(fs), S_IFREG | 0600, "all");

	fs_fill(fs, ci, 0, blocks, blocks * GMPOOL_BLOCK_SIZE);
	fs_punch(fs, ci, 5, 6);
}

static void attributes(struct fs *fs)
{
	static const char value[9000] = "value";
	struct gmfs_inode *ci = make(fs, fs_root(fs), S_IFREG | 0600, "file");

	fs_setxattr(fs, ci, "user.empty", value, 0);
	fs_setxattr(fs, ci, "user.short", value, 5);
	fs_setxattr(fs, ci, "user.long", value, sizeof(value));
	fs_setxattr(fs, fs_root(fs), "security.selinux", value, 30);
	make(fs, fs_root(fs), S_IFLNK | 0777, "link");
}

static void unlinked(struct fs *fs)
{
	struct gmfs_inode *root = fs_root(fs), *ci;

	ci = make(fs, root, S_IFREG | 0600, "open");
	fs_fill(fs, ci, 0, 3, 0);
	fs_preserve(fs, make(fs, root, S_IFREG | 0600, "kept"));
	fs_remove(fs, root, gmfs_dirent_find(root, "open", 4), true);
	fs_remove(fs, root, gmfs_dirent_find(root, "kept", 4), true);
	make(fs, root, S_IFDIR | 0700, "dir");
	fs_remove(fs, root, gmfs_dirent_find(root, "dir", 3), true);
}

static void kinds(struct fs *fs)
{
	static const umode_t modes[] = {
		S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK,
	};
	struct gmfs_inode *root = fs_root(fs), *ci;
	char name[GMFS_NAME_MAX + 1];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		memset(name, 'a' + i, GMFS_NAME_MAX);
		name[i * 42 + 1] = '\0';
		ci = make(fs, root, modes[i] | 0640, name);
		if (S_ISREG(modes[i]))
			fs_link(fs, root, ci, "another", 7);
	}
}

static void failed(struct fs *fs)
{
	files(fs);
	machine_poison(gmpool_pfn(fs->pool, 3) + 7);
	machine_poison(gmpool_pfn(fs->pool, 3) + 8);
	machine_poison(gmpool_pfn(fs->pool, 50));
}

static void tuned(struct fs *fs)
{
	fs_tune(fs, 20, 10, GMPOOL_POLICY_FIRST_FIT);
	fs_scrub(fs, 10);
	files(fs);
}

/* So many chunks that there is a second table. */
static void tables(struct fs *fs)
{
	char name[GMFS_NAME_MAX + 1];
	unsigned int i;

	memset(name, 'x', GMFS_NAME_MAX);
	name[GMFS_NAME_MAX] = '\0';
	for (i = 0; i < 1800; i++) {
		name[0] = 'a' + i / 26 / 26;
		name[1] = 'a' + i / 26 % 26;
		name[2] = 'a' + i % 26;
		make(fs, fs_root(fs), S_IFREG | 0600, name);
	}
}

static void any(struct fs *fs)
{
	u8 ops[300];
	unsigned int i;

	for (i = 0; i < sizeof(ops); i++)
		ops[i] = rnd(256);
	fs_operate(fs, ops, sizeof(ops));
}

static u8 memory[(INPUT_PAGES + 1) * GMPOOL_META_SIZE] __aligned(8);

/* Former findings, by the change that an image needs for them. */

static struct gmpool_super_ser *super_of(const struct input *input)
{
	return (void *)(memory + input->blobs[0] * GMPOOL_META_SIZE);
}

static void *at_phys(u64 phys)
{
	return memory + GMPOOL_META_SIZE + (phys - MACHINE_PHYS);
}

/* A new file system was made in addition to the old one. */
static void root_lost(struct input *input)
{
	struct gmpool_super_ser *super = super_of(input);

	memset(super->roots, 0, sizeof(super->roots));
	gmpool_super_update(super);
}

/* The same, and the blocks of the old one did not belong to a file. */
static void records_lost(struct input *input)
{
	struct gmpool_super_ser *super = super_of(input);
	struct gmpool_table_ser *table = at_phys(super->tables[0]);
	struct gmpool_meta_ser *hdr;
	u32 i;

	root_lost(input);
	for (i = 0; i < table->nr; i++) {
		hdr = at_phys(table->chunks[i].phys);
		if (hdr->type < GMFS_META_SUPER)
			continue;
		hdr->type = GMPOOL_META_FREE;
		hdr->csum = gmpool_meta_csum(hdr);
	}
}

/* A page of other use was read as a chunk table. */
static void table_lost(struct input *input)
{
	u64 phys = super_of(input)->tables[0];

	input->orders[(phys - MACHINE_PHYS) / GMPOOL_META_SIZE] = MACHINE_LOST;
}

/* A page ended with 0, and was taken for memory. */
static void table_highest(struct input *input)
{
	struct gmpool_super_ser *super = super_of(input);

	super->tables[0] = -(u64)GMPOOL_META_SIZE;
	gmpool_super_update(super);
}

/* The super block was used after it had been freed. */
static void super_in_chunk(struct input *input)
{
	struct gmpool_super_ser *super = super_of(input);
	struct gmpool_table_ser *table = at_phys(super->tables[0]);

	table->chunks[0].phys = MACHINE_PHYS + (input->blobs[0] - 1) *
						GMPOOL_META_SIZE;
	table->csum = gmpool_table_csum(table);
	input->flags = INPUT_DISCARD;
}

/* A new inode inherited old contents of its slot. */
static void slot_rest(struct input *input)
{
	struct gmpool_super_ser *super = super_of(input);
	struct gmpool_table_ser *table = at_phys(super->tables[0]);
	struct gmpool_meta_ser *hdr;
	u32 i;

	for (i = 0; i < table->nr; i++) {
		hdr = at_phys(table->chunks[i].phys);
		if (hdr->type != GMFS_META_INODES)
			continue;
		((u8 *)hdr)[2 * sizeof(struct gmfs_inode_ser) + 200] = 1;
		hdr->csum = gmpool_meta_csum(hdr);
	}
	/* Make a file. */
	input->nr_ops = 4;
}

/* The super block was in metadata block 0, which the next kernel took for none. */
static void first_free(struct input *input)
{
	struct gmpool_super_ser *super = super_of(input);
	struct gmpool_table_ser *table = at_phys(super->tables[0]);
	struct gmpool_meta_ser *first = at_phys(table->chunks[0].phys);
	struct gmpool_meta_ser *last = at_phys(table->chunks[table->nr - 1].phys);

	records_lost(input);
	last->type = first->type;
	memcpy(last + 1, first + 1, GMPOOL_META_SIZE - sizeof(*last));
	last->csum = gmpool_meta_csum(last);
	first->type = GMPOOL_META_FREE;
	first->csum = gmpool_meta_csum(first);
}

/* The memory of the pool is also something else. */
static void in_scratch(struct input *input)
{
	input->ranges[MACHINE_SCRATCH] = 1;
}

static void in_use(struct input *input)
{
	input->ranges[MACHINE_USED] = 1;
}

static void gone(struct input *input)
{
	input->ranges[MACHINE_GONE] = 1;
}

static void write_input(const char *dir, const char *name, bool ops,
			void (*edit)(struct input *input))
{
	struct input *input = (void *)memory;
	unsigned int i, order, nr = 0;
	char path[4096];
	FILE *file;

	memset(memory, 0, sizeof(memory));
	memset(input->orders, MACHINE_LOST, sizeof(input->orders));
	for (i = 0; i < INPUT_BLOBS; i++)
		if (machine_subtree_of(i))
			input->blobs[i] = (machine_subtree_of(i) - MACHINE_PHYS) /
					  GMPOOL_META_SIZE + 1;
	for (i = 0; i < INPUT_PAGES; i += 1U << order) {
		input->orders[i] = machine_order(i);
		order = input->orders[i] == MACHINE_LOST ? 0 : input->orders[i];
		if (input->orders[i] == MACHINE_LOST)
			continue;
		nr = i + (1U << order);
		memcpy(memory + (i + 1) * GMPOOL_META_SIZE, machine_page(i),
		       GMPOOL_META_SIZE << order);
	}
	input->flags = rnd(8);
	if (ops) {
		input->nr_ops = 32 + rnd(300);
		for (i = 0; i < input->nr_ops; i++)
			input->ops[i] = rnd(256);
	}
	if (edit)
		edit(input);

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	if (!file || fwrite(memory, GMPOOL_META_SIZE, nr + 1, file) != nr + 1 ||
	    fclose(file)) {
		fprintf(stderr, "mkimage: %s cannot be written: %m\n", path);
		exit(1);
	}
}

/* If @single, all metadata is in chunks of one page. @resized: see fs_cold_boot(). */
static void make_pool_image(const char *dir, const char *name, const u32 *sections,
			    u32 nr_sections, bool single, bool resized,
			    void (*fill)(struct fs *fs), void (*edit)(struct input *input))
{
	machine_start();
	machine_few_pages(single);
	fs_cold_boot(0, MACHINE_POOLS, sections, nr_sections, resized);
	fill(&fs_all[0]);
	fs_verify(&fs_all[0]);
	machine_reboot();
	fs_shutdown();
	machine_kexec();
	write_input(dir, name, fill == any, edit);
}

static void make_image(const char *dir, const char *name, const u32 *sections,
		       u32 nr_sections, bool single, void (*fill)(struct fs *fs),
		       void (*edit)(struct input *input))
{
	make_pool_image(dir, name, sections, nr_sections, single, false, fill, edit);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fill)(struct fs *fs);
	} images[] = {
		{ "empty", empty },		{ "files", files },
		{ "deep", deep },		{ "fragments", fragments },
		{ "full", full },		{ "attributes", attributes },
		{ "unlinked", unlinked },	{ "kinds", kinds },
		{ "failed", failed },		{ "tuned", tuned },
	};
	static const struct {
		const char *name;
		void (*fill)(struct fs *fs);
		void (*edit)(struct input *input);
	} findings[] = {
		{ "root-lost", deep, root_lost },
		{ "records-lost", files, records_lost },
		{ "table-lost", files, table_lost },
		{ "table-highest", files, table_highest },
		{ "super-in-chunk", files, super_in_chunk },
		{ "slot-rest", empty, slot_rest },
		{ "first-free", empty, first_free },
		{ "in-scratch", files, in_scratch },
		{ "in-use", files, in_use },
		{ "gone", files, gone },
	};
	char name[32];
	unsigned int i;

	if (argc != 3) {
		fprintf(stderr, "usage: mkimage SMALL LARGE\n");
		return 2;
	}
	for (i = 0; i < ARRAY_SIZE(images); i++) {
		make_image(argv[1], images[i].name, small, ARRAY_SIZE(small), true,
			   images[i].fill, NULL);
		snprintf(name, sizeof(name), "%s-3", images[i].name);
		make_image(argv[1], name, three, ARRAY_SIZE(three), i & 1,
			   images[i].fill, NULL);
		snprintf(name, sizeof(name), "%s-resized", images[i].name);
		make_pool_image(argv[1], name, three, ARRAY_SIZE(three), i & 1, true,
				images[i].fill, NULL);
	}
	for (i = 0; i < NR_RANDOM; i++) {
		snprintf(name, sizeof(name), "any%u", i);
		make_image(argv[1], name, i & 1 ? three : small,
			   i & 1 ? ARRAY_SIZE(three) : ARRAY_SIZE(small),
			   i % 4, any, NULL);
	}
	for (i = 0; i < ARRAY_SIZE(findings); i++)
		make_image(argv[1], findings[i].name, small, ARRAY_SIZE(small), true,
			   findings[i].fill, findings[i].edit);
	make_image(argv[2], "large", large, ARRAY_SIZE(large), false, files,
		   NULL);
	make_image(argv[2], "tables", small, ARRAY_SIZE(small), true, tables,
		   NULL);
	return 0;
}
