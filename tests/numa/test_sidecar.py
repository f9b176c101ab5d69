# SPDX-License-Identifier: GPL-2.0
"""A virtual machine of QEMU and KVM gives memory to a second one, and gets it back.

Both run at the same time, on one processor: see test_liveupdate.py.
"""

import pytest

from conftest import KERNEL
from test_liveupdate import check_lives, told
from test_migration import NOT_EMPTY, RAM, SETUP
from tool import build

pytestmark = pytest.mark.long

# As sizes are printed.
END = "1G" if RAM == 512 else f"{2 * RAM}M"

SETUP += rf"""
cd /run/guestmemfs/node1
# The guest takes other memory each round, also what was plugged in the meantime.
arguments="-m {RAM},slots=1,maxmem=4G
           -append 'console=ttyS0 panic=-1 quiet nohz=off highres=off memhp_default_state=online_movable again=1'"

unplug_dimm() {{
    vmm do 1 device_del '{{"id": "dimm"}}' then until 1 '[]' query-memory-devices > /dev/null
}}
# remove_backend: QEMU unmaps the memory some time after its answer
remove_backend() {{
    local maps=/proc/$(pgrep -o qemu-system)/maps
    local before=$(grep -c /vm1 $maps)
    vmm do 1 object-del '{{"id": "more"}}' > /dev/null
    for _ in $(seq 100); do
        [ "$(grep -c /vm1 $maps)" = $before ] || return 0
        sleep 0.1
    done
    die 'QEMU maps the memory of a backend that is gone'
}}
# unplug: the DIMM and its backend
unplug() {{
    unplug_dimm
    remove_backend
}}
# plug FILE OFFSET: a DIMM with that memory; the guest fills some of it
plug() {{
    vmm do 1 object-add "{{\"qom-type\": \"memory-backend-file\", \"id\": \"more\", \"mem-path\": \"$1\",
        \"offset\": $2, \"size\": $(({RAM} << 20)), \"share\": true, \"align\": $((2 << 20))}}" \
        then do 1 device_add '{{"driver": "pc-dimm", "id": "dimm", "memdev": "more"}}' > /dev/null
    await_use "$1" "$2"
}}
# await_use FILE OFFSET: until the guest has filled some of the DIMM there
await_use() {{
    for _ in $(seq 60); do
        [ "$(filled "$1" "$2")" = 0 ] || return 0
        vmm ticks 1 4
    done
    die 'the guest does not use the DIMM'
}}
# filled FILE OFFSET: blocks from there on that are not zeroes
filled() {{
    /usr/bin/python3 -S -c '{NOT_EMPTY}' "$@"
}}
# refused RANGE WHY OPTION...: QEMU says why that range cannot be carved out
refused() {{
    range=$1 why=$2
    shift 2
    if gmfs-numa carve --qmp /tmp/vm1.qmp --size {RAM}M "$@" vm1.ram vm1.side.ram 2> /tmp/err; then
        die "$range is taken"
    fi
    has "$(cat /tmp/err)" "vm1.ram: $range: $why" 'why not'
}}
# run_both: the guests, each as long as it takes for two lines
run_both() {{
    vmm ticks 1 2 then ticks 1.side 2
    equal "$(cat /tmp/vm1.log /tmp/vm1.side.log)" '' 'what QEMU complains of'
}}
end_side() {{
    vmm do 1.side quit > /dev/null
    while [ "$(pgrep -c qemu-system)" != 1 ]; do
        sleep 0.1
    done
}}
"""

HOST = dict(nodes=2, cpus=1, mem="4G", options=["--nested", "--timeout=900"])


@pytest.fixture(scope="module", autouse=True)
def gmfs_numa():
    build()


def test_part_of_a_file(vm):
    """A range of the file of a machine that runs is carved out. Both machines live through a kexec."""
    run = vm(SETUP + rf"""
    if [ "$VM_BOOT" = 1 ]; then
        truncate -s {2 * RAM}M vm1.ram
        VMM_ARGS="-object memory-backend-file,id=more,mem-path=vm1.ram,offset={RAM}M,size={RAM}M,share=on,align=2M
                  -device pc-dimm,id=dimm,memdev=more $arguments" start 1
        await_use vm1.ram $(({RAM} << 20))
        # There is no free memory but for the states.
        truncate -s $((($(free_blocks .) - 4) * 2))M rest
        if gmfs-numa carve --size {RAM}M vm1.ram vm1.side.ram 2> /tmp/err; then
            die 'memory that the guest uses is taken'
        fi
        has "$(cat /tmp/err)" "mapped by $(pgrep qemu-system)" 'why not'
        # QEMU names what has it: the machine itself, the DIMM, and then its backend.
        refused '0B to {RAM}M' 'memory of the machine, by backend "ram0"' --offset 0
        refused '{RAM}M to {END}' 'plugged into the guest by dimm "dimm"' --offset {RAM}M
        unplug_dimm
        refused '{RAM}M to {END}' 'memory backend "more": object-del removes it' --offset {RAM}M
        remove_backend
        gmfs-numa carve --qmp /tmp/vm1.qmp --size {RAM}M vm1.ram vm1.side.ram
        equal "$(used vm1.ram) $(used vm1.side.ram)" '{RAM // 2} {RAM // 2}' 'blocks of the files'
        equal "$(filled vm1.side.ram 0)" 0 'blocks with old contents'
        start 1.side
        run_both
        for machine in 1 1.side; do
            vmm save $machine then last $machine
        done
        vm-kexec
    fi
    VMM_ARGS=$arguments vmm resume 1 {RAM}M {KERNEL} $initrd
    vmm resume 1.side {RAM}M {KERNEL} $initrd
    run_both
    equal "$(used vm1.ram) $(used vm1.side.ram)" '{RAM // 2} {RAM // 2}' 'blocks of the files'
    gmfs-numa verify vm1.ram vm1.side.ram
    if gmfs-numa uncarve vm1.side.ram vm1.ram 2> /tmp/err; then
        die 'memory that the side-car uses is taken'
    fi
    has "$(cat /tmp/err)" 'it is in use' 'why not'
    end_side
    gmfs-numa uncarve vm1.side.ram vm1.ram
    equal "$(filled vm1.ram $(({RAM} << 20)))" 0 'blocks with contents of the side-car'
    plug vm1.ram $(({RAM} << 20))
    vmm ticks 1 2
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
    """, append=f"guestmemfs=1:{2 * RAM + 128}M", boots=2, **HOST)
    check_lives(told(run).values())


def test_whole_file(vm):
    """A DIMM with a file of its own becomes the memory of the second machine."""
    run = vm(SETUP + rf"""
    VMM_ARGS=$arguments start 1 then ticks 1 1
    plug vm1.side.ram 0
    unplug
    fallocate -z -l {RAM}M vm1.side.ram
    equal "$(filled vm1.side.ram 0)" 0 'blocks with old contents'
    start 1.side
    run_both
    end_side
    fallocate -z -l {RAM}M vm1.side.ram
    plug vm1.side.ram 0
    vmm ticks 1 2
    """, append=f"guestmemfs=1:{2 * RAM}M", boots=1, **HOST)
    check_lives(told(run).values())
