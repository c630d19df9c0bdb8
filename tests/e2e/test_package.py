"""The package: lintian accepts it, and what it installs is whole."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, TOOL

COMMANDS = ("", "check", "dump", "ps", "report", "symbolize", "top")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if "asan" in TOOL:
        pytest.skip("the package is not built with the sanitizers")
    if not shutil.which("dpkg-buildpackage") or not shutil.which("lintian"):
        pytest.skip("not a Debian with dpkg-dev and lintian")
    build = tmp_path_factory.mktemp("package")
    # Of a build in the build: the names in the command lines of make's own are not ours.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(["make", "deb", f"BUILD={build}"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    package = re.search(r"^.*/cprof-attach_[0-9.]+_amd64\.deb$", done.stdout, re.M)
    assert package, done.stdout
    root = build / "root"
    subprocess.run(["dpkg-deb", "-x", package[0], root], check=True)
    return root


def test_the_package(installed):
    said = subprocess.run([installed / "usr/bin/cprof-attach", "--version"], capture_output=True, text=True, check=True).stdout
    assert said == subprocess.run([TOOL, "--version"], capture_output=True, text=True, check=True).stdout
    files = {str(path.relative_to(installed / "usr/share")) for path in installed.rglob("*") if path.is_file() and "share" in path.parts}
    assert {"man/man1/cprof-attach.1.gz", "bash-completion/completions/cprof-attach", "zsh/vendor-completions/_cprof-attach",
            "fish/vendor_completions.d/cprof-attach.fish"} <= files


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_knows_every_option(command):
    said = subprocess.run([TOOL, *[command] * bool(command), "--help"], capture_output=True, text=True, check=True).stdout
    manual = (Path(ROOT) / "packaging/man/cprof-attach.1").read_text().replace("\\-", "-")
    section = re.search(rf"^\.SH {command.upper() or 'PROFILING'}\n(.*?)(?=^\.SH )", manual, re.M | re.S)
    assert section, f"no section about {command or 'profiling'}"
    options = set(re.findall(r"^ +(?:-\w, )?(--[-a-z]+)", said, re.M))
    assert options and all(f"\\fB{option}\\fR" in section[1] for option in options), options
