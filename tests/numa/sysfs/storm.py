# SPDX-License-Identifier: GPL-2.0
"""All of it at the same time."""

import errno
import mmap
import os
import random
import signal
import struct
import time

from abi import read_one
from common import (BITMAPS, BLOCK, Failed, TOP, TUNABLES, between, check, error_of, in_child,
                    nodes, same)
from values import DEFAULTS, bad_values, consistent, good_values


def storm_write(node, seed, end):
    """Sets what it can, good and bad, and sees that each is taken or refused."""
    rng = random.Random(seed)
    while time.monotonic() < end:
        name = rng.choice(TUNABLES)
        if name == "frozen":
            node.set("frozen", 1)
            time.sleep(rng.random() / 20)
            node.set("frozen", 0)
        elif rng.random() < 0.6:
            value, _ = rng.choice(good_values(node, name))
            same(node.error(name, value), None, f"{name} < {value!r}")
        else:
            value, error = rng.choice(bad_values(node, name))
            same(node.error(name, value), error, f"{name} < {value!r}")
        if rng.random() < 0.1:
            # By its name only if it is mounted for certain, see storm_mount().
            value = rng.choice(["node", "x"] + [f"node{node.nid}"] * (node.nid == 0))
            same(node.error("discard", value), "EBUSY" if value == "node0" else "EINVAL",
                 f"discard < {value!r}")


def storm_read(seed, end):
    rng = random.Random(seed)
    names = [n for n in os.listdir(f"{TOP}/node0") if n != "discard"]
    totals = {node.nid: node["total_blocks"] for node in nodes()}
    while time.monotonic() < end:
        node = rng.choice(nodes())
        rng.shuffle(names)
        for name in names:
            # Of two readers of metadata, one fails. A node that is being reset at this moment
            # has no metadata and no bitmap.
            if name == "metadata":
                error = error_of(read_one, node, name, totals[node.nid])
                if error not in (None, "ESTALE", "ENODATA"):
                    raise Failed(f"metadata: {error}")
            elif node.nid == 0 or name not in BITMAPS:
                read_one(node, name, totals[node.nid])
        between(0, node["free_blocks"], totals[node.nid], "free_blocks")
        # Each mount, one that is being made, one that is going, and who freezes it.
        between(0, node["mounts"], 8, "mounts")


def storm_files(node, seed, end):
    """Makes, resizes, maps, fills, punches and removes files."""
    rng = random.Random(seed)
    done = 0
    while time.monotonic() < end:
        path = node.file(f"{seed}-{rng.randrange(4)}")
        try:
            with open(path, "a+b") as f:
                blocks = rng.randrange(1, 20)
                os.truncate(f.fileno(), blocks * BLOCK)
                with mmap.mmap(f.fileno(), blocks * BLOCK) as m:
                    at = rng.randrange(blocks) * BLOCK
                    stamp = struct.pack("=QQ", seed, done)
                    # An access to a hole for which there is no block would be SIGBUS.
                    os.posix_fallocate(f.fileno(), at, BLOCK)
                    m[at:at + 16] = stamp
                    if rng.random() < 0.3:
                        libc_punch(f.fileno(), at, BLOCK)
                        os.posix_fallocate(f.fileno(), at, BLOCK)
                        same(m[at:at + 16], bytes(16), "a hole that was punched")
                    else:
                        same(m[at:at + 16], stamp, "what was stored")
            if rng.random() < 0.5:
                os.unlink(path)
            done += 1
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
            os.unlink(path)
    print(f"files={done}")


def libc_punch(fd, offset, length):
    """fallocate(2), which Python lacks."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
    if libc.fallocate(fd, 3, ctypes.c_int64(offset), ctypes.c_int64(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


def storm_mount(node, seed, end):
    """Mounts and unmounts it, and throws it away now and then."""
    rng = random.Random(seed)
    discards = 0
    while time.monotonic() < end:
        node.mount()
        try:
            node.file(f"f{rng.randrange(5)}", rng.randrange(10))
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
        node.umount()
        if rng.random() < 0.5:
            error = node.error("discard", f"node{node.nid}")
            # Others freeze it.
            if error not in (None, "EBUSY"):
                raise Failed(f"discard: {error}")
            discards += error is None
    print(f"discards={discards}")


@check
def storm(seconds, seed):
    """All of that at the same time, on a node that is mounted and on one that is not always."""
    end = time.monotonic() + int(seconds)
    seed = 1000 * int(seed)
    busy, other = nodes()
    busy.mount()
    # A block that no storm has, so that there is always a file.
    busy.file(f"kept{seed}", 1)
    workers = [in_child(storm_write, node, seed + i, end)
               for i, node in enumerate([busy, busy, other, other])]
    workers += [in_child(storm_read, seed + 10 + i, end) for i in range(2)]
    workers += [in_child(storm_files, busy, seed + 20 + i, end) for i in range(3)]
    workers += [in_child(storm_mount, other, seed + 30, end)]
    status = {}
    # Nor may one wait for ever.
    signal.alarm(int(seconds) + 240)
    while len(status) < len(workers):
        pid, code = os.waitpid(-1, os.WNOHANG)
        if pid:
            status[pid] = code
            continue
        time.sleep(0.2)
        # Who waits for a node that a writer left frozen, when it failed, is let go.
        if time.monotonic() > end:
            for node in (busy, other):
                node.set("frozen", 0)
    same([s for s in status.values() if s], [], "status of a process")

    for node in (busy, other):
        for name, value in DEFAULTS.items():
            node.set(name, value)
        if node is other:
            node.mount()
        consistent(node)
        for name in os.listdir(node.mnt):
            if not name.startswith("kept"):
                node.remove(name)
        used = sum(len(node.blocks(name)) for name in os.listdir(node.mnt))
        same(node["free_blocks"], node["total_blocks"] - used, "free blocks right after deleting")
        node.wait_clean()
        consistent(node)
        same(node["mounts"], 1, "mounts")
    other.umount()
    same(other["mounts"], 0, "mounts")
