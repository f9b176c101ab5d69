// SPDX-License-Identifier: GPL-2.0
/*
 * What the code of pools and memblock need of a kernel, and the order of a boot.
 * Each boot is a process of its own, as nothing of the kernel's early state is
 * ever put back.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kexec_handover.h>
#include <linux/crash_dump.h>
#include <linux/kstrtox.h>
#include <linux/memblock.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/string.h>
#include <linux/topology.h>

#include "../../fs/guestmemfs/numa/format.h"
#include "../../fs/guestmemfs/numa/pool.h"
#include "boot.h"

/* KHO aligns its areas to it: SCRATCH_ALIGNMENT_BYTES in kexec_handover.c. */
#define SCRATCH_ALIGN	(4 * MIB)

/* What else a kernel takes before KHO does. */
#define SWIOTLB		(64 * MIB)
#define NODE_DATA_SIZE	(172 * KIB)

char *boot_memory;
unsigned long boot_image_start;
unsigned long boot_image_end;
unsigned long boot_per_cpu_size;
unsigned int boot_nr_cpus;
nodemask_t boot_online;
bool movable_node_enabled;

static const struct machine *machine;
static struct outcome *outcome;
static enum boot_trouble trouble;

static struct {
	const char *name;
	int (*setup)(char *value);
} params[8];
static unsigned int nr_params;

void boot_register_param(const char *name, int (*setup)(char *value))
{
	params[nr_params].name = name;
	params[nr_params++].setup = setup;
}

static void early_param_is(const char *name, const char *value)
{
	char *copy = strdup(value);
	unsigned int i;

	for (i = 0; i < nr_params; i++)
		if (!strcmp(params[i].name, name))
			params[i].setup(copy);
	free(copy);
}

/* --- the kernel's log ---------------------------------------------------------- */

static void print_list(char *buf, size_t size, const unsigned long *bits, int nr)
{
	int i, last;

	buf[0] = '\0';
	for (i = 0; i < nr; i++) {
		if (!test_bit(i, bits))
			continue;
		for (last = i; last + 1 < nr && test_bit(last + 1, bits);)
			last++;
		snprintf(buf + strlen(buf), size - strlen(buf), "%s%d", buf[0] ? "," : "", i);
		if (last > i)
			snprintf(buf + strlen(buf), size - strlen(buf), "-%d", last);
		i = last;
	}
}

/* One conversion at a time, so that those that libc does not know can be done here. */
void boot_printk(const char *fmt, ...)
{
	char text[1024] = "", spec[16], piece[512];
	va_list args;

	va_start(args, fmt);
	while (*fmt) {
		size_t len = strcspn(fmt, "%");

		if (len) {
			snprintf(piece, sizeof(piece), "%.*s", (int)len, fmt);
		} else if (!strncmp(fmt, "%*pbl", 5)) {
			int nr = va_arg(args, int);

			len = 5;
			print_list(piece, sizeof(piece), va_arg(args, unsigned long *), nr);
		} else if (!strncmp(fmt, "%pa", 3)) {
			len = fmt[3] == 'p' ? 4 : 3;
			snprintf(piece, sizeof(piece), "%#llx",
				 (unsigned long long)*va_arg(args, phys_addr_t *));
		} else {
			len = 1 + strspn(fmt + 1, "#0123456789.*lz");
			len++;
			snprintf(spec, sizeof(spec), "%.*s", (int)len, fmt);
			if (strstr(spec, ".*s")) {
				int width = va_arg(args, int);

				snprintf(piece, sizeof(piece), spec, width, va_arg(args, char *));
			} else if (spec[len - 1] == 's') {
				snprintf(piece, sizeof(piece), spec, va_arg(args, char *));
			} else if (spec[len - 1] == '%') {
				snprintf(piece, sizeof(piece), "%%");
			} else if (strpbrk(spec, "lz")) {
				snprintf(piece, sizeof(piece), spec, va_arg(args, unsigned long));
			} else {
				snprintf(piece, sizeof(piece), spec, va_arg(args, int));
			}
		}
		strlcat(text, piece, sizeof(text));
		fmt += len;
	}
	va_end(args);
	if (strlcat(outcome->log, text, sizeof(outcome->log)) >= sizeof(outcome->log))
		abort();
}

/* --- what the code of pools calls ------------------------------------------------ */

size_t strlcat(char *dest, const char *src, size_t size)
{
	size_t len = strlen(dest), more = strlen(src);

	if (len < size)
		snprintf(dest + len, size - len, "%s", src);
	return len + more;
}

int kstrtoull(const char *s, unsigned int base, u64 *res)
{
	char *end;

	errno = 0;
	*res = strtoull(s, &end, base);
	if (errno == ERANGE)
		return -ERANGE;
	return *end || end == s ? -EINVAL : 0;
}

int boot_pfn_to_nid(unsigned long pfn)
{
	const struct memblock_region *region;

	for_each_mem_region(region)
		if (PFN_PHYS(pfn) >= region->base && PFN_PHYS(pfn) < region->base + region->size)
			return memblock_get_region_node(region);
	return 0;
}

int early_cpu_to_node(int cpu)
{
	int nid = -1;

	while (cpu >= 0)
		cpu -= machine->cpus[++nid];
	return nid;
}

bool is_kdump_kernel(void)
{
	return machine->kdump;
}

bool boot_has_pmd_mappings(void)
{
	return !machine->no_pmd_mappings;
}

bool kho_is_enabled(void)
{
	return machine->kho;
}

bool is_kho_boot(void)
{
	return false;
}

int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size)
{
	return -ENOENT;
}

bool kho_scratch_overlap(phys_addr_t phys, size_t size)
{
	return false;
}

int kho_walk_preserved(int (*fn)(phys_addr_t phys, u64 size, void *data),
		       void *data)
{
	return -ENODATA;
}

bool gmpool_maps_1g(void)
{
	return true;
}

u64 gmpool_arch_image_align(void)
{
	return CONFIG_PHYSICAL_ALIGN;
}

u64 gmpool_arch_swiotlb_size(void)
{
	return max_possible_pfn > PHYS_PFN(SZ_4G) ? SZ_64M : 0;
}

const struct gmpool_super_ser *gmpool_super_pick(const void *blob, u64 granularity,
						 const char **first_error)
{
	return NULL;
}

void gmpool_fail(struct gmpool *pool, const char *fmt, ...)
{
	pool->state = GMPOOL_FAILED;
}

/* memblock calls it only once there are slabs. */
void *kmalloc(size_t size, gfp_t gfp)
{
	abort();
}

void kfree(void *p)
{
	abort();
}

void *__real_memblock_alloc_try_nid(phys_addr_t size, phys_addr_t align, phys_addr_t min,
				    phys_addr_t max, int nid);
void *__wrap_memblock_alloc_try_nid(phys_addr_t size, phys_addr_t align, phys_addr_t min,
				    phys_addr_t max, int nid)
{
	if (trouble == BOOT_NO_POOL_STRUCT && size == sizeof(struct gmpool))
		return NULL;
	return __real_memblock_alloc_try_nid(size, align, min, max, nid);
}

/* --- the boot -------------------------------------------------------------------- */

static void look_at(const struct memblock_type *type, struct pieces *pieces)
{
	unsigned long i;

	pieces->nr = 0;
	pieces->nr_tables = memblock.memory.max + memblock.reserved.max;
	for (i = 0; i < type->cnt; i++) {
		const struct memblock_region *region = &type->regions[i];
		struct piece *piece = &pieces->at[pieces->nr++];

		if (pieces->nr > MAX_PIECES)
			abort();
		piece->base = region->base;
		piece->size = region->size;
		piece->nid = memblock_get_region_node(region);
		piece->flags = (region->flags & MEMBLOCK_HOTPLUG ? PIECE_HOTPLUG : 0) |
			       (region->flags & MEMBLOCK_MIRROR ? PIECE_MIRROR : 0) |
			       (region->flags & MEMBLOCK_RSRV_KERN ? PIECE_KERNEL : 0);
	}
}

static u64 present_sections(int nid)
{
	unsigned long start, end, pages = PHYS_PFN(SECTION);
	u64 next = 0, nr = 0;
	int i;

	for_each_mem_pfn_range(i, nid, &start, &end, NULL) {
		u64 first = max_t(u64, start / pages, next);

		next = max_t(u64, next, DIV_ROUND_UP(end, pages));
		nr += next - min(first, next);
	}
	return nr;
}

/* As sparse-vmemmap does it: a PMD mapping for each section, close to it. */
static bool alloc_memory_maps(int nid)
{
	u64 left = present_sections(nid);
	/* Of very large nodes, some at once: the time is for other things. */
	u64 step = 1 + left / 256, nr;

	for (; left; left -= nr) {
		nr = min(step, left);
		if (!memblock_alloc_try_nid_raw(nr * PMD_SIZE, PMD_SIZE, 16 * MIB,
						MEMBLOCK_ALLOC_ACCESSIBLE, nid))
			return false;
	}
	return true;
}

/*
 * As pcpu_embed_first_chunk() does it: all of a node in one piece, on another node if
 * this one has no room. Of units in that, each CPU keeps what it needs.
 */
static bool alloc_per_cpu_data(int nid)
{
	u64 size = round_up(machine->per_cpu_size + PERCPU_MODULE_RESERVE +
			    PERCPU_DYNAMIC_RESERVE, PAGE_SIZE);
	u64 unit = size, base, end;
	unsigned int cpu;

	while (PMD_SIZE % unit)
		unit += PAGE_SIZE;
	end = round_up(machine->cpus[nid] * unit, PMD_SIZE);
	base = memblock_phys_alloc_try_nid(end, PMD_SIZE, nid);
	if (!base)
		return false;
	end += base;
	for (cpu = 0; cpu < machine->cpus[nid]; cpu++, base += unit)
		memblock_phys_free(base + size, unit - size);
	memblock_phys_free(base, end - base);
	return true;
}

static u64 scratch_size(u64 low, int nid, unsigned int scale)
{
	return memblock_reserved_kern_size(low, nid) * scale / 100;
}

static bool have_scratch(phys_addr_t base, u64 size)
{
	struct piece *piece = &outcome->scratch[outcome->nr_scratch++];

	piece->base = base;
	piece->size = size;
	piece->nid = boot_pfn_to_nid(PHYS_PFN(base));
	return base;
}

/* KHO's areas: below 4 GiB, for all nodes, and for each. It has all of them or none. */
static const char *reserve_scratch(void)
{
	static char text[32];
	unsigned long long low = 0, global = 0, node = 0;
	unsigned int scale = 200;
	int nid;

	if (sscanf(machine->kho_scratch, "%lluM,%lluM,%lluM", &low, &global, &node) == 3)
		scale = 0;
	else
		sscanf(machine->kho_scratch, "%u%%", &scale);
	low *= MIB;
	global *= MIB;
	node *= MIB;
	if (scale) {
		low = scratch_size(ARCH_LOW_ADDRESS_LIMIT, NUMA_NO_NODE, scale);
		global = scratch_size(MEMBLOCK_ALLOC_ANYWHERE, NUMA_NO_NODE, scale) - low;
	}

	low = round_up(low, SCRATCH_ALIGN);
	global = round_up(global, SCRATCH_ALIGN);

	if (!memblock_alloc(NODES * 2 * sizeof(u64), PAGE_SIZE))
		return "array";
	if (!have_scratch(memblock_phys_alloc_range(low, SCRATCH_ALIGN, 0,
						    ARCH_LOW_ADDRESS_LIMIT), low))
		return "low";
	if (!have_scratch(memblock_phys_alloc(global, SCRATCH_ALIGN), global))
		return "global";
	for (nid = 0; nid < NODES; nid++) {
		if (!present_sections(nid))
			continue;
		if (scale)
			node = scratch_size(MEMBLOCK_ALLOC_ANYWHERE, nid, scale);
		node = round_up(node, SCRATCH_ALIGN);
		if (!have_scratch(memblock_alloc_range_nid(node, SCRATCH_ALIGN, 0,
							   MEMBLOCK_ALLOC_ACCESSIBLE, nid, true),
				  node)) {
			snprintf(text, sizeof(text), "node %d", nid);
			return text;
		}
	}
	return NULL;
}

static void starve(const char *who, int nid)
{
	if (!outcome->starved[0])
		snprintf(outcome->starved, sizeof(outcome->starved), "%s of node %d", who, nid);
}

/* Who allocates after pools have been made, in the order in which they do. */
static void go_on(void)
{
	const char *missing;
	phys_addr_t start, end;
	int nid;
	u64 i;

	for (nid = 0; nid < NODES; nid++)
		if (!alloc_memory_maps(nid))
			starve("memory maps", nid);
	for (nid = 0; nid < NODES; nid++)
		if (machine->cpus[nid] && !alloc_per_cpu_data(nid))
			starve("per-CPU data", nid);
	if (max_possible_pfn > PHYS_PFN(SZ_4G) &&
	    !memblock_phys_alloc_range(SWIOTLB, PAGE_SIZE, 0, ARCH_LOW_ADDRESS_LIMIT))
		starve("swiotlb", 0);

	if (machine->kho && !machine->kdump) {
		missing = reserve_scratch();
		if (missing)
			snprintf(outcome->starved, sizeof(outcome->starved),
				 "KHO's scratch area: %s", missing);
	}

	for_each_free_mem_range(i, NUMA_NO_NODE, MEMBLOCK_NONE, &start, &end, &nid) {
		if (nid >= 0 && nid < NODES)
			outcome->free[nid] += end - start;
		if (start < SZ_4G)
			outcome->free_low += min_t(u64, end, SZ_4G) - start;
	}
}

/* Reservations are on the node whose memory they are, as numa_memblks.c says it. */
static void tell_nodes_of_reservations(void)
{
	const struct pieces *memory = &machine->memory;
	unsigned int i;

	for (i = 0; i < memory->nr; i++)
		memblock_set_node(memory->at[i].base, memory->at[i].size, &memblock.reserved,
				  memory->at[i].nid);
}

static void set_up(void)
{
	const struct piece *piece;
	unsigned int i, nid;

	movable_node_enabled = machine->movable_node;
	boot_image_start = machine->image;
	boot_image_end = machine->image + machine->image_size;
	boot_online.bits[0] = machine->online;
	boot_per_cpu_size = machine->per_cpu_size;
	for (nid = 0; nid < NODES; nid++)
		boot_nr_cpus += machine->cpus[nid];

	memblock_reserve_kern(machine->image, machine->image_size - machine->brk_size);
	for (i = 0; i < machine->reserved.nr; i++) {
		piece = &machine->reserved.at[i];
		if (piece->flags & PIECE_KERNEL)
			memblock_reserve_kern(piece->base, piece->size);
	}
	memblock_allow_resize();
	for (i = 0; i < machine->memory.nr; i++) {
		piece = &machine->memory.at[i];
		max_possible_pfn = PHYS_PFN(piece->base + piece->size);
		memblock_add_node(piece->base, piece->size, piece->nid,
				  piece->flags & PIECE_HOTPLUG ? MEMBLOCK_HOTPLUG : MEMBLOCK_NONE);
		if (piece->flags & PIECE_MIRROR) {
			mirrored_kernelcore = true;
			memblock_mark_mirror(piece->base, piece->size);
		}
	}
	for (i = 0; i < machine->reserved.nr; i++) {
		piece = &machine->reserved.at[i];
		/* By now memblock can have tables of its own there. */
		if (!(piece->flags & PIECE_KERNEL) &&
		    !memblock_is_region_reserved(piece->base, piece->size))
			memblock_reserve(piece->base, piece->size);
	}
	tell_nodes_of_reservations();
	for (nid = 0; nid < NODES; nid++)
		if (machine->online >> nid & 1)
			memblock_phys_alloc_try_nid(NODE_DATA_SIZE, SMP_CACHE_BYTES, nid);
}

static u64 used_movable(void)
{
	const struct memblock_region *region, *used;
	u64 sum = 0, start, end;
	unsigned long i, j;

	for (i = 0; i < memblock.memory.cnt; i++) {
		region = &memblock.memory.regions[i];
		for (j = 0; region->flags & MEMBLOCK_HOTPLUG && j < memblock.reserved.cnt; j++) {
			used = &memblock.reserved.regions[j];
			start = max(region->base, used->base);
			end = min(region->base + region->size, used->base + used->size);
			sum += start < end ? end - start : 0;
		}
	}
	return sum;
}

static void take_stock(void)
{
	struct gmpool *pool;
	struct pool *seen;
	u32 i;

	list_for_each_entry(pool, &gmpool_list, list) {
		if (outcome->nr_pools == NODES)
			abort();
		seen = &outcome->pools[outcome->nr_pools++];
		seen->nid = pool->nid;
		seen->nr = pool->numbers.nr;
		for (i = 0; i < pool->numbers.nr; i++) {
			seen->extents[i].base = pool->numbers.extent[i].base;
			seen->extents[i].size = pool->numbers.extent[i].size;
		}
	}
}

static void run(const char *const *values)
{
	set_up();
	if (machine->kho_scratch[0])
		early_param_is("kho_scratch", machine->kho_scratch);
	if (machine->kernelcore)
		early_param_is("kernelcore", "1G");
	for (; *values; values++)
		early_param_is("guestmemfs", *values);

	look_at(&memblock.memory, &outcome->memory[0]);
	look_at(&memblock.reserved, &outcome->reserved[0]);
	guestmem_pool_retrieve_early();
	guestmem_pool_reserve();
	look_at(&memblock.memory, &outcome->memory[1]);
	look_at(&memblock.reserved, &outcome->reserved[1]);
	take_stock();
	outcome->used_movable[0] = used_movable();
	go_on();
	outcome->used_movable[1] = used_movable();
	outcome->finished = true;
}

static void *map(size_t size, int flags)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	if (mem == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return mem;
}

const struct outcome *boot(const struct machine *of, const char *const *values,
			   enum boot_trouble with)
{
	int status;
	pid_t pid;

	if (!boot_memory)
		boot_memory = map(MEMORY_END, MAP_PRIVATE | MAP_NORESERVE);

	/* One for each: who calls compares what came of several. */
	outcome = map(sizeof(*outcome), MAP_SHARED);
	machine = of;
	trouble = with;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (!pid) {
		/* memblock's tests have messages of it printed. */
		if (!freopen("/dev/null", "w", stdout))
			_exit(2);
		run(values);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		outcome->finished = false;
	return outcome;
}

void boot_forget(const struct outcome *of)
{
	munmap((void *)of, sizeof(*of));
}
