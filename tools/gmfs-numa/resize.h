/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmfs-numa resize: what stands in the way.
 */
#ifndef RESIZE_H
#define RESIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;

#define GIB	((uint64_t)1 << 30)

/* Units of memory that can change hands, by what sysfs says. */
struct estimate {
	uint64_t unit;		/* bytes */
	uint64_t sure;		/* units that nothing stands in the way of */
	uint64_t perhaps;	/* units that hold memory of the kernel, or files, which may move */
	uint64_t in_use;	/* other units of the pool */
};

/* What a pool could give up. */
struct shrinking {
	struct estimate estimate;
	bool no_room;		/* the free memory of the pool sets the limit */
	char *moves;		/* "vm1.ram(2G),vm2.ram(4M)": files that would move, or NULL */
	char *stay;		/* files that are in the way, likewise */
};

/* Bytes that a pool grows and shrinks by; 0 if the kernel does not say. */
uint64_t resize_unit(void);
/* Memory of a node that the kernel could give up: false, with a message, if not known. */
bool resize_estimate_growth(int nid, struct estimate *estimate);
/*
 * Memory of a pool that it could give up, and the files in those of @want units that are
 * not free: false, with a message, if not known. The caller frees both lists.
 */
bool resize_look(const struct node *node, uint64_t want, bool in_use,
		 struct shrinking *shrinking);

#endif /* RESIZE_H */
