// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa carve: the range of a file whose memory can be taken.
 */

#include <stdlib.h>
#include <sys/stat.h>

#include "carve.h"
#include "gmfs-numa.h"
#include "qmp.h"

#define GIB		(1ULL << 30)
/* Ranges that are in the way and are named, at most. */
#define MAX_NAMED	8

/* A range of the parent that cannot be taken. */
struct taken {
	uint64_t start;		/* bytes */
	uint64_t end;
	char *why;
};

enum block_state { HOLE, MOVABLE, TAKEN };

/* The whole blocks of the parent. */
struct blocks {
	unsigned char *state;	/* enum block_state of each */
	uint64_t nr;
	bool *is_1g;		/* does a 1 GiB mapping map this gibibyte? */
	uint64_t nr_1g;
	struct taken *taken;
	size_t nr_taken;
};

static void add_taken(struct blocks *blocks, uint64_t start, uint64_t end, char *why)
{
	blocks->taken = xrealloc(blocks->taken, (blocks->nr_taken + 1) * sizeof(*blocks->taken));
	blocks->taken[blocks->nr_taken++] = (struct taken){ start, end, why };
}

static void add_pins(struct blocks *blocks, const struct side *side)
{
	const struct pins *pins = pins_of_node(side->nid);
	const struct pin *pin;
	size_t i, nr;
	char *tasks;

	pin = pins_of_file(pins, side->st.st_ino, &nr);
	for (i = 0; i < nr; i++) {
		tasks = pins_tasks(&pin[i], 1);
		add_taken(blocks, pin[i].start, pin[i].start + pin[i].size,
			  xasprintf("pinned by %s", tasks));
		free(tasks);
	}
}

/* The kernel says that the file has other users. All of them have to be known. */
static void add_users(struct blocks *blocks, const struct side *side)
{
	struct mapped *mapped;
	size_t i, nr, nr_users;
	bool complete;
	char *command;

	nr = uses_mapped(&side->st, &mapped, &nr_users, &complete);
	if (!complete || !pins_of_node(side->nid)->known)
		fatal(EX_FAILED, "%s: it is in use, and not all processes and pins can be seen: run this as root, outside of containers",
		      side->path);
	if (!nr_users && !blocks->nr_taken)
		fatal(EX_FAILED, "%s: it is in use, but by no process that has it mapped or open: a descriptor in a socket, a LUO session or a stacked file system can have it",
		      side->path);
	for (i = 0; i < nr; i++) {
		command = plain_command(mapped[i].command);
		add_taken(blocks, mapped[i].start, mapped[i].end,
			  xasprintf("mapped by %d(%s)", mapped[i].pid, command));
		free(command);
	}
	mapped_free(mapped, nr);
}

/*
 * What the guest of a QEMU still has. QEMU maps all of it, but the mapping is not seen if it
 * goes through a stacked file system, and a name tells what to unplug.
 */
static void add_plugged(struct blocks *blocks, const struct side *side, const char *qmp)
{
	struct plugged *plugged;
	size_t i, nr;

	nr = qmp_plugged(qmp, &side->st, &plugged);
	for (i = 0; i < nr; i++)
		add_taken(blocks, plugged[i].start, plugged[i].end, xstrdup(plugged[i].why));
	plugged_free(plugged, nr);
}

static void set_states(struct blocks *blocks, const struct side *side, uint64_t start, uint64_t end,
		       enum block_state state)
{
	uint64_t block;

	for (block = start / side->block; block < blocks->nr && block * side->block < end; block++)
		if (state == MOVABLE || blocks->state[block] == MOVABLE)
			blocks->state[block] = state;
}

static void find_blocks(struct blocks *blocks, const struct side *side)
{
	uint64_t gib, left;
	ssize_t i;
	size_t j;

	blocks->nr = side->st.st_size / side->block;
	blocks->state = xcalloc(blocks->nr + 1, sizeof(*blocks->state));
	blocks->nr_1g = side->st.st_size / GIB + 1;
	blocks->is_1g = xcalloc(blocks->nr_1g, sizeof(*blocks->is_1g));
	for (i = 0; i < side->nr_extents; i++) {
		const struct extent *extent = &side->extents[i];

		set_states(blocks, side, extent->offset, extent->offset + extent->size, MOVABLE);
		gib = (extent->offset + -extent->phys % GIB) / GIB;
		for (left = extent_1g_bytes(extent); left && gib < blocks->nr_1g; left -= GIB)
			blocks->is_1g[gib++] = true;
	}
	for (j = 0; j < blocks->nr_taken; j++)
		set_states(blocks, side, blocks->taken[j].start, blocks->taken[j].end, TAKEN);
}

static void free_blocks(struct blocks *blocks)
{
	size_t i;

	for (i = 0; i < blocks->nr_taken; i++)
		free(blocks->taken[i].why);
	free(blocks->taken);
	free(blocks->state);
	free(blocks->is_1g);
}

/* How many 1 GiB mappings of the parent end as only a part of the gibibyte is taken. */
static unsigned int broken_1g(const struct blocks *blocks, uint64_t start, uint64_t end)
{
	uint64_t first = start / GIB, last = end / GIB;
	bool of_first = start % GIB && blocks->is_1g[first];
	bool of_last = end % GIB && blocks->is_1g[last];

	return of_first + (of_last && !(of_first && first == last));
}

/*
 * The range that breaks the fewest 1 GiB mappings of the parent, and of these the last. One of
 * a gibibyte or more begins at a multiple of that: the child can have such mappings too.
 */
static uint64_t choose(const struct blocks *blocks, const struct side *side, uint64_t size,
		       uint64_t *longest)
{
	uint64_t align = size >= GIB ? GIB : side->block, at = blocks->nr, run = 0;
	uint64_t best = NUMBER_UNKNOWN, start;
	unsigned int least = 3, broken;

	*longest = 0;
	while (at--) {
		run = blocks->state[at] == MOVABLE ? run + 1 : 0;
		start = at * side->block;
		if (start % align)
			continue;
		if (run * side->block > *longest)
			*longest = run * side->block;
		if (run * side->block < size)
			continue;
		broken = broken_1g(blocks, start, start + size);
		if (broken < least) {
			least = broken;
			best = start;
		}
	}
	return best;
}

static void warn_of_taken(const struct blocks *blocks, const struct side *side, uint64_t start,
			  uint64_t end)
{
	size_t i, nr = 0;

	for (i = 0; i < blocks->nr_taken; i++) {
		const struct taken *taken = &blocks->taken[i];
		char *from, *to;

		if (taken->end <= start || taken->start >= end)
			continue;
		if (nr++ == MAX_NAMED) {
			warning("%s: more ranges are in use", side->path);
			return;
		}
		from = format_size(taken->start);
		to = format_size(taken->end);
		warning("%s: %s to %s: %s", side->path, from, to, taken->why);
		free(from);
		free(to);
	}
}

/* Exits if not all blocks from there on can be taken. */
static void check_range(const struct blocks *blocks, const struct side *side, uint64_t offset,
			uint64_t size)
{
	uint64_t block = offset / side->block, end = block + size / side->block;
	char *text;

	if (end > blocks->nr) {
		text = format_size(blocks->nr * side->block);
		fatal(EX_FAILED, "%s: the range reaches behind its end: it has whole blocks up to %s",
		      side->path, text);
	}
	for (; block < end && blocks->state[block] == MOVABLE; block++)
		;
	if (block == end)
		return;
	warn_of_taken(blocks, side, offset, offset + size);
	text = format_size(block * side->block);
	fatal(EX_FAILED, "%s: its block at %s %s", side->path, text,
	      blocks->state[block] == HOLE ? "is a hole: free memory of the node" :
	      "is in use: the virtual machine has to give it up first");
}

uint64_t carve_find(const struct side *parent, const char *size_text, uint64_t size,
		    uint64_t offset, int lease, const char *qmp)
{
	struct blocks blocks = { };
	uint64_t longest;
	char *text;

	add_pins(&blocks, parent);
	if (lease)
		add_users(&blocks, parent);
	if (qmp)
		add_plugged(&blocks, parent, qmp);
	find_blocks(&blocks, parent);
	if (is_known(offset)) {
		check_range(&blocks, parent, offset, size);
		if (size >= GIB && offset % GIB)
			warning("the child has no 1 GiB mappings: the offset is no multiple of 1G");
	} else {
		offset = choose(&blocks, parent, size, &longest);
		if (!is_known(offset)) {
			warn_of_taken(&blocks, parent, 0, UINT64_MAX);
			text = format_size(longest);
			fatal(EX_FAILED, "%s: it has no unused range of %s%s: the longest is %s",
			      parent->path, size_text,
			      size >= GIB ? " that begins at a multiple of 1G" : "", text);
		}
	}
	free_blocks(&blocks);
	return offset;
}
