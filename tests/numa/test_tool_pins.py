# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa: pins of files, on made-up lists of them and directories that the shim makes nodes of."""

import os

import pytest
from offline import config, has_inodes, kernel, on, on_node, sees_all_processes, shim_options, shimmed
from sysroot import BLOCK, GIB, MACHINES, Node, Pin
from tool import DIFFERS, FAILED, parse_metrics

pytestmark = [pytest.mark.quick, pytest.mark.offline]

MIB = 1 << 20


@pytest.fixture
def pinned(make, shim, tmp_path):
    """pinned(name, ...): (directory of node 1, its tree, tool(args...)); pins of these files."""
    where = tmp_path / "node1"
    where.mkdir()

    def new(**pins):
        for name in pins:
            (where / name).write_text("x")
        made = [Pin((where / name).stat().st_ino, **kwargs)
                for name, all_of_it in pins.items() for kwargs in all_of_it]
        tree = make([Node(0, cpus="0"), Node(1, cpus="1", pins=made)])
        tree.put("proc/stat", "cpu 1 2 3\nbtime 1000000\n")
        tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
        device = on_node(tree, where, 1)

        def tool(*args, env=(), **kwargs):
            return shimmed(shim, tree, *args, env={**device, **dict(env)}, **kwargs)
        return where, tree, tool
    return new


def test_status_and_metrics(make):
    """Blocks that several pins have count once."""
    tree = make([Node(0), Node(3, pins=(Pin(5, 0, 4 * MIB), Pin(5, 2 * MIB, 4 * MIB), Pin(6, 0, 4096)))])
    rows = on(tree, "status", "--json").json()["nodes"]
    assert [r["pinned"] for r in rows] == [0, 4 * BLOCK]
    assert "PINNED" in on(tree, "status").out
    samples = parse_metrics(on(tree, "metrics").out)["guestmemfs_pool_pinned_bytes"][1]
    assert sorted(samples.values()) == [0, 4 * BLOCK]
    assert on(tree, "get", "-rn", "3", "pinned_blocks").out == "3 pinned_blocks 4\n"


def test_kernel_without_pins(pinned, make):
    """Nothing is shown, and nothing is wrong."""
    where, tree, tool = pinned(vm=[])
    for node in 0, 1:
        for name in "pins", "pinned_blocks":
            os.unlink(tree.path(f"sys/fs/guestmemfs/node{node}/{name}"))
    assert [r["pinned"] for r in on(tree, "status", "--json").json()["nodes"]] == [None, None]
    assert "pinned" not in on(tree, "metrics").out
    file, = tool("ls", "--json", str(where / "vm")).json()["files"]
    assert file["pinned"] is None and file["pinned_by"] is None
    assert tool("reap", "--no-owner").err == ""


def test_ls(pinned):
    """The bytes of a file that are pinned, and by which processes."""
    where, tree, tool = pinned(
        vm=[{"size": GIB}, {"start": GIB // 2, "size": GIB, "access": "r", "pid": 78, "command": "vdpa\\040x"},
            {"start": 4 * GIB, "size": 4096}],
        evil=[{"command": "a\\134\\011),1(b\\303\\274", "pid": 2147483647}], other=[])
    files = {os.path.basename(f["file"]): f for f in tool("ls", "--json").json()["files"]}
    assert files["vm"]["pinned"] == GIB * 3 // 2 + 4096
    assert files["vm"]["pinned_by"] == [
        {"pid": 77, "command": "qemu", "start": 0, "size": GIB, "write": True},
        {"pid": 78, "command": "vdpa x", "start": GIB // 2, "size": GIB, "write": False},
        {"pid": 77, "command": "qemu", "start": 4 * GIB, "size": 4096, "write": True}]
    assert files["evil"]["pinned_by"][0]["command"] == "a\\\t),1(b\u00fc"
    assert files["other"]["pinned"] == 0 and files["other"]["pinned_by"] == []
    rows = {r[0]: r[1] for r in tool("ls", "-rn", "-o", "pinned,pinned-by").rows()}
    assert rows["0B"] == "-" and rows["2M"].count("(") == 1
    assert rows["1.5G"] == "77(qemu),78(vdpa\\x20x)"
    # Those that may not read the list are not told that there are none.
    tree.put("sys/fs/guestmemfs/node1/pins", "")
    files = tool("ls", "--json").json()["files"]
    assert {f["pinned"] for f in files} == {None}


def test_many_pins(pinned):
    """More than one read returns; a line that is cut short counts for none."""
    where, tree, tool = pinned(vm=[{"start": n * BLOCK, "pid": 1000 + n} for n in range(100)])
    file, = tool("ls", "--json", str(where / "vm")).json()["files"]
    assert file["pinned"] == 100 * BLOCK and len(file["pinned_by"]) == 100
    pins = tree.get("sys/fs/guestmemfs/node1/pins")
    tree.put("sys/fs/guestmemfs/node1/pins", pins[:-64])
    file, = tool("ls", "--json", str(where / "vm")).json()["files"]
    assert file["pinned"] is None
    tree.put("sys/fs/guestmemfs/node1/pins", "x" * 127 + "\n" + pins)
    file, = tool("ls", "--json", str(where / "vm")).json()["files"]
    assert len(file["pinned_by"]) == 100


def test_reap(pinned):
    """A file that only a device has is named, and stays."""
    where, _, tool = pinned(vm=[{}], free=[])
    # A pin holds the file open; here another process does.
    with open(where / "vm", "rb"):
        done = tool("reap", "--no-owner", "--yes")
    assert done.err == "gmfs-numa: node1/vm: it stays: 2M pinned by 77(qemu)\n".replace(
        "node1", str(where))
    assert os.listdir(where) == ["vm"]


def test_handover(pinned, tmp_path):
    """Pins are named. Those of files that LUO preserves are handed over, to a kernel that knows them."""
    where, tree, tool = pinned(vm=[{}, {"start": BLOCK, "pid": 78}])
    gone = Pin((where / "vm").stat().st_ino + 1000000, size=GIB, pid=79)
    with open(tree.path("sys/fs/guestmemfs/node1/pins"), "a", encoding="ascii") as f:
        f.write(gone.line())

    def checks(*args, status=DIFFERS):
        rows = tool("handover", "--kernel", kernel(tmp_path / "bzImage"), *args, "--json", status=status,
                    env={"SHIM_MOUNT": str(where)}).json()["handover"]
        return {r["check"]: (r["result"], r["detail"]) for r in rows}

    has_inodes(tree, 2)
    assert checks()["pins"][0] == "warn"
    has_inodes(tree, 3)
    result, detail = checks()["pins"]
    assert result == "fail" and "node1/vm: 4M pinned by 77(qemu),78(qemu)" in detail
    assert f"node 1: a file without a name, inode {gone.inode}: 1G pinned by 79(qemu)" in detail

    tree.put("sys/fs/guestmemfs/node1/preserved_files", "2\n")
    if not sees_all_processes():
        # A process in another container can have what a session has.
        assert (checks()["users"][0], checks()["pins"][0]) == ("unknown", "fail")
        return
    assert checks()["users"] == ("ok", "only LUO has files open, and preserves all 2: keep its sessions open until the kexec")
    result, detail = checks()["pins"]
    assert result == "warn" and "not known: node1/vm: 4M pinned by" in detail
    path = tmp_path / "config"
    for options, line, expected in (
            ({"LIVEUPDATE": "y", "GUESTMEM_POOL_RO_COMPAT": "0x3"}, "kho=on liveupdate=on",
             ("ok", "the next kernel keeps the files as pinned until")),
            ({"LIVEUPDATE": "y", "GUESTMEM_POOL_RO_COMPAT": "0x1"}, "kho=on liveupdate=on",
             ("fail", "does not know of pins, so it could only read")),
            ({"LIVEUPDATE": "y", "GUESTMEM_POOL_RO_COMPAT": "0x3"}, "kho=on liveupdate=on liveupdate=off",
             ("fail", "has no LUO")),
            ({"GUESTMEM_POOL_RO_COMPAT": "0x3"}, "kho=on liveupdate=on", ("fail", "has no LUO"))):
        path.write_text(config(**options))
        # The first is all that is needed.
        result, detail = checks("--config", str(path), "--command-line", line,
                                status=0 if expected[0] == "ok" else DIFFERS)["pins"]
        assert (result, expected[1] in detail) == (expected[0], True), (options, line, result, detail)
        assert "node1/vm: 4M pinned by 77(qemu),78(qemu)" in detail
    # One more that is in use, and not preserved.
    has_inodes(tree, 5)
    assert checks()["pins"][0] == "fail"
    tree.put("sys/fs/guestmemfs/node1/pins", "")
    assert "pins" not in checks()


def test_discard(pinned):
    """A node that a pin holds cannot be discarded: the message says which file and process."""
    where, tree, tool = pinned(vm=[{}])
    tree.put("proc/self/mountinfo", "")
    tree.link("sys/fs/guestmemfs/node1/discard", "/dev/full")
    done = tool("discard", "1", "--yes", status=FAILED, env={"SHIM_MOUNT": str(where)})
    assert "node1/vm: 2M pinned by 77(qemu)\n" in done.err
    assert "node 1: stop these processes, or detach the devices" in done.err
    done = tool("discard", "1", "--yes", status=FAILED)
    inode = (where / "vm").stat().st_ino
    assert f"node 1: inode {inode}: 2M pinned by 77(qemu)\n" in done.err


def test_discard_of_handed_over_pins(pinned):
    """Pins of the previous kernel have no process: LUO ends them."""
    where, tree, tool = pinned(vm=[{"pid": 0, "command": "-"}])
    tree.put("proc/self/mountinfo", "")
    tree.link("sys/fs/guestmemfs/node1/discard", "/dev/full")
    done = tool("discard", "1", "--yes", status=FAILED, env={"SHIM_MOUNT": str(where)})
    assert "node1/vm: 2M pinned by previous-kernel\n" in done.err
    assert "node 1: retrieve the preserved files, or finish their LUO sessions" in done.err


def test_umount(pinned, tmp_path):
    """As for discard; the shim cannot unmount what is not mounted."""
    where, _, tool = pinned(vm=[{}])
    done = tool("umount", "1", "--base", str(tmp_path), status=FAILED)
    assert f"{where}/vm: 2M pinned by 77(qemu)\n" in done.err
    assert "stop these processes, or detach the devices" in done.err


def test_other_machine(make, shim, tmp_path):
    """Of a tree that was copied, the numbers of inodes are known."""
    tree = make([Node(1, pins=(Pin(12),))])
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    done = on(tree, "handover", "--kernel", kernel(tmp_path / "bzImage"), status=DIFFERS)
    assert "node 1: inode 12: 2M pinned by 77(qemu)" in done.out
    env = {k: v for k, v in shim_options(shim, tree).items() if k != "SHIM_ROOT"}
    (tmp_path / "vm").write_text("x")
    on_node(tree, tmp_path, 1)
    env["SHIM_DEVICE"] = str(os.stat(tmp_path).st_dev)
    file, = on(tree, "ls", "--json", str(tmp_path / "vm"), env=env).json()["files"]
    assert file["pinned"] == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_no_pins(make, machine):
    """Machines without a device show 0."""
    rows = on(make(MACHINES[machine]()), "status", "--json").json()["nodes"]
    assert {r["pinned"] for r in rows} == {0}


def test_guest_memfd(pinned, make):
    """Files that are memory of guest_memfd, and whose; nothing from a kernel without it."""
    tree = make([Node(0), Node(3, attached=(Pin(5, size=GIB, access="p"), Pin(6, access="s")))])
    rows = on(tree, "status", "--json").json()["nodes"]
    assert [(r["attached"], r["private"]) for r in rows] == [(0, 0), (2, 1)]
    assert on(tree, "status", "-rn", "-o", "node,attached,private", "3").out == "3 2 1\n"

    where, tree, tool = pinned(vm=[], other=[])
    line = Pin((where / "vm").stat().st_ino, size=GIB, access="p", command="my\\040vmm").line()
    for count, lines in (("1\n", line), ("0\n", "")):
        tree.put("sys/fs/guestmemfs/node1/attached_files", count)
        tree.put("sys/fs/guestmemfs/node1/attached", lines)
        files = {os.path.basename(f["file"]): f for f in tool("ls", "--json").json()["files"]}
        assert files["other"]["attached_by"] is None
        assert files["vm"]["attached_by"] == ({"pid": 77, "command": "my vmm", "size": GIB, "private": True}
                                              if lines else None)
    for name in "attached", "attached_files", "private_files":
        os.unlink(tree.path(f"sys/fs/guestmemfs/node1/{name}"))
    assert [(r["attached"], r["private"]) for r in on(tree, "status", "--json").json()["nodes"]] == \
        [(0, 0), (None, None)]
    assert tool("ls", "--json").json()["files"][0]["attached_by"] is None
