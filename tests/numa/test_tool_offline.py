# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa on trees of sysfs that nobody's machine has, built with ASan and UBSan.

Here on the host: nothing of this needs a kernel with guestmemfs. test_tool.py has what
does.
"""

import errno
import fcntl
import glob
import json
import mmap
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree

import jsonschema
import pytest
import yaml
from conftest import TOP
from sysroot import BLOCK, GIB, MACHINES, SETTINGS, Node, Tree
from tool import (COMMANDS, DIFFERS, FAILED, MANUAL_PAGES, MANUALS, NO_POOL, OK, SANITIZER_OPTIONS,
                  SCHEMAS, SOURCE, USAGE, VALGRIND, WITH_JSON, build, call, manual_page,
                  parse_metrics, plain, schema)

pytestmark = pytest.mark.quick

# Those that look at nodes, and need nothing but sysfs.
LOOKING = (["status"], ["map"], ["check"], ["get"], ["handover"], ["ls"], ["reap"])
NUMBERS = ("size", "free_1g", "mounts", "generation")


@pytest.fixture
def make(tmp_path):
    """make(nodes, ...) is a tree; make.call(tree, ...) the tool on it."""
    count = iter(range(1000))

    def new(nodes=(), **kwargs):
        return Tree(tmp_path / f"tree{next(count)}", nodes, **kwargs)
    return new


def on(tree, *args, **kwargs):
    return call(["--sysroot", tree.root, *args], **kwargs)


def files_of(tree):
    """{path: contents} of all that a tree has."""
    return {os.path.join(here, name): open(os.path.join(here, name), "rb").read()
            for here, _, names in os.walk(tree.root) for name in names
            if os.path.isfile(os.path.join(here, name))}


def help_of(command):
    return call([command, "--help"]).out


def columns_of(command):
    return re.findall(r"^  (\S+) ", help_of(command).partition("Columns:\n")[2], re.MULTILINE)


# --- tables and JSON ---

@pytest.mark.parametrize("machine", MACHINES)
def test_status(make, machine):
    """Every number is that of sysfs, in a table, raw, and in JSON."""
    nodes = MACHINES[machine]()
    tree = make(nodes)
    with_pool = [n for n in nodes if n.pool]
    rows = on(tree, "status", "--json").json()["nodes"]
    assert [r["node"] for r in rows] == [n.nid for n in with_pool]
    for row, node in zip(rows, with_pool):
        files = node.sysfs()
        free = int(files["free_blocks"]) * BLOCK
        failed = node.state == "failed"
        assert row["cpus"] == (node.cpus or None)
        assert (row["kernel"], row["kernel_free"]) == (node.memory, node.memory // 2)
        assert (row["size"], row["free"], row["used"]) == (node.pool, free, node.pool - free)
        assert row["largest"] == int(files["largest_free_run"]) * BLOCK
        assert row["dirty"] == node.count(node.dirty) * BLOCK
        assert row["scrubbed"] == (0 if failed else free - row["dirty"])
        assert row["poisoned"] == node.count(node.poison) * BLOCK
        assert (row["state"], row["error"]) == (node.state, node.error or None)
        assert row["inodes"] == (0 if failed else 12)
        for name in NUMBERS:
            assert row[name] == int(files[name]), name
    # What is nearest is a matter of all nodes, those without a pool as well.
    if machine == "4":
        assert [r["near"] for r in rows] == ["2(22)", "2(23)", "5(24)"]
    if machine == "1":
        assert rows[0]["near"] is None
    raw = on(tree, "status", "-r", "-n", "-b", "-o", "node,size,free,state").rows()
    assert raw == [[str(r["node"]), str(r["size"]), str(r["free"]), r["state"]] for r in rows]
    text = on(tree)
    assert text.out.split("\n")[0].split()[:4] == ["NODE", "CPUS", "NEAR", "KERNEL"]
    assert len(text.out.splitlines()) == len(with_pool) + 1
    for node in with_pool:
        assert not node.error or f"node {node.nid}: {node.error}" in text.err


def test_table_options(make):
    """-n -r -b -o and + of all commands that have a table."""
    tree = make(MACHINES["2"]())
    assert on(tree, "status", "-o", "FREE,node").out.split() == ["FREE", "NODE", "0B", "0", "3G", "1"]
    assert on(tree, "-n", "-o", "node,free", "-b").out.split() == \
        ["0", "0", "1", str(int(MACHINES["2"]()[1].sysfs()["free_blocks"]) * BLOCK)]
    default = on(tree, "-r").out.split("\n")[0].split()
    assert on(tree, "-r", "-o", "+uuid").out.split("\n")[0].split() == default + ["UUID"]
    # Once is enough, also of what is there by default.
    assert on(tree, "-r", "-o", "+node,uuid,uuid").out.split("\n")[0].split() == default + ["UUID"]
    assert json.loads(on(tree, "-J", "-o", "node,free").out)["nodes"][0] == {"node": 0, "free": 0}
    assert on(tree, "--json", "-b").out == on(tree, "--json").out
    for command in ("status", "check", "get", "handover", "ls", "reap"):
        wrong = on(tree, command, "-o", "nonsense", status=USAGE).err
        assert "'nonsense'" in wrong and all(c in wrong for c in columns_of(command)), wrong
        assert "exclude" in on(tree, command, "--json", "--raw", status=USAGE).err
        names = [c.lower() for c in columns_of(command)]
        # Of a kernel that is loaded already it is not known which it is.
        status = DIFFERS if command == "handover" else OK
        out = on(tree, command, "--json", "-o", ",".join(names), status=status).out
        for row in next(iter(json.loads(out).values())):
            assert list(row) == [n.replace("-", "_") for n in names]


def test_nodes_are_named(make):
    """1, node1, lists; what is no list, and a node without a pool."""
    tree = make(MACHINES["4"]())

    def nids(*args):
        return [r[0] for r in on(tree, "status", "-rn", "-o", "node", *args).rows()]
    assert nids() == ["0", "5", "9"]
    assert nids("5") == nids("node5") == nids("5,5") == nids("5", "node5") == ["5"]
    assert nids("9,0") == nids("9", "0") == ["0", "9"]
    assert nids("5,node9") == ["5", "9"]
    for wrong in ("", "x", "-", "1-", "node", "nodex", "0,", ",0", "0,,5", "5-0", "0-5x", "0x0",
                  "1024", "0-99999999999", "4294967296", "node4294967301", "0-4294967301",
                  "18446744073709551616", "node-1", "node 0", "+0", " 0", "0 ", "-1"):
        done = on(tree, "status", "--", wrong, status=USAGE)
        assert not done.out and "list of nodes" in done.err, done
    missing = on(tree, "status", "0-5", status=NO_POOL).err
    assert "node 1 has no pool" in missing and "0, 5, 9" in missing
    for args in (*LOOKING, ["freeze"], ["discard", "--yes"], ["mount"], ["umount"]):
        if args == ["handover"]:
            continue
        assert "node 2 has no pool" in on(tree, *args, "2", status=NO_POOL).err
    on(tree, "set", "2", "reserve=0", status=NO_POOL)
    on(tree, "run", "--size", "2M", "--node", "2", "--", "true", status=NO_POOL)


def test_node_is_not_another(make):
    """A number too large is none, and not what is left of it in 32 bits."""
    tree = make(MACHINES["2"]())
    before = files_of(tree)
    for args in (["discard", "--yes"], ["freeze"], ["get"]):
        on(tree, *args, "4294967297", status=USAGE)
    assert files_of(tree) == before


def test_counters_do_not_wrap(make):
    """Two that are read one after the other need not fit."""
    tree = make([Node(0, files={"free_blocks": "513\n", "free_inodes": "99\n", "total_inodes": "9\n"},
                      pool=GIB)])
    row, = on(tree, "status", "--json").json()["nodes"]
    assert (row["used"], row["inodes"]) == (0, 0)


def test_watch_ends_with_its_reader(make):
    """Also where SIGPIPE is ignored, as by systemd."""
    tree = make(MACHINES["1"]())
    with subprocess.Popen([build(), "--sysroot", tree.root, "status", "--watch=1"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=False,
                          preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN)) as done:
        done.stdout.readline()
        done.stdout.close()
        try:
            assert done.wait(10) in (OK, FAILED)
        finally:
            done.kill()


def test_messages_are_printable(make):
    """What others have named does not reach the terminal as it is."""
    tree = make([Node(0, error="x\x1b[2J\u009b1m\u00e9", state="failed")])
    assert "node 0: x\\x1b[2J\\xc2\\x9b1m\u00e9\n" in on(tree, "status").err
    assert "/\\x1b[2J: " in on(tree, "verify", "/\x1b[2J", status=FAILED).err


def test_without_a_pool(make):
    """A kernel without guestmemfs, and guestmemfs without a pool: 69, and what to do."""
    nodes = [Node(0, pool=0, cpus="0-3"), Node(1, pool=0)]
    for tree in (make(nodes, guestmemfs=False), make(nodes), make()):
        for args in LOOKING:
            done = on(tree, *args, status=NO_POOL)
            assert "gmfs-numa plan" in done.err and not done.out.strip("\n"), done
        assert on(tree, "status", "--json", status=NO_POOL).json() == {"nodes": []}
        on(tree, "set", "0", "reserve=0", status=NO_POOL)
        on(tree, "run", "--size", "2M", "--", "true", status=NO_POOL)
        # A collector runs on all machines.
        assert not [s for _, s in parse_metrics(on(tree, "metrics").out).values() if s]
    # And what it says without --sysroot, on a kernel that has nothing of it.
    if not os.path.exists("/sys/fs/guestmemfs"):
        assert "no guestmemfs" in call(["status"], status=NO_POOL).err


ODD = {
    "empty": b"", "newline": b"\n", "garbage": b"\xff\x00abc %s%n\n", "zero": b"0\n",
    "huge": b"18446744073709551615\n", "larger": b"18446744073709551616\n", "negative": b"-1\n",
    "long": b"9" * 100000, "quotes": b"\"\\\t{}\x01\x7f<&>\n", "missing": None,
    "directory": "/", "loop": "loop", "unreadable": "/proc/self/mem",
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_files(make, odd):
    """Whatever is in the files of a node, the other is shown and nothing breaks."""
    tree = make(MACHINES["2"]())
    here = "sys/fs/guestmemfs/node1"
    for path in (*(f"{here}/{name}" for name in os.listdir(tree.path(here))),
                 "sys/devices/system/node/node1/cpulist",
                 "sys/devices/system/node/node1/meminfo",
                 "sys/devices/system/node/node1/distance", "sys/fs/guestmemfs/version",
                 "sys/kernel/kexec_loaded", "proc/cmdline"):
        if isinstance(ODD[odd], bytes):
            tree.put(path, ODD[odd])
        elif odd == "missing":
            os.unlink(tree.path(path))
        elif odd == "loop":
            tree.link(path, os.path.basename(path))
        else:
            tree.link(path, ODD[odd])
    for args in (*LOOKING, ["map", "--svg", os.devnull], ["metrics"], ["plan", "--reserve", "30%"],
                 ["plan", "--vm", "1x1G"], ["set", "1", "reserve=10%"],
                 ["set", "1", "reserve=1G", "zeroing=on-alloc"], ["freeze", "1"],
                 ["run", "--size", "2M", "--", "true"],
                 ["run", "--size", "2M", "--node", "1", "--", "true"], ["verify", "1"]):
        for more in ([], ["--json"]) if args[0] in WITH_JSON and len(args) == 1 else ([],):
            # A crash, or a complaint of a sanitizer, is another status.
            done = on(tree, *args, *more, status=None)
            assert done.status in (OK, DIFFERS, FAILED, USAGE), done
            assert done.err or done.status in (OK, DIFFERS), done
            if more and done.out:
                done.raw.decode()
                done.json()
    rows = on(tree, "status", "-rn", "-o", "node,size,state", "0").rows()
    assert rows == [["0", "1G", "active"]]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_text_of_others(make, locale):
    """JSON is UTF-8 and says all of it; raw columns keep their place."""
    states = {b"caf\xc3\xa9": "caf\u00e9", b"\xf0\x9f\x92\xbe": "\U0001f4be", b"latin\xe9": "latin\\xe9",
              b"\xc0\xaf": "\\xc0\\xaf", b"\xed\xa0\x80": "\\xed\\xa0\\x80",
              b"\xf4\x90\x80\x80": "\\xf4\\x90\\x80\\x80", b"\xe2\x82": "\\xe2\\x82", b"\xff(\xfe": "\\xff(\\xfe",
              b'q"\\\x1b[2J\x7f\ttab': 'q"\\\x1b[2J\x7f\ttab'}
    tree = make([Node(n, cpus="0" if n else "") for n in range(len(states))])
    for nid, text in enumerate(states):
        tree.put(f"sys/fs/guestmemfs/node{nid}/state", text + b"\n")
    done = on(tree, "status", "--json", env={"LC_ALL": locale})
    rows = json.loads(done.raw.decode("utf-8"))["nodes"]
    assert [r["state"] for r in rows] == list(states.values())
    assert rows[0]["cpus"] is None and rows[1]["cpus"] == "0"
    raw = on(tree, "status", "-rn", "-o", "node,cpus,error,size,state", env={"LC_ALL": locale})
    assert not {"\x1b", "\t"} & set(raw.out)
    assert all(len(row) == 5 for row in raw.rows())
    assert raw.rows()[0][:4] == ["0", "-", "-", "1G"] and raw.rows()[1][1] == "0"
    # Text for people is one as it is in the last column, and one word in others.
    for columns, shown in (("node,error", "a b\\x1b  caf\u00e9"), ("error,node", "a\\x20b\\x1b\\x20\\x20")):
        tree.put("sys/fs/guestmemfs/node0/error", "a b\x1b  caf\u00e9\n")
        done = on(tree, "status", "-rn", "-o", columns, "0", env={"LC_ALL": locale})
        assert shown in done.out.splitlines()[0]
    tree.put("sys/fs/guestmemfs/node0/error", "\n")
    # In a table, which people read, nothing is nothing.
    assert " - " not in on(tree, "status", "-n", "-o", "node,cpus,error,size").out


def test_older_kernel(make):
    """A file that is not there is as if it were 0, but where it is asked for."""
    for name in MACHINES["1"]()[0].sysfs():
        if name == "bitmap":
            continue
        node = Node(0, cpus="0", files={name: None})
        tree = make([node])
        on(tree, "status", "--json").json()
        parse_metrics(on(tree, "metrics").out)
        names = [r["name"] for r in on(tree, "get", "--json").json()["values"]]
        assert name not in names
        # Not files for get: they are binary, or reading them is work.
        if name not in ("bitmap_dirty", "bitmap_poison", "extents", "check", "discard"):
            assert name in on(tree, "get", "0", name, status=FAILED).err
            assert len(names) == 31
        if name != "block_size" and name != "total_blocks":
            assert on(tree, "map").out.startswith("node 0: ")


def test_unknown_file_and_directories(make):
    """A newer kernel has more files and features, and perhaps other directories."""
    tree = make([Node(0, cpus="0", files={"of_tomorrow": "1\n"})])
    for name in ("nodes", "node", "node1x", "node-1", "other0"):
        tree.put(f"sys/fs/guestmemfs/{name}/size", "1\n")
    tree.put("sys/fs/guestmemfs/features/of_tomorrow", "supported\n")
    assert [r[0] for r in on(tree, "status", "-rn", "-o", "node").rows()] == ["0"]


def test_schemas():
    """Each JSON has a schema, each column is in it, and each schema is one."""
    assert sorted(WITH_JSON) == sorted(n[:-5] for n in os.listdir(SCHEMAS))
    for command in COMMANDS:
        has = "--json" in help_of(command)
        assert has == (command in WITH_JSON or command == "files"), command
    for command in WITH_JSON:
        jsonschema.Draft202012Validator.check_schema(schema(command))
        (name, rows), = schema(command)["properties"].items()
        assert schema(command)["required"] == [name]
        row = rows["items"]
        assert row["required"] == list(row["properties"])
        assert all("description" in p and {"type", "enum"} & set(p) or p.get("items")
                   for p in row["properties"].values())
        if command != "map":
            assert row["required"] == [c.lower().replace("-", "_") for c in columns_of(command)]


SIZES = {
    0: "0B", 1: "1B", 1023: "1023B", 1024: "1K", 1536: "1.5K", 1 << 20: "1M", (1 << 20) - 1: "1M",
    BLOCK: "2M", 100 * BLOCK: "200M", (1 << 30) - 1: "1G", 1 << 30: "1G", 3 << 29: "1.5G",
    (3 << 30) + (1 << 27): "3.1G", 1 << 40: "1T", 1 << 50: "1P", 1 << 60: "1E",
    (1 << 64) - 1: "16E",
}


def test_human_sizes(make):
    """As lsmem prints them; in bytes with --bytes."""
    nodes = [Node(i, files={"size": f"{size}\n"}) for i, size in enumerate(SIZES)]
    tree = make(nodes)
    assert [r[0] for r in on(tree, "-rn", "-o", "size").rows()] == list(SIZES.values())
    assert [int(r[0]) for r in on(tree, "-rn", "-b", "-o", "size").rows()] == list(SIZES)
    assert [r["size"] for r in on(tree, "--json").json()["nodes"]] == list(SIZES)


def test_sizes_are_understood(make):
    tree = make(MACHINES["1"]())
    for good in ("1G", "1g", "1GiB", "1Gi", "1024M", "1.0G", "1048576K", "1073741824", "0.5G"):
        on(tree, "plan", "--reserve", "1G", "--keep", good)
    for bad in ("", "G", "-1", "+1", "1e3", "0x10", "inf", "nan", "1GB", "1 G", "1..5", ".5G", "1X",
                " 1G", "1G ", "1,5G", "16E", "99999999999999999999999", "1iB", "1GiBs"):
        assert "is no size" in on(tree, "plan", "--reserve", "1G", f"--keep={bad}", status=USAGE).err


# --- map ---

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


# --- get, set, freeze, thaw, discard, check ---

def test_get(make):
    tree = make(MACHINES["2"]())
    node = MACHINES["2"]()[1].sysfs()
    assert on(tree, "get", "1", "size", "policy", "-rn").out == \
        f"1 size {4 * GIB}\n1 policy best-fit\n"
    assert [r[0] for r in on(tree, "get", "-rn", "policy").rows()] == ["0", "1"]
    values = on(tree, "get", "--json", "node1").json()["values"]
    for row in values:
        assert (row["value"] or "") == node[row["name"]].decode().rstrip("\n")
    # All that is text, but for what is work to read.
    assert {r["name"] for r in values} == \
        set(node) - {"bitmap", "bitmap_dirty", "bitmap_poison", "extents", "check", "discard"}
    for name in ("nonsense", "discard", "../version", "/etc/passwd", ".", ""):
        on(tree, "get", "1", name, status=USAGE)
    on(tree, "get", "nonsense", status=USAGE)


@pytest.mark.parametrize("setting,written", [
    ("frozen=1", "1"), ("frozen=0", "0"), ("policy=first-fit", "first-fit"),
    ("zeroing=on-alloc", "on-alloc"), ("scrub_target=all", "all"), ("scrub_target=1G", "512"),
    ("scrub_target=0", "0"), ("reserve=10%", "205"), ("reserve=100%", "2048"), ("reserve=0%", "0"),
    ("reserve=2048", "2048"), ("reserve=4G", "2048"), ("reserve=1", "1"), ("reserve=1K", "1"),
    ("reserve=3M", "2"), ("low_watermark=1.5G", "768"), ("scrub_rate=2G", str(2 << 30)),
    ("scrub_rate=0", "0"), ("scrub_rate=18446744073709551615", "18446744073709551615"),
])
def test_set(make, setting, written):
    tree = make(MACHINES["2"]())
    name = setting.partition("=")[0]
    # Nothing is behind what is written, as it would be in a file that is written over.
    tree.put(f"sys/fs/guestmemfs/node1/{name}", "")
    assert not on(tree, "set", "1", setting).out
    assert tree.node(1, name) == written
    assert tree.node(0, name) == SETTINGS[name]


def test_set_many(make):
    tree = make(MACHINES["2"]())
    for nid in 0, 1:
        tree.put(f"sys/fs/guestmemfs/node{nid}/reserve", "")
    on(tree, "set", "0-1", "reserve=50%", "zeroing=background", "policy=best-fit")
    assert [tree.node(n, "reserve") for n in (0, 1)] == ["256", "1024"]


@pytest.mark.parametrize("wrong", [
    "frozen=2", "frozen=", "frozen=yes", "policy=worst-fit", "policy=", "policy=best-fit\n",
    "zeroing=never", "scrub_target=ALL", "scrub_target=101%", "scrub_target=2049",
    "scrub_target=4097M", "reserve=", "reserve=%", "reserve=-1", "reserve=2049", "reserve=all",
    "reserve=1e2", "reserve=0x10", "reserve=1.5", "reserve=10.5%", "low_watermark=1TB",
    "scrub_rate=-1", "scrub_rate=all", "scrub_rate=16E", "scrub_rate=50%",
    "nonsense=1", "size=1", "discard=node1", "reserve", "=1", "=", "../node0/reserve=1", "Reserve=1",
])
def test_set_refuses(make, wrong):
    """Before anything is written, also of what is right."""
    tree = make(MACHINES["2"]())
    before = files_of(tree)
    done = on(tree, "set", "1", "policy=first-fit", wrong, status=USAGE)
    assert done.err.startswith("gmfs-numa: ") and not done.out
    assert files_of(tree) == before


@pytest.mark.parametrize("target", ["{outside}", "../../../../../../../../../..{outside}"])
def test_set_stays_in_the_tree(make, tmp_path, target):
    """A link in a tree that was copied from another machine does not lead out of it."""
    tree = make(MACHINES["2"]())
    outside = tmp_path / "outside"
    outside.write_text("5\n")
    attribute = tree.path("sys/fs/guestmemfs/node0/reserve")
    os.remove(attribute)
    os.symlink(target.format(outside=outside), attribute)
    on(tree, "set", "0", "reserve=7", status=FAILED)
    assert outside.read_text() == "5\n"


def test_set_is_all_or_nothing(make):
    """If the last of six writes fails, the others are taken back."""
    tree = make(MACHINES["2"]())
    # As long as what is written, as these files are not cut off.
    for nid in 0, 1:
        tree.put(f"sys/fs/guestmemfs/node{nid}/scrub_rate", "1000\n")
        tree.put(f"sys/fs/guestmemfs/node{nid}/low_watermark", "11\n")
    # It can be read, and not be written, by who has not all of root's capabilities.
    os.chmod(tree.path("sys/fs/guestmemfs/node1/reserve"), 0o444)
    before = files_of(tree)
    limited = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    done = on(tree, "set", "0,1", "scrub_rate=2000", "low_watermark=22", "reserve=1", status=FAILED,
              prefix=[*([] if os.geteuid() else limited), build(sanitize=True)])
    assert "node 1: reserve=1: " in done.err
    tree.put("sys/fs/guestmemfs/node0/reserve", "0\n")
    assert files_of(tree) == before
    on(tree, "set", "0,1", "scrub_rate=2000", "low_watermark=22")
    assert tree.node(1, "scrub_rate") == "2000" and tree.node(0, "low_watermark") == "22"


def test_set_needs_more(make):
    tree = make(MACHINES["2"]())
    for args in ([], ["1"], ["reserve=1"], ["reserve=1", "1"]):
        on(tree, "set", *args, status=USAGE)


def test_freeze_and_thaw(make):
    tree = make(MACHINES["4"]())
    on(tree, "freeze")
    assert [tree.node(n, "frozen") for n in (0, 5, 9)] == ["1", "1", "1"]
    on(tree, "thaw", "5")
    assert [tree.node(n, "frozen") for n in (0, 5, 9)] == ["1", "0", "1"]
    tree.link("sys/fs/guestmemfs/node0/frozen", "/proc/version")
    # The others are done all the same.
    assert "node 0" in on(tree, "thaw", status=FAILED).err
    assert tree.node(9, "frozen") == "0"


def test_discard(make):
    tree = make(MACHINES["4"](), mounts=[(0, "/mnt/vms"), (0, "/mnt/again")])
    assert on(tree, "discard", status=USAGE).err
    # Nobody can be asked.
    assert "--yes" in on(tree, "discard", "9", status=USAGE).err
    assert tree.node(9, "discard") == ""
    assert "/mnt/vms, /mnt/again" in on(tree, "discard", "--yes", "5,0,9", status=FAILED).err
    assert tree.node(9, "discard") == tree.node(5, "discard") == ""
    on(tree, "discard", "--yes", "9", "node5")
    assert (tree.node(5, "discard"), tree.node(9, "discard")) == ("node5", "node9")


@pytest.mark.parametrize("answer,done", [("y\n", True), ("Y\n", True), ("n\n", False), ("\n", False),
                                         ("", False)])
def test_discard_asks(make, answer, done):
    """On a terminal; no is what is meant if nothing is said."""
    tree = make(MACHINES["4"]())
    master, slave = os.openpty()
    os.write(master, answer.encode() or b"\x04")
    asked = on(tree, "discard", "9", stdin=slave, status=OK if done else FAILED)
    os.close(master)
    os.close(slave)
    assert "node 9: " in asked.err and "failed" in asked.err
    assert tree.node(9, "discard") == ("node9" if done else "")


def test_check(make):
    nodes = MACHINES["2"]()
    assert all(r["good"] for r in on(make(nodes), "check", "--json").json()["checks"])
    nodes[1].check = "block 7 is used twice"
    tree = make(nodes)
    rows = on(tree, "check", "--json", status=DIFFERS).json()["checks"]
    assert rows == [{"node": 0, "good": True, "result": "ok"},
                    {"node": 1, "good": False, "result": "block 7 is used twice"}]
    assert "block 7" in on(tree, "check", "1", status=DIFFERS).out
    on(tree, "check", "0")
    tree.link("sys/fs/guestmemfs/node0/check", "/proc/self/mem")
    on(tree, "check", status=FAILED)


# --- ls with names that make trouble; more of it is in test_tool.py ---

NAMES = ("plain", "with blank", 'a"quote', "back\\slash", "new\nline", "tab\tstop", "ümlaut", "\x01",
         "esc\x1b[31m", "{}", "%s%n", "-n", "a" * 200)


def test_file_names(make, tmp_path, shim):
    """In JSON each is what it is, and a table has one line for each."""
    where = tmp_path / "node1"
    (where / "deep" / "er").mkdir(parents=True)
    for name in NAMES:
        (where / name).write_bytes(b"x")
    (where / "deep" / "er" / "file").write_bytes(b"")
    os.symlink("plain", where / "link")
    tree = make(MACHINES["2"]())
    env = on_node(tree, where, 1)
    files = shimmed(shim, tree, "ls", "--json", "1", env=env).json()["files"]
    assert {f["file"] for f in files} == {str(where / n) for n in (*NAMES, "deep/er/file")}
    out = shimmed(shim, tree, "ls", "-n", "-o", "file", "1", env=env).out
    assert len(out.splitlines()) == len(files) and "\033" not in out
    raw = shimmed(shim, tree, "files", "-rn", "-o", "node,file,size", "1", env=env).rows()
    assert len(raw) == len(files) and all(len(r) == 3 for r in raw)


# --- metrics ---

def small_disk():
    """For a process in which no file gets larger than 20 bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", ["openmetrics", "prometheus"])
def test_metrics(make, tmp_path, machine, kind):
    nodes = [n for n in MACHINES[machine]() if n.pool]
    tree = make(MACHINES[machine]())
    if kind == "openmetrics":
        text = on(tree, "metrics").out
    else:
        file = tmp_path / "guestmemfs.prom"
        file.write_text("what was there\n")
        assert not on(tree, "metrics", "--file", str(file)).out
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert [p for p in os.listdir(tmp_path) if "prom" in p] == [file.name]
        text = file.read_text()
    families = parse_metrics(text, prometheus=kind == "prometheus")
    for name, (_, samples) in families.items():
        assert {dict(labels)["node"] for _, labels in samples} == {str(n.nid) for n in nodes}, name

    def value(name, nid, **labels):
        key = (name, tuple(sorted({"node": str(nid), **labels}.items())))
        return next(s[key] for _, s in families.values() if key in s)
    for node in nodes:
        files = node.sysfs()
        assert value("guestmemfs_pool_size_bytes", node.nid) == node.pool
        assert value("guestmemfs_pool_free_bytes", node.nid) == int(files["free_blocks"]) * BLOCK
        assert value("guestmemfs_alloc_failures_total", node.nid) == int(files["alloc_failures"])
        assert value("guestmemfs_faults_total", node.nid, leaf="1g") == int(files["faults_pud"])
        assert value("guestmemfs_pool_free_1g_bytes", node.nid) == int(files["free_1g"]) * GIB
        states = {s: value("guestmemfs_state", node.nid, state=s)
                  for s in ("active", "frozen", "read-only", "failed", "unknown")}
        assert states.pop(node.state) == 1 and not any(states.values())


def test_metrics_of_an_unknown_state(make):
    """A newer kernel may have more of them: none of the others is a lie."""
    out = on(make([Node(0, state="draining")]), "metrics").out
    assert 'guestmemfs_state{node="0",state="unknown"} 1\n' in out and out.count("} 1\n") == 1


# What promtool takes amiss: other units than those that Prometheus has for base.
NO_BASE_UNITS = re.compile(r"_((kilo|mega|giga|kibi|mebi|gibi|tebi)(bytes?|bits?)|"
                           r"(milli|micro|nano)?seconds?_total|minutes?|hours?|[kmgt]?b|ms|us|ns|sec)(_|$)|"
                           r"(gibi|mebi)bytes")


def test_metrics_have_base_units(make, tmp_path):
    file = tmp_path / "guestmemfs.prom"
    on(make(MACHINES["4"]()), "metrics", "--file", str(file))
    text = file.read_text()
    for name, (kind, _) in parse_metrics(text, prometheus=True).items():
        assert not NO_BASE_UNITS.search(name), name
        assert (kind == "counter") == name.endswith("_total"), name
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], check=False, input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0 and not done.stdout, done.stdout
        quiet("promtool", "check", "rules", os.path.join(SOURCE, "examples", "guestmemfs.rules.yml"))


def test_alerts():
    """There is one for each way in which nobody would notice otherwise."""
    with open(os.path.join(SOURCE, "examples", "guestmemfs.rules.yml"), encoding="utf-8") as f:
        rules = yaml.safe_load(f)["groups"][0]["rules"]
    wanted = dict.fromkeys(('state="failed"', 'state="read-only"', 'state="frozen"',
                            'state="unknown"', "pool_poisoned_bytes > 0", "alloc_failures_total",
                            "pool_free_bytes /", "node_textfile_mtime_seconds", "unless"), 0)
    for rule in rules:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule), rule
        # A gauge that is high at the first sample does not increase.
        assert "increase(" not in rule["expr"] or "_total" in rule["expr"], rule
        for part in wanted:
            wanted[part] += part in rule["expr"]
    assert all(wanted.values()), wanted


def test_metrics_are_those_of_the_examples(make):
    """Alerts and dashboard name nothing that is not there."""
    families = parse_metrics(on(make(MACHINES["4"]()), "metrics").out)
    names = {name for _, samples in families.values() for name, _ in samples}
    labels = {label for _, samples in families.values() for _, pairs in samples for label, _ in pairs}
    examples = glob.glob(os.path.join(SOURCE, "examples", "guestmemfs*"))
    assert len(examples) >= 2
    for example in examples:
        with open(example, encoding="utf-8") as f:
            text = f.read()
        used = set(re.findall(r"guestmemfs_\w+", text))
        assert used and used <= names, f"{example}: {used - names}"
        if example.endswith(".json"):
            dashboard = json.loads(text)
            expressions = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", ())]
            assert expressions
            by = {l for p in dashboard["panels"] for t in p.get("targets", ())
                  for l in re.findall(r"\{\{(\w+)\}\}", t.get("legendFormat", ""))}
            assert by <= labels | {"instance"}, by - labels


def test_metrics_file_fails(make, tmp_path):
    tree = make(MACHINES["1"]())
    on(tree, "metrics", "--file", str(tmp_path / "no" / "file"), status=FAILED)
    directory = tmp_path / "directory"
    directory.mkdir()
    on(tree, "metrics", "--file", str(directory), status=FAILED)
    assert sorted(os.listdir(tmp_path)) == ["directory", "tree0"]
    file = tmp_path / "file"
    file.write_text("what was there\n")
    on(make(MACHINES["16"]()), "metrics", "--file", str(file), status=FAILED,
       preexec_fn=small_disk)
    assert file.read_text() == "what was there\n"
    assert sorted(os.listdir(tmp_path)) == ["directory", "file", "tree0", "tree1"]
    on(tree, "metrics", "more", status=USAGE)


@pytest.mark.parametrize("args,start", [(["metrics", "--file"], "# HELP"), (["map", "--svg"], "<svg")])
def test_output_is_no_file(make, tmp_path, args, start):
    """A device stays one, and a link is not followed to a file that is behind it."""
    tree = make(MACHINES["1"]())
    fifo, victim = tmp_path / "fifo", tmp_path / "victim"
    os.mkfifo(fifo)
    victim.write_text("what was there\n")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    (tmp_path / "device").symlink_to("/dev/fd/1")
    with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE, text=True) as reader:
        on(tree, *args, str(fifo))
        assert reader.stdout.read().startswith(start)
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    assert on(tree, *args, "/dev/stdout").out.startswith(start)
    # Who owns the directory does not have root write to a disk.
    for name in "link", "dangling", "device":
        assert "is a symbolic link" in on(tree, *args, str(tmp_path / name), status=FAILED).err
    # What cannot be written leaves what there was.
    on(tree, *args, str(victim), status=FAILED, preexec_fn=small_disk)
    assert victim.read_text() == "what was there\n"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "device", "fifo", "link", "tree0", "victim"]


def test_parser_of_metrics_says_no():
    good = "# HELP a_x b\n# TYPE a_x gauge\na_x{n=\"1\"} 1\n# EOF\n"
    parse_metrics(good)
    for bad in (good[:-1], good.replace("# EOF\n", ""), good.replace("gauge", "junk"),
                good.replace("a_x{", "a_y{"), good.replace('"1"', "1"), good.replace("} 1", "} one"),
                good.replace("# HELP a_x b\n", ""), good.replace("gauge", "counter"),
                good.replace("a_x{n=\"1\"} 1\n", "a_x{n=\"1\"} 1\n" * 2),
                good.replace("# TYPE a_x gauge\n", ""), good.replace("} 1", "}  1")):
        with pytest.raises((AssertionError, ValueError, KeyError)):
            parse_metrics(bad)


# --- plan ---

def planned(tree, *args, status=OK):
    """({node: pool}, rows) of a plan, which was looked at by itself."""
    done = on(tree, "plan", *args, status=status)
    rows = on(tree, "plan", *args, "--json").json()["plan"]
    line = done.out.splitlines()[-1]
    assert line == "kho=on " + rows[0]["parameter"]
    pools = {}
    for part in rows[0]["parameter"].partition("=")[2].split(","):
        nid, _, size = part.partition(":")
        assert int(nid) not in pools
        pools[int(nid)] = int(size[:-1]) << {"M": 20, "G": 30}[size[-1]]
    assert pools == {r["node"]: r["pool"] for r in rows if r["pool"]}
    for row in rows:
        assert row["pool"] % (128 << 20) == 0 and row["pool"] <= row["largest"]
        assert row["kernel"] == row["memory"] - row["pool"] > 0
        assert row["parameter"] == rows[0]["parameter"]
    return pools, rows


def big(nr=2, memory=64 * GIB):
    return [Node(n, pool=0, cpus=f"{n}", memory=memory) for n in range(nr)]


def test_plan_reserve(make):
    tree = make(big())
    assert planned(tree, "--reserve", "16G")[0] == {0: 16 * GIB, 1: 16 * GIB}
    pools, rows = planned(tree, "--reserve", "80%")
    assert pools == {0: 51 * GIB, 1: 51 * GIB}
    assert all(0 < r["rounding"] < GIB for r in rows)
    # All that is possible, which is less than everything.
    pools, rows = planned(tree, "--reserve", "100%")
    assert all(50 * GIB < p < 64 * GIB for p in pools.values())
    # Each CPU has data on its node, and KHO sets twice as much aside, there and on the largest.
    few, many = (planned(make([Node(0, pool=0, cpus=a, memory=64 * GIB),
                               Node(1, pool=0, cpus=b, memory=65 * GIB)]), "--reserve", "100%")[1]
                 for a, b in (("0", "1"), ("0-127,256-383", "128-255,384-511")))
    assert [f["largest"] - m["largest"] for f, m in zip(few, many)] == [256 << 20, 896 << 20]
    assert planned(tree, "--reserve", "1G", "--nodes", "1")[0] == {1: GIB}
    assert planned(tree, "--reserve", "1G", "--nodes", "node1,0")[0] == {0: GIB, 1: GIB}
    assert planned(tree, "--reserve", "1G", "--nodes", "1,1,1,1")[0] == {1: GIB}
    assert planned(tree, "--reserve", "100%", "--keep", "40G")[0] == {0: 24 * GIB, 1: 24 * GIB}
    # A node that is too small for a gibibyte has a part of one.
    assert planned(make(big(1, 2 * GIB)), "--reserve", "512M")[0] == {0: 512 << 20}
    for args in (["--reserve", "64G"], ["--reserve", "1T"], ["--reserve", "1G", "--keep", "63.5G"]):
        done = on(tree, "plan", *args, status=DIFFERS)
        assert "node 0" in done.err and not done.out, done
    # What there is already is part of the node's memory, and can stay.
    pools, rows = planned(make([Node(0, pool=60 * GIB, memory=4 * GIB)]), "--reserve", "60G")
    assert (pools, rows[0]["memory"]) == ({0: 60 * GIB}, 64 * GIB)


def test_plan_vms(make):
    tree = make(big())
    pools, rows = planned(tree, "--vm", "2x20G")
    assert pools == {0: 20 * GIB, 1: 20 * GIB} and [r["vms"] for r in rows] == ["20G", "20G"]
    assert planned(tree, "--vm", "4G@1", "--vm", "2x8G@1")[0] == {1: 20 * GIB}
    # Those that may not choose come first.
    pools, rows = planned(tree, "--vm", "1x40G", "--vm", "1x50G@0")
    assert pools == {0: 50 * GIB, 1: 40 * GIB}
    # In whole gibibytes.
    assert planned(tree, "--vm", "1x1500M@0")[0] == {0: 2 * GIB}
    assert planned(tree, "--vm", "1x1G", "--nodes", "1")[0] == {1: GIB}
    for args, word in ((["1x64G"], "0 of 1"), (["3x40G"], "2 of 3"), (["100000x1G"], "of 100000")):
        done = on(tree, "plan", "--vm", *args, status=DIFFERS)
        assert word in done.err and not done.out, done
    on(tree, "plan", "--vm", "1x20G", "--keep", "50G", status=DIFFERS)
    assert planned(tree, "--vm", "1x10G", "--keep", "50G")[0]
    # Machines of different sizes where each fits only in one way.
    nodes = [Node(0, pool=0, memory=24 * GIB), Node(1, pool=0, memory=12 * GIB)]
    pools, rows = planned(make(nodes), "--vm", "2x8G", "--vm", "1x10G")
    assert sum(pools.values()) == 26 * GIB


def test_plan_prefers_cpus(make):
    """Also to larger nodes; and memory that is movable is for no pool."""
    nodes = [Node(n, pool=0, cpus=f"{n}" if n < 2 else "", memory=(128 + 256 * (n > 1)) * GIB)
             for n in range(4)]
    tree = make(nodes)
    pools, _ = planned(tree, "--vm", "2x64G")
    assert pools == {0: 64 * GIB, 1: 64 * GIB}
    assert planned(tree, "--vm", "4x64G")[0].keys() == {0, 1, 2, 3}
    tree.put("sys/devices/system/node/has_normal_memory", "0-1\n")
    pools, rows = planned(tree, "--reserve", "50%")
    assert pools.keys() == {0, 1} and [r["largest"] for r in rows][2:] == [0, 0]
    assert "node 2: its memory is movable" in on(tree, "plan", "--reserve", "50%").err
    on(tree, "plan", "--vm", "4x64G", status=DIFFERS)


@pytest.mark.parametrize("args", [
    ["--vm", "1x18446744073709551615"], ["--vm", "1x15.9999999999E"],
    [], ["--reserve", "1G", "--vm", "1x1G"], ["--reserve", ""], ["--reserve", "0"],
    ["--reserve", "0%"], ["--reserve", "101%"], ["--reserve", "-1G"], ["--reserve", "x%"],
    ["--vm", "0x1G"], ["--vm", "x1G"], ["--vm", "1x"], ["--vm", "1x0"], ["--vm", "1x1G@"],
    ["--vm", "1x1G@x"], ["--vm", "1x1G@9999"], ["--vm", "1x1G@7"], ["--vm", "-1x1G"],
    ["--vm", "9999999999999999999999x1G"], ["--vm", "1G@-1"], ["--vm", ""], ["--vm", "1x2x3G"],
    ["--reserve", "1G", "--nodes", "7"], ["--reserve", "1G", "--nodes", "x"],
    ["--reserve", "1G", "--nodes", ""], ["--reserve", "1G", "more"],
    ["--reserve", "1G", "--keep", "x"], ["--reserve", "1G", "--grub", "--systemd-boot", "--apply"],
    ["--reserve", "1G", "--json", "--apply"], ["--reserve", "1G", "-o", "nonsense"],
], ids=" ".join)
def test_plan_usage(make, args):
    tree = make(big())
    before = files_of(tree)
    done = on(tree, "plan", *args, status=USAGE)
    assert done.err and not done.out
    assert files_of(tree) == before


def test_plan_memory_less(make):
    """A node without memory gets no pool, and one of the size of a pool's least not either."""
    nodes = [Node(0, pool=0, memory=8 * GIB), Node(1, pool=0, memory=0, cpus="1"),
             Node(2, pool=0, memory=128 << 20)]
    tree = make(nodes)
    pools, rows = planned(tree, "--reserve", "50%")
    assert list(pools) == [0] and [r["node"] for r in rows] == [0, 2]
    assert [r["largest"] for r in rows][1] == 0
    on(tree, "plan", "--reserve", "1G", "--nodes", "1", status=USAGE)
    on(tree, "plan", "--reserve", "50%", "--nodes", "2", status=DIFFERS)
    on(make(), "plan", "--reserve", "50%", status=FAILED)


def with_grub(tree):
    """As Debian has it. test_bootloader.py has the others."""
    tree.put("usr/sbin/grub-mkconfig", "for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n")
    tree.put("usr/sbin/update-grub", "")
    tree.put("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n')
    return tree


# --- handover ---

def kernel(path, release="7.3.4-next", magic=b"HdrS", at=0x300):
    """A file that is as much of a bzImage as says which release it is."""
    image = bytearray(0x1000)
    image[0x202:0x206] = magic
    image[0x20e:0x210] = (at - 0x200).to_bytes(2, "little")
    text = f"{release} (root@host) #1 SMP".encode() + b"\0"
    image[at:at + len(text)] = text
    path.write_bytes(image)
    return str(path)


GOOD = {"GUESTMEM_POOL": "y", "GUESTMEMFS_FS": "y", "GUESTMEM_POOL_FORMAT": "1",
        "GUESTMEM_POOL_INCOMPAT": "0x0", "GUESTMEM_POOL_RO_COMPAT": "0x0",
        "KEXEC_HANDOVER": "y", "KEXEC_HANDOVER_ENABLE_DEFAULT": "y"}


def config(without=(), **options):
    text = "# CONFIG_A is not set\n"
    return text + "".join(f"CONFIG_{n}={v}\n" for n, v in {**GOOD, **options}.items()
                          if n not in without)


def judged(tree, *args, status):
    """{check: result}"""
    rows = on(tree, "handover", "--json", *args, status=status).json()["handover"]
    results = {r["check"]: r["result"] for r in rows}
    assert len(results) == len(rows)
    # What is not known is not ready either.
    assert bool({"fail", "unknown"} & set(results.values())) == (status == DIFFERS)
    text = on(tree, "handover", "-rn", "-o", "check,result", *args, status=status)
    assert dict(text.rows()) == results
    return results


def test_handover(make, tmp_path):
    nodes = MACHINES["2"]()
    image = kernel(tmp_path / "bzImage")
    cmdline = ["--command-line", "kho=on"]

    def judge(status, **kwargs):
        tree = make(nodes, **kwargs)
        tree.put("boot/config-7.3.4-next", config())
        return judged(tree, "--kernel", image, *cmdline, status=status)

    results = judge(OK)
    assert {k: v for k, v in results.items() if k in ("kho", "luo", "kernel", "users")} == \
        {"kho": "ok", "luo": "ok", "kernel": "ok", "users": "ok"}
    # Blocks with hardware errors are no reason not to go.
    assert (results["node0"], results["node1"]) == ("ok", "warn")
    assert (results["metadata0"], results["metadata1"]) == ("ok", "ok")
    # One that has been loaded can be any.
    assert judged(make(nodes), status=DIFFERS)["kernel"] == "unknown"
    assert judged(make(nodes, loaded=False), status=DIFFERS)["kernel"] == "fail"
    for line, result in (("kho=off", "fail"), ("kho=0 quiet", "fail"), ("kho=on", "ok"),
                         ("kho=off kho=1", "ok"), ("kho=on kho=n", "fail"), ("quiet", "unknown"),
                         ("nokho=off", "unknown"), ('"kho=on"', "ok"), ("quiet -- kho=on", "unknown"),
                         ("kho=maybe", "unknown"), ("kho=on kho=maybe", "ok")):
        assert judge(OK if result == "ok" else DIFFERS, kho=False, cmdline=line)["kho"] == result
    nodes[0].check = "block 7 is used twice"
    assert judge(DIFFERS)["metadata0"] == "fail"
    nodes = MACHINES["4"]()
    results = judge(OK)
    assert (results["node5"], results["node9"]) == ("warn", "warn")
    tree = make(nodes)
    tree.put("boot/config-7.3.4-next", config())
    os.unlink(tree.path("dev/liveupdate"))
    assert judged(tree, "--kernel", image, *cmdline, status=OK)["luo"] == "warn"


def test_handover_users_elsewhere(make, tmp_path):
    """A guest of a container: its node is mounted in the container's mount namespace alone."""
    image = kernel(tmp_path / "bzImage")
    node = Node(0, cpus="0", files={"mounts": "2\n"})
    tree = make([node])
    tree.put("boot/config-7.3.4-next", config())
    mountinfo = "99 1 0:41 / /vms rw - guestmemfs none rw,node=0\n"
    maps = "7f0000000000-7f0000200000 rw-s 00000000 00:29 1234 /vms/one\n"
    tree.put("proc/777/comm", "guest\n")
    tree.put("proc/777/mountinfo", mountinfo + "98 1 0:41 /sub /sub rw - guestmemfs none rw,node=0\n")
    tree.put("proc/777/maps", maps)
    rows = on(tree, "handover", "--kernel", image, "--json", status=DIFFERS).json()["handover"]
    users = [r for r in rows if r["check"] == "users"]
    assert users[0]["result"] == "fail" and "guest[777]" in users[0]["detail"], users
    # That nobody has a file, only the machine itself can say.
    tree.put("proc/777/maps", "")
    assert judged(tree, "--kernel", image, "--command-line", "kho=on",
                  status=DIFFERS)["users"] == "unknown"
    # The first thread has ended, and others go on.
    tree.put("proc/777/task/777/maps", "")
    tree.put("proc/777/task/778/maps", maps)
    assert judged(tree, "--kernel", image, "--command-line", "kho=on",
                  status=DIFFERS)["users"] == "fail"


@pytest.mark.parametrize("options,without,result", [
    ({}, (), "ok"),
    ({}, ["GUESTMEM_POOL"], "fail"),
    ({"GUESTMEM_POOL": "m"}, (), "fail"),
    ({}, ["GUESTMEMFS_FS"], "fail"),
    ({}, ["GUESTMEM_POOL_FORMAT"], "unknown"),
    ({"GUESTMEM_POOL_FORMAT": "2"}, (), "fail"),
])
def test_handover_format(make, tmp_path, options, without, result):
    """Does the next kernel read what this one writes?"""
    tree = make(MACHINES["1"]())
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config(without, **options))
    results = judged(tree, "--kernel", image, "--command-line", "kho=on",
                     status=OK if result == "ok" else DIFFERS)
    assert results["format"] == result


def test_handover_features(make, tmp_path):
    """What a node uses, the next kernel has to know."""
    node = Node(3, cpus="0", files={"format": "1 compat=0xff ro_compat=0x4 incompat=0x12\n"})
    tree = make([Node(0), node])
    image = kernel(tmp_path / "bzImage")
    for incompat, ro_compat, result in (("0x12", "0x4", "ok"), ("0xff", "0xff", "ok"),
                                        ("0x2", "0x4", "fail"), ("0x12", "0x0", "fail")):
        tree.put("boot/config-7.3.4-next", config(GUESTMEM_POOL_INCOMPAT=incompat,
                                                  GUESTMEM_POOL_RO_COMPAT=ro_compat))
        status = DIFFERS if result == "fail" else OK
        assert judged(tree, "--kernel", image, status=status)["format"] == result
        if result == "fail":
            assert "node 3" in on(tree, "handover", "--kernel", image, status=DIFFERS).out


@pytest.mark.parametrize("line,default,result", [
    ("quiet", "y", "ok"), ("quiet", None, "fail"), ("kho=on", None, "ok"), ("kho=off", "y", "fail"),
    ("kho=on guestmemfs=fresh", "y", "fail"), ("kho=on guestmemfs=0:1G,fresh", "y", "fail"),
    ("kho=on guestmemfs=fresh,0:1G", "y", "fail"), ("kho=on guestmemfs=0:1G", "y", "ok"),
    # All that is given counts, in quotes as well; what is behind "--" is for init.
    ("kho=on guestmemfs=fresh guestmemfs=0:1G", "y", "fail"),
    ("kho=on guestmemfs=0:1G guestmemfs=fresh", "y", "fail"),
    ('kho=on guestmemfs="fresh"', "y", "fail"), ('kho=on "guestmemfs=fresh"', "y", "fail"),
    ('kho=on "guestmemfs=0:1G,fresh" quiet', "y", "fail"), ('"kho=off"', "y", "fail"),
    ('kho="off"', "y", "fail"), ("kho=off -- kho=on", "y", "fail"),
    ("kho=on -- guestmemfs=fresh", "y", "ok"), ('dyndbg="a guestmemfs=fresh b" kho=on', None, "ok"),
    # The kernel takes the second byte of this letter for a blank.
    ("kho=on x=\u00e0guestmemfs=fresh", "y", "fail"),
    ("kho=on kho=disabled", "y", "fail"), ("kho=Disable", "y", "fail"), ("kho=enabled", None, "ok"),
    ("kho=on guestmemfs=refresh", "y", "ok"), ("x " * 1022 + "kho=on", None, "fail"),
])
def test_handover_command_line(make, tmp_path, line, default, result):
    """What the next kernel is told must not throw anything away."""
    image = kernel(tmp_path / "bzImage")
    without = [] if default else ["KEXEC_HANDOVER_ENABLE_DEFAULT"]
    status = DIFFERS if result == "fail" else OK
    # That of this kernel, if it has no other.
    for tree, args in ((make(MACHINES["1"]()), ["--command-line", line]),
                       (make(MACHINES["1"](), cmdline=line), [])):
        tree.put("boot/config-7.3.4-next", config(without))
        assert judged(tree, "--kernel", image, *args, status=status)["command-line"] == result


@pytest.mark.parametrize("running, line, result", [
    ("quiet", "memtest=4", "fail"), ("quiet", "memtest", "fail"), ("quiet", "memtest=0", "ok"),
    ("quiet", "memtest=4 memtest=0", "ok"), ("memtest=4", "memtest=4", "fail"),
    ("quiet", "mem=3G", "fail"), ("mem=3G", "mem=3G", "ok"), ("mem=3G", "mem=0xC0000000", "ok"),
    ("mem=3G", "mem=4096m", "ok"), ("mem=3G", "mem=4G mem=2G", "fail"), ("mem=3G", "", "ok"),
    ("quiet", "mem=nopentium", "ok"), ("quiet", "memory=3G", "ok"), ("quiet", "-- mem=3G", "ok"),
    ("quiet", "memmap=64M$0x50000000", "unknown"), ("quiet", "memmap=exactmap", "unknown"),
    ("memmap=64M$0x50000000", "memmap=64M$0x50000000", "ok"),
    ("memmap=64M$0x50000000", "", "ok"),
])
def test_handover_memory_of_the_next_kernel(make, tmp_path, running, line, result):
    """The next kernel has all the memory that this one has, and does not write to it."""
    tree = make(MACHINES["1"](), cmdline=f"kho=on {running}")
    tree.put("boot/config-7.3.4-next", config())
    results = judged(tree, "--kernel", kernel(tmp_path / "bzImage"), "--command-line",
                     f"kho=on {line}", status=OK if result == "ok" else DIFFERS)
    assert results["command-line"] == result


@pytest.mark.parametrize("builtin, line, result", [
    ('CONFIG_CMDLINE=""', "kho=on", "ok"),
    ('CONFIG_CMDLINE="quiet guestmemfs=fresh"', "kho=on", "fail"),
    ('CONFIG_CMDLINE="guestmemfs=\\"fresh\\" ro"', "kho=on", "fail"),
    ('CONFIG_CMDLINE="kho=on"', "ro", "ok"),
    ('CONFIG_CMDLINE="kho=on"', "ro kho=off", "fail"),
    ('CONFIG_CMDLINE="kho=off"\nCONFIG_CMDLINE_OVERRIDE=y', "kho=on", "fail"),
    ('CONFIG_CMDLINE="kho=on"\nCONFIG_CMDLINE_OVERRIDE=y', "guestmemfs=fresh", "ok"),
    ("CONFIG_CMDLINE_FROM_BOOTCONFIG=y", "kho=on", "unknown"),
])
def test_handover_builtin_command_line(make, tmp_path, builtin, line, result):
    """The next kernel can have a command line of its own, before the one it is given."""
    tree = make(MACHINES["1"]())
    tree.put("boot/config-7.3.4-next", config(["KEXEC_HANDOVER_ENABLE_DEFAULT"]) + builtin + "\n")
    assert judged(tree, "--kernel", kernel(tmp_path / "bzImage"), "--command-line", line,
                  status=OK if result == "ok" else DIFFERS)["command-line"] == result


def test_handover_kernel(make, tmp_path):
    tree = make(MACHINES["1"]())
    image = kernel(tmp_path / "bzImage")
    # Its configuration is not to be found, or where it is named.
    assert judged(tree, "--kernel", image, "--command-line", "kho=on",
                  status=DIFFERS)["format"] == "unknown"
    here = tmp_path / "config"
    here.write_text(config())
    assert judged(tree, "--kernel", image, "--config", str(here), status=OK)["format"] == "ok"
    tree.put("lib/modules/7.3.4-next/config", config(["GUESTMEMFS_FS"]))
    assert judged(tree, "--kernel", image, status=DIFFERS)["format"] == "fail"
    on(tree, "handover", "--kernel", str(tmp_path / "none"), status=FAILED)
    on(tree, "handover", "--kernel", image, "--config", str(tmp_path / "none"), status=FAILED)
    for odd in (kernel(tmp_path / "a", magic=b"XXXX"), kernel(tmp_path / "b", release="../../x"),
                kernel(tmp_path / "c", release="x" * 300), kernel(tmp_path / "d", at=0xffc)):
        on(tree, "handover", "--kernel", odd, status=None)
    for size in (0, 10, 0x202, 0x210, 0x300, 0x301):
        with open(image, "r+b") as f:
            f.truncate(max(size, 0))
        done = on(tree, "handover", "--kernel", image, status=None)
        assert done.status in (OK, DIFFERS), done
        kernel(tmp_path / "bzImage")


def test_handover_exec(make, tmp_path):
    """What would be run; nothing of it if something would be lost."""
    tree = make(MACHINES["1"]())
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    done = on(tree, "handover", "--exec", image, "--dry-run", "--initrd", "/boot/initrd",
              "--command-line", "root=/dev/x kho=on")
    assert re.search(rf"^would run: kexec -s -l {re.escape(image)} .*root=/dev/x kho=on",
                     done.out, re.MULTILINE)
    assert "--initrd=/boot/initrd" in done.out
    done = on(tree, "handover", "--exec", image, "--dry-run", "--command-line", "kho=off",
              status=DIFFERS)
    assert "would run" not in done.out
    done = on(tree, "handover", "--exec", image, "--dry-run", "--command-line", "kho=off", "--force")
    assert "would run" in done.out and "not ready" in done.err


@pytest.mark.parametrize("args", [
    ["--initrd", "x"], ["--dry-run"], ["--force"], ["--config", "x"], ["--command-line", "x"],
    ["--exec", "x", "--kernel", "y"], ["more"], ["--kernel"],
], ids=" ".join)
def test_handover_usage(make, args):
    on(make(MACHINES["1"]()), "handover", *args, status=USAGE)


# --- verify ---

def process(tree, pid, cpus, maps, threads=None, state="S"):
    """maps are lines of numa_maps; "rw-s" and the like before one are what maps says of it.

    A mapping of a file in a pool has "DEVICE:INODE " before it instead. threads: {tid: CPUs}
    of the others.
    """
    of_maps, of_numa = [], []
    for line in maps:
        permissions, device, line = re.match(
            "([r-][w-][x-][sp] )?([0-9a-f]+:[0-9a-f]+:[0-9]+ )?(.*)", line).groups()
        path = re.search("file=(.*?)( |$)", line)
        device, inode = (device or "00:01:9").strip().rsplit(":", 1)
        of_numa.append(line)
        of_maps.append(f"{line.split()[0]}-7fff {permissions or 'rw-p '}00000000 {device} {inode}"
                       f"    {path.group(1) if path else '/x'}")
    for tid, allowed in {pid: cpus, **(threads or {})}.items():
        here = f"proc/{pid}/task/{tid}"
        ended = state if tid == pid else "S"
        tree.put(f"{here}/status", f"Name:\tx\nState:\t{ended} (x)\nCpus_allowed:\tff\n"
                 f"Cpus_allowed_list:\t{allowed}\n")
        for name, lines in ("numa_maps", of_numa), ("maps", of_maps):
            tree.put(f"{here}/{name}", "" if ended == "Z" else "".join(l + "\n" for l in lines))


ON_ONE = ["7f00 bind:1 anon=3 dirty=3 N1=3 kernelpagesize_kB=4",
          "7f01 default file=/usr/bin/x mapped=5 N0=5 kernelpagesize_kB=4",
          "7f02 bind:1 stack anon=1 dirty=1 N1=1 kernelpagesize_kB=4"]


@pytest.mark.parametrize("cpus,maps,status", [
    ("2", ON_ONE, OK), ("2-3", ON_ONE, OK), ("2,3", ON_ONE, OK), ("1-2", ON_ONE, DIFFERS),
    ("0-3", ON_ONE, DIFFERS), ("0", ON_ONE, DIFFERS),
    # No process is without memory: it could not be seen.
    ("2", [], FAILED),
    # CPUs that are possible, but not there.
    ("2-7", ON_ONE, OK), ("1-7", ON_ONE, DIFFERS), ("2,100-2000", ON_ONE, OK),
    # None that is there.
    ("4-7", ON_ONE, FAILED), ("", ON_ONE, FAILED),
    ("2", [*ON_ONE, "7f05 default anon=9 dirty=9 N0=2 N1=7"], DIFFERS),
    # A private page of a library is the process' own.
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 N0=2"], DIFFERS),
    # What it shares is its own too, if it can write it.
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x dirty=2 N0=2"], DIFFERS),
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x dirty=2 N1=2"], OK),
    ("2", [*ON_ONE, "r--s 7f05 default file=/dev/shm/x dirty=2 N0=2"], OK),
    ("2", [*ON_ONE, "r-xp 7f05 default file=/usr/bin/new dirty=2 N0=2"], OK),
    # Who has written to it, if anybody, is no matter.
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x mapped=2 N0=1 N1=1"], DIFFERS),
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x mapped=2 N1=2"], OK),
    # Which two of seven are its own, these sums do not say.
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 mapped=7 N0=5 N1=2"], FAILED),
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 mapped=7 N1=7"], OK),
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 mapped=7 N0=6 N1=1"], DIFFERS),
])
def test_verify_process(make, cpus, maps, status):
    tree = make(MACHINES["2"]())
    process(tree, 77, cpus, maps)
    done = on(tree, "verify", "77", status=status)
    assert "process 77: " in (done.err if status == FAILED else done.out)
    assert ("unknown" in done.err) == (status == FAILED)


@pytest.mark.parametrize("threads,status,said", [
    ({78: "2", 79: "3"}, OK, "CPUs of 3 threads and memory, all on node 1"),
    # Which of them is looked at first, the directory decides.
    ({78: "2", 79: "0"}, DIFFERS, "CPUs [023-]+ of its thread 7[789] are of node [01], not of node"),
    ({78: "1-2"}, DIFFERS, "CPUs 1-2 of its thread 78 are not of one node"),
    ({78: "4-7"}, FAILED, ""),
])
def test_verify_threads(make, threads, status, said):
    """All of them count, not the first alone."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "2-3", ON_ONE, threads)
    assert re.search(said, on(tree, "verify", "77", status=status).out)


def test_verify_mappings_change(make):
    """What is in one of the two files alone was not looked at; but for the kernel's page."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "2", ON_ONE)
    maps = tree.get("proc/77/task/77/maps")
    tree.put("proc/77/task/77/maps", maps + "7fe0-7fff --xp 00000000 00:00 0  [vsyscall]\n")
    on(tree, "verify", "77")
    for name in "maps", "numa_maps":
        process(tree, 77, "2", ON_ONE)
        text = tree.get(f"proc/77/task/77/{name}").replace("7f01", "7f0a")
        tree.put(f"proc/77/task/77/{name}", text)
        assert "unknown: its mappings change" in on(tree, "verify", "77", status=FAILED).err
        tree.put(f"proc/77/task/77/{name}", "".join(text.splitlines(True)[:2]))
        on(tree, "verify", "77", status=FAILED)


def test_verify_first_thread_ended(make):
    """It shows no memory then, and has no CPUs; the others do."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "0", ON_ONE, {78: "2"}, state="Z")
    assert "memory, all on node 1" in on(tree, "verify", "77").out
    process(tree, 77, "0", [*ON_ONE, "7f05 default anon=2 N0=2"], {78: "2"}, state="Z")
    assert "2 pages are not on node 1" in on(tree, "verify", "77", status=DIFFERS).out
    process(tree, 79, "2", ON_ONE, state="Z")
    assert "unknown: it has ended" in on(tree, "verify", "79", status=FAILED).err


@pytest.mark.parametrize("where", ["self", "77", "5"])
def test_verify_pool_files(make, where):
    """A guest's memory has no pages in numa_maps: its node is that of the mount."""
    tree = make(MACHINES["2"]())
    mounts = "".join(f"{40 + n} 29 0:{40 + n} / /run/guestmemfs/node{n} rw - guestmemfs none "
                     f"rw,node={n}\n" for n in range(2))
    # Also in another mount namespace than ours.
    tree.put(f"proc/{where}/mountinfo", mounts)
    guest = "rw-s 00:28:7 7f3c00000000 bind:0 file=/run/guestmemfs/node0/vm1"
    process(tree, 77, "2", [*ON_ONE, guest])
    done = on(tree, "verify", "77", status=DIFFERS)
    assert done.out == ("process 77: it has memory of node 0, not of node 1: "
                        "/run/guestmemfs/node0/vm1\n")
    process(tree, 77, "2", [*ON_ONE, guest.replace("00:28", "00:29").replace("node0", "node1")])
    on(tree, "verify", "77")
    # A mount of which no namespace shows the device can have anything.
    process(tree, 77, "2", ON_ONE)
    tree.put("sys/fs/guestmemfs/node1/mounts", "5\n")
    on(tree, "verify", "77")
    tree.put(f"proc/{where}/mountinfo", mounts.splitlines()[0] + "\n")
    assert "unknown: nodes have mounts that are not seen" in \
        on(tree, "verify", "77", status=FAILED).err
    # What a tenant calls a file does not reach the terminal as it is.
    process(tree, 77, "2", [*ON_ONE, guest.replace("vm1", "\x1b[2J\u009b1m")])
    assert on(tree, "verify", "77", status=DIFFERS).out.endswith("/\\x1b[2J\\xc2\\x9b1m\n")


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """Has directories pass for nodes, see shim.c."""
    library = str(tmp_path_factory.mktemp("shim") / "shim.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library,
                    os.path.join(TOP, "tests", "numa", "shim.c")], check=True)
    return library


def shim_options(shim, tree):
    """Environment of the tool on a tree that takes the place of this machine's files."""
    options = f"{SANITIZER_OPTIONS['ASAN_OPTIONS']}:verify_asan_link_order=0:detect_leaks=0"
    return {"LD_PRELOAD": shim, "SHIM_ROOT": tree.root, "ASAN_OPTIONS": options}


def shimmed(shim, tree, *args, env=None, **kwargs):
    return call(args, env={**shim_options(shim, tree), **(env or {})}, **kwargs)


def on_node(tree, path, nid):
    """The file system of a path passes for that node. Environment for the shim."""
    device = os.stat(path).st_dev
    tree.put("proc/self/mountinfo", f"40 29 {os.major(device)}:{os.minor(device)} / {path} rw - "
             f"guestmemfs none rw,node={nid}\n")
    return {"SHIM_DEVICE": str(device)}


def test_users_of_files(make, tmp_path, shim):
    """A process calls itself what it likes, and is no other by that."""
    tree = make([Node(1, cpus="0")])
    file = tmp_path / "vm"
    file.write_text("")
    env = on_node(tree, tmp_path, 1)
    device = os.stat(file).st_dev
    maps = (f"7f00-7fff rw-s 00000000 {os.major(device):02x}:{os.minor(device):02x} "
            f"{os.stat(file).st_ino}    {file}\n")
    commands = {77: b"q),1(systemd", 78: b"qemu\xff\x1b\"", 79: b"kvm"}
    for pid, command in commands.items():
        tree.put(f"proc/{pid}/comm", command + b"\n")
        for maps_of in f"proc/{pid}/maps", f"proc/{pid}/task/{pid}/maps":
            tree.put(maps_of, maps)
    options = f"{SANITIZER_OPTIONS['ASAN_OPTIONS']}:verify_asan_link_order=0:detect_leaks=0"
    env = {**env, "LD_PRELOAD": shim, "ASAN_OPTIONS": options}
    found, = [f for f in on(tree, "ls", "--json", f"{tmp_path}/vm", env=env).json()["files"]]
    assert {u["pid"]: u["command"] for u in found["users"]} == \
        {77: "q),1(systemd", 78: "qemu\\xff\x1b\"", 79: "kvm"}
    (users,), = on(tree, "ls", "-rn", "-o", "users", f"{tmp_path}/vm", env=env).rows()
    assert {"77(q??1?systemd)", "79(kvm)"} < set(users.split(","))


def srat(*entries, revision=3):
    """The firmware's table: ("cpu"|"x2apic"|"gicc"|"rintc"|"generic", domain[, enabled]) or
    ("memory", domain, base, size)."""
    table = b""
    for kind, domain, *rest in entries:
        enabled = rest[0] if rest and kind != "memory" else 1
        if kind == "memory":
            table += struct.pack("<BBIHQQIIQ", 1, 40, domain, 0, *rest, 0, 1, 0)
        elif kind == "cpu":
            table += struct.pack("<BBBBIB3sI", 0, 16, domain & 0xff, 0, enabled, 0,
                                 (domain >> 8).to_bytes(3, "little"), 0)
        elif kind == "gicc":
            table += struct.pack("<BBIIII", 3, 18, domain, 0, enabled, 0)
        elif kind == "rintc":
            table += struct.pack("<BBHIIII", 7, 20, 0, domain, 0, enabled, 0)
        elif kind == "x2apic":
            table += struct.pack("<BBHIIIII", 2, 24, 0, domain, 0, enabled, 0, 0)
        else:
            table += struct.pack("<BBBBI16sII", 5, 32, 0, 0, domain, b"", enabled, 0)
    return struct.pack("<4sIBB6s8sI4sI12s", b"SRAT", 48 + len(table), revision, 0, b"", b"", 0,
                       b"", 0, b"") + table


G = GIB
PLAIN = (("cpu", 0), ("cpu", 1), ("memory", 0, 0, 4 * G), ("memory", 1, 4 * G, 8 * G))
BY_FIRMWARE, BY_POOL = "all on node 1 as the firmware has it", "firmware says nothing of"


@pytest.mark.parametrize("table,status,said", [
    (srat(*PLAIN), OK, BY_FIRMWARE),
    # The piece is in two ranges that touch, in any order.
    (srat(*PLAIN[:3], ("memory", 1, 4 * G, 2 * G), ("memory", 1, 6 * G, 6 * G)), OK, BY_FIRMWARE),
    (srat(*PLAIN[:3], ("memory", 1, 6 * G, 6 * G), ("memory", 1, 4 * G, 2 * G)), OK, BY_FIRMWARE),
    (srat(*PLAIN[:3], ("memory", 1, 4 * G, 1 * G), ("memory", 0, 5 * G, 1 * G),
          ("memory", 1, 6 * G, 6 * G)), DIFFERS, "not on node 1 as the firmware has it"),
    (srat(("cpu", 0), ("cpu", 1), ("memory", 1, 0, 4 * G), ("memory", 0, 4 * G, 8 * G)), DIFFERS,
     "not on node 1 as the firmware has it"),
    # In the first revision there is nothing above 8 bits of a domain.
    (srat(("cpu", 0), ("cpu", 1 | 0xabcd << 8), ("memory", 0xffffff00, 0, 4 * G),
          ("memory", 0x12345601, 4 * G, 8 * G), revision=1), OK, BY_FIRMWARE),
    (srat(("cpu", 0), ("cpu", 0x101), ("memory", 0, 0, 4 * G), ("memory", 0x101, 4 * G, 8 * G)), OK,
     BY_FIRMWARE),
    # At an initiator that is not enabled Linux leaves off: domain 7 is none of 0 and 1.
    (srat(("cpu", 0), ("generic", 9, 0), ("cpu", 7), *PLAIN[2:]), OK, BY_FIRMWARE),
    (srat(("cpu", 0), ("generic", 7, 1), *PLAIN[2:]), DIFFERS, "not on node 1"),
    (srat(("x2apic", 0), ("x2apic", 7, 0), ("x2apic", 1), *PLAIN[2:]), OK, BY_FIRMWARE),
    # Of arm64 and RISC-V, as a copied table can be: domain 7 is node 1, and 1 is node 2.
    (srat(("gicc", 0), ("gicc", 7), *PLAIN[2:]), DIFFERS, "not on node 1"),
    (srat(("gicc", 0), ("gicc", 7, 0), ("gicc", 1), *PLAIN[2:]), OK, BY_FIRMWARE),
    (srat(("rintc", 0), ("rintc", 7), *PLAIN[2:]), DIFFERS, "not on node 1"),
    # A node that is none of the firmware's domains, as of CXL windows; memory in no range.
    (srat(*PLAIN[:1], PLAIN[2]), OK, BY_POOL + " node 1"),
    (srat(*PLAIN[:3]), OK, BY_POOL + " node 1"),
    (srat(*PLAIN[:3], ("memory", 1, 4 * G, 3 * G)), OK, BY_POOL + " 4G of it"),
    (srat(("cpu", 0), ("memory", 0, 0, 64 * G)), DIFFERS, "not on node 1 as the firmware has it"),
    # There is no table; there is one that cannot be read.
    (None, OK, BY_POOL + " node 1"),
    (b"", FAILED, "unknown: where the firmware has it"),
    (srat(*PLAIN)[:40], FAILED, "unknown: where the firmware has it"),
    (b"JUNK" * 100, FAILED, "unknown: where the firmware has it"),
])
def test_verify_firmware(make, tmp_path, shim, table, status, said):
    tree = make([Node(0, cpus="0-1", base=1 * G), Node(1, cpus="2-3", pool=6 * G, base=5 * G)])
    if table is not None:
        tree.put("sys/firmware/acpi/tables/SRAT", table)
    file = tmp_path / "vm"
    file.write_text("")
    env = {**on_node(tree, tmp_path, 1), "SHIM_PIECES": f"0:{5 * G:x}:{4 * G:x}"}
    assert said in shimmed(shim, tree, "verify", str(file), env=env, status=status).out


def test_verify_made_up_nodes(make, tmp_path, shim):
    """With numa=fake they are no domains of the firmware."""
    file = tmp_path / "vm"
    file.write_text("")
    for line, status in (("quiet numa=fake=4", OK), ("numa=off", OK), ("numa=noacpi", OK),
                         ("quiet", DIFFERS), ("quiet -- numa=fake=4", DIFFERS)):
        tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3", pool=2 * G, base=2 * G)], cmdline=line)
        tree.put("sys/firmware/acpi/tables/SRAT", srat(*PLAIN))
        env = {**on_node(tree, tmp_path, 1), "SHIM_PIECES": f"0:{2 * G:x}:{BLOCK:x}"}
        done = shimmed(shim, tree, "verify", str(file), env=env, status=status)
        assert (BY_POOL in done.out) == (status == OK), done


def test_verify_files(make, tmp_path, shim):
    """What is no file is not opened; what is nowhere, or not to be seen, is not proven."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3", pool=6 * G, base=5 * G)])
    tree.put("sys/firmware/acpi/tables/SRAT", srat(*PLAIN))
    env = on_node(tree, tmp_path, 1)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "vm\x1b[2J").write_text("")
    for name in "fifo", "tree0":
        done = shimmed(shim, tree, "verify", str(tmp_path / name), env=env, status=FAILED)
        assert "this is no file" in done.err
    done = shimmed(shim, tree, "verify", str(tmp_path / "vm\x1b[2J"), env=env)
    assert done.out.endswith("/vm\\x1b[2J: it has no memory yet\n")
    # As run hands it over.
    with open(tmp_path / "vm\x1b[2J", encoding="ascii") as file:
        path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        done = shimmed(shim, tree, "verify", path, env=env)
        assert done.out == f"{path}: it has no memory yet\n"
    env["SHIM_PIECES"] = f"0:{4 * G:x}:{BLOCK:x}"
    done = shimmed(shim, tree, "verify", str(tmp_path / "vm\x1b[2J"), env=env, status=DIFFERS)
    assert "nor in its pool" in done.out
    tree.put("sys/fs/guestmemfs/node1/extents", "")
    done = shimmed(shim, tree, "verify", str(tmp_path / "vm\x1b[2J"), env=env, status=FAILED)
    assert "unknown: only root" in done.err


def test_verify_usage(make):
    tree = make(MACHINES["2"]())
    on(tree, "verify", status=USAGE)
    on(tree, "verify", "78", status=FAILED)
    assert "not on guestmemfs" in on(tree, "verify", "/etc/passwd", status=FAILED).err
    assert "No such file" in on(tree, "verify", "/nonexistent", status=FAILED).err
    process(tree, 77, "2", ON_ONE)
    # One that is good does not hide one that is not.
    on(tree, "verify", "78", "77", status=FAILED)
    on(tree, "verify", "99999999999999", status=FAILED)


# --- command line and documentation ---

def options_of(command):
    return set(re.findall(r"^ +(?:-., |    )(--[a-z][a-z-]*)", help_of(command), re.MULTILINE))


def section(page, title):
    """Source of a section of a page, "" if there is none."""
    return manual_page(page).partition(f"\n.SH {title}\n")[2].partition("\n.SH ")[0]


def tagged(page):
    """Options that have an entry in a page's OPTIONS."""
    entries = re.findall(r"^\.TP\n(.*)$", section(page, "OPTIONS"), re.MULTILINE)
    return {o for entry in entries for o in re.findall(r"(?<![\w-])--[a-z][a-z-]*", plain(entry))}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_manual(command):
    """They name the same commands and options."""
    text = call(["--help"]).out
    assert command == "files" or re.search(rf"^  {command} ", text, re.MULTILINE)
    page = f"gmfs-numa-{command}.8"
    assert page in MANUAL_PAGES
    options = options_of(command)
    assert options == tagged(page), \
        f"only in --help: {options - tagged(page)}; only in {page}: {tagged(page) - options}"
    for title in "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO":
        assert section(page, title), f"{page} has no {title}"
    for title in "COMMANDS", "SEE ALSO":
        assert re.search(rf"\b{command}\b", plain(section("gmfs-numa.8", title))) or command == "files"
    help_text = help_of(command)
    assert help_text.startswith(f"Usage: gmfs-numa {command} ")
    assert all(len(l) <= 100 for l in help_text.splitlines())
    assert call([command, "--usage"]).out
    assert call([command, "--nonsense"], status=USAGE).err
    assert call([command, "-Z"], status=USAGE).err
    # Each option that wants something says so, short and long.
    for short, name in re.findall(r"^  -(.), (--[a-z-]+)=[A-Z]", help_text, re.MULTILINE):
        call([command, name], status=USAGE)
        call([command, f"-{short}"], status=USAGE)


def test_command_line(make, tmp_path):
    tree = make(MACHINES["2"]())
    assert call(["--version"]).out == call(["-V"]).out
    for command in COMMANDS:
        assert call([command, "--version"]).out == call([command, "-V"]).out == call(["-V"]).out
    assert call(["--help"]).out == call(["-h"]).out == call(["help"]).out
    for command in "status", "run", "files":
        assert help_of(command) == call([command, "-h"]).out == call(["help", command]).out
    assert "'nonsense'" in call(["help", "nonsense"], status=USAGE).err
    with open(os.path.join(SOURCE, "debian", "changelog"), encoding="utf-8") as f:
        version = re.match(r"gmfs-numa \((.*)\)", f.readline()).group(1)
    assert call(["--version"]).out == f"gmfs-numa {version}\n"
    assert "'nonsense'" in call(["nonsense"], status=USAGE).err
    call([""], status=USAGE)
    call(["--sysroot"], status=USAGE)
    call(["--nonsense"], status=USAGE)
    call(["--sysroot", str(tmp_path / "none"), "status"], status=NO_POOL)
    # Options of status without its name, also behind arguments.
    assert on(tree, "-rn", "-o", "node").out == on(tree, "status", "-rn", "-o", "node").out
    assert on(tree, "status", "1", "-rn", "-o", "node").out == "1\n"
    for status in (OK, DIFFERS, FAILED, USAGE, NO_POOL):
        assert re.search(rf"^{status}$", plain(section("gmfs-numa.8", "EXIT STATUS")), re.MULTILINE)


@pytest.mark.parametrize("args", [
    ["status"], ["status", "--json"], ["map"], ["map", "--json"], ["ls", "--json"], ["get"],
    ["check"], ["metrics"], ["handover"], ["plan", "--reserve", "1G"], ["--help"], ["--version"],
    ["map", "--help"], ["map", "--svg", "/dev/full"], ["verify", "77"],
], ids=" ".join)
def test_disk_full(make, args):
    """What could not be written is an error."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "2", ON_ONE)
    with open("/dev/full", "wb") as full:
        done = on(tree, *args, stdout=full, status=FAILED)
    assert "cannot write" in done.err or "/dev/full: " in done.err


def test_reader_goes(make):
    """Who reads only the beginning, as head(1), hears no complaint."""
    tree = make(MACHINES["16"]())
    line = f"set -o pipefail; {build(sanitize=True)} --sysroot {tree.root} get | head -n 1"
    done = subprocess.run(["bash", "-c", line], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.stdout.startswith("NODE") and not done.stderr


def test_run_usage(make, tmp_path):
    tree = make(MACHINES["2"]())
    for args in (["--", "true"], ["--size", "x", "--", "true"], ["--size", "0", "--", "true"],
                 ["--size", "2M"], ["--size", "3M", "--node", "1", "--", "true"],
                 ["--size", "2M", "--node", "x", "--", "true"],
                 ["--size", "2M", "--node", "0-1", "--", "true"],
                 ["--size", "2M", "--node", "1", "--near", "0", "--", "true"],
                 ["--size", "2M", "--name", "a/b", "--", "true"],
                 ["--size", "2M", "--name", "..", "--", "true"],
                 ["--size", "2M", "--name", "", "--", "true"],
                 ["--size", "2M", "--near", "nonsense", "--", "true"],
                 ["--size", "2M", "--near", "../x", "--", "true"],
                 ["--size", "2M", "--near", "", "--", "true"]):
        on(tree, "run", *args, status=USAGE)
    assert "no node has 1T free" in on(tree, "run", "--size", "1T", "--", "true", status=FAILED).err
    # It is not mounted here.
    done = on(tree, "run", "--size", "2M", "--node", "1", "--base", str(tmp_path), "--", "true",
              status=FAILED)
    assert "gmfs-numa mount 1" in done.err


def device(tree, path, node=None, classes=()):
    """A device in sysfs, with links to it from the classes it is in."""
    os.makedirs(tree.path(f"sys/devices/{path}"), exist_ok=True)
    if node is not None:
        tree.put(f"sys/devices/{path}/numa_node", f"{node}\n")
    for name in classes:
        where = tree.path(f"sys/{name}")
        os.makedirs(os.path.dirname(where), exist_ok=True)
        os.symlink(tree.path(f"sys/devices/{path}"), where)


def below(tree, path, link, target):
    where = tree.path(f"sys/devices/{path}/{link}")
    os.makedirs(os.path.dirname(where), exist_ok=True)
    os.symlink(tree.path(f"sys/devices/{target}"), where)


def with_devices(tree):
    nic, disk = "pci0000:40/0000:40:01.0/0000:41:00.0", "pci0000:00/0000:00:05.0"
    net = "virtual/net"
    device(tree, "pci0000:40", 1)
    device(tree, nic, 1, ["bus/pci/devices/0000:41:00.0"])
    device(tree, f"{nic}/net/enp65s0", None, ["class/net/enp65s0"])
    device(tree, disk, 0, ["bus/pci/devices/0000:00:05.0"])
    device(tree, f"{disk}/net/other", None, ["class/net/other"])
    device(tree, f"{disk}/nvme/nvme0", -1, ["class/nvme/nvme0"])
    device(tree, f"{disk}/nvme/nvme0/nvme0n1", None, ["class/block/nvme0n1"])
    device(tree, f"{disk}/nvme/nvme0/nvme0n1/nvme0n1p1", None, ["class/block/nvme0n1p1"])
    # Virtio: the device says nothing, what it is plugged into does.
    device(tree, "pci0000:40/0000:40:02.0", -1)
    device(tree, "pci0000:40/0000:40:02.0/virtio3/net/eth0", None, ["class/net/eth0"])
    # Of no node in particular, to the top.
    device(tree, "pci0000:80", None)
    device(tree, "pci0000:80/0000:80:00.0", -1, ["bus/pci/devices/0000:80:00.0"])
    device(tree, f"{net}/lo", None, ["class/net/lo"])
    device(tree, f"{net}/enp65s0.100", None, ["class/net/enp65s0.100"])
    below(tree, f"{net}/enp65s0.100", "lower_enp65s0", f"{nic}/net/enp65s0")
    device(tree, f"{net}/bond0", None, ["class/net/bond0"])
    below(tree, f"{net}/bond0", "lower_enp65s0", f"{nic}/net/enp65s0")
    device(tree, f"{net}/bond0.7", None, ["class/net/bond0.7"])
    below(tree, f"{net}/bond0.7", "lower_bond0", f"{net}/bond0")
    device(tree, f"{net}/tap0", None, ["class/net/tap0"])
    device(tree, f"{net}/vmbr0", None, ["class/net/vmbr0"])
    below(tree, f"{net}/vmbr0", "brif/tap0", f"{net}/tap0")
    below(tree, f"{net}/vmbr0", "brif/bond0.7", f"{net}/bond0.7")
    device(tree, f"{net}/both", None, ["class/net/both"])
    below(tree, f"{net}/both", "lower_enp65s0", f"{nic}/net/enp65s0")
    below(tree, f"{net}/both", "lower_other", f"{disk}/net/other")
    device(tree, f"{net}/ring", None, ["class/net/ring"])
    below(tree, f"{net}/ring", "lower_ring", f"{net}/ring")
    device(tree, "virtual/block/dm-0", None, ["class/block/dm-0"])
    below(tree, "virtual/block/dm-0", "slaves/nvme0n1p1", f"{disk}/nvme/nvme0/nvme0n1/nvme0n1p1")


@pytest.mark.parametrize("near,node", [
    ("0000:41:00.0", 1), ("41:00.0", 1), ("enp65s0", 1), ("enp65s0.100", 1), ("bond0", 1),
    ("bond0.7", 1), ("vmbr0", 1), ("eth0", 1), ("nvme0", 0), ("nvme0n1", 0), ("nvme0n1p1", 0),
    ("/dev/nvme0n1", 0), ("/dev/nvme0n1p1", 0), ("dm-0", 0), ("0-1", 0), ("2", 1), ("3,0", 1),
    ("80:00.0", "is not known"), ("lo", "is not known"), ("tap0", "is not known"),
    ("ring", "is not known"), ("both", "name one of them"),
    ("99", "no such CPU"), ("0,", "neither"), ("-", "neither"), (",", "neither"), ("", "neither"),
    ("0-", "neither"), ("../net/bond0", "neither"), ("/dev/../net/bond0", "neither"),
    ("/sys/class/net/bond0", "neither"), ("41:00.1", "neither"), ("/etc/passwd", "neither"),
])
def test_run_near(make, tmp_path, near, node):
    """What lspci, ip and lsblk print; and not a word from a library."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    with_devices(tree)
    done = on(tree, "run", "--size", "2M", f"--near={near}", "--base", str(tmp_path), "--", "true",
              status=USAGE if node in ("neither", "no such CPU") else FAILED)
    lines = done.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("gmfs-numa: ")
    assert (f"gmfs-numa mount {node}" if isinstance(node, int) else node) in done.err


def test_run_auto(make, tmp_path):
    """Nodes with CPUs come first, then what has most room; of those that can be used."""
    def chosen(*nodes, near=()):
        done = on(make(nodes), "run", "--size", "2M", *near, "--base", str(tmp_path), "--", "true",
                  status=FAILED)
        return int(re.search("gmfs-numa mount ([0-9]+)", done.err).group(1))
    small, large = Node(0, cpus="0-1", pool=4 * GIB), Node(1, pool=8 * GIB)
    assert chosen(small, large) == 0
    assert chosen(small, Node(1, cpus="2", pool=8 * GIB)) == 1
    assert chosen(Node(0, cpus="0", pool=GIB, used=((0, 512),)), large) == 1
    assert chosen(Node(0, cpus="0", state="frozen"), large) == 1
    assert chosen(small, Node(1, cpus="2", pool=8 * GIB), near=("--near", "0")) == 0
    # Less than a gibibyte is room as well.
    assert chosen(Node(0, cpus="0", pool=GIB, used=((0, 400),)),
                  Node(1, cpus="1", pool=GIB, used=((0, 200),))) == 1
    # Read one after the other, they need not fit: no room of 2^64.
    tree = make([Node(0, cpus="0", files={"free_blocks": "0\n", "reserved_blocks": "5\n"})])
    drop = ["setpriv", "--bounding-set", "-sys_resource"] if os.geteuid() == 0 else []
    done = on(tree, "run", "--size", "2M", "--", "true", status=FAILED,
              prefix=[*drop, build(sanitize=True)])
    assert "no node has 2M free" in done.err


@pytest.fixture
def nodes_here(make, tmp_path):
    """(tree, environment for the shim, directory of node 1), which is like a node."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    base = tmp_path / "base"
    (base / "node1").mkdir(parents=True)
    os.chmod(tmp_path, 0o755)
    return tree, on_node(tree, base / "node1", 1), base / "node1"


def run_on(shim, here, *args, **kwargs):
    tree, env, node = here
    return shimmed(shim, tree, "run", "--node", "1", "--size", "2M", "--base", str(node.parent),
                   *args, env={**env, **kwargs.pop("env", {})}, **kwargs)


def test_run_handle(nodes_here, shim):
    """The command gets the file itself, whatever becomes of its name."""
    node = nodes_here[2]
    done = run_on(shim, nodes_here, "--name", "vm", "--", "sh", "-c",
                  f"echo {{}}; readlink {{}}; stat -Lc %s.%a {{}}; cd {node}; ls; mv vm x; ln -s /dev/full vm; "
                  "printf RAM 1<> {}; head -c 3 x")
    handle, path, size, name, data = done.out.splitlines()
    # /proc has its name, and not that it is deleted.
    assert path == str(node / "vm")
    assert re.fullmatch("/proc/self/fd/[0-9]+", handle)
    assert (size, name, data) == (f"{BLOCK}.600", "vm", "RAM")
    # What has its name now is not its file.
    assert "is not the command's file any more" in done.err
    assert sorted(os.listdir(node)) == ["vm", "x"]


def test_run_replaces_once(nodes_here, shim):
    done = run_on(shim, nodes_here, "--name", "a{size}{}", "--", "printf", "%s\n", "{}", "{size}",
                  "{}{size}{", "{{}}", "{si}", "$")
    handle = done.out.splitlines()[0]
    assert done.out.splitlines() == [handle, str(BLOCK), f"{handle}{BLOCK}{{", f"{{{handle}}}",
                                     "{si}", "$"]
    assert "/a{size}{}, 2M" in done.err and not os.listdir(nodes_here[2])
    done = run_on(shim, nodes_here, "--name", "v,m{size}", "--qemu", "--", "echo", "-m", "2M")
    assert done.out == (f"-m 2M -object memory-backend-file,id=guestmemfs,mem-path={handle},"
                        f"size={BLOCK},share=on,align=2M -machine memory-backend=guestmemfs\n")


def test_run_is_bound_or_not_started(nodes_here, shim, tmp_path):
    started = tmp_path / "started"
    done = run_on(shim, nodes_here, "--", "touch", str(started), env={"SHIM_LOG": "1"})
    assert "policy 2, nodes 0x2 of 1025" in done.err and "2 CPUs, first 0xc" in done.err
    started.unlink()
    for what, said in (("SHIM_POLICY", "cannot take memory of node 1"),
                       ("SHIM_AFFINITY", "cannot run on the CPUs of node 1")):
        for err in errno.EPERM, errno.EINVAL:
            done = run_on(shim, nodes_here, "--", "touch", str(started), env={what: str(err)},
                          status=FAILED)
            assert f"{said}: {os.strerror(err)}" in done.err
    assert not started.exists() and not os.listdir(nodes_here[2])


def test_run_state(make, shim, tmp_path):
    """A frozen node would wait, and could not be interrupted."""
    for state in "frozen", "read-only", "failed":
        tree = make([Node(1, cpus="0", state=state)])
        done = on(tree, "run", "--node", "1", "--size", "2M", "--", "true", status=FAILED)
        assert f"node 1 is {state}" in done.err


def test_run_in_the_background(nodes_here, shim):
    """What goes on after the command keeps its memory's name."""
    node = nodes_here[2]
    for opens in ("exec sleep 100 < {}", "exec sleep 100"):
        # The second has it by the descriptor alone that it was given.
        done = run_on(shim, nodes_here, "--name", "vm", "--", "sh", "-c",
                      f"({opens}) > /dev/null 2>&1 & echo $!")
        assert os.listdir(node) == ["vm"]
        assert "vm stays: it is still in use" in done.err
        os.kill(int(done.out), signal.SIGKILL)
        os.unlink(node / "vm")


def test_run_not_started(nodes_here, shim):
    """No command, no file, also with --keep."""
    for command, status in (("/none", 127), ("/etc/passwd", 126)):
        for keep in ["--keep"], []:
            tree, env, node = nodes_here
            done = subprocess.run(
                [build(), "run", "--node", "1", "--size", "2M", "--base", str(node.parent), *keep,
                 "--", command], check=False,
                env={**os.environ, **shim_options(shim, tree), **env}, stderr=subprocess.PIPE)
            assert done.returncode == status and not os.listdir(node)
    run_on(shim, nodes_here, "--keep", "--name", "kept", "--owner", "uuid", "--", "true")
    kept = nodes_here[2] / "kept"
    assert os.getxattr(kept, "user.guestmemfs.owner") == b"uuid"
    assert os.getxattr(kept, "user.guestmemfs.vmm") == b"true"
    # Taken, which is said before there is any work.
    done = run_on(shim, nodes_here, "--name", "kept", "--", "true", status=FAILED)
    assert "kept: File exists" in done.err and kept.stat().st_size == BLOCK
    on(nodes_here[0], "run", "--size", "2M", "--owner", "x" * 201, "--", "true", status=USAGE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_run_user(nodes_here, shim):
    """The command has no privileges, and its file; all of its groups are others."""
    node = nodes_here[2]
    node.chmod(0o700)
    look = ["--", "sh", "-c", "id -u; id -g; id -G; stat -Lc %u:%g {}; : 1<> {} && grep CapEff /proc/self/status"]
    done = run_on(shim, nodes_here, "--user", "65534", "--group", "1234", *look)
    assert done.out.splitlines()[0:2] == ["65534", "1234"]
    assert done.out.splitlines()[3:] == ["65534:1234", "CapEff:\t0000000000000000"]
    assert "0" not in done.out.splitlines()[2].split()
    done = run_on(shim, nodes_here, "--user", "nobody", *look)
    assert done.out.splitlines()[0] == "65534"
    done = run_on(shim, nodes_here, "--user", "4242", "--group", "4243", *look)
    assert done.out.splitlines()[:4] == ["4242", "4243", "4243", "4242:4243"]
    for wrong in (["--user", "no such"], ["--user", "4242"], ["--group", "no such"],
                  ["--user", "-1"], ["--user", "4294967295"], ["--user", ""]):
        run_on(shim, nodes_here, *wrong, *look, status=USAGE)
    assert not os.listdir(node)


def take_interrupts():
    """A shell that was started to ignore them, as a job in the background is, cannot trap them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(shim, here, script, before=None, says="runs", **kwargs):
    """run in the background with that script, when that has said that it runs."""
    tree, env, node = here
    kwargs.setdefault("preexec_fn", take_interrupts)
    process = subprocess.Popen(
        [*(before or []), build(), "run", "--node", "1", "--size", "2M", "--base",
         str(node.parent), "--", "sh", "-c", script],
        env={**os.environ, **shim_options(shim, tree), **env}, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, **kwargs)
    assert process.stdout.readline() == f"{says}\n"
    return process


def test_run_signals(nodes_here, shim):
    """To the command; but not what it has got already, or is to be ignored."""
    count = ("n=0; trap 'n=$((n+1)); echo interrupted' INT; trap 'echo $n; exit' TERM; echo runs; "
             "while :; do sleep 0.02; done")
    one = started(shim, nodes_here, count)
    one.send_signal(signal.SIGINT)
    assert one.stdout.readline() == "interrupted\n"
    # A second one would be there by now.
    time.sleep(0.2)
    one.send_signal(signal.SIGTERM)
    assert one.communicate()[0] == "1\n" and one.returncode == 0
    # By a terminal, which tells all of the group.
    leader, follower = os.openpty()
    one = started(shim, nodes_here, count, stdin=follower, before=["setsid", "--ctty", "--wait"])
    os.write(leader, b"\x03")
    assert one.stdout.readline() == "interrupted\n"
    time.sleep(0.2)
    child = subprocess.run(["pgrep", "-P", str(one.pid)], check=False, stdout=subprocess.PIPE).stdout
    os.kill(int(child.split()[0]) if child else one.pid, signal.SIGTERM)
    assert one.communicate()[0] == "1\n"
    os.close(leader)
    os.close(follower)
    # nohup(1), and a job of a script.
    one = started(shim, nodes_here, "echo runs; grep SigIgn /proc/self/status; read x; echo goes on",
                  stdin=subprocess.PIPE,
                  preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert int(one.stdout.readline().split()[1], 16) & 1
    one.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert one.communicate("\n")[0] == "goes on\n" and one.returncode == 0
    assert not os.listdir(nodes_here[2])


def test_run_while_it_allocates(nodes_here, shim):
    """Zeroing a terabyte takes long: whatever ends it, nothing is left."""
    for sig in signal.SIGINT, signal.SIGTERM, signal.SIGKILL:
        one = started(shim, (nodes_here[0], {**nodes_here[1], "SHIM_SLOW": "1"}, nodes_here[2]), "exit",
                      says="allocates")
        one.send_signal(sig)
        one.communicate()
        assert one.returncode == -sig and not os.listdir(nodes_here[2])


def test_mount_usage(make):
    tree = make(MACHINES["2"]())
    for command in "mount", "umount":
        on(tree, command, "--base", "relative", status=USAGE)
        on(tree, command, "x", status=USAGE)
    for args, status in (([], USAGE), (["/etc/passwd", "nonsense"], USAGE),
                         (["/etc/passwd"], FAILED)):
        on(tree, "tag", *args, status=status)
    for age in ("", "1", "x", "1w", "-1d", "1.5h", "99999999999999999999d"):
        on(tree, "reap", f"--older-than={age}", status=USAGE)


# --- valgrind ---

def test_valgrind(make, tmp_path, shim):
    """The tool as it is installed, which sanitizers do not change."""
    tree = make(MACHINES["4"]())
    process(tree, 77, "4", ON_ONE)
    with_grub(tree)
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    for args, status in (
            (["status", "--json"], OK), (["map"], FAILED), (["ls"], OK), (["metrics"], OK),
            (["map", "--svg", str(tmp_path / "x.svg")], FAILED), (["check"], DIFFERS),
            (["get", "0"], OK), (["set", "0", "reserve=8"], OK),
            (["handover", "--kernel", image], OK), (["verify", "77"], DIFFERS),
            (["plan", "--reserve", "30%", "--nodes", "0", "--apply"], OK),
            (["status", "7"], NO_POOL)):
        call(["--sysroot", tree.root, *args], status=status, prefix=[*VALGRIND, build()],
             env={"LD_PRELOAD": shim, "SHIM_OPENAT2": "1"})


# --- files ---

@pytest.fixture
def node_dir(make, shim, tmp_path):
    """(directory that passes for node 1, tool(args...) that runs on it, its tree)."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    where = tmp_path / "node1"
    where.mkdir()
    device = on_node(tree, where, 1)
    tree.put("proc/stat", "cpu 1 2 3\nbtime 1000000\n")

    def tool(*args, env=(), **kwargs):
        return shimmed(shim, tree, *args, env={**device, **dict(env)}, **kwargs)

    return where, tool, tree


def tag(path, **tags):
    for name, value in tags.items():
        os.setxattr(path, f"user.guestmemfs.{name}", value.encode())


def reaped(done):
    """{name: what reap says of it}"""
    return {os.path.basename(f["file"]): f for f in done.json()["files"]}


def test_walk(node_dir, tmp_path):
    """What is too deep for a path is seen; what only seems to be there is left alone."""
    where, tool, tree = node_dir
    other = tmp_path / "other"
    other.mkdir()
    (other / "victim").write_text("x")
    os.symlink(other, where / "link")
    os.symlink(other / "victim", where / "file")
    os.mkfifo(where / "fifo")
    here = os.getcwd()
    try:
        os.chdir(where)
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        with open("hidden", "w", encoding="utf-8"):
            pass
    finally:
        os.chdir(here)
    assert [os.path.basename(f["file"]) for f in tool("ls", "--json").json()["files"]] == ["hidden"]
    assert set(reaped(tool("reap", "--no-owner", "--json"))) == {"hidden"}
    tool("ls", f"{where}/link", status=FAILED)
    assert set(reaped(tool("reap", "--no-owner", "--yes", "--json"))) == {"hidden"}
    assert (other / "victim").exists() and os.path.lexists(where / "fifo")
    # A directory that cannot be looked at is no empty one.
    limited = tool("ls", "--json", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                         (20, 20)), status=FAILED)
    assert "Too many open files" in limited.err


def test_walk_other_file_system(make, shim, tmp_path):
    """mountinfo has a node there, and something else is mounted over it."""
    tree = make([Node(1, cpus="0")], mounts=[(1, tmp_path)])
    (tmp_path / "disk.img").write_text("x")
    for args in ["ls"], ["reap", "--no-owner", "--yes"]:
        done = shimmed(shim, tree, *args, status=FAILED)
        assert "node 1: its files are not seen" in done.err
    assert (tmp_path / "disk.img").exists()


def test_walk_while_it_changes(node_dir, tmp_path):
    """When the first file is gone, a directory becomes a link: what it leads to stays."""
    where, tool, _ = node_dir
    victims = tmp_path / "victims"
    victims.mkdir()
    for name in "x", "y":
        (victims / name).write_text("x")
    for i in range(200):
        (where / f"a{i:03}").write_text("")
    (where / "d").mkdir()
    (where / "d" / "x").write_text("x")

    def swap():
        while (where / "a000").exists():
            pass
        os.rename(where / "d", where / "old")
        os.symlink(victims, where / "d")

    other = threading.Thread(target=swap)
    other.start()
    tool("reap", "--no-owner", "--yes")
    other.join()
    assert sorted(os.listdir(victims)) == ["x", "y"]


def test_reap_in_use(node_dir):
    """Whoever has it, and though nothing of that is in /proc."""
    where, tool, _ = node_dir
    for name in "mapped", "socket", "nobody":
        (where / name).write_bytes(b"x")
    with open(where / "mapped", "rb") as f:
        mapping = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    one, two = socket.socketpair()
    with open(where / "socket", "rb") as f:
        socket.send_fds(one, [b"x"], [f.fileno()])
    assert set(reaped(tool("reap", "--no-owner", "--json"))) == {"nobody"}
    found = reaped(tool("reap", "--no-owner", "--yes", "--json"))
    assert set(found) == {"nobody"} and found["nobody"]["removed"]
    assert sorted(os.listdir(where)) == ["mapped", "socket"]
    mapping.close()
    one.close()
    two.close()


def test_reap_descriptor_alone(node_dir):
    """O_PATH opens nothing, so that no lease is refused."""
    where, tool, tree = node_dir
    for name in "held", "nobody":
        (where / name).write_text("x")
    os.makedirs(tree.path("proc/5000000/fd"))
    os.symlink(where / "held", tree.path("proc/5000000/fd/3"))
    for args in [], ["--yes"]:
        assert set(reaped(tool("reap", "--no-owner", "--json", *args))) == {"nobody"}
    assert os.listdir(where) == ["held"]


def test_lease_of_a_tenant(node_dir):
    """It hides nothing of the file but where its memory is."""
    where, tool, _ = node_dir
    (where / "vm").write_text("x")
    tag(where / "vm", owner="uuid")
    fd = os.open(where / "vm", os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        assert tool("ls", "--json").json()["files"][0]["owner"] == "uuid"
        assert tool("tag", str(where / "vm")).out.startswith("owner=uuid\n")
        assert reaped(tool("reap", "--no-owner", "--json")) == {}
        tool("tag", str(where / "vm"), "owner=")
        assert reaped(tool("reap", "--no-owner", "--yes", "--json")) == {}
        assert "a process has a lease" in tool("verify", str(where / "vm"), status=FAILED).err
    finally:
        os.close(fd)


def test_no_leases(node_dir, tmp_path):
    """They can be switched off."""
    where, tool, tree = node_dir
    (where / "vm").write_text("x")
    has_inodes(tree, 2)
    tree.put("proc/sys/fs/leases-enable", "0\n")
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    env = {"SHIM_LEASE": str(errno.EINVAL), "SHIM_MOUNT": str(where)}
    done = tool("reap", "--no-owner", "--yes", status=FAILED, env=env)
    assert "it stays" in done.err and "sysctl fs.leases-enable=1" in done.err
    done = tool("handover", "--kernel", kernel(tmp_path / "bzImage"), status=DIFFERS, env=env)
    assert "sysctl fs.leases-enable=1" in done.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_reap_users_unknown(node_dir):
    """Who may not ask is not told that nobody has it."""
    where, tool, _ = node_dir
    (where / "file").write_text("x")
    where.parent.chmod(0o755)
    # Whoever may remove files of others can still not have a lease on them.
    nobody = ["setpriv", "--bounding-set=-lease", "--inh-caps=-lease", build(sanitize=True)]
    os.chown(where / "file", 4242, 4242)
    assert "who uses it is unknown" in reaped(tool("reap", "--no-owner", "--json", prefix=nobody)
                                              )["file"]["reason"]
    done = tool("reap", "--no-owner", "--yes", prefix=nobody, status=FAILED)
    assert "it stays: who uses it is not known" in done.err and (where / "file").exists()


def test_reap_earlier_boot(node_dir):
    """What a kexec has saved is nobody's before the machines are started again."""
    where, tool, tree = node_dir
    for name in "saved", "kept", "now":
        (where / name).write_text("x")
    tag(where / "kept", owner="pid:4000000", boot="11111111-2222")
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as f:
        tag(where / "now", owner="pid:4000000", boot=f.read().strip())
    tree.put("proc/stat", f"btime {int(time.time()) + 5}\n")
    args = ["reap", "--no-owner", "--json"]
    found = reaped(tool(*args))
    assert {n: f["reason"] for n, f in found.items()} == {
        "saved": "no owner, of an earlier boot", "kept": "its owner is gone, of an earlier boot",
        "now": "its owner is gone"}
    # Nothing is older than the time that this kernel has run.
    assert reaped(tool(*args, "--older-than", "1s", "--yes")) == {}
    done = tool(*args, "--yes")
    assert {n for n, f in reaped(done).items() if f["removed"]} == {"now"}
    assert "2 files of an earlier boot stay: --earlier-boots removes them" in done.err
    tree.put("proc/stat", f"btime {int(time.time()) - 100}\n")
    tag(where / "saved", boot="11111111-2222")
    assert reaped(tool(*args, "--older-than", "1h", "--yes", "--earlier-boots")) == {}
    assert len(reaped(tool(*args, "--yes", "--earlier-boots"))) == 2
    assert os.listdir(where) == []
    tool("reap", "--earlier-boots", status=USAGE)


def test_reap_hard_links(node_dir):
    """Memory is free when the last name goes, not before."""
    where, tool, _ = node_dir
    (where / "one").write_text("x")
    os.link(where / "one", where / "two")
    said = "no owner, another name keeps its memory"
    assert [f["reason"] for f in reaped(tool("reap", "--no-owner", "--json")).values()] == [said] * 2
    found = reaped(tool("reap", "--no-owner", "--yes", "--json"))
    assert {n: (f["reason"], f["removed"]) for n, f in found.items()} == {
        "one": (said, True), "two": ("no owner", True)}


def test_reap_odd_tags(node_dir):
    """A tag that is not ours to read is no missing one."""
    where, tool, _ = node_dir
    (where / "long").write_text("x")
    tag(where / "long", owner="x" * 1000)
    assert reaped(tool("reap", "--no-owner", "--json")) == {}
    assert tool("ls", "--json").json()["files"][0]["owner"] == "x" * 1000
    tag(where / "long", owner="a\nvmm=trusted\x1b[2J")
    assert tool("tag", str(where / "long")).out.splitlines()[0] == "owner=a\\x0avmm=trusted\\x1b[2J"


def test_reap_frozen(node_dir):
    where, tool, tree = node_dir
    (where / "file").write_text("x")
    tree.put("sys/fs/guestmemfs/node1/state", "frozen\n")
    assert "node 1 is frozen" in tool("reap", "--no-owner", "--yes", status=FAILED).err
    assert (where / "file").exists()


def has_inodes(tree, nr):
    """How many the kernel says that node 1 has."""
    tree.put("sys/fs/guestmemfs/node1/free_inodes", f"{512 - nr}\n")


def test_handover_users(node_dir, tmp_path):
    """The kernel says who has a file, also if no process that is seen has it."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    (where / "vm").write_bytes(b"x")
    has_inodes(tree, 2)

    def users(env=()):
        rows = tool("handover", "--kernel", image, "--json", status=None, env=dict(env)
                    ).json()["handover"]
        return {r["check"]: (r["result"], r["detail"]) for r in rows}["users"]

    seen = {"SHIM_MOUNT": str(where)}
    assert users(seen) == ("ok", "nobody has files mapped or open")
    one, two = socket.socketpair()
    with open(where / "vm", "rb") as f:
        socket.send_fds(one, [b"x"], [f.fileno()])
    result, detail = users(seen)
    assert result == "unknown" and "1 files are in use, such as node1/vm, by no" in detail
    assert "finish these sessions" in detail and "preserve" in detail and "in a socket" in detail
    # A session of LUO has it: it is preserved, unless a process has it as well.
    for number, result in ("0", "unknown"), ("1", "ok"), ("2", "ok"):
        tree.put("sys/fs/guestmemfs/node1/preserved_files", number + "\n")
        found = users(seen)
        assert found[0] == result
    assert "LUO, which preserves 2" in found[1]
    device = os.stat(where).st_dev
    tree.put("proc/5000000/comm", "guest\n")
    tree.put("proc/5000000/maps", f"7f00-7fff rw-s 00000000 {os.major(device):02x}:"
             f"{os.minor(device):02x} {os.stat(where / 'vm').st_ino}  /x\n")
    assert users(seen)[0] == "fail"
    # Also if no namespace shows where it is mounted.
    mountinfo = tree.get("proc/self/mountinfo")
    tree.put("proc/self/mountinfo", "")
    assert users(seen)[0] == "fail"
    # A thread has descriptors of its own.
    tree.put("proc/5000000/maps", "")
    os.makedirs(tree.path("proc/5000000/task/5000001/fd"))
    os.makedirs(tree.path("proc/5000000/fd"))
    os.symlink(where / "vm", tree.path("proc/5000000/task/5000001/fd/7"))
    assert users(seen) == ("fail", "they end with this kernel: save and stop them first: "
                           "guest[5000000]")
    shutil.rmtree(tree.path("proc/5000000"))
    tree.put("proc/self/mountinfo", mountinfo)
    os.unlink(tree.path("sys/fs/guestmemfs/node1/preserved_files"))
    one.close()
    two.close()
    # More inodes than names: who has the others is not known.
    has_inodes(tree, 5)
    result, detail = users(seen)
    assert result == "unknown" and "3 in use have no name any more, by no process" in detail
    has_inodes(tree, 6)
    os.link(where / "vm", where / "link")
    os.symlink("nowhere", where / "symlink")
    os.mkfifo(where / "fifo")
    (where / "dir").mkdir()
    (where / "dir" / "file").write_text("x")
    assert users(seen)[0] == "ok"
    # Fewer are not possible: what was counted changed in between.
    has_inodes(tree, 5)
    result, detail = users(seen)
    assert result == "unknown" and "come and go" in detail
    # It cannot be mounted; it is mounted nowhere.
    assert users()[0] == "unknown"
    tree.put("sys/fs/guestmemfs/node1/mounts", "0\n")
    assert users()[0] == "ok"


def test_handover_looks_again(node_dir, tmp_path):
    """A machine that starts while the kernel is loaded stops it."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    config_file = tmp_path / "config"
    config_file.write_text(config())
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    (where / "vm").write_bytes(b"x")
    has_inodes(tree, 2)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("kexec", f'echo "$*" >> {tmp_path}/log'),
                         # It has nothing else open: the end of what is printed is waited for.
                         ("sync", f"sleep 100 < {where}/vm > /dev/null 2>&1 & "
                          f"echo $! > {tmp_path}/pid")):
        (programs / name).write_text(f"#!/bin/sh\nunset LD_PRELOAD\n{script}\n")
        (programs / name).chmod(0o755)
    (programs / "systemctl").symlink_to("kexec")
    env = {"SHIM_MOUNT": str(where),
           "PATH": f"{programs}:{os.environ['PATH']}"}
    with open(tmp_path / "out", "w+b") as out:
        done = tool("handover", "--exec", image, "--config", str(config_file), "--command-line",
                    "kho=on", env=env, status=FAILED, stdout=out)
    with open(tmp_path / "pid", encoding="ascii") as f:
        os.kill(int(f.read()), signal.SIGKILL)
    assert "not ready any more: users: " in done.err
    with open(tmp_path / "log", encoding="ascii") as f:
        assert [line.split()[:2] for line in f] == [["-s", "-l"], ["-s", "-u"]]


def test_handover_interrupted(node_dir, tmp_path):
    """What a terminal sends to all while a kernel is loaded: it is unloaded, to the end."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    (tmp_path / "config").write_text(config())
    has_inodes(tree, 1)
    programs = tmp_path / "bin"
    programs.mkdir()
    # One of a group of its own, as a terminal has it in the foreground; -u is sent one more.
    (programs / "kexec").write_text("#!/bin/sh\nunset LD_PRELOAD\necho \"$*\" >> "
                                    f"{tmp_path}/log\nkill -INT 0\nsleep 0.2\necho end >> {tmp_path}/log\n")
    (programs / "kexec").chmod(0o755)
    for name in "sync", "systemctl":
        (programs / name).symlink_to("kexec")
    with open(tmp_path / "out", "w+b") as out:
        done = tool("handover", "--exec", image, "--config", str(tmp_path / "config"),
                    "--command-line", "kho=on", status=FAILED, stdout=out, start_new_session=True,
                    env={"SHIM_MOUNT": str(where), "PATH": f"{programs}:{os.environ['PATH']}"})
    assert "nothing was executed" in done.err
    with open(tmp_path / "log", encoding="ascii") as f:
        lines = f.read().splitlines()
    assert [l.split()[:2] for l in lines] == [["-s", "-l"], ["-s", "-u"], ["end"]], lines


def test_sysroot_is_to_look(make, tmp_path):
    """A copy of another machine does not say what is to be done on this one."""
    tree = make(MACHINES["2"]())
    for args in (["mount"], ["umount"], ["reap", "--yes"], ["load", "file"], ["store", "file"],
                 ["tag", "file", "owner=x"], ["handover", "--exec", "/none"]):
        with open(tmp_path / "out", "wb") as out:
            done = on(tree, *args, status=USAGE, stdout=out)
        assert "--sysroot is to look at another machine" in done.err, args


def store(tool, path, data, *args, **kwargs):
    with tempfile.TemporaryFile() as f:
        f.write(data)
        f.seek(0)
        return tool("store", *args, str(path), stdin=f, **kwargs)


def test_store_offline(node_dir, tmp_path):
    """What is in the way is said before anything is read."""
    where, tool, tree = node_dir
    before = None
    for size in 0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 1:
        store(tool, where / "state", b"x" * size, "--force", "--owner", "uuid")
        assert (where / "state").read_bytes() == b"x" * size
        # Who has sent it could have been killed in the middle: the one before stays.
        assert sorted(os.listdir(where)) == ["state", "state.replaced"][:1 if before is None else 2]
        if before is not None:
            assert (where / "state.replaced").read_bytes() == b"x" * before
        before = size
    assert os.getxattr(where / "state", "user.guestmemfs.owner") == b"uuid"
    os.symlink("nowhere", where / "dangling")
    os.mkfifo(where / "fifo")
    (where / "dir").mkdir()
    (where / "other").write_text("x")
    (where / "other.replaced").mkdir()
    left = sorted(os.listdir(where))
    for name, said in (("state", "--force replaces it"), ("dangling", "is no file"),
                       ("fifo", "is no file"), ("dir", "is no file"), ("other", "is no file"),
                       ("x" * 256, "File name too long")):
        for force in [], ["--force"]:
            if (name, force) == ("state", ["--force"]):
                continue
            done = store(tool, where / name, b"x", *force, status=FAILED)
            assert (said if (name, force) != ("other", []) else "--force replaces it") in done.err
    store(tool, f"{where}/", b"x", status=USAGE)
    store(tool, where / "new", b"x", "--owner", "x" * 201, status=USAGE)
    tool("tag", str(where / "state"), "owner=" + "x" * 201, status=USAGE)
    tree.put("sys/fs/guestmemfs/node1/state", "frozen\n")
    assert "node 1 is frozen" in store(tool, where / "new", b"x", status=FAILED).err
    assert sorted(os.listdir(where)) == left
    store(tool, where / ("x" * 252), b"x", status=FAILED)


def test_state_is_its_own_program(node_dir, tmp_path):
    """It has no library but libc, and says its own name; gmfs-numa needs it."""
    where, tool, _ = node_dir
    state = os.path.join(os.path.dirname(build()), "gmfs-state")
    assert not re.search("mount|smartcols|numa", quiet("ldd", state).replace("gmfs-numa", ""))
    for args, status, said in ((["--help"], OK, "Usage: gmfs-state store"), (["-V"], OK, "gmfs-state "),
                               (["store", "--help"], OK, "Usage: gmfs-state store [OPTION...] FILE"),
                               ([], USAGE, "gmfs-state: say store or load"), (["x"], USAGE, "gmfs-state: say"),
                               (["load"], USAGE, "gmfs-state: load needs one file")):
        done = call(args, status=status, prefix=[state])
        assert said in done.out + done.err, done
    # Without any capability.
    if not os.geteuid():
        plain_user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all",
                      os.path.join(os.path.dirname(build(sanitize=True)), "gmfs-state")]
        store(tool, where / "state", b"xyz", prefix=plain_user)
        assert tool("load", "--remove", str(where / "state"), prefix=plain_user).out == "xyz"
    # Where it is not installed.
    alone = shutil.copy(build(), tmp_path)
    done = call(["load", "x"], status=FAILED, prefix=[alone], stdout=subprocess.DEVNULL)
    assert "gmfs-state is neither in" in done.err


def test_store_long_name(node_dir):
    where, tool, _ = node_dir
    for data in b"1", b"2":
        store(tool, where / ("x" * 246), data, "--force")
        assert (where / ("x" * 246)).read_bytes() == data
    store(tool, where / ("x" * 255), b"1", "--force")
    done = store(tool, where / ("x" * 255), b"2", "--force", status=FAILED)
    assert ".replaced: File name too long" in done.err
    assert (where / ("x" * 255)).read_bytes() == b"1" and len(os.listdir(where)) == 3


@pytest.mark.parametrize("there", ["dir", "other file", "nothing"])
def test_store_while_it_changes(node_dir, there):
    """Whoever owns the directory puts something else there while standard input is read."""
    where, tool, _ = node_dir
    state = where / "state"
    state.write_text("before")
    reading, writing = os.pipe()

    def change():
        os.write(writing, b"x" * BLOCK)
        # The pipe has room for less: all was looked at before this is read.
        os.unlink(state)
        if there == "dir":
            state.mkdir()
            (state / "file").write_text("")
        elif there == "other file":
            state.write_text("other")
        os.close(writing)

    other = threading.Thread(target=change)
    other.start()
    with open(reading, "rb") as stdin:
        done = tool("store", "--force", str(state), stdin=stdin,
                    status=FAILED if there == "dir" else OK)
    other.join()
    if there == "dir":
        assert "nothing is stored" in done.err
        assert os.listdir(where) == ["state"] and os.listdir(state) == ["file"]
    else:
        assert state.read_bytes() == b"x" * BLOCK
        assert len(os.listdir(where)) == (2 if there == "other file" else 1)


def test_load_offline(node_dir, tmp_path):
    """Only a file of a node is opened, and only that is removed."""
    where, tool, _ = node_dir
    (where / "state").write_bytes(b"x" * 3)
    os.mkfifo(where / "fifo")
    os.symlink("/proc/version", where / "elsewhere")
    os.symlink("state", where / "link")
    for name in "fifo", ".":
        assert "this is no file" in tool("load", str(where / name), status=FAILED).err
    for name in "elsewhere", "link":
        done = tool("load", str(where / name), status=FAILED)
        assert "this is a symbolic link: name the file itself" in done.err
    (where / "state.replaced").write_text("")
    assert tool("load", "--remove", str(where / "state")).out == "xxx"
    assert sorted(os.listdir(where)) == ["elsewhere", "fifo", "link"]


# --- manual, completion, package ---

def quiet(*command, **kwargs):
    """Runs it; whatever it says is wrong."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **kwargs)
    assert done.returncode == 0 and not done.stderr, f"{command}: {done.returncode}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", MANUAL_PAGES)
def test_manual_is_well_formed(name):
    page = os.path.join(MANUALS, name)
    with open(page, encoding="utf-8") as f:
        included = re.search(r"^\.so man(\d)/(.*)$", f.read(), re.MULTILINE)
    if included:
        assert included.group(2) in MANUAL_PAGES and included.group(2).endswith(included.group(1))
        return
    text = quiet("man", "--warnings", "-l", page, env={**os.environ, "LC_ALL": "C.UTF-8",
                                                       "MANWIDTH": "80"})
    title, _, number = name.rpartition(".")
    assert f"{title.upper()}({number})" in text
    quiet("groff", "-man", "-Tutf8", "-ww", "-z", page)
    said = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    assert not said


@pytest.mark.parametrize("name", MANUAL_PAGES)
def test_manual_refers_to_what_there_is(name):
    """Pages of this project and documents."""
    text = plain(manual_page(name))
    for page, number in re.findall(r"\b((?:gmfs-|guestmemfs)[\w-]*) ?\((\d)\)", text):
        assert f"{page}.{number}" in MANUAL_PAGES or page == "gmfs-numa-command", (name, page)
    for document in re.findall(r"\bDocumentation/[\w/.-]*\w", text):
        assert os.path.exists(os.path.join(TOP, document)), (name, document)


COMPLETE = r"""
. /usr/share/bash-completion/bash_completion
. {script}
compopt() {{ printf '%s\n' "$2"; }}
try() {{
	COMP_LINE=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	COMP_POINT=${{#COMP_LINE}}
	_gmfs_numa gmfs-numa "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
	printf '%s\n' "${{COMPREPLY[@]}}" END
}}
"""
SCRIPT = os.path.join(SOURCE, "bash-completion", "gmfs-numa")


def candidates(*cases, cwd=None):
    """What bash would offer behind each list of words, of which the last is not complete.

    Options of compopt come first.
    """
    text = COMPLETE.format(script=SCRIPT)
    for words in cases:
        # As bash splits them: "--node=1" are three words.
        parts = [p for word in words for p in re.findall("[=:]+|[^=:]+", word) or [""]]
        if words[-1].endswith(("=", ":")):
            parts.append("")
        line = " ".join(["gmfs-numa", *words])
        text += f"try {shlex.join([line, 'gmfs-numa', *parts])}\n"
    path = os.path.dirname(build()) + ":" + os.environ["PATH"]
    out = quiet("bash", input=text, cwd=cwd, env={**os.environ, "PATH": path})
    found = [[line for line in one.split("\n") if line] for one in out.split("END\n")[:-1]]
    assert len(found) == len(cases)
    return found


def test_completion_of_commands():
    commands = [(c, o) for c in COMMANDS for o in ("--", "--hel")]
    every, one, none, helped, *options = candidates([""], ["sta"], ["nonsense"], ["help", ""], *commands)
    assert set(every) == set(COMMANDS) | {"help", "--help", "--version", "--sysroot"}
    assert (one, none, set(helped)) == (["status"], [], set(COMMANDS))
    for (command, word), found in zip(commands, options):
        assert set(found) >= options_of(command) if word == "--" else found == ["--help"], command


VALUES = {
    "set 1 pol": ["nospace", "policy="], "set 1 reserve=1 pol": ["nospace", "policy="],
    "set 1 policy=": ["best-fit", "first-fit"], "set 1 policy=f": ["first-fit"], "set 1 reserve=": [],
    "run --node a": ["auto"], "run -N a": ["auto"], "run --node=a": ["auto"], "run --user=roo": ["root"],
    "run --node=": ["auto"], "run --size ": [], "run --size=": [], "run --owner ": [],
    "status -o kernel-": ["nospace"], "status -o KERNEL-": ["nospace", "KERNEL-FREE"],
    "status -o NODE,KERNEL-": ["nospace", "NODE,KERNEL-FREE"], "-o KERNEL-": ["nospace", "KERNEL-FREE"],
    "ls --output=+VM": ["nospace", "+VMM"], "mount -o ": [], "mount --options=": [],
    "--sysroot / sta": ["status"], "--sysroot / map --sv": ["--svg"],
    **{f"{words} bz": ["filenames", "bzImage"] for words in (
        "handover --kernel", "handover --exec", "handover --config", "handover -i", "map --svg",
        "metrics --file", "verify", "tag", "store", "ls", "reap", "files")},
    **{f"{words}d": ["filenames", "directory"] for words in (
        "mount --base ", "mount --base=", "umount -B ", "--sysroot ")},
}


def test_completion_of_values(tmp_path):
    (tmp_path / "bzImage").write_text("")
    (tmp_path / "directory").mkdir()
    found = candidates(*(words.split(" ") for words in VALUES), cwd=tmp_path)
    assert dict(zip(VALUES, found)) == VALUES
    settings, command, near, columns = candidates(
        ["set", "1", ""], ["run", "--size", "2M", "--", "en"], ["run", "--near=l"], ["ls", "-o", ""])
    assert set(settings) == {"nospace", *(f"{n}=" for n in SETTINGS)}
    assert "env" in command and "lo" in near
    assert columns[1:] == columns_of("ls")
    # Found by bash-completion by the name of the command.
    assert "-F _gmfs_numa" in quiet("bash", "-c", f". {SCRIPT}; complete -p gmfs-numa")


def test_completion_of_odd_names(tmp_path):
    """Bash quotes them, if they are one by one and it is told that they are files."""
    names = ["vm;touch${IFS}pwned;", "vm $(touch pwned)", "vm*", "vm`x`", "vm-b"]
    for name in (*names, "a:b=c"):
        (tmp_path / name).write_text("")
    plain_names, with_directory, behind = candidates(
        ["verify", "vm"], ["reap", "./vm"], ["verify", "./a:b"], cwd=tmp_path)
    assert sorted(plain_names) == sorted(["filenames", *names])
    assert sorted(with_directory) == sorted(["filenames", *(f"./{n}" for n in names)])
    # What is before the colon is not replaced.
    assert behind == ["filenames", "b=c"]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "a:b=c"])


INSTALLED = (
    "sbin/gmfs-numa", "bin/gmfs-state", *(f"share/man/man{p[-1]}/{p}" for p in MANUAL_PAGES),
    "share/bash-completion/completions/gmfs-numa",
    "lib/systemd/system/guestmemfs@.service", "lib/systemd/system/guestmemfs.target",
    "lib/systemd/system/guestmemfs-metrics.service", "lib/systemd/system/guestmemfs-metrics.timer",
    "lib/systemd/system-generators/gmfs-numa-generator",
    "share/doc/gmfs-numa/examples/guestmemfs.rules.yml",
    "share/doc/gmfs-numa/examples/guestmemfs-dashboard.json",
    "share/doc/gmfs-numa/examples/libvirt-domain.xml",
    *(f"share/doc/gmfs-numa/schema/{c}.json" for c in WITH_JSON),
)


def check_generator(root, generator):
    """Units for nodes that there are, and none in a container."""
    sys, tools, out = (os.path.join(root, n) for n in ("sys", "tools", "units"))
    copy = os.path.join(root, "generator")
    for name in sys + "/node0", sys + "/node12", tools, out:
        os.makedirs(name)
    with open(generator, encoding="utf-8") as f, open(copy, "w", encoding="utf-8") as to:
        to.write(f.read().replace("/sys/fs/guestmemfs/", sys + "/"))
    for container in True, False:
        with open(tools + "/systemd-detect-virt", "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\n[ \"$1\" = -cq ] && exit {int(not container)}\n")
        os.chmod(tools + "/systemd-detect-virt", 0o755)
        quiet("sh", copy, out, out, out, env={"PATH": f"{tools}:/usr/bin:/bin"})
        wants = os.path.join(out, "guestmemfs.target.wants")
        assert os.path.exists(wants) != container
    assert sorted(os.listdir(wants)) == ["guestmemfs@0.service", "guestmemfs@12.service"]


# What gives a service a mount namespace of its own, see systemd.exec(5).
NAMESPACE = re.compile("^(Private(Tmp|Devices|Mounts|Users|IPC)|Protect[A-Z]|ReadWritePaths|ReadOnlyPaths|"
                       "InaccessiblePaths|ExecPaths|NoExecPaths|BindPaths|BindReadOnlyPaths|"
                       "TemporaryFileSystem|RootDirectory|RootImage|MountFlags|MountImages|"
                       "DynamicUser|ProcSubset)", re.MULTILINE)


def check_sandbox(root):
    """The metrics can write their file alone; what mounts does it where all see it."""
    with open(os.path.join(root, "guestmemfs@.service"), encoding="utf-8") as f:
        text = f.read()
    assert not NAMESPACE.search(text) and "\nNoNewPrivileges=yes\n" in text
    path = os.path.join(root, "guestmemfs-metrics.service")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert NAMESPACE.search(text)
    # Where the metrics go by default has to be writable.
    target = re.search("^Environment=METRICS=(.*)/", text, re.MULTILINE).group(1)
    assert f"-{target} " in re.search("^ReadWritePaths=(.*)", text, re.MULTILINE).group(1) + " "
    if shutil.which("systemd-analyze"):
        quiet("systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", path)


def check_installed(root, prefix, packed=False):
    """All of it is there and works from there."""
    top = os.path.join(root, prefix.strip("/"))
    for name in INSTALLED:
        # debhelper compresses what is large and no program.
        path = os.path.join(top, name)
        assert os.path.exists(path) or packed and os.path.exists(path + ".gz"), name
    tool = os.path.join(top, "sbin", "gmfs-numa")
    assert quiet(tool, "--version").startswith("gmfs-numa ")
    units = glob.glob(os.path.join(top, "lib/systemd/system/*"))
    for unit in units:
        with open(unit, encoding="utf-8") as f:
            text = f.read()
        for program in re.findall(r"^Exec\w+=(\S+)", text, re.MULTILINE):
            assert program == f"{prefix}/sbin/gmfs-numa", program
        # It sees the nodes of its host, and has no business there.
        assert "\nConditionVirtualization=!container\n" in text, unit
    generator = os.path.join(top, "lib/systemd/system-generators/gmfs-numa-generator")
    assert os.access(generator, os.X_OK)
    with open(generator, encoding="utf-8") as f:
        assert f"={prefix}/lib/systemd/system\n" in f.read()
    # On a machine without a pool it has nothing to say.
    if not os.path.exists("/sys/fs/guestmemfs"):
        os.mkdir(os.path.join(root, "generated"))
        quiet(generator, *[os.path.join(root, "generated")] * 3)
        assert not os.listdir(os.path.join(root, "generated"))
    check_generator(root, generator)
    # systemd looks for the program, which is not installed here.
    for unit in units:
        copy = os.path.join(root, os.path.basename(unit))
        with open(unit, encoding="utf-8") as f, open(copy, "w", encoding="utf-8") as out:
            out.write(f.read().replace(f"{prefix}/sbin/gmfs-numa", tool))
    check_sandbox(root)
    instances = [os.path.join(root, os.path.basename(u).replace("@.", "@1.")) for u in units]
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *instances], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, "SYSTEMD_UNIT_PATH": f"{root}:"})
        ours = [l for l in done.stdout.splitlines() if "guestmemfs" in l]
        assert not ours, done.stdout


def test_install(tmp_path):
    """Below a directory and with another prefix; nothing outside, nothing writable for all."""
    build()
    quiet("make", "-s", "-C", SOURCE, "install", f"DESTDIR={tmp_path}", "prefix=/usr/local")
    assert os.listdir(tmp_path) == ["usr"] and os.listdir(tmp_path / "usr") == ["local"]
    for here, _, names in os.walk(tmp_path):
        for name in names:
            assert not os.stat(os.path.join(here, name)).st_mode & 0o022
    check_installed(str(tmp_path), "/usr/local")


def test_package(tmp_path):
    subprocess.run([os.path.join(TOP, "scripts", "deb")], check=True, stdout=subprocess.DEVNULL)
    package, = glob.glob(os.path.join(TOP, "build", "deb", "gmfs-numa_*.deb"))
    fields = quiet("dpkg-deb", "-f", package)
    for name in ("libmount1", "libsmartcols1", "libnuma1"):
        assert name in re.search(r"^Depends: (.*)$", fields, re.MULTILINE).group(1)
    listing = quiet("dpkg-deb", "-c", package)
    assert all(re.match(r"\S+ root/root ", line) for line in listing.splitlines())
    assert "changelog" in listing and "copyright" in listing
    quiet("dpkg-deb", "-x", package, str(tmp_path))
    check_installed(str(tmp_path), "/usr", packed=True)
