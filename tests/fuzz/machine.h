/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A machine with two nodes, which implements shim/kernel.h: ordinary memory of which
 * preserved pages survive a kexec, and addresses for pool memory.
 */
#ifndef _FUZZ_MACHINE_H
#define _FUZZ_MACHINE_H

/* Ordinary memory, all of it on node 0. */
#define MACHINE_PAGES	1024
#define MACHINE_PHYS	(4ULL << 30)

/* Addresses of pool memory: of node 0, followed by those of node 1. */
#define MACHINE_POOLS	(64ULL << 30)
#define MACHINE_NODE	(16ULL << 30)

/* Instead of an order: the page is not preserved. */
#define MACHINE_LOST	0xff

/**
 * enum machine_range_kind - why no pool may take a range
 * @MACHINE_SCRATCH: KHO's scratch memory
 * @MACHINE_USED: this kernel has reserved it
 * @MACHINE_GONE: the machine has no memory there any more
 * @MACHINE_RANGES: number of kinds
 */
enum machine_range_kind {
	MACHINE_SCRATCH,
	MACHINE_USED,
	MACHINE_GONE,
	MACHINE_RANGES,
};

/**
 * struct machine_range - physically contiguous memory
 * @base: physical address, in bytes
 * @size: bytes
 */
struct machine_range {
	u64 base;
	u64 size;
};

void machine_start(void);
void machine_range(enum machine_range_kind kind, u64 base, u64 size);
void machine_load(const void *pages, unsigned int nr, const u8 *orders);
void machine_subtree(unsigned int key, u64 phys, u64 size);
void machine_boot(bool kho);
void machine_late(void);
void machine_kexec(void);
u8 machine_order(unsigned int page);
u64 machine_subtree_of(unsigned int key);
const void *machine_page(unsigned int page);
unsigned int machine_fail_after(unsigned int nr);
void machine_few_pages(bool few);
unsigned int machine_end(void);

/* Report a failed page of a pool to the owner of its extent. */
void machine_poison(u64 pfn);
void machine_reboot(void);

#endif /* _FUZZ_MACHINE_H */
