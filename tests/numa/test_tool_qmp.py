# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa carve --qmp: what a QEMU says of its guest's memory, by a fake monitor and by QEMU itself.

test_sidecar.py has it with a guest that gives memory up.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time

import pytest
from qmp import monitor
from sysroot import GIB
from tool import FAILED, USAGE

pytestmark = pytest.mark.offline
quick = pytest.mark.quick

M = 1 << 20
SIZE = 64 * M


class Machine:
    """A monitor of QEMU with these backends {name: (path, offset, size)} and devices."""

    def __init__(self, path, backends, devices=(), main="", **replies):
        self.replies, self.asked, self.talk = replies, [], None
        self.backends, self.devices, self.main = backends, devices, main
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def answer(self, command, arguments):
        if command in self.replies:
            return self.replies[command]
        if command == "query-memory-devices":
            return {"return": list(self.devices)}
        if command == "qom-list":
            return {"return": [{"name": "type", "type": "string"}, {"name": "r", "type": "child<memory-backend-ram>"},
                               *({"name": name, "type": "child<memory-backend-file>"} for name in self.backends)]}
        if command == "qmp_capabilities":
            return {"return": {}}
        assert command == "qom-get", command
        wanted = arguments["property"]
        if arguments["path"] == "/machine":
            return {"return": self.main}
        backend = self.backends[arguments["path"].removeprefix("/objects/")]
        found = dict(zip(("mem-path", "offset", "size"), backend))[wanted]
        return {"error": {"class": "GenericError", "desc": "no such property"}} if found is None else {"return": found}

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                talk, _ = self.sock.accept()
                with talk, talk.makefile("rw", encoding="utf-8") as stream:
                    self.serve(stream)

    def serve(self, stream):
        stream.write(self.replies.get("greeting", '{"QMP": {"version": {}, "capabilities": []}}\r\n'))
        stream.flush()
        for line in stream:
            question = json.loads(line)
            self.asked.append(question["execute"])
            answer = self.answer(question["execute"], question.get("arguments"))
            if not isinstance(answer, str):
                # Events can come at any time.
                event = {"timestamp": {"seconds": 1}, "event": "RTC_CHANGE", "data": {"return": 1}}
                answer = f"{json.dumps(event)}\r\n{json.dumps(answer)}\r\n"
            stream.write(answer)
            stream.flush()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join()


def device(kind, memdev, name="d", **data):
    data = {"memdev": f"/objects/{memdev}", **data}
    return {"type": kind, "data": {**data, "id": name} if name else data}


def virtio_mem(memdev, size, requested, name="v"):
    return device("virtio-mem", memdev, name, size=size, **{"requested-size": requested, "max-size": 16 * M})


@pytest.fixture
def carve(node_dir, tmp_path):
    """carve(backends, options..., machine's arguments): the offset that is chosen, or Done."""
    where, tool, _ = node_dir
    path = tmp_path / "monitor"
    with open(where / "parent", "wb") as f:
        f.truncate(SIZE)

    def run(*args, sock=path, status=0):
        done = tool("carve", "--dry-run", "--json", "--size", "2M", *args, "--qmp", str(sock), str(where / "parent"),
                    str(where / "child"), status=status, env={
                        "SHIM_PIECES": f"0:{5 * GIB:x}:{SIZE:x}",
                        # As if QEMU had it through a stacked file system: only its monitor says so.
                        "SHIM_LEASE": "0"})
        assert sorted(os.listdir(where)) == ["parent"]
        return done if status != 0 else done.json()["moved"][0]["offset"]

    def start(backends, *args, status=0, **kwargs):
        path.unlink(missing_ok=True)
        start.machine = Machine(path, backends, **kwargs)
        try:
            return run(*args, status=status)
        finally:
            start.machine.close()
    start.run, start.where, start.parent, start.path = run, where, str(where / "parent"), path
    return start


LAST = SIZE - 2 * M


@quick
@pytest.mark.parametrize("devices, main, why", [
    ([device("dimm", "b", "dimm0")], "", 'plugged into the guest by dimm "dimm0"'),
    ([device("nvdimm", "b", None)], "", 'plugged into the guest by nvdimm "/objects/b"'),
    ([device("virtio-pmem", "b")], "", 'plugged into the guest by virtio-pmem "d"'),
    ([virtio_mem("b", 8 * M, 8 * M)], "", 'virtio-mem "v" has 8M plugged into the guest, and requests 8M'),
    # The guest is to give it up, and has not yet; the guest is to get some, and can at any time.
    ([virtio_mem("b", 4 * M, 0)], "", 'virtio-mem "v" has 4M plugged into the guest, and requests 0B'),
    ([virtio_mem("b", 0, 4 * M)], "", 'virtio-mem "v" has 0B plugged into the guest, and requests 4M'),
    ([virtio_mem("b", 0, 0)], "", None),
    ([virtio_mem("other", 8 * M, 8 * M)], "/objects/b", 'memory of the machine, by backend "b"'),
    ([], "/objects/r", 'memory backend "b": object-del removes it, unless a device has it'),
    ([device("sgx-epc", "r")], "", 'memory backend "b": object-del removes it, unless a device has it'),
    ([{"type": "hv-balloon", "data": {"id": "x"}}, device("dimm", "b")], "",
     'plugged into the guest by dimm "d"'),
])
def test_what_the_guest_has(carve, devices, main, why):
    """A range of a backend is not taken as long as the guest has it, and its name is said."""
    backends = {"b": (carve.parent, 48 * M, 16 * M)}
    offset = carve(backends, devices=devices, main=main)
    assert offset == (46 * M if why else LAST)
    assert set(carve.machine.asked) <= {"qmp_capabilities", "query-memory-devices", "qom-list", "qom-get"}
    if not why:
        return
    for at in 48 * M, LAST:
        err = carve(backends, "--offset", str(at), devices=devices, main=main, status=FAILED).err
        assert f"parent: 48M to 64M: {why}\n" in err.replace(carve.parent, "parent"), err
        assert f"its block at {at // M}M is in use: the virtual machine has to give it up first" in err


@quick
def test_which_file(carve, tmp_path, monkeypatch):
    """Backends are compared by the file itself, wherever the path leads to from QEMU's place."""
    dimm = [device("dimm", "b")]
    carve.where.joinpath("parent").chmod(0o600)
    os.link(carve.parent, tmp_path / "name")
    os.symlink(carve.parent, tmp_path / "link")
    for path in carve.parent, f"{tmp_path}/name", f"{tmp_path}/link", f"{carve.where}/../node1/parent":
        assert carve({"b": (path, 48 * M, 16 * M)}, devices=dimm) == 46 * M, path
    # As QEMU before 8.1 has it.
    assert carve({"b": (carve.parent, None, 16 * M)}, "--size", "48M", devices=dimm) == 16 * M
    other = tmp_path / "other"
    other.write_bytes(b"x")
    assert carve({"b": (str(other), 0, SIZE)}, devices=dimm) == LAST
    # Memory of huge pages has a directory.
    assert carve({"b": (str(tmp_path), 0, SIZE)}, devices=dimm) == LAST
    assert carve({}) == LAST
    # Two backends, of which one is of the file.
    assert carve({"a": (str(other), 0, SIZE), "b": (carve.parent, 60 * M, 4 * M)}, devices=dimm) == 58 * M
    # The monitor listens in this process: its current directory is what counts.
    monkeypatch.chdir(carve.where)
    assert carve({"b": ("parent", 48 * M, 16 * M)}, devices=dimm) == 46 * M
    err = carve({"b": (f"{tmp_path}/gone", 0, SIZE)}, devices=dimm, status=FAILED).err
    assert "whether a guest has the memory is unknown" in err and "gone" in err and "No such file" in err
    # Names are what others made them.
    err = carve({"b": (carve.parent, 0, SIZE)}, devices=[device("dimm", "b", "\x1b[2Jé\U0001f600\n\"")],
                status=FAILED).err
    assert 'by dimm "\\x1b[2Jé\U0001f600\\x0a""' in err and "\x1b" not in err, err


@quick
@pytest.mark.parametrize("replies, words", [
    ({"greeting": "SSH-2.0-OpenSSH_9\r\n"}, "no monitor of QEMU"),
    ({"greeting": "{}\n"}, "no monitor of QEMU"),
    ({"greeting": "[" * 100000 + "\n"}, "no monitor of QEMU"),
    ({"greeting": "{\"QMP\": {}}\0\n"}, "no monitor of QEMU"),
    ({"greeting": "x" * (5 << 20)}, "the answer is too long"),
    ({"qmp_capabilities": {"error": {"class": "CommandNotFound", "desc": "not\x07so"}}},
     "qmp_capabilities: not\\x07so"),
    ({"query-memory-devices": {"error": {}}}, "query-memory-devices: refused"),
    ({"query-memory-devices": {"return": {}}}, "no monitor of QEMU"),
    ({"query-memory-devices": {"return": [{"data": {"memdev": "/objects/b"}}]}}, "no monitor of QEMU"),
    ({"query-memory-devices": {"return": [device("virtio-mem", "b", size=0)]}}, "the state of a virtio-mem is unknown"),
    ({"query-memory-devices": {"return": [virtio_mem("b", -1, 0)]}}, "the state of a virtio-mem is unknown"),
    ({"query-memory-devices": {"return": [virtio_mem("b", 1.5, 0)]}}, "the state of a virtio-mem is unknown"),
    ({"qom-list": {"return": None}}, "no monitor of QEMU"),
    ({"qom-list": {"return": [{"name": "b"}]}}, "no monitor of QEMU"),
    ({"qom-get": {"error": {"desc": "no"}}}, "qom-get: no"),
    ({"qom-get": {"return": True}}, "no monitor of QEMU"),
])
def test_bad_answers(carve, replies, words):
    err = carve({"b": (carve.parent, 0, SIZE)}, status=FAILED, **{"devices": [device("dimm", "b")], **replies}).err
    assert words in err and "whether a guest has the memory is unknown" in err, err


@quick
@pytest.mark.parametrize("offset, size", [(-1, SIZE), (0, -1), (0, "x"), ("x", SIZE), (1 << 64, SIZE),
                                          ((1 << 64) - 2, SIZE), (1.5, SIZE)])
def test_bad_ranges(carve, offset, size):
    assert "no monitor of QEMU" in carve({"b": (carve.parent, offset, size)}, status=FAILED).err


@quick
def test_no_monitor(carve, tmp_path):
    for sock, words in ((tmp_path / "none", "No such file"), (carve.parent, "Connection refused"),
                        ("", "1 to 107 bytes"), ("x" * 108, "1 to 107 bytes")):
        assert words in carve.run(sock=sock, status=FAILED).err
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(carve.path))
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        assert "the connection was closed" in carve.run(status=FAILED).err
    assert "unrecognized option" in carve.run("--qmp-socket", "x", status=USAGE).err


def test_silence(carve):
    """Another program has the monitor; or what listens sends a byte from time to time."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(carve.path))
        listener.listen()
        ended = threading.Event()

        def trickle():
            talk, _ = listener.accept()
            with contextlib.suppress(OSError), talk:
                # Not for ever, so that a tool that waits fails the test.
                for _ in range(150):
                    talk.send(b" ")
                    if ended.wait(0.2):
                        return
        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        start = time.monotonic()
        assert "one program at a time" in carve.run(status=FAILED).err
        assert 9 < time.monotonic() - start < 25
        ended.set()
        thread.join()


# As QEMU writes it, and all else that JSON has. json-c takes some texts that are no JSON, such as
# half of a surrogate pair.
ANSWER = (r'{"return": [{"type": "dimm", "data": {"memdev": "\/objects\/b", "id": "d\u00e9\ud83d\ude00\n", '
          r'"n": [1, -2.5e+3, 0, true, false, null, {}, [ ], ""], "slot": 0}}], "id": 1}')


@quick
def test_json(carve):
    """What is no JSON is refused, what is JSON is read, and what is neither does not get far."""
    parent = {"b": (carve.parent, 48 * M, 16 * M)}

    def offset(text, status=0):
        return carve(parent, status=status, **{"query-memory-devices": f"{text}\r\n"})
    assert offset(ANSWER) == 46 * M
    for old, new in (('"slot": 0', '"slot": 01'), ("-2.5e+3", "--2"), ("-2.5e+3", "2e"), ("true", "tru"),
                     ("[ ]", "[ ,]"), ("[ ]", "[1,]"), ("{}", '{"a"}'), ("{}", '{"a":}'), ("{}", "{a: 1}"),
                     ("{}", "/* */"), (r"\n", r"\x"), (r"\n", r"\u12"), ('"id": 1}', '"id": 1'),
                     ('"id": 1}', '"id": 1}}'), ('"id": 1}', '"id": 1}\0'), ('"id": 1}', '"id": "1}'),
                     ('"id": 1}', '"id": "\\'), ("{}", "[" * 33 + "]" * 33)):
        assert ANSWER.count(old) == 1, old
        assert "no monitor of QEMU" in offset(ANSWER.replace(old, new), FAILED).err, (old, new)
    rng = random.Random(1)
    for _ in range(60):
        text = list(ANSWER)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text))
            text[at:at + rng.randrange(3)] = rng.choice(['"', "\\", "{", "}", "[", "]", ",", "0", "\\u", "e", ""])
        # A machine that answers nothing more is closed when the tool ends.
        carve(parent, status=None, **{"query-memory-devices": "".join(text) + "\n{\"return\": []}\n"})


QEMU = shutil.which("qemu-system-x86_64")


@pytest.mark.skipif(not QEMU, reason="needs QEMU")
def test_qemu(carve):
    """QEMU itself, with a machine that does not run."""
    def backend(name, offset, more=""):
        return ["-object", f"memory-backend-file,id={name},mem-path=parent,offset={offset}M,size=16M,share=on,align=2M{more}"]
    process = subprocess.Popen(
        [QEMU, "-S", "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "16M,slots=2,maxmem=1G",
         "-machine", "pc,memory-backend=main", *backend("main", 0), *backend("unused", 16),
         *backend("dimm0-memory", 32), "-device", "pc-dimm,id=dimm0,memdev=dimm0-memory",
         "-object", "memory-backend-ram,id=other,size=16M", *backend("elastic", 48, ",reserve=off"),
         "-device", "virtio-mem-pci,id=vm0,memdev=elastic,requested-size=0",
         "-qmp", f"unix:{carve.path},server=on,wait=off"], cwd=carve.where)
    try:
        for _ in range(600):
            if carve.path.exists():
                break
            time.sleep(0.1)

        def why(offset):
            return carve.run("--offset", f"{offset}M", status=FAILED).err
        assert carve.run() == LAST
        assert '0B to 16M: memory of the machine, by backend "main"' in why(0)
        assert '16M to 32M: memory backend "unused": object-del removes it' in why(16)
        assert '32M to 48M: plugged into the guest by dimm "dimm0"' in why(32)
        monitor(str(carve.path), [("object-del", {"id": "unused"}),
                                  ("qom-set", {"path": "/machine/peripheral/vm0", "property": "requested-size",
                                               "value": 8 * M})])
        assert '48M to 64M: virtio-mem "vm0" has 0B plugged into the guest, and requests 8M' in why(48)
        assert carve.run() == 30 * M
    finally:
        process.kill()
        process.wait()
