"""--unwinder: libunwind gives the same stacks from the same copies, and `both` counts where it does not."""

import re

import pprof
import pytest

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
