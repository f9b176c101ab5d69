# SPDX-License-Identifier: GPL-2.0
"""Live update: memory is kept over a kexec, and what that costs more than one without."""

from machine import GIB, MIB, TIB, Machine, size_name, size_of

# The last kexec of the machine is for the largest; each finds the memory of the one before freed.
SIZES = 64 * MIB, 256 * MIB, GIB, 4 * GIB
LARGE_NODES = 4


def chain(name, peers, sizes, topology, append, prepare, memory):
    """One machine that goes on by kexec, from one size of one peer to the next."""
    steps = ["nothing 0"] + [f"{peer} {size_name(size)}" for peer in peers for size in sizes]
    words = " ".join(f"'{step}'" for step in steps)
    return Machine(
        f"liveupdate {name}",
        f"""
        {prepare}
        steps=({words})
        if [ "$VM_BOOT" = 1 ]; then
            row {name} boot 0 time "$(cat /run/vm/bin/first-instruction)"
        else
            liveupdate find
        fi
        step=${{steps[VM_BOOT - 1]:-}}
        [ -n "$step" ] || exit 0
        # shellcheck disable=SC2086 # two words
        set -- $step
        exec liveupdate keep "$1" /mnt/node1 "$2"
        """,
        topology=topology, append=f"rdinit=/vm/first {append}".strip(), memory=memory,
        first=True, params={"chain": name})


def machines(quick):
    sizes = [s for s in SIZES if not quick or s <= GIB]
    most = max(sizes)
    # The same memory for all: that of guestmemfs is a pool of it.
    topology = f"node=0,cpus=0,mem=2G;node=1,mem={size_name(most + 2 * GIB)}"
    node = "mount_node 1"
    huge = "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
    yield chain("guestmemfs", ["guestmemfs", "guestmemfs-luo"], sizes, topology,
                f"guestmemfs=1:{size_name(most)}", node, most + 2 * GIB)
    yield chain("memfd-huge", ["memfd-huge"], sizes, topology, "", huge, most + 4 * GIB)
    yield chain("memfd-4k", ["memfd-4k"], sizes, topology, "", "", most + 4 * GIB)
