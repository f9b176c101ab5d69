# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa verify, on made-up processes and firmware tables."""

import os
import re
import struct

import pytest
from offline import ON_ONE, on, on_node, process, shimmed
from sysroot import BLOCK, GIB, MACHINES, Node
from tool import DIFFERS, FAILED, OK, SANITIZER_OPTIONS, USAGE

pytestmark = [pytest.mark.quick, pytest.mark.offline]


@pytest.mark.parametrize("cpus,maps,status", [
    ("2", ON_ONE, OK), ("2-3", ON_ONE, OK), ("2,3", ON_ONE, OK), ("1-2", ON_ONE, DIFFERS),
    ("0-3", ON_ONE, DIFFERS), ("0", ON_ONE, DIFFERS),
    # No process is without memory: it could not be seen.
    ("2", [], FAILED),
    # CPUs that are possible, but not there.
    ("2-7", ON_ONE, OK), ("1-7", ON_ONE, DIFFERS), ("2,100-2000", ON_ONE, OK),
    # None that is there.
    ("4-7", ON_ONE, FAILED), ("", ON_ONE, FAILED),
    ("2", [*ON_ONE, "7f05 default anon=9 dirty=9 N0=2 N1=7"], DIFFERS),
    # A private page of a library is the process' own.
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 N0=2"], DIFFERS),
    # What it shares is its own too, if it can write it.
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x dirty=2 N0=2"], DIFFERS),
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x dirty=2 N1=2"], OK),
    ("2", [*ON_ONE, "r--s 7f05 default file=/dev/shm/x dirty=2 N0=2"], OK),
    ("2", [*ON_ONE, "r-xp 7f05 default file=/usr/bin/new dirty=2 N0=2"], OK),
    # Who has written to it, if anybody, is no matter.
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x mapped=2 N0=1 N1=1"], DIFFERS),
    ("2", [*ON_ONE, "rw-s 7f05 default file=/dev/shm/x mapped=2 N1=2"], OK),
    # Which two of seven are its own, these sums do not say.
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 mapped=7 N0=5 N1=2"], FAILED),
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 mapped=7 N1=7"], OK),
    ("2", [*ON_ONE, "7f05 default file=/lib/x.so anon=2 mapped=7 N0=6 N1=1"], DIFFERS),
])
def test_verify_process(make, cpus, maps, status):
    tree = make(MACHINES["2"]())
    process(tree, 77, cpus, maps)
    done = on(tree, "verify", "77", status=status)
    assert "process 77: " in (done.err if status == FAILED else done.out)
    assert ("unknown" in done.err) == (status == FAILED)


@pytest.mark.parametrize("threads,status,said", [
    ({78: "2", 79: "3"}, OK, "CPUs of 3 threads and memory, all on node 1"),
    # Which of them is looked at first, the directory decides.
    ({78: "2", 79: "0"}, DIFFERS, "CPUs [023-]+ of its thread 7[789] are of node [01], not of node"),
    ({78: "1-2"}, DIFFERS, "CPUs 1-2 of its thread 78 are not of one node"),
    ({78: "4-7"}, FAILED, ""),
])
def test_verify_threads(make, threads, status, said):
    """All of them count, not the first alone."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "2-3", ON_ONE, threads)
    assert re.search(said, on(tree, "verify", "77", status=status).out)


def test_verify_mappings_change(make):
    """What is in one of the two files alone was not looked at; but for the kernel's page."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "2", ON_ONE)
    maps = tree.get("proc/77/task/77/maps")
    tree.put("proc/77/task/77/maps", maps + "7fe0-7fff --xp 00000000 00:00 0  [vsyscall]\n")
    on(tree, "verify", "77")
    for name in "maps", "numa_maps":
        process(tree, 77, "2", ON_ONE)
        text = tree.get(f"proc/77/task/77/{name}").replace("7f01", "7f0a")
        tree.put(f"proc/77/task/77/{name}", text)
        assert "unknown: its mappings change" in on(tree, "verify", "77", status=FAILED).err
        tree.put(f"proc/77/task/77/{name}", "".join(text.splitlines(True)[:2]))
        on(tree, "verify", "77", status=FAILED)


def test_verify_first_thread_ended(make):
    """It shows no memory then, and has no CPUs; the others do."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "0", ON_ONE, {78: "2"}, state="Z")
    assert "memory, all on node 1" in on(tree, "verify", "77").out
    process(tree, 77, "0", [*ON_ONE, "7f05 default anon=2 N0=2"], {78: "2"}, state="Z")
    assert "2 pages are not on node 1" in on(tree, "verify", "77", status=DIFFERS).out
    process(tree, 79, "2", ON_ONE, state="Z")
    assert "unknown: it has ended" in on(tree, "verify", "79", status=FAILED).err


@pytest.mark.parametrize("where", ["self", "77", "5"])
def test_verify_pool_files(make, where):
    """A guest's memory has no pages in numa_maps: its node is that of the mount."""
    tree = make(MACHINES["2"]())
    mounts = "".join(f"{40 + n} 29 0:{40 + n} / /run/guestmemfs/node{n} rw - guestmemfs none "
                     f"rw,node={n}\n" for n in range(2))
    # Also in another mount namespace than ours.
    tree.put(f"proc/{where}/mountinfo", mounts)
    guest = "rw-s 00:28:7 7f3c00000000 bind:0 file=/run/guestmemfs/node0/vm1"
    process(tree, 77, "2", [*ON_ONE, guest])
    done = on(tree, "verify", "77", status=DIFFERS)
    assert done.out == ("process 77: it has memory of node 0, not of node 1: "
                        "/run/guestmemfs/node0/vm1\n")
    process(tree, 77, "2", [*ON_ONE, guest.replace("00:28", "00:29").replace("node0", "node1")])
    on(tree, "verify", "77")
    # A mount of which no namespace shows the device can have anything.
    process(tree, 77, "2", ON_ONE)
    tree.put("sys/fs/guestmemfs/node1/mounts", "5\n")
    on(tree, "verify", "77")
    tree.put(f"proc/{where}/mountinfo", mounts.splitlines()[0] + "\n")
    assert "unknown: nodes have mounts that are not seen" in \
        on(tree, "verify", "77", status=FAILED).err
    # What a tenant calls a file does not reach the terminal as it is.
    process(tree, 77, "2", [*ON_ONE, guest.replace("vm1", "\x1b[2J\u009b1m")])
    assert on(tree, "verify", "77", status=DIFFERS).out.endswith("/\\x1b[2J\\xc2\\x9b1m\n")


def test_users_of_files(make, tmp_path, shim):
    """A process calls itself what it likes, and is no other by that."""
    tree = make([Node(1, cpus="0")])
    file = tmp_path / "vm"
    file.write_text("")
    env = on_node(tree, tmp_path, 1)
    device = os.stat(file).st_dev
    maps = (f"7f00-7fff rw-s 00000000 {os.major(device):02x}:{os.minor(device):02x} "
            f"{os.stat(file).st_ino}    {file}\n")
    commands = {77: b"q),1(systemd", 78: b"qemu\xff\x1b\"", 79: b"kvm"}
    for pid, command in commands.items():
        tree.put(f"proc/{pid}/comm", command + b"\n")
        for maps_of in f"proc/{pid}/maps", f"proc/{pid}/task/{pid}/maps":
            tree.put(maps_of, maps)
    options = f"{SANITIZER_OPTIONS['ASAN_OPTIONS']}:verify_asan_link_order=0:detect_leaks=0"
    env = {**env, "LD_PRELOAD": shim, "ASAN_OPTIONS": options}
    found, = [f for f in on(tree, "ls", "--json", f"{tmp_path}/vm", env=env).json()["files"]]
    assert {u["pid"]: u["command"] for u in found["users"]} == \
        {77: "q),1(systemd", 78: "qemu\\xff\x1b\"", 79: "kvm"}
    (users,), = on(tree, "ls", "-rn", "-o", "users", f"{tmp_path}/vm", env=env).rows()
    assert {"77(q??1?systemd)", "79(kvm)"} < set(users.split(","))


def srat(*entries, revision=3):
    """The firmware's table: ("cpu"|"x2apic"|"gicc"|"rintc"|"generic", domain[, enabled]) or
    ("memory", domain, base, size)."""
    table = b""
    for kind, domain, *rest in entries:
        enabled = rest[0] if rest and kind != "memory" else 1
        if kind == "memory":
            table += struct.pack("<BBIHQQIIQ", 1, 40, domain, 0, *rest, 0, 1, 0)
        elif kind == "cpu":
            table += struct.pack("<BBBBIB3sI", 0, 16, domain & 0xff, 0, enabled, 0,
                                 (domain >> 8).to_bytes(3, "little"), 0)
        elif kind == "gicc":
            table += struct.pack("<BBIIII", 3, 18, domain, 0, enabled, 0)
        elif kind == "rintc":
            table += struct.pack("<BBHIIII", 7, 20, 0, domain, 0, enabled, 0)
        elif kind == "x2apic":
            table += struct.pack("<BBHIIIII", 2, 24, 0, domain, 0, enabled, 0, 0)
        else:
            table += struct.pack("<BBBBI16sII", 5, 32, 0, 0, domain, b"", enabled, 0)
    return struct.pack("<4sIBB6s8sI4sI12s", b"SRAT", 48 + len(table), revision, 0, b"", b"", 0,
                       b"", 0, b"") + table


G = GIB
PLAIN = (("cpu", 0), ("cpu", 1), ("memory", 0, 0, 4 * G), ("memory", 1, 4 * G, 8 * G))
BY_FIRMWARE, BY_POOL = "all on node 1 as the firmware has it", "firmware says nothing of"


@pytest.mark.parametrize("table,status,said", [
    (srat(*PLAIN), OK, BY_FIRMWARE),
    # The piece is in two ranges that touch, in any order.
    (srat(*PLAIN[:3], ("memory", 1, 4 * G, 2 * G), ("memory", 1, 6 * G, 6 * G)), OK, BY_FIRMWARE),
    (srat(*PLAIN[:3], ("memory", 1, 6 * G, 6 * G), ("memory", 1, 4 * G, 2 * G)), OK, BY_FIRMWARE),
    (srat(*PLAIN[:3], ("memory", 1, 4 * G, 1 * G), ("memory", 0, 5 * G, 1 * G),
          ("memory", 1, 6 * G, 6 * G)), DIFFERS, "not on node 1 as the firmware has it"),
    (srat(("cpu", 0), ("cpu", 1), ("memory", 1, 0, 4 * G), ("memory", 0, 4 * G, 8 * G)), DIFFERS,
     "not on node 1 as the firmware has it"),
    # In the first revision there is nothing above 8 bits of a domain.
    (srat(("cpu", 0), ("cpu", 1 | 0xabcd << 8), ("memory", 0xffffff00, 0, 4 * G),
          ("memory", 0x12345601, 4 * G, 8 * G), revision=1), OK, BY_FIRMWARE),
    (srat(("cpu", 0), ("cpu", 0x101), ("memory", 0, 0, 4 * G), ("memory", 0x101, 4 * G, 8 * G)), OK,
     BY_FIRMWARE),
    # At an initiator that is not enabled Linux leaves off: domain 7 is none of 0 and 1.
    (srat(("cpu", 0), ("generic", 9, 0), ("cpu", 7), *PLAIN[2:]), OK, BY_FIRMWARE),
    (srat(("cpu", 0), ("generic", 7, 1), *PLAIN[2:]), DIFFERS, "not on node 1"),
    (srat(("x2apic", 0), ("x2apic", 7, 0), ("x2apic", 1), *PLAIN[2:]), OK, BY_FIRMWARE),
    # Of arm64 and RISC-V, as a copied table can be: domain 7 is node 1, and 1 is node 2.
    (srat(("gicc", 0), ("gicc", 7), *PLAIN[2:]), DIFFERS, "not on node 1"),
    (srat(("gicc", 0), ("gicc", 7, 0), ("gicc", 1), *PLAIN[2:]), OK, BY_FIRMWARE),
    (srat(("rintc", 0), ("rintc", 7), *PLAIN[2:]), DIFFERS, "not on node 1"),
    # A node that is none of the firmware's domains, as of CXL windows; memory in no range.
    (srat(*PLAIN[:1], PLAIN[2]), OK, BY_POOL + " node 1"),
    (srat(*PLAIN[:3]), OK, BY_POOL + " node 1"),
    (srat(*PLAIN[:3], ("memory", 1, 4 * G, 3 * G)), OK, BY_POOL + " 4G of it"),
    (srat(("cpu", 0), ("memory", 0, 0, 64 * G)), DIFFERS, "not on node 1 as the firmware has it"),
    # There is no table; there is one that cannot be read.
    (None, OK, BY_POOL + " node 1"),
    (b"", FAILED, "unknown: where the firmware has it"),
    (srat(*PLAIN)[:40], FAILED, "unknown: where the firmware has it"),
    (b"JUNK" * 100, FAILED, "unknown: where the firmware has it"),
])
def test_verify_firmware(make, tmp_path, shim, table, status, said):
    tree = make([Node(0, cpus="0-1", base=1 * G), Node(1, cpus="2-3", pool=6 * G, base=5 * G)])
    if table is not None:
        tree.put("sys/firmware/acpi/tables/SRAT", table)
    file = tmp_path / "vm"
    file.write_text("")
    env = {**on_node(tree, tmp_path, 1), "SHIM_PIECES": f"0:{5 * G:x}:{4 * G:x}"}
    assert said in shimmed(shim, tree, "verify", str(file), env=env, status=status).out


def test_verify_made_up_nodes(make, tmp_path, shim):
    """With numa=fake they are no domains of the firmware."""
    file = tmp_path / "vm"
    file.write_text("")
    for line, status in (("quiet numa=fake=4", OK), ("numa=off", OK), ("numa=noacpi", OK),
                         ("quiet", DIFFERS), ("quiet -- numa=fake=4", DIFFERS)):
        tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3", pool=2 * G, base=2 * G)], cmdline=line)
        tree.put("sys/firmware/acpi/tables/SRAT", srat(*PLAIN))
        env = {**on_node(tree, tmp_path, 1), "SHIM_PIECES": f"0:{2 * G:x}:{BLOCK:x}"}
        done = shimmed(shim, tree, "verify", str(file), env=env, status=status)
        assert (BY_POOL in done.out) == (status == OK), done


def test_verify_files(make, tmp_path, shim):
    """What is no file is not opened; what is nowhere, or not to be seen, is not proven."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3", pool=6 * G, base=5 * G)])
    tree.put("sys/firmware/acpi/tables/SRAT", srat(*PLAIN))
    env = on_node(tree, tmp_path, 1)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "vm\x1b[2J").write_text("")
    for name in "fifo", "tree0":
        done = shimmed(shim, tree, "verify", str(tmp_path / name), env=env, status=FAILED)
        assert "this is no file" in done.err
    done = shimmed(shim, tree, "verify", str(tmp_path / "vm\x1b[2J"), env=env)
    assert done.out.endswith("/vm\\x1b[2J: it has no memory yet\n")
    # As run hands it over.
    with open(tmp_path / "vm\x1b[2J", encoding="ascii") as file:
        path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        done = shimmed(shim, tree, "verify", path, env=env)
        assert done.out == f"{path}: it has no memory yet\n"
    env["SHIM_PIECES"] = f"0:{4 * G:x}:{BLOCK:x}"
    done = shimmed(shim, tree, "verify", str(tmp_path / "vm\x1b[2J"), env=env, status=DIFFERS)
    assert "nor in its pool" in done.out
    tree.put("sys/fs/guestmemfs/node1/extents", "")
    done = shimmed(shim, tree, "verify", str(tmp_path / "vm\x1b[2J"), env=env, status=FAILED)
    assert "unknown: only root" in done.err


def test_verify_usage(make):
    tree = make(MACHINES["2"]())
    on(tree, "verify", status=USAGE)
    on(tree, "verify", "78", status=FAILED)
    assert "not on guestmemfs" in on(tree, "verify", "/etc/passwd", status=FAILED).err
    assert "No such file" in on(tree, "verify", "/nonexistent", status=FAILED).err
    process(tree, 77, "2", ON_ONE)
    # One that is good does not hide one that is not.
    on(tree, "verify", "78", "77", status=FAILED)
    on(tree, "verify", "99999999999999", status=FAILED)
