// SPDX-License-Identifier: GPL-2.0
/*
 * What hugepages=, hugetlb_cma= and crashkernel= of a command line take of nodes, by
 * the rules of fs/guestmemfs/numa/hugetlb.c and kernel/crash_reserve.c. Where these
 * depend on what is not known before the boot, it is counted too high, not too low.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"

#define GIB		(1ULL << 30)
#define PMD_BYTES	(2ULL << 20)

/* What crashkernel= takes below 4 GiB if the rest is above. */
#define CRASH_LOW	(256ULL << 20)

/* Sizes of huge pages, and the default one until it is known. */
enum huge_size { HUGE_2M, HUGE_1G, HUGE_DEFAULT, NR_HUGE_SIZES, HUGE_INVALID = NR_HUGE_SIZES };

struct huge_pages {
	bool given;
	bool named;
	uint64_t all;
	uint64_t node[MAX_NODES];
};

/* A size, or a share of what pools leave. */
struct huge_cma {
	uint64_t bytes;
	unsigned int percent;
};

struct others {
	struct huge_pages pages[NR_HUGE_SIZES];
	enum huge_size size;
	enum huge_size default_size;
	bool default_given;
	bool ignore_one;
	struct huge_cma cma_all;
	struct huge_cma cma[MAX_NODES];
	bool cma_by_node;
	/* The last crashkernel= of each kind, or NULL. */
	char *crash_plain;
	char *crash_high;
	char *crash_low;
	char *crash_cma;
};

static enum huge_size parse_huge_size(const char *value)
{
	const char *end;
	uint64_t size = value ? kcmdline_size(value, &end) : 0;

	return size == GIB ? HUGE_1G : size == PMD_BYTES ? HUGE_2M : HUGE_INVALID;
}

static void take_hugepagesz(struct others *o, const char *value)
{
	enum huge_size size = parse_huge_size(value);

	o->ignore_one = size == HUGE_INVALID ||
			(o->pages[size].named && (!o->default_given || size != o->default_size ||
						  o->pages[size].given));
	if (o->ignore_one)
		return;
	o->pages[size].named = true;
	o->size = size;
}

static void take_default_hugepagesz(struct others *o, const char *value)
{
	enum huge_size size = parse_huge_size(value);

	o->ignore_one = o->default_given || size == HUGE_INVALID;
	if (o->ignore_one)
		return;
	o->default_given = true;
	o->default_size = size;
	o->pages[size].named = true;
	o->size = size;
}

static void take_hugepages(struct others *o, const char *value)
{
	struct huge_pages *pages = &o->pages[o->size];
	unsigned long nid, nr;
	int len;

	if (!value || o->ignore_one || pages->given) {
		o->ignore_one = false;
		return;
	}
	pages->given = true;
	while (sscanf(value, "%lu:%lu%n", &nid, &nr, &len) == 2) {
		if (nid >= MAX_NODES)
			return;
		pages->node[nid] = nr;
		if (value[len] != ',')
			return;
		value += len + 1;
	}
	if (*value >= '0' && *value <= '9')
		pages->all = strtoul(value, NULL, 10);
}

static bool parse_cma(const char *value, const char **end, struct huge_cma *cma)
{
	uint64_t nr = kcmdline_size(value, end);
	bool percent = **end == '%';

	if (percent && nr > 100)
		return false;
	cma->bytes = percent ? 0 : nr;
	cma->percent = percent ? nr : 0;
	*end += percent;
	return true;
}

static void take_hugetlb_cma(struct others *o, const char *value)
{
	const char *at = value;
	unsigned long nid;
	int len;

	while (at && *at && sscanf(at, "%lu%n", &nid, &len) == 1) {
		if (at[len] != ':') {
			if (!parse_cma(value, &at, &o->cma_all))
				return;
			memset(o->cma, 0, sizeof(o->cma));
			o->cma_by_node = false;
			return;
		}
		if (nid >= MAX_NODES)
			return;
		o->cma_by_node = true;
		if (!parse_cma(at + len + 1, &at, &o->cma[nid]) || *at++ != ',')
			return;
	}
}

static void take_crashkernel(struct others *o, const char *value)
{
	const char *kind = value ? strrchr(value, ',') : NULL;
	char **place = &o->crash_plain;

	if (!value)
		return;
	if (kind && !strcmp(kind, ",high"))
		place = &o->crash_high;
	else if (kind && !strcmp(kind, ",low"))
		place = &o->crash_low;
	else if (kind && !strcmp(kind, ",cma"))
		place = &o->crash_cma;
	free(*place);
	*place = xstrdup(value);
}

static void take_parameter(const char *name, const char *value, void *data)
{
	static const struct {
		const char *name;
		void (*take)(struct others *o, const char *value);
	} parameters[] = {
		{ "hugepagesz", take_hugepagesz }, { "hugepages", take_hugepages },
		{ "default_hugepagesz", take_default_hugepagesz },
		{ "hugetlb_cma", take_hugetlb_cma }, { "crashkernel", take_crashkernel },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parameters); i++)
		if (kcmdline_same_name(name, parameters[i].name))
			parameters[i].take(data, value);
}

struct others *others_read(const char *line)
{
	struct others *o = xcalloc(1, sizeof(*o));

	o->size = HUGE_DEFAULT;
	kcmdline_all(line ? line : "", take_parameter, o);
	return o;
}

void others_free(struct others *o)
{
	free(o->crash_plain);
	free(o->crash_high);
	free(o->crash_low);
	free(o->crash_cma);
	free(o);
}

static uint64_t at_most(uint64_t bytes)
{
	return bytes < KCMDLINE_MAX_BYTES ? bytes : KCMDLINE_MAX_BYTES;
}

static bool has_cma(const struct others *o)
{
	size_t i;

	for (i = 0; i < MAX_NODES && o->cma_by_node; i++)
		if (o->cma[i].bytes || o->cma[i].percent)
			return true;
	return !o->cma_by_node && (o->cma_all.bytes || o->cma_all.percent);
}

/* hugetlb takes no size that is not of whole gibibytes. */
static uint64_t cma_bytes(const struct huge_cma *cma, uint64_t left)
{
	if (cma->percent)
		return percent_of(left, cma->percent) / GIB * GIB;
	return cma->bytes % GIB ? 0 : at_most(cma->bytes);
}

/*
 * A share for a node is one of what its pool leaves: the larger that is, the more there
 * is to be left. One of all nodes is counted as if there were no pools.
 */
static uint64_t cma_on(const struct others *o, int nid, size_t nr_nodes, uint64_t all,
		       uint64_t least)
{
	const struct huge_cma *cma = &o->cma[nid];
	uint64_t bytes;

	if (o->cma_by_node && cma->percent == 100)
		return KCMDLINE_MAX_BYTES;
	if (o->cma_by_node)
		return cma->percent ? least / (100 - cma->percent) * cma->percent + GIB :
				      cma_bytes(cma, 0);
	bytes = cma_bytes(&o->cma_all, all);
	if (!bytes)
		return 0;
	/* As equal as whole gibibytes can be, the first nodes first. */
	return (bytes / nr_nodes / GIB + !!(bytes % (nr_nodes * GIB))) * GIB;
}

static uint64_t huge_bytes(uint64_t nr, uint64_t page)
{
	return nr < KCMDLINE_MAX_BYTES / page ? nr * page : KCMDLINE_MAX_BYTES;
}

static uint64_t pages_on(const struct others *o, int nid, size_t nr_nodes)
{
	uint64_t bytes = 0, page, all;
	int i;

	for (i = 0; i < NR_HUGE_SIZES; i++) {
		page = (i == HUGE_DEFAULT ? o->default_size : (enum huge_size)i) == HUGE_1G ?
		       GIB : PMD_BYTES;
		/* With hugetlb_cma= gigantic pages come from there, on all nodes. */
		if (page == GIB && has_cma(o))
			continue;
		all = o->pages[i].all / nr_nodes + !!(o->pages[i].all % nr_nodes);
		bytes += huge_bytes(o->pages[i].node[nid], page) + huge_bytes(all, page);
	}
	return bytes;
}

uint64_t others_on(const struct others *o, int nid, size_t nr_nodes, uint64_t all,
		   uint64_t least)
{
	uint64_t pages = pages_on(o, nid, nr_nodes);

	return at_most(pages + cma_on(o, nid, nr_nodes, all, least + pages));
}

/* "1G-4G:192M,4G-:256M@64M": by how much memory there is; or a size. */
static uint64_t crash_size(const char *text, uint64_t all)
{
	uint64_t first, last;
	const char *at = text;

	if (!text)
		return 0;
	if (!memchr(text, ':', strcspn(text, "@")))
		return kcmdline_size(text, &at);
	while (*at) {
		first = kcmdline_size(at, &at);
		if (*at++ != '-')
			return 0;
		last = *at == ':' ? UINT64_MAX : kcmdline_size(at, &at);
		if (*at++ != ':')
			return 0;
		if (all >= first && all < last)
			return kcmdline_size(at, &at);
		kcmdline_size(at, &at);
		if (*at++ != ',')
			return 0;
	}
	return 0;
}

uint64_t others_crash(const struct others *o, uint64_t all)
{
	uint64_t high = crash_size(o->crash_high, all);
	uint64_t low = o->crash_low ? crash_size(o->crash_low, all) : high ? CRASH_LOW : 0;
	uint64_t bytes = crash_size(o->crash_plain, all);

	/* A plain one that does not fit below 4 GiB takes as much there as ",high" does. */
	if (!bytes)
		bytes = high + low;
	else if (bytes >= 4 * GIB)
		bytes += CRASH_LOW;
	return at_most(bytes + crash_size(o->crash_cma, all));
}
