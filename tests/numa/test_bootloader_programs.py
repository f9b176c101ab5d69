# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa plan --apply, and what Debian's own programs make of the files that it leaves.

The tool evaluates what line the next boot has. Here grub-mkconfig, kernel-install and ukify
write the boot entries from the same tree, and the lines in these are compared with the
tool's. Nothing of this machine is changed: a namespace of its own has the tree's directories
in the place of /etc/default and /boot, or environment variables name them.
"""

import os
import re
import shutil
import subprocess

import pytest
from offline import big, on
from sysroot import Tree
from tool import DIFFERS, OK

pytestmark = [pytest.mark.quick, pytest.mark.offline]

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
KERNELS = ("6.1.0-40-amd64", "7.3.4-next")
POOLS = "guestmemfs=0:16G,1:16G"
OURS = f"kho=on {POOLS}"
GRUB = "etc/default/grub"
GRUB_D = "etc/default/grub.d"
GRUB_AS_SHIPPED = "/usr/share/grub/default/grub"
GRUB_CFG = "boot/grub/grub.cfg"
CMDLINE = "etc/kernel/cmdline"
PLUGINS = "/usr/lib/kernel/install.d"
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
MACHINE = "4db9a1f0c0de4db9a1f0c0de4db9a1f0"
TOKEN = "debian"


def need(*files):
    """Skips the test if one of a distribution's files is not there."""
    missing = [f for f in files if not shutil.which(f, path=ENVIRONMENT["PATH"]) and not os.path.exists(f)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def plan(tree, status=OK):
    return on(tree, "plan", "--reserve", "16G", "--apply", status=status)


def evaluated(done):
    """The line that the tool says the next boot would have."""
    found = re.findall(r"the command line of the next boot(.*?) would be: (.*)", done.err)
    assert len(found) == 1, done
    how, line = found[0]
    # A tab is printed as \\x09.
    return how, re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m.group(1), 16)), line)


def kernel_words(line):
    """[(parameter, value)] as next_arg() of the kernel has them."""
    words = []
    for word in re.findall(r'(?:"[^"]*(?:"|$)|[^\s"])+', line):
        if word.startswith('"'):
            word = word[1:].removesuffix('"')
        name, equals, value = word.partition("=")
        if value.startswith('"'):
            value = value[1:].removesuffix('"')
        words.append((name, value if equals else None))
    return words


def has_pools(words):
    """Are they the words of the tool, once each?"""
    return [w for w in words if w[0] in ("kho", "guestmemfs")] == kernel_words(OURS)


# --- GRUB ---

# Of a disk that this machine need not have. What it is asked otherwise, it does not know.
PROBE = """#!/bin/sh
case " $* " in
*" --target=device "*) echo /dev/vda1 ;;
*" --target=fs_uuid "*) echo 0f1e2d3c-0001-0002-0003-000000000001 ;;
*" --target=fs "*) echo ext4 ;;
*" --target=partmap "*) echo gpt ;;
esac
"""
IN_NAMESPACE = """
mount --bind "$1/etc/default" /etc/default
mount --bind "$1/boot" /boot
mount --bind "$1/usr/sbin/grub-probe" "$(command -v grub-probe)"
exec grub-mkconfig -o /boot/grub/grub.cfg
"""


@pytest.fixture(scope="session")
def namespace():
    """Command that has another run as root with mounts of its own."""
    need("unshare", "grub-mkconfig", "grub-probe", "grub-script-check", "/etc/grub.d/10_linux", GRUB_AS_SHIPPED)
    command = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
    done = subprocess.run([*command, "mount", "--bind", "/", "/mnt"], check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")
    return command


@pytest.fixture
def grub_host(tmp_path):
    """grub_host({name of a drop-in: contents}, GRUB_VARIABLE=value, ...): a machine with Debian's GRUB."""
    def new(drop_ins=None, kernels=KERNELS[-1:], **variables):
        tree = Tree(tmp_path / "host", big())
        for name in ("grub-mkconfig", "update-grub"):
            shutil.copyfile(f"/usr/sbin/{name}", make_way(tree, f"usr/sbin/{name}"))
        tree.put("usr/sbin/grub-probe", PROBE)
        os.chmod(tree.path("usr/sbin/grub-probe"), 0o755)
        with open(GRUB_AS_SHIPPED, encoding="utf-8") as f:
            text = f.read()
        for name, value in variables.items():
            text, nr = re.subn(f"(?m)^{name}=.*$", lambda _, n=name, v=value: f"{n}={v}", text)
            assert nr == 1, name
        tree.put(GRUB, text)
        # That of grub-common itself.
        if os.path.exists(f"/{GRUB_D}/init-select.cfg"):
            shutil.copyfile(f"/{GRUB_D}/init-select.cfg", make_way(tree, f"{GRUB_D}/init-select.cfg"))
        for name, contents in (drop_ins or {}).items():
            tree.put(f"{GRUB_D}/{name}", contents)
        for release in kernels:
            tree.put(f"boot/vmlinuz-{release}", "a kernel\n")
            tree.put(f"boot/initrd.img-{release}", "an initrd\n")
        os.makedirs(tree.path("boot/grub"))
        return tree
    return new


def make_way(tree, name):
    os.makedirs(os.path.dirname(tree.path(name)), exist_ok=True)
    return tree.path(name)


def grub_command(text):
    """Words of the command at the start of a text, by the rules of GRUB's grub-core/script/yylex.l.

    No variable that an entry uses has a value here.
    """
    words, word, at = [], None, 0
    while at < len(text):
        c = text[at]
        variable = re.match(r"\$(\w+|[?#*@]|\{(\w+|[?#*@])\})", text[at:])
        at += 1
        if c in "\n;&|<>{}" or (c == "#" and word is None):
            break
        if c in " \t":
            words += [word] if word is not None else []
            word = None
        elif c == "'":
            end = text.index("'", at)
            word = (word or "") + text[at:end]
            at = end + 1
        elif c == '"':
            quoted = re.match(r'((?:\\.|[^\\"])*)"', text[at:], re.DOTALL)
            word = (word or "") + re.sub(r'\\([$\\"])|\\\n|\$(?:\w+|\{\w+\})', r"\1", quoted.group(1))
            at += quoted.end()
        elif c == "\\":
            word = (word or "") + text[at:at + 1].strip("\n")
            at += 1
        elif variable:
            at += variable.end() - 1
        else:
            word = (word or "") + c
    return words + ([word] if word is not None else [])


def loader_line(words):
    """Of the words of `linux`, what the kernel gets: grub_create_loader_cmdline()."""
    words = [re.sub(r"([\\'\"])", r"\\\1", w) for w in words]
    return " ".join(f'"{w}"' if " " in w else w for w in words)


def grub_entries(tree):
    """[(release, kind, what is behind root= and ro in the kernel's line)] of grub.cfg."""
    text = tree.get(GRUB_CFG)
    found = []
    for entry in re.finditer(r"^\s*menuentry .*", text, re.MULTILINE):
        which = re.search(r"'gnulinux-(.*)-?(simple|advanced|recovery|init-\w+)-[0-9a-f-]{36}' \{$", entry.group())
        if which:
            line = re.compile(r"^\s*(linux\s.*)", re.MULTILINE | re.DOTALL).search(text, entry.end()).group(1)
            _, image, root, ro, *words = grub_command(line)
            assert (root, ro) == ("root=/dev/vda1", "ro") and "/boot/vmlinuz-" in image
            release = image.rpartition("vmlinuz-")[2]
            assert which.group(1) in ("", release + "-")
            found.append((release, which.group(2), loader_line(words)))
    assert found and len(found) == len(re.findall(r"^\s*linux\s", text, re.MULTILINE))
    return found


def grub_mkconfig(namespace, tree):
    done = subprocess.run([*namespace, "sh", "-ec", IN_NAMESPACE, "sh", tree.root], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
    return done.returncode, done.stdout


def check_grub(namespace, tree, after=None):
    """Applies, has GRUB's entries made, and compares their lines with the tool's. The entries.

    after: drop-ins that come when the tool's is there.
    """
    plan(tree)
    for name, contents in (after or {}).items():
        tree.put(f"{GRUB_D}/{name}", contents)
    status, said = grub_mkconfig(namespace, tree)
    assert not status, said
    subprocess.run(["grub-script-check", tree.path(GRUB_CFG)], check=True)
    entries = grub_entries(tree)
    # One more, so that the tool refuses, and says which line it has found.
    tree.put(f"{GRUB_D}/\u00ff-last.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT kho=off"\n')
    _, line = evaluated(plan(tree, DIFFERS))
    assert line.endswith(" kho=off")
    line = line.removesuffix(" kho=off")
    for _, kind, real in entries:
        if kind.startswith("init-"):
            real = re.sub(r" init=\S+$", "", real)
        if kind != "recovery":
            assert kernel_words(real) == kernel_words(line), (kind, real, line)
            assert has_pools(kernel_words(real)) or after
    return entries


def of_kind(entries, kind):
    return [(release, line) for release, k, line in entries if k == kind]


def test_grub_as_shipped(namespace, grub_host):
    """All kernels, and what is for recovery: that has GRUB_CMDLINE_LINUX, and ours is not in it."""
    tree = grub_host({"console.cfg": 'GRUB_CMDLINE_LINUX="console=ttyS0,115200"\n'}, KERNELS)
    entries = check_grub(namespace, tree)
    newest = KERNELS[-1:]
    ours = f"console=ttyS0,115200 quiet {OURS}"
    assert of_kind(entries, "simple") == [(r, ours) for r in newest]
    assert sorted(of_kind(entries, "advanced")) == [(r, ours) for r in KERNELS]
    # Debian 13 has dis_ucode_ldr there as well.
    assert sorted((r, line.replace(" dis_ucode_ldr ", " ")) for r, line in of_kind(entries, "recovery")) == [
        (r, "single console=ttyS0,115200") for r in KERNELS]


@pytest.mark.parametrize("drop_ins, after, variables", [
    # As cloud images and kdump-tools have them, with words in quotes.
    ({"50-cloudimg-settings.cfg": "GRUB_RECORDFAIL_TIMEOUT=0\nGRUB_TERMINAL=console\n"
      'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\n',
      "kdump-tools.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT crashkernel=2G-:512M"\n'},
     {}, {"GRUB_CMDLINE_LINUX": r'''"dyndbg=\"file drivers/usb/* +p\" "'"acpi_osi=Windows 2015"' '''}),
    # In the order of the names, those behind ours as well.
    ({f"{name}.cfg": f'GRUB_CMDLINE_LINUX_DEFAULT="${{GRUB_CMDLINE_LINUX_DEFAULT}} {name}"\n'
      for name in ("Zz", "zz", "zz-a", "zz_b", "zz.d", "10", "9", "a-B", "a_b", "aB", "zz-guestmemfs2", "\u00e9")},
     {}, {"GRUB_CMDLINE_LINUX_DEFAULT": "'quiet\tsplash' # two"}),
    # Ours is there, and is taken out by what comes then.
    ({}, {"zzz.cfg": 'X="serial  console"; GRUB_CMDLINE_LINUX_DEFAULT="root2=\\"$X\\""\\ y\n'}, {}),
    # Assigned by pieces, on several lines, and to one from the other.
    ({"a.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="nosmt \\\nro"\' x\'\\ y\n'
      'export GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX_DEFAULT"; GRUB_DEFAULT=saved\n'
      'if [ -n "$GRUB_TIMEOUT" ]; then\n\tGRUB_TIMEOUT=1\nfi\n'},
     {"zzz.cfg": 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX -- guestmemfs=5G"\n'}, {}),
], ids=("cloud", "order", "after", "pieces"))
def test_grub_drop_ins(namespace, grub_host, drop_ins, after, variables):
    check_grub(namespace, grub_host(drop_ins, **variables), after)


@pytest.mark.parametrize("value", ["\"acpi_osi='Windows 2015'\"", "'a\\ b'"], ids=("quotes", "backslash"))
def test_grub_words(namespace, grub_host, value):
    """GRUB takes out quotes of its own, and puts others in."""
    check_grub(namespace, grub_host(GRUB_CMDLINE_LINUX=value))


@pytest.mark.parametrize("value", [
    pytest.param('"pci=a;b"', id="semicolon"), pytest.param('"x #y"', id="comment"),
    pytest.param('"a&b"', id="ampersand"), pytest.param('"a{b"', id="brace"),
    pytest.param('"it\'s"', id="quote"), pytest.param("'memmap=1G$,x'", id="dollar"),
    pytest.param("'memmap=1G$8G'", id="variable"), pytest.param("'dyndbg=\"file x'", id="quotes"),
    pytest.param("'x#y ()*?[]!~'", id="others"),
])
def test_grub_reads_it_again(namespace, grub_host, value):
    """What a shell has for the variable is a command of GRUB in grub.cfg: the tool does not say that it is right."""
    tree = grub_host(GRUB_CMDLINE_LINUX=value)
    done = on(tree, "plan", "--reserve", "16G", "--apply", status=None)
    assert done.status in (OK, DIFFERS)
    if done.status == OK:
        status, said = grub_mkconfig(namespace, tree)
        assert not status, said
        for _, kind, real in grub_entries(tree):
            assert kind == "recovery" or has_pools(kernel_words(real)), real


# --- kernel-install ---

def kernel_install(tree, *plugins):
    """As an administrator runs it when the tool has said so, for each kernel."""
    environment = {**ENVIRONMENT, "KERNEL_INSTALL_CONF_ROOT": tree.path("etc/kernel"),
                   "BOOT_ROOT": tree.path("boot"), "MACHINE_ID": MACHINE,
                   "KERNEL_INSTALL_PLUGINS": " ".join(f"{PLUGINS}/{p}" for p in plugins)}
    for release in KERNELS:
        done = subprocess.run(["kernel-install", "add", release, tree.path(f"boot/vmlinuz-{release}")],
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment)
        assert not done.returncode, done.stdout


@pytest.fixture
def installing(tmp_path):
    """installing(text of /etc/kernel/cmdline, layout): a machine whose kernels kernel-install installs."""
    def new(text, layout, image=b"a kernel\n"):
        tree = Tree(tmp_path / "host", big(), cmdline=r"initrd=\debian\7.3.4\initrd root=/dev/vda1 ro quiet")
        if text is not None:
            tree.put(CMDLINE, text)
        tree.put("etc/kernel/install.conf", f"layout={layout}\n")
        tree.put("etc/kernel/entry-token", f"{TOKEN}\n")
        tree.put("boot/loader/loader.conf", "timeout 3\n")
        tree.put("boot/loader/entries.srel", "type1\n")
        os.makedirs(tree.path(f"boot/{TOKEN}"))
        for release in KERNELS:
            tree.put(f"boot/vmlinuz-{release}", image)
        return tree
    return new


def options_of_entries(tree):
    """{release: line} of loader/entries."""
    found = {}
    for release in KERNELS:
        entry = tree.get(f"boot/loader/entries/{TOKEN}-{release}.conf")
        lines = re.findall(r"^options\s+(.*)", entry, re.MULTILINE)
        assert len(lines) == 1, entry
        found[release] = lines[0]
    return found


def lines_of_tool(tree):
    """What it evaluates of /etc/kernel/cmdline: without its comments, and with them.

    It says so of a line that is too long, so the file has a word for that, or a comment.
    """
    text = tree.get(CMDLINE)
    long = "x" * 2048
    lines = []
    for last, as_programs in ((long, False), ("#" + long, True)):
        tree.put(CMDLINE, text.rstrip("\n") + f"\n{last}\n")
        # Its own words go to the end of what counts, and are there already but for the long one.
        how, line = evaluated(plan(tree, DIFFERS))
        assert ("know no comments" in how) == as_programs
        lines.append([w for w in line.split() if w != last])
    tree.put(CMDLINE, text)
    return lines


def compare(tree, real):
    """Words of the real lines, with the tool's: as some programs have them, or as others."""
    words = kernel_words(real)
    at = [kernel_words(" ".join(line)) for line in lines_of_tool(tree)]
    # Where the long word is in the way, ours come behind it.
    assert sorted(words, key=str) in [sorted(a, key=str) for a in at], (real, at)
    assert has_pools(words), real
    return words


CMDLINES = {
    "one": "root=UUID=x ro quiet\n",
    "none": None,
    "lines": "root=UUID=x\n\nro   console=ttyS0,115200\tquiet",
    "comments": "# serial console\nroot=UUID=x ro\n# end\n",
    "quotes": 'root=LABEL="my root" dyndbg="file x +p" ro\n',
    "ended": "root=UUID=x ro -- single\n",
    "ours": "root=UUID=x guestmemfs=0:1G ro kho=off\nquiet kho=1\n",
    "blank": "root=UUID=x ro\n  # serial console\n",
}


@pytest.mark.parametrize("name", CMDLINES)
def test_kernel_install(installing, name):
    need("kernel-install", f"{PLUGINS}/90-loaderentry.install")
    tree = installing(CMDLINES[name], "bls")
    plan(tree)
    kernel_install(tree, "90-loaderentry.install")
    found = options_of_entries(tree)
    assert len(set(found.values())) == 1
    compare(tree, found[KERNELS[0]])


@pytest.mark.parametrize("name", CMDLINES)
def test_unified_kernel_image(installing, name):
    need("kernel-install", "ukify", "objcopy", f"{PLUGINS}/60-ukify.install", f"{PLUGINS}/90-uki-copy.install", STUB)
    # Some image of EFI, as a kernel is one.
    with open(STUB, "rb") as f:
        tree = installing(CMDLINES[name], "uki", f.read())
    plan(tree)
    kernel_install(tree, "60-ukify.install", "90-uki-copy.install")
    for release in KERNELS:
        uki = tree.path(f"boot/EFI/Linux/{TOKEN}-{release}.efi")
        section = tree.path(f"{release}.cmdline")
        subprocess.run(["objcopy", "-O", "binary", "-j", ".cmdline", uki, section], check=True)
        compare(tree, tree.get(f"{release}.cmdline").rstrip("\0"))
