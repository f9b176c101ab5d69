# SPDX-License-Identifier: GPL-2.0
"""The first file system of each boot."""

import hashlib
import os
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
    sources = [os.path.join(GUEST, f) for f in ("init.c", "runner.c", "guest.h")]
    scripts = [os.path.join(GUEST, f) for f in ("vm-kexec", "kexec", "coverage")]
    digest = hashlib.sha256()
    data = {}
    for path in sources + scripts:
        with open(path, "rb") as f:
            data[path] = f.read()
        digest.update(data[path])
    path = os.path.join(BUILD, "vm", f"initramfs-{digest.hexdigest()[:16]}.cpio")
    if os.path.exists(path):
        return path

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        init = os.path.join(tmp, "init")
        cmd = [os.environ.get("CC", "cc"), "-O2", "-Wall", "-Wextra", "-static", "-s",
               "-o", init, *(s for s in sources if s.endswith(".c"))]
        try:
            subprocess.run(cmd, check=True, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as e:
            raise VmError(f"'{' '.join(cmd)}' failed: {e}") from None
        with open(init, "rb") as f:
            init = f.read()
    d, x = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    entries = [(name, d, b"") for name in ("dev", "proc", "sys", "new", "vm")]
    entries += [("init", x, init)]
    entries += [(f"vm/{os.path.basename(p)}", x, data[p]) for p in scripts]
    atomic_write(path, cpio(entries))
    # Remove those of older inputs, but not recent ones: another machine may be loading one.
    for name in os.listdir(os.path.dirname(path)):
        old = os.path.join(os.path.dirname(path), name)
        if name.startswith("initramfs-") and os.stat(old).st_mtime < time.time() - 3600:
            os.unlink(old)
    return path
