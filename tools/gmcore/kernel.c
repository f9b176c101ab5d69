// SPDX-License-Identifier: GPL-2.0
/* The functions of kernel.h. */

#include "kernel.h"

/* The format is little-endian, and its bitmaps are arrays of long. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
static_assert(sizeof(long) == sizeof(u64));

void *gmcore_alloc_flex(size_t size, size_t each, size_t n)
{
	size_t sum;

	if (__builtin_mul_overflow(each, n, &sum) || __builtin_add_overflow(sum, size, &sum))
		return NULL;
	return calloc(1, sum);
}

void *memchr_inv(const void *mem, int byte, size_t size)
{
	const u8 *at = mem;

	for (; size; size--, at++)
		if (*at != (u8)byte)
			return (void *)at;
	return NULL;
}

u32 crc32c(u32 crc, const void *data, size_t size)
{
	static u32 table[256];
	const u8 *at = data;
	u32 value;
	int i, bit;

	if (!table[1])
		for (i = 0; i < 256; i++) {
			for (value = i, bit = 0; bit < 8; bit++)
				value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
			table[i] = value;
		}
	while (size--)
		crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
	return crc;
}

/* Not the kernel's values: no record contains one. */
u32 jhash(const void *key, u32 length, u32 seed)
{
	return crc32c(seed, key, length);
}

int gmcore_strtoull(const char *text, unsigned int base, unsigned long long *to)
{
	unsigned long long value;
	char *end;

	if (!isxdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, base);
	if (errno)
		return -errno;
	if (*end == '\n')
		end++;
	if (*end)
		return -EINVAL;
	*to = value;
	return 0;
}

/* Trees: red-black, but erasing a node does not balance. */

static void replace_child(struct rb_root *root, struct rb_node *parent, struct rb_node *old,
			  struct rb_node *new)
{
	if (!parent)
		root->rb_node = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

static void rotate(struct rb_root *root, struct rb_node *node, bool to_left)
{
	struct rb_node *up = to_left ? node->right : node->left;
	struct rb_node *middle = to_left ? up->left : up->right;

	replace_child(root, node->parent, node, up);
	if (to_left) {
		up->left = node;
		node->right = middle;
	} else {
		up->right = node;
		node->left = middle;
	}
	node->parent = up;
	if (middle)
		middle->parent = node;
}

void rb_insert_color(struct rb_node *node, struct rb_root *root)
{
	struct rb_node *parent, *above, *uncle;
	bool left;

	while ((parent = node->parent) && parent->red) {
		above = parent->parent;
		if (!above)
			break;
		left = parent == above->left;
		uncle = left ? above->right : above->left;
		if (uncle && uncle->red) {
			parent->red = false;
			uncle->red = false;
			above->red = true;
			node = above;
			continue;
		}
		if (node == (left ? parent->right : parent->left)) {
			rotate(root, parent, left);
			parent = node;
		}
		parent->red = false;
		above->red = true;
		rotate(root, above, !left);
		break;
	}
	root->rb_node->red = false;
}

void rb_erase(struct rb_node *node, struct rb_root *root)
{
	struct rb_node *next;

	if (!node->left || !node->right) {
		replace_child(root, node->parent, node, node->left ?: node->right);
		return;
	}
	for (next = node->right; next->left;)
		next = next->left;
	if (next->parent != node) {
		replace_child(root, next->parent, next, next->right);
		next->right = node->right;
		next->right->parent = next;
	}
	replace_child(root, node->parent, node, next);
	next->left = node->left;
	next->left->parent = next;
	next->red = node->red;
}

struct rb_node *rb_first(const struct rb_root *root)
{
	struct rb_node *node = root->rb_node;

	while (node && node->left)
		node = node->left;
	return node;
}

struct rb_node *rb_last(const struct rb_root *root)
{
	struct rb_node *node = root->rb_node;

	while (node && node->right)
		node = node->right;
	return node;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	struct rb_node *at = node->right;

	if (!at) {
		for (; (at = node->parent) && node == at->right; node = at)
			;
		return at;
	}
	while (at->left)
		at = at->left;
	return at;
}

struct rb_node *rb_prev(const struct rb_node *node)
{
	struct rb_node *at = node->left;

	if (!at) {
		for (; (at = node->parent) && node == at->left; node = at)
			;
		return at;
	}
	while (at->right)
		at = at->right;
	return at;
}

static struct rb_node *leftmost_leaf(const struct rb_node *node)
{
	while (node && (node->left || node->right))
		node = node->left ?: node->right;
	return (struct rb_node *)node;
}

struct rb_node *rb_first_postorder(const struct rb_root *root)
{
	return leftmost_leaf(root->rb_node);
}

struct rb_node *rb_next_postorder(const struct rb_node *node)
{
	struct rb_node *parent = node->parent;

	if (parent && node == parent->left && parent->right)
		return leftmost_leaf(parent->right);
	return parent;
}

/* Bitmaps. */

static unsigned long find_bit(const unsigned long *a, const unsigned long *b, unsigned long invert,
			      unsigned long size, unsigned long start)
{
	unsigned long word;

	for (; start < size; start = round_down(start, BITS_PER_LONG) + BITS_PER_LONG) {
		word = (a[BIT_WORD(start)] ^ invert) & (b ? b[BIT_WORD(start)] : ~0UL) &
		       BITMAP_FIRST_WORD_MASK(start);
		if (word)
			return min(size, round_down(start, BITS_PER_LONG) + __ffs(word));
	}
	return size;
}

unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long start)
{
	return find_bit(map, NULL, 0, size, start);
}

unsigned long find_next_zero_bit(const unsigned long *map, unsigned long size,
				 unsigned long start)
{
	return find_bit(map, NULL, ~0UL, size, start);
}

unsigned long find_next_and_bit(const unsigned long *a, const unsigned long *b,
				unsigned long size, unsigned long start)
{
	return find_bit(a, b, 0, size, start);
}

unsigned long find_last_bit(const unsigned long *map, unsigned long size)
{
	unsigned long at;

	for (at = size; at--;)
		if (test_bit(at, map))
			return at;
	return size;
}

void bitmap_set(unsigned long *map, unsigned int start, unsigned int nr)
{
	for (; nr && start % BITS_PER_LONG; nr--)
		__set_bit(start++, map);
	for (; nr >= (unsigned int)BITS_PER_LONG; nr -= BITS_PER_LONG, start += BITS_PER_LONG)
		map[BIT_WORD(start)] = ~0UL;
	while (nr--)
		__set_bit(start++, map);
}

void bitmap_clear(unsigned long *map, unsigned int start, unsigned int nr)
{
	for (; nr && start % BITS_PER_LONG; nr--)
		__clear_bit(start++, map);
	for (; nr >= (unsigned int)BITS_PER_LONG; nr -= BITS_PER_LONG, start += BITS_PER_LONG)
		map[BIT_WORD(start)] = 0;
	while (nr--)
		__clear_bit(start++, map);
}

unsigned int bitmap_weight(const unsigned long *map, unsigned int nr)
{
	unsigned int i, sum = 0;

	for (i = 0; i < nr / BITS_PER_LONG; i++)
		sum += __builtin_popcountl(map[i]);
	if (nr % BITS_PER_LONG)
		sum += __builtin_popcountl(map[i] & BITMAP_LAST_WORD_MASK(nr));
	return sum;
}

unsigned long bitmap_find_next_zero_area(unsigned long *map, unsigned long size,
					 unsigned long start, unsigned int nr,
					 unsigned long align_mask)
{
	unsigned long end, next;

	for (;; start = next + 1) {
		start = find_next_zero_bit(map, size, start);
		start = (start + align_mask) & ~align_mask;
		end = start + nr;
		if (end > size)
			return end;
		next = find_next_bit(map, end, start);
		if (next >= end)
			return start;
	}
}

/* XArrays. A reserved index has an entry that is not found. */

char gmcore_xa_zero[1];

static size_t xa_lower(const struct xarray *xa, unsigned long index)
{
	size_t low = 0, high = xa->nr;

	/* Mostly, the end. */
	if (high && xa->at[high - 1].index < index)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (xa->at[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct xa_entry *xa_at(const struct xarray *xa, unsigned long index)
{
	size_t i = xa_lower(xa, index);

	return i < xa->nr && xa->at[i].index == index ? &xa->at[i] : NULL;
}

void xa_init(struct xarray *xa)
{
	*xa = (struct xarray) { NULL, 0, 0 };
}

void xa_destroy(struct xarray *xa)
{
	free(xa->at);
	xa_init(xa);
}

void *xa_load(const struct xarray *xa, unsigned long index)
{
	struct xa_entry *e = xa_at(xa, index);

	return e && e->entry != gmcore_xa_zero ? e->entry : NULL;
}

void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	unsigned int present = entry == gmcore_xa_zero ? 0 : XA_PRESENT;
	struct xa_entry *e = xa_at(xa, index);
	void *before;
	size_t i;

	(void)gfp;
	if (e) {
		before = e->entry == gmcore_xa_zero ? NULL : e->entry;
		e->entry = entry;
		e->marks = present ? e->marks | XA_PRESENT : 0;
		return before;
	}
	if (xa->nr == xa->room) {
		size_t room = xa->room ? 2 * xa->room : 64;
		struct xa_entry *at = reallocarray(xa->at, room, sizeof(*at));

		if (!at)
			return ERR_PTR(-ENOMEM);
		xa->at = at;
		xa->room = room;
	}
	i = xa_lower(xa, index);
	memmove(&xa->at[i + 1], &xa->at[i], (xa->nr++ - i) * sizeof(*xa->at));
	xa->at[i] = (struct xa_entry) { index, entry, present };
	return NULL;
}

int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	return xa_at(xa, index) ? -EBUSY : xa_err(xa_store(xa, index, entry, gfp));
}

int xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp)
{
	return xa_at(xa, index) ? 0 : xa_err(xa_store(xa, index, gmcore_xa_zero, gfp));
}

void *xa_erase(struct xarray *xa, unsigned long index)
{
	struct xa_entry *e = xa_at(xa, index);
	void *entry;

	if (!e)
		return NULL;
	entry = e->entry == gmcore_xa_zero ? NULL : e->entry;
	memmove(e, e + 1, (--xa->nr - (e - xa->at)) * sizeof(*e));
	return entry;
}

void xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct xa_entry *e = xa_at(xa, index);

	if (e)
		e->marks |= mark;
}

void xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct xa_entry *e = xa_at(xa, index);

	if (e)
		e->marks &= ~mark;
}

bool xa_get_mark(const struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct xa_entry *e = xa_at(xa, index);

	return e && e->marks & mark;
}

void *xa_find(const struct xarray *xa, unsigned long *index, unsigned long last, xa_mark_t mark)
{
	size_t i;

	for (i = xa_lower(xa, *index); i < xa->nr && xa->at[i].index <= last; i++)
		if (xa->at[i].marks & mark) {
			*index = xa->at[i].index;
			return xa->at[i].entry;
		}
	return NULL;
}

void *xa_find_after(const struct xarray *xa, unsigned long *index, unsigned long last,
		    xa_mark_t mark)
{
	unsigned long next = *index + 1;
	void *entry = next ? xa_find(xa, &next, last, mark) : NULL;

	if (entry)
		*index = next;
	return entry;
}
