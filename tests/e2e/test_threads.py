"""Many threads, and threads that come and go."""

import pytest
from conftest import assert_untouched, wait_for, threads_of


def run_ns(target):
    """CPU time of each thread, from the kernel: {tid: ns}."""
    times = {}
    for tid in target.tids():
        with open(f"/proc/{target.pid}/task/{tid}/schedstat") as file:
            times[tid] = int(file.read().split()[0])
    return times


def test_64_threads(start, tool):
    target = start("threads64")
    before = run_ns(target)
    run = tool.record(target.pid, "-r", 199, duration="3s")
    used = {tid: ns - before[tid] for tid, ns in run_ns(target).items()}
    profile = run.load()
    hogs = {f"hog-{i}" for i in range(2)}
    nibblers = {f"nibble-{i}" for i in range(2, 64)}
    names = {sample.labels.get("thread") for sample in profile.samples}
    assert names & (hogs | nibblers) >= hogs
    assert len(names & nibblers) >= 56, "62 threads with 0.2 of 20 ms each, 600 ticks each: all but all are seen"
    by_tid = {sample.numbers["tid"]: sample.labels["thread"] for sample in profile.stacks}
    assert set(by_tid) <= {target.pid, *target.tids()}
    # How much of the CPU they get is the scheduler's business; that they are charged with it is ours.
    hog_tids = {tid for tid, name in by_tid.items() if name in hogs}
    truth = sum(used[tid] for tid in hog_tids) / sum(used.values())
    assert profile.share(lambda sample: sample.labels.get("thread") in hogs) == pytest.approx(truth, abs=0.05)
    for sample in profile.stacks:
        wrong = "nibble" if sample.labels["thread"] in hogs else "hog"
        assert wrong not in sample.functions, f"{sample.labels} has another thread's stack: {sample.functions}"
    assert run.complete >= 0.99 and profile.complete() >= 0.99
    assert_untouched(target.pid)


def test_no_busy_thread_is_starved_of_samples(start, tool):
    # 64 threads that share the CPUs: at each tick those are sampled that have one. Each has had its turn.
    target = start("threads64")
    profile = tool.record(target.pid, "-r", 499, duration="5s").load()
    counts = {name: 0 for name in target.tids().values() if name.startswith("hog-")}
    for sample in profile.stacks:
        counts[sample.labels["thread"]] = counts.get(sample.labels["thread"], 0) + sample.count
    assert len(counts) >= 64 and all(counts.values()), counts


def test_threads_that_live_for_a_millisecond(start, tool):
    target = start("churn")
    run = tool.record(target.pid, "-r", 999, duration="3s")
    profile = run.load()
    # What carries no tid are those that stand for others.
    caught = {sample.numbers["tid"] for sample in profile.stacks if "burn_shortly" in sample.functions and "tid" in sample.numbers}
    assert all(sample.count == 0 for sample in profile.stacks if "tid" not in sample.numbers)
    # Some 1,200 threads of 1 ms; a tick each millisecond meets most that live long enough to be found and seized.
    assert len(caught) >= 50, f"{len(caught)} threads were caught"
    assert run.complete >= 0.99, run.stderr
    assert profile.complete() >= 0.99, profile.chains()
    assert_untouched(target.pid)
    seen = set(threads_of(target.pid))
    wait_for(lambda: set(threads_of(target.pid)) - seen, "the target goes on to create threads")


def test_only_the_threads_that_were_asked_for(start, tool):
    target = start("threads64")
    hogs = list(target.tids())[:2]
    profile = tool.record(target.pid, "--tid", hogs[0], duration="1s").load()
    assert {sample.numbers["tid"] for sample in profile.stacks} == {hogs[0]}
    profile = tool.record(target.pid, "--tid", hogs[0], "--tid", hogs[1], duration="1s", output="two.pb.gz").load()
    assert {sample.numbers["tid"] for sample in profile.stacks} == set(hogs)


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_children_are_another_process(start, tool, event):
    target = start("forker")
    profile = tool.record(target.pid, "-e", event, duration="2s").load()
    assert {sample.numbers.get("pid", target.pid) for sample in profile.samples} == {target.pid}
    assert profile.share_under("parent_work") > 0
    assert profile.share_under("child_work") == 0
    forked, reaped = target.finish().split()[1::2]
    assert int(forked) > 10 and forked == reaped
