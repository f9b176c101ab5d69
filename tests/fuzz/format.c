// SPDX-License-Identifier: GPL-2.0
/*
 * The handed-over format, from memory that a previous kernel may have left. A kernel
 * loads what it accepts, uses it, and hands it over to the next kernel, which must load
 * the same. It must not change what it refuses.
 */

#include "../../fs/guestmemfs/numa/format.h"
#include "fs.h"
#include "image.h"
#include "machine.h"
#include "../../tools/gmcore/dump.h"

/* Statistics of how deep inputs get, for FUZZ_STATS=1. */
static struct {
	u64 inputs;
	u64 pools;
	u64 usable;
	u64 read_only;
} stats;

static void print_stats(void)
{
	fprintf(stderr, "stat::pools: %llu of %llu inputs\n", stats.pools,
		stats.inputs);
	fprintf(stderr, "stat::pools_used: %llu, %llu of them read-only\n",
		stats.usable, stats.read_only);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (getenv("FUZZ_STATS"))
		atexit(print_stats);
	return 0;
}

/* Check a changed super block: of a pool with memory that this kernel uses itself. */
static bool super_changed(unsigned int first, unsigned int nr)
{
	const struct gmpool *pool;
	unsigned int i, page;

	for (i = 0; i < fs_nr; i++) {
		const struct gmpool_super_ser *super;

		pool = fs_all[i].pool;
		page = (pool->handover.blob - MACHINE_PHYS) / PAGE_SIZE;
		if (!pool->handover.blob || page < first || page >= first + nr ||
		    bitmap_empty(pool->handover.used_otherwise, GMPOOL_MAX_EXTENTS))
			continue;
		super = (const void *)machine_page(page);
		CHECK(!gmpool_super_check(super, GMPOOL_GRANULARITY) &&
		      super->state == GMPOOL_STATE_LIVE,
		      "a pool is handed over with memory that is used");
		return true;
	}
	return false;
}

/* Check that nothing else of an unused pool has changed. */
static void check_untouched(const struct input *input, const u8 *memory,
			    unsigned int nr)
{
	unsigned int i, order, size;

	for (i = 0; i < nr; i += size) {
		order = machine_order(i);
		size = order == MACHINE_LOST ? 1 : 1U << order;
		if (order != MACHINE_LOST && !super_changed(i, size))
			CHECK(!memcmp(machine_page(i), memory + i * PAGE_SIZE,
				      size * PAGE_SIZE),
			      "page %u of a pool that is not used", i);
	}
}

/* Not all at one place: the memory of an extent can be lost in several ways. */
static void set_ranges(const struct input *input)
{
	const unsigned int sections = 2 * MACHINE_NODE / GMPOOL_GRANULARITY;
	unsigned int i, j;

	for (i = 0; i < MACHINE_RANGES; i++) {
		for (j = 0; j < i && input->ranges[j] != input->ranges[i]; j++)
			;
		if (j == i && input->ranges[i] && input->ranges[i] <= sections)
			machine_range(i, MACHINE_POOLS + (input->ranges[i] - 1ULL) *
					 GMPOOL_GRANULARITY,
				      GMPOOL_GRANULARITY);
	}
}

static void use(struct fs *fs, const struct input *input)
{
	stats.usable++;
	if (gmpool_read_only(fs->pool)) {
		stats.read_only++;
		return;
	}
	fs_verify(fs);
	fs_operate(fs, input->ops, min_t(size_t, input->nr_ops,
					 sizeof(input->ops)));
}

/* Check that the next kernel loads each pool unchanged after the kexec. */
static void check_kexec(bool lossless)
{
	struct {
		u8 uuid[GMPOOL_UUID_SIZE];
		u32 digest;
		bool usable;
	} before[FS_MAX];
	unsigned int i, j, nr = fs_nr, left = 0;

	for (i = 0; i < nr; i++) {
		struct fs *fs = &fs_all[i];

		/* Nothing is handed over if this kernel uses all of the memory. */
		if (fs->pool->handover.super || fs->pool->handover.blob)
			left++;
		else
			CHECK(!lossless ||
			      !bitmap_empty(fs->pool->handover.used_otherwise,
					    GMPOOL_MAX_EXTENTS),
			      "a pool with free memory is not handed over");
		before[i].usable = fs->attached;
		if (!before[i].usable)
			continue;
		memcpy(before[i].uuid, gmpool_uuid(fs->pool), GMPOOL_UUID_SIZE);
		before[i].digest = fs_digest(&fs->img);
	}
	machine_reboot();
	fs_shutdown();
	machine_kexec();
	fs_boot(true);
	if (!lossless)
		goto out;

	CHECK(fs_nr == left, "%u pools have become %u", left, fs_nr);
	for (i = 0; i < nr; i++) {
		if (!before[i].usable)
			continue;
		for (j = 0; j < fs_nr; j++)
			if (gmpool_usable(fs_all[j].pool) &&
			    !memcmp(before[i].uuid, gmpool_uuid(fs_all[j].pool),
				    GMPOOL_UUID_SIZE) &&
			    fs_all[j].digest == before[i].digest)
				break;
		CHECK(j < fs_nr, "a pool is not what it was: %s",
		      gmpool_error(fs_all[min(i, fs_nr - 1)].pool));
	}
out:
	fs_shutdown();
}

static const u8 *input_phys(const u8 *memory, unsigned int nr, u64 phys, u64 pages)
{
	u64 first = (phys - MACHINE_PHYS) / PAGE_SIZE;

	return phys >= MACHINE_PHYS && phys % PAGE_SIZE == 0 && first <= nr && pages <= nr - first ?
	       memory + first * PAGE_SIZE : NULL;
}

/* The pool of a blob as a dump for gmfs-numa, or NULL. */
static u8 *make_dump(const u8 *memory, unsigned int nr, unsigned int blob, size_t *size)
{
	const struct gmpool_super_ser *super = (const void *)(memory + blob * PAGE_SIZE);
	const struct gmpool_table_ser *table;
	u8 *dump, *to;
	u64 left;
	u32 t, c;

	*size = gmcore_dump_size(super);
	if (!*size || *size > (u64)nr * PAGE_SIZE)
		return NULL;
	dump = calloc(1, *size);
	memcpy(dump, super, PAGE_SIZE);
	to = dump + (1 + super->nr_tables) * PAGE_SIZE;
	left = super->nr_meta;
	for (t = 0; t < super->nr_tables; t++) {
		table = (const void *)input_phys(memory, nr, super->tables[t], 1);
		if (!table)
			break;
		memcpy(dump + (1 + t) * PAGE_SIZE, table, PAGE_SIZE);
		for (c = 0; c < table->nr && c < GMPOOL_TABLE_CHUNKS; c++) {
			const struct gmpool_chunk_ser *chunk = &table->chunks[c];
			const u8 *from = input_phys(memory, nr, chunk->phys, chunk->nr);

			if (!from || chunk->nr > left)
				break;
			memcpy(to, from, chunk->nr * PAGE_SIZE);
			to += chunk->nr * PAGE_SIZE;
			left -= chunk->nr;
		}
	}
	return dump;
}

/*
 * gmfs-numa check --dump must not crash, and what the kernel uses it must find good. The
 * kernel refuses more: pages that KHO did not preserve, memory in use.
 */
static void check_dumps(const struct input *input, const u8 *memory, unsigned int nr)
{
	struct gmcore_dump about;
	unsigned int i, j;
	size_t size;
	u8 *dump;
	char *why;

	for (i = 0; i < INPUT_BLOBS; i++) {
		if (!input->blobs[i] || input->blobs[i] >= nr)
			continue;
		dump = make_dump(memory, nr, input->blobs[i] - 1, &size);
		if (!dump)
			continue;
		why = gmcore_check_dump(dump, size, &about);
		for (j = 0; j < fs_nr; j++)
			if (fs_all[j].attached && fs_all[j].handed_over &&
			    fs_all[j].pool->handover.key == i)
				CHECK(!why, "the kernel uses the pool, the tool says: %s", why);
		free(why);
		free(about.notes);
		free(dump);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	const struct input *input = (const void *)data;
	const u8 *memory = data + sizeof(*input);
	unsigned int nr, i, used = 0;
	bool lossless;

	if (size < sizeof(*input) + GMPOOL_BLOB_SIZE || size % PAGE_SIZE)
		return 0;
	nr = size / PAGE_SIZE - 1;
	if (nr > INPUT_PAGES)
		return 0;

	machine_start();
	machine_load(memory, nr, input->orders);
	set_ranges(input);
	/* KHO's tree contains exactly the preserved pages, each once. */
	for (i = 0; i < INPUT_BLOBS; i++)
		if (input->blobs[i] && input->blobs[i] < nr &&
		    (!i || input->blobs[i] != input->blobs[0]) &&
		    machine_order(input->blobs[i] - 1) - 1U < 9)
			machine_subtree(i, MACHINE_PHYS +
					(input->blobs[i] - 1ULL) * PAGE_SIZE,
					input->flags & INPUT_SIZE ?
						input->fail_after :
						GMPOOL_BLOB_SIZE);
	machine_fail_after(input->flags & INPUT_SIZE ? 0 : input->fail_after);
	machine_few_pages(input->flags & INPUT_FEW_PAGES);
	lossless = !input->fail_after;

	fs_boot(input->flags & INPUT_AWAIT);
	stats.inputs++;
	stats.pools += fs_nr;
	for (i = 0; i < fs_nr; i++)
		if (fs_all[i].pool->handover.super)
			used++;
	if (!used)
		check_untouched(input, memory, nr);
	check_dumps(input, memory, nr);
	for (i = 0; i < fs_nr; i++) {
		struct fs *fs = &fs_all[i];

		if (!gmpool_usable(fs->pool) && input->flags & INPUT_DISCARD)
			fs_discard(fs);
		CHECK(fs->attached == gmpool_usable(fs->pool),
		      "a pool that is used and has no file system");
		if (fs->attached)
			use(fs, input);
	}
	machine_fail_after(0);
	for (i = 0; i < fs_nr; i++)
		if (fs_all[i].attached)
			fs_verify(&fs_all[i]);
	check_kexec(lossless);
	return 0;
}
