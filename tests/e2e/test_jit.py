"""Code that was compiled while the program ran: stacks through it by frame pointer, names by the map that runtimes write for perf."""

import os
import shutil
import signal

import pytest
from conftest import Target

JAVASCRIPT = """
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
function workLoop() { let sum = 0; for (let i = 0; i < 20; i++) sum += fib(22); return sum; }
function serve() { for (;;) workLoop(); }
console.log('ready');
serve();
"""


@pytest.fixture
def perf_map():
    """Removes what a killed target has left in /tmp."""
    pids = []
    yield pids.append
    for pid in pids:
        path = f"/tmp/perf-{pid}.map"
        if os.path.exists(path):
            os.unlink(path)


def check_jitted(run):
    profile = run.load()
    assert profile.share(lambda sample: sample.functions[0] == "jitted_loop", profile.stacks) > 0.95, profile.chains()
    for sample in profile.stacks:
        if sample.functions[0] == "jitted_loop":
            assert sample.functions[1:3] == ["run_jitted", "main"], sample.functions
    assert run.complete >= 0.99


@pytest.mark.parametrize("when", ["early", "late"])
def test_names_from_the_perf_map(start, tool, perf_map, when):
    target = start("jit", when)
    perf_map(target.pid)
    if when == "late":
        # It appears while the program is profiled.
        process = tool.start_and_attach(target.pid, "-d", "2s", "-r", "199", "-o", f"{tool.folder}/late.pb.gz")
        os.kill(target.pid, signal.SIGUSR1)
        run = tool.finish(process, path=f"{tool.folder}/late.pb.gz")
        assert run.code == 0, run.stderr
    else:
        run = tool.record(target.pid, "-r", 199, "-v")
        assert "[JIT code]" in run.stderr and "(perf map)" in run.stderr
    check_jitted(run)


def test_without_a_map_the_stacks_are_the_same_but_for_the_name(start, tool):
    profile = tool.record(start("jit", "late").pid, "-r", 199).load()
    assert profile.share(lambda sample: sample.functions[1:3] == ["run_jitted", "main"], profile.stacks) > 0.95, profile.chains()


@pytest.mark.parametrize("kind", ["link", "fifo", "foreign"])
def test_a_map_that_is_not_the_targets_is_not_read(start, tool, perf_map, folder, kind):
    target = start("jit", "late")
    perf_map(target.pid)
    path, real = f"/tmp/perf-{target.pid}.map", os.path.join(folder, "real.map")
    with open(real, "w") as file:
        file.write("0 ffffffffffffffff not_ours\n")
    if kind == "link":
        os.symlink(real, path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to another user")
        shutil.move(real, path)
        os.chown(path, 12345, 12345)
    profile = tool.record(target.pid, duration="1s").load()
    assert not any("not_ours" in sample.functions for sample in profile.samples)


def test_javascript_in_node(tool, perf_map, folder):
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed (apt-get install nodejs)")
    script = os.path.join(folder, "work.js")
    with open(script, "w") as file:
        file.write(JAVASCRIPT)
    target = Target([node, "--perf-basic-prof", script], cwd=folder)  # it leaves a log of its own there
    try:
        perf_map(target.pid)
        target.await_line("ready")
        run = tool.record(target.pid, "-r", 199, duration="3s")
        profile = run.load()
    finally:
        target.close()
    busy = [sample for sample in profile.stacks if any("fib" in name for name in sample.functions)]
    assert profile.share(lambda sample: sample in busy, profile.stacks) > 0.9, profile.chains()
    for sample in busy:
        names = [name for name in sample.functions if any(word in name for word in ("fib ", "workLoop ", "serve "))]
        # What V8 has inlined stands under its caller's name.
        order = [next(i for i, word in enumerate(("fib ", "workLoop ", "serve ")) if word in name) for name in names]
        assert order == sorted(order), sample.functions
    assert run.complete >= 0.99, run.stderr
