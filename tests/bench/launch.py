# SPDX-License-Identifier: GPL-2.0
"""Launch: memory for a guest is created, sized, mapped and touched."""

from figures import Compare, Plot, x_text
from machine import GIB, Machine, size_name

# Memory for a kernel with its user space, in addition to the memory that is measured.
ROOM = 3 * GIB


def guestmemfs(size, runs, icount):
    name = size_name(size)
    return Machine(
        f"launch guestmemfs {name}{'' if icount else ' wall'}",
        f"""
        mount_node 1
        launch /mnt/node1 {name} {runs} {runs} guestmemfs guestmemfs-2m guestmemfs-dirty
        """,
        topology=f"node=0,cpus=0,mem=2G;node=1,mem={size_name(size + 2 * GIB)}",
        append=f"guestmemfs=1:{name}", icount=icount, memory=size + 2 * GIB)


def peers(size, runs, icount):
    """Peers use the same memory, one after another. Pages of 4 KiB take long: one run."""
    name = size_name(size)
    once = int(size == GIB)
    script = f"""
        launch - {name} {runs} {runs} hugetlbfs-1g
        huge_pages 1048576 0
        huge_pages 2048 {size >> 21}
        launch - {name} {runs} {runs} hugetlbfs-2m
        huge_pages 2048 0
        echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
        launch - {name} {runs} {runs} memfd-huge
        mount_tmpfs huge huge=always
        launch /mnt/huge {name} {runs} {runs} tmpfs-huge
        launch - {name} 1 {once} memfd-4k
        """
    if size <= 4 * GIB:
        script += f"launch - {name} 1 {once} guest_memfd\n"
    return Machine(
        f"launch peers {name}{'' if icount else ' wall'}", script,
        topology=f"node=0,cpus=0,mem={size_name(size + ROOM)}",
        append=f"hugepagesz=1G hugepages={size >> 30}", icount=icount, memory=size + ROOM)


def machines(quick):
    for size, runs in ((GIB, 2),) if quick else ((GIB, 5), (4 * GIB, 2), (16 * GIB, 1)):
        yield guestmemfs(size, 5, True)
        yield peers(size, runs, True)
    if not quick:
        yield guestmemfs(GIB, 5, False)
        yield peers(GIB, 5, False)


def derive(_figures):
    return ()


BESIDE = "hugetlbfs-1g", "hugetlbfs-2m", "memfd-huge", "tmpfs-huge", "memfd-4k", "guest_memfd"

NOTES = (
    "A file is created, given its size, mapped, and touched once for each entry of the page table. guestmemfs allocates "
    "all memory when the size is set. It is zeroed in advance, except for guestmemfs-dirty. guestmemfs-2m is mapped at "
    "an address that allows no mapping of 1 GiB. Kinds with pages of 4 KiB are measured once, because they take long; "
    "tmpfs with such pages is equal to a memfd.",
    "The first run finds the kernel's caches and free lists empty, which costs some thousand instructions. So short "
    "figures, up to some ten thousand instructions, differ by more than 5 % between runs. Compare the medians.",
    "With preallocation, mmap() returns when the page table is complete: MAP_POPULATE, and for guestmemfs the mount "
    "option prefault.",
)

COMPARE = (
    *(Compare(f"Launch, {x_text(size)}", "launch", size, BESIDE, key=True) for size in (GIB, 4 * GIB, 16 * GIB)),
    Compare("Launch, 1 GiB, mapped by 2 MiB", "launch", GIB, ("hugetlbfs-2m", "memfd-huge"), ours="guestmemfs-2m"),
    Compare("Launch, 1 GiB, nothing zeroed before", "launch", GIB, ("hugetlbfs-1g", "hugetlbfs-2m"),
            ours="guestmemfs-dirty", why="Memory that is not in the direct map is zeroed through a temporary mapping, "
            "which is made and removed for each block."),
    Compare("Launch, 1 GiB, real time", "launch", GIB, BESIDE, unit="ns"),
    Compare("Preallocation, 1 GiB", "prealloc", GIB, BESIDE),
    Compare("Page faults, 1 GiB", "faults", GIB, BESIDE, unit="count"),
    Compare("Page tables, 1 GiB", "page tables", GIB, BESIDE, unit="bytes"),
    Compare("Release, 1 GiB", "release", GIB, BESIDE, why="The name and the records of the file are removed, and the "
            "scrub thread is woken. hugetlbfs returns a page to its pool, and zeroes it at the next use."),
)

PLOTS = (
    Plot("Launch: create, size, map, touch all", "launch", "memory of the guest", "million instructions", scale=1e6),
    Plot("Preallocation", "prealloc", "memory of the guest", "million instructions", scale=1e6),
    Plot("Release: unmap, close, delete", "release", "memory of the guest", "million instructions", scale=1e6),
    Plot("Launch in real time, emulated", "launch", "memory of the guest", "milliseconds", unit="ns", scale=1e6),
)
