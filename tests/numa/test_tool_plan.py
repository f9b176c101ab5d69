# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa plan, without changes to a boot loader (test_bootloader.py)."""

import errno
import os

import pytest
from offline import big, files_of, on, shim_options
from sysroot import BLOCK, GIB, Node
from tool import DIFFERS, FAILED, OK, USAGE

SECTION = 128 << 20

pytestmark = [pytest.mark.quick, pytest.mark.offline]


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
        size, plus, growth = size.partition("+")
        assert growth == (f"{rows[0]['growth'] // GIB}G" if plus else "")
        pools[int(nid)] = int(size[:-1]) << {"M": 20, "G": 30}[size[-1]]
    assert pools == {r["node"]: r["pool"] for r in rows if r["pool"]}
    for row in rows:
        assert row["pool"] % (128 << 20) == 0 and row["pool"] <= row["largest"]
        assert row["kernel"] == row["memory"] - row["pool"] > 0
        assert row["parameter"] == rows[0]["parameter"]
    return pools, rows


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
    # Shares are exact.
    assert planned(tree, "--reserve", "50%")[0] == {0: 32 * GIB, 1: 32 * GIB}
    assert planned(tree, "--reserve", "25%")[0] == {0: 16 * GIB, 1: 16 * GIB}
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


def pool_for(gib, vms=1):
    """Memory of machines, and a block for the state of each, in sections of 128 MiB."""
    return gib * GIB + -(-vms * BLOCK // SECTION) * SECTION


def test_plan_growth(make):
    tree = make(big())
    pools, rows = planned(tree, "--reserve", "16G", "--grow", "8G")
    assert pools == {0: 16 * GIB, 1: 16 * GIB}
    assert rows[0]["parameter"] == "guestmemfs=0:16G+8G,1:16G+8G"
    assert [r["growth"] for r in rows] == [8 * GIB, 8 * GIB]
    assert all(r["growth"] == 0 for r in planned(tree, "--reserve", "16G")[1])
    # It is memory of the kernel, and needs a memory map.
    least = [planned(tree, "--reserve", "100%", *grow)[1][0]["largest"]
             for grow in ([], ["--grow", "8G"])]
    assert 8 * GIB < least[0] - least[1] < 9 * GIB
    assert planned(tree, "--vm", "2x8G", "-G", "1.5G")[1][0]["parameter"].endswith("+2G")
    done = on(tree, "plan", "--reserve", "50G", "--grow", "16G", status=DIFFERS)
    assert "too much" in done.err
    # The last with its memory map would be 2^64 and a gibibyte.
    for wrong in "0", "x", "10%", "", "15.99999999999999999999E", "16410621311G":
        assert "no size" in on(tree, "plan", "--reserve", "1G", "--grow", wrong, status=USAGE).err
    # A kernel that does not know it takes the whole part for a mistake.
    os.unlink(tree.path("sys/fs/guestmemfs/features/growth_reserve"))
    assert "does not know growth reserves" in on(tree, "plan", "--reserve", "1G", "-G", "1G").err
    assert not on(tree, "plan", "--reserve", "1G").err
    # What is there does not end without a word.
    tree = make(big(), cmdline="kho=on guestmemfs=0:16G,1:16G+8G")
    assert "growth reserve of node 1 is not part" in on(tree, "plan", "--reserve", "1G").err
    for args in ("--reserve", "1G", "--grow", "1G"), ("--reserve", "1G", "--nodes", "0"):
        assert not on(tree, "plan", *args).err


def test_plan_vms(make):
    tree = make(big())
    pools, rows = planned(tree, "--vm", "2x20G")
    assert pools == {0: pool_for(20), 1: pool_for(20)} and [r["vms"] for r in rows] == ["20G", "20G"]
    assert planned(tree, "--vm", "4G@1", "--vm", "2x8G@1")[0] == {1: pool_for(20)}
    # Those that may not choose come first.
    pools, rows = planned(tree, "--vm", "1x40G", "--vm", "1x50G@0")
    assert pools == {0: pool_for(50), 1: pool_for(40)}
    # In whole gibibytes.
    assert planned(tree, "--vm", "1x1500M@0")[0] == {0: pool_for(2)}
    assert planned(tree, "--vm", "1x1G", "--nodes", "1")[0] == {1: pool_for(1)}
    for args, word in ((["1x64G"], "0 of 1"), (["3x40G"], "2 of 3"), (["100000x1G"], "of 100000")):
        done = on(tree, "plan", "--vm", *args, status=DIFFERS)
        assert word in done.err and not done.out, done
    on(tree, "plan", "--vm", "1x20G", "--keep", "50G", status=DIFFERS)
    assert planned(tree, "--vm", "1x10G", "--keep", "50G")[0]
    # Machines of different sizes where each fits only in one way.
    nodes = [Node(0, pool=0, memory=24 * GIB), Node(1, pool=0, memory=12 * GIB)]
    pools, rows = planned(make(nodes), "--vm", "2x8G", "--vm", "1x10G")
    assert sum(pools.values()) == pool_for(16, 2) + pool_for(10)


def test_plan_has_room_for_states(make):
    """A pool that machines fill to the last block could not keep their states over a kexec."""
    for nr in 1, 64, 65, 200:
        pools, _ = planned(make(big(1, 256 * GIB)), "--vm", f"{nr}x1G")
        assert pools == {0: pool_for(nr, nr)} and pools[0] - nr * GIB >= nr * BLOCK
    # The largest pool has room for eight machines, and not for the states.
    tree = make(big(1))
    done = on(tree, "plan", "--vm", "8x1G", "--keep", "56G", status=DIFFERS)
    assert "room for 7 of 8" in done.err
    assert planned(tree, "--vm", "8x1G", "--keep", str((56 * GIB) - SECTION))[0] == {0: pool_for(8)}


def test_plan_prefers_cpus(make):
    """Also to larger nodes; and memory that is movable is for no pool."""
    nodes = [Node(n, pool=0, cpus=f"{n}" if n < 2 else "", memory=(128 + 256 * (n > 1)) * GIB)
             for n in range(4)]
    tree = make(nodes)
    pools, _ = planned(tree, "--vm", "2x64G")
    assert pools == {0: pool_for(64), 1: pool_for(64)}
    assert planned(tree, "--vm", "4x64G")[0].keys() == {0, 1, 2, 3}
    tree.put("sys/devices/system/node/has_normal_memory", "0-1\n")
    pools, rows = planned(tree, "--reserve", "50%")
    assert pools.keys() == {0, 1} and [r["largest"] for r in rows][2:] == [0, 0]
    assert "node 2: its memory is movable" in on(tree, "plan", "--reserve", "50%").err
    on(tree, "plan", "--vm", "4x64G", status=DIFFERS)


@pytest.mark.parametrize("args", [
    ["--vm", "1x18446744073709551615"], ["--vm", "1x15.9999999999E"],
    [], ["--reserve", "1G", "--vm", "1x1G"], ["--reserve", ""], ["--reserve", "0"],
    ["--reserve", "0%"], ["--reserve", "101%"], ["--reserve", "80"], ["--reserve", "127M"],
    ["--reserve", "-1G"], ["--reserve", "x%"],
    ["--vm", "0x1G"], ["--vm", "x1G"], ["--vm", "1x"], ["--vm", "1x0"], ["--vm", "1x1G@"],
    ["--vm", "1x1G@x"], ["--vm", "1x1G@9999"], ["--vm", "1x1G@7"], ["--vm", "-1x1G"],
    ["--vm", "9999999999999999999999x1G"], ["--vm", "1G@-1"], ["--vm", ""], ["--vm", "1x2x3G"],
    ["--reserve", "1G", "--nodes", "7"], ["--reserve", "1G", "--nodes", "x"],
    ["--reserve", "1G", "--nodes", ""], ["--reserve", "1G", "more"],
    ["--reserve", "1G", "--keep", "x"], ["--reserve", "1G", "--keep", "15.99999999999999999999E"],
    ["--reserve", "1G", "--keep", "1GB"], ["--reserve", "1G", "--keep", "0x40000000"],
    ["--reserve", "1G", "--keep", "1e9"], ["--reserve", "1G", "--keep", "-1"], ["--reserve", "1G", "--grub", "--systemd-boot", "--apply"],
    ["--reserve", "1G", "--json", "--apply"], ["--reserve", "1G", "-o", "nonsense"],
], ids=" ".join)
def test_plan_usage(make, args):
    tree = make(big())
    before = files_of(tree)
    done = on(tree, "plan", *args, status=USAGE)
    assert done.err and not done.out
    assert files_of(tree) == before


@pytest.mark.parametrize("err", [errno.EACCES, errno.EIO], ids=errno.errorcode.get)
def test_unreadable_command_line_is_not_missing(make, shim, err):
    """Else it would be replaced by /proc/cmdline, and not be kept."""
    tree = make(big(), cmdline=r"initrd=\4db9\7.3.4\initrd root=/dev/vda1 ro")
    tree.put("etc/kernel/cmdline", "root=/dev/vdb1 nosmt\n")
    before = files_of(tree)
    env = {**shim_options(shim, tree), "SHIM_UNREAD": f"{err}:/etc/kernel/cmdline"}
    del env["SHIM_ROOT"]
    for option in "--apply", "--dry-run":
        done = on(tree, "plan", "--reserve", "16G", option, env=env, status=FAILED)
        assert f"/etc/kernel/cmdline: {os.strerror(err)}: its contents are not known" in done.err
    assert files_of(tree) == before
    del env["SHIM_UNREAD"]
    on(tree, "plan", "--reserve", "16G", "--apply", env=env)
    assert tree.get("etc/kernel/cmdline").startswith("root=/dev/vdb1 nosmt kho=on ")


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
