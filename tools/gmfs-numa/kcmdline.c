// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel command lines, read as the kernel reads them: lib/cmdline.c:next_arg() and
 * kernel/params.c:parse_args().
 */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gmfs-numa.h"

/* As lib/ctype.c has it, regardless of the locale: a byte of UTF-8 can be a blank. */
static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '\xa0';
}

static char *skip_blanks(char *at)
{
	while (is_blank(*at))
		at++;
	return at;
}

/* In a file, a byte of UTF-8 belongs to the word that it is in. */
static bool is_ascii_blank(char c)
{
	return c != '\xa0' && is_blank(c);
}

/* How long the parameter at the start of a line is, its quotes included. */
static size_t parameter_length(const char *at, bool (*is_end)(char c))
{
	bool in_quote = false;
	size_t i;

	for (i = 0; at[i] && (in_quote || !is_end(at[i])); i++)
		if (at[i] == '"')
			in_quote = !in_quote;
	return i;
}

/*
 * Takes the next parameter from a line, which is changed. Quotes can be around all
 * of it or around its value, and are removed; blanks within quotes separate nothing.
 * *value is NULL without a "=". Returns the rest of the line.
 */
static char *next_parameter(char *at, char **name, char **value)
{
	size_t i = parameter_length(at, is_blank), equals;
	bool quoted = *at == '"';
	char *sign;

	at += quoted;
	i -= quoted;
	/* A parameter without a name is one without a value. */
	sign = i ? memchr(at + 1, '=', i - 1) : NULL;
	equals = sign ? sign - at : 0;

	*name = at;
	*value = NULL;
	if (equals) {
		at[equals] = '\0';
		*value = at + equals + 1;
		if (**value == '"') {
			++*value;
			if (at[i - 1] == '"')
				at[i - 1] = '\0';
		}
	}
	if (quoted && i && at[i - 1] == '"')
		at[i - 1] = '\0';
	if (at[i])
		at[i++] = '\0';
	return skip_blanks(at + i);
}

/* The kernel takes dash and underscore for the same in names. */
bool kcmdline_same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
			return false;
	return *a == *b;
}

void kcmdline_all(const char *line,
		  void (*fn)(const char *name, const char *value, void *data), void *data)
{
	char *copy = xstrdup(line), *rest, *name, *value;

	if (strlen(copy) >= KCMDLINE_SIZE)
		copy[KCMDLINE_SIZE - 1] = '\0';
	rest = skip_blanks(copy);
	while (*rest) {
		rest = next_parameter(rest, &name, &value);
		/* The rest is for init. */
		if (!value && !strcmp(name, "--"))
			break;
		fn(name, value, data);
	}
	free(copy);
}

uint64_t kcmdline_size(const char *text, const char **end)
{
	static const char units[] = "KMGTPE";
	uint64_t size;
	const char *unit;
	char *at;

	size = strtoull(text, &at, 0);
	unit = *at ? strchr(units, *at >= 'a' ? *at - 'a' + 'A' : *at) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unit - units + 1);

		size = size > KCMDLINE_MAX_BYTES >> shift ? KCMDLINE_MAX_BYTES : size << shift;
		at++;
	}
	*end = at;
	return size;
}

struct filter {
	const char *name;
	void (*fn)(const char *value, void *data);
	void *data;
};

static void call_if_named(const char *name, const char *value, void *data)
{
	const struct filter *filter = data;

	if (kcmdline_same_name(name, filter->name))
		filter->fn(value, filter->data);
}

void kcmdline_each(const char *line, const char *name,
		   void (*fn)(const char *value, void *data), void *data)
{
	struct filter filter = { name, fn, data };

	kcmdline_all(line, call_if_named, &filter);
}

bool kcmdline_next_word(const char **at, struct kcmdline_word *word)
{
	char *copy, *name, *value;
	bool whole;

	while (is_ascii_blank(**at))
		++*at;
	if (!**at)
		return false;
	word->start = *at;
	word->length = parameter_length(*at, is_ascii_blank);
	*at += word->length;
	copy = xasprintf("%.*s", (int)word->length, word->start);
	/* More than one parameter to the kernel: what follows the first is not ours. */
	whole = parameter_length(copy, is_blank) == word->length;
	next_parameter(copy, &name, &value);
	word->ends_line = !value && !strcmp(name, "--");
	word->ours = whole && (kcmdline_same_name(name, "guestmemfs") ||
			       kcmdline_same_name(name, "kho"));
	word->loaders = whole && value &&
			(!strcmp(name, "BOOT_IMAGE") || !strcmp(name, "initrd"));
	free(copy);
	return true;
}

static void join_value(const char *value, void *data)
{
	char **joined = data;

	*joined = *joined ? join(*joined, ",", value ? value : "") : xstrdup(value ? value : "");
}

char *kcmdline_pools(const char *line)
{
	char *joined = NULL;

	kcmdline_each(line, "guestmemfs", join_value, &joined);
	return joined;
}

bool kcmdline_says_fresh(const char *line)
{
	char *copy = kcmdline_pools(line), *rest = copy, *word;
	bool fresh = false;

	while ((word = strsep(&rest, ",")))
		fresh |= !strcmp(word, "fresh");
	free(copy);
	return fresh;
}

/* The first part that names a node counts, or that for all nodes. */
bool kcmdline_has_growth(const char *line, int nid)
{
	char *copy = kcmdline_pools(line), *rest = copy, *word, *colon, *end;
	bool has = false, found = false;

	while (!found && (word = strsep(&rest, ","))) {
		if (!strcmp(word, "fresh"))
			continue;
		colon = strchr(word, ':');
		/* As the kernel reads a number: octal or hexadecimal by its prefix. */
		if (colon && (strtol(word, &end, 0) != nid || end != colon))
			continue;
		found = true;
		has = strchr(word, '+');
	}
	free(copy);
	return has;
}

/* As kstrtobool() in the kernel; what is neither changes nothing. */
static void take_bool(const char *value, void *data)
{
	int *on = data;

	if (!value || !*value)
		return;
	if (strchr("eEyYtT1", *value) || !strncasecmp(value, "on", 2))
		*on = 1;
	else if (strchr("dDnNfF0", *value) || !strncasecmp(value, "of", 2))
		*on = 0;
}

int kcmdline_says_kho(const char *line)
{
	int on = -1;

	kcmdline_each(line, "kho", take_bool, &on);
	return on;
}

bool kcmdline_says_luo(const char *line)
{
	int on = 0;

	kcmdline_each(line, "liveupdate", take_bool, &on);
	return on;
}
