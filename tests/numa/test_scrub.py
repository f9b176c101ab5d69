# SPDX-License-Identifier: GPL-2.0
"""Blocks are zeroed before anybody gets them: by the pool's thread, or at last by who wants them."""

import os

import pytest

pytestmark = pytest.mark.long

# A GiB that is aligned, and no more.
ONE = dict(nodes=2, mem="3G", append="guestmemfs=1:1G")


def test_thread(vm):
    """After boot and after files are deleted, free blocks become clean by themselves."""
    vm(r"""
    mount_node 1
    wait_clean 1
    memfile fill /mnt/node1/file 64M 1
    pause_scrub 1 Y
    rm /mnt/node1/file
    equal "$(mount_stat 1 dirty_blocks)" 32 'dirty blocks'
    sleep 1
    equal "$(mount_stat 1 dirty_blocks)" 32 'dirty blocks while it is held'
    pause_scrub 1 N
    # It sleeps until it is told of something to do.
    truncate -s 2M /mnt/node1/other
    rm /mnt/node1/other
    wait_clean 1
    truncate -s 1G /mnt/node1/file
    memfile zero /mnt/node1/file
    """, boots=1, **ONE)


def test_where_it_runs(vm):
    """On the CPUs of the node, or on those that are nearest; and only when others do not want them."""
    vm(r"""
    at() {
        pid=$(pgrep -x "gmpool_scrub/$1")
        sed -n 's/^Cpus_allowed_list:\s*//p' "/proc/$pid/status"
    }
    equal "$(at 0)" 0-1 'CPUs of node 0'
    equal "$(at 1)" 2 'CPUs of node 1'
    equal "$(at 2)" 2 'CPUs of node 2, which has none'
    equal "$(ps -o ni= -C gmpool_scrub/1 | tr -d ' ')" 19 'nice'
    """, topology="node=0,cpus=0-1,mem=1G;node=1,cpus=2,mem=1G;node=2,mem=1G;"
                  "dist=0,1,30;dist=0,2,30;dist=1,2,15",
       append="guestmemfs=0:128M,1:128M,2:128M", boots=1)


def test_claims_on_busy_processors(vm):
    """A task that claims the block of the thread does not wait for the idle time of its CPU."""
    run = vm(r"""
    cpus=$(cat /sys/devices/system/node/node1/cpulist)
    pid=$(pgrep -x gmpool_scrub/1)
    mount_node 1
    wait_clean 1
    blocks=$(free_blocks /mnt/node1)
    for _ in $(seq 32); do
        taskset -c "$cpus" sh -c 'while :; do :; done' &
    done

    # claim: ms for all blocks, half of which are dirty
    claim() {
        local start
        start=$(date +%s%N)
        nice -n -10 taskset -c 0 fallocate -l "$((blocks * 2))M" /mnt/node1/all
        echo $((($(date +%s%N) - start) / 1000000))
        rm /mnt/node1/all
    }

    base=0
    worst=0
    for _ in $(seq 6); do
        pause_scrub 1 Y
        sleep 1
        took=$(claim)
        [ "$took" -le "$base" ] || base=$took
        # The thread has work and hardly a CPU, so it is in the middle of a block.
        pause_scrub 1 N
        taskset -c 0 fallocate -l "${blocks}M" /mnt/node1/half
        rm /mnt/node1/half
        sleep 0.5
        took=$(claim)
        [ "$took" -le "$worst" ] || worst=$took
    done
    echo "base=$base"
    echo "worst=$worst"
    # The thread gets its own value back, also one that an administrator gave it.
    for _ in $(seq 50); do
        [ "$(ps -o ni= -p "$pid" | tr -d ' ')" != 19 ] || break
        sleep 0.1
    done
    equal "$(ps -o ni= -p "$pid" | tr -d ' ')" 19 'nice afterwards'
    renice -n 10 -p "$pid"
    claim
    sleep 1
    equal "$(ps -o ni= -p "$pid" | tr -d ' ')" 10 'nice of the administrator'
    kill $(jobs -p)
    wait || true
    """, topology="node=0,cpus=0,mem=1G;node=1,cpus=1,mem=1G", append="guestmemfs=1:256M", boots=1)
    base, worst = int(run.value("base")), int(run.value("worst"))
    assert worst < 3 * base + 2000, run.out


def test_claimers_scrub(vm):
    """Without the thread nothing is different, but for the time that it takes."""
    vm(r"""
    pause_scrub 1 Y
    mount_node 1
    cd /mnt/node1
    wait=$(mount_stat 1 dirty_blocks)
    truncate -s 1G file
    equal "$(mount_stat 1 dirty_blocks)" 0 'dirty blocks when all is taken'
    memfile fill file 1G 1
    rm file
    equal "$(mount_stat 1 dirty_blocks)" 512 'dirty blocks when all is free'
    # By pieces that are too small for helpers, and by such that are not.
    truncate -s 2M one
    truncate -s 126M many
    equal "$(mount_stat 1 dirty_blocks)" 448 'dirty blocks'
    fallocate -l 896M rest
    for file in one many rest; do
        memfile zero $file
    done
    """, topology="node=0,cpus=0,mem=3G;node=1,cpus=1-3,mem=3G", append=ONE["append"], boots=1)


@pytest.mark.quick
def test_clean_blocks_first(vm):
    """What is clean is given out before what is dirty, where it is as good."""
    vm(r"""
    mount_node 1
    cd /mnt/node1
    wait_clean 1
    truncate -s 600M a
    memfile fill a 600M 1
    pause_scrub 1 Y
    rm a
    equal "$(mount_stat 1 dirty_blocks)" 300 'dirty blocks'
    truncate -s 424M b
    equal "$(mount_stat 1 dirty_blocks)" 300 'dirty blocks after the clean ones are used'
    truncate -s 2M c
    equal "$(mount_stat 1 dirty_blocks)" 299 'dirty blocks after that'
    memfile zero b
    memfile zero c
    """, boots=1, **ONE)


def test_dirty_blocks_survive_kexec(vm):
    """They are known as such to the next kernel, which goes on with them, before anybody has them."""
    vm(r"""
    if [ "$VM_BOOT" = 1 ]; then
        mount_node 1
        wait_clean 1
        pause_scrub 1 Y
        memfile fill /mnt/node1/file 100M 1
        memfile fill /mnt/node1/kept 50M 2
        rm /mnt/node1/file
        equal "$(mount_stat 1 dirty_blocks)" 50 'dirty blocks'
        vm-kexec
    fi
    has "$(gm_log)" 'node 1: handed-over file system, 487 of 512 blocks free, 50 of them dirty' log
    mount_node 1
    memfile check /mnt/node1/kept 2
    truncate -s $((487 * 2))M /mnt/node1/all
    memfile zero /mnt/node1/all
    memfile check /mnt/node1/kept 2
    rm /mnt/node1/all
    wait_clean 1
    """, boots=2, **ONE)


@pytest.mark.race
def test_no_leak_between_owners(vm):
    """On a pool that is always nearly full, with kexecs in between."""
    rounds = int(os.environ.get("LEAK_ROUNDS", "1000"))
    run = vm(rf"""
    mount_node 0
    cd /mnt/node0
    [ "$VM_BOOT" != 1 ] || truncate -s $((128 - 16))M ballast
    leak /mnt/node0 {rounds} $(((VM_BOOT - 1) * {rounds}))
    # What the last owner has, nobody may see after the kexec.
    memfile fill last 10M "$VM_BOOT"
    if [ "$VM_BOOT" -lt 4 ]; then
        rm -f file last
        vm-kexec
    fi
    """, nodes=1, mem="1G", append="guestmemfs=0:128M", boots=4,
             options=[f"--timeout={240 + rounds}"])
    done = run.lines("^rounds=")
    assert len(done) == 4
