# SPDX-License-Identifier: GPL-2.0
"""The processors as QEMU's monitor shows them."""

import json
import re
import socket
import time

# How often, in seconds, an emulated machine is looked at for an interrupt that never
# ends, and how often in a row it must be found. Linux ends an interrupt as the first
# thing it does, so that it is not asleep when it has one; but two questions to a
# running machine are not of one moment.
LOOK_EVERY = 5
LOOKS = 5

# The flag of the processor that allows interrupts.
EFLAGS_IF = 0x200


def asleep_in_interrupts(lines):
    """{(processor, interrupt)} that are so by what QEMU's monitor says, see Monitor.ask()."""
    cpu, asleep, found = None, set(), set()
    for line in lines:
        if m := re.match(r"(?:CPU#|dumping local APIC state for CPU )(\d+)", line):
            cpu = int(m[1])
        elif m := re.match(r"[ER]IP=\w+ [ER]?FL=(\w+) .*HLT=1", line):
            if int(m[1], 16) & EFLAGS_IF:
                asleep.add(cpu)
        elif (m := re.match(r"ISR\s+(\d.*)", line)) and cpu in asleep:
            found |= {(cpu, int(vector)) for vector in re.findall(r"\d+", m[1])}
    return found


class Monitor:
    """The monitor of a machine, by the path of its socket."""

    def __init__(self, path, ncpus):
        self.path = path
        self.ncpus = ncpus

    def ask(self):
        """What QEMU says of its processors' registers and interrupt controllers, as lines."""
        def ask(monitor, command, **arguments):
            monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            monitor.flush()
            while True:
                answer = json.loads(monitor.readline())
                # Between them are events.
                if "return" in answer or "error" in answer:
                    return answer.get("return") or ""

        commands = ["info registers -a", *(f"info lapic {cpu}" for cpu in range(self.ncpus))]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.path)
            with sock.makefile("rw", encoding="utf-8") as monitor:
                monitor.readline()
                ask(monitor, "qmp_capabilities")
                said = "\n".join(ask(monitor, "human-monitor-command", **{"command-line": command})
                                 for command in commands)
        return [line.rstrip() for line in said.splitlines()]

    def processors(self):
        """What those of a machine that hangs do, and whether they get interrupts: lines of QEMU's."""
        try:
            lines = self.ask()
        except (OSError, ValueError) as e:
            return [f"QEMU does not say what its processors do: {e}"]
        return [line for line in lines if re.match(r"CPU#|RIP=|dumping|LVTT\s|Timer|ISR|IRR", line)]

    def never_ended(self):
        """(processor, interrupt) of each interrupt that is in service while its processor sleeps.

        QEMU loses the end of one now and then, rarely, if each processor has a thread of
        the host: the processor has no interrupt of that priority or a lower one any more,
        which are all but those that processors send to each other. Nothing goes on as it
        should, and the kernel can do nothing about it.
        """
        found = None
        for _ in range(LOOKS):
            try:
                now = asleep_in_interrupts(self.ask())
            except (OSError, ValueError):
                # It has ended, or has no monitor.
                return set()
            found = now if found is None else found & now
            if not found:
                break
            time.sleep(0.05)
        return found
