# SPDX-License-Identifier: GPL-2.0
"""The library tools/postcopy when a connection is lost: no page, and no access that waits, is."""

import glob
import os
import subprocess

import pytest
from conftest import TOP
from offline import quiet

pytestmark = [pytest.mark.quick, pytest.mark.offline]

# Those of the library, and of the tests.
SOURCES = [os.path.join(TOP, "tests", "numa", "postcopy_loss.c"),
           *sorted(glob.glob(os.path.join(TOP, "tools", "postcopy", "*.c")))]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if os.geteuid() and not os.access("/dev/userfaultfd", os.R_OK | os.W_OK):
        pytest.skip("userfaultfd of this kernel is for root")
    path = str(tmp_path_factory.mktemp("postcopy") / "postcopy_loss")
    subprocess.run(["cc", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread",
                    "-fsanitize=address,undefined", "-o", path, *SOURCES], check=True)
    return path


@pytest.mark.parametrize("case", ["unread unix", "unread tcp", "early", "asked", "truncated"])
def test_loss(program, case):
    quiet(program, *case.split(), timeout=60)
