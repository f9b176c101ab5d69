// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover: the configuration of a kernel, as Kconfig writes it.
 */

#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"
#include "handover.h"

const char *config_value(const char *config, const char *name)
{
	char *start = xasprintf("CONFIG_%s=", name);
	const char *at = config;
	size_t len = strlen(start);

	while (at && strncmp(at, start, len)) {
		at = strchr(at, '\n');
		at += !!at;
	}
	free(start);
	return at ? at + len : NULL;
}

bool config_has(const char *config, const char *name)
{
	const char *value = config_value(config, name);

	return value && *value == 'y';
}

char *config_string(const char *config, const char *name)
{
	const char *at = config_value(config, name);
	char *value, *to;

	if (!at || *at++ != '"')
		return NULL;
	value = xstrdup(at);
	to = value;
	for (; *at && *at != '"' && *at != '\n'; at++)
		*to++ = *at == '\\' && at[1] ? *++at : *at;
	*to = '\0';
	if (*value)
		return value;
	free(value);
	return NULL;
}
