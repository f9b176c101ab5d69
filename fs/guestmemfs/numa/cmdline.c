// SPDX-License-Identifier: GPL-2.0
/*
 * Parser of the boot parameter "guestmemfs=".
 *
 * Pure code: uses neither the machine nor memblock. reserve.c checks whether a
 * node exists and has enough memory.
 */

#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/overflow.h>
#include <linux/string.h>

#include "cmdline.h"

/* Longest number that kstrtoull() can parse: octal with its prefix. */
#define NUMBER_MAX	32

/*
 * The digits that memparse() would read: decimal, octal or hexadecimal by
 * their prefix. memparse() itself takes no digits for zero and wraps silently.
 */
static int gmpool_cmdline_parse_number(const char *s, const char *end,
				       const char **rest, u64 *value)
{
	char buf[NUMBER_MAX + 1];
	const char *p = s;
	bool hex = end - s > 2 && s[0] == '0' && tolower(s[1]) == 'x';
	size_t len;

	if (hex)
		p += 2;
	while (p < end && (hex ? isxdigit(*p) : isdigit(*p)))
		p++;
	*rest = p;

	len = p - s;
	if (!len || (hex && len == 2))
		return -EINVAL;
	if (len > NUMBER_MAX)
		return -ERANGE;
	memcpy(buf, s, len);
	buf[len] = '\0';
	return kstrtoull(buf, 0, value);
}

/**
 * gmpool_cmdline_parse_size - parse a size
 * @s: what memparse() takes, with at least one digit, or "1%" to "99%"
 * @end: its end
 * @size: filled
 *
 * Context: any.
 *
 * Return: 0, or enum gmpool_arg_error.
 */
int gmpool_cmdline_parse_size(const char *s, const char *end, struct gmpool_size *size)
{
	static const char units[] = "kmgtpe";
	const char *rest, *unit;
	u64 value;
	int err;

	if (s == end)
		return GMPOOL_ARG_NO_SIZE;

	err = gmpool_cmdline_parse_number(s, end, &rest, &value);
	if (err == -ERANGE)
		return GMPOOL_ARG_OVERFLOW;
	if (err)
		return GMPOOL_ARG_SIZE;

	if (end - rest == 1 && *rest == '%') {
		if (value < 1 || value > 99)
			return GMPOOL_ARG_PERCENT;
		size->kind = GMPOOL_SIZE_PERCENT;
		size->value = value;
		return 0;
	}

	if (rest < end) {
		unit = strchr(units, tolower(*rest));
		if (!*rest || !unit || end - rest != 1)
			return GMPOOL_ARG_SUFFIX;
		if (check_shl_overflow(value, (unit - units + 1) * 10, &value))
			return GMPOOL_ARG_OVERFLOW;
	}
	if (!value)
		return GMPOOL_ARG_ZERO;
	size->kind = GMPOOL_SIZE_BYTES;
	size->value = value;
	return 0;
}

/* A size, or the size of a pool and that of its growth reserve. */
static int gmpool_cmdline_parse_sizes(const char *s, const char *end,
				      struct gmpool_size *size,
				      struct gmpool_size *growth)
{
	const char *plus = memchr(s, '+', end - s);
	int err;

	*growth = (struct gmpool_size){ .kind = GMPOOL_SIZE_NONE };
	err = gmpool_cmdline_parse_size(s, plus ?: end, size);
	if (err || !plus)
		return err;
	return gmpool_cmdline_parse_size(plus + 1, end, growth);
}

static int gmpool_cmdline_parse_token(const char *s, const char *end,
				      bool *any_node,
				      struct gmpool_cmdline *cmdline)
{
	const char *colon = memchr(s, ':', end - s);
	struct gmpool_size size, growth;
	const char *rest;
	u64 nid;
	int err;

	if (s == end)
		return GMPOOL_ARG_EMPTY;

	if (end - s == 5 && !memcmp(s, "fresh", 5)) {
		cmdline->fresh = true;
		return 0;
	}

	if (!colon) {
		err = gmpool_cmdline_parse_sizes(s, end, &size, &growth);
		if (err)
			return err;
		if (*any_node)
			return GMPOOL_ARG_MIXED;
		if (cmdline->all.kind != GMPOOL_SIZE_NONE)
			return GMPOOL_ARG_REPEATED;
		cmdline->all = size;
		cmdline->growth_all = growth;
		return 0;
	}

	err = gmpool_cmdline_parse_number(s, colon, &rest, &nid);
	if (err == -ERANGE)
		return GMPOOL_ARG_NODE_RANGE;
	if (err || rest != colon)
		return GMPOOL_ARG_NODE;
	if (nid >= MAX_NUMNODES)
		return GMPOOL_ARG_NODE_RANGE;

	err = gmpool_cmdline_parse_sizes(colon + 1, end, &size, &growth);
	if (err)
		return err;
	if (cmdline->all.kind != GMPOOL_SIZE_NONE)
		return GMPOOL_ARG_MIXED;
	if (cmdline->node[nid].kind != GMPOOL_SIZE_NONE)
		return GMPOOL_ARG_REPEATED;
	cmdline->node[nid] = size;
	cmdline->growth[nid] = growth;
	*any_node = true;
	return 0;
}

/**
 * gmpool_parse_cmdline - parse the value of "guestmemfs="
 * @s: comma separated: "fresh", and either "<node>:<size>" for each node or
 *	one "<size>" for all. A size is what memparse() takes, with at least
 *	one digit, or "1%" to "99%". "<size>+<size>" adds a growth reserve.
 * @cmdline: overwritten
 * @report: called for each part that is ignored
 * @ctx: for @report
 *
 * Invalid parts are reported and ignored; the others are used.
 *
 * Context: any.
 *
 * Return: number of parts ignored.
 */
int gmpool_parse_cmdline(const char *s, struct gmpool_cmdline *cmdline,
			 gmpool_arg_report_t report, void *ctx)
{
	bool any_node = false;
	const char *end;
	int nr_bad = 0;
	int error;

	memset(cmdline, 0, sizeof(*cmdline));
	for (;; s = end + 1) {
		end = strchrnul(s, ',');
		error = gmpool_cmdline_parse_token(s, end, &any_node, cmdline);
		if (error) {
			report(ctx, s, end - s, error);
			nr_bad++;
		}
		if (!*end)
			return nr_bad;
	}
}

/**
 * gmpool_arg_strerror - text for an error of gmpool_parse_cmdline()
 * @error: the error
 *
 * Return: text that names the error and the allowed values.
 */
const char *gmpool_arg_strerror(enum gmpool_arg_error error)
{
	switch (error) {
	case GMPOOL_ARG_EMPTY:
		return "is empty, allowed is <node>:<size>[+<size>] or <size>[+<size>]";
	case GMPOOL_ARG_NODE:
		return "has no node number before the colon";
	case GMPOOL_ARG_NODE_RANGE:
		return "names a node number that this kernel cannot have";
	case GMPOOL_ARG_REPEATED:
		return "repeats what was given before, and the first counts";
	case GMPOOL_ARG_MIXED:
		return "mixes sizes for single nodes and for all nodes, and the first form counts";
	case GMPOOL_ARG_NO_SIZE:
		return "has no size after the colon or the plus sign";
	case GMPOOL_ARG_SIZE:
		return "has no number where a size should be, allowed are e.g. 512M, 64G or 80%";
	case GMPOOL_ARG_SUFFIX:
		return "has something after the number, allowed is one of K M G T P E or %";
	case GMPOOL_ARG_OVERFLOW:
		return "is more than 64 bits can count";
	case GMPOOL_ARG_ZERO:
		return "has the size zero";
	case GMPOOL_ARG_PERCENT:
		return "has a percentage out of range, allowed are 1% to 99%";
	}
	return "is not understood";
}
