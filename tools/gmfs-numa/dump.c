// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa check --dump: dumps of the metadata of nodes, checked by the kernel's own
 * functions (tools/gmcore). A file is a copy of the attribute "metadata" of a node, or
 * a memory image of a kernel as ELF (/proc/vmcore), in which the pools are looked for.
 */

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../gmcore/dump.h"
#include "gmfs-numa.h"

#define PAGE		4096
#define BLOB_SIZE	(2 * PAGE)
/* More than the metadata of any node: a limit of what a pipe can have us read. */
#define MAX_DUMP	(64ULL << 30)

/* As in include/linux/kho/abi/guestmem_pool.h; gmcore checks all that is read by them. */
#define SUPER_MAGIC	0x4c4f4f504d454d47ULL	/* "GMEMPOOL" */
#define AT_NR_TABLES	92
#define AT_NR_META	96
#define AT_TABLES	2048
#define MAX_TABLES	128
#define AT_CHUNKS	64
#define AT_NR_CHUNKS	28
#define MAX_CHUNKS	252

struct image {
	const char *path;
	const uint8_t *map;
	uint64_t size;
	const Elf64_Phdr *segment;
	unsigned int nr_segments;
};

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Memory at a physical address, or NULL if the file does not have all of it. */
static const uint8_t *at_phys(const struct image *image, uint64_t phys, uint64_t size)
{
	unsigned int i;

	for (i = 0; i < image->nr_segments; i++) {
		const Elf64_Phdr *p = &image->segment[i];

		uint64_t at = phys - p->p_paddr;

		if (p->p_type == PT_LOAD && phys >= p->p_paddr && at <= p->p_filesz &&
		    size <= p->p_filesz - at && p->p_offset <= image->size &&
		    p->p_filesz <= image->size - p->p_offset)
			return image->map + p->p_offset + at;
	}
	return NULL;
}

/* Each dump is a row; returns false if it is damaged. */
static bool check_one(struct table *table, void *dump, size_t size)
{
	struct gmcore_dump about;
	char *why = gmcore_check_dump(dump, size, &about);
	bool good = !why;

	table_row(table);
	if (about.nid >= 0)
		table_number(table, 0, about.nid);
	table_bool(table, 1, good);
	table_text(table, 2, why ?: about.notes ?: "ok");
	if (about.live)
		warning("node %d: the kernel still used the pool, so checksums are not compared",
			about.nid);
	free(about.notes);
	free(why);
	return good;
}

/* The same as the attribute has: super block, tables, metadata. NULL if a part is missing. */
static uint8_t *assemble(const struct image *image, const uint8_t *super, size_t *size)
{
	uint32_t nr_tables = get32(super + AT_NR_TABLES), t, c, nr;
	uint64_t left = get32(super + AT_NR_META), blocks;
	const uint8_t *table, *chunk;
	uint8_t *dump, *to;

	*size = gmcore_dump_size(super);
	if (!*size || *size > image->size)
		return NULL;
	dump = malloc(*size);
	if (!dump)
		fatal(EX_FAILED, "%s: no memory for metadata of %zu bytes", image->path, *size);
	memcpy(dump, super, PAGE);
	to = dump + PAGE * (1 + (size_t)nr_tables);
	for (t = 0; t < nr_tables; t++) {
		table = at_phys(image, get64(super + AT_TABLES + 8 * t), PAGE);
		if (!table)
			goto missing;
		memcpy(dump + PAGE * (1 + (size_t)t), table, PAGE);
		nr = get32(table + AT_NR_CHUNKS);
		for (c = 0; c < nr && c < MAX_CHUNKS; c++) {
			blocks = get32(table + AT_CHUNKS + 16 * c + 12);
			if (blocks > left)
				goto missing;
			chunk = at_phys(image, get64(table + AT_CHUNKS + 16 * c), blocks * PAGE);
			if (!chunk)
				goto missing;
			memcpy(to, chunk, blocks * PAGE);
			to += blocks * PAGE;
			left -= blocks;
		}
	}
	if (!left)
		return dump;
missing:
	free(dump);
	return NULL;
}

static bool is_blob(const struct image *image, uint64_t offset, uint64_t end)
{
	const uint8_t *at = image->map + offset;

	/* Two copies; that of a file cache or of an older kernel is not told apart. */
	return offset + BLOB_SIZE <= end && get64(at) == SUPER_MAGIC &&
	       !memcmp(at, at + PAGE, PAGE) && gmcore_dump_size(at);
}

static int check_vmcore(struct table *table, struct image *image)
{
	const Elf64_Ehdr *head = (const void *)image->map;
	uint64_t at, end;
	bool good = true;
	size_t size, nr = 0;
	unsigned int i;
	uint8_t *dump;

	if (head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_ident[EI_DATA] != ELFDATA2LSB ||
	    head->e_type != ET_CORE || head->e_phentsize != sizeof(Elf64_Phdr) ||
	    head->e_phoff > image->size || head->e_phoff % sizeof(uint64_t) ||
	    head->e_phnum > (image->size - head->e_phoff) / sizeof(Elf64_Phdr))
		fatal(EX_FAILED, "%s is neither a node's metadata nor a memory image (ELF core, 64 bits, little-endian)",
		      image->path);
	image->segment = (const void *)(image->map + head->e_phoff);
	image->nr_segments = head->e_phnum;
	for (i = 0; i < image->nr_segments; i++) {
		const Elf64_Phdr *p = &image->segment[i];

		if (p->p_type != PT_LOAD || p->p_offset > image->size)
			continue;
		end = p->p_filesz < image->size - p->p_offset ? p->p_offset + p->p_filesz :
								image->size;
		at = p->p_offset + (-p->p_paddr & (BLOB_SIZE - 1));
		for (; at < end && end - at >= BLOB_SIZE; at += BLOB_SIZE) {
			if (!is_blob(image, at, end))
				continue;
			dump = assemble(image, image->map + at, &size);
			if (dump) {
				good &= check_one(table, dump, size);
			} else {
				warning("%s: a pool at %#jx is not complete in it", image->path,
					(uintmax_t)(p->p_paddr + (at - p->p_offset)));
				good = false;
			}
			nr++;
			free(dump);
		}
	}
	if (!nr)
		fatal(EX_FAILED, "%s: no pool is in this memory image", image->path);
	return good ? EX_OK : EX_DIFFERS;
}

/* All of a file that cannot be mapped, as those of sysfs and pipes. */
static uint8_t *read_dump(const char *path, int fd, size_t *size)
{
	size_t room = 1 << 20, nr = 0;
	uint8_t *dump = NULL;
	ssize_t got;

	do {
		if (!dump || nr == room) {
			if (dump)
				room *= 2;
			dump = room <= MAX_DUMP ? xrealloc(dump, room) : NULL;
			if (!dump)
				fatal(EX_FAILED, "%s has more than %llu bytes, which is no metadata of a node",
				      path, MAX_DUMP);
		}
		got = read(fd, dump + nr, room - nr);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			fatal(EX_FAILED, "cannot read %s: %s%s", path, strerror(errno),
			      errno == ESTALE ? " (another program reads it)" :
			      errno == ENODATA ? " (the node has failed)" : "");
		nr += got;
	} while (got);
	*size = nr;
	return dump;
}

int check_dump(struct table *table, const char *path)
{
	struct image image = { .path = path };
	uint8_t magic[SELFMAG];
	int fd, status;
	struct stat st;
	uint8_t *dump;
	size_t size;

	fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	if (fd < 0 || fstat(fd, &st))
		fatal(EX_FAILED, "cannot open %s: %s", path, strerror(errno));
	if (S_ISREG(st.st_mode) && pread(fd, magic, SELFMAG, 0) == SELFMAG &&
	    !memcmp(magic, ELFMAG, SELFMAG) && st.st_size >= (off_t)sizeof(Elf64_Ehdr)) {
		image.size = st.st_size;
		image.map = mmap(NULL, image.size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (image.map == MAP_FAILED)
			fatal(EX_FAILED, "cannot map %s: %s", path, strerror(errno));
		status = check_vmcore(table, &image);
		munmap((void *)image.map, image.size);
	} else {
		dump = read_dump(path, fd, &size);
		status = check_one(table, dump, size) ? EX_OK : EX_DIFFERS;
		free(dump);
	}
	close(fd);
	return status;
}
