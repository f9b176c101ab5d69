# SPDX-License-Identifier: GPL-2.0
"""Launch: memory for a guest is created, sized, mapped and touched."""

from figures import Compare, Plot, x_text
from machine import GIB, Machine, size_name

# Bytes that a kernel with its user space has to have beside the memory that is measured.
ROOM = 3 * GIB


def guestmemfs(size, runs, icount):
    return Machine(
        f"launch guestmemfs {size_name(size)}{'' if icount else ' wall'}",
        f"""
        mount_node 1
        launch /mnt/node1 {size_name(size)} {runs} guestmemfs guestmemfs-2m guestmemfs-dirty
        """,
        topology=f"node=0,cpus=0,mem=2G;node=1,mem={size_name(size + 2 * GIB)}",
        append=f"guestmemfs=1:{size_name(size)}", icount=icount, memory=size + 2 * GIB)


def peers(size, runs, slow_runs, icount):
    """Peers have the same memory, one after the other. What is 4 KiB each takes long."""
    name = size_name(size)
    return Machine(
        f"launch peers {name}{'' if icount else ' wall'}",
        f"""
        launch - {name} {runs} hugetlbfs-1g
        huge_pages 1048576 0
        huge_pages 2048 {size >> 21}
        launch - {name} {runs} hugetlbfs-2m
        huge_pages 2048 0
        echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
        launch - {name} {runs} memfd-huge
        mount_tmpfs huge huge=always
        launch /mnt/huge {name} {runs} tmpfs-huge
        launch - {name} {slow_runs} memfd-4k
        mount_tmpfs small huge=never
        launch /mnt/small {name} {slow_runs} tmpfs-4k
        launch - {name} {slow_runs} guest_memfd
        """,
        topology=f"node=0,cpus=0,mem={size_name(size + ROOM)}",
        append=f"hugepagesz=1G hugepages={size >> 30}", icount=icount, memory=size + ROOM)


def machines(quick):
    runs = 2 if quick else 5
    for size in (GIB,) if quick else (GIB, 4 * GIB, 16 * GIB):
        yield guestmemfs(size, runs, True)
        yield peers(size, runs, 1 if quick or size > GIB else 5, True)
    if not quick:
        yield guestmemfs(GIB, 5, False)
        yield peers(GIB, 5, 5, False)


def derive(_figures):
    return ()


BESIDE = "hugetlbfs-1g", "hugetlbfs-2m", "memfd-huge", "tmpfs-huge", "memfd-4k", "tmpfs-4k", "guest_memfd"

NOTES = (
    "Each is created, given its size, mapped, and touched once for each leaf of the page table. guestmemfs has all of "
    "the memory when its size is set, zeroed before; it has to be zeroed when that could not be done in the background "
    "(guestmemfs-dirty). guestmemfs-2m is mapped at an address at which no leaf of 1 GiB can be. Figures of 4 KiB "
    "pages above 1 GiB are of one run.",
    "With preallocation, mmap() returns when all is in the page table: MAP_POPULATE, and for guestmemfs the mount option "
    "prefault.",
)

COMPARE = (
    *(Compare(f"Launch, {x_text(size)}", "launch", size, BESIDE, key=True) for size in (GIB, 4 * GIB, 16 * GIB)),
    Compare("Launch, 1 GiB, mapped by 2 MiB", "launch", GIB, ("hugetlbfs-2m", "memfd-huge"), ours="guestmemfs-2m"),
    Compare("Launch, 1 GiB, nothing zeroed before", "launch", GIB, ("hugetlbfs-1g", "hugetlbfs-2m"),
            ours="guestmemfs-dirty"),
    Compare("Launch, 1 GiB, real time", "launch", GIB, BESIDE, unit="ns"),
    Compare("Preallocation, 1 GiB", "prealloc", GIB, BESIDE),
    Compare("Page faults, 1 GiB", "faults", GIB, BESIDE, unit="count"),
    Compare("Page tables, 1 GiB", "page tables", GIB, BESIDE, unit="bytes"),
    Compare("Release, 1 GiB", "release", GIB, BESIDE),
)

PLOTS = (
    Plot("Launch: create, size, map, touch all", "launch", "memory of the guest", "million instructions", scale=1e6),
    Plot("Preallocation", "prealloc", "memory of the guest", "million instructions", scale=1e6),
    Plot("Release: unmap, close, delete", "release", "memory of the guest", "million instructions", scale=1e6),
    Plot("Launch in real time, emulated", "launch", "memory of the guest", "milliseconds", unit="ns", scale=1e6),
)
