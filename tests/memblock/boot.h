/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A machine as firmware describes it, and what the kernel makes of it until the
 * page allocator takes over: the real memblock, the real code of pools, and an
 * account of who else allocates early.
 */
#ifndef _BOOT_H
#define _BOOT_H

#include <stdbool.h>
#include <stdint.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif

#define KIB	((uint64_t)1 << 10)
#define MIB	((uint64_t)1 << 20)
#define GIB	((uint64_t)1 << 30)
#define TIB	((uint64_t)1 << 40)
#define PAGE	(4 * KIB)
#define SECTION	(128 * MIB)

#define NODES		64
#define MAX_CPUS	8192
#define MAX_PIECES	1024
#define MAX_EXTENTS	64
#define MEMORY_END	(64 * TIB)

/* What memblock knows of a piece of memory. */
enum {
	PIECE_HOTPLUG	= 1 << 0,
	PIECE_MIRROR	= 1 << 1,
	PIECE_KERNEL	= 1 << 2,	/* of a reservation: allocated by the kernel */
};

struct piece {
	uint64_t base;
	uint64_t size;
	int nid;
	unsigned int flags;
};

/* By rising address, without overlap. */
struct pieces {
	unsigned int nr;
	unsigned int nr_tables;		/* entries that memblock has for all of its own */
	struct piece at[MAX_PIECES];
};

struct machine {
	uint64_t seed;
	uint64_t online;		/* bit for each node that is there */
	unsigned int cpus[NODES];	/* on each node */
	uint64_t per_cpu_size;		/* of what a CPU has, in the image */
	struct pieces memory;
	struct pieces reserved;		/* but for the image */
	uint64_t image;			/* physical address */
	uint64_t image_size;
	uint64_t brk_size;		/* of which nobody uses the end */
	bool movable_node;
	bool kernelcore;		/* kernelcore= is given */
	bool mirrored;
	bool kdump;
	bool no_pmd_mappings;		/* as a Xen PV domain */
	bool kho;
	char kho_scratch[64];		/* its parameter, empty if there is none */
};

struct pool {
	int nid;
	unsigned int nr;
	struct {
		uint64_t base;
		uint64_t size;
	} extents[MAX_EXTENTS];
};

/* What came of a boot. */
struct outcome {
	bool finished;
	char log[64 * KIB];
	unsigned int nr_pools;
	struct pool pools[NODES];
	/* As pools were about to be made, and when they had been. */
	struct pieces memory[2];
	struct pieces reserved[2];
	/* Bytes in use of memory for movable pages, then, and when all others had allocated. */
	uint64_t used_movable[2];
	/* Who found no room later, empty if all did. */
	char starved[64];
	unsigned int nr_scratch;
	struct piece scratch[NODES + 2];	/* of KHO, in the order in which it had them */
	uint64_t free[NODES];
	uint64_t free_low;
};

enum boot_trouble {
	BOOT_WELL,
	BOOT_NO_POOL_STRUCT,	/* the memory for a struct gmpool is refused */
};

/* @params: values of guestmemfs=, as often as it is given; NULL ends them. */
const struct outcome *boot(const struct machine *machine, const char *const *params,
			   enum boot_trouble trouble);
void boot_forget(const struct outcome *outcome);

#endif /* _BOOT_H */
