# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa: tables, JSON, columns and sizes, on made-up trees of sysfs."""

import json
import os
import signal
import subprocess

import jsonschema
import pytest
from offline import LOOKING, NUMBERS, columns_of, files_of, help_of, on
from sysroot import BLOCK, GIB, MACHINES, Node
from tool import (COMMANDS, DIFFERS, FAILED, NO_POOL, OK, SCHEMAS, USAGE, WITH_JSON, build, call,
                  parse_metrics, schema)

pytestmark = [pytest.mark.quick, pytest.mark.offline]


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
        assert row["pinned"] == int(files["pinned_blocks"]) * BLOCK
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
        # As a script has it whose variable is not set.
        assert "''" in on(tree, command, "-o", "", status=USAGE).err
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
    "fifo": None, "device": "/dev/tty",
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
        elif odd == "fifo":
            os.unlink(tree.path(path))
            os.mkfifo(tree.path(path))
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
    """What a file that is not there would say is unknown, and not 0."""
    columns = {
        "alloc_failures": ["failures"], "dirty_blocks": ["dirty"], "free_1g": ["free_1g"],
        "growth_reserve": ["growth"],
        "free_blocks": ["used", "free"], "free_inodes": ["inodes"], "generation": ["generation"],
        "largest_free_run": ["largest"], "metadata_bytes": ["metadata"], "mounts": ["mounts"],
        "pinned_blocks": ["pinned"], "poisoned_blocks": ["poisoned"],
        "attached": [], "attached_files": ["attached"], "private_files": ["private"],
        "reserved_blocks": ["reserved"], "scrubbed_blocks": ["scrubbed"], "size": ["size"],
        "total_blocks": ["used"], "total_inodes": ["inodes"], "handed_over_from": ["from"],
        "block_size": ["used", "free", "largest", "scrubbed", "dirty", "poisoned", "pinned",
                       "reserved"],
    }
    samples = {
        "alloc_failures": "alloc_failures", "dirty_blocks": "pool_dirty_bytes",
        "free_1g": "pool_free_1g_bytes",
        "growth_reserve": "pool_growth_reserve_bytes", "free_blocks": "pool_free_bytes",
        "pinned_blocks": "pool_pinned_bytes", "size": "pool_size_bytes", "mounts": "mounts",
        "moved_blocks": "moved_bytes",
    }
    for name in MACHINES["1"]()[0].sysfs():
        if name == "bitmap":
            continue
        node = Node(0, cpus="0", files={name: None})
        tree = make([node])
        row, = on(tree, "status", "--json").json()["nodes"]
        unknown = {c for c in row if row[c] is None} - {"error", "near"}
        assert unknown == set(columns.get(name, [name] if name in row and name != "error" else [])), name
        families = parse_metrics(on(tree, "metrics").out)
        if name in samples:
            assert f"guestmemfs_{samples[name]}" not in families
        names = [r["name"] for r in on(tree, "get", "--json").json()["values"]]
        assert name not in names
        # Not files for get: they are binary, or reading them is work.
        if name not in ("bitmap_dirty", "bitmap_poison", "extents", "check", "discard", "pins",
                        "attached"):
            assert name in on(tree, "get", "0", name, status=FAILED).err
            assert len(names) == 39
        if name != "block_size" and name != "total_blocks":
            assert on(tree, "map").out.startswith("node 0: ")
        else:
            assert f"{name}" in on(tree, "map", status=FAILED).err


def test_unknown_file_and_directories(make):
    """A newer kernel has more files and features, and perhaps other directories."""
    tree = make([Node(0, cpus="0", files={"of_tomorrow": "1\n"})])
    for name in ("nodes", "node", "node1x", "node-1", "other0", "node1024", "node4294967297"):
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
    (1 << 64) - 2: "16E",
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
