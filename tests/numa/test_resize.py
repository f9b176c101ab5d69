# SPDX-License-Identifier: GPL-2.0
"""Pools grow and shrink while the machine runs."""

import os

import pytest

import ssdt

pytestmark = pytest.mark.long

HERE = os.path.dirname(os.path.abspath(__file__))

LINE = r"guestmem_pool: "
# Room for a pool of three gibibytes on node 1, and for what the kernel keeps there.
MACHINE = dict(topology="node=0,cpus=0-1,mem=2G;node=1,mem=6G", append="guestmemfs=1:1G")
CHANGED = LINE + r"node 1: pool of \d+ MiB has \d+ MiB now$"
KEPT = LINE + r"node 1: keeps its handed-over pool of \d+ MiB, guestmemfs= asks for 1024 MiB$"
STOPPED = LINE + r"node 1: stopped after step \d$"

LIB = rf"""
dir=/sys/fs/guestmemfs/node1
GIB=$((1 << 30))
# The error that a driver returns to memory that is to come online.
refuse=/sys/kernel/debug/notifier-error-inject/memory/actions/MEM_GOING_ONLINE/error

# refused ERRNO-TEXT TARGET WORDS: a write to target fails, and nothing changes
refused() {{
    before=$(cat $dir/size $dir/extents)
    fails bash -c "echo '$2' > $dir/target" 2> /tmp/said
    has "$(cat /tmp/said)" "$1" "target $2"
    has "$(cat $dir/resize_error)" "$3" "why target $2 fails"
    equal "$(cat $dir/size $dir/extents)" "$before" 'the pool'
}}

# What KHO and programs have of the pool agrees with itself.
sound() {{
    equal "$(cat $dir/size)" "$1" size
    equal "$(cat $dir/target)" "$1" target
    equal "$(pool_bytes 1)" "$1" 'size in /proc/iomem'
    equal $(($(cat $dir/total_blocks) << 21)) "$1" total_blocks
    equal $(($(total_blocks /mnt/node1) << 21)) "$1" statfs
    equal "$(cat $dir/check)" ok check
    fails grep present /sys/kernel/debug/guestmem_pool/node1/reach
    pool_ranges 1 | while read -r start end; do
        for at in 0x$start $((0x$end - 4095)); do
            fails dd if=/dev/mem bs=4096 count=1 iflag=skip_bytes skip=$((at)) of=/dev/null 2> /tmp/said
            has "$(cat /tmp/said)" 'not permitted' "/dev/mem at $at"
        done
    done
    fails grep -B1 'System RAM$' <(grep -A1 '^[^ ].*guestmemfs node1' /proc/iomem | grep '^ ')
}}

# All memory of the machine, in bytes: what the kernel manages or has for struct pages, and
# the pool. Those of memory that was added are counted in both.
everything() {{
    echo $(($(awk '/^MemTotal/ {{ print $2 }}' /proc/meminfo) * 1024 +
            $(awk '/^nr_memmap_boot_pages/ {{ print $2 }}' /proc/vmstat) * 4096 + $(cat $dir/size)))
}}

boot_memmap() {{
    awk '/^nr_memmap_boot_pages/ {{ print $2 }}' /proc/vmstat
}}

# stop_after STEP TARGET: a write to target, in the background, which waits there
stop_after() {{
    echo "$1" > /sys/kernel/debug/guestmem_pool/node1/stop_resize
    echo "$2" > $dir/target &
    for _ in $(seq 600); do
        dmesg | grep -q "stopped after step $1\$" && return
        sleep 0.1
    done
    die "it does not come to step $1: $(cat $dir/resize_error)"
}}

# hidden_unit: address of the unit that the kernel has given up, and that no pool has yet
hidden_unit() {{
    pool_ranges 1 | sed -n 's/ .*//p' | while read -r start; do
        grep -q "^$(printf '0x%x ' 0x$start)" $dir/extents || echo $((0x$start))
    done
}}

# refuse_unit: the pool does not get it, so that $growing fails, and its memory stays offline
refuse_unit() {{
    echo 1 > $dir/frozen
    echo -1 > $refuse
    go_on
    fails wait $growing
    equal "$(cat $dir/resize_error)" 'the pool is frozen' resize_error
    echo 0 > $refuse
    echo 0 > $dir/frozen
}}

go_on() {{
    echo 0 > /sys/kernel/debug/guestmem_pool/node1/stop_resize
}}

wait_for_file() {{
    for _ in $(seq 1200); do
        [ ! -e "$1" ] || return 0
        sleep 0.1
    done
    die "$1 does not come"
}}

# In the background only.
pinned() {{
    exec /usr/bin/python3 -B {HERE}/pinned.py "$@"
}}

# pin_movable MIB: a process has so much memory in ZONE_MOVABLE, where nothing may be pinned for
# long. Some of its pages do not move until $pinning ends.
pin_movable() {{
    echo 2G > $dir/target
    echo 1G > $dir/target
    pinned 1 "-$1" /tmp/pinned & pinning=$!
    wait_for_file /tmp/pinned
}}
"""


def test_grow_and_shrink(vm):
    """From 1 to 3 GiB and back, with a kexec after each change, and files in use all the time."""
    vm(LIB + r"""
    check_kho
    mount_node 1
    all=$(everything)
    maps=$(boot_memmap)

    # Reads a file and looks at it all the time.
    reader() {
        while [ ! -e /tmp/stop ]; do
            memfile check /mnt/node1/file 1 || touch /tmp/bad
        done
    }
    # As a program that shows the size: it waits for changes.
    cat > /tmp/poll.py <<-'END'
	import select, sys
	f = open("/sys/fs/guestmemfs/node1/size")
	seen = [int(f.read()) >> 30]
	poll = select.poll()
	poll.register(f, select.POLLPRI | select.POLLERR)
	print("ready", flush=True)
	while seen[-1] != int(sys.argv[1]):
	    assert poll.poll(60000), seen
	    f.seek(0)
	    seen.append(int(f.read()) >> 30)
	print("sizes", *seen)
	END
    watch() {
        /usr/bin/python3 -B /tmp/poll.py "$1" > /tmp/polled & polling=$!
        wait_for /tmp/polled ready
    }
    watched() {
        wait $polling
        equal "$(sed -n 's/sizes //p' /tmp/polled)" "$1" 'sizes that were polled'
    }

    case $VM_BOOT in
    1)
        memfile fill /mnt/node1/file 300M 1
        memfile where /mnt/node1/file > $VM_SCRATCH/where
        reader & reading=$!
        watch 3
        echo 3G > $dir/target
        watched '1 2 3'
        touch /tmp/stop; wait $reading
        [ ! -e /tmp/bad ] || die 'the file was not readable all the time'
        equal "$(cat $dir/resize_error)" '' resize_error
        sound $((3 * GIB))
        # The struct pages have gone, 16 MiB of them per gibibyte.
        equal $((maps - $(boot_memmap))) $((2 * 4096)) 'pages of struct pages'
        equal "$(everything)" "$all" 'all memory'
        wait_clean 1
        memfile fill /mnt/node1/more 1400M 2
        cat $dir/extents $dir/extent_blocks > $VM_SCRATCH/extents
        ;;
    2)
        # Numbers and places are as they were.
        sound $((3 * GIB))
        cat $dir/extents $dir/extent_blocks | diff $VM_SCRATCH/extents -
        memfile check /mnt/node1/more 2
        rm /mnt/node1/more
        reader & reading=$!
        watch 2
        echo -1G > $dir/target
        watched '3 2'
        touch /tmp/stop; wait $reading
        [ ! -e /tmp/bad ] || die 'the file was not readable all the time'
        sound $((2 * GIB))
        ;;
    3)
        sound $((2 * GIB))
        # What left the pool was ordinary memory at boot.
        fails grep 'System RAM (guestmemfs)' /proc/iomem
        echo 1G > $dir/target
        sound $GIB
        equal "$(grep -c 'System RAM (guestmemfs)' /proc/iomem)" 1 'memory that was given back'
        equal "$(cut -d' ' -f4 $dir/format)" incompat=0x0 'features'
        # And it can be had again.
        echo +1G > $dir/target
        sound $((2 * GIB))
        echo -1G > $dir/target
        ;;
    4)
        sound $GIB
        equal "$(cat $dir/extent_blocks)" '0 512' extent_blocks
        ;;
    esac
    memfile check /mnt/node1/file 1
    memfile where /mnt/node1/file | diff $VM_SCRATCH/where -
    [ "$VM_BOOT" = 4 ] || vm-kexec
    """, boots=4, expect=[CHANGED, KEPT], **MACHINE)


# What the next kernel has, in GiB, by step: see enum gmpool_step.
STEPS = {"hidden": (1, "+1G", 1, 1), "entered": (2, "+1G", 1, 2),
         "claimed": (3, "-1G", 2, 2), "withdrawn": (4, "-1G", 2, 1)}


@pytest.mark.parametrize("step", STEPS)
def test_kexec_in_between(vm, step):
    """A kexec at each step finds the memory in the pool, or in the next kernel."""
    number, target, before, after = STEPS[step]
    vm(LIB + rf"""
    check_kho
    mount_node 1
    if [ "$VM_BOOT" = 1 ]; then
        everything > $VM_SCRATCH/all
        [ {before} = 1 ] || echo {before}G > $dir/target
        memfile fill /mnt/node1/file 300M 1
        stop_after {number} {target}
        vm-kexec
    fi
    sound $(({after} * GIB))
    memfile check /mnt/node1/file 1
    # None of it is lost, and none is there twice.
    between $(($(cat $VM_SCRATCH/all) - (8 << 20))) "$(everything)" $(($(cat $VM_SCRATCH/all) + (8 << 20))) 'all memory'
    # No block is claimed for ever.
    equal "$(free_blocks /mnt/node1)" $(({after} * 512 - 150)) 'free blocks'
    echo 3G > $dir/target
    sound $((3 * GIB))
    """, boots=2, expect=[CHANGED, STOPPED] + ([KEPT] if after != 1 else []), **MACHINE)


def test_refusals(vm):
    """What cannot be is refused, by name, and leaves all as it was."""
    vm(LIB + r"""
    if [ "$VM_BOOT" = 2 ]; then
        equal "$(cat $dir/state)" failed state
        refused 'Read-only' +1G 'not active'
        exit
    fi
    mount_node 1
    for target in x -x 1X 50% '1G 2G' 0 ' 1G'; do
        fails bash -c "printf '%s' '$target' 2> /dev/null > $dir/target"
    done
    refused 'Invalid argument' +128M 'multiples of 1024 MiB'
    refused 'Invalid argument' 1100M 'multiples of 1024 MiB'
    refused 'out of range' -1G 'cannot have that size'
    refused 'out of range' -2G 'cannot have that size'
    refused 'out of range' -15E 'cannot have that size'
    equal "$(stat -c %a $dir/target $dir/resize_error | paste -sd' ')" '600 400' modes
    echo 1G > $dir/target
    echo +1G > $dir/target

    # A failed page stays in the pool, which gives up no memory with it.
    memfile fill /mnt/node1/file 1100M 1
    refused 'No space' -1G 'no room for the blocks in use'
    rm /mnt/node1/file
    wait_clean 1
    cut -d' ' -f1 $dir/extents | while read -r base; do
        echo $((base + 0x5000)) > /sys/devices/system/memory/hard_offline_page
    done
    refused 'busy' -1G 'failed page'

    echo 1 > $dir/frozen
    refused 'busy' +1G frozen
    echo 0 > $dir/frozen

    # The kernel keeps a part of the node. What is pinned elsewhere cannot move.
    pinned 1 3700 /tmp/pinned & pinning=$!
    wait_for_file /tmp/pinned
    refused 'busy|No space' +1G 'cannot be moved, or are pinned|needs the rest'
    has "$(cat $dir/resize_error)" 'cannot be moved, or are pinned' 'what is pinned'
    kill $pinning
    wait $pinning || true
    # Little is left.
    echo 9G > $dir/target 2> /tmp/said || true
    has "$(cat /tmp/said)" 'busy|No space' 'more than there is'
    between $((2 * GIB)) "$(cat $dir/size)" $((5 * GIB)) 'what was reached'
    sound "$(cat $dir/size)"
    damage 1 super 16 0xff
    vm-kexec
    """, boots=2, expect=[CHANGED, LINE + r"node 1: hardware error at 0x[0-9a-f]+: .*",
                          KEPT, LINE + r"node 1: damaging \w+$",
                          LINE + r"node 1: super block is damaged .*"], **MACHINE)


def test_interrupted(vm):
    """A page that stays where it is for a while keeps a write waiting, until a signal."""
    vm(LIB + r"""
    mount_node 1
    pin_movable 100
    start=$(date +%s)
    fails timeout -s TERM -k 60 5 sh -c "echo +1G > $dir/target; echo returned" > /tmp/said
    between 4 $(($(date +%s) - start)) 40 'seconds until the write ends'
    equal "$(cat $dir/resize_error)" 'interrupted by a signal' resize_error
    sound $GIB
    # All of the memory is online again.
    fails grep -l offline /sys/devices/system/memory/memory*/state
    # It ends as soon as the page can move.
    echo +1G > $dir/target & growing=$!
    sleep 2
    kill $pinning
    wait $growing
    sound $((2 * GIB))
    """, expect=[CHANGED], **MACHINE)


def test_one_waits_for_another(vm):
    """Memory hotplug is for one pool at a time. A signal ends the wait for it."""
    vm(LIB + r"""
    mount_node 1
    pin_movable 100
    echo +1G > $dir/target & growing=$!
    sleep 2
    for change in +1G -1G; do
        start=$(date +%s)
        fails timeout -s TERM -k 60 3 sh -c "echo $change > ${dir%1}0/target; echo returned"
        between 2 $(($(date +%s) - start)) 30 "seconds until $change ends"
        equal "$(cat ${dir%1}0/resize_error)" 'interrupted by a signal' "why $change fails"
        equal "$(cat ${dir%1}0/size)" $((2 * GIB)) 'the size of the other pool'
    done
    kill $pinning
    wait $growing
    sound $((2 * GIB))
    echo -1G > ${dir%1}0/target
    equal "$(cat ${dir%1}0/size)" $GIB 'the size of the other pool'
    """, expect=[CHANGED, CHANGED.replace("node 1", "node 0")], boots=1,
       topology="node=0,cpus=0-1,mem=4G;node=1,mem=5G", append="guestmemfs=0:2G,1:1G")


@pytest.mark.parametrize("step", ["hidden", "claimed"])
def test_frozen_in_between(vm, step):
    """When a write to frozen has returned, the size changes no more."""
    number, target, before, _ = STEPS[step]
    vm(LIB + rf"""
    mount_node 1
    [ {before} = 1 ] || echo {before}G > $dir/target
    all=$(everything)
    stop_after {number} {target}
    changing=$!
    echo 1 > $dir/frozen
    go_on
    fails wait $changing
    equal "$(cat $dir/resize_error)" 'the pool is frozen' resize_error
    echo 0 > $dir/frozen
    sound $(({before} * GIB))
    equal "$(everything)" "$all" 'all memory'
    echo {target} > $dir/target
    """, expect=[CHANGED, STOPPED], **MACHINE)


def test_no_struct_pages(vm):
    """Without memory for all struct pages of a unit, the pool keeps it, as it was."""
    vm(LIB + r"""
    mount_node 1
    echo 2G > $dir/target
    wait_clean 1
    pool_ranges 1 | sort > /tmp/before
    all=$(everything)
    # The first sections of the unit get theirs: 512 pages each.
    cd /sys/kernel/debug/fail_page_alloc
    echo N > ignore-gfp-wait
    echo N > ignore-gfp-highmem
    echo 0 > min-order
    echo 0 > verbose
    echo 1600 > space
    # One of a whole page table, and one of the small pages that are tried in its place.
    echo 2 > times
    echo Y > task-filter
    echo 100 > probability
    fails bash -c "echo 1 > /proc/self/make-it-fail; echo -1G > $dir/target" 2> /tmp/said
    echo 0 > probability
    has "$(cat /tmp/said)" 'Cannot allocate memory' 'what the shell says'
    has "$(cat $dir/resize_error)" 'the kernel cannot take the memory' resize_error
    sound $((2 * GIB))
    equal "$(everything)" "$all" 'all memory'
    # The pool is told of failed pages in all of it.
    while read -r start end; do
        for at in $((0x$start + 0x3000)) $((0x$end - 0x3fff)); do
            echo $at > /sys/devices/system/memory/hard_offline_page
        done
    done < /tmp/before
    equal "$(cat $dir/poisoned_blocks)" $((2 * $(wc -l < /tmp/before))) 'failed blocks of the pool'
    """, options=["--allow-warn=at add_pages"],
       expect=[CHANGED, LINE + r"node 1: hardware error at 0x[0-9a-f]+: .*"], **MACHINE)


def test_undo_without_memory(vm):
    """A unit that the kernel cannot take comes back, also if nothing at all can be allocated."""
    vm(LIB + r"""
    mount_node 1
    memfile fill /mnt/node1/file 300M 1
    echo 2G > $dir/target
    pool_ranges 1 > /tmp/with
    cd /sys/kernel/debug/failslab
    echo N > ignore-gfp-wait
    echo 0 > verbose
    echo -1 > times
    echo Y > task-filter
    stop=/sys/kernel/debug/guestmem_pool/node1/stop_resize
    stopped() {
        for _ in $(seq 600); do
            ! dmesg | grep -q "stopped after step $1\$" || return 0
            sleep 0.1
        done
        die "it does not come to step $1: $(cat $dir/resize_error)"
    }
    # Settings that are too large for half the size.
    echo 700 > $dir/reserve && echo 900 > $dir/low_watermark && echo 600 > $dir/scrub_target
    echo 4 > $stop
    bash -c "echo 1 > /proc/self/make-it-fail; echo -1G > $dir/target" 2> /tmp/said & shrinking=$!
    stopped 4
    equal "$(cat $dir/size)" $GIB 'size without the unit'
    equal "$(cat $dir/reserve $dir/low_watermark $dir/scrub_target | tr '\n' ' ')" '512 512 512 ' 'settings'
    echo 100 > $dir/low_watermark
    # It fails while neither the pool nor the kernel has it.
    sed 's/^/0x/; s/ .*//' /tmp/with | while read -r start; do
        grep -q "^$start " $dir/extents || echo $((start + 0x9000)) > /sys/devices/system/memory/hard_offline_page
    done
    equal "$(cat $dir/poisoned_blocks)" 0 'failed blocks'
    # From there until the pool has it again. Then the task may open files again.
    echo 100 > probability
    echo 2 > $stop
    stopped 2
    echo 0 > probability
    go_on
    fails wait $shrinking
    has "$(cat /tmp/said)" 'Cannot allocate memory' 'what the shell says'
    has "$(cat $dir/resize_error)" 'the kernel cannot take the memory' resize_error
    sound $((2 * GIB))
    equal "$(cat $dir/poisoned_blocks)" 1 'failed blocks'
    equal "$(free_blocks /mnt/node1)" $((1024 - 150 - 1)) 'free blocks'
    equal "$(cat $dir/reserve $dir/low_watermark $dir/scrub_target | tr '\n' ' ')" '700 100 600 ' 'settings'
    memfile check /mnt/node1/file 1
    """, expect=[CHANGED, STOPPED, LINE + r"node 1: hardware error at 0x[0-9a-f]+: .*"], **MACHINE)


def test_offline_afterwards(vm):
    """Memory that cannot come online is not lost: the write says so, and root can set it online."""
    vm(LIB + r"""
    mount_node 1
    echo 3G > $dir/target
    echo -12 > $refuse
    fails bash -c "echo 1G > $dir/target" 2> /tmp/said
    echo 0 > $refuse
    has "$(cat /tmp/said)" 'Input/output error' 'what the shell says'
    has "$(cat $dir/resize_error)" 'cannot use all of the memory at 0x[0-9a-f]+ \(-ENOMEM\)' resize_error
    # It stops there.
    sound $((2 * GIB))
    offline=$(grep -l offline /sys/devices/system/memory/memory*/state)
    equal $(($(echo "$offline" | wc -l) * 0x$(cat /sys/devices/system/memory/block_size_bytes))) $GIB 'offline memory'
    for state in $offline; do
        echo online_movable > "$state"
    done
    # The same when a pool does not get a unit that the kernel has given up.
    stop_after 1 +1G
    growing=$!
    refuse_unit
    for state in $(grep -l offline /sys/devices/system/memory/memory*/state); do
        echo online_movable > "$state"
    done
    echo +1G > $dir/target
    sound $((3 * GIB))
    """, expect=[CHANGED, STOPPED,
                 LINE + r"node 1: 1024 MiB of the memory at 0x[0-9a-f]+ stay offline \(-ENOMEM\): .*",
                 LINE + r"node 1: 1024 MiB of the memory at 0x[0-9a-f]+ stay offline \(-EPERM\): .*"],
       **MACHINE)


def test_low_watermark(vm):
    """A watermark that a smaller pool reduces: poll(2) tells that the free blocks are enough."""
    vm(LIB + r"""
    mount_node 1
    echo 2G > $dir/target
    echo 1024 > $dir/low_watermark
    cat > /tmp/poll.py <<-'END'
	import select
	poll = select.poll()
	f = open("/sys/fs/guestmemfs/node1/free_blocks")
	f.read()
	poll.register(f, select.POLLPRI | select.POLLERR)
	print("ready", flush=True)
	for state in "low", "enough":
	    assert poll.poll(60000), state
	    f.seek(0)
	    print(state, f.read().strip(), flush=True)
	END
    /usr/bin/python3 -B /tmp/poll.py > /tmp/polled & polling=$!
    wait_for /tmp/polled ready
    # All blocks of a unit are claimed.
    stop_after 3 -1G
    wait_for /tmp/polled low
    go_on
    wait $polling
    equal "$(cat $dir/low_watermark)" 512 low_watermark
    equal "$(tr '\n' ' ' < /tmp/polled)" 'ready low 512 enough 512 ' 'free blocks that were polled'
    wait
    sound $GIB
    """, expect=[CHANGED, STOPPED], **MACHINE)


def test_not_cacheable(vm):
    """Memory that MTRRs forbid to cache is not taken, and PAT has as many entries as before."""
    vm(LIB + r"""
    mount_node 1
    all=$(everything)
    pat=/sys/kernel/debug/x86/pat_memtype_list
    # All of node 1.
    echo 'base=0x100000000 size=0x100000000 type=uncachable' > /proc/mtrr
    echo 'base=0x200000000 size=0x80000000 type=uncachable' > /proc/mtrr
    sort $pat > /tmp/before
    refused 'Cannot allocate memory' +1G 'cannot be cached'
    refused 'Cannot allocate memory' +1G 'cannot be cached'
    sort $pat | diff /tmp/before - || die 'entries of PAT'
    equal "$(everything)" "$all" 'all memory'
    fails grep -l offline /sys/devices/system/memory/memory*/state
    """, **MACHINE)


def test_gigantic_pages(vm):
    """Pages of hugetlb of 1 GiB cannot be moved: the pool grows by other memory."""
    vm(LIB + r"""
    mount_node 1
    echo 1 > /sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages
    equal "$(cat /sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages)" 1 'gigantic pages'
    # More than there is: all units are tried.
    echo 9G > $dir/target 2> /tmp/said || true
    has "$(cat /tmp/said)" 'busy|No space' 'more than there is'
    fails grep ENOMEM $dir/resize_error
    between $((2 * GIB)) "$(cat $dir/size)" $((5 * GIB)) 'what was reached'
    equal "$(cat /sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages)" 1 'gigantic pages'
    sound "$(cat $dir/size)"
    """, expect=[CHANGED], **MACHINE)


def test_hot_added(vm):
    """Memory that was added since boot is unknown to the next kernel: it is not taken."""
    vm(LIB + r"""
    mount_node 1
    first=$((0x4000000000 >> 27))
    for block in $(seq $first $((first + 15))); do
        [ "$(cat /sys/devices/system/memory/memory$block/state)" = online ] ||
            echo online_movable > /sys/devices/system/memory/memory$block/state
    done
    echo 9G > $dir/target 2> /tmp/said || true
    has "$(cat /tmp/said)" 'busy|No space' 'more than there is'
    pool_ranges 1
    fails grep '^40' <(pool_ranges 1)
    sound "$(cat $dir/size)"
    """, expect=[CHANGED], options=[
        "--qemu-args=-m 8G,slots=1,maxmem=300G -object memory-backend-ram,id=more,size=2G,reserve=off "
        "-device pc-dimm,id=dimm,memdev=more,node=1,addr=0x4000000000"], **MACHINE)


def test_memory_device(vm, tmp_path):
    """Firmware describes memory that a pool gets as a device: it cannot be removed any more."""
    table = tmp_path / "ssdt.aml"
    # Below the pool, which is in the upper half of the node.
    table.write_bytes(ssdt.table([(5 << 30, 3 << 30, 1)]))
    vm(LIB + r"""
    mount_node 1
    pool_ranges 1
    equal "$(ls /sys/bus/guestmem_pool/devices)" '' 'devices that are held'
    echo +1G > $dir/target
    ls /sys/bus/guestmem_pool/devices
    has "$(ls /sys/bus/guestmem_pool/devices)" '^node1:PNP0C80:00$' 'devices that are held'
    memfile fill /mnt/node1/file 1100M 1
    echo 1 > /sys/bus/acpi/devices/PNP0C80:00/eject
    for _ in $(seq 100); do
        ! dmesg | grep -q 'Offline failed' || break
        sleep 0.1
    done
    has "$(dmesg)" 'guestmem_pool node1:PNP0C80:00.*Offline failed' 'what refuses'
    memfile check /mnt/node1/file 1
    # Once is enough.
    echo +1G > $dir/target
    sound $((3 * GIB))
    """, options=[f"--qemu-args=-acpitable file={table}"],
       expect=[CHANGED, LINE + r"node 1: memory device PNP0C80:\d\d holds memory of the pool, "
               "its removal is refused"],
       # Where the kernel is in memory of the device, that memory refuses first.
       **{**MACHINE, "append": MACHINE["append"] + " nokaslr"})
