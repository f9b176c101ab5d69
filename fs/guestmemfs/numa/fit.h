/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_FIT_H
#define _GMPOOL_FIT_H

#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/types.h>

#include <linux/kho/abi/guestmemfs.h>

#include "layout.h"

/**
 * struct gmpool_scratch - how KHO sizes its scratch areas
 * @scale: in percent of what is allocated early, or if that is 0, in bytes
 * @low: the area below gmpool_machine.low_end
 * @global: the area for allocations on no particular node
 * @node: the area of each node
 */
struct gmpool_scratch {
	u32 scale;
	u64 low;
	u64 global;
	u64 node;
};

/**
 * struct gmpool_machine - what decides how large pools can be
 * @kho_boot: the kernel was started with KHO: its scratch areas are there already
 * @scratch: how KHO sizes its scratch areas, all 0 if it makes none
 * @low_end: physical address up to which all devices and zones for them reach
 * @low_limit: physical address from which on a pool may have memory below @low_end
 * @swiotlb: bytes below @low_end of the buffer for devices that reach no further
 * @image: bytes of the kernel image
 * @image_align: what its address is a multiple of
 * @unit: bytes of a CPU's data
 * @cpus: possible CPUs
 * @cpus_elsewhere: those of no node with memory
 * @reserved: bytes of the machine that are allocated for good, the image among them
 * @reserved_low: the same below @low_end, without the image
 * @with_memory: nodes with memory, or with a pool that has all of it
 * @node_for_all: has the scratch area for allocations on no particular node
 * @node_for_low: has what must be below @low_end
 * @node: of each node
 * @node.size: bytes of memory
 * @node.low: bytes of it below @low_end
 * @node.start: physical address of its first byte
 * @node.end: physical address behind its last byte
 * @node.reserved: bytes that are allocated for good, without the image
 * @node.cpus: possible CPUs
 * @node.asked: bytes that the command line asks for
 * @wanted: a new pool is to be made there
 * @pieces: free memory of the node that is looked at
 * @nr_pieces: entries of @pieces
 * @ranges: what of that a pool can have
 * @nr_ranges: entries of @ranges
 * @picked: extents of the pool that is looked at
 * @left: bytes of each node that no pool has
 * @left_over: @pieces without @picked
 * @work: for gmpool_layout_room()
 *
 * gmpool_machine_survey() fills it once, but for what is asked and wanted, and
 * gmpool_machine_find() the pieces and ranges of one node. From @picked on all is
 * scratch space of fit.c.
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
	} node[MAX_NUMNODES];
	nodemask_t wanted;
	struct gmpool_extent_ser pieces[GMPOOL_MAX_RANGES];
	u32 nr_pieces;
	struct gmpool_extent_ser ranges[GMPOOL_MAX_RANGES];
	u32 nr_ranges;
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

#endif /* _GMPOOL_FIT_H */
