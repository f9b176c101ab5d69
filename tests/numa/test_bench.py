# SPDX-License-Identifier: GPL-2.0
"""The benchmark's report, from made-up figures and from the last full run; no machine is started."""

import glob
import json
import os
import re
import statistics
import subprocess

import pytest

from conftest import TOP

GIB = 1 << 30


def bench(*args):
    return subprocess.run([os.path.join(TOP, "scripts", "bench"), *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


def row(peer, what, x, *values, unit="instructions"):
    return {"peer": peer, "what": what, "x": x, "unit": unit, "values": values}


@pytest.fixture(scope="module", name="result")
def result_of(tmp_path_factory):
    rows = [row("guestmemfs", "launch", GIB, 30000, 40000, 50000), row("hugetlbfs-1g", "launch", GIB, 80e6),
            row("memfd-4k", "launch", GIB, 160e6),
            row("guestmemfs", "release", GIB, 500), row("hugetlbfs-1g", "release", GIB, 400),
            row("guestmemfs", "launch", 4 * GIB, 60000), row("hugetlbfs-1g", "launch", 4 * GIB, 320e6)]
    overhead = [row(peer, what, x, value, unit="bytes")
                for peer, x, memory, kernel, metadata in (("without", 0, 100 * GIB, 99 * GIB, 0),
                                                          ("guestmemfs", 32 * GIB, 132 * GIB, 99 * GIB, 64 << 10),
                                                          ("hugetlbfs-2m", 32 * GIB, 132 * GIB, 130 * GIB, 0))
                for what, value in (("memory", memory), ("kernel-memory", kernel), ("metadata", metadata))]
    overhead += [row("without", "boot", 0, 10e6), row("guestmemfs", "boot", 32 * GIB, 42e6),
                 row("hugetlbfs-2m", "boot", 32 * GIB, 330e6)]
    path = tmp_path_factory.mktemp("bench") / "figures.json"
    path.write_text(json.dumps({
        "date": "2026-01-02 03:04 UTC", "kernel": "7.3.0", "qemu": "10.0.0", "commit": "0123456789abcdef", "changed": False,
        "quick": False, "skipped": ["launch peers 16G"],
        "machines": [{"bench": "launch", "name": "one", "command": "scripts/vm one", "wall": 1, "rows": rows},
                     {"bench": "overhead", "name": "two", "command": "scripts/vm two", "wall": 1, "rows": overhead}]}))
    done = bench("--report", str(path))
    assert done.returncode == 0, done.stderr
    with open(os.path.join(TOP, "build", "bench", "report.html"), encoding="utf-8") as f:
        return done.stdout, f.read()


def test_table_has_the_best_of_the_others(result):
    assert re.search(r"^Launch, 1 GiB +40 k +80 M +hugetlbfs-1g +0\.0005$", result[0], re.MULTILINE), result[0]


def test_behind_is_said(result):
    table, page = result
    assert re.search(r"^Release, 1 GiB +500 +400 +hugetlbfs-1g +1\.25 +BEHIND$", table, re.MULTILINE), table
    behind = page[page.index("<h2>Where guestmemfs is behind</h2>"):page.index('<h2 id="launch">')]
    assert re.search(r">Release, 1 GiB</a></td>.*?500</td>\s*<td[^>]*>400</td><td>hugetlbfs-1g</td><td>[^<]+</td>",
                     behind, re.DOTALL), behind
    assert "Launch, 1 GiB" not in behind


def test_page_begins_with_the_ratios(result):
    page = result[1]
    assert page.index('<figure class="bars">') < page.index("<h2>Headlines</h2>") < page.index("<h2>Where guestmemfs")
    # Key figures only, and those that have a ratio.
    picture = re.search(r"<svg.*?</svg>", page, re.DOTALL).group()
    assert re.search(r">Launch, 1 GiB</text>\s*<rect class=\"good\"[^>]*>\s*<text[^>]*>1/2,000 of hugetlbfs-1g<", picture)
    assert "Release" not in picture and "Boot" not in picture


def test_runs_that_differ_are_shown_by_their_range(result):
    page = result[1]
    assert "30 k to 50 k in 3 runs" in page
    assert not [spread for spread in re.findall(r"±([\d.]+)%", page) if float(spread) > 5]


def test_runs_that_differ_are_explained():
    """The notes of a benchmark say why its runs differ by more than 5 % although instructions are counted."""
    newest = max(glob.glob(os.path.join(TOP, "bench", "results", "*.json")))
    with open(newest, encoding="utf-8") as f:
        machines = json.load(f)["machines"]
    differ = set()
    for machine in machines:
        if " --icount " not in machine["command"]:
            continue
        for values in (row["values"] for row in machine["rows"]):
            middle = abs(statistics.median(values))
            if len(values) > 1 and middle and (max(values) - min(values)) / 2 / middle > 0.05:
                differ.add(machine["bench"])
    assert differ
    for bench in differ:
        with open(os.path.join(TOP, "tests", "bench", f"{bench}.py"), encoding="utf-8") as f:
            notes = re.search(r"^NOTES = \((.*?)^\)", f.read(), re.MULTILINE | re.DOTALL).group(1)
        assert re.search(r"\bruns?\b[^.]* differs?\b|\bdiffer\b[^.]* runs?\b", re.sub(r'"\s+"', "", notes),
                         re.IGNORECASE), bench


def test_committed_picture_is_of_the_last_full_run():
    newest = max(glob.glob(os.path.join(TOP, "bench", "results", "*.json")))
    code = ("import importlib, json, sys; sys.path.insert(0, 'tests/bench'); import report; run = json.load(open(sys.argv[1]));"
            "names = dict.fromkeys(m['bench'] for m in run['machines']);"
            "sys.stdout.write(report.bars(run, [importlib.import_module(n) for n in sys.argv[2].split(',') if n in names]))")
    with open(os.path.join(TOP, "scripts", "bench"), encoding="utf-8") as f:
        names = ",".join(re.findall(r'"(\w+)"', re.search(r"^MODULES = \((.*)\)", f.read(), re.MULTILINE).group(1)))
    done = subprocess.run(["/usr/bin/python3", "-B", "-c", code, newest, names], cwd=TOP, stdout=subprocess.PIPE, text=True, check=True)
    with open(os.path.join(TOP, "bench", "ratios.svg"), encoding="utf-8") as f:
        assert f.read() == done.stdout, "bench/ratios.svg is out of date: run scripts/bench --report"


def test_memory_lost(result):
    # 64 KiB of records for 32 GiB; and 1 GiB of struct pages, which a machine without the 32 GiB does not have.
    assert re.search(r"^Memory lost, per GiB of 32 +2 KiB +32 MiB +hugetlbfs-2m ", result[0], re.MULTILINE), result[0]
    assert re.search(r"^Boot, per GiB of 32 that is added +1 M +10 M +hugetlbfs-2m +0\.10$", result[0],
                     re.MULTILINE), result[0]


def test_page_is_for_light_and_dark(result):
    page = result[1]
    assert "prefers-color-scheme: dark" in page
    bars, *plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert "prefers-color-scheme:dark" in bars
    assert plots
    for plot in plots:
        # Colours are variables of the page's style: those of matplotlib suit only one of the two.
        colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", plot))
        assert colours <= {"none"} | {c for c in colours if c.startswith("var(--")}, colours


def test_page_names_what_was_left_out_and_the_commands(result):
    assert "launch peers 16G" in result[1]
    assert "scripts/vm one" in result[1]


@pytest.mark.parametrize("args, text", [
    (["--only", "launch,lunch"], "'lunch' is not one of launch, "),
    (["--jobs", "0"], "--jobs needs a number of machines above 0"),
    (["--kernel", "/nowhere"], "there is no kernel /nowhere"),
    (["--report", "/nowhere.json"], "No such file or directory: '/nowhere.json'"),
])
def test_bad_input(args, text):
    done = bench(*args)
    assert done.returncode != 0
    assert text in done.stderr
    assert "Traceback" not in done.stderr
