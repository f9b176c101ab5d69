# SPDX-License-Identifier: GPL-2.0
"""File systems that map files of guestmemfs for their own: overlayfs, FUSE, bind mounts."""

from conftest import SLOW_MAPPING


def test_stacked(vm):
    """With prefault, what is mapped through another file system is that file and no other's memory."""
    run = vm(r"""
    mount_node 0 prefault
    chown 1000:1000 /mnt/node0
    mkdir -p /tmp/empty /tmp/view
    as_user="setpriv --reuid=1000 --regid=1000 --clear-groups"
    # What is deleted is what the next file gets.
    truncate -s $((($(free_blocks /mnt/node0) - 2) * 2))M /mnt/node0/rest

    look() {
        sh -euc "$1"
        echo "$2=$(free_blocks /mnt/node0)"
    }
    look 'mount --bind /mnt/node0 /tmp/view
        stacked check /mnt/node0 /tmp/view
        umount /tmp/view' bind
    if mount --bind -o X-mount.idmap=b:1000:0:1 /mnt/node0 /tmp/view 2> /tmp/said; then
        look 'stacked check /mnt/node0 /tmp/view; umount /tmp/view' idmapped
    else
        die "no idmapped mount: $(cat /tmp/said)"
    fi
    look 'stacked fuse /mnt/node0 /tmp/view &
        while ! grep -q " /tmp/view fuse" /proc/mounts; do sleep 0.1; done
        stacked check /mnt/node0 /tmp/view
        umount /tmp/view
        wait $!' fuse
    # By a user, as root of a name space.
    look "$as_user unshare -Urm sh -euc '
        mount -t overlay -o lowerdir=/mnt/node0:/tmp/empty none /tmp/view
        stacked check /mnt/node0 /tmp/view'" lower
    look "$as_user unshare -Urm sh -euc '
        mkdir /mnt/node0/upper /mnt/node0/work
        mount -t overlay -o userxattr,lowerdir=/tmp/empty,upperdir=/mnt/node0/upper,workdir=/mnt/node0/work none /tmp/view
        stacked upper /tmp/view'" upper
    equal "$(cat /sys/fs/guestmemfs/node0/check)" ok 'records'
    # It does fill what is mapped without another file system between.
    rm /mnt/node0/rest
    before=$(mount_stat 0 faults_pmd)
    truncate -s 64M /mnt/node0/file
    python3 -c 'import mmap; f = open("/mnt/node0/file", "r+"); mmap.mmap(f.fileno(), 64 << 20)'
    equal $(($(mount_stat 0 faults_pmd) - before)) 32 'leaves that mmap made'
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=1, expect=[SLOW_MAPPING])
    for view in ("bind", "idmapped", "fuse", "lower", "upper"):
        assert run.value(view) == "2", view
