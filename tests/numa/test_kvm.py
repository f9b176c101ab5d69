# SPDX-License-Identifier: GPL-2.0
"""A virtual machine of QEMU inside the test machine, whose memory is a file of guestmemfs."""

from conftest import KERNEL

# gpa 1 GiB to 2 GiB is a range that one entry of 1 GiB can map, also in the second stage.
START = rf"""
mount_node 1
export QEMU_LOG=/tmp/serial
mkdir -p /tmp/root/bin /tmp/root/sys
cp "$(command -v busybox)" /tmp/root/bin/
cat > /tmp/root/init <<'INIT'
#!/bin/busybox sh
# What is found and not consumed waits for the guest to look, on AMD's processors.
/bin/busybox mount -t sysfs none /sys
echo 1 > /sys/devices/system/machinecheck/machinecheck0/check_interval
echo 'guest is up'
exec /bin/busybox sleep 100000
INIT
chmod +x /tmp/root/init
(cd /tmp/root && find . | busybox cpio -o -H newc > /tmp/initramfs 2> /dev/null)
: > /tmp/serial

# guest [PROPERTIES]: start it, and wait until it is up
guest() {{
    numactl --cpunodebind=1 qemu-system-x86_64 -accel kvm -cpu "$VM_GUEST_CPU" -m 2G \
        -object "memory-backend-file,id=ram,size=2G,share=on,mem-path=/mnt/node1/vm$1" \
        -machine q35,memory-backend=ram -nographic -nodefaults -no-reboot \
        -serial file:/tmp/serial -kernel {KERNEL} -initrd /tmp/initramfs \
        -append 'console=ttyS0 panic=-1 nohz=off highres=off' > /tmp/qemu 2>&1 &
    qemu=$!
    wait_long 'guest is up'
}}

# wait_long TEXT: until the guest has printed it
wait_long() {{
    for _ in $(seq 3000); do
        if grep -q -- "$1" /tmp/serial; then
            return
        fi
        kill -0 $qemu 2> /dev/null || die "QEMU: $(cat /tmp/qemu /tmp/serial)"
        sleep 0.2
    done
    die "'$1' does not come from the guest: $(tail -n 20 /tmp/serial)"
}}

pages() {{
    cat "/sys/kernel/debug/kvm/pages_$1"
}}
"""

MACHINE = dict(topology="node=0,cpus=0,mem=2G;node=1,cpus=1,mem=5G", append="guestmemfs=1:2G",
               boots=1, options=["--nested", "--timeout=900"])


def test_second_stage_mappings(vm):
    """KVM maps the guest's memory by what maps it in the host."""
    vm(START + r"""
    guest ,align=1G
    # The first GiB has the holes of a PC in it.
    equal "$(pages 1g)" 1 '1 GiB mappings of the second stage'
    [ "$(pages 2m)" -gt 0 ] || die 'no mappings of 2 MiB'
    between 0 "$(pages 4k)" 600 'mappings of 4 KiB'
    [ "$(mount_stat 1 faults_pud)" -ge 1 ] || die 'no 1 GiB mapping in the host'
    equal "$(mount_stat 1 faults_pte)" 0 'mappings of 4 KiB in the host'
    kill $qemu
    """, **MACHINE)


def test_memory_error_reaches_the_guest(vm):
    """A page of the guest fails: QEMU tells the guest's kernel, and both live on."""
    vm(START + r"""
    guest ,align=2M
    # Free memory in the guest, below its kernel's structures at the top.
    phys=$(memfile where /mnt/node1/vm | sed -n 's/.* blocks at \(0x[0-9a-f]*\)-.*/\1/p;q')
    echo $((phys + 0x30000000)) > /sys/devices/system/memory/hard_offline_page
    wait_long 'Memory failure: 0x30000: recovery action for .*: Recovered'
    kill -0 $qemu
    equal "$(mount_stat 1 poisoned_pages)" 1 'pages'
    kill $qemu
    """, expect=[r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used"],
       **MACHINE)
