# SPDX-License-Identifier: GPL-2.0
"""The fuzzers of tests/fuzz, for some seconds and with the same inputs each time.

`make fuzz` runs them for as long as one likes.
"""

import os
import re
import subprocess

import pytest

from conftest import TOP


@pytest.mark.quick
def test_fuzz():
    """What was found once is tried first."""
    run = subprocess.run([os.path.join(TOP, "tests", "fuzz", "run"), "--quick", "--runs=4000",
                          "--cmdline-runs=20000"], check=False, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    print(run.stdout)
    assert run.returncode == 0
    executions = dict(re.findall(r"^fuzz: (\w+): (\d+) executions", run.stdout, re.MULTILINE))
    assert executions == {"cmdline": "20000", "kcmdline": "20000", "format": "4000"}
    assert re.search(r"^fuzz: format: \d+ known inputs", run.stdout, re.MULTILINE)
