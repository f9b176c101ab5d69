# SPDX-License-Identifier: GPL-2.0
"""Virtual machines of QEMU and KVM whose memory goes elsewhere, and whose memory is plugged (vmm.py).

One runs at a time, as in test_liveupdate.py.
"""

import re

import pytest

from conftest import BIN, DEBUG, HERE, KERNEL
from test_liveupdate import check_lives, told
from tool import PLAIN, build

RAM, POOL = (512, 1024) if DEBUG else (256, 512)

SETUP = rf"""
PATH={PLAIN}:$PATH
initrd=/tmp/guest.cpio
mkdir -p /tmp/root/proc
cp {BIN}/guest /tmp/root/init
(cd /tmp/root && find . | busybox cpio -o -H newc > $initrd 2> /dev/null)
gmfs-numa mount > /dev/null

vmm() {{
    /usr/bin/python3 -BS {HERE}/vmm.py "$@"
}}
# start NODE [then COMMAND]...: of vmm.py
start() {{
    local node=$1
    shift
    vmm start "$node" {RAM}M {KERNEL} $initrd "$@"
}}
# used FILE: blocks that it has
used() {{
    echo $(($(stat -c %b "$1") / 4096))
}}
"""

# Blocks of a file, from an offset on, that have anything in them. What is mapped without
# MAP_NORESERVE is filled.
NOT_EMPTY = """
import mmap, os, sys
at, count = int(sys.argv[2]), 0
with open(sys.argv[1], "rb") as f:
    memory = mmap.mmap(f.fileno(), os.fstat(f.fileno()).st_size, flags=mmap.MAP_SHARED | 0x4000,
                       prot=mmap.PROT_READ)
    try:
        while True:
            at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            count += memory[at:at + (2 << 20)].strip(bytes(1)) != b""
            at += 2 << 20
    except OSError:
        print(count)
"""


@pytest.fixture(scope="module", autouse=True)
def gmfs_numa():
    build()


def test_migration(vm):
    """From node to node, to a memfd and back, and to a file: the guest writes all the while."""
    run = vm(SETUP + rf"""
    export VMM_MOVE=1

    # hop FROM TO KIND [CAPABILITY...]: to QEMU on another node, with memory of that kind
    hop() {{
        from=$1 to=$2 kind=$3
        shift 3
        VMM_MEMORY=$kind vmm receive $to {RAM}M {KERNEL} $initrd unix:/tmp/migration "$@"
        vmm send $from unix:/tmp/migration "$@" then received $to
        equal "$(cat /tmp/vm$from.log /tmp/vm$to.log)" '' 'what QEMU complains of'
        rm -f /run/guestmemfs/node$from/vm$from.ram
        vmm ticks $to 2
    }}

    # leaves SIZE: how many KVM maps
    leaves() {{
        cat /sys/kernel/debug/kvm/pages_$1
    }}

    VMM_MEMORY=file start 0 then ticks 0 2

    # KVM splits its mappings for its log of what is written, and makes them whole again.
    large=$(leaves 2m)
    between 20 "$large" 500 'leaves of 2 MiB'
    # Two seconds each, with what KVM does afterwards.
    vmm do 0 migrate-set-parameters '{{"max-bandwidth": 100000}}' \
        then do 0 migrate '{{"uri": "exec:cat > /dev/null"}}' then ticks 0 8
    between 2000 "$(leaves 4k)" 100000 'leaves of 4 KiB while it migrates'
    vmm do 0 migrate_cancel then ticks 0 8
    between $((large / 2)) "$(leaves 2m)" 500 'leaves of 2 MiB after it'

    hop 0 1 file
    gmfs-numa verify /run/guestmemfs/node1/vm1.ram "$(pgrep qemu-system)"
    between 20 "$(leaves 2m)" 500 'leaves of 2 MiB on the other node'
    hop 1 0 memfd multifd

    # To a file, each page at its place in it, and from there to a node.
    VMM_MEMORY=file vmm send 0 file:/tmp/machine mapped-ram multifd \
        then receive 1 {RAM}M {KERNEL} $initrd file:/tmp/machine mapped-ram multifd \
        then received 1 then ticks 1 2
    equal "$(cat /tmp/vm0.log /tmp/vm1.log)" '' 'what QEMU complains of'
    """, nodes=2, mem="2G", append=f"guestmemfs=0:{POOL}M,1:{POOL}M", boots=1,
             options=["--nested", "--timeout=900"])
    sent = [int(n) for n in re.findall(r"^node \d: sent in (\d+) rounds", run.out, re.MULTILINE)]
    assert len(sent) == 3 and all(rounds >= 2 for rounds in sent), run.out
    lives = told(run)
    # All of them are one life: what it says elsewhere is newer.
    said = sorted(lives["0"] + lives["1"])
    order = [int(t) for t in re.findall(r"^node \d: guest: tick (\d+),", run.out, re.MULTILINE)]
    assert order == sorted(order) and len(set(order)) == len(order) == 24, order
    check_lives([said])


def test_plugged_memory_lives_through_a_kexec(vm):
    """What is plugged keeps its contents; what is not takes no memory of a node that is full."""
    run = vm(SETUP + rf"""
    cd /run/guestmemfs/node1
    backend=memory-backend-file,id=more,mem-path=more,size=128M,share=on,align=2M
    arguments="-m {RAM},maxmem=2G -device virtio-mem-pci,id=vmem,memdev=more,prealloc=on
               -append 'console=ttyS0 panic=-1 quiet nohz=off highres=off memhp_default_state=online_movable again=1'"
    export VMM_ARGS="-object $backend,reserve=off $arguments"
    plugged='{{"path": "vmem", "property": "size"}}'
    # plug MIB: and wait for the guest
    plug() {{
        vmm plug 1 vmem $1
        equal "$(used more)" $(($1 / 2)) 'blocks of what is plugged'
    }}
    fill() {{
        truncate -s $((($(free_blocks .) - $1) * 2))M rest
    }}

    if [ "$VM_BOOT" = 1 ]; then
        start 1 then ticks 1 1
        plug 64
        # Two seconds, until the guest has what it checks there.
        vmm ticks 1 8
        between 8 "$(/usr/bin/python3 -S -c '{NOT_EMPTY}' more 0)" 32 'blocks that the guest has filled'
        # The state needs one block.
        fill 2
        vmm save 1 then last 1
        rm rest
        fill 0
        vm-kexec
    fi
    equal "$(used more)" 32 'blocks of what is plugged'
    equal "$(free_blocks .)" 0 'free blocks'
    # Without reserve=off there is no memory for it.
    VMM_ARGS="-object $backend $arguments" start 1
    wait_for /tmp/vm1.log 'No space left on device'
    vmm resume 1 {RAM}M {KERNEL} $initrd then ticks 1 2 then do 1 qom-get "$plugged" > /tmp/said
    cat /tmp/said
    equal "$(tail -n 1 /tmp/said)" $((64 << 20)) 'bytes that are plugged'
    equal "$(used more)" 32 'blocks of what is plugged'
    # It can be taken back, and plugged again, if there is memory.
    plug 0
    vmm ticks 1 2
    equal "$(free_blocks .)" 32 'free blocks'
    plug 32
    vmm ticks 1 2
    equal "$(cat /tmp/vm1.log)" '' 'what QEMU complains of'
    """, nodes=2, mem="2G", append=f"guestmemfs=1:{POOL}M", boots=2,
             options=["--nested", "--timeout=900"])
    check_lives(told(run).values())
