# SPDX-License-Identifier: GPL-2.0
"""Exchange of ranges of two files: exchange.c, cgroups, and a kexec at any instant."""

import os
import re

import pytest

from test_cgroup import LIB
from test_dma import EDU, IOMMU

pytestmark = pytest.mark.race

HERE = os.path.dirname(os.path.abspath(__file__))
ERRORS = [r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: ",
          r"guestmem_pool: node 1: 1 pages have hardware errors and are not used"]
# Kernels that follow each other, each in the middle of exchanges.
BOOTS = int(os.environ.get("EXCHANGE_BOOTS", "2"))

with open(os.path.join(HERE, "exchange.c"), encoding="utf-8") as source:
    CASES = re.findall(r"^TEST_F(?:_TIMEOUT)?\(exchange, (\w+)[,)]", source.read(), re.MULTILINE)

SCRIPT = LIB + EDU + r"""
mount_node 0
mount_node 1
cd /mnt/node1
if [ "$VM_BOOT" = 1 ]; then
    new a b
    inside a truncate -s 16M parent
    inside b truncate -s 4M child
    holds a 1 16
    holds b 1 4
    # Blocks of a for a hole, and blocks of a for some of b: each pays as before.
    exchange parent 0 child 4194304 6291456 0x8000000000000000
    exchange parent 8388608 child 0 2097152
    holds a 1 16
    holds b 1 4
    # Those who gave the memory pay, wherever it is.
    truncate -s 0 child
    between 8 "$(($(awk '$1 == "guestmemfs/node1" { print $2 }' $cg/a/dmem.current) >> 20))" 10 'MiB of a'
    rm parent child
    holds a 1 0
    holds b 1 0
    GMFS_DIR=/mnt/node1 GMFS_NODE=1 GMFS_OTHER=/mnt/node0 GMFS_DEVICE="$device $group $cdev" exchange || true
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
else
    exchange whole one two
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
    rm one two
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
fi
if [ "$VM_BOOT" -lt "$BOOTS" ]; then
    exchange loop one two > /tmp/said &
    wait_for /tmp/said looping
    sleep 0.$(($(date +%N | cut -c 1-3 | sed 's/^0*//;s/^$/0/') % 9))
    vm-kexec
fi
"""


@pytest.fixture(scope="module")
def results(shared_vm):
    return shared_vm(f"BOOTS={BOOTS}\n" + SCRIPT, nodes=2, mem="2G", boots=BOOTS,
                     append="guestmemfs=0:128M,1:256M intel_iommu=on", options=["--nested", "--timeout=600", *IOMMU], expect=ERRORS)


@pytest.mark.parametrize("case", CASES)
def test_exchange(results, case):
    # Not one that was skipped.
    assert re.search(rf"^ok \d+ exchange\.{case}$", results.out, re.MULTILINE), results.out


def test_kexec(results):
    """Each block is in exactly one file, with the contents it had, whenever the kexec came."""
    assert len(results.lines(r"^whole=\d+ of 16 blocks")) == BOOTS - 1, results.out
