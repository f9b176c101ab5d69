# SPDX-License-Identifier: GPL-2.0
"""Labels of SELinux, as sVirt gives them to the files of virtual machines."""

import os
import subprocess

from conftest import HERE, TOP

POLICY = os.path.join(TOP, "build", "test", "selinux.policy")

SCRIPT = rf"""
load_policy() {{
    mount -t selinuxfs none /sys/fs/selinux
    python3 -c 'import os; os.write(os.open("/sys/fs/selinux/load", os.O_WRONLY),
                                    open("{POLICY}", "rb").read())'
}}
label() {{
    python3 -c 'import os, sys
print(os.getxattr(sys.argv[1], "security.selinux", follow_symlinks=False).decode().rstrip("\0"))' \
        "$1"
}}
set_label() {{
    python3 -c 'import os, sys
os.setxattr(sys.argv[1], "security.selinux", sys.argv[2].encode() + b"\0", follow_symlinks=False)' \
        "$1" "$2"
}}
check() {{
    equal "$(label /mnt/node0)" system_u:object_r:file_t:s0 'label of the root'
    # A transition of the policy.
    equal "$(label new)" system_u:object_r:image_t:s0 'label of a new file'
    equal "$(label from-tmpfile)" system_u:object_r:image_t:s0 'label of an O_TMPFILE'
    # What has none gets its directory's.
    equal "$(label dir)" system_u:object_r:svirt_image_t:s0 'label of a directory'
    equal "$(label dir/below)" system_u:object_r:svirt_image_t:s0 'label below'
    equal "$(label link)" system_u:object_r:svirt_image_t:s0:c0 'label of a link'
    equal "$(label vm1)" system_u:object_r:svirt_image_t:s0:c1,c2 'label of vm1'
}}
load_policy
mount_node 0
cd /mnt/node0
if [ "$VM_BOOT" = 1 ]; then
    grep -q selinux /sys/kernel/security/lsm 2> /dev/null || [ -e /sys/fs/selinux/policy ]
    touch new
    python3 -c 'import os
fd = os.open(".", os.O_TMPFILE | os.O_RDWR)
os.link(f"/proc/self/fd/{{fd}}", "from-tmpfile", src_dir_fd=fd, follow_symlinks=True)'
    mkdir dir
    set_label dir system_u:object_r:svirt_image_t:s0
    mkdir dir/below
    ln -s x link
    set_label link system_u:object_r:svirt_image_t:s0:c0
    memfile fill vm1 4M 1
    set_label vm1 system_u:object_r:svirt_image_t:s0:c1,c2
    check
    cd /
    umount /mnt/node0
    mount_node 0
    cd /mnt/node0
fi
check
memfile check vm1 1
free=$(free_blocks .)
if [ "$VM_BOOT" = 1 ]; then
    luo_errors 3 /mnt/node0
    equal "$(free_blocks .)" $((free - 2)) 'free blocks with two files that are preserved'
    echo $free > "$VM_SCRATCH/free"
    vm-kexec
fi
# What SELinux refuses at first can be retrieved later, or is freed with the session.
equal "$free" $(($(cat "$VM_SCRATCH/free") - 2)) 'free blocks with two files that are held'
luo_errors 4 /mnt/node0
for _ in $(seq 100); do
    [ "$(free_blocks .)" != "$(cat "$VM_SCRATCH/free")" ] || break
    sleep 0.1
done
equal "$(free_blocks .)" "$(cat "$VM_SCRATCH/free")" 'free blocks after the session'
"""


def test_labels_stick(vm):
    """Given by the policy or by an administrator: over unmounting, and over a kexec. A retrieval by
    LUO that SELinux refuses loses nothing."""
    subprocess.run(["secilc", "-o", POLICY, "-f", "/dev/null", os.path.join(HERE, "selinux.cil")],
                   check=True)
    vm(SCRIPT, nodes=1, mem="1G", append="guestmemfs=0:256M lsm=selinux", boots=2)
