# SPDX-License-Identifier: GPL-2.0
"""/sys/fs/guestmemfs: what Documentation/ABI/testing/sysfs-fs-guestmemfs promises.

The checks themselves are in sysfs/, which runs inside the machine: there a
process costs much more than what it looks at.
"""

import os

import pytest

from conftest import DEBUG

pytestmark = pytest.mark.long

HERE = os.path.dirname(os.path.abspath(__file__))

LIB = rf"""
sysfs() {{
    /usr/bin/python3 -B {HERE}/sysfs "$@" || exit 1
}}
"""
# A gigabyte that is aligned, and somewhat more. With KASLR, the image of the kernel can leave
# node 1 no such gigabyte.
LARGE = dict(nodes=2, mem="3G", append="guestmemfs=0:128M,1:1280M nokaslr")
SMALL = dict(nodes=2, mem="1G", append="guestmemfs=0:128M,1:256M")
DISCARDED = r"guestmem_pool: node \d+: pool of \d+ blocks discarded$"

# name: machine, boot parameter, what is said
SHAPES = {
    "no-pool": (dict(nodes=1), "", ()),
    "one-node": (dict(nodes=1, mem="1G"), "0:256M", ()),
    "two-nodes": (dict(nodes=2, mem="1G"), "0:128M,1:256M", ()),
    "four-nodes": (
        dict(topology="node=0,cpus=0,mem=1536M;node=1,cpus=1;node=2,mem=1536M;node=3,mem=1G"),
        "0:128M,1:128M,2:256M,3:128M",
        [r"guestmem_pool: guestmemfs=: node 1 has no memory, allowed are 0,2-3: this part is ignored"]),
    "sixteen-nodes": (
        dict(topology="node=0,cpus=0-1,mem=2560M;" +
             ";".join(f"node={n},mem=640M" for n in range(1, 15)) + ";node=15,mem=1G"),
        ",".join(f"{n}:128M" for n in range(15)), ()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_files(vm, shape):
    """Each file that is documented and no other; each value that is allowed and no other; and after kexec."""
    machine, param, expect = SHAPES[shape]
    pools = 0 if not param else param.count(":") - len(expect)
    run = vm(LIB + r"""
    if [ "$VM_BOOT" = 1 ]; then
        sysfs files metadata defaults consistent_all unprivileged values defaults
        sysfs set_all 1 keep "$VM_SCRATCH/kept"
        vm-kexec
    fi
    sysfs kept "$VM_SCRATCH/kept" files unprivileged default_all consistent_all
    """, append=f"guestmemfs={param}" if param else "", expect=expect, boots=2, **machine)
    # The top, its features and their folder, its version and kho, and what each node has.
    assert run.lines("^files=") == [f"files={21 + 52 * pools}"] * 2, run.out


def test_values(vm):
    """What is done to a node is seen in its files, and in no other's."""
    vm(LIB + r"""
    if [ "$VM_BOOT" = 1 ]; then
        sysfs actions 1 consistent_all keep "$VM_SCRATCH/kept"
        vm-kexec
    fi
    sysfs kept "$VM_SCRATCH/kept"
    mount_node 1
    sysfs consistent_all
    """, boots=2, **LARGE)


def test_tunables(vm):
    """What is set has its effect, at once."""
    vm(LIB + r"""
    mount_node 1
    sysfs scrubbing 1
    sysfs policy 1
    sysfs reserve 1
    sysfs consistent_all
    """, boots=1, **LARGE)


def test_freezing(vm):
    """Who would change something waits; one that is not mounted is frozen when it is."""
    vm(LIB + r"""
    mount_node 1
    sysfs freezing 1
    sysfs freezing_unmounted 1
    """, boots=1, expect=[DISCARDED], **SMALL)


def test_events(vm):
    """poll(2) and uevents, and that the watermark is known to the next kernel."""
    vm(LIB + r"""
    mount_node 1
    if [ "$VM_BOOT" = 1 ]; then
        sysfs watch 1
        vm-kexec
    fi
    sysfs watch_on 1
    """, boots=2, **{**SMALL, "expect": [
        r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used any more",
        r"guestmem_pool: node 1: 3 pages have hardware errors"]})


def test_discard(vm):
    """Also over kexec, and of nodes that have failed in all ways, which it makes good again."""
    said = {1: "super block is damaged", 2: "metadata block 0 is damaged", 3: "root inode"}
    vm(LIB + r"""
    case $VM_BOOT in
    1)
        for node in 1 2 3 4 5; do
            mount_node $node
            truncate -s 10M /mnt/node$node/file
            echo 5 > /sys/fs/guestmemfs/node$node/reserve
        done
        echo 1 > /sys/fs/guestmemfs/node5/frozen
        sysfs discard 0
        damage 1 super 8 1
        damage 2 meta0 0 1
        damage 3 meta2 96 0x10 fix
        damage 4 meta2 80 0x80 fix
        damage 5 both 32 0x80 fix
        vm-kexec
        ;;
    2)
        sysfs failed 1 'super block is damaged'
        sysfs failed 2 'metadata block 0 is damaged'
        sysfs failed 3 'root inode'
        sysfs read_only 4
        sysfs read_only 5
        for node in 1 2 3 4; do
            sysfs revive $node
        done
        equal "$(cat /sys/fs/guestmemfs/node5/frozen)" 1 'frozen'
        sysfs revive_frozen 5
        vm-kexec
        ;;
    3)
        mount_node 0
        for node in 0 1 2 3 4 5; do
            [ $node = 0 ] || mount_node $node
        done
        sysfs consistent_all files
        equal "$(ls /mnt/node0)" survivor 'files'
        for node in 1 2 3 4 5; do
            equal "$(ls /mnt/node$node)" new 'files'
            equal "$(cat /sys/fs/guestmemfs/node$node/reserve)" 3 'reserve'
            memfile zero /mnt/node$node/new
        done
        ;;
    esac
    """, nodes=6, cpus=2, mem="1280M", append="guestmemfs=" + ",".join(f"{n}:128M" for n in range(6)),
       boots=3, expect=[DISCARDED, *(rf"guestmem_pool: node {n}: .*{why}.*: this pool is not used"
                                       for n, why in said.items()),
                        r"guestmemfs: node [45]: handed-over file system, .*, read-only$"])


def test_discard_needs_memory(vm):
    """Of two nodes that claim the same memory one has none, and does not get the other's."""
    vm(LIB + r"""
    if [ "$VM_BOOT" = 1 ]; then
        read -r mine _ < <(pool_ranges 1)
        read -r other _ < <(pool_ranges 2)
        for byte in 2 3 4 5; do
            differ=$(((0x$mine ^ 0x$other) >> (8 * byte) & 255))
            [ $differ = 0 ] || damage 1 both $((1024 + byte)) $differ fix
        done
        vm-kexec
    fi
    sysfs no_memory 2
    fails mount -t guestmemfs -o node=2 none /mnt
    """, nodes=3, mem="1G", append="guestmemfs=0:128M,1:128M,2:128M", boots=2,
       expect=[r"guestmem(_pool|fs): "])


SECONDS = 60 if DEBUG else 15


@pytest.mark.race
def test_storm(vm):
    """Everything is read, written, used, mounted and reset at the same time; then kexec."""
    run = vm(LIB + rf"""
    if [ "$VM_BOOT" -gt 1 ]; then
        sysfs kept "$VM_SCRATCH/kept" default_all consistent_all
    fi
    if [ "$VM_BOOT" -lt 3 ]; then
        sysfs storm {SECONDS} "$VM_BOOT"
        sysfs set_all "$VM_BOOT" keep "$VM_SCRATCH/kept"
        vm-kexec
    fi
    mount_node 0
    sysfs consistent_all
    [ "$(ls /mnt/node0)" = "kept1000
kept2000" ] || die "files: $(ls /mnt/node0)"
    """, boots=3, expect=[DISCARDED], **SMALL)
    assert len(run.lines("^files=")) == 6 and len(run.lines("^discards=")) == 2
