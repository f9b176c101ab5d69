# SPDX-License-Identifier: GPL-2.0
"""Memory of a node that is pinned for long, as io_uring pins the buffers of a database.

usage: pinned.py NODE MIB FILE: creates FILE when it has the memory, until it is killed.

With MIB below 0, the pages are not pinned, but some of the last ones are in a pipe.
"""

import ctypes
import mmap
import os
import signal
import sys

SET_MEMPOLICY, VMSPLICE, IO_URING_SETUP, IO_URING_REGISTER = 238, 278, 425, 427
MPOL_BIND = 2
MADV_POPULATE_WRITE = 23
PART = 256 << 20


class Buffer(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def call(*args):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    if result < 0:
        sys.exit(f"system call {args[0]}: errno {ctypes.get_errno()}")
    return result


def main():
    node, mib, ready = int(sys.argv[1]), abs(int(sys.argv[2])), sys.argv[3]
    mask = ctypes.c_ulong(1 << node)
    call(SET_MEMPOLICY, MPOL_BIND, ctypes.byref(mask), 64)
    memory = mmap.mmap(-1, mib << 20)
    memory.madvise(mmap.MADV_HUGEPAGE)
    memory.madvise(MADV_POPULATE_WRITE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    buffers = [Buffer(start + at, min(PART, (mib << 20) - at)) for at in range(0, mib << 20, PART)]
    if sys.argv[2].startswith("-"):
        pipe = os.pipe()
        call(VMSPLICE, pipe[1], ctypes.byref(Buffer(start + ((mib - 1) << 20), 4 * 4096)), 1, 0)
        buffers = []
    ring = call(IO_URING_SETUP, 4, ctypes.create_string_buffer(120))
    if buffers:
        call(IO_URING_REGISTER, ring, 0, (Buffer * len(buffers))(*buffers), len(buffers))
    open(ready, "w", encoding="ascii").close()
    signal.pause()


if __name__ == "__main__":
    main()
