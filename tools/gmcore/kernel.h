/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the pure code of fs/guestmemfs takes from the kernel, in user space: for one
 * thread, with libc alone. It is included before each source. The headers that the
 * sources include are empty, or made from this directory; see Makefile.
 */
#ifndef _GMCORE_KERNEL_H
#define _GMCORE_KERNEL_H

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

/* In the kernel, types of 64 bits are long long, on all architectures. */
typedef unsigned char u8, __u8;
typedef unsigned short u16, __u16;
typedef unsigned int u32, __u32;
typedef unsigned long long u64, __u64;
typedef signed char s8, __s8;
typedef short s16, __s16;
typedef int s32, __s32;
typedef long long s64, __s64;
typedef u64 phys_addr_t;
typedef unsigned int gfp_t;
typedef unsigned short umode_t;
typedef unsigned long pgoff_t;

struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};

struct attribute_group;

struct attribute {
	const char *name;
};

/* For its size, which memory maps have. */
struct page {
	char unused[64];
};

/* The code of pools is built in, and knows all that it can. */
#define CONFIG_GUESTMEM_POOL		1
#define CONFIG_GUESTMEM_POOL_FORMAT	1
#define CONFIG_GUESTMEM_POOL_RO_COMPAT	3
#define CONFIG_GUESTMEM_POOL_INCOMPAT	3

#define U32_MAX			UINT32_MAX
#define U64_MAX			(~0ULL)
#define S64_MAX			((s64)(U64_MAX >> 1))
#define SZ_4K			0x1000
#define SZ_1M			0x100000
#define SZ_2M			0x200000
#define SZ_128M			0x8000000
#define SZ_4G			0x100000000ULL
#define NSEC_PER_SEC		1000000000L
#define S_IALLUGO		07777
#define PAGE_SIZE		4096UL
#define PAGE_SHIFT		12
#define BITS_PER_LONG		(8 * (int)sizeof(long))
#define BITS_PER_BYTE		8
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define _BITUL(n)		(1UL << (n))
#define _BITULL(n)		(1ULL << (n))
#define BITS_TO_LONGS(n)	(((n) + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define BIT_WORD(n)		((n) / BITS_PER_LONG)
#define BITMAP_FIRST_WORD_MASK(start)	(~0UL << ((start) & (BITS_PER_LONG - 1)))
#define BITMAP_LAST_WORD_MASK(n)	(~0UL >> (-(n) & (BITS_PER_LONG - 1)))

#define __init
#define __initdata
#define __counted_by(member)
#define __must_check		__attribute__((warn_unused_result))
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#define __nonnull_args(...)
#ifndef fallthrough
#define fallthrough		__attribute__((fallthrough))
#endif
#define EXPORT_SYMBOL_GPL(name)	extern int gmcore_no_export
#ifndef static_assert
#define static_assert		_Static_assert
#endif
#define BUILD_BUG_ON(cond)	_Static_assert(!(cond), #cond)
#define READ_ONCE(x)		(*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value)	(*(volatile typeof(x) *)&(x) = (value))
#define WARN_ON(cond)		({ assert(!(cond)); false; })
#define WARN_ON_ONCE(cond)	WARN_ON(cond)
#define cond_resched()		do { } while (0)
#define might_alloc(gfp)	do { } while (0)
#define unlikely(x)		(x)
#define likely(x)		(x)

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member)					\
	((type *)((char *)(p) - offsetof(type, member)))
#define min(a, b)	({ __auto_type _a = (a); __auto_type _b = (b); _a < _b ? _a : _b; })
#define max(a, b)	({ __auto_type _a = (a); __auto_type _b = (b); _a > _b ? _a : _b; })
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define max_t(type, a, b)	max((type)(a), (type)(b))
#define swap(a, b)	do { typeof(a) _t = (a); (a) = (b); (b) = _t; } while (0)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define DIV_ROUND_UP_ULL(n, d)	DIV_ROUND_UP((u64)(n), (u64)(d))
#define round_down(n, to)	((n) & ~((typeof(n))(to) - 1))
#define round_up(n, to)		((((n) - 1) | ((typeof(n))(to) - 1)) + 1)
#define IS_ALIGNED(n, to)	(((n) & ((typeof(n))(to) - 1)) == 0)
#define is_power_of_2(n)	((n) && !((n) & ((n) - 1)))
#define ilog2(n)		(63 - __builtin_clzll(n))
#define roundup_pow_of_two(n)	((n) > 1 ? 1UL << (64 - __builtin_clzl((n) - 1)) : 1UL)
#define rounddown_pow_of_two(n)	(1UL << (63 - __builtin_clzl(n)))
#define check_add_overflow(a, b, to)	__builtin_add_overflow(a, b, to)
#define check_mul_overflow(a, b, to)	__builtin_mul_overflow(a, b, to)
#define lower_32_bits(n)	((u32)(n))
#define DIV64_U64_ROUND_UP(n, d)	DIV_ROUND_UP_ULL(n, d)
#define PTR_ALIGN_DOWN(p, to)	((typeof(p))((unsigned long)(p) & ~((unsigned long)(to) - 1)))
#define __fls(word)		((unsigned long)(63 - __builtin_clzl(word)))
#define __ffs(word)		((unsigned long)__builtin_ctzl(word))

static inline u64 mul_u64_u64_div_u64_roundup(u64 a, u64 b, u64 c)
{
	return ((unsigned __int128)a * b + c - 1) / c;
}

static inline u64 div64_u64(u64 a, u64 b)
{
	return a / b;
}

static inline u64 div_u64(u64 a, u32 b)
{
	return a / b;
}

/* Errors in pointers. */
#define MAX_ERRNO		4095
#define IS_ERR_VALUE(x)		((unsigned long)(void *)(x) >= (unsigned long)-MAX_ERRNO)
#define IS_ERR(p)		IS_ERR_VALUE(p)
#define IS_ERR_OR_NULL(p)	(!(p) || IS_ERR(p))
#define PTR_ERR(p)		((long)(p))
#define ERR_PTR(err)		((void *)(long)(err))
#define ERR_CAST(p)		((void *)(p))
#define PTR_ERR_OR_ZERO(p)	(IS_ERR(p) ? (int)PTR_ERR(p) : 0)

/* Memory. */
#define GFP_KERNEL		0U
#define GFP_KERNEL_ACCOUNT	0U
#define GFP_NOWAIT		0U
#define __GFP_NOWARN		0U
#define __GFP_ZERO		0U
#define kfree(p)		free((void *)(p))
#define kvfree(p)		free((void *)(p))
#define kmalloc(size, ...)	malloc(size)
#define kzalloc(size, ...)	calloc(1, size)
#define kvzalloc(size, ...)	calloc(1, size)
#define kvcalloc(n, size, ...)	calloc(n, size)
#define kmalloc_obj(obj, ...)	((typeof(obj) *)malloc(sizeof(obj)))
#define kzalloc_obj(obj, ...)	((typeof(obj) *)calloc(1, sizeof(obj)))
#define kvzalloc_objs(obj, n, ...)	((typeof(obj) *)calloc(n, sizeof(obj)))
#define kzalloc_flex(obj, member, n, ...)				\
	((typeof(obj) *)gmcore_alloc_flex(sizeof(obj), sizeof((obj).member[0]), n))
#define struct_size(p, member, n)					\
	(sizeof(*(p)) + sizeof((p)->member[0]) * (size_t)(n))

void *gmcore_alloc_flex(size_t size, size_t each, size_t n);

/* One thread: locks do nothing. */
struct mutex {
	int unused;
};

#define mutex_init(lock)		((void)(lock))
#define mutex_destroy(lock)		((void)(lock))
#define mutex_lock(lock)		((void)(lock))
#define mutex_unlock(lock)		((void)(lock))
#define guard(kind)			(void)
#define scoped_guard(kind, lock)	if ((void)(lock), true)
#define lockdep_assert_held(lock)	((void)(lock))
#define lockdep_assert_held_write(lock)	((void)(lock))

/* Strings. */
#define strscpy(to, from)	((void)snprintf(to, sizeof(to), "%s", from))
#define vscnprintf(to, size, fmt, args)	((void)vsnprintf(to, size, fmt, args))

void *memchr_inv(const void *mem, int byte, size_t size);
u32 crc32c(u32 crc, const void *data, size_t size);
u32 jhash(const void *key, u32 length, u32 seed);

/* Lists. */
struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(name)	{ &(name), &(name) }
#define LIST_HEAD(name)		struct list_head name = LIST_HEAD_INIT(name)
#define list_entry(p, type, member)	container_of(p, type, member)
#define list_first_entry(head, type, member)	list_entry((head)->next, type, member)
#define list_first_entry_or_null(head, type, member)			\
	(list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_for_each_entry(at, head, member)				\
	for (at = list_first_entry(head, typeof(*at), member);		\
	     &at->member != (head);					\
	     at = list_entry(at->member.next, typeof(*at), member))
#define list_for_each_entry_safe(at, after, head, member)		\
	for (at = list_first_entry(head, typeof(*at), member),		\
	     after = list_entry(at->member.next, typeof(*at), member);	\
	     &at->member != (head);					\
	     at = after, after = list_entry(after->member.next, typeof(*at), member))

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline void list_add(struct list_head *new, struct list_head *head)
{
	new->next = head->next;
	new->prev = head;
	head->next->prev = new;
	head->next = new;
}

static inline void list_add_tail(struct list_head *new, struct list_head *head)
{
	list_add(new, head->prev);
}

static inline void list_del(struct list_head *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
}

static inline void list_del_init(struct list_head *entry)
{
	list_del(entry);
	INIT_LIST_HEAD(entry);
}

/* Trees. */
struct rb_node {
	struct rb_node *parent, *left, *right;
	bool red;
};

struct rb_root {
	struct rb_node *rb_node;
};

/* Only its size counts here. */
struct rb_root_cached {
	struct rb_root rb_root;
	struct rb_node *rb_leftmost;
};

#define RB_ROOT_CACHED		((struct rb_root_cached) { { NULL }, NULL })

#define rb_left			left
#define rb_right		right
#define RB_ROOT			((struct rb_root) { NULL })
#define RB_EMPTY_ROOT(root)	(!(root)->rb_node)
#define rb_entry(p, type, member)	container_of(p, type, member)
#define rb_entry_safe(p, type, member)					\
	({ struct rb_node *_p = (p); _p ? rb_entry(_p, type, member) : NULL; })
#define rb_parent(node)		((node)->parent)

static inline void rb_link_node(struct rb_node *node, struct rb_node *parent,
				struct rb_node **link)
{
	*node = (struct rb_node) { .parent = parent, .red = true };
	*link = node;
}

void rb_insert_color(struct rb_node *node, struct rb_root *root);
void rb_erase(struct rb_node *node, struct rb_root *root);
struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);
struct rb_node *rb_prev(const struct rb_node *node);
struct rb_node *rb_first_postorder(const struct rb_root *root);
struct rb_node *rb_next_postorder(const struct rb_node *node);

#define rbtree_postorder_for_each_entry_safe(at, after, root, member)	\
	for (at = rb_entry_safe(rb_first_postorder(root), typeof(*at), member); \
	     at && ({ after = rb_entry_safe(rb_next_postorder(&at->member),	\
					    typeof(*at), member); 1; });	\
	     at = after)

/* Bitmaps. */
static inline bool test_bit(unsigned long nr, const unsigned long *map)
{
	return map[BIT_WORD(nr)] >> nr % BITS_PER_LONG & 1;
}

static inline void __set_bit(unsigned long nr, unsigned long *map)
{
	map[BIT_WORD(nr)] |= BIT(nr % BITS_PER_LONG);
}

static inline void __clear_bit(unsigned long nr, unsigned long *map)
{
	map[BIT_WORD(nr)] &= ~BIT(nr % BITS_PER_LONG);
}

#define set_bit(nr, map)	__set_bit(nr, map)
#define clear_bit(nr, map)	__clear_bit(nr, map)
#define DECLARE_BITMAP(name, bits)	unsigned long name[BITS_TO_LONGS(bits)]

unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long start);
unsigned long find_next_zero_bit(const unsigned long *map, unsigned long size,
				 unsigned long start);
unsigned long find_next_and_bit(const unsigned long *a, const unsigned long *b,
				unsigned long size, unsigned long start);
unsigned long find_last_bit(const unsigned long *map, unsigned long size);
void bitmap_set(unsigned long *map, unsigned int start, unsigned int nr);
void bitmap_clear(unsigned long *map, unsigned int start, unsigned int nr);
unsigned int bitmap_weight(const unsigned long *map, unsigned int nr);
unsigned long bitmap_find_next_zero_area(unsigned long *map, unsigned long size,
					 unsigned long start, unsigned int nr,
					 unsigned long align_mask);

/* XArrays: an array by ascending index. Filling it in that order is fast. */
typedef unsigned int xa_mark_t;

struct xa_entry {
	unsigned long index;
	void *entry;
	unsigned int marks;
};

struct xarray {
	struct xa_entry *at;
	size_t nr, room;
};

#define XA_MARK_0		1U
#define XA_MARK_1		2U
#define XA_MARK_2		4U
#define XA_PRESENT		8U
#define XA_ZERO_ENTRY		gmcore_xa_zero
#define xa_is_err(entry)	IS_ERR(entry)
#define xa_err(entry)		PTR_ERR_OR_ZERO(entry)
#define xa_mk_value(n)		((void *)((unsigned long)(n) << 1 | 1))

extern char gmcore_xa_zero[];

void xa_init(struct xarray *xa);
void xa_destroy(struct xarray *xa);
void *xa_load(const struct xarray *xa, unsigned long index);
void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);
int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);
int xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp);
void *xa_erase(struct xarray *xa, unsigned long index);
void xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
void xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark);
bool xa_get_mark(const struct xarray *xa, unsigned long index, xa_mark_t mark);
void *xa_find(const struct xarray *xa, unsigned long *index, unsigned long last, xa_mark_t mark);
void *xa_find_after(const struct xarray *xa, unsigned long *index, unsigned long last,
		    xa_mark_t mark);

#define xa_for_each_in(xa, index, entry, first, last, mark)		\
	for (index = (first), entry = xa_find(xa, &index, last, mark); entry; \
	     entry = xa_find_after(xa, &index, last, mark))
#define xa_for_each(xa, index, entry)					\
	xa_for_each_in(xa, index, entry, 0, ULONG_MAX, XA_PRESENT)
#define xa_for_each_start(xa, index, entry, first)			\
	xa_for_each_in(xa, index, entry, first, ULONG_MAX, XA_PRESENT)
#define xa_for_each_range(xa, index, entry, first, last)		\
	xa_for_each_in(xa, index, entry, first, last, XA_PRESENT)
#define xa_for_each_marked(xa, index, entry, mark)			\
	xa_for_each_in(xa, index, entry, 0, ULONG_MAX, mark)

/* Numbers in text. */
#define kstrtoull(text, base, to)	gmcore_strtoull(text, base, to)
#define kstrtou64(text, base, to)	gmcore_strtoull(text, base, to)

int gmcore_strtoull(const char *text, unsigned int base, unsigned long long *to);
unsigned long long memparse(const char *text, char **end);
#define sort(base, n, size, compare, swap)	qsort(base, n, size, compare)

#endif /* _GMCORE_KERNEL_H */
