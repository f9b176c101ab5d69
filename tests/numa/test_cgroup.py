# SPDX-License-Identifier: GPL-2.0
"""What cgroups hold of a pool, and what they may: the dmem controller."""

POOLS = "guestmemfs=0:128M,1:128M"

LIB = r"""
cg=/tmp/cgroup
mkdir -p $cg
mount -t cgroup2 none $cg
echo +dmem > $cg/cgroup.subtree_control

# new NAME...: cgroups
new() {
    for name in "$@"; do
        mkdir $cg/$name
    done
}

# inside NAME COMMAND...: run it in a cgroup
inside() {
    local name=$1
    shift
    (echo 0 > $cg/$name/cgroup.procs && exec "$@")
}

# limit NAME NODE SIZE
limit() {
    echo "guestmemfs/node$2 $3" > $cg/$1/dmem.max
}

# holds NAME NODE MIB: "." is the root cgroup
holds() {
    local bytes
    bytes=$(awk -v r="guestmemfs/node$2" '$1 == r { print $2 }' $cg/$1/dmem.current)
    equal "$bytes" $(($3 << 20)) "bytes that cgroup $1 holds of node $2"
}

# pin PATH OFFSET SIZE: for iommufd, which needs no device for that, until unpin; $pinner is who has it
pin() {
    echo "$PIN" > /tmp/pin.py
    rm -f /tmp/pinned
    /usr/bin/python3 -B /tmp/pin.py "$@" &
    pinner=$!
    while [ ! -e /tmp/pinned ]; do
        kill -0 $pinner
        sleep 0.1
    done
}
unpin() {
    kill -9 $pinner
    wait $pinner || true
}

# busy COMMAND...: for a pin
busy() {
    ! "$@" 2> /tmp/err || die "not refused: $*"
    grep -q 'busy' /tmp/err || die "$*: $(cat /tmp/err)"
}

# refused COMMAND...: by the limit
refused() {
    ! "$@" 2> /tmp/err || die "not refused: $*"
    grep -q 'Disk quota exceeded' /tmp/err || die "$*: $(cat /tmp/err)"
}
"""


def test_each_pool_is_a_region(vm):
    """Named by its node, as large as the file system; there is none for a node without."""
    run = vm(LIB + "cat $cg/dmem.capacity", nodes=3, append="guestmemfs=0:256M,2:384M")
    assert run.lines("^guestmemfs/") == [
        f"guestmemfs/node0 {256 << 20}", f"guestmemfs/node2 {384 << 20}"], run.out


def test_charges_follow_blocks(vm):
    """Every way to get blocks charges them, and every way to lose them gives them back."""
    vm(LIB + r"""
    new a b
    dir=/mnt/node0
    mount_node 0
    mount_node 1
    holds . 0 0
    # A part of a block is a block.
    inside a truncate -s 5M $dir/f
    holds a 0 6
    holds a 1 0
    holds . 0 6
    inside a truncate -s 64M $dir/f
    holds a 0 64
    # In parts, and a hole of its own.
    truncate -s 60M $dir/f
    holds a 0 60
    fallocate -p -o 10M -l 20M $dir/f
    holds a 0 40
    fallocate -p -o 10M -l 20M $dir/f
    holds a 0 40
    # What fills the hole pays for it, here at mmap().
    inside b memfile sum $dir/f > /dev/null
    holds a 0 40
    holds b 0 20
    holds . 0 60
    inside a fallocate -n -o 60M -l 4M $dir/f
    holds a 0 44
    # Last charged, first given back.
    truncate -s 50M $dir/f
    holds a 0 44
    holds b 0 6
    mv $dir/f $dir/g
    holds a 0 44
    inside b truncate -s 6M $dir/h
    holds b 0 12
    # A file that is open has its blocks until it is closed.
    exec 5< $dir/g
    rm $dir/g
    holds a 0 44
    exec 5<&-
    holds a 0 0
    holds b 0 6
    umount $dir
    holds b 0 6
    # A charge is there for longer than its cgroup.
    rmdir $cg/b
    holds . 0 6
    mount_node 0
    truncate -s 2M $dir/h
    holds . 0 2
    rm $dir/h
    holds . 0 0
    # All at the same time, of one file.
    new b
    for name in a b; do
        inside $name sh -c "for n in \$(seq 60); do truncate -s \$((n * 7 % 60))M $dir/r; done" &
        inside $name sh -c "for n in \$(seq 60); do fallocate -p -o 4M -l 8M $dir/r; done" &
        inside $name sh -c "for n in \$(seq 30); do memfile sum $dir/r; done" > /dev/null 2>&1 &
    done
    wait
    truncate -s 20M $dir/r
    memfile sum $dir/r > /dev/null
    holds . 0 20
    rm $dir/r
    holds . 0 0
    holds a 0 0
    holds b 0 0
    # The other node has nothing to do with it.
    inside a truncate -s 8M /mnt/node1/f
    holds a 0 0
    holds a 1 8
    """, nodes=2, append=POOLS)


# Pins a range of a file, in MiB.
PIN = r"""
import fcntl, os, struct, sys, time
iommu = os.open("/dev/iommu", os.O_RDWR)
ioas = bytearray(struct.pack("=III", 12, 0, 0))
fcntl.ioctl(iommu, 0x3b81, ioas)                        # IOMMU_IOAS_ALLOC
fd = os.open(sys.argv[1], os.O_RDWR)
start, size = (int(n) << 20 for n in sys.argv[2:])
fcntl.ioctl(iommu, 0x3b8f, struct.pack("=IIIiQQQ", 40, 6, struct.unpack("=III", ioas)[2], fd,
                                       start, size, 0)) # IOMMU_IOAS_MAP_FILE
os.close(fd)
open("/tmp/pinned", "w").close()
time.sleep(1000)
"""


def test_pinned_blocks(vm):
    """An operation that a pin refuses gives no charge back, whoever paid. Holes that a pin fills are
    charged to who pins, and one that its limit refuses leaves none. The last pin of a deleted file
    gives back what is charged."""
    vm(LIB + f"PIN='{PIN}'\n" + r"""
    new a b
    dir=/mnt/node0
    mount_node 0
    inside a truncate -s 20M $dir/f
    fallocate -p -o 4M -l 4M $dir/f
    holds a 0 16
    # By the cgroup of its task: the hole of b, and a block of a.
    echo 0 > $cg/b/cgroup.procs
    limit b 0 2M
    fails /usr/bin/python3 -B -c "$PIN" $dir/f 2 8 2> /tmp/err
    has "$(cat /tmp/err)" 'Errno 122' 'pin above the limit'
    holds b 0 0
    limit b 0 max
    pin $dir/f 2 8
    echo 0 > $cg/cgroup.procs
    holds a 0 16
    holds b 0 4
    equal "$(cat /sys/fs/guestmemfs/node0/pinned_blocks)" 4 'pinned blocks'

    for n in 1 2 3; do
        busy truncate -s 8M $dir/f
        busy fallocate -p -o 0 -l 20M $dir/f
        busy bash -c ": > $dir/f"
    done
    holds a 0 16
    holds b 0 4
    # What is not pinned is given back, by who was charged last.
    truncate -s 12M $dir/f
    holds a 0 12
    holds b 0 0
    fallocate -p -o 0 -l 2M $dir/f
    holds a 0 10
    rm $dir/f
    holds a 0 10
    rmdir $cg/b 2> /dev/null || true
    unpin
    for n in $(seq 100); do
        [ "$(free_blocks $dir)" != "$(total_blocks $dir)" ] || break
        sleep 0.1
    done
    holds a 0 0
    holds . 0 0
    """, nodes=1, append="guestmemfs=0:128M")


def test_limit(vm):
    """More than the limit is refused, all of it, and nothing is lost."""
    vm(LIB + r"""
    new a b
    dir=/mnt/node0
    mount_node 0
    limit a 0 20M
    echo +dmem > $cg/a/cgroup.subtree_control
    new a/sub
    free=$(free_blocks $dir)
    inside a/sub truncate -s 20M $dir/f
    refused inside a/sub truncate -s 21M $dir/f
    equal "$(stat -c %s $dir/f)" $((20 << 20)) 'size of the file'
    refused inside a/sub fallocate -l 22M $dir/f
    refused inside a/sub truncate -s 1M $dir/g
    equal "$(free_blocks $dir)" $((free - 10)) 'free blocks'
    holds a/sub 0 20
    # Others may, here and in this file.
    inside b truncate -s 30M $dir/f
    holds b 0 10
    truncate -s 20M $dir/f
    holds b 0 0
    # A hole that cannot be filled: at mmap().
    fallocate -p -o 4M -l 4M $dir/f
    holds a 0 16
    inside a/sub truncate -s 4M $dir/g
    refused inside a/sub memfile sum $dir/f
    limit a 0 24M
    inside a/sub memfile sum $dir/f > /dev/null
    holds a/sub 0 24
    # Less than it holds: what it has it keeps.
    memfile fill $dir/f 20M 7
    limit a 0 2M
    memfile check $dir/f 7
    holds a 0 24
    refused inside a/sub truncate -s 22M $dir/f
    rm $dir/f $dir/g
    holds a 0 0
    inside a/sub truncate -s 2M $dir/g
    # The pool's end is not a limit's.
    limit a 0 max
    ! inside a/sub truncate -s 1T $dir/g 2> /tmp/err || die 'larger than the pool'
    grep -q 'No space left' /tmp/err || die "$(cat /tmp/err)"
    holds a/sub 0 2
    """, nodes=2, append=POOLS)


# With a hole in the middle of a mapping: f is what is mapped, g takes the blocks.
FAULTS = r"""
import mmap, os, signal, subprocess, sys
f, g = sys.argv[1:]
fd = os.open(f, os.O_RDWR)
m = mmap.mmap(fd, 8 << 20)
subprocess.run(["fallocate", "-p", "-o", "2M", "-l", "2M", f], check=True)
subprocess.run(["truncate", "-s", "2M", g], check=True)

def killed_by(at):
    pid = os.fork()
    if not pid:
        m[at] = 1
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

assert killed_by(3 << 20) == signal.SIGBUS
assert killed_by(5 << 20) == 0
os.unlink(g)
assert killed_by(3 << 20) == 0
assert m[3 << 20] == 1
"""


def test_limit_at_a_fault(vm):
    """A hole that was punched under a mapping and may not be filled: SIGBUS, and no more."""
    vm(LIB + f"""
    new a
    dir=/mnt/node0
    mount_node 0
    limit a 0 8M
    inside a truncate -s 8M $dir/f
    inside a python3 -c '{FAULTS}' $dir/f $dir/g
    holds a 0 8
    rm $dir/f
    holds a 0 0
    """, nodes=2, append=POOLS)


def test_after_kexec(vm):
    """What the last kernel left is the root's until it is opened for writing."""
    run = vm(LIB + r"""
    new a b
    dir=/mnt/node0
    mount_node 0
    if [ "$VM_BOOT" = 1 ]; then
        inside a truncate -s 10M $dir/f
        inside b truncate -s 6M $dir/g
        mkdir $dir/sub
        truncate -s 4M $dir/sub/h
        vm-kexec
    fi
    holds . 0 20
    holds a 0 0
    # Looking at it is not taking it, and the root's own programs have it.
    inside a cat $dir/f 2> /dev/null || true
    memfile sum $dir/f > /dev/null
    inside a stat $dir/f > /dev/null
    : >> $dir/f
    holds a 0 0
    inside a sh -c ": >> $dir/f"
    holds a 0 10
    holds . 0 20
    inside b sh -c ": >> $dir/f"
    holds a 0 10
    holds b 0 0
    # What is new is charged as ever, what is old goes last.
    inside b truncate -s 8M $dir/g
    holds b 0 8
    truncate -s 2M $dir/g
    holds b 0 2
    holds . 0 16
    # Too much for who opens it: it works, and stays with the root.
    limit a 0 11M
    inside a sh -c ": >> $dir/sub/h"
    holds a 0 10
    holds . 0 16
    limit a 0 14M
    inside a sh -c ": >> $dir/sub/h"
    holds a 0 14
    holds . 0 16
    rm -r $dir/f $dir/g $dir/sub
    holds . 0 0
    holds a 0 0
    holds b 0 0
    """, boots=2, nodes=2, append=POOLS, expect=[r"guestmemfs: node 0: cannot charge 4 MiB of a file to the cgroup of sh\["])
    assert any("): they stay with the root cgroup" in l
               for l in run.boots[1]), run.boots[1]
