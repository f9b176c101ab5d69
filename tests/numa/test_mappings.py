# SPDX-License-Identifier: GPL-2.0
"""Mappings of 1 GiB, 2 MiB and 4 KiB, and what operations on mappings do to them."""

import os
import re

import pytest

from conftest import SLOW_MAPPING

pytestmark = pytest.mark.quick

HERE = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(HERE, "mappings.c"), encoding="utf-8") as source:
    CASES = re.findall(r"^TEST_F\(mappings, (\w+)\)", source.read(), re.MULTILINE)

# The kernel is not in the only aligned gigabyte of node 1.
MACHINE = dict(nodes=2, mem="3G", append="guestmemfs=1:1G nokaslr", boots=1)


@pytest.fixture(scope="module")
def results(shared_vm):
    run = shared_vm("mount_node 1; GMFS_DIR=/mnt/node1 GMFS_NODE=1 mappings || true;"
                    " echo \"bad=$(dmesg | grep -c 'bad p[um]d')\"",
                    expect=[SLOW_MAPPING], **MACHINE)
    assert sum(bool(re.search(SLOW_MAPPING, l)) for l in run.boots[0]) == 1
    return run.out


@pytest.mark.parametrize("case", CASES)
def test_mappings(results, case):
    assert re.search(rf"^ok \d+ mappings\.{case}$", results, re.MULTILINE), results


def test_no_leaf_is_bad(results):
    """The kernel clears an entry that is "bad" without a flush: processes would go on using it."""
    assert re.search("^bad=0$", results, re.MULTILINE), results


def test_prefault(vm):
    """Mapped at once with the option, and not without; a mount cannot change it for others."""
    vm(r"""
    mount_node 1
    cd /mnt/node1
    truncate -s 1G file
    has "$(fails fsmount guestmemfs /tmp node=1 prefault)" 'mounted without prefault elsewhere' 'second mount'
    fails grep -q prefault /proc/mounts
    stats() { sed -n 's/.*fstype guestmemfs.*faults_pud=\([0-9]*\).*/\1/p' /proc/self/mountstats; }
    memfile zero file
    equal "$(stats)" 1 'mappings made by faults'
    mount -o remount,prefault /mnt/node1
    grep -q 'guestmemfs .*node=1,prefault' /proc/mounts
    python3 -c 'import mmap; f = open("file", "r+"); mmap.mmap(f.fileno(), 1 << 30)'
    equal "$(stats)" 2 'mappings made by mmap'
    # What is to stay a hole is not filled.
    fallocate -p -o 4M -l 2M file
    python3 -c 'import mmap; f = open("file", "r+"); mmap.mmap(f.fileno(), 1 << 30, 0x4001)'
    equal "$(stat -f -c %f .)" 1 'blocks that are free'
    mount -o remount,noprefault /mnt/node1
    fails grep -q prefault /proc/mounts
    """, **MACHINE)


def test_no_gigabytes(vm):
    """A processor without pages of 1 GiB gets none, by a fault or by prefault."""
    run = vm(r"""
    fails grep -qw pdpe1gb /proc/cpuinfo
    mount_node 1
    cd /mnt/node1
    truncate -s 1G file
    cat > /tmp/touch.py <<'END'
import mmap
f = open("file", "r+")
m = mmap.mmap(f.fileno(), 1 << 30)
m[5] = 1
m[-1] = 2
END
    python3 /tmp/touch.py
    echo "faults=$(mount_stat 1 faults_pud) $(mount_stat 1 faults_pmd)"
    mount -o remount,prefault /mnt/node1
    python3 /tmp/touch.py
    echo "prefault=$(mount_stat 1 faults_pud) $(mount_stat 1 faults_pmd)"
    """, options=["--qemu-args", "-cpu EPYC,-pdpe1gb"], **MACHINE)
    assert run.value("faults") == "0 2"
    assert run.value("prefault") == "0 514"
