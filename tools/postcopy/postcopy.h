/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Post-copy of a file of guestmemfs over a stream socket, for VMMs.
 *
 * The receiver runs its guest before the memory has come. What has come is in a bitmap of
 * the VMM's. If that is a file of guestmemfs too, a post-copy goes on after a kexec, or
 * after the VMM has been started again.
 */
#ifndef POSTCOPY_H
#define POSTCOPY_H

#include <stddef.h>
#include <stdint.h>

#define POSTCOPY_PAGE	4096UL

/**
 * struct postcopy - a memory that arrives
 * @guest: mapping of the file for the guest; an access to a page that has not come waits
 * @size: bytes, those of the file
 * @demanded: pages that were asked for, since postcopy_open()
 * @received: pages that have come, since postcopy_open()
 * @missing: pages that have not come
 * @file: the file
 * @uffd: userfaultfd on @guest
 * @alias: mapping of the file for what comes
 * @arrived: a bit for each page, from the caller
 * @asked: a bit for each page that the present source was asked for
 */
struct postcopy {
	char *guest;
	size_t size;
	uint64_t demanded;
	uint64_t received;
	uint64_t missing;
	/* private: */
	int file;
	int uffd;
	char *alias;
	uint8_t *arrived;
	uint8_t *asked;
};

size_t postcopy_bitmap_size(size_t size);
int postcopy_open(struct postcopy *pc, int file, void *arrived);
int postcopy_receive(struct postcopy *pc, int sock);
int postcopy_finish(struct postcopy *pc);
void postcopy_close(struct postcopy *pc);
int postcopy_send(int file, int sock, uint64_t rate);

#endif /* POSTCOPY_H */
