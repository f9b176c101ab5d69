# SPDX-License-Identifier: GPL-2.0
"""Each command that README, the guides and the man pages tell a reader to enter.

It is run here, as it is written but for sizes and paths; or by another test, which takes it from
the text as well; or not at all, for a reason that NOT_RUN has. A new command that is in none of
the three fails test_each_command_has_its_test().
"""

import collections
import os
import re
import shlex
import subprocess
import textwrap

import pytest
from conftest import KERNEL, TOP
from offline import on_node, shim_options, with_grub
from sysroot import GIB, Node
from test_guides import PAGES, README, lines_of_monitor, the_block
from tool import MANUAL_PAGES, SANITIZED, build, manual_page, plain

REQUIRED = os.path.join(TOP, "configs", "required.config")

# Literal blocks without a prompt that are no commands, by their first line. Log lines and the
# example of libvirt have tests in test_guides.py.
NO_COMMANDS = (
    r"#!/bin/sh$", r"#!/usr/bin/python3$", r"\[Unit\]$", r"<", r"guestmem(?:fs|_pool): ", r"device none mounted on",
    r"OPTIONS=", r"owner /run/", r"trace_event=", r"mount -t guestmemfs \[",
    # Options of QEMU that are added to others: test_sidecar.py has them.
    r"-object memory-backend-file,id=more,mem-path=",
)

# What is entered in QEMU's monitor. The quick start has all lines, which test_guides.py enters.
MONITOR = r"(?:migrate_|migrate -d |stop$|cont$|quit$|info migrate$)"

# Which test takes the command from the text, and runs it.
BY_TEST = (
    (r"perf ", "test_perf.py"),
    (r"(?:date \+%s|awk -v now=)", "test_guides.py: test_time_of_an_update()"),
    (MONITOR, "test_guides.py: test_commands_of_the_monitor()"),
    (r"gmfs-numa plan ", "test_plan()"),
    (r"\S*scripts/config-check ", "test_config_check()"),
    (r"gmfs-libvirt ", "test_libvirt_options()"),
    (r"runuser -u vm1 -- /usr/local/sbin/vm-state ", "test_scripts_of_systemd()"),
    (r"(?:gmfs-numa|gmfs-state|mount|mkdir|fallocate|cat|cp|rm|ls|grep|dmesg|chown|chmod)\b(?!.*/etc/|.*/save/)",
     "test_machine()"),
    (r"echo .*/sys/fs/cgroup/", "test_machine()"),
    (r"(?:f|pid)=", "test_machine()"),
    (r"for task in /proc", "test_machine()"),
    (r"qom-set ", "test_machine()"),
    (r"(?:setpriv .*|numactl .*)?qemu-system-x86_64 (?!\.\.\. -blockdev)", "test_machine()"),
)
NOT_RUN = (
    (r"make (?:run|upgrade|test)\b", "it takes half an hour to hours; test_guides.py looks for the target"),
    (r"make kernel-deb ", "it takes an hour; test_kernel_deb.py has its checks of configurations"),
    (r"KDIR=\$HOME/linux-7.3 |cd ~/linux-7.3|scripts/kconfig/merge_config.sh |scripts/config ",
     "it needs a kernel tree of its own; each kernel of the tests is from scripts/kernel-tree"),
    (r"dpkg -i |apt install ", "it changes the host; test_tool_package.py looks into the packages"),
    (r"systemctl restart libvirtd|echo 'OPTIONS=.* >> /etc/default/guestmemfs", "a host with systemd and libvirtd"),
    (r"virsh ", "a host with libvirtd; by hand, see limits.rst"),
    (r"vi |rm /var/lib/libvirt/", "by hand, see limits.rst"),
    (r"numactl .* cloud-hypervisor ", "there is no package; test_vmm.py makes its system calls"),
    (r"qemu-storage-daemon |qemu-system-x86_64 \.\.\. -blockdev", "it needs a block device; test_vmm.py: test_disks()"),
)

Command = collections.namedtuple("Command", "document text")


def literal_blocks(text):
    """Blocks after "::" of a page, at any depth."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if not line.endswith("::") or line.lstrip().startswith(".. ") or lines[at + 1:at + 2] != [""]:
            continue
        end = at + 2
        indent = re.match(r"\s*", lines[end]).group()
        while end < len(lines) and (not lines[end] or lines[end].startswith(indent)):
            end += 1
        assert indent, line
        yield textwrap.dedent("\n".join(lines[at + 2:end])).strip("\n")


def entered(block):
    """Commands of a block: what follows a prompt or, if there is none, all of it."""
    if any(re.match(p, block.partition("\n")[0]) for p in NO_COMMANDS):
        return []
    text = re.sub(r"\\\n\s*", "", block)
    found = re.findall(r"^(?:[#$]|\(qemu\)) (.*)$", text, re.MULTILINE)
    if not found:
        # A loop is one command.
        found = re.findall(r"^for .*?^done|^\S[^\n]*", text, re.MULTILINE | re.DOTALL)
    # A comment at the end of a line is none of it.
    return [re.sub(r"\s+#\s.*", "", c).rstrip() for c in found if c.strip()]


def commands():
    """All of them."""
    found = []
    with open(README, encoding="utf-8") as f:
        blocks = re.findall(r"(?<=\n\n)((?:    .*\n|\n)+)", f.read())
    found += [Command("README.md", c) for b in blocks for c in entered(textwrap.dedent(b).strip("\n"))]
    for page in PAGES:
        with open(page, encoding="utf-8") as f:
            found += [Command(os.path.basename(page), c) for b in literal_blocks(f.read()) for c in entered(b)]
    for page in MANUAL_PAGES:
        roff = manual_page(page)
        for example in re.findall(r"^\.EX\n.*?^\.EE$", roff, re.MULTILINE | re.DOTALL):
            found += [Command(page, c) for c in entered(textwrap.dedent(plain(example)).strip("\n"))]
    return list(dict.fromkeys(found))


def commands_of(test):
    return [c for c in commands() if next((t for p, t in BY_TEST if re.match(p, c.text)), None) == test
            and not any(re.match(p, c.text) for p, _ in NOT_RUN)]


@pytest.mark.quick
@pytest.mark.offline
def test_each_command_has_its_test():
    """pytest -s prints which."""
    found = commands()
    assert len(found) > 100
    assert len({c.document for c in found}) > 30
    used = set()
    for c in found:
        why = [(p, reason) for p, reason in NOT_RUN if re.match(p, c.text)]
        test = [(p, t) for p, t in BY_TEST if re.match(p, c.text)]
        assert why or test, f"{c.document}: no test runs '{c.text}', and NOT_RUN has no reason"
        used |= {p for p, _ in (why or test)[:1]}
        print(f"{c.document}\t{c.text}\t" + (f"not run: {why[0][1]}" if why else test[0][1]))
    assert used == {p for p, _ in BY_TEST + NOT_RUN}, "a line of the tables has no command"


@pytest.mark.quick
@pytest.mark.offline
def test_lines_of_the_monitor_are_those_of_the_quick_start():
    known = {line for lines in lines_of_monitor() for line in lines}
    for c in commands_of("test_guides.py: test_commands_of_the_monitor()"):
        assert c.text in known, c


@pytest.mark.quick
@pytest.mark.offline
def test_plan(make, tmp_path):
    """On a host of two nodes, with 512 GiB and GRUB; --apply writes."""
    build(sanitize=True)
    found = commands_of("test_plan()")
    assert len(found) > 5
    for c in found:
        tree = with_grub(make([Node(n, pool=0, cpus=str(n), memory=256 * GIB) for n in range(2)]))
        wrapper = tmp_path / "gmfs-numa"
        wrapper.write_text(f'#!/bin/sh\nexec {SANITIZED}/gmfs-numa --sysroot {tree.root} "$@"\n')
        wrapper.chmod(0o755)
        done = subprocess.run(["sh", "-c", c.text], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
        assert done.returncode == 0 and "guestmemfs=" in done.stdout, (c, done.stdout)
        written = os.path.exists(os.path.join(tree.root, "etc/default/grub.d/zz-guestmemfs.cfg"))
        assert written == ("--apply" in c.text), (c, done.stdout)


@pytest.mark.quick
@pytest.mark.offline
def test_config_check(tmp_path):
    """The configuration that is required passes."""
    (tmp_path / ".config").write_bytes(open(REQUIRED, "rb").read())
    found = commands_of("test_config_check()")
    assert len(found) == 2
    for c in found:
        text = c.text.replace("/boot/config-$(uname -r)", REQUIRED).replace("$OLDPWD", TOP)
        folder = TOP if text.startswith("scripts/") else tmp_path
        subprocess.run(["sh", "-ec", text], check=True, cwd=folder)


@pytest.mark.quick
@pytest.mark.offline
def test_libvirt_options():
    """The program takes them; make test-libvirt runs its commands with libvirt."""
    program = os.path.join(TOP, "tools", "gmfs-libvirt", "gmfs-libvirt")
    for c in commands_of("test_libvirt_options()"):
        words = shlex.split(c.text)[1:]
        # With --help behind it, the parser reads all of it, and no domain is touched.
        done = subprocess.run([program, *words, "--help"], check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0 and done.stdout.startswith(f"usage: gmfs-libvirt {words[0]}"), (c, done.stdout)
        for word in words[1:]:
            assert not word.startswith("-") or word in done.stdout, (c, done.stdout)


@pytest.mark.quick
@pytest.mark.offline
def test_scripts_of_systemd(make, shim, tmp_path):
    """vm1 and vm-state of systemd.rst: the machine is started, saved, and goes on from its state.

    QEMU is that of this host, without KVM. The states are stored by gmfs-numa.
    """
    build(sanitize=True)
    node, programs = tmp_path / "node1", tmp_path / "bin"
    node.mkdir()
    programs.mkdir()
    tree = make([Node(0, cpus="0-1"), Node(1, cpus="2-3")])
    environment = {**shim_options(shim, tree), **on_node(tree, node, 1)}
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    of_tool = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in environment.items())

    def program(name, text):
        for there, here in (("/run/guestmemfs/node1", str(node)), ("/run/vm1", str(tmp_path)),
                            ("/var/lib/vm1/disk", str(tmp_path / "disk")), ("-accel kvm -cpu host", "-accel tcg"),
                            ("32G", "64M")):
            text = text.replace(there, here)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    program("vm1", the_block("#!/bin/sh\n# Starts vm1"))
    program("vm-state", the_block("#!/usr/bin/python3\n"))
    program("gmfs-numa", f'#!/bin/sh\n{of_tool}exec {SANITIZED}/gmfs-numa "$@"\n')
    # This host may have one node.
    program("numactl", '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n')
    save, = commands_of("test_scripts_of_systemd()")
    save = shlex.split(save.text.partition(" -- ")[2])
    assert save[1] == "save"
    path = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    state = node / "vm1.state"

    def vm_state(action):
        words = [w.replace("/run/guestmemfs/node1", str(node)).replace("/run/vm1", str(tmp_path)) for w in save[1:]]
        return subprocess.run([programs / "vm-state", action, *words[1:]], check=False, env=path, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    for boot in range(3):
        with subprocess.Popen([programs / "vm1"], env=path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as qemu:
            try:
                loaded = vm_state("load")
                assert loaded.returncode == 0, loaded.stdout
                assert not state.exists() and qemu.poll() is None
                said = vm_state("save")
                assert said.returncode == 0, said.stdout
                assert qemu.wait(60) == 0, qemu.stdout.read()
            finally:
                qemu.kill()
        assert state.stat().st_size > 10000, boot
    # A machine whose state cannot be stored is not ended.
    (programs / "gmfs-numa").write_text("#!/bin/sh\ncat > /dev/null\nexit 2\n")
    state.unlink()
    with subprocess.Popen([programs / "vm1"], env=path, stdout=subprocess.DEVNULL) as qemu:
        try:
            assert vm_state("load").returncode == 0
            said = vm_state("save")
            assert said.returncode == 1 and "not stored" in said.stdout
            assert qemu.poll() is None
        finally:
            qemu.kill()


def smaller(text):
    """The command for a machine of some GiB: two MiB for each GiB."""
    for there, here in (("align=1G", "align=2M"), ("512M", "2M"), ("--near eth0", "--near 2"),
                        ("/var/lib/prometheus", "/tmp/prometheus"),
                        # There is no such machine; test_sidecar has one.
                        ("--qmp /run/vm1.qmp ", ""),
                        # It asks on a terminal.
                        ("discard 1", "discard --yes 1")):
        text = text.replace(there, here)
    text = re.sub(r"/boot/vmlinuz-[\w.-]+", KERNEL, text)
    text = re.sub(r"/boot/initrd.img-[\w.-]+", '"$initrd"', text)
    if " resize " in text:
        return re.sub(r"([+-])\d+G\b", r"\g<1>1G", text)
    return re.sub(r"(?<![\w.])(\d+)G\b", lambda m: f"{int(m.group(1)) * 2}M", text)


def with_the_rest(text):
    """A command of QEMU with what its "..." stands for, for a guest that does not run."""
    rest = [] if "-accel" in text else ["-accel kvm"]
    rest += [] if re.search(r"-m \d", text) else ["-m 32G"]
    rest += [] if "-machine" in text else ["-machine q35" + (",memory-backend=ram" if "id=ram," in text else "")]
    text = text.replace("-cpu host", "-cpu $VM_GUEST_CPU")
    text = text.replace("... ", "").replace(" ...", "") if "..." in text else text
    monitor = "" if "-monitor stdio" in text else " -monitor stdio"
    return f"{text} {' '.join(rest) if 'gmfs-numa' not in text else ''}{monitor} -S -nodefaults -display none"


# What has to be there before a command, which finds two mounted nodes with vm1.ram and vm1.state.
BEFORE = (
    (r"gmfs-numa uncarve ", "gmfs-numa carve --size 8M /run/guestmemfs/node1/vm1.ram /run/guestmemfs/node1/side.ram"),
    (r"gmfs-numa mount|gmfs-numa discard|mkdir ", "gmfs-numa umount > /dev/null"),
    (r"mount ", "gmfs-numa umount > /dev/null; mkdir $at"),
    (r"gmfs-numa thaw ", "gmfs-numa freeze 1"),
    (r"gmfs-state load ", "rm -f $at/vm1.conf; gmfs-state store $at/vm1.conf < vm1.conf"),
    (r"gmfs-state store ", "rm -f $at/vm1.conf"),
    (r"gmfs-numa check --dump", "cp /sys/fs/guestmemfs/node1/metadata node1.metadata"),
    (r"gmfs-numa resize .* -",
     "[ $(cat /sys/fs/guestmemfs/node1/size) -gt $((1 << 30)) ] || gmfs-numa resize 1 +1G"),
    (r"gmfs-numa verify \$\(pidof", "numactl --cpunodebind=1 --membind=1 ./qemu-system-x86_64 300 & "
     "until pidof qemu-system-x86_64 > /dev/null; do sleep 0.1; done"),
    (r"fallocate", "rm -f $at/*"),
    (r".*qemu-system-x86_64 .*-", "rm -f $at/* $at/../node0/*; chown 64055 $at"),
)
# Where success is not the only result that is right: no gibibyte is to be gained here, and no
# virtual machine needs the kernel that is loaded.
STATUS = ((r"gmfs-numa compact .*--count", "[01]"), (r"gmfs-numa handover (?!--)", "[01]"),
          (r"gmfs-numa resize --dry-run", "[01]"))

MACHINE = r"""
mkdir -p /tmp/tool /tmp/bin /tmp/here /tmp/prometheus/node-exporter
cp $(ldd "$tool" | grep -o '/[^ ]*') "$tool" "${tool%/*}/gmfs-state" /tmp/tool/
export LD_LIBRARY_PATH=/tmp/tool
ctl=$(cat /run/vm/ctldir)
line="$(cat "$ctl/cmdline") vm.boot=$((VM_BOOT + 1)) vm.append$(sed 's/.* vm\.append//' /proc/cmdline)"
initrd="/run/vm/host$(cat "$ctl/initramfs")"
# The kernel's configuration is not in /boot here, and its command line says which boot it is.
cat > /tmp/bin/gmfs-numa <<- END
	#!/bin/sh
	case "\$*" in
	"handover --"*) exec /tmp/tool/gmfs-numa "\$@" --config $config --command-line "$line" ;;
	esac
	exec /tmp/tool/gmfs-numa "\$@"
END
chmod +x /tmp/bin/gmfs-numa
PATH=/tmp/bin:/tmp/tool:$PATH
chmod 666 /dev/kvm
at=/run/guestmemfs/node1
cd /tmp/here
cp "$(command -v sleep)" qemu-system-x86_64
echo x > vm1.conf
echo x > vm1.xml
truncate -s 1M vm.img
mount -t cgroup2 none /sys/fs/cgroup 2> /dev/null || true
echo +dmem > /sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/tenant
set -a

# run DOCUMENT STATUS BEFORE COMMAND
run() {
    echo "$1: $4"
    gmfs-numa mount > /dev/null
    rm -f $at/side.ram $at/vm1.ram
    [ -e $at/vm1.state ] || echo x | gmfs-numa store $at/vm1.state
    truncate -s 64M $at/vm1.ram
    cd /tmp/here
    eval "$3"
    status=0
    eval "$4" < /dev/null > /tmp/out 2>&1 || status=$?
    case $status in
    $2) ;;
    *) die "$1: $4: status $status: $(cat /tmp/out)" ;;
    esac
    pkill -f '^./qemu-system-x86_64' || true
    gmfs-numa thaw > /dev/null
}

# run_qemu DOCUMENT BEFORE COMMAND WHILE MONITOR: is the machine there, and what is done to it
run_qemu() {
    echo "$1: $3"
    gmfs-numa mount > /dev/null
    cd /tmp/here
    eval "$2"
    : > /tmp/out
    {
        echo 'info status'
        wait_for /tmp/out 'VM status: paused'
        if [ -n "$4" ]; then
            eval "$4" > /tmp/while 2>&1 || echo "status $?" >> /tmp/while
        fi
        if [ -n "$5" ]; then
            echo "$5"
            sleep 2
        fi
        echo quit
    } | eval "$3" > /tmp/out 2>&1 || die "$1: $3: $(cat /tmp/out)"
    has "$(cat /tmp/out)" 'VM status: paused' "$1: $3"
}
"""


def of_table(table, text, default):
    return next((value for pattern, value in table if re.match(pattern, text)), default)


def test_machine(vm):
    """Commands of the host: they end with success. The last one is the kexec."""
    found = commands_of("test_machine()")
    assert len(found) > 60
    script, last, seen, loop, monitor = [], None, set(), [], []
    for c in found:
        if re.match(r"pid=|for task", c.text):
            loop.append(c.text)
        elif c.text.startswith("qom-set"):
            monitor.append(smaller(c.text))
    assert len(loop) == 2 and len(monitor) == 1
    for c in found:
        text = smaller(c.text)
        if re.match(r"gmfs-numa handover --exec (?!.*--dry-run)", c.text):
            last = text
        if text in seen or text == last or c.text in loop or text in monitor:
            continue
        seen.add(text)
        before = of_table(BEFORE, text, ":")
        if "qemu-system-x86_64 " in text:
            while_up = "\n".join(loop) if "debug-threads=on" in text else ""
            enter = monitor[0] + "\nqom-get vmem requested-size" if "virtio-mem-pci" in text else ""
            words = [c.document, before, smaller(with_the_rest(text)), while_up, enter]
            script.append("run_qemu " + " ".join(map(shlex.quote, words)))
            if while_up:
                script.append("equal \"$(grep -c 'new affinity list' /tmp/while)\" 4 'processors that are pinned'")
            if enter:
                script.append("has \"$(tr -d '\\r' < /tmp/out)\" '^33554432$' 'requested-size'")
        else:
            script.append("run " + " ".join(map(shlex.quote, [c.document, of_table(STATUS, text, "0"), before, text])))
    config = os.path.abspath(os.path.join(os.path.dirname(KERNEL), "../../..", ".config"))
    # From a file: pgrep -f would find the shell if its arguments had the text.
    path = os.path.join(TOP, "build", "test", f"commands-{os.getpid()}.sh")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join([MACHINE, 'if [ "$VM_BOOT" = 1 ]; then', *script, f"echo {shlex.quote('now: ' + last)}",
                           f"eval {shlex.quote(last)}", "die 'the next kernel was not executed'", "fi", ""]))
    try:
        run = vm(f"tool={build()}\nconfig={config}\n. {path}" + r"""
        equal "$(cat /sys/fs/guestmemfs/node1/generation)" 1 generation
        gmfs-numa check
        """, nodes=2, mem="4G", cpus=4, boots=2, append="guestmemfs=0:256M,1:512M+1G nokaslr",
                 options=["--nested", "--timeout=1500"],
                 expect=[r"guestmem_pool: node 1: pool of \d+ (?:MiB has \d+ MiB now|blocks discarded)$",
                         r"guestmem_pool: node 1: keeps its handed-over pool of 1536 MiB, "])
    finally:
        os.unlink(path)
    assert len(run.lines(r"^[\w.-]+: ")) > 60
