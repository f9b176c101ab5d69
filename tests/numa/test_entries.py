# SPDX-License-Identifier: GPL-2.0
"""KVM and the host's page tables, whose entries others change (entries.c)."""


def test_entries_of_a_guest(vm):
    """KVM_RUN waits for an entry that was dropped, and a write for one that was read-only."""
    run = vm(r"""
    mount_node 1
    truncate -s 64M /mnt/node1/file
    entries dropped /mnt/node1/file 20
    entries tracked /mnt/node1/file
    """, topology="node=0,cpus=0-1,mem=1G;node=1,mem=1G", append="guestmemfs=1:256M", boots=1,
             options=["--nested"])
    assert run.lines("^dropped: runs=[0-9]+ lost=0 ") and run.lines("^tracked: emulated=0$"), run.out
