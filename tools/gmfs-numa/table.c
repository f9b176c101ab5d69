// SPDX-License-Identifier: GPL-2.0
/*
 * Tables as lsmem(1) and lsblk(8) print them.
 *
 * Unlike there, JSON has sizes as numbers of bytes, with or without --bytes: it is
 * for programs. It is written here, for libsmartcols takes text for UTF-8 that can be
 * anything, such as names of files, and has no objects in columns. So is raw output, as
 * text for people has blanks in the last column.
 */

#include <argp.h>
#include <ctype.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gmfs-numa.h"

/* What a cell without anything is with --raw, so that others keep their place. */
#define NOTHING		"-"

struct table {
	struct libscols_table *scols;
	struct libscols_line *line;
	const struct column *columns;
	size_t nr;
	bool json;
	bool raw;
	bool noheadings;
	/* Place of each column in the table, or -1. */
	int *place;
	/* The columns by their place; for JSON and raw, values by row and place, or NULL. */
	const struct column **shown;
	size_t nr_shown;
	char ***rows;
	size_t nr_rows;
};

static size_t find_column(const struct column *columns, size_t nr, const char *name,
			  size_t len)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (strlen(columns[i].name) == len && !strncasecmp(columns[i].name, name, len))
			return i;
	return nr;
}

static void unknown_column(const struct column *columns, size_t nr, const char *name,
			   size_t len)
{
	char *known = NULL;
	size_t i;

	for (i = 0; i < nr; i++)
		known = join(known, ", ", columns[i].name);
	fatal(EX_USAGE, "there is no column '%.*s'; columns are: %s", (int)len, name, known);
}

static void add_column(struct table *table, size_t i)
{
	const struct column *column = &table->columns[i];

	if (table->place[i] >= 0)
		return;
	table->place[i] = table->nr_shown;
	table->shown[table->nr_shown++] = column;
	if (!scols_table_new_column(table->scols, column->name, 0,
				    column->type == COL_TEXT || column->type == COL_PROSE ?
				    0 : SCOLS_FL_RIGHT))
		fatal(EX_FAILED, "out of memory");
}

struct table *table_new(const char *name, const struct column *columns, size_t nr,
			const struct table_options *options)
{
	const char *list = options->columns;
	struct table *table = xcalloc(1, sizeof(*table));
	size_t i, len;

	table->columns = columns;
	table->nr = nr;
	table->json = options->json;
	table->raw = options->raw;
	table->noheadings = options->noheadings;
	table->shown = xcalloc(nr, sizeof(*table->shown));
	table->place = xmalloc(nr * sizeof(*table->place));
	for (i = 0; i < nr; i++)
		table->place[i] = -1;

	table->scols = scols_new_table();
	if (!table->scols)
		fatal(EX_FAILED, "out of memory");
	scols_table_set_name(table->scols, name);
	scols_table_enable_noheadings(table->scols, options->noheadings);

	/* As a script has it whose variable is not set: it would print nothing, and succeed. */
	if (list && !*list)
		unknown_column(columns, nr, list, 0);
	if (!list || *list == '+') {
		/* A program that reads JSON picks for itself. */
		for (i = 0; i < nr; i++)
			if (columns[i].by_default || options->json)
				add_column(table, i);
		if (list)
			list++;
	}
	while (list && *list) {
		len = strcspn(list, ",");
		i = find_column(columns, nr, list, len);
		if (i == nr)
			unknown_column(columns, nr, list, len);
		add_column(table, i);
		list += len + (list[len] == ',');
	}
	return table;
}

/* @value is taken over. */
static void set_cell(struct table *table, size_t column, char *value)
{
	char **cell = &table->rows[table->nr_rows - 1][table->place[column]];

	free(*cell);
	*cell = value;
}

void table_row(struct table *table)
{
	if (table->json || table->raw) {
		table->rows = xrealloc(table->rows, (table->nr_rows + 1) * sizeof(*table->rows));
		table->rows[table->nr_rows++] = xcalloc(table->nr_shown, sizeof(char *));
		return;
	}
	table->line = scols_table_new_line(table->scols, NULL);
	if (!table->line)
		fatal(EX_FAILED, "out of memory");
}

char *json_string(const char *text)
{
	char *valid = valid_utf8(text), *quoted = xmalloc(6 * strlen(valid) + 3), *to = quoted;
	const char *c;

	*to++ = '"';
	for (c = valid; *c; c++) {
		if (*c == '"' || *c == '\\')
			to += sprintf(to, "\\%c", *c);
		else if ((unsigned char)*c < 0x20 || *c == 0x7f)
			to += sprintf(to, "\\u%04x", *c);
		else
			*to++ = *c;
	}
	strcpy(to, "\"");
	free(valid);
	return quoted;
}

void table_json(struct table *table, size_t column, const char *value)
{
	if (table->json && table->place[column] >= 0)
		set_cell(table, column, xstrdup(value));
}

void table_text(struct table *table, size_t column, const char *text)
{
	if (table->place[column] < 0 || !text || !*text)
		return;
	if (table->json)
		set_cell(table, column, json_string(text));
	else if (table->raw)
		set_cell(table, column, xstrdup(text));
	else if (scols_line_set_data(table->line, table->place[column], text))
		fatal(EX_FAILED, "out of memory");
}

void table_number(struct table *table, size_t column, uint64_t number)
{
	char *text;

	if (!is_known(number))
		return;
	text = xasprintf("%ju", (uintmax_t)number);
	if (table->json)
		table_json(table, column, text);
	else
		table_text(table, column, text);
	free(text);
}

void table_size(struct table *table, size_t column, uint64_t bytes)
{
	char *text;

	if (table->json || !is_known(bytes)) {
		table_number(table, column, bytes);
		return;
	}
	text = format_size(bytes);
	table_text(table, column, text);
	free(text);
}

void table_bool(struct table *table, size_t column, bool value)
{
	if (table->json)
		table_json(table, column, value ? "true" : "false");
	else
		table_text(table, column, value ? "yes" : "no");
}

/* As libsmartcols does it: small letters, and underscores. */
static void print_key(const char *name)
{
	for (; *name; name++)
		putchar(*name == '-' ? '_' : tolower(*name));
}

static void print_json_row(const struct table *table, char **cells)
{
	size_t i;

	for (i = 0; i < table->nr_shown; i++) {
		printf("%s\n         \"", i ? "," : "");
		print_key(table->shown[i]->name);
		printf("\": %s", cells[i] ? cells[i] : "null");
		free(cells[i]);
	}
	free(cells);
}

static void print_json(const struct table *table)
{
	size_t row;

	printf("{\n   \"%s\": [", scols_table_get_name(table->scols));
	for (row = 0; row < table->nr_rows; row++) {
		fputs(row ? ",{" : "\n      {", stdout);
		print_json_row(table, table->rows[row]);
		fputs("\n      }", stdout);
	}
	puts(table->nr_rows ? "\n   ]\n}" : "]\n}");
	free(table->rows);
}

/* A cell stays one: bytes that could end it, or are not ASCII, are \xNN. */
static void print_raw_cell(const char *text)
{
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~' || *text == '\\')
			printf("\\x%02x", (unsigned char)*text);
		else
			putchar(*text);
	}
}

static void print_raw_row(const struct table *table, char **cells)
{
	size_t i;
	char *shown;

	for (i = 0; i < table->nr_shown; i++) {
		if (i)
			putchar(' ');
		if (!cells[i]) {
			fputs(NOTHING, stdout);
		} else if (table->shown[i]->type == COL_PROSE && i == table->nr_shown - 1) {
			shown = printable(cells[i]);
			fputs(shown, stdout);
			free(shown);
		} else {
			print_raw_cell(cells[i]);
		}
		free(cells[i]);
	}
	putchar('\n');
	free(cells);
}

static void print_raw(const struct table *table)
{
	size_t i;

	/* A table without rows is nothing, as libsmartcols has it. */
	if (!table->noheadings && table->nr_rows) {
		for (i = 0; i < table->nr_shown; i++)
			printf("%s%s", i ? " " : "", table->shown[i]->name);
		putchar('\n');
	}
	for (i = 0; i < table->nr_rows; i++)
		print_raw_row(table, table->rows[i]);
	free(table->rows);
}

void table_print(struct table *table)
{
	if (table->json)
		print_json(table);
	else if (table->raw)
		print_raw(table);
	else
		scols_print_table(table->scols);
	scols_unref_table(table->scols);
	free(table->shown);
	free(table->place);
	free(table);
}

static const struct column *help_columns;
static size_t nr_help_columns;

void columns_of_help(const struct column *columns, size_t nr)
{
	help_columns = columns;
	nr_help_columns = nr;
}

char *columns_help(int key, const char *text, void *input)
{
	char *list, *line;
	size_t i;

	(void)input;
	if (key != ARGP_KEY_HELP_EXTRA)
		return (char *)text;
	list = xstrdup("Columns:");
	for (i = 0; i < nr_help_columns; i++) {
		line = xasprintf("  %-12s %s", help_columns[i].name, help_columns[i].help);
		list = join(list, "\n", line);
		free(line);
	}
	return list;
}

static error_t parse_table(int key, char *arg, struct argp_state *state)
{
	struct table_options *options = state->input;

	switch (key) {
	case 'J':
		options->json = true;
		return 0;
	case 'r':
		options->raw = true;
		return 0;
	case 'n':
		options->noheadings = true;
		return 0;
	case 'b':
		opt_bytes = true;
		return 0;
	case 'o':
		options->columns = arg;
		return 0;
	case ARGP_KEY_SUCCESS:	/* comes also if there are arguments */
		if (options->json && options->raw)
			argp_error(state, "--json and --raw exclude each other");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "json", 'J', NULL, 0, "print JSON: all columns, sizes in bytes", 10 },
	{ "raw", 'r', NULL, 0, "print columns with one blank between them, - for nothing", 10 },
	{ "noheadings", 'n', NULL, 0, "print no headings", 10 },
	{ "bytes", 'b', NULL, 0, "print sizes in bytes", 10 },
	{ "output", 'o', "LIST", 0, "print these columns; +LIST adds them to the default", 10 },
	{ }
};

const struct argp table_argp = { .options = options, .parser = parse_table };
