# SPDX-License-Identifier: GPL-2.0
"""Allocator: a pool of 4 TiB, in all states from empty to full."""

from figures import Compare, Plot
from machine import GIB, Machine

FILLED = 1, 25, 50, 75, 90, 99
SIZES = "2 MiB", "1 GiB", "16 GiB", "random"
BEST, FIRST, PAGES = "guestmemfs", "guestmemfs-first-fit", "hugetlbfs-2m"


def machines(quick):
    runs = 2 if quick else 5
    filled = FILLED[::2] if quick else FILLED
    yield Machine("allocator cost", "\n".join(f"allocator cost {percent} {runs}" for percent in filled),
                  topology="node=0,cpus=0,mem=2G", memory=GIB)
    yield Machine("allocator day", "\n".join(f"allocator day {peer} {runs}" for peer in (BEST, FIRST, PAGES)),
                  topology="node=0,cpus=0,mem=2G", memory=GIB)


def derive(_figures):
    return ()


NOTES = (
    "No test machine has 4 TiB of memory, so this is fs/guestmemfs/numa/bitmap.c in a program. The pool is filled with "
    "virtual machines of random sizes, then some of them are removed until the shown percentage is used. A pool is one "
    "bitmap of 256 KiB, and a search reads all of it. The cost depends on the random sizes, so runs differ widely.",
    "The day: about every ten seconds, a virtual machine of 512 MiB to 128 GiB starts, if there is memory, and runs for "
    "a minute to two days. In the night none starts, until half of the pool is free. hugetlbfs-2m simulates the list of "
    "free pages of hugetlbfs with the same virtual machines: the page that was freed last is allocated first. Memory in "
    "whole gibibytes can be mapped by 1 GiB.",
)

COMPARE = (
    Compare("Free memory in whole gibibytes after a day (more is better)", "free in whole gibibytes", 1, (FIRST, PAGES),
            unit="percent", more=True, key=True),
    Compare("Used memory that can be mapped by 1 GiB after a day (more is better)", "used in leaves of 1 GiB", 1,
            (FIRST, PAGES), unit="percent", more=True),
)

PLOTS = tuple(Plot(f"Allocate {size}", f"allocate {size}", "percent of the pool in use", "thousand instructions",
                   scale=1e3, log=False) for size in SIZES) + (
    Plot("Free 1 GiB", "free 1 GiB", "percent of the pool in use", "instructions", log=False),)
