# SPDX-License-Identifier: GPL-2.0
"""Resize: memory goes from the kernel to a pool, and back, while the machine runs."""

from figures import Compare
from machine import GIB, Machine

TOPOLOGY = "node=0,cpus=0,mem=2G;node=1,mem=6G"
TARGET = "/sys/fs/guestmemfs/node1/target"
PAGES = "/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages"


def guestmemfs(runs):
    return Machine(
        "resize guestmemfs",
        f"""
        resize guestmemfs {TARGET} 1G {runs} +1G -1G /sys/fs/guestmemfs/node1/dirty_blocks
        resize guestmemfs-dirty {TARGET} 1G 1 +1G -
        mount_node 1
        wait_clean 1
        # Half of each of the two gibibytes is in use: 256 blocks have to move.
        truncate -s 1G /mnt/node1/one
        truncate -s 1G /mnt/node1/two
        truncate -s 512M /mnt/node1/one
        truncate -s 512M /mnt/node1/two
        wait_clean 1
        resize guestmemfs-moves {TARGET} 1G 1 - -1G
        """,
        topology=TOPOLOGY, append="guestmemfs=1:1G", memory=8 * GIB)


def peers(runs):
    return Machine(
        "resize peers",
        f"""
        resize hugetlbfs-1g {PAGES} 1G {runs} 1 0
        """,
        topology=TOPOLOGY, memory=8 * GIB)


def machines(quick):
    runs = 1 if quick else 3
    yield guestmemfs(runs)
    yield peers(runs)


def derive(_figures):
    return ()


NOTES = (
    "The kernel's memory is free. A pool gets a gibibyte by memory hotplug, so its struct pages go and come back; "
    "hugetlbfs has them all the time. Zeroing is not in these figures: a pool zeroes in the background, and "
    "hugetlbfs when a page is used first. guestmemfs-moves shrinks by a gibibyte of which half is in use: it copies "
    "512 MiB, and zeroes them at their old place. Others do not give up memory in use.",
)

COMPARE = (
    Compare("Grow by 1 GiB of free memory", "grow", GIB, ("hugetlbfs-1g",),
            why="The memory blocks are taken offline, and their struct pages and direct map are removed."),
    Compare("Shrink by 1 GiB", "shrink", GIB, ("hugetlbfs-1g",), why="Struct pages are made anew."),
)

PLOTS = ()
