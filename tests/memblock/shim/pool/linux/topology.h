/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_TOPOLOGY_H
#define _TEST_LINUX_TOPOLOGY_H

/* The node of a CPU, before there is per-CPU data. */
int early_cpu_to_node(int cpu);

#endif /* _TEST_LINUX_TOPOLOGY_H */
