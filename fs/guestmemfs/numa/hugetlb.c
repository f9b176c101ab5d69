// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that hugetlb will take of the nodes. hugepages= and hugetlb_cma= are
 * parsed as in mm/hugetlb.c and mm/hugetlb_cma.c. hugetlb allocates after pools
 * are made, from the memory that pools leave.
 */

#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/string.h>

#include <linux/guestmem_pool.h>

#include "hugetlb.h"
#include "layout.h"

/* Sizes of huge pages, and the default size until it is known. */
enum huge_size {
	HUGE_2M,
	HUGE_1G,
	HUGE_DEFAULT,
	NR_HUGE_SIZES,
	HUGE_INVALID = NR_HUGE_SIZES,
};

/**
 * struct huge_pages - request of hugepages= for one size
 * @given: a number was given: further ones are ignored
 * @named: the size was given by hugepagesz= or default_hugepagesz=
 * @all: pages on any node
 * @node: pages of each node
 */
struct huge_pages {
	bool given;
	bool named;
	u64 all;
	u64 node[MAX_NUMNODES];
};

/**
 * struct huge_cma - request of hugetlb_cma=, for a node or for all
 * @bytes: size
 * @percent: percent of the memory that pools leave, if not 0
 */
struct huge_cma {
	u64 bytes;
	u32 percent;
};

static struct huge_pages huge_pages[NR_HUGE_SIZES] __initdata;
static enum huge_size huge_size __initdata = HUGE_DEFAULT;
static enum huge_size huge_default __initdata = HUGE_2M;
static bool huge_default_given __initdata;
static bool huge_ignore_one __initdata;
static struct huge_cma huge_cma_all __initdata;
static struct huge_cma huge_cma[MAX_NUMNODES] __initdata;
static bool huge_cma_by_node __initdata;

static enum huge_size __init gmpool_parse_huge_size(const char *s)
{
	u64 size = s ? memparse(s, NULL) : 0;

	/*
	 * Without 1 GiB mappings, hugetlb refuses this size and ignores
	 * hugetlb_cma=.
	 */
	if (size == GMPOOL_1G_SIZE && gmpool_maps_1g())
		return HUGE_1G;
	return size == PMD_SIZE ? HUGE_2M : HUGE_INVALID;
}

/*
 * hugetlb parses these too, and reports errors. It parses them after pools are
 * made, and allocates even later. See hugepages_setup() in mm/hugetlb.c.
 */
static int __init gmpool_hugepagesz_setup(char *s)
{
	enum huge_size size = gmpool_parse_huge_size(s);
	bool again = size != HUGE_INVALID && huge_pages[size].named &&
		     (!huge_default_given || size != huge_default ||
		      huge_pages[size].given);

	huge_ignore_one = size == HUGE_INVALID || again;
	if (huge_ignore_one)
		return 0;
	huge_pages[size].named = true;
	huge_size = size;
	return 0;
}
early_param("hugepagesz", gmpool_hugepagesz_setup);

static int __init gmpool_default_hugepagesz_setup(char *s)
{
	enum huge_size size = gmpool_parse_huge_size(s);

	huge_ignore_one = huge_default_given || size == HUGE_INVALID;
	if (huge_ignore_one)
		return 0;
	huge_default_given = true;
	huge_default = size;
	huge_pages[size].named = true;
	huge_size = size;
	return 0;
}
early_param("default_hugepagesz", gmpool_default_hugepagesz_setup);

static int __init gmpool_hugepages_setup(char *s)
{
	struct huge_pages *pages = &huge_pages[huge_size];
	unsigned long nid, nr;
	int len;

	if (!s || huge_ignore_one || pages->given) {
		huge_ignore_one = false;
		return 0;
	}
	pages->given = true;
	while (sscanf(s, "%lu:%lu%n", &nid, &nr, &len) == 2) {
		if (nid >= MAX_NUMNODES)
			return 0;
		pages->node[nid] = nr;
		if (s[len] != ',')
			return 0;
		s += len + 1;
	}
	if (sscanf(s, "%lu%n", &nr, &len) == 1)
		pages->all = nr;
	return 0;
}
early_param("hugepages", gmpool_hugepages_setup);

/* Returns false, without a change, for a percentage that hugetlb refuses. */
static bool __init gmpool_parse_cma(const char *s, char **end,
				    struct huge_cma *cma)
{
	u64 nr = memparse(s, end);
	bool percent = **end == '%';

	if (percent && nr > 100)
		return false;
	cma->bytes = percent ? 0 : nr;
	cma->percent = percent ? nr : 0;
	*end += percent;
	return true;
}

/*
 * See cmdline_parse_hugetlb_cma(): parts before an invalid part count, also
 * from an earlier hugetlb_cma=.
 */
static int __init gmpool_hugetlb_cma_setup(char *s)
{
	char *at = s;
	unsigned long nid;
	int len;

	while (at && *at) {
		if (sscanf(at, "%lu%n", &nid, &len) != 1)
			return 0;
		if (at[len] != ':') {
			/* hugetlb parses the value again from its start. */
			if (!gmpool_parse_cma(s, &at, &huge_cma_all))
				return 0;
			memset(huge_cma, 0, sizeof(huge_cma));
			huge_cma_by_node = false;
			return 0;
		}
		if (nid >= MAX_NUMNODES)
			return 0;
		huge_cma_by_node = true;
		if (!gmpool_parse_cma(at + len + 1, &at, &huge_cma[nid]) ||
		    *at != ',')
			return 0;
		at++;
	}
	return 0;
}
early_param("hugetlb_cma", gmpool_hugetlb_cma_setup);

/* More than any machine has; times GMPOOL_MAX_SCALE it fits in 64 bits. */
#define HUGE_MOST	BIT_ULL(50)

/*
 * hugetlb_cma_reserve() rounds percentages down, and refuses other unaligned
 * sizes.
 */
static u64 __init gmpool_cma_bytes(const struct huge_cma *cma, u64 left)
{
	if (cma->percent)
		return round_down(mul_u64_u64_div_u64(left, cma->percent, 100),
				  GMPOOL_1G_SIZE);
	if (!IS_ALIGNED(cma->bytes, GMPOOL_1G_SIZE))
		return 0;
	return min(cma->bytes, HUGE_MOST);
}

/**
 * gmpool_hugetlb_cma - memory of hugetlb_cma= on all nodes
 * @nodes: nodes with memory
 * @left: bytes of each of them outside pools
 *
 * A size for a node replaces the size for all. See hugetlb_cma_reserve().
 *
 * Context: early boot.
 *
 * Return: bytes.
 */
u64 __init gmpool_hugetlb_cma(const nodemask_t *nodes, const u64 *left)
{
	u64 bytes = 0, all = 0;
	int nid;

	if (!IS_ENABLED(CONFIG_CMA) || !gmpool_maps_1g())
		return 0;
	for_each_node_mask(nid, *nodes) {
		bytes += gmpool_cma_bytes(&huge_cma[nid], left[nid]);
		all += left[nid];
	}
	if (!huge_cma_by_node)
		bytes = gmpool_cma_bytes(&huge_cma_all, all);
	return min(bytes, HUGE_MOST);
}

/**
 * gmpool_hugetlb_cma_on - memory of hugetlb_cma= on a node
 * @nid: the node
 * @nodes: nodes with memory
 * @left: bytes of each of them outside pools
 *
 * Context: early boot.
 *
 * Return: bytes.
 */
u64 __init gmpool_hugetlb_cma_on(int nid, const nodemask_t *nodes,
				 const u64 *left)
{
	u64 all = gmpool_hugetlb_cma(nodes, left);

	if (all && huge_cma_by_node)
		return gmpool_cma_bytes(&huge_cma[nid], left[nid]);
	/* Equal shares of whole GiB; the first nodes get the rest. */
	return min(all, round_up(DIV_ROUND_UP_ULL(all, nodes_weight(*nodes)),
				 GMPOOL_1G_SIZE));
}

/**
 * gmpool_hugetlb_pages_on - memory of hugepages= on a node
 * @nid: the node
 * @nodes: nodes with memory
 * @left: bytes of each of them outside pools
 *
 * The pages that are requested for this node, and an equal share of those for
 * any node. KHO does not count them when it sizes its scratch areas.
 *
 * Context: early boot.
 *
 * Return: bytes.
 */
u64 __init gmpool_hugetlb_pages_on(int nid, const nodemask_t *nodes,
				   const u64 *left)
{
	u64 cma = gmpool_hugetlb_cma(nodes, left), bytes = 0, page, nr;
	int i;

	for (i = 0; i < NR_HUGE_SIZES; i++) {
		page = (i == HUGE_DEFAULT ? huge_default : i) == HUGE_1G ?
		       GMPOOL_1G_SIZE : PMD_SIZE;
		/*
		 * With hugetlb_cma=, pages of 1 GiB come from that memory, on
		 * all nodes.
		 */
		if (page == GMPOOL_1G_SIZE && cma)
			continue;
		nr = huge_pages[i].node[nid] +
		     DIV_ROUND_UP_ULL(huge_pages[i].all, nodes_weight(*nodes));
		bytes += min(nr, HUGE_MOST / page) * page;
	}
	return bytes;
}
