# SPDX-License-Identifier: GPL-2.0
"""What the offline tests of gmfs-numa share: trees of sysfs, and the shim.

They need no kernel with guestmemfs and no virtual machine. The tool is built with ASan and UBSan.
conftest.py makes the fixtures known to all tests.
"""

import os
import re
import resource
import shutil
import signal
import subprocess

import pytest
from conftest import TOP
from sysroot import GIB, Node, Tree
from tool import SANITIZER_OPTIONS, call

# PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h
INITIAL_PID_NAMESPACE = 0xeffffffc

# Those that look at nodes, and need nothing but sysfs.
LOOKING = (["status"], ["map"], ["check"], ["get"], ["handover"], ["ls"], ["reap"])
NUMBERS = ("size", "free_1g", "mounts", "generation")


@pytest.fixture
def make(tmp_path):
    """make(nodes, ...) is a tree; make.call(tree, ...) the tool on it."""
    count = iter(range(1000))

    def new(nodes=(), **kwargs):
        return Tree(tmp_path / f"tree{next(count)}", nodes, **kwargs)
    return new


def on(tree, *args, **kwargs):
    return call(["--sysroot", tree.root, *args], **kwargs)


def files_of(tree):
    """{path: contents} of all that a tree has."""
    return {os.path.join(here, name): open(os.path.join(here, name), "rb").read()
            for here, _, names in os.walk(tree.root) for name in names
            if os.path.isfile(os.path.join(here, name))}


def help_of(command):
    return call([command, "--help"]).out


def columns_of(command):
    return re.findall(r"^  (\S+) ", help_of(command).partition("Columns:\n")[2], re.MULTILINE)


def sees_all_processes():
    """Who uses a file is not known to others than root, nor in a container."""
    return os.stat("/proc/self/ns/pid").st_ino == INITIAL_PID_NAMESPACE and not os.geteuid()


def small_disk():
    """For a process in which no file gets larger than 20 bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))


def big(nr=2, memory=64 * GIB):
    return [Node(n, pool=0, cpus=f"{n}", memory=memory) for n in range(nr)]


def with_grub(tree):
    """As Debian has it. test_bootloader.py has the others."""
    tree.put("usr/sbin/grub-mkconfig", "for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n")
    tree.put("usr/sbin/update-grub", "")
    tree.put("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n')
    return tree


def kernel(path, release="7.3.4-next", magic=b"HdrS", at=0x300):
    """A file that is as much of a bzImage as says which release it is."""
    image = bytearray(0x1000)
    image[0x202:0x206] = magic
    image[0x20e:0x210] = (at - 0x200).to_bytes(2, "little")
    text = f"{release} (root@host) #1 SMP".encode() + b"\0"
    image[at:at + len(text)] = text
    path.write_bytes(image)
    return str(path)


GOOD = {"GUESTMEM_POOL": "y", "GUESTMEMFS_FS": "y", "GUESTMEM_POOL_FORMAT": "1",
        "GUESTMEM_POOL_INCOMPAT": "0x0", "GUESTMEM_POOL_RO_COMPAT": "0x0",
        "KEXEC_HANDOVER": "y", "KEXEC_HANDOVER_ENABLE_DEFAULT": "y"}


def config(without=(), **options):
    text = "# CONFIG_A is not set\n"
    return text + "".join(f"CONFIG_{n}={v}\n" for n, v in {**GOOD, **options}.items()
                          if n not in without)


def process(tree, pid, cpus, maps, threads=None, state="S"):
    """maps are lines of numa_maps; "rw-s" and the like before one are what maps says of it.

    A mapping of a file in a pool has "DEVICE:INODE " before it instead. threads: {tid: CPUs}
    of the others.
    """
    of_maps, of_numa = [], []
    for line in maps:
        permissions, device, line = re.match(
            "([r-][w-][x-][sp] )?([0-9a-f]+:[0-9a-f]+:[0-9]+ )?(.*)", line).groups()
        path = re.search("file=(.*?)( |$)", line)
        device, inode = (device or "00:01:9").strip().rsplit(":", 1)
        of_numa.append(line)
        of_maps.append(f"{line.split()[0]}-7fff {permissions or 'rw-p '}00000000 {device} {inode}"
                       f"    {path.group(1) if path else '/x'}")
    for tid, allowed in {pid: cpus, **(threads or {})}.items():
        here = f"proc/{pid}/task/{tid}"
        ended = state if tid == pid else "S"
        tree.put(f"{here}/status", f"Name:\tx\nState:\t{ended} (x)\nCpus_allowed:\tff\n"
                 f"Cpus_allowed_list:\t{allowed}\n")
        for name, lines in ("numa_maps", of_numa), ("maps", of_maps):
            tree.put(f"{here}/{name}", "" if ended == "Z" else "".join(l + "\n" for l in lines))


ON_ONE = ["7f00 bind:1 anon=3 dirty=3 N1=3 kernelpagesize_kB=4",
          "7f01 default file=/usr/bin/x mapped=5 N0=5 kernelpagesize_kB=4",
          "7f02 bind:1 stack anon=1 dirty=1 N1=1 kernelpagesize_kB=4"]


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """Has directories pass for nodes, see shim.c."""
    library = str(tmp_path_factory.mktemp("shim") / "shim.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-I" + os.path.join(TOP, "include", "uapi"), "-o", library,
                    os.path.join(TOP, "tests", "numa", "shim.c")], check=True)
    return library


def shim_options(shim, tree):
    """Environment of the tool on a tree that takes the place of this machine's files."""
    options = f"{SANITIZER_OPTIONS['ASAN_OPTIONS']}:verify_asan_link_order=0:detect_leaks=0"
    return {"LD_PRELOAD": shim, "SHIM_ROOT": tree.root, "ASAN_OPTIONS": options}


def shimmed(shim, tree, *args, env=None, **kwargs):
    return call(args, env={**shim_options(shim, tree), **(env or {})}, **kwargs)


def on_node(tree, path, nid):
    """The file system of a path passes for that node. Environment for the shim."""
    device = os.stat(path).st_dev
    tree.put("proc/self/mountinfo", f"40 29 {os.major(device)}:{os.minor(device)} / {path} rw - "
             f"guestmemfs none rw,node={nid}\n")
    return {"SHIM_DEVICE": str(device)}


def options_of(command):
    return set(re.findall(r"^ +(?:-., |    )(--[a-z][a-z-]*)", help_of(command), re.MULTILINE))


@pytest.fixture
def node_dir(make, shim, tmp_path):
    """(directory that passes for node 1, tool(args...) that runs on it, its tree)."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    where = tmp_path / "node1"
    where.mkdir()
    device = on_node(tree, where, 1)
    tree.put("proc/stat", "cpu 1 2 3\nbtime 1000000\n")

    def tool(*args, env=(), **kwargs):
        return shimmed(shim, tree, *args, env={**device, **dict(env)}, **kwargs)

    return where, tool, tree


def has_inodes(tree, nr):
    """How many the kernel says that node 1 has."""
    tree.put("sys/fs/guestmemfs/node1/free_inodes", f"{512 - nr}\n")


def needs(program):
    """Of a test that is all about a program: where that is missing, the report says so."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def quiet(*command, **kwargs):
    """Runs it; whatever it says is wrong."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **kwargs)
    assert done.returncode == 0 and not done.stderr, f"{command}: {done.returncode}\n{done.stderr}"
    return done.stdout
