"""Targets whose files were made to crash, fill or hang who reads them: the profile is written, and says what was not read."""

import os
import random
import re
import signal
import time

import hostile
import pytest
from conftest import assert_untouched, burn_until, wait_for

# What a child may take for one module (symbols/isolated.c) is 20 s, and as much again is for a crowded machine.
LIMIT_S = 40


def comment_of(profile, name):
    """The module's comment without its '#'."""
    found = [comment for comment in profile.comments if re.match(rf"# module \S*/{name} ", comment)]
    assert len(found) == 1, profile.comments
    return found[0]


def record(start, tool, path, duration="1s"):
    target = start(path)
    run = tool.record(target.pid, "-r", 199, duration=duration, output=os.path.basename(path) + ".pb.gz")
    assert_untouched(target.pid)
    assert run.complete >= 0.99, run.stderr
    return run, run.load()


def assert_names(profile, function):
    # Of what was sampled: on a crowded machine much lies between samples.
    assert profile.stacks and profile.share(lambda sample: function in sample.functions, profile.stacks) >= 0.95, profile.chains()


def child_of(process):
    """The PID of the tool's child, which reads symbols, once there is one."""

    def find():
        assert process.poll() is None, f"it ended without a child:\n{process.stderr.read().decode()}"
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            pids = file.read().split()
        return int(pids[0]) if pids else None

    return wait_for(find, "the tool starts a process that reads symbols")


def test_what_is_not_hostile_is_read(start, tool, folder):
    run, profile = record(start, tool, hostile.build(folder, "plain", hostile.plain()))
    assert_names(profile, "victim")
    assert "(DWARF)" in comment_of(profile, "plain") and re.search("^symbols +every ", run.stderr, re.M)


def test_more_work_than_a_module_is_worth(start, tool, folder):
    """Both at the same time: what they take is what the limits let them."""
    runs = {}
    for name, debug in (("deep_nesting", hostile.deep_nesting()), ("endless_lines", hostile.endless_lines())):
        target = start(hostile.build(folder, name, debug))
        path = os.path.join(folder, name + ".pb.gz")
        begin = time.monotonic()
        runs[name] = (tool.start("-p", target.pid, "-d", "1s", "-r", 199, "--max-overhead", "100%", "-o", path), path, begin)
    for name, (process, path, begin) in runs.items():
        run = tool.finish(process, path, begin, deadline_s=60 + LIMIT_S)
        assert run.code == 0, run.stderr
        profile = run.load()
        assert_names(profile, "victim")
        if name == "deep_nesting":  # no DIE is read twice, however they are nested
            assert "(DWARF)" in comment_of(profile, name) and not re.search("^symbols +deep", run.stderr, re.M)
        else:
            told = comment_of(profile, name).rsplit("; ", 1)[1]
            assert re.search(rf"^symbols +{name}: .*(limit was reached|s of CPU time|longer than)", run.stderr, re.M), run.stderr
            assert told in run.stderr and any(comment.startswith("symbols ") and told in comment for comment in profile.comments)


def test_units_that_import_each_other_twice(start, tool, folder):
    _, profile = record(start, tool, hostile.build(folder, "doubling", hostile.imported_doubling()))
    assert_names(profile, "victim")


@pytest.mark.parametrize("claims", [3 << 30, 64])
def test_zip_bomb(start, tool, folder, claims):
    run, profile = record(start, tool, hostile.zip_bomb(folder, claims, 64 << 20))
    assert_names(profile, "victim")
    if claims > 1 << 30:
        assert "(ELF symbols); its debug information was not read: it is damaged, too large" in comment_of(profile, f"bomb{claims}")
        assert re.search(rf"^symbols +bomb{claims}: its debug information was not read", run.stderr, re.M)


@pytest.mark.parametrize("count", [1 << 16, (1 << 64) - 1])
def test_more_sections_than_the_file_has(start, tool, folder, count):
    run, profile = record(start, tool, hostile.many_sections(folder, count))
    assert "of its frames 0.0 % have a function" in comment_of(profile, f"sections{count}")


def test_child_that_crashes(start, tool, folder):
    """A crash is a signal, whoever sends it."""
    target = start(hostile.build(folder, "crash", hostile.endless_lines()))
    path = os.path.join(folder, "out.pb.gz")
    process = tool.start("-p", target.pid, "-d", "200ms", "-r", 199, "--max-overhead", "100%", "-o", path)
    os.kill(child_of(process), signal.SIGSEGV)
    run = tool.finish(process, path)
    assert run.code == 0, run.stderr
    profile = run.load()
    assert_names(profile, "victim")
    assert re.search(r"^symbols +crash: ELF symbols alone, because of the process that reads debug information: "
                     r"it (crashed \(Segmentation fault\)|needs more memory)", run.stderr, re.M), run.stderr
    assert "(ELF symbols); ELF symbols alone" in comment_of(profile, "crash")
    assert_untouched(target.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_names_are_looked_up(start, tool, folder, number):
    """The file is written at once, with addresses."""
    target = start(hostile.build(folder, "interrupt", hostile.endless_lines()))
    path = os.path.join(folder, "out.pb.gz")
    process = tool.start("-p", target.pid, "-d", "200ms", "-r", 199, "--max-overhead", "100%", "-o", path)
    child = child_of(process)
    process.send_signal(number)
    run = tool.finish(process, path)
    assert run.code == 1, run.stderr
    assert re.search(r"^symbols +interrupt: not named: interrupted", run.stderr, re.M), run.stderr
    profile = run.load()
    assert profile.stacks and not any("victim" in sample.functions for sample in profile.stacks)
    assert not os.path.exists(f"/proc/{child}")
    assert_untouched(target.pid)


def test_child_ends_with_the_tool(start, tool, folder):
    target = start(hostile.build(folder, "orphan", hostile.endless_lines()))
    process = tool.start("-p", target.pid, "-d", "200ms", "-r", 199, "--max-overhead", "100%", "-o", "/dev/null")
    child = child_of(process)
    process.kill()
    process.wait()

    def gone():
        try:
            with open(f"/proc/{child}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_for(gone, "the child is gone", 4)  # before its own limit of CPU time
    assert_untouched(target.pid)


# ---- unwind tables, which the process that holds the threads reads itself ----


def garbage(seed):
    return lambda old: random.Random(seed).randbytes(len(old))


def mutated(seed):
    def change(old):
        chance, new = random.Random(seed), bytearray(old)
        for _ in range(chance.randrange(1, 20)):
            new[chance.randrange(len(new))] = chance.randrange(256)
        return bytes(new)
    return change


EH_FRAMES = {"zeros": lambda old: bytes(len(old)), "ones": lambda old: b"\xff" * len(old),
             "length": lambda old: b"\xff\xff\xff\xff" + b"\xf0" * 8 + old[12:],  # 64-bit format, endless
             "cycle": lambda old: old[:4] + b"\x00\x00\x00\x00" * ((len(old) - 4) // 4) + old[:(len(old) - 4) % 4],
             **{f"garbage{seed}": garbage(seed) for seed in range(4)}, **{f"mutated{seed}": mutated(seed) for seed in range(12)}}


def test_damaged_unwind_tables(start, tool, folder):
    """The tool does not crash, does not hang, and the target goes on."""
    sampled = 0  # on a crowded machine a target may get no CPU in so short a time
    for name, change in EH_FRAMES.items():
        target = start(hostile.with_eh_frame(folder, name, change))
        run = tool.record(target.pid, "-r", 99, duration="200ms")
        profile = run.load()
        sampled += bool(profile.stacks)
        assert not profile.stacks or any("victim" in sample.functions for sample in profile.stacks), (name, profile.chains())
        assert_untouched(target.pid)
        burn_until(target.pid, 1_000_000)
        target.close()
    assert sampled >= len(EH_FRAMES) // 2


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_tracer_that_crashes_lets_go(start, tool, number, sanitized):
    """What a defect in the process that holds the threads would do: the kernel detaches from them all."""
    target = start("threads64")
    process = tool.start_and_attach(target.pid, "-d", "60s", "-r", 999, "-o", "/dev/null", "-q")
    process.send_signal(number)
    assert process.wait(60) == -number or sanitized  # which has a handler
    assert_untouched(target.pid)
    burn_until(target.pid, 10_000_000)
