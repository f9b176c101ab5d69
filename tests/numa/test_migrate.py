# SPDX-License-Identifier: GPL-2.0
"""Post-copy of a virtual machine with tools/postcopy: two processes, and a kexec in the middle."""

import re

import pytest

# What a guest has seen: accesses to lost pages that were refused, and sizes of mappings in the end.
GUEST = (r"^guest: demanded=(\d+) received=(\d+) wrong=0 lost=(\d+) refused=(\d+) "
         r"pages=(\d+) gigabytes=(\d+)$")
ERROR = (r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used any more, "
         r"and block \d+ is not allocated again$")


def guests(run):
    """(demanded, received, lost, refused, pages, gigabytes) of each guest."""
    return [tuple(map(int, found)) for found in re.findall(GUEST, run.out, re.MULTILINE)]


@pytest.mark.race
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
    (demanded, *rest), = guests(run)
    # As many as the stream was slower than: on a slow machine, these are few.
    assert demanded > 10 and rest == [missing[1], 0, 0, 0, 0], run.out


def test_postcopy_of_a_gigabyte(vm):
    """It moves to another node while a slow source answers a guest, and is one mapping again. Then
    pages of the destination fail before their contents come: these pages alone are lost."""
    run = vm(r"""
    mount_node 0
    mount_node 1
    from=/mnt/node0/file to=/mnt/node1/file arrived=/tmp/arrived socket=/tmp/socket
    truncate -s 1G $from $to
    truncate -s 32K $arrived
    migrate fill $from
    migrate source $from $socket 200000 &
    source=$!
    migrate guest $to $arrived $socket 1 1000 > /tmp/guest &
    guest=$!
    wait_for /tmp/guest touched
    kill -KILL $source
    wait $source || true
    # It ends when the receiver has all.
    migrate source $from $socket 0
    wait $guest || die "$(cat /tmp/guest)"
    cat /tmp/guest
    rm $from
    migrate check $to 1 1000
    fails migrate check $to 1 999

    rm $to $arrived
    truncate -s 2M $from $to
    truncate -s 32K $arrived
    migrate fill $from
    phys=$(memfile where $to | sed -n 's/.* blocks at \(0x[0-9a-f]*\)-.*/\1/p;q')
    # What this guest touches first, and in the middle of what is sent first.
    for page in 145 8; do
        echo $((phys + page * 4096)) > /sys/devices/system/memory/hard_offline_page
    done
    migrate source $from $socket 200000 &
    source=$!
    migrate guest $to $arrived $socket 74 20 > /tmp/guest || die "$(cat /tmp/guest)"
    wait $source
    cat /tmp/guest
    migrate check $to 74 20
    """, nodes=2, mem="2G", append="guestmemfs=0:1G,1:1G", boots=1,
             options=["--nested", "--timeout=1200"], expect=[ERROR])
    whole, failed = guests(run)
    pages = 1 << 18
    # Some of the random pages have come in turn already, or are the same.
    assert whole[0] > 800 and whole[1:] == (pages, 0, 0, 0, 1), run.out
    assert failed[1:4] == (512, 2, 2) and not failed[5], run.out
    assert run.lines("^check: ")[0] == "check: wrong=0 lost=0", run.out
    assert run.lines("^check: ")[-1] == "check: wrong=0 lost=2", run.out
