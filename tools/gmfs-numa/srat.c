// SPDX-License-Identifier: GPL-2.0
/*
 * The firmware's own word on where memory is: its System Resource Affinity Table.
 *
 * The table has proximity domains. Linux numbers them as it meets them, and which node
 * a domain is follows from the table alone (acpi_numa_init()).
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"

#define SRAT_CPU	0
#define SRAT_MEMORY	1
#define SRAT_X2APIC	2
#define SRAT_GICC	3	/* CPUs of arm64 */
#define SRAT_GENERIC	5
#define SRAT_RINTC	7	/* CPUs of RISC-V */

#define SRAT_HEADER	48
#define MAX_DOMAINS	1024

struct affinity {
	uint32_t domain;
	struct range range;
};

struct srat {
	struct affinity *memory;
	size_t nr;
	uint32_t domains[MAX_DOMAINS];	/* by the number that Linux gives them */
	size_t nr_domains;
	unsigned char revision;
	bool overruled;			/* by numa= on the kernel's command line */
};

static uint32_t get32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const unsigned char *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void add_domain(struct srat *srat, uint32_t domain)
{
	size_t i;

	for (i = 0; i < srat->nr_domains; i++)
		if (srat->domains[i] == domain)
			return;
	if (srat->nr_domains < MAX_DOMAINS)
		srat->domains[srat->nr_domains++] = domain;
}

/* In the first revision a domain has 8 bits, and what is above them has no meaning. */
static uint32_t cpu_domain(const struct srat *srat, const unsigned char *e)
{
	uint32_t high = e[9] << 8 | e[10] << 16 | (uint32_t)e[11] << 24;

	return srat->revision >= 2 ? high | e[2] : e[2];
}

static uint32_t memory_domain(const struct srat *srat, const unsigned char *e)
{
	return srat->revision >= 2 ? get32(e + 2) : e[2];
}

/*
 * What can start accesses: its domain is one even if it has no memory. False where
 * Linux leaves off: at a generic initiator that is not enabled.
 */
static bool read_initiator(struct srat *srat, const unsigned char *e)
{
	if (e[0] == SRAT_X2APIC && e[1] >= 24 && get32(e + 12) & 1)
		add_domain(srat, get32(e + 4));
	if (e[0] == SRAT_CPU && e[1] >= 16 && get32(e + 4) & 1)
		add_domain(srat, cpu_domain(srat, e));
	if (e[0] == SRAT_GICC && e[1] >= 18 && get32(e + 10) & 1)
		add_domain(srat, get32(e + 2));
	if (e[0] == SRAT_RINTC && e[1] >= 20 && get32(e + 12) & 1)
		add_domain(srat, get32(e + 4));
	if (e[0] == SRAT_GENERIC && e[1] >= 32) {
		if (!(get32(e + 24) & 1))
			return false;
		add_domain(srat, get32(e + 4));
	}
	return true;
}

static bool read_memory(struct srat *srat, const unsigned char *e)
{
	struct affinity *more;

	if (e[0] != SRAT_MEMORY || e[1] < 40 || !(get32(e + 28) & 1))
		return true;
	add_domain(srat, memory_domain(srat, e));
	more = xrealloc(srat->memory, (srat->nr + 1) * sizeof(*more));
	more[srat->nr++] = (struct affinity){
		memory_domain(srat, e), { get64(e + 8), get64(e + 16) }
	};
	srat->memory = more;
	return true;
}

/* Calls @fn for each entry that is whole, until it returns false. */
static void each_entry(struct srat *srat, const unsigned char *table, size_t size,
		       bool (*fn)(struct srat *srat, const unsigned char *e))
{
	size_t at;

	for (at = SRAT_HEADER;
	     at + 2 <= size && table[at + 1] >= 2 && at + table[at + 1] <= size;
	     at += table[at + 1])
		if (!fn(srat, table + at))
			return;
}

/* Made-up nodes are no domains, and a kernel can be told to leave the table alone. */
static void look_for_override(const char *value, void *data)
{
	bool *overruled = data;

	*overruled |= value && (!strncmp(value, "fake", 4) || !strncmp(value, "off", 3) ||
				!strncmp(value, "noacpi", 6));
}

struct srat *srat_read(void)
{
	struct srat *srat = xcalloc(1, sizeof(*srat));
	unsigned char *table;
	char *line;
	size_t size;

	line = read_text("/proc/cmdline");
	kcmdline_each(line ? line : "", "numa", look_for_override, &srat->overruled);
	free(line);
	table = read_binary(&size, "/sys/firmware/acpi/tables/SRAT");
	/* A machine without the table has firmware that says nothing. */
	if (!table && errno == ENOENT)
		return srat;
	if (!table || size < SRAT_HEADER || memcmp(table, "SRAT", 4)) {
		if (table)
			errno = EINVAL;
		free(table);
		free(srat);
		return NULL;
	}
	srat->revision = table[8];
	/* Initiators come first. */
	each_entry(srat, table, size, read_initiator);
	each_entry(srat, table, size, read_memory);
	free(table);
	return srat;
}

void srat_free(struct srat *srat)
{
	if (srat)
		free(srat->memory);
	free(srat);
}

bool srat_knows_node(const struct srat *srat, int nid)
{
	size_t i;

	if (srat->overruled || (size_t)nid >= srat->nr_domains)
		return false;
	for (i = 0; i < srat->nr; i++)
		if (srat->memory[i].domain == srat->domains[nid])
			return true;
	return false;
}

static bool overlaps(const struct range *a, const struct range *b)
{
	return a->size && b->size && a->base <= b->base + (b->size - 1) &&
	       b->base <= a->base + (a->size - 1);
}

enum srat_answer srat_where(const struct srat *srat, int nid, uint64_t base, uint64_t size)
{
	const struct range wanted = { base, size };
	struct range *own = xcalloc(srat->nr, sizeof(*own));
	bool known = srat_knows_node(srat, nid), here;
	size_t i, nr = 0;

	for (i = 0; i < srat->nr && !srat->overruled; i++) {
		const struct affinity *a = &srat->memory[i];

		if (known && a->domain == srat->domains[nid]) {
			own[nr++] = a->range;
		} else if (overlaps(&a->range, &wanted)) {
			free(own);
			return SRAT_ELSEWHERE;
		}
	}
	here = ranges_cover(own, nr, base, size);
	free(own);
	return here ? SRAT_HERE : SRAT_SILENT;
}
