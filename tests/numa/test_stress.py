# SPDX-License-Identifier: GPL-2.0
"""The stressors of stress-ng's file system class that need neither read nor write."""

import pytest

from conftest import DEBUG

# Left out are those that write data: copy-file, fiemap, fpunch, hdd, io, iomix, lock*, verity;
# those that are of no file system: binderfs, eventfd, ioprio, procfs; and bind-mount, dnotify.
STRESSORS = """access chattr chdir chmod chown dentry dir dirdeep dirmany dup fallocate fanotify fcntl
file-ioctl filename flock fsize fstat getdent handle inode-flags inotify lease link mknod mmap open
rename symlink sync-file touch utime xattr""".split()
SECONDS = 600 if DEBUG else 66


@pytest.mark.race
def test_stress(vm):
    """None fails, nor does the kernel complain; what is left is whole for the next kernel."""
    run = vm(rf"""
    mount_node 0
    cd /mnt/node0
    if [ "$VM_BOOT" = 1 ]; then
        mkdir kept
        touch kept/{{1..1000}}
        chmod 1777 .
        for stressor in {" ".join(STRESSORS)}; do
            stress-ng --$stressor 2 --timeout {SECONDS // len(STRESSORS)} --temp-path . \
                > /tmp/said 2>&1 || {{ cat /tmp/said; die "$stressor"; }}
            echo "done=$stressor"
        done
        find . -mindepth 1 -maxdepth 1 ! -name kept -exec rm -r {{}} +
        if [ -e /sys/kernel/debug/kmemleak ]; then
            for _ in 1 2; do
                echo scan > /sys/kernel/debug/kmemleak
                sleep 6
            done
            equal "$(cat /sys/kernel/debug/kmemleak)" '' 'memory that is lost'
        fi
        vm-kexec
    fi
    equal "$(ls kept | wc -l)" 1000 'files'
    equal "$(find . -mindepth 1 -maxdepth 1)" ./kept 'what is there'
    equal "$(free_blocks .)" "$(total_blocks .)" 'free blocks'
    """, nodes=1, mem="2G", append="guestmemfs=0:1G", boots=2,
             options=[f"--timeout={2 * SECONDS + 600}"])
    assert len(run.lines("^done=")) == len(STRESSORS)
