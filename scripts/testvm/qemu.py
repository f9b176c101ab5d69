# SPDX-License-Identifier: GPL-2.0
"""QEMU's command line as far as it is independent of the machine, and the test of KVM."""

import ctypes
import json
import os
import signal
import subprocess

from .common import BUILD, atomic_write, note


def escape(path):
    """Escapes a value for an option of QEMU, where a comma separates."""
    return path.replace(",", ",,")


def die_with_parent():
    """Runs in the child: QEMU does not outlive this script."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def qemu_base(args, accel):
    cmd = [args.qemu, "-no-user-config", "-nodefaults", "-no-reboot", "-display", "none"]
    if accel == "kvm":
        cmd += ["-accel", "kvm"]
        cpu = "host"
    else:
        cmd += ["-accel", "tcg,thread=" + ("multi" if args.parallel else "single")]
        # Not "max": five levels of page tables make emulation slower. This one
        # has 1 GiB pages.
        cpu = "EPYC,+svm" if args.nested else "EPYC"
    if args.icount:
        cmd += ["-icount", f"shift=0,sleep={'on' if args.icount == 'wait' else 'off'}"]
    return cmd, cpu


def fingerprint(path):
    st = os.stat(path)
    return f"{os.path.realpath(path)}:{st.st_size}:{st.st_mtime_ns}"


def kvm_works(args, initramfs):
    """True if KVM runs this kernel, by a test boot."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    # Includes the boot id of the host: build/ may be shared by machines.
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        boot_id = f.read().strip()
    key = "|".join([fingerprint(args.kernel), fingerprint(args.qemu), boot_id])
    cache = os.path.join(BUILD, "vm", "kvm.json")
    try:
        with open(cache, encoding="utf-8") as f:
            verdicts = json.load(f)
    except (OSError, ValueError):
        verdicts = {}
    if key in verdicts:
        return verdicts[key]

    cmd, cpu = qemu_base(args, "kvm")
    cmd += ["-cpu", cpu, "-machine", "q35", "-m", "512M", "-serial", "stdio",
            "-kernel", args.kernel, "-initrd", initramfs,
            "-append", "console=ttyS0 panic=-1 vm.probe"]
    try:
        out = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, timeout=15, check=False,
                             preexec_fn=die_with_parent).stdout
    except subprocess.TimeoutExpired as e:
        out = e.stdout or b""
    works = b"vm-probe-ok" in out
    verdicts = dict(list(verdicts.items())[-20:])
    verdicts[key] = works
    atomic_write(cache, json.dumps(verdicts, indent=1).encode())
    if not works:
        note("/dev/kvm is there and does not run this kernel: the processor is emulated (slow)")
    return works
