# SPDX-License-Identifier: GPL-2.0
"""The early code of pools with the kernel's own memblock, on made-up machines.

MACHINES=N in the environment looks at N of them, the same ones each time.
"""

import os
import re
import subprocess

from conftest import BIN, TOP, make

MACHINES = int(os.environ.get("MACHINES") or 300)


def test_pools_of_many_machines():
    tree = subprocess.run([os.path.join(TOP, "scripts", "kernel-tree")], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    make("-C", os.path.join(TOP, "tests", "memblock"), f"KTREE={tree}")
    carve = os.path.join(os.path.dirname(BIN), "memblock", os.path.basename(tree), "carve")
    run = subprocess.run([carve, "--machines", str(MACHINES)], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, check=False)
    failed = re.findall(r"^not ok \d+ - (.*machine \d+)$", run.stdout, re.MULTILINE)
    passed = re.findall(r"^ok \d+ - ", run.stdout, re.MULTILINE)
    assert not failed, f"{failed}, again by {carve} --first NUMBER:\n{run.stdout}"
    assert run.returncode == 0 and len(passed) == MACHINES, run.stdout
    # They have to have come to something.
    counts = re.search(r"^# (\d+) boots, (\d+) pools, (\d+) refused, (\d+) times the limit$",
                       run.stdout, re.MULTILINE)
    assert all(int(count) for count in counts.groups()), counts.group()
    counts = re.search(r"^# (\d+) growth reserves, (\d+) refused, (\d+) times the limit$",
                       run.stdout, re.MULTILINE)
    assert all(int(count) for count in counts.groups()), counts.group()
