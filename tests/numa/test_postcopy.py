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
    CASES = re.findall(r"^TEST_F(?:_TIMEOUT)?\(postcopy, (\w+)[,)]", source.read(), re.MULTILINE)


@pytest.fixture(scope="module")
def results(shared_vm):
    # Poison last, as what has failed is lost to the gigabyte.
    return shared_vm("""
    mount_node 1
    export GMFS_DIR=/mnt/node1 GMFS_NODE=1
    test -e /sys/fs/guestmemfs/features/userfaultfd
    postcopy -T poison -T poison_of_a_gigabyte || true
    postcopy -t poison_of_a_gigabyte || true
    postcopy -t poison || true
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
    """, nodes=2, mem="3G", append="guestmemfs=1:1152M nokaslr", boots=1, options=["--nested"],
             expect=[ERROR]).out


@pytest.mark.parametrize("case", CASES)
def test_postcopy(results, case):
    assert re.search(rf"^ok \d+ postcopy\.{case}$", results, re.MULTILINE), results


def test_dma(vm):
    """Random pages of virtual processors come by DMA of devices, into a mapping of the same file
    behind the IOMMU: none is seen before it has come, and no store is lost."""
    run = vm(r"""
    mount_node 0
    mount_node 1
    truncate -s 64M /mnt/node0/from /mnt/node1/to
    devices=
    for _ in 1 2 3 4; do
        take_device 0x11e8
        devices="$devices $device $group $cdev"
    done
    postcopy_dma /mnt/node0/from /mnt/node1/to 1000 $devices
    for node in 0 1; do
        equal "$(cat /sys/fs/guestmemfs/node$node/pinned_blocks)" 0 'pinned blocks'
        equal "$(cat /sys/fs/guestmemfs/node$node/check)" ok check
    done
    """, nodes=2, mem="1G", append="guestmemfs=0:128M,1:128M intel_iommu=on", boots=1,
             options=["--nested", "--qemu-args", "-device intel-iommu,intremap=on,aw-bits=48" +
                      4 * " -device edu,dma_mask=0xffffffffffff"])
    assert run.lines("^postcopy_dma: ") == ["postcopy_dma: devices=4 pages=1000 events=1000 wrong=0"]
