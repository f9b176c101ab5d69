# SPDX-License-Identifier: GPL-2.0
"""System calls at random: nobody crashes, and what nobody touched is what it was."""

import os

import pytest

from conftest import DEBUG

# Others than these are tried with MONKEY_SEED= and MONKEY_SECONDS=.
SEED = int(os.environ.get("MONKEY_SEED", "1"))
SECONDS = int(os.environ.get("MONKEY_SECONDS", "300" if DEBUG else "20"))
# No call of these succeeds, of any file.
NEVER = {"read", "write", "between"}


@pytest.mark.race
def test_random_calls(vm):
    run = vm(rf"""
    mount_node 1
    if [ "$VM_BOOT" = 1 ]; then
        memfile fill /mnt/node1/kept 16M 1
        mkdir -m 1777 /mnt/node1/monkey
        for ((seed = {SEED}, left = {SECONDS}; left > 0; seed++, left -= 60)); do
            # What they mount goes with them, but for what it does to all mounts.
            mount -o remount,rw /mnt/node1
            unshare -m monkey /mnt/node1/monkey 1 $seed $((left < 60 ? left : 60)) 4
            for node in 0 1; do
                equal "$(cat /sys/fs/guestmemfs/node$node/check)" ok "node $node after seed $seed"
            done
        done
        # Nothing has stayed behind of what was removed and is not open. Symbolic links
        # lead some of it elsewhere.
        chattr -R -ia /mnt/node1/* 2> /dev/null || true
        find /mnt/node1 -mindepth 1 -maxdepth 1 ! -name kept -exec rm -r {{}} +
        equal "$(free_blocks /mnt/node1)" "$(($(total_blocks /mnt/node1) - 8))" 'free blocks'
        vm-kexec
    fi
    memfile check /mnt/node1/kept 1
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok 'node 1'
    """, nodes=2, cpus=3, mem="2G", append="guestmemfs=0:256M,1:1G", boots=2,
             options=[f"--timeout={SECONDS + 600}"],
             # Any of ours: it does all that is warned of.
             expect=[r"guestmem(_pool|fs): "])
    calls = run.counts("made", "good")
    assert all(c["made"] for c in calls.values()), calls
    # What only fails is no test of what it does.
    assert {name for name, c in calls.items() if not c["good"]} <= NEVER, calls
