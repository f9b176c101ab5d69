// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the parser of "guestmemfs=".
 */

#include <linux/bits.h>
#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <kunit/test.h>

#include "../numa/cmdline.h"
#include "gmpool_kunit.h"

static unsigned int seed;
module_param(seed, uint, 0);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one each time");

#define MAX_NODE_SIZES	2
#define MAX_BAD		8

struct node_size {
	int nid;
	struct gmpool_size size;
	struct gmpool_size growth;
};

struct bad_token {
	const char *token;
	enum gmpool_arg_error error;
};

/**
 * struct cmdline_case - a value of "guestmemfs=" and the expected result
 * @name: name in the log
 * @input: the value
 * @fresh: expected flag
 * @all: expected size for all nodes
 * @growth_all: expected growth reserve for all nodes
 * @node: expected sizes for single nodes, with their growth reserves
 * @bad: expected reports, in this order
 */
struct cmdline_case {
	const char *name;
	const char *input;
	bool fresh;
	struct gmpool_size all;
	struct gmpool_size growth_all;
	struct node_size node[MAX_NODE_SIZES];
	struct bad_token bad[MAX_BAD];
};

#define BYTES(bytes)	{ GMPOOL_SIZE_BYTES, (bytes) }
#define PERCENT(share)	{ GMPOOL_SIZE_PERCENT, (share) }
#define KIB		BIT_ULL(10)
#define MIB		BIT_ULL(20)
#define GIB		BIT_ULL(30)
#define TIB		BIT_ULL(40)
#define PIB		BIT_ULL(50)
#define EIB		BIT_ULL(60)

#define ZEROES_16	"0000000000000000"
#define NINES_16	"9999999999999999"

/* Uses only nodes 0 and 1: each NUMA kernel supports them. */
static const struct cmdline_case cmdline_cases[] = {
	/* Usual values. */
	{ "one node", "0:1G", .node = {{ 0, BYTES(GIB) }} },
	{ "two nodes", "0:1G,1:2G",
	  .node = {{ 0, BYTES(GIB) }, { 1, BYTES(2 * GIB) }} },
	{ "two nodes in falling order", "1:2G,0:1G",
	  .node = {{ 0, BYTES(GIB) }, { 1, BYTES(2 * GIB) }} },
	{ "node 1 alone", "1:64G", .node = {{ 1, BYTES(64 * GIB) }} },
	{ "percent of a node", "0:80%", .node = {{ 0, PERCENT(80) }} },
	{ "percent of one node and bytes of another", "0:50%,1:1G",
	  .node = {{ 0, PERCENT(50) }, { 1, BYTES(GIB) }} },
	{ "bytes for all", "1G", .all = BYTES(GIB) },
	{ "percent for all", "50%", .all = PERCENT(50) },
	{ "fresh alone", "fresh", .fresh = true },
	{ "fresh and a node", "fresh,0:1G", .fresh = true,
	  .node = {{ 0, BYTES(GIB) }} },
	{ "fresh last", "0:1G,fresh", .fresh = true,
	  .node = {{ 0, BYTES(GIB) }} },
	{ "fresh and a size for all", "25%,fresh", .fresh = true,
	  .all = PERCENT(25) },
	{ "fresh twice", "fresh,fresh", .fresh = true },

	/* Growth reserves. */
	{ "reserve of a node", "1:64G+32G",
	  .node = {{ 1, BYTES(64 * GIB), BYTES(32 * GIB) }} },
	{ "reserves of two nodes", "0:1G+2G,1:2G+1G",
	  .node = {{ 0, BYTES(GIB), BYTES(2 * GIB) },
		   { 1, BYTES(2 * GIB), BYTES(GIB) }} },
	{ "reserve of one node of two", "0:1G,1:2G+1G",
	  .node = {{ 0, BYTES(GIB) }, { 1, BYTES(2 * GIB), BYTES(GIB) }} },
	{ "pool and reserve in percent", "0:50%+10%",
	  .node = {{ 0, PERCENT(50), PERCENT(10) }} },
	{ "pool in percent, reserve in bytes", "0:50%+8G",
	  .node = {{ 0, PERCENT(50), BYTES(8 * GIB) }} },
	{ "pool in bytes, reserve in percent", "0:8G+5%",
	  .node = {{ 0, BYTES(8 * GIB), PERCENT(5) }} },
	{ "reserve for all", "128G+64G", .all = BYTES(128 * GIB),
	  .growth_all = BYTES(64 * GIB) },
	{ "reserve in percent for all", "80%+10%", .all = PERCENT(80),
	  .growth_all = PERCENT(10) },
	{ "reserve in hexadecimal", "0:0x10G+0x8g",
	  .node = {{ 0, BYTES(16 * GIB), BYTES(8 * GIB) }} },
	{ "no reserve after the plus", "0:1G+",
	  .bad = {{ "0:1G+", GMPOOL_ARG_NO_SIZE }} },
	{ "a plus for all", "+", .bad = {{ "+", GMPOOL_ARG_NO_SIZE }} },
	{ "a plus in place of the node", "+:1G",
	  .bad = {{ "+:1G", GMPOOL_ARG_NODE }} },
	{ "reserve in the node", "0+1:1G",
	  .bad = {{ "0+1:1G", GMPOOL_ARG_NODE }} },
	{ "two reserves", "0:1G+1G+1G",
	  .bad = {{ "0:1G+1G+1G", GMPOOL_ARG_SUFFIX }} },
	{ "two plus signs", "0:1G++1G",
	  .bad = {{ "0:1G++1G", GMPOOL_ARG_SIZE }} },
	{ "zero reserve", "0:1G+0", .bad = {{ "0:1G+0", GMPOOL_ARG_ZERO }} },
	{ "reserve that overflows", "0:1G+16E",
	  .bad = {{ "0:1G+16E", GMPOOL_ARG_OVERFLOW }} },
	{ "reserve of 100%", "0:1G+100%",
	  .bad = {{ "0:1G+100%", GMPOOL_ARG_PERCENT }} },
	{ "reserve of another node", "0:1G+1:1G",
	  .bad = {{ "0:1G+1:1G", GMPOOL_ARG_SUFFIX }} },
	{ "bad reserve, then a good part", "0:1G+x,0:2G",
	  .node = {{ 0, BYTES(2 * GIB) }},
	  .bad = {{ "0:1G+x", GMPOOL_ARG_SIZE }} },
	{ "reserve of a repeated node", "0:1G,0:1G+1G",
	  .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "0:1G+1G", GMPOOL_ARG_REPEATED }} },
	{ "reserve of all after a node", "0:1G,1G+1G",
	  .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "1G+1G", GMPOOL_ARG_MIXED }} },
	{ "reserve of fresh", "fresh+1G",
	  .bad = {{ "fresh+1G", GMPOOL_ARG_SIZE }} },

	/* Numbers as memparse() reads them. */
	{ "no unit", "0:1073741824", .node = {{ 0, BYTES(GIB) }} },
	{ "one byte", "0:1", .node = {{ 0, BYTES(1) }} },
	{ "unit k", "0:1k,1:1K",
	  .node = {{ 0, BYTES(KIB) }, { 1, BYTES(KIB) }} },
	{ "unit m", "0:1m,1:1M",
	  .node = {{ 0, BYTES(MIB) }, { 1, BYTES(MIB) }} },
	{ "unit g", "0:1g,1:1G",
	  .node = {{ 0, BYTES(GIB) }, { 1, BYTES(GIB) }} },
	{ "unit t", "0:1t,1:1T",
	  .node = {{ 0, BYTES(TIB) }, { 1, BYTES(TIB) }} },
	{ "unit p", "0:1p,1:1P",
	  .node = {{ 0, BYTES(PIB) }, { 1, BYTES(PIB) }} },
	{ "unit e", "0:1e,1:1E",
	  .node = {{ 0, BYTES(EIB) }, { 1, BYTES(EIB) }} },
	{ "hexadecimal size", "0:0x40000000", .node = {{ 0, BYTES(GIB) }} },
	{ "hexadecimal size in capitals", "0:0XABCDEF",
	  .node = {{ 0, BYTES(0xabcdef) }} },
	{ "hexadecimal size with unit", "0:0x10G",
	  .node = {{ 0, BYTES(16 * GIB) }} },
	{ "E is a digit after 0x", "0:0x1E", .node = {{ 0, BYTES(0x1e) }} },
	{ "hexadecimal node", "0x1:1G", .node = {{ 1, BYTES(GIB) }} },
	{ "octal size", "0:010", .node = {{ 0, BYTES(8) }} },
	{ "octal size with unit", "0:010M", .node = {{ 0, BYTES(8 * MIB) }} },
	{ "octal percent", "0:050%", .node = {{ 0, PERCENT(40) }} },
	{ "octal node", "00:1G,01:1G",
	  .node = {{ 0, BYTES(GIB) }, { 1, BYTES(GIB) }} },
	{ "no octal digit in the size", "0:08G",
	  .bad = {{ "0:08G", GMPOOL_ARG_SIZE }} },
	{ "no octal digit in the node", "08:1G",
	  .bad = {{ "08:1G", GMPOOL_ARG_NODE }} },

	/* Limits of 64 bits. */
	{ "largest size", "0:18446744073709551615",
	  .node = {{ 0, BYTES(U64_MAX) }} },
	{ "largest size plus one", "0:18446744073709551616",
	  .bad = {{ "0:18446744073709551616", GMPOOL_ARG_OVERFLOW }} },
	{ "largest hexadecimal size", "0:0xffffffffffffffff",
	  .node = {{ 0, BYTES(U64_MAX) }} },
	{ "largest hexadecimal size plus one", "0:0x10000000000000000",
	  .bad = {{ "0:0x10000000000000000", GMPOOL_ARG_OVERFLOW }} },
	{ "largest octal size", "0:01777777777777777777777",
	  .node = {{ 0, BYTES(U64_MAX) }} },
	{ "largest octal size plus one", "0:02000000000000000000000",
	  .bad = {{ "0:02000000000000000000000", GMPOOL_ARG_OVERFLOW }} },
	{ "largest size in E", "0:15E", .node = {{ 0, BYTES(15 * EIB) }} },
	{ "unit takes it over the edge", "0:16E",
	  .bad = {{ "0:16E", GMPOOL_ARG_OVERFLOW }} },
	{ "largest size in G", "0:17179869183G",
	  .node = {{ 0, BYTES(17179869183ULL * GIB) }} },
	{ "unit would wrap to zero", "0:17179869184G",
	  .bad = {{ "0:17179869184G", GMPOOL_ARG_OVERFLOW }} },
	{ "unit would wrap to one gibibyte", "0:17179869185G",
	  .bad = {{ "0:17179869185G", GMPOOL_ARG_OVERFLOW }} },
	{ "percentage over the edge", "0:18446744073709551617%",
	  .bad = {{ "0:18446744073709551617%", GMPOOL_ARG_OVERFLOW }} },
	{ "48 digits", "0:" NINES_16 NINES_16 NINES_16,
	  .bad = {{ "0:" NINES_16 NINES_16 NINES_16, GMPOOL_ARG_OVERFLOW }} },
	{ "leading zeroes", "0:" ZEROES_16 "1G",
	  .node = {{ 0, BYTES(GIB) }} },
	{ "48 digits in the node", NINES_16 NINES_16 NINES_16 ":1G",
	  .bad = {{ NINES_16 NINES_16 NINES_16 ":1G",
		     GMPOOL_ARG_NODE_RANGE }} },
	{ "node number wraps to 0 in 32 bits", "4294967296:1G",
	  .bad = {{ "4294967296:1G", GMPOOL_ARG_NODE_RANGE }} },
	{ "node number wraps to 1 in 64 bits", "18446744073709551617:1G",
	  .bad = {{ "18446744073709551617:1G", GMPOOL_ARG_NODE_RANGE }} },
	{ "node number is negative in 32 bits", "4294967295:1G",
	  .bad = {{ "4294967295:1G", GMPOOL_ARG_NODE_RANGE }} },
	{ "node number is negative in 64 bits", "18446744073709551615:1G",
	  .bad = {{ "18446744073709551615:1G", GMPOOL_ARG_NODE_RANGE }} },

	/* Empty parts. */
	{ "nothing", "", .bad = {{ "", GMPOOL_ARG_EMPTY }} },
	{ "a comma", ",",
	  .bad = {{ "", GMPOOL_ARG_EMPTY }, { "", GMPOOL_ARG_EMPTY }} },
	{ "comma first", ",0:1G", .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "", GMPOOL_ARG_EMPTY }} },
	{ "comma last", "0:1G,", .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "", GMPOOL_ARG_EMPTY }} },
	{ "two commas", "0:1G,,1:1G",
	  .node = {{ 0, BYTES(GIB) }, { 1, BYTES(GIB) }},
	  .bad = {{ "", GMPOOL_ARG_EMPTY }} },
	{ "a colon", ":", .bad = {{ ":", GMPOOL_ARG_NODE }} },
	{ "no size", "0:", .bad = {{ "0:", GMPOOL_ARG_NO_SIZE }} },
	{ "no size, then a good part", "0:,1:1G",
	  .node = {{ 1, BYTES(GIB) }},
	  .bad = {{ "0:", GMPOOL_ARG_NO_SIZE }} },
	{ "no node", ":1G", .bad = {{ ":1G", GMPOOL_ARG_NODE }} },
	{ "unit without number", "0:G", .bad = {{ "0:G", GMPOOL_ARG_SIZE }} },
	{ "unit without number for all", "G",
	  .bad = {{ "G", GMPOOL_ARG_SIZE }} },
	{ "percent without number", "0:%",
	  .bad = {{ "0:%", GMPOOL_ARG_SIZE }} },
	{ "prefix without digits", "0:0x",
	  .bad = {{ "0:0x", GMPOOL_ARG_SUFFIX }} },
	{ "prefix and unit without digits", "0:0xG",
	  .bad = {{ "0:0xG", GMPOOL_ARG_SIZE }} },
	{ "prefix without digits in the node", "0x:1G",
	  .bad = {{ "0x:1G", GMPOOL_ARG_NODE }} },

	/* Zero. */
	{ "zero", "0:0", .bad = {{ "0:0", GMPOOL_ARG_ZERO }} },
	{ "zero for all", "0", .bad = {{ "0", GMPOOL_ARG_ZERO }} },
	{ "zero with unit", "0:0G", .bad = {{ "0:0G", GMPOOL_ARG_ZERO }} },
	{ "hexadecimal zero", "0:0x0",
	  .bad = {{ "0:0x0", GMPOOL_ARG_ZERO }} },

	/* Percentages. */
	{ "least percentage", "0:1%", .node = {{ 0, PERCENT(1) }} },
	{ "greatest percentage", "0:99%", .node = {{ 0, PERCENT(99) }} },
	{ "0%", "0:0%", .bad = {{ "0:0%", GMPOOL_ARG_PERCENT }} },
	{ "100%", "0:100%", .bad = {{ "0:100%", GMPOOL_ARG_PERCENT }} },
	{ "100% of all", "100%", .bad = {{ "100%", GMPOOL_ARG_PERCENT }} },
	{ "percentage that is 50 in 32 bits", "0:4294967346%",
	  .bad = {{ "0:4294967346%", GMPOOL_ARG_PERCENT }} },
	{ "two percent signs", "0:1%%",
	  .bad = {{ "0:1%%", GMPOOL_ARG_SUFFIX }} },
	{ "unit and percent sign", "0:1G%",
	  .bad = {{ "0:1G%", GMPOOL_ARG_SUFFIX }} },
	{ "percent sign and unit", "0:1%G",
	  .bad = {{ "0:1%G", GMPOOL_ARG_SUFFIX }} },

	/* Signs, fractions, and other text that is not a number. */
	{ "negative size", "0:-1", .bad = {{ "0:-1", GMPOOL_ARG_SIZE }} },
	{ "positive size", "0:+1G", .bad = {{ "0:+1G", GMPOOL_ARG_NO_SIZE }} },
	{ "negative node", "-1:1G", .bad = {{ "-1:1G", GMPOOL_ARG_NODE }} },
	{ "positive node", "+0:1G", .bad = {{ "+0:1G", GMPOOL_ARG_NODE }} },
	{ "fraction", "0:1.5G", .bad = {{ "0:1.5G", GMPOOL_ARG_SUFFIX }} },
	{ "exponent", "0:1e9", .bad = {{ "0:1e9", GMPOOL_ARG_SUFFIX }} },
	{ "unknown unit", "0:1X", .bad = {{ "0:1X", GMPOOL_ARG_SUFFIX }} },
	{ "unit twice", "0:1GG", .bad = {{ "0:1GG", GMPOOL_ARG_SUFFIX }} },
	{ "unit with B", "0:1GB", .bad = {{ "0:1GB", GMPOOL_ARG_SUFFIX }} },
	{ "unit with iB", "0:1GiB", .bad = {{ "0:1GiB", GMPOOL_ARG_SUFFIX }} },
	{ "address after the size", "0:1G@4G",
	  .bad = {{ "0:1G@4G", GMPOOL_ARG_SUFFIX }} },
	{ "word for a node", "x:1G", .bad = {{ "x:1G", GMPOOL_ARG_NODE }} },
	{ "name of a node", "node0:1G",
	  .bad = {{ "node0:1G", GMPOOL_ARG_NODE }} },
	{ "range of nodes", "0-1:1G", .bad = {{ "0-1:1G", GMPOOL_ARG_NODE }} },
	{ "unit after the node", "1K:1G",
	  .bad = {{ "1K:1G", GMPOOL_ARG_NODE }} },
	{ "two colons", "0::1G", .bad = {{ "0::1G", GMPOOL_ARG_SIZE }} },
	{ "colon after the size", "0:1G:2G",
	  .bad = {{ "0:1G:2G", GMPOOL_ARG_SUFFIX }} },
	{ "semicolon", "0:1G;1:1G",
	  .bad = {{ "0:1G;1:1G", GMPOOL_ARG_SUFFIX }} },
	{ "equals sign for the colon", "0=1G",
	  .bad = {{ "0=1G", GMPOOL_ARG_SUFFIX }} },
	{ "quotes", "\"0:1G\"", .bad = {{ "\"0:1G\"", GMPOOL_ARG_NODE }} },
	{ "format string", "0:%s%n", .bad = {{ "0:%s%n", GMPOOL_ARG_SIZE }} },
	{ "word", "on", .bad = {{ "on", GMPOOL_ARG_SIZE }} },
	{ "fresh in capitals", "FRESH", .bad = {{ "FRESH", GMPOOL_ARG_SIZE }} },
	{ "fresh cut off", "fres", .bad = {{ "fres", GMPOOL_ARG_SIZE }} },
	{ "fresh and more", "fresher", .bad = {{ "fresher", GMPOOL_ARG_SIZE }} },
	{ "fresh with a size", "fresh:1G",
	  .bad = {{ "fresh:1G", GMPOOL_ARG_NODE }} },
	{ "fresh for a size", "0:fresh",
	  .bad = {{ "0:fresh", GMPOOL_ARG_SIZE }} },

	/* White space and bytes beyond ASCII. */
	{ "space first", " 0:1G", .bad = {{ " 0:1G", GMPOOL_ARG_NODE }} },
	{ "space last", "0:1G ", .bad = {{ "0:1G ", GMPOOL_ARG_SUFFIX }} },
	{ "space before the colon", "0 :1G",
	  .bad = {{ "0 :1G", GMPOOL_ARG_NODE }} },
	{ "space after the colon", "0: 1G",
	  .bad = {{ "0: 1G", GMPOOL_ARG_SIZE }} },
	{ "space after the comma", "0:1G, 1:1G", .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ " 1:1G", GMPOOL_ARG_NODE }} },
	{ "newline after the number", "0:1\n",
	  .bad = {{ "0:1\n", GMPOOL_ARG_SUFFIX }} },
	{ "newline after the node", "0\n:1G",
	  .bad = {{ "0\n:1G", GMPOOL_ARG_NODE }} },
	{ "no-break space", "0:1\xc2\xa0G",
	  .bad = {{ "0:1\xc2\xa0G", GMPOOL_ARG_SUFFIX }} },
	{ "fullwidth digit", "0:\xef\xbc\x91G",
	  .bad = {{ "0:\xef\xbc\x91G", GMPOOL_ARG_SIZE }} },
	{ "fullwidth colon", "0\357\274\2321G",
	  .bad = {{ "0\357\274\2321G", GMPOOL_ARG_SUFFIX }} },
	{ "byte 255 for a unit", "0:1\xff",
	  .bad = {{ "0:1\xff", GMPOOL_ARG_SUFFIX }} },
	{ "letter of Latin-1 for a unit", "0:1\xcb",
	  .bad = {{ "0:1\xcb", GMPOOL_ARG_SUFFIX }} },
	{ "bytes below space", "\x01\x02:\x7f",
	  .bad = {{ "\x01\x02:\x7f", GMPOOL_ARG_NODE }} },

	/* Repeated and mixed: the first valid part counts. */
	{ "node twice", "0:1G,0:2G", .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "0:2G", GMPOOL_ARG_REPEATED }} },
	{ "node twice, the same", "0:1G,0:1G", .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "0:1G", GMPOOL_ARG_REPEATED }} },
	{ "node twice, written differently", "1:1G,0x1:2G",
	  .node = {{ 1, BYTES(GIB) }},
	  .bad = {{ "0x1:2G", GMPOOL_ARG_REPEATED }} },
	{ "node twice, in percent and in bytes", "0:10%,0:1G",
	  .node = {{ 0, PERCENT(10) }},
	  .bad = {{ "0:1G", GMPOOL_ARG_REPEATED }} },
	{ "node again after a bad size", "0:1X,0:2G",
	  .node = {{ 0, BYTES(2 * GIB) }},
	  .bad = {{ "0:1X", GMPOOL_ARG_SUFFIX }} },
	{ "size for all twice", "1G,2G", .all = BYTES(GIB),
	  .bad = {{ "2G", GMPOOL_ARG_REPEATED }} },
	{ "size for all in bytes and in percent", "1G,50%", .all = BYTES(GIB),
	  .bad = {{ "50%", GMPOOL_ARG_REPEATED }} },
	{ "a node, then all", "0:1G,2G", .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "2G", GMPOOL_ARG_MIXED }} },
	{ "all, then a node", "2G,0:1G", .all = BYTES(2 * GIB),
	  .bad = {{ "0:1G", GMPOOL_ARG_MIXED }} },
	{ "all, a node, all", "2G,0:1G,50%", .all = BYTES(2 * GIB),
	  .bad = {{ "0:1G", GMPOOL_ARG_MIXED },
		  { "50%", GMPOOL_ARG_REPEATED }} },
	{ "a bad node, then all", "x:1G,2G", .all = BYTES(2 * GIB),
	  .bad = {{ "x:1G", GMPOOL_ARG_NODE }} },
	{ "a node with a bad size, then all", "0:0,2G", .all = BYTES(2 * GIB),
	  .bad = {{ "0:0", GMPOOL_ARG_ZERO }} },
	{ "a bad size for all, then a node", "1X,0:1G",
	  .node = {{ 0, BYTES(GIB) }},
	  .bad = {{ "1X", GMPOOL_ARG_SUFFIX }} },
	{ "good among bad", "x:1G,0:,,0:1G,0:2G,7,1:100%,1:25%",
	  .node = {{ 0, BYTES(GIB) }, { 1, PERCENT(25) }},
	  .bad = {{ "x:1G", GMPOOL_ARG_NODE },
		  { "0:", GMPOOL_ARG_NO_SIZE },
		  { "", GMPOOL_ARG_EMPTY },
		  { "0:2G", GMPOOL_ARG_REPEATED },
		  { "7", GMPOOL_ARG_MIXED },
		  { "1:100%", GMPOOL_ARG_PERCENT }} },
};

KUNIT_ARRAY_PARAM_DESC(cmdline, cmdline_cases, name);

/* Reports of a parse. */
struct reports {
	struct kunit *test;
	const char *input;
	unsigned int nr;
	struct {
		const char *token;
		int len;
		enum gmpool_arg_error error;
	} report[MAX_BAD];
};

static void note_report(void *ctx, const char *token, int len,
			enum gmpool_arg_error error)
{
	struct reports *reports = ctx;
	const char *end = reports->input + strlen(reports->input);

	/* A part lies in the input, between two commas. */
	KUNIT_EXPECT_GE(reports->test, len, 0);
	KUNIT_EXPECT_TRUE(reports->test, token >= reports->input);
	KUNIT_EXPECT_TRUE(reports->test, token + len <= end);
	KUNIT_EXPECT_TRUE(reports->test,
			  token == reports->input || token[-1] == ',');
	KUNIT_EXPECT_TRUE(reports->test, token + len == end || token[len] == ',');

	if (reports->nr < MAX_BAD) {
		reports->report[reports->nr].token = token;
		reports->report[reports->nr].len = len;
		reports->report[reports->nr].error = error;
	}
	reports->nr++;
}

static struct gmpool_cmdline *parse(struct kunit *test, const char *input,
				    struct reports *reports)
{
	struct gmpool_cmdline *cmdline;
	int nr_bad;

	cmdline = kunit_kmalloc(test, sizeof(*cmdline), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cmdline);
	memset(cmdline, 0xff, sizeof(*cmdline));

	*reports = (struct reports){ .test = test, .input = input };
	nr_bad = gmpool_parse_cmdline(input, cmdline, note_report, reports);
	KUNIT_EXPECT_EQ(test, nr_bad, reports->nr);
	return cmdline;
}

static void expect_size(struct kunit *test, const char *what, int nid,
			const struct gmpool_size *size,
			const struct gmpool_size *expected)
{
	KUNIT_EXPECT_EQ_MSG(test, size->kind, expected->kind, "%s %d", what, nid);
	KUNIT_EXPECT_EQ_MSG(test, size->value, expected->value, "%s %d", what, nid);
}

static bool same_size(const struct gmpool_size *a, const struct gmpool_size *b)
{
	return a->kind == b->kind && a->value == b->value;
}

/* Compare field by field: padding does not count. */
static bool same_table(const struct gmpool_cmdline *a,
		       const struct gmpool_cmdline *b)
{
	int nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		if (!same_size(&a->node[nid], &b->node[nid]) ||
		    !same_size(&a->growth[nid], &b->growth[nid]))
			return false;
	}
	return a->fresh == b->fresh && same_size(&a->all, &b->all) &&
	       same_size(&a->growth_all, &b->growth_all);
}

static void parse_cmdline(struct kunit *test)
{
	const struct cmdline_case *c = test->param_value;
	static const struct gmpool_size none;
	const struct gmpool_size *expected, *growth;
	struct gmpool_cmdline *cmdline;
	struct reports reports;
	unsigned int i, nr_bad;
	int nid;

	cmdline = parse(test, c->input, &reports);

	KUNIT_EXPECT_EQ(test, cmdline->fresh, c->fresh);
	expect_size(test, "all", -1, &cmdline->all, &c->all);
	expect_size(test, "reserve for all", -1, &cmdline->growth_all, &c->growth_all);
	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		expected = &none;
		growth = &none;
		for (i = 0; i < MAX_NODE_SIZES; i++) {
			if (c->node[i].size.kind && c->node[i].nid == nid) {
				expected = &c->node[i].size;
				growth = &c->node[i].growth;
			}
		}
		expect_size(test, "node", nid, &cmdline->node[nid], expected);
		expect_size(test, "reserve of node", nid, &cmdline->growth[nid], growth);
	}

	for (nr_bad = 0; nr_bad < MAX_BAD && c->bad[nr_bad].token; nr_bad++)
		;
	KUNIT_ASSERT_EQ(test, reports.nr, nr_bad);
	for (i = 0; i < nr_bad; i++) {
		KUNIT_EXPECT_EQ(test, reports.report[i].error, c->bad[i].error);
		KUNIT_ASSERT_EQ(test, reports.report[i].len,
				strlen(c->bad[i].token));
		KUNIT_EXPECT_MEMEQ(test, reports.report[i].token,
				   c->bad[i].token, reports.report[i].len);
	}
}

/* The largest node number depends on the kernel's configuration. */
static void last_node(struct kunit *test)
{
	struct gmpool_cmdline *cmdline;
	struct reports reports;
	char input[32];

	snprintf(input, sizeof(input), "%d:1G", MAX_NUMNODES - 1);
	cmdline = parse(test, input, &reports);
	KUNIT_EXPECT_EQ(test, reports.nr, 0);
	KUNIT_EXPECT_EQ(test, cmdline->node[MAX_NUMNODES - 1].kind,
			GMPOOL_SIZE_BYTES);
	KUNIT_EXPECT_EQ(test, cmdline->node[MAX_NUMNODES - 1].value, GIB);

	snprintf(input, sizeof(input), "%d:1G", MAX_NUMNODES);
	cmdline = parse(test, input, &reports);
	KUNIT_ASSERT_EQ(test, reports.nr, 1);
	KUNIT_EXPECT_EQ(test, reports.report[0].error, GMPOOL_ARG_NODE_RANGE);
	KUNIT_EXPECT_NULL(test, memchr_inv(cmdline, 0, sizeof(*cmdline)));
}

/* Far more than a command line holds, as one part and as many. */
static void long_input(struct kunit *test)
{
	static const char part[] = "0:1G,";
	const size_t len = SZ_64K;
	struct gmpool_cmdline *cmdline;
	struct reports reports;
	size_t i;
	char *s;

	s = kunit_kmalloc(test, len + 1, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	s[len] = '\0';

	memset(s, '7', len);
	parse(test, s, &reports);
	KUNIT_EXPECT_EQ(test, reports.nr, 1);
	KUNIT_EXPECT_EQ(test, reports.report[0].error, GMPOOL_ARG_OVERFLOW);
	KUNIT_EXPECT_EQ(test, reports.report[0].len, len);

	s[len - 3] = ':';
	parse(test, s, &reports);
	KUNIT_EXPECT_EQ(test, reports.nr, 1);
	KUNIT_EXPECT_EQ(test, reports.report[0].error, GMPOOL_ARG_NODE_RANGE);

	memset(s, 'a', len);
	parse(test, s, &reports);
	KUNIT_EXPECT_EQ(test, reports.nr, 1);
	KUNIT_EXPECT_EQ(test, reports.report[0].error, GMPOOL_ARG_SIZE);

	memset(s, ',', len);
	cmdline = parse(test, s, &reports);
	KUNIT_EXPECT_EQ(test, reports.nr, len + 1);
	KUNIT_EXPECT_NULL(test, memchr_inv(cmdline, 0, sizeof(*cmdline)));

	for (i = 0; i < len; i++)
		s[i] = part[i % strlen(part)];
	s[len - len % strlen(part) - 1] = '\0';
	cmdline = parse(test, s, &reports);
	KUNIT_EXPECT_EQ(test, reports.nr, len / strlen(part) - 1);
	KUNIT_EXPECT_EQ(test, reports.report[0].error, GMPOOL_ARG_REPEATED);
	KUNIT_EXPECT_EQ(test, cmdline->node[0].value, GIB);
}

/* A value that memparse() reads in full gives that number, or is refused. */
static void like_memparse(struct kunit *test)
{
	static const char alphabet[] = "0011789afFxXkKmMgGtTpPeE%. ";
	struct gmpool_cmdline *cmdline;
	struct reports reports;
	unsigned int accepted = 0;
	struct rnd_state rnd;
	unsigned int i, n;
	char input[32];
	char *rest;
	u64 value;

	gmpool_test_seed(test, &rnd, seed);
	cmdline = kunit_kmalloc(test, sizeof(*cmdline), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cmdline);

	for (n = 0; n < 100000; n++) {
		unsigned int len = gmpool_test_random(&rnd, 1, n % 2 ? 5 : 24);

		for (i = 0; i < len; i++)
			input[i] = alphabet[gmpool_test_random(&rnd, 0, strlen(alphabet) - 1)];
		/* Force long numbers: random ones rarely are. */
		if (n % 4 == 0)
			for (i = 2; i + 1 < len; i++)
				input[i] = '0' + input[i] % 8;
		input[len] = '\0';

		reports = (struct reports){ .test = test, .input = input };
		gmpool_parse_cmdline(input, cmdline, note_report, &reports);
		KUNIT_ASSERT_LE(test, reports.nr, 1);
		value = memparse(input, &rest);

		if (cmdline->all.kind == GMPOOL_SIZE_BYTES) {
			KUNIT_ASSERT_EQ_MSG(test, *rest, '\0', "'%s'", input);
			KUNIT_ASSERT_EQ_MSG(test, cmdline->all.value, value, "'%s'", input);
			accepted++;
		} else if (cmdline->all.kind == GMPOOL_SIZE_PERCENT) {
			KUNIT_ASSERT_STREQ_MSG(test, rest, "%", "'%s'", input);
			KUNIT_ASSERT_EQ_MSG(test, cmdline->all.value, value, "'%s'", input);
		} else if (!*rest && isdigit(input[0]) && value) {
			KUNIT_ASSERT_EQ_MSG(test, reports.report[0].error,
					    GMPOOL_ARG_OVERFLOW, "'%s'", input);
		}
	}
	KUNIT_EXPECT_GT(test, accepted, 1000);
}

/* The accepted parts alone result in the same table, without a report. */
static void bad_parts_change_nothing(struct kunit *test)
{
	static const char * const parts[] = {
		"0:1G", "1:2G", "0:50%", "1:0x1000", "3G", "25%", "fresh",
		"0:1G+1G", "1:2G+10%", "3G+1G", "1:1G+", "+",
		"", ":", "0:", ":1G", "1:1X", "0:0", "2", "0:100%", "x", "99999:1",
	};
	struct gmpool_cmdline *first, *second;
	struct reports reports;
	struct rnd_state rnd;
	char input[256], good[256];
	unsigned int i, n, nr;
	const char *s, *end;

	gmpool_test_seed(test, &rnd, seed);
	for (n = 0; n < 2000; n++) {
		input[0] = '\0';
		nr = gmpool_test_random(&rnd, 1, MAX_BAD);
		for (i = 0; i < nr; i++) {
			if (i)
				strlcat(input, ",", sizeof(input));
			strlcat(input, parts[gmpool_test_random(&rnd, 0, ARRAY_SIZE(parts) - 1)],
				sizeof(input));
		}

		first = parse(test, input, &reports);
		KUNIT_ASSERT_LE(test, reports.nr, nr);
		KUNIT_EXPECT_TRUE(test, first->all.kind == GMPOOL_SIZE_NONE ||
				  !memchr_inv(first->node, 0, sizeof(first->node)));
		KUNIT_EXPECT_TRUE(test, first->all.kind != GMPOOL_SIZE_NONE ||
				  first->growth_all.kind == GMPOOL_SIZE_NONE);

		good[0] = '\0';
		for (i = 0, s = input; ; s = end + 1) {
			end = strchrnul(s, ',');
			if (i < reports.nr && reports.report[i].token == s) {
				i++;
			} else {
				if (good[0])
					strlcat(good, ",", sizeof(good));
				strncat(good, s, end - s);
			}
			if (!*end)
				break;
		}
		KUNIT_ASSERT_EQ_MSG(test, i, reports.nr, "'%s'", input);

		if (good[0]) {
			second = parse(test, good, &reports);
			KUNIT_EXPECT_EQ_MSG(test, reports.nr, 0, "'%s'", good);
			KUNIT_ASSERT_TRUE_MSG(test, same_table(first, second),
					      "'%s' and '%s'", input, good);
			kunit_kfree(test, second);
		} else {
			KUNIT_EXPECT_NULL(test, memchr_inv(first, 0, sizeof(*first)));
		}
		kunit_kfree(test, first);
	}
}

/* Each error has a text of its own: one line, without a full stop. */
static void error_texts(struct kunit *test)
{
	const char *other = gmpool_arg_strerror(GMPOOL_ARG_PERCENT + 1);
	unsigned int a, b;

	KUNIT_ASSERT_NOT_NULL(test, other);
	for (a = GMPOOL_ARG_EMPTY; a <= GMPOOL_ARG_PERCENT; a++) {
		const char *text = gmpool_arg_strerror(a);

		KUNIT_ASSERT_NOT_NULL(test, text);
		KUNIT_EXPECT_GT(test, strlen(text), 0);
		KUNIT_EXPECT_NULL(test, strchr(text, '\n'));
		KUNIT_EXPECT_STRNEQ(test, text, other);
		for (b = GMPOOL_ARG_EMPTY; b < a; b++)
			KUNIT_EXPECT_STRNEQ(test, text, gmpool_arg_strerror(b));
	}
}

static struct kunit_case cmdline_test_cases[] = {
	KUNIT_CASE_PARAM(parse_cmdline, cmdline_gen_params),
	KUNIT_CASE(last_node),
	KUNIT_CASE(long_input),
	KUNIT_CASE(like_memparse),
	KUNIT_CASE(bad_parts_change_nothing),
	KUNIT_CASE(error_texts),
	{}
};

static struct kunit_suite cmdline_test_suite = {
	.name = "gmpool-cmdline",
	.test_cases = cmdline_test_cases,
};

kunit_test_suite(cmdline_test_suite);

MODULE_DESCRIPTION("KUnit tests of the parser of guestmemfs=");
MODULE_LICENSE("GPL");
