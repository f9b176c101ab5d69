# SPDX-License-Identifier: GPL-2.0
"""What is handed over is damaged on purpose, in one node each, at the moment of kexec.

A machine has many nodes, and each case damages another one. Whatever is done to
it, the next kernel runs, uses all other pools, and leaves the memory of the
damaged one alone; what it cannot use it hands on as it is. So each case is
looked at in the next kernel and in the one after that.
"""

import os
import random
import re

import pytest

from conftest import DEBUG, HERE, nodes_in_a_row

# Metadata blocks of a new file system, in the order in which they are taken:
# bitmaps, super block, inodes, names, extents, and what was set in sysfs. The first
# file is slot 2 of the inodes, and the first record of the others.
USED, DIRTY, FSUPER, INODES, DIRENTS, EXTENTS, TUNABLES = (f"meta{i}" for i in range(7))
ROOT, FILE, NAME, EXTENT = 256, 512, 64, 64

# What becomes of the node:
HELD = "held"       # refused, its memory kept and handed over
LOST = "lost"       # refused, and nobody knows where its memory was
FINE = "fine"       # nothing
READ = "read"       # can be read, and no more

# Of a block that is marked used and is not: scrubbing may have come to it, or not.
SPURIOUS = r"a block is used and dirty|block 63 is free, but not for the pool"

# name: (place, byte, mask, checksum made right, outcome, what the log says)
CASES = {
    # The super block, and its copy that says where the memory is.
    "super-magic": ("super", 0, 0xff, False, HELD, r"super block is damaged \(magic number\)"),
    "super-checksum": ("super", 8, 1, False, HELD, r"super block is damaged \(checksum\)"),
    "super-any-byte": ("super", 3500, 0x40, False, HELD, r"super block is damaged \(checksum\)"),
    "super-copy": ("copy", 0, 0xff, False, FINE, None),
    "super-both": ("both", 0, 0xff, False, LOST, r"super block and its copy are damaged"),
    "super-size": ("super", 16, 1, True, HELD, r"super block is damaged \(size\)"),
    "super-block-size": ("super", 84, 1, True, HELD, r"super block is damaged \(block size\)"),
    "super-version": ("both", 12, 2, True, HELD, r"format version is not known"),
    "super-compat": ("both", 24, 2, True, FINE, None),
    "super-ro-compat": ("both", 32, 0x80, True, READ, None),
    "super-incompat": ("both", 47, 0x80, True, HELD, r"features that are not known"),
    "super-state": ("both", 20, 3, True, HELD, r"was not frozen by the kernel before"),
    "super-uuid": ("both", 50, 1, True, HELD, r"chunk table 0 is damaged \(UUID\)"),
    "super-total": ("super", 64, 1, True, HELD, r"super block is damaged \(number of blocks\)"),
    "super-nr-extents": ("super", 88, 2, True, HELD, r"alignment of an extent"),
    "super-extent-align": ("super", 1024 + 2, 0x10, True, HELD, r"alignment of an extent"),
    "super-extent-size": ("super", 1032 + 7, 0x80, True, HELD, r"number of blocks"),
    "super-unused-extent": ("super", 1024 + 16, 1, True, HELD, r"unused extent"),
    "super-nr-tables": ("super", 92, 0xff, True, HELD, r"number of chunk tables"),
    "super-table-address": ("super", 2048, 1, True, HELD, r"address of a chunk table"),
    "super-table-elsewhere": ("both", 2049, 0x10, True, HELD, r"chunk table 0 is damaged \(magic number\)"),
    "super-table-nowhere": ("both", 2048 + 6, 0x10, True, HELD, r"chunk table 0 is damaged \(address\)"),
    "super-nr-meta": ("both", 96, 0x80, True, HELD, r"chunk table 0 is damaged \(number of metadata blocks\)"),
    "super-root": ("both", 180, 1, True, HELD, r"super block: not in metadata block"),
    "super-root-none": ("both", 180, 2, True, HELD, r"has a root outside its metadata"),
    "super-release": ("super", 104, 1, False, HELD, r"super block is damaged \(checksum\)"),
    "super-reserved": ("both", 100, 1, True, HELD, r"reserved field in use"),
    # The table of the chunks of metadata.
    "table-magic": ("table0", 0, 1, False, HELD, r"chunk table 0 is damaged \(magic number\)"),
    "table-checksum": ("table0", 100, 1, False, HELD, r"chunk table 0 is damaged \(checksum\)"),
    "table-uuid": ("table0", 8, 1, True, HELD, r"chunk table 0 is damaged \(UUID\)"),
    "table-index": ("table0", 24, 1, True, HELD, r"chunk table 0 is damaged \(index\)"),
    "table-nr": ("table0", 28, 2, True, HELD, r"chunk table 0 is damaged \(order of the chunks\)"),
    "chunk-address": ("table0", 64, 1, True, HELD, r"chunk table 0 is damaged \(address of a chunk\)"),
    "chunk-elsewhere": ("table0", 64 + 2, 0x10, True, HELD, r"metadata block 0 is damaged \(magic number\)"),
    "chunk-nowhere": ("table0", 64 + 6, 0x40, True, HELD, r"metadata block 0 has a bad address"),
    "chunk-first": ("table0", 72, 1, True, HELD, r"chunk table 0 is damaged \(order of the chunks\)"),
    "chunk-nr": ("table0", 76, 1, True, HELD, r"chunk table 0 is damaged \(size of a chunk\)"),
    # Headers of metadata blocks.
    "meta-magic": (INODES, 0, 1, False, HELD, r"metadata block 3 is damaged \(magic"),
    "meta-checksum": (INODES, 4, 1, False, HELD, r"metadata block 3 is damaged \(checksum"),
    "meta-uuid": (INODES, 8, 1, True, HELD, r"metadata block 3 is damaged \(UUID"),
    "meta-number": (INODES, 24, 1, True, HELD, r"metadata block 3 is damaged \(number\)"),
    "meta-type": (INODES, 28, 0x40, True, HELD, r"metadata block 3 is damaged \(type\)"),
    "meta-free": (USED, 28, 1, True, HELD, r"metadata block 0 is damaged \(free\)"),
    "meta-reserved": (INODES, 30, 1, True, HELD, r"metadata block 3 is damaged \(reserved"),
    # Bitmaps.
    "used-any-bit": (USED, 64, 1, False, HELD, r"metadata block 0 is damaged \(checksum"),
    "used-missing": (USED, 64, 1, True, HELD, r"block 0 is used, but not for the pool"),
    "used-too-many": (USED, 64 + 7, 0x80, True, HELD, SPURIOUS),
    "used-past-the-end": (USED, 64 + 100, 1, True, HELD, r"a bit is set past the last block"),
    "used-index": (USED, 32, 1, True, HELD, r"a bitmap has a wrong place"),
    "used-is-dirty": (USED, 28, 3, True, HELD, r"a bitmap is missing"),
    "dirty-and-used": (DIRTY, 64, 0xff, True, HELD, r"a block is used and dirty"),
    # What was set, and pages that have failed.
    "tunables-checksum": (TUNABLES, 64, 1, False, HELD, r"metadata block 6 is damaged \(checksum"),
    "tunables-range": (TUNABLES, 96, 2, True, FINE,
                       r"saved settings are not valid \(zeroing\): defaults are used"),
    "poison-unannounced": (TUNABLES, 28, 7, True, HELD, r"pages have failed, but the pool lacks"),
    # The file system's own.
    "fs-checksum": (FSUPER, 64, 1, False, HELD, r"metadata block 2 is damaged \(checksum"),
    "fs-version": (FSUPER, 64, 2, True, HELD, r"super block: version"),
    "fs-compat": (FSUPER, 72, 1, True, FINE, None),
    "fs-ro-compat": (FSUPER, 80, 0x80, True, READ, None),
    "fs-incompat": (FSUPER, 88, 2, True, HELD, r"super block: feature 0x2 is not supported"),
    "fs-root": (FSUPER, 96, 0x10, True, HELD, r"root inode"),
    "fs-cookie": (FSUPER, 104 + 7, 0x80, True, HELD, r"next cookie"),
    "fs-cookie-too-low": (FSUPER, 104, 4, True, HELD, r"cookie was not given yet"),
    "fs-reserved": (FSUPER, 200, 1, True, HELD, r"super block: reserved field"),
    "inode-any-byte": (INODES, FILE + 12, 1, False, HELD, r"metadata block 3 is damaged \(checksum"),
    "inode-number": (INODES, FILE, 1, True, HELD, r"inode \d+: has the number"),
    "inode-gone": (INODES, ROOT, 0x31, True, HELD, r"root inode 49 is no directory"),
    "inode-type": (INODES, FILE + 13, 0x70, True, HELD, r"inode 50: mode 0170600 is no file type"),
    "inode-links": (INODES, FILE + 24, 2, True, HELD, r"inode \d+: 3 links, should be 1"),
    "inode-flags": (INODES, FILE + 28, 0x20, True, HELD, r"inode \d+: flags 0x20"),
    "inode-size": (INODES, FILE + 47, 0x80, True, HELD, r"inode \d+: size"),
    "inode-device": (INODES, FILE + 48, 1, True, HELD, r"inode \d+: device number"),
    "inode-time": (INODES, FILE + 91, 0xf0, True, HELD, r"inode \d+: nanoseconds"),
    "inode-owner": (INODES, FILE + 16, 1, True, FINE, None),
    "name-any-byte": (DIRENTS, NAME + 32, 1, False, HELD, r"metadata block 4 is damaged \(checksum"),
    "name-parent": (DIRENTS, NAME, 0xf, True, HELD, r"no such directory"),
    "name-inode": (DIRENTS, NAME + 8, 0x40, True, HELD, r"inode 114: no such inode"),
    "name-cookie": (DIRENTS, NAME + 16 + 6, 1, True, HELD, r"cookie was not given yet"),
    "name-length": (DIRENTS, NAME + 24, 0x80, True, HELD, r"number of slots"),
    "name-type": (DIRENTS, NAME + 26, 0xc, True, HELD, r"type is not the inode's"),
    "name-slots": (DIRENTS, NAME + 27, 2, True, HELD, r"number of slots"),
    "name-slash": (DIRENTS, NAME + 32, ord("f") ^ ord("/"), True, HELD, r"not a name"),
    "name-nul": (DIRENTS, NAME + 33, ord("i"), True, HELD, r"not a name"),
    "name-padding": (DIRENTS, NAME + 63, 1, True, HELD, r"more than the name"),
    "extent-any-byte": (EXTENTS, EXTENT, 1, False, HELD, r"metadata block 5 is damaged \(checksum"),
    "extent-inode": (EXTENTS, EXTENT, 2, True, HELD, r"no such file"),
    "extent-file-block": (EXTENTS, EXTENT + 15, 0x80, True, HELD, r"not within a file"),
    "extent-outside": (EXTENTS, EXTENT + 18, 1, True, HELD, r"not within the pool"),
    "extent-other-block": (EXTENTS, EXTENT + 16, 0x20, True, HELD, r"is (free|used), but not for the pool"),
    "extent-too-long": (EXTENTS, EXTENT + 24, 0x40, True, HELD, r"not within the pool"),
    "extent-empty": (EXTENTS, EXTENT + 24, 4, True, HELD, r"not within a file"),
    "extent-flags": (EXTENTS, EXTENT + 28, 1, True, HELD, r"reserved flag"),
}

# Node 0 is left alone. With 16 GiB and more, KASAN takes a whole GiB of one node.
NODES = 8 if DEBUG else 32
MACHINES = -(-len(CASES) // (NODES - 1))
# What is asked of each machine. As many of each: a machine with few nodes has
# less memory, and KHO would have more of each of them.
GROUPS = [list(CASES)[i * len(CASES) // MACHINES:(i + 1) * len(CASES) // MACHINES]
          for i in range(MACHINES)]

SCRIPT = r"""
check_kho
# In another order in each boot, so that a case that disturbs others is seen.
[ "$VM_BOOT" != 1 ] || grep guestmemfs /proc/iomem > "$VM_SCRATCH/iomem"
for node in $(seq 0 $LAST); do
    dir=/mnt/node$node
    mkdir -p $dir
    if [ "$VM_BOOT" = 1 ]; then
        mount_node $node
        memfile fill $dir/file 8M $node
        echo 1 > /sys/fs/guestmemfs/node$node/low_watermark
        continue
    fi
    kept=yes
    grep "guestmemfs node$node\$" "$VM_SCRATCH/iomem" | while read -r line; do
        grep -qF "$line" /proc/iomem || echo no
    done > /tmp/kept
    [ ! -s /tmp/kept ] || kept=no
    said=$(fsmount guestmemfs $dir node=$node 2>&1 | tr '\n' ' ') || true
    state=refused
    if mountpoint -q $dir; then
        state=rw
        touch $dir/new 2> /dev/null || state=ro
    else
        said2=$(fsmount guestmemfs $dir ro node=$node 2>&1 | tr '\n' ' ') || true
        if mountpoint -q $dir; then
            state=ro
            touch $dir/new 2> /dev/null && state='ro, but can be written'
        fi
    fi
    data=none
    if [ "$state" != refused ]; then
        data=intact
        memfile check $dir/file $node || data=damaged
    fi
    echo "== $VM_BOOT $node kept=$kept state=$state data=$data said=$said"
done
if [ "$VM_BOOT" = 1 ]; then
    while read -r line; do
        [ -z "$line" ] || damage $line
    done <<< "$DAMAGES"
fi
[ "$VM_BOOT" = 3 ] || vm-kexec
"""


def many_nodes(last):
    """A machine with a small pool on each of its nodes."""
    # Not for the kernel to be on a small node, which has no room for a pool then.
    return {"topology": nodes_in_a_row(last + 1, "2560M", "640M"),
            "append": "nokaslr guestmemfs=" + ",".join(f"{n}:128M" for n in range(last + 1))}


class Group:
    """What was seen of a machine: by boot and node."""

    def __init__(self, names, run):
        self.node = {name: n for n, name in enumerate(names, 1)}
        self.log = run.boots
        self.seen = {}
        for m in re.finditer(r"^== (\d) (\d+) kept=(\S+) state=(.*) data=(\S+) said=(.*)$",
                             run.out, re.MULTILINE):
            self.seen[int(m[1]), int(m[2])] = {
                "kept": m[3], "state": m[4], "data": m[5], "said": m[6]}


@pytest.fixture(scope="module")
def groups(shared_vm):
    machines = {}

    def get(index):
        if index in machines:
            if isinstance(machines[index], BaseException):
                pytest.fail("the machine of this case failed, see the first of its cases",
                            pytrace=False)
            return machines[index]
        names = GROUPS[index]
        damages = ""
        for node, name in enumerate(names, 1):
            where, byte, mask, fix, _, _ = CASES[name]
            damages += f"{node} {where} {byte} {mask}{' fix' if fix else ''}\n"
        try:
            run = shared_vm(f"LAST={len(names)}\nDAMAGES='{damages}'\n{SCRIPT}", boots=3,
                            **many_nodes(len(names)),
                            # Each case looks for its own.
                            expect=[r"guestmem(_pool|fs): "])
            machines[index] = Group(names, run)
        except BaseException as e:
            machines[index] = e
            raise
        return machines[index]

    return get


@pytest.mark.parametrize("name", CASES)
def test_damage(groups, name):
    group = groups([name in g for g in GROUPS].index(True))
    node = group.node[name]
    _, _, _, _, outcome, text = CASES[name]
    for boot in (2, 3):
        seen = group.seen[boot, node]
        log = [l for l in group.log[boot - 1] if re.search(rf"\bnode {node}\b", l)]
        about = f"boot {boot}: {seen}, log: {log}"
        if outcome == FINE:
            assert seen["kept"] == "yes" and seen["state"] == "rw" and seen["data"] == "intact", about
            assert not any("not used" in l for l in log), about
            assert not text or any(re.search(text, l) for l in log), about
        elif outcome == READ:
            assert seen["kept"] == "yes" and seen["state"] == "ro" and seen["data"] == "intact", about
            assert "can only read: mount it read-only" in seen["said"], about
        elif outcome == HELD:
            assert seen["kept"] == "yes" and seen["state"] == "refused", about
            assert any(re.search(text, l) and "its memory is kept and handed over" in l
                       for l in log), about
            assert f"the pool of node {node} is not used: " in seen["said"], about
            assert re.search(text, seen["said"]), about
            assert "EUCLEAN" in seen["said"], about
        else:
            assert outcome == LOST
            assert seen["state"] == "refused", about
            if boot == 2:
                assert any(re.search(text, l) and "its pool is lost" in l for l in log), about


@pytest.mark.parametrize("index", range(len(GROUPS)))
def test_other_node_is_unharmed(groups, index):
    group = groups(index)
    for boot in (2, 3):
        seen = group.seen[boot, 0]
        assert seen == {"kept": "yes", "state": "rw", "data": "intact", "said": ""}, f"boot {boot}"


def test_two_pools_that_claim_the_same_memory(vm):
    """Nobody can say whose it is: neither is used, and others are."""
    vm(r"""
    check_kho
    for node in 0 1 2; do
        mkdir -p /mnt/node$node
        if [ "$VM_BOOT" = 1 ]; then
            mount_node $node
            memfile fill /mnt/node$node/file 8M $node
        fi
    done
    if [ "$VM_BOOT" = 1 ]; then
        pool_ranges 2 > "$VM_SCRATCH/ranges"
        read -r mine _ < <(pool_ranges 1)
        read -r other _ < <(pool_ranges 2)
        for byte in $(seq 0 7); do
            differ=$(((0x$mine ^ 0x$other) >> (8 * byte) & 255))
            [ $differ = 0 ] || damage 1 both $((1024 + byte)) $differ fix
        done
        vm-kexec
    fi
    mount_node 0
    memfile check /mnt/node0/file 0
    for node in 1 2; do
        said=$(fails fsmount guestmemfs /mnt/node$node ro node=$node)
        echo "$node: $said"
    done
    read -r start _ < "$VM_SCRATCH/ranges"
    grep -q "$start-.*: guestmemfs node" /proc/iomem || die "its memory is not kept: $(cat /proc/iomem)"
    [ "$VM_BOOT" = 3 ] || vm-kexec
    """, nodes=3, mem="1G", append="guestmemfs=0:128M,1:128M,2:128M", boots=3,
       expect=[r"guestmem(_pool|fs): "])


def test_fresh_start_after_damage(vm):
    """guestmemfs=fresh gives the memory of pools that cannot be used back."""
    vm(r"""
    check_kho
    case $VM_BOOT in
    1)
        mount_node 0
        memfile fill /mnt/node0/file 8M 1
        damage 0 meta0 0 1
        damage 1 both 0 1
        vm-kexec
        ;;
    2)
        fails mount -t guestmemfs -o node=0 none /mnt
        fails mount -t guestmemfs -o node=1 none /mnt
        vm-kexec --cmdline guestmemfs=fresh,0:256M,1:512M
        ;;
    3)
        for node in 0 1; do
            mount_node $node
            cd "$(at_node $node)"
            equal "$(ls)" '' 'files'
            truncate -s $(($(free_blocks .) * 2))M all
            memfile zero all
        done
        cd /
        vm-kexec --cmdline guestmemfs=0:256M,1:512M
        ;;
    4)
        for node in 0 1; do
            mount_node $node
            memfile zero "$(at_node $node)/all"
        done
        ;;
    esac
    """, nodes=2, mem="4G", append="guestmemfs=0:256M,1:512M", boots=4, expect=[
        r"guestmem_pool: node 0: metadata block 0 is damaged \(magic number\)",
        r"guestmem_pool: node 1: handed-over super block and its copy are damaged",
        r"guestmem_pool: node 1: no new pool is made in place of the lost one before "
        r"guestmemfs=fresh or a cold boot",
        r"guestmemfs: the pool of node 0 is not used: metadata block 0 is damaged",
        r"guestmemfs: node 1 has no pool; nodes with a pool: 0",
        r"guestmem_pool: guestmemfs=fresh: handed-over pools are discarded",
        r"guestmem_pool: node 0: pool of 128 blocks discarded",
    ])


# Damage by a seed, in as many kexecs as are wanted: DAMAGE_ROUNDS=20 is more than 200 images.
SEED = int(os.environ.get("DAMAGE_SEED", "1"))
ROUNDS = int(os.environ.get("DAMAGE_ROUNDS", "1"))
SOME = 8 if DEBUG else 16

RANDOM_SCRIPT = r"""
check_kho
for node in $(seq 0 $LAST); do
    dir=/mnt/node$node
    mkdir -p $dir
    state=rw
    if [ "$VM_BOOT" != 1 ]; then
        mount -t guestmemfs -o node=$node none $dir 2> /dev/null ||
            { state=ro; mount -t guestmemfs -o ro,node=$node none $dir 2> /dev/null; } || state=refused
        data=none
        if [ $state != refused ]; then
            data=intact
            # Whatever was accepted can be read.
            ls -lR $dir > /dev/null
            getfattr -R -d -m - $dir > /dev/null 2>&1 || true
            memfile check $dir/file $node 2> /dev/null || data=other
        fi
        echo "== $VM_BOOT $node state=$state data=$data"
        [ $node != 0 ] || continue
        if [ $state != refused ]; then
            umount $dir
        fi
        # Again as new, for the next round, if there is anything left of it.
        echo 0 > /sys/fs/guestmemfs/node$node/frozen 2> /dev/null || true
        echo node$node > /sys/fs/guestmemfs/node$node/discard 2> /dev/null || true
    fi
    if mount -t guestmemfs -o node=$node none $dir 2> /dev/null; then
        memfile fill $dir/file 8M $node
        setfattr -n user.name -v value $dir/file
        ln -s file $dir/link
    else
        echo "== $VM_BOOT $node is lost"
    fi
done
grep "^$VM_BOOT " <<< "$DAMAGES" | while read -r _ line; do
    damage $line 2> /dev/null || true
done
[ "$VM_BOOT" = $LAST_BOOT ] || vm-kexec
"""


def random_damage(rng):
    where = rng.choice(["super", "copy", "both", "table0", "meta0", "meta1", "meta2", "meta3", "meta4",
                        "meta5", "meta6"])
    # Where there are records rather than in the zeroes behind them.
    byte = rng.randrange(4096) if rng.random() < 0.2 else rng.randrange(256)
    if where in ("super", "both") and rng.random() < 0.3:
        byte = rng.choice([1024, 2048]) + rng.randrange(16)
    if where == "meta3" and rng.random() < 0.7:
        byte = rng.choice([ROOT, FILE]) + rng.randrange(256)
    # Damage to both that leaves no checksum right is the end of the node.
    fix = where == "both" or rng.random() < 0.8
    return where, byte, rng.randrange(1, 256), fix


@pytest.mark.quick
def test_random_damage(vm):
    """Of many nodes at a time, and those that were left alone are what they were."""
    rng = random.Random(SEED)
    lines, damaged = [], {}
    for boot in range(1, ROUNDS + 1):
        for node in range(1, SOME):
            if (node + boot) % 5:
                where, byte, mask, fix = damaged[boot, node] = random_damage(rng)
                lines.append(f"{boot} {node} {where} {byte} {mask}{' fix' if fix else ''}")
    newline = "\n"
    run = vm(f"LAST={SOME - 1}\nLAST_BOOT={ROUNDS + 1}\nDAMAGES='{newline.join(lines)}'\n{RANDOM_SCRIPT}",
             boots=ROUNDS + 1, **many_nodes(SOME - 1),
             expect=[r"guestmem(_pool|fs): "])
    seen, lost = {}, set()
    for line in run.lines("^== "):
        m = re.fullmatch(r"== (\d+) (\d+) (?:state=(\w+) data=(\w+)|is lost)", line)
        boot, node = int(m[1]), int(m[2])
        if m[3]:
            seen[boot, node] = m[3], m[4]
        else:
            lost.add((boot, node))
    assert len(seen) == ROUNDS * SOME
    for (boot, node), (state, data) in seen.items():
        what = damaged.get((boot - 1, node))
        about = f"seed {SEED}, boot {boot}, node {node}: {what}: {state}, {data}"
        if (boot - 1, node) in lost:
            assert state == "refused", about
        elif what is None:
            assert (state, data) == ("rw", "intact"), about
        elif not what[3]:
            # A checksum tells.
            assert state == "refused" or data == "intact", about
    outcomes = {state for (boot, node), (state, _) in seen.items() if (boot - 1, node) in damaged}
    assert outcomes >= {"refused", "rw"}, outcomes


# kind of claim.py: what the log says of the extent
CLAIMS = {
    "metadata": "has memory in it that KHO has preserved",
    "super": "has memory in it that KHO has preserved",
    "tree": "has memory in it that KHO has preserved",
    "used": "is in use by this kernel",
    "scratch": "overlaps scratch memory of KHO",
    "other": None,
    "hole": "is no memory of this kernel",
    "wide": "is no memory of this kernel",
}


def test_claims_what_is_not_its_own(vm):
    """A pool that claims a section with anything else in it is not used; others lose nothing, and
    what it cannot use it hands on.

    memtest= is on the command line of the next kernel: it must not test memory that was handed over.
    """
    # Node 1 has no pool. Nodes of KHO's tree come from there, as claim.py runs on its CPU.
    kinds = dict(enumerate(CLAIMS, 2))
    words = " ".join(f"{node}={kind}" for node, kind in kinds.items())
    run = vm(rf"""
    check_kho
    mount_node 0
    if [ "$VM_BOOT" = 1 ]; then
        mount_node 2
        memfile fill /mnt/node0/file 64M 5
        # For metadata to come from sections that the super blocks are not in.
        mkdir /mnt/filler
        mount -t tmpfs -o mpol=bind:2,size=1G none /mnt/filler
        head -c 512M /dev/zero > /mnt/filler/file
        taskset -c 1 python3 -B {HERE}/claim.py /mnt/node2 {words}
    else
        dmesg | grep -q 'early_memtest: skipped, the previous kernel has handed over memory'
        memfile check /mnt/node0/file 5
        equal "$(cat /sys/fs/guestmemfs/node0/check)" ok "node 0"
        for node in {' '.join(map(str, kinds))}; do
            echo "$VM_BOOT $node: $(fails fsmount guestmemfs /mnt node=$node)"
        done
        gm_log | sed "s/^/log $VM_BOOT /"
    fi
    """ + r"""
    case "$VM_BOOT" in
    1) vm-kexec --append memtest=1 ;;
    2) vm-kexec ;;
    esac
    """, topology="node=0,cpus=0,mem=2G;node=1,cpus=1,mem=640M;node=2,mem=2G" +
        "".join(f";node={node},mem=640M" for node in list(kinds)[1:]),
       append="nokaslr guestmemfs=0:256M,2:256M," + ",".join(f"{n}:128M" for n in list(kinds)[1:]),
       boots=3, expect=[r"guestmem_pool: node \d+: "])
    logs = {boot: run.lines(f"^log {boot} ") for boot in (2, 3)}
    for node, kind in kinds.items():
        base = re.search(rf"^claimed {node} {kind} (\S+)", run.out, re.MULTILINE)[1]
        log = [l for l in logs[2] if f"node {node}: " in l]
        about = f"node {node}, {kind}: " + "\n".join(log)
        assert any("this pool is not used, its memory is kept and handed over" in l for l in log), about
        if CLAIMS[kind]:
            assert any(f"extent at {base} of 134217728 bytes {CLAIMS[kind]}" in l for l in log), about
        if kind != "metadata":
            assert any("its memory is not on one node" in l for l in log), about
        for boot in (2, 3):
            assert run.lines(f"^{boot} {node}: .*the pool of node {node} is not used"), about
