#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""claim.py NODE OTHER DIR: make the pool of NODE claim a section in which KHO has preserved pages.

Files are made in DIR, which is on NODE, until the pool has metadata in a section with
no super block, no scratch area and no pool in it. At kexec the super block gets that
section as one more extent, with a checksum that is right.
"""

import os
import struct
import sys

DEBUG = "/sys/kernel/debug"
SECTION = 128 << 20
BLOCK = 2 << 20
MAX_FILES = 60000

# Of struct gmpool_super_ser and gmpool_table_ser.
TOTAL_BLOCKS, NR_EXTENTS, NR_TABLES, EXTENTS, TABLES = 64, 88, 92, 1024, 2048
TABLE_NR, CHUNKS = 28, 64


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


def super_block(node):
    """The first of the two."""
    with open(f"{DEBUG}/kho/out/sub_fdts/gmp{node}", "rb") as f:
        return f.read(4096)


def sections_to_avoid(nodes):
    """Sections with anything that is refused for another reason."""
    starts = read(f"{DEBUG}/kho/out/scratch_phys").split()
    sizes = read(f"{DEBUG}/kho/out/scratch_len").split()
    ranges = [(int(a, 0), int(b, 0)) for a, b in zip(starts, sizes)]
    for node in nodes:
        for line in read(f"/sys/fs/guestmemfs/node{node}/extents").splitlines():
            base, size = line.split()
            ranges.append((int(base, 16), int(size, 16)))
        # The super blocks are made right before the first table.
        ranges.append((u64(super_block(node), TABLES), 1))
    return {s for base, size in ranges
            for s in range(base // SECTION, (base + size - 1) // SECTION + 1)}


def whole_sections():
    """Sections that are memory from start to end."""
    for line in read("/proc/iomem").splitlines():
        if line.endswith(" : System RAM") and line[0] != " ":
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            yield from range(-(-start // SECTION), (end + 1) // SECTION)


def find_section(block, avoid):
    """A section with a chunk of the pool's metadata, or None."""
    possible = set(whole_sections()) - avoid
    for i in range(u32(block, NR_TABLES)):
        table = read_phys(u64(block, TABLES + 8 * i), 4096)
        for j in range(u32(table, TABLE_NR)):
            section = u64(table, CHUNKS + 16 * j) // SECTION
            if section in possible:
                return section
    return None


def main(node, other, folder):
    """Find a section and claim it."""
    avoid = sections_to_avoid((node, other))
    for i in range(MAX_FILES):
        if i % 1000 == 0:
            old = super_block(node)
            section = find_section(old, avoid)
            if section is not None:
                break
        os.close(os.open(f"{folder}/{i}", os.O_CREAT | os.O_WRONLY))
    else:
        sys.exit("claim: no section has only preserved pages")

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
    print(f"claimed {section * SECTION:#x}")


main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
