# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa run, on directories that the shim makes nodes of."""

import errno
import os
import re
import signal
import subprocess
import time

import pytest
from offline import on, on_node, shim_options, shimmed
from sysroot import BLOCK, GIB, MACHINES, Node
from tool import FAILED, USAGE, build

pytestmark = [pytest.mark.quick, pytest.mark.offline]


def test_run_usage(make, tmp_path):
    tree = make(MACHINES["2"]())
    for args in (["--", "true"], ["--size", "x", "--", "true"], ["--size", "0", "--", "true"],
                 ["--size", "2M"], ["--size", "3M", "--node", "1", "--", "true"],
                 ["--size", "2M", "--node", "x", "--", "true"],
                 ["--size", "2M", "--node", "0-1", "--", "true"],
                 ["--size", "2M", "--node", "1", "--near", "0", "--", "true"],
                 ["--size", "2M", "--name", "a/b", "--", "true"],
                 ["--size", "2M", "--name", "..", "--", "true"],
                 ["--size", "2M", "--name", "", "--", "true"],
                 ["--size", "2M", "--near", "nonsense", "--", "true"],
                 ["--size", "2M", "--near", "../x", "--", "true"],
                 ["--size", "2M", "--near", "", "--", "true"]):
        on(tree, "run", *args, status=USAGE)
    assert "no node has 1T free" in on(tree, "run", "--size", "1T", "--", "true", status=FAILED).err
    # It is not mounted here.
    done = on(tree, "run", "--size", "2M", "--node", "1", "--base", str(tmp_path), "--", "true",
              status=FAILED)
    assert "gmfs-numa mount 1" in done.err


def device(tree, path, node=None, classes=()):
    """A device in sysfs, with links to it from the classes it is in."""
    os.makedirs(tree.path(f"sys/devices/{path}"), exist_ok=True)
    if node is not None:
        tree.put(f"sys/devices/{path}/numa_node", f"{node}\n")
    for name in classes:
        where = tree.path(f"sys/{name}")
        os.makedirs(os.path.dirname(where), exist_ok=True)
        os.symlink(os.path.relpath(tree.path(f"sys/devices/{path}"), os.path.dirname(where)), where)


def below(tree, path, link, target):
    where = tree.path(f"sys/devices/{path}/{link}")
    os.makedirs(os.path.dirname(where), exist_ok=True)
    os.symlink(os.path.relpath(tree.path(f"sys/devices/{target}"), os.path.dirname(where)), where)


def with_devices(tree):
    nic, disk = "pci0000:40/0000:40:01.0/0000:41:00.0", "pci0000:00/0000:00:05.0"
    net = "virtual/net"
    device(tree, "pci0000:40", 1)
    device(tree, nic, 1, ["bus/pci/devices/0000:41:00.0"])
    device(tree, f"{nic}/net/enp65s0", None, ["class/net/enp65s0"])
    device(tree, disk, 0, ["bus/pci/devices/0000:00:05.0"])
    device(tree, f"{disk}/net/other", None, ["class/net/other"])
    device(tree, f"{disk}/nvme/nvme0", -1, ["class/nvme/nvme0"])
    device(tree, f"{disk}/nvme/nvme0/nvme0n1", None, ["class/block/nvme0n1"])
    device(tree, f"{disk}/nvme/nvme0/nvme0n1/nvme0n1p1", None, ["class/block/nvme0n1p1"])
    # Virtio: the device says nothing, what it is plugged into does.
    device(tree, "pci0000:40/0000:40:02.0", -1)
    device(tree, "pci0000:40/0000:40:02.0/virtio3/net/eth0", None, ["class/net/eth0"])
    # Of no node in particular, to the top.
    device(tree, "pci0000:80", None)
    device(tree, "pci0000:80/0000:80:00.0", -1, ["bus/pci/devices/0000:80:00.0"])
    device(tree, f"{net}/lo", None, ["class/net/lo"])
    device(tree, f"{net}/enp65s0.100", None, ["class/net/enp65s0.100"])
    below(tree, f"{net}/enp65s0.100", "lower_enp65s0", f"{nic}/net/enp65s0")
    device(tree, f"{net}/bond0", None, ["class/net/bond0"])
    below(tree, f"{net}/bond0", "lower_enp65s0", f"{nic}/net/enp65s0")
    device(tree, f"{net}/bond0.7", None, ["class/net/bond0.7"])
    below(tree, f"{net}/bond0.7", "lower_bond0", f"{net}/bond0")
    device(tree, f"{net}/tap0", None, ["class/net/tap0"])
    device(tree, f"{net}/vmbr0", None, ["class/net/vmbr0"])
    below(tree, f"{net}/vmbr0", "brif/tap0", f"{net}/tap0")
    below(tree, f"{net}/vmbr0", "brif/bond0.7", f"{net}/bond0.7")
    device(tree, f"{net}/both", None, ["class/net/both"])
    below(tree, f"{net}/both", "lower_enp65s0", f"{nic}/net/enp65s0")
    below(tree, f"{net}/both", "lower_other", f"{disk}/net/other")
    device(tree, f"{net}/ring", None, ["class/net/ring"])
    below(tree, f"{net}/ring", "lower_ring", f"{net}/ring")
    device(tree, "virtual/block/dm-0", None, ["class/block/dm-0"])
    below(tree, "virtual/block/dm-0", "slaves/nvme0n1p1", f"{disk}/nvme/nvme0/nvme0n1/nvme0n1p1")
    tree.put("sys/devices/virtual/block/dm-0/dm/name", "vg0-guests\n")
    device(tree, "virtual/block/dm-1", None, ["class/block/dm-1"])
    below(tree, "virtual/block/dm-1", "slaves/dm-0", "virtual/block/dm-0")
    tree.put("sys/devices/virtual/block/dm-1/dm/name", "enp65s0@7\n")
    # What sysfs calls so comes first.
    device(tree, "virtual/block/dm-2", None, ["class/block/dm-2"])
    tree.put("sys/devices/virtual/block/dm-2/dm/name", "enp65s0\n")


@pytest.mark.parametrize("near,node", [
    ("0000:41:00.0", 1), ("41:00.0", 1), ("enp65s0", 1), ("enp65s0.100", 1), ("bond0", 1),
    ("bond0.7", 1), ("vmbr0", 1), ("eth0", 1), ("nvme0", 0), ("nvme0n1", 0), ("nvme0n1p1", 0),
    ("/dev/nvme0n1", 0), ("/dev/nvme0n1p1", 0), ("dm-0", 0), ("vg0-guests", 0),
    ("/dev/mapper/vg0-guests", 0), ("enp65s0@7", 0), ("enp65s0@if2", 1), ("enp65s0.100@enp65s0", 1),
    ("vg0", "neither"), ("vg0-guests-1", "neither"), ("@if2", "neither"), ("none@if2", "neither"), ("0-1", 0), ("2", 1), ("3,0", 1),
    ("80:00.0", "is not known"), ("lo", "is not known"), ("tap0", "is not known"),
    ("ring", "is not known"), ("both", "name one of them"),
    ("99", "no such CPU"), ("0,", "neither"), ("-", "neither"), (",", "neither"), ("", "neither"),
    ("0-", "neither"), ("../net/bond0", "neither"), ("/dev/../net/bond0", "neither"),
    ("/sys/class/net/bond0", "neither"), ("41:00.1", "neither"), ("/etc/passwd", "neither"),
])
def test_run_near(make, tmp_path, near, node):
    """What lspci, ip and lsblk print; and not a word from a library."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    with_devices(tree)
    done = on(tree, "run", "--size", "2M", f"--near={near}", "--base", str(tmp_path), "--", "true",
              status=USAGE if node in ("neither", "no such CPU") else FAILED)
    lines = done.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("gmfs-numa: ")
    assert (f"gmfs-numa mount {node}" if isinstance(node, int) else node) in done.err


def test_run_auto(make, tmp_path):
    """Nodes with CPUs come first, then what has most room; of those that can be used."""
    def chosen(*nodes, near=()):
        done = on(make(nodes), "run", "--size", "2M", *near, "--base", str(tmp_path), "--", "true",
                  status=FAILED)
        return int(re.search("gmfs-numa mount ([0-9]+)", done.err).group(1))
    small, large = Node(0, cpus="0-1", pool=4 * GIB), Node(1, pool=8 * GIB)
    assert chosen(small, large) == 0
    assert chosen(small, Node(1, cpus="2", pool=8 * GIB)) == 1
    assert chosen(Node(0, cpus="0", pool=GIB, used=((0, 512),)), large) == 1
    assert chosen(Node(0, cpus="0", state="frozen"), large) == 1
    assert chosen(small, Node(1, cpus="2", pool=8 * GIB), near=("--near", "0")) == 0
    # Less than a gibibyte is room as well.
    assert chosen(Node(0, cpus="0", pool=GIB, used=((0, 400),)),
                  Node(1, cpus="1", pool=GIB, used=((0, 200),))) == 1
    # Read one after the other, they need not fit: no room of 2^64.
    tree = make([Node(0, cpus="0", files={"free_blocks": "0\n", "reserved_blocks": "5\n"})])
    drop = ["setpriv", "--bounding-set", "-sys_resource"] if os.geteuid() == 0 else []
    done = on(tree, "run", "--size", "2M", "--", "true", status=FAILED,
              prefix=[*drop, build(sanitize=True)])
    assert "no node has 2M free" in done.err


@pytest.fixture
def nodes_here(make, tmp_path):
    """(tree, environment for the shim, directory of node 1), which is like a node."""
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    base = tmp_path / "base"
    (base / "node1").mkdir(parents=True)
    os.chmod(tmp_path, 0o755)
    return tree, on_node(tree, base / "node1", 1), base / "node1"


def run_on(shim, here, *args, **kwargs):
    tree, env, node = here
    return shimmed(shim, tree, "run", "--node", "1", "--size", "2M", "--base", str(node.parent),
                   *args, env={**env, **kwargs.pop("env", {})}, **kwargs)


def test_run_handle(nodes_here, shim):
    """The command gets the file itself, whatever becomes of its name."""
    node = nodes_here[2]
    done = run_on(shim, nodes_here, "--name", "vm", "--", "sh", "-c",
                  f"echo {{}}; readlink {{}}; stat -Lc %s.%a {{}}; cd {node}; ls; mv vm x; ln -s /dev/full vm; "
                  "printf RAM 1<> {}; head -c 3 x")
    handle, path, size, name, data = done.out.splitlines()
    # /proc has its name, and not that it is deleted.
    assert path == str(node / "vm")
    assert re.fullmatch("/proc/self/fd/[0-9]+", handle)
    assert (size, name, data) == (f"{BLOCK}.600", "vm", "RAM")
    # What has its name now is not its file.
    assert "is not the command's file any more" in done.err
    assert sorted(os.listdir(node)) == ["vm", "x"]


@pytest.mark.parametrize("streams", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_run_without_streams(nodes_here, shim, tmp_path, streams):
    """The memory is none of the standard streams, which the command writes to."""
    out = tmp_path / "out"

    def close():
        for stream in streams:
            os.close(stream)

    run_on(shim, nodes_here, "--", "sh", "-c", f"echo {{}} > {out}", preexec_fn=close)
    assert int(out.read_text().rpartition("/")[2]) > 2


def test_run_replaces_once(nodes_here, shim):
    done = run_on(shim, nodes_here, "--name", "a{size}{}", "--", "printf", "%s\n", "{}", "{size}",
                  "{}{size}{", "{{}}", "{si}", "$")
    handle = done.out.splitlines()[0]
    assert done.out.splitlines() == [handle, str(BLOCK), f"{handle}{BLOCK}{{", f"{{{handle}}}",
                                     "{si}", "$"]
    assert "/a{size}{}, 2M" in done.err and not os.listdir(nodes_here[2])
    done = run_on(shim, nodes_here, "--name", "v,m{size}", "--qemu", "--", "echo", "-m", "2M")
    assert done.out == (f"-m 2M -object memory-backend-file,id=guestmemfs,mem-path={handle},"
                        f"size={BLOCK},share=on,align=2M -machine memory-backend=guestmemfs\n")


def test_run_is_bound_or_not_started(nodes_here, shim, tmp_path):
    started = tmp_path / "started"
    done = run_on(shim, nodes_here, "--", "touch", str(started), env={"SHIM_LOG": "1"})
    assert "policy 2, nodes 0x2 of 1025" in done.err and "2 CPUs, first 0xc" in done.err
    started.unlink()
    for what, said in (("SHIM_POLICY", "cannot take memory of node 1"),
                       ("SHIM_AFFINITY", "cannot run on the CPUs of node 1")):
        for err in errno.EPERM, errno.EINVAL:
            done = run_on(shim, nodes_here, "--", "touch", str(started), env={what: str(err)},
                          status=FAILED)
            assert f"{said}: {os.strerror(err)}" in done.err
    assert not started.exists() and not os.listdir(nodes_here[2])


def test_run_state(make, shim, tmp_path):
    """A frozen node would wait, and could not be interrupted."""
    for state in "frozen", "read-only", "failed":
        tree = make([Node(1, cpus="0", state=state)])
        done = on(tree, "run", "--node", "1", "--size", "2M", "--", "true", status=FAILED)
        assert f"node 1 is {state}" in done.err


def test_run_in_the_background(nodes_here, shim):
    """What goes on after the command keeps its memory's name."""
    node = nodes_here[2]
    for opens in ("exec sleep 100 < {}", "exec sleep 100"):
        # The second has it by the descriptor alone that it was given.
        done = run_on(shim, nodes_here, "--name", "vm", "--", "sh", "-c",
                      f"({opens}) > /dev/null 2>&1 & echo $!")
        assert os.listdir(node) == ["vm"]
        assert "vm stays: it is still in use" in done.err
        os.kill(int(done.out), signal.SIGKILL)
        os.unlink(node / "vm")


def test_run_not_started(nodes_here, shim):
    """No command, no file, also with --keep."""
    for command, status in (("/none", 127), ("/etc/passwd", 126)):
        for keep in ["--keep"], []:
            tree, env, node = nodes_here
            done = subprocess.run(
                [build(), "run", "--node", "1", "--size", "2M", "--base", str(node.parent), *keep,
                 "--", command], check=False,
                env={**os.environ, **shim_options(shim, tree), **env}, stderr=subprocess.PIPE)
            assert done.returncode == status and not os.listdir(node)
    run_on(shim, nodes_here, "--keep", "--name", "kept", "--owner", "uuid", "--", "true")
    kept = nodes_here[2] / "kept"
    assert os.getxattr(kept, "user.guestmemfs.owner") == b"uuid"
    assert os.getxattr(kept, "user.guestmemfs.vmm") == b"true"
    # Taken, which is said before there is any work.
    done = run_on(shim, nodes_here, "--name", "kept", "--", "true", status=FAILED)
    assert "kept: File exists" in done.err and kept.stat().st_size == BLOCK
    on(nodes_here[0], "run", "--size", "2M", "--owner", "x" * 201, "--", "true", status=USAGE)


def test_run_without_a_process(nodes_here, shim):
    """Where no more processes are allowed: no command, no file, also with --keep."""
    for err in errno.EAGAIN, errno.ENOMEM:
        for keep in ["--keep"], []:
            done = run_on(shim, nodes_here, "--name", "vm", *keep, "--", "true",
                          env={"SHIM_FORK": str(err)}, status=FAILED)
            assert f"cannot start the command: {os.strerror(err)}" in done.err
            assert "in use" not in done.err and not os.listdir(nodes_here[2])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_run_user(nodes_here, shim):
    """The command has no privileges, and its file; all of its groups are others."""
    node = nodes_here[2]
    node.chmod(0o700)
    look = ["--", "sh", "-c", "id -u; id -g; id -G; stat -Lc %u:%g {}; : 1<> {} && grep CapEff /proc/self/status"]
    done = run_on(shim, nodes_here, "--user", "65534", "--group", "1234", *look)
    assert done.out.splitlines()[0:2] == ["65534", "1234"]
    assert done.out.splitlines()[3:] == ["65534:1234", "CapEff:\t0000000000000000"]
    assert "0" not in done.out.splitlines()[2].split()
    done = run_on(shim, nodes_here, "--user", "nobody", *look)
    assert done.out.splitlines()[0] == "65534"
    done = run_on(shim, nodes_here, "--user", "4242", "--group", "4243", *look)
    assert done.out.splitlines()[:4] == ["4242", "4243", "4243", "4242:4243"]
    for wrong in (["--user", "no such"], ["--user", "4242"], ["--group", "no such"],
                  ["--user", "-1"], ["--user", "4294967295"], ["--user", ""]):
        run_on(shim, nodes_here, *wrong, *look, status=USAGE)
    assert not os.listdir(node)


def take_interrupts():
    """A shell that was started to ignore them, as a job in the background is, cannot trap them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(shim, here, script, before=None, says="runs", **kwargs):
    """run in the background with that script, when that has said that it runs."""
    tree, env, node = here
    kwargs.setdefault("preexec_fn", take_interrupts)
    process = subprocess.Popen(
        [*(before or []), build(), "run", "--node", "1", "--size", "2M", "--base",
         str(node.parent), "--", "sh", "-c", script],
        env={**os.environ, **shim_options(shim, tree), **env}, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, **kwargs)
    assert process.stdout.readline() == f"{says}\n"
    return process


def test_run_signals(nodes_here, shim):
    """To the command; but not what it has got already, or is to be ignored."""
    count = ("n=0; trap 'n=$((n+1)); echo interrupted' INT; trap 'echo $n; exit' TERM; echo runs; "
             "while :; do sleep 0.02; done")
    one = started(shim, nodes_here, count)
    one.send_signal(signal.SIGINT)
    assert one.stdout.readline() == "interrupted\n"
    # A second one would be there by now.
    time.sleep(0.2)
    one.send_signal(signal.SIGTERM)
    assert one.communicate()[0] == "1\n" and one.returncode == 0
    # By a terminal, which tells all of the group.
    leader, follower = os.openpty()
    one = started(shim, nodes_here, count, stdin=follower, before=["setsid", "--ctty", "--wait"])
    os.write(leader, b"\x03")
    assert one.stdout.readline() == "interrupted\n"
    time.sleep(0.2)
    child = subprocess.run(["pgrep", "-P", str(one.pid)], check=False, stdout=subprocess.PIPE).stdout
    os.kill(int(child.split()[0]) if child else one.pid, signal.SIGTERM)
    assert one.communicate()[0] == "1\n"
    os.close(leader)
    os.close(follower)
    # nohup(1), and a job of a script.
    one = started(shim, nodes_here, "echo runs; grep SigIgn /proc/self/status; read x; echo goes on",
                  stdin=subprocess.PIPE,
                  preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert int(one.stdout.readline().split()[1], 16) & 1
    one.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert one.communicate("\n")[0] == "goes on\n" and one.returncode == 0
    assert not os.listdir(nodes_here[2])


def test_run_while_it_allocates(nodes_here, shim):
    """Zeroing a terabyte takes long: whatever ends it, nothing is left."""
    for sig in signal.SIGINT, signal.SIGTERM, signal.SIGKILL:
        one = started(shim, (nodes_here[0], {**nodes_here[1], "SHIM_SLOW": "1"}, nodes_here[2]), "exit",
                      says="allocates")
        one.send_signal(sig)
        one.communicate()
        assert one.returncode == -sig and not os.listdir(nodes_here[2])
