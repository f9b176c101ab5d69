#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Operations on a file system, for comparison of one with another.

    operations.py run DIR        do each operation in a directory of its own below DIR
    operations.py state DIR      look at what is there of them
    operations.py list           names of the operations

run and state write JSON. An operation's transcript, from run, is what each of its
system calls returned, and is the same on two file systems of which a program
cannot tell one from the other. The state is all that can be asked about the files
that the operation has left; it is the same after a kexec as before.

Runs in the test machine, as root.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import stat
import struct
import sys
import traceback

libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_FOLLOW = 0x400
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO, INSERT, UNSHARE = 1, 2, 8, 16, 32, 64
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
APPEND, IMMUTABLE, NODUMP, NOATIME = 0x20, 0x10, 0x40, 0x80
MIB = 1 << 20
BLOCK = 2 * MIB

OPERATIONS = {}


def operation(function):
    OPERATIONS[function.__name__] = function
    return function


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def renameat2(old, new, flags):
    checked(libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def linkat_fd(fd, name):
    checked(libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, os.fsencode(name),
                        AT_SYMLINK_FOLLOW))


def linkat_empty(fd, name):
    checked(libc.linkat(fd, b"", AT_FDCWD, os.fsencode(name), AT_EMPTY_PATH))


def fallocate(fd, mode, offset, length):
    checked(libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def handle_of(path, flags=0):
    """A file handle, as bytes."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    mount = ctypes.c_int()
    checked(libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), handle, ctypes.byref(mount),
                                   flags))
    size = struct.unpack_from("I", handle.raw)[0]
    return handle.raw[:8 + size]


def open_handle(handle, flags=os.O_RDONLY, where="."):
    mount = os.open(where, os.O_RDONLY)
    try:
        return checked(libc.open_by_handle_at(mount, handle, flags))
    finally:
        os.close(mount)


def get_flags(fd):
    return struct.unpack("i", fcntl.ioctl(fd, FS_IOC_GETFLAGS, b"\0" * 4)[:4])[0]


def set_flags(fd, flags):
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags))


def acl(*entries):
    """(tag, permissions, id) each; what setxattr() takes."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, id_ & 0xffffffff)
                                           for tag, perm, id_ in entries)


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
SOME_ACL = acl((USER_OBJ, 7, -1), (USER, 6, 1234), (GROUP_OBJ, 5, -1), (GROUP, 4, 77),
               (MASK, 7, -1), (OTHER, 1, -1))


class Transcript:
    """Does system calls and notes what came of them."""

    def __init__(self):
        self.lines = []

    def note(self, what, result):
        self.lines.append(f"{what}: {result}")

    def __call__(self, function, *args, **kwargs):
        def short(arg):
            text = repr(arg)
            return text if len(text) < 60 else text[:40] + f"...({len(text)})"

        name = getattr(function, "__name__", str(function))
        what = f"{name}({', '.join([short(a) for a in args] + [f'{k}={v!r}' for k, v in kwargs.items()])})"
        try:
            result = function(*args, **kwargs)
        except OSError as e:
            self.note(what, errno.errorcode.get(e.errno, e.errno))
            return None
        shown = "a file" if "open" in name else short(result)
        self.note(what, shown)
        return result

    def stat(self, path):
        try:
            st = os.lstat(path)
        except OSError as e:
            self.note(f"stat({path!r})", errno.errorcode[e.errno])
            return None
        self.note(f"stat({path!r})",
                  [oct(st.st_mode), st.st_nlink, st.st_uid, st.st_gid, st.st_rdev,
                   None if stat.S_ISDIR(st.st_mode) else st.st_size])
        return st

    def list(self, path="."):
        self.note(f"listdir({path!r})", sorted(os.listdir(os.fsencode(path))))

    def as_user(self, function, uid=1000, gid=1000, groups=()):
        """Calls function(t) as somebody else."""
        r, w = os.pipe()
        pid = os.fork()
        if not pid:
            os.setgroups(list(groups))
            os.setgid(gid)
            os.setuid(uid)
            child = Transcript()
            try:
                function(child)
                os.write(w, json.dumps(child.lines).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(w)
        with os.fdopen(r) as answer:
            self.lines += [f"{uid}:{gid} {line}" for line in json.loads(answer.read())]
        os.waitpid(pid, 0)


def touch(path, mode=0o644):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode))


# Names

@operation
def links(t):
    touch("a")
    t(os.link, "a", "b")
    t(os.link, "a", "b")
    os.mkdir("d")
    t(os.link, "a", "d/c")
    t(os.link, "d", "e")
    t(os.link, "none", "e")
    t.stat("a")
    same = {os.stat(n).st_ino for n in ("a", "b", "d/c")}
    t.note("inodes", len(same))
    t(os.unlink, "a")
    t.stat("b")
    t(os.truncate, "b", BLOCK)
    t.stat("d/c")
    t(os.rename, "b", "d/c")
    t.stat("b")
    t.stat("d/c")


@operation
def links_of_special_files(t):
    os.symlink("target", "s")
    os.mkfifo("f")
    t(os.link, "s", "s2", follow_symlinks=False)
    t(os.link, "f", "f2")
    for name in ("s", "s2", "f", "f2"):
        t.stat(name)


@operation
def symlinks(t):
    t(os.symlink, "target", "short")
    t(os.symlink, "x" * 4095, "long")
    t(os.symlink, "x" * 4096, "too-long")
    t(os.symlink, "", "empty")
    t(os.symlink, "y", "short")
    t(os.symlink, b"\xff\x01 \n", "odd")
    for name in ("short", "long", "odd"):
        t.stat(name)
        t(os.readlink, name)
    t(os.open, "short", os.O_RDONLY)
    touch("target")
    t(os.open, "short", os.O_RDONLY)
    t(os.open, "short", os.O_RDONLY | os.O_NOFOLLOW)
    t(os.symlink, "loop", "loop")
    t(os.stat, "loop")
    os.mkdir("d")
    t(os.symlink, "d", "to-d")
    t(os.mkdir, "to-d/e")
    t(os.rmdir, "to-d")
    t(os.unlink, "loop")
    t(os.chown, "short", 5, 6, follow_symlinks=False)
    t(os.utime, "short", ns=(1, 2), follow_symlinks=False)
    t.stat("short")


@operation
def special_files(t):
    for name, kind, device in (("char", stat.S_IFCHR, os.makedev(1, 3)),
                               ("block", stat.S_IFBLK, os.makedev(4095, 0xfffff)),
                               ("fifo", stat.S_IFIFO, 0), ("sock", stat.S_IFSOCK, 0),
                               ("reg", stat.S_IFREG, 0)):
        t(os.mknod, name, kind | 0o640, device)
        t.stat(name)
    t(os.mknod, "dir", stat.S_IFDIR | 0o700, 0)
    fd = os.open("char", os.O_RDWR)
    t(os.write, fd, b"into /dev/null")
    os.close(fd)
    t(os.open, "sock", os.O_RDONLY)
    t(os.chmod, "fifo", 0o4711)
    t.stat("fifo")
    t.as_user(lambda t: t(os.mknod, "mine", stat.S_IFCHR | 0o666, os.makedev(1, 3)))


@operation
def fifo_works(t):
    os.mkfifo("f")
    fd = os.open("f", os.O_RDWR)
    t(os.write, fd, b"through")
    t(os.read, fd, 100)
    os.close(fd)


@operation
def socket_works(t):
    server = socket.socket(socket.AF_UNIX)
    t(server.bind, "s")
    t.stat("s")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    t(client.connect, "s")
    peer, _ = server.accept()
    t(client.send, b"hello")
    t(peer.recv, 10)
    for sock in (server, client, peer):
        sock.close()
    t(socket.socket(socket.AF_UNIX).connect, "s")


@operation
def rename(t):
    os.makedirs("d/e")
    touch("f")
    touch("g")
    for old, new in (("f", "f"), ("f", "g"), ("g", "d/e/g"), ("none", "x"), ("d", "d/e/x"),
                     ("d/e", "d"), ("d/e/g", "d"), ("d/e", "d/e/g"), ("d/e", "m")):
        t(os.rename, old, new)
    t.stat("d")
    t.stat("m")
    os.makedirs("p/q")
    os.makedirs("empty")
    t(os.rename, "p", "empty")
    t(os.rename, "m", "empty")
    t.list()
    t.list("empty")
    t.stat(".")


@operation
def rename_flags(t):
    touch("a")
    touch("b")
    os.mkdir("d")
    os.mkdir("d/e")
    os.mkdir("x")
    touch("x/f")
    t(renameat2, "a", "b", NOREPLACE)
    t(renameat2, "a", "c", NOREPLACE)
    t(renameat2, "c", "b", EXCHANGE)
    t(renameat2, "c", "none", EXCHANGE)
    t(renameat2, "none", "c", EXCHANGE)
    t(renameat2, "c", "d/e", EXCHANGE)
    t.stat("c")
    t.stat("d/e")
    t.stat("d")
    t.stat(".")
    t(renameat2, "d", "d/e", EXCHANGE)
    t(renameat2, "d", "x", EXCHANGE)
    t.list("d")
    t.list("x")
    t(renameat2, "x", "x/e", EXCHANGE)
    t(renameat2, "a", "b", NOREPLACE | EXCHANGE)
    t(renameat2, "a", "b", 8)
    t(renameat2, "c", "c", EXCHANGE)


@operation
def rename_exchange_keeps_contents(t):
    for name, size in (("a", 1), ("b", 2)):
        touch(name)
        os.truncate(name, size)
        os.setxattr(name, "user.me", name.encode())
    t(renameat2, "a", "b", EXCHANGE)
    for name in ("a", "b"):
        t.stat(name)
        t(os.getxattr, name, "user.me")


@operation
def rename_whiteout(t):
    touch("a")
    touch("b")
    os.mkdir("d")
    t(renameat2, "a", "c", WHITEOUT)
    t.stat("a")
    t.stat("c")
    t(renameat2, "c", "b", WHITEOUT)
    t.stat("c")
    t(renameat2, "d", "e", WHITEOUT)
    t.stat("d")
    t.stat("e")
    t.stat(".")
    t(renameat2, "b", "a", WHITEOUT | EXCHANGE)
    t(renameat2, "b", "a", WHITEOUT | NOREPLACE)
    t.list()


@operation
def tmpfile(t):
    fd = t(os.open, ".", os.O_TMPFILE | os.O_RDWR, 0o640)
    t.note("fstat", [oct(os.fstat(fd).st_mode), os.fstat(fd).st_nlink])
    t.list()
    t(os.ftruncate, fd, BLOCK)
    t.note("setxattr", os.setxattr(fd, "user.x", b"y"))
    t(linkat_fd, fd, "name")
    t.stat("name")
    t(linkat_fd, fd, "other")
    t.stat("name")
    os.unlink("name")
    os.unlink("other")
    t.note("fstat", os.fstat(fd).st_nlink)
    t(linkat_fd, fd, "again")
    os.close(fd)
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL)
    t(linkat_fd, fd, "exclusive")
    os.close(fd)
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY)
    t(linkat_empty, fd, "empty-path")
    os.close(fd)
    t(os.open, ".", os.O_TMPFILE | os.O_RDONLY)


@operation
def names(t):
    for name in (b"x" * 255, b"x" * 256, bytes(range(1, 47)) + bytes(range(48, 256)), b"a b", b"-",
                 b"...", "žluťoučký".encode(), b"\n", b"trailing "):
        t(os.close, t(os.open, name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600) or -1)
    t.list()


@operation
def deep_directories(t):
    top = os.getcwd()
    for i in range(300):
        os.mkdir(f"level{i}")
        os.chdir(f"level{i}")
    touch("bottom")
    os.chdir(top)
    depth = 0
    for _, dirs, _ in os.walk("."):
        depth += len(dirs)
    t.note("depth", depth)


@operation
def unlink_and_rmdir(t):
    os.mkdir("d")
    touch("d/f")
    touch("f")
    t(os.rmdir, "d")
    t(os.rmdir, "f")
    t(os.unlink, "d")
    t(os.rmdir, ".")
    t(os.rmdir, "d/.")
    t(os.unlink, "none")
    fd = os.open("d", os.O_RDONLY)
    os.unlink("d/f")
    t(os.rmdir, "d")
    t.note("nlink", os.fstat(fd).st_nlink)
    t.note("entries", os.listdir(fd))
    t(os.mkdir, "/proc/self/fd/%d/x" % fd)
    os.close(fd)


@operation
def readdir_sees_what_stays(t):
    for i in range(3000):
        touch(f"stays{i:04}")
        if i % 3 == 0:
            touch(f"goes{i:04}")
    seen = []
    with os.scandir(".") as it:
        for n, entry in enumerate(it):
            seen.append(entry.name)
            if n % 10 == 0:
                touch(f"new{n:05}")
            if entry.name.startswith("goes"):
                os.unlink(entry.name)
    stays = [n for n in seen if n.startswith("stays")]
    t.note("stays", [len(stays), len(set(stays))])
    for entry in os.listdir("."):
        os.unlink(entry)
    t.list()


# Attributes

@operation
def modes(t):
    touch("f")
    os.mkdir("d")
    for mode in (0, 0o7777, 0o4755, 0o1777, 0o644):
        t(os.chmod, "f", mode)
        t(os.chmod, "d", mode)
        t.stat("f")
        t.stat("d")
    old = os.umask(0o027)
    os.close(os.open("masked", os.O_CREAT | os.O_RDWR, 0o666))
    os.mkdir("masked-d")
    os.umask(old)
    t.stat("masked")
    t.stat("masked-d")


@operation
def owners(t):
    os.chmod(".", 0o777)
    touch("f", 0o777)
    os.chmod("f", 0o6777)
    t(os.chown, "f", 1000, 2000)
    t.stat("f")
    t(os.chown, "f", -1, 4000000000)
    t.stat("f")

    def user(t):
        t(os.chown, "f", 1001, -1)
        t(os.chown, "f", -1, 3000)
        t(os.chown, "f", -1, 1000)
        t.stat("f")
        t(os.chmod, "f", 0o2755)
        t.stat("f")
        touch("own")
        os.mkdir("own-d")
        t(os.symlink, "x", "own-s")
        t(os.link, "f", "hard")
    t.as_user(user, groups=(3000,))
    for name in ("own", "own-d", "own-s"):
        t.stat(name)
    t.as_user(lambda t: (t(os.chmod, "f", 0o600), t(os.unlink, "own"), t(os.utime, "f")), uid=1001)


@operation
def setgid_directory(t):
    os.mkdir("d")
    os.chown("d", 0, 55)
    os.chmod("d", 0o2777)
    touch("d/f")
    os.mkdir("d/e")
    t.stat("d/f")
    t.stat("d/e")

    def user(t):
        fd = os.open("d/g", os.O_CREAT | os.O_RDWR, 0o2770)
        os.close(fd)
        os.mkdir("d/h")
        t.stat("d/g")
        t.stat("d/h")
        t(os.chmod, "d/g", 0o2770)
        t.stat("d/g")
    t.as_user(user)


@operation
def sticky_directory(t):
    os.mkdir("d")
    os.chmod("d", 0o1777)
    t.as_user(lambda t: touch("d/f"))
    t.as_user(lambda t: (t(os.unlink, "d/f"), t(os.rename, "d/f", "d/g")), uid=1001)
    t.as_user(lambda t: t(os.unlink, "d/f"))


@operation
def permissions(t):
    os.mkdir("closed", 0o700)
    touch("closed/f")
    touch("secret", 0o600)
    os.mkdir("no-write", 0o755)
    os.mkdir("no-search", 0o444)
    touch("no-search/f")

    def user(t):
        for path, flags in (("closed/f", os.O_RDONLY), ("secret", os.O_RDONLY),
                            ("no-write/f", os.O_CREAT | os.O_RDWR), ("no-search/f", os.O_RDONLY)):
            t(os.open, path, flags)
        t(os.listdir, "no-search")
        t(os.listdir, "closed")
        t(os.truncate, "secret", 0)
        t(os.access, "secret", os.R_OK)
    t.as_user(user)


@operation
def times(t):
    touch("f")
    for ns in ((0, 0), (1, 999999999), (-1, -10**9 - 1), (2**40 * 10**9, 1234567890123456789)):
        t(os.utime, "f", ns=ns)
        st = os.stat("f")
        t.note("times", [st.st_atime_ns, st.st_mtime_ns])
    before = os.stat("f").st_ctime_ns
    t(os.chmod, "f", 0o600)
    t.note("ctime moves", os.stat("f").st_ctime_ns > before)
    os.mkdir("d")
    os.utime("d", ns=(5, 5))
    touch("d/x")
    t.note("mtime of a directory", os.stat("d").st_mtime_ns != 5)
    os.utime("d", ns=(5, 5))
    os.rename("d/x", "d/y")
    t.note("mtime of a directory", os.stat("d").st_mtime_ns != 5)
    t.as_user(lambda t: (t(os.utime, "f", ns=(1, 1)), t(os.utime, "f")))


@operation
def access_time(t):
    os.mkdir("d")
    touch("d/f")
    os.utime("d", ns=(5, 10**9))
    os.listdir("d")
    t.note("relatime", os.stat("d").st_atime_ns != 5)
    os.symlink("d", "s")
    os.utime("s", ns=(5, 10**9), follow_symlinks=False)
    os.readlink("s")
    t.note("relatime", os.lstat("s").st_atime_ns != 5)


@operation
def xattrs(t):
    touch("f")
    os.mkdir("d")
    os.symlink("f", "s")
    for path in ("f", "d"):
        t(os.setxattr, path, "user.a", b"1")
        t(os.setxattr, path, "user.empty", b"")
        t(os.setxattr, path, "user.big", b"v" * 65536)
        t(os.setxattr, path, "user.bigger", b"v" * 65537)
        t(os.setxattr, path, "user." + "n" * 250, b"long name")
        t(os.setxattr, path, "user." + "n" * 251, b"too long")
        t(os.setxattr, path, "trusted.t", b"\0\1\2")
        t(os.setxattr, path, "security.other", b"label")
        t(os.setxattr, path, "user.", b"x")
        t(os.setxattr, path, "nonsense", b"x")
        t(os.setxattr, path, "system.other", b"x")
        t(os.setxattr, path, "user.a", b"2", os.XATTR_CREATE)
        t(os.setxattr, path, "user.a", b"3", os.XATTR_REPLACE)
        t(os.setxattr, path, "user.none", b"3", os.XATTR_REPLACE)
        t(os.getxattr, path, "user.a")
        t(os.getxattr, path, "user.empty")
        t.note("big", os.getxattr(path, "user.big") == b"v" * 65536)
        t(os.getxattr, path, "user.none")
        t(os.removexattr, path, "user.none")
        t(os.setxattr, path, "user.gone", b"x")
        t(os.removexattr, path, "user.gone")
        t.note("names", sorted(os.listxattr(path)))
    t(os.setxattr, "s", "user.a", b"1", follow_symlinks=False)
    t(os.setxattr, "s", "trusted.a", b"1", follow_symlinks=False)
    t(os.getxattr, "s", "trusted.a", follow_symlinks=False)
    os.mkfifo("p")
    t(os.setxattr, "p", "user.a", b"1")
    t(os.setxattr, "p", "trusted.a", b"1")


@operation
def xattrs_of_others(t):
    touch("f", 0o644)
    os.setxattr("f", "user.a", b"1")
    os.setxattr("f", "trusted.a", b"1")

    def user(t):
        t(os.getxattr, "f", "user.a")
        t(os.setxattr, "f", "user.a", b"2")
        t(os.getxattr, "f", "trusted.a")
        t(os.setxattr, "f", "trusted.b", b"2")
        t(os.setxattr, "f", "security.selinux", b"2")
        t.note("names", sorted(os.listxattr("f")))
    t.as_user(user)


@operation
def many_xattrs(t):
    touch("f")
    for i in range(500):
        os.setxattr("f", f"user.{i}", b"v" * (i * 7 % 300))
    for i in range(0, 500, 3):
        os.removexattr("f", f"user.{i}")
    t.note("names", sorted(os.listxattr("f")))
    t.note("values", sum(len(os.getxattr("f", n)) for n in os.listxattr("f")))


@operation
def xattr_names_too_many_to_list(t):
    touch("f")
    for i in range(300):
        os.setxattr("f", f"user.{i:03}" + "n" * 240, b"")
    try:
        os.listxattr("f")
        t.note("list", "all")
    except OSError as e:
        t.note("list", errno.errorcode[e.errno])
    os.unlink("f")


@operation
def acls(t):
    touch("f", 0o640)
    t(os.setxattr, "f", ACCESS, SOME_ACL)
    t.stat("f")
    t(os.getxattr, "f", ACCESS)
    t(os.chmod, "f", 0o600)
    t(os.getxattr, "f", ACCESS)
    t(os.chmod, "f", 0o664)
    t.note("names", sorted(os.listxattr("f")))
    t.as_user(lambda t: (t(os.open, "f", os.O_RDWR), t(os.access, "f", os.X_OK)), uid=1234)
    t.as_user(lambda t: t(os.open, "f", os.O_RDONLY), groups=(77,))
    t.as_user(lambda t: t(os.setxattr, "f", ACCESS, SOME_ACL))
    t(os.setxattr, "f", ACCESS, acl((USER_OBJ, 6, -1), (GROUP_OBJ, 4, -1), (OTHER, 0, -1)))
    t.stat("f")
    t(os.getxattr, "f", ACCESS)
    t(os.setxattr, "f", ACCESS, SOME_ACL[:-1])
    t(os.setxattr, "f", ACCESS, acl((USER_OBJ, 6, -1)))
    t(os.setxattr, "f", DEFAULT, SOME_ACL)
    t(os.setxattr, "f", ACCESS, SOME_ACL)
    t(os.removexattr, "f", ACCESS)
    t.stat("f")
    os.symlink("f", "s")
    t(os.setxattr, "s", ACCESS, SOME_ACL, follow_symlinks=False)
    touch("kept")
    os.setxattr("kept", ACCESS, SOME_ACL)


@operation
def default_acls(t):
    os.mkdir("d")
    t(os.setxattr, "d", DEFAULT, SOME_ACL)
    t.stat("d")
    os.umask(0o077)
    touch("d/f", 0o666)
    os.mkdir("d/e")
    os.mkfifo("d/p", 0o600)
    os.symlink("x", "d/s")
    fd = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o666)
    linkat_fd(fd, "d/t")
    os.close(fd)
    os.umask(0o022)
    for name in ("d/f", "d/e", "d/p", "d/s", "d/t"):
        t.stat(name)
        t(os.getxattr, name, ACCESS, follow_symlinks=False)
        t(os.getxattr, name, DEFAULT, follow_symlinks=False)
    t(os.removexattr, "d", DEFAULT)
    touch("d/plain", 0o666)
    t.stat("d/plain")


@operation
def file_capability(t):
    touch("f", 0o755)
    cap = struct.pack("<IIIII", 0x02000001, 1 << 12, 0, 0, 0)
    t(os.setxattr, "f", "security.capability", cap)
    t(os.getxattr, "f", "security.capability")
    t(os.chown, "f", 3, 3)
    t(os.getxattr, "f", "security.capability")
    t(os.setxattr, "f", "security.capability", b"wrong")
    t(os.setxattr, "f", "security.capability", cap)


@operation
def inode_flags(t):
    os.mkdir("d")
    touch("f")
    fd, dir_fd = os.open("f", os.O_RDONLY), os.open("d", os.O_RDONLY)
    t(get_flags, fd)
    for flags in (IMMUTABLE, APPEND, NODUMP | NOATIME, 0x8, 0x100000):
        t(set_flags, fd, flags)
        t(get_flags, fd)
        t(os.open, "f", os.O_WRONLY)
        t(os.open, "f", os.O_WRONLY | os.O_APPEND)
        t(os.truncate, "f", 1)
        t(os.chmod, "f", 0o600)
        t(os.link, "f", "g")
        t(os.rename, "f", "f2")
        t(os.rename, "f2", "f")
        t(os.unlink, "g")
        t(os.setxattr, "f", "user.a", b"1")
    t(set_flags, dir_fd, IMMUTABLE)
    t(touch, "d/x")
    t(set_flags, dir_fd, APPEND)
    t(touch, "d/x")
    t(os.unlink, "d/x")
    t(set_flags, dir_fd, NODUMP | NOATIME)
    touch("d/y")
    os.mkdir("d/z")
    for name in ("d/y", "d/z"):
        heir = os.open(name, os.O_RDONLY)
        t(get_flags, heir)
        os.close(heir)
    t(set_flags, fd, NODUMP)
    t.as_user(lambda t: t(set_flags, fd, 0))
    os.close(fd)
    os.close(dir_fd)
    fd = os.open("kept", os.O_CREAT | os.O_RDWR)
    set_flags(fd, IMMUTABLE)
    os.close(fd)


# Space

@operation
def sizes(t):
    touch("f")
    for size in (1, 4096, BLOCK + 1, 0, 3 * BLOCK, -1):
        t(os.truncate, "f", size)
        t.stat("f")
    os.mkdir("d")
    t(os.truncate, "d", 1)
    os.mkfifo("p")
    t(os.truncate, "p", 1)


@operation
def fallocates(t):
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    for mode, offset, length in (
            (0, 0, 1), (0, 0, BLOCK), (KEEP_SIZE, BLOCK, BLOCK), (0, 0, 0), (0, -1, 1), (0, 0, -1),
            (0, 1 << 62, 1 << 62), (PUNCH_HOLE, 0, 1), (PUNCH_HOLE | KEEP_SIZE, 0, 4096),
            (PUNCH_HOLE | KEEP_SIZE, 1 << 40, 4096), (COLLAPSE, 0, BLOCK), (INSERT, 0, BLOCK),
            (UNSHARE, 0, BLOCK), (1 << 20, 0, BLOCK), (COLLAPSE | PUNCH_HOLE, 0, BLOCK), (ZERO | PUNCH_HOLE, 0, BLOCK)):
        t(fallocate, fd, mode, offset, length)
        t.note("size", os.fstat(fd).st_size)
    os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    t(fallocate, fd, 0, 0, 1)
    os.close(fd)
    fd = os.open(".", os.O_RDONLY)
    t(fallocate, fd, 0, 0, 1)
    os.close(fd)


@operation
def seek_data_and_hole(t):
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 4 * BLOCK)
    # Memory that nobody has touched is no data on tmpfs.
    with mmap.mmap(fd, 4 * BLOCK) as m:
        m[:] = b"x" * (4 * BLOCK)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, BLOCK, BLOCK)
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        for offset in (0, 1, BLOCK - 1, BLOCK, BLOCK + 5, 2 * BLOCK, 3 * BLOCK + 7, 4 * BLOCK - 1,
                       4 * BLOCK, 5 * BLOCK, -1):
            t(os.lseek, fd, offset, whence)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 3 * BLOCK, BLOCK)
    t(os.lseek, fd, 3 * BLOCK, os.SEEK_DATA)
    t(os.lseek, fd, 3 * BLOCK, os.SEEK_HOLE)
    os.ftruncate(fd, 0)
    t(os.lseek, fd, 0, os.SEEK_DATA)
    t(os.lseek, fd, 0, os.SEEK_HOLE)
    for offset, whence in ((10, os.SEEK_SET), (5, os.SEEK_CUR), (-100, os.SEEK_CUR),
                           (0, os.SEEK_END), (1 << 40, os.SEEK_SET), (0, 9)):
        t(os.lseek, fd, offset, whence)
    os.close(fd)


@operation
def size_limit(t):
    import resource

    def user(t):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK, BLOCK))
        fd = os.open("f", os.O_RDWR)
        t(os.ftruncate, fd, BLOCK)
        t(os.ftruncate, fd, BLOCK + 1)
        t(fallocate, fd, 0, 0, 2 * BLOCK)
    touch("f")
    os.chmod("f", 0o666)
    t.as_user(user)


# Handles, locks, events

@operation
def handles(t):
    os.makedirs("d/e")
    touch("d/e/f")
    os.symlink("x", "s")
    taken = {path: handle_of(path) for path in ("d", "d/e", "d/e/f", "s")}

    def open_taken(path, flags=os.O_RDONLY):
        return open_handle(taken[path], flags)

    t.note("sizes", [len(h) > 8 for h in taken.values()])
    fd = t(open_taken, "d/e/f")
    t.note("same", os.fstat(fd).st_ino == os.stat("d/e/f").st_ino)
    os.close(fd)
    fd = t(open_taken, "d")
    t.note("entries", os.listdir(fd))
    os.close(fd)
    t(open_taken, "s")
    t(open_taken, "s", os.O_PATH)
    os.rename("d/e/f", "d/g")
    fd = t(open_taken, "d/e/f", os.O_RDWR)
    t.note("path", os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
    os.close(fd)
    os.unlink("d/g")
    t(open_taken, "d/e/f")
    os.rmdir("d/e")
    t(open_taken, "d/e")
    touch("d/e")
    t(open_taken, "d/e")
    taken["wrong"] = taken["d"][:8] + b"\xff" * (len(taken["d"]) - 8)
    t(open_taken, "wrong")
    t.as_user(lambda t: t(open_taken, "d"))


@operation
def locks(t):
    touch("f")
    fd = os.open("f", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)

    def user(t):
        other = os.open("f", os.O_RDWR)
        t(fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        t(fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
        t(fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
    t.as_user(user, uid=0, gid=0)
    t(fcntl.flock, fd, fcntl.LOCK_UN)
    t(fcntl.lockf, fd, fcntl.LOCK_UN)
    t.as_user(user, uid=0, gid=0)
    t(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    t(fcntl.fcntl, fd, fcntl.F_GETLEASE)
    t(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(fd)


@operation
def inotify(t):
    notify = checked(libc.inotify_init1(os.O_NONBLOCK))
    checked(libc.inotify_add_watch(notify, b".", 0xfff))
    touch("a")
    os.chmod("a", 0o600)
    os.setxattr("a", "user.x", b"1")
    os.truncate("a", 1)
    os.rename("a", "b")
    os.link("b", "c")
    os.mkdir("d")
    os.symlink("x", "s")
    os.unlink("b")
    os.rmdir("d")
    events = []
    data = os.read(notify, 65536)
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        events.append((hex(mask), data[16:16 + length].rstrip(b"\0").decode()))
        data = data[16 + length:]
    t.note("events", events)
    os.close(notify)


@operation
def working_directory(t):
    top = os.getcwd()
    os.makedirs("a/b")
    os.chdir("a/b")
    os.rename(top + "/a", top + "/c")
    t.note("cwd", os.path.relpath(os.getcwd(), top))
    os.rmdir(top + "/c/b")
    t(os.getcwd)
    t(touch, "x")
    t(os.listdir, ".")
    os.chdir(top)


def idmap_mount(source, target, first):
    """A bind mount that shows id 0 as first, and so on."""
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        checked(libc.unshare(0x10000000))       # CLONE_NEWUSER
        os.write(w, b"x")
        signal.pause()
    os.read(r, 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as f:
            f.write(f"0 {first} 65536")
    user_ns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    tree = checked(libc.syscall(428, AT_FDCWD, os.fsencode(source), 1))     # open_tree()
    attr = struct.pack("QQQQ", 0x100000, 0, 0, user_ns)                     # MOUNT_ATTR_IDMAP
    checked(libc.syscall(442, tree, b"", AT_EMPTY_PATH, attr, len(attr)))   # mount_setattr()
    checked(libc.syscall(429, tree, b"", AT_FDCWD, os.fsencode(target), 4)) # move_mount()
    for fd in (tree, user_ns, r, w):
        os.close(fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@operation
def idmapped_mount(t):
    os.mkdir("disk")
    os.chmod("disk", 0o777)
    os.mkdir("shown")
    touch("disk/before")
    os.chown("disk/before", 7, 8)
    os.setxattr("disk/before", ACCESS, SOME_ACL)
    idmap_mount("disk", "shown", 100000)
    t.stat("shown/before")
    t(os.getxattr, "shown/before", ACCESS)
    t(touch, "shown/by-root")

    def user(t):
        t(touch, "shown/file")
        t(os.mkdir, "shown/dir")
        t(os.symlink, "x", "shown/link")
        t(os.mkfifo, "shown/fifo")
        t(os.setxattr, "shown/file", ACCESS, SOME_ACL)
        t(os.setxattr, "shown/file", "user.a", b"1")
        t(os.rename, "shown/dir", "shown/dir2")
        t(renameat2, "shown/link", "shown/link2", WHITEOUT)
        t(os.chown, "shown/file", 100006, -1)
        t(os.close, os.open("shown", os.O_TMPFILE | os.O_RDWR))
    t.as_user(user, uid=100005, gid=100006)
    for name in ("file", "dir2", "link2", "fifo"):
        t.stat("shown/" + name)
        t.stat("disk/" + name)
    t(os.chown, "shown/file", 100001, 100002)
    t.stat("disk/file")
    t(os.chown, "shown/file", 1, 2)
    checked(libc.umount2(b"shown", 0))


@operation
def open_flags(t):
    touch("f")
    os.mkdir("d")
    for path, flags in (("f", os.O_CREAT | os.O_EXCL), ("f", os.O_DIRECTORY), ("d", os.O_RDWR),
                        ("d", os.O_CREAT), ("f", os.O_TRUNC | os.O_RDWR), ("f/x", os.O_RDONLY),
                        ("f", os.O_NOATIME), ("f", os.O_PATH), ("none", os.O_RDONLY),
                        ("f", os.O_APPEND | os.O_WRONLY), ("f", os.O_SYNC | os.O_RDWR)):
        fd = t(os.open, path, flags, 0o600)
        if fd is not None:
            os.close(fd)


@operation
def sync(t):
    touch("f")
    fd = os.open("f", os.O_RDWR)
    t(os.fsync, fd)
    t(os.fdatasync, fd)
    os.close(fd)
    fd = os.open(".", os.O_RDONLY)
    t(os.fsync, fd)
    t.note("syncfs", libc.syncfs(fd))
    os.close(fd)


def state_of(path):
    """All that can be asked about a file."""
    st = os.lstat(path)
    facts = {"mode": oct(st.st_mode), "nlink": st.st_nlink, "uid": st.st_uid, "gid": st.st_gid,
             "rdev": st.st_rdev, "xattrs": {}, "ino": st.st_ino, "size": st.st_size,
             "blocks": st.st_blocks, "atime": st.st_atime_ns, "mtime": st.st_mtime_ns,
             "ctime": st.st_ctime_ns, "handle": handle_of(path).hex()}
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        facts["xattrs"][name] = os.getxattr(path, name, follow_symlinks=False).hex()
    if stat.S_ISLNK(st.st_mode):
        facts["target"] = os.fsencode(os.readlink(path)).hex()
    if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
        fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
        facts["flags"] = get_flags(fd)
        if stat.S_ISDIR(st.st_mode):
            facts["order"] = [e.hex() for e in map(os.fsencode, os.listdir(fd))]
        os.close(fd)
    return facts


def state(path):
    found = {}
    # Depth first: reading a directory may change its access time.
    for top, dirs, files in os.walk(os.fsencode(path), topdown=False):
        for name in dirs + files:
            full = os.path.join(top, name)
            found[os.fsdecode(os.path.relpath(full, os.fsencode(path)))] = state_of(full)
    return found


def run_all(top):
    transcripts = {}
    for name, function in OPERATIONS.items():
        where = os.path.join(top, name)
        os.mkdir(where)
        os.chmod(where, 0o777)
        os.chdir(where)
        os.umask(0o022)
        t = Transcript()
        function(t)
        transcripts[name] = t.lines
    os.chdir("/")
    return transcripts


def main():
    if sys.argv[1] == "list":
        print("\n".join(OPERATIONS))
        return
    os.chdir(sys.argv[2])
    top = os.getcwd()
    result = {"run": run_all, "state": state}[sys.argv[1]](top)
    json.dump(result, sys.stdout, ensure_ascii=True)


if __name__ == "__main__":
    main()
