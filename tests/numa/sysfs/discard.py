# SPDX-License-Identifier: GPL-2.0
"""Pools that have failed, are read-only, or are discarded."""

import mmap
import os
import re

from abi import FORMS
from common import BITMAPS, BLOCK, Failed, Node, TUNABLES, between, check, error_of, raw, same
from events import Events, Poll
from values import bad_values, consistent, good_values

# Of a node that has failed: what the ABI has more than numbers that are 0 and empty texts.
KNOWN = ("size", "target", "block_size", "total_blocks", "extents", "extent_blocks", "state", "error", "check", *TUNABLES)


@check
def discard(nid):
    """All files are gone, and their memory before anybody has it; what is set stays."""
    node = Node(nid)
    total = node["total_blocks"]
    if not os.path.ismount(node.mnt):
        node.mount()
    for i in range(20):
        os.makedirs(node.file(f"dir{i}/x"))
        node.file(f"dir{i}/file", 1)
    node.file("large", total // 2)
    for at in range(0, total // 2, 3):
        with open(node.file("large"), "r+b") as f, \
                mmap.mmap(f.fileno(), 4096, offset=at * BLOCK) as m:
            m[0:8] = b"a secret"
    same(node.error("discard", f"node{nid}"), "EBUSY", "discard of a node that is mounted")
    same(os.path.exists(node.file("large")), True, "file")
    values = {"scrub_rate": "1", "scrub_target": str(total - 5), "zeroing": "background",
              "reserve": "7", "policy": "first-fit", "low_watermark": "9", "frozen": "0"}
    for name, value in values.items():
        node.set(name, value)
    node.umount()
    events, state = Events(), Poll(node, "state")
    uuid = node.text("uuid")
    node.set("discard", f"node{nid}\n")
    events.state(node, "active")
    state.wait("active")
    if node.text("uuid") == uuid:
        raise Failed("the uuid is the same")
    same((node["generation"], node.text("handed_over_from")), (0, ""),
         "generation and handed_over_from")
    same({name: node.text(name) for name in TUNABLES}, values, "what is set")
    same(node["free_blocks"], total, "free blocks")
    between(total - 2, node["dirty_blocks"], total, "dirty blocks")
    same(node["free_inodes"], node["total_inodes"] - 1, "inodes")
    same(node["mounts"], 0, "mounts")
    consistent(node)
    node.mount()
    same(os.listdir(node.mnt), [], "files")
    # first-fit holds for the new one too.
    node.file("all", total)
    same(node.blocks("all"), list(range(total)), "blocks")
    with open(node.file("all"), "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        for block in range(total):
            same(m[block * BLOCK:block * BLOCK + 8], bytes(8), f"block {block}")
    node.remove("all")
    for _ in range(10):
        node.umount()
        node.set("discard", f"node{nid}")
        node.mount()
    node.file("survivor", 5)
    consistent(node)


@check
def failed(nid, why):
    """It reads as the ABI says, and nothing can be set."""
    node = Node(nid)
    same(node.text("state"), "failed", "state")
    for name in ("error", "check"):
        if not re.search(why, node.text(name)):
            raise Failed(f"{name}: {node.text(name)!r} is not {why!r}")
    same(node["block_size"], BLOCK, "block_size")
    same(node["size"], node["total_blocks"] * BLOCK, "size")
    same(sum(size for _, size in node.extents()), node["total_blocks"], "extents")
    for name in os.listdir(node.dir):
        if name in BITMAPS:
            same(raw(node.path(name)), b"", name)
        elif name == "metadata":
            # It can be read if the fault is one of the file system.
            same(error_of(raw, node.path(name)), None if why == "root inode" else "ENODATA", name)
        elif name in FORMS and name not in KNOWN:
            same(node.text(name), "", name)
        elif name not in KNOWN and name != "discard":
            same(node.text(name), "0", name)
    refused(node)


@check
def read_only(nid):
    """Likewise, of one with features that are not known."""
    node = Node(nid)
    same(node.text("state"), "read-only", "state")
    same(node.text("error"), "", "error")
    same(node.text("check"), "ok", "check")
    refused(node)


def refused(node):
    before = {name: node.text(name) for name in TUNABLES}
    for name in TUNABLES:
        for value in dict(good_values(node, name)).values():
            same(node.error(name, value), "EROFS", f"{name} < {value}")
        for value, error in bad_values(node, name)[:12]:
            same(node.error(name, value), error, f"{name} < {value!r}")
    same({name: node.text(name) for name in TUNABLES}, before, "what is set")
    same(node.error("discard", "x"), "EINVAL", "discard")


@check
def revive(nid):
    """Thrown away, it is as good as new."""
    node = Node(nid)
    throw_away(node, "active")
    good_as_new(node)


@check
def revive_frozen(nid):
    """Likewise, when it is thawed, which it could not be before."""
    node = Node(nid)
    same(node.error("frozen", "0"), "EROFS", "frozen")
    throw_away(node, "frozen")
    node.set("frozen", 0)
    good_as_new(node)


def throw_away(node, becomes):
    events, state = Events(), Poll(node, "state")
    node.set("discard", f"node{node.nid}")
    events.state(node, becomes)
    state.wait(becomes)


def good_as_new(node):
    same(node.text("error"), "", "error")
    same(node["free_blocks"], node["total_blocks"], "free blocks")
    node.mount()
    node.file("new", 4)
    node.set("reserve", 3)
    node.wait_clean()
    consistent(node)


@check
def no_memory(nid):
    """One whose memory is another's, which cannot be made good."""
    node = Node(nid)
    same((node["size"], node.text("extents")), (0, ""), "size and extents")
    error = node.text("error")
    same(node.error("discard", f"node{nid}"), "ENODEV", "discard")
    same((node.text("state"), node.text("error")), ("failed", error), "state and error")
    if not error:
        raise Failed("no error")
