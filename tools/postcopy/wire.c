// SPDX-License-Identifier: GPL-2.0
/* What both sides of a post-copy send, receive, and expect of a file. */
#include <endian.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "postcopy.h"
#include "wire.h"

#define MAGIC	0x327970632d746d67ULL	/* "gmt-cpy2" */

struct postcopy_hello {
	uint64_t magic;
	uint64_t size;
};

/* At most @len bytes: how many, or -errno; -EPIPE at the end of the connection. */
ssize_t postcopy_recv(int sock, void *to, size_t len)
{
	ssize_t n;

	do
		n = recv(sock, to, len, MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	return n ? -errno : -EPIPE;
}

/* All of @len bytes: 0, or -errno. */
int postcopy_read(int sock, void *to, size_t len)
{
	while (len) {
		ssize_t n = postcopy_recv(sock, to, len);

		if (n < 0)
			return n;
		to = (char *)to + n;
		len -= n;
	}
	return 0;
}

int postcopy_write(int sock, const void *from, size_t len)
{
	while (len) {
		ssize_t n = send(sock, from, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from = (const char *)from + n;
		len -= n;
	}
	return 0;
}

/* Both sides have to know the same size. */
int postcopy_greet(int sock, size_t size)
{
	struct postcopy_hello mine = { htole64(MAGIC), htole64(size) }, other;
	int err;

	err = postcopy_write(sock, &mine, sizeof(mine));
	if (!err)
		err = postcopy_read(sock, &other, sizeof(other));
	if (!err && (other.magic != mine.magic || other.size != mine.size))
		err = -EPROTO;
	return err;
}

/* Bytes of a file of whole pages, or -errno. */
ssize_t postcopy_file_size(int file)
{
	struct stat st;

	if (fstat(file, &st))
		return -errno;
	if (!st.st_size || st.st_size % POSTCOPY_PAGE)
		return -EINVAL;
	return st.st_size;
}
