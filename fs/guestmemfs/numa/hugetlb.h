/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_HUGETLB_H
#define _GMPOOL_HUGETLB_H

#include <linux/nodemask.h>
#include <linux/types.h>

#ifdef CONFIG_HUGETLBFS
u64 gmpool_hugetlb_cma(const nodemask_t *nodes, const u64 *left);
u64 gmpool_hugetlb_cma_on(int nid, const nodemask_t *nodes, const u64 *left);
u64 gmpool_hugetlb_pages_on(int nid, const nodemask_t *nodes, const u64 *left);
#else
static inline u64 gmpool_hugetlb_cma(const nodemask_t *nodes, const u64 *left)
{
	return 0;
}

static inline u64 gmpool_hugetlb_cma_on(int nid, const nodemask_t *nodes,
					const u64 *left)
{
	return 0;
}

static inline u64 gmpool_hugetlb_pages_on(int nid, const nodemask_t *nodes,
					  const u64 *left)
{
	return 0;
}
#endif

#endif /* _GMPOOL_HUGETLB_H */
