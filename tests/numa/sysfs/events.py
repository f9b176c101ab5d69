# SPDX-License-Identifier: GPL-2.0
"""poll() and uevents."""

import os
import select
import socket

from common import BLOCK, Failed, Node, check, same, write
from values import consistent


class Poll:
    """A file of a node that is polled."""

    def __init__(self, node, name):
        self.name = name
        self.fd = os.open(node.path(name), os.O_RDONLY)
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLPRI | select.POLLERR)
        self.read()

    def read(self):
        return os.pread(self.fd, 100, 0).decode().rstrip("\n")

    def wait(self, value):
        events = self.poll.poll(10000)
        same([e for _, e in events], [select.POLLPRI | select.POLLERR], f"events of {self.name}")
        same(self.read(), str(value), f"{self.name} when it was woken")
        self.quiet("after it was read")

    def quiet(self, when):
        same(self.poll.poll(200), [], f"events of {self.name} {when}")


class Events:
    """Uevents of the subsystem, as udev gets them."""

    def __init__(self):
        # NETLINK_KOBJECT_UEVENT, and the kernel's group.
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
        self.sock.bind((0, 1))

    def next(self, **want):
        self.sock.settimeout(10)
        while True:
            try:
                head, *rest = self.sock.recv(65536).decode().split("\0")
            except TimeoutError:
                raise Failed(f"no event {want}") from None
            env = dict(line.split("=", 1) for line in rest if line)
            if env.get("SUBSYSTEM") == "guestmemfs":
                break
        node = want["GUESTMEMFS_NODE"]
        same(head, f"change@/fs/guestmemfs/node{node}", "event")
        same((env["ACTION"], env["DEVPATH"]), ("change", f"/fs/guestmemfs/node{node}"), "event")
        same({k: v for k, v in env.items() if k.startswith("GUESTMEMFS_")}, want, "event")

    def state(self, node, state):
        self.next(GUESTMEMFS_EVENT="state", GUESTMEMFS_NODE=str(node.nid), GUESTMEMFS_STATE=state)

    def none(self):
        self.sock.settimeout(0.2)
        while True:
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return
            if b"SUBSYSTEM=guestmemfs" in data:
                raise Failed(f"an event that is none: {data}")


@check
def watch(nid):
    """poll(2) and uevents: free_blocks by low_watermark, state, poisoned_blocks."""
    node = Node(nid)
    total = node["total_blocks"]
    events = Events()
    low, state, poison = (Poll(node, name) for name in ("free_blocks", "state", "poisoned_blocks"))
    node.file("some", 10)
    low.quiet("without a watermark")
    node.set("low_watermark", total - 20)
    node.file("some", 20)
    low.quiet("at the watermark")
    node.file("some", 21)
    low.wait(total - 21)
    node.file("some", 50)
    low.quiet("below it")
    node.file("some", 21)
    low.quiet("below it, with more free")
    node.file("some", 20)
    low.wait(total - 20)
    node.file("some", 0)
    low.quiet("above it")
    # It can be moved over what is free, and back.
    node.file("some", 1)
    node.set("low_watermark", total)
    low.wait(total - 1)
    node.set("low_watermark", 0)
    low.wait(total - 1)
    node.remove("some")
    state.quiet("so far")
    events.none()

    node.set("frozen", 1)
    state.wait("frozen")
    events.state(node, "frozen")
    node.set("frozen", 1)
    state.quiet("when it is frozen again")
    events.none()
    node.set("frozen", 0)
    state.wait("active")
    events.state(node, "active")

    # A page of a free block, with the watermark in between.
    poison.quiet("so far")
    node.set("low_watermark", total)
    base = node.extents()[0][0] * BLOCK

    def fail(phys):
        write("/sys/devices/system/memory/hard_offline_page", phys)

    def poisoned(blocks):
        events.next(GUESTMEMFS_EVENT="poison", GUESTMEMFS_NODE=str(node.nid),
                    GUESTMEMFS_POISONED_BLOCKS=str(blocks))

    fail(base + 5 * BLOCK + 3 * 4096)
    poison.wait(1)
    poisoned(1)
    low.wait(total - 1)
    same(node.bits("bitmap_poison"), {5}, "bitmap_poison")
    same(node.bits("bitmap"), {5}, "bitmap")
    # Another one of the same block.
    fail(base + 5 * BLOCK)
    poison.wait(1)
    poisoned(1)
    # Of a block that is in use, and stays so.
    node.file("victim", 3)
    victim = node.blocks("victim")[1]
    first, at = 0, 0
    for address, size in node.extents():
        if first <= victim < first + size:
            at = address + victim - first
        first += size
    fail(at * BLOCK)
    poison.wait(2)
    poisoned(2)
    same(node["free_blocks"], total - 4, "free blocks")
    consistent(node)
    node.remove("victim")
    same(node["free_blocks"], total - 2, "free blocks")
    consistent(node)
    node.set("low_watermark", total - 10)
    node.file("below", 20)


@check
def watch_on(nid):
    """In the next kernel, which starts below the watermark."""
    node = Node(nid)
    total = node["total_blocks"]
    low = Poll(node, "free_blocks")
    same(low.read(), str(total - 22), "free blocks")
    same((node["poisoned_blocks"], len(node.bits("bitmap_poison"))), (2, 2), "poisoned blocks")
    node.remove("below")
    low.wait(total - 2)
    node.file("again", 20)
    low.wait(total - 22)
    node.remove("again")
    node.set("low_watermark", 0)
    consistent(node)
