# SPDX-License-Identifier: GPL-2.0
"""Devices that user space has: what of guestmemfs they can be made to reach."""

REFUSED = (r"guestmemfs: node 0: dma\[\d+\]: VFIO type1 cannot map this memory for a device: "
           r"without a pin, .*; emulated devices, vhost and KVM can use it$")


def test_no_device_reaches_a_file(vm):
    """Each way to map memory for a device refuses a file of guestmemfs, and takes a memfd."""
    run = vm(r"""
    mount_node 0
    chmod 1777 /mnt/node0
    for device in /sys/bus/pci/devices/*; do
        [ "$(cat $device/device)" != 0x11e8 ] || break
    done
    echo vfio-pci > $device/driver_override
    basename $device > /sys/bus/pci/drivers_probe
    group=/dev/vfio/$(basename "$(readlink $device/iommu_group)")
    cdev=/dev/vfio/devices/$(ls $device/vfio-dev)
    chown 1000 "$group" "$cdev"
    chmod 666 /dev/vfio/vfio /dev/iommu
    dma /mnt/node0 "$(basename $device)" "$group" "$cdev"
    """, nodes=1, mem="1G", append="guestmemfs=0:256M intel_iommu=on", boots=1, expect=[REFUSED],
       options=["--qemu-args", "-device intel-iommu,intremap=on,aw-bits=48 "
                               "-device edu,dma_mask=0xffffffffffff"])
    assert run.lines(r"^[\w-]+: (refused|mapped|LEAK)") == [
        "type1: refused EFAULT", "type1v2: refused EFAULT", "compat: refused EFAULT",
        "ioas-map: refused EFAULT", "ioas-map-file: refused EINVAL"]
    assert len([l for l in run.boots[0] if "VFIO type1" in l]) == 2
