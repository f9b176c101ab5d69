/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TABLES_H
#define TABLES_H

#include <stdio.h>
#include <string.h>

/* Bytes or faults, by the size of the mappings. */
struct by_size {
	long pte, pmd, pud;
};

/* Bytes of a mapping by the entry of the page table that maps them. */
static inline struct by_size tables(volatile void *start, unsigned long len)
{
	unsigned long from, to, first = (unsigned long)start, end = first + len;
	struct by_size f = {};
	char line[256], level[8], *at;
	FILE *dump = fopen("/sys/kernel/debug/page_tables/current_kernel", "r");

	if (!dump)
		f.pte = -1;
	while (dump && fgets(line, sizeof(line), dump)) {
		at = strrchr(line, ' ');
		if (!strstr(line, " USR ") || !at || sscanf(at, "%7s", level) != 1 ||
		    sscanf(line, "0x%lx-0x%lx", &from, &to) != 2)
			continue;
		from = from > first ? from : first;
		to = to < end ? to : end;
		if (from >= to)
			continue;
		if (!strcmp(level, "pud"))
			f.pud += to - from;
		else if (!strcmp(level, "pmd"))
			f.pmd += to - from;
		else
			f.pte += to - from;
	}
	if (dump)
		fclose(dump);
	return f;
}

#endif /* TABLES_H */
