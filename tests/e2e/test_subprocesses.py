"""-s: a process and all its descendants in one profile, whoever they are and however they came to be."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pprof
import pytest
from conftest import TARGETS, TOOL, CpuObserver, Target, assert_untouched, cpu_ns, need_other_users, proc_status, wait_for
from test_real import cluster, service  # noqa: F401 (fixtures)

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
UNSEEN = ("[cpu between samples]", "[cpu of children not seen]")
FREELY = ("--max-overhead", "100%")
# Runs the command lines in its JSON argument at the same time, and prints what the kernel says of each child that it reaps, with
# its own children: {"PID": [name, nanoseconds, exit code]}.
REAPER = """
import json, os, subprocess, sys
started = {}
for command in json.loads(sys.argv[1]):
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    started[child.pid] = command[0]
told = {}
while started:
    pid, status, used = os.wait4(-1, 0)
    told[pid] = [os.path.basename(started.pop(pid)), round(1e9 * (used.ru_utime + used.ru_stime)), os.waitstatus_to_exitcode(status)]
print(json.dumps(told))
"""
BURN = "import sys, time\nwhile time.process_time() < float(sys.argv[1]): pass\nsys.exit(int(sys.argv[2]))"


def path_of(name):
    return os.path.join(TARGETS, name)


def start_command(folder, *command, options=(), **popen):
    out = os.path.join(folder, "out.pb.gz")
    done = subprocess.run([TOOL, "-s", "-o", out, *options, "--", *map(str, command)], capture_output=True, timeout=120, **popen)
    return done, out


def by_pid(profile):
    """{pid: nanoseconds}"""
    ns = {}
    for sample in profile.samples:
        ns[sample.numbers["pid"]] = ns.get(sample.numbers["pid"], 0) + sample.ns
    return ns


def names_of(profile):
    """{pid: the names that it has had}"""
    names = {}
    for sample in profile.samples:
        names.setdefault(sample.numbers["pid"], set()).add(sample.labels["process"])
    return names


def unseen(profile):
    return profile.share(lambda sample: sample.root.function in UNSEEN)


def processes(stderr):
    return int(re.search(r"^processes (\d+)", stderr, re.M)[1])


def assert_whole(stderr):
    """Nobody was left out, and nobody harmed."""
    stderr = stderr if isinstance(stderr, str) else stderr.decode()
    assert "HARM" not in stderr and re.search("^released", stderr, re.M), stderr
    assert not re.search("^refused|^processes .* not sampled", stderr, re.M), stderr


@pytest.fixture
def family():
    """family(script) -> a Target: a shell that has printed `ready`. Whoever of its group is left ends with the test."""
    shells = []

    def start(script, command=(), **popen):
        shell = Target([*command, "sh", "-c", script], start_new_session=True, **popen)
        shells.append(shell)
        shell.await_line("ready")
        return shell

    yield start
    for shell in shells:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.close()


def children(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]
    return []


def children_named(pid, *names):
    """{name: pid}, when all have got so far."""
    def find():
        found = {proc_status(child, "Name"): child for child in children(pid)}
        return found if set(names) <= set(found) else None

    return wait_for(find, f"{pid} has children {names}")


TWO = f"{path_of('c_o0')} >/dev/null & {path_of('split_30_70')} >/dev/null & echo ready; wait"


# ---- a program that is started ----


def test_two_children_of_a_shell(folder):
    done, out = start_command(folder, "sh", "-c", f"{path_of('c_o0')} >/dev/null & a=$!; {path_of('split_30_70')} >/dev/null & b=$!; "
                              "echo $a $b; sleep 1; kill $a $b; wait; exit 5", options=["-r", "199", *FREELY])
    assert done.returncode == 5, done.stderr
    first, second = map(int, done.stdout.split())
    profile = pprof.load(out)
    names = names_of(profile)
    # Before its exec a child has the shell's name.
    assert "c_o0" in names[first] and "split_30_70" in names[second] and names[first] | names[second] <= {"sh", "c_o0", "split_30_70"}
    for pid, function in ((first, "inner"), (second, "seventy")):
        assert profile.share(lambda sample: function in sample.functions, [s for s in profile.samples if s.numbers["pid"] == pid]) > 0.5
    assert_whole(done.stderr)


def test_each_child_has_its_own_account(folder, figure):
    commands = [[sys.executable, "-c", BURN, seconds, str(code)] for seconds, code in (("0.3", 0), ("0.6", 7))]
    commands.append([path_of("kin"), "200"])
    done, out = start_command(folder, sys.executable, "-c", REAPER, json.dumps(commands), options=["-r", "299", *FREELY])
    assert done.returncode == 0, done.stderr
    told = {int(pid): rest for pid, rest in json.loads(done.stdout).items()}
    assert sorted(code for _, _, code in told.values()) == [0, 0, 7]
    profile = pprof.load(out)
    found = by_pid(profile)
    figure(", ".join(f"{name} {found[pid] / ns - 1:+.2%}" for pid, (name, ns, _) in told.items()) + f"; {unseen(profile):.2%} in no stack")
    for pid, (name, ns, _) in told.items():
        assert found[pid] == pytest.approx(ns, rel=0.03, abs=2e6), name
    assert_whole(done.stderr)


def test_a_line_of_descent(folder, figure):
    """fork without exec, vfork, exec in a child, posix_spawn, and a fork by one of four threads: each by what its parent was told of it."""
    done, out = start_command(folder, path_of("kin"), "100", "fork", "vfork", "exec", "spawn", "thread", "fork", options=["-r", "299", *FREELY])
    assert done.returncode == 5, "it was told anything else than its child's own end, once"
    told, before = {}, 0
    for line in done.stdout.decode().splitlines():  # the youngest first; what is told includes whom that one has reaped
        _, pid, step, ns = line.split()
        told[int(pid)] = (step, int(ns) - before)
        before = int(ns)
    profile = pprof.load(out)
    found = by_pid(profile)
    assert len(found) == 6 and set(told) < set(found)
    figure(", ".join(f"{step} {found[pid] / ns - 1:+.2%}" for pid, (step, ns) in told.items()) + f"; {unseen(profile):.2%} in no stack")
    for pid, (step, ns) in told.items():
        assert found[pid] == pytest.approx(ns, rel=0.03, abs=2e6), step
        of_it = [sample for sample in profile.samples if sample.numbers["pid"] == pid]
        assert profile.share(lambda sample: "own_work" in sample.functions, of_it) > 0.9, f"{step}:\n{profile.chains()}"
    assert names_of(profile) == {pid: {"kin"} for pid in found}
    assert_whole(done.stderr)


def test_without_it_children_are_not_there(folder, tool, family):
    shell = family(TWO)
    offspring = children_named(shell.pid, "c_o0", "split_30_70")
    process = tool.start("-p", shell.pid, "-d", "600ms", "-e", "state", "-o", os.path.join(folder, "out.pb.gz"))
    traced = set()
    while process.poll() is None:
        traced |= {name for name, pid in offspring.items() if proc_status(pid, "TracerPid") != "0"}
        time.sleep(0.002)
    run = tool.finish(process, os.path.join(folder, "out.pb.gz"))
    assert run.code == 0 and not traced, run.stderr
    profile = run.load()
    assert set(by_pid(profile)) == {shell.pid}
    assert all("process" not in sample.labels for sample in profile.samples)


# ---- a process that runs ----


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_children_that_were_there_before(tool, family, event):
    shell = family(TWO)
    offspring = children_named(shell.pid, "c_o0", "split_30_70")
    with contextlib.ExitStack() as stack:
        observers = {pid: stack.enter_context(CpuObserver(pid)) for pid in (shell.pid, *offspring.values())}
        run = tool.record(shell.pid, "-s", "-r", 199, "-e", event, duration="1s")
    profile = run.load()
    found = by_pid(profile)
    if event == "cpu":
        for name, pid in offspring.items():
            assert found[pid] == pytest.approx(observers[pid].charged_ns(profile), rel=0.03), name
    else:
        for pid in observers:
            assert found[pid] / 1e9 == pytest.approx(profile.duration_s, rel=0.02)
        shells = [sample for sample in profile.samples if sample.numbers["pid"] == shell.pid]
        assert {(sample.labels["state"], sample.labels["syscall"]) for sample in shells} == {("sleeping", "rt_sigsuspend")}, "dash waits for SIGCHLD"
    assert names_of(profile) == {pid: {name} for name, pid in {"sh": shell.pid, **offspring}.items() if pid in found}
    for pid in observers:
        assert_untouched(pid)
    assert_whole(run.stderr)


@pytest.mark.parametrize("name", ["forker", "fork_storm"])
def test_children_that_live_for_a_moment(start, tool, figure, name):
    """All of them end with their own codes, nobody is refused, and their CPU time is what their parent is charged for having reaped
    them. The parents are sampled throughout: a fork must not eat the stop that they were asked for."""
    target = start(name)
    run = tool.record(target.pid, "-s", "-r", 499, duration="1200ms")
    profile = run.load()
    made, reaped = map(int, target.finish().split()[1::2])
    assert made == reaped > 10
    own = [sample for sample in profile.samples if sample.numbers.get("pid") == target.pid]
    missed = profile.share(lambda sample: sample.root.function in UNSEEN, own)
    longest_us = run.figure(r"longest ([\d.]+)")
    figure(f"{processes(run.stderr)} processes, {unseen(profile):.1%} in no stack, {missed:.1%} of the parent's own; longest stop {longest_us:.0f} us")
    assert missed < 0.4, run.stderr  # where an interrupt was eaten: 0.5 to 0.99
    assert longest_us < 1e6, "no stop lasts for seconds"
    assert_whole(run.stderr)


def test_total_of_a_storm(folder, figure):
    """Against what the kernel charges the program with, and with all its children."""
    script = "import subprocess, sys, resource, time\np = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE)\ntime.sleep(0.6)\np.terminate()\n" \
             "print(p.communicate()[0].decode().split()[1:]); u = resource.getrusage(resource.RUSAGE_CHILDREN); print(p.pid, u.ru_utime + u.ru_stime)"
    done, out = start_command(folder, sys.executable, "-c", script, path_of("fork_storm"))
    assert done.returncode == 0, done.stderr
    said, total = done.stdout.decode().splitlines()
    made, reaped = (int(number) for number in re.findall(r"\d+", said))
    assert made == reaped > 10
    profile = pprof.load(out)
    found = by_pid(profile)
    pid = int(total.split()[0])
    ns = sum(found.values()) - max(ns for other, ns in found.items() if "python" in "".join(names_of(profile)[other]) and other < pid)
    figure(f"{made} processes, {ns / 1e9 / float(total.split()[1]) - 1:+.2%} off, {unseen(profile):.1%} in no stack")
    assert ns / 1e9 == pytest.approx(float(total.split()[1]), rel=0.03)
    assert_whole(done.stderr)


# ---- a build ----

C_FILE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <regex.h>
#include <pthread.h>
""" + "".join(f"""
static double part_{i}(double *v, size_t n)
{{
    double sum = {i};
    for (size_t j = 0; j < n; j++) {{
        switch (j % 5) {{
        case 0: sum += sqrt(v[j]) * {i}; break;
        case 1: sum -= v[j] / (j + 1); v[n - 1 - j] = sum; break;
        default: sum = fmod(sum, v[j] + {i}); printf("%f\\n", sum);
        }}
    }}
    return sum;
}}
""" for i in range(40)) + "double all_NUMBER(double *v, size_t n) { return " + " + ".join(f"part_{i}(v, n)" for i in range(40)) + "; }\n"


def write_project(folder, files=6):
    names = [f"file{i}" for i in range(files)]
    for i, name in enumerate(names):
        with open(os.path.join(folder, name + ".c"), "w") as file:
            file.write(C_FILE.replace("NUMBER", str(i)))
    with open(os.path.join(folder, "Makefile"), "w") as file:
        file.write("all: " + " ".join(name + ".o" for name in names) + "\n%.o: %.c\n\tgcc -O2 -g -c -o $@ $<\n")
    return [name + ".o" for name in names]


def test_a_build(folder, figure):
    """All of its CPU time is in the profile, as the kernel says it to whoever has waited for make."""
    if not shutil.which("make") or not shutil.which("gcc"):
        pytest.skip("make and gcc are not installed (apt-get install build-essential)")
    objects = write_project(folder)
    done, out = start_command(folder, sys.executable, "-c", REAPER, json.dumps([["make", "-j4"]]), options=FREELY, cwd=folder)
    assert done.returncode == 0, done.stderr
    (pid, (_, charged, code)), = json.loads(done.stdout).items()
    assert code == 0 and all(os.path.getsize(os.path.join(folder, name)) for name in objects)
    profile = pprof.load(out)
    parent = next(other for other, names in names_of(profile).items() if any("python" in name for name in names) and other < int(pid))
    ns = sum(ns for other, ns in by_pid(profile).items() if other != parent)
    figure(f"{processes(done.stderr.decode())} processes, {charged / 1e9:.2f} s of CPU, {ns / charged - 1:+.2%} off the kernel's charge, "
           f"{unseen(profile):.2%} in no stack")
    assert ns == pytest.approx(charged, rel=0.03)
    assert unseen(profile) < 0.2, done.stderr
    assert {"make", "cc1", "as"} <= set().union(*names_of(profile).values())
    assert_whole(done.stderr)


# ---- who ends before whom ----


def test_children_outlive_the_process(tool, family):
    """With -p the run goes on with those that are left."""
    shell = family("sh -c 'while :; do :; done' & echo ready; read line")
    child, = children(shell.pid)
    process = tool.start("-s", "-p", shell.pid, "-d", "1200ms", "-r", 199, *FREELY, "-o", os.path.join(tool.folder, "out.pb.gz"))
    wait_for(lambda: proc_status(child, "TracerPid") not in ("0", None), "the child is traced")
    shell.process.stdin.write(b"\n")
    shell.process.stdin.flush()
    assert shell.process.wait(20) == 0
    run = tool.finish(process, os.path.join(tool.folder, "out.pb.gz"))
    assert run.code == 0, run.stderr
    profile = run.load()
    assert profile.duration_s == pytest.approx(1.2, rel=0.05)
    assert by_pid(profile)[child] > 0.2e9
    assert_untouched(child)
    assert_whole(run.stderr)


def test_the_command_ends_before_its_children(folder):
    """As the shell is free for the next command then, the run is over; who is left goes on."""
    done, out = start_command(folder, "sh", "-c", "sh -c 'while :; do :; done' >/dev/null 2>&1 </dev/null & echo $!; sleep 0.3; exit 4")
    child = int(done.stdout)
    try:
        assert done.returncode == 4, done.stderr
        assert_untouched(child)
        assert by_pid(pprof.load(out))[child] > 0.05e9
        assert_whole(done.stderr)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_signal_ends_the_run(tool, family):
    shell = family(TWO)
    offspring = children_named(shell.pid, "c_o0", "split_30_70")
    process = tool.start("-s", "-p", shell.pid, "-d", "60s", "-r", 99, *FREELY, "-o", os.path.join(tool.folder, "out.pb.gz"))
    wait_for(lambda: all(proc_status(pid, "TracerPid") != "0" for pid in offspring.values()), "both are traced")
    used = {pid: cpu_ns(pid) for pid in offspring.values()}
    wait_for(lambda: all(cpu_ns(pid) > used[pid] + 100_000_000 for pid in used), "both have worked for a while")
    process.send_signal(signal.SIGINT)
    run = tool.finish(process, os.path.join(tool.folder, "out.pb.gz"))
    assert run.code == 1 and "ended early by a signal" in run.stderr
    assert set(offspring.values()) <= set(by_pid(run.load()))
    for pid in (shell.pid, *offspring.values()):
        assert_untouched(pid)


# ---- it is a parent's own business ----


def test_parents_are_told_what_they_would_be(start, tool, figure):
    """Of ends and stops, each once, in whatever way they ask (tests/targets/waiter.c)."""
    target = start("waiter")
    run = tool.record(target.pid, "-s", "-r", 499, duration="1500ms")
    said = target.finish().split()
    wrong = {said[i]: int(said[i + 1]) for i in range(0, len(said), 2)}
    rounds = wrong.pop("rounds")
    figure(f"{rounds} rounds")
    assert rounds > 10 and not any(wrong.values()), wrong
    assert_whole(run.stderr)


@pytest.mark.parametrize("when", ["before", "at once", "later"])
def test_a_stopped_child_stays_stopped(tool, family, when):
    """Stopped by job control before the run, in its first instants, or after some work: that is nothing of ours."""
    work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done;" if when == "later" else ""
    child = f"sh -c '{work} kill -STOP $$; while :; do :; done'"
    shell = family(f"{child} & echo ready; wait" if when == "before" else f"echo ready; read line; {child} & wait")

    def stopped_child():
        return next((pid for pid in children(shell.pid) if (proc_status(pid, "State") or "X")[0] in "Tt"), None)

    if when == "before":
        wait_for(stopped_child, "the child is stopped")
    process = tool.start("-s", "-p", shell.pid, "-d", "1s", "-r", 99, *FREELY, "-o", os.path.join(tool.folder, "out.pb.gz"))
    wait_for(lambda: proc_status(shell.pid, "TracerPid") != "0", "the shell is traced")
    if when != "before":
        shell.process.stdin.write(b"\n")
        shell.process.stdin.flush()
    stopped = wait_for(stopped_child, "the child is stopped")
    run = tool.finish(process)
    assert run.code == 0, run.stderr
    assert_whole(run.stderr)
    assert_untouched(stopped, "T")
    assert_untouched(shell.pid)
    os.kill(stopped, signal.SIGCONT)
    wait_for(lambda: proc_status(stopped, "State")[0] == "R", "it goes on")


def test_killed_in_the_middle_it_leaves_all_alone(start, figure):
    """At random moments, of a storm of short-lived processes, and of one that tells all that it is told."""
    storm, waiter, chance = start("fork_storm"), start("waiter"), random.Random(7)
    held = 0
    for i in range(24):
        target = (storm, waiter)[i % 2]
        process = subprocess.Popen([TOOL, "-q", "-s", "-p", str(target.pid), "-r", "999", "-o", "/dev/null", *FREELY],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if i % 4 < 2:
            wait_for(lambda: proc_status(target.pid, "TracerPid") != "0", "it has attached")
        time.sleep(chance.uniform(0, 0.06))
        held += proc_status(target.pid, "TracerPid") != "0"
        process.kill()
        process.wait()
        assert_untouched(target.pid)
        assert not [pid for pid in children(target.pid) if (proc_status(pid, "TracerPid") or "0") != "0"]
    made, reaped = map(int, storm.finish().split()[1::2])
    assert made == reaped > 10
    said = waiter.finish().split()
    assert not any(map(int, said[3::2])), said
    figure(f"{held} of 24 kills met one that had attached")
    assert held >= 8


# ---- who cannot be sampled ----


def test_too_many_are_counted(tool, family):
    shell = family("i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; echo ready; wait")
    run = tool.record(shell.pid, "-s", duration="300ms")
    assert re.search("^processes 301, at most 256 at once; 45 not sampled: too many at once", run.stderr, re.M), run.stderr
    for pid in (shell.pid, *children(shell.pid)):
        assert_untouched(pid)


def test_a_32_bit_child_is_left_out_and_said(tool, family):
    shell = family(f"{path_of('i386_pause')} >/dev/null & {path_of('c_o0')} >/dev/null & echo ready; wait")
    offspring = children_named(shell.pid, "i386_pause", "c_o0")
    run = tool.record(shell.pid, "-s", "-r", 199, duration="500ms")
    assert re.search(r"^processes 3\b.*; 1 not sampled: not x86-64 programs", run.stderr, re.M), run.stderr
    assert by_pid(run.load())[offspring["c_o0"]] > 0.1e9
    for pid in offspring.values():
        assert_untouched(pid)


def test_a_32_bit_child_that_begins_during_the_run(folder):
    done, out = start_command(folder, "sh", "-c", f"{path_of('i386_pause')} & a=$!; {path_of('c_o0')} >/dev/null & b=$!; sleep 0.5; kill $a $b; wait $a; exit $?",
                              options=["-r", "199", *FREELY])
    assert done.stdout == b"ready\n" and done.returncode == 128 + signal.SIGTERM, done.stderr
    assert re.search(r"; 1 not sampled: not x86-64 programs", done.stderr.decode()), done.stderr
    assert "c_o0" in set().union(*names_of(pprof.load(out)).values())


@pytest.fixture
def set_user_id():
    """A copy of `id` that belongs to root and is set-user-ID, which any user may run."""
    need_other_users()
    folder = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    os.chmod(folder, 0o777)
    if os.statvfs(folder).f_flag & os.ST_NOSUID:
        pytest.skip(f"{folder} is mounted nosuid")
    for name in ("id", "sleep"):
        os.chmod(shutil.copy(shutil.which(name), folder), 0o4755)
    yield folder
    shutil.rmtree(folder)


def test_a_set_user_id_program_keeps_its_privilege(set_user_id, folder):
    """The kernel asks whether its tracer may do as much: root may."""
    done, _ = start_command(folder, *AS_NOBODY, "sh", "-c", f"{set_user_id}/id -u; {set_user_id}/id -ru; exit 3")
    assert (done.stdout, done.returncode) == (b"0\n65534\n", 3), done.stderr
    assert_whole(done.stderr)


def as_nobody(public_tool, set_user_id, *args):
    return subprocess.Popen([*AS_NOBODY, public_tool, "-s", "-o", os.path.join(set_user_id, "out.pb.gz"), *map(str, args)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_set_user_id_program_under_one_who_is_not_root(public_tool, set_user_id, tool):
    """The kernel runs it without its privilege, as it does under every tracer that is not root: docs/design.md says so."""
    process = as_nobody(public_tool, set_user_id, "--", "sh", "-c", f"{set_user_id}/id -u; exit 3")
    tool.running.append(process)
    run = tool.finish(process)
    assert (run.stdout, run.code) == (b"65534\n", 3), run.stderr


def test_a_child_of_another_user_is_left_out_and_said(public_tool, public_targets, set_user_id, tool, family):
    """A set-user-ID program that ran before: not ours to trace, but no reason to leave out the others."""
    shell = family(f"{set_user_id}/sleep 60 & {public_targets}/c_o0 >/dev/null & echo ready; wait", command=AS_NOBODY)
    offspring = children_named(shell.pid, "sleep", "c_o0")
    assert proc_status(offspring["sleep"], "Uid").split()[1] == "0"
    process = as_nobody(public_tool, set_user_id, "-p", shell.pid, "-d", "500ms", "-r", 199, *FREELY)
    tool.running.append(process)
    run = tool.finish(process, os.path.join(set_user_id, "out.pb.gz"))
    assert run.code in (0, 1), run.stderr
    assert re.search(r"^processes 3\b.*; 1 not sampled: not ours to trace", run.stderr, re.M), run.stderr
    assert by_pid(run.load())[offspring["c_o0"]] > 0.1e9
    for pid in offspring.values():
        assert_untouched(pid)


def test_the_tool_is_nobodys_child(folder):
    """It is one of the shell's that it profiles; of itself it has nothing to say."""
    out = os.path.join(folder, "out.pb.gz")
    done = subprocess.run(["sh", "-c", f"'{TOOL}' -s -p $$ -d 300ms -o {out}; exit $?"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert_whole(done.stderr)


@pytest.mark.parametrize("order", [("-s", "--tid"), ("--tid", "--subprocesses")])
def test_threads_of_a_family_cannot_be_chosen(order):
    words = [word for option in order for word in ((option, str(os.getpid())) if option == "--tid" else (option,))]
    done = subprocess.run([TOOL, "-p", str(os.getpid()), *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 64 and done.stderr.count("\n") == 1 and "leave out --tid, or -s" in done.stderr


# ---- PostgreSQL ----


def test_postgres_with_its_backends(cluster, tool, figure):  # noqa: F811
    backends = cluster.backends(4)
    server = cluster.server.pid
    with contextlib.ExitStack() as stack:
        observers = {pid: stack.enter_context(CpuObserver(pid)) for pid in (server, *children(server))}
        run = tool.record(server, "-s", "-r", 199, duration="2s")
    profile = run.load()
    charged = sum(observer.charged_ns(profile) for observer in observers.values())
    found = by_pid(profile)
    figure(f"{len(observers)} processes, {charged / 1e9:.2f} s of CPU, {profile.total_ns / charged - 1:+.2%} off the kernel's charge, {unseen(profile):.2%} in no stack")
    assert set(backends) <= set(found) <= set(observers)
    assert profile.total_ns == pytest.approx(charged, rel=0.03)
    for pid in backends:
        assert found[pid] == pytest.approx(observers[pid].charged_ns(profile), rel=0.05)
        assert "PostgresMain" in {function for sample in profile.samples if sample.numbers["pid"] == pid for function in sample.functions}
    for pid in observers:
        assert_untouched(pid)
    assert_whole(run.stderr)


def test_states_add_up_for_each_process(family, tool):
    shell = family(TWO)
    pids = children_named(shell.pid, "c_o0", "split_30_70").values()
    profile = tool.record(shell.pid, "-s", "-e", "state").load()
    for pid in (shell.pid, *pids):
        assert by_pid(profile)[pid] / 1e9 == pytest.approx(profile.duration_s, rel=0.05)
    assert {sample.labels["state"] for sample in profile.samples if sample.numbers["pid"] == shell.pid} == {"sleeping"}


def test_a_report_of_one_of_the_processes(family, tool):
    shell = family(TWO)
    children_named(shell.pid, "c_o0", "split_30_70")
    run = tool.record(shell.pid, "-s", duration="1s")
    found = subprocess.run([TOOL, "report", run.path, "--process", "c_o0"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and " inner" in found.stdout and "seventy" not in found.stdout, found.stdout
