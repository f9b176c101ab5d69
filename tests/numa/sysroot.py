# SPDX-License-Identifier: GPL-2.0
"""Trees of sysfs, proc and others for gmfs-numa --sysroot: machines that nobody has.

The files of a tree are as those of Documentation/ABI/testing/sysfs-fs-guestmemfs, but
can be written without anything coming of it.
"""

import dataclasses
import os

BLOCK = 2 << 20
GIB = 1 << 30
UUID = "4db933bb-697d-48e4-8592-f4e60343720c"

# What a kernel has beside each node.
FEATURES = ("acl", "check", "discard", "dmem", "freeze", "growth_reserve", "leaf_pmd", "leaf_pud",
            "memory_failure", "pin", "reserve", "scrub", "userfaultfd", "xattr")
# With which value a setting starts.
SETTINGS = {"frozen": "0", "low_watermark": "0", "policy": "best-fit", "reserve": "0",
            "scrub_rate": "0", "scrub_target": "all", "zeroing": "background"}
# What a failed node has beside text that is empty and numbers that are 0.
OF_FAILED = ("size", "total_blocks", "state", "error", "block_size")


@dataclasses.dataclass
class Pin:
    """A range of a file that a device can access, and the process that made it so."""

    inode: int
    start: int = 0                  # bytes
    size: int = BLOCK               # bytes
    access: str = "rw"
    pid: int = 77
    command: str = "qemu"           # as escaped by the kernel

    def line(self):
        return (f"{self.inode:<11} {self.start:<19} {self.size:<19} {self.access:<2} {self.pid:<10} "
                f"{self.command:<61}\n")


@dataclasses.dataclass
class Node:
    """A node. Runs of blocks are (first, count)."""

    nid: int
    pool: int = GIB                 # bytes; 0: none
    cpus: str = ""
    memory: int = 2 * GIB           # that the kernel manages
    used: tuple = ()
    dirty: tuple = ()
    poison: tuple = ()
    pins: tuple = ()                # Pin(...)
    attached: tuple = ()            # the same, with access "p" or "s"
    state: str = "active"
    error: str = ""
    check: str = "ok"
    base: int = 4 * GIB             # physical address of the pool
    files: dict = dataclasses.field(default_factory=dict)   # others, or None: not there

    @property
    def blocks(self):
        return self.pool // BLOCK

    def bitmap(self, runs):
        """As in the files bitmap, bitmap_dirty and bitmap_poison."""
        bits = bytearray((self.blocks + 7) // 8)
        for first, count in runs:
            for block in range(first, first + count):
                bits[block // 8] |= 1 << block % 8
        return bytes(bits)

    def count(self, *runs):
        """How many blocks are in any of them."""
        return len({b for run in runs for first, count in run for b in range(first, first + count)})

    def is_free(self):
        taken = {b for run in (self.used, self.poison) for first, count in run
                 for b in range(first, first + count)}
        return [b not in taken for b in range(self.blocks)]

    def largest(self):
        longest = now = 0
        for free in self.is_free():
            now = now + 1 if free else 0
            longest = max(longest, now)
        return longest

    def gibs(self):
        free = self.is_free()
        step = GIB // BLOCK
        first = -self.base % GIB // BLOCK
        return sum(all(free[b:b + step]) for b in range(first, self.blocks - step + 1, step))

    def sysfs(self):
        """{name: contents} of /sys/fs/guestmemfs/nodeN."""
        free, dirty = self.blocks - self.count(self.used, self.poison), self.count(self.dirty)
        files = {
            "alloc_failures": 3, "block_size": BLOCK, "dirty_blocks": dirty,
            "error": self.error, "extents": f"{self.base:#x} {self.pool:#x}",
            "faults_pmd": 20, "faults_pte": 10, "faults_pud": 30,
            "growth_reserve": 0, "format": "1 compat=0x0 ro_compat=0x0 incompat=0x0", "free_1g": self.gibs(),
            "free_blocks": free, "free_inodes": 500, "generation": 2,
            "handed_over_from": "7.3.4-before", "largest_free_run": self.largest(),
            "max_inodes": 0, "metadata_bytes": 65536, "mounts": 0, "moved_blocks": 5,
            "attached_files": len(self.attached),
            "private_files": sum(p.access == "p" for p in self.attached),
            "pinned_blocks": len({(p.inode, block) for p in self.pins for block in
                                  range(p.start // BLOCK, -(-(p.start + p.size) // BLOCK))}),
            "poisoned_blocks": self.count(self.poison), "preserved_files": 0,
            "reserved_blocks": 0, "resize_error": "", "target": self.pool,
            "scrubbed_blocks": free - dirty, "size": self.pool, "state": self.state,
            "total_blocks": self.blocks, "total_inodes": 512, "uuid": UUID,
            "check": self.check, "discard": "", **SETTINGS,
        }
        if self.state == "failed":
            files = {name: value if name in OF_FAILED or name in SETTINGS else
                     0 if isinstance(value, int) else "" for name, value in files.items()}
            files["check"] = self.error
        if self.state == "frozen":
            files["frozen"] = 1
        files = {name: f"{value}\n".encode() for name, value in files.items()}
        failed = self.state == "failed"
        for name, runs in (("bitmap", self.used), ("bitmap_dirty", self.dirty),
                           ("bitmap_poison", self.poison)):
            files[name] = b"" if failed else self.bitmap(runs)
        files["pins"] = b"" if failed else "".join(p.line() for p in self.pins).encode()
        files["attached"] = b"" if failed else "".join(p.line() for p in self.attached).encode()
        for name, value in self.files.items():
            if value is None:
                del files[name]
            else:
                files[name] = value.encode() if isinstance(value, str) else value
        return files


def as_list(numbers):
    """0-3,8: as the kernel prints lists."""
    parts = []
    for n in sorted(numbers):
        if parts and parts[-1][1] == n - 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in parts)


def distance(a, b):
    return 10 if a == b else 20 + abs(a - b)


class Tree:
    """A tree below a directory."""

    def __init__(self, root, nodes=(), cmdline="BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet",
                 guestmemfs=True, kho=True, loaded=True, mounts=(), version="1"):
        """mounts: (nid, path) of each."""
        self.root = str(root)
        self.nodes = {n.nid: n for n in nodes}
        nids = list(self.nodes)
        of_nodes = "sys/devices/system/node"
        self.put(f"{of_nodes}/online", as_list(nids) + "\n")
        self.put(f"{of_nodes}/possible", as_list(nids) + "\n")
        self.put("sys/devices/system/cpu/possible",
                 ",".join(n.cpus for n in nodes if n.cpus) + "\n")
        for n in nodes:
            here = f"{of_nodes}/node{n.nid}"
            self.put(f"{here}/cpulist", n.cpus + "\n")
            self.put(f"{here}/distance",
                     " ".join(str(distance(n.nid, m)) for m in sorted(nids)) + "\n")
            self.put(f"{here}/meminfo", "".join(
                f"Node {n.nid} {name + ':':<15} {value // 1024:8} kB\n" for name, value in
                (("MemTotal", n.memory), ("MemFree", n.memory // 2), ("MemUsed", n.memory // 2))))
        if guestmemfs:
            self.put("sys/fs/guestmemfs/version", version + "\n")
            for name in FEATURES:
                self.put(f"sys/fs/guestmemfs/features/{name}", "supported\n")
            for n in nodes:
                if n.pool:
                    for name, value in n.sysfs().items():
                        self.put(f"sys/fs/guestmemfs/node{n.nid}/{name}", value)
        mountinfo = "29 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw\n"
        mountinfo += "".join(f"{40 + i} 29 0:{40 + nid} / {path} rw,relatime - guestmemfs "
                             f"guestmemfs rw,node={nid}\n" for i, (nid, path) in enumerate(mounts))
        self.put("proc/self/mountinfo", mountinfo)
        self.put("proc/cmdline", cmdline + "\n")
        self.put("proc/stat", "cpu 1 2 3\nbtime 1700000000\n")
        self.put("sys/kernel/kexec_loaded", f"{int(loaded)}\n")
        self.put("dev/liveupdate", "")
        if kho:
            self.put("sys/kernel/debug/kho/out/fdt", "")

    def path(self, name):
        return os.path.join(self.root, name)

    def put(self, name, contents):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "wb") as f:
            f.write(contents.encode() if isinstance(contents, str) else contents)

    def link(self, name, target):
        """Something else in the place of a file."""
        if os.path.lexists(self.path(name)):
            os.unlink(self.path(name))
        os.symlink(target, self.path(name))

    def get(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def node(self, nid, name):
        """What a file of a node holds."""
        return self.get(f"sys/fs/guestmemfs/node{nid}/{name}").rstrip("\n")


def one():
    return [Node(0, cpus="0-3", pool=2 * GIB, used=((0, 100),), dirty=((200, 50),))]


def two():
    return [Node(0, cpus="0-1", used=((0, 512),), base=4 * GIB),
            Node(1, cpus="2-3", pool=4 * GIB, memory=4 * GIB, used=((0, 3), (600, 512)),
                 dirty=((1500, 10),), poison=((2000, 1), (1, 1)), base=8 * GIB)]


def four():
    """Without CPUs, without memory and pool, failed; numbers with gaps."""
    return [Node(0, cpus="0-1,8", used=((5, 1),)),
            Node(2, pool=0, memory=0, cpus="2-3"),
            Node(5, cpus="", pool=3 * GIB + 128 * (1 << 20), memory=512 << 20,
                 base=12 * GIB + 128 * (1 << 20), state="frozen"),
            Node(9, cpus="4", state="failed", error="its metadata are damaged: inode 3: no \"name\"")]


def sixteen():
    return [Node(n, cpus=f"{4 * n}-{4 * n + 3}" if n % 4 != 3 else "",
                 pool=(1 + n % 3) * GIB, memory=0 if n == 15 else 2 * GIB,
                 state="read-only" if n == 7 else "active",
                 used=((n, 10 * n),) if n else ()) for n in range(16)]


MACHINES = {"1": one, "2": two, "4": four, "16": sixteen}
