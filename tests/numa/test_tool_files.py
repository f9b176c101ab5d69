# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa ls, tag and reap, on directories that the shim makes nodes of."""

import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import threading
import time

import pytest
from offline import has_inodes, kernel, on, on_node, shim_options, shimmed
from sysroot import MACHINES, Node, Pin
from tool import DIFFERS, FAILED, USAGE, VALGRIND, build

pytestmark = [pytest.mark.quick, pytest.mark.offline]

# Of fcntl(2); the module fcntl does not have it.
F_SETSIG = 10

NAMES = ("plain", "with blank", 'a"quote', "back\\slash", "new\nline", "tab\tstop", "ümlaut", "\x01",
         "esc\x1b[31m", "{}", "%s%n", "-n", "a" * 200)


def test_file_names(make, tmp_path, shim):
    """In JSON each is what it is, and a table has one line for each."""
    where = tmp_path / "node1"
    (where / "deep" / "er").mkdir(parents=True)
    for name in NAMES:
        (where / name).write_bytes(b"x")
    (where / "deep" / "er" / "file").write_bytes(b"")
    os.symlink("plain", where / "link")
    tree = make(MACHINES["2"]())
    env = on_node(tree, where, 1)
    files = shimmed(shim, tree, "ls", "--json", "1", env=env).json()["files"]
    assert {f["file"] for f in files} == {str(where / n) for n in (*NAMES, "deep/er/file")}
    out = shimmed(shim, tree, "ls", "-n", "-o", "file", "1", env=env).out
    assert len(out.splitlines()) == len(files) and "\033" not in out
    raw = shimmed(shim, tree, "files", "-rn", "-o", "node,file,size", "1", env=env).rows()
    assert len(raw) == len(files) and all(len(r) == 3 for r in raw)


def tag(path, **tags):
    for name, value in tags.items():
        os.setxattr(path, f"user.guestmemfs.{name}", value.encode())


def reaped(done):
    """{name: what reap says of it}"""
    return {os.path.basename(f["file"]): f for f in done.json()["files"]}


def test_walk(node_dir, tmp_path):
    """What is too deep for a path is seen; what only seems to be there is left alone."""
    where, tool, tree = node_dir
    other = tmp_path / "other"
    other.mkdir()
    (other / "victim").write_text("x")
    os.symlink(other, where / "link")
    os.symlink(other / "victim", where / "file")
    os.mkfifo(where / "fifo")
    here = os.getcwd()
    try:
        os.chdir(where)
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        with open("hidden", "w", encoding="utf-8"):
            pass
    finally:
        os.chdir(here)
    assert [os.path.basename(f["file"]) for f in tool("ls", "--json").json()["files"]] == ["hidden"]
    assert set(reaped(tool("reap", "--no-owner", "--json"))) == {"hidden"}
    tool("ls", f"{where}/link", status=FAILED)
    assert set(reaped(tool("reap", "--no-owner", "--yes", "--json"))) == {"hidden"}
    assert (other / "victim").exists() and os.path.lexists(where / "fifo")
    # A directory that cannot be looked at is no empty one.
    limited = tool("ls", "--json", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                         (20, 20)), status=FAILED)
    assert "Too many open files" in limited.err


def test_walk_other_file_system(make, shim, tmp_path):
    """mountinfo has a node there, and something else is mounted over it."""
    tree = make([Node(1, cpus="0")], mounts=[(1, tmp_path)])
    (tmp_path / "disk.img").write_text("x")
    for args in ["ls"], ["reap", "--no-owner", "--yes"]:
        done = shimmed(shim, tree, *args, status=FAILED)
        assert "node 1: its files are not seen" in done.err
    # Of a node of which a directory alone is mounted, not all files are seen.
    tree.put("proc/self/mountinfo", f"40 29 0:41 /sub {tmp_path} rw - guestmemfs none rw,node=1\n")
    for args in ["ls"], ["reap", "--no-owner", "--yes"]:
        assert "only a directory of it is mounted" in shimmed(shim, tree, *args, status=FAILED).err
    assert (tmp_path / "disk.img").exists()


def test_walk_while_it_changes(node_dir, tmp_path):
    """When the first file is gone, a directory becomes a link: what it leads to stays."""
    where, tool, _ = node_dir
    victims = tmp_path / "victims"
    victims.mkdir()
    for name in "x", "y":
        (victims / name).write_text("x")
    for i in range(200):
        (where / f"a{i:03}").write_text("")
    (where / "d").mkdir()
    (where / "d" / "x").write_text("x")

    def swap():
        while (where / "a000").exists():
            pass
        os.rename(where / "d", where / "old")
        os.symlink(victims, where / "d")

    other = threading.Thread(target=swap)
    other.start()
    tool("reap", "--no-owner", "--yes")
    other.join()
    assert sorted(os.listdir(victims)) == ["x", "y"]


def test_reap_in_use(node_dir):
    """Whoever has it, and though nothing of that is in /proc."""
    where, tool, _ = node_dir
    for name in "mapped", "socket", "nobody":
        (where / name).write_bytes(b"x")
    with open(where / "mapped", "rb") as f:
        mapping = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    one, two = socket.socketpair()
    with open(where / "socket", "rb") as f:
        socket.send_fds(one, [b"x"], [f.fileno()])
    assert set(reaped(tool("reap", "--no-owner", "--json"))) == {"nobody"}
    found = reaped(tool("reap", "--no-owner", "--yes", "--json"))
    assert set(found) == {"nobody"} and found["nobody"]["removed"]
    assert sorted(os.listdir(where)) == ["mapped", "socket"]
    mapping.close()
    one.close()
    two.close()


def test_reap_descriptor_alone(node_dir):
    """O_PATH opens nothing, so that no lease is refused."""
    where, tool, tree = node_dir
    for name in "held", "nobody":
        (where / name).write_text("x")
    os.makedirs(tree.path("proc/5000000/fd"))
    os.symlink(where / "held", tree.path("proc/5000000/fd/3"))
    for args in [], ["--yes"]:
        assert set(reaped(tool("reap", "--no-owner", "--json", *args))) == {"nobody"}
    assert os.listdir(where) == ["held"]


def test_reap_descriptor_of_a_file_that_waits(node_dir):
    """A descriptor with O_PATH counts that is opened while other files are removed."""
    where, tool, tree = node_dir
    for number in range(640):
        (where / f"{number:03}").write_text("")
    (where / "last").write_text("x")
    os.makedirs(tree.path("proc/5000000/fd"))

    def take():
        while (where / "000").exists():
            time.sleep(0.001)
        os.symlink(where / "last", tree.path("proc/5000000/fd/3"))

    other = threading.Thread(target=take)
    other.start()
    found = reaped(tool("reap", "--no-owner", "--yes", "--json"))
    other.join()
    assert list(found) == [f"{number:03}" for number in range(640)]
    assert os.listdir(where) == ["last"]


def test_many_files_and_mappings(node_dir):
    """Who has many files, mappings or mounts makes the commands neither slow nor large."""
    where, tool, tree = node_dir
    for number in range(300):
        (where / f"{number:03}").write_text("")
    tree.put("proc/5000000/maps", "")
    done = tool("reap", "--no-owner", "--json", env={"SHIM_OPENS": "1"})
    assert len(done.json()["files"]) == 300
    # A search for each batch of files, and not for each file.
    assert 1 <= done.err.splitlines().count("open /proc/5000000/maps") <= 100
    device = os.stat(where).st_dev
    long = "x" * 4000
    tree.put("proc/5000000/comm", "tenant\n")
    tree.put("proc/5000000/maps", "".join(
        f"{0x7f0000000000 + 4096 * n:x}-{0x7f0000001000 + 4096 * n:x} rw-s 00000000 "
        f"{os.major(device):02x}:{os.minor(device):02x} {os.stat(where / '007').st_ino}    /{long}\n"
        for n in range(20000)))
    tree.put("proc/5000000/mountinfo", "".join(
        f"{n} 1 0:{n} / /{long} rw - tmpfs none rw\n" for n in range(100, 20000)))
    small = ["prlimit", f"--as={64 << 20}", build()]
    for command in "ls", "reap":
        files = tool(command, "--json", *(["--no-owner"] if command == "reap" else []),
                     prefix=small).json()["files"]
        assert len(files) == (300 if command == "ls" else 299)
    assert [u["pid"] for u in tool("ls", "--json", str(where / "007"), prefix=small
                                   ).json()["files"][0]["users"]] == [5000000]


def test_lease_of_a_tenant(node_dir):
    """It hides nothing of the file but where its memory is."""
    where, tool, _ = node_dir
    (where / "vm").write_text("x")
    tag(where / "vm", owner="uuid")
    fd = os.open(where / "vm", os.O_RDWR)
    # In place of SIGIO, which would end this process, one that is ignored.
    fcntl.fcntl(fd, F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        assert tool("ls", "--json").json()["files"][0]["owner"] == "uuid"
        assert tool("tag", str(where / "vm")).out.startswith("owner=uuid\n")
        assert reaped(tool("reap", "--no-owner", "--json")) == {}
        tool("tag", str(where / "vm"), "owner=")
        assert reaped(tool("reap", "--no-owner", "--yes", "--json")) == {}
        assert "a process has a lease" in tool("verify", str(where / "vm"), status=FAILED).err
    finally:
        os.close(fd)


def test_reap_looks_again(node_dir):
    """Between the lease and the end of the file it can be opened, and be changed."""
    where, tool, tree = node_dir
    for name in "other", "vm":
        (where / name).write_text("x")
    tree.put("proc/5000000/maps", "")
    # An open() that waits ends when the tool does, and finds what it has waited for. The file of
    # the lease that it breaks is in a line of /proc/locks.
    opened = (f"(exec 3< {where}/vm; stat -Lc %h /proc/self/fd/3 > {where.parent}/links) & "
              "until grep -q ' BREAKING ' /proc/locks; do sleep 0.01; done")
    # A tag needs no open(). Times of files are as coarse as the clock of the kernel.
    changed = f"sleep 0.1; setfattr -n user.guestmemfs.owner -v uuid {where}/vm"
    for command in opened, changed:
        found = reaped(tool("reap", "--no-owner", "--yes", "--json",
                            env={"SHIM_BEFORE": f"/proc/5000000/maps={command}"}))
        assert {n: f["removed"] for n, f in found.items()} == \
            {"other": True, **({"vm": False} if command == opened else {})}
        assert os.listdir(where) == ["vm"]
        (where / "other").write_text("x")
    assert (where.parent / "links").read_text() == "1\n"


def test_no_leases(node_dir, tmp_path):
    """They can be switched off."""
    where, tool, tree = node_dir
    (where / "vm").write_text("x")
    has_inodes(tree, 2)
    tree.put("proc/sys/fs/leases-enable", "0\n")
    tree.put("sys/fs/guestmemfs/node1/mounts", "1\n")
    env = {"SHIM_LEASE": str(errno.EINVAL), "SHIM_MOUNT": str(where)}
    done = tool("reap", "--no-owner", "--yes", status=FAILED, env=env)
    assert "it stays" in done.err and "sysctl fs.leases-enable=1" in done.err
    done = tool("handover", "--kernel", kernel(tmp_path / "bzImage"), status=DIFFERS, env=env)
    assert "sysctl fs.leases-enable=1" in done.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_reap_users_unknown(node_dir):
    """Who may not ask is not told that nobody has it."""
    where, tool, _ = node_dir
    (where / "file").write_text("x")
    where.parent.chmod(0o755)
    # Whoever may remove files of others can still not have a lease on them.
    nobody = ["setpriv", "--bounding-set=-lease", "--inh-caps=-lease", build(sanitize=True)]
    os.chown(where / "file", 4242, 4242)
    assert "who uses it is unknown" in reaped(tool("reap", "--no-owner", "--json", prefix=nobody)
                                              )["file"]["reason"]
    done = tool("reap", "--no-owner", "--yes", prefix=nobody, status=FAILED)
    assert "it stays: who uses it is not known" in done.err and (where / "file").exists()


def test_reap_earlier_boot(node_dir):
    """What a kexec has saved is nobody's before the machines are started again."""
    where, tool, tree = node_dir
    for name in "saved", "kept", "now":
        (where / name).write_text("x")
    tag(where / "kept", owner="pid:4000000", boot="11111111-2222")
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as f:
        tag(where / "now", owner="pid:4000000", boot=f.read().strip())
    tree.put("proc/stat", f"cpu 1 2 3\nbtime {int(time.time()) + 5}\n")
    args = ["reap", "--no-owner", "--json"]
    found = reaped(tool(*args))
    assert {n: f["reason"] for n, f in found.items()} == {
        "saved": "no owner, of an earlier boot", "kept": "its owner is gone, of an earlier boot",
        "now": "its owner is gone"}
    # Nothing is older than the time that this kernel has run.
    assert reaped(tool(*args, "--older-than", "1s", "--yes")) == {}
    done = tool(*args, "--yes")
    assert {n for n, f in reaped(done).items() if f["removed"]} == {"now"}
    assert "2 files of an earlier boot stay: --earlier-boots removes them" in done.err
    tree.put("proc/stat", f"cpu 1 2 3\nbtime {int(time.time()) - 100}\n")
    tag(where / "saved", boot="11111111-2222")
    assert reaped(tool(*args, "--older-than", "1h", "--yes", "--earlier-boots")) == {}
    assert len(reaped(tool(*args, "--yes", "--earlier-boots"))) == 2
    assert os.listdir(where) == []
    tool("reap", "--earlier-boots", status=USAGE)


def test_reap_clock_was_set_back(node_dir):
    """A file that is newer than the clock is from a kernel that had another time."""
    where, tool, _ = node_dir
    (where / "saved").write_text("x")
    ago = {"SHIM_TIME": str(int(time.time()) - 3600)}
    for env, reason in ({}, "no owner"), (ago, "no owner, of an earlier boot"):
        assert reaped(tool("reap", "--no-owner", "--json", env=env))["saved"]["reason"] == reason
    # Its age is not known, and it is none below 0.
    assert reaped(tool("reap", "--no-owner", "--older-than", "1s", "--yes", "--json", env=ago)) == {}
    done = tool("reap", "--no-owner", "--yes", env=ago)
    assert "1 files of an earlier boot stay" in done.err and os.listdir(where) == ["saved"]
    tool("reap", "--no-owner", "--yes", "--earlier-boots", env=ago)
    assert os.listdir(where) == []


def test_reap_hard_links(node_dir):
    """Memory is free when the last name goes, not before."""
    where, tool, _ = node_dir
    (where / "one").write_text("x")
    os.link(where / "one", where / "two")
    said = "no owner, another name keeps its memory"
    assert [f["reason"] for f in reaped(tool("reap", "--no-owner", "--json")).values()] == [said] * 2
    found = reaped(tool("reap", "--no-owner", "--yes", "--json"))
    assert {n: (f["reason"], f["removed"]) for n, f in found.items()} == {
        "one": (said, True), "two": ("no owner", True)}


def test_reap_odd_tags(node_dir):
    """A tag that is not ours to read is no missing one."""
    where, tool, _ = node_dir
    (where / "long").write_text("x")
    tag(where / "long", owner="x" * 1000)
    assert reaped(tool("reap", "--no-owner", "--json")) == {}
    assert tool("ls", "--json").json()["files"][0]["owner"] == "x" * 1000
    tag(where / "long", owner="a\nvmm=trusted\x1b[2J")
    assert tool("tag", str(where / "long")).out.splitlines()[0] == "owner=a\\x0avmm=trusted\\x1b[2J"


def test_tags_that_cannot_be_read(node_dir):
    """Of a file whose tags are not known it is not known either that it has no owner."""
    where, tool, _ = node_dir
    (where / "vm").write_text("x")
    for err in errno.EIO, errno.EACCES:
        env = {"SHIM_XATTR": str(err)}
        done = tool("reap", "--no-owner", "--yes", "--json", env=env, status=FAILED)
        assert reaped(done) == {} and os.listdir(where) == ["vm"]
        assert f"vm: it stays: its owner is not known: {os.strerror(err)}" in done.err
        assert os.strerror(err) in tool("tag", str(where / "vm"), env=env, status=FAILED).err
    # That there is none is no such error.
    assert set(reaped(tool("reap", "--no-owner", "--json", env={"SHIM_XATTR": str(errno.ENODATA)}))) == {"vm"}


def test_valgrind_of_files(node_dir):
    """The commands that walk through nodes, as installed, below valgrind."""
    where, tool, tree = node_dir
    for name in "one", "two", "held":
        (where / name).write_text("x")
    (where / "dir").mkdir()
    os.link(where / "one", where / "dir" / "link")
    inode = (where / "held").stat().st_ino
    tree.put("sys/fs/guestmemfs/node1/pins", Pin(inode).line() * 40)
    tree.put("sys/fs/guestmemfs/node1/pinned_blocks", "1\n")
    kwargs = {"prefix": [*VALGRIND, build()], "env": {"SHIM_OPENAT2": "1"}}
    assert len(tool("ls", "--json", **kwargs).json()["files"]) == 4
    tool("tag", str(where / "one"), "owner=pid:4000000", "vmm=x", **kwargs)
    assert "owner=pid:4000000" in tool("tag", str(where / "one"), **kwargs).out
    with open(where / "held", "rb"):
        assert len(tool("reap", "--no-owner", "--yes", "--json", **kwargs).json()["files"]) == 3
    assert sorted(os.listdir(where)) == ["dir", "held"]


def test_reap_other_machine(make, shim, tmp_path):
    """With --sysroot a pid is one of that machine."""
    tree = make([Node(1, cpus="0")])
    env = {**on_node(tree, tmp_path, 1), **shim_options(shim, tree)}
    del env["SHIM_ROOT"]
    file = tmp_path / "vm"
    file.write_text("x")
    for number, there in (os.getpid(), False), (4000000, True):
        if there:
            os.makedirs(tree.path(f"proc/{number}"))
        tag(file, owner=f"pid:{number}")
        assert bool(on(tree, "reap", "--json", str(file), env=env).json()["files"]) == (not there)


def test_reap_frozen(node_dir):
    where, tool, tree = node_dir
    (where / "file").write_text("x")
    tree.put("sys/fs/guestmemfs/node1/state", "frozen\n")
    assert "node 1 is frozen" in tool("reap", "--no-owner", "--yes", status=FAILED).err
    assert (where / "file").exists()
