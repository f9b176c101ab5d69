# SPDX-License-Identifier: GPL-2.0
"""Who adds or claims memory by its address does not get the memory of pools."""

import ssdt

MIB = 1 << 20


def test_memory_devices(shared_vm, tmp_path):
    """Firmware describes memory of a pool as a device that is added."""
    machine = dict(nodes=2, mem="2G", append="guestmemfs=1:512M nokaslr")
    where = shared_vm("pool_ranges 1 | head -1 | sed 's/^/pool=/'", boots=1, **machine).value("pool")
    start, end = (int(x, 16) for x in where.split())
    end += 1
    devices = {
        "inside": (start + 128 * MIB, 128 * MIB),
        "all of it": (start, end - start),
        "and more": (start - 128 * MIB, end - start + 128 * MIB),
        "across its end": (end - 128 * MIB, 256 * MIB),
        # This is the kernel's.
        "beside": (start - 256 * MIB, 128 * MIB),
    }
    table = tmp_path / "ssdt.aml"
    table.write_bytes(ssdt.table([(base, size, 1) for base, size in devices.values()]))

    shared_vm(f"start={start:#x} end={end:#x}" + r"""
    check_kho
    equal "$(pool_ranges 1 | head -1)" "$(printf '%x %x' $((start)) $((end - 1)))" 'the pool'
    mount_node 1
    [ "$VM_BOOT" != 1 ] || memfile fill /mnt/node1/file 500M 1
    equal "$(ls -d /sys/bus/acpi/devices/PNP0C80:* | wc -l)" 5 devices

    # Nobody adds what is in it, or lies across its end.
    for at in $((start)) $((start + (128 << 20))) $((end - (128 << 20))); do
        fails bash -c "echo $at > /sys/devices/system/memory/probe" 2> /tmp/said
        has "$(cat /tmp/said)" 'File exists' "adding $at"
    done
    grep -m1 -A1 'guestmemfs node1' /proc/iomem > /tmp/iomem
    equal "$(sed -n '2s/^ *\([^ ]*\) : .*/\1/p' /tmp/iomem)" "$(sed -n '1s/ : .*//p' /tmp/iomem)" 'what is in it'
    equal "$(grep -c '^    ' /tmp/iomem || true)" 0 'what is in that'
    memfile check /mnt/node1/file 1
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, boots=2, options=[f"--qemu-args=-acpitable file={table}"], **machine)
