// SPDX-License-Identifier: GPL-2.0
/*
 * Pins: ranges of files that devices can access, as /sys/fs/guestmemfs/nodeN/pins has them.
 * A pin holds its file open in the kernel: no process in /proc shows that.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* Bytes of a line in the file. */
#define LINE		128
/* Stands for the process of a pin that was handed over, as the file has none of it. */
#define PREVIOUS_KERNEL	"previous-kernel"
/* A read returns at most a page. */
#define LINES		32

/* Spaces and others are a backslash and three octal digits; "-" is an empty name. */
static char *plain_name(const char *escaped)
{
	char *name = xstrdup(strcmp(escaped, "-") ? escaped : ""), *to = name;
	const char *at = name;

	while (*at) {
		if (*at == '\\' && strspn(at + 1, "01234567") >= 3) {
			*to++ = (at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0');
			at += 4;
		} else {
			*to++ = *at++;
		}
	}
	*to = '\0';
	return name;
}

static void add_pin(struct pins *pins, const char *line)
{
	struct pin pin = { };
	char access[3], name[LINE];
	uint64_t ino;

	/* What a newer kernel adds to the line is ignored. */
	if (sscanf(line, "%ju %ju %ju %2s %d %127s", &ino, &pin.start, &pin.size, access,
		   &pin.pid, name) != 6)
		return;
	pin.ino = ino;
	pin.writes = !strcmp(access, "rw");
	pin.private = !strcmp(access, "p");
	pin.command = plain_name(name);
	pins->pin = xrealloc(pins->pin, (pins->nr + 1) * sizeof(*pins->pin));
	pins->pin[pins->nr++] = pin;
}

static int by_file(const void *a, const void *b)
{
	const struct pin *one = a, *other = b;

	if (one->ino != other->ino)
		return one->ino < other->ino ? -1 : 1;
	if (one->start != other->start)
		return one->start < other->start ? -1 : 1;
	return 0;
}

/* All reads begin and end between lines, or a pin that ends between two reads would break one. */
static void read_pins(struct pins *pins, int fd)
{
	char buf[LINES * LINE + 1];
	ssize_t len, at;

	while ((len = read(fd, buf, LINES * LINE)) > 0) {
		buf[len] = '\0';
		for (at = 0; at + LINE <= len; at += LINE) {
			buf[at + LINE - 1] = '\0';
			add_pin(pins, buf + at);
		}
		if (len % LINE)
			break;
	}
	pins->known = !len;
	if (pins->nr)
		qsort(pins->pin, pins->nr, sizeof(*pins->pin), by_file);
}

/* @count is the file that tells how many there are, or of how many blocks. */
static struct pins *new_pins(int nid, const char *list, const char *count)
{
	char *path = xasprintf(SYSFS "/node%d/%s", nid, list), *total;
	struct pins *pins = xcalloc(1, sizeof(*pins));
	int fd = root_open_regular(path, O_RDONLY);
	uint64_t number = 0;

	free(path);
	pins->nid = nid;
	if (fd < 0)
		return pins;
	read_pins(pins, fd);
	close(fd);
	/* It is empty for a caller without CAP_SYS_ADMIN. */
	total = read_text(SYSFS "/node%d/%s", nid, count);
	if (!pins->nr && (!total || !parse_number(total, &number) || number))
		pins->known = false;
	free(total);
	return pins;
}

/* What was read of nodes. */
struct known {
	struct pins **all;
	size_t nr;
};

static const struct pins *read_once(struct known *known, int nid, const char *list,
				    const char *count)
{
	size_t i;

	for (i = 0; i < known->nr; i++)
		if (known->all[i]->nid == nid)
			return known->all[i];
	known->all = xrealloc(known->all, (known->nr + 1) * sizeof(*known->all));
	known->all[known->nr] = new_pins(nid, list, count);
	return known->all[known->nr++];
}

const struct pins *pins_of_node(int nid)
{
	static struct known pins;

	return read_once(&pins, nid, "pins", "pinned_blocks");
}

const struct pins *attached_of_node(int nid)
{
	static struct known attached;

	return read_once(&attached, nid, "attached", "attached_files");
}

const struct pin *pins_of_file(const struct pins *pins, ino_t ino, size_t *nr)
{
	size_t first = 0;

	while (first < pins->nr && pins->pin[first].ino != ino)
		first++;
	for (*nr = 0; first + *nr < pins->nr && pins->pin[first + *nr].ino == ino;)
		++*nr;
	return *nr ? &pins->pin[first] : NULL;
}

uint64_t pins_bytes(const struct pin *pin, size_t nr)
{
	uint64_t end = 0, bytes = 0, last;
	size_t i;

	/* By rising start; a range can have several pins. */
	for (i = 0; i < nr; i++) {
		last = pin[i].start + pin[i].size;
		if (last <= end)
			continue;
		bytes += last - (pin[i].start > end ? pin[i].start : end);
		end = last;
	}
	return bytes;
}

char *pins_tasks(const struct pin *pin, size_t nr)
{
	char *list = NULL, *one, *name;
	size_t i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < i; j++)
			if (pin[j].pid == pin[i].pid && !strcmp(pin[j].command, pin[i].command))
				break;
		if (j < i)
			continue;
		name = plain_command(pin[i].command);
		one = pin[i].pid ? xasprintf("%d(%s)", pin[i].pid, name) :
				   xstrdup(PREVIOUS_KERNEL);
		list = join(list, ",", one);
		free(one);
		free(name);
	}
	return list;
}

/* What is to be told of the pins of a node. */
struct report {
	const struct pins *pins;
	bool *named;
	void (*fn)(const char *text, void *data);
	void *data;
};

static void report_file(const struct report *report, const char *path, const struct pin *pin,
			size_t nr)
{
	char *bytes = format_size(pins_bytes(pin, nr)), *tasks = pins_tasks(pin, nr), *text;

	text = xasprintf("%s: %s pinned by %s", path, bytes, tasks);
	report->fn(text, report->data);
	free(text);
	free(tasks);
	free(bytes);
}

static void look_for_pins(const struct file *file, void *arg)
{
	const struct report *report = arg;
	const struct pin *pin;
	size_t nr;

	pin = pins_of_file(report->pins, file->st->st_ino, &nr);
	/* Once, if it has several names. */
	if (!pin || report->named[pin - report->pins->pin])
		return;
	report->named[pin - report->pins->pin] = true;
	report_file(report, file->path, pin, nr);
}

void pins_report(int nid, int fd, const char *path,
		 void (*fn)(const char *text, void *data), void *data)
{
	const struct pins *pins = pins_of_node(nid);
	struct report report = { .pins = pins, .fn = fn, .data = data };
	char *text, *name = NULL;
	const struct pin *pin;
	size_t i, nr;

	if (!pins->nr)
		return;
	if (!path) {
		name = xasprintf("node%d", nid);
		path = name;
		fd = *sysroot ? -1 : node_mount_privately(nid);
	}
	report.named = xcalloc(pins->nr, sizeof(*report.named));
	if (fd >= 0)
		files_walk_mount(fd, path, nid, look_for_pins, &report, NULL);
	/* A file that was deleted has pins too. */
	for (i = 0; i < pins->nr; i += nr) {
		pin = pins_of_file(pins, pins->pin[i].ino, &nr);
		if (report.named[i])
			continue;
		text = xasprintf("node %d: %s %ju", nid,
				 fd < 0 ? "inode" : "a file without a name, inode",
				 (uintmax_t)pin->ino);
		report_file(&report, text, pin, nr);
		free(text);
	}
	free(report.named);
	if (!name)
		return;
	if (fd >= 0)
		close(fd);
	free(name);
}

/* Is one of the pins of this kernel, so that a process can end it? */
static bool has_process(const struct pins *pins)
{
	size_t i;

	for (i = 0; i < pins->nr && !pins->pin[i].pid; i++)
		;
	return i < pins->nr;
}

static void warn_of_pins(const char *text, void *data)
{
	(void)data;
	warning("%s", text);
}

void pins_warn(int nid, int fd, const char *path)
{
	const struct pins *pins = pins_of_node(nid);

	if (!pins->nr)
		return;
	pins_report(nid, fd, path, warn_of_pins, NULL);
	warning("node %d: %s", nid, has_process(pins) ?
		"stop these processes, or detach the devices" :
		"retrieve the preserved files, or finish their LUO sessions");
}
