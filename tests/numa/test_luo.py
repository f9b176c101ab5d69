# SPDX-License-Identifier: GPL-2.0
"""Open files that LUO preserves, with a name and without."""


def test_descriptors_come_back(vm):
    """With their contents, also of files without a name; what is not asked for is freed."""
    run = vm(r"""
    used() {
        for _ in $(seq 100); do
            now=$(($(total_blocks "$1") - $(free_blocks "$1")))
            [ "$now" != "$2" ] || return 0
            sleep 0.1
        done
        die "$3: $now blocks are used of $1, should be $2"
    }
    preserved() {
        equal "$(cat /sys/fs/guestmemfs/node{0,1}/preserved_files | tr '\n' ' ')" "$1 " "$2"
    }
    mount_node 0
    preserved '0 0' 'files preserved in a new kernel'
    case $VM_BOOT in
    1)
        mount_node 1
        luo 1 /mnt/node0 /mnt/node1
        # The one whose session was closed does not count.
        preserved '5 1' 'files preserved for the next kernel'
        # The last was given up again; the process has it open until the kexec.
        used /mnt/node0 $((4 + 3 + 2 + 5 + 10 + 20)) 'preserved'
        vm-kexec
        ;;
    2)
        used /mnt/node0 $((4 + 3 + 2 + 5 + 10)) 'held'
        # A file that is held can be damaged no more than others: the check knows it.
        equal "$(cat /sys/fs/guestmemfs/node0/check)" ok check
        luo 2 /mnt/node0 /mnt/node1
        # The one that was preserved again went with its session.
        preserved '0 0' 'files preserved after the retrieval'
        used /mnt/node0 $((4 + 10)) 'finished, but for one session'
        mount_node 1
        used /mnt/node1 0 'finished'
        equal "$(cat /sys/fs/guestmemfs/node0/check)" ok check
        umount /mnt/node1
        vm-kexec
        ;;
    3)
        used /mnt/node0 4 'only the file with a name'
        luo 3 /mnt/node0 /mnt/node1
        ;;
    esac
    """, nodes=2, mem="2G", append="guestmemfs=0:256M,1:128M", boots=3)
    assert len(run.lines("^stage [23] passed")) == 2, run.out


def test_without_luo_in_the_next_kernel(vm):
    """Then nobody will ask for files without a name, and they are freed."""
    vm(r"""
    mount_node 0
    mount_node 1
    if [ "$VM_BOOT" = 1 ]; then
        luo 1 /mnt/node0 /mnt/node1
        vm-kexec --append liveupdate=off
    fi
    equal $(($(total_blocks /mnt/node0) - $(free_blocks /mnt/node0))) 4 'used blocks'
    equal "$(ls /mnt/node0)" named 'names'
    equal "$(free_blocks /mnt/node1)" "$(total_blocks /mnt/node1)" 'free blocks'
    """, nodes=2, mem="2G", append="guestmemfs=0:256M,1:128M", boots=2)


def test_what_cannot_be_retrieved_stays(vm):
    """A retrieval that fails loses nothing: it can be repeated, and the end of the session frees
    what was not retrieved. The mount that LUO makes sets no option. A frozen node keeps neither a
    session nor the kexec waiting. A pool that is reset meanwhile gives no file of its new life."""
    run = vm(r"""
    if [ "$VM_BOOT" = 1 ]; then
        # Inodes of a pool that was reset have other numbers than those of one that was not.
        echo node0 > /sys/fs/guestmemfs/node0/discard
        mount_node 0
        luo_errors 1 /mnt/node0
        vm-kexec
    fi
    mkdir -p /mnt/node0
    for point in failslab fail_page_alloc; do
        echo N > /sys/kernel/debug/$point/ignore-gfp-wait
        echo 0 > /sys/kernel/debug/$point/verbose
    done
    echo 0 > /sys/kernel/debug/fail_page_alloc/min-order
    luo_errors 2 /mnt/node0
    echo 0 > /sys/kernel/debug/failslab/probability
    luo_errors 5 /mnt/node0
    mount_node 0
    # A worker frees what was not asked for.
    for _ in $(seq 100); do
        [ "$(free_blocks /mnt/node0)" != "$(total_blocks /mnt/node0)" ] || break
        sleep 0.1
    done
    equal "$(free_blocks /mnt/node0)" "$(total_blocks /mnt/node0)" 'free blocks'
    equal "$(cat /sys/fs/guestmemfs/node0/check)" ok check
    dmesg | grep -cE 'Workqueue: .* gmfs_(do_mount_internal|luo_drop_unclaimed)' > /tmp/failed ||
        die 'no allocation of a worker has failed'
    echo "failed=$(cat /tmp/failed)"
    """, mem="2G", append="guestmemfs=0:256M", boots=2,
       # Whether one of these is hit depends on what the allocator has cached.
       expect=[r"guestmemfs: node 0 is mounted with prefault elsewhere: use mount -o remount$|"
               r"guestmemfs: LUO cannot retrieve an open file of inode \d+ \(-ENOMEM\)$|"
               r"guestmemfs: node 0: cannot charge 2 MiB of a file to the cgroup of ",
               r"guestmem_pool: node 0: pool of 128 blocks discarded$",
               r"guestmemfs: LUO cannot retrieve an open file of inode \d+ \(-ENODEV\)$"])
    assert len(run.lines("^stage [25] passed")) == 2, run.out
