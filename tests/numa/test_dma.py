# SPDX-License-Identifier: GPL-2.0
"""Devices that user space has: what of guestmemfs they reach, and for how long."""

import pytest

from conftest import DEBUG
from tool import build

IOMMU = ["--qemu-args", "-device intel-iommu,intremap=on,aw-bits=48 "
                        "-device edu,dma_mask=0xffffffffffff"]

# Gives QEMU's edu to user 1000.
EDU = r"""
take_device 0x11e8
chown 1000 "$group" "$cdev"
chmod 666 /dev/vfio/vfio /dev/iommu
"""

WAYS = ["type1", "type1v2", "compat", "ioas-map", "ioas-map-file"]
# How each operation on memory that a device has ends, and whose memory the device reaches then.
OPERATIONS = {
    "truncate": "EBUSY own", "O_TRUNC": "EBUSY own", "punch": "EBUSY own", "MADV_REMOVE": "EBUSY own",
    "unlink": "done own", "rename-over": "done own", "mremap": "EBUSY own", "fork": "EBUSY own",
    "overlay": "EBUSY own", "umount-discard": "EBUSY own", "kill": "done own", "exit": "done own",
}


def test_device_reaches_its_file_alone(vm):
    """Whichever way a device gets memory of a file, no other file ever has that memory before the
    device has lost it. What takes memory from the file fails and changes nothing; a deleted file
    keeps it."""
    run = vm(EDU + r"""
    mount_node 0
    mount_node 1
    chmod 1777 /mnt/node0 /mnt/node1
    mkdir -p /tmp/lower /mnt/node0/upper /mnt/node0/work /tmp/overlay
    chown 1000 /mnt/node0/upper
    mount -t overlay -o lowerdir=/tmp/lower,upperdir=/mnt/node0/upper,workdir=/mnt/node0/work none /tmp/overlay
    dma /mnt/node0 /mnt/node1 /tmp/overlay "$device" "$group" "$cdev"
    umount /tmp/overlay
    for node in 0 1; do
        equal "$(cat /sys/fs/guestmemfs/node$node/check)" ok check
        umount /mnt/node$node
    done
    """, nodes=2, mem="1G", append="guestmemfs=0:128M,1:128M intel_iommu=on", boots=1, options=IOMMU)
    expected = [f"{way} {operation}: {result}" for way in WAYS
                for operation, result in OPERATIONS.items()]
    # iommufd looks at the descriptor itself, which is one of the overlay.
    expected[expected.index("ioas-map-file overlay: EBUSY own")] = "ioas-map-file overlay: EINVAL none"
    assert run.lines(r"^[\w-]+ [\w-]+: (done|E\w+) (own|LEAK|none)$") == expected


def test_iommu_entries(vm):
    """A device gets memory by the largest entries that its place allows, and reaches what FIEMAP
    says, on each node."""
    run = vm(EDU + r"""
    mount_node 0
    mount_node 1
    truncate -s 1G /mnt/node1/whole
    # Blocks of two files in turn: no two that follow each other in a file do in memory.
    for i in $(seq 0 15); do
        for file in pieces others; do
            fallocate -o $((i * 2))M -l 2M /mnt/node0/$file
        done
    done
    pins sizes "$device" "$group" "$cdev" /mnt/node0/pieces /mnt/node1/whole
    rm /mnt/node0/* /mnt/node1/*
    for node in 0 1; do
        equal "$(cat /sys/fs/guestmemfs/node$node/pinned_blocks)" 0 'pinned blocks'
        umount /mnt/node$node
    done
    """, nodes=2, mem="3G", append="guestmemfs=0:128M,1:1G intel_iommu=on nokaslr", boots=1, options=IOMMU)
    expected = [f"{way} /mnt/node{sizes}" for way in WAYS for sizes in
                ("0/pieces: 1G=0 2M=16 4K=0", "1/whole: 1G=1 2M=0 4K=0")]
    assert run.lines(r"^[\w-]+ /mnt/.*=") == expected


MODES = ["vfio_type1_iommu", "vfio_type1v2_iommu", "iommufd_compat_type1", "iommufd_compat_type1v2", "iommufd"]


def test_many_copies(vm):
    """A network card copies between files of two nodes, with its descriptors in a file."""
    run = vm(r"""
    mount_node 0
    mount_node 1
    take_device 0x10c9
    """ + f"for mode in {' '.join(MODES)}; do" + r"""
        igb $mode "$device" /mnt/node0 /mnt/node1 100000
    done
    equal "$(cat /sys/fs/guestmemfs/node{0,1}/pinned_blocks | xargs)" '0 0' 'pinned blocks'
    umount /mnt/node0
    umount /mnt/node1
    """, nodes=2, mem="1G", append="guestmemfs=0:256M,1:128M intel_iommu=on", boots=1,
             options=["--qemu-args", "-device intel-iommu,intremap=on,aw-bits=48 -device igb"])
    assert run.lines("^igb ") == [f"igb {mode}: copies=100000" for mode in MODES]


# How many allocations of an operation have to have failed at least, that it was tried at all.
LEAST_POINTS = {"type1": 2, "type1v2": 2, "type1v2-holes": 2, "compat": 3, "ioas-map": 3, "ioas-map-file": 3,
                "ioas-map-file-holes": 3, "ioas-copy": 1, "attach": 2}


@pytest.mark.race
def test_pins_under_pressure(vm):
    """Whichever allocation fails and whatever comes at the same time: a pin is whole or is none,
    and what is pinned stays where it is. In the end nothing is pinned."""
    run = vm(EDU + rf"""
    for point in failslab fail_page_alloc; do
        echo N > /sys/kernel/debug/$point/ignore-gfp-wait
        echo 0 > /sys/kernel/debug/$point/verbose
    done
    echo N > /sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem
    echo 0 > /sys/kernel/debug/fail_page_alloc/min-order
    mount_node 0
    pins fail "$device" "$group" "$cdev" /mnt/node0 0
    pins storm "$device" "$group" "$cdev" /mnt/node0 0 {120 if DEBUG else 60}
    equal "$(free_blocks /mnt/node0)" "$(total_blocks /mnt/node0)" 'free blocks'
    umount /mnt/node0
    """, nodes=1, mem="1G", append="guestmemfs=0:128M intel_iommu=on", boots=1,
             options=[*IOMMU, "--timeout=900"])
    points = run.counts("points", "without")
    for name, least in LEAST_POINTS.items():
        assert points[name]["points"] >= least, (name, points)
    storm = run.counts("pinned", "refused", "killed")["storm"]
    assert min(storm.values()) > 20, storm


NODE_0 = r"(guestmem_pool|guestmemfs): node 0: "


def test_pins_over_a_kexec(vm):
    """Memory of a preserved file that a device has stays the file's until the session is finished,
    and the device gets the same memory at the same IOVA. Other pins end with the kernel. A kexec
    that fails leaves nothing of that. gmfs-numa names the file and the process that keep a node busy."""
    run = vm(EDU + f"tool={build()}" + r"""
    pins_of_luo() {
        luo_pins "$VM_BOOT" /mnt/node0 0 "$device" "$group" "$cdev"
    }
    case $VM_BOOT in
    1)
        mount_node 0
        mount_node 1
        truncate -s 2M /mnt/node1/file
        vm-kexec --load-only
        pins_of_luo
        $tool status -rn -o node,pinned | sed 's/^/status: /'
        $tool ls -rn -o file,pinned,pinned-by | sed -E 's/^/ls: /; s/ [0-9]+\(/ PID(/'
        fails $tool umount --base /mnt 0 2>&1 | sed -E 's/^/umount: /; s/ [0-9]+\(/ PID(/'
        vm-kexec
        ;;
    2)
        fails $tool discard --yes 0 2>&1 | sed 's/^/discard: /'
        fails bash -c 'echo node0 > /sys/fs/guestmemfs/node0/discard' 2> /tmp/said
        has "$(cat /tmp/said)" 'Device or resource busy' 'discard'
        mount_node 0
        pins_of_luo
        equal "$(cat /sys/fs/guestmemfs/node0/check)" ok check
        vm-kexec --cmdline 'guestmemfs=fresh intel_iommu=on'
        ;;
    3)
        fails grep 'guestmemfs node1' /proc/iomem
        mount_node 0
        equal "$(ls /mnt/node0)" again 'files'
        pins_of_luo
        rm /mnt/node0/again
        umount /mnt/node0
        echo node0 > /sys/fs/guestmemfs/node0/discard
        ;;
    esac
    """, nodes=2, mem="1G", append="guestmemfs=0:128M,1:128M intel_iommu=on", boots=3,
             options=IOMMU, expect=[
        NODE_0 + "the pool is not discarded, since .* pinned for devices",
        NODE_0 + "guestmemfs=fresh does not discard its pool, since .* pinned for devices",
        r"guestmem_pool: node [01]: pool of 64 blocks (thrown away|discarded)",
        "guestmem_pool: guestmemfs=fresh: .*pools"])
    assert run.lines("^stage 3 passed"), run.out
    assert run.lines("^(status|ls): ") == [
        "status: 0 10M", "status: 1 0B", "ls: /mnt/node0/kept 4M PID(luo_pins)",
        "ls: /mnt/node0/unpinned 0B -", "ls: /mnt/node0/unpreserved 2M PID(luo_pins)",
        "ls: /mnt/node1/file 0B -"]
    nameless = r"gmfs-numa: node 0: a file without a name, inode \d+: 4M pinned by "
    for pattern in (
            "umount: gmfs-numa: /mnt/node0/kept: 4M pinned by PID\\(luo_pins\\)$",
            "umount: " + nameless + r"PID\(luo_pins\)$",
            "umount: gmfs-numa: node 0: stop these processes, or detach the devices$",
            "discard: gmfs-numa: node0/kept: 8M pinned by previous-kernel$",
            "discard: " + nameless + "previous-kernel$",
            "discard: gmfs-numa: node 0: retrieve the preserved files, or finish their LUO sessions$"):
        assert run.lines("^" + pattern), pattern


def test_pins_for_an_older_kernel(vm):
    """A kernel that does not know of pins can only read the node: it frees nothing of a pinned file,
    with a name or without, and its LUO sessions do not either."""
    run = vm(EDU + r"""
    used() {
        echo $(($(total_blocks /mnt/node0) - $(free_blocks /mnt/node0)))
    }
    if [ "$VM_BOOT" = 1 ]; then
        mount_node 0
        vm-kexec --load-only
        luo_pins 1 /mnt/node0 0 "$device" "$group" "$cdev"
        equal "$(used)" 8 'used blocks'
        # One more feature each, of the pool and of the file system, that is not known.
        damage 0 both 32 0x80 fix
        damage 0 meta2 80 0x80 fix
        vm-kexec
    fi
    ro_compat=$(sed -E 's/.*ro_compat=(\S+).*/\1/' /sys/fs/guestmemfs/node0/format)
    equal $((ro_compat & 2)) 2 'feature of pins'
    mkdir -p /mnt/node0
    fails fsmount guestmemfs /mnt/node0 node=0
    mount -t guestmemfs -o ro,node=0 none /mnt/node0
    equal "$(used)" 8 'used blocks of the next kernel'
    fails truncate -s 0 /mnt/node0/kept
    fails bash -c 'echo node0 > /sys/fs/guestmemfs/node0/discard'
    umount /mnt/node0
    fails bash -c 'echo node0 > /sys/fs/guestmemfs/node0/discard'
    # The session is finished, and nothing of it retrieved.
    luo_pins 4 /mnt/node0 0 "$device" "$group" "$cdev"
    mount -t guestmemfs -o ro,node=0 none /mnt/node0
    equal "$(used)" 8 'used blocks after the session'
    equal "$(ls /mnt/node0 | xargs)" 'kept unpinned unpreserved' 'names'
    """, nodes=1, mem="1G", append="guestmemfs=0:128M intel_iommu=on", boots=2,
             options=IOMMU, expect=[NODE_0 + "(damaging (both|meta2)|.*(read-only|only read|not discarded).*)"])
    assert run.lines("^stage 4 passed"), run.out
