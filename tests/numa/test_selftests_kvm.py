# SPDX-License-Identifier: GPL-2.0
"""KVM's selftests of guest_memfd: as they are, and with files of guestmemfs as its memory."""

import re

TESTS = ["guest_memfd_test", "pre_fault_memory_test", "private_mem_conversions_test",
         "private_mem_conversions_test -n 4 -m 2", "private_mem_kvm_exits_test",
         "set_memory_region_test"]


def run(vm, tests, env=""):
    """{test: (status, number of guest_memfds whose memory is a file)}"""
    out = vm(rf"""
    mount_node 1
    cd "$(dirname "$(command -v gmem)")/kvm-selftests"
    while read -r test; do
        : > /tmp/count
        status=0
        on_one_cpu env {env} ./$test < /dev/null > /tmp/said 2>&1 || status=$?
        [ $status = 0 ] || cat /tmp/said
        echo "selftest: $status $(stat -c %s /tmp/count) $test"
    done << END
{chr(10).join(tests)}
END
    equal "$(cat /sys/fs/guestmemfs/node1/attached_files)" 0 'attached files'
    equal "$(cat /sys/fs/guestmemfs/node1/private_files)" 0 'private files'
    equal "$(free_blocks /mnt/node1)" "$(total_blocks /mnt/node1)" 'free blocks'
    """, topology="node=0,cpus=0,mem=2G;node=1,cpus=1,mem=3G", append="guestmemfs=1:1G",
             options=["--nested", "--timeout=600"], boots=1).out
    return {test: (int(status), int(count))
            for status, count, test in re.findall(r"^selftest: (\d+) (\d+) (.*)$", out, re.MULTILINE)}


def test_folios(vm):
    """A guest_memfd with folios of its own is as it was."""
    found = run(vm, TESTS)
    assert found == {test: (0, 0) for test in TESTS}


def test_files(vm):
    tests = [test.replace("guest_memfd_test", "guest_memfd_backed") for test in TESTS]
    found = run(vm, tests, "LD_PRELOAD=./gmem_preload.so GMFS_DIR=/mnt/node1 GMFS_COUNT=/tmp/count")
    assert list(found) == tests
    assert all(not status and count for status, count in found.values()), found
