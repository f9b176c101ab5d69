// SPDX-License-Identifier: GPL-2.0
/*
 * Files of guestmemfs: finding them, where their memory is, and whose they are.
 */

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <libmount/libmount.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* What one call of the ioctl asks for. */
#define EXTENTS	512

ssize_t file_pieces(int fd, struct piece **pieces)
{
	struct fiemap *map = xcalloc(1, sizeof(*map) + EXTENTS * sizeof(map->fm_extents[0]));
	uint64_t start = 0;
	ssize_t nr = 0;
	bool last = false;
	unsigned int i;

	*pieces = NULL;
	while (!last) {
		map->fm_start = start;
		map->fm_length = FIEMAP_MAX_OFFSET - start;
		map->fm_extent_count = EXTENTS;
		if (ioctl(fd, FS_IOC_FIEMAP, map)) {
			nr = -errno;
			break;
		}
		last = !map->fm_mapped_extents;
		*pieces = xrealloc(*pieces, (nr + map->fm_mapped_extents) * sizeof(**pieces));
		for (i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *extent = &map->fm_extents[i];

			(*pieces)[nr++] = (struct piece){
				.offset = extent->fe_logical,
				.phys = extent->fe_physical,
				.size = extent->fe_length,
				.known = !(extent->fe_flags & FIEMAP_EXTENT_UNKNOWN),
			};
			start = extent->fe_logical + extent->fe_length;
			last = extent->fe_flags & FIEMAP_EXTENT_LAST;
		}
	}
	free(map);
	if (nr < 0) {
		free(*pieces);
		*pieces = NULL;
	}
	return nr;
}

uint64_t piece_giant_bytes(const struct piece *piece)
{
	const uint64_t giant = 1ULL << 30;
	uint64_t skip = -piece->phys % giant;

	/* A leaf needs the file's offset to match as well. */
	if (!piece->known || (piece->phys - piece->offset) % giant || piece->size < skip)
		return 0;
	return (piece->size - skip) / giant * giant;
}

static char *get_tag(const char *path, const char *name)
{
	char value[256];
	ssize_t len = lgetxattr(path, name, value, sizeof(value) - 1);

	if (len < 0)
		return NULL;
	value[len] = '\0';
	return xstrdup(value);
}

void tags_read(struct tags *tags, const char *path)
{
	tags->owner = get_tag(path, TAG_OWNER);
	tags->vmm = get_tag(path, TAG_VMM);
	tags->since = get_tag(path, TAG_SINCE);
	tags->boot = get_tag(path, TAG_BOOT);
}

void tags_free(struct tags *tags)
{
	free(tags->owner);
	free(tags->vmm);
	free(tags->since);
	free(tags->boot);
}

/* @path counts if there is no @fd. */
static int set_tag(int fd, const char *path, const char *name, const char *value)
{
	int err;

	if (value && *value)
		return fd >= 0 ? fsetxattr(fd, name, value, strlen(value), 0) :
				 lsetxattr(path, name, value, strlen(value), 0);
	err = fd >= 0 ? fremovexattr(fd, name) : lremovexattr(path, name);
	return err && errno != ENODATA ? -1 : 0;
}

static int set_tags(int fd, const char *path, const char *owner, const char *vmm)
{
	char *boot = read_text("/proc/sys/kernel/random/boot_id");
	time_t now = time(NULL);
	char since[32];
	int err = 0;

	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	if ((owner && set_tag(fd, path, TAG_OWNER, owner)) ||
	    (vmm && set_tag(fd, path, TAG_VMM, vmm)) || set_tag(fd, path, TAG_BOOT, boot) ||
	    set_tag(fd, path, TAG_SINCE, since))
		err = -errno;
	free(boot);
	return err;
}

int tags_write(const char *path, const char *owner, const char *vmm)
{
	return set_tags(-1, path, owner, vmm);
}

int tags_write_fd(int fd, const char *owner, const char *vmm)
{
	return set_tags(fd, NULL, owner, vmm);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void walk(const char *path, int nid, void (*fn)(const struct file *file, void *arg),
		 void *arg)
{
	char *const paths[] = { (char *)path, NULL };
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, by_name);
	FTSENT *entry;

	while (fts && (entry = fts_read(fts))) {
		if (entry->fts_info == FTS_F) {
			const struct file file = { entry->fts_path, entry->fts_statp, nid };

			fn(&file, arg);
		} else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR) {
			warning("%s: %s", entry->fts_path, strerror(entry->fts_errno));
		}
	}
	if (fts)
		fts_close(fts);
}

static void walk_node(int nid, void (*fn)(const struct file *file, void *arg), void *arg)
{
	struct libmnt_table *table = mounts_read();
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;

	/* All mounts of a node have the same files. */
	while ((fs = mounts_next(table, iter))) {
		if (fs_node(fs) != nid || strcmp(mnt_fs_get_root(fs), "/"))
			continue;
		walk(mnt_fs_get_target(fs), nid, fn, arg);
		break;
	}
	mnt_free_iter(iter);
	mnt_unref_table(table);
}

void files_walk(int argc, char **argv, void (*fn)(const struct file *file, void *arg), void *arg)
{
	struct nodes *nodes;
	size_t i;
	int nid, a;

	if (!argc || !strchr(argv[0], '/')) {
		nodes = nodes_select(argc, argv);
		for (i = 0; i < nodes->nr; i++)
			walk_node(nodes->node[i].nid, fn, arg);
		nodes_free(nodes);
		return;
	}
	for (a = 0; a < argc; a++) {
		nid = path_need_node(argv[a]);
		walk(argv[a], nid, fn, arg);
	}
}
