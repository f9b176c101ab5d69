# SPDX-License-Identifier: GPL-2.0
"""Memory for guests in memfds that LUO preserves: what guestmemfs is compared with.

usage: memfds.py make|retrieve FOLDER SIZE NAME...

A link to each memfd is in FOLDER, for as long as this process lives. `make` preserves them
when it gets SIGUSR1, and then makes a file FOLDER/preserved.
"""

import fcntl
import os
import signal
import struct
import sys

# <linux/liveupdate.h>
CREATE_SESSION, RETRIEVE_SESSION = 0xBA00, 0xBA01
PRESERVE_FD, RETRIEVE_FD, FINISH = 0xBA40, 0xBA41, 0xBA42


def session(request):
    """A file descriptor of the session that is called memfds."""
    args = bytearray(struct.pack("=Ii64s", 72, -1, b"memfds"))
    fcntl.ioctl(os.open("/dev/liveupdate", os.O_RDWR), request, args)
    return struct.unpack_from("=Ii", args)[1]


def main():
    what, folder, size, *names = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    fds = []
    if what == "make":
        memory = session(CREATE_SESSION)
        for name in names:
            fds.append(os.memfd_create(name))
            os.truncate(fds[-1], int(size))
    else:
        memory = session(RETRIEVE_SESSION)
        for token in range(len(names)):
            args = bytearray(struct.pack("=IiQ", 16, -1, token))
            fcntl.ioctl(memory, RETRIEVE_FD, args)
            fds.append(struct.unpack_from("=Ii", args)[1])
        fcntl.ioctl(memory, FINISH, struct.pack("=II", 8, 0))
    for fd, name in zip(fds, names):
        os.symlink(f"/proc/{os.getpid()}/fd/{fd}", os.path.join(folder, name))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    print("ready", flush=True)
    while True:
        signal.sigwait([signal.SIGUSR1])
        for token, fd in enumerate(fds):
            fcntl.ioctl(memory, PRESERVE_FD, struct.pack("=IiQ", 16, fd, token))
        open(os.path.join(folder, "preserved"), "w", encoding="ascii").close()


if __name__ == "__main__":
    main()
