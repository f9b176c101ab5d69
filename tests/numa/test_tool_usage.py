# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa: options, help, manual pages, full disks, and valgrind."""

import os
import re
import subprocess

import pytest
from offline import ON_ONE, config, help_of, kernel, on, options_of, process, shimmed, with_grub
from sysroot import GIB, MACHINES, Node
from tool import (COMMANDS, DIFFERS, FAILED, MANUAL_PAGES, NO_POOL, OK, SOURCE, USAGE, VALGRIND,
                  build, call, manual_page, plain)

pytestmark = [pytest.mark.quick, pytest.mark.offline]


def section(page, title):
    """Source of a section of a page, "" if there is none."""
    return manual_page(page).partition(f"\n.SH {title}\n")[2].partition("\n.SH ")[0]


def tagged(page):
    """Options that have an entry in a page's OPTIONS."""
    entries = re.findall(r"^\.TP\n(.*)$", section(page, "OPTIONS"), re.MULTILINE)
    return {o for entry in entries for o in re.findall(r"(?<![\w-])--[a-z][a-z-]*", plain(entry))}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_manual(command):
    """They name the same commands and options."""
    text = call(["--help"]).out
    assert command == "files" or re.search(rf"^  {command} ", text, re.MULTILINE)
    page = f"gmfs-numa-{command}.8"
    assert page in MANUAL_PAGES
    options = options_of(command)
    assert options == tagged(page), \
        f"only in --help: {options - tagged(page)}; only in {page}: {tagged(page) - options}"
    for title in "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO":
        assert section(page, title), f"{page} has no {title}"
    for title in "COMMANDS", "SEE ALSO":
        assert re.search(rf"\b{command}\b", plain(section("gmfs-numa.8", title))) or command == "files"
    help_text = help_of(command)
    assert help_text.startswith(f"Usage: gmfs-numa {command} ")
    assert all(len(l) <= 100 for l in help_text.splitlines())
    assert call([command, "--usage"]).out
    assert call([command, "--nonsense"], status=USAGE).err
    assert call([command, "-Z"], status=USAGE).err
    # Each option that wants something says so, short and long.
    for short, name in re.findall(r"^  -(.), (--[a-z-]+)=[A-Z]", help_text, re.MULTILINE):
        call([command, name], status=USAGE)
        call([command, f"-{short}"], status=USAGE)


def test_command_line(make, tmp_path):
    tree = make(MACHINES["2"]())
    assert call(["--version"]).out == call(["-V"]).out
    for command in COMMANDS:
        assert call([command, "--version"]).out == call([command, "-V"]).out == call(["-V"]).out
    assert call(["--help"]).out == call(["-h"]).out == call(["help"]).out
    for command in "status", "run", "files":
        assert help_of(command) == call([command, "-h"]).out == call(["help", command]).out
    assert "'nonsense'" in call(["help", "nonsense"], status=USAGE).err
    with open(os.path.join(SOURCE, "debian", "changelog"), encoding="utf-8") as f:
        version = re.match(r"gmfs-numa \((.*)\)", f.readline()).group(1)
    assert call(["--version"]).out == f"gmfs-numa {version}\n"
    assert "'nonsense'" in call(["nonsense"], status=USAGE).err
    call([""], status=USAGE)
    call(["--sysroot"], status=USAGE)
    call(["--nonsense"], status=USAGE)
    for option in ["--sysroot", str(tmp_path)], [f"--sysroot={tmp_path}"]:
        assert "this kernel has no" not in call([*option, "status"], status=NO_POOL).err
    assert "needs a directory" in call(["--sysroot=", "status"], status=USAGE).err
    # A name that is wrong is no machine without a pool, and none is not this machine.
    for root, said in ((tmp_path / "none", "No such file"), ("/etc/passwd", "Not a directory")):
        assert said in call(["--sysroot", str(root), "status"], status=FAILED).err
    for args in ["status"], ["discard", "0", "--yes"]:
        assert "needs a directory" in call(["--sysroot", "", *args], status=USAGE).err
    # Options of status without its name, also behind arguments.
    assert on(tree, "-rn", "-o", "node").out == on(tree, "status", "-rn", "-o", "node").out
    assert on(tree, "status", "1", "-rn", "-o", "node").out == "1\n"
    for status in (OK, DIFFERS, FAILED, USAGE, NO_POOL):
        assert re.search(rf"^{status}$", plain(section("gmfs-numa.8", "EXIT STATUS")), re.MULTILINE)


@pytest.mark.parametrize("args", [
    ["status"], ["status", "--json"], ["map"], ["map", "--json"], ["ls", "--json"], ["get"],
    ["check"], ["metrics"], ["handover"], ["plan", "--reserve", "1G"], ["--help"], ["--version"],
    ["map", "--help"], ["map", "--svg", "/dev/full"], ["verify", "77"],
], ids=" ".join)
def test_disk_full(make, args):
    """What could not be written is an error."""
    tree = make(MACHINES["2"]())
    process(tree, 77, "2", ON_ONE)
    with open("/dev/full", "wb") as full:
        done = on(tree, *args, stdout=full, status=FAILED)
    assert "cannot write" in done.err or "/dev/full: " in done.err


def test_reader_goes(make):
    """Who reads only the beginning, as head(1), hears no complaint."""
    tree = make(MACHINES["16"]())
    line = f"set -o pipefail; {build(sanitize=True)} --sysroot {tree.root} get | head -n 1"
    done = subprocess.run(["bash", "-c", line], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.stdout.startswith("NODE") and not done.stderr


def test_no_descriptors(make):
    """Nodes that cannot be looked at are not reported as missing."""
    tree = make(MACHINES["2"]())
    line = f"ulimit -n 4; {build()} --sysroot {tree.root} status"
    done = subprocess.run(["bash", "-c", line], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == FAILED and "/sys/fs/guestmemfs: Too many open files" in done.stderr


def test_mount_usage(make):
    tree = make(MACHINES["2"]())
    for command in "mount", "umount":
        on(tree, command, "--base", "relative", status=USAGE)
        on(tree, command, "x", status=USAGE)
    # Another node in a node's directory would be memory of the wrong one.
    for options in "node=1", "noatime,node=0", "node":
        assert "name nodes as arguments" in on(tree, "mount", "-o", options, "0", status=USAGE).err
    for args, status in (([], USAGE), (["/etc/passwd", "nonsense"], USAGE),
                         (["/etc/passwd"], FAILED)):
        on(tree, "tag", *args, status=status)
    for age in ("", "1", "x", "1w", "-1d", "1.5h", "99999999999999999999d"):
        on(tree, "reap", f"--older-than={age}", status=USAGE)


def test_failed_mount_leaves_no_directory(make, shim, tmp_path):
    """QEMU would make its file there, on another file system, without a word."""
    tree = make([Node(1022, cpus="0"), Node(1023)])
    (tmp_path / "node1022").mkdir()
    done = shimmed(shim, tree, "mount", "--base", str(tmp_path), status=FAILED)
    assert "node 1022: " in done.err and "node 1023: " in done.err
    assert (tmp_path / "node1022").is_dir() and not (tmp_path / "node1023").exists()


def test_mounted_by_another_name(make, shim, tmp_path):
    """A base through a link, or with dots, is the same directory."""
    tree = make([Node(1, cpus="0")])
    (tmp_path / "base" / "node1").mkdir(parents=True)
    (tmp_path / "link").symlink_to("base")
    tree.put("proc/self/mountinfo", f"40 29 0:40 / {tmp_path}/base/node1 rw - guestmemfs none rw,node=1\n")
    for base in "base", "base/", "link", "base/.", "base/../link":
        done = shimmed(shim, tree, "mount", "--base", f"{tmp_path}/{base}", "1")
        assert "is mounted at" in done.out and done.out.endswith(" already\n"), done
        # The kernel has no such mount, which is not the same as "is not mounted".
        assert "is not mounted" not in shimmed(shim, tree, "umount", "--base", f"{tmp_path}/{base}", "1",
                                               status=FAILED).out


def test_valgrind(make, tmp_path, shim):
    """The tool as it is installed, which sanitizers do not change."""
    tree = make(MACHINES["4"]())
    process(tree, 77, "4", ON_ONE)
    with_grub(tree)
    image = kernel(tmp_path / "bzImage")
    tree.put("boot/config-7.3.4-next", config())
    for args, status in (
            (["status", "--json"], OK), (["map"], FAILED), (["ls"], OK), (["metrics"], OK),
            (["map", "--svg", str(tmp_path / "x.svg")], FAILED), (["check"], DIFFERS),
            (["get", "0"], OK), (["set", "0", "reserve=8"], OK),
            (["handover", "--kernel", image], OK), (["verify", "77"], DIFFERS),
            (["plan", "--reserve", "30%", "--nodes", "0", "--apply"], OK),
            (["status", "7"], NO_POOL)):
        call(["--sysroot", tree.root, *args], status=status, prefix=[*VALGRIND, build()],
             env={"LD_PRELOAD": shim, "SHIM_OPENAT2": "1"})


def test_sysroot_is_not_left(make, tmp_path):
    """Symbolic links of the tree are those of the other machine, from its root."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    other = make([Node(0, cpus="2-3"), Node(1, cpus="0-1", pool=GIB)])
    for where in tree, other:
        process(where, 77, "0-1", ["7f00 default anon=1 dirty=1 N0=1"])
        where.put("sys/devices/pci0/numa_node", "1\n" if where is other else "0\n")
    os.makedirs(tree.path("sys/class/net"))
    tree.link("sys/class/net/inside", "/sys/devices/pci0")
    tree.link("sys/class/net/outside", other.path("sys/devices/pci0"))
    assert "gmfs-numa mount 0" in on(tree, "run", "--size", "2M", "--near", "inside", "--base",
                                     str(tmp_path), "--", "true", status=FAILED).err
    assert "neither" in on(tree, "run", "--size", "2M", "--near", "outside", "--", "true",
                           status=USAGE).err
    on(tree, "verify", "77")
    for name in "proc/77/task", "sys/devices/system/node", "sys/fs/guestmemfs":
        for target, good in ((f"/copy/{name}", True), (other.path(name), False)):
            here = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
            process(here, 77, "0-1", ["7f00 default anon=1 dirty=1 N0=1"])
            os.makedirs(os.path.dirname(here.path(f"copy/{name}")))
            os.rename(here.path(name), here.path(f"copy/{name}"))
            here.link(name, target)
            args = ["status"] if "guestmemfs" in name else ["verify", "77"]
            assert (on(here, *args, status=None).status == OK) == good, (name, good)


    tree.link("proc/self/mountinfo", other.path("proc/self/mountinfo"))
    assert "/proc/self/mountinfo cannot be read" in on(tree, "reap", status=FAILED).err


def test_sysroot_is_to_look(make, tmp_path):
    """A copy of another machine does not say what is to be done on this one."""
    tree = make(MACHINES["2"]())
    for args in (["mount"], ["umount"], ["reap", "--yes"], ["load", "file"], ["store", "file"],
                 ["tag", "file", "owner=x"], ["handover", "--exec", "/none"]):
        with open(tmp_path / "out", "wb") as out:
            done = on(tree, *args, status=USAGE, stdout=out)
        assert "--sysroot is to look at another machine" in done.err, args
