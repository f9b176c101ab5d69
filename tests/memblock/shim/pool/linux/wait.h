/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_WAIT_H
#define _TEST_LINUX_WAIT_H

typedef struct {
} wait_queue_head_t;

#endif /* _TEST_LINUX_WAIT_H */
