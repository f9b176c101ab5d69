/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_NODEMASK_H
#define _TEST_LINUX_NODEMASK_H

#include <linux/bitmap.h>
#include <linux/numa.h>

typedef struct {
	DECLARE_BITMAP(bits, MAX_NUMNODES);
} nodemask_t;

extern nodemask_t boot_online;

#define nodes_clear(mask)	memset((mask).bits, 0, sizeof((mask).bits))
#define node_set(nid, mask)	__set_bit(nid, (mask).bits)
#define node_clear(nid, mask)	__clear_bit(nid, (mask).bits)
#define node_isset(nid, mask)	test_bit(nid, (mask).bits)
#define first_node(mask)	find_first_bit((mask).bits, MAX_NUMNODES)
#define nodes_weight(mask)	bitmap_weight((mask).bits, MAX_NUMNODES)
#define node_online(nid)	node_isset(nid, boot_online)

#define for_each_node_mask(nid, mask)					\
	for ((nid) = 0; (nid) < MAX_NUMNODES; (nid)++)			\
		if (node_isset(nid, mask))
#define for_each_online_node(nid)	for_each_node_mask(nid, boot_online)

#define nodemask_pr_args(mask)	MAX_NUMNODES, (mask)->bits

#endif /* _TEST_LINUX_NODEMASK_H */
