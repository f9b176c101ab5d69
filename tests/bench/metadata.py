# SPDX-License-Identifier: GPL-2.0
"""Metadata: files are created, looked up, renamed, listed and unlinked."""

from figures import Compare, Plot
from machine import GIB, Machine

STEPS = "create", "lookup", "lookup, not cached", "rename", "readdir", "unlink"
PEERS = "guestmemfs", "tmpfs"
MANY = 1000000


def machine(name, cpus, work, icount, memory):
    """work: (files, CPUs, runs)"""
    script = """
    mount_node 1
    wait_clean 1
    mount_tmpfs tmp nr_inodes=0
    declare -A at=([guestmemfs]=/mnt/node1 [tmpfs]=/mnt/tmp)
    """
    for files, workers, runs in work:
        for peer in PEERS:
            script += f"metadata {peer} ${{at[{peer}]}} {files} {workers} {runs}\n"
    return Machine(f"metadata {name}", script, icount=icount, memory=memory, append="guestmemfs=1:1G",
                   topology=f"node=0,cpus=0{f'-{cpus - 1}' if cpus > 1 else ''},mem=5G;node=1,mem=3G")


def machines(quick):
    small = [(1, 1, 5), (1000, 1, 5)]
    if quick:
        yield machine("by one", 1, small + [(100000, 1, 1)], True, 2 * GIB)
        yield machine("by several", 4, [(1000, 4, 5)], True, 2 * GIB)
        return
    yield machine("by one", 1, small + [(100000, 1, 1)], True, 2 * GIB)
    yield machine("of a million", 1, [(MANY, 1, 1)], True, 5 * GIB)
    yield machine("by several", 4, [(1000, cpus, 5) for cpus in (2, 3, 4)] + [(100000, 4, 1)], True, 2 * GIB)
    yield machine("of a million by four", 4, [(MANY, 4, 1)], True, 5 * GIB)
    yield machine("in real time", 4, [(100000, cpus, 2) for cpus in (1, 2, 4)], False, 2 * GIB)


def derive(_figures):
    return ()


NOTES = (
    "Figures are for one file: the instructions for all files, divided by their number. Neither instance has a limit of inodes "
    "(guestmemfs by default, tmpfs by nr_inodes=0). Each CPU has a directory of its own; the instructions of all CPUs "
    "count, also of those that spin on a lock. Readdir includes the work of the C library.",
    "A lookup that is not cached follows a drop of the caches. tmpfs keeps all names in the cache of the VFS, which is "
    "memory that cannot be reclaimed.",
    "With several CPUs and 1,000 files, runs differ widely: the work is short, and its parts overlap differently in each "
    "run. With one CPU and few files, the first run differs, as it finds the kernel's caches empty.",
)

# fs/guestmemfs/namei.c, inode.c, dirent.c
RECORDS = "In addition to the work of tmpfs, the records for the next kernel are changed."
WHY = {
    "lookup": "The name is in the cache of the VFS; getattr() does more.",
    "lookup, not cached": "tmpfs keeps all names in the cache of the VFS, and cannot free that memory.",
    "readdir": "The start is looked up in a tree, and the end is recorded.",
    "create": RECORDS, "rename": RECORDS, "unlink": RECORDS,
}

COMPARE = (
    *(Compare(f"{step.capitalize()}, {files:,} file{'s' if files > 1 else ''}", step, files, ("tmpfs",),
              key=files in (1000, MANY), why=WHY[step]) for files in (1, 1000, 100000, MANY) for step in STEPS),
    *(Compare(f"{step.capitalize()}, {files:,} files, {cpus} CPUs", f"{step} by {cpus} CPUs", files, ("tmpfs",), why=WHY[step])
      for files in (1000, 100000, MANY) for cpus in (4,) for step in STEPS),
    *(Compare(f"{step.capitalize()}, 100,000 files, {cpus} CPUs, real time",
              step + (f" by {cpus} CPUs" if cpus > 1 else ""), 100000, ("tmpfs",), unit="ns", why=WHY[step])
      for cpus in (1, 4) for step in STEPS),
)

PLOTS = tuple(Plot(f"{step.capitalize()}, one CPU", step, "files", "instructions for one file") for step in STEPS)
