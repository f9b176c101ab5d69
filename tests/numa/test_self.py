# SPDX-License-Identifier: GPL-2.0
"""The means of the other tests say no where they have to."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import BIN, EMULATOR, TOP, TRIES

sys.path.insert(0, os.path.join(TOP, "scripts"))
from testvm.log import Log


def test_programs_say_no(vm):
    vm(r"""
    mount_node 0
    mount_node 1
    cd /mnt/node0
    memfile fill file 6000000 5
    memfile check file 5
    has "$(fails memfile check file 6)" 'wrong at byte 0:' 'another pattern'
    truncate -s 8M file
    has "$(fails memfile check file 5)" 'wrong at byte 6000000:' 'a file that has grown'
    has "$(fails memfile zero file)" 'not zero at byte 0:' 'a file with data'
    fallocate -p -o 0 -l 4M file
    has "$(fails memfile zero file)" 'not zero at byte 4194304:' 'a file with data behind a hole'
    has "$(fails memfile stored file)" 'block at 0 has' 'a file that nobody stored to'

    before=$(memfile sum file)
    memfile where file 0
    has "$(fails memfile where file 1)" 'not in the pool of node 1' 'blocks on another node'
    fallocate -p -o 2M -l 2M file
    has "$(fails memfile where file 0)" 'only 6291456 of 8388608 bytes have blocks' 'a file with a hole'
    equal "$before" "$(memfile sum file)" 'checksum'
    truncate -s 7999999 file
    [ "$before" != "$(memfile sum file)" ] || die 'one checksum for two contents'

    # refuse COMMAND...: it ends the script
    refuse() {
        if (set -e; "$@") > /tmp/said 2>&1; then
            die "nothing is said against: $*"
        fi
        grep -q '^FAILED: ' /tmp/said || die "not that: $(cat /tmp/said)"
    }
    check_places 0 1
    wrong_place() {
        pool_ranges() { echo "0 7ffffff"; }
        check_places 1
    }
    refuse wrong_place
    refuse check_places 7
    refuse mount_node 7
    refuse equal 1 2 numbers
    refuse between 1 4 3 numbers
    refuse has 'some text' '^text' words
    refuse fails true
    """,
       nodes=2, mem="1G", append="guestmemfs=0:256M,1:256M", boots=1,
       expect=[r"guestmemfs: node 7 has no pool"])


# A report as the kernel prints it, what is warned of, and where.
REPORT = """[    0.000000] Linux version 7.3.4
[   10.157037] reboot: Power down
[   10.164636] ------------[ cut here ]------------
{what}[   10.165048] WARNING: {where}, CPU#2: migration/2/26
[   10.166032] CPU: 2 UID: 0 PID: 26 Comm: migration/2 Not tainted 7.3.4 #11
[   10.172790]  <TASK>
[   10.173036]  gmpool_free+0x123/0x1c0
[   10.174344] ---[ end trace 0000000000000000 ]---
"""


@pytest.mark.parametrize("what,where,harmless", [
    ("[   10.164879] sched: Unexpected reschedule of offline CPU#1!\n",
     "arch/x86/kernel/apic/ipi.c:71 at native_smp_send_reschedule+0x23/0x30", True),
    ("", "kernel/time/hrtimer.c:1098 at hrtimer_forward+0x6e/0xa0", True),
    ("", "fs/guestmemfs/numa/pool.c:574 at gmpool_free+0x12/0x40", False),
    ("[   10.164879] something else\n", "mm/memory.c:1 at hrtimer_forward+0x6e/0xa0", False),
    ("[   10.164879] sched: what is near\n",
     "arch/x86/kernel/apic/ipi.c:71 at native_smp_send_reschedule+0x23/0x30", False),
])
def test_what_linux_may_say(tmp_path, what, where, harmless):
    """Nothing else, and nothing that comes after it."""
    ours = REPORT.format(what="", where="fs/guestmemfs/file.c:1 at gmfs_fallocate+0x1/0x2")
    for more, number in (("", 0), (ours, 1)):
        (tmp_path / "log").write_text(REPORT.format(what=what, where=where) + more)
        log = Log(str(tmp_path / "log"), [], False)
        log.finish()
        assert len(log.reports()) == number + (not harmless)


@pytest.mark.parametrize("script,append,expect,why", [
    ("exit 3", "", (), r"status 3"),
    ("equal 1 2 numbers; true", "", (), r"FAILED: numbers: '1', should be '2'"),
    ("false; true", "", (), r"status 1"),
    ("true", "guestmemfs=0:junk", (), r"(?s)unexpected in the kernel's log.*junk"),
    ("true", "", ["guestmemfs: something"], r"not in the kernel's log: guestmemfs: something"),
    ("echo WARNING > /sys/kernel/debug/provoke-crash/DIRECT", "", (), r"status 120"),
    ("true", "boots=2", (), r"1 boots, should be 2"),
], ids=["status", "check", "command", "unexpected-line", "missing-line", "warning", "boots"])
def test_machine_says_no(vm, script, append, expect, why):
    with pytest.raises((AssertionError, pytest.fail.Exception), match=why):
        vm(script, nodes=1, mem="1G", append=append, expect=expect,
           boots=2 if append == "boots=2" else 1)


def test_machine_that_hangs_says_where(vm):
    """What its processors do, whether they have interrupts, and what each process waits for."""
    with pytest.raises(pytest.fail.Exception, match=r"(?s)status 124:.*\bCPU#1\n.*RIP=.*\bAPIC state for CPU 1\n"
                                                    r".*LVTT.*ISR.*IRR.*task:sleep .*nanosleep"
                                                    r".*not finished 40.0 s after"):
        vm("sleep 1000", nodes=1, mem="1G", options=["--timeout=40"])


def test_lost_end_of_an_interrupt(vm, capsys):
    """Whoever starts the machine knows that it was none, and the fixture starts it again."""
    once = r"vm: failed: QEMU lost the end of an interrupt: processor 0 sleeps in interrupt 236;"
    with pytest.raises(pytest.fail.Exception, match=rf"(?s)status {EMULATOR}:.*{once}"):
        vm("true", nodes=1, mem="1G", options=["--parallel", "--kernel", os.path.join(BIN, "unended")])
    assert len(re.findall(once, capsys.readouterr().out)) == TRIES - 1


def test_machine_that_resets_says_where(vm):
    """The registers of each processor at the reset: a triple fault leaves nothing in the kernel's log."""
    with pytest.raises(pytest.fail.Exception, match=r"(?s)status 120:.*CPU#0\n.*RIP=.*CR3=.*CPU#1\n.*RIP="
                                                    r".*CR3=.*the kernel died"):
        vm("echo b > /proc/sysrq-trigger", nodes=1, mem="1G")


def test_emulator_that_dies(vm, tmp_path, capsys):
    """The kernel is not blamed for that, and the fixture starts the machine again."""
    qemu = tmp_path / "qemu"
    qemu.write_text(f"""#!/bin/bash
                    qemu-system-x86_64 "$@" &
                    until [ -e {tmp_path}/scratch/booted ]; do sleep 0.1; done
                    rm {tmp_path}/scratch/booted
                    kill -SEGV $!
                    wait $!
                    """.lstrip())
    qemu.chmod(0o755)
    once = r"vm: failed: \S+/qemu ended with status 139: "
    with pytest.raises(pytest.fail.Exception, match=rf"(?s)status {EMULATOR}:.*{once}"):
        vm("touch $VM_SCRATCH/booted; sleep 1000", nodes=1, mem="1G", options=["--qemu", str(qemu)])
    assert len(re.findall(once, capsys.readouterr().out)) == TRIES - 1


def columns(name):
    """Lines of a table of scripts/."""
    with open(os.path.join(TOP, "scripts", name), encoding="utf-8") as f:
        return [line.split() for line in f if line.strip() and not line.startswith("#")]


def test_packages_have_names():
    """scripts/deps finds each package of its list on other distributions, and the table has no others."""
    names = columns("packages.names")
    assert len(names) > 40 and all(len(line) == 5 for line in names), [n for n in names if len(n) != 5]
    assert {line[0] for line in columns("packages.list")} == {line[0] for line in names}
    assert len({line[0] for line in names}) == len(names)


@pytest.mark.parametrize("manager", ["dnf", "zypper", "pacman"])
def test_missing_packages_on_other_distributions(tmp_path, manager):
    """One command names them all, and what is not known is said, also a package that the table lacks."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for name in ("deps", "packages.names"):
        shutil.copy(os.path.join(TOP, "scripts", name), scripts)
    (scripts / "packages.list").write_text(
        "".join(f"{package} - test /nonexistent\n" for package in ("no-such-line", "libelf-dev", "mmdebstrap")))
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("awk", "bash", "dirname", "echo", "sort", "xargs"):
        (tools / tool).symlink_to(shutil.which(tool))
    for tool in (manager, "rpm"):
        (tools / tool).write_text("#!/bin/sh\nexit 1\n")
        (tools / tool).chmod(0o755)
    done = subprocess.run([str(scripts / "deps"), "test"], env={"PATH": str(tools)}, check=False, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wanted = {"dnf": "sudo dnf install elfutils-libelf-devel mmdebstrap", "zypper": "sudo zypper install libelf-devel",
              "pacman": "sudo pacman -S --needed libelf"}[manager]
    assert done.returncode != 0 and done.stdout == f"{wanted}\n", done
    unknown = "no-such-line" if manager == "dnf" else "no-such-line mmdebstrap"
    assert f"not known here: {unknown}\n" in done.stderr, done
