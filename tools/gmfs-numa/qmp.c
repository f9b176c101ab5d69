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
#include "json.h"
#include "qmp.h"

/* For all answers together. A process that opens the file waits in the meantime. */
#define MAX_SECONDS	10
/* Of an answer, in bytes. A machine with 256 DIMMs takes 64 KiB. */
#define MAX_LINE	(4UL << 20)

#define FILE_BACKEND	"child<memory-backend-file>"

struct monitor {
	const char *path;
	int fd;
	pid_t pid;		/* process that listens, or 0 if it has no number here */
	int64_t deadline;	/* of CLOCK_MONOTONIC, in milliseconds */
	char *buf;
	size_t len;		/* bytes in buf that are no line yet */
};

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
static struct json *next_line(struct monitor *m)
{
	struct json *value;
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
	*end = '\0';
	/* What is behind a byte of value 0 would be lost. */
	value = strlen(m->buf) == (size_t)(end - m->buf) ? json_parse(m->buf) : NULL;
	if (!value || value->type != JSON_OBJECT)
		broken(m, "what answers is no monitor of QEMU");
	m->len -= end + 1 - m->buf;
	memmove(m->buf, end + 1, m->len);
	return value;
}

/*
 * What QEMU returns for a command, with @arguments in JSON or NULL. NULL if it refuses the
 * command and @may_fail. Freed by the caller, who uses its member "return".
 */
static struct json *ask(struct monitor *m, const char *command, const char *arguments,
			bool may_fail)
{
	const struct json *error;
	struct json *answer;
	char *text;

	text = xasprintf("{\"execute\": \"%s\", \"arguments\": %s}\n", command, arguments ?: "{}");
	send_text(m, text);
	free(text);
	for (;;) {
		answer = next_line(m);
		if (json_member(answer, "return"))
			return answer;
		error = json_member(answer, "error");
		if (error && !may_fail)
			fatal(EX_FAILED, "%s: whether a guest has the memory is unknown: %s: %s",
			      m->path, command, json_text(error, "desc") ?: "refused");
		/* Others are events. */
		json_free(answer);
		if (error)
			return NULL;
	}
}

/* A property of an object. NULL if it has none of that name and @may_fail. */
static struct json *get_property(struct monitor *m, const char *object, const char *name,
				 bool may_fail)
{
	char *path = json_string(object);
	char *arguments = xasprintf("{\"path\": %s, \"property\": \"%s\"}", path, name);
	struct json *answer = ask(m, "qom-get", arguments, may_fail);

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
	struct json *answer = get_property(m, "/machine", "memory-backend", true);
	const char *backend = json_text(answer, "return");
	bool is_main = backend && !strcmp(backend, object);

	json_free(answer);
	return is_main;
}

/* The device that has a backend, of those of query-memory-devices, or NULL. */
static const struct json *find_device(const struct json *devices, const char *object)
{
	const struct json *device;
	const char *memdev;

	for (device = devices->items; device; device = device->next) {
		memdev = json_text(json_member(device, "data"), "memdev");
		if (memdev && !strcmp(memdev, object))
			return device;
	}
	return NULL;
}

/*
 * How the guest has memory of a device, or NULL if it does not. A guest plugs blocks of
 * virtio-mem by itself as long as QEMU requests them.
 */
static char *device_state(const struct monitor *m, const struct json *device)
{
	const struct json *data = json_member(device, "data");
	const char *type = json_text(device, "type"), *id = json_text(data, "id");
	uint64_t size, requested;
	char *has, *wanted, *why;

	if (!id)
		id = json_text(data, "memdev");
	if (!type)
		broken(m, "what answers is no monitor of QEMU");
	if (strcmp(type, "virtio-mem"))
		return xasprintf("plugged into the guest by %s \"%s\"", type, id);
	size = json_number(data, "size");
	requested = json_number(data, "requested-size");
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
static size_t add_backend(struct monitor *m, const char *name, const struct json *devices,
			  const struct stat *st, struct plugged **plugged, size_t nr)
{
	char *object = xasprintf("/objects/%s", name), *why = NULL;
	struct json *path = get_property(m, object, "mem-path", false);
	struct json *size = get_property(m, object, "size", false);
	/* QEMU before 8.1 has none: its backends begin at the start of the file. */
	struct json *offset = get_property(m, object, "offset", true);
	uint64_t start = offset ? json_number(offset, "return") : 0;
	uint64_t length = json_number(size, "return");
	const struct json *device;

	if (!json_text(path, "return") || !is_known(start) || !is_known(length) ||
	    start + length < start)
		broken(m, "what answers is no monitor of QEMU");
	if (is_file(m, json_text(path, "return"), st)) {
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
	json_free(path);
	json_free(size);
	json_free(offset);
	free(object);
	return nr;
}

size_t qmp_plugged(const char *path, const struct stat *st, struct plugged **plugged)
{
	const struct json *list, *item;
	struct json *greeting, *capabilities, *devices, *objects;
	struct monitor m;
	size_t nr = 0;

	*plugged = NULL;
	monitor_open(&m, path);
	greeting = next_line(&m);
	if (!json_member(greeting, "QMP"))
		broken(&m, "what answers is no monitor of QEMU");
	capabilities = ask(&m, "qmp_capabilities", NULL, false);
	objects = ask(&m, "qom-list", "{\"path\": \"/objects\"}", false);
	devices = ask(&m, "query-memory-devices", NULL, false);
	list = json_member(objects, "return");
	if (list->type != JSON_ARRAY || json_member(devices, "return")->type != JSON_ARRAY)
		broken(&m, "what answers is no monitor of QEMU");
	for (item = list->items; item; item = item->next) {
		const char *type = json_text(item, "type"), *name = json_text(item, "name");

		if (!type || !name)
			broken(&m, "what answers is no monitor of QEMU");
		if (!strcmp(type, FILE_BACKEND))
			nr = add_backend(&m, name, json_member(devices, "return"), st, plugged, nr);
	}
	json_free(greeting);
	json_free(capabilities);
	json_free(objects);
	json_free(devices);
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
