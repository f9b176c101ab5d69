/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An input of the format's fuzzer: a page with the state of KHO and the operations to
 * do, then memory from MACHINE_PHYS on, as the previous kernel has left it.
 */
#ifndef _FUZZ_IMAGE_H
#define _FUZZ_IMAGE_H

#include <linux/kho/abi/guestmemfs.h>

#include "machine.h"

#define INPUT_PAGES	512
#define INPUT_BLOBS	2

/* Discard (reset) each pool that cannot be used. */
#define INPUT_DISCARD	BIT(0)
/* Allocations of contiguous pages fail. */
#define INPUT_FEW_PAGES	BIT(1)
/* LUO will retrieve open files. */
#define INPUT_AWAIT	BIT(2)
/* A subtree has another size than expected. */
#define INPUT_SIZE	BIT(3)

/**
 * struct input - the first page
 * @blobs: for pool 0 and 1, the number of the page with its super block plus one
 * @fail_after: the allocation that fails, 0 for none
 * @flags: INPUT_*
 * @nr_ops: used bytes of @ops
 * @ranges: for each kind of machine_range(), the number of a section of the memory
 *	for pools plus one; 0 for none
 * @orders: for each page, the order of the folio that KHO has preserved there
 * @ops: for fs_operate()
 */
struct input {
	u16 blobs[INPUT_BLOBS];
	u16 fail_after;
	u16 flags;
	u16 nr_ops;
	u16 ranges[MACHINE_RANGES];
	u8 orders[INPUT_PAGES];
	u8 ops[GMPOOL_META_SIZE - 16 - INPUT_PAGES];
};

static_assert(sizeof(struct input) == GMPOOL_META_SIZE);

#endif /* _FUZZ_IMAGE_H */
