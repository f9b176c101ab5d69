# SPDX-License-Identifier: GPL-2.0
"""Documentation/filesystems/guestmemfs-guides.rst: what it has for files to be made of it."""

import json
import os
import re
import shlex
import subprocess
import textwrap
import xml.etree.ElementTree

from conftest import TOP

GUIDES = os.path.join(TOP, "Documentation", "filesystems", "guestmemfs-guides.rst")
DOMAIN = os.path.join(TOP, "tools", "gmfs-numa", "examples", "libvirt-domain.xml")


def blocks():
    """All literal blocks."""
    with open(GUIDES, encoding="utf-8") as f:
        found = re.findall(r"::\n\n((?:\t.*\n|\n)+)", f.read())
    return [textwrap.dedent(b).strip("\n") + "\n" for b in found]


def the_block(start):
    found = [b for b in blocks() if b.startswith(start)]
    assert len(found) == 1, f"{len(found)} blocks begin with {start}"
    return found[0]


def test_example_is_that_of_the_guide():
    with open(DOMAIN, encoding="utf-8") as f:
        first, _, rest = f.read().partition("\n")
    assert "SPDX" in first
    assert rest == the_block("<domain ")


def test_scripts_of_the_guide():
    """Shell and Python understand them, and the unit names them."""
    subprocess.run(["sh", "-n"], input=the_block("#!/bin/sh\n"), text=True, check=True)
    compile(the_block("#!/usr/bin/python3\n"), "vm-state", "exec")
    with open(GUIDES, encoding="utf-8") as f:
        text = f.read()
    programs = re.findall(r"^Exec\w+=(\S+)", the_block("[Unit]\n"), re.MULTILINE)
    assert len(programs) == 3
    for program in programs:
        assert re.search(rf"^{re.escape(program)}\b.*::$", text, re.MULTILINE), program


def options(line):
    """[(option, value)] of a command line of QEMU with its environment in front."""
    words = shlex.split(line)
    return [(o, v) for o, v in zip(words, words[1:]) if o in ("-object", "-machine", "-sandbox", "-m")]


def pairs(value):
    return dict(p.split("=", 1) for p in value.split(",")[1:])


def test_libvirt_makes_of_the_example(vm):
    """QEMU's memory is the file on the node, whatever else libvirt makes."""
    run = vm(rf"""
    # Whom libvirt's packages make, beside those that are there.
    cp /etc/passwd /etc/group /tmp
    echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' >> /tmp/passwd
    echo 'libvirt-qemu:x:64055:' >> /tmp/group
    mount --bind /tmp/passwd /etc/passwd
    mount --bind /tmp/group /etc/group
    chmod 666 /dev/kvm
    mkdir -p /tmp/libvirt/etc
    cat > /tmp/libvirt/etc/qemu.conf <<- 'END'
	security_driver = "none"
	memory_backing_dir = "/run/guestmemfs/node1"
	END
    sed "s/type='memfd'/type='file'/" {DOMAIN} > /tmp/file.xml
    sed 's/<memoryBacking>/<memoryBackings>/; s/<.memoryBacking>/<\/memoryBackings>/' {DOMAIN} > /tmp/wrong.xml
    with_libvirt() {{
        virsh -q -c 'qemu:///embed?root=/tmp/libvirt' "$1" 2> /tmp/err || {{ cat /tmp/err; return 1; }}
    }}
    with_libvirt 'define --validate {DOMAIN}'
    for domain in {DOMAIN} /tmp/file.xml; do
        with_libvirt "domxml-to-native qemu-argv --xml $domain" | grep qemu-system
    done
    has "$(fails with_libvirt 'define --validate /tmp/wrong.xml')" memoryBackings 'a domain that is wrong'
    """, nodes=2, mem="1G", cpus=4, boots=1, options=["--nested", "--timeout=600"])
    example, file = map(options, run.lines("qemu-system-x86_64 -name"))

    domain = xml.etree.ElementTree.parse(DOMAIN).getroot()
    size = domain.find("memory")
    assert size.get("unit") == "GiB"
    ours = [v for o, v in example if o == "-object" and v.startswith("memory-backend-file,")]
    assert len(ours) == 1
    assert pairs(ours[0]) == {
        "id": "guestmemfs", "size": f"{size.text}G", "share": "on", "align": "2M",
        "host-nodes": "1", "policy": "bind", "mem-path": "/run/guestmemfs/node1/vm1.ram"}
    assert ("-m", str(int(size.text) << 10)) in [(o, v.split(",")[0].removeprefix("size=").rstrip("kM"))
                                                for o, v in example]
    # The last counts.
    machines = [v for o, v in example if o == "-machine"]
    assert "memory-backend=pc.ram" in machines[0] and machines[1:] == ["memory-backend=guestmemfs"]

    def of_libvirt(found):
        return [j for j in (json.loads(v) for o, v in found if o == "-object" and v[0] == "{")
                if j["qom-type"].startswith("memory-backend")]

    # Theirs, which nobody uses, is of a kind that reserves nothing.
    theirs, = of_libvirt(example)
    assert (theirs["qom-type"], theirs["id"], theirs["share"]) == ("memory-backend-memfd", "pc.ram", True)
    assert theirs["host-nodes"] == [1]
    assert any(o == "-sandbox" and "spawn=deny" in v for o, v in example)
    # And a file that libvirt makes has a path of its own, and no alignment.
    theirs, = of_libvirt(file)
    assert theirs["qom-type"] == "memory-backend-file" and "align" not in theirs
    assert re.fullmatch(r"/run/guestmemfs/node1/.*vm1/pc\.ram", theirs["mem-path"])
