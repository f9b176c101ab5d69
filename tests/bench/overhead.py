# SPDX-License-Identifier: GPL-2.0
"""Overhead: what a reservation costs in memory and at boot."""

from figures import Compare, OURS, Plot
from machine import GIB, MIB, Machine, size_name, size_of

RESERVED = 32 * GIB
# What the kernel keeps on the node of the reservation, and on the other.
KEPT, OTHER = 4 * GIB, 2 * GIB
# In all, on four nodes: what the peers cannot have here, for their struct pages alone are 16 GiB.
LARGE = 64 * GIB, 256 * GIB, 1016 * GIB
NODES = 4

SETUPS = {
    "nothing": "",
    OURS: f"guestmemfs=1:{size_name(RESERVED)}",
    "memmap=": f"memmap={size_name(RESERVED)}$6G",
    "hugetlbfs-2m": f"hugepagesz=2M hugepages=1:{RESERVED >> 21}",
    "hugetlbfs-2m-hvo": f"hugepagesz=2M hugepages=1:{RESERVED >> 21} hugetlb_free_vmemmap=on",
    "hugetlbfs-1g": f"hugepagesz=1G hugepages=1:{RESERVED >> 30}",
    "hugetlbfs-1g-hvo": f"hugepagesz=1G hugepages=1:{RESERVED >> 30} hugetlb_free_vmemmap=on",
}

SCRIPT = """
for hold in /sys/kernel/debug/guestmem_pool/node*/hold_scrub; do
    [ ! -e "$hold" ] || echo Y > "$hold"
done
row %(peer)s boot %(x)d time "$(cat /run/vm/bin/first-instruction)"
row %(peer)s kernel-memory %(x)d bytes $(($(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) * 1024))
for size in 2048 1048576; do
    got=$(cat /sys/devices/system/node/node1/hugepages/hugepages-${size}kB/nr_hugepages)
    [ "$got" = 0 ] || [ $((got * size)) = %(kib)d ] || die "of the reservation there is $got times $size KiB"
done
# Records, and the two bitmaps of a pool that only this kernel has.
metadata=0 pool=0
for node in /sys/fs/guestmemfs/node*; do
    [ -e "$node" ] || continue
    metadata=$((metadata + $(cat "$node/metadata_bytes") + $(cat "$node/total_blocks") / 8 * 2))
    pool=$((pool + $(cat "$node/total_blocks") * 2048))
done
[ "$pool" = 0 ] || [ "$pool" = %(kib)d ] || die "the pools have $pool KiB"
row %(peer)s metadata %(x)d bytes "$metadata"
row %(peer)s memory %(x)d bytes %(memory)d
"""


def machine(peer, reserved, topology, append, repeat=""):
    memory = sum(map(size_of, (word.partition("mem=")[2] for word in topology.replace(";", ",").split(",") if "mem=" in word)))
    return Machine(f"overhead {peer} {size_name(reserved)}{repeat}",
                   SCRIPT % {"peer": peer, "x": reserved, "kib": reserved >> 10, "memory": memory},
                   topology=topology, append=f"rdinit=/vm/first {append}".strip(), first=True,
                   memory=3 * GIB)



def machines(quick):
    topology = f"node=0,cpus=0,mem={size_name(OTHER)};node=1,mem="
    yield machine("without", 0, topology + size_name(KEPT), "")
    for peer, append in SETUPS.items():
        yield machine(peer, RESERVED, topology + size_name(KEPT + RESERVED), append)
    sizes = LARGE[-1:] if quick else LARGE
    for size in (0, *sizes):
        each = size // NODES
        topology = ";".join(f"node={n}{',cpus=0' if n == 0 else ''},mem={size_name(2 * GIB + each)}"
                            for n in range(NODES))
        append = "guestmemfs=" + ",".join(f"{n}:{size_name(each)}" for n in range(NODES)) if size else ""
        yield machine(OURS if size else "without-4", size, topology, append)
