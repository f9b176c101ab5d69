#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""claim.py DIR NODE=KIND...: make pools claim a section each that is not theirs.

At kexec the super block of a node's pool gets that section as one more extent, with a
checksum that is right. KIND says what the section has in it:
  metadata  metadata of the pool itself, and no super block
  super     a super block of a pool
  tree      a node of the tree in which KHO has what it preserves; preserved memory as well
            only if no such section is without
  used      what the next kernel allocates on a node before pools, in KHO's scratch area there
  scratch   a scratch area of KHO, and nothing of the sort
  other     memory of another node that nothing of the above is in
  hole      no memory
  wide      an address that no processor has
Files are made in DIR, which is on the node with "metadata", until there are such sections.
"""

import os
import struct
import sys

DEBUG = "/sys/kernel/debug"
PAGE = 4096
SECTION = 128 << 20
BLOCK = 2 << 20
MAX_FILES = 30000

# Of struct gmpool_super_ser and gmpool_table_ser.
TOTAL_BLOCKS, NR_EXTENTS, NR_TABLES, EXTENTS, TABLES = 64, 88, 92, 1024, 2048
TABLE_NR, CHUNKS = 28, 64

# Levels of tables in KHO's tree, and bits of a key that one level, or a bitmap, decides.
TREE_LEVELS, TABLE_BITS, BITMAP_BITS = 5, 9, 15
FDT_PROP = 3


def u32(data, at):
    """A number of 32 bits."""
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    """A number of 64 bits."""
    return struct.unpack_from("<Q", data, at)[0]


def read_phys(phys, size):
    """Memory at a physical address, by way of the direct map."""
    with open("/proc/kcore", "rb") as f:
        head = f.read(64)
        for i in range(struct.unpack_from("<H", head, 56)[0]):
            f.seek(u64(head, 32) + 56 * i)
            segment = f.read(56)
            start = phys - u64(segment, 24)
            if u32(segment, 0) == 1 and 0 <= start < u64(segment, 40):
                f.seek(u64(segment, 8) + start)
                return f.read(size)
    sys.exit(f"claim: {phys:#x} is not in /proc/kcore")


def read(path):
    """What is in a file of text."""
    with open(path, encoding="ascii") as f:
        return f.read()


def sections(ranges):
    """Those that (address, bytes) lie in."""
    return {s for base, size in ranges
            for s in range(base // SECTION, (base + size - 1) // SECTION + 1)}


def super_block(node):
    """The first of the two."""
    with open(f"{DEBUG}/kho/out/sub_fdts/gmp{node}", "rb") as f:
        return f.read(PAGE)


def super_section(node):
    """Where super blocks are: they are made right before the first table."""
    return u64(super_block(node), TABLES) // SECTION


def metadata_sections(node):
    """With chunks of a pool's metadata."""
    block = super_block(node)
    found = set()
    for i in range(u32(block, NR_TABLES)):
        table = read_phys(u64(block, TABLES + 8 * i), PAGE)
        found |= {u64(table, CHUNKS + 16 * j) // SECTION for j in range(u32(table, TABLE_NR))}
    return found


def tree_root():
    """The only number among the properties of the root of KHO's device tree.

    debugfs shows as much of the device tree as there was at first, without the names.
    """
    with open(f"{DEBUG}/kho/out/fdt", "rb") as f:
        fdt = f.read()
    # Behind the root's empty name.
    at = struct.unpack_from(">I", fdt, 8)[0] + 8
    while True:
        token, size = struct.unpack_from(">II", fdt, at)
        if token != FDT_PROP:
            sys.exit("claim: KHO's device tree does not say where the tree of what is preserved is")
        if size == 8:
            return u64(fdt, at + 12)
        at += 12 + (size + 3) // 4 * 4


def walk_tree(phys, level, start, nodes, pages):
    """Collects the sections with nodes of the tree, and with what is preserved."""
    nodes.add(phys // SECTION)
    data = read_phys(phys, PAGE)
    if not level:
        bits = int.from_bytes(data, "little")
        while bits:
            low = bits & -bits
            bits ^= low
            key = start | low.bit_length() - 1
            shift = 64 - (key.bit_length() - 1)
            base = (key << shift) & (1 << 64) - 1
            pages |= sections([(base, 1 << shift)])
        return
    for i in range(PAGE // 8):
        if u64(data, 8 * i):
            shift = (level - 1) * TABLE_BITS + BITMAP_BITS
            walk_tree(u64(data, 8 * i), level - 1, start | i << shift, nodes, pages)


def scratch_areas():
    """(address, bytes) by rising address."""
    starts = read(f"{DEBUG}/kho/out/scratch_phys").split()
    sizes = read(f"{DEBUG}/kho/out/scratch_len").split()
    return sorted((int(a, 0), int(b, 0)) for a, b in zip(starts, sizes))


def whole_sections():
    """Sections that are memory from start to end."""
    found = set()
    for line in read("/proc/iomem").splitlines():
        if line.endswith(" : System RAM") and line[0] != " ":
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            found |= set(range(-(-start // SECTION), (end + 1) // SECTION))
    return found


def node_sections(node):
    """Sections of memory that is a node's."""
    path = f"/sys/devices/system/node/node{node}"
    return {int(name[len("memory"):]) for name in os.listdir(path)
            if name.startswith("memory") and name[len("memory"):].isdigit()}


class Claims:
    """Which sections are given to whom."""

    def __init__(self, folder, kinds):
        self.folder = folder
        self.kinds = kinds
        self.whole = whole_sections()
        self.scratch = sections(scratch_areas())
        self.supers = {super_section(node) for node in kinds}
        self.made = 0

    def make_files(self):
        """For more metadata, and more nodes of the tree that has it."""
        if self.made == MAX_FILES:
            return False
        for _ in range(1000):
            os.close(os.open(f"{self.folder}/{self.made}", os.O_CREAT | os.O_WRONLY))
            self.made += 1
        return True

    def find(self, node, kind, taken):
        """Sections of that kind which are not taken."""
        nodes, pages = set(), set()
        walk_tree(tree_root(), TREE_LEVELS, 0, nodes, pages)
        free = self.whole - taken
        if kind == "metadata":
            return metadata_sections(node) & free - self.scratch - self.supers
        if kind == "super":
            return self.supers & free - self.scratch
        if kind == "tree":
            found = nodes & free - self.scratch
            return found - pages or (found if self.made == MAX_FILES else set())
        if kind == "used":
            # Those of single nodes are the smallest.
            return sections([min(scratch_areas(), key=lambda area: area[1])]) & free
        if kind == "scratch":
            # The image is in the last but those of nodes, with nokaslr; other memory at the ends.
            return sections((base, 1) for base, size in scratch_areas() if size > SECTION) & free
        if kind == "other":
            return free - node_sections(node) - nodes - pages - self.scratch
        if kind == "hole":
            return {(3 << 30) // SECTION} - self.whole
        assert kind == "wide"
        return {1 << 50 - 27}

    def describe(self):
        """Which sections have what, for a message."""
        nodes, pages = set(), set()
        walk_tree(tree_root(), TREE_LEVELS, 0, nodes, pages)
        return (f"memory {sorted(self.whole)}, nodes of the tree {sorted(nodes)}, "
                f"preserved {sorted(pages)}, scratch {sorted(self.scratch)}, {self.made} files")

    def find_all(self):
        """{node: section}"""
        found = {}
        for node, kind in self.kinds.items():
            possible = self.find(node, kind, set(found.values()))
            while not possible:
                if kind not in ("metadata", "tree") or not self.make_files():
                    sys.exit(f"claim: no section for {kind}: {self.describe()}")
                possible = self.find(node, kind, set(found.values()))
            found[node] = min(possible)
        return found


def claim(node, section):
    """Says what the super block of a node is to be at kexec."""
    old = super_block(node)
    nr = u32(old, NR_EXTENTS)
    extents = [struct.unpack_from("<QQ", old, EXTENTS + 16 * i) for i in range(nr)]
    extents = sorted(extents + [(section * SECTION, SECTION)])
    new = bytearray(old)
    struct.pack_into("<I", new, NR_EXTENTS, nr + 1)
    struct.pack_into("<Q", new, TOTAL_BLOCKS, u64(old, TOTAL_BLOCKS) + SECTION // BLOCK)
    for i, extent in enumerate(extents):
        struct.pack_into("<QQ", new, EXTENTS + 16 * i, *extent)
    for i, (a, b) in enumerate(zip(old, new)):
        if a != b:
            with open(f"{DEBUG}/guestmem_pool/node{node}/damage", "w", encoding="ascii") as f:
                f.write(f"both {i} {a ^ b:#x} fix")


def main(folder, words):
    """Finds a section for each and claims it."""
    kinds = {int(node): kind for node, kind in (word.split("=") for word in words)}
    claims = Claims(folder, kinds)
    for node, section in claims.find_all().items():
        claim(node, section)
        print(f"claimed {node} {kinds[node]} {section * SECTION:#x} {claims.made}")


main(sys.argv[1], sys.argv[2:])
