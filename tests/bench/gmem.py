# SPDX-License-Identifier: GPL-2.0
"""guest_memfd: with folios of its own, and with a file of guestmemfs as its memory."""

from figures import Compare
from machine import GIB, Machine, size_name

SIZE = GIB
OURS = "guestmemfs-guest_memfd"


def machines(quick):
    size = size_name(SIZE)
    yield Machine(
        "gmem",
        f"""
        mount_node 1
        gmem /mnt/node1 {size} {2 if quick else 5} {OURS}
        # Pages of 4 KiB take long, and differ little.
        gmem - {size} 1 guest_memfd
        """,
        topology="node=0,cpus=0,mem=4G;node=1,mem=3G", append="guestmemfs=1:1G", memory=4 * GIB)


def derive(_figures):
    return ()


NOTES = (
    "All memory of a guest is guest_memfd. The guest touches each page for the first time, or KVM_PRE_FAULT_MEMORY maps "
    "all of it. Memory of guestmemfs is zeroed in advance, and allocated with the file, which is made and deleted in "
    "these figures. For the conversion, a guest with private memory has touched all of it. One page becomes shared, "
    "is touched, becomes private again, and is touched.",
)

WHY_CREATE = "The file is made, and all of its memory is allocated; the folios are allocated at faults."
WHY_CONVERT = "The page is in a mapping of 1 GiB, all of which KVM drops. Folios are mapped by 4 KiB."

COMPARE = (
    Compare("guest_memfd of 1 GiB: create and bind", "create and bind", SIZE, ("guest_memfd",), aim=0.1e6, ours=OURS,
            why=WHY_CREATE),
    Compare("guest_memfd of 1 GiB: the guest touches all", "first touch", SIZE, ("guest_memfd",), aim=1.3e6, ours=OURS,
            key=True),
    Compare("guest_memfd of 1 GiB: KVM_PRE_FAULT_MEMORY", "pre-fault", SIZE, ("guest_memfd",), aim=0.05e6, ours=OURS,
            key=True),
    Compare("guest_memfd of 1 GiB: unbind", "unbind", SIZE, ("guest_memfd",), ours=OURS),
    Compare("guest_memfd of 1 GiB: release", "release", SIZE, ("guest_memfd",), aim=0.1e6, ours=OURS, key=True),
    Compare("guest_memfd of 1 GiB: a page shared and private again", "conversion", SIZE, ("guest_memfd",), ours=OURS,
            key=True, why=WHY_CONVERT),
)

PLOTS = ()
