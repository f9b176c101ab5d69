// SPDX-License-Identifier: GPL-2.0
/*
 * Memory, messages and sizes.
 */

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmfs-numa.h"

bool opt_bytes;
const char *program = "gmfs-numa";

void *xrealloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p)
		fatal(EX_FAILED, "out of memory");
	return p;
}

void *xmalloc(size_t size)
{
	return xrealloc(NULL, size);
}

void *xcalloc(size_t nr, size_t size)
{
	void *p = calloc(nr ? nr : 1, size);

	if (!p)
		fatal(EX_FAILED, "out of memory");
	return p;
}

char *xstrdup(const char *s)
{
	return strcpy(xmalloc(strlen(s) + 1), s);
}

char *xasprintf(const char *fmt, ...)
{
	va_list args;
	char *s;
	int len;

	va_start(args, fmt);
	len = vasprintf(&s, fmt, args);
	va_end(args);
	if (len < 0)
		fatal(EX_FAILED, "out of memory");
	return s;
}

/* Names of files and processes are in it, which are what others made them. */
static void message(const char *fmt, va_list args)
{
	static bool again;
	char *text, *shown;

	/* What was printed so far comes first. */
	fflush(stdout);
	/* That there is no memory is said without taking some. */
	if (again || vasprintf(&text, fmt, args) < 0) {
		fprintf(stderr, "%s: %s\n", program, fmt);
		return;
	}
	again = true;
	shown = printable(text);
	fprintf(stderr, "%s: %s\n", program, shown);
	free(shown);
	free(text);
	again = false;
}

void warning(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	message(fmt, args);
	va_end(args);
}

void fatal(int status, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	message(fmt, args);
	va_end(args);
	exit(status);
}

/* Bytes of the UTF-8 character that text starts with, or 0 if it is none. */
static size_t utf8_length(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t len, i;
	uint32_t c;

	if (*s < 0x80)
		return 1;
	len = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
	c = *s & (0xff >> (len + 1));
	if (*s < 0xc2 || *s > 0xf4)
		return 0;
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	/* Neither what is shorter otherwise, nor surrogates, nor what is beyond Unicode. */
	if ((len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10ffff)) ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	return len;
}

/* Of ASCII, and those that begin with an escape sequence in one character (C1). */
static bool is_control(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	return *s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0);
}

static char *escape(const char *text, bool controls_too)
{
	char *escaped = xmalloc(4 * strlen(text) + 1), *to = escaped;
	size_t len;

	while (*text) {
		len = utf8_length(text);
		if (!len || (controls_too && is_control(text))) {
			to += sprintf(to, "\\x%02x", (unsigned char)*text++);
			/* The rest of a control character of two bytes is none by itself. */
			continue;
		}
		memcpy(to, text, len);
		to += len;
		text += len;
	}
	*to = '\0';
	return escaped;
}

char *printable(const char *text)
{
	return escape(text, true);
}

char *valid_utf8(const char *text)
{
	return escape(text, false);
}

char *plain_command(const char *command)
{
	char *plain = xstrdup(command), *at = plain;

	while ((at = strpbrk(at, "(),")))
		*at = '?';
	return plain;
}

bool parse_number(const char *text, uint64_t *number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*number = strtoull(text, &end, 10);
	return !*end && !errno;
}

bool parse_percent(const char *text, uint64_t *percent)
{
	size_t len = strlen(text);
	char *number;
	bool good;

	if (!len || text[len - 1] != '%')
		return false;
	number = xstrdup(text);
	number[len - 1] = '\0';
	good = parse_number(number, percent) && *percent <= 100;
	free(number);
	return good;
}

uint64_t percent_of(uint64_t bytes, uint64_t percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGTPE";
	double fraction = 0, digit = 1;
	unsigned int shift = 0;
	uint64_t whole, part;
	const char *unit;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	whole = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end == '.')
		for (end++; *end >= '0' && *end <= '9'; end++)
			fraction += (*end - '0') * (digit /= 10);
	if (*end) {
		unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!unit)
			return false;
		shift = 10 * (unit - units + 1);
		end++;
		if (!strcmp(end, "iB") || !strcmp(end, "i"))
			end += strlen(end);
	}
	/* A part of a byte is no size, nor is what has no place in 64 bits. */
	if (*end || (digit < 1 && !shift) || whole > UINT64_MAX >> shift)
		return false;
	/* Many nines are rounded to a whole. */
	part = fraction * (1ULL << shift);
	*bytes = (whole << shift) + part;
	return *bytes >= part;
}

char *format_size(uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	unsigned int unit = 0;
	uint64_t whole = bytes;
	unsigned int tenth = 0;

	if (!is_known(bytes))
		return xstrdup("unknown");
	if (opt_bytes)
		return xasprintf("%ju", (uintmax_t)bytes);
	while (whole >= 1024 && units[unit + 1]) {
		/* Rounded to the nearest, as lsmem does it. */
		tenth = (whole % 1024 * 10 + 512) / 1024;
		whole /= 1024;
		unit++;
	}
	if (tenth == 10) {
		whole++;
		tenth = 0;
		if (whole == 1024 && units[unit + 1]) {
			whole = 1;
			unit++;
		}
	}
	return tenth ? xasprintf("%ju.%u%c", (uintmax_t)whole, tenth, units[unit]) :
		       xasprintf("%ju%c", (uintmax_t)whole, units[unit]);
}

bool next_number(const char **text, unsigned int *number)
{
	unsigned long value;
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	value = strtoul(*text, &end, 10);
	/* More than any machine has of nodes or CPUs; what is larger must not wrap. */
	if (errno || value >= 1 << 20)
		return false;
	*number = value;
	*text = end;
	return true;
}

bool next_range(const char **list, unsigned int *first, unsigned int *last)
{
	const char *to;

	if (!next_number(list, first))
		return false;
	*last = *first;
	to = *list + 1;
	if (**list == '-' && next_number(&to, last))
		*list = to;
	*list += **list == ',';
	return *last >= *first;
}

void free_strings(char **strings)
{
	size_t i;

	for (i = 0; strings[i]; i++)
		free(strings[i]);
	free(strings);
}

char *join(char *list, const char *separator, const char *item)
{
	char *joined;

	joined = list && *list ? xasprintf("%s%s%s", list, separator, item) : xstrdup(item);
	free(list);
	return joined;
}

char *join_node(char *list, int nid)
{
	char *number = xasprintf("%d", nid);

	list = join(list, ",", number);
	free(number);
	return list;
}

/* Devices and pipes are written to, as they are; a link could lead anywhere. */
static FILE *open_as_it_is(const char *path, const char *shown)
{
	/* /dev/stdout is one. */
	int follow = strncmp(path, "/dev/", 5) ? O_NOFOLLOW : 0;
	int fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | follow);
	struct stat st;

	if (fd < 0 && errno != ELOOP)
		return NULL;
	if (fd < 0 || fstat(fd, &st) || S_ISREG(st.st_mode))
		fatal(EX_FAILED, "%s is a symbolic link: name the file that is to be replaced",
		      shown);
	/* open() of a pipe without a reader is an error; then write() can wait. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fdopen(fd, "w");
}

void replace_begin(struct replacement *r, const char *path, const char *shown)
{
	struct stat st;
	int fd;

	if (!strcmp(path, "-"))
		path = "/dev/stdout";
	r->path = path;
	r->shown = shown;
	r->like = NULL;
	r->temp = NULL;
	if (!*path)
		fatal(EX_USAGE, "'' is no name of a file");
	if (!lstat(path, &st) && !S_ISREG(st.st_mode)) {
		r->out = open_as_it_is(path, shown);
	} else {
		r->temp = xasprintf("%s.XXXXXX", path);
		fd = mkstemp(r->temp);
		r->out = fd < 0 ? NULL : fdopen(fd, "w");
	}
	if (!r->out)
		fatal(EX_FAILED, "%s%s: %s", shown, r->temp ? ": no file can be made there" : "",
		      strerror(errno));
}

void replace_end(struct replacement *r)
{
	int fd = fileno(r->out);
	bool bad;
	int err;

	bad = fflush(r->out) || ferror(r->out) ||
	      (r->like && fchown(fd, r->like->st_uid, r->like->st_gid)) ||
	      (r->temp && (fchmod(fd, r->like ? r->like->st_mode & 07777 : 0644) ||
			   fsync(fd)));
	err = errno;
	if (fclose(r->out) && !bad) {
		bad = true;
		err = errno;
	}
	if (r->temp && !bad && rename(r->temp, r->path)) {
		bad = true;
		err = errno;
	}
	if (bad) {
		if (r->temp)
			unlink(r->temp);
		fatal(EX_FAILED, "%s: %s", r->shown, strerror(err));
	}
	free(r->temp);
}

void parse_args(const struct argp *argp, int argc, char **argv, int *first, void *input)
{
	argp_err_exit_status = EX_USAGE;
	/* Each command has options of its own behind its arguments as well. */
	if (argp_parse(argp, argc, argv, 0, first, input))
		exit(EX_USAGE);
}

void occupy_standard_streams(void)
{
	int fd;

	/* Opened for what the stream is not: its use stays an error. */
	do {
		fd = open("/dev/null", O_RDONLY);
		if (!fd) {
			close(fd);
			fd = open("/dev/null", O_WRONLY);
		}
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* What could not be written is an error, also on a disk that is full. */
void close_stdout(void)
{
	/* Of what was flushed before nothing but this is known. */
	bool failed = ferror(stdout);

	errno = 0;
	if ((fclose(stdout) || failed) && errno != EPIPE) {
		fprintf(stderr, "%s: cannot write: %s\n", program,
			errno ? strerror(errno) : "an earlier write failed");
		_exit(EX_FAILED);
	}
}
