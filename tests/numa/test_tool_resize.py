# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa resize, on made-up trees of sysfs.

In a tree, "size" can be a link to "target": then the write has the effect that is asked for.
"""

import os

import pytest
from offline import files_of, on
from sysroot import BLOCK, GIB, Node
from tool import DIFFERS, FAILED, NO_POOL, OK, USAGE

pytestmark = [pytest.mark.quick, pytest.mark.offline]

PER_GIB = GIB // BLOCK
BLOCK_SIZE = 128 << 20


def tree_of(make, pool=4, works=True, block_size=BLOCK_SIZE, **kwargs):
    """A node with a pool of so many gibibytes at 64 GiB, and a kernel that resizes."""
    tree = make([Node(1, cpus="0", pool=pool * GIB, base=64 * GIB, **kwargs)])
    tree.put("sys/devices/system/memory/block_size_bytes", f"{block_size:x}\n")
    tree.put("sys/fs/guestmemfs/node1/resize_error", "\n")
    tree.put("sys/fs/guestmemfs/node1/target", f"{pool * GIB}\n")
    if works:
        tree.link("sys/fs/guestmemfs/node1/size", "target")
    return tree


def add_memory(tree, start, gibs, zone="Normal", nid=1, block_size=BLOCK_SIZE, state="online"):
    """Memory blocks of a kernel, from the gibibyte on."""
    for number in range(start * GIB // block_size, (start + gibs) * GIB // block_size):
        here = f"sys/devices/system/memory/memory{number}"
        tree.put(f"{here}/state", f"{state}\n")
        tree.put(f"{here}/valid_zones", f"{zone}\n")
        os.makedirs(tree.path(f"sys/devices/system/node/node{nid}"), exist_ok=True)
        tree.put(f"sys/devices/system/node/node{nid}/memory{number}/state", f"{state}\n")


def row(done):
    result, = done.json()["resize"]
    return result


def resized(tree, size, *args, status=OK):
    """What became of it, in bytes, with the target that was written."""
    tree.put("sys/fs/guestmemfs/node1/target", f"{4 * GIB}")
    result = row(on(tree, "resize", *args, "1", size, "--json", status=status))
    return result["size"], result["target"], tree.node(1, "target")


@pytest.mark.parametrize("size,gibs", [
    ("96G", 96), ("+8G", 12), ("-3G", 1), ("5G", 5), ("4G", 4), ("1T", 1024), ("+1G", 5),
    ("2147483648", 2), ("+1024M", 5),
])
def test_sizes(make, size, gibs):
    tree = tree_of(make)
    assert resized(tree, size) == (gibs * GIB, gibs * GIB, str(gibs * GIB))


@pytest.mark.parametrize("size", [
    "0", "+0", "-0", "x", "", "+", "-", "1%", "4.5G", "+512M", "-1.5G", "-4G", "-5G", "+-1G",
    "1G2G", "99999999999999999999G",
])
def test_wrong_sizes(make, size):
    tree = tree_of(make)
    before = files_of(tree)
    done = on(tree, "resize", "1", "--", size, status=USAGE)
    assert done.err and not done.out
    assert files_of(tree) == before


def test_units(make):
    """The kernel changes sizes by gibibytes, or by memory blocks that are larger."""
    tree = tree_of(make)
    for size, names in (("4.5G", ("4G", "5G")), ("-1.5G", ("2G", "3G")), ("+100G", None)):
        if names:
            err = on(tree, "resize", "1", size, status=USAGE).err
            assert "multiples of 1G, from 4G on" in err and all(n in err for n in names)
        else:
            on(tree, "resize", "1", size)
    tree = tree_of(make, block_size=2 * GIB)
    err = on(tree, "resize", "1", "+3G", status=USAGE).err
    assert "multiples of 2G" in err and "6G or 8G" in err
    assert "give 2G" in on(tree, "resize", "1", "-3G", status=USAGE).err
    assert row(on(tree, "resize", "1", "+2G", "--json"))["unit"] == 2 * GIB
    # A kernel that does not say it decides itself.
    os.unlink(tree.path("sys/devices/system/memory/block_size_bytes"))
    tree.put("sys/fs/guestmemfs/node1/target", f"{4 * GIB}")
    assert row(on(tree, "resize", "1", "+3G", "--json"))["unit"] is None


def test_arguments(make):
    tree = tree_of(make)
    for args in ([], ["1"], ["1", "8G", "9G"], ["0-1", "8G"], ["x", "8G"],
                 ["--timeout", "0", "1", "8G"], ["-t", "x", "1", "8G"]):
        on(tree, "resize", *args, status=USAGE)
    on(tree, "resize", "7", "8G", status=NO_POOL)
    # A size that begins with a minus is no option, wherever it is.
    for args in (["1", "-1G", "--json"], ["--json", "1", "-1G"], ["--json", "node1", "--", "-1G"],
                 ["--json", "-t", "9", "1", "-1G"]):
        tree.put("sys/fs/guestmemfs/node1/target", f"{4 * GIB}")
        assert row(on(tree, "resize", *args))["size"] == 3 * GIB


def test_results(make):
    """0 for all of it, 1 for a part, 2 for nothing; with the kernel's words."""
    # Here a write changes nothing.
    tree = tree_of(make, works=False)
    result = row(on(tree, "resize", "1", "8G", "--json", status=FAILED))
    assert (result["result"], result["size"], result["from"]) == ("nothing", 4 * GIB, 4 * GIB)
    assert result["why"]
    tree.put("sys/fs/guestmemfs/node1/resize_error", "unit at 0x2000000000: pinned pages\n")
    done = on(tree, "resize", "1", "8G", status=FAILED)
    assert "unit at 0x2000000000: pinned pages" in done.out
    # What is there already needs no write.
    before = files_of(tree)
    assert row(on(tree, "resize", "1", "4G", "--json"))["result"] == "all"
    assert files_of(tree) == before
    # The write leaves the last digit of what is there: neither that nor what was asked for.
    tree = tree_of(make)
    tree.put("sys/fs/guestmemfs/node1/target", f"{40 * GIB}")
    tree.put("sys/fs/guestmemfs/node1/resize_error", "no more room\n")
    result = row(on(tree, "resize", "1", "8G", "--json", status=DIFFERS))
    assert (result["result"], result["size"], result["why"]) == ("part", 80 * GIB, "no more room")


def test_old_kernel(make):
    tree = make([Node(1, cpus="0", pool=4 * GIB)])
    os.unlink(tree.path("sys/fs/guestmemfs/node1/target"))
    for args in ([], ["--dry-run"]):
        done = on(tree, "resize", *args, "1", "8G", status=FAILED)
        assert "this kernel cannot resize a pool" in done.err and "target" in done.err


def dry(tree, size, status=OK):
    before = files_of(tree)
    result = row(on(tree, "resize", "--dry-run", "1", size, "--json", status=status))
    assert files_of(tree) == before
    return result


def test_dry_run_growth(make):
    tree = tree_of(make)
    # Movable memory is sure to move, other memory perhaps.
    add_memory(tree, 68, 2, "Movable")
    add_memory(tree, 60, 4)
    result = dry(tree, "+2G")
    assert (result["result"], result["size"], result["why"]) == ("all", 6 * GIB, None)
    result = dry(tree, "+3G", DIFFERS)
    assert (result["result"], result["size"]) == ("perhaps", 6 * GIB)
    assert "2 units of 1G can move, 4 more" in result["why"]
    result = dry(tree, "+7G", DIFFERS)
    assert (result["result"], result["size"]) == ("part", 6 * GIB)
    tree = tree_of(make)
    result = dry(tree, "+1G", FAILED)
    assert (result["result"], result["size"]) == ("nothing", 4 * GIB)


@pytest.mark.parametrize("change", [
    "offline", "two zones", "none", "other node", "zones mixed", "crash kernel", "image",
    "hot-added", "block missing",
])
def test_dry_run_memory_that_stays(make, change):
    tree = tree_of(make)
    add_memory(tree, 68, 1, "Movable")
    assert dry(tree, "+1G")["result"] == "all"
    first = 68 * GIB // BLOCK_SIZE
    here = f"sys/devices/system/memory/memory{first + 3}"
    if change == "offline":
        tree.put(f"{here}/state", "offline\n")
    elif change == "two zones":
        tree.put(f"{here}/valid_zones", "Normal Movable\n")
    elif change == "none":
        tree.put(f"{here}/valid_zones", "none\n")
    elif change == "zones mixed":
        tree.put(f"{here}/valid_zones", "Normal\n")
    elif change == "other node":
        os.rename(tree.path(f"sys/devices/system/node/node1/memory{first + 3}"),
                  tree.path("elsewhere"))
    elif change == "block missing":
        os.unlink(tree.path(f"{here}/state"))
    elif change == "hot-added":
        for number, (start, end) in enumerate(((0, 68 * GIB - 1), (80 * GIB, 81 * GIB - 1))):
            tree.put(f"sys/firmware/memmap/{number}/type", "System RAM\n")
            tree.put(f"sys/firmware/memmap/{number}/start", f"{start:#x}\n")
            tree.put(f"sys/firmware/memmap/{number}/end", f"{end:#x}\n")
    else:
        name = "Crash kernel" if change == "crash kernel" else "Kernel data"
        tree.put("proc/iomem", f"1000000000-1fffffffff : System RAM\n"
                 f"  {68 * GIB + 4096:x}-{68 * GIB + 8191:x} : {name}\n")
    assert dry(tree, "+1G", FAILED)["result"] == "nothing"


def test_dry_run_hidden_addresses(make):
    """Without privileges, all addresses of /proc/iomem are 0."""
    tree = tree_of(make)
    add_memory(tree, 68, 1, "Movable")
    tree.put("proc/iomem", "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n")
    assert dry(tree, "+1G")["result"] == "all"
    tree = tree_of(make, files={"extents": "\n"})
    assert "only root" in on(tree, "resize", "--dry-run", "1", "-1G", status=FAILED).err
    os.unlink(tree.path("sys/devices/system/memory/block_size_bytes"))
    assert "not known" in on(tree, "resize", "--dry-run", "1", "+1G", status=FAILED).err


def test_dry_run_shrinking(make):
    tree = tree_of(make, used=((0, 1), (PER_GIB * 2 + 7, 3)), poison=((PER_GIB * 3, 1),))
    result = dry(tree, "-1G")
    assert (result["result"], result["size"], result["why"]) == ("all", 3 * GIB, None)
    # What is used can move, but not what has failed.
    result = dry(tree, "-2G", DIFFERS)
    assert (result["result"], result["size"]) == ("perhaps", 3 * GIB)
    assert result["why"] == "1 units of 1G are free, 2 more can be if files move, 1 cannot"
    assert dry(tree, "-3G", DIFFERS)["result"] == "perhaps"
    tree = tree_of(make, used=tuple((PER_GIB * n, 1) for n in range(4)))
    assert dry(tree, "-1G", DIFFERS)["result"] == "perhaps"
    assert dry(tree, "-3G", DIFFERS)["size"] == 4 * GIB
    tree = tree_of(make, poison=tuple((PER_GIB * n, 1) for n in range(4)))
    assert dry(tree, "-1G", FAILED)["result"] == "nothing"
    # A pool that was resized has other numbers for its blocks.
    extents = f"{64 * GIB:#x} {2 * GIB:#x}\n{72 * GIB:#x} {2 * GIB:#x}\n"
    tree = tree_of(make, used=((0, PER_GIB),), files={"extents": extents})
    assert dry(tree, "-3G")["result"] == "all"
    # What is no whole unit by its address cannot leave.
    extents = f"{64 * GIB + GIB // 2:#x} {4 * GIB:#x}\n"
    tree = tree_of(make, files={"extents": extents})
    assert dry(tree, "-3G")["result"] == "all"
    used = ((PER_GIB // 2, 1), (PER_GIB * 3 // 2, 1))
    tree = tree_of(make, used=used, files={"extents": extents})
    assert dry(tree, "-1G")["result"] == "all"
    assert dry(tree, "-3G", DIFFERS)["result"] == "perhaps"


@pytest.mark.parametrize("used,perhaps", [
    (PER_GIB // 2, 2), (PER_GIB * 3 // 4, 1), (PER_GIB * 3 // 4 + 1, 0), (PER_GIB, 0),
])
def test_dry_run_without_room(make, used, perhaps):
    """What moves needs room in the rest of the pool."""
    tree = tree_of(make, used=tuple((PER_GIB * n, used) for n in range(4)))
    result = dry(tree, "-3G", DIFFERS if perhaps else FAILED)
    assert result["why"] == (
        f"0 units of 1G are free, {perhaps} more can be if files move, {4 - perhaps} cannot: "
        "the pool has no more room")
    assert result["result"] == ("perhaps" if perhaps else "nothing")


def test_in_use(make):
    """Files that are in use move only if that is asked for, and the kernel can do it."""
    tree = tree_of(make)
    err = on(tree, "resize", "--in-use", "1", "-1G", status=FAILED).err
    assert "this kernel moves no files that are in use" in err
    assert tree.node(1, "target") == str(4 * GIB)
    tree = tree_of(make, works=False)
    tree.put("sys/fs/guestmemfs/features/resize_in_use", "supported\n")
    on(tree, "resize", "--in-use", "1", "-1G", status=FAILED)
    assert tree.node(1, "target") == f"in-use {3 * GIB}"
