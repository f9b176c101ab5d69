# SPDX-License-Identifier: GPL-2.0
"""Allocations that fail: whichever it is, the node stays whole and loses nothing."""

# How many allocations of an operation have to have failed at least, that it was tried at all.
LEAST = {"create": 1, "mkdir": 1, "symlink": 1, "rename": 1, "attr-large": 1, "grow": 1, "more-metadata": 3,
         "fill-holes": 2, "exchange-range": 6, "map": 1, "mount": 5, "mount-again": 1, "discard": 3, "check": 5}


def test_each_allocation_fails(vm):
    """One after the other, of each operation; the next kernel finds all in order."""
    run = vm(r"""
    mount_node 1
    if [ "$VM_BOOT" = 1 ]; then
        wait_clean 1
        for point in failslab fail_page_alloc; do
            cd /sys/kernel/debug/$point
            echo N > ignore-gfp-wait
            echo 0 > verbose
        done
        echo N > ignore-gfp-highmem
        echo 0 > min-order
        memfile fill /mnt/node1/kept 16M 1
        failures /mnt/node1 1 0
        echo node0 > /sys/fs/guestmemfs/node0/discard
        rmdir /mnt/node1/failures
        vm-kexec
    fi
    memfile check /mnt/node1/kept 1
    mount_node 0
    equal "$(free_blocks /mnt/node0)" "$(total_blocks /mnt/node0)" 'free blocks of node 0'
    equal "$(free_blocks /mnt/node1)" "$(($(total_blocks /mnt/node1) - 8))" 'free blocks of node 1'
    """, nodes=2, mem="2G", append="guestmemfs=0:256M,1:512M", boots=2,
             # The files that KHO has in debugfs are not expected to have no memory.
             options=["--timeout=900", "--allow-warn=at kho_add_subtree"],
             expect=[r"guestmem_pool: node 0: pool of 128 blocks discarded",
                     r"guestmem_pool: node 0: cannot be reset \((-12|-ENOMEM)\): this pool is not used",
                     r"guestmem_pool: node 0: no file system can be made \((-12|-ENOMEM)\)"])
    points = run.counts("points", "without")
    for name, least in LEAST.items():
        assert points[name]["points"] >= least, (name, points)
    # Not all of them can do without.
    assert any(p["without"] < p["points"] for p in points.values()), points
