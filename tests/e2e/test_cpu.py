"""-e cpu: who used the CPU, and that the sum is what the kernel charged."""

import os

import pytest
from conftest import CpuObserver, cpu_ns

BETWEEN = "[cpu between samples]"


def test_sample_types_labels_and_period_are_those_of_a_cpu_profile(start, tool):
    target = start("c_o0")
    profile = tool.record(target.pid, duration="2s").load()
    assert profile.sample_types == ["samples/count", "cpu/nanoseconds"]
    assert profile.period_type == "cpu nanoseconds"
    for sample in profile.stacks:
        assert sample.numbers == {"tid": target.pid, "pid": target.pid}
        assert sample.labels == {"thread": "c_o0"}
    assert "c_o0" in profile.mappings[0].file, "pprof takes the program's name from the first mapping"
    assert profile.comments, "the comments say how good the profile is"


def test_default_rate_is_99_a_second(start, tool):
    # A thread that never sleeps has a sample at each of 3 s x 99 Hz = 297 ticks at which it has a CPU.
    target = start("c_o0")
    run = tool.record(target.pid, duration="3s")
    profile = run.load()
    taken = sum(sample.count for sample in profile.stacks)
    assert 0.85 * 99 * profile.total_ns / 1e9 <= taken <= 1.1 * 297
    achieved = run.figure(r"([\d.]+) Hz achieved")
    assert achieved >= 0.95 * taken / profile.duration_s
    assert profile.period == pytest.approx(1e9 / achieved, rel=0.02), "the period is the measured one"
    assert profile.duration_s == pytest.approx(3, rel=0.02)


def test_split_of_30_to_70_is_found_within_3_points(start, tool):
    # Were the samples independent, 8 s x 499 Hz = 3,992 of them would give a standard deviation of
    # sqrt(0.3 x 0.7 / 3992) = 0.7 points: 3 points are 4 of them. Ticks at nearly even distances over rounds of 100 ms do
    # much better (each change between the functions costs less than one sample), so this does not fail by chance.
    target = start("split_30_70")
    stacks = []
    while sum(sample.count for sample in stacks) < 2000:  # once, but on a crowded machine
        profile = tool.record(target.pid, "-r", 499, duration="8s").load()
        assert profile.stacks
        stacks += profile.stacks
    truth = float(target.finish().split()[1])
    assert truth == pytest.approx(0.30, abs=0.01), "the target's own account"
    for function, share in (("thirty", truth), ("seventy", 1 - truth)):
        found = profile.share(lambda sample: function in sample.functions, stacks)
        assert found == pytest.approx(share, abs=0.03), profile.chains()


@pytest.mark.parametrize("name, rate", [("c_o0", 99), ("split_30_70", 499), ("threads64", 99), ("churn", 99)])
def test_total_is_what_the_kernel_charged(start, tool, figure, name, rate):
    # The kernel's charge is read from outside, at both ends of the window that the file states. -raw and -top give the window
    # to 5 ms, which is 0.13 % of 4 s.
    target = start(name)
    with CpuObserver(target.pid) as observer:
        profile = tool.record(target.pid, "-r", rate, duration="4s").load()
    charged = observer.charged_ns(profile)
    between = profile.share(lambda sample: sample.root.function == BETWEEN)
    figure(f"{profile.total_ns / charged - 1:+.2%} off the kernel's charge, {between:.2%} between samples")
    assert profile.total_ns == pytest.approx(charged, rel=0.03)


def test_time_that_no_sample_saw_is_visible(start, tool):
    # Of one thread only, nobody else's stack stands for what it has used since its last sample.
    target = start("threads64")
    hogs = list(target.tids())[:1]
    profile = tool.record(target.pid, "-r", 5, "--tid", hogs[0], duration="2s").load()
    unseen = [sample for sample in profile.samples if sample.root.function == BETWEEN]
    assert unseen and all(len(sample.stack) == 1 for sample in unseen)
    # A thread that always runs hides nothing.
    target = start("c_o0")
    profile = tool.record(target.pid, duration="2s", output="busy.pb.gz").load()
    assert profile.share(lambda sample: sample.root.function == BETWEEN) < 0.05


def test_work_in_step_with_the_ticks_is_not_aliased(start, tool):
    # The target works 3 ms of every 10 ms in early(); at 100 Hz evenly spaced ticks would all see the same phase: 0 or 100 %.
    # 600 independent samples have a standard deviation of 1.9 points.
    target = start("periodic_10ms")
    profile = tool.record(target.pid, "-r", 100, duration="6s").load()
    early = profile.share(lambda sample: "early" in sample.functions, profile.stacks)
    assert early == pytest.approx(0.30, abs=0.10), profile.chains()


def test_a_thread_that_sleeps_has_no_cpu_samples(start, tool):
    target = start("threads64")
    used = cpu_ns(target.pid)
    profile = tool.record(target.pid, duration="2s").load()
    assert cpu_ns(target.pid) > used, "the target worked"
    # Main sleeps in pause() all the time.
    assert profile.share(lambda sample: sample.numbers["tid"] == target.pid,
                         [sample for sample in profile.samples if "tid" in sample.numbers]) < 0.01


@pytest.mark.parametrize("kind, bound", [("calls", 0.25), ("waits", 0.25)])
def test_work_between_two_system_calls_is_seen(start, tool, figure, kind, bound):
    """An interrupt takes longer to arrive than this work lasts: samples that waited for it would all be at the end of a call (97 and 69 % were). What a
    call does on its way to sleep is seen less than it should be: many kernels do not let it be preempted there."""
    target = start("between", kind)
    profile = tool.record(target.pid, "-r", 299, duration="4s").load()
    truth = float(target.finish().split()[1])
    found = profile.share(lambda sample: {"call", "await"} & set(sample.functions), profile.stacks)
    figure(f"{kind}: {found:.1%} of the time in calls, by the program's own account {truth:.1%}")
    assert abs(found - truth) < bound, profile.chains()


def test_waiting_for_a_cpu_is_no_use_of_it(start, tool, figure):
    """Whoever loses its CPU to others loses it at the end of a system call more often than not (36 to 75 % of the samples were there): the kernel marks
    a thread, and the next way back to user mode is when it goes. These calls take 1 % of the time."""
    for _ in range(2 * len(os.sched_getaffinity(0))):
        start("c_o0")
    target = start("split_30_70")
    profile = tool.record(target.pid, "-r", 299, duration="6s").load()
    found = profile.share(lambda sample: "clock" in sample.functions[0], profile.stacks)
    figure(f"{found:.1%} of the time in calls that take about 1 %")
    assert found < 0.15, profile.chains()


def test_threads_that_live_for_less_than_a_tick_have_their_stacks(start, tool, figure):
    """Most are never met. Those that are stand for them, and at an instant of their own, or they would be at the end of a call, too."""
    run = tool.record(start("churn").pid, duration="4s")
    profile = run.load()
    between = profile.share(lambda sample: BETWEEN in sample.functions, profile.samples)
    clock = profile.share(lambda sample: "clock" in sample.functions[0], profile.stacks)
    figure(f"{between:.1%} between samples, {clock:.1%} in calls that take about 5 %")
    assert between < 0.2, profile.chains()
    assert profile.share(lambda sample: "burn_shortly" in sample.functions, profile.stacks) > 0.7, profile.chains()
    assert clock < 0.4, profile.chains()
