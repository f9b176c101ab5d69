# SPDX-License-Identifier: GPL-2.0
"""What gmfs-numa plans, the kernel accepts, on the same machine."""

import pytest

from conftest import mebibytes
from tool import build

MACHINES = {
    "two": dict(nodes=2, mem="3G"),
    "four": dict(nodes=4, mem="4G"),
    "odd": dict(topology="node=0,cpus=0,mem=1G;node=1,cpus=1,mem=6G;node=2,cpus=2;"
                         "node=3,mem=2G;hole=1G"),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=list(MACHINES))
def test_largest_pools(vm, machine):
    """Also the largest that it thinks possible, and then it still plans these."""
    def sizes(parameter):
        return {int(nid): mebibytes(size) for nid, size in
                (part.split(":") for part in parameter.removeprefix("guestmemfs=").split(","))}

    tool = build()
    plan = vm(f"echo parameter=$({tool} plan --reserve 100% -rno PARAMETER | head -n 1)", **machine)
    parameter = plan.value("parameter")
    want = sizes(parameter)
    assert len(want) > 1
    run = vm(rf"""
    check_kho
    {tool} status -brno NODE,SIZE | sed 's/^/pool /'
    echo again=$({tool} plan --reserve 100% -rno PARAMETER | head -n 1)
    """, append=parameter, **machine)
    pools = (line.split()[1:] for line in run.lines("^pool "))
    assert {int(nid): int(size) >> 20 for nid, size in pools} == want
    # Without the memory maps of what is in pools there can be a little more.
    again = sizes(run.value("again"))
    assert all(again[nid] >= size for nid, size in want.items()), (want, again)
