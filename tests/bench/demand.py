# SPDX-License-Identifier: GPL-2.0
"""Post-copy: how long a guest waits for memory that has not arrived."""

from figures import Compare
from machine import GIB, Machine, size_name

SIZE = GIB
WIRES = 10, 25


def machines(quick):
    size = size_name(SIZE)
    runs = 1 if quick else 3
    yield Machine(
        "demand",
        f"""
        mount_node 1
        demand /mnt/node1 {size} {runs} guestmemfs
        demand - {size} {runs} hugetlbfs-1g
        huge_pages 1048576 0
        huge_pages 2048 {SIZE >> 21}
        demand - {size} {runs} hugetlbfs-2m
        """,
        topology="node=0,cpus=0,mem=4G;node=1,mem=3G", append="guestmemfs=1:1G hugepagesz=1G hugepages=0:1",
        memory=4 * GIB)


def derive(_figures):
    return ()


NOTES = (
    "A thread stores to a page that has not arrived. Another thread gets the event of userfaultfd, takes the contents from "
    "an emulated wire, which brings 64 KiB at a time without a delay of its own, copies them to a second mapping, and "
    "answers UFFDIO_CONTINUE. The memory is allocated before. guestmemfs maps 4 KiB and more, hugetlbfs whole pages of "
    "its size, so this is what a guest waits for. guestmemfs-by-2m and guestmemfs-by-1g answer in units of hugetlbfs.",
    "Nothing else is on the wire: in a migration, the guest also waits for the rest of what the source is sending.",
)

COMPARE = (
    *(Compare(f"Post-copy, a page is needed, {wire} Gbit/s", f"demand at {wire} Gbit/s", SIZE,
              ("hugetlbfs-2m", "hugetlbfs-1g"), key=True) for wire in WIRES),
    *(Compare(f"Post-copy, {unit} are needed, {wire} Gbit/s", f"demand at {wire} Gbit/s", SIZE, (peer,),
              ours=f"guestmemfs-by-{name}")
      for unit, name, peer in (("2 MiB", "2m", "hugetlbfs-2m"), ("1 GiB", "1g", "hugetlbfs-1g")) for wire in WIRES),
)

PLOTS = ()
