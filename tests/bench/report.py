# SPDX-License-Identifier: GPL-2.0
"""What a run is shown as: a table in text, a page with plots, a block of tests/bench/README.md."""

import io
import os
import re

import jinja2
import matplotlib

matplotlib.use("svg")
# pylint: disable=wrong-import-position
from matplotlib import pyplot, ticker  # noqa: E402

from figures import Figures, OURS, x_text  # noqa: E402
from machine import HERE  # noqa: E402

README = os.path.join(HERE, "README.md")
BEGIN, END = "<!-- begin of bench: scripts/bench writes this -->", "<!-- end of bench -->"

# Colours stand for variables of the page's style, which has them for light and for dark.
INK = "#010203"
SERIES = [f"#0a0b{n:02x}" for n in range(12)]


def as_variables(svg):
    svg = svg.replace(INK, "var(--ink)")
    return re.sub(r"#0a0b([0-9a-f]{2})", lambda m: f"var(--series-{int(m.group(1), 16)})", svg)


def curves(figures, bench, plot):
    for peer in plot.peers or figures.peers(bench, plot.what, plot.unit):
        points = figures.curve(bench, peer, plot.what, plot.unit)
        if points:
            yield peer, points


def draw(figures, bench, plot, colours):
    """SVG, or "" if there is nothing to be drawn."""
    lines = list(curves(figures, bench, plot))
    if not any(len(points) > 1 for _, points in lines):
        return ""
    style = {"svg.fonttype": "none", "svg.hashsalt": plot.title, "font.family": "sans-serif",
             "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
             "ytick.color": INK, "grid.color": INK, "grid.alpha": 0.15, "font.size": 10,
             "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(style):
        fig, ax = pyplot.subplots(figsize=(7.2, 3.8))
        for peer, points in lines:
            colour = SERIES[colours.setdefault(peer, len(colours) % len(SERIES))]
            xs = [x for x, _ in points]
            ys = [f.value / plot.scale for _, f in points]
            low = [(f.value - min(f.values)) / plot.scale for _, f in points]
            high = [(max(f.values) - f.value) / plot.scale for _, f in points]
            ours = peer.startswith(OURS)
            ax.errorbar(xs, ys, yerr=[low, high], color=colour, label=peer, capsize=2, marker="o",
                        markersize=4, linewidth=2.4 if ours else 1.2, zorder=3 if ours else 2)
        if plot.log:
            ax.set_xscale("log", base=2)
            ax.set_yscale("symlog" if any(f.value <= 0 for _, p in lines for _, f in p) else "log")
        else:
            ax.set_ylim(bottom=0, top=1.1 * max(f.value / plot.scale for _, p in lines for _, f in p))
        ticks = sorted({x for _, points in lines for x, _ in points})
        ax.set_xticks(ticks, [x_text(x) for x in ticks], rotation=0 if len(ticks) < 8 else 45)
        ax.xaxis.set_minor_locator(ticker.NullLocator())
        ax.set_xlabel(plot.xlabel)
        ax.set_ylabel(plot.ylabel)
        ax.grid(True)
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
        out = io.StringIO()
        fig.savefig(out, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        pyplot.close(fig)
    svg = as_variables(out.getvalue())
    # Without the head of a file of its own, and as wide as there is room.
    svg = svg[svg.index("<svg"):]
    return re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)


def remark(line):
    words = [f"aim {line.aim()}{' missed' if line.missed else ''}"] if line.aim() else []
    if line.behind(line.best):
        words.append("BEHIND")
    return ", ".join(words)


def table(run, modules):
    """Lines of text: guestmemfs, and the best of the others."""
    figures = Figures(run, modules)
    rows = [("", OURS, "best other", "", "ratio", "")]
    for module in modules:
        for line in figures.lines(module.__name__, module.COMPARE):
            if not line.best:
                continue
            rows.append((line.compare.title, line.ours.text(), line.theirs[line.best].text(), line.best,
                         line.ratio(line.best), remark(line)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.rjust(w) if i in (1, 2, 4) else cell.ljust(w)
                        for i, (cell, w) in enumerate(zip(row, widths))).rstrip()


def page(run, modules):
    figures = Figures(run, modules)
    colours = {OURS: 0}
    sections = []
    for module in modules:
        name = module.__name__
        if not any(key[0] == name for key in figures.all):
            continue
        plots = [(p.title, draw(figures, name, p, colours)) for p in module.PLOTS]
        lines = list(figures.lines(name, module.COMPARE))
        sections.append({"name": name, "about": module.__doc__.rstrip("."), "notes": module.NOTES, "lines": lines,
                         "peers": list(dict.fromkeys(peer for line in lines for peer in line.theirs)),
                         "plots": [p for p in plots if p[1]],
                         "figures": [(key, f) for key, f in figures.all.items() if key[0] == name],
                         "machines": [m for m in run["machines"] if m["bench"] == name]})
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True,
                             trim_blocks=True, lstrip_blocks=True)
    env.filters["x"] = x_text
    return env.get_template("report.html").render(run=run, sections=sections)


def update_readme(run, modules):
    """The block between the two marks is of this run."""
    figures = Figures(run, modules)
    lines = [f"Linux {run['kernel']}, QEMU {run['qemu']}, commit {run['commit'][:12]}, {run['date']}; in instructions of an",
             "emulated machine, unless it says otherwise. The second column is the best of the others for that line.", "",
             "| | guestmemfs | best other | | ratio |", "|---|--:|--:|---|--:|"]
    for module in modules:
        for line in figures.lines(module.__name__, [c for c in module.COMPARE if c.key]):
            if not line.best:
                continue
            lines.append(f"| {line.compare.title} | {line.ours.text()} | {line.theirs[line.best].text()} | "
                         f"{line.best} | {line.ratio(line.best)} |")
    with open(README, encoding="utf-8") as f:
        text = f.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{README} has to have one line '{BEGIN}' and one '{END}' after it")
    head, rest = text.split(BEGIN)
    new = head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1]
    if new != text:
        with open(README, "w", encoding="utf-8") as f:
            f.write(new)
