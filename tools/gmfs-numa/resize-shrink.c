// SPDX-License-Identifier: GPL-2.0
/*
 * Units of memory that a pool can give up, and the files that have to move for this: what
 * sysfs, and the files of a node and their users, tell of them. Nothing is written.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "resize.h"

/* A unit of a pool. */
struct part {
	uint64_t base;		/* physical */
	uint64_t used;		/* blocks that are used or have failed */
	uint64_t fixed;		/* those of them that cannot move, as far as is known */
};

struct parts {
	struct part *part;
	size_t nr;
	uint64_t unit;		/* bytes */
	uint64_t free;		/* blocks of the pool */
};

static bool bit(const unsigned char *bits, size_t size, uint64_t nr)
{
	return nr / 8 < size && bits[nr / 8] >> nr % 8 & 1;
}

/* First block of each extent: a pool that was resized need not count by address. */
static uint64_t *first_blocks(const struct node *node, const struct range *extents, size_t nr)
{
	char *text = read_text(SYSFS "/node%d/extent_blocks", node->nid), *line, *rest = text;
	uint64_t *first = xcalloc(nr, sizeof(*first)), sum = 0, blocks;
	size_t i;

	for (i = 0; i < nr; i++) {
		line = strsep(&rest, "\n");
		if (!line || sscanf(line, "%ju %ju", &first[i], &blocks) != 2)
			first[i] = sum;
		sum += extents[i].size / node->block_size;
	}
	free(text);
	return first;
}

/* The units that lie in the pool as a whole. False if they are not known. */
static bool read_parts(const struct node *node, struct parts *parts)
{
	size_t used_size = 0, bad_size = 0;
	unsigned char *used, *bad;
	struct range *extents;
	ssize_t nr_extents = node_extents(node->nid, &extents), i;
	uint64_t *first, base, block, end, b;

	*parts = (struct parts){ .unit = resize_unit() };
	used = read_binary(&used_size, SYSFS "/node%d/bitmap", node->nid);
	bad = read_binary(&bad_size, SYSFS "/node%d/bitmap_poison", node->nid);
	if (!parts->unit || nr_extents < 0 || !used_size || !is_known(node->block_size) ||
	    !node->block_size) {
		free(used);
		free(bad);
		free(extents);
		return false;
	}
	first = first_blocks(node, extents, nr_extents);
	for (i = 0; i < nr_extents; i++) {
		const struct range *e = &extents[i];

		end = first[i] + e->size / node->block_size;
		for (b = first[i]; b < end; b++)
			parts->free += !bit(used, used_size, b) && !bit(bad, bad_size, b);
		base = (e->base + parts->unit - 1) / parts->unit * parts->unit;
		for (; base + parts->unit <= e->base + e->size; base += parts->unit) {
			struct part part = { .base = base };

			block = first[i] + (base - e->base) / node->block_size;
			for (b = block; b < block + parts->unit / node->block_size; b++) {
				part.used += bit(used, used_size, b) || bit(bad, bad_size, b);
				part.fixed += bit(bad, bad_size, b);
			}
			parts->part = xrealloc(parts->part,
					       (parts->nr + 1) * sizeof(*parts->part));
			parts->part[parts->nr++] = part;
		}
	}
	free(first);
	free(used);
	free(bad);
	free(extents);
	return true;
}

/* As the kernel chooses: what can move, and then the fewest used blocks. */
static int compare_parts(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	if (x->fixed != y->fixed)
		return x->fixed < y->fixed ? -1 : 1;
	if (x->used != y->used)
		return x->used < y->used ? -1 : 1;
	return x->base > y->base ? -1 : x->base < y->base;
}

/* A walk through the files of a node. */
struct search {
	const struct node *node;
	struct part *part;
	size_t nr;
	uint64_t unit;
	struct use *uses;
	size_t nr_uses;
	bool in_use;
	char *moves;
	char *stay;
};

/* Does it stay where it is, since processes map it, or devices or a guest_memfd have it? */
static bool stays(const struct search *search, const struct file *file)
{
	size_t nr, i;

	if (pins_of_file(pins_of_node(file->nid), file->st->st_ino, &nr))
		return true;
	if (search->in_use)
		return false;
	if (pins_of_file(attached_of_node(file->nid), file->st->st_ino, &nr))
		return true;
	for (i = 0; i < search->nr_uses; i++)
		if (use_is_of(&search->uses[i], file->st))
			return true;
	return false;
}

/* Bytes of a file in units. With @fixed, their blocks are counted there. */
static uint64_t bytes_in(struct search *search, const struct file *file, bool fixed)
{
	uint64_t bytes = 0, start, end;
	struct extent *extents;
	ssize_t nr, i;
	size_t p;
	int fd = file_read(file->place);

	if (fd < 0)
		return 0;
	nr = file_extents(fd, &extents);
	for (i = 0; i < nr; i++) {
		for (p = 0; extents[i].known && p < search->nr; p++) {
			start = extents[i].phys;
			end = start + extents[i].size;
			if (start < search->part[p].base)
				start = search->part[p].base;
			if (end > search->part[p].base + search->unit)
				end = search->part[p].base + search->unit;
			if (start >= end)
				continue;
			bytes += end - start;
			if (fixed)
				search->part[p].fixed += (end - start) / search->node->block_size;
		}
	}
	if (nr >= 0)
		free(extents);
	close(fd);
	return bytes;
}

static void count_fixed(const struct file *file, void *arg)
{
	struct search *search = arg;

	if (file->nid == search->node->nid && stays(search, file))
		bytes_in(search, file, true);
}

static void list_file(const struct file *file, void *arg)
{
	struct search *search = arg;
	char **list, *size, *name, *one;
	uint64_t bytes;

	if (file->nid != search->node->nid)
		return;
	bytes = bytes_in(search, file, false);
	if (!bytes)
		return;
	size = format_size(bytes);
	name = printable(file->path);
	one = xasprintf("%s(%s)", name, size);
	list = stays(search, file) ? &search->stay : &search->moves;
	*list = join(*list, ",", one);
	free(one);
	free(name);
	free(size);
}

bool resize_look(const struct node *node, uint64_t want, bool in_use, struct shrinking *s)
{
	struct search search = { .node = node, .in_use = in_use };
	struct parts parts;
	size_t i, empty = 0, can = 0;
	uint64_t room;
	bool complete;

	*s = (struct shrinking){ };
	if (!read_parts(node, &parts)) {
		warning("node %d: the units of the pool are not known: only root may see where its memory is",
			node->nid);
		return false;
	}
	s->estimate.unit = parts.unit;
	search.part = parts.part;
	search.nr = parts.nr;
	search.unit = parts.unit;
	/* Files of another machine cannot be read. */
	if (!*sysroot) {
		search.nr_uses = uses_read(false, &search.uses, &complete);
		files_walk(0, NULL, count_fixed, &search);
	}
	if (parts.nr)
		qsort(parts.part, parts.nr, sizeof(*parts.part), compare_parts);
	for (i = 0; i < parts.nr; i++) {
		empty += !parts.part[i].used;
		can += !parts.part[i].fixed;
	}
	/* Blocks move to free ones: of n units, all but the used blocks are needed. */
	room = parts.free / (parts.unit / node->block_size);
	s->no_room = can > room;
	if (s->no_room)
		can = room;
	s->estimate.sure = empty;
	s->estimate.perhaps = can > empty ? can - empty : 0;
	s->estimate.in_use = parts.nr - empty - s->estimate.perhaps;
	if (!*sysroot && want > empty) {
		/* Those that are not free by themselves. */
		search.part += empty;
		search.nr = (want < parts.nr ? want : parts.nr) - empty;
		files_walk(0, NULL, list_file, &search);
	}
	s->moves = search.moves;
	s->stay = search.stay;
	uses_free(search.uses, search.nr_uses);
	free(parts.part);
	return true;
}
