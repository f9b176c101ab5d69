/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXPECT_H
#define EXPECT_H

#include <errno.h>

/* With the kernel's test harness: the call fails with that errno. */
#define EXPECT_ERR(error, call)			\
	do {					\
		errno = 0;			\
		EXPECT_EQ(-1, (long)(call));	\
		EXPECT_EQ(error, errno);	\
	} while (0)

#endif /* EXPECT_H */
