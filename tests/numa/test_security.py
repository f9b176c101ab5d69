# SPDX-License-Identifier: GPL-2.0
"""What Documentation/filesystems/guestmemfs/security.rst promises, and no other test shows."""

import pytest


def test_mount_options_bind(vm):
    """Set-user-ID files and device nodes are what the mount says that they are."""
    vm(r"""
    mount_node 0
    cd /mnt/node0
    mknod null c 1 3
    echo x > null
    # A program's text cannot be read, so nobody becomes anybody by it.
    truncate -s 2M program
    chmod 4755 program
    ! ./program 2> /dev/null || die 'a file of memory is executed'
    cd /
    mount -o remount,nodev,nosuid,noexec /mnt/node0
    fails sh -c 'echo x > /mnt/node0/null' 2> /dev/null
    ! /mnt/node0/program 2> /dev/null || die 'a file is executed in spite of noexec'
    # From a name space of its own, root of that name space has no more than anybody.
    chmod 0700 /mnt/node0
    fails setpriv --reuid=1000 --regid=1000 --clear-groups unshare -Ur ls /mnt/node0 2> /dev/null
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=1)


def test_addresses_are_for_root(vm):
    """Who may not know where memory is, finds it nowhere."""
    vm(r"""
    mount_node 0
    truncate -s 4M /mnt/node0/file
    chmod 0644 /mnt/node0/file
    cat > /tmp/look.py <<'END'
import ctypes, fcntl, os, struct
fd = os.open("/mnt/node0/file", os.O_RDONLY)
extents = bytearray(struct.pack("=QQIIII", 0, 4 << 20, 0, 0, 4, 0) + bytes(4 * 56))
fcntl.ioctl(fd, 0xC020660B, extents)
mapped = struct.unpack_from("=I", extents, 20)[0]
assert mapped, "no extent at all"
addresses = [struct.unpack_from("=QQQ", extents, 32 + 56 * i)[1] for i in range(mapped)]
print("fiemap", *addresses)
for name in sorted(os.listdir("/sys/fs/guestmemfs/node0")):
    try:
        with open(f"/sys/fs/guestmemfs/node0/{name}", "rb") as f:
            text = f.read()
    except PermissionError:
        continue
    # The metadata has addresses, and is no text.
    print(name, text.decode().strip() if name != "metadata" else len(text))
END
    read -r start _ < <(pool_ranges 0)
    /usr/bin/python3 -B /tmp/look.py > /tmp/root
    has "$(cat /tmp/root)" "^extents 0x0*$start " 'what root sees'
    has "$(cat /tmp/root)" '^fiemap [1-9]' 'what root sees'
    setpriv --reuid=1000 --regid=1000 --clear-groups /usr/bin/python3 -B /tmp/look.py > /tmp/other
    has "$(cat /tmp/other)" '^fiemap 0' 'what others see'
    fails grep -i "$start" /tmp/other
    cd /sys/fs/guestmemfs/node0
    for name in bitmap bitmap_dirty bitmap_poison; do
        equal "$(wc -c < $name)" 16 "bytes of $name for root"
        fails setpriv --reuid=1000 --regid=1000 --clear-groups cat $name 2> /dev/null
        # As root of a container.
        equal "$(setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin cat $name | wc -c)" 0 \
            "bytes of $name without CAP_SYS_ADMIN"
    done
    fails setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin cat metadata 2> /dev/null
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=1)


@pytest.mark.quick
def test_metadata_has_nothing_else(vm):
    """Memory that had something else before is handed over with nothing of that in it."""
    run = vm(r"""
    check_kho
    cat > /tmp/fill.py <<'END'
import mmap, os
# All memory that there is, and then it is free again.
free = os.sysconf("SC_AVPHYS_PAGES") * 4096 * 85 // 100
m = mmap.mmap(-1, free, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
part = bytes.fromhex("a55ac33c96699669") * (1 << 17)
for at in range(0, free - len(part), len(part)):
    m[at:at + len(part)] = part
END
    if [ "$VM_BOOT" = 1 ]; then
        /usr/bin/python3 -B /tmp/fill.py
        mount_node 1
        cd /mnt/node1
        for i in $(seq 300); do
            mkdir "directory-$i"
            truncate -s 2M "directory-$i/file"
            [ $((i % 3)) = 0 ] || rm -r "directory-$i"
        done
        ln -s "$(printf '%02000d' 0)" link
        for size in 1 100 5000; do
            setfattr -n user.$size -v "$(printf "%0${size}d" 0)" directory-3
        done
        setfattr -x user.100 directory-3
        vm-kexec
    fi
    cat > /tmp/look.py <<'END'
import struct
uuid = bytes.fromhex(open("/sys/fs/guestmemfs/node1/uuid").read().strip().replace("-", ""))
mark = bytes.fromhex("a55ac33c96699669") * 2
ours = marked = others = 0
with open("/proc/kcore", "rb", buffering=0) as f:
    header = f.read(64)
    phoff, = struct.unpack_from("<Q", header, 32)
    size, nr = struct.unpack_from("<HH", header, 54)
    f.seek(phoff)
    segments = [struct.unpack_from("<IIQQQQQQ", f.read(size)) for _ in range(nr)]
    for kind, _, offset, _, physical, length, *_ in segments:
        if kind != 1 or physical == 2**64 - 1:
            continue
        f.seek(offset)
        while length > 0:
            part = f.read(min(length, 1 << 20))
            length -= len(part)
            if not part:
                break
            others += mark in part
            at = part.find(uuid)
            while at >= 0:
                # Of a metadata block, whose header has it in this place.
                if at % 4096 == 8:
                    ours += 1
                    marked += mark[:8] in part[at - 8:at + 4088]
                at = part.find(uuid, at + 1)
print(f"ours={ours}")
print(f"marked={marked}")
print(f"others={others}")
END
    /usr/bin/python3 -B /tmp/look.py
    """, nodes=2, mem="1G", append="guestmemfs=0:128M,1:256M", boots=2)
    assert int(run.value("ours")) > 20
    assert int(run.value("marked")) == 0
    # What was there before is still there elsewhere, so it would have been found.
    assert int(run.value("others")) > 0
