/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _TEST_LINUX_KOBJECT_H
#define _TEST_LINUX_KOBJECT_H

struct kobject;

#endif /* _TEST_LINUX_KOBJECT_H */
