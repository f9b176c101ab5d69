# SPDX-License-Identifier: GPL-2.0
"""Memory that fails: who is told, what is left, and what the next kernel knows of it."""

import os
import re

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ERROR = (r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used any more, "
         r"and block \d+ is not given out again$")

with open(os.path.join(HERE, "poison.c"), encoding="utf-8") as source:
    CASES = re.findall(r"^TEST(?:_F)?\((?:poison, )?(\w+)\)", source.read(), re.MULTILINE)

MACHINE = dict(nodes=2, mem="3G", append="guestmemfs=1:1G", expect=[ERROR])


@pytest.fixture(scope="module")
def results(shared_vm):
    # The gigabyte first, while there is one.
    return shared_vm("""
    mount_node 1
    export GMFS_DIR=/mnt/node1
    poison -t gigabyte || true
    poison -T gigabyte || true
    """, boots=1, **MACHINE).out


@pytest.mark.parametrize("case", CASES)
def test_poison(results, case):
    assert re.search(rf"^ok \d+ (poison|global)\.{case}$", results, re.MULTILINE), results


# An Intel processor, for the kernel to believe what QEMU's monitor makes it report,
# and a port to that monitor: QEMU talks to itself.
CHECKS = ("-cpu max,vendor=GenuineIntel,family=6,model=106,stepping=6 "
          "-chardev socket,id=mon,path={path},server=on,wait=off -mon chardev=mon,mode=readline "
          "-chardev socket,id=port,path={path} -device virtserialport,chardev=port,name=monitor")


def test_machine_checks(vm, tmp_path):
    """Errors that a processor reports, by QEMU's command for it: found, consumed, of a free page."""
    run = vm("""
    mount_node 1
    export GMFS_DIR=/mnt/node1
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat $port/name)" != monitor ] || export GMFS_MONITOR=/dev/${port##*/}
    done
    mce
    equal "$(mount_stat 1 poisoned_pages)" 3 'pages'
    """, nodes=2, mem="1G", append="guestmemfs=1:256M", expect=[ERROR], boots=1,
             options=["--qemu-args=" + CHECKS.format(path=tmp_path / "monitor")])
    assert re.search("^# PASSED: 3 / 3 tests passed", run.out, re.MULTILINE), run.out


def test_poison_survives_kexec(vm):
    """The next kernel gives the blocks to nobody, and keeps a file from its bad page alone."""
    vm(r"""
    fail() {
        echo "$1" > /sys/devices/system/memory/hard_offline_page
    }
    phys_of() {
        memfile where "$1" | sed -n 's/.* blocks at \(0x[0-9a-f]*\)-.*/\1/p;q'
    }
    mount_node 1
    cd /mnt/node1
    case $VM_BOOT in
    1)
        memfile fill kept 10M 1
        memfile fill other 10M 2
        truncate -s 4M gone
        kept=$(phys_of kept)
        gone=$(phys_of gone)
        rm gone
        fail $((kept + 2 * 4096))
        fail $((gone + 3 * 4096))
        fail $((gone + (2 << 20)))
        equal "$(mount_stat 1 poisoned_pages)" 3 'pages'
        equal "$(free_blocks .)" 500 'free blocks'
        vm-kexec
        ;;
    2 | 3)
        has "$(gm_log)" 'node 1: 3 pages have hardware errors' log
        equal "$(mount_stat 1 poisoned_pages)" 3 'pages'
        equal "$(free_blocks .)" 500 'free blocks'
        memfile check other 2
        set +e
        memfile check kept 1
        status=$?
        set -e
        equal "$status" $((128 + 7)) 'status of a program that reads the page'
        # All that is free can be had, and is good.
        truncate -s 1000M all
        equal "$(free_blocks .)" 0 'free blocks'
        memfile fill all 1000M 3
        rm all
        if [ "$VM_BOOT" = 2 ]; then
            vm-kexec
        fi
        rm kept
        equal "$(free_blocks .)" 504 'free blocks at last'
        ;;
    esac
    """, boots=3, **{**MACHINE, "expect": [ERROR, r"node 1: 3 pages have hardware errors"]})
