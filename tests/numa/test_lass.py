# SPDX-License-Identifier: GPL-2.0
"""Stores to the user half that processors with LASS refuse, seen in the kernel's code.

QEMU has no LASS. scripts/lass boots the kernel in Bochs, which has.
"""

import os
import re
import subprocess

import pytest

from conftest import KERNEL

pytestmark = pytest.mark.quick

BUILD = KERNEL[:-len("/arch/x86/boot/bzImage")]


def code():
    """Lines of the disassembly of zero.c, with the alternatives that are patched in."""
    return subprocess.run(["objdump", "-dr", "-j", ".text", "-j", ".altinstr_replacement",
                           os.path.join(BUILD, "fs/guestmemfs/numa/arch-x86.o")],
                          check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")


def test_stores_have_ac_set():
    """zero.c stores to its window by its own instructions, and sets AC around them."""
    lines = code()
    assert any(re.search(r"\trep stos|\tmovnti ", l) for l in lines)
    for instruction in ("stac", "clac"):
        assert any(re.search(rf"\t{instruction}\b", l) for l in lines), f"no {instruction}"
    calls = [l for l in lines if re.search(r"R_X86_64_\w+\s+\w*(memset|clear_page)", l)]
    assert not calls, "\n".join(calls)
