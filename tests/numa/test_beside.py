# SPDX-License-Identifier: GPL-2.0
"""Pools beside what else moves, takes or locks memory, and what else starts the kernel."""

import threading
import time

import pytest

from qmp import monitor

OVMF = "/usr/share/OVMF/OVMF_CODE_4M.fd"

# What every kernel is asked: places, data and metadata are what they were.
SCRIPT = r"""
check_kho
check_places $POOLS
for node in $POOLS; do
    mount_node $node
    dir=$(at_node $node)
    [ "$VM_BOOT" != 1 ] || memfile fill $dir/file 32M $node
    memfile where $dir/file $node > /tmp/where || die "$(cat /tmp/where)"
    memfile check $dir/file $node
    equal "$(cat /sys/fs/guestmemfs/node$node/check)" ok "node $node"
done
"""
AGAIN = r"""
[ "$VM_BOOT" = 2 ] || vm-kexec
"""


def test_power(vm):
    """Hibernation would lose all pools; what is in them, if it is refused, is not lost."""
    vm("POOLS='0 1'" + SCRIPT + r"""
    for state in /sys/power/state /dev/snapshot; do
        [ -e $state ] || die "no $state"
    done
    fails bash -c 'echo disk > /sys/power/state' 2> /tmp/said
    has "$(cat /tmp/said)" 'Operation not permitted' 'hibernation'
    fails bash -c ': < /dev/snapshot' 2> /tmp/said
    has "$(cat /tmp/said)" 'Operation not permitted' 'saving a snapshot'
    fails bash -c ': > /dev/snapshot' 2> /tmp/said
    has "$(cat /tmp/said)" 'Operation not permitted' 'restoring a snapshot'
    # Suspend as far as it goes without devices that can.
    echo freezer > /sys/power/pm_test
    echo mem > /sys/power/state
    for node in 0 1; do
        memfile check /mnt/node$node/file $node
    done
    """ + AGAIN, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=2,
       expect=[r"guestmem_pool: hibernation is refused: an image does not hold the memory of pools",
               r"guestmem_pool: resuming from hibernation is refused"])


def test_power_without_pools(vm):
    """Nobody else's hibernation is hindered."""
    vm(r"""
    : < /dev/snapshot
    """, nodes=1, mem="1G", boots=1)


def test_processors_come_and_go(vm):
    """Those of a node, all of them, while its memory is zeroed and used; and at the kexec."""
    vm("POOLS='0 1'" + SCRIPT + r"""
    cpus=/sys/devices/system/cpu
    if [ "$VM_BOOT" = 1 ]; then
        # Those of node 1 are the last two.
        for round in 1 2 3; do
            truncate -s 400M /mnt/node1/more
            rm /mnt/node1/more
            for state in 0 1; do
                for cpu in 2 3; do
                    echo $state > $cpus/cpu$cpu/online
                done
                memfile fill /mnt/node1/busy 64M $round
                memfile check /mnt/node1/busy $round
            done
        done
        rm /mnt/node1/busy
        wait_clean 1
        echo 0 > $cpus/cpu2/online
        echo 0 > $cpus/cpu3/online
        equal "$(cat $cpus/online)" 0-1 'processors'
    fi
    """ + AGAIN, nodes=2, cpus=4, mem="2G", append="guestmemfs=0:128M,1:512M", boots=2)


# Uses memory of a device: at both ends and in the middle.
USE_BAR = r"""
import mmap, os, sys
size = int(sys.argv[2])
for name in "resource2", "resource2_wc":
    fd = os.open(f"{sys.argv[1]}/{name}", os.O_RDWR)
    for at in 0, size // 2, size - (2 << 20):
        with mmap.mmap(fd, 2 << 20, offset=at) as m:
            m[:8] = m[-8:] = name[-8:].encode()
            assert m[:8] == m[-8:] == name[-8:].encode()
"""


def test_memory_goes_and_comes(vm):
    """All of a node's memory that can be set offline; none of it is the pool's. The memory of a
    device, which is larger than the machine's, is beside the pools, too."""
    run = vm("POOLS='0 1'" + SCRIPT + f"use_bar='{USE_BAR}'" + r"""
    device=$(dirname "$(grep -l 0x1110 /sys/bus/pci/devices/*/device)")
    read -r bar_start bar_end _ < <(sed -n 3p "$device/resource")
    equal $((bar_end - bar_start + 1)) $((8 << 30)) 'memory of the device'
    for node in 0 1; do
        while read -r start end; do
            [ $((0x$end < bar_start || 0x$start > bar_end)) = 1 ] ||
                die "$start-$end of the pool is the device's: $bar_start-$bar_end"
        done < <(pool_ranges $node)
    done
    echo 1 > "$device/enable"
    python3 -c "$use_bar" "$device" $((8 << 30))
    memfile check /mnt/node0/file 0
    memfile check /mnt/node1/file 1

    memory=/sys/devices/system/memory
    size=$((0x$(cat $memory/block_size_bytes)))
    for node in 0 1; do
        while read -r start end; do
            for ((at = 0x$start; at < 0x$end; at += size)); do
                [ ! -e $memory/memory$((at / size)) ] || die "a block of memory at $at of the pool"
            done
        done < <(pool_ranges $node)
    done
    offline=
    for block in /sys/devices/system/node/node1/memory*; do
        if echo offline > $block/state 2> /dev/null; then
            offline+=" $block"
        fi
    done
    echo "offline=$(wc -w <<< "$offline")"
    memfile check /mnt/node1/file 1
    truncate -s 200M /mnt/node1/more
    memfile zero /mnt/node1/more
    rm /mnt/node1/more
    for block in $offline; do
        echo online_kernel > $block/state
    done
    memfile check /mnt/node1/file 1
    """, nodes=2, mem="2G", append="guestmemfs=0:256M,1:512M movable_node", boots=1,
             options=["--qemu-args=-object memory-backend-ram,id=bar,size=8G,share=on,reserve=off "
                      "-device ivshmem-plain,memdev=bar"])
    assert int(run.value("offline")) > 0


def test_memory_is_added(vm, tmp_path):
    """More memory for a node that has a pool, by ACPI and virtio-mem: programs get it, and nothing
    that KHO preserves, as the next kernel starts without it."""
    scratch = tmp_path / "scratch"
    qmp = str(tmp_path / "qmp")

    def wait_for(wish):
        deadline = time.monotonic() + 600
        while not (scratch / wish).exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    def request(size):
        return ("qom-set", {"path": "/machine/peripheral/vmem", "property": "requested-size", "value": size})

    def change():
        wait_for("more")
        monitor(qmp, [
            ("object-add", {"qom-type": "memory-backend-ram", "id": "more", "size": 512 << 20}),
            ("device_add", {"driver": "pc-dimm", "id": "dimm", "memdev": "more", "node": 1})])
        wait_for("less")
        monitor(qmp, [request(0)])
        # The driver tries again after 50 s, or at once if it is asked for another size.
        for _ in range(15):
            time.sleep(10)
            if (scratch / "done").exists():
                break
            monitor(qmp, [request(2 << 20), request(0)])

    changer = threading.Thread(target=change, daemon=True)
    changer.start()
    vm("POOLS='0 1'" + SCRIPT + r"""
    grep -H MemTotal /sys/devices/system/node/node*/meminfo
    total() {
        sed -n 's/.*MemTotal: *\([0-9]*\) kB/\1/p' /sys/devices/system/node/node1/meminfo
    }
    if [ "$VM_BOOT" = 1 ]; then
        before=$(total)
        touch "$VM_SCRATCH/more"
        for _ in $(seq 100); do
            blocks=$(grep -l offline /sys/devices/system/node/node1/memory*/state || true)
            [ "$(wc -w <<< "$blocks")" != 6 ] || break
            sleep 0.2
        done
        equal "$(wc -w <<< "$blocks")" 6 'blocks that are added'
        for block in $blocks; do
            for type in online online_kernel; do
                fails bash -c "echo $type > $block 2> /tmp/said"
                has "$(cat /tmp/said)" 'Operation not permitted' "$type"
            done
            echo online_movable > $block
        done
        between $((before + 750000)) "$(total)" $((before + 800000)) 'kB of node 1'
        touch "$VM_SCRATCH/less"
        for _ in $(seq 750); do
            [ "$(total)" -gt $((before + 540000)) ] || break
            sleep 0.2
        done
        touch "$VM_SCRATCH/done"
        between $((before + 500000)) "$(total)" $((before + 540000)) 'kB of node 1, with less again'
        memfile check /mnt/node1/file 1
    fi
    """ + AGAIN, nodes=2, mem="1536M", append="guestmemfs=0:256M,1:256M", boots=2,
       expect=[r"guestmem_pool: memory 0x[0-9a-f]+-0x[0-9a-f]+ has been added since boot, and the "
               "next kernel starts without it: it can be set online as online_movable only"],
       options=[f"--qemu-args=-qmp unix:{qmp},server=on,wait=off -m 3G,slots=2,maxmem=8G "
                "-object memory-backend-ram,id=backend,size=512M,reserve=off "
                "-device virtio-mem-pci,id=vmem,memdev=backend,node=1,requested-size=256M"])
    changer.join()


# name: words of the command line, pools
WORDS = {
    "mem": ("guestmemfs=0:256M,1:256M mem=5888M", [0, 1]),
    "memmap-reserves": ("guestmemfs=0:256M,1:256M memmap=64M$0x50000000 memmap=1M$0x160000000", [0, 1]),
    "hugetlb-cma": ("guestmemfs=0:256M,1:256M hugepages=32 cma=64M movablecore=256M", [0, 1]),
    "crash-kernel": ("guestmemfs=1:256M crashkernel=128M", [1]),
    "nokaslr-nosmp": ("guestmemfs=0:256M,1:256M nokaslr nosmp", [0, 1]),
    "kho-scratch": ("guestmemfs=0:1G,1:1G kho_scratch=64M,192M,96M", [0, 1]),
    "kho-scratch-percent": ("guestmemfs=0:1G,1:1G kho_scratch=150%", [0, 1]),
    "page-tables": ("guestmemfs=0:256M,1:256M nogbpages no5lvl", [0, 1]),
    "page-attributes": ("guestmemfs=0:256M,1:256M nopat nopcid", [0, 1]),
}


@pytest.mark.parametrize("words", WORDS)
def test_command_line(vm, words):
    append, pools = WORDS[words]
    vm(f"POOLS='{' '.join(map(str, pools))}'" + SCRIPT + r"""
    case " $(cat /proc/cmdline) " in
    *" hugepages=32 "*)
        equal "$(sed -n 's/^HugePages_Total: *//p' /proc/meminfo)" 32 'huge pages'
        # Secret memory too, whose pages leave the direct map one by one.
        /usr/bin/python3 -B - << 'END'
import ctypes, mmap, os
fd = ctypes.CDLL(None, use_errno=True).syscall(447, 0)
assert fd >= 0, os.strerror(ctypes.get_errno())
os.ftruncate(fd, 4 << 20)
m = mmap.mmap(fd, 4 << 20)
m[:] = b"s" * (4 << 20)
END
        ;;
    esac
    """ + AGAIN, nodes=2, mem="2G", append=append, boots=2)


def test_five_levels(vm):
    """Page tables of five levels, for the host and for what it maps."""
    vm("POOLS='0 1'" + SCRIPT + r"""
    has "$(cat /proc/cpuinfo)" '^flags.* la57' 'five levels'
    """ + AGAIN, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=2,
       options=["--qemu-args=-cpu EPYC,+la57"])


def test_efi(vm):
    """Firmware that leaves memory in many pieces, and what it wants to keep."""
    vm("POOLS='0 1'" + SCRIPT + r"""
    [ -d /sys/firmware/efi ] || die 'not booted by EFI'
    """ + AGAIN, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=2,
       options=[f"--qemu-args=-drive if=pflash,format=raw,readonly=on,file={OVMF}"])


def test_lockdown(vm):
    """All works, and root sees no memory of guests either."""
    vm("POOLS='0 1'" + SCRIPT.replace("check_kho", "") + r"""
    mount -t securityfs none /sys/kernel/security
    has "$(cat /sys/kernel/security/lockdown)" '\[confidentiality\]' lockdown
    fails head -c 1 /dev/mem 2> /dev/null
    fails head -c 1 /proc/kcore 2> /dev/null
    fails sh -c 'echo "super 0 1" > /sys/kernel/debug/guestmem_pool/node1/damage' 2> /dev/null
    fails kexec -c -l /run/vm/host/none 2> /dev/null
    for node in 0 1; do
        memfile check /mnt/node$node/file $node
    done
    """, nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M lsm=lockdown lockdown=confidentiality",
       boots=1)


# Huge pages of node 1, and the nodes whose pool is refused.
HUGE_PAGES = {"one-node": (100, [0]), "both-nodes": (600, [0, 1])}


@pytest.mark.parametrize("case", HUGE_PAGES)
def test_huge_pages(vm, case):
    """Huge pages of the command line and a pool that do not fit both: the pool is refused, and the
    figure that the log allows instead is one that fits."""
    number, refused = HUGE_PAGES[case]
    run = vm(r"""
    check_kho
    for node in 0 1; do
        pages=/sys/devices/system/node/node$node/hugepages/hugepages-2048kB
        echo "pages$node=$(cat $pages/nr_hugepages)"
        mkdir -p /mnt/node$node
        if fsmount guestmemfs /mnt/node$node node=$node 2> /dev/null; then
            echo "node $node is mounted"
        fi
    done
    gm_log | sed -n 's/.*: \(node .\): .*at most \([0-9]*\) MiB are allowed.*/\1 is allowed \2/p'
    """, nodes=2, mem="3G", append=f"hugepages=0:600,1:{number} guestmemfs=60%", boots=1,
       expect=[rf"guestmem_pool: node {node}: {text}" for node in refused for text in
               (r"a pool of \d+ MiB is too large, at most \d+ MiB are allowed",
                r"hugepages= and hugetlb_cma= ask for 1200 MiB there")])
    assert (int(run.value("pages0")), int(run.value("pages1"))) == (600, number)
    assert run.lines("^node . is mounted") == [f"node {n} is mounted" for n in (0, 1)
                                              if n not in refused]
    allowed = {int(l[5]): int(l.split()[-1]) for l in run.lines("^node . is allowed")}
    assert sorted(allowed) == refused
    # 60 % of 3 GiB are 1843 MiB, and huge pages have 1200 of 3072.
    assert all(256 <= size < 1792 for size in allowed.values()), allowed
    if len(allowed) == 2:
        vm(r"""
        check_kho
        for node in 0 1; do
            equal "$(cat /sys/devices/system/node/node$node/hugepages/hugepages-2048kB/nr_hugepages)" \
                600 "huge pages of node $node"
            mount_node $node
        done
        """, nodes=2, mem="3G", boots=1,
           append=f"hugepages=0:600,1:600 guestmemfs=0:{allowed[0]}M,1:{allowed[1]}M")


def test_hugetlb_cma(vm):
    """KHO sets aside twice as much as hugetlb_cma= takes, on its node and once more for all: a pool
    that leaves room for the gigabyte alone is refused, or KHO would turn itself off."""
    vm(r"""
    dmesg | grep -q 'hugetlb_cma: reserved 1024 MiB on node 1' || die "hugetlb_cma"
    [ -d /sys/kernel/debug/kho/out ] || die "KHO is off"
    fails fsmount guestmemfs /mnt node=1
    mount_node 0
    """, topology="node=0,cpus=0,mem=1G;node=1,mem=12G",
       append="hugetlb_cma=1:1G guestmemfs=0:256M,1:8G", boots=1,
       expect=[r"guestmem_pool: node 1: a pool of 8192 MiB is too large, at most \d+ MiB are allowed",
               r"guestmem_pool: node 1: hugepages= and hugetlb_cma= ask for 1024 MiB there"])
