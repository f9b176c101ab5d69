# SPDX-License-Identifier: GPL-2.0
"""The NUMA nodes of the machine: CPUs, memory, distances."""

import re

from .common import VmError

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text):
    m = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if not m or not m.group(2):
        raise VmError(f"'{text}' is not a size; a number with K, M, G or T is, such as 2G")
    return int(m.group(1)) * UNITS[m.group(2).upper()]


def parse_cpus(text):
    cpus = []
    for part in text.split("+"):
        m = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not m:
            raise VmError(f"'{text}' is not a list of CPUs; 0-1 or 0-1+4 are")
        first = int(m.group(1))
        cpus.extend(range(first, int(m.group(2) or first) + 1))
    return cpus


class Topology:
    """Nodes with their CPUs and memory, distances, and the hole below 4 GiB."""

    def __init__(self):
        self.cpus = {}
        self.mem = {}
        self.dist = {}
        self.hole = None

    @classmethod
    def even(cls, nodes, mem, cpus):
        topo = cls()
        for n in range(nodes):
            topo.mem[n] = mem
            topo.cpus[n] = [c for c in range(cpus) if c * nodes // max(cpus, nodes) == n]
        return topo

    @classmethod
    def parse(cls, spec):
        topo = cls()
        for item in filter(None, (i.strip() for i in spec.split(";"))):
            key, _, value = item.partition("=")
            if key == "node":
                topo._parse_node(item)
            elif key == "dist":
                m = re.fullmatch(r"(\d+),(\d+),(\d+)", value)
                if not m:
                    raise VmError(f"--topology: '{item}' is not dist=A,B,D")
                a, b, d = map(int, m.groups())
                topo.dist[(a, b)] = topo.dist[(b, a)] = d
            elif key == "hole":
                topo.hole = parse_size(value)
            else:
                raise VmError(f"--topology: '{item}': items are node=, dist= and hole=")
        topo._check()
        return topo

    def _parse_node(self, item):
        fields = dict(f.partition("=")[::2] for f in item.split(","))
        unknown = set(fields) - {"node", "cpus", "mem"}
        if unknown or not fields["node"].isdigit():
            raise VmError(f"--topology: '{item}' is not node=N[,cpus=LIST][,mem=SIZE]")
        node = int(fields["node"])
        if node in self.mem:
            raise VmError(f"--topology: node {node} is given twice")
        self.mem[node] = parse_size(fields["mem"]) if fields.get("mem") else 0
        self.cpus[node] = parse_cpus(fields["cpus"]) if fields.get("cpus") else []

    def _check(self):
        if not self.mem or sorted(self.mem) != list(range(len(self.mem))):
            raise VmError("--topology: the nodes have to be 0, 1, ... without a gap")
        cpus = sorted(c for node in self.cpus.values() for c in node)
        if cpus != list(range(len(cpus))) or not cpus:
            raise VmError("--topology: the CPUs of all nodes have to be 0, 1, ..., each in one node")
        if not any(self.mem.values()):
            raise VmError("--topology: no node has memory")
        for a, b in self.dist:
            if a not in self.mem or b not in self.mem or a == b:
                raise VmError(f"--topology: dist={a},{b}: not two of the nodes")

    def total(self):
        return sum(self.mem.values())

    def ncpus(self):
        return sum(len(c) for c in self.cpus.values())

    def qemu_args(self, ram=None):
        # A socket for each CPU: the kernel warns if siblings are on two nodes.
        n = self.ncpus()
        at = 0
        args = ["-smp", f"{n},sockets={n},cores=1,threads=1", "-m", f"{self.total() >> 20}M"]
        for n, size in self.mem.items():
            node = f"node,nodeid={n}"
            if size:
                # reserve=off: the host needs memory only for pages that are touched.
                backend = f"memory-backend-ram,id=mem{n},size={size},reserve=off"
                if ram:
                    backend = f"memory-backend-file,id=mem{n},size={size},mem-path={ram},offset={at},share=on"
                    at += size
                args += ["-object", backend]
                node += f",memdev=mem{n}"
            node += "".join(f",cpus={c}" for c in self.cpus[n])
            args += ["-numa", node]
        if self.dist:
            for a in self.mem:
                for b in self.mem:
                    if a != b:
                        d = self.dist.get((a, b), 20)
                        args += ["-numa", f"dist,src={a},dst={b},val={d}"]
        return args
