# SPDX-License-Identifier: GPL-2.0
"""Virtual machines of QEMU and KVM stand still while their host gets another kernel."""

from figures import Compare
from machine import GIB, HERE, Machine

METHODS = "guestmemfs", "memfd-luo", "file"
PARTS = "save", "preserve", "kernel", "retrieve", "resume"
SIZE = "256M"
NODES = 4


def machines(quick):
    for method in METHODS:
        for number in (1,) if quick else (1, 2, 4):
            # All on one processor, for emulated ones cannot run two guests at a time.
            nodes = ";".join(f"node={n},{'cpus=0,' if n == 0 else ''}mem=1536M" for n in range(NODES))
            yield Machine(f"blackout-{method}-{number}", f"{HERE}/blackout.sh {method} {number} {SIZE}",
                          topology=nodes, append=f"guestmemfs={NODES * 384}M" if method == "guestmemfs" else "",
                          waits=True, memory=3 * GIB, timeout=2400)


def derive(figures):
    """All parts together."""
    for method in METHODS:
        for x, figure in figures.curve("blackout", method, "save"):
            parts = [figures.get("blackout", method, part, x) for part in PARTS]
            yield ({"peer": method, "what": "blackout", "x": x, "unit": figure.unit,
                    "values": [sum(part.value for part in parts)]}, figure.command)


PEERS = METHODS[1:]

NOTES = (
    f"Virtual machines of {SIZE}, each on its own node, from the moment at which all of them have been stopped to the "
    "moment at which all of them run again: the state of their devices is saved (and with a file, their memory), "
    "memory is preserved, the next kernel, which is loaded already, is executed and comes to its first program, memory "
    "is retrieved, and QEMU is started and loads the state. With guestmemfs the state is a file beside the memory; "
    "with memfds it is on a file system of the host, and so is the memory that is saved to a file: in the memory of "
    "the host of this machine, that is, and faster than any disk. Where the processor waits, for a file of the host "
    "or by a timer, the clock goes on with real time.",
)

# tests/bench/blackout.sh
WHY = {
    "preserve": "It is the time to call kexec: nothing is preserved one by one.",
    "kernel": "The pools are found, checked, and taken out of the memory of the kernel.",
    "retrieve": "gmfs-numa mounts all nodes, where a file of the host needs nothing.",
}

COMPARE = (
    *(Compare(f"Blackout of {n} virtual machine{'s' if n > 1 else ''} of {SIZE}", "blackout", n, PEERS, key=n == 4)
      for n in (1, 2, 4)),
    *(Compare(f"{part}, of 4", part, 4, PEERS, why=WHY.get(part, "")) for part in PARTS),
)

PLOTS = ()
