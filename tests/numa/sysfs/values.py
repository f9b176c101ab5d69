# SPDX-License-Identifier: GPL-2.0
"""Each value that is allowed and no other; all values together; what a kexec keeps."""

import json
import os
import random
import re
import stat

from common import BLOCK, GIB, MAX, TUNABLES, between, check, nodes, same, text

# What is no number: too large first, then no number at all.
TOO_LARGE = [2**64, 2**64 + 5, hex(2**64), "9" * 100, "9" * 4000, "9" * 20000]
NO_NUMBER = ["-1", "-0", "\n", " ", " 1", "1 ", "1\n\n", "1\r\n", "1\n2\n", "1 2", "1,", "0x", "0x1g",
             "08", "1.5", "1e3", "1K", "one", "x" * 4000, "x" * 100000, "\0", b"\xff", "1\t"]
NO_WORD = ["", "\n", "Background", "BEST-FIT", "best-fit ", " best-fit", "on-alloc\n\n", "on", "best",
           "best-fit,", "0", "1", "x" * 100000]


def limit(node, name):
    return {"scrub_rate": MAX, "frozen": 1}.get(name, node["total_blocks"])


def good_values(node, name):
    """(what is written, what is read then)"""
    if name == "zeroing":
        words = ["on-alloc", "background"]
    elif name == "policy":
        words = ["first-fit", "best-fit"]
    else:
        top = limit(node, name)
        some = top // 3
        values = [(form(n), str(n)) for n in (0, 1, some, top - 1 if top > 1 else 1, top)
                  for form in (str, lambda n: f"{n}\n", hex, lambda n: f"0x{n:X}\n",
                               lambda n: f"0{n:o}")]
        values += [("0" * 21 + "0", "0")]
        if name == "scrub_target":
            values += [("all", "all"), ("all\n", "all")]
        return values
    return [(w + end, w) for w in words for end in ("", "\n")]


def bad_values(node, name):
    """(what is written, errno)"""
    if name in ("zeroing", "policy"):
        return [(v, "EINVAL") for v in NO_WORD if v]
    above = limit(node, name) + 1
    values = [(v, "ERANGE") for v in [above, f"{above}\n", hex(above), *TOO_LARGE]]
    values += [(v, "EINVAL") for v in NO_NUMBER]
    return values + [(v, "EINVAL") for v in ("All", "all ", "allx", "none")] + (
        [("all", "EINVAL")] if name != "scrub_target" else [])


@check
def values():
    """Each tunable takes what the ABI says, and keeps what it has if it does not."""
    for node in nodes():
        total = node["total_blocks"]
        before = {name: node.text(name) for name in TUNABLES}
        for name in TUNABLES:
            for value, read in good_values(node, name):
                same(node.error(name, value), None, f"{name} of node {node.nid} < {value!r}")
                same(node.text(name), read, f"{name} after {value!r}")
                same(node["total_blocks"], total, "total_blocks")
            kept = node.text(name)
            for value, error in bad_values(node, name):
                same(node.error(name, value), error,
                     f"{name} of node {node.nid} < {str(value)[:40]!r}")
                same(node.text(name), kept, f"{name} after {str(value)[:40]!r}")
            # Nothing is nothing.
            same(node.error(name, ""), None, f"{name} < nothing")
            same(node.text(name), kept, f"{name} after nothing")
            node.set(name, before[name])
            same({n: node.text(n) for n in TUNABLES}, before, f"all others than {name}")
        for value in (f"node{node.nid + 1}", f"node{node.nid} ", f"node0{node.nid}", "node",
                      f"{node.nid}", f"NODE{node.nid}", f"node{node.nid}\n\n", "\n", "1",
                      f"node{node.nid}x", "x" * 100000):
            same(node.error("discard", value), "EINVAL", f"discard < {value[:40]!r}")
        consistent(node)


def largest_run(node, taken):
    """(largest_free_run, free_1g), from the bitmap."""
    largest = gibs = first = 0
    for base, size in node.extents():
        length = aligned = 0
        for block in range(size):
            free = first + block not in taken
            length = length + 1 if free else 0
            largest = max(largest, length)
            if not free:
                aligned = 0
            elif (base + block) % GIB == 0:
                aligned = 1
            elif aligned:
                aligned += 1
            if aligned == GIB:
                gibs += 1
                aligned = 0
        first += size
    return largest, gibs


def consistent(node):
    """What the files of a node that nobody changes say of each other, and others of it."""
    total = node["total_blocks"]
    same(node["block_size"], BLOCK, "block_size")
    same(node["size"], total * BLOCK, "size")
    same(sum(size for _, size in node.extents()), total, "blocks in the extents")
    places = re.findall(rf"^ *([0-9a-f]+)-([0-9a-f]+) : guestmemfs node{node.nid}$",
                        text("/proc/iomem"), re.M)
    same([(int(a, 16) // BLOCK, (int(b, 16) + 1 - int(a, 16)) // BLOCK) for a, b in places],
         node.extents(), "extents, and /proc/iomem")

    taken = node.bits("bitmap")
    free, poison = node["free_blocks"], node.bits("bitmap_poison")
    same(total - len(taken), free, "free blocks of the bitmap")
    same(len(poison), node["poisoned_blocks"], "poisoned blocks of the bitmap")
    same(poison - taken, set(), "poisoned blocks that are free")
    same((node["largest_free_run"], node["free_1g"]), largest_run(node, taken),
         "largest_free_run and free_1g")
    same(node["reserved_blocks"], min(node["reserve"], free), "reserved_blocks")
    # The thread may be at work.
    for _ in range(100):
        was, clean = node["dirty_blocks"], node["scrubbed_blocks"]
        dirty = node.bits("bitmap_dirty")
        if was == node["dirty_blocks"]:
            same(was + clean, free, "dirty and scrubbed blocks")
            same(taken & dirty, set(), "blocks that are used and dirty")
            same(len(dirty), was, "dirty blocks of the bitmap")
            break
    used = node["total_inodes"] - node["free_inodes"]
    between(1, used, node["total_inodes"], "inodes")
    same(node.text("check"), "ok", "check")
    same(node.text("error"), "", "error")
    same(node.text("state"), "frozen" if node["frozen"] else "active", "state")
    if not os.path.ismount(node.mnt):
        return

    fs = os.statvfs(node.mnt)
    same((fs.f_bsize, fs.f_blocks, fs.f_bfree, fs.f_bavail),
         (BLOCK, total, free, free - node["reserved_blocks"]), "statfs")
    same((fs.f_files, fs.f_ffree),
         (node["max_inodes"], node["max_inodes"] and node["max_inodes"] - used), "inodes of statfs")
    stats = re.search(rf" mounted on {node.mnt} with fstype guestmemfs (.*)",
                      text("/proc/self/mountstats"))[1]
    stats = dict(pair.split("=") for pair in stats.split() if "=" in pair)
    for name in ("faults_pte", "faults_pmd", "faults_pud", "metadata_bytes", "pinned_blocks"):
        same(node[name], int(stats[name]), f"{name} of mountstats")
    same(used, int(stats["inodes"]), "inodes of mountstats")
    owned = []
    for where, _, names in os.walk(node.mnt):
        for name in names:
            path = os.path.relpath(f"{where}/{name}", node.mnt)
            if stat.S_ISREG(os.lstat(node.file(path)).st_mode):
                owned += node.blocks(path)
    same(len(owned), len(set(owned)), "blocks of one file only")
    same(set(owned) | poison, taken, "blocks of all files, and bitmap")


@check
def consistent_all():
    for node in nodes():
        consistent(node)


IDENTITY = ("generation", "handed_over_from", "uuid", "format", *TUNABLES)


@check
def keep(path):
    """Notes what the next kernel has to know of each node."""
    kept = {node.nid: {name: node.text(name) for name in IDENTITY} for node in nodes()}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(kept, f)


@check
def kept(path):
    """All that was noted in the kernel before is so, but for what a kexec changes."""
    release = os.uname().release
    with open(path, encoding="utf-8") as f:
        before = json.load(f)
    same(sorted(before), sorted(str(n.nid) for n in nodes()), "nodes")
    for node in nodes():
        want = before[str(node.nid)]
        want["generation"] = str(int(want["generation"]) + 1)
        want["handed_over_from"] = release
        same({name: node.text(name) for name in IDENTITY}, want, f"node {node.nid}")
        for name in ("alloc_failures", "faults_pte", "faults_pmd", "faults_pud"):
            same(node[name], 0, f"{name} since boot")


@check
def set_all(seed):
    """Sets everything to something that is not what it was, for a kexec to keep."""
    rng = random.Random(int(seed))
    for node in nodes():
        total = node["total_blocks"]
        for name in ("reserve", "low_watermark"):
            node.set(name, rng.randint(1, total))
        node.set("scrub_rate", rng.choice([1, MAX, rng.randint(1, MAX)]))
        node.set("scrub_target", rng.choice([0, total, rng.randint(0, total), "all"]))
        node.set("zeroing", rng.choice(["background", "on-alloc"]))
        node.set("policy", rng.choice(["first-fit", "best-fit"]))
        node.set("frozen", rng.randint(0, 1))


DEFAULTS = {"scrub_rate": "0", "scrub_target": "all", "zeroing": "background", "reserve": "0",
            "policy": "best-fit", "low_watermark": "0", "frozen": "0"}


@check
def default_all():
    for node in nodes():
        for name, value in DEFAULTS.items():
            node.set(name, value)


@check
def defaults():
    for node in nodes():
        same({name: node.text(name) for name in TUNABLES}, DEFAULTS, f"node {node.nid}")
