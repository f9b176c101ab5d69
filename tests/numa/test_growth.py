# SPDX-License-Identifier: GPL-2.0
"""The growth reserve: memory next to a pool that holds nothing unmovable."""

import pytest

LINE = r"guestmem_pool: "
GIB = 1 << 30

# start of the reserve, its memory blocks, and what a process pins on the node.
TOOLS = r"""
start=$(pool_ranges 1 | tail -1 | cut -d' ' -f2)
start=$((0x$start + 1))
block=$((0x$(cat /sys/devices/system/memory/block_size_bytes)))

# zone_start NODE ZONE: 0 if it has no pages
zone_start() {
    awk -v node="$1," -v zone="$2" '
        /^Node/ { here = $2 == node && $4 == zone }
        here && $1 == "present" && !$2 { print 0 }
        here && $1 == "start_pfn:" { print $2 }' /proc/zoneinfo
}

blocks() {
    seq $((start / block)) $(((start + (1 << 30)) / block - 1))
}

set_blocks() {
    for n in $(blocks); do
        echo "$1" > "/sys/devices/system/memory/memory$n/state" || die "memory block $n: not $1"
    done
}

reserve() {
    cat /sys/fs/guestmemfs/node1/growth_reserve
}
"""

# 64 MiB, as many pages in ZONE_MOVABLE as there are, which io_uring pins then.
PIN = r"""
import ctypes, mmap, sys, time
libc = ctypes.CDLL(None, use_errno=True)
size = 64 << 20
memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, size, 4096):
    memory[at] = 1
params = ctypes.create_string_buffer(120)
ring = libc.syscall(425, 4, params)
assert ring >= 0, ctypes.get_errno()
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
iovec = (ctypes.c_uint64 * 2)(address, size)
assert libc.syscall(427, ring, 0, iovec, 1) == 0, ctypes.get_errno()
print("pinned", flush=True)
time.sleep(600)
"""


def test_nothing_unmovable_is_in_it(vm):
    """Over kexecs as well. All of it can be set offline, whatever the kernel and others hold."""
    vm(TOOLS + r"""
    check_kho
    equal "$(pool_bytes 1)" $((1 << 30)) 'the pool'
    equal "$(zone_start 1 Movable)" $((start >> 12)) 'start of ZONE_MOVABLE'
    equal "$(zone_start 0 Movable)" 0 'ZONE_MOVABLE of node 0'
    between $((1 << 30)) "$(reserve)" $((2 << 30)) 'growth_reserve'
    equal "$(cat /sys/fs/guestmemfs/features/growth_reserve)" supported 'the feature'
    before=$(reserve)

    # Slabs on the node, from a tmpfs that is full of names, and page cache.
    mkdir -p /tmp/spray
    mount -t tmpfs -o mpol=bind:1,nr_inodes=0 none /tmp/spray
    numactl --membind=1 sh -c 'cd /tmp/spray && mkdir $(seq 12000)'
    numactl --membind=1 dd if=/dev/zero of=/tmp/spray/data bs=1M count=600 2> /dev/null
    numactl --membind=1 /usr/bin/python3 -B -c '""" + PIN + r"""' > /tmp/pinned &
    holder=$!
    for _ in $(seq 600); do
        [ ! -s /tmp/pinned ] || break
        sleep 0.1
    done
    equal "$(cat /tmp/pinned)" pinned 'what io_uring says'

    set_blocks offline
    equal "$(reserve)" $((before - (1 << 30))) 'growth_reserve of memory that is offline'
    first=$(blocks | head -1)
    echo online > /sys/devices/system/memory/memory$first/state
    has "$(cat /sys/devices/system/memory/memory$first/valid_zones)" '^Movable$' 'the zone'
    equal "$(reserve)" $((before - (1 << 30))) 'growth_reserve with one block'
    echo offline > /sys/devices/system/memory/memory$first/state
    set_blocks online_movable
    equal "$(reserve)" "$before" 'growth_reserve'
    # What is ordinary memory now is not part of it.
    echo offline > /sys/devices/system/memory/memory$first/state
    echo online_kernel > /sys/devices/system/memory/memory$first/state
    equal "$(reserve)" $((before - (1 << 30))) 'growth_reserve with ordinary memory'

    kill $holder
    umount /tmp/spray
    [ "$VM_BOOT" = 3 ] || vm-kexec
    """, nodes=2, mem="4G", boots=3, append="guestmemfs=1:1G+1G nokaslr",
       expect=[LINE + r"node 1: growth reserve of 1024 MiB from .*, for movable pages only"])


def test_gigantic_page(vm):
    """A page of hugetlb of 1 GiB is in the reserve: growing says that it is busy, and does not wait for another."""
    vm(TOOLS + r"""
    free_movable() {
        awk '/^Node 1, zone +Movable/ { here = 1 } here && $2 == "free" { print $3; exit }' /proc/zoneinfo
    }
    before=$(free_movable)
    echo 1 > /proc/sys/vm/movable_gigantic_pages
    pages=/sys/devices/system/node/node1/hugepages/hugepages-1048576kB
    echo 1 > $pages/nr_hugepages
    equal "$(cat $pages/free_hugepages)" 1 'free gigantic pages'
    between 250000 $((before - $(free_movable))) 270000 'pages of ZONE_MOVABLE'
    mkdir /tmp/huge
    mount -t hugetlbfs -o pagesize=1G none /tmp/huge
    for used in 0 1; do
        [ $used = 0 ] || numactl --membind=1 fallocate -l 1G /tmp/huge/file
        equal "$(cat $pages/free_hugepages)" $((1 - used)) 'free gigantic pages'
        # More than there is: all units are tried.
        fails timeout 100 sh -c 'echo 9G > /sys/fs/guestmemfs/node1/target' 2> /tmp/said
        has "$(cat /sys/fs/guestmemfs/node1/resize_error)" 'pages that cannot be moved' 'what is in the way'
        equal "$(cat $pages/nr_hugepages)" 1 'gigantic pages'
    done
    """, nodes=2, mem="4G", boots=1, append="guestmemfs=1:1G+1G nokaslr")


def test_what_is_refused(vm):
    """A reserve that does not fit is left out, and the pool is made."""
    vm(TOOLS + r"""
    check_kho
    equal "$(pool_bytes 0)" $((512 << 20)) 'pool of node 0'
    equal "$(pool_bytes 1)" $((512 << 20)) 'pool of node 1'
    equal "$(cat /sys/fs/guestmemfs/node0/growth_reserve)" 0 'reserve of node 0'
    equal "$(zone_start 0 Movable)" 0 'ZONE_MOVABLE of node 0'
    equal "$(reserve)" $((1 << 30)) 'reserve of node 1'
    equal "$(zone_start 1 Movable)" $((start >> 12)) 'start of ZONE_MOVABLE'
    """, nodes=2, mem="4G", boots=1, append="guestmemfs=0:512M+8G,1:512M+1536M nokaslr",
       expect=[LINE + r"node 0: a growth reserve of 8192 MiB is too large, at most \d+ MiB are allowed "
               "next to the pool: no reserve is made",
               LINE + "node 1: a growth reserve of 1536 MiB is rounded down to 1024 MiB"])


@pytest.mark.parametrize("other", ["kernelcore=5G", "movablecore=1G"])
def test_other_movable_memory(vm, other):
    """The administrator's division of all memory keeps its effect."""
    vm(TOOLS + r"""
    equal "$(pool_bytes 1)" $((512 << 20)) 'the pool'
    equal "$(reserve)" 0 'the reserve'
    [ "$(zone_start 0 Movable)" != 0 ] || [ "$(zone_start 1 Movable)" != 0 ] ||
        die "no node has movable memory"
    """, nodes=2, mem="4G", boots=1, append=f"guestmemfs=1:512M+1G {other}",
       expect=[LINE + "guestmemfs=: no growth reserve is made, since kernelcore= or movablecore= sets"])


def test_new_size_after_kexec(vm):
    """Pool and reserve together have the size of the parameter; a reserve can come with a kexec."""
    vm(TOOLS + r"""
    case $VM_BOOT in
    1)
        equal "$(reserve)" 0 'the reserve of the first kernel'
        vm-kexec --cmdline 'guestmemfs=1:512M+1536M nokaslr'
        ;;
    2)
        # 2 GiB less the handed-over gibibyte.
        equal "$(pool_bytes 1)" $((1 << 30)) 'the pool'
        between $((1 << 30)) "$(reserve)" $((2 << 30)) 'the reserve of the second kernel'
        [ "$(zone_start 1 Movable)" != 0 ] || die 'no movable memory'
        vm-kexec --cmdline 'guestmemfs=1:512M+512M nokaslr'
        ;;
    3)
        equal "$(reserve)" 0 'the reserve of the third kernel'
        equal "$(zone_start 1 Movable)" 0 'ZONE_MOVABLE of the third kernel'
        ;;
    esac
    """, nodes=2, mem="4G", boots=3, append="guestmemfs=1:1G nokaslr",
       expect=[LINE + "node 1: keeps its handed-over pool of 1024 MiB, guestmemfs= asks for 512 MiB"])


def test_large_memory_blocks(vm):
    """A machine of 1 TiB: its memory blocks would have 2 GiB, pools ask for 1 GiB at most."""
    vm(TOOLS + r"""
    check_kho
    dir=/sys/fs/guestmemfs/node1
    equal $block $((1 << 30)) 'bytes of a memory block'
    # Zeroing would have the host hold all of it.
    echo 0 > $dir/scrub_target
    mount_node 1
    size=$((1008 << 30))
    case $VM_BOOT in
    1)
        equal "$(cat $dir/size)" $size size
        memfile fill /mnt/node1/file 64M 1
        fails bash -c "echo +512M > $dir/target" 2> /tmp/said
        has "$(cat $dir/resize_error)" 'by multiples of 1024 MiB' 'half a gibibyte'
        echo +3G > $dir/target
        equal "$(cat $dir/size)" $((size + (3 << 30))) 'size after growing'
        ;;
    2)
        equal "$(cat $dir/size)" $((size + (3 << 30))) 'size after a kexec'
        echo 0 > $dir/scrub_target
        echo -1G > $dir/target
        equal "$(cat $dir/size)" $((size + (2 << 30))) 'size after shrinking'
        ;;
    3)
        equal "$(cat $dir/size)" $((size + (2 << 30))) 'size after another kexec'
        ;;
    esac
    equal "$(cat $dir/target)" "$(cat $dir/size)" target
    equal "$(pool_bytes 1)" "$(cat $dir/size)" 'size in /proc/iomem'
    memfile check /mnt/node1/file 1
    equal "$(cat $dir/check)" ok check
    [ "$VM_BOOT" = 3 ] || vm-kexec
    """, topology="node=0,cpus=0-1,mem=4G;node=1,mem=1T", append="guestmemfs=1:1008G", boots=3,
       expect=[LINE + r"node 1: pool of \d+ MiB has \d+ MiB now$",
               LINE + r"node 1: keeps its handed-over pool of \d+ MiB, guestmemfs= asks for \d+ MiB$"])
