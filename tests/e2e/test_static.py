"""The one file that is copied to a host: it must run where there is nothing else at all."""

import glob
import os
import re
import shutil
import subprocess

import pprof
import pytest
from conftest import TOOL

BUILT = glob.glob(os.path.join(os.path.dirname(TOOL), "static", "cprof-attach-*"))
STATIC = max(BUILT, key=os.path.getmtime, default="")


@pytest.fixture
def empty_root(folder):
    """A folder to chroot into, with /proc and nothing else."""
    if not STATIC:
        pytest.skip("the static binary is not built with the sanitizers")
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root = os.path.join(folder, "root")
    os.makedirs(os.path.join(root, "proc"))
    mounted = subprocess.run(["mount", "-t", "proc", "proc", os.path.join(root, "proc")], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"/proc cannot be mounted here: {mounted.stderr.strip()}")
    shutil.copy(STATIC, root)
    yield root
    subprocess.run(["umount", os.path.join(root, "proc")], check=True)


def test_it_needs_no_library():
    if not STATIC:
        pytest.skip("the static binary is not built with the sanitizers")
    headers = subprocess.run(["readelf", "-lW", STATIC], capture_output=True, text=True, check=True).stdout
    assert "LOAD" in headers and "INTERP" not in headers


def test_its_name_says_what_it_is():
    if not STATIC:
        pytest.skip("the static binary is not built with the sanitizers")
    said = subprocess.run([STATIC, "--version"], capture_output=True, text=True, check=True).stdout
    name, version, architecture = re.match(r"(\S+) (\S+) \((\S+)\)", said).groups()
    assert os.path.basename(STATIC) == f"{name}-{version}-{architecture}"


def test_it_profiles_from_an_empty_root(start, empty_root):
    target = start("c_o0")
    run = subprocess.run([f"/{os.path.basename(STATIC)}", "-p", str(target.pid), "-d", "1s", "-o", "/out.pb.gz"],
                         executable=None, preexec_fn=lambda: (os.chroot(empty_root), os.chdir("/")), capture_output=True, text=True,
                         timeout=60)
    assert run.returncode == 0, run.stderr
    profile = pprof.load(os.path.join(empty_root, "out.pb.gz"))
    assert profile.complete() >= 0.99
    assert profile.share_under("inner") >= 0.97, profile.chains()
