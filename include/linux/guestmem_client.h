/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Clients of files of guestmemfs: users of the memory that can drop their translations.
 *
 * A client maps pool memory by pfn, without a reference, as KVM does for the second stage
 * of a guest. Unlike a pin of <linux/guestmem_dma.h>, it does not keep blocks in the file:
 * the file system calls the client before it frees blocks, and the client drops its
 * translations of them.
 *
 * No process can map a file that a client has attached as private, and no device can
 * access it, until its contents are lost.
 */
#ifndef _LINUX_GUESTMEM_CLIENT_H
#define _LINUX_GUESTMEM_CLIENT_H

#include <linux/errno.h>
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/types.h>

struct file;
struct guestmem_client;

/**
 * struct guestmem_client_ops - callbacks from guestmemfs to a client
 * @invalidate_start: drop all translations of the range, from page @first up to before
 *	page @end of the file: its pages are about to be freed, or one has failed. The
 *	range is within the blocks of the attached bytes. A translation that overlaps it
 *	must not be made from a pfn that guestmem_client_pfn() returned before this call.
 * @invalidate_end: the pages are freed; the range is that of @invalidate_start
 *
 * The invalidate_lock of the file is held for write. The callbacks may sleep and cannot
 * fail.
 */
struct guestmem_client_ops {
	void (*invalidate_start)(struct guestmem_client *client, pgoff_t first,
				 pgoff_t end);
	void (*invalidate_end)(struct guestmem_client *client, pgoff_t first,
			       pgoff_t end);
};

/**
 * struct guestmem_client - a user of a file's memory
 * @ops: callbacks; the client sets them before guestmem_attach()
 * @file: the file, with a reference
 * @len: number of attached bytes, from the start of the file
 * @private: attached as private
 * @list: entry in the list of clients of the file system
 * @pid: process that attached the file, in the initial PID namespace
 * @comm: name of that process at that time
 *
 * Embedded in a structure of the client. The client does not change members other than
 * @ops.
 */
struct guestmem_client {
	const struct guestmem_client_ops *ops;
	struct file *file;
	u64 len;
	bool private;
	struct list_head list;
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

#ifdef CONFIG_GUESTMEMFS_FS
int guestmem_attach(struct guestmem_client *client, struct file *file, u64 len,
		    bool private);
void guestmem_detach(struct guestmem_client *client);
int guestmem_client_pfn(const struct guestmem_client *client, pgoff_t pgoff,
			unsigned long *pfn, int *order);
int guestmem_client_fill(const struct guestmem_client *client, pgoff_t pgoff);
#else
static inline int guestmem_attach(struct guestmem_client *client,
				  struct file *file, u64 len, bool private)
{
	return -EOPNOTSUPP;
}

static inline void guestmem_detach(struct guestmem_client *client)
{
}

static inline int guestmem_client_pfn(const struct guestmem_client *client,
				      pgoff_t pgoff, unsigned long *pfn,
				      int *order)
{
	return -EOPNOTSUPP;
}

static inline int guestmem_client_fill(const struct guestmem_client *client,
				       pgoff_t pgoff)
{
	return -EOPNOTSUPP;
}
#endif

#endif /* _LINUX_GUESTMEM_CLIENT_H */
