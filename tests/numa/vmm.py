# SPDX-License-Identifier: GPL-2.0
"""Virtual machines of QEMU and KVM, with their memory on nodes, that live through a kexec of their host.

Runs inside the test machine, which plays the host: for tests and the demonstration.

usage: vmm.py COMMAND [then COMMAND]...        Python starts slowly there: one process for several

start NODE SIZE KERNEL INITRD    start a virtual machine on a node
save NODE                        stop it, keep its devices' state on the node, end QEMU
stop NODE                        the first part of that
migrate NODE URI                 the second, to elsewhere
resume NODE SIZE KERNEL INITRD   start QEMU again with that state, and let it run
receive NODE SIZE KERNEL INITRD URI [CAPABILITY...]
                                 start QEMU for a machine that is sent to it
send NODE URI [CAPABILITY...]    send it, while it runs; prints rounds and pages
received NODE                    wait until all of it is there
cont NODE                        let it run after stop
ticks NODE COUNT                 wait until its guest has said so many more lines
last NODE                        the last line that it has said
do NODE COMMAND [JSON]           a command of QMP, with its arguments; prints what it returns
until NODE ANSWER COMMAND [JSON] such a command again and again, until it returns that
plug NODE DEVICE MIB             have a virtio-mem device plug so much, and wait for the guest

NODE is also 0+1, for a virtual machine with a virtual node on each, of SIZE, and its state on
the first; and 1.NAME, for another virtual machine on node 1. Each has its console in /tmp/vm<NODE>.console, and a monitor in /tmp/vm<NODE>.qmp.
In the environment, VMM_USER is who runs QEMU, a name, and VMM_ARGS more arguments for it.
VMM_FOLDER is another place for files with memory and states than the nodes. With VMM_MOVE=1,
memory does not stay, but goes with the state. VMM_ALIGN is the alignment of its addresses, 2M
unless told otherwise. VMM_MEMORY is "file" or "memfd"; if memory does
not stay, it is in a memfd unless told otherwise.
"""

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time

BASE = "/run/guestmemfs"
# Seconds; all processors are emulated. The debug kernel, which has lockdep, is slower.
LIMIT = 450 if os.path.exists("/proc/lockdep") else 150
FOLDER = os.environ.get("VMM_FOLDER")
MOVE = os.environ.get("VMM_MOVE") == "1"
ALIGN = os.environ.get("VMM_ALIGN", "2M")
MEMORY = os.environ.get("VMM_MEMORY", "memfd" if MOVE else "file")


def fail(text):
    sys.exit(f"vmm: {text}")


def path(node, what):
    return f"/tmp/vm{node}.{what}"


def read(name):
    try:
        with open(name, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


class Monitor:
    """QEMU's, by QMP."""

    def __init__(self, node):
        self.node = node
        self.sock = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + LIMIT
        while True:
            try:
                self.sock.connect(path(node, "qmp"))
                break
            except OSError:
                if time.monotonic() > end:
                    fail(f"node {node}: QEMU does not answer: {read(path(node, 'log'))}")
                time.sleep(0.1)
        self.file = self.sock.makefile("rw", encoding="utf-8")
        self.file.readline()
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        for line in self.file:
            answer = json.loads(line)
            if "error" in answer:
                fail(f"node {self.node}: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        fail(f"node {self.node}: {command}: QEMU ended: {read(path(self.node, 'log'))}")

    def prepare(self):
        """Memory that is shared stays where it is, for the QEMU after the kexec."""
        if MOVE:
            return
        self.do("migrate-set-capabilities",
                capabilities=[{"capability": "x-ignore-shared", "state": True}])
        self.do("migrate-set-parameters", mode="cpr-reboot")

    def enable(self, names):
        """Capabilities of a migration; and as fast as it can be."""
        self.do("migrate-set-capabilities",
                capabilities=[{"capability": name, "state": True} for name in names])
        # What the guest writes in a round has to fit in the last one.
        self.do("migrate-set-parameters", **{"max-bandwidth": 1 << 40, "downtime-limit": 100000})

    def wait_migrated(self):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            now = self.do("query-migrate")
            if now.get("status") == "completed":
                return
            if now.get("status") in ("failed", "cancelled"):
                fail(f"node {self.node}: migration {now}: {read(path(self.node, 'log'))}")
            time.sleep(0.1)
        fail(f"node {self.node}: the migration does not end")


def numbers(node):
    """Of the nodes that have its memory."""
    return node.split(".")[0].split("+")


def folder(nid):
    return FOLDER or f"{BASE}/node{nid}"


def memory(node, size):
    """Arguments for the memory, whose files stay."""
    nodes = numbers(node)
    total = f"{int(size[:-1]) * len(nodes)}{size[-1]}"
    args = ["-m", total]
    for i, n in enumerate(nodes):
        backend = f"memory-backend-file,align={ALIGN},mem-path={folder(n)}/vm{node}.ram"
        args += ["-object", f"{'memory-backend-memfd' if MEMORY == 'memfd' else backend},id=ram{i},size={size},"
                 "share=on"]
    if len(nodes) == 1:
        return [*args, "-machine", "q35,memory-backend=ram0"]
    for i in range(len(nodes)):
        args += ["-numa", f"node,nodeid={i},memdev=ram{i}" + (",cpus=0" if i == 0 else "")]
    return [*args, "-machine", "q35"]


def state(node):
    return f"{folder(numbers(node)[0])}/vm{node}.state"


def start(node, size, kernel, initrd, *more):
    user = os.environ.get("VMM_USER")
    nodes = numbers(node)
    with_cpus = [n for n in nodes if read(f"/sys/devices/system/node/node{n}/cpulist").strip()]
    command = [
        *(["setpriv", f"--reuid={user}", "--clear-groups"] if user else []),
        # Guests never sleep: the steps of a test come first, and wait for a guest where they have to.
        "nice", "-n", "19", "numactl", f"--membind={','.join(nodes)}",
        *([f"--cpunodebind={','.join(with_cpus)}"] if with_cpus else []),
        "qemu-system-x86_64", "-accel", "kvm", "-cpu", os.environ["VM_GUEST_CPU"], *memory(node, size),
        "-nographic", "-nodefaults", "-no-reboot",
        "-serial", f"file:{path(node, 'console')}",
        "-qmp", f"unix:{path(node, 'qmp')},server=on,wait=off",
        # With one tick after the other, a timer that the processor has lost does not stop the guest.
        "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet nohz=off highres=off",
        *more,
        *shlex.split(os.environ.get("VMM_ARGS", ""))]
    # That of an earlier QEMU is not taken for its own.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path(node, "console"))
    with open(path(node, "log"), "w", encoding="utf-8") as log:
        # It outlives this script.
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=True)
    # Others look for QEMU by its name, which comes after those of nice and numactl.
    while qemu.poll() is None and not read(f"/proc/{qemu.pid}/comm").startswith("qemu-system"):
        time.sleep(0.05)
    return qemu.pid


def stop(node):
    Monitor(node).do("stop")


def cont(node):
    Monitor(node).do("cont")


def migrate(node, uri):
    monitor = Monitor(node)
    monitor.prepare()
    monitor.do("migrate", uri=uri)
    monitor.wait_migrated()
    return monitor


def save(node):
    stop(node)
    store = f"cat > {state(node)}" if FOLDER else f"gmfs-numa store --force {state(node)}"
    migrate(node, f"exec:{store}").do("quit")


def resume(node, size, kernel, initrd):
    start(node, size, kernel, initrd, "-incoming", "defer")
    monitor = Monitor(node)
    monitor.prepare()
    monitor.do("migrate-incoming", uri=f"exec:{'cat' if FOLDER else 'gmfs-numa load'} {state(node)}")
    monitor.wait_migrated()
    monitor.do("cont")


def receive(node, size, kernel, initrd, uri, *capabilities):
    start(node, size, kernel, initrd, "-incoming", "defer")
    monitor = Monitor(node)
    monitor.enable(capabilities)
    monitor.do("migrate-incoming", uri=uri)


def received(node):
    Monitor(node).wait_migrated()


def send(node, uri, *capabilities):
    monitor = Monitor(node)
    monitor.enable(capabilities)
    monitor.do("migrate", uri=uri)
    monitor.wait_migrated()
    ram = monitor.do("query-migrate")["ram"]
    print(f"node {node}: sent in {ram['dirty-sync-count']} rounds, {ram['normal']} pages, "
          f"{ram['duplicate']} of zeroes")
    monitor.do("quit")


def lines(node):
    return re.findall(r"^(guest: .*)\n", read(path(node, "console")).replace("\r", ""), re.MULTILINE)


def ticks(node, count):
    """Prints the new ones."""
    had = len(lines(node))
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        have = lines(node)
        for line in have[had:]:
            if "FAILED" in line:
                fail(f"node {node}: {line}")
        if len(have) >= had + count:
            print("\n".join(f"node {node}: {line}" for line in have[had:had + count]))
            return
        time.sleep(0.1)
    fail(f"node {node}: its guest says nothing: {read(path(node, 'console'))[-2000:]}")


def do(node, command, arguments="{}"):
    print(json.dumps(Monitor(node).do(command, **json.loads(arguments))))


def until(node, answer, command, arguments="{}"):
    """QMP has no event for each of these."""
    monitor, arguments = Monitor(node), json.loads(arguments)
    end = time.monotonic() + LIMIT
    while (now := json.dumps(monitor.do(command, **arguments))) != answer:
        if time.monotonic() > end:
            fail(f"node {node}: {command} {arguments}: '{now}', should become '{answer}'")
        time.sleep(0.1)


def plug(node, device, mib):
    """The guest's driver tries again only after 50 s if it could not free all of the memory, and
    at once if it is asked for another size."""
    monitor, size = Monitor(node), int(mib) << 20
    block = monitor.do("qom-get", path=device, property="block-size")

    def request(value):
        monitor.do("qom-set", path=device, property="requested-size", value=value)

    begin = time.monotonic()
    asked = begin
    request(size)
    while (now := monitor.do("qom-get", path=device, property="size")) != size:
        if time.monotonic() > begin + LIMIT:
            fail(f"node {node}: {device} has {now} bytes plugged, should have {size}")
        if time.monotonic() > asked + 10:
            request(size + (block if now > size else -block))
            request(size)
            asked = time.monotonic()
        time.sleep(0.1)


COMMANDS = {"start": start, "save": save, "stop": stop, "cont": cont, "migrate": migrate, "resume": resume,
            "receive": receive, "received": received, "send": send,
            "ticks": lambda node, count: ticks(node, int(count)),
            "do": do, "until": until, "plug": plug,
            "last": lambda node: print(f"node {node} at the end: {lines(node)[-1]}")}


def commands(words):
    """The words between "then"."""
    command = []
    for word in [*words, "then"]:
        if word != "then":
            command.append(word)
            continue
        if len(command) < 2 or command[0] not in COMMANDS:
            fail(__doc__)
        yield command
        command = []


if __name__ == "__main__":
    for name, *rest in list(commands(sys.argv[1:])):
        COMMANDS[name](*rest)
        sys.stdout.flush()
