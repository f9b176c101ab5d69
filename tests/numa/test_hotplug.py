# SPDX-License-Identifier: GPL-2.0
"""Memory of pools is not added, claimed or removed by its address."""

import threading
import time

import pytest

import ssdt
from conftest import DEBUG
from qmp import monitor

LINE = r"guestmem_pool: "
MIB = 1 << 20

# Asks to remove each memory device of firmware that has memory of a pool.
EJECT = r"""
failed() {
    dmesg | grep -c 'Offline failed' || true
}
for device in /sys/bus/acpi/devices/PNP0C80:*; do
    [ "$(cat $device/path)" != '\_SB_.GM04' ] || continue
    before=$(failed)
    echo 1 > $device/eject
    for _ in $(seq 100); do
        [ "$(failed)" = "$before" ] || break
        sleep 0.1
    done
    equal "$(failed)" $((before + 1)) "refusal to eject $device"
done
has "$(dmesg)" 'guestmem_pool node1:PNP0C80:.*Offline failed' 'what refuses'
fails grep -l offline /sys/devices/system/memory/memory*/state
"""


def test_memory_devices(shared_vm, tmp_path):
    """Firmware describes memory of a pool as a device that can be added and removed."""
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

    run = shared_vm(f"start={start:#x} end={end:#x}" + r"""
    check_kho
    equal "$(pool_ranges 1 | head -1)" "$(printf '%x %x' $((start)) $((end - 1)))" 'the pool'
    mount_node 1
    [ "$VM_BOOT" != 1 ] || memfile fill /mnt/node1/file 500M 1
    ls -d /sys/bus/acpi/devices/PNP0C80:*

    # Nothing can be added within it or across its end.
    for at in $((start)) $((start + (128 << 20))) $((end - (128 << 20))); do
        fails bash -c "echo $at > /sys/devices/system/memory/probe" 2> /tmp/said
        has "$(cat /tmp/said)" 'File exists' "adding $at"
    done
    grep -m1 -A1 'guestmemfs node1' /proc/iomem > /tmp/iomem
    equal "$(sed -n '2s/^ *\([^ ]*\) : .*/\1/p' /tmp/iomem)" "$(sed -n '1s/ : .*//p' /tmp/iomem)" 'what is in it'
    equal "$(grep -c '^    ' /tmp/iomem || true)" 0 'what is in that'
    """ + EJECT + r"""
    memfile check /mnt/node1/file 1

    # What holds them is to be seen, and stays.
    for device in /sys/bus/guestmem_pool/devices/*; do
        fails bash -c "echo 0 > $device/online" 2> /tmp/said
        has "$(cat /tmp/said)" 'Device or resource busy' "$device"
        cat $device/firmware_node/path
    done | sort > /tmp/held
    equal "$(paste -sd" " /tmp/held)" '\_SB_.GM00 \_SB_.GM01 \_SB_.GM02 \_SB_.GM03' 'devices that are held'
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, boots=2, options=[f"--qemu-args=-acpitable file={table}"],
                    expect=[LINE + r"node 1: memory device PNP0C80:\d\d holds memory of the pool, "
                            "its removal is refused"], **machine)
    for boot in run.boots:
        assert len([l for l in boot if "its removal is refused" in l]) == 4


def wait_for_file(path):
    deadline = time.monotonic() + 600
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.1)


@pytest.mark.skipif(DEBUG, reason="the debug kernel's machine has room for the pool elsewhere")
def test_dimm(vm, tmp_path):
    """A pool on a module of memory that QEMU is asked to remove."""
    scratch = tmp_path / "scratch"
    qmp = str(tmp_path / "qmp")
    base, size = 16 << 30, 1 << 30
    left = []

    def remove():
        for boot in (1, 2):
            wait_for_file(scratch / f"remove{boot}")
            monitor(qmp, [("device_del", {"id": "dimm"})])
            wait_for_file(scratch / f"refused{boot}")
            left.append(monitor(qmp, [("query-memory-devices", {})])[0])
            (scratch / f"seen{boot}").touch()

    remover = threading.Thread(target=remove, daemon=True)
    remover.start()
    # memmap= is how the kernel has it from the start: QEMU has no modules in its memory map. The
    # second one has room for what the kernel keeps on the node.
    vm(rf"""
    check_kho
    # All of the module: nothing else on it could refuse.
    has "$(pool_ranges 1)" '^{base:x} {base + size - 1:x}$' 'the pool'
    mount_node 1
    [ "$VM_BOOT" != 1 ] || memfile fill /mnt/node1/file 1100M 1
    touch "$VM_SCRATCH/remove$VM_BOOT"
    for _ in $(seq 300); do
        dmesg | grep -q 'Offline failed' && break
        sleep 0.1
    done
    dmesg | grep 'Offline failed' || die 'removal is not refused'
    touch "$VM_SCRATCH/refused$VM_BOOT"
    for _ in $(seq 300); do
        [ ! -e "$VM_SCRATCH/seen$VM_BOOT" ] || break
        sleep 0.1
    done
    memfile check /mnt/node1/file 1
    [ "$VM_BOOT" = 2 ] || vm-kexec
    """, nodes=2, mem="1G", boots=2, append=f"guestmemfs=1:1152M memmap={2 * size:#x}@{base:#x}",
       expect=[LINE + r"node 1: memory device PNP0C80:\d\d holds memory of the pool, "
               "its removal is refused"],
       options=[f"--qemu-args=-qmp unix:{qmp},server=on,wait=off -m 2G,slots=2,maxmem=32G " +
                " ".join(f"-object memory-backend-ram,id=more{at:x},size={size},reserve=off "
                         f"-device pc-dimm,id={name},memdev=more{at:x},node=1,addr={at:#x}"
                         for name, at in (("dimm", base), ("rest", base + size)))])
    assert [[device["data"]["id"] for device in devices] for devices in left] == [["dimm", "rest"]] * 2
