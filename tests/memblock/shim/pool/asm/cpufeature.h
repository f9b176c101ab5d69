/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_ASM_CPUFEATURE_H
#define _SHIM_ASM_CPUFEATURE_H

#define boot_cpu_has(feature)	true

#endif
