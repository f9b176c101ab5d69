/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The types of the kernel: in tools/include, u64 is not unsigned long long.
 */
#ifndef _FUZZ_LINUX_TYPES_H
#define _FUZZ_LINUX_TYPES_H

#include <asm/types.h>
#include <asm/posix_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define __bitwise
#define __force
#define __user
#define __must_check	__attribute__((warn_unused_result))
#define __rcu

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef unsigned __int128 u128;
typedef u64 phys_addr_t;
typedef unsigned int gfp_t;
typedef unsigned short umode_t;
typedef unsigned long pgoff_t;

typedef struct {
	int counter;
} atomic_t;

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_head {
	struct hlist_node *first;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
};

#define GFP_KERNEL		0U
#define GFP_KERNEL_ACCOUNT	0U
#define GFP_NOWAIT		0U
#define GFP_ATOMIC		0U
#define __GFP_ZERO		0U
#define __GFP_ACCOUNT		0U
#define __GFP_NORETRY		1U
#define __GFP_NOWARN		0U
#define __GFP_BITS_SHIFT	24
#define gfpflags_allow_blocking(gfp)	true

/* Of the kernel's <linux/compiler.h>; that of the tools lacks them. */
#define is_signed_type(type)	(((type)(-1)) < (type)1)
#define is_unsigned_type(type)	(!is_signed_type(type))
#define auto			__auto_type
#define statically_true(x)	(__builtin_constant_p(x) && (x))
#define __cleanup(func)		__attribute__((unused, cleanup(func)))
#define FUZZ_PASTE2(a, b)	a##b
#define FUZZ_PASTE(a, b)	FUZZ_PASTE2(a, b)
#define __UNIQUE_ID(prefix)	FUZZ_PASTE(__unique_##prefix, __COUNTER__)

#endif /* _FUZZ_LINUX_TYPES_H */
