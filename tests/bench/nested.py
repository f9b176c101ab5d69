# SPDX-License-Identifier: GPL-2.0
"""A virtual machine of QEMU and KVM, from the start of QEMU to its console."""

from figures import Compare
from machine import GIB, Machine, size_name

SIZE = GIB

FILE = "memory-backend-file,share=on"
MEMFD = "memory-backend-memfd,share=on"

# The options of the object except id= and size=. QEMU 10.0 does not use guest_memfd for ordinary guests.
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
        # To zero a gibibyte in pages of 4 KiB takes long, and differs little.
        script += f"""
        nested {peer} {size} {2 if peer == "memfd-4k-prealloc" else runs} {backend.partition("mem-path=")[2] or "-"} qemu-system-x86_64 -accel kvm -cpu $VM_GUEST_CPU -m {size} \\
            -object {backend},id=ram,size={size} -machine q35,memory-backend=ram \\
            -nographic -nodefaults -serial stdio
        """
    # Huge pages, small pages, and QEMU with the files that it loads.
    yield Machine("nested", script, topology="node=0,cpus=0,mem=7G;node=1,mem=3G",
                  append="guestmemfs=1:1G hugepagesz=1G hugepages=0:1", memory=8 * GIB)


def derive(_figures):
    return ()


NOTES = (
    "From the start of QEMU, with 1 GiB for its guest, to the first byte on the console of its firmware. By then, "
    "guestmemfs has allocated all memory of the guest; others do so only with prealloc=on. hugetlbfs is used through "
    "memory-backend-memfd, tmpfs and guestmemfs through memory-backend-file. QEMU 10.0 does not use guest_memfd for "
    "ordinary guests.",
    "QEMU preallocates by touching each page of 4 KiB, except on hugetlbfs, so prealloc=on is of no use with "
    "guestmemfs.",
    "Runs differ widely, and single ones count some G instructions more. Whenever the machine is idle, such as while it "
    "waits for a file of the host, its clock skips to the next timer, and that time counts. Compare the medians.",
)

WHY = "The others have not allocated the memory yet; their guests pay for that while they run."
# See Launch for the part of guestmemfs.
WHY_AIM = "Nearly all of it is the start of QEMU."

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
