# SPDX-License-Identifier: GPL-2.0
"""Freezing and thawing."""

import mmap
import os
import struct
import time

from common import BLOCK, Failed, Node, between, check, in_child, join, run, same, sleeps, wait_until
from events import Events
from values import consistent


@check
def freezing(nid):
    """frozen: who changes something waits, and who does not goes on."""
    node = Node(nid)
    node.file("mapped", 4)
    node.file("holey", 4)
    node.file("old", 1)

    def store(ready, stop, counter):
        with open(node.file("mapped"), "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            while not os.path.exists(stop):
                for block in range(4):
                    m[block * BLOCK] = (m[block * BLOCK] + 1) % 256
                counter[0:8] = struct.pack("=Q", struct.unpack("=Q", counter[0:8])[0] + 1)
                open(ready, "ab").close()

    def fault(ready):
        with open(node.file("holey"), "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            run("fallocate", "-p", "-o", "0", "-l", str(2 * BLOCK), f.name)
            same(m[3 * BLOCK], 0, "a byte that is there")
            open(ready, "ab").close()
            wait_until(lambda: node["frozen"] == 1, 30, "frozen")
            m[BLOCK + 5] = 7
            same(m[BLOCK + 5], 7, "the byte")

    counter = mmap.mmap(-1, 4096)
    storer = in_child(store, "/tmp/storing", "/tmp/stop", counter)
    faulter = in_child(fault, "/tmp/faulting")
    for name in ("/tmp/storing", "/tmp/faulting"):
        wait_until(lambda name=name: os.path.exists(name), 30, name)
    free = node["free_blocks"]
    node.set("frozen", 1)
    changers = [in_child(function, *args) for function, args in (
        (node.file, ("new", 1)), (node.file, ("old", 2)), (os.unlink, (node.file("mapped"),)),
        (os.mkdir, (node.file("dir"),)), (os.setxattr, (node.file("old"), "user.x", b"1")),
        (os.chmod, (node.file("old"), 0o600)), (os.rename, (node.file("old"), node.file("older"))))]
    for pid in (faulter, *changers):
        wait_until(lambda pid=pid: sleeps(pid), 30, f"process {pid} waits")
    time.sleep(0.5)
    for pid in (faulter, *changers):
        if not sleeps(pid):
            raise Failed(f"process {pid} does not wait")
    same(node.text("state"), "frozen", "state")
    same(node["free_blocks"], free, "free blocks")
    same(sorted(os.listdir(node.mnt)), ["holey", "mapped", "old"], "files")
    # What is there can be read and written.
    was = struct.unpack("=Q", counter[0:8])[0]
    wait_until(lambda: struct.unpack("=Q", counter[0:8])[0] > was + 100, 30, "stores go on")
    with open(node.file("mapped"), "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        between(0, m[BLOCK], 255, "a byte")
    same(os.stat(node.file("old")).st_size, BLOCK, "size")
    same(node.text("check"), "ok", "check")
    same(node.error("discard", f"node{nid}"), "EBUSY", "discard")
    node.set("frozen", 0)
    open("/tmp/stop", "wb").close()
    join(storer, faulter, changers[0], *changers[2:4])
    # Of the others one may have renamed it before.
    for pid in (changers[1], *changers[4:]):
        os.waitpid(pid, 0)
    same(sorted(set(os.listdir(node.mnt)) - {"old"}), ["dir", "holey", "new", "older"], "files")
    consistent(node)
    os.rmdir(node.file("dir"))
    for name in os.listdir(node.mnt):
        node.remove(name)
    same(node["free_blocks"], node["total_blocks"], "free blocks")


@check
def freezing_unmounted(nid):
    """A node that is not mounted is frozen as soon as it is."""
    node = Node(nid)
    node.umount()
    events = Events()
    node.set("frozen", 1)
    events.state(node, "frozen")
    same(node["mounts"], 0, "mounts")
    for _ in range(2):
        node.mount()
        pid = in_child(node.file, "new", 1)
        wait_until(lambda pid=pid: sleeps(pid), 30, "who makes a file waits")
        same(node["mounts"], 1, "mounts")
        node.set("frozen", 0)
        join(pid)
        node.remove("new")
        node.set("frozen", 1)
        node.umount()
        same(node["mounts"], 0, "mounts")
        same(node.error("discard", f"node{nid}"), "EBUSY", "discard of a node that is frozen")
    node.set("frozen", 0)
    same(node.text("state"), "active", "state")
    # Nothing holds it any more.
    same(node.error("discard", f"node{nid}"), None, "discard")
    node.mount()
    node.file("new", 1)
    node.remove("new")
