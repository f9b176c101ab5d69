# SPDX-License-Identifier: GPL-2.0
"""The processors as QEMU's monitor shows them."""

import json
import re
import socket
import time

# How often, in seconds, an emulated machine is checked for an interrupt that never ends,
# and how many times in a row it must be found. Linux ends an interrupt before all else,
# so it cannot sleep in one. But the two queries of a running machine are not
# simultaneous.
LOOK_EVERY = 5
LOOKS = 5

# The flag of the processor that enables interrupts.
EFLAGS_IF = 0x200


def asleep_in_interrupts(lines):
    """{(processor, interrupt)} in service while the processor sleeps, see Monitor.ask()."""
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

    def execute(self, *commands):
        """The answers of QEMU to commands, each of which is a name and its arguments."""
        def ask(monitor, command, arguments):
            monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            monitor.flush()
            while True:
                answer = json.loads(monitor.readline())
                # Events may precede the answer.
                if "return" in answer or "error" in answer:
                    return answer.get("return") or ""

        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.path)
            with sock.makefile("rw", encoding="utf-8") as monitor:
                monitor.readline()
                ask(monitor, "qmp_capabilities", {})
                return [ask(monitor, *command) for command in commands]

    def ask(self):
        """QEMU's dump of registers and interrupt controllers of its processors, as lines."""
        commands = ["info registers -a", *(f"info lapic {cpu}" for cpu in range(self.ncpus))]
        said = self.execute(*(("human-monitor-command", {"command-line": command})
                              for command in commands))
        return [line.rstrip() for line in "\n".join(said).splitlines()]

    def matching(self, regex):
        """Those lines of ask() that match."""
        try:
            return [line for line in self.ask() if re.match(regex, line)]
        except (OSError, ValueError) as e:
            return [f"QEMU does not say what its processors do: {e}"]

    def processors(self):
        """Registers and interrupts of the processors of a machine that hangs."""
        return self.matching(r"CPU#|RIP=|dumping|LVTT\s|Timer|ISR|IRR")

    def registers(self):
        """Registers of the processors of a machine that was reset."""
        return self.matching(r"CPU#|[ER](AX|SI|IP)=|R8 |R12|CS =|GDT|IDT|CR0")

    def interrupt(self):
        """Let the kernel panic by an NMI, which it gets even if it disables interrupts."""
        try:
            self.execute(("inject-nmi", {}))
        except (OSError, ValueError):
            pass

    def never_ended(self):
        """(processor, interrupt) of each interrupt that is in service while its processor sleeps.

        If each processor has a thread of the host, QEMU rarely loses the end of an
        interrupt: the processor then gets no interrupt of that priority or a lower one,
        which are all except those that processors send to each other. The kernel cannot
        recover from that.
        """
        found = None
        for _ in range(LOOKS):
            try:
                now = asleep_in_interrupts(self.ask())
            except (OSError, ValueError):
                # QEMU has ended, or has no monitor.
                return set()
            found = now if found is None else found & now
            if not found:
                break
            time.sleep(0.05)
        return found


class Events:
    """What QEMU tells without being asked, by the path of a socket of its own."""

    def __init__(self, path):
        self.path = path
        self.sock = None
        self.text = b""

    def stopped(self):
        """True once the machine was reset or switched off; QEMU keeps its state then."""
        try:
            if not self.sock:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(self.path)
                sock.sendall(b'{"execute": "qmp_capabilities"}\n')
                sock.setblocking(False)
                self.sock = sock
            self.text += self.sock.recv(1 << 16)
        except OSError:
            # There is no event, or no QEMU.
            pass
        return b'"SHUTDOWN"' in self.text
