# SPDX-License-Identifier: GPL-2.0
"""Live update: memory is kept over a kexec."""

from figures import Compare, OURS, Plot, x_text
from machine import GIB, MIB, Machine, size_name

# AGAIN is measured several times.
SIZES = 64 * MIB, 256 * MIB, GIB, 2 * GIB, 4 * GIB
AGAIN = GIB
LUO = "guestmemfs-luo"
MEMFDS = "memfd-huge", "memfd-4k"
# In total, on four nodes.
LARGE = 64 * GIB, 256 * GIB, 1016 * GIB
NODES = 4
HUGE = "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
LARGE_POOLS = ",".join(f"{n}:{size_name(LARGE[-1] // NODES)}" for n in range(NODES))


def chain(name, steps, topology, append="", prepare="", memory=0, timeout=1500):
    """One machine with a kexec after each step; the boot after the last step only retrieves memory."""
    words = " ".join(f"'{step}'" for step in steps)
    return Machine(
        f"liveupdate {name}",
        f"""
        {prepare}
        [ ! -e "$VM_SCRATCH/note" ] || liveupdate find
        steps=({words})
        step=${{steps[VM_BOOT - 1]:-}}
        [ -n "$step" ] || exit 0
        # shellcheck disable=SC2086 # it is several words
        exec liveupdate $step
        """,
        topology=topology, append=f"rdinit=/vm/first {append}".strip(), memory=memory, first=True,
        timeout=timeout)


def times(size, quick):
    return 5 if size == AGAIN and not quick else 1


def machines(quick):
    sizes = [size for size in SIZES if size <= (GIB if quick else 2 * GIB)]
    most = max(sizes)
    # Memory of the kernel, without memory that is kept.
    small = "node=0,cpus=0,mem=2G;node=1,mem=2G"
    yield chain("without", ["keep nothing-2 0K"], small, memory=2 * GIB)
    yield chain(OURS, [f"keep {peer} {size_name(size)} /mnt/node1" for peer in (OURS, LUO) for size in sizes
                       for _ in range(times(size, quick))],
                f"node=0,cpus=0,mem=2G;node=1,mem={size_name(2 * most + 2 * GIB)}",
                f"guestmemfs=1:{size_name(2 * most)}", "mount_node 1", memory=2 * most + 2 * GIB)
    for peer in MEMFDS:
        # Each page of 4 KiB costs more than a thousand instructions, several times.
        mine = [size for size in SIZES if size <= most or (peer == "memfd-huge" and not quick)]
        yield chain(peer, [f"keep nothing-{peer} 0K"] +
                    [f"keep {peer} {size_name(size)}" for size in mine
                     for _ in range(times(size, quick) if peer == "memfd-huge" else 1)],
                    f"node=0,cpus=0,mem=2G;node=1,mem={size_name(max(mine) + 2 * GIB)}",
                    prepare=HUGE if peer == "memfd-huge" else "", memory=max(mine) + 3 * GIB)

    four = ";".join(f"node={n}{',cpus=0' if n == 0 else ''},mem=%s" for n in range(NODES))
    yield chain("without-4", ["keep nothing-4 0K"], four.replace("%s", "2G"), memory=3 * GIB)
    pause = "\n".join(f"mount_node {n}; echo Y > \"$PAUSE_SCRUB\"" for n in range(NODES))
    dirs = " ".join(f"/mnt/node{n}" for n in range(NODES))
    yield chain("large", [f"clean {' '.join(map(str, range(NODES)))}"] +
                [f"keep {OURS} {size_name(size)} {dirs}" for size in (LARGE[-1:] if quick else LARGE)],
                four.replace("%s", size_name(LARGE[-1] // NODES + 2 * GIB)), f"guestmemfs={LARGE_POOLS}", pause,
                memory=6 * GIB)


def derive(figures):
    """The cost of kept memory: the difference to a kexec of the same machine that keeps nothing."""
    bases = {OURS: "nothing-2", LUO: "nothing-2", **{peer: f"nothing-{peer}" for peer in MEMFDS}}
    for peer, base in bases.items():
        curve = figures.curve("liveupdate", peer, "live update")
        for nothing, points in ((base, [p for p in curve if p[0] < LARGE[0]]),
                                ("nothing-4", [p for p in curve if p[0] >= LARGE[0]])):
            yield from beside(peer, figures.get("liveupdate", nothing, "live update", 0), points)


def beside(peer, nothing, points):
    """The difference of a curve to a kexec that keeps nothing, and its growth from the first point on."""
    if not nothing or not points:
        return
    least, first = points[0]
    for x, figure in points:
        extra = [value - nothing.value for value in figure.values]
        yield row(peer, "extra", x, extra), figure.command
        if x > least:
            growth = [(value - first.value) * GIB / (x - least) for value in figure.values]
            yield row(peer, "extra for each GiB", x, growth), figure.command


def row(peer, what, x, values):
    return {"peer": peer, "what": what, "x": x, "unit": "instructions", "values": values}


NOTES = (
    "Memory of the given size is preserved, the machine executes the next kernel, and the memory is retrieved, touched "
    "once for each mapping, and its contents are compared. \"Extra\" is the difference to a kexec of the same machine "
    "that keeps nothing, for guestmemfs of a machine without the memory of the pool. \"For each GiB\" is the growth from "
    "the smallest size on: a small difference of large figures, so its runs differ widely. LUO refuses hugetlbfs, tmpfs "
    "and guest_memfd. guestmemfs-luo are descriptors that LUO preserves, guestmemfs files that are opened by name.",
    "From 64 GiB on, the machine has four nodes with pools of together 1016 GiB and a file on each. A debugging "
    "interface tells the pools that the memory of the new machine is zero, because the host lacks the memory to zero "
    "it. One word in each GiB is written and compared.",
)

WHY = ("The cost to find a pool, check its records and mount it does not depend on the size. A small memfd costs less; its "
       "cost grows with each page.")

COMPARE = (
    *(Compare(f"Live update, extra with {x_text(size)} kept", "extra", size, (*MEMFDS, LUO), key=True, why=WHY)
      for size in (64 * MIB, GIB, 2 * GIB)),
    *(Compare(f"Live update, extra for each GiB, up to {x_text(size)}", "extra for each GiB", size, (*MEMFDS, LUO),
              aim=0.05e6, key=True) for size in (GIB, 2 * GIB)),
    Compare("Live update, extra for each GiB, up to 1016 GiB, and to 1 GiB by others", "extra for each GiB", GIB, MEMFDS,
            aim=0.05e6, ours_at=LARGE[-1], key=True),
    *(Compare(f"Live update, all of it, {x_text(size)} kept", "live update", size, (*MEMFDS, LUO))
      for size in (GIB, 2 * GIB)),
    *(Compare(f"Live update, {what}, 1 GiB kept", what, GIB, (*MEMFDS, LUO)) for what in (
        "preserve", "kexec", "retrieve", "first touch")),
)

PLOTS = (
    Plot("Extra cost of a kexec that keeps memory", "extra", "memory that is kept", "million instructions", scale=1e6),
    Plot("All of it: preserve, kexec, retrieve, touch", "live update", "memory that is kept", "million instructions",
         scale=1e6, peers=(OURS, LUO, *MEMFDS)),
)
