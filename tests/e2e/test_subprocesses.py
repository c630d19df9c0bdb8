"""-s, --subprocesses: a process with its children, and theirs: each has its samples, its name and its end."""

import os
import signal
import struct
import subprocess
import sys

import pprof
import pytest
from conftest import DEADLINE_S, TARGETS, TOOL, CpuObserver, Target, assert_untouched, burn_until, cpu_ns, proc_status, tracer_of, wait_for

BETWEEN = "[cpu between samples]"
BUSY = f"{sys.executable} -c 'while True: pass'"


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def name_of(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


@pytest.fixture
def family():
    """family("A", "B") -> a shell that has begun these programs: {name: PID}. They end with it."""
    shells = []

    def begin(*commands):
        shell = Target(["sh", "-c", "".join(f"{command} >/dev/null & " for command in commands) + "echo ready; wait"], start_new_session=True)
        shells.append(shell)
        shell.await_line("ready")
        wait_for(lambda: "sh" not in [name_of(pid) for pid in children_of(shell.pid)], "all have executed their programs")
        shell.children = {name_of(pid): pid for pid in children_of(shell.pid)}
        return shell

    yield begin
    for shell in shells:
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        shell.close()


def command(folder, *words, options=(), deadline_s=120, **popen):
    """cprof-attach -s -- WORDS: what it was, and the profile."""
    out = os.path.join(folder, "out.pb.gz")
    done = subprocess.run([TOOL, "-s", "-o", out, *options, "--", *words], capture_output=True, text=True, timeout=deadline_s, **popen)
    return done, pprof.load(out) if os.path.exists(out) else None


def time_of(profile, key, value):
    return sum(sample.ns for sample in profile.samples if {**sample.labels, **sample.numbers}.get(key) == value)


def test_children_that_are_there_already(family, tool):
    shell = family(f"{TARGETS}/c_o0", f"{TARGETS}/split_30_70", f"sh -c 'exec {TARGETS}/threads64'")
    observers = {name: CpuObserver(pid) for name, pid in shell.children.items()}
    assert len(observers) == 3
    for observer in observers.values():
        observer.__enter__()
    run = tool.record(shell.pid, "-s", "-r", 199, duration="3s")
    for observer in observers.values():
        observer.__exit__()
    profile = run.load()
    for name, pid in shell.children.items():
        charged = observers[name].charged_ns(profile)
        assert time_of(profile, "process", name) == time_of(profile, "pid", pid) == pytest.approx(charged, rel=0.03), name
        assert_untouched(pid)
    assert {sample.numbers["pid"] for sample in profile.samples} <= {shell.pid, *shell.children.values()}
    assert profile.share(lambda sample: "outer" in sample.functions,
                         [sample for sample in profile.stacks if sample.labels["process"] == "c_o0"]) > 0.9, profile.chains()
    assert run.figure(r"^processes (\d+)") == 4 and run.complete > 0.97, run.stderr
    assert_untouched(shell.pid)


def test_without_it_children_are_left_alone(family, tool):
    shell = family(f"{TARGETS}/c_o0")
    (child,) = shell.children.values()
    process = tool.start_and_attach(shell.pid, "-e", "state", "-d", "30s", "-o", f"{tool.folder}/out.pb.gz")
    burn_until(child, 200_000_000)
    assert tracer_of(child) == 0
    process.send_signal(signal.SIGINT)
    profile = tool.finish(process, f"{tool.folder}/out.pb.gz").load()
    assert {sample.numbers["pid"] for sample in profile.samples} == {shell.pid}
    assert not any("process" in sample.labels for sample in profile.samples)


def test_children_that_begin_meanwhile(folder):
    done, profile = command(folder, "sh", "-c", f"timeout -s KILL 1 {BUSY}; (timeout -s KILL 1 {BUSY}); exit 7", options=["-r", "199"])
    assert done.returncode == 7, done.stderr
    busy = [sample for sample in profile.samples if sample.labels["process"].startswith("python")]
    assert len({sample.numbers["pid"] for sample in busy}) == 2
    assert sum(sample.ns for sample in busy) > 0.7 * profile.total_ns, profile.chains()


def test_a_build_has_all_its_time(folder, figure):
    """The truth is the kernel's account of all that make has begun and waited for."""
    for i in range(6):
        with open(os.path.join(folder, f"part{i}.c"), "w") as file:
            for k in range(150):
                file.write(f"int f{i}_{k}(int *p, int n) {{ int s = {k}; for (int i = 0; i < n; i++) s += p[i] * s ^ (s >> {k % 7 + 1}); return s; }}\n")
    with open(os.path.join(folder, "Makefile"), "w") as file:
        file.write("all: $(patsubst %.c,%.o,$(wildcard *.c))\n%.o: %.c\n\tgcc -O2 -c -o $@ $<\n")
    script = ("import resource, subprocess, sys; code = subprocess.call(['make', '-s', '-B', '-j4']);"
              "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime); sys.exit(code)")
    done, profile = command(folder, sys.executable, "-c", script, options=["-r", "199", "--max-overhead", "100%"], cwd=folder)
    assert done.returncode == 0, done.stderr
    root = next(sample.numbers["pid"] for sample in profile.samples if sample.labels["process"].startswith("python"))
    build = [sample for sample in profile.samples if sample.numbers["pid"] != root]
    used = float(done.stdout) * 1e9
    between = sum(sample.ns for sample in build if BETWEEN in sample.functions)
    total = sum(sample.ns for sample in build)
    figure(f"{total / used - 1:+.2%} off the kernel's charge of {used / 1e9:.2f} s, {between / total:.1%} between samples, "
           f"{len({sample.numbers['pid'] for sample in build})} processes")
    assert total == pytest.approx(used, rel=0.03)
    assert {"make", "gcc", "cc1", "as"} <= {sample.labels["process"] for sample in build}
    assert time_of(profile, "process", "cc1") > 0.6 * total


@pytest.mark.parametrize("name", ["forker", "fork_storm"])
def test_a_storm_of_children(start, tool, name):
    target = start(name)
    run = tool.record(target.pid, "-s", "--max-overhead", "100%", duration="2s")
    assert_untouched(target.pid)
    made, reaped = target.finish().split()[1::2]
    assert int(made) > 20 and made == reaped, "each has ended with its own code, and was reaped by its own parent"
    profile = run.load()
    assert run.figure(r"^processes (\d+)") > 20
    assert {sample.labels["process"] for sample in profile.samples} >= {name}


STATUSES = """
import os, signal, time
child = os.fork()
if child == 0:
    while True:
        time.sleep(0.001)
for number, flags in ((signal.SIGSTOP, os.WUNTRACED), (signal.SIGCONT, os.WCONTINUED), (signal.SIGTERM, 0)):
    os.kill(child, number)
    print(os.waitpid(child, flags)[1])
try:
    print(os.waitpid(child, 0))
except ChildProcessError:
    print("once")
codes = []
for code in range(20):
    child = os.fork()
    if child == 0:
        os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(codes)
"""


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_parents_are_told_what_happened(folder, event):
    alone = subprocess.run([sys.executable, "-c", STATUSES], capture_output=True, text=True, timeout=60)
    done, _ = command(folder, sys.executable, "-c", STATUSES, options=["-r", "999", "-e", event])
    assert done.stdout == alone.stdout and done.stdout.splitlines()[-2] == "once"


def test_a_child_that_is_stopped_stays_stopped(family, tool):
    shell = family(f"{TARGETS}/c_o0")
    (child,) = shell.children.values()
    process = tool.start_and_attach(shell.pid, "-s", "-d", "60s", "-o", f"{tool.folder}/out.pb.gz")
    burn_until(child, 100_000_000)
    os.kill(child, signal.SIGSTOP)
    wait_for(lambda: proc_status(child, "State")[0] in "Tt", "it stops")
    used = cpu_ns(child)
    process.send_signal(signal.SIGINT)
    run = tool.finish(process, f"{tool.folder}/out.pb.gz")
    assert run.code == 1 and "but by job control" in run.stderr, run.stderr
    assert_untouched(child, "T")
    assert cpu_ns(child) - used < 20_000_000
    os.kill(child, signal.SIGCONT)
    burn_until(child, 10_000_000)


def test_the_parent_ends_and_its_children_go_on(tool):
    shell = Target(["sh", "-c", f"{BUSY} & echo $!; echo ready; read line; exit 3"])
    shell.await_line("ready")
    child = int(shell.head[0])
    try:
        path = f"{tool.folder}/out.pb.gz"
        process = tool.start_and_attach(shell.pid, "-s", "-d", "4s", "-o", path)
        wait_for(lambda: tracer_of(child) != 0, "its child is followed")
        shell.process.stdin.write(b"\n")
        shell.process.stdin.flush()
        assert shell.process.wait(DEADLINE_S) == 3
        run = tool.finish(process, path)
        assert run.code == 0, run.stderr
        profile = run.load()
        assert profile.duration_s == pytest.approx(4, abs=0.5)
        assert time_of(profile, "pid", child) > 0.9 * profile.total_ns
        assert_untouched(child)
    finally:
        os.kill(child, signal.SIGKILL)
        shell.close()


def test_a_started_program_ends_and_its_children_go_on(folder):
    pid_file = os.path.join(folder, "pid")
    done, profile = command(folder, "sh", "-c", f"{BUSY} >/dev/null 2>&1 & echo $! > {pid_file}; sleep 1; exit 9")
    with open(pid_file) as file:
        child = int(file.read())
    try:
        assert done.returncode == 9
        assert time_of(profile, "pid", child) > 0
        assert_untouched(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_killed_it_lets_all_go(family, tool):
    shell = family(f"{TARGETS}/c_o0", f"{TARGETS}/threads64", f"{TARGETS}/forker")
    process = tool.start_and_attach(shell.pid, "-s", "-d", "60s", "-o", f"{tool.folder}/out.pb.gz")
    for child in shell.children.values():
        wait_for(lambda pid=child: tracer_of(pid) != 0, "it is followed")
        burn_until(child, 50_000_000)
    process.kill()
    process.wait()
    for child in (shell.pid, *shell.children.values()):
        assert_untouched(child)
    for child in shell.children.values():
        burn_until(child, 10_000_000)


def test_states_add_up_for_each_thread(family, tool):
    shell = family(f"{TARGETS}/c_o0", f"{TARGETS}/blocked")
    profile = tool.record(shell.pid, "-s", "-e", "state").load()
    for pid in (shell.pid, *shell.children.values()):
        assert time_of(profile, "tid", pid) / 1e9 == pytest.approx(profile.duration_s, rel=0.05)
    shell_states = {sample.labels["state"] for sample in profile.samples if sample.numbers["tid"] == shell.pid}
    assert shell_states == {"sleeping"}


def elf32(path):
    """A program for the i386 that counts for a while, and ends with 5."""
    code = (b"\xb9" + struct.pack("<I", 1_500_000_000) + b"\x49\x75\xfd"  # mov ecx; 1: dec ecx; jnz 1
            + b"\xbb\x05\x00\x00\x00\xb8\x01\x00\x00\x00\xcd\x80")  # exit(5)
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, 0x8048000, 0x8048000, 84 + len(code), 84 + len(code), 5, 4096)
    with open(path, "wb") as file:
        file.write(head + segment + code)
    os.chmod(path, 0o755)


def test_a_child_of_another_architecture(folder):
    path = os.path.join(folder, "elf32")
    elf32(path)
    try:
        if subprocess.run([path], timeout=60).returncode != 5:
            pytest.skip("this kernel runs no 32-bit programs")
    except OSError:
        pytest.skip("this kernel runs no 32-bit programs")
    done, profile = command(folder, "sh", "-c", f"{path} & timeout -s KILL 1 {BUSY}; wait $!; exit $?")
    assert done.returncode == 5, done.stderr
    assert "1 not sampled: not x86-64 programs" in done.stderr, done.stderr
    unseen = [sample for sample in profile.samples if sample.functions == ["[cpu of children not seen]"]]
    assert {sample.labels["process"] for sample in unseen} == {"elf32"} and sum(sample.ns for sample in unseen) > 50_000_000
    assert time_of(profile, "process", "timeout") < profile.total_ns
    assert any(sample.labels["process"].startswith("python") for sample in profile.stacks)


def test_a_program_that_changes_its_user_may_still(folder):
    """A traced program gets no privilege by its set-user-ID bit, unless its tracer has CAP_SYS_PTRACE: we do."""
    path = os.path.join(folder, "id")
    subprocess.run(["cp", "/usr/bin/id", path], check=True)
    os.chmod(path, 0o4755)
    words = ["setpriv", "--reuid", "65534", "--clear-groups", path, "-u"]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, text=True).stdout != "0\n":
        pytest.skip("needs root, and a folder where the set-user-ID bit counts")
    done, _ = command(folder, *words)
    assert done.returncode == 0 and done.stdout == "0\n", done.stderr


def test_a_signal_ends_the_run_and_writes(family, tool):
    shell = family(f"{TARGETS}/c_o0")
    (child,) = shell.children.values()
    path = f"{tool.folder}/out.pb.gz"
    process = tool.start_and_attach(shell.pid, "-s", "-d", "60s", "-o", path)
    burn_until(child, 300_000_000)
    process.send_signal(signal.SIGINT)
    run = tool.finish(process, path)
    assert run.code == 1 and time_of(run.load(), "pid", child) > 100_000_000, run.stderr
    assert_untouched(child)


def test_threads_of_one_process_are_chosen_without_it(tool, start):
    run = tool.run("-s", "-p", start("c_o0").pid, "--tid", "1")
    assert run.code == 64 and len(run.lines) == 1 and "leave out --tid, or -s" in run.stderr


def test_a_report_of_one_of_the_processes(family, tool):
    shell = family(f"{TARGETS}/c_o0", f"{TARGETS}/split_30_70")
    run = tool.record(shell.pid, "-s", duration="1s")
    found = subprocess.run([TOOL, "report", run.path, "--process", "c_o0"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and " inner" in found.stdout and "seventy" not in found.stdout, found.stdout
