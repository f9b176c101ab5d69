# SPDX-License-Identifier: GPL-2.0
"""Every operation on files, on a new file system and on a handed-over one."""

import os
import re

import pytest

from conftest import DEBUG, SLOW_MAPPING

pytestmark = pytest.mark.quick

HERE = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(HERE, "files.c"), encoding="utf-8") as source:
    OPERATIONS = re.findall(r"^TEST_F\(gmfs, (\w+)\)", source.read(), re.MULTILINE)

SCRIPT = r"""
mount_node 0
cd /mnt/node0
mkdir -p work other
# A neighbour that nothing of all that may touch.
if [ "$VM_BOOT" = 1 ]; then
	memfile fill other/kept 20M 7
fi
memfile check other/kept 7
echo "== $VM_BOOT"
GMFS_DIR=/mnt/node0/work files || true
echo "== end"
memfile check other/kept 7
rmdir work
[ "$VM_BOOT" = 2 ] || vm-kexec
"""


@pytest.fixture(scope="module")
def results(shared_vm):
    run = shared_vm(SCRIPT, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=2,
                    expect=[SLOW_MAPPING])
    found = {}
    for part in re.findall(r"^== (\d)\n(.*?)^== end", run.out, re.MULTILINE | re.DOTALL):
        text = ""
        for line in part[1].split("\n"):
            text += line + "\n"
            m = re.match(r"(ok|not ok) \d+ gmfs\.(\w+)$", line)
            if m:
                found[int(part[0]), m.group(2)] = (m.group(1), text)
                text = ""
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("boot", [1, 2], ids=["new", "handed-over"])
def test_operation(results, boot, operation):
    assert (boot, operation) in results, "it did not come to that"
    verdict, text = results[boot, operation]
    assert verdict == "ok", text


def test_large_directories(vm):
    """By instructions: what is done with one name costs little more among many."""
    counts = (100, 1000, 3000) if DEBUG else (100, 10000, 100000)
    run = vm(f"""
    mount_node 0
    names /mnt/node0 {" ".join(map(str, counts))}
    equal "$(mount_stat 0 inodes)" 1 'inodes that are left'
    """, nodes=1, cpus=1, mem="2G", append="guestmemfs=0:256M", boots=1,
             options=["--icount", "--timeout=1200"])
    lines = run.lines("^count=")
    print("\n".join(lines))
    cost = [dict((k, int(v)) for k, v in (w.split("=") for w in line.split())) for line in lines]
    assert [c["count"] for c in cost] == list(counts)
    for what in ("make", "lookup", "readdir", "remove"):
        assert cost[-1][what] < 2 * cost[0][what], f"{what}: {lines}"
