# SPDX-License-Identifier: GPL-2.0
"""The scrub thread, the reserve and the policy of mappings."""

import mmap
import os
import subprocess
import time

from common import (
    BLOCK, Failed, GIB, Node, become_nobody, between, check, error_of, fiemap, in_child, join,
    same, wait_until)
from values import consistent


def make_dirty(node):
    """All blocks of an empty node, with the thread held."""
    node.pause(True)
    node.file("all", node["total_blocks"])
    node.remove("all")
    same(node["dirty_blocks"], node["total_blocks"], "dirty blocks")


def stays(node, name, value, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        same(node[name], value, f"{name}, {what}")
        time.sleep(0.05)


@check
def scrubbing(nid):
    """scrub_rate, scrub_target and zeroing do what they say."""
    node = Node(nid)
    total = node["total_blocks"]
    make_dirty(node)

    # As much as is wanted, and then no more.
    node.set("scrub_target", 100)
    node.pause(False)
    node.set("scrub_target", 101)
    wait_until(lambda: node["scrubbed_blocks"] >= 101, 30, "scrub_target is reached")
    stays(node, "scrubbed_blocks", 101, 1, "when scrub_target is reached")
    # What is taken is made up for.
    node.file("some", 11)
    wait_until(lambda: node["scrubbed_blocks"] >= 101, 30, "scrub_target is reached again")
    same(node["scrubbed_blocks"], 101, "scrubbed blocks")
    # What is there already is no less for it.
    node.set("scrub_target", 0)
    stays(node, "scrubbed_blocks", 101, 0.5, "with scrub_target 0")
    node.remove("some")

    # 32 blocks a second.
    node.set("zeroing", "on-alloc")
    node.set("scrub_target", "all")
    stays(node, "scrubbed_blocks", 101, 1, "with zeroing on-alloc")
    node.set("scrub_rate", 64 << 20)
    node.set("zeroing", "background")
    start = time.monotonic()
    time.sleep(3)
    done = node["scrubbed_blocks"] - 101
    took = time.monotonic() - start
    between(8 * took, done, 40 * took + 8, f"blocks in {took:.1f} s at 32 in a second")
    # A byte a second: a block, and the next in 24 days, but not if that is changed.
    node.set("scrub_rate", 1)
    time.sleep(0.5)
    now = node["scrubbed_blocks"]
    stays(node, "scrubbed_blocks", now, 1, "at a byte in a second")
    # Who wants blocks gets them, zeroed.
    node.file("all", total)
    same(node["free_blocks"], 0, "free blocks")
    with open(node.file("all"), "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        for block in range(0, total, 7):
            same(m[block * BLOCK:block * BLOCK + 4096], bytes(4096), f"block {block}")
    node.remove("all")
    between(0, node["scrubbed_blocks"], 2, "scrubbed blocks")
    node.set("scrub_rate", 0)
    start = time.monotonic()
    wait_until(lambda: node["dirty_blocks"] == 0, 60, "no limit lets the thread go on")
    print(f"unlimited={total / (time.monotonic() - start):.0f}")


@check
def reserve(nid):
    """What is reserved is for who has CAP_SYS_RESOURCE alone."""
    node = Node(nid)
    total = node["total_blocks"]
    os.chmod(node.mnt, 0o1777)
    node.set("reserve", 50)
    same(node["reserved_blocks"], 50, "reserved_blocks")
    fs = os.statvfs(node.mnt)
    same((fs.f_bfree, fs.f_bavail), (total, total - 50), "statfs")

    def as_nobody():
        become_nobody()
        failures = node["alloc_failures"]
        same(error_of(node.file, "mine", total), "ENOSPC", "all of it")
        between(failures + 1, node["alloc_failures"], failures + 9, "alloc_failures")
        os.unlink(node.file("mine"))
        node.file("mine", total - 50)
        same(node["free_blocks"], 50, "free blocks")
        same(error_of(node.file, "more", 1), "ENOSPC", "of what is reserved")
        # Nor by a fault: nothing is there for a hole.
        with open(node.file("hole"), "w+b") as f:
            os.truncate(f.fileno(), 0)
    join(in_child(as_nobody))
    same(os.statvfs(node.mnt).f_bavail, 0, "f_bavail")
    # A root that may not, as in a container.
    done = subprocess.run(["setpriv", "--bounding-set=-sys_resource", "truncate", "-s", "2M",
                           node.file("root")], stderr=subprocess.PIPE, text=True, check=False)
    if not done.returncode or "No space left" not in done.stderr:
        raise Failed(f"root without CAP_SYS_RESOURCE: {done.returncode}, {done.stderr}")
    node.file("root", 20)
    same(node["reserved_blocks"], 30, "reserved_blocks")
    # More than there is.
    node.set("reserve", total)
    same(node["reserved_blocks"], 30, "reserved_blocks")
    node.file("root", 50)
    same(node["reserved_blocks"], 0, "reserved_blocks")
    consistent(node)
    node.set("reserve", 0)
    for name in os.listdir(node.mnt):
        node.remove(name)


@check
def policy(nid):
    """Where new blocks come from."""
    node = Node(nid)
    total = node["total_blocks"]

    def holes():
        """Of 20, 5 and 8 blocks, in this order from the start on."""
        node.set("policy", "first-fit")
        blocks = []
        for name, count in (("a", 20), ("A", 2), ("b", 5), ("B", 2), ("c", 8), ("C", 2)):
            node.file(name, count)
            blocks += node.blocks(name)
        same(blocks, list(range(39)), "blocks of first-fit on an empty node")
        node.remove("a", "b", "c")
        node.wait_clean()

    holes()
    # The lowest that holds it.
    node.file("new", 5)
    same(node.blocks("new"), list(range(5)), "first-fit: 5 blocks")
    node.file("longer", 16)
    same(node.blocks("longer"), list(range(39, 55)), "first-fit: 16 blocks")
    # A file goes on where it ends.
    node.file("new", 7)
    same(node.blocks("new"), list(range(7)), "first-fit: a file that grows")
    node.remove("new", "longer", "A", "B", "C")
    node.wait_clean()

    holes()
    node.set("policy", "best-fit")
    node.file("new", 5)
    same(node.blocks("new"), list(range(22, 27)), "best-fit: 5 blocks")
    node.file("new6", 6)
    same(node.blocks("new6"), list(range(29, 35)), "best-fit: 6 blocks")
    node.remove("new", "new6", "A", "B", "C")
    node.wait_clean()

    # A small file breaks no gigabyte, where it need not.
    gibs = node["free_1g"]
    node.file("small", 3)
    same(node["free_1g"], gibs, "best-fit: free_1g")
    node.remove("small")
    # Nothing holds all of it.
    node.file("all", total)
    same(sorted(node.blocks("all")), list(range(total)), "all")
    longest = max(size for _, size in node.extents())
    between(min(longest, GIB), fiemap(node.file("all"))[0][1], longest,
            "blocks of the first piece")
    node.remove("all")
    node.wait_clean()
