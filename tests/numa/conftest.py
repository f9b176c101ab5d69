# SPDX-License-Identifier: GPL-2.0
"""Machines for the tests.

A test has a shell script for the fixture `vm`, which boots a machine and runs it
there, after lib.sh, with `set -eu`. With vm-kexec in it, it runs again in the
next kernel; VM_BOOT says in which. The programs that a script needs are C files
in this directory.

Beside the script's status, vm checks what guestmemfs wrote to the kernel's log:
each line that is no routine has to be expected by the test, and what the test
expects has to be there.
"""

import fcntl
import os
import re
import shutil
import subprocess

import pytest

# Its fixtures are those of the offline tests of gmfs-numa.
pytest_plugins = ["offline"]

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.join(TOP, "build", "test", "bin")

# What a healthy machine writes.
ROUTINE = re.compile(
    r"guestmem_pool: node \d+: pool of \d+ MiB in \d+ extents?, from 0x[0-9a-f]+(, handed over)?$|"
    r"guestmem_pool: node \d+: growth reserve of \d+ MiB from 0x[0-9a-f]+, for movable pages only until the pool grows$|"
    r"guestmem_pool: node \d+: \d+ blocks handed over by kernel \S+ after \d+ earlier kexecs$|"
    r"guestmem_pool: node \d+: damaging \S+$|"
    r"guestmemfs: node \d+: (new|handed-over) file system, \d+ of \d+ blocks free, \d+ of them dirty$|"
    r"guestmemfs: node \d+: \d+ files that were deleted while open are freed$")
# Once per boot, of the first mapping that has no choice but pages.
SLOW_MAPPING = (r"guestmemfs: node \d+: \w+\[\d+\] maps a file at an address that does not match "
                r"its offset by 2 MiB: .* memory-backend-file needs align=2M or align=1G$")
OURS = re.compile(r"guestmem(?:_pool|fs): .*")
KERNEL_START = re.compile(r"\] Linux version \d")


DEBUG = os.environ.get("DEBUG", "0") not in ("", "0")
KERNEL = subprocess.run([os.path.join(TOP, "scripts", "kernel"), "--image"], check=True,
                        stdout=subprocess.PIPE, text=True).stdout.strip()
# The status of scripts/vm if it was the emulation that failed, and how often it is tried.
EMULATOR = 123
TRIES = 3
# Memory for machines of up to this size, one after the other: the host zeroes and maps its pages
# once. Each process of pytest has its own, and it ends with the process.
RAM_SIZE = 8 << 30
RAM = os.memfd_create("ram")
os.truncate(RAM, RAM_SIZE)
# MiB that each node has more for the debug kernel, and the first once more; and
# one that is smaller than 1 GiB.
MORE = 1536
MORE_IF_SMALL = 512


def mebibytes(size):
    return int(size[:-1]) * {"M": 1, "G": 1024}[size[-1]]


def machine(nodes, mem, cpus, topology):
    """Options of scripts/vm for a machine that is described for the normal kernel.

    The debug kernel has less room for pools: KASAN takes an eighth of all memory,
    and KHO as much again for scratch. A node that is too small for a pool stays so.
    """
    if not DEBUG:
        options = {"nodes": nodes, "mem": mem, "cpus": cpus, "topology": topology}
        return [f"--{name}={value}" for name, value in options.items() if value is not None]
    if topology is None:
        # What scripts/vm has if it is not told.
        nodes, mem = nodes or 1, mem or "2G"
        cpus = cpus or max(2, nodes)
        where = [[c for c in range(cpus) if c * nodes // max(cpus, nodes) == n]
                 for n in range(nodes)]
        topology = ";".join(f"node={n}" + (",cpus=" + "+".join(map(str, c)) if c else "") +
                            f",mem={mem}" for n, c in enumerate(where))
    more = 2 * MORE

    def larger(match):
        nonlocal more
        mem, add = mebibytes(match.group()), more
        more = MORE
        if mem < 1024:
            add = MORE_IF_SMALL if mem >= 512 else 0
        return f"{mem + add}M"

    topology = re.sub(r"(?<=mem=)\w+", larger, topology)
    return ["--topology", topology]


class Run:
    """What came of a machine."""

    def __init__(self, out, log):
        self.out = out
        self.log = log
        self.boots = []     # what guestmemfs wrote in each boot
        for line in log.split("\n"):
            if KERNEL_START.search(line):
                self.boots.append([])
            m = OURS.search(line.rstrip("\r"))
            if m and self.boots and "Command line" not in line:
                self.boots[-1].append(m.group())

    def lines(self, regex):
        """Lines of the output that match."""
        return [l for l in self.out.split("\n") if re.search(regex, l)]

    def counts(self, *names):
        """{what: {name: sum}} of all lines "what: NAME=N NAME=N..." of the output."""
        found = {}
        numbers = " ".join(rf"{name}=(\d+)" for name in names)
        for what, *values in re.findall(rf"^([\w-]+): {numbers}$", self.out, re.MULTILINE):
            sums = found.setdefault(what, dict.fromkeys(names, 0))
            for name, value in zip(names, values):
                sums[name] += int(value)
        return found

    def value(self, name):
        """X of the one line "name=X" in the output."""
        found = re.findall(rf"^{re.escape(name)}=(.*)$", self.out, re.MULTILINE)
        assert len(found) == 1, f"{name}= is {len(found)} times in: {self.out}"
        return found[0]


def check_log(run, expect):
    expected = [re.compile(e) for e in expect]
    lines = [(boot, line) for boot, lines in enumerate(run.boots, 1) for line in lines]
    odd = [f"boot {boot}: {line}" for boot, line in lines
           if not ROUTINE.search(line) and not any(e.search(line) for e in expected)]
    missing = [e.pattern for e in expected if not any(e.search(l) for _, l in lines)]
    assert not odd, "unexpected in the kernel's log:\n" + "\n".join(odd)
    assert not missing, ("not in the kernel's log: " + "; ".join(missing) + "\nbut:\n" +
                         "\n".join(f"boot {b}: {l}" for b, l in lines))


def run_machine(cmd, clear=lambda: None):
    """What came of cmd; and of cmd once more, after clear(), if its machine was none.

    That is if QEMU lost the end of an interrupt, see never_ended() in scripts/testvm, or
    died itself: rare enough that it is not seen more often than that.
    """
    for tries_left in reversed(range(TRIES)):
        done = subprocess.run(cmd, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if done.returncode != EMULATOR or not tries_left:
            return done
        print("\n".join(l for l in done.stdout.split("\n") if l.startswith("vm: ")))
        clear()


def boot(script, tmp_path, *, nodes=None, mem=None, cpus=None, topology=None, append="",
         expect=(), options=(), boots=None):
    log = tmp_path / "kernel.log"
    scratch = tmp_path / "scratch"
    cmd = [os.path.join(TOP, "scripts", "vm"), "--log", str(log), "--scratch", str(scratch),
           "--ram", f"/proc/{os.getpid()}/fd/{RAM}", "--append", append, *machine(nodes, mem, cpus, topology)]
    setup = f"PATH=$PATH:{BIN}; . {HERE}/lib.sh; set -eu\n"
    cmd += [*options, "--", "bash", "-c", setup + script]
    done = run_machine(cmd, lambda: shutil.rmtree(scratch, ignore_errors=True))
    kernel_log = log.read_text(errors="replace") if log.exists() else ""
    run = Run(done.stdout, kernel_log)
    if done.returncode:
        ours = "\n".join(f"boot {n}: {l}" for n, b in enumerate(run.boots, 1) for l in b)
        pytest.fail(f"status {done.returncode}:\n{done.stdout}\n{ours}\n"
                    f"(all of the kernel's log: {log})", pytrace=False)
    if boots is not None:
        assert len(run.boots) == boots, f"{len(run.boots)} boots, should be {boots}"
    check_log(run, expect)
    return run


def make(*args):
    """Two processes of pytest do not build the same at the same time."""
    os.makedirs(os.path.join(TOP, "build", "test"), exist_ok=True)
    with open(os.path.join(TOP, "build", "test", "make.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "-s", *args], check=True)


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: one of those that make check runs")
    config.addinivalue_line("markers", "offline: it needs neither a kernel tree nor a virtual machine")
    config.addinivalue_line("markers", "long: it takes minutes, and starts before the others")
    config.addinivalue_line("markers", "race: much happens at the same time, for make races")


def pytest_collection_modifyitems(items):
    """Long files first, and last those without a machine, which take seconds: workers end together."""
    items.sort(key=lambda item: 0 if item.get_closest_marker("long") else
               2 if item.get_closest_marker("offline") else 1)


@pytest.fixture(scope="session", autouse=True)
def programs(request):
    """Builds the C programs that run in virtual machines. Their headers come from a kernel tree."""
    if all(item.get_closest_marker("offline") for item in request.session.items):
        return
    tree = subprocess.run([os.path.join(TOP, "scripts", "kernel-tree")], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    make("-C", HERE, f"KTREE={tree}")


def nodes_in_a_row(number, first, each):
    """A topology: CPUs, the hole below 4 GiB, and what firmware keeps, are in the first node."""
    return ";".join([f"node=0,cpus=0-1,mem={first}", *(f"node={n},mem={each}" for n in range(1, number))])


@pytest.fixture
def vm(tmp_path, request):
    """vm(script, ...) boots a machine for the script, and fails if the script does."""
    race = ["--parallel"] if request.node.get_closest_marker("race") else []

    def run(script, options=(), **kwargs):
        return boot(script, tmp_path, options=[*race, *options], **kwargs)
    return run


@pytest.fixture(scope="module")
def shared_vm(tmp_path_factory):
    """The same, for a machine that several tests look at."""
    def run(script, **kwargs):
        return boot(script, tmp_path_factory.mktemp("vm"), **kwargs)
    return run
