// SPDX-License-Identifier: GPL-2.0
/* See device.h. Functions that can fail return 0 or an errno; others end the program. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* The tree's headers, which libc's are older than, as they are in the tree. */
#define __user
#define __counted_by(x)
#include "linux/iommufd.h"
#include "linux/vfio.h"

#include "device.h"

/* Registers of edu, and where its buffer is for its DMA. */
#define EDU_SOURCE	0x80
#define EDU_TARGET	0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	1
#define EDU_TO_MEMORY	2
#define EDU_BUFFER	0x40000UL

#define ALL_MEMORY	(IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | \
			 IOMMU_IOAS_MAP_WRITEABLE)

const char *const way_name[WAYS] = {
	"type1", "type1v2", "compat", "ioas-map", "ioas-map-file"
};

static const char *pci, *group_path, *cdev_path;

/* Says why, with errno if there is one, and ends with status 2. */
void die(const char *fmt, ...)
{
	int err = errno;
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	if (err)
		fprintf(stderr, ": %s", strerror(err));
	fprintf(stderr, "\n");
	exit(2);
}

static int must_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("%s", path);
	return fd;
}

/* @address is the PCI address, @group and @cdev its files below /dev/vfio. */
void device_choose(const char *address, const char *group, const char *cdev)
{
	pci = address;
	group_path = group;
	cdev_path = cdev;
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

	d->group = -1;
	d->container = must_open("/dev/iommu");
	d->fd = must_open(cdev_path);
	bind.iommufd = d->container;
	if (ioctl(d->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		die("VFIO_DEVICE_BIND_IOMMUFD");
	if (ioas_alloc(d->container, &d->ioas))
		die("IOMMU_IOAS_ALLOC");
	errno = device_attach(d);
	if (errno)
		die("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
}

/* To its IOAS, if iommufd has it. */
int device_attach(struct device *d)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = d->ioas
	};

	return ioctl(d->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) ? errno : 0;
}

void device_detach(struct device *d)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	if (ioctl(d->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
		die("VFIO_DEVICE_DETACH_IOMMUFD_PT");
}

/* With memory space and bus master on. */
void device_open(struct device *d, enum way way)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX
	};
	uint16_t command;

	d->way = way;
	if (way == TYPE1)
		open_by_group(d, "/dev/vfio/vfio", VFIO_TYPE1_IOMMU);
	else if (way == TYPE1V2)
		open_by_group(d, "/dev/vfio/vfio", VFIO_TYPE1v2_IOMMU);
	else if (way == COMPAT)
		open_by_group(d, "/dev/iommu", VFIO_TYPE1v2_IOMMU);
	else
		open_by_cdev(d);

	if (ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		die("VFIO_DEVICE_GET_REGION_INFO");
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

void device_close(struct device *d)
{
	munmap((void *)d->bar, d->bar_size);
	close(d->fd);
	if (d->group >= 0)
		close(d->group);
	close(d->container);
}

int ioas_alloc(int iommufd, uint32_t *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc))
		return errno;
	*ioas = alloc.out_ioas_id;
	return 0;
}

int ioas_map_file(int iommufd, uint32_t ioas, int fd, uint64_t start, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map), .flags = ALL_MEMORY, .ioas_id = ioas, .fd = fd,
		.start = start, .length = size, .iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map) ? errno : 0;
}

int ioas_map(int iommufd, uint32_t ioas, void *p, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map), .flags = ALL_MEMORY, .ioas_id = ioas,
		.user_va = (uintptr_t)p, .length = size, .iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP, &map) ? errno : 0;
}

/* To the same IOVA of the other one. */
int ioas_copy(int iommufd, uint32_t to, uint32_t from, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = ALL_MEMORY, .dst_ioas_id = to,
		.src_ioas_id = from, .length = size, .dst_iova = iova, .src_iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_COPY, &copy) ? errno : 0;
}

int ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = ioas, .iova = iova, .length = size,
	};

	return ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap) ? errno : 0;
}

/* By its address, whichever way the device was opened. */
int device_map_memory(struct device *d, void *p, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)p, .iova = iova, .size = size,
	};

	if (d->way >= IOAS_MAP)
		return ioas_map(d->container, d->ioas, p, iova, size);
	return ioctl(d->container, VFIO_IOMMU_MAP_DMA, &map) ? errno : 0;
}

/* Of @fd from byte @start on, which is mapped at @p. */
int device_map(struct device *d, int fd, uint64_t start, void *p, uint64_t iova, uint64_t size)
{
	if (d->way == IOAS_MAP_FILE)
		return ioas_map_file(d->container, d->ioas, fd, start, iova, size);
	return device_map_memory(d, p, iova, size);
}

int device_unmap(struct device *d, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = size,
	};

	if (d->way >= IOAS_MAP)
		return ioas_unmap(d->container, d->ioas, iova, size);
	return ioctl(d->container, VFIO_IOMMU_UNMAP_DMA, &unmap) ? errno : 0;
}

static void transfer(struct device *d, uint64_t from, uint64_t to, uint64_t bytes,
		     uint64_t direction)
{
	*(volatile uint64_t *)(d->bar + EDU_SOURCE) = from;
	*(volatile uint64_t *)(d->bar + EDU_TARGET) = to;
	*(volatile uint64_t *)(d->bar + EDU_COUNT) = bytes;
	*(volatile uint64_t *)(d->bar + EDU_COMMAND) = EDU_START | direction;
	while (*(volatile uint64_t *)(d->bar + EDU_COMMAND) & EDU_START)
		usleep(5000);
}

/* Into the device's buffer. Each takes a tenth of a second. */
void device_load(struct device *d, uint64_t iova)
{
	transfer(d, iova, EDU_BUFFER, COPIED, 0);
}

void device_store(struct device *d, uint64_t iova)
{
	transfer(d, EDU_BUFFER, iova, COPIED, EDU_TO_MEMORY);
}

/* A page, by way of the device's buffer. It takes two tenths of a second. */
void device_copy_page(struct device *d, uint64_t from, uint64_t to)
{
	transfer(d, from, EDU_BUFFER, PAGE, 0);
	transfer(d, EDU_BUFFER, to, PAGE, EDU_TO_MEMORY);
}

/*
 * What the device reaches now, by the tables of the IOMMU: as root, and not while
 * another process unmaps, for the kernel walks them without a lock.
 */
size_t device_entries(struct iommu_entry *found, size_t room)
{
	static const uint64_t sizes[] = { 1UL << 30, BLOCK, PAGE };
	unsigned long pfn, entry[5];
	char path[128], line[256];
	size_t count = 0;
	int entries;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/iommu/intel/%s/domain_translation_struct",
		 pci);
	f = fopen(path, "r");
	if (!f)
		die("%s", path);
	while (fgets(line, sizeof(line), f)) {
		/* One for each level of the tables, down to the last that there is. */
		entries = sscanf(line, "%lx | %lx %lx %lx %lx %lx", &pfn, &entry[0], &entry[1],
				 &entry[2], &entry[3], &entry[4]) - 1;
		if (entries < 3)
			continue;
		if (count == room) {
			errno = 0;
			die("more than %zu entries", room);
		}
		found[count].iova = pfn * PAGE;
		found[count].phys = entry[entries - 1] & 0xffffffffff000;
		found[count++].size = sizes[entries - 3];
	}
	fclose(f);
	return count;
}
