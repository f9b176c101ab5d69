# SPDX-License-Identifier: GPL-2.0
"""Files of guestmemfs as the memory of guest_memfd, in KVM inside the test machine."""

import os
import re

import pytest

from test_dma import EDU, IOMMU

HERE = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(HERE, "gmem.c"), encoding="utf-8") as source:
    CASES = re.findall(r"^TEST_F_TIMEOUT\(gmem, (\w+),", source.read(), re.MULTILINE)

MACHINE = dict(topology="node=0,cpus=0,mem=2G;node=1,cpus=1,mem=5G",
               append="guestmemfs=1:2G intel_iommu=on", options=["--nested", "--timeout=900", *IOMMU])
POISON = r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used"


@pytest.fixture(scope="module")
def results(shared_vm):
    return shared_vm(EDU + r"""
    mount_node 1
    export GMFS_DIR=/mnt/node1 GMFS_NODE=1 GMFS_DEVICE="$device $group $cdev"
    on_one_cpu gmem -T poison_private || true
    cd /mnt/node1
    # Its processors are not on one CPU, as the race needs several.
    for try in 1 2 3; do
        truncate -s 1G vm
        status=0
        timeout 150 gmem storm vm other rest 20 || status=$?
        rm vm other rest
        [ "$status" = 2 ] || [ "$status" = 124 ] || break
        echo "storm: try $try: a processor of the emulation is lost"
    done
    # Last, as what has failed is lost to the gigabyte of the storm.
    on_one_cpu gmem -t poison_private || true
    """, expect=[POISON], boots=1, **MACHINE).out


@pytest.mark.parametrize("case", CASES)
def test_gmem(results, case):
    assert re.search(rf"^ok \d+ gmem\.{case}$", results, re.MULTILINE), results


def test_no_leaf_reaches_into_a_hole(results):
    """Processors that fault next to a block that is being freed do not map it."""
    found = re.search(r"^storm: tried=(\d+) whole=(\d+) leaves=0 foreign=0$", results, re.MULTILINE)
    assert found and int(found.group(2)) > 100, results


def test_shadow_paging(vm):
    """Without nested paging, KVM maps no more by one entry than its tables for the guest can."""
    vm("""
    mount_node 1
    export GMFS_DIR=/mnt/node1 GMFS_NODE=1 GMFS_SHADOW=1
    equal "$(cat /sys/module/kvm_amd/parameters/npt)" N 'nested paging'
    gmem -t leaves_1g -t leaves_by_offset -t shared
    """, boots=1, **{**MACHINE, "append": "guestmemfs=1:2G kvm_amd.npt=0", "options": ["--nested"]})


def test_kexec(vm):
    """Private memory of two machines is as their guests left it, and no process maps it."""
    vm(r"""
    mount_node 1
    cd /mnt/node1
    if [ "$VM_BOOT" = 1 ]; then
        truncate -s 64M one two
        gmem write one 1
        gmem write two 2
        fails memfile check one 1
        equal "$(cat /sys/fs/guestmemfs/node1/private_files)" 2 'private files'
        cd /
        vm-kexec
    fi
    equal "$(cat /sys/fs/guestmemfs/node1/private_files)" 2 'private files'
    fails memfile check one 1
    gmem hold one > /tmp/hold &
    wait_for /tmp/hold attached
    fails umount /mnt/node1
    fails truncate -s 32M one
    kill $!
    wait $! || true
    gmem check one 1
    gmem check two 2
    # A frozen node: what need not change goes on, and who fills a hole can be killed.
    echo 1 > /sys/fs/guestmemfs/node1/frozen
    gmem check two 2
    echo 0 > /sys/fs/guestmemfs/node1/frozen
    fallocate -p -l 2M one
    echo 1 > /sys/fs/guestmemfs/node1/frozen
    gmem check one 1 &
    sleep 2
    kill -KILL $!
    status=0
    wait $! || status=$?
    equal $status 137 'status of a process that was killed'
    echo 0 > /sys/fs/guestmemfs/node1/frozen
    # Another seed is seen.
    fails gmem check two 1
    truncate -s 0 one two
    equal "$(cat /sys/fs/guestmemfs/node1/private_files)" 0 'private files'
    """, boots=2, **MACHINE)


def test_luo(vm):
    """On a frozen node, LUO does not wait for the thaw behind a task that attaches the file. A
    private file without a name, retrieved from LUO, is private and as the guest has left it."""
    vm(r"""
    mount_node 1
    cd /mnt/node1
    frozen=/sys/fs/guestmemfs/node1/frozen preserved=/sys/fs/guestmemfs/node1/preserved_files
    if [ "$VM_BOOT" = 1 ]; then
        truncate -s 8M one two
        gmem write one 1
        gmem preserve two > /tmp/two &
        session=$!
        wait_for /tmp/two preserved
        equal "$(cat $preserved)" 1 'preserved files'
        # A hole that cannot be filled now: who attaches the file waits for the thaw.
        fallocate -p -l 2M two
        echo 1 > $frozen
        gmem hold two > /tmp/hold &
        hold=$!
        sleep 2
        # The end of the session changes the record of the file.
        kill $session
        for _ in $(seq 300); do
            [ "$(cat $preserved)" != 0 ] || break
            sleep 0.1
        done
        equal "$(cat $preserved)" 0 'preserved files after the session'
        fails timeout 30 gmem preserve two 2> /tmp/said
        has "$(cat /tmp/said)" 'busy' 'LUO'
        equal "$(cat /tmp/hold)" '' 'output of who waits'
        echo 0 > $frozen
        wait_for /tmp/hold attached
        kill $hold
        wait $hold || true
        gmem preserve one > /tmp/one &
        wait_for /tmp/one preserved
        rm one
        vm-kexec
    fi
    gmem retrieve /tmp/link > /tmp/one &
    wait_for /tmp/one retrieved
    equal "$(ls)" two names
    equal "$(cat /sys/fs/guestmemfs/node1/private_files)" 2 'private files'
    fails memfile check /tmp/link 1
    gmem check /tmp/link 1
    """, boots=2, **MACHINE)
