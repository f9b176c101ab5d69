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
  stdout and stderr are copied to those of scripts/vm at once. The host's file
  system is its root, read-only; /tmp, /run, /mnt, /dev, /proc and /sys are the
  machine's own (the directories of the host that they hide are below
  /run/vm/host). Only the scratch folder is written to on the host.

  In its environment, VM_SCRATCH is the scratch folder (see --scratch), VM_BOOT
  is 1, and one more after each kexec, VM_GUEST_CPU is the value of -cpu for QEMU
  in the machine. PATH begins with the directory of vm-kexec.

kexec
  vm-kexec [--append STR] [--cmdline STR] [--kernel next|same] [--load-only]
  loads the next kernel with kexec handover and executes it at once; the command
  runs again there. Files in $VM_SCRATCH pass data between the runs. The machine
  ends when the command exits without a kexec under way, and its exit status is
  that of the last run. See vm-kexec --help.

topology
  --topology takes items separated by ';':
    node=N[,cpus=LIST][,mem=SIZE]  a node; all of 0..max must be given. Without
                                   cpus= it has no CPUs, without mem= no memory
    dist=A,B,D                     distance between two nodes, in both directions
                                   (10 to 254, default 20)
    hole=SIZE                      RAM below 4 GiB ends at SIZE and continues at
                                   4 GiB (default of QEMU: 2 GiB if there is more
                                   than 2.75 GiB in total)
  Linux numbers the nodes in the order of the firmware's tables, which have the
  nodes with CPUs first. So give nodes without CPUs the highest numbers: Linux
  then uses the same numbers.
  LIST is like 0-1 or 0-1+4. SIZE is a number with M, G or T. For example, a node
  without memory, a node without CPUs and a small hole:
    --topology 'node=0,cpus=0,mem=2G;node=1,cpus=1;node=2,mem=1G;dist=0,2,40;hole=1G'

exit status
  that of the command, 128+N if signal N killed it (126, 127: it could not be
  started), or
  %(kernel)d  the kernel reported a bug or a warning, or died (part of its log follows)
  %(emulator)d  QEMU lost the end of an interrupt, or died: neither the kernel nor the
       command has failed; start the machine again
  %(hang)d  the machine did not finish in time
  %(vm)d  the machine could not be run: usage, no kernel, QEMU failed
  In the last four cases, a line on stderr that begins with "vm: " is the reason.

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
                   help="CPUs in total, distributed over the nodes (default: one for each node, at least 2)")
    g.add_argument("--topology", metavar="SPEC", help="another machine, see below")
    g.add_argument("--append", default="", metavar="STR", help="append to the kernel command line")
    g.add_argument("--no-kho", action="store_true",
                   help="do not add kho=on and liveupdate=on to the kernel command line")
    g.add_argument("--nested", action="store_true", help="enable virtualization, for KVM in the machine")
    g.add_argument("--kernel", default=os.environ.get("VM_KERNEL", image), metavar="FILE",
                   help="kernel to boot (default: the built one)")
    g.add_argument("--next-kernel", metavar="FILE", help="kernel that vm-kexec loads (default: the same)")
    g.add_argument("--add-initrd", metavar="FILE",
                   help="cpio archive to append to the initial file system of each boot")
    g = p.add_argument_group("the command")
    g.add_argument("--scratch", metavar="DIR",
                   help="folder that the host and the machine can write, $VM_SCRATCH in the machine (default: a temporary one)")
    g.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]",
                   help="set NAME in the command's environment; without VALUE, to its value on the host")
    g.add_argument("--interactive", action="store_true",
                   help="run the command (default: bash) on a terminal, without a timeout")
    g.add_argument("--timeout", type=float, metavar="SECONDS", default=os.environ.get("VM_TIMEOUT"),
                   help="for each boot (default: 60 with KVM, 480 emulated; three times that for the debug kernel)")
    g = p.add_argument_group("the kernel's log")
    g.add_argument("--log", metavar="FILE", help="write the log to FILE")
    g.add_argument("--console", action="store_true", help="write the log to stderr too")
    g.add_argument("--allow-warn", action="append", default=[], metavar="REGEX",
                   help="a report with a line that matches is no failure; may be repeated")
    g.add_argument("--kmemleak", action="store_true",
                   help="when the command has ended, let kmemleak scan (DEBUG=1 kernel); a leak is a failure")
    g = p.add_argument_group("QEMU")
    g.add_argument("--accel", choices=("auto", "kvm", "tcg"), default=os.environ.get("VM_ACCEL", "auto"),
                   help="auto: KVM if a test boot shows that it runs this kernel, else emulation")
    g.add_argument("--parallel", action="store_true",
                   help="run emulated processors in parallel: finds more races, but rarely one loses its timer; "
                        "implied by --nested")
    g.add_argument("--ram", metavar="FILE",
                   help="a file of tmpfs or a memfd to have the machine's memory in, if it is large enough and no other "
                        "machine has it: one after the other, machines take fewer page faults of the host")
    g.add_argument("--icount", nargs="?", const="skip", choices=("skip", "wait"),
                   help="count instructions as time: 1 instruction is 1 ns, deterministic, slow; when idle, skip to "
                        "the next timer (default), or wait in real time")
    g.add_argument("--qemu", default=os.environ.get("VM_QEMU", "qemu-system-x86_64"), metavar="FILE")
    g.add_argument("--qemu-args", default="", metavar="STR", help="additional arguments for QEMU, split as by a shell")
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
