# SPDX-License-Identifier: GPL-2.0
"""Post-copy of a virtual machine with tools/postcopy: two processes, and a kexec in the middle."""

import re

import pytest

pytestmark = pytest.mark.race


def test_postcopy_over_kexec(vm):
    """A guest finds each page as it was sent or as it has left it, and pages come back as blocks."""
    run = vm(r"""
    mount_node 0
    mount_node 1
    from=/mnt/node0/file to=/mnt/node1/file arrived=/mnt/node1/arrived socket=/tmp/socket
    if [ "$VM_BOOT" = 1 ]; then
        truncate -s 64M $from $to
        truncate -s 2M $arrived
        migrate fill $from
        # What was there before must not be seen.
        memfile fill $to 64M 1
        # Slow, so that most pages are still missing at the kexec.
        migrate source $from $socket 200000 &
        migrate guest $to $arrived $socket 1 1000 > /tmp/guest &
        wait_for /tmp/guest touched
        cat /tmp/guest
        vm-kexec
    fi
    migrate source $from $socket 1000000 &
    source=$!
    migrate guest $to $arrived $socket 2 500 1 1000 > /tmp/guest &
    guest=$!
    sleep 1
    # The source is lost. The guest waits for another one.
    kill -KILL $source
    wait $source || true
    migrate source $from $socket 0
    wait $guest || die "$(cat /tmp/guest)"
    cat /tmp/guest
    migrate check $to 1 1000 2 500
    migrate check $from
    # One touch less would be seen.
    fails migrate check $to 1 1000 2 499
    # A source with another size.
    truncate -s 4M /mnt/node0/small
    migrate source /mnt/node0/small $socket 0 2> /tmp/source &
    : > $arrived
    truncate -s 2M $arrived
    fails migrate guest $to $arrived $socket 1 0
    wait_for /tmp/source 'Protocol error'
    """, nodes=2, mem="2G", append="guestmemfs=0:256M,1:256M", boots=2, options=["--nested"])
    pages = 64 << 8
    missing = [int(n) for n in re.findall(r"^guest: missing=(\d+)$", run.out, re.MULTILINE)]
    # Some had come before the kexec, and most had not.
    assert missing[0] == pages and pages // 2 < missing[1] < pages - 900, run.out
    found = re.search(r"^guest: demanded=(\d+) received=(\d+) wrong=0 pages=0$", run.out, re.MULTILINE)
    assert found and int(found.group(1)) > 100 and int(found.group(2)) == missing[1], run.out
