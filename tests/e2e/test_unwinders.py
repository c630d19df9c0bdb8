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


def test_libraries_that_come_and_go(start, tool, figure):
    # To the same addresses, with other tables. The kernel is asked for each mapping whether it is still there (since Linux 6.11); before
    # that the maps are read again every second, and when a pc is nowhere. Each library's work is called from a line of its own.
    a, b = (os.path.join(TARGETS, name) for name in ("plug_a.so", "plug_b.so"))
    run = tool.record(start("reloader", a, 200, b, 50).pid, "-r", 499, duration="5s")
    profile = run.load()
    shares, lines = {}, {}
    for work, file in (("work_a", a), ("work_b", b)):
        mine = [sample for sample in profile.stacks if work in sample.functions]
        shares[work] = profile.share(lambda sample: sample in mine, profile.stacks)
        for sample in mine:
            place = next(place for place in sample.stack if any(line.function == work for line in place.lines))
            assert os.path.basename(place.mapping.file) == os.path.basename(file)
            assert sample.truncated or sample.root.function == "_start", sample.functions
            lines.setdefault(work, set()).update(line.line for place in sample.stack for line in place.lines if line.function == "main")
    figure(f"{shares['work_a']:.1%} in the library that has 80 % of the time")
    assert 0.6 < shares["work_a"] < 0.95 and shares["work_b"] > 0.02, profile.chains()
    assert run.complete >= 0.95, run.stderr
    if tuple(int(number) for number in os.uname().release.split(".")[:2]) >= (6, 11):
        assert len(lines["work_a"]) == len(lines["work_b"]) == 1 and lines["work_a"] != lines["work_b"], lines
