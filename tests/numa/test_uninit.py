# SPDX-License-Identifier: GPL-2.0
"""All of it without KHO; on a kernel with KMSAN (make uninit), nothing is given away unwritten."""

import os

# Half of memory is shadow, and this says of what.
MEM = "4G" if os.environ.get("VARIANT") == "kmsan" else "1G"


def test_without_kho(vm):
    vm(r"""
    # The kernel fills in what it writes of these where KMSAN does not see it.
    export GLIBC_TUNABLES=glibc.pthread.rseq=0
    for node in 0 1; do
        mount_node $node
        memfile fill "$(at_node $node)/kept" 16M $node
        mkdir -m 1777 "$(at_node $node)/monkey"
        unshare -m monkey "$(at_node $node)/monkey" $node $node 15 4
        memfile check "$(at_node $node)/kept" $node
        equal "$(cat /sys/fs/guestmemfs/node$node/check)" ok "node $node"
    done
    # Whatever can be read, is.
    cat /proc/self/mounts /proc/self/mountinfo /proc/self/mountstats > /tmp/mounts
    has "$(cat /tmp/mounts)" guestmemfs 'mounts'
    find /sys/fs/guestmemfs/ /sys/kernel/debug/guestmem_pool/ -type f -perm /444 |
    while read -r file; do
        timeout 20 cat "$file" || [ ! -s "$file" ] || echo "$file"
    done > /tmp/read
    between 500 "$(wc -c < /tmp/read)" 1000000 'bytes of sysfs and debugfs'
    umount /mnt/node0
    """, nodes=2, cpus=3, mem=MEM, append="guestmemfs=0:256M,1:256M pci=nommconf", boots=1,
       options=["--no-kho", "--timeout=600"],
       # Any of ours: it does all that is warned of.
       expect=[r"guestmem(_pool|fs): "])
