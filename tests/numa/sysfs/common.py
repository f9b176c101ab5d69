# SPDX-License-Identifier: GPL-2.0
"""Reading, writing and comparing: the ground of all checks."""

import errno
import fcntl
import os
import re
import struct
import subprocess
import sys
import time

TOP = "/sys/fs/guestmemfs"
BLOCK = 2 << 20
GIB = 512
MAX = 2**64 - 1
NOBODY = 65534

CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


class Failed(Exception):
    pass


def same(got, want, what):
    if got != want:
        raise Failed(f"{what}: {got!r}, should be {want!r}")


def between(least, got, most, what):
    if not least <= got <= most:
        raise Failed(f"{what}: {got}, should be {least} to {most}")


def raw(path):
    with open(path, "rb", buffering=0) as f:
        data = b""
        while part := f.read(65536):
            data += part
        return data


def text(path):
    return raw(path).decode()


def error_of(function, *args):
    """Name of the errno that it fails with, or None."""
    try:
        function(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return None


def write(path, value):
    """One write(2) of all of it, as a shell's echo does."""
    fd = os.open(path, os.O_WRONLY)
    try:
        data = value if isinstance(value, bytes) else str(value).encode()
        same(os.write(fd, data), len(data), f"bytes of {data[:40]!r} that {path} takes")
    finally:
        os.close(fd)


def wait_until(function, seconds, what):
    end = time.monotonic() + seconds
    while not function():
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def bits(data):
    return {8 * i + b for i, byte in enumerate(data) if byte for b in range(8) if byte >> b & 1}


class Node:
    """A node's directory, and its mount if there is one."""

    def __init__(self, nid):
        self.nid = int(nid)
        self.dir = f"{TOP}/node{nid}"
        self.mnt = f"/mnt/node{nid}"

    def path(self, name):
        return f"{self.dir}/{name}"

    def text(self, name):
        return text(self.path(name)).rstrip("\n")

    def __getitem__(self, name):
        return int(self.text(name))

    def set(self, name, value):
        write(self.path(name), value)

    def error(self, name, value):
        return error_of(self.set, name, value)

    def bits(self, name):
        return bits(raw(self.path(name)))

    def extents(self):
        """(address in blocks, blocks)"""
        lines = self.text("extents").splitlines()
        return [tuple(int(n, 16) // BLOCK for n in l.split()) for l in lines]

    def pause(self, on):
        write(f"/sys/kernel/debug/guestmem_pool/node{self.nid}/pause_scrub", "Y" if on else "N")

    def mount(self, *options):
        os.makedirs(self.mnt, exist_ok=True)
        run("mount", "-t", "guestmemfs", "-o", ",".join([f"node={self.nid}", *options]),
            "none", self.mnt)

    def umount(self):
        run("umount", self.mnt)

    def file(self, name, blocks=None):
        """The path of a file, made as large if that is said."""
        path = f"{self.mnt}/{name}"
        if blocks is not None:
            with open(path, "ab") as f:
                os.truncate(f.fileno(), blocks * BLOCK)
        return path

    def remove(self, *names):
        for name in names:
            os.unlink(f"{self.mnt}/{name}")

    def blocks(self, name):
        """Blocks of the pool that a file has, in the order of the file."""
        found = []
        for phys, count in fiemap(self.file(name)):
            first = 0
            for base, size in self.extents():
                if base <= phys < base + size:
                    found += range(first + phys - base, first + phys - base + count)
                first += size
        return found

    def wait_clean(self):
        wait_until(lambda: self["dirty_blocks"] == 0, 120, f"node {self.nid} is clean")


def nodes():
    """Those that /proc/iomem has a pool of."""
    found = {int(n) for n in re.findall(r" : guestmemfs node(\d+)$", text("/proc/iomem"), re.M)}
    return [Node(n) for n in sorted(found)]


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: status {done.returncode}: {done.stdout}")
    return done.stdout


def fiemap(path):
    """(address, length) of each piece of a file, in blocks."""
    room = 256
    head = "=QQLLLL"
    entry = "=QQQQQLLLL"
    with open(path, "rb") as f:
        # FIEMAP_FLAG_SYNC is 1.
        buf = bytearray(struct.pack(head, 0, MAX, 1, 0, room, 0) +
                        bytes(room * struct.calcsize(entry)))
        fcntl.ioctl(f, 0xc020660b, buf)
    mapped = struct.unpack_from(head, buf)[3]
    pieces = []
    for i in range(mapped):
        e = struct.unpack_from(entry, buf, struct.calcsize(head) + i * struct.calcsize(entry))
        pieces.append((e[1] // BLOCK, -(-e[2] // BLOCK)))
    return pieces


def in_child(function, *args):
    """Runs it in a process of its own, so that what it gives up is only its."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            function(*args)
            status = 0
        except Exception as e:      # pylint: disable=broad-except
            print(f"FAILED: {type(e).__name__}: {e}", flush=True)
        finally:
            sys.stdout.flush()
            os._exit(status)
    return pid


def join(*pids):
    bad = [pid for pid in pids if os.waitpid(pid, 0)[1]]
    if bad:
        raise Failed(f"{len(bad)} processes, see above")


def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


BITMAPS = ("bitmap", "bitmap_dirty", "bitmap_poison")
TUNABLES = ("scrub_rate", "scrub_target", "zeroing", "reserve", "policy", "low_watermark", "frozen")


def sleeps(pid):
    return re.search(r"^State:\s+D", text(f"/proc/{pid}/status"), re.M)
