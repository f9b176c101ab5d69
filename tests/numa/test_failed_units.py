# SPDX-License-Identifier: GPL-2.0
"""Memory that fails while it goes into a pool or out of it."""

import pytest

from test_resize import CHANGED, LIB, LINE, MACHINE, STOPPED

pytestmark = pytest.mark.long


def test_failures_on_the_way(vm):
    """Memory that fails while it changes hands, and others who change memory at the time."""
    vm(LIB + r"""
    mount_node 1
    wait_clean 1
    memfile fill /mnt/node1/file 300M 1
    unused=$(python3 -c "b = open('$dir/bitmap', 'rb').read()
print(next(i for i in range(512) if not b[i // 8] >> i % 8 & 1))")
    fail() { echo "$1" > /sys/devices/system/memory/hard_offline_page; }

    # Others bring memory online, as udev may.
    while [ ! -e /tmp/stop ]; do
        for state in /sys/devices/system/memory/memory*/state; do
            echo online 2> /dev/null > "$state" || true
        done
    done & onlining=$!

    # Pages of the unit fail before the pool has it: the pool keeps them from guests.
    stop_after 1 +1G
    unit=$(hidden_unit)
    fail $((unit + 0x7000))
    fail $((unit + 0x7000))
    fail $((unit + (600 << 20)))
    fail $((unit + 0x8000))
    equal "$(cat $dir/poisoned_blocks)" 0 'failed blocks of the pool'
    # Failures elsewhere do not wait for the change, which waits for go_on.
    start=$(date +%s%N)
    fail $(($(cut -d' ' -f1 $dir/extents) + unused * (2 << 20)))
    between 0 $((($(date +%s%N) - start) / 1000000)) 10000 'milliseconds of a failure'
    go_on
    wait %2
    touch /tmp/stop
    wait $onlining
    sound $((2 * GIB))
    equal "$(cat $dir/poisoned_blocks)" 3 'failed blocks of the pool'
    equal "$(mount_stat 1 poisoned_pages)" 4 'failed pages of the pool'
    refused 'busy' -1G 'failed page'

    # More in another unit, which leaves the pool again: then the kernel has to know.
    echo +1G > $dir/target
    before=$(awk '/HardwareCorrupted/ { print $2 }' /proc/meminfo)
    pool_ranges 1 > /tmp/with
    stop_after 4 -1G
    sed 's/^/0x/; s/ .*//' /tmp/with | while read -r start; do
        grep -q "^$start " $dir/extents || { fail $((start + 0x9000)); fail $((start + 0x3000)); }
    done
    go_on
    wait %?target 2> /dev/null || wait
    sound $((2 * GIB))
    equal "$(awk '/HardwareCorrupted/ { print $2 }' /proc/meminfo)" $((before + 8)) 'HardwareCorrupted'
    equal "$(cat $dir/poisoned_blocks)" 3 'failed blocks of the pool'
    if [ "$VM_BOOT" = 1 ]; then
        memfile check /mnt/node1/file 1
    fi
    """, expect=[CHANGED, STOPPED, LINE + r"node 1: hardware error at 0x[0-9a-f]+: .*"], **MACHINE)


def test_failed_before(vm):
    """A failed page keeps its unit with the kernel, which goes on using the rest of it."""
    vm(LIB + r"""
    mount_node 1
    echo 2G > $dir/target
    pool_ranges 1 > /tmp/with
    echo 1G > $dir/target
    unit=$(sed 's/^/0x/; s/ .*//' /tmp/with | while read -r start; do
        grep -q "^$start " $dir/extents || echo $((start)); done)
    block=$((unit / 0x$(cat /sys/devices/system/memory/block_size_bytes)))
    # Here nothing is tested before memory is taken offline.
    has "$(cat /sys/devices/system/memory/memory$block/valid_zones)" '^Movable$' 'the zone'
    echo $((unit + 0x7000)) > /sys/devices/system/memory/hard_offline_page
    echo +1G > $dir/target
    # Another one was taken, and all memory blocks are in use.
    fails grep "^$(printf '0x%x ' $unit)" $dir/extents
    fails grep -l offline /sys/devices/system/memory/memory*/state
    equal "$(cat $dir/poisoned_blocks)" 0 'failed blocks of the pool'
    sound $((2 * GIB))
    """, expect=[CHANGED], **MACHINE)


def test_failed_and_offline(vm):
    """A page fails on its way, and its memory cannot come online: nothing is to use it later."""
    vm(LIB + r"""
    mount_node 1
    corrupted() { awk '/HardwareCorrupted/ { print $2 }' /proc/meminfo; }

    before=$(corrupted)
    stop_after 1 +1G
    growing=$!
    unit=$(hidden_unit)
    echo $((unit + 0x7000)) > /sys/devices/system/memory/hard_offline_page
    refuse_unit
    equal "$(corrupted)" $((before + 4)) 'HardwareCorrupted'

    first=$((unit / 0x$(cat /sys/devices/system/memory/block_size_bytes)))
    for state in $(grep -l offline /sys/devices/system/memory/memory*/state); do
        case $state in
        */memory$first/*)
            fails bash -c "echo online_movable > $state" 2> /tmp/said
            has "$(cat /tmp/said)" 'hardware error' 'what the shell says'
            ;;
        *)
            echo online_movable > "$state"
            ;;
        esac
    done
    equal "$(grep -l offline /sys/devices/system/memory/memory*/state)" \
        /sys/devices/system/memory/memory$first/state 'memory that is offline'
    echo +1G > $dir/target
    fails grep "^$(printf '0x%x ' $unit)" $dir/extents
    equal "$(cat $dir/poisoned_blocks)" 0 'failed blocks of the pool'
    """, expect=[CHANGED, STOPPED, LINE + r"node 1: hardware error at 0x[0-9a-f]+: .*",
                 LINE + r"node 1: 1024 MiB of the memory at 0x[0-9a-f]+ stay offline \(-EPERM\): .*"],
       **MACHINE)


def test_failed_while_others_move(vm):
    """A page fails in memory that is offline already, while the rest of its unit still moves."""
    vm(LIB + r"""
    mount_node 1
    corrupted() { awk '/HardwareCorrupted/ { print $2 }' /proc/meminfo; }
    offline() { grep -lx offline /sys/devices/system/memory/memory*/state | head -n 1; }

    pin_movable 900
    before=$(corrupted)
    echo +1G > $dir/target & growing=$!
    for _ in $(seq 600); do
        [ -z "$(offline)" ] || break
        sleep 0.1
    done
    [ -n "$(offline)" ] || die 'no memory is offline'
    sleep 2
    block=$(offline | sed 's/.*memory\([0-9]*\).state/\1/')
    page=$((block * 0x$(cat /sys/devices/system/memory/block_size_bytes) + 0x7000))
    # The failure is not handled yet.
    fails bash -c "echo $page > /sys/devices/system/memory/hard_offline_page" 2> /tmp/said
    has "$(cat /tmp/said)" busy 'what the shell says'
    equal "$(corrupted)" "$before" 'HardwareCorrupted while the memory is offline'
    kill $growing
    wait $growing || true
    equal "$(cat $dir/resize_error)" 'interrupted by a signal' resize_error
    kill $pinning
    equal "$(offline)" '' 'memory that is offline'
    equal "$(corrupted)" $((before + 4)) 'HardwareCorrupted'
    equal "$(cat $dir/poisoned_blocks)" 0 'failed blocks of the pool'
    sound $GIB
    """, expect=[CHANGED], **MACHINE)
