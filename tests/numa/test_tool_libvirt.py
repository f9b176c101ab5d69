# SPDX-License-Identifier: GPL-2.0
"""gmfs-libvirt: definitions of domains, the hook of libvirt, and saves that fail.

With a libvirt that is played; with the real one, see Documentation/filesystems/guestmemfs/libvirt.rst.
"""

import importlib.machinery
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import types
import xml.etree.ElementTree as ET

import pytest
from conftest import TOP
from tool import FAILED, OK, USAGE

pytestmark = [pytest.mark.quick, pytest.mark.offline]

FOLDER = os.path.join(TOP, "tools", "gmfs-libvirt")
PROGRAM = os.path.join(FOLDER, "gmfs-libvirt")
DOMAIN = """<domain type='kvm' xmlns:x='urn:x'>
  <name>vm1</name>
  <metadata><x:id a='1'>kept</x:id></metadata>
  <memory unit='MiB'>512</memory>
  <memoryBacking><hugepages><page size='2' unit='M'/></hugepages><nosharepages/></memoryBacking>
  <vcpu placement='static'>2</vcpu>
  <numatune><memory mode='preferred' nodeset='0'/></numatune>
  <devices>
    <disk type='file'><driver name='qemu' cache='writeback'/><target dev='vda'/></disk>
    <memballoon model='virtio'/>
  </devices>
</domain>"""


@pytest.fixture
def gmfs(monkeypatch, tmp_path):
    """The program as a module, with a machine of its own: node 1 is mounted."""
    loader = importlib.machinery.SourceFileLoader("gmfs_libvirt", PROGRAM)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gmfs_libvirt", loader))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    for name, text in (("sys/fs/guestmemfs/node1/state", "ready"),
                       ("sys/devices/system/node/node1/cpulist", "2-3\n"),
                       ("proc/self/mountinfo", f"40 27 0:40 / {tmp_path}/base/node1 rw - guestmemfs none rw,node=1\n")):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "base" / "node1").mkdir(parents=True)
    module.SYSROOT = str(tmp_path / "root")
    module.base = str(tmp_path / "base")
    return module


def assigned(gmfs, text=DOMAIN, align="2M"):
    root = gmfs.parse(text)
    gmfs.assign(root, 1, gmfs.base, align)
    return root


def canonical(root):
    return ET.canonicalize(ET.tostring(root, encoding="unicode"), strip_text=True)


def elements(root):
    """All elements, in no order: libvirt has its own."""
    return sorted(canonical(e) for e in root) + sorted(canonical(e) for e in root.find("devices"))


def test_assign_and_back(gmfs):
    before = gmfs.parse(DOMAIN)
    root = assigned(gmfs)
    memory = gmfs.Memory(root)
    assert (memory.node, memory.file) == (1, f"{gmfs.base}/node1/vm1.ram")
    assert gmfs.arguments(root) == [
        "-object", "memory-backend-file,id=guestmemfs,size=512M,share=on,align=2M,host-nodes=1,"
                   f"policy=bind,mem-path={gmfs.base}/node1/vm1.ram", "-machine", "memory-backend=guestmemfs"]
    assert root.find("memoryBacking/hugepages") is None
    assert root.find("memoryBacking/source").get("type") == "memfd"
    assert root.find("devices/memballoon").get("model") == "none" and len(root.findall("devices/memballoon")) == 1
    assert root.find("numatune/memory").get("nodeset") == "1" and root.find("vcpu").get("cpuset") == "2-3"
    # Prefixes are what libvirt and others look for in the text.
    text = gmfs.text_of(root)
    assert "<x:id" in text and "<qemu:commandline>" in text and "<guestmemfs:memory " in text
    # Once more is no more.
    again = gmfs.parse(text)
    gmfs.assign(again, 1, gmfs.base, "2M")
    assert elements(again) == elements(root)
    gmfs.release(again)
    assert elements(again) == elements(before)
    with pytest.raises(gmfs.Failure, match="no memory on guestmemfs"):
        gmfs.release(again)


def test_assign_leaves_the_rest(gmfs):
    """Arguments and processors that are said already."""
    text = DOMAIN.replace("<vcpu placement='static'>", "<vcpu cpuset='7'>").replace(
        "</domain>", "<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><arg value='-object'/>"
        "<arg value='rng-random,id=r'/></commandline></domain>")
    root = assigned(gmfs, text)
    assert root.find("vcpu").get("cpuset") == "7"
    assert gmfs.arguments(root)[:3] == ["-object", "rng-random,id=r", "-object"]
    gmfs.release(root)
    assert gmfs.arguments(root) == ["-object", "rng-random,id=r"] and root.find("vcpu").get("cpuset") == "7"


@pytest.mark.parametrize("old, new, said", [
    ("type='kvm'", "type='lxc'", "only kvm and qemu"),
    ("</numatune>", "</numatune><cpu><numa><cell id='0'/></numa></cpu>", "<numa> cells"),
    ("</numatune>", "</numatune><maxMemory>1</maxMemory>", "<maxMemory>"),
    ("cache='writeback'", "cache='none'", "disk vda: cache='none' is O_DIRECT"),
    ("'MiB'>512", "'MiB'>513", "allowed are 512 or 514 MiB"),
    ("'MiB'>512", "'MiB'>1", "allowed are 2 MiB"),
    ("<name>vm1", "<name>vm 1", "only letters"),
])
def test_assign_refuses(gmfs, old, new, said):
    root = gmfs.parse(DOMAIN.replace(old, new, 1))
    with pytest.raises(gmfs.Failure, match=re.escape(said)):
        gmfs.assign(root, 1, gmfs.base, "2M")


def hook(gmfs, monkeypatch, root, *what):
    monkeypatch.setattr(sys, "argv", ["gmfs-libvirt", "hook", "vm1", *what, "-"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(gmfs.text_of(root)))
    return gmfs.main()


def test_hook(gmfs, monkeypatch, capsys):
    root = assigned(gmfs)
    memory = gmfs.Memory(root)

    def there(*paths):
        for path in paths:
            with open(path, "w", encoding="utf-8") as f:
                f.write("x")

    # Memory of an earlier start, without its state.
    there(memory.file)
    assert hook(gmfs, monkeypatch, root, "start", "begin") == OK and os.path.exists(memory.file)
    assert hook(gmfs, monkeypatch, root, "prepare", "begin") == OK and not os.path.exists(memory.file)
    there(memory.file)
    assert hook(gmfs, monkeypatch, root, "release", "end") == OK and not os.path.exists(memory.file)
    # With it.
    there(memory.file, memory.state)
    assert hook(gmfs, monkeypatch, root, "release", "end") == OK and os.path.exists(memory.file)
    assert hook(gmfs, monkeypatch, root, "prepare", "begin") == FAILED
    assert "gmfs-libvirt restore vm1" in capsys.readouterr().err and os.path.exists(memory.file)
    gmfs.set_arguments(root, [*gmfs.arguments(root), "-incoming", "defer"])
    assert hook(gmfs, monkeypatch, root, "prepare", "begin") == OK and os.path.exists(memory.file)
    # A node that is not mounted is a directory of tmpfs.
    with open(gmfs.SYSROOT + "/proc/self/mountinfo", "w", encoding="utf-8"):
        pass
    assert hook(gmfs, monkeypatch, root, "prepare", "begin") == FAILED
    assert "is not mounted" in capsys.readouterr().err
    # Of others it knows nothing.
    assert hook(gmfs, monkeypatch, gmfs.parse(DOMAIN), "prepare", "begin") == OK


def test_hook_of_the_package(tmp_path):
    """It calls the program for what it is about, and for nothing else."""
    called = tmp_path / "called"
    program = tmp_path / "gmfs-libvirt"
    with open(os.path.join(FOLDER, "hook"), encoding="utf-8") as f:
        text = f.read().replace("/usr/sbin/gmfs-libvirt", str(program))
    for there, steps in (False, [("prepare", "begin")]), (True, [("start", "begin"), ("release", "end")]):
        if there:
            program.write_text(f'#!/bin/sh\necho "$@" >> {called}\nexit 3\n')
            program.chmod(0o755)
        status = [subprocess.run(["sh", "-c", text, "hook", "vm1", *s, "-"], check=False).returncode for s in steps]
        assert status == ([0, 3] if there else [0])
    assert called.read_text() == "hook vm1 release end -\n"


class Error(Exception):
    """libvirt's."""


class Domain:
    """As libvirt and its QEMU behave. `fails` is a command of QMP."""

    def __init__(self, xml, fails=None):
        self.xml, self.fails, self.calls, self.fd, self.status = xml, fails, [], None, "completed"

    def XMLDesc(self, _flags=0):
        return self.xml

    def state(self):
        return [1]

    def name(self):
        return "vm1"

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


@pytest.fixture
def played(gmfs, monkeypatch, tmp_path):
    """libvirt and QEMU; gmfs-state is a file."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (tmp_path / "bin").mkdir()
    state = tmp_path / "bin" / "gmfs-state"
    state.write_text('#!/bin/sh\nfor last; do :; done\ncase $1 in\nstore) cat > "$last.new" && mv "$last.new" "$last" ;;\n'
                     'load) cat "$last" ;;\nesac\n')
    state.chmod(0o755)
    gmfs.libvirt = types.SimpleNamespace(VIR_DOMAIN_XML_SECURE=1, VIR_DOMAIN_XML_MIGRATABLE=8, VIR_DOMAIN_PAUSED=3,
                                         VIR_DOMAIN_START_PAUSED=1, libvirtError=Error)

    def qmp(dom, command, files=None, **args):
        dom.calls.append(command)
        if command == dom.fails:
            raise gmfs.Failure(f"QEMU: {command}: no")
        if command == "getfd":
            dom.fd = os.dup(files[0])
        elif command == "migrate":
            os.write(dom.fd, b"state")
            os.close(dom.fd)
        elif command == "migrate-incoming":
            with os.fdopen(dom.fd, "rb") as f:
                dom.got = f.read()
        elif command == "query-migrate":
            return {"status": dom.status}
        return None
    monkeypatch.setattr(gmfs, "qmp", qmp)
    return gmfs


def test_save_and_restore(played):
    root = assigned(played)
    memory = played.Memory(root)
    dom = Domain(played.text_of(root))
    played.save(dom)
    assert dom.calls[0] == "suspend" and dom.calls[-1] == "destroy" and "resume" not in dom.calls
    with open(memory.state, encoding="utf-8") as f:
        assert f.read() == "state"
    (found, saved), = played.saved_domains()
    assert found.file == memory.file and saved["running"]
    new = Domain("")
    conn = types.SimpleNamespace(createXML=lambda xml, flags: setattr(new, "xml", xml) or new)
    played.restore(conn, found, saved)
    assert new.got == b"state" and new.calls[-1] == "resume"
    assert played.arguments(played.parse(new.xml))[-2:] == ["-incoming", "defer"]
    # What is saved next has no argument of this start.
    assert played.arguments(played.without_incoming(played.parse(new.xml))) == played.arguments(root)
    assert not os.listdir(os.path.dirname(memory.file))


@pytest.mark.parametrize("fails", ["migrate-set-parameters", "getfd", "migrate", "query-migrate"])
def test_failed_save_goes_on(played, fails):
    root = assigned(played)
    dom = Domain(played.text_of(root), fails)
    with pytest.raises(played.Failure):
        played.save(dom)
    assert dom.calls[-1] == "resume" and "destroy" not in dom.calls
    assert "migrate_cancel" in dom.calls
    assert not os.path.exists(played.Memory(root).state)
    assert list(played.saved_domains()) == []


def test_failed_restore_keeps_state(played):
    root = assigned(played)
    memory = played.Memory(root)
    played.save(Domain(played.text_of(root)))
    (found, saved), = played.saved_domains()
    new = Domain("", "migrate-incoming")
    with pytest.raises(played.Failure):
        played.restore(types.SimpleNamespace(createXML=lambda *_: new), found, saved)
    assert new.calls[-1] == "destroy" and "resume" not in new.calls
    assert os.path.exists(memory.state) and len(list(played.saved_domains())) == 1


@pytest.mark.parametrize("text, said", [("exit 2", "failed"), ("exit 0", "had no state")])
def test_pipe_without_state(played, monkeypatch, tmp_path, text, said):
    """QEMU waits in "setup" for the first byte, also when there is none to come."""
    root = assigned(played)
    played.save(Domain(played.text_of(root)))
    (found, saved), = played.saved_domains()
    (tmp_path / "bin" / "gmfs-state").write_text(f"#!/bin/sh\n{text}\n")
    monkeypatch.setattr(played, "EMPTY_STATE", 0.1)
    new = Domain("")
    new.status = "setup"
    with pytest.raises(played.Failure, match=said):
        played.restore(types.SimpleNamespace(createXML=lambda *_: new), found, saved)
    assert new.calls[-1] == "destroy" and os.path.exists(found.state)


def test_hostdev_is_refused(played):
    root = assigned(played)
    ET.SubElement(root.find("devices"), "hostdev")
    dom = Domain(played.text_of(root))
    with pytest.raises(played.Failure, match="hostdev"):
        played.save(dom)
    assert dom.calls == []


@pytest.mark.parametrize("found, status, calls", [
    # What runs is no reason; what is wrong with the kernel is, before anything is stopped.
    ([{"check": "users", "result": "fail", "detail": "vm1"}], 0, ["save", "kexec"]),
    ([{"check": "kernel", "result": "fail", "detail": "no"}], 1, []),
])
def test_handover(gmfs, monkeypatch, tmp_path, found, status, calls):
    done = []
    tool = tmp_path / "gmfs-numa"
    tool.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\ncase $* in *--json*) echo '{json.dumps({'handover': found})}';"
                    " exit 1 ;; esac\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(gmfs, "cmd_save", lambda args: done.append("save") or 0)
    monkeypatch.setattr(sys, "argv", ["gmfs-libvirt", "handover", "--exec", "K", "--initrd", "I", "--config=C"])
    assert gmfs.main() == status
    lines = (tmp_path / "calls").read_text().splitlines()
    assert lines[0] == "handover --json --kernel K --config C"
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--dry-run"])
    assert gmfs.main() == status and done == calls[:1]
    assert done + (["kexec"] if lines[1:] == ["handover --exec K --initrd I --config C"] else []) == calls


def test_handover_that_stays(gmfs, monkeypatch, tmp_path):
    """No kexec, so what was saved goes on."""
    done = []
    tool = tmp_path / "gmfs-numa"
    tool.write_text("#!/bin/sh\ncase $* in *--json*) echo '{\"handover\": []}' ;; *) exit 2 ;; esac\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(gmfs, "cmd_save", lambda args: done.append("save") or 0)
    monkeypatch.setattr(gmfs, "cmd_restore", lambda args: done.append("restore") or 0)
    monkeypatch.setattr(sys, "argv", ["gmfs-libvirt", "handover", "--exec=K"])
    assert gmfs.main() == FAILED and done == ["save", "restore"]
    monkeypatch.setattr(gmfs, "cmd_save", lambda args: FAILED)
    assert gmfs.main() == FAILED and done == ["save", "restore", "restore"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["assign", "vm1"], ["assign", "vm1", "-N", "1", "-a", "4M"],
                                       ["handover", "--force"]])
def test_usage(arguments):
    done = subprocess.run([PROGRAM, *arguments], check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == USAGE and done.stderr


def test_without_libvirt(gmfs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "libvirt", None)
    monkeypatch.setattr(sys, "argv", ["gmfs-libvirt", "list"])
    assert gmfs.main() == FAILED and "apt install python3-libvirt" in capsys.readouterr().err
