# SPDX-License-Identifier: GPL-2.0
"""Devices that user space has: what of guestmemfs they reach, and for how long."""

IOMMU = ["--qemu-args", "-device intel-iommu,intremap=on,aw-bits=48 "
                        "-device edu,dma_mask=0xffffffffffff"]

# Gives the device to user 1000; $device is its address, $group and $cdev its files.
EDU = r"""
for device in /sys/bus/pci/devices/*; do
    [ "$(cat $device/device)" != 0x11e8 ] || break
done
echo vfio-pci > $device/driver_override
basename $device > /sys/bus/pci/drivers_probe
group=/dev/vfio/$(basename "$(readlink $device/iommu_group)")
cdev=/dev/vfio/devices/$(ls $device/vfio-dev)
chown 1000 "$group" "$cdev"
chmod 666 /dev/vfio/vfio /dev/iommu
device=$(basename $device)
"""

WAYS = ["type1", "type1v2", "compat", "ioas-map", "ioas-map-file"]
# How each operation on memory that a device has ends, and whose memory the device reaches then.
OPERATIONS = {
    "truncate": "EBUSY own", "O_TRUNC": "EBUSY own", "punch": "EBUSY own", "MADV_REMOVE": "EBUSY own",
    "unlink": "done own", "rename-over": "done own", "mremap": "EBUSY own", "fork": "EBUSY own",
    "overlay": "EBUSY own", "umount-discard": "EBUSY own", "kill": "done own", "exit": "done own",
}


def test_device_reaches_its_file_alone(vm):
    """Whichever way a device gets memory of a file, no other file ever has that memory before the
    device has lost it. What takes memory from the file fails and changes nothing; a deleted file
    keeps it."""
    run = vm(EDU + r"""
    mount_node 0
    mount_node 1
    chmod 1777 /mnt/node0 /mnt/node1
    mkdir -p /tmp/lower /mnt/node0/upper /mnt/node0/work /tmp/overlay
    chown 1000 /mnt/node0/upper
    mount -t overlay -o lowerdir=/tmp/lower,upperdir=/mnt/node0/upper,workdir=/mnt/node0/work none /tmp/overlay
    dma /mnt/node0 /mnt/node1 /tmp/overlay "$device" "$group" "$cdev"
    umount /tmp/overlay
    for node in 0 1; do
        equal "$(cat /sys/fs/guestmemfs/node$node/check)" ok check
        umount /mnt/node$node
    done
    """, nodes=2, mem="1G", append="guestmemfs=0:128M,1:128M intel_iommu=on", boots=1, options=IOMMU)
    expected = [f"{way} {operation}: {result}" for way in WAYS
                for operation, result in OPERATIONS.items()]
    # iommufd looks at the descriptor itself, which is one of the overlay.
    expected[expected.index("ioas-map-file overlay: EBUSY own")] = "ioas-map-file overlay: EINVAL none"
    assert run.lines(r"^[\w-]+ [\w-]+: (done|E\w+) (own|LEAK|none)$") == expected
