# SPDX-License-Identifier: GPL-2.0
"""The administrator's tool for the tests: building it, running it, judging what it prints."""

import functools
import json
import os
import re
import subprocess

import jsonschema
from conftest import TOP, make

SOURCE = os.path.join(TOP, "tools", "gmfs-numa")
SCHEMAS = os.path.join(SOURCE, "schema")
MANUALS = os.path.join(TOP, "Documentation", "man")
MANUAL_PAGES = tuple(sorted(os.listdir(MANUALS)))
PLAIN = os.path.join(TOP, "build", "gmfs-numa")
SANITIZED = os.path.join(TOP, "build", "gmfs-numa-sanitize")

OK, DIFFERS, FAILED, USAGE, NO_POOL = 0, 1, 2, 64, 69
with open(os.path.join(SOURCE, "main.c"), encoding="utf-8") as main:
    COMMANDS = tuple(re.findall(r'^\t\{ "(\w+)", cmd_\w+, ', main.read(), re.MULTILINE))
# Those that print JSON, each with a schema of its name; the tests say if one is missing.
WITH_JSON = ("status", "map", "ls", "plan", "reap", "carve", "uncarve", "compact", "get", "check", "resize",
             "handover")
# A status that nothing else has, for what sanitizers and valgrind find.
COMPLAINT = 99
SANITIZER_OPTIONS = {"ASAN_OPTIONS": f"exitcode={COMPLAINT}",
                     "UBSAN_OPTIONS": f"exitcode={COMPLAINT}:print_stacktrace=1"}
VALGRIND = ["valgrind", "-q", "--vgdb=no", f"--error-exitcode={COMPLAINT}", "--leak-check=full",
            "--errors-for-leak-kinds=definite", "--track-fds=no"]
# TOOL_VALGRIND=1: all calls of call() are those of the tool as installed, below valgrind.
UNDER_VALGRIND = os.environ.get("TOOL_VALGRIND", "0") not in ("", "0")
COMPLAINTS = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|^==\d+==", re.MULTILINE)


@functools.cache
def build(sanitize=False):
    """Path of the tool."""
    make("-C", SOURCE, *(["SANITIZE=1"] if sanitize else []))
    return os.path.join(SANITIZED if sanitize else PLAIN, "gmfs-numa")


@functools.cache
def shim_of_valgrind():
    """valgrind does not know openat2(): shim.c has another call in its place."""
    library = os.path.join(TOP, "build", "test", f"shim-{os.getpid()}.so")
    os.makedirs(os.path.dirname(library), exist_ok=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-I" + os.path.join(TOP, "include", "uapi"), "-o", library,
                    os.path.join(TOP, "tests", "numa", "shim.c")], check=True)
    return library


def manual_page(name):
    """Source of a page, or of the page that it includes."""
    with open(os.path.join(MANUALS, name), encoding="utf-8") as f:
        roff = f.read()
    included = re.search(r"^\.so man\d/(.+)$", roff, re.MULTILINE)
    return manual_page(included.group(1)) if included else roff


def plain(roff):
    """Text of a page without its macros; examples are indented, other lines are not."""
    text = re.sub(r"^\.EX\n(.*?)^\.EE$", lambda m: re.sub("(?m)^", "    ", m.group(1)), roff,
                  flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\.(TP|PP|IP|RS|RE).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\.[A-Z]+ ", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\f[BIRP]|\\&", "", text)
    return text.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")


@functools.cache
def schema(command):
    with open(os.path.join(SCHEMAS, f"{command}.json"), encoding="utf-8") as f:
        return json.load(f)


def check_json(command, text):
    """The object that the JSON text is, after it was held against the command's schema."""
    def no_duplicates(pairs):
        assert len({k for k, _ in pairs}) == len(pairs), f"a key twice: {pairs}"
        return dict(pairs)

    found = json.loads(text, object_pairs_hook=no_duplicates)
    jsonschema.Draft202012Validator(schema(command)).validate(found)
    return found


class Done:
    """What came of a call."""

    def __init__(self, args, process):
        self.args = args
        self.status = process.returncode
        self.raw = process.stdout
        self.out = process.stdout.decode("utf-8", "replace")
        self.err = process.stderr.decode("utf-8", "replace")

    def __repr__(self):
        return f"{self.args}: status {self.status}\n{self.out}{self.err}"

    def json(self):
        command = next((a for a in self.args if a in COMMANDS), "status")
        return check_json("ls" if command == "files" else command, self.out)

    def rows(self):
        """Of a table in the form of --raw and --noheadings."""
        return [line.split(" ") for line in self.out.splitlines()]


def call(args, status=OK, prefix=None, env=None, **kwargs):
    """Runs the tool, and fails if the status is another or a sanitizer complains.

    With status=None it may be any that it has for errors.
    """
    options = dict(SANITIZER_OPTIONS)
    if UNDER_VALGRIND and prefix is None:
        prefix = [*VALGRIND, "--trace-children=yes", build()]
        env = {"LD_PRELOAD": shim_of_valgrind(), "SHIM_OPENAT2": "1", **(env or {})}
    command = [*(prefix or [build(sanitize=True)]), *args]
    if status != OK:
        # Who gives up in the middle of something does not tidy up before.
        options["ASAN_OPTIONS"] += ":detect_leaks=0"
        if VALGRIND[0] in command:
            command.insert(command.index(VALGRIND[0]) + len(VALGRIND), "--leak-check=no")
    done = subprocess.run(command, check=False, stdin=kwargs.pop("stdin", subprocess.DEVNULL),
                          stdout=kwargs.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
                          env={**os.environ, "LC_ALL": "C.UTF-8", **options,
                               **(env or {})}, **kwargs)
    done.stdout = done.stdout or b""
    result = Done(args, done)
    assert not COMPLAINTS.search(result.err), result
    assert result.status == status if status is not None else \
        result.status in (OK, DIFFERS, FAILED, USAGE, NO_POOL), result
    return result


# --- OpenMetrics, as its specification (1.0) has it; what we print, not all of it ---

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? ([-+0-9.eE]+|NaN|[+-]Inf)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,(?=.)|$)')


def parse_metrics(text, prometheus=False):
    """{family: (type, {(sample's name, labels): value})}, or an AssertionError.

    With prometheus the text format 0.0.4, in which a counter's family is named as its
    samples are and there is no end mark.
    """
    families, current = {}, None
    assert text.endswith("\n"), "the last line has no end"
    lines = text[:-1].split("\n")
    if not prometheus:
        assert lines.pop() == "# EOF", "no '# EOF' at the end"
    for line in lines:
        assert line and line == line.strip(), f"'{line}'"
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            assert what in ("HELP", "TYPE") and re.fullmatch(NAME, name), line
            if name != current:
                assert name not in families, f"{name} is torn apart"
                families[name] = [None, {}, None]
                current = name
            family = families[name]
            assert not family[1], f"behind the samples: {line}"
            if what == "TYPE":
                assert family[0] is None and rest in ("gauge", "counter"), line
                family[0] = rest
                if not prometheus:
                    assert not (rest == "counter" and name.endswith("_total")), line
            else:
                assert family[2] is None and rest, line
                family[2] = rest
            continue
        found = SAMPLE.match(line)
        assert found, f"no sample: {line}"
        name, labels, value = found.groups()
        family = families[current]
        assert family[0], f"no type: {line}"
        suffix = "_total" if family[0] == "counter" and not prometheus else ""
        assert name == current + suffix, f"in the family {current}: {line}"
        pairs, at = [], 0
        while labels and at < len(labels):
            label = LABEL.match(labels, at)
            assert label, f"labels: {line}"
            pairs.append(label.groups())
            at = label.end()
        assert len({k for k, _ in pairs}) == len(pairs), f"a label twice: {line}"
        key = (name, tuple(sorted(pairs)))
        assert key not in family[1], f"twice: {line}"
        assert family[0] != "counter" or float(value) >= 0, line
        family[1][key] = float(value)
    for name, (kind, _, about) in families.items():
        assert kind and about, f"{name} has no type or no help"
    return {name: (kind, samples) for name, (kind, samples, _) in families.items()}
