/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmfs-numa: JSON that another program sends.
 */
#ifndef GMFS_JSON_H
#define GMFS_JSON_H

#include <stdint.h>

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	char *name;		/* of a member of an object, or NULL */
	char *text;		/* of a string, in UTF-8 */
	uint64_t number;	/* NUMBER_UNKNOWN if it is no such integer */
	struct json *items;	/* of an array or an object: the first one */
	struct json *next;	/* in the array or object that this one is in */
};

/* NULL if @text is not one JSON value. Freed by json_free(). */
struct json *json_parse(const char *text);
void json_free(struct json *value);
/* A member of an object; NULL if there is none, or if @value is NULL or no object. */
const struct json *json_member(const struct json *value, const char *name);
/* The same of a member of that type: the string or NULL, the number or NUMBER_UNKNOWN. */
const char *json_text(const struct json *value, const char *name);
uint64_t json_number(const struct json *value, const char *name);

#endif /* GMFS_JSON_H */
