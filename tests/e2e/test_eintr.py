"""No call fails, ends short of its timeout, or misses a signal because of the tool: judged call by call inside a program that sits in
every blocking call there is (tests/targets/eintr_canary.c)."""

import signal

import pytest
from canary import Canary

# What is left, by kernel and not by choice:
# - A TCP connect with SO_SNDTIMEO that is restarted waits on as a second connect(2) does, and when that times out says EALREADY, not
#   EINPROGRESS: both say that the connection is still being made. Left alone it would say EINTR at once.
EALREADY = -114
# - Ignored signals wake a traced process (kernel/signal.c, sig_ignored), and when another thread takes the signal first, the one that
#   was woken for it stops nowhere: its EINTR cannot be repaired.
LEFT_OF_IGNORED = 0.05
# - Where the kernel looks for signals before it looks at the timeout (io_getevents, receiving with SO_RCVTIMEO), a stop in the moment between
#   the timeout and the call's end is an EINTR, and the restarted call waits once more in full: late, and counted in the figures.
# - A signal within the microsecond after a stop, when the kernel has decided to restart but is not back in the program: as if it had come
#   just before the call.
LEFT_OF_LOST = 3


@pytest.fixture
def canary(start):
    canary = Canary(start("eintr_canary"))
    assert len(canary.skipped) <= 3, canary.skipped  # io_uring and System V IPC may be forbidden in a container
    return canary


def judge(report, signals=0):
    """The faults that are not in the list above."""
    faults = report.faults()
    tcp = faults.get("connect-tcp-sndtimeo-end", {})
    if tcp.get("result") == EALREADY:
        tcp.pop("wrong")
    lost = sum(fault.get("lost", 0) for fault in faults.values())
    if signals and lost <= LEFT_OF_LOST:
        for fault in faults.values():
            fault.pop("lost", None)
    return {name: fault for name, fault in faults.items() if set(fault) - {"calls", "result"}}


def watch_all(canary, seconds):
    return [canary.watch(seconds, mode) for mode in ("quiet", "signals", "ignored")]


def test_the_canary_is_right_about_the_kernel(canary):
    """What it takes for right is what happens without a tracer, in each call, with each kind of signal."""
    quiet, signals, ignored = watch_all(canary, 1)
    assert quiet.faults() == signals.faults() == ignored.faults() == {}
    assert all(case["calls"] for case in quiet.cases.values()), [name for name, case in quiet.cases.items() if not case["calls"]]
    assert signals.total("eintr") > quiet.total("eintr") and ignored.ignored > 0
    canary.all_signals_arrive()


@pytest.mark.parametrize("event", ["cpu", "state"])
@pytest.mark.parametrize("rate", [99, 999])
def test_no_call_notices(canary, tool, figure, event, rate):
    process = tool.start_and_attach(canary.pid, "-e", event, "-r", rate, "--max-overhead", "100%", "-d", "120s", "-o", f"{tool.folder}/out.pb.gz")
    quiet, signals, ignored = watch_all(canary, 2.5)
    assert process.poll() is None, "the tool was there all the time"
    process.send_signal(signal.SIGINT)
    run = tool.finish(process)
    stops = run.figure(r"(\d+) stops of one thread")
    repaired = run.figure(r"(\d+) interrupted system calls")
    figure(f"{stops:.0f} stops, {repaired:.0f} repaired; of {quiet.total('calls') + signals.total('calls')} "
           f"calls {quiet.total('short') + signals.total('short')} short, {quiet.late()}")
    assert stops > 300
    assert judge(quiet) == {}
    assert judge(signals, signals=signals.sent) == {}
    spurious = ignored.total("spurious")
    assert spurious <= LEFT_OF_IGNORED * ignored.ignored + 2, f"{ignored.ignored} ignored signals: {judge(ignored)}"
    canary.all_signals_arrive()
