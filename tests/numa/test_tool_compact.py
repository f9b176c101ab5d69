# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa compact, as far as it can be seen without a pool; test_compact.py has the rest."""

import pytest
from offline import on
from sysroot import MACHINES
from tool import USAGE, call

pytestmark = [pytest.mark.quick, pytest.mark.offline]


@pytest.mark.parametrize("args,text", [
    ([], "needs a node"),
    (["--count", "0", "1"], "'0' is no number of gibibytes"),
    (["--count", "1G", "1"], "'1G' is no number of gibibytes"),
    (["--count", "-1", "1"], "'-1' is no number of gibibytes"),
    (["--nonsense", "1"], "--nonsense"),
])
def test_usage(args, text):
    assert text in call(["compact", *args], status=USAGE).err


def test_not_below_sysroot(make):
    """Blocks of this machine move, not of another one."""
    assert "--sysroot" in on(make(MACHINES["2"]()), "compact", "1", status=USAGE).err
