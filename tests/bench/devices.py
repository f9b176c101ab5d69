# SPDX-License-Identifier: GPL-2.0
"""Devices: memory of a guest for one that is assigned, and back."""

from figures import Compare, Plot, x_text
from machine import GIB, Machine, size_name

# Bytes that a kernel with its user space has to have beside the memory that is measured.
ROOM = 3 * GIB

DEVICES = "-device intel-iommu,intremap=on,aw-bits=48 -device edu,dma_mask=0xffffffffffff"


def guestmemfs(size, runs):
    name = size_name(size)
    return Machine(
        f"devices guestmemfs {name}",
        f"""
        take_device 0x11e8
        mount_node 1
        devices /mnt/node1 $device $group $cdev {name} {runs} guestmemfs guestmemfs-2m
        """,
        topology=f"node=0,cpus=0,mem=2G;node=1,mem={size_name(size + 2 * GIB)}",
        append=f"guestmemfs=1:{name} intel_iommu=on", memory=size + 2 * GIB, devices=DEVICES)


def peers(size, runs):
    name = size_name(size)
    return Machine(
        f"devices peers {name}",
        f"""
        take_device 0x11e8
        devices - $device $group $cdev {name} {runs} hugetlbfs-1g
        huge_pages 1048576 0
        huge_pages 2048 {size >> 21}
        devices - $device $group $cdev {name} {runs} hugetlbfs-2m
        huge_pages 2048 0
        echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
        devices - $device $group $cdev {name} {runs} memfd-huge
        devices - $device $group $cdev {name} 1 memfd-4k
        """,
        topology=f"node=0,cpus=0,mem={size_name(size + ROOM)}",
        append=f"hugepagesz=1G hugepages={size >> 30} intel_iommu=on", memory=size + ROOM, devices=DEVICES)


def machines(quick):
    for size, runs in ((GIB, 2),) if quick else ((GIB, 5), (4 * GIB, 2), (16 * GIB, 1)):
        yield guestmemfs(size, runs)
        yield peers(size, runs)


def derive(_figures):
    return ()


BESIDE = "hugetlbfs-1g", "hugetlbfs-2m", "memfd-huge", "memfd-4k"

NOTES = (
    "All of the memory is there and has been touched. iommufd maps it for a device behind an emulated Intel IOMMU, at "
    "an IOVA that is a multiple of 1 GiB, and unmaps it. guestmemfs-2m is the same memory, mapped for processes at an "
    "address at which no leaf of 1 GiB can be, which makes no difference to a device.",
)

COMPARE = (
    *(Compare(f"Map and unmap for a device, {x_text(size)}", "map and unmap", size, BESIDE, key=True)
      for size in (GIB, 4 * GIB, 16 * GIB)),
    Compare("Map for a device by file, 1 GiB", "map by file", GIB, BESIDE),
    Compare("Map for a device by address, 1 GiB", "map by address", GIB, BESIDE),
    Compare("Unmap, 1 GiB", "unmap", GIB, BESIDE),
)

PLOTS = (
    Plot("Map and unmap for a device", "map and unmap", "memory of the guest", "million instructions", scale=1e6),
)
