# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa handover, on made-up kernels and trees of sysfs."""

import gzip
import os
import re
import shlex
import shutil
import signal
import socket

import pytest
from offline import config, has_inodes, kernel, on, sees_all_processes
from sysroot import GIB, MACHINES, Node
from tool import DIFFERS, FAILED, OK, USAGE

pytestmark = [pytest.mark.quick, pytest.mark.offline]


def judged(tree, *args, status):
    """{check: result}"""
    rows = on(tree, "handover", "--json", *args, status=status).json()["handover"]
    results = {r["check"]: r["result"] for r in rows}
    assert len(results) == len(rows)
    # What is not known is not ready either.
    assert bool({"fail", "unknown"} & set(results.values())) == (status == DIFFERS)
    text = on(tree, "handover", "-rn", "-o", "check,result", *args, status=status)
    assert dict(text.rows()) == results
    return results


def test_handover(make, tmp_path):
    nodes = MACHINES["2"]()
    image = kernel(tmp_path / "bzImage")
    cmdline = ["--command-line", "kho=on"]

    def judge(status, **kwargs):
        tree = make(nodes, **kwargs)
        tree.put("boot/config-7.3.4-next", config())
        return judged(tree, "--kernel", image, *cmdline, status=status)

    results = judge(OK)
    assert {k: v for k, v in results.items() if k in ("kho", "luo", "kernel", "users")} == \
        {"kho": "ok", "luo": "ok", "kernel": "ok", "users": "ok"}
    # Blocks with hardware errors are no reason not to go.
    assert (results["node0"], results["node1"]) == ("ok", "warn")
    assert (results["metadata0"], results["metadata1"]) == ("ok", "ok")
    # One that has been loaded can be any.
    assert judged(make(nodes), status=DIFFERS)["kernel"] == "unknown"
    assert judged(make(nodes, loaded=False), status=DIFFERS)["kernel"] == "fail"
    for line, result in (("kho=off", "fail"), ("kho=0 quiet", "fail"), ("kho=on", "ok"),
                         ("kho=off kho=1", "ok"), ("kho=on kho=n", "fail"), ("quiet", "unknown"),
                         ("nokho=off", "unknown"), ('"kho=on"', "ok"), ("quiet -- kho=on", "unknown"),
                         ("kho=maybe", "unknown"), ("kho=on kho=maybe", "ok")):
        assert judge(OK if result == "ok" else DIFFERS, kho=False, cmdline=line)["kho"] == result
    # A kernel with kho=on that found no memory for it.
    tree = make(nodes, kho=False, cmdline="kho=on")
    tree.put("boot/config-7.3.4-next", config())
    for word, result in (("on", "ok"), ("off", "fail")):
        tree.put("sys/fs/guestmemfs/kho", word + "\n")
        status = OK if result == "ok" else DIFFERS
        assert judged(tree, "--kernel", image, *cmdline, status=status)["kho"] == result
    nodes[0].check = "block 7 is used twice"
    assert judge(DIFFERS)["metadata0"] == "fail"
    nodes = MACHINES["4"]()
    results = judge(OK)
    assert (results["node5"], results["node9"]) == ("warn", "warn")
    tree = make(nodes)
    tree.put("boot/config-7.3.4-next", config())
    os.unlink(tree.path("dev/liveupdate"))
    assert judged(tree, "--kernel", image, *cmdline, status=OK)["luo"] == "warn"


def test_handover_users_elsewhere(make, tmp_path):
    """A guest of a container: its node is mounted in the container's mount namespace alone."""
    image = kernel(tmp_path / "bzImage")
    node = Node(0, cpus="0", files={"mounts": "2\n"})
    tree = make([node])
    tree.put("boot/config-7.3.4-next", config())
    mountinfo = "99 1 0:41 / /vms rw - guestmemfs none rw,node=0\n"
    maps = "7f0000000000-7f0000200000 rw-s 00000000 00:29 1234 /vms/one\n"
    tree.put("proc/777/comm", "guest\n")
    tree.put("proc/777/mountinfo", mountinfo + "98 1 0:41 /sub /sub rw - guestmemfs none rw,node=0\n")
    tree.put("proc/777/maps", maps)
    rows = on(tree, "handover", "--kernel", image, "--json", status=DIFFERS).json()["handover"]
    users = [r for r in rows if r["check"] == "users"]
    assert users[0]["result"] == "fail" and "guest[777]" in users[0]["detail"], users
    # That nobody has a file, only the machine itself can say.
    tree.put("proc/777/maps", "")
    assert judged(tree, "--kernel", image, "--command-line", "kho=on",
                  status=DIFFERS)["users"] == "unknown"
    # The first thread has ended, and others go on.
    tree.put("proc/777/task/777/maps", "")
    tree.put("proc/777/task/778/maps", maps)
    assert judged(tree, "--kernel", image, "--command-line", "kho=on",
                  status=DIFFERS)["users"] == "fail"


@pytest.mark.parametrize("options,without,result", [
    ({}, (), "ok"),
    ({}, ["GUESTMEM_POOL"], "fail"),
    ({"GUESTMEM_POOL": "m"}, (), "fail"),
    ({}, ["GUESTMEMFS_FS"], "fail"),
    ({}, ["GUESTMEM_POOL_FORMAT"], "unknown"),
    ({"GUESTMEM_POOL_FORMAT": "2"}, (), "fail"),
])
def test_handover_format(make, tmp_path, options, without, result):
    """Does the next kernel read what this one writes?"""
    tree = make(MACHINES["1"]())
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config(without, **options))
    results = judged(tree, "--kernel", image, "--command-line", "kho=on",
                     status=OK if result == "ok" else DIFFERS)
    assert results["format"] == result


def test_handover_features(make, tmp_path):
    """What a node uses, the next kernel has to know."""
    node = Node(3, cpus="0", files={"format": "1 compat=0xff ro_compat=0x4 incompat=0x12\n"})
    tree = make([Node(0), node])
    image = kernel(tmp_path / "bzImage")
    for incompat, ro_compat, result in (("0x12", "0x4", "ok"), ("0xff", "0xff", "ok"),
                                        ("0x2", "0x4", "fail"), ("0x12", "0x0", "fail")):
        tree.put("boot/config-7.3.4-next", config(GUESTMEM_POOL_INCOMPAT=incompat,
                                                  GUESTMEM_POOL_RO_COMPAT=ro_compat))
        status = DIFFERS if result == "fail" else OK
        assert judged(tree, "--kernel", image, status=status)["format"] == result
        if result == "fail":
            assert "node 3" in on(tree, "handover", "--kernel", image, status=DIFFERS).out


@pytest.mark.parametrize("line,default,result", [
    ("quiet", "y", "ok"), ("quiet", None, "fail"), ("kho=on", None, "ok"), ("kho=off", "y", "fail"),
    ("kho=on guestmemfs=fresh", "y", "fail"), ("kho=on guestmemfs=0:1G,fresh", "y", "fail"),
    ("kho=on guestmemfs=fresh,0:1G", "y", "fail"), ("kho=on guestmemfs=0:1G", "y", "ok"),
    # All that is given counts, in quotes as well; what is behind "--" is for init.
    ("kho=on guestmemfs=fresh guestmemfs=0:1G", "y", "fail"),
    ("kho=on guestmemfs=0:1G guestmemfs=fresh", "y", "fail"),
    ('kho=on guestmemfs="fresh"', "y", "fail"), ('kho=on "guestmemfs=fresh"', "y", "fail"),
    ('kho=on "guestmemfs=0:1G,fresh" quiet', "y", "fail"), ('"kho=off"', "y", "fail"),
    ('kho="off"', "y", "fail"), ("kho=off -- kho=on", "y", "fail"),
    ("kho=on -- guestmemfs=fresh", "y", "ok"), ('dyndbg="a guestmemfs=fresh b" kho=on', None, "ok"),
    # The kernel takes the second byte of this letter for a blank.
    ("kho=on x=\u00e0guestmemfs=fresh", "y", "fail"),
    ("kho=on kho=disabled", "y", "fail"), ("kho=Disable", "y", "fail"), ("kho=enabled", None, "ok"),
    ("kho=on guestmemfs=refresh", "y", "ok"), ("x " * 1022 + "kho=on", None, "fail"),
])
def test_handover_command_line(make, tmp_path, line, default, result):
    """What the next kernel is told must not throw anything away."""
    image = kernel(tmp_path / "bzImage")
    without = [] if default else ["KEXEC_HANDOVER_ENABLE_DEFAULT"]
    status = DIFFERS if result == "fail" else OK
    # That of this kernel, if it has no other.
    for tree, args in ((make(MACHINES["1"]()), ["--command-line", line]),
                       (make(MACHINES["1"](), cmdline=line), [])):
        tree.put("boot/config-7.3.4-next", config(without))
        assert judged(tree, "--kernel", image, *args, status=status)["command-line"] == result


@pytest.mark.parametrize("running, line, result", [
    ("quiet", "memtest=4", "fail"), ("quiet", "memtest", "fail"), ("quiet", "memtest=0", "ok"),
    ("quiet", "memtest=4 memtest=0", "ok"), ("memtest=4", "memtest=4", "fail"),
    ("quiet", "mem=3G", "fail"), ("mem=3G", "mem=3G", "ok"), ("mem=3G", "mem=0xC0000000", "ok"),
    ("mem=3G", "mem=4096m", "ok"), ("mem=3G", "mem=4G mem=2G", "fail"), ("mem=3G", "", "ok"),
    ("quiet", "mem=nopentium", "ok"), ("quiet", "memory=3G", "ok"), ("quiet", "-- mem=3G", "ok"),
    ("quiet", "memmap=64M$0x50000000", "unknown"), ("quiet", "memmap=exactmap", "unknown"),
    ("memmap=64M$0x50000000", "memmap=64M$0x50000000", "ok"),
    ("memmap=64M$0x50000000", "", "ok"),
    # In one word or in several, in any order, and once or twice.
    ("memmap=64M$0x50000000,2M$0x10000000", "memmap=2M$0x10000000 memmap=64M$0x50000000", "ok"),
    ("memmap=64M$0x50000000,2M$0x10000000", "memmap=2M$0x10000000", "ok"),
    ("memmap=64M$0x50000000", "memmap=64M$0x50000000 memmap=64M$0x50000000", "ok"),
    ("memmap=64M$0x50000000", "memmap=64M$0x50000000,2M$0x10000000", "unknown"),
    # Memory that the firmware does not name has to be added again.
    ("memmap=1G@0x100000000", "memmap=1G@0x100000000", "ok"),
    ("memmap=1G@0x100000000", "", "unknown"), ("memmap=1G%0x100000000-1+2", "", "unknown"),
    ("memmap=1G@0x0,exactmap,4G@0", "", "ok"), ("memmap=exactmap,4G@0", "memmap=exactmap", "unknown"),
    ("memmap=exactmap,4G@0", "memmap=exactmap,4G@0 memmap=exactmap memmap=4G@0", "ok"),
    ("memmap=exactmap,4G@0", "memmap=4G@0", "ok"), ("memmap", "memmap", "ok"),
    # An area of CMA at an address can be where a pool is, but not if this kernel has it too.
    ("quiet", "cma=64M@0x50000000", "unknown"), ("quiet", "cma=64M", "ok"),
    ("quiet", "cma=64M@1G-1088M", "unknown"), ("quiet", "cma=64M@1G-2G", "ok"),
    ("cma=64M@1G", "cma=64M@1G", "ok"), ("cma=64M@1G", "cma=32M@1024M", "ok"),
    ("cma=64M@1G", "cma=128M@1G", "unknown"), ("cma=64M@1G", "cma=64M@2G", "unknown"),
    # One without an address keeps that of the one before.
    ("quiet", "cma=64M@1G cma=64M", "unknown"), ("quiet", "cma=64M@1G cma=32M", "ok"),
    ("quiet", "cma=64M cma=64M@1G", "unknown"), ("quiet", "cma", "ok"), ("quiet", "cma=", "ok"),
    # A kdump kernel takes no pools over.
    ("quiet", "elfcorehdr=0x1000", "fail"), ("quiet", "elfcorehdr=1K@2M quiet", "fail"),
    ("quiet", "elfcorehdr", "ok"), ("quiet", "-- elfcorehdr=0x1000", "ok"),
])
def test_handover_memory_of_the_next_kernel(make, tmp_path, running, line, result):
    """The next kernel has all the memory that this one has, and does not write to it."""
    tree = make(MACHINES["1"](), cmdline=f"kho=on {running}")
    tree.put("boot/config-7.3.4-next", config())
    results = judged(tree, "--kernel", kernel(tmp_path / "bzImage"), "--command-line",
                     f"kho=on {line}", status=OK if result == "ok" else DIFFERS)
    assert results["command-line"] == result


@pytest.mark.parametrize("line,result", [
    ("guestmemfs=1:4G+1G", "ok"), ("guestmemfs=0x1:4G+10%", "ok"), ("guestmemfs=4G+1G", "ok"),
    ("guestmemfs=0:1G guestmemfs=1:4G+1G", "ok"), ("guestmemfs=1:4G", "warn"), ("", "warn"),
    ("guestmemfs=0:4G+1G", "warn"), ("guestmemfs=1:4G,1:4G+1G", "warn"), ("guestmemfs=4G", "warn"),
])
def test_handover_growth_reserve(make, tmp_path, line, result):
    """A node that has a growth reserve is to have one in the next kernel."""
    nodes = MACHINES["2"]()
    nodes[1].files["growth_reserve"] = f"{GIB}\n"
    tree = make(nodes, cmdline=f"kho=on {line}")
    tree.put("boot/config-7.3.4-next", config())
    image = kernel(tmp_path / "bzImage")
    assert judged(tree, "--kernel", image, status=OK)["growth-reserve"] == result
    tree.put("sys/fs/guestmemfs/node1/growth_reserve", "0\n")
    assert "growth-reserve" not in judged(tree, "--kernel", image, status=OK)


def test_handover_same_line_twice(make, tmp_path):
    """/proc/cmdline has the words of CONFIG_CMDLINE, so the same kernel parses them twice."""
    words = "kho=on mem=3G memmap=64M$0x50000000"
    tree = make(MACHINES["1"](), cmdline=f"{words} quiet")
    tree.put("boot/config-7.3.4-next", config() + f'CONFIG_CMDLINE="{words}"\n')
    image = kernel(tmp_path / "bzImage")
    assert judged(tree, "--kernel", image, status=OK)["command-line"] == "ok"
    # One that is built into the next kernel alone takes memory from it.
    tree.put("boot/config-7.3.4-next", config() + 'CONFIG_CMDLINE="mem=2G"\n')
    assert judged(tree, "--kernel", image, status=DIFFERS)["command-line"] == "fail"


@pytest.mark.parametrize("text, line, result", [
    ('kernel.mem = "3G"\n', "mem=3G", "unknown"), ('kernel.mem = "3G"\n', "", "ok"),
    ('kernel.memmap = "64M$0x50000000"\n', "memmap=64M$0x50000000", "unknown"),
    ('ftrace.event = "x"\n', "mem=3G", "ok"),
])
def test_handover_boot_configuration(make, tmp_path, text, line, result):
    """What the initrd's boot configuration adds to /proc/cmdline comes too late to take memory."""
    tree = make(MACHINES["1"](), cmdline="mem=3G memmap=64M$0x50000000 bootconfig kho=on")
    tree.put("proc/bootconfig", text)
    tree.put("boot/config-7.3.4-next", config())
    assert judged(tree, "--kernel", kernel(tmp_path / "bzImage"), "--command-line", f"kho=on {line}",
                  status=OK if result == "ok" else DIFFERS)["command-line"] == result


@pytest.mark.parametrize("builtin, line, result", [
    ('CONFIG_CMDLINE=""', "kho=on", "ok"),
    ('CONFIG_CMDLINE="quiet guestmemfs=fresh"', "kho=on", "fail"),
    ('CONFIG_CMDLINE="guestmemfs=\\"fresh\\" ro"', "kho=on", "fail"),
    ('CONFIG_CMDLINE="kho=on"', "ro", "ok"),
    ('CONFIG_CMDLINE="kho=on"', "ro kho=off", "fail"),
    ('CONFIG_CMDLINE="kho=off"\nCONFIG_CMDLINE_OVERRIDE=y', "kho=on", "fail"),
    ('CONFIG_CMDLINE="kho=on"\nCONFIG_CMDLINE_OVERRIDE=y', "guestmemfs=fresh", "ok"),
    ("CONFIG_CMDLINE_FROM_BOOTCONFIG=y", "kho=on", "unknown"),
])
def test_handover_builtin_command_line(make, tmp_path, builtin, line, result):
    """The next kernel can have a command line of its own, before the one it is given."""
    tree = make(MACHINES["1"]())
    tree.put("boot/config-7.3.4-next", config(["KEXEC_HANDOVER_ENABLE_DEFAULT"]) + builtin + "\n")
    assert judged(tree, "--kernel", kernel(tmp_path / "bzImage"), "--command-line", line,
                  status=OK if result == "ok" else DIFFERS)["command-line"] == result


def test_handover_kernel(make, tmp_path):
    tree = make(MACHINES["1"]())
    image = kernel(tmp_path / "bzImage")
    # Its configuration is not to be found, or where it is named.
    assert judged(tree, "--kernel", image, "--command-line", "kho=on",
                  status=DIFFERS)["format"] == "unknown"
    here = tmp_path / "config"
    here.write_text(config())
    assert judged(tree, "--kernel", image, "--config", str(here), status=OK)["format"] == "ok"
    # What is none has nothing in it that the kernel could not have.
    for text in gzip.compress(config().encode()), b"", b"\0\xff":
        here.write_bytes(text)
        assert "is no configuration" in on(tree, "handover", "--kernel", image, "--config", str(here),
                                           status=FAILED).err
        tree.put("boot/config-7.3.4-next", text)
        assert judged(tree, "--kernel", image, "--command-line", "kho=on",
                      status=DIFFERS)["format"] == "unknown"
    tree.put("lib/modules/7.3.4-next/config", config(["GUESTMEMFS_FS"]))
    assert judged(tree, "--kernel", image, status=DIFFERS)["format"] == "fail"
    on(tree, "handover", "--kernel", str(tmp_path / "none"), status=FAILED)
    on(tree, "handover", "--kernel", image, "--config", str(tmp_path / "none"), status=FAILED)
    for odd in (kernel(tmp_path / "a", magic=b"XXXX"), kernel(tmp_path / "b", release="../../x"),
                kernel(tmp_path / "c", release="x" * 300), kernel(tmp_path / "d", at=0xffc)):
        on(tree, "handover", "--kernel", odd, status=None)
    for size in (0, 10, 0x202, 0x210, 0x300, 0x301):
        with open(image, "r+b") as f:
            f.truncate(max(size, 0))
        done = on(tree, "handover", "--kernel", image, status=None)
        assert done.status in (OK, DIFFERS), done
        # A release of no characters is none.
        assert ("is cut short" in done.out) == (0x210 <= size <= 0x300), done
        kernel(tmp_path / "bzImage")


def test_handover_kernel_of_another_kind(make, tmp_path):
    """A unified kernel image is named as such, and a FIFO is not waited for."""
    tree = make(MACHINES["1"]())
    unified = tmp_path / "linux.efi"
    unified.write_bytes(b"MZ".ljust(0x1a0, b"\0") + b".osrel\0\0".ljust(40, b"\0") +
                        b".linux\0\0".ljust(0x2000, b"\0"))
    assert "is a unified kernel image" in on(tree, "handover", "--kernel", str(unified),
                                             status=DIFFERS).out
    other = tmp_path / "other.efi"
    other.write_bytes(b"MZ".ljust(0x3000, b"\0"))
    assert "is no kernel for x86" in on(tree, "handover", "--kernel", str(other), status=DIFFERS).out
    os.mkfifo(tmp_path / "fifo")
    for path, said in ((tmp_path / "fifo", "this is no regular file"), (tmp_path, "Is a directory"),
                       ("/dev/null", "this is no regular file")):
        assert said in on(tree, "handover", "--kernel", str(path), status=FAILED, timeout=60).err


@pytest.mark.parametrize("running, line, result", [
    ("", "numa=off", "unknown"), ("numa=off", "numa=off", "ok"), ("numa=off", "", "unknown"),
    ("numa=fake=4", "numa=fake=2", "unknown"), ("numa=off numa=off", "numa=off", "ok"),
    ("", "acpi=off", "unknown"), ("", "nonuma=off -- numa=off", "ok"),
])
def test_handover_nodes_of_the_next_kernel(make, tmp_path, running, line, result):
    """Other nodes: pools are kept, but files of a node that is gone cannot be reached."""
    tree = make(MACHINES["2"](), cmdline=f"kho=on {running}")
    tree.put("boot/config-7.3.4-next", config())
    assert judged(tree, "--kernel", kernel(tmp_path / "bzImage"), "--command-line",
                  f"kho=on {line}", status=OK if result == "ok" else DIFFERS)["command-line"] == result


def test_handover_exec(make, tmp_path):
    """What would be run; nothing of it if something would be lost."""
    tree = make(MACHINES["1"]())
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    done = on(tree, "handover", "--exec", image, "--dry-run", "--initrd", "/boot/initrd",
              "--command-line", "root=/dev/x kho=on")
    assert re.search(rf"^would run: kexec -s -l {re.escape(image)} .*root=/dev/x kho=on",
                     done.out, re.MULTILINE)
    assert "--initrd=/boot/initrd" in done.out
    done = on(tree, "handover", "--exec", image, "--dry-run", "--command-line", "kho=off",
              status=DIFFERS)
    assert "would run" not in done.out
    done = on(tree, "handover", "--exec", image, "--dry-run", "--command-line", "kho=off", "--force")
    assert "would run" in done.out and "not ready" in done.err
    # To be copied into a shell; and JSON is nothing but that.
    line = "kho=on root=/dev/x; 'a' $(b)\\"
    for more, place in ([], "out"), (["--json"], "err"):
        done = on(tree, "handover", "--exec", image, "--dry-run", "--command-line", line, *more)
        commands = [shlex.split(l)[2:] for l in getattr(done, place).splitlines() if "would run" in l]
        assert commands[0] == ["kexec", "-s", "-l", image, f"--command-line={line}"]
        assert commands[1] == ["sync"] and len(commands) == 3
    assert done.json()["handover"]


@pytest.mark.parametrize("args", [
    ["--initrd", "x"], ["--dry-run"], ["--force"], ["--config", "x"], ["--command-line", "x"],
    ["--exec", "x", "--kernel", "y"], ["more"], ["--kernel"],
], ids=" ".join)
def test_handover_usage(make, args):
    on(make(MACHINES["1"]()), "handover", *args, status=USAGE)


def test_handover_users(node_dir, tmp_path):
    """The kernel says who has a file, also if no process that is seen has it."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    (where / "vm").write_bytes(b"x")
    has_inodes(tree, 2)

    def users(env=()):
        rows = tool("handover", "--kernel", image, "--json", status=None, env=dict(env)
                    ).json()["handover"]
        return {r["check"]: (r["result"], r["detail"]) for r in rows}["users"]

    seen = {"SHIM_MOUNT": str(where)}
    assert users(seen) == ("ok", "no process has files mapped or open")
    one, two = socket.socketpair()
    with open(where / "vm", "rb") as f:
        socket.send_fds(one, [b"x"], [f.fileno()])
    result, detail = users(seen)
    assert result == "unknown" and "1 files are in use, such as node1/vm, by no" in detail
    assert "finish these sessions" in detail and "preserve" in detail and "in a socket" in detail
    # A session of LUO has it: it is preserved, unless a process has it as well.
    # In a pid namespace of its own, as in a container, the tool does not see all processes.
    all_seen = sees_all_processes()
    for number, result in ("0", "unknown"), ("1", "ok"), ("2", "ok"):
        result = result if all_seen else "unknown"
        tree.put("sys/fs/guestmemfs/node1/preserved_files", number + "\n")
        found = users(seen)
        assert found[0] == result
    assert "only LUO has files open, and preserves all 2" in found[1] or not all_seen
    device = os.stat(where).st_dev
    tree.put("proc/5000000/comm", "guest\n")
    tree.put("proc/5000000/maps", f"7f00-7fff rw-s 00000000 {os.major(device):02x}:"
             f"{os.minor(device):02x} {os.stat(where / 'vm').st_ino}  /x\n")
    assert users(seen)[0] == "fail"
    mounts = tree.get("sys/fs/guestmemfs/node1/mounts")
    os.unlink(tree.path("sys/fs/guestmemfs/node1/mounts"))
    assert users(seen)[0] == "fail"
    tree.put("sys/fs/guestmemfs/node1/mounts", mounts)
    # Also if no namespace shows where it is mounted.
    mountinfo = tree.get("proc/self/mountinfo")
    tree.put("proc/self/mountinfo", "")
    assert users(seen)[0] == "fail"
    # A thread has descriptors of its own.
    tree.put("proc/5000000/maps", "")
    os.makedirs(tree.path("proc/5000000/task/5000001/fd"))
    os.makedirs(tree.path("proc/5000000/fd"))
    os.symlink(where / "vm", tree.path("proc/5000000/task/5000001/fd/7"))
    assert users(seen) == ("fail", "they end with this kernel: save and stop them first: "
                           "guest[5000000]")
    shutil.rmtree(tree.path("proc/5000000"))
    tree.put("proc/self/mountinfo", mountinfo)
    # What cannot be read is not known to be 0.
    for name in "preserved_files", "free_inodes", "total_inodes":
        text = tree.get(f"sys/fs/guestmemfs/node1/{name}")
        os.unlink(tree.path(f"sys/fs/guestmemfs/node1/{name}"))
        assert users(seen)[0] == "unknown", name
        tree.put(f"sys/fs/guestmemfs/node1/{name}", text)
    tree.put("sys/fs/guestmemfs/node1/preserved_files", "0\n")
    one.close()
    two.close()
    # More inodes than names: who has the others is not known.
    has_inodes(tree, 5)
    result, detail = users(seen)
    assert result == "unknown" and "3 in use have no name any more, by no process" in detail
    has_inodes(tree, 6)
    os.link(where / "vm", where / "link")
    os.symlink("nowhere", where / "symlink")
    os.mkfifo(where / "fifo")
    (where / "dir").mkdir()
    (where / "dir" / "file").write_text("x")
    assert users(seen)[0] == "ok"
    # Fewer are not possible: what was counted changed in between.
    has_inodes(tree, 5)
    result, detail = users(seen)
    assert result == "unknown" and "come and go" in detail
    # It cannot be mounted; it is mounted nowhere.
    assert users()[0] == "unknown"
    tree.put("sys/fs/guestmemfs/node1/mounts", "0\n")
    assert users()[0] == "ok"


def test_handover_deleted_names(node_dir, tmp_path):
    """A name that ends as /proc has those of deleted files is a name; so is a second one."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    (where / "x (deleted)").write_bytes(b"x")
    has_inodes(tree, 2)
    device = os.stat(where).st_dev
    tree.put("proc/5000000/comm", "guest\n")

    def lost(name, target, task=""):
        inode = os.stat(target).st_ino
        line = f"7f00-7fff rw-s 00000000 {os.major(device):02x}:{os.minor(device):02x} {inode}  /{name}\n"
        tree.put("proc/5000000/maps", "" if task else line)
        if task:
            tree.put(f"proc/5000000/task/{task}/maps", line)
        os.makedirs(tree.path(f"proc/{task or 5000000}/map_files"), exist_ok=True)
        tree.link(f"proc/{task or 5000000}/map_files/7f00-7fff", target)
        rows = tool("handover", "--kernel", image, "--json", status=DIFFERS,
                    env={"SHIM_MOUNT": str(where)}).json()["handover"]
        assert "fail" == {r["check"]: r["result"] for r in rows}["users"]
        return [r["detail"] for r in rows if r["check"] == "files"]

    gone = "1 that are in use have no name any more: they are lost"
    assert not lost("x (deleted)", where / "x (deleted)")
    # Of a thread, after the first one has ended.
    assert not lost("x (deleted)", where / "x (deleted)", task="5000001")
    shutil.rmtree(tree.path("proc/5000000/task"))
    (where / "gone").write_bytes(b"x")
    os.link(where / "gone", where / "other")
    with open(where / "gone", "rb") as held:
        handle = f"/proc/{os.getpid()}/fd/{held.fileno()}"
        os.unlink(where / "gone")
        assert not lost("gone (deleted)", handle)
        os.unlink(where / "other")
        assert lost("gone (deleted)", handle) == [gone]
    # What is not to be seen is not known to have a name.
    os.unlink(tree.path("proc/5000000/map_files/7f00-7fff"))
    assert gone in tool("handover", "--kernel", image, status=DIFFERS,
                        env={"SHIM_MOUNT": str(where)}).out


def test_handover_of_memory_that_is_discarded(node_dir, tmp_path):
    """A QEMU that frees its memory when it quits is named; so is a file that has none."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    (where / "vm").write_bytes(b"x" * 4096)
    has_inodes(tree, 2)

    def discard():
        rows = tool("handover", "--kernel", image, "--json", status=None, env={"SHIM_MOUNT": str(where)}
                    ).json()["handover"]
        return [(r["result"], r["detail"]) for r in rows if r["check"] == "discard"]

    assert not discard()
    device = os.stat(where).st_dev
    tree.put("proc/5000000/comm", "qemu\n")
    tree.put("proc/5000000/maps", f"7f00-7fff rw-s 00000000 {os.major(device):02x}:"
             f"{os.minor(device):02x} {os.stat(where / 'vm').st_ino}  /x\n")
    for argument, found in (("memory-backend-file,id=ram,discard-data=off", False),
                            ("memory-backend-file,discard-data=on,id=ram", True),
                            ('{"qom-type":"memory-backend-file","discard-data":true}', True)):
        tree.put("proc/5000000/cmdline", f"qemu\0-object\0{argument}\0")
        said = discard()
        assert bool(said) == found, argument
    (result, detail), = said
    assert result == "warn" and detail.endswith("end these by SIGKILL instead: qemu[5000000]")
    shutil.rmtree(tree.path("proc/5000000"))
    assert not discard()
    # It was not.
    os.truncate(where / "vm", 0)
    assert not discard()
    os.truncate(where / "vm", 4096)
    (result, detail), = discard()
    assert result == "warn" and detail.startswith("1 files have a size and no memory, such as node1/vm:")


def test_handover_looks_again(node_dir, tmp_path):
    """A machine that starts while the kernel is loaded stops it."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    config_file = tmp_path / "config"
    config_file.write_text(config())
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    (where / "vm").write_bytes(b"x")
    has_inodes(tree, 2)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("kexec", f'echo "$*" >> {tmp_path}/log'),
                         # The file is open when sync ends. Nothing else is: the test waits for
                         # the end of the output.
                         ("sync", f"exec 3< {where}/vm; sleep 100 > /dev/null 2>&1 & "
                          f"echo $! > {tmp_path}/pid")):
        (programs / name).write_text(f"#!/bin/sh\nunset LD_PRELOAD\n{script}\n")
        (programs / name).chmod(0o755)
    (programs / "systemctl").symlink_to("kexec")
    env = {"SHIM_MOUNT": str(where),
           "PATH": f"{programs}:{os.environ['PATH']}"}
    with open(tmp_path / "out", "w+b") as out:
        done = tool("handover", "--exec", image, "--config", str(config_file), "--command-line",
                    "kho=on", env=env, status=FAILED, stdout=out)
    with open(tmp_path / "pid", encoding="ascii") as f:
        os.kill(int(f.read()), signal.SIGKILL)
    assert "not ready any more: users: " in done.err
    with open(tmp_path / "log", encoding="ascii") as f:
        assert [line.split()[:2] for line in f] == [["-s", "-l"], ["-s", "-u"]]


def test_handover_interrupted(node_dir, tmp_path):
    """What a terminal sends to all while a kernel is loaded: it is unloaded, to the end."""
    where, tool, tree = node_dir
    image = kernel(tmp_path / "bzImage")
    (tmp_path / "config").write_text(config())
    has_inodes(tree, 1)
    programs = tmp_path / "bin"
    programs.mkdir()
    # One of a group of its own, as a terminal has it in the foreground; -u is sent one more.
    (programs / "kexec").write_text("#!/bin/sh\nunset LD_PRELOAD\necho \"$*\" >> "
                                    f"{tmp_path}/log\nkill -INT 0\nsleep 0.2\necho end >> {tmp_path}/log\n")
    (programs / "kexec").chmod(0o755)
    for name in "sync", "systemctl":
        (programs / name).symlink_to("kexec")
    with open(tmp_path / "out", "w+b") as out:
        done = tool("handover", "--exec", image, "--config", str(tmp_path / "config"),
                    "--command-line", "kho=on", status=FAILED, stdout=out, start_new_session=True,
                    env={"SHIM_MOUNT": str(where), "PATH": f"{programs}:{os.environ['PATH']}"})
    assert "nothing was executed" in done.err
    with open(tmp_path / "log", encoding="ascii") as f:
        lines = f.read().splitlines()
    assert [l.split()[:2] for l in lines] == [["-s", "-l"], ["-s", "-u"], ["end"]], lines
