# SPDX-License-Identifier: GPL-2.0
"""Overhead: what a reservation costs in memory and at boot."""

from figures import Compare, OURS, Plot
from machine import GIB, Machine, size_name, size_of

RESERVED = 32 * GIB
# What the kernel keeps on the node of the reservation, and on the other.
KEPT, OTHER = 4 * GIB, 2 * GIB
# In total, on four nodes. Not for the peers: their struct pages alone are 16 GiB.
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
for pause in /sys/kernel/debug/guestmem_pool/node*/pause_scrub; do
    [ ! -e "$pause" ] || echo Y > "$pause"
done
row %(peer)s boot %(x)d time "$(cat /run/vm/bin/first-instruction)"
row %(peer)s kernel-memory %(x)d bytes $(($(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) * 1024))
for size in 2048 1048576; do
    got=$(cat /sys/devices/system/node/node1/hugepages/hugepages-${size}kB/nr_hugepages)
    [ "$got" = 0 ] || [ $((got * size)) = %(kib)d ] || die "of the reservation there is $got times $size KiB"
done
# Records, and the two bitmaps of a pool that are not handed over.
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


def derive(figures):
    """Per reserved GiB, compared with a machine without that memory, or with that memory not reserved."""
    def lost(peer, x):
        """Bytes that neither the kernel nor a guest can use."""
        got = {what: figures.get("overhead", peer, what, x, "bytes")
               for what in ("memory", "kernel-memory", "metadata")}
        if None in got.values():
            return None
        kept = 0 if peer.startswith("hugetlbfs") or peer == "nothing" else x
        return got["memory"].value - got["kernel-memory"].value - kept + got["metadata"].value

    def boot(peer, x):
        return figures.get("overhead", peer, "boot", x)

    for peer, x, base in ([(peer, RESERVED, "without") for peer in SETUPS] +
                          [(OURS, x, "without-4") for x in LARGE]):
        there, before = lost(peer, x), lost(base, 0)
        if there is None or before is None:
            continue
        gibs = x // GIB
        command = boot(peer, x).command
        yield row(peer, "memory lost per GiB", x, "bytes", (there - before) / gibs), command
        yield row(peer, "boot, per GiB that is added", x, "instructions",
                  (boot(peer, x).value - boot(base, 0).value) / gibs), command
        everything = boot("nothing", RESERVED)
        if x == RESERVED and everything and peer != "nothing":
            yield row(peer, "boot, per GiB that is reserved", x, "instructions",
                      (boot(peer, x).value - everything.value) / gibs), command


def row(peer, what, x, unit, value):
    return {"peer": peer, "what": what, "x": x, "unit": unit, "values": [value]}


BESIDE = "hugetlbfs-1g-hvo", "hugetlbfs-2m-hvo", "hugetlbfs-1g", "hugetlbfs-2m", "memmap=", "nothing"

NOTES = (
    "A machine of 38 GiB, of which 32 GiB on one node are reserved: by guestmemfs=, by hugepages= with and without HVO, "
    "by memmap=, which keeps no metadata at all, or not (nothing), as for memfd and tmpfs. Memory lost is what neither "
    "the kernel nor a guest can use (struct pages, records, bitmaps), compared with a machine without the 32 GiB. On "
    "four nodes, pools are up to 1016 GiB; for the others, the struct pages alone would not fit into the machine that "
    "runs the benchmark.",
    "Boot is from power-on to the first instruction of the first program. For an ordinary GiB, the kernel sets up struct "
    "pages and frees pages. It does not for a GiB that is reserved by guestmemfs, so a reservation makes the boot "
    "faster. The figures repeat to some thousand instructions.",
)

WHY_LOST = "memmap= only hides memory, without metadata. A pool has records, and bitmaps with two bits for each block."
WHY_BOOT = ("memmap= only hides memory. It misses the aim too, which was set with another kernel, where an ordinary GiB "
            "costs more.")
WHY_ADDED = "memmap= only hides memory. Nearly all of this is done once for each pool, regardless of its size."

COMPARE = (
    Compare("Memory lost, per GiB of 32", "memory lost per GiB", RESERVED, BESIDE, unit="bytes", key=True,
            why=WHY_LOST),
    Compare("Memory lost, per GiB of 1016, and of 32 by others", "memory lost per GiB", RESERVED, BESIDE, unit="bytes",
            aim=1024, ours_at=LARGE[-1], key=True, why=WHY_LOST),
    Compare("Boot, per GiB of 32 that is reserved, against no reservation", "boot, per GiB that is reserved", RESERVED,
            BESIDE, aim=-15.5e6, key=True, why=WHY_BOOT),
    Compare("Boot, per GiB of 32 that is added", "boot, per GiB that is added", RESERVED, BESIDE,
            why=WHY_ADDED),
    Compare("Boot, per GiB of 1016 that is added, and of 32 by others", "boot, per GiB that is added", RESERVED, BESIDE,
            ours_at=LARGE[-1]),
)

PLOTS = (
    Plot("Memory lost per GiB", "memory lost per GiB", "reserved", "bytes", unit="bytes"),
    Plot("Boot, from power-on to the first program", "boot", "reserved", "million instructions", scale=1e6,
         peers=(OURS,), log=False),
)
