# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa metrics, and the alerts that read them."""

import glob
import json
import os
import re
import stat
import subprocess

import pytest
import yaml
from offline import needs, on, quiet, small_disk
from sysroot import BLOCK, GIB, MACHINES, Node
from tool import FAILED, SOURCE, USAGE, parse_metrics

pytestmark = [pytest.mark.quick, pytest.mark.offline]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", ["openmetrics", "prometheus"])
def test_metrics(make, tmp_path, machine, kind):
    nodes = [n for n in MACHINES[machine]() if n.pool]
    tree = make(MACHINES[machine]())
    if kind == "openmetrics":
        text = on(tree, "metrics").out
    else:
        file = tmp_path / "guestmemfs.prom"
        file.write_text("what was there\n")
        assert not on(tree, "metrics", "--file", str(file)).out
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert [p for p in os.listdir(tmp_path) if "prom" in p] == [file.name]
        text = file.read_text()
    families = parse_metrics(text, prometheus=kind == "prometheus")
    for name, (_, samples) in families.items():
        assert {dict(labels)["node"] for _, labels in samples} == {str(n.nid) for n in nodes}, name

    def value(name, nid, **labels):
        key = (name, tuple(sorted({"node": str(nid), **labels}.items())))
        return next(s[key] for _, s in families.values() if key in s)
    for node in nodes:
        files = node.sysfs()
        assert value("guestmemfs_pool_size_bytes", node.nid) == node.pool
        assert value("guestmemfs_pool_free_bytes", node.nid) == int(files["free_blocks"]) * BLOCK
        assert value("guestmemfs_pool_pinned_bytes", node.nid) == int(files["pinned_blocks"]) * BLOCK
        assert value("guestmemfs_alloc_failures_total", node.nid) == int(files["alloc_failures"])
        assert value("guestmemfs_moved_bytes_total", node.nid) == int(files["moved_blocks"]) * BLOCK
        assert value("guestmemfs_faults_total", node.nid, leaf="1g") == int(files["faults_pud"])
        assert value("guestmemfs_pool_free_1g_bytes", node.nid) == int(files["free_1g"]) * GIB
        states = {s: value("guestmemfs_state", node.nid, state=s)
                  for s in ("active", "frozen", "read-only", "failed", "unknown")}
        assert states.pop(node.state) == 1 and not any(states.values())


def test_metrics_of_an_unknown_state(make):
    """A newer kernel may have more of them: none of the others is a lie."""
    out = on(make([Node(0, state="draining")]), "metrics").out
    assert 'guestmemfs_state{node="0",state="unknown"} 1\n' in out and out.count("} 1\n") == 1


# What promtool takes amiss: other units than those that Prometheus has for base.
NO_BASE_UNITS = re.compile(r"_((kilo|mega|giga|kibi|mebi|gibi|tebi)(bytes?|bits?)|"
                           r"(milli|micro|nano)?seconds?_total|minutes?|hours?|[kmgt]?b|ms|us|ns|sec)(_|$)|"
                           r"(gibi|mebi)bytes")


def test_metrics_have_base_units(make, tmp_path):
    file = tmp_path / "guestmemfs.prom"
    on(make(MACHINES["4"]()), "metrics", "--file", str(file))
    text = file.read_text()
    for name, (kind, _) in parse_metrics(text, prometheus=True).items():
        assert not NO_BASE_UNITS.search(name), name
        assert (kind == "counter") == name.endswith("_total"), name


@needs("promtool")
def test_promtool(make, tmp_path):
    file = tmp_path / "guestmemfs.prom"
    on(make(MACHINES["4"]()), "metrics", "--file", str(file))
    assert not quiet("promtool", "check", "metrics", input=file.read_text())
    quiet("promtool", "check", "rules", os.path.join(SOURCE, "examples", "guestmemfs.rules.yml"))


def test_alerts():
    """There is one for each way in which nobody would notice otherwise."""
    with open(os.path.join(SOURCE, "examples", "guestmemfs.rules.yml"), encoding="utf-8") as f:
        rules = yaml.safe_load(f)["groups"][0]["rules"]
    wanted = dict.fromkeys(('state="failed"', 'state="read-only"', 'state="frozen"',
                            'state="unknown"', "pool_poisoned_bytes > 0", "alloc_failures_total",
                            "pool_free_bytes /", "node_textfile_mtime_seconds", "unless"), 0)
    for rule in rules:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule), rule
        # A gauge that is high at the first sample does not increase.
        assert "increase(" not in rule["expr"] or "_total" in rule["expr"], rule
        for part in wanted:
            wanted[part] += part in rule["expr"]
    assert all(wanted.values()), wanted


def test_metrics_are_those_of_the_examples(make):
    """Alerts and dashboard name nothing that is not there."""
    families = parse_metrics(on(make(MACHINES["4"]()), "metrics").out)
    names = {name for _, samples in families.values() for name, _ in samples}
    labels = {label for _, samples in families.values() for _, pairs in samples for label, _ in pairs}
    examples = glob.glob(os.path.join(SOURCE, "examples", "guestmemfs*"))
    assert len(examples) >= 2
    for example in examples:
        with open(example, encoding="utf-8") as f:
            text = f.read()
        used = set(re.findall(r"guestmemfs_\w+", text))
        assert used and used <= names, f"{example}: {used - names}"
        if example.endswith(".json"):
            dashboard = json.loads(text)
            expressions = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", ())]
            assert expressions
            by = {l for p in dashboard["panels"] for t in p.get("targets", ())
                  for l in re.findall(r"\{\{(\w+)\}\}", t.get("legendFormat", ""))}
            assert by <= labels | {"instance"}, by - labels


def test_metrics_file_fails(make, tmp_path):
    tree = make(MACHINES["1"]())
    on(tree, "metrics", "--file", str(tmp_path / "no" / "file"), status=FAILED)
    assert "''" in on(tree, "metrics", "--file", "", status=USAGE, cwd=tmp_path).err
    directory = tmp_path / "directory"
    directory.mkdir()
    on(tree, "metrics", "--file", str(directory), status=FAILED)
    assert sorted(os.listdir(tmp_path)) == ["directory", "tree0"]
    file = tmp_path / "file"
    file.write_text("what was there\n")
    on(make(MACHINES["16"]()), "metrics", "--file", str(file), status=FAILED,
       preexec_fn=small_disk)
    assert file.read_text() == "what was there\n"
    assert sorted(os.listdir(tmp_path)) == ["directory", "file", "tree0", "tree1"]
    on(tree, "metrics", "more", status=USAGE)


@pytest.mark.parametrize("args,start", [(["metrics", "--file"], "# HELP"), (["map", "--svg"], "<svg")])
def test_output_is_no_file(make, tmp_path, args, start):
    """A device stays one, and a link is not followed to a file that is behind it."""
    tree = make(MACHINES["1"]())
    fifo, victim = tmp_path / "fifo", tmp_path / "victim"
    os.mkfifo(fifo)
    victim.write_text("what was there\n")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    (tmp_path / "device").symlink_to("/dev/fd/1")
    with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE, text=True) as reader:
        on(tree, *args, str(fifo))
        assert reader.stdout.read().startswith(start)
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    for name in "/dev/stdout", "-":
        assert on(tree, *args, name, cwd=tmp_path).out.startswith(start)
        assert on(tree, *args, name, cwd=tmp_path).err == ""
    # Who owns the directory does not have root write to a disk.
    for name in "link", "dangling", "device":
        assert "is a symbolic link" in on(tree, *args, str(tmp_path / name), status=FAILED).err
    # What cannot be written leaves what there was.
    on(tree, *args, str(victim), status=FAILED, preexec_fn=small_disk)
    assert victim.read_text() == "what was there\n"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "device", "fifo", "link", "tree0", "victim"]


def test_parser_of_metrics_says_no():
    good = "# HELP a_x b\n# TYPE a_x gauge\na_x{n=\"1\"} 1\n# EOF\n"
    parse_metrics(good)
    for bad in (good[:-1], good.replace("# EOF\n", ""), good.replace("gauge", "junk"),
                good.replace("a_x{", "a_y{"), good.replace('"1"', "1"), good.replace("} 1", "} one"),
                good.replace("# HELP a_x b\n", ""), good.replace("gauge", "counter"),
                good.replace("a_x{n=\"1\"} 1\n", "a_x{n=\"1\"} 1\n" * 2),
                good.replace("# TYPE a_x gauge\n", ""), good.replace("} 1", "}  1")):
        with pytest.raises((AssertionError, ValueError, KeyError)):
            parse_metrics(bad)
