# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa get, set, freeze, thaw, discard and check, on made-up trees of sysfs."""

import os

import pytest
from offline import files_of, on
from sysroot import GIB, MACHINES, SETTINGS
from tool import DIFFERS, FAILED, OK, USAGE, build

pytestmark = [pytest.mark.quick, pytest.mark.offline]


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
        set(node) - {"bitmap", "bitmap_dirty", "bitmap_poison", "extents", "check", "discard", "pins", "attached",
                     "metadata"}
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
