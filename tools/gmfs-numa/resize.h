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
	uint64_t perhaps;	/* units that hold memory of the kernel, which may move */
	uint64_t in_use;	/* units of the pool with used or failed blocks */
};

/* Bytes that a pool grows and shrinks by; 0 if the kernel does not say. */
uint64_t resize_unit(void);
/* Memory of a node that the kernel could give up: false, with a message, if not known. */
bool resize_estimate_growth(int nid, struct estimate *estimate);
/* Memory of a pool that it could give up: false, with a message, if not known. */
bool resize_estimate_shrinking(const struct node *node, struct estimate *estimate);
/*
 * "vm1.ram(2G), vm2.ram(4M)": files in the units that would have to be free as well to
 * give up @nr units, of those with the fewest used blocks; NULL if none is known. Freed
 * by the caller.
 */
char *resize_files(const struct node *node, uint64_t nr);

#endif /* RESIZE_H */
