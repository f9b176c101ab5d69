/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_XARRAY_H
#define _TEST_LINUX_XARRAY_H

struct xarray {
};

#endif /* _TEST_LINUX_XARRAY_H */
