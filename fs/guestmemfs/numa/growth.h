/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_GROWTH_H
#define _GMPOOL_GROWTH_H

#include <linux/types.h>

struct gmpool;
struct gmpool_machine;

/* In growth.c */
bool gmpool_growth_is_possible(void);
void gmpool_growth_keep(struct gmpool *pool, struct gmpool_machine *m);

/* In movable.c */
u64 gmpool_movable_reserve(const struct gmpool *pool);

#endif /* _GMPOOL_GROWTH_H */
