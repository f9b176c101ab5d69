# SPDX-License-Identifier: GPL-2.0
"""A machine: started, followed through its kexecs, and judged."""

import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import termios
import time

from .common import EXIT_EMULATOR, EXIT_HANG, EXIT_KERNEL, EXIT_VM, TOP, is_debug, note
from .initramfs import build_initramfs
from .log import COMMAND_END_TIMEOUT, Tail
from .monitor import LOOK_EVERY, Events, Monitor
from .qemu import die_with_parent, escape, kvm_works, qemu_base

# Maximal length of the name of a socket, see unix(7).
SUN_PATH = 108
# How long the kernel may take to print all tasks, after which the machine ends.
PANIC_TIMEOUT = 60


class Machine:
    """QEMU with its ports, from the first boot to the result."""

    def __init__(self, args, topo, command, rundir):
        self.args = args
        self.topo = topo
        self.command = command
        self.dir = rundir
        self.accel = args.accel
        self.qemu = None
        self.ram = None
        self.boot = 0
        self.status = None
        self.failure = None
        self.hung = []
        self.tasks = []
        self.unended = set()
        self.leaks = []
        self.ctl_rest = b""
        self.monitor = Monitor(self.path("qmp"), topo.ncpus())
        self.events = Events(self.path("events"))
        self.reset = []
        self.same_output = self._same_output()

    @staticmethod
    def _same_output():
        """True for 2>&1 on the host: then one port carries both, in their order."""
        try:
            return os.path.sameopenfile(1, 2)
        except OSError:
            return False

    def path(self, name):
        return os.path.join(self.dir, name)

    def base_cmdline(self):
        words = ["console=ttyS0", "earlyprintk=ttyS0,115200", "ignore_loglevel",
                 "panic=-1", "oops=panic", f"vm.ctl={self.dir}",
                 # For Machine.find_tasks().
                 "unknown_nmi_panic", "panic_sys_info=tasks"]
        if self.accel == "tcg":
            # On a busy host, ticks are late. The kernel must not conclude that the timer or the
            # TSC, which is the host's, does not work.
            words += ["no_timer_check", "tsc=reliable"]
            if not self.args.icount:
                # Rarely, an interrupt of the timer is lost (see --parallel). Idle processors with a
                # one-shot timer would wait forever; with periodic ticks, the next one wakes them.
                words += ["nohz=off", "highres=off"]
        if not self.args.no_kho:
            words += ["kho=on", "liveupdate=on"]
            # KASAN takes an eighth of memory early. KHO wants twice that as scratch per node, and
            # once more for all nodes, which leaves little. The next kernel needs that eighth and a
            # memory map at any place with enough room; all nodes need equal room.
            if is_debug(self.args.kernel):
                sizes = [size >> 20 for size in self.topo.mem.values() if size]
                need = sum(sizes) * 9 // 64 + 256
                node = min(need // len(sizes) + 32, min(sizes) // 3)
                words += [f"kho_scratch=256M,128M,{node}M"]
        return " ".join(words)

    def write_control(self, initramfs):
        env = {"PATH": "/run/vm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh",
               "TERM": os.environ.get("TERM", "dumb") if self.args.interactive else "dumb",
               # Without a writable home, and without .pyc files in the host's tree.
               "PYTHONDONTWRITEBYTECODE": "1",
               # With another one, each program opens the locale's dozen files over 9p.
               "LANG": os.environ.get("LANG", "C.UTF-8") if self.args.interactive else "C",
               "VM_GUEST_CPU": "host"}
        if self.accel == "tcg":
            # QEMU's SVM keeps the number of an interrupt that KVM injects, and may raise it once
            # more before the guest exits: within its handler, where the guest does not expect it
            # and waits for its own lock. Without PV EOI, the end of an interrupt exits to KVM at
            # once.
            env["VM_GUEST_CPU"] += ",kvm-pv-eoi=off"
        for name in ("LC_ALL", "DEBUG"):
            if name in os.environ:
                env[name] = os.environ[name]
        for word in self.args.env:
            name, eq, value = word.partition("=")
            env[name] = value if eq else os.environ.get(name, "")
        if self.args.interactive:
            # /root is read-only: bash would complain about its history.
            env["HISTFILE"] = "/tmp/.history"
            try:
                rows, cols = struct.unpack("4H", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))[:2]
                env["VM_WINSIZE"] = f"{rows}x{cols}"
            except OSError:
                pass
        nul = lambda words: "".join(w + "\0" for w in words)
        files = {"argv": nul(self.command),
                 "env": nul(f"{k}={v}" for k, v in env.items()),
                 "cwd": os.getcwd(),
                 "dirs": "".join(f"{d}\n" for d in dict.fromkeys((os.getcwd(), TOP))),
                 "cmdline": self.base_cmdline(),
                 "kernel": self.args.kernel,
                 "next-kernel": self.args.next_kernel,
                 "initramfs": initramfs}
        for flag, name in ((self.same_output, "merge"), (self.args.interactive, "interactive"),
                           (self.args.kmemleak, "kmemleak")):
            if flag:
                files[name] = ""
        for name, text in files.items():
            with open(self.path(name), "w", encoding="utf-8", errors="surrogateescape") as f:
                f.write(text)

    def claim_ram(self):
        """What --ram names, for QEMU, or None if it does not do. Locked until QEMU has ended."""
        if not self.args.ram:
            return None
        self.ram = open(self.args.ram, "r+b")
        size = os.fstat(self.ram.fileno()).st_size
        try:
            fcntl.flock(self.ram, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if size >= self.topo.total():
                return f"/proc/self/fd/{self.ram.fileno()}"
            # The host may not have room for this machine and for the memory of those before.
            os.truncate(self.ram.fileno(), 0)
            os.truncate(self.ram.fileno(), size)
        except BlockingIOError:
            pass
        self.ram.close()
        self.ram = None
        return None

    def command_line(self, initramfs):
        args = self.args
        cmd, cpu = qemu_base(args, self.accel)
        # Above that the default of 40 bits has no room left for PCI windows.
        if self.topo.total() > 512 << 30 and self.accel == "tcg":
            cpu += ",phys-bits=46"
        # An emulated kernel would read its time from it, which is slow.
        machine = "q35,hpet=off"
        if self.topo.hole:
            machine += f",max-ram-below-4g={self.topo.hole}"
        cmd += ["-cpu", cpu, "-machine", machine] + self.topo.qemu_args(self.claim_ram())
        cmd += ["-kernel", args.kernel, "-initrd", initramfs,
                "-append", f"{self.base_cmdline()} vm.boot=1 vm.append {args.append}"]

        def to_file(name, path):
            return ["-chardev", f"file,id={name},path={escape(path)},append=on"]

        cmd += to_file("log", args.log) + ["-serial", "chardev:log"]
        # With a long TMPDIR, QEMU would not start; run without these sockets then.
        if len(self.path("events")) < SUN_PATH:
            for name in ("qmp", "events"):
                cmd += ["-qmp", f"unix:{escape(self.path(name))},server=on,wait=off"]
            # A triple fault leaves nothing in the log: the processors show where it was.
            cmd += ["-action", "shutdown=pause"]
        # Without ioeventfd, a notification is served before the write in the guest returns:
        # nothing is pending when the machine ends or executes a kernel.
        cmd += ["-device", "virtio-serial-pci,ioeventfd=off,max_ports=8"]
        if args.interactive:
            cmd += ["-chardev", "stdio,id=tty,signal=off,mux=off", "-device", "virtconsole,chardev=tty"]
        for name in ("ctl", "stdout", "stderr"):
            cmd += to_file(name, self.path(name))
            cmd += ["-device", f"virtserialport,chardev={name},name={name}"]
        for tag, path, opts in (("hostroot", "/", ",readonly=on"), ("scratch", args.scratch, "")):
            cmd += ["-fsdev", f"local,id={tag},path={escape(path)},security_model=none,multidevs=remap{opts}",
                    "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        return cmd + args.qemu_args

    def control(self, line):
        """Handles a line of the control port; returns True if it reports a boot."""
        word, _, rest = line.partition(" ")
        if word == "boot":
            self.boot = int(rest or 0)
            return True
        if word == "exit":
            self.status = int(rest)
        elif word == "init-failed":
            self.failure = f"the machine could not be set up: {rest}"
        elif word == "kmemleak":
            self.leaks.append(rest)
        return False

    def with_archive(self, initramfs, more):
        path = self.path("first.cpio")
        with open(path, "wb") as out:
            for name in (initramfs, more):
                with open(name, "rb") as f:
                    shutil.copyfileobj(f, out)
        return path

    def run(self, log):
        args = self.args
        initramfs = build_initramfs()
        if args.add_initrd:
            initramfs = self.with_archive(initramfs, args.add_initrd)
        if self.accel == "auto":
            self.accel = "kvm" if not args.icount and kvm_works(args, initramfs) else "tcg"
        self.write_control(initramfs)
        timeout = args.timeout
        if timeout is None:
            timeout = 60 if self.accel == "kvm" else 480
            if is_debug(args.kernel):
                timeout *= 3
            if args.kmemleak:
                timeout += 120
        cmd = self.command_line(initramfs)
        if args.verbose:
            note(" ".join(f"'{c}'" if re.search(r"[^\w@%+=:,./-]", c) else c for c in cmd))

        outputs = [(Tail(self.path("stdout")), 1), (Tail(self.path("stderr")), 2)]
        ctl = Tail(self.path("ctl"))
        with open(self.path("qemu.err"), "wb") as err:
            self.qemu = subprocess.Popen(
                cmd, stdin=None if args.interactive else subprocess.DEVNULL,
                stdout=None if args.interactive else err, stderr=err,
                preexec_fn=die_with_parent, pass_fds=[self.ram.fileno()] if self.ram else [])
        deadline = time.monotonic() + timeout
        look = time.monotonic() + LOOK_EVERY
        hang = False
        while True:
            ended = self.ended()
            busy, booted = self.poll(outputs, ctl, log)
            if booted:
                deadline = time.monotonic() + timeout
            if self.status is not None or self.failure is not None:
                break
            if ended and not busy:
                if self.qemu.poll() is None:
                    self.reset = self.monitor.registers()
                break
            if self.accel == "tcg" and args.parallel and time.monotonic() > look:
                self.unended = self.monitor.never_ended()
                if self.unended:
                    break
                look = time.monotonic() + LOOK_EVERY
            if not args.interactive and time.monotonic() > deadline:
                hang = True
                self.hung = self.monitor.processors()
                self.find_tasks(log)
                break
            if not busy:
                time.sleep(0.02)
        if self.status is not None:
            self.wait_for_log(log)
        self.stop()
        while self.poll(outputs, ctl, log)[0]:
            pass
        log.finish()
        return self.verdict(log, hang, timeout)

    def poll(self, outputs, ctl, log):
        """(whether there was new output, whether a boot began)"""
        booted = False
        # Control first, so that all output written before it is read after it.
        *lines, self.ctl_rest = (self.ctl_rest + ctl.read()).split(b"\n")
        busy = bool(lines)
        for line in lines:
            booted = self.control(line.decode("utf-8", "replace")) or booted
        for tail, fd in outputs:
            data = tail.read()
            busy = busy or bool(data)
            while data:
                try:
                    data = data[os.write(fd, data):]
                except BlockingIOError:
                    # The reader of this pipe reads it later.
                    time.sleep(0.01)
        return log.poll() or busy, booted

    def wait_for_log(self, log):
        """Lets the machine write the rest of its log; at power-off it writes all."""
        deadline = time.monotonic() + COMMAND_END_TIMEOUT
        while not log.ended() and not self.ended():
            if not log.poll():
                time.sleep(0.01)
            if time.monotonic() > deadline:
                self.failure = "its kernel did not write all of its log to the console"
                break

    def find_tasks(self, log):
        """Have the kernel print where its tasks are. That is not part of its log."""
        log.poll()
        first = len(log.lines)
        deadline = time.monotonic() + PANIC_TIMEOUT
        self.monitor.interrupt()
        while not self.ended() and time.monotonic() < deadline:
            if not log.poll():
                time.sleep(0.1)
        log.finish()
        self.tasks = log.tasks(first)
        del log.lines[first:]

    def ended(self):
        """Whether the machine does no more: QEMU ended, or keeps the state of a reset."""
        return self.qemu.poll() is not None or self.events.stopped()

    def stop(self):
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
        if self.qemu:
            self.qemu.wait()

    def verdict(self, log, hang, timeout):
        if self.unended:
            what = ", ".join(f"processor {cpu} sleeps in interrupt {vector}"
                             for cpu, vector in sorted(self.unended))
            note(f"failed: QEMU lost the end of an interrupt: {what}; start the machine again")
            return EXIT_EMULATOR
        for line in self.hung + self.tasks:
            print(f"vm| {line}", file=sys.stderr)
        reports = log.reports()
        for boot, lines in reports[:3]:
            note(f"the kernel of boot {boot} reported trouble:")
            for line in lines:
                print(f"vm| {line}", file=sys.stderr)
        if len(reports) > 3:
            note(f"{len(reports) - 3} more reports are in the log")
        if reports:
            note(f"failed: kernel trouble; all of the log is in {self.args.log}" if self.args.keep_log else
                 "failed: kernel trouble (--log FILE keeps the whole log)")
            return EXIT_KERNEL
        if self.leaks:
            note("failed: kmemleak found memory that nothing points to")
            for line in self.leaks:
                print(f"vm| {line}", file=sys.stderr)
            return EXIT_KERNEL
        if self.failure is not None:
            note(f"failed: {self.failure}")
            return EXIT_VM
        if self.status is not None:
            return self.status
        for line in log.lines[-25:]:
            print(f"vm| {line}", file=sys.stderr)
        if hang:
            note(f"failed: not finished {timeout} s after the start of boot {self.boot or 1} "
                 "(--timeout); above is the end of the kernel's log")
            return EXIT_HANG
        with open(self.path("qemu.err"), encoding="utf-8", errors="replace") as f:
            err = f.read().strip()
        if not self.reset and (self.qemu.returncode or not log.lines):
            note(f"failed: {self.args.qemu} ended with status {self.qemu.returncode}: {err}")
            return EXIT_EMULATOR if self.boot else EXIT_VM
        for line in self.reset:
            print(f"vm| {line}", file=sys.stderr)
        note("failed: the kernel died: the machine was reset or switched off before the command "
             "was done; above is the end of its log")
        return EXIT_KERNEL
