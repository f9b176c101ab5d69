# SPDX-License-Identifier: GPL-2.0
"""What survives a kexec, and what the next kernel makes of its command line."""

import os
import re

import pytest

pytestmark = pytest.mark.long

HERE = os.path.dirname(os.path.abspath(__file__))

# Every sixth kernel begins with an empty file system again.
KEXECS = int(os.environ.get("FILES_KEXECS", "5"))

LINE = r"guestmem_pool: "


def test_next_kernel_is_elsewhere(vm):
    """A processor that has reported that it stops executes the old kernel until it halts."""
    run = vm(r"""
    # From the first to the last byte of the image.
    echo "image: $(grep ' : Kernel ' /proc/iomem | sort | sed -n 's/^ *\([^-]*\)-.*/\1/p;$s/.*-\(\w*\) :.*/\1/p' |
        sed -n '1p;$p' | xargs)"
    [ "$VM_BOOT" = 4 ] || vm-kexec
    """, nodes=2, mem="2G", append="guestmemfs=1:1G nokaslr", boots=4)
    images = [tuple(int(bound, 16) for bound in line.split()[1:]) for line in run.lines("^image: ")]
    assert len(images) == 4, run.out
    for (start, end), (next_start, next_end) in zip(images, images[1:]):
        assert next_start > end or next_end < start, images


@pytest.mark.quick
def test_kexecs_in_a_row(vm):
    """Files, their contents, names and attributes, changed and checked in each boot."""
    vm(r"""
    check_kho
    describe() {
        # In this order: what maps a file fills its holes.
        find "$1" -type f -size +0 -print0 | sort -z | xargs -0r memfile sum
        (cd "$1" && find . -printf '%P %y %i %m %U %G %n %s %b %T@ %C@\n' | sort)
        echo "free $(free_blocks "$1")"
    }

    phase=$(((VM_BOOT - 1) % 6 + 1))
    for node in 0 1; do
        mount_node $node
        dir=$(at_node $node)
        if [ "$VM_BOOT" -gt 1 ]; then
            describe $dir > /tmp/now
            diff "$VM_SCRATCH/node$node" /tmp/now || die "node $node is not as it was"
            [ $phase = 1 ] || memfile check $dir/constant $node
        fi

        # Another set of changes for each boot and each node.
        b=$VM_BOOT$node
        case $phase in
        1)
            memfile fill $dir/constant 64M $node
            mkdir -p $dir/tree/{a,b,c}/{x,y}
            chown 1000:2000 $dir/tree/a
            chmod 1777 $dir/tree/b
            memfile fill $dir/tree/a/x/odd 5000000 $b
            for i in $(seq 100); do echo > $dir/tree/c/x/$i 2> /dev/null || true; done
            ;;
        2)
            mv $dir/tree/a/x $dir/tree/moved
            memfile fill $dir/tree/moved/odd 9M $b
            fallocate -p -o 4M -l 2M $dir/tree/moved/odd
            touch -d '2001-02-03 04:05:06.789 UTC' $dir/tree/b
            rm -r $dir/tree/c/y
            ;;
        3)
            truncate -s 3M $dir/tree/moved/odd
            touch $dir/tree/allocated-behind-its-size
            fallocate -n -l 20M $dir/tree/allocated-behind-its-size
            find $dir/tree/c/x -name '*7' -delete
            mkdir $dir/tree/c/y
            ;;
        4)
            mv $dir/tree/moved/odd $dir/tree/c/y/"a name with blanks, $(printf '%0200d' 0)"
            truncate -s 30M $dir/tree/allocated-behind-its-size
            rm -r $dir/tree/b
            ;;
        5)
            rm -r $dir/tree/c/x
            # As much as there is.
            truncate -s $(($(free_blocks $dir) * 2))M $dir/all
            memfile fill $dir/all $(($(free_blocks $dir) * 2 + $(stat -c %s $dir/all) / 1048576))M $b
            ;;
        6)
            equal "$(free_blocks $dir)" 0 'free blocks'
            rm -r ${dir:?}/*
            equal "$(free_blocks $dir)" "$(total_blocks $dir)" 'free blocks of an empty file system'
            ;;
        esac
        memfile check $dir/constant $node 2> /dev/null || [ $phase = 6 ]
        describe $dir > "$VM_SCRATCH/node$node"
    done
    # Mounted or not is the same.
    [ $((VM_BOOT % 2)) = 0 ] || umount -a -t guestmemfs
    [ "$VM_BOOT" -gt $KEXECS ] || vm-kexec
    """.replace("$KEXECS", str(KEXECS)), nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M",
       boots=KEXECS + 1)


@pytest.mark.race
def test_kexec_in_the_middle_of_work(vm):
    """Files come and go, and are stored to, until the CPUs stop: nothing is half done."""
    vm(r"""
    for node in 0 1; do
        mount_node $node
        dir=$(at_node $node)
        if [ "$VM_BOOT" -gt 1 ]; then
            memfile check $dir/still $node
            memfile stored $dir/stored
            memfile refaulted $dir/refault
            find $dir/churn -type f -size +0 | while read -r f; do
                memfile sum "$f" > /dev/null
            done
            rm -r $dir/churn $dir/stored $dir/refault
            equal "$(free_blocks $dir)" $(($(total_blocks $dir) - 8)) "free blocks of node $node"
        fi
        [ "$VM_BOOT" != 1 ] || memfile fill $dir/still 16M $node
        [ "$VM_BOOT" = 4 ] && continue
        # The steps of this script come before those of 12 programs that never sleep.
        mkdir $dir/churn $dir/churn/{1,2,3}
        truncate -s 32M $dir/stored
        nice -n 19 memfile store $dir/stored > /tmp/store$node 2>&1 &
        truncate -s 8M $dir/refault
        nice -n 19 memfile refault $dir/refault > /tmp/refault$node 2>&1 &
        for i in 1 2 3; do
            nice -n 19 memfile churn $dir/churn/$i $((VM_BOOT * 10 + i)) > /tmp/churn$node$i 2>&1 &
        done
    done
    [ "$VM_BOOT" = 4 ] && exit 0
    for node in 0 1; do
        wait_for /tmp/store$node storing
        wait_for /tmp/refault$node faulting
        for i in 1 2 3; do
            wait_for /tmp/churn$node$i churning
        done
    done
    # At another point of time in each boot.
    sleep 0.$((VM_BOOT * 37 % 100))
    equal "$(pgrep -c memfile)" 12 'programs at work'
    vm-kexec
    """, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=4)


def test_file_without_name_is_freed_by_next_kernel(vm):
    run = vm(r"""
    mount_node 0
    cd /mnt/node0
    if [ "$VM_BOOT" = 1 ]; then
        memfile fill kept 4M 1
        memfile fill gone 20M 2
        mkdir dir
        exec 3<> gone
        (cd dir && exec sleep 1000) &
        sleep 0.5
        rm gone
        rmdir dir
        memfile keep mapped 10M 3 > /tmp/keep &
        wait_for /tmp/keep checksum
        rm mapped
        equal "$(free_blocks .)" $((128 - 2 - 10 - 5)) 'free blocks while they are open'
        vm-kexec
    fi
    equal "$(ls)" kept 'names'
    equal "$(free_blocks .)" 126 'free blocks in the next kernel'
    memfile check kept 1
    truncate -s 252M all
    memfile zero all
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=2)
    assert any("3 files that were deleted while open are freed" in l for l in run.boots[1])


def test_handles_lead_to_paths(vm):
    """Of files that nobody has looked up in this kernel, as a server of NFS has them."""
    vm(rf"""
    mount_node 0
    [ "$VM_BOOT" = 2 ] || mkdir -p /mnt/node0/a/b/c /mnt/node0/other
    [ "$VM_BOOT" = 2 ] || touch /mnt/node0/a/b/file
    cat > /tmp/handles << 'END'
import errno, os, sys
sys.path.insert(0, "{HERE}")
from operations import handle_of, open_handle
CONNECTABLE = 2
top, place, boot = "/mnt/node0", sys.argv[1], sys.argv[2]
wish = (("c", "a/b/c", 0), ("file", "a/b/file", CONNECTABLE), ("gone", "a/b/file", CONNECTABLE))
if boot == "1":
    for name, path, flags in wish:
        with open(f"{{place}}/{{name}}", "wb") as f:
            f.write(handle_of(f"{{top}}/{{path}}", flags))
    sys.exit()
handles = {{name: open(f"{{place}}/{{name}}", "rb").read() for name, _, _ in wish}}
for name, path, _ in wish[:2]:
    fd = open_handle(handles[name], where=top)
    assert os.readlink(f"/proc/self/fd/{{fd}}") == f"{{top}}/{{path}}", name
    os.close(fd)
# Its directory is part of the handle: it is not found in another one.
os.rename(f"{{top}}/a/b/file", f"{{top}}/other/file")
with open("/proc/sys/vm/drop_caches", "w") as f:
    f.write("2")
try:
    open_handle(handles["gone"], where=top)
except OSError as e:
    assert e.errno == errno.ESTALE, e
else:
    assert False
END
    /usr/bin/python3 -B /tmp/handles "$VM_SCRATCH" "$VM_BOOT"
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=2)


def test_other_command_line(vm):
    """What was handed over wins; what is new is made; fresh starts from nothing.

    The nodes are large, as KHO gives new pools only gigabytes that are all free.
    """
    run = vm(r"""
    check_kho
    total=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
    echo "total$VM_BOOT=$total"
    case $VM_BOOT in
    1)
        mount_node 0
        memfile fill /mnt/node0/file 32M 5
        fails grep 'guestmemfs node1' /proc/iomem
        vm-kexec --cmdline 'guestmemfs=0:384M,1:256M'
        ;;
    2)
        # A pool keeps its size; another is made beside it.
        equal "$(pool_bytes 0)" $((256 << 20)) 'node 0'
        equal "$(pool_bytes 1)" $((256 << 20)) 'node 1'
        check_places 0 1
        mount_node 0
        mount_node 1
        memfile check /mnt/node0/file 5
        memfile fill /mnt/node1/file 32M 6
        vm-kexec --cmdline ''
        ;;
    3)
        # What nobody asks for is still there.
        mount_node 0
        mount_node 1
        memfile check /mnt/node0/file 5
        memfile check /mnt/node1/file 6
        vm-kexec --cmdline 'guestmemfs=fresh,1:128M'
        ;;
    4)
        equal "$(pool_bytes 0)" 0 'node 0'
        equal "$(pool_bytes 1)" $((128 << 20)) 'node 1'
        mount_node 1
        equal "$(ls /mnt/node1)" '' 'files'
        truncate -s 128M /mnt/node1/all
        memfile zero /mnt/node1/all
        vm-kexec --cmdline 'guestmemfs=0:99%,1:128M,0:junk'
        ;;
    5)
        mount_node 1
        memfile zero /mnt/node1/all
        fails grep 'guestmemfs node0' /proc/iomem
        vm-kexec --cmdline 'guestmemfs=fresh'
        ;;
    6)
        fails grep guestmemfs /proc/iomem
        ;;
    esac
    """, nodes=2, mem="4G", append="guestmemfs=0:256M", boots=6, expect=[
        LINE + "node 0: keeps its handed-over pool of 256 MiB, guestmemfs= asks for 384 MiB",
        LINE + "guestmemfs=fresh: handed-over pools are discarded",
        LINE + "node [01]: pool of 128 blocks discarded",
        LINE + "node 1: pool of 64 blocks discarded",
        LINE + r"node 0: a pool of \d+ MiB is too large, at most \d+ MiB are allowed: no pool is made",
        LINE + 'guestmemfs=: "0:junk" has no number where a size should be.*: this part is ignored',
    ])
    total = {b: int(run.value(f"total{b}")) for b in range(1, 7)}
    # Memory that is no pool any more is everybody's.
    assert total[6] > total[1] + 240 * 1024, total
    assert total[4] > total[3] + 370 * 1024, total


def test_memory_that_was_in_use_reads_as_zeroes(vm):
    """A pool made where programs, or the files of a pool that is lost, had their data."""
    vm(r"""
    case $VM_BOOT in
    1)
        # Nearly all memory of the node.
        mount -t tmpfs -o size=90% none /mnt
        mib=$(($(sed -n 's/.*MemFree: *\([0-9]*\) kB/\1/p' /sys/devices/system/node/node1/meminfo) / 1024 - 250))
        numactl --membind=1 memfile fill /mnt/file ${mib}M 1
        # Less than is left in the worst case: where KHO's areas and the kernel are is random.
        vm-kexec --append guestmemfs=1:640M
        ;;
    2)
        mount_node 1
        cd /mnt/node1
        truncate -s $(($(free_blocks .) * 2))M all
        memfile zero all
        memfile fill all 640M 2
        cd /
        vm-kexec --append kho=off
        ;;
    3)
        # That kernel takes what it is handed, and hands nothing on.
        mount_node 1
        memfile check /mnt/node1/all 2
        umount /mnt/node1
        kexec_without_handover
        ;;
    4)
        mount_node 1
        cd /mnt/node1
        equal "$(ls)" '' 'files'
        truncate -s $(($(free_blocks .) * 2))M all
        memfile zero all
        ;;
    esac
    """, topology="node=0,cpus=0,mem=1G;node=1,cpus=1,mem=3G", boots=4,
       expect=[LINE + r"node 1: KHO is off \(see kho=\): the pool will not survive kexec"])


def test_nodes_become_one_and_two_again(vm):
    """With numa=off all memory is on node 0, and a second pool cannot be."""
    vm(r"""
    check_kho
    case $VM_BOOT in
    1)
        for node in 0 1; do
            mount_node $node
            memfile fill "$(at_node $node)/file" 40M $node
        done
        grep guestmemfs /proc/iomem | sed 's/ :.*//' > "$VM_SCRATCH/iomem"
        vm-kexec --append numa=off
        ;;
    2)
        grep guestmemfs /proc/iomem | sed 's/ :.*//' > /tmp/iomem
        cmp /tmp/iomem "$VM_SCRATCH/iomem" || die "$(cat /proc/iomem)"
        mount -t guestmemfs -o node=0 none /mnt
        memfile check /mnt/file 0
        memfile fill /mnt/second 4M 9
        has "$(fails fsmount guestmemfs /tmp node=1)" 'node 1 has no pool; nodes with a pool: 0$' 'node 1'
        vm-kexec --cmdline 'guestmemfs=0:256M,1:256M'
        ;;
    3)
        for node in 0 1; do
            mount_node $node
            memfile check "$(at_node $node)/file" $node
        done
        memfile check /mnt/node0/second 9
        memfile fill /mnt/node1/second 4M 10
        check_places 0 1
        grep guestmemfs /proc/iomem | sed 's/ :.*//' > /tmp/iomem
        cmp /tmp/iomem "$VM_SCRATCH/iomem" || die "$(cat /proc/iomem)"
        vm-kexec
        ;;
    4)
        mount_node 1
        memfile check /mnt/node1/file 1
        memfile check /mnt/node1/second 10
        ;;
    esac
    """, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=4, expect=[
        LINE + "node 1 of the kernel before is node 0 now: its pool follows the memory",
        LINE + "node 0: node 0 has another pool: this pool is not used, its memory is kept and handed over",
        LINE + "guestmemfs=: node 1 does not exist, allowed are 0: this part is ignored",
    ])


def test_nodes_are_renumbered(vm):
    """Pools follow their memory to the numbers that their nodes have now."""
    # One extent each, or a node could be split within its pool.
    run = vm(r"""
    check_kho
    # node_of START: the node whose pool begins there
    node_of() {
        sed -n "s/^ *$1-.* : guestmemfs node\([0-9]*\)$/\1/p" /proc/iomem
    }
    case $VM_BOOT in
    1)
        for node in 0 1; do
            mount_node $node
            memfile fill "$(at_node $node)/file" 40M $node
            pool_ranges $node > "$VM_SCRATCH/$node"
        done
        # Each node becomes two.
        vm-kexec --cmdline 'nokaslr numa=fake=2U'
        ;;
    2)
        equal "$(cat /sys/devices/system/node/online)" 0-3 'nodes'
        for old in 0 1; do
            read -r start _ < "$VM_SCRATCH/$old"
            node=$(node_of "$start")
            echo "moved$old=$node"
            mount_node "$node"
            memfile check "$(at_node "$node")/file" $old
            memfile fill "$(at_node "$node")/second" 4M $((old + 10))
        done
        vm-kexec --cmdline 'nokaslr guestmemfs=0:128M,1:128M'
        ;;
    3)
        for node in 0 1; do
            mount_node $node
            read -r start _ < "$VM_SCRATCH/$node"
            equal "$(node_of "$start")" $node 'node'
            memfile check "$(at_node $node)/file" $node
            memfile check "$(at_node $node)/second" $((node + 10))
        done
        ;;
    esac
    """, nodes=2, mem="1G", append="nokaslr guestmemfs=0:128M,1:128M", boots=3, expect=[
        LINE + r"node \d of the kernel before is node \d now: its pool follows the memory"])
    moved = [run.value("moved0"), run.value("moved1")]
    assert moved != ["0", "1"], "no node has another number, so nothing was tested"
    for old, new in enumerate(moved):
        if str(old) != new:
            assert (f"guestmem_pool: node {old} of the kernel before is node {new} now: "
                    "its pool follows the memory") in run.boots[1]


@pytest.mark.race
def test_storm(vm):
    """What has returned is there, what has not is whole or not there at all, for all operations."""
    run = vm(r"""
    workers="1 2 3 4 5 6"
    mount_node 0
    cd /mnt/node0
    if [ "$VM_BOOT" -gt 1 ]; then
        for worker in $workers; do
            mkdir -p /tmp/reference/$worker
            storm verify $worker shared log$worker $(((VM_BOOT - 1) * 100 + worker)) \
                /tmp/reference/$worker
        done
        rm -r $workers shared log*
        equal "$(free_blocks .)" "$(total_blocks .)" 'free blocks'
    fi
    [ "$VM_BOOT" != 5 ] || exit 0
    mkdir $workers shared
    for worker in $workers; do
        nice -n 19 storm run $worker shared log$worker $((VM_BOOT * 100 + worker)) > /tmp/storm$worker 2>&1 &
    done
    for worker in $workers; do
        wait_for /tmp/storm$worker storming
    done
    sleep $((VM_BOOT % 2)).$((VM_BOOT * 37 % 100))
    equal "$(pgrep -c storm)" 6 'programs at work'
    vm-kexec
    """, nodes=1, cpus=3, mem="1500M", append="guestmemfs=0:640M", boots=5)
    assert len(run.lines("^verified=[1-9]")) == 4 * 6, run.out
    assert sum(map(int, re.findall(r"(\d+) exchanges", run.out))) > 100, run.out
    print("\n".join(run.lines("^verified=")))


def test_pools_freeze_together(vm):
    """Each waits for an RCU grace period, of 8 ms or more: not one after the other."""
    run = vm(r"""
    [ "$VM_BOOT" != 1 ] || vm-kexec
    """, topology=";".join(["node=0,cpus=0-1,mem=1G", *(f"node={n},mem=640M" for n in range(1, 8))]),
             append="guestmemfs=" + ",".join(f"{n}:128M" for n in range(1, 8)) +
             " trace_event=guestmemfs:guestmemfs_freeze tp_printk",
             options=["--icount"], boots=2)
    at = [float(t) for t in re.findall(r"\[ *([0-9.]+)\] guestmemfs_freeze: node=", run.log)]
    assert len(at) == 7, at
    assert max(at) - min(at) < 0.024, at
