# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa: manual pages, completion, and what is installed."""

import glob
import os
import re
import shlex
import subprocess

import pytest
from conftest import TOP
from offline import columns_of, needs, options_of, quiet
from sysroot import SETTINGS
from tool import COMMANDS, MANUALS, MANUAL_PAGES, SOURCE, WITH_JSON, build, manual_page, plain

pytestmark = [pytest.mark.quick, pytest.mark.offline]


@pytest.mark.parametrize("name", MANUAL_PAGES)
def test_manual_is_well_formed(name):
    page = os.path.join(MANUALS, name)
    with open(page, encoding="utf-8") as f:
        included = re.search(r"^\.so man(\d)/(.*)$", f.read(), re.MULTILINE)
    if included:
        assert included.group(2) in MANUAL_PAGES and included.group(2).endswith(included.group(1))
        return
    text = quiet("man", "--warnings", "-l", page, env={**os.environ, "LC_ALL": "C.UTF-8",
                                                       "MANWIDTH": "80"})
    title, _, number = name.rpartition(".")
    assert f"{title.upper()}({number})" in text
    quiet("groff", "-man", "-Tutf8", "-ww", "-z", page)
    said = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    assert not said


@pytest.mark.parametrize("name", MANUAL_PAGES)
def test_manual_refers_to_what_there_is(name):
    """Pages of this project and documents."""
    text = plain(manual_page(name))
    for page, number in re.findall(r"\b((?:gmfs-|guestmemfs)[\w-]*) ?\((\d)\)", text):
        assert f"{page}.{number}" in MANUAL_PAGES or page == "gmfs-numa-command", (name, page)
    for document in re.findall(r"\bDocumentation/[\w/.-]*\w", text):
        assert os.path.exists(os.path.join(TOP, document)), (name, document)


COMPLETE = r"""
. /usr/share/bash-completion/bash_completion
. {script}
compopt() {{ printf '%s\n' "$2"; }}
try() {{
	COMP_LINE=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	COMP_POINT=${{#COMP_LINE}}
	{function} "$1" "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
	printf '%s\n' "${{COMPREPLY[@]}}" END
}}
"""
SCRIPT = os.path.join(SOURCE, "bash-completion", "gmfs-numa")


def candidates(*cases, cwd=None, program="gmfs-numa", script=SCRIPT):
    """What bash would offer behind each list of words, of which the last is not complete.

    Options of compopt come first.
    """
    text = COMPLETE.format(script=script, function="_" + program.replace("-", "_"))
    for words in cases:
        # As bash splits them: "--node=1" are three words.
        parts = [p for word in words for p in re.findall("[=:]+|[^=:]+", word) or [""]]
        if words[-1].endswith(("=", ":")):
            parts.append("")
        line = " ".join([program, *words])
        text += f"try {shlex.join([line, program, *parts])}\n"
    path = os.path.dirname(build()) + ":" + os.environ["PATH"]
    out = quiet("bash", input=text, cwd=cwd, env={**os.environ, "PATH": path})
    found = [[line for line in one.split("\n") if line] for one in out.split("END\n")[:-1]]
    assert len(found) == len(cases)
    return found


def test_completion_of_commands():
    commands = [(c, o) for c in COMMANDS for o in ("--", "--hel")]
    every, one, none, helped, *options = candidates([""], ["sta"], ["nonsense"], ["help", ""], *commands)
    assert set(every) == set(COMMANDS) | {"help", "--help", "--version", "--sysroot"}
    assert (one, none, set(helped)) == (["status"], [], set(COMMANDS))
    for (command, word), found in zip(commands, options):
        assert set(found) >= options_of(command) if word == "--" else found == ["--help"], command


VALUES = {
    "set 1 pol": ["nospace", "policy="], "set 1 reserve=1 pol": ["nospace", "policy="],
    "set 1 policy=": ["best-fit", "first-fit"], "set 1 policy=f": ["first-fit"], "set 1 reserve=": [],
    "run --node a": ["auto"], "run -N a": ["auto"], "run --node=a": ["auto"], "run --user=roo": ["root"],
    "run --node=": ["auto"], "run --size ": [], "run --size=": [], "run --owner ": [],
    "status -o kernel-": ["nospace"], "status -o KERNEL-": ["nospace", "KERNEL-FREE"],
    "status -o NODE,KERNEL-": ["nospace", "NODE,KERNEL-FREE"], "-o KERNEL-": ["nospace", "KERNEL-FREE"],
    "ls --output=+VM": ["nospace", "+VMM"], "mount -o ": [], "mount --options=": [],
    "--sysroot / sta": ["status"], "--sysroot=/ sta": ["status"], "--sysroot=d": ["filenames", "directory"],
    "--sysroot=/ status -o KERNEL-": ["nospace", "KERNEL-FREE"], "--sysroot / map --sv": ["--svg"],
    **{f"{words} bz": ["filenames", "bzImage"] for words in (
        "handover --kernel", "handover --exec", "handover --config", "handover -i", "map --svg",
        "metrics --file", "verify", "tag", "store", "ls", "reap", "files")},
    **{f"{words}d": ["filenames", "directory"] for words in (
        "mount --base ", "mount --base=", "umount -B ", "--sysroot ")},
}


def test_completion_of_values(tmp_path):
    (tmp_path / "bzImage").write_text("")
    (tmp_path / "directory").mkdir()
    found = candidates(*(words.split(" ") for words in VALUES), cwd=tmp_path)
    assert dict(zip(VALUES, found)) == VALUES
    settings, command, near, columns = candidates(
        ["set", "1", ""], ["run", "--size", "2M", "--", "en"], ["run", "--near=l"], ["ls", "-o", ""])
    assert set(settings) == {"nospace", *(f"{n}=" for n in SETTINGS)}
    assert "env" in command and "lo" in near
    assert columns[1:] == columns_of("ls")
    # Found by bash-completion by the name of the command.
    assert "-F _gmfs_numa" in quiet("bash", "-c", f". {SCRIPT}; complete -p gmfs-numa")


def test_completion_of_states(tmp_path):
    for name in "vm.state", "vm:1":
        (tmp_path / name).write_text("")
    commands, stores, loads, nothing, files, owner, owner_value, colon = candidates(
        [""], ["store", "--"], ["load", "--r"], ["nonsense", "--"], ["load", "vm."], ["store", "-O", ""],
        ["store", "--owner=v"], ["load", "vm:"], cwd=tmp_path, program="gmfs-state")
    assert set(commands) == {"store", "load", "--help", "--version"}
    assert {"--force", "--owner", "--help"} <= set(stores) and loads == ["--remove"]
    assert nothing == [] and files == ["filenames", "vm.state"] and owner == owner_value == []
    assert colon == ["filenames", "1"]
    assert "-F _gmfs_state" in quiet("bash", "-c", f". {SCRIPT}; complete -p gmfs-state")


def test_completion_of_odd_names(tmp_path):
    """Bash quotes them, if they are one by one and it is told that they are files."""
    names = ["vm;touch${IFS}pwned;", "vm $(touch pwned)", "vm*", "vm`x`", "vm-b"]
    for name in (*names, "a:b=c"):
        (tmp_path / name).write_text("")
    plain_names, with_directory, behind = candidates(
        ["verify", "vm"], ["reap", "./vm"], ["verify", "./a:b"], cwd=tmp_path)
    assert sorted(plain_names) == sorted(["filenames", *names])
    assert sorted(with_directory) == sorted(["filenames", *(f"./{n}" for n in names)])
    # What is before the colon is not replaced.
    assert behind == ["filenames", "b=c"]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "a:b=c"])


# A package of its own, for hosts with libvirt.
LIBVIRT = (
    "usr/sbin/gmfs-libvirt", "usr/share/man/man8/gmfs-libvirt.8", "usr/lib/systemd/system/gmfs-libvirt.service",
    "usr/lib/systemd/system/kexec.target.d/gmfs-libvirt.conf",
    "usr/share/bash-completion/completions/gmfs-libvirt", "etc/libvirt/hooks/qemu.d/gmfs-libvirt",
    "etc/apparmor.d/abstractions/libvirt-qemu.d/guestmemfs",
)
INSTALLED = (
    "sbin/gmfs-numa", "bin/gmfs-state",
    *(f"share/man/man{p[-1]}/{p}" for p in MANUAL_PAGES if not p.startswith("gmfs-libvirt")),
    "share/bash-completion/completions/gmfs-numa", "share/bash-completion/completions/gmfs-state",
    "lib/systemd/system/guestmemfs@.service", "lib/systemd/system/guestmemfs.target",
    "lib/systemd/system/guestmemfs-metrics.service", "lib/systemd/system/guestmemfs-metrics.timer",
    "lib/systemd/system-generators/gmfs-numa-generator",
    "share/doc/gmfs-numa/examples/guestmemfs.rules.yml",
    "share/doc/gmfs-numa/examples/guestmemfs-dashboard.json",
    "share/doc/gmfs-numa/examples/libvirt-domain.xml",
    *(f"share/doc/gmfs-numa/schema/{c}.json" for c in WITH_JSON),
)


def check_generator(root, generator):
    """Units for nodes that there are, and none in a container."""
    sys, tools, out = (os.path.join(root, n) for n in ("sys", "tools", "units"))
    copy = os.path.join(root, "generator")
    for name in sys + "/node0", sys + "/node12", tools, out:
        os.makedirs(name)
    with open(generator, encoding="utf-8") as f, open(copy, "w", encoding="utf-8") as to:
        to.write(f.read().replace("/sys/fs/guestmemfs/", sys + "/"))
    for container in True, False:
        with open(tools + "/systemd-detect-virt", "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\n[ \"$1\" = -cq ] && exit {int(not container)}\n")
        os.chmod(tools + "/systemd-detect-virt", 0o755)
        quiet("sh", copy, out, out, out, env={"PATH": f"{tools}:/usr/bin:/bin"})
        wants = os.path.join(out, "guestmemfs.target.wants")
        assert os.path.exists(wants) != container
    assert sorted(os.listdir(wants)) == ["guestmemfs@0.service", "guestmemfs@12.service"]


# What gives a service a mount namespace of its own, see systemd.exec(5).
NAMESPACE = re.compile("^(Private(Tmp|Devices|Mounts|Users|IPC)|Protect[A-Z]|ReadWritePaths|ReadOnlyPaths|"
                       "InaccessiblePaths|ExecPaths|NoExecPaths|BindPaths|BindReadOnlyPaths|"
                       "TemporaryFileSystem|RootDirectory|RootImage|MountFlags|MountImages|"
                       "DynamicUser|ProcSubset)", re.MULTILINE)


def check_sandbox(root):
    """The metrics can write their file alone; what mounts does it where all see it."""
    with open(os.path.join(root, "guestmemfs@.service"), encoding="utf-8") as f:
        text = f.read()
    assert not NAMESPACE.search(text) and "\nNoNewPrivileges=yes\n" in text
    path = os.path.join(root, "guestmemfs-metrics.service")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert NAMESPACE.search(text)
    # Where the metrics go by default has to be writable.
    target = re.search("^Environment=METRICS=(.*)/", text, re.MULTILINE).group(1)
    assert f"-{target} " in re.search("^ReadWritePaths=(.*)", text, re.MULTILINE).group(1) + " "


def check_installed(root, prefix, packed=False):
    """All of it is there and works from there."""
    top = os.path.join(root, prefix.strip("/"))
    for name in INSTALLED:
        # debhelper compresses what is large and no program.
        path = os.path.join(top, name)
        assert os.path.exists(path) or packed and os.path.exists(path + ".gz"), name
    tool = os.path.join(top, "sbin", "gmfs-numa")
    assert quiet(tool, "--version").startswith("gmfs-numa ")
    units = glob.glob(os.path.join(top, "lib/systemd/system/*"))
    for unit in units:
        with open(unit, encoding="utf-8") as f:
            text = f.read()
        for program in re.findall(r"^Exec\w+=(\S+)", text, re.MULTILINE):
            assert program == f"{prefix}/sbin/gmfs-numa", program
        # It sees the nodes of its host, and has no business there.
        assert "\nConditionVirtualization=!container\n" in text, unit
    generator = os.path.join(top, "lib/systemd/system-generators/gmfs-numa-generator")
    assert os.access(generator, os.X_OK)
    with open(generator, encoding="utf-8") as f:
        assert f"={prefix}/lib/systemd/system\n" in f.read()
    # On a machine without a pool it has nothing to say.
    if not os.path.exists("/sys/fs/guestmemfs"):
        os.mkdir(os.path.join(root, "generated"))
        quiet(generator, *[os.path.join(root, "generated")] * 3)
        assert not os.listdir(os.path.join(root, "generated"))
    check_generator(root, generator)
    check_sandbox(os.path.join(top, "lib/systemd/system"))


def check_libvirt(root):
    """What is called is there, in an order that loses no guest."""
    for name in LIBVIRT:
        path = os.path.join(root, name)
        assert os.path.exists(path) or os.path.exists(path + ".gz"), name
    for name in "usr/sbin/gmfs-libvirt", "etc/libvirt/hooks/qemu.d/gmfs-libvirt":
        assert os.access(os.path.join(root, name), os.X_OK)
    with open(os.path.join(root, "usr/lib/systemd/system/gmfs-libvirt.service"), encoding="utf-8") as f:
        unit = f.read()
    after = re.search("^After=(.*)$", unit, re.MULTILINE).group(1).split()
    assert {"guestmemfs.target", "libvirtd.service", "libvirt-guests.service"} <= set(after)
    with open(os.path.join(root, "usr/lib/systemd/system/kexec.target.d/gmfs-libvirt.conf"), encoding="utf-8") as f:
        assert "\n[Unit]\nJobTimeoutSec=infinity\n" in f.read()
    assert "\nTimeoutStartSec=infinity\n" in unit and "\nTimeoutStopSec=infinity\n" in unit
    for line in re.findall(r"^Exec\w+=(.*)$", unit, re.MULTILINE):
        command = line.split()
        assert command[0] == "/usr/sbin/gmfs-libvirt"
        assert "Usage: " in quiet(os.path.join(root, command[0][1:]), command[1], "--help").replace("usage", "Usage")


def test_install_for_libvirt(tmp_path):
    quiet("make", "-s", "-C", SOURCE, "install-libvirt", f"DESTDIR={tmp_path}")
    check_libvirt(str(tmp_path))


@needs("apparmor_parser")
def test_apparmor_rule(tmp_path):
    quiet("make", "-s", "-C", SOURCE, "install-libvirt", f"DESTDIR={tmp_path}")
    with open(tmp_path / LIBVIRT[-1], encoding="utf-8") as f:
        quiet("apparmor_parser", "-QK", input="profile guest {\n" + f.read() + "}\n")


def test_completion_for_libvirt(tmp_path):
    (tmp_path / "bzImage").write_text("")
    commands, options, align, image = candidates(
        [""], ["handover", "--"], ["assign", "vm1", "--align", ""], ["handover", "--exec", "bz"],
        cwd=tmp_path, program="gmfs-libvirt", script=os.path.join(TOP, "tools", "gmfs-libvirt", "bash-completion"))
    assert commands == ["assign", "release", "list", "save", "restore", "discard", "handover"]
    assert {"--exec", "--initrd", "--force"} <= set(options) and align == ["2M", "1G"]
    assert image == ["filenames", "bzImage"]


def test_install(tmp_path):
    """Below a directory and with another prefix; nothing outside, nothing writable for all."""
    build()
    quiet("make", "-s", "-C", SOURCE, "install", f"DESTDIR={tmp_path}", "prefix=/usr/local")
    assert os.listdir(tmp_path) == ["usr"] and os.listdir(tmp_path / "usr") == ["local"]
    for here, _, names in os.walk(tmp_path):
        for name in names:
            assert not os.stat(os.path.join(here, name)).st_mode & 0o022
    check_installed(str(tmp_path), "/usr/local")


@needs("systemd-analyze")
@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_systemd_analyze(tmp_path, prefix):
    build()
    quiet("make", "-s", "-C", SOURCE, "install", f"DESTDIR={tmp_path}", f"prefix={prefix}")
    top = tmp_path / prefix.strip("/")
    # systemd looks for the program, which is not installed here.
    units = tmp_path / "units"
    units.mkdir()
    for unit in (top / "lib/systemd/system").iterdir():
        text = unit.read_text(encoding="utf-8")
        (units / unit.name).write_text(text.replace(f"{prefix}/sbin/gmfs-numa", f"{top}/sbin/gmfs-numa"))
    instances = [str(units / name).replace("@.", "@1.") for name in os.listdir(units)]
    assert len(instances) > 3
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *instances], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"})
    ours = [l for l in done.stdout.splitlines() if "guestmemfs" in l]
    assert not ours, done.stdout
    quiet("systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager",
          str(units / "guestmemfs-metrics.service"))


@pytest.fixture(scope="module")
def packages():
    """(gmfs-numa, gmfs-libvirt), as Debian packages."""
    subprocess.run([os.path.join(TOP, "scripts", "deb")], check=True, stdout=subprocess.DEVNULL)
    found = [glob.glob(os.path.join(TOP, "build", "deb", f"{name}_*.deb"))
             for name in ("gmfs-numa", "gmfs-libvirt")]
    return [path for path, in found]


@needs("lintian")
def test_lintian(packages):
    # It complains of root as its caller, and the package is in no archive.
    quiet("lintian", "--allow-root", "--fail-on=error,warning",
          "--suppress-tags=initial-upload-closes-no-bugs", *packages)


def test_package(packages, tmp_path):
    package, for_libvirt = packages
    fields = quiet("dpkg-deb", "-f", package)
    for name in ("libjson-c5", "libmount1", "libsmartcols1", "libnuma1"):
        assert name in re.search(r"^Depends: (.*)$", fields, re.MULTILINE).group(1)
    listing = quiet("dpkg-deb", "-c", package)
    assert all(re.match(r"\S+ root/root ", line) for line in listing.splitlines())
    assert "changelog" in listing and "copyright" in listing
    quiet("dpkg-deb", "-x", package, str(tmp_path))
    check_installed(str(tmp_path), "/usr", packed=True)
    assert "python3-libvirt" in quiet("dpkg-deb", "-f", for_libvirt, "Depends")
    quiet("dpkg-deb", "-x", for_libvirt, str(tmp_path / "libvirt"))
    check_libvirt(str(tmp_path / "libvirt"))
    control = quiet("dpkg-deb", "-I", for_libvirt, "conffiles").split()
    assert set(control) == {"/" + name for name in LIBVIRT if name.startswith("etc/")}
