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


def test_lines_of_the_documentation(vm):
    lines = documented()
    assert set(lines) == set(CAUSES)
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
    phys=0x$(pool_ranges 0 | cut -d' ' -f1)
    """
    for event, line in lines.items():
        cause = shlex.quote(CAUSES[event][0])
        # perf stat counts on stderr, perf record says how many samples there are.
        script += rf"""
    export phys
    {line} sh -c {cause} > out 2>&1 || true
    if grep -q 'Performance counter stats' out; then
        n=$(sed -n 's/^ *\([0-9]*\) *guestmemfs:.*/\1/p' out)
    else
        n=$(perf script 2> /dev/null | grep -c 'guestmemfs:guestmemfs_{event}:' || true)
    fi
    [ "${{n:-0}}" -gt 0 ] || die "{event}: $(cat out)"
    echo "{event}=$n"
    """
    run = vm(script, nodes=1, mem="2G", append="guestmemfs=0:512M",
             expect=[r"guestmem_pool: node 0: hardware error at 0x"])
    counted = {event: int(run.value(event)) for event in lines}
    assert counted == {event: n for event, (_, n) in CAUSES.items()}
