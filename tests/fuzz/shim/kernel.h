/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions of the kernel that fs/guestmemfs calls, for one task in user space.
 * Included before everything else. Some headers that the sources include are the
 * kernel's, from its tree; the others are empty (see the Makefile).
 *
 * Locks check that they are held, and are not taken twice. Pool memory is only
 * addresses. Ordinary memory is that of machine.c, where a page has an owner or is
 * poisoned for the sanitizer.
 */
#ifndef _FUZZ_KERNEL_H
#define _FUZZ_KERNEL_H

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
#include <sys/types.h>

#include <linux/types.h>

#include <linux/compiler.h>
#include <linux/build_bug.h>
#include <linux/const.h>
#include <linux/overflow.h>
#include <linux/bits.h>
#include <linux/align.h>
#include <linux/kernel.h>

/* The kernel's macros accept two types. */
#undef min
#undef max
#undef min_t
#undef max_t
#undef clamp
#include <linux/minmax.h>

#include <linux/list.h>
#include <linux/err.h>
#include <linux/log2.h>
#include <linux/math.h>
#include <linux/math64.h>
#include <linux/bitmap.h>
#include <linux/rbtree.h>
#include <linux/jhash.h>

/* libc has one too. */
#undef __CONCAT
#define __nonnull_args(...)	__attribute__((nonnull(__VA_ARGS__)))
#include <linux/cleanup.h>
#include <linux/time64.h>

#define __init
#define __initdata
#define __ro_after_init
#define __rcu
#define __counted_by(member)
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#define __aligned(x)		__attribute__((aligned(x)))
#ifndef fallthrough
#define fallthrough		__attribute__((fallthrough))
#endif
#ifndef __must_check
#define __must_check		__attribute__((warn_unused_result))
#endif
#define EXPORT_SYMBOL(name)	extern int fuzz_no_export
#define EXPORT_SYMBOL_GPL(name)	extern int fuzz_no_export
#define IS_ENABLED(option)	1

#define U32_MAX			UINT32_MAX
#define U64_MAX			UINT64_MAX
#define S64_MAX			INT64_MAX
#define SZ_1M			0x100000
#define SZ_1G			0x40000000
#define SZ_16M			0x1000000
#define SZ_64M			0x4000000
#define SZ_256M			0x10000000
#define SZ_4G			0x100000000ULL
#define NSEC_PER_SEC		1000000000L

#define DIV_ROUND_UP_ULL(n, d)	(((u64)(n) + (d) - 1) / (d))
#define DIV64_U64_ROUND_UP(n, d) DIV_ROUND_UP_ULL(n, d)
#define lower_32_bits(n)	((u32)(n))
#define PTR_ALIGN_DOWN(p, a)						\
	((typeof(p))((unsigned long)(p) & ~((unsigned long)(a) - 1)))
#define BIT_WORD(nr)		((nr) / BITS_PER_LONG)
#define cond_resched()		do { } while (0)
#define might_alloc(gfp)	do { } while (0)
#define WARN_ON(cond)		({ assert(!(cond)); false; })
#define WARN_ON_ONCE(cond)	({ assert(!(cond)); false; })

/* Files: <linux/stat.h> is for the kernel's own sources. */
#define S_IFMT			00170000
#define S_IFSOCK		0140000
#define S_IFLNK			0120000
#define S_IFREG			0100000
#define S_IFBLK			0060000
#define S_IFDIR			0040000
#define S_IFCHR			0020000
#define S_IFIFO			0010000
#define S_IALLUGO		07777
#define S_ISLNK(m)		(((m) & S_IFMT) == S_IFLNK)
#define S_ISREG(m)		(((m) & S_IFMT) == S_IFREG)
#define S_ISDIR(m)		(((m) & S_IFMT) == S_IFDIR)
#define S_ISCHR(m)		(((m) & S_IFMT) == S_IFCHR)
#define S_ISBLK(m)		(((m) & S_IFMT) == S_IFBLK)

struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};

/* Messages, to find the cause of a finding: FUZZ_VERBOSE=1. */
__printf(1, 2) void fuzz_printk(const char *fmt, ...);

#define pr_err(...)		fuzz_printk(__VA_ARGS__)
#define pr_warn(...)		fuzz_printk(__VA_ARGS__)
#define pr_notice(...)		fuzz_printk(__VA_ARGS__)
#define pr_info(...)		fuzz_printk(__VA_ARGS__)

/* Strings. */
ssize_t fuzz_strscpy(char *dst, const char *src, size_t size, bool pad);
void *memchr_inv(const void *start, int c, size_t bytes);
__printf(2, 3) char *kasprintf(gfp_t gfp, const char *fmt, ...);
char *kstrdup(const char *s, gfp_t gfp);
size_t strlcat(char *dst, const char *src, size_t size);
unsigned long long memparse(const char *s, char **rest);

#define strscpy(dst, src)	fuzz_strscpy(dst, src, sizeof(dst), false)
#define strscpy_pad(dst, src)	fuzz_strscpy(dst, src, sizeof(dst), true)

/* For sysfs files, which are not written here. */
#define copy_from_user(dst, src, size)	((void)(src), (size))
u64 int_pow(u64 base, unsigned int exp);
#include <linux/kstrtox.h>

u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c);
u64 mul_u64_u64_div_u64_roundup(u64 a, u64 b, u64 c);
u32 crc32c(u32 crc, const void *p, size_t len);
u32 fuzz_crc32c(u32 crc, const void *p, size_t len);
void sort(void *base, size_t num, size_t size,
	  int (*cmp)(const void *, const void *),
	  void (*swap_func)(void *, void *, int));

/* Memory of the kernel. The n-th allocation can be made to fail. */
void *fuzz_alloc(size_t nr, size_t size, bool zero);
void kfree(const void *p);

#define kmalloc_obj(obj, ...)	((typeof(obj) *)fuzz_alloc(1, sizeof(obj), false))
#define kzalloc_obj(obj, ...)	((typeof(obj) *)fuzz_alloc(1, sizeof(obj), true))
#define kzalloc_objs(obj, nr, ...) ((typeof(obj) *)fuzz_alloc(nr, sizeof(obj), true))
#define kvzalloc_objs		kzalloc_objs
#define kzalloc_flex(obj, member, nr, ...)				\
	((typeof(obj) *)fuzz_alloc(1, sizeof(obj) +			\
				   (nr) * sizeof((obj).member[0]), true))
#define kvcalloc(nr, size, gfp)	fuzz_alloc(nr, size, true)
#define kvzalloc(size, gfp)	fuzz_alloc(1, size, true)
#define kvfree(p)		kfree(p)

struct kmem_cache {
	size_t size;
};

struct list_lru;

#define kmem_cache_alloc(cache, gfp)		fuzz_alloc(1, (cache)->size, true)
#define kmem_cache_alloc_lru(cache, lru, gfp)	fuzz_alloc(1, (cache)->size, true)
#define kmem_cache_free(cache, p)		kfree(p)

/* Read-copy-update: memory freed by it stays until the end of an input. */
#define rcu_read_lock()		do { } while (0)
#define rcu_read_unlock()	do { } while (0)
#define rcu_dereference_raw(p)	(p)
#define rcu_dereference_check(p, c)	((void)(c), (p))
#define rcu_dereference_protected(p, c)	((void)(c), (p))
#define rcu_assign_pointer(p, v)	((p) = (v))
#define RCU_INIT_POINTER(p, v)		((p) = (v))
void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/* Locks. */
struct fuzz_lock {
	bool held;
};

typedef struct fuzz_lock spinlock_t;
struct mutex {
	bool held;
};

/* There is one thread. */
typedef struct {
} seqcount_spinlock_t;
#define seqcount_spinlock_init(s, l)	((void)(s))
#define read_seqcount_begin(s)		((void)(s), 0)
#define read_seqcount_retry(s, seq)	((void)(s), (void)(seq), false)

struct percpu_rw_semaphore {
	bool held;
	bool written;
};

struct lock_class_key {
};

#define fuzz_lock(lock)							\
	do {								\
		assert(!(lock)->held);					\
		(lock)->held = true;					\
	} while (0)
#define fuzz_unlock(lock)						\
	do {								\
		assert((lock)->held);					\
		(lock)->held = false;					\
	} while (0)

#define spin_lock_init(l)	((l)->held = false)
#define spin_lock(l)		fuzz_lock(l)
#define spin_unlock(l)		fuzz_unlock(l)
#define spin_lock_irq(l)	fuzz_lock(l)
#define spin_unlock_irq(l)	fuzz_unlock(l)
#define spin_lock_bh(l)		fuzz_lock(l)
#define spin_unlock_bh(l)	fuzz_unlock(l)
#define spin_lock_irqsave(l, flags)		\
	do {					\
		(flags) = 0;			\
		fuzz_lock(l);			\
	} while (0)
#define spin_unlock_irqrestore(l, flags)	\
	do {					\
		(void)(flags);			\
		fuzz_unlock(l);			\
	} while (0)
#define __SPIN_LOCK_UNLOCKED(name)	{ .held = false }

static inline unsigned long memory_block_size_bytes(void)
{
	return 128 << 20;
}

#define mutex_init(l)		((l)->held = false)
#define mutex_destroy(l)	assert(!(l)->held)
#define mutex_lock(l)		fuzz_lock(l)
#define mutex_unlock(l)		fuzz_unlock(l)
#define mutex_trylock(l)	((l)->held ? false : ((l)->held = true))
#define DEFINE_MUTEX(name)	struct mutex name
#define lockdep_is_held(l)	((l)->held)
#define lockdep_assert_held(l)	assert((l)->held)

static inline int percpu_init_rwsem(struct percpu_rw_semaphore *sem)
{
	*sem = (struct percpu_rw_semaphore){};
	return 0;
}

static inline void percpu_down_read(struct percpu_rw_semaphore *sem)
{
	fuzz_lock(sem);
}

static inline void percpu_up_read(struct percpu_rw_semaphore *sem)
{
	assert(!sem->written);
	fuzz_unlock(sem);
}

static inline void percpu_down_write(struct percpu_rw_semaphore *sem)
{
	fuzz_lock(sem);
	sem->written = true;
}

static inline void percpu_up_write(struct percpu_rw_semaphore *sem)
{
	sem->written = false;
	fuzz_unlock(sem);
}

#define percpu_rwsem_assert_held(sem)		lockdep_assert_held(sem)
#define percpu_rwsem_release(sem, ip)		((void)(sem))

/* Work is done at once. */
struct work_struct {
	void (*func)(struct work_struct *work);
};

#define INIT_WORK(work, fn)			((work)->func = (fn))
#define WQ_UNBOUND				0
#define WQ_MEM_RECLAIM				0
#define alloc_workqueue(fmt, flags, active)	((struct workqueue_struct *)&gmpool_list)
#define queue_work(wq, work)			((work)->func(work))
#define flush_work(work)			((void)(work))
#define _THIS_IP_				0

DEFINE_GUARD(mutex, struct mutex *, mutex_lock(_T), mutex_unlock(_T))
DEFINE_GUARD(spinlock, spinlock_t *, spin_lock(_T), spin_unlock(_T))

#include <linux/xarray.h>

static inline unsigned int memalloc_nofs_save(void)
{
	return 0;
}

#define memalloc_nofs_restore(flags)	((void)(flags))

typedef struct {
	int sleepers;
} wait_queue_head_t;

#define init_waitqueue_head(q)	((q)->sleepers = 0)
#define wake_up(q)		((void)(q))
#define wait_event(q, cond)	assert(cond)

/* Bitmaps. */
#define find_next_bit_from(...)	find_next_bit(__VA_ARGS__)
#define for_each_set_bitrange(b, e, addr, size)				\
	for ((b) = 0;							\
	     (b) = find_next_bit((addr), (size), (b)),			\
	     (e) = find_next_zero_bit((addr), (size), (b) + 1),		\
	     (b) < (size);						\
	     (b) = (e) + 1)
unsigned long bitmap_find_next_zero_area(unsigned long *map, unsigned long size,
					 unsigned long start, unsigned int nr,
					 unsigned long align_mask);

/* Pages. */
#define PAGE_SHIFT		12
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#define PMD_SIZE		(1UL << 21)
#define PUD_SIZE		(1UL << 30)
#define SECTION_SIZE_BITS	27
#define SMP_CACHE_BYTES		64
#define MAX_ORDER_NR_PAGES	1024
#define PHYS_PFN(phys)		((u64)(phys) >> PAGE_SHIFT)
#define PFN_UP(bytes)		(((u64)(bytes) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define offset_in_page(p)	((u64)(p) & (PAGE_SIZE - 1))
#define PFN_PHYS(pfn)		((u64)(pfn) << PAGE_SHIFT)

struct page {
	u64 fields[8];
};

struct folio {
	u8 order;
};

void *phys_to_virt(u64 phys);
u64 virt_to_phys(const void *virt);
struct page *pfn_to_page(u64 pfn);
struct page *pfn_to_online_page(u64 pfn);
long copy_from_kernel_nofault(void *dst, const void *src, size_t size);
struct folio *__folio_alloc_node(gfp_t gfp, unsigned int order, int nid);
struct folio *virt_to_folio(const void *virt);
void *folio_address(const struct folio *folio);
unsigned int folio_order(const struct folio *folio);
void folio_put(struct folio *folio);

/* Kexec HandOver. */
bool kho_is_enabled(void);
bool is_kho_boot(void);
int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size);
int kho_add_subtree(const char *name, void *blob, size_t size);
void kho_remove_subtree(void *blob);
int kho_preserve_folio(struct folio *folio);
void kho_unpreserve_folio(struct folio *folio);
int kho_preserve_pages(struct page *page, unsigned long nr);
void kho_unpreserve_pages(struct page *page, unsigned long nr);
struct folio *kho_restore_folio(phys_addr_t phys);
bool kho_scratch_overlap(phys_addr_t phys, size_t size);
int kho_walk_preserved(int (*fn)(phys_addr_t phys, u64 size, void *data),
		       void *data);

/* Early memory: ranges of a node, by rising address. */
struct memblock_region {
	u64 base;
	u64 size;
	int nid;
	bool scratch;
};

enum memblock_flags {
	MEMBLOCK_NONE,
	MEMBLOCK_KHO_SCRATCH,
};

#define MEMBLOCK_ALLOC_ANYWHERE	0

extern struct memblock_region fuzz_memory[];
extern int fuzz_nr_memory;

bool fuzz_mem_range(int *i, int nid, unsigned long *start, unsigned long *end,
		    int *node);
void *memblock_alloc(u64 size, u64 align);
int memblock_remove(u64 base, u64 size);
bool memblock_is_region_memory(u64 base, u64 size);
bool memblock_is_region_reserved(u64 base, u64 size);

/* Only used when pools are made, which is not tested here. */
int memblock_add_node(u64 base, u64 size, int nid, enum memblock_flags flags);
int memblock_reserve(u64 base, u64 size);
int memblock_phys_free(u64 base, u64 size);
u64 memblock_reserved_kern_size(u64 limit, int nid);
int early_cpu_to_node(int cpu);
extern unsigned long long max_possible_pfn;
extern char __per_cpu_start[], __per_cpu_end[];
#define for_each_possible_cpu(cpu)	for ((cpu) = 0; (cpu) < 1; (cpu)++)
#define num_possible_cpus()		1
#define PAGE_ALIGN(size)		ALIGN(size, PAGE_SIZE)
#define PERCPU_MODULE_RESERVE		0
#define PERCPU_DYNAMIC_RESERVE		0
#define CONFIG_PHYSICAL_ALIGN		PMD_SIZE
#define for_each_reserved_mem_region(region)	for_each_mem_region(region)

#define memblock_alloc_low	memblock_alloc
#define memblock_is_kho_scratch(region)	((region)->scratch)
#define for_each_mem_region(region)					\
	for (region = fuzz_memory; region < fuzz_memory + fuzz_nr_memory; region++)
#define for_each_mem_pfn_range(i, nid, start, end, node)		\
	for ((i) = -1; fuzz_mem_range(&(i), nid, start, end, node);)
/* Pools are not made by the command line here, only handed-over ones are loaded. */
#define for_each_free_mem_range(i, nid, flags, start, end, node)	\
	for ((i) = 0, *(start) = 0, *(end) = 0, (void)(flags), (void)(nid); (i); (i)--)

/* Nodes, as many as the project's configuration has. */
#define MAX_NUMNODES		64
#define NUMA_NO_NODE		(-1)
typedef struct {
	u64 bits;
} nodemask_t;

#define node_set(nid, mask)	((mask).bits |= BIT_ULL(nid))
#define node_clear(nid, mask)	((mask).bits &= ~BIT_ULL(nid))
#define node_isset(nid, mask)	(!!((mask).bits & BIT_ULL(nid)))
#define nodes_clear(mask)	((mask).bits = 0)
#define first_node(mask)	__builtin_ctzll((mask).bits)
#define nodes_empty(mask)	(!(mask).bits)
#define nodes_weight(mask)	__builtin_popcountll((mask).bits)
#define node_online(nid)	((nid) < 2)
#define for_each_online_node(nid)	for ((nid) = 0; (nid) < 2; (nid)++)
#define for_each_node_mask(nid, mask)					\
	for ((nid) = 0; (nid) < MAX_NUMNODES; (nid)++)			\
		if (node_isset(nid, mask))
#define nodemask_pr_args(mask)	MAX_NUMNODES, (void *)(mask)
#define early_pfn_to_nid(pfn)	((void)(pfn), 0)
#define __pa_symbol(symbol)	((u64)(unsigned long)(symbol))
extern char _text[], _end[];
#define COMMAND_LINE_SIZE	2048
static inline int numa_mem_id(void)
{
	return 0;
}

#define early_param(name, fn)	int (*const fuzz_param_##fn)(char *) = fn
#define is_kdump_kernel()	false
#define has_transparent_hugepage()	true

/* Initcalls and callbacks of shutdown, by their names. */
#define fs_initcall(fn)		int (*const fuzz_init_##fn)(void) = fn
#define late_initcall(fn)	int (*const fuzz_init_##fn)(void) = fn

struct notifier_block {
	int (*notifier_call)(struct notifier_block *nb, unsigned long action,
			     void *data);
	int priority;
};

#define NOTIFY_DONE		0
#define NOTIFY_OK		1
extern bool kexec_in_progress;
int register_reboot_notifier(struct notifier_block *nb);

struct user_namespace {
	int level;
};

extern struct user_namespace init_user_ns;
#define CAP_SYS_RESOURCE	24
bool ns_capable_noaudit(struct user_namespace *ns, int cap);

struct new_utsname {
	char release[65];
};

struct new_utsname *init_utsname(void);

typedef struct {
	u8 b[16];
} uuid_t;

void uuid_gen(uuid_t *uuid);
#define export_uuid(dst, src)	memcpy(dst, (src)->b, 16)

/* sysfs files and tracepoints do nothing here. */
struct kobject;
struct kernfs_node;
struct attribute_group;
struct attribute {
	const char *name;
	umode_t mode;
};

#define trace_guestmemfs_allocate(...)	do { } while (0)
#define trace_guestmemfs_free(...)	do { } while (0)
#define trace_guestmemfs_freeze(...)	do { } while (0)
#define trace_guestmemfs_preserve(...)	do { } while (0)
#define trace_guestmemfs_retrieve(...)	do { } while (0)
#define trace_guestmemfs_poison(...)	do { } while (0)

/* Memory failures. */
struct vm_area_struct {
	unsigned long vm_pgoff;
};

#define vma_pages(vma)		((void)(vma), 0UL)
struct address_space;
struct interval_tree_node {
	unsigned long start;
	unsigned long last;
};

struct pfn_address_space {
	struct interval_tree_node node;
	struct address_space *mapping;
	int (*pfn_to_vma_pgoff)(struct vm_area_struct *vma, unsigned long pfn,
				pgoff_t *pgoff);
	void (*get_mapping)(struct pfn_address_space *space, unsigned long pfn);
	void (*put_mapping)(struct pfn_address_space *space);
};

int register_pfn_address_space(struct pfn_address_space *space);
/* What changes the size of pools is not tested here. */
static inline void unregister_pfn_address_space(struct pfn_address_space *space)
{
}

static inline int memory_block_advise_max_size(unsigned long size)
{
	return 0;
}


#endif /* _FUZZ_KERNEL_H */
