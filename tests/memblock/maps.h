/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MAPS_H
#define _MAPS_H

#include "boot.h"

#define MAX_VALUES	3

/* What the command line asks for: as text, and what that text means. */
struct request {
	char text[MAX_VALUES][2000];
	const char *values[MAX_VALUES + 1];	/* of @text, and a NULL */
	struct {
		bool given;
		bool percent;
		uint64_t value;
	} all, node[NODES], growth_all, growth[NODES];
	char ignored[32][64];			/* parts that make no sense */
	unsigned int nr_ignored;
};

struct random {
	uint64_t state;
};

uint64_t random_below(struct random *random, uint64_t limit);
bool random_one_in(struct random *random, unsigned int n);
/* As often small as large. */
uint64_t random_size(struct random *random, uint64_t min, uint64_t max);

void make_machine(struct machine *machine, uint64_t seed);
bool place_image(struct machine *machine, struct random *random);
uint64_t node_bytes(const struct machine *machine, int nid);
/* The node with most memory: of several, the highest of them. */
int largest_node(const struct machine *machine);
/*
 * Is it known where KHO's area for all nodes goes? It goes to the highest address with
 * room, and where that is beside the pool of a smaller node, depends on its exact size.
 * Nor are there nodes so small that others help them out, or memory that the kernel
 * takes on another node, as mirrored memory, or does not take on any.
 */
bool is_predictable(const struct machine *machine);
void make_request(struct request *request, const struct machine *machine, struct random *random);
/* As much as can be asked for, of all nodes. */
void request_most(struct request *request);
/* Bytes for single nodes, 0 for none, and of their growth reserves, NULL for none. */
void request_bytes(struct request *request, const uint64_t bytes[NODES],
		   const uint64_t growth[NODES]);
void print_machine(const struct machine *machine);

#endif /* _MAPS_H */
