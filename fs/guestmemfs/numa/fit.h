/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_FIT_H
#define _GMPOOL_FIT_H

#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/types.h>

#include <linux/kho/abi/guestmem_pool.h>

#include "layout.h"

/**
 * struct gmpool_scratch - how KHO sizes its scratch areas
 * @scale: size in percent of early allocations; 0 if sizes are in bytes
 * @low: bytes of the area below gmpool_machine.low_end
 * @global: bytes of the area for allocations on any node
 * @node: bytes of the area of each node
 */
struct gmpool_scratch {
	u32 scale;
	u64 low;
	u64 global;
	u64 node;
};

/**
 * struct gmpool_machine - the machine's memory, as far as it limits pools
 * @kho_boot: the kernel was started with KHO, so the scratch areas exist
 *	already
 * @scratch: how KHO sizes its scratch areas, all 0 if it makes none
 * @low_end: physical address that limits DMA zones and devices of limited reach
 * @low_limit: physical address from which a pool may take memory below @low_end
 * @swiotlb: bytes of swiotlb's buffer, which is below @low_end
 * @image: bytes of the kernel image
 * @image_align: alignment of the kernel image in bytes
 * @unit: bytes of per-CPU data of one CPU
 * @cpus: possible CPUs
 * @cpus_elsewhere: possible CPUs of nodes without memory
 * @reserved: bytes that are allocated permanently on the machine, including the
 *	image
 * @reserved_low: the same below @low_end, without the image
 * @with_memory: nodes with memory, including those whose pool has all of it
 * @node_for_all: node with the scratch area for allocations on any node
 * @node_for_low: node for allocations that must be below @low_end
 * @node: data of each node
 * @node.size: bytes of memory
 * @node.low: bytes of it below @low_end
 * @node.start: physical address of its first byte
 * @node.end: physical address behind its last byte
 * @node.reserved: bytes that are allocated permanently, without the image
 * @node.cpus: possible CPUs
 * @node.asked: bytes that the command line asks for
 * @node.pool_end: physical address of the end of its handed-over pool, 0 if it has none
 * @node.growth: bytes of the growth reserve
 * @wanted: nodes that are to get a new pool
 * @free: free memory of the node under examination
 * @nr_free: entries of @free
 * @ranges: the part of @free that a pool can take
 * @nr_ranges: entries of @ranges
 * @growth_start: physical address from which the memory of the node is its
 *	growth reserve, U64_MAX if there is none
 * @below: the part of @ranges below @growth_start
 * @picked: extents of the pool under examination
 * @left: bytes of each node outside pools
 * @left_over: @free without @picked
 * @work: scratch space of gmpool_layout_room()
 *
 * gmpool_machine_survey() fills the structure once, except @node.asked,
 * @node.growth and @wanted. gmpool_machine_find() fills the free memory and ranges
 * of one node. @below and all fields after it are scratch space of fit.c.
 */
struct gmpool_machine {
	bool kho_boot;
	struct gmpool_scratch scratch;
	u64 low_end;
	u64 low_limit;
	u64 swiotlb;
	u64 image;
	u64 image_align;
	u64 unit;
	unsigned int cpus;
	unsigned int cpus_elsewhere;
	u64 reserved;
	u64 reserved_low;
	nodemask_t with_memory;
	int node_for_all;
	int node_for_low;
	struct {
		u64 size;
		u64 low;
		u64 start;
		u64 end;
		u64 reserved;
		unsigned int cpus;
		u64 asked;
		u64 pool_end;
		u64 growth;
	} node[MAX_NUMNODES];
	nodemask_t wanted;
	struct gmpool_extent_ser free[GMPOOL_MAX_RANGES];
	u32 nr_free;
	struct gmpool_extent_ser ranges[GMPOOL_MAX_RANGES];
	u32 nr_ranges;
	u64 growth_start;
	struct gmpool_extent_ser below[GMPOOL_MAX_RANGES];
	struct gmpool_extent_ser picked[GMPOOL_MAX_EXTENTS];
	u64 left[MAX_NUMNODES];
	struct gmpool_extent_ser left_over[GMPOOL_MAX_RANGES + GMPOOL_MAX_EXTENTS];
	struct gmpool_extent_ser work[GMPOOL_MAX_RANGES + GMPOOL_MAX_EXTENTS + 1];
};

/* In machine.c */
void gmpool_machine_survey(struct gmpool_machine *m);
void gmpool_machine_find(struct gmpool_machine *m, int nid, bool image);

/* In fit.c */
void gmpool_fit_nodes(struct gmpool_machine *m);
u64 gmpool_fit_low_limit(const struct gmpool_machine *m);
u64 gmpool_fit_keep(struct gmpool_machine *m, int nid, u64 size);
u64 gmpool_fit_huge(struct gmpool_machine *m, int nid, u64 size);
u64 gmpool_fit_largest(struct gmpool_machine *m, int nid, u64 asked);
bool gmpool_fit_place_growth(struct gmpool_machine *m, int nid);
u64 gmpool_fit_growth(struct gmpool_machine *m, int nid, u64 size, u64 asked);
int gmpool_fit_pick(struct gmpool_machine *m, u64 size, u32 *nr);

#endif /* _GMPOOL_FIT_H */
