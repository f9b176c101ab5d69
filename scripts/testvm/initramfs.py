# SPDX-License-Identifier: GPL-2.0
"""The first file system of each boot."""

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time

from .common import BUILD, GUEST, VmError, atomic_write


def cpio(entries):
    """A newc archive, written without root and cpio(1); it has no devices."""
    out = bytearray()
    entries = entries + [("TRAILER!!!", 0, b"")]
    for ino, (name, mode, data) in enumerate(entries, 1):
        fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08X" % f for f in fields)
        out += name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4)
        out += data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def build_initramfs():
    """build/vm/initramfs-HASH.cpio, made if an input has changed."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin:" + os.environ.get("PATH", ""))
    if not busybox:
        raise VmError("busybox is missing (Debian: busybox-static)")
    inputs = [busybox] + [os.path.join(GUEST, f) for f in ("init", "runner.c", "vm-kexec", "kexec", "coverage")]
    digest = hashlib.sha256()
    data = {}
    for path in inputs:
        with open(path, "rb") as f:
            data[path] = f.read()
        digest.update(data[path])
    if b"ld-linux" in data[busybox][:4096]:
        raise VmError(f"{busybox} needs shared libraries (Debian: install busybox-static)")
    path = os.path.join(BUILD, "vm", f"initramfs-{digest.hexdigest()[:16]}.cpio")
    if os.path.exists(path):
        return path

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        runner = os.path.join(tmp, "runner")
        cmd = [os.environ.get("CC", "cc"), "-O2", "-Wall", "-Wextra", "-static",
               "-o", runner, os.path.join(GUEST, "runner.c")]
        try:
            subprocess.run(cmd, check=True, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as e:
            raise VmError(f"'{' '.join(cmd)}' failed: {e}") from None
        with open(runner, "rb") as f:
            runner = f.read()
    d, x = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    entries = [(name, d, b"") for name in ("bin", "dev", "proc", "sys", "new", "vm")]
    entries += [("init", x, data[inputs[1]]), ("bin/busybox", x, data[busybox]),
                ("vm/runner", x, runner)]
    entries += [(f"vm/{os.path.basename(p)}", x, data[p]) for p in inputs[3:]]
    atomic_write(path, cpio(entries))
    # Remove those of older inputs, but not recent ones: another machine may be loading one.
    for name in os.listdir(os.path.dirname(path)):
        old = os.path.join(os.path.dirname(path), name)
        if name.startswith("initramfs-") and os.stat(old).st_mtime < time.time() - 3600:
            os.unlink(old)
    return path
