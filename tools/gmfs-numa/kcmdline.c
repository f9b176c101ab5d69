// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel command lines, read as the kernel reads them: lib/cmdline.c:next_arg() and
 * kernel/params.c:parse_args().
 */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gmfs-numa.h"

/* COMMAND_LINE_SIZE of x86-64, with the terminator: the kernel drops what is behind. */
#define LINE_SIZE	2048

/* As lib/ctype.c has it, whatever the locale: a byte of UTF-8 can be a blank. */
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

/*
 * Takes the next parameter from a line, which is changed. Quotes can be around all
 * of it or around its value, and are removed; blanks within quotes separate nothing.
 * *value is NULL without a "=". Returns the rest of the line.
 */
static char *next_parameter(char *at, char **name, char **value)
{
	bool quoted = *at == '"', in_quote = quoted;
	size_t i, equals = 0;

	at += quoted;
	for (i = 0; at[i]; i++) {
		if (is_blank(at[i]) && !in_quote)
			break;
		if (!equals && at[i] == '=')
			equals = i;
		if (at[i] == '"')
			in_quote = !in_quote;
	}

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
static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
			return false;
	return *a == *b;
}

void kcmdline_each(const char *line, const char *name,
		   void (*fn)(const char *value, void *data), void *data)
{
	char *copy = xstrdup(line), *rest, *found, *value;

	if (strlen(copy) >= LINE_SIZE)
		copy[LINE_SIZE - 1] = '\0';
	rest = skip_blanks(copy);
	while (*rest) {
		rest = next_parameter(rest, &found, &value);
		/* What follows is for init. */
		if (!value && !strcmp(found, "--"))
			break;
		if (same_name(found, name))
			fn(value, data);
	}
	free(copy);
}

static void look_for_fresh(const char *value, void *data)
{
	char *copy = xstrdup(value ? value : ""), *rest = copy, *word;
	bool *fresh = data;

	while ((word = strsep(&rest, ",")))
		*fresh |= !strcmp(word, "fresh");
	free(copy);
}

bool kcmdline_says_fresh(const char *line)
{
	bool fresh = false;

	/* The kernel joins the values of all occurrences. */
	kcmdline_each(line, "guestmemfs", look_for_fresh, &fresh);
	return fresh;
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
