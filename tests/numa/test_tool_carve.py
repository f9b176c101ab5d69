# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa carve and uncarve, as far as they can be seen without a pool: what is chosen, and
what is refused. test_tool.py has them on real nodes."""

import os

import pytest
from offline import on, sees_all_processes
from sysroot import BLOCK, GIB
from tool import FAILED, OK, USAGE

pytestmark = [pytest.mark.quick, pytest.mark.offline]

M = 1 << 20
USED = {"SHIM_LEASE": "11"}


def pieces(*parts):
    return {"SHIM_PIECES": ",".join(f"{a:x}:{b:x}:{c:x}" for a, b, c in parts)}


@pytest.fixture
def carve(node_dir):
    """carve(size of the parent, its pieces, options...): the row of a dry run, or Done."""
    where, tool, tree = node_dir

    def start(size, parts, *args, status=OK, env=()):
        with open(where / "parent", "wb") as f:
            f.truncate(size)
        done = tool("carve", "--dry-run", "--json", *args, str(where / "parent"), str(where / "child"),
                    status=status, env={**pieces(*parts), **dict(env)})
        assert sorted(os.listdir(where)) == ["parent"]
        return done.json()["moved"][0] if status == OK else done
    start.where, start.tool, start.tree = where, tool, tree
    return start


@pytest.mark.parametrize("size, parts, wanted, offset", [
    # The last range; not behind the last whole block, nor in a hole.
    (64 * M, [(0, 5 * GIB, 64 * M)], 16 * M, 48 * M),
    (64 * M - 1, [(0, 5 * GIB, 64 * M)], 16 * M, 46 * M),
    (64 * M, [(0, 5 * GIB, 32 * M)], 16 * M, 16 * M),
    (64 * M, [(0, 5 * GIB, 16 * M), (40 * M, 6 * GIB, 10 * M)], 16 * M, 0),
    # Pieces next to each other in the file are one range.
    (64 * M, [(0, 9 * GIB, 32 * M), (32 * M, 6 * GIB, 32 * M)], 64 * M, 0),
    # No gibibyte is broken if there is another way: the last one has none.
    (4 * GIB, [(0, 5 * GIB, 4 * GIB)], 64 * M, 4 * GIB - 64 * M),
    (4 * GIB, [(0, 5 * GIB + BLOCK, 2 * GIB), (2 * GIB, 9 * GIB, 2 * GIB)], 64 * M, 2 * GIB - 64 * M),
    (4 * GIB, [(0, 5 * GIB, GIB), (GIB, 9 * GIB + BLOCK, GIB), (2 * GIB, 11 * GIB, 2 * GIB)], 64 * M,
     2 * GIB - 64 * M),
    # One gibibyte is broken rather than two.
    (4 * GIB, [(0, 5 * GIB, 4 * GIB)], GIB - BLOCK, 3 * GIB + BLOCK),
    # From a gibibyte on, it begins at a multiple of that.
    (4 * GIB + 64 * M, [(0, 5 * GIB, 4 * GIB + 64 * M)], GIB, 3 * GIB),
    (4 * GIB, [(0, 5 * GIB, 4 * GIB)], 3 * GIB, GIB),
    (4 * GIB, [(0, 5 * GIB, 4 * GIB)], GIB + 512 * M, 2 * GIB),
])
def test_choice(carve, size, parts, wanted, offset):
    row = carve(size, parts, "--size", str(wanted))
    assert (row["offset"], row["size"], row["node"], row["zeroed"]) == (offset, wanted, 1, True)
    # The same by its name, and one that can be named: each as long as it is there.
    assert carve(size, parts, "--size", str(wanted), "--offset", str(offset), "--keep") == \
        {**row, "zeroed": False}


@pytest.mark.parametrize("parts, args, words", [
    ([(0, 5 * GIB, 64 * M)], ["--size", "128M"], "no unused range of 128M: the longest is 64M"),
    ([(BLOCK, 5 * GIB, 62 * M)], ["--size", "64M"], "the longest is 62M"),
    ([], ["--size", "2M"], "the longest is 0B"),
    ([(0, 5 * GIB, 2 * GIB)], ["--size", "2G"], "no unused range of 2G that begins at a multiple of 1G"),
    ([(0, 5 * GIB, 64 * M)], ["--size", "2M", "--offset", "64M"], "whole blocks up to 64M"),
    ([(0, 5 * GIB, 62 * M)], ["--size", "4M", "--offset", "60M"], "its block at 62M is a hole"),
])
def test_no_range(carve, parts, args, words):
    assert words in carve(64 * M, parts, *args, status=FAILED).err


@pytest.mark.parametrize("args", [
    ["--size", "1M"], ["--size", "2097153"], ["--size", "0"], ["--size", "x"], [], ["--size", "-2M"],
    ["--size", "2M", "--offset", "1M"], ["--size", "2M", "--offset", "x"], ["--size", "2M", "more"],
    ["--size", "2M", "--offset", "17E"],
])
def test_usage(carve, args):
    assert carve(64 * M, [(0, 5 * GIB, 64 * M)], *args, status=USAGE).err


def test_users(carve):
    """What is mapped or pinned is not taken, the rest of the file is."""
    parts = [(0, 5 * GIB, 64 * M)]
    tree, where = carve.tree, carve.where
    if not sees_all_processes():
        done = carve(64 * M, parts, "--size", "4M", env=USED, status=FAILED)
        assert "run this as root, outside of containers" in done.err
        return
    done = carve(64 * M, parts, "--size", "4M", env=USED, status=FAILED)
    assert "by no process that has it mapped or open" in done.err
    device, inode = os.stat(where).st_dev, os.stat(where / "parent").st_ino

    def maps(*ranges):
        tree.put("proc/5000000/comm", "guest\n")
        tree.put("proc/5000000/maps", "".join(
            f"{0x7f0000000000 + a:x}-{0x7f0000000000 + b:x} rw-s {a:08x} {os.major(device):02x}:"
            f"{os.minor(device):02x} {inode}  /x\n" for a, b in ranges))
    maps((32 * M, 64 * M), (0, 4 * M))
    assert carve(64 * M, parts, "--size", "4M", env=USED)["offset"] == 28 * M
    done = carve(64 * M, parts, "--size", "32M", env=USED, status=FAILED)
    assert "parent: 32M to 64M: mapped by 5000000(guest)" in done.err and "longest is 28M" in done.err
    done = carve(64 * M, parts, "--size", "4M", "--offset", "30M", env=USED, status=FAILED)
    assert "its block at 32M is in use" in done.err and "0B to 4M" not in done.err
    # A mapping of a part of a block is one of the block.
    maps((0, 4096))
    assert carve(64 * M, parts, "--size", "62M", env=USED)["offset"] == BLOCK
    # Pins count, also those that no file of this kernel has.
    line = f"{inode} {6 * M} {4096} rw 77 vfio"
    tree.put("sys/fs/guestmemfs/node1/pins", f"{line:<127}\n")
    tree.put("sys/fs/guestmemfs/node1/pinned_blocks", "1\n")
    for env in USED, {}:
        done = carve(64 * M, parts, "--size", "2M", "--offset", "6M", env=env, status=FAILED)
        assert "6M to 6M: pinned by 77(vfio)" in done.err
        assert carve(64 * M, parts, "--size", "56M", env=env)["offset"] == 8 * M
    # Not all can be seen: then what is in use is not known.
    os.unlink(tree.path("sys/fs/guestmemfs/node1/pins"))
    assert "not all processes and pins can be seen" in carve(64 * M, parts, "--size", "2M", env=USED,
                                                             status=FAILED).err
    assert "whether it is in use is unknown" in carve(64 * M, parts, "--size", "2M", status=FAILED,
                                                      env={"SHIM_LEASE": "22"}).err


def test_files(carve, make, tmp_path):
    where, tool = carve.where, carve.tool
    parts = pieces((0, 5 * GIB, 64 * M))
    (where / "parent").write_bytes(b"")
    os.truncate(where / "parent", 64 * M)
    (where / "there").write_text("x")
    os.symlink("parent", where / "link")
    os.mkfifo(where / "fifo")
    args = ["carve", "--size", "2M"]
    for files, words in ((("parent", "there"), "File exists"), (("parent", "link"), "File exists"),
                         (("parent", "none/child"), "No such file"), (("none", "child"), "No such file"),
                         (("link", "child"), "symbolic link"), (("fifo", "child"), "this is no file"),
                         ((".", "child"), "this is no file"), (("parent", "."), "File exists")):
        done = tool(*args, *(str(where / f) for f in files), status=FAILED, env=parts)
        assert words in done.err, (files, done)
    done = tool(*args, str(where / "parent"), "/dev/shm/child", status=FAILED, env=parts)
    assert "has to be on node 1" in done.err
    carve.tree.put("sys/fs/guestmemfs/node1/state", "frozen\n")
    done = tool(*args, str(where / "parent"), str(where / "child"), status=FAILED, env=parts)
    assert "node 1 is frozen" in done.err
    for command in "carve", "uncarve":
        size = ["--size", "2M"] if command == "carve" else []
        assert "would change this one" in on(make(), command, *size, "a", "b", status=USAGE).err
        assert tool(command, *size, "a", status=USAGE).err
    assert sorted(os.listdir(where)) == ["fifo", "link", "parent", "there"]
