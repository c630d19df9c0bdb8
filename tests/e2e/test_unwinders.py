"""--unwinder: libunwind gives the same stacks from the same copies, and `both` counts where it does not."""

import os
import re

import pprof
import pytest
from conftest import TARGETS

COMPARED = r"^unwinders (\d+) of (\d+) walks contradict each other; complete by rows alone (\d+), by libunwind alone (\d+)"


def compared(run):
    match = re.search(COMPARED, run.stderr, re.M)
    assert match, f"no comparison in the summary:\n{run.stderr}"
    return [int(word) for word in match.groups()]


@pytest.mark.parametrize("name", ["c_o0", "c_omit_fp", "cpp_inline", "static", "altstack", "threads64", "recurse"])
def test_both_agree_on_compiled_code(start, tool, name):
    run = tool.record(start(name).pid, "-r", 199, "--unwinder", "both", duration="1s")
    contradict, walks, _, library_only = compared(run)
    assert walks > 5
    assert contradict == 0 and library_only == 0, run.stderr
    assert "unwinders 0 of" in pprof.run(run.path, "-comments")


def test_libunwind_alone(start, tool):
    target = start("c_omit_fp")
    run = tool.record(target.pid, "-r", 199, "--unwinder=libunwind", duration="1s")
    assert run.complete >= 0.99, run.stderr
    assert run.load().share(lambda sample: sample.functions[:4] == ["inner", "middle", "outer", "main"]) >= 0.97
    assert "unwinders" not in run.stderr
    assert all(sample.root.function == "_start" for sample in run.load().stacks if not sample.truncated)


def test_a_thread_that_cannot_be_walked_by_libunwind_is_no_contradiction(start, tool):
    # Asleep and unstopped it has neither rbp nor rbx: rows recover what they need, libunwind ends there.
    run = tool.record(start("blocked_rbp").pid, "-e", "state", "--unwinder", "both")
    contradict, _, rows_only, _ = compared(run)
    assert contradict == 0 and rows_only > 0, run.stderr


def test_code_that_no_file_has(start, tool):
    # By its frame pointers: marked as guessed, complete, and with the callers that are.
    run = tool.record(start("jit_frames").pid, "-r", 199)
    profile = run.load()
    assert run.complete >= 0.99, run.stderr
    assert run.figure(r"^stacks .*; (\d+) of the complete ones partly guessed") > 0
    whole = [sample for sample in profile.stacks if not sample.truncated]
    called = [sample for sample in whole if sample.functions[0] == "called_by_jit" or "called_by_jit" in sample.functions[:2]]
    assert profile.share(lambda sample: sample in called, whole) > 0.1, profile.chains()
    for sample in whole:
        assert "main" in sample.functions and sample.root.function == "_start", sample.functions
    for sample in called:
        at = max(i for i, place in enumerate(sample.stack) if any(line.function == "called_by_jit" for line in place.lines))
        above = sample.stack[at + 1]
        assert not above.lines or not above.lines[0].function.startswith(("main", "called")), sample.functions
        assert any(line.function == "main" for line in sample.stack[at + 2].lines), sample.functions


def test_libraries_that_come_and_go(start, tool):
    # At the same addresses, with other tables: no stack may be walked by the other's.
    plugs = [os.path.join(TARGETS, name) for name in ("plug_a.so", "plug_b.so")]
    run = tool.record(start("reloader", 300, *plugs).pid, "-r", 199, duration="4s")
    profile = run.load()
    for work in ("work_a", "work_b"):
        mine = [sample for sample in profile.stacks if work in sample.functions]
        assert profile.share(lambda sample: sample in mine, profile.stacks) > 0.25, profile.chains()
        for sample in mine:
            file = {"work_a": "plug_a.so", "work_b": "plug_b.so"}[work]
            place = next(p for p in sample.stack if any(line.function == work for line in p.lines))
            assert os.path.basename(place.mapping.file) == file
    assert run.complete >= 0.99, run.stderr
