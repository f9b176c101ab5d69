# SPDX-License-Identifier: GPL-2.0
"""Documentation/filesystems/guestmemfs/: files, commands and log lines that it has."""

import glob
import json
import os
import re
import shlex
import subprocess
import textwrap
import time
import xml.etree.ElementTree

import pytest
from conftest import TOP
from offline import on
from sysroot import GIB, Node
from tool import COMMANDS, MANUAL_PAGES, call, manual_page, plain

PAGES = sorted(glob.glob(os.path.join(TOP, "Documentation", "filesystems", "guestmemfs", "*.rst")))
README = os.path.join(TOP, "README.md")
DOMAIN = os.path.join(TOP, "tools", "gmfs-numa", "examples", "libvirt-domain.xml")


def text_of_pages():
    assert len(PAGES) > 10
    text = ""
    for page in PAGES:
        with open(page, encoding="utf-8") as f:
            text += f.read() + "\n"
    return text


def blocks():
    """All literal blocks."""
    found = re.findall(r"::\n\n((?:\t.*\n|\n)+)", text_of_pages())
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
    text = text_of_pages()
    programs = re.findall(r"^Exec\w+=(\S+)", the_block("[Unit]\n"), re.MULTILINE)
    assert len(programs) == 3
    for program in programs:
        assert re.search(rf"^{re.escape(program)}\b.*::$", text, re.MULTILINE), program


def formats():
    """Regular expressions for all that the code writes to the log."""
    for source in glob.glob(os.path.join(TOP, "fs", "guestmemfs", "**", "*.c"), recursive=True):
        with open(source, encoding="utf-8") as f:
            text = f.read()
        prefix = re.search(r'^#define pr_fmt\(fmt\) (?:"(\w+: )"|KBUILD_MODNAME ": ") fmt$', text, re.MULTILINE)
        for call_of in re.findall(r'\bpr_\w+\(("(?:[^"\\]|\\.)*")', text):
            assert prefix, f"{source} has no pr_fmt()"
            parts = re.split(r"%[#\d.*]*(?:ll|z)?(?:\*?pbl|p[ea]|[a-z])", json.loads(call_of).rstrip("\n"))
            yield re.compile(re.escape(prefix.group(1) or "guestmemfs: ") + ".*".join(map(re.escape, parts)))


def test_log_lines_are_those_of_the_code():
    known = list(formats())
    assert len(known) > 40
    lines = re.findall(r"^\t+(guestmem(?:fs|_pool): .*)$", text_of_pages(), re.MULTILINE)
    assert len(lines) > 3
    for line in lines:
        assert any(k.fullmatch(line) for k in known), line


# What an administrator can read: functions whose first text is a message.
MESSAGES = {
    "fs/guestmemfs/**/*.c": r"\b(?:pr_(?:err|warn|notice|info)\w*|errorfc|invalfc|warnfc)\(",
    "tools/gmfs-numa/*.c": r"\b(?:fatal|warning|argp_error|handover_result)\(",
}


def messages():
    """{(path from the top, text)} of all messages of the kernel and of the tool."""
    found = set()
    for pattern, functions in MESSAGES.items():
        for source in glob.glob(os.path.join(TOP, pattern), recursive=True):
            with open(source, encoding="utf-8") as f:
                text = f.read()
            for call_of in re.finditer(functions + r"((?:[^;\"]|\"(?:[^\"\\]|\\.)*\")*?)\);", text):
                texts = re.findall(r'"((?:[^"\\]|\\.)*)"', re.sub(r'"\s*(?:PRI\w+|SYSFS)?\s*"', "", call_of.group(1)))
                # Of handover_result() the first is the name of the check.
                found |= {(os.path.relpath(source, TOP), t) for t in texts if " " in t}
    return found


def test_messages_as_a_set():
    """pytest -s prints all of them, to be read in one go. Each is a line without an end."""
    found = messages()
    for source, text in sorted(found):
        print(f"{source}: {text}")
    assert len([s for s, _ in found if s.startswith("fs/")]) > 80
    assert len([s for s, _ in found if s.startswith("tools/")]) > 150
    for source, text in found:
        plain_text = text.removesuffix("\\n")
        assert "\\n" not in plain_text or source.startswith("tools/"), (source, text)
        assert not re.search(r"[.!]$|^(?:[Ee]rror|[Ww]arning|[Ff]ailed)\b|\b[Pp]lease\b|\w'(?:t|re|ll)\b|  ",
                             plain_text), (source, text)
        # A sentence begins with a small letter, but for what is written so.
        assert re.match(r"(?:[^A-Z]|KHO|LUO|OSTree|GRUB|QEMU|CPUs|[A-Z][A-Z]|%)", plain_text), (source, text)


def test_comments_that_are_included_are_there():
    """Sphinx only warns of a file that has moved, or of a DOC: that has another title."""
    found = re.findall(r"^\.\. kernel-doc:: (\S+)\n   :(doc|internal):(.*)$", text_of_pages(), re.MULTILINE)
    assert len(found) > 8
    for path, kind, title in found:
        with open(os.path.join(TOP, path), encoding="utf-8") as f:
            text = f.read()
        assert re.search(rf"^ \* DOC: {re.escape(title.strip())}$" if kind == "doc" else r"^/\*\*$",
                         text, re.MULTILINE), (path, title)


def commands():
    """Each command line of gmfs-numa in README, in the guides and in the man pages."""
    with open(README, encoding="utf-8") as f:
        readme = f.read()
    literals = re.findall(r"(?<!`)`(gmfs-numa\s[^`]+)`", readme) + re.findall(r"``(gmfs-numa\s[^`]+)``", text_of_pages())
    manual = "\n".join(plain(manual_page(p)) for p in MANUAL_PAGES)
    text = re.sub(r"\\\n\s*", "", readme + text_of_pages() + manual)
    lines = re.findall(r"^(?:    |\t+)(?:# )?(gmfs-numa .*)$", text, re.MULTILINE)
    within = re.findall(r'"exec:(gmfs-numa\s[^"]*)"', text)
    # What runs behind -- has options of its own.
    return [re.sub(r"\s+", " ", re.split(r"#| -- ", c)[0]).strip() for c in literals + lines + within]


def test_commands_are_those_of_the_tool():
    """Each exists, and has the options that it is given."""
    found = commands()
    assert len(found) > 40
    helps = {name: call([name, "--help"]).out for name in COMMANDS}
    for command in found:
        words = shlex.split(command)[1:]
        assert words[0] in helps, command
        for word in words[1:]:
            if re.match(r"--?[a-z]", word):
                assert re.search(rf"(?<![\w-]){re.escape(word.split('=')[0])}\b", helps[words[0]]), command


class Monitor:
    """QEMU with the arguments of README, small and without a guest, and its monitor on standard input."""

    def __init__(self, folder, *more):
        self.folder = folder
        command = re.search(r"^(f=.*)\n(?:.*\\\n)*? *numactl .*? (qemu-system-x86_64 (?:.*\\\n)*.*)\.\.\.",
                            readme_shell(), re.MULTILINE)
        assert command, readme_shell()
        text = "\n".join(command.groups())
        for there, here in (("/run/guestmemfs/node1", str(folder)), ("64G", "64M"), ("align=1G", "align=2M"),
                            ("-accel kvm", "-accel tcg")):
            assert there in text, (there, text)
            text = text.replace(there, here)
        text = re.sub(r"^qemu-", "exec qemu-", text, flags=re.MULTILINE)
        self.qemu = subprocess.Popen(["sh", "-c", f"{text} -nodefaults -display none -S {' '.join(more)}"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.answer()

    def answer(self):
        """What the monitor says before its next prompt."""
        said = ""
        while not said.endswith("(qemu) "):
            c = self.qemu.stdout.read(1)
            assert c, f"QEMU ended: {said}"
            said += c
        return said.removesuffix("(qemu) ").partition("\n")[2]

    def do(self, line):
        # Off a node, a state goes to a file of any kind.
        line = line.replace("/run/guestmemfs/node1", str(self.folder))
        line = line.replace("gmfs-numa store ", "cat > ").replace("gmfs-numa load ", "cat ")
        self.qemu.stdin.write(line + "\n")
        self.qemu.stdin.flush()
        return self.answer() if line != "quit" else self.qemu.wait(60)

    def completed(self):
        for _ in range(600):
            said = self.do("info migrate")
            if re.search(r"^(Migration s|S)tatus: +completed$", said.replace("\r", ""), re.MULTILINE):
                return
            assert "failed" not in said, said
            time.sleep(0.1)
        raise AssertionError("the migration does not end")


def readme_section():
    with open(README, encoding="utf-8") as f:
        return f.read().partition("## Use it on a host")[2].partition("\n## ")[0]


def readme_shell():
    return textwrap.dedent(re.search(r"\n\n((?:    .*\n)+)", readme_section()).group(1))


def lines_of_monitor():
    """([lines that save], [lines that continue]) of the quick start, to which README refers."""
    with open(README, encoding="utf-8") as f:
        assert "/quick-start.rst#save-and-continue)" in f.read()
    with open(os.path.join(os.path.dirname(PAGES[0]), "quick-start.rst"), encoding="utf-8") as f:
        text = f.read()
    assert "\nSave and continue\n====" in text
    lines = re.findall(r"^\t\(qemu\) (.*)$", text, re.MULTILINE)
    end = lines.index("quit") + 1
    return lines[:end], lines[end:]


@pytest.fixture
def start(tmp_path):
    """start(...) is a Monitor, whose QEMU ends with the test."""
    started = []

    def new(*more):
        started.append(Monitor(tmp_path, *more))
        return started[-1]
    yield new
    for monitor in started:
        monitor.qemu.kill()
        monitor.qemu.wait()


def test_commands_of_the_monitor(tmp_path, start):
    """QEMU takes them in that order, and the machine goes on."""
    save, go_on = lines_of_monitor()
    assert len(save) == 6
    assert save[-1] == "quit" and go_on[-1] == "cont"
    first = start()
    for line in save:
        if line == "info migrate":
            first.completed()
            continue
        said = first.do(line)
        assert not said, (line, said)
    state = re.search(r"store (\S+?)\"", " ".join(save)).group(1)
    assert os.path.getsize(state.replace("/run/guestmemfs/node1", str(tmp_path))) > 10000
    second = start("-incoming", "defer")
    assert "inmigrate" in second.do("info status")
    for line in go_on:
        if line == "cont":
            second.completed()
        said = second.do(line)
        assert not said, (line, said)
    assert "running" in second.do("info status")
    assert second.do("quit") == 0


def test_time_of_an_update(tmp_path):
    """Both lines run in a shell, and the second prints the seconds between them."""
    before, after = re.findall(r"^\t# (date \+%s.*|awk .*)$", text_of_pages(), re.MULTILINE)
    lines = [line.replace("/var/tmp", str(tmp_path)) for line in (before, "sleep 1.2", after)]
    done = subprocess.run(["sh", "-euc", "\n".join(lines)], check=True, stdout=subprocess.PIPE, text=True)
    assert 1.2 <= float(done.stdout) < 60


def test_example_of_sizes(make):
    """What README and the guide say of a host of 512 GiB is what plan computes."""
    nodes = [Node(n, pool=0, cpus=f"{n * 64}-{n * 64 + 63}", memory=256 * GIB) for n in range(2)]
    tree = make(nodes)
    for more, pools, kept in (([], None, 4.1), (["--keep", "16G"], 480, 32)):
        rows = on(tree, "plan", "--reserve", "100%", "--json", *more).json()["plan"]
        largest = sum(r["largest"] for r in rows)
        assert round((512 * GIB - largest) / GIB, 1) == kept
        assert pools in (None, sum(r["pool"] for r in rows) // GIB)
    with open(README, encoding="utf-8") as f:
        readme = re.sub(r"\s+", " ", f.read())
    assert "512 GiB (2 nodes, 128 CPUs) has to keep 4.1 GiB; with `--keep 16G` for each node, 480 GiB" in readme
    guide = re.sub(r"\s+", " ", text_of_pages())
    assert "at least 2.5 GiB and 1.6 GiB" in guide
    assert [round(256 - r["largest"] / GIB, 1) for r in
            on(tree, "plan", "--reserve", "100%", "--json").json()["plan"]] == [2.5, 1.6]
    done = on(tree, "plan", "--vm", "28x16G", "--keep", "16G")
    assert done.out.endswith("kho=on guestmemfs=0:229504M,1:229504M\n")
    assert "``guestmemfs=0:229504M,1:229504M``" in guide


def test_targets_of_make():
    """Each that README, CONTRIBUTING and the guides name is there."""
    text = text_of_pages()
    for name in ("README.md", "CONTRIBUTING.md"):
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            text += f.read()
    found = set(re.findall(r"(?:`|\"|^ {4}|^\t\$ )make ([a-z][a-z0-9-]*)\b", text, re.MULTILINE))
    # Those of the kernel's own Makefile.
    found -= {"olddefconfig", "htmldocs"}
    assert {"run", "test", "upgrade", "deb", "tool"} <= found, found
    with open(os.path.join(TOP, "Makefile"), encoding="utf-8") as f:
        makefile = f.read()
    for target in found:
        assert re.search(rf"^(?:[\w-]+ )*{re.escape(target)}(?: [\w-]+)*:", makefile, re.MULTILINE), target


def test_files_that_are_named_are_there():
    """Scripts, tests and options of the kernel that README and the guides tell a reader to use."""
    with open(README, encoding="utf-8") as f:
        text = f.read() + text_of_pages()
    found = set(re.findall(r"(?<![\w/.-])((?:scripts|tests|tools|bench|configs)/[\w./-]*\w)", text))
    found |= {f"tests/numa/{name}" for name in re.findall(r"(?<![\w/])(test_\w+\.py)", text)}
    found |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    assert len(found) > 20
    # Those of the kernel's tree, which the quick start enters before.
    for name in found - {"scripts/config", "scripts/kconfig/merge_config.sh"}:
        assert os.path.exists(os.path.join(TOP, name)), name


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
