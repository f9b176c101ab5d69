# SPDX-License-Identifier: GPL-2.0
"""Checks of /sys/fs/guestmemfs that test_sysfs.py has done inside a machine.

usage: sysfs.py CHECK [ARG...] [CHECK...]: the functions with @check. The first
that fails ends it, with status 1 and a line that says what is not as it should be.
"""

import errno
import fcntl
import glob
import json
import mmap
import os
import random
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

TOP = "/sys/fs/guestmemfs"
ABI = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                   "../../Documentation/ABI/testing/sysfs-fs-guestmemfs")
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

    def hold(self, on):
        write(f"/sys/kernel/debug/guestmem_pool/node{self.nid}/hold_scrub", "Y" if on else "N")

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


# What the ABI document says.

class Entry:
    """A file that it describes."""

    def __init__(self, what, description):
        self.what = what
        self.description = description
        self.directory = what.endswith("/")
        kind = re.match(r"\((RO|RW|WO)\) ", description)
        mode = re.search(r"\bMode\s+(0[0-7]{3})\b", description)
        if mode:
            self.mode = int(mode[1], 8)
        elif kind:
            self.mode = {"RO": 0o444, "RW": 0o644, "WO": 0o200}[kind[1]]
        else:
            self.mode = None


def abi():
    found = {}
    for part in re.split(r"^What:\s*", text(ABI), flags=re.M)[1:]:
        what = part.split("\n", 1)[0]
        description = re.search(r"^Description:\n(.*?)(?=^\S|\Z)", part, re.M | re.S)[1]
        found[what] = Entry(what, re.sub(r"^\t\t", "", description, flags=re.M).lstrip("\n"))
    return found


def features():
    """Names in the table of features."""
    rows = abi()[f"{TOP}/features/"].description.split("\n")
    lines = [i for i, l in enumerate(rows) if re.match(r"=+\s+=+$", l)]
    return [row.split()[0] for row in rows[lines[0] + 1:lines[1]]]


NUMBER = r"\d+\n"
# What is no number.
FORMS = {
    "extents": r"(0x[0-9a-f]+ 0x[0-9a-f]+\n)+",
    "handed_over_from": r"([\w.+~-]+)?\n",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n",
    "format": r"1 compat=0x[0-9a-f]+ ro_compat=0x[0-9a-f]+ incompat=0x[0-9a-f]+\n",
    "state": r"(active|frozen)\n",
    "error": r"\n",
    "check": r"ok\n",
    "frozen": r"[01]\n",
    "scrub_target": r"(\d+|all)\n",
    "zeroing": r"(background|on-alloc)\n",
    "policy": r"(best-fit|first-fit)\n",
}
BITMAPS = ("bitmap", "bitmap_dirty", "bitmap_poison")
TUNABLES = ("scrub_rate", "scrub_target", "zeroing", "reserve", "policy", "low_watermark", "frozen")
# Of a node that has failed: what the ABI has more than numbers that are 0 and empty texts.
KNOWN = ("size", "block_size", "total_blocks", "extents", "state", "error", "check", *TUNABLES)


def read_one(node, name, total):
    """Reads an attribute of a node that is well, and looks whether it has its form."""
    data = raw(node.path(name))
    if name in BITMAPS:
        same(len(data), -(-total // 8), f"bytes of {node.path(name)}")
        if bits(data) and max(bits(data)) >= total:
            raise Failed(f"{node.path(name)} has spare bits that are set")
    elif not re.fullmatch(FORMS.get(name, NUMBER), data.decode()):
        raise Failed(f"{node.path(name)}: {data[:100]!r} is not {FORMS.get(name, NUMBER)}")


@check
def files():
    """The files are those that the ABI has, with its modes, and can be read."""
    documented = abi()
    want = {TOP: None}
    for name in features():
        want[f"{TOP}/features/{name}"] = 0o444
    for what, entry in documented.items():
        if not what.startswith(TOP):
            continue
        if entry.mode is None and not entry.directory:
            raise Failed(f"the ABI says no mode of {what}")
        mode = None if entry.directory else entry.mode
        if "<N>" not in what:
            want[what.rstrip("/")] = mode
        for node in nodes():
            want[what.replace("<N>", str(node.nid)).rstrip("/")] = mode

    have = {TOP: None}
    for where, dirs, names in os.walk(TOP):
        for name in dirs + names:
            path = f"{where}/{name}"
            st = os.lstat(path)
            have[path] = None if stat.S_ISDIR(st.st_mode) else stat.S_IMODE(st.st_mode)
            same((st.st_uid, st.st_gid), (0, 0), f"owner of {path}")
    for path in sorted(want.keys() | have.keys()):
        if path not in have:
            raise Failed(f"{path} is missing")
        if path not in want:
            raise Failed(f"{path} is not documented")
        same(have[path], want[path], f"mode of {path}")
        if have[path] == 0o444 and path.count("/") == 5 and "/features/" in path:
            same(text(path), "supported\n", path)
    same(text(f"{TOP}/version"), "1\n", "version")

    for node in nodes():
        for what, entry in documented.items():
            name = what.split("/")[-1]
            if "/node<N>/" in what and name and what.startswith(TOP) and entry.mode & 0o400:
                read_one(node, name, node["total_blocks"])

    linked = {int(re.search(r"(\d+)/guestmemfs$", link)[1])
              for link in glob.glob("/sys/devices/system/node/node*/guestmemfs")}
    same(linked, {n.nid for n in nodes()}, "nodes with a link")
    for node in nodes():
        same(os.path.realpath(f"/sys/devices/system/node/node{node.nid}/guestmemfs"), node.dir,
             "where the link goes")
    print(f"files={len(have)}")


@check
def unprivileged():
    """Nobody but root can write, nor see where memory is."""
    def as_nobody():
        opened = [open(n.path(name), "rb", buffering=0)
                  for n in nodes() for name in ("extents", *BITMAPS)]
        checks = [open(n.path("check"), "rb", buffering=0) for n in nodes()]
        become_nobody()
        for f in opened:
            same(f.read(), b"", f"{f.name} that root has opened, without CAP_SYS_ADMIN")
        for f in checks:
            same(error_of(f.read), "EPERM", f"{f.name} that root has opened")
        for node in nodes():
            for name in os.listdir(node.dir):
                path = node.path(name)
                mode = stat.S_IMODE(os.lstat(path).st_mode)
                same(error_of(os.open, path, os.O_RDONLY), None if mode & 4 else "EACCES",
                     f"reading {path} as nobody")
                same(error_of(os.open, path, os.O_WRONLY), "EACCES", f"writing {path} as nobody")
                if mode & 4 and name not in BITMAPS and re.search(r"0x[0-9a-f]{6}", text(path)):
                    raise Failed(f"{path} has an address for everybody: {text(path)}")
    join(in_child(as_nobody))
    # Nor does root write what can only be read, or read what can only be written.
    for node in nodes():
        for name in os.listdir(node.dir):
            mode = stat.S_IMODE(os.lstat(node.path(name)).st_mode)
            if not mode & 0o200:
                same(error_of(os.open, node.path(name), os.O_WRONLY), "EACCES",
                     f"writing {name} as root")
            if not mode & 0o400:
                same(error_of(os.open, node.path(name), os.O_RDONLY), "EACCES",
                     f"reading {name} as root")


# What is no number: too large first, then no number at all.
TOO_LARGE = [2**64, 2**64 + 5, hex(2**64), "9" * 100, "9" * 4000, "9" * 20000]
NO_NUMBER = ["-1", "-0", "\n", " ", " 1", "1 ", "1\n\n", "1\r\n", "1\n2\n", "1 2", "1,", "0x", "0x1g",
             "08", "1.5", "1e3", "1K", "one", "x" * 4000, "x" * 100000, "\0", b"\xff", "1\t"]
NO_WORD = ["", "\n", "Background", "BEST-FIT", "best-fit ", " best-fit", "on-alloc\n\n", "on", "best",
           "best-fit,", "0", "1", "x" * 100000]


def limit(node, name):
    return {"scrub_rate": MAX, "frozen": 1}.get(name, node["total_blocks"])


def good_values(node, name):
    """(what is written, what is read then)"""
    if name == "zeroing":
        words = ["on-alloc", "background"]
    elif name == "policy":
        words = ["first-fit", "best-fit"]
    else:
        top = limit(node, name)
        some = top // 3
        values = [(form(n), str(n)) for n in (0, 1, some, top - 1 if top > 1 else 1, top)
                  for form in (str, lambda n: f"{n}\n", hex, lambda n: f"0x{n:X}\n",
                               lambda n: f"0{n:o}")]
        values += [("0" * 21 + "0", "0")]
        if name == "scrub_target":
            values += [("all", "all"), ("all\n", "all")]
        return values
    return [(w + end, w) for w in words for end in ("", "\n")]


def bad_values(node, name):
    """(what is written, errno)"""
    if name in ("zeroing", "policy"):
        return [(v, "EINVAL") for v in NO_WORD if v]
    above = limit(node, name) + 1
    values = [(v, "ERANGE") for v in [above, f"{above}\n", hex(above), *TOO_LARGE]]
    values += [(v, "EINVAL") for v in NO_NUMBER]
    return values + [(v, "EINVAL") for v in ("All", "all ", "allx", "none")] + (
        [("all", "EINVAL")] if name != "scrub_target" else [])


@check
def values():
    """Each tunable takes what the ABI says, and keeps what it has if it does not."""
    for node in nodes():
        total = node["total_blocks"]
        before = {name: node.text(name) for name in TUNABLES}
        for name in TUNABLES:
            for value, read in good_values(node, name):
                same(node.error(name, value), None, f"{name} of node {node.nid} < {value!r}")
                same(node.text(name), read, f"{name} after {value!r}")
                same(node["total_blocks"], total, "total_blocks")
            kept = node.text(name)
            for value, error in bad_values(node, name):
                same(node.error(name, value), error,
                     f"{name} of node {node.nid} < {str(value)[:40]!r}")
                same(node.text(name), kept, f"{name} after {str(value)[:40]!r}")
            # Nothing is nothing.
            same(node.error(name, ""), None, f"{name} < nothing")
            same(node.text(name), kept, f"{name} after nothing")
            node.set(name, before[name])
            same({n: node.text(n) for n in TUNABLES}, before, f"all others than {name}")
        for value in (f"node{node.nid + 1}", f"node{node.nid} ", f"node0{node.nid}", "node",
                      f"{node.nid}", f"NODE{node.nid}", f"node{node.nid}\n\n", "\n", "1",
                      f"node{node.nid}x", "x" * 100000):
            same(node.error("discard", value), "EINVAL", f"discard < {value[:40]!r}")
        consistent(node)


def largest_run(node, taken):
    """(largest_free_run, free_1g), from the bitmap."""
    largest = giants = first = 0
    for base, size in node.extents():
        length = aligned = 0
        for block in range(size):
            free = first + block not in taken
            length = length + 1 if free else 0
            largest = max(largest, length)
            if not free:
                aligned = 0
            elif (base + block) % GIB == 0:
                aligned = 1
            elif aligned:
                aligned += 1
            if aligned == GIB:
                giants += 1
                aligned = 0
        first += size
    return largest, giants


def consistent(node):
    """What the files of a node that nobody changes say of each other, and others of it."""
    total = node["total_blocks"]
    same(node["block_size"], BLOCK, "block_size")
    same(node["size"], total * BLOCK, "size")
    same(sum(size for _, size in node.extents()), total, "blocks in the extents")
    places = re.findall(rf"^ *([0-9a-f]+)-([0-9a-f]+) : guestmemfs node{node.nid}$",
                        text("/proc/iomem"), re.M)
    same([(int(a, 16) // BLOCK, (int(b, 16) + 1 - int(a, 16)) // BLOCK) for a, b in places],
         node.extents(), "extents, and /proc/iomem")

    taken = node.bits("bitmap")
    free, poison = node["free_blocks"], node.bits("bitmap_poison")
    same(total - len(taken), free, "free blocks of the bitmap")
    same(len(poison), node["poisoned_blocks"], "poisoned blocks of the bitmap")
    same(poison - taken, set(), "poisoned blocks that are free")
    same((node["largest_free_run"], node["free_1g"]), largest_run(node, taken),
         "largest_free_run and free_1g")
    same(node["reserved_blocks"], min(node["reserve"], free), "reserved_blocks")
    # The thread may be at work.
    for _ in range(100):
        was, clean = node["dirty_blocks"], node["scrubbed_blocks"]
        dirty = node.bits("bitmap_dirty")
        if was == node["dirty_blocks"]:
            same(was + clean, free, "dirty and scrubbed blocks")
            same(taken & dirty, set(), "blocks that are used and dirty")
            same(len(dirty), was, "dirty blocks of the bitmap")
            break
    used = node["total_inodes"] - node["free_inodes"]
    between(1, used, node["total_inodes"], "inodes")
    same(node.text("check"), "ok", "check")
    same(node.text("error"), "", "error")
    same(node.text("state"), "frozen" if node["frozen"] else "active", "state")
    if not os.path.ismount(node.mnt):
        return

    fs = os.statvfs(node.mnt)
    same((fs.f_bsize, fs.f_blocks, fs.f_bfree, fs.f_bavail),
         (BLOCK, total, free, free - node["reserved_blocks"]), "statfs")
    same((fs.f_files, fs.f_ffree),
         (node["max_inodes"], node["max_inodes"] and node["max_inodes"] - used), "inodes of statfs")
    stats = re.search(rf" mounted on {node.mnt} with fstype guestmemfs (.*)",
                      text("/proc/self/mountstats"))[1]
    stats = dict(pair.split("=") for pair in stats.split() if "=" in pair)
    for name in ("faults_pte", "faults_pmd", "faults_pud", "metadata_bytes"):
        same(node[name], int(stats[name]), f"{name} of mountstats")
    same(used, int(stats["inodes"]), "inodes of mountstats")
    owned = []
    for where, _, names in os.walk(node.mnt):
        for name in names:
            path = os.path.relpath(f"{where}/{name}", node.mnt)
            if stat.S_ISREG(os.lstat(node.file(path)).st_mode):
                owned += node.blocks(path)
    same(len(owned), len(set(owned)), "blocks of one file only")
    same(set(owned) | poison, taken, "blocks of all files, and bitmap")


@check
def consistent_all():
    for node in nodes():
        consistent(node)


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
    node.hold(True)

    # Blocks. The giga is left whole by what has room beside it.
    giants = node["free_1g"]
    between(1, giants, 9, "free_1g")
    node.file("three", 3)
    same(node["free_blocks"], total - 3, "free blocks")
    same(node["scrubbed_blocks"], total - 3, "scrubbed blocks")
    same(node.bits("bitmap"), set(node.blocks("three")), "bitmap")
    same(node["free_1g"], giants, "free_1g")
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
    same(node["free_1g"], giants, "free_1g")
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
        same(os.fstat(fd).st_size, len(whole), f"size of {name}")
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
    node.hold(False)
    # It is told when something is set.
    node.set("scrub_rate", 0)
    node.wait_clean()
    consistent(node)


IDENTITY = ("generation", "handed_over_from", "uuid", "format", *TUNABLES)


@check
def keep(path):
    """Notes what the next kernel has to know of each node."""
    kept = {node.nid: {name: node.text(name) for name in IDENTITY} for node in nodes()}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(kept, f)


@check
def kept(path):
    """All that was noted in the kernel before is so, but for what a kexec changes."""
    release = os.uname().release
    with open(path, encoding="utf-8") as f:
        before = json.load(f)
    same(sorted(before), sorted(str(n.nid) for n in nodes()), "nodes")
    for node in nodes():
        want = before[str(node.nid)]
        want["generation"] = str(int(want["generation"]) + 1)
        want["handed_over_from"] = release
        same({name: node.text(name) for name in IDENTITY}, want, f"node {node.nid}")
        for name in ("alloc_failures", "faults_pte", "faults_pmd", "faults_pud"):
            same(node[name], 0, f"{name} since boot")


@check
def set_all(seed):
    """Sets everything to something that is not what it was, for a kexec to keep."""
    rng = random.Random(int(seed))
    for node in nodes():
        total = node["total_blocks"]
        for name in ("reserve", "low_watermark"):
            node.set(name, rng.randint(1, total))
        node.set("scrub_rate", rng.choice([1, MAX, rng.randint(1, MAX)]))
        node.set("scrub_target", rng.choice([0, total, rng.randint(0, total), "all"]))
        node.set("zeroing", rng.choice(["background", "on-alloc"]))
        node.set("policy", rng.choice(["first-fit", "best-fit"]))
        node.set("frozen", rng.randint(0, 1))


DEFAULTS = {"scrub_rate": "0", "scrub_target": "all", "zeroing": "background", "reserve": "0",
            "policy": "best-fit", "low_watermark": "0", "frozen": "0"}


@check
def default_all():
    for node in nodes():
        for name, value in DEFAULTS.items():
            node.set(name, value)


@check
def defaults():
    for node in nodes():
        same({name: node.text(name) for name in TUNABLES}, DEFAULTS, f"node {node.nid}")


# What tunables do.

def make_dirty(node):
    """All blocks of an empty node, with the thread held."""
    node.hold(True)
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
    node.hold(False)
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
    giants = node["free_1g"]
    node.file("small", 3)
    same(node["free_1g"], giants, "best-fit: free_1g")
    node.remove("small")
    # Nothing holds all of it.
    node.file("all", total)
    same(sorted(node.blocks("all")), list(range(total)), "all")
    longest = max(size for _, size in node.extents())
    between(min(longest, GIB), fiemap(node.file("all"))[0][1], longest,
            "blocks of the first piece")
    node.remove("all")
    node.wait_clean()


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


def sleeps(pid):
    return re.search(r"^State:\s+D", text(f"/proc/{pid}/status"), re.M)


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


# Nodes that have failed, or can only be read.

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


# Everything at once.

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
            # A node that is thrown away at this moment has no bitmap.
            if node.nid == 0 or name not in BITMAPS:
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


def main(*words):
    """Each check takes as many of the words as it has arguments."""
    words = list(words)
    while words:
        function = CHECKS[words.pop(0)]
        nr = function.__code__.co_argcount
        args, words = words[:nr], words[nr:]
        status = one(function, args)
        if status:
            return status
    return 0


def one(function, args):
    try:
        function(*args)
    except (Failed, OSError) as e:
        lines = []
        at = e.__traceback__
        while at:
            lines.append(str(at.tb_lineno))
            at = at.tb_next
        print(f"FAILED: {function.__name__} {' '.join(args)}: {type(e).__name__}: {e} "
              f"(sysfs.py, lines {' '.join(lines)})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
