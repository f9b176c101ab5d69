# SPDX-License-Identifier: GPL-2.0
"""Steady state: the page tables that a guest runs on."""

from figures import Compare
from machine import GIB, Machine, size_name

SIZE = GIB
LEAVES = "pages_1g", "pages_2m", "pages_4k"


def machines(_quick):
    size = size_name(SIZE)
    yield Machine(
        "steady",
        f"""
        mount_node 1
        wait_clean 1
        secondstage /mnt/node1 {size} guestmemfs guestmemfs-2m
        secondstage - {size} hugetlbfs-1g
        huge_pages 2048 {SIZE >> 21}
        secondstage - {size} hugetlbfs-2m
        huge_pages 2048 0
        echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
        mount_tmpfs huge huge=always
        secondstage - {size} memfd-huge
        secondstage /mnt/huge {size} tmpfs-huge
        secondstage - {size} memfd-4k guest_memfd
        """,
        topology="node=0,cpus=0,mem=5G;node=1,mem=3G", append="guestmemfs=1:1G hugepagesz=1G hugepages=0:1",
        memory=7 * GIB)


def derive(_figures):
    return ()


BESIDE = "hugetlbfs-1g", "hugetlbfs-2m", "memfd-huge", "tmpfs-huge", "memfd-4k", "guest_memfd"

NOTES = (
    "A guest touches each page of its 1 GiB, which its VMM has touched before; then the sizes of mappings in KVM's "
    "second-stage tables are counted. Without a cached translation, a processor walks the four levels of the guest, "
    "and for each of them and for the result those of the second stage: n levels are 5(n + 1) - 1 reads of memory. The "
    "instructions are those of KVM to fill the second stage, and of the loop in the guest.",
)

# hva_to_pfn() in virt/kvm/kvm_main.c
WHY = ("For each mapping, KVM first tries to pin a page, which fails without struct pages, and then reads the page table. "
       "This happens once for each mapping.")

COMPARE = (
    *(Compare(f"Second stage of 1 GiB: {what}", what, SIZE, BESIDE, unit="count", key=True) for what in (
        "levels", "memory reads of a walk")),
    Compare("Second stage of 1 GiB: to fill it", "second stage", SIZE, BESIDE, why=WHY),
    Compare("Second stage of 1 GiB, mapped by 2 MiB: to fill it", "second stage", SIZE, ("hugetlbfs-2m", "memfd-huge"),
            ours="guestmemfs-2m", why=WHY),
)

PLOTS = ()
