# SPDX-License-Identifier: GPL-2.0
"""Memory that fails: who is told, what is left, and what the next kernel knows of it."""

import json
import os
import re
import socket
import threading
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ERROR = (r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: the page is not used any more, "
         r"and block \d+ is not allocated again$")

with open(os.path.join(HERE, "poison.c"), encoding="utf-8") as source:
    CASES = re.findall(r"^TEST(?:_F)?\((?:poison, )?(\w+)\)", source.read(), re.MULTILINE)

MACHINE = dict(nodes=2, mem="3G", append="guestmemfs=1:1G nokaslr", expect=[ERROR])


@pytest.fixture(scope="module")
def results(shared_vm):
    # The gigabyte first, while there is one. A processor with virtualization, for guests.
    return shared_vm("""
    mount_node 1
    export GMFS_DIR=/mnt/node1
    poison -t gigabyte || true
    poison -T gigabyte || true
    """, boots=1, options=["--nested"], **MACHINE).out


@pytest.mark.parametrize("case", CASES)
def test_poison(results, case):
    assert re.search(rf"^ok \d+ (poison|global)\.{case}$", results, re.MULTILINE), results


# An Intel processor, for the kernel to believe what QEMU's monitor makes it report,
# and a port for the guest to ask for that.
CHECKS = ("-cpu max,vendor=GenuineIntel,family=6,model=106,stepping=6 "
          "-chardev socket,id=qmp,path={qmp},server=on,wait=off -mon chardev=qmp,mode=control "
          "-chardev socket,id=port,path={port},server=on,wait=off "
          "-device virtserialport,chardev=port,name=monitor")


def connect(path):
    """A file to talk to a socket of QEMU, which may not have started yet."""
    for _ in range(600):
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(path)
                return sock.makefile("rw")
            except OSError:
                time.sleep(0.1)
    raise TimeoutError(path)


def serve_monitor(qmp_path, port_path):
    """Does what the guest asks for: each line is a mode, a processor, and a command of the monitor.

    A command is done while the processor is in that mode, which takes a machine
    that stands still to be sure of.
    """
    with connect(qmp_path) as qmp, connect(port_path) as port:
        def call(name, **arguments):
            qmp.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
            qmp.flush()
            while True:
                answer = json.loads(qmp.readline())
                if "return" in answer:
                    return answer["return"]
                assert "error" not in answer, answer

        call("qmp_capabilities")
        for line in port:
            mode, cpu, command = line.split(maxsplit=2)
            while True:
                call("stop")
                registers = call("human-monitor-command", **{"command-line": "info registers",
                                                             "cpu-index": int(cpu)})
                found = mode == "any" or "CPL=3" in registers
                if found:
                    call("human-monitor-command", **{"command-line": command})
                call("cont")
                if found:
                    break
                time.sleep(0.01)


def test_machine_checks(vm, tmp_path):
    """Errors that a processor reports, by QEMU's command for it: found, consumed, of a free page."""
    paths = [str(tmp_path / name) for name in ("qmp", "port")]
    threading.Thread(target=serve_monitor, args=paths, daemon=True).start()
    run = vm("""
    mount_node 1
    export GMFS_DIR=/mnt/node1
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat $port/name)" != monitor ] || export GMFS_MONITOR=/dev/${port##*/}
    done
    mce
    equal "$(mount_stat 1 poisoned_pages)" 3 'pages'
    """, nodes=2, mem="1G", append="guestmemfs=1:256M", expect=[ERROR], boots=1,
             options=["--qemu-args=" + CHECKS.format(qmp=paths[0], port=paths[1])])
    assert re.search("^# PASSED: 3 / 3 tests passed", run.out, re.MULTILINE), run.out


@pytest.mark.race
def test_failure_while_unmounted(vm):
    """An umount() that comes while the file of a failed page is looked for waits, or finds no file;
    so does a reset of the pool, also if a worker drops the last reference to the file."""
    run = vm("""
    busyfail 60
    # Memory failure works still, with the file mounted and without.
    mount_node 0
    equal "$(mount_stat 0 poisoned_pages)" 60 'pages'
    equal "$(cat /sys/fs/guestmemfs/node0/check)" ok check
    """, mem="3G", cpus=2, append="guestmemfs=0:512M", boots=1,
             expect=[ERROR.replace("node 1", "node 0"),
                     r"guestmem_pool: node 0: pool of 256 blocks discarded$"])
    assert run.value("resets") == "30"


def test_failure_during_freezing(vm):
    """Freezing a node waits for the end of a fallocate(). Readers of sysfs do not wait for the freezing,
    and neither does the failure of a page, which holds up all other failures of the machine."""
    vm(r"""
    mount_node 1
    cd /mnt/node1
    memfile fill kept 2M 1
    kept=$(memfile where kept | sed -n 's/.* blocks at \(0x[0-9a-f]*\)-.*/\1/p;q')
    pause_scrub 1 Y
    memfile fill dirty 800M 2
    rm dirty
    # The task that zeroes blocks for its file gets little time of its processor.
    taskset -c 1 timeout 300 sh -c 'while :; do :; done' &
    hog=$!
    taskset -c 1 chrt -i 0 truncate -s 800M slow &
    slow=$!
    while [ $(cat /sys/fs/guestmemfs/node1/free_blocks) -gt 200 ]; do
        kill -0 $slow
    done
    echo 1 > /sys/fs/guestmemfs/node1/frozen &
    freezing=$!
    sleep 0.5
    start=$(cut -d. -f1 /proc/uptime)
    echo $((kept + 4096)) > /sys/devices/system/memory/hard_offline_page
    cd /sys/fs/guestmemfs/node1
    equal "$(cat state error frozen reserve zeroing policy scrub_target)" "$(printf '%s\n' active '' 0 0 \
        background best-fit all)" 'what sysfs says'
    cat uuid generation format handed_over_from > /dev/null
    took=$(($(cut -d. -f1 /proc/uptime) - start))
    [ $took -lt 5 ] || die "it took $took s"
    kill -0 $slow $freezing
    kill $hog
    wait $slow
    wait $freezing
    equal "$(cat /sys/fs/guestmemfs/node1/state)" frozen state
    equal "$(mount_stat 1 poisoned_pages)" 1 'pages'
    echo 0 > /sys/fs/guestmemfs/node1/frozen
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
    """, cpus=2, boots=1, options=["--timeout=600"], **MACHINE)


def test_poison_survives_kexec(vm):
    """The next kernel gives the blocks to nobody, and keeps a file from its bad page alone."""
    vm(r"""
    fail() {
        echo "$1" > /sys/devices/system/memory/hard_offline_page
    }
    phys_of() {
        memfile where "$1" | sed -n 's/.* blocks at \(0x[0-9a-f]*\)-.*/\1/p;q'
    }
    mount_node 1
    cd /mnt/node1
    case $VM_BOOT in
    1)
        memfile fill kept 10M 1
        memfile fill other 10M 2
        truncate -s 4M gone
        kept=$(phys_of kept)
        gone=$(phys_of gone)
        rm gone
        fail $((kept + 2 * 4096))
        fail $((gone + 3 * 4096))
        fail $((gone + (2 << 20)))
        equal "$(mount_stat 1 poisoned_pages)" 3 'pages'
        equal "$(free_blocks .)" 500 'free blocks'
        vm-kexec
        ;;
    2 | 3)
        has "$(gm_log)" 'node 1: 3 pages have hardware errors' log
        equal "$(mount_stat 1 poisoned_pages)" 3 'pages'
        equal "$(free_blocks .)" 500 'free blocks'
        memfile check other 2
        set +e
        memfile check kept 1
        status=$?
        set -e
        equal "$status" $((128 + 7)) 'status of a program that reads the page'
        # All that is free can be had, and is good.
        truncate -s 1000M all
        equal "$(free_blocks .)" 0 'free blocks'
        memfile fill all 1000M 3
        rm all
        if [ "$VM_BOOT" = 2 ]; then
            vm-kexec
        fi
        rm kept
        equal "$(free_blocks .)" 504 'free blocks at last'
        ;;
    esac
    """, boots=3, **{**MACHINE, "expect": [ERROR, r"node 1: 3 pages have hardware errors"]})
