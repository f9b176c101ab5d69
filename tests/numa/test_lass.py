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

OBJECT = os.path.join(KERNEL[:-len("/arch/x86/boot/bzImage")], "fs/guestmemfs/numa/arch-x86.o")

# The size of struct alt_instr: two relocated offsets, flags, and two lengths of a byte.
ALT_INSTR = 14
STORE = r"rep stos|movnti "


def objdump(*options):
    return subprocess.run(["objdump", *options, OBJECT], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.split("\n")


def instructions(section):
    """{address: (text, symbol of its relocation or "")} in order, and the names of functions."""
    found, names, last = {}, {}, None
    for line in objdump("-dr", "--no-show-raw-insn", "-j", section):
        if m := re.match(r"([0-9a-f]+) <(.*)>:$", line):
            names[int(m[1], 16)] = m[2]
        elif m := re.match(r" *([0-9a-f]+):\t(.*?) *(?:#.*)?$", line):
            last = int(m[1], 16)
            found[last] = m[2], ""
        elif m := re.match(r"\s+[0-9a-f]+: R_X86_64_\w+\s+(\S+)", line):
            found[last] = found[last][0], m[1]
    return found, names


def contents(section):
    """The bytes of a section."""
    data = b""
    for line in objdump("-s", "-j", section):
        if m := re.match(r" [0-9a-f]+ ((?:[0-9a-f]{2,8} ){1,4})", line):
            data += bytes.fromhex(m[1].replace(" ", ""))
    return data


def patched():
    """{address: instruction} that the alternatives put into .text on a processor with LASS."""
    replacements, _ = instructions(".altinstr_replacement")
    places = {}
    for line in objdump("-r", "-j", ".altinstructions"):
        if m := re.match(r"([0-9a-f]+) R_X86_64_PC32 +(\.\w+)(?:\+0x([0-9a-f]+))?$", line):
            places[int(m[1], 16)] = m[2], int(m[3] or "0", 16)
    lengths = contents(".altinstructions")
    found = {}
    for at, (section, address) in places.items():
        # One that puts nothing there has the address of the next one's instructions.
        if at % ALT_INSTR == 0 and section == ".text" and lengths[at + ALT_INSTR - 1]:
            text = replacements.get(places[at + 4][1], ("", ""))[0]
            if text in ("stac", "clac"):
                found[address] = text
    return found


def states():
    """{address: set of what AC can be before the instruction}, for all paths."""
    code, names = instructions(".text")
    alternatives = patched()
    order = sorted(code)
    following = dict(zip(order, order[1:]))
    seen = {address: set() for address in code}
    todo = [(address, False) for address in names]
    while todo:
        address, ac = todo.pop()
        if ac in seen[address]:
            continue
        seen[address].add(ac)
        text, symbol = code[address]
        word = text.split()[0]
        ac = {"stac": True, "clac": False}.get(alternatives.get(address, word), ac)
        # A jump elsewhere is one to an alternative, and comes back behind or at a label.
        target = re.match(r"j\w+ +([0-9a-f]+) ", text)
        if target and not symbol:
            todo.append((int(target[1], 16), ac))
        if word not in ("ret", "ud2") and (word != "jmp" or symbol) and address in following:
            todo.append((following[address], ac))
    return code, seen


def test_stores_have_ac_set():
    """arch-x86.c stores to its window by its own instructions, on all paths with AC set, and with AC
    set it does nothing else that leaves the function."""
    code, seen = states()
    stores = {a: seen[a] for a, (text, _) in code.items() if re.match(STORE, text)}
    assert len(stores) >= 10 and all(stores.values())
    for address, ac in stores.items():
        assert ac == {True}, f"AC is not set at {address:#x}: {code[address][0]}"
    for address, (text, symbol) in code.items():
        # A return, and a call in the end of a function, can be a jump.
        if re.match(r"call|ret", text) or text.startswith("jmp") and symbol:
            assert True not in seen[address], f"AC is set at {address:#x}: {text} {symbol}"
    calls = [symbol for _, symbol in code.values() if re.match(r"\w*(memset|clear_page)", symbol)]
    assert not calls, calls
