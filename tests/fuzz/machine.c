// SPDX-License-Identifier: GPL-2.0
/*
 * Memory, KHO, and the other functions of the kernel that the sources call.
 */

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include "machine.h"

#define MAX_SUBTREES	64
#define MAX_MEMORY	(2 * 64 + 8 + MACHINE_RANGES)

/* Owner of a page: none, KHO since the previous kernel, this kernel. */
enum owner {
	OWNER_NONE,
	OWNER_KHO,
	OWNER_KERNEL,
};

struct page_state {
	u8 owner;
	u8 order;	/* at the start of a folio */
	bool head;
	bool preserved;	/* for the next kernel */
	u8 preserved_order;
};

struct subtree {
	u64 phys;
	u64 size;
};

struct memblock_region fuzz_memory[MAX_MEMORY];
int fuzz_nr_memory;
bool kexec_in_progress;
char _text[1], _end[1];
struct user_namespace init_user_ns;

static u8 *arena;
static struct page_state pages[MACHINE_PAGES];
static struct folio folios[MACHINE_PAGES];
static struct page page_structs[MACHINE_PAGES];
static unsigned int nr_touched;
static struct subtree in[MAX_SUBTREES], out[MAX_SUBTREES];
static struct machine_range ranges[MACHINE_RANGES];
static bool kho_boot;
static bool few_pages;
static unsigned int fail_after;
static unsigned int nr_live;
static struct rcu_head *rcu_freed;
static struct notifier_block *reboot_notifier;
static struct pfn_address_space *watched[2 * 64];
static unsigned int nr_watched;

/* Messages and strings. */

void fuzz_printk(const char *fmt, ...)
{
	static int verbose = -1;
	va_list args;

	if (verbose < 0)
		verbose = !!getenv("FUZZ_VERBOSE");
	if (!verbose)
		return;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
}

ssize_t fuzz_strscpy(char *dst, const char *src, size_t size, bool pad)
{
	size_t len = strnlen(src, size);
	ssize_t ret = len == size ? -E2BIG : (ssize_t)len;

	if (len == size)
		len--;
	memmove(dst, src, len);
	memset(dst + len, 0, pad ? size - len : 1);
	return ret;
}

void *memchr_inv(const void *start, int c, size_t bytes)
{
	const u8 *p = start;

	if (!bytes)
		return NULL;
	if (*p == (u8)c && !memcmp(p, p + 1, bytes - 1))
		return NULL;
	while (*p == (u8)c)
		p++;
	return (void *)p;
}

char *kasprintf(gfp_t gfp, const char *fmt, ...)
{
	char *text = fuzz_alloc(1, 256, true);
	va_list args;

	if (!text)
		return NULL;
	va_start(args, fmt);
	vsnprintf(text, 256, fmt, args);
	va_end(args);
	return text;
}

char *kstrdup(const char *s, gfp_t gfp)
{
	return kasprintf(gfp, "%s", s);
}

size_t strlcat(char *dst, const char *src, size_t size)
{
	size_t len = strlen(dst);

	snprintf(dst + len, size - len, "%s", src);
	return len + strlen(src);
}

unsigned long long memparse(const char *s, char **rest)
{
	return strtoull(s, rest, 0);
}

u32 crc32c(u32 crc, const void *p, size_t len)
{
#if __has_feature(address_sanitizer)
	assert(!__asan_region_is_poisoned((void *)p, len));
#endif
	return fuzz_crc32c(crc, p, len);
}

u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	return (u128)a * b / c;
}

u64 mul_u64_u64_div_u64_roundup(u64 a, u64 b, u64 c)
{
	return ((u128)a * b + c - 1) / c;
}

u64 int_pow(u64 base, unsigned int exp)
{
	u64 result = 1;

	while (exp--)
		result *= base;
	return result;
}

void sort(void *base, size_t num, size_t size,
	  int (*cmp)(const void *, const void *),
	  void (*swap_func)(void *, void *, int))
{
	qsort(base, num, size, cmp);
}

unsigned long bitmap_find_next_zero_area(unsigned long *map, unsigned long size,
					 unsigned long start, unsigned int nr,
					 unsigned long align_mask)
{
	unsigned long next;

	for (;; start = next + 1) {
		start = find_next_zero_bit(map, size, start);
		if (start + nr > size)
			return start + nr;
		next = find_next_bit(map, start + nr, start);
		if (next >= start + nr)
			return start;
	}
}

/* Allocated memory. */

static bool fails(void)
{
	return fail_after && !--fail_after;
}

/* Memory that is not to be zeroed is filled with 0xa5. */
void *fuzz_alloc(size_t nr, size_t size, bool zero)
{
	void *p;

	if (fails())
		return NULL;
	p = zero ? calloc(nr, size) : malloc(nr * size);
	if (!p)
		return NULL;
	if (!zero)
		memset(p, 0xa5, nr * size);
	nr_live++;
	return p;
}

void kfree(const void *p)
{
	if (!p)
		return;
	assert(nr_live);
	nr_live--;
	free((void *)p);
}

struct kmem_cache *radix_tree_node_cachep = &(struct kmem_cache){
	.size = sizeof(struct xa_node),
};

void radix_tree_node_rcu_free(struct rcu_head *head)
{
	kfree(container_of(head, struct xa_node, rcu_head));
}

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	head->func = func;
	head->next = rcu_freed;
	rcu_freed = head;
}

static void rcu_barrier(void)
{
	struct rcu_head *head;

	while ((head = rcu_freed)) {
		rcu_freed = head->next;
		head->func(head);
	}
}

/* Pages. */

static bool in_arena(u64 phys)
{
	return phys - MACHINE_PHYS < (u64)MACHINE_PAGES << PAGE_SHIFT;
}

static unsigned int page_of(u64 phys)
{
	return (phys - MACHINE_PHYS) >> PAGE_SHIFT;
}

static void *page_at(unsigned int page)
{
	return arena + ((size_t)page << PAGE_SHIFT);
}

void *phys_to_virt(u64 phys)
{
	return (void *)((uintptr_t)arena + (phys - MACHINE_PHYS));
}

u64 virt_to_phys(const void *virt)
{
	u64 phys = (uintptr_t)virt - (uintptr_t)arena + MACHINE_PHYS;

	assert(in_arena(phys));
	return phys;
}

struct page *pfn_to_page(u64 pfn)
{
	assert(in_arena(PFN_PHYS(pfn)));
	return &page_structs[page_of(PFN_PHYS(pfn))];
}

struct page *pfn_to_online_page(u64 pfn)
{
	if (pfn != PHYS_PFN(PFN_PHYS(pfn)) || !in_arena(PFN_PHYS(pfn)))
		return NULL;
	return pfn_to_page(pfn);
}

/* Any page, regardless of its owner: only that it is memory is checked. */
__attribute__((no_sanitize("address")))
long copy_from_kernel_nofault(void *dst, const void *src, size_t size)
{
	u64 phys = (uintptr_t)src - (uintptr_t)arena + MACHINE_PHYS;
	const u64 *from = src;
	u64 *to = dst;
	size_t i;

	assert(in_arena(phys) && in_arena(phys + size - 1));
	for (i = 0; i < size / sizeof(u64); i++)
		to[i] = from[i];
	return 0;
}

static void own(unsigned int first, unsigned int order, enum owner owner)
{
	unsigned int i;

	for (i = first; i < first + (1U << order); i++) {
		pages[i].owner = owner;
		pages[i].head = i == first;
		pages[i].order = order;
	}
	folios[first].order = order;
	nr_touched = max(nr_touched, first + (1U << order));
	if (owner == OWNER_NONE)
		ASAN_POISON_MEMORY_REGION(page_at(first), PAGE_SIZE << order);
	else
		ASAN_UNPOISON_MEMORY_REGION(page_at(first), PAGE_SIZE << order);
}

static bool is_free(unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = first; i < first + nr; i++)
		if (pages[i].owner != OWNER_NONE || pages[i].preserved)
			return false;
	return true;
}

struct folio *__folio_alloc_node(gfp_t gfp, unsigned int order, int nid)
{
	unsigned int nr = 1U << order;
	unsigned int first;

	if (fails() || (few_pages && gfp & __GFP_NORETRY))
		return NULL;
	for (first = 0; first + nr <= MACHINE_PAGES; first += nr) {
		if (!is_free(first, nr))
			continue;
		own(first, order, OWNER_KERNEL);
		memset(page_at(first), 0, PAGE_SIZE << order);
		return &folios[first];
	}
	return NULL;
}

struct folio *virt_to_folio(const void *virt)
{
	unsigned int page = page_of(virt_to_phys(virt));

	assert(pages[page].owner == OWNER_KERNEL && pages[page].head);
	return &folios[page];
}

void *folio_address(const struct folio *folio)
{
	return page_at(folio - folios);
}

unsigned int folio_order(const struct folio *folio)
{
	return folio->order;
}

void folio_put(struct folio *folio)
{
	unsigned int page = folio - folios;

	assert(pages[page].owner == OWNER_KERNEL && pages[page].head);
	assert(!pages[page].preserved);
	own(page, folio->order, OWNER_NONE);
}

/* KHO. */

bool kho_is_enabled(void)
{
	return true;
}

bool is_kho_boot(void)
{
	return kho_boot;
}

bool kho_scratch_overlap(phys_addr_t phys, size_t size)
{
	return false;
}

int kho_walk_preserved(int (*fn)(phys_addr_t phys, u64 size, void *data),
		       void *data)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < nr_touched && !err; i++)
		if (pages[i].owner == OWNER_KHO && pages[i].head)
			err = fn(MACHINE_PHYS + ((u64)i << PAGE_SHIFT),
				 (u64)PAGE_SIZE << pages[i].order, data);
	return err;
}

/* As a lookup of GMPOOL_SUBTREE_FMT, but faster: each boot looks up all subtrees. */
static struct subtree *find_subtree(struct subtree *trees, const char *name)
{
	unsigned int key = 0;

	for (name += 3; *name; name++)
		key = key * 10 + *name - '0';
	return key < MAX_SUBTREES ? &trees[key] : NULL;
}

int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size)
{
	const struct subtree *tree = find_subtree(in, name);

	if (!tree || !tree->size)
		return -ENOENT;
	*phys = tree->phys;
	*size = tree->size;
	return 0;
}

int kho_add_subtree(const char *name, void *blob, size_t size)
{
	struct subtree *tree = find_subtree(out, name);

	assert(tree);
	if (tree->size)
		return -EEXIST;
	if (fails())
		return -ENOMEM;
	tree->phys = virt_to_phys(blob);
	tree->size = size;
	return 0;
}

void kho_remove_subtree(void *blob)
{
	unsigned int i;

	for (i = 0; i < MAX_SUBTREES; i++)
		if (out[i].size && out[i].phys == virt_to_phys(blob))
			out[i].size = 0;
}

int kho_preserve_folio(struct folio *folio)
{
	unsigned int first = folio - folios, i;

	assert(pages[first].owner == OWNER_KERNEL && pages[first].head);
	if (fails())
		return -ENOMEM;
	for (i = first; i < first + (1U << folio->order); i++) {
		pages[i].preserved = true;
		pages[i].preserved_order = folio->order;
	}
	return 0;
}

void kho_unpreserve_folio(struct folio *folio)
{
	unsigned int first = folio - folios, i;

	assert(pages[first].owner == OWNER_KERNEL && pages[first].head);
	for (i = first; i < first + (1U << folio->order); i++) {
		assert(pages[i].preserved);
		pages[i].preserved = false;
	}
}

/* In folios as large as their alignment allows; pages in a larger folio keep it. */
int kho_preserve_pages(struct page *page, unsigned long nr)
{
	unsigned int at = page - page_structs;
	unsigned int end = at + nr;

	while (at < end) {
		unsigned int order = min(at ? __builtin_ctz(at) : 31,
					 31 - __builtin_clz(end - at));
		unsigned int stop = at + (1U << order);

		for (; at < stop; at++) {
			if (!pages[at].preserved ||
			    pages[at].preserved_order < order)
				pages[at].preserved_order = order;
			pages[at].preserved = true;
		}
	}
	nr_touched = max(nr_touched, end);
	return 0;
}

void kho_unpreserve_pages(struct page *page, unsigned long nr)
{
	unsigned int at = page - page_structs;
	unsigned int end = at + nr;

	for (; at < end; at++)
		pages[at].preserved = false;
}

struct folio *kho_restore_folio(phys_addr_t phys)
{
	unsigned int page = page_of(phys);

	if (!in_arena(phys) || pages[page].owner != OWNER_KHO || !pages[page].head)
		return NULL;
	own(page, pages[page].order, OWNER_KERNEL);
	return &folios[page];
}

/* Early memory. */

bool fuzz_mem_range(int *i, int nid, unsigned long *start, unsigned long *end,
		    int *node)
{
	while (++*i < fuzz_nr_memory) {
		const struct memblock_region *region = &fuzz_memory[*i];

		if (nid != MAX_NUMNODES && region->nid != nid)
			continue;
		*start = PHYS_PFN(region->base);
		*end = PHYS_PFN(region->base + region->size);
		if (node)
			*node = region->nid;
		return true;
	}
	return false;
}

void *memblock_alloc(u64 size, u64 align)
{
	return fuzz_alloc(1, size, true);
}

static void insert_memory(int at, u64 base, u64 size, int nid)
{
	assert(fuzz_nr_memory < MAX_MEMORY);
	memmove(&fuzz_memory[at + 1], &fuzz_memory[at],
		(fuzz_nr_memory - at) * sizeof(*fuzz_memory));
	fuzz_memory[at] = (struct memblock_region){ base, size, nid, false };
	fuzz_nr_memory++;
}

static bool ranges_overlap(u64 base, u64 size, u64 other, u64 other_size)
{
	return base < other + other_size && other < base + size;
}

/* Take a range out of fuzz_memory. */
static void cut_memory(u64 base, u64 size)
{
	u64 end = base + size;
	int i;

	for (i = 0; i < fuzz_nr_memory; i++) {
		struct memblock_region *region = &fuzz_memory[i];
		u64 last = region->base + region->size;

		if (last <= base || region->base >= end)
			continue;
		if (last > end)
			insert_memory(i + 1, end, last - end, region->nid);
		region->size = base > region->base ? base - region->base : 0;
	}
}

int memblock_remove(u64 base, u64 size)
{
	unsigned int i;

	/* No pool takes memory of another. */
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		assert(!ranges_overlap(base, size, ranges[i].base,
				       ranges[i].size));
	if (fails())
		return -ENOMEM;
	cut_memory(base, size);
	return 0;
}

bool memblock_is_region_memory(u64 base, u64 size)
{
	return in_arena(base) && in_arena(base + size - 1);
}

/* Ordinary memory and MACHINE_USED count as reserved. */
bool memblock_is_region_reserved(u64 base, u64 size)
{
	const struct machine_range *used = &ranges[MACHINE_USED];

	return in_arena(base) || ranges_overlap(base, size, used->base, used->size);
}

/* The rest of the kernel. */

int register_reboot_notifier(struct notifier_block *nb)
{
	reboot_notifier = nb;
	return 0;
}

bool ns_capable_noaudit(struct user_namespace *ns, int cap)
{
	return true;
}

struct new_utsname *init_utsname(void)
{
	static struct new_utsname name = { "7.3.0-fuzz" };

	return &name;
}

/* The same in all images, so that parts of one can be copied into another. */
void uuid_gen(uuid_t *uuid)
{
	memcpy(uuid->b, "guestmemfs fuzz!", sizeof(uuid->b));
}

int register_pfn_address_space(struct pfn_address_space *space)
{
	assert(nr_watched < ARRAY_SIZE(watched));
	watched[nr_watched++] = space;
	return 0;
}

/* The machine itself. */

/**
 * machine_start - power on the machine
 */
void machine_start(void)
{
	unsigned int i;

	if (!arena) {
		arena = mmap(NULL, (size_t)MACHINE_PAGES << PAGE_SHIFT,
			     PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert(arena != MAP_FAILED);
		nr_touched = MACHINE_PAGES;
	}
	for (i = 0; i < nr_touched; i++)
		pages[i] = (struct page_state){};
	ASAN_POISON_MEMORY_REGION(arena, (size_t)nr_touched << PAGE_SHIFT);
	nr_touched = 0;
	memset(in, 0, sizeof(in));
	memset(out, 0, sizeof(out));
	memset(ranges, 0, sizeof(ranges));
	fail_after = 0;
	few_pages = false;
	kho_boot = false;
	kexec_in_progress = false;
}

/**
 * machine_load - load memory as a previous kernel has left it
 * @image: the first pages of memory
 * @nr: number of pages
 * @orders: for each page, the order of the folio that KHO has preserved there, or
 *	MACHINE_LOST
 */
void machine_load(const void *image, unsigned int nr, const u8 *orders)
{
	unsigned int i;

	ASAN_UNPOISON_MEMORY_REGION(arena, (size_t)nr << PAGE_SHIFT);
	memcpy(arena, image, (size_t)nr << PAGE_SHIFT);
	nr_touched = max(nr_touched, nr);
	for (i = 0; i < nr; i++) {
		if (orders[i] > 9 || i & ((1U << orders[i]) - 1) ||
		    i + (1U << orders[i]) > nr ||
		    !is_free(i, 1U << orders[i]))
			continue;
		own(i, orders[i], OWNER_KHO);
	}
}

/**
 * machine_subtree - set the KHO subtree of a pool
 * @key: number in the name of its subtree
 * @phys: address
 * @size: bytes, 0 for none
 */
void machine_subtree(unsigned int key, u64 phys, u64 size)
{
	in[key].phys = phys;
	in[key].size = size;
}

/**
 * machine_range - set a range of the memory for pools that no pool may use
 * @kind: of the range
 * @base: physical address, in bytes
 * @size: bytes, 0 for none
 *
 * The range stays set over machine_kexec(), until machine_start().
 */
void machine_range(enum machine_range_kind kind, u64 base, u64 size)
{
	ranges[kind].base = base;
	ranges[kind].size = size;
}

/**
 * machine_boot - boot a kernel
 * @kho: it was started by kexec with KHO
 */
void machine_boot(bool kho)
{
	const struct machine_range *scratch = &ranges[MACHINE_SCRATCH];

	kho_boot = kho;
	ASAN_UNPOISON_MEMORY_REGION(arena, (size_t)nr_touched << PAGE_SHIFT);
	fuzz_nr_memory = 0;
	insert_memory(0, MACHINE_PHYS, (u64)MACHINE_PAGES << PAGE_SHIFT, 0);
	insert_memory(1, MACHINE_POOLS, MACHINE_NODE, 0);
	insert_memory(2, MACHINE_POOLS + MACHINE_NODE, MACHINE_NODE, 1);
	cut_memory(ranges[MACHINE_GONE].base, ranges[MACHINE_GONE].size);
	if (kho && scratch->size) {
		cut_memory(scratch->base, scratch->size);
		insert_memory(fuzz_nr_memory, scratch->base, scratch->size,
			      scratch->base >= MACHINE_POOLS + MACHINE_NODE);
		fuzz_memory[fuzz_nr_memory - 1].scratch = true;
	}
}

/**
 * machine_late - allow allocation of free memory
 *
 * Before that, all memory can be read, as nothing has been able to overwrite it.
 */
void machine_late(void)
{
	unsigned int i;

	for (i = 0; i < nr_touched; i++)
		if (pages[i].owner == OWNER_NONE)
			ASAN_POISON_MEMORY_REGION(page_at(i), PAGE_SIZE);
}

/**
 * machine_end - end the kernel and free its memory
 *
 * Return: number of allocations that the kernel had not freed.
 */
unsigned int machine_end(void)
{
	unsigned int i, leaked;

	for (i = 0; i < nr_watched; i++)
		kfree(watched[i]);
	nr_watched = 0;
	rcu_barrier();
	leaked = nr_live;
	nr_live = 0;
	return leaked;
}

/**
 * machine_reboot - call the callbacks before a kexec
 */
void machine_reboot(void)
{
	kexec_in_progress = true;
	reboot_notifier->notifier_call(reboot_notifier, 0, NULL);
	kexec_in_progress = false;
}

/**
 * machine_kexec - leave the preserved memory to the next kernel
 */
void machine_kexec(void)
{
	unsigned int i;

	memcpy(in, out, sizeof(in));
	memset(out, 0, sizeof(out));
	for (i = 0; i < nr_touched; i++)
		own(i, 0, OWNER_NONE);
	for (i = 0; i < nr_touched; i++) {
		u8 order = pages[i].preserved_order;

		if (pages[i].preserved && !(i & ((1U << order) - 1)))
			own(i, order, OWNER_KHO);
	}
	for (i = 0; i < nr_touched; i++)
		pages[i].preserved = false;
}

/**
 * machine_order - get the order of a folio that the previous kernel preserved
 * @page: number of its first page
 *
 * Return: the order, or MACHINE_LOST.
 */
u8 machine_order(unsigned int page)
{
	if (pages[page].owner != OWNER_KHO || !pages[page].head)
		return MACHINE_LOST;
	return pages[page].order;
}

/**
 * machine_subtree_of - get the super block of a pool of the previous kernel
 * @key: number in the name of its subtree
 *
 * Return: physical address, or 0.
 */
u64 machine_subtree_of(unsigned int key)
{
	return in[key].size ? in[key].phys : 0;
}

/**
 * machine_page - get a page of memory
 * @page: number
 *
 * Return: the page; poisoned for the sanitizer if it has no owner.
 */
const void *machine_page(unsigned int page)
{
	return page_at(page);
}

/**
 * machine_fail_after - make an allocation fail
 * @nr: number of the allocation, 0 for none
 *
 * Return: what was set before, less the allocations since.
 */
unsigned int machine_fail_after(unsigned int nr)
{
	unsigned int old = fail_after;

	fail_after = nr;
	return old;
}

/**
 * machine_few_pages - make allocations of contiguous pages fail
 * @few: true to make them fail
 */
void machine_few_pages(bool few)
{
	few_pages = few;
}

/**
 * machine_poison - report a failed page
 * @pfn: the page
 */
void machine_poison(u64 pfn)
{
	unsigned int i;

	for (i = 0; i < nr_watched; i++)
		if (pfn >= watched[i]->node.start && pfn <= watched[i]->node.last) {
			watched[i]->get_mapping(watched[i], pfn);
			watched[i]->put_mapping(watched[i]);
			return;
		}
}
