"""Many threads, threads and processes that come and go as fast as they can, exec, and machines that are busy with other work: the profile's
CPU time is the kernel's, the threads that sleep are left alone, and the target goes on."""

import contextlib
import os
import signal
import subprocess

import pytest
from conftest import TARGETS, CpuObserver, assert_untouched, burn_until, proc_status, threads_of

SLEEPERS = 2000
# What a process with 2,000 threads needs of the machine.
THREADS_LIMIT = "/proc/sys/kernel/threads-max"


def record_beside_kernel(tool, target, figure, *args, duration="2s", beside=contextlib.nullcontext):
    """A run whose total is within 3 % of what the kernel charged to the process in the window that the file states."""
    with beside(), CpuObserver(target.pid) as observer:
        run = tool.record(target.pid, *args, duration=duration)
    profile = run.load()
    charged = observer.charged_ns(profile)
    own_s = run.figure(r"own use +([0-9.]+) s")
    figure(f"{profile.total_ns / charged - 1:+.2%} off the kernel's charge of {charged / 1e9:.2f} s; {run.lines[1]}; {own_s} s own CPU")
    assert_charged(profile, observer, run)
    return run, profile


def assert_charged(profile, observer, run):
    # On a crowded machine the observer, too, waits for a CPU: the bounds that it is sure of are what is compared.
    least, most = observer.bounds_ns(profile)
    assert 0.97 * least <= profile.total_ns <= 1.03 * most, f"{profile.total_ns} ns, not {least} to {most}:\n{run.stderr}"


def switches(pid):
    """How often each thread got a CPU: {tid: schedstat's count}."""
    counts = {}
    for tid in threads_of(pid):
        with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
            counts[tid] = int(file.read().split()[2])
    return counts


def start_sleepers(start, number):
    with open(THREADS_LIMIT) as file:
        limit = int(file.read())
    if limit < 2 * number:
        pytest.skip(f"the kernel allows {limit} threads here ({THREADS_LIMIT})")
    return start("sleepers", number)


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_thousands_of_sleepers(start, tool, figure, event):
    target = start_sleepers(start, SLEEPERS)
    before = switches(target.pid)
    if event == "cpu":
        run, profile = record_beside_kernel(tool, target, figure)
        assert profile.share_under("busy") > 0.9
    else:
        run = tool.record(target.pid, "-e", event, duration="2s")
        profile = run.load()
        wall = profile.total_ns / 1e9
        assert wall == pytest.approx((SLEEPERS + 1) * profile.duration_s, rel=0.02)
        assert profile.share_under("sleep_for_good") == pytest.approx(SLEEPERS / (SLEEPERS + 1), abs=0.02)
        figure(f"{run.lines[0]}; {run.figure(r'own use +([0-9.]+) s')} s own CPU")
    after = switches(target.pid)
    woken = [tid for tid in before if tid != target.pid and after[tid] != before[tid]]
    assert woken == [], f"{len(woken)} of {SLEEPERS} sleepers were given a CPU"
    assert run.complete >= 0.99, run.stderr
    assert_untouched(target.pid)


def test_sleepers_never_have_a_tracer(start, tool):
    target = start_sleepers(start, SLEEPERS)
    process = tool.start_and_attach(target.pid, "-e", "state", "-d", "60s", "-r", "499", "-o", "/dev/null")
    burn_until(target.pid, 300_000_000)
    traced = [tid for tid in threads_of(target.pid) if proc_status(target.pid, "TracerPid", tid) != "0"]
    process.kill()
    process.wait()
    assert traced == [target.pid]


def limit_files(number):
    """A command that begins another with no more open files than that, soft and hard."""
    return ("sh", "-c", f'ulimit -n {number}; exec "$0" "$@"')


@pytest.mark.parametrize("name, args", [("threads64", ()), ("sleepers", (500,))])
@pytest.mark.parametrize("event", ["cpu", "state"])
def test_few_open_files_allowed(start, tool, name, args, event):
    """Files that may not be kept open are opened anew for each look: every thread is there all the same."""
    target = start(name, *args)
    n_threads = len(threads_of(target.pid))
    run = tool.record(target.pid, "-e", event, duration="1s", command=limit_files(64))
    profile = run.load()
    assert run.figure(r"from (\d+) threads?") == n_threads and profile.stacks
    if event == "state":
        assert len({sample.numbers["tid"] for sample in profile.samples}) == n_threads, run.stderr
    assert_untouched(target.pid)
    burn_until(target.pid, 10_000_000)


@pytest.mark.parametrize("rate", [99, 999])
def test_two_thousand_threads_a_second(start, tool, figure, rate):
    target = start("thread_storm")
    run, profile = record_beside_kernel(tool, target, figure, "-r", rate)
    assert profile.share(lambda sample: sample.root.function == "[cpu between samples]") < 1
    assert_untouched(target.pid)
    words = target.finish().split()
    made = int(words[1]) / float(words[3])
    figure(f"{made:.0f} threads a second")
    assert run.code == 0 and profile.complete() >= 0.99, profile.chains()


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_ended_threads_do_not_linger(start, tool, event):
    """The tool, their tracer, reaps them at once."""
    target = start("thread_storm")
    process = tool.start_and_attach(target.pid, "-e", event, "-r", "999", "-d", "60s", "-o", os.path.join(tool.folder, "out"))
    burn_until(target.pid, 300_000_000)
    most = max(len(threads_of(target.pid)) for _ in range(50))
    process.terminate()
    assert tool.finish(process).code == 1
    assert most <= 40, f"{most} threads at a time, of which ten are alive"
    assert_untouched(target.pid)
    target.finish()


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_a_storm_of_forks(start, tool, figure, event):
    target = start("fork_storm")
    if event == "cpu":
        _, profile = record_beside_kernel(tool, target, figure, "-r", 499)
    else:
        profile = tool.record(target.pid, "-e", event, "-r", 499, duration="2s").load()
        assert profile.total_ns / 1e9 == pytest.approx(5 * profile.duration_s, rel=0.03), "five threads"
    assert profile.share_under("storm_work") > 0
    assert_untouched(target.pid)
    made, reaped = target.finish().split()[1::2]
    assert int(made) > 100 and made == reaped
    figure(f"{made} processes, all with their own exit codes")


def test_a_hundred_execs_a_second(start, tool, figure):
    target = start("exec_loop")
    run, profile = record_beside_kernel(tool, target, figure, "-r", 499)
    assert {sample.numbers["pid"] for sample in profile.samples} == {target.pid}
    for image in ("even_image", "odd_image"):
        assert profile.share_under(image) > 0.1, profile.chains()
    assert_untouched(target.pid)


def test_exec_of_another_program(start, tool, figure):
    """Both programs are in the file, each under its own name and with its own functions."""
    other = os.path.join(TARGETS, "c_o0")
    script = f'trap "exec {other}" USR1; echo ready; while :; do :; done'
    target = start("x", command=("bash", "-c", script))
    with CpuObserver(target.pid) as observer:
        process = tool.start_and_attach(target.pid, "-d", "3s", "-o", os.path.join(tool.folder, "out.pb.gz"))
        burn_until(target.pid, 500_000_000)
        target.process.send_signal(signal.SIGUSR1)
        target.await_line("ready")
        run = tool.finish(process, os.path.join(tool.folder, "out.pb.gz"))
    assert run.code == 0, run.stderr
    profile = run.load()
    assert_charged(profile, observer, run)
    files = {os.path.basename(mapping.file) for mapping in profile.mappings}
    assert "bash" in files and "c_o0" in files, files

    def programs(sample):
        return {os.path.basename(place.mapping.file) for place in sample.stack if place.mapping} & {"bash", "c_o0"}

    assert profile.share(lambda sample: programs(sample) == {"bash"}) > 0.05, profile.chains()
    assert profile.share(lambda sample: programs(sample) == {"c_o0"}) > 0.3 and profile.share_under("inner") > 0.3, profile.chains()
    assert all(len(programs(sample)) <= 1 for sample in profile.samples), "no stack has frames of both"
    assert_untouched(target.pid)


@pytest.mark.parametrize("event", ["cpu", "state"])
def test_a_leader_that_called_pthread_exit(start, tool, figure, event):
    target = start("leader_exit")
    if event == "cpu":
        run, profile = record_beside_kernel(tool, target, figure)
        assert profile.share_under("survivor") > 0.95
    else:
        run = tool.record(target.pid, "-e", event)
        profile = run.load()
        assert profile.share_under("survivor") >= 0.45, "of two threads' wall time, or of the living one's"
    assert run.complete >= 0.99, run.stderr
    states = {proc_status(target.pid, "State", tid)[0] for tid in threads_of(target.pid)}
    assert states <= set("RZS") and all(proc_status(target.pid, "TracerPid", tid) == "0" for tid in threads_of(target.pid))
    burn_until(target.pid, 10_000_000)


@contextlib.contextmanager
def overload():
    """Four times as many busy processes as there are CPUs."""
    hogs = [subprocess.Popen([os.path.join(TARGETS, "c_o0")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(4 * os.cpu_count())]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.parametrize("name", ["c_o0", "threads64", "thread_storm"])
def test_all_cores_overloaded(start, tool, figure, name):
    target = start(name)
    run, profile = record_beside_kernel(tool, target, figure, beside=overload)
    assert profile.complete() >= 0.99, run.stderr
    assert_untouched(target.pid)
