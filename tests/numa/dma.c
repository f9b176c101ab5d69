// SPDX-License-Identifier: GPL-2.0
/*
 * Which ways to hand memory to a device take a mapping of guestmemfs, and what
 * the device reaches by that. The device is QEMU's edu, which copies.
 *
 *	dma DIR DEVICE GROUP CDEV	DIR is a directory of guestmemfs, DEVICE
 *				the PCI address, GROUP and CDEV its files
 *				below /dev/vfio
 *
 * Starts as root, and goes on as user 1000, who may open these files and owns
 * DIR. One that shares nothing with him but DIR, user 2000, gets what memory is
 * freed. Each way first copies between pages of a memfd, so that it is known to
 * work. Prints "WAY: refused ERRNO", "WAY: mapped" or "WAY: LEAK", and ends with
 * status 1 if there was one of the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The tree's headers, which libc's are older than, as they are in the tree. */
#define __user
#define __counted_by(x)
#include "linux/iommufd.h"
#include "linux/vfio.h"

#define BLOCK		(2UL << 20)
#define PAGE		4096UL
#define IOVA_FILE	0x10000000UL
#define IOVA_MEMFD	0x20000000UL
#define EDU_BUFFER	0x40000UL
#define SECRET		"secret of another tenant"

enum way { TYPE1, TYPE1V2, COMPAT, IOAS_MAP, IOAS_MAP_FILE, WAYS };

static const char *const way_name[WAYS] = {
	"type1", "type1v2", "compat", "ioas-map", "ioas-map-file"
};

static const char *pci, *group_path, *cdev_path;

/* A device that one of the ways has opened. */
struct device {
	int container, group, fd;
	uint32_t ioas;
	volatile char *bar;
	size_t bar_size;
};

static void die(const char *what)
{
	fprintf(stderr, "dma: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int must_open(const char *path)
{
	int fd = open(path, O_RDWR);

	if (fd < 0)
		die(path);
	return fd;
}

static void open_by_group(struct device *d, const char *container, int type)
{
	d->container = must_open(container);
	d->group = must_open(group_path);
	if (ioctl(d->group, VFIO_GROUP_SET_CONTAINER, &d->container))
		die("VFIO_GROUP_SET_CONTAINER");
	if (ioctl(d->container, VFIO_SET_IOMMU, type))
		die("VFIO_SET_IOMMU");
	d->fd = ioctl(d->group, VFIO_GROUP_GET_DEVICE_FD, pci);
	if (d->fd < 0)
		die("VFIO_GROUP_GET_DEVICE_FD");
}

static void open_by_cdev(struct device *d)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	d->group = -1;
	d->container = must_open("/dev/iommu");
	d->fd = must_open(cdev_path);
	bind.iommufd = d->container;
	if (ioctl(d->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		die("VFIO_DEVICE_BIND_IOMMUFD");
	if (ioctl(d->container, IOMMU_IOAS_ALLOC, &alloc))
		die("IOMMU_IOAS_ALLOC");
	d->ioas = alloc.out_ioas_id;
	attach.pt_id = d->ioas;
	if (ioctl(d->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		die("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
}

static void open_device(struct device *d, enum way how)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX
	};
	uint16_t command;

	if (how == TYPE1)
		open_by_group(d, "/dev/vfio/vfio", VFIO_TYPE1_IOMMU);
	else if (how == TYPE1V2)
		open_by_group(d, "/dev/vfio/vfio", VFIO_TYPE1v2_IOMMU);
	else if (how == COMPAT)
		open_by_group(d, "/dev/iommu", VFIO_TYPE1v2_IOMMU);
	else
		open_by_cdev(d);

	if (ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		die("VFIO_DEVICE_GET_REGION_INFO");
	/* Memory space and bus master. */
	if (pread(d->fd, &command, 2, config.offset + 4) != 2)
		die("PCI_COMMAND");
	command |= 6;
	if (pwrite(d->fd, &command, 2, config.offset + 4) != 2)
		die("PCI_COMMAND");
	d->bar_size = bar.size;
	d->bar = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, bar.offset);
	if (d->bar == MAP_FAILED)
		die("BAR");
}

static void close_device(struct device *d)
{
	munmap((void *)d->bar, d->bar_size);
	close(d->fd);
	if (d->group >= 0)
		close(d->group);
	close(d->container);
}

/* 0 or an errno. */
static int map_dma(struct device *d, enum way how, int fd, void *p, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map vfio = {
		.argsz = sizeof(vfio), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)p, .iova = iova, .size = size,
	};
	struct iommu_ioas_map ioas = {
		.size = sizeof(ioas), .ioas_id = d->ioas, .user_va = (uintptr_t)p,
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.length = size, .iova = iova,
	};
	struct iommu_ioas_map_file file = {
		.size = sizeof(file), .ioas_id = d->ioas, .fd = fd, .flags = ioas.flags,
		.length = size, .iova = iova,
	};

	if (how == IOAS_MAP)
		return ioctl(d->container, IOMMU_IOAS_MAP, &ioas) ? errno : 0;
	if (how == IOAS_MAP_FILE)
		return ioctl(d->container, IOMMU_IOAS_MAP_FILE, &file) ? errno : 0;
	return ioctl(d->container, VFIO_IOMMU_MAP_DMA, &vfio) ? errno : 0;
}

static void transfer(struct device *d, uint64_t from, uint64_t to, uint64_t direction)
{
	*(volatile uint64_t *)(d->bar + 0x80) = from;
	*(volatile uint64_t *)(d->bar + 0x88) = to;
	*(volatile uint64_t *)(d->bar + 0x90) = 64;
	*(volatile uint64_t *)(d->bar + 0x98) = 1 | direction;
	while (*(volatile uint64_t *)(d->bar + 0x98) & 1)
		usleep(10000);
}

static void copy(struct device *d, uint64_t from, uint64_t to)
{
	transfer(d, from, EDU_BUFFER, 0);
	transfer(d, EDU_BUFFER, to, 2);
}

/* User 2000: for each letter that comes, take all memory that is free, and let it go. */
static void tenant(const char *dir, int talk)
{
	struct statvfs st;
	char path[256], c, *p;
	size_t size, i;
	int fd;

	while (read(talk, &c, 1) == 1) {
		snprintf(path, sizeof(path), "%s/tenant", dir);
		fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
		if (fd < 0 || statvfs(dir, &st))
			die(path);
		size = st.f_bavail * st.f_bsize;
		if (ftruncate(fd, size))
			die("ftruncate");
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			die("mmap");
		for (i = 0; i < size; i += BLOCK)
			strcpy(p + i, SECRET);
		if (write(talk, "", 1) != 1 || read(talk, &c, 1) != 1)
			die("socket");
		/* What the device has written. */
		for (c = 0, i = 0; i < size; i += BLOCK)
			c |= strcmp(p + i, SECRET) != 0;
		munmap(p, size);
		close(fd);
		unlink(path);
		if (write(talk, &c, 1) != 1)
			die("socket");
	}
	exit(0);
}

static bool try(enum way how, const char *dir, int talk)
{
	struct device d = {};
	char path[256], *memfd_p, *p, c;
	bool leak = false;
	int memfd, fd, err;

	open_device(&d, how);
	memfd = memfd_create("control", 0);
	if (memfd < 0 || ftruncate(memfd, BLOCK))
		die("memfd");
	memfd_p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (memfd_p == MAP_FAILED)
		die("memfd");
	strcpy(memfd_p, way_name[how]);
	err = map_dma(&d, how, memfd, memfd_p, IOVA_MEMFD, BLOCK);
	if (err) {
		errno = err;
		die(way_name[how]);
	}
	copy(&d, IOVA_MEMFD, IOVA_MEMFD + PAGE);
	if (strcmp(memfd_p + PAGE, way_name[how])) {
		fprintf(stderr, "dma: %s: the device does not reach a memfd\n", way_name[how]);
		exit(2);
	}

	snprintf(path, sizeof(path), "%s/mine", dir);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (fd < 0 || ftruncate(fd, BLOCK))
		die(path);
	p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	strcpy(p, "mine");
	err = map_dma(&d, how, fd, p, IOVA_FILE, BLOCK);
	if (err) {
		printf("%s: refused %s\n", way_name[how], strerrorname_np(err));
	} else {
		copy(&d, IOVA_FILE, IOVA_MEMFD + PAGE);
		if (strcmp(memfd_p + PAGE, "mine")) {
			fprintf(stderr, "dma: %s: the device does not reach the file\n",
				way_name[how]);
			exit(2);
		}
		if (!ftruncate(fd, 0)) {
			if (write(talk, "", 1) != 1 || read(talk, &c, 1) != 1)
				die("socket");
			copy(&d, IOVA_FILE, IOVA_MEMFD + PAGE);
			copy(&d, IOVA_MEMFD, IOVA_FILE);
			if (write(talk, "", 1) != 1 || read(talk, &c, 1) != 1)
				die("socket");
			leak = c || !strcmp(memfd_p + PAGE, SECRET);
		}
		printf("%s: %s\n", way_name[how], leak ? "LEAK" : "mapped");
	}
	munmap(p, BLOCK);
	close(fd);
	unlink(path);
	munmap(memfd_p, BLOCK);
	close(memfd);
	close_device(&d);
	return leak;
}

static void become(uid_t id)
{
	if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
		die("setresuid");
}

int main(int argc, char **argv)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	bool leak = false;
	int talk[2];
	enum way way;

	if (argc != 5)
		return 2;
	pci = argv[2];
	group_path = argv[3];
	cdev_path = argv[4];
	setbuf(stdout, NULL);
	/* For the memfd. */
	if (setrlimit(RLIMIT_MEMLOCK, &all) || socketpair(AF_UNIX, SOCK_STREAM, 0, talk))
		die("setrlimit");
	if (!fork()) {
		close(talk[1]);
		become(2000);
		tenant(argv[1], talk[0]);
	}
	close(talk[0]);
	become(1000);
	for (way = 0; way < WAYS; way++)
		leak |= try(way, argv[1], talk[1]);
	return leak;
}
