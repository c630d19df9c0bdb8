"""Starts targets, runs the tool on them, and reads what it wrote. CPROF_ATTACH is the tool, TARGETS the folder of targets."""

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

import pprof
import pytest

# A shell that starts us in the background has these ignored, and whatever we start would inherit that.
for interrupt in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(interrupt, signal.default_int_handler)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.abspath(os.environ.get("CPROF_ATTACH", os.path.join(ROOT, "build", "cprof-attach")))
TARGETS = os.path.abspath(os.environ.get("TARGETS", os.path.join(ROOT, "build", "targets")))
SOURCES = os.path.join(ROOT, "tests", "targets")
DEADLINE_S = 30
FIGURES = []


def pytest_configure(config):
    if not os.access(TOOL, os.X_OK):
        raise pytest.UsageError(f"no tool at {TOOL}: run make, or set CPROF_ATTACH")
    if not os.path.isdir(TARGETS):
        raise pytest.UsageError(f"no targets at {TARGETS}: run make targets, or set TARGETS")
    if pprof.go_command() is None:
        raise pytest.UsageError("no go command: the profiles are read with go tool pprof (apt-get install golang-go)")


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """The first true value of condition(); fails the test when there is none before the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline_s} s in vain: {what}"
        time.sleep(0.002)


def proc_status(pid, key, tid=None):
    """A field of /proc/PID/status, or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/task/{tid or pid}/status") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key + ":")), None)
    except (FileNotFoundError, ProcessLookupError):
        return None


def threads_of(pid):
    return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]


def tracer_of(pid):
    return int(proc_status(pid, "TracerPid") or 0)


def assert_untouched(pid, states="RSD"):
    """Every thread is alive, untraced and in one of the states (a thread on its way out of a stop is given a moment)."""

    def clean():
        for tid in threads_of(pid):
            state, tracer = proc_status(pid, "State", tid), proc_status(pid, "TracerPid", tid)
            if state is not None and (state[0] not in states or tracer != "0"):
                return False
        return True

    assert os.path.exists(f"/proc/{pid}"), f"process {pid} is gone"
    wait_for(clean, f"all threads of {pid} untraced and in one of the states {states}", 5)


def cpu_ns(pid):
    """CPU time that the kernel charged to the whole process so far, dead threads included: its CPU clock, whose ID is made
    as CPUCLOCK_SCHED of the PID (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


class CpuObserver:
    """Notes a process's CPU clock all the time, to tell what the kernel charged to it in any window of wall time; or another clock."""

    def __init__(self, pid, clock=cpu_ns):
        self.clock = clock
        self.pid, self.notes, self.windows, self.done = pid, [], [], threading.Event()
        self.thread = threading.Thread(target=self._observe, daemon=True)

    def _observe(self):
        while not self.done.is_set():
            before = time.time()
            try:
                used = self.clock(self.pid)
            except OSError:
                return
            after = time.time()
            self.notes.append(((before + after) / 2, used))
            self.windows.append((before, after, used))
            self.done.wait(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def _at(self, when):
        assert self.notes[0][0] <= when <= self.notes[-1][0], "the profile's window is not inside the tool's run"
        for (t0, used0), (t1, used1) in zip(self.notes, self.notes[1:]):
            if t0 <= when <= t1:
                return used0 + (used1 - used0) * (when - t0) / (t1 - t0)
        raise AssertionError("unreachable")

    def charged_ns(self, profile):
        """In the window that the profile itself states (time_nanos and duration_nanos)."""
        return self._at(profile.time_s + profile.duration_s) - self._at(profile.time_s)


    def bounds_ns(self, profile):
        """The least and the most that it can have been, however rarely this observer got a CPU itself."""
        begin, end = profile.time_s, profile.time_s + profile.duration_s
        first = [max((used for _, after, used in self.windows if after <= when), default=None) for when in (begin, end)]
        last = [min((used for before, _, used in self.windows if before >= when), default=None) for when in (begin, end)]
        assert None not in first + last, "the profile's window is not inside the tool's run"
        return first[1] - last[0], last[1] - first[0]


class Target:
    """A program that runs and has printed `ready`; `head` is what it printed before."""

    def __init__(self, command, **popen):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **popen)
        self.pid, self.head = self.process.pid, []

    def await_line(self, wanted, deadline_s=DEADLINE_S):
        end = time.monotonic() + deadline_s
        while True:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            assert readable, f"{self.process.args} did not print {wanted!r}"
            line = self._read_line()
            assert line, f"{self.process.args} ended before it printed {wanted!r}: code {self.process.wait()}"
            if line == wanted:
                return
            self.head.append(line)

    def _read_line(self):
        line = b""
        while not line.endswith(b"\n"):  # unbuffered, so that select stays right
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                return ""
            line += byte
        return line.decode().rstrip("\n")

    def read_byte(self, deadline_s):
        readable, _, _ = select.select([self.process.stdout], [], [], deadline_s)
        return os.read(self.process.stdout.fileno(), 1) if readable else b""

    def tids(self):
        """What the target said of its threads: {tid: name}."""
        words = [line.split() for line in self.head if line.startswith("tid ")]
        return {int(word[1]): word[2] if len(word) > 2 else "" for word in words}

    def finish(self):
        """SIGTERM, for the targets that then report; returns what they print."""
        self.process.send_signal(signal.SIGTERM)
        output = self.process.stdout.read().decode()
        assert self.process.wait(DEADLINE_S) == 0
        return output

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start():
    """start("name", args...) -> Target; `command` in place of the name for other programs."""
    targets = []

    def start_target(name, *args, command=(), ready="ready", **popen):
        target = Target([*command, os.path.join(TARGETS, name), *map(str, args)], **popen)
        targets.append(target)
        if ready:
            target.await_line(ready)
        return target

    yield start_target
    for target in reversed(targets):  # a tracer before the one it holds, which cannot be reaped until then
        target.close()


@dataclass
class Run:
    """One finished run of the tool."""

    code: int
    stdout: bytes
    stderr: str
    elapsed_s: float
    path: str

    @property
    def lines(self):
        return [line for line in self.stderr.splitlines() if line.strip()]

    def figure(self, pattern):
        """The first number that `pattern` (with one group) finds in the summary."""
        match = re.search(pattern, self.stderr, re.M)
        assert match, f"nothing like {pattern!r} in the summary:\n{self.stderr}"
        return float(match[1])

    @property
    def complete(self):
        return self.figure(r"^stacks\s+([\d.]+) ?% complete") / 100

    def load(self):
        return pprof.load(self.path)


@pytest.fixture
def folder():
    """A folder that every user may use (pytest's own are closed to others)."""
    path = tempfile.mkdtemp(prefix="cprof-e2e-")
    os.chmod(path, 0o777)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def at_this_rate(args):
    """A rate that a test chose is kept, whatever the machine is busy with."""
    return (*args, "--max-overhead", "100%") if "-r" in args and "--max-overhead" not in args else args


class Tool:
    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, *args, command=(), **popen):
        """The tool as a process, its messages in a pipe."""
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "cwd": self.folder, **popen}
        process = subprocess.Popen([*command, TOOL, *map(str, args)], **popen)
        self.running.append(process)
        return process

    def finish(self, process, path="", begin=None, deadline_s=60):
        try:
            stdout, stderr = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            _, stderr = process.communicate()
            pytest.fail(f"the tool did not end in {deadline_s} s: {process.args}\n{stderr.decode(errors='replace')}")
        return Run(process.returncode, stdout or b"", (stderr or b"").decode(), time.monotonic() - (begin or time.monotonic()),
                   path)

    def run(self, *args, deadline_s=60, **popen):
        """Runs to the end, whatever the result."""
        begin = time.monotonic()
        return self.finish(self.start(*args, **popen), begin=begin, deadline_s=deadline_s)

    def record(self, pid, *args, duration="2s", code=0, output="out.pb.gz", **popen):
        """A run that must succeed and leave a file: -p pid -d duration -o FOLDER/output."""
        path = os.path.join(self.folder, output)
        run = self.run("-p", pid, "-d", duration, "-o", path, *at_this_rate(args), **popen)
        run.path = path
        assert run.code == code, f"exit code {run.code}, not {code}:\n{run.stderr}"
        assert os.path.exists(path), f"no file was written:\n{run.stderr}"
        return run

    def start_and_attach(self, pid, *args, **popen):
        """The tool as a process that has seized the target's threads."""
        process = self.start("-p", pid, *at_this_rate(args), **popen)

        def attached():
            assert process.poll() is None, f"the tool ended early: {process.stderr.read().decode()}"
            return tracer_of(pid) != 0  # a thread of the tool, not always its first

        wait_for(attached, f"the tool traces {pid}")
        return process


@pytest.fixture
def tool(folder):
    tool = Tool(folder)
    yield tool
    for process in tool.running:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def public_tool():
    """A copy of the tool that another user may execute, wherever the repository lies."""
    need_other_users()
    folder = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    os.chmod(folder, 0o755)
    copy = shutil.copy(TOOL, os.path.join(folder, "cprof-attach"))
    os.chmod(copy, 0o755)
    yield copy
    shutil.rmtree(folder)


@pytest.fixture
def public_targets():
    """Copies of some targets that another user may execute."""
    need_other_users()
    folder = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    os.chmod(folder, 0o755)
    for name in ("c_o0", "undumpable"):
        os.chmod(shutil.copy(os.path.join(TARGETS, name), folder), 0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def figure(request):
    """figure("text") -> a line in the section `figures` at the end of the run, for what is measured and not asserted."""
    return lambda text: FIGURES.append(f"{request.node.name}: {text}")


@pytest.fixture(scope="session")
def sanitized():
    """Whether the tool was built with AddressSanitizer, whose own memory and time say nothing of the tool."""
    with open(TOOL, "rb") as file:
        return b"__asan_init" in file.read()


def need_other_users():
    """For tests that run a program as another user."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    if os.stat("/").st_mode & 0o5 != 0o5:
        pytest.skip("other users may not enter / here (its mode lacks o+rx), so they can run nothing")


def source_line(source, marker):
    """The number of the line of a target's source that bears the comment `line: marker`."""
    with open(os.path.join(SOURCES, source)) as file:
        return next(i for i, text in enumerate(file, 1) if text.rstrip().endswith(f"line: {marker}"))


def burn_until(pid, ns):
    """Waits until the process has used `ns` more of CPU time: a condition that does not depend on the machine's load."""
    until = cpu_ns(pid) + ns
    wait_for(lambda: cpu_ns(pid) >= until, f"{pid} uses {ns} ns of CPU", 4 * DEADLINE_S)
