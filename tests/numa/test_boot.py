# SPDX-License-Identifier: GPL-2.0
"""The boot parameter: what it asks for is there, and what makes no sense is said."""

import re

import pytest

from conftest import DEBUG

LINE = r"guestmem_pool: "


@pytest.mark.quick
def test_bad_parts_do_not_harm_good_ones(vm):
    parts = {
        "7:128M": "node 7 does not exist, allowed are 0-1",
        "0:512M": '"0:512M" repeats what was given before, and the first counts',
        "1:": '"1:" has no size after the colon',
        "x:1G": '"x:1G" has no node number before the colon',
        "1:junk": '"1:junk" has no number where a size should be',
        "1:128Mb": '"1:128Mb" has something after the number',
        "1:99999999999999999999": "is more than 64 bits can count",
        "1:20000000T": "is more than 64 bits can count",
        "99999:1G": "names a node number that this kernel cannot have",
        "1:0": '"1:0" has the size zero',
        "1:101%": '"1:101%" has a percentage out of range',
        "1G": '"1G" mixes sizes for single nodes and for all nodes',
        "": '"" is empty',
    }
    run = vm(r"""
    check_kho
    check_places 0 1
    equal "$(pool_bytes 0)" $((256 << 20)) 'node 0'
    equal "$(pool_bytes 1)" $((128 << 20)) 'node 1'
    mount_node 0
    mount_node 1
    """, nodes=2, mem="1G", boots=1,
             append="guestmemfs=0:256M," + ",".join(parts) + ",1:128M",
             expect=[LINE + ".*" + re.escape(text) for text in parts.values()])
    # One line for each, and all say what happens instead.
    warnings = [l for l in run.boots[0] if "ignored" in l]
    assert len(warnings) == len(parts)


def test_values_that_are_none(vm):
    """Without a value; given in several pieces, which add up."""
    vm(r"""
    check_kho
    equal "$(pool_bytes 0)" $((128 << 20)) 'node 0'
    equal "$(pool_bytes 1)" $((128 << 20)) 'node 1'
    """, nodes=2, mem="1G", boots=1,
       append="guestmemfs guestmemfs= guestmemfs=0:128M guestmemfs=1:0x8000000",
       expect=[LINE + "guestmemfs= has no value, allowed is .*: no pool is made by it"])


def test_too_large_says_what_would_be_accepted(vm):
    # The place of the kernel makes a difference.
    fixed = "nokaslr "
    asked = {0: "90%", 1: "95%"}
    run = vm("check_kho; fails grep guestmemfs /proc/iomem", nodes=2, mem="1G", boots=1,
             append=fixed + "guestmemfs=" + ",".join(f"{n}:{s}" for n, s in asked.items()),
             expect=[LINE + rf"node {n}: a pool of \d+ MiB is too large, "
                     r"at most \d+ MiB are allowed: no pool is made" for n in asked])
    allowed = {}
    for line in run.boots[0]:
        m = re.search(r"node (\d): a pool of \d+ MiB is too large, at most (\d+) MiB", line)
        allowed[int(m.group(1))] = int(m.group(2))
    assert all(mib >= 128 for mib in allowed.values())

    # What is allowed is given, leaves a machine that works, and KHO with it.
    vm(r"""
    check_kho
    check_places 0 1
    mount_node 0
    mount_node 1
    for node in 0 1; do
        if [ "$VM_BOOT" = 1 ]; then
            memfile fill "$(at_node $node)/file" 16M $node
            truncate -s "$(($(free_blocks "$(at_node $node)") * 2))M" "$(at_node $node)/rest"
        fi
        equal "$(free_blocks "$(at_node $node)")" 0 'free blocks'
        memfile check "$(at_node $node)/file" $node
    done
    [ "$VM_BOOT" = 3 ] || vm-kexec
    """, nodes=2, mem="1G", boots=3,
       append=fixed + "guestmemfs=" + ",".join(f"{n}:{mib}M" for n, mib in allowed.items()))

    # And no more than that: one section above is too much.
    vm("check_kho; fails grep guestmemfs /proc/iomem", nodes=2, mem="1G", boots=1,
       append=fixed + "guestmemfs=" + ",".join(f"{n}:{mib + 128}M" for n, mib in allowed.items()),
       expect=[LINE + rf"node {n}: a pool of {mib + 128} MiB is too large, "
               rf"at most {mib} MiB are allowed" for n, mib in allowed.items()])


def test_node_that_is_too_small_for_any(vm):
    vm(r"""
    check_kho
    equal "$(pool_bytes 0)" $((256 << 20)) 'node 0'
    equal "$(pool_bytes 1)" 0 'node 1'
    """, topology="node=0,cpus=0,mem=1G;node=1,cpus=1,mem=384M", boots=1,
       append="guestmemfs=0:256M,1:64M",
       expect=[LINE + r"node 1: has \d+ MiB and the kernel needs \d+ MiB there, "
               "nothing can be set aside: no pool is made"])


@pytest.mark.parametrize("value,sizes,rounded", [
    ("512M", (256, 256), ()),
    ("600M", (256, 256), (0, 1)),
    # To the nearest section, without a word: firmware keeps some pages.
    ("13%", (512, 384) if DEBUG else (128, 128), ()),
    ("0:13%,1:300M", (512 if DEBUG else 128, 256), (1,)),
], ids=["all", "all-rounded", "percent", "mixed"])
def test_sizes(vm, value, sizes, rounded):
    expect = [LINE + rf"node {n}: \d+ bytes asked for are rounded down to {sizes[n]} MiB, "
              "a multiple of 128 MiB" for n in rounded]
    vm(rf"""
    check_kho
    check_places 0 1
    equal "$(pool_bytes 0)" $(({sizes[0]} << 20)) 'node 0'
    equal "$(pool_bytes 1)" $(({sizes[1]} << 20)) 'node 1'
    """, nodes=2, mem="1G", append=f"guestmemfs={value}", boots=1, expect=expect)


def test_less_than_a_section(vm):
    vm("check_kho; fails grep guestmemfs /proc/iomem", nodes=1, mem="1G", boots=1,
       append="guestmemfs=0:100M",
       expect=[LINE + "node 0: a pool of 100 MiB is less than the smallest of 128 MiB: no pool is made"])


def test_without_kho(vm):
    """A pool is made all the same, and it is said that it will not last."""
    vm(r"""
    mount_node 0
    memfile fill /mnt/node0/file 4M 1
    memfile check /mnt/node0/file 1
    equal "$(cat /sys/fs/guestmemfs/kho)" off 'KHO'
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=1, options=["--no-kho"],
       expect=[LINE + r"node 0: KHO is off \(see kho=\): the pool will not survive kexec"])


def test_kdump_kernel_reserves_nothing(vm):
    vm(r"""
    fails grep guestmemfs /proc/iomem
    """, nodes=1, mem="1G", append="guestmemfs=0:256M elfcorehdr=0xfffc0000", boots=1,
       expect=[LINE + "guestmemfs= is ignored in a kdump kernel"])
