# SPDX-License-Identifier: GPL-2.0
"""Pools that change their size at random, while files come and go, over kexecs.

RESIZES is how many there are in each boot, and make soak has more of them.
"""

import os

import pytest

from test_resize import CHANGED, KEPT, LIB, MACHINE

pytestmark = pytest.mark.long

RESIZES = int(os.environ.get("RESIZES", 6))
KEXECS = int(os.environ.get("RESIZE_KEXECS", 1))
SEED = int(os.environ.get("SEED", 1))


def test_random_resizes(vm):
    """Each size is reached, or is refused by a reason; the files that stay are as they were."""
    run = vm(LIB + rf"""
    RANDOM=$(({SEED} * 1000 + VM_BOOT))
    check_kho
    mount_node 1
    cd /mnt/node1
    if [ "$VM_BOOT" = 1 ]; then
        memfile fill kept 200M 7
        memfile fill used 100M 8
        everything > $VM_SCRATCH/all
    fi

    # Files of up to 300 MiB, with and without contents.
    storm() {{
        while [ ! -e /tmp/stop ]; do
            file=s$((RANDOM % 8))
            if [ -e $file ]; then
                rm $file
            elif [ $((RANDOM % 2)) = 0 ]; then
                truncate -s $((RANDOM % 300 + 2))M $file 2> /dev/null || true
            else
                memfile fill $file $((RANDOM % 100 + 2))M 9 > /dev/null 2>&1 || true
            fi
        done
    }}
    # A process that has a file mapped, and finds its contents in it.
    reader() {{
        while [ ! -e /tmp/stop ]; do
            memfile check used 8 || touch /tmp/bad
        done
    }}
    storm & storming=$!
    reader & reading=$!
    for _ in $(seq {RESIZES}); do
        size=$((RANDOM % 4 + 1))G
        [ $((RANDOM % 2)) = 0 ] || size="in-use $size"
        if echo "$size" 2> /tmp/said > $dir/target; then
            equal "$(cat $dir/size)" $((${{size//[!0-9]}} * GIB)) 'the size'
            echo "reached=$size"
        else
            [ -n "$(cat $dir/resize_error)" ] || die "no reason: $(cat /tmp/said)"
            echo "refused=$size: $(cat $dir/resize_error)"
        fi
        memfile check kept 7
    done
    touch /tmp/stop
    wait $storming
    wait $reading
    [ ! -e /tmp/bad ] || die 'the file was not readable all the time'
    rm -f s*
    sound "$(cat $dir/size)"
    equal "$(free_blocks .)" $(($(cat $dir/total_blocks) - 150)) 'free blocks'
    between $(($(cat $VM_SCRATCH/all) - (8 << 20))) "$(everything)" $(($(cat $VM_SCRATCH/all) + (8 << 20))) 'all memory'
    memfile check used 8
    rm /tmp/stop
    cd /
    [ "$VM_BOOT" = {KEXECS + 1} ] || vm-kexec
    """, boots=KEXECS + 1, expect=[f"{CHANGED}|{KEPT}"],
             **MACHINE, options=[f"--timeout={120 * (RESIZES + 2)}"])
    reached = len(run.lines("^reached="))
    assert reached + len(run.lines("^refused=")) == RESIZES * (KEXECS + 1)
    # The seed has some that are possible.
    assert reached >= (KEXECS + 1) * RESIZES // 4, run.out
