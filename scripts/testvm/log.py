# SPDX-License-Identifier: GPL-2.0
"""The kernel's log, and the reports of trouble in it."""

import re
import sys

# Never printed by a healthy kernel.
TROUBLE = re.compile(
    r"\bWARNING: |\bBUG: |kernel BUG at |\bOops\b|Kernel panic|"
    r"INFO: (possible|suspicious|task .* blocked for|trying to register)|"
    r"UBSAN: |KASAN: |general protection fault|unchecked MSR access error|"
    r"stack-protector: |ODEBUG: |page_owner|Bad page map|"
    r"detected stalls? on|DEBUG_LOCKS_WARN_ON|kmemleak: Kernel memory leak detector disabled")
# Warnings of Linux that guestmemfs does not cause: before a kexec, a processor wakes one
# that has just been stopped; and update_curr() starts the timer of dl_server_timer()
# while that is about to set it.
HARMLESS = re.compile(r"sched: Unexpected reschedule of offline CPU#\d+!|"
                      r"\bWARNING: kernel/time/hrtimer\.c:\d+ at hrtimer_forward\+")
# The last line of a run, see end_log() in guest/runner.c, and how long it may take.
COMMAND_END = re.compile(r"\] vm: the command has ended$")
COMMAND_END_TIMEOUT = 30
KERNEL_START = re.compile(r"\] Linux version \d")
REPORT_START = re.compile(r"---\[ cut here \]---")
REPORT_END = re.compile(r"---\[ end (trace|Kernel panic)")
REPORT_LINES = 60

# The line of a task in what the kernel prints at a panic, and the flag of kernel threads.
TASK = re.compile(r"\] task:(\S+) +state:(\S) .* task_flags:0x([0-9a-f]+)")
PF_KTHREAD = 0x00200000


class Tail:
    """Follows a file that QEMU appends to."""

    def __init__(self, path):
        open(path, "ab").close()
        self.file = open(path, "rb", buffering=0)

    def read(self):
        return self.file.read(1 << 20) or b""


class Log:
    """The kernel's log: kept in a file by QEMU, watched for trouble here."""

    def __init__(self, path, allowed, console):
        self.tail = Tail(path)
        self.allowed = allowed
        self.console = console
        self.rest = b""
        self.lines = []

    def poll(self):
        data = self.tail.read()
        if not data:
            return False
        if self.console:
            sys.stderr.buffer.write(data.replace(b"\r", b""))
            sys.stderr.buffer.flush()
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.lines += [l.decode("utf-8", "replace").rstrip("\r") for l in lines]
        return True

    def ended(self):
        """True if the log contains all that the kernel printed before the command ended."""
        return any(COMMAND_END.search(l) for l in self.lines[-50:])

    def finish(self):
        while self.poll():
            pass
        if self.rest:
            self.lines.append(self.rest.decode("utf-8", "replace").rstrip("\r"))
            self.rest = b""

    def reports(self):
        """(boot, report) of each report that is not allowed."""
        hits = [i for i, l in enumerate(self.lines) if TROUBLE.search(l)]
        found = []
        reported = -1
        for n, i in enumerate(hits):
            end = min(i + REPORT_LINES, len(self.lines))
            for j in range(i, end):
                if REPORT_END.search(self.lines[j]):
                    end = j + 1
                    break
            # An allowed pattern may match any line of this report. The line that names the
            # warning precedes the line that begins the report.
            own = min(end, hits[n + 1]) if n + 1 < len(hits) else end
            start = next((j for j in range(i, max(i - 3, -1), -1)
                          if REPORT_START.search(self.lines[j])), i)
            if any(r.search(l) for r in (HARMLESS, *self.allowed) for l in self.lines[start:own]):
                continue
            if i < reported:
                continue
            reported = end
            boot = sum(KERNEL_START.search(l) is not None for l in self.lines[:i])
            found.append((boot, self.lines[max(i - 1, 0):end]))
        return found

    def tasks(self, first):
        """Where processes, and kernel threads that do not just sleep, are, from a line on."""
        found, wanted = [], False
        for line in self.lines[first:]:
            if m := TASK.search(line):
                wanted = m[2] in "RD" or not int(m[3], 16) & PF_KTHREAD
            elif "Kernel panic" in line or re.search(r"\] \S", line):
                wanted = wanted and "Call Trace" in line
            if wanted:
                found.append(line)
        return found
