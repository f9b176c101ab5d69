# SPDX-License-Identifier: GPL-2.0
"""Machines of all shapes: pools on their nodes, before and after a kexec."""

import re

import pytest

from conftest import DEBUG, nodes_in_a_row
from tool import build

pytestmark = pytest.mark.long

# name: machine, boot parameter, nodes that have a pool then, what is said
SHAPES = {
    "one-node": (dict(nodes=1, mem="1G"), "0:256M", [0], ()),
    "two-nodes": (dict(nodes=2, mem="1G"), "0:256M,1:256M", [0, 1], ()),
    "four-nodes": (dict(nodes=4, mem="1152M"), "0:128M,1:256M,2:128M,3:256M", [0, 1, 2, 3], ()),
    "eight-nodes": (
        dict(topology=nodes_in_a_row(8, "1280M", "1G")),
        "1G", list(range(8)), ()),
    "sixteen-nodes": (
        dict(topology=nodes_in_a_row(16, "2G", "768M")),
        "2G nokaslr", list(range(16)), ()),
    # A kexec of so many needs patches/0006.
    "sixty-four-nodes": (
        dict(topology=nodes_in_a_row(64, "2560M", "640M")),
        "1:128M,31:128M,62:128M,63:128M nokaslr", [1, 31, 62, 63], ()),
    # As of a machine with four sockets, two of them apart from the others.
    "four-sockets": (
        dict(topology="node=0,cpus=0,mem=1280M;node=1,cpus=1,mem=1280M;node=2,cpus=2,mem=1280M;"
                      "node=3,cpus=3,mem=1280M;dist=0,1,12;dist=2,3,12;dist=0,2,21;dist=0,3,32;"
                      "dist=1,2,32;dist=1,3,21"),
        "1G", [0, 1, 2, 3], ()),
    "node-without-cpus": (
        dict(topology="node=0,cpus=0-1,mem=1G;node=1,mem=1G"), "0:128M,1:256M", [0, 1], ()),
    "first-node-without-cpus": (
        dict(topology="node=0,mem=1G;node=1,cpus=0-1,mem=1G"), "0:256M,1:256M", [0, 1], ()),
    "node-without-memory": (
        dict(topology="node=0,cpus=0,mem=1G;node=1,cpus=1;node=2,mem=1G"), "0:256M,1:256M,2:256M",
        [0, 2], [r"guestmem_pool: guestmemfs=: node 1 has no memory, allowed are 0,2: this part is ignored"]),
    "first-node-without-memory": (
        dict(topology="node=0,cpus=0;node=1,cpus=1,mem=2G"), "512M", [1], ()),
    # Firmware has a node 1, but the kernel is not to use its memory. Of numbers that
    # firmware leaves out Linux makes numbers without a gap.
    "gap-in-the-numbers": (
        dict(topology="node=0,cpus=0-1,mem=2G;node=1,mem=1G;node=2,mem=2G"),
        "0:512M,1:512M,2:1G memmap=1G$4G", [0, 2],
        [r"guestmem_pool: guestmemfs=: node 1 does not exist, allowed are 0,2: this part is ignored"]),
    "uneven-nodes": (
        dict(topology="node=0,cpus=0,mem=3G;node=1,cpus=1,mem=1G;dist=0,1,40"),
        "0:1G,1:128M", [0, 1], ()),
    "hole-below-4G": (
        dict(topology="node=0,cpus=0,mem=3G;node=1,cpus=1,mem=1G;hole=2G"),
        "0:2G,1:256M", [0, 1], ()),
    "small-hole": (
        dict(topology="node=0,cpus=0-1,mem=4G;hole=1G"), "0:1G" if DEBUG else "0:3G", [0], ()),
}

if DEBUG:
    # Nodes are larger then, and elsewhere than the command line says.
    del SHAPES["gap-in-the-numbers"]

SCRIPT = r"""
check_kho
check_places $POOLS
# Where a kexec finds them is where they were.
grep guestmemfs /proc/iomem > /tmp/iomem
[ "$VM_BOOT" != 1 ] || cp /tmp/iomem "$VM_SCRATCH/iomem"
cmp /tmp/iomem "$VM_SCRATCH/iomem" || die "pools have moved: $(cat /tmp/iomem)"

for node in $POOLS; do
    mount_node $node
    dir=$(at_node $node)
    total=$(total_blocks $dir)
    equal $((total << 21)) "$(pool_bytes $node)" "blocks of node $node"
    if [ "$VM_BOOT" = 1 ]; then
        memfile fill $dir/first 10M $node
        # All of the rest, in all extents.
        truncate -s $(((total - 5) * 2))M $dir/rest
        memfile fill $dir/rest $(((total - 5) * 2))M $((node + 100))
    fi
    equal "$(free_blocks $dir)" 0 "free blocks of node $node"
    memfile where $dir/first $node
    memfile where $dir/rest $node > /tmp/where || die "$(cat /tmp/where)"
    echo "node $node: $(wc -l < /tmp/where) pieces"
    memfile check $dir/first $node
    memfile check $dir/rest $((node + 100))
done
if [ "$VM_BOOT" = 2 ]; then
    for node in $POOLS; do
        dir=$(at_node $node)
        rm $dir/rest
        equal "$(free_blocks $dir)" $(($(total_blocks $dir) - 5)) "free blocks of node $node"
        truncate -s 4M $dir/new
        memfile zero $dir/new
        memfile check $dir/first $node
    done
fi
[ "$VM_BOOT" = 2 ] || vm-kexec
"""


@pytest.mark.parametrize("shape", [pytest.param(name, marks=pytest.mark.quick) if name == "two-nodes" else name
                                   for name in SHAPES])
def test_shape(vm, shape):
    machine, param, pools, expect = SHAPES[shape]
    run = vm(f"POOLS='{' '.join(map(str, pools))}'\n{SCRIPT}", append=f"guestmemfs={param}",
             boots=2, expect=expect, **machine)
    if shape == "small-hole" and not DEBUG:
        # Below and above: no single extent has 3 of these 4 GiB.
        assert any(re.search(r" in [2-9] extents,", l) for l in run.boots[0]), run.boots[0]


def test_large_file_is_aligned_to_a_gigabyte(vm):
    vm(r"""
    check_places 0
    mount_node 0
    cd /mnt/node0
    # What comes first must not break the gigabyte.
    truncate -s 2M small
    truncate -s 1G large
    memfile where large 0 > /tmp/where
    cat /tmp/where
    equal "$(wc -l < /tmp/where)" 1 'pieces'
    start=$(sed 's/.* at 0x\([0-9a-f]*\)-.*/\1/' /tmp/where)
    equal $((0x$start % (1 << 30))) 0 "alignment of $start"
    """, topology="node=0,cpus=0-1,mem=4G;hole=1G", append="guestmemfs=0:2G", boots=1)


def test_fake_nodes(vm):
    """Nodes that the kernel makes of one: firmware knows nothing of them."""
    run = vm(f"tool={build()}\n" + r"""
    check_kho
    dmesg | sed -n 's/.*Faking node \([0-9]*\) at \[mem 0x\([0-9a-f]*\)-0x\([0-9a-f]*\)\].*/fake \1 \2 \3/p'
    for node in 0 1 2 3; do
        pool_ranges $node | sed "s/^/pool $node /"
        mount_node $node
        [ "$VM_BOOT" = 2 ] || memfile fill /mnt/node$node/file 16M $node
        memfile check /mnt/node$node/file $node
        has "$("$tool" verify /mnt/node$node/file)" \
            "^/mnt/node$node/file: 16M in [0-9]+ pieces?, all in the pool of node $node; the firmware says nothing of node $node\$" \
            'verify'
    done
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, nodes=1, mem="6G", append="numa=fake=4 guestmemfs=512M", boots=2)
    places = {"fake": {}, "pool": {}}
    for line in run.lines("^(fake|pool) "):
        what, node, first, last = line.split()
        places[what].setdefault(node, set()).add((int(first, 16), int(last, 16)))
    assert set(places["fake"]) == set(places["pool"]) == set("0123")
    for node, pools in places["pool"].items():
        for first, last in pools:
            assert any(f <= first and last <= l for f, l in places["fake"][node]), (node, places)


def test_four_terabytes(vm):
    """Of which the host has what is touched."""
    vm(r"""
    check_kho
    for node in 0 1 2 3; do
        # Zeroing would have the host hold all of it.
        echo 0 > /sys/fs/guestmemfs/node$node/scrub_target
    done
    check_places 0 1 2 3
    total=0
    for node in 0 1 2 3; do
        total=$((total + $(pool_bytes $node)))
        mount_node $node
        if [ "$VM_BOOT" = 1 ]; then
            memfile fill /mnt/node$node/file 64M $node
        fi
        memfile check /mnt/node$node/file $node
        equal "$(free_blocks /mnt/node$node)" $(($(total_blocks /mnt/node$node) - 32)) "free blocks"
        equal "$(cat /sys/fs/guestmemfs/node$node/check)" ok "node $node"
    done
    between $((3900 << 30)) $total $((4 << 40)) 'bytes in all pools'
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, nodes=4, mem="1T", append="guestmemfs=99%", boots=2)
