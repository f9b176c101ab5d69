# SPDX-License-Identifier: GPL-2.0
"""Blackout of virtual machines of QEMU and KVM while their host gets another kernel."""

from figures import Compare
from machine import GIB, HERE, Machine

METHODS = "guestmemfs", "memfd-luo", "file"
PARTS = "save", "preserve", "kernel", "retrieve", "resume"
SIZE = "256M"
NODES = 4


def machines(quick):
    for method in METHODS:
        for number in (1,) if quick else (1, 2, 4):
            # All on one processor, because emulated ones cannot run two guests at a time.
            nodes = ";".join(f"node={n},{'cpus=0,' if n == 0 else ''}mem=1536M" for n in range(NODES))
            yield Machine(f"blackout-{method}-{number}", f"{HERE}/blackout.sh {method} {number} {SIZE}",
                          topology=nodes, append=f"guestmemfs={NODES * 384}M" if method == "guestmemfs" else "",
                          waits=True, memory=3 * GIB, timeout=2400)


def derive(figures):
    """The sum of all parts."""
    for method in METHODS:
        for x, figure in figures.curve("blackout", method, "save"):
            parts = [figures.get("blackout", method, part, x) for part in PARTS]
            yield ({"peer": method, "what": "blackout", "x": x, "unit": figure.unit,
                    "values": [sum(part.value for part in parts)]}, figure.command)


PEERS = METHODS[1:]

NOTES = (
    f"Virtual machines of {SIZE}, each on its own node, from the moment when all are stopped to the moment when all run "
    "again. Save: QEMU saves the state of devices, and with a file also the memory. Preserve: memory is preserved. "
    "Kernel: the next kernel, which is loaded already, is executed and starts its first program. Retrieve: memory is "
    "retrieved. Resume: QEMU starts and loads the state. With guestmemfs, the state is a file next to the memory. With "
    "memfds it is on a file system of the host, as is memory that is saved to a file: that is in the memory of the host, "
    "and faster than any disk. While the processor waits for a file of the host or for a timer, the clock shows real "
    "time.",
)

# tests/bench/blackout.sh
WHY = {
    "preserve": "This is the call of kexec: files of guestmemfs need no call of their own.",
    "kernel": "The kernel finds and checks the pools, and removes them from its memory.",
    "retrieve": "gmfs-numa mounts all nodes. A file of the host needs nothing.",
}

COMPARE = (
    *(Compare(f"Blackout of {n} virtual machine{'s' if n > 1 else ''} of {SIZE}", "blackout", n, PEERS, key=n == 4)
      for n in (1, 2, 4)),
    *(Compare(f"{part}, of 4", part, 4, PEERS, why=WHY.get(part, "")) for part in PARTS),
)

PLOTS = ()
