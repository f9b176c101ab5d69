// SPDX-License-Identifier: GPL-2.0
/*
 * Compares gmfs-numa's reader of kernel command lines with the kernel's next_arg(), in
 * the loop of parse_args().
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
	free(tool.text);
	free(kernel.text);
	free(line);
	return 0;
}
