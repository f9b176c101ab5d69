# SPDX-License-Identifier: GPL-2.0
"""The figures of a run, and their comparison."""

import dataclasses
import statistics

from machine import GIB, KIB, MIB, TIB

OURS = "guestmemfs"
# Runs that differ more are shown by their range, which a "±" would not describe.
SPREAD_MAX = 0.05


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured quantity, in some runs."""

    values: tuple
    unit: str
    command: str

    @property
    def value(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        """Half of the range, relative to the median; None for one run."""
        if len(self.values) < 2:
            return None
        return (max(self.values) - min(self.values)) / 2 / abs(self.value) if self.value else 0.0

    def text(self):
        return amount(self.value, self.unit)

    def spread_text(self):
        if self.spread is None:
            return "one run"
        if self.spread > SPREAD_MAX:
            return (f"{amount(min(self.values), self.unit)} to {amount(max(self.values), self.unit)}"
                    f" in {len(self.values)} runs")
        return f"±{self.spread:.1%} of {len(self.values)} runs"


@dataclasses.dataclass(frozen=True)
class Compare:
    """A line of a table: guestmemfs, and each peer that has the figure."""

    title: str
    what: str
    x: int
    peers: tuple            # names
    unit: str = "instructions"
    aim: float = None       # for guestmemfs, in the unit
    ours: str = OURS
    more: bool = False      # more is better
    ours_at: int = None     # x of guestmemfs, if it differs
    key: bool = False       # also in tests/bench/README.md and in the picture
    why: str = ""           # cause, where guestmemfs is behind


@dataclasses.dataclass(frozen=True)
class Plot:
    """Cost against size, a line for each peer."""

    title: str
    what: str
    xlabel: str
    ylabel: str
    unit: str = "instructions"
    peers: tuple = ()       # all if empty
    scale: float = 1
    log: bool = True


@dataclasses.dataclass(frozen=True)
class Line:
    """The result of a Compare."""

    compare: Compare
    ours: Figure
    theirs: dict            # {peer: Figure}, not empty

    def better(self, a, b):
        return a > b if self.compare.more else a < b

    @property
    def best(self):
        """The best peer; None if guestmemfs is only compared with another use of itself."""
        others = [peer for peer in self.theirs if not peer.startswith(OURS)]
        pick = max if self.compare.more else min
        return pick(others, key=lambda peer: self.theirs[peer].value) if others else None

    def behind(self, peer):
        return not peer.startswith(OURS) and self.better(self.theirs[peer].value, self.ours.value)

    @property
    def missed(self):
        """True if there is an aim and it is not reached."""
        return self.compare.aim is not None and self.better(self.compare.aim, self.ours.value)

    def quotient(self, peer):
        """None if a figure is negative, or that of the peer is zero."""
        a, b = self.ours.value, self.theirs[peer].value
        return None if a < 0 or b <= 0 else a / b

    def ratio(self, peer):
        value = self.quotient(peer)
        if value is None:
            return "-"
        return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"

    def aim(self):
        return "" if self.compare.aim is None else amount(self.compare.aim, self.ours.unit)


class Figures:
    def __init__(self, run, modules):
        self.all = {}
        for machine in run["machines"]:
            for row in machine["rows"]:
                self.add(machine["bench"], row, machine["command"])
        for module in modules:
            for row, command in module.derive(self):
                self.add(module.__name__, row, command)

    def add(self, bench, row, command):
        """If a machine has measured the same before, these are more runs."""
        key = bench, row["peer"], row["what"], row["x"], row["unit"]
        before = self.all[key].values if key in self.all else ()
        self.all[key] = Figure(before + tuple(row["values"]), row["unit"], command)

    def get(self, bench, peer, what, x, unit="instructions"):
        return self.all.get((bench, peer, what, x, unit))

    def curve(self, bench, peer, what, unit="instructions"):
        """[(x, figure)] by rising x"""
        return sorted(((key[3], f) for key, f in self.all.items()
                       if key[:3] == (bench, peer, what) and key[4] == unit), key=lambda item: item[0])

    def peers(self, bench, what, unit="instructions"):
        found = dict.fromkeys(key[1] for key in self.all
                              if key[0] == bench and key[2] == what and key[4] == unit)
        return sorted(found, key=lambda peer: not peer.startswith(OURS))

    def lines(self, bench, compares):
        for c in compares:
            ours = self.get(bench, c.ours, c.what, c.ours_at or c.x, c.unit)
            theirs = {peer: self.get(bench, peer, c.what, c.x, c.unit) for peer in c.peers}
            theirs = {peer: figure for peer, figure in theirs.items() if figure}
            if ours and theirs:
                yield Line(c, ours, theirs)


def amount(value, unit):
    """With a prefix: 1.2 M, 4 KiB."""
    if unit == "bytes":
        for size, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if abs(value) >= size:
                return f"{value / size:.4g} {name}"
        return f"{value:.4g} B"
    if unit == "ns":
        return f"{value / 1e6:.4g} ms"
    if unit == "percent":
        return f"{value:.1f} %"
    if unit == "instructions":
        for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:.4g} {name}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def x_text(x):
    """An x: an amount of memory, or a number."""
    return amount(x, "bytes") if x >= MIB and x % MIB == 0 else f"{x:,}"
