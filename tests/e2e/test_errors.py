"""Bad input: one line on stderr that says what is wrong and what to do, exit code 2, and no file."""

import os
import re
import subprocess

import pytest
from conftest import assert_untouched, burn_until, proc_status, wait_for
from situations import AS_NOBODY, PROCESS_VM_READV, PTRACE, WITHOUT_SYS_PTRACE, forbidding

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start programs as other users")


def assert_refused(run, tool, *words):
    """One line with all the words (regular expressions), exit code 2, nothing in the folder, no wait for the duration's end."""
    assert run.code == 2, f"exit code {run.code}: {run.stderr}"
    assert len(run.lines) == 1, f"not one line:\n{run.stderr}"
    for word in words:
        assert re.search(word, run.lines[0], re.I), f"no {word!r} in: {run.lines[0]}"
    assert os.listdir(tool.folder) == [], "a file was left behind"


def refused(tool, pid, *words, args=(), **popen):
    """The run ends at once although it was to last for a minute."""
    assert_refused(tool.run("-p", pid, "-d", "60s", *args, deadline_s=10, **popen), tool, *words)


def test_no_such_process(tool):
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    refused(tool, gone.pid, str(gone.pid), "no (such )?process|does not exist|not running", r"\bps\b|pgrep|check")


def test_the_id_of_a_thread(start, tool):
    target = start("threads64")
    tid = next(iter(target.tids()))
    refused(tool, tid, str(tid), "thread", rf"\b{target.pid}\b")
    assert_untouched(target.pid)


def test_a_kernel_thread(tool):
    if (proc_status(2, "Name"), proc_status(2, "PPid")) != ("kthreadd", "0"):
        pytest.skip("process 2 is not kthreadd here (a container)")
    refused(tool, 2, r"\b2\b", "kernel thread", "kthreadd")


def test_a_zombie(tool):
    with subprocess.Popen(["true"]) as zombie:
        wait_for(lambda: proc_status(zombie.pid, "State")[0] == "Z", "the child is a zombie")
        refused(tool, zombie.pid, str(zombie.pid), "zombie|has (already )?(exited|ended)", r"parent|\b%d\b" % os.getpid())


def test_oneself(tool):
    begin = tool.start("-d", "60s", command=("sh", "-c", 'exec "$0" -p $$ "$@"'))
    assert_refused(tool.finish(begin, deadline_s=10), tool, "itself|oneself|myself|own", str(begin.pid))


def test_a_process_that_is_traced(start, tool):
    target = start("c_o0")
    holder = start("holder", target.pid)
    refused(tool, target.pid, str(target.pid), rf"\bholder\b", rf"\b{holder.pid}\b", "trace|debug")
    assert proc_status(target.pid, "TracerPid") == str(holder.pid), "its tracer still has it"


def test_two_runs_at_once(start, tool):
    target = start("c_o0")
    first = tool.start_and_attach(target.pid, "-d", "60s", "-o", "/dev/null")
    refused(tool, target.pid, "cprof-attach", rf"\b{first.pid}\b")
    assert first.poll() is None


@as_root
def test_a_process_of_another_user(start, tool, public_tool):
    target = start("c_o0")
    process = subprocess.Popen([*AS_NOBODY, public_tool, "-p", str(target.pid), "-d", "60s"], cwd=tool.folder,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert_refused(tool.finish(process, deadline_s=10), tool, str(target.pid), "c_o0", "another user|belongs to|root", "sudo")
    assert_untouched(target.pid)


@as_root
def test_ones_own_process_that_forbids_it(start, tool, public_tool, public_targets):
    target = start(os.path.join(public_targets, "undumpable"), command=AS_NOBODY)
    process = subprocess.Popen([*AS_NOBODY, public_tool, "-p", str(target.pid), "-d", "60s"], cwd=tool.folder,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert_refused(tool.finish(process, deadline_s=10), tool, "undumpable", "dump", "sudo|root|CAP_SYS_PTRACE")


@as_root
def test_root_without_the_capability(start, tool, public_targets):
    target = start(os.path.join(public_targets, "c_o0"), command=AS_NOBODY)
    process = tool.start("-p", target.pid, "-d", "60s", command=WITHOUT_SYS_PTRACE)
    assert_refused(tool.finish(process, deadline_s=10), tool, "c_o0", "CAP_SYS_PTRACE")


def test_seccomp_as_in_a_container(start, tool):
    target = start("c_o0")
    process = tool.start("-p", target.pid, "-d", "60s", preexec_fn=forbidding(PTRACE, PROCESS_VM_READV))
    assert_refused(tool.finish(process, deadline_s=10), tool, "seccomp|container", "SYS_PTRACE|seccomp=unconfined|host")


def test_a_32_bit_process(start, tool):
    try:
        target = start("i386_pause")
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error.strerror}")
    refused(tool, target.pid, "i386_pause", r"32.bit|i386")
    assert_untouched(target.pid)


def test_an_output_folder_that_does_not_exist(start, tool):
    target = start("c_o0")
    missing = os.path.join(tool.folder, "none", "out.pb.gz")
    refused(tool, target.pid, "none", "no such|does not exist", args=("-o", missing))
    assert not os.path.exists(os.path.dirname(missing))


def test_an_output_that_is_a_folder(start, tool):
    target = start("c_o0")
    refused(tool, target.pid, "folder|directory", args=("-o", "/tmp"))


def test_an_output_folder_where_nothing_can_be_made(start, tool):
    target = start("c_o0")
    refused(tool, target.pid, "/proc", args=("-o", "/proc/out.pb.gz"))


@as_root
def test_an_output_folder_that_is_anothers(start, tool, public_tool, public_targets):
    target = start(os.path.join(public_targets, "c_o0"), command=AS_NOBODY)
    os.chmod(tool.folder, 0o755)
    process = subprocess.Popen([*AS_NOBODY, public_tool, "-p", str(target.pid), "-d", "60s"], cwd=tool.folder,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert_refused(tool.finish(process, deadline_s=10), tool, "permission denied|not writable|cannot write|cannot create", "-o")


@as_root
def test_a_process_of_the_same_user_needs_no_root(start, tool, public_tool, public_targets):
    """What makes the refusals above refusals and not the tool's inability."""
    if os.path.exists("/proc/sys/kernel/yama/ptrace_scope") and open("/proc/sys/kernel/yama/ptrace_scope").read() != "0\n":
        pytest.skip("kernel.yama.ptrace_scope is not 0")
    target = start(os.path.join(public_targets, "c_o0"), command=AS_NOBODY)
    process = subprocess.Popen([*AS_NOBODY, public_tool, "-p", str(target.pid), "-d", "1s"], cwd=tool.folder,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run = tool.finish(process, deadline_s=30)
    assert run.code == 0, run.stderr
    assert len(os.listdir(tool.folder)) == 1


@pytest.fixture
def full_disk(folder):
    """A file system of its own with no byte left, below `folder`'s sibling."""
    mount = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mount], capture_output=True).returncode:
        os.rmdir(mount)
        pytest.skip("a tmpfs cannot be mounted (needs root and CAP_SYS_ADMIN)")
    with open(os.path.join(mount, "filler"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    yield mount
    subprocess.run(["umount", mount], check=True)
    os.rmdir(mount)


def test_a_full_disk(start, tool, full_disk):
    target = start("threads64")
    run = tool.run("-p", target.pid, "-d", "1s", "-o", os.path.join(full_disk, "out.pb.gz"))
    assert run.code == 2, run.stderr
    assert len(run.lines) == 1, run.stderr
    assert re.search("no space left", run.stderr, re.I) and re.search("free|another|-o", run.stderr), "and a remedy: " + run.stderr
    assert os.listdir(full_disk) == ["filler"], "neither the final name nor a half-written file"
    assert_untouched(target.pid)


def test_a_disk_that_fills_up_does_not_cost_the_old_file(start, tool, full_disk):
    target = start("threads64")
    os.truncate(os.path.join(full_disk, "filler"), 65536 - 4096)
    old = os.path.join(full_disk, "out.pb.gz")
    with open(old, "wb") as file:
        file.write(b"old" * 1000)
    run = tool.run("-p", target.pid, "-d", "1s", "-o", old)
    assert run.code == 2, run.stderr
    with open(old, "rb") as file:
        assert file.read() == b"old" * 1000
    assert sorted(os.listdir(full_disk)) == ["filler", "out.pb.gz"]


def test_standard_output_that_is_closed(start, tool):
    target = start("c_o0")
    reader, writer = os.pipe()
    os.close(reader)
    run = tool.run("-p", target.pid, "-d", "500ms", "-o", "-", stdout=writer, deadline_s=15)
    os.close(writer)
    assert run.code == 2, f"not killed by SIGPIPE, but an error: {run.code} {run.stderr}"
    assert_untouched(target.pid)
    burn_until(target.pid, 10_000_000)
