"""cprof-attach -- COMMAND: a program from its first instruction to its end, and its own exit status."""

import os
import pty
import signal
import subprocess
import sys

import pprof
import pytest
from conftest import TARGETS, TOOL, wait_for


def start(folder, *command, options=(), **popen):
    out = os.path.join(folder, "out.pb.gz")
    done = subprocess.run([TOOL, "-o", out, *options, "--", *command], capture_output=True, timeout=120, **popen)
    return done, out


@pytest.mark.parametrize("script, code", [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM),
                                          ("kill -KILL $$", 128 + signal.SIGKILL), ("exit 2", 2)])
def test_its_exit_status_is_passed_on(folder, script, code):
    done, out = start(folder, "sh", "-c", script)
    assert done.returncode == code, done.stderr
    assert pprof.load(out) is not None


def test_its_streams_are_its_own(folder):
    done, _ = start(folder, "sh", "-c", "cat; echo error >&2", options=["-q"], input=b"through\n")
    assert (done.stdout, done.stderr) == (b"through\n", b"error\n")


@pytest.mark.parametrize("command, code, words", [
    (["no-such-program"], 127, "there is no program no-such-program in any folder of $PATH"),
    (["/no/such/program"], 127, "there is no program /no/such/program:"),
    (["/etc/passwd"], 126, "/etc/passwd may not be executed"),
])
def test_what_cannot_be_run(folder, command, code, words):
    done, out = start(folder, *command)
    assert done.returncode == code and words in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert not os.path.exists(out)


@pytest.mark.parametrize("arguments, words", [
    (["--"], "which program?"), (["-p", "1", "--", "true"], "either a running process or a program"), (["-o", "-", "--", "true"], "standard output is the program's"),
])
def test_usage(arguments, words):
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 64 and words in done.stderr and done.stderr.count("\n") == 1


def test_a_script_that_cannot_be_interpreted(folder):
    path = os.path.join(folder, "script")
    with open(path, "w") as file:
        file.write("#!/no/such/interpreter\n")
    os.chmod(path, 0o755)
    done, _ = start(folder, path, options=["-q"])
    assert done.returncode == 127 and f"cannot run {path}" in done.stderr.decode()


def test_signals_are_as_they_were_given(folder):
    """Ours are blocked and ignored as we need them; the program's are not."""
    script = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGPIPE), signal.getsignal(signal.SIGINT))"
    alone = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    done, _ = start(folder, sys.executable, "-c", script, options=["-q"])
    assert done.stdout == alone


def test_from_the_first_instruction_to_the_last(folder):
    """All of a short program's CPU time is in the profile, as wait4 says it."""
    done, out = start(folder, sys.executable, "-c", "sum(i * i for i in range(2000000)); import resource; u = resource.getrusage(resource.RUSAGE_SELF); "
                      "print(u.ru_utime + u.ru_stime)", options=["-r", "999", "--max-overhead", "100%"])
    assert done.returncode == 0, done.stderr
    said_s = float(done.stdout)
    profile = pprof.load(out)
    # The interpreter's own end comes behind its word.
    assert said_s * 0.97 <= profile.total_ns / 1e9 <= said_s * 1.03 + 0.03
    assert "ended early" not in done.stderr.decode()


def test_nothing_comes_before_it_and_nothing_after(folder):
    """What the dynamic linker calls before all else, main, and the last destructor take the same time."""
    done, out = start(folder, os.path.join(TARGETS, "first_last"))
    assert done.returncode == 0, done.stderr
    profile = pprof.load(out)
    for function in ("before_all", "main", "after_all"):
        ns = sum(sample.ns for sample in profile.samples if function in sample.functions)
        assert 40e6 < ns < 90e6, function
    assert profile.mappings[0].file.endswith("/first_last"), "pprof takes the first mapping for the main binary"


def test_for_a_time(folder):
    """-d ends the profile, and not the program."""
    done, out = start(folder, "sh", "-c", "sleep 1.5; echo end", options=["-d", "200ms", "-e", "state"])
    assert done.stdout == b"end\n" and done.returncode == 0
    assert pprof.load(out).duration_s < 1


def test_control_c_is_for_both(folder):
    """Both are in the terminal's foreground group: the program ends as it will, and the profile is written."""
    out = os.path.join(folder, "out.pb.gz")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(TOOL, [TOOL, "-o", out, "-e", "state", "--", "sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done"])
    text = b""
    while b"ready" not in text:
        text += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:  # EIO: the other side is closed
        pass
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 9
    assert pprof.load(out).samples


def test_killed_it_leaves_the_program_alone(folder):
    process = subprocess.Popen([TOOL, "-q", "-o", os.path.join(folder, "out.pb.gz"), "--", "sh", "-c", "echo $$; exec sleep 60"], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        assert wait_for(lambda: open(f"/proc/{pid}/comm").read() == "sleep\n", "the program goes on")
        assert "TracerPid:\t0" in open(f"/proc/{pid}/status").read()
    finally:
        os.kill(pid, signal.SIGKILL)
        process.stdout.close()
