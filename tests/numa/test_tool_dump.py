# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa check --dump, on dumps that are made here: by the format, not by its code."""

import random
import struct

import pytest
from tool import DIFFERS, FAILED, USAGE, call

pytestmark = [pytest.mark.quick, pytest.mark.offline]

PAGE = 4096
UUID = bytes(range(16))
USED, DIRTY, TUNABLES, SUPER, INODES = 1, 2, 4, 16, 17
LIVE, SEALED = 1, 2
# Where the tables and the metadata of a memory image are.
TABLE, META, BLOB = 0x20000, 0x40000, 0x10000


def make_table():
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        entries.append(value)
    return entries


CRC = make_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xff]
    return crc


def sign(page, at):
    """With its checksum, which is at @at."""
    page = page.ljust(PAGE, b"\0")
    page = page[:at] + bytes(4) + page[at + 4:]
    return page[:at] + struct.pack("<I", crc32c(page)) + page[at + 4:]


def block(mbn, kind, body):
    return sign(struct.pack("<II16sIHHQ24x", 0x424d4d47, 0, UUID, mbn, kind, 0, 0) + body, 4)


def super_block(state=SEALED, blocks=64, nr_tables=1, nr_meta=4, root=2):
    page = struct.pack("<QIIIIQQQ16sQQIIIIII72s", 0x4c4f4f504d454d47, 0, 1, PAGE, state, 0, 0, 0,
                       UUID, blocks, 7, 3, 21, 1, nr_tables, nr_meta, 0, b"7.3.4-test")
    page += struct.pack("<II", 1, root) if root else b""
    page = page.ljust(1024, b"\0") + struct.pack("<QQ", 1 << 32, blocks << 21)
    return sign(page.ljust(2048, b"\0") + struct.pack("<Q", TABLE), 8)


def pages(state=SEALED):
    """Super block, table, metadata of a node with an empty file system."""
    table = struct.pack("<II16sII32xQII", 0x42544d47, 0, UUID, 0, 1, META, 0, 4)
    inode = struct.pack("<QIIIIII", 3 * 16 + 1, 1, 0o40755, 0, 0, 2, 0)
    return [super_block(state), sign(table, 4), block(0, USED, b""), block(1, DIRTY, b"\xff" * 8),
            block(2, SUPER, struct.pack("<IIQQQQQ", 1, 0, 0, 0, 0, 3 * 16 + 1, 1)),
            block(3, INODES, bytes(192) + inode)]


def elf(memory, offset=PAGE, machine=62):
    """A core file with these parts of memory: {address: bytes}."""
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 4, machine, 1, 0, 64, 0, 0, 64, 56,
                       len(memory), 0, 0, 0)
    body = b""
    for phys, data in memory.items():
        head += struct.pack("<IIQQQQQQ", 1, 6, offset + len(body), phys, phys, len(data), len(data), PAGE)
        body += data
    return head.ljust(offset, b"\0") + body


def image(made):
    return elf({BLOB: made[0] * 2, TABLE: made[1], META: b"".join(made[2:])})


@pytest.fixture
def check(tmp_path):
    def run(data, status=DIFFERS, **kwargs):
        path = tmp_path / "dump"
        path.write_bytes(data)
        return call(["check", "--dump", str(path), "--json"], status=status, **kwargs)
    return run


def rows(done):
    return [(row["node"], row["good"], row["result"]) for row in done.json()["checks"]]


def test_good(check, tmp_path):
    dump = b"".join(pages())
    assert rows(check(dump, status=0)) == [(3, True, "ok")]
    (tmp_path / "in").write_bytes(dump)
    with open(tmp_path / "in", "rb") as f:
        assert rows(call(["check", "--dump=-", "--json"], stdin=f)) == [(3, True, "ok")]
    call(["check", "--dump", str(tmp_path / "in"), "1"], status=USAGE)
    assert "No such file" in call(["check", "-d", str(tmp_path / "none")], status=FAILED).err
    # A node that was in use: checksums of changed blocks are not right.
    live = pages(LIVE)
    live[4] = live[4][:4] + bytes(4) + live[4][8:]
    done = check(b"".join(live), status=0)
    assert rows(done) == [(3, True, "ok")] and "checksums are not compared" in done.err


@pytest.mark.parametrize("part,at,value,result", [
    (0, 0, 1, "the super block is damaged (magic number)"),
    (0, 12, 9, "the pool format version is not known to this kernel"),
    (0, 20, 3, "the pool was not frozen by the kernel before"),
    (0, 92, 0, "address of a chunk table"),
    (0, 96, 5, "but its super block says"),
    (0, 180, 4, "the pool has a root outside its metadata"),
    (1, 24, 1, "chunk table 0 is damaged (index)"),
    (1, 76, 0xff, "chunk table 0 is damaged (size of a chunk)"),
    (2, 28, 2, "a bitmap is missing"),
    (2, 32, 1, "a bitmap has a wrong place"),
    (2, 64, 1, "a block is used and dirty"),
    (3, 24, 9, "metadata block 1 is damaged (number)"),
    (3, 28, 0, "a bitmap is missing"),
    (3, 64 + 9, 1, "a bit is set past the last block"),
    (4, 64, 2, "file system: super block: version"),
    (4, 96, 50, "root inode"),
    (5, 256 + 24, 9, "inode 49"),
    (5, 256 + 36, 7, "inode 49"),
])
def test_damaged(check, part, at, value, result):
    """Each is found, by the text that the kernel would log."""
    made = pages()
    page = bytearray(made[part])
    page[at] = value
    made[part] = sign(bytes(page), 8 if part == 0 else 4)
    assert result in rows(check(b"".join(made)))[0][2]
    page[at] ^= 0x40
    made[part] = bytes(page)
    assert "checksum" in rows(check(b"".join(made)))[0][2] or not at


def test_sizes(check):
    """Files of all lengths, and counts far larger than the file."""
    dump = b"".join(pages())
    for size in (0, 1, 7, PAGE - 1, PAGE, PAGE + 1, len(dump) - 1, len(dump) - PAGE):
        assert not rows(check(dump[:size]))[0][1]
    assert "but its super block says" in rows(check(dump + b"x"))[0][2]
    for change in ({"nr_meta": 0xffffffff}, {"nr_tables": 0xffffffff}, {"nr_tables": 128},
                   {"blocks": 1 << 40}, {"blocks": (1 << 43) - 64}, {"root": 0xffffffff}):
        made = [super_block(**change), *pages()[1:]]
        assert not rows(check(b"".join(made)))[0][1]
        for data in (image(made), b"".join(made)[:PAGE]):
            check(data, status=None)


def test_vmcore(check):
    made = pages(LIVE)
    done = check(image(made), status=0)
    assert rows(done) == [(3, True, "ok")] and "checksums are not compared" in done.err
    # A part of it was left out.
    done = check(elf({BLOB: made[0] * 2, TABLE: made[1]}))
    assert rows(done) == [] and f"a pool at {BLOB:#x} is not complete in it" in done.err
    assert "no pool is in this memory image" in check(elf({BLOB: bytes(4 * PAGE)}), status=FAILED).err
    for data in (b"\x7fELF".ljust(64, b"\0"), b"\x7fELF\x01\x01\x01".ljust(64, b"\0"),
                 image(made)[:64 + 20]):
        assert "is neither a node's metadata nor a memory image" in check(data, status=FAILED).err
    # Segments that are not in the file.
    head = bytearray(image(made))
    for at in (64 + 8, 64 + 24, 64 + 32):
        bad = bytearray(head)
        bad[at:at + 8] = b"\xff" * 8
        check(bytes(bad), status=None)
    check(bytes(head[:PAGE + 100]), status=None)


def test_random(check):
    """Nothing that is in a file makes the tool crash (it is built with sanitizers)."""
    rnd = random.Random(1)
    for _ in range(60):
        made = pages(rnd.choice((LIVE, SEALED)))
        for _ in range(rnd.randint(1, 3)):
            part = rnd.randrange(len(made))
            page = bytearray(made[part])
            for _ in range(rnd.randint(1, 4)):
                at = rnd.choice((rnd.randrange(PAGE), rnd.randrange(8, 330), 1024 + rnd.randrange(32)))
                page[at] = rnd.choice((0, 1, 0x7f, 0x80, 0xff, rnd.randrange(256)))
            made[part] = sign(bytes(page), 8 if part == 0 else 4)
        check(rnd.choice((image(made), b"".join(made))), status=None)
