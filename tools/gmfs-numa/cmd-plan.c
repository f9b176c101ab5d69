// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa plan: boot parameters for a wish.
 *
 * What the kernel must keep of a node depends on what it has allocated early, which
 * only it knows. This is an estimate on the safe side; the kernel refuses what is
 * too much, and its log names the largest pool that is allowed.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gmfs-numa.h"

#define MIB		(1ULL << 20)
#define GIB		(1ULL << 30)
#define SECTION		(128 * MIB)

/* Of per-CPU data that is allocated early; it is less on most kernels. */
#define PER_CPU		(MIB / 2)

struct wish {
	unsigned int count;
	uint64_t size;
	int nid;		/* or -1 */
	const char *text;
};

struct place {
	int nid;
	uint64_t total;		/* bytes of memory, the pool that there is now included */
	uint64_t now;		/* the pool that there is */
	uint64_t cpus;		/* how many */
	bool movable;		/* onlined after boot: the kernel makes no pool of that */
	uint64_t most;		/* largest pool */
	uint64_t asked;
	uint64_t pool;
	size_t nr_vms;
	char *vms;
};

struct arguments {
	struct table_options table;
	const char *reserve;
	const char *nodes;
	uint64_t keep;
	uint64_t grow;
	struct wish *wishes;
	size_t nr_wishes;
	bool apply;
	bool dry_run;
	enum boot_loader loader;
};

static struct wish parse_wish(struct argp_state *state, const char *arg)
{
	struct wish wish = { .nid = -1, .text = arg };
	char *copy = xstrdup(arg), *size = strchr(copy, 'x'), *at;
	uint64_t number;

	at = strchr(copy, '@');
	if (at) {
		*at++ = '\0';
		if (!parse_number(at, &number) || number > 1023)
			argp_error(state, "'%s' has no number of a node behind @", arg);
		wish.nid = number;
	}
	if (size) {
		*size++ = '\0';
		if (!parse_number(copy, &number) || !number || number > 100000)
			argp_error(state, "'%s' is not COUNTxSIZE[@NODE], such as 2x64G", arg);
		wish.count = number;
	} else {
		size = copy;
		wish.count = 1;
	}
	if (!parse_size(size, &wish.size) || !wish.size)
		argp_error(state, "'%s' is not COUNTxSIZE[@NODE], such as 2x64G", arg);
	/* Rounding up to whole gibibytes must not wrap. */
	if (wish.size > UINT64_MAX - GIB)
		argp_error(state, "'%s' is more than a machine can have", arg);
	wish.size = (wish.size + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
	free(copy);
	return wish;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->table;
		return 0;
	case 'R':
		args->reserve = arg;
		return 0;
	case 'v':
		args->wishes = xrealloc(args->wishes, (args->nr_wishes + 1) * sizeof(struct wish));
		args->wishes[args->nr_wishes++] = parse_wish(state, arg);
		return 0;
	case 'k':
		if (!parse_size(arg, &args->keep))
			argp_error(state, "'%s' is no size, such as 8G", arg);
		return 0;
	case 'G':
		/* What comes on top, by limit_growth(), must not wrap either. */
		if (!parse_size(arg, &args->grow) || !args->grow || args->grow > UINT64_MAX / 2)
			argp_error(state, "'%s' is no size, such as 8G", arg);
		args->grow = (args->grow + GIB - 1) / GIB * GIB;
		return 0;
	case 'N':
		args->nodes = arg;
		return 0;
	case 'a':
		args->apply = true;
		return 0;
	case 'd':
		args->dry_run = true;
		return 0;
	case 'g':
	case 's':
		if (args->loader != LOADER_ANY)
			argp_error(state, "--grub and --systemd-boot exclude each other");
		args->loader = key == 'g' ? LOADER_GRUB : LOADER_SYSTEMD;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is not expected: plan has options only", arg);
		return 0;
	case ARGP_KEY_END:
		if (!args->reserve == !args->nr_wishes)
			argp_error(state, "give either --reserve, or --vm once or more");
		if (args->table.json && (args->apply || args->dry_run))
			argp_error(state, "--json is not for --apply and --dry-run");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int compare_places(const void *a, const void *b)
{
	return ((const struct place *)a)->nid - ((const struct place *)b)->nid;
}

/* How many CPUs a list such as "0-3,8" has, or none if it is NULL; frees it. */
static uint64_t count_cpus(char *list)
{
	const char *at = list;
	unsigned int first, last;
	uint64_t nr = 0;

	while (at && next_range(&at, &first, &last))
		nr += last - first + 1;
	free(list);
	return nr;
}

static bool in_list(const char *list, unsigned int number)
{
	unsigned int first, last;

	while (next_range(&list, &first, &last))
		if (number >= first && number <= last)
			return true;
	return false;
}

/* All nodes with memory, whether they have a pool or not. */
static size_t read_places(struct place **places)
{
	static const char path[] = "/sys/devices/system/node";
	struct nodes *pools = nodes_read_any();
	char *normal = read_text("/sys/devices/system/node/has_normal_memory");
	struct dirent *entry;
	DIR *dir = root_opendir("%s", path);
	size_t nr = 0;
	uint64_t nid;

	*places = NULL;
	if (!dir)
		fatal(EX_FAILED, "%s%s: %s", sysroot, path, strerror(errno));
	while ((entry = readdir(dir))) {
		const struct node *pool;
		struct place place = { };

		if (strncmp(entry->d_name, "node", 4) || !parse_number(entry->d_name + 4, &nid))
			continue;
		place.nid = nid;
		pool = nodes_find(pools, nid);
		place.now = pool ? pool->size : 0;
		place.total = node_meminfo(nid, "MemTotal:");
		if (!is_known(place.now) || !is_known(place.total))
			fatal(EX_FAILED, "node %ju: how much memory it has is not known: its meminfo, or the size of its pool, cannot be read",
			      (uintmax_t)nid);
		place.total += place.now;
		if (!place.total)
			continue;
		place.cpus = count_cpus(read_text("/sys/devices/system/node/node%d/cpulist",
						  place.nid));
		/* A node that is in a pool altogether has none either. */
		place.movable = normal && !place.now && !in_list(normal, nid);
		if (place.movable)
			warning("node %d: its memory is movable, onlined after boot, so no pool is possible there",
				place.nid);
		*places = xrealloc(*places, (nr + 1) * sizeof(**places));
		(*places)[nr++] = place;
	}
	closedir(dir);
	free(normal);
	nodes_free(pools);
	if (!nr)
		fatal(EX_FAILED, "no node has memory");
	qsort(*places, nr, sizeof(**places), compare_places);
	return nr;
}

/* Bytes of crashkernel= that are not missing from the memory of nodes already. */
static uint64_t more_crash(const struct others *others, uint64_t all)
{
	char *text = read_text("/sys/kernel/kexec_crash_size");
	uint64_t want = others_crash(others, all), now;

	if (!text || !parse_number(text, &now))
		now = 0;
	free(text);
	return want > now ? want - now : 0;
}

/*
 * What stays with the kernel: memory maps of a 64th of that, per-CPU data, twice as
 * much for KHO's scratch area, some for what each node needs; on the lowest node its
 * own image, memory below 4 GiB, and KHO's area there; and on the largest KHO's area
 * for all nodes.
 */
static void limit_places(struct place *places, size_t nr, uint64_t keep,
			 const struct others *others, const struct others *others_now)
{
	uint64_t cpus = count_cpus(read_text("/sys/devices/system/cpu/possible"));
	const struct place *largest = &places[0], *last = &places[0];
	uint64_t all = 0, crash, other;
	size_t i, nr_nodes = 0;

	for (i = 0; i < nr; i++) {
		if (places[i].movable)
			continue;
		if (places[i].total > largest->total)
			largest = &places[i];
		last = &places[i];
		nr_nodes++;
		all += places[i].total;
	}
	crash = more_crash(others, all);
	for (i = 0; i < nr; i++) {
		struct place *p = &places[i];
		uint64_t least = 512 * MIB + p->total / 256 + p->cpus * 3 * PER_CPU;

		if (p->movable)
			continue;

		if (!i)
			least += 256 * MIB;
		/* What KHO has below 4 GiB, it needs less of for all nodes. */
		if (p == largest)
			least += 512 * MIB + nr * 16 * MIB + cpus * 2 * PER_CPU;
		else if (!i)
			least += 256 * MIB;
		other = others_on(others, p->nid, nr_nodes, all, least);
		/* Below 4 GiB if there is room, or at the end. */
		if (!i || p == last)
			other += crash;
		least = keep > least + other ? keep : least + other;
		p->most = p->total > least ? (p->total - least) / SECTION * SECTION : 0;
		/* A pool that this kernel made is better than an estimate. */
		if (p->most < p->now && keep <= p->total - p->now &&
		    other <= others_on(others_now, p->nid, nr_nodes, all, least))
			p->most = p->now;
	}
}

/*
 * Room for a growth reserve on each node: the kernel keeps that memory, and needs as much
 * for its memory map as for other memory, with KHO's scratch area for it.
 */
static void limit_growth(struct place *places, size_t nr, uint64_t grow)
{
	uint64_t need = grow + grow / 64 * 3;
	size_t i;

	for (i = 0; grow && i < nr; i++)
		places[i].most = places[i].most > need ?
				 (places[i].most - need) / SECTION * SECTION : 0;
	if (grow && root_exists(SYSFS "/features") &&
	    !root_exists(SYSFS "/features/growth_reserve"))
		warning("the running kernel does not know growth reserves: one that does not know them makes no pool for such a parameter");
}

static struct place *find_place(struct place *places, size_t nr, int nid)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (places[i].nid == nid)
			return &places[i];
	fatal(EX_USAGE, "node %d has no memory", nid);
}

static uint64_t in_gibibytes(uint64_t bytes)
{
	return (bytes + GIB - 1) / GIB * GIB;
}

static void too_much(const struct place *p, const char *wish)
{
	char *most = format_size(p->most), *total = format_size(p->total);

	fatal(EX_DIFFERS, "node %d: %s is too much: it has %s, and a pool of %s at most", p->nid,
	      wish, total, most);
}

/* The share that is wanted of each node, in whole gibibytes where that is possible. */
static void reserve_share(struct place *p, const char *text)
{
	uint64_t bytes, percent;

	if (parse_percent(text, &percent) && percent) {
		bytes = percent_of(p->total, percent);
		/* A percentage is a wish that may be met in part. */
		if (bytes > p->most)
			bytes = p->most;
	} else if (!parse_size(text, &bytes) || !bytes) {
		fatal(EX_USAGE, "--reserve %s: a percentage from 1%% to 100%%, or a size such as 64G",
		      text);
	} else if (bytes < SECTION) {
		/* Such as 80 without its sign. */
		fatal(EX_USAGE, "--reserve %s: no pool is smaller than 128M; a percentage has its sign, such as 80%%",
		      text);
	}
	p->asked = bytes;
	p->pool = bytes / GIB * GIB;
	if (p->pool < GIB)
		p->pool = bytes / SECTION * SECTION;
	if (bytes > p->most)
		too_much(p, text);
}

/* Memory for the states of so many machines over a kexec, a block each, see store. */
static uint64_t room_for_states(size_t nr_vms)
{
	return (nr_vms * 2 * MIB + SECTION - 1) / SECTION * SECTION;
}

static bool place_vm(struct place *places, size_t nr, const struct wish *wish)
{
	uint64_t room, states, best_room = 0;
	struct place *best = NULL;
	size_t i;
	char *one;

	for (i = 0; i < nr; i++) {
		struct place *p = &places[i];

		if (wish->nid >= 0 && p->nid != wish->nid)
			continue;
		states = room_for_states(p->nr_vms + 1);
		room = p->most > states ? (p->most - states) / GIB * GIB : 0;
		room = room > p->asked ? room - p->asked : 0;
		if (room < in_gibibytes(wish->size))
			continue;
		/* Nodes with CPUs come first: a machine runs near its memory. */
		if (!best || (p->cpus && !best->cpus) ||
		    (!p->cpus == !best->cpus && room > best_room)) {
			best = p;
			best_room = room;
		}
	}
	if (!best)
		return false;
	/* In whole gibibytes, so that 1 GiB mappings can cover all of it. */
	best->asked += in_gibibytes(wish->size);
	best->nr_vms++;
	best->pool = best->asked + room_for_states(best->nr_vms);
	one = format_size(wish->size);
	best->vms = join(best->vms, ",", one);
	free(one);
	return true;
}

static int larger_first(const void *a, const void *b)
{
	const struct wish *x = a, *y = b;

	/* Those that may not choose come first of all. */
	if (!(x->nid < 0) != !(y->nid < 0))
		return x->nid < 0 ? 1 : -1;
	return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

static void place_vms(struct place *places, size_t nr, struct arguments *args)
{
	size_t i;
	unsigned int n;

	for (i = 0; i < args->nr_wishes; i++)
		if (args->wishes[i].nid >= 0)
			find_place(places, nr, args->wishes[i].nid);
	if (args->nr_wishes)
		qsort(args->wishes, args->nr_wishes, sizeof(*args->wishes), larger_first);
	for (i = 0; i < args->nr_wishes; i++)
		for (n = 0; n < args->wishes[i].count; n++)
			if (!place_vm(places, nr, &args->wishes[i]))
				fatal(EX_DIFFERS, "--vm %s: there is room for %u of %u; gmfs-numa plan --reserve 100%% shows the largest pools",
				      args->wishes[i].text, n, args->wishes[i].count);
}

static char *make_parameter(const struct place *places, size_t nr, uint64_t grow)
{
	char *list = NULL, *one, *parameter;
	size_t i;

	for (i = 0; i < nr; i++) {
		if (!places[i].pool)
			continue;
		one = places[i].pool % GIB ?
		      xasprintf("%d:%juM", places[i].nid, (uintmax_t)(places[i].pool / MIB)) :
		      xasprintf("%d:%juG", places[i].nid, (uintmax_t)(places[i].pool / GIB));
		list = join(list, ",", one);
		free(one);
		if (!grow)
			continue;
		one = xasprintf("%juG", (uintmax_t)(grow / GIB));
		list = join(list, "+", one);
		free(one);
	}
	if (!list)
		fatal(EX_DIFFERS, "no node has enough memory for the kernel and a pool of 128M");
	parameter = xasprintf("guestmemfs=%s", list);
	free(list);
	return parameter;
}

/* A growth reserve that is there, or is asked for the next boot, ends with the new parameter. */
static void warn_growth(const struct place *places, size_t nr, const char *line)
{
	char *list = NULL;
	size_t i;

	for (i = 0; line && i < nr; i++)
		if (places[i].pool && kcmdline_has_growth(line, places[i].nid))
			list = join_node(list, places[i].nid);
	if (list)
		warning("the growth reserve of node %s is not part of the new parameter: --grow=SIZE asks for one",
			list);
	free(list);
}

static const struct column columns[] = {
	{ "NODE", "number of the node", COL_NUMBER, true },
	{ "MEMORY", "memory of the node", COL_SIZE, true },
	{ "POOL", "size of its pool", COL_SIZE, true },
	{ "KERNEL", "memory that the kernel keeps", COL_SIZE, true },
	{ "GROWTH", "of that, what the pool can grow into", COL_SIZE, true },
	{ "ROUNDING", "memory that was asked for and is not in the pool", COL_SIZE, true },
	{ "LARGEST", "largest pool that is possible, by estimate", COL_SIZE, true },
	{ "VMS", "virtual machines that fit, of those asked for", COL_TEXT, true },
	{ "PARAMETER", "boot parameters for all nodes", COL_TEXT, false },
};

#define NR_COLUMNS ARRAY_SIZE(columns)

static void show(const struct place *places, size_t nr, const char *parameter,
		 uint64_t grow, const struct table_options *options)
{
	struct table *table = table_new("plan", columns, NR_COLUMNS, options);
	size_t i;

	for (i = 0; i < nr; i++) {
		const struct place *p = &places[i];

		table_row(table);
		table_number(table, 0, p->nid);
		table_size(table, 1, p->total);
		table_size(table, 2, p->pool);
		table_size(table, 3, p->total - p->pool);
		table_size(table, 4, p->pool ? grow : 0);
		table_size(table, 5, p->asked > p->pool ? p->asked - p->pool : 0);
		table_size(table, 6, p->most);
		table_text(table, 7, p->vms);
		table_text(table, 8, parameter);
	}
	table_print(table);
	if (!options->json)
		printf("\nkho=on %s\n", parameter);
}

/* Other memory that is set aside at boot. */
static void name_other_users(const char *name, const char *value, void *data)
{
	static const char * const users[] = { "hugepages", "hugetlb_cma", "crashkernel" };
	size_t i;

	for (i = 0; value && i < ARRAY_SIZE(users); i++)
		if (kcmdline_same_name(name, users[i]))
			warning("%s has %s=%s, which takes memory of nodes as well: the plan leaves room for it",
				(const char *)data, name, value);
}

int cmd_plan(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "reserve", 'R', "AMOUNT", 0,
		  "of each node: a percentage such as 80%, or a size", 0 },
		{ "vm", 'v', "COUNTxSIZE[@NODE]", 0,
		  "room for virtual machines, such as 2x64G", 0 },
		{ "keep", 'k', "SIZE", 0, "leave at least so much of each node to the kernel", 0 },
		{ "grow", 'G', "SIZE", 0,
		  "a growth reserve of SIZE next to each pool, in whole gibibytes", 0 },
		{ "nodes", 'N', "LIST", 0, "pools on these nodes alone", 0 },
		{ "apply", 'a', NULL, 0,
		  "write the parameters for the boot loader, after a backup", 0 },
		{ "dry-run", 'd', NULL, 0, "show what --apply would write", 0 },
		{ "grub", 'g', NULL, 0, "the boot loader is GRUB", 0 },
		{ "systemd-boot", 's', NULL, 0, "the boot loader is systemd-boot", 0 },
		{ }
	};
	static const struct argp_child children[] = { { &table_argp, 0, NULL, 0 }, { } };
	static const struct argp argp = { options, parse, NULL,
		"Work out the boot parameters for a wish. What is possible is an estimate on the safe"
		" side: the kernel has the last word, and says in its log what it refuses. Exit status"
		" 1 if the wish cannot be met.", children, columns_help, NULL };
	struct arguments args = { };
	struct others *others, *others_now;
	struct boot *boot = NULL;
	struct place *places;
	char *parameter, *line, *now;
	size_t nr, i, kept = 0, n;
	int first, *nids, status = EX_OK;

	columns_of_help(columns, NR_COLUMNS);
	parse_args(&argp, argc, argv, &first, &args);
	nr = read_places(&places);
	if (args.apply || args.dry_run)
		boot = boot_find(args.loader);
	now = read_text("/proc/cmdline");
	line = boot ? boot_line(boot) : NULL;
	others = others_read(line ? line : now);
	others_now = others_read(now);
	limit_places(places, nr, args.keep, others, others_now);
	limit_growth(places, nr, args.grow);
	if (args.nodes) {
		n = parse_nodes(args.nodes, &nids);
		for (i = 0; i < n; i++) {
			struct place *p = find_place(places, nr, nids[i]), one = *p;

			if (p < places + kept)
				continue;	/* named twice */
			*p = places[kept];
			places[kept++] = one;
		}
		nr = kept;
		free(nids);
		qsort(places, nr, sizeof(*places), compare_places);
	}
	if (args.reserve)
		for (i = 0; i < nr; i++)
			reserve_share(&places[i], args.reserve);
	place_vms(places, nr, &args);
	parameter = make_parameter(places, nr, args.grow);
	show(places, nr, parameter, args.grow, &args.table);
	if (!args.grow)
		warn_growth(places, nr, line ? line : now);
	if (line || now)
		kcmdline_all(line ? line : now, name_other_users, (void *)
			     (line ? "the command line of the next boot" : "/proc/cmdline"));
	if (boot) {
		status = boot_apply(boot, args.dry_run, parameter);
		boot_free(boot);
	}
	others_free(others);
	others_free(others_now);
	free(now);
	for (i = 0; i < nr; i++)
		free(places[i].vms);
	free(places);
	free(line);
	free(parameter);
	free(args.wishes);
	return status;
}
