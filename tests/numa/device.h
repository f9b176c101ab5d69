/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A PCI device that user space has, and the ways to give it memory. The device is
 * QEMU's edu, which copies by DMA.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK	(2UL << 20)
#define PAGE	4096UL
/* Bytes that edu copies, but for device_copy_page(). */
#define COPIED	64

/* The two of iommufd are the last. */
enum way { TYPE1, TYPE1V2, COMPAT, IOAS_MAP, IOAS_MAP_FILE, WAYS };

extern const char *const way_name[WAYS];

struct device {
	enum way way;
	int container;		/* or the iommufd */
	int group, fd;
	uint32_t ioas;
	volatile char *bar;
	size_t bar_size;
};

/* An entry of the IOMMU's tables that leads to memory. */
struct iommu_entry {
	uint64_t iova, phys, size;
};

_Noreturn void __attribute__((format(printf, 1, 2))) die(const char *fmt, ...);

void device_choose(const char *pci, const char *group, const char *cdev);
void device_open(struct device *d, enum way way);
void device_close(struct device *d);
int device_map(struct device *d, int fd, uint64_t start, void *p, uint64_t iova, uint64_t size);
int device_map_memory(struct device *d, void *p, uint64_t iova, uint64_t size);
int device_unmap(struct device *d, uint64_t iova, uint64_t size);
int device_attach(struct device *d);
void device_detach(struct device *d);
void device_load(struct device *d, uint64_t iova);
void device_store(struct device *d, uint64_t iova);
void device_copy_page(struct device *d, uint64_t from, uint64_t to);
size_t device_entries(struct iommu_entry *found, size_t room);

int ioas_alloc(int iommufd, uint32_t *ioas);
int ioas_map_file(int iommufd, uint32_t ioas, int fd, uint64_t start, uint64_t iova, uint64_t size);
int ioas_map(int iommufd, uint32_t ioas, void *p, uint64_t iova, uint64_t size);
int ioas_copy(int iommufd, uint32_t to, uint32_t from, uint64_t iova, uint64_t size);
int ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t size);

#endif /* DEVICE_H */
