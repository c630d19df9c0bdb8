"""-e state: where every thread's wall time went."""

from collections import defaultdict

import pytest
from conftest import CpuObserver, assert_untouched, threads_of

STATES = {"running", "runnable", "sleeping", "disk", "stopped"}
WAITS = {  # thread -> (its function, names its system call may have)
    "in_epoll": ("wait_in_epoll", {"epoll_wait", "epoll_pwait"}),
    "in_futex": ("wait_in_futex", {"futex"}),
    "in_sleep": ("wait_in_sleep", {"nanosleep", "clock_nanosleep", "restart_syscall"}),
    "in_read": ("wait_in_read", {"read"}),
    "in_poll": ("wait_in_poll", {"poll", "ppoll", "restart_syscall"}),
}


def wall_by(profile, key):
    sums = defaultdict(int)
    for sample in profile.samples:
        sums[key(sample)] += sample.ns
    return sums


def test_sample_types_and_states(start, tool):
    target = start("threads64")
    profile = tool.record(target.pid, "-e", "state", duration="2s").load()
    assert profile.sample_types == ["samples/count", "wall/nanoseconds"]
    assert profile.period_type == "wall nanoseconds"
    assert {sample.labels.get("state") for sample in profile.samples} <= STATES
    assert all(sample.numbers["pid"] == target.pid for sample in profile.samples)


@pytest.mark.parametrize("name", ["blocked", "threads64"])
def test_states_add_up_to_each_threads_wall_time(start, tool, name):
    target = start(name)
    profile = tool.record(target.pid, "-e", "state", duration="3s").load()
    sums = wall_by(profile, lambda sample: sample.numbers["tid"])
    assert set(sums) == {target.pid, *target.tids()}
    for tid, wall_ns in sums.items():
        assert wall_ns / 1e9 == pytest.approx(profile.duration_s, rel=0.02), f"thread {tid}"


@pytest.mark.parametrize("name", ["blocked", "blocked_rbp"])
def test_sleeping_threads_are_named_with_their_call_and_their_stack(start, tool, name):
    target = start(name)
    run = tool.record(target.pid, "-e", "state", duration="2s")
    profile = run.load()
    for tid, thread in target.tids().items():
        function, syscalls = WAITS[thread]
        samples = [sample for sample in profile.samples if sample.numbers["tid"] == tid]
        assert samples, f"thread {thread} is missing"
        for sample in samples:
            assert sample.labels["thread"] == thread
            assert sample.labels["state"] == "sleeping"
            assert sample.labels["syscall"] in syscalls
            assert sample.functions.index(function) < sample.functions.index("thread_main"), sample.functions
            assert not sample.truncated, sample.functions
    assert profile.complete() >= 0.99
    assert run.complete >= 0.99


def test_sleeping_threads_are_not_disturbed(start, tool):
    # Nothing but sleepers: the tool can read all of them without a single stop, once it has seen each asleep.
    target = start("blocked")
    before = switches(target)
    tool.record(target.pid, "-e", "state", "-r", 99, duration="2s")
    woken = {tid: switches(target)[tid] - before[tid] for tid in before}
    # 198 ticks; seizing wakes a thread once or twice, detaching once.
    assert max(woken.values()) < 20, woken


def switches(target):
    """Voluntary context switches by thread: one for each time that it went to sleep."""
    counts = {}
    for tid in target.tids():
        with open(f"/proc/{target.pid}/task/{tid}/status") as file:
            counts[tid] = next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return counts


def test_a_busy_thread_runs_or_is_runnable(start, tool):
    target = start("c_o0")
    profile = tool.record(target.pid, "-e", "state", duration="2s").load()
    by_state = wall_by(profile, lambda sample: sample.labels["state"])
    assert by_state["running"] + by_state["runnable"] >= 0.97 * profile.total_ns, dict(by_state)
    assert profile.share_under("inner") >= 0.95, profile.chains()


def test_wall_is_another_name_for_state(start, tool):
    target = start("blocked")
    assert tool.record(target.pid, "-e", "wall", duration="500ms").load().sample_types[1] == "wall/nanoseconds"


def test_threads_that_come_and_go_have_the_wall_time_of_their_lives(start, tool):
    # Four threads at a time, each for 1 to 8 ms: together less than 4 threads' wall time, but not nothing. Main is exact.
    target = start("churn")
    profile = tool.record(target.pid, "-e", "state", duration="2s").load()
    sums = wall_by(profile, lambda sample: sample.numbers.get("tid") == target.pid)
    assert sums[True] / 1e9 == pytest.approx(profile.duration_s, rel=0.02)
    assert 0 < sums[False] / 1e9 < 4 * profile.duration_s
    assert_untouched(target.pid)


def accounts(pid, tids):
    """Sums of nanoseconds that the threads have run, and have waited for a CPU."""
    sums = [0, 0]
    for tid in tids:
        with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
            words = file.read().split()
        sums = [sums[0] + int(words[0]), sums[1] + int(words[1])]
    return sums


@pytest.mark.parametrize("threads", [1, 8])
def test_running_and_runnable_are_told_apart_as_the_kernel_does(start, tool, figure, threads):
    target = start("spin", threads)
    tids = [tid for tid in threads_of(target.pid) if tid != target.pid]
    with CpuObserver(target.pid, lambda pid: accounts(pid, tids)[0]) as running, \
            CpuObserver(target.pid, lambda pid: accounts(pid, tids)[1]) as waiting:
        profile = tool.record(target.pid, "-e", "state", duration="4s").load()
    ran, waited = running.charged_ns(profile), waiting.charged_ns(profile)
    busy = [sample for sample in profile.samples if sample.numbers["tid"] in tids]
    told = sum(sample.ns for sample in busy if sample.labels["state"] == "runnable") / sum(sample.ns for sample in busy)
    truth = waited / (ran + waited)
    figure(f"{threads} busy threads: runnable {told:.1%} of the time, by the kernel's account {truth:.1%}")
    assert told == pytest.approx(truth, abs=0.15)  # of some 400 ticks, on a machine that may be crowded


def test_short_sleeps_are_told_from_work(start, tool, figure):
    # A thread that sleeps for some 60 us, again and again: what it does at the instant counts, and not what it does when it is its turn to be looked at
    # (73 % of the time of a redis-server that sleeps for half of it was `running`).
    target = start("between", "naps")
    with CpuObserver(target.pid, lambda pid: accounts(pid, [pid])[0]) as running, \
            CpuObserver(target.pid, lambda pid: accounts(pid, [pid])[1]) as waiting:
        profile = tool.record(target.pid, "-e", "state", duration="4s").load()
    mine = [sample for sample in profile.samples if sample.numbers["tid"] == target.pid]
    told = sum(sample.ns for sample in mine if sample.labels["state"] == "sleeping") / sum(sample.ns for sample in mine)
    truth = 1 - (running.charged_ns(profile) + waiting.charged_ns(profile)) / (profile.duration_s * 1e9)
    figure(f"asleep {told:.1%} of the time, by the kernel's account {truth:.1%}")
    assert told == pytest.approx(truth, abs=0.2), profile.chains()
