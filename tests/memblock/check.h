/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _CHECK_H
#define _CHECK_H

#include "boot.h"
#include "maps.h"

enum verdict_kind {
	VERDICT_NOTHING,	/* the log does not name the node */
	VERDICT_POOL,
	VERDICT_TOO_LARGE,
	VERDICT_TOO_SMALL,
	VERDICT_NO_ROOM,
	VERDICT_PIECES,
	VERDICT_NO_MEMORY_FOR_IT,
	VERDICT_ABSENT,
};

/* What the log says of the growth reserve of a node. */
struct growth {
	uint64_t mib;		/* kept, or refused */
	uint64_t start;		/* 0 if none is kept */
	uint64_t allowed;	/* MiB, of one that is refused */
	uint64_t in_use;	/* MiB */
	bool refused;
	bool rounded;
	bool warned;		/* of the kernel's part being small */
};

/* What the log says of a node. */
struct verdict {
	enum verdict_kind kind;
	uint64_t mib;		/* of the pool, or what was asked for */
	uint64_t allowed;	/* MiB */
	bool rounded;
	struct growth growth;
};

/* Says what is wrong with the map that is looked at, and counts it. */
void __attribute__((format(printf, 1, 2))) fail(const char *fmt, ...);

/* Bytes that the command line means for a node. */
uint64_t asked_for(const struct request *request, const struct machine *machine, int nid);
void check_boot(const struct machine *machine, const struct request *request,
		const struct outcome *outcome, struct verdict verdicts[NODES]);
void check_unchanged(const struct outcome *outcome);

#endif /* _CHECK_H */
