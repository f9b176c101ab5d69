# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa map, on made-up trees of sysfs."""

import os
import re
import xml.etree.ElementTree

import pytest
from offline import on
from sysroot import GIB, MACHINES, Node
from tool import FAILED, OK

pytestmark = [pytest.mark.quick, pytest.mark.offline]


def expected_states(node):
    states = ["free"] * node.blocks
    for name, runs in (("dirty", node.dirty), ("used", node.used), ("poisoned", node.poison)):
        for first, count in runs:
            states[first:first + count] = [name] * count
    return states


@pytest.mark.parametrize("machine", MACHINES)
def test_map(make, tmp_path, machine):
    """The runs are those of the bitmaps; the picture has a line for each gibibyte."""
    nodes = MACHINES[machine]()
    tree = make(nodes)
    good = [n for n in nodes if n.pool and n.state != "failed"]
    # A node that has failed is named, and the others are shown.
    status = FAILED if machine == "4" else OK
    maps = on(tree, "map", "--json", status=status).json()["maps"]
    assert [m["node"] for m in maps] == [n.nid for n in good]
    for one, node in zip(maps, good):
        at = 0
        for run in one["runs"]:
            assert run["start"] == at
            at += run["count"]
        assert [r["state"] for r in one["runs"] for _ in range(r["count"])] == expected_states(node)
        assert all(a["state"] != b["state"] for a, b in zip(one["runs"], one["runs"][1:]))
    for locale, marks in (("C.UTF-8", "·▒█╳"), ("C", ".:#X")):
        for columns, width in (("80", 64), ("150", 128), ("1000", 512), ("40", 16), ("x", 64),
                               ("39", 64)):
            done = on(tree, "map", status=status, env={"LC_ALL": locale, "COLUMNS": columns})
            assert "\033" not in done.out
            lines = [l.split("  ") for l in done.out.splitlines() if re.match(r" *\d+  ", l)]
            cells = [l[-1] for l in lines]
            assert set("".join(cells)) <= set(marks)
            assert max(map(len, cells)) == width, (columns, max(map(len, cells)))
            assert sum(map(len, cells)) == sum(
                -(-n.pool // GIB * width) // 1 if n.base % GIB == 0 else
                -(-n.blocks * width // 512) for n in good)
    svg = tmp_path / "map.svg"
    done = on(tree, "map", "--svg", str(svg), status=status)
    assert not done.out
    root = xml.etree.ElementTree.parse(svg).getroot()
    assert root.tag.endswith("}svg") and int(root.get("height")) > 0
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert all(any(t.startswith(f"node {n.nid}: ") for t in texts) for n in good)
    rects = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.get("height") != "10"
             or int(r.get("width")) == 7]
    assert len(rects) == sum(-(-n.blocks // 4) for n in good)
    for r in rects:
        assert int(r.get("x")) + 7 <= int(root.get("width"))
        assert int(r.get("y")) < int(root.get("height"))


def test_map_cells(make):
    """The gravest state of a cell; lines start where physical gibibytes do, if that is told."""
    node = Node(0, cpus="0", pool=GIB + 256 * (1 << 20), base=4 * GIB + 768 * (1 << 20),
                used=((0, 1),), dirty=((16, 1), (600, 40)), poison=((1, 1), (639, 1)))
    tree = make([node])

    def lines():
        out = on(tree, "map", env={"LC_ALL": "C", "COLUMNS": "80"}).out
        return out, re.findall(r"^ *(\d+)  (.*)$", out, re.MULTILINE)
    out, found = lines()
    assert found == [("0", "X.:............."),
                     ("128", "." * 59 + ":" * 4 + "X")]
    assert "gibibyte of physical memory" in out
    assert "node 0: 1.3G, 16M a cell; . free 1.2G, : dirty 80M, # used 2M, X poisoned 4M" in out
    # To whom it is not told, the file is empty.
    tree.put("sys/fs/guestmemfs/node0/extents", "")
    out, found = lines()
    assert [n for n, _ in found] == ["0", "512"] and "gibibyte of the pool" in out
    # Each of two extents starts a line, wherever it is.
    tree.put("sys/fs/guestmemfs/node0/extents",
             f"{6 * GIB:#x} {256 << 20:#x}\n{8 * GIB - (512 << 20):#x} {GIB:#x}\n")
    assert [n for n, _ in lines()[1]] == ["0", "128", "384"]


def test_map_says_what_is_wrong(make, tmp_path):
    tree = make(MACHINES["4"]())
    assert "inode 3" in on(tree, "map", "9", status=FAILED).err
    assert on(tree, "map", "--svg", str(tmp_path / "no" / "x.svg"), "0", status=FAILED).err
    os.unlink(tree.path("sys/fs/guestmemfs/node0/bitmap"))
    assert "node 0" in on(tree, "map", "0", status=FAILED).err
    # Without the other bitmaps it is a map all the same.
    for name in ("bitmap_dirty", "bitmap_poison"):
        os.unlink(tree.path(f"sys/fs/guestmemfs/node5/{name}"))
    assert on(tree, "map", "5").out


def test_numbers_with_a_gap(make, tmp_path):
    """Extents of a pool that has grown and shrunk, by address: the numbers between them are no blocks."""
    node = Node(0, pool=2 * GIB, base=4 * GIB)
    node.files = {"extents": f"{4 * GIB:#x} {GIB:#x}\n{8 * GIB:#x} {GIB:#x}\n",
                  "extent_blocks": "1024 512\n0 512\n",
                  "bitmap": bytes([1]) + bytes(127) + bytes([3]) + bytes(63)}
    tree = make([node])
    runs = on(tree, "map", "--json").json()["maps"][0]["runs"]
    assert [(r["start"], r["count"], r["state"]) for r in runs] == [
        (0, 1, "used"), (1, 511, "free"), (1024, 2, "used"), (1026, 510, "free")]
    lines = [l for l in on(tree, "map").out.splitlines() if re.match(r" *\d+  ", l)]
    assert [int(l.split()[0]) for l in lines] == [0, 1024]
    svg = tmp_path / "map.svg"
    on(tree, "map", "--svg", str(svg))
    assert ">1024</text>" in svg.read_text() and ">512</text>" not in svg.read_text()
    # Who may not know the addresses sees the same blocks.
    node.files["extents"] = ""
    assert on(make([node]), "map", "--json").json()["maps"][0]["runs"] == runs
