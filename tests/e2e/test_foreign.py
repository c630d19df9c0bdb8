"""Files that are not where their names say, and hosts that allow less: the right binary is read, or none."""

import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys

import pprof
import pytest
from conftest import TARGETS, TOOL, Target, assert_untouched, need_other_users, wait_for
from test_symbols import build_id

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other namespaces, other users")
# In place of the program that it is given: the same from memory, without a file.
FROM_MEMORY = """
import os, sys
memory = os.memfd_create("from_memory")
with open(sys.argv[1], "rb") as file:
    os.write(memory, file.read())
os.execve(memory, [sys.argv[1]], os.environ)
"""


@pytest.fixture(scope="session")
def can_unshare():
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no new mount namespace here: {done.stderr.strip()}")


@pytest.fixture
def public():
    """public(path) -> a copy that every user may execute, wherever the repository lies."""
    need_other_users()
    folder = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    os.chmod(folder, 0o777)

    def copy(path):
        to = shutil.copy(path, folder)
        os.chmod(to, 0o755)
        return to

    yield copy
    shutil.rmtree(folder)


def assert_is_c_o0(profile, path):
    assert profile.mappings[0].file == path
    assert profile.mappings[0].build_id == build_id("c_o0")
    # Of what was sampled: on a crowded machine much lies between samples.
    assert profile.stacks and profile.share(lambda sample: "inner" in sample.functions, profile.stacks) >= 0.95, profile.chains()


# ---- other namespaces ----


@as_root
@pytest.mark.parametrize("pid_namespace", [False, True])
def test_another_file_at_the_same_path_of_another_mount_namespace(start, tool, folder, can_unshare, pid_namespace):
    path = shutil.copy(os.path.join(TARGETS, "split_30_70"), os.path.join(folder, "app"))
    script = 'mount --bind "$1" "$2" && exec "$2"'
    unshare = ["unshare", "-m", *(["-p", "-f", "--mount-proc", "--kill-child"] if pid_namespace else [])]
    target = start("c_o0", path, command=(*unshare, "sh", "-c", script, "sh"))
    pid = child_of(target.pid) if pid_namespace else target.pid
    profile = tool.record(pid, "-r", 199, duration="1s").load()
    assert os.readlink(f"/proc/{pid}/exe") == path
    assert_is_c_o0(profile, path)
    assert_untouched(pid)


@as_root
def test_file_that_only_the_target_sees(start, tool, folder, can_unshare):
    """As in a container: its root and its PIDs are others."""
    script = 'mount -t tmpfs none "$2" && cp "$1" "$2/app" && exec "$2/app"'
    target = start("c_o0", folder, command=("unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", script, "sh"))
    pid = child_of(target.pid)
    path = os.path.join(folder, "app")
    assert not os.path.exists(path)
    assert_is_c_o0(tool.record(pid, "-r", 199, duration="1s").load(), path)


def child_of(pid):
    def find():
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return file.read().split()

    return int(wait_for(find, f"{pid} has a child")[0])


# ---- files that are gone ----


@pytest.mark.parametrize("how", ["deleted", "renamed over", "written anew"])
def test_file_that_changed_since_it_was_started(start, tool, folder, how):
    path = shutil.copy(os.path.join(TARGETS, "c_o0"), os.path.join(folder, "app"))
    target = start(path)
    if how == "renamed over":  # as package managers do
        os.replace(shutil.copy(os.path.join(TARGETS, "split_30_70"), os.path.join(folder, "new")), path)
    else:
        os.unlink(path)
    if how == "written anew":
        shutil.copy(os.path.join(TARGETS, "split_30_70"), path)
    profile = tool.record(target.pid, "-r", 199, duration="1s").load()
    assert_is_c_o0(profile, path)


def test_program_without_a_file(start, tool):
    target = start("c_o0", command=(sys.executable, "-c", FROM_MEMORY))
    profile = tool.record(target.pid, "-r", 199, duration="1s").load()
    assert_is_c_o0(profile, "/memfd:from_memory")


# ---- as another user, who is not root ----


def record_as_nobody(public, folder, tool, pid):
    path = os.path.join(folder, "out.pb.gz")
    process = subprocess.Popen([*AS_NOBODY, public(TOOL), "-p", str(pid), "-d", "1s", "-r", "199", "--max-overhead", "100%", "-v", "-o", path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder)
    tool.running.append(process)
    run = tool.finish(process, path)
    assert run.code == 0, run.stderr
    return run


@as_root
@pytest.mark.parametrize("how", ["there", "deleted", "memory"])
def test_same_user_without_privileges(tool, folder, public, how, sanitized):
    """/proc/PID/map_files is closed to them: /proc/PID/exe and /proc/PID/root are not."""
    path = public(os.path.join(TARGETS, "c_o0"))
    from_memory = (shutil.which("python3", path="/usr/bin"), "-c", FROM_MEMORY) if how == "memory" else ()
    target = Target([*AS_NOBODY, *from_memory, path])
    try:
        target.await_line("ready")
        if how == "deleted":
            os.unlink(path)
        run = record_as_nobody(public, folder, tool, target.pid)
        assert_is_c_o0(run.load(), "/memfd:from_memory" if how == "memory" else path)
        assert_untouched(target.pid)
        if not sanitized:
            assert "confined less" not in run.stderr
    finally:
        target.close()


# ---- where less can be given up ----


def refuse_seccomp():
    """From here on, this process and its children cannot install filters: prctl(PR_SET_SECCOMP) fails with EINVAL, as in a kernel
    without."""
    nr, argument, prctl, pr_set_seccomp = 0, 16, 157, 22
    program = [(0x20, 0, 0, nr), (0x15, 0, 3, prctl), (0x20, 0, 0, argument), (0x15, 0, 1, pr_set_seccomp),
               (0x06, 0, 0, 0x00050000 | 22), (0x06, 0, 0, 0x7fff0000)]
    code = b"".join(struct.pack("<HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(pr_set_seccomp, 2, header, 0, 0) == 0, ctypes.get_errno()


@as_root
def test_kernel_without_seccomp(start, tool):
    target = start("c_o0")
    run = tool.record(target.pid, "-r", 199, "-v", duration="1s", preexec_fn=refuse_seccomp)
    assert_is_c_o0(run.load(), os.path.join(TARGETS, "c_o0"))
    assert re.search(r"^symbols +are read by a process that is confined less than intended: system calls are not filtered$", run.stderr, re.M)


def test_root_of_a_user_namespace(tool, folder):
    """There is no other user whom it could become."""
    done = subprocess.run(["unshare", "-r", "true"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no new user namespace here: {done.stderr.strip()}")
    path = os.path.join(folder, "out.pb.gz")
    script = '"$1" & "$2" -p $! -d 1s -r 199 --max-overhead 100% -v -o "$3"; code=$?; kill $!; exit $code'
    done = subprocess.run(["unshare", "-r", "sh", "-c", script, "sh", os.path.join(TARGETS, "c_o0"), TOOL, path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "confined less than intended: it stays root" in done.stderr, done.stderr
    assert_is_c_o0(pprof.load(path), os.path.join(TARGETS, "c_o0"))
