# SPDX-License-Identifier: GPL-2.0
"""A virtual machine of QEMU and KVM, from the start of QEMU to its console."""

from figures import Compare
from machine import GIB, Machine, size_name

SIZE = GIB

FILE = "memory-backend-file,share=on"
MEMFD = "memory-backend-memfd,share=on"

# What is behind id= and size= of the object. guest_memfd is no memory of a guest to QEMU 10.0.
BACKENDS = {
    "guestmemfs": f"{FILE},align=1G,mem-path=/mnt/node1/vm",
    "guestmemfs-prealloc": f"{FILE},align=1G,prealloc=on,mem-path=/mnt/node1/vm",
    "hugetlbfs-1g": f"{MEMFD},hugetlb=on,hugetlbsize=1G",
    "hugetlbfs-1g-prealloc": f"{MEMFD},hugetlb=on,hugetlbsize=1G,prealloc=on",
    "hugetlbfs-2m": f"{MEMFD},hugetlb=on,hugetlbsize=2M",
    "hugetlbfs-2m-prealloc": f"{MEMFD},hugetlb=on,hugetlbsize=2M,prealloc=on",
    "tmpfs-huge": f"{FILE},align=2M,mem-path=/mnt/huge/vm",
    "tmpfs-huge-prealloc": f"{FILE},align=2M,prealloc=on,mem-path=/mnt/huge/vm",
    "memfd-4k": MEMFD,
    "memfd-4k-prealloc": f"{MEMFD},prealloc=on",
}


def machines(quick):
    runs = 2 if quick else 5
    size = size_name(SIZE)
    script = f"""
    mount_node 1
    mount_tmpfs huge huge=always
    huge_pages 2048 {SIZE >> 21}
    """
    for peer, backend in BACKENDS.items():
        if quick and peer.startswith(("tmpfs", "memfd-4k-")):
            continue
        # A gigabyte of zeroes in pieces of 4 KiB takes long, and differs little.
        script += f"""
        nested {peer} {size} {2 if peer == "memfd-4k-prealloc" else runs} {backend.partition("mem-path=")[2] or "-"} qemu-system-x86_64 -accel kvm -cpu $VM_GUEST_CPU -m {size} \\
            -object {backend},id=ram,size={size} -machine q35,memory-backend=ram \\
            -nographic -nodefaults -serial stdio
        """
    # Huge pages, what is small, and QEMU with all that it loads.
    yield Machine("nested", script, topology="node=0,cpus=0,mem=7G;node=1,mem=3G",
                  append="guestmemfs=1:1G hugepagesz=1G hugepages=0:1", memory=8 * GIB)


def derive(_figures):
    return ()


NOTES = (
    "QEMU is started with 1 GiB for its guest, and writes the first byte of the firmware's console. With guestmemfs all "
    "of the memory is the guest's by then; others guarantee that with prealloc=on only. hugetlbfs is taken through "
    "memory-backend-memfd, tmpfs and guestmemfs through memory-backend-file. QEMU 10.0 has no use for guest_memfd "
    "as memory of an ordinary guest.",
    "QEMU preallocates by touching each page of 4 KiB of what it does not know as hugetlbfs, so prealloc=on is no use "
    "with guestmemfs.",
)

WHY = "What others have not allocated yet is what they save here, and what their guests pay for as they run."
# Launch says what guestmemfs has of it.
WHY_AIM = "Nearly all of it is QEMU, which starts."

COMPARE = (
    Compare("QEMU with 1 GiB guaranteed, to the first byte of its console", "first byte", SIZE,
            ("hugetlbfs-1g-prealloc", "hugetlbfs-2m-prealloc", "tmpfs-huge-prealloc", "memfd-4k-prealloc"), aim=155e6,
            key=True, why=WHY_AIM),
    Compare("the same, where others guarantee nothing", "first byte", SIZE,
            ("hugetlbfs-1g", "hugetlbfs-2m", "tmpfs-huge", "memfd-4k"), why=WHY),
    Compare("the same, to the end of the first line", "first line", SIZE,
            ("hugetlbfs-1g-prealloc", "hugetlbfs-2m-prealloc")),
    Compare("prealloc=on for all", "first byte", SIZE, ("hugetlbfs-1g-prealloc", "hugetlbfs-2m-prealloc"),
            ours="guestmemfs-prealloc"),
)

PLOTS = ()
