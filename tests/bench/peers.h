/* SPDX-License-Identifier: GPL-2.0 */
/* What a VMM can take for the memory of a guest. */
#ifndef PEERS_H
#define PEERS_H

#include <stddef.h>

/* The last is a guest_memfd whose memory is a file of guestmemfs. */
enum source { GUESTMEMFS, TMPFS, MEMFD, GUEST_MEMFD, GUEST_MEMFD_FILE };

/**
 * struct peer - memory for guests, in one of its shapes
 * @name: as it is given and printed
 * @source: who has it
 * @flags: of memfd_create()
 * @leaf: bytes that it is touched by
 * @skew: of the address, past a gigabyte
 * @advise: madvise() that makes the leaves, or 0
 * @dirty: the memory is as its last owner left it
 */
struct peer {
	const char *name;
	enum source source;
	unsigned int flags;
	size_t leaf;
	size_t skew;
	int advise;
	int dirty;
};

const struct peer *peer_find(const char *name);

/*
 * A file of @size in the working directory, or without a name. guest_memfd is of the
 * machine @vm, or of none that runs if that is -1.
 */
int peer_create(const struct peer *peer, size_t size, int vm);

int peer_is_guest_memfd(const struct peer *peer);

/* Shared, at a gigabyte's start and the peer's skew, with more @flags for mmap(). */
char *peer_map(const struct peer *peer, int fd, size_t size, int flags);

/* Closed, and no name is left. */
void peer_drop(const struct peer *peer, int fd);

#endif /* PEERS_H */
