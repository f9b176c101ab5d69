/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_SEQLOCK_H
#define _TEST_LINUX_SEQLOCK_H

typedef struct {
} seqcount_spinlock_t;

#endif /* _TEST_LINUX_SEQLOCK_H */
