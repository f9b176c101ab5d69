# SPDX-License-Identifier: GPL-2.0
"""Paths, exit statuses and errors of all modules."""

import os
import re
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, "build")
GUEST = os.path.join(TOP, "scripts", "guest")

EXIT_KERNEL = 120
EXIT_EMULATOR = 123
EXIT_HANG = 124
EXIT_VM = 125


class VmError(Exception):
    """The machine cannot be run; the text is the reason and a remedy."""


def note(text):
    print(f"vm: {text}", file=sys.stderr, flush=True)


def is_debug(kernel):
    """True if scripts/kernel built the kernel with DEBUG=1."""
    return re.search(r"/kernel[^/]*-debug/", kernel) is not None


def atomic_write(path, data, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd, tmp = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        os.chmod(tmp, mode)
        os.rename(tmp, path)
    except BaseException:
        os.unlink(tmp)
        raise
