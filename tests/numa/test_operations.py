# SPDX-License-Identifier: GPL-2.0
"""What works on tmpfs works here, and is there again after a kexec: operations.py on both."""

import json
import os
import sys

import pytest

import operations

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "operations.py")

SCRIPT = f"""
mount_node 0
mkdir -p /tmp/reference
mount -t tmpfs none /tmp/reference
python3 {PROGRAM} run /tmp/reference > $VM_SCRATCH/tmpfs-run-$VM_BOOT
python3 {PROGRAM} state /tmp/reference > $VM_SCRATCH/tmpfs-state-$VM_BOOT
[ "$VM_BOOT" = 1 ] || python3 {PROGRAM} state /mnt/node0/1 > $VM_SCRATCH/state-after
mkdir /mnt/node0/$VM_BOOT
python3 {PROGRAM} run /mnt/node0/$VM_BOOT > $VM_SCRATCH/run-$VM_BOOT
python3 {PROGRAM} state /mnt/node0/$VM_BOOT > $VM_SCRATCH/state-$VM_BOOT
# Once more: the first look may have changed access times.
python3 {PROGRAM} state /mnt/node0/$VM_BOOT > $VM_SCRATCH/state-$VM_BOOT
[ "$VM_BOOT" = 2 ] || vm-kexec
"""

# What is of the one file system and not of the other, whatever is done.
OWN = ("ino", "handle", "blocks", "atime", "mtime", "ctime", "order")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    from conftest import boot
    where = tmp_path_factory.mktemp("vm")
    boot(SCRIPT, where, nodes=1, mem="1G", append="guestmemfs=0:256M", boots=2)
    found = {}
    for name in os.listdir(where / "scratch"):
        with open(where / "scratch" / name, encoding="utf-8") as f:
            found[name] = json.load(f)
    table(found, sys.stdout)
    return found


def below(state, name):
    """What of a state is of an operation, without what is of the file system."""
    found = {}
    for path, facts in state.items():
        if path == name or path.startswith(name + "/"):
            found[path] = {k: v for k, v in facts.items() if k not in OWN}
            if facts["mode"].startswith("0o4"):
                del found[path]["size"]
    return found


def verdict(found, name, boot):
    """Whether the operation does the same on guestmemfs as on tmpfs, in a boot."""
    return (found[f"run-{boot}"][name] == found["tmpfs-run-1"][name] and
            below(found[f"state-{boot}"], name) == below(found["tmpfs-state-1"], name))


def table(found, out):
    out.write(f"{'operation':32} {'tmpfs':8} {'guestmemfs':12} after kexec\n")
    for name in operations.OPERATIONS:
        words = [f"{len(found['tmpfs-run-1'][name])} steps"]
        words += ["the same" if verdict(found, name, boot) else "DIFFERS" for boot in (1, 2)]
        out.write(f"{name:32} {words[0]:8} {words[1]:12} {words[2]}\n")


@pytest.mark.parametrize("operation", operations.OPERATIONS)
@pytest.mark.parametrize("boot", [1, 2], ids=["new", "handed-over"])
def test_as_on_tmpfs(results, boot, operation):
    assert results[f"run-{boot}"][operation] == results["tmpfs-run-1"][operation]
    assert (below(results[f"state-{boot}"], operation) ==
            below(results["tmpfs-state-1"], operation))


@pytest.mark.parametrize("operation", operations.OPERATIONS)
def test_same_after_kexec(results, operation):
    """To the bit: times, numbers, handles, order of entries."""
    before, after = ({path: facts for path, facts in results[name].items()
                      if path == operation or path.startswith(operation + "/")}
                     for name in ("state-1", "state-after"))
    assert before and before == after
