# SPDX-License-Identifier: GPL-2.0
"""Configurations of kernels for hosts: what is missing is named, before anything is built."""

import os
import subprocess

import pytest
from conftest import TOP

pytestmark = [pytest.mark.quick, pytest.mark.offline]

CONFIGS = os.path.join(TOP, "configs")
REQUIRED = os.path.join(CONFIGS, "required.config")


def run(script, *args):
    done = subprocess.run([os.path.join(TOP, "scripts", script), *map(str, args)], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def test_config_check_names_each_option(tmp_path):
    with open(REQUIRED, encoding="utf-8") as f:
        text = f.read()
    config = tmp_path / "config"
    config.write_text(text)
    assert run("config-check", config) == (0, "")
    config.write_text(text.replace("CONFIG_GUESTMEMFS_FS=y", "# CONFIG_GUESTMEMFS_FS is not set")
                      .replace("CONFIG_NUMA=y\n", "").replace("CONFIG_KEXEC_FILE=y", "CONFIG_KEXEC_FILE=m"))
    status, out = run("config-check", config)
    assert status == 1 and len(out.splitlines()) == 3
    for line, (option, got) in zip(out.splitlines(), [("NUMA", "n (unknown, or dependencies not met)"),
                                                      ("KEXEC_FILE", "m"), ("GUESTMEMFS_FS", "n")]):
        assert line == f"CONFIG_{option}: asked for y in {REQUIRED}, got {got}"


def test_config_check_of_fragments(tmp_path):
    """The last one counts, as for merge_config.sh; an option can be asked to be off."""
    for name, text in (("result", "# CONFIG_A is not set\nCONFIG_B=m\nCONFIG_S=\"a b\"\n"), ("one", "CONFIG_A=y\n"),
                       ("two", "# CONFIG_A is not set\nCONFIG_B=m\nCONFIG_S=\"a b\"\n# CONFIG_C is not set\n")):
        (tmp_path / name).write_text(text)
    assert run("config-check", tmp_path / "result", tmp_path / "one", tmp_path / "two") == (0, "")
    assert run("config-check", tmp_path / "result", tmp_path / "two", tmp_path / "one")[0] == 1


@pytest.mark.parametrize("script", ["config-check", "kernel-deb"])
def test_what_is_no_configuration(script, tmp_path):
    """Nothing is fetched for it."""
    (tmp_path / "text").write_text("hello\n")
    status, out = run(script, tmp_path / "nowhere")
    assert status == 2 and "nowhere" in out and "no such file" in out
    status, out = run(script, tmp_path / "text")
    assert status == 2 and "is no configuration of a kernel" in out


def test_another_architecture(tmp_path):
    (tmp_path / "config").write_text("CONFIG_ARM64=y\nCONFIG_64BIT=y\n")
    status, out = run("kernel-deb", tmp_path / "config")
    assert status == 2 and "is not for x86-64" in out


def test_host_has_what_is_required_elsewhere():
    """An option is in one of the two, and both agree with each other."""
    def options(name):
        with open(os.path.join(CONFIGS, name), encoding="utf-8") as f:
            return dict(line.strip().split("=", 1) for line in f if line.startswith("CONFIG_"))
    host, required = options("host.config"), options("required.config")
    assert len(host) > 100 and len(required) > 10
    for option in host.keys() & required.keys():
        assert host[option] == required[option], option
