"""The command line: options, output, messages, exit codes, and how a run may end."""

import errno
import os
import pty
import re
import select
import signal
import subprocess
import time

import pprof
import pytest
from conftest import assert_untouched, burn_until, cpu_ns, wait_for


@pytest.mark.parametrize("text, seconds", [("1", 1), ("1s", 1), ("500ms", 0.5), ("1s500ms", 1.5), ("1.5s", 1.5), ("0m1s", 1)])
def test_durations(start, tool, text, seconds):
    profile = tool.record(start("c_o0").pid, duration=text).load()
    # A busy machine may end it late; twice as long would be another unit's.
    assert seconds * 0.99 <= profile.duration_s < 2 * seconds


def test_minutes_are_understood(start, tool):
    target = start("c_o0")
    path = os.path.join(tool.folder, "out.pb.gz")
    process = tool.start_and_attach(target.pid, "-d", "1m30s", "-o", path)
    burn_until(target.pid, 300_000_000)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert tool.finish(process).code == 1


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "-5s", "abc", "10x", "1s1m", "s", "1e400", "99999999h", "1 s", "nan"])
def test_bad_durations(start, tool, text):
    assert_usage(tool.run("-p", start("c_o0").pid, "-d", text))


def assert_usage(run):
    assert run.code == 64, run.stderr
    assert len(run.lines) == 1, run.stderr
    assert run.stdout == b""


@pytest.mark.parametrize("args", [("-d", "1s"), ("-p",), ("-p", "abc"), ("-p", "0"), ("-p", "-3"), ("-p", "12x"), ("--nonsense",), ("-Z",),
                                  ("-p", "99999999999999999999"), ("1", "2"), ("-p", "1", "-r", "0"), ("-p", "1", "-r", "abc"),
                                  ("-p", "1", "-r", "-5"), ("-p", "1", "-r", "1000000000"), ("-p", "1", "-e", "heap"),
                                  ("-p", "1", "--max-depth", "0"), ("-p", "1", "--max-depth", "x"), ("-p", "1", "--tid", "x"),
                                  ("-p", "1", "-o", "")])
def test_usage_errors(tool, args):
    assert_usage(tool.run(*args))
    assert os.listdir(tool.folder) == []


def test_help(tool):
    run = tool.run("--help")
    assert run.code == 0 and run.stderr == ""
    text = run.stdout.decode()
    for word in ("-p", "-d", "-r", "-e", "-o", "--tid", "--max-depth", "-q", "-v", "--version", "64", "go tool pprof"):
        assert word in text, f"--help is silent about {word}"
    assert tool.run("-h").stdout == run.stdout


def test_version(tool):
    run = tool.run("--version")
    assert run.code == 0 and run.stderr == ""
    first, libraries = run.stdout.decode().splitlines()
    assert re.fullmatch(r"cprof-attach \d+\.\d+\S* \(x86_64\)", first)
    packages = {"libunwind": "libunwind-generic", "elfutils": "libdw", "protobuf-c": "libprotobuf-c", "zlib": "zlib", "liblzma": "liblzma",
                "libzstd": "libzstd"}
    for library, package in packages.items():
        version = subprocess.run(["pkg-config", "--modversion", package], capture_output=True, text=True, check=True).stdout.strip()
        assert f"{library} {version}" in libraries
    assert tool.run("-V").stdout == run.stdout


@pytest.mark.parametrize("form", [("{pid}",), ("--pid", "{pid}"), ("--pid={pid}",), ("-p{pid}",), ("-p", "{pid}", "-F", "50"),
                                  ("-p", "{pid}", "--frequency", "50"), ("-p", "{pid}", "--rate=50"), ("{pid}", "--event", "cpu")])
def test_forms_of_the_options(start, tool, form):
    target = start("c_o0")
    path = os.path.join(tool.folder, "out.pb.gz")
    run = tool.run(*[word.format(pid=target.pid) for word in form], "--duration=1s", "--output", path)
    assert run.code == 0, run.stderr
    # How many ticks a busy machine lets through is not the point here.
    assert run.figure(r"of ([\d.]+) requested") == (50 if "50" in " ".join(form[1:]) else 99)
    assert sum(sample.count for sample in pprof.load(path).stacks) > 0


def test_default_file_name_is_the_last_line(start, tool):
    target = start("c_o0")
    before = time.strftime("%Y%m%dT%H%M%S")
    run = tool.run("-p", target.pid, "-d", "500ms")
    after = time.strftime("%Y%m%dT%H%M%S")
    assert run.code == 0, run.stderr
    files = os.listdir(tool.folder)
    assert len(files) == 1, files
    match = re.fullmatch(rf"cprof-c_o0-{target.pid}-(\d{{8}}T\d{{6}})\.pb\.gz", files[0])
    assert match and before <= match[1] <= after
    assert os.path.basename(run.lines[-1].strip()) == files[0]
    assert os.path.exists(os.path.join(tool.folder, run.lines[-1].strip())), "the last line is the path, and nothing else"
    assert pprof.load(os.path.join(tool.folder, files[0])).stacks


def test_pattern_in_the_file_name(start, tool):
    target = start("c_o0")
    assert tool.run("-p", target.pid, "-d", "200ms", "-o", "x-%n-%p-%t.gz").code == 0
    files = os.listdir(tool.folder)
    assert len(files) == 1 and re.fullmatch(rf"x-c_o0-{target.pid}-\d{{8}}T\d{{6}}\.gz", files[0]), files


def test_an_existing_file_is_replaced(start, tool):
    target = start("c_o0")
    for _ in range(2):
        run = tool.record(target.pid, duration="500ms")
    assert os.listdir(tool.folder) == ["out.pb.gz"], "nothing is left beside the file"
    assert run.load().duration_s == pytest.approx(0.5, rel=0.1), "the second run alone, not both"


def test_standard_output(start, tool):
    target = start("c_o0")
    run = tool.run("-p", target.pid, "-d", "500ms", "-o", "-")
    assert run.code == 0, run.stderr
    assert os.listdir(tool.folder) == []
    path = os.path.join(tool.folder, "out.pb.gz")
    with open(path, "wb") as file:
        file.write(run.stdout)
    assert pprof.load(path).share_under("inner") > 0.9


def test_standard_output_on_a_terminal_is_refused(start, tool):
    target = start("c_o0")
    master, slave = pty.openpty()
    try:
        run = tool.run("-p", target.pid, "-d", "30s", "-o", "-", stdout=slave, deadline_s=10)
        assert run.code in (2, 64), run.stderr
        assert len(run.lines) == 1 and "terminal" in run.stderr
        assert not select.select([master], [], [], 0)[0], "nothing reached the terminal"
    finally:
        os.close(master)
        os.close(slave)


def run_on_a_terminal(tool, *args):
    """What a run writes to stderr when that is a terminal."""
    master, slave = pty.openpty()
    process = tool.start(*args, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError as error:
            assert error.errno == errno.EIO  # Linux: the other end is closed
            break
        if not part:
            break
        text += part
    os.close(master)
    assert process.wait(10) == 0
    return text.decode()


def test_progress_on_a_terminal(start, tool):
    target = start("threads64")
    args = ("-p", target.pid, "-d", "2s", "-o", "out.pb.gz")
    text = run_on_a_terminal(tool, *args)
    assert "\r" in text and re.search(r"\d+ samples", text) and re.search(r"\d+ threads", text), text
    quiet = run_on_a_terminal(tool, *args, "-q")
    assert "samples" not in quiet and "threads" not in quiet
    run = tool.run(*args)
    assert "\r" not in run.stderr and "\x1b" not in run.stderr, "no progress where nobody looks"


def test_summary_for_people(start, tool):
    target = start("split_30_70")
    run = tool.record(target.pid, "-r", 199)
    profile = run.load()
    assert run.figure(r"^samples\s+([\d]+)") == sum(sample.count for sample in profile.stacks)
    assert run.figure(r"from (\d+) threads?") == 1
    assert 0 < run.figure(r"median ([\d.]+)") and run.figure(r"longest ([\d.]+)") > 0
    assert re.search(r"^hottest +\d.* target_mix$", run.stderr, re.M), "the hottest functions"
    assert re.search(rf"go tool pprof .*{re.escape(run.path)}", run.stderr)
    assert run.lines[-1].strip() == run.path
    # The command that it proposes is a right one (-top in place of the browser).
    assert "seventy" in pprof.top(run.path)


def test_quiet_and_verbose(start, tool):
    target = start("c_o0")
    usual = tool.record(target.pid, duration="500ms")
    quiet = tool.record(target.pid, "-q", duration="500ms")
    verbose = tool.record(target.pid, "-v", duration="500ms")
    assert len(quiet.lines) <= 1 and "samples" not in quiet.stderr
    assert len(verbose.lines) > len(usual.lines)
    assert "libc" in verbose.stderr, "-v lists the modules"
    bad = tool.run("-q", "-p", "abc")
    assert bad.code == 64 and len(bad.lines) == 1, "-q does not silence errors"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run_and_writes(start, tool, number):
    target = start("c_o0")
    path = os.path.join(tool.folder, "out.pb.gz")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-o", path)
    burn_until(target.pid, 1_000_000_000)
    process.send_signal(number)
    run = tool.finish(process, path, deadline_s=10)
    assert run.code == 1, run.stderr
    profile = run.load()
    assert 0.5 < profile.duration_s < 30
    assert profile.share_under("inner") > 0.9
    assert_untouched(target.pid)


def test_targets_exit_ends_the_run_and_writes(start, tool):
    target = start("split_30_70")
    path = os.path.join(tool.folder, "out.pb.gz")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-o", path)
    burn_until(target.pid, 1_000_000_000)
    target.finish()
    run = tool.finish(process, path, deadline_s=10)
    assert run.code == 1, run.stderr
    profile = run.load()
    assert 0.5 < profile.duration_s < 30
    assert profile.share_under("seventy") > 0.5, "symbols are still found: " + profile.chains()


def test_target_that_is_killed_ends_the_run_and_writes(start, tool):
    target = start("threads64")
    path = os.path.join(tool.folder, "out.pb.gz")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-o", path)
    burn_until(target.pid, 1_000_000_000)
    target.process.kill()
    target.process.wait()  # the tool must not keep the dead from being reaped
    run = tool.finish(process, path, deadline_s=10)
    assert run.code == 1, run.stderr
    assert run.load().share_under("hog") > 0.3


def test_the_parent_of_a_dying_target_is_not_kept_waiting(start, tool):
    # A seized thread that is not reaped by its tracer lingers as a zombie, and the parent's waitpid with it.
    target = start("threads64")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-r", "1", "-o", os.path.join(tool.folder, "out.pb.gz"))
    begin = time.monotonic()
    target.process.kill()
    target.process.wait(10)
    assert time.monotonic() - begin < 0.9, "not only at the next tick, a second later"
    assert tool.finish(process, deadline_s=10).code in (1, 2)


def test_unknown_tid(start, tool):
    target = start("c_o0")
    run = tool.run("-p", target.pid, "--tid", os.getpid(), "-d", "1s")
    assert run.code == 2, run.stderr
    assert len(run.lines) == 1 and str(os.getpid()) in run.stderr


def test_the_window_is_the_asked_one(start, tool):
    target = start("c_o0")
    used = cpu_ns(target.pid)
    run = tool.record(target.pid, duration="1s")
    assert (cpu_ns(target.pid) - used) / 1e9 <= run.elapsed_s + 0.1
    assert run.elapsed_s >= 1
    wait_for(lambda: not os.path.exists(run.path + ".tmp"), "no other file", 1)
