# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa resize, with a pool that grows into its reserve."""

from test_growth import LINE, TOOLS
from tool import PLAIN, build


def test_growth_into_the_reserve(vm):
    """The pool stays in one piece, and the next kernel has a smaller reserve."""
    build()
    vm(f"PATH={PLAIN}:$PATH\n" + TOOLS + r"""
    mount_node 1
    if [ "$VM_BOOT" = 1 ]; then
        before=$(reserve)
        memfile fill /mnt/node1/file 100M 1
        gmfs-numa resize --dry-run 1 +1G -rn -o RESULT > /tmp/dry || die "dry run: $(cat /tmp/dry)"
        equal "$(cat /tmp/dry)" all 'the dry run'
        equal "$(pool_bytes 1)" $((1 << 30)) 'the pool after the dry run'
        gmfs-numa resize 1 +1G
        equal "$(reserve)" $((before - (1 << 30))) 'growth_reserve'
        memfile check /mnt/node1/file 1
        # Shrinking gives it back as movable memory.
        gmfs-numa resize 1 -1G
        equal "$(reserve)" "$before" 'growth_reserve after shrinking'
        gmfs-numa resize 1 2G
        equal "$(cat /sys/fs/guestmemfs/node1/extents | wc -l)" 1 'extents'
        has "$(cat /sys/fs/guestmemfs/node1/format)" 'incompat=0x0' 'numbers of blocks'
        umount /mnt/node1
        vm-kexec
    fi
    equal "$(pool_bytes 1)" $((2 << 30)) 'the pool'
    equal "$(reserve)" 0 'growth_reserve'
    memfile check /mnt/node1/file 1
    """, nodes=2, mem="4G", boots=2, append="guestmemfs=1:1G+1G nokaslr",
       expect=[LINE + "node 1: (pool of|keeps its handed-over pool)"])
