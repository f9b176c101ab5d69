/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_CPUMASK_H
#define _TEST_LINUX_CPUMASK_H

extern unsigned int boot_nr_cpus;

#define num_possible_cpus()		boot_nr_cpus
#define for_each_possible_cpu(cpu)	for ((cpu) = 0; (cpu) < boot_nr_cpus; (cpu)++)

#endif /* _TEST_LINUX_CPUMASK_H */
