# SPDX-License-Identifier: GPL-2.0
"""Post-copy by userfaultfd: events, sizes, errors, races, virtual processors that wait."""

import os
import re

import pytest

pytestmark = pytest.mark.race

HERE = os.path.dirname(os.path.abspath(__file__))
ERROR = (r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used any more, "
         r"and block \d+ is not allocated again$")

with open(os.path.join(HERE, "postcopy.c"), encoding="utf-8") as source:
    CASES = re.findall(r"^TEST_F\(postcopy, (\w+)\)", source.read(), re.MULTILINE)


@pytest.fixture(scope="module")
def results(shared_vm):
    # Poison last, as what has failed is lost to the gigabyte.
    return shared_vm("""
    mount_node 1
    export GMFS_DIR=/mnt/node1 GMFS_NODE=1
    test -e /sys/fs/guestmemfs/features/userfaultfd
    postcopy -T poison || true
    postcopy -t poison || true
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
    """, nodes=2, mem="3G", append="guestmemfs=1:1G", boots=1, options=["--nested"], expect=[ERROR]).out


@pytest.mark.parametrize("case", CASES)
def test_postcopy(results, case):
    assert re.search(rf"^ok \d+ postcopy\.{case}$", results, re.MULTILINE), results
