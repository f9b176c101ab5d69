/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_CPUFEATURE_H
#define _SHIM_LINUX_CPUFEATURE_H

#define boot_cpu_has(feature)	true

#endif
