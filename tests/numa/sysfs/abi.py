# SPDX-License-Identifier: GPL-2.0
"""Each file that is documented, and no other; who may read it."""

import glob
import os
import re
import stat
import uuid

from common import (
    BITMAPS, Failed, TOP, become_nobody, bits, check, error_of, in_child, join, nodes, raw, same,
    text)

ABI = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                   "../../../Documentation/ABI/testing/sysfs-fs-guestmemfs")


class Entry:
    """A file that it describes."""

    def __init__(self, what, description):
        self.what = what
        self.description = description
        self.directory = what.endswith("/")
        kind = re.match(r"\((RO|RW|WO)\) ", description)
        mode = re.search(r"\bMode\s+(0[0-7]{3})\b", description)
        if mode:
            self.mode = int(mode[1], 8)
        elif kind:
            self.mode = {"RO": 0o444, "RW": 0o644, "WO": 0o200}[kind[1]]
        else:
            self.mode = None


def abi():
    found = {}
    for part in re.split(r"^What:\s*", text(ABI), flags=re.M)[1:]:
        what = part.split("\n", 1)[0]
        description = re.search(r"^Description:\n(.*?)(?=^\S|\Z)", part, re.M | re.S)[1]
        found[what] = Entry(what, re.sub(r"^\t\t", "", description, flags=re.M).lstrip("\n"))
    return found


def features():
    """Names in the table of features."""
    rows = abi()[f"{TOP}/features/"].description.split("\n")
    lines = [i for i, l in enumerate(rows) if re.match(r"=+\s+=+$", l)]
    return [row.split()[0] for row in rows[lines[0] + 1:lines[1]]]


NUMBER = r"\d+\n"
# What is no number.
FORMS = {
    "extents": r"(0x[0-9a-f]+ 0x[0-9a-f]+\n)+",
    "extent_blocks": r"(\d+ \d+\n)+",
    "resize_error": r"\n",
    "handed_over_from": r"([\w.+~-]+)?\n",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n",
    "format": r"1 compat=0x[0-9a-f]+ ro_compat=0x[0-9a-f]+ incompat=0x[0-9a-f]+\n",
    "state": r"(active|frozen)\n",
    "error": r"\n",
    "check": r"ok\n",
    "frozen": r"[01]\n",
    "scrub_target": r"(\d+|all)\n",
    "zeroing": r"(background|on-alloc)\n",
    "policy": r"(best-fit|first-fit)\n",
    "pins": r"",
    "attached": r"",
    "compact": r"(gained \d+\nmoved \d+\n(\w+ \d+ \d+\n)*)?",
}


def read_one(node, name, total):
    """Reads an attribute of a node that is well, and looks whether it has its form."""
    data = raw(node.path(name))
    if name in BITMAPS:
        same(len(data), -(-total // 8), f"bytes of {node.path(name)}")
        if bits(data) and max(bits(data)) >= total:
            raise Failed(f"{node.path(name)} has spare bits that are set")
    elif name == "metadata":
        same((data[:8], len(data) % 4096), (b"GMEMPOOL", 0), f"start and size of {node.path(name)}")
    elif not re.fullmatch(FORMS.get(name, NUMBER), data.decode()):
        raise Failed(f"{node.path(name)}: {data[:100]!r} is not {FORMS.get(name, NUMBER)}")


@check
def files():
    """The files are those that the ABI has, with its modes, and can be read."""
    documented = abi()
    want = {TOP: None}
    for name in features():
        want[f"{TOP}/features/{name}"] = 0o444
    for what, entry in documented.items():
        if not what.startswith(TOP):
            continue
        if entry.mode is None and not entry.directory:
            raise Failed(f"the ABI says no mode of {what}")
        mode = None if entry.directory else entry.mode
        if "<N>" not in what:
            want[what.rstrip("/")] = mode
        for node in nodes():
            want[what.replace("<N>", str(node.nid)).rstrip("/")] = mode

    have = {TOP: None}
    for where, dirs, names in os.walk(TOP):
        for name in dirs + names:
            path = f"{where}/{name}"
            st = os.lstat(path)
            have[path] = None if stat.S_ISDIR(st.st_mode) else stat.S_IMODE(st.st_mode)
            same((st.st_uid, st.st_gid), (0, 0), f"owner of {path}")
    for path in sorted(want.keys() | have.keys()):
        if path not in have:
            raise Failed(f"{path} is missing")
        if path not in want:
            raise Failed(f"{path} is not documented")
        same(have[path], want[path], f"mode of {path}")
        if have[path] == 0o444 and path.count("/") == 5 and "/features/" in path:
            same(text(path), "supported\n", path)
    same(text(f"{TOP}/version"), "1\n", "version")
    same(text(f"{TOP}/kho"), "on\n", "kho")

    for node in nodes():
        for what, entry in documented.items():
            name = what.split("/")[-1]
            if "/node<N>/" in what and name and what.startswith(TOP) and entry.mode & 0o400:
                read_one(node, name, node["total_blocks"])

    linked = {int(re.search(r"(\d+)/guestmemfs$", link)[1])
              for link in glob.glob("/sys/devices/system/node/node*/guestmemfs")}
    same(linked, {n.nid for n in nodes()}, "nodes with a link")
    for node in nodes():
        same(os.path.realpath(f"/sys/devices/system/node/node{node.nid}/guestmemfs"), node.dir,
             "where the link goes")
    print(f"files={len(have)}")


@check
def metadata():
    """A copy of one moment, or an error: never parts of two."""
    for node in nodes()[:1]:
        with open(node.path("metadata"), "rb", buffering=0) as one, \
                open(node.path("metadata"), "rb", buffering=0) as two:
            first = one.read(4096)
            same(uuid.UUID(bytes=first[48:64]), uuid.UUID(node.text("uuid")), "UUID in the metadata")
            same(first[20], 2, "state in the metadata: sealed")
            two.read(4096)
            same(error_of(one.read, 4096), "ESTALE", "metadata after another reader began")
            rest = b"".join(iter(lambda: two.read(4096), b""))
            blocks = sum(int.from_bytes(first[at:at + 4], "little") for at in (92, 96))
            same(len(rest), 4096 * blocks, "bytes of metadata after the super block")
            same(error_of(two.read, 4096), "ESTALE", "metadata after its end")
            same(error_of(os.pread, one.fileno(), 4096, 4096), "ESTALE", "metadata from the middle")


@check
def unprivileged():
    """Nobody but root can write, nor see where memory is."""
    def as_nobody():
        opened = [open(n.path(name), "rb", buffering=0)
                  for n in nodes() for name in ("extents", "pins", "attached", "compact", *BITMAPS)]
        checks = [open(n.path(name), "rb", buffering=0) for n in nodes()
                  for name in ("check", "metadata")]
        become_nobody()
        for f in opened:
            same(f.read(), b"", f"{f.name} that root has opened, without CAP_SYS_ADMIN")
        for f in checks:
            same(error_of(f.read), "EPERM", f"{f.name} that root has opened")
        for node in nodes():
            for name in os.listdir(node.dir):
                path = node.path(name)
                mode = stat.S_IMODE(os.lstat(path).st_mode)
                same(error_of(os.open, path, os.O_RDONLY), None if mode & 4 else "EACCES",
                     f"reading {path} as nobody")
                same(error_of(os.open, path, os.O_WRONLY), "EACCES", f"writing {path} as nobody")
                if mode & 4 and name not in BITMAPS and re.search(r"0x[0-9a-f]{6}", text(path)):
                    raise Failed(f"{path} has an address for everybody: {text(path)}")
    join(in_child(as_nobody))
    # Nor does root write what can only be read, or read what can only be written.
    for node in nodes():
        for name in os.listdir(node.dir):
            mode = stat.S_IMODE(os.lstat(node.path(name)).st_mode)
            if not mode & 0o200:
                same(error_of(os.open, node.path(name), os.O_WRONLY), "EACCES",
                     f"writing {name} as root")
            if not mode & 0o400:
                same(error_of(os.open, node.path(name), os.O_RDONLY), "EACCES",
                     f"reading {name} as root")
