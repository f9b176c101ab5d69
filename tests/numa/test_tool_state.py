# SPDX-License-Identifier: GPL-2.0
"""States of virtual machines: gmfs-numa store and load, and gmfs-state."""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest
from offline import quiet
from sysroot import BLOCK
from tool import FAILED, OK, USAGE, VALGRIND, build, call

pytestmark = [pytest.mark.quick, pytest.mark.offline]


def store(tool, path, data, *args, **kwargs):
    with tempfile.TemporaryFile() as f:
        f.write(data)
        f.seek(0)
        return tool("store", *args, str(path), stdin=f, **kwargs)


def test_store_offline(node_dir, tmp_path):
    """What is in the way is said before anything is read."""
    where, tool, tree = node_dir
    before = None
    for size in 0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 1:
        store(tool, where / "state", b"x" * size, "--force", "--owner", "uuid")
        assert (where / "state").read_bytes() == b"x" * size
        # Who has sent it could have been killed in the middle: the one before stays.
        assert sorted(os.listdir(where)) == ["state", "state.replaced"][:1 if before is None else 2]
        if before is not None:
            assert (where / "state.replaced").read_bytes() == b"x" * before
        before = size
    assert os.getxattr(where / "state", "user.guestmemfs.owner") == b"uuid"
    os.symlink("nowhere", where / "dangling")
    os.mkfifo(where / "fifo")
    (where / "dir").mkdir()
    (where / "other").write_text("x")
    (where / "other.replaced").mkdir()
    left = sorted(os.listdir(where))
    for name, said in (("state", "--force replaces it"), ("dangling", "is no file"),
                       ("fifo", "is no file"), ("dir", "is no file"), ("other", "is no file"),
                       ("x" * 256, "File name too long")):
        for force in [], ["--force"]:
            if (name, force) == ("state", ["--force"]):
                continue
            done = store(tool, where / name, b"x", *force, status=FAILED)
            assert (said if (name, force) != ("other", []) else "--force replaces it") in done.err
    store(tool, f"{where}/", b"x", status=USAGE)
    store(tool, where / "new", b"x", "--owner", "x" * 201, status=USAGE)
    tool("tag", str(where / "state"), "owner=" + "x" * 201, status=USAGE)
    tree.put("sys/fs/guestmemfs/node1/state", "frozen\n")
    assert "node 1 is frozen" in store(tool, where / "new", b"x", status=FAILED).err
    assert sorted(os.listdir(where)) == left
    store(tool, where / ("x" * 252), b"x", status=FAILED)


def test_state_is_its_own_program(node_dir, tmp_path):
    """It has no library but libc, and says its own name; gmfs-numa needs it."""
    where, tool, _ = node_dir
    state = os.path.join(os.path.dirname(build()), "gmfs-state")
    assert not re.search("mount|smartcols|json|numa", quiet("ldd", state).replace("gmfs-numa", ""))
    for args, status, said in ((["--help"], OK, "Usage: gmfs-state store"), (["-V"], OK, "gmfs-state "),
                               (["store", "--help"], OK, "Usage: gmfs-state store [OPTION...] FILE"),
                               ([], USAGE, "gmfs-state: say store or load"), (["x"], USAGE, "gmfs-state: say"),
                               (["load"], USAGE, "gmfs-state: load needs one file")):
        done = call(args, status=status, prefix=[state])
        assert said in done.out + done.err, done
    # Without any capability.
    if not os.geteuid():
        plain_user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all",
                      os.path.join(os.path.dirname(build(sanitize=True)), "gmfs-state")]
        store(tool, where / "state", b"xyz", prefix=plain_user)
        assert tool("load", "--remove", str(where / "state"), prefix=plain_user).out == "xyz"
    # Where it is not installed.
    alone = shutil.copy(build(), tmp_path)
    done = call(["load", "x"], status=FAILED, prefix=[alone], stdout=subprocess.DEVNULL)
    assert "gmfs-state is neither in" in done.err


def test_valgrind_of_states(node_dir):
    """gmfs-state as it is installed, below valgrind: by itself, and as gmfs-numa executes it."""
    where, tool, _ = node_dir
    state = os.path.join(os.path.dirname(build()), "gmfs-state")
    for prefix in [*VALGRIND, state], [*VALGRIND, "--trace-children=yes", build()]:
        env = {"SHIM_OPENAT2": "1"}
        store(tool, where / "state", b"x" * (BLOCK + 1), "--force", "--owner", "uuid", prefix=prefix,
              env=env)
        store(tool, where / "state", b"", prefix=prefix, env=env, status=FAILED)
        assert tool("load", "--remove", str(where / "state"), prefix=prefix, env=env
                    ).raw == b"x" * (BLOCK + 1)
        tool("load", str(where / "state"), prefix=prefix, env=env, status=FAILED)


@pytest.mark.parametrize("room, size", [(0, 300 << 10), (BLOCK, BLOCK + (300 << 10))])
def test_store_on_a_full_node(node_dir, room, size):
    """QEMU ignores the status of the command, so what it writes has to fail."""
    where, tool, _ = node_dir

    def is_full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    reader, writer = os.pipe()
    failed = []

    def send():
        with open(writer, "wb", buffering=0) as f:
            sent = 0
            try:
                while sent < size:
                    sent += f.write(b"x" * min(32768, size - sent))
            except BrokenPipeError:
                failed.append(sent)

    sender = threading.Thread(target=send)
    sender.start()
    done = tool("store", str(where / "state"), stdin=reader, preexec_fn=is_full, status=FAILED)
    os.close(reader)
    sender.join()
    assert failed and "no state is stored" in done.err and not os.listdir(where)


@pytest.mark.parametrize("room, size", [(BLOCK, 300 << 10), (BLOCK, BLOCK), (4 * BLOCK, 4 * BLOCK)])
def test_store_that_just_fits(node_dir, room, size):
    """A state takes as many blocks as it fills, and none for what could follow."""
    where, tool, _ = node_dir
    data = os.urandom(size)
    store(tool, where / "state", data,
          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
    assert (where / "state").read_bytes() == data


def test_store_by_pieces(node_dir):
    """Reads that end anywhere, also at the end of a block."""
    where, tool, _ = node_dir
    data = os.urandom(2 * BLOCK + 5)
    for pieces in ([1] * 3, [BLOCK - 1, 1, 1], [BLOCK, BLOCK], [65535, 65537, BLOCK]):
        reader, writer = os.pipe()

        def send(writer=writer, pieces=pieces):
            with open(writer, "wb", buffering=0) as f:
                at = 0
                for piece in pieces:
                    part = data[at:at + piece]
                    while part:
                        part = part[f.write(part):]
                    at += piece

        sender = threading.Thread(target=send)
        sender.start()
        tool("store", "--force", str(where / "state"), stdin=reader)
        os.close(reader)
        sender.join()
        assert (where / "state").read_bytes() == data[:sum(pieces)]


def test_store_long_name(node_dir):
    where, tool, _ = node_dir
    for data in b"1", b"2":
        store(tool, where / ("x" * 246), data, "--force")
        assert (where / ("x" * 246)).read_bytes() == data
    store(tool, where / ("x" * 255), b"1", "--force")
    done = store(tool, where / ("x" * 255), b"2", "--force", status=FAILED)
    assert ".replaced: File name too long" in done.err
    assert (where / ("x" * 255)).read_bytes() == b"1" and len(os.listdir(where)) == 3


@pytest.mark.parametrize("there", ["dir", "other file", "nothing"])
def test_store_while_it_changes(node_dir, there):
    """Whoever owns the directory puts something else there while standard input is read."""
    where, tool, _ = node_dir
    state = where / "state"
    state.write_text("before")
    reading, writing = os.pipe()

    def change():
        os.write(writing, b"x" * BLOCK)
        # The pipe has room for less: all was looked at before this is read.
        os.unlink(state)
        if there == "dir":
            state.mkdir()
            (state / "file").write_text("")
        elif there == "other file":
            state.write_text("other")
        os.close(writing)

    other = threading.Thread(target=change)
    other.start()
    with open(reading, "rb") as stdin:
        done = tool("store", "--force", str(state), stdin=stdin,
                    status=FAILED if there == "dir" else OK)
    other.join()
    if there == "dir":
        assert "no state is stored" in done.err
        assert os.listdir(where) == ["state"] and os.listdir(state) == ["file"]
    else:
        assert state.read_bytes() == b"x" * BLOCK
        assert len(os.listdir(where)) == (2 if there == "other file" else 1)


def test_state_and_terminal(node_dir):
    """A state on a terminal would be its escape sequences, and nobody types one."""
    where, tool, _ = node_dir
    (where / "state").write_text("\x1b[2J")
    leader, follower = os.openpty()
    assert "which is a terminal" in tool("load", "--remove", str(where / "state"), stdout=follower,
                                         status=USAGE).err
    assert "which is a terminal" in tool("store", str(where / "new"), stdin=follower, status=USAGE).err
    assert os.listdir(where) == ["state"]
    os.set_blocking(leader, False)
    with pytest.raises(BlockingIOError):
        os.read(leader, 1)
    os.close(leader)
    os.close(follower)


def test_load_offline(node_dir, tmp_path):
    """Only a file of a node is opened, and only that is removed."""
    where, tool, _ = node_dir
    (where / "state").write_bytes(b"x" * 3)
    os.mkfifo(where / "fifo")
    os.symlink("/proc/version", where / "elsewhere")
    os.symlink("state", where / "link")
    for name in "fifo", ".":
        assert "this is no file" in tool("load", str(where / name), status=FAILED).err
    for name in "elsewhere", "link":
        done = tool("load", str(where / name), status=FAILED)
        assert "this is a symbolic link: name the file itself" in done.err
    (where / "state.replaced").write_text("")
    # Without standard input as well, as in a service.
    assert tool("load", "--remove", str(where / "state"),
                preexec_fn=lambda: os.close(0)).out == "xxx"
    assert sorted(os.listdir(where)) == ["elsewhere", "fifo", "link"]
