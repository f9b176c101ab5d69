# SPDX-License-Identifier: GPL-2.0
"""Pool memory is out of everybody's reach, and costs the kernel nothing."""

# Asks for pool memory wherever user space can ask for memory by its address.
LOOK = r"""
cat > /tmp/look.py <<'END'
import ctypes, errno, mmap, os, re, struct, sys

ranges = []
with open("/proc/iomem") as f:
    for line in f:
        m = re.match(r"\s*([0-9a-f]+)-([0-9a-f]+) : guestmemfs node\d+$", line)
        if m:
            ranges.append((int(m.group(1), 16), int(m.group(2), 16) + 1))
assert ranges, "no pool in /proc/iomem"

def refused(what, fn, *errors):
    try:
        fn()
    except OSError as e:
        assert e.errno in errors, f"{what}: {e}"
        return
    raise SystemExit(f"FAILED: {what} is allowed")

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p

def map_phys(fd, at, prot):
    p = libc.mmap(None, ctypes.c_size_t(4096), prot, 1, fd, ctypes.c_long(at))
    if p == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")

for mode in (os.O_RDONLY, os.O_RDWR):
    fd = os.open("/dev/mem", mode)
    for start, end in ranges:
        for at in (start, start + 123 * 4096, end - 4096):
            refused(f"read of {at:#x}", lambda: os.pread(fd, 4096, at), errno.EPERM)
            refused(f"mmap of {at:#x}", lambda: map_phys(fd, at, 1), errno.EPERM)
            if mode == os.O_RDWR:
                refused(f"write to {at:#x}", lambda: os.pwrite(fd, b"x", at), errno.EPERM)
    # That it is not all of /dev/mem that is closed.
    os.pread(fd, 16, 0xf0000)
    os.close(fd)

# The core file of the kernel: a segment for each piece of memory.
with open("/proc/kcore", "rb") as f:
    ehdr = f.read(64)
    phoff, = struct.unpack_from("<Q", ehdr, 32)
    phentsize, phnum = struct.unpack_from("<HH", ehdr, 54)
    f.seek(phoff)
    phdrs = f.read(phentsize * phnum)
direct = 0
for i in range(phnum):
    kind, _, offset, vaddr, paddr, filesz, _, _ = struct.unpack_from("<IIQQQQQQ", phdrs, i * phentsize)
    if kind != 1 or paddr == 2**64 - 1:
        continue
    direct += 1
    for start, end in ranges:
        assert paddr + filesz <= start or paddr >= end, \
            f"/proc/kcore has {paddr:#x}+{filesz:#x}"
assert direct > 1, "/proc/kcore has no memory at all"
END
/usr/bin/python3 /tmp/look.py

# The kernel's own tables.
cat /sys/kernel/debug/guestmem_pool/node*/reach > /tmp/reach
equal "$(wc -l < /tmp/reach)" "$(grep -c 'guestmemfs node' /proc/iomem)" 'extents'
if grep -v 'direct-map=absent struct-pages=absent$' /tmp/reach; then
    die 'this is within the reach of the kernel'
fi
"""


def test_out_of_reach(vm):
    vm(r"""
    [ "$VM_BOOT" != 2 ] || has "$(cat /proc/cmdline)" iomem=relaxed 'command line'
    mount_node 0
    mount_node 1
    [ "$VM_BOOT" != 1 ] || memfile fill /mnt/node1/file 100M 1
    memfile check /mnt/node1/file 1
    """ + LOOK + r"""
    # The second time without the protection of iomem=.
    [ "$VM_BOOT" = 3 ] || vm-kexec --append iomem=relaxed
    """, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=3)


def test_held_pool_is_out_of_reach(vm):
    """Memory of a pool that cannot be used is not given to anybody either."""
    vm(r"""
    if [ "$VM_BOOT" = 1 ]; then
        damage 1 meta0 0 0xff
        vm-kexec
    fi
    grep -q 'guestmemfs node1' /proc/iomem
    mount -t guestmemfs -o node=1 none /mnt && die 'it can be mounted'
    rm -rf /tmp/reach
    """ + LOOK.replace('equal "$(wc', ': "$(wc'), nodes=2, mem="1G",
       append="guestmemfs=0:256M,1:256M", boots=2,
       expect=[r"guestmem_pool: node 1: metadata block 0 is damaged",
               r"guestmemfs: the pool of node 1 is not used"])


def test_it_costs_nothing(shared_vm):
    """No struct pages, and no more scratch memory for KHO than without pools."""
    script = r"""
    check_kho
    sed -n 's/^MemTotal: *\([0-9]*\) kB$/total=\1/p' /proc/meminfo
    sed -n 's/^nr_memmap_boot_pages \(.*\)/memmap=\1/p' /proc/vmstat
    echo "scratch=$(xargs < /sys/kernel/debug/kho/out/scratch_len)"
    """
    machine = dict(nodes=2, mem="2G", boots=1)
    without = shared_vm(script, **machine)
    with_pools = shared_vm(script, append="guestmemfs=0:1G,1:1G", **machine)

    pool_kb = 2 << 20
    memmap = int(without.value("memmap")) - int(with_pools.value("memmap"))
    # 64 bytes for each page of 4096.
    assert memmap == pool_kb // 4 // 64, f"{memmap} pages of struct pages less"

    total = int(without.value("total")) - int(with_pools.value("total"))
    # What the kernel counts as lost is less than the pools, by their struct pages.
    assert abs(total - (pool_kb - pool_kb // 64)) < 8 << 10, f"{total} kB less"

    scratch = [[int(x, 16) for x in r.value("scratch").split()] for r in (without, with_pools)]
    assert len(scratch[0]) == len(scratch[1])
    # KHO rounds them up to the largest page of the buddy allocator: for the few bytes that pools
    # need by then, that can be one more. Would pools themselves count, it were gigabytes.
    step = 4 << 20
    for i, (a, b) in enumerate(zip(*scratch)):
        assert b <= a + step, f"scratch area {i} is {b:#x} with pools, {a:#x} without"
    assert sum(scratch[1]) > 0


def test_core_dump_leaves_it_out(vm):
    """A program's core has none of the file that it has mapped."""
    vm(r"""
    mount_node 0
    memfile keep /mnt/node0/file 64M 1 > /tmp/keep &
    pid=$!
    wait_for /tmp/keep checksum
    # The mapping of the file, and what the kernel says about it.
    sed -n '\|/mnt/node0/file|,/^VmFlags/p' /proc/$pid/smaps > /tmp/smaps
    has "$(cat /tmp/smaps)" '^VmFlags:.* pf de dd ' 'VmFlags'
    has "$(cat /tmp/smaps)" '^Rss: *0 kB' 'Rss'
    echo /tmp/core > /proc/sys/kernel/core_pattern
    ulimit -c unlimited
    prlimit --pid $pid --core=unlimited
    kill -ABRT $pid
    wait $pid || true
    between 1 $(stat -c %s /tmp/core) $((4 << 20)) 'size of the core'
    """, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=1)


def test_crash_dump_leaves_it_out(vm):
    """What a kernel finds of one that has panicked has all memory, but for the pools."""
    vm(r"""
    if [ "$VM_BOOT" = 1 ]; then
        check_kho
        mount_node 0
        # Words that are nowhere else, neither in a program nor in its buffers.
        memfile fill /mnt/node0/file 64M 1234
        memfile fill /tmp/file 4M 4321
        grep 'guestmemfs node0' /proc/iomem > "$VM_SCRATCH/pool"
        vm-kexec --panic --append nr_cpus=1
    fi
    cat > /tmp/look.py <<'END'
    import re, struct, sys

    def word(seed, i):
        return (i + (seed << 40) + 1) * 0x9e3779b97f4a7c15 % 2**64

    def words(seed):
        return struct.pack("<8Q", *(word(seed, i) for i in range(8)))

    with open(sys.argv[1]) as f:
        pool = [tuple(int(x, 16) for x in re.match(r"\s*(\w+)-(\w+) :", line).groups()) for line in f]
    assert pool
    with open("/proc/vmcore", "rb", buffering=0) as f:
        header = f.read(4096)
        phoff, = struct.unpack_from("<Q", header, 32)
        size, nr = struct.unpack_from("<HH", header, 54)
        total = 0
        for n in range(nr):
            kind, _, _, _, start, length = struct.unpack_from("<IIQQQQ", header, phoff + n * size)
            if kind == 1:
                total += length
                assert all(start > last or start + length <= first for first, last in pool), hex(start)
        found = {1234: 0, 4321: 0}
        f.seek(0)
        # Files begin with a page.
        while part := f.read(4 << 20):
            for seed in found:
                found[seed] += words(seed) in part
    print(f"dumped={total >> 20}")
    print(f"guests={found[1234]}")
    print(f"others={found[4321]}")
    END
    sed -i 's/^    //' /tmp/look.py
    /usr/bin/python3 /tmp/look.py "$VM_SCRATCH/pool" > /tmp/found
    cat /tmp/found
    has "$(cat /tmp/found)" '^guests=0$' 'memory of guests'
    has "$(cat /tmp/found)" '^others=[1-9]' 'memory of others'
    """, nodes=1, mem="3G", append="guestmemfs=0:256M crashkernel=256M", boots=2,
       options=["--allow-warn=sysrq triggered crash"],
       expect=["guestmem_pool: guestmemfs= is ignored in a kdump kernel"])
