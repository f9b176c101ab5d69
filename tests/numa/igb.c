// SPDX-License-Identifier: GPL-2.0
/*
 * Copies by DMA of QEMU's igb between files of two nodes, with the driver of the
 * kernel's own tests of VFIO. Its descriptors are in a file as well.
 *
 * usage: igb MODE DEVICE DIR DIR2 COPIES
 *
 * MODE is one of theirs, as "iommufd". Prints "igb MODE: copies=N".
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <libvfio.h>

#define SIZE		(64UL << 20)
#define RING_SIZE	(2UL << 20)
/* Repeated copies of one range, before the result is compared. */
#define REPEATED	100
#define SMALLEST	64

static void map(struct iommu *iommu, const char *dir, struct dma_region *region, iova_t iova,
		u64 size)
{
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "%s", dir);
	region->vaddr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (region->vaddr == MAP_FAILED)
		err(1, "mmap");
	/* The pin has the file. */
	close(fd);
	region->iova = iova;
	region->size = size;
	iommu_map(iommu, region);
}

static u64 below(u64 end)
{
	return random() % end;
}

int main(int argc, char **argv)
{
	struct dma_region files[2] = {};
	struct vfio_pci_device *device;
	struct iommu *iommu;
	long copies, done;
	u64 i;

	if (argc != 6)
		errx(2, "usage: igb MODE DEVICE DIR DIR2 COPIES");
	copies = atol(argv[5]);
	iommu = iommu_init(argv[1]);
	device = vfio_pci_device_init(argv[2], iommu);
	map(iommu, argv[3], &device->driver.region, 1UL << 30, RING_SIZE);
	map(iommu, argv[3], &files[0], 2UL << 30, SIZE);
	map(iommu, argv[4], &files[1], 3UL << 30, SIZE);
	for (i = 0; i < SIZE / sizeof(u64); i++) {
		((u64 *)files[0].vaddr)[i] = i * 0x9e3779b97f4a7c15UL;
		((u64 *)files[1].vaddr)[i] = ~i * 0x9e3779b97f4a7c15UL;
	}
	vfio_pci_driver_init(device);
	for (done = 0; done < copies; done += REPEATED) {
		int from = random() % 2;
		u64 size = SMALLEST + below(device->driver.max_memcpy_size - SMALLEST);
		u64 src = below(SIZE - size), dst = below(SIZE - size);

		vfio_pci_driver_memcpy_start(device, files[from].iova + src,
					     files[!from].iova + dst, size, REPEATED);
		if (vfio_pci_driver_memcpy_wait(device))
			errx(1, "copy %ld has failed", done);
		if (memcmp(files[from].vaddr + src, files[!from].vaddr + dst, size))
			errx(1, "copy %ld: %lu bytes from %#lx to %#lx differ", done, size, src,
			     dst);
	}
	vfio_pci_driver_remove(device);
	printf("igb %s: copies=%ld\n", argv[1], done);
	return 0;
}
