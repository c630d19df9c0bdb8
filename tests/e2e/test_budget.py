"""What a run may cost the target, and what the summary says of it."""

import re
from collections import Counter

import pytest
from conftest import CpuObserver


def achieved(run):
    return run.figure(r"\(([0-9.]+) Hz achieved")


def test_the_rate_is_lowered_to_stay_within_the_budget(start, tool):
    target = start("c_o0")
    free = tool.record(target.pid, "-r", 999, "--max-overhead", "100%", duration="2s")
    # 0.1 % of a busy thread are 1 ms of stops a second, and five of them are forgiven at once.
    held = tool.record(target.pid, "-r", 999, "--max-overhead", "0.1%", duration="4s")
    assert achieved(held) < achieved(free) / 2
    assert "lowered to stay within --max-overhead" in held.stderr and "lowered" not in free.stderr
    # What is not seen more often is seen with more weight.
    assert held.load().share_under("inner") >= 0.95


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_calls_that_a_stop_cut_short_are_counted_and_their_thread_is_left_alone(start, tool, figure, event):
    target = start("short_writes")
    with CpuObserver(target.pid) as observer:
        run = tool.record(target.pid, "-e", event, "-r", 499, duration="3s")
    profile = run.load()
    truth = int(re.search(r"short (\d+)", target.finish())[1])
    said = re.search(r"^short\s+(\d+) system calls.* for (\d+) samples", run.stderr, re.M)
    assert truth > 0, "no write was cut short: nothing was tested"
    assert said, run.stderr
    stops = run.figure(r"(\d+) stops")
    figure(f"{event}: {truth} short writes, {said[1]} reported, {stops:.0f} stops, {said[2]} samples backed off")
    # Not each of them is at a stop of ours that samples (a signal's, a second stop in the same call): never more than there were.
    assert truth / 2 <= int(said[1]) <= truth
    # 50 ms, then twice as long each time: hardly more than ten in three seconds, of some 1,500 ticks.
    assert int(said[1]) < 30
    backed_off = [sample for sample in profile.samples if sample.labels.get("backed_off")]
    assert sum(sample.count for sample in backed_off) == int(said[2]) > 0
    assert {sample.labels["backed_off"] for sample in backed_off} == {"short counts"}
    assert all("write" in sample.functions[0] or "write" in "".join(sample.functions) for sample in backed_off), Counter(
        sample.functions[0] for sample in backed_off)
    if event == "cpu":
        assert profile.total_ns == pytest.approx(observer.charged_ns(profile), rel=0.03)


def test_a_run_says_that_it_left_nothing_behind(start, tool):
    target = start("threads64")
    run = tool.record(target.pid, duration="500ms")
    assert re.search(r"^released\s+all 65 threads: no tracer, none left stopped$", run.stderr, re.M), run.stderr
    assert any(comment.startswith("released") for comment in run.load().comments)


@pytest.mark.parametrize("arguments", [["--no-realtime"], ["--max-pause", "100us"]])
def test_other_priorities_and_pauses_give_the_same_profile(start, tool, arguments):
    target = start("threads64")
    with CpuObserver(target.pid) as observer:
        profile = tool.record(target.pid, *arguments, duration="2s").load()
    assert profile.total_ns == pytest.approx(observer.charged_ns(profile), rel=0.03)
    assert profile.complete() >= 0.99
