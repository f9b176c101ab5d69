// SPDX-License-Identifier: GPL-2.0
/*
 * Variables that shell files set, such as /etc/default/grub, without executing them:
 * the files may be those of another machine.
 *
 * Assignments are evaluated. Commands are passed over if they cannot change what is of
 * interest; if they could, that is not known any more, and the place is kept.
 */

#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"

struct shellvar {
	char *name;
	char *value;		/* NULL: it has one that a shell would have to find out */
};

struct shellvars {
	const char *interest;
	struct shellvar *var;
	size_t nr;
	char *unknown;
	/* Of the file that is read. */
	const char *file;
	const char *text;
	unsigned int depth;	/* of if, case, loops and functions around */
};

/* Text that grows; known is false if a part of it is not. */
struct value {
	char *text;
	size_t len;
	bool known;
};

struct shellvars *shellvars_new(const char *interest)
{
	struct shellvars *vars = xcalloc(1, sizeof(*vars));

	vars->interest = interest;
	return vars;
}

void shellvars_free(struct shellvars *vars)
{
	size_t i;

	for (i = 0; i < vars->nr; i++) {
		free(vars->var[i].name);
		free(vars->var[i].value);
	}
	free(vars->var);
	free(vars->unknown);
	free(vars);
}

static struct shellvar *shellvars_find(const struct shellvars *vars, const char *name)
{
	size_t i;

	for (i = 0; i < vars->nr; i++)
		if (!strcmp(vars->var[i].name, name))
			return &vars->var[i];
	return NULL;
}

const char *shellvars_get(const struct shellvars *vars, const char *name)
{
	const struct shellvar *var = shellvars_find(vars, name);

	return var ? var->value : "";
}

const char *shellvars_unknown(const struct shellvars *vars)
{
	return vars->unknown;
}

static void shellvars_give_up(struct shellvars *vars, const char *at)
{
	unsigned int line = 1;
	const char *c;

	if (vars->unknown)
		return;
	for (c = vars->text; c < at; c++)
		line += *c == '\n';
	vars->unknown = xasprintf("%s:%u", vars->file, line);
}

static void value_add(struct value *value, const char *text, size_t len)
{
	value->text = xrealloc(value->text, value->len + len + 1);
	memcpy(value->text + value->len, text, len);
	value->len += len;
	value->text[value->len] = '\0';
}

static size_t name_length(const char *at)
{
	return *at >= '0' && *at <= '9' ? 0 :
	       strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

static void value_add_variable(const struct shellvars *vars, struct value *value,
			       const char *at, size_t len)
{
	char *name = xasprintf("%.*s", (int)len, at);
	const char *text = shellvars_get(vars, name);

	if (text)
		value_add(value, text, strlen(text));
	else
		value->known = false;
	free(name);
}

/* Behind what $( or ${ opens, or the end. */
static const char *skip_nested(const char *at, char open, char close)
{
	unsigned int depth = 0;

	for (; *at; at++) {
		if (*at == '\\' && at[1])
			at++;
		else if (*at == open)
			depth++;
		else if (*at == close && !--depth)
			return at + 1;
	}
	return at;
}

/* At a dollar sign or a backquote. */
static const char *read_expansion(const struct shellvars *vars, const char *at,
				  struct value *value)
{
	size_t len;

	if (*at == '`') {
		value->known = false;
		for (at++; *at && *at != '`'; at++)
			if (*at == '\\' && at[1])
				at++;
		return at + !!*at;
	}
	len = name_length(++at);
	if (len) {
		value_add_variable(vars, value, at, len);
		return at + len;
	}
	if (*at == '{') {
		len = name_length(at + 1);
		if (len && at[len + 1] == '}') {
			value_add_variable(vars, value, at + 1, len);
			return at + len + 2;
		}
		value->known = false;
		return skip_nested(at, '{', '}');
	}
	if (*at == '(') {
		value->known = false;
		return skip_nested(at, '(', ')');
	}
	/* $1, $?, $'...' and the like; a dollar sign by itself is one. */
	if (!*at || strchr(" \t\n\"", *at))
		value_add(value, "$", 1);
	else
		value->known = false;
	return at;
}

static const char *read_double_quotes(const struct shellvars *vars, const char *at,
				      struct value *value)
{
	while (*at && *at != '"') {
		if (*at == '$' || *at == '`') {
			at = read_expansion(vars, at, value);
			continue;
		}
		if (*at == '\\' && at[1] == '\n') {
			at += 2;
			continue;
		}
		if (*at == '\\' && at[1] && strchr("$`\"\\", at[1]))
			at++;
		value_add(value, at++, 1);
	}
	value->known &= *at == '"';
	return at + !!*at;
}

/* A word up to what ends it, which is returned. */
static const char *read_word(const struct shellvars *vars, const char *at, struct value *value)
{
	const char *end;

	value_add(value, "", 0);
	while (*at && !strchr(" \t\n;&|<>()", *at)) {
		if (*at == '\'') {
			end = strchrnul(++at, '\'');
			value_add(value, at, end - at);
			value->known &= !!*end;
			at = end + !!*end;
		} else if (*at == '"') {
			at = read_double_quotes(vars, at + 1, value);
		} else if (*at == '$' || *at == '`') {
			at = read_expansion(vars, at, value);
		} else if (*at == '\\' && at[1] == '\n') {
			at += 2;
		} else {
			at += *at == '\\' && at[1];
			/* A file's name would come in its place. */
			value->known &= !strchr("~*?[", *at) || at[-1] == '\\';
			value_add(value, at++, 1);
		}
	}
	return at;
}

static const char *skip_blanks(const char *at)
{
	while (*at == ' ' || *at == '\t' || (*at == '\\' && at[1] == '\n'))
		at += *at == '\\' ? 2 : 1;
	return at;
}

/* Behind a part of a word, with what quotes keep together, also over several lines. */
static const char *skip_part(const char *at)
{
	if (*at == '\\' && at[1])
		return at + 2;
	if (*at == '\'') {
		at = strchrnul(at + 1, '\'');
		return at + !!*at;
	}
	if (*at == '`') {
		for (at++; *at && *at != '`'; at++)
			at += *at == '\\' && at[1];
		return at + !!*at;
	}
	if (*at == '$' && (at[1] == '(' || at[1] == '{'))
		return skip_nested(at + 1, at[1], at[1] == '(' ? ')' : '}');
	if (*at != '"')
		return at + 1;
	for (at++; *at && *at != '"';)
		at = *at == '\'' ? at + 1 : skip_part(at);
	return at + !!*at;
}

/* What separates words of commands. */
#define SEPARATORS	" \t\n;&|"

/*
 * Behind the command that starts here: the lines that belong together. *@open is set if
 * the text ends within quotes.
 */
static const char *command_end(const char *at, bool *open)
{
	const char *part = at;
	bool in_word = false;

	*open = false;
	while (*at && *at != '\n') {
		if (*at == '#' && !in_word)
			return strchrnul(at, '\n');
		in_word = !strchr(SEPARATORS, *at);
		part = at;
		at = skip_part(at);
	}
	*open = strchr("'\"`", *part) && !*at && (at == part + 1 || at[-1] != *part);
	return at;
}

static bool is_one_of(const char *word, size_t len, const char * const *list)
{
	for (; *list; list++)
		if (strlen(*list) == len && !strncmp(word, *list, len))
			return true;
	return false;
}

/* A command that is no assignment. Returns its end. */
static const char *pass_over(struct shellvars *vars, const char *at)
{
	static const char * const opening[] = {
		"if", "case", "for", "while", "until", "{", "(", NULL
	};
	static const char * const closing[] = { "fi", "esac", "done", "}", ")", NULL };
	/* With these a variable can get another value, or what follows is not read. */
	static const char * const changing[] = {
		".", "source", "eval", "exit", "return", "exec", "read", "unset", "readonly",
		"trap", "alias", "declare", "typeset", "local", "set", "shopt", "mapfile", NULL
	};
	bool open;
	const char *end = command_end(at, &open), *word, *next;
	size_t len;
	char *text = xasprintf("%.*s", (int)(end - at), at);

	if (strstr(text, vars->interest) || strstr(text, "<<") || open)
		shellvars_give_up(vars, at);
	for (word = text; *word; word = next) {
		if (word[0] == '\\' && word[1] == '\n') {
			next = word + 2;
			next += strspn(next, SEPARATORS);
			continue;
		}
		len = strcspn(word, SEPARATORS "\\");
		for (next = word; *next && !strchr(SEPARATORS, *next);)
			next = skip_part(next);
		next += strspn(next, SEPARATORS);
		if (*word == '#')
			break;
		if (is_one_of(word, len, changing))
			shellvars_give_up(vars, at);
		else if (is_one_of(word, len, opening))
			vars->depth++;
		else if (is_one_of(word, len, closing) && vars->depth)
			vars->depth--;
	}
	free(text);
	return end;
}

static void set_variable(struct shellvars *vars, const char *at, size_t len, bool append,
			 struct value *value)
{
	char *name = xasprintf("%.*s", (int)len, at);
	struct shellvar *var = shellvars_find(vars, name);
	bool of_interest = !strncmp(name, vars->interest, strlen(vars->interest));

	if (!var) {
		vars->var = xrealloc(vars->var, (vars->nr + 1) * sizeof(*vars->var));
		var = &vars->var[vars->nr++];
		*var = (struct shellvar){ xstrdup(name), xstrdup("") };
	}
	/* Whether what is in "if" comes to pass is not known either. */
	if (!value->known || vars->depth || (append && !var->value)) {
		free(var->value);
		var->value = NULL;
		if (of_interest)
			shellvars_give_up(vars, at);
	} else if (append) {
		var->value = join(var->value, "", value->text);
	} else {
		free(var->value);
		var->value = xstrdup(value->text);
	}
	free(name);
}

/* Assignments are evaluated up to the end of the command: true, and *at is behind. */
static bool assign(struct shellvars *vars, const char **at)
{
	const char *start = skip_blanks(*at), *here;
	struct value value;
	bool append, ends;
	size_t len;

	if (!strncmp(start, "export", 6) && (start[6] == ' ' || start[6] == '\t'))
		start = skip_blanks(start + 6);
	len = name_length(start);
	append = start[len] == '+';
	if (!len || start[len + append] != '=')
		return false;
	value = (struct value){ .known = true };
	here = skip_blanks(read_word(vars, start + len + append + 1, &value));
	ends = !*here || *here == '\n' || *here == '#' || (*here == ';' && here[1] != ';');
	/* "A=1 B=2", or with a command behind, for which alone A is set. */
	if (!ends && !assign(vars, &here)) {
		free(value.text);
		return false;
	}
	if (*here == '#')
		here = strchrnul(here, '\n');
	*at = here + (*here == ';');
	set_variable(vars, start, len, append, &value);
	free(value.text);
	return true;
}

void shellvars_source(struct shellvars *vars, const char *name, const char *text)
{
	const char *at = text;

	vars->file = name;
	vars->text = text;
	vars->depth = 0;
	while (*(at = skip_blanks(at))) {
		if (*at == '\n' || *at == ';')
			at++;
		else if (*at == '#')
			at = strchrnul(at, '\n');
		else if (!assign(vars, &at))
			at = pass_over(vars, at);
	}
	/* Something was not read as a shell would read it. */
	if (vars->depth)
		shellvars_give_up(vars, at);
}
