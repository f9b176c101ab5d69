// SPDX-License-Identifier: GPL-2.0
/*
 * Compares gmfs-numa's reader of kernel command lines with the kernel's next_arg(), in
 * the loop of parse_args(), and its reader of words in files with both.
 */

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/gmfs-numa/gmfs-numa.h"

char *skip_spaces(const char *s);
char *next_arg(char *args, char **param, char **val);

/* Parameters one after another: the name, a mark for a value, the value. */
struct seen {
	char *text;
	size_t size;
	FILE *out;
};

static void seen_begin(struct seen *seen)
{
	seen->out = open_memstream(&seen->text, &seen->size);
	assert(seen->out);
}

static void seen_add(const char *name, const char *value, void *data)
{
	struct seen *seen = data;

	fprintf(seen->out, "<%s>%s<%s>\n", name, value ? "=" : " ", value ? value : "");
}

/* As parse_args() of kernel/params.c, with a line that is cut at its maximal length. */
static void kernel_all(const char *line, struct seen *seen)
{
	char copy[KCMDLINE_SIZE], *name, *value, *at;

	snprintf(copy, sizeof(copy), "%s", line);
	for (at = skip_spaces(copy); *at; ) {
		at = next_arg(at, &name, &value);
		if (!value && !strcmp(name, "--"))
			return;
		seen_add(name, value, seen);
	}
}

struct count {
	size_t all, ours;
};

static void count_one(const char *name, const char *value, void *data)
{
	struct count *count = data;

	(void)value;
	count->all++;
	count->ours += kcmdline_same_name(name, "guestmemfs") || kcmdline_same_name(name, "kho");
}

/*
 * Words of a file have nothing but blanks of ASCII between them. They are the parameters
 * of the kernel, except where it takes a byte for a blank that is not of ASCII.
 */
static void check_words(const char *line)
{
	static const char blanks[] = " \t\n\v\f\r";
	struct count words = { }, parameters = { };
	struct kcmdline_word word;
	const char *at = line, *done = line;
	bool ended = false;

	while (kcmdline_next_word(&at, &word)) {
		assert(word.length && word.start == done + strspn(done, blanks));
		assert(at == word.start + word.length && (!*at || strchr(blanks, *at)));
		done = at;
		ended |= word.ends_line;
		words.all += !ended;
		words.ours += !ended && word.ours;
	}
	assert(!done[strspn(done, blanks)]);
	kcmdline_all(line, count_one, &parameters);
	if (!strchr(line, '\xa0') && strlen(line) < KCMDLINE_SIZE)
		assert(words.all == parameters.all && words.ours == parameters.ours);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = strndup((const char *)data, size);
	struct seen tool, kernel;

	assert(line);
	seen_begin(&tool);
	seen_begin(&kernel);
	kcmdline_all(line, seen_add, &tool);
	kernel_all(line, &kernel);
	fclose(tool.out);
	fclose(kernel.out);
	if (strcmp(tool.text, kernel.text)) {
		fprintf(stderr, "kcmdline.c: the tool reads\n%sand the kernel\n%s", tool.text,
			kernel.text);
		abort();
	}
	check_words(line);
	free(tool.text);
	free(kernel.text);
	free(line);
	return 0;
}
