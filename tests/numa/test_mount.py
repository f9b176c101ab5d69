# SPDX-License-Identifier: GPL-2.0
"""Mounting: options and their errors, one super block for a node, what stays."""

import pytest

SAID = r"guestmemfs: (node \d+ has no pool|node= is required|Unknown parameter|Bad value)"


@pytest.mark.quick
def test_mount(vm):
    run = vm(r"""
    check_kho
    mkdir -p /tmp/m /tmp/again

    # Whoever mounts is told which nodes there are.
    said=$(fails fsmount guestmemfs /tmp/m node=7)
    has "$said" 'node 7 has no pool; nodes with a pool: 0-1$' 'node=7'
    has "$said" '^create: EINVAL$' 'node=7'
    said=$(fails fsmount guestmemfs /tmp/m node=4000000000)
    has "$said" 'node 4000000000 has no pool; nodes with a pool: 0-1$' 'a large node='
    said=$(fails fsmount guestmemfs /tmp/m)
    has "$said" 'node= is required; nodes with a pool: 0-1$' 'no node='
    for bad in node=x node= node=-1 node=99999999999 node=1x; do
        said=$(fails fsmount guestmemfs /tmp/m $bad)
        has "$said" "Bad value for 'node'" "$bad"
    done
    has "$(fails fsmount guestmemfs /tmp/m node)" "requires a value|Bad value" "node"
    has "$(fails fsmount guestmemfs /tmp/m size=1G)" "Unknown parameter 'size'" "size="
    # mount(8) of Debian 12 has no room for these words; dmesg does.
    fails mount -t guestmemfs -o node=9 none /tmp/m
    has "$(gm_log)" 'guestmemfs: node 9 has no pool; nodes with a pool: 0-1$' dmesg

    mount_node 0
    mount_node 1
    equal "$(findmnt -no OPTIONS /mnt/node1 | grep -o 'node=[0-9]*')" node=1 'options'
    equal "$(stat -f -c '%S %b %f' /mnt/node1)" '2097152 128 128' 'statfs'
    equal "$(df -B 2M --output=size,used,avail /mnt/node1 | tail -n 1 | xargs)" '128 0 128' df

    # All mounts of a node are one file system.
    mount -t guestmemfs -o node=1 none /tmp/again
    equal "$(stat -c %d /tmp/again)" "$(stat -c %d /mnt/node1)" 'device'
    [ "$(stat -c %d /mnt/node0)" != "$(stat -c %d /mnt/node1)" ] || die 'one device for both'
    memfile fill /mnt/node1/file 6M 3
    memfile check /tmp/again/file 3
    rm /tmp/again/file
    [ ! -e /mnt/node1/file ] || die 'a file that was removed is there'
    [ ! -e /mnt/node0/file ] || die 'a file of the other node is there'
    umount /tmp/again

    # Read-only is one mount, or all of them.
    mount -t guestmemfs -o node=1,ro none /tmp/again
    fails touch /tmp/again/new
    touch /mnt/node1/new
    rm /mnt/node1/new
    umount /tmp/again
    mount -o remount,ro /mnt/node1
    fails touch /mnt/node1/new
    fails mount -t guestmemfs -o node=1 none /tmp/again
    mount -o remount,rw /mnt/node1
    fails mount -o remount,node=0 /mnt/node1

    # Nothing is lost when the last mount goes.
    memfile fill /mnt/node1/file 9M 4
    mkdir -p /mnt/node1/a/b/c
    chmod 1750 /mnt/node1/a
    before=$(stat -c '%i %f %s %X %Y %Z' /mnt/node1/file /mnt/node1/a)
    (cd /mnt/node1/a && fails umount /mnt/node1)
    umount /mnt/node1
    fails mountpoint -q /mnt/node1
    mount_node 1
    equal "$(stat -c '%i %f %s %X %Y %Z' /mnt/node1/file /mnt/node1/a)" "$before" 'attributes'
    memfile check /mnt/node1/file 4
    equal "$(free_blocks /mnt/node1)" 123 'free blocks'

    # A container's own root may not mount it: it is the host's memory.
    fails unshare -Urm mount -t guestmemfs -o node=0 none /tmp/again

    # Bind mounts, and a mount at several places at once.
    mount --bind /mnt/node1/a /tmp/again
    [ -d /tmp/again/b/c ]
    umount /tmp/again
    """, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=1,
             expect=[SAID, r"is mounted read-only elsewhere", r"node= cannot be changed"])
    assert run


def test_root_directory(vm):
    """mode=, uid= and gid= change it, and it stays like that."""
    vm(r"""
    stat_root() {
        stat -c '%a %u %g' /mnt/node0
    }
    case $VM_BOOT in
    1)
        mount_node 0 mode=1770,uid=1000,gid=2000
        equal "$(stat_root)" '1770 1000 2000' 'root'
        has "$(findmnt -no OPTIONS /mnt/node0)" 'mode=1770,uid=1000,gid=2000' 'options'
        setpriv --reuid=1000 --regid=1000 --clear-groups touch /mnt/node0/mine
        # As on tmpfs, where they are of no effect then.
        mount -o remount,mode=700,uid=5 /mnt/node0
        equal "$(stat_root)" '1770 1000 2000' 'root after remount'
        # Other mounts show the same directory: what differs is refused.
        mkdir -p /tmp/m
        for bad in mode=700 uid=1 gid=1; do
            has "$(fails fsmount guestmemfs /tmp/m node=0 $bad)"                 'node 0 has another mode or owner elsewhere: use chmod, chown' "$bad"
        done
        mount -t guestmemfs -o node=0,mode=1770,uid=1000 none /tmp/m
        umount /tmp/m
        umount /mnt/node0
        mount_node 0
        equal "$(stat_root)" '1770 1000 2000' 'root without options'
        umount /mnt/node0
        # Nothing is changed by a mount that fails.
        for bad in mode=17777 mode=8 mode=x mode=; do
            has "$(fails fsmount guestmemfs /tmp/m node=0 uid=7 $bad)"                 "mode=$bad|is not one of 0 to 7777|Bad value for 'mode'" "$bad"
        done
        has "$(fails fsmount guestmemfs /tmp/m ro node=0 mode=700)"             'mode=, uid= and gid= cannot be set in a read-only mount' 'read-only'
        mount_node 0
        equal "$(stat_root)" '1770 1000 2000' 'root after bad mounts'
        # An ACL follows the mode.
        setfacl -m u:1234:rwx /mnt/node0
        umount /mnt/node0
        mount_node 0 mode=750
        has "$(getfacl -c /mnt/node0 2> /dev/null)" '^mask::r-x' 'ACL'
        vm-kexec
        ;;
    2)
        mount_node 0
        equal "$(stat_root)" '750 1000 2000' 'root after kexec'
        [ "$(stat -c %u /mnt/node0/mine)" = 1000 ]
        mount -o remount,ro /mnt/node0
        fails touch /mnt/node0/x
        mount -o remount,rw /mnt/node0
        touch /mnt/node0/x
        ;;
    esac
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=2)


def test_nr_inodes(vm):
    """As on tmpfs: a limit, that df -i shows."""
    vm(r"""
    inodes() {
        df --output=itotal,iused,iavail /mnt/node0 | tail -n 1 | xargs
    }
    case $VM_BOOT in
    1)
        mount_node 0
        equal "$(inodes)" '0 0 0' 'without a limit'
        mount -o remount,nr_inodes=1k /mnt/node0
        equal "$(inodes)" '1024 1 1023' 'with 1k'
        touch /mnt/node0/{1..1023}
        fails touch /mnt/node0/more
        fails mkdir /mnt/node0/more
        fails ln -s x /mnt/node0/more
        ln /mnt/node0/1 /mnt/node0/link
        equal "$(inodes)" '1024 1024 0' 'full'
        rm /mnt/node0/2
        touch /mnt/node0/more
        fails mount -o remount,nr_inodes=1023 /mnt/node0
        has "$(gm_log)" 'nr_inodes=1023 is too low: node 0 has 1024 inodes' 'log'
        has "$(findmnt -no OPTIONS /mnt/node0)" 'nr_inodes=1024' 'options'
        mkdir -p /tmp/m
        has "$(fails fsmount guestmemfs /tmp/m node=0 nr_inodes=7)"             'node 0 has nr_inodes=1024 elsewhere: use mount -o remount' 'another mount'
        mount -o remount,nr_inodes=0 /mnt/node0
        touch /mnt/node0/{2000..2010}
        umount /mnt/node0
        has "$(fails fsmount guestmemfs /tmp/m node=0 nr_inodes=100)"             'nr_inodes=100 is too low: node 0 has 1035 inodes' 'mount'
        for bad in nr_inodes=x nr_inodes=1x nr_inodes=-1; do
            has "$(fails fsmount guestmemfs /tmp/m node=0 $bad)" 'is no number|too low' "$bad"
        done
        mount_node 0 nr_inodes=1100
        equal "$(inodes)" '1100 1035 65' 'mounted with a limit'
        vm-kexec
        ;;
    2)
        mount_node 0 nr_inodes=1036
        touch /mnt/node0/last
        fails touch /mnt/node0/one-too-many
        ;;
    esac
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=2,
       expect=[r"nr_inodes=1023 is too low: node 0 has 1024 inodes$"])


def test_option_is_not_needed_for_one_pool(vm):
    vm(r"""
    mkdir -p /tmp/m
    mount -t guestmemfs none /tmp/m
    equal "$(findmnt -no OPTIONS /tmp/m | grep -o 'node=[0-9]*')" node=1 options
    has "$(fails fsmount guestmemfs /mnt node=0)" 'node 0 has no pool; nodes with a pool: 1$' 'node=0'
    # It was never mounted before the kexec, and is the same then.
    umount /tmp/m
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, nodes=2, mem="1G", append="guestmemfs=1:256M", boots=2)


def test_no_pool_at_all(vm):
    vm(r"""
    grep -q guestmemfs /proc/filesystems
    has "$(fails fsmount guestmemfs /mnt)" 'no node has a pool.*guestmemfs=' 'no node='
    has "$(fails fsmount guestmemfs /mnt node=0)" 'no node has a pool' 'node=0'
    fails grep guestmemfs /proc/iomem
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, nodes=1, mem="512M", boots=2)


def test_files_of_root_are_safe_from_others(vm):
    """The root directory is 0755 and root's: others can look, and no more."""
    vm(r"""
    mount_node 0
    memfile fill /mnt/node0/secret 2M 1
    chmod 600 /mnt/node0/secret
    as="setpriv --reuid=1000 --regid=1000 --clear-groups"
    fails $as touch /mnt/node0/mine
    fails $as memfile check /mnt/node0/secret 1
    $as ls /mnt/node0 > /dev/null
    mkdir -m 1777 /mnt/node0/all
    $as env PATH="$PATH" memfile fill /mnt/node0/all/mine 2M 2
    [ "$(stat -c %u /mnt/node0/all/mine)" = 1000 ]
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=1)


def test_inodes_leave_memory(vm):
    """Also those of files that were made without a name, and then got one."""
    vm(r"""
    mount_node 0
    cd /mnt/node0
    count() { cut -f 1 /proc/sys/fs/inode-nr; }
    before=$(count)
    python3 - <<'END'
import os
for i in range(500):
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR)
    os.link(f"/proc/self/fd/{fd}", f"file{i}", src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)
END
    equal "$(ls | wc -l)" 500 'names'
    [ "$(count)" -ge $((before + 500)) ] || die 'the inodes are not in memory'
    for _ in $(seq 20); do
        echo 2 > /proc/sys/vm/drop_caches
        [ "$(count)" -gt $((before + 100)) ] || break
        sleep 0.2
    done
    between 0 "$(count)" $((before + 100)) 'inodes after drop_caches'
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=1)
