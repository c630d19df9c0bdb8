"""The target goes on as if nothing had been."""

import os
import signal
import time

import pytest
from conftest import assert_untouched, burn_until, cpu_ns, proc_status, tracer_of, wait_for


@pytest.mark.parametrize("name", ["c_o0", "threads64", "churn", "blocked", "eintr_canary", "go_busy"])
@pytest.mark.parametrize("event", ["cpu", "state"])
def test_nothing_is_left_behind(start, tool, name, event):
    target = start(name)
    tool.record(target.pid, "-e", event, duration="500ms")
    assert_untouched(target.pid)
    if name != "blocked":
        burn_until(target.pid, 10_000_000)


def test_no_signal_is_lost_or_doubled(start, tool):
    # SIGUSR1 one by one, each echoed before the next is sent: a lost one shows at once.
    target = start("sigcount")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-r", "999", "-o", "/dev/null")
    sent = 0
    until = cpu_ns(target.pid) + 1_500_000_000
    while cpu_ns(target.pid) < until or sent < 1000:
        os.kill(target.pid, signal.SIGUSR1)
        sent += 1
        assert target.read_byte(10) == b".", f"SIGUSR1 number {sent} was lost"
    assert process.poll() is None and tracer_of(target.pid) != 0, "the tool was there all the time"
    process.send_signal(signal.SIGINT)
    tool.finish(process)
    assert target.finish().split() == ["usr1", str(sent), "rtmin", "0"]


def test_no_queued_signal_is_lost_or_doubled(start, tool):
    # Real-time signals queue, so that they can be sent without waiting.
    target = start("sigcount")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-r", "999", "-o", "/dev/null")
    sent = 5000
    for _ in range(sent):
        os.kill(target.pid, signal.SIGRTMIN)
    burn_until(target.pid, 500_000_000)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    tool.finish(process)
    wait_for(lambda: int(proc_status(target.pid, "ShdPnd"), 16) == 0, "all signals are delivered")
    assert target.finish().split() == ["usr1", "0", "rtmin", str(sent)]


def state_of(pid):
    return proc_status(pid, "State")[0]


def test_a_stopped_target_stays_stopped(start, tool):
    target = start("c_o0")
    os.kill(target.pid, signal.SIGSTOP)
    wait_for(lambda: state_of(target.pid) == "T", "the target is stopped")
    used = cpu_ns(target.pid)
    profile = tool.record(target.pid, "-e", "state", duration="1s").load()
    assert_untouched(target.pid, "T")
    assert cpu_ns(target.pid) - used < 1_000_000, "it did not run"
    stopped = profile.share(lambda sample: sample.labels.get("state") == "stopped")
    assert stopped >= 0.98, "and the profile says so"
    os.kill(target.pid, signal.SIGCONT)
    burn_until(target.pid, 10_000_000)


def test_a_target_that_is_stopped_and_continued_during_the_run(start, tool):
    target = start("threads64")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-o", os.path.join(tool.folder, "out.pb.gz"))
    burn_until(target.pid, 100_000_000)
    os.kill(target.pid, signal.SIGSTOP)
    # While traced, a group-stopped thread shows as "t (tracing stop)".
    wait_for(lambda: state_of(target.pid) in "Tt", "the target is stopped")
    time.sleep(0.5)  # of sampling; what is waited for below is that nothing happens
    used = cpu_ns(target.pid)
    time.sleep(0.3)
    assert cpu_ns(target.pid) - used < 1_000_000, "it stays stopped while it is sampled"
    os.kill(target.pid, signal.SIGCONT)
    burn_until(target.pid, 100_000_000)
    os.kill(target.pid, signal.SIGSTOP)
    wait_for(lambda: state_of(target.pid) in "Tt", "the target is stopped again")
    process.send_signal(signal.SIGINT)
    assert tool.finish(process).code == 1
    assert_untouched(target.pid, "T")
    os.kill(target.pid, signal.SIGCONT)
    burn_until(target.pid, 10_000_000)


def test_children_and_their_exit_codes_are_the_targets_own(start, tool):
    target = start("forker")
    tool.record(target.pid, "-r", 499)
    forked, reaped = target.finish().split()[1::2]
    assert int(forked) > 10 and forked == reaped


def test_work_goes_on_during_the_run(start, tool, figure):
    """A busy thread runs or waits for a CPU; the rest of its time is what stops took."""
    target = start("c_o0")
    begin, before = time.monotonic_ns(), run_and_wait_ns(target.pid)
    run = tool.record(target.pid, duration="3s")
    stopped = 1 - (run_and_wait_ns(target.pid) - before) / (time.monotonic_ns() - begin)
    figure(f"{stopped:.2%} of a busy thread's time was taken by stops; longest pause {run.figure(r'longest ([0-9.]+)'):.0f} us")
    assert stopped < 0.1


def run_and_wait_ns(tid):
    with open(f"/proc/{tid}/schedstat") as file:
        return sum(int(word) for word in file.read().split()[:2])
