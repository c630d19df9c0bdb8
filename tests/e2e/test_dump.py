"""dump: the stack of every thread at one moment, and what each waits for."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter

import pytest
from canary import Canary
from conftest import TARGETS, assert_untouched, proc_status, threads_of, wait_for
from test_eintr import judge
from test_state import WAITS

STATES = {"running", "runnable", "sleeping", "disk", "stopped", "ended"}


@pytest.fixture
def dump(tool):
    """dump(pid, *args) -> (what it wrote as JSON, the run)."""

    def dump_json(pid, *args, code=0, **popen):
        run = tool.run("dump", pid, "--json", *args, **popen)
        assert run.code == code, f"exit code {run.code}, not {code}:\n{run.stderr}"
        return json.loads(run.stdout), run

    return dump_json


def functions(thread):
    return [frame.get("function", "??") for frame in thread["frames"]]


def by_tid(result):
    return {thread["tid"]: thread for thread in result["threads"]}


def syscall_of(pid, tid):
    """What the kernel says: the number, and the arguments; [] of a thread that runs."""
    with open(f"/proc/{pid}/task/{tid}/syscall") as file:
        words = file.read().split()
    return [int(words[0]), *(int(word, 16) for word in words[1:7])] if len(words) == 9 else []


def test_every_thread_is_there_once_with_its_stack(start, dump, figure):
    target = start("threads64")
    result, run = dump(target.pid)
    threads = by_tid(result)
    assert len(threads) == len(result["threads"])
    assert set(threads) == {target.pid, *target.tids()}
    assert result["at_one_moment"] and "at one moment" in run.stderr
    for tid, thread in threads.items():
        assert thread["name"] == open(f"/proc/{target.pid}/task/{tid}/comm").read().strip()
        assert thread["state"] in STATES and thread["complete"], thread
        names = functions(thread)
        if tid == target.pid:
            assert thread["call"]["words"] == "pause()" and "main" in names
        else:
            assert {"thread_main", "start_thread"} <= set(names)
        if thread["name"].startswith("hog"):
            assert "hog" in names and thread["state"] in ("running", "runnable") and thread["cpu_ns"] > 0
    assert_untouched(target.pid)
    figure(f"{result['stopped_threads']} of 65 threads stopped, at most {result['longest_stop_ns'] / 1e3:.0f} µs")


@pytest.mark.parametrize("name", ["blocked", "blocked_rbp"])
def test_sleepers_are_not_stopped(start, dump, name):
    target = start(name)
    before = {tid: proc_status(target.pid, "voluntary_ctxt_switches", tid) for tid in target.tids()}
    result, run = dump(target.pid)
    threads = by_tid(result)
    for tid, thread in target.tids().items():
        function, syscalls = WAITS[thread]
        names = functions(threads[tid])
        assert names.index(function) < names.index("thread_main"), names
        assert threads[tid]["complete"] and threads[tid]["state"] == "sleeping" and threads[tid]["taken"] == "asleep"
        assert threads[tid]["call"]["name"] in syscalls
    assert result["stopped_threads"] == 0 and "none was stopped" in run.stderr
    assert {tid: proc_status(target.pid, "voluntary_ctxt_switches", tid) for tid in target.tids()} == before


def test_calls_in_words_and_as_the_kernel_has_them(start, dump):
    target = start("waits")
    expected = dict(line.split(" ", 2)[1:] for line in target.head if line.startswith("call "))
    kernel = {tid: syscall_of(target.pid, tid) for tid in target.tids()}
    result, _ = dump(target.pid)
    threads = by_tid(result)
    assert len(expected) == len(target.tids()) == 13
    for tid, name in target.tids().items():
        call = threads[tid]["call"]
        pattern = ".+".join(re.escape(part) for part in expected[name].split("*"))
        assert re.fullmatch(pattern, call["words"]), f"{call['words']!r} is not {expected[name]!r}"
        assert [call["number"], *(int(argument, 16) for argument in call["arguments"])] == kernel[tid]
        # vfork(3) keeps its return address in a register, where its child cannot overwrite it.
        assert f"in_{name}" in functions(threads[tid]) or name == "vfork"
    uninterruptible = next(thread for thread in result["threads"] if thread["name"] == "vfork")
    assert uninterruptible["state"] == "disk"


def test_all_stacks_are_of_one_moment(start, tool, figure):
    # Two threads of one pair in its_turn() are a moment that never was.
    target = start("turns", command=("nice", "-n", "19"))  # the tool is to get a CPU, too
    holders = 0
    for _ in range(24):
        run = tool.run("dump", target.pid)
        assert run.code == 0 and "at one moment" in run.stderr, run.stderr
        inside = Counter()
        for thread in run.stdout.decode().split("\nthread ")[1:]:
            if " its_turn " in thread:
                inside[re.match(r'\d+ "(pair-\d+)"', thread)[1]] += 1
        assert all(n == 1 for n in inside.values()), inside
        holders += len(inside)
    figure(f"of {24 * 16} locks {holders} were held")
    assert holders > 100  # otherwise this shows nothing
    assert_untouched(target.pid)


def eu_stack(pid):
    """{tid: pcs} by elfutils, which stops the process."""
    output = subprocess.run(["eu-stack", "-p", str(pid)], capture_output=True, text=True, timeout=60).stdout
    stacks = {}
    for line in output.splitlines():
        words = line.split()
        if words[:1] == ["TID"]:
            pcs = stacks.setdefault(int(words[1].rstrip(":")), [])
        elif words and words[0].startswith("#"):
            pcs.append(int(words[1], 16))
    return stacks


@pytest.mark.parametrize("name", ["blocked", "blocked_rbp"])
def test_the_addresses_are_those_of_another_unwinder(start, dump, name):
    if not shutil.which("eu-stack"):
        pytest.skip("eu-stack of elfutils is not installed")
    target = start(name)
    result, _ = dump(target.pid)
    others = eu_stack(target.pid)
    assert len(result["threads"]) == len(others) == 6
    for thread in result["threads"]:
        pcs = [int(frame["address"], 16) for frame in thread["frames"] if not frame.get("inlined")]
        assert pcs == others[thread["tid"]], thread["name"]


def test_text_says_what_json_says(start, tool, dump):
    target = start("blocked")
    result, _ = dump(target.pid)
    text = tool.run("dump", target.pid).stdout.decode()
    assert text.startswith(f"{target.pid} (blocked) {TARGETS}/blocked, ")
    assert ": 6 threads at one moment\n" in text
    blocks = text.split("\nthread ")[1:]
    assert len(blocks) == 6
    for block, thread in zip(blocks, result["threads"]):
        lines = block.rstrip("\n").split("\n")
        assert lines[0].startswith(f"{thread['tid']} \"{thread['name']}\": sleeping, ")
        assert lines[1] == "  in " + thread["call"]["words"]
        assert len(lines) == 2 + len(thread["frames"])
        for number, (line, frame) in enumerate(zip(lines[2:], thread["frames"])):
            begin = f"  #{number:<3} 0x{int(frame['address'], 16):016x} {frame['function']}"
            source = f" ({frame['file']}:{frame['line']})" if "file" in frame else ""
            inlined = " inlined" if frame.get("inlined") else ""
            assert line == f"{begin}{source} [{os.path.basename(frame['module'])}]{inlined}"


@pytest.mark.parametrize("name, function", [("go_busy", "main."), ("go_stripped", "main."), ("go_cgo", "main.")])
def test_go(start, dump, name, function):
    target = start(name)
    before = set(threads_of(target.pid))
    result, _ = dump(target.pid)
    assert before <= set(by_tid(result)) <= set(threads_of(target.pid))
    assert all(thread["complete"] for thread in result["threads"]), result
    assert any(name.startswith(function) for thread in result["threads"] for name in functions(thread))
    assert_untouched(target.pid)


def test_cpp_names_and_inlined_calls(start, dump):
    result, _ = dump(start("cpp_inline").pid)
    frames = [frame for thread in result["threads"] for frame in thread["frames"]]
    assert any(frame.get("inlined") for frame in frames)
    assert any("::" in frame.get("function", "") for frame in frames)


@pytest.mark.parametrize("args", [("--max-depth", 65536), ()])
def test_a_stack_of_megabytes(start, dump, args):
    # Too deep for the first copy, and for what a profile copies.
    target = start("recurse", 60000)
    result, _ = dump(target.pid, *args)
    (thread,) = result["threads"]
    assert thread["complete"], thread.get("truncated")
    gaps = [frame["left_out"] for frame in thread["frames"] if "left_out" in frame]
    assert functions(thread).count("descend") + sum(gaps) == 60000
    assert len(gaps) == (0 if args else 1)
    assert_untouched(target.pid)


def test_a_stopped_target_stays_stopped(start, dump):
    target = start("threads64")
    os.kill(target.pid, signal.SIGSTOP)
    wait_for(lambda: all(proc_status(target.pid, "State", tid)[0] == "T" for tid in threads_of(target.pid)), "all threads are stopped")
    result, _ = dump(target.pid)
    assert {thread["state"] for thread in result["threads"]} == {"stopped"}
    assert all(thread["complete"] for thread in result["threads"])
    assert result["stopped_threads"] == 0
    assert_untouched(target.pid, "T")


def test_a_leader_that_has_ended(start, dump):
    target = start("leader_exit")
    result, _ = dump(target.pid)
    threads = by_tid(result)
    assert threads.pop(target.pid)["state"] == "ended"
    (worker,) = threads.values()
    assert "worker" in functions(worker) and worker["complete"]


def test_threads_that_come_and_go(start, tool):
    target = start("churn")
    for _ in range(5):
        run = tool.run("dump", target.pid, "--json")
        assert run.code in (0, 1), run.stderr
        result = json.loads(run.stdout)
        assert result["at_one_moment"] == (run.code == 0)
        assert target.pid in by_tid(result)
    assert_untouched(target.pid)


def test_a_thousand_sleepers(start, dump, figure):
    target = start("sleepers", 1000)
    result, run = dump(target.pid)
    assert len(result["threads"]) == 1001
    assert all(thread["complete"] for thread in result["threads"])
    assert Counter(thread["taken"] for thread in result["threads"])["asleep"] >= 1000
    figure(f"{run.elapsed_s:.2f} s; {result['stopped_threads']} stopped for {result['longest_stop_ns'] / 1e6:.2f} ms at most")


def test_no_call_notices(start, tool, figure):
    canary = Canary(start("eintr_canary"))
    over, runs = threading.Event(), []

    def dump_again_and_again():
        while not over.is_set():
            runs.append(tool.run("dump", canary.pid, "-v", "-o", os.path.join(tool.folder, "dump")))

    dumping = threading.Thread(target=dump_again_and_again)
    dumping.start()
    try:
        quiet, signals = canary.watch(1.5, "quiet"), canary.watch(1.5, "signals")
    finally:
        over.set()
        dumping.join()
    assert all(run.code in (0, 1) for run in runs)
    stopped = sum(run.figure(r"; (\d+) stopped") for run in runs if "none was stopped" not in run.stderr)
    repaired = sum(run.figure(r"(\d+) interrupted system calls") for run in runs)
    figure(f"{len(runs)} dumps of {len(threads_of(canary.pid))} threads, {stopped:.0f} stopped; "
           f"{repaired:.0f} calls repaired")
    assert stopped > 0
    assert judge(quiet) == {}
    assert judge(signals, signals=signals.sent) == {}
    canary.all_signals_arrive()


def test_a_process_under_a_debugger(start, tool):
    target = start("c_o0")
    holder = start("holder", target.pid)
    run = tool.run("dump", target.pid)
    assert run.code == 2 and run.stdout == b""
    assert len(run.lines) == 1 and re.search(rf"\bholder\b.*\b{holder.pid}\b|\b{holder.pid}\b.*\bholder\b", run.stderr), run.stderr


def test_one_thread(start, dump):
    target = start("blocked")
    tid = next(iter(target.tids()))
    result, _ = dump(target.pid, "--tid", tid)
    assert [thread["tid"] for thread in result["threads"]] == [tid]


def test_names_that_would_move_the_cursor(start, tool, folder):
    path = os.path.join(folder, "a\x1b[2J\x7fb")
    shutil.copy(os.path.join(TARGETS, "blocked"), path)
    target = start(path)
    run = tool.run("dump", target.pid)
    assert run.code == 0
    text = run.stdout.decode()
    assert "\x1b" not in text and '"a?[2J?b"' in text
    result = json.loads(tool.run("dump", target.pid, "--json").stdout)
    assert result["name"] == "a\x1b[2J\x7fb" and result["exe"] == path


def test_a_file_is_whole_or_not_there(start, tool):
    target = start("blocked")
    path = os.path.join(tool.folder, "stacks.txt")
    run = tool.run("dump", "-p", target.pid, "-q", "-o", path)
    assert run.code == 0 and run.stderr == "" and run.stdout == b""
    assert open(path).read().count("\nthread ") == 6
    assert os.listdir(tool.folder) == ["stacks.txt"]


@pytest.mark.parametrize("args", [(), ("x",), ("0",), ("1", "2"), ("-p",), ("1", "--tid", "x"), ("1", "--nonsense"), ("1", "--max-depth", "1"),
                                  ("1", "-o", "")])
def test_usage(tool, args):
    run = tool.run("dump", *args)
    assert run.code == 64 and len(run.lines) == 1 and run.stdout == b"", run.stderr


def test_help(tool):
    run = tool.run("dump", "--help")
    assert run.code == 0 and run.stderr == ""
    for word in ("--json", "-o", "--tid", "--max-depth", "--debuginfo-path", "64"):
        assert word in run.stdout.decode()
