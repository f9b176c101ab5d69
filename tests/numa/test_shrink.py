# SPDX-License-Identifier: GPL-2.0
"""Pools shrink although files have blocks in all of their memory: the blocks move."""

import pytest

from test_compact import LIB as MOVES
from test_dma import EDU, IOMMU
from test_resize import CHANGED, LIB as RESIZE, LINE, STOPPED
from tool import PLAIN, build

pytestmark = pytest.mark.long

# A pool of three gibibytes, and room for what it gives up and gets back.
MACHINE = dict(topology="node=0,cpus=0-1,mem=3G;node=1,mem=6G", append="nokaslr guestmemfs=1:3G")

LIB = MOVES + RESIZE + r"""
# size GIBIBYTES
size() {
    sound $(($1 * GIB))
    equal "$(dmem)" $(($1 * GIB)) dmem.capacity
}

dmem() {
    [ -d /tmp/cgroup ] || { mkdir /tmp/cgroup; mount -t cgroup2 none /tmp/cgroup; }
    awk '$1 == "guestmemfs/node1" { print $2 }' /tmp/cgroup/dmem.capacity
}

moved() {
    cat $dir/moved_blocks
}

# files NUMBER...: of 64 MiB, at these places of the full pool, and no others
files() {
    fill
    leave "$@"
    for file in "$@"; do
        memfile fill "f$file" 64M "$file"
    done
}

# intact NUMBER...
intact() {
    for file in "$@"; do
        memfile check "f$file" "$file" || die "f$file has lost something"
    done
}
"""


def test_files_move(vm):
    """Contents, sizes and charges stay. The fewest blocks move, and a kexec finds all of them."""
    build()
    vm(f"PATH={PLAIN}:$PATH\n" + LIB + r"""
    check_kho
    start
    case $VM_BOOT in
    1)
        # Of 16 files in each gibibyte: 3, 1 and 2 of them.
        files 3 7 9 17 33 40
        truncate -s 3M odd
        memfile where f3 > /tmp/f3
        free=$(cat $dir/free_blocks)
        whole 0 'in pieces'
        gmfs-numa resize --dry-run 1 -1G --json > /tmp/dry || true
        has "$(cat /tmp/dry)" '"moves": "/mnt/node1/f[0-9]+\(64M\)(,|")' 'what would move'
        has "$(cat /tmp/dry)" '"files": null' 'what is in the way'
        has "$(cat /tmp/dry)" '"result": "perhaps"' 'the result'
        equal "$(moved)" 0 'blocks moved by a dry run'
        gmfs-numa resize 1 -1G
        size 2
        # One file, or that and the two blocks of the other.
        between 32 "$(moved)" 34 'moved blocks'
        equal "$(cat $dir/free_blocks)" $((free - 512)) 'free blocks'
        memfile where f3 | diff /tmp/f3 - || die 'a file moved without need'
        intact 3 7 9 17 33 40
        # Without a mount.
        cd /
        umount /mnt/node1
        echo -1G > $dir/target
        mount_node 1
        cd /mnt/node1
        size 1
        intact 3 7 9 17 33 40
        equal "$(stat -c %s odd)" $((3 << 20)) 'size of a file'
        checked
        ;;
    2)
        size 1
        intact 3 7 9 17 33 40
        # And back: two units at once, of which each has some.
        echo 3G > $dir/target
        mkdir kept
        mv f3 f7 f9 f17 f33 f40 kept
        fill
        leave 2 12 22 30 38
        whole 0 'in pieces again'
        before=$(moved)
        echo 1G > $dir/target
        size 1
        # Nothing moves into a unit that is to leave.
        between 64 $(($(moved) - before)) 352 'moved blocks'
        rm f*
        mv kept/* .
        intact 3 7 9 17 33 40
        checked
        ;;
    esac
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, boots=2, expect=[CHANGED, LINE + r"node 1: keeps its handed-over pool of \d+ MiB, .*"],
       options=["--timeout=600"], **MACHINE)


def test_obstacles(vm):
    """What must not move is named, and nothing moves for nothing; what is in use only moves if that
    was asked for, and loses nothing."""
    run = vm(EDU + LIB + r"""
    start
    files 3 7 20 25 40 44
    inode() { stat -c %i "$1"; }

    # In each gibibyte, something that never moves: the fewest blocks are named.
    begin uffd registered move userfault f7
    begin pin pinned move pinned "$device" "$group" "$cdev" f20
    begin luo preserved move preserved f44
    refused busy 'in-use -1G' "no 1024 MiB can be emptied: at 0x[0-9a-f]+, pinned 1 by inode $(inode f20)\$"
    drop uffd
    drop luo
    drop pin
    # Those that are in use do not move by themselves.
    begin one storing move process f3
    begin two storing taskset -c 1 move guest f40
    begin three storing move process f20
    refused busy -1G "can be emptied: at 0x[0-9a-f]+, mapped 32 by inode ($(inode f3)|$(inode f20)|$(inode f40))\$"
    equal "$(moved)" 0 'moved blocks'
    echo 'in-use -1G' > $dir/target
    size 2
    equal "$(moved)" 64 'moved blocks'
    refused busy -1G "mapped [0-9]+ by inode"
    equal "$(moved)" 64 'moved blocks'
    echo 'in-use -1G' > $dir/target
    size 1
    end one
    end two
    end three
    intact 7 25 44
    checked

    # Without room for what has to move.
    echo 2G > $dir/target
    rm f3 f20 f40
    truncate -s 850M large
    refused 'No space' -1G 'no room for the blocks in use'
    rm large
    intact 7 25 44

    for word in 'in-use' 'in-use ' 'in-use in-use 1G' 'inuse 1G' 'in-use  1G' '1G in-use'; do
        fails bash -c "printf '%s' '$word' 2> /dev/null > $dir/target"
    done
    """, options=["--nested", "--timeout=600", *IOMMU], boots=1, expect=[CHANGED],
        **{**MACHINE, "append": MACHINE["append"] + " intel_iommu=on liveupdate=on"})
    lost = run.counts("stores", "lost")
    assert all(l["stores"] > 100 and not l["lost"] for l in lost.values()), lost
    assert len(lost) == 2 and len(run.lines("^process: ")) == 2, run.out


def test_read_only(vm):
    """A node that is mounted read-only gives up what is free, and moves nothing."""
    vm(LIB + r"""
    start
    files 3 20
    cd /
    umount /mnt/node1
    mount_node 1 ro
    echo -1G > $dir/target
    sound $((2 * GIB))
    refused 'Read-only' -1G 'do not move while the node is read-only'
    equal "$(moved)" 0 'moved blocks'
    """, expect=[CHANGED], boots=1, options=["--timeout=600"], **MACHINE)


def test_whole_gibibytes(vm):
    """A whole gibibyte of a file moves too, if nothing else can."""
    vm(LIB + r"""
    start
    truncate -s 1G large
    memfile fill large 1G 5
    equal "$(memfile where large | grep -c blocks)" 1 'pieces'
    # Half of each other gibibyte is free, and something in it is mapped.
    files 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
    equal "$(cat $dir/free_blocks)" 512 'free blocks'
    begin one storing move process f0
    begin two storing move process f16
    echo -1G > $dir/target
    size 2
    equal "$(cat $dir/free_blocks)" 0 'free blocks'
    equal "$(moved)" 512 'moved blocks'
    memfile check large 5
    end one
    end two
    intact 1 2 3 4 5 6 7 17 18 19 20 21 22 23
    checked
    """, expect=[CHANGED], boots=1, options=["--timeout=600"], **MACHINE)


# Where a kexec comes: a step of the change, or a stage of a move.
@pytest.mark.parametrize("where", ["isolated", "unmapped", "copied", "claimed", "withdrawn"])
def test_kexec_in_between(vm, where):
    """All contents are there, and no block is claimed for ever."""
    step = {"isolated": 5, "claimed": 3, "withdrawn": 4}.get(where)
    left = 1024 if where == "withdrawn" else 1536
    halt = f"stop_after {step} -1G" if step else f"""
        echo {1 if where == "unmapped" else 2} > $held
        echo -1G > $dir/target &
        wait_held"""
    vm(LIB + rf"""
    check_kho
    start
    if [ "$VM_BOOT" = 1 ]; then
        files 3 7 20 40 41
        everything > $VM_SCRATCH/all
        {halt}
        vm-kexec
    fi
    sound $(({left} << 21))
    intact 3 7 20 40 41
    equal "$(free_blocks /mnt/node1)" $(({left} - 160)) 'free blocks'
    between $(($(cat $VM_SCRATCH/all) - (8 << 20))) "$(everything)" $(($(cat $VM_SCRATCH/all) + (8 << 20))) 'all memory'
    checked
    echo 1G > $dir/target
    sound $GIB
    intact 3 7 20 40 41
    checked
    """, boots=2, expect=[CHANGED] + ([STOPPED] if step else []) + ([
        LINE + r"node 1: keeps its handed-over pool of \d+ MiB, .*"] if where == "withdrawn" else []),
       options=["--timeout=600"], **MACHINE)


def test_interrupted(vm):
    """A signal ends it: what has moved stays moved, and what was claimed can be used again. So does
    a node that is frozen in the middle."""
    vm(LIB + r"""
    start
    files 3 7 20 40 41
    free=$(cat $dir/free_blocks)
    for signal in TERM KILL; do
        echo 2 > $held
        sh -c "echo -1G > $dir/target" 2> /tmp/said & task=$!
        wait_held
        [ "$(cat $dir/free_blocks)" -lt $((free - 300)) ] || die 'the unit is not claimed'
        kill -$signal $task
        wait $task || true
        echo 0 > $held
        equal "$(cat $dir/resize_error)" 'interrupted by a signal' resize_error
        sound $((3 * GIB))
        equal "$(cat $dir/free_blocks)" "$free" 'free blocks'
        checked
    done
    between 1 "$(moved)" 2 'moved blocks'

    echo 2 > $held
    sh -c "echo -1G > $dir/target" 2> /tmp/said & task=$!
    wait_held
    echo 1 > $dir/frozen & freezing=$!
    sleep 1
    echo 0 > $held
    wait $freezing
    fails wait $task
    has "$(cat $dir/resize_error)" 'frozen' resize_error
    echo 0 > $dir/frozen
    equal "$(cat $dir/free_blocks)" "$free" 'free blocks'
    intact 3 7 20 40 41
    echo -1G > $dir/target
    sound $((2 * GIB))
    intact 3 7 20 40 41
    checked
    """, expect=[CHANGED], boots=1, options=["--timeout=600"], **MACHINE)
