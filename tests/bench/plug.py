# SPDX-License-Identifier: GPL-2.0
"""Plug: virtio-mem takes memory of a guest and gives it back."""

from figures import Compare
from machine import GIB, Machine, size_name

# Bytes that a kernel with its user space has to have in addition to the memory that is measured.
ROOM = 3 * GIB


def guestmemfs(size, runs):
    name = size_name(size)
    return Machine(
        f"plug guestmemfs {name}",
        f"""
        mount_node 1
        plug /mnt/node1 {name} {runs} guestmemfs guestmemfs-dirty
        """,
        topology=f"node=0,cpus=0,mem=2G;node=1,mem={size_name(size + 2 * GIB)}",
        append=f"guestmemfs=1:{name}", memory=size + 2 * GIB)


def peers(size, runs):
    name = size_name(size)
    return Machine(
        f"plug peers {name}",
        f"""
        plug - {name} {runs} hugetlbfs-1g
        huge_pages 1048576 0
        huge_pages 2048 {size >> 21}
        plug - {name} {runs} hugetlbfs-2m
        huge_pages 2048 0
        echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
        plug - {name} {runs} memfd-huge
        plug - {name} 1 memfd-4k
        """,
        topology=f"node=0,cpus=0,mem={size_name(size + ROOM)}",
        append=f"hugepagesz=1G hugepages={size >> 30}", memory=size + ROOM)


def machines(quick):
    runs = 2 if quick else 5
    yield guestmemfs(GIB, runs)
    yield peers(GIB, runs)


def derive(_figures):
    return ()


BESIDE = "hugetlbfs-1g", "hugetlbfs-2m", "memfd-huge", "memfd-4k"
# A page of 1 GiB is one call.
BLOCKS = BESIDE[1:]

NOTES = (
    "The calls of QEMU's virtio-mem with prealloc=on: for each block, a hole is punched and the mapping is dropped, and "
    "later the mapping is populated. Blocks are of 2 MiB, or a page of hugetlbfs if that is larger. What guestmemfs "
    "plugs was zeroed in the meantime, except for guestmemfs-dirty.",
)

COMPARE = (
    Compare("Unplug and plug, 1 GiB", "unplug and plug", GIB, BESIDE),
    Compare("Unplug and plug, 1 GiB, nothing zeroed between", "unplug and plug", GIB, BESIDE, ours="guestmemfs-dirty",
            why="Memory that is not in the direct map is zeroed through a temporary mapping, which is made and removed for "
            "each block."),
    Compare("Unplug, 1 GiB", "unplug", GIB, BLOCKS, why="QEMU makes two calls for each block, and one on "
            "hugetlbfs."),
    Compare("Plug, 1 GiB", "plug", GIB, BESIDE),
)

PLOTS = ()
