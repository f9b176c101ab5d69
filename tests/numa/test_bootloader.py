# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa plan --apply on hosts as distributions set them up, as trees of files."""

import glob
import os
import re
import shutil
import stat
import subprocess

import pytest
from offline import big, files_of, on, small_disk
from sysroot import Tree
from tool import DIFFERS, FAILED, OK

pytestmark = [pytest.mark.quick, pytest.mark.offline]

GRUB = "etc/default/grub"
GRUB_D = "etc/default/grub.d"
DROP_IN = f"{GRUB_D}/zz-guestmemfs.cfg"
CMDLINE = "etc/kernel/cmdline"
BACKUP = ".gmfs-numa-backup"
EFI = "sys/firmware/efi/efivars/{}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
POOLS = "guestmemfs=0:16G,1:16G"
OURS = f"kho=on {POOLS}"
WITH_DROP_INS = "for x in ${sysconfdir}/default/grub.d/*.cfg ; do . \"${x}\"; done\n"
WITHOUT = ". ${sysconfdir}/default/grub\n"
PROXMOX = r"initrd=\EFI\proxmox\6.14.8-2-pve\initrd.img-6.14.8-2-pve root=ZFS=rpool/ROOT/pve-1 boot=zfs"
SYSTEMD_BOOT = r"initrd=\4db9\7.3.4\initrd root=/dev/vda1 ro quiet"


@pytest.fixture
def host(tmp_path):
    """host({name: contents}, ...): a machine of two nodes with these files."""
    count = iter(range(1000))

    def new(files=None, cmdline="BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet", **efi):
        tree = Tree(tmp_path / f"host{next(count)}", big(), cmdline=cmdline)
        tree.put("etc/hostname", "x\n")
        for name, contents in (files or {}).items():
            tree.put(name, contents)
        for name, text in efi.items():
            tree.put(EFI.format(name), b"\6\0\0\0" + (text + "\0").encode("utf-16-le"))
        return tree
    return new


def apply(tree, status=OK, size="16G", option="--apply", args=()):
    return on(tree, "plan", "--reserve", size, option, *args, status=status)


def refused(tree, status, *words):
    """Nothing is written, and the message has the words."""
    before = files_of(tree)
    done = apply(tree, status)
    for word in (*words, "no file is written", OURS):
        assert word in done.err + done.out, (word, done)
    assert files_of(tree) == before
    return done


def grub_line(tree):
    """What a shell makes of it, as grub-mkconfig does."""
    script = f"""
    [ ! -e {tree.path(GRUB)} ] || . {tree.path(GRUB)}
    for x in {tree.path(GRUB_D)}/*.cfg; do [ ! -e "$x" ] || . "$x"; done
    printf %s "$GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"
    """
    return subprocess.run(["sh", "-ec", f"GRUB_CMDLINE_LINUX=; GRUB_CMDLINE_LINUX_DEFAULT=\n{script}"],
                          check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


DEBIAN = {
    "usr/sbin/grub-mkconfig": WITH_DROP_INS, "usr/sbin/update-grub": "",
    "etc/os-release": "ID=debian\n",
    GRUB: "# If you change this file, run 'update-grub' afterwards.\n\nGRUB_DEFAULT=0\n"
          "GRUB_TIMEOUT=5\n"
          "GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${NAME} ) 2>/dev/null || echo Debian`\n"
          "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n"
          "#GRUB_TERMINAL=console\n",
}


def test_debian_grub(host):
    tree = host(DEBIAN)
    before = files_of(tree)
    done = apply(tree, option="--dry-run")
    assert "+GRUB_CMDLINE_LINUX_DEFAULT=" in done.out and files_of(tree) == before
    done = apply(tree)
    assert "GRUB" in done.out and "BOOT_IMAGE=" in done.out and "run update-grub" in done.out
    assert grub_line(tree) == f"quiet {OURS}"
    assert stat.S_IMODE(os.stat(tree.path(DROP_IN)).st_mode) == 0o644
    # There was nothing to keep.
    assert os.listdir(tree.path(GRUB_D)) == [os.path.basename(DROP_IN)]
    before = files_of(tree)
    assert "right as it is" in apply(tree).out and files_of(tree) == before
    done = apply(tree, size="8G")
    assert "-GRUB" in done.out and "+GRUB" in done.out
    assert grub_line(tree) == "quiet kho=on guestmemfs=0:8G,1:8G"
    # Of what was there nothing was anybody else's.
    assert os.listdir(tree.path(GRUB_D)) == [os.path.basename(DROP_IN)]
    assert tree.get(GRUB) == DEBIAN[GRUB]


@pytest.mark.parametrize("name, text", [
    ("hetzner.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="consoleblank=0"\n'),
    ("50-cloudimg-settings.cfg", "# Cloud Image specific Grub settings\nGRUB_RECORDFAIL_TIMEOUT=0\n"
     'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\nGRUB_TERMINAL=console\n'),
    ("kdump-tools.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT '
     'crashkernel=2G-:512M"\n'),
    ("10_cloud.cfg", "export GRUB_CMDLINE_LINUX='console=tty0'\" earlyprintk=${TTY}x\" ; A=\\\n1\n"),
    ("init-select.cfg", "if [ -x /sbin/init ]; then\n  GRUB_THEME=/x\nfi\n"),
    ("comment.cfg", '#GRUB_CMDLINE_LINUX="guestmemfs=0:4G kho=off"\n'),
    ("kho.cfg", 'GRUB_CMDLINE_LINUX="kho=off"\n'),
])
def test_drop_ins(host, name, text):
    """Others before ours leave it in the line, as a shell has it."""
    tree = host({**DEBIAN, f"{GRUB_D}/{name}": text})
    apply(tree)
    line = grub_line(tree)
    assert line.endswith(OURS) and line.count("guestmemfs=") == 1


@pytest.mark.parametrize("name, text, word", [
    ("50-numa.cfg", 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX guestmemfs=0:4G,1:4G"\n',
     "guestmemfs=0:4G,1:4G,0:16G,1:16G"),
    ("zzz.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="consoleblank=0"\n', "guestmemfs= is not in it"),
    ("zzz.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT kho=off"\n', "kho="),
    ("50.cfg", f'GRUB_CMDLINE_LINUX="{"x" * 2000}"\n', "2047"),
    ("50.cfg", 'GRUB_CMDLINE_LINUX="single -- x"\n', "guestmemfs= is not in it"),
    ("50.cfg", "GRUB_CMDLINE_LINUX='dyndbg=\"file x'\n", '" begins a quote'),
    ("50.cfg", "GRUB_CMDLINE_LINUX=fresh\\ guestmemfs=fresh\n", "guestmemfs=fresh"),
], ids=range(7))
def test_line_without_the_pools(host, name, text, word):
    name = f"{GRUB_D}/{name}"
    done = refused(host({**DEBIAN, name: text}), DIFFERS, word)
    assert name in done.err


def test_words_by_hand_are_named(host):
    """Where they stand, so that they can be taken out: file, line and word."""
    by_hand = ("# guestmemfs=0:1G\n\tGRUB_CMDLINE_LINUX=\"quiet xkho=1 guestmemfs=0:4G,1:4G ro\"\n"
               "GRUB_CMDLINE_LINUX_DEFAULT='kho=off'\n")
    tree = host({**DEBIAN, GRUB: by_hand})
    done = refused(tree, DIFFERS)
    lines = [l for l in done.err.splitlines() if ": remove " in l]
    assert lines == [f"gmfs-numa: {tree.root}/{GRUB}:{n}: remove {word} from this line"
                     for n, word in ((2, "guestmemfs=0:4G,1:4G"), (3, "kho=off"))]
    # Without drop-ins it is the same file that has ours, which are not named.
    tree = host({"usr/bin/grub-mkconfig": WITHOUT, "etc/os-release": "ID=arch\n", GRUB: "A=b\n"})
    apply(tree)
    tree.put(GRUB, by_hand + tree.get(GRUB))
    done = apply(tree, DIFFERS, size="8G")
    assert done.err.count(": remove ") == 2 and f"{GRUB}:2: remove guestmemfs=0:4G,1:4G from" in done.err
    tree = host({"etc/cmdline.d/root.conf": "root=y\nguestmemfs=5G\n", "etc/mkinitcpio.conf": ""},
                cmdline=SYSTEMD_BOOT)
    assert "etc/cmdline.d/root.conf:2: remove guestmemfs=5G from" in refused(tree, DIFFERS).err


@pytest.mark.parametrize("text", [
    "echo \"one\nGRUB='two\nexit\nif\" '\ndone\n. x' # don't\n",
    "printf '%s' \"a\nthen\" ; [ -e /x ] &&\\\n: \"$(date\n)\" `date\n` ${X:-\n} \\\"\n",
    "X=\"a\nb\" true 'eval\n'\n",
])
def test_quotes_over_several_lines(host, text):
    """Of other commands: what is in them is no command."""
    tree = host({**DEBIAN, f"{GRUB_D}/50.cfg": "GRUB_CMDLINE_LINUX=a\n" +
                 text.replace("GRUB=", "X=") + "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX b\"\n"})
    apply(tree)
    assert tree.get(DROP_IN).endswith(f"{OURS}\"\n")


def test_ostree(host):
    """Lines are those of deployments, whatever boot loader is there."""
    for files, words in (({"usr/bin/rpm-ostree": ""}, "rpm-ostree kargs"), ({}, "ostree admin kargs")):
        for where in "run/ostree-booted", "ostree/repo/config":
            tree = host({**DEBIAN, **files, where: ""})
            before = files_of(tree)
            done = apply(tree, FAILED)
            assert re.search(f"^  {words}.* --append=kho=on --append={POOLS}$", done.err, re.MULTILINE)
            assert "OSTree" in done.out and files_of(tree) == before


def test_nixos(host):
    """Its boot loader's files are of one configuration, and made anew at each change."""
    for files in ({"boot/loader/loader.conf": "", "boot/loader/entries/nixos-generation-1.conf": ""},
                  DEBIAN):
        done = refused(host({**files, "etc/NIXOS": ""}, cmdline=SYSTEMD_BOOT,
                            LoaderInfo="systemd-boot 257"), FAILED, "boot.kernelParams")
        assert "nixos-rebuild boot" in done.err


@pytest.mark.parametrize("text", [
    ". /etc/more\n", "if true; then GRUB_CMDLINE_LINUX=x; fi\n",
    "if true\nthen\n\tGRUB_CMDLINE_LINUX=x\nfi\n", "GRUB_CMDLINE_LINUX=$(cat /etc/more)\n",
    "GRUB_CMDLINE_LINUX=`date`\n", "X=${Y:-1}\nGRUB_CMDLINE_LINUX=$X\n", "eval $X\n", "return\n",
    "[ -e x ] && GRUB_CMDLINE_LINUX=x\n", "GRUB_CMDLINE_LINUX=\"x\n", "f() {\n",
    "GRUB_CMDLINE_LINUX=x true\n", "true && . x\n", "echo 'a\n' && eval x\n", "echo \\\neval\n",
    "echo \"a\n$(GRUB_CMDLINE_LINUX=x\n)\"\n", "echo 'GRUB=\n", "true # '\nexit\n", "cat << END\nGRUB=\nEND\n",
    "GRUB_CMDLINE_LINUX=(a b)\n", "GRUB_CMDLINE_LINUX=*\n", "GRUB_CMDLINE_LINUX=$'x'\n",
])
def test_shell_would_be_needed(host, text):
    """Files are not executed; what is in them is then not known."""
    name = f"{GRUB_D}/50.cfg"
    text = f"touch {host().path('')}executed\n# x\n{text}"
    done = refused(host({**DEBIAN, name: text}), DIFFERS, f"{name}:", "shell")
    assert not glob.glob(os.path.dirname(name) + "/executed"), done


@pytest.mark.parametrize("text", ['GRUB_CMDLINE_LINUX="a\nb"\n', 'GRUB_CMDLINE_LINUX_DEFAULT="quiet\n"\n'])
def test_grub_line_break(host, text):
    """In grub.cfg the command ends there, so the kernel is not told what follows."""
    refused(host({**DEBIAN, GRUB: text}), DIFFERS, "line break")


def test_arch_grub(host):
    """Without drop-ins, a line of ours goes to the file itself."""
    text = "GRUB_CMDLINE_LINUX_DEFAULT=\"loglevel=3 quiet\"\n# guestmemfs=0:1G\nGRUB_CMDLINE_LINUX=\"\""
    tree = host({"usr/bin/grub-mkconfig": WITHOUT, "etc/os-release": "ID=arch\n", GRUB: text})
    os.chmod(tree.path(GRUB), 0o640)
    done = apply(tree)
    assert "grub-mkconfig -o /boot/grub/grub.cfg" in done.out
    assert tree.get(GRUB).startswith(text) and grub_line(tree) == f"loglevel=3 quiet {OURS}"
    apply(tree, size="8G")
    assert grub_line(tree) == "loglevel=3 quiet kho=on guestmemfs=0:8G,1:8G"
    assert tree.get(GRUB + BACKUP) == text
    for name in (GRUB, GRUB + BACKUP):
        assert stat.S_IMODE(os.stat(tree.path(name)).st_mode) == 0o640
    assert not os.path.exists(tree.path(GRUB_D))


def test_fedora(host):
    files = {"usr/sbin/grub2-mkconfig": WITHOUT, "etc/os-release": "ID=fedora\n", CMDLINE: "root=x\n",
             GRUB: "GRUB_CMDLINE_LINUX=\"rhgb quiet\"\nGRUB_ENABLE_BLSCFG=true\n",
             "boot/loader/entries/4db9-7.3.conf": "options root=x\n"}
    refused(host(files), FAILED, "GRUB", "grubby --update-kernel=ALL --args=")
    # By default too, if entries are there and the program that changes them.
    refused(host({**files, GRUB: "GRUB_CMDLINE_LINUX=quiet\n", "usr/sbin/grubby": ""}), FAILED, "grubby")
    refused(host({**{k: v for k, v in files.items() if k != GRUB}, "usr/bin/grubby": ""}), FAILED, "grubby")
    files[GRUB] = files[GRUB].replace("true", "false")
    tree = host(files)
    assert "grub2-mkconfig -o /boot/grub2/grub.cfg" in apply(tree).out
    assert not os.path.exists(tree.path(GRUB_D)) and tree.get(CMDLINE) == "root=x\n"


def test_opensuse(host):
    files = {"usr/sbin/grub2-mkconfig": WITHOUT, GRUB: "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n",
             "etc/os-release": "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n"}
    refused(host(files), FAILED, "update-bootloader --add-option")
    tree = host({**files, CMDLINE: "root=x\n", "usr/bin/sdbootutil": ""}, cmdline=SYSTEMD_BOOT)
    assert "sdbootutil update-all-entries" in apply(tree).out
    assert tree.get(CMDLINE) == f"root=x {OURS}\n"


def test_proxmox(host):
    """With ZFS by systemd-boot, with GRUB beside it; with ext4 by GRUB."""
    text = "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n"
    files = {**DEBIAN, CMDLINE: text, "etc/kernel/proxmox-boot-uuids": "1234-ABCD\n"}
    tree = host(files, cmdline=PROXMOX)
    done = apply(tree)
    assert "run proxmox-boot-tool refresh" in done.out and "initrd=" in done.out
    assert tree.get(CMDLINE) == f"{text.strip()} {OURS}\n"
    assert not os.path.exists(tree.path(GRUB_D))
    # Only the first line counts there.
    refused(host({**files, CMDLINE: "# x\n" + text}, cmdline=PROXMOX), DIFFERS)
    tree = host(files)
    assert "run proxmox-boot-tool refresh" in apply(tree).out and os.path.exists(tree.path(DROP_IN))
    assert tree.get(CMDLINE) == text
    del files["etc/kernel/proxmox-boot-uuids"], files[CMDLINE]
    assert "run update-grub" in apply(host(files, cmdline="BOOT_IMAGE=/vmlinuz")).out


def test_systemd_boot(host):
    tree = host({CMDLINE: "root=UUID=x guestmemfs=0:1G rw kho=off  quiet\n"}, cmdline=SYSTEMD_BOOT)
    before = files_of(tree)
    done = apply(tree, option="--dry-run")
    assert "+root=UUID=x" in done.out and files_of(tree) == before
    done = apply(tree)
    assert "-root=UUID=x" in done.out and "kernel-install" in done.out
    # All else is as it was, and where it was.
    assert tree.get(CMDLINE) == f"root=UUID=x rw  quiet {OURS}\n"
    assert tree.get(CMDLINE + BACKUP) == before[tree.path(CMDLINE)].decode()
    before = files_of(tree)
    assert "right as it is" in apply(tree).out and files_of(tree) == before
    # A line that nobody has written yet is that of the running kernel.
    tree = host({"boot/loader/loader.conf": ""}, cmdline=SYSTEMD_BOOT)
    apply(tree, args=["--systemd-boot"])
    assert tree.get(CMDLINE) == f"root=/dev/vda1 ro quiet {OURS}\n"
    tree = host({"usr/lib/kernel/cmdline": "root=y\n"}, cmdline=SYSTEMD_BOOT)
    apply(tree)
    assert tree.get(CMDLINE) == f"root=y {OURS}\n"


@pytest.mark.parametrize("old, new", [
    ("# serial console\nroot=UUID=1 ro\nconsole=ttyS0,115200\n",
     f"# serial console\nroot=UUID=1 ro\nconsole=ttyS0,115200 {OURS}\n"),
    ("root=LABEL=\"my  root\"\tdyndbg=\"file x +p; kho=test  +p\"  \r\n# end kho=off",
     f"root=LABEL=\"my  root\"\tdyndbg=\"file x +p; kho=test  +p\" {OURS}  \r\n# end kho=off"),
    ("root=x kho=1\nkho=off\n\n guestmemfs=1:2G quiet\n", f"root=x\n\nquiet {OURS}\n"),
    ("root=x\n\"kho=off\" guestmemfs=\"0:1G\"\n", f"root=x {OURS}\n"),
    ("root=x -- kho=y single\n", f"root=x {OURS} -- kho=y single\n"),
    ("-- x\n", f"{OURS} -- x\n"),
    ("root=x kho_scratch=1G,1G,1G guestmemfs xkho=1", f"root=x kho_scratch=1G,1G,1G xkho=1 {OURS}"),
    ("", f"{OURS}\n"), ("\n# x\n", f"\n# x\n{OURS}\n"), ("kho=on", f"{OURS}\n"),
])
def test_other_words_stay(host, old, new):
    tree = host({CMDLINE: old}, cmdline=SYSTEMD_BOOT)
    if "kho=off" in old.partition("#")[2]:
        # A program that takes comments for words would give this to the kernel.
        refused(tree, DIFFERS, "comments")
        old, new = old.replace("# end kho=off", ""), new.replace("# end kho=off", "")
        tree.put(CMDLINE, old)
    apply(tree)
    with open(tree.path(CMDLINE), newline="", encoding="ascii") as f:
        assert f.read() == new
    before = files_of(tree)
    assert "right as it is" in apply(tree).out and files_of(tree) == before


def test_line_too_long(host):
    refused(host({CMDLINE: "x" * 2014}, cmdline=SYSTEMD_BOOT), DIFFERS, "2047")


def test_first_backup_stays(host):
    text = "root=UUID=x ro nosmt\n"
    tree = host({CMDLINE: text}, cmdline=SYSTEMD_BOOT)
    for size in ("16G", "8G", "4G"):
        apply(tree, size=size)
    assert tree.get(CMDLINE + BACKUP) == text and "0:4G,1:4G" in tree.get(CMDLINE)
    assert len(glob.glob(tree.path(CMDLINE) + "*")) == 2


def test_mode_owner_and_link_stay(host):
    tree = host({"etc/line": "root=x\n"}, cmdline=SYSTEMD_BOOT)
    os.makedirs(tree.path("etc/kernel"))
    tree.link(CMDLINE, "../line")
    os.chmod(tree.path("etc/line"), 0o600)
    if not os.getuid():
        os.chown(tree.path("etc/line"), 1, 2)
    apply(tree)
    assert os.readlink(tree.path(CMDLINE)) == "../line" and OURS in tree.get("etc/line")
    for name in ("etc/line", CMDLINE + BACKUP):
        st = os.stat(tree.path(name))
        assert stat.S_IMODE(st.st_mode) == 0o600
        assert os.getuid() or (st.st_uid, st.st_gid) == (1, 2)


def test_links_stay_below_sysroot(host, tmp_path):
    """Absolute links, and ".." at the root, are those of the machine that the tree is of."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "line").write_text("root=y\n")

    def unchanged():
        return os.listdir(outside) == ["line"] and (outside / "line").read_text() == "root=y\n"

    for target in "../../../outside/line", str(outside / "line"):
        tree = host({CMDLINE: "", "boot/loader/loader.conf": ""}, cmdline=SYSTEMD_BOOT)
        tree.link(CMDLINE, target)
        apply(tree, FAILED)
        # The directory is there in the tree as well; only the file is not.
        inside = tree.path(os.path.normpath("/" + target.replace("../", "")).lstrip("/"))
        os.makedirs(os.path.dirname(inside))
        done = apply(tree)
        assert "root=y" not in done.out and unchanged()
        with open(inside, encoding="ascii") as f:
            assert OURS in f.read()
    # A directory on the way, the one that has to be made, and that of the backup.
    for name, text in (("etc/kernel", CMDLINE), ("etc/default/grub.d", DROP_IN), ("etc", CMDLINE)):
        tree = host({"etc/kernel/cmdline": "root=x\n"} if text == CMDLINE else DEBIAN,
                    cmdline=SYSTEMD_BOOT if text == CMDLINE else "BOOT_IMAGE=/x")
        if os.path.isdir(tree.path(name)):
            shutil.rmtree(tree.path(name))
        os.symlink(outside, tree.path(name))
        apply(tree, FAILED)
        assert unchanged(), name
    tree = host({CMDLINE: "root=x\n"}, cmdline=SYSTEMD_BOOT)
    os.symlink(outside / "backup", tree.path(CMDLINE + BACKUP))
    assert "is no regular file" in apply(tree, FAILED).err
    assert unchanged() and tree.get(CMDLINE) == "root=x\n"


def test_unreadable_is_not_missing(host):
    tree = host({"boot/loader/loader.conf": ""}, cmdline=SYSTEMD_BOOT)
    os.makedirs(tree.path(CMDLINE))
    done = apply(tree, FAILED)
    assert "its contents are not known" in done.err and os.path.isdir(tree.path(CMDLINE))
    tree = host({CMDLINE: b"root=x\0y\n"}, cmdline=SYSTEMD_BOOT)
    assert "no text" in apply(tree, FAILED).err


@pytest.mark.parametrize("name", [GRUB, DROP_IN, CMDLINE])
def test_fifo_is_not_waited_for(host, name):
    tree = host({CMDLINE: "root=x\n"}, cmdline=SYSTEMD_BOOT) if name == CMDLINE else host(DEBIAN)
    if os.path.exists(tree.path(name)):
        os.unlink(tree.path(name))
    os.makedirs(os.path.dirname(tree.path(name)), exist_ok=True)
    os.mkfifo(tree.path(name))
    assert f"{name}: this is no regular file" in apply(tree, FAILED).err
    assert stat.S_ISFIFO(os.stat(tree.path(name)).st_mode)


def test_uki(host):
    """Unified kernel images: of kernel-install, mkinitcpio, dracut."""
    stub = {"StubInfo": "systemd-stub 257.9-1"}
    tree = host({CMDLINE: "root=x\n", **DEBIAN}, LoaderInfo="systemd-boot 257.9-1", **stub)
    done = apply(tree)
    assert "StubInfo" in done.out and tree.get(CMDLINE) == f"root=x {OURS}\n"
    files = {"etc/mkinitcpio.conf": "", "etc/mkinitcpio.d/linux.preset":
             "PRESETS=('default')\ndefault_uki=\"/efi/EFI/Linux/arch.efi\"\n"}
    tree = host({**files, CMDLINE: "root=x\n"}, **stub)
    assert "mkinitcpio -P" in apply(tree).out and OURS in tree.get(CMDLINE)
    tree = host({**files, CMDLINE: "root=x\n", "etc/cmdline.d/root.conf": "# x\nroot=y\n"}, **stub)
    assert "mkinitcpio -P" in apply(tree).out and tree.get(CMDLINE) == "root=x\n"
    assert tree.get("etc/cmdline.d/zz-guestmemfs.conf") == OURS + "\n"
    tree.put("etc/cmdline.d/root.conf", "root=y guestmemfs=5G\n")
    apply(tree, DIFFERS)
    files = {"etc/dracut.conf": "", "etc/dracut.conf.d/10.conf": "uefi=yes\n"}
    refused(host(files, **stub), FAILED, "kernel_cmdline=")
    tree = host({**files, "etc/dracut.conf.d/20.conf": "kernel_cmdline+=\" root=x \"\n"}, **stub)
    assert "dracut" in apply(tree).out
    assert OURS in tree.get("etc/dracut.conf.d/zz-guestmemfs.conf")


def test_generated_lines(host):
    """/etc/kernel/cmdline is made of others at the next kernel, or nobody knows of what."""
    files = {f"{CMDLINE}.d/{name}": f'CMDLINE_LINUX="$CMDLINE_LINUX {word}"\n'
             for name, word in (("00.cfg", "ro"), ("90-audit.cfg", "audit=1"))}
    tree = host(files, LoaderInfo="systemd-boot 257")
    apply(tree)
    assert OURS in tree.get(f"{CMDLINE}.d/zz-guestmemfs.cfg")
    assert not os.path.exists(tree.path(CMDLINE))
    tree = host({f"{CMDLINE}.d/root.conf": "root=x\n", "usr/bin/clr-boot-manager": ""},
                cmdline=SYSTEMD_BOOT)
    assert "clr-boot-manager update" in apply(tree).out
    refused(host({"etc/cmdline.d/root.conf": "root=x\n"}, cmdline=SYSTEMD_BOOT), FAILED, "cmdline.d")


def test_arch_systemd_boot(host):
    files = {"boot/loader/loader.conf": "", "etc/machine-id": "4db9\n",
             "boot/loader/entries/arch.conf": "options root=x\n"}
    refused(host(files, LoaderInfo="systemd-boot 258"), FAILED, "loader/entries")
    files["boot/loader/entries/4db9-7.3.conf"] = "options root=x\n"
    tree = host(files, LoaderInfo="systemd-boot 258", cmdline="root=x")
    apply(tree)
    assert tree.get(CMDLINE) == f"root=x {OURS}\n"


def test_which_boot_loader(host):
    both = {**DEBIAN, CMDLINE: "root=x\n"}
    neither = host(cmdline="root=x")
    refused(neither, FAILED, "neither", "not known")
    refused(host(both, cmdline="root=x"), FAILED, "--grub or --systemd-boot")
    refused(host(both, LoaderInfo="rEFInd 0.14.2"), FAILED, "rEFInd 0.14.2")
    refused(host({GRUB: ""}), FAILED, "grub-mkconfig is not found")
    # Started by the firmware or by rEFInd, which read no file that the tool knows.
    for files in {}, DEBIAN, {"boot/refind_linux.conf": '"Boot" "root=x"\n'}:
        refused(host(files, cmdline=r"root=x initrd=\initrd.img"), FAILED, "no files of systemd-boot")
    # Started over the network, with what GRUB needs installed.
    for line in ("BOOT_IMAGE=vmlinuz initrd=initrd.img root=/dev/nfs", "initrd=initrd.magic root=x",
                 "BOOT_IMAGE=pxe/vmlinuz root=/dev/nfs BOOTIF=01-00-16-3e-00-00-01"):
        refused(host(DEBIAN, cmdline=line), FAILED, "as PXELINUX, iPXE and SYSLINUX")
        apply(host(DEBIAN, cmdline=line), args=["--grub"])
    for cmdline, efi, option, name in (
            ("root=x", {"LoaderInfo": "GRUB 2.12-9"}, [], DROP_IN),
            ("BOOT_IMAGE=/x", {"LoaderInfo": "systemd-boot 257"}, [], CMDLINE),
            (SYSTEMD_BOOT, {}, ["--grub"], DROP_IN), ("BOOT_IMAGE=/x", {}, ["--systemd-boot"], CMDLINE)):
        tree = host(both, cmdline=cmdline, **efi)
        apply(tree, args=option)
        assert "guestmemfs=" in tree.get(name)
        assert os.path.exists(tree.path(DROP_IN)) == (name == DROP_IN)
    # Nothing of it is asked for if the wish cannot be met.
    before = files_of(tree)
    apply(tree, DIFFERS, size="2T")
    # And if it cannot be written, nothing is half done.
    on(tree, "plan", "--reserve", "3G", "--apply", "--grub", status=FAILED, preexec_fn=small_disk)
    assert files_of(tree) == before
    shutil.rmtree(tree.path("etc/kernel"))
    tree.put("etc/kernel", "a file in the place of the directory")
    apply(tree, FAILED, args=["--systemd-boot"])


def test_diff_needs_no_files(host):
    """No /tmp, and no diff either."""
    tree = host(DEBIAN)
    done = on(tree, "plan", "--reserve", "16G", "--dry-run", env={"TMPDIR": "/nonexistent"})
    assert "+GRUB_CMDLINE_LINUX_DEFAULT=" in done.out
    done = on(tree, "plan", "--reserve", "16G", "--apply", env={"PATH": "/nonexistent"})
    assert "diff cannot be run" in done.err and OURS in done.err and OURS in tree.get(DROP_IN)


def test_other_memory_is_named(host):
    text = "root=x hugepagesz=1G hugepages=32 crashkernel=512M"
    tree = host({CMDLINE: text + " hugetlb-cma=1G\n"}, cmdline=f"{SYSTEMD_BOOT} {text}")
    for option, words in (("-n", ("hugepages=32", "crashkernel=512M", "/proc/cmdline")),
                          ("--apply", ("hugepages=32", "hugetlb-cma=1G", "next boot"))):
        done = apply(tree, option=option)
        assert all(word in done.err for word in words), done


def test_other_memory_is_counted(host):
    """By the rules of the kernel; two nodes of 64G."""
    def most(line, running="quiet", crash=0, **kwargs):
        tree = host({CMDLINE: "root=x " + line + "\n"}, cmdline=f"{SYSTEMD_BOOT} {running}")
        tree.put("sys/kernel/kexec_crash_size", f"{crash}\n")
        done = on(tree, "plan", "--reserve", "100%", "--dry-run", "-brno", "node,largest", **kwargs)
        return [int(largest) for _, largest in done.rows()[:2]]

    def taken(line, **kwargs):
        """In units of 128M of each node."""
        return [(a - b) >> 27 for a, b in zip(free, most(line, **kwargs))]

    free = most("quiet")
    for line, want in (
            ("hugepages=1024", [8, 8]), ("hugepages=0:512", [8, 0]), ("hugepages=1:512,0:1024", [16, 8]),
            ("hugepagesz=1G hugepages=32 hugepagesz=2M hugepages=1024", [136, 136]),
            ("default_hugepagesz=1G hugepages=3", [16, 16]), ("hugepages=2048 hugepages=4096", [16, 16]),
            ("default_hugepagesz=2M hugepages=2048 hugepagesz=2M hugepages=9000", [16, 16]),
            ("hugepagesz=3M hugepages=512 hugepages=512", [4, 4]), ("hugepages=x", [0, 0]),
            ("hugetlb_cma=4G", [16, 16]), ("hugetlb_cma=3G", [16, 16]), ("hugetlb-cma=1:4G", [0, 32]),
            ("hugetlb_cma=1:1500M", [0, 0]), ("hugetlb_cma=4G hugepagesz=1G hugepages=32", [16, 16]),
            ("hugetlb_cma=25%", [128, 128]), ("x -- hugepages=1024", [0, 0]),
            ("crashkernel=512M", [4, 4]), ("crashkernel=1G-2G:64M,2G-:256M@64M", [2, 2]),
            ("crashkernel=512M,high", [6, 6]), ("crashkernel=512M,high crashkernel=0,low", [4, 4]),
            ("crashkernel=1G crashkernel=512M", [4, 4])):
        assert taken(line) == want, line
    # More than there can be, which the kernel takes for all it can get.
    for line in ("hugepages=18446744073709551615", "hugepages=0:18446744073709551615,1:99999999999999",
                 "hugepagesz=1G hugepages=99999999999999999999"):
        apply(host({CMDLINE: f"root=x {line}\n"}, cmdline=SYSTEMD_BOOT), DIFFERS, size="100%")
    # A share of what the pool leaves.
    assert taken("hugetlb_cma=0:50%")[0] > 8 and taken("hugetlb_cma=0:50%")[1] == 0
    # What is reserved now is no memory of the node any more.
    assert taken("crashkernel=512M", crash=512 << 20) == [0, 0]
    assert taken("crashkernel=512M", crash=256 << 20) == [2, 2]
    # A pool that there is beside them is no proof for another line.
    tree = host({CMDLINE: "root=x hugepagesz=1G hugepages=32\n"}, cmdline=SYSTEMD_BOOT)
    apply(tree, DIFFERS, size="60G")
    done = on(tree, "plan", "--reserve", "46G", "--apply")
    assert "guestmemfs=0:46G,1:46G" in tree.get(CMDLINE) and "leaves room" in done.err
    apply(tree, DIFFERS, size="50G")
    # Without --apply, it is the line of this boot.
    assert "/proc/cmdline has hugepages=9" in on(
        host(cmdline="hugepages=9"), "plan", "--reserve", "50%").err


ARCH = {"usr/bin/grub-mkconfig": WITHOUT, "etc/os-release": "ID=arch\n",
        GRUB: 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'}
COMMENT = "# Written by gmfs-numa plan --apply.\n"
BLOCK = COMMENT + 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT kho=on guestmemfs=0:4G,1:4G"\n'


def test_only_own_lines_go(host):
    """A line is ours if it is what the tool writes, not by the comment above it."""
    own = 'GRUB_CMDLINE_LINUX="cryptdevice=UUID=1:root root=/dev/mapper/root"\n'
    tree = host({**ARCH, GRUB: ARCH[GRUB] + COMMENT + own})
    apply(tree)
    assert own in tree.get(GRUB) and tree.get(GRUB).count(COMMENT) == 1
    assert grub_line(tree) == f"cryptdevice=UUID=1:root root=/dev/mapper/root quiet {OURS}"
    # All of ours go, also those with the line ends of other systems.
    for text in (BLOCK + BLOCK, BLOCK + "A=b\n" + BLOCK, BLOCK.replace("\n", "\r\n"), BLOCK.rstrip()):
        tree = host({**ARCH, GRUB: ARCH[GRUB] + text})
        apply(tree)
        assert grub_line(tree) == f"quiet {OURS}" and tree.get(GRUB).count("guestmemfs=") == 1
    # A word in our line that is not ours.
    tree = host({**DEBIAN, DROP_IN: BLOCK.replace("kho=on", "kho=on nosmt")})
    done = refused(tree, DIFFERS)
    assert f"{DROP_IN}:2: remove kho=on guestmemfs=0:4G,1:4G from" in done.err
    tree = host({**DEBIAN, DROP_IN: BLOCK.replace("guestmemfs=0:4G,1:4G", "nosmt")})
    apply(tree)
    assert grub_line(tree) == f"quiet kho=on nosmt {OURS}" and "nosmt" in tree.get(DROP_IN + BACKUP)


def test_own_block_elsewhere_is_named(host):
    """What an earlier version or another configuration has left: with file, line and words."""
    for name, text, number in ((f"{GRUB_D}/guestmemfs.cfg", BLOCK, 2), (GRUB, DEBIAN[GRUB] + BLOCK, 10)):
        done = refused(host({**DEBIAN, name: text}), DIFFERS)
        assert f"{name}:{number}: remove kho=on guestmemfs=0:4G,1:4G from this line" in done.err
        assert "look at" not in done.err or name != GRUB
    # Behind a block of ours, which goes, lines keep their numbers.
    done = refused(host({**ARCH, GRUB: BLOCK + "GRUB_CMDLINE_LINUX=guestmemfs=1G\n"}), DIFFERS)
    assert f"{GRUB}:3: remove guestmemfs=1G from" in done.err and done.err.count(": remove ") == 1


@pytest.mark.parametrize("old, new", [
    ("ro root=LABEL=Citt\u00e0\n", f"ro root=LABEL=Citt\u00e0 {OURS}\n"),
    ("root=LABEL=Citt\u00e0 kho=off guestmemfs=0:1G\n", f"root=LABEL=Citt\u00e0 {OURS}\n"),
    ("a=\u00e0 -- b=\u00e0", f"a=\u00e0 {OURS} -- b=\u00e0"),
])
def test_utf8_is_not_torn(host, old, new):
    """The byte 0xa0 is a blank for the kernel, and half of a letter in a file."""
    tree = host({CMDLINE: old.encode()}, cmdline=SYSTEMD_BOOT)
    apply(tree)
    with open(tree.path(CMDLINE), "rb") as f:
        assert f.read() == new.encode()


def test_byte_that_the_kernel_takes_for_a_blank(host):
    """The line is judged as the kernel reads it."""
    refused(host({CMDLINE: b"root=\xa0guestmemfs=0:1G\n"}, cmdline=SYSTEMD_BOOT), DIFFERS, "0:1G,0:16G")
    refused(host({CMDLINE: b"root=\xa0-- x\n"}, cmdline=SYSTEMD_BOOT), DIFFERS, "is not in it")


def test_indented_comments(host):
    tree = host({CMDLINE: "root=x\n  # last note\n"}, cmdline=SYSTEMD_BOOT)
    apply(tree)
    assert tree.get(CMDLINE) == f"root=x {OURS}\n  # last note\n"
    # A program that knows no comments would give the kernel the word.
    done = refused(host({CMDLINE: "root=x\n\t# comment guestmemfs\n"}, cmdline=SYSTEMD_BOOT), DIFFERS)
    assert f"{CMDLINE}:2: remove guestmemfs from this line" in done.err


def test_quote_over_lines(host):
    for text, number in (('root=x dyndbg="file y\n+p" quiet\n', 1), ('root=x\nquiet "a\n', 2)):
        done = refused(host({CMDLINE: text}, cmdline=SYSTEMD_BOOT), DIFFERS, "a quote begins")
        assert f"{CMDLINE}:{number}: " in done.err
    apply(host({CMDLINE: 'root=x a="b"\n# a "\n'}, cmdline=SYSTEMD_BOOT))


@pytest.mark.parametrize("value, culprit", [
    ("quiet #foo", "# begins a comment"), ("#foo", "#"), ("a;b", "; belongs"), ("x && y", "& belongs"),
    ("a|b", "|"), ("a>b", ">"), ("a<b", "<"), ("isolcpus=1 {x}", "{"), ("a}", "}"),
    ("x=$8G", "$ begins the name"), ("x=\"$8G\"", "$"), ("v=it's", "' begins a quote"),
    ("v=\"a", "\" begins a quote"), ("v=a\\", "\\ joins"),
])
def test_syntax_of_grub(host, value, culprit):
    """In grub.cfg the words behind would not come to the kernel, or others would."""
    text = "GRUB_CMDLINE_LINUX_DEFAULT='" + value.replace("'", "'\"'\"'") + "'\n"
    if culprit.startswith("\\"):
        # At the end of the line, so behind our words.
        done = refused(host({**DEBIAN, f"{GRUB_D}/zzz.cfg": text.replace(
            "DEFAULT='", "DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT\"' ")}), DIFFERS, culprit)
        assert "zzz.cfg: quote this \\ or" in done.err
        return
    done = refused(host({**DEBIAN, f"{GRUB_D}/50.cfg": text}), DIFFERS, culprit)
    assert f"{GRUB_D}/50.cfg: quote this {culprit[0]} or remove it" in done.err


@pytest.mark.parametrize("value", [
    "a#b", "dyndbg=\"file a +p; func b\"", "x=\"#\" y", "memmap=4G\\$8G", "x=a\\;b", "x=\"a\\$\"",
    "a=[x] if while", "\"a\"#b", "x=~*",
])
def test_what_grub_leaves_alone(host, value):
    tree = host({**DEBIAN, f"{GRUB_D}/50.cfg": f"GRUB_CMDLINE_LINUX='{value}'\n"})
    apply(tree)
    assert grub_line(tree) == f"{value} quiet {OURS}"


def test_single_quotes_of_grub(host):
    """Which GRUB knows, and the kernel does not."""
    tree = host({**DEBIAN, f"{GRUB_D}/50.cfg": "GRUB_CMDLINE_LINUX=\"x='a kho=off -- b; c'\"\n"})
    apply(tree)
    refused(host({**DEBIAN, f"{GRUB_D}/50.cfg": "GRUB_CMDLINE_LINUX=\"x=1\\\\ -- y\"\n",
                  f"{GRUB_D}/60.cfg": "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX '--'\"\n"}), DIFFERS)


def test_entries_by_hand_with_a_line(host):
    """/etc/kernel/cmdline is there, and is not what they have."""
    files = {"etc/machine-id": "4db9\n", "boot/loader/entries/arch.conf": "options root=x\n",
             "boot/loader/loader.conf": "default arch.conf\n"}
    info = {"LoaderInfo": "systemd-boot 257"}
    for more in ({CMDLINE: "root=x\n"}, {"etc/cmdline.d/a.conf": "root=x\n", "etc/mkinitcpio.conf": ""}):
        refused(host({**files, **more}, **info), FAILED, "loader/entries")
    files[CMDLINE] = "root=x\n"
    apply(host(files, **info, StubInfo="systemd-stub 257"))
    for more in ({"etc/mkinitcpio.d/linux.preset": "default_uki=/efi\n"}, {"usr/bin/sdbootutil": ""},
                 {"etc/kernel/proxmox-boot-uuids": "x"}):
        apply(host({**files, **more}, **info))


def test_each_kernel(host):
    """The next boot is often of another kernel than the one that runs."""
    info = {"LoaderInfo": "systemd-boot 258"}
    modules = "usr/lib/modules"
    tree = host({CMDLINE: "root=x\n", f"{modules}/7.3.0-arch1/vmlinuz": "", "boot/vmlinuz-linux": "",
                 f"{modules}/7.2.0-arch1/vmlinuz": "", f"{modules}/7.1.0/modules.dep": ""}, **info)
    assert ("now run kernel-install add 7.2.0-arch1 /usr/lib/modules/7.2.0-arch1/vmlinuz && "
            "kernel-install add 7.3.0-arch1 /usr/lib/modules/7.3.0-arch1/vmlinuz, and boot") in apply(tree).out
    debian = {"boot/vmlinuz-6.12.1-amd64": "", f"{modules}/6.12.1-amd64/modules.dep": "",
              "boot/vmlinuz-7.3.0": "", "boot/vmlinuz-7.3.0.old": "", "boot/vmlinuz-0-rescue-4db9": ""}
    assert ("now run kernel-install add 6.12.1-amd64 /boot/vmlinuz-6.12.1-amd64 && "
            "kernel-install add 7.3.0 /boot/vmlinuz-7.3.0, and") in apply(
                host({CMDLINE: "root=x\n", **debian}, **info)).out
    assert "now run kernel-install add VERSION IMAGE for each kernel" in apply(
        host({CMDLINE: "root=x\n"}, **info)).out
    done = apply(host({f"{CMDLINE}.d/00.cfg": 'CMDLINE_LINUX="ro"\n', **debian}, **info))
    assert "now run dpkg-reconfigure linux-image-6.12.1-amd64 linux-image-7.3.0, and" in done.out


def test_sources_of_uki(host):
    """Where unified kernel images get the line from, by all that mkinitcpio and dracut read."""
    preset = "etc/mkinitcpio.d/linux.preset"
    for text in ("default_uki=/efi\n", "PRESETS=(uki)\nuki_uki=\"/efi\"\n", "x_efi_image=/efi\n",
                 "default_options='--uki /efi'\n",
                 "a_uki=/efi\na_options=\"--cmdline /etc/kernel/cmdline --splash /x\"\n"):
        tree = host({CMDLINE: "root=x\n", preset: text}, cmdline=SYSTEMD_BOOT)
        assert "now run mkinitcpio -P" in apply(tree).out
    for text in ("#default_uki=/efi\n", "default_uki=\"\"\ndefault_image=/i\n"):
        assert "kernel-install" in apply(host({CMDLINE: "root=x\n", preset: text}, cmdline=SYSTEMD_BOOT)).out
    for option in ("--cmdline /etc/other", "--cmdline=/etc/kernel/cmdline2", "-S x --no-cmdline"):
        refused(host({CMDLINE: "root=x\n", preset: f'a_uki=/efi\na_options="{option}"\n'},
                     cmdline=SYSTEMD_BOOT), FAILED, f"{preset}:2")
    vendor = "usr/lib/dracut/dracut.conf.d"
    files = {"etc/dracut.conf": "", f"{vendor}/10.conf": 'uefi="yes"\nkernel_cmdline="root=x"\n'}
    tree = host(files, StubInfo="systemd-stub 257")
    assert "dracut" in apply(tree).out and OURS in tree.get("etc/dracut.conf.d/zz-guestmemfs.conf")
    # One of the same name replaces it; one of a later name comes after ours.
    tree = host({**files, "etc/dracut.conf.d/10.conf": ""}, StubInfo="systemd-stub 257")
    assert "kernel-install" in apply(tree).out
    name = f"{vendor}/zzz.conf"
    done = refused(host({**files, name: "kernel_cmdline=root=y\n"}, StubInfo="systemd-stub 257"), DIFFERS)
    assert f"{name}\n" in done.err
