# SPDX-License-Identifier: GPL-2.0
"""Claims of many runs: who zeroes them, how they end early, and what if memory fails meanwhile."""

from test_cgroup import LIB

ERROR = (r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used any more, "
         r"and block \d+ is not allocated again$")


def test_fragmented(vm):
    """Every second block of a gigabyte is free."""
    vm(LIB + r"""
    pause_scrub 1 Y
    mount_node 1
    cd /mnt/node1
    truncate -s 1G comb
    for i in $(seq 0 2 511); do
        fallocate -p -o $((i * 2))M -l 2M comb
    done
    equal "$(mount_stat 1 dirty_blocks)" 256 'dirty blocks'
    tracing=/sys/kernel/tracing
    echo 0 > /proc/sys/kernel/tracepoint_printk
    echo > $tracing/trace
    echo 1 > $tracing/events/guestmemfs/guestmemfs_scrub/enable
    truncate -s 512M file
    echo 0 > $tracing/events/guestmemfs/guestmemfs_scrub/enable
    equal "$(grep -c guestmemfs_scrub: $tracing/trace)" 256 'blocks that were zeroed'
    cpus=$(sed -n 's/.* \[\([0-9]*\)\] .*guestmemfs_scrub:.*/\1/p' $tracing/trace | sort -u | wc -l)
    between 2 "$cpus" 4 'CPUs that zeroed them'
    memfile zero file
    memfile fill file 512M 1

    # A task that is killed in the middle, once the first block is zeroed, changes nothing.
    rm file
    truncate -s 2M killed
    free=$(free_blocks .)
    size=
    for _ in 1 2 3 4 5; do
        echo > $tracing/trace
        echo 1 > $tracing/events/guestmemfs/guestmemfs_scrub/enable
        truncate -s 512M killed &
        head -n 1 $tracing/trace_pipe > /dev/null
        kill -9 $! 2> /dev/null || true
        wait $! || true
        echo 0 > $tracing/events/guestmemfs/guestmemfs_scrub/enable
        size=$(stat -c %s killed)
        [ "$size" = $((2 << 20)) ] && [ "$(mount_stat 1 dirty_blocks)" != 0 ] && break
        # No try: the kill came too late. The blocks of the next try have to be dirty again.
        size=
        truncate -s 512M killed
        truncate -s 2M killed
    done
    equal "$size" $((2 << 20)) 'size after a kill'
    equal "$(free_blocks .)" "$free" 'free blocks after a kill'
    between 1 "$(mount_stat 1 dirty_blocks)" 255 'dirty blocks after a kill'
    rm killed comb
    equal "$(free_blocks .)" 512 'free blocks'

    # Pages that fail while a claim has their block. The block that replaces one is not charged
    # once more, and takes nothing from the limit.
    truncate -s 1000M all
    rm all
    new a
    limit a 1 900M
    read -r base size < /sys/fs/guestmemfs/node1/extents
    for i in 1 2 3; do
        (
            sleep 0.0$i
            echo $((base + size / 4 * i + 0x5000)) > /sys/devices/system/memory/hard_offline_page
        ) &
        inside a truncate -s 900M all || die "truncate: $?"
        wait $!
        holds a 1 900
        refused inside a truncate -s 901M all
        fallocate -p -o 450M -l 2M all
        holds a 1 898
        inside a fallocate -o 450M -l 2M all
        refused inside a fallocate -o 900M -l 2M all
        rm all
        # The handler of the failed page may hold the inode, until its worker has run.
        for _ in $(seq 100); do
            ! grep -q '^guestmemfs/node1 [1-9]' $cg/a/dmem.current || sleep 0.1
        done
        holds a 1 0
    done
    equal "$(mount_stat 1 poisoned_pages)" 3 'pages'
    equal "$(free_blocks .)" 509 'free blocks'
    """, topology="node=0,cpus=0,mem=3G;node=1,cpus=1-3,mem=3G", append="guestmemfs=1:1G", boots=1,
       expect=[ERROR])
