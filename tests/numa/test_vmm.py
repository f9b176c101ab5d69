# SPDX-License-Identifier: GPL-2.0
"""What a virtual machine can do whose memory has no struct pages, and by which setting.

The lines of the table in Documentation/filesystems/guestmemfs/limits.rst, Options of virtual machines.
"""

import os

from conftest import BIN, DEBUG, HERE, KERNEL
from tool import build

RAM, POOL = ("768M", 1024) if DEBUG else ("384M", 512)
HOST = dict(nodes=2, mem="2G", append=f"guestmemfs=1:{POOL}M", boots=1,
            options=["--nested", "--timeout=900"])

# init is a script that says what works, and then that it has ended.
SETUP = rf"""
mkdir -p /run/guestmemfs/node1 /tmp/root/bin /tmp/root/dev
mount -t guestmemfs -o node=1 none /run/guestmemfs/node1
cp "$(command -v busybox)" {BIN}/kvm /tmp/root/bin/

# make_initrd SCRIPT: what a guest does
make_initrd() {{
    {{
        echo '#!/bin/busybox sh'
        echo '/bin/busybox mount -t devtmpfs none /dev'
        echo 'echo guest is up'
        echo "$1"
        echo 'echo the guest has ended'
        echo '/bin/busybox poweroff -f'
    }} > /tmp/root/init
    chmod +x /tmp/root/init
    (cd /tmp/root && find . | busybox cpio -o -H newc > /tmp/initrd 2> /dev/null)
    rm -f /tmp/vm1.*
}}

# guest SCRIPT: prints what its console has, after it has ended or got stuck
guest() {{
    make_initrd "$1"
    /usr/bin/python3 -BS {HERE}/vmm.py start 1 {RAM} {KERNEL} /tmp/initrd
    wait_for 150 'guest is up'
    wait_for 120 'the guest has ended'
    pkill -9 qemu-system || true
    tr -d '\r' < /tmp/vm1.console
    cat /tmp/vm1.log
}}

# wait_for SECONDS TEXT: until it is on the console
wait_for() {{
    for _ in $(seq "$1"); do
        if grep -q "$2" /tmp/vm1.console 2> /dev/null || ! pgrep qemu-system > /dev/null; then
            return
        fi
        sleep 1
    done
}}
"""


DISKS = {
    "cache=none": False,
    "cache=directsync,aio=native": False,
    "cache=none,aio=io_uring": False,
    "cache=writeback": True,
    "cache=writethrough": True,
    "cache=writeback,aio=io_uring": True,
}


# As qemu-storage-daemon, which has its options on the command line: a process that has the disk with
# O_DIRECT, and buffers of its own, which the socket copies to and from.
EXPORT = rf"""
    qemu-system-x86_64 -machine none -display none -nodefaults -qmp unix:/tmp/vmnbd.qmp,server=on,wait=off \
        -blockdev "driver=host_device,node-name=disk,filename=$1,cache.direct=on,aio=native" &
    /usr/bin/python3 -BS {HERE}/vmm.py do nbd nbd-server-start \
        '{{"addr": {{"type": "unix", "data": {{"path": "/tmp/nbd.sock"}}}}}}' then do nbd block-export-add \
        '{{"type": "nbd", "id": "export", "node-name": "disk", "name": "disk", "writable": true}}' > /dev/null
    for fd in /proc/$!/fd/*; do
        [ "$(readlink "$fd")" != "$1" ] || sed -n 's/^flags:/flags of the disk:/p' "/proc/$!/fdinfo/${{fd##*/}}"
    done
"""
EXPORTED = "driver=nbd,node-name=exported,server.type=unix,server.path=/tmp/nbd.sock,export=disk"


def test_disks(vm):
    """O_DIRECT needs struct pages of what it reads to and writes from; QEMU's caches do not, nor does
    a process beside it that the disk is exported by, over a socket."""
    script = SETUP + f"""
    export_disk() {{{EXPORT}}}
    dd if=/dev/urandom of=/tmp/exported bs=1M count=4 status=none
    disk=$(losetup -f --show /tmp/exported)
    export_disk $disk
    echo "exported disk has $(md5sum < /tmp/exported)"
    VMM_ARGS="-blockdev {EXPORTED} -device virtio-blk-pci,drive=exported"
    """
    # How the two compare in this machine, and no more.
    beside = "bcdefgh"[list(DISKS).index("cache=writeback")]
    guest = rf"""
        /bin/busybox mkdir -p /proc
        /bin/busybox mount -t proc none /proc
        echo "exported disk reads $(/bin/busybox md5sum < /dev/vda)"
        for disk in a {beside}; do
            start=$(/bin/busybox cut -d " " -f 1 /proc/uptime)
            for n in 1 2 3 4 5 6 7 8; do
                echo 1 > /proc/sys/vm/drop_caches
                /bin/busybox cat /dev/vd$disk > /dev/null
            done
            echo "vd$disk: 32 MiB from $start to $(/bin/busybox cut -d " " -f 1 /proc/uptime)"
        done
        echo exported | /bin/busybox dd of=/dev/vda bs=512 conv=sync,fsync 2> /dev/null
    """
    for n, drive in enumerate(DISKS):
        script += rf"""
    dd if=/dev/urandom of=/tmp/disk{n} bs=1M count=4 status=none
    disk{n}=$(losetup -f --show /tmp/disk{n})
    VMM_ARGS="$VMM_ARGS -drive if=none,id=d{n},format=raw,file=$disk{n},{drive}
              -device virtio-blk-pci,drive=d{n}"
    echo "disk {n} has $(md5sum < /tmp/disk{n})"
    """
        device = "/dev/vd" + "bcdefgh"[n]
        guest += rf"""
        echo "disk {n} reads $(/bin/busybox md5sum < {device})"
        echo written{n} | /bin/busybox dd of={device} bs=512 conv=sync,fsync 2> /dev/null
        """
    script += rf"""
    export VMM_ARGS
    guest '{guest}'
    """
    for n in range(len(DISKS)):
        script += rf"""
    if [ "$(head -n 1 /tmp/disk{n} | tr -d '\0')" = written{n} ]; then
        echo "disk {n} was written"
    fi
    """
    script += r"""
    equal "$(head -n 1 /tmp/exported | tr -d '\0')" exported 'exported disk'
    """
    run = vm(script, **HOST)
    # O_DIRECT, in octal.
    flags, = run.lines("^flags of the disk:")
    assert int(flags.split()[-1], 8) & 0o40000, flags
    has, reads = (run.lines(f"^exported disk {what} ") for what in ("has", "reads"))
    assert has[0].split()[3] == reads[0].split()[3]
    assert len(run.lines(f"^vd[a{beside}]: 32 MiB ")) == 2
    for n, (drive, works) in enumerate(DISKS.items()):
        has, = run.lines(f"^disk {n} has ")
        reads, = run.lines(f"^disk {n} reads ")
        assert (has.split()[3] in reads) == works, (drive, has, reads)
        assert bool(run.lines(f"^disk {n} was written$")) == works, drive


def test_virtual_machine_in_the_guest(vm):
    """KVM maps what its guest's own guests need. It pins that, by patch 0018."""
    run = vm(SETUP + r"""
    equal "$(cat /sys/module/kvm/parameters/allow_unsafe_mappings)" N 'unsafe mappings'
    guest /bin/kvm
    while pgrep qemu-system > /dev/null; do
        sleep 1
    done
    umount /run/guestmemfs/node1
    """, **HOST)
    assert run.lines("^guest is up")
    assert run.lines("^kvm: works")
    assert run.lines("^the guest has ended")


def test_assigned_device(vm):
    """QEMU maps guest memory for a device, by type1 and by iommufd, and that pins it."""
    run = vm(r"""
    mount_node 0
    take_device 0x11e8
    pinned=/sys/fs/guestmemfs/node0/pinned_blocks
    for with in '' ,iommufd=iommufd0; do
        qemu-system-x86_64 -accel kvm -m 128M -S -display none -nodefaults \
            -object memory-backend-file,id=ram,size=128M,share=on,align=2M,mem-path=/mnt/node0/ram \
            -machine q35,memory-backend=ram -object iommufd,id=iommufd0 \
            -device "vfio-pci,host=$device$with" -monitor none &
        qemu=$!
        wait_for $pinned '^64$'
        fails truncate -s 0 /mnt/node0/ram
        rm /mnt/node0/ram
        equal "$(df -B2M --output=used /mnt/node0 | tail -n 1 | tr -d ' ')" 64 'blocks in use'
        kill -9 $qemu
        wait $qemu || true
        equal "$(cat $pinned)" 0 'pinned blocks'
        equal "$(df -B2M --output=used /mnt/node0 | tail -n 1 | tr -d ' ')" 0 'blocks in use'
        echo "assigned device${with:-,type1}: works"
    done
    umount /mnt/node0
    """, nodes=1, mem="2G", append="guestmemfs=0:512M intel_iommu=on", boots=1,
       options=["--nested", "--timeout=600", "--qemu-args",
                "-device intel-iommu,intremap=on,aw-bits=48 "
                "-device edu,dma_mask=0xffffffffffff"])
    assert len(run.lines("^assigned device,.*: works$")) == 2


def test_calls_of_other_vmms(vm):
    """cloud-hypervisor, Firecracker, and the other end of vhost-user, by their system calls."""
    run = vm(r"""
    mount_node 1
    for who in cloud-hypervisor cloud-hypervisor-postcopy vhost-user firecracker; do
        fallocate -l 65M /mnt/node1/zone
        vmm_calls $who /mnt/node1/zone $([ $who != cloud-hypervisor ] || echo 1)
        rm /mnt/node1/zone
    done
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok records
    umount /mnt/node1
    """, nodes=2, mem="1G", append="guestmemfs=1:128M", boots=1, options=["--nested", "--timeout=300"])
    assert len(run.lines("^calls of .*: work$")) == 4


def test_started_by_gmfs_numa(vm):
    """gmfs-numa makes the file, binds QEMU to the node, and gives it its options."""
    run = vm(SETUP + rf"""
    PATH={os.path.dirname(build())}:$PATH
    # Idle, it would lose its timer now and then.
    make_initrd 'while :; do :; done'
    gmfs-numa run --node 1 --size {RAM} --name byname --qemu -- qemu-system-x86_64 -accel kvm \
        -cpu "$VM_GUEST_CPU" -nographic -nodefaults -no-reboot -serial file:/tmp/vm1.console \
        -kernel {KERNEL} -initrd /tmp/initrd -append 'console=ttyS0 panic=-1 quiet nohz=off highres=off' &
    until pgrep qemu-system > /dev/null; do
        kill -0 $!
        sleep 0.1
    done
    wait_for 150 'guest is up'
    gmfs-numa verify /run/guestmemfs/node1/byname "$(pgrep qemu-system)"
    between 1 "$(cat /sys/kernel/debug/kvm/pages_2m)" 500 'mappings of 2 MiB'
    pkill -9 qemu-system
    status=0
    wait $! || status=$?
    equal "$status" 137 'status of gmfs-numa run'
    [ ! -e /run/guestmemfs/node1/byname ] || die 'the file is left'
    """, **HOST)
    assert run.lines("byname: .* all on node 1") and run.lines("^process .* all on node 1")


def test_gigabyte_mappings(vm):
    """With align=1G, KVM maps a whole GiB of the guest by one entry. The first has the holes of a PC."""
    vm(SETUP + rf"""
    make_initrd 'while :; do :; done'
    VMM_ALIGN=1G /usr/bin/python3 -BS {HERE}/vmm.py start 1 2G {KERNEL} /tmp/initrd
    wait_for 150 'guest is up'
    equal "$(cat /sys/kernel/debug/kvm/pages_1g)" 1 'mappings of 1 GiB'
    between 1 "$(cat /sys/kernel/debug/kvm/pages_2m)" 511 'mappings of 2 MiB'
    equal "$(cat /tmp/vm1.log)" '' 'what QEMU complains of'
    """, **{**HOST, "mem": "6G", "append": "guestmemfs=1:2G"})


def test_memory_is_discarded_and_comes_back(vm):
    """virtio-mem, balloon and free page reporting: QEMU gives memory back, and takes it again."""
    vm(SETUP + rf"""
    cd /run/guestmemfs/node1
    vmm() {{
        /usr/bin/python3 -BS {HERE}/vmm.py "$@"
    }}

    # of FILE: MiB that it has
    of() {{
        echo $(($(stat -c %b "$1") / 2048))
    }}

    # balloon SIZE
    balloon() {{
        vmm do 1 balloon "{{\"value\": $1}}" then until 1 "{{\"actual\": $1}}" query-balloon
    }}

    # Idle, it would lose its timer now and then.
    make_initrd 'n=0; while :; do n=$((n + 1)); [ $((n % 20000)) != 0 ] || echo "guest: $n"; done'
    vmm start 1 {RAM} {KERNEL} /tmp/initrd -m {RAM},maxmem=2G \
        -object memory-backend-file,id=more,mem-path=more,size=128M,share=on,reserve=off,align=2M \
        -device virtio-mem-pci,id=vmem,memdev=more,prealloc=on \
        -device virtio-balloon-pci,free-page-reporting=on \
        -append 'console=ttyS0 panic=-1 quiet nohz=off highres=off memhp_default_state=online_movable'
    wait_for 150 'guest is up'
    vmm ticks 1 1

    # What is not plugged takes no memory; what is has all of it.
    equal "$(of more)" 0 'MiB before'
    vmm plug 1 vmem 64
    equal "$(of more)" 64 'MiB of what is plugged'
    vmm plug 1 vmem 0
    equal "$(of more)" 0 'MiB afterwards'

    # Of what the guest has free, by the time that it says so.
    for _ in $(seq 120); do
        [ "$(of vm1.ram)" -ge {int(RAM[:-1]) - 64} ] || break
        sleep 1
    done
    between 1 "$(of vm1.ram)" {int(RAM[:-1]) - 64} 'MiB without what is reported free'

    # Pages of 4 KiB, that free no block; they come back with the balloon's end.
    balloon $((({int(RAM[:-1])} - 16) << 20))
    balloon {int(RAM[:-1]) << 20}

    vmm ticks 1 2
    pkill -9 qemu-system
    equal "$(cat /tmp/vm1.log)" '' 'what QEMU complains of'
    """, **HOST)
