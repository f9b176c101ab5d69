# SPDX-License-Identifier: GPL-2.0
"""The lines of perf in the documentation count what they say."""

import os
import re
import shlex

from conftest import TOP

# What makes each event happen, with what its line filters for, and how often.
CAUSES = {
    "allocate": ("truncate -s 1G /mnt/node0/large", 1),
    "free": ("truncate -s 6M /mnt/node0/f; rm /mnt/node0/f", 1),
    "scrub": ("fallocate -l 64M /mnt/node0/dirty", 32),
    "fault": ("python3 /tmp/by_pages", 512),
    "pin": ("python3 /tmp/pins_a_block", 1),
    "poison": ("echo $phys > /sys/devices/system/memory/hard_offline_page", 1),
}


# As a debugger's or a profiler's mappings can be.
BY_PAGES = """
import mmap, os
m = mmap.mmap(os.open("/mnt/node0/small", os.O_RDWR), 2 << 20)
m.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, 2 << 20, 4096):
    m[at]
"""

# Also without a device: the range is pinned as soon as it has an IOVA.
PINS_A_BLOCK = """
import fcntl, os, struct
iommu = os.open("/dev/iommu", os.O_RDWR)
ioas = bytearray(struct.pack("=III", 12, 0, 0))
fcntl.ioctl(iommu, 0x3b81, ioas)                        # IOMMU_IOAS_ALLOC
fd = os.open("/mnt/node0/small", os.O_RDWR)
fcntl.ioctl(iommu, 0x3b8f, struct.pack("=IIIiQQQ", 40, 6, struct.unpack("=III", ioas)[2], fd,
                                       0, 2 << 20, 0))  # IOMMU_IOAS_MAP_FILE
"""


def documented():
    """{event: words of its line}"""
    with open(os.path.join(TOP, "Documentation/filesystems/guestmemfs/admin-guide.rst"), encoding="utf-8") as f:
        lines = re.findall(r"^\t# (perf .*-e guestmemfs:guestmemfs_(\w+).*) sleep 60$", f.read(),
                           re.MULTILINE)
    return {event: line for line, event in lines}


def count(line, event, cause):
    """Shell script that prints how many events the line counts while the cause runs."""
    # perf stat counts on stderr, perf record says how many samples there are.
    return rf"""
    export phys
    {line} sh -c {shlex.quote(cause)} > out 2>&1 || true
    if grep -q 'Performance counter stats' out; then
        n=$(sed -n 's/^ *\([0-9]*\) *guestmemfs:.*/\1/p' out)
    else
        n=$(perf script 2> /dev/null | grep -c 'guestmemfs:guestmemfs_{event}:' || true)
    fi
    [ "${{n:-0}}" -gt 0 ] || die "{event}: $(cat out)"
    echo "{event}=$n"
    """


def test_lines_of_the_documentation(vm):
    lines = documented()
    assert set(lines) == {*CAUSES, "move", "shrink"}
    script = rf"""
    cd /tmp
    echo '{BY_PAGES}' > by_pages
    echo '{PINS_A_BLOCK}' > pins_a_block
    pause_scrub 0 Y
    mount_node 0
    truncate -s 4M /mnt/node0/small
    memfile fill /mnt/node0/small 4M 1
    # All that is free is dirty, and nobody else zeroes it.
    fallocate -l $(($(free_blocks /mnt/node0) * 2))M /mnt/node0/all
    rm /mnt/node0/all
    phys=0x$(pool_ranges 0 | head -1 | cut -d' ' -f1)
    """
    for event, (cause, _) in CAUSES.items():
        script += count(lines[event], event, cause)
    run = vm(script, nodes=1, mem="2G", append="guestmemfs=0:512M",
             expect=[r"guestmem_pool: node 0: hardware error at 0x"])
    counted = {event: int(run.value(event)) for event in CAUSES}
    assert counted == {event: n for event, (_, n) in CAUSES.items()}


def test_lines_of_changes(vm):
    """One block in a gibibyte, two in another: the one moves. Then the pool gives up a gibibyte."""
    run = vm(r"""
    cd /tmp
    phys=
    mount_node 1
    # Blocks that are zero already go first: all are, so that files lie in this order.
    wait_clean 1
    fallocate -l 1022M /mnt/node1/most
    fallocate -l 4M /mnt/node1/two
    fallocate -l 2M /mnt/node1/one
    rm /mnt/node1/most
    """ + count(documented()["move"], "move", "echo all > /sys/fs/guestmemfs/node1/compact") +
             count(documented()["shrink"], "shrink", "echo -1G > /sys/fs/guestmemfs/node1/target"),
             nodes=2, mem="4G", append="guestmemfs=1:2G nokaslr",
             expect=[r"guestmem_pool: node 1: pool of 2048 MiB has 1024 MiB now"])
    assert (run.value("move"), run.value("shrink")) == ("1", "1")
