# SPDX-License-Identifier: GPL-2.0
"""What is done to a node is seen in its files."""

import mmap
import os
import subprocess

from common import BITMAPS, BLOCK, GIB, Node, between, check, error_of, raw, run, same, wait_until
from values import consistent


@check
def actions(nid):
    """What is done to a node is seen: what there is of it, and how much."""
    node = Node(nid)
    total = node["total_blocks"]
    same(node["mounts"], 0, "mounts")
    node.mount()
    same(node["mounts"], 1, "mounts")
    same(node["generation"], 0, "generation")
    same(node.text("handed_over_from"), "", "handed_over_from")
    node.wait_clean()
    same(node["scrubbed_blocks"], total, "scrubbed blocks")
    same(node["largest_free_run"], max(s for _, s in node.extents()), "largest_free_run")
    node.pause(True)

    # Blocks. The giga is left whole by what has room beside it.
    gibs = node["free_1g"]
    between(1, gibs, 9, "free_1g")
    node.file("three", 3)
    same(node["free_blocks"], total - 3, "free blocks")
    same(node["scrubbed_blocks"], total - 3, "scrubbed blocks")
    same(node.bits("bitmap"), set(node.blocks("three")), "bitmap")
    same(node["free_1g"], gibs, "free_1g")
    consistent(node)
    blocks = set(node.blocks("three"))
    node.remove("three")
    same(node["free_blocks"], total, "free blocks right after deleting")
    same(node["dirty_blocks"], 3, "dirty blocks")
    same(node.bits("bitmap_dirty"), blocks, "bitmap_dirty")
    same(node.bits("bitmap"), set(), "bitmap")
    consistent(node)

    # Holes.
    for i in range(5):
        node.file(f"f{i}", total // 8)
    node.remove("f1", "f3")
    with open(node.file("f0"), "r+b") as f:
        # Punched, with the size kept: a hole of 7 blocks.
        run("fallocate", "-p", "-o", str(10 * BLOCK), "-l", str(7 * BLOCK), f.name)
    same(node["free_blocks"], total - 3 * (total // 8) + 7, "free blocks")
    consistent(node)
    # A bit in the middle of the gigabyte that is aligned.
    for i in (0, 2, 4):
        node.remove(f"f{i}")
    same(node["free_1g"], gibs, "free_1g")
    node.file("all", total)
    same((node["free_blocks"], node["largest_free_run"], node["free_1g"]), (0, 0, 0),
         "free_blocks, largest_free_run, free_1g")
    same(node["dirty_blocks"], 0, "dirty blocks")
    failures = node["alloc_failures"]
    same(error_of(node.file, "more", 1), "ENOSPC", "a block more")
    between(failures + 1, node["alloc_failures"], failures + 9, "alloc_failures")
    consistent(node)
    node.remove("all")

    # The bitmap by pieces is the bitmap.
    node.file("a", 5)
    node.file("b", 9)
    node.remove("a")
    for name in BITMAPS:
        whole = raw(node.path(name))
        fd = os.open(node.path(name), os.O_RDONLY)
        for size in (1, 3, 7, 64, 100):
            parts = b"".join(os.pread(fd, size, at) for at in range(0, len(whole) + size, size))
            same(parts, whole, f"{name} by pieces of {size}")
        same(os.pread(fd, 100, len(whole) - 1), whole[-1:], f"end of {name}")
        same(os.pread(fd, 100, len(whole) + 5), b"", f"{name} behind its end")
        os.close(fd)
    node.remove("b", "more")

    # Faults, by the leaf that each takes.
    def touch(name, offset, length, at):
        was = [node[f"faults_{leaf}"] for leaf in ("pte", "pmd", "pud")]
        with open(node.file(name), "r+b") as f, \
                mmap.mmap(f.fileno(), length, offset=offset) as m:
            for i in at:
                m[i] = 1
        return [node[f"faults_{leaf}"] - w for leaf, w in zip(("pte", "pmd", "pud"), was)]
    node.file("large", GIB)
    same(touch("large", 0, GIB * BLOCK, [0, 5 * BLOCK, GIB * BLOCK - 1]), [0, 0, 1],
         "faults of a gigabyte")
    node.remove("large")
    node.file("small", 4)
    same(touch("small", 0, 4 * BLOCK, [0, 1, 2 * BLOCK]), [0, 2, 0], "faults of 2 of 4 blocks")
    same(touch("small", 4096, 3 * 4096, [0, 4096]), [2, 0, 0], "faults of 2 pages")
    node.remove("small")

    # Mounts.
    os.makedirs("/mnt/bind", exist_ok=True)
    os.makedirs("/mnt/again", exist_ok=True)
    run("mount", "--bind", node.mnt, "/mnt/bind")
    same(node["mounts"], 2, "mounts with a bind mount")
    run("mount", "-t", "guestmemfs", "-o", f"node={nid}", "none", "/mnt/again")
    same(node["mounts"], 3, "mounts with one more")
    with subprocess.Popen(["unshare", "-m", "sleep", "60"]) as other:
        wait_until(lambda: node["mounts"] == 6, 20, "mounts in another namespace")
        other.terminate()
    wait_until(lambda: node["mounts"] == 3, 20, "mounts are gone with the namespace")
    node.set("frozen", 1)
    same(node["mounts"], 3, "mounts of a node that is frozen")
    node.set("frozen", 0)
    run("fsfreeze", "-f", node.mnt)
    same(node["mounts"], 3, "mounts of one that fsfreeze has frozen")
    # It is not the administrator's, who can do the same.
    same((node["frozen"], node.text("state")), (0, "active"), "frozen and state after fsfreeze")
    node.set("frozen", 1)
    node.set("frozen", 0)
    run("fsfreeze", "-u", node.mnt)
    run("umount", "/mnt/bind", "/mnt/again")
    same(node["mounts"], 1, "mounts")
    with open(node.file("open"), "wb"):
        run("umount", "-l", node.mnt)
        same(node["mounts"], 1, "mounts, detached but in use")
    wait_until(lambda: node["mounts"] == 0, 20, "it is gone when it is not in use")

    # Inodes.
    node.mount("nr_inodes=100")
    node.remove("open")
    same(node["max_inodes"], 100, "max_inodes")
    used = node["total_inodes"] - node["free_inodes"]
    same(used, 1, "inodes")
    for i in range(99):
        node.file(f"i{i}", 0)
    same(error_of(node.file, "i99", 0), "ENOSPC", "inode 101")
    same(node["total_inodes"] - node["free_inodes"], 100, "inodes")
    between(100, node["total_inodes"], 150, "total_inodes")
    consistent(node)
    metadata = node["metadata_bytes"]
    node.remove(*(f"i{i}" for i in range(99)))
    same(node["total_inodes"] - node["free_inodes"], 1, "inodes")
    same(metadata % 4096, 0, "metadata_bytes")
    run("mount", "-o", "remount,nr_inodes=0", node.mnt)
    same(node["max_inodes"], 0, "max_inodes")
    node.file("kept", 3)
    node.pause(False)
    # It is told when something is set.
    node.set("scrub_rate", 0)
    node.wait_clean()
    consistent(node)
