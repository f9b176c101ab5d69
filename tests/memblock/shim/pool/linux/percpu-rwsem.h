/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_PERCPU_RWSEM_H
#define _TEST_LINUX_PERCPU_RWSEM_H

struct percpu_rw_semaphore {
};

#endif /* _TEST_LINUX_PERCPU_RWSEM_H */
