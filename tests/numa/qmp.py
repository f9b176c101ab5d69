# SPDX-License-Identifier: GPL-2.0
"""QEMU's machine protocol."""

import json
import socket


def monitor(path, commands):
    """What QEMU returns for each command (name, arguments)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        stream = s.makefile("rw", encoding="ascii")
        stream.readline()
        results = []
        for name, arguments in (("qmp_capabilities", {}), *commands):
            stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
            stream.flush()
            while True:
                answer = json.loads(stream.readline())
                assert "error" not in answer, answer
                if "return" in answer:
                    break
            results.append(answer["return"])
    return results[1:]
