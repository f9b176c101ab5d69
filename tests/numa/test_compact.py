# SPDX-License-Identifier: GPL-2.0
"""Compaction: blocks of files move while processes, guests and other operations use them."""

import pytest

from conftest import DEBUG
from test_dma import EDU, IOMMU
from tool import build, check_json

# A pool of three gibibytes, of which a few files of 64 MiB leave none whole.
LIB = r"""
node=/sys/fs/guestmemfs/node1
held=/sys/kernel/debug/guestmemfs/hold_move

# start: the node is mounted, and what is in use is where it was put first. Clean blocks are
# preferred: the scrub thread decides nothing if all of them are.
start() {
    mount_node 1
    wait_clean 1
    pause_scrub 1 Y
    cd /mnt/node1
}

# fill [BLOCKS]: with files of 64 MiB, in the order of the memory; at least so many blocks stay free
fill() {
    # Nearly all of them by one process; others may want memory at the same time.
    count=$((($(free_blocks .) - ${1:-0}) / 32))
    [ $count = 0 ] || truncate -s 64M $(seq -f f%.0f 0 $((count - 1))) 2> /dev/null || count=0
    [ $# = 0 ] || return 0
    while truncate -s 64M "f$count" 2> /dev/null; do
        count=$((count + 1))
    done
    rm -f "f$count"
}

# leave NUMBER...: of these files
leave() {
    others=
    for file in $(seq 0 $((count - 1))); do
        case " $* " in
        *" $file "*) ;;
        *) others="$others f$file" ;;
        esac
    done
    rm $others
}

# compact REQUEST
compact() {
    echo "$1" > $node/compact
}

# refused REQUEST ERROR
refused() {
    if echo "$1" 2> /tmp/error > $node/compact; then
        die "'$1' is not refused"
    fi
    has "$(cat /tmp/error)" "$2" "the answer to '$1'"
}

# result: of it, as "NAME NUMBER [INODE] NAME NUMBER..."
result() {
    xargs < $node/compact
}

# whole NUMBER WHEN: so many gibibytes are
whole() {
    equal "$(cat $node/free_1g)" "$1" "whole gibibytes $2"
}

# begin NAME WORD COMMAND...: in the background, until it has printed the word
begin() {
    name=$1 word=$2
    shift 2
    "$@" > "/tmp/$name" 2>&1 &
    echo $! > "/tmp/$name.pid"
    wait_for "/tmp/$name" "$word"
}

# end NAME: it succeeds
end() {
    kill "$(cat "/tmp/$1.pid")"
    wait "$(cat "/tmp/$1.pid")" || die "$1: $(cat "/tmp/$1")"
    cat "/tmp/$1"
}

drop() {
    kill -9 "$(cat "/tmp/$1.pid")"
    wait "$(cat "/tmp/$1.pid")" || true
}

# wait_held: until a move is, whose task is in the background
wait_held() {
    for _ in $(seq 300); do
        if grep -q gmfs_move /proc/[0-9]*/stack; then
            return
        fi
        sleep 0.1
    done
    die 'no move is held'
}

place() {
    [ -s "$1" ] || die "there is no $1"
    memfile where "$1" | sed 's/.* blocks at //'
}

checked() {
    equal "$(cat $node/check)" ok check
}
"""

# KASAN needs an eighth of the memory.
MACHINE = dict(nodes=2, mem="5G" if DEBUG else "4G", append="nokaslr guestmemfs=1:3G")


def test_files_in_use(vm, tmp_path):
    """Blocks move under processes and a guest that store to them, and nothing is lost. Only if
    that was asked for. All free memory is in whole gibibytes then, as far as it can be."""
    run = vm(LIB + f"tool={build()}" + r"""
    start
    whole 3 'of the empty node'
    fill
    leave 3 18 25 32 40 47
    for file in 25 40 47; do
        memfile fill f$file 64M $file
    done
    whole 0 'in pieces'
    free=$(cat $node/free_blocks)
    begin one storing move process f3
    begin two storing taskset -c 1 move guest f18
    begin three storing move process f32
    compact all
    inode=$(stat -c %i f3)
    equal "$(result)" "gained 0 moved 0 mapped 96 $inode" 'with all of them mapped'
    compact 'dry-run in-use all'
    equal "$(result)" 'gained 2 moved 96' 'the plan'
    whole 0 'after the plan'
    compact 'in-use 1'
    equal "$(result)" 'gained 1 moved 32' 'one gibibyte'
    whole 1 'of one'
    before=$(place f18)
    compact 'in-use all'
    has "$(result)" '^gained 1 moved (64|96)$' 'the other'
    whole 2 'of all'
    [ "$(place f18)" != "$before" ] || die 'f18 has not moved'
    equal "$(cat $node/free_blocks)" "$free" 'free blocks'
    compact 'in-use all'
    equal "$(result)" 'gained 0 moved 0' 'once more'
    checked
    mv f3 one
    mv f18 two
    mv f32 three
    mkdir kept
    mv f25 f40 f47 kept
    moved=0
    for round in 1 2 3; do
        fill
        leave $(seq $round 7 60)
        whole 0 'in pieces again'
        compact 'in-use all'
        whole 2 'again'
        moved=$((moved + $(sed -n 's/^moved //p' $node/compact)))
        rm f*
    done
    [ $moved -gt 200 ] || die "only $moved blocks have moved"
    end one
    end two
    end three
    for file in 25 40 47; do
        memfile check kept/f$file $file
    done
    checked
    # Nobody has them now.
    fill
    leave $(seq 3 7 60)
    begin four storing move process one
    $tool compact --dry-run 1 2> /tmp/why
    has "$(cat /tmp/why)" "node 1: 64M cannot move, since processes map their files; .* inode $(stat -c %i one)\)" why
    end four > /dev/null
    $tool compact --count 1 --json 1 > "$VM_SCRATCH/compact.json"
    if $tool compact --count 5 1 > /dev/null; then
        die 'there are no five gibibytes'
    fi
    whole 2 'of files that nobody maps'
    checked
    """, **MACHINE, boots=1, options=["--nested", "--timeout=600"])
    with open(tmp_path / "scratch" / "compact.json", encoding="utf-8") as file:
        found, = check_json("compact", file.read())["compactions"]
    assert found.pop("moved") > 0
    assert found == {"node": 1, "gained": 1, "whole": 1, "in_the_way": None}
    lost = run.counts("stores", "lost")
    assert all(l["stores"] > 100 and not l["lost"] for l in lost.values()), lost
    assert len(lost) == 2 and len(run.lines("^process: ")) == 2, run.out


def test_obstacles(vm):
    """What must not move does not, and is named; nor does a whole gibibyte of a file."""
    vm(EDU + LIB + r"""
    start
    truncate -s 1G large
    fill
    leave 3 7 9 17 20 25 30
    for file in 3 7 9 17 20 25 30; do
        memfile fill f$file 64M $file
    done
    before=$(place large)
    begin pin pinned move pinned "$device" "$group" "$cdev" f3
    begin uffd registered move userfault f7
    begin luo preserved move preserved f20
    begin attach attached gmem hold f25
    compact 'in-use all'
    equal "$(result)" "gained 0 moved 0 userfault 32 $(stat -c %i f7) pinned 1 $(stat -c %i f3) preserved 32 $(stat -c %i f20)" 'obstacles'
    # The file of a guest_memfd only moves on demand.
    compact all
    has "$(cat $node/compact)" "^attached 32 $(stat -c %i f25)\$" 'the result'
    drop uffd
    drop pin
    compact all
    whole 1 'without them'
    drop attach
    drop luo
    mkdir kept
    mv f* kept
    fill
    leave 3 12
    compact all

    echo 1 > $node/frozen
    refused all 'Device or resource busy'
    echo 0 > $node/frozen
    for request in 0 none '1 2' 'all all' -1 dry-run ''; do
        refused "$request" 'Invalid argument'
    done
    cd /
    umount /mnt/node1
    mount_node 1 ro
    refused all 'Read-only file system'
    umount /mnt/node1
    # Also without a mount.
    compact all
    mount_node 1
    equal "$(place /mnt/node1/large)" "$before" 'place of the large file'
    for file in 3 7 9 17 20 30; do
        memfile check /mnt/node1/kept/f$file $file
    done
    checked
    """, nodes=2, mem="4G", append="nokaslr guestmemfs=1:3G intel_iommu=on liveupdate=on", boots=1,
       options=["--nested", "--timeout=200", *IOMMU])


def test_failure_and_signal(vm):
    """A page that fails before its block is copied stays in its file, and the process that uses it
    gets the signal. One that fails afterwards is lost by nobody. A signal ends a compaction."""
    vm(LIB + r"""
    start
    fill
    leave 3 18 32 40
    for file in 3 18 32 40; do
        memfile fill f$file 64M $file
    done
    first() {
        place "$1" | sed 's/-.*//;q'
    }
    fail_at() {
        echo $(($1 + 0x5000)) > /sys/devices/system/memory/hard_offline_page
    }
    # The first block is unmapped: it does not move. A file cannot be asked while it moves.
    at=$(first f3)
    echo 1 > $held
    compact all &
    wait_held
    fail_at "$at" &
    sleep 1
    equal "$(cat $node/poisoned_blocks)" 1 'failed blocks'
    echo 0 > $held
    wait
    has "$(cat $node/compact)" "^failed 1 $(stat -c %i f3)\$" 'the result'
    whole 1 'with a failed page'
    if memfile check f3 3; then
        die 'the failed page can be read'
    fi
    # A signal ends it.
    rm f*
    fill
    leave 3 12 24
    echo 2 > $held
    ( echo all > $node/compact ) &
    task=$!
    wait_held
    kill -9 $task
    wait $task || true
    echo 0 > $held
    checked
    # The block is copied: what the file has is the copy.
    rm f*
    fill
    leave 3 12 18 32 40
    for file in 18 32 40; do
        memfile fill f$file 64M $file
    done
    places="$(first f18) $(first f32) $(first f40)"
    echo 2 > $held
    compact all &
    wait_held
    for at in $places; do
        fail_at "$at" &
    done
    sleep 1
    echo 0 > $held
    wait
    checked
    # The other two had not moved.
    lost=
    for file in 18 32 40; do
        memfile check f$file $file || lost="$lost $file"
    done
    equal "$(wc -w <<< "$lost")" 2 "files with a failed page ($lost)"
    """, **MACHINE, boots=1, expect=[r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: "])


@pytest.mark.race
def test_among_other_operations(vm):
    """Files are made, cut, punched, exchanged and deleted while blocks move."""
    vm(LIB + r"""
    start
    mkdir churn
    truncate -s 16M refault
    begin exchange looping exchange loop one two
    memfile churn churn 1 &
    churn=$!
    memfile refault refault &
    refault=$!
    moved=0
    for round in 1 2 3; do
        # The other operations need some blocks at any time.
        fill 64
        leave 1 $((5 + round)) $((12 + round)) $((20 + round)) $((30 + round))
        for _ in 1 2; do
            compact 'in-use all'
            moved=$((moved + $(sed -n 's/^moved //p' $node/compact)))
        done
        rm -f f*
    done
    echo "moved=$moved"
    [ $moved -gt 100 ] || die "only $moved blocks have moved"
    kill -0 $churn
    kill -0 $refault
    drop exchange
    kill -9 $churn $refault
    exchange whole one two
    memfile refaulted refault
    checked
    """, **MACHINE, boots=1, options=["--timeout=600"])


def test_kexec(vm):
    """A kexec in the middle of a move: each file has all of its contents."""
    vm(LIB + r"""
    start
    if [ "$VM_BOOT" -gt 1 ]; then
        for file in 3 18 32 40; do
            memfile check kept$file $file
        done
        checked
        rm f* || true
    fi
    fill
    if [ "$VM_BOOT" = 1 ]; then
        leave 3 18 32 40
        for file in 3 18 32 40; do
            memfile fill f$file 64M $file
            mv f$file kept$file
        done
        echo 2 > $held
        compact all &
        wait_held
        vm-kexec
    elif [ "$VM_BOOT" = 2 ]; then
        leave 3 12 20 30
        compact all &
        sleep 0.0$(($(date +%N | cut -c 1-3 | sed 's/^0*//;s/^$/0/') % 9))
        vm-kexec
    else
        leave 3 12 20 30
        echo 1 > /sys/kernel/tracing/events/guestmemfs/guestmemfs_move/enable
        compact all
        whole 2 'in the end'
        equal "$(grep -c 'guestmemfs_move: node=1 .* err=0$' /sys/kernel/tracing/trace)" \
            "$(sed -n 's/^moved //p' $node/compact)" 'events'
        for file in 3 18 32 40; do
            memfile check kept$file $file
        done
        checked
    fi
    """, **MACHINE, boots=3, options=["--timeout=600"])
