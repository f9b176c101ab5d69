// SPDX-License-Identifier: GPL-2.0
/*
 * The machine protocol of QEMU (QMP): which ranges of a file its guest has.
 *
 * QEMU names the file of a memory backend by a path, which is one of QEMU's mount namespace
 * and current directory. It is looked up there, by /proc of the process that listens at the
 * socket, and compared by device and inode.
 *
 * Only what is asked is sent: no command here changes the machine.
 */

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "qmp.h"

/* For all answers together. A process that opens the file waits in the meantime. */
#define MAX_SECONDS	10
/* Of an answer, in bytes. A machine with 256 DIMMs takes 64 KiB. */
#define MAX_LINE	(4UL << 20)

/* Of objects and arrays in each other. A guest may have taken QEMU over. */
#define MAX_DEPTH	32

#define FILE_BACKEND	"child<memory-backend-file>"

struct monitor {
	const char *path;
	int fd;
	pid_t pid;		/* process that listens, or 0 if it has no number here */
	int64_t deadline;	/* of CLOCK_MONOTONIC, in milliseconds */
	char *buf;
	size_t len;		/* bytes in buf that are no line yet */
};

/* A member of an object; NULL if there is none, or if @value is NULL or no object. */
static struct json_object *member(struct json_object *value, const char *name)
{
	struct json_object *found = NULL;

	json_object_object_get_ex(value, name, &found);
	return found;
}

/* The same of a string; NULL if the member is none, or has a byte of value 0. */
static const char *text_member(struct json_object *value, const char *name)
{
	struct json_object *found = member(value, name);
	const char *text;

	if (!json_object_is_type(found, json_type_string))
		return NULL;
	text = json_object_get_string(found);
	return strlen(text) == (size_t)json_object_get_string_len(found) ? text : NULL;
}

/* The same of a number; NUMBER_UNKNOWN if the member is no integer or does not fit. */
static uint64_t number_member(struct json_object *value, const char *name)
{
	struct json_object *found = member(value, name);

	if (!json_object_is_type(found, json_type_int) || json_object_get_int64(found) < 0)
		return NUMBER_UNKNOWN;
	return json_object_get_uint64(found);
}

/* The object that is all of @text. NULL if it is no JSON, or no object. */
static struct json_object *parse_object(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new_ex(MAX_DEPTH);
	struct json_object *value;
	bool whole;

	if (!tokener)
		fatal(EX_FAILED, "%s", strerror(ENOMEM));
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	value = json_tokener_parse_ex(tokener, text, len);
	/* A byte of value 0 ends the text for json-c, also if more follows. */
	whole = json_tokener_get_parse_end(tokener) == len;
	json_tokener_free(tokener);
	if (whole && json_object_is_type(value, json_type_object))
		return value;
	json_object_put(value);
	return NULL;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void __attribute__((noreturn)) broken(const struct monitor *m, const char *why)
{
	fatal(EX_FAILED, "%s: whether a guest has the memory is unknown: %s", m->path, why);
}

static void wait_for(const struct monitor *m, short events)
{
	struct pollfd poller = { .fd = m->fd, .events = events };
	int64_t left;
	int ret;

	do {
		left = m->deadline - now_ms();
		ret = left > 0 ? poll(&poller, 1, left) : 0;
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		broken(m, strerror(errno));
	if (!ret)
		broken(m, "no answer; a monitor of QEMU talks to one program at a time");
}

static void monitor_open(struct monitor *m, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t len = sizeof(peer);

	*m = (struct monitor){ .path = path, .deadline = now_ms() + MAX_SECONDS * 1000 };
	if (!*path || strlen(path) >= sizeof(address.sun_path))
		fatal(EX_FAILED, "%s: the path of a socket has 1 to %zu bytes", path,
		      sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* EAGAIN: other programs wait already. */
	if (m->fd < 0 || connect(m->fd, (struct sockaddr *)&address, sizeof(address)) ||
	    getsockopt(m->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		broken(m, strerror(errno));
	m->pid = peer.pid;
	m->buf = xmalloc(MAX_LINE + 1);
}

static void monitor_close(struct monitor *m)
{
	close(m->fd);
	free(m->buf);
}

static void send_text(const struct monitor *m, const char *text)
{
	size_t left = strlen(text);
	ssize_t done;

	while (left) {
		done = send(m->fd, text, left, MSG_NOSIGNAL);
		if (done > 0) {
			text += done;
			left -= done;
		} else if (done < 0 && errno == EAGAIN) {
			wait_for(m, POLLOUT);
		} else if (done < 0 && errno != EINTR) {
			broken(m, strerror(errno));
		}
	}
}

/* The value in the next line. */
static struct json_object *next_line(struct monitor *m)
{
	struct json_object *value;
	ssize_t more;
	char *end;

	while (!(end = memchr(m->buf, '\n', m->len))) {
		if (m->len == MAX_LINE)
			broken(m, "the answer is too long");
		wait_for(m, POLLIN);
		more = recv(m->fd, m->buf + m->len, MAX_LINE - m->len, 0);
		if (!more)
			broken(m, "the connection was closed");
		if (more < 0 && errno != EAGAIN && errno != EINTR)
			broken(m, strerror(errno));
		m->len += more > 0 ? more : 0;
	}
	value = parse_object(m->buf, end - m->buf);
	if (!value)
		broken(m, "what answers is no monitor of QEMU");
	m->len -= end + 1 - m->buf;
	memmove(m->buf, end + 1, m->len);
	return value;
}

/*
 * What QEMU returns for a command, with @arguments in JSON or NULL. NULL if it refuses the
 * command and @may_fail. Freed by the caller, who uses its member "return".
 */
static struct json_object *ask(struct monitor *m, const char *command, const char *arguments,
			       bool may_fail)
{
	struct json_object *answer, *error;
	bool refused;
	char *text;

	text = xasprintf("{\"execute\": \"%s\", \"arguments\": %s}\n", command, arguments ?: "{}");
	send_text(m, text);
	free(text);
	for (;;) {
		answer = next_line(m);
		if (json_object_object_get_ex(answer, "return", NULL))
			return answer;
		error = member(answer, "error");
		refused = json_object_object_get_ex(answer, "error", NULL);
		if (refused && !may_fail)
			fatal(EX_FAILED, "%s: whether a guest has the memory is unknown: %s: %s",
			      m->path, command, text_member(error, "desc") ?: "refused");
		/* Others are events. */
		json_object_put(answer);
		if (refused)
			return NULL;
	}
}

/* A property of an object. NULL if it has none of that name and @may_fail. */
static struct json_object *get_property(struct monitor *m, const char *object, const char *name,
					bool may_fail)
{
	char *path = json_string(object);
	char *arguments = xasprintf("{\"path\": %s, \"property\": \"%s\"}", path, name);
	struct json_object *answer = ask(m, "qom-get", arguments, may_fail);

	free(path);
	free(arguments);
	return answer;
}

/*
 * Is it the file with that path, as QEMU sees it? Exits if nothing is there. The path of a
 * file that was renamed can lead to another one; QEMU maps the file still, which add_users()
 * finds.
 */
static bool is_file(const struct monitor *m, const char *path, const struct stat *st)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	char *dir_path = xasprintf("/proc/%d/%s", m->pid, *path == '/' ? "root" : "cwd");
	int dir = open(dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat found;

	/* Symbolic links in a path from "cwd" on are those of this namespace. */
	if (*path != '/')
		how.resolve = 0;
	if (dir >= 0)
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &found))
		fatal(EX_FAILED, "%s: whether a guest has the memory is unknown: its file %s, as process %d has it: %s",
		      m->path, path, m->pid, strerror(errno));
	close(fd);
	close(dir);
	free(dir_path);
	return found.st_dev == st->st_dev && found.st_ino == st->st_ino;
}

static bool is_main_memory(struct monitor *m, const char *object)
{
	struct json_object *answer = get_property(m, "/machine", "memory-backend", true);
	const char *backend = text_member(answer, "return");
	bool is_main = backend && !strcmp(backend, object);

	json_object_put(answer);
	return is_main;
}

/* The device that has a backend, of those of query-memory-devices, or NULL. */
static struct json_object *find_device(struct json_object *devices, const char *object)
{
	struct json_object *device;
	const char *memdev;
	size_t i;

	for (i = 0; i < json_object_array_length(devices); i++) {
		device = json_object_array_get_idx(devices, i);
		memdev = text_member(member(device, "data"), "memdev");
		if (memdev && !strcmp(memdev, object))
			return device;
	}
	return NULL;
}

/*
 * How the guest has memory of a device, or NULL if it does not. A guest plugs blocks of
 * virtio-mem by itself as long as QEMU requests them.
 */
static char *device_state(const struct monitor *m, struct json_object *device)
{
	struct json_object *data = member(device, "data");
	const char *type = text_member(device, "type"), *id = text_member(data, "id");
	uint64_t size, requested;
	char *has, *wanted, *why;

	if (!id)
		id = text_member(data, "memdev");
	if (!type)
		broken(m, "what answers is no monitor of QEMU");
	if (strcmp(type, "virtio-mem"))
		return xasprintf("plugged into the guest by %s \"%s\"", type, id);
	size = number_member(data, "size");
	requested = number_member(data, "requested-size");
	if (!is_known(size) || !is_known(requested))
		broken(m, "the state of a virtio-mem is unknown");
	if (!size && !requested)
		return NULL;
	has = format_size(size);
	wanted = format_size(requested);
	why = xasprintf("virtio-mem \"%s\" has %s plugged into the guest, and requests %s", id, has,
			wanted);
	free(has);
	free(wanted);
	return why;
}

/* Adds the range of the backend @name, if it is one of the file and the guest has it. */
static size_t add_backend(struct monitor *m, const char *name, struct json_object *devices,
			  const struct stat *st, struct plugged **plugged, size_t nr)
{
	char *object = xasprintf("/objects/%s", name), *why = NULL;
	struct json_object *path = get_property(m, object, "mem-path", false);
	struct json_object *size = get_property(m, object, "size", false);
	/* QEMU before 8.1 has none: its backends begin at the start of the file. */
	struct json_object *offset = get_property(m, object, "offset", true);
	uint64_t start = offset ? number_member(offset, "return") : 0;
	uint64_t length = number_member(size, "return");
	struct json_object *device;

	if (!text_member(path, "return") || !is_known(start) || !is_known(length) ||
	    start + length < start)
		broken(m, "what answers is no monitor of QEMU");
	if (is_file(m, text_member(path, "return"), st)) {
		device = find_device(devices, object);
		if (device)
			why = device_state(m, device);
		else if (is_main_memory(m, object))
			why = xasprintf("memory of the machine, by backend \"%s\"", name);
		else
			why = xasprintf("memory backend \"%s\": object-del removes it, unless a device has it",
					name);
	}
	if (why) {
		*plugged = xrealloc(*plugged, (nr + 1) * sizeof(**plugged));
		(*plugged)[nr++] = (struct plugged){ start, start + length, why };
	}
	json_object_put(path);
	json_object_put(size);
	json_object_put(offset);
	free(object);
	return nr;
}

size_t qmp_plugged(const char *path, const struct stat *st, struct plugged **plugged)
{
	struct json_object *greeting, *capabilities, *devices, *objects, *list, *item;
	const char *type, *name;
	struct monitor m;
	size_t i, nr = 0;

	*plugged = NULL;
	monitor_open(&m, path);
	greeting = next_line(&m);
	if (!member(greeting, "QMP"))
		broken(&m, "what answers is no monitor of QEMU");
	capabilities = ask(&m, "qmp_capabilities", NULL, false);
	objects = ask(&m, "qom-list", "{\"path\": \"/objects\"}", false);
	devices = ask(&m, "query-memory-devices", NULL, false);
	list = member(objects, "return");
	if (!json_object_is_type(list, json_type_array) ||
	    !json_object_is_type(member(devices, "return"), json_type_array))
		broken(&m, "what answers is no monitor of QEMU");
	for (i = 0; i < json_object_array_length(list); i++) {
		item = json_object_array_get_idx(list, i);
		type = text_member(item, "type");
		name = text_member(item, "name");
		if (!type || !name)
			broken(&m, "what answers is no monitor of QEMU");
		if (!strcmp(type, FILE_BACKEND))
			nr = add_backend(&m, name, member(devices, "return"), st, plugged, nr);
	}
	json_object_put(greeting);
	json_object_put(capabilities);
	json_object_put(objects);
	json_object_put(devices);
	monitor_close(&m);
	return nr;
}

void plugged_free(struct plugged *plugged, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		free(plugged[i].why);
	free(plugged);
}
