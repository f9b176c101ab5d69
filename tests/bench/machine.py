# SPDX-License-Identifier: GPL-2.0
"""Machines of scripts/vm that measure something, and what they print."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.join(os.path.dirname(HERE), "numa")
TOP = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.join(TOP, "build", "bench", "bin")

KIB, MIB, GIB, TIB = (1 << n for n in (10, 20, 30, 40))

# Without random numbers: two runs execute the same instructions, except for the timing of
# input from outside the machine.
QUIET_CPU = "EPYC,+svm,-rdrand,-rdseed"


class BenchError(Exception):
    """A measurement failed; the text contains the machine and its output."""


@dataclasses.dataclass
class Machine:
    """One machine: its hardware, and the script that measures in it."""

    name: str
    script: str             # of bash, in the machine
    topology: str
    append: str = ""
    icount: bool = True     # its clock counts instructions; else it shows real time
    waits: bool = False     # when idle, the clock shows real time: for scripts that use files of the host
    memory: int = 0         # bytes of the host's memory that it touches
    timeout: int = 1500
    devices: str = ""       # of QEMU, beside what each machine has
    first: bool = False     # first.c is the first program of each kernel
    params: dict = dataclasses.field(default_factory=dict)  # kept with each of its rows

    def command(self, kernel, scratch):
        cpu = QUIET_CPU
        # As scripts/vm for large machines, because this option overrides that of scripts/vm.
        if sum(map(size_of, re.findall(r"mem=(\w+)", self.topology))) > 512 * GIB:
            cpu += ",phys-bits=46"
        first = ["--add-initrd", os.path.join(BIN, "first.cpio")] if self.first else []
        words = ["scripts/vm", "--nested", "--kernel", kernel, "--scratch", scratch,
                 "--timeout", str(self.timeout), "--qemu-args", f"-cpu {cpu} {self.devices}".strip(),
                 "--topology", self.topology, "--append", f"nokaslr {self.append}".strip(), *first]
        if self.icount:
            # Without "wait", the clock skips again and again while the machine waits for the host.
            words.insert(1, "--icount=wait" if self.waits else "--icount")
        return words + ["--", "bash", "-euc", f"PATH=$PATH:{BIN}; . {TESTS}/lib.sh; . {HERE}/lib.sh\n{self.script}"]

    def run(self, kernel):
        """{"name", "command", "wall", "rows"}"""
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            words = self.command(kernel, scratch)
            start = time.monotonic()
            done = subprocess.run(words, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
            wall = time.monotonic() - start
        if done.returncode:
            raise BenchError(f"{self.name}: status {done.returncode} of: {shlex.join(words)}\n{done.stdout}")
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not rows:
            raise BenchError(f"{self.name}: no figures in the output of: {shlex.join(words)}\n{done.stdout}")
        for row in rows:
            if row["unit"] == "time":
                row["unit"] = "instructions" if self.icount else "ns"
            row.update(self.params)
        inside = os.path.commonpath([kernel, TOP]) == TOP
        shown = self.command(os.path.relpath(kernel, TOP) if inside else "KERNEL", "SCRATCH")
        return {"name": self.name, "command": shlex.join(shown).replace(TOP + "/", ""), "wall": round(wall, 1),
                "rows": rows}


def size_of(text):
    """Bytes of a number with K, M, G or T."""
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30, "T": 40}[text[-1]]


def size_name(size):
    for unit, letter in ((TIB, "T"), (GIB, "G"), (MIB, "M"), (KIB, "K")):
        if size and size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)
