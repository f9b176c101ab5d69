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
    "No test machine has 4 TiB of which all can be given out, so this is fs/guestmemfs/numa/bitmap.c in a program. The "
    "pool is filled with virtual machines of random sizes, and then some of them are taken away, to the percentage that "
    "is shown. A pool is one bitmap of 256 KiB, and a search goes through all of it.",
    "The day: a virtual machine of 512 MiB to 128 GiB comes every ten seconds or so, if there is memory, and lives for "
    "a minute to two days; in the night none come, until half of the pool is free. hugetlbfs-2m is its list of free "
    "pages, played with the same virtual machines: the page that was freed last is given out first. "
    "What is free in whole gibibytes can be mapped by leaves of 1 GiB, and what is used is, as far as it says.",
)

COMPARE = (
    Compare("Free memory in whole gibibytes after a day (more is better)", "free in whole gibibytes", 1, (FIRST, PAGES),
            unit="percent", more=True, key=True),
    Compare("Used memory under leaves of 1 GiB after a day (more is better)", "used in leaves of 1 GiB", 1,
            (FIRST, PAGES), unit="percent", more=True),
)

PLOTS = tuple(Plot(f"Allocate {size}", f"allocate {size}", "percent of the pool that are used", "thousand instructions",
                   scale=1e3, log=False) for size in SIZES) + (
    Plot("Free 1 GiB", "free 1 GiB", "percent of the pool that are used", "instructions", log=False),)
