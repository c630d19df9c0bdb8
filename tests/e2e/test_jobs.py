"""Job control of a profiled program: by signals, and by a real shell on a terminal of its own, whose word counts."""

import os
import pty
import re
import select
import signal
import time

import pytest
from conftest import TARGETS, assert_untouched, burn_until, cpu_ns, proc_status, wait_for

ANY_EVENT = pytest.mark.parametrize("event", ["cpu", "state"])
CTRL_Z, CTRL_C = b"\x1a", b"\x03"


class Shell:
    """bash -i on a pseudo-terminal: it does what it is told, and what it prints is waited for."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, "PS1": "> ", "TERM": "dumb", "HISTFILE": ""})
        self.seen = ""
        self.expect("> ")
        self.type(b"bind 'set enable-bracketed-paste off'; stty -echo\n")
        self.expect("> ")

    def type(self, text):
        os.write(self.fd, text)

    def expect(self, pattern, deadline_s=20):
        """The match; what it prints up to there is used up."""
        end = time.monotonic() + deadline_s
        while True:
            match = re.search(pattern, self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            readable, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert readable, f"the shell did not print {pattern!r}, but: {self.seen!r}"
            self.seen += os.read(self.fd, 4096).decode(errors="replace")

    def do(self, command):
        self.seen = ""
        self.type(command.encode() + b"\n")

    def start(self, *words):
        """A job in the foreground: its PID."""
        self.do(" ".join(words))
        self.expect("ready")
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return int(file.read().split()[-1])

    def jobs(self):
        self.do("jobs -l")
        return self.expect(r"\[\d\]\S?\s+\d+ ([^\r\n]*)")[1]

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def shell():
    shell = Shell()
    yield shell
    shell.close()


def state_of(pid):
    return proc_status(pid, "State")[0]


def is_stopped(pid):
    # While traced, a group-stopped thread shows as "t (tracing stop)".
    return state_of(pid) in "Tt"


def stands_still(pid):
    """All threads are in the stop, and none runs in it while it is sampled some hundred times."""
    def still():
        used = cpu_ns(pid)
        time.sleep(0.05)
        return cpu_ns(pid) - used < 1_000_000
    wait_for(still, "the job stands still")
    used = cpu_ns(pid)
    time.sleep(0.1)
    assert cpu_ns(pid) - used < 2_000_000, "it runs although it is stopped"
    assert is_stopped(pid)


def profile(tool, pid, event):
    return tool.start_and_attach(pid, "-e", event, "-r", "999", "-d", "60s", "-o", os.path.join(tool.folder, "out.pb.gz"))


def end(tool, process):
    assert process.poll() is None, "the tool was there all the time"
    process.send_signal(signal.SIGINT)
    run = tool.finish(process)
    assert run.code == 1, run.stderr  # partial: it was asked to end early


@ANY_EVENT
@pytest.mark.parametrize("name", ["c_o0", "threads64"])
def test_a_shells_job(shell, tool, event, name):
    pid = shell.start(os.path.join(TARGETS, name))
    process = profile(tool, pid, event)
    for word in ("TSTP", "STOP", "TTIN", "TTOU"):
        burn_until(pid, 20_000_000)
        shell.type(CTRL_Z)
        shell.expect(r"Stopped")
        stands_still(pid)
        shell.do("bg")
        burn_until(pid, 20_000_000)
        assert shell.jobs().startswith("Running")
        shell.do(f"kill -{word} %1")
        wait_for(lambda: is_stopped(pid), f"SIG{word} stops the job")
        stands_still(pid)
        assert shell.jobs().startswith("Stopped"), "the shell was told by wait(2)"
        shell.do("fg")
        burn_until(pid, 20_000_000)
    shell.type(CTRL_Z)
    shell.expect("Stopped")
    end(tool, process)
    assert_untouched(pid, "T")
    assert shell.jobs().startswith("Stopped")
    # Stopped before the tool came: it stays so, and is profiled all the same.
    process = profile(tool, pid, event)
    stands_still(pid)
    end(tool, process)
    assert_untouched(pid, "T")
    stands_still(pid)
    # And goes on while it is profiled.
    process = profile(tool, pid, event)
    shell.do("fg")
    burn_until(pid, 20_000_000)
    shell.type(CTRL_C)
    assert tool.finish(process).code == 1, "the target ended"
    shell.do("echo status $?")
    assert shell.expect(r"status (\d+)")[1] == str(128 + signal.SIGINT)


@ANY_EVENT
def test_a_reader_of_the_terminal_in_the_background(shell, tool, event):
    # SIGTTIN and SIGCONT for a program that sleeps in read(2) all the time, which begins the read anew each time.
    pid = shell.start("sh", "-c", "'echo ready; exec cat'")
    wait_for(lambda: proc_status(pid, "Name") == "cat", "cat runs")
    process = profile(tool, pid, event)
    for i in range(3):
        shell.type(CTRL_Z)
        shell.expect("Stopped")
        shell.do("bg")
        wait_for(lambda: re.match(r"Stopped.*tty input", shell.jobs()), "it reads in the background and is stopped for that")
        shell.do("fg")
        shell.type(f"line {i}\n".encode())
        shell.expect(f"line {i}\r?\n")
    end(tool, process)
    assert_untouched(pid)
    shell.type(b"last\n\x04")
    shell.expect("last\r?\n")
    shell.do("echo status $?")
    assert shell.expect(r"status (\d+)")[1] == "0", "cat met its end of file"


@ANY_EVENT
def test_tool_killed_while_the_job_is_stopped(shell, tool, event):
    pid = shell.start(os.path.join(TARGETS, "threads64"))
    for _ in range(5):
        process = profile(tool, pid, event)
        shell.type(CTRL_Z)
        shell.expect("Stopped")
        stands_still(pid)
        process.kill()
        process.communicate()
        assert_untouched(pid, "T")
        stands_still(pid)
        shell.do("fg")
        burn_until(pid, 10_000_000)
    assert_untouched(pid)


@ANY_EVENT
def test_a_stopped_target_is_continued_and_stopped_by_signals(start, tool, event):
    """Many times, as fast as they take effect."""
    target = start("threads64")
    process = profile(tool, target.pid, event)
    for i in range(30):
        os.kill(target.pid, signal.SIGSTOP)
        wait_for(lambda: is_stopped(target.pid), f"stop {i}")
        os.kill(target.pid, signal.SIGCONT)
        burn_until(target.pid, 2_000_000)
    end(tool, process)
    assert_untouched(target.pid)
    burn_until(target.pid, 10_000_000)
