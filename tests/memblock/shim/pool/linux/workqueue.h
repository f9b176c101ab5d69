/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_WORKQUEUE_H
#define _TEST_LINUX_WORKQUEUE_H

struct work_struct {
	int unused;
};

#endif /* _TEST_LINUX_WORKQUEUE_H */
