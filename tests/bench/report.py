# SPDX-License-Identifier: GPL-2.0
"""The output of a run: a table in text, a page with plots, a picture, a block of tests/bench/README.md."""

import io
import math
import os
import re
from xml.sax.saxutils import escape

import jinja2
import matplotlib

matplotlib.use("svg")
# pylint: disable=wrong-import-position
from matplotlib import pyplot, ticker  # noqa: E402

from figures import Figures, OURS, x_text  # noqa: E402
from machine import HERE  # noqa: E402

README = os.path.join(HERE, "README.md")
BEGIN, END = "<!-- begin of bench: scripts/bench writes this -->", "<!-- end of bench -->"

# Placeholders for variables of the page's style, which defines them for light and dark.
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
    """SVG, or "" if no curve has two points."""
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
    # Without the XML declaration, and scaled to the width of the page.
    svg = svg[svg.index("<svg"):]
    return re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)


def remark(line):
    words = [f"aim {line.aim()}{' missed' if line.missed else ''}"] if line.aim() else []
    if line.behind(line.best):
        words.append("BEHIND")
    return ", ".join(words)


def table(run, modules):
    """Lines of text: guestmemfs, and the best other."""
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


BARS_STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328}
.h{font-weight:600;font-size:14px}.f{fill:#59636e;font-size:12px}.page{fill:#fff}
.good{fill:#1a7f37}.bad{fill:#cf222e}.grid{stroke:#d1d9e0}.one{stroke:#1f2328;stroke-width:1.5}
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.f{fill:#9198a1}.page{fill:#0d1117}
.good{fill:#2ea043}.bad{fill:#f85149}.grid{stroke:#3d444d}.one{stroke:#f0f6fc}}
"""
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
BARS_LEFT, BARS_RIGHT, BARS_WIDTH, BARS_ROW = 410, 690, 900, 20


def key_lines(run, modules):
    """Lines of the picture and of README: those with a best other."""
    figures = Figures(run, modules)
    for module in modules:
        for line in figures.lines(module.__name__, [c for c in module.COMPARE if c.key]):
            if line.best:
                yield line


def bars(run, modules):
    """SVG: the ratio of guestmemfs to the best other, a bar for each key figure, on a log scale."""
    rows = []
    for line in key_lines(run, modules):
        ratio = line.quotient(line.best)
        if ratio:
            rows.append((line, 1 / ratio if line.compare.more else ratio))
    low = min([-1, *(math.floor(math.log10(r)) for _, r in rows)])
    high = max([1, *(math.ceil(math.log10(r)) for _, r in rows)])
    unit = (BARS_RIGHT - BARS_LEFT) / (high - low)
    top, bottom = 64, 64 + BARS_ROW * len(rows)

    def at(exponent):
        return BARS_LEFT + (exponent - low) * unit

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {BARS_WIDTH} {bottom + 34}" role="img" '
           'aria-labelledby="bars-title">',
           '<title id="bars-title">Cost of guestmemfs relative to the best other kind of guest memory</title>',
           f'<style>{BARS_STYLE}</style>', f'<rect class="page" width="{BARS_WIDTH}" height="{bottom + 34}"/>',
           '<text class="h" x="12" y="24">Cost of guestmemfs relative to the best other kind of guest memory</text>',
           '<text class="f" x="12" y="44">Ratio, log scale; the inverse where more is better. Instructions of an emulated '
           f'machine, or bytes. Linux {escape(run["kernel"].split()[0])}, {escape(run["date"][:10])}.</text>']
    for exponent in range(low, high + 1):
        kind = "one" if exponent == 0 else "grid"
        text = f"{10 ** exponent:g}" if exponent >= -1 else "10" + str(exponent).translate(SUPERSCRIPT)
        out += [f'<line class="{kind}" x1="{at(exponent):.1f}" y1="{top - 6}" x2="{at(exponent):.1f}" y2="{bottom}"/>',
                f'<text class="f" text-anchor="middle" x="{at(exponent):.1f}" y="{bottom + 18}">{text}</text>']
    for i, (line, ratio) in enumerate(rows):
        y = top + BARS_ROW * i
        x1, x2 = sorted((at(0), at(math.log10(ratio))))
        short = f"{ratio:.2f} ×" if ratio >= 0.1 else f"1/{1 / ratio:,.0f} of"
        out += [f'<text text-anchor="end" x="{BARS_LEFT - 10}" y="{y + 13}">{escape(line.compare.title)}</text>',
                f'<rect class="{"bad" if ratio > 1 else "good"}" x="{x1:.1f}" y="{y + 3}" width="{max(x2 - x1, 1.5):.1f}" '
                f'height="{BARS_ROW - 8}"/>',
                f'<text class="f" x="{BARS_RIGHT + 12}" y="{y + 13}">{short} {escape(line.best)}</text>']
    return "\n".join((*out, "</svg>")) + "\n"


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
    return env.get_template("report.html").render(run=run, sections=sections, bars=bars(run, modules),
                                                 key_lines=list(key_lines(run, modules)))


def update_readme(run, modules):
    """Replace the block between the two marks by the key figures of this run."""
    lines = [f"Linux {run['kernel']}, QEMU {run['qemu']}, commit {run['commit'][:12]}, {run['date']}; in instructions of an",
             "emulated machine, unless a unit is given. The second column is the best other kind of memory.", "",
             "| | guestmemfs | best other | | ratio |", "|---|--:|--:|---|--:|"]
    for line in key_lines(run, modules):
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
