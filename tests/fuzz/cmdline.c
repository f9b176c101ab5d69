// SPDX-License-Identifier: GPL-2.0
/*
 * Compares the parser of "guestmemfs=" with a second one, made of regular expressions
 * and numbers of 128 bits, which follows Documentation/admin-guide/kernel-parameters.txt.
 */

#include <regex.h>

#include "../../fs/guestmemfs/numa/cmdline.h"

#define MAX_REPORTS	256

/* As memparse() reads numbers: hexadecimal, octal or decimal, by the prefix. */
#define NUMBER	"(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"
/* Maximal number of digits that are accepted, with the prefix. */
#define DIGITS	32
/* The size of a pool, and that of its growth reserve. */
#define SIZES	NUMBER "([kKmMgGtTpPeE%]?)([+]" NUMBER "([kKmMgGtTpPeE%]?))?"

static regex_t with_node, for_all;

/* Result of the second parser. */
struct expected {
	bool fresh;
	struct gmpool_size all;
	struct gmpool_size node[MAX_NUMNODES];
	struct gmpool_size growth_all;
	struct gmpool_size growth[MAX_NUMNODES];
	bool any_node;
	unsigned int nr_bad;
	const char *bad[MAX_REPORTS];
};

struct reports {
	const char *from;
	size_t len;
	unsigned int nr;
	const char *token[MAX_REPORTS];
};

static void compile(regex_t *regex, const char *pattern)
{
	assert(!regcomp(regex, pattern, REG_EXTENDED));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	compile(&with_node, "^" NUMBER ":" SIZES "$");
	compile(&for_all, "^" SIZES "$");
	return 0;
}

/* The number of a match. Returns false if it does not fit into 64 bits. */
static bool number(const char *s, const regmatch_t *match, u128 *value)
{
	const char *at = s + match->rm_so, *end = s + match->rm_eo;
	unsigned int base = 10;

	if (end - at > DIGITS)
		return false;
	if (end - at > 1 && at[0] == '0' && tolower(at[1]) == 'x') {
		base = 16;
		at += 2;
	} else if (*at == '0') {
		base = 8;
	}
	for (*value = 0; at < end; at++)
		*value = *value * base + (isdigit(*at) ? *at - '0' :
							 tolower(*at) - 'a' + 10);
	return *value <= U64_MAX;
}

static bool size(const char *s, const regmatch_t *match, const regmatch_t *unit,
		 struct gmpool_size *size)
{
	static const char units[] = "kmgtpe";
	char suffix = unit->rm_so < unit->rm_eo ? s[unit->rm_so] : '\0';
	u128 value;

	if (!number(s, match, &value))
		return false;
	if (suffix == '%') {
		size->kind = GMPOOL_SIZE_PERCENT;
		size->value = value;
		return value >= 1 && value <= 99;
	}
	if (suffix)
		value <<= 10 * (strchr(units, tolower(suffix)) - units + 1);
	size->kind = GMPOOL_SIZE_BYTES;
	size->value = value;
	return value && value <= U64_MAX;
}

/* The matches of SIZES. */
static bool sizes(const char *s, const regmatch_t *match, struct gmpool_size *found,
		  struct gmpool_size *growth)
{
	memset(growth, 0, sizeof(*growth));
	return size(s, &match[0], &match[1], found) &&
	       (match[2].rm_so < 0 || size(s, &match[3], &match[4], growth));
}

/* Returns true if a part of the value counts. */
static bool part(const char *s, struct expected *want)
{
	struct gmpool_size found, growth;
	u128 nid;
	regmatch_t match[7];

	if (!strcmp(s, "fresh")) {
		want->fresh = true;
		return true;
	}
	if (!regexec(&with_node, s, 7, match, 0)) {
		if (!number(s, &match[1], &nid) || nid >= MAX_NUMNODES ||
		    !sizes(s, &match[2], &found, &growth) ||
		    want->all.kind || want->node[nid].kind)
			return false;
		want->node[nid] = found;
		want->growth[nid] = growth;
		want->any_node = true;
		return true;
	}
	if (regexec(&for_all, s, 6, match, 0) ||
	    !sizes(s, &match[1], &found, &growth) || want->any_node ||
	    want->all.kind)
		return false;
	want->all = found;
	want->growth_all = growth;
	return true;
}

static void parse(const char *s, struct expected *want)
{
	size_t len;
	char *copy;

	for (;; s += len + 1) {
		len = strcspn(s, ",");
		copy = strndup(s, len);
		if (!part(copy, want) && want->nr_bad < MAX_REPORTS)
			want->bad[want->nr_bad++] = s;
		free(copy);
		if (!s[len])
			return;
	}
}

static void report(void *ctx, const char *token, int len,
		   enum gmpool_arg_error error)
{
	struct reports *reports = ctx;

	assert(token >= reports->from && len >= 0 &&
	       token + len <= reports->from + reports->len);
	assert(!memchr(token, ',', len) && (!token[len] || token[len] == ','));
	assert(strcmp(gmpool_arg_strerror(error), "is not understood"));
	if (reports->nr < MAX_REPORTS)
		reports->token[reports->nr++] = token;
}

static void differ(const char *s, const char *what, u64 is, u64 want)
{
	fprintf(stderr, "guestmemfs=%s: %s is %llu, should be %llu\n", s, what, is,
		want);
	abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	static struct gmpool_cmdline cmdline;
	struct reports reports = {};
	struct expected want = {};
	unsigned int i;
	int nr_bad;
	char *s;

	/* In memory that ends with the string, so that ASan finds an overrun. */
	s = strndup((const char *)data, len);
	reports.from = s;
	reports.len = strlen(s);
	memset(&cmdline, 0xa5, sizeof(cmdline));
	nr_bad = gmpool_parse_cmdline(s, &cmdline, report, &reports);
	parse(s, &want);

	if (cmdline.fresh != want.fresh)
		differ(s, "fresh", cmdline.fresh, want.fresh);
	if (cmdline.all.kind != want.all.kind || cmdline.all.value != want.all.value)
		differ(s, "the size for all", cmdline.all.value, want.all.value);
	if (cmdline.growth_all.kind != want.growth_all.kind ||
	    cmdline.growth_all.value != want.growth_all.value)
		differ(s, "the reserve for all", cmdline.growth_all.value,
		       want.growth_all.value);
	for (i = 0; i < MAX_NUMNODES; i++) {
		if (cmdline.node[i].kind != want.node[i].kind ||
		    cmdline.node[i].value != want.node[i].value)
			differ(s, "the size of a node", cmdline.node[i].value,
			       want.node[i].value);
		if (cmdline.growth[i].kind != want.growth[i].kind ||
		    cmdline.growth[i].value != want.growth[i].value)
			differ(s, "the reserve of a node", cmdline.growth[i].value,
			       want.growth[i].value);
	}
	for (i = 0; i < max(reports.nr, want.nr_bad); i++)
		if (reports.token[i] != want.bad[i])
			differ(s, "the place of a wrong part",
			       reports.token[i] - s, want.bad[i] - s);
	if (nr_bad < MAX_REPORTS && nr_bad != want.nr_bad)
		differ(s, "the number of wrong parts", nr_bad, want.nr_bad);
	free(s);
	return 0;
}

/* Values of the grammar, and some that nearly match it. */

size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t max_size);

static u64 state;

static unsigned int rnd(unsigned int below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static int make_number(char *at, size_t room)
{
	static const char * const odd[] = {
		"", "0x", "08", "0x1G", "-1", "+1", " 1", "1 ", "18446744073709551615",
		"18446744073709551616", "0xffffffffffffffff", "01777777777777777777777",
		"02000000000000000000000", "00000000000000000000000000000001",
		"000000000000000000000000000000001", "63", "64", "1023", "0x3f",
	};

	switch (rnd(6)) {
	case 0:
		return snprintf(at, room, "%s", odd[rnd(ARRAY_SIZE(odd))]);
	case 1:
		return snprintf(at, room, rnd(2) ? "0x%llx" : "0%llo",
				(unsigned long long)state >> rnd(64));
	case 2:
		return snprintf(at, room, "%llu",
				(unsigned long long)state >> rnd(64));
	default:
		return snprintf(at, room, "%u", rnd(rnd(4) ? 8 : 120));
	}
}

static int make_part(char *at, size_t room)
{
	static const char * const ends[] = {
		"", "k", "K", "m", "M", "g", "G", "t", "T", "p", "P", "e", "E", "%",
		"%%", "GG", "B", "KB", ":", "%G",
	};
	int len = 0;

	if (!rnd(12))
		return snprintf(at, room, "%s", rnd(4) ? "fresh" : "Fresh");
	if (rnd(3)) {
		len += make_number(at, room);
		len += snprintf(at + len, room - len, ":");
	}
	len += make_number(at + len, room - len);
	len += snprintf(at + len, room - len, "%s", ends[rnd(ARRAY_SIZE(ends))]);
	if (!rnd(3)) {
		len += snprintf(at + len, room - len, "+");
		len += make_number(at + len, room - len);
		len += snprintf(at + len, room - len, "%s", ends[rnd(ARRAY_SIZE(ends))]);
	}
	return len;
}

size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size,
			       unsigned int seed)
{
	unsigned int parts, len = 0;
	char text[512];

	state = seed * 0x9e3779b97f4a7c15ULL + 1;
	if (rnd(2))
		return LLVMFuzzerMutate(data, size, max_size);
	for (parts = 1 + rnd(4); parts; parts--) {
		len += make_part(text + len, sizeof(text) - len);
		if (parts > 1)
			len += snprintf(text + len, sizeof(text) - len, ",");
	}
	/* In place of the whole input, or appended to it. */
	if (rnd(2))
		size = 0;
	len = min_t(size_t, len, max_size - size);
	memcpy(data + size, text, len);
	return size + len;
}
