// SPDX-License-Identifier: GPL-2.0
/*
 * Text of files that have the kernel's command line: our words come into it, and lines
 * out of it.
 */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader.h"

#define OUR_COMMENT	"# Written by gmfs-numa plan --apply."

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

bool boot_is_comment(const char *line)
{
	return line[strspn(line, " \t")] == '#';
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
		if (boot_is_comment(at) || (one_line && at != old))
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

unsigned int boot_open_quote(const char *text, bool one_line)
{
	unsigned int number = 1;
	const char *at = text;
	bool open = false;

	for (; *at && !(one_line && number > 1); number++) {
		const char *end = strchrnul(at, '\n');
		bool comment = boot_is_comment(at);

		for (; at < end; at++)
			open ^= !comment && *at == '"';
		if (open)
			return number;
		at += !!*at;
	}
	return 0;
}

char *boot_as_line(const char *text, bool one_line, bool comments)
{
	struct buffer line = { };
	const char *at, *next;

	buffer_add(&line, "", 0);
	for (at = text; *at; at = next + !!*next) {
		next = strchrnul(at, '\n');
		if (comments || !boot_is_comment(at)) {
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

/* Goes on behind a text, if it is there. */
static bool skip_text(const char **at, const char *text)
{
	size_t len = strlen(text);
	bool there = !strncmp(*at, text, len);

	if (there)
		*at += len;
	return there;
}

/* The same with the end of a line, also as other systems have it. */
static bool skip_line_end(const char **at)
{
	const char *end = *at + (**at == '\r');

	if (*end && *end != '\n')
		return false;
	*at = end + !!*end;
	return true;
}

static bool skip_value(const char **at)
{
	size_t len = strcspn(*at, " \t\r\n\"'`$\\;#");

	*at += len;
	return len;
}

/* The assignment as this tool writes it, with any values. What has other words is not ours. */
static bool skip_our_assignment(const char **line, const char *variable)
{
	const char *at = *line;

	if (!skip_text(&at, variable) || !skip_text(&at, "=\"$") || !skip_text(&at, variable) ||
	    !skip_text(&at, " kho=") || !skip_value(&at) ||
	    !skip_text(&at, " guestmemfs=") || !skip_value(&at) ||
	    !skip_text(&at, "\"") || !skip_line_end(&at))
		return false;
	*line = at;
	return true;
}

/* The shell file without what earlier runs have added to it, or with empty lines for it. */
static char *without_our_assignments(const char *old, const char *variable, bool empty_lines)
{
	struct buffer kept = { };
	const char *at = old, *next;

	buffer_add(&kept, "", 0);
	for (; *at; at = next) {
		next = at;
		if (skip_text(&next, OUR_COMMENT) && skip_line_end(&next)) {
			buffer_add(&kept, "\n", empty_lines);
			if (skip_our_assignment(&next, variable))
				buffer_add(&kept, "\n", empty_lines);
			continue;
		}
		next = strchrnul(at, '\n');
		next += !!*next;
		buffer_add(&kept, at, next - at);
	}
	return kept.text;
}

char *boot_edit_shell(const char *old, const char *variable, const char *words)
{
	char *rest = without_our_assignments(old, variable, !words), *text;

	if (!words || !*words)
		return rest;
	text = xasprintf("%s%s" OUR_COMMENT "\n%s=\"$%s %s\"\n", rest,
			 *rest && rest[strlen(rest) - 1] != '\n' ? "\n" : "", variable, variable,
			 words);
	free(rest);
	return text;
}

/* --- GRUB's configuration --- */

/*
 * Within double quotes, of which *at is behind the first: up to the last. As everywhere
 * here: false if GRUB would not take it as it is, and *@at is at the character.
 */
static bool grub_double_quotes(const char **at, struct buffer *word)
{
	const char *start = *at - 1;

	for (; **at != '"'; ++*at) {
		if (!**at)
			*at = start;
		if (*at == start || **at == '$')
			return false;
		if (**at == '\\' && (*at)[1] && strchr("$\\\"", (*at)[1]))
			++*at;
		buffer_add(word, *at, 1);
	}
	++*at;
	return true;
}

/* A word, up to a blank. */
static bool grub_word(const char **at, struct buffer *word)
{
	const char *end;

	if (**at == '#')
		return false;
	while (**at && !strchr(" \t", **at)) {
		if (strchr("{}|&;<>$", **at))
			return false;
		if (**at == '"') {
			++*at;
			if (!grub_double_quotes(at, word))
				return false;
		} else if (**at == '\'') {
			end = strchr(*at + 1, '\'');
			if (!end)
				return false;
			buffer_add(word, *at + 1, end - *at - 1);
			*at = end + 1;
		} else {
			/* At the end of a line, it would join the next one to it. */
			if (**at == '\\' && !(*at)[1])
				return false;
			*at += **at == '\\';
			buffer_add(word, (*at)++, 1);
		}
	}
	return true;
}

/* As GRUB's grub_create_loader_cmdline() does it: in quotes if there are blanks in it. */
static void grub_put_word(struct buffer *line, const char *word)
{
	bool quotes = strchr(word, ' ');

	buffer_add(line, " ", !!line->len);
	buffer_add(line, "\"", quotes);
	for (; *word; word++) {
		bool is_byte = word[0] == '\\' && word[1] == 'x' &&
			       isxdigit((unsigned char)word[2]) && isxdigit((unsigned char)word[3]);

		if (strchr("\\'\"", *word) && !is_byte)
			buffer_add(line, "\\", 1);
		buffer_add(line, word, 1);
	}
	buffer_add(line, "\"", quotes);
}

/* By the rules of grub-core/script/yylex.l, in which a "#" within a word is no comment. */
char *boot_grub_line(const char *line, char *culprit)
{
	struct buffer all = { }, word;
	const char *at = line;
	bool taken = true;

	buffer_add(&all, "", 0);
	while (taken && *(at += strspn(at, " \t"))) {
		word = (struct buffer){ };
		buffer_add(&word, "", 0);
		taken = grub_word(&at, &word);
		if (taken)
			grub_put_word(&all, word.text);
		free(word.text);
	}
	if (taken)
		return all.text;
	*culprit = *at;
	free(all.text);
	return NULL;
}
