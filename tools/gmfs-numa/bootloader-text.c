// SPDX-License-Identifier: GPL-2.0
/*
 * Text of files that have the kernel's command line: our words come into it, and lines
 * out of it.
 */

#include <stdlib.h>
#include <string.h>

#include "bootloader.h"

#define OUR_COMMENT	"# Written by gmfs-numa plan --apply.\n"

/* --- words of a line --- */

/* A growing text. */
struct buffer {
	char *text;
	size_t len;
};

static void buffer_add(struct buffer *buffer, const char *text, size_t len)
{
	buffer->text = xrealloc(buffer->text, buffer->len + len + 1);
	memcpy(buffer->text + buffer->len, text, len);
	buffer->len += len;
	buffer->text[buffer->len] = '\0';
}

/*
 * A line without words of ours, and those of a boot loader if asked for; anything else
 * stays as it is. *end is where "--" is in it, or the end of what is no blank.
 */
static char *strip_line(const char *line, size_t len, bool loaders, size_t *end, bool *ended)
{
	char *copy = xasprintf("%.*s", (int)len, line);
	struct buffer kept = { };
	const char *at = copy, *done = copy;
	struct kcmdline_word word;

	buffer_add(&kept, "", 0);
	while (!*ended && kcmdline_next_word(&at, &word)) {
		*ended = word.ends_line;
		if (!word.ours && !(loaders && word.loaders)) {
			/* With the blanks in front of it, but of a word that comes to the front. */
			if (!kept.len && done != copy)
				done = word.start;
			buffer_add(&kept, done, (*ended ? word.start : at) - done);
			*end = kept.len;
			if (*ended)
				buffer_add(&kept, word.start, word.length);
		}
		done = at;
	}
	buffer_add(&kept, done, strlen(done));
	free(copy);
	return kept.text;
}

struct line_edit {
	struct buffer out;
	size_t place;		/* for our words */
	bool found;		/* there is such a place */
	bool ended;		/* by "--" */
};

static void edit_line(struct line_edit *edit, const char *line, size_t len, bool loaders)
{
	size_t end = 0;
	bool ended_before = edit->ended;
	char *kept = strip_line(line, len, loaders, &end, &edit->ended);
	size_t left = strspn(kept, " \t\r\n");

	if (!ended_before && (end || edit->ended)) {
		edit->place = edit->out.len + end;
		edit->found = true;
	}
	/* A line that has had nothing but our words goes. */
	if (kept[left] || strspn(line, " \t\r\n") >= len)
		buffer_add(&edit->out, kept, strlen(kept));
	free(kept);
}

char *boot_edit(const char *old, const char *words, bool one_line, bool loaders)
{
	struct line_edit edit = { };
	const char *at, *next;
	char *text;
	size_t gap;

	buffer_add(&edit.out, "", 0);
	for (at = old; *at; at = next) {
		next = strchrnul(at, '\n');
		next += !!*next;
		if (*at == '#' || (one_line && at != old))
			buffer_add(&edit.out, at, next - at);
		else
			edit_line(&edit, at, next - at, loaders);
	}
	if (!*words)
		return edit.out.text;
	if (!edit.found) {
		text = xasprintf("%s%s%s\n", edit.out.text, edit.out.len &&
				 edit.out.text[edit.out.len - 1] != '\n' ? "\n" : "", words);
	} else {
		gap = edit.place && !strchr(" \t\n", edit.out.text[edit.place - 1]);
		text = xasprintf("%.*s%s%s%s%s", (int)edit.place, edit.out.text, gap ? " " : "",
				 words, edit.ended ? " " : "", edit.out.text + edit.place);
	}
	free(edit.out.text);
	return text;
}

char *boot_as_line(const char *text, bool one_line, bool comments)
{
	struct buffer line = { };
	const char *at, *next;

	buffer_add(&line, "", 0);
	for (at = text; *at; at = next + !!*next) {
		next = strchrnul(at, '\n');
		if (*at != '#' || comments) {
			buffer_add(&line, at, next - at);
			buffer_add(&line, " ", 1);
		}
		if (one_line)
			break;
	}
	while (line.len && line.text[line.len - 1] == ' ')
		line.text[--line.len] = '\0';
	return line.text;
}

/* --- assignments in shell files --- */

/* The shell file without what an earlier run has added to it. */
static char *without_our_assignment(const char *old)
{
	const char *start = strstr(old, OUR_COMMENT), *end;

	if (!start)
		return xstrdup(old);
	end = strchrnul(start + strlen(OUR_COMMENT), '\n');
	end += !!*end;
	return xasprintf("%.*s%s", (int)(start - old), old, end);
}

char *boot_edit_shell(const char *old, const char *variable, const char *words)
{
	char *rest = without_our_assignment(old), *text;

	if (!*words)
		return rest;
	text = xasprintf("%s%s" OUR_COMMENT "%s=\"$%s %s\"\n", rest,
			 *rest && rest[strlen(rest) - 1] != '\n' ? "\n" : "", variable, variable,
			 words);
	free(rest);
	return text;
}
