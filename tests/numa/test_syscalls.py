# SPDX-License-Identifier: GPL-2.0
"""Every system call on mappings by 1 GiB, 2 MiB and 4 KiB: syscalls.c."""

import os
import re

import pytest

from conftest import SLOW_MAPPING

HERE = os.path.dirname(os.path.abspath(__file__))
VARIANTS = ("page", "block", "gib")

with open(os.path.join(HERE, "syscalls.c"), encoding="utf-8") as source:
    CASES = re.findall(r"^TEST_F\(map, (\w+)\)", source.read(), re.MULTILINE)


@pytest.fixture(scope="module")
def results(shared_vm):
    return shared_vm(r"""
    mount_node 1
    mkdir /tmp/bounce
    echo core > /proc/sys/kernel/core_pattern
    truncate -s 1M /tmp/disk
    GMFS_DISK=$(losetup -f --show /tmp/disk)
    export GMFS_DIR=/mnt/node1 GMFS_NODE=1 GMFS_BOUNCE=/tmp/bounce GMFS_DISK
    syscalls || true
    """, nodes=2, mem="3G", cpus=4, append="guestmemfs=1:1G", boots=1,
                     expect=[SLOW_MAPPING]).out


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_syscalls(results, case, variant):
    assert re.search(rf"^ok \d+ map\.{variant}\.{case}$", results, re.MULTILINE), results
