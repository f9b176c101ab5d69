# SPDX-License-Identifier: GPL-2.0
"""Virtual machines of QEMU and KVM live through new kernels of their host (vmm.py).

One runs at a time: two emulated processors that run guests at the same time reset the
machine now and then, or lose a guest's timer. All of them are there at the kexec.
"""

import os
import re

import pytest

from conftest import BIN, DEBUG, HERE, KERNEL, TOP, run_machine
from tool import PLAIN, build

pytestmark = pytest.mark.long

# The guests run the same kernel.
KEXECS = int(os.environ.get("KEXECS", "20"))
RAM, POOL = (512, 1024) if DEBUG else (256, 512)

SETUP = rf"""
PATH={PLAIN}:$PATH
initrd=/tmp/guest.cpio

vmm() {{
    /usr/bin/python3 -BS {HERE}/vmm.py "$@"
}}
# make_initrd: for what starts QEMU
make_initrd() {{
    [ ! -e $initrd ] || return 0
    mkdir -p /tmp/root/proc
    cp {BIN}/guest /tmp/root/init
    (cd /tmp/root && find . | busybox cpio -o -H newc > $initrd 2> /dev/null)
}}
# start NODE [then COMMAND]...: of vmm.py
start() {{
    local node=$1
    shift
    make_initrd
    vmm start "$node" {RAM}M {KERNEL} $initrd "$@"
}}
resume() {{
    local node=$1
    shift
    make_initrd
    vmm resume "$node" {RAM}M {KERNEL} $initrd "$@"
}}
# go NODE [then COMMAND]...: start it under the first kernel, let it go on under each other
go() {{
    if [ "$VM_BOOT" = 1 ]; then
        start "$@"
    else
        resume "$@"
    fi
}}
"""

HOST = dict(nodes=2, mem="2G", append=f"guestmemfs=0:{POOL}M,1:{POOL}M",
            options=["--nested", "--timeout=900"])


@pytest.fixture(scope="module", autouse=True)
def gmfs_numa():
    build()


def told(run):
    """{node: [(tick, boot id, at the end)]} of all that guests have said."""
    lines = re.findall(r"^node ([\w.+]+)( at the end)?: guest: tick (\d+), up \d+ s, boot (\w+):"
                       " memory and connection", run.out, re.MULTILINE)
    return {node: [(int(tick), boot, bool(end)) for n, end, tick, boot in lines if n == node]
            for node in {n for n, _, _, _ in lines}}


def check_lives(lives):
    for said in lives:
        for (tick, _, _), (after, _, end) in zip(said, said[1:]):
            # Between what was waited for and its end, it need not have said more.
            assert tick < after or (end and tick == after), said
        assert len({boot for _, boot, _ in said}) == 1, f"it has booted again: {said}"


def test_two_machines_and_two_kernels(vm):
    """With their memory and their connections, and a second time straight after the first."""
    run = vm(SETUP + r"""
    gmfs-numa mount > /dev/null
    for node in 0 1; do
        go $node then ticks $node 2
        gmfs-numa verify /run/guestmemfs/node$node/vm$node.ram "$(pgrep -f "mem-path=.*vm$node.ram")"
        # All of a guest is mapped by what maps it in the host, but for a PC's holes.
        between 20 "$(cat /sys/kernel/debug/kvm/pages_2m)" 500 'leaves of 2 MiB'
        between 0 "$(cat /sys/kernel/debug/kvm/pages_4k)" 600 'leaves of 4 KiB'
        # A host that is not ready says so, and who is in the way.
        gmfs-numa handover -rno CHECK,RESULT > /tmp/ready || true
        has "$(cat /tmp/ready)" '^users fail$' 'handover'
        vmm save $node then last $node
    done
    [ "$VM_BOOT" = 3 ] || vm-kexec
    """, boots=3, **HOST)
    lives = told(run)
    assert sorted(lives) == ["0", "1"] and all(len(said) >= 3 * 2 + 2 for said in lives.values())
    check_lives(lives.values())


def test_four_nodes(vm):
    """All of them, and each with its own."""
    run = vm(SETUP + r"""
    gmfs-numa mount > /dev/null
    for node in 0 1 2 3; do
        go $node then ticks $node 2
        gmfs-numa verify /run/guestmemfs/node$node/vm$node.ram "$(pgrep -f "mem-path=.*vm$node.ram")"
        vmm save $node
    done
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, boots=2, **{**HOST, "nodes": 4, "append": f"guestmemfs={4 * POOL}M"})
    lives = told(run)
    assert sorted(lives) == ["0", "1", "2", "3"]
    check_lives(lives.values())


def test_two_virtual_nodes_and_no_root(vm):
    """A machine with memory of both nodes, run by somebody to whom the mounts belong."""
    run = vm(SETUP + r"""
    gmfs-numa mount --uid nobody --gid nogroup --mode 700 > /dev/null
    chmod 666 /dev/kvm
    export VMM_USER=nobody
    go 0+1 then ticks 0+1 2
    pid=$(pgrep qemu-system)
    equal "$(stat -c %U /proc/$pid)" nobody 'who runs QEMU'
    gmfs-numa verify /run/guestmemfs/node0/vm0+1.ram /run/guestmemfs/node1/vm0+1.ram
    equal "$(stat -c '%U %a' /run/guestmemfs/node1)" 'nobody 700' 'top directory'
    vmm save 0+1
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, boots=2, **HOST)
    lives = told(run)
    assert sorted(lives) == ["0+1"] and len(lives["0+1"]) == 4
    check_lives(lives.values())


def test_many_in_a_row(vm):
    """With a virtual machine that runs under each tenth of them."""
    run = vm(SETUP + r"""
    gmfs-numa mount > /dev/null
    if [ "$VM_BOOT" != 1 ]; then
        equal "$(cat /sys/fs/guestmemfs/node0/generation)" $((VM_BOOT - 1)) generation
        gmfs-numa check > /dev/null
        gmfs-numa verify /run/guestmemfs/node0/vm0.ram
    fi
    [ $((VM_BOOT % 10)) != 1 ] || go 0 then ticks 0 2 then save 0
    [ "$VM_BOOT" -gt $KEXECS ] || vm-kexec
    """.replace("$KEXECS", str(KEXECS)), boots=KEXECS + 1, **HOST)
    lives = told(run)
    assert len(lives["0"]) == 2 * (KEXECS // 10 + 1)
    check_lives(lives.values())


def test_one_node_is_damaged(vm):
    """Only its machine is lost. And one that was not saved in time can be started anew."""
    run = vm(SETUP + r"""
    gmfs-numa mount > /dev/null 2> /tmp/mount || [ "$VM_BOOT" = 2 ] || die "$(cat /tmp/mount)"
    if [ "$VM_BOOT" = 1 ]; then
        for node in 0 1; do
            start $node then ticks $node 2 then save $node
        done
        damage 1 meta2 96 0x10 fix
        vm-kexec
    fi
    equal "$(cat /sys/fs/guestmemfs/node1/state)" failed 'state of node 1'
    resume 0 then ticks 0 2 then save 0
    # Its pool is reset, and is used again.
    gmfs-numa discard --yes 1
    gmfs-numa mount 1
    start 1 then ticks 1 2
    """, boots=2, expect=[
        r"guestmem_pool: node 1: file system: .*: this pool is not used, its memory is kept",
        r"guestmemfs: the pool of node 1 is not used: file system: ",
        r"guestmem_pool: node 1: pool of \d+ blocks discarded"], **HOST)
    lives = told(run)
    check_lives([lives["0"], lives["1"][:2], lives["1"][2:]])
    assert lives["1"][0][1] != lives["1"][2][1], "the lost machine is there again"


def test_qemu_is_killed_while_it_saves(vm):
    """What is stored by half is no state: the target says so, and the host lives on."""
    run = vm(SETUP + r"""
    gmfs-numa mount > /dev/null
    # The stream goes through a pipe that is shut while it is written.
    start 0 then ticks 0 2 then stop 0
    vmm migrate 0 'exec:head -c 100000 | gmfs-numa store /run/guestmemfs/node0/vm0.state' || true
    pkill -9 qemu-system
    wait_gone() { while pgrep qemu-system > /dev/null; do sleep 0.1; done; }
    wait_gone
    if resume 0 2> /tmp/said; then
        die 'half a state is taken'
    fi
    cat /tmp/said
    # Nothing holds the memory.
    rm /run/guestmemfs/node0/*
    equal "$(free_blocks /run/guestmemfs/node0)" "$(total_blocks /run/guestmemfs/node0)" 'free blocks'
    """, boots=1, **HOST)
    assert "migrat" in run.out


def test_demonstrations(tmp_path):
    """Both of them, as a reader would run them."""
    for name in ("demo", "demo-memory"):
        done = run_machine([os.path.join(TOP, "scripts", name)])
        assert done.returncode == 0 and "guestmemfs: demo passed" in done.stdout, done.stdout
