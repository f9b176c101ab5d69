# SPDX-License-Identifier: GPL-2.0
"""Options, help, and their check."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys

from .common import EXIT_EMULATOR, EXIT_HANG, EXIT_KERNEL, EXIT_VM, TOP, VmError, is_debug, note
from .topology import Topology, parse_size

DESCRIPTION = "Run a command in a virtual machine with NUMA nodes, on the built kernel."

EPILOG = r"""
the command
  runs as root, in the caller's working directory. Its stdin is /dev/null; its
  stdout and stderr come out here as they are written. The host's file system
  is its root, read-only; /tmp, /run, /mnt, /dev, /proc and /sys are the
  machine's own (what they hide of the host is below /run/vm/host). Only the
  scratch folder is written to on the host.

  In its environment: VM_SCRATCH is the scratch folder (see --scratch), VM_BOOT
  is 1, and one more after each kexec. VM_GUEST_CPU is what QEMU in the machine
  should have for -cpu. PATH has vm-kexec in front.

kexec
  vm-kexec [--append STR] [--cmdline STR] [--kernel next|same] [--load-only]
  loads the next kernel with kexec handover and executes it at once; the command
  runs again there. What the runs have to tell each other goes into $VM_SCRATCH.
  The machine ends when the command exits without a kexec under way, and its
  exit status is the one of the last run. vm-kexec --help says more.

topology
  --topology takes items separated by ';':
    node=N[,cpus=LIST][,mem=SIZE]  a node, all of 0..max have to be given; no
                                   cpus= or no mem= means a node without
    dist=A,B,D                     distance between two nodes, both ways (10 to
                                   254; what is not given is 20)
    hole=SIZE                      RAM below 4 GiB ends at SIZE and goes on at
                                   4 GiB (QEMU by itself: 2 GiB if there is more
                                   than 2.75 GiB in all)
  Linux numbers the nodes in the order of the firmware's tables, which have the
  nodes with CPUs first: give nodes without CPUs the highest numbers, or Linux
  has other numbers than you.
  LIST is like 0-1 or 0-1+4. SIZE is a number with M, G or T. For example, a node
  without memory, a node without CPUs and a small hole:
    --topology 'node=0,cpus=0,mem=2G;node=1,cpus=1;node=2,mem=1G;dist=0,2,40;hole=1G'

exit status
  the command's own, 128+N if signal N killed it (126, 127: it could not be
  started), or
  %(kernel)d  the kernel reported a bug or a warning, or died (part of its log follows)
  %(emulator)d  QEMU lost the end of an interrupt: nothing is said about the kernel or
       the command; start the machine again
  %(hang)d  the machine did not finish in time
  %(vm)d  the machine could not be run: usage, no kernel, QEMU failed
  In the last four cases a line on stderr that begins with "vm: " says so.

environment
  DEBUG=1       the default kernel is the debug kernel (build/kernel-debug)
  LINUX=7.2     the default kernel is the one of this version (build/kernel-7.2)
  VARIANT=gcov  the default kernel is of this variant (build/kernel-gcov)
  VM_COVERAGE   a folder for the counters of such a kernel, see scripts/coverage
  VM_KERNEL     default of --kernel
  VM_ACCEL      default of --accel
  VM_QEMU       default of --qemu
  VM_TIMEOUT    default of --timeout

examples
  scripts/vm --nodes 2 --mem 2G --append 'guestmemfs=0:1G,1:1G' -- \
      sh -c 'mount -t guestmemfs -o node=1 none /mnt && df /mnt'
  scripts/vm -- sh -c 'echo boot $VM_BOOT; [ $VM_BOOT = 3 ] || vm-kexec'
  scripts/vm --nodes 4 --interactive
""" % {"kernel": EXIT_KERNEL, "emulator": EXIT_EMULATOR, "hang": EXIT_HANG, "vm": EXIT_VM}


def parse_args(argv):
    command = []
    if "--" in argv:
        cut = argv.index("--")
        argv, command = argv[:cut], argv[cut + 1:]

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            self.print_usage(sys.stderr)
            note(f"{message}; see scripts/vm --help")
            sys.exit(EXIT_VM)

    image = subprocess.run([os.path.join(TOP, "scripts", "kernel"), "--image"], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.strip()
    p = Parser(prog="scripts/vm", description=DESCRIPTION, epilog=EPILOG,
               usage="%(prog)s [options] -- COMMAND [ARG...]",
               formatter_class=argparse.RawDescriptionHelpFormatter)
    g = p.add_argument_group("the machine")
    g.add_argument("--nodes", type=int, metavar="N", help="NUMA nodes (default: 1)")
    g.add_argument("--mem", metavar="SIZE", help="memory of each node (default: 2G)")
    g.add_argument("--cpus", type=int, metavar="N",
                   help="CPUs in all, spread over the nodes (default: one for each node, at least 2)")
    g.add_argument("--topology", metavar="SPEC", help="any other machine, see below")
    g.add_argument("--append", default="", metavar="STR", help="add to the kernel command line")
    g.add_argument("--no-kho", action="store_true",
                   help="without the kho=on and liveupdate=on that every boot has")
    g.add_argument("--nested", action="store_true", help="a processor with virtualization, for KVM inside")
    g.add_argument("--kernel", default=os.environ.get("VM_KERNEL", image), metavar="FILE",
                   help="kernel to boot (default: the built one)")
    g.add_argument("--next-kernel", metavar="FILE", help="kernel that vm-kexec loads (default: the same)")
    g.add_argument("--add-initrd", metavar="FILE",
                   help="cpio archive that each boot's first file system has as well")
    g = p.add_argument_group("the command")
    g.add_argument("--scratch", metavar="DIR",
                   help="folder that both sides write to, $VM_SCRATCH inside (default: a temporary one)")
    g.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]",
                   help="set NAME in the command's environment, or take it from here")
    g.add_argument("--interactive", action="store_true",
                   help="the command (default: bash) gets a terminal; there is no timeout")
    g.add_argument("--timeout", type=float, metavar="SECONDS", default=os.environ.get("VM_TIMEOUT"),
                   help="for each boot (default: 60 with KVM, 240 emulated; three times that for the debug kernel)")
    g = p.add_argument_group("the kernel's log")
    g.add_argument("--log", metavar="FILE", help="keep it there")
    g.add_argument("--console", action="store_true", help="show it on stderr while it is written")
    g.add_argument("--allow-warn", action="append", default=[], metavar="REGEX",
                   help="a report with a line that matches is expected and no failure; may be repeated")
    g.add_argument("--kmemleak", action="store_true",
                   help="when the command is done let kmemleak scan (DEBUG=1 kernel), and fail if it finds any leak")
    g = p.add_argument_group("QEMU")
    g.add_argument("--accel", choices=("auto", "kvm", "tcg"), default=os.environ.get("VM_ACCEL", "auto"),
                   help="auto: KVM if it is proved to run this kernel, else emulation")
    g.add_argument("--parallel", action="store_true",
                   help="emulated processors run at the same time, which finds more races, but rarely one loses "
                        "its timer; --nested has it as well")
    g.add_argument("--icount", nargs="?", const="skip", choices=("skip", "wait"),
                   help="count instructions as time: 1 instruction is 1 ns, deterministic, slow; idle, skip to the "
                        "next timer (the default), or wait as long as that is in real time")
    g.add_argument("--qemu", default=os.environ.get("VM_QEMU", "qemu-system-x86_64"), metavar="FILE")
    g.add_argument("--qemu-args", default="", metavar="STR", help="more arguments, split as by a shell")
    g.add_argument("--verbose", action="store_true", help="print QEMU's command line")
    args = p.parse_args(argv)

    if not command:
        if not args.interactive:
            p.error("no command: '-- COMMAND' is missing")
        command = ["/bin/bash"]
    return args, command


def check_args(args):
    if args.topology:
        if args.nodes is not None or args.mem is not None or args.cpus is not None:
            raise VmError("--topology stands for itself, without --nodes, --mem and --cpus")
        topo = Topology.parse(args.topology)
    else:
        nodes = 1 if args.nodes is None else args.nodes
        cpus = max(2, nodes) if args.cpus is None else args.cpus
        if not 1 <= nodes <= 64 or not 1 <= cpus <= 64:
            raise VmError("--nodes and --cpus take 1 to 64, as the kernel is built for")
        topo = Topology.even(nodes, parse_size(args.mem or "2G"), cpus)
    if args.accel == "kvm" and args.icount:
        raise VmError("--icount needs emulation, not --accel kvm")
    if args.parallel and args.icount:
        raise VmError("--icount counts the instructions of one processor after the other, not of --parallel ones")
    # A guest needs most of a processor; the host has things to do as well.
    args.parallel = args.parallel or (args.nested and not args.icount)
    if args.timeout is not None and args.timeout <= 0:
        raise VmError("--timeout takes a number of seconds above 0")
    args.next_kernel = args.next_kernel or args.kernel
    for name in ("kernel", "next_kernel"):
        path = os.path.abspath(getattr(args, name))
        if not os.path.exists(path):
            raise VmError(f"there is no kernel {path}; 'make kernel' builds one"
                          + (" (DEBUG=1: the debug kernel)" if is_debug(path) else ""))
        setattr(args, name, path)
    qemu = shutil.which(args.qemu)
    if not qemu:
        raise VmError(f"there is no program {args.qemu} (Debian: qemu-system-x86)")
    args.qemu = qemu
    args.qemu_args = shlex.split(args.qemu_args)
    try:
        args.allow_warn = [re.compile(r) for r in args.allow_warn]
    except re.error as e:
        raise VmError(f"--allow-warn: {e}") from None
    return topo
