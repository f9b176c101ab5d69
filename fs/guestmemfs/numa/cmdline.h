/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_CMDLINE_H
#define _GMPOOL_CMDLINE_H

#include <linux/numa.h>
#include <linux/types.h>

/**
 * enum gmpool_size_kind - unit of a size on the command line
 * @GMPOOL_SIZE_NONE: no size given
 * @GMPOOL_SIZE_BYTES: bytes
 * @GMPOOL_SIZE_PERCENT: percent of the node's memory
 */
enum gmpool_size_kind {
	GMPOOL_SIZE_NONE,
	GMPOOL_SIZE_BYTES,
	GMPOOL_SIZE_PERCENT,
};

/**
 * struct gmpool_size - a size on the command line
 * @kind: unit of @value
 * @value: bytes or percent
 */
struct gmpool_size {
	enum gmpool_size_kind kind;
	u64 value;
};

/**
 * struct gmpool_cmdline - parsed value of "guestmemfs="
 * @fresh: discard handed-over pools
 * @all: size for all nodes: bytes to divide among them, or percent of each
 * @node: size for each node; GMPOOL_SIZE_NONE if @all is given
 * @growth_all: size of the growth reserve for all nodes, in the same way as @all
 * @growth: size of the growth reserve of each node
 */
struct gmpool_cmdline {
	bool fresh;
	struct gmpool_size all;
	struct gmpool_size node[MAX_NUMNODES];
	struct gmpool_size growth_all;
	struct gmpool_size growth[MAX_NUMNODES];
};

/**
 * enum gmpool_arg_error - reason for ignoring a part of "guestmemfs="
 * @GMPOOL_ARG_EMPTY: nothing between two commas
 * @GMPOOL_ARG_NODE: no node number before the colon
 * @GMPOOL_ARG_NODE_RANGE: node number not below MAX_NUMNODES
 * @GMPOOL_ARG_REPEATED: second size for a node, or for all nodes
 * @GMPOOL_ARG_MIXED: both a size for all nodes and one for a single node
 * @GMPOOL_ARG_NO_SIZE: nothing after the colon, or on one side of the plus sign
 * @GMPOOL_ARG_SIZE: not a number
 * @GMPOOL_ARG_SUFFIX: unknown unit after the number
 * @GMPOOL_ARG_OVERFLOW: more bytes than 64 bits can count
 * @GMPOOL_ARG_ZERO: zero bytes
 * @GMPOOL_ARG_PERCENT: percentage out of range
 */
enum gmpool_arg_error {
	GMPOOL_ARG_EMPTY = 1,
	GMPOOL_ARG_NODE,
	GMPOOL_ARG_NODE_RANGE,
	GMPOOL_ARG_REPEATED,
	GMPOOL_ARG_MIXED,
	GMPOOL_ARG_NO_SIZE,
	GMPOOL_ARG_SIZE,
	GMPOOL_ARG_SUFFIX,
	GMPOOL_ARG_OVERFLOW,
	GMPOOL_ARG_ZERO,
	GMPOOL_ARG_PERCENT,
};

/**
 * typedef gmpool_arg_report_t - callback for each ignored part
 * @ctx: as given to gmpool_parse_cmdline()
 * @token: the part, not NUL terminated
 * @len: its length in bytes
 * @error: reason
 */
typedef void (*gmpool_arg_report_t)(void *ctx, const char *token, int len,
				    enum gmpool_arg_error error);

int gmpool_cmdline_parse_size(const char *s, const char *end, struct gmpool_size *size);
int gmpool_parse_cmdline(const char *s, struct gmpool_cmdline *cmdline,
			 gmpool_arg_report_t report, void *ctx);
const char *gmpool_arg_strerror(enum gmpool_arg_error error);

#endif /* _GMPOOL_CMDLINE_H */
