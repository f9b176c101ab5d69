# SPDX-License-Identifier: GPL-2.0
"""Checks of /sys/fs/guestmemfs that test_sysfs.py has done inside a machine.

usage: sysfs CHECK [ARG...] [CHECK...]: the functions with @check. The first
that fails ends it, with status 1 and a line that says what is not as it should be.
"""

import importlib
import os
import sys

from common import CHECKS, Failed

# Each has checks of its own, and registers them by @check.
MODULES = ("abi", "values", "actions", "scrub", "events", "freeze", "discard", "storm")


def main(*words):
    """Each check takes as many of the words as it has arguments."""
    words = list(words)
    while words:
        function = CHECKS[words.pop(0)]
        nr = function.__code__.co_argcount
        args, words = words[:nr], words[nr:]
        status = one(function, args)
        if status:
            return status
    return 0


def one(function, args):
    try:
        function(*args)
    except (Failed, OSError) as e:
        lines = []
        at = e.__traceback__
        while at:
            lines.append(f"{os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}")
            at = at.tb_next
        print(f"FAILED: {function.__name__} {' '.join(args)}: {type(e).__name__}: {e} "
              f"({' '.join(lines)})")
        return 1
    return 0


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    sys.exit(main(*sys.argv[1:]))
