/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The protocol of tools/postcopy, and what both sides share.
 *
 * Numbers on the wire have 64 bits and are little-endian. Both sides send struct
 * postcopy_hello first, the receiver followed by its bitmap of pages that have come. Then
 * the receiver sends the numbers of pages that are waited for. The source sends these
 * first, and all others in turn: a struct postcopy_run each, followed by the contents. No
 * page is sent twice, as the guest may have written to it. When the receiver has all, it
 * sends ALL_ARRIVED: the end of the connection alone does not say that it has read all that
 * was sent.
 */
#ifndef POSTCOPY_WIRE_H
#define POSTCOPY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ALL_ARRIVED	UINT64_MAX	/* in place of the number of a page */
#define BLOCK_PAGES	512UL		/* a run is within one block */

struct postcopy_run {
	uint64_t first;
	uint64_t count;
};

static inline bool postcopy_test(const uint8_t *map, uint64_t page)
{
	return map[page / 8] & 1 << page % 8;
}

static inline void postcopy_set(uint8_t *map, uint64_t page)
{
	map[page / 8] |= 1 << page % 8;
}

ssize_t postcopy_recv(int sock, void *to, size_t len);
int postcopy_read(int sock, void *to, size_t len);
int postcopy_write(int sock, const void *from, size_t len);
int postcopy_greet(int sock, size_t size);
ssize_t postcopy_file_size(int file);

#endif /* POSTCOPY_WIRE_H */
