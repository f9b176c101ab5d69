// SPDX-License-Identifier: GPL-2.0
/*
 * A reader of JSON (RFC 8259). What it reads comes from a program that a guest may have
 * taken over, so it bounds depth, and takes nothing that is not JSON. The caller bounds
 * the length.
 */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"
#include "json.h"

#define MAX_DEPTH	32

static struct json *parse_value(const char **at, unsigned int depth);

static void skip_blanks(const char **at)
{
	*at += strspn(*at, " \t\r\n");
}

/* Goes behind @word, if that is what follows. */
static bool take(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len))
		return false;
	*at += len;
	return true;
}

/* Four hexadecimal digits, or -1. */
static long hex4(const char *at)
{
	char digits[5] = "";

	if (strspn(at, "0123456789abcdefABCDEF") < 4)
		return -1;
	memcpy(digits, at, 4);
	return strtol(digits, NULL, 16);
}

/* Behind "\u": a character of Unicode, which takes a pair of these above U+FFFF, or -1. */
static long take_unicode(const char **at)
{
	long c = hex4(*at), low;

	if (c < 0)
		return -1;
	*at += 4;
	if (c < 0xd800 || c > 0xdfff)
		return c;
	if (c > 0xdbff || !take(at, "\\u"))
		return -1;
	low = hex4(*at);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	*at += 4;
	return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/* Bytes that were written: at most as many as the escape sequence has. */
static size_t put_utf8(char *to, unsigned long c)
{
	if (c < 0x80) {
		to[0] = c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = 0xc0 | c >> 6;
		to[1] = 0x80 | (c & 0x3f);
		return 2;
	}
	if (c < 0x10000) {
		to[0] = 0xe0 | c >> 12;
		to[1] = 0x80 | (c >> 6 & 0x3f);
		to[2] = 0x80 | (c & 0x3f);
		return 3;
	}
	to[0] = 0xf0 | c >> 18;
	to[1] = 0x80 | (c >> 12 & 0x3f);
	to[2] = 0x80 | (c >> 6 & 0x3f);
	to[3] = 0x80 | (c & 0x3f);
	return 4;
}

/* Behind the backslash: the character, or -1. One of value 0 would end the text. */
static long take_escape(const char **at)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *name;
	long c;

	if (take(at, "u")) {
		c = take_unicode(at);
		return c ? c : -1;
	}
	name = **at ? strchr(names, **at) : NULL;
	if (!name)
		return -1;
	++*at;
	return values[name - names];
}

/* From the quote on. NULL if it is no string. */
static char *parse_string(const char **at)
{
	size_t room = 0, len = 0;
	char *text;
	long c;

	if (!take(at, "\""))
		return NULL;
	/* An escape sequence is longer than what it stands for. */
	while ((*at)[room] && (*at)[room] != '"')
		room += (*at)[room] == '\\' && (*at)[room + 1] ? 2 : 1;
	text = xmalloc(room + 1);
	while (**at != '"') {
		if ((unsigned char)**at < ' ')
			goto bad;
		if (**at != '\\') {
			text[len++] = *(*at)++;
			continue;
		}
		++*at;
		c = take_escape(at);
		if (c < 0)
			goto bad;
		len += put_utf8(text + len, c);
	}
	++*at;
	text[len] = '\0';
	return text;
bad:
	free(text);
	return NULL;
}

static size_t count_digits(const char *at)
{
	return strspn(at, "0123456789");
}

/* All numbers of JSON are read; those that are no uint64_t have no value here. */
static bool parse_json_number(const char **at, uint64_t *number)
{
	const char *start = *at, *p = start + (*start == '-');
	size_t digits = count_digits(p);
	char *integer;

	*number = NUMBER_UNKNOWN;
	if (!digits || (*p == '0' && digits > 1))
		return false;
	p += digits;
	if (*p != '.' && *p != 'e' && *p != 'E') {
		integer = xasprintf("%.*s", (int)(p - start), start);
		if (!parse_number(integer, number))
			*number = NUMBER_UNKNOWN;
		free(integer);
		*at = p;
		return true;
	}
	if (*p == '.') {
		digits = count_digits(++p);
		if (!digits)
			return false;
		p += digits;
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '+' || *p == '-';
		digits = count_digits(p);
		if (!digits)
			return false;
		p += digits;
	}
	*at = p;
	return true;
}

/* Behind "[" or "{" up to the end of it. False if it does not follow the grammar. */
static bool parse_items(const char **at, struct json *value, unsigned int depth)
{
	const char *end = value->type == JSON_ARRAY ? "]" : "}";
	struct json **last = &value->items;
	char *name = NULL;

	skip_blanks(at);
	if (take(at, end))
		return true;
	for (;;) {
		if (value->type == JSON_OBJECT) {
			skip_blanks(at);
			name = parse_string(at);
			if (!name)
				return false;
			skip_blanks(at);
			if (!take(at, ":")) {
				free(name);
				return false;
			}
		}
		*last = parse_value(at, depth + 1);
		if (!*last) {
			free(name);
			return false;
		}
		(*last)->name = name;
		last = &(*last)->next;
		skip_blanks(at);
		if (take(at, end))
			return true;
		if (!take(at, ","))
			return false;
	}
}

static bool parse_into(const char **at, struct json *value, unsigned int depth)
{
	if (take(at, "null"))
		return true;
	if (take(at, "true") || take(at, "false")) {
		value->type = JSON_BOOL;
		return true;
	}
	if (**at == '"') {
		value->type = JSON_STRING;
		value->text = parse_string(at);
		return value->text;
	}
	if (take(at, "[")) {
		value->type = JSON_ARRAY;
		return depth < MAX_DEPTH && parse_items(at, value, depth);
	}
	if (take(at, "{")) {
		value->type = JSON_OBJECT;
		return depth < MAX_DEPTH && parse_items(at, value, depth);
	}
	value->type = JSON_NUMBER;
	return parse_json_number(at, &value->number);
}

static struct json *parse_value(const char **at, unsigned int depth)
{
	struct json *value = xcalloc(1, sizeof(*value));

	skip_blanks(at);
	if (parse_into(at, value, depth))
		return value;
	json_free(value);
	return NULL;
}

struct json *json_parse(const char *text)
{
	struct json *value = parse_value(&text, 0);

	skip_blanks(&text);
	if (!*text)
		return value;
	json_free(value);
	return NULL;
}

void json_free(struct json *value)
{
	struct json *next;

	for (; value; value = next) {
		next = value->next;
		json_free(value->items);
		free(value->name);
		free(value->text);
		free(value);
	}
}

const struct json *json_member(const struct json *value, const char *name)
{
	const struct json *item;

	if (!value || value->type != JSON_OBJECT)
		return NULL;
	for (item = value->items; item; item = item->next)
		if (!strcmp(item->name, name))
			return item;
	return NULL;
}

const char *json_text(const struct json *value, const char *name)
{
	const struct json *member = json_member(value, name);

	return member && member->type == JSON_STRING ? member->text : NULL;
}

uint64_t json_number(const struct json *value, const char *name)
{
	const struct json *member = json_member(value, name);

	return member && member->type == JSON_NUMBER ? member->number : NUMBER_UNKNOWN;
}
